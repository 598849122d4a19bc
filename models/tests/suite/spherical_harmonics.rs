//! Spherical harmonics against scipy, their derivatives against differences, and
//! identities that hold exactly.

#![allow(clippy::unwrap_used)]

use microtome_models::{
    HarmonicBasis, SphericalHarmonics, anisotropy_index, convolve, half_sphere, harmonic_count,
    harmonic_index, harmonic_order, laplacian_norm, orders, orientation_tensor,
    rotational_harmonics, zonal_peak,
};
use std::f64::consts::PI;

fn golden() -> Vec<(HarmonicBasis, usize, isize, [f64; 3], f64)> {
    let text = include_str!("../../../tests/golden/spherical_harmonics.csv");
    let rows = text.lines().skip(1).map(|line| {
        let w: Vec<&str> = line.split(',').collect();
        let f = |i: usize| w[i].parse::<f64>().unwrap();
        let basis =
            [HarmonicBasis::Mrtrix3, HarmonicBasis::Descoteaux, HarmonicBasis::DescoteauxLegacy]
                .into_iter()
                .find(|b| b.name() == w[0])
                .unwrap();
        let (t, p) = (f(3), f(4));
        let n = [t.sin() * p.cos(), t.sin() * p.sin(), t.cos()];
        (basis, w[1].parse().unwrap(), w[2].parse().unwrap(), n, f(5))
    });
    rows.collect()
}

#[test]
fn golden_table_of_scipy() {
    let sh = SphericalHarmonics::new(8).unwrap();
    let mut values = vec![0.0; 45];
    let mut rows = 0;
    for (basis, l, m, n, expected) in golden() {
        // A unit coefficient in the given basis is this function in the own one.
        let mut c = vec![0.0; 45];
        c[harmonic_index(l, m)] = 1.0;
        let native = basis.convert(HarmonicBasis::Mrtrix3, &c);
        sh.evaluate(n, &mut values);
        let sum: f64 = native.iter().zip(&values).map(|(a, b)| a * b).sum();
        assert!((sum - expected).abs() < 1e-13, "{basis:?} {l} {m}: {sum} {expected}");
        assert!((sh.series(&native).value(n) - expected).abs() < 1e-13);
        assert_eq!(HarmonicBasis::Mrtrix3.convert(basis, &native), c);
        rows += 1;
    }
    assert_eq!(rows, 3 * 12 * 45);
}

#[test]
fn orders_and_counts() {
    assert_eq!(orders(6).collect::<Vec<_>>(), [(0, 0), (2, -2), (2, -1), (2, 0), (2, 1), (2, 2)]);
    assert!(orders(153).enumerate().all(|(i, (l, m))| harmonic_index(l, m) == i));
    assert_eq!((harmonic_order(45), harmonic_order(44), harmonic_count(16)), (Some(8), None, 153));
    assert!(SphericalHarmonics::new(7).is_none() && SphericalHarmonics::new(18).is_none());
}

#[test]
fn derivatives_equal_differences() {
    for lmax in [2, 8, 12] {
        let sh = SphericalHarmonics::new(lmax).unwrap();
        let c: Vec<f64> = (0..sh.count()).map(|i| ((i * 37 + 5) % 19) as f64 / 9.0 - 1.0).collect();
        let series = sh.series(&c);
        for n in half_sphere(7).into_iter().chain([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]) {
            let jet = series.jet(n);
            assert!((jet.value - series.value(n)).abs() < 1e-12);
            let h = 1e-5;
            // The polynomial is defined off the sphere, too.
            let at = |i: usize, s: f64| {
                let mut p = n;
                p[i] += s * h;
                series.jet(p)
            };
            let pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
            for i in 0..3 {
                let (up, down) = (at(i, 1.0), at(i, -1.0));
                let slope = (up.value - down.value) / (2.0 * h);
                assert!(
                    (slope - jet.gradient[i]).abs() < 1e-6 * (1.0 + slope.abs()),
                    "{lmax} {n:?}"
                );
                for (k, (a, b)) in pairs.iter().enumerate() {
                    let other = if *a == i {
                        *b
                    } else if *b == i {
                        *a
                    } else {
                        continue;
                    };
                    let slope = (up.gradient[other] - down.gradient[other]) / (2.0 * h);
                    assert!(
                        (slope - jet.hessian[k]).abs() < 1e-5 * (1.0 + slope.abs()),
                        "{lmax} {n:?} {k}"
                    );
                }
            }
        }
    }
}

/// Coefficients of exp(k (n.mu)^2) by projection with Gauss-Legendre-like quadrature:
/// a fine sum over z and phi.
fn project(lmax: usize, f: impl Fn([f64; 3]) -> f64) -> Vec<f64> {
    let sh = SphericalHarmonics::new(lmax).unwrap();
    let (mut out, mut row) = (vec![0.0; sh.count()], vec![0.0; sh.count()]);
    let (nt, np) = (400, 80);
    for i in 0..nt {
        let t = PI * (i as f64 + 0.5) / nt as f64;
        for j in 0..np {
            let p = 2.0 * PI * j as f64 / np as f64;
            let n = [t.sin() * p.cos(), t.sin() * p.sin(), t.cos()];
            sh.evaluate(n, &mut row);
            let w = f(n) * t.sin() * PI / nt as f64 * 2.0 * PI / np as f64;
            out.iter_mut().zip(&row).for_each(|(o, y)| *o += w * y);
        }
    }
    out
}

#[test]
fn convolution_with_a_kernel_equals_the_integral() {
    // A fibre distribution that is a unit peak along u convolved with a kernel k(t) is k(g.u).
    let u = [0.36, 0.48, 0.8];
    let kernel = |t: f64| (-2.0 * t * t).exp();
    let pole = project(8, |n| kernel(n[2]));
    let zonal: Vec<f64> = (0..=8).step_by(2).map(|l| pole[harmonic_index(l, 0)]).collect();
    let sh = SphericalHarmonics::new(8).unwrap();
    let mut peak = vec![0.0; 45];
    sh.evaluate(u, &mut peak);
    convolve(&rotational_harmonics(&zonal), &mut peak);
    let expected = project(8, |n| kernel(n[0] * u[0] + n[1] * u[1] + n[2] * u[2]));
    for (a, b) in peak.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-4, "{a} {b}"); // the sum over z has an error of 1/400^2
    }
    assert!((zonal_peak(4) - (9.0 / (4.0 * PI)).sqrt()).abs() < 1e-15);
}

#[test]
fn moments_of_a_function() {
    // f = (n.u)^4: the fourth moments of the sphere are known.
    let u = [0.36, 0.48, 0.8];
    let c = project(4, |n| (n[0] * u[0] + n[1] * u[1] + n[2] * u[2]).powi(4));
    let t = orientation_tensor(&c);
    for i in 0..3 {
        for j in 0..3 {
            // <(n.u)^4 n n'> / <(n.u)^4> = (I + 4 u u') / 7
            let expected = (f64::from(i == j) + 4.0 * u[i] * u[j]) / 7.0;
            assert!((t[i][j] - expected).abs() < 2e-5, "{i} {j} {} {expected}", t[i][j]);
        }
    }
    assert_eq!(anisotropy_index(&[2.0, 0.0, 0.0, 0.0, 0.0, 0.0]), 0.0);
    assert_eq!(anisotropy_index(&[0.0; 6]), 0.0);
    assert!((anisotropy_index(&[3.0, 4.0, 0.0, 0.0, 0.0, 0.0]) - 0.8).abs() < 1e-15);
    assert_eq!(laplacian_norm(&[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]), 144.0);
}
