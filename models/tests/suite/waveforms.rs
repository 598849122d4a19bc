//! Restricted diffusion under free waveforms: against pairs of pulses, the double
//! sum of `tests/golden/make_waveforms.py`, and differences.

#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_models::{
    Acquisition, Coefficients, Evaluator, GAMMA_RAD_PER_S_T, Lowered, Model, ModelSpec,
    Oscillation, OscillationShape, PulseTiming, by_kind,
};
use std::f64::consts::TAU;
use std::sync::Arc;

const GAMMA: f64 = GAMMA_RAD_PER_S_T * 1e-9;
const Z: [f64; 3] = [0.0, 0.0, 1.0];

/// A model of one compartment with its intrinsic diffusivity (the last scalar)
/// fixed, and its values: the axis, the other scalars, and 1 for s0 and the fraction.
fn values(kind: &str, mu: [f64; 3], scalars: &[f64]) -> (Arc<Model>, Vec<f64>) {
    let name = by_kind(kind).unwrap().parameters()[scalars.len() - 1].name;
    let last = scalars[scalars.len() - 1];
    let text = format!(
        "[[compartment]]\nkind = \"{kind}\"\n[link]\n\"{kind}.{name}\" = {{ fixed = {last:?} }}\n"
    );
    let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
    let mut scalars = scalars.iter();
    let x = model
        .value_names()
        .iter()
        .map(|name| match name.rsplit('.').next().unwrap() {
            "mu_x" => mu[0],
            "mu_y" => mu[1],
            "mu_z" => mu[2],
            "s0" | "fraction" => 1.0,
            _ => *scalars.next().unwrap(),
        })
        .collect();
    (Arc::new(model), x)
}

fn predict(kind: &str, acquisition: &Acquisition, mu: [f64; 3], scalars: &[f64]) -> Vec<f64> {
    let (model, x) = values(kind, mu, scalars);
    Evaluator::new(&Lowered::new(model, acquisition).unwrap()).predict(&x)
}

/// Samples of one component; `g` the direction.
fn along(samples: &[f64], g: [f64; 3]) -> Vec<f64> {
    samples.iter().flat_map(|s| g.map(|c| s * c)).collect()
}

fn pair(strength: f64, delta: usize, separation: usize, times: usize) -> Vec<f64> {
    let mut out = vec![0.0; times];
    out[..delta].fill(strength);
    out[separation..separation + delta].fill(-strength);
    out
}

fn train(strength: f64, frequency: f64) -> Vec<f64> {
    let first: Vec<f64> =
        (0..40).map(|k| strength * (TAU * frequency * (f64::from(k) + 0.5)).cos()).collect();
    let second = first.iter().map(|g| -g);
    first.iter().copied().chain([0.0; 10]).chain(second).collect()
}

#[test]
fn a_waveform_of_pulses_is_pulses() {
    let g = [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.36, 0.48, 0.8]];
    let mu = [0.48, -0.6, 0.64];
    let (strength, delta, separation) = (0.12, 12, 43);
    let mut gradient = Vec::new();
    for g in g {
        gradient.extend(along(&pair(strength, delta, separation, 60), g));
    }
    let waves = Acquisition::from_waveforms(&gradient, 60, 0.5, None).unwrap();
    let timing = PulseTiming { delta_ms: vec![6.0; 3], big_delta_ms: vec![21.5; 3] };
    let pulses = Acquisition::from_gradient_strength(&[strength; 3], &g, timing, None).unwrap();
    for diameter in [0.5, 2.0, 6.0, 12.0, 25.0] {
        for diffusivity in [0.3, 1.7, 3.0] {
            let cases = [
                ("sphere_gpd", vec![diameter, diffusivity]),
                ("cylinder_gpd", vec![1.3, diameter, diffusivity]),
            ];
            for (kind, scalars) in cases {
                let ours = predict(kind, &waves, mu, &scalars);
                for (a, b) in ours.iter().zip(predict(kind, &pulses, mu, &scalars)) {
                    let off = (a.ln() / b.ln() - 1.0).abs();
                    assert!(off < 2e-11, "{kind} {diameter} {diffusivity}: {a} {b} {off}");
                }
            }
        }
    }
}

#[test]
fn gpd_of_oscillating_gradients_equals_table() {
    let text = include_str!("../../../tests/golden/waveform_gpd.csv");
    let x = [1.0, 0.0, 0.0];
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells[i].parse::<f64>().unwrap();
        let (gradient, dt) = match cells[1] {
            "cosine" => (along(&train(0.06, 0.05), x), 1.0),
            "pulses" => (along(&pair(0.12, 6, 20, 30), x), 0.7),
            _ => {
                let parts = [train(0.03, 0.05), train(0.05, 0.1), pair(0.04, 9, 60, 90)];
                ((0..90).flat_map(|k| [parts[0][k], parts[1][k], parts[2][k]]).collect(), 1.0)
            }
        };
        let times = gradient.len() / 3;
        let acquisition = Acquisition::from_waveforms(&gradient, times, dt, None).unwrap();
        let (diameter, diffusivity, wanted) = (number(2), number(3), number(4));
        let s = match cells[0] {
            "sphere_gpd" => predict("sphere_gpd", &acquisition, Z, &[diameter, diffusivity]),
            // The gradient is across the axis, so lambda_par has no say.
            _ => predict("cylinder_gpd", &acquisition, Z, &[2.0, diameter, diffusivity]),
        };
        let off = (-s[0].ln() / wanted - 1.0).abs();
        // The logarithm of a signal near 1 has lost digits.
        assert!(off < 1e-10 + 2e-16 / wanted, "{line}: {} {off}", -s[0].ln());
        rows += 1;
    }
    assert_eq!(rows, 20);
}

/// Trains along x, then after a rest along y, on a grid of 0.5 ms.
fn planar(strength: f64) -> Vec<f64> {
    let o = Oscillation {
        shape: OscillationShape::Cosine,
        frequency_per_ms: 0.1,
        periods: 5,
        gap_ms: 10.0,
    };
    let mut out = o.waveform(strength, [1.0, 0.0, 0.0], 0.5).unwrap();
    out.extend([0.0; 3 * 60]);
    out.extend(o.waveform(strength, [0.0, 1.0, 0.0], 0.5).unwrap());
    out
}

#[test]
fn planar_waveforms_across_cylinders() {
    let gradient = planar(0.15);
    let both = Acquisition::from_waveforms(&gradient, gradient.len() / 3, 0.5, None).unwrap();
    assert_eq!(both.b_delta(0), Some(-0.5));
    assert!(both.waveforms()[0].is_symmetric());
    let half = &gradient[..(gradient.len() - 180) / 2];
    let one = Acquisition::from_waveforms(half, half.len() / 3, 0.5, None).unwrap();
    let scalars = [1.1, 4.0, 1.7];
    // Along z both trains are across the cylinder: twice the exponent of one.
    let single = predict("cylinder_gpd", &one, Z, &scalars)[0];
    let double = predict("cylinder_gpd", &both, Z, &scalars)[0];
    // The trains see each other by less than the asymmetry that is allowed.
    assert!((double.ln() / (2.0 * single.ln()) - 1.0).abs() < 1e-3, "{double} {single}");
    // Along x one train diffuses freely.
    let free = (-one.b_ms_per_um2()[0] * 1.1).exp();
    let mixed = predict("cylinder_gpd", &both, [1.0, 0.0, 0.0], &scalars)[0];
    assert!((mixed.ln() / (free * single).ln() - 1.0).abs() < 1e-3, "{mixed} {free} {single}");
}

#[test]
fn waveform_slopes_equal_differences() {
    let mut gradient = planar(0.15);
    let times = gradient.len() / 3;
    gradient.extend(planar(0.08));
    let mut cosine = along(&train(0.05, 0.05), [0.6, 0.0, 0.8]);
    cosine.resize(3 * times, 0.0);
    gradient.extend(cosine);
    gradient.resize(3 * times * 4, 0.0);
    let acquisition = Acquisition::from_waveforms(&gradient, times, 0.5, None).unwrap();
    assert_eq!(acquisition.waveforms().len(), 2);
    let shells = acquisition.shells();
    for (kind, scalars) in [
        ("sphere_gpd", vec![7.0, 1.4]),
        ("sphere_gpd", vec![300.0, 0.2]),
        ("cylinder_gpd", vec![1.2, 5.0, 1.7]),
        ("cylinder_gpd", vec![1.2, 0.8, 2.9]),
    ] {
        let kind = by_kind(kind).unwrap();
        let lower = |scalars: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let mut out = kind.coefficients(shells);
            kind.lower(shells, scalars, Z, &mut out);
            match out {
                Coefficients::Isotropic { value, d_value } => (value, d_value),
                Coefficients::Quadratic { a, c, d_a, d_c } => (
                    [a, c].concat(),
                    d_a.chunks(shells.len())
                        .zip(d_c.chunks(shells.len()))
                        .flat_map(|(a, c)| [a, c].concat())
                        .collect(),
                ),
                other => panic!("{other:?}"),
            }
        };
        let (value, slopes) = lower(&scalars);
        for k in 0..scalars.len() {
            let h = 1e-3 * scalars[k];
            let at = |steps: f64| {
                let mut moved = scalars.clone();
                moved[k] += steps * h;
                lower(&moved).0
            };
            let (a, b, c, d) = (at(-2.0), at(-1.0), at(1.0), at(2.0));
            for i in 0..value.len() {
                let wanted = (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h);
                let ours = slopes[k * value.len() + i];
                let limit = 1e-9 * wanted.abs() + 1e-14 * value[i].abs().max(1e-3) / h;
                assert!((ours - wanted).abs() <= limit, "{kind:?} {k} {i}: {ours} {wanted}");
            }
        }
    }
}

#[test]
fn what_has_no_signal_is_refused() {
    let text = |kind: &str, a: &Acquisition| {
        let model = Arc::new(Model::new(ModelSpec::parse(kind).unwrap()).unwrap());
        Lowered::new(model, a).map(|_| ()).map_err(|e| e.to_string())
    };
    let gradient = planar(0.15);
    let linear = &gradient[..(gradient.len() - 180) / 2];
    let linear = Acquisition::from_waveforms(linear, linear.len() / 3, 0.5, None).unwrap();
    let x = [1.0, 0.0, 0.0];
    let planar = Acquisition::from_b_tensor(&[2.0], &[x], &[-0.5], None, None).unwrap();
    for kind in ["sphere_callaghan", "cylinder_sgp", "temporal_zeppelin"] {
        let error = text(kind, &linear).unwrap_err();
        assert!(error.contains(kind) && error.contains("free waveforms"), "{error}");
    }
    for kind in ["cylinder_gpd", "sphere_gpd"] {
        assert_eq!(text(kind, &linear), Ok(()));
        let error = text(kind, &planar).unwrap_err();
        assert!(error.contains("--waveform") && error.contains("-0.5"), "{error}");
    }
    // Pulses along x, then y: the spectra have the symmetry, but the two see each other.
    let mut follow = along(&pair(0.1, 10, 20, 30), x);
    follow.extend(along(&pair(0.1, 10, 20, 30), [0.0, 1.0, 0.0]));
    let follow = Acquisition::from_waveforms(&follow, 60, 1.0, None).unwrap();
    assert_eq!(text("sphere_gpd", &follow), Ok(()));
    assert!(text("cylinder_gpd", &follow).unwrap_err().contains("spectra"));
    assert_eq!(text("stick + ball", &follow), Ok(()));
    let b = (GAMMA * 0.1 * 10.0).powi(2) * (20.0 - 10.0 / 3.0);
    assert!((follow.b_ms_per_um2()[0] / (2.0 * b) - 1.0).abs() < 1e-13);
}
