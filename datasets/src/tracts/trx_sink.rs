//! The writer of TRX files: columns wait in temporary files, then fill a zip archive.
//!
//! Entries are stored without compression, extra fields or data descriptors, and the positions
//! begin at a multiple of 64 bytes; see [`super::trx`] for the format. Validated by
//! `trx_can_be_mapped_into_memory` in `tests/files/tracts.rs`.

use std::collections::BTreeMap;
use std::io::{BufWriter, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::grid;
use super::spool::Spool;
use super::trx::{Half, Header};
use super::writer::{Column, Columns};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;

/// Positions begin at a multiple of this.
const ALIGNMENT: u64 = 64;

/// A TRX file under construction.
pub(crate) struct TrxSink {
    path: PathBuf,
    file: AtomicFile,
    geometry: ImageGeometry,
    half: bool,
    positions: Spool,
    offsets: Spool,
    per_point: Vec<(Column, Spool)>,
    per_streamline: Vec<(Column, Spool)>,
    streamlines: u64,
    points: u64,
}

impl TrxSink {
    pub(crate) fn create(
        path: &Path,
        geometry: &ImageGeometry,
        columns: Columns,
        half: bool,
    ) -> Result<Self> {
        grid(path, geometry.dims, geometry.affine)?;
        let spools = |columns: Vec<Column>| -> Result<Vec<(Column, Spool)>> {
            columns.into_iter().map(|c| Ok((c, Spool::create(path)?))).collect()
        };
        Ok(Self {
            path: path.to_path_buf(),
            file: AtomicFile::create(path)?,
            geometry: geometry.clone(),
            half,
            positions: Spool::create(path)?,
            offsets: Spool::create(path)?,
            per_point: spools(columns.per_point)?,
            per_streamline: spools(columns.per_streamline)?,
            streamlines: 0,
            points: 0,
        })
    }

    pub(crate) fn push(
        &mut self,
        points: &[[f32; 3]],
        per_point: &[f32],
        per_streamline: &[f32],
    ) -> IoResult<()> {
        for &v in points.iter().flatten() {
            if self.half {
                let h = Half::from_f32(v);
                if !h.is_finite() {
                    let what = format!("{v} mm does not fit into 16 bits");
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
                }
                self.positions.put(&h.to_bits().to_le_bytes())?;
            } else {
                self.positions.put(&v.to_le_bytes())?;
            }
        }
        self.offsets.put(&self.points.to_le_bytes())?;
        let width: usize = self.per_point.iter().map(|(c, _)| c.width).sum();
        for row in per_point.chunks_exact(width.max(1)) {
            split(&mut self.per_point, row)?;
        }
        split(&mut self.per_streamline, per_streamline)?;
        self.streamlines += 1;
        self.points += points.len() as u64;
        Ok(())
    }

    pub(crate) fn stage(self, groups: &BTreeMap<String, Vec<u32>>) -> Result<AtomicFile> {
        let path = self.path.clone();
        self.archive(groups).map_err(DatasetError::io(&path, "write"))
    }

    fn archive(mut self, groups: &BTreeMap<String, Vec<u32>>) -> IoResult<AtomicFile> {
        self.offsets.put(&self.points.to_le_bytes())?;
        let kind = if self.half { "float16" } else { "float32" };
        let positions = format!("positions.3.{kind}");
        let header = Header {
            dimensions: self.geometry.dims.map(|n| n as u64),
            voxel_to_rasmm: self.geometry.affine,
            nb_vertices: self.points,
            nb_streamlines: self.streamlines,
        };
        let mut text = serde_json::to_vec_pretty(&header)?;
        // Blanks after the header put the positions at a multiple of 64 bytes. An extra field
        // would do too, but old releases of trx-python look for the bytes in the wrong place then.
        let before = (LOCAL + "header.json".len() + text.len() + LOCAL + positions.len()) as u64;
        text.resize(text.len() + (before.next_multiple_of(ALIGNMENT) - before) as usize, b' ');
        let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 16, self.file));
        zip.start_file("header.json", options(0))?;
        zip.write_all(&text)?;
        let mut add = |name: String, spool: Spool| -> IoResult<()> {
            zip.start_file(name, options(spool.len()))?;
            spool.pour(&mut zip)
        };
        add(positions, self.positions)?;
        add("offsets.uint64".into(), self.offsets)?;
        for (folder, columns) in [("dpv", self.per_point), ("dps", self.per_streamline)] {
            for (column, spool) in columns {
                let width =
                    if column.width == 1 { String::new() } else { format!(".{}", column.width) };
                add(format!("{folder}/{}{width}.float32", column.name), spool)?;
            }
        }
        for (name, members) in groups {
            zip.start_file(format!("groups/{name}.uint32"), options(4 * members.len() as u64))?;
            members.iter().try_for_each(|m| zip.write_all(&m.to_le_bytes()))?;
        }
        let mut out = zip.finish()?;
        out.seek(SeekFrom::End(0))?;
        out.into_inner().map_err(|e| e.into_error())
    }
}

/// Bytes of the head of an entry, without its name.
const LOCAL: usize = 30;

fn options(bytes: u64) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(bytes >= u64::from(u32::MAX))
}

/// One row of numbers into the columns.
fn split(columns: &mut [(Column, Spool)], row: &[f32]) -> IoResult<()> {
    let mut rest = row;
    for (column, spool) in columns {
        let (now, after) = rest.split_at_checked(column.width).unwrap_or((rest, &[]));
        spool.put_floats(now)?;
        rest = after;
    }
    Ok(())
}
