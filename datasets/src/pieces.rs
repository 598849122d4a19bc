//! `.npy` arrays that are read and written piece by piece, never whole.
//!
//! Pieces are neighbouring indices of the first axis. A written file appears when it is
//! complete. Validated by `pieces_are_the_array` in `tests/files/geometries.rs`.

use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::npy::{NpyFile, write_typed_header};
use crate::sample::Kind;

/// Bytes that are read or written at once.
const PIECE: usize = 1 << 20;

/// An array on disk that is read in pieces.
#[derive(Debug)]
pub struct ArrayPieces {
    path: PathBuf,
    npy: NpyFile,
}

impl ArrayPieces {
    /// Opens a `.npy` file in C order.
    ///
    /// # Errors
    /// Files that are no `.npy`, cut short, in Fortran order, or hold other than real
    /// numbers.
    pub fn open(path: &Path) -> Result<Self> {
        let npy = NpyFile::open(path)?;
        if npy.fortran && npy.shape.len() > 1 {
            let what = "is in Fortran order; to be read in pieces it must be in C order \
                        (numpy.ascontiguousarray)";
            return Err(DatasetError::format(path, what));
        }
        Ok(Self { path: path.to_path_buf(), npy })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.npy.shape
    }

    /// Whether the numbers are float32.
    pub fn is_f32(&self) -> bool {
        self.npy.sample.kind == Kind::F32
    }

    /// Reads some indices of the first axis over `out`.
    ///
    /// # Errors
    /// A range or a length that does not fit the array, a file that cannot be read, a
    /// number that is not finite.
    pub fn read(&mut self, range: Range<usize>, out: &mut [f64]) -> Result<()> {
        self.read_as(range, out, |v| v)
    }

    /// Reads as [`Self::read`] into numbers made of the float64 ones.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_as<T>(
        &mut self,
        range: Range<usize>,
        out: &mut [T],
        make: impl Fn(f64) -> T,
    ) -> Result<()> {
        let path = &self.path;
        let each: usize = self.npy.shape.iter().skip(1).product();
        let first = self.npy.shape.first().copied().unwrap_or(0);
        if range.end > first || out.len() != range.len() * each {
            let what = format!("has no indices {range:?} of {} values in all", out.len());
            return Err(DatasetError::format(path, what));
        }
        let size = self.npy.sample.size();
        let begin = self.npy.offset + (range.start * each * size) as u64;
        self.npy.file.seek(SeekFrom::Start(begin)).map_err(DatasetError::io(path, "read"))?;
        let at_once = PIECE / size;
        let (mut bytes, mut piece) = (vec![0; at_once * size], vec![0.0; at_once]);
        for (k, out) in out.chunks_mut(at_once).enumerate() {
            let (bytes, piece) = (&mut bytes[..out.len() * size], &mut piece[..out.len()]);
            self.npy.file.read_exact(bytes).map_err(DatasetError::io(path, "read"))?;
            self.npy.sample.decode(bytes, piece);
            if let Some(at) = piece.iter().position(|v| !v.is_finite()) {
                let mut at = range.start * each + k * at_once + at;
                let mut index: Vec<usize> = Vec::new();
                for n in self.npy.shape.iter().rev() {
                    index.insert(0, at % n);
                    at /= n;
                }
                let what =
                    format!("the value at {index:?} is not finite; finite numbers are needed");
                return Err(DatasetError::format(path, what));
            }
            for (to, from) in out.iter_mut().zip(piece) {
                *to = make(*from);
            }
        }
        Ok(())
    }
}

/// An array that is written in pieces, in order.
#[derive(Debug)]
pub struct ArrayWriter {
    path: PathBuf,
    out: BufWriter<AtomicFile>,
    left: usize,
}

/// A number that a `.npy` file holds.
pub trait Stored: Copy {
    /// Its name there.
    const DESCR: &'static str;
    /// Writes one.
    ///
    /// # Errors
    /// A full disk.
    fn put(self, out: &mut impl Write) -> std::io::Result<()>;
}

impl Stored for f32 {
    const DESCR: &'static str = "<f4";
    fn put(self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&self.to_le_bytes())
    }
}

impl Stored for f64 {
    const DESCR: &'static str = "<f8";
    fn put(self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&self.to_le_bytes())
    }
}

impl ArrayWriter {
    /// Begins a file of numbers of type `T`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn create<T: Stored>(path: &Path, shape: &[usize]) -> Result<Self> {
        let mut out = BufWriter::with_capacity(PIECE, AtomicFile::create(path)?);
        write_typed_header(&mut out, T::DESCR, shape).map_err(DatasetError::io(path, "write"))?;
        Ok(Self { path: path.to_path_buf(), out, left: shape.iter().product() })
    }

    /// Appends numbers.
    ///
    /// # Errors
    /// A full disk, more numbers than the shape has.
    pub fn append<T: Stored>(&mut self, values: &[T]) -> Result<()> {
        let path = &self.path;
        self.left = self.left.checked_sub(values.len()).ok_or_else(|| {
            DatasetError::format(path, "more numbers were written than its shape has")
        })?;
        let written = values.iter().try_for_each(|v| v.put(&mut self.out));
        written.map_err(DatasetError::io(path, "write"))
    }

    /// The complete file, to be named by [`AtomicFile::commit`].
    ///
    /// # Errors
    /// A full disk, numbers that are missing.
    pub fn finish(self) -> Result<AtomicFile> {
        if self.left > 0 {
            let what = format!("{} numbers were not written", self.left);
            return Err(DatasetError::format(&self.path, what));
        }
        let path = self.path;
        self.out.into_inner().map_err(|e| DatasetError::io(&path, "write")(e.into_error()))
    }
}
