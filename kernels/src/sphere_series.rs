//! Even functions on the sphere as polynomials, collected by the order m: values, first
//! and second derivatives by Horner's rule.
//!
//! $$f(n) = \sum_{m=0}^{L}\Big[p_m(z)\,\mathrm{Re}(x+iy)^m + q_m(z)\,\mathrm{Im}(x+iy)^m\Big],\qquad
//!   p_m(z) = z^{m \bmod 2}\sum_{k=0}^{\lfloor (L-m)/2\rfloor} a_{mk}z^{2k}$$
//!
//! | symbol | |
//! |---|---|
//! | $L$ | highest order, even |
//! | $a_{mk}, b_{mk}$ | coefficients of $p_m$ and $q_m$ |
//!
//! A collected function is the list $a_{00}, a_{01}, \dots$ of m = 0, then the pairs
//! $a_{mk}, b_{mk}$ of m = 1, 2, ...: [`count`] numbers, as many as spherical harmonics of
//! even order, of which it is a linear map. Values need no angles and have no pole.
//!
//! Source: the harmonics as polynomials in NIST DLMF 14.30.1 with 14.6.1. Validated by
//! `golden_table_of_scipy` in `models/tests/suite/spherical_harmonics.rs` and the test below.

use crate::simd::madd;

/// The highest order: above it the polynomials in z lose more than five digits.
pub const ORDER_MAX: usize = 16;
/// Coefficients of the highest order, filled up to a multiple of 8.
pub const COUNT_MAX: usize = 160;

/// Numbers of a collected function of an even order.
pub const fn count(order: usize) -> usize {
    (order + 1) * (order + 2) / 2
}

/// Position of $a_{mk}$; $b_{mk}$ of m > 0 is the next one.
pub const fn position(order: usize, m: usize, k: usize) -> usize {
    if m == 0 {
        return k;
    }
    let mut start = order / 2 + 1;
    let mut row = 1;
    while row < m {
        start += 2 * ((order - row) / 2 + 1);
        row += 1;
    }
    start + 2 * k
}

/// Value, gradient and second derivatives of a function on the sphere, as of its
/// polynomial in x, y, z.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Jet {
    /// The value.
    pub value: f64,
    /// $\partial f/\partial x, y, z$.
    pub gradient: [f64; 3],
    /// xx, yy, zz, xy, xz, yz.
    pub hessian: [f64; 6],
}

/// The value in a direction.
///
/// # Shapes
/// `terms` has at least [`count`] numbers, `n` is a unit vector.
#[inline(always)]
pub fn value(order: usize, terms: &[f64], n: [f64; 3]) -> f64 {
    let [x, y, z] = n;
    let u = z * z;
    let mut sum = terms[..=order / 2].iter().rev().fold(0.0, |q, a| q * u + a);
    let (mut re, mut im) = (x, y);
    let mut rest = &terms[order / 2 + 1..];
    for m in 1..=order {
        let (own, next) = rest.split_at(2 * ((order - m) / 2 + 1));
        let (mut p, mut q) = (0.0, 0.0);
        for pair in own.as_chunks::<2>().0.iter().rev() {
            p = p * u + pair[0];
            q = q * u + pair[1];
        }
        let part = p * re + q * im;
        sum += if m.is_multiple_of(2) { part } else { part * z };
        (re, im) = (re * x - im * y, re * y + im * x);
        rest = next;
    }
    sum
}

/// Value and derivatives in a direction; the order is `L` where that is not 0.
#[inline(always)]
pub(crate) fn jet_at<const FMA: bool, const L: usize>(
    order: usize,
    terms: &[f64],
    n: [f64; 3],
) -> Jet {
    let order = if L > 0 { L } else { order };
    let [x, y, z] = n;
    let u = z * z;
    let (mut q, mut d, mut e) = (0.0, 0.0, 0.0);
    for a in terms[..=order / 2].iter().rev() {
        e = madd::<FMA>(e, u, d);
        d = madd::<FMA>(d, u, q);
        q = madd::<FMA>(q, u, *a);
    }
    let mut value = q;
    let mut g = [0.0, 0.0, 2.0 * z * d];
    let mut h = [0.0; 6];
    h[2] = madd::<FMA>(8.0 * u, e, 2.0 * d);
    // (x + iy)^m and the two powers below it.
    let (mut c, mut s) = ([0.0, 1.0, x], [0.0, 0.0, y]);
    let mut rest = &terms[order / 2 + 1..];
    for m in 1..=order {
        let (own, next) = rest.split_at(2 * ((order - m) / 2 + 1));
        rest = next;
        // q, q', q''/2 in u, of both parts.
        let (mut q, mut d, mut e) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for pair in own.as_chunks::<2>().0.iter().rev() {
            for i in 0..2 {
                e[i] = madd::<FMA>(e[i], u, d[i]);
                d[i] = madd::<FMA>(d[i], u, q[i]);
                q[i] = madd::<FMA>(q[i], u, pair[i]);
            }
        }
        let (mut p, mut p1, mut p2) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        for i in 0..2 {
            if m % 2 == 0 {
                p[i] = q[i];
                p1[i] = 2.0 * z * d[i];
                p2[i] = madd::<FMA>(8.0 * u, e[i], 2.0 * d[i]);
            } else {
                p[i] = z * q[i];
                p1[i] = madd::<FMA>(2.0 * u, d[i], q[i]);
                p2[i] = z * madd::<FMA>(8.0 * u, e[i], 6.0 * d[i]);
            }
        }
        let dot = |a: f64, b: f64, v: f64, w: f64| madd::<FMA>(a, b, v * w);
        let first = m as f64;
        let second = first * (first - 1.0);
        value += dot(p[0], c[2], p[1], s[2]);
        g[0] = madd::<FMA>(first, dot(p[0], c[1], p[1], s[1]), g[0]);
        g[1] = madd::<FMA>(first, dot(p[1], c[1], -p[0], s[1]), g[1]);
        g[2] += dot(p1[0], c[2], p1[1], s[2]);
        let xx = second * dot(p[0], c[0], p[1], s[0]);
        h[0] += xx;
        h[1] -= xx;
        h[2] += dot(p2[0], c[2], p2[1], s[2]);
        h[3] = madd::<FMA>(second, dot(p[1], c[0], -p[0], s[0]), h[3]);
        h[4] = madd::<FMA>(first, dot(p1[0], c[1], p1[1], s[1]), h[4]);
        h[5] = madd::<FMA>(first, dot(p1[1], c[1], -p1[0], s[1]), h[5]);
        let power = (c[2] * x - s[2] * y, c[2] * y + s[2] * x);
        c = [c[1], c[2], power.0];
        s = [s[1], s[2], power.1];
    }
    Jet { value, gradient: g, hessian: h }
}

/// As [`jet`], compiled for the common orders.
#[inline(always)]
pub(crate) fn jet_of<const FMA: bool>(order: usize, terms: &[f64], n: [f64; 3]) -> Jet {
    match order {
        2 => jet_at::<FMA, 2>(order, terms, n),
        4 => jet_at::<FMA, 4>(order, terms, n),
        6 => jet_at::<FMA, 6>(order, terms, n),
        8 => jet_at::<FMA, 8>(order, terms, n),
        _ => jet_at::<FMA, 0>(order, terms, n),
    }
}

/// Value and derivatives in a direction.
///
/// # Shapes
/// `terms` has at least [`count`] numbers, `n` is a unit vector.
pub fn jet(order: usize, terms: &[f64], n: [f64; 3]) -> Jet {
    jet_of::<false>(order, terms, n)
}

/// Adds `weight` times every term's value and `along` times its gradient to `out`: the
/// transpose of [`jet`]'s value and gradient.
pub fn pull_back(order: usize, n: [f64; 3], weight: f64, along: [f64; 3], out: &mut [f64]) {
    let [x, y, z] = n;
    // Powers of z and their derivatives.
    let mut power = [1.0; ORDER_MAX + 1];
    for k in 1..=order {
        power[k] = power[k - 1] * z;
    }
    let slope = |k: usize| if k == 0 { 0.0 } else { k as f64 * power[k - 1] };
    let (mut below, mut here) = ([0.0, 0.0], [1.0, 0.0]);
    for m in 0..=order {
        let first = m as f64;
        // d/d(x, y) of Re and Im (x + iy)^m along the direction.
        let re = first * (below[0] * along[0] - below[1] * along[1]);
        let im = first * (below[1] * along[0] + below[0] * along[1]);
        for k in 0..=(order - m) / 2 {
            let degree = 2 * k + m % 2;
            let (p, dp) = (power[degree], slope(degree) * along[2]);
            let at = position(order, m, k);
            out[at] += weight * p * here[0] + dp * here[0] + p * re;
            if m > 0 {
                out[at + 1] += weight * p * here[1] + dp * here[1] + p * im;
            }
        }
        below = here;
        here = [here[0] * x - here[1] * y, here[0] * y + here[1] * x];
    }
}

#[cfg(test)]
#[allow(clippy::needless_range_loop)]
mod tests {
    use super::*;

    fn terms(order: usize) -> Vec<f64> {
        (0..count(order)).map(|i| ((i * 37 % 23) as f64 - 11.0) / 7.0).collect()
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        for order in [0, 2, 4, 6, 8, 10, 16] {
            let terms = terms(order);
            let n = [0.48, -0.6, 0.64];
            let f = |i: usize, h: f64| {
                let mut at = n;
                at[i] += h;
                jet(order, &terms, at)
            };
            let here = jet(order, &terms, n);
            assert!((here.value - value(order, &terms, n)).abs() < 1e-12);
            let h = 1e-5;
            let pairs = [[0, 3, 4], [3, 1, 5], [4, 5, 2]];
            for i in 0..3 {
                let (up, down) = (f(i, h), f(i, -h));
                let slope = (up.value - down.value) / (2.0 * h);
                assert!((slope - here.gradient[i]).abs() < 1e-6 * (1.0 + slope.abs()));
                for j in 0..3 {
                    let slope = (up.gradient[j] - down.gradient[j]) / (2.0 * h);
                    let found = here.hessian[pairs[i][j]];
                    assert!((slope - found).abs() < 1e-6 * (1.0 + slope.abs()), "{order} {i}{j}");
                }
            }
        }
    }

    #[test]
    fn pull_back_is_the_transpose() {
        for order in [0, 2, 8, 16] {
            let terms = terms(order);
            let n = [0.48, -0.6, 0.64];
            let (weight, along) = (0.7, [0.3, -1.1, 0.4]);
            let mut out = vec![0.0; count(order)];
            pull_back(order, n, weight, along, &mut out);
            let there: f64 = out.iter().zip(&terms).map(|(a, b)| a * b).sum();
            let jet = jet(order, &terms, n);
            let here = weight * jet.value + (0..3).map(|i| along[i] * jet.gradient[i]).sum::<f64>();
            assert!((here - there).abs() < 1e-11 * (1.0 + here.abs()), "{order}: {here} {there}");
        }
    }
}
