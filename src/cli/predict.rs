//! `microtome predict`: signals of given parameters.
//!
//! Columns become the free values of the model. A column that the model already
//! knows (linked or fixed) may stand in the table when it agrees; a parameter
//! with a default takes the value of its column where there is one.
//!
//! Validated by the tests `predict_*` in `tests/cli/`.

use super::config::{self, Setting};
use super::flags::{AcquisitionFlags, CommonFlags, ModelFlags};
use super::model::NamedModel;
use super::prior_draws::{AddedNoise, BLOCK, PriorFlags, PriorSets};
use super::{Outcome, say};
use anyhow::{Context, bail};
use arrow_array::{Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use clap::{Args, ValueHint};
use microtome_datasets::{MatrixWriter, ParameterTable, TableWriter};
use microtome_models::{
    Evaluator, FixedValue, FreeKind, LinkSpec, Lowered, Model, ModelSpec, domain_text,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sets that one task evaluates.
const SETS: usize = 256;
/// Tasks between two writes.
const TASKS: usize = 64;
/// How far fractions may be from their sum, and a given value from its link.
const TOLERANCE: f64 = 1e-6;
/// How far a direction may be from length one.
const UNIT_TOLERANCE: f64 = 1e-3;

/// Computes the signals of given parameters.
///
/// Reads a CSV table with one row a parameter set and a header of column names
/// such as stick.mu_theta, stick.mu_phi (rad; or stick.mu_x, _y, _z),
/// stick.lambda_par (um^2/ms), stick.fraction, s0. Writes one row a set and one
/// column a measurement. Linked and fixed parameters may be left out; s0 is 1
/// where it is left out, and so is the fraction of a single compartment.
///
/// With --prior-draws N the sets are draws from the prior of the model instead, and --sigma
/// adds noise.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Units: diffusivities um^2/ms (1 um^2/ms = 1e-3 mm^2/s), angles rad, signals in the unit of s0.
mu = (sin(theta) cos(phi), sin(theta) sin(phi), cos(theta)).

Example:
  microtome predict --model 'stick + ball' --scheme scheme.csv --parameters p.csv --out signals.npy
  microtome predict --model noddi --scheme scheme.csv --prior-draws 1000 --noise rician --sigma 0.04 \\
    --parameters-out p.csv --out signals.npy

References of compartments and presets: microtome info models.")]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    acquisition: AcquisitionFlags,
    #[command(flatten)]
    model: ModelFlags,
    /// Table of parameters, CSV with a header.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signals")]
    parameters: Option<PathBuf>,
    #[command(flatten)]
    prior: PriorFlags,
    /// Writes the mean over all directions, one column a shell, instead of a column a
    /// measurement. Shells are those of the `shell` column of a CSV scheme, in
    /// rising order, or else those of equal (Delta, delta, b), in this order.
    #[arg(long, help_heading = "Signals")]
    spherical_mean: bool,
    /// Signals: .npy (float64), .csv (no header) or .parquet.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Signals")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonFlags,
}

impl PredictArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        self.prior.check(self.parameters.is_some(), self.model.noise.is_some())?;
        let named = self.model.read()?;
        let scheme = self.acquisition.read()?;
        let noise = self.prior.noise(named.spec.noise.kind);
        if noise.is_some() && self.spherical_mean {
            bail!("--sigma is the noise of measurements; it does not go with --spherical-mean");
        }
        let (model, sets) = self.sets(&named)?;
        let lowered = Lowered::new(Arc::new(model), &scheme.acquisition)
            .with_context(|| format!("--model {} with {}", named.text, scheme.file.display()))?;
        let shells = self.spherical_mean.then(|| scheme.labelled_shells());
        let measurements = shells.as_ref().map_or(scheme.acquisition.len(), Vec::len);
        let what = if shells.is_some() { "shells" } else { "measurements" };
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        if self.common.dry_run {
            say::line(&format!(
                "plan of predict (nothing is written)\n  sets         {}\n  {what:<12} {measurements}\n  \
                 threads      {threads}\n  output       {}",
                sets.rows(),
                say::bytes(sets.rows() as f64 * measurements as f64 * 8.0)
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else { bail!("--out FILE is needed: .npy, .csv or .parquet") };
        if let Source::Prior(sets) = &sets {
            self.prior.check_file(&lowered.model, sets, self.common.overwrite)?;
        }
        let path = Target::new(out, self.common.overwrite)?;
        let column = if shells.is_some() { "shell" } else { "measurement" };
        let mut writer = Writer::create(&path.staged, sets.rows(), measurements, column)?;
        let written = sets
            .predict(&lowered, shells.as_deref(), noise, |rows| writer.push(rows))
            .and_then(|()| writer.finish());
        path.settle(written)?;
        if let Source::Prior(sets) = &sets {
            self.prior.write(&lowered.model, sets, self.common.overwrite)?;
        }
        if self.common.json {
            let json = serde_json::json!({
                "sets": sets.rows(), what: measurements, "out": out, "simd_level": super::input::simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "{} sets x {measurements} {what} in {}",
                sets.rows(),
                out.display()
            ));
        }
        Ok(Outcome::Done)
    }
}

impl PredictArgs {
    /// The model and the sets: of the table, or drawn from the prior.
    fn sets(&self, named: &NamedModel) -> anyhow::Result<(Model, Source)> {
        let compile = |spec| Model::new(spec).with_context(|| format!("--model {}", named.text));
        if let Some(path) = &self.parameters {
            let table = ParameterTable::read(path)?;
            let model = compile(with_given_defaults(&named.spec, &table))?;
            let sets = Sets::new(&model, &named.spec, &table)
                .with_context(|| path.display().to_string())?;
            return Ok((model, Source::Table(sets)));
        }
        let rows = self.prior.prior_draws.unwrap_or(0);
        let spec = self.prior.explicit(&named.spec);
        let scale = self.prior.scale_prior(&spec);
        if let Some(prior) = scale.filter(|_| !self.common.quiet && !self.common.json) {
            say::line(&format!("prior of {prior}"));
        }
        let model = compile(spec)?;
        let sets =
            self.prior.sets(&model, rows).with_context(|| format!("--model {}", named.text))?;
        Ok((model, Source::Prior(sets)))
    }
}

/// Where parameter sets come from.
enum Source {
    Table(Sets),
    Prior(PriorSets),
}

impl Source {
    fn rows(&self) -> usize {
        match self {
            Self::Table(sets) => sets.rows,
            Self::Prior(sets) => sets.rows,
        }
    }

    /// As [`Sets::predict`].
    fn predict(
        &self,
        lowered: &Lowered,
        shells: Option<&[Vec<usize>]>,
        noise: Option<AddedNoise>,
        mut take: impl FnMut(&[f64]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let drawn = match self {
            Self::Table(sets) => return sets.predict(lowered, shells, noise, take),
            Self::Prior(drawn) => drawn,
        };
        for first in (0..drawn.rows).step_by(BLOCK) {
            let rows = BLOCK.min(drawn.rows - first);
            let sets = Sets {
                rows,
                first,
                values: drawn.draw(&lowered.model, first..first + rows),
                width: lowered.model.values(),
                per_set: Vec::new(),
                per_set_width: 0,
            };
            sets.predict(lowered, shells, noise, &mut take)?;
        }
        Ok(())
    }
}

/// Where a file goes: it appears only when it is whole, and an existing file of
/// other content stays unless `--overwrite` is given.
struct Target {
    path: PathBuf,
    staged: PathBuf,
    keep: bool,
}

impl Target {
    fn new(path: &Path, overwrite: bool) -> anyhow::Result<Self> {
        let ending =
            path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        if !["npy", "csv", "parquet"].contains(&ending.as_str()) {
            bail!("--out {}: the name must end in .npy, .csv or .parquet", path.display());
        }
        if path.is_dir() {
            bail!("--out {}: is a folder; a file is needed", path.display());
        }
        let keep = path.exists() && !overwrite;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let staged = if keep {
            path.with_file_name(format!(".{name}.new.{ending}"))
        } else {
            path.to_path_buf()
        };
        Ok(Self { path: path.to_path_buf(), staged, keep })
    }

    fn settle(&self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        if !self.keep {
            return written;
        }
        let equal =
            written.and_then(|()| Ok(std::fs::read(&self.staged)? == std::fs::read(&self.path)?));
        let _ = std::fs::remove_file(&self.staged);
        if !equal? {
            bail!(
                "--out {}: the file exists with other content; give --overwrite to replace it",
                self.path.display()
            );
        }
        Ok(())
    }
}

/// The specification in which parameters with a default that the table gives are
/// read from the table.
pub(super) fn with_given_defaults(spec: &ModelSpec, table: &ParameterTable) -> ModelSpec {
    let mut out = spec.clone();
    for (name, c) in spec.names().into_iter().zip(&spec.compartments) {
        let Ok(kind) = spec.build(c) else { continue };
        for p in kind.parameters().iter().filter(|p| p.default.is_some()) {
            let full = format!("{name}.{}", p.name);
            if spec.link.contains_key(&full) {
                continue;
            }
            if table.column(&full).is_some() {
                out.link.insert(full, LinkSpec::Fixed(FixedValue::File(PathBuf::new())));
            } else if let Some(value) = p.default.filter(|_| p.is_nuisance()) {
                out.link.insert(full, LinkSpec::Fixed(FixedValue::Number(value)));
            }
        }
    }
    out
}

/// Parameter sets as values of a model.
pub(super) struct Sets {
    rows: usize,
    /// The number of the first.
    first: usize,
    /// `[set, value]`.
    values: Vec<f64>,
    width: usize,
    /// `[set, parameter]` for parameters that are fixed a set.
    per_set: Vec<f64>,
    per_set_width: usize,
}

impl Sets {
    pub(super) fn new(
        model: &Model,
        spec: &ModelSpec,
        table: &ParameterTable,
    ) -> anyhow::Result<Self> {
        let columns = columns(model, table)?;
        let rows = table.n_rows();
        let names = model.value_names();
        let mut sources = Vec::with_capacity(names.len());
        for name in &names {
            sources.push(match columns.get(*name) {
                Some(column) => Some(column),
                None if *name == "s0" => None,
                None => bail!("the column `{name}` is missing{}", hint(name)),
            });
        }
        let mut per_set_sources = Vec::new();
        for (name, _) in model.per_voxel() {
            let column = columns.get(name.as_str());
            per_set_sources.push(column.with_context(|| {
                format!("the column `{name}` is missing: the model fixes it to one value a voxel, here one a set is needed")
            })?);
        }
        let mut values = vec![1.0; rows * names.len()];
        let mut per_set = vec![0.0; rows * per_set_sources.len()];
        for row in 0..rows {
            for (k, source) in sources.iter().enumerate() {
                if let Some(column) = source {
                    values[row * names.len() + k] = column[row];
                }
            }
            for (k, column) in per_set_sources.iter().enumerate() {
                per_set[row * per_set_sources.len() + k] = column[row];
            }
        }
        let out = Self {
            rows,
            first: 0,
            values,
            width: names.len(),
            per_set,
            per_set_width: per_set_sources.len(),
        };
        out.check(model, spec, &columns)?;
        Ok(out)
    }

    /// Number of sets.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Values and parameters fixed to one value a set.
    pub(super) fn row(&self, row: usize) -> (&[f64], &[f64]) {
        (
            &self.values[row * self.width..(row + 1) * self.width],
            &self.per_set[row * self.per_set_width..(row + 1) * self.per_set_width],
        )
    }

    /// Domains, fractions, and columns that the model knows already.
    fn check(
        &self,
        model: &Model,
        spec: &ModelSpec,
        given: &BTreeMap<String, Vec<f64>>,
    ) -> anyhow::Result<()> {
        let domains = domains(spec);
        for (name, column) in given {
            let Some([low, high]) = domains.get(name) else { continue };
            if let Some(row) = column.iter().position(|v| !(*v >= *low && *v <= *high)) {
                bail!(
                    "row {}: `{name}` is {}; it must be {}",
                    row + 1,
                    column[row],
                    domain_text([*low, *high])
                );
            }
        }
        for free in model.free() {
            let FreeKind::Fractions { total, .. } = free.kind else { continue };
            for row in 0..self.rows {
                let fractions = &self.row(row).0[free.at..free.at + free.len];
                let sum: f64 = fractions.iter().sum();
                if (sum - total).abs() > TOLERANCE {
                    bail!("row {}: the fractions sum to {}, not 1", row + 1, sum + 1.0 - total);
                }
            }
        }
        let mut known = vec![0.0; model.columns().len()];
        for row in 0..self.rows {
            let (x, per_set) = self.row(row);
            model.fill_columns(x, per_set, &mut known);
            for (column, value) in model.columns().iter().zip(&known) {
                let Some(given) = given.get(&column.name) else { continue };
                if (given[row] - value).abs() > TOLERANCE * (1.0 + value.abs()) {
                    bail!(
                        "row {}: `{}` is {}, but the model links or fixes it to {value}; leave the column out",
                        row + 1,
                        column.name,
                        given[row]
                    );
                }
            }
        }
        Ok(())
    }

    /// Signals of all sets in order, or their means over the given groups of shells,
    /// handed over in pieces.
    fn predict(
        &self,
        lowered: &Lowered,
        shells: Option<&[Vec<usize>]>,
        noise: Option<AddedNoise>,
        mut take: impl FnMut(&[f64]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for start in (0..self.rows).step_by(SETS * TASKS) {
            let end = (start + SETS * TASKS).min(self.rows);
            let starts: Vec<usize> = (start..end).step_by(SETS).collect();
            let pieces: Vec<Vec<f64>> = starts
                .into_par_iter()
                .map_init(
                    || Evaluator::new(lowered),
                    |evaluator, s| {
                        let mut out = Vec::new();
                        for row in s..(s + SETS).min(end) {
                            let (x, per_set) = self.row(row);
                            evaluator.set_per_voxel(per_set);
                            let mut set = match shells {
                                None => signals(evaluator, x),
                                Some(groups) => means(evaluator, groups, x),
                            };
                            if let Some(noise) = &noise {
                                noise.add(self.first + row, &mut set);
                            }
                            out.extend(set);
                        }
                        out
                    },
                )
                .collect();
            for piece in pieces {
                take(&piece)?;
            }
        }
        Ok(())
    }
}

fn signals(evaluator: &mut Evaluator, x: &[f64]) -> Vec<f64> {
    let plan = evaluator.lowered().plan.clone();
    let mut out = vec![0.0; plan.measurements()];
    plan.gather(evaluator.signal(x), &mut out);
    out
}

/// The spherical mean of each group of measurements, by the shell of each.
fn means(evaluator: &mut Evaluator, groups: &[Vec<usize>], x: &[f64]) -> Vec<f64> {
    let of_shell = evaluator.spherical_means(x);
    let mean = |g: &Vec<usize>| g.iter().map(|s| of_shell[*s]).sum::<f64>() / g.len() as f64;
    groups.iter().map(mean).collect()
}

/// The columns of the table by the names of the model, angles as vectors.
fn columns(model: &Model, table: &ParameterTable) -> anyhow::Result<BTreeMap<String, Vec<f64>>> {
    let axes: Vec<&str> = model
        .columns()
        .iter()
        .filter_map(|c| c.axis_part())
        .filter(|p| p.1 == 0)
        .map(|p| p.0)
        .collect();
    let mut out = BTreeMap::new();
    for name in &table.names {
        let angle =
            ["mu_theta", "mu_phi"].iter().any(|a| axes.iter().any(|c| *name == format!("{c}.{a}")));
        if model.columns().iter().any(|c| c.name == *name) {
            out.insert(name.clone(), table.column(name).unwrap_or_default().to_vec());
        } else if !angle {
            let mut known: Vec<String> = model.columns().iter().map(|c| c.name.clone()).collect();
            known
                .extend(axes.iter().flat_map(|c| [format!("{c}.mu_theta"), format!("{c}.mu_phi")]));
            bail!("unknown column `{name}`; this model has {}", known.join(", "));
        }
    }
    for c in axes {
        let parts = ["x", "y", "z"].map(|a| format!("{c}.mu_{a}"));
        let angles = ["theta", "phi"].map(|a| format!("{c}.mu_{a}"));
        let given = |names: &[String]| names.iter().filter(|n| table.column(n).is_some()).count();
        if let (Some(theta), Some(phi)) = (table.column(&angles[0]), table.column(&angles[1])) {
            if given(&parts) > 0 {
                bail!("`{c}.mu` is given twice, as angles and as a vector; leave one of them out");
            }
            for (name, column) in angles.iter().zip([theta, phi]) {
                if let Some(row) = column.iter().position(|v| v.abs() > TAU + 1e-9) {
                    bail!(
                        "row {}: `{name}` is {}; angles are in rad, at most 2 pi",
                        row + 1,
                        column[row]
                    );
                }
            }
            let vectors =
                theta.iter().zip(phi).map(|(t, p)| [t.sin() * p.cos(), t.sin() * p.sin(), t.cos()]);
            let vectors: Vec<[f64; 3]> = vectors.collect();
            for (i, name) in parts.iter().enumerate() {
                out.insert(name.clone(), vectors.iter().map(|v| v[i]).collect());
            }
        } else if let Some(name) = angles.iter().find(|n| table.column(n).is_some()) {
            let other = if name.ends_with("theta") { &angles[1] } else { &angles[0] };
            bail!("the column `{other}` is missing: `{name}` alone is no direction");
        } else if given(&parts) == 3 {
            normalise(c, &parts, &mut out)?;
        } else if given(&parts) > 0 {
            let missing = parts.iter().find(|n| table.column(n).is_none());
            bail!(
                "the column `{}` is missing: a direction has three parts",
                missing.map_or("", |n| n)
            );
        }
    }
    Ok(out)
}

fn normalise(
    compartment: &str,
    parts: &[String; 3],
    out: &mut BTreeMap<String, Vec<f64>>,
) -> anyhow::Result<()> {
    let mut v: Vec<Vec<f64>> =
        parts.iter().map(|p| out.get(p).cloned().unwrap_or_default()).collect();
    for row in 0..v[0].len() {
        let norm = (v[0][row].powi(2) + v[1][row].powi(2) + v[2][row].powi(2)).sqrt();
        if (norm - 1.0).abs() > UNIT_TOLERANCE {
            bail!(
                "row {}: `{compartment}.mu` has length {norm}; directions are unit vectors",
                row + 1
            );
        }
        v.iter_mut().for_each(|part| part[row] /= norm);
    }
    for (name, values) in parts.iter().zip(v) {
        out.insert(name.clone(), values);
    }
    Ok(())
}

/// Physical domains by column.
fn domains(spec: &ModelSpec) -> BTreeMap<String, [f64; 2]> {
    let mut out = BTreeMap::from([("s0".to_string(), [0.0, f64::INFINITY])]);
    for (name, c) in spec.names().into_iter().zip(&spec.compartments) {
        if let Ok(kind) = spec.build(c) {
            for p in kind.parameters() {
                out.insert(format!("{name}.{}", p.name), p.domain);
            }
        }
        out.insert(format!("{name}.fraction"), [0.0, 1.0]);
    }
    out
}

fn hint(name: &str) -> String {
    match name.rsplit_once(".mu_") {
        Some((c, _)) => format!(
            "; a direction is `{c}.mu_theta`, `{c}.mu_phi` (rad) or `{c}.mu_x`, `{c}.mu_y`, `{c}.mu_z`"
        ),
        None => String::new(),
    }
}

/// A file of signals under construction.
enum Writer {
    Matrix(MatrixWriter),
    Table { writer: Box<TableWriter>, schema: Arc<Schema>, measurements: usize },
}

impl Writer {
    fn create(path: &Path, rows: usize, measurements: usize, column: &str) -> anyhow::Result<Self> {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
            let fields: Vec<Field> = (0..measurements)
                .map(|m| Field::new(format!("{column}_{m}"), DataType::Float64, false))
                .collect();
            let schema = Arc::new(Schema::new(fields));
            let writer = Box::new(TableWriter::create(path, schema.clone(), Some(SETS * TASKS))?);
            return Ok(Writer::Table { writer, schema, measurements });
        }
        Ok(Writer::Matrix(MatrixWriter::create(path, rows, measurements)?))
    }

    fn push(&mut self, rows: &[f64]) -> anyhow::Result<()> {
        match self {
            Writer::Matrix(writer) => writer.push(rows)?,
            Writer::Table { writer, schema, measurements } => {
                let n = *measurements;
                let columns = (0..n)
                    .map(|m| {
                        let column: Vec<f64> = rows.iter().skip(m).step_by(n).copied().collect();
                        Arc::new(Float64Array::from(column)) as arrow_array::ArrayRef
                    })
                    .collect();
                writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Writer::Matrix(writer) => writer.finish()?,
            Writer::Table { writer, .. } => writer.finish()?,
        }
        Ok(())
    }
}
