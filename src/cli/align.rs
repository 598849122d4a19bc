//! `microtome align`: poses of the views (`poses`), and with `--derivatives` the loss of every
//! view and its derivatives with respect to the pose of the volume.
//!
//! $$L = \tfrac12\sum(p-m)^2,\quad \nabla L,\quad J^TJ,\quad J$$
//!
//! All by the march of the trilinear projector. Validated by `tests/cli/align.rs` and
//! `tests/cli/align_poses.rs`.

mod poses;

use super::config::{self, Setting};
use super::flags::CommonFlags;
use super::project::Precision;
use super::{Outcome, record, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::{Array, Values, read_set_up};
use microtome_kernels::ray::Real;
use microtome_models::ct::{CtError, PoseModel, batch_forward_project};
use std::path::{Path, PathBuf};

/// Finds the poses of the views: in a known volume, or together with the volume.
///
/// For the kind pose5 the parameters of a view are alpha, beta, phi (rad), dx, dz (mm), from
/// the poses of the file on; for other kinds the six rigid ones of the volume, alpha, beta,
/// phi, dx, dy, dz, from zero on. The projector is trilinear. With --volume every view is
/// searched by itself; without it volume and poses are found together, and what no projection
/// shows (motions of the volume with all views) keeps its mean.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Files in DIR:
  theta.npy        [view, parameter]
  poses.parquet    a row a view: parameters, standard errors, loss, weight, status
  geometry.toml    the set-up with these poses, for reconstruct (views.npy for vectors)
  volume.npy       without --volume
  history.parquet  without --volume: steps of Gauss-Newton
  run.json         settings, counts, what no projection shows

Files in DIR with --derivatives, which optimises nothing:
  projections.npy  [view, v, u]
  loss.npy         [view], 0.5 sum (p - m)^2
  gradient.npy     [view, parameter]
  normal.npy       [view, parameter, parameter], J'J
  jacobian.npy     [view, parameter, v, u], with --jacobian
  run.json         names of the parameters, steps, sum of the losses

Examples:
  microtome align --geometry pose.toml --projections m.npy --out aligned
  microtome reconstruct --projections m.npy --geometry aligned/geometry.toml \
    --method fista_tv --out v.npy
  microtome align --geometry scan.toml --projections m.npy --common detector_u --out axis
  microtome align --derivatives --volume v.npy --geometry pose.toml \\
    --projections m.npy --out derivatives

docs/pose.md has the equations and the set-up file.")]
pub(crate) struct AlignArgs {
    /// Writes derivatives at the poses of the file, and optimises nothing.
    #[arg(long, requires = "volume")]
    derivatives: bool,
    /// The volume, where it is known: .npy [z, y, x], in the plane [y, x].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    volume: Option<PathBuf>,
    /// The set-up: a TOML file, kind pose5 or any other.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    geometry: PathBuf,
    /// The measured projections: .npy [view, v, u], in the plane [view, u].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    projections: PathBuf,
    /// The folder of the results.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// With --derivatives: also the derivative of every pixel.
    #[arg(long, requires = "derivatives")]
    jacobian: bool,
    /// Number type of arithmetic and of images; that of the volume (without one, of the
    /// projections) when left out.
    #[arg(long, value_enum, value_name = "TYPE")]
    precision: Option<Precision>,
    #[command(flatten)]
    poses: poses::PoseFlags,
    #[command(flatten)]
    common: CommonFlags,
}

/// A number type whose arrays can be written.
trait Stored: Real {
    fn of(values: Values) -> Vec<Self>;
    fn values(v: Vec<Self>) -> Values;
}

impl Stored for f32 {
    fn of(values: Values) -> Vec<f32> {
        values.into_f32()
    }
    fn values(v: Vec<f32>) -> Values {
        Values::F32(v)
    }
}

impl Stored for f64 {
    fn of(values: Values) -> Vec<f64> {
        values.into_f64()
    }
    fn values(v: Vec<f64>) -> Values {
        Values::F64(v)
    }
}

/// The files of the result, and the sum of the losses.
type Files = (Vec<(&'static str, Array)>, f64);

fn compute<T: Stored>(
    model: &PoseModel,
    thetas: &[f64],
    volume: Values,
    measured: Values,
    with_jacobian: bool,
) -> Result<Files, CtError> {
    let (x, y) = (T::of(volume), T::of(measured));
    let (shape, n) = (model.shape(), model.parameters().len());
    let views = model.n_views();
    let all = model.losses(thetas, &x, &y)?;
    let wide = |shape: Vec<usize>, v: Vec<f64>| Array { shape, values: Values::F64(v) };
    let mut files = Vec::new();
    if with_jacobian {
        let (mut p, mut table) = (Vec::new(), Vec::new());
        for (view, theta) in thetas.chunks_exact(n).enumerate() {
            let (of_view, j) = model.jacobian(view, theta, &x)?;
            p.extend(of_view);
            table.extend(j);
        }
        let of_table = [&[views, n], &shape[1..]].concat();
        files.push(("projections.npy", Array { shape, values: T::values(p) }));
        files.push(("jacobian.npy", Array { shape: of_table, values: T::values(table) }));
    } else {
        let p = batch_forward_project(model, thetas, &x)?;
        files.push(("projections.npy", Array { shape, values: T::values(p) }));
    }
    let loss: Vec<f64> = all.iter().map(|a| a.loss).collect();
    let total = loss.iter().sum();
    let gradient = all.iter().flat_map(|a| a.gradient.iter().copied()).collect();
    let normal = all.iter().flat_map(|a| a.normal.iter().copied()).collect();
    files.push(("loss.npy", wide(vec![views], loss)));
    files.push(("gradient.npy", wide(vec![views, n], gradient)));
    files.push(("normal.npy", wide(vec![views, n, n], normal)));
    Ok((files, total))
}

impl AlignArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let set_up = read_set_up(&self.geometry, None)?;
        if !self.derivatives {
            poses::save(&self, settings)?;
            return poses::run(&self, &set_up, threads);
        }
        let Some(of_volume) = &self.volume else { bail!("--derivatives needs --volume FILE") };
        let named = || self.geometry.display().to_string();
        let (model, thetas) = set_up.pose_model().with_context(named)?;
        let volume = self.read("volume", of_volume, &model.volume().shape())?;
        let measured = self.read("projections", &self.projections, &model.shape())?;
        let precision = self.precision.unwrap_or(match volume.values {
            Values::F32(_) => Precision::F32,
            Values::F64(_) => Precision::F64,
        });
        let type_name = if precision == Precision::F32 { "float32" } else { "float64" };
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let (rays, n) = (model.shape().iter().product::<usize>(), model.parameters().len());
        let steps = model.steps();
        if self.common.dry_run {
            let images = if self.jacobian { 2 + n } else { 2 };
            let size = if precision == Precision::F32 { 4.0 } else { 8.0 };
            say::line(&format!(
                "plan of align (nothing is written)\n  kind         {}\n  parameters   {}\n  \
                 rays         {rays}\n  voxels       {}\n  samples      {} a ray, {} mm apart\n  \
                 arithmetic   {type_name}\n  threads      {threads}\n  memory       {}",
                set_up.kind_name(),
                model.parameters().join(", "),
                model.volume().len(),
                steps.count,
                steps.length_mm,
                say::bytes((model.volume().len() + images * rays) as f64 * size)
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else { bail!("--out DIR is needed, a folder") };
        if out.exists() && !out.is_dir() {
            bail!("--out {}: is a file; a folder is needed", out.display());
        }
        let (volume, measured) = (volume.values, measured.values);
        let found = match precision {
            Precision::F32 => compute::<f32>(&model, &thetas, volume, measured, self.jacobian),
            Precision::F64 => compute::<f64>(&model, &thetas, volume, measured, self.jacobian),
        };
        let (files, total) = found.with_context(named)?;
        let json = serde_json::json!({
            "verb": "align", "kind": set_up.kind_name(), "parameters": model.parameters(),
            "views": model.n_views(), "loss": total, "precision": type_name,
            "step_mm": steps.length_mm, "steps": steps.count, "projector": "trilinear",
            "version": env!("CARGO_PKG_VERSION"), "simd_level": super::input::simd(),
        });
        write(out, &files, &format!("{json:#}\n"), self.common.overwrite)?;
        if self.common.json {
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "loss {} and its derivatives with respect to {} of {} views in {}",
                say::number(total),
                model.parameters().join(", "),
                model.n_views(),
                out.display()
            ));
        }
        Ok(Outcome::Done)
    }

    /// Reads an array of a given shape.
    fn read(&self, flag: &str, path: &Path, shape: &[usize]) -> anyhow::Result<Array> {
        let array = Array::read(path)?;
        if array.shape != shape {
            bail!(
                "--{flag} {}: the shape is {:?}, but {} needs {shape:?}",
                path.display(),
                array.shape,
                self.geometry.display()
            );
        }
        if let Some((at, value)) = array.values.not_finite() {
            bail!(
                "--{flag} {}: value {at} (counted from 0) is {value}; finite numbers are needed",
                path.display()
            );
        }
        Ok(array)
    }
}

/// Writes all files or none. Files of other content stay unless `overwrite` is given.
fn write(
    out: &Path,
    files: &[(&'static str, Array)],
    record_text: &str,
    overwrite: bool,
) -> anyhow::Result<()> {
    for (name, array) in files.iter().filter(|_| !overwrite) {
        let path = out.join(name);
        if path.exists() && !Array::read(&path).is_ok_and(|found| found == *array) {
            bail!(
                "--out {}: {name} exists with other content; choose another folder, or give \
                 --overwrite",
                out.display()
            );
        }
    }
    let made = !out.exists();
    std::fs::create_dir_all(out)
        .with_context(|| format!("--out {}: cannot create the folder", out.display()))?;
    let staged: Result<Vec<_>, _> =
        files.iter().map(|(name, array)| array.stage(&out.join(name))).collect();
    let done = staged.map_err(anyhow::Error::from).and_then(|staged| {
        staged.into_iter().try_for_each(|file| file.commit())?;
        record::write_text(&out.join("run.json"), record_text)
    });
    if done.is_err() && made {
        // Only a folder without files goes.
        let _ = std::fs::remove_dir(out);
    }
    done
}
