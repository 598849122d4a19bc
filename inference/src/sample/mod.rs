//! Posteriors of voxels: no-U-turn chains, whitened and started at the modes of the fit;
//! importance sampling from a mixture at these modes where that will do.

mod importance;
mod laplace;
mod method;
mod mixture;
mod modes;
mod nuts;
mod voxel;

pub use importance::{Charted, Importance};
pub use laplace::Laplace;
pub use method::SampleOptions;
pub use mixture::{Component, components};
pub use nuts::{Draw, LnDensity, NutsOptions, Trace, run_chain};
pub use voxel::{Sampler, VoxelPosterior, Weights};
