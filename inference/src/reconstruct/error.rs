//! What can be wrong with the input of a reconstruction.

use microtome_models::ct::CtError;

/// Why a reconstruction can't begin or go on.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructError {
    /// The set-up or an array of it.
    #[error(transparent)]
    Ct(#[from] CtError),
    /// A word that is no method.
    #[error("unknown method `{method}`; use {known}")]
    UnknownMethod {
        /// The word.
        method: String,
        /// All names.
        known: String,
    },
    /// An array has another number of values than the operator.
    #[error("the {what} have {found} values, but the set-up needs {expected} (shape {shape:?})")]
    Length {
        /// Projections, weights or initial values.
        what: &'static str,
        /// Values found.
        found: usize,
        /// Values needed.
        expected: usize,
        /// The shape that is needed.
        shape: Vec<usize>,
    },
    /// Values that are NaN or infinite.
    #[error(
        "{count} of the {what} are not finite; the first is {value} at {index:?}: mask or correct them, or give them the weight 0 and a finite value"
    )]
    NotFinite {
        /// Projections, weights or initial values.
        what: &'static str,
        /// How many.
        count: usize,
        /// The first of them.
        value: f64,
        /// Where it is.
        index: Vec<usize>,
    },
    /// Values below zero where none may be.
    #[error("{count} of the {what} are negative; the first is {value} at {index:?}: {needs}")]
    Negative {
        /// Projections, weights or initial values.
        what: &'static str,
        /// How many.
        count: usize,
        /// The first of them.
        value: f64,
        /// Where it is.
        index: Vec<usize>,
        /// Who needs it, and what to do.
        needs: &'static str,
    },
    /// Weights that leave nothing to fit.
    #[error("all weights are 0, so that no projection counts; give inverse variances")]
    NoWeights,
    /// No ray meets the volume.
    #[error(
        "no ray meets the volume; check centre and size of the volume and the unit of the views (mm)"
    )]
    NoRays,
    /// A setting out of its range.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The operator has negative sums of rows or columns.
    #[error(
        "{method} needs an operator without negative entries, but a sum of its {what} is {value}; use cgls, lsqr, fista_tv or pdhg_tv"
    )]
    NegativeOperator {
        /// The method.
        method: &'static str,
        /// Rows or columns.
        what: &'static str,
        /// The sum.
        value: f64,
    },
    /// The iterates left the range of the numbers.
    #[error(
        "iteration {iteration} of {method} is not finite; lower the relaxation or the step, or check that the transpose belongs to the projector"
    )]
    Diverged {
        /// The method.
        method: &'static str,
        /// Which one, from 1.
        iteration: usize,
    },
    /// A user's operator failed.
    #[error("the projector failed: {reason}")]
    Operator {
        /// Its reason.
        reason: String,
    },
    /// The state of another run.
    #[error("the checkpoint is not of this run: {problem}")]
    Checkpoint {
        /// What does not fit.
        problem: String,
    },
}

impl ReconstructError {
    pub(crate) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        ReconstructError::Setting { setting, problem: problem.into() }
    }
}
