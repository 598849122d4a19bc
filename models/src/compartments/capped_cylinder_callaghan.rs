//! Capped cylinder, short pulses and any diffusion time: the product of the sums over
//! modes of `restricted/callaghan.rs` across the axis (a cylinder) and along it (plates).
//!
//! $$E = E_\mathrm{cylinder}\left(\gamma G\delta R\sqrt{1-t^2}\right)
//!   E_\mathrm{plates}\left(\gamma G\delta L|t|\right),\qquad t = g\cdot\mu$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter |
//! | $L$ | µm | length |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//! | $\tau = \Delta - \delta/3$ | ms | diffusion time |
//!
//! Source: Callaghan 1995, doi:10.1006/jmra.1995.1055 (the modes of a
//! product domain are products). Validated by `signals_equal_golden` and
//! `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Compartment, Family};
use crate::parameter::{ParameterSpec, intrinsic, size};
use crate::restricted::callaghan::{Pore, Round, plates};
use crate::restricted::dephasing;
use crate::restricted::long_time::Shape;

/// A closed cylinder after short pulses.
#[derive(Debug)]
pub struct CappedCylinderCallaghan;

const PARAMETERS: [ParameterSpec; 3] = [
    size("diameter", 20.0, "inner diameter"),
    size("length", 30.0, "inner length"),
    intrinsic("lambda_intrinsic", "intrinsic diffusivity"),
];

impl Compartment for CappedCylinderCallaghan {
    fn kind(&self) -> &str {
        "capped_cylinder_callaghan"
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
        let (by_diameter, rest) = d_value.split_at_mut(t.len());
        let (by_length, intrinsic) = rest.split_at_mut(t.len());
        let disk = Pore::new(0.5 * scalars[0], scalars[2], tau);
        let caps = Pore::new(scalars[1], scalars[2], tau);
        let mut round = Round::new(Shape::Cylinder, disk.theta, q * disk.size);
        for (i, t) in t.iter().enumerate() {
            let (across, along) = (q * (1.0 - t * t).max(0.0).sqrt(), q * t.abs());
            let (e, by_radius, by_d) = disk.slopes(across, round.echo(across * disk.size));
            let (f, by_height, also_by_d) =
                caps.slopes(along, plates(along * caps.size, caps.theta));
            value[i] = e * f;
            by_diameter[i] = 0.5 * by_radius * f;
            by_length[i] = e * by_height;
            intrinsic[i] = by_d * f + e * also_by_d;
        }
    }

    fn reference(&self) -> &str {
        "Callaghan 1995, doi:10.1006/jmra.1995.1055"
    }
}
