//! Separable footprints: voxels seen by pixels of finite width, and the exact transpose.
//!
//! The shadow of a voxel is taken as a trapezoid along u times a rectangle along v (SF-TR):
//!
//! $$A_{rj} = \ell_{xy}\,\ell_z\;\bar F_u(i_u)\,\bar F_v(i_v),\qquad
//!   \bar F(i) = \int_{i-\frac12}^{i+\frac12}F(s)\,ds$$
//!
//! with $F_u$ the trapezoid of height 1 whose corners are the shadows of the four edges of
//! the voxel along z, $F_v$ the shadow of the voxel's height at the distance of its centre,
//! and, for the ray through the centre with direction $d$,
//!
//! $$\ell_{xy} = \min(h_x/|\hat d_x|, h_y/|\hat d_y|),\qquad \ell_z = |d|/|d_{xy}|,$$
//!
//! $\hat d$ the unit vector of $d_{xy}$. The result is the mean over the pixel, which for
//! parallel rays across z is the exact overlap of strip and voxel. For fans and cones it is
//! an approximation, good while a voxel is small beside its distance from the source and the
//! cone angle is moderate.
//!
//! Limits: flat detectors, v along the z axis of the grid, u across it, parallel rays across it, the source
//! in front of the whole volume; [`limit`] says which is not met.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $i, s$ | pixels | place on the detector |
//! | $h$ | mm | voxel size |
//! | $\ell_{xy}, A$ | mm | chord; entry of the matrix |
//! | $\ell_z$ | 1 | 1 / cos of the cone angle |
//!
//! Projections go view by view, transposes slab by slab, each in a fixed order, so results
//! are equal to the bit for any number of threads.
//!
//! Source: Long, Fessler & Balter 2010, doi:10.1109/TMI.2010.2050898 (SF-TR with the
//! amplitude of the ray through the centre of the voxel). Validated by the tests below and
//! by `separable_footprints` in `models/tests/suite/separable.rs`.

use super::{Beam, Grid, Panel, Real, Surface, View};
use rayon::prelude::*;

/// Largest sine of an angle that is none.
const ANGLE: f64 = 1e-9;
/// Most slabs of the transpose.
const SLABS: usize = 16;

/// What of a view the footprints cannot do; nothing when they can.
pub fn limit(grid: &Grid, panel: Panel, view: &View) -> Option<&'static str> {
    let size = |a: [f64; 3]| (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]).sqrt();
    if view.v[0].hypot(view.v[1]) > ANGLE * size(view.v) {
        return Some("v is not along the z axis of the volume");
    }
    if view.u[2].abs() > ANGLE * size(view.u) {
        return Some("u is not across the z axis of the volume");
    }
    match view.beam {
        Beam::Parallel(d) => (d[2].abs() > ANGLE * size(d))
            .then_some("the rays are not across the z axis of the volume"),
        Beam::Source(_) if panel.surface != Surface::Flat => Some("the detector is not flat"),
        Beam::Source(s) => {
            let camera = Camera::new(view, panel);
            let corner = |k: usize, up: bool| {
                let half = grid.shape[k] as f64 * grid.voxel[k] / 2.0;
                if up { half } else { -half }
            };
            let whole = camera.normal[0] * (view.detector[0] - s[0])
                + camera.normal[1] * (view.detector[1] - s[1]);
            let ahead = (0..4).all(|c| {
                let (x, y) = (corner(0, c % 2 == 1), corner(1, c > 1));
                let depth = camera.normal[0] * (x - s[0]) + camera.normal[1] * (y - s[1]);
                depth * whole.signum() > ANGLE * whole.abs()
            });
            (!ahead).then_some("the volume is not wholly in front of the source")
        }
    }
}

/// A view for points of the grid.
struct Camera {
    parallel: bool,
    /// Direction across z, or the source.
    beam: [f64; 3],
    centre: [f64; 3],
    u: [f64; 2],
    /// Across u in the plane.
    normal: [f64; 2],
    v: f64,
    middle: [f64; 2],
}

/// Where a point across z is seen, and how much larger things there appear.
struct Seen {
    u: f64,
    scale: f64,
}

impl Camera {
    fn new(view: &View, panel: Panel) -> Self {
        let (parallel, beam) = match view.beam {
            Beam::Parallel(d) => (true, d),
            Beam::Source(s) => (false, s),
        };
        Self {
            parallel,
            beam,
            centre: view.detector,
            u: [view.u[0], view.u[1]],
            normal: [-view.u[1], view.u[0]],
            v: view.v[2],
            middle: [(panel.nu as f64 - 1.0) / 2.0, (panel.nv as f64 - 1.0) / 2.0],
        }
    }

    #[inline(always)]
    fn across(&self, a: [f64; 2]) -> f64 {
        self.normal[0] * a[0] + self.normal[1] * a[1]
    }

    #[inline(always)]
    fn seen(&self, x: f64, y: f64) -> Seen {
        let (b, c) = (self.beam, self.centre);
        let size = self.u[0] * self.u[0] + self.u[1] * self.u[1];
        let (at, scale) = if self.parallel {
            let far = self.across([c[0] - x, c[1] - y]) / self.across([b[0], b[1]]);
            ([x + far * b[0], y + far * b[1]], 1.0)
        } else {
            let scale = self.across([c[0] - b[0], c[1] - b[1]]) / self.across([x - b[0], y - b[1]]);
            ([b[0] + scale * (x - b[0]), b[1] + scale * (y - b[1])], scale)
        };
        let along = (at[0] - c[0]) * self.u[0] + (at[1] - c[1]) * self.u[1];
        Seen { u: along / size + self.middle[0], scale }
    }

    /// Where a height is seen at a place of this scale.
    #[inline(always)]
    fn height(&self, z: f64, scale: f64) -> f64 {
        let from = if self.parallel { 0.0 } else { self.beam[2] };
        (from + scale * (z - from) - self.centre[2]) / self.v + self.middle[1]
    }
}

/// Shadows of a row of voxels along x at one y.
#[derive(Default)]
struct Row {
    /// First pixel and number of pixels along u, and where their shares begin.
    pixels: Vec<[usize; 3]>,
    /// Shares of pixels along u times $\ell_{xy}$.
    shares: Vec<f64>,
    scale: Vec<f64>,
    /// Distance from the source across z, mm.
    far: Vec<f64>,
    corners: [Vec<f64>; 2],
}

/// Integral of the trapezoid from the left to a point.
#[inline(always)]
fn area(t: &[f64; 4], s: f64) -> f64 {
    let rise = (s.min(t[1]) - t[0]).max(0.0);
    let flat = (s.min(t[2]) - t[1]).max(0.0);
    let fall = (s.min(t[3]) - t[2]).max(0.0);
    let (up, down) = (t[1] - t[0], t[3] - t[2]);
    let mut sum = flat;
    if up > 0.0 {
        sum += rise * rise / (2.0 * up);
    }
    if down > 0.0 {
        sum += fall * (1.0 - fall / (2.0 * down));
    }
    sum
}

impl Row {
    fn fill(&mut self, camera: &Camera, grid: &Grid, panel: Panel, iy: usize) {
        let [nx, ny, _] = grid.shape;
        let [hx, hy, _] = grid.voxel;
        let x = |i: f64| (i - (nx as f64 - 1.0) / 2.0) * hx;
        let y = |i: f64| (i - (ny as f64 - 1.0) / 2.0) * hy;
        let mid = y(iy as f64);
        for (corners, edge) in self.corners.iter_mut().zip([-0.5, 0.5]) {
            let edge = y(iy as f64 + edge);
            corners.clear();
            corners.extend((0..=nx).map(|i| camera.seen(x(i as f64 - 0.5), edge).u));
        }
        self.pixels.clear();
        self.shares.clear();
        self.scale.clear();
        self.far.clear();
        for ix in 0..nx {
            let [low, high] = &self.corners;
            let mut t = [low[ix], low[ix + 1], high[ix], high[ix + 1]];
            t.sort_by(f64::total_cmp);
            let centre = x(ix as f64);
            let seen = camera.seen(centre, mid);
            let d = if camera.parallel {
                [camera.beam[0], camera.beam[1]]
            } else {
                [centre - camera.beam[0], mid - camera.beam[1]]
            };
            let far = d[0].hypot(d[1]);
            let chord = (hx * far / d[0].abs()).min(hy * far / d[1].abs());
            let (first, past) = pixels(t[0], t[3], panel.nu);
            self.pixels.push([first, past - first, self.shares.len()]);
            let mut before = area(&t, first as f64 - 0.5);
            for i in first..past {
                let after = area(&t, i as f64 + 0.5);
                self.shares.push((after - before) * chord);
                before = after;
            }
            self.scale.push(seen.scale);
            self.far.push(far);
        }
    }
}

/// The pixels that a part of the detector meets: first, and one past the last.
#[inline(always)]
fn pixels(low: f64, high: f64, n: usize) -> (usize, usize) {
    // Conversions saturate and truncate: floor from 0 on.
    let first = (low + 0.5).clamp(0.0, n as f64) as usize;
    let past = ((high + 0.5).ceil().clamp(0.0, n as f64) as usize).max(first);
    (first, past)
}

/// Calls `f(ix, pixel along v, first pixel along u, shares along u, share)` for a row of
/// voxels.
#[inline(always)]
fn shadows(
    camera: &Camera,
    grid: &Grid,
    panel: Panel,
    flat: bool,
    row: &Row,
    iz: usize,
    mut f: impl FnMut(usize, usize, usize, &[f64], f64),
) {
    let h = grid.voxel[2];
    let z = (iz as f64 - (grid.shape[2] as f64 - 1.0) / 2.0) * h;
    for (ix, [first, count, at]) in row.pixels.iter().copied().enumerate() {
        if count == 0 {
            continue;
        }
        let shares = &row.shares[at..at + count];
        if flat {
            f(ix, 0, first, shares, 1.0);
            continue;
        }
        let scale = row.scale[ix];
        let (a, b) = (camera.height(z - h / 2.0, scale), camera.height(z + h / 2.0, scale));
        let (low, high) = (a.min(b), a.max(b));
        let longer =
            if camera.parallel { 1.0 } else { ((z - camera.beam[2]) / row.far[ix]).hypot(1.0) };
        let (begin, past) = pixels(low, high, panel.nv);
        for j in begin..past {
            let share = high.min(j as f64 + 0.5) - low.max(j as f64 - 0.5);
            f(ix, j, first, shares, share.max(0.0) * longer);
        }
    }
}

/// Projections of a volume; `flat` for a plane, whose voxels and pixels have no height.
///
/// # Shapes
/// `volume` `[z, y, x]`, `out` `[view, v, u]`.
///
/// # Panics
/// When a slice has another length than its shape says. Views outside the limits of
/// [`limit`] have projections without meaning.
pub fn forward<T: Real>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    flat: bool,
    volume: &[T],
    out: &mut [T],
) {
    let count = panel.nu * panel.nv;
    assert!(volume.len() == grid.len() && out.len() == views.len() * count);
    if volume.is_empty() || out.is_empty() {
        return;
    }
    let [nx, ny, nz] = grid.shape;
    out.par_chunks_mut(count).zip(views).for_each_init(
        || (Row::default(), vec![0.0; count]),
        |(row, image), (out, view)| {
            let camera = Camera::new(view, panel);
            image.fill(0.0);
            for iy in 0..ny {
                row.fill(&camera, grid, panel, iy);
                for iz in 0..nz {
                    let values = &volume[(iz * ny + iy) * nx..][..nx];
                    shadows(&camera, grid, panel, flat, row, iz, |ix, j, first, shares, share| {
                        let value = share * values[ix].wide();
                        let pixels = &mut image[j * panel.nu + first..][..shares.len()];
                        for (pixel, share) in pixels.iter_mut().zip(shares) {
                            *pixel += share * value;
                        }
                    });
                }
            }
            for (out, v) in out.iter_mut().zip(image.iter()) {
                *out = T::narrow(*v);
            }
        },
    );
}

/// Adds the transpose of [`forward`] to a volume.
///
/// # Shapes
/// As for [`forward`].
///
/// # Panics
/// As for [`forward`].
pub fn adjoint<T: Real>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    flat: bool,
    projections: &[T],
    volume: &mut [T],
) {
    let count = panel.nu * panel.nv;
    assert!(volume.len() == grid.len() && projections.len() == views.len() * count);
    if volume.is_empty() || projections.is_empty() {
        return;
    }
    let [nx, ny, nz] = grid.shape;
    // Slabs along z, or along y where there is one slice.
    let (n, plane) = if nz > 1 { (nz, nx * ny) } else { (ny, nx) };
    let thick = n.div_ceil(SLABS);
    volume.par_chunks_mut(thick * plane).enumerate().for_each_init(
        Row::default,
        |row, (at, slab)| {
            let begin = at * thick;
            let past = begin + slab.len() / plane;
            let (rows, slices) = if nz > 1 { (0..ny, begin..past) } else { (begin..past, 0..1) };
            for (view, image) in views.iter().zip(projections.chunks(count)) {
                let camera = Camera::new(view, panel);
                for iy in rows.clone() {
                    row.fill(&camera, grid, panel, iy);
                    for iz in slices.clone() {
                        let at = (iz * ny + iy) * nx - begin * plane;
                        let values = &mut slab[at..at + nx];
                        shadows(
                            &camera,
                            grid,
                            panel,
                            flat,
                            row,
                            iz,
                            |ix, j, first, shares, share| {
                                let pixels = &image[j * panel.nu + first..][..shares.len()];
                                let terms = pixels.iter().zip(shares);
                                let sum = terms.fold(0.0, |sum, (p, s)| sum + s * p.wide());
                                values[ix] = T::narrow(values[ix].wide() + share * sum);
                            },
                        );
                    }
                }
            }
        },
    );
}
