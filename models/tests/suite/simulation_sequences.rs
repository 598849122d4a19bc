//! Walks under ramps, oscillations, stimulated echoes and double diffusion against the exact
//! signals of the same gradients.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_models::substrate::{Sequence, Simulation, SubstrateSpec, exact_signals};

/// Samples of a gradient over a time (ms), T/m.
fn sampled(end: f64, dt: f64, gradient: impl Fn(f64) -> [f64; 3]) -> Sequence {
    let times = (end / dt).round() as usize;
    let samples: Vec<f64> = (0..times).flat_map(|k| gradient((k as f64 + 0.5) * dt)).collect();
    Sequence::from_waveforms(&samples, times, dt).unwrap()
}

/// A pulse of a height with ramps, from 0 to `length`.
fn trapezoid(t: f64, length: f64, ramp: f64) -> f64 {
    (t / ramp).min((length - t) / ramp).clamp(0.0, 1.0)
}

fn pulse(t: f64, from: f64, to: f64) -> f64 {
    f64::from(u8::from(t > from && t < to))
}

fn sequences() -> Vec<(&'static str, Sequence)> {
    let tau = std::f64::consts::TAU;
    vec![
        // 8 ms with ramps of 2 ms, 20 ms apart.
        (
            "ramps",
            sampled(28.0, 0.25, |t| {
                let g = 0.15 * (trapezoid(t, 8.0, 2.0) - trapezoid(t - 20.0, 8.0, 2.0));
                [0.8 * g, 0.6 * g, 0.0]
            }),
        ),
        // Three periods of a cosine in 12 ms on both sides of a refocusing pulse.
        (
            "oscillation",
            sampled(28.0, 0.125, |t| {
                let block = |t: f64| pulse(t, 0.0, 12.0) * (tau * 3.0 * t / 12.0).cos();
                [0.4 * (block(t) - block(t - 16.0)), 0.0, 0.0]
            }),
        ),
        // Short pulses and a long mixing time, along which nothing is encoded.
        (
            "stimulated echo",
            sampled(83.0, 0.5, |t| [0.4 * (pulse(t, 0.0, 3.0) - pulse(t, 80.0, 83.0)), 0.0, 0.0]),
        ),
        // Two pairs at right angles, 6 ms of mixing between them.
        (
            "double diffusion",
            sampled(40.0, 0.5, |t| {
                let pair = |t: f64| pulse(t, 0.0, 4.0) - pulse(t, 12.0, 16.0);
                [0.15 * pair(t), 0.15 * pair(t - 22.0), 0.0]
            }),
        ),
    ]
}

/// Each within 3.5 standard errors; the sum of squares of all scores within 0.1 % to 99.9 %
/// of its chi-square.
#[test]
fn shaped_gradients_have_their_exact_signals() {
    let (mut squares, mut n) = (0.0, 0.0);
    for (s, (name, sequence)) in sequences().into_iter().enumerate() {
        for (k, shape) in [
            "kind = \"planes\"\nseparation_um = 6.0\naxis = [1, 0, 0]\n",
            "kind = \"cylinder\"\nradius_um = 3.0\naxis = [0, 0, 1]\n",
            "kind = \"sphere\"\nradius_um = 4.0\n",
        ]
        .into_iter()
        .enumerate()
        {
            let text = format!(
                "[substrate]\n{shape}[intra]\ndiffusivity_um2_per_ms = 2.0\nt2_ms = 90.0\n"
            );
            let substrate = SubstrateSpec::from_toml(&text).unwrap().build().unwrap();
            let wanted = exact_signals(&substrate, &sequence).unwrap().rows[0].signal;
            let seed = 70 + (3 * s + k) as u64;
            let walk = Simulation::new(substrate, &sequence, None, 10_000, seed).unwrap();
            let found = walk.run(|_| true);
            assert_eq!((found.escaped, found.stopped), (0, 0));
            let found = found.rows[0].signal;
            let z = (found.real - wanted.real) / found.se_real;
            let (real, se) = (found.real, found.se_real);
            assert!(z.abs() < 3.5, "{name} {shape}: {real} +- {se}, {}", wanted.real);
            assert!((found.imaginary - wanted.imaginary).abs() < 3.5 * found.se_imaginary);
            // Something was encoded, and not all is lost.
            let t2 = (-sequence.duration_ms() / 90.0).exp();
            assert!(wanted.real < 0.97 * t2 && wanted.real > 0.02 * t2, "{name}: {}", wanted.real);
            squares += z * z;
            n += 1.0;
        }
    }
    let quantile = |z: f64| n * (1.0 - 2.0 / (9.0 * n) + z * f64::sqrt(2.0 / (9.0 * n))).powi(3);
    assert!(squares > quantile(-3.09) && squares < quantile(3.09), "{squares} of {n}");
}
