//! The searches of microtome: Levenberg-Marquardt on argmin, NUTS on nuts-rs,
//! diagnostics, and the voxelwise run with Arrow record batches in and out.
//!
//! A **search** lives here: no equations of tissue (they are in
//! `microtome-models`), no file formats.

mod axial;
pub mod calibration;
pub mod comparison;
pub mod deconvolution;
pub mod design;
pub mod diagnostics;
mod error;
pub mod fit;
#[cfg(feature = "graph")]
pub mod graph_density;
mod identifiability;
pub mod population;
pub mod prepare;
pub mod reconstruct;
mod run;
pub mod sample;
mod table;

pub use error::InferenceError;
pub use identifiability::Identifiability;
pub use microtome_kernels::dense;
pub use run::{Counts, Runner, Tables, process};
pub use table::{record_batch, voxel_batch};
