//! `microtome project` and `microtome backproject`: projections of a volume, and the
//! exact transpose.
//!
//! Arithmetic and output have the number type of the input unless `--precision` says
//! otherwise. Validated by `tests/cli/ct.rs`.

use super::config::{self, Setting};
use super::flags::CommonFlags;
use super::streaming::{self, Plan};
use super::{Outcome, say};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum, ValueHint};
use microtome_datasets::{
    Array, ArrayFormat, ArrayPieces, StagedArray, Values, read_projections, read_set_up,
    write_array,
};
use microtome_kernels::ray::Real;
use microtome_models::ct::{CtError, RayTransform};
use std::path::{Path, PathBuf};

/// Number type of arithmetic and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Precision {
    F32,
    F64,
}

/// Computes the projections of a volume.
///
/// Every ray is the sum over the voxels it meets of value x length (mm). Writes
/// [view, u] for plane geometries and [view, v, u] for those in space.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
G.toml:
  kind = \"cone3d\"               # parallel2d, fan2d, parallel3d, cone3d, or pose5
  views = \"views.npy\"           # one row a view (ASTRA's vectors), or a [trajectory] table
  detector = [nv, nu]           # [nu] in the plane
  projector = \"joseph\"          # or siddon, trilinear, sf
  [volume]
  shape = [nz, ny, nx]          # [ny, nx] in the plane
  voxel_mm = [hz, hy, hx]
  centre_mm = [cz, cy, cx]      # optional; so is axes = [[x, y, z], ...] of iz, iy, ix

A volume that moves from view to view (docs/pose.md):
  kind = \"pose5\"
  poses = \"theta.npy\"           # alpha, beta, phi (rad), dx, dz (mm), one row a view
  detector = [nv, nu]
  pixel_mm = [dv, du]

Example:
  microtome project --volume phantom.npy --geometry cone.toml --out projections.npy

Joseph 1982, doi:10.1109/TMI.1982.4307572; Siddon 1985, doi:10.1118/1.595715.")]
pub(crate) struct ProjectArgs {
    /// The volume: .npy [z, y, x], in the plane [y, x]; 1/mm for projections without unit.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    volume: PathBuf,
    #[command(flatten)]
    shared: SharedFlags,
}

/// Spreads projections over the voxels their rays met: the exact transpose of project.
///
/// This is no reconstruction: it is the other half of every iterative one.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  microtome backproject --projections p.npy --geometry cone.toml --out b.npy

The set-up file is that of `microtome project`.")]
pub(crate) struct BackprojectArgs {
    /// The projections: .npy [view, v, u], in the plane [view, u].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    projections: PathBuf,
    #[command(flatten)]
    shared: SharedFlags,
}

/// What both verbs have.
#[derive(Debug, Clone, Args)]
struct SharedFlags {
    /// The set-up: a TOML file with views, detector and volume.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    geometry: PathBuf,
    /// The result: .npy; float32 as .tif, .nii, .nii.gz, or slices in a folder DIR/.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
    /// joseph, siddon, trilinear or sf, in place of the one in the set-up file.
    #[arg(long, value_name = "NAME")]
    projector: Option<String>,
    /// Number type of arithmetic and output; that of the input when left out.
    #[arg(long, value_enum, value_name = "TYPE")]
    precision: Option<Precision>,
    /// Most memory to use, such as 500MB or 2GiB: the arrays are read and written in pieces
    /// (.npy only) where they would take more.
    #[arg(long, value_name = "SIZE", value_parser = streaming::parse_size)]
    max_memory: Option<usize>,
    #[command(flatten)]
    common: CommonFlags,
}

/// A map between arrays of one number type.
trait Map {
    fn of<T: Real>(&self, input: &[T]) -> Result<Vec<T>, CtError>;
}

struct Forward<'a>(&'a RayTransform);
struct Back<'a>(&'a RayTransform);

impl Map for Forward<'_> {
    fn of<T: Real>(&self, input: &[T]) -> Result<Vec<T>, CtError> {
        self.0.apply(input)
    }
}

impl Map for Back<'_> {
    fn of<T: Real>(&self, input: &[T]) -> Result<Vec<T>, CtError> {
        self.0.adjoint(input)
    }
}

impl ProjectArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        self.shared.run(settings, "project", "volume", &self.volume)
    }
}

impl BackprojectArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        self.shared.run(settings, "backproject", "projections", &self.projections)
    }
}

impl SharedFlags {
    fn run(
        &self,
        settings: &[Setting],
        verb: &str,
        what: &str,
        input: &Path,
    ) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let set_up = read_set_up(&self.geometry, self.projector.as_deref())?;
        let kind = set_up.kind_name();
        let described = set_up.clone();
        let transform = set_up.transform().with_context(|| self.geometry.display().to_string())?;
        let volume = transform.volume().shape();
        let projections = transform.geometry().shape();
        let (from, to) =
            if verb == "project" { (volume, projections) } else { (projections, volume) };
        if let Some(most) = self.max_memory {
            let found = ArrayPieces::open(input)?;
            let (single, shape) = (found.is_f32(), found.shape().to_vec());
            let single = self.precision.map_or(single, |p| p == Precision::F32);
            let size = if single { 4 } else { 8 };
            let plan = Plan::new(&transform, verb == "project", size, most)?;
            if let Some(plan) = plan {
                if shape != from {
                    bail!(
                        "--{what} {}: the shape is {shape:?}, but {} needs {from:?}",
                        input.display(),
                        self.geometry.display()
                    );
                }
                return self.stream(settings, verb, input, &transform, plan, single);
            }
        }
        let array = match verb {
            "backproject" if described.reduction.is_some() => read_projections(input, &described)?,
            _ => Array::read(input)?,
        };
        if array.shape != from {
            bail!(
                "--{what} {}: the shape is {:?}, but {} needs {from:?}",
                input.display(),
                array.shape,
                self.geometry.display()
            );
        }
        if let Some((at, value)) = array.values.not_finite() {
            bail!(
                "--{what} {}: the value at {:?} is {value}; finite numbers are needed",
                input.display(),
                index(at, &from)
            );
        }
        let precision = self.precision.unwrap_or(match array.values {
            Values::F32(_) => Precision::F32,
            Values::F64(_) => Precision::F64,
        });
        let type_name = if precision == Precision::F32 { "float32" } else { "float64" };
        let size = if precision == Precision::F32 { 4.0 } else { 8.0 };
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let bytes = (transform.n_rays() + transform.volume().len()) as f64 * size;
        if self.common.dry_run {
            say::line(&format!(
                "plan of {verb} (nothing is written)\n  kind         {}\n  projector    {}\n  \
                 rays         {}\n  voxels       {}\n  arithmetic   {type_name}\n  \
                 threads      {threads}\n  memory       {} and some 64 MB of buffers",
                kind,
                transform.projector().name(),
                transform.n_rays(),
                transform.volume().len(),
                say::bytes(bytes)
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else {
            bail!("--out FILE is needed: .npy, .tif, .nii, .nii.gz, or a folder DIR/ of slices")
        };
        ArrayFormat::of(out).context("--out")?;
        let values = if verb == "project" {
            compute(&Forward(&transform), array.values, precision)
        } else {
            compute(&Back(&transform), array.values, precision)
        };
        let result = Array { shape: to, values: values.with_context(|| what.to_string())? };
        let grid = (verb == "backproject").then(|| transform.volume());
        write_array(&result, grid, out, self.common.overwrite).context("--out")?;
        if self.common.json {
            let json = serde_json::json!({
                "verb": verb, "kind": kind,
                "projector": transform.projector().name(), "shape": result.shape,
                "precision": type_name, "out": out, "simd_level": super::input::simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            let of = if verb == "project" { "projections" } else { "a volume" };
            say::line(&format!("{of} {:?} ({type_name}) in {}", result.shape, out.display()));
        }
        Ok(Outcome::Done)
    }
}

impl SharedFlags {
    /// The same in pieces.
    fn stream(
        &self,
        settings: &[Setting],
        verb: &str,
        input: &Path,
        transform: &RayTransform,
        plan: Plan,
        single: bool,
    ) -> anyhow::Result<Outcome> {
        let type_name = if single { "float32" } else { "float64" };
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let pieces =
            format!("{} views and {} slices at once", plan.views.max(1), plan.slices.max(1));
        if self.common.dry_run {
            say::line(&format!(
                "plan of {verb} (nothing is written)\n  kind         {}\n  projector    {}\n  \
                 rays         {}\n  voxels       {}\n  arithmetic   {}\n  pieces       {pieces}",
                transform.geometry().kind().name(),
                transform.projector().name(),
                transform.n_rays(),
                transform.volume().len(),
                if plan.exact { type_name } else { "float64" },
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = &self.out else { bail!("--out FILE is needed, a .npy file") };
        if ArrayFormat::of(out).context("--out")? != ArrayFormat::Npy {
            bail!("--out {}: --max-memory writes .npy files only", out.display());
        }
        let file = match (verb, single) {
            ("project", true) => streaming::project::<f32>(transform, plan, input, out),
            ("project", false) => streaming::project::<f64>(transform, plan, input, out),
            (_, true) => streaming::backproject::<f32>(transform, plan, input, out),
            (_, false) => streaming::backproject::<f64>(transform, plan, input, out),
        }?;
        StagedArray::File(file).commit(self.common.overwrite).context("--out")?;
        let shape = match verb {
            "project" => transform.geometry().shape(),
            _ => transform.volume().shape(),
        };
        if self.common.json {
            let json = serde_json::json!({
                "verb": verb, "kind": transform.geometry().kind().name(),
                "projector": transform.projector().name(), "shape": shape,
                "precision": type_name, "out": out, "simd_level": super::input::simd(),
                "views_at_once": plan.views, "slices_at_once": plan.slices,
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            let of = if verb == "project" { "projections" } else { "a volume" };
            say::line(&format!("{of} {shape:?} ({type_name}) in {}, {pieces}", out.display()));
        }
        Ok(Outcome::Done)
    }
}

fn compute(map: &impl Map, input: Values, precision: Precision) -> Result<Values, CtError> {
    Ok(match precision {
        Precision::F32 => Values::F32(map.of(&input.into_f32())?),
        Precision::F64 => Values::F64(map.of(&input.into_f64())?),
    })
}

/// The index of a value along every axis.
fn index(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut out: Vec<usize> = shape
        .iter()
        .rev()
        .map(|n| {
            let i = at % n;
            at /= n;
            i
        })
        .collect();
    out.reverse();
    out
}
