//! Parallel planes, exact for rectangular pulses of any duration.
//!
//! $$E = E_\mathrm{planes}(\gamma G\delta)\quad\text{or}\quad E = E_\mathrm{planes}(\gamma G\delta\,|t|)\,e^{-b\lambda_\parallel(1-t^2)},\qquad t = g\cdot\mu$$
//!
//! with the matrix formalism of [`microtome_kernels::restricted::pulse`] for
//! $E_\mathrm{planes}$. Without an orientation every gradient is taken along the normal;
//! with one, $\mu$ is the normal and diffusion in the plane is free.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | separation, at most 50 |
//! | $D$ | µm²/ms | intrinsic diffusivity along the normal |
//! | $\lambda_\parallel$ | µm²/ms | diffusivity in the plane |
//! | $\mu$ | | unit normal |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077 (matrix formalism); Callaghan 1997,
//! doi:10.1006/jmre.1997.1233.
//! Validated by `exact_signals_equal_reference` and `exact_slopes_equal_differences`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, exact_size, intrinsic};
use crate::pulse::{HalfOpenPore, pulse};
use microtome_kernels::restricted::Geometry;
use microtome_kernels::restricted::pulse::{Pulse, signals};
use std::sync::Arc;

/// Two impermeable planes at any pulse duration and any gradient.
#[derive(Debug, Default)]
pub struct PlaneExact {
    /// Whether the planes have a normal `mu`, and free diffusion along them; else
    /// every gradient is taken along the normal.
    pub oriented: bool,
}

const PARAMETERS: [ParameterSpec; 3] = [
    exact_size("separation", 20.0, "distance between the planes"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity along the normal"),
    diffusivity("lambda_par", "diffusivity in the plane"),
];

fn pore(scalars: &[f64]) -> HalfOpenPore {
    HalfOpenPore {
        geometry: Geometry::Planes,
        size: scalars[0],
        intrinsic: scalars[1],
        free: scalars[2],
        rows: [0, 1, 2],
    }
}

impl Compartment for PlaneExact {
    fn kind(&self) -> &str {
        "plane_exact"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        if self.oriented { &PARAMETERS } else { &PARAMETERS[..2] }
    }

    fn with_axis(&self) -> Option<Arc<dyn Compartment>> {
        Some(Arc::new(Self { oriented: true }))
    }

    fn oriented(&self) -> bool {
        self.oriented
    }

    fn family(&self) -> Family {
        if self.oriented { Family::Zonal } else { Family::Isotropic }
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        match out {
            Coefficients::Isotropic { value, d_value } => {
                let pulses: Vec<Pulse> = shells.iter().map(pulse).collect();
                let (d_size, d_d) = d_value.split_at_mut(shells.len());
                signals(Geometry::Planes, scalars[0], scalars[1], &pulses, value, d_size, d_d);
            }
            Coefficients::Zonal(series) => pore(scalars).lower(shells, series),
            _ => {}
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
