//! Phantoms of ellipses in the plane, of which voxels and projections are known exactly.
//!
//! $$f(x) = \sum_e \rho_e\,[\,|M_e(x - c_e)| \le 1\,],\qquad
//!   \int f\,dl = \sum_e \frac{2\rho_e a_e b_e}{r_e^2}\sqrt{r_e^2 - (t - t_e)^2}$$
//!
//! along the line at the signed distance $t$ from the origin, with $t_e$ that of the centre and
//! $r_e$ half the shadow of the ellipse. The mean over a pixel of finite width is the
//! difference of the antiderivative
//! $\tfrac12\big(s\sqrt{r^2-s^2} + r^2\arcsin\tfrac sr\big)$ at its edges.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\rho$ | 1/mm | value inside |
//! | $a, b, r, t$ | mm | half-axes, half shadow, distance |
//!
//! Source: Kak & Slaney 1988, doi:10.1137/1.9780898719277, section 3.1; the modified
//! Shepp-Logan phantom: Toft 1996, The Radon Transform, table B.1. Validated by the tests
//! below.

use super::{CtError, Geometry, GeometryKind, VolumeGrid};
use microtome_kernels::ray::Beam;

/// An ellipse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ellipse {
    /// Value inside, added to that of other ellipses.
    pub value: f64,
    /// Half-axes.
    pub axes_mm: [f64; 2],
    /// Centre, x and y.
    pub centre_mm: [f64; 2],
    /// Angle from the x axis to the first half-axis, counter-clockwise.
    pub angle_deg: f64,
}

/// Value, half-axes, centre and angle for a square of side 2.
const SHEPP_LOGAN: [[f64; 6]; 10] = [
    [1.0, 0.69, 0.92, 0.0, 0.0, 0.0],
    [-0.8, 0.6624, 0.874, 0.0, -0.0184, 0.0],
    [-0.2, 0.11, 0.31, 0.22, 0.0, -18.0],
    [-0.2, 0.16, 0.41, -0.22, 0.0, 18.0],
    [0.1, 0.21, 0.25, 0.0, 0.35, 0.0],
    [0.1, 0.046, 0.046, 0.0, 0.1, 0.0],
    [0.1, 0.046, 0.046, 0.0, -0.1, 0.0],
    [0.1, 0.046, 0.023, -0.08, -0.605, 0.0],
    [0.1, 0.023, 0.023, 0.0, -0.606, 0.0],
    [0.1, 0.023, 0.046, 0.06, -0.605, 0.0],
];

/// Ellipses that add up.
#[derive(Clone, Debug, PartialEq)]
pub struct EllipsePhantom {
    ellipses: Vec<Ellipse>,
}

impl EllipsePhantom {
    /// A phantom of these ellipses.
    pub fn new(ellipses: Vec<Ellipse>) -> Self {
        Self { ellipses }
    }

    /// The modified Shepp-Logan phantom in a square of a given half side: values from 0 to 1.
    pub fn shepp_logan(half_mm: f64) -> Self {
        let ellipse = |[value, a, b, x, y, angle_deg]: [f64; 6]| Ellipse {
            value,
            axes_mm: [a * half_mm, b * half_mm],
            centre_mm: [x * half_mm, y * half_mm],
            angle_deg,
        };
        Self::new(SHEPP_LOGAN.map(ellipse).to_vec())
    }

    /// The ellipses.
    pub fn ellipses(&self) -> &[Ellipse] {
        &self.ellipses
    }

    /// The value at a point.
    pub fn value(&self, [x, y]: [f64; 2]) -> f64 {
        let part = |e: &Ellipse| {
            let (s, c) = e.angle_deg.to_radians().sin_cos();
            let (dx, dy) = (x - e.centre_mm[0], y - e.centre_mm[1]);
            let [p, q] = [(dx * c + dy * s) / e.axes_mm[0], (dy * c - dx * s) / e.axes_mm[1]];
            if p * p + q * q <= 1.0 { e.value } else { 0.0 }
        };
        self.ellipses.iter().map(part).sum()
    }

    /// The mean over every voxel of a grid in the plane, from `points` x `points` points of it.
    ///
    /// # Shapes
    /// `[y, x]`.
    ///
    /// # Errors
    /// A grid with three axes.
    pub fn voxel_means(&self, grid: &VolumeGrid, points: usize) -> Result<Vec<f64>, CtError> {
        let [ny, nx] = grid.shape()[..] else {
            let what = format!("{:?}; ellipses lie in the plane", grid.shape());
            return Err(CtError::key("volume.shape", what));
        };
        let points = points.max(1);
        let world = grid.world_from_voxel();
        let within = |k: usize| (k as f64 + 0.5) / points as f64 - 0.5;
        let mean = |j: usize| {
            let [ix, iy] = [j % nx, j / nx].map(|i| i as f64);
            let sum: f64 = (0..points * points)
                .map(|k| {
                    let (p, q) = (ix + within(k % points), iy + within(k / points));
                    let at = |row: [f64; 4]| row[0] * p + row[1] * q + row[3];
                    self.value([at(world[0]), at(world[1])])
                })
                .sum();
            sum / (points * points) as f64
        };
        Ok((0..nx * ny).map(mean).collect())
    }

    /// The mean of the line integrals over every pixel, exactly.
    ///
    /// # Shapes
    /// `[view, u]`.
    ///
    /// # Errors
    /// Another kind than `parallel2d`.
    pub fn pixel_means(&self, geometry: &Geometry) -> Result<Vec<f64>, CtError> {
        if geometry.kind() != GeometryKind::Parallel2d {
            let what = format!("{}; pixel means are known for parallel2d", geometry.kind().name());
            return Err(CtError::key("kind", what));
        }
        let nu = geometry.detector()[1];
        let mut out = Vec::with_capacity(geometry.n_views() * nu);
        for view in geometry.views() {
            let Beam::Parallel(ray) = view.beam else { continue };
            let size = ray[0].hypot(ray[1]);
            let across = [-ray[1] / size, ray[0] / size];
            let along = |a: [f64; 3]| a[0] * across[0] + a[1] * across[1];
            let (first, step) = (along(view.detector), along(view.u));
            for i in 0..nu {
                let middle = first + (i as f64 - (nu as f64 - 1.0) / 2.0) * step;
                let edges = [middle - 0.5 * step, middle + 0.5 * step];
                out.push(self.ellipses.iter().map(|e| e.strip(across, edges)).sum());
            }
        }
        Ok(out)
    }
}

impl Ellipse {
    /// The mean of its line integrals between two distances along a unit vector.
    fn strip(&self, across: [f64; 2], [from, to]: [f64; 2]) -> f64 {
        let (s, c) = self.angle_deg.to_radians().sin_cos();
        let [a, b] = self.axes_mm;
        let p = a * (across[0] * c + across[1] * s);
        let q = b * (across[1] * c - across[0] * s);
        let r = p.hypot(q);
        let centre = self.centre_mm[0] * across[0] + self.centre_mm[1] * across[1];
        let antiderivative = |t: f64| {
            let t = (t - centre).clamp(-r, r);
            0.5 * (t * (r * r - t * t).max(0.0).sqrt() + r * r * (t / r).asin())
        };
        let sum = antiderivative(to) - antiderivative(from);
        2.0 * self.value * a * b / (r * r) * sum / (to - from)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ct::TrajectorySpec;

    /// A line integral by many points of the phantom's values.
    fn integral(phantom: &EllipsePhantom, across: [f64; 2], t: f64) -> f64 {
        let n = 20_000;
        let at = |k: usize| 4.0 * ((k as f64 + 0.5) / n as f64 - 0.5);
        let value =
            |s: f64| phantom.value([t * across[0] - s * across[1], t * across[1] + s * across[0]]);
        (0..n).map(|k| value(at(k))).sum::<f64>() * 4.0 / n as f64
    }

    #[test]
    fn strips_are_means_of_lines() {
        let phantom = EllipsePhantom::shepp_logan(1.0);
        let path = TrajectorySpec::circular(5, &[0.125]);
        let geometry = path.geometry(GeometryKind::Parallel2d, [1, 20]).unwrap();
        let found = phantom.pixel_means(&geometry).unwrap();
        for (k, view) in geometry.views().iter().enumerate() {
            // u is across the ray here.
            let across = [view.u[0] / 0.125, view.u[1] / 0.125];
            for i in [0, 3, 9, 10, 16] {
                let middle = (i as f64 - 9.5) * 0.125;
                let line = |j: usize| middle + 0.125 * ((j as f64 + 0.5) / 64.0 - 0.5);
                let mean = (0..64).map(|j| integral(&phantom, across, line(j))).sum::<f64>() / 64.0;
                let gap = (found[20 * k + i] - mean).abs();
                assert!(gap < 2e-3, "{k} {i}: {} {mean}", found[20 * k + i]);
            }
            // All pixels together see the whole mass.
            let area = |e: &Ellipse| e.value * std::f64::consts::PI * e.axes_mm[0] * e.axes_mm[1];
            let mass: f64 = phantom.ellipses().iter().map(area).sum();
            let sum: f64 = found[20 * k..20 * (k + 1)].iter().sum::<f64>() * 0.125;
            assert!((sum - mass).abs() < 1e-12, "{sum} {mass}");
        }
        let fan = Geometry::new(GeometryKind::Fan2d, [1, 4], &[0.0, -9.0, 0.0, 9.0, 1.0, 0.0]);
        assert!(phantom.pixel_means(&fan.unwrap()).unwrap_err().to_string().contains("fan2d"));
    }

    #[test]
    fn voxels_are_means_of_points() {
        let phantom = EllipsePhantom::new(vec![Ellipse {
            value: 2.0,
            axes_mm: [3.0, 1.0],
            centre_mm: [0.5, -0.5],
            angle_deg: 30.0,
        }]);
        let grid = VolumeGrid::new(&[40, 30], &[0.2, 0.3], &[0.0, 0.0]).unwrap();
        let means = phantom.voxel_means(&grid, 8).unwrap();
        let mass: f64 = means.iter().sum::<f64>() * 0.06;
        assert!((mass - 6.0 * std::f64::consts::PI).abs() < 0.01, "{mass}");
        // The voxel of the centre is full, that of a corner empty.
        assert_eq!([means[17 * 30 + 16], means[0]], [2.0, 0.0]);
        // y grows with the row: the mass is below 0.
        let y: f64 =
            means.iter().enumerate().map(|(j, v)| v * ((j / 30) as f64 - 19.5) * 0.2).sum();
        assert!((y * 0.06 / mass + 0.5).abs() < 1e-3);
        let cube = VolumeGrid::new(&[2, 2, 2], &[1.0; 3], &[0.0; 3]).unwrap();
        assert!(phantom.voxel_means(&cube, 1).is_err());
    }
}
