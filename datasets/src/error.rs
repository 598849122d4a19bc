//! The errors of reading and writing files.
//!
//! Every message begins with the file at fault, then says what is wrong and,
//! where it helps, what to do. Validated by `tests/files/bad_files.rs`.

use std::path::{Path, PathBuf};

use microtome_models::AcquisitionError;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The reason given.
        source: std::io::Error,
    },
    /// A gzip stream is cut short or damaged.
    #[error("{}: the gzip stream is truncated or damaged ({source}); copy or convert the file again", path.display())]
    Gzip {
        /// The compressed file.
        path: PathBuf,
        /// The reason given by the decompressor.
        source: std::io::Error,
    },
    /// A binary file is shorter than its header says.
    #[error("{}: the file is truncated: its header promises {expected} bytes, there are {found}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The file is not what it should be.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// One line of a text file is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// One cell of a table is wrong.
    #[error("{}, line {line}, column `{column}`: `{text}` is not {wanted}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// Text of the cell.
        text: String,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A table has a column that nobody reads.
    #[error("{}: unknown column `{column}`; known columns are {known}", path.display())]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The column at fault.
        column: String,
        /// Names that may stand in the header.
        known: String,
    },
    /// A table lacks a column.
    #[error("{}: the column `{column}` is missing; {why}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column that is needed.
        column: String,
        /// Why it is needed.
        why: String,
    },
    /// Two files do not belong together.
    #[error("{}: {found}, but {} has {expected}", path.display(), other.display())]
    Mismatch {
        /// The file at fault.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// The file it should fit.
        other: PathBuf,
        /// What that one holds.
        expected: String,
    },
    /// The file is there, with other content.
    #[error("{}: the file exists with other content; give --overwrite to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The acquisition read from the file is wrong.
    #[error("{}: {source}", path.display())]
    Acquisition {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AcquisitionError,
    },
    /// A request beyond the end of the data.
    #[error("{}: rows {start} to {end} were asked for, but there are {rows}", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// First row asked for.
        start: usize,
        /// One past the last row asked for.
        end: usize,
        /// Number of rows.
        rows: usize,
    },
    /// A Parquet file cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The reason given.
        source: parquet::errors::ParquetError,
    },
    /// A 4x4 affine without an inverse.
    #[error(
        "the affine of the image is singular or not finite: {affine:?}; correct the sform or qform of its header"
    )]
    SingularAffine {
        /// The affine.
        affine: Box<[[f64; 4]; 4]>,
    },
}

/// The result of reading or writing a file.
pub type Result<T> = std::result::Result<T, DatasetError>;

impl DatasetError {
    /// Wraps an I/O error: `.map_err(DatasetError::io(path, "read"))`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| DatasetError::Io { path, action, source }
    }

    /// A [`DatasetError::Format`].
    pub(crate) fn format(path: &Path, what: impl Into<String>) -> Self {
        DatasetError::Format { path: path.to_path_buf(), what: what.into() }
    }

    /// A [`DatasetError::Line`].
    pub(crate) fn line(path: &Path, line: u64, what: impl Into<String>) -> Self {
        DatasetError::Line { path: path.to_path_buf(), line, what: what.into() }
    }

    /// Wraps a Parquet error.
    pub(crate) fn parquet(
        path: &Path,
        action: &'static str,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_path_buf();
        move |source| DatasetError::Parquet { path, action, source }
    }

    /// Wraps an acquisition error.
    pub(crate) fn acquisition(path: &Path) -> impl FnOnce(AcquisitionError) -> Self {
        let path = path.to_path_buf();
        move |source| DatasetError::Acquisition { path, source }
    }
}
