//! The TOML file of a set-up: kind, views or trajectory, detector, volume, projector.
//!
//! ```toml
//! kind = "cone3d"               # parallel2d | fan2d | parallel3d | cone3d
//! views = "views.npy"           # one row a view, or a [trajectory] table
//! detector = [nv, nu]           # [nu] in the plane
//! projector = "joseph"          # siddon | joseph
//! detector_shape = "curved"     # flat where left out; fans and cones
//! detector_radius_mm = 300      # curved; where left out, the distance from the source
//! [volume]
//! shape = [nz, ny, nx]          # [ny, nx] in the plane
//! voxel_mm = [hz, hy, hx]
//! centre_mm = [cz, cy, cx]      # 0 where left out
//! axes = [[x, y, z], ...]       # directions of iz, iy, ix; the world's where left out
//! ```
//!
//! `changes` has the keys that shift, tilt, crop, bin and move. The file of the rows is read by `datasets`. Validated by the tests below and by
//! `tests/cli/ct.rs`.

use super::{
    CropSpec, CtError, Geometry, GeometryKind, RayTransform, Reduction, TrajectorySpec,
    TransformSpec, VolumeGrid,
};
use microtome_kernels::ray::{Projector, Surface};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// The path, in place of `views`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trajectory: Option<TrajectorySpec>,
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
    /// The part of the projections that is used, where it is not all: what `geometry`
    /// already is.
    pub reduction: Option<Reduction>,
}

/// The projector of a name.
///
/// # Errors
/// An unknown name.
fn projector(name: &str) -> Result<Projector, CtError> {
    let found = Projector::ALL.into_iter().find(|p| p.name() == name);
    found.ok_or_else(|| CtError::UnknownProjector { projector: name.into() })
}

impl SetUpSpec {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no TOML, unknown or missing keys, both or neither of `views` and
    /// `[trajectory]`.
    pub fn from_toml(text: &str) -> Result<Self, CtError> {
        let spec: Self = toml::from_str(text)
            .map_err(|e| CtError::Text { text: e.to_string().trim().to_string() })?;
        GeometryKind::parse(&spec.kind)?;
        match (&spec.views, &spec.trajectory) {
            (None, None) => Err(CtError::key(
                "views",
                "is missing: give the file of the views or a [trajectory] table",
            )),
            (Some(_), Some(_)) => Err(CtError::key(
                "views",
                "stands beside a [trajectory] table; leave one of them out",
            )),
            _ => Ok(spec),
        }
    }

    /// Takes another projector.
    ///
    /// # Errors
    /// An unknown name.
    pub fn with_projector(mut self, name: &str) -> Result<Self, CtError> {
        self.projector = Some(projector(name)?.name().into());
        Ok(self)
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
    /// `rows` `[view, columns]`, the content of `views` where that is given.
    ///
    /// # Errors
    /// Whatever is wrong with the geometry, the volume or the projector, by its key.
    pub fn build(&self, rows: Option<(&[f64], usize)>) -> Result<SetUp, CtError> {
        let kind = GeometryKind::parse(&self.kind)?;
        let detector = match (kind.dimensions(), &self.detector[..]) {
            (2, [nu]) => [1, *nu],
            (3, [nv, nu]) => [*nv, *nu],
            (d, found) => {
                let form = if d == 2 { "[nu]" } else { "[nv, nu]" };
                let what = format!("{found:?}; {} needs {form}", kind.name());
                return Err(CtError::key("detector", what));
            }
        };
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
        let v = &self.volume;
        let centre = v.centre_mm.clone().unwrap_or_else(|| vec![0.0; v.shape.len()]);
        let mut volume = VolumeGrid::new(&v.shape, &v.voxel_mm, &centre)?;
        if let Some(axes) = &v.axes {
            volume = volume.with_axes(axes)?;
        }
        if volume.dimensions() != kind.dimensions() {
            let what = format!("{:?}; {} needs {} axes", v.shape, kind.name(), kind.dimensions());
            return Err(CtError::key("volume.shape", what));
        }
        let (geometry, reduction) = self.changed(geometry)?;
        let (geometry, volume) = self.moved(geometry, volume)?;
        let projector = projector(self.projector.as_deref().unwrap_or("joseph"))?;
        Ok(SetUp { geometry, volume, projector, reduction })
    }
}

impl SetUp {
    /// The linear operator of this set-up.
    ///
    /// # Errors
    /// As [`RayTransform::new`].
    pub fn transform(self) -> Result<RayTransform, CtError> {
        RayTransform::new(self.geometry, self.volume, self.projector)
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
        assert!(SetUpSpec::from_toml(&both).unwrap_err().to_string().contains("leave one"));
        let short = SetUpSpec::from_toml(TEXT).unwrap().build(Some((&[0.0; 10], 5)));
        assert!(short.unwrap_err().to_string().contains("rows of 6 numbers"));
    }
}
