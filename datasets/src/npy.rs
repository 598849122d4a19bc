//! NumPy's `.npy` format: header, streamed matrix, whole arrays.
//!
//! Source: NumPy enhancement proposal 1, format versions 1.0 to 3.0. Validated
//! against the crate ndarray-npy in `tests/files/matrices.rs`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Mutex;

use crate::error::{DatasetError, Result};
use crate::sample::Sample;
use crate::strided::{StridedFile, check_length};
use crate::text::shorten;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is believed.
const HEADER_MAX: usize = 1 << 16;

/// An open `.npy` file.
#[derive(Debug)]
pub(crate) struct NpyFile {
    pub(crate) file: File,
    pub(crate) sample: Sample,
    pub(crate) shape: Vec<usize>,
    pub(crate) fortran: bool,
    pub(crate) offset: u64,
}

/// Whether a file begins as `.npy` files do.
pub(crate) fn is_npy(path: &Path) -> Result<bool> {
    let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let mut start = Vec::new();
    (&file).take(6).read_to_end(&mut start).map_err(DatasetError::io(path, "read"))?;
    Ok(start == MAGIC)
}

impl NpyFile {
    /// Opens a file and checks that it is complete.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(DatasetError::io(path, "open"))?;
        let found = file.metadata().map_err(DatasetError::io(path, "open"))?.len();
        let mut start = [0; 8];
        if found < 10 {
            return Err(DatasetError::format(
                path,
                format!("is not a .npy file: it has only {found} bytes"),
            ));
        }
        file.read_exact(&mut start).map_err(DatasetError::io(path, "read"))?;
        if &start[..6] != MAGIC {
            return Err(DatasetError::format(path, "is not a .npy file (wrong first bytes)"));
        }
        let mut size = [0; 4];
        let width = if start[6] == 1 { 2 } else { 4 };
        file.read_exact(&mut size[..width]).map_err(DatasetError::io(path, "read"))?;
        let length = u32::from_le_bytes(size) as usize;
        let offset = (8 + width + length) as u64;
        if length > HEADER_MAX {
            return Err(DatasetError::format(
                path,
                format!("a .npy header of {length} bytes is not believed"),
            ));
        }
        check_length(path, Some(offset), found)?;
        let mut header = vec![0; length];
        file.read_exact(&mut header).map_err(DatasetError::io(path, "read"))?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let damaged = || {
            DatasetError::format(
                path,
                format!("the .npy header cannot be read: {}", shorten(&header)),
            )
        };
        let descr = field(&header, "descr").ok_or_else(damaged)?;
        let descr = descr
            .strip_prefix(['\'', '"'])
            .and_then(|d| d.split(['\'', '"']).next())
            .ok_or_else(|| {
                DatasetError::format(
                    path,
                    "structured arrays are not read; save a plain float64 array",
                )
            })?;
        let sample = Sample::from_numpy(path, descr)?;
        let fortran = field(&header, "fortran_order").ok_or_else(damaged)?.starts_with("True");
        let shape = field(&header, "shape")
            .and_then(|s| s.strip_prefix('(')?.split(')').next())
            .and_then(|s| {
                s.split(',')
                    .map(str::trim)
                    .filter(|s| !s.is_empty())
                    .map(|s| s.parse().ok())
                    .collect()
            })
            .ok_or_else(damaged)?;
        let npy = Self { file, sample, shape, fortran, offset };
        let count = npy.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        let expected = count.and_then(|n| StridedFile::end(offset, n, 1, sample.size()));
        check_length(path, expected, found)?;
        Ok(npy)
    }

    /// The array as a matrix; `[n]` counts as one column.
    pub(crate) fn into_matrix(self, path: &Path) -> Result<StridedFile> {
        let (rows, measurements) = match self.shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => {
                return Err(DatasetError::format(
                    path,
                    format!("has the shape {:?}; a matrix with two axes is needed", self.shape),
                ));
            }
        };
        Ok(StridedFile {
            path: path.to_path_buf(),
            file: Mutex::new(self.file),
            offset: self.offset,
            sample: self.sample,
            rows,
            measurements,
            row_major: !self.fortran || measurements == 1,
            scale: None,
        })
    }
}

/// The text that follows a key of the header's dictionary.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let at = header.find(&format!("'{key}'"))? + key.len() + 2;
    Some(header[at..].trim_start().strip_prefix(':')?.trim_start())
}

/// Writes the header of a C-ordered float64 array.
pub(crate) fn write_header(out: &mut impl Write, shape: &[usize]) -> std::io::Result<()> {
    write_typed_header(out, "<f8", shape)
}

/// Writes the header of a C-ordered array of numbers of a NumPy type such as `<f4`.
pub(crate) fn write_typed_header(
    out: &mut impl Write,
    descr: &str,
    shape: &[usize],
) -> std::io::Result<()> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        sizes.join(", ")
    );
    while (header.len() + 11) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())
}
