//! Constrained spherical deconvolution: the search, voxels, peaks, and
//! the responses that it needs.

mod design;
mod dispersion_table;
mod lobe;
mod nonnegative;
mod peaks;
mod response;
mod voxel;

pub use design::{Deconvolver, DeconvolverState};
pub use lobe::lobe;
pub use nonnegative::{NEIGHBOURS, NonNegative, NonNegativeState, Outcome};
pub use peaks::{PEAKS, PeakFinder, Peaks};
pub use response::{ResponseEstimator, Screen, TissueVoxels, classify};
pub use voxel::VoxelDeconvolution;
