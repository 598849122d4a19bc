//! Eigenvectors of small symmetric matrices by Jacobi's rotations.
//!
//! $$A = V^T\,\mathrm{diag}(\lambda)\,V,\qquad \lambda_1\ge\lambda_2\ge\dots$$
//!
//! Every rotation zeroes one pair of elements; sweeps go on until what is left is
//! below 1e-17 of the largest element, which they reach quadratically.
//!
//! Source: Golub & Van Loan, *Matrix Computations*, 4th ed., algorithm 8.5.2.
//! Validated by `eigenvectors_satisfy_their_equation` below.

/// Diagonalises `a` in place; the rows of `v`, the identity before, become its
/// eigenvectors. Both `[n, n]`.
#[inline(always)]
fn diagonalise(a: &mut [f64], v: &mut [f64], n: usize) {
    let scale = a.iter().fold(0.0_f64, |s, x| s.max(x.abs()));
    for _ in 0..60 {
        let mut off = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                off += apq.abs();
                if apq == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                let t = 1.0_f64.copysign(theta) / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (a[p * n + k], a[q * n + k]);
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                    let (x, y) = (v[p * n + k], v[q * n + k]);
                    v[p * n + k] = c * x - s * y;
                    v[q * n + k] = s * x + c * y;
                }
                a[p * n + q] = 0.0;
                a[q * n + p] = 0.0;
            }
        }
        if off <= 1e-17 * scale {
            break;
        }
    }
}

/// Eigenvalues (falling) and unit eigenvectors (rows) of a symmetric matrix.
///
/// # Shapes
/// `a` `[n, n]`; values `[n]`, vectors `[n, n]`.
pub fn eigen_symmetric(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut a, mut v) = (a.to_vec(), vec![0.0; n * n]);
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    diagonalise(&mut a, &mut v, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let vectors = order.iter().flat_map(|&i| v[i * n..(i + 1) * n].to_vec()).collect();
    (values, vectors)
}

/// Eigenvalues (falling) and unit eigenvectors of a symmetric 3x3 matrix.
///
/// # Example
/// ```
/// use microtome_kernels::eigen::eigen_3x3;
/// let (values, vectors) = eigen_3x3([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0]]);
/// assert!((values[0] - 3.0).abs() < 1e-15 && (vectors[0][1] - vectors[0][2]).abs() < 1e-15);
/// ```
pub fn eigen_3x3(a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let [x, y, z] = a;
    let mut a = [x[0], x[1], x[2], y[0], y[1], y[2], z[0], z[1], z[2]];
    let mut v = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    diagonalise(&mut a, &mut v, 3);
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| a[4 * j].total_cmp(&a[4 * i]));
    (order.map(|i| a[4 * i]), order.map(|i| [v[3 * i], v[3 * i + 1], v[3 * i + 2]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_of_any_size_satisfy_their_equation() {
        let n = 6;
        let entry = |i: usize, j: usize| ((i * j + 3 * (i + j) + 1) % 7) as f64 - 2.0;
        let a: Vec<f64> = (0..n * n).map(|k| entry(k / n, k % n)).collect();
        let (values, vectors) = eigen_symmetric(&a, n);
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        for (l, v) in values.iter().zip(vectors.chunks(n)) {
            for i in 0..n {
                let av: f64 = (0..n).map(|k| a[i * n + k] * v[k]).sum();
                assert!((av - l * v[i]).abs() < 1e-12, "{av} {}", l * v[i]);
            }
            assert!((v.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn eigenvectors_satisfy_their_equation() {
        let a = [[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 3.0]];
        let (values, vectors) = eigen_3x3(a);
        assert!(values[0] >= values[1] && values[1] >= values[2]);
        for (l, v) in values.iter().zip(&vectors) {
            for i in 0..3 {
                let av: f64 = (0..3).map(|k| a[i][k] * v[k]).sum();
                assert!((av - l * v[i]).abs() < 1e-13);
            }
        }
    }
}
