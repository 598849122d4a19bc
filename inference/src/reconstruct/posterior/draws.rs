//! Draws of a Gaussian image posterior by perturb and optimise.
//!
//! $$H x = A^TWy + A^TW^{1/2}\varepsilon_1 + Q^{1/2}\varepsilon_2$$
//!
//! has the solution $x \sim N(\mu, H^{-1})$ for standard normal $\varepsilon$: the right-hand
//! side has the covariance $H$. Every draw is one linear system, solved from the mean on by
//! preconditioned conjugate gradients; its random numbers depend on the seed and the number
//! of the draw only. Where the matrix of the projector can be stored, sixteen draws are solved
//! at once (`several`).
//!
//! The standard deviation of $n$ draws about the solved mean has the relative error
//! $1/\sqrt{2n}$.
//!
//! Source: Papandreou & Yuille 2010, *Gaussian sampling by local perturbations*, NIPS 23,
//! section 2; Orieux, Feron & Giovannelli 2012, doi:10.1109/LSP.2012.2189104. Validated by
//! `draws_have_the_exact_moments` in `inference/tests/suite/image_posterior.rs`.

use super::super::ReconstructError;
use super::conjugate::{Solved, solve};
use super::gaussian::GaussianImage;
use super::several::Several;
use super::spectrum::Spectrum;
use microtome_kernels::abreast::ABREAST;
use microtome_kernels::philox::{Philox, normal_pair};
use rayon::prelude::*;

/// Stream of the noise of the projections.
const DATA_STREAM: u8 = 91;
/// Stream of the noise of the prior.
const PRIOR_STREAM: u8 = 92;

/// How the mean and the draws are solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrawSettings {
    /// Number of draws.
    pub draws: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Relative residual of the mean.
    pub mean_tolerance: f64,
    /// Relative residual of each draw.
    pub draw_tolerance: f64,
    /// Most steps of a solution.
    pub iterations: usize,
}

impl Default for DrawSettings {
    fn default() -> Self {
        Self { draws: 100, seed: 0, mean_tolerance: 1e-8, draw_tolerance: 1e-5, iterations: 2000 }
    }
}

/// Mean and draws of a posterior.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledPosterior {
    /// The mean, solved and not averaged.
    pub mean: Vec<f64>,
    /// Standard deviations about the solved mean, from the draws.
    pub sd: Vec<f64>,
    /// Standard errors of `sd`.
    pub sd_mcse: Vec<f64>,
    /// `[draw, voxel]`.
    pub draws: Vec<Vec<f64>>,
    /// Steps and relative residual of the mean.
    pub mean_iterations: usize,
    /// Relative residual of the mean.
    pub mean_residual: f64,
    /// Mean number of steps of a draw.
    pub draw_iterations: f64,
    /// The largest relative residual of a draw.
    pub draw_residual: f64,
}

/// The two normal numbers at places 2k and 2k + 1 of a draw.
fn fill(philox: Philox, draw: u32, step: u32, stream: u8, out: &mut [f64]) {
    out.par_chunks_mut(2).enumerate().with_min_len(1 << 12).for_each(|(k, pair)| {
        let normal = normal_pair(philox.block(draw, step, k as u64, stream));
        pair.iter_mut().zip(normal).for_each(|(p, v)| *p = v);
    });
}

/// The right-hand side of a draw less its mean.
fn right_side(
    image: &GaussianImage<'_>,
    seed: u64,
    draw: usize,
) -> Result<Vec<f64>, ReconstructError> {
    let (philox, draw) = (Philox::new(seed), u32::try_from(draw).unwrap_or(u32::MAX));
    let mut noise = vec![0.0; image.weights().len()];
    fill(philox, draw, 0, DATA_STREAM, &mut noise);
    let mut b = vec![0.0; image.n_voxels()];
    let scaled = noise.iter().zip(image.weights()).map(|(e, w)| e * w.sqrt());
    image.add_transpose(scaled, &mut b)?;
    let mut step = 0;
    let normals = |out: &mut [f64]| {
        fill(philox, draw, step, PRIOR_STREAM, out);
        step += 1;
    };
    image.field().add_precision_noise(normals, &mut b);
    Ok(b)
}

/// A draw and how it was solved.
type Found = (Vec<f64>, Solved);

impl SampledPosterior {
    /// Solves the mean and draws.
    ///
    /// # Errors
    /// Fewer than two draws; a projector that fails; a solution that does not reach its
    /// tolerance.
    pub fn new(
        image: &GaussianImage<'_>,
        settings: &DrawSettings,
    ) -> Result<Self, ReconstructError> {
        if settings.draws < 2 {
            let problem = format!("{}; at least 2 are needed", settings.draws);
            return Err(ReconstructError::setting("draws", problem));
        }
        let spectrum = Spectrum::new(image)?;
        let multiply = |x: &[f64], out: &mut [f64]| image.precision(x, out);
        let precondition = |r: &[f64], z: &mut [f64]| spectrum.divide(r, z);
        let check = |solved: &Solved, tolerance: f64| {
            // The residual is computed anew, so that it may stand a little above the one
            // that stopped the steps.
            let reached = solved.residual <= 10.0 * tolerance;
            if reached {
                return Ok(());
            }
            let problem = format!(
                "the relative residual is {:.1e} after {} steps, not {tolerance:.0e}; give \
                 the prior more weight or more steps",
                solved.residual, solved.iterations
            );
            Err(ReconstructError::setting("iterations", problem))
        };
        let one = |b: &[f64], tolerance: f64| {
            let mut x = vec![0.0; b.len()];
            let solved =
                solve(&multiply, &precondition, b, &mut x, tolerance, settings.iterations)?;
            Ok::<_, ReconstructError>((x, solved))
        };
        let (mean, of_mean) = one(&image.right_side()?, settings.mean_tolerance)?;
        check(&of_mean, settings.mean_tolerance)?;
        let several = Several::new(image, &spectrum);
        let numbers: Vec<usize> = (0..settings.draws).collect();
        let groups = numbers.par_chunks(if several.is_some() { ABREAST } else { 1 });
        let group = |numbers: &[usize]| {
            let sides: Result<Vec<Vec<f64>>, ReconstructError> =
                numbers.iter().map(|draw| right_side(image, settings.seed, *draw)).collect();
            let (sides, tolerance) = (sides?, settings.draw_tolerance);
            let mut found = match &several {
                Some(several) => several.solve(&sides, tolerance, settings.iterations)?,
                None => vec![one(&sides[0], tolerance)?],
            };
            for (x, solved) in &mut found {
                check(solved, tolerance)?;
                x.iter_mut().zip(&mean).for_each(|(x, m)| *x += m);
            }
            Ok(found)
        };
        let all: Result<Vec<Vec<Found>>, ReconstructError> = groups.map(group).collect();
        let (draws, solved): (Vec<Vec<f64>>, Vec<Solved>) = all?.into_iter().flatten().unzip();
        let n = draws.len() as f64;
        let sd: Vec<f64> = (0..mean.len())
            .into_par_iter()
            .map(|i| {
                // The mean is known, so that no degree of freedom is spent on it.
                (draws.iter().map(|d| (d[i] - mean[i]).powi(2)).sum::<f64>() / n).sqrt()
            })
            .collect();
        let sd_mcse = sd.iter().map(|s| s / (2.0 * n).sqrt()).collect();
        let steps: usize = solved.iter().map(|s| s.iterations).sum();
        Ok(Self {
            mean,
            sd,
            sd_mcse,
            draws,
            mean_iterations: of_mean.iterations,
            mean_residual: of_mean.residual,
            draw_iterations: steps as f64 / n,
            draw_residual: solved.iter().fold(0.0, |m, s| m.max(s.residual)),
        })
    }
}
