//! The log likelihood of every single measurement: the terms whose sums are in
//! [`gaussian`](crate::gaussian), [`rician`](crate::rician), [`nc_chi`](crate::nc_chi)
//! and [`student_t`](crate::student_t).
//!
//! $$\ell_i = m_i\left[-\frac{(y_i-|S_i|)^2}{2\sigma^2} + \ln f(x_i)\right],\qquad x_i = \frac{y_iS_i}{\sigma^2}$$
//!
//! with $f = 1$ for Gaussian noise (and $S$ for $|S|$), $e^{-x}I_0(x)$ for Rician noise and
//! $\Gamma(N)(2/x)^{N-1}e^{-x}I_{N-1}(x)$ for N coils; Student-t noise has
//! $-\tfrac{\nu+1}2\ln(1 + (y-S)^2/\nu\sigma^2)$. Symbols, units and sources are those of the
//! modules above; constants are left out as there.
//!
//! Slices are `[slot]`, padded to a multiple of eight; a padded slot has mask 0 and
//! gets 0. Validated by `terms_sum_to_the_value` below.

use crate::lanes::{Lanes, dispatch};
use crate::log::log_lanes;
use crate::nc_chi::bessel::{Order, scaled_bessel};
use crate::simd::{blocks, blocks_mut, level};
use crate::special::{VALUE, log_bessel};

/// Calls `term` on the lanes of y, S and the mask of every block.
#[inline(always)]
fn each<L: Lanes>([y, s, mask]: [&[f64]; 3], out: &mut [f64], mut term: impl FnMut(L, L, L) -> L) {
    let zero = L::splat(0.0);
    let slots = blocks(y).iter().zip(blocks(s)).zip(blocks(mask)).zip(blocks_mut(out));
    for (((y, s), mask), out) in slots {
        let mask = L::load(mask);
        // A padded slot may hold any finite S.
        let counts = mask.ge(L::splat(0.5));
        let s = L::select(counts, L::load(s), zero);
        let value = term(L::load(y), s, mask);
        L::select(counts, value, zero).store(out);
    }
}

#[inline(always)]
fn gaussian_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64]) {
    let weight = L::splat(-0.5 * inv_sigma2);
    each::<L>([y, s, mask], out, |y, s, mask| {
        let d = y.sub(s);
        mask.mul(weight).mul(d).mul(d)
    });
}

#[inline(always)]
fn rician_body<L: Lanes>(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64]) {
    let (inverse, half) = (L::splat(inv_sigma2), L::splat(0.5));
    each::<L>([y, s, mask], out, |y, s, mask| {
        let bessel = log_bessel::<L, VALUE>(y.mul(inverse).mul(s));
        let d = y.sub(s.abs());
        let square = d.mul(d).mul(inverse);
        let term = bessel.offset.sub(half.mul(square.add(log_lanes(bessel.factor))));
        mask.mul(term)
    });
}

#[inline(always)]
fn nc_chi_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    out: &mut [f64],
) {
    let order = Order::new(coils, false);
    if order.is_low() {
        coils_body::<L, true>([y, s, mask], inv_sigma2, coils, &order, out);
    } else {
        coils_body::<L, false>([y, s, mask], inv_sigma2, coils, &order, out);
    }
}

#[inline(always)]
fn coils_body<L: Lanes, const LOW: bool>(
    slots: [&[f64]; 3],
    inv_sigma2: f64,
    coils: u32,
    order: &Order,
    out: &mut [f64],
) {
    let (inverse, half) = (L::splat(inv_sigma2), L::splat(0.5));
    let steps = L::splat(f64::from(coils - 1));
    each::<L>(slots, out, |y, s, mask| {
        let x = y.mul(inverse).mul(s);
        let zero = log_bessel::<L, VALUE>(x);
        let bessel = scaled_bessel::<L, VALUE, LOW>(x, order);
        let d = y.sub(s.abs());
        let square = d.mul(d).mul(inverse);
        let ratio = log_lanes(bessel.h_order).sub(log_lanes(bessel.h_zero));
        let logs = steps.madd(log_lanes(bessel.t), ratio);
        let term = zero.offset.sub(half.mul(square.add(log_lanes(zero.factor)))).add(logs);
        mask.mul(term)
    });
}

#[inline(always)]
fn student_t_body<L: Lanes>(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    out: &mut [f64],
) {
    let (inverse, weight) = (L::splat(inv_sigma2 / nu), L::splat(-0.5 * (nu + 1.0)));
    each::<L>([y, s, mask], out, |y, s, mask| {
        let d = y.sub(s);
        mask.mul(weight).mul(log_lanes(d.mul(inverse).madd(d, L::splat(1.0))))
    });
}

dispatch! {
    /// [`gaussian_terms`] at a given level.
    pub fn gaussian_terms_at / gaussian_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64])
}
dispatch! {
    /// [`rician_terms`] at a given level.
    pub fn rician_terms_at / rician_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64])
}
dispatch! {
    /// [`nc_chi_terms`] at a given level.
    pub fn nc_chi_terms_at / nc_chi_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, coils: u32, out: &mut [f64])
}
dispatch! {
    /// [`student_t_terms`] at a given level.
    pub fn student_t_terms_at / student_t_body(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, nu: f64, out: &mut [f64])
}

/// The terms of [`gaussian_value`](crate::gaussian::gaussian_value).
///
/// # Example
/// ```
/// let (y, mut s, mut mask, mut out) = ([1.0; 8], [0.0; 8], [0.0; 8], [9.0; 8]);
/// (s[0], mask[0]) = (4.0, 1.0);
/// microtome_kernels::pointwise::gaussian_terms(&y, &s, &mask, 0.25, &mut out);
/// assert_eq!(out[..2], [-1.125, 0.0]);
/// ```
pub fn gaussian_terms(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64]) {
    gaussian_terms_at(level(), y, s, mask, inv_sigma2, out);
}

/// The terms of [`rician_value`](crate::rician::rician_value).
pub fn rician_terms(y: &[f64], s: &[f64], mask: &[f64], inv_sigma2: f64, out: &mut [f64]) {
    rician_terms_at(level(), y, s, mask, inv_sigma2, out);
}

/// The terms of [`nc_chi_value`](crate::nc_chi::nc_chi_value).
pub fn nc_chi_terms(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    coils: u32,
    out: &mut [f64],
) {
    if coils == 1 {
        rician_terms(y, s, mask, inv_sigma2, out);
    } else {
        nc_chi_terms_at(level(), y, s, mask, inv_sigma2, coils, out);
    }
}

/// The terms of [`student_t_value`](crate::student_t::student_t_value).
pub fn student_t_terms(
    y: &[f64],
    s: &[f64],
    mask: &[f64],
    inv_sigma2: f64,
    nu: f64,
    out: &mut [f64],
) {
    student_t_terms_at(level(), y, s, mask, inv_sigma2, nu, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;
    use crate::{gaussian, nc_chi, rician, student_t};

    /// The terms of slot groups sum to the value of the group alone, whose loop is
    /// another one: each term is checked by a mask that leaves it alone.
    #[test]
    fn terms_sum_to_the_value() {
        let n = 304;
        let y: Vec<f64> = (0..n).map(|i| 0.02 + 0.05 * (i * 7 % 101) as f64).collect();
        let mut s: Vec<f64> = (0..n).map(|i| 0.06 * (i * 13 % 89) as f64 - 0.3).collect();
        let mut mask = vec![1.0; n];
        mask[299..].fill(0.0);
        s[299..].fill(1e200);
        let w = 1.0 / (0.3 * 0.3);
        for level in SimdLevel::available() {
            let mut out = [const { Vec::new() }; 6];
            for o in &mut out {
                o.resize(n, f64::NAN);
            }
            gaussian_terms_at(level, &y, &s, &mask, w, &mut out[0]);
            rician_terms_at(level, &y, &s, &mask, w, &mut out[1]);
            student_t_terms_at(level, &y, &s, &mask, w, 4.0, &mut out[2]);
            for (k, coils) in [2, 4, 32].into_iter().enumerate() {
                nc_chi_terms_at(level, &y, &s, &mask, w, coils, &mut out[3 + k]);
            }
            for i in (0..n).step_by(5).chain([298, 299, 303]) {
                let mut only = vec![0.0; n];
                only[i] = mask[i];
                let truth = [
                    gaussian::gaussian_value_at(level, &y, &s, &only, w),
                    rician::rician_value_at(level, &y, &s, &only, w),
                    student_t::student_t_value_at(level, &y, &s, &only, w, 4.0),
                    nc_chi::nc_chi_value_at(level, &y, &s, &only, w, 2),
                    nc_chi::nc_chi_value_at(level, &y, &s, &only, w, 4),
                    nc_chi::nc_chi_value_at(level, &y, &s, &only, w, 32),
                ];
                for (k, truth) in truth.into_iter().enumerate() {
                    let scale = 1.0 + truth.abs() + if k > 2 { 100.0 } else { 0.0 };
                    let got = out[k][i];
                    assert!((got - truth).abs() < 4e-15 * scale, "{k}, {i}: {got} {truth}");
                }
            }
        }
    }
}
