//! Exact signals of pores against tables of another implementation, and their slopes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use microtome_models::compartments::{CylinderExact, PlaneExact, SphereExact};
use microtome_models::{Acquisition, Coefficients, Compartment, PulseTiming, Shell};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows of a reference table as maps from column to cell.
fn table(name: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/microstructure");
    let text = std::fs::read_to_string(folder.join(name)).ok()?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        header.iter().map(|h| h.to_string()).zip(line.split(',').map(str::to_string)).collect()
    };
    Some(lines.map(row).collect())
}

fn shells(acquisition: &Acquisition) -> Vec<Shell> {
    acquisition.shells().to_vec()
}

/// The signal of a zonal compartment at t by its profile, else that of its family.
fn signal(kind: &dyn Compartment, shell: &Shell, scalars: &[f64], t: f64) -> f64 {
    if shell.b == 0.0 {
        return 1.0;
    }
    if kind.oriented() {
        let (mut value, mut slopes) = ([0.0], vec![0.0; scalars.len()]);
        kind.profile(shell, scalars, &[t.abs()], &mut value, &mut slopes);
        return value[0];
    }
    let shells = std::slice::from_ref(shell);
    let mut out = kind.coefficients(shells);
    kind.lower(shells, scalars, [0.0; 3], &mut out);
    let Coefficients::Isotropic { value, .. } = out else { panic!("family") };
    value[0]
}

#[test]
fn exact_signals_equal_reference() {
    let Some(measurements) = table("acquisition.csv") else {
        eprintln!("skipped: the reference tables are not here");
        return;
    };
    let mut parameters: BTreeMap<(String, String), BTreeMap<String, f64>> = BTreeMap::new();
    for row in table("parameters.csv").unwrap() {
        parameters
            .entry((row["model"].clone(), row["set"].clone()))
            .or_default()
            .insert(row["parameter"].clone(), row["value"].parse().unwrap());
    }
    let mut compared = 0;
    for row in table("signals.csv").unwrap() {
        let Ok(expected) = row["signal_exact_pgse"].parse::<f64>() else { continue };
        let kind: &dyn Compartment = match row["model"].as_str() {
            "C3Cylinder" | "C4Cylinder" => &CylinderExact,
            "S3Sphere" | "S4Sphere" => &SphereExact,
            "P3Plane" => &PlaneExact { oriented: false },
            other => panic!("model {other}"),
        };
        let given = &parameters[&(row["model"].clone(), row["set"].clone())];
        let measurement = &measurements[row["meas"].parse::<usize>().unwrap()];
        let of = |name: &str| measurement[name].parse::<f64>().unwrap();
        let (g, b) = ([of("gx"), of("gy"), of("gz")], of("b_s_per_m2") * 1e-9);
        let timing = PulseTiming {
            delta_ms: vec![of("delta_s") * 1e3],
            big_delta_ms: vec![of("Delta_s") * 1e3],
        };
        let acquisition = Acquisition::from_b(&[b], &[g], Some(timing), None).unwrap();
        let d = given.get("D_perp").or(given.get("D")).unwrap() * 1e9;
        let size = given["diameter"] * 1e6;
        let (mut scalars, mut t) = (vec![size, d], 0.0);
        if kind.oriented() {
            let (theta, phi) = (given["theta"], given["phi"]);
            t = g[0] * theta.sin() * phi.cos()
                + g[1] * theta.sin() * phi.sin()
                + g[2] * theta.cos();
            scalars = vec![given["lambda_par"] * 1e9, size, d];
        }
        let e = signal(kind, &shells(&acquisition)[0], &scalars, t);
        assert!((e - expected).abs() < 1e-6, "{row:?}: {e}, {:e}", e - expected);
        compared += 1;
    }
    assert_eq!(compared, 30 * 112);
}

/// Shells of two timings.
fn acquisition() -> Acquisition {
    let b = [0.0, 1.0, 3.0, 0.5, 6.0];
    let timing = PulseTiming {
        delta_ms: vec![12.9, 12.9, 12.9, 8.0, 8.0],
        big_delta_ms: vec![21.8, 21.8, 21.8, 49.0, 49.0],
    };
    Acquisition::from_b(&b, &[[1.0, 0.0, 0.0]; 5], Some(timing), None).unwrap()
}

/// All coefficients of a compartment, and their derivatives `[parameter]`.
fn lowered(kind: &dyn Compartment, shells: &[Shell], x: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut out = kind.coefficients(shells);
    kind.lower(shells, x, [0.0, 0.0, 1.0], &mut out);
    let (value, slopes) = match out {
        Coefficients::Isotropic { value, d_value } => (value, d_value),
        Coefficients::Zonal(series) => (series.c, series.d_c),
        other => panic!("{other:?}"),
    };
    let rows = slopes.chunks(value.len()).map(<[f64]>::to_vec).collect();
    (value, rows)
}

#[test]
fn exact_slopes_equal_differences() {
    let shells = shells(&acquisition());
    let cases: [(&dyn Compartment, Vec<f64>); 7] = [
        (&SphereExact, vec![6.0, 1.7]),
        (&SphereExact, vec![14.0, 0.9]),
        (&CylinderExact, vec![1.7, 3.0, 1.7]),
        (&CylinderExact, vec![0.8, 11.0, 2.2]),
        (&PlaneExact { oriented: false }, vec![5.0, 2.0]),
        (&PlaneExact { oriented: true }, vec![7.0, 1.1, 1.9]),
        (&PlaneExact { oriented: true }, vec![1.0, 1.7, 0.4]),
    ];
    for (kind, x) in cases {
        let (_, slopes) = lowered(kind, &shells, &x);
        for (j, slope) in slopes.iter().enumerate() {
            let h = 1e-2 * x[j];
            let at = |k: f64| {
                let mut y = x.clone();
                y[j] += k * h;
                lowered(kind, &shells, &y).0
            };
            // Sixth order: 1e-12 of truncation; the error 1e-9 of E is divided by h.
            let steps: Vec<Vec<f64>> = [3.0, 2.0, 1.0, -1.0, -2.0, -3.0].map(at).into();
            for (i, slope) in slope.iter().enumerate() {
                let d = |k: usize| steps[k][i] - steps[5 - k][i];
                let difference = (45.0 * d(2) - 9.0 * d(1) + d(0)) / (60.0 * h);
                let error = (slope - difference).abs() * x[j];
                assert!(error < 3e-7, "{kind:?} {j} {i}: {slope} {difference} {error:e}");
            }
        }
    }
}

/// The series of all shells equals the profile of each, though the pore is solved
/// once a timing.
#[test]
fn exact_series_equal_profiles() {
    let shells = shells(&acquisition());
    let oriented: [(&dyn Compartment, Vec<f64>); 2] = [
        (&CylinderExact, vec![1.3, 9.0, 1.7]),
        (&PlaneExact { oriented: true }, vec![6.0, 1.7, 1.3]),
    ];
    for (kind, x) in oriented {
        let mut out = kind.coefficients(&shells);
        kind.lower(&shells, &x, [0.0, 0.0, 1.0], &mut out);
        let Coefficients::Zonal(series) = out else { panic!("family") };
        for (s, shell) in shells.iter().enumerate() {
            for t in [0.0, 0.3, 0.77, 1.0_f64] {
                // Legendre polynomials of even order by the recurrence of Bonnet.
                let (mut before, mut p, mut sum) = (0.0, 1.0, 0.0);
                for l in 0..2 * series.terms[s] {
                    if l % 2 == 0 {
                        sum += series.c[s * series.stride + l / 2] * p;
                    }
                    let m = l as f64;
                    (before, p) = (p, ((2.0 * m + 1.0) * t * p - m * before) / (m + 1.0));
                }
                let expected = signal(kind, shell, &x, t);
                assert!((sum - expected).abs() < 3e-9, "{kind:?} {s} {t}: {sum} {expected}");
            }
        }
    }
}

/// Pores at the end of the domain still join free diffusion as a surface does: the
/// difference falls as 1/size, here from 40 to 50 µm, in water and in fixed tissue.
/// Beyond, the domain ends, and a prediction is refused.
#[test]
fn wide_pores_tend_to_free_diffusion() {
    for kind in [&SphereExact as &dyn Compartment, &CylinderExact, &PlaneExact { oriented: false }]
    {
        let sizes = kind.parameters().iter().find(|p| p.scale == 5.0).unwrap();
        assert_eq!(sizes.domain[1], 50.0);
        assert!(sizes.range[1] <= 50.0);
        for (b, d, delta, big_delta) in [
            (1.0, 1.7, 10.0, 30.0),
            (0.5, 1.7, 1.0, 20.0),
            (20.0, 0.05, 10.0, 40.0),
            (40.0, 0.05, 3.0, 12.0),
        ] {
            let timing = PulseTiming { delta_ms: vec![delta], big_delta_ms: vec![big_delta] };
            let acquisition =
                Acquisition::from_b(&[b], &[[1.0, 0.0, 0.0]], Some(timing), None).unwrap();
            let shell = shells(&acquisition)[0].clone();
            let excess = |size: f64| {
                let scalars = if kind.oriented() { vec![1.7, size, d] } else { vec![size, d] };
                size * (signal(kind, &shell, &scalars, 0.0) - (-b * d).exp())
            };
            let (near, far) = (excess(40.0), excess(50.0));
            // The part of the curvature, of second order in 1/size.
            assert!(near > 0.0 && far > 0.0, "{} {b} {d}: {near} {far}", kind.kind());
            assert!((far / near - 1.0).abs() < 0.07, "{} {b} {d}: {near} {far}", kind.kind());
        }
    }
}
