//! `--posterior smoothed_tv`: draws of an image whose edges are kept, by Hamiltonian chains;
//! `--posterior laplace`: the normal density about its mode, by random probes.
//!
//! Validated by `tests/cli/edge_posterior.rs`.

use super::posterior::{Found, above, conclude, labels, points, weights};
use super::{ReconstructArgs, of_file};
use crate::cli::job::Job;
use crate::cli::project::Precision;
use crate::cli::{Outcome, say};
use anyhow::bail;
use arrow_array::RecordBatch;
use clap::{Args, ValueHint};
use microtome_datasets::{Array, TableWriter, Values, numbers_hash};
use microtome_inference::reconstruct::posterior::{
    ChainSettings, EdgePosterior, EdgePrior, ImageChains, ImageNoise, LaplaceSettings, VoxelRow,
    chain_table, profile_chain_table,
};
use microtome_models::ct::SetUp;
use std::path::{Path, PathBuf};

/// Flags of the smoothed total variation.
#[derive(Debug, Clone, Args)]
pub(super) struct EdgeFlags {
    /// smoothed_tv, laplace: rounding of the root of the squared differences, 1/mm.
    #[arg(long, value_name = "E", requires = "posterior")]
    tv_eps: Option<f64>,
    /// smoothed_tv, laplace: adds (M/2) times the sum of squared voxels, mm²; without it the prior
    /// is improper.
    #[arg(long, value_name = "M", requires = "posterior")]
    prior_ridge: Option<f64>,
    /// smoothed_tv: chains [default: 4].
    #[arg(long, value_name = "N", requires = "posterior")]
    chains: Option<usize>,
    /// smoothed_tv: draws of the warm-up of each chain [default: 500].
    #[arg(long, value_name = "N", requires = "posterior")]
    tune: Option<usize>,
    /// smoothed_tv: keeps one of N draws [default: 1].
    #[arg(long, value_name = "N", requires = "posterior")]
    thin: Option<usize>,
    /// normal (with --sigma or --weights) or poisson (with --counts and --i0; gaussian takes
    /// the logarithms of the counts for normal).
    #[arg(long, value_name = "NAME", requires = "posterior")]
    likelihood: Option<String>,
    /// Counts of photons in place of the projections, .npy of their shape.
    #[arg(long, value_name = "FILE", requires_all = ["posterior", "likelihood", "i0"],
        conflicts_with = "projections", value_hint = ValueHint::FilePath)]
    pub(super) counts: Option<PathBuf>,
    /// The expected count of a ray without object.
    #[arg(long, value_name = "X", requires = "counts")]
    pub(super) i0: Option<f64>,
}

impl EdgeFlags {
    /// The likelihood's name.
    pub(super) fn likelihood(&self) -> &str {
        self.likelihood.as_deref().unwrap_or("normal")
    }

    /// For what has no chains: none of these may be given.
    pub(super) fn refuse_chains(&self) -> anyhow::Result<()> {
        refuse(&[
            (self.chains.is_some(), "--chains"),
            (self.tune.is_some(), "--tune"),
            (self.thin.is_some(), "--thin"),
        ])
    }

    /// For another prior: none of these may be given.
    pub(super) fn refuse_edges(&self) -> anyhow::Result<()> {
        refuse(&[
            (self.tv_eps.is_some(), "--tv-eps"),
            (self.prior_ridge.is_some(), "--prior-ridge"),
        ])
    }
}

fn refuse(given: &[(bool, &str)]) -> anyhow::Result<()> {
    match given.iter().find(|(given, _)| *given) {
        Some((_, name)) => bail!("{name} goes with --posterior smoothed_tv"),
        None => Ok(()),
    }
}

/// The noise that the flags say.
pub(super) fn noise(
    args: &ReconstructArgs,
    set_up: &SetUp,
    y: Vec<f64>,
) -> anyhow::Result<ImageNoise> {
    let flags = &args.posterior.edges;
    match flags.likelihood() {
        "normal" if flags.counts.is_none() => {
            Ok(ImageNoise::Normal { weights: weights(args, set_up, y.len())?, projections: y })
        }
        "poisson" => match (flags.counts.is_some(), flags.i0) {
            (true, Some(_)) if args.posterior.sigma.is_some() => {
                bail!("--sigma: the noise of counts is theirs; leave it out")
            }
            (true, Some(_)) if args.iterative.weights.is_some() => {
                bail!("--weights: the noise of counts is theirs; leave them out")
            }
            (true, Some(i0)) => Ok(ImageNoise::Poisson { counts: y, i0 }),
            _ => bail!("--likelihood poisson needs --counts FILE and --i0 X"),
        },
        "normal" => bail!("--counts goes with --likelihood poisson"),
        other => bail!("--likelihood {other}: unknown; use normal or poisson"),
    }
}

pub(super) fn run(
    args: &ReconstructArgs,
    set_up: SetUp,
    y: Values,
    precision: Precision,
) -> anyhow::Result<Outcome> {
    let (all, flags, common) = (&args.posterior, &args.posterior.edges, &args.common);
    let name = all.posterior.as_deref().unwrap_or_default();
    let laplace = name == "laplace";
    if laplace {
        flags.refuse_chains()?;
        if args.iterative.nonneg {
            bail!("--nonneg goes with --posterior smoothed_tv; a normal density has no bound");
        }
    }
    if all.prior_weight_sd.is_some()
        || all.prior_weight.is_some()
        || all.prior_kappa2 != 0.0
        || all.evidence
    {
        bail!(
            "--prior-weight, --prior-kappa2 and --evidence go with --posterior gaussian; \
             {name} takes --tv-weight, --tv-eps and --prior-ridge"
        );
    }
    let (Some(weight), Some(rounding)) = (args.iterative.tv_weight, flags.tv_eps) else {
        bail!("--posterior {name} needs --tv-weight L (mm) and --tv-eps E (1/mm)");
    };
    let ridge = flags.prior_ridge.unwrap_or(0.0);
    let defaults = ChainSettings::default();
    let settings = ChainSettings {
        chains: flags.chains.unwrap_or(defaults.chains),
        tune: flags.tune.unwrap_or(defaults.tune),
        draws: all.draws.unwrap_or(defaults.draws),
        thin: flags.thin.unwrap_or(defaults.thin),
        seed: all.seed,
    };
    let n_draws = all.draws.unwrap_or(if laplace { 100 } else { settings.draws });
    let shape = set_up.volume.shape();
    let noise = noise(args, &set_up, y.into_f64())?;
    let labels = match &all.regions {
        Some(path) => Some(labels(args, path, &shape)?),
        None => None,
    };
    let points = points(all, &set_up.volume)?;
    let mut spec = serde_json::json!({
        "posterior": name, "kind": set_up.kind_name(),
        "projector": set_up.projector.name(), "shape": shape,
        "likelihood": flags.likelihood(), "nonneg": args.iterative.nonneg,
        "sigma": all.sigma, "i0": flags.i0, "tv_weight": weight, "tv_eps": rounding,
        "prior_ridge": ridge, "proper_prior": ridge > 0.0,
        "draws": n_draws, "seed": settings.seed, "exceed": all.exceed, "profile": all.profile,
        "precision": if precision == Precision::F32 { "float32" } else { "float64" },
    });
    if !laplace {
        for (key, value) in
            [("chains", settings.chains), ("tune", settings.tune), ("thin", settings.thin)]
        {
            spec[key] = value.into();
        }
    }
    if common.dry_run {
        say::line(&format!("plan of reconstruct --posterior (nothing is written)\n{spec:#}"));
        return Ok(Outcome::Done);
    }
    let Some(out) = &args.out else { bail!("--out DIR is needed: the folder of the results") };
    let hashed = match &noise {
        ImageNoise::Normal { projections, weights } => {
            [projections, weights].map(|v| numbers_hash(v))
        }
        ImageNoise::Poisson { counts, i0 } => [numbers_hash(counts), numbers_hash(&[*i0])],
    };
    let content = [
        format!("{set_up:?}"),
        format!("{hashed:?}"),
        format!("{:?}", labels.as_deref().map(numbers_hash)),
    ];
    let Some(job) = Job::begin("posterior", out, &content, &spec, common)? else {
        return Ok(Outcome::Done);
    };
    let volume = set_up.volume.clone();
    let transform = set_up.transform()?;
    let (flag, path) = args.data_file();
    let mut posterior =
        EdgePosterior::new(&transform, noise, EdgePrior { weight, rounding, ridge })
            .map_err(of_file(flag, path))?;
    if laplace {
        let settings =
            LaplaceSettings { probes: n_draws, seed: all.seed, ..LaplaceSettings::default() };
        let found = posterior.laplace(&settings)?;
        let record = serde_json::json!({
            "exact": false,
            "mode_steps": found.mean_iterations, "mode_gradient": found.mean_residual,
            "draw_iterations": found.draw_iterations, "draw_residual": found.draw_residual,
        });
        let found = Found::of_draws(found, labels.as_deref(), &points, record);
        let how = "a normal density about the mode";
        return conclude(args, job, &volume, found, &points, precision, how);
    }
    if args.iterative.nonneg {
        posterior = posterior.nonneg();
    }
    let chains = posterior.sample(&settings)?;
    let sampled_s = job.seconds();
    let rows = chains.rows();
    let regions = labels.map(|l| chains.regions(&l)).unwrap_or_default();
    let mut found = tell(&chains, &rows, ridge);
    found["seed"] = settings.seed.into();
    found["sampling_wall_s"] = sampled_s.into();
    if let Some((limit, row)) = all.exceed.and_then(|l| Some((l, chains.above(l)?))) {
        let r = row.summary;
        found["above"] = above(limit, &volume, [r.mean, r.sd, r.q05, r.q50, r.q95]);
    }
    let mut tables = vec![("summary.parquet", chain_table("voxel", &rows)?)];
    if !regions.is_empty() {
        tables.push(("regions.parquet", chain_table("label", &regions)?));
    }
    if !points.is_empty() {
        let of_points = chains.profile(&points);
        tables.push(("profile.parquet", profile_chain_table(&points, &of_points)?));
    }
    let record =
        job.write(|out| write(out, &shape, chains, &rows, tables, all.exceed, precision), found)?;
    if common.json {
        say::line(&record.to_string());
    } else if !common.quiet {
        say::line(&format!(
            "the posterior of an image {shape:?} ({} chains of {} draws) in {}",
            settings.chains,
            settings.draws,
            out.display()
        ));
        say::line(&format!(
            "  worst R-hat {:.3}, least bulk ESS {:.0}, {} divergences",
            record["max_rhat"].as_f64().unwrap_or(f64::NAN),
            record["min_ess_bulk"].as_f64().unwrap_or(f64::NAN),
            record["divergences"]
        ));
        for warning in record["warnings"].as_array().into_iter().flatten() {
            say::line(&format!("  warning: {}", warning.as_str().unwrap_or_default()));
        }
    }
    Ok(Outcome::Done)
}

/// What `run.json` says of the chains.
fn tell(chains: &ImageChains, rows: &[VoxelRow], ridge: f64) -> serde_json::Value {
    let rhat = rows.iter().map(|r| r.summary.rhat).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let ess = rows.iter().map(|r| r.summary.ess_bulk).fold(f64::INFINITY, f64::min);
    let mut warnings = Vec::new();
    if rhat > 1.01 {
        warnings.push(format!("R-hat is {rhat:.3}, above 1.01, in some voxel: draw longer"));
    }
    if chains.divergences > 0 {
        warnings.push(format!("{} trajectories ran away: tune longer", chains.divergences));
    }
    if ridge == 0.0 {
        warnings.push(
            "the prior is improper: it does not know the level of the image (--prior-ridge)"
                .to_string(),
        );
    }
    let finite = |v: f64| v.is_finite().then_some(v);
    serde_json::json!({
        "exact": false, "max_rhat": finite(rhat), "min_ess_bulk": finite(ess),
        "divergences": chains.divergences, "acceptance": chains.acceptance,
        "step": chains.step, "steps_per_draw": chains.steps_per_draw,
        "ebfmi": finite(chains.ebfmi()), "warnings": warnings,
    })
}

/// Writes the results; returns their names.
fn write(
    out: &Path,
    shape: &[usize],
    chains: ImageChains,
    rows: &[VoxelRow],
    tables: Vec<(&str, RecordBatch)>,
    exceed: Option<f64>,
    precision: Precision,
) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut array = |name: &str, shape: &[usize], values: Values| {
        names.push(name.to_string());
        Array { shape: shape.to_vec(), values }.write(&out.join(name))
    };
    let typed = |values: Vec<f64>| match precision {
        Precision::F32 => Values::F32(values.iter().map(|v| *v as f32).collect()),
        Precision::F64 => Values::F64(values),
    };
    array("mean.npy", shape, typed(rows.iter().map(|r| r.summary.mean).collect()))?;
    array("sd.npy", shape, typed(rows.iter().map(|r| r.summary.sd).collect()))?;
    array("mcse.npy", shape, typed(rows.iter().map(|r| r.summary.mcse_mean).collect()))?;
    array("sd_mcse.npy", shape, typed(rows.iter().map(|r| r.summary.mcse_sd).collect()))?;
    if let Some(limit) = exceed {
        array("exceedance.npy", shape, typed(chains.exceedance(limit)))?;
    }
    let mut of_draws = vec![chains.chains, chains.draws];
    of_draws.extend(shape);
    let draws = match precision {
        Precision::F32 => Values::F32(chains.values),
        Precision::F64 => Values::F64(chains.values.iter().map(|v| f64::from(*v)).collect()),
    };
    array("draws.npy", &of_draws, draws)?;
    for (name, batch) in tables {
        let mut writer = TableWriter::create(&out.join(name), batch.schema(), None)?;
        writer.write(&batch)?;
        writer.finish()?;
        names.push(name.to_string());
    }
    Ok(names)
}
