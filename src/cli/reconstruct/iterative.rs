//! The methods that take steps.

use super::{Job, Method, Outcome, of_file};
use crate::cli::blocks::STOP;
use crate::cli::project::Precision;
use crate::cli::{say, voxelwise};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use microtome_datasets::{
    Array, Checkpoint, TableReader, Values, content_hash, write_array, write_table,
};
use microtome_inference::reconstruct::{
    Algorithm, Ended, HistoryRow, Problem, Reconstruction, Settings, Snapshot, StoppingRule,
    default_tv_weight, history_table, model_deviation, noise_level, with_model_deviation,
};
use microtome_kernels::ray::Real;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Metadata of the history that says of which run it is.
const IDENTITY: &str = "microtome.identity";
/// Between two checkpoints of a run that is not stopped.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Flags of the iterative methods.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Iterative methods")]
pub(super) struct IterativeFlags {
    /// Most iterations; docs/iterative.md lists what each method takes by itself.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    iterations: Option<usize>,
    /// Keeps every voxel at 0 or above.
    #[arg(long)]
    nonneg: bool,
    /// Inverse variances of the projections, .npy of their shape; 0 leaves a value out.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) weights: Option<PathBuf>,
    /// Standard deviation of what voxels miss of the projections, added to that of --weights;
    /// auto finds it [default: auto for fista_tv and pdhg_tv, else 0].
    #[arg(long, value_name = "X", requires = "weights")]
    model_sd: Option<String>,
    /// Weight of the total variation, in the unit of the objective [default: by a rule].
    #[arg(long, value_name = "X")]
    pub(super) tv_weight: Option<f64>,
    /// A volume to start from, .npy [default: zeros; ones for mlem and osem].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    init: Option<PathBuf>,
    /// Stops when the relative change of the volume is at most this.
    #[arg(long, value_name = "X")]
    relative_change: Option<f64>,
    /// Stops when the residual is X times what noise of the variances of --weights leaves.
    #[arg(long, value_name = "X", requires = "weights")]
    discrepancy: Option<f64>,
    /// Subsets of views of os_sart, osem and the pocs family [default: by the method].
    #[arg(long, value_name = "N")]
    subsets: Option<usize>,
    /// Factor of the update of sirt, the sart and the pocs family, below 2 [default: 1].
    #[arg(long, value_name = "X")]
    relaxation: Option<f64>,
    /// Steps of descent of the pocs family, inner steps of fista_tv [default: 20].
    #[arg(long, value_name = "N")]
    tv_iterations: Option<usize>,
    /// Length of a step of descent of the pocs family as a share of what the data moved
    /// [default: 0.02].
    #[arg(long, value_name = "X")]
    tv_step: Option<f64>,
}

impl IterativeFlags {
    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            (self.iterations.is_some(), "--iterations"),
            (self.nonneg, "--nonneg"),
            (self.weights.is_some(), "--weights"),
            (self.model_sd.is_some(), "--model-sd"),
            (self.tv_weight.is_some(), "--tv-weight"),
            (self.init.is_some(), "--init"),
            (self.relative_change.is_some(), "--relative-change"),
            (self.discrepancy.is_some(), "--discrepancy"),
            (self.subsets.is_some(), "--subsets"),
            (self.relaxation.is_some(), "--relaxation"),
            (self.tv_iterations.is_some(), "--tv-iterations"),
            (self.tv_step.is_some(), "--tv-step"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

impl IterativeFlags {
    /// Refuses what the method would leave alone.
    fn check_taken_by(&self, method: Algorithm) -> anyhow::Result<()> {
        use Algorithm::{AsdPocs, AwtvPocs, FistaTv, OsSart, Osem, PdhgTv, Sart, Sirt, TvPocs};
        let all: [(bool, &str, &[Algorithm]); 5] = [
            (self.tv_weight.is_some(), "--tv-weight", &[FistaTv, PdhgTv]),
            (self.subsets.is_some(), "--subsets", &[OsSart, Osem, TvPocs, AsdPocs, AwtvPocs]),
            (
                self.relaxation.is_some(),
                "--relaxation",
                &[Sirt, Sart, OsSart, TvPocs, AsdPocs, AwtvPocs],
            ),
            (
                self.tv_iterations.is_some(),
                "--tv-iterations",
                &[TvPocs, AsdPocs, AwtvPocs, FistaTv],
            ),
            (self.tv_step.is_some(), "--tv-step", &[TvPocs, AsdPocs, AwtvPocs]),
        ];
        for (given, flag, takers) in all {
            if given && !takers.contains(&method) {
                let names: Vec<&str> = takers.iter().map(|m| m.name()).collect();
                let hint = match (flag, method) {
                    ("--subsets", Sart) => "; sart goes view by view, os_sart by subsets",
                    _ => "",
                };
                let (names, method) = (names.join(", "), method.name());
                bail!("{flag} is for {names}; --method {method} has none{hint}");
            }
        }
        Ok(())
    }
}

/// A number type that arrays have.
trait Stored: Real {
    fn of(values: Values) -> Vec<Self>;
    fn into(values: Vec<Self>) -> Values;
    /// The bits, for a hash.
    fn bytes(values: &[Self]) -> Vec<u8>;
}

impl Stored for f32 {
    fn of(values: Values) -> Vec<Self> {
        values.into_f32()
    }
    fn into(values: Vec<Self>) -> Values {
        Values::F32(values)
    }
    fn bytes(values: &[Self]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

impl Stored for f64 {
    fn of(values: Values) -> Vec<Self> {
        values.into_f64()
    }
    fn into(values: Vec<Self>) -> Values {
        Values::F64(values)
    }
    fn bytes(values: &[Self]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

pub(super) fn run(job: &Job<'_>, method: Algorithm, y: Values) -> anyhow::Result<Outcome> {
    if let Some(flag) = job.args.analytic.given() {
        bail!("{flag} is of the direct methods; --method {} does not take it", method.name());
    }
    match job.precision {
        Precision::F32 => compute::<f32>(job, method, y),
        Precision::F64 => compute::<f64>(job, method, y),
    }
}

fn compute<T: Stored>(job: &Job<'_>, method: Algorithm, y: Values) -> anyhow::Result<Outcome> {
    let (args, flags) = (job.args, &job.args.iterative);
    let read = |flag: &str, path: &Option<PathBuf>, shape: &[usize]| {
        let Some(path) = path else { return Ok(None) };
        args.read(flag, path, shape).map(|a| Some(<T as Stored>::of(a.values)))
    };
    let weights = flags.weights.as_ref().map(|path| args.read_weights(path, &job.set_up));
    let mut weights = weights.transpose()?.map(<T as Stored>::of);
    let init = read("init", &flags.init, &job.set_up.volume.shape())?;
    let transform = job.set_up.clone().transform()?;
    let mut y = <T as Stored>::of(y);
    // The rows of rays that are left out are zero: so are their projections.
    for (ray, _) in transform.mask().iter().flat_map(|m| m.iter().enumerate()).filter(|r| *r.1 == 0)
    {
        y[ray] = T::default();
        if let Some(w) = &mut weights {
            w[ray] = T::default();
        }
    }
    let mut problem =
        Problem::new(&transform, &y).map_err(of_file("projections", args.projections_path()))?;
    if let (Some(w), Some(path)) = (&weights, &flags.weights) {
        problem = problem.with_weights(w).map_err(of_file("weights", path))?;
    }
    if let (Some(x), Some(path)) = (&init, &flags.init) {
        problem = problem.with_start(x).map_err(of_file("init", path))?;
    }
    if flags.nonneg {
        problem = problem.with_bounds(0.0, f64::INFINITY)?;
    }
    let iterations = flags.iterations.unwrap_or(method.default_iterations());
    if iterations == 0 {
        bail!("--iterations 0: at least 1 is needed");
    }
    let defaults = Settings::default();
    let mut settings = Settings {
        relaxation: flags.relaxation.unwrap_or(defaults.relaxation),
        subsets: flags.subsets,
        tv_weight: flags.tv_weight,
        tv_iterations: flags.tv_iterations.unwrap_or(defaults.tv_iterations),
        tv_step: flags.tv_step.unwrap_or(defaults.tv_step),
        ..defaults
    };
    flags.check_taken_by(method)?;
    for (flag, value) in
        [("relative-change", flags.relative_change), ("discrepancy", flags.discrepancy)]
    {
        if let Some(v) = value.filter(|v| !(v.is_finite() && *v >= 0.0)) {
            bail!("--{flag} {v}: a finite number of at least 0 is needed");
        }
    }
    let model_sd = model_deviation_of(flags.model_sd.as_deref(), method)?;
    let enough = (problem.n_counted() as f64).sqrt();
    let rule = StoppingRule {
        iterations,
        relative_change: flags.relative_change,
        residual_norm: flags.discrepancy.map(|tau| tau * enough),
    };
    if args.common.dry_run {
        job.plan(method.name(), &[("iterations", iterations.to_string())]);
        return Ok(Outcome::Done);
    }
    let Some(out) = job.out else { bail!("--out FILE is needed, a .npy file") };
    let files = Files::beside(out)?;
    let model_sd: f64 = match model_sd {
        Some(deviation) => deviation,
        None => model_deviation(&problem)?,
    };
    let softened = weights.as_deref().filter(|_| model_sd.gt(&0.0));
    let softened = softened.map(|w| with_model_deviation(w, model_sd));
    if let Some(w) = &softened {
        problem = problem.with_weights(w)?;
    }
    if method.takes_tv_weight() && settings.tv_weight.is_none() {
        settings.tv_weight = Some(default_tv_weight(&problem)?);
        if weights.is_some() && !args.common.quiet {
            warn_of_scale(noise_level(&problem));
        }
    }
    // Everything that decides the bits.
    let words = format!(
        "{} {:?} {rule:?} {settings:?} {model_sd:?} {} {} {:?}",
        method.name(),
        job.precision,
        flags.nonneg,
        env!("CARGO_PKG_VERSION"),
        crate::cli::input::simd()
    );
    let set_up = format!("{:?}", job.set_up);
    let [weights_bytes, init_bytes] =
        [&weights, &init].map(|v| v.as_deref().map(T::bytes).unwrap_or_default());
    let identity = content_hash(&[
        words.as_bytes(),
        set_up.as_bytes(),
        &T::bytes(&y),
        &weights_bytes,
        &init_bytes,
    ]);
    drop((weights_bytes, init_bytes));
    if out.exists() && !args.common.overwrite {
        let same = TableReader::open(&files.history)
            .is_ok_and(|t| t.schema().metadata().get(IDENTITY) == Some(&identity));
        if !same {
            bail!(
                "--out {}: the file exists and is not of this run; give --overwrite to replace it",
                out.display()
            );
        }
        if !args.common.quiet {
            say::note(&format!("{} is finished; nothing to do", out.display()));
        }
        job.conclude(
            Method::Iterative(method),
            out,
            serde_json::json!({ "history": files.history }),
        );
        return Ok(Outcome::Done);
    }
    voxelwise::catch_interrupts()?;
    let mut run = Reconstruction::new(method, &problem, &settings)?;
    if let Some(found) = Checkpoint::read(&files.checkpoint).filter(|c| c.identity == identity) {
        let snapshot = snapshot_of::<T>(found);
        let made = snapshot.history.len();
        if run.restore(snapshot).is_ok() && !args.common.quiet {
            say::note(&format!("{made} of {iterations} iterations were made before"));
        }
    }
    let progress = Progress::new(iterations, args.common.quiet);
    let (mut kept, mut failed) = (Instant::now(), None);
    let ended = run.run(&rule, &mut |run| {
        progress.show(run.history());
        let stop = STOP.load(Ordering::Relaxed);
        if stop || kept.elapsed() > CHECKPOINT_EVERY {
            kept = Instant::now();
            let written = checkpoint_of(run.snapshot(), &identity).write(&files.checkpoint);
            if let Err(e) = written {
                failed = Some(e);
                return ControlFlow::Break(());
            }
        }
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    drop(progress);
    if let Some(e) = failed {
        return Err(e.into());
    }
    let made = run.history().len();
    if ended == Ended::Interrupted {
        say::note(&format!(
            "interrupted after {made} of {iterations} iterations, kept in {}; the same line again resumes",
            files.checkpoint.display()
        ));
        return Ok(Outcome::Interrupted);
    }
    let values = <T as Stored>::into(run.image().to_vec());
    let result = Array { shape: problem.volume_shape().to_vec(), values };
    let grid = Some(&job.set_up.volume);
    write_array(&result, grid, out, args.common.overwrite).context("--out")?;
    let mut metadata = HashMap::from([
        ("microtome.method".to_string(), method.name().to_string()),
        ("microtome.ended".to_string(), ended.name().to_string()),
        (IDENTITY.to_string(), identity),
    ]);
    if let (Some(w), true) = (settings.tv_weight, method.takes_tv_weight()) {
        metadata.insert("microtome.tv_weight".into(), w.to_string());
    }
    if weights.is_some() {
        metadata.insert("microtome.model_sd".into(), model_sd.to_string());
    }
    let table = history_table(run.history(), metadata)?;
    write_table(&files.history, table.schema(), &[table])?;
    let _ = std::fs::remove_file(&files.checkpoint);
    let last = run.history().last().map(|r| r.residual_norm);
    job.conclude(
        Method::Iterative(method),
        out,
        serde_json::json!({
            "iterations": made, "ended": ended.name(), "residual_norm": last,
            "tv_weight": settings.tv_weight, "history": files.history,
            "model_sd": weights.as_ref().map(|_| model_sd),
        }),
    );
    if !args.common.quiet && !args.common.json {
        let weight = settings.tv_weight.map(|w| format!(", weight of the variation {w:.4}"));
        let weight = weight.unwrap_or_default();
        say::line(&format!("  {made} iterations{weight}; rows in {}", files.history.display()));
    }
    Ok(Outcome::Done)
}

/// Weights that are no inverse variances make a weight of the variation that is as wrong; what
/// neighbouring pixels differ by tells. Edges and errors of single pixels are noise there, too, so that
/// a factor of 2 says nothing.
fn warn_of_scale(found: f64) {
    if found > 0.0 && !(0.5..=2.0).contains(&found) {
        say::note(&format!(
            "reconstruct: the noise of --projections is {} times what --weights says; the weight of the variation is chosen for that of --weights, so if these are no inverse variances, scale them by {} or give --tv-weight",
            say::number(found),
            say::number(1.0 / (found * found))
        ));
    }
}

/// The deviation of the model that is asked for; nothing where it is to be found.
fn model_deviation_of(flag: Option<&str>, method: Algorithm) -> anyhow::Result<Option<f64>> {
    match flag {
        None => Ok((!method.takes_tv_weight()).then_some(0.0)),
        Some("auto") => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(v) if v.is_finite() && v >= 0.0 => Ok(Some(v)),
            _ => bail!("--model-sd {text}: a finite number of at least 0 or auto is needed"),
        },
    }
}

/// What stands beside the volume.
struct Files {
    history: PathBuf,
    checkpoint: PathBuf,
}

impl Files {
    fn beside(out: &Path) -> anyhow::Result<Self> {
        let name = out.file_name().context("--out: the name of a file is needed")?;
        let name = name.to_string_lossy();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
        Ok(Self {
            history: out.with_file_name(format!("{stem}.history.parquet")),
            checkpoint: out.with_file_name(format!("{name}.checkpoint")),
        })
    }
}

/// The name of the rows of the history among the numbers of a checkpoint.
const HISTORY: &str = "history";

fn checkpoint_of<T: Stored>(snapshot: Snapshot<T>, identity: &str) -> Checkpoint {
    let rows = snapshot.history.iter().flat_map(HistoryRow::numbers).collect();
    let mut numbers = vec![(HISTORY.to_string(), rows)];
    numbers.extend(snapshot.numbers);
    let arrays = snapshot.arrays.into_iter().map(|(n, v)| (n, <T as Stored>::into(v))).collect();
    Checkpoint { identity: identity.to_string(), numbers, arrays }
}

fn snapshot_of<T: Stored>(mut found: Checkpoint) -> Snapshot<T> {
    let rows = if found.numbers.is_empty() { Vec::new() } else { found.numbers.remove(0).1 };
    let rows = rows.as_chunks::<5>().0.iter().enumerate();
    let history = rows.map(|(k, row)| HistoryRow::of(k + 1, *row)).collect();
    let arrays = found.arrays.into_iter().map(|(n, v)| (n, <T as Stored>::of(v))).collect();
    Snapshot { history, numbers: found.numbers, arrays }
}

/// A bar on a terminal, else a line every ten seconds.
struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    iterations: usize,
    last: std::cell::Cell<Instant>,
}

impl Progress {
    fn new(iterations: usize, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let target = ProgressDrawTarget::stderr();
            let bar = ProgressBar::with_draw_target(Some(iterations as u64), target);
            let form = "reconstruct [{bar:24}] {pos} of {len}  {msg}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(form) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar, quiet, iterations, last: std::cell::Cell::new(Instant::now()) }
    }

    fn show(&self, rows: &[HistoryRow]) {
        let Some(row) = rows.last() else { return };
        let text = format!(
            "residual {}, change {}",
            say::number(row.residual_norm),
            say::number(row.relative_change)
        );
        if let Some(bar) = &self.bar {
            bar.set_position(row.iteration as u64);
            bar.set_message(text);
        } else if !self.quiet && self.last.get().elapsed() > LINE_EVERY {
            self.last.set(Instant::now());
            say::note(&format!("reconstruct: {} of {}, {text}", row.iteration, self.iterations));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
