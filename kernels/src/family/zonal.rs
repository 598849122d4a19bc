//! Family Z: any even function of the cosine to one axis, by its Legendre series,
//!
//! $$E_i = \sum_{k} c_{s,k}P_{2k}(t_i),\qquad t_i = g_i\cdot\mu$$
//!
//! | symbol | |
//! |---|---|
//! | $c_{s,k}$ | coefficients of shell $s$, filled by the models |
//! | $\mu$ | unit axis |
//!
//! A Jacobian column of a scalar is a series of its own, $\sum_k\alpha_{s,k}P_{2k}$;
//! the columns of the axis are $2t\,\frac{dE}{du}\,g$ with $u = t^2$. Polynomials and
//! their slopes in $u$ come from one recurrence a block, shared by all columns. Since
//! series add, the models sum all compartments about one axis before this loop.
//!
//! Source: the recurrence of NIST DLMF 14.10.3 (see [`crate::legendre`]); a signal as
//! a zonal series: Anderson 2005, doi:10.1002/mrm.20634. Validated by
//! `tests/suite/families.rs`, `jacobian_equals_dual_numbers` of the models and
//! `levels_agree` below.

use crate::lanes::{Lanes, dispatch};
use crate::legendre::{LONG_TERMS, MAX_TERMS, RECURRENCE};
use crate::plan::{BlockShells, Plan};
use crate::simd::{LANES, blocks, blocks_mut};

/// The series of one parameter set.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// $c_{s,k}$ `[shell, stride]`, zero from the terms of a shell on.
    pub c: &'a [f64],
    /// Row length, at most [`LONG_TERMS`].
    pub stride: usize,
    /// Terms of each shell, `[shell]`, at least 1 and at most `stride`.
    pub terms: &'a [usize],
    /// The axis $\mu$.
    pub mu: [f64; 3],
}

/// One Jacobian column of a scalar parameter.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// $\alpha_{s,k}$ `[shell, stride]`, no longer than the series.
    pub c: &'a [f64],
}

/// Coefficient `k` in the lanes of a block.
#[inline(always)]
fn coefficient<L: Lanes>(at: BlockShells<'_>, table: &[f64], stride: usize, k: usize) -> L {
    match at {
        BlockShells::One(s) => L::splat(table[s * stride + k]),
        BlockShells::Each(shells) => {
            let mut lanes = [0.0; LANES];
            for (lane, &s) in lanes.iter_mut().zip(shells) {
                *lane = table[s as usize * stride + k];
            }
            L::load(&lanes)
        }
    }
}

/// Most terms of the shells of a block.
#[inline(always)]
fn terms_of(at: BlockShells<'_>, terms: &[usize]) -> usize {
    match at {
        BlockShells::One(s) => terms[s],
        BlockShells::Each(shells) => {
            let mut most = 1;
            for &s in shells {
                most = most.max(terms[s as usize]);
            }
            most
        }
    }
}

/// $P_{2k}(t)$ of the lanes.
#[inline(always)]
fn polynomials<L: Lanes, const N: usize>(u: L, terms: usize, p: &mut [L; N]) {
    let mut last = L::splat(0.0);
    let mut now = L::splat(1.0);
    p[0] = now;
    for k in 1..terms.min(N) {
        let [a, b, c] = RECURRENCE[k - 1];
        let factor = u.madd(L::splat(a), L::splat(b));
        let next = factor.madd(now, L::splat(c).mul(last));
        last = now;
        now = next;
        p[k] = now;
    }
}

/// $\sum_k c_k P_{2k}$.
#[inline(always)]
fn sum<L: Lanes, const N: usize>(
    at: BlockShells<'_>,
    table: &[f64],
    stride: usize,
    terms: usize,
    p: &[L; N],
) -> L {
    let mut even = L::splat(0.0);
    let mut odd = L::splat(0.0);
    let mut k = 0;
    while k + 1 < terms {
        even = coefficient::<L>(at, table, stride, k).madd(p[k], even);
        odd = coefficient::<L>(at, table, stride, k + 1).madd(p[k + 1], odd);
        k += 2;
    }
    if k < terms {
        even = coefficient::<L>(at, table, stride, k).madd(p[k], even);
    }
    even.add(odd)
}

/// $\sum_k c_k\,dP_{2k}/du$.
#[inline(always)]
fn slope<L: Lanes, const N: usize>(
    at: BlockShells<'_>,
    series: &Series<'_>,
    terms: usize,
    u: L,
    p: &[L; N],
) -> L {
    let mut last = L::splat(0.0);
    let mut now = L::splat(0.0);
    let mut total = L::splat(0.0);
    for k in 1..terms {
        let [a, b, c] = RECURRENCE[k - 1];
        let a = L::splat(a);
        let factor = u.madd(a, L::splat(b));
        let rest = a.madd(p[k - 1], L::splat(c).mul(last));
        let next = factor.madd(now, rest);
        last = now;
        now = next;
        total = coefficient::<L>(at, series.c, series.stride, k).madd(now, total);
    }
    total
}

#[inline(always)]
fn cosine<L: Lanes>(g: [L; 3], mu: [L; 3]) -> L {
    g[2].madd(mu[2], g[1].madd(mu[1], g[0].mul(mu[0])))
}

#[inline(always)]
fn splat3<L: Lanes>(v: [f64; 3]) -> [L; 3] {
    [L::splat(v[0]), L::splat(v[1]), L::splat(v[2])]
}

/// Whether a series needs the long table of polynomials.
#[inline(always)]
fn is_long(terms: &[usize]) -> bool {
    let mut most = 0;
    for &t in terms {
        most = most.max(t);
    }
    most > MAX_TERMS
}

#[inline(always)]
fn accumulate_body<L: Lanes>(
    plan: &Plan,
    series: Series<'_>,
    columns: &[Column<'_>],
    axis: Option<usize>,
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    if is_long(series.terms) {
        accumulate_with::<L, LONG_TERMS>(plan, series, columns, axis, signal, jacobian);
    } else {
        accumulate_with::<L, MAX_TERMS>(plan, series, columns, axis, signal, jacobian);
    }
}

#[inline(always)]
fn accumulate_with<L: Lanes, const N: usize>(
    plan: &Plan,
    series: Series<'_>,
    columns: &[Column<'_>],
    axis: Option<usize>,
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let signal = blocks_mut(signal);
    let jacobian = blocks_mut(jacobian);
    let rows = signal.len();
    let mu = splat3::<L>(series.mu);
    let mut p = [L::splat(0.0); N];
    let mut b = 0;
    let mut shell = 0;
    let own = plan.shell_blocks();
    let first_packed = plan.first_packed();
    while b < rows {
        let at = if b < first_packed {
            while !own[shell].contains(&b) {
                shell += 1;
            }
            BlockShells::One(shell)
        } else {
            BlockShells::Each(plan.packed_block(b - first_packed))
        };
        let terms = terms_of(at, series.terms);
        let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
        let t = cosine(g, mu);
        let u = t.mul(t);
        polynomials(u, terms, &mut p);
        let e = sum(at, series.c, series.stride, terms, &p);
        L::load(&signal[b]).add(e).store(&mut signal[b]);
        for column in columns {
            let target = &mut jacobian[column.index * rows + b];
            sum(at, column.c, series.stride, terms, &p).add(L::load(target)).store(target);
        }
        if let Some(index) = axis {
            let d = slope(at, &series, terms, u, &p);
            let d = d.mul(t.add(t));
            for (i, g) in g.into_iter().enumerate() {
                let target = &mut jacobian[(index + i) * rows + b];
                d.madd(g, L::load(target)).store(target);
            }
        }
        b += 1;
    }
}

dispatch! {
    fn accumulate_at / accumulate_body<'a>(
        plan: &Plan, series: Series<'a>, columns: &[Column<'a>], axis: Option<usize>,
        signal: &mut [f64], jacobian: &mut [f64],
    )
}

/// Adds $E$ to the signal, the columns to the Jacobian, and the derivative by the
/// axis to the three columns from `axis` on, in one pass.
///
/// # Shapes
/// `signal` `[slot]`, `jacobian` `[column, slot]`.
pub fn accumulate(
    plan: &Plan,
    series: Series<'_>,
    columns: &[Column<'_>],
    axis: Option<usize>,
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    accumulate_at(crate::simd::level(), plan, series, columns, axis, signal, jacobian);
}

#[inline(always)]
fn pullback_body<L: Lanes>(
    plan: &Plan,
    series: Series<'_>,
    weight: &[f64],
    moments: &mut [f64],
) -> [f64; 3] {
    if is_long(series.terms) {
        pullback_with::<L, LONG_TERMS>(plan, series, weight, moments)
    } else {
        pullback_with::<L, MAX_TERMS>(plan, series, weight, moments)
    }
}

#[inline(always)]
fn pullback_with<L: Lanes, const N: usize>(
    plan: &Plan,
    series: Series<'_>,
    weight: &[f64],
    moments: &mut [f64],
) -> [f64; 3] {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let weight = blocks(weight);
    let mu = splat3::<L>(series.mu);
    let mut p = [L::splat(0.0); N];
    let mut axis = [L::splat(0.0); 3];
    moments.fill(0.0);
    let mut totals = [L::splat(0.0); N];
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        if range.is_empty() {
            continue;
        }
        let terms = series.terms[s];
        for total in &mut totals[..terms] {
            *total = L::splat(0.0);
        }
        for b in range.clone() {
            let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
            let t = cosine(g, mu);
            let u = t.mul(t);
            let w = L::load(&weight[b]);
            polynomials(u, terms, &mut p);
            for k in 0..terms {
                totals[k] = w.madd(p[k], totals[k]);
            }
            let d = slope(BlockShells::One(s), &series, terms, u, &p);
            let d = d.mul(w).mul(t);
            for (total, g) in axis.iter_mut().zip(g) {
                *total = d.madd(g, *total);
            }
        }
        for k in 0..terms {
            moments[s * series.stride + k] = totals[k].tree_sum();
        }
    }
    for (b, shells) in plan.packed_blocks() {
        let at = BlockShells::Each(shells);
        let terms = terms_of(at, series.terms);
        let g = [L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])];
        let t = cosine(g, mu);
        let u = t.mul(t);
        let w = L::load(&weight[b]);
        polynomials(u, terms, &mut p);
        for k in 0..terms {
            let mut part = [0.0; LANES];
            w.mul(p[k]).store(&mut part);
            for (value, &s) in part.iter().zip(shells) {
                moments[s as usize * series.stride + k] += value;
            }
        }
        let d = slope(at, &series, terms, u, &p);
        let d = d.mul(w).mul(t);
        for (total, g) in axis.iter_mut().zip(g) {
            *total = d.madd(g, *total);
        }
    }
    [2.0 * axis[0].tree_sum(), 2.0 * axis[1].tree_sum(), 2.0 * axis[2].tree_sum()]
}

dispatch! {
    fn pullback_at / pullback_body<'a>(
        plan: &Plan, series: Series<'a>, weight: &[f64], moments: &mut [f64],
    ) -> [f64; 3]
}

/// The vector-Jacobian product: from weights $w_i$ the moments
/// $\sum_i w_i P_{2k}(t_i)$ of every shell, and
/// $\partial/\partial\mu = \sum_i 2 w_i t_i\,(dE/du)\,g_i$.
///
/// # Gradient
/// $\partial/\partial c_{s,k}$ is the moment; moments beyond the terms of a shell
/// are zero or incomplete and belong to coefficients that are zero.
///
/// # Shapes
/// `weight` `[slot]`, zero in padding; `moments` `[shell, stride]`.
pub fn pullback(plan: &Plan, series: Series<'_>, weight: &[f64], moments: &mut [f64]) -> [f64; 3] {
    pullback_at(crate::simd::level(), plan, series, weight, moments)
}

/// $E$ of many parameter sets.
///
/// # Shapes
/// `c` `[set, shell, stride]`, `mu` `[set, 3]`, `out` `[set, measurement]`; all
/// terms of the stride are used.
pub fn signal_batch(
    plan: &Plan,
    sets: usize,
    c: &[f64],
    stride: usize,
    mu: &[f64],
    out: &mut [f64],
) {
    let level = crate::simd::level();
    let n = plan.shells() * stride;
    let terms = vec![stride; plan.shells()];
    super::batch(plan, sets, out, |set, slots| {
        slots.fill(0.0);
        let series = Series {
            c: &c[set * n..(set + 1) * n],
            stride,
            terms: &terms,
            mu: [mu[3 * set], mu[3 * set + 1], mu[3 * set + 2]],
        };
        accumulate_at(level, plan, series, &[], None, slots, &mut []);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, SimdLevel};

    /// Signal, columns, moments and slope of the axis at a level.
    fn everything(level: SimdLevel) -> Vec<f64> {
        // One shell with blocks of its own, two packed ones.
        let shells: Vec<usize> = (0..30).map(|i| [0, 0, 0, 1, 0, 2][i % 6]).collect();
        let directions: Vec<[f64; 3]> = (0..30)
            .map(|i| {
                let (s, c) = (0.7 * f64::from(i)).sin_cos();
                [0.6 * c, 0.6 * s, 0.8]
            })
            .collect();
        let plan = Plan::new(3, &shells, &directions, &[1.0; 30]);
        let n = plan.slots();
        let (stride, terms) = (11, [11, 4, 7]);
        let value = |i: usize| ((i + 1) as f64 * 1.7).sin();
        let c: Vec<f64> = (0..3 * stride)
            .map(|i| if i % stride < terms[i / stride] { value(i) } else { 0.0 })
            .collect();
        let series = Series { c: &c, stride, terms: &terms, mu: [0.48, -0.6, 0.64] };
        let columns = [Column { index: 0, c: &c }];
        let (mut signal, mut jacobian) = (vec![0.25; n], vec![0.5; 4 * n]);
        accumulate_at(level, &plan, series, &columns, Some(1), &mut signal, &mut jacobian);
        let mut slots = vec![0.0; n];
        plan.scatter(&(0..30).map(value).collect::<Vec<f64>>(), &mut slots);
        let mut moments = vec![0.0; 3 * stride];
        let axis = pullback_at(level, &plan, series, &slots, &mut moments);
        [signal, jacobian, moments, axis.to_vec()].concat()
    }

    #[test]
    fn levels_agree() {
        let levels = SimdLevel::available();
        let truth = everything(levels[levels.len() - 1]);
        for level in levels {
            for (a, b) in everything(level).into_iter().zip(&truth) {
                if level.0 == Isa::Scalar {
                    assert!((a - b).abs() <= 1e-13 * (1.0 + b.abs()), "{a} {b}");
                } else {
                    assert_eq!(a.to_bits(), b.to_bits(), "{}", level.name());
                }
            }
        }
    }
}
