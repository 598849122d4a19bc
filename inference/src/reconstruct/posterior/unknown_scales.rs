//! The Gaussian posterior of an image whose prior weight, and perhaps noise, are unknown.
//!
//! $$y \sim N(Ax, (\tau W)^{-1}),\qquad x \sim N(0, (\kappa\tau Q)^{-1}),\qquad
//! \ln\kappa \sim N(0, s^2),\qquad \tau \sim \mathrm{Gamma}(a, a)\ \text{or}\ \tau = 1$$
//!
//! In the coordinates $x = C^Tq^{-1/2}Uw$ with the DCT $C$, in which $Q$ is the diagonal $q$, and
//! the eigenvectors $U$ and values $\mu$ of $q^{-1/2}CA^TWAC^Tq^{-1/2}$, both precisions are
//! diagonal for every $\kappa$ and $\tau$. With $\beta = U^Tq^{-1/2}CA^TWy$,
//!
//! $$\ln p(y|\kappa,\tau) = -\tfrac12\Bigl(m\ln\frac{2\pi}\tau - \ln|W| +
//! \sum_i\ln\frac{\mu_i+\kappa}\kappa + \tau R(\kappa)\Bigr),\qquad
//! R = y^TWy - \sum_i\frac{\beta_i^2}{\mu_i+\kappa}$$
//!
//! so that $\tau|\kappa,y \sim \mathrm{Gamma}(a+\tfrac m2, a+\tfrac R2)$, what is left is one
//! number, integrated on a grid of $\ln\kappa$, and draws are independent.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\kappa$ | 1 | weight of the prior over the stated one, times $\tau^{-1}$ |
//! | $\tau$ | 1 | factor of the inverse variances |
//! | $s, a$ | 1 | spread of $\ln\kappa$, shape of $\tau$ |
//!
//! Source: Bardsley 2012, doi:10.1137/11085760X, section 2 (the hierarchical model); MacKay 1992,
//! doi:10.1162/neco.1992.4.3.415 (the evidence). Validated by `unknown_scales_are_integrated` and
//! `ranks_of_scales_are_uniform` in `inference/tests/suite/image_scales.rs`.

use super::super::ReconstructError;
use super::conjugate::Solved;
use super::cosine::CosineTransform;
use super::dense::DENSE_VOXELS;
use super::draws::SampledPosterior;
use super::gaussian::GaussianImage;
use faer::{Mat, Side};
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rand_distr::{Distribution, Gamma, StandardNormal};
use rayon::prelude::*;
use statrs::function::gamma::ln_gamma;

/// Stream of the random numbers.
const STREAM: u8 = 99;
/// Points of the grids that find the posterior and that integrate it.
const POINTS: [usize; 2] = [600, 3000];
/// Spreads of the prior that the first grid spans either way.
const SPAN: f64 = 8.0;
/// What is this much below the largest $\ln p$ is left out.
const DEPTH: f64 = 40.0;

/// What is unknown, and how many draws are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleSettings {
    /// $s$.
    pub weight_sd: f64,
    /// $a$; the noise is as stated where left out.
    pub noise_shape: Option<f64>,
    /// Number of draws.
    pub draws: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// Draws of image, weight and noise.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaledPosterior {
    /// Images, with the exact mean.
    pub images: SampledPosterior,
    /// Draws of the prior's weight, mm^2.
    pub weight: Vec<f64>,
    /// Draws of the factor of the noise's standard deviation, $\tau^{-1/2}$.
    pub noise: Vec<f64>,
    /// $\ln p(y)$, all constants in it, over all that is unknown.
    pub ln_evidence: f64,
}

/// An image posterior in coordinates in which it is diagonal for any weight.
pub struct UnknownScales<'a> {
    image: &'a GaussianImage<'a>,
    transform: CosineTransform,
    /// $q^{-1/2}$.
    widths: Vec<f64>,
    vectors: Mat<f64>,
    mu: Vec<f64>,
    beta: Vec<f64>,
    power: f64,
    /// $\ln|W|$ and $m$ of the projections that count.
    ln_weights: f64,
    count: f64,
}

/// A point of the grid.
struct Point {
    ln_kappa: f64,
    ln_density: f64,
}

impl<'a> UnknownScales<'a> {
    /// Finds the coordinates.
    ///
    /// # Errors
    /// An improper prior, more than [`DENSE_VOXELS`] voxels, a projector that fails.
    pub fn new(image: &'a GaussianImage<'a>) -> Result<Self, ReconstructError> {
        let (n, field) = (image.n_voxels(), image.field());
        if n > DENSE_VOXELS {
            let problem = format!("{n} voxels; unknown scales are for at most {DENSE_VOXELS}");
            return Err(ReconstructError::setting("the volume", problem));
        }
        if !field.is_proper() {
            return Err(ReconstructError::setting(
                "kappa2",
                "0 leaves the prior improper, so that its weight can't be judged; give a \
                 positive value",
            ));
        }
        let transform = CosineTransform::new(field.shape());
        let widths: Vec<f64> = field.eigenvalues().iter().map(|q| q.sqrt().recip()).collect();
        let column = |j: usize| -> Result<Vec<f64>, ReconstructError> {
            let (mut unit, mut out) = (vec![0.0; n], vec![0.0; n]);
            unit[j] = widths[j];
            transform.inverse(&mut unit);
            image.add_data_precision(&unit, &mut out)?;
            transform.forward(&mut out);
            out.iter_mut().zip(&widths).for_each(|(o, w)| *o *= w);
            Ok(out)
        };
        let columns: Result<Vec<Vec<f64>>, ReconstructError> =
            (0..n).into_par_iter().map(column).collect();
        let columns = columns?;
        let matrix = Mat::from_fn(n, n, |i, j| 0.5 * (columns[j][i] + columns[i][j]));
        drop(columns);
        let found = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| {
            ReconstructError::setting("the volume", "the eigenvalues of the data were not found")
        })?;
        let mu = (0..n).map(|i| found.S()[i].max(0.0)).collect();
        let vectors = found.U().to_owned();
        let mut b = image.right_side()?;
        transform.forward(&mut b);
        b.iter_mut().zip(&widths).for_each(|(b, w)| *b *= w);
        let beta = (0..n).map(|i| (0..n).map(|k| vectors[(k, i)] * b[k]).sum()).collect();
        let both = image.projections().iter().zip(image.weights());
        let counted: Vec<f64> = image.weights().iter().copied().filter(|w| *w > 0.0).collect();
        Ok(Self {
            image,
            transform,
            widths,
            vectors,
            mu,
            beta,
            power: both.map(|(y, w)| w * y * y).sum(),
            ln_weights: counted.iter().map(|w| w.ln()).sum(),
            count: counted.len() as f64,
        })
    }

    /// $R(\kappa)$.
    fn residual(&self, kappa: f64) -> f64 {
        let both = self.beta.iter().zip(&self.mu);
        self.power - both.map(|(b, m)| b * b / (m + kappa)).sum::<f64>()
    }

    /// $-\tfrac12(m\ln 2\pi - \ln|W| + \sum\ln(1+\mu/\kappa))$.
    fn level(&self, kappa: f64) -> f64 {
        let volume: f64 = self.mu.iter().map(|m| (m / kappa).ln_1p()).sum();
        -0.5 * (self.count * std::f64::consts::TAU.ln() - self.ln_weights + volume)
    }

    /// $\ln p(y|\kappa,\tau)$, all constants in it.
    pub fn ln_likelihood(&self, kappa: f64, tau: f64) -> f64 {
        self.level(kappa) + 0.5 * (self.count * tau.ln() - tau * self.residual(kappa))
    }

    /// $\ln p(y, \ln\kappa)$.
    fn ln_density(&self, ln_kappa: f64, settings: &ScaleSettings) -> f64 {
        let (kappa, s) = (ln_kappa.exp(), settings.weight_sd);
        let prior = -0.5 * (ln_kappa / s).powi(2) - (s * std::f64::consts::TAU.sqrt()).ln();
        prior
            + match settings.noise_shape {
                None => self.ln_likelihood(kappa, 1.0),
                Some(a) => {
                    let (shape, rate) = (a + 0.5 * self.count, a + 0.5 * self.residual(kappa));
                    self.level(kappa) + a * a.ln() - ln_gamma(a) + ln_gamma(shape)
                        - shape * rate.ln()
                }
            }
    }

    fn grid(&self, settings: &ScaleSettings, from: f64, to: f64, points: usize) -> Vec<Point> {
        let at = |k: usize| {
            let ln_kappa = from + (to - from) * k as f64 / (points - 1) as f64;
            Point { ln_kappa, ln_density: self.ln_density(ln_kappa, settings) }
        };
        (0..points).into_par_iter().map(at).collect()
    }

    /// Grid points where the posterior is, and the evidence.
    fn integrate(&self, settings: &ScaleSettings) -> (Vec<Point>, Vec<f64>, f64) {
        let span = SPAN * settings.weight_sd;
        let mut grid = self.grid(settings, -span, span, POINTS[0]);
        let mut top = f64::NEG_INFINITY;
        for points in [POINTS[0], POINTS[1]] {
            top = grid.iter().fold(f64::NEG_INFINITY, |m, p| m.max(p.ln_density));
            let inside = |p: &&Point| p.ln_density > top - DEPTH;
            let step = grid[1].ln_kappa - grid[0].ln_kappa;
            let first = grid.iter().find(inside).map_or(-span, |p| p.ln_kappa - step);
            let last = grid.iter().rev().find(inside).map_or(span, |p| p.ln_kappa + step);
            grid = self.grid(settings, first, last, points);
        }
        let step = grid[1].ln_kappa - grid[0].ln_kappa;
        // Sums of the trapezoidal rule up to every point.
        let mut sums = vec![0.0];
        for pair in grid.windows(2) {
            let both = (pair[0].ln_density - top).exp() + (pair[1].ln_density - top).exp();
            sums.push(sums[sums.len() - 1] + 0.5 * step * both);
        }
        let ln_evidence = top + sums[sums.len() - 1].ln();
        (grid, sums, ln_evidence)
    }

    /// The image of coordinates.
    fn image(&self, w: &[f64]) -> Vec<f64> {
        let n = w.len();
        let mut x = vec![0.0; n];
        for (i, w) in w.iter().enumerate() {
            let column = self.vectors.col(i);
            x.iter_mut().enumerate().for_each(|(k, x)| *x += column[k] * w);
        }
        x.iter_mut().zip(&self.widths).for_each(|(x, w)| *x *= w);
        self.transform.inverse(&mut x);
        x
    }

    /// Draws image, weight and noise.
    ///
    /// # Errors
    /// Settings without sense.
    pub fn sample(&self, settings: &ScaleSettings) -> Result<ScaledPosterior, ReconstructError> {
        let wrong = |name: &'static str, value: f64| {
            let problem = format!("{value}; a positive number is needed");
            Err(ReconstructError::setting(name, problem))
        };
        let positive = |v: f64| v > 0.0 && v.is_finite();
        if !positive(settings.weight_sd) {
            return wrong("prior weight sd", settings.weight_sd);
        }
        if let Some(a) = settings.noise_shape.filter(|a| !positive(*a)) {
            return wrong("sigma shape", a);
        }
        if settings.draws < 2 {
            let problem = format!("{}; at least 2 are needed", settings.draws);
            return Err(ReconstructError::setting("draws", problem));
        }
        let (grid, sums, ln_evidence) = self.integrate(settings);
        let whole = sums[sums.len() - 1];
        let mut mean = vec![0.0; self.mu.len()];
        for (k, p) in grid.iter().enumerate() {
            // Half of the cells on either side belong to a point.
            let (left, right) = (sums[k.saturating_sub(1)], sums[(k + 1).min(sums.len() - 1)]);
            let (part, kappa) = (0.5 * (right - left) / whole, p.ln_kappa.exp());
            for (w, (b, m)) in mean.iter_mut().zip(self.beta.iter().zip(&self.mu)) {
                *w += part * b / (m + kappa);
            }
        }
        let mean = self.image(&mean);
        let draw = |k: usize| -> (Vec<f64>, f64, f64) {
            let mut rng = PhiloxRng::new(settings.seed, k as u64, STREAM);
            let at = whole * rng.random::<f64>();
            let right = sums.partition_point(|s| *s < at).clamp(1, sums.len() - 1);
            let part =
                (at - sums[right - 1]) / (sums[right] - sums[right - 1]).max(f64::MIN_POSITIVE);
            let (a, b) = (grid[right - 1].ln_kappa, grid[right].ln_kappa);
            let kappa = (a + part.clamp(0.0, 1.0) * (b - a)).exp();
            let tau = settings.noise_shape.map_or(1.0, |a| {
                let (shape, rate) = (a + 0.5 * self.count, a + 0.5 * self.residual(kappa));
                Gamma::new(shape, 1.0 / rate).map_or(f64::NAN, |g| g.sample(&mut rng))
            });
            let w: Vec<f64> = (self.beta.iter().zip(&self.mu))
                .map(|(b, m)| {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    b / (m + kappa) + normal / (tau * (m + kappa)).sqrt()
                })
                .collect();
            (self.image(&w), kappa * tau * self.image.field().weight(), tau.sqrt().recip())
        };
        let found: Vec<_> = (0..settings.draws).into_par_iter().map(draw).collect();
        let (mut draws, mut weight, mut noise) = (Vec::new(), Vec::new(), Vec::new());
        for (x, w, s) in found {
            draws.push(x);
            weight.push(w);
            noise.push(s);
        }
        let of_mean = Solved { iterations: 0, residual: 0.0 };
        let images = SampledPosterior::of(mean, of_mean, draws, &[]);
        Ok(ScaledPosterior { images, weight, noise, ln_evidence })
    }
}
