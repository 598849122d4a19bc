//! Sphere, short pulses and a long diffusion time.
//!
//! $$E = \left[\frac{3j_1(x)}{x}\right]^2,\qquad x = \gamma G\delta R = 2\pi qR$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter |
//! | $q$ | 1/µm | from b: $\gamma G\delta = \sqrt{b/\tau}$ |
//!
//! Source: Balinov et al. 1993, doi:10.1006/jmra.1993.1184.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, size};
use crate::restricted::dephasing;
use crate::restricted::long_time::Shape;

/// An impermeable sphere after short pulses and a long diffusion time.
#[derive(Debug)]
pub struct SphereSgp;

const PARAMETERS: [ParameterSpec; 1] = [size("diameter", 30.0, "inner diameter")];

impl Compartment for SphereSgp {
    fn kind(&self) -> &str {
        "sphere_sgp"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &PARAMETERS
    }

    fn oriented(&self) -> bool {
        false
    }

    fn family(&self) -> Family {
        Family::Isotropic
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Isotropic { value, d_value } = out {
            let radius = 0.5 * scalars[0];
            for (s, shell) in shells.iter().enumerate() {
                let q = dephasing(shell).map_or(0.0, |(q, _)| q);
                let [e, slope] = Shape::Sphere.form(q * q * radius * radius);
                value[s] = e;
                d_value[s] = slope * q * q * radius;
            }
        }
    }

    fn reference(&self) -> &str {
        "Balinov et al. 1993, doi:10.1006/jmra.1993.1184"
    }
}
