//! Arrays of any number of axes as `.npy`, float32 or float64: volumes and projections.
//!
//! Integers and `float64` are read as float64, `float32` stays what it is; Fortran order
//! is turned into C order. A file that is written appears when it is complete.
//!
//! Validated by `tests/files/arrays.rs`.

use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::npy::{NpyFile, write_typed_header};
use crate::sample::Kind;

/// Bytes that are read or written at once.
const PIECE: usize = 1 << 20;

/// The numbers of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// float32.
    F32(Vec<f32>),
    /// float64.
    F64(Vec<f64>),
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first value that is not finite, with its place.
    pub fn not_finite(&self) -> Option<(usize, f64)> {
        match self {
            Values::F32(v) => {
                v.iter().position(|x| !x.is_finite()).map(|at| (at, f64::from(v[at])))
            }
            Values::F64(v) => v.iter().position(|x| !x.is_finite()).map(|at| (at, v[at])),
        }
    }

    /// The numbers as float64.
    pub fn into_f64(self) -> Vec<f64> {
        match self {
            Values::F32(v) => v.into_iter().map(f64::from).collect(),
            Values::F64(v) => v,
        }
    }

    /// The numbers as float32, rounded to the nearest.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Values::F32(v) => v,
            Values::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }

    /// `float32` or `float64`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Values::F32(_) => "float32",
            Values::F64(_) => "float64",
        }
    }
}

/// An array in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes of the axes, the last one fastest.
    pub shape: Vec<usize>,
    /// The numbers.
    pub values: Values,
}

impl Array {
    /// Reads a `.npy` file.
    ///
    /// # Errors
    /// Files that are no `.npy`, cut short, or hold other than real numbers.
    pub fn read(path: &Path) -> Result<Self> {
        let mut npy = NpyFile::open(path)?;
        let count: usize = npy.shape.iter().product();
        npy.file.seek(SeekFrom::Start(npy.offset)).map_err(DatasetError::io(path, "read"))?;
        let size = npy.sample.size();
        let single = npy.sample.kind == Kind::F32;
        let mut narrow = Vec::new();
        let mut wide = Vec::new();
        let reserved =
            if single { narrow.try_reserve_exact(count) } else { wide.try_reserve_exact(count) };
        if reserved.is_err() {
            let what = format!("has {count} values, more than there is memory for");
            return Err(DatasetError::format(path, what));
        }
        let at_once = PIECE / size;
        let (mut bytes, mut piece) = (vec![0; at_once * size], vec![0.0; at_once]);
        let mut left = count;
        while left > 0 {
            let n = left.min(at_once);
            let bytes = &mut bytes[..n * size];
            npy.file.read_exact(bytes).map_err(DatasetError::io(path, "read"))?;
            npy.sample.decode(bytes, &mut piece[..n]);
            if single {
                narrow.extend(piece[..n].iter().map(|v| *v as f32));
            } else {
                wide.extend_from_slice(&piece[..n]);
            }
            left -= n;
        }
        let turn = npy.fortran && npy.shape.len() > 1;
        let values = match (single, turn) {
            (true, false) => Values::F32(narrow),
            (false, false) => Values::F64(wide),
            (true, true) => Values::F32(c_order(&narrow, &npy.shape)),
            (false, true) => Values::F64(c_order(&wide, &npy.shape)),
        };
        Ok(Self { shape: npy.shape, values })
    }

    /// Writes a `.npy` file in the folder of `path`, to be named by
    /// [`AtomicFile::commit`].
    ///
    /// # Errors
    /// A folder that cannot be written, a full disk.
    pub fn stage(&self, path: &Path) -> Result<AtomicFile> {
        let mut out = BufWriter::with_capacity(PIECE, AtomicFile::create(path)?);
        let descr = match self.values {
            Values::F32(_) => "<f4",
            Values::F64(_) => "<f8",
        };
        let failed = || DatasetError::io(path, "write");
        write_typed_header(&mut out, descr, &self.shape).map_err(failed())?;
        let written = match &self.values {
            Values::F32(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
            Values::F64(v) => v.iter().try_for_each(|x| out.write_all(&x.to_le_bytes())),
        };
        written.map_err(failed())?;
        out.into_inner().map_err(|e| failed()(e.into_error()))
    }

    /// Writes a `.npy` file, over an existing one.
    ///
    /// # Errors
    /// A folder that cannot be written, a full disk.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.stage(path)?.commit()
    }
}

/// Values of an array whose first index is the fastest, with the last index the fastest.
fn c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut strides = vec![1; shape.len()];
    for k in 1..shape.len() {
        strides[k] = strides[k - 1] * shape[k - 1];
    }
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        for k in (0..shape.len()).rev() {
            index[k] += 1;
            if index[k] < shape[k] {
                break;
            }
            index[k] = 0;
        }
    }
    out
}
