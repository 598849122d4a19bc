//! Synthetic voxels that the integration tests share: schemes, truths, noise.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::panic)]

use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Acquisition, Evaluator, Lowered, Model, ModelSpec, NoiseKind};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// `n` directions that cover the half sphere evenly (a Fibonacci lattice),
/// turned by `turn` rad about z so that shells do not share directions.
pub fn fibonacci(n: usize, turn: f64) -> Vec<[f64; 3]> {
    let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    (0..n)
        .map(|i| {
            let z = 1.0 - (i as f64 + 0.5) / n as f64;
            let (s, c) = (golden * i as f64 + turn).sin_cos();
            let r = (1.0 - z * z).sqrt();
            [r * c, r * s, z]
        })
        .collect()
}

/// `b0` measurements without weighting and shells of (b in ms/µm², directions).
pub fn scheme(b0: usize, shells: &[(f64, usize)]) -> Acquisition {
    let mut b = vec![0.0; b0];
    let mut g = vec![[0.0; 3]; b0];
    for (k, &(value, n)) in shells.iter().enumerate() {
        b.extend(std::iter::repeat_n(value, n));
        g.extend(fibonacci(n, 0.7 * k as f64));
    }
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

/// 288 measurements: 18 b = 0 and 90 directions at b = 1, 2, 3 ms/µm².
pub fn multi_shell() -> Acquisition {
    scheme(18, &[(1.0, 90), (2.0, 90), (3.0, 90)])
}

/// A preset, an expression, or the text of a model file.
pub fn specification(text: &str, noise: NoiseKind) -> ModelSpec {
    let mut spec = if text.contains("[[") {
        ModelSpec::from_toml(text).unwrap()
    } else {
        ModelSpec::parse(text).unwrap()
    };
    spec.noise.kind = noise;
    spec
}

/// A model on an acquisition.
pub fn lowered(text: &str, noise: NoiseKind, acquisition: &Acquisition) -> Lowered {
    let model = Arc::new(Model::new(specification(text, noise)).unwrap());
    Lowered::new(model, acquisition).unwrap()
}

/// A fitter with default options.
pub fn fitter(lowered: &Lowered, acquisition: &Acquisition) -> Fitter {
    let scheme = StartScheme::new(lowered, acquisition).unwrap();
    Fitter::new(lowered, &scheme, FitOptions::default())
}

/// Noise-free signals of values.
pub fn predict(lowered: &Lowered, x: &[f64]) -> Vec<f64> {
    Evaluator::new(lowered).predict(x)
}

/// The index of a value by name.
pub fn at(model: &Model, name: &str) -> usize {
    model.value_names().iter().position(|n| *n == name).unwrap_or_else(|| panic!("no value {name}"))
}

/// The index of a result column by name.
pub fn column(model: &Model, name: &str) -> usize {
    model
        .columns()
        .iter()
        .position(|c| c.name == name)
        .unwrap_or_else(|| panic!("no column {name}"))
}

pub fn normal(rng: &mut PhiloxRng) -> f64 {
    StandardNormal.sample(rng)
}

/// A direction, uniform on the sphere.
pub fn direction(rng: &mut PhiloxRng) -> [f64; 3] {
    let v = [normal(rng), normal(rng), normal(rng)];
    let n = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    v.map(|c| c / n)
}

/// Adds noise of one channel's standard deviation `sigma`.
pub fn add_noise(y: &mut [f64], noise: NoiseKind, sigma: f64, rng: &mut PhiloxRng) {
    for v in y {
        let real = *v + sigma * normal(rng);
        *v = match noise {
            NoiseKind::Gaussian => real,
            NoiseKind::Rician => real.hypot(sigma * normal(rng)),
            NoiseKind::NcChi { coils } => {
                (1..2 * coils).fold(real, |y, _| y.hypot(sigma * normal(rng)))
            }
            NoiseKind::StudentT { nu } => {
                // Whole degrees of freedom: a normal over the root of a mean of squares.
                let squares: f64 = (0..nu as u32).map(|_| normal(rng).powi(2)).sum();
                *v + (real - *v) / (squares / nu).sqrt()
            }
        };
    }
}

/// A random truth inside the ranges of tissue, as in `examples/accuracy.rs`: no
/// fraction below a tenth.
pub fn truth(model: &Model, rng: &mut PhiloxRng) -> Vec<f64> {
    let names = model.value_names();
    let mut x = vec![0.0; names.len()];
    for (k, name) in names.iter().enumerate() {
        let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        x[k] = match name.rsplit('.').next().unwrap() {
            "lambda_par" => between(1.2, 2.4),
            "lambda_perp" => between(0.3, 1.0),
            "lambda_iso" if names.iter().any(|n| n.ends_with("lambda_perp")) => between(2.5, 3.0),
            "lambda_iso" => between(0.8, 2.5),
            "lambda_1" => between(1.4, 2.4),
            "lambda_2" => between(0.8, 1.2),
            "lambda_3" => between(0.2, 0.6),
            "psi" => between(0.0, std::f64::consts::PI),
            "ratio" => between(0.4, 0.95),
            "odi" => between(0.06, 0.4),
            "beta_fraction" => between(0.2, 0.9),
            "s0" => 1.0,
            _ => 0.0,
        };
        if name.ends_with("mu_z") {
            x[k - 2..=k].copy_from_slice(&direction(rng));
        }
    }
    let fractions: Vec<usize> =
        (0..names.len()).filter(|&k| names[k].ends_with(".fraction")).collect();
    let shares: Vec<f64> = fractions.iter().map(|_| 0.25 + rng.random::<f64>()).collect();
    for (k, share) in fractions.iter().zip(&shares) {
        x[*k] = share / shares.iter().sum::<f64>();
    }
    x
}

pub fn sorted(mut v: Vec<f64>) -> Vec<f64> {
    v.sort_by(f64::total_cmp);
    v
}

pub fn median(v: &[f64]) -> f64 {
    sorted(v.to_vec())[v.len() / 2]
}

pub fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

pub fn sd(v: &[f64]) -> f64 {
    let m = mean(v);
    (v.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / (v.len() - 1) as f64).sqrt()
}

/// The angle between two axes, degrees.
pub fn axis_angle_deg(a: &[f64], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    dot.abs().min(1.0).acos().to_degrees()
}
