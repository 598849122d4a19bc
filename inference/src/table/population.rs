//! `population.parquet`: one row a (chain, draw) of the population, and its summary.
//!
//! | column | unit |
//! |---|---|
//! | `mean.<parameter>` | of the coordinate: logarithm or logit of the parameter |
//! | `sd.<parameter>` | the same; of a field, the sd of a voxel with one neighbour |
//! | `typical.<parameter>` | of the parameter: its value where all coordinates are at their mean |
//! | `correlation.<a>:<b>` | 1 |

use super::{Columns, SIGNAL_UNIT};
use crate::InferenceError;
use crate::diagnostics::{Chains, Summary, Workspace, summarize};
use crate::population::{Population, PopulationDraws};
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use microtome_models::{FreeKind, Model, PooledSpace};
use std::sync::Arc;

/// One column of the population: name, unit, numbers of all chains.
type Column = (String, &'static str, Vec<f64>);

/// The draws and their summary.
pub(crate) fn tables(
    model: &Model,
    space: &PooledSpace,
    draws: &PopulationDraws,
) -> Result<[RecordBatch; 2], InferenceError> {
    let all = || draws.chains.iter().flatten();
    let number = |get: &dyn Fn(&Population) -> f64| all().map(get).collect::<Vec<f64>>();
    let coordinates = space.coordinates();
    let mut columns: Vec<Column> = Vec::new();
    for (k, c) in coordinates.iter().enumerate() {
        columns.push((format!("mean.{}", c.name), "of the coordinate", number(&|p| p.mean[k])));
    }
    for (k, c) in coordinates.iter().enumerate() {
        columns.push((format!("sd.{}", c.name), "of the coordinate", number(&|p| p.sd(k))));
    }
    let mut typical: Vec<(usize, String, &'static str)> = Vec::new();
    let names = model.value_names();
    for free in model.free() {
        match free.kind {
            FreeKind::Axis | FreeKind::Scalar { period: Some(_) } => {}
            _ => typical.extend(
                (free.at..free.at + free.len)
                    .map(|k| (k, format!("typical.{}", names[k]), free.unit.symbol())),
            ),
        }
    }
    if space.values() > model.values() {
        typical.push((model.values(), "typical.sigma".into(), SIGNAL_UNIT));
    }
    let mut x = vec![0.0; space.values()];
    let values: Vec<Vec<f64>> = all()
        .map(|p| {
            space.values_at(&p.mean, &mut x);
            x.clone()
        })
        .collect();
    for (k, name, unit) in typical {
        columns.push((name, unit, values.iter().map(|x| x[k]).collect()));
    }
    for i in 0..coordinates.len() {
        for j in i + 1..coordinates.len() {
            let name = format!("correlation.{}:{}", coordinates[i].name, coordinates[j].name);
            columns.push((name, "1", number(&|p| p.correlation(i, j))));
        }
    }
    let chains = draws.chains.len();
    let length = draws.chains.first().map_or(0, Vec::len);
    let mut workspace = Workspace::new();
    let summaries: Vec<Summary> = columns
        .iter()
        .map(|(_, _, x)| match Chains::new(x, chains, length) {
            Ok(c) if chains > 0 => summarize(c, &mut workspace),
            _ => Summary::MISSING,
        })
        .collect();
    let summary = summary(&columns, &summaries)?;
    let index = |get: fn(usize, usize) -> usize| {
        let both = (0..chains).flat_map(|c| (0..length).map(move |d| (c, d)));
        Int32Array::from_iter_values(both.map(|(c, d)| get(c, d) as i32).collect::<Vec<_>>())
    };
    let mut out = Columns::default();
    out.push(Field::new("chain", DataType::Int32, false), Arc::new(index(|c, _| c)));
    out.push(Field::new("draw", DataType::Int32, false), Arc::new(index(|_, d| d)));
    for (name, unit, values) in columns {
        out.numbers(&name, unit, values);
    }
    Ok([out.finish()?, summary])
}

fn summary(columns: &[Column], summaries: &[Summary]) -> Result<RecordBatch, InferenceError> {
    let number = |get: fn(&Summary) -> f64| summaries.iter().map(get).collect::<Vec<f64>>();
    let mut out = Columns::default();
    out.words("parameter", columns.iter().map(|(name, _, _)| name.as_str()));
    out.words("unit", columns.iter().map(|(_, unit, _)| *unit));
    let unit = "of the parameter";
    out.numbers("mean", unit, number(|s| s.mean));
    out.numbers("sd", unit, number(|s| s.sd));
    out.numbers("q05", unit, number(|s| s.q05));
    out.numbers("q50", unit, number(|s| s.q50));
    out.numbers("q95", unit, number(|s| s.q95));
    out.numbers("rhat", "1", number(|s| s.rhat));
    out.numbers("ess_bulk", "draws", number(|s| s.ess_bulk));
    out.numbers("ess_tail", "draws", number(|s| s.ess_tail));
    out.numbers("mcse_mean", unit, number(|s| s.mcse_mean));
    Ok(out.finish()?)
}

/// A summary of voxels with another word in its column `method`.
pub(crate) fn with_method(
    summary: &RecordBatch,
    method: &str,
) -> Result<RecordBatch, InferenceError> {
    let schema = summary.schema();
    let columns = schema.fields().iter().zip(summary.columns()).map(|(field, column)| {
        if field.name() == "method" {
            let words = vec![method; summary.num_rows()];
            Arc::new(StringArray::from_iter_values(words)) as ArrayRef
        } else {
            column.clone()
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}
