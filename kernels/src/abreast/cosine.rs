//! The orthonormal discrete cosine transform of several images along every axis.
//!
//! $$X_k = c_k\sum_{i=0}^{n-1}x_i\cos\frac{\pi(i+\frac12)k}{n},\qquad
//! c_0=\sqrt{1/n},\ c_k=\sqrt{2/n}$$
//!
//! A line of even length is split into two of half of it,
//!
//! $$u_i = x_i + x_{n-1-i},\quad v_i = \frac{x_i - x_{n-1-i}}{2\cos(\pi(i+\frac12)/n)},\quad
//! X_{2k} = U_k,\quad X_{2k+1} = V_k + V_{k+1},$$
//!
//! until it is odd, where the sum is done as it stands; eight numbers stay in registers. The
//! inverse is the transpose, step by step backwards.
//!
//! Source: Lee 1984, doi:10.1109/TASSP.1984.1164443. Validated by `equals_the_sum` below.

use super::{Images, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::Singles;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// What halvings end at; both hold the factor $c_1$.
#[derive(Debug, Clone)]
enum Rest {
    /// Eight numbers: $1/(2\cos)$ of the halvings of 8, 4 and 2, and the factor.
    Eight { four: [f32; 4], two: [f32; 2], one: f32, factor: f32 },
    /// The matrix `[k, i]` of a side.
    Dense { side: usize, matrix: Vec<f32> },
}

/// A line of one length.
#[derive(Debug, Clone)]
struct Plan {
    /// $1/(2\cos)$ of every halving before the rest, longest first.
    halves: Vec<Vec<f32>>,
    rest: Rest,
}

/// $1/(2\cos)$ of the halving of a length.
fn half(m: usize) -> Vec<f32> {
    let cosine = |i: usize| (PI * (i as f64 + 0.5) / m as f64).cos();
    (0..m / 2).map(|i| (0.5 / cosine(i)) as f32).collect()
}

impl Plan {
    fn new(n: usize) -> Self {
        let factor = (2.0 / n as f64).sqrt();
        let (mut halves, mut m) = (Vec::new(), n);
        while m % 2 == 0 && m > 0 && m != 8 {
            halves.push(half(m));
            m /= 2;
        }
        let entry = |at: usize| {
            let (k, i) = (at / m, at % m);
            (factor * (PI * (i as f64 + 0.5) * k as f64 / m as f64).cos()) as f32
        };
        let first = |m: usize, i: usize| half(m)[i];
        let rest = match m {
            8 => Rest::Eight {
                four: std::array::from_fn(|i| first(8, i)),
                two: std::array::from_fn(|i| first(4, i)),
                one: first(2, 0),
                factor: factor as f32,
            },
            _ => Rest::Dense { side: m, matrix: (0..m * m).map(entry).collect() },
        };
        Self { halves, rest }
    }
}

/// The transform of images of one shape.
#[derive(Debug, Clone)]
pub struct CosineLanes {
    shape: Vec<usize>,
    plans: Vec<Plan>,
}

impl CosineLanes {
    /// For images of a shape, slowest axis first.
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), plans: shape.iter().map(|n| Plan::new(*n)).collect() }
    }

    /// Images to coefficients, in place.
    pub fn forward(&self, x: &mut [Wide]) {
        in_lanes(simd::level(), Lines { of: self, x, forward: true });
    }

    /// Coefficients to images, in place: the transpose, which is the inverse.
    pub fn inverse(&self, x: &mut [Wide]) {
        in_lanes(simd::level(), Lines { of: self, x, forward: false });
    }
}

struct Lines<'a> {
    of: &'a CosineLanes,
    x: &'a mut [Wide],
    forward: bool,
}

impl LaneTask for Lines<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let longest = self.of.shape.iter().copied().max().unwrap_or(0);
        let mut line = Images::zeros(longest);
        let mut other = Images::zeros(longest);
        for (axis, plan) in self.of.plans.iter().enumerate() {
            let n = self.of.shape[axis];
            if n < 2 {
                continue;
            }
            let step: usize = self.of.shape[axis + 1..].iter().product();
            for block in self.x.chunks_exact_mut(n * step) {
                for first in 0..step {
                    let x = &mut block[first..];
                    if self.forward {
                        analyse::<L::Single>(plan, x, step, &mut line[..n], &mut other[..n]);
                    } else {
                        synthesise::<L::Single>(plan, x, step, &mut line[..n], &mut other[..n]);
                    }
                }
            }
        }
    }
}

/// Splits a line, voxel i at `x[i * step]`, into the two of its half.
#[inline(always)]
fn split<S: Singles>(half: &[f32], x: &[Wide], step: usize, y: &mut [Wide]) {
    let m = 2 * half.len();
    let (u, v) = y.split_at_mut(half.len());
    for (i, ((c, u), v)) in half.iter().zip(u).zip(v).enumerate() {
        let (a, b) = (S::load(&x[i * step]), S::load(&x[(m - 1 - i) * step]));
        a.add(b).store(u);
        a.sub(b).mul(S::splat(*c)).store(v);
    }
}

/// The transpose of [`split`].
#[inline(always)]
fn unsplit<S: Singles>(half: &[f32], y: &[Wide], x: &mut [Wide], step: usize) {
    let m = 2 * half.len();
    let (u, v) = y.split_at(half.len());
    for (i, ((c, u), v)) in half.iter().zip(u).zip(v).enumerate() {
        let (u, v) = (S::load(u), S::load(v));
        S::splat(*c).madd(v, u).store(&mut x[i * step]);
        S::splat(-*c).madd(v, u).store(&mut x[(m - 1 - i) * step]);
    }
}

/// Joins the coefficients of two halves to those of the line.
#[inline(always)]
fn join<S: Singles>(y: &[Wide], x: &mut [Wide], step: usize) {
    let (u, v) = y.split_at(y.len() / 2);
    for i in 0..u.len() {
        x[2 * i * step] = u[i];
        let mut sum = S::load(&v[i]);
        if let Some(next) = v.get(i + 1) {
            sum = sum.add(S::load(next));
        }
        sum.store(&mut x[(2 * i + 1) * step]);
    }
}

/// The transpose of [`join`].
#[inline(always)]
fn unjoin<S: Singles>(x: &[Wide], step: usize, y: &mut [Wide]) {
    let middle = y.len() / 2;
    let (u, v) = y.split_at_mut(middle);
    let mut last = S::splat(0.0);
    for i in 0..u.len() {
        u[i] = x[2 * i * step];
        let odd = S::load(&x[(2 * i + 1) * step]);
        odd.add(last).store(&mut v[i]);
        last = odd;
    }
}

impl Rest {
    /// The transform of every rest of a line, or its transpose.
    #[inline(always)]
    fn apply<S: Singles, const FORWARD: bool>(&self, x: &mut [Wide], spare: &mut [Wide]) {
        match self {
            Self::Eight { four, two, one, factor } => {
                // Closures of the library's functions would lose the level's instructions.
                let splat = S::splat;
                let four = [splat(four[0]), splat(four[1]), splat(four[2]), splat(four[3])];
                let two = [splat(two[0]), splat(two[1])];
                let (one, factor) = (splat(*one), splat(*factor));
                for x in x.as_chunks_mut::<8>().0 {
                    let mut line = [factor; 8];
                    for (line, x) in line.iter_mut().zip(&*x) {
                        *line = line.mul(S::load(x));
                    }
                    line = match FORWARD {
                        true => analyse_8(four, two, one, line),
                        false => synthesise_8(four, two, one, line),
                    };
                    for (x, line) in x.iter_mut().zip(line) {
                        line.store(x);
                    }
                }
            }
            Self::Dense { side, matrix } => {
                for x in x.chunks_exact_mut(*side) {
                    let from = &mut spare[..*side];
                    from.copy_from_slice(x);
                    for (k, x) in x.iter_mut().enumerate() {
                        let mut sum = S::splat(0.0);
                        for (i, from) in from.iter().enumerate() {
                            let at = if FORWARD { k * side + i } else { i * side + k };
                            sum = S::splat(matrix[at]).madd(S::load(from), sum);
                        }
                        sum.store(x);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn analyse_4<S: Singles>(two: [S; 2], one: S, x: [S; 4]) -> [S; 4] {
    let pair = |a: S, b: S| [a.add(b), a.sub(b).mul(one)];
    let u = pair(x[0].add(x[3]), x[1].add(x[2]));
    let v = pair(x[0].sub(x[3]).mul(two[0]), x[1].sub(x[2]).mul(two[1]));
    [u[0], v[0].add(v[1]), u[1], v[1]]
}

#[inline(always)]
fn analyse_8<S: Singles>(four: [S; 4], two: [S; 2], one: S, x: [S; 8]) -> [S; 8] {
    let (mut u, mut v) = ([one; 4], [one; 4]);
    for i in 0..4 {
        u[i] = x[i].add(x[7 - i]);
        v[i] = x[i].sub(x[7 - i]).mul(four[i]);
    }
    let (u, v) = (analyse_4(two, one, u), analyse_4(two, one, v));
    [u[0], v[0].add(v[1]), u[1], v[1].add(v[2]), u[2], v[2].add(v[3]), u[3], v[3]]
}

#[inline(always)]
fn synthesise_4<S: Singles>(two: [S; 2], one: S, x: [S; 4]) -> [S; 4] {
    let pair = |a: S, b: S| {
        let b = one.mul(b);
        [a.add(b), a.sub(b)]
    };
    let u = pair(x[0], x[2]);
    let v = pair(x[1], x[3].add(x[1]));
    let v = [two[0].mul(v[0]), two[1].mul(v[1])];
    [u[0].add(v[0]), u[1].add(v[1]), u[1].sub(v[1]), u[0].sub(v[0])]
}

#[inline(always)]
fn synthesise_8<S: Singles>(four: [S; 4], two: [S; 2], one: S, x: [S; 8]) -> [S; 8] {
    let u = synthesise_4(two, one, [x[0], x[2], x[4], x[6]]);
    let v = synthesise_4(two, one, [x[1], x[3].add(x[1]), x[5].add(x[3]), x[7].add(x[5])]);
    let mut out = [one; 8];
    for i in 0..4 {
        let v = four[i].mul(v[i]);
        (out[i], out[7 - i]) = (u[i].add(v), u[i].sub(v));
    }
    out
}

/// $c_0 = c_1/\sqrt2$, and the rest has $c_1$.
#[inline(always)]
fn level<S: Singles>(x: &mut Wide) {
    S::load(x).mul(S::splat(FRAC_1_SQRT_2 as f32)).store(x);
}

/// The DCT of a line, voxel i at `x[i * step]`, in place; `a` and `b` are memory.
#[inline(always)]
fn analyse<'a, S: Singles>(
    plan: &Plan,
    x: &mut [Wide],
    step: usize,
    mut a: &'a mut [Wide],
    mut b: &'a mut [Wide],
) {
    let Some((outer, inner)) = plan.halves.split_first() else {
        for (i, a) in a.iter_mut().enumerate() {
            *a = x[i * step];
        }
        plan.rest.apply::<S, true>(a, b);
        level::<S>(&mut a[0]);
        for (i, a) in a.iter().enumerate() {
            x[i * step] = *a;
        }
        return;
    };
    split::<S>(outer, x, step, a);
    for half in inner {
        let m = 2 * half.len();
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact_mut(m)) {
            split::<S>(half, a, 1, b);
        }
        std::mem::swap(&mut a, &mut b);
    }
    plan.rest.apply::<S, true>(a, b);
    for half in inner.iter().rev() {
        let m = 2 * half.len();
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact_mut(m)) {
            join::<S>(a, b, 1);
        }
        std::mem::swap(&mut a, &mut b);
    }
    level::<S>(&mut a[0]);
    join::<S>(a, x, step);
}

/// The transpose of [`analyse`].
#[inline(always)]
fn synthesise<'a, S: Singles>(
    plan: &Plan,
    x: &mut [Wide],
    step: usize,
    mut a: &'a mut [Wide],
    mut b: &'a mut [Wide],
) {
    level::<S>(&mut x[0]);
    let Some((outer, inner)) = plan.halves.split_first() else {
        for (i, a) in a.iter_mut().enumerate() {
            *a = x[i * step];
        }
        plan.rest.apply::<S, false>(a, b);
        for (i, a) in a.iter().enumerate() {
            x[i * step] = *a;
        }
        return;
    };
    unjoin::<S>(x, step, a);
    for half in inner {
        let m = 2 * half.len();
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact_mut(m)) {
            unjoin::<S>(a, 1, b);
        }
        std::mem::swap(&mut a, &mut b);
    }
    plan.rest.apply::<S, false>(a, b);
    for half in inner.iter().rev() {
        let m = 2 * half.len();
        for (a, b) in a.chunks_exact(m).zip(b.chunks_exact_mut(m)) {
            unsplit::<S>(half, a, b, 1);
        }
        std::mem::swap(&mut a, &mut b);
    }
    unsplit::<S>(outer, a, x, step);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum() {
        for shape in [vec![8, 6], vec![64, 5], vec![16, 12], vec![3, 4, 10], vec![1, 7], vec![2, 1]]
        {
            let n: usize = shape.iter().product();
            let x: Vec<Wide> =
                (0..n).map(|j| std::array::from_fn(|l| ((j * 7 + l) as f32).sin())).collect();
            let transform = CosineLanes::new(&shape);
            let mut found = x.clone();
            transform.forward(&mut found);
            let indices = |mut j: usize| {
                let mut at = vec![0; shape.len()];
                for (a, n) in shape.iter().enumerate().rev() {
                    at[a] = j % n;
                    j /= n;
                }
                at
            };
            for (c, found) in found.iter().enumerate() {
                let k = indices(c);
                for l in [0, 3] {
                    let mut sum = 0.0;
                    for (j, x) in x.iter().enumerate() {
                        let mut term = f64::from(x[l]);
                        for ((i, k), n) in indices(j).iter().zip(&k).zip(&shape) {
                            let n = *n as f64;
                            let scale = if *k == 0 { 1.0 / n } else { 2.0 / n };
                            term *= scale.sqrt() * (PI * (*i as f64 + 0.5) * *k as f64 / n).cos();
                        }
                        sum += term;
                    }
                    assert!((f64::from(found[l]) - sum).abs() < 1e-5, "{shape:?} {c}");
                }
            }
            transform.inverse(&mut found);
            for (a, b) in found.iter().zip(&x) {
                assert!((a[0] - b[0]).abs() < 1e-5 && (a[3] - b[3]).abs() < 1e-5);
            }
        }
    }
}
