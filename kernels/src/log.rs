//! The one vector natural logarithm of the project.
//!
//! $$\ln x = k\ln 2 + \ln(1+f),\qquad x = 2^k(1+f),\quad \sqrt{1/2}\le 1+f<\sqrt 2$$
//!
//! $$\ln(1+f) = f - \tfrac{f^2}{2} + s\left(\tfrac{f^2}{2} + R(s^2)\right),\qquad s = \frac{f}{2+f}$$
//!
//! where $R(s^2) = \ln\frac{1+s}{1-s}/s - 2$ is $s^2$ times a polynomial of degree
//! six, the Chebyshev fit on $|s| \le 3 - 2\sqrt 2$ (error of the logarithm
//! $1.6\cdot10^{-18}$; `tests/golden/make_log.py`). The scheme is that of Tang
//! 1990, doi:10.1145/98267.98294, as in FDLIBM's `e_log.c` (Sun Microsystems
//! 1993). Subnormal arguments are scaled by $2^{54}$ first and are as accurate
//! as normal ones. $\ln 0 = -\infty$, $\ln\infty = \infty$, and a negative
//! argument or NaN gives NaN.
//!
//! Validated by `log_is_within_two_ulp`, `edges` and `levels_agree` below.

use crate::lanes::{Array, Lanes, dispatch, horner};
use crate::simd::{LANES, blocks_mut, tree_sum};

/// The upper bits of ln 2: products with |k| < 2048 are exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// The bits of sqrt(1/2), rounded down to 32 of them.
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_0000_0000;
/// Added to the exponent field, so that it stays positive while k is read off.
const BIAS: u64 = 1024;
/// The bits of 2^52: a whole number below 2^52 put into the low bits adds itself.
const TWO_52_BITS: u64 = 0x4330_0000_0000_0000;
const TWO_52: f64 = 4_503_599_627_370_496.0;
/// The bits of the mantissa.
const MANTISSA_BITS: u64 = (1 << 52) - 1;
const TWO_54: f64 = 18_014_398_509_481_984.0;

const COEFFICIENTS: [f64; 7] = [
    0.666_666_666_666_667,
    0.399_999_999_998_995_05,
    0.285_714_286_259_754_87,
    0.222_222_111_347_950_8,
    0.181_828_891_252_617_23,
    0.153_317_216_005_560_42,
    0.146_164_496_850_434_06,
];

/// Splits positive normal numbers into `(k, f)` with `a = 2^k (1 + f)`.
///
/// Only additions and logical shifts of 64-bit words, which every level has as
/// vector instructions.
#[inline(always)]
fn split<L: Lanes>(a: L) -> (L, L) {
    let offset = (BIAS << 52).wrapping_sub(SQRT_HALF_BITS);
    let exponent = a.word_add(L::word(offset)).word_shr_52();
    let k = exponent.word_or(L::word(TWO_52_BITS)).sub(L::splat(TWO_52 + BIAS as f64));
    let z = a.word_sub(exponent.word_shl_52()).word_add(L::word(BIAS << 52));
    (k, z.sub(L::splat(1.0)))
}

/// What `k * LN2_HIGH` lacks of the logarithm, given `s = f / (2 + f)`.
///
/// The error of `s` enters multiplied by $f^2/2$, so `s` may carry a few
/// roundings.
#[inline(always)]
fn remainder<L: Lanes>(k: L, f: L, s: L) -> L {
    let z = s.mul(s);
    let p = horner(&COEFFICIENTS, z);
    let half_square = L::splat(0.5).mul(f).mul(f);
    let product = s.madd(p.madd(z, half_square), k.mul(L::splat(LN2_LOW)));
    f.sub(half_square.sub(product))
}

/// `ln` of a block.
#[inline(always)]
pub(crate) fn log_lanes<L: Lanes>(x: L) -> L {
    let zero = L::splat(0.0);
    let normal = x.ge(L::splat(f64::MIN_POSITIVE));
    let (k, f) = split(L::select(normal, x, x.mul(L::splat(TWO_54))));
    let k = L::select(normal, k, k.sub(L::splat(54.0)));
    let s = f.div(L::splat(2.0).add(f));
    let value = k.madd(L::splat(LN2_HIGH), remainder(k, f, s));
    let value = L::select(x.ge(L::splat(f64::INFINITY)), x, value);
    // No number lies between zero and the smallest subnormal one.
    let positive = x.ge(L::splat(f64::from_bits(1)));
    let value = L::select(positive, value, L::splat(f64::NAN));
    L::select(zero.ge(x.abs()), L::splat(f64::NEG_INFINITY), value)
}

/// The sum of many logarithms as the logarithm of one product.
///
/// $$\sum_i \ln a_i = \ln\prod_i m_i + \ln 2\sum_i e_i,\qquad a_i = 2^{e_i} m_i,\quad 1\le m_i<2$$
///
/// A block costs one multiplication and four operations on words, where
/// [`log_lanes`] costs about thirty. The product gains one rounding a block, less
/// than a running sum of logarithms does.
#[derive(Clone, Copy)]
pub(crate) struct LogProduct<L> {
    mantissa: L,
    /// Sums of the biased exponents, as words.
    exponent: L,
}

/// Blocks after which a [`LogProduct`] must be finished: the product stays below
/// $2^{512}$.
pub(crate) const LOG_PRODUCT_BLOCKS: usize = 512;

impl<L: Lanes> LogProduct<L> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { mantissa: L::splat(1.0), exponent: L::word(0) }
    }

    /// Takes in a block of positive normal numbers.
    #[inline(always)]
    pub(crate) fn push(&mut self, a: L) {
        let one = L::splat(1.0);
        self.exponent = self.exponent.word_add(a.word_shr_52());
        self.mantissa = self.mantissa.mul(a.word_and(L::word(MANTISSA_BITS)).word_or(one));
    }

    /// $\sum\ln a$ over all lanes of the `blocks` taken in.
    #[inline(always)]
    pub(crate) fn finish(self, blocks: usize) -> f64 {
        let (mut logs, mut exponents) = ([0.0; LANES], [0.0; LANES]);
        log_lanes(self.mantissa).store(&mut logs);
        self.exponent.store(&mut exponents);
        let biased: u64 = exponents.iter().map(|e| e.to_bits()).sum();
        let e = biased as f64 - (1023 * LANES * blocks) as f64;
        e * LN2_HIGH + (e * LN2_LOW + tree_sum(&logs))
    }
}

#[inline(always)]
fn log_slice_body<L: Lanes>(x: &mut [f64]) {
    let whole = x.len() / LANES * LANES;
    let (body, tail) = x.split_at_mut(whole);
    for b in blocks_mut(body) {
        log_lanes(L::load(b)).store(b);
    }
    if !tail.is_empty() {
        let mut last = [1.0; LANES];
        last[..tail.len()].copy_from_slice(tail);
        log_lanes(L::load(&last)).store(&mut last);
        tail.copy_from_slice(&last[..tail.len()]);
    }
}

dispatch! {
    /// Replaces every number of `x` by its natural logarithm, at a given level.
    pub fn log_in_place_at / log_slice_body(x: &mut [f64])
}

/// Replaces every number of `x` by its natural logarithm.
///
/// # Example
/// ```
/// let mut x = [1.0, std::f64::consts::E, 0.0];
/// microtome_kernels::log::log_in_place(&mut x);
/// assert_eq!(x, [0.0, 1.0, f64::NEG_INFINITY]);
/// ```
pub fn log_in_place(x: &mut [f64]) {
    log_in_place_at(crate::simd::level(), x);
}

/// `ln` of one number, equal to the bit to a lane of [`log_in_place`] on this
/// machine.
pub fn log(x: f64) -> f64 {
    log_one_at(crate::simd::level(), x)
}

#[inline(always)]
fn log_one_body<L: Lanes>(x: f64) -> f64 {
    log_lanes(L::splat(x)).first()
}

dispatch! {
    fn log_one_at / log_one_body(x: f64) -> f64
}

/// `ln` of one number without fused multiply-add: the same at every level and on every
/// machine, for random numbers.
pub(crate) fn log_plain(x: f64) -> f64 {
    let mut y = [0.0; LANES];
    log_lanes(Array::<false>::load(&[x; LANES])).store(&mut y);
    y[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    /// Every power of two with several mantissas, and the neighbourhood of one.
    fn arguments() -> Vec<f64> {
        let mut x = Vec::new();
        for k in -1022..1024 {
            for m in 0..97 {
                x.push((1.0 + m as f64 / 97.0) * 2f64.powi(k));
            }
        }
        for i in -50_000..50_000 {
            x.push(1.0 + i as f64 / 100_003.0);
            x.push(1.0 + i as f64 * f64::EPSILON);
        }
        x
    }

    fn ulps(value: f64, truth: f64) -> f64 {
        let ulp = f64::from_bits(truth.abs().to_bits() + 1) - truth.abs();
        (value - truth).abs() / ulp
    }

    #[test]
    fn log_is_within_two_ulp() {
        for level in SimdLevel::available() {
            let x = arguments();
            let mut y = x.clone();
            log_in_place_at(level, &mut y);
            for (x, y) in x.iter().zip(&y) {
                // libm's own error is below one unit in the last place.
                assert!(ulps(*y, x.ln()) <= 2.0, "ln({x}) = {y}, not {}", x.ln());
            }
        }
    }

    #[test]
    fn edges() {
        for level in SimdLevel::available() {
            let mut x = [
                0.0,
                -0.0,
                f64::INFINITY,
                f64::NAN,
                -1.0,
                f64::NEG_INFINITY,
                -f64::MIN_POSITIVE,
                1.0,
            ];
            log_in_place_at(level, &mut x);
            assert_eq!(x[..3], [f64::NEG_INFINITY, f64::NEG_INFINITY, f64::INFINITY]);
            assert!(x[3..7].iter().all(|v| v.is_nan()));
            assert_eq!(x[7].to_bits(), 0);

            let subnormal: Vec<f64> = (0..50).map(|i| f64::from_bits((1 << i) + i)).collect();
            let mut y = subnormal.clone();
            log_in_place_at(level, &mut y);
            for (x, y) in subnormal.iter().zip(&y) {
                assert!(ulps(*y, x.ln()) <= 2.0, "ln({x:e}) = {y}");
            }
        }
    }

    #[inline(always)]
    fn product_body<L: Lanes>(x: &[f64]) -> f64 {
        let blocks = crate::simd::blocks(x);
        let mut product = LogProduct::<L>::new();
        blocks.iter().for_each(|b| product.push(L::load(b)));
        product.finish(blocks.len())
    }
    dispatch! {
        fn log_product / product_body(x: &[f64]) -> f64
    }

    /// The largest number of blocks, numbers just below two and of all sizes.
    #[test]
    fn product_is_the_sum_of_logarithms() {
        for level in SimdLevel::available() {
            let mut x = vec![2.0 - f64::EPSILON; LANES * LOG_PRODUCT_BLOCKS];
            let (mut twos, mut others) = (0.0, 0.0);
            for (i, v) in x.iter_mut().enumerate().step_by(3) {
                let e = i as i32 % 2000 - 1000;
                *v = 1.37 * 2f64.powi(e);
                twos += f64::from(e);
                others += 1.0;
            }
            let rest = x.len() as f64 - others;
            let truth = twos * std::f64::consts::LN_2
                + (others * 1.37f64.ln() + rest * (2.0 - f64::EPSILON).ln());
            let size = (twos.abs() + rest + others) * std::f64::consts::LN_2;
            let sum = log_product(level, &x);
            assert!((sum - truth).abs() <= 1e-15 * size, "{sum} {truth}");
        }
    }

    #[test]
    fn levels_agree() {
        let results: Vec<Vec<f64>> = SimdLevel::available()
            .into_iter()
            .filter(|l| l.name() != "scalar")
            .map(|level| {
                let mut y = arguments();
                log_in_place_at(level, &mut y);
                y
            })
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
