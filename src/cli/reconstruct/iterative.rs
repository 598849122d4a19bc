//! The methods that take steps.

use super::{Job, Method, Outcome, of_file};
use crate::cli::project::Precision;
use crate::cli::{say, voxelwise};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::{Array, Values, write_array};
use microtome_inference::reconstruct::{
    Algorithm, Problem, Reconstruction, Settings, StoppingRule,
};
use microtome_kernels::ray::Real;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Flags of the iterative methods.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Iterative methods")]
pub(super) struct IterativeFlags {
    /// Most iterations; docs/reconstruction.md lists what each method takes by itself.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    iterations: Option<usize>,
    /// Keeps every voxel at 0 or above.
    #[arg(long)]
    nonneg: bool,
    /// Inverse variances of the projections, .npy of their shape; 0 leaves a value out.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) weights: Option<PathBuf>,
    /// Weight of the total variation, in the unit of the objective [default: by a rule].
    #[arg(long, value_name = "X")]
    tv_weight: Option<f64>,
    /// A volume to start from, .npy [default: zeros].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    init: Option<PathBuf>,
}

impl IterativeFlags {
    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            (self.iterations.is_some(), "--iterations"),
            (self.nonneg, "--nonneg"),
            (self.weights.is_some(), "--weights"),
            (self.tv_weight.is_some(), "--tv-weight"),
            (self.init.is_some(), "--init"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

/// A number type that arrays have.
trait Stored: Real {
    fn of(values: Values) -> Vec<Self>;
    fn into(values: Vec<Self>) -> Values;
}

impl Stored for f32 {
    fn of(values: Values) -> Vec<Self> {
        values.into_f32()
    }
    fn into(values: Vec<Self>) -> Values {
        Values::F32(values)
    }
}

impl Stored for f64 {
    fn of(values: Values) -> Vec<Self> {
        values.into_f64()
    }
    fn into(values: Vec<Self>) -> Values {
        Values::F64(values)
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
    let weights = read("weights", &flags.weights, &job.set_up.geometry.shape())?;
    let init = read("init", &flags.init, &job.set_up.volume.shape())?;
    let transform = job.set_up.clone().transform()?;
    let y = <T as Stored>::of(y);
    let mut problem =
        Problem::new(&transform, &y).map_err(of_file("projections", &args.projections))?;
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
    let rule = StoppingRule::iterations(iterations);
    if args.common.dry_run {
        job.plan(method.name(), &[("iterations", iterations.to_string())]);
        return Ok(Outcome::Done);
    }
    let Some(out) = job.out else { bail!("--out FILE is needed, a .npy file") };
    voxelwise::catch_interrupts()?;
    let mut run = Reconstruction::new(method, &problem, &Settings::default())?;
    let ended = run.run(&rule, &mut |_| ControlFlow::Continue(()))?;
    let values = <T as Stored>::into(run.image().to_vec());
    let result = Array { shape: problem.volume_shape().to_vec(), values };
    let grid = Some(&job.set_up.volume);
    write_array(&result, grid, out, args.common.overwrite).context("--out")?;
    let made = run.history().len();
    job.conclude(
        Method::Iterative(method),
        out,
        serde_json::json!({ "iterations": made, "ended": ended.name() }),
    );
    if !args.common.quiet && !args.common.json {
        say::line(&format!("  {made} iterations"));
    }
    Ok(Outcome::Done)
}
