//! `microtome align`: poses of the views, with a known volume or together with it.
//!
//! Validated by `tests/cli/align_poses.rs`.

use super::{AlignArgs, Stored};
use crate::cli::job::Job;
use crate::cli::project::Precision;
use crate::cli::{Outcome, config, record, say};
use anyhow::{Context, bail};
use clap::Args;
use microtome_datasets::{Array, TableWriter, Values, numbers_hash};
use microtome_inference::reconstruct::align::{
    Hidden, JointRow, JointSettings, KnownSettings, Loss, MotionPrior, Unknowns, ViewFit,
    align_jointly, align_to_volume, calibrate, joint_table, pose_table,
};
use microtome_kernels::ray::Surface;
use microtome_models::ct::{DETECTOR_PARAMETERS, PoseModel, SetUp, SetUpSpec, VolumeSpec};
use std::path::{Path, PathBuf};

/// Flags of the search.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Search of the poses")]
pub(in crate::cli) struct PoseFlags {
    /// Parameters that are free in every view; all where neither this nor --common is given.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    parameters: Vec<String>,
    /// Parameters with one value for all views: those of a view, detector_u, detector_v, roll,
    /// and for point sources source_to_axis and axis_to_detector.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    common: Vec<String>,
    /// Factors of pixels and voxels, from coarse to fine; those of 4, 2, 1 that leave 12 voxels
    /// where left out.
    #[arg(long, value_name = "F,G", value_delimiter = ',')]
    levels: Vec<usize>,
    /// Steps of Gauss-Newton a level (without --volume).
    #[arg(long, value_name = "N,M", value_delimiter = ',')]
    steps: Vec<usize>,
    /// Conjugate gradients a step (without --volume), or iterations a view (with it).
    #[arg(long, value_name = "N")]
    iterations: Option<usize>,
    /// Cost of residuals: squares, huber[:K], student_t[:NU], in standard deviations.
    #[arg(long, value_name = "LOSS", default_value = "squares")]
    loss: String,
    /// Views with large residuals count less (without --volume).
    #[arg(long)]
    outliers: bool,
    /// Standard deviation of the noise of a projection value; found in the projections where
    /// left out.
    #[arg(long, value_name = "X")]
    sigma: Option<f64>,
    /// The default weight of the total variation of the unknown volume times this.
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    variation: f64,
    /// Prior: standard deviation of a pose from that of the file, mm at the edge of the volume.
    #[arg(long, value_name = "X")]
    motion_sd_mm: Option<f64>,
    /// Prior: standard deviation of the change from a view to the next, mm at the edge.
    #[arg(long, value_name = "X")]
    motion_step_mm: Option<f64>,
}

/// What was found, ready to be written.
struct Found {
    views: Vec<ViewFit>,
    volume: Option<Values>,
    history: Vec<JointRow>,
    /// Values of the common unknowns, mm at the edge, and, where known, standard errors.
    common: Vec<(f64, Option<f64>)>,
    hidden: Vec<String>,
}

fn levels(given: &[usize], model: &PoseModel) -> Vec<usize> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let largest = model.volume().shape().into_iter().max().unwrap_or(1);
    let mut out: Vec<usize> = [4, 2].into_iter().filter(|f| largest / f >= 12).collect();
    out.push(1);
    out
}

fn search<T: Stored>(
    model: &PoseModel,
    thetas: &[f64],
    volume: Option<Values>,
    measured: Values,
    unknowns: &Unknowns,
    flags: &PoseFlags,
) -> anyhow::Result<Found> {
    let y = T::of(measured);
    let (levels, loss) = (levels(&flags.levels, model), Loss::parse(&flags.loss)?);
    if let Some(volume) = volume {
        let iterations = flags.iterations.unwrap_or(KnownSettings::default().iterations);
        let settings = KnownSettings { levels, loss, iterations };
        let x = T::of(volume);
        let (views, common) = if unknowns.common().next().is_some() {
            let found = calibrate(model, thetas, &x, &y, unknowns, &settings)?;
            let sds = found.common_sd.into_iter().map(Some);
            (found.views, found.common.into_iter().zip(sds).collect())
        } else {
            (align_to_volume(model, thetas, &x, &y, unknowns, &settings)?, Vec::new())
        };
        let (history, hidden) = (Vec::new(), Vec::new());
        return Ok(Found { views, volume: None, history, common, hidden });
    }
    let mut settings = JointSettings {
        loss,
        outliers: flags.outliers,
        sigma: flags.sigma,
        variation: flags.variation,
        motion: MotionPrior { sd_mm: flags.motion_sd_mm, step_mm: flags.motion_step_mm },
        ..JointSettings::default()
    };
    let spare = JointSettings::default().levels.len().saturating_sub(levels.len());
    settings.steps = settings.steps.split_off(spare.min(settings.steps.len() - 1));
    settings.levels = levels;
    if !flags.steps.is_empty() {
        settings.steps = flags.steps.clone();
    }
    if let Some(n) = flags.iterations {
        settings.inner = n;
    }
    let found = align_jointly(model, thetas, &y, unknowns, &settings)?;
    let common = found.common.iter().map(|v| (*v, None)).collect();
    Ok(Found {
        views: found.views,
        volume: Some(T::values(found.volume)),
        history: found.history,
        common,
        hidden: found.hidden,
    })
}

/// The model, with the errors of source and detector that the flags name.
fn posed(flags: &PoseFlags, set_up: &SetUp) -> anyhow::Result<(PoseModel, Vec<f64>)> {
    let (model, thetas) = set_up.pose_model()?;
    if model.sources().is_none() {
        return Ok((model, thetas));
    }
    let named = |name: &&str| flags.parameters.iter().chain(&flags.common).any(|f| f == name);
    let errors: Vec<&str> = DETECTOR_PARAMETERS.into_iter().filter(named).collect();
    let (poses, others) = (model.parameters().len(), vec![0.0; errors.len()]);
    let thetas = thetas.chunks_exact(poses).flat_map(|t| [t, &others].concat()).collect();
    Ok((model.with_detector(&errors)?, thetas))
}

pub(super) fn run(args: &AlignArgs, set_up: &SetUp, threads: usize) -> anyhow::Result<Outcome> {
    let (flags, common) = (&args.poses, &args.common);
    let named = || args.geometry.display().to_string();
    let (model, thetas) = posed(flags, set_up).with_context(named)?;
    let measured = args.read("projections", &args.projections, &model.shape())?;
    let volume = match &args.volume {
        Some(path) => Some(args.read("volume", path, &model.volume().shape())?),
        None => None,
    };
    let own: Vec<&str> = flags.parameters.iter().map(String::as_str).collect();
    let shared: Vec<&str> = flags.common.iter().map(String::as_str).collect();
    let unknowns = if own.is_empty() && shared.is_empty() {
        Unknowns::all(&model)?
    } else {
        Unknowns::new(&model, &own, &shared)?
    };
    let hidden = match volume {
        Some(_) => Hidden::default(),
        None => Hidden::new(&model, &unknowns, &thetas)?,
    };
    let precision = args.precision.unwrap_or(match measured.values {
        Values::F32(_) => Precision::F32,
        Values::F64(_) => Precision::F64,
    });
    Loss::parse(&flags.loss).context("--loss")?;
    let type_name = if precision == Precision::F32 { "float32" } else { "float64" };
    let spec = serde_json::json!({
        "kind": set_up.kind_name(), "parameters": model.parameters(),
        "free": flags.parameters, "common": flags.common, "views": model.n_views(),
        "unknowns": unknowns.len(), "known_volume": volume.is_some(),
        "levels": levels(&flags.levels, &model), "steps": flags.steps,
        "iterations": flags.iterations, "loss": flags.loss, "outliers": flags.outliers,
        "sigma": flags.sigma, "variation": flags.variation,
        "motion_sd_mm": flags.motion_sd_mm, "motion_step_mm": flags.motion_step_mm,
        "precision": type_name, "projector": "trilinear",
    });
    if common.dry_run {
        say::line(&format!(
            "plan of align (nothing is written)\n{spec:#}\n  threads {threads}\n  memory  {}",
            say::bytes(memory(&model, precision))
        ));
        return Ok(Outcome::Done);
    }
    let Some(out) = &args.out else { bail!("--out DIR is needed, a folder") };
    let hash = |a: &Array| format!("{:?}", numbers_hash(&a.values.clone().into_f64()));
    let content =
        [format!("{set_up:?}"), hash(&measured), volume.as_ref().map(hash).unwrap_or_default()];
    let Some(job) = Job::begin("align", out, &content, &spec, common)? else {
        return Ok(Outcome::Done);
    };
    let (volume, measured) = (volume.map(|v| v.values), measured.values);
    let found = match precision {
        Precision::F32 => search::<f32>(&model, &thetas, volume, measured, &unknowns, flags),
        Precision::F64 => search::<f64>(&model, &thetas, volume, measured, &unknowns, flags),
    };
    let found = found.with_context(named)?;
    let counts = |word: &str| found.views.iter().filter(|v| v.status.name() == word).count();
    let mut notes: Vec<String> = unknowns.fixed().to_vec();
    if !found.hidden.is_empty() {
        notes.push(format!(
            "{} of the volume with all views together changes no projection: the poses are those \
             with zero mean deviation from the given ones",
            found.hidden.join(", ")
        ));
    }
    if volume_is_free_parallel(&found, &model) {
        notes.push(
            "the mirror (alpha, phi) -> (-alpha, -phi) with the volume mirrored in y changes no \
             projection either; the branch of the given poses was taken"
                .to_string(),
        );
    }
    let more = serde_json::json!({
        "verb": "align",
        "loss": found.views.iter().map(|v| v.loss).sum::<f64>(),
        "converged": counts("converged"), "outliers": counts("outlier"),
        "singular": counts("singular"),
        "common": common_values(&found, &unknowns, &model).iter().map(Shared::json).collect::<Vec<_>>(),
        "gauge": {"hidden": found.hidden, "directions": hidden.names.len(), "notes": notes},
    });
    let json = job.write(|out| write(args, out, set_up, &model, &found), more)?;
    if common.json {
        say::line(&json.to_string());
    } else if !common.quiet {
        say::line(&format!(
            "poses of {} views in {}: {} converged, {} outliers, {} singular",
            found.views.len(),
            out.display(),
            counts("converged"),
            counts("outlier"),
            counts("singular")
        ));
        for row in common_values(&found, &unknowns, &model) {
            let sd = row.sd.map(|sd| format!(" (sd {})", say::number(sd))).unwrap_or_default();
            say::line(&format!("  {} {} {}{sd}", row.name, say::number(row.value), row.unit));
        }
        notes.iter().for_each(|n| say::line(&format!("  note: {n}")));
    }
    Ok(Outcome::Done)
}

/// A common unknown for people and files.
struct Shared {
    name: String,
    value: f64,
    sd: Option<f64>,
    unit: &'static str,
    mm_at_edge: f64,
}

impl Shared {
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name, "value": self.value, "sd": self.sd, "unit": self.unit,
            "mm_at_edge": self.mm_at_edge,
        })
    }
}

fn common_values(found: &Found, unknowns: &Unknowns, model: &PoseModel) -> Vec<Shared> {
    let of = |(k, (name, (at_edge, sd))): (usize, (&str, &(f64, Option<f64>)))| {
        let (value, unit) = unknowns.value_of(model, k, *at_edge);
        let sd = sd.map(|sd| unknowns.value_of(model, k, sd).0);
        Shared { name: name.to_string(), value, sd, unit, mm_at_edge: *at_edge }
    };
    unknowns.common().zip(&found.common).enumerate().map(of).collect()
}

fn volume_is_free_parallel(found: &Found, model: &PoseModel) -> bool {
    found.volume.is_some() && model.parameters().len() == 5
}

/// Bytes of the arrays at the finest level: Jacobian, projections, images.
fn memory(model: &PoseModel, precision: Precision) -> f64 {
    let size = if precision == Precision::F32 { 4.0 } else { 8.0 };
    let rays = model.shape().iter().product::<usize>() as f64;
    let voxels = model.volume().len() as f64;
    rays * (size * (model.parameters().len() as f64 + 5.0) + 16.0) + voxels * (12.0 * size + 24.0)
}

/// Writes the results; returns their names.
fn write(
    args: &AlignArgs,
    out: &Path,
    set_up: &SetUp,
    model: &PoseModel,
    found: &Found,
) -> anyhow::Result<Vec<String>> {
    let n = model.parameters().len();
    let thetas: Vec<f64> = found.views.iter().flat_map(|v| v.theta.clone()).collect();
    let mut names = Vec::new();
    let mut put = |name: &str, shape: Vec<usize>, values: Values| {
        names.push(name.to_string());
        Array { shape, values }.write(&out.join(name))
    };
    put("theta.npy", vec![model.n_views(), n], Values::F64(thetas.clone()))?;
    if let Some(volume) = &found.volume {
        put("volume.npy", model.volume().shape(), volume.clone())?;
    }
    let text = std::fs::read_to_string(&args.geometry)
        .with_context(|| format!("{}: cannot read", args.geometry.display()))?;
    let mut spec = SetUpSpec::from_toml(&text)?;
    if n == 5 {
        spec.poses = Some(PathBuf::from("theta.npy"));
        if let Some(mask) = &spec.mask {
            let folder = args.geometry.parent().unwrap_or(Path::new(""));
            let whole = folder.join(mask);
            spec.mask = Some(std::fs::canonicalize(&whole).unwrap_or(whole));
        }
    } else {
        let motions = thetas
            .chunks_exact(n)
            .map(|t| Ok(model.motion_of(t)?.inverse()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        // Only flat detectors have errors of their own.
        let geometry =
            if n > 6 { model.geometry(&thetas)? } else { set_up.geometry.moved_each(&motions)? };
        let rows = geometry.rows();
        let shape = vec![model.n_views(), rows.len() / model.n_views()];
        put("views.npy", shape, Values::F64(rows))?;
        spec = described(spec, set_up);
    }
    let text = toml::to_string(&spec).context("geometry.toml")?;
    record::write_text(&out.join("geometry.toml"), &text)?;
    names.push("geometry.toml".into());
    let mut tables = vec![("poses.parquet", pose_table(model.parameters(), &found.views)?)];
    if !found.history.is_empty() {
        tables.push(("history.parquet", joint_table(&found.history)?));
    }
    for (name, batch) in tables {
        let mut writer = TableWriter::create(&out.join(name), batch.schema(), None)?;
        writer.write(&batch)?;
        writer.finish()?;
        names.push(name.to_string());
    }
    Ok(names)
}

/// A set-up file with views of its own: all that changed views or volume has been done.
fn described(mut spec: SetUpSpec, set_up: &SetUp) -> SetUpSpec {
    let flat = set_up.volume.dimensions() == 2;
    let [nv, nu] = set_up.geometry.detector();
    spec.kind = set_up.geometry.kind().name().into();
    spec.views = Some(PathBuf::from("views.npy"));
    spec.detector = if flat { vec![nu] } else { vec![nv, nu] };
    (spec.trajectory, spec.import, spec.crop, spec.bin) = (None, None, None, None);
    (spec.detector_offset_mm, spec.detector_tilt_deg) = (None, None);
    spec.transform.clear();
    if let Surface::Cylinder { radius } = set_up.geometry.surface() {
        (spec.detector_shape, spec.detector_radius_mm) = (Some("curved".into()), radius);
    }
    // Axes of the array, z first.
    let d = set_up.volume.dimensions();
    let axes: Vec<Vec<f64>> =
        set_up.volume.axes()[..d].iter().rev().map(|a| a[..d].to_vec()).collect();
    spec.volume = VolumeSpec {
        shape: set_up.volume.shape(),
        voxel_mm: set_up.volume.voxel_mm(),
        centre_mm: Some(set_up.volume.centre_mm()),
        axes: Some(axes),
    };
    spec
}

/// Saves the flags, where asked.
pub(super) fn save(args: &AlignArgs, settings: &[config::Setting]) -> anyhow::Result<()> {
    match &args.common.save_config {
        Some(path) => config::save(path, settings),
        None => Ok(()),
    }
}
