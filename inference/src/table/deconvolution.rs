//! `fit.parquet` and `fod.parquet` of a deconvolution: one row a voxel.
//!
//! Directions are in the frame of the gradient directions of the acquisition, in
//! which a run on an image has world axes (see `microtome fit --help`). Peaks that
//! a voxel lacks are NaN.

use super::{Columns, SIGNAL_UNIT};
use crate::InferenceError;
use crate::deconvolution::{Deconvolver, PEAKS, VoxelDeconvolution};
use arrow_array::RecordBatch;
use microtome_models::VoxelBatch;

/// What a deconvolution says of every voxel.
pub(crate) fn table(
    deconvolver: &Deconvolver,
    batch: &VoxelBatch,
    fits: &[VoxelDeconvolution],
) -> Result<RecordBatch, InferenceError> {
    let number =
        |get: &dyn Fn(&VoxelDeconvolution) -> f64| fits.iter().map(get).collect::<Vec<f64>>();
    let mut out = Columns::default();
    out.voxels(batch, &vec![1; fits.len()]);
    out.words("status", fits.iter().map(|f| f.status.name()));
    for (k, tissue) in deconvolver.spec().tissues().enumerate() {
        let share = |f: &VoxelDeconvolution| f.volumes[k] / f.volumes.iter().sum::<f64>();
        out.numbers(&format!("{tissue}.fraction"), "1", number(&share));
        out.numbers(&format!("{tissue}.volume"), "1", number(&|f| f.volumes[k]));
    }
    for p in 0..PEAKS {
        let present =
            |f: &VoxelDeconvolution, value: f64| if p < f.peaks.count { value } else { f64::NAN };
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
            let column = number(&|f| present(f, f.peaks.axis[p][axis]));
            out.numbers(&format!("peak_{}_{name}", p + 1), "1", column);
        }
        out.numbers(
            &format!("peak_{}_value", p + 1),
            "1/sr",
            number(&|f| present(f, f.peaks.value[p])),
        );
    }
    out.numbers("odi", "1", number(&|f| f.odi));
    out.numbers("anisotropy", "1", number(&|f| f.anisotropy));
    out.numbers("laplacian", "1", number(&|f| f.laplacian));
    out.numbers("mse", &format!("{SIGNAL_UNIT}^2"), number(&|f| f.mse));
    out.numbers("r2", "1", number(&|f| f.r2));
    out.numbers("iterations", "1", number(&|f| f.steps as f64));
    Ok(out.finish()?)
}

/// The coefficients of the distributions, in the order of MRtrix3: columns `fod_0`,
/// `fod_1`, ...
pub(crate) fn coefficients(
    deconvolver: &Deconvolver,
    batch: &VoxelBatch,
    fits: &[VoxelDeconvolution],
) -> Result<RecordBatch, InferenceError> {
    let mut out = Columns::default();
    out.voxels(batch, &vec![1; fits.len()]);
    for k in 0..deconvolver.harmonics() {
        out.numbers(&format!("fod_{k}"), "1", fits.iter().map(|f| f.fod[k]).collect());
    }
    Ok(out.finish()?)
}
