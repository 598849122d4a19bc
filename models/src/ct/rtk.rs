//! Geometries of RTK: nine numbers a projection.
//!
//! With $R = R_z(-\iota)\,R_x(-o)\,R_y(-\gamma)$ (gantry $\gamma$, out of plane $o$, in plane
//! $\iota$), points in the frame of the detector are $x' = Rx$; there
//!
//! $$s' = (s_x, s_y, a),\qquad p' = (u + p_x,\; v + p_y,\; a - d),$$
//!
//! $a$ from source to isocentre, $d$ from source to detector, $u, v$ the coordinates of a
//! pixel on the projection image in mm. Coordinates are kept as they are: RTK's gantry
//! turns about y, and its volume as an array is `[z, y, x]` in the same axes. $d = 0$ is a
//! parallel beam along $R^Te_z$. The projection matrix (mm to mm) is, for $d > 0$,
//!
//! $$\begin{pmatrix} -dR_0 + (s_x-p_x)R_2 & d s_x - (s_x-p_x)a\\
//!    -dR_1 + (s_y-p_y)R_2 & d s_y - (s_y-p_y)a\\ R_2 & -a\end{pmatrix}$$
//!
//! with rows $R_k$ of $R$. Source: Rit et al. 2014, doi:10.1088/1742-6596/489/1/012079, and
//! RTK's documentation of its geometry. Validated by `rtk_geometries_equal_their_matrices`
//! in `models/tests/suite/exchange.rs`, whose matrices RTK made.

use super::{CtError, GeometryKind, RigidTransform, cross, dot, minus, norm};
use microtome_kernels::ray::{Beam, View};

/// How far pixel steps may be from right angles, as a cosine.
const SQUARE: f64 = 1e-9;
/// How near to a right angle the out of plane angle leaves the other two undetermined.
const POLE: f64 = 1e-12;

/// A projection of RTK; mm and degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RtkProjection {
    /// SourceToIsocenterDistance.
    pub source_to_isocentre_mm: f64,
    /// SourceToDetectorDistance; 0 for a parallel beam.
    pub source_to_detector_mm: f64,
    /// GantryAngle.
    pub gantry_deg: f64,
    /// ProjectionOffsetX and ProjectionOffsetY.
    pub projection_offset_mm: [f64; 2],
    /// SourceOffsetX and SourceOffsetY.
    pub source_offset_mm: [f64; 2],
    /// InPlaneAngle.
    pub in_plane_deg: f64,
    /// OutOfPlaneAngle.
    pub out_of_plane_deg: f64,
}

/// All projections of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RtkGeometry {
    /// The projections.
    pub projections: Vec<RtkProjection>,
    /// RadiusCylindricalDetector; 0 for a flat one.
    pub radius_mm: f64,
}

impl RtkProjection {
    /// R, from the world to the frame of the detector.
    fn rotation(&self) -> Result<RigidTransform, CtError> {
        let turn = |axis, degrees: f64| RigidTransform::rotation(axis, -degrees.to_radians());
        Ok(turn([0.0, 0.0, 1.0], self.in_plane_deg)?
            * turn([1.0, 0.0, 0.0], self.out_of_plane_deg)?
            * turn([0.0, 1.0, 0.0], self.gantry_deg)?)
    }

    /// RTK's projection matrix: world mm to mm on the projection image.
    ///
    /// # Errors
    /// Angles that are not finite.
    pub fn matrix(&self) -> Result<[[f64; 4]; 3], CtError> {
        let rows = self.rotation()?.rotation_rows();
        let (a, d) = (self.source_to_isocentre_mm, self.source_to_detector_mm);
        let ([sx, sy], [px, py]) = (self.source_offset_mm, self.projection_offset_mm);
        let row = |k: usize, s: f64, p: f64| {
            let [x, y, z] = rows[k];
            if d == 0.0 {
                return [x, y, z, -p];
            }
            let mut m: [f64; 4] = [-d * x, -d * y, -d * z, d * s - (s - p) * a];
            for i in 0..3 {
                m[i] += (s - p) * rows[2][i];
            }
            m
        };
        let [x, y, z] = rows[2];
        let last = if d == 0.0 { [0.0, 0.0, 0.0, 1.0] } else { [x, y, z, -a] };
        Ok([row(0, sx, px), row(1, sy, py), last])
    }

    /// The view of this projection.
    ///
    /// # Units
    /// `pixel` and `middle` are (u, v) in mm: the pitch, and the coordinates of the middle
    /// of the projection image.
    fn view(&self, pixel: [f64; 2], middle: [f64; 2]) -> Result<View, CtError> {
        let back = self.rotation()?.inverse();
        let [u, v] = [back.vector([pixel[0], 0.0, 0.0]), back.vector([0.0, pixel[1], 0.0])];
        let (a, d) = (self.source_to_isocentre_mm, self.source_to_detector_mm);
        let ([sx, sy], [px, py]) = (self.source_offset_mm, self.projection_offset_mm);
        let place = |z: f64| back.vector([middle[0] + px, middle[1] + py, z]);
        if d == 0.0 {
            let beam = Beam::Parallel(back.vector([0.0, 0.0, 1.0]));
            return Ok(View { beam, detector: place(0.0), u, v });
        }
        Ok(View { beam: Beam::Source(back.vector([sx, sy, a])), detector: place(a - d), u, v })
    }

    /// The projection of a view whose pixels have the middle of the image as their origin.
    fn of_view(at: usize, view: &View) -> Result<Self, CtError> {
        let frame = frame_of_detector(at, view)?;
        let rows = frame.rotation_rows();
        let centre = frame.vector(view.detector);
        // R = Rz(a) Rx(b) Ry(c).
        let cosine = rows[2][0].hypot(rows[2][2]);
        let b = rows[2][1].atan2(cosine);
        let (a, c) = if cosine > POLE {
            ((-rows[0][1]).atan2(rows[1][1]), (-rows[2][0]).atan2(rows[2][2]))
        } else {
            (0.0, rows[0][2].atan2(rows[0][0]))
        };
        let angles = Self {
            gantry_deg: 0.0 - c.to_degrees(),
            in_plane_deg: 0.0 - a.to_degrees(),
            out_of_plane_deg: 0.0 - b.to_degrees(),
            ..Self::default()
        };
        Ok(match view.beam {
            Beam::Parallel(_) => Self { projection_offset_mm: [centre[0], centre[1]], ..angles },
            Beam::Source(source) => {
                let source = frame.vector(source);
                Self {
                    source_to_isocentre_mm: source[2],
                    source_to_detector_mm: source[2] - centre[2],
                    projection_offset_mm: [centre[0], centre[1]],
                    source_offset_mm: [source[0], source[1]],
                    ..angles
                }
            }
        })
    }
}

/// The turn from the world to the axes of u, v and their normal, which must point to the
/// source.
pub(super) fn frame_of_detector(at: usize, view: &View) -> Result<RigidTransform, CtError> {
    let unit = |a: [f64; 3]| a.map(|x| x / norm(a));
    let (u, v) = (unit(view.u), unit(view.v));
    if dot(u, v).abs() > SQUARE {
        return Err(CtError::view(at, "u and v are not at right angles; this format needs it"));
    }
    let normal = cross(u, v);
    match view.beam {
        Beam::Source(source) => {
            if dot(minus(source, view.detector), normal) < 0.0 {
                let what = "u x v points away from the source; this format needs the other \
                            order of columns or rows (turn u or v round, and the projections)";
                return Err(CtError::view(at, what));
            }
        }
        Beam::Parallel(ray) => {
            if norm(cross(unit(ray), normal)) > SQUARE.sqrt() {
                let what = "the ray is not at right angles to the detector; this format needs it";
                return Err(CtError::view(at, what));
            }
        }
    }
    RigidTransform::from_matrix([u, v, normal], [0.0; 3])
}

impl RtkGeometry {
    /// The rows of vectors of these projections.
    ///
    /// # Shapes
    /// `detector` `[nv, nu]`, `pixel_mm` `[dv, du]`, `origin_mm` `[v, u]`, the coordinates of
    /// the first pixel on the projection image; centred where there is none.
    ///
    /// # Errors
    /// Another kind than the beams of the file, numbers that are not finite.
    pub fn rows(
        &self,
        kind: GeometryKind,
        detector: [usize; 2],
        pixel_mm: [f64; 2],
        origin_mm: Option<[f64; 2]>,
    ) -> Result<Vec<f64>, CtError> {
        let mut rows = Vec::new();
        let half = |n: usize, d: f64| (n as f64 - 1.0) / 2.0 * d;
        let ([nv, nu], [dv, du]) = (detector, pixel_mm);
        let middle = origin_mm.map_or([0.0; 2], |[v, u]| [u + half(nu, du), v + half(nv, dv)]);
        for (at, projection) in self.projections.iter().enumerate() {
            let parallel = projection.source_to_detector_mm == 0.0;
            let expected = if parallel { GeometryKind::Parallel3d } else { GeometryKind::Cone3d };
            if expected != kind {
                let what = format!("is of {}, but kind is {}", expected.name(), kind.name());
                return Err(CtError::view(at, what));
            }
            let shifted = projection.source_offset_mm != [0.0; 2];
            if parallel && shifted {
                return Err(CtError::view(at, "a parallel beam with an offset of its source"));
            }
            let view = projection.view([du, dv], middle)?;
            let (Beam::Parallel(first) | Beam::Source(first)) = view.beam;
            for part in [first, view.detector, view.u, view.v] {
                rows.extend(part);
            }
        }
        Ok(rows)
    }

    /// The projections of views whose projection images are centred on 0.
    ///
    /// # Errors
    /// Pixel steps that are not at right angles or of the wrong order, oblique parallel
    /// rays.
    pub fn of_views(views: &[View], radius_mm: f64) -> Result<Self, CtError> {
        let of = |(at, view)| RtkProjection::of_view(at, view);
        let projections = views.iter().enumerate().map(of).collect::<Result<_, _>>()?;
        Ok(Self { projections, radius_mm })
    }
}
