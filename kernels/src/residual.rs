//! Sums over the residuals of a voxel, from which the slope of a likelihood in
//! $\ln\sigma$ and the residual sum of squares follow:
//!
//! $$\#\{m > 0\},\quad \sum m\,(y-S)^2,\quad \sum m\,(y^2-S^2),\quad \sum S\,\mathrm{score},\quad \sum(y-S)\,\mathrm{score}$$
//!
//! | symbol | |
//! |---|---|
//! | $y, S, m$ | magnitude, model signal, weight of a slot (0 in padding) |
//! | score | $\partial\ln p/\partial S$, zero in padding |
//!
//! Source: the derivative of Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618,
//! eq. 1, by $\ln\sigma$ (see `microtome_models::NoiseKind`).
//! Validated by `equals_plain_sums` below and `sigma_slope_equals_difference` of the models.

use crate::lanes::{Lanes, dispatch};
use crate::simd::blocks;

/// The sums of this module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResidualSums {
    /// The number of measurements: slots with a weight.
    pub count: f64,
    /// $\sum m\,(y-S)^2$.
    pub square: f64,
    /// $\sum m\,(y^2-S^2)$.
    pub power: f64,
    /// $\sum S\,\mathrm{score}$.
    pub work: f64,
    /// $\sum (y-S)\,\mathrm{score}$.
    pub pull: f64,
}

#[inline(always)]
fn sums_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], score: &[f64]) -> ResidualSums {
    let (zero, one) = (L::splat(0.0), L::splat(1.0));
    let (mut count, mut square, mut power) = (zero, zero, zero);
    let (mut work, mut pull) = (zero, zero);
    let slots = blocks(y).iter().zip(blocks(s)).zip(blocks(mask)).zip(blocks(score));
    for (((y, s), mask), score) in slots {
        let (y, s, mask) = (L::load(y), L::load(s), L::load(mask));
        let difference = y.sub(s);
        let weighted = mask.mul(difference);
        // Weights are 0 or at least 1.
        count = count.add(L::select(mask.ge(one), one, zero));
        square = weighted.madd(difference, square);
        power = weighted.madd(y.add(s), power);
        let score = L::load(score);
        work = s.madd(score, work);
        pull = difference.madd(score, pull);
    }
    ResidualSums {
        count: count.tree_sum(),
        square: square.tree_sum(),
        power: power.tree_sum(),
        work: work.tree_sum(),
        pull: pull.tree_sum(),
    }
}

dispatch! {
    fn sums_at / sums_body(y: &[f64], s: &[f64], mask: &[f64], score: &[f64]) -> ResidualSums
}

/// The sums over all slots.
///
/// # Shapes
/// All `[slot]`, padded to a multiple of eight; `mask` and `score` zero in padding.
pub fn residual_sums(y: &[f64], s: &[f64], mask: &[f64], score: &[f64]) -> ResidualSums {
    sums_at(crate::simd::level(), y, s, mask, score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_plain_sums() {
        let value = |i: usize, k: usize| ((i * 37 + 11 * k) % 101) as f64 / 50.0 - 1.0;
        let n = 24;
        let column = |k: usize| (0..n).map(|i| value(i, k)).collect::<Vec<f64>>();
        let (y, s) = (column(1), column(2));
        let mask: Vec<f64> = (0..n).map(|i| [0.0, 1.0, 1.0, 7.0, 30.0][i % 5]).collect();
        let score: Vec<f64> = (0..n).map(|i| mask[i] * value(i, 3)).collect();
        let sums = residual_sums(&y, &s, &mask, &score);
        let plain = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
        assert!((sums.count - plain(&|i| f64::from(mask[i] > 0.0))).abs() < 1e-13);
        assert!((sums.square - plain(&|i| mask[i] * (y[i] - s[i]).powi(2))).abs() < 1e-13);
        assert!((sums.power - plain(&|i| mask[i] * (y[i] * y[i] - s[i] * s[i]))).abs() < 1e-13);
        assert!((sums.work - plain(&|i| s[i] * score[i])).abs() < 1e-13);
        assert!((sums.pull - plain(&|i| (y[i] - s[i]) * score[i])).abs() < 1e-13);
    }
}
