//! Fits of spherical means: directions drop out, σ is that of a mean, Rician means
//! are corrected.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::voxels;

use microtome_inference::{Runner, record_batch};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Job, Model, NoiseKind, PulseTiming, RunSpec, SearchSpec, ShellMeans, SigmaSpec,
    VoxelBatch,
};
use rand::RngExt;
use std::sync::atomic::AtomicBool;
use voxels::{
    add_noise, direction, fibonacci, lowered, mean, multi_shell, predict, scheme, sd, specification,
};

fn run_spec(text: &str, job: Job, noise: NoiseKind, sigma: SigmaSpec, a: &Acquisition) -> RunSpec {
    RunSpec {
        job,
        model: specification(text, noise),
        acquisition: a.clone(),
        sigma,
        search: SearchSpec { tune: 150, draws: 300, chains: 2, ..SearchSpec::default() },
        seed: 3,
    }
}

/// The fit table of voxels: a function of the column name.
fn fit(spec: &RunSpec, signals: &[Vec<f64>]) -> impl Fn(&str) -> Vec<f64> + use<> {
    let n = spec.acquisition.len();
    let batch = VoxelBatch {
        row: (0..signals.len() as u64).collect(),
        voxel: (0..signals.len() as i64).collect(),
        signals: signals.concat(),
        measurements: n,
        ..VoxelBatch::default()
    };
    let runner = Runner::new(spec).unwrap();
    let tables = runner.process(&record_batch(&batch).unwrap(), &AtomicBool::new(false)).unwrap();
    let table = tables.fit.unwrap_or(tables.main);
    move |name| {
        let column = table.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        let array = column.as_any().downcast_ref::<arrow_array::Float64Array>().unwrap();
        array.values().to_vec()
    }
}

/// Many shells of many directions, whose means are spherical means to some 1e-5.
fn dense() -> Acquisition {
    scheme(6, &[(0.7, 2000), (1.5, 2000), (2.5, 4000), (3.5, 4000)])
}

/// One stick or zeppelin a direction; `weights` of equal sum.
fn fibres(par: f64, perp: f64, sigma: f64, noise: NoiseKind, a: &Acquisition) -> Vec<Vec<f64>> {
    let mut rng = PhiloxRng::new(11, 0, 0);
    let one = lowered("zeppelin", noise, a);
    (0..24)
        .map(|_| {
            // A crossing: the mean does not know of it.
            let mut y = vec![0.0; a.len()];
            for weight in [0.5, 0.3, 0.2] {
                let mu = direction(&mut rng);
                let x = [mu[0], mu[1], mu[2], par, perp, weight];
                for (y, s) in y.iter_mut().zip(predict(&one, &x)) {
                    *y += s;
                }
            }
            add_noise(&mut y, noise, sigma, &mut rng);
            y
        })
        .collect()
}

#[test]
fn smt_recovers_the_microscopic_tensor() {
    let a = dense();
    let gaussian = NoiseKind::Gaussian;
    let spec = run_spec("smt", Job::Fit, gaussian, SigmaSpec::Known(1e-4), &a);
    let model = Model::new(spec.model.clone()).unwrap();
    let names: Vec<&str> = model.columns().iter().map(|c| c.name.as_str()).collect();
    assert!(!names.iter().any(|n| n.contains("mu")), "{names:?}");
    for (par, perp) in [(1.9, 0.3), (1.2, 0.6), (2.4, 0.1)] {
        let of = fit(&spec, &fibres(par, perp, 0.0, gaussian, &a));
        // Means of a few thousand directions err by some 1e-5, a hundred times that in the diffusivities.
        for (p, q) in of("zeppelin.lambda_par").iter().zip(of("zeppelin.lambda_perp")) {
            assert!(
                (p - par).abs() < 3e-3 * par && (q - perp).abs() < 2e-3,
                "{p} {q}: {par} {perp}"
            );
        }
    }
}

#[test]
fn smt_mc_recovers_fraction_and_diffusivity() {
    let a = dense();
    let gaussian = NoiseKind::Gaussian;
    let spec = run_spec("smt_mc", Job::Fit, gaussian, SigmaSpec::Known(1e-4), &a);
    for (f, par) in [(0.6, 1.8), (0.3, 2.2), (0.8, 1.4)] {
        let sticks = fibres(par, 0.0, 0.0, gaussian, &a);
        let extra = fibres(par, (1.0 - f) * par, 0.0, gaussian, &a);
        let mix = |(s, e): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            s.iter().zip(e).map(|(s, e)| f * s + (1.0 - f) * e).collect()
        };
        let signals: Vec<Vec<f64>> = sticks.iter().zip(&extra).map(mix).collect();
        let of = fit(&spec, &signals);
        for (p, q) in of("intra.fraction").iter().zip(of("intra.lambda_par")) {
            assert!((p - f).abs() < 2e-3 && (q - par).abs() < 4e-3, "{p} {q}: {f} {par}");
        }
    }
}

#[test]
fn sandi_leaves_the_fold_of_equal_diffusivities() {
    // The derivative of the mean of sticks by their diffusivity is a sum of that mean and
    // of a ball of the same diffusivity: there the fit has a stationary point of rank 5.
    let shells: [(f64, f64, f64); 8] = [
        (0.5, 5.0, 80.0),
        (3.0, 5.0, 80.0),
        (1.0, 8.0, 49.0),
        (2.5, 8.0, 49.0),
        (6.0, 8.0, 49.0),
        (2.0, 20.0, 40.0),
        (8.0, 20.0, 40.0),
        (3.0, 12.9, 21.8),
    ];
    let (mut b, mut g) = (vec![0.0; 8], vec![[1.0, 0.0, 0.0]; 8]);
    let mut timing = PulseTiming { delta_ms: vec![8.0; 8], big_delta_ms: vec![49.0; 8] };
    for (value, delta, big_delta) in shells {
        b.extend([value; 12]);
        g.extend(fibonacci(12, value));
        timing.delta_ms.extend([delta; 12]);
        timing.big_delta_ms.extend([big_delta; 12]);
    }
    let a = Acquisition::from_b(&b, &g, Some(timing), None).unwrap();
    let noise = NoiseKind::Gaussian;
    let lowered = lowered("sandi", noise, &a);
    let names = lowered.model.value_names();
    let mut rng = PhiloxRng::new(17, 0, 0);
    let truths: Vec<Vec<f64>> = (0..40)
        .map(|_| {
            let mut uniform = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
            let (neurite, soma) = (uniform(0.15, 0.45), uniform(0.15, 0.45));
            names
                .iter()
                .map(|name| match *name {
                    "neurite.lambda_par" => uniform(1.5, 2.5),
                    "soma.diameter" => uniform(6.0, 18.0),
                    "extra.lambda_iso" => uniform(0.6, 1.5),
                    "neurite.fraction" => neurite,
                    "soma.fraction" => soma,
                    "extra.fraction" => 1.0 - neurite - soma,
                    "s0" => 100.0,
                    other => panic!("unknown value {other}"),
                })
                .collect()
        })
        .collect();
    let signals: Vec<Vec<f64>> = truths.iter().map(|x| predict(&lowered, x)).collect();
    let of = fit(&run_spec("sandi", Job::Fit, noise, SigmaSpec::Free, &a), &signals);
    for (k, name) in names.iter().enumerate() {
        for (voxel, (found, x)) in of(name).iter().zip(&truths).enumerate() {
            assert!((found / x[k] - 1.0).abs() < 1e-3, "voxel {voxel}, {name}: {found}, {}", x[k]);
        }
    }
}

#[test]
fn standard_errors_are_those_of_means() {
    // Fits of many noise draws scatter as their standard errors say; σ is found
    // from the b = 0 images and the residuals of the means.
    let a = multi_shell();
    let (sigma, noise) = (0.03, NoiseKind::Gaussian);
    let truth = fibres(1.8, 0.4, 0.0, noise, &a)[0].clone();
    let mut rng = PhiloxRng::new(5, 0, 0);
    let signals: Vec<Vec<f64>> = (0..600)
        .map(|_| {
            let mut y = truth.clone();
            add_noise(&mut y, noise, sigma, &mut rng);
            y
        })
        .collect();
    let known = fit(&run_spec("smt", Job::Fit, noise, SigmaSpec::Known(sigma), &a), &signals);
    for name in ["zeppelin.lambda_par", "zeppelin.lambda_perp", "s0"] {
        let (scatter, told) = (sd(&known(name)), mean(&known(&format!("{name}.sd"))));
        assert!((scatter / told - 1.0).abs() < 0.1, "{name}: sd {scatter}, told {told}");
    }
    let free = fit(&run_spec("smt", Job::Fit, noise, SigmaSpec::Free, &a), &signals);
    let found = mean(&free("sigma"));
    assert!((found / sigma - 1.0).abs() < 0.05, "sigma {found}");
}

#[test]
fn rician_means_give_the_diffusivities() {
    let a = multi_shell();
    let (par, perp, sigma) = (1.9, 0.3, 0.06);
    let clean = fit(
        &run_spec("smt", Job::Fit, NoiseKind::Gaussian, SigmaSpec::Known(sigma), &a),
        &fibres(par, perp, 0.0, NoiseKind::Gaussian, &a),
    );
    let mut rng = PhiloxRng::new(8, 0, 0);
    let truth = fibres(par, perp, 0.0, NoiseKind::Gaussian, &a);
    let signals: Vec<Vec<f64>> = (0..480)
        .map(|v| {
            let mut y = truth[v % truth.len()].clone();
            add_noise(&mut y, NoiseKind::Rician, sigma, &mut rng);
            y
        })
        .collect();
    let bias = |noise: NoiseKind, name: &str| {
        let of = fit(&run_spec("smt", Job::Fit, noise, SigmaSpec::Known(sigma), &a), &signals);
        let error = sd(&of(name)) / (signals.len() as f64).sqrt();
        (mean(&of(name)) - mean(&clean(name)), error)
    };
    for name in ["zeppelin.lambda_perp", "zeppelin.lambda_par"] {
        let (plain, error) = bias(NoiseKind::Gaussian, name);
        let (corrected, _) = bias(NoiseKind::Rician, name);
        assert!(plain.abs() > 6.0 * error, "{name}: bias {plain} +- {error} is no test");
        assert!(
            corrected.abs() < 0.25 * plain.abs(),
            "{name}: {plain} becomes {corrected} +- {error}"
        );
    }
    let spec = run_spec("smt", Job::Fit, NoiseKind::Rician, SigmaSpec::Free, &a);
    assert!(Runner::new(&spec).unwrap_err().to_string().contains("--sigma"));
}

#[test]
fn draws_of_means_cover_the_truth() {
    let a = multi_shell();
    let (noise, sigma) = (NoiseKind::Gaussian, 0.02);
    let truth = fibres(1.8, 0.4, 0.0, noise, &a);
    // The means of 90 directions differ a little from those over the sphere.
    let clean = fit(&run_spec("smt", Job::Fit, noise, SigmaSpec::Known(sigma), &a), &truth);
    let at = clean("zeppelin.lambda_perp");
    let mut rng = PhiloxRng::new(21, 0, 0);
    let signals: Vec<Vec<f64>> = truth
        .iter()
        .map(|y| {
            let mut y = y.clone();
            add_noise(&mut y, noise, sigma, &mut rng);
            y
        })
        .collect();
    let spec = run_spec("smt", Job::Sample, noise, SigmaSpec::Free, &a);
    let runner = Runner::new(&spec).unwrap();
    let batch = VoxelBatch {
        row: (0..24).collect(),
        voxel: (0..24).collect(),
        signals: signals.concat(),
        measurements: a.len(),
        ..VoxelBatch::default()
    };
    let tables = runner.process(&record_batch(&batch).unwrap(), &AtomicBool::new(false)).unwrap();
    let summary = tables.summary.unwrap();
    let text = |name: &str| {
        let column = summary.column_by_name(name).unwrap();
        column.as_any().downcast_ref::<arrow_array::StringArray>().unwrap().clone()
    };
    let number = |name: &str| {
        let column = summary.column_by_name(name).unwrap();
        column.as_any().downcast_ref::<arrow_array::Float64Array>().unwrap().clone()
    };
    let (parameter, m, s) = (text("parameter"), number("mean"), number("sd"));
    let mut scores = Vec::new();
    for row in 0..summary.num_rows() {
        if parameter.value(row) == "zeppelin.lambda_perp" {
            scores.push((m.value(row) - at[scores.len()]) / s.value(row));
        }
    }
    assert_eq!(scores.len(), 24);
    let square = scores.iter().map(|z| z * z).sum::<f64>() / 24.0;
    // 24 squared standard normals have a mean of 1 +- 0.29.
    assert!(square > 0.3 && square < 1.9, "mean squared z {square}: {scores:?}");
}

#[test]
fn shells_of_means_keep_the_b0_images() {
    let means = ShellMeans::new(&multi_shell());
    let sizes: Vec<usize> = means.members().iter().map(Vec::len).collect();
    assert_eq!(sizes, [vec![1; 18], vec![90; 3]].concat());
}
