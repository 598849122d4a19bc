//! Streamlines and their files: points in the world, and columns of numbers beside them.
//!
//! Points are world mm, RAS+, of voxel centres: voxel (i, j, k) of a grid with the affine A
//! has its centre at
//!
//! $$x = A\,(i, j, k, 1)^\top .$$
//!
//! | file | frame on disk | columns | read | written |
//! |---|---|---|---|---|
//! | [TRX](mod@trx) `.trx`, folder | world RAS+ mm, float32 or float16 | per point, per streamline, groups | yes | yes (zip) |
//! | [TCK](mod@tck) `.tck` | world RAS+ mm, float32 | none | yes (float64, big-endian too) | yes |
//! | [TRK](mod@trk) `.trk` | voxel mm from the corner of the grid | per point, per streamline | yes (byte-swapped too) | yes |
//! | [VTK](mod@vtk) `.vtk` | world LPS+ mm | per point, per streamline | no | yes |
//!
//! The readers and writers are this crate's own: the crate trk-io reads TRK and TCK, but
//! brings nalgebra and an old release of the crate nifti, and knows no TRX.
//!
//! Numbers of a file are never believed before its bytes are there: memory grows with what
//! was read, not with what a header promises. Validated by `datasets/tests/files/tracts.rs`
//! (round trips to the bit, files of nibabel and trx-python), `bad_tracts.rs` (damaged files) and by
//! `benches/validation/tracts.py`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;

mod density;
mod frame;
mod linear;
mod spool;
mod table;
pub mod tck;
pub mod trk;
pub mod trx;
mod trx_sink;
pub mod vtk;
mod writer;

pub use density::{TractDensity, VoxelPath};
pub use linear::linearise;
pub use table::{tract_batch, tract_schema, write_tract_table};
pub use writer::{TractWriter, write_tracts};

/// Numbers beside points or streamlines: `width` values each, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TractColumn {
    /// Values of one point or one streamline.
    pub width: usize,
    /// All values, `[point or streamline, width]`.
    pub values: Vec<f32>,
}

/// Streamlines in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tractogram {
    /// The grid that the streamlines belong to; TCK files have none.
    pub geometry: Option<ImageGeometry>,
    /// Points of all streamlines, world mm (RAS+).
    pub points: Vec<[f32; 3]>,
    /// First point of every streamline, and the number of points: streamlines + 1 numbers.
    pub offsets: Vec<u64>,
    /// Columns with a row a point.
    pub per_point: BTreeMap<String, TractColumn>,
    /// Columns with a row a streamline.
    pub per_streamline: BTreeMap<String, TractColumn>,
    /// Named sets of streamlines, by their index.
    pub groups: BTreeMap<String, Vec<u32>>,
}

/// The formats of streamlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TractFormat {
    /// TRX: a zip archive (or folder) of arrays.
    Trx,
    /// Tracks of MRtrix.
    Tck,
    /// Tracks of TrackVis.
    Trk,
    /// Legacy polydata of VTK.
    Vtk,
}

impl TractFormat {
    /// The format that the ending of a name means.
    ///
    /// # Errors
    /// Another ending than `.trx`, `.tck`, `.trk` or `.vtk`.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("trx") => Ok(Self::Trx),
            Some("tck") => Ok(Self::Tck),
            Some("trk") => Ok(Self::Trk),
            Some("vtk") => Ok(Self::Vtk),
            _ => {
                let what = "the name of a file of streamlines ends with .trx, .tck, .trk or .vtk";
                Err(DatasetError::format(path, what))
            }
        }
    }

    /// Whether a file has room for columns beside the points.
    pub fn has_columns(self) -> bool {
        self != Self::Tck
    }
}

impl Tractogram {
    /// Number of streamlines.
    pub fn n_streamlines(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The indices of the points of streamline `at`; empty for one that is not there.
    pub fn range(&self, at: usize) -> std::ops::Range<usize> {
        match (self.offsets.get(at), self.offsets.get(at + 1)) {
            (Some(&a), Some(&b)) => a as usize..b as usize,
            _ => 0..0,
        }
    }

    /// The points of streamline `at`; none for one that is not there.
    pub fn streamline(&self, at: usize) -> &[[f32; 3]] {
        self.points.get(self.range(at)).unwrap_or(&[])
    }

    /// Length of streamline `at`, mm.
    pub fn length_mm(&self, at: usize) -> f64 {
        self.streamline(at).windows(2).map(|w| distance(w[0], w[1])).sum()
    }

    /// Refuses streamlines whose parts do not fit together or whose points are not finite.
    pub(crate) fn checked(self, path: &Path) -> Result<Self> {
        let wrong = |what: String| Err(DatasetError::format(path, what));
        let n = self.n_streamlines();
        let rising = self.offsets.windows(2).all(|w| w[0] <= w[1]);
        let ends = [self.offsets.first(), self.offsets.last()];
        if !rising || ends != [Some(&0), Some(&(self.points.len() as u64))] {
            return wrong(format!(
                "the offsets of its {n} streamlines do not rise from 0 to {} points",
                self.points.len()
            ));
        }
        let columns = self.per_point.iter().map(|c| (c, self.points.len(), "points"));
        let beside = self.per_streamline.iter().map(|c| (c, n, "streamlines"));
        for ((name, column), rows, of) in columns.chain(beside) {
            if column.width == 0 || rows.checked_mul(column.width) != Some(column.values.len()) {
                return wrong(format!(
                    "the column `{name}` has {} values of width {} for {rows} {of}",
                    column.values.len(),
                    column.width
                ));
            }
        }
        for (name, members) in &self.groups {
            if let Some(at) = members.iter().find(|&&m| m as usize >= n) {
                return wrong(format!("the group `{name}` has streamline {at} of {n}"));
            }
        }
        if let Some(bad) = self.points.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
            let at = self.offsets.partition_point(|&o| o <= bad as u64) - 1;
            let point = bad - self.offsets[at] as usize;
            return wrong(not_finite(at as u64, point, self.points[bad]));
        }
        Ok(self)
    }
}

/// What is said of a point that is no place.
pub(crate) fn not_finite(streamline: u64, point: usize, p: [f32; 3]) -> String {
    format!("point {point} of streamline {streamline} is {p:?}; every point needs finite mm")
}

/// The distance of two points, mm.
pub(crate) fn distance(a: [f32; 3], b: [f32; 3]) -> f64 {
    let d = |k: usize| f64::from(a[k]) - f64::from(b[k]);
    (d(0) * d(0) + d(1) * d(1) + d(2) * d(2)).sqrt()
}

/// A grid from a file of streamlines.
pub(crate) fn grid(path: &Path, dims: [usize; 3], affine: [[f64; 4]; 4]) -> Result<ImageGeometry> {
    let wrong = |what: String| Err(DatasetError::format(path, what));
    if dims.iter().any(|&n| n == 0 || n > usize::from(u16::MAX)) {
        return wrong(format!("its header has a grid of {dims:?} voxels, which no image has"));
    }
    if affine[3] != [0.0, 0.0, 0.0, 1.0] || frame::inverse(&affine).is_none() {
        return wrong(format!(
            "the affine of its header has no inverse or is no affine: {affine:?}; write the file again with the image it belongs to"
        ));
    }
    Ok(ImageGeometry::new(dims, affine))
}

/// Reads streamlines from TRX (archive or folder), TCK or TRK. The kind of a file is taken
/// from its first bytes, not from its name.
///
/// # Errors
/// Files that are missing, cut short, damaged or of another kind; points that are not finite.
///
/// # Example
/// ```
/// use microtome_datasets::{ImageGeometry, TractWriter, read_tracts};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("one.trx");
/// let affine = [[2.0, 0.0, 0.0, -9.0], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0]];
/// let grid = ImageGeometry::new([10, 10, 10], affine);
/// let mut writer = TractWriter::create(&path, &grid, &[("fod", 1)], &[("seed", 1)])?;
/// writer.push(&[[0.5, 6.0, 3.0], [1.5, 6.0, 3.0]], &[0.3, 0.4], &[7.0])?;
/// writer.finish()?;
/// let tracts = read_tracts(&path)?;
/// assert_eq!(tracts.streamline(0), [[0.5, 6.0, 3.0], [1.5, 6.0, 3.0]]);
/// assert_eq!(tracts.per_point["fod"].values, [0.3, 0.4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_tracts(path: &Path) -> Result<Tractogram> {
    if path.is_dir() {
        return trx::read_folder(path)?.checked(path);
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    file.take(16).read_to_end(&mut start).map_err(DatasetError::io(path, "read"))?;
    let tracts = if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        trx::read_archive(path)
    } else if start.starts_with(tck::MAGIC) {
        tck::read(path)
    } else if start.starts_with(trk::MAGIC) {
        trk::read(path)
    } else if start.starts_with(b"# vtk") {
        let what = "is a VTK file, which is written only; give .trx, .tck or .trk";
        return Err(DatasetError::format(path, what));
    } else {
        let what = format!(
            "does not begin as files of streamlines do (TRX, TCK, TRK): its first bytes are `{}`",
            start.escape_ascii()
        );
        return Err(DatasetError::format(path, what));
    };
    tracts?.checked(path)
}
