//! Maps of results: NIfTI images (float32, `.nii` or `.nii.gz`) written voxel by voxel.
//!
//! Grid and orientation fields are those of the input image. Values come in
//! increasing voxel order; voxels that are left out are 0. A scalar map streams
//! through the compressor; a map of several volumes is held in memory until
//! [`MapWriter::finish`]. The file appears when it is complete, and equal values
//! make equal bytes.
//!
//! Source: NIfTI-1 data format (Cox et al. 2004). Validated by
//! `tests/files/maps.rs`, which reads the maps back with the crate nifti.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;

const OFFSET: usize = 352;
const FLOAT32: i16 = 16;
const UNITS_MM: u8 = 2;

enum Sink {
    Plain(BufWriter<AtomicFile>),
    Gzip(GzEncoder<BufWriter<AtomicFile>>),
}

impl Sink {
    fn out(&mut self) -> &mut dyn Write {
        match self {
            Sink::Plain(out) => out,
            Sink::Gzip(out) => out,
        }
    }
}

/// A map under construction.
pub struct MapWriter {
    path: PathBuf,
    sink: Sink,
    voxels: usize,
    volumes: usize,
    next: usize,
    /// Values `[volume, voxel]`, when there are several volumes.
    held: Vec<f32>,
}

impl MapWriter {
    /// Begins a map of `volumes` values a voxel.
    ///
    /// # Errors
    /// A name that does not end with `.nii` or `.nii.gz`, a grid that NIfTI-1
    /// cannot hold, a folder that cannot be written.
    pub fn create(path: &Path, geometry: &ImageGeometry, volumes: usize) -> Result<Self> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let gzip = name.ends_with(".nii.gz");
        if !gzip && !name.ends_with(".nii") {
            return Err(DatasetError::format(path, "the name of a map ends with .nii.gz or .nii"));
        }
        let [nx, ny, nz] = geometry.dims;
        if [nx, ny, nz, volumes].iter().any(|&n| n == 0 || n > i16::MAX as usize) {
            return Err(DatasetError::format(
                path,
                format!("a NIfTI-1 image cannot have the shape {nx} x {ny} x {nz} x {volumes}"),
            ));
        }
        let file = BufWriter::with_capacity(1 << 16, AtomicFile::create(path)?);
        let mut sink = if gzip {
            Sink::Gzip(GzEncoder::new(file, Compression::default()))
        } else {
            Sink::Plain(file)
        };
        sink.out()
            .write_all(&header(geometry, volumes))
            .map_err(DatasetError::io(path, "write"))?;
        let voxels = geometry.n_voxels();
        let held = if volumes > 1 { vec![0.0; voxels * volumes] } else { Vec::new() };
        Ok(Self { path: path.to_path_buf(), sink, voxels, volumes, next: 0, held })
    }

    /// Adds the values of one voxel, given by its linear index i + nx (j + ny k).
    ///
    /// # Errors
    /// Voxels out of order or outside the grid, another number of values than
    /// volumes, a full disk.
    pub fn push(&mut self, voxel: i64, values: &[f64]) -> Result<()> {
        let index = usize::try_from(voxel).ok().filter(|&v| v >= self.next && v < self.voxels);
        let Some(index) = index.filter(|_| values.len() == self.volumes) else {
            return Err(DatasetError::format(
                &self.path,
                format!(
                    "{} values for voxel {voxel} cannot be added to a map of {} voxels and {} volumes whose next voxel is {}",
                    values.len(),
                    self.voxels,
                    self.volumes,
                    self.next
                ),
            ));
        };
        if self.volumes == 1 {
            self.zeros(index - self.next)?;
            let value = values[0] as f32;
            self.sink
                .out()
                .write_all(&value.to_le_bytes())
                .map_err(DatasetError::io(&self.path, "write"))?;
        } else {
            for (m, &v) in values.iter().enumerate() {
                self.held[m * self.voxels + index] = v as f32;
            }
        }
        self.next = index + 1;
        Ok(())
    }

    /// Completes the file.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<()> {
        self.stage()?.commit()
    }

    /// Completes the file, to be named by [`AtomicFile::commit`].
    ///
    /// # Errors
    /// A full disk.
    pub fn stage(mut self) -> Result<AtomicFile> {
        if self.volumes == 1 {
            self.zeros(self.voxels - self.next)?;
        }
        let out = self.sink.out();
        for value in &self.held {
            out.write_all(&value.to_le_bytes()).map_err(DatasetError::io(&self.path, "write"))?;
        }
        let buffer = match self.sink {
            Sink::Plain(out) => out,
            Sink::Gzip(out) => out.finish().map_err(DatasetError::io(&self.path, "write"))?,
        };
        let file = buffer.into_inner().map_err(|e| e.into_error());
        file.map_err(DatasetError::io(&self.path, "write"))
    }

    fn zeros(&mut self, mut n: usize) -> Result<()> {
        let zeros = [0_u8; 4096];
        while n > 0 {
            let now = n.min(zeros.len() / 4);
            self.sink
                .out()
                .write_all(&zeros[..now * 4])
                .map_err(DatasetError::io(&self.path, "write"))?;
            n -= now;
        }
        Ok(())
    }
}

/// The 348 bytes of the header and the 4 that say "no extensions".
fn header(geometry: &ImageGeometry, volumes: usize) -> [u8; OFFSET] {
    let mut bytes = [0_u8; OFFSET];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348_i32.to_le_bytes());
    let rank = if volumes > 1 { 4 } else { 3 };
    let [nx, ny, nz] = geometry.dims;
    for (i, n) in [rank, nx, ny, nz, volumes, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &(n as i16).to_le_bytes());
    }
    put(70, &FLOAT32.to_le_bytes());
    put(72, &32_i16.to_le_bytes());
    let o = &geometry.orientation;
    for (i, v) in o.pixdim.iter().chain(&[1.0; 4]).enumerate() {
        put(76 + 4 * i, &v.to_le_bytes());
    }
    put(108, &(OFFSET as f32).to_le_bytes());
    put(112, &1.0_f32.to_le_bytes());
    put(123, &[UNITS_MM]);
    put(148, b"microtome");
    put(252, &o.qform_code.to_le_bytes());
    put(254, &o.sform_code.to_le_bytes());
    for (i, v) in o.quaternion.iter().chain(&o.offset).chain(o.srow.iter().flatten()).enumerate() {
        put(256 + 4 * i, &v.to_le_bytes());
    }
    put(344, b"n+1\0");
    bytes
}
