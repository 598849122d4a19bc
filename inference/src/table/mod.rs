//! Arrow record batches in and out.
//!
//! | table | one row a |
//! |---|---|
//! | batch | voxel, in |
//! | [`fit`], [`deconvolution`] | voxel |
//! | [`posterior`] | voxel, chain and draw |
//! | [`summary`] | voxel and parameter |
//! | [`criteria`] | voxel |
//! | [`population`] | chain and draw of a shared prior |
//!
//! Every column is plain; units are in the field metadata under `unit`.
//! Validated by `tests/suite/run.rs`.

mod batch;
pub(crate) mod criteria;
pub(crate) mod deconvolution;
pub(crate) mod fit;
pub(crate) mod population;
pub(crate) mod posterior;
pub(crate) mod summary;

pub use batch::{record_batch, voxel_batch};

use arrow_array::{ArrayRef, Int32Array, Int64Array};
use arrow_schema::{DataType, Field};
use microtome_models::{Model, VoxelBatch};
use std::collections::HashMap;
use std::sync::Arc;

/// Columns and their fields, growing side by side.
#[derive(Default)]
pub(crate) struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    pub(crate) fn push(&mut self, field: Field, array: ArrayRef) {
        self.fields.push(field);
        self.arrays.push(array);
    }

    /// A column of f64 with its unit.
    pub(crate) fn numbers(&mut self, name: &str, unit: &str, values: Vec<f64>) {
        let metadata = HashMap::from([("unit".to_string(), unit.to_string())]);
        let field = Field::new(name, DataType::Float64, false).with_metadata(metadata);
        self.push(field, Arc::new(arrow_array::Float64Array::from(values)));
    }

    /// A column of words.
    pub(crate) fn words<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        // Arrow panics on an iterator that does not know its length.
        let values: Vec<&str> = values.collect();
        let array = arrow_array::StringArray::from_iter_values(values);
        self.push(Field::new(name, DataType::Utf8, false), Arc::new(array));
    }

    /// A column of yes and no.
    pub(crate) fn flags(&mut self, name: &str, values: impl Iterator<Item = bool>) {
        let values = arrow_array::BooleanArray::from(values.collect::<Vec<bool>>());
        self.push(Field::new(name, DataType::Boolean, false), Arc::new(values));
    }

    /// A column of i32.
    pub(crate) fn counts(&mut self, name: &str, values: impl Iterator<Item = u64>) {
        let values = values.map(|n| i32::try_from(n).unwrap_or(i32::MAX)).collect::<Vec<_>>();
        self.push(Field::new(name, DataType::Int32, false), Arc::new(Int32Array::from(values)));
    }

    /// The columns `voxel` and, for images, `i`, `j`, `k`: each voxel repeated
    /// as often as `times` says.
    pub(crate) fn voxels(&mut self, batch: &VoxelBatch, times: &[usize]) {
        let repeat = |get: &dyn Fn(usize) -> i64| -> Vec<i64> {
            times.iter().enumerate().flat_map(|(v, &n)| std::iter::repeat_n(get(v), n)).collect()
        };
        let voxel = repeat(&|v| batch.voxel[v]);
        self.push(Field::new("voxel", DataType::Int64, false), Arc::new(Int64Array::from(voxel)));
        if let Some(ijk) = &batch.ijk {
            for (axis, name) in ["i", "j", "k"].into_iter().enumerate() {
                let index: Vec<i32> =
                    repeat(&|v| i64::from(ijk[v][axis])).into_iter().map(|x| x as i32).collect();
                self.push(
                    Field::new(name, DataType::Int32, false),
                    Arc::new(Int32Array::from(index)),
                );
            }
        }
    }

    pub(crate) fn finish(self) -> Result<arrow_array::RecordBatch, arrow_schema::ArrowError> {
        let schema = Arc::new(arrow_schema::Schema::new(self.fields));
        arrow_array::RecordBatch::try_new(schema, self.arrays)
    }
}

/// The unit of σ and of the scale is that of the signals.
pub(crate) const SIGNAL_UNIT: &str = "signal";

/// Names and units of the result columns of a model.
pub(crate) fn result_columns(model: &Model) -> Vec<(&str, &'static str)> {
    model.columns().iter().map(|c| (c.name.as_str(), c.unit.symbol())).collect()
}
