//! The TOML file of a simulated substrate, and the files that it names.
//!
//! Paths in it are relative to the TOML file: `substrate.file` (a mesh), `substrate.objects`
//! (a CSV with the columns x_um, y_um, z_um, radius_um) and `start.positions` (an NPY file
//! `[walker, 3]`, µm). Validated by `tests/cli/simulate.rs`.

use std::path::Path;

use microtome_models::substrate::{Files, Substrate, SubstrateError, SubstrateSpec};

use crate::array::Array;
use crate::csv_table::ParameterTable;
use crate::error::{DatasetError, Result};
use crate::mesh::read_mesh;
use crate::text::read_text;

/// Reads a substrate.
///
/// # Errors
/// A file that cannot be read, and whatever is wrong with the substrate; the message names
/// the file.
pub fn read_substrate(path: &Path) -> Result<Substrate> {
    build_substrate(path, &read_substrate_spec(path)?)
}

/// Reads a substrate as written.
///
/// # Errors
/// A file that cannot be read or is no substrate.
pub fn read_substrate_spec(path: &Path) -> Result<SubstrateSpec> {
    let wrong = |e: SubstrateError| DatasetError::format(path, e.to_string());
    SubstrateSpec::from_toml(&read_text(path)?).map_err(wrong)
}

/// Builds a substrate with the files that it names, `path` being where it was written.
///
/// # Errors
/// As [`read_substrate`].
pub fn build_substrate(path: &Path, spec: &SubstrateSpec) -> Result<Substrate> {
    let wrong = |e: SubstrateError| DatasetError::format(path, e.to_string());
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Files::default();
    if let Some(name) = &spec.substrate.file {
        files.mesh = Some(read_mesh(&folder.join(name))?);
    }
    if let Some(name) = &spec.substrate.objects {
        files.objects = Some(objects(&folder.join(name), spec.substrate.kind == "spheres")?);
    }
    if let Some(name) = spec.start.as_ref().and_then(|s| s.positions.as_ref()) {
        files.positions = Some(positions(&folder.join(name))?);
    }
    spec.build_with(files).map_err(wrong)
}

fn objects(path: &Path, spheres: bool) -> Result<Vec<[f64; 4]>> {
    let table = ParameterTable::read(path)?;
    let known = ["x_um", "y_um", "z_um", "radius_um"];
    if let Some(name) = table.names.iter().find(|n| !known.contains(&n.as_str())) {
        return Err(DatasetError::format(
            path,
            format!("has the column `{name}`; {} are known", known.join(", ")),
        ));
    }
    let column = |name: &str, needed: bool| match table.column(name) {
        Some(values) => Ok(values.to_vec()),
        None if !needed => Ok(vec![0.0; table.n_rows()]),
        None => Err(DatasetError::format(path, format!("has no column `{name}`"))),
    };
    let (x, y) = (column("x_um", true)?, column("y_um", true)?);
    let (z, r) = (column("z_um", spheres)?, column("radius_um", true)?);
    Ok((0..table.n_rows()).map(|i| [x[i], y[i], z[i], r[i]]).collect())
}

fn positions(path: &Path) -> Result<Vec<[f64; 3]>> {
    let array = Array::read(path)?;
    let [walkers, 3] = array.shape[..] else {
        return Err(DatasetError::format(
            path,
            format!("has the shape {:?}; starting points are [walker, 3] in um", array.shape),
        ));
    };
    let values = array.values.into_f64();
    Ok((0..walkers).map(|i| [values[3 * i], values[3 * i + 1], values[3 * i + 2]]).collect())
}
