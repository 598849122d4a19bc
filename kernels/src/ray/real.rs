//! The two number types of volumes and projections.

/// `f32` or `f64` as stored; rays, weights and sums along a ray are `f64` for both.
pub trait Real:
    super::trilinear::Laned + Copy + Default + PartialEq + Send + Sync + 'static
{
    /// The number as `f64`.
    fn wide(self) -> f64;
    /// The nearest number of this type.
    fn narrow(v: f64) -> Self;
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
}
