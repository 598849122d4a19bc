//! Runs of small batches of voxels, and what is in their tables.
//!
//! Each test binary uses some of these.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic)]

use super::voxels::{add_noise, lowered, predict, scheme, specification, truth};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use microtome_inference::{Runner, Tables, record_batch};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Acquisition, Job, NoiseKind, RunSpec, SearchSpec, SigmaSpec, VoxelBatch};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Noise of the voxels.
pub const SIGMA: f64 = 0.03;

pub fn acquisition() -> Acquisition {
    scheme(6, &[(1.0, 30), (2.5, 30)])
}

pub fn spec(job: Job, model: &str, sigma: SigmaSpec) -> RunSpec {
    RunSpec {
        job,
        model: specification(model, NoiseKind::Rician),
        acquisition: acquisition(),
        sigma,
        search: SearchSpec { tune: 100, draws: 150, ..SearchSpec::default() },
        seed: 5,
    }
}

/// Voxels of an image; number 2 has a NaN, number 5 is empty.
pub fn batch(model: &str, voxels: usize) -> VoxelBatch {
    let acquisition = acquisition();
    let lowered = lowered(model, NoiseKind::Rician, &acquisition);
    let mut signals = Vec::new();
    for v in 0..voxels {
        let mut rng = PhiloxRng::new(81, v as u64, 0);
        let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
        match v {
            2 => y[7] = f64::NAN,
            5 => y.fill(0.0),
            _ => {}
        }
        signals.extend(y);
    }
    VoxelBatch {
        row: (0..voxels as u64).map(|v| 1000 + v).collect(),
        voxel: (0..voxels as i64).map(|v| 3 * v + 100).collect(),
        ijk: Some((0..voxels as i32).map(|v| [v, v + 1, -v]).collect()),
        signals,
        measurements: acquisition.len(),
        sigma: Some((0..voxels).map(|v| SIGMA * (1.0 + 0.01 * v as f64)).collect()),
        fixed: Vec::new(),
        grad_dev: None,
    }
}

pub fn run(spec: &RunSpec, batch: &VoxelBatch) -> Tables {
    Runner::new(spec)
        .unwrap()
        .process(&record_batch(batch).unwrap(), &AtomicBool::new(false))
        .unwrap()
}

pub fn numbers(table: &RecordBatch, name: &str) -> Vec<f64> {
    let column = table.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.as_primitive::<Float64Type>().values().to_vec()
}

pub fn words(table: &RecordBatch, name: &str) -> Vec<String> {
    let column = table.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.as_string::<i32>().iter().map(|w| w.unwrap().to_string()).collect()
}

/// Every cell as text, floats by their bits.
pub fn cells(table: &RecordBatch) -> Vec<Vec<String>> {
    let column = |array: &Arc<dyn Array>| -> Vec<String> {
        assert_eq!(array.null_count(), 0);
        match array.data_type() {
            DataType::Float64 => array
                .as_primitive::<Float64Type>()
                .values()
                .iter()
                .map(|v| format!("{:x}", v.to_bits()))
                .collect(),
            DataType::Int64 => {
                array.as_primitive::<Int64Type>().values().iter().map(i64::to_string).collect()
            }
            DataType::Int32 => {
                array.as_primitive::<Int32Type>().values().iter().map(i32::to_string).collect()
            }
            DataType::Boolean => {
                array.as_boolean().values().iter().map(|b| b.to_string()).collect()
            }
            DataType::Utf8 => {
                array.as_string::<i32>().iter().map(|w| w.unwrap().to_string()).collect()
            }
            other => panic!("a column of type {other}"),
        }
    };
    table.columns().iter().map(column).collect()
}

/// The rows `range` of a batch.
pub fn part(batch: &VoxelBatch, range: std::ops::Range<usize>) -> VoxelBatch {
    let n = batch.measurements;
    VoxelBatch {
        row: batch.row[range.clone()].to_vec(),
        voxel: batch.voxel[range.clone()].to_vec(),
        ijk: batch.ijk.as_ref().map(|v| v[range.clone()].to_vec()),
        signals: batch.signals[range.start * n..range.end * n].to_vec(),
        measurements: n,
        sigma: batch.sigma.as_ref().map(|v| v[range.clone()].to_vec()),
        fixed: Vec::new(),
        grad_dev: batch.grad_dev.as_ref().map(|v| v[9 * range.start..9 * range.end].to_vec()),
    }
}

pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}
