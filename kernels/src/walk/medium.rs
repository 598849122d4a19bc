//! Compartments as a walk sees them, and what a wall does to a walker of one of them.
//!
//! A membrane between media of different diffusivity: with flux κ times the jump of the
//! magnetisation, plane waves of the Laplace transform, $q_i = \sqrt{p/D_i}$, give the
//! amplitude that a wave from side 1 has behind it,
//!
//! $$B = \sqrt{\frac{D_1}{D_2}}\,\frac{2\kappa}{\sqrt{pD_1} + \kappa'},\qquad
//!   \kappa' = \kappa\Bigl(1 + \sqrt{D_1/D_2}\Bigr)$$
//!
//! which is $2\kappa/\kappa'$ times half of the loss of a wall of relaxivity κ'
//! (`wall_law.rs`), the rest of the flight being stretched by $\sqrt{D_2/D_1}$. Equal
//! diffusivities give half of the loss of 2κ. Where $D_2 > D_1$ the probability can exceed
//! one at long steps; it is cut there.
//!
//! | symbol | unit |
//! |---|---|
//! | D | µm²/ms |
//! | ρ, κ | µm/ms |
//!
//! Validated by `exchange_between_media` of `models/tests/suite/tissue.rs`.

use super::wall_law::Reach;
use crate::lanes::{Array, Lanes};

/// A compartment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Medium {
    /// D, µm²/ms.
    pub diffusivity: f64,
    /// ρ of the walls, seen from this side, µm/ms.
    pub relaxivity: f64,
    /// 1/T2, 1/ms; walks count it only where walkers change their compartment.
    pub relaxation: f64,
}

/// What a wall does to a walker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is mirrored, and keeps this share of its magnetisation.
    Mirrored(f64),
    /// It goes through; the rest of its flight is stretched by the factor.
    Through(f64),
}

impl Medium {
    /// The law of a hit in a step of `duration` ms: `s` is the normal part of the whole
    /// displacement, `other` lies behind the wall, `chance` is uniform in [0, 1).
    pub(crate) fn meets(
        &self,
        other: &Medium,
        permeability: f64,
        s: f64,
        duration: f64,
        chance: impl Fn() -> f64,
    ) -> Fate {
        let splat = Array::<false>::splat;
        let d = self.diffusivity;
        let reach = Reach {
            inverse: splat(0.5 / (d * duration).sqrt()),
            reach: splat((duration / d).sqrt()),
        };
        if permeability > 0.0 {
            let ratio = (d / other.diffusivity).sqrt();
            let mean = 0.5 * permeability * (1.0 + ratio);
            let probability = reach.transmission(splat(s), splat(mean)).first();
            if chance() < probability * (permeability / mean) {
                return Fate::Through(1.0 / ratio);
            }
        }
        if self.relaxivity > 0.0 {
            return Fate::Mirrored(reach.survival(splat(s), splat(self.relaxivity)).first());
        }
        Fate::Mirrored(1.0)
    }
}
