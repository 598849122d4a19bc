//! Cost of a voxel in CPU time of one thread, beside its floor:
//! `cargo bench -p microtome-inference --bench voxel`.
//!
//! The floor is the time of the `exp` calls alone, measured in the same run. The
//! scheme is 18 b = 0 and 3 x 90 directions (b = 1, 2, 3 ms/µm²), SNR 30, Rician
//! noise of known sigma; the sampler runs on 4 + 2 x 48 measurements (b = 1, 2.5)
//! as the peers' table in docs/validation.md does. Medians of seven rounds.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::{ProcessTime, ThreadTime};
use microtome_inference::diagnostics::{Chains, Workspace, ess_bulk};
use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_inference::sample::{NutsOptions, Sampler};
use microtome_inference::{Runner, record_batch};
use microtome_kernels::exp::exp_in_place;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Evaluator, Job, Lowered, Model, ModelSpec, NoiseKind, RunSpec, SearchSpec,
    SigmaSpec, VoxelBatch,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const ROUNDS: usize = 7;

fn main() {
    let hcp = scheme(18, 90, &[1.0, 2.0, 3.0]);
    println!("instruction set: {}", microtome_kernels::simd::level().name());
    let exp_ns = exp_cost();
    println!("one exp of the vector loop: {exp_ns:.3} ns");
    for model in ["ball_stick", "stick_zeppelin_ball", "ball_sticks_2"] {
        fit(model, &hcp, exp_ns);
    }
    nuts(&scheme(4, 48, &[1.0, 2.5]), exp_ns);
    threads(&hcp);
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

/// `b0` unweighted measurements and `n` Fibonacci directions a shell.
fn scheme(b0: usize, n: usize, shells: &[f64]) -> Acquisition {
    let mut b = vec![0.0; b0];
    let mut g = vec![[0.0, 0.0, 1.0]; b0];
    for (s, &value) in shells.iter().enumerate() {
        for i in 0..n {
            let z = 1.0 - (i as f64 + 0.5) / n as f64;
            let phi = 2.399_963_229_728_653 * i as f64 + s as f64;
            let r = (1.0 - z * z).sqrt();
            b.push(value);
            g.push([r * phi.cos(), r * phi.sin(), z]);
        }
    }
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

fn exp_cost() -> f64 {
    let source: Vec<f64> = (0..288).map(|i| -0.01 * f64::from(i)).collect();
    let mut x = source.clone();
    let rounds = (0..ROUNDS)
        .map(|_| {
            let clock = ThreadTime::now();
            for _ in 0..20_000 {
                x.copy_from_slice(&source);
                exp_in_place(std::hint::black_box(&mut x));
            }
            clock.elapsed().as_secs_f64() * 1e9 / (20_000.0 * 288.0)
        })
        .collect();
    median(rounds)
}

fn compiled(name: &str, acquisition: &Acquisition) -> (Lowered, StartScheme) {
    let mut spec = ModelSpec::parse(name).unwrap();
    spec.noise.kind = NoiseKind::Rician;
    let lowered = Lowered::new(Arc::new(Model::new(spec).unwrap()), acquisition).unwrap();
    let scheme = StartScheme::new(&lowered, acquisition).unwrap();
    (lowered, scheme)
}

/// Noisy voxels of random truths.
fn voxels(lowered: &Lowered, count: u64, sigma: f64) -> Vec<Vec<f64>> {
    let mut evaluator = Evaluator::new(lowered);
    let names: Vec<String> = lowered.model.value_names().iter().map(|n| (*n).to_string()).collect();
    (0..count)
        .map(|voxel| {
            let mut rng = PhiloxRng::new(11, voxel, 0);
            let mut x = vec![0.0; names.len()];
            let fractions = names.iter().filter(|n| n.ends_with("fraction")).count() as f64;
            for (name, value) in names.iter().zip(&mut x) {
                let u: f64 = rng.random();
                *value = match name.rsplit('.').next().unwrap() {
                    "lambda_par" => 1.2 + 1.2 * u,
                    "lambda_perp" => 0.3 + 0.7 * u,
                    "lambda_iso" => {
                        if fractions > 2.0 {
                            2.5 + 0.5 * u
                        } else {
                            0.8 + 1.7 * u
                        }
                    }
                    "s0" => 1.0,
                    "fraction" => 1.0 / fractions,
                    _ => StandardNormal.sample(&mut rng),
                };
            }
            for k in (0..names.len()).filter(|&k| names[k].ends_with("mu_x")) {
                let norm = (x[k] * x[k] + x[k + 1] * x[k + 1] + x[k + 2] * x[k + 2]).sqrt();
                x[k..k + 3].iter_mut().for_each(|v| *v /= norm);
            }
            let mut y = evaluator.predict(&x);
            for v in &mut y {
                let (re, im): (f64, f64) =
                    (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
                *v = (*v + sigma * re).hypot(sigma * im);
            }
            y
        })
        .collect()
}

fn fit(model: &str, acquisition: &Acquisition, exp_ns: f64) {
    let (lowered, scheme) = compiled(model, acquisition);
    let sigma = 1.0 / 30.0;
    let data = voxels(&lowered, 300, sigma);
    let mut fitter = Fitter::new(&lowered, &scheme, FitOptions::default());
    let mut iterations = 0;
    let rounds = (0..ROUNDS)
        .map(|_| {
            let clock = ThreadTime::now();
            iterations =
                data.iter().map(|y| fitter.fit(y, &[], Some(sigma)).iterations).sum::<u64>();
            clock.elapsed().as_secs_f64() * 1e3 / data.len() as f64
        })
        .collect();
    let ms = median(rounds);
    let sticks = lowered.model.components().iter().filter(|c| c.kind.oriented()).count() as f64;
    // The exps of the iterations of the winning start alone.
    let floor =
        iterations as f64 / data.len() as f64 * sticks * acquisition.len() as f64 * exp_ns * 1e-6;
    println!(
        "fit {model}: {ms:.4} ms/voxel of {} measurements, starts included; exp calls of {:.1} iterations {floor:.4} ms; ratio {:.1}",
        acquisition.len(),
        iterations as f64 / data.len() as f64,
        ms / floor
    );
}

fn nuts(acquisition: &Acquisition, exp_ns: f64) {
    let (lowered, scheme) = compiled("ball_stick", acquisition);
    let sigma = 1.0 / 30.0;
    let data = voxels(&lowered, 12, sigma);
    let options = NutsOptions { tune: 200, draws: 500, ..NutsOptions::default() };
    let mut sampler = Sampler::new(Fitter::new(&lowered, &scheme, FitOptions::default()), options);
    let mut workspace = Workspace::new();
    let (mut rates, mut costs, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (mut seconds, mut ess, mut gradients) = (0.0, 0.0, 0);
        for (voxel, y) in data.iter().enumerate() {
            let clock = ThreadTime::now();
            let p = sampler.sample(y, &[], Some(sigma), round as u64, voxel as u64);
            seconds += clock.elapsed().as_secs_f64();
            gradients += p.traces.iter().map(|t| t.gradients).sum::<u64>();
            let worst = (0..p.width)
                .map(|k| {
                    let column: Vec<f64> =
                        p.values.iter().skip(k).step_by(p.width).copied().collect();
                    ess_bulk(
                        Chains::new(&column, options.chains, options.draws).unwrap(),
                        &mut workspace,
                    )
                })
                .fold(f64::INFINITY, f64::min);
            ess += worst;
        }
        rates.push(ess / seconds);
        costs.push(seconds / gradients as f64 * 1e6);
        floors.push(acquisition.len() as f64 * exp_ns * 1e-3);
    }
    let (rate, cost, floor) = (median(rates), median(costs), median(floors));
    println!(
        "nuts ball_stick: {rate:.0} bulk-ESS of the worst value per CPU second, tuning counted; \
         {cost:.3} us a gradient of {} measurements; exp calls {floor:.3} us; ratio {:.1}",
        acquisition.len(),
        cost / floor
    );
}

fn threads(acquisition: &Acquisition) {
    let (lowered, _) = compiled("ball_stick", acquisition);
    let sigma = 1.0 / 30.0;
    let data = voxels(&lowered, 2048, sigma);
    let spec = RunSpec {
        job: Job::Fit,
        model: lowered.model.spec().clone(),
        acquisition: acquisition.clone(),
        sigma: SigmaSpec::Known(sigma),
        search: SearchSpec::default(),
        seed: 0,
    };
    let runner = Runner::new(&spec).unwrap();
    let batch = record_batch(&VoxelBatch {
        row: (0..data.len() as u64).collect(),
        voxel: (0..data.len() as i64).collect(),
        signals: data.concat(),
        measurements: acquisition.len(),
        ..VoxelBatch::default()
    })
    .unwrap();
    let cost = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rounds = (0..ROUNDS)
            .map(|_| {
                let (cpu, wall) = (ProcessTime::now(), std::time::Instant::now());
                pool.install(|| runner.process(&batch, &AtomicBool::new(false)).unwrap());
                (cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64())
            })
            .collect::<Vec<_>>();
        (median(rounds.iter().map(|r| r.0).collect()), median(rounds.iter().map(|r| r.1).collect()))
    };
    let (one, two) = (cost(1), cost(2));
    println!(
        "threads: 2 use {:.3} x the CPU seconds of 1, wall {:.2} x faster",
        two.0 / one.0,
        one.1 / two.1
    );
}
