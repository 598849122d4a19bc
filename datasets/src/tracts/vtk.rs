//! VTK legacy polydata, written only: binary, one line a streamline.
//!
//! Points are world mm in **LPS+** (x and y of RAS+ with their signs turned), which is what
//! DIPY, MITK, MI-Brain and 3D Slicer take for the frame of such files; the title says
//! `SPACE=LPS`, which Slicer reads. MRtrix's `tckconvert` takes coordinates as they are, so
//! give it TCK instead. Columns are arrays of the points and of the cells.
//!
//! Source: Kitware, "VTK file formats", section "Simple legacy formats" (version 3.0).
//! Validated by `vtk_holds_lines_in_lps` in `tests/files/tracts.rs` and, against the reader of
//! VTK itself, by `benches/validation/tracts.py`.

use std::io::{BufWriter, Error, ErrorKind, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use super::spool::Spool;
use super::writer::{Column, Columns};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

/// A VTK file under construction.
pub(crate) struct VtkSink {
    path: PathBuf,
    file: AtomicFile,
    positions: Spool,
    lines: Spool,
    per_point: Vec<(Column, Spool)>,
    per_streamline: Vec<(Column, Spool)>,
    points: i32,
    streamlines: i32,
}

impl VtkSink {
    pub(crate) fn create(path: &Path, columns: Columns) -> Result<Self> {
        let spools = |columns: Vec<Column>| -> Result<Vec<(Column, Spool)>> {
            columns.into_iter().map(|c| Ok((c, Spool::create(path)?))).collect()
        };
        Ok(Self {
            path: path.to_path_buf(),
            file: AtomicFile::create(path)?,
            positions: Spool::create(path)?,
            lines: Spool::create(path)?,
            per_point: spools(columns.per_point)?,
            per_streamline: spools(columns.per_streamline)?,
            points: 0,
            streamlines: 0,
        })
    }

    pub(crate) fn push(
        &mut self,
        points: &[[f32; 3]],
        per_point: &[f32],
        per_streamline: &[f32],
    ) -> IoResult<()> {
        let n = i32::try_from(points.len()).ok();
        let end = n.and_then(|n| self.points.checked_add(n));
        // Also the size of the list of lines has to fit: points and one number a line.
        let fits = end.and_then(|e| e.checked_add(self.streamlines)?.checked_add(1));
        let (Some(n), Some(end), Some(_)) = (n, end, fits) else {
            let what = "a legacy VTK file holds 2^31 numbers of points and lines at most";
            return Err(Error::new(ErrorKind::InvalidInput, what));
        };
        for &[x, y, z] in points {
            [-x, -y, z].iter().try_for_each(|v| self.positions.put(&v.to_be_bytes()))?;
        }
        self.lines.put(&n.to_be_bytes())?;
        (self.points..end).try_for_each(|k| self.lines.put(&k.to_be_bytes()))?;
        let width: usize = self.per_point.iter().map(|(c, _)| c.width).sum();
        for row in per_point.chunks_exact(width.max(1)) {
            split(&mut self.per_point, row)?;
        }
        split(&mut self.per_streamline, per_streamline)?;
        self.points = end;
        self.streamlines += 1;
        Ok(())
    }

    pub(crate) fn stage(self) -> Result<AtomicFile> {
        let path = self.path.clone();
        self.compose().map_err(DatasetError::io(&path, "write"))
    }

    fn compose(self) -> IoResult<AtomicFile> {
        let mut out = BufWriter::with_capacity(1 << 16, self.file);
        let (n, m) = (self.points, self.streamlines);
        write!(out, "# vtk DataFile Version 3.0\nmicrotome streamlines, SPACE=LPS\n")?;
        write!(out, "BINARY\nDATASET POLYDATA\nPOINTS {n} float\n")?;
        self.positions.pour(&mut out)?;
        write!(out, "\nLINES {m} {}\n", n + m)?;
        self.lines.pour(&mut out)?;
        for (what, rows, columns) in
            [("CELL_DATA", m, self.per_streamline), ("POINT_DATA", n, self.per_point)]
        {
            if columns.is_empty() {
                continue;
            }
            write!(out, "\n{what} {rows}\nFIELD FieldData {}\n", columns.len())?;
            for (column, spool) in columns {
                writeln!(out, "{} {} {rows} float", column.name, column.width)?;
                spool.pour(&mut out)?;
                writeln!(out)?;
            }
        }
        out.into_inner().map_err(|e| e.into_error())
    }
}

/// One row of numbers into the columns, big-endian.
fn split(columns: &mut [(Column, Spool)], row: &[f32]) -> IoResult<()> {
    let mut rest = row;
    for (column, spool) in columns {
        let (now, after) = rest.split_at_checked(column.width).unwrap_or((rest, &[]));
        now.iter().try_for_each(|v| spool.put(&v.to_be_bytes()))?;
        rest = after;
    }
    Ok(())
}
