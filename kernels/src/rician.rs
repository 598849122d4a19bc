//! The Rician log likelihood of magnitudes, its score and its curvature.
//!
//! $$\ln p(y\mid S) = \ln\frac{y}{\sigma^2} - \frac{(y-|S|)^2}{2\sigma^2} + \ln i_0^e(x),
//!   \qquad x = \frac{yS}{\sigma^2}$$
//!
//! $$\frac{\partial\ln p}{\partial S} = \frac{y\,r(x) - S}{\sigma^2},\qquad
//!   -\frac{\partial^2\ln p}{\partial S^2} = \frac{1 - (y^2/\sigma^2)\,r'(x)}{\sigma^2},
//!   \qquad r = \frac{I_1}{I_0}$$
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y$ | measured magnitude | of the signal |
//! | $S$ | noise-free magnitude of the model; may be negative in a step of a search | of the signal |
//! | $\sigma$ | standard deviation of each of the two channels | of the signal |
//! | mask | 1 where the slot counts, 0 where it does not; no other weights | 1 |
//!
//! The likelihood is even in $S$, because $I_0$ is; for a negative S the exponent that
//! $i_0^e$ takes out is $-|x|$, hence $|S|$ in the square.
//!
//! The functions sum over slots without the constants $\ln(y/\sigma^2)$, which the
//! caller knows once for a voxel. All slices have one length, a multiple of
//! [`LANES`](crate::simd::LANES). A padded slot has mask 0, y = 0 and any finite
//! S, and contributes exactly zero.
//!
//! Source: Rice 1944, doi:10.1002/j.1538-7305.1944.tb00874.x; Gudbjartsson & Patz
//! 1995, doi:10.1002/mrm.1910340618, eq. 1. The functions of x are those of
//! [`special`](crate::special). Validated by `terms_match_the_definition`,
//! `score_and_curvature_are_derivatives` and `padding_contributes_nothing` below;
//! timed by `benches/rician.rs`.

use crate::lanes::{Lanes, dispatch};
use crate::log::{LOG_PRODUCT_BLOCKS, LogProduct};
use crate::simd::{blocks, blocks_mut, level};
use crate::special::{DERIVATIVE, RATIO, VALUE, log_bessel};

/// The one loop; `ORDER` says how many derivatives are written.
#[inline(always)]
fn sum<L: Lanes, const ORDER: u8>(
    [y, s, mask]: [&[f64]; 3],
    inv_sigma2: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    let (y, s, mask) = (blocks(y), blocks(s), blocks(mask));
    let (score, curvature) = (blocks_mut(score), blocks_mut(curvature));
    let n = y.len();
    let (s, mask) = (&s[..n], &mask[..n]);
    let score = &mut score[..if ORDER >= RATIO { n } else { 0 }];
    let curvature = &mut curvature[..if ORDER >= DERIVATIVE { n } else { 0 }];
    let (one, half) = (L::splat(1.0), L::splat(0.5));
    let inverse = L::splat(inv_sigma2);
    let minus_inverse = L::splat(-inv_sigma2);
    // -(sum of squares)/sigma², sum of offsets, sum of logarithms.
    let (mut squares, mut offsets, mut logs) = (L::splat(0.0), L::splat(0.0), 0.0);
    let mut first = 0;
    while first < n {
        let end = n.min(first + LOG_PRODUCT_BLOCKS);
        let mut product = LogProduct::<L>::new();
        for i in first..end {
            let (y, s, mask) = (L::load(&y[i]), L::load(&s[i]), L::load(&mask[i]));
            let y_scaled = y.mul(inverse);
            let bessel = log_bessel::<L, ORDER>(y_scaled.mul(s));
            let d = y.sub(s.abs());
            let minus_weight = mask.mul(minus_inverse);
            // The mask multiplies before d is squared, so that no finite S of a
            // padded slot overflows.
            squares = minus_weight.mul(d).madd(d, squares);
            offsets = mask.madd(bessel.offset, offsets);
            product.push(L::select(mask.ge(half), bessel.factor, one));
            if ORDER >= RATIO {
                minus_weight.mul(y.nmadd(bessel.ratio, s)).store(&mut score[i]);
            }
            if ORDER >= DERIVATIVE {
                let bend = y.mul(y_scaled).madd(bessel.derivative, L::splat(-1.0));
                minus_weight.mul(bend).store(&mut curvature[i]);
            }
        }
        logs += product.finish(end - first);
        first = end;
    }
    half.madd(squares, offsets).tree_sum() - 0.5 * logs
}

#[inline(always)]
fn value_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64 {
    sum::<L, VALUE>([y, s, mask], inv_sigma2, &mut [], &mut [])
}

#[inline(always)]
fn score_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    score: &mut [f64],
) -> f64 {
    sum::<L, RATIO>([y, s, mask], inv_sigma2, score, &mut [])
}

#[inline(always)]
fn curvature_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    sum::<L, DERIVATIVE>([y, s, mask], inv_sigma2, score, curvature)
}

dispatch! {
    /// [`rician_value`] at a given level.
    pub fn rician_value_at / value_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64
}
dispatch! {
    /// [`rician`] at a given level.
    pub fn rician_at / score_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64]) -> f64
}
dispatch! {
    /// [`rician_with_curvature`] at a given level.
    pub fn rician_with_curvature_at / curvature_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64], curvature: &mut [f64]) -> f64
}

/// $\sum \text{mask}\left[-\tfrac{(y-|S|)^2}{2\sigma^2} + \ln i_0^e(yS/\sigma^2)\right]$.
///
/// # Shapes
/// `y`, `s` and `mask` are `[slot]`, padded to a multiple of eight.
///
/// # Panics
/// When `s` or `mask` is shorter than `y`.
///
/// # Example
/// ```
/// // With y = 0 the Bessel term vanishes: -3²/(2·2²) = -1.125.
/// let (y, mut s, mut mask) = ([0.0; 8], [0.0; 8], [0.0; 8]);
/// (s[0], mask[0]) = (3.0, 1.0);
/// assert_eq!(microtome_kernels::rician::rician_value(&y, &s, &mask, 0.25), -1.125);
/// ```
pub fn rician_value(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64 {
    rician_value_at(level(), y, s, mask, inv_sigma2)
}

/// The sum of [`rician_value`], equal to the bit, and its derivative by every S.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `score` receives $\text{mask}\,(y\,r(x) - S)/\sigma^2$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn rician(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64]) -> f64 {
    rician_at(level(), y, s, mask, inv_sigma2, score)
}

/// The sum and score of [`rician`], equal to the bit, and the curvature.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `curvature` receives $\text{mask}\,\left(1 - (y^2/\sigma^2)\,r'(x)\right)/\sigma^2$,
/// minus the second derivative by S; it is negative where y is large and S small.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn rician_with_curvature(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    rician_with_curvature_at(level(), y, s, mask, inv_sigma2, score, curvature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::LANES;
    use crate::simd::SimdLevel;
    use crate::special::{bessel_ratio, bessel_ratio_derivative, ln_i0e};

    const INV_SIGMA2: f64 = 1.0 / (0.7 * 0.7);

    /// Magnitudes and signals in all ranges of x, in order and mixed, some
    /// negative, some slots masked out, and padding at the end.
    fn data(slots: usize) -> [Vec<f64>; 3] {
        let padded = slots.next_multiple_of(LANES) + LANES;
        let (mut y, mut s, mut mask) = (vec![0.0; padded], vec![1e200; padded], vec![0.0; padded]);
        for i in 0..slots {
            let a = if i < slots / 2 { i as f64 } else { (i * 7919 % 101) as f64 };
            y[i] = 0.02 + a * 0.11;
            s[i] = (a * 0.113 + 0.3 * (i as f64).sin()) * if i % 17 == 3 { -1.0 } else { 1.0 };
            mask[i] = f64::from(u8::from(i % 11 != 5));
        }
        [y, s, mask]
    }

    fn term(y: f64, s: f64) -> f64 {
        -0.5 * (y - s.abs()).powi(2) * INV_SIGMA2 + ln_i0e(y * INV_SIGMA2 * s)
    }

    #[test]
    fn terms_match_the_definition() {
        for level in SimdLevel::available() {
            for slots in [1, 96, 131, 288, 5000] {
                let [y, s, mask] = data(slots);
                let n = y.len();
                let (mut score, mut curvature) = (vec![f64::NAN; n], vec![f64::NAN; n]);
                let value = rician_with_curvature_at(
                    level,
                    &y,
                    &s,
                    &mask,
                    INV_SIGMA2,
                    &mut score,
                    &mut curvature,
                );
                let (mut truth, mut size) = (0.0, 1.0);
                for i in 0..slots {
                    let (x, t) = (y[i] * INV_SIGMA2 * s[i], term(y[i], s[i]));
                    truth += mask[i] * t;
                    size += mask[i] * t.abs();
                    let expected = mask[i] * (y[i] * bessel_ratio(x) - s[i]) * INV_SIGMA2;
                    let scale = (y[i] + s[i].abs()) * INV_SIGMA2;
                    assert!((score[i] - expected).abs() <= 1e-15 * scale, "score {i}");
                    let square = y[i] * y[i] * INV_SIGMA2;
                    let expected =
                        mask[i] * (1.0 - square * bessel_ratio_derivative(x)) * INV_SIGMA2;
                    let scale = (1.0 + square) * INV_SIGMA2;
                    assert!((curvature[i] - expected).abs() <= 1e-15 * scale, "curvature {i}");
                }
                assert!((value - truth).abs() <= 2e-15 * size, "{value} {truth} of {size}");
            }
        }
    }

    #[test]
    fn three_forms_agree_to_the_bit() {
        for level in SimdLevel::available() {
            let [y, s, mask] = data(288);
            let n = y.len();
            let (mut a, mut b, mut c) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
            let value = rician_value_at(level, &y, &s, &mask, INV_SIGMA2);
            assert_eq!(value, rician_at(level, &y, &s, &mask, INV_SIGMA2, &mut a));
            let full = rician_with_curvature_at(level, &y, &s, &mask, INV_SIGMA2, &mut b, &mut c);
            assert_eq!(value, full);
            assert_eq!(a, b);
        }
    }

    /// Central differences of the value and of the score, at relative step 1e-5
    /// (error of the difference about 1e-10).
    #[test]
    fn score_and_curvature_are_derivatives() {
        let mask = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let at = |y: f64, s: f64| {
            let block = |v: f64| [v, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            let (mut score, mut curvature) = ([0.0; 8], [0.0; 8]);
            let value = rician_with_curvature(
                &block(y),
                &block(s),
                &mask,
                INV_SIGMA2,
                &mut score,
                &mut curvature,
            );
            [value, score[0], curvature[0]]
        };
        for (y, s) in
            [(0.0, 0.3), (0.5, 0.2), (1.3, 1.5), (2.2, 2.6), (5.0, 4.0), (30.0, 29.0), (2.0, -1.0)]
        {
            let step = 1e-5;
            let (below, here, above) = (at(y, s - step), at(y, s), at(y, s + step));
            let slope = (above[0] - below[0]) / (2.0 * step);
            assert!((slope - here[1]).abs() < 1e-8 * (1.0 + y * y), "{y} {s}: {slope} {}", here[1]);
            let bend = (below[1] - above[1]) / (2.0 * step);
            assert!((bend - here[2]).abs() < 1e-8 * (1.0 + y * y), "{y} {s}: {bend} {}", here[2]);
        }
    }

    #[test]
    fn padding_contributes_nothing() {
        for level in SimdLevel::available() {
            let [y, s, mask] = data(99);
            let n = y.len();
            let (mut score, mut curvature) = (vec![f64::NAN; n], vec![f64::NAN; n]);
            let long = rician_with_curvature_at(
                level,
                &y,
                &s,
                &mask,
                INV_SIGMA2,
                &mut score,
                &mut curvature,
            );
            let short = rician_value_at(level, &y[..104], &s[..104], &mask[..104], INV_SIGMA2);
            assert_eq!(long, short);
            assert!(score[99..].iter().chain(&curvature[99..]).all(|v| *v == 0.0));
            let (none, mut score) = (vec![0.0; n], vec![f64::NAN; n]);
            assert_eq!(rician_at(level, &y, &s, &none, INV_SIGMA2, &mut score), 0.0);
            assert!(score.iter().all(|v| *v == 0.0));
        }
    }

    #[test]
    fn a_signal_that_is_not_a_number_shows() {
        let (y, mut s, mask) = ([1.0; 8], [1.0; 8], [1.0; 8]);
        s[3] = f64::NAN;
        assert!(rician_value(&y, &s, &mask, INV_SIGMA2).is_nan());
    }

    #[test]
    fn levels_agree() {
        let [y, s, mask] = data(1000);
        let results: Vec<(f64, Vec<f64>)> = SimdLevel::available()
            .into_iter()
            .filter(|l| l.name() != "scalar")
            .map(|level| {
                let mut score = vec![0.0; y.len()];
                (rician_at(level, &y, &s, &mask, INV_SIGMA2, &mut score), score)
            })
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
