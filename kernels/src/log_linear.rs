//! Signals whose logarithm is linear in its coefficients, and the weights of a
//! least-squares step in the logarithm:
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
//! Source: Salvador et al. 2005, doi:10.1002/hbm.20076, eq. 5.
//! Validated by `equals_plain_numbers` below.

use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::simd::{blocks, blocks_mut};

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
