//! Walks against exact signals (`tests/golden/simulation.csv`), free diffusion at any step,
//! equality to the bit.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::simd::SimdLevel;
use microtome_kernels::walk::{
    Medium, NodeWeight, Protocol, Reading, Shape, Start, Walk, walk, walk_at,
};
use microtome_models::substrate::{Sequence, Signals, Simulation, SubstrateSpec, TimeStep};

const GOLDEN: &str = include_str!("../../../tests/golden/simulation.csv");

fn simulate(toml: &str, sequence: &Sequence, scale: f64, walkers: u64, seed: u64) -> Signals {
    let substrate = SubstrateSpec::from_toml(toml).unwrap().build().unwrap();
    let step = scale * TimeStep::automatic(&substrate, sequence).ms;
    Simulation::new(substrate, sequence, Some(step), walkers, seed).unwrap().run(|_| true)
}

/// Two pulses along an axis, sampled every 5 ms or less.
fn pulses(axis: usize, g: f64, delta: f64, big: f64, dt: f64) -> Sequence {
    let times = ((big + delta) / dt).round() as usize;
    let mut samples = vec![0.0; 3 * times];
    for k in 0..times {
        let t = (k as f64 + 0.5) * dt;
        samples[3 * k + axis] = if t < delta {
            g
        } else if t > big {
            -g
        } else {
            0.0
        };
    }
    Sequence::from_waveforms(&samples, times, dt).unwrap()
}

/// Every row at the automatic step and at two and a half times it within 3.5 standard
/// errors; the sum of squares of all scores within 0.1 % to 99.9 % of its chi-square.
#[test]
fn golden_rows() {
    let (mut squares, mut n) = (0.0, 0.0);
    for (i, line) in GOLDEN.lines().skip(1).enumerate() {
        let part: Vec<&str> = line.split(',').collect();
        let number = |k: usize| part[k].parse::<f64>().unwrap();
        let (kind, size, d, rho) = (part[0], number(1), number(2), number(3));
        let (g, delta, big, wanted) = (number(6), number(7), number(8), number(9));
        let shape = match kind {
            "planes" => format!("separation_um = {size:?}\naxis = [0, 1, 0]"),
            "cylinder" => format!("radius_um = {size:?}\naxis = [0, 0, 1]"),
            _ => format!("radius_um = {size:?}"),
        };
        let mut toml = format!(
            "[substrate]\nkind = \"{kind}\"\n{shape}\n[intra]\ndiffusivity_um2_per_ms = {d:?}\n\
             surface_relaxivity_um_per_ms = {rho:?}\n"
        );
        if !part[4].is_empty() {
            toml += &format!(
                "[[membrane]]\nposition_um = {:?}\npermeability_um_per_ms = {:?}\n",
                number(4),
                number(5)
            );
        }
        let sequence = pulses(1, g, delta, big, 5.0);
        for scale in [1.0, 2.5] {
            let found = simulate(&toml, &sequence, scale, 6000, 40 + i as u64);
            assert_eq!((found.escaped, found.stopped), (0, 0));
            let s = found.rows[0].signal;
            let z = (s.real - wanted) / s.se_real;
            assert!(z.abs() < 3.5, "{line}, step x {scale}: {} +- {}", s.real, s.se_real);
            assert!(s.imaginary.abs() <= 4.0 * s.se_imaginary);
            squares += z * z;
            n += 1.0;
        }
    }
    // Quantiles by Wilson & Hilferty 1931.
    let quantile = |z: f64| n * (1.0 - 2.0 / (9.0 * n) + z * f64::sqrt(2.0 / (9.0 * n))).powi(3);
    assert!(squares > quantile(-3.09) && squares < quantile(3.09), "{squares} of {n}");
}

/// exp(-bD) at steps from 1/100 to the whole of the sequence, with edges inside of steps.
#[test]
fn free_signals_are_exact() {
    let free = "[substrate]\nkind = \"free\"\n[intra]\ndiffusivity_um2_per_ms = 1.5\nt2_ms = 80\n";
    let sequence = pulses(0, 0.03, 7.0, 21.0, 0.5);
    let b = (0.267_522_187_44_f64 * 0.03 * 7.0).powi(2) * (21.0 - 7.0 / 3.0);
    let wanted = (-1.5 * b - 28.0 / 80.0).exp();
    for step in [0.28, 1.3, 9.7, 28.0] {
        let substrate = SubstrateSpec::from_toml(free).unwrap().build().unwrap();
        let run = Simulation::new(substrate, &sequence, Some(step), 20_000, 3).unwrap();
        let s = run.run(|_| true).rows[0].signal;
        assert!((s.real - wanted).abs() < 3.5 * s.se_real, "{step}: {} {wanted}", s.real);
        assert!(s.se_real < 0.01);
    }
}

/// Any axis gives the same signal as the frame of the shape.
#[test]
fn axes_turn_the_frame() {
    let gradient = |v: [f64; 3]| {
        let samples: Vec<f64> =
            (0..60).flat_map(|k| v.map(|g| if k < 30 { g } else { -g })).collect();
        Sequence::from_waveforms(&samples, 60, 0.5).unwrap()
    };
    let text = |axis: &str| {
        format!(
            "[substrate]\nkind = \"cylinder\"\nradius_um = 3.0\naxis = {axis}\n[intra]\n\
             diffusivity_um2_per_ms = 2.0\n"
        )
    };
    let along = simulate(&text("[0, 0, 1]"), &gradient([0.0, 0.0, 0.04]), 1.0, 4000, 1);
    let turned = simulate(
        &text("[1, 1, 0]"),
        &gradient([0.028_284_271_247, 0.028_284_271_247, 0.0]),
        1.0,
        4000,
        1,
    );
    let (a, b) = (along.rows[0].signal, turned.rows[0].signal);
    assert!((a.real - b.real).abs() < 1e-9, "{} {}", a.real, b.real);
    let b_value = (0.267_522_187_44_f64 * 0.04 * 15.0).powi(2) * 10.0;
    assert!((a.real - (-2.0 * b_value).exp()).abs() < 3.5 * a.se_real);
}

fn protocol() -> Protocol {
    let steps = 50;
    let weight = |k: usize| f64::from(u8::from(k < 25)) - f64::from(u8::from(k >= 25));
    Protocol {
        steps: vec![0.1; steps],
        nodes: (0..=steps).map(|k| vec![NodeWeight { profile: 0, weight: weight(k) }]).collect(),
        profiles: 1,
        readings: vec![Reading {
            node: steps,
            profiles: 0..1,
            measurements: vec![0],
            amplitudes: vec![[0.1, 0.05, 0.02]],
        }],
        measurements: 1,
    }
}

#[test]
fn threads_levels_and_numbers_of_walkers_change_no_bit() {
    let protocol = protocol();
    let membranes = vec![microtome_kernels::walk::Membrane { position: 0.5, permeability: 0.1 }];
    for shape in [
        Shape::Free,
        Shape::Cylinder { radius: 2.0 },
        Shape::Sphere { radius: 2.0 },
        Shape::Plates { separation: 4.0, membranes },
    ] {
        let relaxivity = if shape == Shape::Free { 0.0 } else { 0.05 };
        let media = [Medium { diffusivity: 2.0, relaxivity, relaxation: 0.0 }];
        let start = Start::Uniform(vec![0]);
        let spec = |walkers| Walk {
            shape: &shape,
            media: &media,
            start: &start,
            protocol: &protocol,
            seed: 9,
            walkers,
        };
        let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let one = pool(1).install(|| walk(&spec(5003), |_| true));
        let three = pool(3).install(|| walk(&spec(5003), |_| true));
        assert_eq!(one, three);
        assert_eq!(one.all_walkers(), 5003);
        let fused: Vec<_> =
            SimdLevel::available().into_iter().filter(|l| l.name() != "scalar").collect();
        for level in fused {
            assert_eq!(walk_at(level, &spec(5003), |_| true), one, "{}", level.name());
        }
        // Paths are those of the walk, whatever the range.
        let all = microtome_kernels::walk::paths(&spec(5003), &[0, 50], 0..5003);
        let some = microtome_kernels::walk::paths(&spec(5003), &[0, 50], 600..1203);
        assert_eq!(all[1200..2406], some);
        assert_eq!(all[0], start.place(&shape, 9, 0));
    }
}

/// A uniform start stays uniform: mean square radius and its spread.
#[test]
fn uniform_stays_uniform() {
    let protocol = protocol();
    for (shape, mean, square) in [
        (Shape::Cylinder { radius: 1.0 }, 0.5, 1.0 / 3.0),
        (Shape::Sphere { radius: 1.0 }, 0.6, 3.0 / 7.0),
    ] {
        let dimensions = if mean == 0.5 { 2 } else { 3 };
        let spec = Walk {
            shape: &shape,
            media: &[Medium { diffusivity: 1.0, relaxivity: 0.0, relaxation: 0.0 }],
            start: &Start::Uniform(vec![0]),
            protocol: &protocol,
            seed: 4,
            walkers: 40_000,
        };
        let ends = microtome_kernels::walk::paths(&spec, &[50], 0..40_000);
        let radii = ends.iter().map(|x| x[..dimensions].iter().map(|v| v * v).sum::<f64>());
        let n = 40_000.0;
        let found = radii.clone().sum::<f64>() / n;
        let error = f64::sqrt((square - mean * mean) / n);
        assert!((found - mean).abs() < 3.5 * error, "{found} {mean} {error}");
        assert!(radii.clone().all(|r| r <= 1.0));
    }
}
