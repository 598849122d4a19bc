//! Ball: free, isotropic diffusion.
//!
//! $$E = e^{-b\lambda_\mathrm{iso}}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\mathrm{iso}$ | µm²/ms | diffusivity |
//! | $b$ | ms/µm² | trace of any b-tensor |
//!
//! Source: Behrens et al. 2003, doi:10.1002/mrm.10609, eq. 1 (first term).
//! Validated by `signals_equal_reference` and `jacobian_equals_dual_numbers`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity};
use microtome_kernels::exp::exp_in_place;

/// Free, isotropic diffusion.
#[derive(Debug)]
pub struct Ball;

const PARAMETERS: [ParameterSpec; 1] = [diffusivity("lambda_iso", "isotropic diffusivity")];

impl Compartment for Ball {
    fn kind(&self) -> &str {
        "ball"
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

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Isotropic { value, d_value } = out {
            for (v, shell) in value.iter_mut().zip(shells) {
                *v = -shell.b * scalars[0];
            }
            exp_in_place(value);
            for ((d, v), shell) in d_value.iter_mut().zip(value).zip(shells) {
                *d = -shell.b * *v;
            }
        }
    }

    fn refuses(&self, _shell: &Shell) -> Option<&'static str> {
        None
    }

    fn reference(&self) -> &str {
        "Behrens et al. 2003, doi:10.1002/mrm.10609"
    }
}
