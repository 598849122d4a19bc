//! A voxelwise run: one compiled specification, many batches.
//!
//! [`process`] is the contract of every voxelwise job, the shape of Spark's
//! `mapInArrow`: batch in, batch out, nothing else. Thread pools, shards and
//! clusters are callers of it. A voxel's rows depend on the specification, the
//! seed, its row number and its own signals only, so results are equal to the
//! bit for any batching.
//!
//! Validated by `tests/run.rs`.

use crate::InferenceError;
use crate::deconvolution::Deconvolver;
use crate::diagnostics::Workspace;
use crate::fit::{FitOptions, Fitter, StartScheme, Status};
use crate::sample::{NutsOptions, Sampler};
use crate::table::{self, voxel_batch};
use arrow_array::RecordBatch;
use microtome_models::{FreeKind, Job, Lowered, Model, RunSpec, SigmaSpec, VoxelBatch};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most chains of a voxel: each has one of the streams of its random numbers.
const MAX_CHAINS: usize = 256;

/// A compiled specification, shared by all threads.
#[derive(Debug)]
pub struct Runner(Task);

/// What is done in a voxel.
#[derive(Debug)]
enum Task {
    /// Compartments are fitted or sampled.
    Compose(Box<Composed>),
    /// A fibre orientation distribution is deconvolved.
    Deconvolve(Box<Deconvolver>),
}

/// A compiled model of compartments.
#[derive(Debug)]
struct Composed {
    spec: RunSpec,
    lowered: Lowered,
    scheme: StartScheme,
    /// Prior standard deviation of each value that does not depend on the data.
    prior_sd: Vec<f64>,
}

/// Voxels by how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All voxels.
    pub voxels: u64,
    /// Voxels without a result: every status but `converged` and `not_mixed`.
    pub failed: u64,
    /// Divergent trajectories after tuning.
    pub divergences: u64,
    /// Gradients of the sampler, tuning included.
    pub gradients: u64,
    /// Voxels by status.
    pub by_status: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds the counts of another batch.
    pub fn add(&mut self, other: &Counts) {
        self.voxels += other.voxels;
        self.failed += other.failed;
        self.divergences += other.divergences;
        self.gradients += other.gradients;
        for (status, n) in &other.by_status {
            *self.by_status.entry(status).or_default() += n;
        }
    }

    pub(crate) fn of(status: &[Status]) -> Self {
        let mut counts = Self { voxels: status.len() as u64, ..Self::default() };
        for s in status {
            counts.failed += u64::from(s.is_failure());
            *counts.by_status.entry(s.name()).or_default() += 1;
        }
        counts
    }
}

/// The tables of one batch.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Fit rows or posterior rows.
    pub main: RecordBatch,
    /// The summary of posterior draws.
    pub summary: Option<RecordBatch>,
    /// The fits that the chains started from.
    pub fit: Option<RecordBatch>,
    /// Coefficients of fibre orientation distributions.
    pub fod: Option<RecordBatch>,
    /// How the voxels ended.
    pub counts: Counts,
}

/// Works on one batch: fit rows, or posterior rows.
///
/// # Errors
/// A specification that does not compile; a batch without the needed columns.
pub fn process(batch: &RecordBatch, spec: &RunSpec) -> Result<RecordBatch, InferenceError> {
    Ok(Runner::new(spec)?.process(batch, &AtomicBool::new(false))?.main)
}

impl Runner {
    /// Compiles a specification.
    ///
    /// # Errors
    /// A model that does not compile or does not fit the acquisition; too many
    /// chains; a deconvolution that is to be sampled.
    pub fn new(spec: &RunSpec) -> Result<Self, InferenceError> {
        let task = match &spec.model.deconvolution {
            Some(d) if spec.job == Job::Fit && spec.model.compartments.is_empty() => {
                Task::Deconvolve(Box::new(Deconvolver::new(d, &spec.acquisition)?))
            }
            _ => Task::Compose(Box::new(Composed::new(spec)?)),
        };
        Ok(Self(task))
    }

    /// Works on one batch, its voxels in parallel on rayon's current pool.
    ///
    /// # Errors
    /// A batch that lacks a column or has another number of measurements;
    /// [`InferenceError::Interrupted`] when `stop` is set.
    pub fn process(
        &self,
        batch: &RecordBatch,
        stop: &AtomicBool,
    ) -> Result<Tables, InferenceError> {
        let voxels = voxel_batch(batch)?;
        let expected = match &self.0 {
            Task::Compose(composed) => composed.lowered.plan.measurements(),
            Task::Deconvolve(deconvolver) => deconvolver.measurements(),
        };
        if voxels.measurements != expected {
            return Err(InferenceError::Measurements { expected, got: voxels.measurements });
        }
        match &self.0 {
            Task::Compose(composed) => composed.process(&voxels, stop),
            Task::Deconvolve(deconvolver) => deconvolve(deconvolver, &voxels, stop),
        }
    }
}

/// Deconvolves the voxels of a batch.
fn deconvolve(
    deconvolver: &Deconvolver,
    voxels: &VoxelBatch,
    stop: &AtomicBool,
) -> Result<Tables, InferenceError> {
    let n = voxels.measurements;
    let fits = (0..voxels.row.len())
        .into_par_iter()
        .with_min_len(16)
        .map_init(
            || deconvolver.state(),
            |state, v| {
                if stop.load(Ordering::Relaxed) {
                    return Err(InferenceError::Interrupted);
                }
                Ok(deconvolver.fit(&voxels.signals[v * n..(v + 1) * n], state))
            },
        )
        .collect::<Result<Vec<_>, _>>()?;
    let status: Vec<Status> = fits.iter().map(|f| f.status).collect();
    Ok(Tables {
        main: table::deconvolution::table(deconvolver, voxels, &fits)?,
        summary: None,
        fit: None,
        fod: Some(table::deconvolution::coefficients(deconvolver, voxels, &fits)?),
        counts: Counts::of(&status),
    })
}

impl Composed {
    fn new(spec: &RunSpec) -> Result<Self, InferenceError> {
        if spec.search.chains > MAX_CHAINS {
            return Err(InferenceError::Chains { chains: spec.search.chains, most: MAX_CHAINS });
        }
        let model = Arc::new(Model::new(spec.model.clone())?);
        let lowered = Lowered::new(model.clone(), &spec.acquisition)?;
        let scheme = StartScheme::new(&lowered, &spec.acquisition)?;
        Ok(Self { spec: spec.clone(), prior_sd: prior_sd(&model), scheme, lowered })
    }

    /// The model.
    fn model(&self) -> &Model {
        &self.lowered.model
    }

    fn fitter(&self) -> Fitter {
        let search = &self.spec.search;
        let options =
            FitOptions { max_iterations: search.max_iterations, max_starts: search.max_starts };
        Fitter::new(&self.lowered, &self.scheme, options)
    }

    fn sampler(&self) -> Sampler {
        let search = &self.spec.search;
        let options = NutsOptions {
            chains: search.chains,
            tune: search.tune,
            draws: search.draws,
            target_accept: search.target_accept,
            ..NutsOptions::default()
        };
        Sampler::new(self.fitter(), options)
    }

    fn process(&self, voxels: &VoxelBatch, stop: &AtomicBool) -> Result<Tables, InferenceError> {
        if voxels.fixed.len() != self.model().per_voxel().len() {
            let column = format!("fixed.{}", voxels.fixed.len());
            return Err(InferenceError::Column {
                column,
                problem: "is missing: one a parameter fixed a voxel",
            });
        }
        if self.spec.sigma == SigmaSpec::PerVoxel && voxels.sigma.is_none() {
            return Err(InferenceError::Column { column: "sigma".into(), problem: "is missing" });
        }
        match self.spec.job {
            Job::Fit => self.fit(voxels, stop),
            Job::Sample => self.sample(voxels, stop),
        }
    }

    fn sigma(&self, voxels: &VoxelBatch, v: usize) -> Option<f64> {
        match self.spec.sigma {
            SigmaSpec::Known(s) => Some(s),
            SigmaSpec::PerVoxel => voxels.sigma.as_ref().map(|s| s[v]),
            SigmaSpec::Free => None,
        }
    }

    fn fit(&self, voxels: &VoxelBatch, stop: &AtomicBool) -> Result<Tables, InferenceError> {
        let n = voxels.measurements;
        let fits = (0..voxels.row.len())
            .into_par_iter()
            .with_min_len(16)
            .map_init(
                || self.fitter(),
                |fitter, v| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(InferenceError::Interrupted);
                    }
                    let fixed: Vec<f64> = voxels.fixed.iter().map(|f| f[v]).collect();
                    Ok(fitter.fit(
                        &voxels.signals[v * n..(v + 1) * n],
                        &fixed,
                        self.sigma(voxels, v),
                    ))
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        let status: Vec<Status> = fits.iter().map(|f| f.status).collect();
        let main = table::fit::table(self.model(), voxels, &fits)?;
        Ok(Tables { main, summary: None, fit: None, fod: None, counts: Counts::of(&status) })
    }

    fn sample(&self, voxels: &VoxelBatch, stop: &AtomicBool) -> Result<Tables, InferenceError> {
        let n = voxels.measurements;
        let results = (0..voxels.row.len())
            .into_par_iter()
            .map_init(
                || (self.sampler(), Workspace::new()),
                |(sampler, workspace), v| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(InferenceError::Interrupted);
                    }
                    let fixed: Vec<f64> = voxels.fixed.iter().map(|f| f[v]).collect();
                    let y = &voxels.signals[v * n..(v + 1) * n];
                    let sigma = self.sigma(voxels, v);
                    let mut posterior =
                        sampler.sample(y, &fixed, sigma, self.spec.seed, voxels.row[v]);
                    let prior_sd = self.prior_sd_of(posterior.fit.mean_b0);
                    let rows = table::summary::voxel(
                        self.model(),
                        &mut posterior,
                        &fixed,
                        &prior_sd,
                        workspace,
                    );
                    let status = table::summary::status(&posterior, &rows);
                    Ok((posterior, rows, status))
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        let mut posteriors = Vec::with_capacity(results.len());
        let mut rows = Vec::with_capacity(results.len());
        let mut status = Vec::with_capacity(results.len());
        for (p, r, s) in results {
            posteriors.push(p);
            rows.push(r);
            status.push(s);
        }
        let mut counts = Counts::of(&status);
        for trace in posteriors.iter().flat_map(|p| &p.traces) {
            counts.gradients += trace.gradients;
            counts.divergences += trace.draws.iter().filter(|d| d.diverging).count() as u64;
        }
        let fits: Vec<_> = posteriors.iter().map(|p| p.fit.clone()).collect();
        let free_sigma = self.spec.sigma == SigmaSpec::Free;
        Ok(Tables {
            main: table::posterior::table(self.model(), voxels, &posteriors, &status, free_sigma)?,
            summary: Some(table::summary::table(voxels, &rows, &status)?),
            fit: Some(table::fit::table(self.model(), voxels, &fits)?),
            fod: None,
            counts,
        })
    }

    /// Prior standard deviations of a voxel: the data-dependent defaults of the
    /// scale and of σ filled in.
    fn prior_sd_of(&self, mean_b0: f64) -> Vec<f64> {
        let mut out = self.prior_sd.clone();
        // A lognormal scales with its median.
        let unit_sd = |s: f64| ((s * s).exp_m1() * (s * s).exp()).sqrt();
        for free in self.model().free() {
            if free.kind == FreeKind::Scale && free.prior.is_none() {
                out[free.at] = if free.range == [0.0, f64::INFINITY] {
                    mean_b0 * unit_sd(0.5)
                } else {
                    Model::default_scale_prior(mean_b0, free.range).map_or(f64::NAN, |p| p.sd())
                };
            }
        }
        out.push(match self.model().sigma_prior() {
            Some(prior) => prior.sd(),
            None => mean_b0 / 25.0 * unit_sd(1.0),
        });
        out
    }
}

fn prior_sd(model: &Model) -> Vec<f64> {
    let mut out = vec![f64::NAN; model.values()];
    for free in model.free() {
        if let Some(prior) = &free.prior {
            out[free.at] = prior.sd();
        }
        if let FreeKind::Fractions { total, concentration } = &free.kind {
            let sum: f64 = concentration.iter().sum();
            for (i, a) in concentration.iter().enumerate() {
                out[free.at + i] = total * (a * (sum - a) / (sum * sum * (sum + 1.0))).sqrt();
            }
        }
    }
    out
}
