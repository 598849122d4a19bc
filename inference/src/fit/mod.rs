//! Voxelwise fits: maximum likelihood (starts, Levenberg-Marquardt, standard errors)
//! and log-linear least squares.

mod lm;
mod log_linear;
mod log_tensor;
mod start;
mod status;
mod voxel;

pub use lm::{LevenbergMarquardt, Objective, step};
pub use log_linear::{LogLinear, LogLinearFitter};
pub use log_tensor::LogTensor;
pub use start::StartScheme;
pub use status::Status;
pub use voxel::{FitOptions, Fitter, VoxelFit};
