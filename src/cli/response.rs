//! `microtome response`: what the tissues of a data set look like.
//!
//! Validated by the tests `csd_*` in `tests/cli/`.

use super::config::{self, Setting};
use super::flags::{AcquisitionFlags, CommonFlags};
use super::record::{settle_text, write_text};
use super::{Outcome, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::{SignalSource, mrtrix_response_text, responses_text};
use microtome_inference::deconvolution::{ResponseEstimator, Screen, TissueVoxels, classify};
use microtome_models::{BLOCK_ROWS, LMAX_MAX, Responses, TissueResponse};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Estimates the responses of tissues for `fit --model csd`.
///
/// Writes a TOML file: zonal harmonics of the signal of one fibre (wm) and, with
/// `dhollander`, the signals of grey matter (gm) and fluid (csf), for every shell.
/// `tournier` and `fa` write the outermost shell alone, for single-shell deconvolution.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Algorithms:
  tournier    voxels of high FA, refined by deconvolution to those most like a single fibre
  fa          voxels of the highest FA
  dhollander  wm as tournier (FA > 0.2), gm and csf from the decay of the signal; needs
              b = 0 images, and two weighted shells to tell the tissues apart well

Example:
  microtome response --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --mask mask.nii.gz --out response.toml

References:
  Tournier et al. 2013, doi:10.1002/nbm.3017; Dhollander et al. 2016, ISMRM workshop on
  breaking the barriers of diffusion MRI; Smith et al. 2020, doi:10.1002/mrm.28083.")]
pub(crate) struct ResponseArgs {
    /// Signals: .nii, .nii.gz (i, j, k, measurement) or .npy [voxel, measurement].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signals")]
    dwi: PathBuf,
    /// Voxels to look at: an image of the same grid or one value a voxel, not 0 inside.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signals")]
    mask: Option<PathBuf>,
    #[command(flatten)]
    acquisition: AcquisitionFlags,
    /// Algorithm: tournier, fa or dhollander.
    #[arg(long, value_name = "NAME", default_value = "tournier", help_heading = "Response")]
    algorithm: String,
    /// Highest order of the response of fibres, even.
    #[arg(long, value_name = "L", default_value_t = 8, help_heading = "Response")]
    lmax: usize,
    /// Single-fibre voxels, at most a tenth of those looked at.
    #[arg(long, value_name = "N", default_value_t = 300, help_heading = "Response")]
    number: usize,
    /// The responses, a TOML file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Response")]
    out: Option<PathBuf>,
    /// Also writes text files of MRtrix3: PREFIX followed by wm.txt (gm.txt, csf.txt).
    #[arg(long, value_name = "PREFIX", help_heading = "Response")]
    out_mrtrix: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
}

/// Voxels of white matter, grey matter and fluid that made the responses.
pub(crate) type Counts = Vec<(&'static str, usize)>;

impl ResponseArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        self.common.start()?;
        if !["tournier", "fa", "dhollander"].contains(&self.algorithm.as_str()) {
            bail!("--algorithm {}: unknown; use tournier, fa or dhollander", self.algorithm);
        }
        if !self.lmax.is_multiple_of(2) || !(2..=LMAX_MAX).contains(&self.lmax) {
            bail!("--lmax {}: an even number from 2 to {LMAX_MAX} is needed", self.lmax);
        }
        if self.number == 0 {
            bail!("--number 0: at least one voxel is needed");
        }
        let scheme = self.acquisition.read()?;
        let source = SignalSource::open(&self.dwi, self.mask.as_deref())?;
        let (found, expected) = (source.n_measurements(), scheme.acquisition.len());
        if found != expected {
            bail!(
                "{} has {found} measurements a voxel, but {} has {expected}; image and acquisition must come from the same scan",
                self.dwi.display(),
                scheme.file.display()
            );
        }
        let estimator = ResponseEstimator::new(&scheme.acquisition)
            .with_context(|| scheme.file.display().to_string())?;
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        if self.common.dry_run {
            say::line(&format!(
                "plan of response (nothing is written)\n  algorithm    {}\n  voxels       {}\n  shells       {}",
                self.algorithm,
                source.n_rows(),
                estimator.shells().b.len()
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else {
            bail!("--out FILE is needed: the responses, a TOML file")
        };
        let estimate = Estimate {
            algorithm: &self.algorithm,
            lmax: self.lmax,
            number: self.number,
            of: &self.dwi,
        };
        let (responses, counts) = estimate.run(&estimator, &source)?;
        responses.check().context("the estimated response is of no use; is the mask right?")?;
        let words: Vec<String> = counts.iter().map(|(t, n)| format!("{n} voxels of {t}")).collect();
        let remark =
            format!("microtome response --algorithm {}: {}", self.algorithm, words.join(", "));
        settle_text("--out", out, &responses_text(&responses, &remark)?, self.common.overwrite)?;
        if let Some(prefix) = &self.out_mrtrix {
            for tissue in &responses.tissue {
                let path = PathBuf::from(format!("{prefix}{}.txt", tissue.name));
                write_text(&path, &mrtrix_response_text(&responses, tissue))?;
            }
        }
        if self.common.json {
            let voxels: serde_json::Map<String, serde_json::Value> =
                counts.iter().map(|(t, n)| ((*t).to_string(), (*n).into())).collect();
            let json = serde_json::json!({ "out": out, "algorithm": self.algorithm, "voxels": voxels,
                "b_ms_per_um2": responses.b_ms_per_um2, "tissue": responses.tissue });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!("response from {} in {}", words.join(", "), out.display()));
        }
        Ok(Outcome::Done)
    }
}

/// How responses are estimated.
pub(crate) struct Estimate<'a> {
    /// tournier, fa or dhollander.
    pub(crate) algorithm: &'a str,
    /// Highest order of the response of fibres.
    pub(crate) lmax: usize,
    /// Single-fibre voxels.
    pub(crate) number: usize,
    /// The file of the signals, for messages.
    pub(crate) of: &'a Path,
}

impl Estimate<'_> {
    /// The responses, and the voxels that made them.
    pub(crate) fn run(
        &self,
        estimator: &ResponseEstimator,
        source: &SignalSource,
    ) -> anyhow::Result<(Responses, Counts)> {
        let n = source.n_measurements();
        let blocks: Vec<usize> = (0..source.n_rows()).step_by(BLOCK_ROWS).collect();
        let screens: Vec<Vec<Option<Screen>>> = blocks
            .par_iter()
            .map(|start| {
                let rows = source.read_rows(*start..(start + BLOCK_ROWS).min(source.n_rows()))?;
                Ok(rows.signals.chunks_exact(n).map(|y| estimator.screen(y)).collect())
            })
            .collect::<anyhow::Result<_>>()?;
        let screens: Vec<Option<Screen>> = screens.concat();
        let tissues =
            if self.algorithm == "dhollander" { classify(&screens) } else { highest_fa(&screens) };
        let number = self.number.min(tissues.white.len().div_ceil(10));
        let candidates = &tissues.white[..tissues.white.len().min(10 * number)];
        if candidates.is_empty() {
            bail!(
                "{}: no voxel looks like white matter (FA above 0.2, positive signals); check the mask, the b-values and the b-vectors",
                self.of.display()
            );
        }
        let read = |rows: &[usize]| -> anyhow::Result<Vec<Vec<f64>>> {
            rows.iter().map(|r| Ok(source.read_rows(*r..r + 1)?.signals)).collect()
        };
        let white = read(candidates)?;
        let signals: Vec<&[f64]> = white.iter().map(Vec::as_slice).collect();
        let axes: Vec<[f64; 3]> =
            candidates.iter().filter_map(|r| screens[*r].map(|s| s.axis)).collect();
        let (used, zonal) = if self.algorithm == "fa" {
            (number, estimator.fibre(&signals[..number], &axes[..number], self.lmax))
        } else {
            let (chosen, zonal) = estimator.refine(&signals, &axes, self.lmax, number)?;
            (chosen.len(), zonal)
        };
        let mut counts = vec![("wm", used)];
        let wm = TissueResponse { name: "wm".into(), zonal };
        let mut b = estimator.shells().b.clone();
        let mut tissue = vec![wm];
        if self.algorithm == "dhollander" {
            for (name, rows) in [("gm", &tissues.grey), ("csf", &tissues.fluid)] {
                if rows.is_empty() {
                    bail!(
                        "{}: no voxel looks like {name}; give a larger mask, or use --algorithm tournier (fibres only)",
                        self.of.display()
                    );
                }
                let voxels = read(rows)?;
                let signals: Vec<&[f64]> = voxels.iter().map(Vec::as_slice).collect();
                tissue.push(TissueResponse {
                    name: name.into(),
                    zonal: estimator.isotropic(&signals),
                });
                counts.push((name, rows.len()));
            }
        } else {
            let outer = b.len() - 1;
            b = vec![b[outer]];
            tissue[0].zonal = vec![tissue[0].zonal.swap_remove(outer)];
        }
        Ok((Responses { b_ms_per_um2: b, tissue }, counts))
    }
}

/// All voxels that can be used, by falling FA.
fn highest_fa(screens: &[Option<Screen>]) -> TissueVoxels {
    let mut white: Vec<(usize, f64)> =
        screens.iter().enumerate().filter_map(|(i, s)| Some((i, s.as_ref()?.fa))).collect();
    white.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    TissueVoxels { white: white.into_iter().map(|w| w.0).collect(), ..TissueVoxels::default() }
}
