//! Posteriors by NUTS: one posterior a voxel, several chains, whitened and
//! started at the fit.

mod laplace;
mod monitor;
mod nuts;
mod voxel;

pub use laplace::Laplace;
pub use monitor::{Monitor, Progress};
pub use nuts::{Draw, LnDensity, NutsOptions, Trace, run_chain};
pub use voxel::{Sampler, VoxelPosterior};
