//! Bingham dispersion against sums over the sphere, its limit, and its symmetries.
#![allow(clippy::unwrap_used)]

use microtome_kernels::legendre::{RULES, half_rule};
use microtome_models::{Acquisition, Evaluator, Frame, Lowered, Model, ModelSpec, PRESETS};
use std::f64::consts::{PI, TAU};
use std::sync::Arc;

fn model(text: &str) -> Model {
    Model::new(ModelSpec::from_toml(text).unwrap()).unwrap()
}

fn dispersed(kind: &str, dispersion: &str) -> Model {
    model(&format!(
        "[[compartment]]\nname = \"c\"\nkind = \"{kind}\"\ndispersion = \"{dispersion}\"\n[range]\n\"c.odi\" = [0.001, 1.0]\n"
    ))
}

/// Values by the last part of their names.
fn values(model: &Model, of: impl Fn(&str) -> f64) -> Vec<f64> {
    model.value_names().iter().map(|n| of(n.rsplit('.').next().unwrap())).collect()
}

fn acquisition(b: &[f64]) -> Acquisition {
    let (mut weighting, mut directions) = (Vec::new(), Vec::new());
    for &b in b {
        for i in 0..11 {
            let z = 1.0 - (2.0 * f64::from(i) + 1.0) / 11.0;
            let (s, c) = (2.4 * f64::from(i)).sin_cos();
            let r = (1.0 - z * z).sqrt();
            weighting.push(b);
            directions.push([r * c, r * s, z]);
        }
    }
    Acquisition::from_b(&weighting, &directions, None, None).unwrap()
}

fn evaluator(model: &Model, acquisition: &Acquisition) -> Evaluator {
    Evaluator::new(&Lowered::new(Arc::new(model.clone()), acquisition).unwrap())
}

/// Parameters of a fan; `mu` is a unit vector.
const MU: [f64; 3] = [-0.48, 0.6, 0.64];
const PSI: f64 = 1.1;

fn fan(odi: f64, fraction: f64) -> impl Fn(&str) -> f64 {
    move |name| match name {
        "mu_x" => MU[0],
        "mu_y" => MU[1],
        "mu_z" => MU[2],
        "psi" => PSI,
        "odi" => odi,
        "beta_fraction" => fraction,
        "lambda_par" => 2.2,
        "lambda_perp" => 0.6,
        _ => 1.0,
    }
}

#[test]
fn signals_equal_sums_over_the_sphere() {
    let acquisition = acquisition(&[1.0, 3.0, 20.0]);
    let rule = half_rule(RULES.len() - 1);
    let around = 512;
    let model = dispersed("stick", "bingham");
    let mut evaluator = evaluator(&model, &acquisition);
    let [m1, m2, m3] = Frame::new(MU, PSI).axes;
    for (odi, fraction) in [(0.95, 0.3), (0.2, 0.9), (0.01, 0.5), (0.01, 1.0), (0.003, 0.98)] {
        let kappa = 1.0 / (0.5 * PI * odi).tan();
        let n = acquisition.len();
        let (mut sums, mut whole) = (vec![0.0; n], 0.0);
        for (t, w) in rule.nodes.iter().zip(&rule.weights) {
            let r = (1.0 - t * t).sqrt();
            for k in 0..around {
                let (s, c) = (TAU * (f64::from(k) + 0.5) / f64::from(around)).sin_cos();
                let axis: [f64; 3] =
                    std::array::from_fn(|i| t * m1[i] + r * (c * m2[i] + s * m3[i]));
                let exponent = kappa * (t * t - 1.0 + fraction * r * r * c * c);
                let density = w * exponent.exp();
                whole += density;
                for ((sum, b), g) in
                    sums.iter_mut().zip(acquisition.b_ms_per_um2()).zip(acquisition.directions())
                {
                    let cosine = g[0] * axis[0] + g[1] * axis[1] + g[2] * axis[2];
                    *sum += density * (-b * 2.2 * cosine * cosine).exp();
                }
            }
        }
        let ours = evaluator.predict(&values(&model, fan(odi, fraction)));
        for (i, (a, sum)) in ours.iter().zip(&sums).enumerate() {
            let truth = sum / whole;
            assert!((a - truth).abs() < 1e-12, "{odi} {fraction} {i}: {a} {truth}");
        }
    }
}

#[test]
fn without_a_fan_it_is_watson() {
    let acquisition = acquisition(&[1.0, 2.5, 8.0]);
    for kind in ["stick", "zeppelin"] {
        let (round, flat) = (dispersed(kind, "watson"), dispersed(kind, "bingham"));
        let (mut watson, mut bingham) =
            (evaluator(&round, &acquisition), evaluator(&flat, &acquisition));
        for odi in [0.01, 0.05, 0.3, 0.7, 0.99] {
            let (x, y) = (values(&round, fan(odi, 0.0)), values(&flat, fan(odi, 0.0)));
            let (signal, jacobian) = watson.signal_and_jacobian(&x);
            let slots = signal.len();
            let (other, slopes) = bingham.signal_and_jacobian(&y);
            for (a, b) in signal.iter().zip(other) {
                assert!((a - b).abs() < 1e-12, "{kind} {odi}: {a} {b}");
            }
            for (k, name) in round.value_names().iter().enumerate() {
                if name.contains("mu_") {
                    continue;
                }
                let j = flat.value_names().iter().position(|n| n == name).unwrap();
                let size = if name.ends_with("odi") { 1.0 / odi } else { 1.0 };
                let pairs = jacobian[k * slots..].iter().zip(&slopes[j * slots..]).take(slots);
                for (a, b) in pairs {
                    assert!((a - b).abs() < 1e-11 * size, "{kind} {odi} {name}: {a} {b}");
                }
            }
            // Nothing turns.
            let psi = flat.value_names().iter().position(|n| n.ends_with("psi")).unwrap();
            assert!(slopes[psi * slots..(psi + 1) * slots].iter().all(|v| v.abs() < 1e-12));
        }
    }
}

#[test]
fn the_canonical_form_of_fans_keeps_the_signal() {
    let acquisition = acquisition(&[1.0, 2.0]);
    // Linked angles turn together; a fixed one does not turn.
    let fixed = "[[compartment]]\nname = \"c\"\nkind = \"stick\"\ndispersion = \"bingham\"\n[link]\n\"c.psi\" = { fixed = 0.4 }\n";
    for (model, flips) in [
        (Model::new(ModelSpec::parse("noddi_bingham").unwrap()).unwrap(), true),
        (Model::new(ModelSpec::parse("ball_rackets").unwrap()).unwrap(), true),
        (dispersed("zeppelin", "bingham"), true),
        (model(fixed), false),
    ] {
        let of = fan(0.2, 0.6);
        let mut x = values(&model, |name| match name {
            "fraction" => 0.3,
            "psi" => 9.0,
            _ => of(name),
        });
        let mut evaluator = evaluator(&model, &acquisition);
        let before = evaluator.predict(&x);
        model.canonicalise(&mut x);
        let mu_x = model.value_names().iter().position(|n| n.ends_with("mu_x")).unwrap();
        assert_eq!(x[mu_x] > 0.0, flips);
        if let Some(psi) = model.value_names().iter().position(|n| n.ends_with("psi")) {
            assert!((0.0..PI).contains(&x[psi]), "{}", x[psi]);
        }
        for (a, b) in before.iter().zip(evaluator.predict(&x)) {
            assert!((a - b).abs() < 1e-14, "{a} became {b}");
        }
        // Towards the second axis that is there already: nothing turns.
        let again = x.clone();
        let mu = [x[mu_x], x[mu_x + 1], x[mu_x + 2]];
        let psi = model.value_names().iter().position(|n| n.ends_with("psi"));
        let second = Frame::new(mu, psi.map_or(0.4, |k| x[k])).axes[1];
        model.turn_towards(mu_x, second, &mut x);
        for (a, b) in again.iter().zip(&x) {
            assert!((a - b).abs() < 1e-14, "{a} turned to {b}");
        }
    }
}

#[test]
fn presets_of_fans_are_linked() {
    let names = |preset: &str| {
        let model = Model::new(ModelSpec::parse(preset).unwrap()).unwrap();
        let names = model.value_names().into_iter();
        names.filter(|n| !n.contains("mu_")).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        names("noddi_bingham"),
        [
            "intra.odi",
            "intra.psi",
            "intra.beta_fraction",
            "intra.fraction",
            "extra.fraction",
            "csf.fraction",
            "s0"
        ]
    );
    assert_eq!(
        names("ball_rackets"),
        [
            "racket.lambda_par",
            "racket.odi",
            "racket.psi",
            "racket.beta_fraction",
            "racket.fraction",
            "ball.fraction",
            "s0"
        ]
    );
    assert!(PRESETS.iter().any(|p| p.name == "noddi_bingham"));
    // What is not axisymmetric does not disperse.
    let tensor = "[[compartment]]\nkind = \"tensor\"\ndispersion = \"bingham\"\n";
    let message = ModelSpec::from_toml(tensor).unwrap_err().to_string();
    assert!(message.contains("dispersion") && message.contains("tensor"), "{message}");
}
