//! `posterior.parquet`: one row a (voxel, chain, draw), with ArviZ's names for
//! the statistics of the sampler.

use super::{Columns, SIGNAL_UNIT, result_columns};
use crate::InferenceError;
use crate::fit::Status;
use crate::sample::VoxelPosterior;
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
    let mut numbers = [const { Vec::new() }; 4];
    let mut counts = [const { Vec::new() }; 2];
    numbers.iter_mut().for_each(|v: &mut Vec<f64>| v.reserve_exact(total));
    counts.iter_mut().for_each(|v: &mut Vec<i32>| v.reserve_exact(total));
    let (mut diverging, mut deepest) = (Vec::with_capacity(total), Vec::with_capacity(total));
    // Draw after draw: they are many, and far from each other in memory.
    for d in posteriors.iter().flat_map(|p| &p.traces).flat_map(|t| &t.draws) {
        let of = [d.ln_density, d.energy, d.step_size, d.acceptance_rate];
        numbers.iter_mut().zip(of).for_each(|(column, v)| column.push(v));
        counts[0].push(d.tree_depth as i32);
        counts[1].push(d.n_steps as i32);
        diverging.push(d.diverging);
        deepest.push(d.reached_max_depth);
    }
    let [lp, energy, step_size, acceptance] = numbers;
    let [depth, steps] = counts.map(|c| Arc::new(Int32Array::from(c)));
    out.numbers("lp", "nat", lp);
    out.numbers("energy", "nat", energy);
    out.flags("diverging", diverging.into_iter());
    out.push(Field::new("tree_depth", DataType::Int32, false), depth);
    out.flags("reached_max_treedepth", deepest.into_iter());
    out.push(Field::new("n_steps", DataType::Int32, false), steps);
    out.numbers("step_size", "1", step_size);
    out.numbers("acceptance_rate", "1", acceptance);
    let words = times.iter().zip(status).flat_map(|(&n, s)| std::iter::repeat_n(s.name(), n));
    out.words("status", words);
    Ok(out.finish()?)
}
