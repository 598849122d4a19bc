//! A voxelwise run: one compiled specification, many batches.
//!
//! [`process`] is the contract of every voxelwise job, the shape of Spark's
//! `mapInArrow`: batch in, batch out, nothing else. Thread pools, shards and
//! clusters are callers of it. A voxel's rows depend on the specification, the
//! seed, its row number and its own signals only, so results are equal to the
//! bit for any batching.
//!
//! Validated by `tests/suite/run.rs`.

mod criteria;

use crate::deconvolution::Deconvolver;
use crate::diagnostics::Workspace;
use crate::fit::{FitOptions, Fitter, LogLinear, StartScheme, Status};
use crate::sample::{Monitor, SampleOptions, Sampler};
use crate::table::{self, voxel_batch};
use crate::{Identifiability, InferenceError};
use arrow_array::RecordBatch;
use microtome_models::{
    Acquisition, Expansion, FitMethod, FreeKind, GradientNonlinearity, Job, Lowered, Model,
    ModelSpec, NoiseKind, Repeats, RunSpec, ShellMeans, SigmaSpec, VoxelBatch,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most chains of a voxel: each has one of the streams of its random numbers.
const MAX_CHAINS: usize = 255;

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
pub(crate) struct Composed {
    pub(crate) spec: RunSpec,
    model: Arc<Model>,
    pub(crate) lowered: Lowered,
    scheme: StartScheme,
    /// How signals become the data of a model of spherical means.
    means: Option<ShellMeans>,
    /// Where σ comes from, for [`SigmaSpec::RepeatedB0`].
    repeats: Option<Repeats>,
    /// The fit of a method that needs no likelihood.
    log_linear: Option<LogLinear>,
    /// Prior standard deviation of each value that does not depend on the data.
    prior_sd: Vec<f64>,
    /// Who is told of draws and voxels as they are made.
    monitor: Option<&'static Monitor>,
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
    /// Voxels with a posterior by the method of their draws.
    pub by_method: BTreeMap<&'static str, u64>,
}

/// What gradient nonlinearity makes of a voxel.
enum Deviation<T> {
    /// Nothing: it has the nominal gradients.
    None,
    /// Something on its own acquisition.
    Own(Box<T>),
    /// Numbers that are no deviation.
    Invalid,
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
        for (method, n) in &other.by_method {
            *self.by_method.entry(method).or_default() += n;
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
    /// Criteria for the comparison of models.
    pub criteria: Option<RecordBatch>,
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
    /// A model that does not compile or does not fit the acquisition; too many chains;
    /// too few repeated b = 0 images where σ is to come from them; a deconvolution that
    /// is to be sampled.
    pub fn new(spec: &RunSpec) -> Result<Self, InferenceError> {
        let task = match &spec.model.deconvolution {
            Some(d) if spec.job == Job::Fit && spec.model.compartments.is_empty() => {
                Task::Deconvolve(Box::new(Deconvolver::new(d, &spec.acquisition)?))
            }
            _ => Task::Compose(Box::new(Composed::new(spec)?)),
        };
        Ok(Self(task))
    }

    /// Tells a monitor of draws and sampled voxels as they are made; a job other than
    /// sampling tells nothing.
    pub fn watched(mut self, monitor: &'static Monitor) -> Self {
        if let Task::Compose(composed) = &mut self.0 {
            composed.monitor = Some(monitor);
        }
        self
    }

    /// What the acquisition can tell about the model; see [`Identifiability::of`].
    /// `None` for a deconvolution.
    pub fn identifiability(&self) -> Option<Identifiability> {
        match &self.0 {
            Task::Compose(composed) => Identifiability::of(&composed.lowered, &composed.scheme),
            Task::Deconvolve(_) => None,
        }
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
        self.process_voxels(voxel_batch(batch)?, stop)
    }

    /// [`Runner::process`] of voxels that are not in Arrow.
    ///
    /// # Errors
    /// As [`Runner::process`].
    pub fn process_voxels(
        &self,
        voxels: VoxelBatch,
        stop: &AtomicBool,
    ) -> Result<Tables, InferenceError> {
        let expected = match &self.0 {
            Task::Compose(composed) => composed.spec.acquisition.len(),
            Task::Deconvolve(deconvolver) => deconvolver.measurements(),
        };
        if voxels.measurements != expected {
            return Err(InferenceError::Measurements { expected, got: voxels.measurements });
        }
        match &self.0 {
            Task::Compose(composed) => composed.process(voxels, stop),
            Task::Deconvolve(_) if voxels.grad_dev.is_some() => {
                let problem = "has no meaning for a deconvolution, whose responses are of equal b";
                Err(InferenceError::Column { column: "grad_dev".into(), problem })
            }
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
    let fits = voxels
        .signals
        .par_chunks(16 * n.max(1))
        .map_init(
            || deconvolver.state(),
            |state, signals| {
                if stop.load(Ordering::Relaxed) {
                    return Err(InferenceError::Interrupted);
                }
                let mut fits = Vec::with_capacity(16);
                deconvolver.fit_each(signals, state, &mut fits);
                Ok(fits)
            },
        )
        .collect::<Result<Vec<_>, _>>()?;
    let fits: Vec<_> = fits.into_iter().flatten().collect();
    let status: Vec<Status> = fits.iter().map(|f| f.status).collect();
    Ok(Tables {
        main: table::deconvolution::table(deconvolver, voxels, &fits)?,
        summary: None,
        fit: None,
        fod: Some(table::deconvolution::coefficients(deconvolver, voxels, &fits)?),
        criteria: None,
        counts: Counts::of(&status),
    })
}

impl Composed {
    pub(crate) fn new(spec: &RunSpec) -> Result<Self, InferenceError> {
        if spec.search.chains > MAX_CHAINS {
            return Err(InferenceError::Chains { chains: spec.search.chains, most: MAX_CHAINS });
        }
        let mut written = spec.model.clone();
        let means = spec.model.spherical_mean.then(|| ShellMeans::new(&spec.acquisition));
        if means.is_some() {
            check_noise_of_means(spec)?;
            // Means are normal; their bias is taken off when they are made.
            written.noise.kind = NoiseKind::Gaussian;
        }
        let acquisition = means.as_ref().map_or(&spec.acquisition, ShellMeans::acquisition);
        let model = Arc::new(Model::new(written.clone())?);
        // The compartments of an expansion are those of its second order.
        let gaussian = ModelSpec { expansion: Expansion::Gaussian, ..written };
        let compartments = Arc::new(Model::new(gaussian)?);
        let lowered = Lowered::new(compartments, acquisition)?;
        let scheme = StartScheme::new(&lowered, acquisition)?;
        let repeats = match spec.sigma {
            SigmaSpec::RepeatedB0 => Some(Repeats::new(&spec.acquisition)?),
            _ => None,
        };
        let log_linear = log_linear(spec, &model, &lowered)?;
        let prior_sd = prior_sd(&model);
        let spec = spec.clone();
        Ok(Self {
            spec,
            model,
            prior_sd,
            scheme,
            means,
            repeats,
            lowered,
            log_linear,
            monitor: None,
        })
    }

    /// The model.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    fn fit_options(&self) -> FitOptions {
        let search = &self.spec.search;
        FitOptions { max_iterations: search.max_iterations, max_starts: search.max_starts }
    }

    pub(crate) fn fitter(&self) -> Fitter {
        Fitter::new(&self.lowered, &self.scheme, self.fit_options())
    }

    /// The acquisition that a voxel had; `None` where it is the nominal one, so
    /// that such a voxel has the results of a run without deviations.
    fn seen_by(&self, voxels: &VoxelBatch, v: usize) -> Deviation<Acquisition> {
        let Some(values) = &voxels.grad_dev else { return Deviation::None };
        let columns: [f64; 9] = std::array::from_fn(|k| values[9 * v + k]);
        match GradientNonlinearity::from_fsl(&columns) {
            None => Deviation::Invalid,
            Some(l) if l.is_zero() => Deviation::None,
            Some(l) => Deviation::Own(Box::new(l.apply(&self.spec.acquisition))),
        }
    }

    /// A fitter on the acquisition of one voxel.
    fn fitter_of(&self, voxels: &VoxelBatch, v: usize) -> Deviation<Fitter> {
        let acquisition = match self.seen_by(voxels, v) {
            Deviation::None => return Deviation::None,
            Deviation::Invalid => return Deviation::Invalid,
            Deviation::Own(acquisition) => acquisition,
        };
        let lowered = Lowered::new(self.lowered.model.clone(), &acquisition);
        match (lowered, self.scheme.for_voxel(&acquisition)) {
            (Ok(lowered), Ok(scheme)) => {
                Deviation::Own(Box::new(Fitter::new(&lowered, &scheme, self.fit_options())))
            }
            _ => Deviation::Invalid,
        }
    }

    /// A log-linear fit on the acquisition of one voxel.
    fn log_linear_of(&self, voxels: &VoxelBatch, v: usize) -> Deviation<LogLinear> {
        let acquisition = match self.seen_by(voxels, v) {
            Deviation::None => return Deviation::None,
            Deviation::Invalid => return Deviation::Invalid,
            Deviation::Own(acquisition) => acquisition,
        };
        let own = Lowered::new(self.lowered.model.clone(), &acquisition).ok().and_then(|lowered| {
            let (model, method) = (self.lowered.model.clone(), self.spec.method());
            LogLinear::new(model, lowered.plan.clone(), &acquisition, method).ok()
        });
        own.map_or(Deviation::Invalid, |own| Deviation::Own(Box::new(own)))
    }

    fn sampler(&self, fitter: Fitter) -> Sampler {
        let mut options = SampleOptions::of(&self.spec.search);
        options.nuts.monitor = self.monitor;
        Sampler::with_options(fitter, options)
    }

    /// Checks a batch and makes its signals the data of the model.
    pub(crate) fn prepare(&self, mut voxels: VoxelBatch) -> Result<VoxelBatch, InferenceError> {
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
        if voxels.grad_dev.is_some() {
            self.model().check_nonlinearity(&self.spec.acquisition)?;
            if self.means.is_some() {
                let problem = "has no meaning for spherical means, which are of equal b";
                return Err(InferenceError::Column { column: "grad_dev".into(), problem });
            }
        }
        if let Some(means) = &self.means {
            self.average(means, &mut voxels);
        }
        Ok(voxels)
    }

    fn process(&self, voxels: VoxelBatch, stop: &AtomicBool) -> Result<Tables, InferenceError> {
        let voxels = self.prepare(voxels)?;
        match (self.spec.job, &self.log_linear) {
            (Job::Fit, Some(linear)) => self.fit_log_linear(linear, &voxels, stop),
            (Job::Fit, None) => self.fit(&voxels, stop),
            // Without voxels there is nothing to couple.
            (Job::Sample, _)
                if !self.spec.search.prior.is_independent() && !voxels.row.is_empty() =>
            {
                Err(InferenceError::Coupled { prior: self.spec.search.prior.name() })
            }
            (Job::Sample, _) => self.sample(&voxels, stop),
        }
    }

    /// Replaces the signals of every voxel by their means.
    fn average(&self, means: &ShellMeans, voxels: &mut VoxelBatch) {
        let (n, noise) = (voxels.measurements, self.spec.model.noise.kind);
        let mut signals = Vec::with_capacity(voxels.row.len() * means.members().len());
        if let Some(repeats) = &self.repeats {
            let of = |y: &[f64]| repeats.sigma(noise, y);
            voxels.sigma = Some(voxels.signals.chunks(n.max(1)).map(of).collect());
        }
        for v in 0..voxels.row.len() {
            let sigma = self.sigma(voxels, v).unwrap_or(f64::NAN);
            signals.extend(means.average(noise, &voxels.signals[v * n..(v + 1) * n], sigma));
        }
        voxels.signals = signals;
        voxels.measurements = means.members().len();
    }

    pub(crate) fn sigma(&self, voxels: &VoxelBatch, v: usize) -> Option<f64> {
        match self.spec.sigma {
            SigmaSpec::Known(s) => Some(s),
            SigmaSpec::PerVoxel => voxels.sigma.as_ref().map(|s| s[v]),
            SigmaSpec::RepeatedB0 if self.means.is_some() => voxels.sigma.as_ref().map(|s| s[v]),
            SigmaSpec::RepeatedB0 => {
                let n = voxels.measurements;
                let y = &voxels.signals[v * n..(v + 1) * n];
                self.repeats.as_ref().map(|r| r.sigma(self.model().noise(), y))
            }
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
                    let (y, sigma) = (&voxels.signals[v * n..(v + 1) * n], self.sigma(voxels, v));
                    Ok(match self.fitter_of(voxels, v) {
                        Deviation::None => fitter.fit(y, &fixed, sigma),
                        Deviation::Own(mut own) => own.fit(y, &fixed, sigma),
                        Deviation::Invalid => fitter.fit(&vec![f64::NAN; n], &fixed, sigma),
                    })
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        let status: Vec<Status> = fits.iter().map(|f| f.status).collect();
        let main = table::fit::table(self.model(), voxels, &fits)?;
        let counts = Counts::of(&status);
        Ok(Tables { main, summary: None, fit: None, fod: None, criteria: None, counts })
    }

    fn fit_log_linear(
        &self,
        linear: &LogLinear,
        voxels: &VoxelBatch,
        stop: &AtomicBool,
    ) -> Result<Tables, InferenceError> {
        let n = voxels.measurements;
        let fits = (0..voxels.row.len())
            .into_par_iter()
            .with_min_len(64)
            .map_init(
                || linear.fitter(),
                |fitter, v| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(InferenceError::Interrupted);
                    }
                    let y = &voxels.signals[v * n..(v + 1) * n];
                    let (sigma, mean_b0) = (self.sigma(voxels, v), self.scheme.mean_b0(y));
                    Ok(match self.log_linear_of(voxels, v) {
                        Deviation::None => fitter.fit(y, sigma, mean_b0),
                        Deviation::Own(own) => own.fitter().fit(y, sigma, mean_b0),
                        Deviation::Invalid => fitter.fit(&vec![f64::NAN; n], sigma, f64::NAN),
                    })
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        let status: Vec<Status> = fits.iter().map(|f| f.status).collect();
        let main = table::fit::table(self.model(), voxels, &fits)?;
        let counts = Counts::of(&status);
        Ok(Tables { main, summary: None, fit: None, fod: None, criteria: None, counts })
    }

    fn sample(&self, voxels: &VoxelBatch, stop: &AtomicBool) -> Result<Tables, InferenceError> {
        let n = voxels.measurements;
        let results = (0..voxels.row.len())
            .into_par_iter()
            .map_init(
                || (self.sampler(self.fitter()), Workspace::new(), self.judge()),
                |(sampler, workspace, judge), v| {
                    if stop.load(Ordering::Relaxed) {
                        return Err(InferenceError::Interrupted);
                    }
                    let fixed: Vec<f64> = voxels.fixed.iter().map(|f| f[v]).collect();
                    let y = &voxels.signals[v * n..(v + 1) * n];
                    let sigma = self.sigma(voxels, v);
                    let (seed, row) = (self.spec.seed, voxels.row[v]);
                    let mut posterior = match self.fitter_of(voxels, v) {
                        Deviation::None => sampler.sample(y, &fixed, sigma, seed, row),
                        Deviation::Own(own) => {
                            self.sampler(*own).sample(y, &fixed, sigma, seed, row)
                        }
                        Deviation::Invalid => {
                            sampler.sample(&vec![f64::NAN; n], &fixed, sigma, seed, row)
                        }
                    };
                    // What is said of chains that went on is said of the rows that stay.
                    posterior.thin(1);
                    let prior_sd = self.prior_sd_of(posterior.fit.mean_b0);
                    let rows = table::summary::voxel(
                        self.model(),
                        &mut posterior,
                        &fixed,
                        &prior_sd,
                        workspace,
                    );
                    let quality = table::summary::quality(&posterior, &rows);
                    if let Some(monitor) = self.monitor {
                        monitor.voxel(quality.status != Status::Converged);
                    }
                    let criteria = self.judged(judge.as_mut(), voxels, v, &posterior);
                    posterior.thin(self.spec.search.thin);
                    Ok((posterior, rows, quality, criteria))
                },
            )
            .collect::<Result<Vec<_>, _>>()?;
        let mut posteriors = Vec::with_capacity(results.len());
        let mut rows = Vec::with_capacity(results.len());
        let mut quality = Vec::with_capacity(results.len());
        let mut criteria = Vec::with_capacity(results.len());
        let mut counts = Counts::default();
        for (p, r, q, c) in results {
            counts.divergences += q.divergences;
            *counts.by_method.entry(p.method.name()).or_default() += u64::from(p.modes > 0);
            posteriors.push(p);
            rows.push(r);
            quality.push(q);
            criteria.push(c);
        }
        let status: Vec<Status> = quality.iter().map(|q| q.status).collect();
        let criteria = match self.spec.search.criteria {
            true => {
                let shells = self.shells().len();
                Some(table::criteria::table(voxels, &criteria, &status, shells)?)
            }
            false => None,
        };
        counts.add(&Counts::of(&status));
        counts.gradients = posteriors.iter().flat_map(|p| &p.traces).map(|t| t.gradients).sum();
        let fits: Vec<_> = posteriors.iter().map(|p| p.fit.clone()).collect();
        let free_sigma = self.spec.sigma == SigmaSpec::Free;
        Ok(Tables {
            main: table::posterior::table(self.model(), voxels, &posteriors, &status, free_sigma)?,
            summary: Some(table::summary::table(voxels, &rows, &quality)?),
            fit: Some(table::fit::table(self.model(), voxels, &fits)?),
            fod: None,
            criteria,
            counts,
        })
    }

    /// Prior standard deviations of a voxel: the data-dependent defaults of the
    /// scale and of σ filled in.
    pub(crate) fn prior_sd_of(&self, mean_b0: f64) -> Vec<f64> {
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

/// Rician means are corrected with the noise scale, so it must be known.
fn check_noise_of_means(spec: &RunSpec) -> Result<(), InferenceError> {
    match spec.model.noise.kind {
        NoiseKind::Gaussian => Ok(()),
        NoiseKind::Rician if spec.sigma != SigmaSpec::Free => Ok(()),
        noise => Err(InferenceError::NoiseOfMeans { noise: noise.name() }),
    }
}

/// The log-linear fit of a specification that asks for one.
fn log_linear(
    spec: &RunSpec,
    model: &Arc<Model>,
    lowered: &Lowered,
) -> Result<Option<LogLinear>, InferenceError> {
    let method = spec.method();
    let is_linear = method != FitMethod::Nlls || !spec.model.expansion.is_gaussian();
    if !spec.model.expansion.is_gaussian() && !spec.acquisition.is_linear() {
        return Err(InferenceError::Method {
            method: method.name(),
            reason: "the kurtosis expansion is that of linear encoding; leave out the measurements with b_delta other than 1".into(),
        });
    }
    match spec.job {
        Job::Sample if is_linear => Err(InferenceError::Method {
            method: method.name(),
            reason: "least squares of the logarithm have no posterior; take the verb fit, or sample a model of compartments".into(),
        }),
        Job::Fit if is_linear => {
            let plan = lowered.plan.clone();
            LogLinear::new(model.clone(), plan, &spec.acquisition, method).map(Some)
        }
        _ => Ok(None),
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
