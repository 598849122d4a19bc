//! Poses and steps as Arrow tables.
//!
//! | table | columns |
//! |---|---|
//! | poses | `view`, every parameter, `<parameter>.sd`, `loss`, `sigma`, `weight`, `status` |
//! | history | `level`, `step`, `cost`, `rms`, `moved_mm`, `taken` |
//!
//! `loss` is $\frac12\sum(p-y)^2$ of the view, `sigma` the noise that weighs it. Validated by
//! `align_finds_poses` in `tests/cli/align_poses.rs`.

use super::unknowns::unit_of;
use super::{AlignError, JointRow, ViewFit};
use crate::table::Columns;
use arrow_array::RecordBatch;

fn wrong(e: arrow_schema::ArrowError) -> AlignError {
    AlignError::setting("the table", e.to_string())
}

/// A row a view.
///
/// # Errors
/// Views with unequal numbers of parameters.
pub fn pose_table(names: &[&str], views: &[ViewFit]) -> Result<RecordBatch, AlignError> {
    let mut out = Columns::default();
    out.counts("view", 0..views.len() as u64);
    let column = |k: usize, of: fn(&ViewFit) -> &[f64]| -> Vec<f64> {
        views.iter().filter_map(|v| of(v).get(k).copied()).collect()
    };
    for (k, name) in names.iter().enumerate() {
        out.numbers(name, unit_of(name), column(k, |v| &v.theta));
    }
    for (k, name) in names.iter().enumerate() {
        out.numbers(&format!("{name}.sd"), unit_of(name), column(k, |v| &v.sd));
    }
    out.numbers("loss", "1", views.iter().map(|v| v.loss).collect());
    out.numbers("sigma", "1", views.iter().map(|v| v.sigma).collect());
    out.numbers("weight", "1", views.iter().map(|v| v.weight).collect());
    out.words("status", views.iter().map(|v| v.status.name()));
    out.finish().map_err(wrong)
}

/// A row a step of Gauss and Newton.
///
/// # Errors
/// Never for these columns; Arrow says so by its type.
pub fn joint_table(rows: &[JointRow]) -> Result<RecordBatch, AlignError> {
    let mut out = Columns::default();
    out.counts("level", rows.iter().map(|r| r.level as u64));
    out.counts("step", rows.iter().map(|r| r.step as u64));
    out.numbers("cost", "1", rows.iter().map(|r| r.cost).collect());
    out.numbers("rms", "1", rows.iter().map(|r| r.rms).collect());
    out.numbers("moved_mm", "mm", rows.iter().map(|r| r.moved_mm).collect());
    out.flags("taken", rows.iter().map(|r| r.taken));
    out.finish().map_err(wrong)
}
