//! Log-linear fits against truths: exact recovery, the normal equations that define
//! each method, standard errors against the scatter of noise, and what is said of
//! signals, models and acquisitions that can't be fitted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::fit::{LogLinear, Status, VoxelFit};
use microtome_inference::{InferenceError, Runner, record_batch};
use microtome_kernels::Plan;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Expansion, FitMethod, Job, Lowered, Model, ModelSpec, NoiseKind, RunSpec,
    SearchSpec, SigmaSpec, VoxelBatch,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use voxels::{add_noise, at, lowered, mean, median, predict, scheme, truth};

const LINEAR: [FitMethod; 2] = [FitMethod::Ols, FitMethod::Wls];

fn model(name: &str) -> Arc<Model> {
    Arc::new(Model::new(ModelSpec::parse(name).unwrap()).unwrap())
}

fn plan(acquisition: &Acquisition) -> Arc<Plan> {
    lowered("ball", NoiseKind::Gaussian, acquisition).plan
}

fn linear(name: &str, acquisition: &Acquisition, method: FitMethod) -> LogLinear {
    LogLinear::new(model(name), plan(acquisition), acquisition, method).unwrap()
}

fn mean_b0(acquisition: &Acquisition, y: &[f64]) -> f64 {
    mean(&acquisition.b0_measurements().map(|i| y[i]).collect::<Vec<_>>())
}

/// Value and standard error by column or measure name.
fn get(model: &Model, fit: &VoxelFit, name: &str) -> (f64, f64) {
    if let Some(m) = model.measures().iter().position(|m| m.name == name) {
        return (fit.measures[m], fit.measure_sd[m]);
    }
    let c = voxels::column(model, name);
    let mut columns = vec![0.0; model.columns().len()];
    model.fill_columns(&fit.x, &[], &mut columns);
    (columns[c], fit.column_sd[c])
}

/// Rows of the design, one a measurement.
fn rows(expansion: Expansion, acquisition: &Acquisition) -> Vec<Vec<f64>> {
    acquisition
        .b_ms_per_um2()
        .iter()
        .zip(acquisition.directions())
        .map(|(b, g)| {
            let w = [
                b * g[0] * g[0],
                b * g[1] * g[1],
                b * g[2] * g[2],
                2.0 * b * g[0] * g[1],
                2.0 * b * g[0] * g[2],
                2.0 * b * g[1] * g[2],
            ];
            let mut row = vec![0.0; expansion.coefficients()];
            expansion.row(w, &mut row);
            row
        })
        .collect()
}

fn log_signal(row: &[f64], beta: &[f64]) -> f64 {
    row.iter().zip(beta).map(|(x, b)| x * b).sum()
}

/// The coefficients of a DTI fit, from its columns.
fn tensor_coefficients(model: &Model, fit: &VoxelFit) -> Vec<f64> {
    let names = ["tensor.mu_x", "tensor.mu_y", "tensor.mu_z", "tensor.psi"];
    let [x, y, z, psi] = names.map(|n| get(model, fit, n).0);
    let axes = microtome_models::compartments::DiffusionTensor::axes([x, y, z], psi);
    let l = [1, 2, 3].map(|k| get(model, fit, &format!("tensor.lambda_{k}")).0);
    let d = |i: usize, j: usize| (0..3).map(|k| l[k] * axes[k][i] * axes[k][j]).sum();
    let s0 = get(model, fit, "s0").0;
    vec![d(0, 0), d(1, 1), d(2, 2), d(0, 1), d(0, 2), d(1, 2), s0.ln()]
}

#[test]
fn noise_free_tensors_are_recovered() {
    let acquisition = scheme(4, &[(0.7, 16), (1.2, 25)]);
    let tensor = lowered("tensor", NoiseKind::Gaussian, &acquisition);
    for method in LINEAR {
        let shared = linear("dti", &acquisition, method);
        let mut fitter = shared.fitter();
        for voxel in 0..50 {
            let mut x = truth(&tensor.model, &mut PhiloxRng::new(3, voxel, 0));
            x[at(&tensor.model, "s0")] = 1e-3 * 10_f64.powi(voxel as i32 % 8);
            tensor.model.canonicalise(&mut x);
            let y = predict(&tensor, &x);
            let fit = fitter.fit(&y, None, mean_b0(&acquisition, &y));
            assert_eq!(fit.status, Status::Converged);
            assert!(fit.r2 > 1.0 - 1e-12);
            for (name, truth) in tensor.model.value_names().iter().zip(&x) {
                let value = get(&tensor.model, &fit, name).0;
                // The angle of nearly equal axes carries the error of their gap.
                assert!((value / truth - 1.0).abs() < 1e-9, "{name} {value} {truth}");
            }
            let l = [1, 2, 3].map(|k| x[at(&tensor.model, &format!("tensor.lambda_{k}"))]);
            let md = (l[0] + l[1] + l[2]) / 3.0;
            let variance: f64 = l.iter().map(|l| (l - md) * (l - md)).sum();
            let square: f64 = l.iter().map(|l| l * l).sum();
            let fa = (1.5 * variance / square).sqrt();
            for (name, truth) in [("fa", fa), ("md", md), ("ad", l[0]), ("rd", 0.5 * (l[1] + l[2]))]
            {
                assert!((get(&model("dti"), &fit, name).0 - truth).abs() < 1e-10, "{name}");
            }
        }
    }
}

/// Signals that are exactly of fourth order, of the mixtures of the golden table.
#[test]
fn noise_free_kurtosis_is_recovered() {
    let acquisition = scheme(3, &[(0.5, 20), (1.0, 30), (2.0, 30)]);
    let rows = rows(Expansion::Kurtosis, &acquisition);
    let dki = model("dki");
    for line in include_str!("../../../tests/golden/kurtosis.csv").lines().skip(1) {
        let mut cells = line.split(',');
        let name = cells.next().unwrap();
        let g: Vec<f64> = cells.map(|c| c.parse().unwrap()).collect();
        let mut beta = g[..21].to_vec();
        beta.push(250_f64.ln());
        let y: Vec<f64> = rows.iter().map(|r| log_signal(r, &beta).exp()).collect();
        let md = (g[0] + g[1] + g[2]) / 3.0;
        for method in LINEAR {
            let shared = linear("dki", &acquisition, method);
            let fit = shared.fitter().fit(&y, None, mean_b0(&acquisition, &y));
            assert_eq!(fit.status, Status::Converged);
            for (k, measure) in ["mk", "ak", "rk", "kfa"].into_iter().enumerate() {
                let value = get(&dki, &fit, measure).0;
                let tolerance = if g[21 + k] < 1e-12 { 1e-6 } else { 1e-9 };
                assert!((value - g[21 + k]).abs() < tolerance, "{name} {measure}: {value}");
            }
            assert!((get(&dki, &fit, "md").0 - md).abs() < 1e-10);
            assert!((get(&dki, &fit, "s0").0 - 250.0).abs() < 1e-7);
            for (k, e) in microtome_models::KURTOSIS_ELEMENTS.iter().enumerate() {
                let w = get(&dki, &fit, &format!("kurtosis.w_{}", e.name)).0;
                assert!((w - g[6 + k] / (md * md)).abs() < 1e-9, "{name} {}", e.name);
            }
        }
    }
}

/// OLS: X (ln y - Xᵀβ) = 0. WLS: the same with the squares of the signals of OLS.
#[test]
fn estimates_solve_their_normal_equations() {
    let acquisition = scheme(4, &[(0.7, 16), (1.2, 25)]);
    let rows = rows(Expansion::Gaussian, &acquisition);
    let tensor = lowered("tensor", NoiseKind::Gaussian, &acquisition);
    let dti = model("dti");
    for voxel in 0..20 {
        let mut rng = PhiloxRng::new(4, voxel, 0);
        let mut y = predict(&tensor, &truth(&tensor.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, 0.04, &mut rng);
        let b0 = mean_b0(&acquisition, &y);
        let [ols, wls] = LINEAR.map(|m| {
            let fit = linear("dti", &acquisition, m).fitter().fit(&y, None, b0);
            tensor_coefficients(&dti, &fit)
        });
        for (beta, weights) in [(&ols, None), (&wls, Some(&ols))] {
            for j in 0..7 {
                let mut sum = 0.0;
                for (row, y) in rows.iter().zip(&y) {
                    let w = weights.map_or(1.0, |b| (2.0 * log_signal(row, b)).exp());
                    sum += w * row[j] * (y.ln() - log_signal(row, beta));
                }
                assert!(sum.abs() < 1e-11, "voxel {voxel}: {j} {sum}");
            }
        }
    }
}

/// The scatter of estimates over noise against their standard errors: the mean of
/// z² is 1, with an error of sqrt(2 / 4000) = 0.022 from the number of voxels and a
/// few percent from what the delta method leaves out.
#[test]
fn standard_errors_are_those_of_the_noise() {
    let acquisition = scheme(6, &[(1.0, 40), (2.0, 40)]);
    let golden = include_str!("../../../tests/golden/kurtosis.csv");
    let line = golden.lines().find(|l| l.starts_with("generic")).unwrap();
    let g: Vec<f64> = line.split(',').skip(1).map(|c| c.parse().unwrap()).collect();
    let mut beta = g[..21].to_vec();
    beta.push(0.0);
    let kurtosis: Vec<f64> = rows(Expansion::Kurtosis, &acquisition)
        .iter()
        .map(|r| log_signal(r, &beta).exp())
        .collect();
    let gaussian: Vec<f64> = rows(Expansion::Gaussian, &acquisition)
        .iter()
        .map(|r| log_signal(r, &[&beta[..6], &beta[21..]].concat()).exp())
        .collect();
    for (name, y) in [("dti", &gaussian), ("dki", &kurtosis)] {
        for method in LINEAR {
            let shared = linear(name, &acquisition, method);
            let model = model(name);
            let mut fitter = shared.fitter();
            let exact = fitter.fit(y, Some(1.0), 1.0);
            let mut names = vec!["s0", "tensor.lambda_1", "tensor.lambda_2", "tensor.mu_x"];
            names.extend(["tensor.psi", "fa", "md", "ad", "rd"]);
            if name == "dki" {
                names.extend(["mk", "ak", "rk", "kfa", "kurtosis.w_xxyz"]);
            }
            let sigma = 0.002;
            let mut squares = vec![0.0; names.len()];
            let mut sigmas = Vec::new();
            for voxel in 0..4000 {
                let mut noisy = y.clone();
                let mut rng = PhiloxRng::new(6, voxel, 0);
                add_noise(&mut noisy, NoiseKind::Gaussian, sigma, &mut rng);
                let fit = fitter.fit(&noisy, Some(sigma), 1.0);
                sigmas.push(fitter.fit(&noisy, None, 1.0).sigma);
                for (square, name) in squares.iter_mut().zip(&names) {
                    let (value, sd) = get(&model, &fit, name);
                    *square += ((value - get(&model, &exact, name).0) / sd).powi(2) / 4000.0;
                }
            }
            for (name, square) in names.iter().zip(squares) {
                println!("{} {name}: mean z² {square:.3}", method.name());
                assert!((square - 1.0).abs() < 0.1, "{} {name}: {square}", method.name());
            }
            assert!((mean(&sigmas) / sigma - 1.0).abs() < 0.01);
        }
    }
}

#[test]
fn signals_without_a_logarithm() {
    let acquisition = scheme(4, &[(1.0, 30)]);
    let tensor = lowered("tensor", NoiseKind::Gaussian, &acquisition);
    let x = truth(&tensor.model, &mut PhiloxRng::new(9, 0, 0));
    let clean = predict(&tensor, &x);
    let dti = model("dti");
    for method in LINEAR {
        let shared = linear("dti", &acquisition, method);
        let mut fitter = shared.fitter();
        // The smallest positive signal stands for those that are not positive.
        let least = clean.iter().copied().fold(f64::INFINITY, f64::min);
        let (mut zero, mut low) = (clean.clone(), clean.clone());
        (zero[10], zero[20], low[10], low[20]) = (0.0, -3.0, least, least);
        let [a, b] = [&zero, &low].map(|y| fitter.fit(y, Some(0.01), 1.0));
        assert_eq!(a.status, Status::Converged);
        assert_eq!(a.x, b.x);
        // Six positive signals for seven coefficients.
        let mut few = vec![-1.0; clean.len()];
        few[..6].copy_from_slice(&clean[..6]);
        assert_eq!(fitter.fit(&few, None, 1.0).status, Status::Singular);
        let mut bad = clean.clone();
        bad[3] = f64::NAN;
        let fit = fitter.fit(&bad, None, 1.0);
        assert_eq!(fit.status, Status::InvalidSignal);
        assert!(fit.x.iter().chain(&fit.measures).all(|v| v.is_nan()));
        assert_eq!(fitter.fit(&clean, Some(0.0), 1.0).status, Status::InvalidSignal);
        // Signals that grow along x: the eigenvalue is raised and has no error.
        let grown: Vec<f64> = clean
            .iter()
            .zip(acquisition.b_ms_per_um2().iter().zip(acquisition.directions()))
            .map(|(y, (b, g))| y * (b * 3.0 * g[0] * g[0]).exp())
            .collect();
        let fit = fitter.fit(&grown, Some(0.01), 1.0);
        assert_eq!(fit.status, Status::Converged);
        let (value, sd) = get(&dti, &fit, "tensor.lambda_3");
        assert!((value - 1e-6).abs() < 1e-18 && sd.is_nan(), "{value} {sd}");
        assert!(get(&dti, &fit, "tensor.lambda_1").1 > 0.0);
        assert!(get(&dti, &fit, "fa").1.is_nan());
        // As many measurements as coefficients leave no residual.
        let tight = scheme(1, &[(1.0, 6)]);
        let shared = linear("dti", &tight, method);
        let y = predict(&lowered("tensor", NoiseKind::Gaussian, &tight), &x);
        let fit = shared.fitter().fit(&y, None, 1.0);
        assert_eq!(fit.status, Status::Converged);
        assert!(get(&dti, &fit, "md").1.is_nan());
        assert!(shared.fitter().fit(&y, Some(0.1), 1.0).measure_sd[1] > 0.0);
    }
}

/// Errors of the specification, by word.
#[test]
fn impossible_fits_say_why() {
    let two = scheme(4, &[(1.0, 20), (2.0, 20)]);
    let spec =
        |job: Job, text: &str, acquisition: &Acquisition, method: Option<FitMethod>| RunSpec {
            job,
            model: voxels::specification(text, NoiseKind::Gaussian),
            acquisition: acquisition.clone(),
            sigma: SigmaSpec::Free,
            search: SearchSpec { method, ..SearchSpec::default() },
            seed: 0,
        };
    let error = |spec: &RunSpec| Runner::new(spec).unwrap_err().to_string();
    let wls = Some(FitMethod::Wls);
    for (spec, words) in [
        (spec(Job::Fit, "ball_stick", &two, wls), vec!["wls", "dti", "nlls"]),
        (spec(Job::Fit, "fwdti", &two, wls), vec!["wls", "nlls"]),
        (spec(Job::Fit, "dki", &two, Some(FitMethod::Nlls)), vec!["nlls", "wls"]),
        (spec(Job::Sample, "dti", &two, wls), vec!["wls", "fit"]),
        (spec(Job::Sample, "dki", &two, None), vec!["wls", "fit"]),
        (spec(Job::Fit, "dki", &scheme(4, &[(1.0, 60)]), None), vec!["two", "1000"]),
        (spec(Job::Fit, "dki", &scheme(4, &[(1.0, 7), (2.0, 7)]), None), vec!["14 directions"]),
        (spec(Job::Fit, "dti", &scheme(4, &[(1.0, 5)]), wls), vec!["six directions"]),
    ] {
        let text = error(&spec);
        assert!(words.iter().all(|w| text.contains(w)), "{words:?} not in: {text}");
    }
    let mut rician = spec(Job::Fit, "dti", &two, wls);
    rician.model.noise.kind = NoiseKind::Rician;
    assert!(error(&rician).contains("Rician"));
    let mut linked = spec(Job::Fit, "dti", &two, wls);
    linked.model.range.insert("tensor.lambda_1".into(), [0.1, 2.0]);
    assert!(error(&linked).contains("[range]"));
    // An expansion has no signals of its own.
    let refused = Lowered::new(model("dki"), &two).unwrap_err().to_string();
    assert!(refused.contains("fit --model dki"), "{refused}");
    let text = "expansion = \"kurtosis\"\n[[compartment]]\nkind = \"stick\"\n";
    let refused = Model::new(ModelSpec::from_toml(text).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("tensor"), "{refused}");
    // The same direction 40 times is one.
    let b = [vec![0.0; 4], vec![1.0; 20], vec![2.0; 20]].concat();
    let g = [vec![[0.0; 3]; 4], vec![[0.6, 0.0, 0.8]; 40]].concat();
    let one = Acquisition::from_b(&b, &g, None, None).unwrap();
    let text = error(&spec(Job::Fit, "dki", &one, None));
    assert!(text.contains("1 directions"), "{text}");
}

/// Old specifications have no method, and do not gain one when written again.
#[test]
fn a_method_is_written_only_when_given() {
    let search = SearchSpec::default();
    assert!(!toml::to_string(&search).unwrap().contains("method"));
    let given = SearchSpec { method: Some(FitMethod::Wls), ..search };
    let text = toml::to_string(&given).unwrap();
    assert!(text.contains("method = \"wls\""), "{text}");
    assert_eq!(toml::from_str::<SearchSpec>(&text).unwrap(), given);
}

fn batch(signals: Vec<Vec<f64>>) -> VoxelBatch {
    VoxelBatch {
        row: (0..signals.len() as u64).collect(),
        voxel: (0..signals.len() as i64).collect(),
        measurements: signals[0].len(),
        signals: signals.concat(),
        ..VoxelBatch::default()
    }
}

/// A run by parts equals the whole to the bit, and its table has the measures.
#[test]
fn tables_hold_measures_for_every_method() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    let acquisition = scheme(6, &[(1.0, 40), (2.0, 40)]);
    let tensor = lowered("tensor", NoiseKind::Gaussian, &acquisition);
    let signals: Vec<Vec<f64>> = (0..200)
        .map(|v| {
            let mut rng = PhiloxRng::new(8, v, 0);
            let mut y = predict(&tensor, &truth(&tensor.model, &mut rng));
            add_noise(&mut y, NoiseKind::Gaussian, 0.01, &mut rng);
            y
        })
        .collect();
    let mut fas = Vec::new();
    let runs = [("dti", "ols"), ("dti", "wls"), ("dti", "nlls"), ("dki", "ols"), ("dki", "wls")];
    for (name, method) in runs {
        let method = FitMethod::ALL.into_iter().find(|m| m.name() == method).unwrap();
        let spec = RunSpec {
            job: Job::Fit,
            model: voxels::specification(name, NoiseKind::Gaussian),
            acquisition: acquisition.clone(),
            sigma: SigmaSpec::Free,
            search: SearchSpec { method: Some(method), ..SearchSpec::default() },
            seed: 0,
        };
        let runner = Runner::new(&spec).unwrap();
        let process = |signals: &[Vec<f64>]| {
            let record = record_batch(&batch(signals.to_vec())).unwrap();
            runner.process(&record, &AtomicBool::new(false)).unwrap().main
        };
        let whole = process(&signals);
        let number = |table: &arrow_array::RecordBatch, c: &str| -> Vec<f64> {
            let column = table.column_by_name(c).unwrap_or_else(|| panic!("no column {c}"));
            column.as_primitive::<Float64Type>().values().to_vec()
        };
        for column in ["fa", "md.sd", "tensor.lambda_2", "tensor.mu_x.sd", "r2", "s0"] {
            let parts: Vec<f64> =
                signals.chunks(33).flat_map(|s| number(&process(s), column)).collect();
            assert_eq!(number(&whole, column), parts, "{column}");
        }
        assert_eq!(whole.column_by_name("kurtosis.w_xyzz.sd").is_some(), name == "dki");
        fas.push((name, number(&whole, "fa"), number(&whole, "fa.sd")));
    }
    // The methods agree within a few standard errors where they fit the same model.
    for (_, fa, sd) in &fas[..2] {
        let away = fa.iter().zip(&fas[2].1).zip(sd).map(|((a, b), s)| (a - b).abs() / s);
        assert!(median(&away.collect::<Vec<_>>()) < 1.0);
    }
    let sds: Vec<f64> = fas.iter().map(|f| median(&f.2)).collect();
    // The likelihood of Gaussian noise and WLS have one covariance; OLS is less efficient.
    assert!((sds[1] / sds[2] - 1.0).abs() < 0.05 && sds[0] > 1.05 * sds[1], "{sds:?}");
}

#[test]
fn interruption_is_an_error() {
    let acquisition = scheme(4, &[(1.0, 20)]);
    let spec = RunSpec {
        job: Job::Fit,
        model: ModelSpec::parse("dti").unwrap(),
        acquisition: acquisition.clone(),
        sigma: SigmaSpec::Free,
        search: SearchSpec { method: Some(FitMethod::Ols), ..SearchSpec::default() },
        seed: 0,
    };
    let runner = Runner::new(&spec).unwrap();
    let record = record_batch(&batch(vec![vec![1.0; 24]; 4])).unwrap();
    let ended = runner.process(&record, &AtomicBool::new(true));
    assert!(matches!(ended, Err(InferenceError::Interrupted)));
}
