//! Sphere, Gaussian phase approximation.
//!
//! $$E = e^{-bD_\mathrm{app}}$$
//!
//! with the apparent diffusivity $D_\mathrm{app}(R, D, \delta, \Delta)$ of
//! `restricted/gpd.rs`. Under a free waveform the three directions add up:
//! $E = e^{-b(A_\parallel + 2A_\perp)}$ (`restricted/gpd_waveform.rs`).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//!
//! Source: Murday & Cotts 1968, doi:10.1063/1.1668160; Balinov et al. 1993,
//! doi:10.1006/jmra.1993.1184. Validated by `signals_equal_reference` and
//! `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, intrinsic, size};
use crate::restricted::gpd::{SPHERE, for_each_shell};
use microtome_kernels::exp::exp_in_place;

/// An impermeable sphere at any pulse duration, for weak dephasing.
#[derive(Debug)]
pub struct SphereGpd;

const PARAMETERS: [ParameterSpec; 2] = [
    size("diameter", 30.0, "inner diameter"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity"),
];

impl Compartment for SphereGpd {
    fn kind(&self) -> &str {
        "sphere_gpd"
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
            let n = shells.len();
            for_each_shell(&SPHERE, shells, scalars[0], scalars[1], |s, inside| {
                let b = shells[s].b;
                let (x, yz) = (inside.along, inside.across);
                value[s] = -b * (x.value + 2.0 * yz.value);
                d_value[s] = -b * (x.d_diameter + 2.0 * yz.d_diameter);
                d_value[n + s] = -b * (x.d_diffusivity + 2.0 * yz.d_diffusivity);
            });
            exp_in_place(value);
            for row in d_value.chunks_mut(n.max(1)) {
                for (d, v) in row.iter_mut().zip(value.iter()) {
                    *d *= v;
                }
            }
        }
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        (!shell.is_linear() && shell.waveform.is_none()).then_some(
            "has a signal for other than linear encoding only where the waveform is given (--waveform)",
        )
    }

    fn reference(&self) -> &str {
        "Murday & Cotts 1968, doi:10.1063/1.1668160; Balinov et al. 1993, doi:10.1006/jmra.1993.1184"
    }
}
