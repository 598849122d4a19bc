//! Projections onto convex sets, then descent of the total variation.
//!
//! An iteration is a pass of SART over all views, the bounds, and `tv_iterations` steps of
//! descent of the length $\alpha\,\|x_\text{data}-x_0\|$, a fixed share of what the data moved.
//!
//! Source: Sidky, Kao & Pan 2006, doi:10.3233/XST-2006-00155 (section 2.4). There
//! $\alpha$ is 0.2 for 20 steps; here it is 0.02, so that all steps together move the image by
//! less than the data did and a few tens of iterations settle. Validated by `pocs_methods_lower_the_variation` in
//! `inference/tests/suite/reconstruct/`.

use super::block_pass::BlockPass;
use super::tv_descent::Descent;
use super::vector::sum2;
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::total_variation;

/// The state.
pub(super) struct TvPocs<T> {
    x: Vec<T>,
    /// Of the pass to come.
    relaxation: [f64; 1],
    settings: Settings,
    blocks: BlockPass<T>,
    descent: Descent<T>,
    before: Vec<T>,
}

/// $\|a-b\|$.
pub(super) fn distance<T: Real>(a: &[T], b: &[T]) -> f64 {
    sum2(a, b, |a, b| (a - b) * (a - b)).sqrt()
}

/// Subsets of the passes of this family: a view each unless the user says otherwise.
pub(super) fn subsets<T: Real>(problem: &Problem<'_, T>, settings: &Settings) -> usize {
    settings.subsets.unwrap_or(problem.all_views.len())
}

impl<T: Real> TvPocs<T> {
    pub(super) fn new(
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        let x = problem.first();
        Ok(Self {
            before: x.clone(),
            x,
            relaxation: [settings.relaxation],
            settings: settings.clone(),
            blocks: BlockPass::new("tv_pocs", problem, subsets(problem, settings))?,
            descent: Descent::new(problem)?,
        })
    }
}

impl<T: Real> Method<T> for TvPocs<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        self.before.copy_from_slice(&self.x);
        let residual_norm = self.blocks.pass(problem, &mut self.x, self.relaxation[0])?;
        let step = self.settings.tv_step * distance(&self.x, &self.before);
        self.descent.descend(&mut self.x, self.settings.tv_iterations, step, None);
        problem.clip(&mut self.x);
        self.relaxation[0] *= self.settings.relaxation_factor.unwrap_or(1.0);
        let objective = total_variation(self.descent.lattice(), &self.x);
        Ok(Step { residual_norm, objective, step })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("relaxation", &mut self.relaxation);
        visitor.array("x", &mut self.x);
    }
}
