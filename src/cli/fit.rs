//! `microtome fit`: maximum likelihood in every voxel.

use super::Outcome;
use super::config::{self, Setting};
use super::flags::{AcquisitionFlags, CommonFlags, DataFlags, ModelFlags, RunFlags};
use super::voxelwise::{self, Request};
use anyhow::bail;
use clap::Args;
use microtome_models::{FitMethod, Job, SearchSpec};

/// Fits a model to every voxel by maximum likelihood (dti and dki also log-linearly).
///
/// Writes DIR/fit.parquet (one row a voxel: status, parameters, `<parameter>.sd`,
/// sigma, r2; of a tensor also fa, md, ad, rd, of dki mk, ak, rk, kfa), maps when the signals are an image, and run.json. Diffusivities
/// are in um^2/ms (1 um^2/ms = 1e-3 mm^2/s), in tables and maps; directions are
/// unit vectors in the frame of the gradient directions.
///
/// `--model csd` deconvolves instead: fod.nii.gz and peaks.nii.gz (fod.npy for
/// arrays; basis and order of MRtrix3), tissue volumes and peaks in fit.parquet. Of an
/// image with FSL b-vectors its directions are in world axes (RAS+).
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  microtome fit --model ball_stick --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --mask mask.nii.gz --out fit
  microtome fit --model dti --method wls --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out dti
  microtome fit --model csd --response response.toml --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out csd

Exit codes: 0 done; 1 wrong input (nothing is written); 2 more voxels failed than
--max-failed allows; 130 interrupted (finished blocks are kept, the same line resumes).

References:
  Levenberg 1944, doi:10.1090/qam/10666; Marquardt 1963, doi:10.1137/0111030 (the search).
  Sijbers et al. 1998, doi:10.1109/42.712125 (Rician likelihood).
  Constantinides et al. 1997, doi:10.1002/mrm.1910380524 (nc_chi); Lange et al. 1989,
  doi:10.1080/01621459.1989.10478852 (student_t).
  Koay & Basser 2006, doi:10.1016/j.jmr.2006.01.016 (--sigma b0).
  Basser et al. 1994, doi:10.1006/jmrb.1994.1037 (ols); Salvador et al. 2005, doi:10.1002/hbm.20076 (wls).
  Jeurissen et al. 2014, doi:10.1016/j.neuroimage.2014.07.061 (multi-tissue deconvolution).
  The references of compartments and presets: microtome info models.")]
pub(crate) struct FitArgs {
    #[command(flatten)]
    pub(crate) data: DataFlags,
    #[command(flatten)]
    pub(crate) acquisition: AcquisitionFlags,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// Method: nlls (the likelihood; the default), or for dti and dki ols or wls (least
    /// squares of the logarithm, plain or weighted by the squares of the signals that
    /// ols predicts; dki has only these, wls when left out).
    #[arg(long, value_name = "NAME", help_heading = "Search")]
    pub(crate) method: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

impl FitArgs {
    fn search(&self) -> anyhow::Result<SearchSpec> {
        if self.method.is_some() && self.model.model.trim() == super::model::CSD {
            bail!("--method goes with tensors; --model csd is non-negative least squares");
        }
        let method = match &self.method {
            None => None,
            Some(word) => match FitMethod::ALL.into_iter().find(|m| m.name() == word) {
                Some(method) => Some(method),
                None => bail!("--method {word}: unknown; use nlls, ols or wls"),
            },
        };
        Ok(SearchSpec { method, ..SearchSpec::default() })
    }

    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let request = Request {
            job: Job::Fit,
            acquisition: &self.acquisition,
            model: &self.model,
            data: &self.data,
            run: &self.run,
            common: &self.common,
            search: self.search()?,
            settings,
            command_line: config::line("fit", settings),
        };
        Ok(voxelwise::run(&request)?.outcome)
    }
}
