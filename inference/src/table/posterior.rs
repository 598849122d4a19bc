//! `posterior.parquet`: one row a (voxel, chain, draw), with ArviZ's names for
//! the statistics of the sampler.

use super::{Columns, SIGNAL_UNIT, result_columns};
use crate::InferenceError;
use crate::fit::Status;
use crate::sample::{Draw, VoxelPosterior};
use arrow_array::{Int32Array, RecordBatch};
use arrow_schema::{DataType, Field};
use microtome_models::{Model, VoxelBatch};
use std::sync::Arc;

/// The draws of a batch; voxels without draws have no rows. With `free_sigma`
/// there is a column `sigma`, whether or not there are draws.
pub(crate) fn table(
    model: &Model,
    batch: &VoxelBatch,
    posteriors: &[VoxelPosterior],
    status: &[Status],
    free_sigma: bool,
) -> Result<RecordBatch, InferenceError> {
    let names = result_columns(model);
    let times: Vec<usize> =
        posteriors.iter().map(|p| p.traces.iter().map(|t| t.draws.len()).sum::<usize>()).collect();
    let total: usize = times.iter().sum();
    let mut values = vec![Vec::with_capacity(total); names.len()];
    let mut sigma = Vec::new();
    for (v, p) in posteriors.iter().enumerate() {
        let fixed: Vec<f64> = batch.fixed.iter().map(|f| f[v]).collect();
        let rows = || p.values.chunks_exact(p.width.max(1));
        for (column, values) in model.columns().iter().zip(&mut values) {
            column.extend(rows(), &fixed, values);
        }
        if free_sigma {
            sigma.extend(rows().map(|x| x[model.values()]));
        }
    }
    let mut out = Columns::default();
    out.voxels(batch, &times);
    let index = |get: &dyn Fn(usize, usize) -> usize| -> Int32Array {
        posteriors
            .iter()
            .flat_map(|p| p.traces.iter().enumerate())
            .flat_map(|(chain, t)| (0..t.draws.len()).map(move |draw| (chain, draw)))
            .map(|(chain, draw)| get(chain, draw) as i32)
            .collect::<Vec<_>>()
            .into()
    };
    out.push(Field::new("chain", DataType::Int32, false), Arc::new(index(&|chain, _| chain)));
    out.push(Field::new("draw", DataType::Int32, false), Arc::new(index(&|_, draw| draw)));
    for ((name, unit), column) in names.iter().zip(values) {
        out.numbers(name, unit, column);
    }
    if free_sigma {
        out.numbers("sigma", SIGNAL_UNIT, sigma);
    }
    let draws = || posteriors.iter().flat_map(|p| &p.traces).flat_map(|t| &t.draws);
    let number = |get: fn(&Draw) -> f64| draws().map(get).collect::<Vec<f64>>();
    let count =
        |get: fn(&Draw) -> u64| Int32Array::from_iter_values(draws().map(|d| get(d) as i32));
    out.numbers("lp", "nat", number(|d| d.ln_density));
    out.numbers("energy", "nat", number(|d| d.energy));
    out.flags("diverging", draws().map(|d| d.diverging));
    out.push(Field::new("tree_depth", DataType::Int32, false), Arc::new(count(|d| d.tree_depth)));
    out.flags("reached_max_treedepth", draws().map(|d| d.reached_max_depth));
    out.push(Field::new("n_steps", DataType::Int32, false), Arc::new(count(|d| d.n_steps)));
    out.numbers("step_size", "1", number(|d| d.step_size));
    out.numbers("acceptance_rate", "1", number(|d| d.acceptance_rate));
    let words = times.iter().zip(status).flat_map(|(&n, s)| std::iter::repeat_n(s.name(), n));
    out.words("status", words);
    Ok(out.finish()?)
}
