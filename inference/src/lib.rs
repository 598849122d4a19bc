//! The searches of microtome: Levenberg-Marquardt on argmin, NUTS on nuts-rs,
//! diagnostics, and the voxelwise run with Arrow record batches in and out.
//!
//! A **search** lives here: no equations of tissue (they are in
//! `microtome-models`), no file formats.

pub mod deconvolution;
pub mod dense;
pub mod diagnostics;
mod error;
pub mod fit;
mod identifiability;
pub mod population;
mod run;
pub mod sample;
mod table;

pub use error::InferenceError;
pub use identifiability::Identifiability;
pub use run::{Counts, Runner, Tables, process};
pub use table::{record_batch, voxel_batch};
