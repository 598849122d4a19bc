//! Least squares and total variation by accelerated proximal gradients.
//!
//! $$\min_{\ell\le x\le u}\ \tfrac12\|y-Ax\|_W^2 + \lambda\,\mathrm{TV}(x):\qquad
//!   x_+ = \operatorname{prox}_{\lambda\mathrm{TV}/L}\!\big(z + \tfrac1LA^TW(y-Az)\big),\quad
//!   z_+ = x_+ + \tfrac{t-1}{t_+}(x_+-x)$$
//!
//! with $t_+ = \tfrac12(1+\sqrt{1+4t^2})$ and $L \ge \lambda_{\max}(A^TWA)$; $t$ starts again
//! at 1 where $(z-x_+)^T(x_+-x) > 0$. The proximal map is `tv_prox.rs`, which goes on from the
//! dual field of the iteration before.
//!
//! Source: Beck & Teboulle 2009, doi:10.1109/TIP.2009.2028250; O'Donoghue & Candès 2015,
//! doi:10.1007/s10208-013-9150-3 (the restart, section 3.2). Validated by
//! `pdhg_and_fista_reach_the_same_minimum` in `inference/tests/suite/reconstruct/`.

use super::cgls::weighted;
use super::norm::curvature;
use super::tv_descent::lattice;
use super::tv_prox::TvProx;
use super::vector::{each2, each3, sum3};
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step, tv_weight};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::total_variation;

/// What the eigenvalue may be too small by.
const MARGIN: f64 = 1.02;

/// The state.
pub(super) struct FistaTv<T> {
    x: Vec<T>,
    z: Vec<T>,
    /// $Ax$ and $Az$.
    means: [Vec<T>; 2],
    /// $t$.
    momentum: [f64; 1],
    prox: TvProx<T>,
    tv_weight: f64,
    inner: usize,
    /// $1/L$.
    step: f64,
    before: Vec<T>,
    update: Vec<T>,
    rays: Vec<T>,
}

impl<T: Real> FistaTv<T> {
    pub(super) fn new(
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        let lattice = lattice(problem)?;
        let tv_weight = tv_weight::resolve(problem, settings)?;
        let curvature = curvature(problem)?;
        if curvature == 0.0 {
            return Err(ReconstructError::NoRays);
        }
        let x = problem.first();
        let mut means = vec![T::default(); problem.projections.len()];
        problem.forward(&x, &mut means)?;
        Ok(Self {
            z: x.clone(),
            rays: means.clone(),
            means: [means.clone(), means],
            momentum: [1.0],
            prox: TvProx::new(lattice, problem.bounds),
            tv_weight,
            inner: settings.tv_iterations,
            step: 1.0 / (MARGIN * curvature),
            before: x.clone(),
            update: x.clone(),
            x,
        })
    }
}

impl<T: Real> Method<T> for FistaTv<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let (y, step) = (problem.projections, self.step);
        let [x_means, z_means] = &mut self.means;
        // The residual of z in place of Az, its weighted form in `rays`.
        each2(z_means, y, |m, y| y - m);
        weighted(problem, z_means, &mut self.rays);
        problem.transpose(&self.rays, &mut self.update)?;
        each2(&mut self.update, &self.z, |g, z| z + step * g);
        self.before.copy_from_slice(&self.x);
        self.prox.apply(&self.update, step * self.tv_weight, self.inner, &mut self.x);
        let uphill = sum3(&self.z, &self.x, &self.before, |z, x, old| (z - x) * (x - old));
        let t = if uphill > 0.0 { 1.0 } else { self.momentum[0] };
        let next = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
        let beta = (t - 1.0) / next;
        self.momentum[0] = next;
        each3(&mut self.z, &self.x, &self.before, |_, x, old| x + beta * (x - old));
        problem.forward(&self.x, &mut self.rays)?;
        each3(z_means, &self.rays, x_means, |_, new, old| new + beta * (new - old));
        x_means.copy_from_slice(&self.rays);
        each2(&mut self.rays, y, |m, y| y - m);
        let residual_norm = problem.residual_norm(&self.rays);
        let variation = total_variation(self.prox.lattice(), &self.x);
        let objective = 0.5 * residual_norm * residual_norm + self.tv_weight * variation;
        Ok(Step { residual_norm, objective, step })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("momentum", &mut self.momentum);
        let [x_means, z_means] = &mut self.means;
        for (name, array) in
            [("x", &mut self.x), ("z", &mut self.z), ("means", x_means), ("z_means", z_means)]
        {
            visitor.array(name, array);
        }
        self.prox.field().iter_mut().for_each(|q| visitor.array("q", q));
    }
}
