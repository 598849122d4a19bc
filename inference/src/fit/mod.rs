//! Voxelwise maximum likelihood: starts, Levenberg-Marquardt, standard errors.

mod lm;
mod start;
mod voxel;

pub use lm::{LevenbergMarquardt, Objective, step};
pub use start::StartScheme;
pub use voxel::{FitOptions, Fitter, Status, VoxelFit};
