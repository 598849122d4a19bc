//! Small dense symmetric matrices on slices: Cholesky and inverse. Sizes are the free
//! parameters of a voxel (2 to 20), far below where a linear-algebra library pays for its call.
//!
//! Source: Golub & Van Loan 2013, *Matrix Computations*, alg. 4.2.1.
//! Validated by the tests below.

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

/// The inverse of any square matrix, by elimination with the largest pivot of a column;
/// `None` where it has none to rounding.
///
/// # Shapes
/// `a` `[n, n]`, result `[n, n]`.
pub fn invert(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut a = a.to_vec();
    let mut out: Vec<f64> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
    let largest = a.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    for j in 0..n {
        let pivot = (j..n).max_by(|x, y| a[x * n + j].abs().total_cmp(&a[y * n + j].abs()))?;
        let p = a[pivot * n + j];
        if !(p.is_finite() && p.abs() > 1e-13 * largest) {
            return None;
        }
        for k in 0..n {
            a.swap(j * n + k, pivot * n + k);
            out.swap(j * n + k, pivot * n + k);
            a[j * n + k] /= p;
            out[j * n + k] /= p;
        }
        for i in (0..n).filter(|&i| i != j) {
            let factor = a[i * n + j];
            if factor != 0.0 {
                for k in 0..n {
                    a[i * n + k] -= factor * a[j * n + k];
                    out[i * n + k] -= factor * out[j * n + k];
                }
            }
        }
    }
    Some(out)
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
    fn inverses_of_any_matrix() {
        let a = [0.0, 2.0, 1.0, 1.0, -1.0, 0.5, 3.0, 0.0, 1.0];
        let inverse = invert(&a, 3).unwrap_or_default();
        assert_eq!(inverse.len(), 9);
        for i in 0..3 {
            for j in 0..3 {
                let sum: f64 = (0..3).map(|k| a[i * 3 + k] * inverse[k * 3 + j]).sum();
                let truth = if i == j { 1.0 } else { 0.0 };
                assert!((sum - truth).abs() < 1e-14, "{i} {j} {sum}");
            }
        }
        assert!(invert(&[1.0, 2.0, 2.0, 4.0], 2).is_none());
    }
}
