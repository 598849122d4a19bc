//! Files of a deconvolution: `fod.nii.gz` (MRtrix3's basis and order), `peaks.nii.gz`
//! (up to three vectors, as long as their values) and maps; `fod.npy` for arrays.
//!
//! Validated by the tests `csd_*` in `tests/cli/`.

use super::frame::{floats, integers};
use super::maps;
use super::record::write_text;
use anyhow::Context;
use arrow_array::RecordBatch;
use microtome_datasets::{ImageGeometry, MapWriter, MatrixWriter, TableReader};
use microtome_inference::deconvolution::PEAKS;
use microtome_models::{RunSpec, harmonic_count};
use serde_json::json;
use std::path::Path;

/// The columns of coefficients of a table.
fn coefficients(reader: &TableReader) -> Vec<String> {
    let names = reader.schema().fields().iter().map(|f| f.name().clone());
    names.filter(|n| n.starts_with("fod_")).collect()
}

/// The table of coefficients.
pub(crate) const TABLE: &str = "fod";
/// The array of coefficients.
pub(crate) const ARRAY: &str = "fod.npy";

/// Adds the coefficients of a batch to an array.
pub(crate) fn push(array: &mut MatrixWriter, batch: &RecordBatch) -> anyhow::Result<()> {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|f| f.name()).filter(|n| n.starts_with("fod_"));
    let columns = names.map(|n| floats(batch, n)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut rows = vec![0.0; columns.len() * batch.num_rows()];
    for (c, column) in columns.iter().enumerate() {
        for (r, value) in column.iter().enumerate() {
            rows[r * columns.len() + c] = *value;
        }
    }
    Ok(array.push(&rows)?)
}

/// Writes `fod.npy` `[row, coefficient]`, one row a row of `fit.parquet`.
pub(crate) fn write_array(folder: &Path) -> anyhow::Result<String> {
    let reader = TableReader::open(&folder.join("fod.parquet"))?;
    let names = coefficients(&reader);
    let mut writer = MatrixWriter::create(&folder.join(ARRAY), reader.n_rows(), names.len())?;
    for batch in reader {
        push(&mut writer, &batch?)?;
    }
    writer.finish()?;
    Ok(ARRAY.into())
}

/// Writes the images of a deconvolution; returns the names of the files.
pub(crate) fn write_images(
    folder: &Path,
    geometry: &ImageGeometry,
    spec: &RunSpec,
) -> anyhow::Result<Vec<String>> {
    let deconvolution = spec.model.deconvolution.as_ref().context("a deconvolution")?;
    let lmax = deconvolution.lmax.unwrap_or(0);
    let fod: Vec<String> = (0..harmonic_count(lmax)).map(|k| format!("fod_{k}")).collect();
    let mut names = Vec::new();
    image(folder, "fod.parquet", "fod.nii.gz", geometry, &fod, |row| row.to_vec())?;
    let harmonic = json!({
        "Description": "Fibre orientation distribution", "Units": "1",
        "Model": { "Description": "constrained spherical deconvolution" },
        "OrientationEncoding": {
            "Type": "sh", "EncodingAxis": 3, "Reference": "xyz", "AntipodalSymmetry": true,
            "SphericalHarmonicBasis": "mrtrix3", "SphericalHarmonicDegree": lmax,
        },
    });
    let columns: Vec<String> = (1..=PEAKS)
        .flat_map(|p| ["x", "y", "z", "value"].map(|c| format!("peak_{p}_{c}")))
        .collect();
    let scaled = |row: &[f64]| row.chunks(4).flat_map(|p| [0, 1, 2].map(|i| p[i] * p[3])).collect();
    image(folder, "fit.parquet", "peaks.nii.gz", geometry, &columns, scaled)?;
    let vectors = json!({
        "Description": "Peaks of the fibre orientation distribution, the largest first; NaN where there is none",
        "Units": "1/sr",
        "OrientationEncoding": { "Type": "3vector", "EncodingAxis": 3, "Reference": "xyz", "AntipodalSymmetry": true },
    });
    for (name, text) in [("fod", harmonic), ("peaks", vectors)] {
        names.push(format!("{name}.nii.gz"));
        names.push(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&text)? + "\n";
        write_text(&folder.join(format!("{name}.json")), &text)?;
    }
    let tissues =
        deconvolution.tissues().flat_map(|t| [format!("{t}.fraction"), format!("{t}.volume")]);
    let scalars = tissues.chain(["odi", "anisotropy", "mse", "r2"].map(String::from));
    for column in scalars {
        let label = super::model::label(&column);
        let name = format!("{}desc-estimate_param-{label}_dwimap", maps::prefix("csd"));
        image(
            folder,
            "fit.parquet",
            &format!("{name}.nii.gz"),
            geometry,
            std::slice::from_ref(&column),
            |row| row.to_vec(),
        )?;
        let text = json!({ "Description": format!("{column} of constrained spherical deconvolution"), "Units": if column == "mse" { "signal^2" } else { "1" } });
        write_text(
            &folder.join(format!("{name}.json")),
            &(serde_json::to_string_pretty(&text)? + "\n"),
        )?;
        names.push(format!("{name}.nii.gz"));
        names.push(format!("{name}.json"));
    }
    Ok(names)
}

/// Writes columns of a table as an image.
fn image(
    folder: &Path,
    table: &str,
    name: &str,
    geometry: &ImageGeometry,
    columns: &[String],
    change: impl Fn(&[f64]) -> Vec<f64>,
) -> anyhow::Result<()> {
    let volumes = change(&vec![0.0; columns.len()]).len();
    let mut writer = MapWriter::create(&folder.join(name), geometry, volumes)?;
    let mut row = vec![0.0; columns.len()];
    let wanted: Vec<&str> = columns.iter().map(String::as_str).chain(["voxel"]).collect();
    for batch in TableReader::open_columns(&folder.join(table), &wanted)? {
        let batch = batch?;
        let voxel = integers(&batch, "voxel")?;
        let values =
            columns.iter().map(|n| floats(&batch, n)).collect::<anyhow::Result<Vec<_>>>()?;
        for (r, voxel) in voxel.iter().enumerate() {
            row.iter_mut().zip(&values).for_each(|(x, c)| *x = c[r]);
            writer.push(*voxel, &change(&row))?;
        }
    }
    Ok(writer.finish()?)
}
