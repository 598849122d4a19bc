//! NUTS against the importance-sampling reference of the ball+stick posterior:
//! `cargo run --release -p microtome-inference --example ballstick -- FOLDER [CHAINS TUNE DRAWS]`.
//!
//! FOLDER holds ballstick_{protocol,data,reference}.csv (100 measurements,
//! Rician noise of known sigma). Prints the worst deviation of means in combined
//! Monte Carlo standard errors, the sd ratios, R-hat, and the bulk effective
//! sample size of the worst parameter per CPU second, tuning counted.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::ThreadTime;
use microtome_inference::diagnostics::{Chains, Workspace, summarize};
use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_inference::sample::{NutsOptions, Sampler};
use microtome_models::{Acquisition, Lowered, Model, ModelSpec};
use std::collections::HashMap;
use std::sync::Arc;

const MODEL: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"ball.lambda_iso" = { equal = "stick.lambda_par" }
[noise]
kind = "rician"
[prior]
"stick.lambda_par" = { lognormal = [0.4054651081081644, 0.5] }
"s0" = { lognormal = [0.0, 1.0] }
"#;

fn table(path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(|l| l.split(',').map(str::to_string).collect()).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = &arguments[1];
    let number =
        |i: usize, default: usize| arguments.get(i).map_or(default, |s| s.parse().unwrap());
    let options = NutsOptions {
        chains: number(2, 4),
        tune: number(3, NutsOptions::default().tune),
        draws: number(4, NutsOptions::default().draws),
        ..NutsOptions::default()
    };
    let protocol = table(&format!("{folder}/ballstick_protocol.csv"));
    let f = |s: &String| s.parse::<f64>().unwrap();
    let b: Vec<f64> = protocol.iter().map(|r| f(&r[0])).collect();
    let g: Vec<[f64; 3]> = protocol.iter().map(|r| [f(&r[1]), f(&r[2]), f(&r[3])]).collect();
    let acquisition = Acquisition::from_b(&b, &g, None, None).unwrap();
    let model = Arc::new(Model::new(ModelSpec::from_toml(MODEL).unwrap()).unwrap());
    let lowered = Lowered::new(model.clone(), &acquisition).unwrap();
    let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
    let mut sampler = Sampler::new(Fitter::new(&lowered, &scheme, FitOptions::default()), options);
    let mut reference: HashMap<(String, String), [f64; 4]> = HashMap::new();
    for r in table(&format!("{folder}/ballstick_reference.csv")) {
        reference.insert((r[0].clone(), r[1].clone()), [f(&r[2]), f(&r[3]), f(&r[4]), f(&r[5])]);
    }
    let (mut worst_z, mut worst_sd, mut worst_rhat) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut ess_sum, mut ess_min, mut seconds, mut gradients, mut divergences) =
        (0.0, f64::INFINITY, 0.0, 0, 0);
    let mut workspace = Workspace::new();
    let data = table(&format!("{folder}/ballstick_data.csv"));
    for row in &data {
        let voxel = &row[0];
        let y: Vec<f64> = row[2..].iter().map(f).collect();
        let clock = ThreadTime::now();
        let posterior = sampler.sample(&y, &[], Some(f(&row[1])), 1, voxel.parse().unwrap());
        seconds += clock.elapsed().as_secs_f64();
        gradients += posterior.traces.iter().map(|t| t.gradients).sum::<u64>();
        divergences +=
            posterior.traces.iter().flat_map(|t| &t.draws).filter(|d| d.diverging).count();
        let w = posterior.width;
        let x =
            |k: usize| posterior.values.iter().skip(k).step_by(w).copied().collect::<Vec<f64>>();
        let names = model.value_names();
        let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
        let (d, fr, s0) = (x(at("stick.lambda_par")), x(at("stick.fraction")), x(at("s0")));
        let mu = [x(at("stick.mu_x")), x(at("stick.mu_y")), x(at("stick.mu_z"))];
        let map = |v: &[f64], h: fn(f64) -> f64| v.iter().map(|x| h(*x)).collect::<Vec<f64>>();
        let mut quantities = vec![
            ("logS0".to_string(), map(&s0, f64::ln)),
            ("logD".into(), map(&d, f64::ln)),
            ("f".into(), fr.clone()),
        ];
        for (i, a) in "xyz".chars().enumerate() {
            for (j, b) in "xyz".chars().enumerate().skip(i) {
                let product = mu[i].iter().zip(&mu[j]).map(|(p, q)| p * q).collect();
                quantities.push((format!("n{a}{b}"), product));
            }
        }
        let mut voxel_ess = f64::INFINITY;
        for (name, values) in &quantities {
            let s = summarize(
                Chains::new(values, options.chains, options.draws).unwrap(),
                &mut workspace,
            );
            voxel_ess = voxel_ess.min(s.ess_bulk);
            worst_rhat = worst_rhat.max(s.rhat);
            if let Some([mean, sd, mcse, _]) = reference.get(&(voxel.clone(), name.clone())) {
                let z = (s.mean - mean).abs() / (mcse * mcse + s.mcse_mean * s.mcse_mean).sqrt();
                if z > worst_z {
                    worst_z = z;
                }
                worst_sd = worst_sd.max((s.sd / sd - 1.0).abs());
            }
        }
        ess_sum += voxel_ess;
        ess_min = ess_min.min(voxel_ess);
    }
    let n = data.len() as f64;
    let total = (options.chains * (options.tune + options.draws)) as f64 * n;
    println!(
        "{} voxels, {} chains x ({} + {}): {:.2} ms/voxel, {:.2} gradients/draw, {:.3} us/gradient, {divergences} divergences",
        data.len(),
        options.chains,
        options.tune,
        options.draws,
        seconds / n * 1e3,
        gradients as f64 / total,
        seconds / gradients as f64 * 1e6
    );
    println!(
        "worst |mean - reference|: {worst_z:.2} combined MCSE; worst sd ratio off by {:.1} %; worst R-hat {worst_rhat:.4}",
        worst_sd * 100.0
    );
    println!(
        "bulk ESS of the worst parameter: mean {:.0}, smallest {ess_min:.0}; {:.0} per CPU second",
        ess_sum / n,
        ess_sum / seconds
    );
}
