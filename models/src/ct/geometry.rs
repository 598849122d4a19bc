//! One row of vectors a view, in the order of ASTRA's `*_vec` geometries.
//!
//! | kind | columns |
//! |---|---|
//! | `parallel2d` | ray (x, y), detector (x, y), u (x, y) |
//! | `fan2d` | source (x, y), detector (x, y), u (x, y) |
//! | `parallel3d` | ray (x, y, z), detector, u, v |
//! | `cone3d` | source (x, y, z), detector, u, v |
//!
//! `detector` is the centre of the detector, `u` and `v` the steps to the next pixel, so
//! their lengths are the pitch: the centre of pixel $(i_v, i_u)$ is
//!
//! $$p = c + \left(i_u - \tfrac{n_u-1}2\right)u + \left(i_v - \tfrac{n_v-1}2\right)v .$$
//!
//! On a curved detector $u$ is the step at the centre and its length the pitch along the arc
//! (see [`Surface`]).
//!
//! A ray of a fan or cone begins at the source; a ray of a parallel beam has no ends; the
//! detector ends no ray, so it may stand at the axis of rotation.
//!
//! Source: van Aarle et al. 2016, doi:10.1364/OE.24.025129 (the ASTRA toolbox). Validated
//! by `equals_the_reference` in `models/tests/suite/ct.rs` and by the tests below.

use super::rigid::plane_distance;
use super::{CtError, cross, dot, minus, norm};
use microtome_kernels::ray::{Beam, Panel, Surface, View};

/// Greatest coordinate that is believed, mm.
const FARTHEST_MM: f64 = 1e9;
/// Radii outside of this are a wrong unit, mm.
const RADIUS_MM: [f64; 2] = [1e-9, 1e9];
/// Least sine of an angle that counts as one.
const ANGLE: f64 = 1e-9;

/// Parallel or divergent beam, in a plane or in space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GeometryKind {
    /// Parallel rays in the plane.
    Parallel2d,
    /// Rays from a point in the plane.
    Fan2d,
    /// Parallel rays in space.
    Parallel3d,
    /// Rays from a point in space.
    Cone3d,
}

impl GeometryKind {
    /// All of them.
    pub const ALL: [GeometryKind; 4] = [
        GeometryKind::Parallel2d,
        GeometryKind::Fan2d,
        GeometryKind::Parallel3d,
        GeometryKind::Cone3d,
    ];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            GeometryKind::Parallel2d => "parallel2d",
            GeometryKind::Fan2d => "fan2d",
            GeometryKind::Parallel3d => "parallel3d",
            GeometryKind::Cone3d => "cone3d",
        }
    }

    /// The kind of this name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn parse(name: &str) -> Result<Self, CtError> {
        let found = Self::ALL.into_iter().find(|k| k.name() == name);
        found.ok_or_else(|| CtError::UnknownKind { kind: name.into() })
    }

    /// Number of axes of the volume.
    pub fn dimensions(self) -> usize {
        match self {
            GeometryKind::Parallel2d | GeometryKind::Fan2d => 2,
            _ => 3,
        }
    }

    /// Whether rays are parallel.
    pub fn is_parallel(self) -> bool {
        matches!(self, GeometryKind::Parallel2d | GeometryKind::Parallel3d)
    }

    /// Numbers of a row.
    pub fn width(self) -> usize {
        if self.dimensions() == 2 { 6 } else { 12 }
    }

    /// What stands in a row.
    pub fn columns(self) -> &'static str {
        match self {
            GeometryKind::Parallel2d => "ray, detector, u; x y each",
            GeometryKind::Fan2d => "source, detector, u; x y each",
            GeometryKind::Parallel3d => "ray, detector, u, v; x y z each",
            GeometryKind::Cone3d => "source, detector, u, v; x y z each",
        }
    }
}

/// Views and their detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    kind: GeometryKind,
    panel: Panel,
    views: Vec<View>,
}

impl Geometry {
    /// A geometry from rows of vectors.
    ///
    /// # Shapes
    /// `detector` `[nv, nu]`, with `nv` 1 in the plane; `rows` `[view, column]`.
    ///
    /// # Units
    /// mm; the length of a parallel ray has no meaning.
    ///
    /// # Errors
    /// No views or pixels, numbers that are not finite, a ray without a direction,
    /// pixel steps that are zero or parallel, rays along the detector, a source on its
    /// plane. The message names the view.
    pub fn new(kind: GeometryKind, detector: [usize; 2], rows: &[f64]) -> Result<Self, CtError> {
        let [nv, nu] = detector;
        if nu == 0 || nv == 0 || nu.checked_mul(nv).is_none() {
            let what = format!("{nv} x {nu} pixels; at least one in every direction is needed");
            return Err(CtError::key("detector", what));
        }
        if kind.dimensions() == 2 && nv != 1 {
            let what = format!("{} has one row of pixels, not {nv}; write [nu]", kind.name());
            return Err(CtError::key("detector", what));
        }
        let width = kind.width();
        if rows.is_empty() {
            return Err(CtError::key("views", "there is no view; at least one is needed"));
        }
        if !rows.len().is_multiple_of(width) {
            return Err(CtError::Columns { kind, expected: width, found: rows.len() % width });
        }
        let mut views = Vec::with_capacity(rows.len() / width);
        for (at, row) in rows.chunks_exact(width).enumerate() {
            let view = of_row(kind, row);
            check(kind, at, row, &view)?;
            views.push(view);
        }
        Ok(Self { kind, panel: Panel::flat(nu, nv), views })
    }

    /// The same views of a detector of another surface (see [`Surface`]).
    ///
    /// # Errors
    /// A curved detector of a parallel beam, a radius that is not positive, an arc of a
    /// whole turn or more, a source on the cylinder.
    pub fn with_surface(mut self, surface: Surface) -> Result<Self, CtError> {
        if let Surface::Cylinder { radius } = surface {
            if self.kind.is_parallel() {
                let what = format!("curved, but a beam of {} has no source", self.kind.name());
                return Err(CtError::key("detector_shape", what));
            }
            if let Some(r) = radius.filter(|r| !(RADIUS_MM[0]..=RADIUS_MM[1]).contains(r)) {
                let what = format!("{r}; the radius is positive, in mm, at most 1e9");
                return Err(CtError::key("detector_radius_mm", what));
            }
            let turn = (self.panel.nu as f64 - 1.0) * 0.5;
            for (at, view) in self.views.iter().enumerate() {
                let Beam::Source(source) = view.beam else { continue };
                let apart = minus(view.detector, source);
                let distance = plane_distance(view);
                let radius = radius.unwrap_or(distance);
                let pitch = norm(view.u);
                if turn * pitch >= std::f64::consts::PI * radius {
                    let what = format!(
                        "{} pixels of {pitch} mm are more than a turn of a radius of {radius} mm",
                        self.panel.nu
                    );
                    return Err(CtError::view(at, what));
                }
                // In the plane across the axis the source is `beside` and `behind` of it.
                let (beside, behind) = (dot(apart, view.u) / pitch, distance - radius);
                if (beside.hypot(behind) - radius).abs() < ANGLE * radius {
                    return Err(CtError::view(at, "the source is on the cylinder of the detector"));
                }
            }
        }
        self.panel.surface = surface;
        Ok(self)
    }

    /// Flat or curved.
    pub fn surface(&self) -> Surface {
        self.panel.surface
    }

    /// Parallel or divergent, in a plane or in space.
    pub fn kind(&self) -> GeometryKind {
        self.kind
    }

    /// Pixels `[nv, nu]`.
    pub fn detector(&self) -> [usize; 2] {
        [self.panel.nv, self.panel.nu]
    }

    pub(super) fn panel(&self) -> Panel {
        self.panel
    }

    /// Number of views.
    pub fn n_views(&self) -> usize {
        self.views.len()
    }

    /// The views with three coordinates; in the plane z is 0 and v is (0, 0, 1).
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The rows of vectors that this geometry was made of.
    pub fn rows(&self) -> Vec<f64> {
        let d = self.kind.dimensions();
        let mut out = Vec::with_capacity(self.views.len() * self.kind.width());
        for view in &self.views {
            let (Beam::Parallel(first) | Beam::Source(first)) = view.beam;
            for part in [first, view.detector, view.u] {
                out.extend_from_slice(&part[..d]);
            }
            if d == 3 {
                out.extend_from_slice(&view.v);
            }
        }
        out
    }

    /// Other views of the same detector.
    pub(super) fn with_views(&self, views: Vec<View>) -> Result<Self, CtError> {
        self.rebuilt(self.detector(), views, self.surface())
    }

    /// Other views of another detector, checked as if they came from a file.
    pub(super) fn rebuilt(
        &self,
        detector: [usize; 2],
        views: Vec<View>,
        surface: Surface,
    ) -> Result<Self, CtError> {
        let of = Self { kind: self.kind, panel: self.panel, views };
        Self::new(self.kind, detector, &of.rows())?.with_surface(surface)
    }

    /// Some of the views, in the given order.
    ///
    /// # Errors
    /// A view that does not exist; no view at all.
    pub fn subset(&self, views: &[usize]) -> Result<Self, CtError> {
        if views.is_empty() {
            return Err(CtError::key("views", "there is no view; at least one is needed"));
        }
        let view = |at: &usize| {
            let no_view = CtError::NoView { view: *at, views: self.views.len() };
            self.views.get(*at).copied().ok_or(no_view)
        };
        let views = views.iter().map(view).collect::<Result<_, _>>()?;
        Ok(Self { kind: self.kind, panel: self.panel, views })
    }

    /// The shape of the projections: `[view, u]` in the plane, `[view, v, u]` in space.
    pub fn shape(&self) -> Vec<usize> {
        if self.kind.dimensions() == 2 {
            vec![self.views.len(), self.panel.nu]
        } else {
            vec![self.views.len(), self.panel.nv, self.panel.nu]
        }
    }
}

fn of_row(kind: GeometryKind, row: &[f64]) -> View {
    let d = kind.dimensions();
    let part = |k: usize| std::array::from_fn(|i| if i < d { row[k * d + i] } else { 0.0 });
    let beam = if kind.is_parallel() { Beam::Parallel(part(0)) } else { Beam::Source(part(0)) };
    let v = if d == 3 { part(3) } else { [0.0, 0.0, 1.0] };
    View { beam, detector: part(1), u: part(2), v }
}

fn check(kind: GeometryKind, at: usize, row: &[f64], view: &View) -> Result<(), CtError> {
    if let Some(k) = row.iter().position(|x| !x.is_finite()) {
        let what = format!("column {k} is {}; finite numbers are needed", row[k]);
        return Err(CtError::view(at, what));
    }
    if let Some(k) = row.iter().position(|x| x.abs() > FARTHEST_MM) {
        let what = format!("column {k} is {:e} mm; at most 1e9 is believed", row[k]);
        return Err(CtError::view(at, what));
    }
    for (name, step) in [("u", view.u), ("v", view.v)] {
        if norm(step) < 1.0 / FARTHEST_MM {
            let what = format!("the pixel step {name} is zero; its length is the pixel pitch");
            return Err(CtError::view(at, what));
        }
    }
    let normal = cross(view.u, view.v);
    if norm(normal) < ANGLE * norm(view.u) * norm(view.v) {
        return Err(CtError::view(at, "the pixel steps u and v are parallel"));
    }
    let (ray, what) = match view.beam {
        Beam::Parallel(ray) => (ray, "the ray runs along the detector"),
        Beam::Source(source) => {
            (minus(view.detector, source), "the source is on the plane of the detector")
        }
    };
    if norm(ray) < 1.0 / FARTHEST_MM {
        let what = if kind.is_parallel() {
            "the ray is zero; it needs a direction"
        } else {
            "the source is at the centre of the detector"
        };
        return Err(CtError::view(at, what));
    }
    if dot(ray, normal).abs() < ANGLE * norm(ray) * norm(normal) {
        return Err(CtError::view(at, what));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use GeometryKind::{Cone3d, Fan2d, Parallel2d, Parallel3d};

    #[test]
    fn rows_return() {
        for kind in GeometryKind::ALL {
            let row = [1.0, -9.0, 2.0, 3.0, 50.0, 6.0, 1.5, 0.2, 0.1, -0.1, 0.3, 1.4];
            let rows: Vec<f64> = row.repeat(24 / kind.width())[..24].to_vec();
            let nv = if kind.dimensions() == 2 { 1 } else { 4 };
            let g = Geometry::new(kind, [nv, 5], &rows).unwrap();
            assert_eq!(g.rows(), rows);
            assert_eq!(g.n_views(), 24 / kind.width());
            let half = g.subset(&[1]).unwrap();
            assert_eq!(half.rows(), rows[kind.width()..2 * kind.width()]);
            assert_eq!(GeometryKind::parse(kind.name()).unwrap(), kind);
        }
    }

    #[test]
    fn impossible_views_are_refused_by_name() {
        let says = |kind, detector, rows: &[f64], text: &str| {
            let found = Geometry::new(kind, detector, rows).unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        let good = [0.0, -1.0, 0.0, 0.0, 1.0, 0.0];
        let with = |k: usize, v: f64| {
            let mut row = [good, good].concat();
            row[6 + k] = v;
            row
        };
        says(Parallel2d, [1, 5], &with(1, 0.0), "view 1 (counted from 0): the ray is zero");
        says(Parallel2d, [1, 5], &with(4, 0.0), "step u is zero");
        says(Parallel2d, [1, 5], &with(2, f64::NAN), "column 2 is NaN");
        says(Parallel2d, [1, 5], &with(2, 1e300), "at most 1e9");
        let along = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        says(Parallel2d, [1, 5], &along, "runs along the detector");
        says(Fan2d, [1, 5], &[0.0; 6], "step u is zero");
        says(Fan2d, [1, 5], &[9.0, 0.0, 5.0, 0.0, 1.0, 0.0], "on the plane of the detector");
        says(Fan2d, [1, 5], &[5.0, 0.0, 5.0, 0.0, 1.0, 0.0], "at the centre of the detector");
        says(Fan2d, [2, 5], &good, "one row of pixels");
        says(Fan2d, [1, 0], &good, "at least one");
        says(Fan2d, [1, 5], &good[..5], "found 5");
        says(Fan2d, [1, 5], &[], "no view");
        let cone = [0.0, -9.0, 0.0, 0.0, 9.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0];
        says(Cone3d, [3, 5], &cone, "u and v are parallel");
        says(Parallel3d, [3, 5], &cone, "u and v are parallel");
        let g = Geometry::new(Parallel2d, [1, 5], &good).unwrap();
        assert!(g.subset(&[]).is_err());
        assert!(g.subset(&[1]).unwrap_err().to_string().contains("view 1 was asked for"));
    }
}
