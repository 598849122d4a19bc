//! Family I: one value a shell, $E_i = v_s$.
//!
//! $v_s$ and its derivatives are computed once a shell by the models, so these
//! loops only add constants: a ball costs one `exp` a shell.
//!
//! Validated by `tests/suite/families.rs`.

use crate::lanes::{Lanes, dispatch};
use crate::plan::{BlockShells, Plan};
use crate::simd::{SimdLevel, blocks, blocks_mut};

/// One Jacobian column of an isotropic compartment.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// What each slot of a shell receives, `[shell]`.
    pub alpha: &'a [f64],
}

#[inline(always)]
fn accumulate_body<L: Lanes>(
    plan: &Plan,
    amplitude: f64,
    value: &[f64],
    columns: &[Column<'_>],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    add_constants::<L>(plan, amplitude, value, signal);
    for column in columns {
        let slots = plan.slots();
        let target = &mut jacobian[column.index * slots..(column.index + 1) * slots];
        add_constants::<L>(plan, 1.0, column.alpha, target);
    }
}

/// Adds `factor * table[shell]` to every slot.
#[inline(always)]
fn add_constants<L: Lanes>(plan: &Plan, factor: f64, table: &[f64], out: &mut [f64]) {
    let out = blocks_mut(out);
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        let c = L::splat(factor * table[s]);
        for block in &mut out[range.clone()] {
            L::load(block).add(c).store(block);
        }
    }
    let factor = L::splat(factor);
    for (b, shells) in plan.packed_blocks() {
        let c = factor.mul(BlockShells::Each(shells).coefficient(table));
        L::load(&out[b]).add(c).store(&mut out[b]);
    }
}

dispatch! {
    fn accumulate_at / accumulate_body<'a>(
        plan: &Plan, amplitude: f64, value: &[f64], columns: &[Column<'a>], signal: &mut [f64], jacobian: &mut [f64],
    )
}

/// Adds `amplitude * v_s` to the signal and the columns to the Jacobian.
///
/// # Shapes
/// `value` `[shell]`, `signal` `[slot]`, `jacobian` `[column, slot]`.
pub fn accumulate(
    plan: &Plan,
    amplitude: f64,
    value: &[f64],
    columns: &[Column<'_>],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    accumulate_at(crate::simd::level(), plan, amplitude, value, columns, signal, jacobian);
}

#[inline(always)]
fn pullback_body<L: Lanes>(plan: &Plan, weight: &[f64], sums: &mut [f64]) {
    let weight = blocks(weight);
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        let mut total = L::splat(0.0);
        for block in &weight[range.clone()] {
            total = total.add(L::load(block));
        }
        sums[s] = total.tree_sum();
    }
    for (b, shells) in plan.packed_blocks() {
        for (w, &s) in weight[b].iter().zip(shells) {
            sums[s as usize] += w;
        }
    }
}

dispatch! {
    fn pullback_at / pullback_body(plan: &Plan, weight: &[f64], sums: &mut [f64])
}

/// The sum of the weights over every shell: dL/dv_s = A · sum.
///
/// # Shapes
/// `weight` `[slot]`, zero in padding; `sums` `[shell]`.
pub fn pullback(plan: &Plan, weight: &[f64], sums: &mut [f64]) {
    pullback_at(crate::simd::level(), plan, weight, sums);
}

/// $E$ of many parameter sets.
///
/// # Shapes
/// `value` `[set, shell]`, `out` `[set, measurement]`.
pub fn signal_batch(plan: &Plan, sets: usize, value: &[f64], out: &mut [f64]) {
    let level: SimdLevel = crate::simd::level();
    let n = plan.shells();
    super::batch(plan, sets, out, |set, slots| {
        slots.fill(0.0);
        accumulate_at(level, plan, 1.0, &value[set * n..(set + 1) * n], &[], slots, &mut []);
    });
}
