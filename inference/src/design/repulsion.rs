//! Directions that repel each other: charges on axes of the sphere.
//!
//! $$E = \sum_{i<j}\frac1{|r_i - r_j|} + \frac1{|r_i + r_j|}$$
//!
//! From the spherical Fibonacci lattice of [`microtome_models::half_sphere`], slightly
//! shaken, downhill; nothing depends on where the machine stands: equal seeds give equal
//! directions.
//!
//! Source: Jones, Horsfield & Simmons 1999,
//! doi:10.1002/(SICI)1522-2594(199909)42:3<515::AID-MRM14>3.0.CO;2-Q. Validated by
//! `few_axes_are_the_known_ones` and `energy_falls`.

use super::descent::descend;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::half_sphere;
use rand_distr::{Distribution, StandardNormal};

/// The stream of random numbers of the shaking and turning.
const STREAM: u8 = 96;
/// Steps of the descent.
const ITERATIONS: u64 = 150;

/// Energy of axes of any length, and its gradient.
fn energy(y: &[f64]) -> (f64, Vec<f64>) {
    let norm: Vec<f64> =
        y.chunks_exact(3).map(|v| (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()).collect();
    let r: Vec<[f64; 3]> =
        y.chunks_exact(3).zip(&norm).map(|(v, n)| [v[0] / n, v[1] / n, v[2] / n]).collect();
    let mut force = vec![[0.0; 3]; r.len()];
    let mut total = 0.0;
    for i in 0..r.len() {
        for j in 0..i {
            for sign in [1.0, -1.0] {
                let d: [f64; 3] = std::array::from_fn(|c| r[i][c] - sign * r[j][c]);
                let square = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).max(1e-12);
                let inverse = 1.0 / square.sqrt();
                total += inverse;
                let f = inverse / square;
                for c in 0..3 {
                    force[i][c] -= f * d[c];
                    force[j][c] += sign * f * d[c];
                }
            }
        }
    }
    let mut gradient = Vec::with_capacity(y.len());
    for ((f, r), n) in force.iter().zip(&r).zip(&norm) {
        let along = f[0] * r[0] + f[1] * r[1] + f[2] * r[2];
        gradient.extend((0..3).map(|c| (f[c] - along * r[c]) / n));
    }
    (total, gradient)
}

/// Unit vectors that repel each other and their mirror images, turned at random, with
/// z not negative.
pub fn repelled_axes(count: usize, seed: u64, shell: u64) -> Vec<[f64; 3]> {
    let mut rng = PhiloxRng::new(seed, shell, STREAM);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let shake = 0.02;
    let start: Vec<f64> =
        half_sphere(count).iter().flatten().map(|v| v + shake * normal()).collect();
    let q: [f64; 4] = std::array::from_fn(|_| normal());
    let (y, _) = if count > 1 { descend(energy, start, ITERATIONS) } else { (start, 0.0) };
    let rotation = rotation(q);
    y.chunks_exact(3)
        .map(|v| {
            let n = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
            let turned = rotation.map(|row| (row[0] * v[0] + row[1] * v[1] + row[2] * v[2]) / n);
            if turned[2] < 0.0 { turned.map(|c| -c) } else { turned }
        })
        .collect()
}

/// The rotation of a quaternion of any length.
fn rotation(q: [f64; 4]) -> [[f64; 3]; 3] {
    let n = q.iter().map(|v| v * v).sum::<f64>().sqrt();
    let [w, x, y, z] = q.map(|v| v / n);
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least_angle(axes: &[[f64; 3]]) -> f64 {
        let mut least = 90.0_f64;
        for (i, a) in axes.iter().enumerate() {
            for b in &axes[..i] {
                let c = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]).abs().min(1.0);
                least = least.min(c.acos().to_degrees());
            }
        }
        least
    }

    /// Three axes are orthogonal; six are those of the icosahedron, arctan 2 apart.
    #[test]
    fn few_axes_are_the_known_ones() {
        assert!((least_angle(&repelled_axes(3, 0, 0)) - 90.0).abs() < 0.01);
        let six = least_angle(&repelled_axes(6, 0, 1));
        assert!((six - 2.0_f64.atan().to_degrees()).abs() < 0.01, "{six}");
        assert_eq!(repelled_axes(1, 0, 0).len(), 1);
    }

    #[test]
    fn energy_falls() {
        let flat = |axes: Vec<[f64; 3]>| axes.into_iter().flatten().collect::<Vec<f64>>();
        let axes = repelled_axes(60, 7, 0);
        assert_eq!(axes, repelled_axes(60, 7, 0));
        assert_ne!(axes, repelled_axes(60, 8, 0));
        assert!(axes.iter().all(|a| a[2] >= 0.0));
        let (end, gradient) = energy(&flat(axes));
        let start = energy(&flat(half_sphere(60))).0;
        assert!(end < start, "{end} {start}");
        assert!(gradient.iter().all(|g| g.abs() < 0.05 * end / 60.0));
    }
}
