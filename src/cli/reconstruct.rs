//! `microtome reconstruct`: a volume from projections.
//!
//! `analytic` has the direct methods, `iterative` those that take steps, `posterior` what
//! says how sure an image is. Validated by `tests/cli/analytic.rs`, `image_posterior.rs` and
//! `inference/tests/suite/reconstruct/`.

mod analytic;
mod edges;
mod iterative;
mod posterior;

use super::config::{self, Setting};
use super::flags::CommonFlags;
use super::project::Precision;
use super::{Outcome, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use microtome_datasets::{Array, ArrayFormat, Values, read_projections, read_set_up, read_weights};
use microtome_inference::reconstruct::Algorithm;
use microtome_models::ct::SetUp;
use std::path::{Path, PathBuf};

/// Reconstructs a volume from projections.
///
/// Everything is in the unit of the projections: value x length (mm), so that projections
/// without unit give a volume in 1/mm.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Methods:
  fbp, fdk                       filtered backprojection (parallel, fan; cone)
  sirt, sart, os_sart            algebraic: all views at once, one by one, subsets
  cgls, lsqr                     least squares in Krylov spaces; no bounds
  mlem, osem                     Poisson likelihood; projections >= 0
  tv_pocs, asd_pocs, awtv_pocs   data, bounds and total variation in turn
  fista_tv, pdhg_tv              least squares and total variation, --tv-weight

Beside V.npy of an iterative method stands V.history.parquet: a row an iteration.
Ctrl-C keeps what was reached in V.npy.checkpoint; the same line again goes on from there
and gives the same bits.

Example:
  microtome reconstruct --projections p.npy --geometry cone.toml --method sirt \\
    --iterations 100 --nonneg --out v.npy

The set-up file is that of `microtome project`. docs/iterative.md says which method
is for what.")]
pub(crate) struct ReconstructArgs {
    /// The projections: .npy [view, v, u], in the plane [view, u].
    #[arg(long, value_name = "FILE", required_unless_present = "counts",
        value_hint = ValueHint::FilePath)]
    projections: Option<PathBuf>,
    /// The set-up: a TOML file with views, detector and volume.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    geometry: PathBuf,
    /// The method; see the list below.
    #[arg(long, value_name = "NAME", required_unless_present = "posterior")]
    method: Option<String>,
    /// The volume: .npy [z, y, x], in the plane [y, x]; float32 as .tif, .nii, .nii.gz, or
    /// slices in a folder DIR/.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
    /// The projector of the iterative methods, in place of the one in the set-up file.
    #[arg(long, value_name = "NAME")]
    projector: Option<String>,
    /// Number type of arithmetic and output; that of the projections when left out.
    #[arg(long, value_enum, value_name = "TYPE")]
    precision: Option<Precision>,
    #[command(flatten)]
    analytic: analytic::AnalyticFlags,
    #[command(flatten)]
    iterative: iterative::IterativeFlags,
    #[command(flatten)]
    posterior: posterior::PosteriorFlags,
    #[command(flatten)]
    common: CommonFlags,
}

/// The two families of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Analytic(analytic::Analytic),
    Iterative(Algorithm),
}

impl Method {
    fn parse(name: &str) -> anyhow::Result<Self> {
        if let Some(method) = analytic::Analytic::parse(name) {
            return Ok(Self::Analytic(method));
        }
        Algorithm::parse(name).map(Self::Iterative).map_err(|_| {
            let mut known: Vec<&str> = analytic::Analytic::NAMES.to_vec();
            known.extend(Algorithm::ALL.map(Algorithm::name));
            anyhow::anyhow!("--method {name}: unknown; use {}", known.join(", "))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Analytic(m) => m.name(),
            Self::Iterative(m) => m.name(),
        }
    }
}

/// What both families need, read and checked.
struct Job<'a> {
    args: &'a ReconstructArgs,
    set_up: SetUp,
    precision: Precision,
    threads: usize,
    /// Where the volume goes; there is none in a dry run.
    out: Option<&'a Path>,
}

impl ReconstructArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let method = self.method.as_deref().map(Method::parse).transpose()?;
        let set_up = read_set_up(&self.geometry, self.projector.as_deref())?;
        let shape = set_up.geometry.shape();
        let projections = match self.posterior.counts() {
            Some(path) => self.read("counts", path, &shape)?,
            None => read_projections(self.projections_path(), &set_up).context("--projections")?,
        };
        let precision = self.precision.unwrap_or(match projections.values {
            Values::F32(_) => Precision::F32,
            Values::F64(_) => Precision::F64,
        });
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        let Some(method) = method else {
            return posterior::run(&self, set_up, projections.values, precision);
        };
        let out = match (&self.out, self.common.dry_run) {
            (Some(out), _) => {
                ArrayFormat::of(out).context("--out")?;
                Some(out.as_path())
            }
            (None, true) => None,
            (None, false) => {
                bail!("--out FILE is needed: .npy, .tif, .nii, .nii.gz, or a folder DIR/ of slices")
            }
        };
        let job = Job { args: &self, set_up, precision, threads, out };
        match method {
            Method::Analytic(m) => analytic::run(&job, m, projections.values),
            Method::Iterative(m) => iterative::run(&job, m, projections.values),
        }
    }

    /// Reads the inverse variances of the projections.
    fn read_weights(&self, path: &Path, set_up: &SetUp) -> anyhow::Result<Values> {
        Ok(read_weights(path, set_up).context("--weights")?.values)
    }

    /// The file of the projections; empty where counts stand in for them.
    fn projections_path(&self) -> &Path {
        self.projections.as_deref().unwrap_or(Path::new(""))
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
        Ok(array)
    }
}

impl Job<'_> {
    fn type_name(&self) -> &'static str {
        if self.precision == Precision::F32 { "float32" } else { "float64" }
    }

    /// What both families say of their plan.
    fn plan(&self, method: &str, more: &[(&str, String)]) {
        let (geometry, volume) = (&self.set_up.geometry, &self.set_up.volume);
        let rays: usize = geometry.shape().iter().product();
        say::line("plan of reconstruct (nothing is written)");
        let mut rows = vec![
            ("method", method.to_string()),
            ("kind", self.set_up.kind_name().to_string()),
            ("rays", rays.to_string()),
            ("voxels", volume.len().to_string()),
            ("arithmetic", self.type_name().to_string()),
            ("threads", self.threads.to_string()),
        ];
        rows.extend(more.iter().map(|(k, v)| (*k, v.clone())));
        for (name, value) in rows {
            say::line(&format!("  {name:<12} {value}"));
        }
    }

    /// Says where the volume is.
    fn conclude(&self, method: Method, out: &Path, more: serde_json::Value) {
        let shape = self.set_up.volume.shape();
        let common = &self.args.common;
        if common.json {
            let mut json = serde_json::json!({
                "verb": "reconstruct", "method": method.name(),
                "kind": self.set_up.kind_name(), "shape": shape,
                "precision": self.type_name(), "out": out, "simd_level": super::input::simd(),
            });
            if let (Some(json), serde_json::Value::Object(more)) = (json.as_object_mut(), more) {
                json.extend(more);
            }
            say::line(&json.to_string());
        } else if !common.quiet {
            say::line(&format!("a volume {shape:?} ({}) in {}", self.type_name(), out.display()));
        }
    }
}

/// The file at fault before a reason.
fn of_file<E>(flag: &str, path: &Path) -> impl FnOnce(E) -> anyhow::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let text = format!("--{flag} {}", path.display());
    move |e| anyhow::Error::from(e).context(text)
}
