//! Spherical means: the signal averaged over all directions of the gradient.
//!
//! $$\bar E_s = \frac1{4\pi}\int_{S^2} E_s(g)\,dg$$
//!
//! | family | mean |
//! |---|---|
//! | isotropic | the value |
//! | $e^{-a-ct^2}$ | $e^{-a}\int_0^1 e^{-ct^2}dt = e^{-a}\sqrt{\pi/4c}\,\mathrm{erf}\sqrt c$ for $c>0$ (Dawson's integral for $c<0$) |
//! | zonal | the coefficient $c_{s,0}$ |
//! | tensor | $\int_0^1 e^{-b(\lambda_3t^2+(1-t^2)\frac{\lambda_1+\lambda_2}2)}I_0\!\left(b(1-t^2)\tfrac{\lambda_1-\lambda_2}2\right)dt$ |
//!
//! The mean does not depend on the axis, nor on how axes are dispersed. Under a b-tensor
//! $b_\circ I + b_agg^T$ that of a tensor is $e^{-b_\circ\mathrm{tr}D}$ times the last row at
//! $b_a$, which is negative for planar encoding.
//! The second row is computed as the moment $F_0$ of
//! [`microtome_kernels::legendre::gaussian_moments`], which does not cancel at any
//! $c$; the last one by as many Gauss-Legendre nodes as $b(\lambda_1-\lambda_3)$ needs.
//!
//! Symbols: $b$ in ms/µm², $\lambda$ in µm²/ms, $t$ a cosine.
//!
//! Source: Kaden et al. 2016, doi:10.1002/mrm.25734, eqs. 5 to 8. Validated by
//! `mean_equals_closed_form` and `mean_of_tensor_equals_quadrature` below and
//! `spherical_means_equal_reference`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family, needs_axis};
use crate::parameter::ParameterSpec;
use microtome_kernels::legendre::{RULES, gaussian_moments, gaussian_terms, half_rule};
use microtome_kernels::simd::LANES;
use microtome_kernels::special::{bessel_ratio, ln_i0e};
use std::sync::Arc;

/// The mean of every shell and its derivatives from the coefficients of a family;
/// NaN for a tensor, whose compartment knows its diffusivities.
///
/// # Shapes
/// `value` `[shell]`, `d_value` `[parameter, shell]`.
pub(crate) fn of_coefficients(
    lowered: &Coefficients,
    parameters: usize,
    value: &mut [f64],
    d_value: &mut [f64],
) {
    let shells = value.len();
    match lowered {
        Coefficients::Isotropic { value: v, d_value: d } => {
            value.copy_from_slice(v);
            d_value.copy_from_slice(&d[..parameters * shells]);
        }
        Coefficients::Quadratic { a, c, d_a, d_c } => {
            for s in 0..shells {
                let x = -c[s];
                let (mut f, mut slope) = ([[0.0; LANES]; 1], [[0.0; LANES]; 1]);
                gaussian_moments(&[x; LANES], &mut f, &mut slope);
                let scale = (x.max(0.0) - a[s]).exp();
                let shift = if x >= 0.0 { 1.0 } else { 0.0 };
                value[s] = scale * f[0][0];
                let second = scale * (slope[0][0] + shift * f[0][0]);
                for j in 0..parameters {
                    let p = j * shells + s;
                    d_value[p] = -d_a[p] * value[s] - d_c[p] * second;
                }
            }
        }
        Coefficients::Zonal(series) => {
            for s in 0..shells {
                value[s] = series.c[s * series.stride];
                for j in 0..parameters {
                    d_value[j * shells + s] = series.d_c[series.row(j, s)];
                }
            }
        }
        Coefficients::Orthotropic(series) => {
            // The density drops out: its parameters have no slope.
            d_value.fill(0.0);
            let inner = &series.zonal;
            for s in 0..shells {
                value[s] = inner.c[s * inner.stride];
                for j in 0..series.own {
                    d_value[j * shells + s] = inner.d_c[inner.row(j, s)];
                }
            }
        }
        Coefficients::Tensor { .. } => {
            value.fill(f64::NAN);
            d_value.fill(f64::NAN);
        }
    }
}

/// The mean of $e^{-b\,g^TDg}$ for the eigenvalues of $D$, and its derivatives with
/// respect to them; b may be negative.
pub(crate) fn of_tensor(b: f64, lambda: [f64; 3]) -> (f64, [f64; 3]) {
    let low = lambda.iter().copied().fold(f64::INFINITY, f64::min);
    let high = lambda.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let nodes = gaussian_terms(b * (high - low)) / 2 + 2;
    let index = RULES.iter().position(|n| *n >= nodes).unwrap_or(RULES.len() - 1);
    let rule = half_rule(index);
    let [l1, l2, l3] = lambda;
    let (mut mean, mut slope) = (0.0, [0.0; 3]);
    for (t, w) in rule.nodes.iter().zip(&rule.weights) {
        let (u, v) = (t * t, 1.0 - t * t);
        let z = 0.5 * b * v * (l1 - l2);
        let nearer = if b < 0.0 { l1.max(l2) } else { l1.min(l2) };
        let e = w * (ln_i0e(z) - b * (l3 * u + v * nearer)).exp();
        let ratio = bessel_ratio(z);
        mean += e;
        slope[0] -= 0.5 * b * v * (1.0 - ratio) * e;
        slope[1] -= 0.5 * b * v * (1.0 + ratio) * e;
        slope[2] -= b * u * e;
    }
    (mean, slope)
}

/// A compartment whose signal is the spherical mean of another: no axis, and no
/// angles about it.
#[derive(Debug)]
pub struct SphericalMean {
    inner: Arc<dyn Compartment>,
    kind: String,
    parameters: Vec<ParameterSpec>,
    kept: Vec<usize>,
}

impl SphericalMean {
    /// The spherical mean of a compartment; one without an axis stays as it is.
    pub fn of(inner: Arc<dyn Compartment>) -> Arc<dyn Compartment> {
        if !inner.oriented() {
            return inner;
        }
        let all = inner.parameters();
        let kept: Vec<usize> = (0..all.len()).filter(|j| all[*j].period.is_none()).collect();
        Arc::new(Self {
            kind: format!("{}, spherical mean", inner.kind()),
            parameters: kept.iter().map(|j| all[*j]).collect(),
            kept,
            inner,
        })
    }
}

impl Compartment for SphericalMean {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    fn oriented(&self) -> bool {
        false
    }

    fn family(&self) -> Family {
        Family::Isotropic
    }

    fn needs_timing(&self) -> bool {
        self.inner.needs_timing()
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        self.inner.refuses(shell).or_else(|| needs_axis(shell))
    }

    fn needs_repetition_time(&self) -> bool {
        self.inner.needs_repetition_time()
    }

    fn needs_echo_time(&self) -> bool {
        self.inner.needs_echo_time()
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        let Coefficients::Isotropic { value, d_value } = out else { return };
        let n = shells.len();
        let mut all = vec![0.0; self.inner.parameters().len()];
        for (j, scalar) in self.kept.iter().zip(scalars) {
            all[*j] = *scalar;
        }
        let mut lowered = self.inner.coefficients(shells);
        self.inner.lower(shells, &all, [0.0, 0.0, 1.0], &mut lowered);
        let mut slopes = vec![0.0; all.len() * n];
        self.inner.spherical_mean(shells, &all, &lowered, value, &mut slopes);
        for (row, j) in d_value.chunks_mut(n.max(1)).zip(&self.kept) {
            row.copy_from_slice(&slopes[j * n..(j + 1) * n]);
        }
    }

    fn reference(&self) -> &str {
        self.inner.reference()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::compartment::by_kind;
    use crate::dispersion::WatsonDispersed;

    fn shells() -> Vec<Shell> {
        let shell = |b| Shell::pulsed(b, 10.0, 30.0);
        [0.0, 1e-6, 0.4, 3.0, 30.0].map(shell).to_vec()
    }

    fn mean(kind: Arc<dyn Compartment>, scalars: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mean = SphericalMean::of(kind);
        let mut out = mean.coefficients(&shells());
        mean.lower(&shells(), scalars, [0.0; 3], &mut out);
        let Coefficients::Isotropic { value, d_value } = out else { panic!("wrong family") };
        (value, d_value)
    }

    #[test]
    fn mean_equals_closed_form() {
        let table = include_str!("../../tests/golden/spherical_means.csv");
        for line in table.lines().skip(1) {
            let v: Vec<f64> = line.split(',').map(|v| v.parse().unwrap()).collect();
            let shells = [Shell { b: v[2], ..Shell::default() }];
            let mean = SphericalMean::of(by_kind("zeppelin").unwrap());
            let mut out = mean.coefficients(&shells);
            mean.lower(&shells, &v[..2], [0.0; 3], &mut out);
            let Coefficients::Isotropic { value, d_value } = out else { panic!("wrong family") };
            assert!((value[0] - v[3]).abs() < 1e-15 + 1e-14 * v[3], "{line}: {}", value[0]);
            for k in 0..2 {
                let tolerance = 1e-15 + 2e-14 * v[4 + k].abs();
                assert!((d_value[k] - v[4 + k]).abs() < tolerance, "{line}: {k} {}", d_value[k]);
            }
        }
    }

    #[test]
    fn dispersion_does_not_change_the_mean() {
        let stick = by_kind("stick").unwrap();
        let (plain, _) = mean(stick.clone(), &[1.7]);
        let dispersed = WatsonDispersed::new(stick).unwrap();
        let (value, slope) = mean(Arc::new(dispersed), &[1.7, 0.3]);
        for s in 0..plain.len() {
            assert!((plain[s] - value[s]).abs() < 1e-14);
            assert!(slope[plain.len() + s].abs() < 1e-14, "slope of odi {s}");
        }
    }

    #[test]
    fn mean_of_tensor_equals_quadrature() {
        // Trapezoidal in the azimuth, Gauss-Legendre in the cosine: another formula.
        let plain = |b: f64, l: [f64; 3]| {
            let rule = half_rule(RULES.len() - 2);
            let m = 256;
            let mut sum = [0.0; 4];
            for (t, w) in rule.nodes.iter().zip(&rule.weights) {
                for k in 0..m {
                    let phi = std::f64::consts::TAU * f64::from(k) / f64::from(m);
                    let v = 1.0 - t * t;
                    let g = [v * phi.cos().powi(2), v * phi.sin().powi(2), t * t];
                    let d: f64 = g.iter().zip(l).map(|(g, l)| g * l).sum();
                    let e = w / f64::from(m) * (-b * d).exp();
                    sum[0] += e;
                    (0..3).for_each(|k| sum[k + 1] -= b * g[k] * e);
                }
            }
            sum
        };
        for l in [[2.0, 1.0, 0.3], [0.4, 1.5, 0.9], [1.0, 1.0, 1.0], [0.1, 0.1, 3.9]] {
            for b in [0.0, 0.7, 4.0, 30.0] {
                let (value, slope) = of_tensor(b, l);
                let expected = plain(b, l);
                assert!((value - expected[0]).abs() < 1e-13, "{l:?} b {b}: {value}");
                for k in 0..3 {
                    let difference = slope[k] - expected[k + 1];
                    assert!(difference.abs() < 1e-13, "{l:?} b {b} {k}: {difference:e}");
                }
            }
        }
        let (value, slope) = mean(by_kind("tensor").unwrap(), &[2.0, 1.0, 0.3]);
        let (expected, d) = of_tensor(3.0, [2.0, 1.0, 0.3]);
        assert_eq!(value[3], expected);
        assert_eq!([slope[3], slope[8], slope[13]], d);
    }
}
