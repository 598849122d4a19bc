//! `ranks.parquet`: one row a simulation, with the rank and the truth of every quantity.
//!
//! Validated by `tests/suite/calibration.rs`.

use super::{Quantities, Simulation};
use crate::InferenceError;
use crate::table::Columns;
use arrow_array::{BooleanArray, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use std::sync::Arc;

/// The table of simulations: `simulation`, `status`, `divergences`, `ess`, then `rank.<quantity>`,
/// `truth.<quantity>` and `covered.<parameter>`.
///
/// # Errors
/// Arrow refuses an array.
pub fn rank_table(
    quantities: &Quantities,
    intervals: &[String],
    simulations: &[Simulation],
) -> Result<RecordBatch, InferenceError> {
    let mut out = Columns::default();
    let row = Int64Array::from_iter_values(simulations.iter().map(|s| s.row as i64));
    out.push(Field::new("simulation", DataType::Int64, false), Arc::new(row));
    out.words("status", simulations.iter().map(|s| s.status.as_str()));
    let diverging = Int64Array::from_iter_values(simulations.iter().map(|s| s.divergences as i64));
    out.push(Field::new("divergences", DataType::Int64, false), Arc::new(diverging));
    out.numbers("ess", "draws", simulations.iter().map(|s| s.ess).collect());
    for (k, name) in quantities.names().iter().enumerate() {
        let ranks = Int32Array::from_iter_values(simulations.iter().map(|s| s.ranks[k] as i32));
        out.push(Field::new(format!("rank.{name}"), DataType::Int32, false), Arc::new(ranks));
    }
    for (k, name) in quantities.names().iter().enumerate() {
        let truths = simulations.iter().map(|s| s.truth[k]).collect();
        out.numbers(&format!("truth.{name}"), "of the parameter", truths);
    }
    for (k, name) in intervals.iter().enumerate() {
        let covered: Vec<bool> = simulations.iter().map(|s| s.covered[k]).collect();
        let field = Field::new(format!("covered.{name}"), DataType::Boolean, false);
        out.push(field, Arc::new(BooleanArray::from(covered)));
    }
    Ok(out.finish()?)
}
