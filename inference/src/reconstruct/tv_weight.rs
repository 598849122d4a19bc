//! The weight of the total variation where none is given: a universal threshold.
//!
//! $$\lambda = s\,\frac{\sqrt{2\ln n}}{\mathrm{TV}(e)},\qquad
//!   s^2 = \overline{\operatorname{var}(A^TW\varepsilon)_j},\qquad
//!   \mathrm{TV}(e) = \sqrt d + d$$
//!
//! A flat region stays flat where the noise of the gradient, $g = A^TW\varepsilon$, is held by
//! the total variation. A single voxel leaves its surroundings when $|g_j| > \lambda\,
//! \mathrm{TV}(e)$, with $e$ the image of one voxel; the greatest of $n$ normal numbers is
//! about $s\sqrt{2\ln n}$. So $\lambda$ is the least weight at which noise alone draws no
//! speckles. It depends on operator, weights and noise, not on the image, and costs two
//! backprojections of random numbers.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\varepsilon$ | 1 | noise of the projections: of variance $1/W$ with weights, else $\hat\sigma^2$ of `noise.rs` and $W = 1$ |
//! | $n$ | | voxels that a ray meets |
//! | $d$ | | axes, 2 or 3 |
//!
//! Source: Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425 (the universal threshold);
//! for penalties with a gradient of noise Giacobino, Sardy, Diaz-Rodriguez & Hengartner 2017,
//! doi:10.1214/17-EJS1366 (zero thresholding). Validated by
//! `the_default_weight_is_the_threshold_of_its_noise` in `inference/tests/suite/reconstruct/`;
//! how far it is from the best weight is in docs/validation.md.

use super::noise::noise_level;
use super::vector::{each2, sum};
use super::{Problem, ReconstructError, Settings};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Real;
use rand_distr::{Distribution, StandardNormal};

const SEED: u64 = 0x7476;
/// Draws of the noise.
const DRAWS: usize = 2;

/// The weight of the rule above.
///
/// # Errors
/// Whatever stops the projector; a volume that no ray meets.
pub fn default_tv_weight<T: Real>(problem: &Problem<'_, T>) -> Result<f64, ReconstructError> {
    let mut g = vec![T::default(); problem.n_voxels()];
    let mut square = 0.0;
    let mut met = 0;
    for draw in 0..DRAWS {
        let mut random = PhiloxRng::new(SEED, draw as u64, 0);
        let mut rays: Vec<T> = Vec::with_capacity(problem.projections.len());
        for _ in 0..problem.projections.len() {
            let z: f64 = StandardNormal.sample(&mut random);
            rays.push(T::narrow(z));
        }
        if let Some(w) = problem.weights {
            each2(&mut rays, w, |z, w| z * w.sqrt());
        }
        problem.transpose(&rays, &mut g)?;
        met = g.iter().filter(|v| v.wide() != 0.0).count();
        square += sum(&g, |v| v * v);
    }
    if met == 0 {
        return Err(ReconstructError::NoRays);
    }
    let scale = if problem.weights.is_some() { 1.0 } else { noise_level(problem) };
    let spread = scale * (square / (DRAWS * met) as f64).sqrt();
    let d = problem.volume_shape.len() as f64;
    Ok(spread * (2.0 * (met as f64).ln()).sqrt() / (d.sqrt() + d))
}

/// The weight of the settings, or of the rule.
pub(super) fn resolve<T: Real>(
    problem: &Problem<'_, T>,
    settings: &Settings,
) -> Result<f64, ReconstructError> {
    match settings.tv_weight {
        Some(weight) => Ok(weight),
        None => default_tv_weight(problem),
    }
}
