//! Exact signals of stepped gradients against `tests/golden/stepped.csv`, which another method
//! made (`make_stepped.py`: Cartesian polynomials, dense exponentials, a splitting).
#![allow(clippy::unwrap_used)]

use microtome_kernels::restricted::stepped::{Interval, Pore, PoreShape, stepped_signal};
use std::f64::consts::TAU;

/// Two blocks of a sinusoid, each in a number of pieces of constant gradient: its exact means.
fn sinusoid(words: &[&str], pieces: usize) -> Vec<Interval> {
    let number = |i: usize| words[i].parse::<f64>().unwrap();
    let (periods, period, gap, g) = (number(1), number(2), number(3), number(4));
    let h = periods * period / pieces as f64;
    let omega = TAU / period;
    let mean = |k: usize| {
        let (from, to) = (k as f64 * h * omega, (k + 1) as f64 * h * omega);
        let integral = match words[0] {
            "sine" => from.cos() - to.cos(),
            _ => to.sin() - from.sin(),
        };
        g * integral / (h * omega)
    };
    let block = |sign: f64| (0..pieces).map(move |k| (h, [sign * mean(k), 0.0, 0.0]));
    block(1.0).chain(std::iter::once((gap, [0.0; 3]))).chain(block(-1.0)).collect()
}

fn steps(course: &str) -> Vec<Interval> {
    let of = |step: &str| {
        let v: Vec<f64> = step.split(' ').map(|v| v.parse().unwrap()).collect();
        (v[0], [v[1], v[2], v[3]])
    };
    course.split(';').map(of).collect()
}

/// Pulses with ramps, ten random steps that turn, sinusoids; with and without relaxing walls.
#[test]
fn another_method_gives_the_same() {
    let mut rows = 0;
    for line in include_str!("../../../tests/golden/stepped.csv").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells[i].parse::<f64>().unwrap();
        let size = number(1);
        let shape = match cells[0] {
            "planes" => PoreShape::Planes { separation: size, membranes: vec![] },
            "cylinder" => PoreShape::Cylinder { radius: size },
            _ => PoreShape::Sphere { radius: size },
        };
        let pore = Pore { shape, diffusivity: number(2), relaxivity: number(3) };
        let words: Vec<&str> = cells[4].split(' ').collect();
        let signal = |course: &[Interval]| {
            let [real, imaginary] = stepped_signal(&pore, course).unwrap();
            assert!(imaginary.abs() < 1e-12, "{line}: {imaginary:e}");
            real
        };
        let found = if matches!(words[0], "sine" | "cosine") {
            // The error of pieces is of second order; two numbers of them give the limit.
            let [few, many] = [2500, 5000].map(|pieces| signal(&sinusoid(&words, pieces)));
            assert!((many - number(5)).abs() < 1e-6, "{line}: {many}");
            (4.0 * many - few) / 3.0
        } else {
            signal(&steps(cells[4]))
        };
        let off = (found - number(5)).abs();
        assert!(off < 2e-9, "{line}: {found}, off by {off:e}");
        rows += 1;
    }
    assert!(rows > 20);
}
