//! A slice of a volume, or a sinogram, as a grey PNG.
//!
//! Grey values are $255\,(x - a)/(b - a)$ clamped to 0..255; where no window is given, a
//! and b are the 0.5 % and 99.5 % quantiles of the slice. Row 0 is on top, as in the
//! array; values that are not finite are black. Validated by `tests/files/array_files.rs`.

use std::io::BufWriter;
use std::path::Path;

use crate::array::{Array, Values};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

/// What is black and what is white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// Quantiles 0.5 % and 99.5 % of the slice.
    Quantiles,
    /// These values.
    Range(f64, f64),
}

/// Writes slice `z` of an array `[z, y, x]`, the middle one where none is named; an array
/// `[y, x]` is its own slice.
///
/// # Errors
/// A slice that is not there, a window that is empty, a folder that can't be written.
pub fn write_preview(
    array: &Array,
    slice: Option<usize>,
    window: Window,
    path: &Path,
) -> Result<()> {
    stage_preview(array, slice, window, path)?.commit()
}

/// As [`write_preview`], to be named by [`AtomicFile::commit`].
///
/// # Errors
/// As [`write_preview`].
pub fn stage_preview(
    array: &Array,
    slice: Option<usize>,
    window: Window,
    path: &Path,
) -> Result<AtomicFile> {
    let wrong = |what: String| DatasetError::format(path, what);
    let [nz, ny, nx] = match array.shape[..] {
        [ny, nx] => [1, ny, nx],
        [nz, ny, nx] => [nz, ny, nx],
        _ => return Err(wrong(format!("the shape {:?} has no slices", array.shape))),
    };
    let z = slice.unwrap_or(nz / 2);
    let (Ok(width), Ok(height)) = (u32::try_from(nx), u32::try_from(ny)) else {
        return Err(wrong(format!("{ny} x {nx} pixels are too many for a PNG")));
    };
    if z >= nz || nx * ny == 0 {
        return Err(wrong(format!("slice {z} was asked for, but there are {nz}")));
    }
    let range = z * ny * nx..(z + 1) * ny * nx;
    let values: Vec<f64> = match &array.values {
        Values::F32(v) => v[range].iter().map(|x| f64::from(*x)).collect(),
        Values::F64(v) => v[range].to_vec(),
    };
    let (low, high) = match window {
        Window::Range(low, high) if high > low => (low, high),
        Window::Range(low, high) => {
            return Err(wrong(format!("the window from {low} to {high} is empty")));
        }
        Window::Quantiles => quantiles(&values),
    };
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    // A cast from NaN is 0.
    let grey: Vec<u8> = values.iter().map(|v| ((v - low) * scale).round() as u8).collect();
    let out = BufWriter::new(AtomicFile::create(path)?);
    encode(out, width, height, &grey).map_err(DatasetError::io(path, "write"))
}

fn encode(
    mut out: BufWriter<AtomicFile>,
    width: u32,
    height: u32,
    grey: &[u8],
) -> std::io::Result<AtomicFile> {
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(std::io::Error::from)?;
    writer.write_image_data(grey).map_err(std::io::Error::from)?;
    writer.finish().map_err(std::io::Error::from)?;
    out.into_inner().map_err(|e| e.into_error())
}

fn quantiles(values: &[f64]) -> (f64, f64) {
    let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    if finite.is_empty() {
        return (0.0, 0.0);
    }
    finite.sort_by(f64::total_cmp);
    let at = |q: f64| finite[((finite.len() - 1) as f64 * q).round() as usize];
    (at(0.005), at(0.995))
}
