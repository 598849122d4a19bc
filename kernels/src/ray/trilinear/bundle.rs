//! The rays of sixteen neighbouring pixels: where their samples are, and which count.
//!
//! Sample $k$ of $n$ is at $w_k = a + \kappa_kb$ with $\kappa_k = k - \frac{n-1}2$, and in
//! index coordinates at $q_k = M(Pw_k)$: $P$ places the world in the frame of the grid,
//! $M x = x_k/h_k + (n_k-1)/2$. Both ends are found in float64; the samples that are
//! between the centres of voxels on all axes for all rays are marked, and that the
//! arithmetic of the march agrees is tested at the first and the last of them:
//! $\mathrm{fl}(\kappa d + q)$ is monotone in $\kappa$.
//!
//! Validated by `equals_the_definition` in `tests.rs`.

use super::wide::{RAYS, Wide};
use super::{About, Affine, Steps};
use crate::ray::surface::Columns;
use crate::ray::{Beam, Grid, Panel, Real, View};

/// A number of every ray.
pub(super) type Row = [f64; RAYS];
/// Least component of a step, in voxels: less is no direction.
const STILL: f64 = 1e-12;
/// A sample so little behind the source, in steps, is at it and counts.
const AT_SOURCE: f64 = 1e-9;
/// Farthest a sample is from the grid in index coordinates.
const FAR: f64 = 1e12;

/// A view whose rays have been given their samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Camera {
    parallel: bool,
    /// Unit direction, or the source.
    beam: [f64; 3],
    centre: [f64; 3],
    columns: Columns,
    v: [f64; 3],
    middle: [f64; 2],
    nu: usize,
    steps: Steps,
}

/// Rays in the world; see the head of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rays {
    pub(super) a: [Row; 3],
    pub(super) b: [Row; 3],
    /// The least $\kappa$ in front of the source.
    least: Row,
}

/// An affine map to index coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToIndex {
    pub(super) linear: [[f64; 3]; 3],
    pub(super) shift: [f64; 3],
}

impl ToIndex {
    /// The placed world in index coordinates.
    pub(super) fn new(place: &Affine, grid: &Grid) -> Self {
        let mut out = Self::rate(place, grid);
        for k in 0..3 {
            out.shift[k] += (grid.shape[k] as f64 - 1.0) / 2.0;
        }
        out
    }

    /// The same of a derivative of the place.
    pub(super) fn rate(rate: &Affine, grid: &Grid) -> Self {
        let h = grid.voxel;
        Self {
            linear: std::array::from_fn(|r| rate.linear[r].map(|v| v / h[r])),
            shift: std::array::from_fn(|r| rate.shift[r] / h[r]),
        }
    }
}

/// Samples in index coordinates, and which of them count.
#[derive(Clone, Copy)]
pub(super) struct Bundle<W: Wide> {
    pub(super) start: [W; 3],
    pub(super) step: [W; 3],
    pub(super) least: W,
    /// Samples that may meet a voxel.
    pub(super) first: usize,
    pub(super) past: usize,
    /// Samples between voxels on all sides, for all rays.
    pub(super) inner: [usize; 2],
}

impl Camera {
    pub(super) fn new(view: &View, panel: Panel, steps: Steps) -> Self {
        let (parallel, beam) = match view.beam {
            Beam::Parallel(d) => {
                let size = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
                (true, d.map(|v| v / size))
            }
            Beam::Source(s) => (false, s),
        };
        let middle = [(panel.nu as f64 - 1.0) / 2.0, (panel.nv as f64 - 1.0) / 2.0];
        let View { detector, v, .. } = *view;
        let columns = Columns::new(view, panel.surface);
        Self { parallel, beam, centre: detector, columns, v, middle, nu: panel.nu, steps }
    }

    /// The rays of pixel `first` and those after it; past `count` the last one again.
    #[inline(always)]
    pub(super) fn rays(&self, first: usize, count: usize) -> Rays {
        let (mut cu, mut cv): (Row, Row) = ([0.0; RAYS], [0.0; RAYS]);
        let (mut iu, mut iv) = (first % self.nu, first / self.nu);
        for l in 0..RAYS {
            cu[l] = iu as f64 - self.middle[0];
            cv[l] = iv as f64 - self.middle[1];
            if l + 1 < count {
                iu += 1;
                if iu == self.nu {
                    (iu, iv) = (0, iv + 1);
                }
            }
        }
        let mut pixel = [[0.0; RAYS]; 3];
        if let Columns::Flat(u) = &self.columns {
            for k in 0..3 {
                for l in 0..RAYS {
                    pixel[k][l] = self.centre[k] + cu[l] * u[k] + cv[l] * self.v[k];
                }
            }
        } else {
            for l in 0..RAYS {
                let column = self.columns.at(cu[l]);
                for k in 0..3 {
                    pixel[k][l] = self.centre[k] + column[k] + cv[l] * self.v[k];
                }
            }
        }
        let mut out = Rays { a: pixel, b: pixel, least: [f64::NEG_INFINITY; RAYS] };
        let length = self.steps.length_mm;
        if self.parallel {
            let d = self.beam;
            if let About::Point(c) = self.steps.about {
                for l in 0..RAYS {
                    let along = (c[0] - pixel[0][l]) * d[0]
                        + (c[1] - pixel[1][l]) * d[1]
                        + (c[2] - pixel[2][l]) * d[2];
                    for k in 0..3 {
                        out.a[k][l] = pixel[k][l] + along * d[k];
                    }
                }
            }
            for k in 0..3 {
                out.b[k] = [d[k] * length; RAYS];
            }
            return out;
        }
        let s = self.beam;
        for l in 0..RAYS {
            let d = [pixel[0][l] - s[0], pixel[1][l] - s[1], pixel[2][l] - s[2]];
            let size = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
            let d = [d[0] / size, d[1] / size, d[2] / size];
            let along = match self.steps.about {
                About::Pixel => size,
                About::Point(c) => {
                    (c[0] - s[0]) * d[0] + (c[1] - s[1]) * d[1] + (c[2] - s[2]) * d[2]
                }
            };
            for k in 0..3 {
                out.a[k][l] = s[k] + along * d[k];
                out.b[k][l] = d[k] * length;
            }
            // The first sample in front of the source, the same for both number types.
            let half = (self.steps.count as f64 - 1.0) / 2.0;
            out.least[l] = (half - along / length - AT_SOURCE).ceil() - half;
        }
        out
    }
}

/// A part of the grid: slices of one axis, or all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) axis: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
}

#[inline(always)]
fn narrow<W: Wide>(row: &Row) -> W {
    let mut out = [W::Scalar::default(); RAYS];
    for l in 0..RAYS {
        out[l] = W::Scalar::narrow(row[l]);
    }
    W::load(&out)
}

/// $\kappa_k$.
#[inline(always)]
pub(super) fn centred<W: Wide>(k: usize, count: usize) -> W {
    W::splat(W::Scalar::narrow(k as f64 - (count as f64 - 1.0) / 2.0))
}

impl<W: Wide> Bundle<W> {
    /// Samples of rays in a part of the grid.
    #[inline(always)]
    pub(super) fn new(rays: &Rays, map: &ToIndex, grid: &Grid, part: &Part, count: usize) -> Self {
        let (mut start, mut step) = ([[0.0; RAYS]; 3], [[0.0; RAYS]; 3]);
        for r in 0..3 {
            let m = map.linear[r];
            for l in 0..RAYS {
                let a = m[0] * rays.a[0][l] + m[1] * rays.a[1][l] + m[2] * rays.a[2][l];
                start[r][l] = (a + map.shift[r]).clamp(-FAR, FAR);
                step[r][l] = m[0] * rays.b[0][l] + m[1] * rays.b[1][l] + m[2] * rays.b[2][l];
            }
        }
        let (mut low, mut high) = (rays.least, [f64::INFINITY; RAYS]);
        let (mut inner_low, mut inner_high) = (low, high);
        for r in 0..3 {
            let whole = part.axis != r;
            let begin = if whole { 0.0 } else { part.begin as f64 };
            let end = if whole { grid.shape[r] as f64 } else { part.end as f64 };
            let last = grid.shape[r] as f64 - 1.0;
            for l in 0..RAYS {
                let size = step[r][l].abs().max(STILL);
                let inverse = (1.0 / size).copysign(step[r][l]);
                let (p, q) = ((begin - 1.0 - start[r][l]) * inverse, (end - start[r][l]) * inverse);
                low[l] = low[l].max(p.min(q));
                high[l] = high[l].min(p.max(q));
                let (p, q) = (-start[r][l] * inverse, (last - start[r][l]) * inverse);
                inner_low[l] = inner_low[l].max(p.min(q));
                inner_high[l] = inner_high[l].min(p.max(q));
            }
        }
        let mut outer = [f64::INFINITY, f64::NEG_INFINITY];
        let mut inner = [f64::NEG_INFINITY, f64::INFINITY];
        for l in 0..RAYS {
            // A ray that meets nothing widens no range.
            if low[l] <= high[l] {
                outer = [outer[0].min(low[l]), outer[1].max(high[l])];
            }
            inner = [inner[0].max(inner_low[l]), inner[1].min(inner_high[l])];
        }
        // Conversions saturate and truncate: floor from 0 on.
        let half = (count as f64 - 1.0) / 2.0;
        let least_k = (outer[0] + half - 1.0).clamp(0.0, count as f64) as usize;
        let past = ((outer[1] + half + 2.0).clamp(0.0, count as f64) as usize).max(least_k);
        let mut out = Self {
            start: [narrow::<W>(&start[0]), narrow::<W>(&start[1]), narrow::<W>(&start[2])],
            step: [narrow::<W>(&step[0]), narrow::<W>(&step[1]), narrow::<W>(&step[2])],
            least: narrow::<W>(&rays.least),
            first: least_k,
            past,
            inner: [past, past],
        };
        let begin = (inner[0] + half).ceil().clamp(0.0, count as f64) as usize;
        let end = ((inner[1] + half).floor() + 1.0).clamp(0.0, count as f64) as usize;
        let (begin, end) = (begin.max(least_k), end.min(past));
        for shrink in 0..3 {
            let (begin, end) = (begin + shrink, end.saturating_sub(shrink));
            if begin >= end {
                break;
            }
            if out.is_inside(begin, grid, count) && out.is_inside(end - 1, grid, count) {
                out.inner = [begin, end];
                break;
            }
        }
        out
    }

    /// Where sample $\kappa$ is.
    #[inline(always)]
    pub(super) fn at(&self, kappa: W) -> [W; 3] {
        [
            self.step[0].madd(kappa, self.start[0]),
            self.step[1].madd(kappa, self.start[1]),
            self.step[2].madd(kappa, self.start[2]),
        ]
    }

    /// Whether $0\le\lfloor q\rfloor\le n-2$ on all axes, for all rays, in front of the source.
    #[inline(always)]
    fn is_inside(&self, k: usize, grid: &Grid, count: usize) -> bool {
        let kappa = centred::<W>(k, count);
        let q = self.at(kappa);
        let mut inside = W::all(kappa.ge(self.least));
        for r in 0..3 {
            let last = W::splat(W::Scalar::narrow(grid.shape[r] as f64 - 2.0));
            inside &= W::all(q[r].ge(W::splat(W::Scalar::default())));
            inside &= W::all(last.ge(q[r].floor()));
        }
        inside
    }
}
