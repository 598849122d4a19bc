//! What shared priors do to errors and intervals: phantoms of known truth, sampled with
//! independent, hierarchical and spatial priors.
//!
//! `cargo run --release -p microtome-inference --example population -- CASE [SIDE] [SNR] [DRAWS]`
//!
//! | case | truth |
//! |---|---|
//! | `population` | one tissue: every voxel from a normal population of the coordinates |
//! | `crossing` | the same with stick + zeppelin + ball |
//! | `tissues` | two tissues, which a normal population does not describe |
//! | `edge` | maps that are smooth but for one edge |
//! | `edge_three` | the same with stick + zeppelin + ball |
//!
//! SIDE x SIDE voxels. For every prior and parameter: the root-mean-square error of the
//! posterior mean, its share of that with independent priors, the coverage of 90 %
//! intervals, the smallest effective sample size, and CPU seconds.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use cpu_time::ProcessTime;
use microtome_inference::Runner;
use microtome_inference::population::{Coupled, DrawStore, MemoryDraws, Work};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, BLOCK_ROWS, Coupling, Evaluator, Job, Lowered, Model, ModelSpec, NoiseKind,
    RunSpec, SearchSpec, SigmaSpec, VoxelBatch,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// mean, q05, q95, ess, R-hat of a voxel and parameter.
type Estimates = BTreeMap<(usize, String), [f64; 5]>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let case = arguments.first().map_or("population", String::as_str);
    let number =
        |i: usize, default: f64| arguments.get(i).map_or(Ok(default), |a| a.parse::<f64>());
    let (side, snr, draws) =
        (number(1, 16.0)? as usize, number(2, 15.0)?, number(3, 500.0)? as usize);
    let text = if ["crossing", "edge_three"].contains(&case) {
        "stick + zeppelin + ball"
    } else {
        "ball_stick"
    };
    let mut model = ModelSpec::parse(text)?;
    model.noise.kind = NoiseKind::Rician;
    let acquisition = acquisition()?;
    let lowered = Lowered::new(Arc::new(Model::new(model.clone())?), &acquisition)?;
    let truths: Vec<Vec<f64>> =
        (0..side * side).map(|v| truth(case, &lowered.model, v % side, v / side, side)).collect();
    let batches = batches(&lowered, &truths, side, 1.0 / snr);
    let names: Vec<&str> = lowered
        .model
        .value_names()
        .into_iter()
        .filter(|n| !n.contains(".mu_") && *n != "s0")
        .collect();
    println!("{case}: {text}, {} voxels, SNR {snr}, 4 chains of {draws} draws", side * side);
    println!("| prior | parameter | error | of independent | 90 % coverage | smallest ESS |");
    println!("|---|---|---|---|---|---|");
    let mut independent: Option<Vec<f64>> = None;
    for prior in Coupling::ALL {
        let spec = RunSpec {
            job: Job::Sample,
            model: model.clone(),
            acquisition: acquisition.clone(),
            sigma: SigmaSpec::Free,
            search: SearchSpec { draws, prior, ..SearchSpec::default() },
            seed: 5,
        };
        let clock = ProcessTime::now();
        let estimates = sample(&spec, &batches)?;
        let seconds = clock.elapsed().as_secs_f64();
        let mut errors = Vec::new();
        for name in &names {
            let (mut square, mut inside, mut n, mut ess) = (0.0, 0.0, 0.0, f64::INFINITY);
            let at = lowered.model.value_names().iter().position(|o| o == name).unwrap_or(0);
            for (v, truth) in truths.iter().enumerate() {
                let Some([mean, low, high, e, _]) = estimates.get(&(v, (*name).to_string())) else {
                    continue;
                };
                n += 1.0;
                square += (mean - truth[at]).powi(2);
                inside += f64::from(u8::from(*low <= truth[at] && truth[at] <= *high));
                ess = ess.min(*e);
            }
            let error = f64::sqrt(square / n);
            let share = independent.as_ref().map_or(1.0, |i| error / i[errors.len()]);
            errors.push(error);
            println!(
                "| {} | {name} | {error:.4} | {share:.2} | {:.1} % | {ess:.0} |",
                prior.name(),
                100.0 * inside / n
            );
        }
        let mut mixed = vec![true; truths.len()];
        for ((v, _), [.., rhat]) in &estimates {
            mixed[*v] &= *rhat <= 1.01;
        }
        println!(
            "| {} | all | {:.1} ms of CPU a voxel; {:.1} % with all R-hat below 1.01 | | | |",
            prior.name(),
            1e3 * seconds / truths.len() as f64,
            100.0 * mixed.iter().filter(|m| **m).count() as f64 / truths.len() as f64
        );
        independent.get_or_insert(errors);
    }
    Ok(())
}

/// 6 b = 0 images, 24 directions at 1000 and 32 at 2500 s/mm².
fn acquisition() -> Result<Acquisition, Box<dyn Error>> {
    let (mut b, mut g) = (vec![0.0; 6], vec![[0.0; 3]; 6]);
    for (count, value) in [(24, 1.0), (32, 2.5)] {
        for i in 0..count {
            // A spiral over the half sphere.
            let z = (f64::from(i) + 0.5) / f64::from(count);
            let phi = 2.399_963_229_728_653 * f64::from(i);
            let r = (1.0 - z * z).sqrt();
            b.push(value);
            g.push([r * phi.cos(), r * phi.sin(), z]);
        }
    }
    Ok(Acquisition::from_b(&b, &g, None, None)?)
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// The values of a voxel at (i, j).
fn truth(case: &str, model: &Model, i: usize, j: usize, side: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(77, (i + side * j) as u64, 9);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let (u, v) = (i as f64 / side as f64, j as f64 / side as f64);
    let wave = |a: f64| (std::f64::consts::TAU * (0.6 * u + a * v)).sin();
    let right = u >= 0.5;
    // Fraction of the stick, its diffusivity, that of the ball, across and share of the zeppelin.
    let [f, par, iso, perp, share] = match case {
        "population" | "crossing" => {
            let common = normal();
            [
                logistic(0.2 + 0.4 * common + 0.3 * normal()),
                3.5 * logistic(0.0 + 0.25 * normal() + 0.15 * common),
                3.5 * logistic(0.2 + 0.25 * normal()),
                3.5 * logistic(-1.6 + 0.2 * normal()),
                logistic(1.0 + 0.3 * normal()),
            ]
        }
        "tissues" => {
            let (f, par, iso) = if right { (0.9, 0.5, -0.3) } else { (-1.0, -0.4, 0.6) };
            [
                logistic(f + 0.15 * normal()),
                3.5 * logistic(par + 0.1 * normal()),
                3.5 * logistic(iso + 0.1 * normal()),
                0.5,
                0.5,
            ]
        }
        _ => [
            if right { 0.65 } else { 0.3 } + 0.06 * wave(0.3),
            1.7 + 0.25 * wave(0.8),
            if right { 2.2 } else { 1.6 } + 0.15 * wave(-0.5),
            0.55 + 0.1 * wave(0.4),
            0.7 + 0.08 * wave(-0.2),
        ],
    };
    let mut rng = PhiloxRng::new(78, (i + side * j) as u64, 9);
    let (z, phi): (f64, f64) =
        (rng.random_range(0.0..1.0), rng.random_range(0.0..std::f64::consts::TAU));
    let r = (1.0 - z * z).sqrt();
    let mu = [r * phi.cos(), r * phi.sin(), z];
    let three = model.components().len() == 3;
    let value = |name: &str| match name {
        "s0" => 1.0,
        "stick.fraction" => f,
        "ball.fraction" if three => (1.0 - f) * (1.0 - share),
        "ball.fraction" => 1.0 - f,
        "zeppelin.fraction" => (1.0 - f) * share,
        "stick.lambda_par" | "zeppelin.lambda_par" => par,
        "zeppelin.lambda_perp" => perp,
        "ball.lambda_iso" if three => iso + 0.6,
        "ball.lambda_iso" => iso,
        axis => match axis.as_bytes().last() {
            Some(b'x') => mu[0],
            Some(b'y') => mu[1],
            _ => mu[2],
        },
    };
    model.value_names().into_iter().map(value).collect()
}

/// Rician signals in blocks.
fn batches(lowered: &Lowered, truths: &[Vec<f64>], side: usize, sigma: f64) -> Vec<VoxelBatch> {
    let mut evaluator = Evaluator::new(lowered);
    let mut out: Vec<VoxelBatch> = Vec::new();
    for (v, truth) in truths.iter().enumerate() {
        if v % BLOCK_ROWS == 0 {
            out.push(VoxelBatch { ijk: Some(Vec::new()), ..VoxelBatch::default() });
        }
        let Some(batch) = out.last_mut() else { break };
        let mut rng = PhiloxRng::new(79, v as u64, 3);
        let signal = evaluator.predict(truth);
        batch.measurements = signal.len();
        batch.row.push(v as u64);
        batch.voxel.push(v as i64);
        batch.ijk.get_or_insert_default().push([(v % side) as i32, (v / side) as i32, 0]);
        batch.signals.extend(signal.iter().map(|s| NoiseKind::Rician.draw(*s, sigma, &mut rng)));
    }
    out
}

/// Samples and reads the summaries.
fn sample(spec: &RunSpec, batches: &[VoxelBatch]) -> Result<Estimates, Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    let mut summaries = Vec::new();
    if spec.search.prior.is_independent() {
        let runner = Runner::new(spec)?;
        for batch in batches {
            summaries.push(runner.process_voxels(batch.clone(), &stop)?.summary);
        }
    } else {
        let coupled = Coupled::new(spec)?;
        let region = coupled.region(batches.to_vec(), &stop, &|_| {})?;
        let store = MemoryDraws::new(region.blocks());
        let draws = Work::new(&coupled, &region, &stop).run(&store, &|| {})?;
        for block in 0..region.blocks() {
            let numbers = store.read(block)?;
            summaries.push(coupled.tables(&region, &draws, block, &numbers)?.summary);
        }
        if std::env::var_os("POPULATION").is_some() {
            let [_, summary] = coupled.population_tables(&region, &draws)?;
            let names = words(&summary, "parameter")?;
            let columns: Vec<Vec<f64>> = ["mean", "sd", "rhat", "ess_bulk", "ess_tail"]
                .iter()
                .map(|c| numbers(&summary, c))
                .collect::<Result<_, _>>()?;
            for (i, name) in names.iter().enumerate().filter(|(_, n)| !n.starts_with("corr")) {
                let c: Vec<String> = columns.iter().map(|c| format!("{:.4}", c[i])).collect();
                eprintln!("  {name:30} {}", c.join("  "));
            }
        }
    }
    let mut out = Estimates::new();
    for summary in summaries.into_iter().flatten() {
        let parameter = words(&summary, "parameter")?;
        let voxel = summary.column_by_name("voxel").ok_or("voxel")?;
        let voxel = voxel.as_any().downcast_ref::<arrow_array::Int64Array>().ok_or("voxel")?;
        let columns = ["mean", "q05", "q95", "ess_bulk", "rhat"].map(|c| numbers(&summary, c));
        let [mean, low, high, ess, rhat] = columns;
        let (mean, low, high, ess, rhat) = (mean?, low?, high?, ess?, rhat?);
        for (r, name) in parameter.into_iter().enumerate() {
            out.insert(
                (voxel.value(r) as usize, name),
                [mean[r], low[r], high[r], ess[r], rhat[r]],
            );
        }
    }
    Ok(out)
}

fn numbers(batch: &arrow_array::RecordBatch, name: &str) -> Result<Vec<f64>, String> {
    let column = batch.column_by_name(name).ok_or(name)?;
    let column = column.as_any().downcast_ref::<arrow_array::Float64Array>().ok_or(name)?;
    Ok(column.values().to_vec())
}

fn words(batch: &arrow_array::RecordBatch, name: &str) -> Result<Vec<String>, String> {
    let column = batch.column_by_name(name).ok_or(name)?;
    let column = column.as_any().downcast_ref::<arrow_array::StringArray>().ok_or(name)?;
    Ok(column.iter().flatten().map(String::from).collect())
}
