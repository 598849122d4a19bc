//! Constrained spherical deconvolution: the quadratic program, voxels, peaks, and
//! the responses that it needs.

mod concentration;
mod cone;
mod design;
mod peaks;
mod voxel;

pub use concentration::{concentration, dispersion_index};
pub use cone::{Cone, ConeOutcome, ConeState, NEIGHBOURS};
pub use design::{Deconvolver, DeconvolverState};
pub use peaks::{PEAKS, PeakFinder, Peaks};
pub use voxel::VoxelDeconvolution;
