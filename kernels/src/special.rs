//! Special functions: the logarithm of the Bessel function $I_0$, the ratio
//! $r = I_1/I_0$ and its derivative, as vector code; in files of their own the
//! Bessel functions of [`bessel`] with their zeros ([`roots`]) and Dawson's
//! integral with its relatives ([`dawson`]).
//!
//! $$\ln i_0^e(x) = \ln\left(e^{-|x|} I_0(x)\right),\qquad r(x) = \frac{I_1(x)}{I_0(x)}
//!   = \frac{d\ln I_0}{dx},\qquad r' = 1 - \frac{r}{x} - r^2$$
//!
//! With $u = 1/|x|$ and $w = x^2$ (the first is even in x, the ratio odd):
//!
//! | range | $\ln i_0^e$ | $\lvert r\rvert$ | $r'$ |
//! |---|---|---|---|
//! | $\lvert x\rvert < 8$ | $\ln P(w) - \lvert x\rvert$ | $\lvert x\rvert\,Q(w)/P(w)$ | $1 - Q/P - r^2$ |
//! | otherwise | $-\tfrac12\ln 2\pi\lvert x\rvert + u\,k(u)$ | $1 - u/2 - u^2 h(u)$ | $u^2\left(\tfrac12 + 2uh + u^2h'\right)$ |
//!
//! $P$ and $Q$ are polynomials for $I_0$ and $I_1/x$ with positive coefficients,
//! so nothing cancels; $k$ and $h$ are polynomials in an affine function of $u$,
//! one pair for $8 \le |x| < 20$ and a shorter one beyond. All are Chebyshev
//! interpolants with errors of at most $10^{-16}$ (`tests/golden/make_rician.py`).
//! One division serves all ranges, and the logarithm is left to the caller as that
//! of a positive factor ($|x|$ or $P^{-2}$), because a sum of them is the
//! logarithm of one product.
//!
//! Source: Abramowitz & Stegun 1964, *Handbook of Mathematical Functions*, 9.6.10
//! and 9.7.1. Validated by `table` (against 50-digit values) and `symmetries` below.

pub mod bessel;
mod coefficients;
pub mod dawson;
pub mod roots;

use crate::lanes::{Lanes, dispatch, horner, horner_derivative};
use crate::log::log_lanes;
use crate::simd::{LANES, level};
use coefficients::{
    H_LARGE, H_MIDDLE, K_LARGE, K_MIDDLE, LARGE_MIN, LARGE_T, MIDDLE_T, P, Q, SMALL_MAX,
};

/// ln(2π)/2.
const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;

/// Only the logarithm is wanted.
pub(crate) const VALUE: u8 = 0;
/// The ratio as well.
pub(crate) const RATIO: u8 = 1;
/// The derivative of the ratio as well.
pub(crate) const DERIVATIVE: u8 = 2;

/// The three functions at the eight arguments of a block.
#[derive(Clone, Copy)]
pub(crate) struct LogBessel<L> {
    /// ln i0e = `offset` - ln(`factor`)/2; the factor is a positive normal number.
    pub(crate) factor: L,
    /// See `factor`.
    pub(crate) offset: L,
    /// I1/I0; without meaning where it was not asked for.
    pub(crate) ratio: L,
    /// Derivative of the ratio; without meaning where it was not asked for.
    pub(crate) derivative: L,
}

impl<L: Lanes> LogBessel<L> {
    #[inline(always)]
    fn select(mask: L::Mask, yes: Self, no: Self) -> Self {
        Self {
            factor: L::select(mask, yes.factor, no.factor),
            offset: L::select(mask, yes.offset, no.offset),
            ratio: L::select(mask, yes.ratio, no.ratio),
            derivative: L::select(mask, yes.derivative, no.derivative),
        }
    }
}

/// The ranges in u = 1/x.
#[inline(always)]
fn descending<L: Lanes, const ORDER: u8, const K: usize, const H: usize>(
    x: L,
    u: L,
    k: &[f64; K],
    h: &[f64; H],
    [scale, shift]: [f64; 2],
) -> LogBessel<L> {
    let half = L::splat(0.5);
    let t = L::splat(scale).madd(u, L::splat(shift));
    let offset = u.madd(horner(k, t), L::splat(-HALF_LN_2PI));
    let (mut ratio, mut derivative) = (u, u);
    if ORDER >= RATIO {
        let h_u = horner(h, t);
        ratio = u.nmadd(u.madd(h_u, half), L::splat(1.0));
        if ORDER >= DERIVATIVE {
            let slope = L::splat(scale).mul(horner_derivative(h, t));
            let tail = u.madd(slope, h_u.add(h_u));
            derivative = u.mul(u).mul(u.madd(tail, half));
        }
    }
    LogBessel { factor: x, offset, ratio, derivative }
}

/// The range of small x, given w = x² and 1/P(w).
#[inline(always)]
fn ascending<L: Lanes, const ORDER: u8>(x: L, w: L, inverse_p: L) -> LogBessel<L> {
    let (mut ratio, mut derivative) = (x, x);
    if ORDER >= RATIO {
        let over_x = horner(&Q, w).mul(inverse_p);
        ratio = x.mul(over_x);
        derivative = ratio.nmadd(ratio, L::splat(1.0).sub(over_x));
    }
    let offset = L::splat(0.0).sub(x);
    LogBessel { factor: inverse_p.mul(inverse_p), offset, ratio, derivative }
}

/// ln i0e, and as far as `ORDER` asks the ratio and its derivative.
///
/// Each lane is computed by its own range only, whatever its neighbours are, so
/// a value does not depend on its place. A block that lies in one range skips
/// the others.
#[inline(always)]
pub(crate) fn log_bessel<L: Lanes, const ORDER: u8>(x: L) -> LogBessel<L> {
    let a = x.abs();
    // A NaN is not even of the middle range: it takes the small one and stays NaN.
    let (not_small, large) = (a.ge(L::splat(SMALL_MAX)), a.ge(L::splat(LARGE_MIN)));
    let (not_small_bits, large_bits) = (L::mask_bits(not_small), L::mask_bits(large));
    let (one, w) = (L::splat(1.0), a.mul(a));
    let mut out = if large_bits == u8::MAX {
        descending::<L, ORDER, _, _>(a, one.div(a), &K_LARGE, &H_LARGE, LARGE_T)
    } else if not_small_bits == 0 {
        ascending::<L, ORDER>(a, w, one.div(horner(&P, w)))
    } else {
        mixed::<L, ORDER>(a, w, not_small, large)
    };
    if ORDER >= RATIO {
        out.ratio = out.ratio.copysign(x);
    }
    out
}

/// A block with lanes in several ranges, or in the middle one.
#[inline(always)]
fn mixed<L: Lanes, const ORDER: u8>(
    a: L,
    w: L,
    not_small: L::Mask,
    large: L::Mask,
) -> LogBessel<L> {
    let (not_small_bits, large_bits) = (L::mask_bits(not_small), L::mask_bits(large));
    let any_small = not_small_bits != u8::MAX;
    let denominator = if any_small { L::select(not_small, a, horner(&P, w)) } else { a };
    let inverse = L::splat(1.0).div(denominator);
    let mut out = LogBessel { factor: a, offset: a, ratio: a, derivative: a };
    if large_bits != 0 {
        out = descending::<L, ORDER, _, _>(a, inverse, &K_LARGE, &H_LARGE, LARGE_T);
    }
    if large_bits != not_small_bits {
        let middle = descending::<L, ORDER, _, _>(a, inverse, &K_MIDDLE, &H_MIDDLE, MIDDLE_T);
        out = LogBessel::select(large, out, middle);
    }
    if any_small {
        out = LogBessel::select(not_small, out, ascending::<L, ORDER>(a, w, inverse));
    }
    out
}

#[inline(always)]
fn all_three_body<L: Lanes>(x: f64) -> [f64; 3] {
    let b = log_bessel::<L, DERIVATIVE>(L::splat(x));
    let ln = L::splat(0.5).nmadd(log_lanes(b.factor), b.offset);
    let mut out = [[0.0; LANES]; 3];
    ln.store(&mut out[0]);
    b.ratio.store(&mut out[1]);
    b.derivative.store(&mut out[2]);
    out.map(|block| block[0])
}

dispatch! {
    /// ln i0e, I1/I0 and the derivative of I1/I0 of one number, at a given level.
    pub fn log_bessel_at / all_three_body(x: f64) -> [f64; 3]
}

/// $\ln(e^{-|x|}I_0(x))$, to $10^{-15}$ of the larger of 1 and the result.
///
/// # Example
/// ```
/// use microtome_kernels::special::ln_i0e;
/// assert_eq!(ln_i0e(0.0), 0.0);
/// // I0(1) = 1.2660658777520084
/// assert!((ln_i0e(1.0) - (1.266_065_877_752_008_4_f64.ln() - 1.0)).abs() < 1e-15);
/// ```
pub fn ln_i0e(x: f64) -> f64 {
    log_bessel_at(level(), x)[0]
}

/// $r = I_1(x)/I_0(x)$, odd in x, to a relative error of $2\cdot10^{-15}$.
///
/// # Example
/// ```
/// use microtome_kernels::special::bessel_ratio;
/// assert_eq!(bessel_ratio(0.0), 0.0);
/// assert_eq!(bessel_ratio(-3.0), -bessel_ratio(3.0));
/// ```
pub fn bessel_ratio(x: f64) -> f64 {
    log_bessel_at(level(), x)[1]
}

/// $r'(x) = 1 - r/x - r^2$, even in x, 1/2 at zero and $1/(2x^2)$ far away.
///
/// # Example
/// ```
/// use microtome_kernels::special::bessel_ratio_derivative;
/// assert_eq!(bessel_ratio_derivative(0.0), 0.5);
/// assert!((bessel_ratio_derivative(1e5) * 2e10 - 1.0).abs() < 1.1e-5);
/// ```
pub fn bessel_ratio_derivative(x: f64) -> f64 {
    log_bessel_at(level(), x)[2]
}

/// Rows of a golden table of functions: name, order, argument, value.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
fn table(file: &str) -> Vec<(String, f64, f64, f64)> {
    let path = format!("{}/../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |i: usize| cells[i].parse::<f64>().unwrap();
            (cells[0].to_string(), number(1), number(2), number(3))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::simd::SimdLevel;

    /// Rows of `log_bessel.csv`: x, ln i0e, r, r'.
    fn table_rows() -> Vec<[f64; 4]> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/log_bessel.csv");
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .skip(1)
            .map(|line| {
                let v: Vec<f64> = line.split(',').map(|c| c.parse().unwrap()).collect();
                v.try_into().unwrap()
            })
            .collect()
    }

    /// The bounds of the item docs: ln i0e to 1e-15, the ratio to 2e-15, its
    /// derivative to 1e-12 and to 1e-6 (here 1e-11) of 1/(2 max(1, x)²).
    #[test]
    fn table() {
        let rows = table_rows();
        assert!(rows.len() > 700);
        for level in SimdLevel::available() {
            for &[x, ln, ratio, derivative] in &rows {
                let [a, b, c] = log_bessel_at(level, x);
                let name = level.name();
                assert!((a - ln).abs() <= 1e-15 * ln.abs().max(1.0), "{name} ln i0e({x}) = {a}");
                assert!((b - ratio).abs() <= 2e-15 * ratio, "{name} r({x}) = {b}, not {ratio}");
                let scale = 0.5 / (x * x).max(1.0);
                let error = (c - derivative).abs();
                assert!(error <= 1e-12 && error <= 1e-11 * scale, "{name} r'({x}) = {c}");
            }
        }
    }

    #[test]
    fn symmetries() {
        for level in SimdLevel::available() {
            for x in [0.0, 1e-300, 0.3, 7.9, 8.0, 15.0, 20.0, 1e4, 1e300] {
                let (plus, minus) = (log_bessel_at(level, x), log_bessel_at(level, -x));
                assert_eq!(plus[0], minus[0]);
                assert_eq!(plus[1], -minus[1]);
                assert_eq!(plus[2], minus[2]);
                assert!(plus.iter().all(|v| v.is_finite()), "{x}: {plus:?}");
            }
            assert!(log_bessel_at(level, f64::NAN)[1].is_nan());
        }
    }

    #[test]
    fn levels_agree() {
        let with_fma = SimdLevel::available().into_iter().filter(|l| l.name() != "scalar");
        let results: Vec<Vec<[f64; 3]>> = with_fma
            .map(|level| table_rows().iter().map(|row| log_bessel_at(level, row[0])).collect())
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
