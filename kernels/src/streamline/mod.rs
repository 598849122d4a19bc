//! Streamlines: curves that follow the directions of a field.
//!
//! $$\frac{dx}{ds} = d(x, d_\mathrm{previous}),\qquad |d| = 1$$
//!
//! | symbol | unit |
//! |---|---|
//! | x | mm, in the axes of the field |
//! | s | mm, arc length |
//! | d | direction that a [`Rule`] chooses |
//!
//! | module | idea |
//! |---|---|
//! | `lattice` | numbers on a grid, by trilinear or cubic B-spline interpolation |
//! | `region` | masks |
//! | `functions` | functions on the sphere on a lattice, and which of their maxima are peaks |
//! | `peak` | the peak of the field that the streamline came to, by Newton's method |
//! | `axes` | directions of the sphere in patches; values and peaks there |
//! | `closest`, `mass` | the peak nearest to the last direction; a draw from the cone about it |
//! | `arc` | draws of circular arcs: second-order integration, parallel transport |
//! | `sticks` | posterior draws of sticks |
//! | `bootstrap` | resampled residuals of measured signals |
//! | `march` | steps of Euler, midpoint and Runge-Kutta; both halves; many streamlines |
//! | `reverse` | derivatives of a whole streamline |
//!
//! Random numbers are a function of (seed, draw, streamline, half, step): results do not
//! depend on threads or batches. Source: Mori & van Zijl 2002, doi:10.1002/nbm.781
//! (principle); Basser et al. 2000, doi:10.1002/1522-2594(200010)44:4<625::AID-MRM17>3.0.CO;2-O,
//! eq. 1. Validated by `kernels/tests/suite/streamlines.rs`.

mod arc;
mod axes;
mod bootstrap;
mod closest;
mod functions;
mod lattice;
mod march;
mod mass;
mod peak;
mod region;
mod reverse;
mod sticks;

pub use arc::{ArcMean, ArcRule};
pub use axes::AxisTable;
pub use bootstrap::{BootstrapRule, Resampling};
pub use closest::ClosestRule;
pub use functions::{Functions, Peaks};
pub use lattice::{Interpolation, Lattice, Number};
pub use march::{Integrator, Limits, Line, Seed, Starts, Tracks, path, track};
pub use mass::MassRule;
pub use peak::PeakRule;
pub use region::{Flag, Region, Regions};
pub use reverse::{Cotangent, Differentiable, Linear, Survival, reverse, tangent};
pub use sticks::{Redraw, StickRule};

use crate::philox::{Philox, uniform_pair};
pub use crate::vector::Vec3;

/// Why a half of a streamline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stop {
    /// The longest length was reached.
    Length = 0,
    /// The next point is outside of the field.
    Outside = 1,
    /// The next point is outside of the mask, or inside a mask that stops.
    Mask = 2,
    /// The field is below its threshold there.
    Threshold = 3,
    /// The direction turns by more than the largest angle.
    Angle = 4,
    /// There is no direction.
    Direction = 5,
    /// The next point is in a region that excludes the streamline.
    Excluded = 6,
}

impl Stop {
    /// All of them, each at the place of its number.
    pub const ALL: [Stop; 7] = [
        Stop::Length,
        Stop::Outside,
        Stop::Mask,
        Stop::Threshold,
        Stop::Angle,
        Stop::Direction,
        Stop::Excluded,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Length => "length",
            Stop::Outside => "outside",
            Stop::Mask => "mask",
            Stop::Threshold => "threshold",
            Stop::Angle => "angle",
            Stop::Direction => "direction",
            Stop::Excluded => "excluded",
        }
    }
}

/// A direction and the value of the field there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heading {
    /// Unit vector.
    pub direction: Vec3,
    /// Amplitude of the field in that direction.
    pub amplitude: f64,
}

/// The random numbers of one half of one streamline.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    philox: Philox,
    item: u64,
    step: u32,
    block: u32,
}

impl Chance {
    /// The stream of numbers of streamlines.
    const STREAM: u8 = 80;

    /// `draw` is below 2^24, `line` the number of the streamline below 2^32.
    pub fn new(seed: u64, draw: u32, line: u64, backward: bool) -> Self {
        let item = u64::from(draw & 0x00ff_ffff) << 32 | (line & 0xffff_ffff);
        Self { philox: Philox::new(seed), item, step: u32::from(backward) << 31, block: 0 }
    }

    /// Begins the numbers of a step.
    #[inline(always)]
    pub(crate) fn at_step(&mut self, step: u32) {
        self.step = self.step & (1 << 31) | step;
        self.block = 0;
    }

    /// Two uniform numbers in [0, 1).
    #[inline(always)]
    pub(crate) fn pair(&mut self) -> [f64; 2] {
        let words = self.philox.block(self.block, self.step, self.item, Self::STREAM);
        self.block += 1;
        uniform_pair(words)
    }

    /// A block of four random words.
    #[inline(always)]
    pub(crate) fn words(&mut self) -> [u32; 4] {
        let words = self.philox.block(self.block, self.step, self.item, Self::STREAM);
        self.block += 1;
        words
    }
}

/// Where a streamline is, and what a rule remembers of its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    /// Position, mm.
    pub x: Vec3,
    /// The last direction.
    pub direction: Vec3,
    /// Amplitude of the field at the last direction.
    pub amplitude: f64,
}

/// Memory of a rule that is used again at every step.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Interpolated numbers.
    pub(crate) terms: Vec<f64>,
    /// Values in directions.
    pub(crate) values: Vec<f32>,
    /// Weights of directions.
    pub(crate) weights: Vec<f32>,
    /// Peaks.
    pub(crate) peaks: Vec<Heading>,
    /// Arcs: weight, curvature, normal.
    pub(crate) arcs: Vec<(f64, f64, Vec3)>,
    /// Signals and what is made of them.
    pub(crate) signals: [Vec<f64>; 3],
}

/// A rule that gives directions.
pub trait Rule: Sync {
    /// Directions in which a streamline may begin at a point, the best first; antipodes are
    /// one direction.
    fn starts<const FMA: bool>(&self, x: Vec3, scratch: &mut Scratch, out: &mut Vec<Heading>);

    /// The direction at a point, given the last one.
    ///
    /// # Errors
    /// The reason why there is none.
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<Heading, Stop>;

    /// Moves by one step; by default the integrator's, over [`Rule::heading`].
    ///
    /// # Errors
    /// The reason why the streamline ends here.
    #[inline(always)]
    fn advance<const FMA: bool>(
        &self,
        state: &mut State,
        limits: &Limits,
        chance: &mut Chance,
        scratch: &mut Scratch,
    ) -> Result<(), Stop> {
        march::advance::<Self, FMA>(self, state, limits, chance, scratch)
    }
}
