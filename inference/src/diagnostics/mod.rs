//! Convergence and precision of Markov chains, one scalar at a time.
//!
//! | quantity | file |
//! |---|---|
//! | rank-normalised split R-hat | `rhat.rs` |
//! | effective sample sizes (bulk, tail, mean, sd, quantile) | `ess.rs` |
//! | Monte Carlo standard errors | `mcse.rs` |
//! | energy fraction of missing information | `ebfmi.rs` |
//! | all columns of a posterior summary in one pass | `summary.rs` |
//! | Pareto-smoothed importance weights and k-hat | `pareto.rs` |
//! | whether a voxel may be trusted | `trust.rs` |
//!
//! The numbers are those of ArviZ 0.23 (`az.rhat`, `az.ess`, `az.mcse`,
//! `az.bfmi`), edge cases included: NaN among the draws and fewer than four
//! draws a chain give NaN, R-hat of one chain is NaN, R-hat of constant draws is
//! NaN and their effective sample size is the number of draws.
//!
//! Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner 2021,
//! doi:10.1214/20-BA1221.
//!
//! Validated by `inference/tests/suite/arviz.rs`.

mod autocovariance;
mod chains;
mod ebfmi;
mod ess;
mod mcse;
pub(crate) mod moments;
mod order;
pub(crate) mod pareto;
mod quantile;
mod rank;
mod rhat;
mod summary;
mod trust;
mod workspace;

pub use chains::{Chains, DiagnosticsError};
pub use ebfmi::ebfmi;
pub(crate) use ess::ess_below;
pub use ess::{ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail};
pub use mcse::{mcse_mean, mcse_quantile, mcse_sd};
pub use pareto::{GeneralisedPareto, ParetoWorkspace, TailWeight, khat_limit, smooth_weights};
pub use rhat::rhat;
pub(crate) use summary::{Independent, summarize_independent, summarize_without_errors};
pub use summary::{Summary, summarize};
pub use trust::{DIVERGENT_SHARE, Doubt, EBFMI_LIMIT, ESS_A_CHAIN, Evidence, RHAT_LIMIT};
pub use workspace::Workspace;
