//! Simulated tissue: substrates, gradient sequences, and the walk of spins through them.
//!
//! | module | idea |
//! |---|---|
//! | `description` | the TOML file of a substrate |
//! | `tissue` | walls, media and starting points of a written substrate |
//! | `sequence` | gradients of all measurements as few piecewise-constant profiles |
//! | `time_step` | how long a step may be |
//! | `exact` | exact signals of single pores, without walkers |
//! | `parameter` | what signals are differentiated by |
//! | `simulation` | a substrate, a sequence and walkers become signals |
//!
//! Lengths are in µm, times in ms. Validated by `models/tests/suite/simulation.rs` and, over the
//! whole reference, by the example `simulation_reference`.

mod description;
mod error;
mod exact;
mod parameter;
mod sequence;
mod simulation;
mod time_step;
mod tissue;

pub use description::{Medium, Start, Substrate, SubstrateSpec};
pub use error::SubstrateError;
pub use exact::exact_signals;
pub use parameter::Parameter;
pub use sequence::Sequence;
pub use simulation::{Observed, Row, Signals, Simulation, TOTAL};
pub use time_step::TimeStep;
pub use tissue::{Files, Numbers, Triangles};

pub use microtome_kernels::walk::{Estimate, Tally};
