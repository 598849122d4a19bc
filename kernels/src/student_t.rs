//! The Student-t log likelihood of signals, its score and its curvature.
//!
//! $$\ln p(y\mid S) = \ln\frac{\Gamma\left(\tfrac{\nu+1}2\right)}{\Gamma\left(\tfrac\nu2\right)\sqrt{\nu\pi}\,\sigma}
//!   - \frac{\nu+1}2\ln z,\qquad z = 1 + \frac{(y-S)^2}{\nu\sigma^2}$$
//!
//! $$\frac{\partial\ln p}{\partial S} = \frac{(\nu+1)(y-S)}{\nu\sigma^2 z},\qquad
//!   -\frac{\partial^2\ln p}{\partial S^2} = \frac{(\nu+1)(2-z)}{\nu\sigma^2 z^2}$$
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y$ | measured signal | of the signal |
//! | $S$ | signal of the model | of the signal |
//! | $\sigma$ | scale of the noise (its sd is $\sigma\sqrt{\nu/(\nu-2)}$) | of the signal |
//! | $\nu$ | degrees of freedom, > 0 | 1 |
//! | mask | 1 where the slot counts, 0 where it does not | 1 |
//!
//! The functions sum over slots without the first logarithm; slices are padded as in
//! [`rician`](crate::rician).
//!
//! Source: Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852. Validated
//! by `sums_match_the_definition` and `score_and_curvature_are_derivatives` below and
//! by `golden_densities` of the models.

use crate::lanes::{Lanes, dispatch};
use crate::log::{LOG_PRODUCT_BLOCKS, LogProduct};
use crate::simd::{blocks, blocks_mut, level};

/// The one loop; `ORDER` says how many derivatives are written.
#[inline(always)]
fn sum<L: Lanes, const ORDER: u8>(
    [y, s, mask]: [&[f64]; 3],
    inv_sigma2: f64,
    nu: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    let (y, s, mask) = (blocks(y), blocks(s), blocks(mask));
    let (score, curvature) = (blocks_mut(score), blocks_mut(curvature));
    let n = y.len();
    let (s, mask) = (&s[..n], &mask[..n]);
    let score = &mut score[..if ORDER >= 1 { n } else { 0 }];
    let curvature = &mut curvature[..if ORDER >= 2 { n } else { 0 }];
    let (one, two) = (L::splat(1.0), L::splat(2.0));
    let inverse = L::splat(inv_sigma2 / nu);
    let weight = L::splat((nu + 1.0) * (inv_sigma2 / nu));
    let zero = L::splat(0.0);
    // A product of mantissas hides what is not finite; zero times z does not.
    let (mut logs, mut not_finite) = (0.0, zero);
    let mut first = 0;
    while first < n {
        let end = n.min(first + LOG_PRODUCT_BLOCKS);
        let mut product = LogProduct::<L>::new();
        for i in first..end {
            let mask = L::load(&mask[i]);
            // The mask multiplies before d is squared, so that no finite S of a
            // padded slot overflows; then z = 1.
            let d = mask.mul(L::load(&y[i]).sub(L::load(&s[i])));
            let z = d.mul(inverse).madd(d, one);
            product.push(z);
            not_finite = zero.madd(z, not_finite);
            if ORDER >= 1 {
                let pull = weight.div(z);
                pull.mul(d).store(&mut score[i]);
                if ORDER >= 2 {
                    mask.mul(pull).mul(two.sub(z).div(z)).store(&mut curvature[i]);
                }
            }
        }
        logs += product.finish(end - first);
        first = end;
    }
    -0.5 * (nu + 1.0) * (logs + not_finite.tree_sum())
}

#[inline(always)]
fn value_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64) -> f64 {
    sum::<L, 0>([y, s, mask], inv_sigma2, nu, &mut [], &mut [])
}

#[inline(always)]
fn score_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    score: &mut [f64],
) -> f64 {
    sum::<L, 1>([y, s, mask], inv_sigma2, nu, score, &mut [])
}

#[inline(always)]
fn curvature_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    sum::<L, 2>([y, s, mask], inv_sigma2, nu, score, curvature)
}

dispatch! {
    /// [`student_t_value`] at a given level.
    pub fn student_t_value_at / value_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64) -> f64
}
dispatch! {
    /// [`student_t`] at a given level.
    pub fn student_t_at / score_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64, score: &mut [f64]) -> f64
}
dispatch! {
    /// [`student_t_with_curvature`] at a given level.
    pub fn student_t_with_curvature_at / curvature_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64, score: &mut [f64], curvature: &mut [f64]) -> f64
}

/// $-\tfrac{\nu+1}2\sum\text{mask}\,\ln z$.
///
/// # Shapes
/// `y`, `s` and `mask` are `[slot]`, padded to a multiple of eight.
///
/// # Panics
/// When `s` or `mask` is shorter than `y`.
///
/// # Example
/// ```
/// // One residual of 3 with nu = 3 and sigma = 1: z = 4.
/// let (mut y, s, mut mask) = ([0.0; 8], [0.0; 8], [0.0; 8]);
/// (y[0], mask[0]) = (3.0, 1.0);
/// let sum = microtome_kernels::student_t::student_t_value(&y, &s, &mask, 1.0, 3.0);
/// assert!((sum + 2.0 * 4.0_f64.ln()).abs() < 1e-14);
/// ```
pub fn student_t_value(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64) -> f64 {
    student_t_value_at(level(), y, s, mask, inv_sigma2, nu)
}

/// The sum of [`student_t_value`], equal to the bit, and its derivative by every S.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `score` receives $\text{mask}\,(\nu+1)(y-S)/(\nu\sigma^2z)$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn student_t(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    score: &mut [f64],
) -> f64 {
    student_t_at(level(), y, s, mask, inv_sigma2, nu, score)
}

/// The sum and score of [`student_t`], equal to the bit, and the curvature.
///
/// # Shapes
/// All slices are `[slot]`, padded to a multiple of eight.
///
/// # Gradient
/// `curvature` receives $\text{mask}\,(\nu+1)(2-z)/(\nu\sigma^2z^2)$, minus the second
/// derivative by S; it is negative beyond $|y-S| = \sqrt\nu\,\sigma$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn student_t_with_curvature(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    student_t_with_curvature_at(level(), y, s, mask, inv_sigma2, nu, score, curvature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{LANES, SimdLevel};

    const INV_SIGMA2: f64 = 1.0 / (0.7 * 0.7);

    /// Residuals of all sizes, some slots masked out, and padding at the end.
    fn data(slots: usize) -> [Vec<f64>; 3] {
        let padded = slots.next_multiple_of(LANES) + LANES;
        let (mut y, mut s, mut mask) = (vec![0.0; padded], vec![1e200; padded], vec![0.0; padded]);
        for i in 0..slots {
            s[i] = 0.11 * (i % 101) as f64;
            let size = if i % 13 == 4 { 1e4 } else { 0.8 };
            y[i] = s[i] + size * (i as f64).sin();
            mask[i] = f64::from(u8::from(i % 11 != 5));
        }
        [y, s, mask]
    }

    #[test]
    fn sums_match_the_definition() {
        for level in SimdLevel::available() {
            for (nu, slots) in [(1.0, 1), (2.5, 131), (5.0, 288), (30.0, 5000)] {
                let [y, s, mask] = data(slots);
                let n = y.len();
                let (mut score, mut curvature) = (vec![f64::NAN; n], vec![f64::NAN; n]);
                let value = student_t_with_curvature_at(
                    level,
                    &y,
                    &s,
                    &mask,
                    INV_SIGMA2,
                    nu,
                    &mut score,
                    &mut curvature,
                );
                let mut truth = 0.0;
                for i in 0..slots {
                    let d = y[i] - s[i];
                    let c = nu / INV_SIGMA2;
                    truth -= mask[i] * 0.5 * (nu + 1.0) * (d * d / c).ln_1p();
                    let expected = mask[i] * (nu + 1.0) * d / (c + d * d);
                    assert!((score[i] - expected).abs() <= 1e-14 * expected.abs(), "score {i}");
                    let expected = mask[i] * (nu + 1.0) * (c - d * d) / (c + d * d).powi(2);
                    let scale = (nu + 1.0) / (c + d * d);
                    assert!((curvature[i] - expected).abs() <= 1e-14 * scale, "curvature {i}");
                }
                assert!((value - truth).abs() <= 1e-14 * truth.abs().max(1.0), "{value} {truth}");
                assert!(score[slots..].iter().chain(&curvature[slots..]).all(|v| *v == 0.0));
                let alone = student_t_value_at(level, &y, &s, &mask, INV_SIGMA2, nu);
                assert_eq!(value, alone);
                let again = student_t_at(level, &y, &s, &mask, INV_SIGMA2, nu, &mut curvature);
                assert_eq!((value, &score), (again, &curvature));
            }
        }
    }

    #[test]
    fn score_and_curvature_are_derivatives() {
        let block = |v: f64| [v, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        for level in SimdLevel::available() {
            for nu in [1.0, 5.0, 30.0] {
                for d in [0.0, 0.3, -0.9, 2.0, 11.0] {
                    let at = |s: f64| {
                        let (mut score, mut curvature) = ([0.0; 8], [0.0; 8]);
                        let value = student_t_with_curvature_at(
                            level,
                            &block(d + 0.4),
                            &block(s),
                            &block(1.0),
                            INV_SIGMA2,
                            nu,
                            &mut score,
                            &mut curvature,
                        );
                        [value, score[0], curvature[0]]
                    };
                    let step = 1e-5;
                    let (below, here, above) = (at(0.4 - step), at(0.4), at(0.4 + step));
                    let slope = (above[0] - below[0]) / (2.0 * step);
                    let bend = (below[1] - above[1]) / (2.0 * step);
                    assert!((slope - here[1]).abs() < 1e-8, "{nu} {d}: {slope} {}", here[1]);
                    assert!((bend - here[2]).abs() < 1e-8, "{nu} {d}: {bend} {}", here[2]);
                }
            }
        }
    }

    #[test]
    fn a_signal_that_is_not_a_number_shows() {
        let (y, mut s, mask) = ([1.0; 8], [1.0; 8], [1.0; 8]);
        s[3] = f64::NAN;
        assert!(student_t_value(&y, &s, &mask, INV_SIGMA2, 5.0).is_nan());
    }

    #[test]
    fn levels_agree() {
        let [y, s, mask] = data(1000);
        let results: Vec<(f64, Vec<f64>, Vec<f64>)> = SimdLevel::available()
            .into_iter()
            .filter(|l| l.name() != "scalar")
            .map(|level| {
                let (mut a, mut b) = (vec![0.0; y.len()], vec![0.0; y.len()]);
                let value = student_t_with_curvature_at(
                    level, &y, &s, &mask, INV_SIGMA2, 5.0, &mut a, &mut b,
                );
                (value, a, b)
            })
            .collect();
        for pair in results.windows(2) {
            assert_eq!(pair[0], pair[1]);
        }
    }
}
