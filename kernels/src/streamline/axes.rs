//! Axes that cover the sphere, and functions of the sphere there.
//!
//! The axes lie in an octant and are mirrored at the planes x = 0 and y = 0. Of the terms of a
//! function ([`crate::sphere_series`]), those that do not change and those that change their sign in either
//! mirror are summed apart, so that the values at four axes take the products of one:
//!
//! $$f(\pm x, y, z) = (S_1 + S_y) \pm (S_x + S_{xy}),\qquad f(\pm x, -y, z) = (S_1 - S_y) \pm (S_x - S_{xy})$$
//!
//! In the octant every axis stands for the same area: rings of equal areas, cut at equal angles.
//! Source: Leopardi 2006, ETNA 25:309 (rings of equal areas). Validated by
//! `values_are_those_of_the_series` and `axes_are_apart_and_leave_no_holes` below.

use crate::sphere_series::{COUNT_MAX, count, pull_back};
use crate::vector::{Vec3, nearest_axes};
use std::f64::consts::FRAC_PI_2;

/// Axes of a patch: the width of a vector of single precision.
pub(crate) const PATCH: usize = 16;
/// Patches of the octant whose sums are independent of each other.
const SUMS: usize = 2;
const BLOCK: usize = SUMS * PATCH;
/// Signs of x and y of the mirrored axes.
const IMAGES: [[f64; 2]; 4] = [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]];
const NEIGHBOURS: usize = 8;

/// Sums of the terms in the axes of a block.
type Sums = [[f32; PATCH]; SUMS];

/// Axes of the half-sphere with the values of all terms of an order.
#[derive(Clone, Debug)]
pub struct AxisTable {
    order: usize,
    /// `[block][image][axis of the octant]`.
    axes: Vec<Vec3>,
    /// x, y, z of every axis.
    components: [Vec<f32>; 3],
    /// `[block][term][axis of the octant]`.
    values: Vec<f32>,
    /// The axes about each axis.
    neighbours: Vec<[u32; NEIGHBOURS]>,
}

/// Directions with x, y, z > 0, each in the middle of an equal area.
fn octant(points: usize) -> Vec<Vec3> {
    let n = points as f64;
    let rings = (n * FRAC_PI_2).sqrt().round().max(1.0);
    let mut out = Vec::with_capacity(points);
    for ring in 1..=rings as usize {
        let angle = ring as f64 / rings * FRAC_PI_2;
        let before = out.len();
        let until = if ring as f64 == rings { n } else { (n * (1.0 - angle.cos())).round() };
        let own = until as usize - before;
        let z = 1.0 - (before as f64 + 0.5 * own as f64) / n;
        let r = (1.0 - z * z).sqrt();
        out.extend((0..own).map(|i| {
            let (s, c) = ((i as f64 + 0.5) / own as f64 * FRAC_PI_2).sin_cos();
            [r * c, r * s, z]
        }));
    }
    out
}

/// sums + t row.
#[inline(always)]
fn add_row<const FMA: bool>(t: f32, row: &[f32; BLOCK], mut sums: Sums) -> Sums {
    for (sums, row) in sums.iter_mut().zip(row.as_chunks::<PATCH>().0) {
        for (s, v) in sums.iter_mut().zip(row) {
            *s = if FMA { t.mul_add(*v, *s) } else { t * v + *s };
        }
    }
    sums
}

/// a + s b.
#[inline(always)]
fn combine(mut a: Sums, s: f32, b: &Sums) -> Sums {
    for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
        *a += s * b;
    }
    a
}

impl AxisTable {
    /// At least this many axes, filled up to whole blocks (multiples of 128), for functions
    /// of an order.
    pub fn new(order: usize, at_least: usize) -> Self {
        let blocks = at_least.max(1).div_ceil(BLOCK * IMAGES.len());
        let terms = count(order);
        let points = octant(blocks * BLOCK);
        let mut values = vec![0.0; terms * points.len()];
        let mut row = vec![0.0; terms];
        let mut axes = Vec::with_capacity(points.len() * IMAGES.len());
        for (block, points) in points.chunks_exact(BLOCK).enumerate() {
            for (i, n) in points.iter().enumerate() {
                row.fill(0.0);
                pull_back(order, *n, 1.0, [0.0; 3], &mut row);
                for (t, v) in row.iter().enumerate() {
                    values[(block * terms + t) * BLOCK + i] = *v as f32;
                }
            }
            for [x, y] in IMAGES {
                axes.extend(points.iter().map(|n| [x * n[0], y * n[1], n[2]]));
            }
        }
        let components = [0, 1, 2].map(|c| axes.iter().map(|n| n[c] as f32).collect());
        let neighbours = nearest_axes(&axes);
        Self { order, axes, components, values, neighbours }
    }

    /// Order of the functions.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The axes.
    pub fn axes(&self) -> &[Vec3] {
        &self.axes
    }

    /// Values at all axes; returns the largest, or 0.
    #[inline(always)]
    pub(crate) fn evaluate<const FMA: bool>(&self, terms: &[f64], out: &mut Vec<f32>) -> f32 {
        match self.order {
            8 => self.evaluate_at::<FMA, 8>(terms, out),
            _ => self.evaluate_at::<FMA, 0>(terms, out),
        }
    }

    /// The order is `L` where that is not 0.
    #[inline(always)]
    fn evaluate_at<const FMA: bool, const L: usize>(
        &self,
        terms: &[f64],
        out: &mut Vec<f32>,
    ) -> f32 {
        let order = if L > 0 { L } else { self.order };
        let count = count(order);
        let mut single = [0.0_f32; COUNT_MAX];
        for (s, t) in single.iter_mut().zip(&terms[..count]) {
            *s = *t as f32;
        }
        out.resize(self.axes.len(), 0.0);
        let mut largest = [0.0_f32; PATCH];
        let blocks = self.values.chunks_exact(count * BLOCK);
        let outs = out.as_chunks_mut::<BLOCK>().0.chunks_exact_mut(IMAGES.len());
        for (out, block) in outs.zip(blocks) {
            let rows = block.as_chunks::<BLOCK>().0;
            let (own, mut rows) = rows.split_at(order / 2 + 1);
            let (own_terms, mut rest) = single[..count].split_at(order / 2 + 1);
            // What does not change, changes with x, with y, with both. Passed by value, sums
            // stay in registers.
            let [mut one, mut by_x, mut by_y, mut by_both] = [[[0.0_f32; PATCH]; SUMS]; 4];
            for (t, row) in own_terms.iter().zip(own) {
                one = add_row::<FMA>(*t, row, one);
            }
            for m in 1..=order {
                let pairs = (order - m) / 2 + 1;
                for (t, row) in
                    rest.as_chunks::<2>().0.iter().zip(rows.as_chunks::<2>().0).take(pairs)
                {
                    if m % 2 == 0 {
                        one = add_row::<FMA>(t[0], &row[0], one);
                        by_both = add_row::<FMA>(t[1], &row[1], by_both);
                    } else {
                        by_x = add_row::<FMA>(t[0], &row[0], by_x);
                        by_y = add_row::<FMA>(t[1], &row[1], by_y);
                    }
                }
                (rest, rows) = (&rest[2 * pairs..], &rows[2 * pairs..]);
            }
            for (out, [x, y]) in out.iter_mut().zip(IMAGES) {
                let (x, y) = (x as f32, y as f32);
                let values = combine(combine(one, x, &by_x), y, &combine(by_y, x, &by_both));
                out.copy_from_slice(values.as_flattened());
                for values in values {
                    for (l, v) in largest.iter_mut().zip(values) {
                        *l = if v > *l { v } else { *l };
                    }
                }
            }
        }
        largest.iter().fold(0.0, |m, v| if *v > m { *v } else { m })
    }

    /// Scalar products of a vector with the axes of a patch.
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
    use crate::vector::dot;

    #[test]
    fn values_are_those_of_the_series() {
        for order in [0, 2, 4, 8, 12] {
            let table = AxisTable::new(order, 130);
            assert_eq!(table.axes().len(), 256);
            let terms: Vec<f64> = (0..count(order)).map(|i| (i as f64 * 0.7).sin()).collect();
            let mut out = Vec::new();
            let largest = table.evaluate::<false>(&terms, &mut out);
            assert_eq!(out.len(), 256);
            for (v, n) in out.iter().zip(table.axes()) {
                assert!((f64::from(*v) - value(order, &terms, *n)).abs() < 4e-6, "{order}");
            }
            assert_eq!(largest, out.iter().fold(0.0, |m: f32, v| m.max(*v)));
        }
    }

    #[test]
    fn axes_are_apart_and_leave_no_holes() {
        for (asked, n) in [(32, 128), (362, 384), (1000, 1024)] {
            let table = AxisTable::new(8, asked);
            let axes = table.axes();
            assert_eq!(axes.len(), n);
            assert!(axes.iter().all(|a| (dot(*a, *a) - 1.0).abs() < 1e-14 && a[2] > 0.0));
            let spacing = (4.0 * FRAC_PI_2 / n as f64).sqrt();
            let between = |a: Vec3, b: Vec3| dot(a, b).abs().min(1.0).acos();
            for (i, near) in nearest_axes::<1>(axes).iter().enumerate() {
                let angle = between(axes[i], axes[near[0] as usize]);
                assert!(
                    angle > 0.9 * spacing && angle < 1.05 * spacing,
                    "{n}: {}",
                    angle / spacing
                );
            }
            for probe in octant(4000) {
                let angle = axes.iter().map(|a| between(*a, probe)).fold(9.0, f64::min);
                assert!(angle < 0.76 * spacing, "{n}: {}", angle / spacing);
            }
            // The mean of a power of the cosine with any direction is 1 / (power + 1).
            for d in [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.48, 0.6, 0.64], [0.6, -0.8, 0.0]] {
                for power in [2, 4, 8] {
                    let mean = axes.iter().map(|a| dot(*a, d).powi(power)).sum::<f64>() / n as f64;
                    let exact = 1.0 / f64::from(power + 1);
                    assert!(
                        (mean / exact - 1.0).abs() < 4.6 / n as f64,
                        "{n} {d:?} {power}: {}",
                        mean / exact
                    );
                }
            }
        }
    }
}
