//! `criteria.parquet`: its rows, voxel by voxel, and its maps.

use super::frame;
use super::maps::prefix;
use super::model::label;
use super::record::write_text;
use anyhow::Context;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use microtome_datasets::{ImageGeometry, MapWriter, TableReader};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The name of the table.
pub(crate) const TABLE: &str = "criteria";

/// Columns that become maps, with their unit and what they say.
const MAPS: [(&str, &str, &str); 8] = [
    ("elpd_loo", "nat", "expected log predictive density by leaving measurements out (PSIS-LOO)"),
    ("p_loo", "1", "effective number of parameters (PSIS-LOO)"),
    ("khat_loo", "1", "largest Pareto k-hat of the measurements; elpd_loo is reliable below 0.7"),
    ("elpd_waic", "nat", "expected log predictive density (WAIC)"),
    ("ln_evidence", "nat", "logarithm of the marginal likelihood by bridge sampling"),
    ("ln_evidence_mcse", "nat", "Monte Carlo standard error of ln_evidence"),
    ("ppp_chi2", "1", "posterior predictive p value of the sum of squared residuals"),
    ("ppp_max", "1", "posterior predictive p value of the largest absolute residual"),
];

/// One voxel of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) voxel: i64,
    pub(crate) ijk: Option<[i32; 3]>,
    pub(crate) status: String,
    pub(crate) measurements: usize,
    pub(crate) hash: i64,
    pub(crate) elpd: f64,
    pub(crate) p: f64,
    pub(crate) khat: f64,
    pub(crate) khats_high: i32,
    pub(crate) ln_evidence: f64,
    pub(crate) ln_evidence_mcse: f64,
    pub(crate) ln_evidence_laplace: f64,
    pub(crate) ppp_chi2: f64,
    pub(crate) ppp_max: f64,
    /// The terms of `elpd` by measurement.
    pub(crate) terms: Vec<f64>,
}

/// The rows of a table, one after another.
pub(crate) struct Rows {
    path: PathBuf,
    reader: TableReader,
    batch: Option<RecordBatch>,
    at: usize,
}

impl Rows {
    /// Opens the table of a folder.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = super::voxelwise::table(folder, TABLE).with_context(|| {
            format!(
                "{}: there is no criteria.parquet; sample with --criteria (shards: microtome merge first)",
                folder.display()
            )
        })?;
        let reader = TableReader::open(&path)?;
        Ok(Self { path, reader, batch: None, at: 0 })
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Row>> {
        loop {
            if let Some(batch) = &self.batch
                && self.at < batch.num_rows()
            {
                let row = read(batch, self.at).with_context(|| self.path.display().to_string())?;
                self.at += 1;
                return Ok(Some(row));
            }
            match self.reader.next() {
                Some(batch) => {
                    self.batch = Some(batch?);
                    self.at = 0;
                }
                None => return Ok(None),
            }
        }
    }
}

fn read(batch: &RecordBatch, r: usize) -> anyhow::Result<Row> {
    let number = |name| anyhow::Ok(frame::floats(batch, name)?[r]);
    let index = |name| frame::small_integers(batch, name).ok().map(|v| v[r]);
    let terms = batch
        .column_by_name("elpd_loo_i")
        .and_then(|c| c.as_fixed_size_list_opt())
        .context("the table has no list column `elpd_loo_i`")?
        .value(r);
    let terms = terms.as_primitive_opt::<Float64Type>().context("elpd_loo_i")?.values().to_vec();
    Ok(Row {
        voxel: frame::integers(batch, "voxel")?[r],
        ijk: index("i").zip(index("j")).zip(index("k")).map(|((i, j), k)| [i, j, k]),
        status: frame::words(batch, "status")?.value(r).to_string(),
        measurements: frame::small_integers(batch, "n_measurements")?[r] as usize,
        hash: frame::integers(batch, "signals_hash")?[r],
        elpd: number("elpd_loo")?,
        p: number("p_loo")?,
        khat: number("khat_loo")?,
        khats_high: frame::small_integers(batch, "n_khat_high")?[r],
        ln_evidence: number("ln_evidence")?,
        ln_evidence_mcse: number("ln_evidence_mcse")?,
        ln_evidence_laplace: number("ln_evidence_laplace")?,
        ppp_chi2: number("ppp_chi2")?,
        ppp_max: number("ppp_max")?,
        terms,
    })
}

/// Writes the maps of the table in a folder; returns the names of the files.
pub(crate) fn write_maps(
    folder: &Path,
    geometry: &ImageGeometry,
    model_label: &str,
) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut open = Vec::with_capacity(MAPS.len());
    for (column, unit, description) in MAPS {
        let name = format!("{}desc-criteria_param-{}_dwimap", prefix(model_label), label(column));
        let writer = MapWriter::create(&folder.join(format!("{name}.nii.gz")), geometry, 1)?;
        let text = json!({ "Description": description, "Units": unit });
        write_text(
            &folder.join(format!("{name}.json")),
            &(serde_json::to_string_pretty(&text)? + "\n"),
        )?;
        open.push((column, writer));
        names.extend([format!("{name}.nii.gz"), format!("{name}.json")]);
    }
    for batch in TableReader::open(&folder.join(format!("{TABLE}.parquet")))? {
        let batch = batch?;
        let voxels = frame::integers(&batch, "voxel")?;
        for (column, writer) in &mut open {
            for (voxel, value) in voxels.iter().zip(frame::floats(&batch, column)?) {
                writer.push(*voxel, &[*value])?;
            }
        }
    }
    open.into_iter().try_for_each(|(_, writer)| writer.finish())?;
    Ok(names)
}
