//! The Candle graph of a model against the fused evaluation.
#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used)]

use crate::composed;

use candle_core::{DType, Device, Tensor, Var};
use composed::{Case, Uniform, cases, lowered};
use microtome_models::{Evaluator, Model};

const SETS: usize = 5;

fn largest(v: &[f64]) -> f64 {
    v.iter().map(|x| x.abs()).fold(0.0, f64::max)
}

/// Cases that a graph can have: a parameter fixed to one value a voxel has none there.
fn graph_cases() -> impl Iterator<Item = (Case, Model)> {
    cases().into_iter().filter(|c| c.per_voxel.is_empty()).map(|c| {
        let model = c.model();
        (c, model)
    })
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn graph_equals_fused() {
    for (i, (case, model)) in graph_cases().enumerate() {
        for repeat in 0..20 {
            let mut uniform = Uniform(100 * i as u64 + repeat);
            let acquisition = uniform.acquisition();
            let n = acquisition.len();
            let x: Vec<f64> = (0..SETS).flat_map(|_| uniform.values(&model, 0.05)).collect();
            let weights: Vec<f64> = (0..SETS * n).map(|_| uniform.within(-1.0, 1.0)).collect();
            let shape = (SETS, model.values());

            let values =
                Var::from_tensor(&Tensor::from_vec(x.clone(), shape, &Device::Cpu).unwrap())
                    .unwrap();
            let signal = model.signal(&values, &acquisition).unwrap();
            assert_eq!(signal.dims(), [SETS, n], "{}", case.name());
            assert_eq!(signal.dtype(), DType::F64);
            let weighting = Tensor::from_vec(weights.clone(), (SETS, n), &Device::Cpu).unwrap();
            let total = (&signal * &weighting).unwrap().sum_all().unwrap();
            let gradient = flat(total.backward().unwrap().get(&values).unwrap());

            let lowered = lowered(&model, &acquisition);
            let mut evaluator = Evaluator::new(&lowered);
            let fused = evaluator.predict(&x);
            let scale = largest(&fused);
            for (a, b) in flat(&signal).iter().zip(&fused) {
                assert!((a - b).abs() <= 1e-12 * scale, "{}: signal {a}, fused {b}", case.name());
            }
            let mut weight = vec![0.0; lowered.plan.slots()];
            for set in 0..SETS {
                let columns = set * model.values()..(set + 1) * model.values();
                evaluator.signal(&x[columns.clone()]);
                lowered.plan.scatter(&weights[set * n..(set + 1) * n], &mut weight);
                let mut expected = vec![0.0; model.values()];
                evaluator.pullback(&weight, &mut expected);
                let scale = largest(&expected);
                for (k, (a, b)) in gradient[columns].iter().zip(&expected).enumerate() {
                    let name = model.value_names()[k];
                    assert!(
                        (a - b).abs() <= 1e-12 * scale,
                        "{}: d/d {name} {a}, fused {b}",
                        case.name()
                    );
                }
            }
        }
    }
}

#[test]
fn single_precision_is_close() {
    for (i, (case, model)) in graph_cases().enumerate() {
        let mut uniform = Uniform(7000 + i as u64);
        let acquisition = uniform.acquisition();
        let x: Vec<f64> = (0..SETS).flat_map(|_| uniform.values(&model, 0.05)).collect();
        let values = Tensor::from_vec(x.clone(), (SETS, model.values()), &Device::Cpu).unwrap();
        let single = Var::from_tensor(&values.to_dtype(DType::F32).unwrap()).unwrap();
        let signal = model.signal(&single, &acquisition).unwrap();
        assert_eq!(signal.dtype(), DType::F32);
        let fused = Evaluator::new(&lowered(&model, &acquisition)).predict(&x);
        for (a, b) in flat(&signal).iter().zip(&fused) {
            assert!((a - b).abs() <= 1e-5 * largest(&fused), "{}: {a} {b}", case.name());
        }
        let gradient = signal.sum_all().unwrap().backward().unwrap();
        let gradient = gradient.get(&single).unwrap();
        assert_eq!(gradient.dtype(), DType::F32);
        assert!(flat(gradient).iter().all(|g| g.is_finite()));
    }
}

#[test]
fn errors_name_the_values() {
    let mut uniform = Uniform(1);
    let acquisition = uniform.acquisition();
    let case = cases().into_iter().find(|c| c.text == "ball_stick").unwrap();
    let wrong = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
    let message = case.model().signal(&wrong, &acquisition).unwrap_err().to_string();
    for part in ["3 columns", "8 values", "stick.mu_x", "ball.lambda_iso", "s0"] {
        assert!(message.contains(part), "{message}");
    }
    let flat = Tensor::zeros(8, DType::F64, &Device::Cpu).unwrap();
    assert!(case.model().signal(&flat, &acquisition).is_err());
    let integers = Tensor::zeros((2, 8), DType::U32, &Device::Cpu).unwrap();
    let message = case.model().signal(&integers, &acquisition).unwrap_err().to_string();
    assert!(message.contains("f64 or f32"), "{message}");

    let case = cases().into_iter().find(|c| !c.per_voxel.is_empty()).unwrap();
    let model = case.model();
    let values = Tensor::zeros((1, model.values()), DType::F64, &Device::Cpu).unwrap();
    let message = model.signal(&values, &acquisition).unwrap_err().to_string();
    assert!(message.contains("one value a voxel"), "{message}");
}
