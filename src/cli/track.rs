//! `microtome track`: streamlines through a field of orientations.
//!
//! A streamline is a function of the field, the flags and the number of its seed: threads
//! change nothing. Memory holds a group of streamlines, not all of them. Validated by
//! `tests/cli/track.rs`.

mod connections;
mod field;
mod output;
mod parts;
mod picture;
mod settings;
mod signals;

use super::blocks::STOP;
use super::config::{self, Setting};
use super::counting::Counting;
use super::flags::{AcquisitionFlags, CommonFlags, Shard};
use super::input::{simd, version};
use super::{Outcome, say, voxelwise};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use connections::Connections;
use microtome_datasets::ImageGeometry;
use microtome_models::tract::{Flag, Placement, Region, Regions, Seeding, Tracking, TrackingSpec};
use output::{Content, Output};
use parts::Parts;
use picture::Picture;
use settings::mask_image;
use signals::Followed;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Follows streamlines through a field of orientations.
///
/// Points are world mm (RAS+). Seeds are uniform in the voxels of a mask. A .trx (and .trk)
/// file also holds the amplitude of the field at every point and, for every streamline, the
/// number of its seed, the point that is the seed, and why its ends are there (0 longest length, 1 end
/// of the image, 2 mask, 3 threshold, 4 angle, 5 no direction). Of more than 16,777,216 seeds the
/// number is 16777216 seed_high + seed.
///
/// Runs of more than a second keep finished groups of 4096 seeds in OUT.parts until OUT is
/// written: after Ctrl-C (exit 130) or a kill the same line goes on from there. --shard I/N works on
/// every N-th group and keeps it there; the same line without --shard then takes the groups of all
/// shards and writes OUT, equal to the bit to a run without shards.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Rules:
  peak           the peak that Newton's method finds from the last direction
  tensor         the first axis of the tensor (--dwi)
  closest        of all peaks, the one nearest to the last direction
  probabilistic  a direction drawn from the field in the cone about the last one
  ifod2          arcs of one step, drawn by the geometric mean of the field along them
  ptt            arcs of a probe longer than a step, drawn by the mean of the field (parallel
                 transport, a probe of no width)
  bootstrap      the closest peak of the orientation function of resampled signals (--dwi)
  posterior      of the sticks of a posterior draw, the one nearest to the last direction; another
                 draw at every step, or with --all-draws the same along all streamlines

Example:
  microtome fit --model csd --response response.toml --dwi dwi.nii.gz --bval dwi.bval \\
    --bvec dwi.bvec --mask mask.nii.gz --out csd
  microtome track --fod csd/fod.nii.gz --basis mrtrix3 --seeds mask.nii.gz --rule peak --out tracts.trx

References:
  Tournier et al. 2012, doi:10.1002/ima.22005 (peak); Garyfallidis et al. 2014,
  doi:10.3389/fninf.2014.00008 (closest, probabilistic); Tournier et al. 2010, Proc. ISMRM
  18:1670 (ifod2); Aydogan & Shi 2021, doi:10.1109/TMI.2020.3034038 (ptt); Berman et al. 2008,
  doi:10.1016/j.neuroimage.2007.08.021 (bootstrap); Behrens et al. 2007,
  doi:10.1016/j.neuroimage.2006.09.018 (posterior). docs/tracking.md.")]
pub(crate) struct TrackArgs {
    /// FODs: an image of harmonic coefficients (i, j, k, coefficient).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Field")]
    fod: Option<PathBuf>,
    /// Basis of the coefficients: mrtrix3, descoteaux or descoteaux_legacy.
    #[arg(long, value_name = "NAME", help_heading = "Field")]
    basis: Option<String>,
    /// Axes of the field's directions: world or voxel [default: world for mrtrix3 and --peaks; voxel
    /// for descoteaux, descoteaux_legacy, FSL gradient tables and posteriors].
    #[arg(long, value_name = "NAME", help_heading = "Field")]
    frame: Option<String>,
    /// Signals for --model-odf and the rules tensor and bootstrap: an image (i, j, k, measurement).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Field")]
    dwi: Option<PathBuf>,
    /// Of the signals: csd (FODs by constrained spherical deconvolution), csa or opdt
    /// (orientation functions of one weighted shell).
    #[arg(long, value_name = "NAME", help_heading = "Field")]
    model_odf: Option<String>,
    /// Order of the functions, even [default: 4; csd the highest that the measurements carry, at
    /// most 8].
    #[arg(long, value_name = "L", help_heading = "Field")]
    sh_order: Option<usize>,
    /// csd: responses that `microtome response` wrote [default: estimated from the voxels of
    /// --mask, algorithm tournier].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Field")]
    response: Option<PathBuf>,
    /// Streamlines end where the FA of the tensor of --dwi is below this [default: 0.1; csd 0].
    #[arg(long, value_name = "X", help_heading = "Limits")]
    fa_threshold: Option<f64>,
    /// Streamlines end where the generalised FA of the functions of --fod or --model-odf is below this:
    /// sqrt(1 - c0^2 / sum of all c^2) of their harmonics [default: 0].
    #[arg(long, value_name = "X", help_heading = "Limits")]
    gfa_threshold: Option<f64>,
    /// Regularisation of the orientation functions (Laplace-Beltrami).
    #[arg(long, value_name = "X", default_value_t = 0.006, help_heading = "Field")]
    sm_lambda: f64,
    /// Signals below this are raised to it.
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Field")]
    min_signal: f64,
    /// Discrete peaks: an image of three numbers a peak (x y z, as long as its amplitude; zero or NaN is
    /// none), for --rule closest: the peaks of the voxels about a point that are nearest to the
    /// last direction, interpolated.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Field")]
    peaks: Option<PathBuf>,
    /// Draws of sticks: posterior.parquet of sample, on the grid of the seeds.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Field")]
    posterior: Option<PathBuf>,
    /// Draws that are kept of every voxel of the posterior.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Field")]
    draws: u32,
    /// Follows one draw of the whole posterior (counted from 0) instead of another at every step.
    #[arg(long, value_name = "K", requires = "posterior", help_heading = "Field")]
    draw: Option<u32>,
    /// Follows every draw of the whole posterior, one after the other, from the same seeds: what they
    /// connect and visit are draws from its posterior.
    #[arg(long, requires = "posterior", conflicts_with = "draw", help_heading = "Field")]
    all_draws: bool,
    #[command(flatten)]
    acquisition: AcquisitionFlags,
    /// Between voxels: linear or cubic (B-spline).
    #[arg(long, value_name = "NAME", default_value = "linear", help_heading = "Field")]
    interpolation: String,
    /// Voxels of the seeds: an image, not 0 inside.
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Seeds", required_unless_present = "seed_points")]
    seeds: Option<PathBuf>,
    /// Seeds at given places: .npy or .csv, one a row, x y z in world mm, or these and a direction
    /// to begin with.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Seeds", conflicts_with_all = ["seeds", "n_seeds", "seeds_per_voxel", "posterior"])]
    seed_points: Option<PathBuf>,
    /// Number of seeds, uniform in the mask.
    #[arg(long, value_name = "N", conflicts_with = "seeds_per_voxel", help_heading = "Seeds")]
    n_seeds: Option<u64>,
    /// Seeds in every voxel of the mask [default: 1].
    #[arg(long, value_name = "N", help_heading = "Seeds")]
    seeds_per_voxel: Option<u64>,
    /// Directions at a seed: all (a streamline for every peak, antipodes are one), largest, or
    /// drawn (one, by amplitude).
    #[arg(long, value_name = "NAME", default_value = "all", help_heading = "Seeds")]
    seed_directions: String,
    /// Follows one way from the seed, not both: that of its direction in --seed-points, or one of the
    /// two along an axis by chance.
    #[arg(long, help_heading = "Seeds")]
    unidirectional: bool,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Seeds")]
    seed: u64,
    /// Rule: peak, closest, tensor, probabilistic, ifod2, ptt, bootstrap or posterior.
    #[arg(long, value_name = "NAME", help_heading = "Steps")]
    rule: String,
    /// Method of a step: euler, midpoint or rk4 [default: midpoint for peak, closest and tensor, euler
    /// for rules that draw; ifod2 and ptt have their own].
    #[arg(long, value_name = "NAME", help_heading = "Steps")]
    integrator: Option<String>,
    /// Step, mm [default: half of the smallest edge of a voxel].
    #[arg(long, value_name = "MM", help_heading = "Steps")]
    step_mm: Option<f64>,
    /// Largest angle between directions one step apart, degrees [default: 60; probabilistic
    /// and ifod2 45; ptt 30].
    #[arg(long, value_name = "DEG", help_heading = "Steps")]
    max_angle_deg: Option<f64>,
    /// Lowest amplitude of the field [default: 0.1 of FODs, 0 of orientation functions;
    /// lowest fraction of a stick, 0.05].
    #[arg(long, value_name = "X", help_heading = "Steps")]
    threshold: Option<f64>,
    /// Peaks below this part of the largest are none.
    #[arg(long, value_name = "X", default_value_t = 0.25, help_heading = "Steps")]
    relative_peak_threshold: f64,
    /// Smallest angle between two peaks, degrees.
    #[arg(long, value_name = "DEG", default_value_t = 45.0, help_heading = "Steps")]
    min_separation_angle_deg: f64,
    /// probabilistic: values below this part of the largest are nothing.
    #[arg(long, value_name = "X", default_value_t = 0.05, help_heading = "Steps")]
    pmf_threshold: f64,
    /// probabilistic: w of the factor 1 - w + w |cos| of the turn.
    #[arg(long, value_name = "X", default_value_t = 0.0, help_heading = "Steps")]
    angular_weight: f64,
    /// Directions of the sphere where the field is evaluated, antipodes counted, even; filled up to
    /// a multiple of 256.
    #[arg(long, value_name = "N", default_value = "724", help_heading = "Steps")]
    sphere: String,
    /// ptt: length of the probe, mm [default: three steps].
    #[arg(long, value_name = "MM", help_heading = "Steps")]
    probe_mm: Option<f64>,
    /// ifod2, ptt: samples of an arc.
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Steps")]
    samples: usize,
    /// ifod2, ptt: arcs of which one is drawn.
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Steps")]
    candidates: usize,
    /// Streamlines end where they leave this mask.
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Limits")]
    mask: Option<PathBuf>,
    /// Streamlines end in this mask; may be given again.
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Limits")]
    stop: Vec<PathBuf>,
    /// Streamlines that never enter this mask are dropped; may be given again.
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Limits")]
    include: Vec<PathBuf>,
    /// Streamlines that enter this mask are dropped; may be given again.
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Limits")]
    exclude: Vec<PathBuf>,
    /// Shorter streamlines are dropped, mm.
    #[arg(long, value_name = "MM", default_value_t = 10.0, help_heading = "Limits")]
    min_length_mm: f64,
    /// Streamlines end at this length, mm; both halves share it evenly, and what one leaves is the
    /// other's.
    #[arg(long, value_name = "MM", default_value_t = 250.0, help_heading = "Limits")]
    max_length_mm: f64,
    /// Leaves out points that lie within this distance of the line through the others, mm.
    #[arg(long, value_name = "MM", help_heading = "Output")]
    linearise_mm: Option<f64>,
    /// Streamlines between parcels (both ends inside), .csv or .parquet. With --all-draws .csv has
    /// the means, .parquet mean, sd, mcse, q05, q50, q95 and p_positive of every pair.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    connectome: Option<PathBuf>,
    /// Labels of the parcels: an image, 0 is none.
    #[arg(long, value_name = "LABELS", value_hint = ValueHint::FilePath, help_heading = "Output")]
    parcels: Option<PathBuf>,
    /// Names of the parcels, lines `label,name`.
    #[arg(long, value_name = "CSV", value_hint = ValueHint::FilePath, requires = "parcels", help_heading = "Output")]
    parcel_names: Option<PathBuf>,
    /// Streamlines that visit each voxel: an image of two volumes, the number (with --all-draws its
    /// mean) and its standard error.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    density: Option<PathBuf>,
    /// A page with the streamlines from three sides and a map of their visits, .html.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    report: Option<PathBuf>,
    /// The streamlines: .trx, .tck, .trk or .vtk [may be left out with --connectome, --density or --report].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    out: Option<PathBuf>,
    /// Works on part I of N (I from 1): every N-th group of seeds, kept in OUT.parts.
    #[arg(long, value_name = "I/N", help_heading = "Output")]
    shard: Option<String>,
    #[command(flatten)]
    common: CommonFlags,
}

/// What came of a run beside its files.
#[derive(Default)]
struct Totals {
    tried: u64,
    steps: u64,
    short: u64,
    rejected: u64,
    streamlines: u64,
}

/// Everything that streamlines are a function of.
struct Plan {
    followed: Followed,
    spec: TrackingSpec,
    seeding: Seeding,
    /// Where the mask of the seeds lies.
    mask: Placement,
    regions: Regions,
    draws: Vec<Option<u32>>,
    shard: Option<Shard>,
}

impl TrackArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let rule = self.rule()?;
        let plan = self.plan()?;
        let Plan { followed: Followed { field, geometry, .. }, spec, seeding, .. } = &plan;
        let tracking = field.tracking(rule, spec.clone(), plan.draws[0])?;
        if let Some(path) = &self.common.save_config {
            config::save(path, settings)?;
        }
        if self.common.dry_run {
            say::line(&format!(
                "plan of track (nothing is written)\n  field      {:?} voxels, {}\n  seeds      {}\n  \
                 step       {} mm, at most {} steps\n  threads    {threads}",
                geometry.dims,
                field.words(),
                seeding.len(),
                say::number(spec.step_mm),
                (spec.max_length_mm / spec.step_mm).floor(),
            ));
            return Ok(Outcome::Done);
        }
        if field.invalid() > 0 {
            say::note(&format!(
                "warning: {} voxels of the field hold numbers that are not finite; they count as empty",
                field.invalid()
            ));
        }
        self.follow(&plan, tracking, geometry)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let shard = self.shard.as_deref().map(Shard::parse).transpose()?;
        let seed_mask = self.seeds.as_deref().map(|p| mask_image("--seeds", p)).transpose()?;
        let followed = self.field(seed_mask.as_ref().map(|m| &m.geometry))?;
        let Followed { field, geometry, anisotropic } = &followed;
        let spec = self.spec(self.rule()?, geometry)?;
        let seeding = self.seeding(seed_mask.as_ref(), geometry)?;
        let mut regions = self.regions(field.placement(), geometry)?;
        if let Some(inside) = anisotropic {
            let (shape, flag, inside) = (geometry.dims, Flag::Domain, inside.clone());
            let voxel_from_field = field
                .placement()
                .voxel_of(&geometry.affine)
                .context("the affine has no inverse")?;
            regions.list.push(Region { shape, inside, voxel_from_field, flag });
        }
        let draws =
            if self.all_draws { (0..self.draws).map(Some).collect() } else { vec![self.draw] };
        // Points are places in the world already.
        let mask = Placement::world(seed_mask.map_or(geometry.affine, |m| m.geometry.affine));
        Ok(Plan { followed, spec, seeding, mask, regions, draws, shard })
    }

    /// Finished groups of this run; `spec` and the files are all that decides them.
    fn parts(&self, out: &Path, plan: &Plan) -> anyhow::Result<Parts> {
        let words = format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            version(),
            simd(),
            self.rule,
            plan.spec,
            plan.draws,
            self.basis,
            self.frame,
            self.model_odf,
            self.sh_order,
            [self.fa_threshold, self.gfa_threshold],
            (self.sm_lambda, self.min_signal, self.draws),
            (&self.interpolation, self.n_seeds, self.seeds_per_voxel),
            (self.acquisition.delta_ms, self.acquisition.big_delta_ms, self.acquisition.te_ms),
            (self.acquisition.tr_ms, self.acquisition.dt_ms),
            [self.stop.len(), self.include.len(), self.exclude.len()],
        );
        let own = &self.acquisition;
        let single = [
            &self.fod,
            &self.dwi,
            &self.response,
            &self.peaks,
            &self.posterior,
            &self.mask,
            &self.seeds,
            &self.seed_points,
            &own.bval,
            &own.bvec,
            &own.bdelta,
            &own.scheme,
            &own.waveform,
        ];
        let files: Vec<&Path> = single
            .into_iter()
            .flatten()
            .chain(self.stop.iter().chain(&self.include).chain(&self.exclude))
            .map(PathBuf::as_path)
            .collect();
        Parts::beside(out, &words, &files, plan.shard)
    }

    fn follow(
        &self,
        plan: &Plan,
        mut tracking: Tracking<'_>,
        geometry: &ImageGeometry,
    ) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        let Plan { seeding, draws, .. } = plan;
        voxelwise::catch_interrupts()?;
        let mut connections = Connections::new(self, geometry, draws.len())?;
        let files: Vec<&PathBuf> = [&self.out, &self.connectome, &self.density, &self.report]
            .into_iter()
            .flatten()
            .collect();
        let Some(first) = files.first() else {
            bail!("--out FILE is needed: the streamlines, .trx, .tck, .trk or .vtk")
        };
        let content = Content {
            seeds: seeding.len(),
            draws: self.all_draws,
            tolerance_mm: self.linearise_mm,
        };
        let mut output = match &self.out {
            Some(out) => Some(Output::create(out, geometry, content, self.common.overwrite)?),
            None => None,
        };
        let mut picture = match &self.report {
            Some(path) => Some(Picture::new(path, geometry, self.common.overwrite)?),
            None => None,
        };
        let groups = tracking.groups(seeding)?;
        let all = groups * draws.len() as u64;
        let single = all == 1 && plan.shard.is_none() && !Parts::folder_of(first).exists();
        let mut parts = if single { None } else { Some(self.parts(first, plan)?) };
        let mut progress = Counting::new("track", "groups of seeds", self.common.quiet);
        let mut totals = Totals::default();
        for (draw, of_field) in draws.iter().enumerate() {
            if let Some(draw) = of_field {
                tracking.follow_draw(*draw);
            }
            connections.begin()?;
            for group in 0..groups {
                let number = draw as u64 * groups + group;
                if parts.as_ref().is_some_and(|p| !p.owns(number)) {
                    continue;
                }
                let kept = parts.as_mut().and_then(|p| p.find(number));
                let found = match kept {
                    Some(found) => found,
                    None => {
                        let found = tracking.group(group, seeding, &plan.mask, &plan.regions);
                        let stopped = STOP.load(Ordering::Relaxed);
                        if let Some(parts) = &parts {
                            parts.keep(number, &found, stopped)?;
                        }
                        if stopped && number + 1 < all {
                            progress.finish();
                            say::note(&format!(
                                "interrupted; finished groups are kept in {}.parts, the same line resumes",
                                first.display()
                            ));
                            return Ok(Outcome::Interrupted);
                        }
                        found
                    }
                };
                totals.tried += found.tried;
                totals.steps += found.steps;
                totals.short += found.short;
                totals.rejected += found.rejected;
                totals.streamlines += found.streamlines.len() as u64;
                if plan.shard.is_none() {
                    for line in &found.streamlines {
                        connections.add(&line.points);
                        if let Some(picture) = &mut picture {
                            picture.add(&line.points);
                        }
                        if let Some(output) = &mut output {
                            output.push(line, draw)?;
                        }
                    }
                }
                progress.show(number + 1, all);
            }
            connections.end();
        }
        progress.finish();
        let mut points = 0;
        if plan.shard.is_none() {
            points = output.map_or(Ok(0), Output::finish)?;
            connections.write()?;
            if let (Some(picture), Some((visits, error))) = (picture, connections.visits()) {
                picture.write(visits, &error, self.facts(plan, &totals))?;
            }
            if let Some(parts) = &parts {
                parts.clear(all);
            }
        }
        let resumed = parts.as_ref().map_or(0, Parts::found);
        let written = match (&parts, plan.shard) {
            (Some(parts), Some(_)) => format!(
                "{} (the same line without --shard joins the shards)",
                parts.folder().display()
            ),
            _ => files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", "),
        };
        self.conclude(plan, &totals, points, resumed, &written, begin.elapsed().as_secs_f64());
        Ok(Outcome::Done)
    }

    /// What the report says in words.
    fn facts(&self, plan: &Plan, totals: &Totals) -> Vec<(String, String)> {
        [
            ("version", version().to_string()),
            ("rule", self.rule.clone()),
            ("field", plan.followed.field.words()),
            ("step", format!("{} mm", say::number(plan.spec.step_mm))),
            ("largest angle", format!("{}°", say::number(plan.spec.max_angle_deg))),
            ("seeds", plan.seeding.len().to_string()),
            ("draws of the field", plan.draws.len().to_string()),
            ("streamlines", totals.streamlines.to_string()),
            ("shorter than the shortest", totals.short.to_string()),
            ("dropped by masks", totals.rejected.to_string()),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into()
    }

    fn conclude(
        &self,
        plan: &Plan,
        totals: &Totals,
        points: u64,
        resumed: u64,
        written: &str,
        wall: f64,
    ) {
        let Totals { tried, steps, short, rejected, streamlines } = totals;
        let Plan { spec, seeding, draws, .. } = plan;
        if self.common.json {
            let json = serde_json::json!({
                "verb": "track", "rule": self.rule, "seeds": seeding.len(), "tried": tried,
                "streamlines": streamlines, "steps": steps, "points": points, "short": short,
                "rejected": rejected, "step_mm": spec.step_mm, "wall_s": wall, "out": self.out,
                "connectome": self.connectome, "density": self.density, "draws": draws.len(),
                "shard": self.shard, "groups_resumed": resumed, "simd_level": simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "{streamlines} streamlines of {} seeds ({tried} began, {short} shorter than {} mm, {rejected} \
                 dropped by masks), {points} points, in {}: {written}",
                seeding.len(),
                say::number(spec.min_length_mm),
                say::duration(wall),
            ));
        }
        if *streamlines == 0 && plan.shard.is_none() {
            let why = match (tried, short, rejected) {
                (0, ..) => {
                    "no seed has a direction: is the field above --threshold there, and in --mask?"
                }
                (_, 0, _) => "all were dropped by --include and --exclude",
                (_, _, 0) => "all were shorter than --min-length-mm",
                _ => "all were too short or dropped by masks",
            };
            say::note(&format!("warning: no streamlines; {why}"));
        }
    }
}
