//! Where a voxel is seen: the projection matrix of a view.
//!
//! For the voxel of index coordinates $q = (x, y, z)$
//!
//! $$\begin{pmatrix}uW\\ vW\\ W\end{pmatrix} = P\begin{pmatrix}q\\ 1\end{pmatrix}$$
//!
//! with $u, v$ in pixels, 0 at the centre of the first, and $W$ the depth of the voxel from
//! the source over that of the detector, along the normal of the detector: 0 at the source,
//! 1 on the detector, and 1 everywhere for parallel rays.
//!
//! With $c, u, v$ the centre and steps of the detector, $s$ the source, $n = u\times v$ and
//! the dual vectors $\tilde u = v\times n/|n|^2$, $\tilde v = n\times u/|n|^2$:
//!
//! $$W = \frac{(p-s)\cdot n}{(c-s)\cdot n},\qquad
//!   uW = (p-s)\cdot\tilde u + W\left(\tfrac{n_u-1}2 - (c-s)\cdot\tilde u\right).$$
//!
//! On a cylinder of radius $R$ about the source the depth is the distance from its axis over
//! $R$, and $u$ is the angle $\gamma = \operatorname{atan2}((p-s)\cdot\hat u,
//! (p-s)\cdot\hat n)$ in steps of $|u|/R$.
//!
//! Source: Hartley & Zisserman 2004, Multiple View Geometry, ch. 6. Validated by
//! `matrices_invert_rays` below.

use crate::ray::{Beam, Grid, Panel, Surface, View};
use crate::vector::{cross, dot, minus};

/// A row of the matrix: factors of x, y, z, and the constant.
pub(super) type Row = [f64; 4];

/// The matrix of a view; see the head of the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) u: Row,
    pub(super) v: Row,
    pub(super) w: Row,
    /// A cylinder about the source. Then `u` and `w` are the two coordinates across its
    /// axis over the radius.
    pub(super) arc: Option<Arc>,
}

/// What a cylinder needs besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    /// Pixels a radian.
    pub(super) per_radian: f64,
    /// The pixel straight across from the source, u and v.
    pub(super) middle: [f64; 2],
}

/// Where a voxel is seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) u: f64,
    pub(super) v: f64,
    pub(super) depth: f64,
}

/// Least depth that is seen: nearer voxels are behind the source or in it.
pub(super) const NEAR: f64 = 1e-6;

/// A row at a point.
#[inline(always)]
pub(super) fn at(row: &Row, x: f64, y: f64, z: f64) -> f64 {
    row[0] * x + (row[1] * y + (row[2] * z + row[3]))
}

impl Matrix {
    pub(super) fn new(view: &View, panel: Panel, grid: &Grid) -> Self {
        let middle = [(panel.nu as f64 - 1.0) / 2.0, (panel.nv as f64 - 1.0) / 2.0];
        // Rows for points p in mm.
        let mut arc = None;
        let [u, v, w] = match (view.beam, panel.surface) {
            (Beam::Parallel(ray), _) => {
                // The dual vectors of u and v along the ray.
                let (a, b) = (cross(view.v, ray), cross(ray, view.u));
                let scale = 1.0 / dot(view.u, a);
                let row = |d: [f64; 3], middle: f64| {
                    let d = d.map(|x| x * scale);
                    [d[0], d[1], d[2], middle - dot(d, view.detector)]
                };
                [row(a, middle[0]), row(b, middle[1]), [0.0, 0.0, 0.0, 1.0]]
            }
            (Beam::Source(source), Surface::Cylinder { .. }) => {
                let n = cross(view.u, view.v);
                let centre = minus(view.detector, source);
                let radius = dot(centre, n) / dot(n, n).sqrt();
                let pitch = dot(view.u, view.u).sqrt();
                let per_radian = radius.abs() / pitch;
                let v = cross(n, view.u).map(|x| x / dot(n, n));
                let foot = dot(centre, view.u) / (pitch * pitch);
                arc = Some(Arc {
                    per_radian,
                    middle: [middle[0] - foot, middle[1] - dot(centre, v)],
                });
                let row = |d: [f64; 3]| [d[0], d[1], d[2], -dot(d, source)];
                let depth = n.map(|x| x / (dot(n, n).sqrt() * radius));
                [row(view.u.map(|x| x / (pitch * radius.abs()))), row(v), row(depth)]
            }
            (Beam::Source(source), Surface::Flat) => {
                let n = cross(view.u, view.v);
                let centre = minus(view.detector, source);
                let scale = 1.0 / dot(centre, n);
                let depth = n.map(|x| x * scale);
                let square = 1.0 / dot(n, n);
                let row = |d: [f64; 3], middle: f64| {
                    let d = d.map(|x| x * square);
                    let rest = middle - dot(d, centre);
                    let d: [f64; 3] = std::array::from_fn(|k| d[k] + rest * depth[k]);
                    [d[0], d[1], d[2], -dot(d, source)]
                };
                let w = [depth[0], depth[1], depth[2], -dot(depth, source)];
                [row(cross(view.v, n), middle[0]), row(cross(n, view.u), middle[1]), w]
            }
        };
        // Rows for index coordinates.
        let row = |r: Row| {
            let mut out = [0.0, 0.0, 0.0, r[3]];
            for k in 0..3 {
                out[k] = r[k] * grid.voxel[k];
                out[3] -= out[k] * (grid.shape[k] as f64 - 1.0) / 2.0;
            }
            out
        };
        Self { u: row(u), v: row(v), w: row(w), arc }
    }

    /// Where the point with these three values of the rows is seen. A depth below [`NEAR`]
    /// is that of a voxel which is not.
    #[inline(always)]
    pub(super) fn seen(&self, u: f64, v: f64, w: f64) -> Seen {
        match self.arc {
            None => {
                let near = 1.0 / w;
                Seen { u: u * near, v: v * near, depth: w }
            }
            Some(arc) => {
                let depth = u.hypot(w);
                let u = arc.middle[0] + u.atan2(w) * arc.per_radian;
                Seen { u, v: arc.middle[1] + v / depth, depth }
            }
        }
    }

    /// Whether u and the depth are the same along a column of voxels, to a millionth of a
    /// pixel over the whole of it.
    pub(super) fn is_upright(&self, panel: Panel, grid: &Grid) -> bool {
        let far = |k: usize| grid.shape[k] as f64;
        // The least depth of the grid; columns nearer to the source than that don't count.
        let mut least = f64::INFINITY;
        for corner in 0..8 {
            let c = |k: usize| if corner >> k & 1 == 1 { far(k) - 1.0 } else { 0.0 };
            least = least.min(at(&self.w, c(0), c(1), c(2)));
        }
        let least = least.max(1e-3);
        let pixels = self.arc.map_or(1.0, |a| a.per_radian);
        let most = panel.nu.max(panel.nv) as f64;
        let (du, dw) = (self.u[2] * far(2) * pixels, self.w[2] * far(2) * most);
        du.abs().max(dw.abs()) <= 1e-6 * least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_invert_rays() {
        let grid = Grid { shape: [9, 7, 5], voxel: [0.7, 1.1, 1.3] };
        let mut panel = Panel::flat(13, 11);
        let view = |beam| View {
            beam,
            detector: [3.0, 40.0, -2.0],
            u: [1.4, 0.2, 0.1],
            v: [-0.2, 0.3, 1.2],
        };
        for beam in [Beam::Source([-5.0, -80.0, 6.0]), Beam::Parallel([0.3, -2.0, 0.2])] {
            let view = view(beam);
            let m = Matrix::new(&view, panel, &grid);
            for (iu, iv, share) in [(0.0, 0.0, 0.3), (7.5, 2.25, 0.6), (12.0, 10.0, 0.9)] {
                let pixel: [f64; 3] = std::array::from_fn(|k| {
                    view.detector[k] + (iu - 6.0) * view.u[k] + (iv - 5.0) * view.v[k]
                });
                let p: [f64; 3] = match beam {
                    Beam::Parallel(d) => std::array::from_fn(|k| pixel[k] + 9.0 * share * d[k]),
                    Beam::Source(s) => std::array::from_fn(|k| s[k] + share * (pixel[k] - s[k])),
                };
                let seen = of(&m, p, &grid);
                let depth = if matches!(beam, Beam::Parallel(_)) { 1.0 } else { share };
                assert!((seen.depth - depth).abs() < 1e-12);
                assert!((seen.u - iu).abs() < 1e-11 && (seen.v - iv).abs() < 1e-11);
            }
        }
        // A cylinder about the source: straight across from it stands its middle.
        panel.surface = Surface::Cylinder { radius: None };
        let source = [3.0, -80.0, 6.0];
        let view = View {
            beam: Beam::Source(source),
            detector: [3.0, 40.0, -2.0],
            u: [1.4, 0.0, 0.0],
            v: [0.0, 0.0, 1.2],
        };
        let m = Matrix::new(&view, panel, &grid);
        for (iu, iv, share) in [(0.0, 0.0, 0.3), (7.5, 2.25, 0.6), (12.0, 10.0, 0.9)] {
            let pixel = view.pixel(panel, iu, iv);
            let p = std::array::from_fn(|k| source[k] + share * (pixel[k] - source[k]));
            let seen = of(&m, p, &grid);
            assert!((seen.depth - share).abs() < 1e-12);
            assert!((seen.u - iu).abs() < 1e-11 && (seen.v - iv).abs() < 1e-11);
        }
    }

    fn of(m: &Matrix, p: [f64; 3], grid: &Grid) -> Seen {
        let q: [f64; 3] =
            std::array::from_fn(|k| p[k] / grid.voxel[k] + (grid.shape[k] as f64 - 1.0) / 2.0);
        let value = |row: &Row| at(row, q[0], q[1], q[2]);
        m.seen(value(&m.u), value(&m.v), value(&m.w))
    }
}
