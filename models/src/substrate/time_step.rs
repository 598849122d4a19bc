//! How long a step of the walk may be.
//!
//! $$h \le \frac{(s\,a)^2}{2D},\qquad
//!   h \le \Bigl(\frac{p}{D(\gamma G)^2}\Bigr)^{1/3},\qquad h \le \frac{T}{n},\qquad
//!   h \le \frac{k D}{\kappa^2}$$
//!
//! | symbol | is | value |
//! |---|---|---|
//! | a | the smallest radius, or half of the smallest distance between walls, µm | |
//! | s | root mean square of a step along an axis over a | 0.15; 0.1 where a curved wall relaxes |
//! | p | variance of the phase of a path about its straight line in a step | 1e-4 |
//! | n | steps at least | 100 |
//! | k | of walls between compartments with permeability κ | 0.01 |
//!
//! Free diffusion is exact at any step. The rule for p is that of
//! MCMRSimulator.jl 1.1.0; s is what the tables of `docs/simulation.md` chose.

use super::{Sequence, Substrate};
use microtome_kernels::walk::Shape;

const SIZE: f64 = 0.15;
const SIZE_RELAXING: f64 = 0.1;
const PHASE: f64 = 1e-4;
const STEPS: f64 = 100.0;
const PERMEABLE: f64 = 0.01;

/// The length of a step and the rule that chose it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeStep {
    /// Longest step, ms.
    pub ms: f64,
    /// The rule, in words.
    pub rule: &'static str,
}

impl TimeStep {
    /// The longest step that the rules allow.
    pub fn automatic(substrate: &Substrate, sequence: &Sequence) -> Self {
        let d = substrate.media().iter().map(|m| m.diffusivity).fold(0.0, f64::max);
        let curved = !matches!(substrate.shape(), Shape::Free | Shape::Plates { .. });
        let relaxing = substrate.media().iter().any(|m| m.relaxivity > 0.0);
        let size = if curved && relaxing { SIZE_RELAXING } else { SIZE };
        let spread = size * substrate.smallest_size();
        let gamma_g = sequence.largest_gamma_g();
        let rules = [
            (spread * spread / (2.0 * d), "size of the walls"),
            ((PHASE / (d * gamma_g * gamma_g)).cbrt(), "strength of the gradient"),
            (sequence.duration_ms() / STEPS, "duration"),
            (PERMEABLE * d / substrate.permeability().powi(2), "permeability of the walls"),
        ];
        let least = rules.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        least.map_or(Self { ms: 1.0, rule: "none" }, |(ms, rule)| Self { ms, rule })
    }
}
