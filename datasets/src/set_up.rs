//! The TOML file of a CT set-up together with the file of its views.
//!
//! The path of the views is relative to the TOML file. Validated by
//! `tests/files/arrays.rs` and `tests/cli/ct.rs`.

use std::path::Path;

use microtome_models::ct::{
    BinRule, CtError, ExchangeFormat, GeometryKind, SetUp, SetUpSpec, TigreGeometry,
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
    let shape = set_up.geometry.shape();
    if array.shape == shape {
        return Ok(array);
    }
    let raw = set_up.reduction.as_ref().map(|r| {
        let [views, nv, nu] = r.raw();
        if shape.len() == 2 { vec![views, nu] } else { vec![views, nv, nu] }
    });
    if raw.as_ref() != Some(&array.shape) {
        let whole = raw.map_or_else(String::new, |r| format!(" (or {r:?}, before crop and bin)"));
        let what = format!("the shape is {:?}, but the set-up needs {shape:?}{whole}", array.shape);
        return Err(DatasetError::format(path, what));
    }
    let Some(by) = &set_up.reduction else { return Ok(array) };
    let wrong = |e: CtError| DatasetError::format(path, e.to_string());
    let values = match &array.values {
        Values::F32(v) => Values::F32(by.values(v, BinRule::Mean).map_err(wrong)?),
        Values::F64(v) => Values::F64(by.values(v, BinRule::Mean).map_err(wrong)?),
    };
    Ok(Array { shape, values })
}
