//! Bingham dispersion: a fan of axes about $\mu$, wider towards $m_2$, with density
//! $\propto e^{\kappa(\mu\cdot n)^2 + \beta(m_2\cdot n)^2}$.
//!
//! $$E(g) = \sum_l c_{s,l}\sum_m B_{lm}(\kappa,\beta)H_{lm}(g),\qquad
//!   \mathrm{odi} = \tfrac2\pi\arctan\tfrac1\kappa,\qquad \beta = \mathrm{beta\_fraction}\cdot\kappa$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $c_{s,l}$ | 1 | Legendre coefficients of the compartment without dispersion |
//! | $B_{lm}$ | 1 | means of the harmonics $H_{lm}$ of the frame $\mu, m_2, m_3$ |
//! | odi | 1 | dispersion across the fan (towards $m_3$): 0 none, 1 isotropic |
//! | $\psi$ | rad | angle of $m_2$ about $\mu$ (`frame.rs`), period π |
//! | beta_fraction | 1 | 0: Watson; 1: a girdle between $\mu$ and $m_2$ |
//!
//! The dispersion within the fan is $\tfrac2\pi\arctan\frac1{\kappa-\beta}$. Degrees and
//! orders are as many as 1e-13 needs, whatever b and odi; degrees end at 190 and odi
//! begins at 0.001 ($\kappa = 637$), up to which the nodes for $B_{lm}$ suffice.
//!
//! Source: Tariq et al. 2016, doi:10.1016/j.neuroimage.2016.01.046, eqs. 3 to 7;
//! Sotiropoulos et al. 2012, doi:10.1016/j.neuroimage.2012.01.061, eq. 4.
//! Validated by `signals_equal_golden`, `jacobian_equals_dual_numbers` and
//! `without_a_fan_it_is_watson`.

use super::watson::{ODI, concentration};
use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::frame::{Frame, PSI, flip};
use crate::orthotropic::OrthotropicSeries;
use crate::parameter::{ParameterSpec, Unit};
use crate::zonal::from_coefficients;
use std::sync::Arc;

/// The declaration of the anisotropy of the fan.
const BETA_FRACTION: ParameterSpec = ParameterSpec {
    name: "beta_fraction",
    unit: Unit::One,
    range: [0.0, 1.0],
    scale: 0.3,
    domain: [0.0, 1.0],
    default: None,
    period: None,
    meaning: "anisotropy of the dispersion, beta/kappa: 0 round, 1 a girdle",
};

/// A compartment under Bingham dispersion; `odi`, `psi` and `beta_fraction` are its
/// last parameters.
#[derive(Debug)]
pub struct BinghamDispersed {
    inner: Arc<dyn Compartment>,
    kind: String,
    parameters: Vec<ParameterSpec>,
    reference: String,
}

impl BinghamDispersed {
    /// Disperses an axisymmetric compartment; `None` for one without an axis or one
    /// that is not axisymmetric.
    pub fn new(inner: Arc<dyn Compartment>) -> Option<Self> {
        if !inner.oriented() || !matches!(inner.family(), Family::Quadratic | Family::Zonal) {
            return None;
        }
        let odi = ParameterSpec {
            domain: [0.001, 1.0],
            meaning: "dispersion index across the fan, (2/pi) arctan(1/kappa)",
            ..ODI
        };
        let mut parameters = inner.parameters().to_vec();
        parameters.extend([odi, PSI, BETA_FRACTION]);
        Some(Self {
            kind: format!("{}, bingham", inner.kind()),
            reference: format!(
                "{}; dispersion: Tariq et al. 2016, doi:10.1016/j.neuroimage.2016.01.046",
                inner.reference()
            ),
            parameters,
            inner,
        })
    }

    /// Number of parameters of the compartment inside.
    fn own(&self) -> usize {
        self.parameters.len() - 3
    }
}

impl Compartment for BinghamDispersed {
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
        Family::Orthotropic
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
        let mut series = OrthotropicSeries::new(shells, self.own());
        series.inner = Some(Box::new(self.inner.coefficients(shells)));
        Coefficients::Orthotropic(Box::new(series))
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], mu: [f64; 3], out: &mut Coefficients) {
        let Coefficients::Orthotropic(series) = out else { return };
        let Some(mut inner) = series.inner.take() else { return };
        let n = self.own();
        self.inner.lower(shells, &scalars[..n], mu, &mut inner);
        from_coefficients(&inner, n, &mut series.zonal);
        series.inner = Some(inner);
        let [odi, psi, fraction] = [scalars[n], scalars[n + 1], scalars[n + 2]];
        let (kappa, d_kappa) = concentration(odi);
        let chain = [[d_kappa, d_kappa * fraction], [0.0, kappa]];
        series.average([kappa, fraction * kappa], chain);
        series.frame = Frame::new(mu, psi);
        series.measure();
    }

    fn flip_axis(&self, scalars: &mut [f64], mu: &mut [f64; 3]) {
        flip(&mut scalars[self.own() + 1], mu);
    }

    fn reference(&self) -> &str {
        &self.reference
    }
}
