//! The variance of a backprojection whose projections are correlated along their rows.
//!
//! $$\mathrm{Var}(x_j) = \sum_k \bigl(s_k\omega_k W_{kj}^{-2}\bigr)^2\sum_{i_v} b_{i_v}^2
//! \bigl[(1-t)^2 A_{i_v,i} + t^2A_{i_v,i+1} + 2t(1-t)B_{i_v,i}\bigr]$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $A_{i_v,i}$ | any | variance of a pixel |
//! | $B_{i_v,i}$ | the same | covariance of a pixel and the next one of its row |
//! | $i, t$ | 1 | the pixel before the voxel's place along u, and the rest |
//! | $b_{i_v}$ | 1 | shares of the two rows about its place along v |
//!
//! Rows and views are independent of each other. All else is as in [`super::backproject`].
//!
//! Source: the variance of a sum; Wunderlich & Noo 2008, doi:10.1088/0031-9155/53/10/002 (of fans).
//! Validated by `variances_are_those_of_the_matrix` below.

use super::Weights;
use super::matrix::{Matrix, NEAR, at};
use crate::ray::{Grid, Panel, View};
use rayon::prelude::*;

/// Adds the variances of the voxels to a volume.
///
/// # Shapes
/// `variance` and `covariance` `[view, v, u]`, the last covariance of a row unused, `volume`
/// `[z, y, x]`.
///
/// # Panics
/// When a slice has another length than its shape says.
pub fn spread(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    weights: Weights<'_>,
    [variance, covariance]: [&[f64]; 2],
    volume: &mut [f64],
) {
    let pixels = panel.nu * panel.nv;
    assert!(volume.len() == grid.len() && weights.view.len() == views.len());
    assert!(variance.len() == views.len() * pixels && covariance.len() == variance.len());
    let [nx, ny, nz] = grid.shape;
    assert!(weights.slice.is_none_or(|s| s.len() == views.len() * nz));
    let matrices: Vec<Matrix> = views.iter().map(|v| Matrix::new(v, panel, grid)).collect();
    volume.par_chunks_mut(nx.max(1)).enumerate().for_each(|(row, out)| {
        let (y, z) = (row % ny, row / ny);
        for (x, out) in out.iter_mut().enumerate() {
            let place = |r| at(r, x as f64, y as f64, z as f64);
            for (k, m) in matrices.iter().enumerate() {
                let seen = m.seen(place(&m.u), place(&m.v), place(&m.w));
                let is_seen = seen.depth >= NEAR;
                if !is_seen {
                    continue;
                }
                let slice = weights.slice.map_or(1.0, |s| s[k * nz + z]);
                let weight = weights.view[k] * slice / (seen.depth * seen.depth);
                let range = k * pixels..(k + 1) * pixels;
                let view = [&variance[range.clone()], &covariance[range]];
                *out += weight * weight * of_pixels(panel, view, seen.u, seen.v);
            }
        }
    });
}

/// The variance of the bilinear interpolation at a place.
fn of_pixels(panel: Panel, [variance, covariance]: [&[f64]; 2], u: f64, v: f64) -> f64 {
    let (nu, nv) = (panel.nu as i64, panel.nv as i64);
    let inside = u > -1.0 && u < nu as f64 && v > -1.0 && v < nv as f64;
    if !inside {
        return 0.0;
    }
    let (i, row) = (u.floor() as i64, v.floor() as i64);
    let (t, share) = (u - u.floor(), v - v.floor());
    let mut sum = 0.0;
    for (row, b) in [(row, 1.0 - share), (row + 1, share)] {
        if !(0..nv).contains(&row) {
            continue;
        }
        let pixel = |of: &[f64], i: i64| {
            if (0..nu).contains(&i) { of[(row * nu + i) as usize] } else { 0.0 }
        };
        // A covariance with a pixel that does not exist is none.
        let both = if i + 1 < nu { pixel(covariance, i) } else { 0.0 };
        let (near, far) = (pixel(variance, i), pixel(variance, i + 1));
        let along = (1.0 - t) * (1.0 - t) * near + t * t * far + 2.0 * t * (1.0 - t) * both;
        sum += b * b * along;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::backproject;
    use super::*;
    use crate::ray::Beam;

    /// The covariance of the pixels by an explicit matrix M, rows of which are mixed; the
    /// variance of a voxel is the squared length of its row of the backprojection times M.
    #[test]
    fn variances_are_those_of_the_matrix() {
        let grid = Grid { shape: [5, 4, 3], voxel: [1.0, 0.8, 0.6] };
        let panel = Panel::flat(6, 4);
        let pixels = 24;
        for source in [true, false] {
            let views: Vec<View> = (0..3)
                .map(|k| {
                    let (s, c) = (0.9 * f64::from(k) + 0.1).sin_cos();
                    let beam = match source {
                        true => Beam::Source([6.0 * s, -6.0 * c, 0.1]),
                        false => Beam::Parallel([-s, c, 0.0]),
                    };
                    View {
                        beam,
                        detector: [-4.0 * s, 4.0 * c, 0.0],
                        u: [0.9 * c, 0.9 * s, 0.0],
                        v: [0.0, 0.0, 0.7],
                    }
                })
                .collect();
            let factors = [1.0, 0.7, 1.3];
            let slices: Vec<f64> = (0..9).map(|k| 0.5 + f64::from(k % 4)).collect();
            let weights = Weights { view: &factors, slice: Some(&slices) };
            // Filtered pixel i of a row is the sum of mix(i, j) over its pixels j.
            let mix = |i: usize, j: usize| ((i * 5 + j * 3) as f64).sin();
            let (mut variance, mut covariance) = (vec![0.0; 72], vec![0.0; 72]);
            for p in 0..72 {
                let i = p % 6;
                variance[p] = (0..6).map(|j| mix(i, j).powi(2)).sum();
                covariance[p] = (0..6).map(|j| mix(i, j) * mix(i + 1, j)).sum();
            }
            let mut exact = vec![0.0; grid.len()];
            for p in 0..3 * pixels {
                let mut y = vec![0.0; 3 * pixels];
                for i in 0..6 {
                    y[p / 6 * 6 + i] = mix(i, p % 6);
                }
                let mut x = vec![0.0; grid.len()];
                backproject(&grid, panel, &views, weights, &y, &mut x);
                exact.iter_mut().zip(&x).for_each(|(e, x)| *e += x * x);
            }
            let mut found = vec![0.0; grid.len()];
            spread(&grid, panel, &views, weights, [&variance, &covariance], &mut found);
            // Corners may lie beside all panels.
            assert!(exact.iter().filter(|e| **e > 0.0).count() > grid.len() / 2);
            for (f, e) in found.iter().zip(&exact) {
                assert!((f - e).abs() < 1e-12 * (1.0 + e), "{f} {e}");
            }
        }
    }
}
