//! Cost and accuracy of tensor fits in CPU time of one thread, beside their floor:
//! `cargo bench -p microtome-inference --bench tensor`.
//!
//! The schemes are 18 b = 0 and 90 directions at b = 1 ms/µm² (108 measurements) and
//! the same with b = 2 and 3 (288); the noise is Rician of SNR 30, the truths are
//! prolate and general tensors of tissue. The floor of WLS is one pass of its flops at the
//! rate of a loop of multiply-adds measured in the same run, plus its logarithms
//! and exponentials at theirs. Medians of seven rounds.
//! `benches/peers/dti.py` sets the release binary beside DIPY.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::ThreadTime;
use microtome_inference::fit::{FitOptions, Fitter, LogLinear, StartScheme, VoxelFit};
use microtome_kernels::exp::exp_in_place;
use microtome_kernels::log::log_in_place;
use microtome_kernels::normal::normal_equations;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Acquisition, Evaluator, FitMethod, Lowered, Model, ModelSpec};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::fmt::Write;
use std::sync::Arc;

const ROUNDS: usize = 7;
const VOXELS: u64 = 500;
const SIGMA: f64 = 1.0 / 30.0;

fn main() {
    println!("instruction set: {}", microtome_kernels::simd::level().name());
    for shells in [&[1.0][..], &[1.0, 2.0, 3.0]] {
        let acquisition = scheme(18, 90, shells);
        let data = Data::new(&acquisition);
        for method in [FitMethod::Ols, FitMethod::Wls, FitMethod::Nlls] {
            measure(&acquisition, &data, method);
        }
    }
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

struct Data {
    lowered: Lowered,
    signals: Vec<Vec<f64>>,
    /// FA and MD of the truth.
    truth: Vec<[f64; 2]>,
}

impl Data {
    fn new(acquisition: &Acquisition) -> Self {
        let model = Arc::new(Model::new(ModelSpec::parse("dti").unwrap()).unwrap());
        let lowered = Lowered::new(model.clone(), acquisition).unwrap();
        let mut evaluator = Evaluator::new(&lowered);
        let names = model.value_names();
        let at = |name: &str| names.iter().position(|n| n.ends_with(name)).unwrap();
        let (mut signals, mut truth) = (Vec::new(), Vec::new());
        for voxel in 0..VOXELS {
            let mut rng = PhiloxRng::new(21, voxel, 0);
            let mut x = vec![0.0; model.values()];
            let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
            let (l1, l2, l3) = (between(1.3, 2.0), between(0.4, 0.9), between(0.2, 0.6));
            let psi = between(0.0, 3.1);
            (x[at("lambda_1")], x[at("lambda_2")], x[at("lambda_3")]) =
                (l1, l2.max(l3), l2.min(l3));
            (x[at("psi")], x[at("s0")]) = (psi, 1.0);
            let v: [f64; 3] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
            let norm = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
            for i in 0..3 {
                x[at("mu_x") + i] = v[i] / norm;
            }
            let mut y = evaluator.predict(&x);
            for v in &mut y {
                let (re, im): (f64, f64) =
                    (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
                *v = (*v + SIGMA * re).hypot(SIGMA * im);
            }
            let measure = |k: usize| model.measures()[k].evaluate(&model, &x, &[], &mut |_, _| ());
            truth.push([measure(0), measure(1)]);
            signals.push(y);
        }
        Self { lowered, signals, truth }
    }
}

/// Nanoseconds of one call of `f`, median of the rounds.
fn cost(calls: usize, mut f: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS)
        .map(|_| {
            let clock = ThreadTime::now();
            (0..calls).for_each(|_| f());
            clock.elapsed().as_secs_f64() * 1e9 / calls as f64
        })
        .collect();
    median(rounds)
}

/// The loops that WLS can't do without, in nanoseconds: a logarithm and an exponential a
/// measurement, and the products of the normal equations.
fn floor(n: usize) -> [f64; 3] {
    let slots = n.next_multiple_of(8);
    let mut x = vec![0.5; slots];
    let log = cost(20_000, || {
        x.fill(0.5);
        log_in_place(std::hint::black_box(&mut x));
    });
    let exp = cost(20_000, || {
        x.fill(0.5);
        exp_in_place(std::hint::black_box(&mut x));
    });
    let (design, weight) = (vec![0.5; 7 * slots], vec![1.0; slots]);
    let (mut normal, mut right) = (vec![0.0; 49], vec![0.0; 7]);
    let products = cost(20_000, || {
        normal_equations(std::hint::black_box(&design), &weight, &weight, &mut normal, &mut right);
    });
    [log, exp, products]
}

fn measure(acquisition: &Acquisition, data: &Data, method: FitMethod) {
    let b0: Vec<usize> = acquisition.b0_measurements().collect();
    let mean_b0 = |y: &[f64]| b0.iter().map(|&i| y[i]).sum::<f64>() / b0.len() as f64;
    let mut fits: Vec<VoxelFit> = Vec::new();
    let nanoseconds = if method == FitMethod::Nlls {
        let scheme = StartScheme::new(&data.lowered, acquisition).unwrap();
        let mut fitter = Fitter::new(&data.lowered, &scheme, FitOptions::default());
        cost(1, || fits = data.signals.iter().map(|y| fitter.fit(y, &[], None)).collect())
    } else {
        let (model, plan) = (data.lowered.model.clone(), data.lowered.plan.clone());
        let shared = LogLinear::new(model, plan, acquisition, method).unwrap();
        let mut fitter = shared.fitter();
        cost(20, || {
            fits = data.signals.iter().map(|y| fitter.fit(y, None, mean_b0(y))).collect();
        })
    };
    let ms = nanoseconds * 1e-6 / VOXELS as f64;
    let error = |k: usize| {
        let e = fits.iter().zip(&data.truth).map(|(f, t)| (f.measures[k] - t[k]).abs());
        median(e.collect())
    };
    let n = acquisition.len();
    let mut text = format!(
        "dti {}: {n} measurements, {ms:.5} ms/voxel, median errors FA {:.4}, MD {:.4}",
        method.name(),
        error(0),
        error(1)
    );
    if method == FitMethod::Wls {
        let [log, exp, products] = floor(n);
        let total = (log + exp + products) * 1e-6;
        write!(
            text,
            "; floor {total:.5} ms (log {log:.0} ns, exp {exp:.0} ns, normal equations {products:.0} ns), ratio {:.1}",
            ms / total
        )
        .unwrap();
    }
    println!("{text}");
}
