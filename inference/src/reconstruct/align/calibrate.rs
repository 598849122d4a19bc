//! Poses and what views share, against a known volume: calibration of a scanner.
//!
//! $$\min_{q, s}\ \sum_r\rho\!\left(\frac{p_r(\theta_i + B_iq_i + c_is) - y_r}{\sigma}\right)
//!   ,\qquad \operatorname{cov}s = S^{-1}$$
//!
//! by Levenberg and Marquardt over all views at once, from coarse to fine. The views'
//! unknowns are eliminated (`arrow`), so that a step costs one march of all views. A phantom of
//! balls whose places are known, drawn into the voxels, gives the errors of source and detector.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $q_i, s$ | mm | unknowns of view i and of all views, see `unknowns` |
//! | $\sigma$ | 1 | noise, from the residuals |
//! | $S$ | | Schur complement of the common unknowns |
//!
//! Source: Noo et al. 2000, doi:10.1088/0031-9155/45/11/327, and von Smekal et al. 2004,
//! doi:10.1118/1.1783552 (calibration by phantoms); Marquardt 1963, doi:10.1137/0111030. Validated by
//! `balls_calibrate_a_cone` and `balls_calibrate_a_fan` in `inference/tests/suite/calibrate.rs`.

use super::arrow::{Arrow, Blind};
use super::known::{MEDIAN, ROUNDING, check_levels, check_poses, judge, median};
use super::linear::{Linear, Weighing};
use super::{AlignError, KnownSettings, Loss, Unknowns, ViewFit, ViewStatus};
use microtome_kernels::ray::Real;
use microtome_models::ct::PoseModel;

/// Damping at the start, and the most of it.
const DAMPING: [f64; 2] = [1e-3, 1e9];
/// Relative fall of the cost, and steps in voxels, below which a search has converged.
const STILL: [f64; 2] = [1e-10, 1e-7];
/// Farthest that a step moves the edge of the volume, voxels.
const FARTHEST: f64 = 3.0;

/// What was found for all views together.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// A row a view; standard errors include those of the common unknowns.
    pub views: Vec<ViewFit>,
    /// Values of the common unknowns, mm at the edge of the volume.
    pub common: Vec<f64>,
    /// Their standard errors.
    pub common_sd: Vec<f64>,
    /// $\sigma$.
    pub sigma: f64,
    /// Steps of all levels.
    pub iterations: usize,
}

/// $\sigma$ from the residuals: their root mean square or, for robust losses, their median.
fn spread<T: Real>(linear: &Linear<T>, was: f64, free: usize, robust: bool) -> f64 {
    let seen: Vec<f64> = linear
        .residual
        .iter()
        .zip(&linear.weight)
        .filter(|(_, w)| w.wide() > 0.0)
        .map(|(z, _)| z.abs() * was)
        .collect();
    let count = seen.len().saturating_sub(free).max(1) as f64;
    let squares = (seen.iter().map(|r| r * r).sum::<f64>() / count).sqrt();
    let middle = median(&mut seen.clone()) / MEDIAN;
    if robust && middle > 0.0 { middle } else { squares }
}

/// Why a system can't be solved, in words.
fn blind(unknowns: &Unknowns, what: Blind) -> AlignError {
    let reason = match what {
        Blind::View(view) => format!(
            "view {view} (counted from 0) does not show all of its parameters; name fewer, or \
             leave the view out"
        ),
        Blind::Common(k) => format!(
            "`{}` can't be told from the other unknowns in these projections; leave it out",
            unknowns.common[k].0
        ),
    };
    AlignError::NoUnknowns { reason }
}

/// Finds poses and common unknowns in a known volume.
///
/// # Shapes
/// `thetas` `[view, parameter]`, `volume` `[z, y, x]`, `measured` `[view, v, u]`.
///
/// # Errors
/// Arrays of another length, settings out of range, unknowns that the projections don't show.
pub fn calibrate<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    volume: &[T],
    measured: &[T],
    unknowns: &Unknowns,
    settings: &KnownSettings,
) -> Result<Calibration, AlignError> {
    check_levels(&settings.levels)?;
    check_poses(model, thetas)?;
    let (views, scales) = (model.n_views(), model.scales());
    let largest = measured.iter().fold(0.0_f64, |m, v| m.max(v.wide().abs()));
    let least = 1e-9 * largest.max(f64::MIN_POSITIVE);
    let robust = settings.loss != Loss::Squares;
    let mut z = vec![0.0; unknowns.len()];
    let place = |z: &[f64]| -> Vec<f64> {
        thetas.iter().zip(unknowns.expand(z)).map(|(t, d)| t + d).collect()
    };
    let (mut iterations, mut converged) = (0, false);
    let mut last: Option<(Linear<T>, f64)> = None;
    for &factor in &settings.levels {
        let coarse = model.coarser(factor)?;
        let x = model.binned_volume(volume, factor)?;
        let y = model.binned_projections(measured, factor)?;
        let mut weighing =
            Weighing { sigma: largest.max(1.0), loss: Loss::Squares, views: vec![1.0; views] };
        let at = |z: &[f64], weighing: &Weighing| Linear::new(&coarse, &place(z), &x, &y, weighing);
        let mut linear = at(&z, &weighing)?;
        for _ in 0..if robust { 3 } else { 1 } {
            weighing.sigma = spread(&linear, weighing.sigma, unknowns.len(), robust).max(least);
            weighing.loss = settings.loss;
            linear = at(&z, &weighing)?;
            let mut damping = DAMPING[0];
            converged = false;
            for _ in 0..settings.iterations {
                iterations += 1;
                let cost: f64 = linear.costs.iter().sum();
                let gradient =
                    unknowns.restrict(&linear.pull(&linear.weighted_residual(weighing.sigma)));
                let arrow = Arrow::new(unknowns, &linear.normals(), damping)
                    .map_err(|b| blind(unknowns, b))?;
                let mut step: Vec<f64> = gradient.iter().map(|g| -g).collect();
                arrow.solve(&mut step);
                let n = scales.len();
                let moves = unknowns.expand(&step);
                let edge = moves.iter().enumerate().map(|(i, d)| (d * scales[i % n]).abs());
                let farthest = edge.fold(0.0_f64, f64::max) / coarse.voxel_mm();
                if farthest > FARTHEST {
                    step.iter_mut().for_each(|s| *s *= FARTHEST / farthest);
                }
                let next: Vec<f64> = z.iter().zip(&step).map(|(z, s)| z + s).collect();
                // A place that is none (source behind detector) is too far.
                let trial = at(&next, &weighing).ok();
                let better = trial.filter(|t| t.costs.iter().sum::<f64>() <= cost);
                let Some(trial) = better else {
                    damping *= 8.0;
                    if damping > DAMPING[1] || farthest < STILL[1] {
                        converged = farthest < STILL[1];
                        break;
                    }
                    continue;
                };
                let fall = cost - trial.costs.iter().sum::<f64>();
                (z, linear, damping) = (next, trial, (damping / 8.0).max(1e-12));
                if farthest < STILL[1] || fall <= STILL[0] * cost {
                    converged = true;
                    break;
                }
            }
        }
        // Standard errors are those of the noise that is left.
        let sigma = spread(&linear, weighing.sigma, unknowns.len(), robust).max(least);
        weighing.sigma = sigma;
        last = Some((at(&z, &weighing)?, sigma));
    }
    let Some((linear, sigma)) = last else {
        return Err(AlignError::setting("levels", "none is given"));
    };
    let arrow = Arrow::new(unknowns, &linear.normals(), 0.0).map_err(|b| blind(unknowns, b))?;
    let (found, n) = (place(&z), scales.len());
    let pixels = linear.residual.len() / views.max(1);
    let mut rows: Vec<ViewFit> = (0..views)
        .map(|view| {
            let residual = &linear.residual[view * pixels..(view + 1) * pixels];
            let squares: f64 = residual.iter().map(|z| z * z).sum();
            let status = if converged { ViewStatus::Converged } else { ViewStatus::MaxIterations };
            ViewFit {
                theta: found[view * n..(view + 1) * n].to_vec(),
                sd: arrow.variances(view).iter().map(|v| v.max(0.0).sqrt()).collect(),
                loss: 0.5 * squares * sigma * sigma,
                sigma,
                weight: 1.0,
                status,
                iterations: iterations as u64,
            }
        })
        .collect();
    let square: f64 = measured.iter().map(|m| m.wide() * m.wide()).sum();
    judge(&mut rows, ROUNDING * (square / views.max(1) as f64).sqrt());
    let k = unknowns.common.len();
    let shared = arrow.common_covariance();
    Ok(Calibration {
        views: rows,
        common: z[z.len() - k..].to_vec(),
        common_sd: (0..k).map(|c| shared[c * k + c].max(0.0).sqrt()).collect(),
        sigma,
        iterations,
    })
}
