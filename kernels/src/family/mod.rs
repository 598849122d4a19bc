//! The signal families: every compartment lowers to one of them.
//!
//! | family | signal of slot $i$ on shell $s$ | compartments |
//! |---|---|---|
//! | [`isotropic`] | $E = v_s$ | ball, dot |
//! | [`quadratic`] | $E = e^{-a_s - c_s t^2}$, $t = g_i\cdot\mu$ | stick, zeppelin |
//! | [`tensor`] | $E = e^{-B_i : D}$ | full tensor |
//! | [`zonal`] | $E = \sum_k c_{s,k}P_{2k}(t)$ | dispersed and restricted ones |
//! | [`orthotropic`] | $E = \sum_{l,m} c_{s,lm}H_{lm}(u,v)$ | ones dispersed in a fan |
//!
//! Each family offers the same loops over the slots of a [`Plan`]:
//!
//! - `signal`: $E$ alone, kept for the reverse pass (the isotropic one has nothing
//!   to keep);
//! - `accumulate`: adds $A\,E$ to the signal and, in the same pass, one
//!   Jacobian column for every parameter that the compartment depends on;
//! - `pullback` (the vector-Jacobian product): from weights $w_i$ the sums from
//!   which the models assemble the gradient;
//! - `signal_batch`: many parameter sets, threaded.
//!
//! A column is given by its shell coefficients, so a new compartment needs no
//! new loop: with links and fractions folded in by the models, column $k$ of
//! the quadratic family is $E(\alpha_{ks} + \beta_{ks} t^2 + \gamma_s t\, g\cdot e_k)$.
//!
//! Validated by `tests/suite/families.rs` (plain formulas), `jacobian_equals_dual_numbers`
//! of the models crate and `tests/suite/text_parity.rs` (the device text executed by the
//! host compiler).

pub mod isotropic;
pub mod orthotropic;
pub mod quadratic;
pub mod tensor;
pub mod zonal;

use crate::plan::Plan;
use rayon::prelude::*;

/// Sets evaluated by one task of a batch.
const SETS_PER_TASK: usize = 16;

/// Evaluates `one(set, slots)` for every set in parallel and gathers the
/// measurements: `[set, measurement]`.
fn batch(plan: &Plan, sets: usize, out: &mut [f64], one: impl Fn(usize, &mut [f64]) + Sync) {
    let n = plan.measurements();
    debug_assert_eq!(out.len(), sets * n);
    if n == 0 {
        return;
    }
    out.par_chunks_mut(n * SETS_PER_TASK).enumerate().for_each(|(task, rows)| {
        let mut slots = vec![0.0; plan.slots()];
        for (row, values) in rows.chunks_mut(n).enumerate() {
            one(task * SETS_PER_TASK + row, &mut slots);
            plan.gather(&slots, values);
        }
    });
}
