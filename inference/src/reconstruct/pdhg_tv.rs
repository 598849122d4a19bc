//! Least squares and total variation by a primal-dual method.
//!
//! $$\min_{\ell\le x\le u}\ \tfrac12\|y-Ax\|_W^2 + \lambda\,\mathrm{TV}(x)$$
//!
//! $$p \leftarrow \frac{W(p + \sigma(A\bar x - y))}{W + \sigma},\quad
//!   q \leftarrow \Pi_\lambda(q + \sigma_q\nabla\bar x),\quad
//!   x_+ = P[x - \tau(A^Tp + \nabla^Tq)],\quad \bar x = 2x_+ - x$$
//!
//! with diagonal steps $\sigma = \rho W/\theta$, $\sigma_q = \rho_q/\theta$ and
//! $\tau_j = \theta/(\rho\,(A^TWA1)_j + 4d\,\rho_q)$, which Schur's test allows for an operator
//! without negative entries; for others $(A^TWA1)_j$ is replaced by the largest eigenvalue of
//! $A^TWA$. $p$ tends to $W(Ax-y)$, and $q$ to $\lambda$ times the directions of the edges.
//!
//! $\theta$ balances the two residuals, each in the metric of its steps at $\theta = 1$,
//!
//! $$P = \Big\|\frac{x-x_+}{\tau} - K^T(z-z_+)\Big\|_{\tau_1},\qquad
//!   D = \Big\|\frac{z-z_+}{\sigma} - K(x-x_+)\Big\|_{\sigma_1},\qquad K = (A, \nabla),\ z = (p, q)$$
//!
//! $\theta \leftarrow \theta/(1-\alpha)$ where $P > 1.5\,D$, $\theta \leftarrow \theta(1-\alpha)$
//! where $D > 1.5\,P$, and $\alpha \leftarrow 0.95\,\alpha$ with every change, from 0.5: the
//! changes are summable, so that the method still converges.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda$ | that of $\|y\|_W^2/x$ | `tv_weight` |
//! | $\rho$ | 1 | 0.1: larger steps of the image, smaller ones of the data than 1 |
//! | $\rho_q$ | | so that $4d\,\rho_q$ is $\rho$ times the mean of $A^TWA1$ |
//!
//! Source: Chambolle & Pock 2011, doi:10.1007/s10851-010-0251-1 (algorithm 1); Pock &
//! Chambolle 2011, doi:10.1109/ICCV.2011.6126441 (diagonal steps); Goldstein, Li, Yuan, Esser &
//! Baraniuk 2013, arXiv:1305.0546 (algorithm 2, the balance and its constants); for CT Sidky,
//! Jørgensen & Pan 2012, doi:10.1088/0031-9155/57/10/3065. Validated by
//! `pdhg_and_fista_reach_the_same_minimum` and `the_duality_gap_closes` in
//! `inference/tests/suite/reconstruct/`.

use super::norm::curvature;
use super::tv_descent::lattice;
use super::vector::{each, each2, each3, sum, sum3, sum4};
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step, tv_weight};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{
    Field, Lattice, add_transpose, ascend, gradient, total_variation,
};

/// $\rho$.
const DATA_STEP: f64 = 0.1;
/// $P/D$, or $D/P$, that is balanced enough.
const UNEVEN: f64 = 1.5;
/// $\alpha$ at first, and its factor.
const ADAPTIVITY: [f64; 2] = [0.5, 0.95];
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
    /// $\rho_q$.
    sigma_q: f64,
    /// $\theta$, $\alpha$, and 1 after the first step.
    balance: [f64; 3],
    /// At $\theta = 1$.
    tau: Vec<T>,
    /// $A^Tp + \nabla^Tq$, and that of the step before.
    update: Vec<T>,
    update_before: Vec<T>,
    p_before: Vec<T>,
    q_before: Field<T>,
    rays: Vec<T>,
    field: Field<T>,
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
        let share = DATA_STEP * mean;
        each(&mut tau, |v| 1.0 / (DATA_STEP * v + share));
        let x = problem.first();
        let mut means = vec![T::default(); problem.projections.len()];
        problem.forward(&x, &mut means)?;
        Ok(Self {
            bar: x.clone(),
            p: vec![T::default(); means.len()],
            p_before: vec![T::default(); means.len()],
            q: lattice.field(),
            q_before: lattice.field(),
            field: lattice.field(),
            rays: means.clone(),
            means: [means.clone(), means],
            sigma_q: share / lattice.squared_norm(),
            lattice,
            tv_weight: weight,
            balance: [1.0, ADAPTIVITY[0], 0.0],
            tau,
            update: vec![T::default(); x.len()],
            update_before: vec![T::default(); x.len()],
            x,
        })
    }

    /// $P^2$ and $D^2$, from the change of x and that of p and q after it. Uses `rays`,
    /// `field` and `update_before` up.
    fn residuals(&mut self, problem: &Problem<'_, T>) -> [f64; 2] {
        let theta = self.balance[0];
        each2(&mut self.update_before, &self.update, |old, new| old - new);
        // x - bar is the x before less the x now.
        let arrays = [&self.x[..], &self.bar, &self.update_before, &self.tau];
        let primal = sum4(arrays, |[x, bar, g, t]| {
            let r = (x - bar) / (theta * t) - g;
            t * r * r
        });
        let [means, bar_means] = &self.means;
        each3(&mut self.rays, means, bar_means, |_, m, bar| m - bar);
        let scale = theta / DATA_STEP;
        let part = |[old, new, moved, w]: [f64; 4]| {
            let r = if w > 0.0 { scale * (old - new) / w - moved } else { 0.0 };
            DATA_STEP * w * r * r
        };
        let mut dual = match problem.weights {
            Some(w) => sum4([&self.p_before, &self.p, &self.rays, w], part),
            None => sum3(&self.p_before, &self.p, &self.rays, |old, new, moved| {
                part([old, new, moved, 1.0])
            }),
        };
        let moved = &mut self.update_before;
        each3(moved, &self.x, &self.bar, |_, x, bar| x - bar);
        gradient(&self.lattice, moved, &mut self.field);
        let scale = theta / self.sigma_q;
        for ((old, new), moved) in self.q_before.iter().zip(&self.q).zip(&self.field) {
            let square = sum3(old, new, moved, |old, new, moved| {
                let r = scale * (old - new) - moved;
                r * r
            });
            dual += self.sigma_q * square;
        }
        [primal, dual]
    }

    /// Makes the larger residual smaller.
    fn rebalance(&mut self, [primal, dual]: [f64; 2]) {
        let [theta, alpha, _] = &mut self.balance;
        let limit = UNEVEN * UNEVEN;
        if primal > limit * dual {
            *theta /= 1.0 - *alpha;
        } else if dual > limit * primal {
            *theta *= 1.0 - *alpha;
        } else {
            return;
        }
        *alpha *= ADAPTIVITY[1];
    }
}

impl<T: Real> Method<T> for PdhgTv<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let y = problem.projections;
        each3(&mut self.rays, &self.means[1], y, |_, m, y| m - y);
        // With sigma = rho W the denominator is W (1 + rho).
        let rho = DATA_STEP / self.balance[0];
        self.p_before.copy_from_slice(&self.p);
        match problem.weights {
            Some(w) => each3(&mut self.p, &self.rays, w, |p, r, w| (p + rho * w * r) / (1.0 + rho)),
            None => each2(&mut self.p, &self.rays, |p, r| (p + rho * r) / (1.0 + rho)),
        }
        for (old, new) in self.q_before.iter_mut().zip(&self.q) {
            old.copy_from_slice(new);
        }
        let step = self.sigma_q / self.balance[0];
        ascend(&self.lattice, &self.bar, &mut self.q, step, self.tv_weight);
        std::mem::swap(&mut self.update, &mut self.update_before);
        problem.transpose(&self.p, &mut self.update)?;
        add_transpose(&self.lattice, &self.q, &mut self.update, 1.0);
        if self.balance[2] > 0.0 {
            let residuals = self.residuals(problem);
            self.rebalance(residuals);
        }
        self.balance[2] = 1.0;
        let theta = self.balance[0];
        self.bar.copy_from_slice(&self.x);
        each3(&mut self.x, &self.update, &self.tau, |x, g, t| x - theta * t * g);
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
        Ok(Step { residual_norm, objective, step: theta })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.numbers("balance", &mut self.balance);
        let [means, bar_means] = &mut self.means;
        for (name, array) in [
            ("x", &mut self.x),
            ("bar", &mut self.bar),
            ("p", &mut self.p),
            ("means", means),
            ("bar_means", bar_means),
            ("update", &mut self.update),
        ] {
            visitor.array(name, array);
        }
        self.q.iter_mut().for_each(|q| visitor.array("q", q));
    }
}
