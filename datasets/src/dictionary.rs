//! Simulated dictionaries as Parquet tables.
//!
//! | column | is |
//! |---|---|
//! | parameters with their units, such as `radius_um` | the point of the grid; every combination of values has rows |
//! | `b_s_per_mm2`, `delta_ms`, `big_delta_ms` | the shell |
//! | `cosine` | of the angle between gradient and axis; not there without an axis |
//! | `signal_real`, `signal_imag` | relative to b = 0 |
//! | `se_real`, `se_imag` | standard errors |
//! | `batch_0`, `batch_1`, ... | `signal_real` of independent batches of walkers, of which it is the mean |
//!
//! Parameters are the columns before `b_s_per_mm2`. Rows may stand in any order. The imaginary
//! part, the errors and the batches may be left out, so that dictionaries of other programs can
//! be used; without batches signals count as exact. Validated by the tests below and by
//! `tests/cli/dictionary.rs`.

use crate::error::{DatasetError, Result};
use crate::hash::content_hash;
use crate::table::{TableReader, write_table};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use microtome_models::dictionary::{Dictionary, DictionaryAxis, DictionaryShell, DictionaryTable};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Columns that describe the shell.
const SHELL: [&str; 3] = ["b_s_per_mm2", "delta_ms", "big_delta_ms"];
const COSINE: &str = "cosine";
const REAL: &str = "signal_real";

/// Writes a dictionary.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_dictionary(
    path: &Path,
    table: &DictionaryTable,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let (points, entries) = (table.points(), table.entries());
    let mut names: Vec<String> = table.axes.iter().map(DictionaryAxis::column).collect();
    let mut columns: Vec<Vec<f64>> = vec![Vec::with_capacity(points * entries); names.len()];
    for point in 0..points {
        for (column, x) in columns.iter_mut().zip(table.parameters(point)) {
            column.extend(std::iter::repeat_n(x, entries));
        }
    }
    let shells = || table.shells.iter().flat_map(|s| std::iter::repeat_n(s, s.entries()));
    let every = |row: Vec<f64>| (0..points).flat_map(|_| row.clone()).collect::<Vec<f64>>();
    names.extend(SHELL.map(String::from));
    columns.push(every(shells().map(|s| 1e3 * s.b).collect()));
    columns.push(every(shells().map(|s| s.delta_ms).collect()));
    columns.push(every(shells().map(|s| s.big_delta_ms).collect()));
    if table.is_axial() {
        names.push(COSINE.into());
        let cosines = table.shells.iter().flat_map(|s| s.cosines.iter().copied());
        columns.push(every(cosines.collect()));
    }
    let lists = [&table.signal, &table.imaginary, &table.se, &table.se_imaginary];
    for (name, list) in [REAL, "signal_imag", "se_real", "se_imag"].iter().zip(lists) {
        names.push((*name).into());
        columns.push(list.clone());
    }
    for (k, batch) in table.batches.iter().enumerate() {
        names.push(format!("batch_{k}"));
        columns.push(batch.clone());
    }
    let fields: Vec<Field> =
        names.iter().map(|n| Field::new(n, DataType::Float64, false)).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let columns: Vec<ArrayRef> =
        columns.into_iter().map(|c| Arc::new(Float64Array::from(c)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| DatasetError::parquet(path, "write the table")(e.into()))?;
    write_table(path, schema, &[batch])
}

/// Reads a dictionary and makes its interpolant; see [`Dictionary::new`] for `error_modes`.
///
/// # Errors
/// A file that is no Parquet table or truncated; columns that are missing or no numbers; points
/// of the grid that are missing or there twice.
pub fn read_dictionary(path: &Path, error_modes: Option<usize>) -> Result<Dictionary> {
    let table = read_dictionary_table(path)?;
    let bytes = std::fs::read(path).map_err(DatasetError::io(path, "read"))?;
    Dictionary::new(&table, error_modes, &content_hash(&[&bytes]))
        .map_err(|e| DatasetError::format(path, e.to_string()))
}

/// Reads the table of a dictionary.
///
/// # Errors
/// As [`read_dictionary`].
pub fn read_dictionary_table(path: &Path) -> Result<DictionaryTable> {
    let wrong = |what: String| DatasetError::format(path, what);
    let reader = TableReader::open(path)?;
    let names: Vec<String> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
    for name in SHELL.iter().chain([&REAL]) {
        if !names.iter().any(|n| n == name) {
            return Err(wrong(format!(
                "has no column `{name}`; a dictionary of `microtome simulate --sweep` has the columns of its parameters, {}, {COSINE}, {REAL} and others",
                SHELL.join(", ")
            )));
        }
    }
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for batch in reader {
        let batch = batch?;
        for ((column, array), name) in columns.iter_mut().zip(batch.columns()).zip(&names) {
            let Some(numbers) = array.as_primitive_opt::<Float64Type>() else {
                return Err(wrong(format!("the column `{name}` is not of float64 numbers")));
            };
            if numbers.null_count() > 0 {
                return Err(wrong(format!("the column `{name}` has empty cells")));
            }
            column.extend_from_slice(numbers.values());
        }
    }
    let at = |name: &str| names.iter().position(|n| n == name);
    let parameters = at(SHELL[0]).unwrap_or(0);
    let rows = columns.first().map_or(0, Vec::len);
    if parameters == 0 || rows == 0 {
        return Err(wrong(format!(
            "has {rows} rows and {parameters} parameters; parameters are the columns before `{}`",
            SHELL[0]
        )));
    }
    if let Some(c) = (0..names.len()).find(|c| columns[*c].iter().any(|v| !v.is_finite())) {
        return Err(wrong(format!("the column `{}` has a number that is not finite", names[c])));
    }
    let axes: Vec<DictionaryAxis> = (0..parameters)
        .map(|c| {
            let mut nodes = columns[c].clone();
            nodes.sort_by(f64::total_cmp);
            nodes.dedup();
            let (name, unit) = DictionaryAxis::of_column(&names[c]);
            DictionaryAxis { name, unit, nodes }
        })
        .collect();
    // The entries in order of their first row, shells together, cosines rising.
    let describing: Vec<usize> = SHELL.iter().filter_map(|n| at(n)).chain(at(COSINE)).collect();
    let key = |row: usize| -> Vec<u64> {
        // Positive numbers are ordered like their bits.
        describing.iter().map(|c| (columns[*c][row] + 0.0).to_bits()).collect()
    };
    let mut shell_order: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
    let mut found: BTreeMap<(usize, Vec<u64>), usize> = BTreeMap::new();
    for row in 0..rows {
        let key = key(row);
        let count = shell_order.len();
        let shell = *shell_order.entry(key[..3].to_vec()).or_insert(count);
        found.entry((shell, key)).or_insert(row);
    }
    let mut shells: Vec<DictionaryShell> = Vec::new();
    let mut entry_of: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
    let mut last = usize::MAX;
    for (entry, ((shell, key), row)) in found.into_iter().enumerate() {
        if shell != last {
            last = shell;
            let number = |k: usize| columns[describing[k]][row];
            shells.push(DictionaryShell {
                b: number(0) / 1e3,
                delta_ms: number(1),
                big_delta_ms: number(2),
                cosines: Vec::new(),
            });
        }
        if let (Some(c), Some(s)) = (describing.get(3), shells.last_mut()) {
            s.cosines.push(columns[*c][row]);
        }
        entry_of.insert(key, entry);
    }
    let mut table = DictionaryTable { axes, shells, ..DictionaryTable::default() };
    let (points, entries) = (table.points(), table.entries());
    if rows != points * entries {
        return Err(wrong(format!(
            "has {rows} rows, but {points} points of the grid with {entries} entries each make {}; every combination of the parameters needs all shells (and cosines) once",
            points * entries
        )));
    }
    let place_of = |row: usize| {
        let mut point = 0;
        for (c, axis) in table.axes.iter().enumerate() {
            let x = columns[c][row];
            let k = axis.nodes.iter().position(|n| *n == x).unwrap_or(0);
            point = point * axis.nodes.len() + k;
        }
        point * entries + entry_of.get(&key(row)).copied().unwrap_or(0)
    };
    let place: Vec<usize> = (0..rows).map(place_of).collect();
    let mut seen = vec![false; rows];
    for (row, to) in place.iter().enumerate() {
        if std::mem::replace(&mut seen[*to], true) {
            return Err(wrong(format!(
                "row {row} (counted from 0) has the parameters, shell and cosine of a row before it"
            )));
        }
    }
    let ordered = |name: &str| match at(name) {
        Some(c) => {
            let mut out = vec![0.0; rows];
            for (to, v) in place.iter().zip(&columns[c]) {
                out[*to] = *v;
            }
            out
        }
        None => vec![0.0; rows],
    };
    table.signal = ordered(REAL);
    table.imaginary = ordered("signal_imag");
    table.se = ordered("se_real");
    table.se_imaginary = ordered("se_imag");
    let batches = (0..).map(|k| format!("batch_{k}")).take_while(|n| at(n).is_some());
    table.batches = batches.map(|n| ordered(&n)).collect();
    table.check().map_err(|e| wrong(e.to_string()))?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_models::Unit;

    fn example(axial: bool) -> DictionaryTable {
        let axis = |name: &str, unit, nodes: &[f64]| DictionaryAxis {
            name: name.into(),
            unit,
            nodes: nodes.to_vec(),
        };
        let shell = |b: f64, cosines: &[f64]| DictionaryShell {
            b,
            delta_ms: 10.0,
            big_delta_ms: 30.0,
            cosines: if axial { cosines.to_vec() } else { Vec::new() },
        };
        let mut table = DictionaryTable {
            axes: vec![
                axis("radius", Unit::Micrometre, &[1.0, 2.0, 4.0]),
                axis("diffusivity", Unit::SquareMicrometrePerMillisecond, &[1.0, 2.0]),
            ],
            shells: vec![shell(3.0, &[0.2, 0.8]), shell(1.0, &[0.0, 0.5, 1.0])],
            ..DictionaryTable::default()
        };
        let n = table.points() * table.entries();
        let list = |k: f64| (0..n).map(|i| (-0.03 * k * i as f64).exp()).collect::<Vec<f64>>();
        (table.signal, table.imaginary, table.se, table.se_imaginary) =
            (list(1.0), list(2.0), list(3.0), list(4.0));
        table.batches = vec![list(5.0), list(6.0)];
        table
    }

    #[test]
    fn dictionaries_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.parquet");
        for axial in [true, false] {
            let table = example(axial);
            write_dictionary(&path, &table, HashMap::new()).unwrap();
            assert_eq!(read_dictionary_table(&path).unwrap(), table);
            let found = read_dictionary(&path, None).unwrap();
            assert_eq!((found.is_axial(), found.error_modes()), (axial, 1));
        }
    }

    /// Rows in another order are the same dictionary; lost and repeated rows are errors.
    #[test]
    fn rows_are_found_by_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.parquet");
        let table = example(true);
        write_dictionary(&path, &table, HashMap::new()).unwrap();
        let batch = crate::table::read_table(&path).unwrap().remove(0);
        let rows = batch.num_rows();
        let put = |order: &[usize]| {
            let columns = batch.columns().iter().map(|c| {
                let c = c.as_primitive::<Float64Type>();
                Arc::new(order.iter().map(|i| c.value(*i)).collect::<Float64Array>()) as ArrayRef
            });
            let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
            write_table(&path, batch.schema(), &[batch]).unwrap();
            read_dictionary_table(&path)
        };
        // The first shell stays the first.
        let order: Vec<usize> = (0..rows).map(|i| (i * 7) % rows).collect();
        assert_eq!(put(&order).unwrap(), table);
        let error = put(&order[1..]).unwrap_err().to_string();
        assert!(error.contains("29 rows") && error.contains("d.parquet"), "{error}");
        let mut twice = order.clone();
        twice[3] = twice[4];
        let error = put(&twice).unwrap_err().to_string();
        assert!(error.contains("row 4") && error.contains("before"), "{error}");
    }
}
