//! Orthotropic series: an axisymmetric compartment under a density that is even in
//! the three coordinates of a frame.
//!
//! $$E_s(g) = \sum_l c_{s,l}\sum_m B_{lm}H_{lm}(g),\qquad B_{lm} = \langle H_{lm}\rangle$$
//!
//! This is the addition theorem $P_l(g\cdot n) = \sum_m H_{lm}(g)H_{lm}(n) + \dots$
//! averaged over the density of $n$, under which the other terms vanish. The
//! Legendre coefficients $c_{s,l}$ of the compartment inside and the means $B_{lm}$
//! stay apart until the compartments of one frame are added up.
//!
//! Symbols: $g$ the gradient direction, $s$ the shell, $l$ and $m$ even.
//!
//! Source: NIST DLMF 14.18.2. Validated by `signals_equal_golden` and
//! `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::Coefficients;
use crate::frame::Frame;
use crate::zonal::{NEGLIGIBLE, ZonalSeries};
use microtome_kernels::harmonic::{Moments, pairs, row};

/// The orthotropic series of a compartment on every shell, with its derivatives.
///
/// The parameters are those of the compartment inside, then the concentration
/// (`odi`), the angle (`psi`) and the anisotropy (`beta_fraction`) of the density.
#[derive(Debug, Clone, PartialEq)]
pub struct OrthotropicSeries {
    /// $c_{s,l}$ of the compartment inside.
    pub zonal: ZonalSeries,
    /// $B_{lm}$ and its derivatives by $\kappa$ and $\beta$.
    pub moments: Moments,
    /// $\partial B_{lm}$ by the concentration and the anisotropy, `[pair]` each.
    pub slopes: [Vec<f64>; 2],
    /// Degrees in use of each order, `[shell, stride]`; see
    /// [`microtome_kernels::family::orthotropic::Series`].
    pub lengths: Vec<usize>,
    /// The frame of the density.
    pub frame: Frame,
    /// Number of parameters of the compartment inside.
    pub own: usize,
    /// Room for the coefficients of the compartment inside.
    pub(crate) inner: Option<Box<Coefficients>>,
    largest: Vec<f64>,
}

impl OrthotropicSeries {
    /// Room for a series on these shells, of a compartment with `own` parameters.
    pub fn new(shells: &[Shell], own: usize) -> Self {
        let zonal = ZonalSeries::new(shells, own);
        let terms = zonal.stride;
        Self {
            moments: Moments::new(terms),
            slopes: std::array::from_fn(|_| vec![0.0; pairs(terms)]),
            lengths: vec![0; shells.len() * terms],
            frame: Frame::default(),
            own,
            inner: None,
            largest: vec![0.0; terms],
            zonal,
        }
    }

    /// Length of a row of expanded coefficients.
    pub fn pairs(&self) -> usize {
        pairs(self.zonal.stride)
    }

    /// The means and their derivatives at $\kappa$ and $\beta$, given the derivatives
    /// of these two by each parameter of the density.
    pub(crate) fn average(&mut self, [kappa, beta]: [f64; 2], chain: [[f64; 2]; 2]) {
        let terms = self.zonal.stride;
        let used = self.zonal.terms.iter().copied().max().unwrap_or(1);
        self.moments.evaluate(kappa, beta, used);
        for j in 0..self.moments.orders.min(used) {
            let here = row(terms, j)..row(terms, j) + used - j;
            let (by_kappa, by_beta) = (&self.moments.by_kappa, &self.moments.by_beta);
            for (slope, [p, q]) in self.slopes.iter_mut().zip(chain) {
                let both = by_kappa[here.clone()].iter().zip(&by_beta[here.clone()]);
                for (slope, (k, b)) in slope[here.clone()].iter_mut().zip(both) {
                    *slope = p * k + q * b;
                }
            }
        }
    }

    /// Decides how many degrees of each order every shell needs.
    pub(crate) fn measure(&mut self) {
        let terms = self.zonal.stride;
        for s in 0..self.zonal.shells() {
            let used = self.zonal.terms[s];
            for (k, largest) in self.largest.iter_mut().enumerate().take(used) {
                *largest = self.zonal.c[s * terms + k].abs();
                for j in 0..self.own {
                    *largest = largest.max(self.zonal.d_c[self.zonal.row(j, s) + k].abs());
                }
            }
            let lengths = &mut self.lengths[s * terms..(s + 1) * terms];
            lengths.fill(0);
            let orders = self.moments.orders.min(used);
            let mut needed = false;
            for j in (0..orders).rev() {
                let start = row(terms, j);
                let matters = |k: &usize| {
                    let i = start + k;
                    let [p, q] = [self.slopes[0][i].abs(), self.slopes[1][i].abs()];
                    let mean = self.moments.value[i].abs().max(p).max(q);
                    mean * self.largest[j + k] > NEGLIGIBLE
                };
                let length = (0..used - j).rev().find(matters).map_or(0, |k| k + 1);
                needed |= length > 0;
                // Orders below one in use may not be empty.
                lengths[j] = if needed { length.max(1) } else { 0 };
            }
            lengths[0] = lengths[0].max(1);
        }
    }

    /// The tables whose product is the derivative by parameter `j`: Legendre
    /// coefficients from an index on, and means. `None` for the angle.
    pub(crate) fn slope(&self, j: usize) -> Option<Part<'_>> {
        match j.checked_sub(self.own) {
            None => Some(Part {
                zonal: &self.zonal.d_c[self.zonal.row(j, 0)..],
                means: &self.moments.value,
            }),
            Some(0) => Some(Part { zonal: &self.zonal.c, means: &self.slopes[0] }),
            Some(1) => None,
            Some(_) => Some(Part { zonal: &self.zonal.c, means: &self.slopes[1] }),
        }
    }

    /// The tables whose product is the series itself.
    pub(crate) fn whole(&self) -> Part<'_> {
        Part { zonal: &self.zonal.c, means: &self.moments.value }
    }

    /// Calls `row(shell, first pair, Legendre coefficients, means)` for every order.
    fn rows<'a>(&'a self, part: Part<'a>, mut each: impl FnMut(usize, &'a [f64], &'a [f64])) {
        let terms = self.zonal.stride;
        let stride = pairs(terms);
        for s in 0..self.zonal.shells() {
            for (j, &length) in self.lengths[s * terms..(s + 1) * terms].iter().enumerate() {
                if length == 0 {
                    break;
                }
                let start = row(terms, j);
                each(
                    s * stride + start,
                    &part.zonal[s * terms + j..][..length],
                    &part.means[start..start + length],
                );
            }
        }
    }

    /// Adds `factor` times the expanded coefficients of a part to `[shell, pair]`.
    pub(crate) fn add(&self, part: Part<'_>, factor: f64, to: &mut [f64]) {
        if factor == 0.0 {
            return;
        }
        self.rows(part, |at, zonal, means| {
            for ((to, c), b) in to[at..].iter_mut().zip(zonal).zip(means) {
                *to += factor * c * b;
            }
        });
    }

    /// The sum of the expanded coefficients of a part times `weights` `[shell, pair]`.
    pub(crate) fn along(&self, part: Part<'_>, weights: &[f64]) -> f64 {
        let mut sum = 0.0;
        self.rows(part, |at, zonal, means| {
            for ((w, c), b) in weights[at..].iter().zip(zonal).zip(means) {
                sum += w * c * b;
            }
        });
        sum
    }
}

/// Legendre coefficients `[shell, stride]` and means `[pair]` to be multiplied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    zonal: &'a [f64],
    means: &'a [f64],
}
