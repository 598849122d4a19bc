//! Where the draws of a region are kept until their blocks are summarised.
//!
//! A region has more draws than memory: chains × draws × voxels. Each block appends
//! what it drew now and then, and gets everything back once at the end.

use std::io::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// Keeps numbers of blocks.
pub trait DrawStore: Sync {
    /// Appends numbers to those of a block. Blocks come from several threads, one block
    /// from one thread at a time.
    ///
    /// # Errors
    /// Those of the medium.
    fn append(&self, block: usize, numbers: &[f64]) -> Result<()>;

    /// All numbers of a block in the order in which they were appended.
    ///
    /// # Errors
    /// Those of the medium.
    fn read(&self, block: usize) -> Result<Vec<f64>>;
}

/// Keeps everything in memory.
#[derive(Debug)]
pub struct MemoryDraws(Vec<Mutex<Vec<f64>>>);

impl MemoryDraws {
    /// For a number of blocks.
    pub fn new(blocks: usize) -> Self {
        Self((0..blocks).map(|_| Mutex::default()).collect())
    }

    fn block(&self, block: usize) -> Result<std::sync::MutexGuard<'_, Vec<f64>>> {
        let block = self.0.get(block).ok_or_else(|| Error::other("a block beyond the last"))?;
        Ok(block.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl DrawStore for MemoryDraws {
    fn append(&self, block: usize, numbers: &[f64]) -> Result<()> {
        self.block(block)?.extend_from_slice(numbers);
        Ok(())
    }

    fn read(&self, block: usize) -> Result<Vec<f64>> {
        Ok(self.block(block)?.clone())
    }
}
