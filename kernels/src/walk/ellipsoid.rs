//! Mirrored flight in an ellipsoid, and in a cylinder between two flat ends.
//!
//! With $u = (x/a, y/b, z/c)$ the ellipsoid is the unit sphere, so the hit is that of
//! `wall.rs` in u; the normal is $n \propto (x/a^2, y/b^2, z/c^2)$. The wall curves by
//!
//! $$k = \frac{T\cdot H T}{|\nabla F|\,|T|^2},\qquad F = \tfrac12|u|^2,\quad
//!   H = \mathrm{diag}(a^{-2}, b^{-2}, c^{-2})$$
//!
//! along the tangential part T of a flight, and the slide of `wall.rs` is made with 1/R = k.
//! k differs from place to place, so that densities stay uniform but for terms of
//! $\sigma^4$; the test bounds them.
//!
//! Across and along a capped cylinder motions are independent: the round wall of `wall.rs`
//! and two plates. Validated by `models/tests/suite/tissue.rs`.

use super::dual::Number;
use super::wall::{HITS, Mirrors, Round};
use crate::lanes::Lanes;

/// An ellipsoid about the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ellipsoid {
    semi: [f64; 3],
    relaxivity: f64,
}

impl Ellipsoid {
    pub(crate) fn new(semi: [f64; 3], relaxivity: f64) -> Self {
        Self { semi, relaxivity }
    }

    /// The squared radius in units of the ellipsoid.
    #[inline(always)]
    fn square<L: Lanes, N: Number<L>>(&self, x: &[N; 3]) -> N {
        self.product(x, x)
    }

    #[inline(always)]
    fn product<L: Lanes, N: Number<L>>(&self, x: &[N; 3], y: &[N; 3]) -> N {
        let mut sum = N::constant(0.0);
        for a in 0..3 {
            let scale = N::constant(1.0 / (self.semi[a] * self.semi[a]));
            sum = x[a].times(scale).fused(y[a], sum);
        }
        sum
    }
}

#[inline(always)]
fn dot<L: Lanes, N: Number<L>>(x: &[N; 3], y: &[N; 3]) -> N {
    x[2].fused(y[2], x[1].fused(y[1], x[0].times(y[0])))
}

impl Mirrors for Ellipsoid {
    fn relaxivity(&self) -> f64 {
        self.relaxivity
    }

    #[inline(always)]
    fn fly<L: Lanes, N: Number<L>>(
        &self,
        x: &mut [N; 3],
        d: [N; 3],
        mut hit: impl FnMut(L::Mask, L),
    ) -> u32 {
        let (zero, one) = (N::constant(0.0), N::constant(1.0));
        let tiny = N::constant(f64::MIN_POSITIVE);
        let steepness = |a: usize| N::constant(1.0 / (self.semi[a] * self.semi[a]));
        let (mut full, mut left) = (d, one);
        let mut hits = 0;
        loop {
            let mut end = *x;
            let mut v = full;
            for a in 0..3 {
                v[a] = full[a].times(left);
                end[a] = x[a].plus(v[a]);
            }
            let inside = one.value().ge(self.square::<L, N>(&end).value());
            let bits = L::mask_bits(inside);
            if bits == 0xff || hits == HITS {
                for a in 0..3 {
                    x[a] = N::either(inside, end[a], x[a]);
                }
                return bits.count_zeros();
            }
            hits += 1;
            let a2 = self.square::<L, N>(&v);
            let c = self.square::<L, N>(x).minus(one);
            let b = self.product::<L, N>(x, &v);
            let root = b.times(b).minus(a2.times(c)).above().root();
            let t = root.minus(b).over(a2).cut();
            let mut place = *x;
            for a in 0..3 {
                place[a] = v[a].fused(t, x[a]);
            }
            let mut gradient = place;
            for a in 0..3 {
                gradient[a] = place[a].times(steepness(a));
            }
            let steep = one.over(dot::<L, N>(&gradient, &gradient).root());
            let mut n = gradient;
            for a in 0..3 {
                n[a] = gradient[a].times(steep);
            }
            let s = dot::<L, N>(&n, &full);
            hit(inside, s.value());
            let rest = t.less(left, left);
            let mut along = full;
            for a in 0..3 {
                along[a] = s.less(n[a], full[a]);
            }
            let across = dot::<L, N>(&along, &along);
            let bend = self.square::<L, N>(&along).times(steep).over(across.plus(tiny));
            // The slide back along T by s |T| k r (1 - r), then down to the wall.
            let shift = rest.less(rest, rest).times(s).times(bend).times(N::constant(-1.0));
            let mut moved = place;
            for a in 0..3 {
                moved[a] = along[a].fused(shift, place[a]);
            }
            let inner = N::constant(1.0 - 2f64.powi(-50));
            let size = inner.over(self.square::<L, N>(&moved).root());
            let mut normal = moved;
            for a in 0..3 {
                moved[a] = moved[a].times(size);
                normal[a] = moved[a].times(steepness(a));
            }
            let steep = one.over(dot::<L, N>(&normal, &normal).root());
            // T turns with the wall and keeps its length.
            let mut lean = zero;
            for a in 0..3 {
                normal[a] = normal[a].times(steep);
                lean = normal[a].fused(along[a], lean);
            }
            let mut tangent = along;
            for a in 0..3 {
                tangent[a] = lean.less(normal[a], along[a]);
            }
            let keep = across.over(dot::<L, N>(&tangent, &tangent).plus(tiny)).root();
            for a in 0..3 {
                let turned = s.less(normal[a], tangent[a].times(keep));
                x[a] = N::either(inside, x[a], moved[a]);
                full[a] = N::either(inside, full[a], turned);
            }
            left = N::either(inside, left, rest);
        }
    }

    fn contains(&self, x: [f64; 3]) -> bool {
        let square: f64 = (0..3).map(|a| (x[a] / self.semi[a]).powi(2)).sum();
        square <= 1.0 + 1e-12
    }
}

/// A cylinder along z between two flat ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capped {
    round: Round<2>,
    half: f64,
}

impl Capped {
    pub(crate) fn new(radius: f64, length: f64, relaxivity: f64) -> Self {
        Self { round: Round::new(radius, relaxivity), half: 0.5 * length }
    }
}

impl Mirrors for Capped {
    fn relaxivity(&self) -> f64 {
        self.round.relaxivity()
    }

    #[inline(always)]
    fn fly<L: Lanes, N: Number<L>>(
        &self,
        x: &mut [N; 3],
        d: [N; 3],
        mut hit: impl FnMut(L::Mask, L),
    ) -> u32 {
        let stopped = self.round.fly::<L, N>(x, d, &mut hit);
        // The flight ends mirrored between the plates; the rest is that of a plane wall.
        let (half, twice) = (L::splat(self.half), L::splat(2.0 * self.half));
        let mut hits = 0;
        loop {
            let z = x[2].value();
            let inside = half.ge(z.abs());
            let bits = L::mask_bits(inside);
            if bits == 0xff || hits == HITS {
                return stopped + bits.count_zeros();
            }
            hits += 1;
            hit(inside, d[2].value().abs());
            let mirrored = N::lifted(twice.copysign(z)).minus(x[2]);
            x[2] = N::either(inside, x[2], mirrored);
        }
    }

    fn contains(&self, x: [f64; 3]) -> bool {
        self.round.contains([x[0], x[1], 0.0]) && x[2].abs() <= self.half
    }
}
