//! Matrices `[set, measurement]` as `.npy` (float64, C order) or `.csv` (no
//! header, shortest text that reads back to the same number).
//!
//! Validated by `tests/files/matrices.rs`.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::atomic::AtomicFile;
use crate::csv_table::read_plain;
use crate::error::{DatasetError, Result};
use crate::hash::little_endian;
use crate::npy::{NpyFile, write_header};

/// A matrix in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Values `[row, column]`.
    pub values: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Npy,
    Csv,
}

/// The form that the ending of a path names.
fn form(path: &Path) -> Result<Form> {
    match path.extension().map(|e| e.to_ascii_lowercase()) {
        Some(e) if e == "npy" => Ok(Form::Npy),
        Some(e) if e == "csv" => Ok(Form::Csv),
        _ => Err(DatasetError::format(path, "the name of a matrix ends with .npy or .csv")),
    }
}

/// Writes a matrix row by row; the file appears when it is complete.
#[derive(Debug)]
pub struct MatrixWriter {
    out: BufWriter<AtomicFile>,
    form: Form,
    left: usize,
    columns: usize,
}

impl MatrixWriter {
    /// Begins a matrix of a known shape.
    ///
    /// # Errors
    /// Another ending than `.npy` or `.csv`; a folder that cannot be written.
    pub fn create(path: &Path, rows: usize, columns: usize) -> Result<Self> {
        let form = form(path)?;
        let mut out = BufWriter::with_capacity(1 << 16, AtomicFile::create(path)?);
        if form == Form::Npy {
            write_header(&mut out, &[rows, columns]).map_err(DatasetError::io(path, "write"))?;
        }
        Ok(Self { out, form, left: rows, columns })
    }

    /// Adds whole rows.
    ///
    /// # Errors
    /// A part of a row, more rows than announced, a full disk.
    pub fn push(&mut self, values: &[f64]) -> Result<()> {
        let path = self.out.get_ref().path().to_path_buf();
        let rows = values.len().checked_div(self.columns).unwrap_or(0);
        if rows * self.columns != values.len() || rows > self.left {
            return Err(DatasetError::format(
                &path,
                format!(
                    "{} values were given for {} rows of {} that are left",
                    values.len(),
                    self.left,
                    self.columns
                ),
            ));
        }
        self.left -= rows;
        self.write(values).map_err(DatasetError::io(&path, "write"))
    }

    fn write(&mut self, values: &[f64]) -> std::io::Result<()> {
        if self.form == Form::Npy {
            return self.out.write_all(&little_endian(values));
        }
        for row in values.chunks_exact(self.columns) {
            let text: Vec<String> = row.iter().map(|v| format!("{v:?}")).collect();
            writeln!(self.out, "{}", text.join(","))?;
        }
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// Rows that are missing, a full disk.
    pub fn finish(self) -> Result<()> {
        let path = self.out.get_ref().path().to_path_buf();
        if self.left > 0 {
            return Err(DatasetError::format(
                &path,
                format!("{} rows were not written", self.left),
            ));
        }
        let file = self
            .out
            .into_inner()
            .map_err(|e| e.into_error())
            .map_err(DatasetError::io(&path, "write"))?;
        file.commit()
    }
}

/// Writes a matrix in one go.
///
/// # Errors
/// As [`MatrixWriter`].
pub fn write_matrix(path: &Path, matrix: &Matrix) -> Result<()> {
    let mut writer = MatrixWriter::create(path, matrix.rows, matrix.columns)?;
    writer.push(&matrix.values)?;
    writer.finish()
}

/// Reads a matrix from `.npy` (any number type; one axis is one column) or
/// `.csv` (a header is skipped).
///
/// # Errors
/// Files that cannot be read or are not a matrix of numbers.
pub fn read_matrix(path: &Path) -> Result<Matrix> {
    if form(path)? == Form::Csv {
        let rows = read_plain(path)?;
        let columns = rows.first().map_or(0, Vec::len);
        return Ok(Matrix { rows: rows.len(), columns, values: rows.concat() });
    }
    let file = NpyFile::open(path)?.into_matrix(path)?;
    let all: Vec<usize> = (0..file.rows).collect();
    Ok(Matrix { rows: file.rows, columns: file.measurements, values: file.read(&all)? })
}
