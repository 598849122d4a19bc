//! Parquet tables: deterministic bytes, schema and field metadata kept.
//!
//! Measured numbers neither repeat nor compress, so columns of float64 are plain. A
//! column that often repeats itself in the first batch (NaN, say) and words have
//! Snappy, words and int32 a dictionary (which takes ten times as long as Snappy, so int32
//! that nearly always repeat or go up by one have none), and int64 are differences.
//!
//! Schema metadata stand twice in a file: in the embedded Arrow schema, and as
//! plain key-value pairs (sorted by key) that any Parquet reader shows. Equal
//! batches make equal bytes. Validated by `tests/files/parts.rs`.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

/// Rows that a reader hands out at a time.
const BATCH_ROWS: usize = 16_384;
/// Rows of a row group of a joined table.
pub(crate) const GROUP_ROWS: usize = 8 * BATCH_ROWS;

/// A Parquet table under construction; the file appears when it is complete.
pub struct TableWriter {
    path: PathBuf,
    writer: ArrowWriter<BufWriter<AtomicFile>>,
}

impl TableWriter {
    /// Begins a table. A row group is closed after `group_rows` rows; `None`
    /// makes one row group of the whole table.
    ///
    /// # Errors
    /// A schema that Parquet cannot hold, a folder that cannot be written.
    pub fn create(path: &Path, schema: SchemaRef, group_rows: Option<usize>) -> Result<Self> {
        let properties = properties(&schema, None).set_max_row_group_row_count(group_rows);
        Self::with(path, schema, properties.build())
    }

    /// Begins a table with row groups of the usual length, of which these are the first rows.
    pub(crate) fn create_for(
        path: &Path,
        schema: SchemaRef,
        first: Option<&RecordBatch>,
    ) -> Result<Self> {
        let properties = properties(&schema, first).set_max_row_group_row_count(Some(GROUP_ROWS));
        Self::with(path, schema, properties.build())
    }

    /// Begins a part, which is read once at most: one row group without statistics.
    pub(crate) fn create_part(path: &Path, schema: SchemaRef, first: &RecordBatch) -> Result<Self> {
        let properties = properties(&schema, Some(first))
            .set_max_row_group_row_count(None)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true);
        Self::with(path, schema, properties.build())
    }

    fn with(path: &Path, schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 16, AtomicFile::create(path)?);
        let writer = ArrowWriter::try_new(out, schema, Some(properties))
            .map_err(DatasetError::parquet(path, "begin the table"))?;
        Ok(Self { path: path.to_path_buf(), writer })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// A batch of another schema, a full disk.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(DatasetError::parquet(&self.path, "write the table"))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<()> {
        self.close()?.commit()
    }

    /// Completes the file without waiting for the disk; see [`AtomicFile::rename`].
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish_without_sync(self) -> Result<()> {
        self.close()?.rename()
    }

    /// The writer of the file and that of its row groups.
    pub(crate) fn into_parts(
        self,
    ) -> Result<(SerializedFileWriter<BufWriter<AtomicFile>>, ArrowRowGroupWriterFactory)> {
        let wrong = DatasetError::parquet(&self.path, "begin the table");
        self.writer.into_serialized_writer().map_err(wrong)
    }

    fn close(self) -> Result<AtomicFile> {
        let buffer = self
            .writer
            .into_inner()
            .map_err(DatasetError::parquet(&self.path, "write the table"))?;
        let file = buffer.into_inner().map_err(|e| e.into_error());
        file.map_err(DatasetError::io(&self.path, "write"))
    }
}

/// How the columns of a table are stored, given its first rows.
fn properties(schema: &SchemaRef, first: Option<&RecordBatch>) -> WriterPropertiesBuilder {
    let mut pairs: Vec<(&String, &String)> = schema.metadata().iter().collect();
    pairs.sort();
    let pairs = pairs.into_iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())).collect();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(concat!("microtome version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(pairs));
    for (c, field) in schema.fields().iter().enumerate() {
        let path = ColumnPath::from(field.name().as_str());
        builder = match field.data_type() {
            DataType::Float64 => {
                match first.and_then(|b| b.columns().get(c)).map_or(0.0, |a| repeats(a)) {
                    share if share > 0.1 => builder.set_column_dictionary_enabled(path, false),
                    _ => builder
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_compression(path, Compression::UNCOMPRESSED),
                }
            }
            DataType::Int32 => {
                let steady = first.and_then(|b| b.columns().get(c)).is_some_and(|a| is_steady(a));
                builder.set_column_dictionary_enabled(path, !steady)
            }
            DataType::Int64 => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            _ => builder,
        };
    }
    builder
}

/// Whether nearly all numbers of a column are the one before them or one more.
fn is_steady(column: &dyn Array) -> bool {
    let Some(numbers) = column.as_primitive_opt::<Int32Type>() else { return false };
    let pairs = numbers.values().windows(2);
    let all = pairs.len();
    let steady = pairs.filter(|w| (0..=1).contains(&w[1].wrapping_sub(w[0]))).count();
    20 * steady >= 19 * all
}

/// The share of the numbers of a column that equal the one before them.
fn repeats(column: &dyn Array) -> f64 {
    let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { return 0.0 };
    let pairs = numbers.values().windows(2);
    let all = pairs.len().max(1);
    pairs.filter(|w| w[0].to_bits() == w[1].to_bits()).count() as f64 / all as f64
}

/// Reads a Parquet table batch by batch.
pub struct TableReader {
    path: PathBuf,
    schema: SchemaRef,
    rows: usize,
    groups: usize,
    reader: ParquetRecordBatchReader,
}

impl TableReader {
    /// Opens a table and reads its footer.
    ///
    /// # Errors
    /// Files that are missing, truncated or not Parquet.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_where(path, |_| true)
    }

    /// Opens a table of which only some columns are read, in the order of the table.
    ///
    /// # Errors
    /// As [`TableReader::open`]; a column that is not there is none.
    pub fn open_columns(path: &Path, names: &[&str]) -> Result<Self> {
        Self::open_where(path, |name| names.contains(&name))
    }

    fn open_where(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
        if file.metadata().map_err(DatasetError::io(path, "open"))?.is_dir() {
            return Err(DatasetError::format(path, "is a folder; a Parquet file is needed"));
        }
        let wrong = |e: ParquetError| DatasetError::parquet(path, "read the table")(e);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(wrong)?;
        let fields = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> = fields.filter(|(_, f)| wanted(f.name())).map(|(c, _)| c).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
        let schema = builder.schema().project(&roots).map_err(|e| wrong(e.into()))?;
        let schema = Arc::new(schema);
        let rows = builder.metadata().file_metadata().num_rows().max(0) as usize;
        let groups = builder.metadata().num_row_groups();
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        let reader = builder.build().map_err(wrong)?;
        Ok(Self { path: path.to_path_buf(), schema, rows, groups, reader })
    }

    /// The Arrow schema with its metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows of the table.
    pub fn n_rows(&self) -> usize {
        self.rows
    }

    /// Number of row groups of the file.
    pub fn n_row_groups(&self) -> usize {
        self.groups
    }
}

impl Iterator for TableReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // The reader leaves the schema's own metadata out of its batches.
        let batch = self.reader.next()?.and_then(|batch| batch.with_schema(self.schema.clone()));
        Some(batch.map_err(|e| DatasetError::parquet(&self.path, "read the table")(e.into())))
    }
}

/// Reads a whole table.
///
/// # Errors
/// As [`TableReader::open`]; damaged pages.
pub fn read_table(path: &Path) -> Result<Vec<RecordBatch>> {
    TableReader::open(path)?.collect()
}

/// Writes a whole table.
///
/// # Errors
/// As [`TableWriter`].
pub fn write_table(path: &Path, schema: SchemaRef, batches: &[RecordBatch]) -> Result<()> {
    let mut writer = TableWriter::create_for(path, schema, batches.first())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}
