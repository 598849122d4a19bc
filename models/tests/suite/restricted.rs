//! Compartments behind walls: slopes, limits, and forms that must agree.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::legendre::even_polynomials;
use microtome_models::compartments::{PlaneCallaghan, PlaneSgp};
use microtome_models::{Coefficients, Compartment, Shell, register};
use std::sync::Arc;

/// The kinds that need pulse times (the exact ones have tests of their own), and the
/// oriented plates.
fn kinds() -> Vec<Arc<dyn Compartment>> {
    let mut out = register();
    out.retain(|c| c.needs_timing() && !c.kind().ends_with("_exact") && c.kind() != "karger");
    assert!(out.len() >= 11, "{}", out.len());
    out.push(Arc::new(PlaneSgp { oriented: true }));
    out.push(Arc::new(PlaneCallaghan { oriented: true }));
    out
}

fn shell(b: f64, delta: f64, big_delta: f64) -> Shell {
    Shell::pulsed(b, delta, big_delta)
}

/// Three timings, in the order of an acquisition.
fn shells() -> Vec<Shell> {
    vec![
        shell(0.0, 12.9, 21.8),
        shell(1.0, 12.9, 21.8),
        shell(3.0, 12.9, 21.8),
        shell(2.0, 20.0, 20.0),
        shell(8.0, 20.0, 40.0),
        shell(2.5, 3.0, 60.0),
    ]
}

const COSINES: [f64; 6] = [0.0, 0.17, 0.4, 0.66, 0.93, 1.0];

/// The signal `[shell, cosine]` and its slopes, one such table a parameter.
fn signals(kind: &dyn Compartment, shells: &[Shell], scalars: &[f64]) -> Vec<Vec<f64>> {
    let mut coefficients = kind.coefficients(shells);
    kind.lower(shells, scalars, [0.0, 0.0, 1.0], &mut coefficients);
    let n = shells.len();
    let mut out = vec![Vec::new(); scalars.len() + 1];
    for s in 0..n {
        for t in COSINES {
            match &coefficients {
                Coefficients::Isotropic { value, d_value } => {
                    out[0].push(value[s]);
                    for j in 0..scalars.len() {
                        out[j + 1].push(d_value[j * n + s]);
                    }
                }
                Coefficients::Quadratic { a, c, d_a, d_c } => {
                    let e = (-a[s] - c[s] * t * t).exp();
                    out[0].push(e);
                    for j in 0..scalars.len() {
                        out[j + 1].push(-e * (d_a[j * n + s] + d_c[j * n + s] * t * t));
                    }
                }
                Coefficients::Zonal(series) => {
                    let mut p = vec![0.0; series.stride];
                    even_polynomials(t, &mut p);
                    let sum = |row: &[f64]| row.iter().zip(&p).map(|(c, p)| c * p).sum::<f64>();
                    out[0].push(sum(&series.c[s * series.stride..][..series.stride]));
                    for j in 0..scalars.len() {
                        let row = (j * n + s) * series.stride;
                        out[j + 1].push(sum(&series.d_c[row..][..series.stride]));
                    }
                }
                Coefficients::Tensor { .. } | Coefficients::Orthotropic(_) => {
                    panic!("{} is a tensor", kind.kind())
                }
            }
        }
    }
    out
}

/// A stream of numbers in [0, 1): the van der Corput sequence of a base.
fn spread(mut i: usize, base: usize) -> f64 {
    let (mut out, mut digit) = (0.0, 1.0 / base as f64);
    while i > 0 {
        out += (i % base) as f64 * digit;
        i /= base;
        digit /= base as f64;
    }
    out
}

/// Parameter sets over the ranges.
fn sets(kind: &dyn Compartment) -> Vec<Vec<f64>> {
    (1..40)
        .map(|i| {
            let of = |(k, p): (usize, &microtome_models::ParameterSpec)| {
                let [low, high] = p.range;
                low + (high - low) * spread(i, [2, 3, 5, 7][k])
            };
            kind.parameters().iter().enumerate().map(of).collect()
        })
        .collect()
}

/// Eighth-order central differences in each parameter, with steps of 0.5 %. The sums
/// are exact to 1e-12, so are the differences to 1e-12/0.005.
#[test]
fn restricted_slopes() {
    let shells = shells();
    for kind in kinds() {
        for scalars in sets(kind.as_ref()) {
            let here = signals(kind.as_ref(), &shells, &scalars);
            for j in 0..scalars.len() {
                let step = 0.005 * scalars[j].max(0.1);
                let mut difference = vec![0.0; here[0].len()];
                for (k, w) in [(1.0, 0.8), (2.0, -0.2), (3.0, 4.0 / 105.0), (4.0, -1.0 / 280.0)] {
                    for side in [k, -k] {
                        let mut moved = scalars.clone();
                        moved[j] += side * step;
                        let there = signals(kind.as_ref(), &shells, &moved);
                        for (d, e) in difference.iter_mut().zip(&there[0]) {
                            *d += w * side.signum() * e;
                        }
                    }
                }
                for (i, (d, slope)) in difference.iter().zip(&here[j + 1]).enumerate() {
                    let error = (d - slope * step).abs() / step * scalars[j].max(0.1);
                    assert!(
                        error < 1e-9,
                        "{} {scalars:?}: slope {j} of signal {i}: {slope} and {}: {error:e}",
                        kind.kind(),
                        d / step
                    );
                }
            }
        }
    }
}

/// Every signal is between 0 and 1 (to the 1e-12 of a series) and 1 at b = 0.
#[test]
fn signals_are_attenuations() {
    let shells = shells();
    for kind in kinds() {
        for scalars in sets(kind.as_ref()) {
            let e = &signals(kind.as_ref(), &shells, &scalars)[0];
            assert!(e[..COSINES.len()].iter().all(|e| *e == 1.0), "{}", kind.kind());
            assert!(e.iter().all(|e| *e > -1e-11 && *e < 1.0 + 1e-12), "{} {e:?}", kind.kind());
        }
    }
}

/// Pores without width restrict wholly: what is left is diffusion along the walls.
#[test]
fn tiny_sizes_are_the_limit() {
    let shells = shells();
    for kind in kinds().iter().filter(|k| k.kind() != "temporal_zeppelin") {
        for size in [0.0, 1e-300, 1e-160, 1e-30, 1e-9, 1e-4] {
            let specs = kind.parameters();
            let scalars: Vec<f64> = specs
                .iter()
                .map(|p| if p.name.starts_with("lambda") { 1.7 } else { size })
                .collect();
            let all = signals(kind.as_ref(), &shells, &scalars);
            assert!(all.iter().flatten().all(|v| v.is_finite()), "{} {size}", kind.kind());
            let free = specs.iter().any(|p| p.name == "lambda_par");
            for (s, shell) in shells.iter().enumerate() {
                for (i, t) in COSINES.iter().enumerate() {
                    let w = match kind.kind() {
                        _ if !free => 0.0,
                        "plane_sgp" | "plane_callaghan" => 1.0 - t * t,
                        _ => t * t,
                    };
                    let limit = (-shell.b * 1.7 * w).exp();
                    let e = all[0][s * COSINES.len() + i];
                    assert!((e - limit).abs() < 2e-8, "{} {size}: {e} {limit}", kind.kind());
                }
            }
        }
    }
}

/// Plates with a normal are plates along the part of the gradient across them, and
/// free within the plane.
#[test]
fn oriented_plates_are_plates_times_free_diffusion() {
    let shells = shells();
    let kinds: [[Arc<dyn Compartment>; 2]; 2] = [
        [Arc::new(PlaneSgp::default()), Arc::new(PlaneSgp { oriented: true })],
        [Arc::new(PlaneCallaghan::default()), Arc::new(PlaneCallaghan { oriented: true })],
    ];
    for ([plain, oriented], scalars) in kinds.into_iter().zip([vec![6.0], vec![11.0, 1.2]]) {
        assert!(oriented.oriented() && !plain.oriented());
        let mut more = scalars.clone();
        more.push(0.9);
        let e = &signals(oriented.as_ref(), &shells, &more)[0];
        for (i, t) in COSINES.iter().enumerate() {
            let across: Vec<Shell> =
                shells.iter().map(|s| Shell { b: s.b * t * t, ..s.clone() }).collect();
            let p = &signals(plain.as_ref(), &across, &scalars)[0];
            for (s, shell) in shells.iter().enumerate() {
                let at = s * COSINES.len() + i;
                let expected = p[at] * (-shell.b * 0.9 * (1.0 - t * t)).exp();
                assert!((e[at] - expected).abs() < 1e-11, "{} {s} {t}", plain.kind());
            }
        }
    }
}

/// Short pulses a long time apart: the modes die out, and what is left is the form
/// factor; and for weak dephasing the Gaussian phase approximation agrees as well.
#[test]
fn approximations_meet() {
    let of = |name: &str| microtome_models::by_kind(name).unwrap();
    let weak = [shell(0.02, 1e-3, 400.0)];
    for (sgp, callaghan, gpd, at) in [
        ("cylinder_sgp", "cylinder_callaghan", "cylinder_gpd", vec![0.8, 3.0, 1.7]),
        ("sphere_sgp", "sphere_callaghan", "sphere_gpd", vec![3.0, 1.7]),
    ] {
        let short = &at[..at.len() - 1];
        let long = &signals(of(sgp).as_ref(), &weak, short)[0];
        let modes = &signals(of(callaghan).as_ref(), &weak, &at)[0];
        let phases = &signals(of(gpd).as_ref(), &weak, &at)[0];
        for ((a, b), c) in long.iter().zip(modes).zip(phases) {
            assert!((a - b).abs() < 1e-12, "{sgp}: {a} {b}");
            // The next cumulant is of order (x²/4)²: x² = b/τ R² = 1e-4.
            assert!((a - c).abs() < 1e-7 && *a < 1.0, "{gpd}: {a} {c}");
        }
    }
}

/// Giving a prior or a range to the intrinsic diffusivity frees it.
#[test]
fn a_prior_frees_a_parameter_with_a_default() {
    use microtome_models::{Model, ModelSpec};
    let names = |table: &str| {
        let text = format!("[[compartment]]\nkind = \"sphere_gpd\"\n{table}");
        let model = Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap();
        model.value_names().iter().map(|n| n.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["sphere_gpd.diameter", "s0"]);
    for table in ["[prior]\n", "[range]\n"] {
        let value = if table == "[prior]\n" { "{ uniform = [0.5, 3.0] }" } else { "[0.5, 3.0]" };
        let names = names(&format!("{table}\"sphere_gpd.lambda_intrinsic\" = {value}\n"));
        assert_eq!(names, ["sphere_gpd.diameter", "sphere_gpd.lambda_intrinsic", "s0"]);
    }
}
