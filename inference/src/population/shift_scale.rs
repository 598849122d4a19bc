//! One Markov step of the population that takes its voxels along.
//!
//! $$m'=m+\delta,\quad z_v'=m'+D(z_v-m),\quad \Sigma'=D\Sigma D,\quad
//!   a_k'=a_ke^{-2s_k},\qquad D=\mathrm{diag}(e^{s})$$
//!
//! leaves $p(Z|m,\Sigma)\,dZ$ alone, so that a population that the data of each voxel
//! say little of moves as far as the data of all voxels together allow; the conjugate
//! draws of [`super::normal_wishart`] alone would creep. The density of
//! $\theta=(\delta,s)$ at fixed $D^{-1}(z-m)$ is, with all Jacobians,
//!
//! $$\sum_v\ln p(y_v\,|\,z_v')-\sum_k\frac{(m_k'-\mu_k)^2}{2A_k^2}
//!   +\sum_k\Big(s_k-\frac{e^{2s_k}}{A_k^2a_k}\Big)$$
//!
//! A Hamiltonian trajectory from $\theta=0$ in the white coordinates of the curvature
//! $\sum_vJ_v^TH_vJ_v$, $J_v=(I,\mathrm{diag}(z_v-m))$, averaged over warm-up.
//!
//! Source: Liu & Sabatti 2000, doi:10.1093/biomet/87.2.353 (moves along a group); Yu &
//! Meng 2011, doi:10.1198/jcgs.2011.203main (interweaving of centred and whitened
//! coordinates).
//! Validated by `hyperprior_term_has_all_jacobians` below and `joint_distribution` in
//! `tests/population.rs`.

use super::normal_wishart::{Hyperprior, Population};
use super::step_size::{DIVERGENT_NATS, StepSize};
use crate::dense::{backward, cholesky, forward};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// The log likelihood of all voxels and its slopes in θ.
#[derive(Debug, Clone)]
pub(crate) struct Slopes {
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
}

impl Slopes {
    pub(crate) fn new(d: usize) -> Self {
        Self { value: 0.0, gradient: vec![0.0; 2 * d] }
    }

    /// Adds one voxel: its log likelihood, its slopes in the pooled coordinates and
    /// $e^{s}(z-m)$, coordinate after coordinate.
    pub(crate) fn add(&mut self, value: f64, each: impl Iterator<Item = (f64, f64)>) {
        let d = self.gradient.len() / 2;
        self.value += value;
        for (k, (slope, arm)) in each.enumerate() {
            self.gradient[k] += slope;
            self.gradient[d + k] += slope * arm;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.value += other.value;
        for (a, b) in self.gradient.iter_mut().zip(&other.gradient) {
            *a += b;
        }
    }
}

/// The tuned step of one chain.
#[derive(Debug, Clone)]
pub(crate) struct ShiftScale {
    /// Lower Cholesky factor of the metric, `[2d, 2d]`.
    factor: Vec<f64>,
    sum: Vec<f64>,
    summed: f64,
    tuning: StepSize,
}

impl ShiftScale {
    pub(crate) fn new(d: usize) -> Self {
        let mut factor = vec![0.0; 4 * d * d];
        for i in 0..2 * d {
            factor[2 * d * i + i] = 1e3;
        }
        Self { factor, sum: vec![0.0; 4 * d * d], summed: 0.0, tuning: StepSize::default() }
    }

    /// Adds the curvature in θ at one scan of the warm-up.
    pub(crate) fn observe(&mut self, curvature: &[f64]) {
        self.summed += 1.0;
        for (s, c) in self.sum.iter_mut().zip(curvature) {
            *s += c;
        }
    }

    /// Takes the mean of the curvatures since the last time as the metric.
    pub(crate) fn retake(&mut self, prior: &Hyperprior) {
        let d = prior.mean.len();
        let mut metric: Vec<f64> = self.sum.iter().map(|s| s / self.summed.max(1.0)).collect();
        for (k, a) in prior.sd.iter().enumerate() {
            metric[2 * d * k + k] += 1.0 / (a * a);
            // The hyperprior of ln sd falls by a nat a unit.
            metric[2 * d * (d + k) + d + k] += 1.0;
        }
        if self.summed > 0.0 && cholesky(&mut metric, 2 * d, 1e-13) {
            self.factor = metric;
            self.tuning.restart();
        }
        self.sum.fill(0.0);
        self.summed = 0.0;
    }

    /// One step: evaluates the voxels by `at`, which keeps where it was last asked, and
    /// returns θ when that place is accepted.
    pub(crate) fn step<R: Rng + ?Sized>(
        &mut self,
        prior: &Hyperprior,
        population: &Population,
        start: Slopes,
        mut at: impl FnMut(&[f64]) -> Slopes,
        warm_up: bool,
        rng: &mut R,
    ) -> Option<Vec<f64>> {
        let n = self.factor.len().isqrt();
        let mut theta = vec![0.0; n];
        let mut momentum: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
        let (steps, step) = self.tuning.trajectory(warm_up, rng);
        let u: f64 = rng.random();
        let kinetic = |p: &[f64]| 0.5 * p.iter().map(|p| p * p).sum::<f64>();
        let kick = |momentum: &mut [f64], gradient: &[f64], step: f64| {
            let mut white = gradient.to_vec();
            forward(&self.factor, n, &mut white);
            for (p, g) in momentum.iter_mut().zip(&white) {
                *p += step * g;
            }
        };
        let mut slopes = start;
        let first = slopes.value + hyperprior(prior, population, &theta, &mut slopes.gradient);
        let energy = kinetic(&momentum) - first;
        let mut last = first;
        for _ in 0..steps {
            kick(&mut momentum, &slopes.gradient, 0.5 * step);
            let mut velocity = momentum.clone();
            backward(&self.factor, n, &mut velocity);
            for (t, v) in theta.iter_mut().zip(&velocity) {
                *t += step * v;
            }
            slopes = at(&theta);
            last = slopes.value + hyperprior(prior, population, &theta, &mut slopes.gradient);
            if !(last.is_finite() && slopes.gradient.iter().all(|g| g.is_finite())) {
                last = f64::NEG_INFINITY;
                break;
            }
            kick(&mut momentum, &slopes.gradient, 0.5 * step);
        }
        let error = kinetic(&momentum) - last - energy;
        let acceptance = if error < DIVERGENT_NATS { (-error).exp().min(1.0) } else { 0.0 };
        if warm_up {
            self.tuning.update(acceptance);
        }
        (u < acceptance).then_some(theta)
    }
}

/// The terms of θ that do not come from the voxels; their slopes are added.
fn hyperprior(
    prior: &Hyperprior,
    population: &Population,
    theta: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let d = prior.mean.len();
    let mut total = 0.0;
    for k in 0..d {
        let variance = prior.sd[k] * prior.sd[k];
        let from = population.mean[k] + theta[k] - prior.mean[k];
        let s = theta[d + k];
        let wall = (2.0 * s).exp() / (variance * population.auxiliary[k]);
        total += s - wall - 0.5 * from * from / variance;
        gradient[k] -= from / variance;
        gradient[d + k] += 1.0 - 2.0 * wall;
    }
    total
}

/// The population at θ.
pub(crate) fn moved(population: &Population, theta: &[f64]) -> Population {
    let d = population.mean.len();
    let (delta, s) = theta.split_at(d);
    let mut out = population.clone();
    for i in 0..d {
        out.mean[i] += delta[i];
        out.auxiliary[i] *= (-2.0 * s[i]).exp();
        out.ln_det -= 2.0 * s[i];
        for j in 0..d {
            let scale = (s[i] + s[j]).exp();
            out.covariance[i * d + j] *= scale;
            out.precision[i * d + j] /= scale;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_kernels::philox::PhiloxRng;

    /// The hyperprior terms against the densities of m, Σ | a and a themselves, and the
    /// Jacobians of the move: |D|^(d+1) of Σ, e^(-2s) of each a, |D|^n of Z, which the
    /// density of Z takes back.
    #[test]
    fn hyperprior_term_has_all_jacobians() {
        let prior = Hyperprior { mean: vec![0.3, -1.0], sd: vec![0.7, 1.9] };
        let d = 2.0;
        let ln_density = |p: &Population| {
            let (nu, df) = (2.0, 2.0 + d - 1.0);
            let mut total = 0.0;
            for k in 0..2 {
                let a = p.auxiliary[k];
                let variance = prior.sd[k] * prior.sd[k];
                // Inverse gamma (1/2, 1/A²) of a.
                total += -1.5 * a.ln() - 1.0 / (variance * a);
                // |S|^(df/2) and the trace of the inverse Wishart.
                total -= 0.5 * df * a.ln();
                total -= 0.5 * 2.0 * nu / a * p.precision[3 * k];
                total -= 0.5 * (p.mean[k] - prior.mean[k]).powi(2) / variance;
            }
            total + 0.5 * (df + d + 1.0) * p.ln_det
        };
        let population = Population::from_prior(&prior, &mut PhiloxRng::new(1, 2, 3)).unwrap();
        let theta = [0.2, -0.4, 0.35, -0.8];
        let there = moved(&population, &theta);
        let direct =
            Population::new(there.mean.clone(), there.precision.clone(), there.auxiliary.clone())
                .unwrap();
        assert!((direct.ln_det - there.ln_det).abs() < 1e-12);
        assert!((direct.covariance[1] / there.covariance[1] - 1.0).abs() < 1e-12);
        let ln_jacobian: f64 = theta[2..].iter().map(|s| (d + 1.0) * s - 2.0 * s).sum();
        let expected = ln_density(&there) - ln_density(&population) + ln_jacobian;
        let mut gradient = [0.0; 4];
        let value =
            |theta: &[f64], gradient: &mut [f64]| hyperprior(&prior, &population, theta, gradient);
        let found = value(&theta, &mut gradient) - value(&[0.0; 4], &mut [0.0; 4]);
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        for k in 0..4 {
            let shifted = |h: f64| {
                let mut t = theta;
                t[k] += h;
                value(&t, &mut [0.0; 4])
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((gradient[k] - difference).abs() < 1e-8);
        }
    }
}
