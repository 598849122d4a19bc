//! Signals of voxels, `[voxel, measurement]`, read by ranges of rows.
//!
//! A row is a voxel: of the whole array or image, or of the mask in the order
//! of increasing index. Only the rows asked for are in memory, and one bit a
//! voxel when there is a mask. Reading is thread-safe.
//!
//! Validated by `tests/files/images.rs`, `tests/files/bad_files.rs` and
//! `tests/files/real_data.rs`.

use std::ops::Range;
use std::path::Path;

use crate::csv_table::read_column;
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;
use crate::mask::Mask;
use crate::nifti_image::NiftiImage;
use crate::npy::{NpyFile, is_npy};
use crate::strided::StridedFile;

/// Some rows of a [`SignalSource`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Row of the array, or linear index i + nx (j + ny k) of the image `[row]`.
    pub voxel: Vec<i64>,
    /// Voxel index (i, j, k) `[row]`; `None` for arrays.
    pub ijk: Option<Vec<[i32; 3]>>,
    /// Signals `[row, measurement]`, in the unit of the file.
    pub signals: Vec<f64>,
}

/// An open data set.
#[derive(Debug)]
pub struct SignalSource {
    data: StridedFile,
    mask: Option<Mask>,
    geometry: Option<ImageGeometry>,
}

impl SignalSource {
    /// Opens an image (`.nii`, `.nii.gz`) or an array (`.npy`), and a mask.
    ///
    /// # Shapes
    /// An image is `(i, j, k, measurement)`, an array `[voxel, measurement]`. A
    /// mask is an image of the same grid or an array with one value a voxel; a
    /// voxel is inside where the value is not 0 (NaN is outside).
    ///
    /// # Errors
    /// Files that are missing, truncated, damaged, of another format, or of
    /// shapes that do not fit; a mask with no voxel inside.
    pub fn open(dwi: &Path, mask: Option<&Path>) -> Result<Self> {
        let (data, geometry) = if is_npy(dwi)? {
            let npy = NpyFile::open(dwi)?;
            if npy.shape.len() != 2 {
                return Err(DatasetError::format(
                    dwi,
                    format!("has the shape {:?}; signals are [voxel, measurement]", npy.shape),
                ));
            }
            (npy.into_matrix(dwi)?, None)
        } else {
            let image = NiftiImage::open(dwi)?;
            (image.data, Some(image.geometry))
        };
        if data.rows == 0 || data.measurements == 0 {
            return Err(DatasetError::format(
                dwi,
                format!(
                    "holds no signals ({} voxels, {} measurements)",
                    data.rows, data.measurements
                ),
            ));
        }
        let mut source = Self { data, mask: None, geometry };
        if let Some(path) = mask {
            source.mask = Some(source.read_mask(path)?);
        }
        Ok(source)
    }

    /// Number of rows: voxels inside the mask.
    pub fn n_rows(&self) -> usize {
        self.mask.as_ref().map_or(self.data.rows, Mask::inside)
    }

    /// Number of measurements of a voxel.
    pub fn n_measurements(&self) -> usize {
        self.data.measurements
    }

    /// Number of voxels of the whole file, inside the mask and outside.
    pub fn n_voxels(&self) -> usize {
        self.data.rows
    }

    /// Grid and affine of an image; `None` for arrays.
    pub fn geometry(&self) -> Option<&ImageGeometry> {
        self.geometry.as_ref()
    }

    /// Reads the rows of a range.
    ///
    /// # Errors
    /// A range beyond [`SignalSource::n_rows`]; a file that cannot be read.
    pub fn read_rows(&self, range: Range<usize>) -> Result<Rows> {
        let rows = self.n_rows();
        if range.start > range.end || range.end > rows {
            return Err(DatasetError::Range {
                path: self.data.path.clone(),
                start: range.start,
                end: range.end,
                rows,
            });
        }
        let index = self.indices(range);
        let signals = self.data.read(&index)?;
        let ijk = self.geometry.as_ref().map(|g| index.iter().map(|&i| g.ijk(i)).collect());
        Ok(Rows { voxel: index.iter().map(|&i| i as i64).collect(), ijk, signals })
    }

    /// The row of a voxel of the whole file; `None` outside the mask.
    pub fn row_of(&self, voxel: i64) -> Option<usize> {
        let voxel = usize::try_from(voxel).ok().filter(|v| *v < self.data.rows)?;
        match &self.mask {
            Some(mask) => mask.indices_from(0).position(|v| v == voxel),
            None => Some(voxel),
        }
    }

    /// Voxels of the whole file, of a range of rows.
    pub(crate) fn indices(&self, range: Range<usize>) -> Vec<usize> {
        match &self.mask {
            Some(mask) => mask.indices_from(range.start).take(range.len()).collect(),
            None => range.collect(),
        }
    }

    /// Reads one number a row: a noise level or a fixed parameter.
    ///
    /// The file is a `.npy` with one axis, a `.csv` with one column (a header
    /// is optional), or an image of the same grid. Arrays and tables have one
    /// value a voxel of the whole file, which the mask then selects, or one a
    /// row inside the mask.
    ///
    /// # Errors
    /// Files that cannot be read, or that have another number of values.
    pub fn read_scalars(&self, path: &Path) -> Result<Vec<f64>> {
        let values = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            read_column(path)?
        } else {
            let mut values = Vec::new();
            self.one_value_a_voxel(path)?.for_each(|v| values.push(v))?;
            values
        };
        match &self.mask {
            _ if values.len() == self.n_rows() => Ok(values),
            Some(mask) if values.len() == self.data.rows => {
                Ok(mask.indices_from(0).map(|i| values[i]).collect())
            }
            _ => Err(self.mismatch(path, format!("{} values", values.len()))),
        }
    }

    fn read_mask(&self, path: &Path) -> Result<Mask> {
        let file = self.one_value_a_voxel(path)?;
        if file.rows != self.data.rows {
            return Err(self.mismatch(path, format!("{} values", file.rows)));
        }
        let mut flags = Vec::with_capacity(file.rows.div_ceil(64));
        let mut n = 0_usize;
        file.for_each(|v| {
            if n.is_multiple_of(64) {
                flags.push(0_u64);
            }
            if let (true, Some(word)) = (v != 0.0 && !v.is_nan(), flags.last_mut()) {
                *word |= 1 << (n % 64);
            }
            n += 1;
        })?;
        let mask = Mask::new(flags);
        if mask.inside() == 0 {
            return Err(DatasetError::format(
                path,
                "no voxel is inside this mask: all its values are 0",
            ));
        }
        Ok(mask)
    }

    /// Opens an array with one axis, or an image of the same grid.
    fn one_value_a_voxel(&self, path: &Path) -> Result<StridedFile> {
        if is_npy(path)? {
            let npy = NpyFile::open(path)?;
            if !matches!(npy.shape[..], [_] | [_, 1]) {
                return Err(DatasetError::format(
                    path,
                    format!("has the shape {:?}; one value a voxel is needed", npy.shape),
                ));
            }
            return npy.into_matrix(path);
        }
        let image = NiftiImage::open(path)?;
        let fits = self.geometry.as_ref().is_some_and(|g| g.dims == image.geometry.dims);
        if !fits || image.data.measurements != 1 {
            let volumes = image.data.measurements;
            return Err(self.mismatch(
                path,
                format!("{:?} voxels and {volumes} volumes", image.geometry.dims),
            ));
        }
        Ok(image.data)
    }

    pub(crate) fn mismatch(&self, path: &Path, found: String) -> DatasetError {
        let inside = match &self.mask {
            Some(mask) => format!(" ({} inside the mask)", mask.inside()),
            None => String::new(),
        };
        let expected = match &self.geometry {
            Some(g) => format!("{:?} voxels, {} in all{inside}", g.dims, self.data.rows),
            None => format!("{} voxels{inside}", self.data.rows),
        };
        DatasetError::Mismatch {
            path: path.to_path_buf(),
            found,
            other: self.data.path.clone(),
            expected,
        }
    }
}
