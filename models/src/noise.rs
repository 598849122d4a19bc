//! The distribution of a measured magnitude $y$ about the signal $S$.
//!
//! $$\text{Gaussian:}\quad \ln p = -\tfrac12\ln(2\pi\sigma^2) - \frac{(y-S)^2}{2\sigma^2}$$
//! $$\text{Rician:}\quad \ln p = \ln\frac{y}{\sigma^2} - \frac{(y-S)^2}{2\sigma^2} + \ln\left[e^{-x}I_0(x)\right],\quad x = \frac{yS}{\sigma^2}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y, S, \sigma$ | of the signals | magnitude, noise-free signal, noise scale of one channel |
//!
//! The sums over measurements are loops of the kernels; this file adds the
//! terms that depend on $\sigma$ only.
//!
//! Source: Rice 1944; Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618, eq. 1.
//! Validated by `rician_density_integrates_to_one` and `sigma_slope_equals_difference`.

use microtome_kernels::residual::residual_sums;
use microtome_kernels::{gaussian, rician};
use serde::{Deserialize, Serialize};

/// Which distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum NoiseKind {
    /// Normal with standard deviation σ.
    #[default]
    Gaussian,
    /// Magnitude of a complex signal with normal noise σ in both channels.
    Rician,
}

impl NoiseKind {
    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            NoiseKind::Gaussian => "gaussian",
            NoiseKind::Rician => "rician",
        }
    }

    /// $\ln p(y\,|\,S,\sigma)$ without the constants of [`Constants`]; writes
    /// the scores $\partial\ln p/\partial S$.
    pub fn score(self, y: &[f64], s: &[f64], mask: &[f64], sigma: f64, score: &mut [f64]) -> f64 {
        let w = 1.0 / (sigma * sigma);
        match self {
            NoiseKind::Gaussian => gaussian::gaussian(y, s, mask, w, score),
            NoiseKind::Rician => rician::rician(y, s, mask, w, score),
        }
    }

    /// The value of [`NoiseKind::score`], equal to the bit, without the scores.
    pub fn value(self, y: &[f64], s: &[f64], mask: &[f64], sigma: f64) -> f64 {
        let w = 1.0 / (sigma * sigma);
        match self {
            NoiseKind::Gaussian => gaussian::gaussian_value(y, s, mask, w),
            NoiseKind::Rician => rician::rician_value(y, s, mask, w),
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
        }
    }

    /// $\partial\ln p/\partial\ln\sigma$ of a voxel, from its scores.
    ///
    /// Both likelihoods depend on σ as $\sigma^{-k n}$ times a function of
    /// $y/\sigma, S/\sigma$. With $R = \sum (y-S)^2/\sigma^2$ the Gaussian slope is
    /// $R - n$. The Rician one is
    /// $-2n + \sum (y^2 + S^2 - 2ySr)/\sigma^2 = -2n + \sum(y^2 - S^2)/\sigma^2 - 2\sum S\,\mathrm{score}$,
    /// since $y r = \sigma^2\mathrm{score} + S$.
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
        match self {
            NoiseKind::Gaussian => sums.square * w - sums.count,
            NoiseKind::Rician => sums.power * w - 2.0 * sums.work - 2.0 * sums.count,
        }
    }
}

/// The part of $\ln p$ that does not depend on the signal: computed once a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    kind: NoiseKind,
    n: f64,
    sum_ln_y: f64,
    half_ln_weights: f64,
}

impl Constants {
    /// From the magnitudes of a voxel. A magnitude of zero (a scanner writes
    /// integers) is left out of $\sum\ln y$, which does not depend on any parameter.
    pub fn new(kind: NoiseKind, y: &[f64]) -> Self {
        let sum_ln_y = y.iter().filter(|v| **v > 0.0).map(|v| v.ln()).sum();
        Self { kind, n: y.len() as f64, sum_ln_y, half_ln_weights: 0.0 }
    }

    /// The constant of measurements with weights, which are means: normal, with the
    /// variance of the noise divided by the weight.
    ///
    /// # Shapes
    /// `weights` `[slot]`, 0 in padding.
    #[must_use]
    pub fn of_means(mut self, weights: &[f64]) -> Self {
        let means = weights.iter().filter(|w| **w > 1.0);
        self.half_ln_weights = means.map(|w| 0.5 * w.ln()).sum();
        self
    }

    /// The constant at a noise scale.
    pub fn at(&self, sigma: f64) -> f64 {
        match self.kind {
            NoiseKind::Gaussian => {
                self.half_ln_weights - self.n * (sigma.ln() + 0.5 * std::f64::consts::TAU.ln())
            }
            NoiseKind::Rician => self.sum_ln_y - 2.0 * self.n * sigma.ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ln_p(kind: NoiseKind, y: f64, s: f64, sigma: f64) -> f64 {
        let (mut yy, mut ss, mut mask) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        (yy[0], ss[0], mask[0]) = (y, s, 1.0);
        kind.value(&yy, &ss, &mask, sigma) + Constants::new(kind, &[y]).at(sigma)
    }

    #[test]
    fn rician_density_integrates_to_one() {
        for kind in [NoiseKind::Gaussian, NoiseKind::Rician] {
            for s in [0.0, 0.05, 0.4] {
                let sigma = 0.1;
                let low = if kind == NoiseKind::Rician { 0.0 } else { -1.0 };
                let n = 40_000;
                let h = (1.6 - low) / f64::from(n);
                let total: f64 = (0..n)
                    .map(|i| ln_p(kind, low + (f64::from(i) + 0.5) * h, s, sigma).exp() * h)
                    .sum();
                assert!((total - 1.0).abs() < 1e-7, "{kind:?} at S = {s}: {total}");
            }
        }
    }

    #[test]
    fn sigma_slope_equals_difference() {
        let y = [0.9, 0.5, 0.03, 0.2, 0.0, 0.0, 0.0, 0.0];
        let s = [1.0, 0.4, 0.05, 0.2, 0.7, 0.7, 0.7, 0.7];
        let mask = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        for kind in [NoiseKind::Gaussian, NoiseKind::Rician] {
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
}
