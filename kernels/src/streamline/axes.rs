//! Axes that cover the sphere, and functions of the sphere there.
//!
//! Values at all axes are one product of a matrix of the terms' values with the terms, many
//! axes at a time: as many sums as hide the latency of a fused multiply-add. Validated by `values_are_those_of_the_series` below.

use crate::sphere_series::{count, pull_back};
use crate::vector::{Vec3, nearest_axes};

/// Axes of a patch: the width of a vector of single precision.
pub(crate) const PATCH: usize = 16;
/// Axes whose sums are independent of each other in one loop over the terms.
const BLOCK: usize = SUMS * PATCH;
const SUMS: usize = 8;
const NEIGHBOURS: usize = 6;

/// Axes of the half-sphere with the values of all terms of an order.
#[derive(Clone, Debug)]
pub struct AxisTable {
    order: usize,
    axes: Vec<Vec3>,
    /// x, y, z of every axis; zeros up to whole blocks.
    components: [Vec<f32>; 3],
    /// `[block][term][axis]`.
    values: Vec<f32>,
    /// The axes about each axis.
    neighbours: Vec<[u32; NEIGHBOURS]>,
}

/// sums + t row.
#[inline(always)]
fn add_row<const FMA: bool>(t: f32, row: &[f32; PATCH], mut sums: [f32; PATCH]) -> [f32; PATCH] {
    for (s, v) in sums.iter_mut().zip(row) {
        *s = if FMA { t.mul_add(*v, *s) } else { t * v + *s };
    }
    sums
}

impl AxisTable {
    /// Axes (unit vectors of one half-sphere) for functions of an order.
    pub fn new(order: usize, axes: &[Vec3]) -> Self {
        let blocks = axes.len().div_ceil(BLOCK);
        let terms = count(order);
        let mut values = vec![0.0; blocks * terms * BLOCK];
        let mut row = vec![0.0; terms];
        for (i, n) in axes.iter().enumerate() {
            row.fill(0.0);
            pull_back(order, *n, 1.0, [0.0; 3], &mut row);
            for (t, v) in row.iter().enumerate() {
                values[(i / BLOCK * terms + t) * BLOCK + i % BLOCK] = *v as f32;
            }
        }
        let components = [0, 1, 2].map(|c| {
            let mut list: Vec<f32> = axes.iter().map(|n| n[c] as f32).collect();
            list.resize(blocks * BLOCK, 0.0);
            list
        });
        let neighbours = nearest_axes(axes);
        Self { order, axes: axes.to_vec(), components, values, neighbours }
    }

    /// Order of the functions.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The axes.
    pub fn axes(&self) -> &[Vec3] {
        &self.axes
    }

    /// Values at all axes, zeros up to whole blocks; returns the largest, or 0.
    #[inline(always)]
    pub(crate) fn evaluate<const FMA: bool>(&self, terms: &[f64], out: &mut Vec<f32>) -> f32 {
        let count = count(self.order);
        let mut single = [0.0_f32; crate::sphere_series::COUNT_MAX];
        for (s, t) in single.iter_mut().zip(&terms[..count]) {
            *s = *t as f32;
        }
        out.resize(self.padded(), 0.0);
        let mut largest = [0.0_f32; PATCH];
        let blocks = self.values.chunks_exact(count * BLOCK);
        for (out, block) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
            // Passed by value, sums stay in registers.
            let mut sums = [[0.0_f32; PATCH]; SUMS];
            for (row, t) in block.as_chunks::<BLOCK>().0.iter().zip(&single) {
                let [a, b, c, d, e, f, g, h] = sums;
                let row = row.as_chunks::<PATCH>().0;
                sums = [
                    add_row::<FMA>(*t, &row[0], a),
                    add_row::<FMA>(*t, &row[1], b),
                    add_row::<FMA>(*t, &row[2], c),
                    add_row::<FMA>(*t, &row[3], d),
                    add_row::<FMA>(*t, &row[4], e),
                    add_row::<FMA>(*t, &row[5], f),
                    add_row::<FMA>(*t, &row[6], g),
                    add_row::<FMA>(*t, &row[7], h),
                ];
            }
            for (out, sums) in out.as_chunks_mut::<PATCH>().0.iter_mut().zip(sums) {
                *out = sums;
                for (l, v) in largest.iter_mut().zip(sums) {
                    *l = if v > *l { v } else { *l };
                }
            }
        }
        largest.iter().fold(0.0, |m, v| if *v > m { *v } else { m })
    }

    /// Scalar products of a vector with the axes of a patch; zeros past the last axis.
    #[inline(always)]
    pub(crate) fn cosines(&self, d: Vec3, patch: usize) -> [f32; PATCH] {
        let [dx, dy, dz] = d.map(|v| v as f32);
        let [x, y, z] = [0, 1, 2].map(|c| &self.components[c].as_chunks::<PATCH>().0[patch]);
        let mut out = [0.0; PATCH];
        for i in 0..PATCH {
            out[i] = dx * x[i] + dy * y[i] + dz * z[i];
        }
        out
    }

    /// Number of axes up to whole blocks.
    pub(crate) fn padded(&self) -> usize {
        self.components[0].len()
    }

    /// Whether the value at an axis is positive and no neighbour exceeds it; of equal
    /// neighbours only the first is.
    #[inline(always)]
    pub(crate) fn is_maximum(&self, values: &[f32], i: usize) -> bool {
        let v = values[i];
        v > 0.0
            && self.neighbours[i].iter().all(|j| {
                let other = values[*j as usize];
                v > other || (v == other && i as u32 <= *j)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere_series::value;

    #[test]
    fn values_are_those_of_the_series() {
        let axes: Vec<Vec3> = (0..37)
            .map(|i| {
                let z = (f64::from(i) + 0.5) / 37.0;
                let (s, c) = (2.4 * f64::from(i)).sin_cos();
                [(1.0 - z * z).sqrt() * c, (1.0 - z * z).sqrt() * s, z]
            })
            .collect();
        for order in [0, 2, 8] {
            let table = AxisTable::new(order, &axes);
            let terms: Vec<f64> = (0..count(order)).map(|i| (i as f64 * 0.7).sin()).collect();
            let mut out = Vec::new();
            table.evaluate::<false>(&terms, &mut out);
            assert_eq!(out.len(), BLOCK);
            for (i, n) in axes.iter().enumerate() {
                assert!((f64::from(out[i]) - value(order, &terms, *n)).abs() < 2e-6);
            }
            assert!(out[37..].iter().all(|v| *v == 0.0));
        }
    }
}
