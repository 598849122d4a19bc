//! Geometries of other programs as rows of vectors, and back.
//!
//! ```toml
//! [import]                          # in place of `views` and of [trajectory]
//! file = "geometry.xml"             # relative to this file
//! format = "rtk"                    # astra | rtk | tigre | diffct
//! pixel_mm = [dv, du]               # rtk, diffct, astra's angles; [du] in the plane
//! origin_mm = [v, u]                # rtk: place of the first pixel; centred where left out
//! half_pixel = true                 # diffct: pixel i of n at i - n/2 steps (diffct_mlx)
//! source_to_axis_mm = 200           # astra's angles of fans and cones
//! axis_to_detector_mm = 100
//! ```
//!
//! | format | file | what it holds |
//! |---|---|---|
//! | `astra` | .npy `[view, 6 or 12]` | the rows of `*_vec` geometries: those of this library |
//! | `astra` | .npy `[view]` | the angles (rad) of `parallel`, `fanflat`, `parallel3d`, `cone` |
//! | `rtk` | .xml, version 3 | see `rtk` |
//! | `tigre` | .json | see `tigre` |
//! | `diffct` | .npy `[view, 6 or 12]` | source or ray, detector, unit u, unit v |
//!
//! diffct 2.5.0 has pixel $i$ of $n$ at $i - (n-1)/2$ steps from the centre, as here;
//! diffct_mlx 2.1.0 (fans and parallel beams also in 1.0.1) at $i - n/2$, so that the centre
//! here is theirs less $u/2$ (and $v/2$). Its projections are `[view, u, v]`, ASTRA's
//! `[v, view, u]`. Validated by `models/tests/suite/exchange.rs` and `tests/cli/ct_setups.rs`.

use super::{CtError, Geometry, GeometryKind, Surface, TrajectorySpec, norm};
use microtome_kernels::ray::{Beam, View};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Most by which the pitch of a view may differ from that of another.
const PITCH: f64 = 1e-6;

/// Another program's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeFormat {
    /// The ASTRA toolbox.
    Astra,
    /// The Reconstruction Toolkit.
    Rtk,
    /// TIGRE.
    Tigre,
    /// diffct and diffct_mlx.
    Diffct,
}

/// The table `[import]` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportSpec {
    /// The file; relative to the file that names it.
    pub file: PathBuf,
    /// Whose it is.
    pub format: ExchangeFormat,
    /// Pixel pitch `[dv, du]` or `[du]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_mm: Option<Vec<f64>>,
    /// Place of the first pixel `[v, u]` (rtk).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_mm: Option<Vec<f64>>,
    /// Whether pixel i of n is i - n/2 steps from the centre (diffct).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_pixel: Option<bool>,
    /// Distance from source to axis (angles of astra).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_to_axis_mm: Option<f64>,
    /// Distance from axis to detector (angles of astra).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis_to_detector_mm: Option<f64>,
}

impl ImportSpec {
    /// Refuses keys that a format has no use for.
    fn only(&self, used: &[&str]) -> Result<(), CtError> {
        for (key, given) in [
            ("import.pixel_mm", self.pixel_mm.is_some()),
            ("import.origin_mm", self.origin_mm.is_some()),
            ("import.half_pixel", self.half_pixel.is_some()),
            ("import.source_to_axis_mm", self.source_to_axis_mm.is_some()),
            ("import.axis_to_detector_mm", self.axis_to_detector_mm.is_some()),
        ] {
            if given && !used.contains(&key) {
                return Err(CtError::key(key, "has no meaning for this file"));
            }
        }
        Ok(())
    }

    /// `[dv, du]`, with dv 1 in the plane.
    fn pitch(&self, kind: GeometryKind) -> Result<[f64; 2], CtError> {
        let given = self.pixel_mm.as_deref();
        let given = given.ok_or_else(|| CtError::key("import.pixel_mm", "is missing"))?;
        match (kind.dimensions(), given) {
            (2, [du]) if du.is_finite() && *du > 0.0 => Ok([1.0, *du]),
            (3, [dv, du]) if given.iter().all(|d| d.is_finite() && *d > 0.0) => Ok([*dv, *du]),
            (d, found) => {
                let form = if d == 2 { "[du]" } else { "[dv, du]" };
                let what = format!("{found:?}; write positive numbers {form}");
                Err(CtError::key("import.pixel_mm", what))
            }
        }
    }

    /// The rows of a numeric file of ASTRA or diffct.
    ///
    /// # Shapes
    /// `values` of `shape` `[view]` or `[view, column]`; `detector` `[nv, nu]`.
    ///
    /// # Errors
    /// Keys that are missing or have no meaning, another shape, a format that is no table.
    pub fn table_rows(
        &self,
        kind: GeometryKind,
        detector: [usize; 2],
        shape: &[usize],
        values: &[f64],
    ) -> Result<Vec<f64>, CtError> {
        let vectors = match shape {
            [_] => false,
            [_, columns] if *columns == kind.width() => true,
            [_, columns] => {
                return Err(CtError::Columns { kind, expected: kind.width(), found: *columns });
            }
            _ => {
                let what = format!("has the shape {shape:?}; [view] or [view, column] is needed");
                return Err(CtError::key("import.file", what));
            }
        };
        match (self.format, vectors) {
            (ExchangeFormat::Astra, true) => {
                self.only(&[])?;
                Ok(values.to_vec())
            }
            (ExchangeFormat::Astra, false) => {
                let distances = ["import.source_to_axis_mm", "import.axis_to_detector_mm"];
                self.only(&[&["import.pixel_mm"], &distances[..]].concat())?;
                self.pitch(kind)?;
                let path = TrajectorySpec {
                    angles_deg: Some(values.iter().map(|a| a.to_degrees()).collect()),
                    source_to_axis_mm: self.source_to_axis_mm,
                    axis_to_detector_mm: self.axis_to_detector_mm,
                    ..TrajectorySpec::circular(
                        values.len(),
                        self.pixel_mm.as_deref().unwrap_or(&[]),
                    )
                };
                Ok(path.geometry(kind, detector)?.rows())
            }
            (ExchangeFormat::Diffct, true) => {
                self.only(&["import.pixel_mm", "import.half_pixel"])?;
                let [dv, du] = self.pitch(kind)?;
                Ok(of_diffct(kind, values, [du, dv], self.half_pixel == Some(true)))
            }
            (ExchangeFormat::Diffct, false) => {
                Err(CtError::Columns { kind, expected: kind.width(), found: 1 })
            }
            _ => Err(CtError::key("import.format", "rtk and tigre have no tables of numbers")),
        }
    }

    /// The rows of a geometry of RTK.
    ///
    /// # Errors
    /// As [`super::RtkGeometry::rows`], and keys that are missing or have no meaning.
    pub fn rtk_rows(
        &self,
        kind: GeometryKind,
        detector: [usize; 2],
        geometry: &super::RtkGeometry,
    ) -> Result<Vec<f64>, CtError> {
        self.only(&["import.pixel_mm", "import.origin_mm"])?;
        let origin = match self.origin_mm.as_deref() {
            None => None,
            Some([v, u]) if v.is_finite() && u.is_finite() => Some([*v, *u]),
            Some(found) => {
                let what = format!("{found:?}; write [v, u]");
                return Err(CtError::key("import.origin_mm", what));
            }
        };
        if kind.dimensions() == 2 {
            let what = format!("{}, but RTK's geometries are in space", kind.name());
            return Err(CtError::key("kind", what));
        }
        geometry.rows(kind, detector, self.pitch(kind)?, origin)
    }

    /// The rows of a geometry of TIGRE.
    ///
    /// # Errors
    /// As [`super::TigreGeometry::rows`], and keys that have no meaning.
    pub fn tigre_rows(
        &self,
        kind: GeometryKind,
        detector: [usize; 2],
        geometry: &super::TigreGeometry,
    ) -> Result<Vec<f64>, CtError> {
        self.only(&[])?;
        geometry.rows(kind, detector)
    }
}

/// Unit steps to pixel steps.
fn of_diffct(kind: GeometryKind, values: &[f64], [du, dv]: [f64; 2], half: bool) -> Vec<f64> {
    let d = kind.dimensions();
    let mut rows = values.to_vec();
    for row in rows.chunks_exact_mut(kind.width()) {
        row[2 * d..3 * d].iter_mut().for_each(|x| *x *= du);
        row[3 * d..].iter_mut().for_each(|x| *x *= dv);
        if half {
            for k in d..2 * d {
                row[k] -= row[k + d] / 2.0 + if d == 3 { row[k + 2 * d] / 2.0 } else { 0.0 };
            }
        }
    }
    rows
}

/// Arrays of diffct and the pitch that goes with them.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffctRows {
    /// `[view, column]`: source or ray, detector, unit u, unit v.
    pub rows: Vec<f64>,
    /// `[dv, du]`, `[du]` in the plane.
    pub pixel_mm: Vec<f64>,
}

impl Geometry {
    /// The rows as arrays of diffct; with `half_pixel` for diffct_mlx.
    ///
    /// # Errors
    /// A curved detector, views of several pitches.
    pub fn diffct_rows(&self, half_pixel: bool) -> Result<DiffctRows, CtError> {
        self.flat("diffct")?;
        let pitch = |v: &View| [norm(v.u), norm(v.v)];
        let first = pitch(&self.views()[0]);
        let d = self.kind().dimensions();
        let mut rows = Vec::new();
        for (at, view) in self.views().iter().enumerate() {
            let [du, dv] = pitch(view);
            let near = |a: f64, b: f64| (a - b).abs() <= PITCH * b;
            if !near(du, first[0]) || !near(dv, first[1]) {
                let what = "the pixel pitch differs from that of view 0; diffct has one";
                return Err(CtError::view(at, what));
            }
            let half = if half_pixel { 0.5 } else { 0.0 };
            let lift = if d == 3 { half } else { 0.0 };
            let centre: [f64; 3] =
                std::array::from_fn(|k| view.detector[k] + half * view.u[k] + lift * view.v[k]);
            let (Beam::Parallel(start) | Beam::Source(start)) = view.beam;
            let (u, v) = (view.u.map(|x| x / du), view.v.map(|x| x / dv));
            for part in &[start, centre, u, v][..d + 1] {
                rows.extend_from_slice(&part[..d]);
            }
        }
        let pixel_mm = if d == 2 { vec![first[0]] } else { vec![first[1], first[0]] };
        Ok(DiffctRows { rows, pixel_mm })
    }

    /// Refuses curved detectors for a program that has none.
    ///
    /// # Errors
    /// A curved detector.
    pub fn flat(&self, program: &str) -> Result<(), CtError> {
        if self.surface() == Surface::Flat {
            return Ok(());
        }
        let what = format!("is curved; {program} has flat detectors only");
        Err(CtError::key("detector_shape", what))
    }

    /// The radius of the detector that is the same in all views; 0 for a flat one.
    ///
    /// # Errors
    /// Views of several radii.
    pub fn radius_mm(&self) -> Result<f64, CtError> {
        match self.surface() {
            Surface::Flat => Ok(0.0),
            Surface::Cylinder { radius: Some(radius) } => Ok(radius),
            Surface::Cylinder { radius: None } => {
                let radii = || self.views().iter().map(super::rigid::plane_distance);
                let first = radii().next().unwrap_or(0.0);
                if radii().all(|r| (r - first).abs() <= PITCH * first) {
                    return Ok(first);
                }
                let what = "the distances from source to detector differ from view to view";
                Err(CtError::key("detector_radius_mm", what))
            }
        }
    }
}
