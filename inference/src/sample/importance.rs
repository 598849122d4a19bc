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
//! doi:10.1080/00401706.1995.10484303 (stratified mixtures). Validated by `tests/cheap.rs`.

use super::mixture::{Component, DEGREES, apportion};
use crate::diagnostics::{ParetoWorkspace, smooth_weights};
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rand_distr::ChiSquared;

/// A density on a space that each mode has a chart of.
pub trait Charted {
    /// The log density in the coordinates of chart `k`.
    fn ln_density(&mut self, k: usize, z: &[f64]) -> f64;

    /// The coordinates in chart `to` of the point with coordinates `z` in chart `from`,
    /// and $\ln|\partial z_\mathrm{to}/\partial z_\mathrm{from}|$.
    fn carry(&mut self, from: usize, to: usize, z: &[f64], out: &mut [f64]) -> f64;
}

/// Weighted draws. Keep one a thread: its buffers are used again.
#[derive(Debug, Default)]
pub struct Importance {
    dim: usize,
    /// Coordinates, `[draw, dim]`, each in the chart of its component.
    z: Vec<f64>,
    component: Vec<u32>,
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
    /// Draws `count` points of the mixture and weighs them.
    pub fn draw(
        &mut self,
        target: &mut impl Charted,
        mixture: &[Component],
        count: usize,
        rng: &mut PhiloxRng,
    ) {
        let dim = mixture.first().map_or(0, |c| c.laplace.mode.len());
        self.dim = dim;
        self.z.clear();
        self.z.resize(count * dim, 0.0);
        self.component.clear();
        self.ln_density.clear();
        self.weights.clear();
        let Ok(chi) = ChiSquared::new(DEGREES) else { return };
        let shares: Vec<f64> = mixture.iter().map(|c| c.share).collect();
        let counts = apportion(&shares, count);
        let mut there = vec![0.0; dim];
        let mut rows = self.z.chunks_exact_mut(dim.max(1));
        for (k, (component, &n)) in mixture.iter().zip(&counts).enumerate() {
            for z in rows.by_ref().take(n) {
                let mut ln_q = component.draw(rng, &chi, z);
                for (j, other) in mixture.iter().enumerate().filter(|(j, _)| *j != k) {
                    let ln_slope = target.carry(k, j, z, &mut there);
                    ln_q = ln_add(ln_q, other.ln_density(&there) + ln_slope);
                }
                let ln_p = target.ln_density(k, z);
                self.component.push(k as u32);
                self.ln_density.push(ln_p);
                // Where the density can't be evaluated there is none.
                let weight = if ln_p.is_finite() { ln_p - ln_q } else { f64::NEG_INFINITY };
                self.weights.push(weight);
            }
        }
        self.khat = smooth_weights(&mut self.weights, 1.0, &mut self.pareto);
        let mut square = 0.0;
        for w in &mut self.weights {
            *w = w.exp();
            square += *w * *w;
        }
        self.effective = 1.0 / square;
    }

    /// The weights, which sum to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Coordinates of draw `i`.
    pub fn coordinates(&self, i: usize) -> &[f64] {
        &self.z[i * self.dim..(i + 1) * self.dim]
    }

    /// The component whose chart the coordinates of draw `i` are in.
    pub fn component(&self, i: usize) -> usize {
        self.component[i] as usize
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

/// $\ln(e^a + e^b)$.
fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}
