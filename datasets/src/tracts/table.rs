//! Streamlines as an Arrow table: one row a streamline.
//!
//! `streamline` is a list of points (lists of three float32, world mm, RAS+); columns with a
//! row a point are lists beside it, columns with a row a streamline are plain. The child of
//! every list is named `element`. The schema says the grid: `voxel_to_rasmm` (16 numbers as
//! JSON) and `dimensions`. Validated by `tables_hold_the_same_numbers` in
//! `tests/files/tract_paths.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder};
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::{TractColumn, Tractogram};
use crate::error::{DatasetError, Result};
use crate::table::TableWriter;

/// Points of a batch, more or less.
const BATCH_POINTS: usize = 1 << 20;

fn element(inner: DataType) -> FieldRef {
    Arc::new(Field::new("element", inner, false))
}

/// `width` numbers: a number, or a list of fixed length.
fn of_width(width: usize) -> DataType {
    if width == 1 {
        DataType::Float32
    } else {
        DataType::FixedSizeList(element(DataType::Float32), width as i32)
    }
}

/// The schema of the table of streamlines.
pub fn tract_schema(tracts: &Tractogram) -> SchemaRef {
    let unit = HashMap::from([("unit".to_owned(), "mm".to_owned())]);
    let points = DataType::List(element(of_width(3)));
    let mut fields = vec![Field::new("streamline", points, false).with_metadata(unit)];
    for (name, column) in &tracts.per_point {
        fields.push(Field::new(name, DataType::List(element(of_width(column.width))), false));
    }
    for (name, column) in &tracts.per_streamline {
        fields.push(Field::new(name, of_width(column.width), false));
    }
    let mut about = HashMap::new();
    if let Some(grid) = &tracts.geometry {
        about.insert("voxel_to_rasmm".to_owned(), format!("{:?}", grid.affine));
        about.insert("dimensions".to_owned(), format!("{:?}", grid.dims));
    }
    Arc::new(Schema::new_with_metadata(fields, about))
}

/// Some streamlines as rows.
///
/// # Errors
/// Streamlines that are not there, columns of another length than the streamlines, two
/// columns of one name.
pub fn tract_batch(tracts: &Tractogram, streamlines: Range<usize>) -> Result<RecordBatch> {
    let nowhere = Path::new("streamlines");
    let wrong = |what: String| DatasetError::format(nowhere, what);
    if streamlines.end > tracts.n_streamlines() || streamlines.start > streamlines.end {
        let (start, end, rows) = (streamlines.start, streamlines.end, tracts.n_streamlines());
        return Err(DatasetError::Range { path: nowhere.into(), start, end, rows });
    }
    let short = || wrong("a column is shorter than the streamlines".into());
    let ranges: Vec<Range<usize>> = streamlines.clone().map(|at| tracts.range(at)).collect();
    let points = tracts.points.as_flattened();
    let mut columns: Vec<ArrayRef> = vec![lists(&ranges, 3, points).ok_or_else(short)?];
    for column in tracts.per_point.values() {
        columns.push(lists(&ranges, column.width, &column.values).ok_or_else(short)?);
    }
    for column in tracts.per_streamline.values() {
        columns.push(plain(column, streamlines.clone()).ok_or_else(short)?);
    }
    RecordBatch::try_new(tract_schema(tracts), columns).map_err(|e| wrong(e.to_string()))
}

fn fixed(width: usize) -> FixedSizeListBuilder<Float32Builder> {
    FixedSizeListBuilder::new(Float32Builder::new(), width as i32)
        .with_field(element(DataType::Float32))
}

/// Rows of a column with a row a point.
fn lists(ranges: &[Range<usize>], width: usize, values: &[f32]) -> Option<ArrayRef> {
    if width == 1 {
        let mut list = ListBuilder::new(Float32Builder::new()).with_field(element(of_width(1)));
        for range in ranges {
            list.values().append_slice(values.get(range.clone())?);
            list.append(true);
        }
        return Some(Arc::new(list.finish()));
    }
    let mut list = ListBuilder::new(fixed(width)).with_field(element(of_width(width)));
    for range in ranges {
        let rows = values.get(range.start * width..range.end * width)?;
        list.values().values().append_slice(rows);
        for _ in range.clone() {
            list.values().append(true);
        }
        list.append(true);
    }
    Some(Arc::new(list.finish()))
}

/// Rows of a column with a row a streamline.
fn plain(column: &TractColumn, rows: Range<usize>) -> Option<ArrayRef> {
    let width = column.width;
    let values = column.values.get(rows.start * width..rows.end * width)?;
    if width == 1 {
        return Some(Arc::new(Float32Array::from(values.to_vec())));
    }
    let mut list = fixed(width);
    list.values().append_slice(values);
    rows.for_each(|_| list.append(true));
    Some(Arc::new(list.finish()))
}

/// Writes the table of streamlines as Parquet.
///
/// # Errors
/// As [`tract_batch`]; a folder that cannot be written.
pub fn write_tract_table(path: &Path, tracts: &Tractogram) -> Result<()> {
    let mut writer = TableWriter::create(path, tract_schema(tracts), None)?;
    let n = tracts.n_streamlines();
    let mut from = 0;
    while from < n {
        let mut to = from + 1;
        while to < n && tracts.range(to).end - tracts.range(from).start <= BATCH_POINTS {
            to += 1;
        }
        writer.write(&tract_batch(tracts, from..to)?)?;
        from = to;
    }
    writer.finish()
}
