//! Tests of the files that this crate reads and writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod array_files;
mod arrays;
mod bad_files;
mod bad_tracts;
mod bytes;
mod checkpoint;
mod demo;
mod frames;
mod geometries;
mod images;
mod maps;
mod matrices;
mod parts;
mod real_data;
mod schemes;
mod tract_paths;
mod tracts;
mod waveforms;
