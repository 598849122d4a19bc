//! The specification of a voxelwise job and the batch that it works on.
//!
//! A [`RunSpec`] holds everything that determines the numbers of a run and
//! nothing else (no paths, no threads): its hash names finished blocks, so a run
//! resumes exactly where the specification is the same.
//!
//! Validated by `specification_round_trips` below.

use crate::acquisition::Acquisition;
use crate::pooled::Coupling;
use crate::spec::ModelSpec;
use serde::{Deserialize, Serialize};

/// Rows of the whole input that form one block of work.
pub const BLOCK_ROWS: usize = 256;

/// What is done in every voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Maximum likelihood.
    Fit,
    /// Posterior draws.
    Sample,
}

impl Job {
    /// The verb.
    pub fn name(self) -> &'static str {
        match self {
            Job::Fit => "fit",
            Job::Sample => "sample",
        }
    }
}

/// How the noise scale is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigmaSpec {
    /// One value for all voxels, in the unit of the signals.
    Known(f64),
    /// One value a voxel, a column of the batch.
    PerVoxel,
    /// One value a voxel, from its repeated b = 0 images ([`crate::Repeats`]).
    RepeatedB0,
    /// Estimated (fit) or sampled (sample).
    Free,
}

/// How a fit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitMethod {
    /// Non-linear: the maximum of the likelihood (least squares for Gaussian noise).
    Nlls,
    /// Ordinary least squares of the logarithm of the signals.
    Ols,
    /// Least squares of the logarithm with the squares of the signals that OLS
    /// predicts as weights.
    Wls,
}

impl FitMethod {
    /// All methods.
    pub const ALL: [FitMethod; 3] = [FitMethod::Nlls, FitMethod::Ols, FitMethod::Wls];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FitMethod::Nlls => "nlls",
            FitMethod::Ols => "ols",
            FitMethod::Wls => "wls",
        }
    }
}

/// How posterior draws are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleMethod {
    /// Importance sampling where it can be trusted, else NUTS.
    Auto,
    /// The normal density at the highest mode, unchecked.
    Laplace,
    /// Importance sampling from all modes with Pareto-smoothed weights.
    Psis,
    /// The no-U-turn sampler.
    #[default]
    Nuts,
}

impl SampleMethod {
    /// All methods.
    pub const ALL: [SampleMethod; 4] =
        [SampleMethod::Auto, SampleMethod::Laplace, SampleMethod::Psis, SampleMethod::Nuts];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            SampleMethod::Auto => "auto",
            SampleMethod::Laplace => "laplace",
            SampleMethod::Psis => "psis",
            SampleMethod::Nuts => "nuts",
        }
    }

    fn is_nuts(&self) -> bool {
        *self == SampleMethod::Nuts
    }
}

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

/// Settings of the search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSpec {
    /// Most Levenberg-Marquardt iterations of one start.
    pub max_iterations: u64,
    /// Most starts a voxel.
    pub max_starts: usize,
    /// Chains a voxel.
    pub chains: usize,
    /// Tuning draws a chain.
    pub tune: usize,
    /// Kept draws a chain.
    pub draws: usize,
    /// Wanted mean acceptance probability of NUTS.
    pub target_accept: f64,
    /// The method of a fit; what the model calls for when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<FitMethod>,
    /// How posterior draws are made; NUTS when left out.
    #[serde(default, skip_serializing_if = "SampleMethod::is_nuts")]
    pub sampler: SampleMethod,
    /// Where a voxel gets NUTS, each chain makes so many times `draws` draws and keeps
    /// every so manieth in the table.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub thin: usize,
    /// Whether criteria for the comparison of models are computed from the draws.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub criteria: bool,
    /// What the priors of the voxels have in common.
    #[serde(default, skip_serializing_if = "Coupling::is_independent")]
    pub prior: Coupling,
}

impl Default for SearchSpec {
    fn default() -> Self {
        Self {
            max_iterations: 200,
            max_starts: 5,
            chains: 4,
            tune: 200,
            draws: 1000,
            target_accept: 0.8,
            method: None,
            sampler: SampleMethod::Nuts,
            thin: 1,
            criteria: false,
            prior: Coupling::Independent,
        }
    }
}

/// Warm-up draws of a chain of a voxel, which runs in the white coordinates of its mode.
const VOXEL_TUNE: usize = 50;
/// Kept draws of a chain of a voxel; chains that do not agree go on by themselves.
const VOXEL_DRAWS: usize = 400;
/// Kept draws a chain of the methods that are cheap.
const CHEAP_DRAWS: usize = 100;
/// Draws of NUTS for each of them, so that R-hat has enough to be judged by.
const CHEAP_THIN: usize = 4;

impl SearchSpec {
    /// The default settings of a method of sampling voxels one by one: few draws are kept
    /// where they are cheap to make, so that the tables are not what a run spends its time on.
    pub fn for_method(sampler: SampleMethod) -> Self {
        let nuts = Self { tune: VOXEL_TUNE, draws: VOXEL_DRAWS, ..Self::default() };
        match sampler {
            SampleMethod::Nuts => nuts,
            _ => Self { sampler, draws: CHEAP_DRAWS, thin: CHEAP_THIN, ..nuts },
        }
    }
}

/// Everything that determines the numbers of a voxelwise run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What is done.
    pub job: Job,
    /// The model, noise and priors included.
    pub model: ModelSpec,
    /// The acquisition.
    pub acquisition: Acquisition,
    /// The noise scale.
    pub sigma: SigmaSpec,
    /// The search.
    pub search: SearchSpec,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl RunSpec {
    /// The method of the fit: the one asked for, else `wls` for an expansion that has
    /// no likelihood and `nlls` for all others.
    pub fn method(&self) -> FitMethod {
        self.search.method.unwrap_or(if self.model.expansion.is_gaussian() {
            FitMethod::Nlls
        } else {
            FitMethod::Wls
        })
    }
}

/// Voxels to work on: plain data between files and searches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VoxelBatch {
    /// Number of each row in the whole input: names its random numbers.
    pub row: Vec<u64>,
    /// The `voxel` column: row of a table, or linear index i + nx (j + ny k) of an image.
    pub voxel: Vec<i64>,
    /// Image indices i, j, k.
    pub ijk: Option<Vec<[i32; 3]>>,
    /// Signals `[voxel, measurement]`.
    pub signals: Vec<f64>,
    /// Number of measurements.
    pub measurements: usize,
    /// σ of each voxel, for [`SigmaSpec::PerVoxel`].
    pub sigma: Option<Vec<f64>>,
    /// One list for each parameter that is fixed to one value a voxel, in the
    /// order of [`crate::Model::per_voxel`].
    pub fixed: Vec<Vec<f64>>,
    /// Deviation of the gradients `[voxel, 9]` in the order of
    /// [`crate::GradientNonlinearity::from_fsl`]; every voxel then has its own
    /// acquisition.
    pub grad_dev: Option<Vec<f64>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn specification_round_trips() {
        let spec = RunSpec {
            job: Job::Sample,
            model: ModelSpec::parse("ball_sticks_2").unwrap(),
            acquisition: Acquisition::from_b(&[0.0, 1.0], &[[0.0; 3], [0.0, 0.6, 0.8]], None, None)
                .unwrap(),
            sigma: SigmaSpec::Known(0.05),
            search: SearchSpec::default(),
            seed: 7,
        };
        let text = toml::to_string(&spec).unwrap();
        assert_eq!(toml::from_str::<RunSpec>(&text).unwrap(), spec);
        assert!(toml::from_str::<RunSpec>(&text.replace("seed = 7", "sead = 7")).is_err());
    }
}
