//! The direct methods: filtered backprojection of parallel beams, fans and cones.

use super::{Job, Method, Outcome, of_file};
use crate::cli::project::Precision;
use crate::cli::say;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use microtome_datasets::{Array, Values, write_array};
use microtome_inference::reconstruct::{
    Filter, FilteredBackprojection, Number, ReconstructError, Sharing,
};
use microtome_models::ct::GeometryKind;
use std::path::Path;

/// A direct method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Analytic {
    Fbp,
    Fdk,
}

impl Analytic {
    pub(super) const NAMES: [&'static str; 2] = ["fbp", "fdk"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "fbp" => Some(Self::Fbp),
            "fdk" => Some(Self::Fdk),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fbp => "fbp",
            Self::Fdk => "fdk",
        }
    }
}

/// How measurements of the same line are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scan {
    /// Chosen from the geometry.
    Auto,
    /// Equal weights.
    Full,
    /// Parker's weights of a short scan.
    Short,
    /// Wang's weights of a detector that is to one side.
    Offset,
}

/// Flags of the direct methods.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Direct methods")]
pub(super) struct AnalyticFlags {
    /// Window of the ramp: ram_lak, shepp_logan, cosine, hamming, hann, or a .npy with gains
    /// at equally spaced frequencies from 0 to half a period a pixel [default: ram_lak].
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Weights of lines that are measured twice [default: auto].
    #[arg(long, value_enum, value_name = "NAME")]
    scan: Option<Scan>,
}

impl AnalyticFlags {
    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        [(self.filter.is_some(), "--filter"), (self.scan.is_some(), "--scan")]
            .into_iter()
            .find_map(|(given, name)| given.then_some(name))
    }

    fn filter(&self) -> anyhow::Result<Filter> {
        match &self.filter {
            None => Ok(Filter::default()),
            Some(name) if name.ends_with(".npy") => {
                let path = Path::new(name);
                let array = Array::read(path)?;
                if array.shape.len() != 1 {
                    bail!(
                        "--filter {name}: the shape is {:?}; one row of gains is needed",
                        array.shape
                    );
                }
                Ok(Filter::Custom(array.values.into_f64()))
            }
            Some(name) => Filter::parse(name).map_err(|_: ReconstructError| {
                let names = Filter::NAMED.map(|f| f.name()).join(", ");
                anyhow::anyhow!("--filter {name}: unknown; use {names}, or a .npy file of gains")
            }),
        }
    }

    fn sharing(&self) -> Sharing {
        match self.scan {
            None | Some(Scan::Auto) => Sharing::Auto,
            Some(Scan::Full) => Sharing::Full,
            Some(Scan::Short) => Sharing::Short,
            Some(Scan::Offset) => Sharing::Offset,
        }
    }
}

pub(super) fn run(job: &Job<'_>, method: Analytic, y: Values) -> anyhow::Result<Outcome> {
    let name = method.name();
    if let Some(flag) = job.args.iterative.given() {
        bail!("{flag} is of the iterative methods; --method {name} does not take it");
    }
    if job.args.projector.is_some() {
        bail!("--projector is of the iterative methods; --method {name} looks up its voxels");
    }
    let kind = job.set_up.geometry.kind();
    match (method, kind) {
        (Analytic::Fbp, GeometryKind::Cone3d) => {
            bail!("--method fbp: is for parallel beams and fans; cone3d needs --method fdk")
        }
        (Analytic::Fdk, k) if k != GeometryKind::Cone3d => {
            bail!("--method fdk: is for cone3d; {} needs --method fbp", k.name())
        }
        _ => {}
    }
    let flags = &job.args.analytic;
    let filter = flags.filter()?;
    let filter_name = filter.name();
    let (geometry, volume) = (&job.set_up.geometry, &job.set_up.volume);
    let fbp = FilteredBackprojection::new(geometry, volume, filter, flags.sharing())
        .map_err(of_file("geometry", &job.args.geometry))?;
    if job.args.common.dry_run {
        let mut more = vec![("filter", filter_name.to_string())];
        more.extend(fbp.notes().iter().map(|n| ("weights", n.clone())));
        job.plan(name, &more);
        return Ok(Outcome::Done);
    }
    let Some(out) = job.out else { bail!("--out FILE is needed, a .npy file") };
    if !job.args.common.quiet {
        for note in fbp.notes() {
            say::note(note);
        }
    }
    let values = match job.precision {
        Precision::F32 => Values::F32(compute(job, &fbp, &y.into_f32())?),
        Precision::F64 => Values::F64(compute(job, &fbp, &y.into_f64())?),
    };
    let result = Array { shape: volume.shape(), values };
    let grid = Some(&job.set_up.volume);
    write_array(&result, grid, out, job.args.common.overwrite).context("--out")?;
    let more = serde_json::json!({ "filter": filter_name, "notes": fbp.notes() });
    job.conclude(Method::Analytic(method), out, more);
    Ok(Outcome::Done)
}

fn compute<T: Number>(
    job: &Job<'_>,
    fbp: &FilteredBackprojection,
    y: &[T],
) -> anyhow::Result<Vec<T>> {
    fbp.reconstruct(y).map_err(of_file("projections", job.args.projections_path()))
}
