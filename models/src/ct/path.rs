//! Geometries along any path: a list of sources, or of rays.
//!
//! A source $s$ has its detector straight across the origin, at the distance $d$, and
//! $u$ along $\hat z\times s$ (along x where $s$ is on the z axis):
//!
//! $$c = s - d\,\hat s,\qquad u\parallel\hat z\times s,\qquad v\parallel s\times u .$$
//!
//! A ray $r$ has $u$ along $\hat z\times r$ and $v$ along $r\times u$. So a path of circles
//! has the same detector as [`super::TrajectorySpec`].
//!
//! Source: the custom paths of `diffct.geometry` 2.5.0. Validated by `paths_of_diffct` in
//! `models/tests/suite/trajectories.rs`.

use super::{CtError, Geometry, GeometryKind, cross, norm};
use microtome_kernels::vector::unit;

/// How near to the z axis, relative, a vector counts as on it.
const ON_AXIS: f64 = 1e-9;

/// The direction of u: across z and a vector.
fn across(a: [f64; 3]) -> [f64; 3] {
    if a[0].hypot(a[1]) <= ON_AXIS * a[2].abs() {
        return [1.0, 0.0, 0.0];
    }
    unit([-a[1], a[0], 0.0])
}

/// Pitch (u, v) of `[dv, du]` or `[du]`.
fn pitch(kind: GeometryKind, pixel_mm: &[f64]) -> Result<[f64; 2], CtError> {
    let axes = kind.dimensions() - 1;
    if pixel_mm.len() != axes || pixel_mm.iter().any(|d| !(d.is_finite() && *d > 0.0)) {
        let form = if axes == 1 { "[du]" } else { "[dv, du]" };
        let what = format!("{pixel_mm:?}; write {axes} positive number(s) {form}");
        return Err(CtError::key("pixel_mm", what));
    }
    Ok([pixel_mm[axes - 1], pixel_mm[0]])
}

fn checked(kind: GeometryKind, at: usize, vector: [f64; 3], what: &str) -> Result<(), CtError> {
    let plane = kind.dimensions() == 2;
    if !(norm(vector).is_finite() && norm(vector) > 0.0) {
        return Err(CtError::view(at, format!("{what} {vector:?} has no direction")));
    }
    if plane && vector[2] != 0.0 {
        return Err(CtError::view(at, format!("{what} {vector:?} leaves the plane z = 0")));
    }
    Ok(())
}

impl Geometry {
    /// A fan or cone geometry of a flat detector from its sources.
    ///
    /// # Shapes
    /// `detector` `[nv, nu]`, `pixel_mm` `[dv, du]` or `[du]`; one source (x, y, z) a view,
    /// with z = 0 in the plane.
    ///
    /// # Errors
    /// A parallel kind, a source at the origin, and as [`Geometry::new`].
    ///
    /// # Example
    /// ```
    /// use microtome_models::ct::{Geometry, GeometryKind};
    /// // An ellipse; the detector is 30 mm from the source.
    /// let sources = (0..90).map(|k| {
    ///     let (s, c) = (f64::from(k) * 4.0_f64.to_radians()).sin_cos();
    ///     [20.0 * s, -15.0 * c, 0.0]
    /// });
    /// let g = Geometry::of_sources(GeometryKind::Fan2d, [1, 64], &[0.5], 30.0, sources)?;
    /// assert_eq!(g.rows()[..6], [0.0, -15.0, 0.0, 15.0, 0.5, 0.0]);
    /// # Ok::<(), microtome_models::ct::CtError>(())
    /// ```
    pub fn of_sources(
        kind: GeometryKind,
        detector: [usize; 2],
        pixel_mm: &[f64],
        source_to_detector_mm: f64,
        sources: impl IntoIterator<Item = [f64; 3]>,
    ) -> Result<Self, CtError> {
        if kind.is_parallel() {
            let what = format!("{} has rays, not sources", kind.name());
            return Err(CtError::key("kind", what));
        }
        if !(source_to_detector_mm.is_finite() && source_to_detector_mm > 0.0) {
            let what = format!("{source_to_detector_mm}; the distance is positive");
            return Err(CtError::key("source_to_detector_mm", what));
        }
        let [du, dv] = pitch(kind, pixel_mm)?;
        let d = kind.dimensions();
        let mut rows = Vec::new();
        for (at, s) in sources.into_iter().enumerate() {
            checked(kind, at, s, "the source")?;
            let away = unit(s);
            let u = across(s);
            let v = cross(away, u);
            let c = std::array::from_fn::<f64, 3, _>(|k| s[k] - source_to_detector_mm * away[k]);
            let (u, v) = (u.map(|x| x * du), v.map(|x| x * dv));
            for part in &[s, c, u, v][..d + 1] {
                rows.extend_from_slice(&part[..d]);
            }
        }
        Self::new(kind, detector, &rows)
    }

    /// A parallel geometry from its rays and the centres of its detectors.
    ///
    /// # Shapes
    /// As [`Self::of_sources`]; one pair of ray and centre a view.
    ///
    /// # Errors
    /// A kind with a source, a ray of no direction, and as [`Geometry::new`].
    pub fn of_rays(
        kind: GeometryKind,
        detector: [usize; 2],
        pixel_mm: &[f64],
        rays: impl IntoIterator<Item = ([f64; 3], [f64; 3])>,
    ) -> Result<Self, CtError> {
        if !kind.is_parallel() {
            let what = format!("{} has sources, not rays", kind.name());
            return Err(CtError::key("kind", what));
        }
        let [du, dv] = pitch(kind, pixel_mm)?;
        let d = kind.dimensions();
        let mut rows = Vec::new();
        for (at, (ray, c)) in rays.into_iter().enumerate() {
            checked(kind, at, ray, "the ray")?;
            let u = across(ray);
            let v = cross(unit(ray), u);
            let (u, v) = (u.map(|x| x * du), v.map(|x| x * dv));
            for part in &[ray, c, u, v][..d + 1] {
                rows.extend_from_slice(&part[..d]);
            }
        }
        Self::new(kind, detector, &rows)
    }
}
