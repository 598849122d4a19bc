//! Posteriors of a region whose voxels share a prior: a normal population, or a
//! Gaussian Markov random field over neighbours.
//!
//! | file | holds |
//! |---|---|
//! | `normal_wishart.rs` | the population and its conjugate draws |
//! | `markov_field.rs` | neighbours, and one voxel given the others |
//! | `transition.rs` | one Markov step of one voxel |
//! | `whitened.rs` | one Markov step of the population with all its voxels |
//! | `step_size.rs` | tuning of both |
//! | `region.rs` | the voxels of a region: fits, modes, charts |
//! | `gibbs.rs` | scans: `map` over blocks, `reduce` in block order |
//! | `draws.rs` | where draws are kept until their blocks are summarised |
//! | `results.rs` | tables of a block |
//!
//! A scan is `map(block, state) -> (rows, statistics)` and
//! `reduce(statistics) -> state`; blocks have 256 rows of the input and are reduced in
//! their order, and every random number is a function of (seed, row, scan, chain): the
//! draws are equal to the bit for any number of threads.
//!
//! Source: Orton et al. 2014, doi:10.1002/mrm.24649; Rue & Held 2005, ch. 3.
//! Validated by `tests.rs` in this folder.

mod draws;
mod gibbs;
mod markov_field;
mod normal_wishart;
mod region;
mod results;
mod step_size;
#[cfg(test)]
mod tests;
mod transition;
mod whitened;

pub use draws::{DrawStore, MemoryDraws};
pub use gibbs::{PopulationDraws, Rows, State, Work};
pub use markov_field::{Field, PROPER};
pub use normal_wishart::{Hyperprior, Population, Statistics};
pub use region::{Coupled, Region};
