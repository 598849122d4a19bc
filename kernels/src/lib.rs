//! The hot loops of microtome: signal families and their derivatives, the vector
//! `exp`, likelihood sums, Philox random numbers, and the Candle custom ops that
//! let a user's graph differentiate through them.
//!
//! A **loop** lives here: no model names, no files, no priors. All `unsafe` of
//! the project is in this crate, in `lanes.rs` and `single/lanes.rs`: the vector instructions and the
//! run-time dispatch over the levels of [`simd`].

#[macro_use]
mod operations;

pub mod abreast;
pub mod backprojection;
pub mod correlation;
pub mod dense;
pub mod device;
pub mod difference;
pub mod eigen;
pub mod exp;
pub mod family;
pub mod gaussian;
#[cfg(feature = "graph")]
pub mod graph;
pub mod harmonic;
pub mod inverse;
mod lanes;
pub mod legendre;
pub mod log;
pub mod log_linear;
pub mod moving_average;
pub mod nc_chi;
pub mod normal;
pub(crate) mod normal_numbers;
pub mod philox;
pub mod plan;
pub mod pointwise;
pub mod ray;
pub mod residual;
pub mod restricted;
pub mod rician;
pub mod rows;
pub mod simd;
pub mod single;
pub mod sinogram;
pub mod special;
pub mod sphere_peak;
pub mod sphere_series;
pub mod spline;
pub mod streamline;
pub mod student_t;
pub mod text;
pub mod variation;
pub mod vector;
pub mod walk;

pub use plan::Plan;
