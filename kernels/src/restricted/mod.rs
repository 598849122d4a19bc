//! Signals of restricted diffusion: pores with reflecting walls.
//!
//! Validated by the tests of [`pulse`], of [`stepped`] and `tests/restricted.rs`.

mod coefficients;
mod modes;
pub mod pulse;
pub mod stepped;

pub use modes::Geometry;
