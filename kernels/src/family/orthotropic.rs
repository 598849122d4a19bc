//! Family O: a signal that is even in the three coordinates of a frame, by its
//! series in orthotropic harmonics,
//!
//! $$E_i = \sum_{l,m} c_{s,lm}H_{lm}(u_i, v_i),\qquad u = t_1^2,\quad v = t_2^2 - t_3^2,\quad t_a = g_i\cdot m_a$$
//!
//! | symbol | |
//! |---|---|
//! | $c_{s,lm}$ | coefficients of shell $s$, filled by the models |
//! | $m_1,m_2,m_3$ | orthonormal frame |
//!
//! A Jacobian column of a scalar is a series of its own; a parameter that turns the
//! frame has $\sum_a\frac{\partial E}{\partial t_a}\,g\cdot\frac{dm_a}{dx}$ with
//! $\frac{\partial E}{\partial t} = 2(t_1E_u,\ t_2E_v,\ -t_3E_v)$. Polynomials in $u$ and
//! their slopes come from one recurrence an order and block, shared by all columns.
//!
//! Source: see [`crate::harmonic`]; Bingham-dispersed signals: Tariq et al. 2016,
//! doi:10.1016/j.neuroimage.2016.01.046. Validated by `tests/suite/families.rs` and
//! `jacobian_equals_dual_numbers` of the models.

use crate::harmonic::{Recurrence, pairs, recurrences, row};
use crate::lanes::{Lanes, dispatch};
use crate::legendre::MAX_TERMS;
use crate::plan::{BlockShells, Plan};
use crate::simd::{LANES, blocks, blocks_mut};

/// The series of one parameter set.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// $c_{s,lm}$ `[shell, pair]`, zero beyond the lengths.
    pub c: &'a [f64],
    /// Degrees of the table, at most [`MAX_TERMS`].
    pub terms: usize,
    /// Degrees in use of each order, `[shell, terms]`: at most `terms - j` for
    /// order $m = 2j$, and zero from the first unused order on.
    pub lengths: &'a [usize],
    /// The axes $m_1, m_2, m_3$.
    pub frame: [[f64; 3]; 3],
}

/// One Jacobian column of a scalar parameter.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// $\alpha_{s,lm}$ `[shell, pair]`, no longer than the series.
    pub c: &'a [f64],
}

/// One Jacobian column of a parameter that turns the frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameColumn {
    /// Which column of the Jacobian receives it.
    pub index: usize,
    /// $dm_1/dx$, $dm_2/dx$, $dm_3/dx$.
    pub slope: [[f64; 3]; 3],
}

/// Degrees of order `j` in the lanes of a block.
#[inline(always)]
fn length_of(at: BlockShells<'_>, lengths: &[usize], terms: usize, j: usize) -> usize {
    match at {
        BlockShells::One(s) => lengths[s * terms + j],
        BlockShells::Each(shells) => {
            let mut most = 0;
            for &s in shells {
                most = most.max(lengths[s as usize * terms + j]);
            }
            most
        }
    }
}

/// $\sum_k c_kq_k$ of `N` tables; `stride` apart from shell to shell.
#[inline(always)]
fn sums<L: Lanes, const N: usize>(
    at: BlockShells<'_>,
    tables: [&[f64]; N],
    stride: usize,
    start: usize,
    q: &[L],
) -> [L; N] {
    let mut total = [L::splat(0.0); N];
    match at {
        BlockShells::One(s) => {
            let mut rows = tables;
            for r in &mut rows {
                *r = &r[s * stride + start..][..q.len()];
            }
            for (k, q) in q.iter().enumerate() {
                for n in 0..N {
                    total[n] = L::splat(rows[n][k]).madd(*q, total[n]);
                }
            }
        }
        BlockShells::Each(shells) => {
            for (k, q) in q.iter().enumerate() {
                for n in 0..N {
                    let mut lanes = [0.0; LANES];
                    for (lane, &s) in lanes.iter_mut().zip(shells) {
                        *lane = tables[n][s as usize * stride + start + k];
                    }
                    total[n] = L::load(&lanes).madd(*q, total[n]);
                }
            }
        }
    }
    total
}

/// $\sum_k c_kq_k$ and $\sum_k c_kd_k$ of one table.
#[inline(always)]
fn value_and_slope<L: Lanes>(
    at: BlockShells<'_>,
    table: &[f64],
    stride: usize,
    start: usize,
    q: &[L],
    d: &[L],
) -> [L; 2] {
    match at {
        BlockShells::One(s) => {
            let row = &table[s * stride + start..][..q.len()];
            let (pairs, rest) = row.as_chunks::<2>();
            let (q_pairs, q_rest) = q.as_chunks::<2>();
            let (d_pairs, d_rest) = d.as_chunks::<2>();
            let mut even = [L::splat(0.0); 2];
            let mut odd = [L::splat(0.0); 2];
            for ((c, q), d) in pairs.iter().zip(q_pairs).zip(d_pairs) {
                let (first, second) = (L::splat(c[0]), L::splat(c[1]));
                even = [first.madd(q[0], even[0]), first.madd(d[0], even[1])];
                odd = [second.madd(q[1], odd[0]), second.madd(d[1], odd[1])];
            }
            for ((c, q), d) in rest.iter().zip(q_rest).zip(d_rest) {
                let c = L::splat(*c);
                even = [c.madd(*q, even[0]), c.madd(*d, even[1])];
            }
            [even[0].add(odd[0]), even[1].add(odd[1])]
        }
        BlockShells::Each(_) => {
            let [value]: [L; 1] = sums(at, [table], stride, start, q);
            let [slope]: [L; 1] = sums(at, [table], stride, start, d);
            [value, slope]
        }
    }
}

/// $Q_{lm}(u)$ of one order.
#[inline(always)]
fn polynomials<L: Lanes>(recurrence: &Recurrence, u: L, q: &mut [L]) {
    let mut last = L::splat(0.0);
    let mut now = L::splat(recurrence.first);
    for (q, [a, b, c]) in q.iter_mut().zip(&recurrence.steps) {
        *q = now;
        let factor = u.madd(L::splat(*a), L::splat(*b));
        let next = factor.madd(now, L::splat(*c).mul(last));
        last = now;
        now = next;
    }
}

/// $dQ_{lm}/du$ of one order.
#[inline(always)]
fn slopes<L: Lanes>(recurrence: &Recurrence, u: L, q: &[L], d: &mut [L]) {
    let mut last = L::splat(0.0);
    let mut now = L::splat(0.0);
    for ((d, q), [a, b, c]) in d.iter_mut().zip(q).zip(&recurrence.steps) {
        *d = now;
        let a = L::splat(*a);
        let factor = u.madd(a, L::splat(*b));
        let rest = a.madd(*q, L::splat(*c).mul(last));
        let next = factor.madd(now, rest);
        last = now;
        now = next;
    }
}

/// The cosines of a block to the frame, and what follows from them.
#[derive(Clone, Copy)]
struct Point<L> {
    g: [L; 3],
    t: [L; 3],
    u: L,
    v: L,
    /// $(1-u)$ and its square.
    across: [L; 2],
}

impl<L: Lanes> Point<L> {
    #[inline(always)]
    fn new(g: [L; 3], frame: &[[L; 3]; 3]) -> Self {
        let [a, b, c] = frame;
        let t = [along(g, a), along(g, b), along(g, c)];
        let u = t[0].mul(t[0]);
        let v = t[2].nmadd(t[2], t[1].mul(t[1]));
        let w = L::splat(1.0).sub(u);
        Self { g, t, u, v, across: [w, w.mul(w)] }
    }

    /// $\partial E/\partial t_a$ from $E_u$ and $E_v$.
    #[inline(always)]
    fn by_cosines(&self, e_u: L, e_v: L) -> [L; 3] {
        let (e_u, e_v) = (e_u.add(e_u), e_v.add(e_v));
        let third = L::splat(0.0).sub(e_v);
        [self.t[0].mul(e_u), self.t[1].mul(e_v), self.t[2].mul(third)]
    }
}

/// $C_j$, $\partial C_j/\partial u$, $\partial C_j/\partial v$ and those of $j-1$.
#[derive(Clone, Copy)]
struct Angular<L> {
    now: [L; 3],
    last: [L; 3],
}

impl<L: Lanes> Angular<L> {
    #[inline(always)]
    fn first() -> Self {
        let zero = L::splat(0.0);
        Self { now: [L::splat(1.0), zero, zero], last: [zero; 3] }
    }

    /// From `j` to `j + 1`.
    #[inline(always)]
    fn step(&mut self, j: usize, p: &Point<L>) {
        let (now, last) = (self.now, self.last);
        self.last = now;
        if j == 0 {
            self.now = [p.v, L::splat(0.0), L::splat(1.0)];
            return;
        }
        let double = p.v.add(p.v);
        let [w, square] = p.across;
        let from_u = w.add(w).mul(last[0]);
        let from_v = now[0].add(now[0]);
        self.now = [
            square.nmadd(last[0], double.mul(now[0])),
            square.nmadd(last[1], double.madd(now[1], from_u)),
            square.nmadd(last[2], double.madd(now[2], from_v)),
        ];
    }
}

#[inline(always)]
fn along<L: Lanes>(g: [L; 3], m: &[L; 3]) -> L {
    g[2].madd(m[2], g[1].madd(m[1], g[0].mul(m[0])))
}

#[inline(always)]
fn splat3<L: Lanes>(v: [[f64; 3]; 3]) -> [[L; 3]; 3] {
    let mut out = [[L::splat(0.0); 3]; 3];
    for (out, v) in out.iter_mut().zip(v) {
        for (out, v) in out.iter_mut().zip(v) {
            *out = L::splat(v);
        }
    }
    out
}

/// Columns evaluated together.
const TOGETHER: usize = 4;

#[inline(always)]
fn accumulate_body<L: Lanes>(
    plan: &Plan,
    series: Series<'_>,
    columns: &[Column<'_>],
    turns: &[FrameColumn],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    let [gx, gy, gz] = plan.direction().each_ref().map(|v| blocks(v));
    let signal = blocks_mut(signal);
    let jacobian = blocks_mut(jacobian);
    let rows = signal.len();
    let frame = splat3::<L>(series.frame);
    let (terms, stride) = (series.terms, pairs(series.terms));
    let recurrences = recurrences();
    let zero = L::splat(0.0);
    let mut q = [zero; MAX_TERMS];
    let mut d = [zero; MAX_TERMS];
    let own = plan.shell_blocks();
    let first_packed = plan.first_packed();
    let mut shell = 0;
    for b in 0..rows {
        let at = if b < first_packed {
            while !own[shell].contains(&b) {
                shell += 1;
            }
            BlockShells::One(shell)
        } else {
            BlockShells::Each(plan.packed_block(b - first_packed))
        };
        let p = Point::new([L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])], &frame);
        let (mut e, mut e_u, mut e_v) = (L::load(&signal[b]), zero, zero);
        let mut angular = Angular::<L>::first();
        for (j, recurrence) in recurrences.iter().enumerate().take(terms) {
            let length = length_of(at, series.lengths, terms, j);
            if length == 0 {
                break;
            }
            let start = row(terms, j);
            let [c, c_u, c_v] = angular.now;
            let q = &mut q[..length];
            polynomials(recurrence, p.u, q);
            if turns.is_empty() {
                let [sum]: [L; 1] = sums(at, [series.c], stride, start, q);
                e = c.madd(sum, e);
            } else {
                let d = &mut d[..length];
                slopes(recurrence, p.u, q, d);
                let [sum, slope] = value_and_slope(at, series.c, stride, start, q, d);
                e = c.madd(sum, e);
                e_u = c.madd(slope, c_u.madd(sum, e_u));
                e_v = c_v.madd(sum, e_v);
            }
            let (groups, rest) = columns.as_chunks::<TOGETHER>();
            for group in groups {
                let tables = [group[0].c, group[1].c, group[2].c, group[3].c];
                let sum = sums(at, tables, stride, start, q);
                for n in 0..TOGETHER {
                    let target = &mut jacobian[group[n].index * rows + b];
                    c.madd(sum[n], L::load(target)).store(target);
                }
            }
            for column in rest {
                let [sum]: [L; 1] = sums(at, [column.c], stride, start, q);
                let target = &mut jacobian[column.index * rows + b];
                c.madd(sum, L::load(target)).store(target);
            }
            angular.step(j, &p);
        }
        e.store(&mut signal[b]);
        let by_cosines = p.by_cosines(e_u, e_v);
        for turn in turns {
            let slope = splat3::<L>(turn.slope);
            let target = &mut jacobian[turn.index * rows + b];
            let mut total = L::load(target);
            for a in 0..3 {
                total = by_cosines[a].madd(along(p.g, &slope[a]), total);
            }
            total.store(target);
        }
    }
}

dispatch! {
    fn accumulate_at / accumulate_body<'a>(
        plan: &Plan, series: Series<'a>, columns: &[Column<'a>], turns: &[FrameColumn],
        signal: &mut [f64], jacobian: &mut [f64],
    )
}

/// Adds $E$ to the signal, and the columns and the derivatives by what turns the
/// frame to the Jacobian, in one pass.
///
/// # Shapes
/// `signal` `[slot]`, `jacobian` `[column, slot]`.
pub fn accumulate(
    plan: &Plan,
    series: Series<'_>,
    columns: &[Column<'_>],
    turns: &[FrameColumn],
    signal: &mut [f64],
    jacobian: &mut [f64],
) {
    accumulate_at(crate::simd::level(), plan, series, columns, turns, signal, jacobian);
}

/// What order `j` adds to the moments and to $\sum w\,\partial E/\partial m_a$ in the
/// blocks of one shell.
struct Reverse<'a, L> {
    g: [&'a [[f64; LANES]]; 3],
    weight: &'a [[f64; LANES]],
    frame: [[L; 3]; 3],
    by_frame: [[L; 3]; 3],
}

impl<L: Lanes> Reverse<'_, L> {
    #[inline(always)]
    fn point(&self, b: usize) -> Point<L> {
        let [gx, gy, gz] = self.g;
        Point::new([L::load(&gx[b]), L::load(&gy[b]), L::load(&gz[b])], &self.frame)
    }

    /// Adds the slopes of order `j` to the frame; returns the weight times $C_j$.
    #[inline(always)]
    fn turn(&mut self, b: usize, p: &Point<L>, angular: &Angular<L>, sum: L, slope: L) {
        let w = L::load(&self.weight[b]);
        let [c, c_u, c_v] = angular.now;
        let e_u = c.madd(slope, c_u.mul(sum));
        let by_cosines = p.by_cosines(e_u.mul(w), c_v.mul(sum).mul(w));
        for (total, by_cosine) in self.by_frame.iter_mut().zip(by_cosines) {
            for (total, g) in total.iter_mut().zip(p.g) {
                *total = by_cosine.madd(g, *total);
            }
        }
    }
}

#[inline(always)]
fn pullback_body<L: Lanes>(
    plan: &Plan,
    series: Series<'_>,
    weight: &[f64],
    moments: &mut [f64],
) -> [[f64; 3]; 3] {
    let zero = L::splat(0.0);
    let mut reverse = Reverse {
        g: plan.direction().each_ref().map(|v| blocks(v)),
        weight: blocks(weight),
        frame: splat3::<L>(series.frame),
        by_frame: [[zero; 3]; 3],
    };
    let (terms, stride) = (series.terms, pairs(series.terms));
    let recurrences = recurrences();
    let mut q = [zero; MAX_TERMS];
    let mut d = [zero; MAX_TERMS];
    let mut totals = [zero; MAX_TERMS];
    moments.fill(0.0);
    for (s, range) in plan.shell_blocks().iter().enumerate() {
        if range.is_empty() {
            continue;
        }
        for (j, recurrence) in recurrences.iter().enumerate().take(terms) {
            let length = series.lengths[s * terms + j];
            if length == 0 {
                break;
            }
            let start = row(terms, j);
            let (q, d) = (&mut q[..length], &mut d[..length]);
            let totals = &mut totals[..length];
            totals.fill(zero);
            for b in range.clone() {
                let p = reverse.point(b);
                let mut angular = Angular::<L>::first();
                for i in 0..j {
                    angular.step(i, &p);
                }
                polynomials(recurrence, p.u, q);
                slopes(recurrence, p.u, q, d);
                let w = L::load(&reverse.weight[b]).mul(angular.now[0]);
                for (total, q) in totals.iter_mut().zip(q.iter()) {
                    *total = w.madd(*q, *total);
                }
                let at = BlockShells::One(s);
                let [sum, slope] = value_and_slope(at, series.c, stride, start, q, d);
                reverse.turn(b, &p, &angular, sum, slope);
            }
            let row = &mut moments[s * stride + start..][..length];
            for (moment, total) in row.iter_mut().zip(totals.iter()) {
                *moment = total.tree_sum();
            }
        }
    }
    for (b, shells) in plan.packed_blocks() {
        let at = BlockShells::Each(shells);
        let p = reverse.point(b);
        let mut angular = Angular::<L>::first();
        for (j, recurrence) in recurrences.iter().enumerate().take(terms) {
            let length = length_of(at, series.lengths, terms, j);
            if length == 0 {
                break;
            }
            let start = row(terms, j);
            let (q, d) = (&mut q[..length], &mut d[..length]);
            polynomials(recurrence, p.u, q);
            slopes(recurrence, p.u, q, d);
            let w = L::load(&reverse.weight[b]).mul(angular.now[0]);
            for (k, q) in q.iter().enumerate() {
                let mut part = [0.0; LANES];
                w.mul(*q).store(&mut part);
                for (value, &s) in part.iter().zip(shells) {
                    moments[s as usize * stride + start + k] += value;
                }
            }
            let [sum, slope] = value_and_slope(at, series.c, stride, start, q, d);
            reverse.turn(b, &p, &angular, sum, slope);
            angular.step(j, &p);
        }
    }
    let mut out = [[0.0; 3]; 3];
    for (out, lanes) in out.iter_mut().zip(reverse.by_frame) {
        for (out, lanes) in out.iter_mut().zip(lanes) {
            *out = lanes.tree_sum();
        }
    }
    out
}

dispatch! {
    fn pullback_at / pullback_body<'a>(
        plan: &Plan, series: Series<'a>, weight: &[f64], moments: &mut [f64],
    ) -> [[f64; 3]; 3]
}

/// The vector-Jacobian product: from weights $w_i$ the moments $\sum_i w_iH_{lm}(g_i)$
/// of every shell, and $\partial/\partial m_a = \sum_i w_i(\partial E/\partial t_a)\,g_i$.
///
/// # Gradient
/// $\partial/\partial c_{s,lm}$ is the moment; moments beyond the lengths of a shell
/// are zero or incomplete and belong to coefficients that are zero.
///
/// # Shapes
/// `weight` `[slot]`, zero in padding; `moments` `[shell, pair]`; result
/// `[axis, component]`.
pub fn pullback(
    plan: &Plan,
    series: Series<'_>,
    weight: &[f64],
    moments: &mut [f64],
) -> [[f64; 3]; 3] {
    pullback_at(crate::simd::level(), plan, series, weight, moments)
}

/// The lengths of series that use every pair.
pub fn full_lengths(shells: usize, terms: usize) -> Vec<usize> {
    (0..shells * terms).map(|i| terms - i % terms).collect()
}

/// $E$ of many parameter sets.
///
/// # Shapes
/// `c` `[set, shell, pair]`, `frame` `[set, axis, component]`, `out`
/// `[set, measurement]`; all pairs are used.
pub fn signal_batch(
    plan: &Plan,
    sets: usize,
    c: &[f64],
    terms: usize,
    frame: &[f64],
    out: &mut [f64],
) {
    let level = crate::simd::level();
    let n = plan.shells() * pairs(terms);
    let lengths = full_lengths(plan.shells(), terms);
    super::batch(plan, sets, out, |set, slots| {
        slots.fill(0.0);
        let at = |a: usize, i: usize| frame[9 * set + 3 * a + i];
        let series = Series {
            c: &c[set * n..(set + 1) * n],
            terms,
            lengths: &lengths,
            frame: std::array::from_fn(|a| std::array::from_fn(|i| at(a, i))),
        };
        accumulate_at(level, plan, series, &[], &[], slots, &mut []);
    });
}
