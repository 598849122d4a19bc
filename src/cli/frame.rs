//! Columns of result tables by name.

use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{BooleanArray, RecordBatch, StringArray};
use microtome_datasets::TableReader;
use std::collections::BTreeMap;
use std::path::Path;

/// A column of float64.
pub(crate) fn floats<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a [f64]> {
    let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Float64Type>());
    Ok(column.with_context(|| format!("the table has no float64 column `{name}`"))?.values())
}

/// A column of int64.
pub(crate) fn integers<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a [i64]> {
    let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    Ok(column.with_context(|| format!("the table has no int64 column `{name}`"))?.values())
}

/// A column of int32.
pub(crate) fn small_integers<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a [i32]> {
    let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int32Type>());
    Ok(column.with_context(|| format!("the table has no int32 column `{name}`"))?.values())
}

/// A column of yes and no.
pub(crate) fn flags<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a BooleanArray> {
    let column = batch.column_by_name(name).and_then(|c| c.as_boolean_opt());
    column.with_context(|| format!("the table has no boolean column `{name}`"))
}

/// A column of words.
pub(crate) fn words<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a StringArray> {
    batch
        .column_by_name(name)
        .and_then(|c| c.as_string_opt::<i32>())
        .with_context(|| format!("the table has no text column `{name}`"))
}

/// One voxel of a table of results.
#[derive(Debug, Clone, Default)]
pub(crate) struct Voxel {
    pub(crate) voxel: i64,
    pub(crate) ijk: Option<[i32; 3]>,
    pub(crate) status: String,
    /// Estimates by parameter.
    pub(crate) parameters: BTreeMap<String, Estimate>,
    /// How it was sampled; a fit was not.
    pub(crate) sampling: Option<Sampling>,
}

/// How the draws of a voxel came about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sampling {
    /// nuts, psis or laplace.
    pub(crate) method: String,
    /// Smallest E-BFMI of the chains; NaN without chains.
    pub(crate) ebfmi: f64,
    pub(crate) divergences: u64,
    pub(crate) max_depth_hits: u64,
    /// Tail index of importance weights; NaN without them.
    pub(crate) khat: f64,
    /// Whether the draws may be trusted.
    pub(crate) trust: bool,
}

/// One parameter of one voxel; what a table does not say is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    pub(crate) sd: f64,
    pub(crate) q05: f64,
    pub(crate) q95: f64,
    pub(crate) rhat: f64,
    pub(crate) ess_bulk: f64,
    pub(crate) ess_tail: f64,
    /// Prior over posterior standard deviation.
    pub(crate) contraction: f64,
}

impl Default for Estimate {
    fn default() -> Self {
        let nan = f64::NAN;
        Self {
            mean: nan,
            sd: nan,
            q05: nan,
            q95: nan,
            rhat: nan,
            ess_bulk: nan,
            ess_tail: nan,
            contraction: nan,
        }
    }
}

impl Voxel {
    /// `voxel 118 (i 3, j 7, k 1)`.
    pub(crate) fn label(&self) -> String {
        match self.ijk {
            Some([i, j, k]) => format!("voxel {} (i {i}, j {j}, k {k})", self.voxel),
            None => format!("voxel {}", self.voxel),
        }
    }

    /// The mean of a parameter.
    pub(crate) fn mean(&self, parameter: &str) -> f64 {
        self.parameters.get(parameter).map_or(f64::NAN, |e| e.mean)
    }
}

fn ijk(batch: &RecordBatch) -> Option<[&[i32]; 3]> {
    Some([
        small_integers(batch, "i").ok()?,
        small_integers(batch, "j").ok()?,
        small_integers(batch, "k").ok()?,
    ])
}

/// Hands the voxels of `summary.parquet` or `fit.parquet` over, one by one.
pub(crate) fn for_each(
    path: &Path,
    mut take: impl FnMut(&Voxel) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reader = TableReader::open(path)?;
    if reader.schema().index_of("parameter").is_ok() {
        summary(reader, &mut take)
    } else {
        fit(reader, &mut take)
    }
    .with_context(|| path.display().to_string())
}

type Take<'a> = &'a mut dyn FnMut(&Voxel) -> anyhow::Result<()>;

fn summary(reader: TableReader, take: Take<'_>) -> anyhow::Result<()> {
    let mut open: Option<Voxel> = None;
    for batch in reader {
        let batch = batch?;
        let (voxel, parameter) = (integers(&batch, "voxel")?, words(&batch, "parameter")?);
        let (status, ijk) = (words(&batch, "status")?, ijk(&batch));
        let number = |name| floats(&batch, name);
        let (mean, sd, q05, q95) = (number("mean")?, number("sd")?, number("q05")?, number("q95")?);
        let (rhat, ess_bulk, ess_tail) =
            (number("rhat")?, number("ess_bulk")?, number("ess_tail")?);
        let contraction = number("contraction")?;
        let (method, ebfmi) = (words(&batch, "method")?, number("ebfmi")?);
        let (divergences, max_depth_hits) =
            (small_integers(&batch, "divergences")?, small_integers(&batch, "max_depth_hits")?);
        let (trust, khat) = (flags(&batch, "trust")?, number("khat").ok());
        for r in 0..batch.num_rows() {
            if open.as_ref().is_none_or(|o| o.voxel != voxel[r]) {
                if let Some(done) = open.take() {
                    take(&done)?;
                }
                open = Some(Voxel {
                    voxel: voxel[r],
                    ijk: ijk.map(|a| a.map(|x| x[r])),
                    status: status.value(r).to_string(),
                    parameters: BTreeMap::new(),
                    sampling: Some(Sampling {
                        method: method.value(r).to_string(),
                        ebfmi: ebfmi[r],
                        divergences: u64::from(divergences[r].unsigned_abs()),
                        max_depth_hits: u64::from(max_depth_hits[r].unsigned_abs()),
                        khat: khat.map_or(f64::NAN, |k| k[r]),
                        trust: trust.value(r),
                    }),
                });
            }
            if let Some(o) = &mut open {
                let estimate = Estimate {
                    mean: mean[r],
                    sd: sd[r],
                    q05: q05[r],
                    q95: q95[r],
                    rhat: rhat[r],
                    ess_bulk: ess_bulk[r],
                    ess_tail: ess_tail[r],
                    contraction: contraction[r],
                };
                o.parameters.insert(parameter.value(r).to_string(), estimate);
            }
        }
    }
    open.iter().try_for_each(take)
}

fn fit(reader: TableReader, take: Take<'_>) -> anyhow::Result<()> {
    let names: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .filter(|n| {
            reader.schema().index_of(&format!("{n}.sd")).is_ok() || n == "sigma" || n == "r2"
        })
        .collect();
    if names.is_empty() {
        bail!("is not a table of results of microtome");
    }
    for batch in reader {
        let batch = batch?;
        let (voxel, status, ijk) =
            (integers(&batch, "voxel")?, words(&batch, "status")?, ijk(&batch));
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            columns.push((name, floats(&batch, name)?, floats(&batch, &format!("{name}.sd")).ok()));
        }
        for r in 0..batch.num_rows() {
            let parameters = columns
                .iter()
                .map(|(name, mean, sd)| {
                    let sd = sd.map_or(f64::NAN, |s| s[r]);
                    ((*name).clone(), Estimate { mean: mean[r], sd, ..Estimate::default() })
                })
                .collect();
            let ijk = ijk.map(|a| a.map(|x| x[r]));
            let status = status.value(r).to_string();
            take(&Voxel { voxel: voxel[r], ijk, status, parameters, sampling: None })?;
        }
    }
    Ok(())
}
