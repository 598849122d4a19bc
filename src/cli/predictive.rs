//! One voxel for the report: its draws, its priors, and signals predicted from it.
//!
//! Predicted signals are S of a draw with fresh noise of its σ; the residual is
//! (measured - mean) / sd of those. Signals are read again from the input that
//! `run.json` names.

use super::frame::{self, Voxel};
use super::record::Record;
use super::truth::{Truth, unit};
use anyhow::Context;
use microtome::report::{Predictive, VoxelParameter, VoxelPosterior};
use microtome_datasets::{GradientDeviations, SignalSource, TableReader};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Evaluator, FreeKind, GradientNonlinearity, Lowered, Model, NoiseKind, Prior,
    Repeats, ShellMeans, SigmaSpec,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Draws that a prediction is made of.
const DRAWS: usize = 400;
/// Points of a prior density.
const POINTS: usize = 200;

/// The columns of one voxel's draws.
pub(crate) struct Draws {
    chain: Vec<i32>,
    columns: BTreeMap<String, Vec<f64>>,
}

impl Draws {
    /// Reads the draws of one voxel; the rows are in the order of voxels.
    pub(crate) fn read(posterior: &Path, voxel: i64) -> anyhow::Result<Self> {
        let mut out = Self { chain: Vec::new(), columns: BTreeMap::new() };
        for batch in TableReader::open(posterior)? {
            let batch = batch?;
            let voxels = frame::integers(&batch, "voxel")?;
            let (from, to) =
                (voxels.partition_point(|v| *v < voxel), voxels.partition_point(|v| *v <= voxel));
            if from < to {
                out.chain.extend_from_slice(&frame::small_integers(&batch, "chain")?[from..to]);
                for field in batch.schema().fields() {
                    if let Ok(values) = frame::floats(&batch, field.name()) {
                        out.columns
                            .entry(field.name().clone())
                            .or_default()
                            .extend_from_slice(&values[from..to]);
                    }
                }
            }
            if voxels.last().is_some_and(|last| *last > voxel) {
                break;
            }
        }
        Ok(out)
    }

    /// One row that holds the estimates of a fit.
    pub(crate) fn of_fit(voxel: &Voxel) -> Self {
        let columns =
            voxel.parameters.iter().map(|(name, e)| (name.clone(), vec![e.mean])).collect();
        Self { chain: vec![0], columns }
    }

    fn chains(&self, name: &str) -> Vec<Vec<f64>> {
        let Some(values) = self.columns.get(name) else { return Vec::new() };
        let n = self.chain.iter().copied().max().map_or(0, |c| c as usize + 1);
        let mut out = vec![Vec::new(); n];
        for (chain, value) in self.chain.iter().zip(values) {
            out[*chain as usize].push(*value);
        }
        out
    }
}

/// What the report shows of one voxel.
pub(crate) struct Example<'a> {
    pub(crate) record: &'a Record,
    pub(crate) voxel: &'a Voxel,
    pub(crate) draws: &'a Draws,
    pub(crate) truth: Option<&'a Truth>,
}

impl Example<'_> {
    /// Mean of the b = 0 signals.
    fn mean_b0(&self, signals: &[f64]) -> f64 {
        let b0: Vec<usize> = self.record.spec.acquisition.b0_measurements().collect();
        b0.iter().map(|m| signals[*m]).sum::<f64>() / b0.len() as f64
    }

    /// The posterior of the voxel; `signals` where they can still be read.
    pub(crate) fn posterior(&self, signals: Option<&[f64]>) -> anyhow::Result<VoxelPosterior> {
        let model = Model::new(self.record.spec.model.clone())?;
        let mean_b0 = signals.map_or(f64::NAN, |s| self.mean_b0(s));
        let mut out = VoxelPosterior { label: self.voxel.label(), ..VoxelPosterior::default() };
        for (name, e) in &self.voxel.parameters {
            if name.contains(".mu_") || name == "r2" {
                continue;
            }
            let (prior_x, prior_density) =
                density(&model, name, mean_b0, [e.mean - 6.0 * e.sd, e.mean + 6.0 * e.sd]);
            out.parameters.push(VoxelParameter {
                name: name.clone(),
                unit: unit(name).into(),
                chains: self.draws.chains(name),
                prior_x,
                prior_density,
                truth: self.truth.and_then(|t| t.value(self.voxel.voxel, name)),
                mean: e.mean,
                sd: e.sd,
                q05: e.q05,
                q95: e.q95,
                rhat: e.rhat,
                ess_bulk: e.ess_bulk,
            });
        }
        let find = |end: &str| out.parameters.iter().position(|p| p.name.ends_with(end));
        out.pair = match (find(".lambda_par"), find(".fraction")) {
            (Some(a), Some(b)) => Some((a, b)),
            _ if out.parameters.len() > 1 => Some((0, 1)),
            _ => None,
        };
        Ok(out)
    }

    /// Predicted signals against the measured ones; means against means where the
    /// model is one of spherical means.
    pub(crate) fn predictive(&self, signals: &[f64]) -> anyhow::Result<Predictive> {
        let spec = &self.record.spec;
        let of_repeats = match spec.sigma {
            SigmaSpec::RepeatedB0 => {
                Repeats::new(&spec.acquisition)?.sigma(spec.model.noise.kind, signals)
            }
            _ => f64::NAN,
        };
        let mut kind = spec.model.noise.kind;
        let mut acquisition = seen(self.record, self.voxel.voxel)?;
        let mut signals = signals.to_vec();
        if spec.model.spherical_mean {
            let means = ShellMeans::new(&acquisition);
            let sigma = match spec.sigma {
                SigmaSpec::Known(s) => s,
                SigmaSpec::RepeatedB0 => of_repeats,
                _ => self.draws.columns.get("sigma").map_or(f64::NAN, |s| s[0]),
            };
            signals = means.average(kind, &signals, sigma);
            acquisition = means.acquisition().clone();
            kind = NoiseKind::Gaussian;
        }
        let signals = signals.as_slice();
        let model = Arc::new(Model::new(spec.model.clone())?);
        let lowered = Lowered::new(model.clone(), &acquisition)?;
        let mut evaluator = Evaluator::new(&lowered);
        let column = |name: &str| {
            let values = self.draws.columns.get(name);
            values.with_context(|| format!("the table has no column `{name}`"))
        };
        let values =
            model.value_names().into_iter().map(column).collect::<anyhow::Result<Vec<_>>>()?;
        let fixed =
            model.per_voxel().iter().map(|(n, _)| column(n)).collect::<anyhow::Result<Vec<_>>>()?;
        let rows = self.draws.chain.len();
        let sets = if rows > 1 { rows.min(DRAWS) } else { DRAWS };
        let n = acquisition.len();
        let mut predicted = vec![Vec::with_capacity(sets); n];
        let mut cosine = vec![0.0; n];
        let axis =
            self.draws.columns.keys().find_map(|k| k.strip_suffix(".mu_x").map(String::from));
        for s in 0..sets {
            let row = s * rows / sets;
            let x: Vec<f64> = values.iter().map(|c| c[row]).collect();
            let per_voxel: Vec<f64> = fixed.iter().map(|c| c[row]).collect();
            evaluator.set_per_voxel(&per_voxel);
            let sigma = match spec.sigma {
                SigmaSpec::Known(s) => s,
                SigmaSpec::RepeatedB0 => of_repeats,
                SigmaSpec::PerVoxel | SigmaSpec::Free => column("sigma")?[row],
            };
            for (m, signal) in evaluator.predict(&x).into_iter().enumerate() {
                let sigma = acquisition.repeats().map_or(sigma, |r| sigma / r[m].sqrt());
                let mut rng = PhiloxRng::at_step(0, s as u32, m as u64, 0);
                predicted[m].push(kind.draw(signal, sigma, &mut rng));
            }
            if let Some(axis) = &axis {
                let mu =
                    ["x", "y", "z"].map(|a| self.draws.columns[&format!("{axis}.mu_{a}")][row]);
                for (c, g) in cosine.iter_mut().zip(acquisition.directions()) {
                    *c += (g[0] * mu[0] + g[1] * mu[1] + g[2] * mu[2]).abs() / sets as f64;
                }
            }
        }
        let mut out = Predictive {
            label: self.voxel.label(),
            measured: signals.to_vec(),
            ..Predictive::default()
        };
        let (order, labels) = shells(&acquisition);
        out.shell_labels = labels;
        out.shell = acquisition.shell_of().iter().map(|s| order[*s]).collect();
        if axis.is_some() {
            let b = acquisition.b_ms_per_um2();
            out.cosine =
                cosine.iter().zip(b).map(|(c, b)| if *b > 0.0 { *c } else { f64::NAN }).collect();
        }
        for (list, y) in predicted.iter_mut().zip(signals) {
            list.sort_by(f64::total_cmp);
            let at = |q: f64| list[((list.len() - 1) as f64 * q).round() as usize];
            let mean = list.iter().sum::<f64>() / list.len() as f64;
            let variance =
                list.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / list.len() as f64;
            out.q05.push(at(0.05));
            out.median.push(at(0.5));
            out.q95.push(at(0.95));
            out.residual.push((y - mean) / variance.sqrt());
        }
        Ok(out)
    }
}

/// The number of each shell by increasing b, and their names.
fn shells(acquisition: &Acquisition) -> (Vec<usize>, Vec<String>) {
    let shells = acquisition.shells();
    let mut order: Vec<usize> = (0..shells.len()).collect();
    order.sort_by(|a, b| shells[*a].b.total_cmp(&shells[*b].b));
    let mut rank = vec![0; shells.len()];
    let mut labels = Vec::new();
    for (r, s) in order.iter().enumerate() {
        rank[*s] = r;
        let b = (shells[*s].b * 1000.0).round();
        labels.push(if b == 0.0 { "b = 0".into() } else { format!("b = {b} s/mm²") });
    }
    (rank, labels)
}

/// The signals of a voxel, read again from the input of the run.
pub(crate) fn signals(record: &Record, voxel: i64) -> Option<Vec<f64>> {
    let source = SignalSource::open(record.files.get("dwi")?, None).ok()?;
    let row = usize::try_from(voxel).ok()?;
    let signals = source.read_rows(row..row + 1).ok()?.signals;
    (signals.len() == record.measurements).then_some(signals)
}

/// The acquisition of a voxel: with gradient nonlinearity its own one.
fn seen(record: &Record, voxel: i64) -> anyhow::Result<Acquisition> {
    let nominal = &record.spec.acquisition;
    let (Some(path), Some(dwi)) = (record.files.get("grad-dev"), record.files.get("dwi")) else {
        return Ok(nominal.clone());
    };
    let source = SignalSource::open(dwi, record.files.get("mask").map(PathBuf::as_path))?;
    let deviations = GradientDeviations::open(path, &source)?;
    let row = source.row_of(voxel).context("the voxel is not in the input any more")?;
    let values = deviations.read_rows(&source, row..row + 1)?;
    let columns: [f64; 9] = values.try_into().map_err(|_| anyhow::anyhow!("no nine numbers"))?;
    let l = GradientNonlinearity::from_fsl(&columns).context("no deviation of gradients")?;
    Ok(l.apply(nominal))
}

/// The prior density of a parameter on its support, at most six posterior sds
/// around the posterior.
fn density(model: &Model, name: &str, mean_b0: f64, around: [f64; 2]) -> (Vec<f64>, Vec<f64>) {
    let on = |[low, high]: [f64; 2], f: &dyn Fn(f64) -> f64| -> (Vec<f64>, Vec<f64>) {
        let (low, high) = (low.max(around[0]), high.min(around[1]));
        if !(low.is_finite() && high.is_finite() && low < high) {
            return (Vec::new(), Vec::new());
        }
        let x: Vec<f64> =
            (0..POINTS).map(|i| low + (high - low) * (i as f64 + 0.5) / POINTS as f64).collect();
        let y = x.iter().map(|x| f(*x)).collect();
        (x, y)
    };
    let of = |prior: &Prior| on(prior.support(), &|x| prior.ln_density(x).0.exp());
    if name == "sigma" {
        let default = Model::default_sigma_prior(mean_b0).ok();
        return model.sigma_prior().or(default.as_ref()).map(of).unwrap_or_default();
    }
    for free in model.free() {
        match &free.kind {
            FreeKind::Scalar { .. } if free.name == name => {
                return free.prior.as_ref().map(of).unwrap_or_default();
            }
            FreeKind::Scale if name == "s0" => {
                let default = Model::default_scale_prior(mean_b0, free.range).ok();
                return free.prior.as_ref().or(default.as_ref()).map(of).unwrap_or_default();
            }
            FreeKind::Fractions { total, concentration } => {
                let names = model.value_names();
                let Some(k) = (0..free.len).find(|k| names[free.at + k] == name) else { continue };
                // The marginal of a Dirichlet density is a beta density, normalised on a fine grid.
                let (a, b) =
                    (concentration[k], concentration.iter().sum::<f64>() - concentration[k]);
                let beta = |u: f64| u.powf(a - 1.0) * (1.0 - u).powf(b - 1.0);
                let n = 4000;
                let mass: f64 =
                    (0..n).map(|i| beta((f64::from(i) + 0.5) / f64::from(n)) / f64::from(n)).sum();
                return on([0.0, *total], &|x| beta(x / total) / (mass * total));
            }
            _ => {}
        }
    }
    (Vec::new(), Vec::new())
}
