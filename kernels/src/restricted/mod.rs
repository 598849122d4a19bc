//! Signals of restricted diffusion: pores with reflecting walls.
//!
//! Validated by the tests of [`pulse`] and `tests/restricted.rs`.

mod coefficients;
mod modes;
pub mod pulse;

pub use modes::Geometry;
