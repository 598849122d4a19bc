//! Levenberg-Marquardt with bounds, as an argmin `Solver`.
//!
//! $$(H + \lambda\,\mathrm{diag} H)\,s = -g$$
//!
//! $H$ is the Gauss-Newton matrix (for Rician noise: with the curvature of the
//! likelihood as weights), $g$ the gradient of the cost in tangent coordinates.
//! Coordinates at a bound that the step would cross are frozen; the step is
//! taken with projection. $\lambda$ follows the gain ratio.
//!
//! A trial point is linearised at once: the few that are rejected cost less
//! than a separate evaluation of the cost of all others.
//!
//! Where columns of the Jacobian become dependent the Gauss-Newton matrix has no
//! curvature along a direction $v$, and its steps end at any point with $g = 0$ there,
//! be it a minimum or an inflection of the valley along $v$ ([`fold`]).
//!
//! Source: Marquardt 1963, doi:10.1137/0111030; damping rule of Nielsen 1999,
//! *Damping parameter in Marquardt's method*, IMM-REP-1999-05, eq. 2.5; projection
//! with an active set as Kanzow, Yamashita & Fukushima 2004, doi:10.1016/j.cam.2004.02.013.
//!
//! Validated by `rosenbrock_with_bounds`, `step_is_newton_without_damping` and
//! `fold_is_the_null_direction` below.

use crate::dense::{cholesky, cholesky_solve};
use argmin::core::{Error, IterState, KV, Problem, Solver, TerminationReason, TerminationStatus};
use microtome_kernels::eigen::eigen_symmetric;

/// What Levenberg-Marquardt minimises: a cost in bounded tangent coordinates.
pub trait Objective {
    /// Number of tangent coordinates.
    fn dim(&self) -> usize;

    /// The cost, its gradient and its Gauss-Newton matrix in the tangent
    /// coordinates of `x`.
    ///
    /// # Shapes
    /// `gradient` `[dim]`, `hessian` `[dim, dim]`.
    fn linearise(&mut self, x: &[f64], gradient: &mut [f64], hessian: &mut [f64]) -> f64;

    /// Moves `x` by `step` within the bounds; `step` becomes what was taken.
    fn retract(&self, x: &[f64], step: &mut [f64], out: &mut [f64]);

    /// Coordinates at a bound that `-gradient` would cross.
    fn blocked(&self, x: &[f64], gradient: &[f64], out: &mut [bool]);
}

/// The damped step $s$ of the free coordinates; `None` when the damped matrix is
/// not positive definite.
///
/// # Shapes
/// `hessian` `[n, n]`, `gradient` `[n]`; frozen coordinates get step 0.
pub fn step(hessian: &[f64], gradient: &[f64], frozen: &[bool], lambda: f64) -> Option<Vec<f64>> {
    let n = gradient.len();
    let mut a = vec![0.0; n * n];
    let mut s = vec![0.0; n];
    for i in 0..n {
        if frozen[i] {
            a[i * n + i] = 1.0;
            continue;
        }
        s[i] = -gradient[i];
        for j in 0..n {
            if !frozen[j] {
                a[i * n + j] = hessian[i * n + j];
            }
        }
        // Marquardt's scaling: steps do not depend on units. A coordinate without
        // curvature has no gradient either.
        let scale = hessian[i * n + i];
        a[i * n + i] += if scale > 0.0 { lambda * scale } else { 1.0 };
    }
    if !cholesky(&mut a, n, 1e-14) {
        return None;
    }
    cholesky_solve(&a, n, &mut s);
    s.iter().all(|v| v.is_finite()).then_some(s)
}

/// Gauss-Newton matrices in units of their diagonal with a pivot below this are folds.
const FOLD: f64 = 1e-7;

/// The direction without curvature of a Gauss-Newton matrix among the coordinates that
/// are not frozen and have curvature of their own; `None` when it has full rank.
///
/// # Shapes
/// `hessian` `[n, n]`, `frozen` `[n]`; the direction `[n]`, 0 where frozen.
fn fold(hessian: &[f64], frozen: &[bool]) -> Option<Vec<f64>> {
    let n = frozen.len();
    let scale = |i: usize| hessian[i * n + i].max(0.0).sqrt();
    let live: Vec<usize> = (0..n).filter(|&i| !frozen[i] && scale(i) > 0.0).collect();
    let m = live.len();
    let mut a = vec![0.0; m * m];
    for (i, &p) in live.iter().enumerate() {
        for (j, &q) in live.iter().enumerate() {
            a[i * m + j] = hessian[p * n + q] / (scale(p) * scale(q));
        }
    }
    if m == 0 || cholesky(&mut a.clone(), m, FOLD) {
        return None;
    }
    // Eigenvalues fall: the last row.
    let (_, vectors) = eigen_symmetric(&a, m);
    let mut out = vec![0.0; n];
    for (i, &p) in live.iter().enumerate() {
        out[p] = vectors[(m - 1) * m + i] / scale(p);
    }
    out.iter().all(|v| v.is_finite()).then_some(out)
}

/// The argmin solver; its state is one fit.
#[derive(Debug, Clone)]
pub struct LevenbergMarquardt {
    lambda: f64,
    growth: f64,
    relative_decrease: f64,
    absolute_decrease: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
    frozen: Vec<bool>,
    trial: Vec<f64>,
    trial_gradient: Vec<f64>,
    trial_hessian: Vec<f64>,
    done: bool,
}

impl Default for LevenbergMarquardt {
    fn default() -> Self {
        Self {
            lambda: 1e-2,
            growth: 2.0,
            relative_decrease: 1e-7,
            absolute_decrease: 1e-9,
            gradient: Vec::new(),
            hessian: Vec::new(),
            frozen: Vec::new(),
            trial: Vec::new(),
            trial_gradient: Vec::new(),
            trial_hessian: Vec::new(),
            done: false,
        }
    }
}

impl LevenbergMarquardt {
    /// A solver that stops when a step lowers the cost by less than
    /// `relative * cost + absolute` (the cost of a likelihood is in nats).
    pub fn with_tolerance(relative: f64, absolute: f64) -> Self {
        Self { relative_decrease: relative, absolute_decrease: absolute, ..Self::default() }
    }
}

impl LevenbergMarquardt {
    /// The direction without curvature where the solver ended (see `fold`).
    pub fn fold(&self) -> Option<Vec<f64>> {
        fold(&self.hessian, &self.frozen)
    }
}

/// The problem that argmin hands around.
fn objective<O>(problem: &mut Problem<O>) -> Result<&mut O, Error> {
    problem.problem.as_mut().ok_or_else(|| {
        argmin::core::ArgminError::NotInitialized { text: "no objective".into() }.into()
    })
}

type FitState = IterState<Vec<f64>, (), (), (), (), f64>;

impl<O: Objective> Solver<O, FitState> for LevenbergMarquardt {
    fn name(&self) -> &str {
        "Levenberg-Marquardt"
    }

    fn init(
        &mut self,
        problem: &mut Problem<O>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let x = state.take_param().unwrap_or_default();
        let o = objective(problem)?;
        let n = o.dim();
        self.gradient.resize(n, 0.0);
        self.hessian.resize(n * n, 0.0);
        self.frozen.resize(n, false);
        self.trial.resize(x.len(), 0.0);
        self.trial_gradient.resize(n, 0.0);
        self.trial_hessian.resize(n * n, 0.0);
        let cost = o.linearise(&x, &mut self.gradient, &mut self.hessian);
        self.done = !cost.is_finite();
        Ok((state.param(x).cost(cost), None))
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<O>,
        mut state: FitState,
    ) -> Result<(FitState, Option<KV>), Error> {
        let mut x = state.take_param().unwrap_or_default();
        let cost = state.get_cost();
        let cost = self.iterate(objective(problem)?, &mut x, cost);
        Ok((state.param(x).cost(cost), None))
    }

    fn terminate(&mut self, _state: &FitState) -> TerminationStatus {
        if self.done {
            return TerminationStatus::Terminated(TerminationReason::SolverConverged);
        }
        TerminationStatus::NotTerminated
    }
}

impl LevenbergMarquardt {
    /// One damped step: moves `x` when it lowers the cost; returns the cost.
    fn iterate<O: Objective>(&mut self, o: &mut O, x: &mut Vec<f64>, cost: f64) -> f64 {
        o.blocked(x, &self.gradient, &mut self.frozen);
        let Some(mut s) = step(&self.hessian, &self.gradient, &self.frozen, self.lambda) else {
            self.reject();
            return cost;
        };
        // What the whole step would gain decides the end; what is left of it
        // inside the bounds decides the damping.
        let whole = self.predicted_decrease(&s);
        o.retract(x, &mut s, &mut self.trial);
        let trial_cost =
            o.linearise(&self.trial, &mut self.trial_gradient, &mut self.trial_hessian);
        let predicted = self.predicted_decrease(&s);
        let decrease = cost - trial_cost;
        let tolerance = self.relative_decrease * cost.abs() + self.absolute_decrease;
        if !(decrease > 0.0 && decrease.is_finite()) {
            self.done = whole <= tolerance;
            self.reject();
            return cost;
        }
        std::mem::swap(x, &mut self.trial);
        std::mem::swap(&mut self.gradient, &mut self.trial_gradient);
        std::mem::swap(&mut self.hessian, &mut self.trial_hessian);
        let gain = if predicted > 0.0 { decrease / predicted } else { 0.0 };
        self.lambda =
            (self.lambda * (1.0 / 3.0_f64).max(1.0 - (2.0 * gain - 1.0).powi(3))).max(1e-12);
        self.growth = 2.0;
        self.done = decrease <= tolerance;
        trial_cost
    }

    fn reject(&mut self) {
        self.lambda *= self.growth;
        self.growth *= 2.0;
        if self.lambda > 1e16 {
            self.done = true;
        }
    }

    fn predicted_decrease(&self, s: &[f64]) -> f64 {
        let n = s.len();
        let mut sum = 0.0;
        for i in 0..n {
            let h: f64 = (0..n).map(|j| self.hessian[i * n + j] * s[j]).sum();
            sum -= s[i] * (self.gradient[i] + 0.5 * h);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use argmin::core::{Executor, State};

    /// Rosenbrock's valley as residuals (1 - x, 10 (y - x²)), x at most `bound`.
    struct Rosenbrock {
        bound: f64,
    }

    impl Objective for Rosenbrock {
        fn dim(&self) -> usize {
            2
        }
        fn linearise(&mut self, x: &[f64], g: &mut [f64], h: &mut [f64]) -> f64 {
            let r = [1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])];
            let j = [[-1.0, 0.0], [-20.0 * x[0], 10.0]];
            for a in 0..2 {
                g[a] = (0..2).map(|i| j[i][a] * r[i]).sum();
                for b in 0..2 {
                    h[a * 2 + b] = (0..2).map(|i| j[i][a] * j[i][b]).sum();
                }
            }
            0.5 * (r[0] * r[0] + r[1] * r[1])
        }
        fn retract(&self, x: &[f64], s: &mut [f64], out: &mut [f64]) {
            out[0] = (x[0] + s[0]).min(self.bound);
            s[0] = out[0] - x[0];
            out[1] = x[1] + s[1];
        }
        fn blocked(&self, x: &[f64], g: &[f64], out: &mut [bool]) {
            out[0] = x[0] >= self.bound && g[0] < 0.0;
            out[1] = false;
        }
    }

    fn minimise(bound: f64) -> Vec<f64> {
        let result =
            Executor::new(Rosenbrock { bound }, LevenbergMarquardt::with_tolerance(0.0, 1e-14))
                .configure(|s| s.param(vec![-1.2, 1.0]).max_iters(200))
                .run()
                .unwrap();
        assert!(result.state().terminated());
        result.state().get_best_param().unwrap().clone()
    }

    #[test]
    fn rosenbrock_with_bounds() {
        let free = minimise(9.0);
        assert!((free[0] - 1.0).abs() < 1e-6 && (free[1] - 1.0).abs() < 1e-6, "{free:?}");
        let bounded = minimise(0.5);
        assert!(
            (bounded[0] - 0.5).abs() < 1e-12 && (bounded[1] - 0.25).abs() < 1e-6,
            "{bounded:?}"
        );
    }

    #[test]
    fn step_is_newton_without_damping() {
        let s = step(&[2.0, 1.0, 1.0, 3.0], &[1.0, 2.0], &[false, false], 0.0).unwrap();
        assert!((2.0 * s[0] + s[1] + 1.0).abs() < 1e-14 && (s[0] + 3.0 * s[1] + 2.0).abs() < 1e-14);
        let s = step(&[2.0, 1.0, 1.0, 4.0], &[1.0, 4.0], &[true, false], 0.0).unwrap();
        assert_eq!(s, [0.0, -1.0]);
        assert!(step(&[-1.0, 0.0, 0.0, 1.0], &[1.0, 1.0], &[false, false], 0.0).is_none());
    }

    #[test]
    fn fold_is_the_null_direction() {
        // JᵀJ of the rows (1, 2, 0) and (0, 0, 1): (2, -1, 0) has no curvature.
        let hessian = [1.0, 2.0, 0.0, 2.0, 4.0, 0.0, 0.0, 0.0, 1.0];
        let v = fold(&hessian, &[false; 3]).unwrap();
        assert!((v[0] + 2.0 * v[1]).abs() < 1e-12 && v[2].abs() < 1e-12, "{v:?}");
        assert!(v[0].abs() > 0.1);
        assert!(fold(&hessian, &[true, false, false]).is_none());
        assert!(fold(&[2.0, 1.0, 1.0, 3.0], &[false; 2]).is_none());
    }
}
