//! Cylinder, Gaussian phase approximation: free along the axis, restricted across.
//!
//! $$E = e^{-b[D_\mathrm{app} + (\lambda_\parallel - D_\mathrm{app})(g\cdot\mu)^2]}$$
//!
//! with the apparent diffusivity $D_\mathrm{app}(R, D, \delta, \Delta)$ of
//! `restricted/gpd.rs`. Under a free waveform with apparent diffusivities
//! $A_\parallel, A_\perp$ along and across the axis of its b-tensor
//! (`restricted/gpd_waveform.rs`), the gradient across the cylinder leaves
//!
//! $$E = e^{-b[A_\parallel + A_\perp - (A_\parallel - A_\perp)(g\cdot\mu)^2]
//!   - \lambda_\parallel[b(1 - b_\Delta)/3 + b\,b_\Delta(g\cdot\mu)^2]}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $2R$ | µm | diameter |
//! | $D$ | µm²/ms | intrinsic diffusivity across the axis |
//!
//! Source: Van Gelderen et al. 1994, doi:10.1006/jmrb.1994.1038.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, intrinsic, size};
use crate::restricted::gpd::{CYLINDER, for_each_shell};

/// An impermeable cylinder at any pulse duration, for weak dephasing across it.
#[derive(Debug)]
pub struct CylinderGpd;

const PARAMETERS: [ParameterSpec; 3] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    size("diameter", 20.0, "inner diameter"),
    intrinsic("lambda_perp_intrinsic", "intrinsic diffusivity across the axis"),
];

impl Compartment for CylinderGpd {
    fn kind(&self) -> &str {
        "cylinder_gpd"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &PARAMETERS
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Quadratic
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Quadratic { a, c, d_a, d_c } = out {
            let n = shells.len();
            for_each_shell(&CYLINDER, shells, scalars[1], scalars[2], |s, seen| {
                let (b, x, yz) = (shells[s].b, seen.along, seen.across);
                (d_a[s], d_c[s]) = (shells[s].b_isotropic(), shells[s].b_axial());
                a[s] = b * (x.value + yz.value) + d_a[s] * scalars[0];
                c[s] = d_c[s] * scalars[0] - b * (x.value - yz.value);
                let slopes = [(x.d_diameter, yz.d_diameter), (x.d_diffusivity, yz.d_diffusivity)];
                for (j, (x, yz)) in slopes.into_iter().enumerate() {
                    d_a[(j + 1) * n + s] = b * (x + yz);
                    d_c[(j + 1) * n + s] = -b * (x - yz);
                }
            });
        }
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        match &shell.waveform {
            None if !shell.is_linear() => Some(
                "has a signal for other than linear encoding only where the waveform is given (--waveform)",
            ),
            Some(w) if !w.is_symmetric() => Some(
                "needs waveforms whose spectra have the axial symmetry of the b-tensor: restricted diffusion tells their directions apart",
            ),
            _ => None,
        }
    }

    fn reference(&self) -> &str {
        "Van Gelderen et al. 1994, doi:10.1006/jmrb.1994.1038"
    }
}
