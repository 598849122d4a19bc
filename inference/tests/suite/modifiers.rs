//! Noise-free recovery of models with T2, exchange and sizes, from the start scheme.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::voxels;

use microtome_inference::fit::Status;
use microtome_models::{Acquisition, NoiseKind, PulseTiming, ShellMeans};
use std::collections::BTreeMap;
use voxels::{column, fibonacci, fitter, lowered, predict};

/// Shells of (b, delta, Delta, TE) and 60 directions, and six b = 0 images for each TE.
fn protocol(shells: &[(f64, f64, f64, f64)]) -> Acquisition {
    let (mut b, mut g, mut te) = (Vec::new(), Vec::new(), Vec::new());
    let (mut delta_ms, mut big_delta_ms) = (Vec::new(), Vec::new());
    for (k, &(weighting, delta, big_delta, echo)) in shells.iter().enumerate() {
        for (i, direction) in fibonacci(66, 0.3 * k as f64).into_iter().enumerate() {
            b.push(if i < 6 { 0.0 } else { weighting });
            g.push(direction);
            te.push(echo);
            delta_ms.push(delta);
            big_delta_ms.push(big_delta);
        }
    }
    let timing = PulseTiming { delta_ms, big_delta_ms };
    Acquisition::from_b(&b, &g, Some(timing), Some(te)).unwrap()
}

/// Fits the model to its own signals; the result columns by name.
fn recover(text: &str, a: &Acquisition, truth: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let lowered = lowered(text, NoiseKind::Gaussian, a);
    let model = lowered.model.clone();
    let truth: BTreeMap<&str, f64> = truth.iter().copied().collect();
    let x: Vec<f64> = model
        .value_names()
        .iter()
        .map(|n| *truth.get(n).unwrap_or_else(|| panic!("no truth of {n}")))
        .collect();
    let y = predict(&lowered, &x);
    let fit = fitter(&lowered, a).fit(&y, &[], Some(1e-5));
    assert_eq!(
        fit.status,
        Status::Converged,
        "{text} {:?} {:?} {} {}",
        model.value_names(),
        fit.x,
        fit.r2,
        fit.iterations
    );
    let mut columns = vec![0.0; model.columns().len()];
    model.fill_columns(&fit.x, &[], &mut columns);
    let at = |name: &str| columns[column(&model, name)];
    model.columns().iter().map(|c| (c.name.clone(), at(&c.name))).collect()
}

fn near(found: &BTreeMap<String, f64>, truth: &[(&str, f64)], relative: f64) {
    for (name, value) in truth {
        let got = found[*name];
        assert!((got - value).abs() < relative * value.abs(), "{name}: {got}, truth {value}");
    }
}

#[test]
fn mte_noddi_finds_both_t2() {
    let a = protocol(&[
        (1.0, 10.0, 30.0, 60.0),
        (2.5, 10.0, 30.0, 60.0),
        (1.0, 10.0, 30.0, 95.0),
        (2.5, 10.0, 30.0, 95.0),
        (1.0, 10.0, 30.0, 130.0),
        (2.5, 10.0, 30.0, 130.0),
    ]);
    for (t2, t2_extra, f) in [(85.0, 55.0, 0.5), (60.0, 75.0, 0.35)] {
        let truth = [
            ("intra.odi", 0.2),
            ("intra.t2_ms", t2),
            ("extra.t2_ms", t2_extra),
            ("intra.fraction", f),
            ("extra.fraction", 0.9 - f),
            ("csf.fraction", 0.1),
            ("s0", 1.4),
        ];
        let axis = [("intra.mu_x", 0.36), ("intra.mu_y", 0.48), ("intra.mu_z", 0.8)];
        let found = recover("mte_noddi", &a, &[&truth[..], &axis].concat());
        near(&found, &truth, 1e-3);
    }
}

#[test]
fn nexi_finds_the_exchange_time() {
    let mut shells = Vec::new();
    for big_delta in [12.0, 25.0, 45.0] {
        for b in [1.0, 2.5, 4.0, 6.0, 10.0] {
            shells.push((b, 4.0, big_delta, 60.0));
        }
    }
    let means = ShellMeans::new(&protocol(&shells));
    for (time, di, de, f) in [(20.0, 2.3, 0.9, 0.5), (6.0, 1.8, 0.7, 0.35), (60.0, 2.5, 1.1, 0.6)] {
        let truth = [
            ("tissue.stick_lambda_par", di),
            ("tissue.ball_lambda_iso", de),
            ("tissue.intra_fraction", f),
            ("tissue.exchange_time_ms", time),
            ("s0", 0.8),
        ];
        near(&recover("nexi", means.acquisition(), &truth), &truth, 2e-3);
    }
}

#[test]
fn sandi_finds_the_soma() {
    // One diffusion time leaves a valley between the soma size and the neurites.
    let b = [0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 12.0];
    let shells: Vec<(f64, f64, f64, f64)> =
        [15.0, 60.0].iter().flat_map(|t| b.map(|b| (b, 8.0, *t, 80.0))).collect();
    let means = ShellMeans::new(&protocol(&shells));
    for (diameter, soma, neurite) in [(12.0, 0.3, 0.4), (8.0, 0.5, 0.3)] {
        let truth = [
            ("neurite.lambda_par", 2.0),
            ("soma.diameter", diameter),
            ("extra.lambda_iso", 1.0),
            ("neurite.fraction", neurite),
            ("soma.fraction", soma),
            ("extra.fraction", 1.0 - soma - neurite),
            ("s0", 1.2),
        ];
        near(&recover("sandi", means.acquisition(), &truth), &truth, 5e-3);
    }
}

#[test]
fn sizes_are_found() {
    let text = "[[compartment]]\nkind = \"sphere_gpd\"\nsize_distribution = \"gamma\"\n[[compartment]]\nkind = \"ball\"\n";
    let mut shells = Vec::new();
    for big_delta in [25.0, 60.0] {
        for b in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0] {
            shells.push((b, 8.0, big_delta, 90.0));
        }
    }
    let means = ShellMeans::new(&protocol(&shells));
    let truth = [
        ("sphere_gpd.alpha", 4.0),
        ("sphere_gpd.beta", 0.8),
        ("sphere_gpd.fraction", 0.6),
        ("ball.fraction", 0.4),
        ("ball.lambda_iso", 2.2),
        ("s0", 1.0),
    ];
    near(&recover(text, means.acquisition(), &truth), &truth, 2e-2);
}
