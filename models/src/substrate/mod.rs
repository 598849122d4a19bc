//! Simulated tissue: substrates, gradient sequences, and the walk of spins through them.
//!
//! | module | idea |
//! |---|---|
//! | `description` | the TOML file of a substrate |
//! | `sequence` | gradients of all measurements as few piecewise-constant profiles |
//! | `time_step` | how long a step may be |
//! | `simulation` | a substrate, a sequence and walkers become signals |
//!
//! Lengths are in µm, times in ms. Validated by `models/tests/simulation.rs` and, over the
//! whole reference, by `cargo run --release --example simulation_reference`.

mod description;
mod error;
mod sequence;
mod simulation;
mod time_step;

pub use description::{Medium, Start, Substrate, SubstrateSpec};
pub use error::SubstrateError;
pub use sequence::Sequence;
pub use simulation::{Observed, Row, Signals, Simulation, TOTAL};
pub use time_step::TimeStep;
