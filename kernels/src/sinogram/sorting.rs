//! Rings by sorting: values of every column are sorted, a median across the columns smooths
//! what stands at one rank, and the values go back to their views.
//!
//! A defect of a pixel shifts the whole sorted column; the object does not, since neighbouring
//! columns hold almost the same values, only in another order.
//!
//! Source: Vo, Atwood & Drakopoulos 2018, doi:10.1364/OE.26.028396, algorithm 3. Validated by
//! `stripes_go_and_the_object_stays` in `inference/tests/suite/prepare.rs` and the tests below.

use super::median_filter;
use crate::ray::Real;

/// Removes stripes of a sinogram `[view, u]`; `size` columns go into a median.
pub fn remove_stripes<T: Real>(sinogram: &mut [T], nu: usize, size: usize) {
    let n = sinogram.len() / nu.max(1);
    if n == 0 || size < 2 {
        return;
    }
    // Sorted columns `[u, rank]` and the view of every rank.
    let mut order: Vec<u32> = vec![0; n * nu];
    let mut ranked = vec![0.0; n * nu];
    for (u, order) in order.chunks_exact_mut(n).enumerate() {
        order.iter_mut().enumerate().for_each(|(k, o)| *o = k as u32);
        let value = |k: &u32| sinogram[*k as usize * nu + u].wide();
        order.sort_by(|a, b| value(a).total_cmp(&value(b)));
        for (rank, k) in order.iter().enumerate() {
            ranked[rank * nu + u] = value(k);
        }
    }
    let (mut window, mut smooth) = (Vec::with_capacity(size), vec![0.0; nu]);
    for (rank, row) in ranked.chunks_exact(nu).enumerate() {
        median_filter(row, size, &mut window, &mut smooth);
        for (u, v) in smooth.iter().enumerate() {
            let view = order[u * n + rank] as usize;
            sinogram[view * nu + u] = T::narrow(*v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shifted_column_returns() {
        // Every column holds the same values in another order.
        let (n, nu) = (16, 9);
        let mut clean = vec![0.0; n * nu];
        for k in 0..n {
            for u in 0..nu {
                clean[k * nu + u] = ((k + 3 * u) % n) as f64;
            }
        }
        let mut striped = clean.clone();
        (0..n).for_each(|k| striped[k * nu + 4] += 2.5);
        remove_stripes(&mut striped, nu, 3);
        assert_eq!(striped, clean);
    }
}
