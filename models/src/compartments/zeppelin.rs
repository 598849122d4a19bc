//! Zeppelin: an axisymmetric diffusion tensor.
//!
//! $$E = e^{-b[\lambda_\perp + (\lambda_\parallel - \lambda_\perp)(g\cdot\mu)^2]}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $\lambda_\perp$ | µm²/ms | diffusivity across it |
//! | $\mu$ | | unit axis |
//!
//! Source: Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081, table 1.
//! Validated by `signals_equal_reference` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity};

/// An axisymmetric diffusion tensor.
#[derive(Debug)]
pub struct Zeppelin;

const PARAMETERS: [ParameterSpec; 2] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    diffusivity("lambda_perp", "diffusivity across the axis"),
];

impl Compartment for Zeppelin {
    fn kind(&self) -> &str {
        "zeppelin"
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

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Quadratic { a, c, d_a, d_c } = out {
            let n = shells.len();
            for (s, shell) in shells.iter().enumerate() {
                a[s] = shell.b * scalars[1];
                c[s] = shell.b * (scalars[0] - scalars[1]);
                d_c[s] = shell.b;
                d_a[n + s] = shell.b;
                d_c[n + s] = -shell.b;
            }
        }
    }

    fn reference(&self) -> &str {
        "Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081"
    }
}
