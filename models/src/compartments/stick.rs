//! Stick: diffusion along one axis and none across it.
//!
//! $$E = e^{-b\lambda_\parallel (g\cdot\mu)^2}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $\mu$ | | unit axis |
//!
//! Source: Behrens et al. 2003, doi:10.1002/mrm.10609, eq. 1 (second term).
//! Validated by `signals_equal_reference` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
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
        if let Coefficients::Quadratic { c, d_c, .. } = out {
            for ((c, d_c), shell) in c.iter_mut().zip(d_c).zip(shells) {
                *c = shell.b * scalars[0];
                *d_c = shell.b;
            }
        }
    }

    fn reference(&self) -> &str {
        "Behrens et al. 2003, doi:10.1002/mrm.10609"
    }
}
