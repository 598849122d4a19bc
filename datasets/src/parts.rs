//! Finished blocks of a run, kept as Parquet parts, and their join.
//!
//! A part is `OUT/.parts/<hash>.<table>.parquet`, where the hash is that of the
//! run's specification and the block's key. A part carries its full identity in
//! its metadata and appears only when it is complete, so a run that was stopped
//! finds exactly its own finished blocks. A part that is truncated, damaged in
//! its footer, or of another identity counts as absent and is written anew.
//!
//! Validated by `tests/files/parts.rs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use arrow_select::coalesce::BatchCoalescer;
use parquet::errors::ParquetError;

use crate::error::{DatasetError, Result};
use crate::groups::GroupWriter;
use crate::hash::content_hash;
use crate::table::{TableReader, TableWriter};

/// Metadata key of a part's identity.
const IDENTITY: &str = "microtome.part";
/// Metadata keys that begin so belong to a part and not to the joined table.
const OF_PART: &str = "microtome.part.";
/// Rows of the batches that a join writes; a divisor of `GROUP_ROWS`.
const JOIN_ROWS: usize = 16_384;

/// The parts of one run.
#[derive(Debug, Clone)]
pub struct PartStore {
    folder: PathBuf,
    specification: String,
    sync: bool,
}

impl PartStore {
    /// The parts of a run with a given output folder. `specification` is
    /// everything that decides the results (options, version, SIMD level,
    /// content of the input); nothing is created before the first part.
    pub fn new(out_dir: &Path, specification: &str) -> Self {
        Self { folder: out_dir.join(".parts"), specification: specification.to_owned(), sync: true }
    }

    /// Parts are not waited for to reach the disk: right where a block takes
    /// less time than the disk. They outlive the program, not a loss of power.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.sync = false;
        self
    }

    /// The folder of the parts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a part: `key` names the block, `table` the table.
    pub fn path(&self, key: &str, table: &str) -> PathBuf {
        self.folder.join(format!("{}.{table}.parquet", self.identity(key)))
    }

    /// Whether there is no part of any run yet.
    pub fn is_empty(&self) -> bool {
        let is_part = |entry: std::fs::DirEntry| {
            let name = entry.file_name();
            Path::new(&name).extension().is_some_and(|e| e == "parquet")
        };
        std::fs::read_dir(&self.folder).map_or(true, |list| !list.flatten().any(is_part))
    }

    /// Whether the part is there, complete and of this run.
    pub fn is_valid(&self, key: &str, table: &str) -> bool {
        TableReader::open(&self.path(key, table))
            .is_ok_and(|part| part.schema().metadata().get(IDENTITY) == Some(&self.identity(key)))
    }

    /// What [`PartStore::write`] was told under the name `note`, for a part that
    /// is there and complete.
    pub fn note(&self, key: &str, table: &str, note: &str) -> Option<String> {
        let part = TableReader::open(&self.path(key, table)).ok()?;
        let metadata = part.schema().metadata();
        let whole = metadata.get(IDENTITY) == Some(&self.identity(key));
        whole.then(|| metadata.get(&format!("{OF_PART}{note}")).cloned()).flatten()
    }

    /// Writes a part with notes, (name, text), that the joined table does not
    /// have: one row group, the same bytes for the same batches.
    ///
    /// # Errors
    /// No batch at all, batches of unequal schemas, a folder that cannot be
    /// written, a full disk; then nothing half-written is left.
    pub fn write_with(
        &self,
        key: &str,
        table: &str,
        batches: &[RecordBatch],
        notes: &[(&str, String)],
    ) -> Result<PathBuf> {
        let path = self.path(key, table);
        let first = batches
            .first()
            .ok_or_else(|| DatasetError::format(&path, "a part needs at least one batch"))?;
        std::fs::create_dir_all(&self.folder)
            .map_err(DatasetError::io(&self.folder, "create the folder"))?;
        let schema = with_metadata(&first.schema(), |m| {
            m.insert(IDENTITY.to_owned(), self.identity(key));
            m.extend(notes.iter().map(|(name, text)| (format!("{OF_PART}{name}"), text.clone())));
        });
        let mut writer = TableWriter::create_part(&path, schema, first)?;
        for batch in batches {
            writer.write(batch)?;
        }
        if self.sync {
            writer.finish()?
        } else {
            writer.finish_without_sync()?
        }
        Ok(path)
    }

    /// The rows of a part.
    ///
    /// # Errors
    /// A part that is missing or damaged.
    pub fn read(&self, key: &str, table: &str) -> Result<Vec<RecordBatch>> {
        let part = TableReader::open(&self.path(key, table))?;
        part.collect()
    }

    /// Writes a part: [`PartStore::write_with`] without notes.
    ///
    /// # Errors
    /// As [`PartStore::write_with`].
    pub fn write(&self, key: &str, table: &str, batches: &[RecordBatch]) -> Result<PathBuf> {
        self.write_with(key, table, batches, &[])
    }

    /// Joins the parts of the keys, in that order, into a table at `out`, and
    /// returns its number of rows. `metadata` is added to the schema's own.
    ///
    /// Batches are cut to a fixed number of rows, so the bytes do not depend on
    /// how the rows were divided into parts. One row group is in memory.
    ///
    /// # Errors
    /// A part that is missing, damaged or of another schema; no key; a full
    /// disk. Then `out` is as it was.
    pub fn join<K: AsRef<str>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        table: &str,
        out: &Path,
        metadata: &[(String, String)],
    ) -> Result<usize> {
        join(keys.into_iter().map(|key| self.path(key.as_ref(), table)), out, metadata)
    }

    fn identity(&self, key: &str) -> String {
        content_hash(&[self.specification.as_bytes(), key.as_bytes()])
    }
}

/// Joins Parquet files of equal columns, in the order given, into one.
///
/// # Errors
/// As [`PartStore::join`].
pub fn join(
    paths: impl IntoIterator<Item = PathBuf>,
    out: &Path,
    metadata: &[(String, String)],
) -> Result<usize> {
    let paths: Vec<PathBuf> = paths.into_iter().collect();
    let (send, receive) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        // One thread decodes ahead of those that encode.
        scope.spawn(move || {
            for path in paths {
                let decoded = decode(path, |item| send.send(Ok(item)).is_ok());
                if let Err(e) = decoded {
                    let _ = send.send(Err(e));
                    return;
                }
            }
        });
        let mut state: Option<Join> = None;
        for item in receive {
            match (item?, &mut state) {
                (Item::Part(path, schema), None) => {
                    state = Some(Join::begin(out, &schema, metadata, path));
                }
                (Item::Part(path, schema), Some(join)) => join.check(path, &schema)?,
                (Item::Batch(batch), Some(join)) => join.push(batch)?,
                (Item::Batch(_), None) => {}
            }
        }
        match state {
            Some(join) => join.finish(),
            None => Err(DatasetError::format(out, "there are no parts to join")),
        }
    })
}

/// Batches that are decoded ahead.
const AHEAD: usize = 4;

enum Item {
    Part(PathBuf, SchemaRef),
    Batch(RecordBatch),
}

/// Hands a part over, its schema first; stops where nobody takes it.
fn decode(path: PathBuf, take: impl Fn(Item) -> bool) -> Result<()> {
    let part = TableReader::open(&path)?;
    let mut wanted = take(Item::Part(path, part.schema().clone()));
    for batch in part {
        if !wanted {
            break;
        }
        wanted = take(Item::Batch(batch?));
    }
    Ok(())
}

/// Joins batches of one schema, in the order given, into a table at `out`.
///
/// The bytes are those of [`join`] for the same rows: batches are cut anew.
///
/// # Errors
/// Whatever the batches bring, a batch of another schema, a full disk. Then
/// `out` is as it was.
pub fn join_batches(
    schema: &Schema,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
    out: &Path,
    metadata: &[(String, String)],
) -> Result<usize> {
    let mut join = Join::new(out, schema, metadata);
    for batch in batches {
        join.push(batch?)?;
    }
    join.finish()
}

/// A table that grows by batches.
pub struct Join {
    out: PathBuf,
    first: PathBuf,
    schema: SchemaRef,
    batches: BatchCoalescer,
    writer: GroupWriter,
    rows: usize,
}

impl Join {
    /// Begins a table at `out` with the columns of a batch or a part; `metadata` is
    /// added to its own. The file appears when it is complete.
    pub fn new(out: &Path, part: &Schema, metadata: &[(String, String)]) -> Self {
        Self::begin(out, part, metadata, PathBuf::new())
    }

    fn begin(out: &Path, part: &Schema, metadata: &[(String, String)], first: PathBuf) -> Self {
        let schema = with_metadata(part, |m| {
            m.retain(|name, _| name != IDENTITY && !name.starts_with(OF_PART));
            m.extend(metadata.iter().cloned());
        });
        let writer = GroupWriter::new(out, schema.clone());
        let batches = BatchCoalescer::new(schema.clone(), JOIN_ROWS);
        Self { out: out.to_path_buf(), first, schema, batches, writer, rows: 0 }
    }

    /// Refuses a part of other columns.
    fn check(&self, path: PathBuf, part: &Schema) -> Result<()> {
        if part.fields() == self.schema.fields() {
            return Ok(());
        }
        Err(DatasetError::Mismatch {
            path,
            found: format!("columns {}", columns(part)),
            other: self.first.clone(),
            expected: format!("{} (or others of another type or metadata)", columns(&self.schema)),
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// A batch of another schema, a full disk.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let out = &self.out;
        self.rows += batch.num_rows();
        let columns = batch.columns().to_vec();
        RecordBatch::try_new(self.schema.clone(), columns)
            .and_then(|batch| self.batches.push_batch(batch))
            .map_err(|e| DatasetError::parquet(out, "join the parts")(ParquetError::from(e)))?;
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        while let Some(batch) = self.batches.next_completed_batch() {
            self.writer.write(batch)?;
        }
        Ok(())
    }

    /// Completes the file and returns its number of rows.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(mut self) -> Result<usize> {
        let out = &self.out;
        self.batches
            .finish_buffered_batch()
            .map_err(|e| DatasetError::parquet(out, "join the parts")(ParquetError::from(e)))?;
        self.write()?;
        self.writer.finish()?;
        Ok(self.rows)
    }
}

fn with_metadata(schema: &Schema, change: impl FnOnce(&mut HashMap<String, String>)) -> SchemaRef {
    let mut metadata = schema.metadata().clone();
    change(&mut metadata);
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

fn columns(schema: &Schema) -> String {
    schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ")
}
