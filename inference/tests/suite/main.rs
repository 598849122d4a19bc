//! Inference: fits, posteriors, diagnostics and reconstructions against exact values and calibration.
//!
//! One binary for all of them: a topic runs by its module, `cargo test --release -p
//! microtome-inference --test suite align::`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub)]

mod align;
mod align_posterior;
mod analytic;
mod arviz;
mod batches;
mod calibrate;
mod calibration;
mod cheap;
mod comparison;
mod deconvolution;
mod design;
mod dictionary;
mod edge_posterior;
mod fans;
mod fit;
mod graph_density;
mod image_posterior;
mod image_reference;
mod image_scales;
mod log_linear;
mod means;
mod modifiers;
mod noise;
mod nonlinearity;
mod pareto;
mod posteriordb;
mod prepare;
mod reconstruct;
mod reconstruct_graph;
mod run;
mod sample;
mod voxels;
mod water_pools;
