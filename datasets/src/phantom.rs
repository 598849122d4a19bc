//! Structures with known truth on a grid, and measurement noise.
//!
//! Fields are smooth and free of any model's names: the caller decides what a
//! fraction or a diffusivity means, and brings the random numbers (for example
//! `microtome_kernels::philox::PhiloxRng`). Grids are in the order i + nx (j + ny k).
//!
//! Rician magnitude noise of a signal A:
//!
//! $$M = \sqrt{(A + \sigma n_1)^2 + (\sigma n_2)^2},\qquad E[M^2] = A^2 + 2\sigma^2$$
//!
//! Source: Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618, eq. 1.
//! Validated by the tests below.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// A direction drawn uniformly on the sphere.
pub fn unit_vector<R: Rng + ?Sized>(rng: &mut R) -> [f64; 3] {
    loop {
        let v: [f64; 3] = [0; 3].map(|_| StandardNormal.sample(rng));
        let norm = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
        if norm > 1e-6 {
            return v.map(|x| x / norm);
        }
    }
}

/// A fibre bundle without crossings: directions along circles about an axis
/// parallel to k below the grid, `[voxel]`.
///
/// `pitch` is the tangent of the angle out of the plane of the arc; 0 is a flat
/// arc.
pub fn arc_directions(dims: [usize; 3], pitch: f64) -> Vec<[f64; 3]> {
    let [nx, ny, _] = dims;
    let (centre_x, centre_y) = ((nx as f64 - 1.0) / 2.0, -0.25 * ny as f64 - 1.0);
    let norm = (1.0 + pitch * pitch).sqrt();
    each_voxel(dims, |x| {
        let (dx, dy) = (x[0] - centre_x, x[1] - centre_y);
        let r = (dx * dx + dy * dy).sqrt();
        [dy / r / norm, -dx / r / norm, pitch / norm]
    })
}

/// A smooth field between `low` and `high`, `[voxel]`: three long cosine waves
/// in drawn directions.
pub fn smooth_field<R: Rng + ?Sized>(
    dims: [usize; 3],
    low: f64,
    high: f64,
    rng: &mut R,
) -> Vec<f64> {
    let waves: Vec<([f64; 3], f64)> =
        (0..3).map(|_| (unit_vector(rng), rng.random_range(0.0..std::f64::consts::TAU))).collect();
    let length = dims.iter().copied().max().unwrap_or(1).max(2) as f64;
    each_voxel(dims, |x| {
        let sum: f64 = waves
            .iter()
            .map(|(k, phase)| {
                let along = x[0] * k[0] + x[1] * k[1] + x[2] * k[2];
                (std::f64::consts::PI * along / length + phase).cos()
            })
            .sum();
        low + (high - low) * (0.5 + sum / 6.0)
    })
}

/// Smooth fractions of `n` parts, `[voxel, part]`; each is positive and a
/// voxel's sum is 1.
pub fn smooth_fractions<R: Rng + ?Sized>(dims: [usize; 3], n: usize, rng: &mut R) -> Vec<f64> {
    let fields: Vec<Vec<f64>> = (0..n).map(|_| smooth_field(dims, -1.5, 1.5, rng)).collect();
    let voxels: usize = dims.iter().product();
    let mut out = Vec::with_capacity(voxels * n);
    for v in 0..voxels {
        let weights: Vec<f64> = fields.iter().map(|f| f[v].exp()).collect();
        let sum: f64 = weights.iter().sum();
        out.extend(weights.iter().map(|w| w / sum));
    }
    out
}

/// Adds Gaussian noise of standard deviation `sigma`, in the unit of the signals.
pub fn add_gaussian_noise<R: Rng + ?Sized>(signals: &mut [f64], sigma: f64, rng: &mut R) {
    for s in signals {
        let n: f64 = StandardNormal.sample(rng);
        *s += sigma * n;
    }
}

/// Makes signals into Rician magnitudes; `sigma` is the standard deviation of
/// the real and of the imaginary part, in the unit of the signals.
pub fn add_rician_noise<R: Rng + ?Sized>(signals: &mut [f64], sigma: f64, rng: &mut R) {
    for s in signals {
        let real: f64 = StandardNormal.sample(rng);
        let imaginary: f64 = StandardNormal.sample(rng);
        *s = (*s + sigma * real).hypot(sigma * imaginary);
    }
}

fn each_voxel<T>(dims: [usize; 3], value: impl Fn([f64; 3]) -> T) -> Vec<T> {
    let [nx, ny, nz] = dims;
    (0..nx * ny * nz)
        .map(|v| value([(v % nx) as f64, (v / nx % ny) as f64, (v / nx / ny) as f64]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use microtome_kernels::philox::PhiloxRng;

    fn seeded(seed: u64) -> PhiloxRng {
        PhiloxRng::new(seed, 0, 0)
    }

    const DIMS: [usize; 3] = [9, 7, 5];

    #[test]
    fn unit_vectors_are_uniform() {
        let mut rng = seeded(1);
        let n = 60_000;
        let (mut mean, mut second) = ([0.0; 3], [0.0; 3]);
        for _ in 0..n {
            let v = unit_vector(&mut rng);
            assert!((v.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-12);
            for i in 0..3 {
                mean[i] += v[i] / n as f64;
                second[i] += v[i] * v[i] / n as f64;
            }
        }
        // Standard errors: sqrt(1/3/n) = 0.0024 and sqrt(4/45/n) = 0.0012; five of them.
        assert!(mean.iter().all(|m| m.abs() < 0.012), "{mean:?}");
        assert!(second.iter().all(|m| (m - 1.0 / 3.0).abs() < 0.006), "{second:?}");
    }

    #[test]
    fn the_arc_is_smooth_and_of_unit_length() {
        let arc = arc_directions(DIMS, 0.3);
        assert_eq!(arc.len(), 315);
        for v in &arc {
            assert!((v.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-12);
        }
        for pair in arc.chunks(9).flat_map(|row| row.windows(2)) {
            let cosine: f64 = (0..3).map(|i| pair[0][i] * pair[1][i]).sum();
            assert!(cosine > 0.9, "{cosine}");
        }
        // Left and right of the middle the arc turns down and up.
        assert!(arc[0][1] > 0.0 && arc[8][1] < 0.0);
    }

    #[test]
    fn fields_stay_in_range_and_fractions_sum_to_one() {
        let mut rng = seeded(2);
        let field = smooth_field(DIMS, 0.2, 0.7, &mut rng);
        assert!(field.iter().all(|v| (0.2..=0.7).contains(v)));
        for pair in field.chunks(9).flat_map(|row| row.windows(2)) {
            assert!((pair[0] - pair[1]).abs() < 0.5 * std::f64::consts::PI / 9.0 / 2.0);
        }
        for f in smooth_fractions(DIMS, 3, &mut rng).chunks(3) {
            assert!((f.iter().sum::<f64>() - 1.0).abs() < 1e-12 && f.iter().all(|v| *v > 0.0));
        }
        assert_eq!(
            smooth_field(DIMS, 0.0, 1.0, &mut seeded(3)),
            smooth_field(DIMS, 0.0, 1.0, &mut seeded(3))
        );
    }

    #[test]
    fn noise_has_its_moments() {
        let n = 200_000;
        let (a, sigma) = (2.0, 1.5);
        let mut rician = vec![a; n];
        add_rician_noise(&mut rician, sigma, &mut seeded(4));
        let second = rician.iter().map(|m| m * m).sum::<f64>() / n as f64;
        // Var(M^2) = 4 sigma^2 (A^2 + sigma^2); five standard errors.
        let error = 5.0 * (4.0 * sigma * sigma * (a * a + sigma * sigma) / n as f64).sqrt();
        assert!((second - (a * a + 2.0 * sigma * sigma)).abs() < error, "{second}");
        assert!(rician.iter().all(|m| *m >= 0.0));
        let mut gaussian = vec![a; n];
        add_gaussian_noise(&mut gaussian, sigma, &mut seeded(5));
        let mean = gaussian.iter().sum::<f64>() / n as f64;
        let variance = gaussian.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - a).abs() < 5.0 * sigma / (n as f64).sqrt(), "{mean}");
        let error = 5.0 * sigma * sigma * (2.0 / n as f64).sqrt();
        assert!((variance - sigma * sigma).abs() < error, "{variance}");
    }
}
