//! Runs with gradient nonlinearity: a voxel's own acquisition.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::batches;
use crate::voxels;

use arrow_array::RecordBatch;
use batches::{SIGMA, acquisition, batch, cells, numbers, part, run, spec, with_threads, words};
use microtome_inference::{Runner, record_batch};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, FitMethod, GradientNonlinearity, Job, Model, NoiseKind, RunSpec, SigmaSpec,
    VoxelBatch,
};
use std::sync::atomic::AtomicBool;
use voxels::{lowered, predict, truth};

#[test]
fn nonlinearity_of_zero_changes_nothing() {
    let plain = batch("ball_stick", 6);
    let zero = VoxelBatch { grad_dev: Some(vec![0.0; 54]), ..plain.clone() };
    for (job, voxels) in [(Job::Fit, 6), (Job::Sample, 2)] {
        let spec = spec(job, "ball_stick", SigmaSpec::PerVoxel);
        let (a, b) = (run(&spec, &part(&plain, 0..voxels)), run(&spec, &part(&zero, 0..voxels)));
        assert_eq!(cells(&a.main), cells(&b.main));
    }
}

#[test]
fn nonlinearity_recovers_the_parameters() {
    let nominal = acquisition();
    let tenth: [f64; 9] = [0.05, 0.0, 0.0, 0.0, 0.05, 0.0, 0.0, 0.0, 0.05];
    let skew: [f64; 9] = [0.04, 0.03, -0.02, 0.01, -0.06, 0.02, 0.05, -0.01, 0.03];
    let (mut signals, mut truths) = (Vec::new(), Vec::new());
    for (v, l) in [tenth, skew].iter().enumerate() {
        let seen = GradientNonlinearity::from_fsl(l).unwrap().apply(&nominal);
        let lowered = lowered("ball_stick", NoiseKind::Gaussian, &seen);
        let x = truth(&lowered.model, &mut PhiloxRng::new(5, v as u64, 0));
        signals.extend(predict(&lowered, &x));
        truths.push(x);
    }
    let input = VoxelBatch {
        row: vec![0, 1],
        voxel: vec![0, 1],
        measurements: nominal.len(),
        signals,
        grad_dev: Some([tenth, skew].concat()),
        ..VoxelBatch::default()
    };
    let mut spec = spec(Job::Fit, "ball_stick", SigmaSpec::Known(SIGMA));
    spec.model.noise.kind = NoiseKind::Gaussian;
    let with = run(&spec, &input).main;
    let without = run(&spec, &VoxelBatch { grad_dev: None, ..input.clone() }).main;
    let model = Model::new(spec.model.clone()).unwrap();
    for (v, x) in truths.iter().enumerate() {
        for (name, x) in model.value_names().iter().zip(x) {
            let (found, scale) = (numbers(&with, name)[v], x.abs().max(0.1));
            let off = if name.contains(".mu_") {
                (found.abs() - x.abs()).abs()
            } else {
                (found - x).abs() / scale
            };
            assert!(off < 1e-4, "{name} of voxel {v}: {found}, not {x}");
        }
    }
    // Gradients 5 % stronger than believed look like diffusion 10 % faster.
    let lambda = "stick.lambda_par";
    let ratio = numbers(&without, lambda)[0] / numbers(&with, lambda)[0];
    assert!((ratio - 1.05 * 1.05).abs() < 1e-3, "{ratio}");
    // The same with one thread and with the voxels in other batches.
    let single = with_threads(1, || run(&spec, &input).main);
    assert_eq!(cells(&single), cells(&with));
    let second = run(&spec, &part(&input, 1..2)).main;
    let row = |table: &RecordBatch, v: usize| -> Vec<String> {
        cells(table).into_iter().map(|c| c[v].clone()).collect()
    };
    assert_eq!(row(&second, 0), row(&with, 1));
}

#[test]
fn nonlinearity_that_is_none_is_a_status_or_an_error() {
    let mut input = batch("ball_stick", 3);
    let mut grad_dev = vec![0.01; 27];
    grad_dev[9] = f64::NAN;
    input.grad_dev = Some(grad_dev);
    let spec = spec(Job::Fit, "ball_stick", SigmaSpec::PerVoxel);
    let status = words(&run(&spec, &input).main, "status");
    assert_eq!(status[1], "invalid_signal");
    assert_eq!(status[0], "converged");
    // Planar encoding loses its symmetry, which the stick needs.
    let a = acquisition();
    let shapes: Vec<f64> =
        a.b_ms_per_um2().iter().map(|b| if *b > 0.0 { -0.5 } else { 1.0 }).collect();
    let planar =
        Acquisition::from_b_tensor(a.b_ms_per_um2(), a.directions(), &shapes, None, None).unwrap();
    let runner = Runner::new(&RunSpec { acquisition: planar, ..spec }).unwrap();
    let error = runner.process(&record_batch(&input).unwrap(), &AtomicBool::new(false));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`stick`") && error.contains("--grad-dev"), "{error}");
}

#[test]
fn nonlinearity_in_log_linear_fits() {
    let nominal = acquisition();
    let l: [f64; 9] = [0.04, 0.03, -0.02, 0.01, -0.06, 0.02, 0.05, -0.01, 0.03];
    let seen = GradientNonlinearity::from_fsl(&l).unwrap().apply(&nominal);
    let lowered = lowered("tensor", NoiseKind::Gaussian, &seen);
    let x = truth(&lowered.model, &mut PhiloxRng::new(5, 0, 0));
    let input = VoxelBatch {
        row: vec![0],
        voxel: vec![0],
        measurements: nominal.len(),
        signals: predict(&lowered, &x),
        grad_dev: Some(l.to_vec()),
        ..VoxelBatch::default()
    };
    let mut spec = spec(Job::Fit, "tensor", SigmaSpec::Known(SIGMA));
    spec.model.noise.kind = NoiseKind::Gaussian;
    spec.search.method = Some(FitMethod::Wls);
    let table = run(&spec, &input).main;
    let plain = run(&spec, &VoxelBatch { grad_dev: None, ..input.clone() }).main;
    let trace = |table: &RecordBatch| -> f64 {
        (1..4).map(|k| numbers(table, &format!("tensor.lambda_{k}"))[0]).sum()
    };
    let names = lowered.model.value_names();
    let wanted: f64 =
        names.iter().zip(&x).filter(|(n, _)| n.contains("lambda")).map(|(_, x)| x).sum();
    // Noiseless signals of a tensor are log-linear, so the fit is exact.
    assert!((trace(&table) - wanted).abs() < 1e-9, "{} {wanted}", trace(&table));
    assert!((trace(&plain) - wanted).abs() > 1e-3);
}
