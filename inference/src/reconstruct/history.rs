//! What every iteration left: a row of an Arrow table.
//!
//! | column | |
//! |---|---|
//! | `iteration` | from 1 |
//! | `residual_norm` | $\lVert y-Ax\rVert_W$ after the iteration (weights 1 where none are given); of the methods that go view by view or subset by subset it is the root of the sum of what each subset found before its update |
//! | `objective` | what the method minimises, or NaN where it has no such function |
//! | `relative_change` | $\lVert x_k-x_{k-1}\rVert/\lVert x_k\rVert$ |
//! | `step` | the step of the iteration in the method's own sense |
//! | `seconds` | wall time since the beginning, of all runs of a resumed one together |
//!
//! Validated by `history_is_a_table` in `inference/tests/suite/reconstruct/`.

use arrow_array::{Float64Array, RecordBatch, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use std::collections::HashMap;
use std::sync::Arc;

/// One iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryRow {
    /// From 1.
    pub iteration: usize,
    /// $\|y-Ax\|_W$.
    pub residual_norm: f64,
    /// What the method minimises.
    pub objective: f64,
    /// $\|x_k-x_{k-1}\|/\|x_k\|$.
    pub relative_change: f64,
    /// The step of the method.
    pub step: f64,
    /// Since the beginning.
    pub seconds: f64,
}

/// Numbers of a row that float64 holds.
const NUMBERS: [&str; 5] = ["residual_norm", "objective", "relative_change", "step", "seconds"];

impl HistoryRow {
    /// The numbers after the iteration, in the order of the columns.
    pub fn numbers(&self) -> [f64; 5] {
        [self.residual_norm, self.objective, self.relative_change, self.step, self.seconds]
    }

    /// The row of these numbers.
    pub fn of(iteration: usize, numbers: [f64; 5]) -> Self {
        let [residual_norm, objective, relative_change, step, seconds] = numbers;
        Self { iteration, residual_norm, objective, relative_change, step, seconds }
    }
}

/// The rows as an Arrow table with some metadata.
///
/// # Errors
/// Never for these columns; Arrow says so by its type.
pub fn history_table(
    rows: &[HistoryRow],
    metadata: HashMap<String, String>,
) -> Result<RecordBatch, ArrowError> {
    let mut fields = vec![Field::new("iteration", DataType::UInt64, false)];
    fields.extend(NUMBERS.map(|name| {
        let field = Field::new(name, DataType::Float64, false);
        match name {
            "seconds" => field.with_metadata(HashMap::from([("unit".into(), "s".into())])),
            _ => field,
        }
    }));
    let mut columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.iteration as u64)))];
    columns.extend((0..NUMBERS.len()).map(|k| {
        let values = Float64Array::from_iter_values(rows.iter().map(|r| r.numbers()[k]));
        Arc::new(values) as arrow_array::ArrayRef
    }));
    RecordBatch::try_new(Arc::new(Schema::new(fields).with_metadata(metadata)), columns)
}
