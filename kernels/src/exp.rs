//! The one vector exponential of the project.
//!
//! $$e^x = 2^k e^r,\qquad k = \mathrm{round}(x/\ln 2),\quad r = x - k\ln 2$$
//!
//! with $r$ by a two-part $\ln 2$ (Cody & Waite 1980, *Software Manual for the
//! Elementary Functions*, ch. 6) and $e^r$ by the polynomial
//! $1 + r + r^2 p(r)$ of degree 11, whose ten coefficients are the Chebyshev
//! fit of $(e^r - 1 - r)/r^2$ on $|r| \le 0.3467$ (error $2.5\cdot10^{-17}$;
//! `tests/golden/make_exp.py`). From $-708$ down the result is 0, from 709.4 up it is
//! infinite, NaN stays NaN.
//!
//! Validated by `exp_is_within_two_ulp` and `levels_agree` below.

use crate::lanes::{Lanes, dispatch, horner};
use crate::simd::LANES;

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// The upper bits of ln 2: products with |k| < 2048 are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Adding and taking away 1.5 * 2^52 rounds to the nearest integer.
const ROUND: f64 = 6_755_399_441_055_744.0;
const LOWEST: f64 = -708.0;
const HIGHEST: f64 = 709.4;

const COEFFICIENTS: [f64; 10] = [
    0.5,
    0.166_666_666_666_666_69,
    0.041_666_666_666_623_99,
    0.008_333_333_333_330_051,
    0.001_388_888_891_728_179_4,
    0.000_198_412_698_631_059_68,
    2.480_152_119_021_773e-5,
    2.755_726_837_868_419_2e-6,
    2.762_013_871_973_399_4e-7,
    2.510_042_415_700_506_7e-8,
];

/// `exp` of a block.
#[inline(always)]
pub(crate) fn exp_lanes<L: Lanes>(x: L) -> L {
    let (low, high) = (L::splat(LOWEST), L::splat(HIGHEST));
    let (too_low, too_high) = (low.ge(x), x.ge(high));
    let clamped = L::select(too_high, high, L::select(too_low, low, x));
    let shifted = clamped.madd(L::splat(LOG2_E), L::splat(ROUND));
    let k = shifted.sub(L::splat(ROUND));
    let r = k.nmadd(L::splat(LN2_HIGH), clamped);
    let r = k.nmadd(L::splat(LN2_LOW), r);
    let e = r.mul(r).madd(horner(&COEFFICIENTS, r), r).add(L::splat(1.0));
    // The low bits of `shifted` hold k in two's complement.
    let value = e.mul(shifted.word_shl_52().word_add(L::word(1023 << 52)));
    L::select(too_high, L::splat(f64::INFINITY), L::select(too_low, L::splat(0.0), value))
}

#[inline(always)]
fn exp_slice_body<L: Lanes>(x: &mut [f64]) {
    let (body, tail) = x.as_chunks_mut::<LANES>();
    for b in body {
        exp_lanes(L::load(b)).store(b);
    }
    if !tail.is_empty() {
        let mut last = [0.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        exp_lanes(L::load(&last)).store(&mut last);
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

dispatch! {
    /// Replaces every number of `x` by its exponential, at a given level.
    pub fn exp_in_place_at / exp_slice_body(x: &mut [f64])
}

/// Replaces every number of `x` by its exponential.
///
/// # Example
/// ```
/// let mut x = [0.0, 1.0, -1.0e9];
/// microtome_kernels::exp::exp_in_place(&mut x);
/// assert_eq!((x[0], x[2]), (1.0, 0.0));
/// assert!((x[1] / std::f64::consts::E - 1.0).abs() < 4e-16);
/// ```
pub fn exp_in_place(x: &mut [f64]) {
    exp_in_place_at(crate::simd::level(), x);
}

/// `exp` of one number, equal to the bit to a lane of [`exp_in_place`] on this
/// machine: set-up code (coefficients a shell) must use this one.
pub fn exp(x: f64) -> f64 {
    exp_one_at(crate::simd::level(), x)
}

#[inline(always)]
fn exp_one_body<L: Lanes>(x: f64) -> f64 {
    exp_lanes(L::splat(x)).first()
}

dispatch! {
    fn exp_one_at / exp_one_body(x: f64) -> f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    fn arguments() -> Vec<f64> {
        (0..200_003).map(|i| -720.0 + i as f64 * 1440.0 / 200_000.0).collect()
    }

    #[test]
    fn exp_is_within_two_ulp() {
        for level in SimdLevel::available() {
            let x = arguments();
            let mut y = x.clone();
            exp_in_place_at(level, &mut y);
            for (x, y) in x.iter().zip(&y) {
                let truth = x.exp();
                if *x <= LOWEST || *x >= HIGHEST {
                    assert!(*y == 0.0 || *y == f64::INFINITY, "exp({x}) = {y}");
                } else {
                    assert!(((y - truth) / truth).abs() < 4.5e-16, "exp({x}) = {y}, not {truth}");
                }
            }
        }
        assert!(exp(f64::NAN).is_nan());
    }

    #[test]
    fn levels_agree() {
        let with_fma: Vec<_> =
            SimdLevel::available().into_iter().filter(|l| l.name() != "scalar").collect();
        let results: Vec<Vec<f64>> = with_fma
            .iter()
            .map(|&l| {
                let mut y = arguments();
                exp_in_place_at(l, &mut y);
                y
            })
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
