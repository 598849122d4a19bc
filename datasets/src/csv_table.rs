//! CSV tables of numbers, read by the names of their header.
//!
//! Lines that begin with `#` are comments; white space around cells does not
//! count. Validated by the tests below and `tests/files/bad_files.rs`.

use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use crate::error::{DatasetError, Result};
use crate::text::{read_text, shorten};

/// Columns of numbers with names.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterTable {
    /// Names of the columns, in the order of the file.
    pub names: Vec<String>,
    /// Numbers `[column][row]`.
    pub columns: Vec<Vec<f64>>,
}

impl ParameterTable {
    /// Reads a table of finite numbers, at least one row.
    ///
    /// # Errors
    /// Cells that are empty, not numbers or not finite; rows of another length;
    /// a repeated name; no rows. Messages name file, line and column.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, f64::is_finite, "a finite number")
    }

    /// Reads a table whose numbers may be NaN, which an empty cell is as well.
    pub(crate) fn read_with_nan(path: &Path) -> Result<Self> {
        Self::parse(path, |_| true, "a number")
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.names.iter().position(|n| n == name).map(|i| &self.columns[i][..])
    }

    fn parse(path: &Path, allowed: fn(f64) -> bool, wanted: &'static str) -> Result<Self> {
        let text = read_lines(path)?;
        let mut reader = builder().has_headers(true).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|e| wrong(path, e))?;
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        if names.iter().all(|n| n.is_empty()) {
            return Err(DatasetError::format(path, "is empty; a header of column names is needed"));
        }
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() || names[..i].contains(name) {
                return Err(DatasetError::format(
                    path,
                    format!("the name `{name}` of column {} is empty or stands there twice", i + 1),
                ));
            }
        }
        let mut columns = vec![Vec::new(); names.len()];
        for record in reader.records() {
            let record = record.map_err(|e| wrong(path, e))?;
            for ((cell, name), column) in record.iter().zip(&names).zip(&mut columns) {
                let value = if cell.is_empty() { Ok(f64::NAN) } else { cell.parse() };
                match value {
                    Ok(value) if allowed(value) => column.push(value),
                    _ => return Err(bad_cell(path, &record, name, cell, wanted)),
                }
            }
        }
        let table = Self { names, columns };
        if table.n_rows() == 0 {
            return Err(DatasetError::format(path, "has a header but no rows"));
        }
        Ok(table)
    }
}

/// Reads a file of one column; a first line that is not a number is its name.
pub(crate) fn read_column(path: &Path) -> Result<Vec<f64>> {
    let values = read_plain(path)?;
    match values.iter().position(|row| row.len() != 1) {
        Some(_) => {
            Err(DatasetError::format(path, "has more than one column; one value a line is needed"))
        }
        None => Ok(values.into_iter().flatten().collect()),
    }
}

/// Reads rows of numbers; a first line that holds no number at all is skipped.
pub(crate) fn read_plain(path: &Path) -> Result<Vec<Vec<f64>>> {
    let text = read_lines(path)?;
    let mut reader = builder().has_headers(false).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| wrong(path, e))?;
        if i == 0 && record.iter().all(|cell| cell.parse::<f64>().is_err()) {
            continue;
        }
        let row: Result<Vec<f64>> = record
            .iter()
            .enumerate()
            .map(|(c, cell)| {
                cell.parse()
                    .map_err(|_| bad_cell(path, &record, &(c + 1).to_string(), cell, "a number"))
            })
            .collect();
        rows.push(row?);
    }
    if rows.is_empty() {
        return Err(DatasetError::format(path, "holds no numbers"));
    }
    Ok(rows)
}

/// The text with bare line feeds, since the reader counts lines by them.
fn read_lines(path: &Path) -> Result<String> {
    Ok(read_text(path)?.replace("\r\n", "\n"))
}

fn builder() -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.trim(Trim::All).comment(Some(b'#'));
    builder
}

fn bad_cell(
    path: &Path,
    record: &StringRecord,
    column: &str,
    text: &str,
    wanted: &'static str,
) -> DatasetError {
    DatasetError::Cell {
        path: path.to_path_buf(),
        line: record.position().map_or(0, csv::Position::line),
        column: column.to_owned(),
        text: shorten(text),
        wanted,
    }
}

fn wrong(path: &Path, error: csv::Error) -> DatasetError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => DatasetError::line(
            path,
            line,
            format!("{len} cells, but the first line has {expected_len}"),
        ),
        _ => DatasetError::line(path, line, error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ParameterTable> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ParameterTable::read(file.path())
    }

    #[test]
    fn by_name_in_any_order() {
        let t = read("# a comment\n stick.fraction , s0\n0.5, 1e3\n0.25,2\n").unwrap();
        assert_eq!(t.names, ["stick.fraction", "s0"]);
        assert_eq!(t.column("s0"), Some(&[1000.0, 2.0][..]));
        assert_eq!(t.n_rows(), 2);
    }

    #[test]
    fn faults_name_line_and_column() {
        let text = |t: &str| read(t).unwrap_err().to_string();
        let t = text("a,b\n1,2\n3,x\n");
        assert!(t.contains("line 3") && t.contains("`b`") && t.contains("`x`"), "{t}");
        assert!(text("a,b\n1,\n").contains("`b`"));
        assert!(text("a,b\n1,nan\n").contains("finite"));
        assert!(text("a,b\n1,2\n3\n").contains("line 3"));
        assert!(text("a,b\r\n1,2\r\n3,x\r\n").contains("line 3"));
        assert!(text("a,a\n1,2\n").contains("twice"));
        assert!(text("a,b\n").contains("no rows"));
        assert!(text("").contains("empty"));
    }
}
