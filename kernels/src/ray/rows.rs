//! The matrix of a projector, written out row by row.
//!
//! Where several images are projected at once, or one very often, a stored row is cheaper
//! than its geometry. The entries are those of the sums along rays, in their order.
//!
//! Validated by `rows_are_the_projector` below.

use super::footprint::{Footprint, Joseph, Siddon, Slab};
use super::line::{ACROSS, Grid, Panel, Rays, View};
use super::{Projector, driver};
use rayon::prelude::*;

/// A sparse matrix by rows: one a ray.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Where the entries of each row begin, and one past the last.
    pub begin: Vec<usize>,
    /// Voxel and length in mm.
    pub entries: Vec<(u32, f32)>,
}

impl Rows {
    /// The rows of all rays of all views; `None` for projectors that are not sums over
    /// voxels of one ray, for more than `most` entries, and for more than 2^32 voxels.
    pub fn of(
        projector: Projector,
        grid: &Grid,
        panel: Panel,
        views: &[View],
        most: usize,
    ) -> Option<Self> {
        u32::try_from(grid.len()).ok()?;
        let flat = driver::is_flat(grid, panel, views);
        match (projector, flat) {
            (Projector::Joseph, true) => collect::<Joseph, true>(grid, panel, views, most),
            (Projector::Joseph, false) => collect::<Joseph, false>(grid, panel, views, most),
            (Projector::Siddon, true) => collect::<Siddon, true>(grid, panel, views, most),
            (Projector::Siddon, false) => collect::<Siddon, false>(grid, panel, views, most),
            _ => None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.begin.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries of a row.
    #[inline(always)]
    pub fn row(&self, ray: usize) -> &[(u32, f32)] {
        &self.entries[self.begin[ray]..self.begin[ray + 1]]
    }
}

fn collect<F: Footprint, const FLAT: bool>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    most: usize,
) -> Option<Rows> {
    let strides = grid.strides();
    let slab = |main: usize| {
        let [a, b] = ACROSS[main];
        Slab {
            begin: 0,
            end: grid.shape[main],
            from: [0, 0],
            across: [grid.shape[a], grid.shape[b]],
            step: strides[main],
            steps: [strides[a], strides[b]],
        }
    };
    let mut rows = Rows { begin: vec![0], entries: Vec::new() };
    for view in views {
        let rays = Rays::new(view, panel, grid, F::MARGIN);
        let lines: Vec<Vec<Vec<(u32, f32)>>> = (0..panel.nv)
            .into_par_iter()
            .map(|iv| {
                let ray = |iu| {
                    let line = rays.line(iu, iv);
                    let mut row = Vec::new();
                    F::walk::<FLAT>(&line, &slab(line.main), |_, j, w| {
                        if w != 0.0 {
                            row.push((j as u32, w as f32));
                        }
                    });
                    row
                };
                (0..panel.nu).map(ray).collect()
            })
            .collect();
        for row in lines.iter().flatten() {
            rows.entries.extend_from_slice(row);
            rows.begin.push(rows.entries.len());
        }
        if rows.entries.len() > most {
            return None;
        }
    }
    rows.entries.shrink_to_fit();
    Some(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ray::{Beam, forward};

    #[test]
    fn rows_are_the_projector() {
        let panel = Panel::flat(9, 1);
        for (shape, source) in [([11, 8, 1], false), ([11, 8, 1], true), ([7, 8, 5], true)] {
            let grid = Grid { shape, voxel: [1.0, 1.3, 0.8] };
            let view = |k: usize| {
                let (s, c) = (0.7 * k as f64 + 0.1).sin_cos();
                let beam = match source {
                    true => Beam::Source([-30.0 * s, 30.0 * c, 0.0]),
                    false => Beam::Parallel([-s, c, 0.0]),
                };
                let up = if shape[2] > 1 { 0.4 } else { 0.0 };
                View {
                    beam,
                    detector: [20.0 * s, -20.0 * c, up],
                    u: [1.4 * c, 1.4 * s, 0.0],
                    v: [0.0, 0.0, 1.0],
                }
            };
            let views: Vec<View> = (0..5).map(view).collect();
            let x: Vec<f64> = (0..grid.len()).map(|i| ((i * i) as f64).sin()).collect();
            for projector in Projector::SLICEWISE {
                let rows = Rows::of(projector, &grid, panel, &views, usize::MAX).unwrap();
                assert_eq!(rows.len(), 45);
                let mut y = vec![0.0; 45];
                forward(projector, &grid, panel, &views, &x, &mut y);
                for (ray, y) in y.iter().enumerate() {
                    let sum: f64 =
                        rows.row(ray).iter().map(|(j, w)| f64::from(*w) * x[*j as usize]).sum();
                    assert!((sum - y).abs() < 1e-5, "{projector:?} {ray}: {sum} {y}");
                }
                let some = rows.entries.len() - 1;
                assert!(Rows::of(projector, &grid, panel, &views, some).is_none());
            }
            assert!(Rows::of(Projector::Trilinear, &grid, panel, &views, 1 << 20).is_none());
        }
    }
}
