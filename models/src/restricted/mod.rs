//! Diffusion behind reflecting walls between plates, in cylinders and in spheres:
//! the equations that several compartments share.
//!
//! | file | approximation | valid for |
//! |---|---|---|
//! | `gpd.rs` | Gaussian distribution of phases | any pulses, weak dephasing |
//! | `gpd_wide.rs` | the same | pores wide against $(D\delta)^{1/2}$ |
//! | `gpd_waveform.rs` | the same | any waveform, weak dephasing |
//! | `long_time.rs` | short pulses, long diffusion time | δ short, Δ long against L²/D |
//! | `callaghan.rs` | short pulses, any diffusion time | δ short against L²/D |

pub(crate) mod callaghan;
pub(crate) mod gpd;
mod gpd_modes;
mod gpd_waveform;
mod gpd_wide;
pub(crate) mod long_time;

use crate::acquisition::Shell;
use microtome_kernels::exp::exp_in_place;

/// The pulses of a shell with diffusion weighting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pulses {
    /// δ, ms.
    pub(crate) delta: f64,
    /// Δ, ms.
    pub(crate) big_delta: f64,
}

impl Pulses {
    /// `None` at b = 0, or where the times are not known (a model refuses such a
    /// scheme beforehand).
    pub(crate) fn of(shell: &Shell) -> Option<Self> {
        let pulses = Self { delta: shell.delta_ms?, big_delta: shell.big_delta_ms? };
        (shell.b > 0.0 && pulses.tau() > 0.0).then_some(pulses)
    }

    /// τ = Δ - δ/3, ms.
    pub(crate) fn tau(self) -> f64 {
        self.big_delta - self.delta / 3.0
    }
}

/// γGδ, rad/µm, and τ, ms; `None` as [`Pulses::of`].
pub(crate) fn dephasing(shell: &Shell) -> Option<(f64, f64)> {
    let tau = Pulses::of(shell)?.tau();
    Some(((shell.b / tau).sqrt(), tau))
}

/// Multiplies a profile and its derivatives by $e^{\lambda w(t)}$ and fills the
/// derivative by λ.
///
/// # Shapes
/// All `[node]`, `rows` the derivatives that are there already.
pub(crate) fn attenuate(
    t: &[f64],
    exponent: impl Fn(f64) -> f64,
    lambda: f64,
    value: &mut [f64],
    by_lambda: &mut [f64],
    rows: &mut [&mut [f64]],
) {
    for (out, t) in by_lambda.iter_mut().zip(t) {
        *out = lambda * exponent(*t);
    }
    exp_in_place(by_lambda);
    for (i, t) in t.iter().enumerate() {
        let factor = by_lambda[i];
        value[i] *= factor;
        for row in rows.iter_mut() {
            row[i] *= factor;
        }
        by_lambda[i] = exponent(*t) * value[i];
    }
}
