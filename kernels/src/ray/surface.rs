//! The surface of a detector: flat, or a cylinder about the side of the source.
//!
//! A view gives the centre $c$ of the detector and the pixel steps $u$ (there) and $v$.
//! With $c_u = i_u - (n_u-1)/2$ and $c_v$ likewise, pixel centres are
//!
//! $$p = c + c_u u + c_v v \quad\text{(flat)},$$
//! $$p = c + R\sin\gamma\,\hat u - R(1-\cos\gamma)\,\hat n + c_v v,\qquad
//!   \gamma = c_u|u|/R \quad\text{(cylinder)},$$
//!
//! where $\hat n$ is the normal of $u$ and $v$ that points away from the source. So $|u|$ is
//! the pitch along the arc, and $v$ runs along the cylinder. Without a radius
//! $R = (c-s)\cdot\hat n$: the arc is about the source where $c$ is straight across from it
//! (equiangular fan, cylindrical cone detector).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R$ | mm | radius |
//! | $\gamma$ | rad | angle of a column, seen from the axis of the cylinder |
//!
//! Source: Kak & Slaney 1988, doi:10.1137/1.9780898719277, section 3.4.1 (equiangular
//! rays). Validated by `arc_is_about_the_source` below and by
//! `a_curved_detector_is_its_pixels` in `models/tests/suite/set_ups.rs`.

use super::line::{Beam, Panel, View};

/// Where the pixels of a detector are between its steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surface {
    /// A plane.
    Flat,
    /// A cylinder with its axis along v. A parallel beam takes no notice of it.
    Cylinder {
        /// Radius in mm; where there is none, each view's distance from the source to the
        /// plane of u and v at the centre.
        radius: Option<f64>,
    },
}

/// Places of the columns of pixels, relative to the centre of the detector.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns {
    /// The step.
    Flat([f64; 3]),
    /// The radius along u, the radius towards the axis, and radians a pixel.
    Arc([f64; 3], [f64; 3], f64),
}

impl Columns {
    /// The columns of a view, in mm.
    pub(super) fn new(view: &View, surface: Surface) -> Self {
        let (Surface::Cylinder { radius }, Beam::Source(s)) = (surface, view.beam) else {
            return Columns::Flat(view.u);
        };
        let ([ux, uy, uz], [vx, vy, vz]) = (view.u, view.v);
        let normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
        let size = |a: [f64; 3]| (a[0] * a[0] + a[1] * a[1] + a[2] * a[2]).sqrt();
        let across = (0..3).map(|k| (view.detector[k] - s[k]) * normal[k]).sum::<f64>();
        let distance = across / size(normal);
        // The sign of the distance is the side of the normal.
        let radius = radius.map_or(distance.abs(), f64::abs);
        let back = -radius.copysign(distance) / size(normal);
        let pitch = size(view.u);
        Columns::Arc(view.u.map(|x| x * radius / pitch), normal.map(|x| x * back), pitch / radius)
    }

    /// The same places in other coordinates.
    pub(super) fn map(self, vector: impl Fn([f64; 3]) -> [f64; 3]) -> Self {
        match self {
            Columns::Flat(u) => Columns::Flat(vector(u)),
            Columns::Arc(u, back, turn) => Columns::Arc(vector(u), vector(back), turn),
        }
    }

    /// The derivative of the place: the step of a pixel at a column.
    fn step(&self, c: f64) -> [f64; 3] {
        match self {
            Columns::Flat(u) => *u,
            Columns::Arc(u, back, turn) => {
                let (sine, cosine) = (c * turn).sin_cos();
                std::array::from_fn(|k| turn * (cosine * u[k] + sine * back[k]))
            }
        }
    }

    pub(super) fn is_flat(&self) -> bool {
        matches!(self, Columns::Flat(_))
    }

    /// The step from one column to the next, where it is the same for all.
    pub(super) fn even_step(&self) -> Option<[f64; 3]> {
        match self {
            Columns::Flat(u) => Some(*u),
            Columns::Arc(..) => None,
        }
    }

    /// The place of a column, `c` steps from the middle.
    #[inline(always)]
    pub(super) fn at(&self, c: f64) -> [f64; 3] {
        match self {
            Columns::Flat(u) => [c * u[0], c * u[1], c * u[2]],
            Columns::Arc(u, back, turn) => {
                let (half, cosine) = (0.5 * c * turn).sin_cos();
                // sin and 1 - cos of the angle, the latter without cancellation.
                let (sine, less) = (2.0 * half * cosine, 2.0 * half * half);
                std::array::from_fn(|k| sine * u[k] + less * back[k])
            }
        }
    }
}

impl View {
    /// The view with another place of the detector, in pixels as for [`Self::pixel`], as its
    /// centre; on a curved one u is turned along the arc.
    pub fn recentred(&self, panel: Panel, iu: f64, iv: f64) -> View {
        let detector = self.pixel(panel, iu, iv);
        let columns = Columns::new(self, panel.surface);
        let u = columns.step(iu - (panel.nu as f64 - 1.0) / 2.0);
        View { detector, u, ..*self }
    }

    /// The place of a pixel in mm; `iu` and `iv` may be between pixels and beyond the ends.
    pub fn pixel(&self, panel: Panel, iu: f64, iv: f64) -> [f64; 3] {
        let (nu, nv) = (panel.nu as f64, panel.nv as f64);
        let column = Columns::new(self, panel.surface).at(iu - (nu - 1.0) / 2.0);
        let cv = iv - (nv - 1.0) / 2.0;
        std::array::from_fn(|k| self.detector[k] + column[k] + cv * self.v[k])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
        (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn arc_is_about_the_source() {
        // v of either sense, and not along z.
        for (u, v) in [
            ([0.0, 1.5, 0.0], [0.0, 0.0, 2.0]),
            ([0.0, 1.5, 0.0], [0.0, 0.0, -2.0]),
            ([0.0, 1.5, -0.45], [0.0, 0.6, 2.0]),
        ] {
            let source = [1.0, 2.0, 3.0];
            let detector = [31.0, 2.0 + 15.0 * v[1], 3.0 + 15.0 * v[2]];
            let view = View { beam: Beam::Source(source), detector, u, v };
            let panel = Panel { nu: 41, nv: 1, surface: Surface::Cylinder { radius: None } };
            let foot = [1.0, detector[1], detector[2]];
            for iu in 0..41 {
                let p = view.pixel(panel, f64::from(iu), 0.0);
                assert!((distance(p, foot) - 30.0).abs() < 1e-12, "{p:?}");
                let gamma = (f64::from(iu) - 20.0) * distance(u, [0.0; 3]) / 30.0;
                assert!((p[0] - 1.0 - 30.0 * gamma.cos()).abs() < 1e-12);
            }
            // Far from round, nearly flat; the side stays that of the source.
            let radius = Some(1e7);
            let flat = Panel { surface: Surface::Flat, ..panel };
            let panel = Panel { surface: Surface::Cylinder { radius }, ..panel };
            let (p, q) = (view.pixel(panel, 0.0, 3.0), view.pixel(flat, 0.0, 3.0));
            assert!(distance(p, q) < 1e-3 && p[0] < q[0]);
        }
    }
}
