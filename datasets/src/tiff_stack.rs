//! TIFF: several pages in a file, or a folder of files in natural order.
//!
//! Pages hold one number a pixel: integers of 8 to 64 bits, float32 or float64, in strips
//! or tiles, plain or compressed by LZW, deflate or PackBits. All pages have one size.
//! Natural order counts digits as numbers: `p2.tif` comes before `p10.tif`.
//!
//! Source: Adobe, TIFF revision 6.0 (1992); BigTIFF. Validated by
//! `tests/files/array_files.rs` and, against files of the Python package tifffile, by
//! `tests/files/frames.rs`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::{TiffEncoder, TiffKind, colortype};

use crate::array::{Array, Values};
use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};

/// Bytes from which offsets of 32 bits are not enough, with room for the directories.
const BIG: usize = (u32::MAX as usize) / 16 * 15;
/// Most bytes of one page that are believed.
const PAGE_MAX: usize = 1 << 36;

fn fault(path: &Path, page: usize) -> impl Fn(tiff::TiffError) -> DatasetError {
    let path = path.to_path_buf();
    move |e| match e {
        tiff::TiffError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            let what = format!("the TIFF file is truncated in page {page} (counted from 0)");
            DatasetError::format(&path, what)
        }
        tiff::TiffError::IoError(e) if e.raw_os_error().is_some() => {
            DatasetError::io(&path, "read or write")(e)
        }
        e => {
            let what = format!("page {page} (counted from 0) cannot be read as TIFF: {e}");
            DatasetError::format(&path, what)
        }
    }
}

/// The pages of one file, read in order or by number.
pub struct TiffPages {
    path: PathBuf,
    decoder: Decoder<BufReader<File>>,
    page: usize,
}

impl TiffPages {
    /// Opens a file at its first page.
    ///
    /// # Errors
    /// A file that can't be read, or is no TIFF.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(DatasetError::io(path, "open"))?;
        let decoder = Decoder::new(BufReader::new(file)).map_err(fault(path, 0))?;
        let mut limits = Limits::default();
        limits.decoding_buffer_size = PAGE_MAX;
        limits.intermediate_buffer_size = PAGE_MAX;
        Ok(Self { path: path.to_path_buf(), decoder: decoder.with_limits(limits), page: 0 })
    }

    /// Rows and columns of the present page.
    ///
    /// # Errors
    /// A damaged directory; a page of colours.
    pub fn size(&mut self) -> Result<[usize; 2]> {
        let fault = fault(&self.path, self.page);
        let (nx, ny) = self.decoder.dimensions().map_err(&fault)?;
        match self.decoder.colortype().map_err(&fault)? {
            ColorType::Gray(_) => Ok([ny as usize, nx as usize]),
            other => {
                let what = format!(
                    "page {} has {other:?} pixels; one number a pixel is needed: convert the \
                     images to grey",
                    self.page
                );
                Err(DatasetError::format(&self.path, what))
            }
        }
    }

    /// Goes to a page; `false` where there is none.
    ///
    /// # Errors
    /// A damaged directory.
    pub fn seek(&mut self, page: usize) -> Result<bool> {
        while self.page < page {
            if !self.decoder.more_images() {
                return Ok(false);
            }
            self.decoder.next_image().map_err(fault(&self.path, self.page + 1))?;
            self.page += 1;
        }
        if self.page > page {
            self.decoder.seek_to_image(page).map_err(fault(&self.path, page))?;
            self.page = page;
        }
        Ok(true)
    }

    /// The numbers of the present page, and whether they are better kept as float64.
    ///
    /// # Errors
    /// A page that is cut short, compressed in another way, or no plain numbers.
    pub fn read(&mut self) -> Result<(Vec<f64>, bool)> {
        let [ny, nx] = self.size()?;
        let result = self.decoder.read_image().map_err(fault(&self.path, self.page))?;
        fn wide<T: Copy + Into<f64>>(v: Vec<T>) -> Vec<f64> {
            v.into_iter().map(Into::into).collect()
        }
        let (values, long) = match result {
            DecodingResult::U8(v) => (wide(v), false),
            DecodingResult::U16(v) => (wide(v), false),
            DecodingResult::U32(v) => (wide(v), true),
            DecodingResult::U64(v) => (v.into_iter().map(|x| x as f64).collect(), true),
            DecodingResult::I8(v) => (wide(v), false),
            DecodingResult::I16(v) => (wide(v), false),
            DecodingResult::I32(v) => (wide(v), true),
            DecodingResult::I64(v) => (v.into_iter().map(|x| x as f64).collect(), true),
            DecodingResult::F32(v) => (wide(v), false),
            DecodingResult::F64(v) => (v, true),
            DecodingResult::F16(_) => {
                let what = "pixels of half precision are not read; save float32";
                return Err(DatasetError::format(&self.path, what));
            }
        };
        if values.len() != ny * nx {
            let what = format!(
                "page {} holds {} numbers, not {ny} x {nx}; pixels of one bit are not read",
                self.page,
                values.len()
            );
            return Err(DatasetError::format(&self.path, what));
        }
        Ok((values, long))
    }
}

/// Reads all pages of a file: `[page, y, x]`, float64 where the pixels are float64 or
/// integers of 32 and more bits, else float32.
///
/// # Errors
/// As [`TiffPages`]; pages of different size.
pub fn read(path: &Path) -> Result<Array> {
    let mut pages = TiffPages::open(path)?;
    let size = pages.size()?;
    let (mut all, mut count, mut any_long) = (Vec::new(), 0, false);
    while pages.seek(count)? {
        if pages.size()? != size {
            let what =
                format!("page {count} has {:?} pixels, the first has {size:?}", pages.size()?);
            return Err(DatasetError::format(path, what));
        }
        let (page, long) = pages.read()?;
        any_long |= long;
        all.extend(page);
        count += 1;
    }
    let values = Values::F64(all);
    let values = if any_long { values } else { Values::F32(values.into_f32()) };
    Ok(Array { shape: vec![count, size[0], size[1]], values })
}

/// The TIFF files of a folder in natural order of their names.
///
/// # Errors
/// A folder that can't be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || DatasetError::io(folder, "list");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && is_tiff(&path) {
            found.push(path);
        }
    }
    sort_naturally(&mut found);
    Ok(found)
}

/// Whether a name ends in `.tif` or `.tiff`.
pub fn is_tiff(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["tif", "tiff"].iter().any(|t| e.eq_ignore_ascii_case(t)))
}

/// Sorts names so that numbers in them count as numbers.
pub fn sort_naturally(paths: &mut [PathBuf]) {
    paths.sort_by_cached_key(|path| {
        let name = path.to_string_lossy().into_owned();
        (natural(&name), name)
    });
}

/// Words and numbers of a name. A number is its digits without zeros in front, longer ones
/// later.
fn natural(name: &str) -> Vec<(String, usize, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(word);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        let number = number.trim_start_matches('0');
        parts.push((text.to_string(), number.len(), number.to_string()));
        rest = tail;
    }
    parts
}

/// Pages that this program wrote into a folder.
pub(crate) fn own_pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let own = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
        name.and_then(|n| {
            let digits = n.strip_prefix("slice_")?.strip_suffix(".tif")?.to_string();
            Some(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        })
        .unwrap_or(false)
    };
    Ok(files(folder)?.into_iter().filter(own).collect())
}

/// Slices, rows and columns of an array of two or three axes.
fn slices(array: &Array, path: &Path) -> Result<[usize; 3]> {
    match array.shape[..] {
        [ny, nx] => Ok([1, ny, nx]),
        [nz, ny, nx] => Ok([nz, ny, nx]),
        _ => {
            let what = format!("the shape {:?} has not two or three axes", array.shape);
            Err(DatasetError::format(path, what))
        }
    }
}

/// Writes float32 pages, to be named by [`AtomicFile::commit`].
///
/// # Errors
/// A shape of other than two or three axes, a folder that can't be written, a full disk.
pub fn stage(array: &Array, path: &Path) -> Result<AtomicFile> {
    let [nz, ny, nx] = slices(array, path)?;
    let mut out = BufWriter::with_capacity(1 << 20, AtomicFile::create(path)?);
    // A page has a directory of some hundred bytes.
    let big = nz.saturating_mul(ny.saturating_mul(nx).saturating_mul(4) + 512) > BIG;
    let written = if big {
        TiffEncoder::new_big(&mut out).and_then(|e| pages(e, array, nz, ny, nx))
    } else {
        TiffEncoder::new(&mut out).and_then(|e| pages(e, array, nz, ny, nx))
    };
    written.map_err(unwritten(path))?;
    out.into_inner().map_err(|e| DatasetError::io(path, "write")(e.into_error()))
}

fn unwritten(path: &Path) -> impl Fn(tiff::TiffError) -> DatasetError {
    let path = path.to_path_buf();
    move |e| match e {
        tiff::TiffError::IoError(e) => DatasetError::io(&path, "write")(e),
        e => DatasetError::format(&path, format!("cannot be written as TIFF: {e}")),
    }
}

fn pages<W: Write + Seek, K: TiffKind>(
    mut encoder: TiffEncoder<W, K>,
    array: &Array,
    nz: usize,
    ny: usize,
    nx: usize,
) -> tiff::TiffResult<()> {
    let (width, height) = (u32::try_from(nx)?, u32::try_from(ny)?);
    let mut narrow = Vec::new();
    for z in 0..nz {
        let range = z * ny * nx..(z + 1) * ny * nx;
        let page: &[f32] = match &array.values {
            Values::F32(v) => &v[range],
            Values::F64(v) => {
                narrow.clear();
                narrow.extend(v[range].iter().map(|x| *x as f32));
                &narrow
            }
        };
        encoder.write_image::<colortype::Gray32Float>(width, height, page)?;
    }
    Ok(())
}

/// Writes every slice as a file of its own into `folder`; returns the names.
pub(crate) fn write_pages(array: &Array, named: &Path, folder: &Path) -> Result<Vec<String>> {
    let [nz, ny, nx] = slices(array, named)?;
    let digits = nz.saturating_sub(1).to_string().len().max(4);
    let mut names = Vec::with_capacity(nz);
    for z in 0..nz {
        let name = format!("slice_{z:0digits$}.tif");
        let range = z * ny * nx..(z + 1) * ny * nx;
        let values = match &array.values {
            Values::F32(v) => v[range].to_vec(),
            Values::F64(v) => v[range].iter().map(|x| *x as f32).collect(),
        };
        let path = folder.join(&name);
        let page = Array { shape: vec![ny, nx], values: Values::F32(values) };
        stage(&page, &path)?.rename()?;
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_as_numbers() {
        let mut names: Vec<PathBuf> =
            ["p10.tif", "p2.tif", "p02b.tif", "p1.tif", "a99.tif", "p2.1.tif", "p.tif"]
                .iter()
                .map(PathBuf::from)
                .collect();
        sort_naturally(&mut names);
        let names: Vec<_> = names.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            ["a99.tif", "p1.tif", "p2.1.tif", "p2.tif", "p02b.tif", "p10.tif", "p.tif"]
        );
    }
}
