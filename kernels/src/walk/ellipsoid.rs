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
//! and two plates. Validated by `models/tests/tissue.rs`.

use super::wall::{HITS, Round, Step, Walls};
use crate::lanes::Lanes;
use crate::simd::Block;

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
    fn square<L: Lanes>(&self, x: &[L; 3]) -> L {
        self.product(x, x)
    }

    #[inline(always)]
    fn product<L: Lanes>(&self, x: &[L; 3], y: &[L; 3]) -> L {
        let mut sum = L::splat(0.0);
        for a in 0..3 {
            let scale = L::splat(1.0 / (self.semi[a] * self.semi[a]));
            sum = x[a].mul(scale).madd(y[a], sum);
        }
        sum
    }
}

#[inline(always)]
fn dot<L: Lanes>(x: &[L; 3], y: &[L; 3]) -> L {
    x[2].madd(y[2], x[1].madd(y[1], x[0].mul(y[0])))
}

impl Walls for Ellipsoid {
    type Memory = ();

    fn enter(&self, _: &[Block; 3]) {}

    #[inline(always)]
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        _: &mut (),
        step: &Step<'_, L>,
    ) -> u32 {
        let (zero, one) = (L::splat(0.0), L::splat(1.0));
        let tiny = L::splat(f64::MIN_POSITIVE);
        let (mut full, mut left) = (d, one);
        let mut hits = 0;
        loop {
            let mut end = *x;
            let mut v = full;
            for a in 0..3 {
                v[a] = full[a].mul(left);
                end[a] = x[a].add(v[a]);
            }
            let inside = one.ge(self.square(&end));
            let bits = L::mask_bits(inside);
            if bits == 0xff || hits == HITS {
                for a in 0..3 {
                    x[a] = L::select(inside, end[a], x[a]);
                }
                return bits.count_zeros();
            }
            hits += 1;
            let a2 = self.square(&v);
            let c = self.square(x).sub(one);
            let b = self.product(x, &v);
            let root = b.mul(b).sub(a2.mul(c));
            let root = L::select(root.ge(zero), root, zero).sqrt();
            let t = root.sub(b).div(a2);
            let t = L::select(t.ge(zero), t, zero);
            let t = L::select(one.ge(t), t, one);
            let mut hit = *x;
            for a in 0..3 {
                hit[a] = v[a].madd(t, x[a]);
            }
            let mut gradient = hit;
            for a in 0..3 {
                gradient[a] = hit[a].mul(L::splat(1.0 / (self.semi[a] * self.semi[a])));
            }
            let steep = one.div(dot(&gradient, &gradient).sqrt());
            let mut n = gradient;
            for a in 0..3 {
                n[a] = gradient[a].mul(steep);
            }
            let s = dot(&n, &full);
            if self.relaxivity > 0.0 {
                let lasts = step.reach.survival(s, L::splat(self.relaxivity)).mul(*weight);
                *weight = L::select(inside, *weight, lasts);
            }
            let mut along = full;
            for a in 0..3 {
                along[a] = s.nmadd(n[a], full[a]);
            }
            let across = dot(&along, &along);
            let bend = self.square(&along).mul(steep).div(across.add(tiny));
            // The slide back along T by s |T| k / 6, then down to the wall.
            let shift = s.mul(bend).mul(L::splat(-1.0 / 6.0));
            let mut moved = hit;
            for a in 0..3 {
                moved[a] = along[a].madd(shift, hit[a]);
            }
            let size = L::splat(1.0 - 2f64.powi(-50)).div(self.square(&moved).sqrt());
            let mut normal = moved;
            for a in 0..3 {
                moved[a] = moved[a].mul(size);
                normal[a] = moved[a].mul(L::splat(1.0 / (self.semi[a] * self.semi[a])));
            }
            let steep = one.div(dot(&normal, &normal).sqrt());
            // T turns with the wall and keeps its length.
            let mut lean = zero;
            for a in 0..3 {
                normal[a] = normal[a].mul(steep);
                lean = normal[a].madd(along[a], lean);
            }
            let mut tangent = along;
            for a in 0..3 {
                tangent[a] = lean.nmadd(normal[a], along[a]);
            }
            let keep = across.div(dot(&tangent, &tangent).add(tiny)).sqrt();
            for a in 0..3 {
                let turned = s.nmadd(normal[a], tangent[a].mul(keep));
                x[a] = L::select(inside, x[a], moved[a]);
                full[a] = L::select(inside, full[a], turned);
            }
            left = L::select(inside, left, t.nmadd(left, left));
        }
    }

    fn holds(&self, x: [f64; 3], (): &(), _: usize) -> bool {
        let square: f64 = (0..3).map(|a| (x[a] / self.semi[a]).powi(2)).sum();
        square <= 1.0 + 1e-12
    }
}

/// A cylinder along z between two flat ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capped {
    round: Round<2>,
    half: f64,
    relaxivity: f64,
}

impl Capped {
    pub(crate) fn new(radius: f64, length: f64, relaxivity: f64) -> Self {
        Self { round: Round::new(radius, relaxivity), half: 0.5 * length, relaxivity }
    }
}

impl Walls for Capped {
    type Memory = ();

    fn enter(&self, _: &[Block; 3]) {}

    #[inline(always)]
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        memory: &mut (),
        step: &Step<'_, L>,
    ) -> u32 {
        let stopped = self.round.advance(x, d, weight, memory, step);
        // The flight ends mirrored between the plates; the rest is that of a plane wall.
        let (half, twice) = (L::splat(self.half), L::splat(2.0 * self.half));
        let mut hits = 0;
        loop {
            let inside = half.ge(x[2].abs());
            let bits = L::mask_bits(inside);
            if bits == 0xff || hits == HITS {
                return stopped + bits.count_zeros();
            }
            hits += 1;
            if self.relaxivity > 0.0 {
                let lasts = step.reach.survival(d[2].abs(), L::splat(self.relaxivity)).mul(*weight);
                *weight = L::select(inside, *weight, lasts);
            }
            let mirrored = twice.copysign(x[2]).sub(x[2]);
            x[2] = L::select(inside, x[2], mirrored);
        }
    }

    fn holds(&self, x: [f64; 3], memory: &(), lane: usize) -> bool {
        self.round.holds([x[0], x[1], 0.0], memory, lane) && x[2].abs() <= self.half
    }
}
