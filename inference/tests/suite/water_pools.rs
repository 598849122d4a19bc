//! Water beside tissue: the starts of `ivim` and `fwdti` find the mode of the truth.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::fit::{FitOptions, Fitter, StartScheme, Status, VoxelFit};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Acquisition, Lowered, Model, NoiseKind};
use rand::RngExt;
use voxels::{add_noise, at, column, direction, lowered, median, predict, scheme};

/// 21 b-values of 0 to 1000 s/mm², one measurement each (a trace-weighted mean).
fn perfusion_scheme() -> Acquisition {
    let b = [
        0, 10, 20, 30, 40, 60, 80, 100, 120, 140, 160, 180, 200, 300, 400, 500, 600, 700, 800, 900,
        1000,
    ];
    let b: Vec<f64> = b.iter().map(|b| 1e-3 * f64::from(*b)).collect();
    Acquisition::from_b(&b, &vec![[1.0, 0.0, 0.0]; b.len()], None, None).unwrap()
}

fn perfusion_truth(model: &Model, rng: &mut PhiloxRng) -> Vec<f64> {
    let mut x = vec![0.0; model.values()];
    let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let f = between(0.05, 0.3);
    x[at(model, "tissue.lambda_iso")] = between(0.6, 1.5);
    x[at(model, "blood.lambda_iso")] = between(8.0, 60.0);
    x[at(model, "blood.fraction")] = f;
    x[at(model, "tissue.fraction")] = 1.0 - f;
    x[at(model, "s0")] = 1.0;
    x
}

fn value(model: &Model, x: &[f64], name: &str) -> f64 {
    let mut columns = vec![0.0; model.columns().len()];
    model.fill_columns(x, &[], &mut columns);
    columns[column(model, name)]
}

fn fitter(lowered: &Lowered, acquisition: &Acquisition) -> Fitter {
    let scheme = StartScheme::new(lowered, acquisition).unwrap();
    Fitter::new(lowered, &scheme, FitOptions::default())
}

#[test]
fn noise_free_perfusion_is_recovered() {
    let acquisition = perfusion_scheme();
    let lowered = lowered("ivim", NoiseKind::Gaussian, &acquisition);
    let model = lowered.model.clone();
    let mut fitter = fitter(&lowered, &acquisition);
    for voxel in 0..500 {
        let x = perfusion_truth(&model, &mut PhiloxRng::new(31, voxel, 0));
        let fit = fitter.fit(&predict(&lowered, &x), &[], Some(0.02));
        for (name, truth) in model.value_names().iter().zip(&x) {
            let found = value(&model, &fit.x, name);
            assert!((found / truth - 1.0).abs() < 1e-3, "voxel {voxel} {name}: {found} {truth}");
        }
    }
}

/// Fits from the starts of the scheme lose nothing to fits from the truth.
#[test]
fn noisy_perfusion_finds_the_best_mode() {
    let acquisition = perfusion_scheme();
    let lowered = lowered("ivim", NoiseKind::Gaussian, &acquisition);
    let model = lowered.model.clone();
    let mut fitter = fitter(&lowered, &acquisition);
    let sigma = 0.02;
    let (mut fits, mut truths): (Vec<VoxelFit>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    let mut worse = 0;
    for voxel in 0..500 {
        let mut rng = PhiloxRng::new(32, voxel, 0);
        let x = perfusion_truth(&model, &mut rng);
        let mut y = predict(&lowered, &x);
        add_noise(&mut y, NoiseKind::Rician, sigma, &mut rng);
        let fit = fitter.fit(&y, &[], Some(sigma));
        let from_truth = fitter.fit_from(&x, &y, &[], Some(sigma));
        worse += u32::from(fit.ln_likelihood < from_truth.ln_likelihood - 0.01);
        fits.push(fit);
        truths.push(x);
    }
    let error = |name: &str| {
        let e = fits.iter().zip(&truths);
        let e = e.map(|(f, x)| (value(&model, &f.x, name) - value(&model, x, name)).abs());
        median(&e.collect::<Vec<_>>())
    };
    let (f, d) = (error("blood.fraction"), error("tissue.lambda_iso"));
    println!(
        "ivim, SNR 50: median errors f {f:.4}, D {d:.4} um²/ms, D* {:.2}; {worse} of 500 below the mode of the truth",
        error("blood.lambda_iso")
    );
    assert!(worse <= 2, "{worse} of 500 fits missed a better mode");
    assert!(f < 0.03 && d < 0.08, "{f} {d}");
}

#[test]
fn free_water_is_found_on_two_shells() {
    let acquisition = scheme(8, &[(0.5, 32), (1.0, 32), (1.5, 32)]);
    let lowered = lowered("fwdti", NoiseKind::Gaussian, &acquisition);
    let model = lowered.model.clone();
    let mut fitter = fitter(&lowered, &acquisition);
    let mut errors = [Vec::new(), Vec::new(), Vec::new()];
    for voxel in 0..300 {
        let mut rng = PhiloxRng::new(33, voxel, 0);
        let mut x = vec![0.0; model.values()];
        let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let water = if voxel % 3 == 0 { 0.0 } else { between(0.05, 0.6) };
        let l = [between(1.2, 1.8), between(0.4, 0.7), between(0.2, 0.4)];
        for (k, l) in l.iter().enumerate() {
            x[at(&model, &format!("tensor.lambda_{}", k + 1))] = *l;
        }
        x[at(&model, "tensor.psi")] = between(0.0, 3.0);
        x[at(&model, "water.fraction")] = water;
        x[at(&model, "tensor.fraction")] = 1.0 - water;
        x[at(&model, "s0")] = 1.0;
        let mu = at(&model, "tensor.mu_x");
        x[mu..mu + 3].copy_from_slice(&direction(&mut rng));
        model.canonicalise(&mut x);
        let clean = predict(&lowered, &x);
        let exact = fitter.fit(&clean, &[], Some(0.02));
        for name in ["water.fraction", "tensor.lambda_1", "tensor.lambda_3"] {
            let (found, truth) = (value(&model, &exact.x, name), value(&model, &x, name));
            assert!((found - truth).abs() < 2e-3, "voxel {voxel} {name}: {found} {truth}");
        }
        let mut y = clean;
        add_noise(&mut y, NoiseKind::Rician, 0.02, &mut rng);
        let fit = fitter.fit(&y, &[], Some(0.02));
        assert_ne!(fit.status, Status::Divergent);
        errors[0].push((value(&model, &fit.x, "water.fraction") - water).abs());
        let truth = |k: usize| model.measures()[k].evaluate(&model, &x, &[], &mut |_, _| ());
        errors[1].push((fit.measures[0] - truth(0)).abs());
        errors[2].push((fit.measures[1] - truth(1)).abs());
    }
    let [f, fa, md] = errors.map(|e| median(&e));
    println!("fwdti, three shells, SNR 50: median errors f {f:.4}, FA {fa:.4}, MD {md:.4} um²/ms");
    assert!(f < 0.03 && fa < 0.04, "{f} {fa}");
}
