//! A normal density about the mode of a smoothed total variation posterior.
//!
//! $$\hat x = \arg\max\ln p(x|y),\qquad H = A^T\Phi A + \lambda\nabla^TM\nabla + m,\qquad
//! M_j = \frac1{r_j}\Bigl(1 - \frac{g_jg_j^T}{r_j^2}\Bigr)$$
//!
//! with $g_j = (\nabla\hat x)_j$, $r_j^2 = |g_j|^2+\epsilon^2$ and $\Phi = \phi''$. The mode is found with
//! lagged weights ($1/r_j$ in place of $M_j$), which can't overshoot, and halved steps where counts
//! need them. Standard deviations are those of random probes
//!
//! $$z = H^{-1}\bigl(A^T\Phi^{1/2}\varepsilon_1 + \sqrt\lambda\,\nabla^TM^{1/2}\varepsilon_2 +
//! \sqrt m\,\varepsilon_3\bigr)\sim N(0, H^{-1}),\qquad \mathrm{sd}_j^2 \approx \overline{z_j^2}$$
//!
//! whose relative error is $1/\sqrt{2n}$ in every voxel. At edges the density is wider than this
//! one and not normal: chains are the judge (`trajectory`), this is what large images can pay.
//!
//! Source: Vogel & Oman 1996, doi:10.1137/0917016 (lagged weights); Tierney & Kadane 1986,
//! doi:10.1080/01621459.1986.10478240; Papandreou & Yuille 2010 (probes). Validated by
//! `the_normal_density_is_that_of_the_mode` in `inference/tests/suite/edge_posterior.rs`.

use super::super::ReconstructError;
use super::super::vector::norm;
use super::conjugate::descend;
use super::edges::{EdgePosterior, ImageNoise};
use super::gaussian::GaussianImage;
use super::spectrum::Spectrum;
use microtome_kernels::philox::{Philox, normal_pair};
use microtome_kernels::variation::{Field, Lattice, add_transpose, gradient};
use rayon::prelude::*;

/// Streams of the noise of rays, differences and voxels.
const STREAMS: [u8; 3] = [96, 97, 98];
/// Most conjugate gradients of a system.
const ITERATIONS: usize = 1000;
/// Residual of a step toward the mode, relative.
const INNER: f64 = 1e-2;
/// Most halvings of a step.
const HALVINGS: usize = 30;

/// How mode and standard deviations are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaplaceSettings {
    /// Random probes.
    pub probes: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Length of the gradient at the mode over that at zero.
    pub mode_tolerance: f64,
    /// Residual of a probe, relative.
    pub tolerance: f64,
    /// Most steps toward the mode.
    pub steps: usize,
}

impl Default for LaplaceSettings {
    fn default() -> Self {
        Self { probes: 100, seed: 0, mode_tolerance: 1e-6, tolerance: 1e-4, steps: 300 }
    }
}

/// Mode and standard deviations.
#[derive(Debug, Clone, PartialEq)]
pub struct LaplaceImage {
    /// $\hat x$.
    pub mode: Vec<f64>,
    /// Standard deviations of the normal density.
    pub sd: Vec<f64>,
    /// Standard errors of `sd`.
    pub sd_mcse: Vec<f64>,
    /// Steps to the mode.
    pub steps: usize,
    /// Length of the gradient at the mode over that at zero.
    pub gradient: f64,
}

/// $H$ about an image.
struct Curvature<'a, 'b> {
    of: &'a EdgePosterior<'b>,
    lattice: Lattice,
    /// $\phi''$.
    rays: Vec<f64>,
    /// $g$, and $1/r$.
    slope: Field<f64>,
    inverse: Vec<f64>,
    /// Whether $M$ is $1/r$ alone.
    lagged: bool,
}

impl<'a, 'b> Curvature<'a, 'b> {
    fn new(of: &'a EdgePosterior<'b>, lattice: Lattice, x: &[f64], lagged: bool) -> Self {
        let rays = match of.noise() {
            ImageNoise::Normal { weights, .. } => weights.clone(),
            ImageNoise::Poisson { i0, .. } => {
                of.project(x).iter().map(|t| i0 * (-t).exp()).collect()
            }
        };
        let mut slope = lattice.field();
        gradient(&lattice, x, &mut slope);
        let inverse = (0..x.len())
            .map(|j| {
                let square: f64 = slope.iter().map(|g| g[j] * g[j]).sum();
                1.0 / (square + of.prior().rounding.powi(2)).sqrt()
            })
            .collect();
        Self { of, lattice, rays, slope, inverse, lagged }
    }

    /// Replaces every vector of a field by $M$ times it, or by $M^{1/2}$ times it.
    fn bend(&self, field: &mut Field<f64>, root: bool) {
        for j in 0..self.inverse.len() {
            let inverse = self.inverse[j];
            let along: f64 = self.slope.iter().zip(field.iter()).map(|(g, f)| g[j] * f[j]).sum();
            let square: f64 = self.slope.iter().map(|g| g[j] * g[j]).sum();
            // Of the part along g the share 1 - |g|^2/r^2 is left, or its root.
            let part = 1.0 - square * inverse * inverse;
            let left = if root { part.max(0.0).sqrt() } else { part };
            let taken = match self.lagged || square == 0.0 {
                true => 0.0,
                false => (1.0 - left) * along / square,
            };
            let scale = if root { inverse.sqrt() } else { inverse };
            for (g, f) in self.slope.iter().zip(field.iter_mut()) {
                f[j] = scale * (f[j] - taken * g[j]);
            }
        }
    }

    /// Adds $A^Tv$ to `out`.
    fn back(&self, v: &[f64], out: &mut [f64]) {
        for (ray, v) in v.iter().enumerate() {
            for (j, a) in self.of.matrix().rows().row(ray) {
                out[*j as usize] += f64::from(*a) * v;
            }
        }
    }

    /// Writes $Hx$ over `out`.
    fn multiply(&self, x: &[f64], out: &mut [f64]) {
        let prior = self.of.prior();
        out.iter_mut().zip(x).for_each(|(o, x)| *o = prior.ridge * x);
        let mut t = self.of.project(x);
        t.iter_mut().zip(&self.rays).for_each(|(t, w)| *t *= w);
        self.back(&t, out);
        let mut field = self.lattice.field();
        gradient(&self.lattice, x, &mut field);
        self.bend(&mut field, false);
        add_transpose(&self.lattice, &field, out, prior.weight);
    }

    /// A draw of $N(0, H)$.
    fn noise(&self, seed: u64, probe: u32) -> Vec<f64> {
        let philox = Philox::new(seed);
        let normals = |stream: u8, step: u32, n: usize| -> Vec<f64> {
            let pair = |k: usize| normal_pair(philox.block(probe, step, k as u64, stream));
            (0..n.div_ceil(2)).flat_map(pair).take(n).collect()
        };
        let (n, prior) = (self.inverse.len(), self.of.prior());
        let mut out = normals(STREAMS[2], 0, n);
        out.iter_mut().for_each(|v| *v *= prior.ridge.sqrt());
        let mut t = normals(STREAMS[0], 0, self.rays.len());
        t.iter_mut().zip(&self.rays).for_each(|(t, w)| *t *= w.sqrt());
        self.back(&t, &mut out);
        let mut field: Field<f64> =
            (0..self.slope.len()).map(|a| normals(STREAMS[1], a as u32, n)).collect();
        self.bend(&mut field, true);
        add_transpose(&self.lattice, &field, &mut out, prior.weight.sqrt());
        out
    }

    /// $H^{-1}b$, to a relative residual.
    fn solve(&self, b: &[f64], spectrum: &Spectrum, tolerance: f64) -> Vec<f64> {
        let (mut x, mut r, whole) = (vec![0.0; b.len()], b.to_vec(), norm(b));
        let multiply = |p: &Vec<f64>, out: &mut Vec<f64>| {
            self.multiply(p, out);
            Ok::<(), std::convert::Infallible>(())
        };
        let ended = |r: &Vec<f64>, _| norm(r) <= tolerance * whole;
        let precondition = |r: &Vec<f64>, z: &mut Vec<f64>| spectrum.divide(r, z);
        match descend(multiply, precondition, &mut x, &mut r, ITERATIONS, ended) {
            Ok(_) => x,
            Err(never) => match never {},
        }
    }
}

impl EdgePosterior<'_> {
    /// The mode, and the standard deviations of the normal density about it.
    ///
    /// # Errors
    /// Settings without sense, a mode that is not reached.
    pub fn laplace(&self, settings: &LaplaceSettings) -> Result<LaplaceImage, ReconstructError> {
        if settings.probes < 2 {
            let problem = format!("{}; at least 2 are needed", settings.probes);
            return Err(ReconstructError::setting("probes", problem));
        }
        let Some(lattice) = Lattice::new(self.shape()) else {
            return Err(ReconstructError::setting("the volume", "two or three axes are needed"));
        };
        let n = self.n_voxels();
        let (mut x, mut g) = (vec![0.0; n], vec![0.0; n]);
        let mut value = self.ln_density(&x, &mut g);
        let first = norm(&g).max(f64::MIN_POSITIVE);
        let mut steps = 0;
        while norm(&g) > settings.mode_tolerance * first && steps < settings.steps {
            let curvature = Curvature::new(self, lattice, &x, true);
            let d = curvature.solve(&g, &self.flat(&curvature)?, INNER);
            let mut part = 1.0;
            for halving in 0..=HALVINGS {
                let moved: Vec<f64> = x.iter().zip(&d).map(|(x, d)| x + part * d).collect();
                let next = self.ln_density(&moved, &mut g);
                // The last digits of a sum of thousands of terms are rounding.
                let rises = next >= value - 1e-13 * value.abs();
                if rises || halving == HALVINGS {
                    (x, value) = (moved, next);
                    break;
                }
                part *= 0.5;
            }
            steps += 1;
        }
        let gradient = norm(&g) / first;
        if gradient > settings.mode_tolerance {
            let problem = format!(
                "the gradient is {gradient:.1e} of that at zero after {steps} steps, not {:.0e}; \
                 allow more steps or round edges more",
                settings.mode_tolerance
            );
            return Err(ReconstructError::setting("steps", problem));
        }
        let curvature = Curvature::new(self, lattice, &x, false);
        let spectrum = self.flat(&curvature)?;
        let probe = |k: usize| {
            curvature.solve(
                &curvature.noise(settings.seed, k as u32),
                &spectrum,
                settings.tolerance,
            )
        };
        let probes: Vec<Vec<f64>> = (0..settings.probes).into_par_iter().map(probe).collect();
        let count = settings.probes as f64;
        let sd: Vec<f64> = (0..n)
            .map(|j| (probes.iter().map(|z| z[j] * z[j]).sum::<f64>() / count).sqrt())
            .collect();
        let sd_mcse = sd.iter().map(|s| s / (2.0 * count).sqrt()).collect();
        Ok(LaplaceImage { mode: x, sd, sd_mcse, steps, gradient })
    }

    /// What is diagonal in the DCT in place of a curvature: that of equal differences.
    fn flat(&self, curvature: &Curvature<'_, '_>) -> Result<Spectrum, ReconstructError> {
        let mean = curvature.inverse.iter().sum::<f64>() / curvature.inverse.len() as f64;
        let zero = vec![0.0; curvature.rays.len()];
        let weights = curvature.rays.clone();
        Spectrum::new(&GaussianImage::new(self.operator(), &zero, weights, self.field(mean)?)?)
    }
}
