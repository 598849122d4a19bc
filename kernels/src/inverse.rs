//! The inverse of a symmetric matrix that gains and loses rows: what an active-set
//! search needs of the normal matrix of its active constraints.
//!
//! With $M = A^{-1}$, $u = M a$ and the Schur complement $s = \alpha - a^T u$,
//!
//! $$\begin{pmatrix}A & a\\ a^T & \alpha\end{pmatrix}^{-1} =
//! \begin{pmatrix}M & 0\\ 0 & 0\end{pmatrix} + \frac1s \begin{pmatrix}u\\-1\end{pmatrix}\begin{pmatrix}u\\-1\end{pmatrix}^T,
//! \qquad \mathrm{and\ back:}\quad M' = M - m_k m_k^T / m_{kk}.$$
//!
//! Every step is a sum of rows or an update of rank one, without chains of
//! dependent additions, which for 20 rows is faster than a triangular factor.
//!
//! Source: Hager 1989, doi:10.1137/1031049, sec. 1 and 2.
//! Validated by `bordering_and_deflation_invert` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{LANES, blocks, blocks_mut};

/// The inverse of a growing matrix; rows are padded with zeros to blocks of eight.
#[derive(Debug, Clone)]
pub struct GrowingInverse {
    stride: usize,
    size: usize,
    values: Vec<f64>,
    u: Vec<f64>,
}

#[inline(always)]
fn product_body<L: Lanes>(matrix: &[f64], stride: usize, size: usize, x: &[f64], out: &mut [f64]) {
    let width = size.div_ceil(LANES);
    let out = blocks_mut(out);
    let mut b = 0;
    while b < width {
        let mut first = L::splat(0.0);
        let mut second = L::splat(0.0);
        let column = &matrix[b * LANES..];
        let mut k = 0;
        while k + 2 <= size {
            let (p, q) = (&column[k * stride..], &column[(k + 1) * stride..]);
            first = L::splat(x[k]).madd(L::load(&blocks(p)[0]), first);
            second = L::splat(x[k + 1]).madd(L::load(&blocks(q)[0]), second);
            k += 2;
        }
        if k < size {
            first = L::splat(x[k]).madd(L::load(&blocks(&column[k * stride..])[0]), first);
        }
        first.add(second).store(&mut out[b]);
        b += 1;
    }
}

dispatch! {
    fn product_at / product_body(matrix: &[f64], stride: usize, size: usize, x: &[f64], out: &mut [f64])
}

#[inline(always)]
fn rank_one_body<L: Lanes>(matrix: &mut [f64], stride: usize, size: usize, factor: f64, u: &[f64]) {
    let width = size.div_ceil(LANES);
    let mut k = 0;
    while k < size {
        let row = blocks_mut(&mut matrix[k * stride..(k + 1) * stride]);
        let w = L::splat(factor * u[k]);
        let u = blocks(u);
        let mut b = 0;
        while b < width {
            w.madd(L::load(&u[b]), L::load(&row[b])).store(&mut row[b]);
            b += 1;
        }
        k += 1;
    }
}

dispatch! {
    fn rank_one_at / rank_one_body(matrix: &mut [f64], stride: usize, size: usize, factor: f64, u: &[f64])
}

impl GrowingInverse {
    /// Of a matrix without rows, with room for so many.
    pub fn new(most: usize) -> Self {
        let stride = most.next_multiple_of(LANES).max(LANES);
        Self { stride, size: 0, values: vec![0.0; stride * stride], u: vec![0.0; stride] }
    }

    /// Number of rows.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Length that vectors must have: the room, padded to blocks of eight.
    pub fn padded(&self) -> usize {
        self.stride
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        let used = self.size * self.stride;
        self.values[..used].fill(0.0);
        self.size = 0;
    }

    /// The product with a vector.
    ///
    /// # Shapes
    /// `x` and `out` of [`GrowingInverse::padded`].
    pub fn multiply(&self, x: &[f64], out: &mut [f64]) {
        product_at(crate::simd::level(), &self.values, self.stride, self.size, x, out);
    }

    /// Adds a row to the matrix: `row` its products with the rows that are there,
    /// `diagonal` its own. `false`, without a change, when the row depends on the
    /// others to `tolerance` of its diagonal or there is no room.
    ///
    /// # Shapes
    /// `row` of [`GrowingInverse::padded`].
    pub fn push(&mut self, row: &[f64], diagonal: f64, tolerance: f64) -> bool {
        let n = self.size;
        if n == self.stride {
            return false;
        }
        let level = crate::simd::level();
        let Self { values, u, stride, .. } = self;
        u.fill(0.0);
        product_at(level, values, *stride, n, row, u);
        let s = diagonal - row[..n].iter().zip(&*u).map(|(a, b)| a * b).sum::<f64>();
        if s.is_nan() || s <= tolerance * diagonal {
            return false;
        }
        u[n] = -1.0;
        rank_one_at(level, values, *stride, n + 1, 1.0 / s, u);
        self.size = n + 1;
        true
    }

    /// Removes a row; those behind it move up.
    pub fn remove(&mut self, k: usize) {
        let (n, stride) = (self.size, self.stride);
        self.u.copy_from_slice(&self.values[k * stride..(k + 1) * stride]);
        let factor = -1.0 / self.u[k];
        rank_one_at(crate::simd::level(), &mut self.values, stride, n, factor, &self.u);
        for i in 0..n {
            let row = &mut self.values[i * stride..(i + 1) * stride];
            row.copy_within(k + 1..n, k);
            row[n - 1] = 0.0;
        }
        self.values.copy_within((k + 1) * stride..n * stride, k * stride);
        self.values[(n - 1) * stride..n * stride].fill(0.0);
        self.size = n - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A positive matrix of any size.
    fn entry(i: usize, j: usize) -> f64 {
        let (a, b) = (i.min(j), i.max(j));
        (-(0.3 * (b - a) as f64)).exp() + if i == j { 0.5 + 0.1 * i as f64 } else { 0.0 }
    }

    fn check(inverse: &GrowingInverse, kept: &[usize]) {
        assert_eq!(inverse.size(), kept.len());
        let mut x = vec![0.0; inverse.padded()];
        let mut out = x.clone();
        for (k, i) in kept.iter().enumerate() {
            for (l, j) in kept.iter().enumerate() {
                x[l] = entry(*i, *j);
            }
            inverse.multiply(&x, &mut out);
            for (l, o) in out.iter().enumerate() {
                assert!((o - f64::from(k == l)).abs() < 1e-12, "{k} {l} {o}");
            }
        }
    }

    #[test]
    fn bordering_and_deflation_invert() {
        let mut inverse = GrowingInverse::new(20);
        let mut kept: Vec<usize> = Vec::new();
        let mut row = vec![0.0; inverse.padded()];
        for step in 0..60 {
            let next = (step * 7) % 20;
            if let Some(at) = kept.iter().position(|k| *k == next) {
                inverse.remove(at);
                kept.remove(at);
            } else {
                row.fill(0.0);
                for (r, k) in row.iter_mut().zip(&kept) {
                    *r = entry(*k, next);
                }
                assert!(inverse.push(&row, entry(next, next), 1e-12));
                // The same row again depends on the others.
                let mut again = row.clone();
                again[kept.len()] = entry(next, next);
                assert!(!inverse.push(&again, entry(next, next), 1e-12));
                kept.push(next);
            }
            check(&inverse, &kept);
        }
        inverse.clear();
        check(&inverse, &[]);
    }
}
