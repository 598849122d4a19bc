//! The logarithm of signals; signals whose logarithm is linear in its coefficients; and
//! the weights of a least-squares step in the logarithm:
//!
//! $$S_i = e^{\sum_j \beta_j X_{ji}},\qquad w_i = m_iS_i^2,\qquad s_i = w_i\ln y_i$$
//!
//! | symbol | |
//! |---|---|
//! | $X$ | design, one row a coefficient |
//! | $\beta$ | coefficients |
//! | $m, y$ | mask and measured signal of a slot |
//!
//! The variance of $\ln y$ is about $\sigma^2/S^2$, so $w$ are the weights of a
//! weighted fit, and $s$ is the score that `normal::normal_equations` takes.
//!
//! Source: Salvador et al. 2005, doi:10.1002/hbm.20076.
//! Validated by `equals_plain_numbers` and `logarithms_have_a_floor` below.

use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::log::log_lanes;
use crate::simd::{LANES, blocks, blocks_mut};

#[inline(always)]
fn logs_body<L: Lanes>(y: &[f64], mask: &[f64], out: &mut [f64]) -> usize {
    // No number lies between zero and the smallest subnormal one.
    let above = L::splat(f64::from_bits(1));
    let (mut least, mut count) = (L::splat(f64::INFINITY), L::splat(0.0));
    for b in blocks(y) {
        let y = L::load(b);
        let positive = y.ge(above);
        least = L::select(positive, L::select(y.ge(least), least, y), least);
        count = count.add(L::select(positive, L::splat(1.0), L::splat(0.0)));
    }
    let mut lanes = [0.0; LANES];
    least.store(&mut lanes);
    let mut smallest = f64::INFINITY;
    for lane in lanes {
        smallest = if lane < smallest { lane } else { smallest };
    }
    for ((b, mask), out) in blocks(y).iter().zip(blocks(mask)).zip(blocks_mut(out)) {
        let y = L::load(b);
        let log = log_lanes(L::select(y.ge(above), y, L::splat(smallest)));
        // Padding is zero, also where nothing is positive.
        let kept = L::load(mask).ge(above);
        L::select(kept, log, L::splat(0.0)).store(out);
    }
    count.tree_sum() as usize
}

dispatch! {
    fn logs_at / logs_body(y: &[f64], mask: &[f64], out: &mut [f64]) -> usize
}

/// The logarithms of signals, that of the smallest positive one where a signal is not
/// positive; returns how many are positive.
///
/// # Shapes
/// `y`, `mask`, `out` `[slot]`, padded to a multiple of eight; `y` and `mask` zero in
/// padding, where `out` becomes zero.
pub fn floored_logs(y: &[f64], mask: &[f64], out: &mut [f64]) -> usize {
    logs_at(crate::simd::level(), y, mask, out)
}

/// What one pass over the slots writes, `[slot]` each.
#[derive(Debug)]
pub struct Weighted<'a> {
    /// S.
    pub signal: &'a mut [f64],
    /// w.
    pub weight: &'a mut [f64],
    /// s.
    pub score: &'a mut [f64],
}

#[inline(always)]
fn weigh_body<L: Lanes>(
    design: &[f64],
    beta: &[f64],
    mask: &[f64],
    log_y: &[f64],
    out: Weighted<'_>,
) {
    let (mask, log_y) = (blocks(mask), blocks(log_y));
    let signal = blocks_mut(out.signal);
    let weight = blocks_mut(out.weight);
    let score = blocks_mut(out.score);
    let length = signal.len();
    let (mask, log_y) = (&mask[..length], &log_y[..length]);
    let (weight, score) = (&mut weight[..length], &mut score[..length]);
    let design = &blocks(design)[..beta.len() * length];
    for b in 0..length {
        let mut sum = L::splat(0.0);
        for (j, beta) in beta.iter().enumerate() {
            sum = L::splat(*beta).madd(L::load(&design[j * length + b]), sum);
        }
        let s = exp_lanes(sum);
        let w = L::load(&mask[b]).mul(s.mul(s));
        s.store(&mut signal[b]);
        w.store(&mut weight[b]);
        w.mul(L::load(&log_y[b])).store(&mut score[b]);
    }
}

dispatch! {
    fn weigh_at / weigh_body(design: &[f64], beta: &[f64], mask: &[f64], log_y: &[f64], out: Weighted<'_>)
}

/// The signals of coefficients, with the weights and the score of a step.
///
/// # Shapes
/// `design` `[coefficient, slot]`, `beta` `[coefficient]`; `mask`, `log_y` and the
/// slices of `out` `[slot]`, padded to a multiple of eight.
pub fn weigh(design: &[f64], beta: &[f64], mask: &[f64], log_y: &[f64], out: Weighted<'_>) {
    weigh_at(crate::simd::level(), design, beta, mask, log_y, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_have_a_floor() {
        let slots = 24;
        let mut y: Vec<f64> = (0..slots).map(|i| (i * 37 % 101) as f64 + 0.5).collect();
        let mut mask = vec![1.0; slots];
        (y[3], y[9], y[20]) = (0.0, -7.0, f64::from_bits(1));
        (y[22], y[23], mask[22], mask[23]) = (0.0, 0.0, 0.0, 0.0);
        let mut out = vec![9.0; slots];
        assert_eq!(floored_logs(&y, &mask, &mut out), 20);
        let least = f64::from_bits(1).ln();
        for i in 0..22 {
            let truth = if [3, 9].contains(&i) { least } else { y[i].ln() };
            assert!((out[i] - truth).abs() <= 4e-16 * truth.abs(), "{i}: {} {truth}", out[i]);
        }
        assert_eq!(out[22..], [0.0, 0.0]);
        assert_eq!(floored_logs(&[-1.0; 8], &[0.0; 8], &mut out[..8]), 0);
        assert_eq!(out[..8], [0.0; 8]);
    }

    #[test]
    fn equals_plain_numbers() {
        let slots = 24;
        let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
        for coefficients in [1, 7, 22] {
            let design: Vec<f64> = (0..coefficients * slots).map(value).collect();
            let beta: Vec<f64> = (0..coefficients).map(|j| value(j + 5)).collect();
            let mask: Vec<f64> = (0..slots).map(|i| f64::from(i % 5 != 0)).collect();
            let log_y: Vec<f64> = (0..slots).map(|i| value(i + 3)).collect();
            let (mut signal, mut weight, mut score) =
                (vec![9.0; slots], vec![9.0; slots], vec![9.0; slots]);
            let out = Weighted { signal: &mut signal, weight: &mut weight, score: &mut score };
            weigh(&design, &beta, &mask, &log_y, out);
            for i in 0..slots {
                let plain =
                    (0..coefficients).map(|j| beta[j] * design[j * slots + i]).sum::<f64>().exp();
                let w = mask[i] * plain * plain;
                assert!((signal[i] / plain - 1.0).abs() < 1e-13);
                assert!((weight[i] - w).abs() <= 1e-13 * w);
                assert!((score[i] - w * log_y[i]).abs() <= 1e-13 * w);
            }
        }
    }
}
