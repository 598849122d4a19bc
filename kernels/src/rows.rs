//! A weighted sum of rows of a matrix,
//!
//! $$o_j \mathrel{+}= \sum_k w_k M_{i_k j},$$
//!
//! the product of a few columns' worth of numbers with a table that all voxels
//! share. Columns go in tiles of 64 whose sums stay in registers over all rows.
//!
//! Validated by `equals_plain_sums` and `sides_together_equal_sides_alone` below.

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

/// Right sides that share what is loaded of a table.
const TOGETHER: usize = 4;

#[inline(always)]
fn tile_each<L: Lanes, const V: usize, const N: usize>(
    matrix: &[f64],
    stride: usize,
    weight: [&[f64]; V],
    at: usize,
    out: &mut [f64],
    width: usize,
) {
    let mut sum = [[L::splat(0.0); N]; V];
    let mut v = 0;
    while v < V {
        let row = out[v * width + at..][..N * LANES].as_chunks::<LANES>().0;
        let mut b = 0;
        while b < N {
            sum[v][b] = L::load(&row[b]);
            b += 1;
        }
        v += 1;
    }
    let mut k = 0;
    while k < weight[0].len() {
        let row = matrix[k * stride + at..][..N * LANES].as_chunks::<LANES>().0;
        let mut v = 0;
        while v < V {
            let w = L::splat(weight[v][k]);
            let mut b = 0;
            while b < N {
                sum[v][b] = w.madd(L::load(&row[b]), sum[v][b]);
                b += 1;
            }
            v += 1;
        }
        k += 1;
    }
    let mut v = 0;
    while v < V {
        let row = out[v * width + at..][..N * LANES].as_chunks_mut::<LANES>().0;
        let mut b = 0;
        while b < N {
            sum[v][b].store(&mut row[b]);
            b += 1;
        }
        v += 1;
    }
}

#[inline(always)]
fn each<L: Lanes, const V: usize>(
    matrix: &[f64],
    stride: usize,
    weights: &[f64],
    out: &mut [f64],
    width: usize,
) {
    let terms = weights.len() / V;
    let mut weight = [&weights[..terms]; V];
    let mut v = 1;
    while v < V {
        weight[v] = &weights[v * terms..][..terms];
        v += 1;
    }
    let mut at = 0;
    while at + 2 * LANES <= width {
        tile_each::<L, V, 2>(matrix, stride, weight, at, out, width);
        at += 2 * LANES;
    }
    if at < width {
        tile_each::<L, V, 1>(matrix, stride, weight, at, out, width);
    }
}

#[inline(always)]
fn add_rows_each_body<L: Lanes>(
    matrix: &[f64],
    stride: usize,
    weights: &[f64],
    sides: usize,
    out: &mut [f64],
) {
    let (terms, width) = (weights.len() / sides, out.len() / sides);
    let mut v = 0;
    while v + TOGETHER <= sides {
        let weights = &weights[v * terms..][..TOGETHER * terms];
        each::<L, TOGETHER>(matrix, stride, weights, &mut out[v * width..], width);
        v += TOGETHER;
    }
    while v < sides {
        let weights = &weights[v * terms..][..terms];
        each::<L, 1>(matrix, stride, weights, &mut out[v * width..], width);
        v += 1;
    }
}

dispatch! {
    fn add_rows_each_at / add_rows_each_body(matrix: &[f64], stride: usize, weights: &[f64], sides: usize, out: &mut [f64])
}

/// Adds all rows to several `out`, each with its own weights; each is what
/// [`add_rows`] makes of it, to the bit.
///
/// # Shapes
/// `matrix` as there, `weights` `[side, row]`, `out` `[side, column]` with a multiple of
/// eight columns.
pub fn add_rows_each(
    matrix: &[f64],
    stride: usize,
    weights: &[f64],
    sides: usize,
    out: &mut [f64],
) {
    if sides > 0 {
        add_rows_each_at(crate::simd::level(), matrix, stride, weights, sides, out);
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
    fn sides_together_equal_sides_alone() {
        let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 49.0 - 1.0;
        let (stride, terms) = (112, 9);
        let matrix: Vec<f64> = (0..terms * stride).map(value).collect();
        let rows: Vec<u32> = (0..terms as u32).collect();
        for (columns, sides) in [(8, 1), (16, 4), (24, 5), (104, 11), (112, 8)] {
            let weights: Vec<f64> = (0..sides * terms).map(|i| value(3 * i + 1)).collect();
            for level in SimdLevel::available() {
                let mut out: Vec<f64> = (0..sides * columns).map(|j| value(j + 5)).collect();
                let mut alone = out.clone();
                add_rows_each_at(level, &matrix, stride, &weights, sides, &mut out);
                for (out, w) in alone.chunks_mut(columns).zip(weights.chunks(terms)) {
                    add_rows_at(level, &matrix, stride, &rows, w, out);
                }
                assert!(out == alone, "{columns} {sides}");
            }
        }
    }

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
