//! Sphere, short pulses and any diffusion time: the sum over modes of
//! `restricted/callaghan.rs`.
//!
//! $$E = \left[\frac{3j_1(x)}x\right]^2 + 6\sum_{n,k}\frac{(2n+1)\alpha^2}{\alpha^2-n(n+1)}
//!   e^{-\alpha^2D\tau/R^2}\left[\frac{xj_n'(x)}{x^2-\alpha^2}\right]^2$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//! | $x = \gamma G\delta R$ | | dephasing across the radius |
//! | $\tau = \Delta - \delta/3$ | ms | diffusion time |
//! | $\alpha$ | | zeros of $j_n'$ |
//!
//! Source: Callaghan 1995, doi:10.1006/jmra.1995.1055.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family};
use crate::parameter::{ParameterSpec, intrinsic, size};
use crate::restricted::callaghan::{Pore, Round};
use crate::restricted::dephasing;
use crate::restricted::long_time::Shape;

/// An impermeable sphere after short pulses.
#[derive(Debug)]
pub struct SphereCallaghan;

const PARAMETERS: [ParameterSpec; 2] = [
    size("diameter", 30.0, "inner diameter"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity"),
];

impl Compartment for SphereCallaghan {
    fn kind(&self) -> &str {
        "sphere_callaghan"
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
            for (s, shell) in shells.iter().enumerate() {
                let Some((q, tau)) = dephasing(shell) else {
                    value[s] = 1.0;
                    d_value[s] = 0.0;
                    d_value[n + s] = 0.0;
                    continue;
                };
                let pore = Pore::new(0.5 * scalars[0], scalars[1], tau);
                let mut round = Round::new(Shape::Sphere, pore.theta, q * pore.size);
                let (e, by_radius, by_diffusivity) = pore.slopes(q, round.echo(q * pore.size));
                value[s] = e;
                d_value[s] = 0.5 * by_radius;
                d_value[n + s] = by_diffusivity;
            }
        }
    }

    fn reference(&self) -> &str {
        "Callaghan 1995, doi:10.1006/jmra.1995.1055"
    }
}
