//! What can be wrong with an alignment.

use super::super::ReconstructError;
use microtome_models::ct::CtError;

/// Why poses can't be found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The set-up, a table of poses or an array of it.
    #[error(transparent)]
    Ct(#[from] CtError),
    /// The reconstruction.
    #[error(transparent)]
    Reconstruct(#[from] ReconstructError),
    /// A setting out of its range.
    #[error("{setting}: {problem}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Nothing is left to be found.
    #[error("{reason}")]
    NoUnknowns {
        /// What was asked for and why nothing of it can be found.
        reason: String,
    },
}

impl AlignError {
    pub(crate) fn setting(setting: &'static str, problem: impl Into<String>) -> Self {
        AlignError::Setting { setting, problem: problem.into() }
    }
}
