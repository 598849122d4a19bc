//! Posteriors by NUTS: one posterior a voxel, several chains, whitened and
//! started at the fit; and the chains of any density.

mod density;
mod laplace;
mod monitor;
mod nuts;
mod voxel;

#[cfg(feature = "graph")]
pub(crate) use density::panic_text;
pub use density::{
    DensityChain, DensityPosterior, Failure, Failures, SampleDensityError, Start, sample_density,
};
pub use laplace::Laplace;
pub use monitor::{Monitor, Progress};
pub use nuts::{Draw, LnDensity, Metric, NutsOptions, Trace, run_chain};
pub use voxel::{Sampler, VoxelPosterior};
