//! A matrix `[row, measurement]` in a binary file, read by ranges.
//!
//! The number of row r and measurement m stands at
//! `offset + size (r row_stride + m measurement_stride)`. NIfTI images and
//! Fortran-ordered arrays have `row_stride` = 1, C-ordered arrays have
//! `measurement_stride` = 1.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{DatasetError, Result};
use crate::sample::{Kind, Sample};

/// Unwanted bytes that are read rather than jumped over.
const GAP_BYTES: usize = 4096;
/// Longest single read.
const RUN_BYTES: usize = 1 << 22;

/// The file and its layout.
#[derive(Debug)]
pub(crate) struct StridedFile {
    pub(crate) path: PathBuf,
    pub(crate) file: Mutex<File>,
    pub(crate) offset: u64,
    pub(crate) sample: Sample,
    pub(crate) rows: usize,
    pub(crate) measurements: usize,
    /// True when the measurements of a row are neighbours.
    pub(crate) row_major: bool,
    /// Value = slope * stored + intercept.
    pub(crate) scale: Option<(f64, f64)>,
}

impl StridedFile {
    /// Bytes from the start of the file to the end of the matrix.
    pub(crate) fn end(offset: u64, rows: usize, measurements: usize, size: usize) -> Option<u64> {
        let bytes = (rows as u64).checked_mul(measurements as u64)?.checked_mul(size as u64)?;
        offset.checked_add(bytes)
    }

    /// Reads the given rows (increasing) into `[row, measurement]`.
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Vec<f64>> {
        let n = self.measurements;
        let mut out = vec![0.0; rows.len() * n];
        let (width, outer, stride) = if self.row_major { (n, 1, 0) } else { (1, n, self.rows) };
        let size = self.sample.size();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reads_plainly(rows) {
            let start = self.offset + (rows[0] * n * size) as u64;
            file.seek(SeekFrom::Start(start))
                .and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut out)))
                .map_err(DatasetError::io(&self.path, "read voxels"))?;
            return Ok(out);
        }
        let mut bytes = Vec::new();
        for m in 0..outer {
            let mut done = 0;
            while done < rows.len() {
                let first = rows[done];
                let count = run_length(&rows[done..], width * size);
                let last = rows[done + count - 1];
                let start = (m as u64 * stride as u64 + first as u64 * width as u64) * size as u64;
                bytes.resize((last - first + 1) * width * size, 0);
                file.seek(SeekFrom::Start(self.offset + start))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(DatasetError::io(&self.path, "read voxels"))?;
                for (k, row) in rows[done..done + count].iter().enumerate() {
                    let at = (row - first) * width * size;
                    let (bytes, to) = (&bytes[at..at + width * size], (done + k) * n + m);
                    self.sample.decode(bytes, &mut out[to..to + width]);
                }
                done += count;
            }
        }
        drop(file);
        if let Some((slope, intercept)) = self.scale {
            for v in &mut out {
                *v = *v * slope + intercept;
            }
        }
        Ok(out)
    }

    /// Whether rows stand in the file as they do in memory.
    fn reads_plainly(&self, rows: &[usize]) -> bool {
        let neighbours = rows.windows(2).all(|w| w[1] == w[0] + 1);
        let native = self.sample.kind == Kind::F64 && !self.sample.big_endian;
        self.row_major
            && native
            && cfg!(target_endian = "little")
            && self.scale.is_none()
            && !rows.is_empty()
            && neighbours
    }

    /// All values in file order, a piece at a time.
    pub(crate) fn for_each(&self, mut take: impl FnMut(f64)) -> Result<()> {
        let size = self.sample.size();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.offset)).map_err(DatasetError::io(&self.path, "read"))?;
        let mut left = self.rows * self.measurements;
        let mut values = vec![0.0; left.min(1 << 16)];
        let mut bytes = vec![0; values.len() * size];
        while left > 0 {
            let n = left.min(values.len());
            file.read_exact(&mut bytes[..n * size])
                .map_err(DatasetError::io(&self.path, "read"))?;
            self.sample.decode(&bytes[..n * size], &mut values[..n]);
            for &v in &values[..n] {
                take(self.scale.map_or(v, |(slope, intercept)| v * slope + intercept));
            }
            left -= n;
        }
        Ok(())
    }
}

/// Rows that one read covers.
fn run_length(rows: &[usize], row_bytes: usize) -> usize {
    let mut n = 1;
    while n < rows.len()
        && (rows[n] - rows[n - 1] - 1) * row_bytes <= GAP_BYTES
        && (rows[n] - rows[0] + 1) * row_bytes <= RUN_BYTES
    {
        n += 1;
    }
    n
}

/// Checks that a file is as long as its header promises.
pub(crate) fn check_length(path: &Path, expected: Option<u64>, found: u64) -> Result<()> {
    match expected {
        Some(expected) if expected <= found => Ok(()),
        Some(expected) => {
            Err(DatasetError::Truncated { path: path.to_path_buf(), expected, found })
        }
        None => {
            Err(DatasetError::format(path, "its header promises more bytes than a file can hold"))
        }
    }
}
