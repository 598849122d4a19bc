//! Cylinder, short pulses and any diffusion time: free along the axis, the sum over
//! modes of `restricted/callaghan.rs` across.
//!
//! $$E = e^{-b\lambda_\parallel t^2}\left\{\left[\frac{2J_1(x)}x\right]^2 +
//! 4\sum_{n,k}\frac{K_n\beta^2}{\beta^2-n^2}e^{-\beta^2D\tau/R^2}
//! \left[\frac{xJ_n'(x)}{x^2-\beta^2}\right]^2\right\}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $2R$ | µm | diameter |
//! | $D$ | µm²/ms | intrinsic diffusivity across the axis |
//! | $x = \gamma G\delta R\sqrt{1-t^2}$ | | dephasing across the radius, $t = g\cdot\mu$ |
//! | $\tau = \Delta - \delta/3$ | ms | diffusion time |
//! | $\beta$ | | zeros of $J_n'$; $K_0 = 1$, else 2 |
//!
//! Source: Callaghan 1995, doi:10.1006/jmra.1995.1055.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Compartment, Family};
use crate::parameter::{ParameterSpec, diffusivity, intrinsic, size};
use crate::restricted::callaghan::{Pore, Round};
use crate::restricted::long_time::Shape;
use crate::restricted::{attenuate, dephasing};

/// An impermeable cylinder after short pulses.
#[derive(Debug)]
pub struct CylinderCallaghan;

const PARAMETERS: [ParameterSpec; 3] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    size("diameter", 20.0, "inner diameter"),
    intrinsic("lambda_perp_intrinsic", "intrinsic diffusivity across the axis"),
];

impl Compartment for CylinderCallaghan {
    fn kind(&self) -> &str {
        "cylinder_callaghan"
    }

    fn parameters(&self) -> &[ParameterSpec] {
        &PARAMETERS
    }

    fn oriented(&self) -> bool {
        true
    }

    fn family(&self) -> Family {
        Family::Zonal
    }

    fn needs_timing(&self) -> bool {
        true
    }

    fn profile(
        &self,
        shell: &Shell,
        scalars: &[f64],
        t: &[f64],
        value: &mut [f64],
        d_value: &mut [f64],
    ) {
        let Some((q, tau)) = dephasing(shell) else {
            value.fill(1.0);
            return;
        };
        let (along, rest) = d_value.split_at_mut(t.len());
        let (across, intrinsic) = rest.split_at_mut(t.len());
        let pore = Pore::new(0.5 * scalars[1], scalars[2], tau);
        let mut round = Round::new(Shape::Cylinder, pore.theta, q * pore.size);
        for (i, t) in t.iter().enumerate() {
            let q = q * (1.0 - t * t).max(0.0).sqrt();
            let (e, by_radius, by_diffusivity) = pore.slopes(q, round.echo(q * pore.size));
            value[i] = e;
            across[i] = 0.5 * by_radius;
            intrinsic[i] = by_diffusivity;
        }
        let rows = &mut [across, intrinsic];
        attenuate(t, |t| -shell.b * t * t, scalars[0], value, along, rows);
    }

    fn reference(&self) -> &str {
        "Callaghan 1995, doi:10.1006/jmra.1995.1055"
    }
}
