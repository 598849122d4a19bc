//! The distribution of a measured magnitude $y$ about the signal $S$.
//!
//! $$\text{Gaussian:}\quad \ln p = -\tfrac12\ln(2\pi\sigma^2) - \frac{(y-S)^2}{2\sigma^2}$$
//! $$\text{Rician:}\quad \ln p = \ln\frac{y}{\sigma^2} - \frac{(y-S)^2}{2\sigma^2} + \ln\left[e^{-x}I_0(x)\right],\quad x = \frac{yS}{\sigma^2}$$
//! $$\text{non-central chi:}\quad \ln p = \ln\frac{y^{2N-1}}{2^{N-1}\Gamma(N)\sigma^{2N}} - \frac{(y-S)^2}{2\sigma^2} +
//!   \ln\left[\Gamma(N)\left(\tfrac2x\right)^{N-1}e^{-x}I_{N-1}(x)\right]$$
//! $$\text{Student-t:}\quad \ln p = \ln\frac{\Gamma(\frac{\nu+1}2)}{\Gamma(\frac\nu2)\sqrt{\nu\pi}\,\sigma}
//!   - \frac{\nu+1}2\ln\left(1+\frac{(y-S)^2}{\nu\sigma^2}\right)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y, S, \sigma$ | of the signals | magnitude, noise-free signal, noise scale of one channel |
//! | $N$ | 1 | coils whose magnitudes are added as a root of a sum of squares; N = 1 is Rician |
//! | $\nu$ | 1 | degrees of freedom; the sd of the noise is $\sigma\sqrt{\nu/(\nu-2)}$ |
//!
//! The sums over measurements are loops of the kernels; this file adds the
//! terms that depend on $\sigma$ only.
//!
//! Source: Rice 1944; Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618, eq. 1;
//! Constantinides, Atalar & McVeigh 1997, doi:10.1002/mrm.1910380524, eq. 3; Lange,
//! Little & Taylor 1989, doi:10.1080/01621459.1989.10478852. Validated by
//! `golden_densities`, `densities_integrate_to_one`, `sigma_slope_equals_difference` and
//! `draws_have_the_density` below.

use microtome_kernels::residual::residual_sums;
use microtome_kernels::{gaussian, nc_chi, rician, student_t};
use rand_distr::{Distribution, StandardNormal, StudentT};
use statrs::function::gamma::ln_gamma;
use std::f64::consts::{LN_2, PI, TAU};

pub use microtome_kernels::nc_chi::COILS_MAX;

/// Degrees of freedom of Student-t noise that the user gave none for.
pub const STUDENT_NU: f64 = 5.0;

/// Which distribution.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum NoiseKind {
    /// Normal with standard deviation σ.
    #[default]
    Gaussian,
    /// Magnitude of a complex signal with normal noise σ in both channels.
    Rician,
    /// Root of the sum of squares of the magnitudes of several coils, normal noise σ
    /// in each of their channels.
    NcChi {
        /// Number of coils, 1 to [`COILS_MAX`].
        coils: u32,
    },
    /// Student-t with scale σ: noise with outliers.
    StudentT {
        /// Degrees of freedom, positive.
        nu: f64,
    },
}

impl std::fmt::Display for NoiseKind {
    /// The name and the parameter: `nc_chi (coils = 8)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            NoiseKind::NcChi { coils } => write!(f, " (coils = {coils})"),
            NoiseKind::StudentT { nu } => write!(f, " (nu = {nu})"),
            NoiseKind::Gaussian | NoiseKind::Rician => Ok(()),
        }
    }
}

impl NoiseKind {
    /// The names of all kinds in files and flags.
    pub const NAMES: [&'static str; 4] = ["gaussian", "rician", "nc_chi", "student_t"];

    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            NoiseKind::Gaussian => Self::NAMES[0],
            NoiseKind::Rician => Self::NAMES[1],
            NoiseKind::NcChi { .. } => Self::NAMES[2],
            NoiseKind::StudentT { .. } => Self::NAMES[3],
        }
    }

    /// The number of coils of a magnitude, which is never negative and has a noise
    /// floor; `None` for noise about the signal itself.
    pub fn coils(self) -> Option<u32> {
        match self {
            NoiseKind::Rician => Some(1),
            NoiseKind::NcChi { coils } => Some(coils),
            NoiseKind::Gaussian | NoiseKind::StudentT { .. } => None,
        }
    }

    /// $\ln p(y\,|\,S,\sigma)$ without the constants of [`Constants`]; writes
    /// the scores $\partial\ln p/\partial S$.
    pub fn score(self, y: &[f64], s: &[f64], mask: &[f64], sigma: f64, score: &mut [f64]) -> f64 {
        let w = 1.0 / (sigma * sigma);
        match self {
            NoiseKind::Gaussian => gaussian::gaussian(y, s, mask, w, score),
            NoiseKind::Rician => rician::rician(y, s, mask, w, score),
            NoiseKind::NcChi { coils } => nc_chi::nc_chi(y, s, mask, w, coils, score),
            NoiseKind::StudentT { nu } => student_t::student_t(y, s, mask, w, nu, score),
        }
    }

    /// The value of [`NoiseKind::score`], equal to the bit, without the scores.
    pub fn value(self, y: &[f64], s: &[f64], mask: &[f64], sigma: f64) -> f64 {
        let w = 1.0 / (sigma * sigma);
        match self {
            NoiseKind::Gaussian => gaussian::gaussian_value(y, s, mask, w),
            NoiseKind::Rician => rician::rician_value(y, s, mask, w),
            NoiseKind::NcChi { coils } => nc_chi::nc_chi_value(y, s, mask, w, coils),
            NoiseKind::StudentT { nu } => student_t::student_t_value(y, s, mask, w, nu),
        }
    }

    /// As [`NoiseKind::score`], and the curvatures $-\partial^2\ln p/\partial S^2$.
    pub fn curvature(
        self,
        y: &[f64],
        s: &[f64],
        mask: &[f64],
        sigma: f64,
        score: &mut [f64],
        curvature: &mut [f64],
    ) -> f64 {
        let w = 1.0 / (sigma * sigma);
        match self {
            NoiseKind::Gaussian => {
                gaussian::gaussian_with_curvature(y, s, mask, w, score, curvature)
            }
            NoiseKind::Rician => rician::rician_with_curvature(y, s, mask, w, score, curvature),
            NoiseKind::NcChi { coils } => {
                nc_chi::nc_chi_with_curvature(y, s, mask, w, coils, score, curvature)
            }
            NoiseKind::StudentT { nu } => {
                student_t::student_t_with_curvature(y, s, mask, w, nu, score, curvature)
            }
        }
    }

    /// $\partial\ln p/\partial\ln\sigma$ of a voxel, from its scores.
    ///
    /// All likelihoods depend on σ as $\sigma^{-k n}$ times a function of
    /// $y/\sigma, S/\sigma$. With $R = \sum (y-S)^2/\sigma^2$ the Gaussian slope is
    /// $R - n$, and the Student-t one $\sum(y-S)\,\mathrm{score} - n$. That of N coils is
    /// $-2Nn + \sum (y^2 + S^2 - 2ySr)/\sigma^2 = -2Nn + \sum(y^2 - S^2)/\sigma^2 - 2\sum S\,\mathrm{score}$,
    /// since $y r = \sigma^2\mathrm{score} + S$; the Rician one has N = 1.
    pub fn ln_sigma_slope(
        self,
        y: &[f64],
        s: &[f64],
        mask: &[f64],
        sigma: f64,
        score: &[f64],
    ) -> f64 {
        let w = 1.0 / (sigma * sigma);
        let sums = residual_sums(y, s, mask, score);
        let magnitude = |channels: f64| sums.power * w - 2.0 * sums.work - channels * sums.count;
        match self {
            NoiseKind::Gaussian => sums.square * w - sums.count,
            NoiseKind::Rician => magnitude(2.0),
            NoiseKind::NcChi { coils } => magnitude(2.0 * f64::from(coils)),
            NoiseKind::StudentT { .. } => sums.pull - sums.count,
        }
    }

    /// The information on $\ln\sigma$, signals known: exact in the mean for Gaussian
    /// ($2n$) and Student-t noise ($2n\nu/(\nu+3)$), to leading order for Rician noise
    /// ($2n$), and for N coils, where the floor grows with σ, a difference of
    /// [`NoiseKind::ln_sigma_slope`], at least $n$.
    ///
    /// # Shapes
    /// All `[slot]`; `scratch` is overwritten.
    pub fn ln_sigma_information(
        self,
        y: &[f64],
        s: &[f64],
        mask: &[f64],
        sigma: f64,
        scratch: &mut [f64],
    ) -> f64 {
        let n = mask.iter().filter(|m| **m > 0.0).count() as f64;
        match self {
            NoiseKind::Gaussian | NoiseKind::Rician => 2.0 * n,
            NoiseKind::StudentT { nu } => 2.0 * n * nu / (nu + 3.0),
            NoiseKind::NcChi { .. } => {
                let step = 1e-4;
                let mut slope = |sigma: f64| {
                    self.score(y, s, mask, sigma, scratch);
                    self.ln_sigma_slope(y, s, mask, sigma, scratch)
                };
                let (below, above) = (slope(sigma * (1.0 - step)), slope(sigma * (1.0 + step)));
                ((below - above) / (2.0 * step)).max(n)
            }
        }
    }

    /// A measurement of a signal.
    ///
    /// The signal of several coils is put into one channel: only the sum of squares
    /// over coils enters the density.
    pub fn draw<R: rand::Rng + ?Sized>(self, signal: f64, sigma: f64, rng: &mut R) -> f64 {
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        match self {
            NoiseKind::Gaussian => signal + sigma * normal(),
            NoiseKind::Rician => (signal + sigma * normal()).hypot(sigma * normal()),
            NoiseKind::NcChi { coils } => {
                let mut square = (signal + sigma * normal()).powi(2);
                for _ in 1..2 * coils {
                    square += (sigma * normal()).powi(2);
                }
                square.sqrt()
            }
            NoiseKind::StudentT { nu } => {
                signal + sigma * StudentT::new(nu).map_or(f64::NAN, |t| t.sample(rng))
            }
        }
    }
}

/// The part of $\ln p$ that does not depend on the signal: computed once a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    kind: NoiseKind,
    n: f64,
    /// Whatever depends on neither S nor σ.
    fixed: f64,
}

impl Constants {
    /// From the magnitudes of a voxel. A magnitude of zero (a scanner writes
    /// integers) is left out of $\sum\ln y$, which does not depend on any parameter.
    pub fn new(kind: NoiseKind, y: &[f64]) -> Self {
        let n = y.len() as f64;
        let sum_ln_y = || y.iter().filter(|v| **v > 0.0).map(|v| v.ln()).sum::<f64>();
        let fixed = match kind {
            NoiseKind::Gaussian => 0.0,
            NoiseKind::Rician => sum_ln_y(),
            NoiseKind::NcChi { coils } => {
                let ln_factorial: f64 = (1..coils).map(|k| f64::from(k).ln()).sum();
                let coils = f64::from(coils);
                (2.0 * coils - 1.0) * sum_ln_y() - n * ((coils - 1.0) * LN_2 + ln_factorial)
            }
            NoiseKind::StudentT { nu } => {
                n * (ln_gamma(0.5 * (nu + 1.0)) - ln_gamma(0.5 * nu) - 0.5 * (nu * PI).ln())
            }
        };
        Self { kind, n, fixed }
    }

    /// The constant of measurements with weights, which are means: normal, with the
    /// variance of the noise divided by the weight.
    ///
    /// # Shapes
    /// `weights` `[slot]`, 0 in padding.
    #[must_use]
    pub fn of_means(mut self, weights: &[f64]) -> Self {
        let means = weights.iter().filter(|w| **w > 1.0);
        self.fixed += means.map(|w| 0.5 * w.ln()).sum::<f64>();
        self
    }

    /// The part that does not depend on σ either.
    pub(crate) fn without_sigma(&self) -> f64 {
        self.fixed
    }

    /// The constant at a noise scale.
    pub fn at(&self, sigma: f64) -> f64 {
        match self.kind {
            NoiseKind::Gaussian => self.fixed - self.n * (sigma.ln() + 0.5 * TAU.ln()),
            NoiseKind::Rician => self.fixed - 2.0 * self.n * sigma.ln(),
            NoiseKind::NcChi { coils } => self.fixed - 2.0 * f64::from(coils) * self.n * sigma.ln(),
            NoiseKind::StudentT { .. } => self.fixed - self.n * sigma.ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use microtome_kernels::philox::PhiloxRng;
    use std::f64::consts::FRAC_PI_2;

    const KINDS: [NoiseKind; 8] = [
        NoiseKind::Gaussian,
        NoiseKind::Rician,
        NoiseKind::NcChi { coils: 1 },
        NoiseKind::NcChi { coils: 4 },
        NoiseKind::NcChi { coils: 32 },
        NoiseKind::StudentT { nu: 2.5 },
        NoiseKind::StudentT { nu: 5.0 },
        NoiseKind::StudentT { nu: 1e4 },
    ];

    fn padded(v: f64) -> [f64; 8] {
        let mut out = [0.0; 8];
        out[0] = v;
        out
    }

    fn ln_p(kind: NoiseKind, y: f64, s: f64, sigma: f64) -> f64 {
        kind.value(&padded(y), &padded(s), &padded(1.0), sigma)
            + Constants::new(kind, &[y]).at(sigma)
    }

    /// Densities, scores, curvatures and slopes of `tests/golden/noise.csv`, which are
    /// computed from the densities as they are published.
    #[test]
    fn golden_densities() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/noise.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let mut rows = 0;
        for line in text.lines().skip(1) {
            let (kind, rest) = line.split_once(',').unwrap();
            let v: Vec<f64> = rest.split(',').map(|c| c.parse().unwrap()).collect();
            let kind = match kind {
                "nc_chi" => NoiseKind::NcChi { coils: v[0] as u32 },
                _ => NoiseKind::StudentT { nu: v[0] },
            };
            let [y, s, sigma] = [v[1], v[2], v[3]];
            let (mut score, mut curvature) = ([0.0; 8], [0.0; 8]);
            let (y8, s8, mask) = (padded(y), padded(s), padded(1.0));
            kind.curvature(&y8, &s8, &mask, sigma, &mut score, &mut curvature);
            let slope = kind.ln_sigma_slope(&y8, &s8, &mask, sigma, &score);
            // The sizes of the terms of which each is a sum.
            let unit = (y.abs() + s.abs()) / sigma;
            let sizes = [
                v[4].abs() + unit * unit + 100.0,
                unit / sigma,
                (1.0 + unit * unit) / (sigma * sigma),
                unit * unit + 130.0,
            ];
            let found = [ln_p(kind, y, s, sigma), score[0], curvature[0], slope];
            for (i, (found, size)) in found.iter().zip(sizes).enumerate() {
                let error = (found - v[4 + i]).abs();
                assert!(error <= 1e-14 * size, "{line}: number {i} is {found}, off {error:e}");
            }
            rows += 1;
        }
        assert_eq!(rows, 72);
    }

    #[test]
    fn one_coil_is_rician() {
        for (y, s) in [(0.3, 0.0), (0.4, 0.35), (1.0, 1.1)] {
            let coil = NoiseKind::NcChi { coils: 1 };
            assert_eq!(ln_p(coil, y, s, 0.1), ln_p(NoiseKind::Rician, y, s, 0.1));
        }
    }

    /// A mean of many measurements is one number: its weight is in the residual.
    #[test]
    fn means_count_once_in_the_information_on_sigma() {
        let (y, s) = ([1.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], [0.9; 8]);
        let weights = [1.0, 30.0, 60.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let information =
            NoiseKind::Gaussian.ln_sigma_information(&y, &s, &weights, 0.1, &mut [0.0; 8]);
        assert_eq!(information, 6.0);
    }

    #[test]
    fn densities_integrate_to_one() {
        for kind in KINDS {
            for s in [0.0, 0.05, 0.4] {
                let sigma = 0.1;
                // Student-t noise has tails: integrate over y = s + tan.
                let heavy = matches!(kind, NoiseKind::StudentT { .. });
                let (low, high) = match kind {
                    _ if heavy => (-FRAC_PI_2, FRAC_PI_2),
                    NoiseKind::Gaussian => (-1.0, 1.6),
                    _ => (0.0, 2.2),
                };
                let n = 40_000;
                let h = (high - low) / f64::from(n);
                let total: f64 = (0..n)
                    .map(|i| {
                        let u = low + (f64::from(i) + 0.5) * h;
                        if heavy {
                            let slope = sigma / u.cos().powi(2);
                            ln_p(kind, s + sigma * u.tan(), s, sigma).exp() * slope * h
                        } else {
                            ln_p(kind, u, s, sigma).exp() * h
                        }
                    })
                    .sum();
                assert!((total - 1.0).abs() < 1e-7, "{kind:?} at S = {s}: {total}");
            }
        }
    }

    fn data() -> ([f64; 8], [f64; 8], [f64; 8]) {
        (
            [0.9, 0.5, 0.03, 0.2, 0.0, 0.0, 0.0, 0.0],
            [1.0, 0.4, 0.05, 0.2, 0.7, 0.7, 0.7, 0.7],
            [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        )
    }

    #[test]
    fn sigma_slope_equals_difference() {
        let (y, s, mask) = data();
        for kind in KINDS {
            let total = |sigma: f64| {
                kind.value(&y, &s, &mask, sigma) + Constants::new(kind, &y[..4]).at(sigma)
            };
            let (sigma, h) = (0.11_f64, 1e-5);
            let difference = (total(sigma * f64::exp(h)) - total(sigma * f64::exp(-h))) / (2.0 * h);
            let mut score = [0.0; 8];
            kind.score(&y, &s, &mask, sigma, &mut score);
            let slope = kind.ln_sigma_slope(&y, &s, &mask, sigma, &score);
            assert!(
                (slope - difference).abs() < 1e-6 * slope.abs().max(1.0),
                "{kind:?} {slope} {difference}"
            );
        }
    }

    /// A histogram of 40 000 draws against the density (chi-squared, 24 bins), and for
    /// the same draws the mean score and the mean slope in ln σ, which are zero.
    #[test]
    fn draws_have_the_density() {
        let (s, sigma, n) = (0.23, 0.1, 40_000);
        for kind in KINDS {
            let mut rng = PhiloxRng::new(11, 0, 0);
            let mut y: Vec<f64> = (0..n).map(|_| kind.draw(s, sigma, &mut rng)).collect();
            let (signal, mask) = (vec![s; n], vec![1.0; n]);
            let mut score = vec![0.0; n];
            kind.score(&y, &signal, &mask, sigma, &mut score);
            let scatter = (score.iter().map(|v| v * v).sum::<f64>()).sqrt();
            let total: f64 = score.iter().sum();
            assert!(total.abs() < 4.0 * scatter, "{kind:?}: score {total} +- {scatter}");
            let slope = kind.ln_sigma_slope(&y, &signal, &mask, sigma, &score);
            let information = kind.ln_sigma_information(&y, &signal, &mask, sigma, &mut score);
            // The Rician number is the leading order only.
            let room = if kind.coils() == Some(1) { 6.0 } else { 4.0 };
            assert!(slope.abs() < room * information.sqrt(), "{kind:?}: slope {slope}");
            y.sort_by(f64::total_cmp);
            let mut statistic = 0.0;
            let bins = 24;
            for k in 1..bins - 1 {
                let (low, high) = (y[k * n / bins], y[(k + 1) * n / bins]);
                let steps = 200;
                let h = (high - low) / f64::from(steps);
                let mass: f64 = (0..steps)
                    .map(|i| ln_p(kind, low + (f64::from(i) + 0.5) * h, s, sigma).exp() * h)
                    .sum();
                let expected = n as f64 / bins as f64;
                statistic += (mass * n as f64 - expected).powi(2) / expected;
            }
            // Differences of uniform order statistics: mean about 22, sd about 7.
            assert!(statistic < 60.0, "{kind:?}: {statistic}");
        }
    }
}
