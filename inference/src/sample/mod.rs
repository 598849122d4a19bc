//! Posteriors of voxels: no-U-turn chains, whitened and started at the modes of the fit;
//! importance sampling from a mixture at these modes where that will do; and the chains
//! of any density.

mod chains;
mod density;
mod importance;
mod laplace;
mod method;
mod mixture;
mod modes;
mod monitor;
mod nuts;
mod orbit;
mod ridge;
mod voxel;

#[cfg(feature = "graph")]
pub(crate) use density::panic_text;
pub use density::{
    DensityChain, DensityPosterior, Failure, Failures, SampleDensityError, Start, sample_density,
};
pub use importance::{Charted, Importance};
pub use laplace::Laplace;
pub use method::SampleOptions;
pub use mixture::{Component, components};
pub use monitor::{Monitor, Progress};
pub use nuts::{Draw, LnDensity, Metric, NutsOptions, Trace, run_chain};
pub use voxel::{Sampler, VoxelPosterior, Weights};
