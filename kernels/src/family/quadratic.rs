//! Family Q: a signal whose logarithm is quadratic in the gradient along one axis,
//!
//! $$E_i = e^{-a_s - c_s t_i^2},\qquad t_i = g_i\cdot\mu$$
//!
//! | symbol | |
//! |---|---|
//! | $a_s, c_s$ | coefficients of shell $s$, filled by the models |
//! | $\mu$ | unit axis |
//!
//! With $A$ the amplitude, column $k$ of the Jacobian of $A\,E$ is
//! $E(\alpha_{ks} + \beta_{ks}t^2)$ for a scalar and $E\,\gamma_s t\,g_k$ for a
//! component of the axis.
//!
//! Source: the stick of Behrens et al. 2003, doi:10.1002/mrm.10609, eq. 1, and the
//! zeppelin of Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081, table 1,
//! are the cases in use. Validated by `tests/suite/families.rs`.

use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::plan::{BlockShells, Plan};
use crate::simd::{Block, LANES, SimdLevel, blocks, blocks_mut};

/// One Jacobian column of a scalar parameter: $E(\alpha_s + \beta_s t^2)$.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// Constant part, `[shell]`.
    pub alpha: &'a [f64],
    /// Part quadratic in $t$, `[shell]`.
    pub beta: &'a [f64],
}

/// The three columns of the axis: $E\,\gamma_s t\,g$ into columns `index..index + 3`.
#[derive(Debug, Clone, Copy)]
pub struct AxisColumns<'a> {
    /// The first of three columns.
    pub index: usize,
    /// $-2 A c_s$, `[shell]`.
    pub gamma: &'a [f64],
}

/// Coefficients of one parameter set.
#[derive(Debug, Clone, Copy)]
pub struct Coefficients<'a> {
    /// $a_s$, `[shell]`.
    pub a: &'a [f64],
    /// $c_s$, `[shell]`.
    pub c: &'a [f64],
    /// The axis $\mu$.
    pub mu: [f64; 3],
}

/// $t$ and $E$ of one block.
#[inline(always)]
fn block_signal<L: Lanes>(g: [L; 3], mu: [L; 3], a: L, c: L) -> (L, L) {
    let t = g[2].madd(mu[2], g[1].madd(mu[1], g[0].mul(mu[0])));
    let exponent = c.mul(t).madd(t, a);
    (t, exp_lanes(L::splat(0.0).sub(exponent)))
}

#[inline(always)]
fn signal_body<L: Lanes>(
    plan: &Plan,
    k: Coefficients<'_>,
    amplitude: f64,
    t_out: &mut [f64],
    e_out: &mut [f64],
    total: &mut [f64],
) {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let (t_out, e_out, total) = (blocks_mut(t_out), blocks_mut(e_out), blocks_mut(total));
    let mu = [L::splat(k.mu[0]), L::splat(k.mu[1]), L::splat(k.mu[2])];
    let amplitude = L::splat(amplitude);
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        let (a, c) = (L::splat(k.a[s]), L::splat(k.c[s]));
        for b in range.clone() {
            let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
            let (t, e) = block_signal(g, mu, a, c);
            t.store(&mut t_out[b]);
            e.store(&mut e_out[b]);
            amplitude.madd(e, L::load(&total[b])).store(&mut total[b]);
        }
    }
    for (b, shells) in plan.packed_blocks() {
        let shells = BlockShells::Each(shells);
        let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
        let (t, e) = block_signal(g, mu, shells.coefficient(k.a), shells.coefficient(k.c));
        t.store(&mut t_out[b]);
        e.store(&mut e_out[b]);
        amplitude.madd(e, L::load(&total[b])).store(&mut total[b]);
    }
}

dispatch! {
    fn signal_at / signal_body<'a>(
        plan: &Plan, k: Coefficients<'a>, amplitude: f64, t_out: &mut [f64], e_out: &mut [f64], total: &mut [f64],
    )
}

/// $t$ and $E$ of every slot, kept for [`pullback`]; adds $A\,E$ to `total`.
///
/// # Shapes
/// `t_out`, `e_out`, `total` `[slot]`.
pub fn signal(
    plan: &Plan,
    k: Coefficients<'_>,
    amplitude: f64,
    t_out: &mut [f64],
    e_out: &mut [f64],
    total: &mut [f64],
) {
    signal_at(crate::simd::level(), plan, k, amplitude, t_out, e_out, total);
}

/// What one block adds to the signal and the Jacobian.
struct Accumulation<'a, L> {
    mu: [L; 3],
    amplitude: L,
    columns: &'a [Column<'a>],
    axis: Option<AxisColumns<'a>>,
    rows: usize,
}

impl<L: Lanes> Accumulation<'_, L> {
    #[inline(always)]
    fn block(
        &self,
        k: &Coefficients<'_>,
        at: BlockShells<'_>,
        b: usize,
        g: [L; 3],
        signal: &mut Block,
        jacobian: &mut [Block],
    ) {
        let (t, e) = block_signal(g, self.mu, at.coefficient(k.a), at.coefficient(k.c));
        self.amplitude.madd(e, L::load(signal)).store(signal);
        let et = e.mul(t);
        let et2 = et.mul(t);
        for column in self.columns {
            let (alpha, beta): (L, L) = (at.coefficient(column.alpha), at.coefficient(column.beta));
            let target = &mut jacobian[column.index * self.rows + b];
            alpha.madd(e, beta.madd(et2, L::load(target))).store(target);
        }
        if let Some(axis) = self.axis {
            let slope = at.coefficient::<L>(axis.gamma).mul(et);
            for (i, g) in g.into_iter().enumerate() {
                let target = &mut jacobian[(axis.index + i) * self.rows + b];
                slope.madd(g, L::load(target)).store(target);
            }
        }
    }
}

#[inline(always)]
fn accumulate_body<L: Lanes>(
    plan: &Plan,
    k: Coefficients<'_>,
    amplitude: f64,
    columns: &[Column<'_>],
    axis: Option<AxisColumns<'_>>,
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let signal = blocks_mut(signal);
    let jacobian = blocks_mut(jacobian);
    let step = Accumulation {
        mu: [L::splat(k.mu[0]), L::splat(k.mu[1]), L::splat(k.mu[2])],
        amplitude: L::splat(amplitude),
        columns,
        axis,
        rows: signal.len(),
    };
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        for b in range.clone() {
            let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
            step.block(&k, BlockShells::One(s), b, g, &mut signal[b], jacobian);
        }
    }
    for (b, shells) in plan.packed_blocks() {
        let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
        step.block(&k, BlockShells::Each(shells), b, g, &mut signal[b], jacobian);
    }
}

dispatch! {
    fn accumulate_at / accumulate_body<'a>(
        plan: &Plan, k: Coefficients<'a>, amplitude: f64, columns: &[Column<'a>], axis: Option<AxisColumns<'a>>,
        signal: &mut [f64], jacobian: &mut [f64],
    )
}

/// Adds $A\,E$ to the signal and the columns to the Jacobian, in one pass.
///
/// # Shapes
/// `signal` `[slot]`, `jacobian` `[column, slot]`.
pub fn accumulate(
    plan: &Plan,
    k: Coefficients<'_>,
    amplitude: f64,
    columns: &[Column<'_>],
    axis: Option<AxisColumns<'_>>,
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    accumulate_at(crate::simd::level(), plan, k, amplitude, columns, axis, signal, jacobian);
}

#[inline(always)]
fn pullback_body<L: Lanes>(
    plan: &Plan,
    c: &[f64],
    t: &[f64],
    e: &[f64],
    weight: &[f64],
    sums: &mut [f64],
) -> [f64; 3] {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let (t, e, weight) = (blocks(t), blocks(e), blocks(weight));
    let (zeroth, second) = sums.split_at_mut(plan.shells());
    let mut axis = [L::splat(0.0); 3];
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        let mut sums = [L::splat(0.0); 2];
        let c_s = L::splat(c[s]);
        for b in range.clone() {
            let t = L::load(&t[b]);
            let we = L::load(&weight[b]).mul(L::load(&e[b]));
            let wet = we.mul(t);
            sums[0] = sums[0].add(we);
            sums[1] = wet.madd(t, sums[1]);
            let cwet = c_s.mul(wet);
            for (total, g) in axis.iter_mut().zip([&gx[b], &gy[b], &gz[b]]) {
                *total = cwet.madd(L::load(g), *total);
            }
        }
        zeroth[s] = sums[0].tree_sum();
        second[s] = sums[1].tree_sum();
    }
    for (b, shells) in plan.packed_blocks() {
        let t = L::load(&t[b]);
        let we = L::load(&weight[b]).mul(L::load(&e[b]));
        let wet = we.mul(t);
        let (mut part, mut part_t2) = ([0.0; LANES], [0.0; LANES]);
        we.store(&mut part);
        wet.mul(t).store(&mut part_t2);
        for (l, &s) in shells.iter().enumerate() {
            zeroth[s as usize] += part[l];
            second[s as usize] += part_t2[l];
        }
        let cwet = BlockShells::Each(shells).coefficient::<L>(c).mul(wet);
        for (total, g) in axis.iter_mut().zip([&gx[b], &gy[b], &gz[b]]) {
            *total = cwet.madd(L::load(g), *total);
        }
    }
    [-2.0 * axis[0].tree_sum(), -2.0 * axis[1].tree_sum(), -2.0 * axis[2].tree_sum()]
}

dispatch! {
    fn pullback_at / pullback_body(
        plan: &Plan, c: &[f64], t: &[f64], e: &[f64], weight: &[f64], sums: &mut [f64],
    ) -> [f64; 3]
}

/// The vector-Jacobian product: from weights $w_i$ the sums
/// $\sum w E$ and $\sum w E t^2$ of every shell, and
/// $\partial/\partial\mu = -2\sum c_s w E t\,g$ (all for amplitude 1).
///
/// # Gradient
/// $\partial/\partial a_s = -\sum w E$, $\partial/\partial c_s = -\sum w E t^2$.
///
/// # Shapes
/// `t`, `e`, `weight` `[slot]`, the weight zero in padding; `sums` `[2, shell]`.
pub fn pullback(
    plan: &Plan,
    c: &[f64],
    t: &[f64],
    e: &[f64],
    weight: &[f64],
    sums: &mut [f64],
) -> [f64; 3] {
    pullback_at(crate::simd::level(), plan, c, t, e, weight, sums)
}

/// $E$ of many parameter sets.
///
/// # Shapes
/// `a`, `c` `[set, shell]`; `mu` `[set, 3]`; `out` `[set, measurement]`.
pub fn signal_batch(plan: &Plan, sets: usize, a: &[f64], c: &[f64], mu: &[f64], out: &mut [f64]) {
    let level: SimdLevel = crate::simd::level();
    let n = plan.shells();
    super::batch(plan, sets, out, |set, slots| {
        let k = Coefficients {
            a: &a[set * n..(set + 1) * n],
            c: &c[set * n..(set + 1) * n],
            mu: [mu[3 * set], mu[3 * set + 1], mu[3 * set + 2]],
        };
        slots.fill(0.0);
        accumulate_at(level, plan, k, 1.0, &[], None, slots, &mut []);
    });
}
