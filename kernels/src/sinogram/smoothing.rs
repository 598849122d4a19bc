//! Rings by smoothing: the mean over views of each column is compared with its own moving
//! average, and the difference is subtracted from every view.
//!
//! $$q_{k,u} = p_{k,u} - (m_u - \bar m_u),\qquad m_u = \frac1n\sum_k p_{k,u}$$
//!
//! with the moving average $\bar m$ over `size` columns.
//!
//! Source: Boin & Haibel 2006, doi:10.1364/OE.14.012071. Validated by
//! `stripes_go_and_the_object_stays` in `inference/tests/suite/prepare.rs` and the test below.

use super::mirrored;
use crate::ray::Real;

/// Removes stripes of a sinogram `[view, u]`.
pub fn remove_stripes<T: Real>(sinogram: &mut [T], nu: usize, size: usize) {
    let n = sinogram.len() / nu.max(1);
    if n == 0 || size < 2 {
        return;
    }
    let mut mean = vec![0.0; nu];
    for row in sinogram.chunks_exact(nu) {
        mean.iter_mut().zip(row).for_each(|(m, v)| *m += v.wide() / n as f64);
    }
    let (length, half) = (nu as isize, (size / 2) as isize);
    let window = |u: usize| (u as isize - half)..=(u as isize + half);
    let stripe: Vec<f64> = (0..nu)
        .map(|u| {
            let sum: f64 = window(u).map(|k| mean[mirrored(k, length)]).sum();
            mean[u] - sum / (2 * half + 1) as f64
        })
        .collect();
    for row in sinogram.chunks_exact_mut(nu) {
        row.iter_mut().zip(&stripe).for_each(|(v, s)| *v = T::narrow(v.wide() - s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_shrinks_by_its_share_of_the_window() {
        let (n, nu) = (7, 20);
        let mut s: Vec<f64> = (0..n * nu).map(|at| f64::from(at % nu == 9)).collect();
        remove_stripes(&mut s, nu, 5);
        for row in s.chunks_exact(nu) {
            assert!((row[9] - 0.2).abs() < 1e-15 && (row[8] - 0.2).abs() < 1e-15);
            assert_eq!(row[3], 0.0);
        }
    }
}
