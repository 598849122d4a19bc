//! One Markov step of the population that takes its voxels along.
//!
//! In whitened coordinates $u_v$ the population stands in the likelihood and not in
//! $p(U)$:
//! $$z_v=m+L u_v,\quad \Sigma=LL^T,\quad L=\mathrm{diag}(e^{s})\,T,\quad
//!   a_k=c_ke^{-2s_k}$$
//! with $T$ unit lower triangular. At fixed $U$ and $c$ the density of
//! $\varphi=(m,s,T)$ is, with all Jacobians,
//! $$\sum_v\ln p(y_v\,|\,z_v)-\sum_k\frac{(m_k-\mu_k)^2}{2A_k^2}
//!   +\sum_k\Big(s_k-\frac{e^{2s_k}}{A_k^2c_k}\Big)
//!   -\sum_{jk}(T^{-1})_{jk}^2\Big(\frac{\nu}{c_k}+\frac{(\epsilon A_k)^2}{2e^{2s_k}}\Big).$$
//! A population that the data of each voxel say little of so moves as far as the data of
//! all voxels together allow, where the conjugate draws of
//! [`super::normal_wishart`] alone would creep. One Hamiltonian trajectory in the
//! white coordinates of $\sum_vJ_v^TH_vJ_v$, $J_v=\partial z_v/\partial\varphi$, averaged
//! over warm-up. The same holds for a field, whose $p(Z|m,\Sigma)$ is one of $U$, too.
//!
//! Source: Yu & Meng 2011, doi:10.1198/jcgs.2011.203main (interweaving of centred and
//! whitened coordinates); Papaspiliopoulos, Roberts & Sköld 2007,
//! doi:10.1214/088342307000000014.
//! Validated by `hyperprior_has_all_jacobians` below and by `joint_distribution` in
//! `tests.rs`.

use super::normal_wishart::{Hyperprior, NU, Population};
use super::step_size::{DIVERGENT_NATS, QUARTER, StepSize};
use crate::dense::{backward, cholesky, forward};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// The population in the coordinates φ: m, s, and T row by row below its diagonal.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) d: usize,
    pub(crate) phi: Vec<f64>,
}

/// Coordinates φ of a population of d coordinates.
pub(crate) fn size(d: usize) -> usize {
    2 * d + d * (d.max(1) - 1) / 2
}

impl Frame {
    /// The frame of a population; `None` where its covariance is not positive.
    pub(crate) fn of(population: &Population) -> Option<Self> {
        let d = population.mean.len();
        let mut l = population.covariance.clone();
        if !cholesky(&mut l, d, 1e-15) {
            return None;
        }
        let mut phi = population.mean.clone();
        phi.extend((0..d).map(|k| l[k * d + k].ln()));
        for i in 0..d {
            phi.extend((0..i).map(|j| l[i * d + j] / l[i * d + i]));
        }
        Some(Self { d, phi })
    }

    /// $e^{s_i}$ for every i.
    pub(crate) fn scales(&self) -> Vec<f64> {
        self.phi[self.d..2 * self.d].iter().map(|s| s.exp()).collect()
    }

    /// L, `[d, d]`.
    pub(crate) fn factor(&self) -> Vec<f64> {
        let d = self.d;
        let scales = self.scales();
        let mut l = vec![0.0; d * d];
        let mut at = 2 * d;
        for i in 0..d {
            for j in 0..i {
                l[i * d + j] = scales[i] * self.phi[at];
                at += 1;
            }
            l[i * d + i] = scales[i];
        }
        l
    }

    /// T⁻¹, `[d, d]`.
    fn inverse(&self) -> Vec<f64> {
        let d = self.d;
        let mut t = vec![0.0; d * d];
        let mut at = 2 * d;
        for i in 0..d {
            for j in 0..i {
                t[i * d + j] = self.phi[at];
                at += 1;
            }
            t[i * d + i] = 1.0;
        }
        let mut m = vec![0.0; d * d];
        for k in 0..d {
            let mut column = vec![0.0; d];
            column[k] = 1.0;
            forward(&t, d, &mut column);
            for (j, c) in column.into_iter().enumerate() {
                m[j * d + k] = c;
            }
        }
        m
    }

    /// The population here; `c` are the fixed $a_ke^{2s_k}$.
    fn population(&self, c: &[f64]) -> Option<Population> {
        let d = self.d;
        let (m, scales) = (self.inverse(), self.scales());
        // P = L⁻ᵀ L⁻¹ with L⁻¹ = T⁻¹ D⁻¹.
        let mut precision = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..d {
                let sum: f64 = (0..d).map(|k| m[k * d + i] * m[k * d + j]).sum();
                precision[i * d + j] = sum / (scales[i] * scales[j]);
            }
        }
        let a = c.iter().zip(&scales).map(|(c, s)| c / (s * s)).collect();
        Population::new(self.phi[..d].to_vec(), precision, a)
    }
}

/// The log likelihood of all voxels and its slopes in φ.
#[derive(Debug, Clone)]
pub(crate) struct Slopes {
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
}

impl Slopes {
    pub(crate) fn new(d: usize) -> Self {
        Self { value: 0.0, gradient: vec![0.0; size(d)] }
    }

    /// Adds one voxel: its log likelihood and slopes in the pooled coordinates, its
    /// $z-m$ and $u$.
    pub(crate) fn add(&mut self, value: f64, g: &[f64], arm: &[f64], u: &[f64], scales: &[f64]) {
        let d = g.len();
        self.value += value;
        let mut at = 2 * d;
        for i in 0..d {
            self.gradient[i] += g[i];
            self.gradient[d + i] += g[i] * arm[i];
            let slope = g[i] * scales[i];
            for u in &u[..i] {
                self.gradient[at] += slope * u;
                at += 1;
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.value += other.value;
        for (a, b) in self.gradient.iter_mut().zip(&other.gradient) {
            *a += b;
        }
    }
}

/// Adds $J^THJ$ of one voxel.
///
/// # Shapes
/// `h` `[d, d]`, `out` `[size, size]`.
pub(crate) fn add_curvature(h: &[f64], arm: &[f64], u: &[f64], scales: &[f64], out: &mut [f64]) {
    let d = arm.len();
    let p = size(d);
    // Every column of J has one entry: (row of z, its value).
    let mut entries: Vec<(usize, f64)> = (0..d).map(|i| (i, 1.0)).collect();
    entries.extend(arm.iter().enumerate().map(|(i, a)| (i, *a)));
    for i in 0..d {
        entries.extend((0..i).map(|j| (i, scales[i] * u[j])));
    }
    for (row, (i, a)) in out.chunks_exact_mut(p).zip(&entries) {
        for (o, (j, b)) in row.iter_mut().zip(&entries) {
            *o += a * b * h[i * d + j];
        }
    }
}

/// The tuned step of one chain.
#[derive(Debug, Clone)]
pub(crate) struct WhitenedStep {
    /// Lower Cholesky factor of the metric, `[size, size]`.
    factor: Vec<f64>,
    sum: Vec<f64>,
    summed: f64,
    tuning: StepSize,
}

impl WhitenedStep {
    pub(crate) fn new(d: usize) -> Self {
        let p = size(d);
        let mut factor = vec![0.0; p * p];
        for i in 0..p {
            factor[p * i + i] = 1e3;
        }
        Self { factor, sum: vec![0.0; p * p], summed: 0.0, tuning: StepSize::default() }
    }

    /// Where the curvatures of a scan of the warm-up are added, see [`add_curvature`].
    pub(crate) fn observe(&mut self) -> &mut [f64] {
        self.summed += 1.0;
        &mut self.sum
    }

    /// Takes the mean of the curvatures since the last time as the metric.
    pub(crate) fn retake(&mut self, prior: &Hyperprior) {
        let d = prior.mean.len();
        let p = size(d);
        let mut metric: Vec<f64> = self.sum.iter().map(|s| s / self.summed.max(1.0)).collect();
        for i in 0..p {
            // The hyperprior of s falls by a nat a unit, that of T has unit width.
            metric[p * i + i] += prior.sd.get(i).map_or(1.0, |a| 1.0 / (a * a));
        }
        if self.summed > 0.0 && cholesky(&mut metric, p, 1e-13) {
            self.factor = metric;
            self.tuning.restart();
        }
        self.sum.fill(0.0);
        self.summed = 0.0;
    }

    /// One step: `at` evaluates the voxels at a frame and keeps where it was last asked.
    /// Returns the population when that place is accepted.
    pub(crate) fn step<R: Rng + ?Sized>(
        &mut self,
        prior: &Hyperprior,
        population: &Population,
        start: Slopes,
        mut at: impl FnMut(&Frame) -> Slopes,
        warm_up: bool,
        rng: &mut R,
    ) -> Option<Population> {
        let mut frame = Frame::of(population)?;
        let n = frame.phi.len();
        let squares = frame.scales();
        let c: Vec<f64> =
            population.auxiliary.iter().zip(&squares).map(|(a, s)| a * s * s).collect();
        let mut momentum: Vec<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
        let (steps, step) = self.tuning.trajectory(QUARTER, warm_up, rng);
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
        let first = slopes.value + hyperprior(prior, &c, &frame, &mut slopes.gradient);
        let energy = kinetic(&momentum) - first;
        let mut last = first;
        for _ in 0..steps {
            kick(&mut momentum, &slopes.gradient, 0.5 * step);
            let mut velocity = momentum.clone();
            backward(&self.factor, n, &mut velocity);
            for (f, v) in frame.phi.iter_mut().zip(&velocity) {
                *f += step * v;
            }
            slopes = at(&frame);
            last = slopes.value + hyperprior(prior, &c, &frame, &mut slopes.gradient);
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
        if u < acceptance { frame.population(&c) } else { None }
    }
}

/// The terms of φ that do not come from the voxels; their slopes are added.
fn hyperprior(prior: &Hyperprior, c: &[f64], frame: &Frame, gradient: &mut [f64]) -> f64 {
    let d = frame.d;
    let mut total = 0.0;
    for k in 0..d {
        let variance = prior.sd[k] * prior.sd[k];
        let from = frame.phi[k] - prior.mean[k];
        let s = frame.phi[d + k];
        let wall = (2.0 * s).exp() / (variance * c[k]);
        total += s - wall - 0.5 * from * from / variance;
        gradient[k] -= from / variance;
        gradient[d + k] += 1.0 - 2.0 * wall;
    }
    // f = -tr(W MᵀM), M = T⁻¹, W diagonal, has df/dT = 2 (M W MᵀM)ᵀ.
    let floor: Vec<f64> =
        (0..d).map(|k| 0.5 * prior.floor(k) * (-2.0 * frame.phi[d + k]).exp()).collect();
    let weight: Vec<f64> = (0..d).map(|k| NU / c[k] + floor[k]).collect();
    let m = frame.inverse();
    let mut gram = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..d {
            gram[i * d + j] = (0..d).map(|k| m[k * d + i] * m[k * d + j]).sum();
        }
        total -= weight[i] * gram[i * d + i];
        gradient[d + i] += 2.0 * floor[i] * gram[i * d + i];
    }
    let mut at = 2 * d;
    for i in 0..d {
        for j in 0..i {
            let sum: f64 = (0..d).map(|k| m[j * d + k] * weight[k] * gram[k * d + i]).sum();
            gradient[at] += 2.0 * sum;
            at += 1;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_kernels::philox::PhiloxRng;

    /// The hyperprior terms against the densities of m, Σ | a and a themselves and the
    /// Jacobians: dΣ = prod L_kk^(d+1) ds dT up to a constant, da = e^(-2s) dc.
    #[test]
    fn hyperprior_has_all_jacobians() {
        let prior = Hyperprior { mean: vec![0.3, -1.0, 0.1], sd: vec![0.7, 1.9, 0.4] };
        let d = 3;
        let ln_density = |p: &Population| {
            let df = NU + d as f64 - 1.0;
            let mut total = 0.0;
            for k in 0..d {
                let a = p.auxiliary[k];
                let variance = prior.sd[k] * prior.sd[k];
                // Inverse gamma (1/2, 1/A²) of a, then |S|^(df/2) and the trace.
                total += -1.5 * a.ln() - 1.0 / (variance * a);
                total -= 0.5 * df * a.ln() + NU / a * p.precision[(d + 1) * k];
                total -= 0.5 * prior.floor(k) * p.precision[(d + 1) * k];
                total -= 0.5 * (p.mean[k] - prior.mean[k]).powi(2) / variance;
            }
            total + 0.5 * (df + d as f64 + 1.0) * p.ln_det
        };
        let here = Population::from_prior(&prior, &mut PhiloxRng::new(1, 2, 3)).unwrap();
        let frame = Frame::of(&here).unwrap();
        let c: Vec<f64> =
            here.auxiliary.iter().zip(frame.scales()).map(|(a, s)| a * s * s).collect();
        let same = frame.population(&c).unwrap();
        for (a, b) in same.covariance.iter().zip(&here.covariance) {
            assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()));
        }
        let mut there = frame.clone();
        for (i, f) in there.phi.iter_mut().enumerate() {
            *f += 0.4 * (1.7 * i as f64 + 0.3).sin();
        }
        let ln_jacobian =
            |f: &Frame| f.phi[d..2 * d].iter().map(|s| (d as f64 - 1.0) * s).sum::<f64>();
        let moved = there.population(&c).unwrap();
        let expected =
            ln_density(&moved) - ln_density(&here) + ln_jacobian(&there) - ln_jacobian(&frame);
        let mut gradient = vec![0.0; size(d)];
        let value = |f: &Frame, g: &mut [f64]| hyperprior(&prior, &c, f, g);
        let found = value(&there, &mut gradient) - value(&frame, &mut vec![0.0; size(d)]);
        assert!((found - expected).abs() < 1e-10 * expected.abs().max(1.0), "{found} {expected}");
        for k in 0..size(d) {
            let shifted = |h: f64| {
                let mut f = there.clone();
                f.phi[k] += h;
                value(&f, &mut vec![0.0; size(d)])
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            let scale = 1.0 + difference.abs();
            assert!((gradient[k] - difference).abs() < 1e-6 * scale, "{k}: {difference}");
        }
    }
}
