//! The likelihood of sums of Gaussian compartments in single precision, in one pass.
//!
//! $$S_i = F_s + \sum_q A_q e^{-a_{qs} - c_{qs}(g_i\cdot\mu_q)^2},\qquad
//!   \ln p = -\tfrac12\sum_i m_i (y_i - S_i)^2 + \sum_i \ln i_0^e(y_i S_i)$$
//!
//! (the last term for Rician noise only), and its derivatives by $F_s$, $a_{qs}$, $c_{qs}$
//! and $\mu_q$.
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y, S, F, A$ | magnitude, signal, its isotropic part on shell $s$, amplitudes | σ |
//! | $a, c$ | exponents of shell $s$, see [`family::quadratic`](crate::family::quadratic) | 1 |
//! | $g, \mu$ | direction of the gradient, axis | 1 |
//! | $m$ | weight: 1, or how many measurements one is the mean of; 0 in padding | 1 |
//!
//! For samplers, which ask for a log density many thousand times and compare what they
//! get with a random number. Sixteen measurements are worked on at once, and nothing is
//! stored between the signal, the likelihood and the pullback. Signals are in units of σ,
//! so a rounding of $2^{-24}$ of a signal is SNR·$6\cdot10^{-8}$ of the noise: the sum of
//! 288 measurements at an SNR of 30 is off by some $10^{-4}$ nats (`the_sum_is_that_of_double_precision`
//! below), at an SNR of [`SNR_MAX`] by a few $10^{-3}$; beyond that there is no
//! [`Measurements`]. Sums over shells and of the log likelihood end in double precision.
//!
//! The levels with fused multiply-add agree to the bit.
//!
//! Source: of the terms, as of [`rician`](crate::rician) and
//! [`family::quadratic`](crate::family::quadratic). Validated by the tests below and by
//! `single_precision_is_enough` of `models/tests/suite/posterior.rs`.

mod coefficients;
mod functions;
pub(crate) mod lanes;
mod likelihood;
#[cfg(test)]
mod tests;

use crate::plan::Plan;
use crate::simd::level;
use lanes::WIDTH;
use std::ops::Range;

/// The largest signal in units of σ.
pub const SNR_MAX: f64 = 1000.0;
/// Most compartments with an axis.
pub const MOST: usize = 3;
/// Most blocks of sixteen measurements.
const BLOCKS_MAX: usize = 1000;

/// The measurements of one voxel in blocks of sixteen, those of a shell in ascending order.
#[derive(Debug, Clone, Default)]
pub struct Measurements {
    direction: [Vec<f32>; 3],
    y: Vec<f32>,
    weight: Vec<f32>,
    /// The blocks of every shell that has its own.
    own: Vec<Range<usize>>,
    /// Whether the last block of a shell has padding or a block has weights other than 1.
    masked: Vec<bool>,
    /// The shells of the lanes of the blocks behind those.
    packed: Vec<[u32; WIDTH]>,
}

/// $A\,e^{-a_s - c_s t^2}$.
#[derive(Debug, Clone, Copy)]
pub struct Compartment<'a> {
    /// $A$, in units of σ.
    pub amplitude: f64,
    /// $a_s$, `[shell]`.
    pub a: &'a [f64],
    /// $c_s$, `[shell]`.
    pub c: &'a [f64],
    /// $\mu$.
    pub mu: [f64; 3],
}

/// Sums over measurements with the scores $w = \partial\ln p/\partial S$.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// $\sum w$, `[shell]`.
    pub weight: Vec<f64>,
    /// $\sum w E$, `[shell]` of every compartment.
    pub zeroth: [Vec<f64>; MOST],
    /// $\sum w E t^2$, `[shell]` of every compartment.
    pub second: [Vec<f64>; MOST],
    /// $-2\sum c_s w E t g$ of every compartment.
    pub axis: [[f64; 3]; MOST],
}

impl Sums {
    /// Room for so many shells.
    pub fn new(shells: usize) -> Self {
        let row = || vec![0.0; shells];
        let rows = || std::array::from_fn(|_| row());
        Self { weight: row(), zeroth: rows(), second: rows(), axis: [[0.0; 3]; MOST] }
    }
}

/// The distribution of a measurement about its signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Normal.
    Gaussian,
    /// The magnitude of a complex signal with normal noise.
    Rician,
}

impl Measurements {
    /// The measurements of a plan in blocks of sixteen; `None` where they are too many or
    /// the signals too large for single precision.
    ///
    /// # Shapes
    /// `y` `[slot]` of the plan.
    ///
    /// # Units
    /// `sigma` in the unit of `y`.
    pub fn new(plan: &Plan, y: &[f64], sigma: f64) -> Option<Self> {
        let scale = 1.0 / sigma;
        let is_small = |v: &f64| (v * scale).abs() <= SNR_MAX;
        if plan.slots() > BLOCKS_MAX * WIDTH / 2 || !y.iter().all(is_small) {
            return None;
        }
        let mut out = Self::default();
        let mut members: Vec<u32> = Vec::new();
        let mut packed: Vec<(u32, u32)> = Vec::new();
        let mut blocks = 0;
        for (s, slots) in plan.shell_slots().iter().enumerate() {
            members.clear();
            members.extend(slots.clone().map(|slot| slot as u32));
            members.sort_unstable_by(|&i, &j| y[i as usize].total_cmp(&y[j as usize]));
            if members.len() < WIDTH / 2 {
                packed.extend(members.iter().map(|&slot| (slot, s as u32)));
                out.own.push(blocks..blocks);
                continue;
            }
            let end = blocks + members.len().div_ceil(WIDTH);
            members.iter().for_each(|&slot| out.push(plan, y, scale, slot as usize));
            out.pad(end);
            out.own.push(blocks..end);
            blocks = end;
        }
        packed.iter().for_each(|&(slot, _)| out.push(plan, y, scale, slot as usize));
        let end = blocks + packed.len().div_ceil(WIDTH);
        out.pad(end);
        let mut shells = packed.iter().map(|(_, s)| *s);
        out.packed =
            (blocks..end).map(|_| std::array::from_fn(|_| shells.next().unwrap_or(0))).collect();
        out.masked = out.weight.chunks(WIDTH).map(|w| w.iter().any(|w| *w != 1.0)).collect();
        Some(out)
    }

    fn push(&mut self, plan: &Plan, y: &[f64], scale: f64, slot: usize) {
        for (to, from) in self.direction.iter_mut().zip(plan.direction()) {
            to.push(from[slot] as f32);
        }
        self.y.push((y[slot] * scale) as f32);
        self.weight.push(plan.mask()[slot] as f32);
    }

    fn pad(&mut self, blocks: usize) {
        let length = blocks * WIDTH;
        for column in self.direction.iter_mut().chain([&mut self.y, &mut self.weight]) {
            column.resize(length, 0.0);
        }
    }

    /// Number of shells.
    pub fn shells(&self) -> usize {
        self.own.len()
    }

    /// $\ln p$; NaN for more than [`MOST`] compartments.
    ///
    /// # Shapes
    /// `floor` is $F_s$ `[shell]`.
    pub fn value(&self, noise: Noise, floor: &[f64], compartments: &[Compartment<'_>]) -> f64 {
        likelihood::value_at(level(), self, noise, floor, compartments)
    }

    /// The value of [`Measurements::value`], equal to the bit, and the sums that the
    /// derivatives are made of.
    ///
    /// # Gradient
    /// $\partial/\partial F_s = \sum w$, $\partial/\partial a_{qs} = -A_q\sum wE$,
    /// $\partial/\partial c_{qs} = -A_q\sum wEt^2$, $\partial/\partial A_q = \sum_s\sum wE$ and
    /// $\partial/\partial\mu_q = A_q$ times `axis`.
    ///
    /// # Shapes
    /// As of [`Measurements::value`]; `sums` for as many shells.
    pub fn gradient(
        &self,
        noise: Noise,
        floor: &[f64],
        compartments: &[Compartment<'_>],
        sums: &mut Sums,
    ) -> f64 {
        likelihood::gradient_at(level(), self, noise, floor, compartments, sums)
    }
}
