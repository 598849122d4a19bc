//! The embedded demonstration block: 12 x 12 x 4 simulated voxels with known truth.
//!
//! | file | content |
//! |---|---|
//! | `demo.nii.gz` | signals, 90 volumes, int16 with a slope |
//! | `demo.bval`, `demo.bvec` | 6 b = 0 and 28 directions each at b = 700, 1500, 3000 s/mm² (δ 12 ms, Δ 40 ms) |
//! | `truth.csv` | the parameters of every voxel; directions in the frame of the b-vectors |
//!
//! Made by `datasets/demo/make_demo.py`: a bundle along an arc in an isotropic
//! surrounding, Rician noise of S0/30. Validated by `tests/files/demo.rs`.

use std::path::{Path, PathBuf};

use crate::atomic::AtomicFile;
use crate::error::{DatasetError, Result};
use crate::gradients::FslTimes;

/// The image.
pub const IMAGE: &[u8] = include_bytes!("../demo/demo.nii.gz");
/// b-values, s/mm².
pub const BVAL: &[u8] = include_bytes!("../demo/demo.bval");
/// b-vectors, three lines.
pub const BVEC: &[u8] = include_bytes!("../demo/demo.bvec");
/// The parameters of every voxel.
pub const TRUTH: &[u8] = include_bytes!("../demo/truth.csv");
/// Pulse times of the scheme.
pub const TIMES: FslTimes =
    FslTimes { delta_ms: Some(12.0), big_delta_ms: Some(40.0), te_ms: None, tr_ms: None };
/// Standard deviation of the noise, in the unit of the signals.
pub const SIGMA: f64 = 1000.0 / 30.0;

/// Where the files of the block were written.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoFiles {
    /// The image.
    pub image: PathBuf,
    /// The b-values.
    pub bval: PathBuf,
    /// The b-vectors.
    pub bvec: PathBuf,
    /// The truth.
    pub truth: PathBuf,
}

/// Writes the block into a folder, which is created when it is not there.
///
/// # Errors
/// A folder that cannot be created or written.
pub fn write_demo(folder: &Path) -> Result<DemoFiles> {
    std::fs::create_dir_all(folder).map_err(DatasetError::io(folder, "create the folder"))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        let mut file = AtomicFile::create(&path)?;
        std::io::Write::write_all(&mut file, bytes).map_err(DatasetError::io(&path, "write"))?;
        file.commit()?;
        Ok(path)
    };
    Ok(DemoFiles {
        image: put("demo.nii.gz", IMAGE)?,
        bval: put("demo.bval", BVAL)?,
        bvec: put("demo.bvec", BVEC)?,
        truth: put("truth.csv", TRUTH)?,
    })
}
