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

use super::{Wide, each, gather, madd};
use crate::lanes::{Task, at_level};
use crate::simd;

/// Voxels whose squares are summed in 32 bits.
const BLOCK: usize = 64;

struct Kick<'a, const W: usize>(&'a mut [Wide<W>], &'a [Wide<W>], &'a [Wide<W>], f32, f32);
struct Drift<'a, const W: usize>(&'a mut [Wide<W>], &'a [Wide<W>], f32);
struct Turn<'a, const W: usize>(&'a mut [Wide<W>], &'a mut [Wide<W>], f32, f32);
struct Scale<'a, const W: usize>(&'a mut [Wide<W>], &'a [f32]);
struct HalfSquare<'a, const W: usize>(&'a [Wide<W>]);
struct Take<'a, const W: usize>(&'a mut [Wide<W>], &'a [Wide<W>], [bool; W]);

/// $p \leftarrow p - h\,(g - cq)$: with $c = 1$ the part of the force that the standard
/// normal density does not have.
pub fn kick<const W: usize>(p: &mut [Wide<W>], g: &[Wide<W>], q: &[Wide<W>], h: f32, c: f32) {
    at_level(simd::level(), Kick(p, g, q, h, c));
}

/// $q \leftarrow q + hp$.
pub fn drift<const W: usize>(q: &mut [Wide<W>], p: &[Wide<W>], h: f32) {
    at_level(simd::level(), Drift(q, p, h));
}

/// Turns by an angle.
pub fn turn<const W: usize>(q: &mut [Wide<W>], p: &mut [Wide<W>], angle: f64) {
    let (s, c) = angle.sin_cos();
    at_level(simd::level(), Turn(q, p, s as f32, c as f32));
}

/// Multiplies every voxel by a factor of its own.
pub fn scale<const W: usize>(x: &mut [Wide<W>], by: &[f32]) {
    at_level(simd::level(), Scale(x, by));
}

/// $\tfrac12\sum p^2$ of every chain.
pub fn half_square<const W: usize>(p: &[Wide<W>]) -> [f64; W] {
    at_level(simd::level(), HalfSquare(p))
}

/// The chains that are told so take over the state of `from`.
pub fn take<const W: usize>(to: &mut [Wide<W>], from: &[Wide<W>], which: [bool; W]) {
    at_level(simd::level(), Take(to, from, which));
}

impl<const W: usize> Task for Kick<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(p, g, q, h, c) = self;
        for ((p, g), q) in p.iter_mut().zip(g).zip(q) {
            let force = each(q, g, |q, g| madd::<FMA>(-c, q, g));
            *p = each(&force, p, |f, p| madd::<FMA>(-h, f, p));
        }
    }
}

impl<const W: usize> Task for Drift<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(q, p, h) = self;
        for (q, p) in q.iter_mut().zip(p) {
            *q = each(p, q, |p, q| madd::<FMA>(h, p, q));
        }
    }
}

impl<const W: usize> Task for Turn<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(q, p, s, c) = self;
        for (q, p) in q.iter_mut().zip(p) {
            let turned = each(q, p, |q, p| madd::<FMA>(c, q, s * p));
            *p = each(q, p, |q, p| madd::<FMA>(c, p, -s * q));
            *q = turned;
        }
    }
}

impl<const W: usize> Task for Scale<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (x, s) in self.0.iter_mut().zip(self.1) {
            for x in x {
                *x *= s;
            }
        }
    }
}

impl<const W: usize> Task for HalfSquare<'_, W> {
    type Output = [f64; W];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; W] {
        let mut sum = [0.0; W];
        for block in self.0.chunks(BLOCK) {
            let mut row = [0.0_f32; W];
            for p in block {
                row = each(p, &row, |p, row| madd::<FMA>(p, p, row));
            }
            gather(&row, &mut sum);
        }
        sum.map(|s| 0.5 * s)
    }
}

impl<const W: usize> Task for Take<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(to, from, which) = self;
        for (to, from) in to.iter_mut().zip(from) {
            for l in 0..W {
                to[l] = if which[l] { from[l] } else { to[l] };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_their_formulas() {
        let wide = |k: usize| -> Vec<Wide<4>> {
            (0..70).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
        };
        let (q0, p0, g) = (wide(1), wide(2), wide(3));
        let (mut q, mut p) = (q0.clone(), p0.clone());
        kick(&mut p, &g, &q, 0.3, 1.0);
        drift(&mut q, &p, 0.5);
        let square = half_square(&p);
        let mut sums = [0.0_f64; 4];
        for j in 0..70 {
            for l in 0..4 {
                let kicked = p0[j][l] - 0.3 * (g[j][l] - q0[j][l]);
                assert!((p[j][l] - kicked).abs() < 1e-6);
                assert!((q[j][l] - q0[j][l] - 0.5 * kicked).abs() < 1e-6);
                sums[l] += 0.5 * f64::from(p[j][l] * p[j][l]);
            }
        }
        for l in 0..4 {
            assert!((square[l] - sums[l]).abs() < 1e-5);
        }
        let before = (q.clone(), p.clone());
        turn(&mut q, &mut p, std::f64::consts::FRAC_PI_2);
        for j in 0..70 {
            for l in 0..4 {
                assert!((q[j][l] - before.1[j][l]).abs() < 1e-6);
                assert!((p[j][l] + before.0[j][l]).abs() < 1e-6);
            }
        }
        let turned = q.clone();
        take(&mut q, &q0, [true, false, false, true]);
        scale(&mut q, &[2.0; 70]);
        for j in 0..70 {
            assert_eq!(q[j][0], 2.0 * q0[j][0]);
            assert_eq!(q[j][1], 2.0 * turned[j][1]);
        }
    }
}
