//! Random walkers between walls, and the complex signals of their phases.
//!
//! $$x_{k+1} = \mathcal R(x_k, \sqrt{2D\Delta t_k}\,n_k),\qquad
//!   S_m = \frac1N\sum_{\text{walkers}} w\,e^{i\varphi_m},\qquad
//!   \varphi_m = \int_0^{T_m} g_m(t)\cdot x(t)\,dt$$
//!
//! with n standard normal and $\mathcal R$ the mirrored flight of `wall.rs`.
//!
//! | module | idea |
//! |---|---|
//! | `normal` | normal numbers of eight walkers |
//! | `wall` | mirrored flight between walls |
//! | `wall_law` | survival and transmission of a hit |
//! | `protocol` | steps, weights of nodes, readings |
//! | `tally` | sums, means, standard errors |
//! | `driver` | all walkers |
//!
//! | symbol | unit |
//! |---|---|
//! | x | µm |
//! | D | µm²/ms |
//! | t | ms |
//! | g | rad/(ms µm): γ times the effective gradient |
//!
//! A walker is a function of (seed, number of the walker): results do not depend on threads
//! or batches. Validated by `kernels/tests/walk.rs` and the tests of each module.

mod driver;
mod normal;
mod protocol;
mod tally;
mod wall;
mod wall_law;

pub use driver::walk;
pub use protocol::{NodeWeight, Protocol, Reading};
pub use tally::{CHUNK, Estimate, Tally};
pub use wall::Membrane;

use crate::philox::{Philox, uniform_pair};

/// The space of the walkers, in a frame of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// No walls; all walkers start at the origin.
    Free,
    /// Two plates across x at ± half of `separation` (µm).
    Plates {
        /// Distance, µm.
        separation: f64,
        /// Between the plates, by rising position.
        membranes: Vec<Membrane>,
    },
    /// A cylinder along z about the origin.
    Cylinder {
        /// Radius, µm.
        radius: f64,
    },
    /// A sphere about the origin.
    Sphere {
        /// Radius, µm.
        radius: f64,
    },
}

impl Shape {
    /// Where a walker starts: uniform in the shape; along a free axis at 0.
    pub fn start(&self, seed: u64, walker: u64) -> [f64; 3] {
        let philox = Philox::new(seed);
        // Each draw is two uniform numbers from -1 to 1.
        let pair = |draw: u32| {
            uniform_pair(philox.block(draw, 0, walker, driver::START)).map(|u| 2.0 * u - 1.0)
        };
        match self {
            Shape::Free => [0.0; 3],
            Shape::Plates { separation, .. } => [0.5 * separation * pair(0)[0], 0.0, 0.0],
            Shape::Cylinder { radius } => {
                let [x, y] = ball(|draw| {
                    let [x, y] = pair(draw);
                    [x, y]
                });
                [radius * x, radius * y, 0.0]
            }
            Shape::Sphere { radius } => ball(|draw| {
                let ([x, y], [z, _]) = (pair(2 * draw), pair(2 * draw + 1));
                [x, y, z]
            })
            .map(|v| radius * v),
        }
    }
}

/// The first of the points that lies in the unit ball.
fn ball<const N: usize>(point: impl Fn(u32) -> [f64; N]) -> [f64; N] {
    let inside = |p: &[f64; N]| p.iter().map(|v| v * v).sum::<f64>() < 1.0;
    (0..u32::MAX / 2).map(point).find(inside).unwrap_or([0.0; N])
}

/// What is walked.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    /// Where walkers may be.
    pub shape: &'a Shape,
    /// D, µm²/ms.
    pub diffusivity: f64,
    /// ρ of the walls, µm/ms.
    pub relaxivity: f64,
    /// Steps and measurements.
    pub protocol: &'a Protocol,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of walkers.
    pub walkers: u64,
}
