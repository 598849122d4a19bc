//! Bytes without a header: number type, byte order, shape and offset are told.

use std::fs::File;
use std::path::Path;

use crate::error::{DatasetError, Result};
use crate::sample::Sample;
use crate::strided::check_length;

/// Layout of a file without a header.
#[derive(Debug, Clone)]
pub struct RawLayout {
    /// Images, rows and columns; the number of images follows from the file where it is
    /// left out.
    shape: Vec<usize>,
    pub(super) sample: Sample,
    pub(super) offset: u64,
}

impl RawLayout {
    /// A layout.
    ///
    /// # Shapes
    /// `[view, v, u]` or `[v, u]`; in the latter case, and for flats and darks, the length of
    /// the file tells how many images there are.
    ///
    /// `number` is `uint8`, `uint16`, `int16`, `uint32`, `int32`, `float32`, `float64`, or a
    /// type of NumPy such as `>u2`; `offset` the bytes in front.
    ///
    /// # Errors
    /// An unknown type, another number of axes, an axis of length 0.
    pub fn new(shape: &[usize], number: &str, big_endian: bool, offset: u64) -> Result<Self> {
        let order = if big_endian { '>' } else { '<' };
        let code = match number {
            "uint8" | "u8" => "u1",
            "int8" | "i8" => "i1",
            "uint16" | "u16" => "u2",
            "int16" | "i16" => "i2",
            "uint32" | "u32" => "u4",
            "int32" | "i32" => "i4",
            "uint64" | "u64" => "u8",
            "int64" | "i64" => "i8",
            "float32" | "f32" => "f4",
            "float64" | "f64" => "f8",
            other => other,
        };
        let flag = Path::new("--raw-type");
        let descr = if code.starts_with(['<', '>', '|', '=']) {
            code.to_string()
        } else {
            format!("{order}{code}")
        };
        let sample = Sample::from_numpy(flag, &descr).map_err(|_| {
            let what = format!(
                "`{number}` is no known type; write uint8, uint16, int16, uint32, int32, float32 \
                 or float64"
            );
            DatasetError::format(flag, what)
        })?;
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if !(2..=3).contains(&shape.len()) || count.is_none_or(|n| n == 0) {
            let what = format!("{shape:?}; write VIEWS,V,U or V,U, each at least 1");
            return Err(DatasetError::format(Path::new("--raw-shape"), what));
        }
        Ok(Self { shape: shape.to_vec(), sample, offset })
    }
}

/// The file and the shape of the stack in it.
pub(super) fn open(
    path: &Path,
    layout: &RawLayout,
    image: Option<[usize; 2]>,
) -> Result<(File, [usize; 3])> {
    let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let found = file.metadata().map_err(DatasetError::io(path, "open"))?.len();
    let k = layout.shape.len();
    let [nv, nu] = image.unwrap_or([layout.shape[k - 2], layout.shape[k - 1]]);
    let size = (nv * nu * layout.sample.size()) as u64;
    let told = (k == 3 && image.is_none()).then(|| layout.shape[0]);
    let n = match told {
        Some(n) => {
            let expected = (n as u64).checked_mul(size).and_then(|b| b.checked_add(layout.offset));
            check_length(path, expected, found)?;
            n
        }
        None => {
            let bytes = found.saturating_sub(layout.offset);
            if bytes == 0 || bytes % size != 0 {
                let what = format!(
                    "holds {bytes} bytes after the offset, which are no whole images of {nv} x \
                     {nu} pixels ({size} bytes each); correct --raw-shape, --raw-type or \
                     --raw-offset, or copy the file again"
                );
                return Err(DatasetError::format(path, what));
            }
            (bytes / size) as usize
        }
    };
    Ok((file, [n, nv, nu]))
}
