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
//! | `medium` | compartments, and a hit between two of them |
//! | `axon` | tubes that swell and wind |
//! | `ellipsoid` | ellipsoids and capped cylinders |
//! | `scene` | balls without walls; walkers one by one; a periodic grid |
//! | `rounds` | many round walls, nested, in a periodic cell |
//! | `packing` | random packings of cylinders and spheres |
//! | `mesh`, `nearest` | closed triangle meshes; distances to them |
//! | `protocol` | steps, weights of nodes, readings |
//! | `tally` | sums, means, standard errors |
//! | `driver` | all walkers |
//! | `dual`, `derivative` | numbers with slopes; derivatives of signals |
//!
//! | symbol | unit |
//! |---|---|
//! | x | µm |
//! | D | µm²/ms |
//! | t | ms |
//! | g | rad/(ms µm): γ times the effective gradient |
//!
//! A walker is a function of (seed, number of the walker): results do not depend on threads
//! or batches. Validated by `models/tests/suite/simulation.rs` and the tests of each module.

mod axon;
mod derivative;
mod driver;
mod dual;
mod ellipsoid;
mod medium;
mod mesh;
mod nearest;
mod packing;
mod protocol;
mod rounds;
mod scene;
mod tally;
mod wall;
mod wall_law;

pub use axon::Axon;
pub use derivative::Slopes;
pub use driver::{paths, walk, walk_at, walk_on};
pub use medium::Medium;
pub use mesh::{Mesh, MeshError};
pub use packing::{Packing, PackingError, gamma_radii, pack};
pub use protocol::{NodeWeight, Protocol, Reading};
pub use rounds::{Overlap, RoundWall, Rounds};
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
    /// An ellipsoid about the origin.
    Ellipsoid {
        /// Semi-axes along x, y, z, µm.
        semi_axes: [f64; 3],
    },
    /// A cylinder along z about the origin with flat ends.
    Capped {
        /// Radius, µm.
        radius: f64,
        /// Distance of the ends, µm.
        length: f64,
    },
    /// A tube along z that swells and winds.
    Axon(Axon),
    /// Many round walls in a periodic cell.
    Rounds(Rounds),
    /// A closed mesh.
    Mesh(Box<Mesh>),
}

impl Shape {
    /// Whether walkers can change their compartment.
    pub fn is_permeable(&self) -> bool {
        match self {
            Shape::Rounds(rounds) => rounds.is_permeable(),
            Shape::Mesh(mesh) => mesh.permeability() > 0.0,
            _ => false,
        }
    }

    /// The compartment of a point; `None` outside of where walkers can be.
    pub fn compartment(&self, x: [f64; 3]) -> Option<usize> {
        let ball = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>() < 1.0;
        let inside = match self {
            Shape::Free => true,
            Shape::Plates { separation, .. } => x[0].abs() < 0.5 * separation,
            Shape::Cylinder { radius } => ball(&[x[0] / radius, x[1] / radius]),
            Shape::Sphere { radius } => ball(&x.map(|v| v / radius)),
            Shape::Ellipsoid { semi_axes: s } => ball(&[x[0] / s[0], x[1] / s[1], x[2] / s[2]]),
            Shape::Capped { radius, length } => {
                ball(&[x[0] / radius, x[1] / radius]) && x[2].abs() < 0.5 * length
            }
            Shape::Axon(axon) => axon.contains(x),
            Shape::Rounds(rounds) => return Some(rounds.medium_at(x)),
            Shape::Mesh(mesh) => return mesh.medium_at(x),
        };
        inside.then_some(0)
    }

    /// A uniform point of the box that holds all compartments, from numbers in [-1, 1);
    /// along a direction without walls it is 0.
    fn spot(&self, u: [f64; 3]) -> [f64; 3] {
        match self {
            Shape::Free => [0.0; 3],
            Shape::Plates { separation, .. } => [0.5 * separation * u[0], 0.0, 0.0],
            Shape::Cylinder { radius } => [radius * u[0], radius * u[1], 0.0],
            Shape::Sphere { radius } => u.map(|v| radius * v),
            Shape::Ellipsoid { semi_axes } => [0, 1, 2].map(|a: usize| semi_axes[a] * u[a]),
            Shape::Capped { radius, length } => [radius * u[0], radius * u[1], 0.5 * length * u[2]],
            Shape::Axon(axon) => {
                let reach = axon.reach();
                [0, 1, 2].map(|a: usize| reach[a] * u[a])
            }
            Shape::Rounds(rounds) => {
                let cell = rounds.cell();
                let of = |a: usize| if cell[a].is_finite() { 0.5 * cell[a] * u[a] } else { 0.0 };
                [0, 1, 2].map(of)
            }
            Shape::Mesh(mesh) => {
                let [low, high] = mesh.spawn();
                [0, 1, 2].map(|a: usize| low[a] + 0.5 * (u[a] + 1.0) * (high[a] - low[a]))
            }
        }
    }
}

/// Where walkers start.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// Uniformly in the media of these numbers; along a free direction at 0.
    Uniform(Vec<usize>),
    /// Walker k at point k, counted round; in the frame of the shape, µm.
    Given(Vec<[f64; 3]>),
}

impl Start {
    /// Where a walker starts.
    pub fn place(&self, shape: &Shape, seed: u64, walker: u64) -> [f64; 3] {
        let media = match self {
            Start::Given(points) if points.is_empty() => return [0.0; 3],
            Start::Given(points) => return points[(walker % points.len() as u64) as usize],
            Start::Uniform(media) => media,
        };
        let philox = Philox::new(seed);
        // Each draw is two uniform numbers from -1 to 1.
        let pair = |draw: u32| {
            uniform_pair(philox.block(draw, 0, walker, driver::START)).map(|u| 2.0 * u - 1.0)
        };
        let flat = match shape {
            Shape::Free | Shape::Plates { .. } | Shape::Cylinder { .. } => true,
            Shape::Rounds(rounds) => rounds.dimensions() == 2,
            _ => false,
        };
        let spot = |draw: u32| {
            let ([x, y], z) =
                if flat { (pair(draw), 0.0) } else { (pair(2 * draw), pair(2 * draw + 1)[0]) };
            shape.spot([x, y, z])
        };
        let found = |x: &[f64; 3]| shape.compartment(*x).is_some_and(|m| media.contains(&m));
        (0..DRAWS).map(spot).find(found).unwrap_or([0.0; 3])
    }
}

/// Draws of a starting point at most; a compartment of a thousandth of the box is missed
/// once in e^1000.
const DRAWS: u32 = 1_000_000;

/// What is walked.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    /// Where walkers may be.
    pub shape: &'a Shape,
    /// Compartments; shapes without an outside have one.
    pub media: &'a [Medium],
    /// Where walkers start.
    pub start: &'a Start,
    /// Steps and measurements.
    pub protocol: &'a Protocol,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of walkers.
    pub walkers: u64,
}
