//! `microtome info design`: what to expect of an acquisition before any data, and the
//! search for a better one.
//!
//! Validated by the tests `design_*` in `tests/cli/`.

use super::flags::{AcquisitionFlags, ModelFlags};
use super::predict::{Sets, with_given_defaults};
use super::record::settle_text;
use super::{protocol, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::ParameterTable;
use microtome_inference::design::{Expectation, Expected};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::information::{Decay, Experiment, NoiseLevel};
use microtome_models::{Acquisition, FreeKind, Lowered, Model, PriorSampler, PulseTiming};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Signal-to-noise ratio where none is given, that of the warnings of `fit`.
const SNR: f64 = 30.0;
/// The stream of random numbers of the parameter sets.
const STREAM: u8 = 94;

/// Expected standard deviations of a model's parameters for an acquisition, or with
/// --optimise the acquisition within the limits of a scanner that makes them small.
#[derive(Debug, Args)]
#[command(after_help = "\
Standard deviations: cramer-rao (the least of an unbiased estimate from the data alone) and
posterior (with the prior, taken as normal) are medians over the parameter sets; expected is the
root of the mean posterior variance, prior that of the prior. A direction is the root of its mean
squared angle in degrees. The noise scale counts as known. `without shell`: how much larger
expected standard deviations become when it is left out.

Examples:
  microtome info design --model noddi --bval a.bval --bvec a.bvec --snr 30
  microtome info design --model activeax --scheme a.csv --parameters p.csv --snr 20 --out sd.csv
  microtome info design --model activeax --optimise --max-gradient-T-per-m 0.06 --shells 3 \\
    --measurements 360 --snr 20 --out scheme.csv

References: Alexander 2008, doi:10.1002/mrm.21646; Alexander et al. 2010,
doi:10.1016/j.neuroimage.2010.05.043.")]
pub(crate) struct DesignArgs {
    #[command(flatten)]
    pub(super) acquisition: AcquisitionFlags,
    #[command(flatten)]
    model: ModelFlags,
    /// Parameter sets to judge at: CSV as for `predict`; draws from the prior when left out.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Experiment")]
    parameters: Option<PathBuf>,
    /// Draws from the prior to judge at, without --parameters [default: 64; 16 with --optimise].
    #[arg(long, value_name = "N", help_heading = "Experiment")]
    prior_draws: Option<usize>,
    /// Seed of these draws and of the search.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Experiment")]
    pub(super) seed: u64,
    /// Signal of the model without diffusion weighting over the noise scale [default: 30].
    #[arg(long, value_name = "X", help_heading = "Experiment")]
    snr: Option<f64>,
    /// Noise scale in the unit of the signals (of s0), in place of --snr.
    #[arg(long, value_name = "X", help_heading = "Experiment")]
    sigma: Option<f64>,
    /// T2 of all compartments, ms: the signal falls as exp(-(TE - TE0)/T2). For models
    /// without T2 of their own.
    #[arg(long, value_name = "MS", help_heading = "Experiment")]
    t2_ms: Option<f64>,
    /// TE0, the echo time at which --snr holds [default: the shortest of the scheme].
    #[arg(long, value_name = "MS", help_heading = "Experiment")]
    snr_te_ms: Option<f64>,
    /// Standard deviations of every parameter set, or with --optimise the acquisition,
    /// which --scheme reads: CSV.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Experiment")]
    pub(super) out: Option<PathBuf>,
    /// Replaces an existing file of other content.
    #[arg(long, help_heading = "Experiment")]
    pub(super) overwrite: bool,
    #[command(flatten)]
    pub(super) search: protocol::SearchFlags,
}

impl DesignArgs {
    /// Text and JSON.
    pub(crate) fn show(&self) -> anyhow::Result<(String, Value)> {
        if let Some(out) = &self.out
            && !out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"))
        {
            bail!("--out {}: the name must end in .csv", out.display());
        }
        if self.search.optimise {
            return protocol::search(self);
        }
        self.search.check_unused()?;
        let scheme = self.acquisition.read()?;
        let experiment = self.experiment(&scheme.acquisition, 64).with_context(|| {
            format!("--model {} with {}", self.model.model, scheme.file.display())
        })?;
        let expected = Expected::of(&experiment, &scheme.acquisition)?;
        if let Some(out) = &self.out {
            settle_text("--out", out, &sets_table(&expected), self.overwrite)?;
        }
        let text = format!(
            "{}: {} measurements, {}\n\n{}\n{}",
            scheme.file.display(),
            scheme.acquisition.len(),
            self.conditions(&experiment),
            quantities_table(&expected),
            shells_table(&expected)
        );
        let mut json = expected_json(&expected);
        json["measurements"] = json!(scheme.acquisition.len());
        json["sets"] = json!(expected.sets.len());
        Ok((text, json))
    }

    /// What the judgement rests on, in words.
    pub(super) fn conditions(&self, experiment: &Experiment) -> String {
        let sets = experiment.sets().len();
        let from = match &self.parameters {
            Some(path) => format!("parameter sets of {}", path.display()),
            None => "draws from the prior".into(),
        };
        let level = match (self.snr, self.sigma) {
            (_, Some(sigma)) => format!("sigma {sigma}"),
            (snr, None) => format!("SNR {}", snr.unwrap_or(SNR)),
        };
        format!("{} noise, {level}, {sets} {from}", experiment.model().noise())
    }

    /// The model at its parameter sets.
    pub(super) fn experiment(
        &self,
        acquisition: &Acquisition,
        draws: usize,
    ) -> anyhow::Result<Experiment> {
        let level = match (self.snr, self.sigma) {
            (Some(snr), None) => NoiseLevel::Snr(snr),
            (None, Some(sigma)) => NoiseLevel::Sigma(sigma),
            (None, None) => NoiseLevel::Snr(SNR),
            (Some(_), Some(_)) => bail!("--snr and --sigma both give the noise; leave one out"),
        };
        let named = self.model.read()?;
        if named.spec.deconvolution.is_some() {
            bail!("--model csd: a deconvolution has no parameters to design for");
        }
        let (model, sets) = match &self.parameters {
            Some(_) if self.prior_draws.is_some() => {
                bail!("--parameters and --prior-draws both give parameter sets; leave one out")
            }
            Some(path) => {
                let table = ParameterTable::read(path)?;
                let model = Model::new(with_given_defaults(&named.spec, &table))?;
                let sets = Sets::new(&model, &named.spec, &table)
                    .with_context(|| path.display().to_string())?;
                let all =
                    (0..sets.rows()).map(|r| sets.row(r)).map(|(x, p)| (x.to_vec(), p.to_vec()));
                let all = all.collect();
                (model, all)
            }
            None => {
                let model = Model::new(named.spec.clone())?;
                let sets = self.drawn(&model, &named.spec, draws)?;
                (model, sets)
            }
        };
        let decay = self.decay(acquisition)?;
        let lowered = Lowered::new(Arc::new(model), acquisition)?;
        Ok(Experiment::new(&lowered, &sets, level, decay)?)
    }

    /// Draws from the prior, with s0 = 1 where its prior depends on the data.
    fn drawn(
        &self,
        model: &Model,
        spec: &microtome_models::ModelSpec,
        draws: usize,
    ) -> anyhow::Result<Vec<(Vec<f64>, Vec<f64>)>> {
        if let Some((name, _)) = model.per_voxel().first() {
            bail!("`{name}` is fixed to one value a voxel; give --parameters with its column");
        }
        let draws = self.prior_draws.unwrap_or(draws);
        if !(1..=100_000).contains(&draws) {
            bail!("--prior-draws {draws}: 1 to 100000 are possible");
        }
        let sampler = PriorSampler::new(&Model::new(spec.with_scale_priors(1.0, false))?, false)?;
        let draw = |k: usize| {
            let mut x = sampler.draw(&mut PhiloxRng::new(self.seed, k as u64, STREAM));
            for free in model.free() {
                if free.kind == FreeKind::Scale && free.prior.is_none() {
                    x[free.at] = 1.0;
                }
            }
            (x, Vec::new())
        };
        Ok((0..draws).map(draw).collect())
    }

    fn decay(&self, acquisition: &Acquisition) -> anyhow::Result<Option<Decay>> {
        for (name, time) in [("t2-ms", self.t2_ms), ("snr-te-ms", self.snr_te_ms)] {
            if let Some(t) = time
                && !(t.is_finite() && t > 0.0)
            {
                bail!("--{name} {t}: a positive number of milliseconds is needed");
            }
        }
        let Some(t2_ms) = self.t2_ms else {
            if self.snr_te_ms.is_some() {
                bail!("--snr-te-ms goes with --t2-ms");
            }
            return Ok(None);
        };
        let shortest = acquisition
            .te_ms()
            .and_then(|te| te.iter().copied().reduce(f64::min))
            .filter(|t| *t > 0.0);
        match self.snr_te_ms.or(shortest) {
            Some(reference_te_ms) => Ok(Some(Decay { t2_ms, reference_te_ms })),
            None => bail!("--t2-ms needs --snr-te-ms, the echo time at which the SNR holds"),
        }
    }
}

/// An acquisition of nothing but b = 0, for what does not depend on one.
pub(super) fn unweighted() -> anyhow::Result<Acquisition> {
    let timing = PulseTiming { delta_ms: vec![1.0], big_delta_ms: vec![1.0] };
    Ok(Acquisition::from_b(&[0.0], &[[0.0; 3]], Some(timing), Some(vec![0.0]))?)
}

/// Name, unit and factor of a quantity as it is shown: directions in degrees.
pub(super) fn shown(q: &Expectation) -> (&str, &'static str, f64) {
    if q.is_axis {
        (&q.name, "degree", 180.0 / std::f64::consts::PI)
    } else {
        (&q.name, q.unit.symbol(), 1.0)
    }
}

fn quantities_table(expected: &Expected) -> String {
    let head =
        ["parameter", "unit", "cramer-rao", "posterior", "expected", "prior", "expected/prior"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for q in &expected.quantities {
        let (name, unit, factor) = shown(q);
        rows.push(vec![
            name.into(),
            unit.into(),
            say::number(factor * q.cramer_rao),
            say::number(factor * q.typical),
            say::number(factor * q.posterior),
            say::number(factor * q.prior),
            say::number(q.posterior / q.prior),
        ]);
    }
    format!(
        "Standard deviations ({} nats gained over the prior)\n{}",
        say::number(expected.nats),
        say::table(&rows)
    )
}

fn shells_table(expected: &Expected) -> String {
    let mut head = vec!["without shell".to_string(), "measurements".into(), "nats lost".into()];
    head.extend(expected.quantities.iter().map(|q| q.name.clone()));
    let mut rows = vec![head];
    for s in &expected.shells {
        let b = if s.b > 0.0 { format!("b {}", (1000.0 * s.b).round()) } else { "b 0".into() };
        let mut row = vec![b, s.members.len().to_string(), say::number(s.nats)];
        row.extend(s.ratio.iter().map(|r| format!("{r:.2}")));
        rows.push(row);
    }
    format!(
        "Expected standard deviations without a shell over those with it\n{}",
        say::table(&rows)
    )
}

/// The expectations as JSON.
pub(super) fn expected_json(expected: &Expected) -> Value {
    let quantities: Vec<Value> = expected
        .quantities
        .iter()
        .map(|q| {
            let (name, unit, factor) = shown(q);
            json!({
                "parameter": name, "unit": unit, "sd_cramer_rao": factor * q.cramer_rao,
                "sd_posterior": factor * q.typical, "sd_expected": factor * q.posterior,
                "sd_prior": factor * q.prior,
                "relative_to_prior": q.posterior / q.prior,
            })
        })
        .collect();
    let shells: Vec<Value> = expected
        .shells
        .iter()
        .map(|s| {
            let names = expected.quantities.iter().map(|q| q.name.clone());
            let ratio: serde_json::Map<String, Value> =
                names.zip(s.ratio.iter().map(|r| json!(r))).collect();
            json!({
                "b_s_per_mm2": (s.b * 1e6).round() / 1e3, "measurements": s.members.len(),
                "nats_lost": s.nats, "sd_ratio_without": ratio,
            })
        })
        .collect();
    json!({ "quantities": quantities, "shells": shells, "information_nats": expected.nats })
}

fn sets_table(expected: &Expected) -> String {
    let mut out = String::from("set,parameter,unit,value,sd_cramer_rao,sd_posterior,sd_prior\n");
    for (k, set) in expected.sets.iter().enumerate() {
        for (i, q) in expected.quantities.iter().enumerate() {
            let (name, unit, factor) = shown(q);
            let value = set.value[i].map_or(String::new(), |v| v.to_string());
            let sd = [set.cramer_rao[i], set.posterior[i], set.prior[i]].map(|v| factor * v);
            out.push_str(&format!("{k},{name},{unit},{value},{},{},{}\n", sd[0], sd[1], sd[2]));
        }
    }
    out
}
