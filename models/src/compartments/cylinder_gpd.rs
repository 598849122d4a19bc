//! Cylinder, Gaussian phase approximation: free along the axis, restricted across.
//!
//! $$E = e^{-b[D_\mathrm{app} + (\lambda_\parallel - D_\mathrm{app})(g\cdot\mu)^2]}$$
//!
//! with the apparent diffusivity $D_\mathrm{app}(R, D, \delta, \Delta)$ of
//! `restricted/gpd.rs`.
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
            for_each_shell(&CYLINDER, shells, scalars[1], scalars[2], |s, across| {
                let b = shells[s].b;
                a[s] = b * across.value;
                c[s] = b * (scalars[0] - across.value);
                d_c[s] = b;
                for (j, d) in [(1, across.d_diameter), (2, across.d_diffusivity)] {
                    d_a[j * n + s] = b * d;
                    d_c[j * n + s] = -b * d;
                }
            });
        }
    }

    fn reference(&self) -> &str {
        "Van Gelderen et al. 1994, doi:10.1006/jmrb.1994.1038"
    }
}
