//! The TOML file of a CT set-up together with the file of its views.
//!
//! The path of the views is relative to the TOML file. Validated by
//! `tests/files/arrays.rs` and `tests/cli/ct.rs`.

use std::path::Path;

use microtome_models::ct::{
    BinRule, CtError, ExchangeFormat, GeometryKind, Reduction, SetUp, SetUpSpec, TigreGeometry,
};

use crate::array::{Array, Values};
use crate::error::{DatasetError, Result};
use crate::rtk_geometry::read_rtk_geometry;

/// Reads a set-up, with another projector where one is given.
///
/// # Errors
/// A file that cannot be read, and whatever is wrong with the set-up; the message names
/// the file.
pub fn read_set_up(path: &Path, projector: Option<&str>) -> Result<SetUp> {
    let text = std::fs::read_to_string(path).map_err(DatasetError::io(path, "read"))?;
    let wrong = |e: CtError| DatasetError::format(path, e.to_string());
    let mut spec = SetUpSpec::from_toml(&text).map_err(wrong)?;
    if let Some(name) = projector {
        spec = spec.with_projector(name).map_err(wrong)?;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let own = |file: &Path, e: &CtError| match e {
        // What is wrong with a row is wrong in its own file.
        CtError::View { .. } | CtError::Columns { .. } | CtError::Key { key: "poses", .. } => {
            DatasetError::format(file, e.to_string())
        }
        _ => DatasetError::format(path, e.to_string()),
    };
    if let Some(import) = &spec.import {
        let file = folder.join(&import.file);
        let kind = GeometryKind::parse(&spec.kind).map_err(wrong)?;
        let detector = spec.detector().map_err(wrong)?;
        let rows = match import.format {
            ExchangeFormat::Astra | ExchangeFormat::Diffct => {
                let table = Array::read(&file)?;
                let shape = table.shape.clone();
                import.table_rows(kind, detector, &shape, &table.values.into_f64())
            }
            ExchangeFormat::Rtk => {
                let geometry = read_rtk_geometry(&file)?;
                if geometry.radius_mm != 0.0 && spec.detector_shape.is_none() {
                    spec.detector_shape = Some("curved".into());
                    spec.detector_radius_mm = Some(geometry.radius_mm);
                }
                import.rtk_rows(kind, detector, &geometry)
            }
            ExchangeFormat::Tigre => {
                let text =
                    std::fs::read_to_string(&file).map_err(DatasetError::io(&file, "read"))?;
                let geometry: TigreGeometry = serde_json::from_str(&text)
                    .map_err(|e| DatasetError::format(&file, e.to_string()))?;
                import.tigre_rows(kind, detector, &geometry)
            }
        };
        let rows = rows.map_err(|e| own(&file, &e))?;
        return spec.build(Some((&rows, kind.width()))).map_err(|e| own(&file, &e));
    }
    let Some(views) = spec.views.as_ref().or(spec.poses.as_ref()) else {
        return spec.build(None).map_err(wrong);
    };
    let views = folder.join(views);
    let rows = Array::read(&views)?;
    let [_, columns] = rows.shape[..] else {
        return Err(DatasetError::format(
            &views,
            format!("has the shape {:?}; views are [view, column]", rows.shape),
        ));
    };
    let built = spec.build(Some((&rows.values.into_f64(), columns)));
    let built = built.map_err(|e| own(&views, &e))?;
    let Some(mask) = &spec.mask else { return Ok(built) };
    let mask = folder.join(mask);
    let found = Array::read(&mask)?;
    let masked = built.with_mask(&found.values.into_f64(), &found.shape);
    masked.map_err(|e| DatasetError::format(&mask, e.to_string()))
}

/// Reads projections for a set-up. Those of the whole detector are cropped and averaged
/// as the set-up says; those that already are of its shape stay as they are.
///
/// # Errors
/// A file that cannot be read, an array of neither shape.
pub fn read_projections(path: &Path, set_up: &SetUp) -> Result<Array> {
    let array = Array::read(path)?;
    let Some(by) = reduction(path, set_up, &array.shape)? else { return Ok(array) };
    let values = match &array.values {
        Values::F32(v) => by.values(v, BinRule::Mean).map(Values::F32),
        Values::F64(v) => by.values(v, BinRule::Mean).map(Values::F64),
    };
    let values = values.map_err(|e| DatasetError::format(path, e.to_string()))?;
    Ok(Array { shape: set_up.geometry.shape(), values })
}

/// Reads inverse variances of projections for a set-up. Those of the whole detector become
/// those of the means of joined pixels, $w = n^2 / \sum_i w_i^{-1}$: 0 where one is 0.
///
/// # Errors
/// As [`read_projections`].
pub fn read_weights(path: &Path, set_up: &SetUp) -> Result<Array> {
    let array = Array::read(path)?;
    let Some(by) = reduction(path, set_up, &array.shape)? else { return Ok(array) };
    let [bv, bu] = by.bin();
    let joined = (bv * bu) as f64;
    // What is no weight becomes NaN, which is refused with its place where weights are used.
    let variance = |w: &f64| if *w >= 0.0 { 1.0 / w } else { f64::NAN };
    let variances: Vec<f64> = array.values.clone().into_f64().iter().map(variance).collect();
    let means = by.values(&variances, BinRule::Mean);
    let means = means.map_err(|e| DatasetError::format(path, e.to_string()))?;
    let weights = means.into_iter().map(|v| joined / v);
    let values = match array.values {
        Values::F32(_) => Values::F32(weights.map(|w| w as f32).collect()),
        Values::F64(_) => Values::F64(weights.collect()),
    };
    Ok(Array { shape: set_up.geometry.shape(), values })
}

/// What has to be left out of an array of projections, if anything.
fn reduction<'a>(path: &Path, set_up: &'a SetUp, found: &[usize]) -> Result<Option<&'a Reduction>> {
    let shape = set_up.geometry.shape();
    if found == shape {
        return Ok(None);
    }
    let whole = |r: &Reduction| {
        let [views, nv, nu] = r.raw();
        if shape.len() == 2 { vec![views, nu] } else { vec![views, nv, nu] }
    };
    let raw = set_up.reduction.as_ref().map(whole);
    if raw.as_deref() != Some(found) {
        let whole = raw.map_or_else(String::new, |r| format!(" (or {r:?}, before crop and bin)"));
        let what = format!("the shape is {found:?}, but the set-up needs {shape:?}{whole}");
        return Err(DatasetError::format(path, what));
    }
    Ok(set_up.reduction.as_ref())
}
