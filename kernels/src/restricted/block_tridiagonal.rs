//! Block tridiagonal systems: the factorisation by inverses of pivots, and dense matrices.
//!
//! $$P_n = D_n - U_n P_{n+1}^{-1} L_n,\qquad y_n = P_n^{-1}(x_n - U_n y_{n+1} - \dots)$$
//!
//! from the last block, which is small, to the first (Golub & Van Loan 2013, *Matrix
//! Computations*, section 4.5.1). Validated by the tests of `stepped.rs`.

/// A dense matrix by rows.
#[derive(Clone)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f64>,
}

impl Matrix {
    pub(super) fn zero(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }
}

/// The block factorisation of a block tridiagonal matrix: inverses of its pivots.
pub(super) struct Factors {
    inverse: Vec<Matrix>,
    off: Vec<(Matrix, Matrix)>,
}

impl Factors {
    /// `off[n]` are the blocks (n, n + 1) and (n + 1, n).
    pub(super) fn new(diagonal: &[Vec<f64>], off: Vec<(Matrix, Matrix)>) -> Self {
        let mut inverse: Vec<Matrix> = Vec::with_capacity(diagonal.len());
        // From the last block, which is small, to the first.
        for n in (0..diagonal.len()).rev() {
            let size = diagonal[n].len();
            let mut pivot = Matrix::zero(size, size);
            for (i, v) in diagonal[n].iter().enumerate() {
                pivot.values[i * size + i] = *v;
            }
            if let (Some(next), Some((up, down))) = (inverse.last(), off.get(n)) {
                let right = product(next, down);
                let change = product(up, &right);
                for (p, c) in pivot.values.iter_mut().zip(&change.values) {
                    *p -= c;
                }
            }
            inverse.push(inverted(pivot));
        }
        inverse.reverse();
        Self { inverse, off }
    }

    pub(super) fn solve(&self, x: &mut [Vec<f64>]) {
        let last = x.len() - 1;
        // y_n = x_n - U_n P_{n+1}^-1 y_{n+1}, from the last block down.
        for n in (0..last).rev() {
            let solved = multiplied(&self.inverse[n + 1], &x[n + 1]);
            let change = multiplied(&self.off[n].0, &solved);
            for (a, b) in x[n].iter_mut().zip(change) {
                *a -= b;
            }
        }
        for n in 0..=last {
            if n > 0 {
                let change = multiplied(&self.off[n - 1].1, &x[n - 1]);
                for (a, b) in x[n].iter_mut().zip(change) {
                    *a -= b;
                }
            }
            x[n] = multiplied(&self.inverse[n], &x[n]);
        }
    }
}

fn multiplied(m: &Matrix, x: &[f64]) -> Vec<f64> {
    m.values
        .chunks_exact(m.columns.max(1))
        .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum())
        .collect()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut out = Matrix::zero(a.rows, b.columns);
    for (row, out) in a.values.chunks_exact(a.columns).zip(out.values.chunks_exact_mut(b.columns)) {
        for (v, b) in row.iter().zip(b.values.chunks_exact(b.columns)) {
            // The couplings of harmonics are mostly zeros.
            if *v == 0.0 {
                continue;
            }
            for (out, b) in out.iter_mut().zip(b) {
                *out += v * b;
            }
        }
    }
    out
}

/// The inverse by Gauss & Jordan with row exchanges.
fn inverted(mut a: Matrix) -> Matrix {
    let n = a.rows;
    let mut out = Matrix::zero(n, n);
    for i in 0..n {
        out.values[i * n + i] = 1.0;
    }
    for k in 0..n {
        let at = |i: &usize| a.values[i * n + k].abs();
        let best = (k..n).max_by(|i, j| at(i).total_cmp(&at(j))).unwrap_or(k);
        if best != k {
            for c in 0..n {
                a.values.swap(k * n + c, best * n + c);
                out.values.swap(k * n + c, best * n + c);
            }
        }
        let pivot = 1.0 / a.values[k * n + k];
        for c in 0..n {
            a.values[k * n + c] *= pivot;
            out.values[k * n + c] *= pivot;
        }
        let (row, other) =
            (a.values[k * n..(k + 1) * n].to_vec(), out.values[k * n..(k + 1) * n].to_vec());
        for i in (0..n).filter(|i| *i != k) {
            let factor = a.values[i * n + k];
            if factor == 0.0 {
                continue;
            }
            for c in 0..n {
                a.values[i * n + c] -= factor * row[c];
                out.values[i * n + c] -= factor * other[c];
            }
        }
    }
    out
}
