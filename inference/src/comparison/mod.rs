//! Which model predicts better, and does it describe the data at all? Criteria of
//! one voxel from its posterior draws.
//!
//! | quantity | file |
//! |---|---|
//! | log likelihoods of measurements and draws | `likelihoods.rs` |
//! | expected log predictive density: PSIS-LOO and WAIC | `loo.rs` |
//! | marginal likelihood: bridge sampling, Laplace | `bridge.rs` |
//! | posterior predictive p values | `predictive_check.rs` |
//! | relabelling of exchangeable compartments | `exchange.rs` |
//! | weights of a mixture of predictions | `stacking.rs` |
//! | everything of one voxel | `voxel.rs` |
//!
//! Only the draws are used, so they may come from any method that gives draws of
//! equal weight. Validated by `tests/suite/comparison.rs`.

mod bridge;
mod exchange;
mod likelihoods;
mod loo;
mod predictive_check;
mod stacking;
mod voxel;

pub use bridge::{Bridge, bridge, laplace_evidence};
pub use exchange::Relabelling;
pub use likelihoods::Likelihoods;
pub use loo::{Loo, LooWorkspace, Waic, loo_and_waic, relative_efficiency};
pub use predictive_check::PredictiveCheck;
pub use stacking::{model_probabilities, stacking_weights};
pub use voxel::{Criteria, CriteriaWorkspace, Voxel, criteria};
