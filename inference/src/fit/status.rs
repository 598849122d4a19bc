//! How fits end, and the words for it in tables (`docs/conventions.md`).
//!
//! Validated by `tests/suite/fit.rs` (`signals_that_are_none_are_invalid` and others).

/// How the fit or the sampling of a voxel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Good.
    Converged,
    /// The iteration limit was reached.
    MaxIterations,
    /// The data do not determine the parameters.
    Singular,
    /// NaN, infinite or all-zero signals, no positive b = 0 signal, negative signals
    /// with Rician or non-central chi noise; a deviation of gradients that is not finite; a σ that is not positive, a fixed value that is not finite.
    InvalidSignal,
    /// The density could not be evaluated.
    Divergent,
    /// R-hat above 1.01, E-BFMI below 0.3, or a chain stuck far below the best.
    NotMixed,
}

impl Status {
    /// Whether the voxel has no result to use. Draws that have not mixed are a
    /// result with a warning.
    pub fn is_failure(self) -> bool {
        !matches!(self, Status::Converged | Status::NotMixed)
    }

    /// The word in the `status` column.
    pub fn name(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::MaxIterations => "max_iterations",
            Status::Singular => "singular",
            Status::InvalidSignal => "invalid_signal",
            Status::Divergent => "divergent",
            Status::NotMixed => "not_mixed",
        }
    }
}
