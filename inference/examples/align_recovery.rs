//! Poses and volume from projections alone, and how near they are to the truth:
//! `cargo run --release -p microtome-inference --example align_recovery -- [N] [VIEWS] [SEED] [INNER]`
//! (64, 90 and 1 where left out; the full size is 128).
//!
//! A phantom of turned cubes and balls is made at twice the resolution, projected from poses with errors
//! of 1° (alpha, beta, phi) and 2 voxels (dx, dz), binned to N pixels, and gets noise of a
//! twentieth of the largest projection. `align_jointly` starts from the poses without errors.
//! What no projection shows (a motion of the volume) is taken out by the motion nearest to
//! the true poses before anything is compared.
#![allow(missing_docs, clippy::print_stdout)]

use microtome_inference::reconstruct::align::{
    JointSettings, PosedViews, Unknowns, align_jointly, moved, nearest,
};
use microtome_inference::reconstruct::{
    Algorithm, Problem, Reconstruction, Settings, StoppingRule, quality,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{PoseModel, VolumeGrid, batch_forward_project};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::error::Error;
use std::ops::ControlFlow;

/// Cubes and balls of the phantom.
const OBJECTS: usize = 50;

/// Cubes and balls of random places, sizes, turns and values, on `n` voxels a side.
fn phantom(n: usize) -> Vec<f32> {
    let mut random = PhiloxRng::new(2026, 0, 0);
    let mut out = vec![0.0_f32; n * n * n];
    let at = |i: usize| (2.0 * i as f64 + 1.0) / n as f64 - 1.0;
    for object in 0..OBJECTS {
        let mut any = |least: f64, most: f64| least + (most - least) * random.random::<f64>();
        let (radius, around) = (0.62 * any(0.0, 1.0).sqrt(), any(0.0, std::f64::consts::TAU));
        let c = [radius * around.cos(), radius * around.sin(), any(-0.65, 0.65)];
        let (size, value) = (any(0.05, 0.14), any(0.5, 1.0));
        let turns = [any(0.0, 3.0), any(0.0, 3.0)];
        let [(s, k), (t, l)] = turns.map(f64::sin_cos);
        let reach = 1.75 * size;
        let range = |c: f64| {
            let index = |v: f64| (((v + 1.0) * n as f64 / 2.0).floor().max(0.0) as usize).min(n);
            index(c - reach)..index(c + reach + 2.0 / n as f64)
        };
        for z in range(c[2]) {
            for y in range(c[1]) {
                for x in range(c[0]) {
                    let d = [at(x) - c[0], at(y) - c[1], at(z) - c[2]];
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

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

fn image(model: &PoseModel, thetas: &[f64], y: &[f32]) -> Result<Vec<f64>, Box<dyn Error>> {
    let views = PosedViews::new(model, thetas);
    let problem = Problem::new(&views, y)?;
    let mut run = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default())?;
    run.run(&StoppingRule::iterations(8), &mut |_| ControlFlow::Continue(()))?;
    Ok(run.image().iter().map(|v| f64::from(*v)).collect())
}

/// Median errors of alpha, beta, phi (degrees) and dx, dz (voxels).
fn errors(thetas: &[f64], truth: &[f64]) -> [f64; 5] {
    std::array::from_fn(|k| {
        let gaps = thetas.iter().zip(truth).skip(k).step_by(5).map(|(a, b)| (a - b).abs());
        let middle = median(gaps.collect());
        if k < 3 { middle.to_degrees() } else { middle }
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let n = numbers.first().copied().unwrap_or(64);
    let views = numbers.get(1).copied().unwrap_or(90);
    let mut random = PhiloxRng::new(numbers.get(2).copied().unwrap_or(1) as u64, 0, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let cube = |n: usize, h: f64| VolumeGrid::new(&[n; 3], &[h; 3], &[0.0; 3]);
    let fine =
        PoseModel::five(cube(2 * n, 0.5)?, views, [2 * n; 2], [0.5; 2], [0.0; 2], None, None)?;
    let model = fine.coarser(2)?;
    let (mut start, mut truth) = (Vec::new(), Vec::new());
    for view in 0..views {
        let phi = std::f64::consts::PI * view as f64 / views as f64;
        start.extend([0.0, 0.0, phi, 0.0, 0.0]);
        let degree = 1.0_f64.to_radians();
        truth.extend([
            degree * normal(),
            degree * normal(),
            phi + degree * normal(),
            2.0 * normal(),
            2.0 * normal(),
        ]);
    }
    let volume = phantom(2 * n);
    let mut y = fine.binned_projections(&batch_forward_project(&fine, &truth, &volume)?, 2)?;
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(f64::from(*v)));
    let sigma = largest / 20.0;
    y.iter_mut().for_each(|v| *v += (sigma * normal()) as f32);
    let exact: Vec<f64> = fine.binned_volume(&volume, 2)?.iter().map(|v| f64::from(*v)).collect();
    drop(volume);
    println!("{n}^3, {views} views, noise {sigma:.3} (largest projection {largest:.2})");
    let begin = cpu_time::ProcessTime::now();
    let unknowns = Unknowns::all(&model)?;
    let mut settings = JointSettings::default();
    if let Some(inner) = numbers.get(3) {
        settings.inner = *inner;
    }
    let found = align_jointly(&model, &start, &y, &unknowns, &settings)?;
    let seconds = begin.elapsed().as_secs_f64();
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
    let framed = |thetas: &[f64]| -> Result<Vec<f64>, Box<dyn Error>> {
        Ok(moved(&model, thetas, &nearest(&model, thetas, &truth)?)?)
    };
    let aligned = framed(&found.thetas())?;
    println!("median error         alpha    beta     phi (degrees)   dx      dz (voxels)");
    for (name, thetas) in [("before", framed(&start)?), ("after", aligned.clone())] {
        let [a, b, p, x, z] = errors(&thetas, &truth);
        println!("  {name:8} {a:16.4} {b:8.4} {p:8.4} {x:16.4} {z:8.4}");
    }
    // What a known volume would allow: the bound of Cramer and Rao.
    let narrow: Vec<f32> = exact.iter().map(|v| *v as f32).collect();
    let blocks = model.losses(&truth, &narrow, &y)?;
    let bound: [f64; 5] = std::array::from_fn(|k| {
        let of = |b: &microtome_kernels::ray::trilinear::Normal| {
            let mut l = b.normal.clone();
            if !microtome_inference::dense::cholesky(&mut l, 5, 1e-14) {
                return f64::NAN;
            }
            let inverse = microtome_inference::dense::cholesky_inverse(&l, 5);
            0.6745 * sigma * inverse[6 * k].sqrt()
        };
        let middle = median(blocks.iter().map(of).collect());
        if k < 3 { middle.to_degrees() } else { middle }
    });
    let [a, b, p, x, z] = bound;
    println!("  {:8} {a:16.4} {b:8.4} {p:8.4} {x:16.4} {z:8.4}   (volume known)", "bound");
    for (name, thetas) in
        [("given poses", framed(&start)?), ("aligned", aligned), ("true poses", truth.clone())]
    {
        let x = image(&model, &thetas, &y)?;
        println!("  {name:12} PSNR {:.2} dB", quality::psnr(&x, &exact, 1.0));
    }
    println!("align: {seconds:.1} s CPU, hidden: {}", found.hidden.join(", "));
    Ok(())
}
