//! Keys of a set-up file that change its geometry or volume.
//!
//! ```toml
//! detector_offset_mm = [v, u]       # [u] in the plane; the detector shifted along itself
//! detector_tilt_deg = [n, u, v]     # [v] in the plane; turns in the plane, about u, about v
//! crop = { views = [0, 360, 2], v = [10, 90], u = [0, 96] }    # first, past (, step)
//! bin = [bv, bu]                    # [bu] in the plane; pixels that become one
//! [[transform]]                     # any number, in their order
//! of = "views"                      # or "volume"
//! axis = [0, 0, 1]
//! angle_deg = 1.5
//! about_mm = [0, 0, 0]              # x, y, z; [x, y] in the plane, without an axis
//! shift_mm = [0, 0, 2]              # after the turn
//! ```
//!
//! Offset, tilt, crop and bin are done in this order, then the transforms. Validated by the tests below.

use super::{CtError, Geometry, Reduction, RigidTransform, SetUpSpec, VolumeGrid};
use serde::{Deserialize, Serialize};

/// The part of the projections that is used, in views and pixels from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropSpec {
    /// `[first, past]` or `[first, past, step]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<Vec<usize>>,
    /// `[first, past]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v: Option<Vec<usize>>,
    /// `[first, past]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub u: Option<Vec<usize>>,
}

/// A motion of views or volume as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformSpec {
    /// `views` or `volume`.
    pub of: String,
    /// The axis of the turn; z in the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<Vec<f64>>,
    /// The turn, right-handed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub angle_deg: Option<f64>,
    /// A point of the axis; the origin where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about_mm: Option<Vec<f64>>,
    /// The shift after the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift_mm: Option<Vec<f64>>,
}

/// A list of as many numbers as it takes.
fn list<'a>(
    key: &'static str,
    given: &'a [f64],
    length: usize,
    form: &str,
) -> Result<&'a [f64], CtError> {
    if given.len() != length || given.iter().any(|v| !v.is_finite()) {
        let what = format!("{given:?}; write {length} finite number(s) {form}");
        return Err(CtError::key(key, what));
    }
    Ok(given)
}

impl TransformSpec {
    fn motion(&self, dimensions: usize) -> Result<RigidTransform, CtError> {
        let form = if dimensions == 2 { "[x, y]" } else { "[x, y, z]" };
        let point = |key, given: &Option<Vec<f64>>| -> Result<[f64; 3], CtError> {
            let Some(given) = given else { return Ok([0.0; 3]) };
            let given = list(key, given, dimensions, form)?;
            Ok(std::array::from_fn(|k| given.get(k).copied().unwrap_or(0.0)))
        };
        let turn = match (&self.axis, self.angle_deg) {
            (None, None) => RigidTransform::identity(),
            (Some(_), _) if dimensions == 2 => {
                return Err(CtError::key("transform.axis", "turns in the plane are about z"));
            }
            (None, Some(angle)) if dimensions == 2 => {
                RigidTransform::rotation([0.0, 0.0, 1.0], angle.to_radians())?
            }
            (Some(axis), Some(angle)) => {
                let axis = list("transform.axis", axis, 3, "[x, y, z]")?;
                RigidTransform::rotation([axis[0], axis[1], axis[2]], angle.to_radians())?
            }
            (Some(_), None) => {
                return Err(CtError::key("transform.angle_deg", "is missing beside the axis"));
            }
            (None, Some(_)) => {
                return Err(CtError::key("transform.axis", "is missing beside the angle"));
            }
        };
        let shift = RigidTransform::translation(point("transform.shift_mm", &self.shift_mm)?);
        Ok(shift * turn.about(point("transform.about_mm", &self.about_mm)?))
    }
}

impl SetUpSpec {
    /// Offset, tilt, crop and binning; the reduction where there is one.
    pub(super) fn changed(
        &self,
        mut geometry: Geometry,
    ) -> Result<(Geometry, Option<Reduction>), CtError> {
        let plane = geometry.kind().dimensions() == 2;
        if let Some(offset) = &self.detector_offset_mm {
            if self.trajectory.as_ref().is_some_and(|t| t.detector_offset_mm.is_some()) {
                let what = "stands in [trajectory], too; leave one of them out";
                return Err(CtError::key("detector_offset_mm", what));
            }
            let (length, form) = if plane { (1, "[u]") } else { (2, "[v, u]") };
            let offset = list("detector_offset_mm", offset, length, form)?;
            let v = if plane { 0.0 } else { offset[0] };
            geometry = geometry.with_detector_offset([v, offset[length - 1]])?;
        }
        if let Some(tilt) = &self.detector_tilt_deg {
            let (length, form) = if plane { (1, "[about v]") } else { (3, "[in plane, u, v]") };
            let tilt = list("detector_tilt_deg", tilt, length, form)?;
            let angle = |k: usize| tilt.get(k).map_or(0.0, |a| a.to_radians());
            let tilt = if plane { [0.0, 0.0, angle(0)] } else { [angle(0), angle(1), angle(2)] };
            geometry = geometry.with_detector_tilt(tilt)?;
        }
        if self.crop.is_none() && self.bin.is_none() {
            return Ok((geometry, None));
        }
        let crop = self.crop.clone().unwrap_or_default();
        if plane && crop.v.is_some() {
            return Err(CtError::key("crop.v", "there is one row of pixels in the plane"));
        }
        let bin = match (plane, self.bin.as_deref()) {
            (_, None) => [1, 1],
            (true, Some([bu])) => [1, *bu],
            (false, Some([bv, bu])) => [*bv, *bu],
            (_, Some(found)) => {
                let form = if plane { "[bu]" } else { "[bv, bu]" };
                return Err(CtError::key("bin", format!("{found:?}; write {form}")));
            }
        };
        let reduction = Reduction::new(
            &geometry,
            crop.views.as_deref(),
            crop.v.as_deref(),
            crop.u.as_deref(),
            bin,
        )?;
        Ok((geometry.reduced(&reduction)?, Some(reduction)))
    }

    /// The motions of views and volume.
    pub(super) fn moved(
        &self,
        mut geometry: Geometry,
        mut volume: VolumeGrid,
    ) -> Result<(Geometry, VolumeGrid), CtError> {
        for spec in &self.transform {
            let motion = spec.motion(geometry.kind().dimensions())?;
            match spec.of.as_str() {
                "views" => geometry = geometry.moved(&motion)?,
                "volume" => volume = volume.moved(&motion)?,
                word => {
                    let what = format!("`{word}`; use views or volume");
                    return Err(CtError::key("transform.of", what));
                }
            }
        }
        Ok((geometry, volume))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ct::SetUp;

    const CONE: &str = "kind = \"cone3d\"\ndetector = [6, 8]\n[volume]\nshape = [3, 4, 5]\n\
        voxel_mm = [1, 1, 1]\n[trajectory]\nkind = \"circular\"\nviews = 5\npixel_mm = [1, 1]\n\
        source_to_axis_mm = 20\naxis_to_detector_mm = 10\n";
    const FAN: &str = "kind = \"fan2d\"\ndetector = [8]\n[volume]\nshape = [4, 5]\n\
        voxel_mm = [1, 1]\n[trajectory]\nkind = \"circular\"\nviews = 5\npixel_mm = [1]\n\
        source_to_axis_mm = 20\naxis_to_detector_mm = 10\n";

    fn built(keys: &str, text: &str, tables: &str) -> Result<SetUp, CtError> {
        SetUpSpec::from_toml(&format!("{keys}\n{text}{tables}"))?.build(None)
    }

    #[test]
    fn keys_change_the_geometry() {
        let set_up = built(
            "detector_offset_mm = [0, 0.5]\ndetector_tilt_deg = [90, 0, 0]\nbin = [3, 2]\n\
             crop = { views = [1, 5, 2], v = [0, 3], u = [4, 8] }",
            CONE,
            "[[transform]]\nof = \"views\"\nshift_mm = [0, 0, 7]\n\
             [[transform]]\nof = \"volume\"\naxis = [0, 0, 1]\nangle_deg = 90\nabout_mm = [1, 0, 0]\n",
        )
        .unwrap();
        assert_eq!(set_up.geometry.shape(), [2, 1, 2]);
        assert_eq!(set_up.reduction.unwrap().raw(), [5, 6, 8]);
        // u turned to z: the kept columns are 2 pixels higher, the rows 1.5 aside.
        let theta = std::f64::consts::TAU / 5.0;
        let view = set_up.geometry.views()[0];
        let aside = 0.5 + 1.5;
        let expected =
            [aside * theta.cos() - 10.0 * theta.sin(), aside * theta.sin() + 10.0 * theta.cos()];
        assert!((view.u[2].abs() - 2.0).abs() < 1e-12, "{view:?}");
        assert!(((view.detector[2] - 7.0).abs() - 2.0).abs() < 1e-12, "{view:?}");
        for k in 0..2 {
            assert!((view.detector[k] - expected[k]).abs() < 1e-12, "{view:?} {expected:?}");
        }
        let found = set_up.volume.centre_mm();
        for (f, e) in found.iter().zip([0.0, -1.0, 1.0]) {
            assert!((f - e).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn wrong_keys_are_named() {
        let says = |keys: &str, text: &str, tables: &str, word: &str| {
            let found = built(keys, text, tables).unwrap_err().to_string();
            assert!(found.contains(word), "{found}");
        };
        says("detector_shape = \"round\"", CONE, "", "`round`");
        says("detector_radius_mm = 4", CONE, "", "detector_radius_mm");
        says("detector_offset_mm = [1]", CONE, "", "detector_offset_mm");
        says("detector_offset_mm = [1]", FAN, "detector_offset_mm = [2]\n", "leave one");
        says("detector_tilt_deg = [1]", CONE, "", "detector_tilt_deg");
        says("detector_tilt_deg = [90]", FAN, "", "plane of the detector");
        says("bin = [2]", CONE, "", "bin");
        says("bin = [4, 2]", CONE, "", "divide the 6 rows");
        says("bin = [1, 0]", CONE, "", "bin");
        says("crop = { u = [0, 9] }", CONE, "", "crop.u");
        says("crop = { v = [3, 3] }", CONE, "", "crop.v");
        says("crop = { v = [0, 1] }", FAN, "", "crop.v");
        says("crop = { views = [0, 5, 0] }", CONE, "", "crop.views");
        says("crop = { w = [0, 5] }", CONE, "", "unknown field `w`");
        let table = |keys: &str| format!("[[transform]]\n{keys}\n");
        says("", CONE, &table("of = \"world\""), "transform.of");
        says("", CONE, &table("of = \"views\"\nangle_deg = 4"), "transform.axis");
        says("", CONE, &table("of = \"views\"\naxis = [0, 0, 1]"), "transform.angle_deg");
        says("", CONE, &table("of = \"views\"\naxis = [0, 0, 0]\nangle_deg = 1"), "transform.axis");
        says("", FAN, &table("of = \"views\"\naxis = [0, 0, 1]\nangle_deg = 1"), "about z");
        says("", FAN, &table("of = \"views\"\nshift_mm = [0, 0, 1]"), "transform.shift_mm");
        says("", FAN, &table("of = \"views\"\nturn = 1"), "turn");
    }
}
