//! Cylinder, short pulses and a long diffusion time: free along the axis,
//! restricted across.
//!
//! $$E = e^{-b\lambda_\parallel t^2}\left[\frac{2J_1(x)}{x}\right]^2,\qquad
//!   x = \gamma G\delta R\sqrt{1-t^2},\qquad t = g\cdot\mu$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $2R$ | µm | diameter |
//! | $\gamma G\delta = \sqrt{b/\tau}$ | rad/µm | |
//!
//! Source: Söderman & Jönsson 1995, doi:10.1006/jmra.1995.0014.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, size};
use crate::restricted::long_time::Shape;
use crate::restricted::{attenuate, dephasing};

/// An impermeable cylinder after short pulses and a long diffusion time.
#[derive(Debug)]
pub struct CylinderSgp;

const PARAMETERS: [ParameterSpec; 2] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    size("diameter", 20.0, "inner diameter"),
];

impl Compartment for CylinderSgp {
    fn kind(&self) -> &str {
        "cylinder_sgp"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &PARAMETERS
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Zonal
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn profile(
        &self,
        shell: &Shell,
        scalars: &[f64],
        t: &[f64],
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        let Some((q, _)) = dephasing(shell) else {
            value.fill(1.0);
            return;
        };
        let (along, across) = d_value.split_at_mut(t.len());
        let radius = 0.5 * scalars[1];
        for (i, t) in t.iter().enumerate() {
            let square = q * q * (1.0 - t * t);
            let [e, slope] = Shape::Cylinder.form(square * radius * radius);
            value[i] = e;
            across[i] = slope * square * radius;
        }
        attenuate(t, |t| -shell.b * t * t, scalars[0], value, along, &mut [across]);
    }

    fn reference(&self) -> &str {
        "Soderman & Jonsson 1995, doi:10.1006/jmra.1995.0014"
    }
}
