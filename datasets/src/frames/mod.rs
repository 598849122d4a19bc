//! Stacks of images of one size, read one at a time: projections, flats and darks.
//!
//! | module | reads |
//! |---|---|
//! | this one | `.npy`, and what is already in memory |
//! | `raw` | bytes without a header |
//! | `pages` | TIFF: a file of pages, a folder, a pattern such as `scan/p_*.tif` |
//! | `hdf5` | a dataset `file.h5:/path` (feature `hdf5`) |
//!
//! An image is `[v, u]`, a stack `[view, v, u]`. A stack with two axes is `[view, u]`: one
//! row of pixels. Validated by `tests/files/frames.rs`.

#[cfg(feature = "hdf5")]
pub(crate) mod hdf5;
mod pages;
mod raw;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::array::Array;
use crate::error::{DatasetError, Result};
use crate::npy::{NpyFile, is_npy};
use crate::sample::{Kind, Sample};
pub use raw::RawLayout;

/// Where the numbers are.
#[allow(clippy::large_enum_variant, reason = "one a stack")]
enum Source {
    Bytes {
        file: std::fs::File,
        sample: Sample,
        offset: u64,
    },
    Pages(pages::Pages),
    #[cfg(feature = "hdf5")]
    Hdf5(Box<hdf5::Table>),
    Held(Vec<f64>),
}

/// A stack of images of one size.
pub struct Frames {
    path: PathBuf,
    shape: [usize; 3],
    wide: bool,
    source: Source,
    /// Which images of the file these are; all where there is no list.
    chosen: Option<Vec<usize>>,
}

/// How a stack is stored where the file itself does not say it.
#[derive(Debug, Clone, Default)]
pub struct FrameOptions {
    /// Layout of files without a header.
    pub raw: Option<RawLayout>,
    /// Pixels `[v, u]` of one image, for flats and darks that belong to projections: then
    /// `[v, u]` is one image, and `[image, u]` has images of one row.
    pub image: Option<[usize; 2]>,
    /// Whether the file is `[v, view, u]`: one sinogram after the other.
    pub sinograms: bool,
}

impl Frames {
    /// Opens a stack; numbers are read by [`Frames::read`].
    ///
    /// `path` is a `.npy`, `.tif` or raw file, a folder of TIFF files, a pattern with `*`
    /// in its last part, or `file.h5:/path/of/dataset`.
    ///
    /// # Errors
    /// A file that is not there, is cut short, or is of another kind; images of different
    /// size; a stack without images.
    pub fn open(path: &Path, options: &FrameOptions) -> Result<Self> {
        let frames = Self::open_as_stored(path, options)?;
        if frames.shape.contains(&0) {
            let what = format!("has the shape {:?}: there is nothing in it", frames.shape);
            return Err(DatasetError::format(path, what));
        }
        if options.sinograms { frames.turned() } else { Ok(frames) }
    }

    fn open_as_stored(path: &Path, options: &FrameOptions) -> Result<Self> {
        let name = path.to_string_lossy();
        if let Some((file, dataset)) = dataset_of(&name) {
            return open_dataset(Path::new(file), dataset, options);
        }
        let pattern = path.file_name().is_some_and(|n| n.to_string_lossy().contains('*'));
        if pattern && !path.exists() || path.is_dir() || crate::tiff_stack::is_tiff(path) {
            let (pages, shape, wide) = pages::open(path)?;
            return Ok(Self::new(path, shape, wide, Source::Pages(pages)));
        }
        if let Some(layout) = &options.raw {
            let (file, shape) = raw::open(path, layout, options.image)?;
            let (sample, offset) = (layout.sample, layout.offset);
            let wide = is_wide(sample);
            return Ok(Self::new(path, shape, wide, Source::Bytes { file, sample, offset }));
        }
        if is_npy(path)? {
            let npy = NpyFile::open(path)?;
            let shape = stack_shape(path, &npy.shape, options.image)?;
            if npy.fortran && npy.shape.len() > 1 {
                let array = Array::read(path)?;
                let source = Source::Held(array.values.into_f64());
                return Ok(Self::new(path, shape, is_wide(npy.sample), source));
            }
            let (sample, offset) = (npy.sample, npy.offset);
            let source = Source::Bytes { file: npy.file, sample, offset };
            return Ok(Self::new(path, shape, is_wide(sample), source));
        }
        if is_hdf5(path)? {
            let what = "is an HDF5 file: name the dataset, FILE.h5:/path/of/dataset, or give \
                        the file alone as a scan (DXchange or NXtomo)";
            return Err(DatasetError::format(path, what));
        }
        let what = "is no .npy, TIFF or HDF5 file; bytes without a header need their shape and \
                    type (--raw-shape, --raw-type)";
        Err(DatasetError::format(path, what))
    }

    fn new(path: &Path, shape: [usize; 3], wide: bool, source: Source) -> Self {
        Self { path: path.to_path_buf(), shape, wide, source, chosen: None }
    }

    /// A stack in memory.
    ///
    /// # Errors
    /// Another number of values than the shape has.
    pub fn held(path: &Path, shape: [usize; 3], values: Vec<f64>) -> Result<Self> {
        if shape.iter().product::<usize>() != values.len() {
            let what = format!("{} numbers are no stack of shape {shape:?}", values.len());
            return Err(DatasetError::format(path, what));
        }
        Ok(Self::new(path, shape, true, Source::Held(values)))
    }

    /// The file, folder, pattern or dataset.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `[view, v, u]`.
    pub fn shape(&self) -> [usize; 3] {
        let [n, nv, nu] = self.shape;
        [self.chosen.as_ref().map_or(n, Vec::len), nv, nu]
    }

    /// Whether float32 can't hold the numbers: float64, or integers of 32 and more bits.
    pub fn is_wide(&self) -> bool {
        self.wide
    }

    /// Some of the images, in the given order.
    ///
    /// # Errors
    /// An image that is not there.
    pub fn choose(mut self, images: Vec<usize>) -> Result<Self> {
        let rows = self.shape()[0];
        if let Some(&at) = images.iter().find(|k| **k >= rows) {
            return Err(DatasetError::Range { path: self.path, start: at, end: at + 1, rows });
        }
        self.chosen = Some(match &self.chosen {
            Some(before) => images.iter().map(|k| before[*k]).collect(),
            None => images,
        });
        Ok(self)
    }

    /// Reads image `at` into `out`, row after row.
    ///
    /// # Errors
    /// An image that is not there, a file that is damaged.
    pub fn read(&mut self, at: usize, out: &mut [f64]) -> Result<()> {
        let [rows, nv, nu] = self.shape();
        let n = nv * nu;
        if at >= rows || out.len() != n {
            let path = self.path.clone();
            return Err(DatasetError::Range { path, start: at, end: at + 1, rows });
        }
        let at = self.chosen.as_ref().map_or(at, |c| c[at]);
        match &mut self.source {
            Source::Bytes { file, sample, offset } => {
                let size = n * sample.size();
                let start = *offset + (at as u64) * size as u64;
                let mut bytes = vec![0; size];
                let read =
                    file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
                read.map_err(DatasetError::io(&self.path, "read"))?;
                sample.decode(&bytes, out);
                Ok(())
            }
            Source::Pages(pages) => pages.read(at, [nv, nu], out),
            #[cfg(feature = "hdf5")]
            Source::Hdf5(table) => table.read(at, out),
            Source::Held(values) => {
                out.copy_from_slice(&values[at * n..(at + 1) * n]);
                Ok(())
            }
        }
    }

    /// Reads all images: `[view, v, u]`.
    ///
    /// # Errors
    /// As [`Frames::read`]; more numbers than there is memory for.
    pub fn read_all(&mut self) -> Result<Vec<f64>> {
        let [rows, nv, nu] = self.shape();
        let n = nv * nu;
        let mut out = Vec::new();
        if out.try_reserve_exact(rows * n).is_err() {
            let what = format!("has {} values, more than there is memory for", rows * n);
            return Err(DatasetError::format(&self.path, what));
        }
        out.resize(rows * n, 0.0);
        for (at, image) in out.chunks_exact_mut(n).enumerate() {
            self.read(at, image)?;
        }
        Ok(out)
    }

    /// The stack `[view, v, u]` of a file `[v, view, u]`, in memory.
    fn turned(mut self) -> Result<Self> {
        let [nv, n, nu] = self.shape();
        let stored = self.read_all()?;
        let mut values = vec![0.0; stored.len()];
        for v in 0..nv {
            for k in 0..n {
                let from = (v * n + k) * nu;
                let to = (k * nv + v) * nu;
                values[to..to + nu].copy_from_slice(&stored[from..from + nu]);
            }
        }
        let wide = self.wide;
        let mut frames = Self::held(&self.path, [n, nv, nu], values)?;
        frames.wide = wide;
        Ok(frames)
    }
}

fn is_wide(sample: Sample) -> bool {
    matches!(sample.kind, Kind::F64 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64)
}

/// `[view, v, u]` of stored axes.
fn stack_shape(path: &Path, stored: &[usize], image: Option<[usize; 2]>) -> Result<[usize; 3]> {
    match (stored, image) {
        (&[n, nv, nu], _) => Ok([n, nv, nu]),
        (&[nv, nu], Some(one)) if nv != 1 && [nv, nu] == one => Ok([1, nv, nu]),
        (&[n, nu], _) => Ok([n, 1, nu]),
        (&[nu], Some([1, n])) if n == nu => Ok([1, 1, nu]),
        _ => {
            let what =
                format!("has the shape {stored:?}; a stack of images is [view, v, u] or [view, u]");
            Err(DatasetError::format(path, what))
        }
    }
}

/// `file.h5` and `/path` of `file.h5:/path`.
fn dataset_of(name: &str) -> Option<(&str, &str)> {
    let at = name.rfind(":/")?;
    let (file, dataset) = (&name[..at], &name[at + 1..]);
    // A letter alone is a drive.
    (file.len() > 1 && dataset.len() > 1).then_some((file, dataset))
}

/// Whether a file begins as HDF5 files do, or has the name of one.
///
/// # Errors
/// A file that can't be read.
pub fn is_hdf5(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut start = Vec::new();
    let file = std::fs::File::open(path).map_err(DatasetError::io(path, "open"))?;
    file.take(8).read_to_end(&mut start).map_err(DatasetError::io(path, "read"))?;
    Ok(start == b"\x89HDF\r\n\x1a\n")
}

#[cfg(feature = "hdf5")]
fn open_dataset(file: &Path, dataset: &str, options: &FrameOptions) -> Result<Frames> {
    let table = hdf5::Table::open(file, dataset)?;
    let stored: Vec<usize> = table.shape().to_vec();
    let shape = stack_shape(table.path(), &stored, options.image)?;
    let (path, wide) = (table.path().to_path_buf(), table.is_wide());
    if stored.len() != 3 && shape[0] == 1 && shape[1] != 1 {
        // One image alone.
        let values = table.numbers()?;
        let mut frames = Frames::held(&path, shape, values)?;
        frames.wide = wide;
        return Ok(frames);
    }
    if stored.len() == 1 {
        return Frames::held(&path, shape, table.numbers()?);
    }
    Ok(Frames::new(&path, shape, wide, Source::Hdf5(Box::new(table))))
}

#[cfg(not(feature = "hdf5"))]
fn open_dataset(file: &Path, _: &str, _: &FrameOptions) -> Result<Frames> {
    Err(DatasetError::format(file, NO_HDF5))
}

/// What to do without the feature.
#[cfg(not(feature = "hdf5"))]
pub(crate) const NO_HDF5: &str =
    "is HDF5, which this build does not read; build with the feature `hdf5`";
