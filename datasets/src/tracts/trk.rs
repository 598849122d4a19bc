//! TRK, the tracks of TrackVis: a header of 1000 bytes, then streamlines in voxel mm.
//!
//! Coordinates count from the corner of the first voxel, in mm along the voxel axes. With
//! voxel sizes s, and the centre of voxel (i, j, k) at A (i, j, k, 1)^T in the world,
//!
//! $$x = A\,\bigl(p_1/s_1 - \tfrac12,\ p_2/s_2 - \tfrac12,\ p_3/s_3 - \tfrac12,\ 1\bigr)^\top$$
//!
//! (the half voxel between corner and centre). Where `voxel_order` has an axis of the affine
//! reversed, that coordinate is reversed first; another order of axes is refused, since
//! readers disagree about it. Files are read in both byte orders, versions 2 and 3, and
//! written in little-endian version 2. Points pass through float32 twice, so they come back
//! within rounding (a few 1e-5 mm at 100 mm), not to the bit; columns come back to the bit.
//!
//! Source: TrackVis, "TrackVis File (.trk) Specification", version 2. Validated by
//! `tests/files/tracts.rs` and, against nibabel, by `benches/validation/tracts.py`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Result as IoResult, Seek, SeekFrom, Write};
use std::path::Path;

use super::frame::{Affine, apply, directions, from_letters, inverse, letters};
use super::writer::{Column, Columns, widths};
use super::{TractColumn, Tractogram, grid};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;

/// First bytes of a file.
pub(crate) const MAGIC: &[u8] = b"TRACK";
const HEADER: usize = 1000;
/// Columns that a file has room for, and characters of their names.
const NAMES: usize = 10;
const NAME: usize = 20;
/// Bytes that are read at a time.
const PIECE: u64 = 1 << 18;

/// The numbers of a header, in either byte order.
struct Fields {
    bytes: [u8; HEADER],
    big: bool,
}

impl Fields {
    fn four(&self, at: usize) -> [u8; 4] {
        let mut b = [0; 4];
        b.copy_from_slice(&self.bytes[at..at + 4]);
        if self.big {
            b.reverse();
        }
        b
    }
    fn i16(&self, at: usize) -> i16 {
        let b = [self.bytes[at], self.bytes[at + 1]];
        if self.big { i16::from_be_bytes(b) } else { i16::from_le_bytes(b) }
    }
    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.four(at))
    }
    fn f32(&self, at: usize) -> f32 {
        f32::from_le_bytes(self.four(at))
    }
}

/// Names and widths of columns: `name`, or `name\0width` for a width above 1.
fn columns(path: &Path, fields: &Fields, at: usize, n: i16, rest: &str) -> Result<Vec<Column>> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    let Ok(n) = usize::try_from(n) else {
        return wrong(format!("its header has {n} {rest}"));
    };
    let mut columns: Vec<Column> = Vec::new();
    for bytes in fields.bytes[at..at + NAMES * NAME].chunks_exact(NAME) {
        let text: String = bytes.iter().map(|&b| char::from(b)).collect();
        let mut words = text.trim_end_matches('\0').split('\0');
        let name = words.next().unwrap_or("").to_owned();
        if name.is_empty() {
            continue;
        }
        let width = match (words.next(), words.next()) {
            (None, _) => Some(1),
            (Some(width), None) => width.trim().parse().ok().filter(|&w| w > 0 && w <= 1 << 15),
            _ => None,
        };
        let Some(width) = width else {
            return wrong(format!("the name of its {rest} `{}` is damaged", text.escape_default()));
        };
        columns.push(Column { name, width });
    }
    let named = widths(&columns);
    if named > n {
        return wrong(format!("its header names {named} {rest}, but counts {n}"));
    }
    if named < n {
        columns.push(Column { name: rest.to_owned(), width: n - named });
    }
    let twice =
        (0..columns.len()).find(|&k| columns[..k].iter().any(|c| c.name == columns[k].name));
    match twice {
        Some(k) => wrong(format!("its header names `{}` twice", columns[k].name)),
        None => Ok(columns),
    }
}

/// The grid, and the world from the stored coordinates.
fn placed(path: &Path, fields: &Fields) -> Result<(ImageGeometry, Affine)> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    let dims = [6, 8, 10].map(|at| fields.i16(at));
    let size = [12, 16, 20].map(|at| f64::from(fields.f32(at)));
    if !size.iter().all(|s| s.is_finite() && *s > 0.0) {
        return wrong(format!("its header has voxels of {size:?} mm"));
    }
    let mut affine = [[0.0; 4]; 4];
    for (k, v) in affine.iter_mut().flatten().enumerate() {
        *v = f64::from(fields.f32(440 + 4 * k));
    }
    if affine[3][3] == 0.0 {
        return wrong("its header has no vox_to_ras, so its place in the world is not known; write it again as version 2 with its image".into());
    }
    let geometry = grid(path, dims.map(|n| usize::try_from(n).unwrap_or(0)), affine)?;
    let order = &fields.bytes[948..951];
    let order = if order[0] == 0 { b"LPS" } else { order };
    let (Some(stored), Some(own)) = (from_letters(order), directions(&affine)) else {
        return wrong(format!("its voxel order `{}` is none", order.escape_ascii()));
    };
    let mut map = [[0.0; 4]; 3];
    for axis in 0..3 {
        if stored[axis].0 != own[axis].0 {
            return wrong(format!(
                "its voxel order is {}, but the axes of its affine are {}; write it again with axes in one order",
                order.escape_ascii(),
                letters(own).escape_ascii()
            ));
        }
        // Index = p / s - 1/2, or n - 1 minus this.
        let (sign, from) = if stored[axis].1 == own[axis].1 {
            (1.0, -0.5)
        } else {
            (-1.0, f64::from(dims[axis]) - 0.5)
        };
        for i in 0..3 {
            map[i][axis] = affine[i][axis] * sign / size[axis];
            map[i][3] += affine[i][axis] * from;
        }
    }
    for i in 0..3 {
        map[i][3] += affine[i][3];
    }
    Ok((geometry, map))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Tractogram> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let found = file.metadata().map_err(DatasetError::io(path, "open"))?.len();
    let mut file = BufReader::with_capacity(PIECE as usize, file);
    let mut fields = Fields { bytes: [0; HEADER], big: false };
    if found < HEADER as u64 {
        let path = path.to_path_buf();
        return Err(DatasetError::Truncated { path, expected: HEADER as u64, found });
    }
    file.read_exact(&mut fields.bytes).map_err(DatasetError::io(path, "read"))?;
    fields.big = fields.i32(996) != HEADER as i32;
    if fields.i32(996) != HEADER as i32 {
        return wrong("is no TRK file: its header does not say that it has 1000 bytes".into());
    }
    if !matches!(fields.i32(992), 2 | 3) {
        return wrong(format!("is TRK of version {}; versions 2 and 3 are read", fields.i32(992)));
    }
    let count = fields.i32(988);
    let Ok(count) = u64::try_from(count) else {
        return wrong(format!("its header counts {count} streamlines"));
    };
    let scalars = columns(path, &fields, 38, fields.i16(36), "scalars")?;
    let properties = columns(path, &fields, 240, fields.i16(238), "properties")?;
    let (geometry, map) = placed(path, &fields)?;
    let mut body = Body { file, left: found - HEADER as u64, big: fields.big, bytes: Vec::new() };
    let cut = |at: u64, needed: u64, left: u64| {
        DatasetError::format(
            path,
            format!(
                "is truncated: streamline {at} of {count} needs {needed} bytes, {left} are left"
            ),
        )
    };
    let empty = |list: &[Column]| -> Vec<TractColumn> {
        list.iter().map(|c| TractColumn { width: c.width, values: Vec::new() }).collect()
    };
    let mut tracts =
        Tractogram { geometry: Some(geometry), offsets: vec![0], ..Tractogram::default() };
    let (mut per_point, mut per_streamline) = (empty(&scalars), empty(&properties));
    let row = 3 + widths(&scalars);
    let mut at = 0;
    while if count == 0 { body.left > 0 } else { at < count } {
        if body.left < 4 {
            return Err(cut(at, 4, body.left));
        }
        let n = body.integer().map_err(DatasetError::io(path, "read"))?;
        let Ok(points) = u64::try_from(n) else {
            return wrong(format!("streamline {at} has {n} points"));
        };
        let needed = 4 * (points * row as u64 + widths(&properties) as u64);
        if needed > body.left {
            return Err(cut(at, needed, body.left));
        }
        // A row at a time in pieces, so that nothing is asked for that is not there.
        let mut rows = points;
        while rows > 0 {
            let now = rows.min((PIECE / (4 * row as u64)).max(1));
            let numbers =
                body.floats(now as usize * row).map_err(DatasetError::io(path, "read"))?;
            for values in numbers.chunks_exact(row) {
                let p = apply(&map, [0, 1, 2].map(|k| f64::from(values[k])));
                tracts.points.push(p.map(|v| v as f32));
                share(&mut per_point, &values[3..]);
            }
            rows -= now;
        }
        let beside = body.floats(widths(&properties)).map_err(DatasetError::io(path, "read"))?;
        share(&mut per_streamline, &beside);
        tracts.offsets.push(tracts.points.len() as u64);
        at += 1;
    }
    if body.left > 0 {
        return wrong(format!(
            "its header counts {count} streamlines, but {} bytes follow the last of them",
            body.left
        ));
    }
    tracts.per_point = scalars.into_iter().map(|c| c.name).zip(per_point).collect();
    tracts.per_streamline = properties.into_iter().map(|c| c.name).zip(per_streamline).collect();
    Ok(tracts)
}

/// One row of numbers into the columns.
fn share(columns: &mut [TractColumn], row: &[f32]) {
    let mut rest = row;
    for column in columns {
        let (now, after) = rest.split_at_checked(column.width).unwrap_or((rest, &[]));
        column.values.extend_from_slice(now);
        rest = after;
    }
}

/// What follows the header.
struct Body {
    file: BufReader<File>,
    left: u64,
    big: bool,
    bytes: Vec<u8>,
}

impl Body {
    fn integer(&mut self) -> IoResult<i32> {
        let mut b = [0; 4];
        self.file.read_exact(&mut b)?;
        self.left -= 4;
        Ok(if self.big { i32::from_be_bytes(b) } else { i32::from_le_bytes(b) })
    }

    fn floats(&mut self, n: usize) -> IoResult<Vec<f32>> {
        self.bytes.resize(4 * n, 0);
        self.file.read_exact(&mut self.bytes)?;
        self.left -= 4 * n as u64;
        let value =
            |b: &[u8; 4]| if self.big { f32::from_be_bytes(*b) } else { f32::from_le_bytes(*b) };
        Ok(self.bytes.as_chunks::<4>().0.iter().map(value).collect())
    }
}

/// A TRK file under construction.
pub(crate) struct TrkSink {
    out: BufWriter<AtomicFile>,
    /// Voxel index from world.
    index: Affine,
    size: [f64; 3],
    width: usize,
    count: i32,
}

impl TrkSink {
    pub(crate) fn create(path: &Path, geometry: &ImageGeometry, columns: &Columns) -> Result<Self> {
        let wrong = |what: String| Err(DatasetError::format(path, what));
        grid(path, geometry.dims, geometry.affine)?;
        let mut header = [0_u8; HEADER];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"TRACK\0");
        for (k, &n) in geometry.dims.iter().enumerate() {
            let Ok(n) = i16::try_from(n) else {
                return wrong(format!(
                    "a TRK file cannot have a grid of {:?} voxels",
                    geometry.dims
                ));
            };
            put(6 + 2 * k, &n.to_le_bytes());
        }
        // What a reader finds in the header is what the points are made with.
        let stored = geometry.affine.map(|row| row.map(|v| f64::from(v as f32)));
        let size = ImageGeometry::new(geometry.dims, stored).voxel_mm();
        let size = size.map(|s| f64::from(s as f32));
        let (Some(index), Some(own)) = (inverse(&stored), directions(&stored)) else {
            return Err(DatasetError::SingularAffine { affine: Box::new(stored) });
        };
        for (k, &s) in size.iter().enumerate() {
            put(12 + 4 * k, &(s as f32).to_le_bytes());
        }
        for (count_at, at, list, what) in [
            (36, 38, &columns.per_point, "scalars"),
            (238, 240, &columns.per_streamline, "properties"),
        ] {
            let n = widths(list);
            let Some(n) = i16::try_from(n).ok().filter(|_| list.len() <= NAMES) else {
                return wrong(format!(
                    "a TRK file has room for {NAMES} {what}, not for {} of {n} numbers; write .trx",
                    list.len()
                ));
            };
            put(count_at, &n.to_le_bytes());
            for (k, column) in list.iter().enumerate() {
                let mut name = column.name.clone();
                if column.width > 1 {
                    name = format!("{name}\0{}", column.width);
                }
                if name.len() > NAME {
                    return wrong(format!(
                        "`{}` is too long for a TRK file ({NAME} characters, width included); write .trx or rename the column",
                        column.name
                    ));
                }
                put(at + NAME * k, name.as_bytes());
            }
        }
        for (k, v) in stored.iter().flatten().enumerate() {
            put(440 + 4 * k, &(*v as f32).to_le_bytes());
        }
        put(948, &letters(own));
        put(992, &2_i32.to_le_bytes());
        put(996, &(HEADER as i32).to_le_bytes());
        let mut out = BufWriter::with_capacity(1 << 16, AtomicFile::create(path)?);
        out.write_all(&header).map_err(DatasetError::io(path, "write"))?;
        Ok(Self { out, index, size, width: widths(&columns.per_point), count: 0 })
    }

    pub(crate) fn push(
        &mut self,
        points: &[[f32; 3]],
        per_point: &[f32],
        per_streamline: &[f32],
    ) -> IoResult<()> {
        let many = |_| {
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "too many points for a TRK file")
        };
        let n = i32::try_from(points.len()).map_err(many)?;
        let count = self.count.checked_add(1).ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "too many streamlines for a TRK file",
            )
        })?;
        self.out.write_all(&n.to_le_bytes())?;
        for (k, p) in points.iter().enumerate() {
            let v = apply(&self.index, p.map(f64::from));
            for (v, size) in v.iter().zip(&self.size) {
                let mm = ((v + 0.5) * size) as f32;
                self.out.write_all(&mm.to_le_bytes())?;
            }
            self.floats(&per_point[k * self.width..(k + 1) * self.width])?;
        }
        self.count = count;
        self.floats(per_streamline)
    }

    fn floats(&mut self, values: &[f32]) -> IoResult<()> {
        values.iter().try_for_each(|v| self.out.write_all(&v.to_le_bytes()))
    }

    fn end(&mut self) -> IoResult<()> {
        self.out.seek(SeekFrom::Start(988))?;
        self.out.write_all(&self.count.to_le_bytes())
    }

    pub(crate) fn stage(mut self) -> Result<AtomicFile> {
        let path = self.out.get_ref().path().to_path_buf();
        self.end().map_err(DatasetError::io(&path, "write"))?;
        let file = self.out.into_inner().map_err(|e| e.into_error());
        file.map_err(DatasetError::io(&path, "write"))
    }
}
