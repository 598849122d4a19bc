//! T2 and T1 relaxation of one compartment.
//!
//! $$E(\mathrm{TE}, \mathrm{TR}, \dots) = e^{-\mathrm{TE}/T_2}\,\big(1 - e^{-\mathrm{TR}/T_1}\big)\,E_0(\dots)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | TE | ms | echo time of the shell |
//! | TR | ms | repetition time of the shell |
//! | $T_2$ | ms | transverse relaxation time, parameter `t2_ms` |
//! | $T_1$ | ms | longitudinal relaxation time, parameter `t1_ms`; saturation recovery after 90 degrees |
//!
//! With T2 `s0` is the signal at TE = 0 and the fractions are those of the water, not
//! of the signal at the echo. With one TE for all measurements the factor of one
//! compartment can't be told from its fraction and `s0`: at least two are needed. The same
//! holds for T1 and TR.
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
    domain: crate::parameter::POSITIVE,
    default: None,
    period: None,
    meaning: "transverse relaxation time",
};

/// The declaration of T1: from fat to water that is free.
const T1: ParameterSpec = ParameterSpec {
    name: "t1_ms",
    range: [100.0, 5000.0],
    scale: 1000.0,
    meaning: "longitudinal relaxation time",
    ..T2
};

/// Which relaxation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relaxation {
    /// Decay with the echo time.
    T2,
    /// Recovery with the repetition time.
    T1,
}

impl Relaxation {
    fn parameter(self) -> ParameterSpec {
        match self {
            Relaxation::T2 => T2,
            Relaxation::T1 => T1,
        }
    }

    /// The factor of a shell and the derivative of its logarithm by the relaxation time.
    fn factor(self, shell: &Shell, time: f64) -> (f64, f64) {
        match self {
            Relaxation::T2 => {
                let te = shell.te_ms.unwrap_or(f64::NAN);
                ((-te / time).exp(), te / (time * time))
            }
            Relaxation::T1 => {
                let x = shell.tr_ms.unwrap_or(f64::NAN) / time;
                let factor = -(-x).exp_m1();
                (factor, -(-x).exp() * x / (time * factor))
            }
        }
    }
}

/// T2 (ms) that the signal at TE = 0 is guessed with, before there is a fit.
pub(crate) const TYPICAL_T2_MS: f64 = 80.0;

/// A compartment whose signal depends on the echo time or the repetition time; the
/// relaxation time is its last parameter.
#[derive(Debug)]
pub struct Relaxed {
    relaxation: Relaxation,
    inner: Arc<dyn Compartment>,
    kind: String,
    parameters: Vec<ParameterSpec>,
    reference: String,
}

impl Relaxed {
    /// A compartment with T2 or T1; `None` for a full tensor, and for one dispersed by
    /// Bingham's distribution: a factor of every shell goes inside the dispersion.
    pub fn new(inner: Arc<dyn Compartment>, relaxation: Relaxation) -> Option<Self> {
        if matches!(inner.family(), Family::Tensor | Family::Orthotropic) {
            return None;
        }
        let mut parameters = inner.parameters().to_vec();
        parameters.push(relaxation.parameter());
        Some(Self {
            kind: format!("{}, {relaxation:?}", inner.kind()),
            relaxation,
            reference: format!(
                "{}; {relaxation:?}: Veraart et al. 2018, doi:10.1016/j.neuroimage.2017.09.030",
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
        self.relaxation == Relaxation::T2 || self.inner.needs_echo_time()
    }

    fn needs_repetition_time(&self) -> bool {
        self.relaxation == Relaxation::T1 || self.inner.needs_repetition_time()
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
            let (factor, slope) = self.relaxation.factor(shell, scalars[last]);
            // Nothing is left of the signal, whatever the time.
            let slope = if factor == 0.0 { 0.0 } else { slope };
            match out {
                Coefficients::Isotropic { value, d_value } => {
                    value[s] *= factor;
                    for j in 0..last {
                        d_value[j * n + s] *= factor;
                    }
                    d_value[last * n + s] = value[s] * slope;
                }
                Coefficients::Quadratic { a, d_a, .. } => {
                    a[s] -= factor.ln();
                    d_a[last * n + s] = -slope;
                }
                Coefficients::Zonal(series) => {
                    let (terms, time_row) = (series.terms[s], series.row(last, s));
                    let c = s * series.stride;
                    for k in 0..terms {
                        series.c[c + k] *= factor;
                        for j in 0..last {
                            let row = series.row(j, s) + k;
                            series.d_c[row] *= factor;
                        }
                        series.d_c[time_row + k] = series.c[c + k] * slope;
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
