//! A weighted sum of rows of a matrix,
//!
//! $$o_j \mathrel{+}= \sum_k w_k M_{i_k j},$$
//!
//! the product of a few columns' worth of numbers with a table that all voxels
//! share. Columns go in tiles of 64 whose sums stay in registers over all rows.
//!
//! Validated by `equals_plain_sums` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES, blocks_mut};

/// Blocks of a tile.
const TILE: usize = 8;

#[inline(always)]
fn tile<L: Lanes, const N: usize>(
    matrix: &[f64],
    stride: usize,
    rows: &[u32],
    weight: &[f64],
    at: usize,
    out: &mut [Block],
) {
    let mut sum = [L::splat(0.0); N];
    let mut b = 0;
    while b < N {
        sum[b] = L::load(&out[b]);
        b += 1;
    }
    let mut k = 0;
    while k < rows.len() {
        let begin = rows[k] as usize * stride + at;
        let row = matrix[begin..begin + N * LANES].as_chunks::<LANES>().0;
        let w = L::splat(weight[k]);
        let mut b = 0;
        while b < N {
            sum[b] = w.madd(L::load(&row[b]), sum[b]);
            b += 1;
        }
        k += 1;
    }
    let mut b = 0;
    while b < N {
        sum[b].store(&mut out[b]);
        b += 1;
    }
}

#[inline(always)]
fn add_rows_body<L: Lanes>(
    matrix: &[f64],
    stride: usize,
    rows: &[u32],
    weight: &[f64],
    out: &mut [f64],
) {
    let out = blocks_mut(out);
    let weight = &weight[..rows.len()];
    let mut at = 0;
    while at + TILE <= out.len() {
        tile::<L, TILE>(matrix, stride, rows, weight, at * LANES, &mut out[at..]);
        at += TILE;
    }
    while at + 2 <= out.len() {
        tile::<L, 2>(matrix, stride, rows, weight, at * LANES, &mut out[at..]);
        at += 2;
    }
    if at < out.len() {
        tile::<L, 1>(matrix, stride, rows, weight, at * LANES, &mut out[at..]);
    }
}

dispatch! {
    fn add_rows_at / add_rows_body(matrix: &[f64], stride: usize, rows: &[u32], weight: &[f64], out: &mut [f64])
}

/// Adds weighted rows to `out`.
///
/// # Shapes
/// `matrix` `[row, column]` with `stride` columns, of which the first `out.len()`,
/// a multiple of eight, are used; `rows` and `weight` `[k]`.
pub fn add_rows(matrix: &[f64], stride: usize, rows: &[u32], weight: &[f64], out: &mut [f64]) {
    add_rows_at(crate::simd::level(), matrix, stride, rows, weight, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    #[test]
    fn equals_plain_sums() {
        let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0;
        let stride = 112;
        let matrix: Vec<f64> = (0..9 * stride).map(value).collect();
        let rows = [7_u32, 0, 3, 8];
        let weight = [0.5, -2.0, 1.25, 3.0];
        for columns in [8, 16, 64, 88, 104, 112] {
            for level in SimdLevel::available() {
                let mut out: Vec<f64> = (0..columns).map(|j| value(j + 5)).collect();
                add_rows_at(level, &matrix, stride, &rows, &weight, &mut out);
                for (j, o) in out.iter().enumerate() {
                    let terms = rows.iter().zip(&weight);
                    let plain: f64 = terms.map(|(r, w)| w * matrix[*r as usize * stride + j]).sum();
                    assert!((o - plain - value(j + 5)).abs() < 1e-14, "{columns} {j}");
                }
            }
        }
    }
}
