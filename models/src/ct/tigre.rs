//! Geometries of TIGRE: Euler angles, two distances, offsets.
//!
//! With $R = R_z(\alpha)R_y(\theta)R_z(\psi)$ and $Q = R_z(\mathrm{roll})R_y(\mathrm{pitch})R_x(\mathrm{yaw})$,
//! relative to the centre of TIGRE's image,
//!
//! $$s = R\,(D_{so}, 0, 0)^T - o + k,\qquad
//!   c = R\,\bigl(D_{so}-D_{sd},\, o_u,\, o_v\bigr)^T - o + k,$$
//! $$u = R\,Q\,(0, d_u, 0)^T,\qquad v = R\,Q\,(0, 0, d_v)^T,\qquad
//!   k = C\,(-\sin\alpha, \cos\alpha, 0)^T$$
//!
//! | symbol | TIGRE | unit |
//! |---|---|---|
//! | $\alpha, \theta, \psi$ | `angles` | rad |
//! | $D_{so}, D_{sd}$ | `DSO`, `DSD` | mm |
//! | $o$ | `offOrigin` (z, y, x in Python) | mm |
//! | $o_v, o_u$ | `offDetector` (v, u in Python) | mm |
//! | roll, pitch, yaw | `rotDetector` | rad |
//! | $C$ | `COR` | mm |
//!
//! So `volume.centre_mm` is 0 for TIGRE's image, whatever `offOrigin` is. $\alpha$ is the
//! angle of [`super::TrajectorySpec`] less 90 degrees. A parallel beam runs along
//! $R\,e_x$. Source: Biguri et al. 2016, doi:10.1088/2057-1976/2/5/055010, and the functions
//! `eulerZYZ`, `rollPitchYaw` and `computeDeltas_Siddon` of TIGRE (2025). Validated by
//! `tigre_geometries` in `models/tests/suite/exchange.rs`; TIGRE itself needs a GPU and was not
//! run.

use super::rtk::frame_of_detector;
use super::{CtError, GeometryKind, RigidTransform};
use microtome_kernels::ray::{Beam, View};
use serde::{Deserialize, Serialize};

/// How near to the pole theta leaves alpha and psi undetermined.
const POLE: f64 = 1e-12;

/// One value for all views, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Each<T> {
    /// One for all.
    One(T),
    /// One for each.
    Many(Vec<T>),
}

/// Angles in rad: about z alone, or ZYZ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TigreAngles {
    /// About z.
    Plane(Vec<f64>),
    /// About z, y, z: alpha, theta, psi.
    Euler(Vec<[f64; 3]>),
}

fn cone() -> String {
    "cone".into()
}

/// The attributes of a TIGRE geometry, under their names there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TigreGeometry {
    /// `cone` or `parallel`.
    #[serde(default = "cone")]
    pub mode: String,
    /// Angles of the views.
    pub angles: TigreAngles,
    /// Source to origin.
    #[serde(rename = "DSO")]
    pub dso: Each<f64>,
    /// Source to detector.
    #[serde(rename = "DSD")]
    pub dsd: Each<f64>,
    /// Pixels `[nv, nu]`.
    #[serde(rename = "nDetector")]
    pub n_detector: [usize; 2],
    /// Pitch `[dv, du]`.
    #[serde(rename = "dDetector")]
    pub d_detector: [f64; 2],
    /// Offset of the image, z before y before x.
    #[serde(rename = "offOrigin", default, skip_serializing_if = "Option::is_none")]
    pub off_origin: Option<Each<[f64; 3]>>,
    /// Offset of the detector `[v, u]`.
    #[serde(rename = "offDetector", default, skip_serializing_if = "Option::is_none")]
    pub off_detector: Option<Each<[f64; 2]>>,
    /// Roll, pitch and yaw of the detector.
    #[serde(rename = "rotDetector", default, skip_serializing_if = "Option::is_none")]
    pub rot_detector: Option<Each<[f64; 3]>>,
    /// Shift of the centre of rotation.
    #[serde(rename = "COR", default, skip_serializing_if = "Option::is_none")]
    pub cor: Option<Each<f64>>,
}

/// The value of every view.
fn spread<T: Copy>(
    key: &'static str,
    given: Option<&Each<T>>,
    views: usize,
    none: T,
) -> Result<Vec<T>, CtError> {
    match given {
        None => Ok(vec![none; views]),
        Some(Each::One(v)) => Ok(vec![*v; views]),
        Some(Each::Many(list)) if list.len() == views => Ok(list.clone()),
        Some(Each::Many(list)) => {
            Err(CtError::key(key, format!("{} values for {views} angles", list.len())))
        }
    }
}

fn turns(axes: [[f64; 3]; 3], angles: [f64; 3]) -> Result<RigidTransform, CtError> {
    let [a, b, c] = [0, 1, 2].map(|k| RigidTransform::rotation(axes[k], angles[k]));
    Ok(a? * b? * c?)
}

const X: [f64; 3] = [1.0, 0.0, 0.0];
const Y: [f64; 3] = [0.0, 1.0, 0.0];
const Z: [f64; 3] = [0.0, 0.0, 1.0];

impl TigreGeometry {
    /// The rows of vectors of these views, the centre of the image at the origin.
    ///
    /// # Errors
    /// Another kind or detector, lists of another length than the angles.
    pub fn rows(&self, kind: GeometryKind, detector: [usize; 2]) -> Result<Vec<f64>, CtError> {
        let expected = match self.mode.as_str() {
            "cone" => GeometryKind::Cone3d,
            "parallel" => GeometryKind::Parallel3d,
            word => {
                let what = format!("`{word}`; use cone or parallel");
                return Err(CtError::key("mode", what));
            }
        };
        if kind != expected {
            let what = format!("{}, but mode is {}", kind.name(), self.mode);
            return Err(CtError::key("kind", what));
        }
        if detector != self.n_detector {
            let what = format!("{detector:?}, but nDetector is {:?}", self.n_detector);
            return Err(CtError::key("detector", what));
        }
        let angles = match &self.angles {
            TigreAngles::Plane(list) => list.iter().map(|a| [*a, 0.0, 0.0]).collect(),
            TigreAngles::Euler(list) => list.clone(),
        };
        let n = angles.len();
        let dso = spread("DSO", Some(&self.dso), n, 0.0)?;
        let dsd = spread("DSD", Some(&self.dsd), n, 0.0)?;
        let origin = spread("offOrigin", self.off_origin.as_ref(), n, [0.0; 3])?;
        let offset = spread("offDetector", self.off_detector.as_ref(), n, [0.0; 2])?;
        let tilt = spread("rotDetector", self.rot_detector.as_ref(), n, [0.0; 3])?;
        let cor = spread("COR", self.cor.as_ref(), n, 0.0)?;
        let [dv, du] = self.d_detector;
        let mut rows = Vec::with_capacity(n * 12);
        for k in 0..n {
            let turn = turns([Z, Y, Z], angles[k])?;
            let tilted = turn * turns([Z, Y, X], tilt[k])?;
            let (sine, cosine) = angles[k][0].sin_cos();
            let [oz, oy, ox] = origin[k];
            let shift = [-ox - cor[k] * sine, -oy + cor[k] * cosine, -oz];
            let place = |p: [f64; 3]| {
                let turned = turn.vector(p);
                std::array::from_fn::<f64, 3, _>(|i| turned[i] + shift[i])
            };
            let first = match kind {
                GeometryKind::Parallel3d => turn.vector(X),
                _ => place([dso[k], 0.0, 0.0]),
            };
            let centre = place([dso[k] - dsd[k], offset[k][1], offset[k][0]]);
            let (u, v) = (tilted.vector([0.0, du, 0.0]), tilted.vector([0.0, 0.0, dv]));
            for part in [first, centre, u, v] {
                rows.extend(part);
            }
        }
        Ok(rows)
    }

    /// The geometry of views given relative to the image: its centre at the origin, its
    /// axes along x, y, z. Parallel beams get `DSO` = `reach_mm` and `DSD` twice that; it
    /// should be beyond the image.
    ///
    /// # Errors
    /// Pixel steps that are not at right angles, of the wrong order, or of several
    /// lengths; oblique parallel rays.
    pub fn of_views(views: &[View], detector: [usize; 2], reach_mm: f64) -> Result<Self, CtError> {
        let length = |a: [f64; 3]| super::norm(a);
        let pitch = views.first().map_or([1.0; 2], |v| [length(v.v), length(v.u)]);
        let (mut angles, mut dso, mut dsd) = (Vec::new(), Vec::new(), Vec::new());
        let (mut origin, mut offset) = (Vec::new(), Vec::new());
        let mut parallel = false;
        for (at, view) in views.iter().enumerate() {
            let found = [length(view.v), length(view.u)];
            if (0..2).any(|k| (found[k] - pitch[k]).abs() > 1e-9 * pitch[k]) {
                let what = "the pixel pitch differs from that of view 0; this format has one";
                return Err(CtError::view(at, what));
            }
            // Rows u, v, normal; TIGRE's axes are normal, u, v.
            let frame = frame_of_detector(at, view)?;
            let [u, v, n] = frame.rotation_rows();
            let inner = |p: [f64; 3]| [super::dot(n, p), super::dot(u, p), super::dot(v, p)];
            // Columns of the turn are n, u, v.
            let pole = n[2].hypot(u[2]);
            angles.push(if pole > POLE {
                [v[1].atan2(v[0]), pole.atan2(v[2]), u[2].atan2(-n[2])]
            } else if v[2] > 0.0 {
                [n[1].atan2(n[0]), 0.0, 0.0]
            } else {
                [(-n[1]).atan2(-n[0]), std::f64::consts::PI, 0.0]
            });
            let centre = inner(view.detector);
            match view.beam {
                Beam::Source(source) => {
                    let s = inner(source);
                    dso.push(s[0]);
                    dsd.push(s[0] - centre[0]);
                    let o = [u, v].map(|axis| axis.map(|x| 0.0 - x));
                    let o: [f64; 3] = std::array::from_fn(|i| s[1] * o[0][i] + s[2] * o[1][i]);
                    origin.push([o[2], o[1], o[0]]);
                    offset.push([centre[2] - s[2], centre[1] - s[1]]);
                }
                Beam::Parallel(_) => {
                    parallel = true;
                    dso.push(reach_mm);
                    dsd.push(2.0 * reach_mm);
                    origin.push([0.0; 3]);
                    offset.push([centre[2], centre[1]]);
                }
            }
        }
        Ok(Self {
            mode: if parallel { "parallel".into() } else { cone() },
            angles: TigreAngles::Euler(angles),
            dso: Each::Many(dso),
            dsd: Each::Many(dsd),
            n_detector: detector,
            d_detector: pitch,
            off_origin: Some(Each::Many(origin)),
            off_detector: Some(Each::Many(offset)),
            rot_detector: None,
            cor: None,
        })
    }
}
