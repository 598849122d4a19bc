//! Multivariate t densities at the modes of a posterior, mixed.
//!
//! $$q(z) = \sum_k \alpha_k\,t_\nu(z;\,\hat z_k, H_k^{-1}),\qquad
//!   \ln t_\nu = \ln\frac{\Gamma(\frac{\nu+d}2)}{\Gamma(\frac\nu2)(\nu\pi)^{d/2}} + \ln|L_k|
//!   - \frac{\nu+d}2\ln\left(1+\frac{|L_k^T(z-\hat z_k)|^2}\nu\right)$$
//!
//! with $H_k = L_kL_k^T$ the curvature at mode $\hat z_k$. The shares $\alpha_k$ are
//! proportional to the evidence that the normal approximation gives a mode,
//! $p(\hat z_k)(2\pi)^{d/2}/|L_k|$, and no share is below [`LEAST_SHARE`] before they are
//! scaled to sum to 1, so that an approximation that is wrong about a mode does not lose it.
//!
//! A draw is $\hat z + L^{-T}\xi\sqrt{\nu/\chi^2_\nu}$ with standard normal $\xi$ and the
//! sum $\chi^2_\nu$ of the squares of $\nu$ others.
//!
//! Source: Owen & Zhou 2000, doi:10.1080/01621459.2000.10473909 (mixtures with defensive
//! shares); Kotz & Nadarajah 2004, *Multivariate t Distributions*, eq. 1.1. Validated by
//! `the_density_of_the_mixture_integrates_to_one` below and `tests/suite/cheap.rs`.

use super::laplace::Laplace;
use microtome_kernels::log::log as ln;
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::simd::{Block, LANES};
use statrs::function::gamma::ln_gamma;

/// Degrees of freedom.
pub(super) const DEGREES: f64 = 5.0;
/// The least share of a mode.
pub(super) const LEAST_SHARE: f64 = 0.05;
/// The least share of a node of a ridge.
const LEAST_SHARE_OF_NODE: f64 = 0.02;

/// A t density in one of the charts.
#[derive(Debug, Clone)]
pub struct Component {
    /// The location and the curvature.
    pub laplace: Laplace,
    /// The chart of its coordinates: the number of the mode.
    pub chart: usize,
    /// Its share of the draws.
    pub share: f64,
    ln_norm: f64,
    /// $L^{-1}$, `[dim, dim]`.
    inverse: Vec<f64>,
}

/// The components of the mixture, from the modes.
pub fn components(modes: Vec<Laplace>) -> Vec<Component> {
    let evidence: Vec<f64> = modes.iter().map(Laplace::ln_evidence).collect();
    let shares = shares(&evidence, LEAST_SHARE);
    let of = |(k, (laplace, share))| Component::new(laplace, k, share);
    modes.into_iter().zip(shares).enumerate().map(of).collect()
}

/// The components of a mixture in one chart, its nodes along ridges.
pub(super) fn components_of_ridges(nodes: Vec<Laplace>) -> Vec<Component> {
    let evidence: Vec<f64> = nodes.iter().map(Laplace::ln_evidence).collect();
    let shares = shares(&evidence, LEAST_SHARE_OF_NODE);
    nodes.into_iter().zip(shares).map(|(node, share)| Component::new(node, 0, share)).collect()
}

/// Shares by evidence, none below `least` before the last scaling.
fn shares(ln_evidence: &[f64], least: f64) -> Vec<f64> {
    let mut out = proportions(ln_evidence);
    for s in &mut out {
        *s = s.max(least);
    }
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|s| *s /= sum);
    out
}

/// $e^{v_k}/\sum_j e^{v_j}$.
pub(super) fn proportions(ln_values: &[f64]) -> Vec<f64> {
    let largest = ln_values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut out: Vec<f64> = ln_values.iter().map(|v| (v - largest).exp()).collect();
    let sum: f64 = out.iter().sum();
    out.iter_mut().for_each(|v| *v /= sum);
    out
}

/// How many of `total` each share gets, by largest remainders.
pub(super) fn apportion(shares: &[f64], total: usize) -> Vec<usize> {
    let exact = |k: usize| shares[k] * total as f64;
    let mut out: Vec<usize> = (0..shares.len()).map(|k| exact(k) as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&a, &b| exact(b).fract().total_cmp(&exact(a).fract()));
    let given: usize = out.iter().sum();
    for &k in order.iter().cycle().take(total.saturating_sub(given)) {
        out[k] += 1;
    }
    out
}

impl Component {
    /// A component in chart `chart` with a share.
    pub fn new(laplace: Laplace, chart: usize, share: f64) -> Self {
        let d = laplace.mode.len() as f64;
        let ln_norm = ln_gamma(0.5 * (DEGREES + d))
            - ln_gamma(0.5 * DEGREES)
            - 0.5 * d * (DEGREES * std::f64::consts::PI).ln()
            + laplace.half_ln_determinant();
        Self { inverse: laplace.inverse_factor(), laplace, chart, share, ln_norm }
    }

    /// The log density, in the chart of the component.
    pub fn ln_density(&self, z: &[f64]) -> f64 {
        let d = z.len() as f64;
        self.ln_norm - 0.5 * (DEGREES + d) * ln(1.0 + self.laplace.square_distance(z) / DEGREES)
    }

    /// The densities at eight points divided by that at the location.
    ///
    /// # Shapes
    /// `points` `[dim]`.
    pub(super) fn relative_densities(&self, points: &[Block]) -> Block {
        // (1 + d²/ν) to the power of minus (ν + d)/2, a whole number or half of an odd one.
        let twice = DEGREES as usize + points.len();
        let stretch = self.laplace.square_distances(points).map(|s| 1.0 + s / DEGREES);
        let mut power = [1.0; LANES];
        if !twice.is_multiple_of(2) {
            power = stretch.map(f64::sqrt);
        }
        for _ in 0..twice / 2 {
            for (p, s) in power.iter_mut().zip(&stretch) {
                *p *= s;
            }
        }
        power.map(|p| 1.0 / p)
    }

    /// The log density at the location.
    pub(super) fn ln_summit(&self) -> f64 {
        self.ln_norm
    }

    /// Draws `z` `[draw, dim]`; `squares` `[draw]` are the squares of their distances from
    /// the location, $|L^T(z-\hat z)|^2$. `normals` is memory.
    pub(super) fn draw(
        &self,
        rng: &mut PhiloxRng,
        normals: &mut Vec<f64>,
        z: &mut [f64],
        squares: &mut [f64],
    ) {
        let d = self.laplace.mode.len();
        let each = d + DEGREES as usize;
        normals.resize(each * squares.len(), 0.0);
        rng.normals(normals);
        let rows = normals.chunks_exact(each).zip(z.chunks_exact_mut(d.max(1)));
        for ((row, z), square) in rows.zip(squares) {
            let (xi, others) = row.split_at(d);
            let sum = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>();
            let stretch = DEGREES / sum(others);
            *square = stretch * sum(xi);
            let stretch = stretch.sqrt();
            z.copy_from_slice(&self.laplace.mode);
            for ((i, x), row) in xi.iter().enumerate().zip(self.inverse.chunks_exact(d)) {
                let x = x * stretch;
                for (z, m) in z.iter_mut().zip(&row[..=i]) {
                    *z += m * x;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laplace(mode: [f64; 2], factor: [f64; 4], ln_density: f64) -> Laplace {
        Laplace { mode: mode.to_vec(), factor: factor.to_vec(), ln_density }
    }

    #[test]
    fn the_density_of_the_mixture_integrates_to_one() {
        let mixture = components(vec![
            laplace([0.0, 1.0], [1.0, 0.0, 0.4, 2.0], 0.0),
            laplace([3.0, -1.0], [0.8, 0.0, -0.3, 0.7], -1.0),
        ]);
        // u = tan maps the plane to a square: heavy tails are integrated as well.
        let (n, mut total) = (1500, 0.0);
        let h = std::f64::consts::PI / f64::from(n);
        for i in 0..n {
            for j in 0..n {
                let [a, b] = [i, j].map(|k| (f64::from(k) + 0.5) * h - std::f64::consts::FRAC_PI_2);
                let z = [a.tan(), b.tan()];
                let density: f64 = mixture.iter().map(|c| c.share * c.ln_density(&z).exp()).sum();
                total += density * h * h / (a.cos() * b.cos()).powi(2);
            }
        }
        assert!((total - 1.0).abs() < 1e-6, "{total}");
    }

    #[test]
    fn relative_densities_are_those_of_the_logarithm() {
        let component = Component::new(laplace([0.3, -1.0], [1.3, 0.0, 0.4, 2.0], 0.0), 0, 1.0);
        let odd = Laplace { mode: vec![0.2], factor: vec![1.7], ln_density: 0.0 };
        let odd = Component::new(odd, 0, 1.0);
        for i in 0..50 {
            let z = [0.3 * f64::from(i), -0.7 * f64::from(i)];
            for (c, z) in [(&component, &z[..]), (&odd, &z[..1])] {
                let points: Vec<Block> = z.iter().map(|v| [*v; LANES]).collect();
                for density in c.relative_densities(&points) {
                    let ln = density.ln() + c.ln_summit();
                    assert!((ln - c.ln_density(z)).abs() < 1e-12, "{z:?}: {ln}");
                }
            }
        }
    }

    /// Squares are those of the draws, and $|L^T(z - \hat z)|^2/d$ follows an F distribution
    /// with d and five degrees of freedom, whose mean is 5/3.
    #[test]
    fn draws_are_those_of_a_t_density() {
        let component = Component::new(laplace([0.3, -1.0], [1.3, 0.0, 0.4, 2.0], 0.0), 0, 1.0);
        let count = 200_000;
        let (mut z, mut squares) = (vec![0.0; 2 * count], vec![0.0; count]);
        let mut rng = PhiloxRng::new(3, 1, 255);
        component.draw(&mut rng, &mut Vec::new(), &mut z, &mut squares);
        let (mut below, mut sum) = (0.0, 0.0);
        for (z, square) in z.chunks_exact(2).zip(&squares) {
            assert!((component.laplace.square_distance(z) - square).abs() < 1e-9 * (1.0 + square));
            // F below 1: 1 - (1 + 2/5)^(-5/2) of two and five degrees of freedom.
            below += f64::from(u8::from(*square < 2.0)) / count as f64;
            sum += z[0] / count as f64;
        }
        let wanted = 1.0 - 1.4_f64.powf(-2.5);
        assert!((below - wanted).abs() < 5.0 * (wanted * (1.0 - wanted) / count as f64).sqrt());
        assert!((sum - 0.3).abs() < 0.02, "{sum}");
    }

    #[test]
    fn shares_follow_the_evidence_and_lose_no_mode() {
        // Evidence: p/|L|, of which the (2π)^{d/2} is shared.
        let mixture = components(vec![
            laplace([0.0; 2], [1.0, 0.0, 0.0, 1.0], 0.0),
            laplace([0.0; 2], [2.0, 0.0, 0.0, 1.5], 3.0_f64.ln()),
        ]);
        assert!((mixture[0].share - mixture[1].share).abs() < 1e-12);
        let mixture = components(vec![
            laplace([0.0; 2], [1.0, 0.0, 0.0, 1.0], 0.0),
            laplace([0.0; 2], [1.0, 0.0, 0.0, 1.0], -14.0),
        ]);
        assert!((mixture[1].share - LEAST_SHARE / (1.0 + LEAST_SHARE)).abs() < 1e-6);
    }

    #[test]
    fn apportionment_gives_all_away() {
        assert_eq!(apportion(&[0.5, 0.3, 0.2], 10), [5, 3, 2]);
        assert_eq!(apportion(&[0.55, 0.45], 4), [2, 2]);
        assert_eq!(apportion(&[0.97, 0.03], 4), [4, 0]);
        assert_eq!(apportion(&[1.0 / 3.0; 3], 100).iter().sum::<usize>(), 100);
    }
}
