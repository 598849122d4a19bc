//! The TOML file of a CT set-up together with the file of its views.
//!
//! The path of the views is relative to the TOML file. Validated by
//! `tests/files/arrays.rs` and `tests/cli/ct.rs`.

use std::path::Path;

use microtome_models::ct::{SetUp, SetUpSpec};

use crate::array::Array;
use crate::error::{DatasetError, Result};

/// Reads a set-up, with another projector where one is given.
///
/// # Errors
/// A file that cannot be read, and whatever is wrong with the set-up; the message names
/// the file.
pub fn read_set_up(path: &Path, projector: Option<&str>) -> Result<SetUp> {
    let text = std::fs::read_to_string(path).map_err(DatasetError::io(path, "read"))?;
    let wrong = |e: microtome_models::ct::CtError| DatasetError::format(path, e.to_string());
    let mut spec = SetUpSpec::from_toml(&text).map_err(wrong)?;
    if let Some(name) = projector {
        spec = spec.with_projector(name).map_err(wrong)?;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
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
    // What is wrong with a row is wrong in its own file.
    let built = built.map_err(|e| match &e {
        microtome_models::ct::CtError::View { .. }
        | microtome_models::ct::CtError::Columns { .. } => {
            DatasetError::format(&views, e.to_string())
        }
        microtome_models::ct::CtError::Key { key: "poses", .. } => {
            DatasetError::format(&views, e.to_string())
        }
        _ => wrong(e),
    })?;
    let Some(mask) = &spec.mask else { return Ok(built) };
    let mask = folder.join(mask);
    let found = Array::read(&mask)?;
    let masked = built.with_mask(&found.values.into_f64(), &found.shape);
    masked.map_err(|e| DatasetError::format(&mask, e.to_string()))
}
