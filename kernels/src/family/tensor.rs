//! Family G, Gaussian part: a full diffusion tensor under any b-tensor,
//!
//! $$E_i = e^{-B_i : D},\qquad B_i : D = \sum_{jk} B_{jk} D_{jk}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $B_i$ | ms/µm² | $b\,g g^T$ of slot $i$, kept by the [`Plan`] |
//! | $D$ | µm²/ms | (xx, yy, zz, xy, xz, yz) |
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1016/S0006-3495(94)80775-1, eq. 2.
//! Validated by `tests/suite/families.rs`.

use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::plan::Plan;
use crate::simd::{Block, SimdLevel, blocks, blocks_mut};

/// One Jacobian column: $E(\alpha + B:\epsilon)$.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// Derivative of the amplitude.
    pub alpha: f64,
    /// $-A\,\partial D$, (xx, yy, zz, xy, xz, yz).
    pub epsilon: [f64; 6],
}

/// $B:D$ of a block.
#[inline(always)]
fn contract<L: Lanes>(weighting: &[&[Block]; 6], b: usize, d: &[L; 6]) -> L {
    let mut sum = L::load(&weighting[0][b]).mul(d[0]);
    for k in 1..6 {
        sum = L::load(&weighting[k][b]).madd(d[k], sum);
    }
    sum
}

#[inline(always)]
fn signal_body<L: Lanes>(
    plan: &Plan,
    d: &[f64; 6],
    amplitude: f64,
    e_out: &mut [f64],
    total: &mut [f64],
) {
    let w = plan.weighting().each_ref().map(|v| blocks(v));
    let amplitude = L::splat(amplitude);
    let mut minus_d = [amplitude; 6];
    for (m, d) in minus_d.iter_mut().zip(d) {
        *m = L::splat(-d);
    }
    for (b, (block, total)) in blocks_mut(e_out).iter_mut().zip(blocks_mut(total)).enumerate() {
        let e = exp_lanes(contract(&w, b, &minus_d));
        e.store(block);
        amplitude.madd(e, L::load(total)).store(total);
    }
}

dispatch! {
    fn signal_at / signal_body(plan: &Plan, d: &[f64; 6], amplitude: f64, e_out: &mut [f64], total: &mut [f64])
}

/// $E$ of every slot, kept for [`pullback`]; adds $A\,E$ to `total`.
///
/// # Shapes
/// `e_out`, `total` `[slot]`.
pub fn signal(plan: &Plan, d: &[f64; 6], amplitude: f64, e_out: &mut [f64], total: &mut [f64]) {
    signal_at(crate::simd::level(), plan, d, amplitude, e_out, total);
}

#[inline(always)]
fn accumulate_body<L: Lanes>(
    plan: &Plan,
    d: &[f64; 6],
    amplitude: f64,
    columns: &[Column],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    let w = plan.weighting().each_ref().map(|v| blocks(v));
    let signal = blocks_mut(signal);
    let rows = signal.len();
    let jacobian = blocks_mut(jacobian);
    let amplitude = L::splat(amplitude);
    let mut minus_d = [amplitude; 6];
    for (m, d) in minus_d.iter_mut().zip(d) {
        *m = L::splat(-d);
    }
    for b in 0..rows {
        let e = exp_lanes(contract(&w, b, &minus_d));
        amplitude.madd(e, L::load(&signal[b])).store(&mut signal[b]);
        for column in columns {
            let target = &mut jacobian[column.index * rows + b];
            let mut epsilon = [amplitude; 6];
            for (e, v) in epsilon.iter_mut().zip(column.epsilon) {
                *e = L::splat(v);
            }
            let slope = L::splat(column.alpha).add(contract(&w, b, &epsilon));
            e.madd(slope, L::load(target)).store(target);
        }
    }
}

dispatch! {
    fn accumulate_at / accumulate_body(
        plan: &Plan, d: &[f64; 6], amplitude: f64, columns: &[Column], signal: &mut [f64], jacobian: &mut [f64],
    )
}

/// Adds $A\,E$ to the signal and the columns to the Jacobian, in one pass.
///
/// # Shapes
/// `signal` `[slot]`, `jacobian` `[column, slot]`.
pub fn accumulate(
    plan: &Plan,
    d: &[f64; 6],
    amplitude: f64,
    columns: &[Column],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    accumulate_at(crate::simd::level(), plan, d, amplitude, columns, signal, jacobian);
}

#[inline(always)]
fn pullback_body<L: Lanes>(plan: &Plan, e: &[f64], weight: &[f64]) -> (f64, [f64; 6]) {
    let w = plan.weighting().each_ref().map(|v| blocks(v));
    let (e, weight) = (blocks(e), blocks(weight));
    let mut zeroth = L::splat(0.0);
    let mut first = [L::splat(0.0); 6];
    for b in 0..e.len() {
        let we = L::load(&weight[b]).mul(L::load(&e[b]));
        zeroth = zeroth.add(we);
        for (total, w) in first.iter_mut().zip(&w) {
            *total = we.madd(L::load(&w[b]), *total);
        }
    }
    let mut slope = [0.0; 6];
    for (slope, total) in slope.iter_mut().zip(first) {
        *slope = -total.tree_sum();
    }
    (zeroth.tree_sum(), slope)
}

dispatch! {
    fn pullback_at / pullback_body(plan: &Plan, e: &[f64], weight: &[f64]) -> (f64, [f64; 6])
}

/// The vector-Jacobian product: $\sum w E$ and $\partial/\partial D = -\sum w E B$
/// (for amplitude 1).
///
/// # Shapes
/// `e`, `weight` `[slot]`, the weight zero in padding.
pub fn pullback(plan: &Plan, e: &[f64], weight: &[f64]) -> (f64, [f64; 6]) {
    pullback_at(crate::simd::level(), plan, e, weight)
}

/// $E$ of many parameter sets.
///
/// # Shapes
/// `d` `[set, 6]`, `out` `[set, measurement]`.
pub fn signal_batch(plan: &Plan, sets: usize, d: &[f64], out: &mut [f64]) {
    let level: SimdLevel = crate::simd::level();
    super::batch(plan, sets, out, |set, slots| {
        let d: [f64; 6] = std::array::from_fn(|k| d[6 * set + k]);
        slots.fill(0.0);
        accumulate_at(level, plan, &d, 1.0, &[], slots, &mut []);
    });
}
