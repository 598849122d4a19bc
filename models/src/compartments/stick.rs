//! Stick: diffusion along one axis and none across it.
//!
//! $$E = e^{-b\lambda_\parallel (g\cdot\mu)^2}$$
//!
//! and for a b-tensor with axis $g$
//! $$E = e^{-\lambda_\parallel[b(1 - b_\Delta)/3 + b\,b_\Delta(g\cdot\mu)^2]}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $\mu$ | | unit axis |
//! | $b_\Delta$ | | shape of the b-tensor, 1 for pulses |
//!
//! Source: Behrens et al. 2003, doi:10.1002/mrm.10609, eq. 1 (second term);
//! b-tensors: Eriksson et al. 2015, doi:10.1063/1.4913502.
//! Validated by `signals_equal_reference` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family, needs_axis};
use crate::parameter::{ParameterSpec, diffusivity};

/// Diffusion along one axis and none across it.
#[derive(Debug)]
pub struct Stick;

const PARAMETERS: [ParameterSpec; 1] = [diffusivity("lambda_par", "diffusivity along the axis")];

impl Compartment for Stick {
    fn kind(&self) -> &str {
        "stick"
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
            for (s, shell) in shells.iter().enumerate() {
                (d_a[s], d_c[s]) = (shell.b_isotropic(), shell.b_axial());
                a[s] = d_a[s] * scalars[0];
                c[s] = d_c[s] * scalars[0];
            }
        }
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        needs_axis(shell)
    }

    fn reference(&self) -> &str {
        "Behrens et al. 2003, doi:10.1002/mrm.10609"
    }
}
