//! Sphere, exact for rectangular pulses of any duration.
//!
//! $$E = \sum_k e^{-\lambda_kD(\Delta-\delta)/R^2}|u_k|^2,\qquad u = e^{(-\Lambda D/R^2 + i\gamma GR\,B)\,\delta}e_0$$
//!
//! by the matrix formalism of [`microtome_kernels::restricted::pulse`]: no short-pulse and
//! no Gaussian-phase approximation.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter, at most 50 |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077 (matrix formalism); Callaghan 1997,
//! doi:10.1006/jmre.1997.1233.
//! Validated by `exact_signals_equal_reference` and `exact_slopes_equal_differences`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, exact_size, intrinsic};
use crate::pulse::pulse;
use microtome_kernels::restricted::Geometry;
use microtome_kernels::restricted::pulse::{Pulse, signals};

/// An impermeable sphere at any pulse duration and any gradient.
#[derive(Debug)]
pub struct SphereExact;

const PARAMETERS: [ParameterSpec; 2] = [
    exact_size("diameter", 30.0, "inner diameter"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity"),
];

impl Compartment for SphereExact {
    fn kind(&self) -> &str {
        "sphere_exact"
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
            let pulses: Vec<Pulse> = shells.iter().map(pulse).collect();
            let (d_size, d_intrinsic) = d_value.split_at_mut(shells.len());
            signals(Geometry::Sphere, scalars[0], scalars[1], &pulses, value, d_size, d_intrinsic);
        }
    }

    fn reference(&self) -> &str {
        "Grebenkov 2007, doi:10.1103/RevModPhys.79.1077; Callaghan 1997, doi:10.1006/jmre.1997.1233"
    }
}
