//! The models of the example `posteriordb`: derivatives by differences, and two posteriors
//! against the published reference draws.

#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../../examples/posteriordb/models.rs"]
mod models;

use candle_core::Device;
use microtome_inference::diagnostics::{Chains, Workspace, summarize};
use microtome_inference::graph_density::GraphDensity;
use microtome_inference::graph_density::terms::Term;
use microtome_inference::sample::{LnDensity, NutsOptions, sample_density};
use models::lotka_volterra::LynxHare;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Data for every model: small, of the right shape, no real measurements.
fn invented() -> Vec<(&'static str, Value)> {
    let series: Vec<f64> =
        (0..25).map(|t| 0.8 * (0.7 * f64::from(t)).sin() + 0.1 * f64::from(t % 4)).collect();
    let x: Vec<Vec<f64>> =
        (0..12).map(|i| (1..4).map(|k| (f64::from(i * k)).sin() + 0.1).collect()).collect();
    let y: Vec<f64> = (0..12).map(|i| 1.0 + 0.3 * f64::from(i)).collect();
    let times: Vec<f64> = (0..12).map(|i| f64::from(i) - 4.0).collect();
    let hares: Vec<[f64; 2]> =
        (0..5).map(|t| [20.0 + 3.0 * f64::from(t), 9.0 - f64::from(t)]).collect();
    vec![
        ("eight_schools_noncentered", json!({"y": [28, 8, -3], "sigma": [15, 10, 16]})),
        ("arK", json!({"K": 2, "y": series})),
        ("garch11", json!({"y": series, "sigma1": 0.5})),
        ("arma11", json!({"y": series})),
        ("blr", json!({"X": x, "y": y})),
        (
            "kilpisjarvi",
            json!({"x": times, "y": y, "pmualpha": 1.0, "psalpha": 10, "pmubeta": 0, "psbeta": 2}),
        ),
        (
            "kidscore_interaction",
            json!({"kid_score": y, "mom_hs": [1,0,1,1,0,0,1,0,1,1,0,1], "mom_iq": times}),
        ),
        ("low_dim_gauss_mix", json!({"y": series})),
        ("gp_regr", json!({"x": times, "y": y})),
        ("lotka_volterra", json!({"ts": [1, 2, 3.5, 4, 6], "y_init": [25, 5], "y": hares})),
    ]
}

/// Central differences: h² of truncation and 1e-16 / h of rounding, h = 1e-5.
#[test]
fn posteriordb_derivatives() {
    for (name, data) in invented() {
        let model = models::model(name, &data).unwrap();
        let dim = model.density.parameters().dim();
        let mut density =
            GraphDensity::new(dim, &Device::Cpu, |x| model.density.ln_density(x)).unwrap();
        for round in 0..5 {
            let mut x: Vec<f64> = (0..dim)
                .map(|k| 0.6 * f64::from((3 * k as i32 + 5 * round) % 7 - 3) / 3.0)
                .collect();
            if name == "lotka_volterra" {
                for (x, c) in x.iter_mut().zip([-0.6, -3.5, -0.2, -3.7, 3.4, 1.6, -0.5, -0.5]) {
                    *x = c + 0.2 * *x;
                }
            }
            let (mut g, mut unused) = (vec![0.0; dim], vec![0.0; dim]);
            let value = density.ln_density(&x, &mut g);
            assert!(value.is_finite(), "{name}: {:?}", density.reason());
            for k in 0..dim {
                let mut at = |h: f64| {
                    let mut x = x.clone();
                    x[k] += h;
                    density.ln_density(&x, &mut unused)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                let allowed = 1e-7 * (1.0 + g[k].abs() + 1e-3 * value.abs());
                assert!(
                    (g[k] - difference).abs() < allowed,
                    "{name}, coordinate {k}: {} against {difference}",
                    g[k]
                );
            }
        }
    }
    let unknown = models::model("radon", &json!({})).err().unwrap().to_string();
    assert!(unknown.contains("no density for `radon`") && unknown.contains("arK"), "{unknown}");
    let wrong = models::model("arK", &json!({"K": 2})).err().unwrap().to_string();
    assert!(wrong.contains("`y` must be a list of numbers"), "{wrong}");
}

/// The time step of the ODE moves ln p by less than a thousandth at a place like the
/// posterior of the data (fourth order: a step a fifth as long has 1/625 of the error).
#[test]
fn steps_are_short_enough() {
    let times: Vec<f64> = (1..=20).map(f64::from).collect();
    let v = [0.55, 0.028, 0.8, 0.024, 34.0, 5.9, 0.25, 0.25];
    // Data made by the fine scheme itself, through the slopes in ln y: any positive numbers do.
    let y: Vec<f64> = (0..40).map(|i| 20.0 + 15.0 * (0.6 * f64::from(i / 2)).sin()).collect();
    let at = |step: f64| {
        LynxHare::with_step(&times, &[30.0, 4.0], &y, step).unwrap().add(&v, &mut [0.0; 8])
    };
    let (coarse, fine) = (at(0.125), at(0.025));
    println!("{coarse} {fine}");
    assert!((coarse - fine).abs() < 1e-3 * fine.abs().max(1.0) / 100.0);
    assert!((at(1.0) - fine).abs() > 0.01);
}

/// The rule of posteriordb: 4 combined standard errors, 10 %, 1.01, no divergences.
#[test]
fn golden_posteriors_are_reproduced() {
    let path = format!("{}/../tests/golden/posteriordb.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut data: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    let mut reference: BTreeMap<&str, Vec<(&str, [f64; 3])>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(',').collect();
        let numbers: Vec<f64> = words[3..].iter().map(|w| w.parse().unwrap()).collect();
        if words[1] == "data" {
            let value = if numbers.len() == 1 { json!(numbers[0]) } else { json!(numbers) };
            data.entry(words[0]).or_default().insert(words[2].into(), value);
        } else {
            let row = (words[2], [numbers[0], numbers[1], numbers[2]]);
            reference.entry(words[0]).or_default().push(row);
        }
    }
    assert_eq!(reference.len(), 2);
    for (name, rows) in &reference {
        let model = models::model(name, &Value::Object(data[name].clone())).unwrap();
        let parameters = model.density.parameters();
        let options = NutsOptions {
            tune: 1000,
            target_accept: model.target_accept,
            metric: model.metric,
            ..NutsOptions::default()
        };
        let posterior = sample_density(
            |_| GraphDensity::new(parameters.dim(), &Device::Cpu, |x| model.density.ln_density(x)),
            &model.start,
            &options,
            1,
        )
        .unwrap();
        assert_eq!(posterior.divergences(), 0, "{name}");
        let names = parameters.names();
        for (parameter, [mean, sd, mcse]) in rows {
            let mut values = vec![0.0; parameters.values()];
            let draws = posterior.map(|x| {
                parameters.constrain(x, &mut values);
                match names.iter().position(|n| n == parameter) {
                    Some(k) => values[k],
                    None => model.derived.iter().find(|d| d.0 == *parameter).unwrap().1(&values),
                }
            });
            let s = summarize(Chains::new(&draws, 4, 1000).unwrap(), &mut Workspace::new());
            let z = (s.mean - mean) / s.mcse_mean.hypot(*mcse);
            println!(
                "{name} {parameter}: z {z:+.2}, sd ratio {:.3}, R-hat {:.4}",
                s.sd / sd,
                s.rhat
            );
            assert!(z.abs() < 4.0, "{name} {parameter}: {s:?}");
            assert!((s.sd / sd - 1.0).abs() < 0.1, "{name} {parameter}: {s:?}");
            assert!(s.rhat < 1.01, "{name} {parameter}: {s:?}");
        }
    }
}
