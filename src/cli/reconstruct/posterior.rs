//! `--posterior gaussian`: mean, standard deviation and draws of the image.
//!
//! Counts c stand for the logarithms ln(I0/c) with the variance 1/c. Small images are exact (one Cholesky factor), larger ones have draws by perturb and
//! optimise. Validated by `tests/cli/image_posterior.rs`.

use super::{ReconstructArgs, of_file};
use crate::cli::job::Job;
use crate::cli::project::Precision;
use crate::cli::{Outcome, say};
use anyhow::{Context, bail};
use arrow_array::RecordBatch;
use clap::{Args, ValueHint};
use microtome_datasets::{Array, TableWriter, Values, numbers_hash};
use microtome_inference::reconstruct::posterior::{
    DENSE_VOXELS, DensePosterior, DrawSettings, GaussianImage, ImageSummary, ProfilePoint,
    RegionRow, SampledPosterior, ScaleSettings, UnknownScales, above_of_draws, profile,
    profile_table, region_table, scale_table, summary_table,
};
use microtome_models::GaussianField;
use microtome_models::ct::{SetUp, VolumeGrid};
use std::path::{Path, PathBuf};

/// Flags of the posterior of an image.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Posterior of the image")]
pub(super) struct PosteriorFlags {
    /// The posterior in place of one image, into the folder --out: gaussian (noise and
    /// differences of neighbours are normal), smoothed_tv (edges are kept; --tv-weight,
    /// --tv-eps) or laplace (the normal density about the mode of smoothed_tv).
    #[arg(long, value_name = "PRIOR", conflicts_with = "method")]
    pub(super) posterior: Option<String>,
    /// Standard deviation of the noise of every projection value; or give --weights.
    #[arg(long, value_name = "X", requires = "posterior", conflicts_with = "weights")]
    pub(super) sigma: Option<f64>,
    /// Prior: one over the variance of the difference of neighbours, mm².
    #[arg(long, value_name = "L", requires = "posterior")]
    pub(super) prior_weight: Option<f64>,
    /// Prior: pulls every voxel to 0 with this part of the weight; above 0 for --evidence.
    #[arg(long, value_name = "K", requires = "posterior", default_value_t = 0.0)]
    pub(super) prior_kappa2: f64,
    /// gaussian: the weight of the prior is unknown; its logarithm is normal about that of
    /// --prior-weight with this standard deviation.
    #[arg(long, value_name = "S", requires = "posterior")]
    pub(super) prior_weight_sd: Option<f64>,
    /// gaussian: the noise is unknown, too; the factor of its inverse variances, and of the
    /// prior's weight, is Gamma(A, A), of mean 1 and standard deviation 1/sqrt(A).
    #[arg(long, value_name = "A", requires = "prior_weight_sd")]
    sigma_shape: Option<f64>,
    /// Draws of the image; of smoothed_tv those of each chain [default: 100, there 1000].
    #[arg(long, value_name = "N", requires = "posterior")]
    pub(super) draws: Option<usize>,
    #[command(flatten)]
    pub(super) edges: super::edges::EdgeFlags,
    /// Seed of the draws.
    #[arg(long, value_name = "N", requires = "posterior", default_value_t = 0)]
    pub(super) seed: u64,
    /// Also ln p(y) in run.json, all constants in it; for images of at most 4096 voxels.
    #[arg(long, requires = "posterior")]
    pub(super) evidence: bool,
    /// Labels of regions, .npy of the image's shape: means of their voxels, 0 is outside.
    #[arg(long, value_name = "FILE", requires = "posterior", value_hint = ValueHint::FilePath)]
    pub(super) regions: Option<PathBuf>,
    /// Also the posterior of a line from one place to another, in voxels from 0 in the order
    /// of the axes: y,x:y,x or z,y,x:z,y,x.
    #[arg(long, value_name = "FROM:TO", requires = "posterior")]
    pub(super) profile: Option<String>,
    /// Also the probability of every voxel to lie above this value, 1/mm, and how much of the
    /// image does.
    #[arg(long, value_name = "X", requires = "posterior", allow_negative_numbers = true)]
    pub(super) exceed: Option<f64>,
}

impl PosteriorFlags {
    /// Counts in place of projections.
    pub(super) fn counts(&self) -> Option<&Path> {
        self.edges.counts.as_deref()
    }
}

/// Mean, standard deviations and draws, by whichever way.
pub(super) struct Found {
    summary: ImageSummary,
    draws: Vec<Vec<f64>>,
    regions: Vec<RegionRow>,
    profile: Vec<RegionRow>,
    /// Draws of weight and noise, where they are unknown.
    scales: Option<RecordBatch>,
    record: serde_json::Value,
}

impl Found {
    /// What draws say.
    pub(super) fn of_draws(
        posterior: SampledPosterior,
        labels: Option<&[f64]>,
        points: &[ProfilePoint],
        record: serde_json::Value,
    ) -> Self {
        Self {
            regions: labels.map(|l| posterior.regions(l)).unwrap_or_default(),
            profile: posterior.profile(points),
            summary: posterior.summary(),
            draws: posterior.draws,
            scales: None,
            record,
        }
    }
}

/// The points of `--profile`.
pub(super) fn points(
    flags: &PosteriorFlags,
    volume: &VolumeGrid,
) -> anyhow::Result<Vec<ProfilePoint>> {
    let Some(text) = &flags.profile else { return Ok(Vec::new()) };
    let place = |part: &str| -> Option<Vec<f64>> {
        part.split(',').map(|v| v.trim().parse().ok()).collect()
    };
    let ends = text.split_once(':').and_then(|(from, to)| Some((place(from)?, place(to)?)));
    let Some((from, to)) = ends else {
        bail!("--profile {text}: two places are needed, y,x:y,x or z,y,x:z,y,x")
    };
    profile(&volume.shape(), &volume.voxel_mm(), &from, &to)
        .with_context(|| format!("--profile {text}"))
}

/// What `run.json` says of how much lies above a limit, from numbers of voxels.
pub(super) fn above(limit: f64, volume: &VolumeGrid, voxels: [f64; 5]) -> serde_json::Value {
    let size: f64 = volume.voxel_mm().iter().product();
    let [mean, sd, q05, q50, q95] = voxels.map(|v| v * size);
    let unit = if volume.dimensions() == 2 { "mm2" } else { "mm3" };
    serde_json::json!({
        "limit": limit, "unit": unit, "mean": mean, "sd": sd, "q05": q05, "q50": q50, "q95": q95,
    })
}

pub(super) fn run(
    args: &ReconstructArgs,
    set_up: SetUp,
    y: Values,
    precision: Precision,
) -> anyhow::Result<Outcome> {
    let prior = args.posterior.posterior.as_deref().unwrap_or_default();
    match prior {
        "gaussian" => {
            args.posterior.edges.refuse_chains()?;
            args.posterior.edges.refuse_edges()?;
            if args.iterative.nonneg {
                bail!("--nonneg goes with --posterior smoothed_tv; a normal density has no bound");
            }
        }
        "smoothed_tv" | "laplace" => return super::edges::run(args, set_up, y, precision),
        _ => bail!("--posterior {prior}: unknown; use gaussian, smoothed_tv or laplace"),
    }
    let (flags, common) = (&args.posterior, &args.common);
    let n_draws = flags.draws.unwrap_or(100);
    let (flag, path) = args.data_file();
    let noise = super::edges::noise(args, &set_up, y.into_f64())?;
    noise.check().map_err(of_file(flag, path))?;
    let (y, weights) = noise.as_normal();
    let Some(weight) = flags.prior_weight else {
        bail!(
            "--posterior needs --prior-weight L: one over the variance of the difference of \
             neighbouring voxels, mm²"
        );
    };
    let shape = set_up.volume.shape();
    let field = GaussianField::new(&shape, weight, flags.prior_kappa2)
        .context("--prior-weight, --prior-kappa2")?;
    let exact = field.len() <= DENSE_VOXELS;
    if flags.evidence && !field.is_proper() {
        bail!("--evidence needs a proper prior: give --prior-kappa2 a positive number");
    }
    if flags.evidence && !exact {
        bail!(
            "--evidence is exact only, for images of at most {DENSE_VOXELS} voxels; this one has \
             {}: choose the weight on a smaller or coarser volume",
            field.len()
        );
    }
    if flags.prior_weight_sd.is_some() && !(field.is_proper() && exact) {
        bail!(
            "--prior-weight-sd needs --prior-kappa2 above 0 and at most {DENSE_VOXELS} voxels; \
             this image has {}",
            field.len()
        );
    }
    if n_draws < 2 {
        bail!("--draws {n_draws}: at least 2 are needed");
    }
    let labels = match &flags.regions {
        Some(path) => Some(labels(args, path, &shape)?),
        None => None,
    };
    let points = points(flags, &set_up.volume)?;
    let spec = serde_json::json!({
        "posterior": prior, "kind": set_up.kind_name(),
        "projector": set_up.projector.name(), "shape": shape,
        "likelihood": flags.edges.likelihood(), "i0": flags.edges.i0,
        "sigma": flags.sigma, "prior_weight": weight, "prior_kappa2": flags.prior_kappa2,
        "draws": n_draws, "seed": flags.seed, "evidence": flags.evidence,
        "exceed": flags.exceed, "profile": flags.profile,
        "precision": if precision == Precision::F32 { "float32" } else { "float64" },
    });
    if common.dry_run {
        say::line(&format!("plan of reconstruct --posterior (nothing is written)\n{spec:#}"));
        return Ok(Outcome::Done);
    }
    let Some(out) = &args.out else { bail!("--out DIR is needed: the folder of the results") };
    let transform = set_up.clone().transform()?;
    let content = [
        format!("{set_up:?}"),
        format!("{:?} {:?}", numbers_hash(&y), numbers_hash(&weights)),
        format!("{:?}", labels.as_deref().map(numbers_hash)),
    ];
    let Some(job) = Job::begin("posterior", out, &content, &spec, common)? else {
        return Ok(Outcome::Done);
    };
    let image = GaussianImage::new(&transform, &y, weights, field).map_err(of_file(flag, path))?;
    let found = if let Some(weight_sd) = flags.prior_weight_sd {
        let unknown = ScaleSettings {
            weight_sd,
            noise_shape: flags.sigma_shape,
            draws: n_draws,
            seed: flags.seed,
        };
        scaled(&image, &unknown, flags.evidence, labels.as_deref(), &points)?
    } else if exact {
        dense(&image, flags, n_draws, labels.as_deref(), &points)?
    } else {
        sampled(&image, flags, n_draws, labels.as_deref(), &points)?
    };
    let how = match (flags.prior_weight_sd.is_some(), exact) {
        (true, _) => "with an unknown weight, by draws",
        (false, true) => "exact",
        (false, false) => "by draws",
    };
    conclude(args, job, &set_up.volume, found, &points, precision, how)
}

/// Writes what was found and says where.
pub(super) fn conclude(
    args: &ReconstructArgs,
    job: Job<'_>,
    volume: &VolumeGrid,
    found: Found,
    points: &[ProfilePoint],
    precision: Precision,
    how: &str,
) -> anyhow::Result<Outcome> {
    let (flags, common, shape) = (&args.posterior, &args.common, volume.shape());
    let mut more = found.record.clone();
    if let Some(limit) = flags.exceed {
        more["above"] = above(limit, volume, above_of_draws(&found.draws, limit));
    }
    more["seed"] = flags.seed.into();
    let record = job.write(|out| write(out, &shape, &found, points, flags, precision), more)?;
    if common.json {
        say::line(&record.to_string());
    } else if !common.quiet {
        let out = args.out.as_deref().unwrap_or(Path::new("")).display();
        say::line(&format!("the posterior of an image {shape:?} ({how}) in {out}"));
        if let Some(ln) = found.record["log_evidence"].as_f64() {
            say::line(&format!("  ln p(y) {ln:.3}"));
        }
    }
    Ok(Outcome::Done)
}

/// Inverse variances of the projections.
pub(super) fn weights(
    args: &ReconstructArgs,
    set_up: &SetUp,
    n: usize,
) -> anyhow::Result<Vec<f64>> {
    Ok(match (&args.iterative.weights, args.posterior.sigma) {
        (Some(path), _) => args.read_weights(path, set_up)?.into_f64(),
        (None, Some(sigma)) if sigma > 0.0 && sigma.is_finite() => vec![1.0 / (sigma * sigma); n],
        (None, Some(sigma)) => bail!("--sigma {sigma}: a positive number is needed"),
        (None, None) => bail!(
            "--posterior needs the noise: --sigma X, or --weights FILE with inverse variances"
        ),
    })
}

pub(super) fn labels(
    args: &ReconstructArgs,
    path: &Path,
    shape: &[usize],
) -> anyhow::Result<Vec<f64>> {
    let values = args.read("regions", path, shape)?.values.into_f64();
    let whole = |v: &&f64| !(v.fract() == 0.0 && (0.0..1e9).contains(*v));
    if let Some(v) = values.iter().find(whole) {
        bail!("--regions {}: {v} is no label; 0, 1, 2, ... are needed", path.display());
    }
    if values.iter().all(|v| *v == 0.0) {
        bail!("--regions {}: no voxel has a label above 0", path.display());
    }
    Ok(values)
}

fn dense(
    image: &GaussianImage<'_>,
    flags: &PosteriorFlags,
    n_draws: usize,
    labels: Option<&[f64]>,
    points: &[ProfilePoint],
) -> anyhow::Result<Found> {
    let posterior = DensePosterior::new(image)?;
    let draws: Vec<Vec<f64>> = (0..n_draws).map(|k| posterior.draw(flags.seed, k as u32)).collect();
    let record = serde_json::json!({
        "exact": true,
        "log_evidence": if flags.evidence { posterior.ln_evidence() } else { None },
    });
    Ok(Found {
        regions: labels.map(|l| posterior.regions(l)).unwrap_or_default(),
        profile: posterior.profile(points),
        summary: posterior.summary(),
        draws,
        scales: None,
        record,
    })
}

fn sampled(
    image: &GaussianImage<'_>,
    flags: &PosteriorFlags,
    n_draws: usize,
    labels: Option<&[f64]>,
    points: &[ProfilePoint],
) -> anyhow::Result<Found> {
    let settings = DrawSettings { draws: n_draws, seed: flags.seed, ..DrawSettings::default() };
    let posterior = SampledPosterior::new(image, &settings)?;
    let record = serde_json::json!({
        "exact": false,
        "mean_iterations": posterior.mean_iterations, "mean_residual": posterior.mean_residual,
        "draw_iterations": posterior.draw_iterations, "draw_residual": posterior.draw_residual,
    });
    Ok(Found::of_draws(posterior, labels, points, record))
}

fn scaled(
    image: &GaussianImage<'_>,
    settings: &ScaleSettings,
    evidence: bool,
    labels: Option<&[f64]>,
    points: &[ProfilePoint],
) -> anyhow::Result<Found> {
    let posterior = UnknownScales::new(image)?.sample(settings)?;
    let told = |draws: &[f64]| {
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        serde_json::json!({ "mean": mean, "sd": variance.sqrt() })
    };
    let record = serde_json::json!({
        "exact": false,
        "prior_weight": told(&posterior.weight), "sigma_factor": told(&posterior.noise),
        "log_evidence": evidence.then_some(posterior.ln_evidence),
    });
    let scales = scale_table(&posterior)?;
    let mut found = Found::of_draws(posterior.images, labels, points, record);
    found.scales = Some(scales);
    Ok(found)
}

/// Writes the results; returns their names.
fn write(
    out: &Path,
    shape: &[usize],
    found: &Found,
    points: &[ProfilePoint],
    flags: &PosteriorFlags,
    precision: Precision,
) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut array = |name: &str, shape: &[usize], values: Vec<f64>| {
        let values = match precision {
            Precision::F32 => Values::F32(values.iter().map(|v| *v as f32).collect()),
            Precision::F64 => Values::F64(values),
        };
        names.push(name.to_string());
        Array { shape: shape.to_vec(), values }.write(&out.join(name))
    };
    let summary = &found.summary;
    array("mean.npy", shape, summary.mean.clone())?;
    array("sd.npy", shape, summary.sd.clone())?;
    array("sd_mcse.npy", shape, summary.sd_mcse.clone())?;
    if let Some(limit) = flags.exceed {
        array("exceedance.npy", shape, summary.exceedance(limit))?;
    }
    let mut of_draws = vec![found.draws.len()];
    of_draws.extend(shape);
    array("draws.npy", &of_draws, found.draws.concat())?;
    let mut tables = vec![("summary.parquet", summary_table(summary)?)];
    if !found.regions.is_empty() {
        tables.push(("regions.parquet", region_table(&found.regions)?));
    }
    if !points.is_empty() {
        tables.push(("profile.parquet", profile_table(points, &found.profile)?));
    }
    if let Some(batch) = &found.scales {
        tables.push(("scales.parquet", batch.clone()));
    }
    for (name, batch) in tables {
        let mut writer = TableWriter::create(&out.join(name), batch.schema(), None)?;
        writer.write(&batch)?;
        writer.finish()?;
        names.push(name.to_string());
    }
    Ok(names)
}
