//! A batch of voxels as a record batch: the input of the `mapInArrow` contract.
//!
//! | column | type | |
//! |---|---|---|
//! | `row` | uint64 | number in the whole input |
//! | `voxel` | int64 | |
//! | `i`, `j`, `k` | int32 | images only |
//! | `signals` | fixed-size list of float64, child `element` | |
//! | `sigma` | float64 | when σ is known a voxel |
//! | `grad_dev` | fixed-size list of 9 float64 | gradient nonlinearity, in the order of FSL |
//! | `fixed.0`, `fixed.1`, … | float64 | parameters fixed to one value a voxel |

use crate::InferenceError;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    UInt64Array,
};
use arrow_schema::{DataType, Field, Schema};
use microtome_models::VoxelBatch;
use std::sync::Arc;

/// Numbers of a deviation of gradients.
const DEVIATIONS: i32 = 9;

/// A batch of voxels as Arrow.
///
/// # Errors
/// Lists of unequal length.
pub fn record_batch(batch: &VoxelBatch) -> Result<RecordBatch, InferenceError> {
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    let mut push = |name: String, array: ArrayRef| {
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    };
    push("row".into(), Arc::new(UInt64Array::from(batch.row.clone())));
    push("voxel".into(), Arc::new(Int64Array::from(batch.voxel.clone())));
    if let Some(ijk) = &batch.ijk {
        for (axis, name) in ["i", "j", "k"].into_iter().enumerate() {
            push(name.into(), Arc::new(Int32Array::from_iter_values(ijk.iter().map(|v| v[axis]))));
        }
    }
    let element = Arc::new(Field::new("element", DataType::Float64, false));
    let values = Arc::new(Float64Array::from(batch.signals.clone()));
    let signals = FixedSizeListArray::try_new(element, batch.measurements as i32, values, None)?;
    push("signals".into(), Arc::new(signals));
    if let Some(grad_dev) = &batch.grad_dev {
        let element = Arc::new(Field::new("element", DataType::Float64, false));
        let values = Arc::new(Float64Array::from(grad_dev.clone()));
        let lists = FixedSizeListArray::try_new(element, DEVIATIONS, values, None)?;
        push("grad_dev".into(), Arc::new(lists));
    }
    if let Some(sigma) = &batch.sigma {
        push("sigma".into(), Arc::new(Float64Array::from(sigma.clone())));
    }
    for (k, fixed) in batch.fixed.iter().enumerate() {
        push(format!("fixed.{k}"), Arc::new(Float64Array::from(fixed.clone())));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// A batch of voxels from Arrow; `row` may be left out (then it is counted from 0).
///
/// # Errors
/// A column that is missing, of another type or with nulls, by name.
pub fn voxel_batch(batch: &RecordBatch) -> Result<VoxelBatch, InferenceError> {
    let wrong =
        |column: &str, problem| InferenceError::Column { column: column.to_string(), problem };
    let floats = |column: &str| -> Result<Option<Vec<f64>>, InferenceError> {
        match batch.column_by_name(column) {
            None => Ok(None),
            Some(array) => match array.as_primitive_opt::<Float64Type>() {
                Some(a) => Ok(Some(a.values().to_vec())),
                None => Err(wrong(column, "must be float64")),
            },
        }
    };
    let is_read = |name: &str| {
        ["row", "voxel", "i", "j", "k", "signals", "sigma", "grad_dev"].contains(&name)
            || name.starts_with("fixed.")
    };
    for (field, array) in
        batch.schema().fields().iter().zip(batch.columns()).filter(|(f, _)| is_read(f.name()))
    {
        let inner = array.as_fixed_size_list_opt().map_or(0, |list| list.values().null_count());
        if array.null_count() + inner > 0 {
            return Err(wrong(field.name(), "has nulls; write NaN where a number is missing"));
        }
    }
    let row = match batch.column_by_name("row") {
        None => (0..batch.num_rows() as u64).collect(),
        Some(array) => array
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| wrong("row", "must be uint64"))?
            .values()
            .to_vec(),
    };
    let voxel = match batch.column_by_name("voxel") {
        None => return Err(wrong("voxel", "is missing")),
        Some(array) => array
            .as_primitive_opt::<Int64Type>()
            .ok_or_else(|| wrong("voxel", "must be int64"))?
            .values()
            .to_vec(),
    };
    let mut axes = Vec::new();
    for name in ["i", "j", "k"] {
        if let Some(array) = batch.column_by_name(name) {
            axes.push(
                array
                    .as_primitive_opt::<Int32Type>()
                    .ok_or_else(|| wrong(name, "must be int32"))?,
            );
        }
    }
    let ijk = match axes.as_slice() {
        [i, j, k] => {
            Some((0..batch.num_rows()).map(|v| [i.value(v), j.value(v), k.value(v)]).collect())
        }
        _ => None,
    };
    let lists = |column: &'static str| -> Result<Option<(usize, Vec<f64>)>, InferenceError> {
        let Some(array) = batch.column_by_name(column) else { return Ok(None) };
        let list = array
            .as_fixed_size_list_opt()
            .ok_or_else(|| wrong(column, "must be a fixed-size list"))?;
        let values = list
            .values()
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| wrong(column, "must be a list of float64"))?;
        let width = list.value_length().max(0) as usize;
        let from = list.value_offset(0).max(0) as usize;
        Ok(Some((width, values.values()[from..from + width * batch.num_rows()].to_vec())))
    };
    let (measurements, signals) =
        lists("signals")?.ok_or_else(|| wrong("signals", "is missing"))?;
    let grad_dev = match lists("grad_dev")? {
        Some((width, _)) if width != DEVIATIONS as usize => {
            return Err(wrong("grad_dev", "must have lists of 9 numbers"));
        }
        other => other.map(|(_, values)| values),
    };
    let mut fixed = Vec::new();
    while let Some(column) = floats(&format!("fixed.{}", fixed.len()))? {
        fixed.push(column);
    }
    let sigma = floats("sigma")?;
    Ok(VoxelBatch { row, voxel, ijk, signals, measurements, sigma, fixed, grad_dev })
}
