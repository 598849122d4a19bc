//! Zeppelin: an axisymmetric diffusion tensor.
//!
//! $$E = e^{-b[\lambda_\perp + (\lambda_\parallel - \lambda_\perp)(g\cdot\mu)^2]}$$
//!
//! and for a b-tensor with axis $g$
//! $$E = e^{-b\lambda_\perp - (\lambda_\parallel - \lambda_\perp)
//!   [b(1 - b_\Delta)/3 + b\,b_\Delta(g\cdot\mu)^2]}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $\lambda_\perp$ | µm²/ms | diffusivity across it |
//! | $\mu$ | | unit axis |
//! | $b_\Delta$ | | shape of the b-tensor, 1 for pulses |
//!
//! Source: Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081, table 1;
//! b-tensors: Eriksson et al. 2015, doi:10.1063/1.4913502.
//! Validated by `signals_equal_reference` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family, needs_axis};
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
                let (round, axial) = (shell.b_isotropic(), shell.b_axial());
                let excess = scalars[0] - scalars[1];
                a[s] = shell.b * scalars[1] + round * excess;
                c[s] = axial * excess;
                (d_a[s], d_c[s]) = (round, axial);
                (d_a[n + s], d_c[n + s]) = (shell.b - round, -axial);
            }
        }
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        needs_axis(shell)
    }

    fn reference(&self) -> &str {
        "Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081"
    }
}
