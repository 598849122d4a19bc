//! Plates, short pulses and any diffusion time: the sum over modes of
//! `restricted/callaghan.rs`.
//!
//! $$E = \frac{2(1-\cos y)}{y^2} + 4y^2\sum_{m\ge1}e^{-m^2\pi^2D\tau/L^2}
//!   \frac{1-(-1)^m\cos y}{(y^2-m^2\pi^2)^2},\qquad y = \gamma G\delta L$$
//!
//! with the gradient along the normal; about a normal $\mu$, y becomes $y|g\cdot\mu|$ and
//! the factor $e^{-b\lambda_\parallel(1-(g\cdot\mu)^2)}$ stands for diffusion in the plane.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $L$ | µm | separation of the plates |
//! | $D$ | µm²/ms | intrinsic diffusivity across the plates |
//! | $\lambda_\parallel$ | µm²/ms | diffusivity in the plane |
//! | $\tau = \Delta - \delta/3$ | ms | diffusion time |
//!
//! Source: Callaghan 1995, doi:10.1006/jmra.1995.1055; Tanner & Stejskal 1968,
//! doi:10.1063/1.1670306. Validated by `signals_equal_reference` and
//! `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, intrinsic, size};
use crate::restricted::callaghan::{Pore, plates};
use crate::restricted::{attenuate, dephasing};
use crate::zonal::project;
use std::sync::Arc;

/// Two impermeable plates after short pulses.
#[derive(Debug, Default)]
pub struct PlaneCallaghan {
    /// Whether the plates have a normal `mu`, and free diffusion along them; else
    /// every gradient is taken along the normal.
    pub oriented: bool,
}

const PARAMETERS: [ParameterSpec; 3] = [
    size("separation", 20.0, "distance between the plates"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity"),
    diffusivity("lambda_par", "diffusivity in the plane"),
];

impl Compartment for PlaneCallaghan {
    fn kind(&self) -> &str {
        "plane_callaghan"
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
                let n = shells.len();
                for (s, shell) in shells.iter().enumerate() {
                    let (q, tau) = dephasing(shell).unwrap_or((0.0, 1.0));
                    let pore = Pore::new(scalars[0], scalars[1], tau);
                    let echo = plates(q * pore.size, pore.theta);
                    let (e, by_separation, by_diffusivity) = pore.slopes(q, echo);
                    value[s] = e;
                    d_value[s] = by_separation;
                    d_value[n + s] = by_diffusivity;
                }
            }
            Coefficients::Zonal(series) => project(shells, series, &mut |shell, t, v, d| {
                self.profile(shell, scalars, t, v, d);
            }),
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
        let Some((q, tau)) = dephasing(shell) else {
            value.fill(1.0);
            return;
        };
        let (across, rest) = d_value.split_at_mut(t.len());
        let (intrinsic, along) = rest.split_at_mut(t.len());
        let pore = Pore::new(scalars[0], scalars[1], tau);
        for (i, t) in t.iter().enumerate() {
            let q = q * t.abs();
            let echo = plates(q * pore.size, pore.theta);
            (value[i], across[i], intrinsic[i]) = pore.slopes(q, echo);
        }
        let rows = &mut [across, intrinsic];
        attenuate(t, |t| -shell.b * (1.0 - t * t), scalars[2], value, along, rows);
    }

    fn reference(&self) -> &str {
        "Callaghan 1995, doi:10.1006/jmra.1995.1055"
    }
}
