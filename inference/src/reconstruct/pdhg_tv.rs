//! Least squares and total variation by a primal-dual method.
//!
//! $$\min_{\ell\le x\le u}\ \tfrac12\|y-Ax\|_W^2 + \lambda\,\mathrm{TV}(x)$$
//!
//! $$p \leftarrow \frac{W(p + \sigma(A\bar x - y))}{W + \sigma},\quad
//!   q \leftarrow \Pi_\lambda(q + \sigma_q\nabla\bar x),\quad
//!   x_+ = P[x - \tau(A^Tp + \nabla^Tq)],\quad \bar x = 2x_+ - x$$
//!
//! with diagonal steps $\sigma = \rho W$ and $\tau_j = 1/(\rho\,(A^TWA1)_j + 4d\,\sigma_q)$,
//! which Schur's test allows for an operator without negative entries; for others
//! $(A^TWA1)_j$ is replaced by the largest eigenvalue of $A^TWA$. $p$ tends to $W(Ax-y)$, and
//! $q$ to $\lambda$ times the directions of the edges.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda$ | that of $\|y\|_W^2/x$ | `tv_weight` |
//! | $\rho$ | 1 | 0.1: larger steps of the image, smaller ones of the data than 1 |
//! | $\sigma_q$ | | so that $4d\,\sigma_q$ is a tenth of $\rho$ times the mean of $A^TWA1$ |
//!
//! Source: Chambolle & Pock 2011, doi:10.1007/s10851-010-0251-1 (algorithm 1); Pock &
//! Chambolle 2011, doi:10.1109/ICCV.2011.6126441 (diagonal steps); for CT Sidky, Jørgensen &
//! Pan 2012, doi:10.1088/0031-9155/57/10/3065. Validated by
//! `pdhg_and_fista_reach_the_same_minimum` and `the_duality_gap_closes` in
//! `inference/tests/reconstruct.rs`.

use super::norm::curvature;
use super::tv_descent::lattice;
use super::vector::{each, each2, each3, sum};
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step, tv_weight};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{Field, Lattice, add_transpose, ascend, total_variation};

/// $\rho$.
const DATA_STEP: f64 = 0.1;
/// $4d\,\sigma_q$ as a share of $\rho$ times the mean of $A^TWA1$.
const VARIATION_SHARE: f64 = 0.1;
/// What the eigenvalue may be too small by.
const MARGIN: f64 = 1.02;

/// The state.
pub(super) struct PdhgTv<T> {
    x: Vec<T>,
    /// $2x - x_-$.
    bar: Vec<T>,
    p: Vec<T>,
    q: Field<T>,
    /// $Ax$ and $A\bar x$.
    means: [Vec<T>; 2],
    lattice: Lattice,
    tv_weight: f64,
    sigma_q: f64,
    tau: Vec<T>,
    update: Vec<T>,
    rays: Vec<T>,
}

/// $(A^TWA1)_j$, or the eigenvalue where entries may be negative.
pub(super) fn majorant<T: Real>(problem: &Problem<'_, T>) -> Result<Vec<T>, ReconstructError> {
    let mut out = vec![T::default(); problem.n_voxels()];
    if problem.operator.has_no_negative_entries() {
        let mut rows = problem.operator.row_sums(&problem.all_views)?;
        if let Some(w) = problem.weights {
            each2(&mut rows, w, |r, w| r * w);
        }
        problem.transpose(&rows, &mut out)?;
        if out.iter().all(|v| v.wide() == 0.0) {
            return Err(ReconstructError::NoRays);
        }
    } else {
        let value = MARGIN * curvature(problem)?;
        if value == 0.0 {
            return Err(ReconstructError::NoRays);
        }
        out.fill(T::narrow(value));
    }
    Ok(out)
}

impl<T: Real> PdhgTv<T> {
    pub(super) fn new(
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        let lattice = lattice(problem)?;
        let weight = tv_weight::resolve(problem, settings)?;
        let mut tau = majorant(problem)?;
        let covered = tau.iter().filter(|v| v.wide() > 0.0).count() as f64;
        let mean = sum(&tau, |v| v) / covered;
        let share = VARIATION_SHARE * DATA_STEP * mean;
        each(&mut tau, |v| 1.0 / (DATA_STEP * v + share));
        let x = problem.first();
        let mut means = vec![T::default(); problem.projections.len()];
        problem.forward(&x, &mut means)?;
        Ok(Self {
            bar: x.clone(),
            p: vec![T::default(); means.len()],
            q: lattice.field(),
            rays: means.clone(),
            means: [means.clone(), means],
            sigma_q: share / lattice.squared_norm(),
            lattice,
            tv_weight: weight,
            tau,
            update: x.clone(),
            x,
        })
    }
}

impl<T: Real> Method<T> for PdhgTv<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let y = problem.projections;
        each3(&mut self.rays, &self.means[1], y, |_, m, y| m - y);
        // With sigma = rho W the denominator is W (1 + rho).
        let rho = DATA_STEP;
        match problem.weights {
            Some(w) => each3(&mut self.p, &self.rays, w, |p, r, w| (p + rho * w * r) / (1.0 + rho)),
            None => each2(&mut self.p, &self.rays, |p, r| (p + rho * r) / (1.0 + rho)),
        }
        ascend(&self.lattice, &self.bar, &mut self.q, self.sigma_q, self.tv_weight);
        problem.transpose(&self.p, &mut self.update)?;
        add_transpose(&self.lattice, &self.q, &mut self.update, 1.0);
        self.bar.copy_from_slice(&self.x);
        each3(&mut self.x, &self.update, &self.tau, |x, g, t| x - t * g);
        problem.clip(&mut self.x);
        each2(&mut self.bar, &self.x, |old, new| 2.0 * new - old);
        let [means, bar] = &mut self.means;
        std::mem::swap(means, bar);
        // Now `bar` holds the old Ax, and the old A x-bar gives way to the new Ax.
        problem.forward(&self.x, means)?;
        each2(bar, means, |old, new| 2.0 * new - old);
        each3(&mut self.rays, means, y, |_, m, y| y - m);
        let residual_norm = problem.residual_norm(&self.rays);
        let variation = total_variation(&self.lattice, &self.x);
        let objective = 0.5 * residual_norm * residual_norm + self.tv_weight * variation;
        Ok(Step { residual_norm, objective, step: self.sigma_q })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        let [means, bar_means] = &mut self.means;
        for (name, array) in [
            ("x", &mut self.x),
            ("bar", &mut self.bar),
            ("p", &mut self.p),
            ("means", means),
            ("bar_means", bar_means),
        ] {
            visitor.array(name, array);
        }
        self.q.iter_mut().for_each(|q| visitor.array("q", q));
    }
}
