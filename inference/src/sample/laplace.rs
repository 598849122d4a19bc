//! The mode of a posterior in its chart and the normal approximation there.
//!
//! $$p(z|y) \approx \mathcal N(\hat z, H^{-1}),\qquad H = LL^T,\quad z = \hat z + L^{-T}\xi$$
//!
//! $\hat z$ by damped Newton steps with the positive curvature of
//! [`Posterior::curvature`]; the coordinates $\xi$ are white where the
//! approximation holds.
//!
//! Source: MacKay 2003, *Information Theory, Inference, and Learning
//! Algorithms*, ch. 27. Validated by `whitened_posterior_is_white` in `tests/suite/sample.rs`.

use crate::dense::{backward, cholesky, cholesky_solve, forward};
use microtome_kernels::simd::LANES;
use microtome_models::Posterior;

/// A normal approximation of a posterior.
#[derive(Debug, Clone)]
pub struct Laplace {
    /// The mode.
    pub mode: Vec<f64>,
    /// Lower Cholesky factor of the curvature, `[dim, dim]`.
    pub factor: Vec<f64>,
    /// $\ln p$ at the mode.
    pub ln_density: f64,
}

/// Most Newton steps.
const STEPS: usize = 40;
/// A step that promises less than this (nats) ends the search.
const ENOUGH: f64 = 1e-4;
/// The same where a coordinate is held: these are only places to propose from.
const ENOUGH_HELD: f64 = 1e-2;

/// Where a climb ended.
pub(super) struct Summit {
    pub(super) z: Vec<f64>,
    pub(super) ln_density: f64,
    /// The positive curvature there, `[dim, dim]`.
    pub(super) hessian: Vec<f64>,
}

/// Climbs from `start` to the mode, or, with a coordinate `held`, to the largest density
/// where that coordinate is what it is in `start`.
pub(super) fn climb(
    posterior: &mut Posterior<'_>,
    start: &[f64],
    held: Option<usize>,
) -> Option<Summit> {
    let n = start.len();
    let mut z = start.to_vec();
    let (mut gradient, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
    let mut value = posterior.curvature(&z, &mut gradient, &mut hessian);
    if !value.is_finite() {
        return None;
    }
    let mut damping = 1e-6;
    let (mut scratch, mut trial) = (vec![0.0; n], vec![0.0; n]);
    let (mut a, mut step) = (hessian.clone(), gradient.clone());
    for _ in 0..STEPS {
        a.copy_from_slice(&hessian);
        step.copy_from_slice(&gradient);
        if let Some(k) = held {
            for i in 0..n {
                a[i * n + k] = 0.0;
                a[k * n + i] = 0.0;
            }
            a[k * n + k] = 1.0;
            step[k] = 0.0;
        }
        for i in 0..n {
            a[i * n + i] *= 1.0 + damping;
        }
        if !cholesky(&mut a, n, 1e-13) {
            damping *= 10.0;
            continue;
        }
        cholesky_solve(&a, n, &mut step);
        let promise: f64 = 0.5 * step.iter().zip(&gradient).map(|(s, g)| s * g).sum::<f64>();
        if promise < if held.is_some() { ENOUGH_HELD } else { ENOUGH } {
            break;
        }
        // No coordinate moves by more than 3: charts are curved.
        let longest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
        let shrink = if longest > 3.0 { 3.0 / longest } else { 1.0 };
        for ((t, z), s) in trial.iter_mut().zip(&z).zip(&step) {
            *t = z + shrink * s;
        }
        let there = posterior.ln_density(&trial, &mut scratch);
        if there > value {
            z.copy_from_slice(&trial);
            value = posterior.curvature(&z, &mut gradient, &mut hessian);
            damping = (damping / 10.0_f64).max(1e-8);
        } else {
            damping = (damping * 10.0).max(1e-3);
            if damping > 1e8 {
                break;
            }
        }
    }
    Some(Summit { z, ln_density: value, hessian })
}

/// The white coordinates of a normal approximation by the inverse of its factor, which saves
/// the divisions of [`Laplace::coordinates`] to a chain.
#[derive(Debug)]
pub(super) struct Whitening<'a> {
    mode: &'a [f64],
    /// $L^{-1}$, `[dim, dim]`.
    inverse: Vec<f64>,
}

impl<'a> Whitening<'a> {
    pub(super) fn new(laplace: &'a Laplace) -> Self {
        Self { mode: &laplace.mode, inverse: laplace.inverse_factor() }
    }

    /// Coordinates of white coordinates.
    pub(super) fn coordinates(&self, xi: &[f64], z: &mut [f64]) {
        z.copy_from_slice(self.mode);
        for ((i, x), row) in xi.iter().enumerate().zip(self.inverse.chunks_exact(xi.len())) {
            for (z, m) in z.iter_mut().zip(&row[..=i]) {
                *z += m * x;
            }
        }
    }

    /// The gradient in white coordinates, in place.
    pub(super) fn gradient(&self, g: &mut [f64]) {
        let n = g.len();
        // From the last one up, as each needs those before it.
        for i in (0..n).rev() {
            let row = &self.inverse[i * n..=i * n + i];
            g[i] = row.iter().zip(&g[..=i]).map(|(m, g)| m * g).sum();
        }
    }
}

impl Laplace {
    /// Climbs from `start` to the mode; `None` when the density can't be evaluated.
    pub fn at_mode(posterior: &mut Posterior<'_>, start: &[f64]) -> Option<Self> {
        let mut summit = climb(posterior, start, None)?;
        cholesky(&mut summit.hessian, start.len(), 1e-13).then_some(Self {
            mode: summit.z,
            factor: summit.hessian,
            ln_density: summit.ln_density,
        })
    }

    /// Coordinates of white coordinates.
    pub fn coordinates(&self, xi: &[f64], z: &mut [f64]) {
        z.copy_from_slice(xi);
        backward(&self.factor, xi.len(), z);
        for (z, m) in z.iter_mut().zip(&self.mode) {
            *z += m;
        }
    }

    /// $L^{-1}$, lower triangular, `[dim, dim]`.
    pub(super) fn inverse_factor(&self) -> Vec<f64> {
        let n = self.mode.len();
        let (mut inverse, mut column) = (vec![0.0; n * n], vec![0.0; n]);
        for j in 0..n {
            column.fill(0.0);
            column[j] = 1.0;
            forward(&self.factor, n, &mut column);
            for (i, v) in column.iter().enumerate().skip(j) {
                inverse[i * n + j] = *v;
            }
        }
        inverse
    }

    /// $\ln|L| = \tfrac12\ln|H|$.
    pub fn half_ln_determinant(&self) -> f64 {
        let n = self.mode.len();
        (0..n).map(|i| self.factor[i * n + i].ln()).sum()
    }

    /// $\ln p(\hat z) + \tfrac d2\ln 2\pi - \tfrac12\ln|H|$: the logarithm of the integral
    /// of the density about the mode, were it normal.
    pub fn ln_evidence(&self) -> f64 {
        let d = self.mode.len() as f64;
        self.ln_density + 0.5 * d * std::f64::consts::TAU.ln() - self.half_ln_determinant()
    }

    /// [`Laplace::square_distance`] of eight points, coordinate by coordinate `[dim]`.
    pub(super) fn square_distances(&self, points: &[[f64; LANES]]) -> [f64; LANES] {
        let n = self.mode.len();
        let mut total = [0.0; LANES];
        // (L^T d)_j, column by column of L.
        for j in 0..n {
            let mut u = [0.0; LANES];
            for (i, (z, m)) in points.iter().zip(&self.mode).enumerate().skip(j) {
                let l = self.factor[i * n + j];
                for (u, z) in u.iter_mut().zip(z) {
                    *u += l * (z - m);
                }
            }
            for (total, u) in total.iter_mut().zip(&u) {
                *total += u * u;
            }
        }
        total
    }

    /// $(z-\hat z)^TH(z-\hat z)$.
    pub fn square_distance(&self, z: &[f64]) -> f64 {
        const FEW: usize = 16;
        let n = self.mode.len();
        let (mut few, mut many) = ([0.0; FEW], Vec::new());
        let u = if n <= FEW {
            &mut few[..n]
        } else {
            many.resize(n, 0.0);
            many.as_mut_slice()
        };
        for (i, (z, m)) in z.iter().zip(&self.mode).enumerate() {
            for (u, l) in u.iter_mut().zip(&self.factor[i * n..=i * n + i]) {
                *u += l * (z - m);
            }
        }
        u.iter().map(|u| u * u).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitening_is_that_of_the_factor() {
        let factor = vec![2.0, 0.0, 0.0, -0.4, 1.5, 0.0, 0.9, 0.2, 0.7];
        let laplace = Laplace { mode: vec![0.3, -1.0, 2.0], factor, ln_density: 0.0 };
        let whitening = Whitening::new(&laplace);
        let xi = [0.7, -1.1, 0.4];
        let (mut z, mut other) = ([0.0; 3], [0.0; 3]);
        laplace.coordinates(&xi, &mut z);
        whitening.coordinates(&xi, &mut other);
        let (mut g, mut solved) = ([1.2, -0.3, 0.8], [1.2, -0.3, 0.8]);
        whitening.gradient(&mut g);
        forward(&laplace.factor, 3, &mut solved);
        for (a, b) in z.iter().chain(&g).zip(other.iter().chain(&solved)) {
            assert!((a - b).abs() < 1e-14, "{a} {b}");
        }
        let point = |l: usize| [0.3 * l as f64, 1.0 - l as f64, 0.1 * (l * l) as f64];
        let points: Vec<[f64; LANES]> =
            (0..3).map(|i| std::array::from_fn(|l| point(l)[i])).collect();
        for (l, square) in laplace.square_distances(&points).into_iter().enumerate() {
            assert!((square - laplace.square_distance(&point(l))).abs() < 1e-12 * square.max(1.0));
        }
    }
}
