//! The writer of streamlines: one streamline at a time, whatever the format.
//!
//! Memory does not grow with the number of points. The file appears when it is complete;
//! an error, or a writer that is dropped, leaves nothing behind. Equal streamlines make
//! equal bytes. Validated by `tests/files/tracts.rs`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::tck::TckSink;
use super::trk::TrkSink;
use super::trx_sink::TrxSink;
use super::vtk::VtkSink;
use super::{TractColumn, TractFormat, Tractogram, not_finite};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;

/// Name and width of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) width: usize,
}

/// The columns of a file.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) per_point: Vec<Column>,
    pub(crate) per_streamline: Vec<Column>,
}

/// Numbers of all columns together.
pub(crate) fn widths(columns: &[Column]) -> usize {
    columns.iter().map(|c| c.width).sum()
}

enum Sink {
    Trx(Box<TrxSink>),
    Tck(TckSink),
    Trk(Box<TrkSink>),
    Vtk(Box<VtkSink>),
}

/// A file of streamlines under construction.
pub struct TractWriter {
    path: PathBuf,
    columns: Columns,
    point_width: usize,
    streamline_width: usize,
    streamlines: u64,
    points: u64,
    groups: BTreeMap<String, Vec<u32>>,
    sink: Sink,
    broken: bool,
}

impl TractWriter {
    /// Begins a file; its format is what its name ends with. `per_point` and
    /// `per_streamline` are names and widths of columns.
    ///
    /// # Errors
    /// Another ending, a grid or columns that the format cannot hold, a folder that cannot
    /// be written.
    pub fn create(
        path: &Path,
        geometry: &ImageGeometry,
        per_point: &[(&str, usize)],
        per_streamline: &[(&str, usize)],
    ) -> Result<Self> {
        Self::begin(path, Some(geometry), per_point, per_streamline, false)
    }

    /// As [`TractWriter::create`], with positions of 16 bits: half the space, with errors of
    /// up to 0.03 mm at 100 mm from the origin.
    ///
    /// # Errors
    /// As [`TractWriter::create`]; another format than TRX.
    pub fn create_half(
        path: &Path,
        geometry: &ImageGeometry,
        per_point: &[(&str, usize)],
        per_streamline: &[(&str, usize)],
    ) -> Result<Self> {
        if TractFormat::of(path)? != TractFormat::Trx {
            return Err(DatasetError::format(path, "positions of 16 bits need a .trx file"));
        }
        Self::begin(path, Some(geometry), per_point, per_streamline, true)
    }

    fn begin(
        path: &Path,
        geometry: Option<&ImageGeometry>,
        per_point: &[(&str, usize)],
        per_streamline: &[(&str, usize)],
        half: bool,
    ) -> Result<Self> {
        let format = TractFormat::of(path)?;
        let columns = Columns {
            per_point: named(path, per_point)?,
            per_streamline: named(path, per_streamline)?,
        };
        let bare = per_point.is_empty() && per_streamline.is_empty();
        if !bare && !format.has_columns() {
            let what = "a TCK file holds points alone; leave the columns out or write .trx";
            return Err(DatasetError::format(path, what));
        }
        let placed = || {
            let what = "needs the grid of an image; write .tck, or give an image";
            geometry.ok_or_else(|| DatasetError::format(path, what))
        };
        let (point_width, streamline_width) =
            (widths(&columns.per_point), widths(&columns.per_streamline));
        let sink = match format {
            TractFormat::Trx => {
                Sink::Trx(Box::new(TrxSink::create(path, placed()?, columns.clone(), half)?))
            }
            TractFormat::Tck => Sink::Tck(TckSink::create(path)?),
            TractFormat::Trk => Sink::Trk(Box::new(TrkSink::create(path, placed()?, &columns)?)),
            TractFormat::Vtk => Sink::Vtk(Box::new(VtkSink::create(path, columns.clone())?)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            columns,
            point_width,
            streamline_width,
            streamlines: 0,
            points: 0,
            groups: BTreeMap::new(),
            sink,
            broken: false,
        })
    }

    /// Adds a streamline: points in world mm (RAS+), the values of each point's columns one
    /// after the other (in the order of [`TractWriter::create`]) for one point after the
    /// other, and the values of the streamline's columns.
    ///
    /// # Errors
    /// No points, points that are not finite, another number of values than the columns
    /// need, a full disk.
    pub fn push(
        &mut self,
        points: &[[f32; 3]],
        per_point: &[f32],
        per_streamline: &[f32],
    ) -> Result<()> {
        let at = self.streamlines;
        let wrong = |what: String| Err(DatasetError::format(&self.path, what));
        if points.is_empty() {
            return wrong(format!("streamline {at} has no points; leave it out"));
        }
        if let Some(bad) = points.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
            return wrong(not_finite(at, bad, points[bad]));
        }
        let wanted = points.len() * self.point_width;
        if per_point.len() != wanted || per_streamline.len() != self.streamline_width {
            return wrong(format!(
                "streamline {at} of {} points has {} values at points and {} beside them; its columns need {wanted} and {}",
                points.len(),
                per_point.len(),
                per_streamline.len(),
                self.streamline_width
            ));
        }
        let done = match &mut self.sink {
            Sink::Trx(sink) => sink.push(points, per_point, per_streamline),
            Sink::Tck(sink) => sink.push(points),
            Sink::Trk(sink) => sink.push(points, per_point, per_streamline),
            Sink::Vtk(sink) => sink.push(points, per_point, per_streamline),
        };
        if let Err(e) = done {
            self.broken = true;
            return Err(DatasetError::io(&self.path, "write")(e));
        }
        self.streamlines += 1;
        self.points += points.len() as u64;
        Ok(())
    }

    /// Adds some streamlines of others, with those of their columns that this file has.
    ///
    /// # Errors
    /// As [`TractWriter::push`]; streamlines that are not there, a column that is not there
    /// or has another width.
    pub fn append(&mut self, tracts: &Tractogram, streamlines: Range<usize>) -> Result<()> {
        let (start, end, rows) = (streamlines.start, streamlines.end, tracts.n_streamlines());
        if end > rows || start > end {
            let path = self.path.clone();
            return Err(DatasetError::Range { path, start, end, rows });
        }
        let at_points = chosen(&self.path, &self.columns.per_point, &tracts.per_point)?;
        let beside = chosen(&self.path, &self.columns.per_streamline, &tracts.per_streamline)?;
        let (mut point_values, mut values) = (Vec::new(), Vec::new());
        for at in streamlines {
            point_values.clear();
            values.clear();
            if !at_points.is_empty() {
                for k in tracts.range(at) {
                    at_points.iter().for_each(|c| point_values.extend(row(c, k)));
                }
            }
            beside.iter().for_each(|c| values.extend(row(c, at)));
            self.push(tracts.streamline(at), &point_values, &values)?;
        }
        Ok(())
    }

    /// Names a set of streamlines by their indices; formats other than TRX leave groups out.
    ///
    /// # Errors
    /// A name that is taken or that no file can hold.
    pub fn group(&mut self, name: &str, members: Vec<u32>) -> Result<()> {
        check_name(&self.path, name)?;
        if self.groups.contains_key(name) {
            return Err(DatasetError::format(&self.path, format!("has two groups `{name}`")));
        }
        self.groups.insert(name.to_owned(), members);
        Ok(())
    }

    /// Number of streamlines so far.
    pub fn n_streamlines(&self) -> u64 {
        self.streamlines
    }

    /// Number of points so far.
    pub fn n_points(&self) -> u64 {
        self.points
    }

    /// Completes the file.
    ///
    /// # Errors
    /// A group with a streamline that is not there, a full disk.
    pub fn finish(self) -> Result<()> {
        self.stage()?.commit()
    }

    /// Completes the file, to be named by [`AtomicFile::commit`].
    ///
    /// # Errors
    /// As [`TractWriter::finish`].
    pub fn stage(self) -> Result<AtomicFile> {
        if self.broken {
            let what = "was not written whole: an earlier write failed";
            return Err(DatasetError::format(&self.path, what));
        }
        for (name, members) in &self.groups {
            if let Some(m) = members.iter().find(|&&m| u64::from(m) >= self.streamlines) {
                let what = format!("the group `{name}` has streamline {m} of {}", self.streamlines);
                return Err(DatasetError::format(&self.path, what));
            }
        }
        match self.sink {
            Sink::Trx(sink) => sink.stage(&self.groups),
            Sink::Tck(sink) => sink.stage(),
            Sink::Trk(sink) => sink.stage(),
            Sink::Vtk(sink) => sink.stage(),
        }
    }
}

/// Names and widths, checked.
fn named(path: &Path, columns: &[(&str, usize)]) -> Result<Vec<Column>> {
    for (k, (name, width)) in columns.iter().enumerate() {
        check_name(path, name)?;
        if *width == 0 || *width > usize::from(u16::MAX) {
            let what = format!("the column `{name}` cannot have {width} values");
            return Err(DatasetError::format(path, what));
        }
        if columns[..k].iter().any(|(other, _)| other == name) {
            return Err(DatasetError::format(path, format!("has two columns `{name}`")));
        }
    }
    Ok(columns.iter().map(|&(name, width)| Column { name: name.to_owned(), width }).collect())
}

/// Names become names of files in an archive, so they are plain.
fn check_name(path: &Path, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 200 || !name.chars().all(plain) {
        let what = format!("`{name}` is no name of a column or group: letters, digits, _ and -");
        return Err(DatasetError::format(path, what));
    }
    Ok(())
}

/// Writes streamlines in one go. A TCK file gets the points alone, TRK and VTK files no
/// groups.
///
/// # Errors
/// As [`TractWriter`]; streamlines without a grid in a format that needs one.
pub fn write_tracts(path: &Path, tracts: &Tractogram) -> Result<()> {
    let columns = TractFormat::of(path)?.has_columns();
    let names = |from: &BTreeMap<String, TractColumn>| -> Vec<(String, usize)> {
        from.iter().filter(|_| columns).map(|(n, c)| (n.clone(), c.width)).collect()
    };
    let (a, b) = (names(&tracts.per_point), names(&tracts.per_streamline));
    fn borrowed(list: &[(String, usize)]) -> Vec<(&str, usize)> {
        list.iter().map(|(n, w)| (n.as_str(), *w)).collect()
    }
    let geometry = tracts.geometry.as_ref();
    let mut writer = TractWriter::begin(path, geometry, &borrowed(&a), &borrowed(&b), false)?;
    writer.append(tracts, 0..tracts.n_streamlines())?;
    for (name, members) in &tracts.groups {
        writer.group(name, members.clone())?;
    }
    writer.finish()
}

/// The columns of a tractogram that a file wants.
fn chosen<'a>(
    path: &Path,
    wanted: &[Column],
    from: &'a BTreeMap<String, TractColumn>,
) -> Result<Vec<&'a TractColumn>> {
    let one = |column: &Column| {
        from.get(&column.name).filter(|c| c.width == column.width).ok_or_else(|| {
            let what = format!(
                "needs a column `{}` of width {} that the streamlines do not have",
                column.name, column.width
            );
            DatasetError::format(path, what)
        })
    };
    wanted.iter().map(one).collect()
}

/// The values of one row.
fn row(column: &TractColumn, at: usize) -> &[f32] {
    column.values.get(at * column.width..(at + 1) * column.width).unwrap_or(&[])
}
