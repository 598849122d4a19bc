//! Importance sampling of a posterior from a mixture at its modes.
//!
//! $$w_i \propto \frac{p(z_i\,|\,y)}{q(z_i)},\qquad \sum_i w_i = 1,\qquad
//!   S_\mathrm{eff} = \frac1{\sum_i w_i^2}$$
//!
//! $q$ is the mixture of [`mixture`](super::mixture), every component of which gives its
//! share of the $S$ draws (stratified). The largest weights are Pareto-smoothed, and their
//! k-hat says whether the rest can be believed. Each mode has a chart of its own, centred
//! on it, so that no axis lies near the edge of its chart: a draw $z$ of component $k$ has
//! the density
//!
//! $$q(z) = \sum_j\alpha_j\,t_j(z_j)\left|\frac{\partial z_j}{\partial z}\right|$$
//!
//! with $z_j$ the same point in the chart of mode $j$.
//!
//! Where the weights of a posterior of one mode are poor, a t density with the mean and the
//! (widened) covariance of the weighted draws joins the mixture, and all draws are weighed
//! anew by the mixture of all densities that drew.
//!
//! Draws of equal weight come by systematic resampling: one uniform number $u$ gives draw
//! $i$ as many copies as there are $k$ with $(k+u)/M$ in its part of the cumulated weights;
//! they are then shuffled, so that rows are exchangeable.
//!
//! The mean of the $M$ equal draws has two errors: that of the weights, and that of the
//! resampling, whose variance is $\sum_i f_i(1-f_i)/M^2$ with $f_i$ the fraction of $Mw_i$;
//! [`Importance::precision`] is the size of an independent sample with both.
//!
//! Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72); Kitagawa 1996,
//! doi:10.1080/10618600.1996.10474692 (systematic resampling); Hesterberg 1995,
//! doi:10.1080/00401706.1995.10484303 (stratified mixtures); Cornuet, Marin, Mira & Robert
//! 2012, doi:10.1111/j.1467-9469.2011.00756.x (adaptive mixtures). Validated by `tests/cheap.rs`.

use super::laplace::Laplace;
use super::mixture::{Component, DEGREES, apportion};
use crate::dense::{cholesky, cholesky_inverse};
use crate::diagnostics::{ParetoWorkspace, khat_limit, smooth_weights};
use microtome_kernels::exp::exp;
use microtome_kernels::log::log as ln;
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rand_distr::ChiSquared;

/// A mixture of which fewer draws are effective is adapted.
const LEAST_EFFICIENCY: f64 = 0.5;
/// What the covariance of the weighted draws is multiplied by at every adaptation: wide
/// first, as few draws miss tails.
const INFLATIONS: [f64; 2] = [3.0, 1.5];
/// Times that a mixture that does not do is adapted.
pub(super) const ADAPTATIONS: usize = INFLATIONS.len();

/// A density on a space that each mode has a chart of.
pub trait Charted {
    /// The log density in the coordinates of chart `k`.
    fn ln_density(&mut self, k: usize, z: &[f64]) -> f64;

    /// What a point stands for, after its density was asked for: kept with the draw.
    fn values(&self) -> &[f64] {
        &[]
    }

    /// The coordinates in chart `to` of the point with coordinates `z` in chart `from`,
    /// and $\ln|\partial z_\mathrm{to}/\partial z_\mathrm{from}|$.
    fn carry(&mut self, from: usize, to: usize, z: &[f64], out: &mut [f64]) -> f64;
}

/// Weighted draws. Keep one a thread: its buffers are used again.
#[derive(Debug, Default)]
pub struct Importance {
    dim: usize,
    /// Coordinates, `[draw, dim]`, each in its chart.
    z: Vec<f64>,
    chart: Vec<u32>,
    /// What every draw stands for, `[draw, width]`.
    values: Vec<f64>,
    ln_density: Vec<f64>,
    /// Logarithms, then the weights themselves.
    weights: Vec<f64>,
    /// k-hat of the weights.
    pub khat: f64,
    /// $S_\mathrm{eff}$.
    pub effective: f64,
    pareto: ParetoWorkspace,
}

impl Importance {
    /// Draws `count` points of the mixture and weighs them. Where k-hat is above its limit,
    /// or fewer than half of the draws are effective, and the mixture has
    /// one mode, a component with the mean and an inflated covariance of the
    /// weighted draws joins the mixture and gives as many draws, `adaptations` times at most.
    pub fn draw(
        &mut self,
        target: &mut impl Charted,
        mixture: &mut Vec<Component>,
        count: usize,
        adaptations: usize,
        rng: &mut PhiloxRng,
    ) {
        self.dim = mixture.first().map_or(0, |c| c.laplace.mode.len());
        self.z.clear();
        self.chart.clear();
        self.values.clear();
        self.ln_density.clear();
        let shares: Vec<f64> = mixture.iter().map(|c| c.share).collect();
        for (component, n) in mixture.iter_mut().zip(apportion(&shares, count)) {
            // The share that it really has, by whole draws.
            component.share = n as f64 / count as f64;
            self.extend(target, component, n, rng);
        }
        self.weigh(target, mixture);
        let modes = mixture.len();
        for inflation in INFLATIONS.into_iter().take(adaptations) {
            let is_efficient = self.effective >= LEAST_EFFICIENCY * self.chart.len() as f64;
            if modes > 1 || (self.khat <= khat_limit(count) && is_efficient) {
                break;
            }
            let Some(laplace) = self.moments(inflation) else { break };
            let adapted = Component::new(laplace, 0, 1.0);
            self.extend(target, &adapted, count, rng);
            mixture.push(adapted);
            let share = 1.0 / mixture.len() as f64;
            mixture.iter_mut().for_each(|c| c.share = share);
            self.weigh(target, mixture);
        }
    }

    /// Draws of a component.
    fn extend(
        &mut self,
        target: &mut impl Charted,
        component: &Component,
        count: usize,
        rng: &mut PhiloxRng,
    ) {
        let Ok(chi) = ChiSquared::new(DEGREES) else { return };
        let from = self.z.len();
        self.z.resize(from + count * self.dim, 0.0);
        for z in self.z[from..].chunks_exact_mut(self.dim.max(1)) {
            component.draw(rng, &chi, z);
            self.ln_density.push(target.ln_density(component.chart, z));
            self.values.extend_from_slice(target.values());
            self.chart.push(component.chart as u32);
        }
    }

    /// The weights of all draws under the whole mixture.
    fn weigh(&mut self, target: &mut impl Charted, mixture: &[Component]) {
        self.weights.clear();
        let mut there = vec![0.0; self.dim];
        // Tails are those of powers: relative to the highest summit nothing underflows.
        let ln_summits: Vec<f64> = mixture.iter().map(|c| c.ln_summit() + c.share.ln()).collect();
        let highest = ln_summits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let summits: Vec<f64> = ln_summits.iter().map(|s| (s - highest).exp()).collect();
        let rows = self.z.chunks_exact(self.dim.max(1));
        for ((z, &from), &ln_p) in rows.zip(&self.chart).zip(&self.ln_density) {
            if let [only] = mixture {
                let ln_q = only.ln_density(z) + only.share.ln();
                self.weights.push(if ln_p.is_finite() { ln_p - ln_q } else { f64::NEG_INFINITY });
                continue;
            }
            let mut q = 0.0;
            for (component, summit) in mixture.iter().zip(&summits) {
                let to = component.chart;
                q += summit
                    * if to == from as usize {
                        component.relative_density(z)
                    } else {
                        let ln_slope = target.carry(from as usize, to, z, &mut there);
                        component.relative_density(&there) * exp(ln_slope)
                    };
            }
            let ln_q = highest + ln(q);
            // Where the density can't be evaluated there is none.
            self.weights.push(if ln_p.is_finite() && q > 0.0 {
                ln_p - ln_q
            } else {
                f64::NEG_INFINITY
            });
        }
        self.khat = smooth_weights(&mut self.weights, 1.0, &mut self.pareto);
        let mut square = 0.0;
        for w in &mut self.weights {
            *w = w.exp();
            square += *w * *w;
        }
        self.effective = 1.0 / square;
    }

    /// The normal density with the mean and `inflation` times the covariance of the weighted
    /// draws, which must be in one chart; `None` when the covariance has no inverse.
    pub(super) fn moments(&self, inflation: f64) -> Option<Laplace> {
        let n = self.dim;
        let rows = || self.z.chunks_exact(n.max(1)).zip(&self.weights);
        let mut mean = vec![0.0; n];
        for (z, w) in rows() {
            mean.iter_mut().zip(z).for_each(|(m, z)| *m += w * z);
        }
        let mut covariance = vec![0.0; n * n];
        for (z, w) in rows() {
            for i in 0..n {
                for j in 0..n {
                    covariance[i * n + j] += inflation * w * (z[i] - mean[i]) * (z[j] - mean[j]);
                }
            }
        }
        if !covariance.iter().all(|v| v.is_finite()) || !cholesky(&mut covariance, n, 1e-12) {
            return None;
        }
        let mut factor = cholesky_inverse(&covariance, n);
        cholesky(&mut factor, n, 1e-12).then_some(Laplace {
            mode: mean,
            factor,
            ln_density: f64::NAN,
        })
    }

    /// The weights, which sum to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Coordinates of draw `i`.
    pub fn coordinates(&self, i: usize) -> &[f64] {
        &self.z[i * self.dim..(i + 1) * self.dim]
    }

    /// The chart of the coordinates of draw `i`.
    pub fn chart(&self, i: usize) -> usize {
        self.chart[i] as usize
    }

    /// [`Charted::values`] of draw `i`.
    pub fn values(&self, i: usize) -> &[f64] {
        let width = self.values.len() / self.ln_density.len().max(1);
        &self.values[i * width..(i + 1) * width]
    }

    /// The log density of draw `i`.
    pub fn ln_density(&self, i: usize) -> f64 {
        self.ln_density[i]
    }

    /// The size of an independent sample whose mean is as precise as that of `count` draws
    /// of equal weight.
    pub fn precision(&self, count: usize) -> f64 {
        let m = count as f64;
        let scatter = |w: f64| {
            let f = (m * w).fract();
            w * w + f * (1.0 - f) / (m * m)
        };
        1.0 / self.weights.iter().map(|w| scatter(*w)).sum::<f64>()
    }

    /// Indices of `count` draws of equal weight, in random order.
    pub fn resample(&self, count: usize, rng: &mut PhiloxRng, out: &mut Vec<u32>) {
        out.clear();
        let u: f64 = rng.random();
        let (mut sum, mut k) = (0.0, 0);
        for (i, w) in self.weights.iter().enumerate() {
            sum += w;
            while k < count && (k as f64 + u) < sum * count as f64 {
                out.push(i as u32);
                k += 1;
            }
        }
        // Rounding of the sum can leave the last one open.
        let last = self.weights.iter().rposition(|w| *w > 0.0).unwrap_or(0) as u32;
        out.resize(count, last);
        for i in (1..count).rev() {
            let j = ((rng.random::<f64>() * (i + 1) as f64) as usize).min(i);
            out.swap(i, j);
        }
    }
}
