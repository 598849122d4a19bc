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
//! until it is odd, where the sum is done as it stands. The inverse is the transpose, step by
//! step backwards.
//!
//! Source: Lee 1984, doi:10.1109/TASSP.1984.1164443. Validated by `equals_the_sum` below.

use super::{Images, Wide, each, madd};
use crate::lanes::{Task, at_level};
use crate::simd;
use std::f64::consts::PI;

/// A line of one length.
#[derive(Debug, Clone)]
struct Plan {
    /// $1/(2\cos)$ of every halving, longest first.
    halves: Vec<Vec<f32>>,
    /// The matrix of the odd rest `[k, i]`.
    rest: Vec<f32>,
    odd: usize,
    /// Orthonormal factors.
    first: f32,
    other: f32,
}

impl Plan {
    fn new(n: usize) -> Self {
        let (mut halves, mut m) = (Vec::new(), n);
        while m % 2 == 0 && m > 0 {
            let cosine = |i: usize| (PI * (i as f64 + 0.5) / m as f64).cos();
            halves.push((0..m / 2).map(|i| (0.5 / cosine(i)) as f32).collect());
            m /= 2;
        }
        let entry = |at: usize| {
            let (k, i) = (at / m, at % m);
            (PI * (i as f64 + 0.5) * k as f64 / m as f64).cos() as f32
        };
        Self {
            halves,
            rest: (0..m * m).map(entry).collect(),
            odd: m,
            first: (1.0 / n as f64).sqrt() as f32,
            other: (2.0 / n as f64).sqrt() as f32,
        }
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
    pub fn forward<const W: usize>(&self, x: &mut [Wide<W>]) {
        at_level(simd::level(), Lines { of: self, x, forward: true });
    }

    /// Coefficients to images, in place: the transpose, which is the inverse.
    pub fn inverse<const W: usize>(&self, x: &mut [Wide<W>]) {
        at_level(simd::level(), Lines { of: self, x, forward: false });
    }
}

struct Lines<'a, const W: usize> {
    of: &'a CosineLanes,
    x: &'a mut [Wide<W>],
    forward: bool,
}

impl<const W: usize> Task for Lines<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let longest = self.of.shape.iter().copied().max().unwrap_or(0);
        let mut line = Images::<W>::zeros(longest);
        let mut other = Images::<W>::zeros(longest);
        for (axis, plan) in self.of.plans.iter().enumerate() {
            let n = self.of.shape[axis];
            if n < 2 {
                continue;
            }
            let after: usize = self.of.shape[axis + 1..].iter().product();
            for block in self.x.chunks_exact_mut(n * after) {
                for k in 0..after {
                    let mut from = &mut line[..n];
                    let mut to = &mut other[..n];
                    for (i, v) in from.iter_mut().enumerate() {
                        *v = block[i * after + k];
                    }
                    if self.forward {
                        analyse::<FMA, W>(plan, &mut from, &mut to);
                    } else {
                        synthesise::<FMA, W>(plan, &mut from, &mut to);
                    }
                    for (i, v) in from.iter().enumerate() {
                        block[i * after + k] = *v;
                    }
                }
            }
        }
    }
}

/// The DCT of the line `from`, which is left there; both are swapped on the way.
#[inline(always)]
fn analyse<'a, const FMA: bool, const W: usize>(
    plan: &Plan,
    from: &mut &'a mut [Wide<W>],
    to: &mut &'a mut [Wide<W>],
) {
    for half in &plan.halves {
        let m = 2 * half.len();
        for (x, y) in from.chunks_exact(m).zip(to.chunks_exact_mut(m)) {
            let (u, v) = y.split_at_mut(m / 2);
            for (i, c) in half.iter().enumerate() {
                let (a, b) = (&x[i], &x[m - 1 - i]);
                u[i] = each(a, b, |a, b| a + b);
                v[i] = each(a, b, |a, b| (a - b) * c);
            }
        }
        std::mem::swap(from, to);
    }
    if plan.odd > 1 {
        for (x, y) in from.chunks_exact(plan.odd).zip(to.chunks_exact_mut(plan.odd)) {
            for (y, row) in y.iter_mut().zip(plan.rest.chunks_exact(plan.odd)) {
                *y = [0.0; W];
                for (x, c) in x.iter().zip(row) {
                    super::madds::<FMA, W>(*c, x, y);
                }
            }
        }
        std::mem::swap(from, to);
    }
    for half in plan.halves.iter().rev() {
        let m = 2 * half.len();
        for (x, y) in from.chunks_exact(m).zip(to.chunks_exact_mut(m)) {
            let (u, v) = x.split_at(m / 2);
            for i in 0..m / 2 {
                y[2 * i] = u[i];
                y[2 * i + 1] = match i + 1 < m / 2 {
                    true => each(&v[i], &v[i + 1], |a, b| a + b),
                    false => v[i],
                };
            }
        }
        std::mem::swap(from, to);
    }
    for (k, x) in from.iter_mut().enumerate() {
        let c = if k == 0 { plan.first } else { plan.other };
        for x in x {
            *x *= c;
        }
    }
}

/// The transpose of [`analyse`].
#[inline(always)]
fn synthesise<'a, const FMA: bool, const W: usize>(
    plan: &Plan,
    from: &mut &'a mut [Wide<W>],
    to: &mut &'a mut [Wide<W>],
) {
    for (k, x) in from.iter_mut().enumerate() {
        let c = if k == 0 { plan.first } else { plan.other };
        for x in x {
            *x *= c;
        }
    }
    for half in &plan.halves {
        let m = 2 * half.len();
        for (x, y) in from.chunks_exact(m).zip(to.chunks_exact_mut(m)) {
            let (u, v) = y.split_at_mut(m / 2);
            for i in 0..m / 2 {
                u[i] = x[2 * i];
                v[i] = match i > 0 {
                    true => each(&x[2 * i + 1], &x[2 * i - 1], |a, b| a + b),
                    false => x[2 * i + 1],
                };
            }
        }
        std::mem::swap(from, to);
    }
    if plan.odd > 1 {
        for (x, y) in from.chunks_exact(plan.odd).zip(to.chunks_exact_mut(plan.odd)) {
            y.fill([0.0; W]);
            for (x, row) in x.iter().zip(plan.rest.chunks_exact(plan.odd)) {
                for (y, c) in y.iter_mut().zip(row) {
                    super::madds::<FMA, W>(*c, x, y);
                }
            }
        }
        std::mem::swap(from, to);
    }
    for half in plan.halves.iter().rev() {
        let m = 2 * half.len();
        for (x, y) in from.chunks_exact(m).zip(to.chunks_exact_mut(m)) {
            let (u, v) = x.split_at(m / 2);
            for (i, c) in half.iter().enumerate() {
                y[i] = each(&u[i], &v[i], |u, v| madd::<FMA>(*c, v, u));
                y[m - 1 - i] = each(&u[i], &v[i], |u, v| madd::<FMA>(-*c, v, u));
            }
        }
        std::mem::swap(from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum() {
        for shape in [vec![8, 6], vec![64, 5], vec![3, 4, 10], vec![1, 7], vec![2, 1]] {
            let n: usize = shape.iter().product();
            let x: Vec<Wide<4>> =
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
            for c in 0..n {
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
                    assert!((f64::from(found[c][l]) - sum).abs() < 1e-5, "{shape:?} {c}");
                }
            }
            transform.inverse(&mut found);
            for (a, b) in found.iter().zip(&x) {
                assert!((a[0] - b[0]).abs() < 1e-5 && (a[3] - b[3]).abs() < 1e-5);
            }
        }
    }
}
