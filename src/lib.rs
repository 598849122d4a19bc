#![doc = include_str!("../README.md")]
//!
//! # The façade
//!
//! This crate is the façade of the workspace: it re-exports the rooms and holds
//! the report page and the command line.
//!
//! | name here | crate | what lives there |
//! |---|---|---|
//! | [`kernels`] | `microtome-kernels` | the hot loops |
//! | [`models`] | `microtome-models` | physics: acquisition, compartments, priors |
//! | [`datasets`] | `microtome-datasets` | files |
//! | [`inference`] | `microtome-inference` | fits and posterior sampling |
//! | [`report`] | this one | the HTML page of a run |
//!
//! # Example
//! A ball of 1 µm²/ms at b = 1 ms/µm² leaves exp(-1) of the signal:
//! ```
//! use microtome::prelude::*;
//! use std::sync::Arc;
//! let acquisition = Acquisition::from_b(&[0.0, 1.0], &[[0.0; 3], [1.0, 0.0, 0.0]], None, None)?;
//! let model = Arc::new(compose_models(["ball"])?);
//! assert_eq!(model.value_names(), ["ball.lambda_iso", "s0"]);
//! let signals = Evaluator::new(&Lowered::new(model, &acquisition)?).predict(&[1.0, 100.0]);
//! assert!((signals[1] - 100.0 * (-1.0_f64).exp()).abs() < 1e-12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use microtome_datasets as datasets;
pub use microtome_inference as inference;
pub use microtome_kernels as kernels;
pub use microtome_models as models;

pub mod report;

/// What most programs need.
pub mod prelude {
    pub use crate::datasets::{SignalSource, read_fsl, read_scheme};
    pub use crate::inference::{Runner, Tables, process, record_batch};
    pub use crate::models::{
        Acquisition, Evaluator, Job, Lowered, Model, ModelSpec, NoiseKind, PulseTiming, RunSpec,
        SearchSpec, SigmaSpec, VoxelBatch, compose_models,
    };
}
