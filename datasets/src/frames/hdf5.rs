//! Datasets of HDF5 files, read by the crate hdf5-reader: contiguous or chunked, plain or
//! compressed by deflate (gzip), shuffle, Fletcher-32, szip.
//!
//! Source: The HDF Group, HDF5 file format specification version 3.0 (II.A, the superblock).
//! Validated against files of h5py, whole and cut, in `tests/files/frames.rs`.

use std::io::Read;
use std::path::{Path, PathBuf};

use hdf5_reader::{Dataset, Datatype, Hdf5File, SliceInfo, SliceInfoElem};

use crate::error::{DatasetError, Result};

/// A dataset of numbers.
pub(crate) struct Table {
    /// `file:/dataset`, for messages.
    path: PathBuf,
    dataset: Dataset,
    shape: Vec<usize>,
}

pub(crate) fn fault(path: &Path) -> impl Fn(hdf5_reader::error::Error) -> DatasetError {
    let path = path.to_path_buf();
    move |e| {
        let text = e.to_string();
        let hint = if text.contains("filter") {
            "; repack it with gzip (h5repack -f GZIP=4)"
        } else if text.contains("EOF") || text.contains("beyond") || text.contains("out of bounds")
        {
            "; the file is truncated or damaged, copy it again"
        } else {
            ""
        };
        DatasetError::format(&path, format!("cannot be read as HDF5: {text}{hint}"))
    }
}

/// Bytes of a whole file by the superblock at its begin: the address of its end.
fn promised(head: &[u8]) -> Option<u64> {
    let head = head.strip_prefix(b"\x89HDF\r\n\x1a\n")?;
    // Version, size of an address, and where the first of the addresses (base, another, end) is.
    let (size, first) = match *head.first()? {
        0 => (*head.get(5)?, 16),
        1 => (*head.get(5)?, 20),
        2 | 3 => (*head.get(1)?, 4),
        _ => return None,
    };
    let size = usize::from(size);
    let bytes = head.get(first + 2 * size..)?.get(..size)?;
    (size <= 8).then(|| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Opens a file.
pub(crate) fn file(path: &Path) -> Result<Hdf5File> {
    // An ordinary message where it is not there.
    let file = std::fs::File::open(path).map_err(DatasetError::io(path, "open"))?;
    let found = file.metadata().map_err(DatasetError::io(path, "read"))?.len();
    let mut head = Vec::new();
    file.take(64).read_to_end(&mut head).map_err(DatasetError::io(path, "read"))?;
    if let Some(expected) = promised(&head).filter(|expected| found < *expected) {
        return Err(DatasetError::format(
            path,
            format!(
                "the HDF5 file is truncated: its superblock promises {expected} bytes, there are \
                 {found}; copy it again"
            ),
        ));
    }
    Hdf5File::open(path).map_err(fault(path))
}

impl Table {
    pub(crate) fn open(path: &Path, dataset: &str) -> Result<Self> {
        Self::of(&file(path)?, path, dataset)
    }

    pub(crate) fn of(file: &Hdf5File, path: &Path, dataset: &str) -> Result<Self> {
        let name = PathBuf::from(format!("{}:{dataset}", path.display()));
        let dataset = file.dataset(dataset).map_err(fault(&name))?;
        if !matches!(dataset.dtype(), Datatype::FixedPoint { .. } | Datatype::FloatingPoint { .. })
        {
            return Err(DatasetError::format(&name, "holds no plain numbers"));
        }
        let size = |n: &u64| usize::try_from(*n).ok();
        let shape: Option<Vec<usize>> = dataset.shape().iter().map(size).collect();
        let shape =
            shape.filter(|s| s.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).is_some());
        let shape = shape.ok_or_else(|| DatasetError::format(&name, "is too large"))?;
        Ok(Self { path: name, dataset, shape })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn is_wide(&self) -> bool {
        match self.dataset.dtype() {
            Datatype::FixedPoint { size, .. } => *size > 2,
            Datatype::FloatingPoint { size, .. } => *size > 4,
            _ => true,
        }
    }

    /// The attribute `units`, in small letters.
    pub(crate) fn units(&self) -> Option<String> {
        let units = self.dataset.attribute("units").ok()?.read_string().ok()?;
        Some(units.trim_matches(char::from(0)).trim().to_lowercase())
    }

    /// All numbers.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>> {
        let mut out = vec![0.0; self.shape.iter().product()];
        self.select(SliceInfo::all(self.shape.len()), &mut out)?;
        Ok(out)
    }

    /// Entry `at` along the first axis.
    pub(crate) fn read(&self, at: usize, out: &mut [f64]) -> Result<()> {
        let mut selection = SliceInfo::all(self.shape.len());
        selection.selections[0] = SliceInfoElem::Index(at as u64);
        self.select(selection, out)
    }

    fn select(&self, selection: SliceInfo, out: &mut [f64]) -> Result<()> {
        macro_rules! numbers {
            ($t:ty) => {{
                let read = self.dataset.read_slice::<$t>(&selection).map_err(fault(&self.path))?;
                if read.len() != out.len() {
                    let what = format!("gave {} numbers in place of {}", read.len(), out.len());
                    return Err(DatasetError::format(&self.path, what));
                }
                out.iter_mut().zip(read.iter()).for_each(|(o, v)| *o = *v as f64);
                Ok(())
            }};
        }
        match self.dataset.dtype() {
            Datatype::FixedPoint { size: 1, signed: false, .. } => numbers!(u8),
            Datatype::FixedPoint { size: 1, signed: true, .. } => numbers!(i8),
            Datatype::FixedPoint { size: 2, signed: false, .. } => numbers!(u16),
            Datatype::FixedPoint { size: 2, signed: true, .. } => numbers!(i16),
            Datatype::FixedPoint { size: 4, signed: false, .. } => numbers!(u32),
            Datatype::FixedPoint { size: 4, signed: true, .. } => numbers!(i32),
            Datatype::FixedPoint { size: 8, signed: false, .. } => numbers!(u64),
            Datatype::FixedPoint { size: 8, signed: true, .. } => numbers!(i64),
            Datatype::FloatingPoint { size: 4, .. } => numbers!(f32),
            Datatype::FloatingPoint { size: 8, .. } => numbers!(f64),
            other => {
                let what = format!("holds numbers of type {other:?}, which are not read");
                Err(DatasetError::format(&self.path, what))
            }
        }
    }
}
