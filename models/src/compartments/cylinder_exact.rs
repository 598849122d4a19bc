//! Cylinder, exact for rectangular pulses of any duration.
//!
//! $$E = e^{-b\lambda_\parallel t^2}\,E_\perp\!\left(\gamma G\delta\sqrt{1-t^2}\right),\qquad t = g\cdot\mu$$
//!
//! with the matrix formalism of [`microtome_kernels::restricted::pulse`] for $E_\perp$: no
//! short-pulse and no Gaussian-phase approximation.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $2R$ | µm | diameter, at most 50 |
//! | $\lambda_\perp$ | µm²/ms | intrinsic diffusivity across the axis |
//! | $\mu$ | | unit axis |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077 (matrix formalism); Callaghan 1997,
//! doi:10.1006/jmre.1997.1233.
//! Validated by `exact_signals_equal_reference` and `exact_slopes_equal_differences`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, exact_size, intrinsic};
use crate::pulse::HalfOpenPore;
use microtome_kernels::restricted::Geometry;

/// An impermeable cylinder at any pulse duration and any gradient.
#[derive(Debug)]
pub struct CylinderExact;

const PARAMETERS: [ParameterSpec; 3] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    exact_size("diameter", 20.0, "inner diameter"),
    intrinsic("lambda_perp_intrinsic", "intrinsic diffusivity across the axis"),
];

fn pore(scalars: &[f64]) -> HalfOpenPore {
    HalfOpenPore {
        geometry: Geometry::Cylinder,
        size: scalars[1],
        intrinsic: scalars[2],
        free: scalars[0],
        rows: [1, 2, 0],
    }
}

impl Compartment for CylinderExact {
    fn kind(&self) -> &str {
        "cylinder_exact"
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

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Zonal(series) = out {
            pore(scalars).lower(shells, series);
        }
    }

    fn profile(
        &self,
        shell: &Shell,
        scalars: &[f64],
        t: &[f64],
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        pore(scalars).fill(shell, t, value, d_value);
    }

    fn reference(&self) -> &str {
        "Grebenkov 2007, doi:10.1103/RevModPhys.79.1077; Callaghan 1997, doi:10.1006/jmre.1997.1233"
    }
}
