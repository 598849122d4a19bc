//! The loop of `single/mod.rs`: signal, likelihood and pullback of sixteen measurements.
//!
//! $2^x$ stands for $e^x$, so exponents are multiplied by $\log_2 e$ before the loop and
//! the sums of the axis by $\ln 2$ after it. Logarithms are those of products: of four
//! blocks in single precision (arguments are below $10^9$), then in double precision.
//!
//! Source and validation: as of `single/mod.rs`.

// One index runs through several arrays, a compartment each.
#![allow(clippy::needless_range_loop)]

use super::functions::{exp2, log_bessel};
use super::lanes::{Narrow, Singles, WIDTH};
use super::{Compartment, MOST, Measurements, Noise, Sums};
use crate::lanes::{Lanes, dispatch};
use crate::log::LogProduct;

const LOG2_E: f64 = std::f64::consts::LOG2_E;
/// Blocks whose factors are multiplied in single precision.
const FACTORS: usize = 4;

/// The coefficients of a block.
#[derive(Clone, Copy)]
struct Shells<V, const Q: usize> {
    floor: V,
    a: [V; Q],
    c: [V; Q],
}

impl<V: Singles, const Q: usize> Shells<V, Q> {
    #[inline(always)]
    fn one(s: usize, floor: &[f64], compartments: &[Compartment<'_>; Q]) -> Self {
        let splat = |v: f64| V::splat(v as f32);
        let mut out = Self { floor: splat(floor[s]), a: [V::splat(0.0); Q], c: [V::splat(0.0); Q] };
        for (q, k) in compartments.iter().enumerate() {
            out.a[q] = splat(-LOG2_E * k.a[s]);
            out.c[q] = splat(-LOG2_E * k.c[s]);
        }
        out
    }

    #[inline(always)]
    fn each(shells: &[u32; WIDTH], floor: &[f64], compartments: &[Compartment<'_>; Q]) -> Self {
        let gather = |factor: f64, table: &[f64]| {
            let mut lanes: Narrow = [0.0; WIDTH];
            for (lane, &s) in lanes.iter_mut().zip(shells) {
                *lane = (factor * table[s as usize]) as f32;
            }
            V::load(&lanes)
        };
        let mut out =
            Self { floor: gather(1.0, floor), a: [V::splat(0.0); Q], c: [V::splat(0.0); Q] };
        for (q, k) in compartments.iter().enumerate() {
            out.a[q] = gather(-LOG2_E, k.a);
            out.c[q] = gather(-LOG2_E, k.c);
        }
        out
    }
}

/// What does not change from block to block.
struct Constant<'a, V, const Q: usize> {
    direction: [&'a [Narrow]; 3],
    y: &'a [Narrow],
    weight: &'a [Narrow],
    amplitude: [V; Q],
    mu: [[V; 3]; Q],
}

/// The log likelihood so far.
struct Total<V: Singles> {
    squares: V,
    offsets: V,
    factors: V,
    pending: usize,
    product: LogProduct<V::Wide>,
    pushed: usize,
}

impl<V: Singles> Total<V> {
    #[inline(always)]
    fn new() -> Self {
        let zero = V::splat(0.0);
        let (factors, product) = (V::splat(1.0), LogProduct::new());
        Self { squares: zero, offsets: zero, factors, pending: 0, product, pushed: 0 }
    }

    #[inline(always)]
    fn flush(&mut self) {
        for half in self.factors.halves() {
            self.product.push(half);
        }
        self.pushed += 2;
        (self.factors, self.pending) = (V::splat(1.0), 0);
    }

    #[inline(always)]
    fn finish<const RICE: bool>(mut self) -> f64 {
        let sum = V::splat(-0.5).madd(self.squares, self.offsets).sum();
        if !RICE {
            return sum;
        }
        if self.pending > 0 {
            self.flush();
        }
        sum - 0.5 * self.product.finish(self.pushed)
    }
}

/// The sums of a shell so far.
#[derive(Clone, Copy)]
struct Slopes<V, const Q: usize> {
    weight: V,
    zeroth: [V; Q],
    second: [V; Q],
}

impl<V: Singles, const Q: usize> Slopes<V, Q> {
    #[inline(always)]
    fn new() -> Self {
        let zero = V::splat(0.0);
        Self { weight: zero, zeroth: [zero; Q], second: [zero; Q] }
    }
}

/// Adds one block to the likelihood and to the sums.
#[inline(always)]
fn block<V: Singles, const Q: usize, const RICE: bool, const SLOPE: bool, const MASKED: bool>(
    b: usize,
    constant: &Constant<'_, V, Q>,
    at: &Shells<V, Q>,
    total: &mut Total<V>,
    slopes: &mut Slopes<V, Q>,
    axis: &mut [[V; 3]; Q],
) {
    let zero = V::splat(0.0);
    let [gx, gy, gz] = constant.direction;
    let g = [V::load(&gx[b]), V::load(&gy[b]), V::load(&gz[b])];
    let y = V::load(&constant.y[b]);
    let mut s = at.floor;
    let (mut t, mut e) = ([zero; Q], [zero; Q]);
    for q in 0..Q {
        let mu = constant.mu[q];
        t[q] = g[2].madd(mu[2], g[1].madd(mu[1], g[0].mul(mu[0])));
        e[q] = exp2(at.c[q].mul(t[q]).madd(t[q], at.a[q]));
        s = constant.amplitude[q].madd(e[q], s);
    }
    let weight = if MASKED { V::load(&constant.weight[b]) } else { zero };
    let d = y.sub(if RICE { s.abs() } else { s });
    let weighted = if MASKED { weight.mul(d) } else { d };
    total.squares = weighted.madd(d, total.squares);
    let mut score = weighted;
    if RICE {
        let bessel = log_bessel::<V, SLOPE>(y.mul(s));
        if MASKED {
            let counts = weight.ge(V::splat(0.5));
            total.offsets = weight.madd(bessel.offset, total.offsets);
            total.factors = total.factors.mul(V::select(counts, bessel.factor, V::splat(1.0)));
        } else {
            total.offsets = total.offsets.add(bessel.offset);
            total.factors = total.factors.mul(bessel.factor);
        }
        total.pending += 1;
        if total.pending == FACTORS {
            total.flush();
        }
        if SLOPE {
            score = y.madd(bessel.ratio, zero.sub(s));
            if MASKED {
                score = weight.mul(score);
            }
        }
    }
    if SLOPE {
        slopes.weight = slopes.weight.add(score);
        for q in 0..Q {
            let we = score.mul(e[q]);
            let wet = we.mul(t[q]);
            slopes.zeroth[q] = slopes.zeroth[q].add(we);
            slopes.second[q] = wet.madd(t[q], slopes.second[q]);
            let cwet = at.c[q].mul(wet);
            for (axis, g) in axis[q].iter_mut().zip(g) {
                *axis = cwet.madd(g, *axis);
            }
        }
    }
}

/// The blocks of a column.
#[inline(always)]
fn narrow(column: &[f32]) -> &[Narrow] {
    column.as_chunks::<WIDTH>().0
}

#[inline(always)]
fn pass<V: Singles, const Q: usize, const RICE: bool, const SLOPE: bool>(
    m: &Measurements,
    floor: &[f64],
    compartments: &[Compartment<'_>; Q],
    sums: &mut Sums,
) -> f64 {
    let splat = |v: f64| V::splat(v as f32);
    let zero = V::splat(0.0);
    let mut constant = Constant {
        direction: [&[]; 3],
        y: narrow(&m.y),
        weight: narrow(&m.weight),
        amplitude: [zero; Q],
        mu: [[zero; 3]; Q],
    };
    for (to, from) in constant.direction.iter_mut().zip(&m.direction) {
        *to = narrow(from);
    }
    for (q, k) in compartments.iter().enumerate() {
        constant.amplitude[q] = splat(k.amplitude);
        constant.mu[q] = [splat(k.mu[0]), splat(k.mu[1]), splat(k.mu[2])];
    }
    let mut total = Total::new();
    let mut axis = [[zero; 3]; Q];
    for (s, range) in m.own.iter().enumerate() {
        let mut slopes = Slopes::new();
        let at = Shells::one(s, floor, compartments);
        for b in range.clone() {
            if m.masked[b] {
                block::<V, Q, RICE, SLOPE, true>(
                    b,
                    &constant,
                    &at,
                    &mut total,
                    &mut slopes,
                    &mut axis,
                );
            } else {
                block::<V, Q, RICE, SLOPE, false>(
                    b,
                    &constant,
                    &at,
                    &mut total,
                    &mut slopes,
                    &mut axis,
                );
            }
        }
        if SLOPE {
            sums.weight[s] = slopes.weight.sum();
            for q in 0..Q {
                sums.zeroth[q][s] = slopes.zeroth[q].sum();
                sums.second[q][s] = slopes.second[q].sum();
            }
        }
    }
    let first = m.y.len() / WIDTH - m.packed.len();
    for (i, shells) in m.packed.iter().enumerate() {
        let mut slopes = Slopes::new();
        let at = Shells::each(shells, floor, compartments);
        block::<V, Q, RICE, SLOPE, true>(
            first + i,
            &constant,
            &at,
            &mut total,
            &mut slopes,
            &mut axis,
        );
        if SLOPE {
            let scatter = |v: V, to: &mut [f64]| {
                let mut lanes: Narrow = [0.0; WIDTH];
                v.store(&mut lanes);
                for (v, &s) in lanes.iter().zip(shells) {
                    to[s as usize] += f64::from(*v);
                }
            };
            scatter(slopes.weight, &mut sums.weight);
            for q in 0..Q {
                scatter(slopes.zeroth[q], &mut sums.zeroth[q]);
                scatter(slopes.second[q], &mut sums.second[q]);
            }
        }
    }
    if SLOPE {
        for q in 0..Q {
            for i in 0..3 {
                // The loop had -c log2 e for c.
                sums.axis[q][i] = 2.0 * std::f64::consts::LN_2 * axis[q][i].sum();
            }
        }
    }
    total.finish::<RICE>()
}

#[inline(always)]
fn of_noise<V: Singles, const Q: usize, const SLOPE: bool>(
    m: &Measurements,
    noise: Noise,
    floor: &[f64],
    compartments: &[Compartment<'_>; Q],
    sums: &mut Sums,
) -> f64 {
    match noise {
        Noise::Gaussian => pass::<V, Q, false, SLOPE>(m, floor, compartments, sums),
        Noise::Rician => pass::<V, Q, true, SLOPE>(m, floor, compartments, sums),
    }
}

#[inline(always)]
fn run<V: Singles, const SLOPE: bool>(
    m: &Measurements,
    noise: Noise,
    floor: &[f64],
    compartments: &[Compartment<'_>],
    sums: &mut Sums,
) -> f64 {
    const { assert!(MOST == 3) };
    match compartments {
        [a] => of_noise::<V, 1, SLOPE>(m, noise, floor, &[*a], sums),
        [a, b] => of_noise::<V, 2, SLOPE>(m, noise, floor, &[*a, *b], sums),
        [a, b, c] => of_noise::<V, 3, SLOPE>(m, noise, floor, &[*a, *b, *c], sums),
        _ => f64::NAN,
    }
}

#[inline(always)]
fn value_body<L: Lanes>(
    m: &Measurements,
    noise: Noise,
    floor: &[f64],
    compartments: &[Compartment<'_>],
) -> f64 {
    run::<L::Single, false>(m, noise, floor, compartments, &mut Sums::default())
}

#[inline(always)]
fn gradient_body<L: Lanes>(
    m: &Measurements,
    noise: Noise,
    floor: &[f64],
    compartments: &[Compartment<'_>],
    sums: &mut Sums,
) -> f64 {
    run::<L::Single, true>(m, noise, floor, compartments, sums)
}

dispatch! {
    pub(super) fn value_at / value_body(
        m: &Measurements, noise: Noise, floor: &[f64], compartments: &[Compartment<'_>],
    ) -> f64
}
dispatch! {
    pub(super) fn gradient_at / gradient_body(
        m: &Measurements, noise: Noise, floor: &[f64], compartments: &[Compartment<'_>], sums: &mut Sums,
    ) -> f64
}
