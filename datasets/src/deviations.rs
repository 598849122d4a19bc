//! Gradient nonlinearity of every voxel, as FSL and the Human Connectome Project
//! write it (`grad_dev.nii.gz`).
//!
//! Nine numbers a voxel: the deviation $L$ of the gradients column by column,
//! $L_{xx}, L_{yx}, L_{zx}, L_{xy}, L_{yy}, L_{zy}, L_{xz}, L_{yz}, L_{zz}$, so that
//! $g_\mathrm{eff} = (I + L)g$ (see [`microtome_models::GradientNonlinearity`]).
//!
//! Source: Sotiropoulos et al. 2013, doi:10.1016/j.neuroimage.2013.05.057; FSL,
//! `bedpostx --gradnonlin`. Validated by `tests/files/waveforms.rs`.

use std::ops::Range;
use std::path::Path;

use crate::error::{DatasetError, Result};
use crate::nifti_image::NiftiImage;
use crate::npy::{NpyFile, is_npy};
use crate::signals::SignalSource;
use crate::strided::StridedFile;

/// A larger deviation than this is no deviation: $I + L$, or another file.
const LARGEST: f64 = 0.5;
/// Rows that are checked at once.
const CHUNK: usize = 4096;

/// An open map of deviations that fits a data set.
#[derive(Debug)]
pub struct GradientDeviations {
    data: StridedFile,
    /// Whether the rows are those inside the mask.
    inside: bool,
}

impl GradientDeviations {
    /// Opens an image of nine volumes on the grid of the signals, or a `.npy`
    /// `[voxel, 9]` with one row a voxel of the whole file or one a row inside the
    /// mask; and checks all rows that `source` has.
    ///
    /// # Errors
    /// Another shape or grid; numbers that are not finite, or beyond 0.5.
    pub fn open(path: &Path, source: &SignalSource) -> Result<Self> {
        let data = if is_npy(path)? {
            let npy = NpyFile::open(path)?;
            if npy.shape.len() != 2 || npy.shape[1] != 9 {
                return Err(DatasetError::format(
                    path,
                    format!(
                        "has the shape {:?}; the deviation of gradients is [voxel, 9]",
                        npy.shape
                    ),
                ));
            }
            npy.into_matrix(path)?
        } else {
            let image = NiftiImage::open(path)?;
            let fits = source.geometry().is_some_and(|g| g.dims == image.geometry.dims);
            if !fits || image.data.measurements != 9 {
                let volumes = image.data.measurements;
                let found = format!(
                    "{:?} voxels and {volumes} volumes; nine volumes on the grid of the signals are needed",
                    image.geometry.dims
                );
                return Err(source.mismatch(path, found));
            }
            image.data
        };
        let inside = data.rows != source.n_voxels();
        if inside && data.rows != source.n_rows() {
            return Err(source.mismatch(path, format!("{} rows", data.rows)));
        }
        let out = Self { data, inside };
        out.check(path, source)?;
        Ok(out)
    }

    /// The deviations of a range of rows `[row, 9]`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_rows(&self, source: &SignalSource, range: Range<usize>) -> Result<Vec<f64>> {
        let index = if self.inside { range.collect() } else { source.indices(range) };
        self.data.read(&index)
    }

    fn check(&self, path: &Path, source: &SignalSource) -> Result<()> {
        let rows = source.n_rows();
        for start in (0..rows).step_by(CHUNK) {
            let values = self.read_rows(source, start..(start + CHUNK).min(rows))?;
            let off = |v: &f64| !(v.is_finite() && v.abs() <= LARGEST);
            if let Some(at) = values.iter().position(off) {
                return Err(DatasetError::format(
                    path,
                    format!(
                        "volume {} (counted from 0) of row {} is {}; the deviation L of g_eff = (I + L) g is a few hundredths \
                         (subtract the identity from a matrix of whole gradients)",
                        at % 9,
                        start + at / 9,
                        values[at]
                    ),
                ));
            }
        }
        Ok(())
    }
}
