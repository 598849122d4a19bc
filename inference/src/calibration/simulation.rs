//! Simulations: truths from the prior, signals with noise, posteriors, ranks.
//!
//! Posteriors are made by [`Runner`], as `sample` makes them. A voxel with fewer effective draws
//! of a ranked parameter than twice the draws that are ranked is sampled again with five times the warm-up and
//! draws, and that second result stands.
//! Of the $n$ draws of a voxel, those at $\lfloor (l + \tfrac12)\,n/L \rfloor$ are ranked: with
//! $2L$ effective draws their autocorrelation is below $e^{-4} = 0.02$.
//!
//! A voxel without draws has rank 0 in every quantity and is covered by no interval: it
//! counts against the calibration, never out of it.
//!
//! Random numbers depend on the seed and the number of the simulation alone. Validated by
//! `tests/suite/calibration.rs`.

use super::ranks::{Quantities, rank};
use crate::axial::principal_axis;
use crate::diagnostics::{Chains, Workspace, ess_bulk};
use crate::{InferenceError, Runner};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{BooleanArray, Float64Array, RecordBatch};
use microtome_models::{
    Constants, Evaluator, Job, Lowered, Model, NoiseKind, PriorSampler, RunSpec, SampleMethod,
    ShellMeans, SigmaSpec, VoxelBatch, simulation_rng,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Warm-up and draws of a second try, in those of the first.
pub(super) const LONGER: usize = 5;
/// Sets the seed of a second sampling apart from that of the first.
const ANEW: u64 = 0x5bc5_a3b1_0000_0001;
/// Effective draws that a voxel needs, in ranked draws.
const ENOUGH: f64 = 2.0;
/// The share of the posterior that an interval holds.
const HELD: f64 = 0.9;

/// What is calibrated.
#[derive(Debug, Clone)]
pub struct CalibrationSpec {
    /// The run as the sampler is told it: every prior proper and explicit
    /// ([`microtome_models::ModelSpec::with_scale_priors`]), σ known or free.
    pub run: RunSpec,
    /// The noise scale of the signals where the sampler is told one; another value than the
    /// sampler's is a negative control. Drawn from its prior where σ is free.
    pub sigma: Option<f64>,
    /// Draws that the truth is ranked among.
    pub draws: usize,
}

/// One simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// Its number.
    pub row: u64,
    /// The true quantities.
    pub truth: Vec<f64>,
    /// The rank of each quantity, 0 to the number of ranked draws.
    pub ranks: Vec<u32>,
    /// Whether the 90 % interval of each scalar, then the cap of each axis, holds the truth.
    pub covered: Vec<bool>,
    /// How the sampling ended; `empty` where there are no draws.
    pub status: String,
    /// Whether there are draws.
    pub has_draws: bool,
    /// Divergent trajectories among the draws.
    pub divergences: u64,
    /// Smallest effective sample size of a quantity other than the likelihood.
    pub ess: f64,
    /// Whether it was sampled a second time.
    pub again: bool,
}

/// A compiled calibration.
#[derive(Debug)]
pub struct Calibration {
    spec: CalibrationSpec,
    first: Runner,
    second: Runner,
    prior: PriorSampler,
    quantities: Quantities,
    /// The signals that are simulated.
    signals: Lowered,
    /// The data that the likelihood is of.
    data: Lowered,
    means: Option<ShellMeans>,
    noise: NoiseKind,
}

/// The posterior of one voxel, as the tables have it.
struct Found {
    /// `[draw, value]`, canonical.
    values: Vec<f64>,
    /// Quantities without the likelihood, `[draw][quantity]`.
    quantities: Vec<Vec<f64>>,
    chains: usize,
    status: String,
    divergences: u64,
    ess: f64,
}

impl Calibration {
    /// Compiles a calibration.
    ///
    /// # Errors
    /// A model that can't be sampled or has no proper prior; no draws to rank.
    pub fn new(spec: CalibrationSpec) -> Result<Self, InferenceError> {
        let run = &spec.run;
        let refused = |reason: &str| InferenceError::Calibration { reason: reason.into() };
        if run.model.deconvolution.is_some() {
            return Err(refused("a deconvolution is a fit and has no posterior"));
        }
        if run.job != Job::Sample || spec.draws == 0 {
            return Err(refused("posterior draws are needed, at least one to rank among"));
        }
        let kept = run.search.chains * run.search.draws;
        if kept < spec.draws {
            return Err(InferenceError::Calibration {
                reason: format!(
                    "{kept} draws a voxel ({} chains of {}) are fewer than the {} to rank among",
                    run.search.chains, run.search.draws, spec.draws
                ),
            });
        }
        if matches!(run.sigma, SigmaSpec::PerVoxel | SigmaSpec::RepeatedB0) {
            return Err(refused("sigma is one number or free"));
        }
        let first = Runner::new(run)?;
        let mut longer = run.clone();
        longer.search.tune *= LONGER;
        longer.search.draws *= LONGER;
        // Its random numbers are not those that asked for it.
        longer.seed ^= ANEW;
        let second = Runner::new(&longer)?;
        let noise = run.model.noise.kind;
        let model = Arc::new(Model::new(run.model.clone())?);
        if let Some((name, _)) = model.per_voxel().first() {
            return Err(InferenceError::Calibration {
                reason: format!("`{name}` is fixed to one value a voxel; fix it to a number"),
            });
        }
        let free_sigma = run.sigma == SigmaSpec::Free;
        let prior = PriorSampler::new(&model, free_sigma)?;
        let quantities = Quantities::new(&model, free_sigma);
        let signals = Lowered::new(model.clone(), &run.acquisition)?;
        let means = run.model.spherical_mean.then(|| ShellMeans::new(&run.acquisition));
        let data = match &means {
            None => signals.clone(),
            Some(means) => {
                let mut written = run.model.clone();
                written.noise.kind = NoiseKind::Gaussian;
                Lowered::new(Arc::new(Model::new(written)?), means.acquisition())?
            }
        };
        Ok(Self { spec, first, second, prior, quantities, signals, data, means, noise })
    }

    /// The quantities that are ranked.
    pub fn quantities(&self) -> &Quantities {
        &self.quantities
    }

    /// The names of the intervals of [`Simulation::covered`].
    pub fn intervals(&self) -> Vec<String> {
        let names = self.quantities.names();
        let scalars = self.quantities.scalars().map(|k| names[k].clone());
        scalars.chain(self.quantities.axes().iter().map(|(name, _)| name.clone())).collect()
    }

    /// The true values of a simulation, canonical, and its signals.
    ///
    /// # Shapes
    /// Values `[value]` with σ last when it is free; signals `[measurement]`.
    pub fn simulate(&self, evaluator: &mut Evaluator, row: u64) -> (Vec<f64>, Vec<f64>) {
        let seed = self.spec.run.seed;
        let model = &self.signals.model;
        let x = self.prior.simulate(model, seed, row);
        let sigma = match self.spec.sigma {
            Some(sigma) => sigma,
            None => x.last().copied().unwrap_or(f64::NAN),
        };
        let mut noise = simulation_rng(seed, row, 1);
        let clean = evaluator.predict(&x[..model.values()]);
        let y = clean.iter().map(|s| self.noise.draw(*s, sigma, &mut noise)).collect();
        (x, y)
    }

    /// Simulations of a range of numbers, in parallel on rayon's current pool.
    ///
    /// # Errors
    /// [`InferenceError::Interrupted`] when `stop` is set.
    pub fn block(
        &self,
        rows: Range<u64>,
        stop: &AtomicBool,
    ) -> Result<Vec<Simulation>, InferenceError> {
        let rows: Vec<u64> = rows.collect();
        let truths: Vec<(Vec<f64>, Vec<f64>)> = rows
            .par_iter()
            .map_init(|| Evaluator::new(&self.signals), |e, row| self.simulate(e, *row))
            .collect();
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut found = self.posteriors(&self.first, &rows, &truths, &all, stop)?;
        let wanted = ENOUGH * self.spec.draws as f64;
        let weak: Vec<usize> = (0..rows.len())
            .filter(|v| {
                let f = &found[v];
                !f.values.is_empty() && (f.ess.is_nan() || f.ess < wanted)
            })
            .collect();
        if !weak.is_empty() {
            found.extend(self.posteriors(&self.second, &rows, &truths, &weak, stop)?);
        }
        (0..rows.len())
            .into_par_iter()
            .map_init(
                || Evaluator::new(&self.data),
                |evaluator, v| {
                    let again = weak.binary_search(&v).is_ok();
                    Ok(self.judge(evaluator, rows[v], &truths[v], &found[&v], again))
                },
            )
            .collect()
    }

    /// Posteriors of some of the voxels, by their place in `rows`.
    fn posteriors(
        &self,
        runner: &Runner,
        rows: &[u64],
        truths: &[(Vec<f64>, Vec<f64>)],
        which: &[usize],
        stop: &AtomicBool,
    ) -> Result<BTreeMap<usize, Found>, InferenceError> {
        let batch = VoxelBatch {
            row: which.iter().map(|v| rows[*v]).collect(),
            voxel: which.iter().map(|v| *v as i64).collect(),
            signals: which.iter().flat_map(|v| truths[*v].1.iter().copied()).collect(),
            measurements: self.spec.run.acquisition.len(),
            ..VoxelBatch::default()
        };
        let tables = runner.process_voxels(batch, stop)?;
        let mut out = BTreeMap::new();
        let lost = || InferenceError::Calibration { reason: "a voxel is not in the tables".into() };
        let summary = tables.summary.as_ref().ok_or_else(lost)?;
        let voxel = integers(summary, "voxel")?;
        let status = summary.column_by_name("status").ok_or_else(lost)?.as_string::<i32>();
        let method = summary.column_by_name("method").ok_or_else(lost)?.as_string::<i32>();
        let ess = numbers(summary, "ess_bulk")?;
        for (k, v) in voxel.iter().enumerate() {
            let found = out.entry(*v as usize).or_insert_with(|| Found {
                values: Vec::new(),
                quantities: Vec::new(),
                chains: 0,
                status: status.value(k).to_string(),
                divergences: 0,
                ess: f64::INFINITY,
            });
            // Draws of weights are worth no more than the table says.
            if method.value(k) != SampleMethod::Nuts.name() {
                found.ess = found.ess.min(ess.value(k));
            }
        }
        self.read_draws(&tables.main, &mut out)?;
        if which.iter().any(|v| !out.contains_key(v)) {
            return Err(lost());
        }
        Ok(out)
    }

    fn read_draws(
        &self,
        table: &RecordBatch,
        out: &mut BTreeMap<usize, Found>,
    ) -> Result<(), InferenceError> {
        let model = &self.signals.model;
        let mut columns = Vec::new();
        for name in model.value_names() {
            columns.push(numbers(table, name)?);
        }
        if self.spec.run.sigma == SigmaSpec::Free {
            columns.push(numbers(table, "sigma")?);
        }
        let diverging: Option<&BooleanArray> =
            table.column_by_name("diverging").and_then(|c| c.as_boolean_opt());
        let chain = table.column_by_name("chain").and_then(|c| c.as_primitive_opt::<Int32Type>());
        let chain = chain.ok_or_else(|| column_error("chain"))?.values();
        for (k, v) in integers(table, "voxel")?.iter().enumerate() {
            let Some(found) = out.get_mut(&(*v as usize)) else { continue };
            let start = found.values.len();
            found.values.extend(columns.iter().map(|c| c.value(k)));
            model.canonicalise(&mut found.values[start..start + model.values()]);
            found.divergences += u64::from(diverging.is_some_and(|d| d.value(k)));
            found.chains = found.chains.max(chain[k] as usize + 1);
        }
        out.par_iter_mut().for_each_init(Workspace::new, |workspace, (_, found)| {
            let draws = found.values.chunks_exact(self.prior.width());
            found.quantities = draws.map(|x| self.quantities.evaluate(x, f64::NAN)).collect();
            let of_rows = smallest_ess(&found.quantities, found.chains, workspace);
            found.ess = if of_rows.is_nan() { of_rows } else { of_rows.min(found.ess) };
        });
        Ok(())
    }

    fn judge(
        &self,
        evaluator: &mut Evaluator,
        row: u64,
        (x, y): &(Vec<f64>, Vec<f64>),
        found: &Found,
        again: bool,
    ) -> Simulation {
        let mut likelihood = Likelihood::new(self, evaluator, y);
        let truth = self.quantities.evaluate(x, likelihood.ln(x));
        let mut out = Simulation {
            row,
            ranks: vec![0; truth.len()],
            covered: vec![false; self.intervals().len()],
            truth,
            status: found.status.clone(),
            has_draws: !found.values.is_empty(),
            divergences: found.divergences,
            ess: found.ess,
            again,
        };
        if !out.has_draws {
            return out;
        }
        let width = self.prior.width();
        let kept = found.values.len() / width;
        let draw = |i: usize| &found.values[i * width..(i + 1) * width];
        let l = self.spec.draws;
        let ranked: Vec<Vec<f64>> = (0..l)
            .map(|i| draw((2 * i + 1) * kept / (2 * l)))
            .map(|x| self.quantities.evaluate(x, likelihood.ln(x)))
            .collect();
        let mut ties = simulation_rng(self.spec.run.seed, row, 2);
        for (k, rank_of) in out.ranks.iter_mut().enumerate() {
            *rank_of = rank(out.truth[k], ranked.iter().map(|q| q[k]), &mut ties);
        }
        let scalars: Vec<usize> = self.quantities.scalars().collect();
        for (covered, k) in out.covered.iter_mut().zip(&scalars) {
            let mut values: Vec<f64> = found.quantities.iter().map(|q| q[*k]).collect();
            values.sort_by(f64::total_cmp);
            let tail = 0.5 * (1.0 - HELD);
            let [low, high] = [tail, 1.0 - tail].map(|p| quantile(&values, p));
            *covered = (low..=high).contains(&out.truth[*k]);
        }
        for (covered, (_, direction)) in
            out.covered[scalars.len()..].iter_mut().zip(self.quantities.axes())
        {
            let axes: Vec<[f64; 3]> = (0..kept).map(|i| direction.at(draw(i))).collect();
            *covered = in_cap(&axes, direction.at(x));
        }
        out
    }
}

/// The smallest effective sample size of the quantities but the last, the likelihood.
fn smallest_ess(draws: &[Vec<f64>], chains: usize, workspace: &mut Workspace) -> f64 {
    let quantities = draws.first().map_or(0, |q| q.len() - 1);
    (0..quantities).fold(f64::NAN, |least, k| {
        let values: Vec<f64> = draws.iter().map(|q| q[k]).collect();
        let view = Chains::new(&values, chains, values.len() / chains.max(1));
        view.map_or(f64::NAN, |c| least.min(ess_bulk(c, workspace)))
    })
}

/// The quantile of sorted values, linear between them.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + share * (sorted[high] - sorted[low])
}

/// Whether an axis is in the axial cap about the principal axis that holds 90 % of others.
fn in_cap(axes: &[[f64; 3]], truth: [f64; 3]) -> bool {
    let m = principal_axis(axes.iter().copied());
    let along = |mu: &[f64; 3]| (0..3).map(|i| mu[i] * m[i]).sum::<f64>().abs();
    let mut cosines: Vec<f64> = axes.iter().map(along).collect();
    cosines.sort_by(f64::total_cmp);
    along(&truth) >= quantile(&cosines, 1.0 - HELD)
}

/// The likelihood of the data of one voxel.
struct Likelihood<'a> {
    evaluator: &'a mut Evaluator,
    noise: NoiseKind,
    y: Vec<f64>,
    constants: Constants,
    values: usize,
    sigma: Option<f64>,
}

impl<'a> Likelihood<'a> {
    fn new(of: &Calibration, evaluator: &'a mut Evaluator, y: &[f64]) -> Self {
        let sigma = match of.spec.run.sigma {
            SigmaSpec::Known(sigma) => Some(sigma),
            _ => None,
        };
        let averaged = of.means.as_ref().map(|m| m.average(of.noise, y, sigma.unwrap_or(f64::NAN)));
        let y = averaged.as_deref().unwrap_or(y);
        let Lowered { model, plan, .. } = evaluator.lowered().clone();
        let mut slots = vec![0.0; plan.slots()];
        plan.scatter(y, &mut slots);
        let noise = model.noise();
        let constants = Constants::new(noise, y).of_means(plan.mask());
        Self { evaluator, noise, y: slots, constants, values: model.values(), sigma }
    }

    /// $\ln p(y\,|\,x)$ as the sampler has it.
    fn ln(&mut self, x: &[f64]) -> f64 {
        let sigma = self.sigma.unwrap_or_else(|| x.last().copied().unwrap_or(f64::NAN));
        let plan = self.evaluator.lowered().plan.clone();
        let signal = self.evaluator.signal(&x[..self.values]);
        self.noise.value(&self.y, signal, plan.mask(), sigma) + self.constants.at(sigma)
    }
}

fn column_error(column: &str) -> InferenceError {
    InferenceError::Column { column: column.into(), problem: "is missing in the posterior" }
}

fn numbers<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a Float64Array, InferenceError> {
    let column = table.column_by_name(name).and_then(|c| c.as_primitive_opt::<Float64Type>());
    column.ok_or_else(|| column_error(name))
}

fn integers<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a [i64], InferenceError> {
    let column = table.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(|| column_error(name))?.values())
}

#[cfg(test)]
mod tests {
    use super::*;
    use microtome_kernels::philox::PhiloxRng;
    use rand_distr::{Distribution, StandardNormal};

    #[test]
    fn quantiles_by_hand() {
        let sorted = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!((quantile(&sorted, 0.0), quantile(&sorted, 1.0)), (0.0, 4.0));
        assert!((quantile(&sorted, 0.3) - 1.2).abs() < 1e-15);
    }

    /// Axes about z with normal slopes of sd 0.1: 90 % are within 0.1 sqrt(2 ln 10) of it.
    #[test]
    fn caps_hold_their_share_of_axes() {
        let axes: Vec<[f64; 3]> = (0..20_000)
            .map(|i| {
                let mut rng = PhiloxRng::new(4, i, 0);
                let [u, v]: [f64; 2] = std::array::from_fn(|_| {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    0.1 * z
                });
                let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
                let norm = sign * (1.0 + u * u + v * v).sqrt();
                [u / norm, v / norm, 1.0 / norm]
            })
            .collect();
        let tilted = |slope: f64| {
            let norm = (1.0 + slope * slope).sqrt();
            [slope / norm, 0.0, 1.0 / norm]
        };
        let edge = 0.1 * (2.0 * 10.0_f64.ln()).sqrt();
        assert!(in_cap(&axes, tilted(0.97 * edge)) && !in_cap(&axes, tilted(1.03 * edge)));
        assert!(in_cap(&axes, tilted(-0.97 * edge).map(|v| -v)));
    }
}
