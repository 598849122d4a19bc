//! `microtome simulate`: random walkers through a substrate under gradients, and their
//! complex signals with standard errors.
//!
//! The table is a function of substrate, acquisition, walkers, step and seed alone. An
//! existing table of the same simulation is left as it is. Validated by
//! `tests/cli/simulate.rs`.

use super::blocks::STOP;
use super::config::{self, Setting};
use super::counting::Counting;
use super::flags::{AcquisitionFlags, CommonFlags};
use super::input::{simd, version};
use super::sweep::{IDENTITY, SweepRun};
use super::walk_state::{KEEP, WalkState};
use super::{Outcome, say, substrates, voxelwise, walk_tables};
use anyhow::{Context, bail};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use clap::{Args, ValueEnum, ValueHint};
use microtome_datasets::{
    TableReader, content_hash, read_substrate, read_waveform_samples, write_table,
};
use microtome_models::substrate::{
    Estimate, Parameter, Row, Sequence, Signals, Simulation, Substrate, SubstrateSpec, TOTAL,
    Tally, exact_signals,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Walks spins through a substrate and writes their complex signals.
///
/// Writes one row a (measurement, compartment) with the columns measurement, compartment
/// (all = every walker), signal_real, signal_imag, se_real, se_imag, walkers. Signals are
/// relative to the magnetisation at the start; surface relaxation and T2 are not divided out.
/// With --derivatives also signal_real.d_X, signal_imag.d_X, se_real.d_X, se_imag.d_X for each
/// parameter X.
///
/// Ctrl-C (exit 130) and kills keep the sums so far in OUT.walk; the same line goes on from
/// there, to the same bytes.
///
/// Pulse pairs are played on [0, delta] and [Delta, Delta + delta] and read at
/// Delta + delta; waveforms are read at their end.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
S.toml:
  [substrate]
  kind = \"cylinder\"                   # see the table
  radius_um = 5.0
  axis = [0, 0, 1]                    # axis of cylinders, normal of planes
  cell_um = 12.0                      # periodic cell, for walkers outside
  [intra]                             # also [extra], [myelin]
  diffusivity_um2_per_ms = 2.0
  surface_relaxivity_um_per_ms = 0.0  # 1 m/s = 1000 um/ms
  t2_ms = inf                         # left out: no relaxation
  [wall]
  permeability_um_per_ms = 0.0        # flux = permeability x jump
  [[membrane]]                        # planes only, inside the slab
  position_um = -2.0                  # from the middle, along the normal
  permeability_um_per_ms = 0.001
  [start]
  where = \"intra\"                     # intra, extra, all, given (with positions = \"p.npy\")

  free             -
  planes           separation_um
  cylinder, sphere radius_um, cell_um
  ellipsoid        semi_axes_um = [x, y, z]
  capped_cylinder  radius_um, length_um
  axon             radius_um; beading (0 to 1), beading_period_um; undulation_um,
                     undulation_period_um: a tube with r = radius (1 + beading cos(2 pi z / period))
  annuli           radii_um = [inner, ..., outer], cell_um
  cylinders        count, volume_fraction, radius_um or gamma_shape and gamma_scale_um
  spheres            (min_radius_um, max_radius_um), packing_seed, g_ratio;
                     or objects = \"list.csv\" (x_um, y_um, z_um, radius_um) and cell_um
  mesh             file = \"cell.ply\" (or .obj), unit_um, cell_um

Example:
  microtome simulate --substrate axon.toml --scheme scheme.csv --walkers 100000 --out signals.parquet

  microtome simulate --substrate pore.toml --scheme scheme.csv --exact --out signals.parquet
  microtome simulate --substrate axon.toml --sweep sweep.toml --scheme scheme.csv --walkers 20000 \\
    --out dictionary.parquet

Carslaw & Jaeger 1959, Conduction of Heat in Solids, section 14.2 (walls);
Salmon et al. 2011, doi:10.1145/2063384.2063405 (random numbers). docs/simulation.md.")]
pub(crate) struct SimulateArgs {
    /// The substrate, TOML; or one of axons, myelinated_axons, beaded_axon, undulating_axon,
    /// cells, exchanging_cells, relaxing_pore.
    #[arg(long, value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    substrate: PathBuf,
    /// Only print the TOML of a substrate by name, to be changed.
    #[arg(long, help_heading = "Walk")]
    print_substrate: bool,
    #[command(flatten)]
    acquisition: AcquisitionFlags,
    /// Number of walkers.
    #[arg(long, value_name = "N", required_unless_present_any = ["exact", "print_substrate"], help_heading = "Walk")]
    walkers: Option<u64>,
    /// No walkers: exact signals of free diffusion, planes (with membranes), one cylinder,
    /// sphere or capped cylinder, by their modes. Standard errors and walkers are 0.
    #[arg(long, conflicts_with_all = ["walkers", "step_ms", "target_se", "trajectories", "phases", "derivatives", "resume"], help_heading = "Walk")]
    exact: bool,
    /// Longest step in time, ms; by the rules of docs/simulation.md when left out.
    #[arg(long, value_name = "MS", help_heading = "Walk")]
    step_ms: Option<f64>,
    /// Stop when no standard error over all walkers is above this; --walkers is then the most.
    #[arg(long, value_name = "SE", help_heading = "Walk")]
    target_se: Option<f64>,
    /// A grid of substrate parameters, TOML: writes a dictionary, the signals of every point on
    /// the shells of the acquisition, for --model dictionary:R.parquet. docs/dictionary.md.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["target_se", "trajectories", "phases", "derivatives"])]
    sweep: Option<PathBuf>,
    /// Derivatives of the signals along the same paths, by names with commas. radius: all
    /// lengths of the shape grow in proportion, per um of its radius (planes: of separation_um,
    /// ellipsoid: of the first semi-axis). diffusivity: per um2/ms. amplitude: of a factor on
    /// all gradients. Of free, planes, cylinder, sphere, ellipsoid and capped_cylinder with
    /// walls that mirror and nothing else.
    #[arg(long, value_name = "X,X", value_delimiter = ',', help_heading = "Walk")]
    derivatives: Vec<Slope>,
    /// Go on from OUT.walk only where it is of this very line, and say so where it is not.
    /// (Without: a file of this line is gone on from, another one replaced.)
    #[arg(long, help_heading = "Walk")]
    resume: bool,
    /// Positions of the first walkers at every step, .parquet: walker, step, time_ms, x_um,
    /// y_um, z_um.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Walk")]
    trajectories: Option<PathBuf>,
    /// Phases of the first walkers, .parquet: walker, measurement, phase_rad.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Walk")]
    phases: Option<PathBuf>,
    /// How many walkers --trajectories and --phases are of.
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Walk")]
    keep_walkers: u64,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Walk")]
    seed: u64,
    /// The signals, .parquet.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonFlags,
}

/// What signals can be differentiated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Slope {
    Radius,
    Diffusivity,
    Amplitude,
}

impl Slope {
    fn parameter(self) -> Parameter {
        match self {
            Self::Radius => Parameter::Radius,
            Self::Diffusivity => Parameter::Diffusivity,
            Self::Amplitude => Parameter::Amplitude,
        }
    }
}

impl SimulateArgs {
    /// In the order of [`Parameter::ALL`], each once.
    fn parameters(&self) -> Vec<Parameter> {
        let asked: Vec<Parameter> = self.derivatives.iter().map(|d| d.parameter()).collect();
        Parameter::ALL.into_iter().filter(|p| asked.contains(p)).collect()
    }

    /// The text of a substrate that is given by name.
    fn named(&self) -> Option<&'static str> {
        self.substrate.to_str().and_then(substrates::named)
    }

    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        if let Some(sweep) = &self.sweep {
            return self.run_sweep(sweep, threads, settings);
        }
        // A file goes before a name.
        let text = if self.substrate.exists() { None } else { self.named() };
        if self.print_substrate {
            let Some(text) = text else {
                bail!(
                    "--print-substrate: {} is no name of a substrate; see --help",
                    self.substrate.display()
                )
            };
            say::line(text.trim_end());
            return Ok(Outcome::Done);
        }
        let substrate = match text {
            Some(text) => SubstrateSpec::from_toml(text).and_then(|s| s.build())?,
            None => read_substrate(&self.substrate)?,
        };
        let sequence = self.sequence()?;
        let identity = self.identity(&substrate, &sequence);
        if self.exact {
            return self.run_exact(&substrate, &sequence, &identity, settings);
        }
        let walkers = self.walkers.unwrap_or(0);
        let simulation = Simulation::new(substrate, &sequence, self.step_ms, walkers, self.seed)
            .context("--walkers and --step-ms")?;
        let parameters = self.parameters();
        let simulation = simulation
            .with_derivatives(&parameters)
            .with_context(|| format!("{} with --derivatives", self.substrate.display()))?;
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let step = simulation.time_step();
        let warning = warning(&sequence);
        if self.common.dry_run {
            say::line(&format!(
                "plan of simulate (nothing is written)\n  measurements  {}\n  walkers       {}\n  \
                 step          {} ms ({})\n  steps         {} a walker, {:.3e} in all\n  threads       {threads}",
                sequence.len(),
                walkers,
                say::number(step.ms),
                step.rule,
                simulation.steps(),
                simulation.steps() as f64 * walkers as f64,
            ));
            return Ok(Outcome::Done);
        }
        if self.target_se.is_some_and(|t| !(t.is_finite() && t > 0.0)) {
            bail!("--target-se {}: a number above 0 is needed", self.target_se.unwrap_or(0.0));
        }
        let Some(out) = &self.out else { bail!("--out FILE is needed, a .parquet file") };
        for path in [&self.trajectories, &self.phases].into_iter().flatten() {
            is_new(path, self.common.overwrite)?;
        }
        if is_done(out, &identity, self.common.overwrite)? {
            if !self.common.quiet {
                say::line(&format!("{} holds this simulation already", out.display()));
            }
            WalkState::beside(out, &identity).clear()?;
            return Ok(Outcome::Done);
        }
        if let Some(text) = &warning {
            say::note(&format!("warning: {text}"));
        }
        let begin = Instant::now();
        let Some(signals) = self.walked(&simulation, out, &identity)? else {
            return Ok(Outcome::Interrupted);
        };
        if self.target_se.is_some_and(|t| largest_se(&signals) > t) {
            say::note(&format!(
                "warning: the largest standard error is {} after all walkers, above --target-se; give more walkers",
                say::number(largest_se(&signals))
            ));
        }
        if signals.stopped > 0 {
            say::note(&format!(
                "warning: {} steps met too many walls; the rest of each was left out",
                signals.stopped
            ));
        }
        if signals.escaped > 0 {
            say::note(&format!(
                "warning: {} walkers ended outside of their walls by rounding",
                signals.escaped
            ));
        }
        let (schema, batch) = table(&signals, &identity, step.ms, self.seed, &parameters)?;
        let kept = 0..self.keep_walkers.min(walkers);
        if let Some(path) = &self.trajectories {
            let (schema, batch) = walk_tables::trajectories(&simulation, kept.clone())?;
            write_table(path, schema, &[batch])?;
        }
        if let Some(path) = &self.phases {
            let (schema, batch) = walk_tables::phases(&simulation, sequence.len(), kept)?;
            write_table(path, schema, &[batch])?;
        }
        write_table(out, schema, &[batch])?;
        WalkState::beside(out, &identity).clear()?;
        if self.common.json {
            let json = serde_json::json!({
                "verb": "simulate", "measurements": sequence.len(),
                "walkers": signals.walkers(),
                "step_ms": step.ms, "step_rule": step.rule, "steps": simulation.steps(),
                "walker_steps": signals.walker_steps, "escaped": signals.escaped,
                "stopped": signals.stopped, "largest_se": largest_se(&signals),
                "unbalanced": sequence.unbalanced(), "wall_s": begin.elapsed().as_secs_f64(),
                "out": out, "simd_level": simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "{} measurements, {} walkers x {} steps in {}; largest standard error {}: {}",
                sequence.len(),
                signals.walkers(),
                simulation.steps(),
                say::duration(begin.elapsed().as_secs_f64()),
                say::number(largest_se(&signals)),
                out.display()
            ));
        }
        Ok(Outcome::Done)
    }

    /// Walks, from where an earlier run of this line was stopped; `None` when this one is.
    fn walked(
        &self,
        simulation: &Simulation,
        out: &Path,
        identity: &str,
    ) -> anyhow::Result<Option<Signals>> {
        voxelwise::catch_interrupts()?;
        let state = WalkState::beside(out, identity);
        let found = state.begin(self.resume, Tally::from_words)?;
        let mut progress = Counting::new("simulate", "walkers", self.common.quiet);
        if let Some(tally) = &found {
            progress.found(tally.all_walkers());
            if !self.common.quiet {
                say::note(&format!("simulate: goes on after {} walkers", tally.all_walkers()));
            }
        }
        let (mut kept, mut failed, mut stopped) = (Instant::now(), None, false);
        let tally = simulation.walk_from(found, self.target_se.unwrap_or(0.0), |seen, tally| {
            progress.show(seen.walkers, seen.of);
            stopped = STOP.load(Ordering::Relaxed) && seen.walkers < seen.of;
            if stopped || kept.elapsed() >= KEEP {
                failed = state.keep(&tally.words()).err();
                kept = Instant::now();
            }
            !stopped && failed.is_none()
        });
        progress.finish();
        if let Some(e) = failed {
            return Err(e);
        }
        if stopped {
            say::note(&format!(
                "interrupted after {} walkers, which are kept in {}; the same line resumes",
                tally.all_walkers(),
                state.path().display()
            ));
            return Ok(None);
        }
        Ok(Some(simulation.signals(&tally)))
    }

    /// Signals by modes.
    fn run_exact(
        &self,
        substrate: &Substrate,
        sequence: &Sequence,
        identity: &str,
        settings: &[Setting],
    ) -> anyhow::Result<Outcome> {
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        if self.common.dry_run {
            say::line(&format!(
                "plan of simulate (nothing is written)\n  measurements  {}\n  exact signals by modes, no walkers",
                sequence.len()
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else { bail!("--out FILE is needed, a .parquet file") };
        if is_done(out, identity, self.common.overwrite)? {
            if !self.common.quiet {
                say::line(&format!("{} holds these signals already", out.display()));
            }
            return Ok(Outcome::Done);
        }
        if let Some(text) = warning(sequence) {
            say::note(&format!("warning: {text}"));
        }
        let begin = Instant::now();
        let signals = exact_signals(substrate, sequence)
            .with_context(|| format!("{} with --exact", self.substrate.display()))?;
        let (schema, batch) = table(&signals, identity, 0.0, self.seed, &[])?;
        write_table(out, schema, &[batch])?;
        let elapsed = begin.elapsed().as_secs_f64();
        if self.common.json {
            let json = serde_json::json!({
                "verb": "simulate", "exact": true, "measurements": sequence.len(), "walkers": 0,
                "walker_steps": 0, "escaped": 0, "stopped": 0, "largest_se": 0.0,
                "unbalanced": sequence.unbalanced(), "wall_s": elapsed, "out": out,
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "{} exact signals in {}: {}",
                sequence.len(),
                say::duration(elapsed),
                out.display()
            ));
        }
        Ok(Outcome::Done)
    }

    /// Signals over a grid.
    fn run_sweep(
        &self,
        sweep: &Path,
        threads: usize,
        settings: &[Setting],
    ) -> anyhow::Result<Outcome> {
        if self.acquisition.waveform.is_some() {
            bail!("--waveform does not go with --sweep: a dictionary is of pairs of pulses");
        }
        let scheme = self.acquisition.read()?;
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let run = SweepRun {
            substrate: &self.substrate,
            sweep,
            acquisition: &scheme.acquisition,
            walkers: if self.exact { None } else { self.walkers },
            step_ms: self.step_ms,
            seed: self.seed,
            threads,
            dry_run: self.common.dry_run,
            resume: self.resume,
            quiet: self.common.quiet,
            json: self.common.json,
        };
        run.run(self.out.as_deref(), |out, identity| is_done(out, identity, self.common.overwrite))
    }

    /// The gradients: pulses of an acquisition, or a waveform as it stands.
    fn sequence(&self) -> anyhow::Result<Sequence> {
        let Some(path) = &self.acquisition.waveform else {
            let scheme = self.acquisition.read()?;
            return Sequence::from_pulses(&scheme.acquisition)
                .with_context(|| scheme.file.display().to_string());
        };
        let flags = &self.acquisition;
        if flags.scheme.is_some() || flags.bval.is_some() || flags.bvec.is_some() {
            bail!("--waveform and --scheme or --bval both describe the acquisition; give one");
        }
        let Some(dt_ms) = flags.dt_ms else {
            bail!("--waveform needs --dt-ms, the spacing of its samples")
        };
        let samples = read_waveform_samples(path)?;
        Sequence::from_waveforms(&samples.gradient, samples.times, dt_ms)
            .with_context(|| path.display().to_string())
    }

    fn identity(&self, substrate: &Substrate, sequence: &Sequence) -> String {
        let step = self.step_ms.map_or("automatic".into(), |s| s.to_bits().to_string());
        let text = format!(
            "{substrate:?}{sequence:?}{:?} {} {step} {:?} {} {:?}",
            self.walkers,
            self.seed,
            self.target_se,
            self.exact,
            self.parameters()
        );
        content_hash(&[text.as_bytes(), version().as_bytes(), simd().as_bytes()])
    }
}

fn warning(sequence: &Sequence) -> Option<String> {
    let list = sequence.unbalanced();
    let first = list.first()?;
    Some(format!(
        "the gradient of {} measurement(s) does not refocus (the first is {first}, counted from 0); the signal then depends on where the substrate stands",
        list.len()
    ))
}

fn largest_se(signals: &Signals) -> f64 {
    let rows = signals.rows.iter().filter(|r| r.compartment == TOTAL);
    rows.flat_map(|r| [r.signal.se_real, r.signal.se_imaginary]).fold(0.0, f64::max)
}

/// A side table must not be there yet.
fn is_new(out: &Path, overwrite: bool) -> anyhow::Result<()> {
    if !out.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
        bail!("{}: the name must end in .parquet", out.display());
    }
    if let Some(folder) = out.parent().filter(|f| !f.as_os_str().is_empty() && !f.is_dir()) {
        bail!("{}: the folder {} does not exist", out.display(), folder.display());
    }
    if out.exists() && !overwrite {
        bail!("{}: the file exists; give --overwrite to replace it", out.display());
    }
    Ok(())
}

/// Whether the file holds this very simulation; others stay unless `overwrite` is given.
fn is_done(out: &Path, identity: &str, overwrite: bool) -> anyhow::Result<bool> {
    if !out.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
        bail!("--out {}: the name must end in .parquet", out.display());
    }
    if out.is_dir() {
        bail!("--out {}: is a folder; a file is needed", out.display());
    }
    if let Some(folder) = out.parent().filter(|f| !f.as_os_str().is_empty() && !f.is_dir()) {
        bail!("--out {}: the folder {} does not exist", out.display(), folder.display());
    }
    if !out.exists() || overwrite {
        return Ok(false);
    }
    let found = TableReader::open(out).ok();
    let found = found.and_then(|t| t.schema().metadata().get(IDENTITY).cloned());
    if found.as_deref() != Some(identity) {
        bail!(
            "--out {}: the file exists and is not of this simulation; give --overwrite to replace it",
            out.display()
        );
    }
    Ok(true)
}

fn table(
    signals: &Signals,
    identity: &str,
    step_ms: f64,
    seed: u64,
    parameters: &[Parameter],
) -> anyhow::Result<(Arc<Schema>, RecordBatch)> {
    let rows = &signals.rows;
    let metadata = HashMap::from([
        (IDENTITY.to_string(), identity.to_string()),
        ("microtome.version".to_string(), version().to_string()),
        ("microtome.simd_level".to_string(), simd().to_string()),
        ("microtome.seed".to_string(), seed.to_string()),
        ("microtome.step_ms".to_string(), step_ms.to_string()),
        ("microtome.walker_steps".to_string(), signals.walker_steps.to_string()),
        ("microtome.escaped".to_string(), signals.escaped.to_string()),
    ]);
    let number = |name: &str, over: &str| {
        let text = match over {
            "" => "relative to the start".to_string(),
            over => format!("relative to the start/({over})"),
        };
        let unit = HashMap::from([("unit".to_string(), text)]);
        Field::new(name, DataType::Float64, false).with_metadata(unit)
    };
    let names = ["signal_real", "signal_imag", "se_real", "se_imag"];
    let mut fields = vec![
        Field::new("measurement", DataType::Int64, false),
        Field::new("compartment", DataType::Utf8, false),
    ];
    fields.extend(names.map(|name| number(name, "")));
    fields.push(Field::new("walkers", DataType::Int64, false));
    for p in parameters {
        fields.extend(names.map(|n| number(&format!("{n}.d_{}", p.name()), p.unit())));
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let column = |of: fn(&Row) -> f64| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Float64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.measurement as i64).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| Some(r.compartment)).collect::<StringArray>()),
        column(|r| r.signal.real),
        column(|r| r.signal.imaginary),
        column(|r| r.signal.se_real),
        column(|r| r.signal.se_imaginary),
        Arc::new(rows.iter().map(|r| r.walkers as i64).collect::<Int64Array>()),
    ];
    let missing = || anyhow::anyhow!("a row has no derivatives");
    for p in 0..parameters.len() {
        let slopes: Option<Vec<&Estimate>> = rows.iter().map(|r| r.derivatives.get(p)).collect();
        let slopes = slopes.ok_or_else(missing)?;
        let parts: [fn(&Estimate) -> f64; 4] =
            [|s| s.real, |s| s.imaginary, |s| s.se_real, |s| s.se_imaginary];
        for part in parts {
            columns.push(Arc::new(slopes.iter().map(|s| part(s)).collect::<Float64Array>()));
        }
    }
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok((schema, batch))
}
