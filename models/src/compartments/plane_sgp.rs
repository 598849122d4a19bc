//! Plates, short pulses and a long diffusion time.
//!
//! $$E = \frac{2(1-\cos y)}{y^2},\qquad y = \gamma G\delta L = 2\pi qL$$
//!
//! with the gradient along the normal, or about a normal $\mu$ with free diffusion in
//! the plane ($t = g\cdot\mu$):
//! $$E = e^{-b\lambda_\parallel(1-t^2)}\,\frac{2(1-\cos yt)}{(yt)^2}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $L$ | µm | separation of the plates |
//! | $\lambda_\parallel$ | µm²/ms | diffusivity in the plane |
//! | $\gamma G\delta = \sqrt{b/\tau}$ | rad/µm | |
//!
//! Source: Tanner & Stejskal 1968, doi:10.1063/1.1670306.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, size};
use crate::restricted::long_time::Shape;
use crate::restricted::{attenuate, dephasing};
use crate::zonal::project;
use std::sync::Arc;

/// Two impermeable plates after short pulses and a long diffusion time.
#[derive(Debug, Default)]
pub struct PlaneSgp {
    /// Whether the plates have a normal `mu`, and free diffusion along them; else
    /// every gradient is taken along the normal.
    pub oriented: bool,
}

const PARAMETERS: [ParameterSpec; 2] = [
    size("separation", 20.0, "distance between the plates"),
    diffusivity("lambda_par", "diffusivity in the plane"),
];

impl Compartment for PlaneSgp {
    fn kind(&self) -> &str {
        "plane_sgp"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        if self.oriented { &PARAMETERS } else { &PARAMETERS[..1] }
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
                let half = 0.5 * scalars[0];
                for (s, shell) in shells.iter().enumerate() {
                    let q = dephasing(shell).map_or(0.0, |(q, _)| q);
                    let [e, slope] = Shape::Plates.form(q * q * half * half);
                    value[s] = e;
                    d_value[s] = slope * q * q * half;
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
        let Some((q, _)) = dephasing(shell) else {
            value.fill(1.0);
            return;
        };
        let (across, along) = d_value.split_at_mut(t.len());
        let half = 0.5 * scalars[0];
        for (i, t) in t.iter().enumerate() {
            let square = q * q * t * t;
            let [e, slope] = Shape::Plates.form(square * half * half);
            value[i] = e;
            across[i] = slope * square * half;
        }
        let in_plane = scalars[1];
        attenuate(t, |t| -shell.b * (1.0 - t * t), in_plane, value, along, &mut [across]);
    }

    fn reference(&self) -> &str {
        "Tanner & Stejskal 1968, doi:10.1063/1.1670306"
    }
}
