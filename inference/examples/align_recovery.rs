//! Poses and volume from projections alone, and how near they are to the truth:
//!
//! `cargo run --release -p microtome-inference --example align_recovery -- n=64 phantom=grains`
//!
//! | argument | default | |
//! |---|---|---|
//! | `n=`, `views=`, `seed=` | 64, 90, 1 | voxels a side, views, errors and noise |
//! | `phantom=` | `grains` | `grains`: turned cubes and balls of 2.4 to 6 voxels, as of a powder in resin; `objects`: 50 of 5 to 14 hundredths of the side |
//! | `beam=` | `pose5` | `pose5`, `cone`, `fan` |
//! | `search=` | `joint` | `joint`, `known` (the volume is given), `none` (the bound alone) |
//! | `variation=`, `inner=`, `steps=`, `levels=` | those of the library | settings of the joint search |
//! | `count=` | N²/10, in the plane N | grains |
//!
//! The phantom is made at twice the resolution, projected from poses with errors of 1° (turns)
//! and 2 voxels (shifts), binned to N pixels, and gets noise of a twentieth of the largest
//! projection. The search starts from the poses without errors. What no projection shows (a
//! motion of the volume, for divergent beams its scale too) is taken out by the motion nearest
//! to the true poses before anything is compared. The bound is that of Cramér and Rao with the
//! volume known, as the median of an absolute error.
#![allow(missing_docs, clippy::print_stdout)]

use microtome_inference::dense::{cholesky, cholesky_inverse};
use microtome_inference::reconstruct::align::{
    JointSettings, KnownSettings, PosedViews, Unknowns, align_jointly, align_to_volume, framed,
};
use microtome_inference::reconstruct::{
    Algorithm, Problem, Reconstruction, Settings, StoppingRule, quality,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{
    GeometryKind, PoseModel, TrajectorySpec, VolumeGrid, batch_forward_project,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::error::Error;
use std::ops::ControlFlow;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What was asked for.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn new() -> Outcome<Self> {
        let pair = |a: String| -> Outcome<(String, String)> {
            let (name, value) = a.split_once('=').ok_or(format!("`{a}`: write name=value"))?;
            Ok((name.to_string(), value.to_string()))
        };
        Ok(Self(std::env::args().skip(1).map(pair).collect::<Outcome<_>>()?))
    }

    fn word<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.iter().find(|(n, _)| n == name).map_or(default, |(_, v)| v)
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Outcome<T>
    where
        T::Err: Error + 'static,
    {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map_or(Ok(default), |(_, v)| Ok(v.parse()?))
    }

    fn list(&self, name: &str, default: Vec<usize>) -> Outcome<Vec<usize>> {
        match self.0.iter().find(|(n, _)| n == name) {
            None => Ok(default),
            Some((_, v)) => Ok(v.split(',').map(str::parse).collect::<Result<_, _>>()?),
        }
    }
}

/// Cubes and balls of random places, turns and values, `count` of them with half sides from
/// `least` to `most` (the half side of the volume is 1) in a cylinder of some radius and half
/// height, on `n` voxels a side.
fn phantom(
    n: usize,
    slices: usize,
    count: usize,
    [least, most]: [f64; 2],
    [wide, high]: [f64; 2],
) -> Vec<f32> {
    let mut random = PhiloxRng::new(2026, 0, 0);
    let mut out = vec![0.0_f32; n * n * slices];
    let at = |i: usize, n: usize| (2.0 * i as f64 + 1.0) / n as f64 - 1.0;
    let height = if slices > 1 { high } else { 0.0 };
    for object in 0..count {
        let mut any = |least: f64, most: f64| least + (most - least) * random.random::<f64>();
        let (radius, around) = (wide * any(0.0, 1.0).sqrt(), any(0.0, std::f64::consts::TAU));
        let c = [radius * around.cos(), radius * around.sin(), any(-height, height)];
        let (size, value) = (any(least, most), any(0.5, 1.0));
        let turns = [any(0.0, 3.0), any(0.0, 3.0)];
        let [(s, k), (t, l)] = turns.map(f64::sin_cos);
        let reach = 1.75 * size;
        let range = |c: f64, n: usize| {
            let index = |v: f64| (((v + 1.0) * n as f64 / 2.0).floor().max(0.0) as usize).min(n);
            index(c - reach)..index(c + reach + 2.0 / n as f64)
        };
        for z in range(c[2], slices) {
            for y in range(c[1], n) {
                for x in range(c[0], n) {
                    let d = [at(x, n) - c[0], at(y, n) - c[1], at(z, slices) - c[2]];
                    let (u, v) = (k * d[0] + s * d[1], k * d[1] - s * d[0]);
                    let (v, w) = (l * v + t * d[2], l * d[2] - t * v);
                    let inside = if object % 2 == 0 {
                        u.abs().max(v.abs()).max(w.abs()) < size
                    } else {
                        u * u + v * v + w * w < size * size
                    };
                    if inside {
                        out[(z * n + y) * n + x] = value as f32;
                    }
                }
            }
        }
    }
    out
}

/// The scan at twice the resolution.
fn scan(beam: &str, n: usize, views: usize) -> Outcome<PoseModel> {
    let (fine, h) = (2 * n, 0.5);
    if beam == "pose5" {
        let grid = VolumeGrid::new(&[fine; 3], &[h; 3], &[0.0; 3])?;
        return Ok(PoseModel::five(grid, views, [fine; 2], [h; 2], [0.0; 2], None, None)?);
    }
    let axes = if beam == "fan" { 2 } else { 3 };
    let kind = match beam {
        "fan" => GeometryKind::Fan2d,
        "cone" => GeometryKind::Cone3d,
        other => return Err(format!("beam={other}: use pose5, cone or fan").into()),
    };
    // The source is two and a half sides away, the detector half as far behind the axis.
    let mut path = TrajectorySpec::circular(views, &vec![1.5 * h; axes - 1]);
    path.source_to_axis_mm = Some(2.5 * n as f64);
    path.axis_to_detector_mm = Some(1.25 * n as f64);
    let geometry = path.geometry(kind, if axes == 2 { [1, fine] } else { [fine, fine] })?;
    let grid = VolumeGrid::new(&vec![fine; axes], &vec![h; axes], &vec![0.0; axes])?;
    Ok(PoseModel::rigid(&geometry, grid, None)?)
}

/// Given poses and true ones.
fn poses(model: &PoseModel, normal: &mut dyn FnMut() -> f64) -> (Vec<f64>, Vec<f64>) {
    let (views, degree) = (model.n_views(), 1.0_f64.to_radians());
    let flat = model.volume().dimensions() == 2;
    let (mut start, mut truth) = (Vec::new(), Vec::new());
    for view in 0..views {
        for name in model.parameters() {
            let phi = std::f64::consts::PI * view as f64 / views as f64;
            let five = model.parameters().len() == 5;
            let from = if five && *name == "phi" { phi } else { 0.0 };
            let out_of_plane = flat && ["alpha", "beta", "dz"].contains(name);
            let size = if name.starts_with('d') { 2.0 } else { degree };
            start.push(from);
            truth.push(from + if out_of_plane { 0.0 } else { size * normal() });
        }
    }
    (start, truth)
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

fn image(model: &PoseModel, thetas: &[f64], y: &[f32]) -> Outcome<Vec<f64>> {
    let views = PosedViews::new(model, thetas);
    let problem = Problem::new(&views, y)?;
    let mut run = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default())?;
    run.run(&StoppingRule::iterations(8), &mut |_| ControlFlow::Continue(()))?;
    Ok(run.image().iter().map(|v| f64::from(*v)).collect())
}

/// Names of the columns of the table of errors: for point sources shifts are along u and v and
/// along the beam.
fn columns(model: &PoseModel) -> Vec<&'static str> {
    match model.parameters().len() {
        5 => vec!["alpha deg", "beta deg", "phi deg", "dx vox", "dz vox"],
        _ => vec!["alpha deg", "beta deg", "phi deg", "along u vox", "beam vox", "along v vox"],
    }
}

/// The frame of every view: directions that shifts are told along, in the order of
/// [`columns`]; none for five parameters.
fn frames(model: &PoseModel) -> Option<Vec<[[f64; 3]; 3]>> {
    let unit = |a: [f64; 3]| {
        let size = a.iter().map(|v| v * v).sum::<f64>().sqrt();
        a.map(|v| v / size)
    };
    let sources = model.sources()?;
    let of = |(s, [u, v]): ([f64; 3], [[f64; 3]; 2])| [unit(u), unit(s), unit(v)];
    Some(sources.into_iter().zip(model.pixel_steps()).map(of).collect())
}

/// Median sizes of deviations `[view, parameter]`, turns in degrees.
fn medians(model: &PoseModel, gaps: &[f64]) -> Vec<f64> {
    let n = model.parameters().len();
    let frames = frames(model);
    let mut all = gaps.to_vec();
    if let Some(frames) = frames {
        for (row, frame) in all.chunks_exact_mut(n).zip(&frames) {
            let d = [row[3], row[4], row[5]];
            for (out, e) in row[3..].iter_mut().zip(frame) {
                *out = (0..3).map(|k| e[k] * d[k]).sum();
            }
        }
    }
    let of = |k: usize| {
        let middle = median(all.iter().skip(k).step_by(n).map(|v| v.abs()).collect());
        if k < 3 { middle.to_degrees() } else { middle }
    };
    (0..n).map(of).collect()
}

/// Medians of the errors that the best estimate in a known volume has.
fn bound(
    model: &PoseModel,
    truth: &[f64],
    volume: &[f32],
    y: &[f32],
    sigma: f64,
) -> Outcome<Vec<f64>> {
    let n = model.parameters().len();
    let flat = model.volume().dimensions() == 2;
    let free: Vec<usize> = (0..n).filter(|k| !(flat && [0, 1, 5].contains(k))).collect();
    let (frames, m) = (frames(model), free.len());
    let mut sds = vec![Vec::new(); n];
    for (view, block) in model.losses(truth, volume, y)?.iter().enumerate() {
        let mut l = vec![0.0; m * m];
        for (a, p) in free.iter().enumerate() {
            for (b, q) in free.iter().enumerate() {
                l[a * m + b] = block.normal[p * n + q];
            }
        }
        if !cholesky(&mut l, m, 1e-14) {
            continue;
        }
        let inverse = cholesky_inverse(&l, m);
        let place = |k: usize| free.iter().position(|f| *f == k);
        for (k, sds) in sds.iter_mut().enumerate() {
            let mut of = vec![0.0; m];
            match &frames {
                Some(frames) if k >= 3 => {
                    for (j, part) in frames[view][k - 3].iter().enumerate() {
                        if let Some(at) = place(3 + j) {
                            of[at] = *part;
                        }
                    }
                }
                _ => place(k).into_iter().for_each(|at| of[at] = 1.0),
            }
            let product = |a: usize| (0..m).map(|b| inverse[a * m + b] * of[b]).sum::<f64>();
            let variance: f64 = (0..m).map(|a| of[a] * product(a)).sum();
            sds.push(0.6745 * sigma * variance.max(0.0).sqrt());
        }
    }
    let of = |(k, v): (usize, Vec<f64>)| if k < 3 { median(v).to_degrees() } else { median(v) };
    Ok(sds.into_iter().enumerate().map(of).collect())
}

fn main() -> Outcome<()> {
    let asked = Asked::new()?;
    let (n, views) = (asked.number("n", 64)?, asked.number("views", 90)?);
    let beam = asked.word("beam", "pose5");
    let mut random = PhiloxRng::new(asked.number("seed", 1)?, 0, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let fine = scan(beam, n, views)?;
    let model = fine.coarser(2)?;
    let (start, truth) = poses(&model, &mut normal);
    let slices = if beam == "fan" { 1 } else { 2 * n };
    let voxel = 2.0 / n as f64;
    let volume = match asked.word("phantom", "grains") {
        "objects" => phantom(2 * n, slices, 50, [0.05, 0.14], [0.62, 0.65]),
        "grains" => {
            let count = if beam == "fan" { n } else { n * n / 10 };
            let sizes = [1.2 * voxel, 3.0 * voxel];
            phantom(2 * n, slices, asked.number("count", count)?, sizes, [0.8, 0.75])
        }
        other => return Err(format!("phantom={other}: use grains or objects").into()),
    };
    let mut y = fine.binned_projections(&batch_forward_project(&fine, &truth, &volume)?, 2)?;
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(f64::from(*v)));
    let sigma = largest / 20.0;
    y.iter_mut().for_each(|v| *v += (sigma * normal()) as f32);
    let exact = fine.binned_volume(&volume, 2)?;
    drop(volume);
    println!("{beam}, {n} voxels a side, {views} views, noise {sigma:.3} (largest {largest:.2})");
    let begin = cpu_time::ProcessTime::now();
    let unknowns = Unknowns::all(&model)?;
    let plain = JointSettings::default();
    let settings = JointSettings {
        inner: asked.number("inner", plain.inner)?,
        variation: asked.number("variation", plain.variation)?,
        steps: asked.list("steps", plain.steps.clone())?,
        levels: asked.list("levels", plain.levels.clone())?,
        ..plain
    };
    let (found, hidden) = match asked.word("search", "joint") {
        "joint" => {
            let found = align_jointly(&model, &start, &y, &unknowns, &settings)?;
            for row in &found.history {
                println!(
                    "  level {} step {:2}  F {:12.1}  rms {:.4}  moved {:8.5} mm {}",
                    row.level,
                    row.step,
                    row.cost,
                    row.rms,
                    row.moved_mm,
                    if row.taken { "" } else { "(not taken)" }
                );
            }
            (Some(framed(&model, &found.thetas(), &truth)?), found.hidden)
        }
        "known" => {
            let plain = KnownSettings::default();
            let found = align_to_volume(&model, &start, &exact, &y, &unknowns, &plain)?;
            (Some(found.into_iter().flat_map(|v| v.theta).collect()), Vec::new())
        }
        "none" => (None, Vec::new()),
        other => return Err(format!("search={other}: use joint, known or none").into()),
    };
    let seconds = begin.elapsed().as_secs_f64();
    let line = |name: &str, of: Vec<f64>| {
        println!("  {name:8}{}", of.iter().map(|v| format!("{v:12.4}")).collect::<String>());
    };
    let words = columns(&model);
    println!("  median  {}", words.iter().map(|w| format!("{w:>12}")).collect::<String>());
    let gap =
        |thetas: &[f64]| -> Vec<f64> { thetas.iter().zip(&truth).map(|(a, b)| a - b).collect() };
    let before = framed(&model, &start, &truth)?;
    line("before", medians(&model, &gap(&before)));
    if let Some(found) = &found {
        line("after", medians(&model, &gap(found)));
    }
    line("bound", bound(&model, &truth, &exact, &y, sigma)?);
    let Some(found) = found else { return Ok(()) };
    let exact: Vec<f64> = exact.iter().map(|v| f64::from(*v)).collect();
    for (name, thetas) in [("given poses", &before), ("aligned", &found), ("true poses", &truth)] {
        let x = image(&model, thetas, &y)?;
        println!("  {name:12} PSNR {:.2} dB", quality::psnr(&x, &exact, 1.0));
    }
    println!("{seconds:.1} s CPU, hidden: {}", hidden.join(", "));
    Ok(())
}
