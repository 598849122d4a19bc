//! Small dense symmetric matrices on slices: Cholesky, inverse, eigenvectors of
//! 3x3. Sizes are the free parameters of a voxel (2 to 20), far below where a
//! linear-algebra library pays for its call.
//!
//! Source: Golub & Van Loan 2013, *Matrix Computations*, alg. 4.2.1 (Cholesky)
//! and 8.5.2 (cyclic Jacobi). Validated by the tests below.

/// Factors the leading `n` x `n` part in place into its lower triangle L with
/// A = L Lᵀ; `false` when a pivot falls below `tolerance` times its diagonal.
pub fn cholesky(a: &mut [f64], n: usize, tolerance: f64) -> bool {
    for j in 0..n {
        let diagonal = a[j * n + j];
        let mut d = diagonal;
        for k in 0..j {
            d -= a[j * n + k] * a[j * n + k];
        }
        if !(d > tolerance * diagonal.abs() && d > 0.0) {
            return false;
        }
        let pivot = d.sqrt();
        a[j * n + j] = pivot;
        for i in j + 1..n {
            let mut s = a[i * n + j];
            for k in 0..j {
                s -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = s / pivot;
        }
    }
    true
}

/// Solves L Lᵀ x = b in place.
pub fn cholesky_solve(l: &[f64], n: usize, b: &mut [f64]) {
    forward(l, n, b);
    backward(l, n, b);
}

/// Solves L x = b in place.
pub fn forward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let mut s = b[i];
        for k in 0..i {
            s -= l[i * n + k] * b[k];
        }
        b[i] = s / l[i * n + i];
    }
}

/// Solves Lᵀ x = b in place.
pub fn backward(l: &[f64], n: usize, b: &mut [f64]) {
    for i in (0..n).rev() {
        let mut s = b[i];
        for k in i + 1..n {
            s -= l[k * n + i] * b[k];
        }
        b[i] = s / l[i * n + i];
    }
}

/// (L Lᵀ)⁻¹ = Mᵀ M with M = L⁻¹.
pub fn cholesky_inverse(l: &[f64], n: usize) -> Vec<f64> {
    let mut m = vec![0.0; n * n];
    for i in 0..n {
        let pivot = 1.0 / l[i * n + i];
        m[i * n + i] = pivot;
        for j in 0..i {
            let mut s = 0.0;
            for k in j..i {
                s -= l[i * n + k] * m[k * n + j];
            }
            m[i * n + j] = s * pivot;
        }
    }
    let mut out = vec![0.0; n * n];
    for (k, row) in m.chunks_exact(n.max(1)).enumerate() {
        for (i, weight) in row.iter().enumerate().take(k + 1) {
            for (o, v) in out[i * n..=i * n + i].iter_mut().zip(row) {
                *o += weight * v;
            }
        }
    }
    for i in 0..n {
        for j in 0..i {
            out[j * n + i] = out[i * n + j];
        }
    }
    out
}

/// Eigenvalues (falling) and unit eigenvectors (rows) of a symmetric matrix by
/// cyclic Jacobi rotations.
///
/// # Shapes
/// `a` `[n, n]`; values `[n]`, vectors `[n, n]`.
///
/// Source: Golub & Van Loan, *Matrix Computations*, 4th ed., algorithm 8.5.2.
pub fn eigen_symmetric(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut m = a.to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let scale = m.iter().fold(0.0_f64, |s, x| s.max(x.abs()));
    for _ in 0..60 {
        let mut off = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                let apq = m[p * n + q];
                off += apq.abs();
                if apq == 0.0 {
                    continue;
                }
                let theta = (m[q * n + q] - m[p * n + p]) / (2.0 * apq);
                let sign = if theta < 0.0 { -1.0 } else { 1.0 };
                let t = sign / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    let (x, y) = (m[k * n + p], m[k * n + q]);
                    m[k * n + p] = c * x - s * y;
                    m[k * n + q] = s * x + c * y;
                }
                for k in 0..n {
                    let (x, y) = (m[p * n + k], m[q * n + k]);
                    m[p * n + k] = c * x - s * y;
                    m[q * n + k] = s * x + c * y;
                    let (x, y) = (v[p * n + k], v[q * n + k]);
                    v[p * n + k] = c * x - s * y;
                    v[q * n + k] = s * x + c * y;
                }
            }
        }
        if off <= 1e-15 * scale {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| m[j * n + j].total_cmp(&m[i * n + i]));
    let values = order.iter().map(|&i| m[i * n + i]).collect();
    let vectors = order.iter().flat_map(|&i| v[i * n..(i + 1) * n].to_vec()).collect();
    (values, vectors)
}

/// Eigenvalues (falling) and unit eigenvectors of a symmetric 3x3 matrix.
pub fn eigen_3x3(a: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut m = a;
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let scale = m.iter().flatten().fold(0.0_f64, |s, x| s.max(x.abs()));
    for _ in 0..30 {
        let off = m[0][1].abs() + m[0][2].abs() + m[1][2].abs();
        if off <= 1e-15 * scale {
            break;
        }
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if m[p][q] == 0.0 {
                continue;
            }
            let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let t = if theta == 0.0 { 1.0 } else { t };
            let c = 1.0 / (t * t + 1.0).sqrt();
            let s = t * c;
            for row in &mut m {
                let (x, y) = (row[p], row[q]);
                row[p] = c * x - s * y;
                row[q] = s * x + c * y;
            }
            let (x, y) = (m[p], m[q]);
            m[p] = std::array::from_fn(|k| c * x[k] - s * y[k]);
            m[q] = std::array::from_fn(|k| s * x[k] + c * y[k]);
            for row in &mut v {
                let (x, y) = (row[p], row[q]);
                row[p] = c * x - s * y;
                row[q] = s * x + c * y;
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| m[j][j].total_cmp(&m[i][i]));
    let values = order.map(|i| m[i][i]);
    let vectors = order.map(|i| [v[0][i], v[1][i], v[2][i]]);
    (values, vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_inverts() {
        let a = [4.0, 1.0, 0.5, 1.0, 3.0, -0.2, 0.5, -0.2, 2.0];
        let mut l = a;
        assert!(cholesky(&mut l, 3, 1e-12));
        let inverse = cholesky_inverse(&l, 3);
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| a[i * 3 + k] * inverse[k * 3 + j]).sum();
                assert!((product - f64::from(i == j)).abs() < 1e-14);
            }
        }
        let mut singular = [1.0, 1.0, 1.0, 1.0];
        assert!(!cholesky(&mut singular, 2, 1e-12));
    }

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
