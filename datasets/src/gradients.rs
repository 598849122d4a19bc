//! FSL gradient tables: b-values and b-vectors in two text files.
//!
//! $$b\,[\mathrm{ms/\mu m^2}] = b\,[\mathrm{s/mm^2}] / 1000$$
//!
//! b-values are any number of lines of numbers in s/mm²; b-vectors are 3 lines
//! of N numbers, or N lines of 3. A 3x3 table is read as 3 lines of N = 3, which
//! is FSL's form. Vectors of b = 0 rows may be NaN or zero.
//!
//! Directions stay as the file has them, in FSL's voxel frame;
//! [`world_from_fsl`](crate::world_from_fsl) takes them to world coordinates.
//!
//! Source: FSL, FDT user guide, "bvecs" and "bvals". Validated by the tests
//! below, `tests/files/bad_files.rs` and `tests/files/real_data.rs`.

use std::path::Path;

use microtome_models::{Acquisition, AcquisitionError, PulseTiming};

use crate::error::{DatasetError, Result};
use crate::text::{numbers, read_text};

/// b-values above this (s/mm²) are in another unit.
const LARGEST_S_PER_MM2: f64 = 200_000.0;
/// If the largest b-value is below this (s/mm²), they are in another unit.
const SMALLEST_S_PER_MM2: f64 = 50.0;

/// Times that hold for every measurement of an FSL table, ms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FslTimes {
    /// Pulse duration δ, ms.
    pub delta_ms: Option<f64>,
    /// Pulse separation Δ, ms.
    pub big_delta_ms: Option<f64>,
    /// Echo time, ms.
    pub te_ms: Option<f64>,
    /// Repetition time, ms.
    pub tr_ms: Option<f64>,
}

/// Reads an FSL table.
///
/// # Units
/// b-values in s/mm²; times in ms.
///
/// # Errors
/// Counts that differ, text that is not a number, a unit that looks wrong
/// (largest b above 200000 or between 0 and 50), δ without Δ, and whatever
/// [`Acquisition::from_b`] refuses. Messages name the file.
pub fn read_fsl(bval: &Path, bvec: &Path, times: FslTimes) -> Result<Acquisition> {
    read_fsl_shapes(bval, bvec, None, times)
}

/// As [`read_fsl`], with the shapes of the b-tensors: one number a volume in a text
/// file, 1 linear, 0 spherical, -0.5 planar, whatever stands at b = 0. The
/// b-vectors are then the axes of the b-tensors; those of spherical encoding are
/// not looked at.
///
/// # Errors
/// As [`read_fsl`]; another number of shapes, shapes outside of -0.5 to 1.
pub fn read_fsl_shapes(
    bval: &Path,
    bvec: &Path,
    bdelta: Option<&Path>,
    times: FslTimes,
) -> Result<Acquisition> {
    let b = read_bval(bval)?;
    let directions = read_bvec(bvec)?;
    if directions.len() != b.len() {
        return Err(DatasetError::Mismatch {
            path: bvec.to_path_buf(),
            found: format!("{} directions", directions.len()),
            other: bval.to_path_buf(),
            expected: format!("{} b-values", b.len()),
        });
    }
    let n = b.len();
    let timing = match (times.delta_ms, times.big_delta_ms) {
        (Some(delta), Some(big_delta)) => {
            Some(PulseTiming { delta_ms: vec![delta; n], big_delta_ms: vec![big_delta; n] })
        }
        (None, None) => None,
        _ => {
            return Err(DatasetError::format(
                bval,
                "delta and Delta belong together: give both (ms), or neither",
            ));
        }
    };
    let te = times.te_ms.map(|te| vec![te; n]);
    let inside: Vec<f64> = b.iter().map(|b| b / 1000.0).collect();
    let shapes = bdelta.map(|path| read_shapes(path, bval, &b)).transpose()?;
    let acquisition = match &shapes {
        None => Acquisition::from_b(&inside, &directions, timing, te),
        Some(shapes) => Acquisition::from_b_tensor(&inside, &directions, shapes, timing, te),
    };
    let acquisition = match times.tr_ms {
        Some(tr) => acquisition.and_then(|a| a.with_repetition_times(vec![tr; n])),
        None => acquisition,
    };
    acquisition.map_err(|e| {
        let at_fault = match (&e, bdelta) {
            (AcquisitionError::Direction { .. }, _) => bvec,
            (AcquisitionError::Shape { .. }, Some(path)) => path,
            _ => bval,
        };
        DatasetError::acquisition(at_fault)(e)
    })
}

/// Reads one shape a volume.
fn read_shapes(path: &Path, bval: &Path, b: &[f64]) -> Result<Vec<f64>> {
    let text = read_text(path)?;
    let mut shapes = Vec::new();
    for (i, line) in text.lines().enumerate() {
        shapes.extend(numbers(path, i as u64 + 1, line)?);
    }
    if shapes.len() != b.len() {
        return Err(DatasetError::Mismatch {
            path: path.to_path_buf(),
            found: format!("{} shapes", shapes.len()),
            other: bval.to_path_buf(),
            expected: format!("{} b-values", b.len()),
        });
    }
    Ok(linear_at_zero(shapes, b))
}

/// Shapes with 1 where b = 0, where they mean nothing.
pub(crate) fn linear_at_zero(mut shapes: Vec<f64>, b: &[f64]) -> Vec<f64> {
    for (shape, b) in shapes.iter_mut().zip(b) {
        if *b == 0.0 {
            *shape = 1.0;
        }
    }
    shapes
}

/// Reads b-values in s/mm².
fn read_bval(path: &Path) -> Result<Vec<f64>> {
    let text = read_text(path)?;
    let mut b = Vec::new();
    for (i, line) in text.lines().enumerate() {
        b.extend(numbers(path, i as u64 + 1, line)?);
    }
    if b.is_empty() {
        return Err(DatasetError::format(path, "holds no b-values"));
    }
    let largest = b.iter().copied().fold(0.0, f64::max);
    if largest > LARGEST_S_PER_MM2 || (largest > 0.0 && largest < SMALLEST_S_PER_MM2) {
        let unit = AcquisitionError::Unit { largest_s_per_mm2: largest };
        return Err(DatasetError::acquisition(path)(unit));
    }
    Ok(b)
}

/// Reads directions as the file has them.
fn read_bvec(path: &Path) -> Result<Vec<[f64; 3]>> {
    let text = read_text(path)?;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let row = numbers(path, i as u64 + 1, line)?;
        if !row.is_empty() {
            lines.push(row);
        }
    }
    if let [x, y, z] = &lines[..]
        && x.len() == y.len()
        && y.len() == z.len()
    {
        return Ok(x.iter().zip(y.iter().zip(z)).map(|(&x, (&y, &z))| [x, y, z]).collect());
    }
    let rows: Option<Vec<[f64; 3]>> = lines.iter().map(|row| row[..].try_into().ok()).collect();
    match rows {
        Some(rows) if !rows.is_empty() => Ok(rows),
        _ => {
            let counts: Vec<String> =
                lines.iter().take(4).map(|row| row.len().to_string()).collect();
            let more = if lines.len() > 4 { ", ..." } else { "" };
            Err(DatasetError::format(
                path,
                format!(
                    "b-vectors are 3 lines of N numbers or N lines of 3; found {} lines of [{}{more}] numbers",
                    lines.len(),
                    counts.join(", ")
                ),
            ))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn files(bval: &str, bvec: &str) -> Result<Acquisition> {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("x.bval"), dir.path().join("x.bvec"));
        std::fs::write(&a, bval).unwrap();
        std::fs::write(&b, bvec).unwrap();
        read_fsl(&a, &b, FslTimes::default())
    }

    #[test]
    fn both_forms_are_the_same() {
        let wide = files("0 1000\n2000 3000", "nan 1 0 0\nnan 0 1 0.6\nnan 0 0 0.8\n").unwrap();
        let tall =
            files("0\n1000\n2000\n3000\n\n", "nan nan nan\n1 0 0\n0 1 0\n0 0.6 0.8\n").unwrap();
        assert_eq!(wide, tall);
        assert_eq!(wide.b_ms_per_um2(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(wide.directions()[3], [0.0, 0.6, 0.8]);
    }

    #[test]
    fn three_by_three_is_read_by_columns() {
        let a = files("1000 1000 1000", "1 0 0\n0 0 1\n0 1 0").unwrap();
        let skew = files("1000 1000 1000", "0.6 0 1\n0.8 0 0\n0 1 0").unwrap();
        assert_eq!(a.directions(), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]);
        assert_eq!(skew.directions(), [[0.6, 0.8, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
    }

    #[test]
    fn shapes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let bval = at("x.bval", "0 1000 2000 2000");
        let bvec = at("x.bvec", "nan 1 nan 0\nnan 0 nan 0\nnan 0 nan 1");
        let read = |text: &str| {
            let times = FslTimes { tr_ms: Some(3000.0), ..FslTimes::default() };
            read_fsl_shapes(&bval, &bvec, Some(&at("x.bdelta", text)), times)
        };
        let a = read("nan 1\n0 -0.5\n").unwrap();
        let shapes: Vec<_> = (0..4).map(|i| a.b_delta(i)).collect();
        assert_eq!(shapes, [Some(1.0), Some(1.0), Some(0.0), Some(-0.5)]);
        assert_eq!(a.tr_ms(), Some(&[3000.0; 4][..]));
        for (text, words) in [("1 1 0", "3 shapes"), ("1 1 2 0", "b_delta is 2"), ("a", "x.bdelta")]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("x.bdelta") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn units_are_checked() {
        for b in ["0 1e9", "0 3", "0 49.9"] {
            let text = files(b, "0 1\n0 0\n0 0").unwrap_err().to_string();
            assert!(text.contains("x.bval") && text.contains("s/mm2"), "{text}");
        }
        assert!(files("0 0", "0 1\n0 0\n0 0").is_ok());
    }
}
