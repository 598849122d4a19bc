//! Posterior of poses and volume as a normal density about what was found.
//!
//! $$H = \begin{pmatrix}A^TWA+\lambda\nabla^T\Omega\nabla & A^TWJ\\ J^TWA & J^TWJ+P\end{pmatrix},
//!   \qquad \operatorname{cov}(x, q) = H^{-1},\qquad
//!   \operatorname{cov}q = \big(H_{qq} - H_{qx}H_{xx}^{-1}H_{xq}\big)^{-1}$$
//!
//! The block of $q$ has the image marginalised: it is the inverse of the Schur complement. With
//! the image fixed it would be $H_{qq}^{-1}$, which is too small; with the poses fixed the
//! image would have $H_{xx}^{-1}$, which is too small, too. Few unknowns are exact, a linear
//! system each; many have draws by perturb and optimise: $d = H^{-1}\xi$ with
//! $\xi\sim N(0, H)$, made of the square roots of the terms of $H$. What no projection shows
//! is held at its mean.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | volume |
//! | $q$ | mm | unknowns of the poses |
//! | $\Omega$ | | that of the volume found: an approximation of the total variation |
//!
//! Source: Tierney & Kadane 1986, doi:10.1080/01621459.1986.10478240 (Laplace); Papandreou &
//! Yuille 2010 (perturb and optimise). Validated by
//! `ignored_poses_make_images_too_certain` in `inference/tests/suite/align_posterior.rs`.

use super::super::vector::each2;
use super::joint::{Both, Level, Quadratic, noise_and_variation, smoothing_of};
use super::known::check_poses;
use super::linear::{Linear, Weighing};
use super::precondition::Preconditioner;
use super::{AlignError, Hidden, JointSettings, Unknowns};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{Field, Lattice, add_transpose};
use microtome_models::ct::PoseModel;
use rand_distr::{Distribution, StandardNormal};

/// Residual of a linear system, relative.
const TOLERANCE: f64 = 1e-5;
/// Most conjugate gradients of a system.
const ITERATIONS: usize = 400;

/// How a posterior is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosteriorSettings {
    /// Draws; unknowns up to this number are exact without.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Whether poses are uncertain; false takes them for known, so that the image alone is.
    pub free: bool,
    /// Whether draws are made even where standard deviations are exact.
    pub always_draw: bool,
}

impl Default for PosteriorSettings {
    fn default() -> Self {
        Self { draws: 40, seed: 0, free: true, always_draw: false }
    }
}

/// A normal density about poses and volume.
#[derive(Clone, Debug, PartialEq)]
pub struct PosePosterior<T> {
    /// Standard deviations of the parameters `[view, parameter]`, the image marginalised.
    pub sd: Vec<f64>,
    /// Standard deviations of the common unknowns, mm at the edge.
    pub common_sd: Vec<f64>,
    /// Relative standard error of the standard deviations; 0 where exact.
    pub sd_error: f64,
    /// Draws of the poses' deviations `[draw][view, parameter]`.
    pub pose_draws: Vec<Vec<f64>>,
    /// Draws of the volume's deviations `[draw][z, y, x]`.
    pub volume_draws: Vec<Vec<T>>,
}

/// The posterior about a volume and poses at full size.
///
/// # Shapes
/// `thetas` `[view, parameter]`, `volume` `[z, y, x]`, `measured` `[view, v, u]`.
///
/// # Errors
/// Arrays of another length, settings out of range.
pub fn pose_posterior<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    volume: &[T],
    measured: &[T],
    unknowns: &Unknowns,
    settings: &JointSettings,
    posterior: &PosteriorSettings,
) -> Result<PosePosterior<T>, AlignError> {
    check_poses(model, thetas)?;
    let shape = model.volume().shape();
    let Some(lattice) = Lattice::new(&shape) else {
        return Err(AlignError::setting("volume", "it has no voxels"));
    };
    let (sigma, lambda) = noise_and_variation(model, thetas, measured, settings, 1.0)?;
    let weighing = Weighing { sigma, loss: settings.loss, views: vec![1.0; model.n_views()] };
    let level = Level {
        model,
        unknowns,
        start: thetas,
        motion: settings.motion,
        lattice,
        weighing,
        variation: [lambda, smoothing_of(&lattice, volume)],
    };
    let linear = Linear::new(model, thetas, volume, measured, &level.weighing)?;
    let hidden = Hidden::new(model, unknowns, thetas)?;
    let smooth = 0.5 * lambda / level.variation[1];
    let data = super::joint::data_of(model, thetas, &linear);
    let precondition = Preconditioner::new(&shape, &data, smooth)?;
    let omega = level.omega(volume);
    let q = Quadratic::new(
        &level,
        thetas,
        &linear,
        omega.clone(),
        &hidden,
        &precondition,
        posterior.free,
    );
    let m = unknowns.len();
    let exact = posterior.free && m <= posterior.draws;
    let first = m - unknowns.common.len();
    let mut out = PosePosterior {
        sd: vec![0.0; thetas.len()],
        common_sd: vec![0.0; unknowns.common.len()],
        sd_error: 0.0,
        pose_draws: Vec::new(),
        volume_draws: Vec::new(),
    };
    let blank = || vec![T::default(); volume.len()];
    if exact {
        let mut columns = Vec::with_capacity(m);
        for k in 0..m {
            let mut z = vec![0.0; m];
            z[k] = 1.0;
            columns.push(q.solve(Both { x: blank(), z }, ITERATIONS, TOLERANCE)?.z);
        }
        // Row by row of the table: b' C b.
        for i in 0..out.sd.len() {
            let mut unit = vec![0.0; out.sd.len()];
            unit[i] = 1.0;
            let b = unknowns.restrict(&unit);
            let variance: f64 =
                (0..m).map(|j| b[j] * (0..m).map(|k| columns[k][j] * b[k]).sum::<f64>()).sum();
            out.sd[i] = variance.max(0.0).sqrt();
        }
        for (k, sd) in out.common_sd.iter_mut().enumerate() {
            *sd = columns[first + k][first + k].max(0.0).sqrt();
        }
    }
    if exact && !posterior.always_draw {
        return Ok(out);
    }
    if posterior.draws < 2 {
        let what = format!("{}; at least 2 are needed", posterior.draws);
        return Err(AlignError::setting("draws", what));
    }
    let mut squares = vec![0.0; m];
    for draw in 0..posterior.draws {
        let mut random = PhiloxRng::new(posterior.seed, draw as u64, 77);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let e: Vec<T> =
            linear.weight.iter().map(|w| T::narrow(w.wide().sqrt() * normal())).collect();
        let mut x = blank();
        model.back(thetas, &e, &mut x)?;
        if let Some(omega) = &omega {
            let mut field: Field<T> = lattice.field();
            for f in &mut field {
                f.iter_mut().for_each(|f| *f = T::narrow(normal()));
                each2(f, omega, |e, o| e * o.sqrt());
            }
            add_transpose(&lattice, &field, &mut x, 1.0);
        }
        let mut table = linear.pull(&e);
        settings.motion.add_noise(&mut table, &model.scales(), &mut normal);
        let z = unknowns.restrict(&table);
        let d = q.solve(Both { x, z }, ITERATIONS, TOLERANCE)?;
        squares.iter_mut().zip(&d.z).for_each(|(s, z)| *s += z * z);
        out.pose_draws.push(unknowns.expand(&d.z));
        out.volume_draws.push(d.x);
    }
    if !exact && posterior.free {
        let count = posterior.draws as f64;
        for (i, sd) in out.sd.iter_mut().enumerate() {
            let sum: f64 = out.pose_draws.iter().map(|d| d[i] * d[i]).sum();
            *sd = (sum / count).sqrt();
        }
        for (k, sd) in out.common_sd.iter_mut().enumerate() {
            *sd = (squares[first + k] / count).sqrt();
        }
        out.sd_error = 1.0 / (2.0 * count).sqrt();
    }
    Ok(out)
}
