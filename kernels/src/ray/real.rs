//! The two number types of volumes and projections.

use crate::lanes::Lanes;
use crate::simd::LANES;

/// `f32` or `f64` as stored; rays, weights and sums along a ray are `f64` for both.
pub trait Real:
    super::trilinear::Marched
    + crate::backprojection::Sample
    + Copy
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
{
    /// The number as `f64`.
    fn wide(self) -> f64;
    /// The nearest number of this type.
    fn narrow(v: f64) -> Self;
    /// Eight numbers as `f64`.
    #[doc(hidden)]
    fn block(b: &[Self; LANES]) -> Eight<'_>;
}

/// Eight numbers of either type, not yet read.
#[doc(hidden)]
pub enum Eight<'a> {
    /// Of 32 bits.
    Single(&'a [f32; LANES]),
    /// Of 64 bits.
    Double(&'a [f64; LANES]),
}

/// Reads eight numbers as `f64`.
#[inline(always)]
pub(super) fn load<L: Lanes, T: Real>(b: &[T; LANES]) -> L {
    match T::block(b) {
        Eight::Single(b) => L::load_single(b),
        Eight::Double(b) => L::load(b),
    }
}

impl Real for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(v: f64) -> Self {
        v
    }
    #[inline(always)]
    fn block(b: &[Self; LANES]) -> Eight<'_> {
        Eight::Double(b)
    }
}

impl Real for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(v: f64) -> Self {
        v as f32
    }
    #[inline(always)]
    fn block(b: &[Self; LANES]) -> Eight<'_> {
        Eight::Single(b)
    }
}
