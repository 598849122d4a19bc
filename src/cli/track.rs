//! `microtome track`: streamlines through a field of orientations.
//!
//! A streamline is a function of the field, the flags and the number of its seed: threads
//! change nothing. Memory holds a group of streamlines, not all of them. Validated by
//! `tests/cli/track.rs`.

mod connections;
mod field;
mod signals;

use super::config::{self, Setting};
use super::counting::Counting;
use super::flags::{AcquisitionFlags, CommonFlags};
use super::input::simd;
use super::{Outcome, say};
use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use connections::Connections;
use microtome_datasets::tracts::{TractFormat, TractWriter, linearise};
use microtome_datasets::{ImageGeometry, SignalSource};
use microtome_models::tract::{
    Flag, Integrator, Placement, Region, Regions, Rule, Seeding, Starts, Streamline, TrackingSpec,
};
use signals::Followed;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Longest segment of a linearised streamline, mm.
const LONGEST_SEGMENT_MM: f64 = 10.0;

/// Follows streamlines through a field of orientations.
///
/// Points are world mm (RAS+). Seeds are uniform in the voxels of a mask. A .trx (and .trk)
/// file also holds the amplitude of the field at every point and, for every streamline, the
/// number of its seed, the point that is the seed, and why its ends are there (0 longest length, 1 end
/// of the image, 2 mask, 3 threshold, 4 angle, 5 no direction).
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
    /// Axes of the field's directions: world or voxel [default: world for mrtrix3; voxel for
    /// descoteaux, descoteaux_legacy, FSL gradient tables and posteriors].
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
    /// Regularisation of the orientation functions (Laplace-Beltrami).
    #[arg(long, value_name = "X", default_value_t = 0.006, help_heading = "Field")]
    sm_lambda: f64,
    /// Signals below this are raised to it.
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Field")]
    min_signal: f64,
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
    #[arg(long, value_name = "MASK", value_hint = ValueHint::FilePath, help_heading = "Seeds")]
    seeds: PathBuf,
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
    /// Follows one way from the seed, not both.
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
    /// Directions of the sphere where the field is evaluated, antipodes counted, even.
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
    /// Streamlines end at this length, mm.
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
    /// The streamlines: .trx, .tck, .trk or .vtk [may be left out with --connectome or --density].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonFlags,
}

/// One of some names, or an error that lists them.
fn named<T: Copy>(flag: &str, value: &str, list: &[(&str, T)]) -> anyhow::Result<T> {
    let found = list.iter().find(|(name, _)| *name == value);
    found.map(|(_, v)| *v).with_context(|| {
        let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
        format!("--{flag} {value}: unknown; use {}", names.join(", "))
    })
}

impl TrackArgs {
    pub(crate) fn run(self, settings: &[Setting]) -> anyhow::Result<Outcome> {
        let (threads, _) = self.common.start()?;
        let rule = self.rule()?;
        let seed_mask = mask_image("--seeds", &self.seeds)?;
        let Followed { field, geometry, anisotropic } = self.field(&seed_mask.geometry)?;
        let spec = self.spec(rule, &geometry)?;
        let seeding = self.seeding(&seed_mask)?;
        let mut regions = self.regions(field.placement())?;
        if let Some(inside) = anisotropic {
            let (shape, flag) = (geometry.dims, Flag::Domain);
            let affine = &geometry.affine;
            let voxel_from_field =
                field.placement().voxel_of(affine).context("the affine has no inverse")?;
            regions.list.push(Region { shape, inside, voxel_from_field, flag });
        }
        let begin = Instant::now();
        let draws: Vec<Option<u32>> =
            if self.all_draws { (0..self.draws).map(Some).collect() } else { vec![self.draw] };
        let first = field.tracking(rule, spec.clone(), draws[0])?;
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
        let mut connections = Connections::new(&self, &geometry, draws.len())?;
        if self.out.is_none() && connections.is_empty() {
            bail!("--out FILE is needed: the streamlines, .trx, .tck, .trk or .vtk")
        }
        let mut output = match &self.out {
            Some(out) => Some(Output::create(
                out,
                &geometry,
                self.linearise_mm,
                self.all_draws,
                self.common.overwrite,
            )?),
            None => None,
        };
        let mut progress = Counting::new("track", "seeds", self.common.quiet);
        let (mut counts, mut streamlines) = ([0_u64; 4], 0);
        let mut failure = None;
        let mask_placement = Placement::world(seed_mask.geometry.affine);
        let (seeds, all) = (seeding.len(), seeding.len() * draws.len() as u64);
        let mut first = Some(first);
        for (number, draw) in draws.iter().enumerate() {
            let run = match first.take() {
                Some(run) => run,
                None => field.tracking(rule, spec.clone(), *draw)?,
            };
            connections.begin()?;
            run.run(&seeding, &mask_placement, &regions, |seen, lines, counted| {
                counts[0] += counted.tried;
                counts[1] += counted.steps;
                counts[2] += counted.short;
                counts[3] += counted.rejected;
                streamlines += lines.len() as u64;
                lines.iter().for_each(|line| connections.add(&line.points));
                let written = output.as_mut().map_or(Ok(()), |output| {
                    lines.iter().try_for_each(|line| output.push(line, number))
                });
                progress.show(number as u64 * seeds + seen, all);
                match written {
                    Ok(()) => true,
                    Err(e) => {
                        failure = Some(e);
                        false
                    }
                }
            })?;
            connections.end();
            if failure.is_some() {
                break;
            }
        }
        progress.finish();
        if let Some(e) = failure {
            return Err(e);
        }
        let points = output.map_or(Ok(0), Output::finish)?;
        connections.write()?;
        let files: Vec<&PathBuf> =
            [&self.out, &self.connectome, &self.density].into_iter().flatten().collect();
        let [tried, steps, short, rejected] = counts;
        let wall = begin.elapsed().as_secs_f64();
        if self.common.json {
            let json = serde_json::json!({
                "verb": "track", "rule": self.rule, "seeds": seeding.len(), "tried": tried,
                "streamlines": streamlines, "steps": steps, "points": points, "short": short,
                "rejected": rejected, "step_mm": spec.step_mm, "wall_s": wall, "out": self.out,
                "connectome": self.connectome, "density": self.density, "draws": draws.len(),
                "simd_level": simd(),
            });
            say::line(&json.to_string());
        } else if !self.common.quiet {
            say::line(&format!(
                "{streamlines} streamlines of {} seeds ({tried} began, {short} shorter than {} mm, {rejected} \
                 dropped by masks), {points} points, in {}: {}",
                seeding.len(),
                say::number(spec.min_length_mm),
                say::duration(wall),
                files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(Outcome::Done)
    }

    fn rule(&self) -> anyhow::Result<Rule> {
        let list = [
            ("peak", Rule::Peak),
            ("closest", Rule::Closest),
            ("probabilistic", Rule::Probabilistic),
            ("ifod2", Rule::SecondOrder),
            ("ptt", Rule::ParallelTransport),
            ("tensor", Rule::Peak),
            // Their fields are not functions: of this, only the largest angle counts.
            ("bootstrap", Rule::Closest),
            ("posterior", Rule::Closest),
        ];
        named("rule", &self.rule, &list)
    }

    fn spec(&self, rule: Rule, geometry: &ImageGeometry) -> anyhow::Result<TrackingSpec> {
        let steady = matches!(self.rule.as_str(), "peak" | "closest" | "tensor");
        let integrator = named(
            "integrator",
            self.integrator.as_deref().unwrap_or(if steady { "midpoint" } else { "euler" }),
            &[
                ("euler", Integrator::Euler),
                ("midpoint", Integrator::Midpoint),
                ("rk4", Integrator::RungeKutta),
            ],
        )?;
        let starts = named(
            "seed-directions",
            &self.seed_directions,
            &[("all", Starts::All(10)), ("largest", Starts::Largest), ("drawn", Starts::Drawn)],
        )?;
        let edge = geometry.voxel_mm().into_iter().fold(f64::INFINITY, f64::min);
        let step_mm = self.step_mm.unwrap_or(edge / 2.0);
        let angle = match rule {
            Rule::Peak | Rule::Closest => 60.0,
            Rule::Probabilistic | Rule::SecondOrder => 45.0,
            Rule::ParallelTransport => 30.0,
        };
        let sphere = self.sphere.trim_start_matches("repulsion");
        let directions: usize = sphere.parse().ok().filter(|n| n % 2 == 0).with_context(|| {
            format!("--sphere {}: an even number of directions is needed, such as 724", self.sphere)
        })?;
        if self.samples == 0 || self.candidates == 0 {
            bail!("--samples and --candidates must be at least 1");
        }
        if let Some(probe) = self.probe_mm.filter(|p| !(*p > 0.0 && p.is_finite())) {
            bail!("--probe-mm {probe}: a length above 0 is needed");
        }
        let probe_mm = self.probe_mm.unwrap_or(3.0 * step_mm);
        Ok(TrackingSpec {
            step_mm,
            integrator,
            max_angle_deg: self.max_angle_deg.unwrap_or(angle),
            max_length_mm: self.max_length_mm,
            min_length_mm: self.min_length_mm,
            threshold: self.threshold.unwrap_or(if self.posterior.is_some() {
                0.05
            } else if self.dwi.is_some() && self.model_odf.as_deref() != Some("csd") {
                0.0
            } else {
                0.1
            }),
            relative_peak: self.relative_peak_threshold,
            min_separation_deg: self.min_separation_angle_deg,
            part: self.pmf_threshold,
            angular_weight: self.angular_weight,
            axes: directions / 2,
            probe_mm,
            samples: self.samples,
            candidates: self.candidates,
            both: !self.unidirectional,
            starts,
            seed: self.seed,
        })
    }

    fn seeding(&self, mask: &MaskImage) -> anyhow::Result<Seeding> {
        let inside = mask.inside.iter().enumerate().filter(|(_, inside)| **inside);
        let voxels: Vec<[i32; 3]> = inside.map(|(i, _)| mask.geometry.ijk(i)).collect();
        if voxels.is_empty() {
            bail!("--seeds {}: the mask has no voxel inside", self.seeds.display());
        }
        match (self.n_seeds, self.seeds_per_voxel) {
            (Some(0), _) | (_, Some(0)) => {
                bail!("--n-seeds and --seeds-per-voxel must be at least 1")
            }
            (Some(seeds), _) => Ok(Seeding::Total { voxels, seeds }),
            (None, per) => Ok(Seeding::PerVoxel { voxels, seeds: per.unwrap_or(1) }),
        }
    }

    fn regions(&self, placement: &Placement) -> anyhow::Result<Regions> {
        let mut list = Vec::new();
        let mut add = |flag: &str, path: &Path, meaning: Flag| -> anyhow::Result<()> {
            let mask = mask_image(flag, path)?;
            let voxel_from_field = placement
                .voxel_of(&mask.geometry.affine)
                .with_context(|| format!("{flag} {}: the affine has no inverse", path.display()))?;
            let shape = mask.geometry.dims;
            list.push(Region { shape, inside: mask.inside, voxel_from_field, flag: meaning });
            Ok(())
        };
        if let Some(path) = &self.mask {
            add("--mask", path, Flag::Domain)?;
        }
        for path in &self.stop {
            add("--stop", path, Flag::Stop)?;
        }
        for path in &self.exclude {
            add("--exclude", path, Flag::Exclude)?;
        }
        if self.include.len() > 32 {
            bail!("--include: at most 32 masks are taken, {} were given", self.include.len());
        }
        for (n, path) in self.include.iter().enumerate() {
            add("--include", path, Flag::Include(n as u32))?;
        }
        Ok(Regions { list })
    }
}

/// A mask with its grid.
struct MaskImage {
    geometry: ImageGeometry,
    inside: Vec<bool>,
}

fn mask_image(flag: &str, path: &Path) -> anyhow::Result<MaskImage> {
    let source = SignalSource::open(path, None).with_context(|| flag.to_string())?;
    let Some(geometry) = source.geometry().cloned() else {
        bail!("{flag} {}: an image (.nii, .nii.gz) is needed", path.display())
    };
    if source.n_measurements() != 1 {
        bail!("{flag} {}: has {} volumes; a mask has one", path.display(), source.n_measurements());
    }
    let mut inside = Vec::with_capacity(source.n_rows());
    for first in (0..source.n_rows()).step_by(1 << 16) {
        let rows = source.read_rows(first..(first + (1 << 16)).min(source.n_rows()))?;
        inside.extend(rows.signals.iter().map(|v| *v != 0.0 && v.is_finite()));
    }
    Ok(MaskImage { geometry, inside })
}

/// The file of the streamlines.
struct Output {
    writer: TractWriter,
    columns: bool,
    tolerance_mm: Option<f64>,
    /// Whether every streamline says of which draw it is.
    draws: bool,
    points: u64,
}

impl Output {
    fn create(
        out: &Path,
        geometry: &ImageGeometry,
        tolerance_mm: Option<f64>,
        draws: bool,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        let format = TractFormat::of(out).context("--out")?;
        if out.is_dir() {
            bail!("--out {}: is a folder; a file is needed", out.display());
        }
        if out.exists() && !overwrite {
            bail!("--out {}: the file exists; give --overwrite to replace it", out.display());
        }
        if let Some(t) = tolerance_mm.filter(|t| !(t.is_finite() && *t > 0.0)) {
            bail!("--linearise-mm {t}: a length above 0 is needed");
        }
        let columns = format.has_columns();
        let (points, lines): (&[_], &[_]) = if columns {
            let all: &[_] =
                &[("seed", 1), ("seed_point", 1), ("stop_first", 1), ("stop_last", 1), ("draw", 1)];
            (&[("amplitude", 1)], &all[..if draws { 5 } else { 4 }])
        } else {
            (&[], &[])
        };
        let writer = TractWriter::create(out, geometry, points, lines)?;
        Ok(Self { writer, columns, tolerance_mm, draws, points: 0 })
    }

    fn push(&mut self, line: &Streamline, draw: usize) -> anyhow::Result<()> {
        let kept: Vec<usize> = match self.tolerance_mm {
            Some(tolerance) => linearise(&line.points, tolerance, LONGEST_SEGMENT_MM),
            None => (0..line.points.len()).collect(),
        };
        let points: Vec<[f32; 3]> = kept.iter().map(|i| line.points[*i]).collect();
        let seed_point = kept.iter().filter(|i| **i < line.seed_point as usize).count();
        let own = [
            line.seed as f32,
            seed_point as f32,
            f32::from(line.stops[0] as u8),
            f32::from(line.stops[1] as u8),
            draw as f32,
        ];
        let own = &own[..if self.draws { 5 } else { 4 }];
        if self.columns {
            let amplitudes: Vec<f32> = kept.iter().map(|i| line.amplitudes[*i]).collect();
            self.writer.push(&points, &amplitudes, own)?;
        } else {
            self.writer.push(&points, &[], &[])?;
        }
        self.points += points.len() as u64;
        Ok(())
    }

    /// Completes the file; the number of its points.
    fn finish(self) -> anyhow::Result<u64> {
        self.writer.finish()?;
        Ok(self.points)
    }
}
