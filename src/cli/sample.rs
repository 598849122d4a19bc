//! `microtome sample`: posterior draws in every voxel.

use super::Outcome;
use super::config::{self, Setting};
use super::flags::{AcquisitionFlags, CommonFlags, DataFlags, ModelFlags, RunFlags};
use super::voxelwise::{self, Request};
use anyhow::bail;
use clap::Args;
use microtome_models::{Coupling, FitMethod, Job, SampleMethod, SearchSpec};

/// Samples the posterior of a model in every voxel.
///
/// Writes DIR/posterior.parquet (one row a voxel, chain and draw),
/// DIR/summary.parquet (one row a voxel and parameter: mean, sd, quantiles, rhat,
/// ess_bulk, ess_tail, mcse, contraction, method, khat, n_modes, ebfmi, divergences, and
/// trust: whether to believe it), maps when the signals are an image, and run.json.
/// Diffusivities are in um^2/ms (1 um^2/ms = 1e-3 mm^2/s). Priors are
/// those of the model file; the defaults: microtome info models.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  microtome sample --model ball_stick --noise rician --dwi dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --mask mask.nii.gz --out posterior

Exit codes: 0 done; 1 wrong input (nothing is written); 2 more voxels failed than
--max-failed allows; 130 interrupted (finished blocks are kept, the same line resumes).

References:
  Hoffman & Gelman 2014, jmlr.org/papers/v15/hoffman14a.html (the no-U-turn sampler).
  Betancourt 2017, arXiv:1701.02434 (its transitions, divergences and energies).
  Vehtari et al. 2021, doi:10.1214/20-BA1221 (R-hat and effective sample sizes).
  Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72) (Pareto-smoothed importance sampling).
  Orton et al. 2014, doi:10.1002/mrm.24649 (hierarchical priors).
  Rue & Held 2005, Gaussian Markov Random Fields, ch. 3 (spatial priors).
  Huang & Wand 2013, doi:10.1214/13-BA815 (the prior of their covariance).")]
pub(crate) struct SampleArgs {
    #[command(flatten)]
    pub(crate) data: DataFlags,
    #[command(flatten)]
    pub(crate) acquisition: AcquisitionFlags,
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    #[command(flatten)]
    pub(crate) search: SearchFlags,
    #[command(flatten)]
    pub(crate) run: RunFlags,
    #[command(flatten)]
    pub(crate) common: CommonFlags,
}

/// The sampler.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampler")]
pub(crate) struct SearchFlags {
    /// Method: auto (psis, and nuts where psis can't be trusted), psis (Pareto-smoothed
    /// importance sampling from all modes of the fit), nuts (the no-U-turn sampler in every
    /// voxel) or laplace (the normal density at the best mode, unchecked).
    #[arg(long, value_name = "NAME", default_value = SampleMethod::Auto.name())]
    pub(crate) method: String,
    /// Chains a voxel.
    #[arg(long, value_name = "N", default_value_t = SearchSpec::default().chains)]
    pub(crate) chains: usize,
    /// Warm-up draws a chain of nuts, which are not kept: 50, with --prior hierarchical or
    /// spatial 200 unless given.
    #[arg(long, value_name = "N")]
    pub(crate) tune: Option<usize>,
    /// Kept draws a chain: 400 for nuts, 100 for the others, 1000 with --prior hierarchical
    /// or spatial unless given. Unless given, voxels of auto that need nuts make 400 a chain,
    /// keep every fourth, and are summarised by all. Chains of a voxel that do not agree are
    /// drawn to twice and to four times their length, summarised by all, and as many
    /// are kept.
    #[arg(long, value_name = "N")]
    pub(crate) draws: Option<usize>,
    /// Writes DIR/criteria.parquet too, for the comparison of models (microtome diagnose
    /// --compare): leave-one-out predictive density, WAIC, evidence, predictive checks.
    #[arg(long)]
    pub(crate) criteria: bool,
    /// What the priors of the voxels share: independent (nothing), hierarchical (a normal
    /// population of all scalars and fractions over the mask, its mean and covariance
    /// sampled), spatial (a Gaussian Markov random field over neighbouring voxels of an
    /// image). The last two have a sampler of their own, and also write population.parquet
    /// and population_summary.parquet.
    #[arg(long, value_name = "NAME", default_value = "independent")]
    pub(crate) prior: String,
}

impl SearchFlags {
    pub(crate) fn spec(&self) -> anyhow::Result<SearchSpec> {
        if FitMethod::ALL.iter().any(|m| m.name() == self.method) {
            bail!(
                "--method {}: is a method of fits, which has no posterior; use auto, psis, nuts or laplace, or the verb fit",
                self.method
            );
        }
        let Some(sampler) = SampleMethod::ALL.into_iter().find(|m| m.name() == self.method) else {
            bail!("--method {}: unknown; use auto, psis, nuts or laplace", self.method);
        };
        let Some(prior) = Coupling::ALL.into_iter().find(|p| p.name() == self.prior) else {
            bail!("--prior {}: unknown; take independent, hierarchical or spatial", self.prior);
        };
        let sampler = if prior.is_independent() {
            sampler
        } else if matches!(sampler, SampleMethod::Auto | SampleMethod::Nuts) {
            SampleMethod::Nuts
        } else {
            bail!(
                "--method {}: works on one voxel at a time; leave it out with --prior {}",
                self.method,
                self.prior
            );
        };
        if self.criteria && !prior.is_independent() {
            bail!(
                "--criteria: needs --prior independent; the voxels of --prior {} have no evidence of their own",
                self.prior
            );
        }
        if self.criteria && sampler == SampleMethod::Laplace {
            bail!(
                "--criteria: needs draws of the posterior itself; take --method nuts, auto or psis"
            );
        }
        let defaults = if prior.is_independent() {
            SearchSpec::for_method(sampler)
        } else {
            SearchSpec::default()
        };
        let tune = self.tune.unwrap_or(defaults.tune);
        let (draws, thin) = self.draws.map_or((defaults.draws, defaults.thin), |d| (d, 1));
        for (flag, value, most) in
            [("chains", self.chains, 255), ("draws", draws, 10_000_000), ("tune", tune, 10_000_000)]
        {
            if value == 0 || value > most {
                bail!("--{flag} {value}: a number from 1 to {most} is needed");
            }
        }
        let (chains, criteria) = (self.chains, self.criteria);
        Ok(SearchSpec { chains, tune, draws, thin, criteria, prior, ..defaults })
    }
}

impl SampleArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let request = Request {
            job: Job::Sample,
            acquisition: &self.acquisition,
            model: &self.model,
            data: &self.data,
            run: &self.run,
            common: &self.common,
            search: self.search.spec()?,
            settings,
            command_line: config::line("sample", settings),
        };
        Ok(voxelwise::run(&request)?.outcome)
    }
}
