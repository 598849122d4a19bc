//! The variance of what voxels cannot say, beside that of the counts.
//!
//! Weights of counts, $w_i = 1/\sigma_i^2$, are right where $y - Ax$ is noise alone. On voxels of
//! finite size it is not: at edges $Ax$ misses the projections by more than the counts do, most
//! of all on rays of little attenuation, whose weights are the largest. With one more variance
//! $s^2$ for all rays,
//!
//! $$w_i' = \frac{1}{\sigma_i^2 + s^2},\qquad
//!   \frac1m\sum_i \frac{r_i^2}{\sigma_i^2 + s^2} = 1,$$
//!
//! the second equation is solved for $s$ with the residuals $r$ of a short reconstruction
//! without weights (PDHG-TV with its default weight); $s = 0$ where the mean is below 1 without it.
//! What that image has not followed yet counts as an error of the model, so that $s$ is rather
//! too large: then the weights are nearer to equal ones.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $r, \sigma, s$ | that of $y$ | residual, standard deviation of the counts, of the model |
//! | $m$ | | rays that count |
//!
//! Source: Mandel & Paule 1970, doi:10.1021/ac60293a019, and DerSimonian & Kacker 2007,
//! doi:10.1016/j.cct.2006.04.004 (one variance between results from the weighted sum of
//! squares). Validated by `the_model_variance_is_found` in `inference/tests/suite/reconstruct/`.

use super::pdhg_tv::PdhgTv;
use super::vector::each2;
use super::{Method, Problem, ReconstructError, Settings};
use microtome_kernels::ray::Real;

/// Iterations of the short reconstruction.
const ITERATIONS: usize = 60;
/// Halvings of the interval that holds $s^2$.
const HALVINGS: usize = 60;

/// $s$ by the rule above; 0 for a problem without weights.
///
/// # Errors
/// Whatever stops the projector; a volume that no ray meets.
pub fn model_deviation<T: Real>(problem: &Problem<'_, T>) -> Result<f64, ReconstructError> {
    let Some(weights) = problem.weights else { return Ok(0.0) };
    let counted: Vec<T> =
        weights.iter().map(|w| T::narrow(f64::from(u8::from(w.wide() > 0.0)))).collect();
    let all = counted.iter().all(|c| c.wide() > 0.0);
    // Rays that do not count get a share of 0 and need no weight but that.
    let plain = Problem {
        operator: problem.operator,
        projections: problem.projections,
        weights: None,
        start: problem.start,
        bounds: problem.bounds,
        volume_shape: problem.volume_shape.clone(),
        all_views: problem.all_views.clone(),
        pixels: problem.pixels,
    };
    let settings =
        Settings { tv_weight: Some(super::default_tv_weight(&plain)?), ..Settings::default() };
    let short = Problem { weights: (!all).then_some(&counted[..]), ..plain };
    let mut method = PdhgTv::new(&short, &settings)?;
    for _ in 0..ITERATIONS {
        method.step(&short)?;
    }
    let mut squares = vec![T::default(); problem.projections.len()];
    problem.forward(method.image(), &mut squares)?;
    each2(&mut squares, problem.projections, |ax, y| (y - ax) * (y - ax));
    let rays: Vec<[f64; 2]> = squares
        .iter()
        .zip(weights)
        .filter(|(_, w)| w.wide() > 0.0)
        .map(|(r, w)| [r.wide(), 1.0 / w.wide()])
        .collect();
    let mean = |s: f64| rays.iter().map(|[r, v]| r / (v + s)).sum::<f64>() / rays.len() as f64;
    if mean(0.0) <= 1.0 {
        return Ok(0.0);
    }
    // With the mean of the squares alone in the denominator the sum is below 1.
    let mut range = [0.0, rays.iter().map(|r| r[0]).sum::<f64>() / rays.len() as f64];
    for _ in 0..HALVINGS {
        let middle = 0.5 * (range[0] + range[1]);
        range[usize::from(mean(middle) <= 1.0)] = middle;
    }
    Ok((0.5 * (range[0] + range[1])).sqrt())
}

/// Inverse variances with the variance $s^2$ of the model added; 0 stays 0.
pub fn with_model_deviation<T: Real>(weights: &[T], deviation: f64) -> Vec<T> {
    let square = deviation * deviation;
    weights.iter().map(|w| T::narrow(w.wide() / (1.0 + square * w.wide()))).collect()
}
