//! Temporal zeppelin: a tensor whose diffusivity across the axis falls with the
//! diffusion time, as between randomly packed axons.
//!
//! $$E = e^{-b[\lambda_\perp + (\lambda_\parallel - \lambda_\perp)(g\cdot\mu)^2]},\qquad
//!   \lambda_\perp = \lambda_\infty + a\,\frac{\ln(\Delta/\delta) + 3/2}{\Delta - \delta/3}$$
//!
//! A b-tensor enters as for the zeppelin (`zeppelin.rs`).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\lambda_\parallel$ | µm²/ms | diffusivity along the axis |
//! | $\lambda_\infty$ | µm²/ms | diffusivity across it after a long time |
//! | $a$ | µm² | strength of the disorder |
//! | $\delta, \Delta$ | ms | pulse duration and separation |
//!
//! Source: Burcaw, Fieremans & Novikov 2015, doi:10.1016/j.neuroimage.2015.03.061.
//! Validated by `signals_equal_reference` and `restricted_slopes`.

use crate::acquisition::Shell;
use crate::compartment::{Coefficients, Compartment, Family, needs_axis};
use crate::parameter::{ParameterSpec, Unit, diffusivity};
use crate::restricted::Pulses;

/// A tensor with a time-dependent diffusivity across the axis.
#[derive(Debug)]
pub struct TemporalZeppelin;

const PARAMETERS: [ParameterSpec; 3] = [
    diffusivity("lambda_par", "diffusivity along the axis"),
    diffusivity("lambda_inf", "diffusivity across the axis after a long time"),
    ParameterSpec {
        name: "a",
        unit: Unit::SquareMicrometre,
        range: [0.0, 10.0],
        scale: 2.0,
        domain: [0.0, f64::INFINITY],
        default: None,
        period: None,
        meaning: "strength of the time dependence (disorder of the packing)",
    },
];

impl Compartment for TemporalZeppelin {
    fn kind(&self) -> &str {
        "temporal_zeppelin"
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

    fn needs_timing(&self) -> bool {
        true
    }

    fn lower(&self, shells: &[Shell], scalars: &[f64], _mu: [f64; 3], out: &mut Coefficients) {
        if let Coefficients::Quadratic { a, c, d_a, d_c } = out {
            let n = shells.len();
            for (s, shell) in shells.iter().enumerate() {
                let (b, round, axial) = (shell.b, shell.b_isotropic(), shell.b_axial());
                let slope = Pulses::of(shell)
                    .map_or(0.0, |p| ((p.big_delta / p.delta).ln() + 1.5) / p.tau());
                let across = scalars[1] + scalars[2] * slope;
                let excess = scalars[0] - across;
                a[s] = b * across + round * excess;
                c[s] = axial * excess;
                for (j, d_across) in [0.0, 1.0, slope].into_iter().enumerate() {
                    let d_along = if j == 0 { 1.0 } else { 0.0 };
                    let d_excess = d_along - d_across;
                    d_a[j * n + s] = b * d_across + round * d_excess;
                    d_c[j * n + s] = axial * d_excess;
                }
            }
        }
    }

    fn refuses(&self, shell: &Shell) -> Option<&'static str> {
        if shell.waveform.is_some() {
            return Some("is defined for pairs of pulses, not for free waveforms");
        }
        needs_axis(shell)
    }

    fn reference(&self) -> &str {
        "Burcaw, Fieremans & Novikov 2015, doi:10.1016/j.neuroimage.2015.03.061"
    }
}
