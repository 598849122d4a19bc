//! Arrays that wait on disk until their number is known.
//!
//! The temporary file has no name, so nothing is left of it whatever happens. Validated by
//! `tests/files/tracts.rs`.

use std::fs::File;
use std::io::{BufWriter, Result, Seek, SeekFrom, Write};
use std::path::Path;

use crate::atomic::folder;
use crate::error::DatasetError;

/// Bytes on their way into a file.
#[derive(Debug)]
pub(crate) struct Spool {
    out: BufWriter<File>,
    bytes: u64,
}

impl Spool {
    /// An empty spool in the folder of the file that it is for.
    pub(crate) fn create(path: &Path) -> crate::Result<Self> {
        let failed = DatasetError::io(path, "create a temporary file in the folder of");
        let file = tempfile::tempfile_in(folder(path)).map_err(failed)?;
        Ok(Self { out: BufWriter::with_capacity(1 << 16, file), bytes: 0 })
    }

    /// Adds bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Adds numbers, little-endian.
    pub(crate) fn put_floats(&mut self, values: &[f32]) -> Result<()> {
        values.iter().try_for_each(|v| self.put(&v.to_le_bytes()))
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Appends all bytes to `to`.
    pub(crate) fn pour(self, to: &mut impl Write) -> Result<()> {
        let mut file = self.out.into_inner().map_err(|e| e.into_error())?;
        file.seek(SeekFrom::Start(0))?;
        std::io::copy(&mut file, to).map(|_| ())
    }
}
