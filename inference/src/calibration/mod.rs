//! Simulation-based calibration: are posteriors what the model and the prior say they are?
//!
//! For a draw $\theta^*$ from the prior, signals $y \sim p(y\,|\,\theta^*)$ and independent draws
//! $\theta_1 \dots \theta_L$ from the posterior of $y$, the rank
//! $$r = \#\{\theta_l : f(\theta_l, y) < f(\theta^*, y)\}$$
//! of any quantity $f$ is uniform on $0 \dots L$. A wrong prior, chart, likelihood or sampler
//! bends the distribution of $r$ over many such simulations.
//!
//! | file | what |
//! |---|---|
//! | `simulation.rs` | prior draw, noisy signals, posterior: the sampler of `sample` |
//! | `ranks.rs` | the quantities and their ranks |
//! | `ecdf.rs` | the simultaneous test of uniform ranks, exact |
//! | `holm.rs` | many tests at once |
//! | `verdict.rs` | calibrated or not, coverage of intervals |
//! | `table.rs` | the ranks as a table |
//!
//! Source: Talts et al. 2018, arXiv:1804.06788; Säilynoja, Bürkner & Vehtari 2022,
//! doi:10.1007/s11222-021-10090-6; Modrák et al. 2023, doi:10.1214/23-BA1404 (quantities of the
//! data). Validated by `tests/suite/calibration.rs`.

mod ecdf;
mod holm;
mod ranks;
mod simulation;
mod table;
mod verdict;

pub use ecdf::RankEcdf;
pub use holm::holm;
pub use ranks::{Direction, Quantities, rank};
pub use simulation::{Calibration, CalibrationSpec, Simulation};
pub use table::rank_table;
pub use verdict::{CalibrationReport, Interval, RankTest, judge};
