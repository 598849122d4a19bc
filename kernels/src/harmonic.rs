//! Orthotropic harmonics: the real spherical harmonics that are even in all three
//! coordinates of a frame, as polynomials.
//!
//! $$H_{lm} = Q_{lm}(u)\,C_{m/2}(u,v),\qquad u = t_1^2,\quad v = t_2^2 - t_3^2$$
//! $$Q_{lm} = N_{lm}\frac{P_l^m(t_1)}{(1-t_1^2)^{m/2}},\quad
//!   N_{lm}^2 = (2-\delta_{m0})\frac{(l-m)!}{(l+m)!},\quad C_j = \mathrm{Re}\,(t_2+it_3)^{2j}$$
//!
//! | symbol | |
//! |---|---|
//! | $t_1,t_2,t_3$ | cosines to the axes of the frame, $t_1^2+t_2^2+t_3^2 = 1$ |
//! | $l, m$ | even degree and order, $m \le l$; $l = 2k$, $m = 2j$ |
//!
//! With $e_l^2 = l^2-m^2$ the degrees of one order obey
//! $$uQ_l = \frac{e_{l+1}e_{l+2}Q_{l+2}}{(2l+1)(2l+3)} +
//! \left[\frac{e_{l+1}^2}{2l+3}+\frac{e_l^2}{2l-1}\right]\frac{Q_l}{2l+1} +
//! \frac{e_le_{l-1}Q_{l-2}}{(2l+1)(2l-1)},\qquad C_{j+1} = 2vC_j - (1-u)^2C_{j-1}$$
//!
//! The addition theorem reads $P_l(g\cdot n) = \sum_m H_{lm}(g)H_{lm}(n) + \dots$,
//! where the dots are odd in a coordinate; so $|H_{lm}| \le 1$.
//!
//! A table of coefficients keeps the degrees of an order together: rows
//! $j = 0, 1, \dots$ of $k = j, \dots, K-1$ ([`row`], [`pairs`]).
//!
//! Source: NIST DLMF 14.10.3, 14.18.2. Validated by `harmonics_add_up` below and
//! `tests/suite/families.rs`.

mod moments;

pub use moments::{MAX_CONCENTRATION, Moments};

use crate::legendre::MAX_TERMS;
use std::sync::OnceLock;

/// Number of pairs (l, m) of a table of `terms` degrees.
pub const fn pairs(terms: usize) -> usize {
    terms * (terms + 1) / 2
}

/// Where the row of order $m = 2j$ starts; its first degree is $l = m$.
///
/// # Example
/// ```
/// use microtome_kernels::harmonic::{pairs, row};
/// assert_eq!([row(3, 0), row(3, 1), row(3, 2), pairs(3)], [0, 3, 5, 6]);
/// ```
pub const fn row(terms: usize, j: usize) -> usize {
    j * (2 * terms + 1 - j) / 2
}

/// $Q_{mm}$ and, from $l = m$ on, $Q_{l+2} = (\alpha u + \beta)Q_l + \gamma Q_{l-2}$.
#[derive(Debug)]
pub(crate) struct Recurrence {
    pub(crate) first: f64,
    pub(crate) steps: Vec<[f64; 3]>,
}

impl Recurrence {
    fn new(j: usize) -> Self {
        let m = 2.0 * j as f64;
        let square = (1..=2 * j).fold(if j == 0 { 1.0 } else { 2.0 }, |product, i| {
            let i = 2.0 * i as f64;
            product * (i - 1.0) / i
        });
        let steps = (j..MAX_TERMS)
            .map(|k| {
                let l = 2.0 * k as f64;
                let e = |l: f64| (l * l - m * m).max(0.0);
                let above = (e(l + 1.0) * e(l + 2.0)).sqrt() / ((2.0 * l + 1.0) * (2.0 * l + 3.0));
                let here =
                    (e(l + 1.0) / (2.0 * l + 3.0) + e(l) / (2.0 * l - 1.0)) / (2.0 * l + 1.0);
                let below = (e(l) * e(l - 1.0)).sqrt() / ((2.0 * l + 1.0) * (2.0 * l - 1.0));
                [1.0 / above, -here / above, -below / above]
            })
            .collect();
        Self { first: square.sqrt(), steps }
    }
}

/// The recurrences of all orders.
pub(crate) fn recurrences() -> &'static [Recurrence] {
    static TABLE: OnceLock<Vec<Recurrence>> = OnceLock::new();
    TABLE.get_or_init(|| (0..MAX_TERMS).map(Recurrence::new).collect())
}

/// $H_{lm}$ of one direction by its cosines to the frame.
///
/// # Shapes
/// `out` `[pair]` of a table of `terms` degrees, at most [`MAX_TERMS`].
pub fn harmonics(t: [f64; 3], terms: usize, out: &mut [f64]) {
    let (u, v) = (t[0] * t[0], t[1] * t[1] - t[2] * t[2]);
    let w = 1.0 - u;
    let (mut before, mut angular) = (0.0, 1.0);
    for (j, recurrence) in recurrences().iter().enumerate().take(terms) {
        let (mut last, mut now) = (0.0, recurrence.first);
        let start = row(terms, j);
        for (out, [a, b, c]) in out[start..start + terms - j].iter_mut().zip(&recurrence.steps) {
            *out = now * angular;
            (last, now) = (now, (a * u + b) * now + c * last);
        }
        let next = if j == 0 { v } else { 2.0 * v * angular - w * w * before };
        (before, angular) = (angular, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::legendre::even_polynomials;

    #[test]
    fn harmonics_add_up() {
        // Averaged over the eight reflections of n, the addition theorem has no
        // other terms.
        let terms = 40;
        let n = [0.28, 0.96 * 0.6, 0.96 * 0.8];
        for g in [[0.48, -0.6, 0.64], [0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.936, 0.352, 0.0]] {
            let (mut p, mut q) = (vec![0.0; pairs(terms)], vec![0.0; pairs(terms)]);
            harmonics(n, terms, &mut p);
            harmonics(g, terms, &mut q);
            let mut mean = vec![0.0; terms];
            let mut legendre = vec![0.0; terms];
            for signs in 0..4 {
                let sign = |bit: u32| if signs >> bit & 1 == 0 { 1.0 } else { -1.0 };
                let cosine = g[0] * n[0] + sign(0) * g[1] * n[1] + sign(1) * g[2] * n[2];
                even_polynomials(cosine, &mut legendre);
                for (mean, p) in mean.iter_mut().zip(&legendre) {
                    *mean += 0.25 * p;
                }
            }
            for (k, mean) in mean.iter().enumerate() {
                let sum: f64 = (0..=k).map(|j| row(terms, j) + k - j).map(|i| p[i] * q[i]).sum();
                assert!((sum - mean).abs() < 2e-14, "{g:?} l {}: {sum} {mean}", 2 * k);
            }
        }
    }
}
