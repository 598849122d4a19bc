//! Information of models and the derivative of design criteria: plain sums and
//! differences of the criterion.

#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_models::information::{
    Criterion, Decay, Encoding, Experiment, NoiseLevel, Optimality,
};
use microtome_models::{Lowered, Model, ModelSpec, NoiseKind, PulseTiming, half_sphere};
use std::sync::Arc;

/// Three weighted shells and two b = 0, with weights that are not whole.
fn encoding() -> Encoding {
    let mut e = Encoding::default();
    let mut timing = PulseTiming { delta_ms: vec![], big_delta_ms: vec![] };
    for (b, delta, big_delta, n) in
        [(0.0, 7.0, 20.0, 2), (1.1, 7.0, 20.0, 9), (3.9, 9.0, 40.0, 13), (9.2, 12.0, 40.0, 11)]
    {
        for (i, g) in half_sphere(n).into_iter().enumerate() {
            e.b.push(b);
            e.directions.push(if b > 0.0 { g } else { [0.0; 3] });
            timing.delta_ms.push(delta);
            timing.big_delta_ms.push(big_delta);
            e.weight.push(1.0 + 0.3 * (i % 4) as f64);
        }
    }
    e.te_ms = Some(vec![60.0; e.b.len()]);
    e.timing = Some(timing);
    e
}

fn model(name: &str, noise: NoiseKind) -> Arc<Model> {
    let mut spec = ModelSpec::parse(name).unwrap();
    spec.noise.kind = noise;
    Arc::new(Model::new(spec).unwrap())
}

/// Values by name; an axis as three numbers.
fn values(model: &Model, given: &[(&str, f64)]) -> Vec<f64> {
    let names = model.value_names();
    let mut x = vec![1.0; names.len()];
    for (name, v) in given {
        let k = names.iter().position(|n| n == name);
        x[k.unwrap_or_else(|| panic!("no {name} in {names:?}"))] = *v;
    }
    x
}

fn activeax(noise: NoiseKind, decay: Option<Decay>) -> Arc<Experiment> {
    let model = model("activeax", noise);
    let set = |diameter: f64, mu: [f64; 3]| {
        let given = [
            ("intra.mu_x", mu[0]),
            ("intra.mu_y", mu[1]),
            ("intra.mu_z", mu[2]),
            ("intra.diameter", diameter),
            ("intra.fraction", 0.55),
            ("extra.fraction", 0.35),
            ("csf.fraction", 0.1),
            ("s0", 40.0),
        ];
        (values(&model, &given), Vec::new())
    };
    let sets = [set(5.0, [0.6, 0.0, 0.8]), set(9.0, [0.36, -0.48, 0.8])];
    let lowered = Lowered::new(model.clone(), &encoding().acquisition().unwrap()).unwrap();
    Arc::new(Experiment::new(&lowered, &sets, NoiseLevel::Snr(12.0), decay).unwrap())
}

/// One exponential, written out: parameters lambda and s0.
#[test]
fn information_equals_plain_sum() {
    let e = encoding();
    let model = model("ball", NoiseKind::Gaussian);
    let x = values(&model, &[("ball.lambda_iso", 0.8), ("s0", 7.0)]);
    let acquisition = e.acquisition().unwrap();
    let lowered = Lowered::new(model.clone(), &acquisition).unwrap();
    let sets = [(x, Vec::new())];
    let experiment = Experiment::new(&lowered, &sets, NoiseLevel::Snr(20.0), None).unwrap();
    let sigma = 7.0 / 20.0;
    assert!((experiment.sets()[0].sigma - sigma).abs() < 1e-14);
    let found = &experiment.information(&acquisition, Some(&e.weight)).unwrap()[0];
    let mut wanted = [0.0; 4];
    for (b, w) in e.b.iter().zip(&e.weight) {
        let decay = (-b * 0.8_f64).exp();
        let j = [-7.0 * b * decay, decay];
        for k in 0..4 {
            wanted[k] += w * j[k / 2] * j[k % 2] / (sigma * sigma);
        }
    }
    for (f, w) in found.iter().zip(wanted) {
        assert!((f / w - 1.0).abs() < 1e-12, "{found:?} {wanted:?}");
    }
    // Bounds of Cramér and Rao by the inverse of two by two.
    let det = wanted[0] * wanted[3] - wanted[1] * wanted[2];
    let inverse = [wanted[3] / det, -wanted[1] / det, -wanted[2] / det, wanted[0] / det];
    let sd = experiment.standard_deviations(&experiment.sets()[0], &inverse);
    for (q, sd) in experiment.quantities().iter().zip(sd) {
        let variance = if q.name == "s0" { inverse[3] } else { inverse[0] };
        assert!((sd - variance.sqrt()).abs() < 1e-15, "{}", q.name);
    }
}

/// Which number of which measurement is moved.
type Move = fn(&mut Encoding, usize, f64);

const MOVES: [(&str, Move); 5] = [
    ("b", |e, i, h| e.b[i] += h),
    ("delta", |e, i, h| e.timing.as_mut().unwrap().delta_ms[i] += h),
    ("Delta", |e, i, h| e.timing.as_mut().unwrap().big_delta_ms[i] += h),
    ("TE", |e, i, h| e.te_ms.as_mut().unwrap()[i] += h),
    ("weight", |e, i, h| e.weight[i] += h),
];

/// Differences of fourth order of a function of one number.
fn difference(f: impl Fn(f64) -> f64, h: f64) -> f64 {
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

#[test]
fn gradient_equals_difference() {
    let decay = Decay { t2_ms: 50.0, reference_te_ms: 55.0 };
    let e = encoding();
    for noise in [NoiseKind::Gaussian, NoiseKind::Rician, NoiseKind::NcChi { coils: 4 }] {
        for (optimality, with_prior) in [
            (Optimality::RelativeToPrior, true),
            (Optimality::RelativeToValue, false),
            (Optimality::Determinant, true),
        ] {
            let experiment = activeax(noise, Some(decay));
            let criterion = Criterion::new(experiment, optimality, with_prior, &[]).unwrap();
            let (value, gradient) = criterion.value_and_gradient(&e, true).unwrap();
            assert_eq!(value, criterion.value(&e).unwrap());
            let lists = [
                &gradient.b,
                &gradient.delta_ms,
                &gradient.big_delta_ms,
                &gradient.te_ms,
                &gradient.weight,
            ];
            // A measurement of b = 0 and two of each shell.
            for i in [0, 3, 9, 14, 22, 27, 33] {
                for ((what, step), list) in MOVES.iter().zip(lists) {
                    if e.b[i] == 0.0 && ["b", "delta", "Delta"].contains(what) {
                        assert_eq!(list[i], 0.0, "{what} {i}");
                        continue;
                    }
                    let at = |h: f64| {
                        let mut moved = e.clone();
                        step(&mut moved, i, h);
                        criterion.value(&moved).unwrap()
                    };
                    let wanted = difference(at, 2e-3);
                    // Relative to the largest of the list: a slope may be zero.
                    let scale = list.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                    let error = (list[i] - wanted).abs() / scale;
                    let case = format!("{noise} {optimality:?} {what} {i}");
                    assert!(error < 1e-6, "{case}: {} {wanted}", list[i]);
                    assert!(
                        (list[i] / wanted - 1.0).abs() < 1e-5 || error < 1e-8,
                        "{case}: {} {wanted}",
                        list[i]
                    );
                }
                if e.b[i] == 0.0 {
                    continue;
                }
                let g = e.directions[i];
                for axis in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] {
                    let at = |h: f64| {
                        let mut moved = e.clone();
                        let v: [f64; 3] = std::array::from_fn(|c| g[c] + h * axis[c]);
                        let norm = v.iter().map(|c| c * c).sum::<f64>().sqrt();
                        moved.directions[i] = v.map(|c| c / norm);
                        criterion.value(&moved).unwrap()
                    };
                    let wanted = difference(at, 2e-3);
                    let found: f64 = (0..3).map(|c| axis[c] * gradient.directions[i][c]).sum();
                    let all = gradient.directions.iter().flatten();
                    let scale = all.fold(0.0, |m: f64, v| m.max(v.abs()));
                    assert!((found - wanted).abs() < 1e-6 * scale, "{i}: {found} {wanted}");
                }
            }
        }
    }
}

#[test]
fn a_singular_design_is_infinite_without_prior() {
    let mut e = encoding();
    e.b.iter_mut().for_each(|b| *b = 0.0);
    e.directions.iter_mut().for_each(|g| *g = [0.0; 3]);
    let experiment = activeax(NoiseKind::Gaussian, None);
    let alone = Criterion::new(experiment.clone(), Optimality::default(), false, &[]).unwrap();
    assert_eq!(alone.value(&e).unwrap(), f64::INFINITY);
    let with = Criterion::new(experiment.clone(), Optimality::default(), true, &[]).unwrap();
    // Nothing is learned of what is counted: one prior variance each.
    let counted = experiment.quantities().iter().filter(|q| q.free && q.name != "s0").count();
    assert!((with.value(&e).unwrap() - counted as f64).abs() < 1e-9);
    let unknown = [("intra.odi".to_string(), 1.0)];
    let error = Criterion::new(experiment, Optimality::default(), true, &unknown).unwrap_err();
    assert!(
        error.to_string().contains("intra.odi") && error.to_string().contains("intra.diameter")
    );
}

#[cfg(feature = "graph")]
mod graph {
    use super::*;
    use candle_core::{Device, Tensor, Var};

    fn rows(e: &Encoding) -> Vec<f64> {
        let t = e.timing.as_ref().unwrap();
        let te = e.te_ms.as_ref().unwrap();
        (0..e.len())
            .flat_map(|i| {
                let g = e.directions[i];
                let times = [e.b[i], t.delta_ms[i], t.big_delta_ms[i], te[i]];
                times.into_iter().chain(g).chain([e.weight[i]])
            })
            .collect()
    }

    /// A user's graph: one gradient strength and one weight a shell make the acquisition.
    #[test]
    fn graph_gradient_equals_difference() {
        let e = encoding();
        let experiment = activeax(NoiseKind::Rician, None);
        let criterion =
            Arc::new(Criterion::new(experiment, Optimality::default(), true, &[]).unwrap());
        let base = Tensor::from_vec(rows(&e), (e.len(), 8), &Device::Cpu).unwrap();
        let shell: Vec<u32> =
            e.b.iter()
                .map(|b| [0.0, 1.1, 3.9, 9.2].iter().position(|v| v == b).unwrap() as u32)
                .collect();
        let shell = Tensor::new(shell, &Device::Cpu).unwrap();
        // The criterion of squared factors of b and factors of the times and weights.
        let graph = |factors: &Tensor| {
            let of_row = factors.index_select(&shell, 0).unwrap();
            let square = of_row.narrow(1, 0, 1).unwrap().sqr().unwrap();
            let ones = Tensor::ones((e.len(), 3), candle_core::DType::F64, &Device::Cpu).unwrap();
            let times = of_row.narrow(1, 1, 3).unwrap();
            let weight = of_row.narrow(1, 4, 1).unwrap();
            let all = Tensor::cat(&[&square, &times, &ones, &weight], 1).unwrap();
            criterion.graph(&base.mul(&all).unwrap()).unwrap()
        };
        let start: Vec<f64> = (0..20).map(|i| 1.0 + 0.02 * f64::from(i % 7)).collect();
        let var = Var::from_vec(start.clone(), (4, 5), &Device::Cpu).unwrap();
        let out = (graph(&var) * 3.0).unwrap();
        let store = out.backward().unwrap();
        let found = store.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for k in 0..20 {
            let at = |h: f64| {
                let mut moved = start.clone();
                moved[k] += h;
                let t = Tensor::from_vec(moved, (4, 5), &Device::Cpu).unwrap();
                3.0 * graph(&t).to_scalar::<f64>().unwrap()
            };
            let wanted = difference(at, 1e-3);
            let error = (found[k] - wanted).abs();
            assert!(error < 1e-5 * wanted.abs() + 1e-10, "{k}: {} {wanted}", found[k]);
        }
        // Times of b = 0 do not matter, weights do.
        assert!(found[1] == 0.0 && found[4] != 0.0);
    }

    /// Directions of any length; the slope is across them, and falls with the length.
    #[test]
    fn graph_directions_are_normalised() {
        let e = encoding();
        let experiment = activeax(NoiseKind::Gaussian, None);
        let criterion =
            Arc::new(Criterion::new(experiment, Optimality::Determinant, true, &[]).unwrap());
        let mut long = rows(&e);
        for row in long.as_chunks_mut::<8>().0 {
            row[4..7].iter_mut().for_each(|c| *c *= 2.5);
        }
        let var = Var::from_vec(long, (e.len(), 8), &Device::Cpu).unwrap();
        let value = criterion.graph(&var).unwrap();
        let out = value.to_scalar::<f64>().unwrap();
        assert!((out - criterion.value(&e).unwrap()).abs() < 1e-12);
        let store = value.backward().unwrap();
        let found = store.get(&var).unwrap().to_vec2::<f64>().unwrap();
        let (_, wanted) = criterion.value_and_gradient(&e, true).unwrap();
        for (f, w) in found.iter().zip(&wanted.directions) {
            for c in 0..3 {
                assert!((f[4 + c] - w[c] / 2.5).abs() < 1e-12);
            }
        }
        let narrow = Tensor::zeros((3, 7), candle_core::DType::F64, &Device::Cpu).unwrap();
        assert!(criterion.graph(&narrow).unwrap_err().to_string().contains("weight"));
    }
}
