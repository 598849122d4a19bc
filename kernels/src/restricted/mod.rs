//! Signals of restricted diffusion: pores with reflecting walls.
//!
//! Validated by the tests of [`pulse`], of [`stepped`] and `tests/suite/restricted.rs`, `tests/suite/stepped.rs`.

mod block_tridiagonal;
mod coefficients;
mod modes;
mod propagation;
pub mod pulse;
pub mod stepped;

pub use modes::Geometry;
