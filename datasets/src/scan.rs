//! Scans in one HDF5 file: projections, flats, darks and angles (feature `hdf5`).
//!
//! | layout | projections | flats, darks | angles |
//! |---|---|---|---|
//! | DXchange | `/exchange/data` | `/exchange/data_white`, `data_dark` | `/exchange/theta` |
//! | NXtomo | `data` of `/entry*/data`, `/entry*/instrument/detector`, or of their `tomo_entry` | the same, where `image_key` is 1 and 2 | `rotation_angle` |
//!
//! Angles are degrees unless their attribute `units` says rad. `image_key` 0 is a projection,
//! 3 an image to be left out.
//!
//! Source: De Carlo et al. 2014, doi:10.1107/S160057751401604X (Scientific Data Exchange);
//! NeXus application definition NXtomo. Validated by `tests/files/frames.rs`.

use std::path::Path;

use crate::error::{DatasetError, Result};
use crate::frames::Frames;

/// A scan.
pub struct Scan {
    /// `DXchange` or `NXtomo`.
    pub layout: &'static str,
    /// The projections.
    pub projections: Frames,
    /// Images without the object.
    pub flats: Option<Frames>,
    /// How many projections were taken before each flat, where the file tells.
    pub flat_after: Option<Vec<usize>>,
    /// Images without the beam.
    pub darks: Option<Frames>,
    /// Angle of each projection.
    pub angles_rad: Option<Vec<f64>>,
    /// Pixel size along u where the file tells.
    pub pixel_mm: Option<f64>,
}

impl Scan {
    /// Opens a scan.
    ///
    /// # Errors
    /// A file that is no HDF5 file or none of these layouts, lists of unequal length.
    #[cfg(feature = "hdf5")]
    pub fn open(path: &Path) -> Result<Self> {
        let file = crate::frames::hdf5::file(path)?;
        if file.dataset("/exchange/data").is_ok() {
            return exchange(path, &file);
        }
        let root = file.root_group().map_err(crate::frames::hdf5::fault(path))?;
        let (groups, _) = root.member_names().map_err(crate::frames::hdf5::fault(path))?;
        for entry in groups.iter().filter(|g| g.starts_with("entry")) {
            for inner in ["", "/tomo_entry"] {
                let base = format!("/{entry}{inner}");
                for data in ["instrument/detector/data", "data/data"] {
                    let data = format!("{base}/{data}");
                    if file.dataset(&data).is_ok() {
                        return nexus(path, &file, &base, &data);
                    }
                }
            }
        }
        let what = format!(
            "is neither DXchange (/exchange/data) nor NXtomo (/entry/data/data); its groups are \
             {groups:?}: name datasets as FILE.h5:/path"
        );
        Err(DatasetError::format(path, what))
    }

    /// Opens a scan.
    ///
    /// # Errors
    /// Always: this build has no HDF5.
    #[cfg(not(feature = "hdf5"))]
    pub fn open(path: &Path) -> Result<Self> {
        Err(DatasetError::format(path, crate::frames::NO_HDF5))
    }
}

#[cfg(feature = "hdf5")]
use hdf5_layouts::{exchange, nexus};

#[cfg(feature = "hdf5")]
mod hdf5_layouts {
    use super::{DatasetError, Frames, Path, Result, Scan};
    use crate::frames::FrameOptions;
    use crate::frames::hdf5::Table;
    use hdf5_reader::Hdf5File;

    fn frames(path: &Path, dataset: &str, image: Option<[usize; 2]>) -> Result<Frames> {
        let name = format!("{}:{dataset}", path.display());
        Frames::open(Path::new(&name), &FrameOptions { image, ..FrameOptions::default() })
    }

    /// Angles in rad.
    fn angles(table: &Table) -> Result<Vec<f64>> {
        let turn = match table.units().as_deref() {
            Some("rad" | "radian" | "radians") => 1.0,
            None | Some("" | "deg" | "degree" | "degrees" | "°" | "null") => {
                std::f64::consts::PI / 180.0
            }
            Some(other) => {
                let what = format!("has the unit `{other}`; deg or rad is needed");
                return Err(DatasetError::format(table.path(), what));
            }
        };
        Ok(table.numbers()?.into_iter().map(|a| a * turn).collect())
    }

    fn length(table: &Table, needed: usize, what: &str) -> Result<()> {
        let found: usize = table.shape().iter().product();
        if found == needed {
            return Ok(());
        }
        let text = format!("has {found} numbers, but there are {needed} {what}");
        Err(DatasetError::format(table.path(), text))
    }

    pub(super) fn exchange(path: &Path, file: &Hdf5File) -> Result<Scan> {
        let projections = frames(path, "/exchange/data", None)?;
        let [n, nv, nu] = projections.shape();
        let optional = |name: &str| -> Result<Option<Frames>> {
            if file.dataset(name).is_err() {
                return Ok(None);
            }
            frames(path, name, Some([nv, nu])).map(Some)
        };
        let flats = optional("/exchange/data_white")?;
        let darks = optional("/exchange/data_dark")?;
        let angles_rad = if file.dataset("/exchange/theta").is_ok() {
            let table = Table::of(file, path, "/exchange/theta")?;
            length(&table, n, "projections")?;
            Some(angles(&table)?)
        } else {
            None
        };
        Ok(Scan {
            layout: "DXchange",
            projections,
            flats,
            flat_after: None,
            darks,
            angles_rad,
            pixel_mm: None,
        })
    }

    pub(super) fn nexus(path: &Path, file: &Hdf5File, base: &str, data: &str) -> Result<Scan> {
        let all = frames(path, data, None)?;
        let [n, nv, nu] = all.shape();
        let first = |names: &[&str]| {
            names.iter().map(|k| format!("{base}/{k}")).find(|k| file.dataset(k).is_ok())
        };
        let key = match first(&["instrument/detector/image_key", "data/image_key"]) {
            Some(name) => {
                let table = Table::of(file, path, &name)?;
                length(&table, n, "images")?;
                table.numbers()?
            }
            None => vec![0.0; n],
        };
        let of = |k: f64| -> Vec<usize> { (0..n).filter(|i| key[*i] == k).collect() };
        let (views, flats, darks) = (of(0.0), of(1.0), of(2.0));
        if views.is_empty() {
            let what = format!("has no projection (image_key 0) among {n} images");
            return Err(DatasetError::format(all.path(), what));
        }
        let angles_rad = match first(&["sample/rotation_angle", "data/rotation_angle"]) {
            Some(name) => {
                let table = Table::of(file, path, &name)?;
                let found: usize = table.shape().iter().product();
                let every = angles(&table)?;
                if found == views.len() {
                    Some(every)
                } else {
                    length(&table, n, "images")?;
                    Some(views.iter().map(|i| every[*i]).collect())
                }
            }
            None => None,
        };
        let pixel_mm = match first(&["instrument/detector/x_pixel_size"]) {
            Some(name) => {
                let table = Table::of(file, path, &name)?;
                let mm = match table.units().as_deref() {
                    Some("mm") => 1.0,
                    Some("um" | "µm" | "micron" | "microns" | "micrometer") => 1e-3,
                    _ => 1e3,
                };
                table.numbers()?.first().map(|v| v * mm).filter(|v| *v > 0.0 && v.is_finite())
            }
            None => None,
        };
        let before = |i: usize| views.partition_point(|v| *v < i);
        let flat_after = Some(flats.iter().map(|i| before(*i)).collect());
        let part = |list: &[usize]| -> Result<Option<Frames>> {
            if list.is_empty() {
                return Ok(None);
            }
            frames(path, data, Some([nv, nu]))?.choose(list.to_vec()).map(Some)
        };
        let (flats, darks) = (part(&flats)?, part(&darks)?);
        let projections = all.choose(views)?;
        Ok(Scan { layout: "NXtomo", projections, flats, flat_after, darks, angles_rad, pixel_mm })
    }
}
