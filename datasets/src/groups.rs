//! Row groups whose columns are encoded in parallel, on rayon's current pool.
//!
//! The bytes are those of [`crate::TableWriter`]: a column is encoded by one
//! thread in the order of its rows, and columns are appended in their order.
//! Validated by `groups_equal_the_plain_writer` below.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::table::{GROUP_ROWS, TableWriter};

/// A table under construction whose batches fill row groups exactly.
pub(crate) struct GroupWriter {
    path: PathBuf,
    schema: SchemaRef,
    /// The file, begun with the first row group.
    open: Option<(SerializedFileWriter<BufWriter<AtomicFile>>, ArrowRowGroupWriterFactory)>,
    held: Vec<RecordBatch>,
    rows: usize,
    groups: usize,
}

impl GroupWriter {
    pub(crate) fn new(path: &Path, schema: SchemaRef) -> Self {
        Self { path: path.into(), schema, open: None, held: Vec::new(), rows: 0, groups: 0 }
    }

    /// Adds rows; a row group must end where a batch ends.
    pub(crate) fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        self.held.push(batch);
        if self.rows >= GROUP_ROWS { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        if self.rows > 0 {
            self.flush()?;
        }
        let (writer, _) = match self.open {
            Some(open) => open,
            None => TableWriter::create_for(&self.path, self.schema, None)?.into_parts()?,
        };
        let wrong = DatasetError::parquet(&self.path, "write the table");
        let buffer = writer.into_inner().map_err(wrong)?;
        let file = buffer.into_inner().map_err(|e| e.into_error());
        file.map_err(DatasetError::io(&self.path, "write"))?.commit()
    }

    fn flush(&mut self) -> Result<()> {
        let (mut writer, factory) = match self.open.take() {
            Some(open) => open,
            None => TableWriter::create_for(&self.path, self.schema.clone(), self.held.first())?
                .into_parts()?,
        };
        self.encode(&mut writer, &factory)
            .map_err(DatasetError::parquet(&self.path, "write the table"))?;
        self.open = Some((writer, factory));
        self.held.clear();
        self.rows = 0;
        self.groups += 1;
        Ok(())
    }

    fn encode(
        &self,
        writer: &mut SerializedFileWriter<BufWriter<AtomicFile>>,
        factory: &ArrowRowGroupWriterFactory,
    ) -> std::result::Result<(), ParquetError> {
        let Some(first) = self.held.first() else { return Ok(()) };
        let mut writers = factory.create_column_writers(self.groups)?.into_iter();
        // A nested column has several leaves, each with its own writer.
        let mut columns: Vec<(usize, Vec<ArrowColumnWriter>)> = Vec::new();
        for (c, field) in self.schema.fields().iter().enumerate() {
            let leaves = compute_leaves(field, first.column(c))?.len();
            columns.push((c, writers.by_ref().take(leaves).collect()));
        }
        let chunks = columns
            .into_par_iter()
            .map(|(c, mut writers)| {
                for batch in &self.held {
                    let leaves = compute_leaves(self.schema.field(c), batch.column(c))?;
                    for (writer, leaf) in writers.iter_mut().zip(&leaves) {
                        writer.write(leaf)?;
                    }
                }
                writers.into_iter().map(ArrowColumnWriter::close).collect()
            })
            .collect::<std::result::Result<Vec<Vec<ArrowColumnChunk>>, ParquetError>>()?;
        let mut group = writer.next_row_group()?;
        for chunk in chunks.into_iter().flatten() {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow_array::types::Float64Type;
    use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray};
    use std::sync::Arc;

    fn batch(from: usize, rows: usize) -> RecordBatch {
        let at = || from..from + rows;
        let lists =
            at().map(|i| (i % 5 > 0).then(|| (0..i % 4).map(move |k| Some((i + k) as f64))));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("voxel", Arc::new(Int64Array::from_iter_values(at().map(|i| i as i64)))),
            (
                "x",
                Arc::new(
                    at().map(|i| (i % 7 > 0).then(|| (i as f64).sin())).collect::<Float64Array>(),
                ),
            ),
            ("word", Arc::new(StringArray::from_iter_values(at().map(|i| ["a", "bc"][i % 2])))),
            ("list", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
            .unwrap()
    }

    #[test]
    fn groups_equal_the_plain_writer() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, groups) = (folder.path().join("a.parquet"), folder.path().join("b.parquet"));
        let batches: Vec<_> =
            (0..20).map(|k| batch(k * 16_384, if k < 19 { 16_384 } else { 77 })).collect();
        let schema = batches[0].schema();
        crate::write_table(&plain, schema.clone(), &batches).unwrap();
        let mut writer = GroupWriter::new(&groups, schema);
        batches.into_iter().for_each(|b| writer.write(b).unwrap());
        writer.finish().unwrap();
        assert!(std::fs::read(plain).unwrap() == std::fs::read(groups).unwrap());
    }
}
