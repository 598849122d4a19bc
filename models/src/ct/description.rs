//! The TOML file of a set-up: kind, views or trajectory, detector, volume, projector.
//!
//! ```toml
//! kind = "cone3d"               # parallel2d | fan2d | parallel3d | cone3d
//! views = "views.npy"           # one row a view, or a [trajectory] table
//! detector = [nv, nu]           # [nu] in the plane
//! projector = "joseph"          # siddon | joseph | trilinear | sf
//! detector_shape = "curved"     # flat where left out; fans and cones
//! detector_radius_mm = 300      # curved; where left out, the distance from the source
//! [volume]
//! shape = [nz, ny, nx]          # [ny, nx] in the plane
//! voxel_mm = [hz, hy, hx]
//! centre_mm = [cz, cy, cx]      # 0 where left out
//! axes = [[x, y, z], ...]       # directions of iz, iy, ix; the world's where left out
//! ```
//!
//! A parallel beam whose volume moves from view to view is written by its poses, and always
//! has the trilinear projector:
//!
//! ```toml
//! kind = "pose5"
//! poses = "theta.npy"           # one row a view: alpha, beta, phi (rad), dx, dz (mm)
//! detector = [nv, nu]
//! pixel_mm = [dv, du]
//! detector_centre_mm = [z, x]   # 0 where left out
//! step_mm = 1.0                 # hy where left out; also for trilinear in other kinds
//! steps = 128                   # ny hy / step_mm, rounded up, where left out
//! mask = "mask.npy"             # [v, u] or [view, v, u]; 0 leaves a ray out
//! [volume]
//! shape = [nz, ny, nx]
//! voxel_mm = [hz, hy, hx]
//! ```
//!
//! `changes` has the keys that shift, tilt, crop, bin and move. The file of the rows is read
//! by `datasets`. Validated by the tests below and by `tests/cli/ct.rs`.

use super::{
    CropSpec, CtError, Geometry, GeometryKind, ImportSpec, PoseModel, RayTransform, Reduction,
    TrajectorySpec, TransformSpec, VolumeGrid,
};
use microtome_kernels::ray::trilinear::{About, Steps};
use microtome_kernels::ray::{Projector, Surface};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The kind of a moving volume.
const POSE5: &str = "pose5";

/// A set-up as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUpSpec {
    /// Name of the kind.
    pub kind: String,
    /// File of the rows; relative to the file that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<PathBuf>,
    /// Pixels `[nv, nu]` or `[nu]`.
    pub detector: Vec<usize>,
    /// `flat` or `curved`; flat where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_shape: Option<String>,
    /// Radius of a curved detector; its distance from the source where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_radius_mm: Option<f64>,
    /// The detector shifted along itself, `[v, u]` or `[u]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_offset_mm: Option<Vec<f64>>,
    /// The detector turned in its plane, about u, about v; in the plane about v.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_tilt_deg: Option<Vec<f64>>,
    /// Views and pixels that are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<CropSpec>,
    /// Pixels that become one, `[bv, bu]` or `[bu]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin: Option<Vec<usize>>,
    /// Name of the projector; joseph where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<String>,
    /// The voxels.
    pub volume: VolumeSpec,
    /// File of the poses, in place of `views`, for the kind `pose5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poses: Option<PathBuf>,
    /// Pixel pitch `[dv, du]` of the kind `pose5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixel_mm: Option<[f64; 2]>,
    /// Centre of the detector `[z, x]` of the kind `pose5`; 0 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_centre_mm: Option<[f64; 2]>,
    /// Length of a step of the trilinear projector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_mm: Option<f64>,
    /// Samples a ray of the trilinear projector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// File of the rays that count, for the kind `pose5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// The path, in place of `views`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory: Option<TrajectorySpec>,
    /// The views of another program, in place of `views`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportSpec>,
    /// Motions of views and volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transform: Vec<TransformSpec>,
}

/// A volume as written; lists are in the order of the array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Voxels.
    pub shape: Vec<usize>,
    /// Voxel size.
    pub voxel_mm: Vec<f64>,
    /// Centre; 0 where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centre_mm: Option<Vec<f64>>,
    /// Directions in which the indices grow, world vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axes: Option<Vec<Vec<f64>>>,
}

/// Geometry, volume and projector.
#[derive(Clone, Debug, PartialEq)]
pub struct SetUp {
    /// Where rays run.
    pub geometry: Geometry,
    /// The voxels.
    pub volume: VolumeGrid,
    /// Which lengths count.
    pub projector: Projector,
    /// The samples of the trilinear projector, about a point in the world.
    pub steps: Steps,
    /// The moving volume and its poses `[view, parameter]`, for the kind `pose5`.
    pub pose: Option<(PoseModel, Vec<f64>)>,
    /// The part of the projections that is used, where it is not all: what `geometry`
    /// already is.
    pub reduction: Option<Reduction>,
}

/// The projector of a name.
///
/// # Errors
/// An unknown name.
fn projector(name: &str) -> Result<Projector, CtError> {
    let found = Projector::EVERY.into_iter().find(|p| p.name() == name);
    found.ok_or_else(|| CtError::UnknownProjector { projector: name.into() })
}

impl SetUpSpec {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no TOML, unknown or missing keys, none or several of `views`,
    /// `[trajectory]` and `[import]`.
    pub fn from_toml(text: &str) -> Result<Self, CtError> {
        let spec: Self = toml::from_str(text)
            .map_err(|e| CtError::Text { text: e.to_string().trim().to_string() })?;
        if spec.kind == POSE5 {
            spec.check_pose5()?;
            return Ok(spec);
        }
        GeometryKind::parse(&spec.kind)?;
        let of_pose5 = [
            ("poses", spec.poses.is_some()),
            ("pixel_mm", spec.pixel_mm.is_some()),
            ("detector_centre_mm", spec.detector_centre_mm.is_some()),
            ("mask", spec.mask.is_some()),
        ];
        if let Some((key, _)) = of_pose5.into_iter().find(|(_, given)| *given) {
            return Err(CtError::key(key, "belongs to the kind pose5; leave it out"));
        }
        let given = [spec.views.is_some(), spec.trajectory.is_some(), spec.import.is_some()];
        match given.iter().filter(|g| **g).count() {
            1 => Ok(spec),
            0 => Err(CtError::key(
                "views",
                "is missing: give the file of the views, a [trajectory] table or an [import] table",
            )),
            _ => Err(CtError::key(
                "views",
                "only one of views, [trajectory] and [import] may stand; leave the others out",
            )),
        }
    }

    fn check_pose5(&self) -> Result<(), CtError> {
        let of_others = [
            ("views", self.views.is_some()),
            ("trajectory", self.trajectory.is_some()),
            ("import", self.import.is_some()),
            ("detector_shape", self.detector_shape.is_some()),
            ("detector_radius_mm", self.detector_radius_mm.is_some()),
            ("detector_offset_mm", self.detector_offset_mm.is_some()),
            ("detector_tilt_deg", self.detector_tilt_deg.is_some()),
            ("crop", self.crop.is_some()),
            ("bin", self.bin.is_some()),
            ("transform", !self.transform.is_empty()),
        ];
        if let Some((key, _)) = of_others.into_iter().find(|(_, given)| *given) {
            let what = "is not for pose5, which has poses, pixel_mm and detector_centre_mm";
            return Err(CtError::key(key, what));
        }
        if self.poses.is_none() {
            return Err(CtError::key("poses", "is missing: give the file of the poses"));
        }
        if self.pixel_mm.is_none() {
            return Err(CtError::key("pixel_mm", "is missing: give [dv, du]"));
        }
        match self.projector.as_deref() {
            None | Some("trilinear") => Ok(()),
            Some(name) => {
                projector(name)?;
                Err(CtError::key("projector", format!("{name}; pose5 has trilinear")))
            }
        }
    }

    fn build_pose5(&self, rows: Option<(&[f64], usize)>) -> Result<SetUp, CtError> {
        self.check_pose5()?;
        let [nv, nu] = self.detector[..] else {
            let what = format!("{:?}; pose5 needs [nv, nu]", self.detector);
            return Err(CtError::key("detector", what));
        };
        let volume = self.volume.grid()?;
        if volume.dimensions() != 3 {
            let what = format!("{:?}; pose5 needs 3 axes", self.volume.shape);
            return Err(CtError::key("volume.shape", what));
        }
        let Some((rows, columns)) = rows else {
            return Err(CtError::key("poses", "the rows of the poses are missing"));
        };
        if columns != 5 || !rows.len().is_multiple_of(5) {
            let what = format!(
                "rows of 5 numbers are needed (alpha, beta, phi in rad, dx, dz in mm); found {columns}"
            );
            return Err(CtError::key("poses", what));
        }
        let views = rows.len() / 5;
        if views == 0 {
            return Err(CtError::key("poses", "there is no view; at least one is needed"));
        }
        let pixel_mm = self.pixel_mm.unwrap_or([1.0; 2]);
        let centre = self.detector_centre_mm.unwrap_or([0.0; 2]);
        let model = PoseModel::five(
            volume.clone(),
            views,
            [nv, nu],
            pixel_mm,
            centre,
            self.step_mm,
            self.steps,
        )?;
        let geometry = model.geometry(rows)?;
        let (steps, pose) = (model.steps(), Some((model, rows.to_vec())));
        let projector = Projector::Trilinear;
        Ok(SetUp { geometry, volume, projector, steps, pose, reduction: None })
    }

    /// Takes another projector.
    ///
    /// # Errors
    /// An unknown name.
    pub fn with_projector(mut self, name: &str) -> Result<Self, CtError> {
        self.projector = Some(projector(name)?.name().into());
        Ok(self)
    }

    /// Pixels `[nv, nu]` before crop and binning.
    ///
    /// # Errors
    /// An unknown kind, another number of axes than the kind has.
    pub fn detector(&self) -> Result<[usize; 2], CtError> {
        let kind = GeometryKind::parse(&self.kind)?;
        match (kind.dimensions(), &self.detector[..]) {
            (2, [nu]) => Ok([1, *nu]),
            (3, [nv, nu]) => Ok([*nv, *nu]),
            (d, found) => {
                let form = if d == 2 { "[nu]" } else { "[nv, nu]" };
                let what = format!("{found:?}; {} needs {form}", kind.name());
                Err(CtError::key("detector", what))
            }
        }
    }

    /// The surface of the detector.
    fn surface(&self) -> Result<Surface, CtError> {
        match (self.detector_shape.as_deref().unwrap_or("flat"), self.detector_radius_mm) {
            ("curved", radius) => Ok(Surface::Cylinder { radius }),
            ("flat", None) => Ok(Surface::Flat),
            ("flat", Some(_)) => Err(CtError::key(
                "detector_radius_mm",
                "has no meaning for a flat detector; write detector_shape = \"curved\"",
            )),
            (word, _) => {
                Err(CtError::key("detector_shape", format!("`{word}`; use flat or curved")))
            }
        }
    }

    /// Builds the set-up.
    ///
    /// # Shapes
    /// `rows` `[view, columns]`, the content of `views` or of the imported file.
    ///
    /// # Errors
    /// Whatever is wrong with the geometry, the volume or the projector, by its key.
    pub fn build(&self, rows: Option<(&[f64], usize)>) -> Result<SetUp, CtError> {
        if self.kind == POSE5 {
            return self.build_pose5(rows);
        }
        let kind = GeometryKind::parse(&self.kind)?;
        let detector = self.detector()?;
        let surface = self.surface()?;
        let geometry = match (&self.trajectory, rows) {
            (Some(path), _) => path.geometry_on(kind, detector, surface)?,
            (None, Some((_, columns))) if columns != kind.width() => {
                return Err(CtError::Columns { kind, expected: kind.width(), found: columns });
            }
            (None, Some((rows, _))) => {
                Geometry::new(kind, detector, rows)?.with_surface(surface)?
            }
            (None, None) => return Err(CtError::key("views", "the rows of the views are missing")),
        };
        let volume = self.volume.grid()?;
        let v = &self.volume;
        if volume.dimensions() != kind.dimensions() {
            let what = format!("{:?}; {} needs {} axes", v.shape, kind.name(), kind.dimensions());
            return Err(CtError::key("volume.shape", what));
        }
        let (geometry, reduction) = self.changed(geometry)?;
        let (geometry, volume) = self.moved(geometry, volume)?;
        let projector = projector(self.projector.as_deref().unwrap_or("joseph"))?;
        let (grid, centre) = (*volume.grid(), volume.centre());
        let covering = |step| Steps::covering_by(&grid, centre, step).count;
        let default = Steps::covering(&grid, centre);
        let steps = super::pose::steps(default, self.step_mm, self.steps, covering)?;
        Ok(SetUp { geometry, volume, projector, steps, pose: None, reduction })
    }
}

impl VolumeSpec {
    fn grid(&self) -> Result<VolumeGrid, CtError> {
        let centre = self.centre_mm.clone().unwrap_or_else(|| vec![0.0; self.shape.len()]);
        let volume = VolumeGrid::new(&self.shape, &self.voxel_mm, &centre)?;
        match &self.axes {
            Some(axes) => volume.with_axes(axes),
            None => Ok(volume),
        }
    }
}

impl SetUp {
    /// The linear operator of this set-up.
    ///
    /// # Errors
    /// As [`RayTransform::new`].
    pub fn transform(self) -> Result<RayTransform, CtError> {
        // The march of a transform is in the frame of its grid.
        let mut steps = self.steps;
        if let About::Point(_) = steps.about {
            steps.about = About::Point([0.0; 3]);
        }
        let mask = self.pose.as_ref().and_then(|(model, _)| model.mask().map(<[u8]>::to_vec));
        let out = RayTransform::new(self.geometry, self.volume, self.projector)?.with_steps(steps);
        match mask {
            Some(mask) => out.with_mask(mask),
            None => Ok(out),
        }
    }

    /// The name of the kind in files.
    pub fn kind_name(&self) -> &'static str {
        if self.pose.is_some() { POSE5 } else { self.geometry.kind().name() }
    }

    /// Leaves rays out; only for the kind `pose5`.
    ///
    /// # Shapes
    /// `[v, u]` or `[view, v, u]`, every value 0 or 1.
    ///
    /// # Errors
    /// Another shape, another value, another kind.
    pub fn with_mask(mut self, values: &[f64], shape: &[usize]) -> Result<Self, CtError> {
        let expected = self.geometry.shape();
        if shape != expected && shape != &expected[1..] {
            let what =
                format!("has the shape {shape:?}; {expected:?} or {:?} is needed", &expected[1..]);
            return Err(CtError::key("mask", what));
        }
        if let Some(v) = values.iter().find(|v| **v != 0.0 && **v != 1.0) {
            return Err(CtError::key("mask", format!("holds {v}; only 0 and 1 are possible")));
        }
        let mask: Vec<u8> = values.iter().map(|v| u8::from(*v != 0.0)).collect();
        let Some((model, thetas)) = self.pose else {
            return Err(CtError::key("mask", "belongs to the kind pose5; leave it out"));
        };
        self.pose = Some((model.with_mask(&mask)?, thetas));
        Ok(self)
    }

    /// The set-up with its volume free to move, and the poses of its views: those of the
    /// file for `pose5`, else zero. The projector is trilinear whatever that of the set-up.
    ///
    /// # Errors
    /// A volume with too many voxels.
    pub fn pose_model(&self) -> Result<(PoseModel, Vec<f64>), CtError> {
        if let Some(pose) = &self.pose {
            return Ok(pose.clone());
        }
        let model = PoseModel::rigid(&self.geometry, self.volume.clone(), Some(self.steps))?;
        let zero = vec![0.0; model.n_views() * model.parameters().len()];
        Ok((model, zero))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "kind = \"fan2d\"\nviews = \"v.npy\"\ndetector = [5]\n[volume]\nshape = [3, 4]\nvoxel_mm = [1.0, 2]\n";

    #[test]
    fn a_file_becomes_a_set_up() {
        let row = [0.0, -9.0, 0.0, 9.0, 1.0, 0.0];
        let spec = SetUpSpec::from_toml(TEXT).unwrap();
        let set_up = spec.build(Some((&row, 6))).unwrap();
        assert_eq!(set_up.volume.shape(), [3, 4]);
        assert_eq!(set_up.volume.centre_mm(), [0.0, 0.0]);
        assert_eq!(set_up.geometry.shape(), [1, 5]);
        assert_eq!(set_up.projector, Projector::Joseph);
        let other = spec.with_projector("siddon").unwrap().build(Some((&row, 6))).unwrap();
        assert_eq!(other.projector, Projector::Siddon);
        assert_eq!(other.transform().unwrap().n_rays(), 5);
    }

    #[test]
    fn wrong_files_are_refused_by_the_word_at_fault() {
        let says = |from: &str, to: &str, text: &str| {
            let row = [0.0, -9.0, 0.0, 9.0, 1.0, 0.0];
            let changed = TEXT.replace(from, to);
            let found = SetUpSpec::from_toml(&changed).and_then(|s| s.build(Some((&row, 6))));
            let found = found.unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says("fan2d", "fan", "unknown kind `fan`");
        says("views", "vews", "vews");
        says("views = \"v.npy\"\n", "", "[trajectory]");
        says("[5]", "[5, 6]", "[nu]");
        says("[5]", "[-5]", "-5");
        says("[3, 4]", "[3]", "volume.shape");
        says("[3, 4]", "[3, 4, 5]", "volume.voxel_mm");
        says("[1.0, 2]", "[1.0, 0]", "volume.voxel_mm");
        says("detector", "projector = \"x\"\ndetector", "unknown projector `x`");
        says("fan2d", "cone3d", "[nv, nu]");
        let both = format!("{TEXT}[trajectory]\nkind = \"circular\"\nviews = 3\npixel_mm = [1]\n");
        assert!(
            SetUpSpec::from_toml(&both).unwrap_err().to_string().contains("leave the others out")
        );
        let short = SetUpSpec::from_toml(TEXT).unwrap().build(Some((&[0.0; 10], 5)));
        assert!(short.unwrap_err().to_string().contains("rows of 6 numbers"));
    }
}
