//! Capped cylinder, short pulses and a long diffusion time: restricted along the axis
//! by two plates and across it by the wall.
//!
//! $$E = \left[\frac{2J_1(x)}{x}\right]^2\frac{2(1-\cos y)}{y^2},\qquad
//!   x = \gamma G\delta R\sqrt{1-t^2},\quad y = \gamma G\delta L|t|,\quad t = g\cdot\mu$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $2R$ | µm | diameter |
//! | $L$ | µm | length |
//! | $\gamma G\delta = \sqrt{b/\tau}$ | rad/µm | |
//!
//! Source: Söderman & Jönsson 1995, doi:10.1006/jmra.1995.0014.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Compartment, Family};
use crate::parameter::{ParameterSpec, size};
use crate::restricted::dephasing;
use crate::restricted::long_time::Shape;

/// A closed cylinder after short pulses and a long diffusion time.
#[derive(Debug)]
pub struct CappedCylinderSgp;

const PARAMETERS: [ParameterSpec; 2] =
    [size("diameter", 20.0, "inner diameter"), size("length", 30.0, "inner length")];

impl Compartment for CappedCylinderSgp {
    fn kind(&self) -> &str {
        "capped_cylinder_sgp"
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
        let Some((q, _)) = dephasing(shell) else {
            value.fill(1.0);
            return;
        };
        let (by_diameter, by_length) = d_value.split_at_mut(t.len());
        let (radius, half) = (0.5 * scalars[0], 0.5 * scalars[1]);
        for (i, t) in t.iter().enumerate() {
            let (across, along) = (q * q * (1.0 - t * t), q * q * t * t);
            let [disk, d_disk] = Shape::Cylinder.form(across * radius * radius);
            let [plates, d_plates] = Shape::Plates.form(along * half * half);
            value[i] = disk * plates;
            by_diameter[i] = d_disk * across * radius * plates;
            by_length[i] = disk * d_plates * along * half;
        }
    }

    fn reference(&self) -> &str {
        "Soderman & Jonsson 1995, doi:10.1006/jmra.1995.0014"
    }
}
