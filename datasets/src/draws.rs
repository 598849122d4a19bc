//! Numbers of blocks that wait on disk until they are summarised: little-endian
//! float64, one file a block, removed with the store.
//!
//! The files are hidden and end with `.tmp`, so what a killed run left is swept away
//! like any half-written file. Nothing is waited for to reach the disk.
//!
//! Validated by `numbers_come_back_in_order` below.

use crate::hash::little_endian;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// Files of numbers, one a block.
#[derive(Debug)]
pub struct DrawFiles {
    folder: PathBuf,
    blocks: usize,
}

impl DrawFiles {
    /// Empty files for a number of blocks in a folder, which is created.
    ///
    /// # Errors
    /// A folder that can't be written.
    pub fn create(folder: &Path, blocks: usize) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let files = Self { folder: folder.to_path_buf(), blocks };
        for block in 0..blocks {
            File::create(files.path(block)).map_err(|e| files.about(block, &e))?;
        }
        Ok(files)
    }

    fn path(&self, block: usize) -> PathBuf {
        self.folder.join(format!(".draws.{block}.tmp"))
    }

    fn about(&self, block: usize, e: &Error) -> Error {
        Error::new(e.kind(), format!("{}: {e}", self.path(block).display()))
    }

    /// Appends numbers to those of a block.
    ///
    /// # Errors
    /// A full disk, a file that is gone.
    pub fn append(&self, block: usize, numbers: &[f64]) -> Result<()> {
        let open = OpenOptions::new().append(true).open(self.path(block));
        open.and_then(|mut f| f.write_all(&little_endian(numbers)))
            .map_err(|e| self.about(block, &e))
    }

    /// All numbers of a block.
    ///
    /// # Errors
    /// A file that is gone or cut.
    pub fn read(&self, block: usize) -> Result<Vec<f64>> {
        let bytes = std::fs::read(self.path(block)).map_err(|e| self.about(block, &e))?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(self.about(block, &Error::new(ErrorKind::UnexpectedEof, "is cut")));
        }
        Ok(numbers.iter().map(|b| f64::from_le_bytes(*b)).collect())
    }
}

impl Drop for DrawFiles {
    fn drop(&mut self) {
        for block in 0..self.blocks {
            let _ = std::fs::remove_file(self.path(block));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_come_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let files = DrawFiles::create(folder.path(), 2).unwrap();
        files.append(1, &[1.5, -0.0]).unwrap();
        files.append(0, &[f64::MAX]).unwrap();
        files.append(1, &[f64::MIN_POSITIVE]).unwrap();
        assert_eq!(files.read(0).unwrap(), [f64::MAX]);
        let back: Vec<u64> = files.read(1).unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(back, [1.5, -0.0, f64::MIN_POSITIVE].map(f64::to_bits));
        std::fs::write(files.path(0), [0; 9]).unwrap();
        assert!(files.read(0).unwrap_err().to_string().contains(".draws.0.tmp"));
        assert!(files.append(2, &[0.0]).is_err());
        drop(files);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
