//! `fit.parquet`: one row a voxel.

use super::{Columns, SIGNAL_UNIT, result_columns};
use crate::InferenceError;
use crate::fit::VoxelFit;
use arrow_array::RecordBatch;
use microtome_models::{Model, VoxelBatch};

/// The fits of a batch.
pub(crate) fn table(
    model: &Model,
    batch: &VoxelBatch,
    fits: &[VoxelFit],
) -> Result<RecordBatch, InferenceError> {
    let names = result_columns(model);
    let mut values = vec![Vec::with_capacity(fits.len()); names.len()];
    let mut row = vec![0.0; names.len()];
    for (v, fit) in fits.iter().enumerate() {
        let fixed: Vec<f64> = batch.fixed.iter().map(|f| f[v]).collect();
        model.fill_columns(&fit.x, &fixed, &mut row);
        for (column, value) in values.iter_mut().zip(&row) {
            column.push(*value);
        }
    }
    let mut out = Columns::default();
    out.voxels(batch, &vec![1; fits.len()]);
    out.words("status", fits.iter().map(|f| f.status.name()));
    for ((name, unit), column) in names.iter().zip(values) {
        out.numbers(name, unit, column);
    }
    for (m, measure) in model.measures().iter().enumerate() {
        let values = fits.iter().map(|f| f.measures[m]).collect();
        out.numbers(&measure.name, measure.unit.symbol(), values);
    }
    for (c, (name, unit)) in names.iter().enumerate() {
        out.numbers(&format!("{name}.sd"), unit, fits.iter().map(|f| f.column_sd[c]).collect());
    }
    for (m, measure) in model.measures().iter().enumerate() {
        let values = fits.iter().map(|f| f.measure_sd[m]).collect();
        out.numbers(&format!("{}.sd", measure.name), measure.unit.symbol(), values);
    }
    out.numbers("sigma", SIGNAL_UNIT, fits.iter().map(|f| f.sigma).collect());
    out.numbers("r2", "1", fits.iter().map(|f| f.r2).collect());
    out.numbers("ln_likelihood", "nat", fits.iter().map(|f| f.ln_likelihood).collect());
    out.numbers("iterations", "1", fits.iter().map(|f| f.iterations as f64).collect());
    Ok(out.finish()?)
}
