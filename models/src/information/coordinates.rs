//! Local coordinates about a set of values, and the precision of the prior in them.
//!
//! | block | coordinates | prior covariance |
//! |---|---|---|
//! | scalar, scale | $x + s$ | variance of the prior |
//! | axis | $(\mu + s_1e_1 + s_2e_2)$ normalised, rad | $\tfrac{\pi-2}2 I$ |
//! | fractions | $f + Bs$, B orthonormal, columns that sum to zero | $B^T\,\mathrm{Cov}\,B$ |
//!
//! The covariance of an axis is that of the mean squared angle of a uniform axis to a
//! given one, $\int_0^{\pi/2}\theta^2\sin\theta\,d\theta = \pi - 2$, shared by two
//! coordinates; that of n fractions with total $t$ is the Dirichlet one,
//! $t^2(\mathrm{diag}\,m - mm^T)/(\alpha_0 + 1)$ with $m = \alpha/\alpha_0$. A prior that
//! is not normal counts by its second moment.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\mu, e_1, e_2$ | 1 | axis and two unit vectors across it |
//! | $f, m$ | 1 | fractions, their prior mean |
//! | $\alpha, \alpha_0$ | 1 | Dirichlet concentrations, their sum |
//!
//! Source: Dirichlet moments: Johnson, Kotz & Balakrishnan 2000,
//! doi:10.1002/0471722065, ch. 49. Validated by
//! `basis_is_tangent_and_orthonormal` and `prior_equals_moments`.

use super::InformationError;
use crate::chart::frame_about;
use crate::model::{FreeKind, Model};
use crate::prior::PriorError;
use microtome_kernels::dense::{cholesky, cholesky_inverse};
use std::f64::consts::PI;

/// Variance of the angle to a uniform axis in each of two coordinates, rad².
const AXIS_VARIANCE: f64 = (PI - 2.0) / 2.0;

/// Orthonormal local coordinates of a model.
#[derive(Debug, Clone)]
pub struct LocalCoordinates {
    model: Model,
    dim: usize,
}

/// Column `k` of the orthonormal basis of n numbers that sum to zero (Helmert).
fn helmert(n: usize, k: usize) -> impl Iterator<Item = (usize, f64)> {
    let m = (k + 1) as f64;
    let norm = 1.0 / (m * (m + 1.0)).sqrt();
    (0..(k + 2).min(n)).map(move |i| (i, if i <= k { norm } else { -m * norm }))
}

impl LocalCoordinates {
    /// The coordinates of a model.
    pub fn new(model: &Model) -> Self {
        Self { model: model.clone(), dim: model.degrees_of_freedom() }
    }

    /// Number of coordinates: the degrees of freedom.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The first coordinate of the block of values that begins at `at`.
    pub(crate) fn coordinate_of(&self, at: usize) -> Option<usize> {
        let mut s = 0;
        for free in self.model.free() {
            if free.at == at {
                return Some(s);
            }
            s += coordinates(&free.kind, free.len);
        }
        None
    }

    /// The block that each coordinate belongs to, by its name.
    pub fn names(&self) -> Vec<String> {
        let blocks = self.model.free().iter();
        blocks.flat_map(|f| vec![f.name.clone(); coordinates(&f.kind, f.len)]).collect()
    }

    /// The derivatives of the values with respect to the coordinates.
    ///
    /// # Shapes
    /// `x` `[value]`, the result `[value, coordinate]`.
    pub fn basis(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.model.values() * self.dim];
        let mut s = 0;
        for free in self.model.free() {
            let at = free.at;
            match &free.kind {
                FreeKind::Scalar { .. } | FreeKind::Scale => out[at * self.dim + s] = 1.0,
                FreeKind::Axis => {
                    let [e1, e2, _] = frame_about([x[at], x[at + 1], x[at + 2]]);
                    for i in 0..3 {
                        out[(at + i) * self.dim + s] = e1[i];
                        out[(at + i) * self.dim + s + 1] = e2[i];
                    }
                }
                FreeKind::Fractions { .. } => {
                    for k in 0..free.len - 1 {
                        for (i, v) in helmert(free.len, k) {
                            out[(at + i) * self.dim + s + k] = v;
                        }
                    }
                }
            }
            s += coordinates(&free.kind, free.len);
        }
        out
    }

    /// The covariance of the prior.
    ///
    /// # Shapes
    /// `[coordinate, coordinate]`.
    ///
    /// # Units
    /// `mean_b0` in the unit of the signals: the centre of the default prior of `s0`,
    /// used only where the user gave none.
    ///
    /// # Errors
    /// A default prior that can't be: `mean_b0` is not positive.
    pub fn prior_covariance(&self, mean_b0: f64) -> Result<Vec<f64>, PriorError> {
        let n = self.dim;
        let mut out = vec![0.0; n * n];
        let mut s = 0;
        for free in self.model.free() {
            match (&free.kind, &free.prior) {
                (FreeKind::Axis, _) => {
                    out[s * n + s] = AXIS_VARIANCE;
                    out[(s + 1) * n + s + 1] = AXIS_VARIANCE;
                }
                (FreeKind::Fractions { total, concentration }, _) => {
                    let sum: f64 = concentration.iter().sum();
                    let mean: Vec<f64> = concentration.iter().map(|a| a / sum).collect();
                    let covariance = |i: usize, j: usize| {
                        let own = if i == j { mean[i] } else { 0.0 };
                        total * total * (own - mean[i] * mean[j]) / (sum + 1.0)
                    };
                    for k in 0..free.len - 1 {
                        for l in 0..free.len - 1 {
                            for (i, v) in helmert(free.len, k) {
                                for (j, w) in helmert(free.len, l) {
                                    out[(s + k) * n + s + l] += v * w * covariance(i, j);
                                }
                            }
                        }
                    }
                }
                (_, Some(prior)) => out[s * n + s] = prior.sd().powi(2),
                (_, None) => {
                    let prior = Model::default_scale_prior(mean_b0, free.range)?;
                    out[s * n + s] = prior.sd().powi(2);
                }
            }
            s += coordinates(&free.kind, free.len);
        }
        Ok(out)
    }

    /// The inverse of [`LocalCoordinates::prior_covariance`].
    ///
    /// # Errors
    /// As there, and a prior without spread.
    pub fn prior_precision(&self, mean_b0: f64) -> Result<Vec<f64>, InformationError> {
        let mut covariance = self.prior_covariance(mean_b0)?;
        if !cholesky(&mut covariance, self.dim, 1e-14) {
            return Err(InformationError::Spread);
        }
        Ok(cholesky_inverse(&covariance, self.dim))
    }
}

/// Coordinates of a block.
fn coordinates(kind: &FreeKind, values: usize) -> usize {
    match kind {
        FreeKind::Axis => 2,
        FreeKind::Fractions { .. } => values - 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::compose_models;

    #[test]
    fn basis_is_tangent_and_orthonormal() {
        let model = compose_models(["stick", "zeppelin", "ball", "dot"]).unwrap();
        let local = LocalCoordinates::new(&model);
        let mut x = vec![0.25; model.values()];
        let axes: Vec<usize> =
            model.free().iter().filter(|f| f.kind == FreeKind::Axis).map(|f| f.at).collect();
        for &at in &axes {
            x[at..at + 3].copy_from_slice(&[0.6, 0.64, -0.48]);
        }
        let (basis, n) = (local.basis(&x), local.dim());
        let column = |k: usize| basis.iter().skip(k).step_by(n).copied().collect::<Vec<f64>>();
        for k in 0..n {
            for l in 0..n {
                let dot: f64 = column(k).iter().zip(column(l)).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(k == l)).abs() < 1e-14, "{k} {l}");
            }
            for &at in &axes {
                let along: f64 = (0..3).map(|i| x[at + i] * column(k)[at + i]).sum();
                assert!(along.abs() < 1e-15);
            }
            let fractions = model.free().iter().find(|f| f.name == "fractions").unwrap();
            let sum: f64 = column(k)[fractions.at..fractions.at + fractions.len].iter().sum();
            assert!(sum.abs() < 1e-15);
        }
        assert_eq!(local.names().len(), n);
    }

    /// Two fractions of Dirichlet(1, 1) are uniform: variance 1/12, 1/6 along (1, -1)/sqrt 2.
    #[test]
    fn prior_equals_moments() {
        let model = compose_models(["stick", "ball"]).unwrap();
        let local = LocalCoordinates::new(&model);
        let covariance = local.prior_covariance(1.0).unwrap();
        let n = local.dim();
        let at = |name: &str| local.names().iter().position(|m| m == name).unwrap();
        let (f, mu) = (at("fractions"), at("stick.mu"));
        assert!((covariance[f * n + f] - 1.0 / 6.0).abs() < 1e-15);
        // The mean squared angle by the midpoint rule.
        let h = PI / 2.0 / 1e5;
        let angle: f64 =
            (0..100_000).map(|i| (f64::from(i) + 0.5) * h).map(|t| t * t * t.sin() * h).sum();
        assert!((2.0 * covariance[mu * n + mu] - angle).abs() < 1e-8);
        let precision = local.prior_precision(1.0).unwrap();
        for i in 0..n {
            for j in 0..n {
                let product: f64 =
                    (0..n).map(|k| covariance[i * n + k] * precision[k * n + j]).sum();
                assert!((product - f64::from(i == j)).abs() < 1e-12);
            }
        }
    }
}
