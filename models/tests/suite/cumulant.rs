//! The kurtosis of mixtures against integrals over the sphere by mpmath, and its
//! derivatives against differences.

#![allow(clippy::unwrap_used, missing_docs)]

use microtome_models::{KURTOSIS_ELEMENTS, KurtosisMeasures};

/// A mixture: name, D, V, and mk, ak, rk, kfa.
type Mixture = (String, [f64; 6], [f64; 15], [f64; 4]);

/// The mixtures of `tests/golden/kurtosis.csv`.
fn golden() -> Vec<Mixture> {
    let text = include_str!("../../../tests/golden/kurtosis.csv");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    for (column, e) in header[7..22].iter().zip(&KURTOSIS_ELEMENTS) {
        assert_eq!(*column, format!("v_{}", e.name));
    }
    lines
        .map(|line| {
            let mut cells = line.split(',');
            let name = cells.next().unwrap().to_string();
            let x: Vec<f64> = cells.map(|c| c.parse().unwrap()).collect();
            let part = |from: usize| std::array::from_fn(|i| x[from + i]);
            (name, part(0), std::array::from_fn(|i| x[6 + i]), std::array::from_fn(|i| x[21 + i]))
        })
        .collect()
}

/// Eigenvalues and vectors by Jacobi's rotations, apart from the library's own.
fn eigen(d: [f64; 6]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut m = [[d[0], d[3], d[4]], [d[3], d[1], d[5]], [d[4], d[5], d[2]]];
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..40 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            let angle = 0.5 * f64::atan2(2.0 * m[p][q], m[q][q] - m[p][p]);
            let (s, c) = angle.sin_cos();
            for row in m.iter_mut().chain(&mut v) {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            let (x, y) = (m[p], m[q]);
            for k in 0..3 {
                (m[p][k], m[q][k]) = (c * x[k] - s * y[k], s * x[k] + c * y[k]);
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| m[j][j].total_cmp(&m[i][i]));
    (order.map(|i| m[i][i]), order.map(|i| [v[0][i], v[1][i], v[2][i]]))
}

fn measures(d: [f64; 6], v: &[f64; 15]) -> KurtosisMeasures {
    let (values, axes) = eigen(d);
    KurtosisMeasures::new(values, axes, v)
}

#[test]
fn measures_equal_golden() {
    let golden = golden();
    assert_eq!(golden.len(), 5);
    for (name, d, v, truth) in golden {
        let value = measures(d, &v).value;
        for (k, measure) in KurtosisMeasures::NAMES.iter().enumerate() {
            // KFA is a square root: where it vanishes half of the digits remain.
            let tolerance = if truth[k] < 1e-12 { 1e-7 } else { 1e-11 };
            let error = (value[k] - truth[k]).abs();
            assert!(error < tolerance, "{name} {measure}: {} not {}", value[k], truth[k]);
        }
    }
}

#[test]
fn gradient_equals_difference() {
    // The two balls have no first eigenvector.
    for (name, d, v, _) in golden().into_iter().filter(|g| g.0 != "two_balls") {
        let exact = measures(d, &v);
        for k in 0..21 {
            let h = 1e-5;
            let at = |step: f64| {
                let (mut d, mut v) = (d, v);
                if k < 6 {
                    d[k] += step
                } else {
                    v[k - 6] += step
                }
                measures(d, &v).value
            };
            // Richardson's extrapolation of central differences: error of order h^4.
            let (a, b, c, e) = (at(h), at(-h), at(2.0 * h), at(-2.0 * h));
            for m in 0..4 {
                let difference = (8.0 * (a[m] - b[m]) - (c[m] - e[m])) / (12.0 * h);
                let slope = exact.gradient[m][k];
                assert!(
                    (slope - difference).abs() < 1e-7 * (1.0 + slope.abs()),
                    "{name} {} {k}: {slope} {difference}",
                    KurtosisMeasures::NAMES[m]
                );
            }
        }
    }
}
