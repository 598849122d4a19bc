//! Simultaneous algebraic reconstruction: an update after every view.
//!
//! `block_pass.rs` has the equation; here a subset is a view and an iteration is a pass over
//! all views. The relaxation of pass $k$ is $\omega\,\rho^{k}$. Without weights an
//! inconsistent system makes SART circle at a distance of order $\omega$ from a weighted
//! least-squares solution; $\rho < 1$ ends that.
//!
//! Source: Andersen & Kak 1984, doi:10.1016/0161-7346(84)90008-7. Validated by
//! `sart_solves_consistent_systems` in `inference/tests/suite/reconstruct/`.

use super::block_pass::BlockPass;
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// The state: of SART, and of OS-SART, which differs by the size of its subsets.
pub(super) struct Sart<T> {
    x: Vec<T>,
    /// Of the pass to come.
    relaxation: [f64; 1],
    factor: f64,
    blocks: BlockPass<T>,
}

impl<T: Real> Sart<T> {
    pub(super) fn new(
        method: &'static str,
        problem: &Problem<'_, T>,
        settings: &Settings,
        subsets: usize,
    ) -> Result<Self, ReconstructError> {
        Ok(Self {
            x: problem.first(),
            relaxation: [settings.relaxation],
            factor: settings.relaxation_factor.unwrap_or(1.0),
            blocks: BlockPass::new(method, problem, subsets)?,
        })
    }
}

impl<T: Real> Method<T> for Sart<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let step = self.relaxation[0];
        let residual_norm = self.blocks.pass(problem, &mut self.x, step)?;
        self.relaxation[0] *= self.factor;
        Ok(Step { residual_norm, objective: f64::NAN, step })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("relaxation", &mut self.relaxation);
        visitor.array("x", &mut self.x);
    }
}
