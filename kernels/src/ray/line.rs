//! Rays of a view as lines in index coordinates of the grid.
//!
//! The point $p$ (mm, origin at the centre of the grid) has the index coordinates
//! $q_k = p_k/h_k + (n_k-1)/2$, so that voxel centres are integers. A ray
//! $q(t) = o + td$ is written with the coordinate $s$ of its main axis
//! $m = \arg\max_k|d_k|$ (the first of equals in the order x, y, z) as parameter:
//!
//! $$q_a(s) = a_0 + s\,a_1,\qquad a_1 = d_a/d_m,\qquad a_0 = o_a - o_m a_1,$$
//!
//! and the length between neighbouring slices is $\ell = |Hd|/|d_m|$ with
//! $H = \mathrm{diag}(h)$. A ray of a point source begins at the source; a ray of a
//! parallel beam has no ends. The detector ends no ray.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $h$ | mm | voxel size |
//! | $s, a_0, q$ | voxels | index coordinates |
//! | $\ell$ | mm | length in one slice |
//!
//! Validated by `lines_pass_through_their_pixels` below.

use super::surface::{Columns, Surface};
use crate::simd::{Block, LANES};

/// A grid of voxels about the origin, axes along the coordinate axes; x, y, z order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Voxels along x, y, z.
    pub shape: [usize; 3],
    /// Voxel size along x, y, z in mm.
    pub voxel: [f64; 3],
}

impl Grid {
    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no voxel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index steps along x, y, z of `[z, y, x]` storage.
    pub(super) fn strides(&self) -> [usize; 3] {
        [1, self.shape[0], self.shape[0] * self.shape[1]]
    }
}

/// Pixels of a detector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panel {
    /// Pixels along u, the fastest index.
    pub nu: usize,
    /// Pixels along v.
    pub nv: usize,
    /// Flat or curved.
    pub surface: Surface,
}

impl Panel {
    /// A flat one.
    pub const fn flat(nu: usize, nv: usize) -> Self {
        Self { nu, nv, surface: Surface::Flat }
    }
}

/// Where the rays of a view come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beam {
    /// All rays run along this vector of any length.
    Parallel([f64; 3]),
    /// All rays begin at this point, mm.
    Source([f64; 3]),
}

/// One view; points and vectors in mm, in the frame of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Direction or source.
    pub beam: Beam,
    /// Centre of the detector.
    pub detector: [f64; 3],
    /// Step from a pixel to the next along u.
    pub u: [f64; 3],
    /// Step from a pixel to the next along v.
    pub v: [f64; 3],
}

/// The two axes across a main axis, the one of the smaller stride first.
pub(super) const ACROSS: [[usize; 2]; 3] = [[1, 2], [0, 2], [0, 1]];

/// A ray; see the head of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) main: usize,
    pub(super) start: [f64; 2],
    pub(super) slope: [f64; 2],
    /// The part of the main axis that the ray covers.
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) length: f64,
    /// The slices of the grid that it can meet: first, and one past the last.
    pub(super) first: u32,
    pub(super) past: u32,
}

/// Eight neighbouring rays with one main axis and one sense along it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    pub(super) main: usize,
    pub(super) start: [Block; 2],
    pub(super) slope: [Block; 2],
    pub(super) length: Block,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A view in index coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rays {
    parallel: bool,
    /// Direction, or source.
    origin: [f64; 3],
    /// Centre of the detector; seen from the source where there is one.
    centre: [f64; 3],
    columns: Columns,
    v: [f64; 3],
    /// The pixel of the centre.
    middle: [f64; 2],
    voxel: [f64; 3],
    shape: [usize; 3],
    margin: f64,
}

#[inline(always)]
fn main_axis(d: [f64; 3]) -> usize {
    let size = [d[0].abs(), d[1].abs(), d[2].abs()];
    let main = usize::from(size[1] > size[0]);
    if size[2] > size[main] { 2 } else { main }
}

/// The stretch of an affine coordinate `start + s slope` within open bounds, cut out of a
/// stretch of s.
#[inline(always)]
pub(super) fn cut(stretch: [f64; 2], line: [f64; 2], bounds: [f64; 2]) -> [f64; 2] {
    if line[1] == 0.0 {
        let inside = line[0] > bounds[0] && line[0] < bounds[1];
        return if inside { stretch } else { [1.0, 0.0] };
    }
    let inverse = 1.0 / line[1];
    let (p, q) = ((bounds[0] - line[0]) * inverse, (bounds[1] - line[0]) * inverse);
    [stretch[0].max(p.min(q)), stretch[1].min(p.max(q))]
}

/// The part of a stretch of s within which neighbouring rays, of which these two are the
/// outermost, may come within open bounds.
#[inline(always)]
pub(super) fn reach(stretch: [f64; 2], lines: [[f64; 2]; 2], bounds: [f64; 2]) -> [f64; 2] {
    let mut out = stretch;
    for side in [[bounds[0], f64::INFINITY], [f64::NEG_INFINITY, bounds[1]]] {
        let [p, q] = lines.map(|line| cut(stretch, line, side));
        let both = match (p[0] <= p[1], q[0] <= q[1]) {
            (true, true) => [p[0].min(q[0]), p[1].max(q[1])],
            (true, false) => p,
            _ => q,
        };
        out = [out[0].max(both[0]), out[1].min(both[1])];
    }
    out
}

impl Rays {
    /// Rays that meet a voxel within `margin` of their position across.
    pub(super) fn new(view: &View, panel: Panel, grid: &Grid, margin: f64) -> Self {
        let h = grid.voxel;
        let vector = |x: [f64; 3]| [x[0] / h[0], x[1] / h[1], x[2] / h[2]];
        let index = |x: [f64; 3]| {
            let q = vector(x);
            std::array::from_fn(|k| q[k] + (grid.shape[k] as f64 - 1.0) / 2.0)
        };
        let (parallel, origin, centre) = match view.beam {
            Beam::Parallel(ray) => (true, vector(ray), index(view.detector)),
            Beam::Source(source) => {
                let d = std::array::from_fn(|k| view.detector[k] - source[k]);
                (false, index(source), vector(d))
            }
        };
        let middle = [(panel.nu as f64 - 1.0) / 2.0, (panel.nv as f64 - 1.0) / 2.0];
        Self {
            parallel,
            origin,
            centre,
            columns: Columns::new(view, panel.surface).map(vector),
            v: vector(view.v),
            middle,
            voxel: h,
            shape: grid.shape,
            margin,
        }
    }

    /// The ray through the centre of a pixel.
    #[inline(always)]
    pub(super) fn line(&self, iu: usize, iv: usize) -> Line {
        let pixel = self.pixel(iu, iv);
        let (o, d) = if self.parallel { (pixel, self.origin) } else { (self.origin, pixel) };
        let main = main_axis(d);
        let [a, b] = ACROSS[main];
        let per_slice = 1.0 / d[main];
        let slope = [d[a] * per_slice, d[b] * per_slice];
        let start = [o[a] - o[main] * slope[0], o[b] - o[main] * slope[1]];
        let (low, high) = match (self.parallel, d[main] > 0.0) {
            (true, _) => (f64::NEG_INFINITY, f64::INFINITY),
            (_, true) => (o[main], f64::INFINITY),
            (_, false) => (f64::NEG_INFINITY, o[main]),
        };
        let mm = [d[0] * self.voxel[0], d[1] * self.voxel[1], d[2] * self.voxel[2]];
        let length = (mm[0] * mm[0] + mm[1] * mm[1] + mm[2] * mm[2]).sqrt() * per_slice.abs();
        let mut line = Line { main, start, slope, low, high, length, first: 0, past: 0 };
        line.clip(self.shape, self.margin);
        line
    }

    /// The main axis of the ray through the centre of a pixel.
    #[inline(always)]
    pub(super) fn main(&self, iu: usize, iv: usize) -> usize {
        main_axis(if self.parallel { self.origin } else { self.pixel(iu, iv) })
    }

    /// The centre of a pixel; seen from the source where there is one.
    #[inline(always)]
    fn pixel(&self, iu: usize, iv: usize) -> [f64; 3] {
        let (cu, cv) = (iu as f64 - self.middle[0], iv as f64 - self.middle[1]);
        let column = self.columns.at(cu);
        std::array::from_fn(|k| self.centre[k] + column[k] + cv * self.v[k])
    }

    /// Eight rays from a pixel on along u, those past the edge of the panel too; the numbers
    /// of [`Rays::line`]. Nothing where main axis or sense differ.
    #[inline(always)]
    pub(super) fn bundle(&self, iu: usize, iv: usize) -> Option<Bundle> {
        let count: Block = std::array::from_fn(|l| l as f64);
        let cu = count.map(|l| iu as f64 + l - self.middle[0]);
        let cv = iv as f64 - self.middle[1];
        let mut pixel = [[0.0; LANES]; 3];
        let columns = cu.map(|cu| self.columns.at(cu));
        for (k, pixel) in pixel.iter_mut().enumerate() {
            for l in 0..LANES {
                pixel[l] = self.centre[k] + columns[l][k] + cv * self.v[k];
            }
        }
        let same = [[self.origin[0]; LANES], [self.origin[1]; LANES], [self.origin[2]; LANES]];
        let (o, d) = if self.parallel { (pixel, same) } else { (same, pixel) };
        let main = main_axis([d[0][0], d[1][0], d[2][0]]);
        let ahead = d[main][0] > 0.0;
        let [a, b] = ACROSS[main];
        let mut regular = true;
        for ((&m, &p), &q) in d[main].iter().zip(&d[a]).zip(&d[b]) {
            // The first of equals is the main axis.
            let above = |k: usize, v: f64| if k < main { m.abs() > v } else { m.abs() >= v };
            regular &= above(a, p.abs()) & above(b, q.abs()) & ((m > 0.0) == ahead);
        }
        if !regular {
            return None;
        }
        let (low, high) = match (self.parallel, ahead) {
            (true, _) => (f64::NEG_INFINITY, f64::INFINITY),
            (_, true) => (o[main][0], f64::INFINITY),
            (_, false) => (f64::NEG_INFINITY, o[main][0]),
        };
        let zero = [[0.0; LANES]; 2];
        let mut of = Bundle { main, start: zero, slope: zero, length: zero[0], low, high };
        let h = self.voxel;
        for l in 0..LANES {
            let per_slice = 1.0 / d[main][l];
            of.slope[0][l] = d[a][l] * per_slice;
            of.slope[1][l] = d[b][l] * per_slice;
            of.start[0][l] = o[a][l] - o[main][l] * of.slope[0][l];
            of.start[1][l] = o[b][l] - o[main][l] * of.slope[1][l];
            let mm = [d[0][l] * h[0], d[1][l] * h[1], d[2][l] * h[2]];
            let norm = (mm[0] * mm[0] + mm[1] * mm[1] + mm[2] * mm[2]).sqrt();
            of.length[l] = norm * per_slice.abs();
        }
        Some(of)
    }

    /// The axis along which a step of the panel runs, when it runs along one exactly:
    /// whether the step is that of v, and the axis.
    pub(super) fn aligned(&self) -> Option<(bool, usize)> {
        let axis = |step: [f64; 3]| {
            let along = |k: &usize| (0..3).all(|i| (step[i] != 0.0) == (i == *k));
            (0..3).find(along)
        };
        let of_u = self.columns.even_step().and_then(axis);
        axis(self.v).map(|k| (true, k)).or(of_u.map(|k| (false, k)))
    }

    /// Where the source is along two axes; nothing for parallel rays.
    pub(super) fn source(&self, a: usize, b: usize) -> Option<[f64; 2]> {
        (!self.parallel).then_some([self.origin[a], self.origin[b]])
    }

    /// Where the pixel of a source's ray is, $i_u = N/D$ with $N$ and $D$ affine in slice
    /// and position across, for a main axis and the other axis of a plane: the
    /// coefficients of 1, slice and position. Nothing for parallel rays and curved detectors.
    pub(super) fn pixel_of(&self, main: usize, across: usize) -> Option<[[f64; 3]; 2]> {
        if self.parallel {
            return None;
        }
        let u = self.columns.even_step()?;
        let (c, o) = (self.centre, self.origin);
        // k = (c_a (s - o_m) - c_m (q - o_a)) / (u_m (q - o_a) - u_a (s - o_m)), from the middle.
        let n = [c[main] * o[across] - c[across] * o[main], c[across], -c[main]];
        let d = [u[across] * o[main] - u[main] * o[across], -u[across], u[main]];
        Some([std::array::from_fn(|i| n[i] + self.middle[0] * d[i]), d])
    }

    /// Whether some ray may have this main axis. Directions are affine in the pixel, so
    /// where the four corners share main axis and sign, all rays do; on a curved detector
    /// they are affine within a column.
    pub(super) fn may_have(&self, main: usize, panel: Panel) -> bool {
        if let Some((along_v, axis)) = self.aligned()
            && axis == main
        {
            // Along its lines a direction changes along this axis only: most at their ends.
            let (lines, last) = match along_v {
                true => (panel.nu, panel.nv - 1),
                false => (panel.nv, panel.nu - 1),
            };
            let pixel = |line, k| if along_v { (line, k) } else { (k, line) };
            let has = |(iu, iv)| self.main(iu, iv) == main;
            return (0..lines).any(|line| has(pixel(line, 0)) || has(pixel(line, last)));
        }
        if !self.columns.is_flat() {
            return (0..panel.nu).any(|iu| {
                let ends = [0, panel.nv - 1].map(|iv| self.main_and_sign(iu, iv));
                ends[0].0 == main || ends[0] != ends[1]
            });
        }
        let corners = [(0, 0), (panel.nu - 1, 0), (0, panel.nv - 1), (panel.nu - 1, panel.nv - 1)];
        let of = corners.map(|(iu, iv)| self.main_and_sign(iu, iv));
        of.iter().any(|c| c.0 == main) || of.iter().any(|c| *c != of[0])
    }

    fn main_and_sign(&self, iu: usize, iv: usize) -> (usize, bool) {
        let main = self.line(iu, iv).main;
        let (cu, cv) = (iu as f64 - self.middle[0], iv as f64 - self.middle[1]);
        let pixel = self.centre[main] + self.columns.at(cu)[main] + cv * self.v[main];
        (main, self.parallel || pixel > 0.0)
    }
}

impl Line {
    /// Finds the slices in which the ray comes within `margin` of a voxel centre on both
    /// axes across; at most two slices too many on either side.
    #[inline(always)]
    fn clip(&mut self, shape: [usize; 3], margin: f64) {
        let (mut low, mut high) = (self.low, self.high);
        for k in 0..2 {
            let (start, slope) = (self.start[k], self.slope[k]);
            let above = shape[ACROSS[self.main][k]] as f64 - 1.0 + margin;
            if slope == 0.0 {
                if start < -margin || start > above {
                    return;
                }
                continue;
            }
            let inverse = 1.0 / slope;
            let (p, q) = ((-margin - start) * inverse, (above - start) * inverse);
            low = low.max(p.min(q));
            high = high.min(p.max(q));
        }
        // Conversions saturate: infinities become the ends, and truncation is floor from 0.
        let slices = shape[self.main] as f64;
        self.first = (low - 1.0).clamp(0.0, slices) as u32;
        self.past = ((high + 2.0).clamp(0.0, slices) as u32).max(self.first);
    }

    /// Those of its slices that are in a range.
    #[inline(always)]
    pub(super) fn within(&self, begin: usize, end: usize) -> std::ops::Range<usize> {
        begin.max(self.first as usize)..end.min(self.past as usize)
    }

    /// Where the ray is across at a coordinate of the main axis.
    #[inline(always)]
    pub(super) fn at(&self, k: usize, s: f64) -> f64 {
        self.start[k] + s * self.slope[k]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_pass_through_their_pixels() {
        let grid = Grid { shape: [7, 9, 5], voxel: [0.5, 1.25, 2.0] };
        let panel = Panel::flat(6, 3);
        let view = View {
            beam: Beam::Source([30.0, -11.0, 4.0]),
            detector: [-20.0, 6.0, -3.0],
            u: [0.3, 1.1, 0.0],
            v: [0.1, 0.2, 1.4],
        };
        let rays = Rays::new(&view, panel, &grid, 1.0);
        for (iu, iv) in [(0, 0), (5, 2), (2, 1)] {
            let line = rays.line(iu, iv);
            assert_eq!((line.main, rays.may_have(0, panel)), (0, true));
            let pixel: [f64; 3] = std::array::from_fn(|k| {
                view.detector[k] + (iu as f64 - 2.5) * view.u[k] + (iv as f64 - 1.0) * view.v[k]
            });
            for p in [pixel, [30.0, -11.0, 4.0]] {
                let q: [f64; 3] = std::array::from_fn(|k| {
                    p[k] / grid.voxel[k] + (grid.shape[k] as f64 - 1.0) / 2.0
                });
                assert!((line.at(0, q[0]) - q[1]).abs() < 1e-12);
                assert!((line.at(1, q[0]) - q[2]).abs() < 1e-12);
                assert!(q[0] <= line.high);
            }
            // The length of one slice: from source to pixel over the slices between.
            let d = [30.0 - pixel[0], -11.0 - pixel[1], 4.0 - pixel[2]];
            let whole = d.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((line.length - whole / (d[0] / 0.5)).abs() < 1e-13);
        }
        assert!(!rays.may_have(1, panel) && !rays.may_have(2, panel));
    }
}
