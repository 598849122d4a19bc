//! Accuracy and cost of the fits on synthetic voxels with Rician noise:
//! `cargo run --release -p microtome-inference --example accuracy -- BVAL BVEC [SNR [MODEL]]`.
//!
//! 500 voxels a model, S0 = 1 estimated, sigma = 1/SNR (default 30) known,
//! Rician likelihood. Beside the fit stands the maximum-likelihood fit started
//! at the truth, and the CPU time of the fit a voxel (starts included, one thread).

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::ThreadTime;
use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Acquisition, Evaluator, Lowered, Model, ModelSpec, NoiseKind, PulseTiming};
use rand::RngExt;
use std::sync::Arc;

fn numbers(path: &str) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .map(|l| l.split_whitespace().map(|w| w.parse().unwrap()).collect())
        .filter(|r: &Vec<f64>| !r.is_empty())
        .collect();
    rows
}

fn normal(rng: &mut PhiloxRng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let b: Vec<f64> = numbers(&arguments[1]).into_iter().flatten().map(|b| b / 1000.0).collect();
    let rows = numbers(&arguments[2]);
    let directions: Vec<[f64; 3]> = if rows.len() == 3 {
        (0..b.len()).map(|i| [rows[0][i], rows[1][i], rows[2][i]]).collect()
    } else {
        rows.iter().map(|r| [r[0], r[1], r[2]]).collect()
    };
    let snr: f64 = arguments.get(3).map_or(30.0, |s| s.parse().unwrap());
    // The pulse times of the Wu-Minn HCP protocol, for the models that need them.
    let timing = PulseTiming { delta_ms: vec![10.6; b.len()], big_delta_ms: vec![43.1; b.len()] };
    let acquisition = Acquisition::from_b(&b, &directions, Some(timing), None).unwrap();
    let presets: Vec<&str> = match arguments.get(4) {
        Some(one) => vec![one],
        None => vec!["ball_stick", "stick_zeppelin_ball", "ball_sticks_2", "noddi"],
    };
    for preset in presets {
        run(preset, &acquisition, 1.0 / snr);
    }
}

fn truth(model: &Model, rng: &mut PhiloxRng) -> Vec<f64> {
    let mut x = vec![0.0; model.values()];
    for (name, value) in model.value_names().iter().zip(&mut x) {
        *value = match name.rsplit('.').next().unwrap() {
            "lambda_par" => 1.2 + 1.2 * rng.random::<f64>(),
            "lambda_perp" => 0.3 + 0.7 * rng.random::<f64>(),
            "lambda_iso" if model.components().len() > 2 => 2.5 + 0.5 * rng.random::<f64>(),
            "lambda_iso" => 0.8 + 1.7 * rng.random::<f64>(),
            "odi" => 0.05 + 0.45 * rng.random::<f64>(),
            "diameter" => 3.0 + 7.0 * rng.random::<f64>(),
            "s0" => 1.0,
            _ => 0.0,
        };
    }
    let names = model.value_names();
    for (k, name) in names.iter().enumerate() {
        if name.ends_with("mu_x") {
            let v = [normal(rng), normal(rng), normal(rng)];
            let n = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
            for i in 0..3 {
                x[k + i] = v[i] / n;
            }
        }
    }
    let fractions: Vec<usize> =
        (0..names.len()).filter(|&k| names[k].ends_with("fraction")).collect();
    let mut f: Vec<f64> = fractions.iter().map(|_| 0.25 + rng.random::<f64>()).collect();
    let sum: f64 = f.iter().sum();
    f.iter_mut().for_each(|v| *v /= sum);
    for (k, v) in fractions.iter().zip(f) {
        x[*k] = v;
    }
    // NODDI's shares, as its paper reports them.
    let at = |name: &str| names.iter().position(|n| *n == name);
    if let (Some(intra), Some(extra), Some(csf)) =
        (at("intra.fraction"), at("extra.fraction"), at("csf.fraction"))
    {
        let f_intra = 0.3 + 0.5 * rng.random::<f64>();
        x[csf] = 0.4 * rng.random::<f64>();
        x[intra] = (1.0 - x[csf]) * f_intra;
        x[extra] = (1.0 - x[csf]) * (1.0 - f_intra);
    }
    // Exchangeable sticks are compared in the order that a fit returns.
    model.canonicalise(&mut x);
    x
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn run(preset: &str, acquisition: &Acquisition, sigma: f64) {
    let mut spec = match preset.ends_with(".toml") {
        true => ModelSpec::from_toml(&std::fs::read_to_string(preset).unwrap()).unwrap(),
        false => ModelSpec::parse(preset).unwrap(),
    };
    spec.noise.kind = NoiseKind::Rician;
    let model = Arc::new(Model::new(spec).unwrap());
    let lowered = Lowered::new(model.clone(), acquisition).unwrap();
    let scheme = StartScheme::new(&lowered, acquisition).unwrap();
    let mut evaluator = Evaluator::new(&lowered);
    let voxels = 500;
    let mut data = Vec::new();
    for voxel in 0..voxels {
        let mut rng = PhiloxRng::new(7, voxel, 0);
        let x = truth(&model, &mut rng);
        let mut y = evaluator.predict(&x);
        for v in &mut y {
            let (re, im) = (*v + sigma * normal(&mut rng), sigma * normal(&mut rng));
            *v = re.hypot(im);
        }
        data.push((x, y));
    }
    let max_starts = std::env::var("STARTS").map_or(5, |s| s.parse().unwrap());
    let mut fitter =
        Fitter::new(&lowered, &scheme, FitOptions { max_starts, ..FitOptions::default() });
    let clock = ThreadTime::now();
    let fits: Vec<_> = data.iter().map(|(_, y)| fitter.fit(y, &[], Some(sigma))).collect();
    let ms = clock.elapsed().as_secs_f64() * 1e3 / voxels as f64;
    let clock = ThreadTime::now();
    let oracle: Vec<_> =
        data.iter().map(|(x, y)| fitter.fit_from(x, y, &[], Some(sigma))).collect();
    let ms_truth = clock.elapsed().as_secs_f64() * 1e3 / voxels as f64;
    let bad = fits.iter().filter(|f| f.status.name() != "converged").count();
    let worse =
        fits.iter().zip(&oracle).filter(|(f, o)| f.ln_likelihood < o.ln_likelihood - 1e-3).count();
    let iterations: u64 = fits.iter().map(|f| f.iterations).sum();
    println!(
        "{preset}: {ms:.4} ms/voxel ({ms_truth:.4} from the truth), {:.1} iterations, {bad} not converged, {worse} below the optimum found from the truth",
        iterations as f64 / voxels as f64
    );
    let names = model.value_names();
    if std::env::var("SHOW").is_ok() {
        for (i, (f, o)) in fits
            .iter()
            .zip(&oracle)
            .enumerate()
            .filter(|(_, (f, o))| f.ln_likelihood < o.ln_likelihood - 1e-3)
            .take(25)
        {
            println!(
                "{i} dll {:.4} it {} / {}\n  fit   {:.3?}\n  orac  {:.3?}\n  truth {:.3?}",
                o.ln_likelihood - f.ln_likelihood,
                f.iterations,
                o.iterations,
                f.x,
                o.x,
                data[i].0
            );
        }
    }
    for (k, name) in names.iter().enumerate() {
        if name.ends_with("mu_y") || name.ends_with("mu_z") {
            continue;
        }
        let error = |fits: &[microtome_inference::fit::VoxelFit]| {
            median(
                data.iter()
                    .zip(fits)
                    .map(|((x, _), f)| {
                        if name.ends_with("mu_x") {
                            let dot: f64 = (0..3).map(|i| x[k + i] * f.x[k + i]).sum();
                            dot.abs().min(1.0).acos().to_degrees()
                        } else {
                            (x[k] - f.x[k]).abs()
                        }
                    })
                    .collect(),
            )
        };
        println!(
            "  {name:24} median |error| {:.5}   from the truth {:.5}",
            error(&fits),
            error(&oracle)
        );
    }
    let at = |name: &str| names.iter().position(|n| *n == name);
    if let (Some(intra), Some(csf)) = (at("intra.fraction"), at("csf.fraction")) {
        let f_intra = |x: &[f64]| x[intra] / (1.0 - x[csf]);
        for (what, fits) in [("fit", &fits), ("from the truth", &oracle)] {
            let pairs = data.iter().zip(fits.iter());
            let differences: Vec<f64> =
                pairs.map(|((x, _), f)| f_intra(&f.x) - f_intra(x)).collect();
            let bias = |d: &[f64]| d.iter().sum::<f64>() / d.len() as f64;
            let of = |k: usize| -> Vec<f64> {
                data.iter().zip(fits.iter()).map(|((x, _), f)| f.x[k] - x[k]).collect()
            };
            let odi = at("intra.odi").map_or(f64::NAN, |k| bias(&of(k)));
            println!(
                "  f_intra, {what}: median |error| {:.5}; bias f_intra {:+.5}, f_iso {:+.5}, odi {odi:+.5}",
                median(differences.iter().map(|d| d.abs()).collect()),
                bias(&differences),
                bias(&of(csf)),
            );
        }
    }
}
