//! How far a point is from a surface of triangles, at least.
//!
//! A tree of boxes gives the distance of a point to the nearest triangle: a box whose own
//! distance is larger than the least one so far is left out. The distances of the middles of the
//! cells of a grid bound those of all points,
//!
//! $$d(x) \ge d(m) - |x - m|,$$
//!
//! so that a flight within the ball about its own middle is known to meet nothing.
//!
//! Source: the closest point of a triangle, Ericson 2005, *Real-Time Collision Detection*,
//! section 5.1.5. Validated by the tests below.

use crate::vector::{dot, minus, norm, plus};
use rayon::prelude::*;

/// Triangles of a leaf.
const LEAF: usize = 4;
/// Cells of a grid at most.
const CELLS: f64 = 400_000.0;

/// A box of triangles: its corners and what it holds.
#[derive(Clone, Debug)]
struct Node {
    low: [f64; 3],
    high: [f64; 3],
    /// Leaf: first triangle and one past the last. Else the two nodes below.
    parts: [u32; 2],
    leaf: bool,
}

/// Boxes of triangles.
pub(super) struct Tree<'a> {
    corners: &'a [[[f64; 3]; 3]],
    order: Vec<u32>,
    nodes: Vec<Node>,
}

impl<'a> Tree<'a> {
    /// Of at least one triangle.
    pub(super) fn new(corners: &'a [[[f64; 3]; 3]]) -> Self {
        let order = (0..corners.len() as u32).collect();
        let mut out = Self { corners, order, nodes: Vec::new() };
        out.split(0, corners.len());
        out
    }

    /// Makes the node of some triangles; returns its number.
    fn split(&mut self, first: usize, end: usize) -> u32 {
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        for t in &self.order[first..end] {
            for p in &self.corners[*t as usize] {
                for a in 0..3 {
                    low[a] = low[a].min(p[a]);
                    high[a] = high[a].max(p[a]);
                }
            }
        }
        let number = self.nodes.len();
        let leaf = end - first <= LEAF;
        self.nodes.push(Node { low, high, parts: [first as u32, end as u32], leaf });
        if !leaf {
            let size = minus(high, low);
            let axis = (0..3).max_by(|a, b| size[*a].total_cmp(&size[*b])).unwrap_or(0);
            let corners = self.corners;
            let place = |t: &u32| corners[*t as usize].iter().map(|p| p[axis]).sum::<f64>();
            let half = (end - first) / 2;
            self.order[first..end]
                .select_nth_unstable_by(half, |s, t| place(s).total_cmp(&place(t)));
            let below = self.split(first, first + half);
            let above = self.split(first + half, end);
            self.nodes[number].parts = [below, above];
        }
        number as u32
    }

    /// The distance of a point to the nearest triangle, or `limit` where none is nearer.
    pub(super) fn distance(&self, x: [f64; 3], limit: f64) -> f64 {
        let apart = |node: &Node| {
            let out =
                [0, 1, 2].map(|a: usize| (node.low[a] - x[a]).max(x[a] - node.high[a]).max(0.0));
            dot(out, out)
        };
        let mut least = limit * limit;
        let mut stack = vec![0_u32];
        while let Some(number) = stack.pop() {
            let node = &self.nodes[number as usize];
            if apart(node) >= least {
                continue;
            }
            let [a, b] = node.parts;
            if node.leaf {
                for t in &self.order[a as usize..b as usize] {
                    least = least.min(square_distance(x, &self.corners[*t as usize]));
                }
                continue;
            }
            // The nearer one last, to be looked at first.
            let (da, db) = (apart(&self.nodes[a as usize]), apart(&self.nodes[b as usize]));
            stack.extend(if da < db { [b, a] } else { [a, b] });
        }
        least.sqrt()
    }
}

/// Square of the distance to a triangle.
fn square_distance(p: [f64; 3], [a, b, c]: &[[f64; 3]; 3]) -> f64 {
    let (ab, ac, ap) = (minus(*b, *a), minus(*c, *a), minus(p, *a));
    let at = |q: [f64; 3]| {
        let from = minus(p, q);
        dot(from, from)
    };
    let along = |o: [f64; 3], v: [f64; 3], t: f64| plus(o, v.map(|v| v * t));
    let (d1, d2) = (dot(ab, ap), dot(ac, ap));
    if d1 <= 0.0 && d2 <= 0.0 {
        return at(*a);
    }
    let bp = minus(p, *b);
    let (d3, d4) = (dot(ab, bp), dot(ac, bp));
    if d3 >= 0.0 && d4 <= d3 {
        return at(*b);
    }
    let vc = d1 * d4 - d3 * d2;
    if vc <= 0.0 && d1 >= 0.0 && d3 <= 0.0 {
        return at(along(*a, ab, d1 / (d1 - d3)));
    }
    let cp = minus(p, *c);
    let (d5, d6) = (dot(ab, cp), dot(ac, cp));
    if d6 >= 0.0 && d5 <= d6 {
        return at(*c);
    }
    let vb = d5 * d2 - d1 * d6;
    if vb <= 0.0 && d2 >= 0.0 && d6 <= 0.0 {
        return at(along(*a, ac, d2 / (d2 - d6)));
    }
    let va = d3 * d6 - d5 * d4;
    if va <= 0.0 && d4 >= d3 && d5 >= d6 {
        return at(along(*b, minus(*c, *b), (d4 - d3) / ((d4 - d3) + (d5 - d6))));
    }
    let scale = 1.0 / (va + vb + vc);
    at(plus(along(*a, ab, vb * scale), ac.map(|v| v * vc * scale)))
}

/// Distances of the middles of cells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    corner: [f64; 3],
    counts: [usize; 3],
    edges: [f64; 3],
    per_um: [f64; 3],
    values: Vec<f32>,
}

impl Field {
    /// Over the box from `corner` with the edges `size`, in cells of about `edge` µm or
    /// more; with `periodic`, to all images of the surface by `size`.
    pub(super) fn new(
        corners: &[[[f64; 3]; 3]],
        corner: [f64; 3],
        size: [f64; 3],
        edge: f64,
        periodic: bool,
    ) -> Self {
        let many = size.iter().product::<f64>() / edge.powi(3);
        let edge = edge * (many / CELLS).cbrt().max(1.0);
        let counts = size.map(|s| ((s / edge).ceil() as usize).clamp(1, 4096));
        let edges = [0, 1, 2].map(|a: usize| size[a] / counts[a] as f64);
        let tree = Tree::new(corners);
        let middle = |i: usize| {
            let at = [i % counts[0], i / counts[0] % counts[1], i / counts[0] / counts[1]];
            [0, 1, 2].map(|a: usize| corner[a] + (at[a] as f64 + 0.5) * edges[a])
        };
        let images: Vec<[f64; 3]> = (0..27)
            .map(|k| [k % 3, k / 3 % 3, k / 9])
            .map(|n| [0, 1, 2].map(|a: usize| (f64::from(n[a]) - 1.0) * size[a]))
            .filter(|by| periodic || *by == [0.0; 3])
            .collect();
        let far = norm(size) * 2.0;
        let distance = |i: usize| {
            let m = middle(i);
            let least = images.iter().fold(far, |least, by| tree.distance(plus(m, *by), least));
            // A part in a million for the rounding to 32 bits.
            (least * (1.0 - 1e-6)) as f32
        };
        let total = counts.iter().product();
        let values = (0..total).into_par_iter().with_min_len(256).map(distance).collect();
        Self { corner, counts, edges, per_um: edges.map(|e| 1.0 / e), values }
    }

    /// Middle of the cell of a point (of the nearest cell, beside the box), and its distance to
    /// the surface at least.
    #[inline]
    pub(super) fn ball(&self, x: [f64; 3]) -> ([f64; 3], f64) {
        let (mut at, mut middle) = ([0_usize; 3], self.corner);
        for a in 0..3 {
            let n = ((x[a] - self.corner[a]) * self.per_um[a]) as usize;
            at[a] = n.min(self.counts[a] - 1);
            middle[a] += (at[a] as f64 + 0.5) * self.edges[a];
        }
        let i = (at[2] * self.counts[1] + at[1]) * self.counts[0] + at[0];
        (middle, f64::from(self.values[i]))
    }

    /// Distance of a point to the surface at least; 0 or less where that is not known.
    #[inline]
    pub(super) fn room(&self, x: [f64; 3]) -> f64 {
        let (middle, free) = self.ball(x);
        free - norm(minus(x, middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triangles() -> Vec<[[f64; 3]; 3]> {
        let turn = |i: usize, k: f64| (i as f64 * k).fract() * 4.0 - 2.0;
        (0..60)
            .map(|i| {
                let p = [turn(i, 0.618_034), turn(i, 0.414_214), turn(i, 0.732_051)];
                let by = |k: usize| [0.3 * turn(i + k, 0.236_068), 0.2 * turn(i, 0.645_751), 0.25];
                [p, plus(p, by(7)), plus(p, by(31))]
            })
            .collect()
    }

    /// By the nearest of many points of every triangle.
    #[test]
    fn distances_are_the_least_of_many_points() {
        let all = triangles();
        let tree = Tree::new(&all);
        for i in 0..200 {
            let x = [0.37, 0.71, 0.53].map(|k: f64| (f64::from(i) * k).fract() * 5.0 - 2.5);
            let mut least = f64::INFINITY;
            for [a, b, c] in &all {
                for k in 0..=60 {
                    for l in 0..=60 - k {
                        let (s, t) = (f64::from(k) / 60.0, f64::from(l) / 60.0);
                        let p =
                            [0, 1, 2].map(|m: usize| a[m] + s * (b[m] - a[m]) + t * (c[m] - a[m]));
                        least = least.min(norm(minus(x, p)));
                    }
                }
            }
            let found = tree.distance(x, 100.0);
            assert!(found <= least + 1e-12 && found > least - 0.03, "{found} {least}");
            assert_eq!(tree.distance(x, 0.5 * found), 0.5 * found);
        }
    }

    #[test]
    fn fields_are_below_distances() {
        let all = triangles();
        let tree = Tree::new(&all);
        let (corner, size) = ([-3.0; 3], [6.0; 3]);
        for periodic in [false, true] {
            let field = Field::new(&all, corner, size, 0.2, periodic);
            let mut known = 0;
            for i in 0..2000 {
                let x = [0.37, 0.71, 0.53].map(|k: f64| (f64::from(i) * k).fract() * 6.0 - 3.0);
                let exact = (0..27)
                    .map(|k| [k % 3, k / 3 % 3, k / 9])
                    .map(|n| [0, 1, 2].map(|a: usize| x[a] + (f64::from(n[a]) - 1.0) * size[a]))
                    .filter(|p| periodic || *p == x)
                    .map(|p| tree.distance(p, 100.0))
                    .fold(f64::INFINITY, f64::min);
                let room = field.room(x);
                assert!(room <= exact && room > exact - 0.36, "{room} {exact}");
                known += i32::from(room > 0.0);
            }
            assert!(known > 500);
        }
    }
}
