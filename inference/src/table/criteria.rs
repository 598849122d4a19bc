//! `criteria.parquet`: one row a voxel, for the comparison of models.
//!
//! | column | unit | |
//! |---|---|---|
//! | `n_measurements` | 1 | terms of the sums: measurements, or means of shells |
//! | `signals_hash` | | hash of the measurements: equal for runs on the same data |
//! | `elpd_loo`, `elpd_loo_se`, `p_loo` | nat, nat, 1 | PSIS-LOO |
//! | `khat_loo`, `n_khat_high` | 1 | largest k-hat; how many are above min(1 - 1/log10 S, 0.7) |
//! | `elpd_waic`, `elpd_waic_se`, `p_waic` | nat, nat, 1 | WAIC |
//! | `ln_evidence`, `ln_evidence_mcse` | nat | bridge sampling and its Monte Carlo error |
//! | `ln_evidence_laplace` | nat | Laplace's approximation |
//! | `ppp_chi2`, `ppp_max` | 1 | predictive p values of the sum of squared residuals and of the largest |
//! | `shell_z` | 1 | z of the mean over each shell, in the order of the shells of the specification |
//! | `elpd_loo_i` | nat | the terms of `elpd_loo` by measurement |
//!
//! What can't be had is NaN. Validated by `criteria_of_a_run_are_those_of_its_draws` in
//! `tests/suite/comparison.rs`.

use super::Columns;
use crate::InferenceError;
use crate::comparison::Criteria;
use crate::fit::Status;
use arrow_array::{FixedSizeListArray, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use microtome_models::VoxelBatch;
use std::collections::HashMap;
use std::sync::Arc;

/// FNV-1a of the bits of the numbers, which tells different data apart.
fn hash(values: &[f64]) -> i64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for byte in values.iter().flat_map(|v| v.to_bits().to_le_bytes()) {
        h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    h as i64
}

/// A column of lists of one width.
fn lists(
    out: &mut Columns,
    name: &str,
    unit: &str,
    width: usize,
    values: Vec<f64>,
) -> Result<(), InferenceError> {
    let element = Arc::new(Field::new("element", DataType::Float64, false));
    let values = Arc::new(Float64Array::from(values));
    let array = FixedSizeListArray::try_new(element.clone(), width as i32, values, None)?;
    let metadata = HashMap::from([("unit".to_string(), unit.to_string())]);
    let kind = DataType::FixedSizeList(element, width as i32);
    out.push(Field::new(name, kind, false).with_metadata(metadata), Arc::new(array));
    Ok(())
}

/// The table of a batch whose voxels have measurements in `shells` shells.
pub(crate) fn table(
    batch: &VoxelBatch,
    criteria: &[Option<Criteria>],
    status: &[Status],
    shells: usize,
) -> Result<RecordBatch, InferenceError> {
    let n = batch.measurements;
    let number = |get: &dyn Fn(&Criteria) -> f64| -> Vec<f64> {
        criteria.iter().map(|c| c.as_ref().map_or(f64::NAN, get)).collect()
    };
    let rows = |width: usize, get: &dyn Fn(&Criteria) -> &[f64]| -> Vec<f64> {
        let missing = vec![f64::NAN; width];
        criteria.iter().flat_map(|c| c.as_ref().map_or(missing.as_slice(), get).to_vec()).collect()
    };
    let mut out = Columns::default();
    out.voxels(batch, &vec![1; criteria.len()]);
    out.words("status", status.iter().map(|s| s.name()));
    let count: Int32Array = vec![n as i32; criteria.len()].into();
    out.push(Field::new("n_measurements", DataType::Int32, false), Arc::new(count));
    let hashes: Int64Array = (0..criteria.len())
        .map(|v| hash(&batch.signals[v * n..(v + 1) * n]))
        .collect::<Vec<i64>>()
        .into();
    out.push(Field::new("signals_hash", DataType::Int64, false), Arc::new(hashes));
    out.numbers("elpd_loo", "nat", number(&|c| c.loo.elpd));
    out.numbers("elpd_loo_se", "nat", number(&|c| c.loo.se));
    out.numbers("p_loo", "1", number(&|c| c.loo.p));
    out.numbers("khat_loo", "1", number(&|c| c.loo.khat));
    let high: Int32Array = criteria
        .iter()
        .map(|c| c.as_ref().map_or(0, |c| c.loo.khats_high as i32))
        .collect::<Vec<i32>>()
        .into();
    out.push(Field::new("n_khat_high", DataType::Int32, false), Arc::new(high));
    out.numbers("elpd_waic", "nat", number(&|c| c.waic.elpd));
    out.numbers("elpd_waic_se", "nat", number(&|c| c.waic.se));
    out.numbers("p_waic", "1", number(&|c| c.waic.p));
    let bridge = |c: &Criteria| c.evidence.map_or([f64::NAN; 2], |e| [e.ln_evidence, e.mcse]);
    out.numbers("ln_evidence", "nat", number(&|c| bridge(c)[0]));
    out.numbers("ln_evidence_mcse", "nat", number(&|c| bridge(c)[1]));
    out.numbers("ln_evidence_laplace", "nat", number(&|c| c.ln_evidence_laplace));
    out.numbers("ppp_chi2", "1", number(&|c| c.check.chi2));
    out.numbers("ppp_max", "1", number(&|c| c.check.max));
    lists(&mut out, "shell_z", "1", shells, rows(shells, &|c| &c.check.shells))?;
    lists(&mut out, "elpd_loo_i", "nat", n, rows(n, &|c| &c.loo.terms))?;
    Ok(out.finish()?)
}
