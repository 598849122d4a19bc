//! Numbers that carry their slope along a parameter.
//!
//! $$(a, \dot a)(b, \dot b) = (ab,\ a\dot b + \dot a b),\qquad
//!   \sqrt{(a, \dot a)} = \Bigl(\sqrt a,\ \frac{\dot a}{2\sqrt a}\Bigr)$$
//!
//! A flight written over [`Number`] is the same arithmetic for plain lanes and for [`Dual`]
//! ones: the values of the two are equal to the bit. Masks are of values.
//!
//! Source: forward accumulation, Griewank & Walther 2008, *Evaluating Derivatives*,
//! doi:10.1137/1.9780898717761, section 3.1. Validated by `models/tests/suite/derivatives.rs`.

use crate::lanes::Lanes;

/// What the arithmetic of a flight needs.
pub(super) trait Number<L: Lanes>: Copy {
    fn constant(v: f64) -> Self;
    /// Constants, one a lane.
    fn lifted(v: L) -> Self;
    fn value(self) -> L;
    fn plus(self, o: Self) -> Self;
    fn minus(self, o: Self) -> Self;
    fn times(self, o: Self) -> Self;
    fn over(self, o: Self) -> Self;
    fn root(self) -> Self;
    /// `self * b + c`.
    fn fused(self, b: Self, c: Self) -> Self;
    /// `c - self * b`.
    fn less(self, b: Self, c: Self) -> Self;
    /// `yes` where the mask is set.
    fn either(mask: L::Mask, yes: Self, no: Self) -> Self;
    /// The value cut to 0 to 1, which rounding alone can have left; the slope stays.
    fn cut(self) -> Self;
    /// The value cut to 0 and more, which rounding alone can have left; the slope stays.
    fn above(self) -> Self;
}

impl<L: Lanes> Number<L> for L {
    #[inline(always)]
    fn constant(v: f64) -> Self {
        L::splat(v)
    }
    #[inline(always)]
    fn lifted(v: L) -> Self {
        v
    }
    #[inline(always)]
    fn value(self) -> L {
        self
    }
    #[inline(always)]
    fn plus(self, o: Self) -> Self {
        self.add(o)
    }
    #[inline(always)]
    fn minus(self, o: Self) -> Self {
        self.sub(o)
    }
    #[inline(always)]
    fn times(self, o: Self) -> Self {
        self.mul(o)
    }
    #[inline(always)]
    fn over(self, o: Self) -> Self {
        self.div(o)
    }
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.madd(b, c)
    }
    #[inline(always)]
    fn less(self, b: Self, c: Self) -> Self {
        self.nmadd(b, c)
    }
    #[inline(always)]
    fn either(mask: L::Mask, yes: Self, no: Self) -> Self {
        L::select(mask, yes, no)
    }
    #[inline(always)]
    fn cut(self) -> Self {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        let t = L::select(self.ge(zero), self, zero);
        L::select(one.ge(t), t, one)
    }
    #[inline(always)]
    fn above(self) -> Self {
        let zero = L::splat(0.0);
        L::select(self.ge(zero), self, zero)
    }
}

/// A value and its slope.
#[derive(Clone, Copy)]
pub(super) struct Dual<L> {
    pub(super) value: L,
    pub(super) slope: L,
}

impl<L: Lanes> Number<L> for Dual<L> {
    #[inline(always)]
    fn constant(v: f64) -> Self {
        Self::lifted(L::splat(v))
    }
    #[inline(always)]
    fn lifted(v: L) -> Self {
        Self { value: v, slope: L::splat(0.0) }
    }
    #[inline(always)]
    fn value(self) -> L {
        self.value
    }
    #[inline(always)]
    fn plus(self, o: Self) -> Self {
        Self { value: self.value.add(o.value), slope: self.slope.add(o.slope) }
    }
    #[inline(always)]
    fn minus(self, o: Self) -> Self {
        Self { value: self.value.sub(o.value), slope: self.slope.sub(o.slope) }
    }
    #[inline(always)]
    fn times(self, o: Self) -> Self {
        let slope = self.slope.madd(o.value, self.value.mul(o.slope));
        Self { value: self.value.mul(o.value), slope }
    }
    #[inline(always)]
    fn over(self, o: Self) -> Self {
        let value = self.value.div(o.value);
        Self { value, slope: value.nmadd(o.slope, self.slope).div(o.value) }
    }
    #[inline(always)]
    fn root(self) -> Self {
        let value = self.value.sqrt();
        let twice = value.add(value).add(L::splat(f64::MIN_POSITIVE));
        Self { value, slope: self.slope.div(twice) }
    }
    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        let slope = self.slope.madd(b.value, self.value.madd(b.slope, c.slope));
        Self { value: self.value.madd(b.value, c.value), slope }
    }
    #[inline(always)]
    fn less(self, b: Self, c: Self) -> Self {
        let slope = self.slope.nmadd(b.value, self.value.nmadd(b.slope, c.slope));
        Self { value: self.value.nmadd(b.value, c.value), slope }
    }
    #[inline(always)]
    fn either(mask: L::Mask, yes: Self, no: Self) -> Self {
        Self {
            value: L::select(mask, yes.value, no.value),
            slope: L::select(mask, yes.slope, no.slope),
        }
    }
    #[inline(always)]
    fn cut(self) -> Self {
        Self { value: self.value.cut(), slope: self.slope }
    }
    #[inline(always)]
    fn above(self) -> Self {
        Self { value: self.value.above(), slope: self.slope }
    }
}
