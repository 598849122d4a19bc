//! `microtome diagnose --compare`: which of several models of the same data predicts
//! better, voxel by voxel and over all voxels.
//!
//! Differences of elpd are of paired measurements, $\mathrm{se} = \sqrt{n\,\mathrm{var}_i(d_i)}$; over
//! voxels the squares of the errors add. Validated by `runs_are_compared` in `tests/cli/`.

use super::criteria::{Row, Rows};
use super::record::{self, Record};
use super::{Outcome, say};
use anyhow::{Context, bail};
use arrow_array::{Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use clap::{Args, ValueHint};
use microtome_datasets::TableWriter;
use microtome_inference::comparison::{model_probabilities, stacking_weights};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Terms that the stacking over all voxels takes in at most, of each model.
const STACKED_TERMS: usize = 4_000_000;
/// Rows of a batch of the table.
const CHUNK: usize = 16_384;
/// A difference of elpd that is larger than this many of its errors is clear.
const ERRORS: f64 = 2.0;

/// A Monte Carlo error (nat) above which an evidence is uncertain.
const UNCERTAIN: f64 = 0.5;

/// The comparison of runs.
#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// Compares two or more runs of `sample --criteria` on the same data, instead of checking one.
    #[arg(long, value_name = "DIR", num_args = 2.., value_hint = ValueHint::DirPath)]
    pub(crate) compare: Vec<PathBuf>,
}

/// A run that takes part.
struct Run {
    name: String,
    record: Record,
    rows: Rows,
}

/// One model over all voxels.
#[derive(Debug, Clone, Default)]
struct Total {
    elpd: f64,
    /// Sum of elpd minus that of the first model, and the square of its error.
    difference: [f64; 2],
    best: u64,
    clearly_best: u64,
    weight: f64,
    probable: u64,
    clearly_probable: u64,
    probability: f64,
    ln_evidence: f64,
    khat_voxels: u64,
    misfit: u64,
    not_mixed: u64,
    terms: Vec<f64>,
}

/// What the voxels say.
#[derive(Debug, Default)]
struct Comparison {
    voxels: u64,
    skipped: u64,
    /// Voxels where an evidence was taken from Laplace's approximation, or is missing.
    laplace: u64,
    no_evidence: u64,
    /// Voxels where the evidence of some model has a large Monte Carlo error.
    uncertain: u64,
    measurements: usize,
    models: Vec<Total>,
    whole: Vec<f64>,
    every: usize,
}

/// One voxel: what each model says in it.
struct Verdict {
    difference: Vec<[f64; 2]>,
    weights: Vec<f64>,
    ln_evidence: Vec<f64>,
    probabilities: Vec<f64>,
}

impl CompareFlags {
    pub(crate) fn run(
        &self,
        out: Option<&Path>,
        overwrite: bool,
        as_json: bool,
    ) -> anyhow::Result<Outcome> {
        if let Some(path) = out {
            if path.extension().is_none_or(|e| e != "parquet") {
                bail!("--out {}: a table; its name must end in .parquet", path.display());
            }
            if path.exists() && !overwrite {
                bail!(
                    "--out {}: the file exists; choose another name, or give --overwrite",
                    path.display()
                );
            }
        }
        let mut runs = open(&self.compare)?;
        let mut out = match out {
            Some(path) => Some(Table::create(path)?),
            None => None,
        };
        let comparison = compare(&mut runs, out.as_mut())?;
        if let Some(table) = out {
            table.finish()?;
        }
        let notes = notes(&runs, &comparison);
        if as_json {
            say::line(&comparison.json(&runs, &notes).to_string());
        } else {
            say::text(&comparison.text(&runs));
            say::line("");
            for sentence in comparison.sentences(&runs) {
                say::line(&sentence);
            }
            for note in notes {
                say::line(&format!("Note: {note}"));
            }
        }
        Ok(Outcome::Done)
    }
}

fn open(folders: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::with_capacity(folders.len());
    for folder in folders {
        if !folder.is_dir() {
            bail!("{}: is not a folder; give the --out folders of sample", folder.display());
        }
        let rows = Rows::open(folder)?;
        let record = Record::read(&folder.join(record::name(None)))?;
        runs.push(Run { name: record.model.clone(), record, rows });
    }
    // Runs of one model are told apart by their folders.
    let models: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
    for (run, folder) in runs.iter_mut().zip(folders) {
        if models.iter().filter(|m| **m == run.name).count() > 1 {
            run.name = folder.display().to_string();
        }
    }
    Ok(runs)
}

/// The next voxel of all runs; an error where they are not of the same data.
fn next(runs: &mut [Run]) -> anyhow::Result<Option<Vec<Row>>> {
    let mut rows = Vec::with_capacity(runs.len());
    for run in runs.iter_mut() {
        rows.push(run.rows.next()?);
    }
    let names: Vec<&str> = runs.iter().map(|r| r.name.as_str()).collect();
    if rows.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut found: Vec<Row> = Vec::with_capacity(rows.len());
    for (row, name) in rows.into_iter().zip(&names) {
        let Some(row) = row else {
            bail!(
                "{name} has fewer voxels than another run; compare runs on the same data and mask"
            );
        };
        if let Some(first) = found.first() {
            if row.voxel != first.voxel {
                bail!(
                    "{name} has voxel {} where {} has voxel {}; compare runs on the same data and mask",
                    row.voxel,
                    names[0],
                    first.voxel
                );
            }
            if row.measurements != first.measurements {
                bail!(
                    "{name} describes {} numbers a voxel and {} describes {} (a model of spherical means describes the means of shells); \
                     densities of different data can't be compared",
                    row.measurements,
                    names[0],
                    first.measurements
                );
            }
            if row.hash != first.hash {
                bail!(
                    "voxel {}: the measurements of {name} are not those of {}; compare runs on the same data",
                    row.voxel,
                    names[0]
                );
            }
        }
        found.push(row);
    }
    Ok(Some(found))
}

fn compare(runs: &mut [Run], mut out: Option<&mut Table>) -> anyhow::Result<Comparison> {
    let names: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
    let rows = runs.iter().map(|r| r.record.rows).max().unwrap_or(0);
    let mut comparison = Comparison {
        models: vec![Total::default(); runs.len()],
        every: 1,
        ..Comparison::default()
    };
    let mut seen = 0;
    while let Some(rows_here) = next(runs)? {
        comparison.measurements = rows_here[0].measurements;
        comparison.every = (rows * comparison.measurements).div_ceil(STACKED_TERMS).max(1);
        let finite = rows_here.iter().all(|r| r.elpd.is_finite());
        let verdict = finite.then(|| judge(&rows_here));
        if let Some(out) = out.as_deref_mut() {
            out.push(&names, &rows_here, verdict.as_ref())?;
        }
        match verdict {
            Some(v) => comparison.add(&rows_here, &v, seen),
            None => comparison.skipped += 1,
        }
        seen += 1;
    }
    if comparison.voxels == 0 {
        bail!("no voxel has a result in all runs; there is nothing to compare");
    }
    let terms: Vec<&[f64]> = comparison.models.iter().map(|m| m.terms.as_slice()).collect();
    comparison.whole = stacking_weights(&terms);
    Ok(comparison)
}

/// Elpd minus that of the best model with its error, weights and probabilities.
fn judge(rows: &[Row]) -> Verdict {
    let best = largest(rows.iter().map(|r| r.elpd));
    let terms: Vec<&[f64]> = rows.iter().map(|r| r.terms.as_slice()).collect();
    let bridged: Vec<f64> = rows.iter().map(|r| r.ln_evidence).collect();
    let laplace = || rows.iter().map(|r| r.ln_evidence_laplace).collect();
    // One kind of evidence for all models of a voxel.
    let ln_evidence: Vec<f64> =
        if bridged.iter().all(|e| e.is_finite()) { bridged } else { laplace() };
    Verdict {
        difference: rows.iter().map(|r| difference(&r.terms, &rows[best].terms)).collect(),
        weights: stacking_weights(&terms),
        probabilities: model_probabilities(&ln_evidence),
        ln_evidence,
    }
}

/// The sum of paired differences and its standard error.
fn difference(a: &[f64], b: &[f64]) -> [f64; 2] {
    let d: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let sum: f64 = d.iter().sum();
    let mean = sum / d.len() as f64;
    [sum, d.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>().sqrt()]
}

/// The index of the largest number.
fn largest(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(k, _)| k)
}

impl Comparison {
    fn add(&mut self, rows: &[Row], verdict: &Verdict, seen: usize) {
        self.voxels += 1;
        let best = largest(rows.iter().map(|r| r.elpd));
        // The closest rival decides whether the best is clearly so.
        let clear =
            verdict.difference.iter().enumerate().all(|(k, [d, se])| k == best || -d > ERRORS * se);
        self.models[best].best += 1;
        self.models[best].clearly_best += u64::from(clear);
        let known = verdict.probabilities.iter().all(|p| p.is_finite());
        self.no_evidence += u64::from(!known);
        self.uncertain += u64::from(known && rows.iter().any(|r| r.ln_evidence_mcse > UNCERTAIN));
        self.laplace += u64::from(known && rows.iter().any(|r| !r.ln_evidence.is_finite()));
        if known {
            let k = largest(verdict.probabilities.iter().copied());
            self.models[k].probable += 1;
            self.models[k].clearly_probable += u64::from(verdict.probabilities[k] > 0.95);
        }
        for (k, (model, row)) in self.models.iter_mut().zip(rows).enumerate() {
            model.elpd += row.elpd;
            let [d, se] = difference(&row.terms, &rows[0].terms);
            model.difference[0] += d;
            model.difference[1] += se * se;
            model.weight += verdict.weights[k];
            if known {
                model.probability += verdict.probabilities[k];
                model.ln_evidence += verdict.ln_evidence[k];
            }
            model.khat_voxels += u64::from(row.khats_high > 0);
            model.misfit += u64::from(row.ppp_chi2 < 0.01);
            model.not_mixed += u64::from(row.status != "converged");
            if seen.is_multiple_of(self.every) {
                model.terms.extend_from_slice(&row.terms);
            }
        }
    }

    fn text(&self, runs: &[Run]) -> String {
        let n = self.voxels as f64;
        let with_evidence = (self.voxels - self.no_evidence) as f64;
        let percent = |count: u64| format!("{:.1} %", 100.0 * count as f64 / n);
        let header = [
            "model",
            "elpd_loo",
            "difference",
            "best",
            "clearly",
            "stacking",
            "stacking (all)",
            "probability",
            "most probable",
            "p < 0.01",
            "k-hat high",
        ];
        let mut rows = vec![header.map(String::from).to_vec()];
        for (k, (run, m)) in runs.iter().zip(&self.models).enumerate() {
            let [d, square] = m.difference;
            rows.push(vec![
                run.name.clone(),
                format!("{:.1}", m.elpd),
                if k == 0 { "0".into() } else { format!("{d:+.1} +- {:.1}", square.sqrt()) },
                percent(m.best),
                percent(m.clearly_best),
                format!("{:.3}", m.weight / n),
                format!("{:.3}", self.whole[k]),
                say::number(m.probability / with_evidence),
                percent(m.probable),
                percent(m.misfit),
                percent(m.khat_voxels),
            ]);
        }
        say::table(&rows)
    }

    fn sentences(&self, runs: &[Run]) -> Vec<String> {
        let mut out = Vec::new();
        let of = |n: u64| format!("{n} of {} voxels", self.voxels);
        let best = largest(self.models.iter().map(|m| m.elpd));
        let name = |k: usize| runs[k].name.as_str();
        out.push(format!(
            "By leaving measurements out, {} predicts best in {}; in {} of them by more than {ERRORS} standard errors.",
            name(best), of(self.models[best].best), self.models[best].clearly_best
        ));
        for (k, m) in self.models.iter().enumerate().skip(1) {
            let [d, square] = m.difference;
            let (se, word) = (square.sqrt(), if d > 0.0 { "better" } else { "worse" });
            let firm = if d.abs() > ERRORS * se { "" } else { ", which is not a clear difference" };
            out.push(format!(
                "Over all voxels {} predicts {word} than {} by {:.1} +- {se:.1} nats ({:.3} nats a measurement){firm}.",
                name(k), name(0), d.abs(),
                d.abs() / (self.voxels as f64 * self.measurements as f64)
            ));
        }
        let weights: Vec<String> =
            (0..runs.len()).map(|k| format!("{} {:.3}", name(k), self.whole[k])).collect();
        out.push(format!(
            "One mixture of predictions for all voxels weighs best as {} (stacking{}).",
            weights.join(", "),
            if self.every > 1 {
                format!("; of every {}th voxel", self.every)
            } else {
                String::new()
            }
        ));
        if self.no_evidence < self.voxels {
            let k = largest(self.models.iter().map(|m| m.probable as f64));
            out.push(format!(
                "By the evidence, with equal prior probabilities, {} is the most probable model in {}; its probability is above 0.95 in {} of them.",
                name(k), of(self.models[k].probable), self.models[k].clearly_probable
            ));
        }
        for (k, m) in self.models.iter().enumerate() {
            // By chance one voxel in a hundred, at most.
            if m.misfit as f64 > 0.02 * self.voxels as f64 {
                out.push(format!(
                    "{} does not describe the data in {}: their residuals scatter more than the noise (predictive p below 0.01).",
                    name(k), of(m.misfit)
                ));
            }
        }
        out
    }

    fn json(&self, runs: &[Run], notes: &[String]) -> serde_json::Value {
        let n = self.voxels as f64;
        let models: Vec<_> = runs
            .iter()
            .zip(&self.models)
            .enumerate()
            .map(|(k, (run, m))| {
                json!({
                    "model": run.name, "elpd_loo": m.elpd, "elpd_diff": m.difference[0],
                    "elpd_diff_se": m.difference[1].sqrt(), "best": m.best, "clearly_best": m.clearly_best,
                    "stacking": m.weight / n, "stacking_all": self.whole[k],
                    "probability": m.probability / (self.voxels - self.no_evidence).max(1) as f64,
                    "most_probable": m.probable, "probable_above_95": m.clearly_probable,
                    "ln_evidence": m.ln_evidence, "khat_high_voxels": m.khat_voxels,
                    "ppp_chi2_below_01": m.misfit, "not_converged": m.not_mixed,
                })
            })
            .collect();
        json!({
            "voxels": self.voxels, "skipped": self.skipped, "measurements": self.measurements,
            "models": models, "sentences": self.sentences(runs), "notes": notes,
        })
    }
}

/// What limits the comparison.
fn notes(runs: &[Run], comparison: &Comparison) -> Vec<String> {
    let mut out = Vec::new();
    if comparison.skipped > 0 {
        out.push(format!(
            "voxels left out, because some run has no result in them: {}.",
            comparison.skipped
        ));
    }
    for (run, m) in runs.iter().zip(&comparison.models) {
        if m.khat_voxels > 0 {
            out.push(format!(
                "{}: voxels where the k-hat of some measurement is too high: {}; their elpd_loo is optimistic, so trust differences of a few nats by the evidence only.",
                run.name, m.khat_voxels
            ));
        }
        if m.not_mixed > 0 {
            out.push(format!(
                "{}: voxels that are not converged: {}; see microtome diagnose.",
                run.name, m.not_mixed
            ));
        }
    }
    if comparison.laplace > 0 {
        out.push(format!(
            "voxels where the evidence is Laplace's, because the bridge has no result for some model: {}.",
            comparison.laplace
        ));
    }
    if comparison.uncertain > 0 {
        out.push(format!(
            "voxels where the evidence of some model has a Monte Carlo error above {UNCERTAIN} nats: {}; draw more, or see whether its chains mix.",
            comparison.uncertain
        ));
    }
    let priors = |run: &Run| run.record.data_dependent_priors.clone();
    let first = priors(&runs[0]);
    if runs.iter().any(|r| priors(r) != first) {
        out.push(
            "the runs differ in the priors that are set from the data (run.json); part of the difference in evidence is theirs.".into(),
        );
    } else if !first.is_empty() {
        out.push(format!(
            "the same default priors are set from each voxel's data in all runs ({}): they hardly matter for differences of evidence, but the evidence itself has no meaning.",
            first.join("; ")
        ));
    }
    out
}

/// `--out`.
struct Table {
    writer: TableWriter,
    schema: Arc<Schema>,
    voxel: Vec<i64>,
    model: Vec<String>,
    status: Vec<String>,
    numbers: Vec<Vec<f64>>,
    high: Vec<i32>,
    ijk: [Vec<Option<i32>>; 3],
}

/// The numbers of a row.
const NUMBERS: [(&str, &str); 11] = [
    ("elpd_loo", "nat"),
    ("p_loo", "1"),
    ("elpd_diff", "nat"),
    ("elpd_diff_se", "nat"),
    ("weight_stacking", "1"),
    ("ln_evidence", "nat"),
    ("ln_evidence_mcse", "nat"),
    ("probability", "1"),
    ("khat_loo", "1"),
    ("ppp_chi2", "1"),
    ("ppp_max", "1"),
];

impl Table {
    fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let mut fields = vec![Field::new("voxel", DataType::Int64, false)];
        fields.extend(["i", "j", "k"].map(|a| Field::new(a, DataType::Int32, true)));
        fields.push(Field::new("model", DataType::Utf8, false));
        fields.push(Field::new("status", DataType::Utf8, false));
        for (name, unit) in NUMBERS {
            let metadata = [("unit".to_string(), unit.to_string())].into();
            fields.push(Field::new(name, DataType::Float64, false).with_metadata(metadata));
        }
        fields.push(Field::new("n_khat_high", DataType::Int32, false));
        let schema = Arc::new(Schema::new(fields));
        let writer = TableWriter::create(path, schema.clone(), None)
            .with_context(|| path.display().to_string())?;
        Ok(Self {
            writer,
            schema,
            voxel: Vec::new(),
            model: Vec::new(),
            status: Vec::new(),
            numbers: vec![Vec::new(); NUMBERS.len()],
            high: Vec::new(),
            ijk: Default::default(),
        })
    }

    fn push(
        &mut self,
        names: &[String],
        rows: &[Row],
        verdict: Option<&Verdict>,
    ) -> anyhow::Result<()> {
        for (k, row) in rows.iter().enumerate() {
            self.voxel.push(row.voxel);
            for (axis, list) in self.ijk.iter_mut().enumerate() {
                list.push(row.ijk.map(|v| v[axis]));
            }
            self.model.push(names[k].clone());
            self.status.push(row.status.clone());
            self.high.push(row.khats_high);
            let of = |get: &dyn Fn(&Verdict) -> f64| verdict.map_or(f64::NAN, get);
            let numbers = [
                row.elpd,
                row.p,
                of(&|v| v.difference[k][0]),
                of(&|v| v.difference[k][1]),
                of(&|v| v.weights[k]),
                of(&|v| v.ln_evidence[k]),
                row.ln_evidence_mcse,
                of(&|v| v.probabilities[k]),
                row.khat,
                row.ppp_chi2,
                row.ppp_max,
            ];
            for (column, value) in self.numbers.iter_mut().zip(numbers) {
                column.push(value);
            }
        }
        if self.voxel.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        use std::mem::take;
        let mut columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(Int64Array::from(take(&mut self.voxel)))];
        for list in &mut self.ijk {
            columns.push(Arc::new(Int32Array::from(take(list))));
        }
        for words in [&mut self.model, &mut self.status] {
            columns.push(Arc::new(StringArray::from_iter_values(take(words))));
        }
        for list in &mut self.numbers {
            columns.push(Arc::new(Float64Array::from(take(list))));
        }
        columns.push(Arc::new(Int32Array::from(take(&mut self.high))));
        Ok(self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        Ok(self.writer.finish()?)
    }
}
