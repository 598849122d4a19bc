//! Modified and composite compartments: sizes, T2, exchange, spherical means; against
//! tables, differences and their limits.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::composed;

use composed::{Uniform, lowered};
use microtome_models::{
    Acquisition, CompartmentSpec, Evaluator, FreeKind, Model, ModelSpec, PulseTiming, register,
};
use std::collections::BTreeMap;

fn model(table: &str) -> Model {
    Model::new(ModelSpec::from_toml(table).unwrap()).unwrap()
}

fn values(model: &Model, parameters: &BTreeMap<&str, f64>) -> Vec<f64> {
    let value = |name: &&str| match name.split_once('.') {
        Some((_, short)) => *parameters.get(short).unwrap_or_else(|| panic!("no {short}")),
        None => 1.0,
    };
    model.value_names().iter().map(value).collect()
}

#[test]
fn modifiers_equal_golden() {
    let table = include_str!("../../../tests/golden/modifiers.csv");
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let numbers: Vec<f64> = cells[2..].iter().map(|v| v.parse().unwrap()).collect();
        let [b, gx, gy, gz, delta, big_delta, te, expected] = numbers[..] else { panic!("{line}") };
        let text = cells[0].replace(';', "\n").replace(" &", ",");
        let model = model(&format!("[[compartment]]\n{text}\n"));
        let parameters = cells[1]
            .split(';')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name, value.parse().unwrap())
            })
            .collect();
        let timing = PulseTiming { delta_ms: vec![delta], big_delta_ms: vec![big_delta] };
        let a = Acquisition::from_b(&[b], &[[gx, gy, gz]], Some(timing), Some(vec![te])).unwrap();
        let signal = Evaluator::new(&lowered(&model, &a)).predict(&values(&model, &parameters))[0];
        // The rule over sizes is exact to 2e-11, series to 1e-12.
        assert!((signal - expected).abs() < 5e-11, "{line}: {signal}");
    }
}

/// Shells of several timings and two echo times.
fn acquisition(uniform: &mut Uniform) -> Acquisition {
    let (mut b, mut g, mut te) = (Vec::new(), Vec::new(), Vec::new());
    let (mut delta_ms, mut big_delta_ms) = (Vec::new(), Vec::new());
    for (shell, echo) in
        [(0.0, 50.0), (0.0, 90.0), (1.0, 50.0), (2.5, 50.0), (1.7, 90.0), (6.0, 90.0)]
    {
        for _ in 0..6 {
            b.push(shell);
            g.push(uniform.direction());
            te.push(echo);
            delta_ms.push(if echo > 60.0 { 12.0 } else { 8.0 });
            big_delta_ms.push(if echo > 60.0 { 45.0 } else { 20.0 });
        }
    }
    let timing = PulseTiming { delta_ms, big_delta_ms };
    let tr = te.iter().map(|te| 20.0 * te).collect();
    let a = Acquisition::from_b(&b, &g, Some(timing), Some(te)).unwrap();
    a.with_repetition_times(tr).unwrap()
}

/// Values in the part of the ranges where signals are not zero.
fn draw(model: &Model, uniform: &mut Uniform) -> Vec<f64> {
    let mut x = uniform.values(model, 0.05);
    for free in model.free() {
        if matches!(free.kind, FreeKind::Scalar { .. }) {
            let [low, high] = free.range;
            let (low, high) = (low.max(0.2 * free.scale), high.min(2.0 * free.scale));
            x[free.at] = uniform.within(low, high);
        }
    }
    x
}

/// The Jacobian against differences of fourth order, and the pullback against it.
fn check_slopes(text: &str, seed: u64) {
    let model = model(text);
    let mut uniform = Uniform(seed);
    let a = acquisition(&mut uniform);
    let lowered = lowered(&model, &a);
    let mut evaluator = Evaluator::new(&lowered);
    for _ in 0..3 {
        let x = draw(&model, &mut uniform);
        let (signal, jacobian) = evaluator.signal_and_jacobian(&x);
        let (signal, jacobian) = (signal.to_vec(), jacobian.to_vec());
        let slots = signal.len();
        assert!(jacobian.iter().all(|v| v.is_finite()), "{text} at {x:?}");
        for (k, name) in model.value_names().iter().enumerate() {
            let h = 1e-3 * x[k].abs().max(0.1);
            let mut moved = |d: f64| {
                let mut x = x.clone();
                x[k] += d;
                evaluator.signal(&x).to_vec()
            };
            let (p, m, pp, mm) = (moved(h), moved(-h), moved(2.0 * h), moved(-2.0 * h));
            let largest =
                jacobian[k * slots..(k + 1) * slots].iter().fold(0.0_f64, |a, v| a.max(v.abs()));
            for i in 0..slots {
                let difference = (8.0 * (p[i] - m[i]) - (pp[i] - mm[i])) / (12.0 * h);
                let ours = jacobian[k * slots + i];
                // Differences err by the fifth derivative times h⁴ and by the noise of the
                // signal (2e-11 for sizes) over h.
                let tolerance = 2e-9 * largest + 6e-11 / h * signal[i].abs().max(1e-3);
                assert!(
                    (ours - difference).abs() < tolerance.max(1e-12),
                    "{text}\n{name} slot {i}: {ours} {difference} largest {largest}"
                );
            }
        }
        evaluator.signal(&x);
        let weights: Vec<f64> = (0..a.len()).map(|_| uniform.within(-1.0, 1.0)).collect();
        let mut weight = vec![0.0; slots];
        lowered.plan.scatter(&weights, &mut weight);
        let mut gradient = vec![0.0; x.len()];
        evaluator.pullback(&weight, &mut gradient);
        for (k, g) in gradient.iter().enumerate() {
            let column = &jacobian[k * slots..(k + 1) * slots];
            let product: f64 = column.iter().zip(&weight).map(|(j, w)| j * w).sum();
            let scale: f64 = column.iter().zip(&weight).map(|(j, w)| (j * w).abs()).sum();
            assert!((g - product).abs() <= 1e-11 * scale + 1e-14, "{text}: pullback {k}");
        }
    }
}

#[test]
fn slopes_equal_differences() {
    for (seed, text) in [
        "kind = \"cylinder_gpd\"\nsize_distribution = \"gamma\"",
        "kind = \"sphere_gpd\"\nsize_distribution = \"gamma\"",
        "kind = \"cylinder_sgp\"\nsize_distribution = \"gamma\"\ndispersion = \"watson\"\nt2 = true",
        "kind = \"stick\"\ndispersion = \"watson\"\nt2 = true",
        "kind = \"stick\"\nt2 = true\nt1 = true",
        "kind = \"ball\"\nt1 = true",
        "kind = \"zeppelin\"\ndispersion = \"bingham\"\nt1 = true",
        "kind = \"karger\"",
        "kind = \"karger\"\nof = [\"stick\", \"ball\"]\nt2 = true",
        "kind = \"karger\"\nof = [\"cylinder_gpd\", \"zeppelin\"]\ndispersion = \"watson\"",
        "kind = \"karger\"\nof = [\"zeppelin\", \"zeppelin\"]",
    ]
    .iter()
    .enumerate()
    {
        let text = format!("[[compartment]]\n{text}\n[[compartment]]\nkind = \"ball\"\n");
        check_slopes(&text, seed as u64);
        check_slopes(&format!("spherical_mean = true\n{text}"), seed as u64 + 100);
    }
}

/// T2 and T1 of every kind: the factors, whatever the kind leaves in the table of its room.
#[test]
fn relaxation_is_a_factor() {
    let mut uniform = Uniform(4);
    let a = acquisition(&mut uniform);
    for kind in register() {
        let spec = |t2: bool| CompartmentSpec {
            kind: kind.kind().into(),
            t2,
            t1: t2,
            ..CompartmentSpec::default()
        };
        if spec(true).build().is_err() {
            assert_eq!(kind.kind(), "tensor");
            continue;
        }
        let build = |t2| {
            Model::new(ModelSpec { compartments: vec![spec(t2)], ..ModelSpec::default() }).unwrap()
        };
        let (plain, relaxed) = (build(false), build(true));
        let (mut without, mut with) =
            (Evaluator::new(&lowered(&plain, &a)), Evaluator::new(&lowered(&relaxed, &a)));
        // Twice: what the first left must not matter.
        for t2 in [70.0, 130.0] {
            let mut x = draw(&plain, &mut uniform);
            let s = without.predict(&x);
            let t1 = 10.0 * t2;
            x.splice(x.len() - 1..x.len() - 1, [t2, t1]);
            let r = with.predict(&x);
            for i in 0..a.len() {
                let recovery = 1.0 - (-a.tr_ms().unwrap()[i] / t1).exp();
                let factor = (-a.te_ms().unwrap()[i] / t2).exp() * recovery;
                assert!(
                    (r[i] - s[i] * factor).abs() < 1e-14,
                    "{} {i}: {} {}",
                    kind.kind(),
                    r[i],
                    s[i]
                );
            }
        }
    }
}

#[test]
fn means_are_those_of_the_signals() {
    // Over many directions the mean of the signals is the spherical mean.
    let n = 20_000;
    let golden = std::f64::consts::PI * (3.0 - 5.0_f64.sqrt());
    let directions: Vec<[f64; 3]> = (0..n)
        .map(|i| {
            let z = 1.0 - (f64::from(i) + 0.5) / f64::from(n);
            let (s, c) = (golden * f64::from(i)).sin_cos();
            let r = (1.0 - z * z).sqrt();
            [r * c, r * s, z]
        })
        .collect();
    let count = directions.len();
    let timing = PulseTiming { delta_ms: vec![10.0; count], big_delta_ms: vec![30.0; count] };
    let a =
        Acquisition::from_b(&vec![2.0; count], &directions, Some(timing), Some(vec![60.0; count]))
            .unwrap();
    for kind in register() {
        let text = format!("[[compartment]]\nkind = \"{}\"\n", kind.kind());
        let (full, mean) = (model(&text), model(&format!("spherical_mean = true\n{text}")));
        let mut uniform = Uniform(9);
        let x = draw(&full, &mut uniform);
        let mut evaluator = Evaluator::new(&lowered(&full, &a));
        let average = evaluator.predict(&x).iter().sum::<f64>() / f64::from(n);
        let of_directions = evaluator.spherical_means(&x);
        assert_eq!(of_directions.len(), 1);
        assert!(
            (average - of_directions[0]).abs() < 1e-4,
            "{}: {average} {}",
            kind.kind(),
            of_directions[0]
        );
        // The model of means has the same parameters but the axis and angles.
        let kept: Vec<f64> = mean
            .value_names()
            .iter()
            .map(|name| x[full.value_names().iter().position(|n| n == name).unwrap()])
            .collect();
        let s = Evaluator::new(&lowered(&mean, &a)).predict(&kept)[0];
        assert!((s - of_directions[0]).abs() < 1e-14, "{}: {s}", kind.kind());
    }
}

/// The mean of a tensor's signal under planar, spherical and other encoding, against
/// the average over many directions.
#[test]
fn mean_of_a_tensor_is_that_of_the_encoding() {
    let table = "[[compartment]]\nkind = \"tensor\"\n";
    let full = model(table);
    let mean = model(&format!("spherical_mean = true\n{table}"));
    let directions = microtome_models::half_sphere(4000);
    let n = directions.len();
    let l = [1.9, 0.8, 0.3];
    for b_delta in [-0.5, -0.2, 0.0, 0.6] {
        let a =
            Acquisition::from_b_tensor(&vec![2.0; n], &directions, &vec![b_delta; n], None, None)
                .unwrap();
        let x: Vec<f64> = full
            .value_names()
            .iter()
            .map(|name| match *name {
                "tensor.mu_x" => 0.6,
                "tensor.mu_z" => 0.8,
                "tensor.mu_y" => 0.0,
                "tensor.lambda_1" => l[0],
                "tensor.lambda_2" => l[1],
                "tensor.lambda_3" => l[2],
                _ => 1.0,
            })
            .collect();
        let lowered = lowered(&full, &a);
        let average = Evaluator::new(&lowered).predict(&x).iter().sum::<f64>() / n as f64;
        let single = Acquisition::from_b_tensor(&[2.0], &[[0.0, 0.0, 1.0]], &[b_delta], None, None);
        let lowered = self::lowered(&mean, &single.unwrap());
        let mut evaluator = Evaluator::new(&lowered);
        let kept = [l[0], l[1], l[2], 1.0];
        let s = evaluator.predict(&kept)[0];
        assert!((s - average).abs() < 1e-5, "{b_delta}: {s}, average {average}");
        let (_, jacobian) = evaluator.signal_and_jacobian(&kept);
        let jacobian = jacobian.to_vec();
        let (slots, slot) = (jacobian.len() / 4, lowered.plan.slot_of()[0]);
        for k in 0..3 {
            let mut at = |d: f64| {
                let mut x = kept;
                x[k] += d;
                evaluator.predict(&x)[0]
            };
            let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
            let ours = jacobian[k * slots + slot];
            assert!((ours - difference).abs() < 1e-8, "{b_delta} {k}: {ours} {difference}");
        }
    }
    // Without an axis of symmetry there is no such mean.
    let odd = Acquisition::from_whole_b_tensors(&[[1.0, 0.6, 0.2, 0.0, 0.0, 0.0]], None).unwrap();
    assert!(mean.check(&odd).unwrap_err().to_string().contains("axis of symmetry"));
}

/// The ends of the domains: signals are numbers from 0 to 1 and slopes are finite.
#[test]
fn extreme_parameters_have_signals() {
    let g: Vec<[f64; 3]> = microtome_models::half_sphere(9);
    let b = [0.0, 1e-12, 0.03, 0.06, 1.0, 3.0, 60.0, 200.0, 200.0];
    let timing = PulseTiming {
        delta_ms: vec![1.0, 1.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 40.0],
        big_delta_ms: vec![1.0, 1.0, 10.0, 30.0, 30.0, 30.0, 30.0, 30.0, 80.0],
    };
    let all = Acquisition::from_b(&b, &g, Some(timing), Some(vec![50.0; 9])).unwrap();
    let all = all.with_repetition_times(vec![1000.0; 9]).unwrap();
    let one = all.subset(&[5]);
    let mut texts: Vec<String> = Vec::new();
    for kind in register() {
        let plain = format!("[[compartment]]\nkind = \"{}\"\n", kind.kind());
        for modifier in [
            "",
            "oriented = true\n",
            "size_distribution = \"gamma\"\n",
            "t2 = true\nt1 = true\n",
            "dispersion = \"watson\"\n",
            "dispersion = \"bingham\"\n",
            "size_distribution = \"gamma\"\nt2 = true\ndispersion = \"watson\"\n",
        ] {
            for head in ["", "spherical_mean = true\n"] {
                let text = format!("{head}{plain}{modifier}");
                // 64 sizes of an exact pore of 200 um at b = 200 take seconds.
                let slow = text.contains("exact") && text.contains("gamma");
                if !slow && ModelSpec::from_toml(&text).is_ok() {
                    texts.push(text);
                }
            }
        }
    }
    assert!(texts.len() > 100, "{}", texts.len());
    let mut faults: Vec<String> = Vec::new();
    for text in &texts {
        let model = model(text);
        for a in [&all, &one] {
            let lowered = lowered(&model, a);
            let mut evaluator = Evaluator::new(&lowered);
            for corner in 0..6 {
                let x: Vec<f64> = model
                    .value_names()
                    .iter()
                    .map(|name| {
                        let short = name.rsplit_once('.').map_or(*name, |(_, short)| short);
                        let small = corner % 2 == 0;
                        let [low, high] = match short {
                            "mu_x" => return 0.6,
                            "mu_y" => return 0.0,
                            "mu_z" => return 0.8,
                            "s0" | "psi" => return 1.0,
                            _ if short.ends_with("diameter")
                                || short.ends_with("length")
                                || short.ends_with("separation") =>
                            {
                                [1e-300, 30.0]
                            }
                            "odi" if text.contains("bingham") => [0.001, 1.0],
                            "odi" => [1e-300, 1.0],
                            _ if short.ends_with("fraction") => [0.0, 1.0],
                            "alpha" => [1e-3, 40.0],
                            "beta" => [1e-300, 2.0],
                            _ if short.ends_with("_ms") => [1e-300, 1e300],
                            "a" => [0.0, 10.0],
                            _ => [0.0, 4.0],
                        };
                        // Sizes and the rest at opposite ends, too.
                        let size = short.ends_with("diameter") || short == "odi" || short == "beta";
                        let small = if corner >= 2 && size { !small } else { small };
                        let small =
                            if corner >= 4 && short.ends_with("_ms") { !small } else { small };
                        if small { low } else { high }
                    })
                    .collect();
                let (signal, jacobian) = evaluator.signal_and_jacobian(&x);
                let signal = signal.to_vec();
                // A series ends at 96 terms, which leave 1e-7 at b = 200 and 4 um2/ms.
                let outside = signal.iter().find(|s| !(-1e-6..1.0 + 1e-6).contains(*s));
                if outside.is_some() || jacobian.iter().any(|d| d.is_nan()) {
                    faults.push(format!("{text}{corner}: {outside:?} or a slope at {x:?}"));
                }
                assert_eq!(evaluator.signal(&x), signal, "{text} {corner}");
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modifiers_that_do_not_apply_are_refused() {
    for (text, word) in [
        ("kind = \"stick\"\nsize_distribution = \"gamma\"", "diameter"),
        ("kind = \"tensor\"\nt2 = true", "t2"),
        ("kind = \"stick\"\nof = [\"stick\", \"ball\"]", "karger"),
        ("kind = \"karger\"\nof = [\"ball\", \"ball\"]", "axis"),
        ("kind = \"karger\"\nof = [\"ball\", \"blob\"]", "blob"),
    ] {
        let error = ModelSpec::from_toml(&format!("[[compartment]]\n{text}\n")).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    let model = model("[[compartment]]\nkind = \"ball\"\nt2 = true\n");
    let a = Acquisition::from_b(&[0.0, 1.0], &[[1.0, 0.0, 0.0]; 2], None, None).unwrap();
    assert!(model.check(&a).unwrap_err().to_string().contains("echo times"));
    let model =
        self::model("[[compartment]]\nkind = \"stick\"\nt1 = true\ndispersion = \"watson\"\n");
    assert!(model.check(&a).unwrap_err().to_string().contains("repetition times"));
}
