//! Poses against a known volume: Levenberg-Marquardt in every view.
//!
//! $$\min_{q_i}\ \sum_r\rho\!\left(\frac{p_r(\theta_i + B_iq_i) - y_r}{\sigma_i}\right),\qquad
//!   \operatorname{cov}q_i = (B_i^TJ_i^TWJ_iB_i)^{-1}$$
//!
//! from coarse to fine pixels and voxels, so that errors of several pixels are found. $\sigma_i$
//! is the spread of the residuals of the view (for robust losses from their median), so that
//! standard errors hold for the noise that there is.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $q_i$ | mm | changes of a pose, see `unknowns` |
//! | $\sigma_i$ | 1 | noise of view i |
//!
//! Source: Marquardt 1963, doi:10.1137/0111030; for views Jacobson & Sauer 2004 (2D/3D
//! registration by intensities). Validated by `known_volume_gives_the_poses` and
//! `standard_errors_are_those_of_repetitions` in `inference/tests/suite/align.rs`.

use super::{AlignError, Loss, Unknowns};
use crate::dense::{cholesky, cholesky_inverse};
use crate::fit::{LevenbergMarquardt, Objective};
use argmin::core::{Executor, State};
use microtome_kernels::ray::Real;
use microtome_models::ct::PoseModel;
use rayon::prelude::*;

/// The median of |z| of a standard normal z.
pub(super) const MEDIAN: f64 = 0.674_489_750_196_081_7;
/// Views whose residuals lie so many spreads above the median are outliers.
const OUTLIER: f64 = 5.0;
/// Residuals below this part of a view's norm are those of rounding.
pub(super) const ROUNDING: f64 = 1e-6;

/// How poses are searched in a known volume.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownSettings {
    /// Factors of pixels and voxels, from coarse to fine.
    pub levels: Vec<usize>,
    /// Cost of a residual.
    pub loss: Loss,
    /// Most iterations a level.
    pub iterations: usize,
}

impl Default for KnownSettings {
    fn default() -> Self {
        Self { levels: vec![4, 2, 1], loss: Loss::Squares, iterations: 40 }
    }
}

/// How the search of a view ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewStatus {
    /// Good.
    Converged,
    /// The limit of iterations was reached.
    MaxIterations,
    /// The view does not determine its parameters.
    Singular,
    /// Its residuals are far larger than those of the others.
    Outlier,
}

impl ViewStatus {
    /// In files.
    pub fn name(self) -> &'static str {
        match self {
            ViewStatus::Converged => "converged",
            ViewStatus::MaxIterations => "max_iterations",
            ViewStatus::Singular => "singular",
            ViewStatus::Outlier => "outlier",
        }
    }
}

/// The pose of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewFit {
    /// One value a parameter.
    pub theta: Vec<f64>,
    /// Standard errors; 0 for what is not searched, NaN where the view is singular.
    pub sd: Vec<f64>,
    /// $\frac12\sum(p-y)^2$.
    pub loss: f64,
    /// $\sigma_i$.
    pub sigma: f64,
    /// Weight of the view among the others.
    pub weight: f64,
    /// How it ended.
    pub status: ViewStatus,
    /// Steps of all levels.
    pub iterations: u64,
}

/// The problem of a view.
struct OneView<'a, T> {
    model: &'a PoseModel,
    view: usize,
    volume: &'a [T],
    measured: &'a [T],
    start: &'a [f64],
    basis: &'a [Vec<f64>],
    loss: Loss,
    sigma: f64,
    /// $\sum(p-y)^2$, values that count, and sizes of residuals, of the last place.
    squares: f64,
    count: f64,
    sizes: Vec<f64>,
}

impl<T: Real> OneView<'_, T> {
    fn theta(&self, q: &[f64]) -> Vec<f64> {
        let mut out = self.start.to_vec();
        for (q, d) in q.iter().zip(self.basis) {
            out.iter_mut().zip(d).for_each(|(o, d)| *o += q * d);
        }
        out
    }
}

impl<T: Real> Objective for OneView<'_, T> {
    fn dim(&self) -> usize {
        self.basis.len()
    }

    fn linearise(&mut self, q: &[f64], gradient: &mut [f64], hessian: &mut [f64]) -> f64 {
        let theta = self.theta(q);
        let Ok((p, j)) = self.model.jacobian(self.view, &theta, self.volume) else {
            return f64::INFINITY;
        };
        let pixels = p.len();
        let (n, m) = (theta.len(), self.basis.len());
        let mask = self.model.mask().map(|k| &k[self.view * pixels..(self.view + 1) * pixels]);
        let (mut g, mut h) = (vec![0.0; n], vec![0.0; n * n]);
        let mut cost = 0.0;
        (self.squares, self.count) = (0.0, 0.0);
        self.sizes.clear();
        let mut row = vec![0.0; n];
        for i in 0..pixels {
            if mask.is_some_and(|k| k[i] == 0) {
                continue;
            }
            let r = p[i].wide() - self.measured[i].wide();
            let z = r / self.sigma;
            cost += self.loss.cost(z);
            let w = self.loss.weight(z) / (self.sigma * self.sigma);
            self.squares += r * r;
            self.count += 1.0;
            self.sizes.push(r.abs());
            for k in 0..n {
                row[k] = j[k * pixels + i].wide();
            }
            for a in 0..n {
                let wa = w * row[a];
                g[a] += wa * r;
                for b in 0..=a {
                    h[a * n + b] += wa * row[b];
                }
            }
        }
        for a in 0..n {
            for b in 0..a {
                h[b * n + a] = h[a * n + b];
            }
        }
        for a in 0..m {
            let d = &self.basis[a];
            gradient[a] = d.iter().zip(&g).map(|(d, g)| d * g).sum();
            for b in 0..m {
                let e = &self.basis[b];
                hessian[a * m + b] =
                    (0..n).map(|p| d[p] * (0..n).map(|q| h[p * n + q] * e[q]).sum::<f64>()).sum();
            }
        }
        cost
    }

    fn retract(&self, x: &[f64], step: &mut [f64], out: &mut [f64]) {
        // No more than a few voxels at once.
        let most = 3.0 * self.model.voxel_mm();
        let greatest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
        if greatest > most {
            step.iter_mut().for_each(|s| *s *= most / greatest);
        }
        for ((o, x), s) in out.iter_mut().zip(x).zip(step) {
            *o = x + *s;
        }
    }

    fn blocked(&self, _x: &[f64], _gradient: &[f64], out: &mut [bool]) {
        out.fill(false);
    }
}

/// The middle of some sizes, which it reorders.
pub(super) fn median(sizes: &mut [f64]) -> f64 {
    if sizes.is_empty() {
        return 0.0;
    }
    let middle = sizes.len() / 2;
    *sizes.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// One search of a view at one level: the changes, and how it ended.
fn search<T: Real>(
    problem: &mut OneView<'_, T>,
    iterations: usize,
) -> Result<(Vec<f64>, bool, u64), AlignError> {
    let m = problem.basis.len();
    let solver = LevenbergMarquardt::with_tolerance(1e-9, 1e-9);
    let wrong = |e: argmin::core::Error| AlignError::setting("search", e.to_string());
    let (mut g, mut h) = (vec![0.0; m], vec![0.0; m * m]);
    // `Executor` takes the problem; this is a copy of its borrowed parts.
    let own = OneView { sizes: Vec::new(), ..*problem };
    let result = Executor::new(own, solver)
        .configure(|s| s.param(vec![0.0; m]).max_iters(iterations as u64))
        .run()
        .map_err(wrong)?;
    let state = result.state();
    let q = state.get_param().or(state.get_best_param()).cloned().unwrap_or_else(|| vec![0.0; m]);
    let (made, taken) = (state.get_iter(), state.get_iter() < iterations as u64);
    problem.linearise(&q, &mut g, &mut h);
    Ok((q, taken, made))
}

fn one_view<T: Real>(
    models: &[(PoseModel, Vec<T>, Vec<T>)],
    view: usize,
    start: &[f64],
    basis: &[Vec<f64>],
    settings: &KnownSettings,
) -> Result<ViewFit, AlignError> {
    let mut theta = start.to_vec();
    let (n, m) = (theta.len(), basis.len());
    let mut out = ViewFit {
        theta: Vec::new(),
        sd: vec![0.0; n],
        loss: 0.0,
        sigma: 0.0,
        weight: 1.0,
        status: ViewStatus::Converged,
        iterations: 0,
    };
    for (model, volume, measured) in models {
        let pixels = measured.len() / model.n_views();
        let measured = &measured[view * pixels..(view + 1) * pixels];
        let from = theta.clone();
        let mut problem = OneView {
            model,
            view,
            volume,
            measured,
            start: &from,
            basis,
            loss: Loss::Squares,
            sigma: 1.0,
            squares: 0.0,
            count: 0.0,
            sizes: Vec::new(),
        };
        let (mut g, mut h) = (vec![0.0; m], vec![0.0; m * m]);
        problem.linearise(&vec![0.0; m], &mut g, &mut h);
        // The scale of the cost, so that its tolerance is one of likelihoods.
        let spread = |p: &mut OneView<'_, T>, robust: bool| {
            let free = (p.count - m as f64).max(1.0);
            let squares = (p.squares / free).sqrt();
            let middle = median(&mut p.sizes) / MEDIAN;
            let sigma = if robust && middle > 0.0 { middle } else { squares };
            sigma.max(1e-12 * p.measured.iter().fold(1e-30_f64, |s, v| s.max(v.wide().abs())))
        };
        let robust = settings.loss != Loss::Squares;
        let mut q = vec![0.0; m];
        // With a robust loss the scale is known only after a first search.
        for _ in 0..if robust { 3 } else { 1 } {
            problem.sigma = spread(&mut problem, robust);
            problem.loss = settings.loss;
            let (found, converged, made) = search(&mut problem, settings.iterations)?;
            q = found;
            out.iterations += made;
            out.status = if converged { ViewStatus::Converged } else { ViewStatus::MaxIterations };
        }
        problem.sigma = spread(&mut problem, robust);
        problem.linearise(&q, &mut g, &mut h);
        theta = problem.theta(&q);
        (out.loss, out.sigma) = (0.5 * problem.squares, problem.sigma);
        // Standard errors of the last level.
        out.sd = match covariance(&h, m, basis, n) {
            Some(cov) => (0..n).map(|k| cov[k * n + k].max(0.0).sqrt()).collect(),
            None => {
                out.status = ViewStatus::Singular;
                vec![f64::NAN; n]
            }
        };
    }
    out.theta = theta;
    Ok(out)
}

/// The covariance of all parameters from the curvature of the searched directions.
pub(super) fn covariance(
    curvature: &[f64],
    m: usize,
    basis: &[Vec<f64>],
    n: usize,
) -> Option<Vec<f64>> {
    let mut l = curvature.to_vec();
    if m == 0 || !cholesky(&mut l, m, 1e-10) {
        return (m == 0).then(|| vec![0.0; n * n]);
    }
    let inverse = cholesky_inverse(&l, m);
    let mut out = vec![0.0; n * n];
    for a in 0..m {
        for b in 0..m {
            for p in 0..n {
                for q in 0..n {
                    out[p * n + q] += basis[a][p] * inverse[a * m + b] * basis[b][q];
                }
            }
        }
    }
    Some(out)
}

/// Factors of the levels, checked.
pub(super) fn check_levels(levels: &[usize]) -> Result<(), AlignError> {
    let falls = levels.windows(2).all(|w| w[0] > w[1]);
    if levels.is_empty() || !falls || levels.contains(&0) {
        let what = format!("{levels:?}; falling factors such as 4, 2, 1 are needed");
        return Err(AlignError::setting("levels", what));
    }
    Ok(())
}

/// A table of poses has the right length and finite numbers.
pub(super) fn check_poses(model: &PoseModel, thetas: &[f64]) -> Result<(), AlignError> {
    let n = model.parameters().len();
    if thetas.len() != model.n_views() * n {
        let (found, views) = (thetas.len(), model.n_views());
        let what =
            format!("{found} values, but {views} views of {n} parameters need {}", views * n);
        return Err(AlignError::setting("poses", what));
    }
    thetas.chunks_exact(n).try_for_each(|t| model.motion_of(t).map(|_| ()))?;
    Ok(())
}

/// Finds the pose of every view in a known volume.
///
/// # Shapes
/// `thetas` `[view, parameter]`, `volume` `[z, y, x]`, `measured` `[view, v, u]`.
///
/// # Errors
/// Arrays of another length, settings out of range, common unknowns (the views are searched
/// one by one).
pub fn align_to_volume<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    volume: &[T],
    measured: &[T],
    unknowns: &Unknowns,
    settings: &KnownSettings,
) -> Result<Vec<ViewFit>, AlignError> {
    check_levels(&settings.levels)?;
    if !unknowns.common.is_empty() {
        let what = "the views are searched one by one here; unknowns common to all are those of \
                    `calibrate`";
        return Err(AlignError::setting("common", what));
    }
    let n = model.parameters().len();
    check_poses(model, thetas)?;
    let models = settings
        .levels
        .iter()
        .map(|&f| {
            let made = (
                model.coarser(f)?,
                model.binned_volume(volume, f)?,
                model.binned_projections(measured, f)?,
            );
            Ok(made)
        })
        .collect::<Result<Vec<_>, AlignError>>()?;
    let of = |view: usize| {
        one_view(&models, view, &thetas[view * n..(view + 1) * n], &unknowns.own[view], settings)
    };
    let all: Vec<_> = (0..model.n_views()).into_par_iter().map(of).collect();
    let mut all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    let square: f64 = measured.iter().map(|m| m.wide() * m.wide()).sum();
    judge(&mut all, ROUNDING * (square / model.n_views() as f64).sqrt());
    Ok(all)
}

/// Marks views whose residuals are far above those of the others, and above rounding.
pub(super) fn judge(all: &mut [ViewFit], rounding: f64) {
    let sigmas: Vec<f64> = all.iter().map(|v| (2.0 * v.loss).sqrt()).collect();
    let middle = median(&mut sigmas.clone());
    let mut gaps: Vec<f64> = sigmas.iter().map(|s| (s - middle).abs()).collect();
    let spread = (median(&mut gaps) / MEDIAN).max(0.02 * middle);
    for (view, s) in all.iter_mut().zip(&sigmas) {
        let far = (s - middle) / spread;
        if far > OUTLIER && *s > rounding {
            view.status = ViewStatus::Outlier;
            view.weight = (middle / s).powi(2);
        }
    }
}
