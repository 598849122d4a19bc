//! Powers of two and the logarithm of the Bessel function $I_0$ in single precision.
//!
//! $$2^x = 2^k 2^r,\qquad k = \mathrm{round}(x),\quad r = x - k$$
//!
//! where $r$ is exact and $2^r$ a polynomial of degree 5. Exponents are cut to
//! $[-125, 127]$: what is below is zero beside any signal.
//!
//! The Bessel function is split as in [`special`](crate::special), with two ranges instead
//! of three: powers of $x^2$ below 6, powers of $1/x$ above. All fits are Chebyshev
//! interpolants with errors of about $10^{-7}$, two roundings (`tests/golden/make_single.py`).
//!
//! Source: as of `exp.rs` and `special.rs`. Validated by `functions_are_those_of_double_precision`
//! of `single/mod.rs`.

use super::coefficients::{EXP2, H, K, P, Q, SMALL_MAX};
use super::lanes::{Singles, horner};

/// Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
const ROUND: f32 = 12_582_912.0;
const LOWEST: f32 = -125.0;
const HIGHEST: f32 = 127.0;
/// ln(2π)/2.
const HALF_LN_2PI: f32 = 0.918_938_5;

/// $2^x$.
#[inline(always)]
pub(super) fn exp2<V: Singles>(x: V) -> V {
    // A NaN stays.
    let x = V::splat(HIGHEST).min(V::splat(LOWEST).max(x));
    let shifted = x.add(V::splat(ROUND));
    let r = x.sub(shifted.sub(V::splat(ROUND)));
    // The low bits of `shifted` hold k in two's complement.
    horner(&EXP2, r).add_shifted(shifted)
}

/// See [`special`](crate::special): ln i0e = `offset` - ln(`factor`)/2, and r = I1/I0 where
/// it was asked for.
#[derive(Clone, Copy)]
pub(super) struct LogBessel<V> {
    pub(super) factor: V,
    pub(super) offset: V,
    pub(super) ratio: V,
}

/// Large arguments, given 1/x.
#[inline(always)]
fn descending<V: Singles, const RATIO: bool>(x: V, u: V) -> LogBessel<V> {
    let offset = u.madd(horner(&K, u), V::splat(-HALF_LN_2PI));
    let mut ratio = u;
    if RATIO {
        let minus = V::splat(-1.0).mul(u);
        ratio = minus.madd(u.madd(horner(&H, u), V::splat(0.5)), V::splat(1.0));
    }
    LogBessel { factor: x, offset, ratio }
}

/// Small arguments, given w = x² and 1/P(w).
#[inline(always)]
fn ascending<V: Singles, const RATIO: bool>(x: V, w: V, inverse: V) -> LogBessel<V> {
    let ratio = if RATIO { x.mul(horner(&Q, w).mul(inverse)) } else { x };
    let offset = V::splat(0.0).sub(x);
    LogBessel { factor: inverse.mul(inverse), offset, ratio }
}

/// ln i0e of positive or negative arguments, and with `RATIO` the ratio I1/I0.
#[inline(always)]
pub(super) fn log_bessel<V: Singles, const RATIO: bool>(x: V) -> LogBessel<V> {
    let a = x.abs();
    // A NaN is small, and stays NaN.
    let large = a.ge(V::splat(SMALL_MAX));
    let bits = V::mask_bits(large);
    let (one, w) = (V::splat(1.0), a.mul(a));
    let mut out = if bits == u16::MAX {
        descending::<V, RATIO>(a, one.div(a))
    } else if bits == 0 {
        ascending::<V, RATIO>(a, w, one.div(horner(&P, w)))
    } else {
        let inverse = one.div(V::select(large, a, horner(&P, w)));
        let (yes, no) = (descending::<V, RATIO>(a, inverse), ascending::<V, RATIO>(a, w, inverse));
        LogBessel {
            factor: V::select(large, yes.factor, no.factor),
            offset: V::select(large, yes.offset, no.offset),
            ratio: V::select(large, yes.ratio, no.ratio),
        }
    };
    if RATIO {
        out.ratio = out.ratio.copysign(x);
    }
    out
}
