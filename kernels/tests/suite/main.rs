//! Kernels: families, exact signals, streamlines and device texts against exact values.
//!
//! One binary for all of them: a topic runs by its module, `cargo test --release -p
//! microtome-kernels --test suite families::`.

mod families;
mod restricted;
mod stepped;
mod streamlines;
mod text;
mod text_parity;
