//! Conjugate gradients on the normal equations.
//!
//! $$\min_x \tfrac12\|y-Ax\|_W^2:\quad
//!   \alpha = \frac{\|s\|^2}{\|Ap\|_W^2},\ x \leftarrow x + \alpha p,\ r \leftarrow r - \alpha Ap,
//!   \ s = A^TWr,\ p \leftarrow s + \frac{\|s\|^2}{\|s_-\|^2}\,p$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $r$ | 1 | residual, by recursion |
//! | $s$ | mm | minus the gradient |
//! | $p$ | | direction |
//!
//! Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044; Björck 1996,
//! doi:10.1137/1.9781611971484, algorithm 7.4.1. Validated by
//! `cgls_and_lsqr_find_the_least_squares_solution` and `sirt_and_cgls_equal_astra` in
//! `inference/tests/suite/reconstruct/`.

use super::vector::{each2, each3, sum, sum2};
use super::{Method, Problem, ReconstructError, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// The state.
pub(super) struct Cgls<T> {
    x: Vec<T>,
    residual: Vec<T>,
    direction: Vec<T>,
    /// $\|s\|^2$.
    gamma: [f64; 1],
    /// $Ap$, then $Wr$.
    rays: Vec<T>,
    gradient: Vec<T>,
}

/// $Wr$ written over `out`.
pub(super) fn weighted<T: Real>(problem: &Problem<'_, T>, r: &[T], out: &mut [T]) {
    match problem.weights {
        Some(w) => each3(out, r, w, |_, r, w| w * r),
        None => out.copy_from_slice(r),
    }
}

/// Whether any ray meets the volume.
pub(super) fn check_rays<T: Real>(problem: &Problem<'_, T>) -> Result<(), ReconstructError> {
    let rows = problem.operator.row_sums(&problem.all_views)?;
    match rows.iter().all(|r| r.wide() == 0.0) {
        true => Err(ReconstructError::NoRays),
        false => Ok(()),
    }
}

impl<T: Real> Cgls<T> {
    pub(super) fn new(problem: &Problem<'_, T>) -> Result<Self, ReconstructError> {
        let x = problem.first();
        let mut residual = vec![T::default(); problem.projections.len()];
        if problem.start.is_some() {
            problem.forward(&x, &mut residual)?;
        }
        each2(&mut residual, problem.projections, |ax, y| y - ax);
        let mut rays = residual.clone();
        weighted(problem, &residual, &mut rays);
        let mut gradient = vec![T::default(); x.len()];
        problem.transpose(&rays, &mut gradient)?;
        let gamma = [sum(&gradient, |s| s * s)];
        if gamma[0] == 0.0 {
            check_rays(problem)?;
        }
        Ok(Self { x, residual, direction: gradient.clone(), gamma, rays, gradient })
    }
}

impl<T: Real> Method<T> for Cgls<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        problem.forward(&self.direction, &mut self.rays)?;
        let curvature = match problem.weights {
            Some(w) => sum2(&self.rays, w, |q, w| w * q * q),
            None => sum(&self.rays, |q| q * q),
        };
        // At the solution there is nothing to do.
        let alpha = if curvature > 0.0 { self.gamma[0] / curvature } else { 0.0 };
        if alpha > 0.0 {
            each2(&mut self.x, &self.direction, |x, p| x + alpha * p);
            each2(&mut self.residual, &self.rays, |r, q| r - alpha * q);
            weighted(problem, &self.residual, &mut self.rays);
            problem.transpose(&self.rays, &mut self.gradient)?;
            let gamma = sum(&self.gradient, |s| s * s);
            let beta = gamma / self.gamma[0];
            each2(&mut self.direction, &self.gradient, |p, s| s + beta * p);
            self.gamma[0] = gamma;
        }
        let residual_norm = problem.residual_norm(&self.residual);
        Ok(Step { residual_norm, objective: 0.5 * residual_norm * residual_norm, step: alpha })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("gamma", &mut self.gamma);
        visitor.array("x", &mut self.x);
        visitor.array("residual", &mut self.residual);
        visitor.array("direction", &mut self.direction);
    }
}
