//! Signals, Jacobians and pullbacks against dual numbers.
#![allow(clippy::unwrap_used)]

use crate::composed;

use composed::dual::{Dual, WIDTH};
use composed::{Case, Named, Uniform, across, cases, lowered};
use microtome_models::{Acquisition, Evaluator, FreeKind, Model, ModelSpec};
use proptest::prelude::*;

/// Directions in the space of values along which derivatives are compared: one a
/// scalar and a fraction, two across each axis, and the axis itself where the
/// formula is defined off the sphere.
fn probes(case: &Case, model: &Model, x: &[f64]) -> Vec<(String, Vec<f64>)> {
    let mut out = Vec::new();
    for free in model.free() {
        let rows: Vec<Vec<f64>> = if free.kind == FreeKind::Axis {
            let mu = [x[free.at], x[free.at + 1], x[free.at + 2]];
            let mut rows: Vec<Vec<f64>> = across(mu).iter().map(|v| v.to_vec()).collect();
            if case.off_sphere {
                rows.push(mu.to_vec());
            }
            rows
        } else {
            (0..free.len).map(|i| (0..free.len).map(|j| f64::from(i == j)).collect()).collect()
        };
        for (i, row) in rows.iter().enumerate() {
            let mut probe = vec![0.0; x.len()];
            probe[free.at..free.at + free.len].copy_from_slice(row);
            out.push((format!("{} [{i}]", free.name), probe));
        }
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(p, q)| p * q).sum()
}

fn by_hand(case: &Case, model: &Model, acquisition: &Acquisition, x: &[f64]) -> Vec<Dual> {
    assert!(x.len() <= WIDTH);
    let names = model.value_names();
    let named = Named { names: &names, x };
    let measurements = acquisition.b_ms_per_um2().iter().zip(acquisition.directions());
    measurements.map(|(b, g)| (case.oracle)(&named, *b, *g)).collect()
}

/// The three tolerances of the contract. "Relative" is to the largest magnitude of
/// the signal, of the column of the Jacobian, or of the terms of the sum J'w.
fn check(case: &Case, model: &Model, seed: u64) -> Result<(), TestCaseError> {
    let mut uniform = Uniform(seed);
    let acquisition = uniform.acquisition();
    let x = uniform.values(model, 0.05);
    let expected = by_hand(case, model, &acquisition, &x);
    let lowered = lowered(model, &acquisition);
    let (plan, n) = (lowered.plan.clone(), acquisition.len());
    let slots = plan.slots();
    let mut evaluator = Evaluator::new(&lowered);
    evaluator.set_per_voxel(case.per_voxel);

    let (signal, jacobian) = evaluator.signal_and_jacobian(&x);
    let (signal, jacobian) = (signal.to_vec(), jacobian.to_vec());
    let mut measured = vec![0.0; n];
    plan.gather(&signal, &mut measured);
    let largest = expected.iter().map(|d| d.value.abs()).fold(0.0, f64::max);
    for (i, (s, d)) in measured.iter().zip(&expected).enumerate() {
        // Terms of the order of S0 (at least 0.5 here) may cancel to a small signal.
        let bound = 1e-12 * largest + f64::EPSILON;
        prop_assert!((s - d.value).abs() <= bound, "signal {i}: {s} by hand {}", d.value);
    }

    // Columns of the Jacobian in measurement order.
    let columns: Vec<Vec<f64>> = jacobian
        .chunks(slots)
        .map(|column| {
            let mut out = vec![0.0; n];
            plan.gather(column, &mut out);
            out
        })
        .collect();
    for (name, probe) in probes(case, model, &x) {
        let ours: Vec<f64> =
            (0..n).map(|i| columns.iter().zip(&probe).map(|(c, p)| c[i] * p).sum()).collect();
        let by_hand: Vec<f64> = expected.iter().map(|d| dot(&d.slope[..x.len()], &probe)).collect();
        // A series is exact to 1e-13 of a signal of 1, not of a column that vanishes.
        let least = if case.slow { 1e-3 } else { 0.0 };
        let largest = by_hand.iter().map(|v| v.abs()).fold(least, f64::max);
        for (i, (a, b)) in ours.iter().zip(&by_hand).enumerate() {
            prop_assert!(
                (a - b).abs() <= 1e-9 * largest,
                "{}: d signal {i} / d {name}: {a} by dual numbers {b} (column up to {largest})",
                case.name()
            );
        }
    }

    let plain = evaluator.signal(&x).to_vec();
    let largest = signal.iter().map(|v| v.abs()).fold(0.0, f64::max);
    for (a, b) in plain.iter().zip(&signal) {
        prop_assert!(
            (a - b).abs() <= 1e-14 * largest,
            "signal {a}, signal of signal_and_jacobian {b}"
        );
    }
    let weights: Vec<f64> = (0..n).map(|_| uniform.within(-1.0, 1.0)).collect();
    let mut weight = vec![0.0; slots];
    plan.scatter(&weights, &mut weight);
    // The pullback adds to what is there.
    let mut gradient = vec![0.25; x.len()];
    evaluator.pullback(&weight, &mut gradient);
    for (k, (g, column)) in gradient.iter().zip(jacobian.chunks(slots)).enumerate() {
        let product = dot(column, &weight) + 0.25;
        let scale = column.iter().zip(&weight).map(|(j, w)| (j * w).abs()).sum::<f64>() + 0.25;
        prop_assert!(
            (g - product).abs() <= 1e-12 * scale,
            "{}: pullback {k}: {g}, J'w {product}",
            case.name()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn jacobian_equals_dual_numbers(seed in any::<u64>()) {
        thread_local! {
            static MODELS: Vec<(Case, Model)> =
                cases().into_iter().map(|c| { let m = c.model(); (c, m) }).collect();
        }
        MODELS.with(|models| {
            for (i, (case, model)) in models.iter().enumerate() {
                if case.slow && seed % 8 != 0 {
                    continue;
                }
                check(case, model, seed.wrapping_add(i as u64))?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[test]
fn dual_numbers_equal_differences() {
    // The oracle itself, on the formula with most operations.
    let f = |x: [f64; 4]| {
        let v: [Dual; 4] = std::array::from_fn(|i| Dual::variable(x[i], i));
        let mu = [v[0], v[1], v[2]];
        let lambda = [2.0, 1.0, 0.3].map(Dual::constant);
        composed::dual::tensor(1.3, [0.48, -0.6, 0.64], mu, v[3], lambda)
    };
    let x = [0.36, 0.48, 0.8, 0.9];
    for k in 0..4 {
        let (mut plus, mut minus) = (x, x);
        plus[k] += 1e-6;
        minus[k] -= 1e-6;
        let difference = (f(plus).value - f(minus).value) / 2e-6;
        assert!((f(x).slope[k] - difference).abs() < 1e-9, "{k}: {} {difference}", f(x).slope[k]);
    }
}

#[test]
fn dot_is_one() {
    let model = Model::new(ModelSpec::parse("dot").unwrap()).unwrap();
    let acquisition = Uniform(3).acquisition();
    let s = Evaluator::new(&lowered(&model, &acquisition)).predict(&[1.0]);
    assert_eq!(s, vec![1.0; acquisition.len()]);
}

#[test]
fn tortuosity_without_tissue_is_the_parallel_diffusivity() {
    // Intra and extra both 0: 0/0 must not reach the signal or the derivatives.
    let case = cases().into_iter().find(|c| c.text.contains("tortuosity")).unwrap();
    let model = case.model();
    let mut uniform = Uniform(5);
    let mut x = uniform.values(&model, 0.1);
    for (x, name) in x.iter_mut().zip(model.value_names()) {
        match name {
            "intra.fraction" | "extra.fraction" => *x = 0.0,
            "csf.fraction" => *x = 0.9,
            _ => {}
        }
    }
    let mut columns = vec![0.0; model.columns().len()];
    model.fill_columns(&x, &[], &mut columns);
    let of = |name: &str| columns[model.columns().iter().position(|c| c.name == name).unwrap()];
    assert_eq!(of("extra.lambda_perp"), of("extra.lambda_par"));
    let mut evaluator = Evaluator::new(&lowered(&model, &uniform.acquisition()));
    let (signal, jacobian) = evaluator.signal_and_jacobian(&x);
    assert!(signal.iter().chain(jacobian).all(|v| v.is_finite()));
}

#[test]
fn a_model_without_free_values_predicts() {
    let text = "[[compartment]]\nkind = \"ball\"\n[link]\n\"ball.lambda_iso\" = { fixed = 1.0 }\ns0 = { fixed = 2.0 }\n";
    let model = Model::new(ModelSpec::from_toml(text).unwrap()).unwrap();
    assert_eq!(model.values(), 0);
    let acquisition = Acquisition::from_b(&[0.0, 1.0], &[[1.0, 0.0, 0.0]; 2], None, None).unwrap();
    let mut evaluator = Evaluator::new(&lowered(&model, &acquisition));
    let s = evaluator.predict(&[]);
    assert!((s[0] - 2.0).abs() < 1e-15 && (s[1] - 2.0 * (-1.0_f64).exp()).abs() < 1e-15);
    assert!(evaluator.signal_and_jacobian(&[]).1.is_empty());
    evaluator.signal(&[]);
    let weight = vec![1.0; evaluator.lowered().plan.slots()];
    evaluator.pullback(&weight, &mut []);
}
