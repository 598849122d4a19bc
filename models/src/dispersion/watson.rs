//! Watson dispersion: axes about $\mu$ with density $\propto e^{\kappa(\mu\cdot n)^2}$.
//!
//! $$E(g) = \sum_k c_{s,k}\,w_k(\kappa)\,P_{2k}(g\cdot\mu),\qquad
//!   w_k = \frac{\int_0^1 e^{\kappa t^2}P_{2k}(t)\,dt}{\int_0^1 e^{\kappa t^2}\,dt},\qquad
//!   \mathrm{odi} = \tfrac2\pi\arctan\tfrac1\kappa$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $c_{s,k}$ | 1 | Legendre coefficients of the compartment without dispersion |
//! | $\kappa$ | 1 | concentration |
//! | odi | 1 | orientation dispersion index: 0 none, 1 isotropic |
//!
//! The series is as long as 1e-13 needs; no order is cut by b or by odi.
//!
//! Source: Zhang et al. 2012, doi:10.1016/j.neuroimage.2012.03.072, eqs. 2 and 9.
//! Validated by `signals_equal_golden` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, Unit};
use crate::zonal::{NEGLIGIBLE, ZonalSeries, from_coefficients};
use microtome_kernels::legendre::{MAX_TERMS, gaussian_moments, narrow_ratios};
use microtome_kernels::simd::{Block, LANES};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

/// The declaration of the orientation dispersion index.
pub(super) const ODI: ParameterSpec = ParameterSpec {
    name: "odi",
    unit: Unit::One,
    range: [0.01, 0.99],
    scale: 0.2,
    domain: [f64::MIN_POSITIVE, 1.0],
    default: None,
    period: None,
    meaning: "orientation dispersion index, (2/pi) arctan(1/kappa)",
};

/// $\kappa = \cot(\pi\,\mathrm{odi}/2)$ and its derivative.
pub(super) fn concentration(odi: f64) -> (f64, f64) {
    let (s, c) = (FRAC_PI_2 * odi.clamp(1e-6, 1.0)).sin_cos();
    (c / s, -FRAC_PI_2 / (s * s))
}

/// A compartment under Watson dispersion; `odi` is its last parameter.
#[derive(Debug)]
pub struct WatsonDispersed {
    inner: Arc<dyn Compartment>,
    kind: String,
    parameters: Vec<ParameterSpec>,
    reference: String,
}

impl WatsonDispersed {
    /// Disperses an axisymmetric compartment; `None` for one without an axis or a
    /// full tensor.
    pub fn new(inner: Arc<dyn Compartment>) -> Option<Self> {
        if !inner.oriented() || !matches!(inner.family(), Family::Quadratic | Family::Zonal) {
            return None;
        }
        let mut parameters = inner.parameters().to_vec();
        parameters.push(ODI);
        Some(Self {
            kind: format!("{}, watson", inner.kind()),
            reference: format!(
                "{}; dispersion: Zhang et al. 2012, doi:10.1016/j.neuroimage.2012.03.072",
                inner.reference()
            ),
            parameters,
            inner,
        })
    }
}

/// Concentrations above this need more terms than the moments of eight numbers at once
/// have.
const NARROW: f64 = 500.0;

/// $w_k(\kappa)$ and $dw_k/d\kappa$ in lane 0 of the moments.
fn watson_moments(kappa: f64, w: &mut [Block], d: &mut [Block]) {
    if kappa > NARROW {
        let (mut ratio, mut slope) = ([0.0; MAX_TERMS], [0.0; MAX_TERMS]);
        let n = w.len().min(MAX_TERMS);
        narrow_ratios(kappa, &mut ratio[..n], &mut slope[..n]);
        for (k, (w, d)) in w.iter_mut().zip(d).enumerate().take(n) {
            (w[0], d[0]) = (ratio[k], slope[k]);
        }
        return;
    }
    gaussian_moments(&[kappa; LANES], w, d);
    let (scale, slope) = (1.0 / w[0][0], d[0][0] / w[0][0]);
    for (w, d) in w.iter_mut().zip(d) {
        w[0] *= scale;
        d[0] = d[0] * scale - w[0] * slope;
    }
}

impl Compartment for WatsonDispersed {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Zonal
    }

    fn needs_timing(&self) -> bool {
        self.inner.needs_timing()
    }

    fn needs_repetition_time(&self) -> bool {
        self.inner.needs_repetition_time()
    }

    fn needs_echo_time(&self) -> bool {
        self.inner.needs_echo_time()
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        self.inner.refuses(shell)
    }

    fn coefficients(&self, shells: &[Shell]) -> Coefficients {
        let mut series = ZonalSeries::new(shells, self.parameters.len());
        series.inner = Some(Box::new(self.inner.coefficients(shells)));
        Coefficients::Zonal(series)
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], mu: [f64; 3], out: &mut Coefficients) {
        let Coefficients::Zonal(series) = out else { return };
        let Some(mut inner) = series.inner.take() else { return };
        let n = self.parameters.len() - 1;
        self.inner.lower(shells, &scalars[..n], mu, &mut inner);
        from_coefficients(&inner, n, series);
        series.inner = Some(inner);
        let (kappa, d_kappa) = concentration(scalars[n]);
        let most = series.terms.iter().copied().max().unwrap_or(1);
        let [mut w, mut d] = std::mem::take(&mut series.moments);
        watson_moments(kappa, &mut w[..most], &mut d[..most]);
        let stride = series.stride;
        for s in 0..series.shells() {
            let terms = series.terms[s];
            let odi = series.row(n, s);
            let mut used = 1;
            for k in 0..terms {
                let c = series.c[s * stride + k];
                series.c[s * stride + k] = c * w[k][0];
                let slope = c * d[k][0] * d_kappa;
                series.d_c[odi + k] = slope;
                let mut largest = (c * w[k][0]).abs().max(slope.abs());
                for j in 0..n {
                    let row = series.row(j, s) + k;
                    series.d_c[row] *= w[k][0];
                    largest = largest.max(series.d_c[row].abs());
                }
                if largest > NEGLIGIBLE {
                    used = k + 1;
                }
            }
            series.trim(s, used, terms);
        }
        series.moments = [w, d];
    }

    fn reference(&self) -> &str {
        &self.reference
    }
}
