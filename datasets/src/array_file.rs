//! Volumes and projections in the format that the name of the file asks for.
//!
//! | name | what is written |
//! |---|---|
//! | `V.npy` | float32 or float64, any number of axes |
//! | `V.tif`, `V.tiff` | float32, one page a slice (a view of projections); BigTIFF from 4 GB |
//! | `V/` | a folder of float32 pages `slice_0000.tif`, ... |
//! | `V.nii`, `V.nii.gz` | float32, with the affine of the grid where one is given |
//!
//! A name appears when its content is whole; equal content that stands there already is
//! left alone, other content is replaced only on request. Validated by
//! `tests/files/array_files.rs`.

use std::path::{Path, PathBuf};

use microtome_models::ct::VolumeGrid;
use tempfile::TempDir;

use crate::array::{Array, Values};
use crate::atomic::{AtomicFile, folder};
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;
use crate::maps::MapWriter;
use crate::tiff_stack::{self, write_pages};

/// What a name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayFormat {
    /// `.npy`.
    Npy,
    /// One TIFF file of several pages.
    Tiff,
    /// A folder of TIFF files.
    TiffFolder,
    /// `.nii` or `.nii.gz`.
    Nifti,
}

impl ArrayFormat {
    /// The format of a name.
    ///
    /// # Errors
    /// Another ending; the name of a file that is a folder.
    pub fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|e| name.ends_with(e));
        let format = if ends(&["/", std::path::MAIN_SEPARATOR_STR]) {
            return Ok(ArrayFormat::TiffFolder);
        } else if ends(&[".npy"]) {
            ArrayFormat::Npy
        } else if ends(&[".tif", ".tiff"]) {
            ArrayFormat::Tiff
        } else if ends(&[".nii", ".nii.gz"]) {
            ArrayFormat::Nifti
        } else {
            let what = "the name must end in .npy, .tif, .tiff, .nii or .nii.gz, or in / for a \
                        folder of TIFF slices";
            return Err(DatasetError::format(path, what));
        };
        if path.is_dir() {
            return Err(DatasetError::format(path, "is a folder; a file is needed"));
        }
        Ok(format)
    }
}

/// A file or folder that is complete but has not got its name.
#[derive(Debug)]
pub enum StagedArray {
    /// A file.
    File(AtomicFile),
    /// Pages in a folder beside the final one.
    Folder {
        /// The final path.
        path: PathBuf,
        /// Where the pages are.
        pages: TempDir,
        /// Their names.
        names: Vec<String>,
    },
}

/// Writes an array in the format of `path`, to be named by [`StagedArray::commit`].
///
/// # Errors
/// A name without a known ending, a folder that cannot be written, a full disk, a shape
/// that the format can't hold.
pub fn stage_array(array: &Array, grid: Option<&VolumeGrid>, path: &Path) -> Result<StagedArray> {
    match ArrayFormat::of(path)? {
        ArrayFormat::Npy => Ok(StagedArray::File(array.stage(path)?)),
        ArrayFormat::Tiff => tiff_stack::stage(array, path).map(StagedArray::File),
        ArrayFormat::Nifti => nifti(array, grid, path).map(StagedArray::File),
        ArrayFormat::TiffFolder => {
            let named = PathBuf::from(path.to_string_lossy().trim_end_matches(['/', '\\']));
            if named.as_os_str().is_empty() || named.is_file() {
                return Err(DatasetError::format(path, "is not the name of a folder"));
            }
            let create = DatasetError::io(&named, "create");
            let pages = tempfile::Builder::new().prefix(".slices.").tempdir_in(folder(&named));
            let pages = pages.map_err(create)?;
            let names = write_pages(array, &named, pages.path())?;
            Ok(StagedArray::Folder { path: named, pages, names })
        }
    }
}

/// Writes an array in the format of `path`.
///
/// A file with equal content stays as it is; one with other content is replaced when
/// `overwrite` is given. `grid` gives NIfTI images their affine.
///
/// # Errors
/// As [`stage_array`]; another file in the way.
///
/// # Example
/// ```
/// use microtome_datasets::{Array, Values, write_array};
/// let folder = tempfile::tempdir()?;
/// let array = Array { shape: vec![2, 3], values: Values::F32(vec![0.0; 6]) };
/// write_array(&array, None, &folder.path().join("v.tif"), false)?;
/// assert_eq!(microtome_datasets::tiff_stack::read(&folder.path().join("v.tif"))?.shape, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_array(
    array: &Array,
    grid: Option<&VolumeGrid>,
    path: &Path,
    overwrite: bool,
) -> Result<()> {
    stage_array(array, grid, path)?.commit(overwrite)
}

impl StagedArray {
    /// The final path.
    pub fn path(&self) -> &Path {
        match self {
            StagedArray::File(file) => file.path(),
            StagedArray::Folder { path, .. } => path,
        }
    }

    /// Whether the name is free, or taken by equal content, or may be replaced.
    ///
    /// # Errors
    /// Other content in the way.
    pub fn check(&mut self, overwrite: bool) -> Result<()> {
        let path = self.path().to_path_buf();
        if overwrite || !path.exists() || self.stands_already()? {
            return Ok(());
        }
        Err(DatasetError::Exists { path })
    }

    fn stands_already(&mut self) -> Result<bool> {
        match self {
            StagedArray::File(file) => file.stands_already(),
            StagedArray::Folder { path, pages, names } => {
                let same = |name: &String| {
                    let read = |folder: &Path| std::fs::read(folder.join(name)).ok();
                    read(pages.path()).is_some_and(|page| read(path) == Some(page))
                };
                let count = tiff_stack::files(path).map_or(0, |f| f.len());
                Ok(count == names.len() && names.iter().all(same))
            }
        }
    }

    /// Gives the content its name.
    ///
    /// # Errors
    /// As [`StagedArray::check`]; a full disk, a folder that is gone.
    pub fn commit(mut self, overwrite: bool) -> Result<()> {
        self.check(overwrite)?;
        match self {
            StagedArray::File(mut file) => {
                if file.stands_already()? {
                    return Ok(());
                }
                file.commit()
            }
            StagedArray::Folder { path, pages, names } => {
                if !path.exists() {
                    let pages = pages.keep();
                    let renamed = std::fs::rename(&pages, &path);
                    return renamed.map_err(|e| {
                        let _ = std::fs::remove_dir_all(&pages);
                        DatasetError::io(&path, "rename into place")(e)
                    });
                }
                for old in tiff_stack::own_pages(&path)? {
                    std::fs::remove_file(&old).map_err(DatasetError::io(&old, "replace"))?;
                }
                for name in &names {
                    let (from, to) = (pages.path().join(name), path.join(name));
                    std::fs::rename(from, &to).map_err(DatasetError::io(&to, "write"))?;
                }
                Ok(())
            }
        }
    }
}

/// An image of one volume; the index of the array that grows fastest is i.
fn nifti(array: &Array, grid: Option<&VolumeGrid>, path: &Path) -> Result<AtomicFile> {
    let [nz, ny, nx] = match array.shape[..] {
        [ny, nx] => [1, ny, nx],
        [nz, ny, nx] => [nz, ny, nx],
        _ => {
            let what = format!("the shape {:?} has not two or three axes", array.shape);
            return Err(DatasetError::format(path, what));
        }
    };
    let dims = [nx, ny, nz];
    let affine = match grid {
        Some(grid) if grid.shape() != array.shape => {
            let what = format!("the shape {:?} is not that of the grid", array.shape);
            return Err(DatasetError::format(path, what));
        }
        Some(grid) => grid.world_from_voxel(),
        None => {
            let mut affine = [[0.0; 4]; 4];
            for (k, n) in dims.iter().enumerate() {
                affine[k][k] = 1.0;
                affine[k][3] = -0.5 * (*n as f64 - 1.0);
            }
            affine[3][3] = 1.0;
            affine
        }
    };
    let mut map = MapWriter::create(path, &ImageGeometry::new(dims, affine), 1)?;
    for at in 0..array.values.len() {
        let value = match &array.values {
            Values::F32(v) => f64::from(v[at]),
            Values::F64(v) => v[at],
        };
        map.push(at as i64, &[value])?;
    }
    map.stage()
}
