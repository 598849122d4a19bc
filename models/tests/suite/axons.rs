//! Walks in tubes that swell and wind: uniform densities, diffusion at long times against
//! Ritz's method (`tests/golden/axons.csv`), and the straight tube.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_models::substrate::{Sequence, Simulation, SubstrateSpec, exact_signals};

const GOLDEN: &str = include_str!("../../../tests/golden/axons.csv");

fn tube(numbers: [f64; 5]) -> String {
    let [radius, beading, bead, wave, period] = numbers;
    let mut text = format!("[substrate]\nkind = \"axon\"\nradius_um = {radius:?}\n");
    if beading > 0.0 {
        text += &format!("beading = {beading:?}\nbeading_period_um = {bead:?}\n");
    }
    if wave > 0.0 {
        text += &format!("undulation_um = {wave:?}\nundulation_period_um = {period:?}\n");
    }
    text + "[intra]\ndiffusivity_um2_per_ms = 2.0\n"
}

fn build(text: &str) -> microtome_models::substrate::Substrate {
    SubstrateSpec::from_toml(text).unwrap().build().unwrap()
}

fn rows() -> Vec<[f64; 6]> {
    let row = |line: &str| {
        let part: Vec<f64> = line.split(',').map(|v| v.parse().unwrap()).collect();
        [0, 1, 2, 3, 4, 5].map(|k: usize| part[k])
    };
    GOLDEN.lines().skip(1).map(row).collect()
}

/// Displacements along the axis between 4 and 12 ms; where walkers are at the end.
#[test]
fn diffusion_at_long_times_and_uniform_densities() {
    for (i, [radius, beading, bead, wave, period, ratio]) in rows().into_iter().enumerate() {
        let text = tube([radius, beading, bead, wave, period]);
        let neck = radius * (1.0 - beading);
        // Steps of 0.2 of the necks.
        let step = (0.2 * neck).powi(2) / 4.0;
        let sequence = Sequence::from_waveforms(&[0.0; 9], 3, 4.0).unwrap();
        let walkers = 5000;
        let walk = Simulation::new(build(&text), &sequence, Some(step), walkers, 5).unwrap();
        let third = walk.steps() / 3;
        let nodes = [0, third, walk.steps()];
        let times = walk.times();
        let time = times[nodes[2]] - times[nodes[1]];
        let paths = walk.paths(&nodes, 0..walkers);
        let n = walkers as f64;
        let mean = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / n;
            let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
            (mean, square.sqrt() / n)
        };
        // Of stationary walkers, x(t) - x(0) has variance 2 D t + const.
        let moved = |p: &[[f64; 3]]| {
            let (a, b) = (p[1][2] - p[0][2], p[2][2] - p[0][2]);
            (b * b - a * a) / (2.0 * time) / 2.0
        };
        let found: Vec<f64> = paths.chunks(3).map(moved).collect();
        let (value, error) = mean(&found);
        assert!((value - ratio).abs() < 3.5 * error, "{i}: {value} +- {error}, {ratio}");
        assert!(error < 0.03 * ratio && (1.0 - ratio) > 5.0 * error, "{i}: {error}");
        // Uniform in the cross-sections, and along by their areas.
        let tau = std::f64::consts::TAU;
        let r = |z: f64| radius * (1.0 + beading * (tau * z / bead.max(1.0)).cos());
        let c = |z: f64| if wave > 0.0 { wave * (tau * z / period).sin() } else { 0.0 };
        for node in [0, 2] {
            let inside = |p: &[[f64; 3]]| {
                let [x, y, z] = p[node];
                ((x - c(z)).powi(2) + y * y) / r(z).powi(2)
            };
            let squares: Vec<f64> = paths.chunks(3).map(inside).collect();
            assert!(squares.iter().all(|s| *s <= 1.0));
            let (value, error) = mean(&squares);
            assert!((value - 0.5).abs() < 3.5 * error, "{i} {node}: {value} +- {error}");
            if beading > 0.0 {
                let wide: Vec<f64> =
                    paths.chunks(3).map(|p| (tau * p[node][2] / bead).cos()).collect();
                let (value, error) = mean(&wide);
                let wanted = beading / (1.0 + 0.5 * beading * beading);
                assert!((value - wanted).abs() < 3.5 * error, "{i} {node}: {value} {wanted}");
            }
        }
        let few = Simulation::new(build(&text), &sequence, Some(step), 512, 5).unwrap();
        let few = few.run(|_| true);
        assert_eq!((few.escaped, few.stopped), (0, 0));
    }
}

/// Without beads and waves the tube is a cylinder, at the exact signals of one; nearly
/// without them it walks the same.
#[test]
fn a_straight_tube_is_a_cylinder() {
    let times = 80;
    let pulses = |k: usize| f64::from(u8::from(k < 20)) - f64::from(u8::from(k >= 60));
    let samples: Vec<f64> = (0..times).flat_map(|k| [0.2 * pulses(k), 0.0, 0.0]).collect();
    let sequence = Sequence::from_waveforms(&samples, times, 0.5).unwrap();
    let cylinder = tube([3.0, 0.0, 0.0, 0.0, 0.0]).replace("axon", "cylinder");
    let relaxing = "surface_relaxivity_um_per_ms = 0.02\n";
    for (text, size) in
        [(tube([3.0, 0.0, 0.0, 0.0, 0.0]), 0.0), (tube([3.0, 1e-7, 5.0, 1e-7, 9.0]), 1e-6)]
    {
        let (text, cylinder) = (text + relaxing, cylinder.clone() + relaxing);
        let wanted = exact_signals(&build(&cylinder), &sequence).unwrap().rows[0].signal.real;
        let found = Simulation::new(build(&text), &sequence, None, 20_000, 2).unwrap();
        let found = found.run(|_| true);
        assert_eq!((found.escaped, found.stopped), (0, 0));
        let s = found.rows[0].signal;
        let off = (s.real - wanted).abs();
        assert!(off < 3.5 * s.se_real + size, "{} +- {}, {wanted}", s.real, s.se_real);
    }
}

#[test]
fn wrong_tubes_are_refused() {
    for (numbers, word) in [
        ([1.0, 1.0, 5.0, 0.0, 0.0], "substrate.beading"),
        ([1.0, 0.5, 0.0, 0.0, 0.0], "substrate.beading_period_um"),
        ([1.0, 0.0, 0.0, 1.0, -3.0], "substrate.undulation_period_um"),
        ([0.0, 0.5, 5.0, 0.0, 0.0], "substrate.radius_um"),
    ] {
        let error = SubstrateSpec::from_toml(&tube(numbers)).unwrap().build().unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let missing = tube([1.0, 0.5, 5.0, 0.0, 0.0]).replace("beading_period_um = 5.0\n", "");
    let error = SubstrateSpec::from_toml(&missing).unwrap().build().unwrap_err();
    assert!(error.to_string().contains("beading_period_um"), "{error}");
}
