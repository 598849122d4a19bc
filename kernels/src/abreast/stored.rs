//! A projector's matrix written out twice: by rays, and by voxels.
//!
//! A sum along a ray then needs no other memory than its result, and neither does the
//! transpose, a sum over the rays of a voxel. Voxels are stored in tiles, so that those which
//! follow each other are met by the same rays.
//!
//! | symbol | |
//! |---|---|
//! | $t_r = \sum_j A_{rj}x_j$ | rows, in the order of the rays |
//! | $g_j = \sum_r A_{rj}s_r$ | columns, tile by tile |
//!
//! Validated by `gradients_are_differences` in `likelihood.rs` and `columns_are_the_transpose`
//! below.

use super::Wide;
use crate::ray::Rows;
use crate::single::lanes::Singles;

/// Voxels along the side of a tile.
const TILE: usize = 8;

/// A matrix by rows and by columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    rows: Rows,
    /// A row a voxel, its entries are rays.
    columns: Rows,
    /// The voxels of the columns.
    voxels: Vec<u32>,
}

impl Stored {
    /// Takes the rows of a projector of images of a shape, slowest axis first.
    pub fn new(rows: Rows, shape: &[usize]) -> Self {
        let voxels = tiled(shape);
        let mut place = vec![0_usize; voxels.len()];
        for (k, voxel) in voxels.iter().enumerate() {
            place[*voxel as usize] = k;
        }
        let mut begin = vec![0_usize; voxels.len() + 1];
        for (voxel, _) in &rows.entries {
            begin[place[*voxel as usize] + 1] += 1;
        }
        for k in 0..voxels.len() {
            begin[k + 1] += begin[k];
        }
        let mut next = begin.clone();
        let mut entries = vec![(0, 0.0); rows.entries.len()];
        for ray in 0..rows.len() {
            for (voxel, length) in rows.row(ray) {
                let at = &mut next[place[*voxel as usize]];
                entries[*at] = (ray as u32, *length);
                *at += 1;
            }
        }
        Self { rows, columns: Rows { begin, entries }, voxels }
    }

    /// The rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Every voxel with its rays.
    #[inline(always)]
    pub(super) fn columns(&self) -> impl Iterator<Item = (usize, &[(u32, f32)])> {
        self.voxels.iter().enumerate().map(|(k, voxel)| (*voxel as usize, self.columns.row(k)))
    }
}

/// Voxels tile by tile.
fn tiled(shape: &[usize]) -> Vec<u32> {
    let n: usize = shape.iter().product();
    let mut voxels: Vec<u32> = (0..n as u32).collect();
    voxels.sort_by_cached_key(|voxel| {
        let (mut rest, mut key, mut unit) = (*voxel as usize, 0, 1);
        for n in shape.iter().rev() {
            key += rest % n / TILE * unit;
            unit *= n.div_ceil(TILE);
            rest /= n;
        }
        key
    });
    voxels
}

/// The sum of a row or column over images or slopes of the chains.
#[inline(always)]
pub(super) fn sum<S: Singles>(row: &[(u32, f32)], x: &[Wide]) -> S {
    // Four sums in turn, so that none waits for the one before.
    let mut t = [S::splat(0.0); 4];
    let (fours, rest) = row.as_chunks::<4>();
    for four in fours {
        for (t, (j, a)) in t.iter_mut().zip(four) {
            *t = S::splat(*a).madd(S::load(&x[*j as usize]), *t);
        }
    }
    for (t, (j, a)) in t.iter_mut().zip(rest) {
        *t = S::splat(*a).madd(S::load(&x[*j as usize]), *t);
    }
    t[0].add(t[1]).add(t[2].add(t[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_transpose() {
        let shape = [3, 9, 17];
        let n: u32 = 3 * 9 * 17;
        let mut rows = Rows { begin: vec![0], entries: Vec::new() };
        for ray in 0..50_u32 {
            for k in 0..ray % 11 {
                rows.entries.push(((ray * 71 + k * 13) % n, (ray * 11 + k) as f32));
            }
            rows.begin.push(rows.entries.len());
        }
        let stored = Stored::new(rows.clone(), &shape);
        let mut found = Vec::new();
        let mut seen = vec![false; n as usize];
        for (voxel, column) in stored.columns() {
            assert!(!std::mem::replace(&mut seen[voxel], true));
            assert!(column.windows(2).all(|w| w[0].0 <= w[1].0));
            found.extend(column.iter().map(|(ray, a)| (*ray, voxel as u32, *a as u32)));
        }
        assert!(seen.iter().all(|s| *s));
        let ray = |r: usize| rows.row(r).iter().map(move |(j, a)| (r as u32, *j, *a as u32));
        let mut exact: Vec<(u32, u32, u32)> = (0..rows.len()).flat_map(ray).collect();
        exact.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, exact);
        // The first tile is whole before the next begins.
        let first: Vec<u32> = stored.voxels[..64].to_vec();
        assert!(first.iter().all(|v| v / 17 < 8 && v % 17 < 8));
    }
}
