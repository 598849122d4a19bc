//! Signals of rectangular pulses in pores.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use microtome_kernels::restricted::Geometry;
use microtome_kernels::restricted::pulse::{Profile, Pulse, signals};
use std::path::Path;

const GEOMETRIES: [Geometry; 3] = [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere];

fn one(geometry: Geometry, size: f64, diffusivity: f64, pulse: Pulse) -> [f64; 3] {
    let (mut e, mut d_size, mut d_d) = ([0.0], [0.0], [0.0]);
    signals(geometry, size, diffusivity, &[pulse], &mut e, &mut d_size, &mut d_d);
    [e[0], d_size[0], d_d[0]]
}

fn pulse(delta: f64, big_delta: f64, b: f64) -> Pulse {
    Pulse { delta, big_delta, gamma_g_delta: (b / (big_delta - delta / 3.0)).sqrt() }
}

/// The table of exact signals, which is not part of the repository.
#[test]
fn equals_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/reference/simulation/pgse_rect.csv");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: the reference tables are not here");
        return;
    };
    let mut compared = 0;
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |i: usize| cells[i].parse::<f64>().unwrap();
        // SI to um, ms and um2/ms; planes are given by their distance, the others by R.
        let (geometry, factor) = match cells[0] {
            "planes" => (Geometry::Planes, 1e6),
            "cylinder" => (Geometry::Cylinder, 2e6),
            "sphere" => (Geometry::Sphere, 2e6),
            other => panic!("geometry {other}"),
        };
        let pulse = Pulse {
            delta: number(4) * 1e3,
            big_delta: number(5) * 1e3,
            gamma_g_delta: number(6) * 1e-6,
        };
        let e = one(geometry, factor * number(1), number(2) * 1e9, pulse)[0];
        let difference = e - number(8);
        assert!(difference.abs() < 3e-7, "{line}: {e}, {difference:e}");
        compared += 1;
    }
    assert_eq!(compared, 296);
}

/// Sizes, diffusivities and pulses over the range of use.
fn cases() -> Vec<(f64, f64, Pulse)> {
    let mut cases = vec![];
    for size in [0.1, 1.0, 3.0, 6.0, 12.0, 20.0] {
        for diffusivity in [0.05, 1.7, 4.0] {
            for (delta, big_delta, b) in [
                (12.9, 21.8, 3.0),
                (5.0, 80.0, 0.5),
                (20.0, 20.0, 8.0),
                (1.0, 30.0, 1.0),
                (80.0, 80.0, 50.0),
                (10.0, 30.0, 50.0),
            ] {
                cases.push((size, diffusivity, pulse(delta, big_delta, b)));
            }
        }
    }
    cases
}

/// The Gaussian-phase limit: van Gelderen et al. 1994, doi:10.1006/jmrb.1994.1038, eq. 4.
#[test]
fn small_pores_keep_the_relative_accuracy() {
    let pulse = Pulse { delta: 10.0, big_delta: 30.0, gamma_g_delta: 0.5 };
    for size in [0.2, 0.5] {
        let (r, d) = (0.5 * size, 1.7);
        let g = pulse.gamma_g_delta / pulse.delta;
        let mut log = 0.0;
        for k in 0..400 {
            // Roots of J_1'; from the third by their asymptotic series (DLMF 10.21.20).
            let root = match k {
                0 => 1.841_183_781_340_659_4,
                1 => 5.331_442_773_525_032,
                _ => {
                    let a = std::f64::consts::PI * (f64::from(k) + 0.75);
                    a - 7.0 / (8.0 * a) - 4.0 * 431.0 / (3.0 * (8.0 * a).powi(3))
                }
            };
            let tau = r * r / (root * root * d);
            let e = (-pulse.delta / tau).exp();
            let apart = (-(pulse.big_delta - pulse.delta) / tau).exp() * (1.0 - e).powi(2);
            let time = 2.0 * pulse.delta * tau - tau * tau * (2.0 * (1.0 - e) + apart);
            log -= 2.0 * g * g * r * r / (root * root * (root * root - 1.0)) * time;
        }
        let e = one(Geometry::Cylinder, size, d, pulse)[0];
        let ratio = (1.0 - e) / -log.exp_m1();
        // 1 - E is 2e-7 and 8e-6, and E is rounded at 4e-15.
        assert!((ratio - 1.0).abs() < 1e-7, "{size}: {e} {log:e} {ratio}");
    }
}

/// Any finite input has finite results, and the signal stays a signal.
#[test]
fn extremes_are_finite() {
    for geometry in GEOMETRIES {
        for size in [0.0, 1e-9, 1e-3, 0.1, 20.0, 200.0, 1e5] {
            for diffusivity in [0.0, 1e-6, 2.0, 1e3] {
                for (delta, big_delta, b) in
                    [(1.0, 1.0, 50.0), (80.0, 80.0, 50.0), (1e-3, 300.0, 0.1)]
                {
                    let out = one(geometry, size, diffusivity, pulse(delta, big_delta, b));
                    assert!(out.iter().all(|v| v.is_finite()), "{geometry:?} {size} {diffusivity}");
                    assert!((-1e-8..1.0 + 1e-8).contains(&out[0]), "{out:?}");
                }
            }
        }
        assert!(one(geometry, f64::NAN, 1.0, pulse(10.0, 20.0, 1.0))[0].is_nan());
        assert!(one(geometry, 5.0, f64::NAN, pulse(10.0, 20.0, 1.0))[0].is_nan());
        assert_eq!(one(geometry, 5.0, 1.0, pulse(10.0, 20.0, 0.0)), [1.0, 0.0, 0.0]);
    }
}

#[test]
fn profile_equals_signals() {
    for geometry in [Geometry::Planes, Geometry::Cylinder] {
        for (size, diffusivity, full) in cases() {
            let profile = Profile::new(geometry, size, diffusivity, &full);
            for fraction in [0.0, 1e-3, 0.55, 1.0_f64] {
                let gamma_g_delta = full.gamma_g_delta * fraction.sqrt();
                let expected = one(geometry, size, diffusivity, Pulse { gamma_g_delta, ..full });
                let got = profile.at(fraction);
                for ((a, b), unit) in got.iter().zip(expected).zip([1.0, size, diffusivity]) {
                    let error = (a - b).abs() * unit;
                    assert!(
                        error < 2e-8,
                        "{geometry:?} {size} {diffusivity} {full:?} {fraction} {error:e}"
                    );
                }
            }
        }
    }
}
