//! Free gradient waveforms from `.npy`: `[measurement, time, 3]` in T/m.
//!
//! Sample k is the effective gradient on [k dt, (k+1) dt): its sign is reversed
//! after a refocusing pulse. A measurement of zeros is a b = 0.
//!
//! Validated by `tests/files/waveforms.rs`.

use std::path::Path;
use std::sync::Mutex;

use microtome_models::Acquisition;

use crate::error::{DatasetError, Result};
use crate::npy::NpyFile;
use crate::strided::StridedFile;

/// Gradients above this (T/m) are in another unit: the strongest coils reach 100 T/m
/// in microscopes, 1 T/m in scanners.
const LARGEST_T_PER_M: f64 = 200.0;

/// Reads waveforms.
///
/// # Units
/// T/m in the file; `dt_ms`, `te_ms` and `tr_ms` in ms.
///
/// # Errors
/// Another shape, gradients of another unit, and whatever
/// [`Acquisition::from_waveforms`] refuses. Messages name the file.
pub fn read_waveforms(
    path: &Path,
    dt_ms: f64,
    te_ms: Option<f64>,
    tr_ms: Option<f64>,
) -> Result<Acquisition> {
    let Samples { gradient, measurements, times } = read_waveform_samples(path)?;
    let te = te_ms.map(|te| vec![te; measurements]);
    let acquisition = Acquisition::from_waveforms(&gradient, times, dt_ms, te);
    let acquisition = match tr_ms {
        Some(tr) => acquisition.and_then(|a| a.with_repetition_times(vec![tr; measurements])),
        None => acquisition,
    };
    acquisition.map_err(DatasetError::acquisition(path))
}

/// Waveforms as they stand in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// T/m `[measurement, time, 3]`.
    pub gradient: Vec<f64>,
    /// Number of measurements.
    pub measurements: usize,
    /// Samples of each.
    pub times: usize,
}

/// Reads the samples of waveforms without asking whether they refocus.
///
/// # Errors
/// Another shape, gradients of another unit. Messages name the file.
pub fn read_waveform_samples(path: &Path) -> Result<Samples> {
    let npy = NpyFile::open(path)?;
    let [measurements, times, 3] = npy.shape[..] else {
        return Err(DatasetError::format(
            path,
            format!("has the shape {:?}; waveforms are [measurement, time, 3] in T/m", npy.shape),
        ));
    };
    if npy.fortran {
        return Err(DatasetError::format(
            path,
            "is in Fortran order; save it with numpy.ascontiguousarray",
        ));
    }
    let file = StridedFile {
        path: path.to_path_buf(),
        file: Mutex::new(npy.file),
        offset: npy.offset,
        sample: npy.sample,
        rows: measurements,
        measurements: 3 * times,
        row_major: true,
        scale: None,
    };
    let all: Vec<usize> = (0..measurements).collect();
    let gradient = file.read(&all)?;
    let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
    if largest > LARGEST_T_PER_M {
        return Err(DatasetError::format(
            path,
            format!(
                "the largest gradient is {largest}, which looks like a wrong unit: T/m are needed (1 T/m = 1000 mT/m)"
            ),
        ));
    }
    Ok(Samples { gradient, measurements, times })
}
