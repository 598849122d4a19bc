//! An iterative method as a state that takes steps, can be kept and can be found again.

use super::{Problem, ReconstructError};
use microtome_kernels::ray::Real;

/// What a step left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// $\|y-Ax\|_W$ after the step, or what the method has of it (see
    /// [`HistoryRow`](super::HistoryRow)).
    pub residual_norm: f64,
    /// What the method minimises; NaN where there is no such function.
    pub objective: f64,
    /// The step in the method's own sense.
    pub step: f64,
}

/// The state between two steps, piece by piece: the same walk saves and restores it.
pub trait StateVisitor<T: Real> {
    /// Some numbers of the state.
    fn numbers(&mut self, name: &'static str, values: &mut [f64]);
    /// An array of the state.
    fn array(&mut self, name: &'static str, values: &mut Vec<T>);
}

/// An iterative method.
pub trait Method<T: Real>: Send {
    /// One iteration.
    ///
    /// # Errors
    /// Whatever stops the projector.
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError>;

    /// The image now.
    fn image(&self) -> &[T];

    /// Shows everything that the next step depends on and that the problem does not give.
    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>);
}
