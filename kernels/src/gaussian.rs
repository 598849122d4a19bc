//! The Gaussian log likelihood of signals, its score and its curvature.
//!
//! $$\ln p(y\mid S) = -\tfrac12\ln 2\pi\sigma^2 - \frac{(y-S)^2}{2\sigma^2},\qquad
//!   \frac{\partial\ln p}{\partial S} = \frac{y-S}{\sigma^2},\qquad
//!   -\frac{\partial^2\ln p}{\partial S^2} = \frac1{\sigma^2}$$
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y$ | measured signal | of the signal |
//! | $S$ | signal of the model | of the signal |
//! | $\sigma$ | standard deviation of the noise | of the signal |
//! | mask | 1 where the slot counts, 0 where it does not | 1 |
//!
//! The functions sum over slots without the constant; slices are padded as in
//! [`rician`](crate::rician). Validated by `sums_match_the_definition` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{blocks, blocks_mut, level};

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
    let score = &mut score[..if ORDER >= 1 { n } else { 0 }];
    let curvature = &mut curvature[..if ORDER >= 2 { n } else { 0 }];
    let inverse = L::splat(inv_sigma2);
    let mut total = L::splat(0.0);
    for i in 0..n {
        let weight = L::load(&mask[i]).mul(inverse);
        let d = L::load(&y[i]).sub(L::load(&s[i]));
        let slope = weight.mul(d);
        total = slope.madd(d, total);
        if ORDER >= 1 {
            slope.store(&mut score[i]);
        }
        if ORDER >= 2 {
            weight.store(&mut curvature[i]);
        }
    }
    -0.5 * total.tree_sum()
}

#[inline(always)]
fn value_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64 {
    sum::<L, 0>([y, s, mask], inv_sigma2, &mut [], &mut [])
}

#[inline(always)]
fn score_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    score: &mut [f64],
) -> f64 {
    sum::<L, 1>([y, s, mask], inv_sigma2, score, &mut [])
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
    sum::<L, 2>([y, s, mask], inv_sigma2, score, curvature)
}

dispatch! {
    /// [`gaussian_value`] at a given level.
    pub fn gaussian_value_at / value_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64
}
dispatch! {
    /// [`gaussian`] at a given level.
    pub fn gaussian_at / score_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64]) -> f64
}
dispatch! {
    /// [`gaussian_with_curvature`] at a given level.
    pub fn gaussian_with_curvature_at / curvature_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64], curvature: &mut [f64]) -> f64
}

/// $-\sum \text{mask}\,(y-S)^2/2\sigma^2$.
///
/// # Shapes
/// `y`, `s` and `mask` are `[slot]`, padded to a multiple of eight.
///
/// # Panics
/// When `s` or `mask` is shorter than `y`.
///
/// # Example
/// ```
/// let (y, mut s, mut mask) = ([1.0; 8], [0.0; 8], [0.0; 8]);
/// (s[0], mask[0]) = (4.0, 1.0);
/// assert_eq!(microtome_kernels::gaussian::gaussian_value(&y, &s, &mask, 0.25), -1.125);
/// ```
pub fn gaussian_value(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64) -> f64 {
    gaussian_value_at(level(), y, s, mask, inv_sigma2)
}

/// The sum of [`gaussian_value`], equal to the bit, and its derivative by every S.
///
/// # Gradient
/// `score` `[slot]` receives $\text{mask}\,(y - S)/\sigma^2$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn gaussian(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, score: &mut [f64]) -> f64 {
    gaussian_at(level(), y, s, mask, inv_sigma2, score)
}

/// The sum and score of [`gaussian`], equal to the bit, and the curvature.
///
/// # Gradient
/// `curvature` `[slot]` receives $\text{mask}/\sigma^2$.
///
/// # Panics
/// When a slice is shorter than `y`.
pub fn gaussian_with_curvature(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    score: &mut [f64],
    curvature: &mut [f64],
) -> f64 {
    gaussian_with_curvature_at(level(), y, s, mask, inv_sigma2, score, curvature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    #[test]
    fn sums_match_the_definition() {
        let n = 104;
        let y: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin()).collect();
        let mut s: Vec<f64> = (0..n).map(|i| (i as f64 * 0.11).cos()).collect();
        let mask: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 7 != 2 && i < 99))).collect();
        s[99..].fill(1e200);
        for level in SimdLevel::available() {
            let (mut score, mut curvature) = (vec![f64::NAN; n], vec![f64::NAN; n]);
            let value =
                gaussian_with_curvature_at(level, &y, &s, &mask, 4.0, &mut score, &mut curvature);
            let mut truth = 0.0;
            for i in 0..n {
                let d = if mask[i] == 0.0 { 0.0 } else { y[i] - s[i] };
                truth -= 2.0 * d * d;
                assert_eq!(score[i], 4.0 * d);
                assert_eq!(curvature[i], 4.0 * mask[i]);
            }
            assert!((value / truth - 1.0).abs() < 1e-15, "{value} {truth}");
            assert_eq!(value, gaussian_value_at(level, &y, &s, &mask, 4.0));
            assert_eq!(value, gaussian_at(level, &y, &s, &mask, 4.0, &mut score));
        }
    }
}
