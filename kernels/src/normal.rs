//! The normal equations of a weighted least-squares step,
//!
//! $$N_{jk} = \sum_i w_i J_{ji}J_{ki},\qquad r_j = \sum_i s_i J_{ji}$$
//!
//! and products of rows with a vector alone, from a Jacobian stored one row a parameter over padded slots. Tiles of two by
//! four rows are accumulated at a time (eight sums in flight hide the latency of
//! the additions), each by eight lanes and a fixed tree.
//!
//! Validated by `equals_plain_sums` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::blocks;

#[inline(always)]
fn products_body<L: Lanes>(rows: &[f64], x: &[f64], out: &mut [f64]) {
    let count = out.len();
    if count == 0 {
        return;
    }
    let x = blocks(x);
    let length = x.len();
    let rows = &blocks(rows)[..count * length];
    // Past the last row the last one is repeated and its sums are not used.
    let row = |j: usize| {
        let j = j.min(count - 1);
        &rows[j * length..(j + 1) * length]
    };
    let mut j = 0;
    while j < count {
        let (p, q, t, u) = (row(j), row(j + 1), row(j + 2), row(j + 3));
        let mut totals = [L::splat(0.0); 4];
        for b in 0..length {
            let s = L::load(&x[b]);
            totals[0] = s.madd(L::load(&p[b]), totals[0]);
            totals[1] = s.madd(L::load(&q[b]), totals[1]);
            totals[2] = s.madd(L::load(&t[b]), totals[2]);
            totals[3] = s.madd(L::load(&u[b]), totals[3]);
        }
        for (i, total) in totals.into_iter().enumerate().take(count - j) {
            out[j + i] = total.tree_sum();
        }
        j += 4;
    }
}

#[inline(always)]
fn normal_body<L: Lanes>(
    jacobian: &[f64],
    weight: &[f64],
    score: &[f64],
    n: &mut [f64],
    r: &mut [f64],
) {
    let rows = r.len();
    if rows == 0 {
        return;
    }
    let (weight, score) = (blocks(weight), blocks(score));
    let length = weight.len().min(score.len());
    let weight = &weight[..length];
    products_body::<L>(jacobian, score[..length].as_flattened(), r);
    let jacobian = &blocks(jacobian)[..rows * length];
    let row = |j: usize| {
        let j = j.min(rows - 1);
        &jacobian[j * length..(j + 1) * length]
    };
    let mut j = 0;
    while j < rows {
        let (first, second) = (row(j), row(j + 1));
        let mut k = j;
        while k < rows {
            let (p, q, t, u) = (row(k), row(k + 1), row(k + 2), row(k + 3));
            let mut totals = [[L::splat(0.0); 4]; 2];
            for b in 0..length {
                let w = L::load(&weight[b]);
                let (wa, wb) = (w.mul(L::load(&first[b])), w.mul(L::load(&second[b])));
                let (p, q, t, u) = (L::load(&p[b]), L::load(&q[b]), L::load(&t[b]), L::load(&u[b]));
                totals[0][0] = wa.madd(p, totals[0][0]);
                totals[0][1] = wa.madd(q, totals[0][1]);
                totals[0][2] = wa.madd(t, totals[0][2]);
                totals[0][3] = wa.madd(u, totals[0][3]);
                totals[1][0] = wb.madd(p, totals[1][0]);
                totals[1][1] = wb.madd(q, totals[1][1]);
                totals[1][2] = wb.madd(t, totals[1][2]);
                totals[1][3] = wb.madd(u, totals[1][3]);
            }
            for (i, totals) in totals.into_iter().enumerate().take(rows - j) {
                for (l, total) in totals.into_iter().enumerate().take(rows - k) {
                    if k + l >= j + i {
                        let value = total.tree_sum();
                        n[(j + i) * rows + k + l] = value;
                        n[(k + l) * rows + j + i] = value;
                    }
                }
            }
            k += 4;
        }
        j += 2;
    }
}

dispatch! {
    fn normal_at / normal_body(jacobian: &[f64], weight: &[f64], score: &[f64], n: &mut [f64], r: &mut [f64])
}

dispatch! {
    fn products_at / products_body(rows: &[f64], x: &[f64], out: &mut [f64])
}

/// The products of rows with a vector: $o_j = \sum_i R_{ji}x_i$.
///
/// # Shapes
/// `rows` `[row, slot]`, `x` `[slot]` (padded to a multiple of eight, zero in
/// padding or where the rows are), `out` `[row]`.
pub fn products(rows: &[f64], x: &[f64], out: &mut [f64]) {
    products_at(crate::simd::level(), rows, x, out);
}

/// The normal matrix and right side.
///
/// # Shapes
/// `jacobian` `[row, slot]`, `weight` and `score` `[slot]` (zero in padding),
/// `n` `[row, row]`, `r` `[row]`.
pub fn normal_equations(
    jacobian: &[f64],
    weight: &[f64],
    score: &[f64],
    n: &mut [f64],
    r: &mut [f64],
) {
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
            let mut alone = vec![9.0; rows];
            products(&jacobian, &score, &mut alone);
            assert_eq!(alone, r);
            for j in 0..rows {
                let plain: f64 = (0..slots).map(|i| jacobian[j * slots + i] * score[i]).sum();
                assert!((r[j] - plain).abs() < 1e-13);
                for k in 0..rows {
                    let plain: f64 = (0..slots)
                        .map(|i| weight[i] * jacobian[j * slots + i] * jacobian[k * slots + i])
                        .sum();
                    assert!((n[j * rows + k] - plain).abs() < 1e-13, "{rows} {j} {k}");
                }
            }
        }
    }
}
