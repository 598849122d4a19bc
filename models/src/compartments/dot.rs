//! Dot: water that does not move.
//!
//! $$E = 1$$
//!
//! Source: Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081, table 1.
//! Validated by `dot_is_one`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::ParameterSpec;

/// Water that does not move.
#[derive(Debug)]
pub struct Dot;

impl Compartment for Dot {
    fn kind(&self) -> &str {
        "dot"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &[]
    }

    fn oriented(&self) -> bool {
        false
    }

    fn family(&self) -> Family {
        Family::Isotropic
    }

    fn lower(&self, _shells: &[Shell], _scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Isotropic { value, .. } = out {
            value.fill(1.0);
        }
    }

    fn refuses(&self, _shell: &Shell) -> Option<&'static str> {
        None
    }

    fn reference(&self) -> &str {
        "Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081"
    }
}
