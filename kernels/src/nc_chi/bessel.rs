//! The scaled Bessel function of order $\nu = N - 1$, its ratio and the
//! derivative of the ratio, as vector code.
//!
//! $$f(x) = \Gamma(N)\left(\tfrac2x\right)^{\nu} I_\nu(x)\,e^{-x}
//!   = {}_0F_1\left(;N;\tfrac{x^2}4\right)e^{-x},\qquad r(x) = \frac{I_{\nu+1}}{I_\nu}
//!   = \frac{d\ln({}_0F_1)}{dx},\qquad r' = 1 - (2\nu+1)\frac rx - r^2$$
//!
//! With $F_k = {}_0F_1(;k+1;x^2/4)$ the recurrence of the Bessel functions is
//!
//! $$F_{k-1} = F_k + \frac{x^2/4}{k(k+1)}F_{k+1},\qquad
//!   \frac{F_{M+1}}{F_M} = \frac{2(M+1)}{s + G(t)},\quad s = \sqrt{x^2+(M+1)^2},\ t = \frac{M+1}s$$
//!
//! which is run downward from $M$, where the ratio is known for every x: $G$ is
//! smooth on $0\le t\le1$ (between $M+\tfrac12$ and $M+1$) and is a polynomial fit.
//! The numbers kept are $H_k = t^{M-k}F_k$ over a common factor, for which
//!
//! $$H_{k-1} = t\,H_k + \frac{(M+1)^2}{4k(k+1)}\left(\frac xs\right)^2 H_{k+1}$$
//!
//! has positive terms of order one only: nothing cancels, overflows or vanishes
//! for any x, and no x takes another path. Only $r'$ beyond $x = 40 + 5N$, where its
//! three terms cancel, is a series in $1/x$, from the Riccati equation above.
//!
//! Source: Abramowitz & Stegun 1964, *Handbook of Mathematical Functions*, 9.6.10,
//! 9.6.26 and 9.7.1. Validated by `table` below (50-digit values,
//! `tests/golden/make_nc_chi.py`).

use super::coefficients::{G_HIGH, G_LOW, M_HIGH, M_LOW};
use crate::lanes::{Lanes, horner};
use crate::special::{DERIVATIVE, RATIO};

/// Coefficients of the series of the derivative.
pub(crate) const TERMS: usize = 20;
/// Beyond this argument $r$ is 1 and $x^2$ nears the largest number.
const LARGEST: f64 = 1e150;

/// $(M+1)^2/(4k(k+1))$ for k from 0; the first is not used.
const fn weights<const K: usize>() -> [f64; K] {
    let m = K as f64;
    let mut w = [0.0; K];
    let mut k = 1;
    while k < K {
        w[k] = m * m / (4.0 * (k * (k + 1)) as f64);
        k += 1;
    }
    w
}

static W_LOW: [f64; M_LOW + 1] = weights();
static W_HIGH: [f64; M_HIGH + 1] = weights();

/// The functions of one order at the arguments of a block.
#[derive(Clone, Copy)]
pub(crate) struct ScaledBessel<L> {
    /// $\ln f = \ln i_0^e + \ln H_\nu - \ln H_0 + \nu\ln t$; all three are positive.
    pub(crate) h_order: L,
    /// See `h_order`.
    pub(crate) h_zero: L,
    /// See `h_order`.
    pub(crate) t: L,
    /// The ratio, odd in x; without meaning where it was not asked for.
    pub(crate) ratio: L,
    /// Its derivative; without meaning where it was not asked for.
    pub(crate) derivative: L,
}

/// What the series of the derivative needs of an order, known once for a sum.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    nu: usize,
    /// From this argument on the series is used.
    far: f64,
    /// Coefficients of $r'x^2$ in powers of $1/x$.
    series: [f64; TERMS],
}

impl Order {
    /// The order of `coils` coils; `derivative` says whether r' will be asked for.
    pub(crate) fn new(coils: u32, derivative: bool) -> Self {
        let nu = coils.saturating_sub(1) as usize;
        let mut series = [0.0; TERMS];
        if derivative {
            // r = 1 + a_1/x + a_2/x² + …; r' = -(a_1 + 2 a_2/x + …)/x².
            let mut a = [0.0; TERMS + 1];
            a[1] = -(nu as f64 + 0.5);
            for n in 2..=TERMS {
                let squares: f64 = (1..n).map(|i| a[i] * a[n - i]).sum();
                a[n] = 0.5 * ((n as f64 - 2.0 * nu as f64 - 2.0) * a[n - 1] - squares);
            }
            for (n, c) in series.iter_mut().enumerate() {
                *c = -((n + 1) as f64) * a[n + 1];
            }
        }
        Self { nu, far: 40.0 + 5.0 * f64::from(coils), series }
    }

    /// Whether the lower start order reaches this order.
    pub(crate) fn is_low(&self) -> bool {
        self.nu <= M_LOW
    }
}

/// The functions at x, from the lower start order or the higher one.
#[inline(always)]
pub(crate) fn scaled_bessel<L: Lanes, const ORDER: u8, const LOW: bool>(
    x: L,
    order: &Order,
) -> ScaledBessel<L> {
    let weights: &[f64] = if LOW { &W_LOW } else { &W_HIGH };
    let (one, m) = (L::splat(1.0), L::splat(weights.len() as f64));
    let largest = L::splat(LARGEST);
    let a = L::select(x.abs().ge(largest), largest, x.abs());
    let s = a.madd(a, m.mul(m)).sqrt();
    let t = m.div(s);
    let argument = t.add(t).sub(one);
    let g = if LOW { horner(&G_LOW, argument) } else { horner(&G_HIGH, argument) };
    let share = a.mul(t).mul(L::splat(1.0 / weights.len() as f64));
    let share2 = share.mul(share);
    // H_{M+1} = 2 (M+1) and H_M = t (s + G), k = M.
    let (mut above, mut here) = (m.add(m), t.madd(g, m));
    let mut k = weights.len() - 1;
    while k > order.nu {
        let scaled = share2.mul(L::splat(weights[k])).mul(above);
        (above, here) = (here, t.madd(here, scaled));
        k -= 1;
    }
    let (h_above, h_order) = (above, here);
    while k > 0 {
        let scaled = share2.mul(L::splat(weights[k])).mul(above);
        (above, here) = (here, t.madd(here, scaled));
        k -= 1;
    }
    let mut out = ScaledBessel { h_order, h_zero: here, t, ratio: x, derivative: x };
    if ORDER >= RATIO {
        let two_n = L::splat(2.0 * (order.nu + 1) as f64);
        let over_x = t.mul(h_above).div(two_n.mul(h_order));
        let ratio = a.mul(over_x);
        out.ratio = ratio.copysign(x);
        if ORDER >= DERIVATIVE {
            let odd = L::splat((2 * order.nu + 1) as f64);
            let near = ratio.nmadd(ratio, odd.nmadd(over_x, one));
            let is_far = a.ge(L::splat(order.far));
            out.derivative = near;
            if L::mask_bits(is_far) != 0 {
                let u = one.div(a);
                let far = u.mul(u).mul(horner(&order.series, u));
                out.derivative = L::select(is_far, far, near);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::lanes::dispatch;
    use crate::log::log_lanes;
    use crate::simd::{LANES, SimdLevel};
    use crate::special::{VALUE, log_bessel};

    #[inline(always)]
    fn all_three_body<L: Lanes>(coils: u32, x: f64) -> [f64; 3] {
        let order = Order::new(coils, true);
        let v = L::splat(x);
        let b = if order.is_low() {
            scaled_bessel::<L, DERIVATIVE, true>(v, &order)
        } else {
            scaled_bessel::<L, DERIVATIVE, false>(v, &order)
        };
        let zero = log_bessel::<L, VALUE>(v);
        let ln_i0e = L::splat(0.5).nmadd(log_lanes(zero.factor), zero.offset);
        let steps = L::splat(f64::from(coils - 1)).mul(log_lanes(b.t));
        let ln = ln_i0e.add(steps.add(log_lanes(b.h_order).sub(log_lanes(b.h_zero))));
        let mut out = [[0.0; LANES]; 3];
        ln.store(&mut out[0]);
        b.ratio.store(&mut out[1]);
        b.derivative.store(&mut out[2]);
        [out[0][0], out[1][0], out[2][0]]
    }
    dispatch! {
        fn all_three / all_three_body(coils: u32, x: f64) -> [f64; 3]
    }

    /// Rows of `nc_chi.csv`: coils, x, ln f, r, r'.
    fn table_rows() -> Vec<[f64; 5]> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/nc_chi.csv");
        std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .skip(1)
            .map(|line| {
                let v: Vec<f64> = line.split(',').map(|c| c.parse().unwrap()).collect();
                v.try_into().unwrap()
            })
            .collect()
    }

    /// ln f to 5e-15 of the larger of 1 and itself, the ratio to 4e-15, its
    /// derivative to 1e-12; all relative.
    #[test]
    fn table() {
        let rows = table_rows();
        assert!(rows.len() > 1200);
        for level in SimdLevel::available() {
            let name = level.name();
            for &[coils, x, ln, ratio, derivative] in &rows {
                let [a, b, c] = all_three(level, coils as u32, x);
                let what = format!("{name}, {coils} coils, x = {x}");
                assert!(
                    (a - ln).abs() <= 5e-15 * ln.abs().max(1.0),
                    "{what}: ln f = {a}, not {ln}"
                );
                assert!((b - ratio).abs() <= 4e-15 * ratio, "{what}: r = {b}, not {ratio}");
                let error = (c - derivative).abs();
                assert!(error <= 1e-12 * derivative, "{what}: r' = {c}, not {derivative}");
                let [even, odd, slope] = all_three(level, coils as u32, -x);
                assert_eq!([even, odd, slope], [a, -b, c], "{what}");
            }
        }
    }

    /// Every order, also those that the table leaves out, obeys the recurrence
    /// 1/r_{v-1} = r_v + 2 v/x.
    #[test]
    fn neighbouring_orders_obey_the_recurrence() {
        for level in SimdLevel::available() {
            for coils in 2..=64 {
                for x in [0.01, 0.7, 3.0, 12.0, 50.0, 170.0, 2e3, 1e5, 1e160] {
                    let (here, below) =
                        (all_three(level, coils, x), all_three(level, coils - 1, x));
                    let expected = 1.0 / (here[1] + 2.0 * f64::from(coils - 1) / x);
                    assert!((below[1] / expected - 1.0).abs() < 1e-14, "{coils} {x}: {below:?}");
                }
            }
        }
    }
}
