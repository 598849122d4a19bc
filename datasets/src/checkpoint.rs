//! The state of an iterative run in one file: a header as JSON, arrays, a hash.
//!
//! ```text
//! microtome checkpoint 1\n
//! <bytes of the header as decimal>\n
//! <header: {"identity", "numbers", "arrays": [{"name", "type", "len"}]}>
//! <the arrays one after the other, little-endian>
//! <BLAKE3 hash of all of the above, 32 bytes>
//! ```
//!
//! The file appears when it is complete, and a file that was cut short or damaged counts as
//! absent, so that a run that was stopped at any moment goes on or begins anew. Validated by
//! `checkpoints_survive_everything` in `datasets/tests/files/checkpoint.rs`.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::array::Values;
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

const MAGIC: &str = "microtome checkpoint 1\n";
const HASH: usize = 32;

/// A state on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Of the run that wrote it; another run does not take it.
    pub identity: String,
    /// Numbers by name, to the bit.
    pub numbers: Vec<(String, Vec<f64>)>,
    /// Arrays by name.
    pub arrays: Vec<(String, Values)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: String,
    /// The bits, which JSON keeps also of NaN.
    numbers: Vec<(String, Vec<u64>)>,
    arrays: Vec<(String, String, usize)>,
}

impl Checkpoint {
    /// Writes the file, over an existing one.
    ///
    /// # Errors
    /// A folder that cannot be written, a full disk; then an older file stays.
    pub fn write(&self, path: &Path) -> Result<()> {
        let header = Header {
            identity: self.identity.clone(),
            numbers: self
                .numbers
                .iter()
                .map(|(n, v)| (n.clone(), v.iter().map(|v| v.to_bits()).collect()))
                .collect(),
            arrays: self
                .arrays
                .iter()
                .map(|(n, v)| (n.clone(), v.type_name().to_string(), v.len()))
                .collect(),
        };
        let header = serde_json::to_string(&header)
            .map_err(|e| DatasetError::format(path, e.to_string()))?;
        let mut file = AtomicFile::create(path)?;
        let mut hash = blake3::Hasher::new();
        let failed = DatasetError::io(path, "write");
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            file.write_all(bytes)
        };
        let written = (|| {
            put(MAGIC.as_bytes())?;
            put(format!("{}\n{header}", header.len()).as_bytes())?;
            for (_, values) in &self.arrays {
                match values {
                    Values::F32(v) => v.chunks(1 << 16).try_for_each(|v| {
                        put(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
                    })?,
                    Values::F64(v) => v.chunks(1 << 16).try_for_each(|v| {
                        put(&v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
                    })?,
                }
            }
            Ok(())
        })();
        written.map_err(failed)?;
        let hash = hash.finalize();
        file.write_all(hash.as_bytes()).map_err(DatasetError::io(path, "write"))?;
        file.commit()
    }

    /// Reads the file; `None` when there is none, or it is damaged.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let (content, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
        if blake3::hash(content).as_bytes()[..] != *hash {
            return None;
        }
        let rest = content.strip_prefix(MAGIC.as_bytes())?;
        let line = rest.iter().position(|b| *b == b'\n')?;
        let len: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
        let (header, mut data) = rest[line + 1..].split_at_checked(len)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let mut arrays = Vec::new();
        for (name, kind, len) in header.arrays {
            let single = kind == "float32";
            let (piece, after) =
                data.split_at_checked(len.checked_mul(if single { 4 } else { 8 })?)?;
            data = after;
            arrays.push((
                name,
                match single {
                    true => Values::F32(
                        piece.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                    ),
                    false => Values::F64(
                        piece.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                    ),
                },
            ));
        }
        let numbers = header
            .numbers
            .into_iter()
            .map(|(n, v)| (n, v.into_iter().map(f64::from_bits).collect()))
            .collect();
        data.is_empty().then_some(Self { identity: header.identity, numbers, arrays })
    }
}
