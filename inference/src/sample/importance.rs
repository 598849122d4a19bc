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
//! 2012, doi:10.1111/j.1467-9469.2011.00756.x (adaptive mixtures). Validated by `tests/suite/cheap.rs`.

use super::laplace::Laplace;
use super::mixture::{Component, DEGREES, apportion};
use crate::dense::{cholesky, cholesky_inverse};
use crate::diagnostics::{ParetoWorkspace, khat_limit, smooth_weights};
use microtome_kernels::exp::{exp, exp_in_place};
use microtome_kernels::log::log_in_place;
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::simd::{Block, LANES};
use rand::RngExt;

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
    /// Squares of the distances from the location of the component that drew.
    squares: Vec<f64>,
    normals: Vec<f64>,
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
        self.squares.clear();
        let shares: Vec<f64> = mixture.iter().map(|c| c.share).collect();
        for (component, n) in mixture.iter_mut().zip(apportion(&shares, count)) {
            // The share that it really has, by whole draws.
            component.share = n as f64 / count as f64;
            self.extend(target, component, n, rng);
        }
        self.weigh(target, mixture);
        self.adapt(target, mixture, count, adaptations, rng);
    }

    /// The adaptations of [`Importance::draw`] after a draw without.
    pub(super) fn adapt(
        &mut self,
        target: &mut impl Charted,
        mixture: &mut Vec<Component>,
        count: usize,
        adaptations: usize,
        rng: &mut PhiloxRng,
    ) {
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
        let (from, before) = (self.z.len(), self.squares.len());
        self.z.resize(from + count * self.dim, 0.0);
        self.squares.resize(before + count, 0.0);
        let (z, squares) = (&mut self.z[from..], &mut self.squares[before..]);
        component.draw(rng, &mut self.normals, z, squares);
        for z in z.chunks_exact(self.dim.max(1)) {
            self.ln_density.push(target.ln_density(component.chart, z));
            self.values.extend_from_slice(target.values());
            self.chart.push(component.chart as u32);
        }
    }

    /// The weights of all draws under the whole mixture.
    fn weigh(&mut self, target: &mut impl Charted, mixture: &[Component]) {
        self.weights.clear();
        // ln q = level - power ln w of what is in the weights for now.
        let (level, power) = if let [only] = mixture {
            self.weights.extend(self.squares.iter().map(|s| 1.0 + s / DEGREES));
            (only.ln_summit() + only.share.ln(), 0.5 * (DEGREES + self.dim as f64))
        } else {
            (self.relative_densities(target, mixture), -1.0)
        };
        log_in_place(&mut self.weights);
        for (w, &ln_p) in self.weights.iter_mut().zip(&self.ln_density) {
            let ln_q = level - power * *w;
            // Where the density can't be evaluated there is none.
            *w = if ln_p.is_finite() && ln_q > f64::NEG_INFINITY {
                ln_p - ln_q
            } else {
                f64::NEG_INFINITY
            };
        }
        self.khat = smooth_weights(&mut self.weights, 1.0, &mut self.pareto);
        exp_in_place(&mut self.weights);
        self.effective = 1.0 / self.weights.iter().map(|w| w * w).sum::<f64>();
    }

    /// The densities of a mixture at all draws, relative to its highest summit, into the
    /// weights; the logarithm of the density of that summit.
    fn relative_densities(&mut self, target: &mut impl Charted, mixture: &[Component]) -> f64 {
        // Tails are those of powers: relative to the highest summit nothing underflows.
        let ln_summits: Vec<f64> = mixture.iter().map(|c| c.ln_summit() + c.share.ln()).collect();
        let highest = ln_summits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let summits: Vec<f64> = ln_summits.iter().map(|s| (s - highest).exp()).collect();
        let dim = self.dim.max(1);
        let mut here: Vec<Block> = vec![[0.0; LANES]; self.dim];
        let mut there = here.clone();
        let mut carried = vec![0.0; self.dim];
        for (rows, charts) in self.z.chunks(LANES * dim).zip(self.chart.chunks(LANES)) {
            for (l, z) in rows.chunks_exact(dim).enumerate() {
                here.iter_mut().zip(z).for_each(|(block, v)| block[l] = *v);
            }
            let mut q: Block = [0.0; LANES];
            for (component, summit) in mixture.iter().zip(&summits) {
                let to = component.chart;
                let mut slopes = [*summit; LANES];
                let points = if charts.iter().all(|from| *from as usize == to) {
                    &here
                } else {
                    there.copy_from_slice(&here);
                    for (l, (z, &from)) in rows.chunks_exact(dim).zip(charts).enumerate() {
                        if from as usize != to {
                            slopes[l] *= exp(target.carry(from as usize, to, z, &mut carried));
                            there.iter_mut().zip(&carried).for_each(|(block, v)| block[l] = *v);
                        }
                    }
                    &there
                };
                let densities = component.relative_densities(points);
                for ((q, density), slope) in q.iter_mut().zip(densities).zip(slopes) {
                    *q += density * slope;
                }
            }
            self.weights.extend_from_slice(&q[..charts.len()]);
        }
        highest
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

    /// The standard deviation of value `k`.
    pub(super) fn sd(&self, k: usize) -> f64 {
        let width = self.values.len() / self.ln_density.len().max(1);
        let weighted = || self.values.chunks_exact(width).map(|x| x[k]).zip(&self.weights);
        let mean: f64 = weighted().map(|(x, w)| w * x).sum();
        weighted().map(|(x, w)| w * (x - mean) * (x - mean)).sum::<f64>().sqrt()
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
            // The high word of a product: below i + 1, and even to 2^-32 (i + 1).
            let j = (u64::from(rng.random::<u32>()) * (i + 1) as u64) >> 32;
            out.swap(i, j as usize);
        }
    }
}
