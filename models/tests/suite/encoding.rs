//! B-tensors, free waveforms, oscillating gradients and gradient nonlinearity
//! against exp(-B:D), closed forms and differences.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::composed;

use composed::Uniform;
use microtome_models::{
    Acquisition, AcquisitionError, Evaluator, GAMMA_RAD_PER_S_T, GradientNonlinearity, Lowered,
    Model, ModelSpec, Oscillation, OscillationShape, PulseTiming,
};
use std::f64::consts::TAU;
use std::sync::Arc;

const GAMMA: f64 = GAMMA_RAD_PER_S_T * 1e-9;

fn model(text: &str) -> Arc<Model> {
    Arc::new(Model::new(ModelSpec::parse(text).unwrap()).unwrap())
}

fn lowered(text: &str, acquisition: &Acquisition) -> Lowered {
    Lowered::new(model(text), acquisition).unwrap()
}

/// Signals of values given by name; an axis as `mu`.
fn predict(text: &str, acquisition: &Acquisition, mu: [f64; 3], scalars: &[f64]) -> Vec<f64> {
    let lowered = lowered(text, acquisition);
    let mut scalars = scalars.iter();
    let mut x = vec![1.0; lowered.model.values()];
    let names: Vec<String> = lowered.model.value_names().iter().map(|n| n.to_string()).collect();
    for (x, name) in x.iter_mut().zip(&names) {
        *x = match name.rsplit('.').next().unwrap() {
            "mu_x" => mu[0],
            "mu_y" => mu[1],
            "mu_z" => mu[2],
            "s0" | "fraction" => 1.0,
            _ => *scalars.next().unwrap(),
        };
    }
    Evaluator::new(&lowered).predict(&x)
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let n = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    v.map(|c| c / n)
}

/// B:D of full matrices.
fn contract(b: [f64; 6], d: [[f64; 3]; 3]) -> f64 {
    b[0] * d[0][0]
        + b[1] * d[1][1]
        + b[2] * d[2][2]
        + 2.0 * (b[3] * d[0][1] + b[4] * d[0][2] + b[5] * d[1][2])
}

/// b/3 [I + b_delta (3 g gᵀ - I)], element by element.
fn b_tensor(b: f64, g: [f64; 3], b_delta: f64) -> [f64; 6] {
    let at = |i: usize, j: usize| {
        let one = f64::from(u8::from(i == j));
        b / 3.0 * (one + b_delta * (3.0 * g[i] * g[j] - one))
    };
    [at(0, 0), at(1, 1), at(2, 2), at(0, 1), at(0, 2), at(1, 2)]
}

fn zeppelin(mu: [f64; 3], along: f64, across: f64) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            across * f64::from(u8::from(i == j)) + (along - across) * mu[i] * mu[j]
        })
    })
}

/// Shapes from planar to linear at several b, in random directions.
fn mixed(uniform: &mut Uniform) -> (Acquisition, Vec<[f64; 6]>) {
    let (mut b, mut g, mut shape) = (vec![0.0], vec![[0.0; 3]], vec![1.0]);
    for b_delta in [1.0, 0.7, 0.0, -0.25, -0.5] {
        for weighting in [0.5, 1.0, 3.0] {
            for _ in 0..9 {
                b.push(weighting);
                g.push(uniform.direction());
                shape.push(b_delta);
            }
        }
    }
    let tensors = b.iter().zip(&g).zip(&shape).map(|((b, g), s)| b_tensor(*b, *g, *s)).collect();
    (Acquisition::from_b_tensor(&b, &g, &shape, None, None).unwrap(), tensors)
}

#[test]
fn gaussian_compartments_are_exp_of_b_colon_d() {
    let mut uniform = Uniform(7);
    for _ in 0..20 {
        let (acquisition, tensors) = mixed(&mut uniform);
        // The rotation of the tensor is not defined at -x.
        let mut mu = uniform.direction();
        mu[0] = mu[0].abs();
        let (along, across) = (uniform.within(0.5, 3.0), uniform.within(0.1, 3.0));
        let cases = [
            ("stick", vec![along], zeppelin(mu, along, 0.0)),
            ("zeppelin", vec![along, across], zeppelin(mu, along, across)),
            ("ball", vec![across], zeppelin(mu, across, across)),
            ("tensor", vec![0.4, along, across, across], zeppelin(mu, along, across)),
        ];
        for (kind, scalars, d) in cases {
            let ours = predict(kind, &acquisition, mu, &scalars);
            for (s, b) in ours.iter().zip(&tensors) {
                let wanted = (-contract(*b, d)).exp();
                assert!((s - wanted).abs() < 1e-14, "{kind}: {s} {wanted}");
            }
        }
    }
}

#[test]
fn linear_shapes_are_pulses_to_the_bit() {
    let mut uniform = Uniform(3);
    let b: Vec<f64> = (0..40).map(|i| [0.0, 0.7, 1.0, 2.5][i % 4]).collect();
    let g: Vec<[f64; 3]> = b.iter().map(|_| uniform.direction()).collect();
    let pulses = Acquisition::from_b(&b, &g, None, None).unwrap();
    let tensors = Acquisition::from_b_tensor(&b, &g, &[1.0; 40], None, None).unwrap();
    assert_eq!(pulses, tensors);
}

#[test]
fn slopes_are_those_of_differences() {
    let mut uniform = Uniform(11);
    for text in ["stick", "zeppelin", "ball", "tensor", "stick + zeppelin + ball"] {
        let (acquisition, _) = mixed(&mut uniform);
        let lowered = lowered(text, &acquisition);
        let mut evaluator = Evaluator::new(&lowered);
        let x = uniform.values(&lowered.model, 0.2);
        let n = lowered.plan.slots();
        let jacobian = evaluator.signal_and_jacobian(&x).1.to_vec();
        for k in 0..x.len() {
            let mut at = |step: f64| {
                let mut moved = x.clone();
                moved[k] += step;
                evaluator.signal(&moved).to_vec()
            };
            let h = 1e-3;
            let (a, b, c, d) = (at(-2.0 * h), at(-h), at(h), at(2.0 * h));
            for i in 0..n {
                let wanted = (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h);
                let ours = jacobian[k * n + i];
                assert!((ours - wanted).abs() < 1e-8, "{text} {k}: {ours} {wanted}");
            }
        }
        // The reverse pass is the transpose.
        let weight: Vec<f64> =
            lowered.plan.mask().iter().map(|m| m * uniform.within(-1.0, 1.0)).collect();
        let mut gradient = vec![0.0; x.len()];
        evaluator.signal(&x);
        evaluator.pullback(&weight, &mut gradient);
        for (k, g) in gradient.iter().enumerate() {
            let wanted: f64 = (0..n).map(|i| weight[i] * jacobian[k * n + i]).sum();
            assert!((g - wanted).abs() < 1e-12, "{text} {k}: {g} {wanted}");
        }
    }
}

#[test]
fn spherical_encoding_has_no_direction() {
    let g = [[f64::NAN; 3], [0.0; 3], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]];
    let a = Acquisition::from_b_tensor(&[2.0; 4], &g, &[0.0; 4], None, None).unwrap();
    assert_eq!(a.shells().len(), 1);
    let wanted = (-2.0_f64 / 3.0 * (1.7 + 2.0 * 0.3)).exp();
    for mu in [[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]] {
        for s in predict("zeppelin", &a, mu, &[1.7, 0.3]) {
            assert!((s - wanted).abs() < 1e-15);
        }
    }
}

/// The mean over directions is that of Eriksson 2015: exp(-b D_iso-like part) times
/// the integral of exp(-alpha t²).
#[test]
fn the_powder_average_is_the_closed_form() {
    let n = 4000;
    // A spiral of directions; the mean of an even function of z converges as 1/n².
    let g: Vec<[f64; 3]> = (0..n)
        .map(|k| {
            let z = (f64::from(k) + 0.5) / f64::from(n);
            let (r, angle) = ((1.0 - z * z).sqrt(), 2.4 * f64::from(k));
            [r * angle.cos(), r * angle.sin(), z]
        })
        .collect();
    for b_delta in [1.0, 0.5, 0.0, -0.5] {
        let count = g.len();
        let a =
            Acquisition::from_b_tensor(&vec![2.0; count], &g, &vec![b_delta; count], None, None)
                .unwrap();
        let mean = predict("zeppelin", &a, [0.0, 0.0, 1.0], &[2.0, 0.4]).iter().sum::<f64>()
            / count as f64;
        let alpha: f64 = 2.0 * b_delta * (2.0 - 0.4);
        // Simpson.
        let m = 2000;
        let integral: f64 = (0..=m)
            .map(|i| {
                let t = f64::from(i) / f64::from(m);
                let w = if i == 0 || i == m {
                    1.0
                } else if i % 2 == 1 {
                    4.0
                } else {
                    2.0
                };
                w * (-alpha * t * t).exp()
            })
            .sum::<f64>()
            / f64::from(3 * m);
        let wanted = (-2.0 * (0.4 + 1.6 * (1.0 - b_delta) / 3.0)).exp() * integral;
        assert!((mean - wanted).abs() < 1e-7, "{b_delta}: {mean} {wanted}");
    }
}

#[test]
fn whole_tensors_are_taken_apart() {
    let mut uniform = Uniform(5);
    let (b, shape) = ([1.0, 1.0, 2.0, 2.0, 2.0], [1.0, 1.0, -0.5, 0.3, 0.0]);
    let g: Vec<[f64; 3]> = b.iter().map(|_| uniform.direction()).collect();
    let tensors: Vec<[f64; 6]> = (0..5).map(|i| b_tensor(b[i], g[i], shape[i])).collect();
    let whole = Acquisition::from_whole_b_tensors(&tensors, None).unwrap();
    let parts = Acquisition::from_b_tensor(&b, &g, &shape, None, None).unwrap();
    assert_eq!(whole.shells().len(), parts.shells().len());
    assert_eq!(whole.shell_of(), parts.shell_of());
    let mu = uniform.direction();
    for kind in ["stick", "ball"] {
        let (p, q) = (predict(kind, &whole, mu, &[1.7]), predict(kind, &parts, mu, &[1.7]));
        for (p, q) in p.iter().zip(q) {
            assert!((p - q).abs() < 1e-14, "{kind}: {p} {q}");
        }
    }
    // Three different eigenvalues: the ball and the tensor have a signal, the stick none.
    let b = [1.2, 0.6, 0.2, 0.1, -0.05, 0.2];
    let odd = Acquisition::from_whole_b_tensors(&[[0.0; 6], b], None).unwrap();
    assert_eq!(odd.b_delta(1), None);
    let s = predict("ball", &odd, mu, &[0.8])[1];
    assert!((s - (-2.0_f64 * 0.8).exp()).abs() < 1e-15);
    let s = predict("tensor", &odd, mu, &[0.3, 1.9, 0.4, 0.4])[1];
    assert!((s - (-contract(b, zeppelin(mu, 1.9, 0.4))).exp()).abs() < 1e-14);
    let error = Lowered::new(model("stick"), &odd).unwrap_err().to_string();
    assert!(error.contains("`stick`") && error.contains("measurement 1"), "{error}");
}

#[test]
fn faults_are_named() {
    let x = [1.0, 0.0, 0.0];
    let text = |r: Result<Acquisition, AcquisitionError>| r.unwrap_err().to_string();
    let shape = |v: f64| Acquisition::from_b_tensor(&[1.0], &[x], &[v], None, None);
    assert!(text(shape(1.5)).contains("b_delta is 1.5"));
    assert!(text(shape(f64::NAN)).contains("b_delta is NaN"));
    let two = Acquisition::from_b_tensor(&[1.0], &[x], &[1.0, 1.0], None, None);
    assert!(text(two).contains("b_delta: 2 values for 1"));
    let negative = [[1.0, 1.0, -0.5, 0.0, 0.0, 0.0]];
    assert!(text(Acquisition::from_whole_b_tensors(&negative, None)).contains("eigenvalue"));
    let mut g = pair(0.05, x, 10, 30, 40);
    g[3 * 39] = 0.0;
    assert!(text(Acquisition::from_waveforms(&g, 40, 1.0, None)).contains("moment"));
    assert!(text(Acquisition::from_waveforms(&g, 41, 1.0, None)).contains("[measurement, 41, 3]"));
    assert!(text(Acquisition::from_waveforms(&g, 40, 0.0, None)).contains("0 ms apart"));
    g[0] = f64::INFINITY;
    assert!(text(Acquisition::from_waveforms(&g, 40, 1.0, None)).contains("inf"));
}

/// A pair of pulses on a grid of 1 ms.
fn pair(strength: f64, g: [f64; 3], delta: usize, separation: usize, times: usize) -> Vec<f64> {
    let mut out = vec![0.0; 3 * times];
    for k in 0..delta {
        for i in 0..3 {
            out[3 * k + i] = strength * g[i];
            out[3 * (k + separation) + i] = -strength * g[i];
        }
    }
    out
}

#[test]
fn a_pair_of_pulses_as_a_waveform() {
    let mut uniform = Uniform(23);
    let (mut gradient, mut b, mut g) = (vec![0.0; 3 * 40], vec![0.0], vec![[0.0; 3]]);
    for i in 0..40 {
        let (strength, direction) = ([0.03, 0.06][i % 2], uniform.direction());
        gradient.extend(pair(strength, direction, 9, 25, 40));
        b.push((GAMMA * strength * 9.0).powi(2) * 22.0);
        g.push(direction);
    }
    let waves = Acquisition::from_waveforms(&gradient, 40, 1.0, None).unwrap();
    let pulses = Acquisition::from_b(&b, &g, None, None).unwrap();
    assert_eq!(waves.waveforms().len(), 1);
    assert_eq!(waves.shells().len(), 3);
    assert_eq!(waves.shell_of(), pulses.shell_of());
    assert!(waves.is_linear());
    for (a, b) in waves.b_ms_per_um2().iter().zip(pulses.b_ms_per_um2()) {
        assert!((a - b).abs() <= 1e-6 * b, "{a} {b}");
    }
    let mu = uniform.direction();
    let p = predict("stick", &waves, mu, &[1.7]);
    for (p, q) in p.iter().zip(predict("stick", &pulses, mu, &[1.7])) {
        assert!((p - q).abs() < 1e-13, "{p} {q}");
    }
}

/// Three pairs of pulses one after another, along x, y and z.
fn triple(strength: f64, rotation: [[f64; 3]; 3]) -> Vec<f64> {
    rotation.iter().flat_map(|axis| pair(strength, *axis, 5, 12, 20)).collect()
}

#[test]
fn spherical_and_planar_waveforms() {
    let mut uniform = Uniform(29);
    let x = uniform.direction();
    let y = unit({
        let v = uniform.direction();
        let along: f64 = (0..3).map(|i| v[i] * x[i]).sum();
        std::array::from_fn(|i| v[i] - along * x[i])
    });
    let z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
    let one = (GAMMA * 0.07 * 5.0).powi(2) * (12.0 - 5.0 / 3.0);
    let sphere = Acquisition::from_waveforms(&triple(0.07, [x, y, z]), 60, 1.0, None).unwrap();
    assert!((sphere.b_ms_per_um2()[0] / (3.0 * one) - 1.0).abs() < 1e-13);
    assert_eq!(sphere.b_delta(0), Some(0.0));
    // The pairs follow each other, so restricted diffusion tells x from y.
    assert!(!sphere.waveforms()[0].is_symmetric());
    let plane = triple(0.07, [x, y, [0.0; 3]]);
    let plane = Acquisition::from_waveforms(&plane, 60, 1.0, None).unwrap();
    assert_eq!(plane.b_delta(0), Some(-0.5));
    let normal: f64 = (0..3).map(|i| plane.directions()[0][i] * z[i]).sum();
    assert!((normal.abs() - 1.0).abs() < 1e-12);
    let turned = [x, [-y[0], -y[1], -y[2]], [-z[0], -z[1], -z[2]]];
    let both = [triple(0.07, [x, y, z]), triple(0.05, turned)].concat();
    let both = Acquisition::from_waveforms(&both, 60, 1.0, None).unwrap();
    assert_eq!(both.waveforms().len(), 1, "a turned waveform is the same shape");
}

#[test]
fn reading_checks_again() {
    let mut uniform = Uniform(31);
    let (mixed, _) = mixed(&mut uniform);
    let timing = PulseTiming { delta_ms: vec![9.0; 3], big_delta_ms: vec![25.0; 3] };
    let b = [0.0, 1.0, 2.0];
    let g: Vec<[f64; 3]> = b.iter().map(|_| uniform.direction()).collect();
    let pulses = Acquisition::from_b(&b, &g, Some(timing), Some(vec![70.0; 3]))
        .unwrap()
        .with_repetition_times(vec![5000.0, 5000.0, 2000.0])
        .unwrap();
    let waves =
        [vec![0.0; 180], triple(0.07, [g[0], g[1], g[2]]), triple(0.05, [g[0]; 3])].concat();
    let waves = Acquisition::from_waveforms(&waves, 60, 1.0, None).unwrap();
    for acquisition in [&mixed, &pulses, &waves] {
        let text = toml::to_string(acquisition).unwrap();
        assert_eq!(&toml::from_str::<Acquisition>(&text).unwrap(), acquisition);
    }
    let text = toml::to_string(&pulses).unwrap();
    for (from, to, word) in [
        ("b = [0.0, 1.0, 2.0]", "b = [0.0, 1.0]", "3 values for 2"),
        ("b = [0.0, 1.0, 2.0]", "b = [0.0, -1.0, 2.0]", "-1"),
        ("delta_ms = [9.0, 9.0, 9.0]", "delta_ms = [9.0, 99.0, 9.0]", "delta <= Delta"),
        ("te_ms", "te", "te"),
    ] {
        assert!(text.contains(from), "{text}");
        let error = toml::from_str::<Acquisition>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(pulses.shells()[1].tr_ms, Some(5000.0));
    // What follows from a whole tensor must agree with what stands beside it.
    let z =
        Acquisition::from_whole_b_tensors(&[b_tensor(2.0, [0.0, 0.0, 1.0], 0.5)], None).unwrap();
    let text = toml::to_string(&z).unwrap();
    for (from, to, word) in [
        ("b_delta = [0.5]", "b_delta = [0.4]", "b_delta"),
        ("b = [2.0]", "b = [2.1]", "the trace"),
        ("directions = [[0.0, 0.0, 1.0]]", "directions = [[0.0, 1.0, 0.0]]", "the axis"),
    ] {
        assert!(text.contains(from), "{text}");
        let error = toml::from_str::<Acquisition>(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let text = toml::to_string(&waves).unwrap();
    let swapped = text.replacen("waveform_of = [0, 1, 2]", "waveform_of = [0, 2, 1]", 1);
    assert!(swapped != text, "{text}");
    let error = toml::from_str::<Acquisition>(&swapped).unwrap_err().to_string();
    assert!(error.contains("waveform"), "{error}");
}

#[test]
fn nonlinearity_is_a_change_of_gradients() {
    let mut uniform = Uniform(37);
    let columns: [f64; 9] = std::array::from_fn(|_| uniform.within(-0.06, 0.06));
    let l = GradientNonlinearity::from_fsl(&columns).unwrap();
    let (acquisition, tensors) = mixed(&mut uniform);
    let seen = l.apply(&acquisition);
    // A B Aᵀ with A = I + L, L column by column.
    let a = |i: usize, j: usize| columns[i + 3 * j] + f64::from(u8::from(i == j));
    for (i, b) in tensors.iter().enumerate() {
        let b = [[b[0], b[3], b[4]], [b[3], b[1], b[5]], [b[4], b[5], b[2]]];
        let at = |i: usize, j: usize| -> f64 {
            (0..9).map(|k| a(i, k / 3) * b[k / 3][k % 3] * a(j, k % 3)).sum()
        };
        let wanted = [at(0, 0), at(1, 1), at(2, 2), at(0, 1), at(0, 2), at(1, 2)];
        for (p, q) in seen.b_tensor(i).iter().zip(wanted) {
            assert!((p - q).abs() < 1e-14, "{i}: {p} {q}");
        }
    }
    assert!(model("tensor + ball").check_nonlinearity(&acquisition).is_ok());
    let error = model("zeppelin").check_nonlinearity(&acquisition).unwrap_err().to_string();
    assert!(error.contains("zeppelin") && error.contains("--grad-dev"), "{error}");
    // Linear encoding: the gradient itself changes.
    let g = uniform.direction();
    let timing = PulseTiming { delta_ms: vec![10.0], big_delta_ms: vec![30.0] };
    let one = Acquisition::from_b(&[2.0], &[g], Some(timing), None).unwrap();
    let moved: [f64; 3] = std::array::from_fn(|i| (0..3).map(|j| a(i, j) * g[j]).sum());
    let square: f64 = moved.iter().map(|v| v * v).sum();
    let seen = l.apply(&one);
    assert!((seen.b_ms_per_um2()[0] - 2.0 * square).abs() < 1e-15);
    for (p, q) in seen.directions()[0].iter().zip(unit(moved)) {
        assert!((p - q).abs() < 1e-15);
    }
    assert_eq!(seen.timing(), one.timing());
    assert_eq!(GradientNonlinearity::from_fsl(&[0.0; 9]).unwrap().apply(&one), one);
    let inverse = [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert!(GradientNonlinearity::from_fsl(&inverse).is_none());
    assert!(GradientNonlinearity::from_fsl(&[f64::NAN; 9]).is_none());
}

#[test]
fn oscillating_gradients_have_their_b() {
    let g = unit([0.3, -0.5, 0.8]);
    for (shape, frequency_per_ms, periods) in [
        (OscillationShape::Cosine, 0.05, 1),
        (OscillationShape::Cosine, 0.15, 3),
        (OscillationShape::Sine, 0.1, 2),
    ] {
        let o = Oscillation { shape, frequency_per_ms, periods, gap_ms: 7.3 };
        let amplitude = o.amplitude_t_per_m(0.4);
        let mut last = f64::INFINITY;
        for dt in [0.1, 0.02] {
            let w = o.waveform(amplitude, g, dt).unwrap();
            let a = Acquisition::from_waveforms(&w, w.len() / 3, dt, None).unwrap();
            let off = (a.b_ms_per_um2()[0] / 0.4 - 1.0).abs();
            // q is interpolated: b is short by (omega dt)²/6 at most (Parseval of the chords).
            let x = TAU * frequency_per_ms * dt;
            assert!(off < x * x / 5.0 && off < last, "{shape:?} {dt}: {off}");
            last = off;
            assert_eq!(a.b_delta(0), Some(1.0));
            let s = predict("ball", &a, g, &[2.0])[0];
            assert!((s - (-0.8_f64).exp()).abs() < x * x / 5.0);
        }
    }
    let o = Oscillation {
        shape: OscillationShape::Cosine,
        frequency_per_ms: 0.1,
        periods: 0,
        gap_ms: 1.0,
    };
    assert!(o.waveform(0.1, g, 0.1).unwrap_err().to_string().contains("0 periods"));
}

/// The double integral over a cosine train and its refocused copy in closed form
/// (Xu, Does & Gore 2009, eq. A1 written for one mode).
#[test]
fn oscillating_gradients_have_their_correlation() {
    let o = Oscillation {
        shape: OscillationShape::Cosine,
        frequency_per_ms: 0.08,
        periods: 2,
        gap_ms: 6.0,
    };
    let dt = 0.01;
    let amplitude = o.amplitude_t_per_m(1.0);
    let w = o.waveform(amplitude, [0.0, 1.0, 0.0], dt).unwrap();
    let a = Acquisition::from_waveforms(&w, w.len() / 3, dt, None).unwrap();
    let omega = TAU * 0.08;
    let sigma = o.train_ms();
    for rate in [0.01, 0.1, 0.5, 2.0] {
        let m = a.waveforms()[0].correlation(rate);
        let square = rate * rate + omega * omega;
        let down = rate * -(-rate * sigma).exp_m1() / square;
        let up = rate * (rate * sigma).exp_m1() / square;
        let train = 2.0 * rate * (0.5 * sigma - down) / square;
        let both = 2.0 * train - 2.0 * (-rate * (sigma + 6.0)).exp() * down * up;
        let wanted = (GAMMA * amplitude).powi(2) * both;
        let off = (m.along[0] / wanted - 1.0).abs();
        // Steps for a cosine: a relative error of (omega dt)²/12 and (rate dt)²/12.
        let limit = ((omega * dt).powi(2) + (rate * dt).powi(2)) / 6.0;
        assert!(off < limit, "{rate}: {} {wanted} {off} {limit}", m.along[0]);
        assert_eq!(m.across, [0.0; 2]);
    }
}
