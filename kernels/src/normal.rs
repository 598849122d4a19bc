//! The normal equations of a weighted least-squares step,
//!
//! $$N_{jk} = \sum_i w_i J_{ji}J_{ki},\qquad r_j = \sum_i s_i J_{ji}$$
//!
//! from a Jacobian stored one row a parameter over padded slots. Four rows are
//! accumulated at a time, each by eight lanes and a fixed tree.
//!
//! Validated by `equals_plain_sums` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::blocks;

#[inline(always)]
fn normal_body<L: Lanes>(jacobian: &[f64], weight: &[f64], score: &[f64], n: &mut [f64], r: &mut [f64]) {
    let rows = r.len();
    let (weight, score) = (blocks(weight), blocks(score));
    let length = weight.len();
    let jacobian = &blocks(jacobian)[..rows * length];
    let row = |j: usize| &jacobian[j * length..(j + 1) * length];
    for j in 0..rows {
        let first = row(j);
        let mut total = L::splat(0.0);
        for (a, s) in first.iter().zip(score) {
            total = L::load(a).madd(L::load(s), total);
        }
        r[j] = total.tree_sum();
        let mut k = j;
        while k < rows {
            let last = rows - 1;
            let [p, q, t, u] = [row(k), row((k + 1).min(last)), row((k + 2).min(last)), row((k + 3).min(last))];
            let mut totals = [L::splat(0.0); 4];
            for b in 0..length {
                let wa = L::load(&first[b]).mul(L::load(&weight[b]));
                totals[0] = wa.madd(L::load(&p[b]), totals[0]);
                totals[1] = wa.madd(L::load(&q[b]), totals[1]);
                totals[2] = wa.madd(L::load(&t[b]), totals[2]);
                totals[3] = wa.madd(L::load(&u[b]), totals[3]);
            }
            for (i, total) in totals.into_iter().enumerate().take(rows - k) {
                let value = total.tree_sum();
                n[j * rows + k + i] = value;
                n[(k + i) * rows + j] = value;
            }
            k += 4;
        }
    }
}

dispatch! {
    fn normal_at / normal_body(jacobian: &[f64], weight: &[f64], score: &[f64], n: &mut [f64], r: &mut [f64])
}

/// The normal matrix and right side.
///
/// # Shapes
/// `jacobian` `[row, slot]`, `weight` and `score` `[slot]` (zero in padding),
/// `n` `[row, row]`, `r` `[row]`.
pub fn normal_equations(jacobian: &[f64], weight: &[f64], score: &[f64], n: &mut [f64], r: &mut [f64]) {
    normal_at(crate::simd::level(), jacobian, weight, score, n, r);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_plain_sums() {
        for rows in 1..11 {
            let slots = 24;
            let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
            let jacobian: Vec<f64> = (0..rows * slots).map(value).collect();
            let weight: Vec<f64> = (0..slots).map(|i| value(i + 7) + 1.0).collect();
            let score: Vec<f64> = (0..slots).map(|i| value(i + 3)).collect();
            let (mut n, mut r) = (vec![9.0; rows * rows], vec![9.0; rows]);
            normal_equations(&jacobian, &weight, &score, &mut n, &mut r);
            for j in 0..rows {
                let plain: f64 = (0..slots).map(|i| jacobian[j * slots + i] * score[i]).sum();
                assert!((r[j] - plain).abs() < 1e-13);
                for k in 0..rows {
                    let plain: f64 =
                        (0..slots).map(|i| weight[i] * jacobian[j * slots + i] * jacobian[k * slots + i]).sum();
                    assert!((n[j * rows + k] - plain).abs() < 1e-13, "{rows} {j} {k}");
                }
            }
        }
    }
}
