//! What a Hamiltonian trajectory does to positions and momenta of several chains.
//!
//! | function | |
//! |---|---|
//! | [`kick`] | $p \leftarrow p - h\,(g - cq)$ |
//! | [`drift`] | $q \leftarrow q + hp$ |
//! | [`turn`] | $(q, p)$ turns by an angle: the flow of the standard normal density |
//! | [`scale`] | $x \leftarrow s_j x$ |
//! | [`half_square`] | $\tfrac12\sum p^2$ |
//! | [`take`] | chains for which it is said take over another state |
//!
//! Validated by `flows_are_their_formulas` below.

use super::{ABREAST, Sums, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::Singles;

/// Voxels whose squares are summed in 32 bits.
const BLOCK: usize = 64;

struct Kick<'a>(&'a mut [Wide], &'a [Wide], &'a [Wide], f32, f32);
struct Drift<'a>(&'a mut [Wide], &'a [Wide], f32);
struct Turn<'a>(&'a mut [Wide], &'a mut [Wide], f32, f32);
struct Scale<'a>(&'a mut [Wide], &'a [f32]);
struct HalfSquare<'a>(&'a [Wide], &'a mut [f64; ABREAST]);
struct Take<'a>(&'a mut [Wide], &'a [Wide], [bool; ABREAST]);

/// $p \leftarrow p - h\,(g - cq)$: with $c = 1$ the part of the force that the standard
/// normal density does not have.
pub fn kick(p: &mut [Wide], g: &[Wide], q: &[Wide], h: f32, c: f32) {
    in_lanes(simd::level(), Kick(p, g, q, h, c));
}

/// $q \leftarrow q + hp$.
pub fn drift(q: &mut [Wide], p: &[Wide], h: f32) {
    in_lanes(simd::level(), Drift(q, p, h));
}

/// Turns by an angle.
pub fn turn(q: &mut [Wide], p: &mut [Wide], angle: f64) {
    let (s, c) = angle.sin_cos();
    in_lanes(simd::level(), Turn(q, p, s as f32, c as f32));
}

/// Multiplies every voxel by a factor of its own.
pub fn scale(x: &mut [Wide], by: &[f32]) {
    in_lanes(simd::level(), Scale(x, by));
}

/// $\tfrac12\sum p^2$ of every chain.
pub fn half_square(p: &[Wide]) -> [f64; ABREAST] {
    let mut sum = [0.0; ABREAST];
    in_lanes(simd::level(), HalfSquare(p, &mut sum));
    sum.map(|s| 0.5 * s)
}

/// The chains that are told so take over the state of `from`.
pub fn take(to: &mut [Wide], from: &[Wide], which: [bool; ABREAST]) {
    in_lanes(simd::level(), Take(to, from, which));
}

impl LaneTask for Kick<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(p, g, q, h, c) = self;
        let (h, c) = (L::Single::splat(-h), L::Single::splat(-c));
        for ((p, g), q) in p.iter_mut().zip(g).zip(q) {
            let force = c.madd(L::Single::load(q), L::Single::load(g));
            h.madd(force, L::Single::load(p)).store(p);
        }
    }
}

impl LaneTask for Drift<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(q, p, h) = self;
        let h = L::Single::splat(h);
        for (q, p) in q.iter_mut().zip(p) {
            h.madd(L::Single::load(p), L::Single::load(q)).store(q);
        }
    }
}

impl LaneTask for Turn<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(q, p, s, c) = self;
        let (s, c, minus) = (L::Single::splat(s), L::Single::splat(c), L::Single::splat(-s));
        for (q, p) in q.iter_mut().zip(p) {
            let (from, along) = (L::Single::load(q), L::Single::load(p));
            c.madd(from, s.mul(along)).store(q);
            c.madd(along, minus.mul(from)).store(p);
        }
    }
}

impl LaneTask for Scale<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (x, s) in self.0.iter_mut().zip(self.1) {
            L::Single::splat(*s).mul(L::Single::load(x)).store(x);
        }
    }
}

impl LaneTask for HalfSquare<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut sum = Sums::<L::Single>::zero();
        for block in self.0.chunks(BLOCK) {
            let mut row = L::Single::splat(0.0);
            for p in block {
                let p = L::Single::load(p);
                row = p.madd(p, row);
            }
            sum.add(row);
        }
        sum.store(self.1);
    }
}

impl LaneTask for Take<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(to, from, which) = self;
        let chosen = which.map(|w| if w { 1.0 } else { 0.0 });
        let mask = L::Single::load(&chosen).ge(L::Single::splat(0.5));
        for (to, from) in to.iter_mut().zip(from) {
            L::Single::select(mask, L::Single::load(from), L::Single::load(to)).store(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_their_formulas() {
        let wide = |k: usize| -> Vec<Wide> {
            (0..70).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
        };
        let (q0, p0, g) = (wide(1), wide(2), wide(3));
        let (mut q, mut p) = (q0.clone(), p0.clone());
        kick(&mut p, &g, &q, 0.3, 1.0);
        drift(&mut q, &p, 0.5);
        let square = half_square(&p);
        let mut sums = [0.0_f64; ABREAST];
        for j in 0..70 {
            for l in 0..ABREAST {
                let kicked = p0[j][l] - 0.3 * (g[j][l] - q0[j][l]);
                assert!((p[j][l] - kicked).abs() < 1e-6);
                assert!((q[j][l] - q0[j][l] - 0.5 * kicked).abs() < 1e-6);
                sums[l] += 0.5 * f64::from(p[j][l] * p[j][l]);
            }
        }
        for l in 0..ABREAST {
            assert!((square[l] - sums[l]).abs() < 1e-5);
        }
        let before = (q.clone(), p.clone());
        turn(&mut q, &mut p, std::f64::consts::FRAC_PI_2);
        for j in 0..70 {
            for l in 0..ABREAST {
                assert!((q[j][l] - before.1[j][l]).abs() < 1e-6);
                assert!((p[j][l] + before.0[j][l]).abs() < 1e-6);
            }
        }
        let turned = q.clone();
        take(&mut q, &q0, std::array::from_fn(|l| l % 2 == 0));
        scale(&mut q, &[2.0; 70]);
        for j in 0..70 {
            assert_eq!(q[j][0], 2.0 * q0[j][0]);
            assert_eq!(q[j][1], 2.0 * turned[j][1]);
        }
    }
}
