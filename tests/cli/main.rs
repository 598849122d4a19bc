//! The command line from outside: exit codes, messages, files, resume, shards.
//!
//! Every test calls the built binary, as a user does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod align;
mod align_poses;
mod analytic;
mod bad_input;
mod bench;
mod comparison;
mod csd;
mod ct;
mod ct_setups;
mod cumulants;
mod design;
mod dictionary;
mod edge_posterior;
mod encoding;
mod folders;
mod image_posterior;
mod interrupted;
mod kills;
mod population;
mod predict;
mod prepare;
mod reconstruct;
mod results;
mod sbc;
mod simulate;
mod simulate_resume;
mod track;
mod track_resume;
mod tracts;
mod verbs;
