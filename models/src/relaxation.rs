//! T2 relaxation of one compartment.
//!
//! $$E(\mathrm{TE}, \dots) = e^{-\mathrm{TE}/T_2}\,E_0(\dots)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | TE | ms | echo time of the shell |
//! | $T_2$ | ms | transverse relaxation time, parameter `t2_ms` |
//!
//! With it `s0` is the signal at TE = 0 and the fractions are those of the water, not
//! of the signal at the echo. With one TE for all measurements the factor of one
//! compartment can't be told from its fraction and `s0`: at least two are needed.
//!
//! Source: Veraart, Novikov & Fieremans 2018, doi:10.1016/j.neuroimage.2017.09.030, eq. 1.
//! Validated by `modifiers_equal_golden` and `slopes_equal_differences`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, Unit};
use std::sync::Arc;

/// The declaration of T2: from myelin water to water that is free.
const T2: ParameterSpec = ParameterSpec {
    name: "t2_ms",
    unit: Unit::Millisecond,
    range: [5.0, 2000.0],
    scale: 80.0,
    domain: [0.0, f64::INFINITY],
    default: None,
    period: None,
    meaning: "transverse relaxation time",
};

/// T2 (ms) that the signal at TE = 0 is guessed with, before there is a fit.
pub(crate) const TYPICAL_T2_MS: f64 = 80.0;

/// A compartment whose signal decays with the echo time; `t2_ms` is its last parameter.
#[derive(Debug)]
pub struct Relaxed {
    inner: Arc<dyn Compartment>,
    kind: String,
    parameters: Vec<ParameterSpec>,
    reference: String,
}

impl Relaxed {
    /// A compartment with T2; `None` for a full tensor, and for a dispersed one: a
    /// factor of every shell goes inside the dispersion.
    pub fn new(inner: Arc<dyn Compartment>) -> Option<Self> {
        if matches!(inner.family(), Family::Tensor | Family::Orthotropic) {
            return None;
        }
        let mut parameters = inner.parameters().to_vec();
        parameters.push(T2);
        Some(Self {
            kind: format!("{}, T2", inner.kind()),
            reference: format!(
                "{}; T2: Veraart et al. 2018, doi:10.1016/j.neuroimage.2017.09.030",
                inner.reference()
            ),
            parameters,
            inner,
        })
    }
}

impl Compartment for Relaxed {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &self.parameters
    }

    fn oriented(&self) -> bool {
        self.inner.oriented()
    }

    fn family(&self) -> Family {
        self.inner.family()
    }

    fn needs_timing(&self) -> bool {
        self.inner.needs_timing()
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        self.inner.refuses(shell)
    }

    fn needs_echo_time(&self) -> bool {
        true
    }

    /// The room of the inner compartment, one parameter longer.
    fn coefficients(&self, shells: &[Shell]) -> Coefficients {
        let mut out = self.inner.coefficients(shells);
        let grow = |table: &mut Vec<f64>, row: usize| table.resize(table.len() + row, 0.0);
        match &mut out {
            Coefficients::Isotropic { d_value, .. } => grow(d_value, shells.len()),
            Coefficients::Quadratic { d_a, d_c, .. } => {
                grow(d_a, shells.len());
                grow(d_c, shells.len());
            }
            Coefficients::Zonal(series) => grow(&mut series.d_c, shells.len() * series.stride),
            Coefficients::Orthotropic(_) | Coefficients::Tensor { .. } => {}
        }
        out
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], mu: [f64; 3], out: &mut Coefficients) {
        let last = self.parameters.len() - 1;
        let t2 = scalars[last];
        let n = shells.len();
        // Compartments write what differs from zero, and a factor was here before.
        match out {
            Coefficients::Isotropic { value, d_value } => {
                value.fill(0.0);
                d_value.fill(0.0);
            }
            Coefficients::Quadratic { a, c, d_a, d_c } => {
                [a, c, d_a, d_c].into_iter().for_each(|table| table.fill(0.0));
            }
            _ => {}
        }
        self.inner.lower(shells, &scalars[..last], mu, out);
        for (s, shell) in shells.iter().enumerate() {
            let te = shell.te_ms.unwrap_or(f64::NAN);
            let slope = te / (t2 * t2);
            match out {
                Coefficients::Isotropic { value, d_value } => {
                    let factor = (-te / t2).exp();
                    value[s] *= factor;
                    for j in 0..last {
                        d_value[j * n + s] *= factor;
                    }
                    d_value[last * n + s] = value[s] * slope;
                }
                Coefficients::Quadratic { a, d_a, .. } => {
                    a[s] += te / t2;
                    d_a[last * n + s] = -slope;
                }
                Coefficients::Zonal(series) => {
                    let factor = (-te / t2).exp();
                    let (terms, t2_row) = (series.terms[s], series.row(last, s));
                    let c = s * series.stride;
                    for k in 0..terms {
                        series.c[c + k] *= factor;
                        for j in 0..last {
                            let row = series.row(j, s) + k;
                            series.d_c[row] *= factor;
                        }
                        series.d_c[t2_row + k] = series.c[c + k] * slope;
                    }
                }
                Coefficients::Orthotropic(_) | Coefficients::Tensor { .. } => {}
            }
        }
    }

    fn reference(&self) -> &str {
        &self.reference
    }
}
