//! PSNR and SSIM of every kind of reconstruction, mean and standard deviation over seeds:
//! `cargo run --release --example ct_quality -- CASE [SEEDS] [METHOD ...]`.
//!
//! | case | |
//! |---|---|
//! | `head` | modified Shepp-Logan, 256 x 256, 60 views, 10,000 photons |
//! | `limited` | the same, its 60 views over 120 degrees |
//! | `low_dose` | the same, 180 views, 300 photons |
//! | `discs`, `smooth` | other phantoms, 128 x 128, 40 views |
//! | `dev` | `../shared/reference/ct/recon_dev` |
//! | `tooth` | every third view of `../shared/data/ct`, beside FBP of all |
//!
//! Methods (all where none is named): `fbp`, `hann`; `cgls`, `sirt` with the best iterate,
//! chosen by the truth; `tv` without weights, `tv_counts` with those of the counts alone,
//! `tv_soft` with the variance of the model added (what the command line does), `asd_pocs`, all
//! with default rules; `tv_best`, the best of nine weights, chosen by the truth. Projections of
//! the phantoms are exact, pixel means of ellipses.
#![allow(clippy::print_stdout)]

mod cases;

use cases::{Case, Phantom, Scan};
use microtome::datasets::Array;
use microtome::inference::reconstruct::quality::{psnr, ssim};
use microtome::inference::reconstruct::*;
use microtome::kernels::ray::Projector;
use microtome::models::ct::{Geometry, GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use std::ops::ControlFlow;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const METHODS: [&str; 9] =
    ["fbp", "hann", "cgls", "sirt", "tv", "tv_counts", "tv_soft", "asd_pocs", "tv_best"];

fn case(name: &str, seed: u64) -> Result<Case> {
    let head = Scan {
        phantom: Phantom::SheppLogan,
        size: 256,
        views: 60,
        range_deg: 180.0,
        i0: 1e4,
        mu: 0.05,
        seed,
    };
    let small = Scan { size: 128, views: 40, mu: 0.1, ..head };
    match name {
        "head" => head.case(),
        "limited" => Scan { range_deg: 120.0, ..head }.case(),
        "low_dose" => Scan { views: 180, i0: 300.0, ..head }.case(),
        "discs" => Scan { phantom: Phantom::Discs, ..small }.case(),
        "smooth" => Scan { phantom: Phantom::Smooth, ..small }.case(),
        "dev" => dev(),
        "tooth" => tooth(),
        _ => Err(format!("{name}: no such case; see the head of the file").into()),
    }
}

fn shared(name: &str) -> Result<Array> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    Ok(Array::read(&folder.join(name))?)
}

fn dev() -> Result<Case> {
    let read = |name: &str| shared(&format!("reference/ct/recon_dev/{name}.npy"));
    let rows = read("views")?.values.into_f64();
    // Counts are Poisson: the variance of the logarithm is 1/counts, in units of mu.
    let weights = read("counts")?.values.into_f64().into_iter().map(|n| (0.01 * n.max(1.0)) as f32);
    Ok(Case {
        geometry: Geometry::new(GeometryKind::Parallel2d, [1, 128], &rows)?,
        volume: VolumeGrid::new(&[128; 2], &[1.0; 2], &[0.0; 2])?,
        truth: read("truth")?.values.into_f64(),
        projections: read("sino")?.values.into_f32(),
        weights: weights.collect(),
    })
}

/// No truth is known here: FBP of all views stands in for it.
fn tooth() -> Result<Case> {
    let sino = shared("data/ct/tooth_sino.npy")?;
    let angles = shared("data/ct/tooth_angles_deg.npy")?.values.into_f64();
    let pixels = sino.shape[2];
    let all = sino.values.into_f32()[..angles.len() * pixels].to_vec();
    let mut path = TrajectorySpec::circular(angles.len(), &[1.0]);
    path.angles_deg = Some(angles);
    // The axis is at pixel 295.5, the middle of the detector at 319.5.
    path.detector_offset_mm = Some(vec![24.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, pixels])?;
    let volume = VolumeGrid::new(&[512; 2], &[1.0; 2], &[0.0; 2])?;
    let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::Hann, Sharing::Auto)?;
    let truth = fbp.reconstruct(&all)?.into_iter().map(f64::from).collect();
    let views: Vec<usize> = (0..geometry.n_views()).step_by(3).collect();
    let projections: Vec<f32> =
        views.iter().flat_map(|v| &all[v * pixels..(v + 1) * pixels]).copied().collect();
    // The counts of an open pixel are not known; their shape is. The noise tells the scale.
    let geometry = geometry.subset(&views)?;
    let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph)?;
    let shape: Vec<f32> = projections.iter().map(|y| (-y).exp()).collect();
    let noise = noise_level(&Problem::new(&a, &projections)?.with_weights(&shape)?);
    let weights = shape.iter().map(|w| (f64::from(*w) / (noise * noise)) as f32).collect();
    Ok(Case { geometry, volume, truth, projections, weights })
}

/// PSNR, SSIM and what there is to say.
struct Found {
    numbers: [f64; 2],
    note: String,
}

struct Bench<'a> {
    case: &'a Case,
    operator: &'a RayTransform,
    /// Of the truth.
    range: f64,
}

impl Bench<'_> {
    fn score(&self, x: &[f32]) -> [f64; 2] {
        let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
        let truth = &self.case.truth;
        [psnr(&x, truth, self.range), ssim(&x, truth, self.case.volume.shape()[1], self.range)]
    }

    fn fbp(&self, filter: Filter) -> Result<Found> {
        let Case { geometry, volume, projections, .. } = self.case;
        let fbp = FilteredBackprojection::new(geometry, volume, filter, Sharing::Auto)?;
        Ok(Found { numbers: self.score(&fbp.reconstruct(projections)?), note: String::new() })
    }

    fn problem<'b>(&'b self, weights: Option<&'b [f32]>) -> Result<Problem<'b, f32>> {
        let problem = Problem::new(self.operator, &self.case.projections)?;
        Ok(match weights {
            Some(w) => problem.with_weights(w)?,
            None => problem,
        })
    }

    /// The last image, or the one that is nearest to the truth.
    fn iterate(
        &self,
        algorithm: Algorithm,
        problem: Problem<'_, f32>,
        settings: &Settings,
        iterations: usize,
        choose: bool,
    ) -> Result<Found> {
        let problem = match algorithm.takes_bounds() {
            true => problem.with_bounds(0.0, f64::INFINITY)?,
            false => problem,
        };
        let mut run = Reconstruction::new(algorithm, &problem, settings)?;
        let mut best = [f64::NEG_INFINITY, 0.0];
        let mut image = Vec::new();
        run.run(&StoppingRule::iterations(iterations), &mut |run| {
            if choose {
                let x = run.image().iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
                let now = psnr(&x, &self.case.truth, self.range);
                if now > best[0] {
                    best = [now, run.history().len() as f64];
                    image = run.image().to_vec();
                }
            }
            ControlFlow::Continue(())
        })?;
        if !choose {
            return Ok(Found { numbers: self.score(run.image()), note: String::new() });
        }
        Ok(Found { numbers: self.score(&image), note: format!("{} iterations", best[1]) })
    }

    fn tv(&self, weights: Option<&[f32]>, factor: f64) -> Result<Found> {
        let problem = self.problem(weights)?;
        let weight = factor * default_tv_weight(&problem)?;
        let settings = Settings { tv_weight: Some(weight), ..Settings::default() };
        let found = self.iterate(Algorithm::PdhgTv, problem, &settings, 400, false)?;
        Ok(Found { note: format!("weight {weight:.4}"), ..found })
    }

    fn run(&self, method: &str) -> Result<Found> {
        let defaults = Settings::default();
        let counts = &self.case.weights[..];
        let soft = || -> Result<(Vec<f32>, f64)> {
            let problem = self.problem(Some(counts))?.with_bounds(0.0, f64::INFINITY)?;
            let deviation = model_deviation(&problem)?;
            Ok((with_model_deviation(counts, deviation), deviation))
        };
        match method {
            "fbp" => self.fbp(Filter::RamLak),
            "hann" => self.fbp(Filter::Hann),
            "cgls" => self.iterate(Algorithm::Cgls, self.problem(None)?, &defaults, 40, true),
            "sirt" => self.iterate(Algorithm::Sirt, self.problem(None)?, &defaults, 500, true),
            "asd_pocs" => {
                let iterations = Algorithm::AsdPocs.default_iterations();
                self.iterate(Algorithm::AsdPocs, self.problem(None)?, &defaults, iterations, false)
            }
            "tv" => self.tv(None, 1.0),
            "tv_counts" => self.tv(Some(counts), 1.0),
            "tv_soft" => {
                let (soft, deviation) = soft()?;
                let found = self.tv(Some(&soft), 1.0)?;
                let note = format!("{}, model sd {deviation:.3}", found.note);
                Ok(Found { note, ..found })
            }
            "tv_best" => {
                let (soft, _) = soft()?;
                let mut best: Option<Found> = None;
                for factor in [0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0] {
                    let mut found = self.tv(Some(&soft), factor)?;
                    found.note = format!("{factor} of the default");
                    if best.as_ref().is_none_or(|b| found.numbers[0] > b.numbers[0]) {
                        best = Some(found);
                    }
                }
                best.ok_or_else(|| "no weight".into())
            }
            _ => Err(format!("{method}: no such method; use {}", METHODS.join(", ")).into()),
        }
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "head".into());
    let seeds: u64 = words.next().map_or(Ok(1), |n| n.parse())?;
    let chosen: Vec<String> = words.collect();
    let methods: Vec<&str> = match chosen.is_empty() {
        true => METHODS.to_vec(),
        false => chosen.iter().map(String::as_str).collect(),
    };
    // Files hold one scan.
    let seeds = if ["dev", "tooth"].contains(&name.as_str()) { 1 } else { seeds.max(1) };
    println!("{name}, {seeds} seed(s)\n{:<10} {:>16} {:>18}", "method", "PSNR (dB)", "SSIM");
    let cases: Vec<Case> = (1..=seeds).map(|seed| case(&name, seed)).collect::<Result<_>>()?;
    for method in methods {
        let (mut scores, mut notes) = (Vec::new(), Vec::new());
        for case in &cases {
            let (geometry, volume) = (case.geometry.clone(), case.volume.clone());
            let operator = &RayTransform::new(geometry, volume, Projector::Joseph)?;
            // The phantoms and recon_dev are scored with the range 1.
            let greatest = case.truth.iter().fold(0.0_f64, |m, v| m.max(*v));
            let range = if name == "tooth" { greatest } else { 1.0 };
            let found = Bench { case, operator, range }.run(method)?;
            scores.push(found.numbers);
            notes.push(found.note);
        }
        let n = scores.len() as f64;
        let [p, s] = [0, 1].map(|k| {
            let mean = scores.iter().map(|v| v[k]).sum::<f64>() / n;
            let square = scores.iter().map(|v| (v[k] - mean).powi(2)).sum::<f64>();
            (mean, (square / (n - 1.0).max(1.0)).sqrt())
        });
        let note = notes.first().map_or("", String::as_str);
        println!("{method:<10} {:>8.2} +- {:.2} {:>10.4} +- {:.4}  {note}", p.0, p.1, s.0, s.1);
    }
    Ok(())
}
