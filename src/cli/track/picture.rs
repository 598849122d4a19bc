//! `--report`: one page with the streamlines from three sides and their visits.
//!
//! Of many streamlines every n-th is drawn: which ones depends on their order alone. Validated by
//! `the_report_shows_streamlines` in `tests/cli/track.rs`.

use microtome::report::{BundlePicture, ReportData, html};
use microtome_datasets::ImageGeometry;
use microtome_models::tract::affine_inverse;
use std::path::{Path, PathBuf};

/// Most streamlines of a picture.
const MOST: usize = 600;

/// The page under construction.
pub(super) struct Picture {
    path: PathBuf,
    geometry: ImageGeometry,
    voxel_from_world: [[f64; 4]; 3],
    lines: Vec<Vec<[f32; 3]>>,
    seen: usize,
    every: usize,
}

impl Picture {
    pub(super) fn new(
        path: &Path,
        geometry: &ImageGeometry,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        if path.exists() && !overwrite {
            anyhow::bail!(
                "--report {}: the file exists; give --overwrite to replace it",
                path.display()
            );
        }
        let voxel_from_world = affine_inverse(&geometry.affine)
            .ok_or_else(|| anyhow::anyhow!("the affine of the image has no inverse"))?;
        Ok(Self {
            path: path.to_path_buf(),
            geometry: geometry.clone(),
            voxel_from_world,
            lines: Vec::new(),
            seen: 0,
            every: 1,
        })
    }

    pub(super) fn add(&mut self, points: &[[f32; 3]]) {
        if self.seen.is_multiple_of(self.every) {
            let voxel = |p: &[f32; 3]| {
                let x = p.map(f64::from);
                self.voxel_from_world
                    .map(|r| (r[0] * x[0] + r[1] * x[1] + r[2] * x[2] + r[3]) as f32)
            };
            self.lines.push(points.iter().map(voxel).collect());
            if self.lines.len() > MOST {
                let mut n = 0;
                self.lines.retain(|_| {
                    n += 1;
                    n % 2 == 1
                });
                self.every *= 2;
            }
        }
        self.seen += 1;
    }

    /// Writes the page; visits and their standard errors are those of all voxels.
    pub(super) fn write(
        self,
        visits: &[f64],
        error: &[f64],
        facts: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect();
        let note = format!("{} of {} are drawn.", self.lines.len(), self.seen);
        let data = ReportData {
            title: "microtome track".into(),
            command_line: std::env::args().collect::<Vec<_>>().join(" "),
            facts,
            bundles: Some(BundlePicture {
                lines: self.lines,
                shape: self.geometry.dims,
                visits: single(visits),
                error: single(error),
                note,
            }),
            ..ReportData::default()
        };
        crate::cli::record::write_text(&self.path, &html(&data))
    }
}
