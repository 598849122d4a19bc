//! Posterior predictive checks: could the model have made data like these?
//!
//! $$\mathrm{ppp} = \Pr\left(T(y^{\mathrm{rep}},\theta)\ge T(y,\theta)\,|\,y\right),\qquad
//!   \theta\sim p(\theta|y),\quad y^{\mathrm{rep}}\sim p(y|\theta)$$
//!
//! for the realised discrepancies $T_{\chi^2} = \sum_i r_i^2$ and
//! $T_{\max} = \max_i|r_i|$ of the residuals
//!
//! $$r_i = \frac{y_i - S_i}{\mathrm{sd}_i},\qquad\text{and for magnitudes of N coils}\quad
//!   r_i = \frac{y_i^2 - S_i^2 - 2N\sigma^2}{2\sigma\sqrt{S_i^2 + N\sigma^2}},$$
//!
//! which have mean 0 and variance 1 exactly ($y^2/\sigma^2$ is non-central
//! chi-squared) and become $(y-S)/\sigma$ far above the noise. A p value near 0 says that
//! the data scatter more than the model can; one near 1, that they scatter less (σ too
//! large). Where the model is right the values crowd about 1/2 more than uniform ones:
//! the parameters have followed the data. So a p value below 0.01 is at least as rare
//! as it says.
//!
//! Shells: $z_s = (\bar y_s - \mathrm E\,\bar y_s^{\mathrm{rep}})/\mathrm{sd}\,\bar y_s^{\mathrm{rep}}$
//! of the mean over a shell shows where along b the model bends away.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y, S, \sigma$ | of the signals | measurement, signal, noise scale |
//! | $\mathrm{sd}$ | of the signals | of one measurement: $\sigma$; $\sigma/\sqrt n$ of a mean of n; $\sigma\sqrt{\nu/(\nu-2)}$ of Student-t noise ($\sigma$ for $\nu\le2$) |
//!
//! Source: Gelman, Meng & Stern 1996, Statistica Sinica 6:733, eqs. 6 to 8; Meng 1994,
//! doi:10.1214/aos/1176325622 (their distribution). Validated by
//! `predictive_p_values_of_a_right_model_are_not_extreme` in `tests/suite/comparison.rs`.

use microtome_kernels::Plan;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::NoiseKind;

/// Most replicates.
pub(super) const REPLICATES: usize = 500;

/// The outcome of the checks of one voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictiveCheck {
    /// p value of the sum of squared residuals.
    pub chi2: f64,
    /// p value of the largest absolute residual.
    pub max: f64,
    /// z of the mean of each shell.
    pub shells: Vec<f64>,
}

/// Counts replicates, one call a draw.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    noise: NoiseKind,
    plan: &'a Plan,
    /// Magnitudes in slots.
    y: &'a [f64],
    shells: &'a [Vec<usize>],
    rng: PhiloxRng,
    replicates: f64,
    above: [f64; 2],
    replicate: Vec<f64>,
    /// Sums of shell means and of their squares, about the first replicate.
    first: Vec<f64>,
    sums: Vec<[f64; 2]>,
}

impl<'a> Checker<'a> {
    /// `shells`: the measurements of each.
    pub(super) fn new(
        noise: NoiseKind,
        plan: &'a Plan,
        y: &'a [f64],
        shells: &'a [Vec<usize>],
        rng: PhiloxRng,
    ) -> Self {
        Self {
            noise,
            plan,
            y,
            shells,
            rng,
            replicates: 0.0,
            above: [0.0; 2],
            replicate: vec![0.0; y.len()],
            first: Vec::new(),
            sums: vec![[0.0; 2]; shells.len()],
        }
    }

    /// Both discrepancies of magnitudes.
    fn discrepancies(&self, y: &[f64], signal: &[f64], sigma: f64) -> [f64; 2] {
        let (mut sum, mut largest) = (0.0, 0.0_f64);
        for ((y, s), weight) in y.iter().zip(signal).zip(self.plan.mask()) {
            if *weight > 0.0 {
                let square = squared_residual(self.noise, *y, *s, sigma, *weight);
                sum += square;
                largest = largest.max(square);
            }
        }
        [sum, largest]
    }

    /// Takes a draw in.
    ///
    /// # Shapes
    /// `signal` `[slot]`.
    pub(super) fn push(&mut self, signal: &[f64], sigma: f64) {
        for &slot in self.plan.slot_of() {
            let scale = sigma / self.plan.mask()[slot].sqrt();
            self.replicate[slot] = self.noise.draw(signal[slot], scale, &mut self.rng);
        }
        let seen = self.discrepancies(self.y, signal, sigma);
        let made = self.discrepancies(&self.replicate, signal, sigma);
        for k in 0..2 {
            self.above[k] += f64::from(u8::from(made[k] >= seen[k]));
        }
        let means: Vec<f64> = self.shells.iter().map(|s| self.mean(&self.replicate, s)).collect();
        if self.replicates == 0.0 {
            self.first = means.clone();
        }
        for ((sums, m), first) in self.sums.iter_mut().zip(means).zip(&self.first) {
            sums[0] += m - first;
            sums[1] += (m - first) * (m - first);
        }
        self.replicates += 1.0;
    }

    fn mean(&self, y: &[f64], shell: &[usize]) -> f64 {
        let slot_of = self.plan.slot_of();
        shell.iter().map(|&i| y[slot_of[i]]).sum::<f64>() / shell.len() as f64
    }

    /// The outcome; NaN without replicates.
    pub(super) fn finish(self) -> PredictiveCheck {
        let n = self.replicates;
        let shells = (self.shells.iter().zip(&self.sums).zip(&self.first))
            .map(|((shell, [sum, square]), first)| {
                let mean = sum / n;
                let sd = ((square - n * mean * mean) / (n - 1.0)).sqrt();
                (self.mean(self.y, shell) - first - mean) / sd
            })
            .collect();
        PredictiveCheck { chi2: self.above[0] / n, max: self.above[1] / n, shells }
    }
}

/// The square of a residual of mean 0 and variance 1.
fn squared_residual(noise: NoiseKind, y: f64, s: f64, sigma: f64, weight: f64) -> f64 {
    let variance = sigma * sigma / weight;
    match noise.coils() {
        Some(coils) => {
            let n = f64::from(coils);
            let power = y * y - s * s - 2.0 * n * variance;
            power * power / (4.0 * variance * (s * s + n * variance))
        }
        None => {
            let spread = match noise {
                NoiseKind::StudentT { nu } if nu > 2.0 => nu / (nu - 2.0),
                _ => 1.0,
            };
            (y - s) * (y - s) / (variance * spread)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 000 draws: mean 1 within five standard errors of their own scatter.
    #[test]
    fn residuals_have_unit_variance() {
        let n = 200_000;
        for (noise, weight) in [
            (NoiseKind::Gaussian, 1.0),
            (NoiseKind::Gaussian, 30.0),
            (NoiseKind::Rician, 1.0),
            (NoiseKind::NcChi { coils: 4 }, 1.0),
            (NoiseKind::StudentT { nu: 9.0 }, 1.0),
        ] {
            for s in [0.0, 0.1, 1.0] {
                let (sigma, mut rng) = (0.1, PhiloxRng::new(3, 1, 0));
                let scale = sigma / f64::sqrt(weight);
                let squares: Vec<f64> = (0..n)
                    .map(|_| {
                        let y = noise.draw(s, scale, &mut rng);
                        squared_residual(noise, y, s, sigma, weight)
                    })
                    .collect();
                let mean = squares.iter().sum::<f64>() / f64::from(n);
                let scatter =
                    squares.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt() / f64::from(n);
                assert!((mean - 1.0).abs() < 5.0 * scatter, "{noise:?} {s}: {mean} +- {scatter}");
            }
        }
    }
}
