//! First differences of neighbours along the axes of an image, and their transpose.
//!
//! $$(D_a x)_i = x_{i+e_a} - x_i ,\qquad (D_a x)_i = 0 \text{ at the last index of axis } a$$
//!
//! so that $\sum_a D_a^TD_a$ is the Laplacian of the grid with free ends (Neumann), whose
//! eigenvectors are the cosines of the DCT-II.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | any | image `[y, x]` or `[z, y, x]`, the last axis fastest |
//! | $e_a$ | 1 | one step of the index along axis $a$ |
//!
//! Source: Strang 1999, doi:10.1137/S0036144598336745 (the boundary conditions of the DCT-II).
//! Validated by the tests below.

use crate::ray::Real;

/// Values before, along and after an axis.
fn extents(shape: &[usize], axis: usize) -> [usize; 3] {
    let before = shape.iter().take(axis).product();
    let after = shape.iter().skip(axis + 1).product();
    [before, shape.get(axis).copied().unwrap_or(1), after]
}

/// Writes $D_a x$ over `out`.
///
/// # Shapes
/// `x` and `out` are of `shape`.
///
/// # Panics
/// When a slice has another length than `shape` says.
pub fn difference<T: Real>(shape: &[usize], axis: usize, x: &[T], out: &mut [T]) {
    let [before, n, after] = extents(shape, axis);
    assert!(x.len() == before * n * after && out.len() == x.len());
    let block = n * after;
    for (x, out) in x.chunks_exact(block.max(1)).zip(out.chunks_exact_mut(block.max(1))) {
        let (inner, last) = out.split_at_mut(block - after);
        for ((o, a), b) in inner.iter_mut().zip(x).zip(&x[after..]) {
            *o = T::narrow(b.wide() - a.wide());
        }
        last.fill(T::default());
    }
}

/// Adds $w D_a^T y$ to `out`; the last index of the axis of `y` is not looked at.
///
/// # Shapes
/// `y` and `out` are of `shape`.
///
/// # Panics
/// When a slice has another length than `shape` says.
pub fn add_difference_transpose<T: Real>(
    shape: &[usize],
    axis: usize,
    weight: f64,
    y: &[T],
    out: &mut [T],
) {
    let [before, n, after] = extents(shape, axis);
    assert!(y.len() == before * n * after && out.len() == y.len());
    let block = n * after;
    for (y, out) in y.chunks_exact(block.max(1)).zip(out.chunks_exact_mut(block.max(1))) {
        let y = &y[..block - after];
        for (o, y) in out.iter_mut().zip(y) {
            *o = T::narrow(o.wide() - weight * y.wide());
        }
        for (o, y) in out[after..].iter_mut().zip(y) {
            *o = T::narrow(o.wide() + weight * y.wide());
        }
    }
}

/// Adds $w \sum_a D_a^TD_a x$ to `out`.
///
/// # Shapes
/// `x` and `out` are of `shape`.
///
/// # Panics
/// When a slice has another length than `shape` says.
pub fn add_laplacian<T: Real>(shape: &[usize], weight: f64, x: &[T], out: &mut [T]) {
    for axis in 0..shape.len() {
        let [before, n, after] = extents(shape, axis);
        assert!(x.len() == before * n * after && out.len() == x.len());
        let block = n * after;
        for (x, out) in x.chunks_exact(block.max(1)).zip(out.chunks_exact_mut(block.max(1))) {
            let steps = x.iter().zip(&x[after..]);
            for (o, (a, b)) in out.iter_mut().zip(steps.clone()) {
                *o = T::narrow(o.wide() - weight * (b.wide() - a.wide()));
            }
            for (o, (a, b)) in out[after..].iter_mut().zip(steps) {
                *o = T::narrow(o.wide() + weight * (b.wide() - a.wide()));
            }
        }
    }
}

/// Eigenvalues $\sum_a 2 - 2\cos(\pi k_a/n_a)$ of $\sum_a D_a^TD_a$, in the order of the
/// coefficients of the DCT-II along every axis.
pub fn laplacian_eigenvalues(shape: &[usize]) -> Vec<f64> {
    let mut out = vec![0.0];
    for &n in shape {
        let of_axis = |k: usize| 2.0 - 2.0 * (std::f64::consts::PI * k as f64 / n as f64).cos();
        out = out.iter().flat_map(|v| (0..n).map(move |k| v + of_axis(k))).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_a_small_image() {
        let x = [1.0, 4.0, 9.0, 2.0, 8.0, 18.0];
        let mut out = [7.0; 6];
        difference(&[2, 3], 1, &x, &mut out);
        assert_eq!(out, [3.0, 5.0, 0.0, 6.0, 10.0, 0.0]);
        difference(&[2, 3], 0, &x, &mut out);
        assert_eq!(out, [1.0, 4.0, 9.0, 0.0, 0.0, 0.0]);
        difference(&[2, 1, 3], 1, &x, &mut out);
        assert_eq!(out, [0.0; 6]);
    }

    #[test]
    fn transpose_and_laplacian_belong_to_the_difference() {
        let shape = [3, 4, 5];
        let x: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 13).sin()).collect();
        let y: Vec<f64> = (0..60).map(|i| f64::from(i * 5 % 11).cos()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut squares = 0.0;
        for axis in 0..3 {
            let (mut dx, mut dty) = (vec![0.0; 60], vec![0.0; 60]);
            difference(&shape, axis, &x, &mut dx);
            add_difference_transpose(&shape, axis, 1.0, &y, &mut dty);
            assert!((dot(&dx, &y) - dot(&x, &dty)).abs() < 1e-13);
            squares += dot(&dx, &dx);
        }
        let mut laplacian = vec![0.0; 60];
        add_laplacian(&shape, 2.0, &x, &mut laplacian);
        assert!((dot(&x, &laplacian) - 2.0 * squares).abs() < 1e-12);
    }

    #[test]
    fn cosines_are_eigenvectors() {
        let shape = [4, 6];
        let values = laplacian_eigenvalues(&shape);
        let cosine = |k: usize, n: usize, i: usize| {
            (std::f64::consts::PI * (k * (2 * i + 1)) as f64 / (2 * n) as f64).cos()
        };
        for (k, value) in values.iter().enumerate() {
            let v: Vec<f64> =
                (0..24).map(|i| cosine(k / 6, 4, i / 6) * cosine(k % 6, 6, i % 6)).collect();
            let mut out = vec![0.0; 24];
            add_laplacian(&shape, 1.0, &v, &mut out);
            for (o, v) in out.iter().zip(&v) {
                assert!((o - value * v).abs() < 1e-13);
            }
        }
    }
}
