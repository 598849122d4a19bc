//! The signal of two rectangular gradient pulses in a pore, without the short-pulse
//! and without the Gaussian-phase approximation.
//!
//! $$E = \sum_k e^{-Pg\lambda_k}\,|u_k|^2,\qquad u = e^{-P\Lambda + iQB}\,e_0$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $P = D\delta/R^2$ | | diffusion during one pulse |
//! | $Q = \gamma G\delta R$ | | phase across the pore |
//! | $g = \Delta/\delta - 1$ | | gap between the pulses |
//! | $\Lambda, B$ | | eigenvalues and coupling of `modes.rs` |
//! | $R$ | µm | radius, half the distance of planes |
//!
//! With $u_n = i^n w_n$ in angular order $n$ everything is real,
//! $w(1) = e^{A} e_0$, $A = -P\Lambda + QS$, $S$ antisymmetric and block tridiagonal. The
//! numerical range of $A$ lies in the strip $\mathrm{Re}\,z\le 0$, $|\mathrm{Im}\,z|\le Q$,
//! on which
//!
//! $$e^A \approx \sum_{j=0}^m c_j\,T_j(2X - 1),\qquad X = (1 - hA)^{-1},\quad h \approx 1/m$$
//!
//! holds to 1e-10 (tables for six widths, value and slope exact at $z = 0$, so
//! that $1-E$ of small pores keeps its relative accuracy): one block factorisation
//! and $m$ solves, with eight points as lanes. Wider strips are divided into steps.
//!
//! Derivatives: $\partial w/\partial P$ by the derivative of the same recurrence, and
//! $Q\,\partial w/\partial Q = Aw - P\,\partial w/\partial P$ because $P$ and $Q$ together scale time.
//!
//! The error is below 2e-9 in $E$ and 3e-8 in its logarithmic derivatives for $P\ge10^{-3}$,
//! $Q\le30$, and somewhat larger down to $P = 10^{-4}$ (20 µm and $D = 0.05$ µm²/ms with
//! $\delta = 1$ ms have $P = 5\cdot10^{-4}$). Beyond, the degree of the polynomials is held at
//! 64 and the error grows, but the signal stays in [0, 1].
//!
//! Source: Callaghan 1997, doi:10.1006/jmre.1997.1233, and Grebenkov 2007,
//! doi:10.1103/RevModPhys.79.1077 (matrix formalism of the multiple correlation
//! functions); one real pole of high order as in Nørsett 1978, Restricted Padé
//! approximations to the exponential function, SIAM J. Numer. Anal. 15.
//! Validated by `derivatives_equal_differences` below and `equals_reference` of
//! `tests/suite/restricted.rs`.

use super::coefficients::{DEGREE_P, DEGREE_Q, DEGREES, STRIPS, Strip};
use super::modes::{DEGREE_MAX, Geometry, Modes};
use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES};
use std::sync::OnceLock;

/// Steps of an exponential at most; phases beyond are cut (the signal is 0 there).
const STEPS_MAX: usize = 8;
/// Diffusion beyond this is as good as infinite.
const P_MAX: f64 = 1e12;
/// Smaller pores (µm) have the signal 1: there 1 - E is below the rounding of a double.
const SIZE_MIN: f64 = 1e-4;
/// Blocks of interpolation points of a profile at most.
const PROFILE_BLOCKS: usize = 14;

/// Timing and strength of a pair of rectangular gradient pulses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pulse {
    /// Duration $\delta$, ms.
    pub delta: f64,
    /// Separation of the leading edges $\Delta$, ms.
    pub big_delta: f64,
    /// $\gamma G\delta$, rad/µm.
    pub gamma_g_delta: f64,
}

/// Eight points as lanes, and what the kernel returns for them.
#[derive(Debug, Clone, Copy, Default)]
struct Points {
    p: Block,
    q: Block,
    gap: Block,
    value: Block,
    /// $\partial E/\partial P$.
    d_p: Block,
    /// $Q\,\partial E/\partial Q$.
    d_ln_q: Block,
}

impl Points {
    /// Takes up to eight points (P, Q, gap); lanes without one repeat the first.
    fn fill(&mut self, given: &[[f64; 3]]) {
        let q_max = STEPS_MAX as f64 * STRIPS[STRIPS.len() - 1].half_width;
        for lane in 0..LANES {
            let [p, q, gap] = given[if lane < given.len() { lane } else { 0 }];
            // `if` and not `min`, so that NaN stays NaN.
            self.p[lane] = if p > P_MAX { P_MAX } else { p };
            self.q[lane] = if q > q_max { q_max } else { q };
            self.gap[lane] = gap;
        }
    }

    /// E, dE/d(size) and dE/dD of a lane.
    fn in_units(&self, lane: usize, size: f64, delta: f64) -> [f64; 3] {
        let (p, d_p) = (self.p[lane], self.d_p[lane]);
        let d_size = (self.d_ln_q[lane] - 2.0 * p * d_p) / size;
        [self.value[lane], d_size, d_p * delta * 4.0 / (size * size)]
    }
}

/// The shared part of a block of points: modes, approximation, steps.
struct Scheme {
    modes: &'static Modes,
    strip: &'static Strip,
    steps: usize,
}

impl Scheme {
    /// What the points need.
    fn of(geometry: Geometry, points: &Points) -> Scheme {
        let (mut degree, mut widest) = (4, 0.0_f64);
        for (&p, &q) in points.p.iter().zip(&points.q) {
            degree = degree.max(degree_of(p, q));
            widest = widest.max(q);
        }
        let last = STRIPS.len() - 1;
        let strip = &STRIPS[STRIPS.iter().position(|s| s.half_width >= widest).unwrap_or(last)];
        let steps = ((widest / strip.half_width).ceil() as usize).clamp(1, STEPS_MAX);
        Scheme { modes: Modes::of(geometry, degree), strip, steps }
    }
}

/// The degree of the polynomials for 1e-9: the table, interpolated in ln P and Q.
fn degree_of(p: f64, q: f64) -> usize {
    let place = |table: &[f64], x: f64| {
        let i = table.iter().rposition(|&t| t <= x).unwrap_or(0).min(table.len() - 2);
        (i, ((x - table[i]) / (table[i + 1] - table[i])).max(0.0))
    };
    let logs = DEGREE_P.map(f64::ln);
    let (i, u) = place(&logs, p.ln());
    let (j, v) = place(&DEGREE_Q, q);
    let u = u.min(1.0);
    let row = |i: usize| {
        let (a, b) = (f64::from(DEGREES[i][j]), f64::from(DEGREES[i][j + 1]));
        a + v * (b - a)
    };
    let needed = row(i) + u * (row(i + 1) - row(i));
    // Saturates for huge phases; NaN becomes the smallest degree.
    (2 * (0.5 * needed - 1e-9).ceil() as usize).clamp(4, DEGREE_MAX)
}

/// A block on a cache line of its own: loads do not straddle two lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(Block);

const ZERO: Line = Line([0.0; LANES]);

/// Room for the factors and vectors of one block of points.
#[derive(Default)]
struct Scratch {
    /// Inverses of the pivots $S_n$ `[order][k, k]`.
    pivot: Vec<Line>,
    /// $H_n = c\,S_{n+1}^{-1}B_n^T$ `[order][l, k]`.
    lower: Vec<Line>,
    /// $H_n^T$ `[order][k, l]`.
    upper: Vec<Line>,
    /// The vectors of the recurrence, each `[mode]`.
    vectors: Vec<Line>,
}

impl Scratch {
    fn fit(&mut self, modes: &Modes) {
        let pivots = modes.counts.iter().map(|k| k * k).sum();
        let lowers = modes.coupling.iter().map(Vec::len).sum();
        self.pivot.resize(pivots, ZERO);
        self.lower.resize(lowers, ZERO);
        self.upper.resize(lowers, ZERO);
        self.vectors.resize(VECTORS * modes.lambda.len(), ZERO);
    }
}

/// Vectors of the recurrence, for the polynomial and for its derivative: the sum,
/// $T_j$, $T_{j-1}$, the vector within a solve and the solution; and a right-hand side.
const VECTORS: usize = 11;

/// Inverts a symmetric positive matrix in place by Gauss and Jordan, no pivoting.
#[inline(always)]
fn invert<L: Lanes>(a: &mut [Line], k: usize) {
    for p in 0..k {
        let inverse = L::splat(1.0).div(L::load(&a[p * k + p].0));
        L::splat(1.0).store(&mut a[p * k + p].0);
        for entry in &mut a[p * k..(p + 1) * k] {
            L::load(&entry.0).mul(inverse).store(&mut entry.0);
        }
        for i in 0..k {
            if i != p {
                let factor = L::load(&a[i * k + p].0);
                L::splat(0.0).store(&mut a[i * k + p].0);
                for j in 0..k {
                    let entry = factor.nmadd(L::load(&a[p * k + j].0), L::load(&a[i * k + j].0));
                    entry.store(&mut a[i * k + j].0);
                }
            }
        }
    }
}

/// The block factorisation of $1 - hA$ from the highest order down, with
/// $a = hP$ and $c = hQ$.
#[inline(always)]
fn factorise<L: Lanes>(modes: &Modes, a: L, c: L, scratch: &mut Scratch) {
    let Scratch { pivot, lower, upper, .. } = scratch;
    let orders = modes.counts.len();
    let (mut pivot_end, mut lower_end, mut mode_end) =
        (pivot.len(), lower.len(), modes.lambda.len());
    for n in (0..orders).rev() {
        let k = modes.counts[n];
        let lambda = &modes.lambda[mode_end - k..mode_end];
        let s = &mut pivot[pivot_end - k * k..pivot_end];
        for i in 0..k {
            for j in 0..k {
                L::splat(0.0).store(&mut s[i * k + j].0);
            }
            a.madd(L::splat(lambda[i]), L::splat(1.0)).store(&mut s[i * k + i].0);
        }
        if n + 1 < orders {
            // S_n = 1 + a Lambda_n + c B_n H_n.
            let above = modes.counts[n + 1];
            let h = &upper[lower_end..lower_end + k * above];
            for (i, b) in modes.coupling[n].chunks(above).enumerate() {
                for (j, h) in h.chunks(above).enumerate().take(i + 1) {
                    let mut sum = L::splat(0.0);
                    for (b, h) in b.iter().zip(h) {
                        sum = L::splat(*b).madd(L::load(&h.0), sum);
                    }
                    let entry = c.madd(sum, L::load(&s[i * k + j].0));
                    entry.store(&mut s[i * k + j].0);
                    entry.store(&mut s[j * k + i].0);
                }
            }
        }
        invert::<L>(s, k);
        if n > 0 {
            // H_{n-1} = c S_n^{-1} B_{n-1}^T.
            let below = modes.counts[n - 1];
            let range = lower_end - k * below..lower_end;
            let (h, transposed) = (&mut lower[range.clone()], &mut upper[range]);
            for (l, s) in s.chunks(k).enumerate() {
                for (i, b) in modes.coupling[n - 1].chunks(k).enumerate() {
                    let mut sum = L::splat(0.0);
                    for (b, s) in b.iter().zip(s) {
                        sum = L::splat(*b).madd(L::load(&s.0), sum);
                    }
                    let entry = c.mul(sum);
                    entry.store(&mut h[l * below + i].0);
                    entry.store(&mut transposed[i * k + l].0);
                }
            }
            lower_end -= k * below;
        }
        pivot_end -= k * k;
        mode_end -= k;
    }
}

/// Two vectors of the recurrence side by side.
struct Pair<'a> {
    x: &'a [Line],
    y: &'a [Line],
}

/// The same, written.
struct PairMut<'a> {
    x: &'a mut [Line],
    y: &'a mut [Line],
}

/// `to = matrix from`.
const PRODUCT: u8 = 0;
/// `to += matrix from`.
const ADD: u8 = 1;
/// `to -= matrix from`.
const SUBTRACT: u8 = 2;

/// One of the three products for two vectors at once.
#[inline(always)]
fn multiply<L: Lanes, const KIND: u8>(matrix: &[Line], from: &Pair<'_>, to: &mut PairMut<'_>) {
    // Short rows are unrolled, with the vectors in registers.
    match from.x.len() {
        1 => unrolled::<L, KIND, 1>(matrix, from, to),
        2 => unrolled::<L, KIND, 2>(matrix, from, to),
        3 => unrolled::<L, KIND, 3>(matrix, from, to),
        4 => unrolled::<L, KIND, 4>(matrix, from, to),
        5 => unrolled::<L, KIND, 5>(matrix, from, to),
        6 => unrolled::<L, KIND, 6>(matrix, from, to),
        7 => unrolled::<L, KIND, 7>(matrix, from, to),
        8 => unrolled::<L, KIND, 8>(matrix, from, to),
        k => {
            let rows = matrix.chunks_exact(k);
            for ((row, to_x), to_y) in rows.zip(to.x.iter_mut()).zip(to.y.iter_mut()) {
                let (mut p, mut q) = match KIND {
                    PRODUCT => (L::splat(0.0), L::splat(0.0)),
                    _ => (L::load(&to_x.0), L::load(&to_y.0)),
                };
                for ((m, x), y) in row.iter().zip(from.x).zip(from.y) {
                    let (m, x, y) = (L::load(&m.0), L::load(&x.0), L::load(&y.0));
                    if KIND == SUBTRACT {
                        p = m.nmadd(x, p);
                        q = m.nmadd(y, q);
                    } else {
                        p = m.madd(x, p);
                        q = m.madd(y, q);
                    }
                }
                p.store(&mut to_x.0);
                q.store(&mut to_y.0);
            }
        }
    }
}

/// [`multiply`] for rows of `K`.
#[inline(always)]
fn unrolled<L: Lanes, const KIND: u8, const K: usize>(
    matrix: &[Line],
    from: &Pair<'_>,
    to: &mut PairMut<'_>,
) {
    let (mut x, mut y) = ([L::splat(0.0); K], [L::splat(0.0); K]);
    for l in 0..K {
        x[l] = L::load(&from.x[l].0);
        y[l] = L::load(&from.y[l].0);
    }
    let rows = matrix.as_chunks::<K>().0;
    for ((row, to_x), to_y) in rows.iter().zip(to.x.iter_mut()).zip(to.y.iter_mut()) {
        let (mut p, mut q) = match KIND {
            PRODUCT => (L::splat(0.0), L::splat(0.0)),
            _ => (L::load(&to_x.0), L::load(&to_y.0)),
        };
        for l in 0..K {
            let m = L::load(&row[l].0);
            if KIND == SUBTRACT {
                p = m.nmadd(x[l], p);
                q = m.nmadd(y[l], q);
            } else {
                p = m.madd(x[l], p);
                q = m.madd(y[l], q);
            }
        }
        p.store(&mut to_x.0);
        q.store(&mut to_y.0);
    }
}

/// $(1 - hA)^{-1}r$ for two right-hand sides; `within` is room.
#[inline(always)]
fn solve<L: Lanes>(
    modes: &Modes,
    scratch: (&[Line], &[Line], &[Line]),
    r: &Pair<'_>,
    within: &mut PairMut<'_>,
    out: &mut PairMut<'_>,
) {
    let (pivot, lower, upper) = scratch;
    let last = modes.counts.len() - 1;
    // Down: z_n = r_n - H_n^T z_{n+1}.
    within.x.copy_from_slice(r.x);
    within.y.copy_from_slice(r.y);
    let (mut at, mut upper_end) = (modes.lambda.len(), upper.len());
    for n in (0..last).rev() {
        let (k, above) = (modes.counts[n], modes.counts[n + 1]);
        at -= above;
        let h = &upper[upper_end - k * above..upper_end];
        upper_end -= k * above;
        let (x, x_above) = within.x[at - k..at + above].split_at_mut(k);
        let (y, y_above) = within.y[at - k..at + above].split_at_mut(k);
        multiply::<L, SUBTRACT>(h, &Pair { x: x_above, y: y_above }, &mut PairMut { x, y });
    }
    // Up: y_{n+1} = S_{n+1}^{-1} z_{n+1} + H_n y_n.
    let (mut at, mut pivot_at, mut lower_at, mut below) = (0, 0, 0, 0);
    for &k in &modes.counts {
        let s = &pivot[pivot_at..pivot_at + k * k];
        let z = Pair { x: &within.x[at..at + k], y: &within.y[at..at + k] };
        let (x_below, x) = out.x[at - below..at + k].split_at_mut(below);
        let (y_below, y) = out.y[at - below..at + k].split_at_mut(below);
        let mut to = PairMut { x, y };
        multiply::<L, PRODUCT>(s, &z, &mut to);
        if below > 0 {
            let h = &lower[lower_at..lower_at + k * below];
            multiply::<L, ADD>(h, &Pair { x: x_below, y: y_below }, &mut to);
        }
        at += k;
        pivot_at += k * k;
        lower_at += k * below;
        below = k;
    }
}

/// One step of the Chebyshev recurrence: `before` becomes
/// $T_{j+1} = 4XT_j - 2T_j - T_{j-1}$ ($2XT_0 - T_0$ for the first), of which `c` times
/// is added to the sum.
#[inline(always)]
fn advance<L: Lanes>(
    first: bool,
    c: f64,
    solved: &[Line],
    now: &[Line],
    before: &mut [Line],
    sum: &mut [Line],
) {
    let (four, two, c) = (L::splat(4.0), L::splat(2.0), L::splat(c));
    for (((x, now), before), sum) in solved.iter().zip(now).zip(before).zip(sum) {
        let (x, t) = (L::load(&x.0), L::load(&now.0));
        let next = if first {
            two.mul(x).sub(t)
        } else {
            four.madd(x, two.nmadd(t, L::splat(0.0).sub(L::load(&before.0))))
        };
        next.store(&mut before.0);
        c.madd(next, L::load(&sum.0)).store(&mut sum.0);
    }
}

#[inline(always)]
fn evaluate_body<L: Lanes>(scheme: &Scheme, scratch: &mut Scratch, points: &mut Points) {
    let modes = scheme.modes;
    let n = modes.lambda.len();
    let c = scheme.strip.coefficients;
    let h = scheme.strip.step / scheme.steps as f64;
    let (p, q) = (L::load(&points.p), L::load(&points.q));
    factorise::<L>(modes, p.mul(L::splat(h)), q.mul(L::splat(h)), scratch);

    let factors = (&scratch.pivot[..], &scratch.lower[..], &scratch.upper[..]);
    let (sum, rest) = scratch.vectors.split_at_mut(n);
    let (d_sum, rest) = rest.split_at_mut(n);
    let (mut now, rest) = rest.split_at_mut(n);
    let (mut before, rest) = rest.split_at_mut(n);
    let (mut d_now, rest) = rest.split_at_mut(n);
    let (mut d_before, rest) = rest.split_at_mut(n);
    let (within, rest) = rest.split_at_mut(n);
    let (d_within, rest) = rest.split_at_mut(n);
    let (solved, rest) = rest.split_at_mut(n);
    let (d_solved, right) = rest.split_at_mut(n);
    // The sums hold w and dw/dP at the end of every step.
    sum.fill(ZERO);
    d_sum.fill(ZERO);
    sum[0] = Line([1.0; LANES]);

    for _ in 0..scheme.steps {
        now.copy_from_slice(sum);
        d_now.copy_from_slice(d_sum);
        for i in 0..n {
            L::splat(c[0]).mul(L::load(&now[i].0)).store(&mut sum[i].0);
            L::splat(c[0]).mul(L::load(&d_now[i].0)).store(&mut d_sum[i].0);
        }
        right.fill(ZERO);
        // Pass j solves for T_j and for the derivative of T_{j-1}: its right-hand
        // side, dT_{j-1} - h Lambda X T_{j-1}, is known one pass later.
        for j in 0..c.len() {
            solve::<L>(
                modes,
                factors,
                &Pair { x: now, y: right },
                &mut PairMut { x: within, y: d_within },
                &mut PairMut { x: solved, y: d_solved },
            );
            if j > 0 {
                advance::<L>(j == 1, c[j], d_solved, d_now, d_before, d_sum);
                std::mem::swap(&mut d_now, &mut d_before);
            }
            if j + 1 < c.len() {
                let slopes = right.iter_mut().zip(&modes.lambda);
                for (((right, lambda), x), d) in slopes.zip(solved.iter()).zip(d_now.iter()) {
                    let slope = L::splat(-h * lambda);
                    slope.madd(L::load(&x.0), L::load(&d.0)).store(&mut right.0);
                }
                advance::<L>(j == 0, c[j + 1], solved, now, before, sum);
                std::mem::swap(&mut now, &mut before);
            }
        }
    }

    // A w into `solved`, then E and its derivatives.
    let (mut at, mut below) = (0, 0);
    for (order, &k) in modes.counts.iter().enumerate() {
        for i in 0..k {
            let mut coupled = L::splat(0.0);
            if order > 0 {
                let b = &modes.coupling[order - 1];
                for l in 0..below {
                    let b = L::splat(b[l * k + i]);
                    coupled = b.madd(L::load(&sum[at - below + l].0), coupled);
                }
            }
            if let Some(b) = modes.coupling.get(order) {
                let above = modes.counts[order + 1];
                for l in 0..above {
                    let b = L::splat(b[i * above + l]);
                    coupled = b.nmadd(L::load(&sum[at + k + l].0), coupled);
                }
            }
            let decay = p.mul(L::splat(modes.lambda[at + i]));
            let slope = decay.nmadd(L::load(&sum[at + i].0), q.mul(coupled));
            slope.store(&mut solved[at + i].0);
        }
        at += k;
        below = k;
    }
    let gap = L::load(&points.gap);
    let (mut value, mut d_p, mut d_ln_q) = (L::splat(0.0), L::splat(0.0), L::splat(0.0));
    for i in 0..n {
        let rate = gap.mul(L::splat(modes.lambda[i]));
        let decay = exp_lanes::<L>(p.nmadd(rate, L::splat(0.0)));
        let (w, d_w) = (L::load(&sum[i].0), L::load(&d_sum[i].0));
        let weighted = decay.mul(w);
        value = weighted.madd(w, value);
        // d/dP of w^2 exp(-P g lambda), and Q dw/dQ = A w - P dw/dP.
        let twice = d_w.add(d_w);
        d_p = weighted.madd(rate.nmadd(w, twice), d_p);
        let turned = p.nmadd(d_w, L::load(&solved[i].0));
        d_ln_q = weighted.madd(turned.add(turned), d_ln_q);
    }
    value.store(&mut points.value);
    d_p.store(&mut points.d_p);
    d_ln_q.store(&mut points.d_ln_q);
}

dispatch! {
    fn evaluate_at / evaluate_body(scheme: &Scheme, scratch: &mut Scratch, points: &mut Points)
}

/// The point of a pulse in a pore, with the squared fraction of the gradient that
/// lies across it.
fn point(size: f64, diffusivity: f64, pulse: &Pulse, fraction: f64) -> [f64; 3] {
    let radius = 0.5 * size;
    [
        diffusivity * pulse.delta / (radius * radius),
        pulse.gamma_g_delta * radius * fraction.max(0.0).sqrt(),
        pulse.big_delta / pulse.delta - 1.0,
    ]
}

/// The signal of every pulse in one pore, and its derivatives with respect to the size
/// (diameter, distance of the planes, µm) and the diffusivity (µm²/ms).
///
/// A pore of less than 1e-4 µm, and a pulse of no strength, have the signal 1.
///
/// # Shapes
/// `value`, `d_size` and `d_diffusivity` `[pulse]`.
pub fn signals(
    geometry: Geometry,
    size: f64,
    diffusivity: f64,
    pulses: &[Pulse],
    value: &mut [f64],
    d_size: &mut [f64],
    d_diffusivity: &mut [f64],
) {
    value.fill(1.0);
    d_size.fill(0.0);
    d_diffusivity.fill(0.0);
    if size <= SIZE_MIN {
        return;
    }
    let level = crate::simd::level();
    let (mut scratch, mut points) = (Scratch::default(), Points::default());
    let weighted: Vec<usize> =
        (0..pulses.len()).filter(|&i| pulses[i].gamma_g_delta != 0.0).collect();
    for chunk in weighted.chunks(LANES) {
        let mut given = [[0.0; 3]; LANES];
        for (given, &i) in given.iter_mut().zip(chunk) {
            *given = point(size, diffusivity, &pulses[i], 1.0);
        }
        points.fill(&given[..chunk.len()]);
        let scheme = Scheme::of(geometry, &points);
        scratch.fit(scheme.modes);
        evaluate_at(level, &scheme, &mut scratch, &mut points);
        for (lane, &i) in chunk.iter().enumerate() {
            [value[i], d_size[i], d_diffusivity[i]] = points.in_units(lane, size, pulses[i].delta);
        }
    }
}

/// The signal of one pulse in one pore as a function of the direction: of the squared
/// fraction of the gradient that lies across the pore ($1-t^2$ for a cylinder, $t^2$ for planes).
///
/// It is an entire function of that fraction, so a polynomial through Chebyshev points
/// holds it to 1e-10; the polynomial is smooth, whatever the number of points asked for.
#[derive(Debug, Clone)]
pub struct Profile {
    /// E, dE/d(size), dE/dD at the points.
    rows: Vec<[f64; 3]>,
    chebyshev: &'static Chebyshev,
}

impl Profile {
    /// Evaluates the points of a profile.
    pub fn new(geometry: Geometry, size: f64, diffusivity: f64, pulse: &Pulse) -> Profile {
        let q = 0.5 * size * pulse.gamma_g_delta;
        let blocks = (((6.0 + 1.15 * q) / LANES as f64).ceil() as usize).clamp(1, PROFILE_BLOCKS);
        let chebyshev = Chebyshev::of(blocks);
        let mut rows = vec![[1.0, 0.0, 0.0]; blocks * LANES];
        if size <= SIZE_MIN || pulse.gamma_g_delta == 0.0 {
            return Profile { rows, chebyshev };
        }
        let level = crate::simd::level();
        let mut scratch = Scratch::default();
        // One scheme for all points: another degree for some would be a jump of 1e-9.
        let mut points = Points::default();
        points.fill(&[point(size, diffusivity, pulse, 1.0)]);
        let scheme = Scheme::of(geometry, &points);
        scratch.fit(scheme.modes);
        for (fractions, rows) in chebyshev.points.chunks(LANES).zip(rows.chunks_mut(LANES)) {
            let mut given = [[0.0; 3]; LANES];
            for (given, &fraction) in given.iter_mut().zip(fractions) {
                *given = point(size, diffusivity, pulse, fraction);
            }
            points.fill(&given);
            evaluate_at(level, &scheme, &mut scratch, &mut points);
            for (lane, row) in rows.iter_mut().enumerate() {
                *row = points.in_units(lane, size, pulse.delta);
            }
        }
        Profile { rows, chebyshev }
    }

    /// $E$, $\partial E/\partial(\mathrm{size})$ and $\partial E/\partial D$ at a squared
    /// fraction in [0, 1].
    pub fn at(&self, fraction: f64) -> [f64; 3] {
        let (mut sum, mut total) = ([0.0; 3], 0.0);
        let Chebyshev { points, weights } = self.chebyshev;
        for ((&point, &weight), row) in points.iter().zip(weights).zip(&self.rows) {
            let distance = fraction - point;
            if distance == 0.0 {
                return *row;
            }
            let factor = weight / distance;
            total += factor;
            for (sum, row) in sum.iter_mut().zip(row) {
                *sum += factor * row;
            }
        }
        sum.map(|sum| sum / total)
    }
}

/// Chebyshev points of the first kind on [0, 1] and their barycentric weights (Berrut &
/// Trefethen 2004, doi:10.1137/S0036144502417715, eq. 5.3).
#[derive(Debug)]
struct Chebyshev {
    points: Vec<f64>,
    weights: Vec<f64>,
}

impl Chebyshev {
    fn of(blocks: usize) -> &'static Chebyshev {
        static TABLE: [OnceLock<Chebyshev>; PROFILE_BLOCKS] =
            [const { OnceLock::new() }; PROFILE_BLOCKS];
        TABLE[blocks - 1].get_or_init(|| {
            let n = blocks * LANES;
            let angle = |j: usize| std::f64::consts::PI * (j as f64 + 0.5) / n as f64;
            let sign = |j: usize| if j.is_multiple_of(2) { 1.0 } else { -1.0 };
            Chebyshev {
                points: (0..n).map(|j| 0.5 + 0.5 * angle(j).cos()).collect(),
                weights: (0..n).map(|j| sign(j) * angle(j).sin()).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    #[test]
    fn levels_agree() {
        let mut given = [[0.0; 3]; LANES];
        for (lane, given) in given.iter_mut().enumerate() {
            let i = lane as f64;
            *given = [0.02 * 3.0_f64.powf(i), 0.3 + 0.6 * i, 0.4 + i];
        }
        for geometry in [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere] {
            let results: Vec<(SimdLevel, Points)> = SimdLevel::available()
                .into_iter()
                .map(|level| {
                    let (mut scratch, mut points) = (Scratch::default(), Points::default());
                    points.fill(&given);
                    let scheme = Scheme::of(geometry, &points);
                    scratch.fit(scheme.modes);
                    evaluate_at(level, &scheme, &mut scratch, &mut points);
                    (level, points)
                })
                .collect();
            let (_, best) = results[results.len() - 1];
            for (level, points) in &results {
                for (mine, theirs) in [
                    (points.value, best.value),
                    (points.d_p, best.d_p),
                    (points.d_ln_q, best.d_ln_q),
                ] {
                    for (a, b) in mine.iter().zip(theirs) {
                        if level.name() == "scalar" {
                            assert!((a - b).abs() < 1e-12, "{geometry:?}: {a} {b}");
                        } else {
                            assert_eq!(a.to_bits(), b.to_bits(), "{geometry:?} {level:?}");
                        }
                    }
                }
            }
        }
    }

    /// Values and logarithmic derivatives by P and Q on a scheme, at one point.
    fn on(scheme: &Scheme, point: [f64; 3]) -> [f64; 3] {
        let (mut scratch, mut points) = (Scratch::default(), Points::default());
        points.fill(&[point]);
        scratch.fit(scheme.modes);
        evaluate_at(crate::simd::level(), scheme, &mut scratch, &mut points);
        [points.value[0], point[0] * points.d_p[0], points.d_ln_q[0]]
    }

    #[test]
    fn derivatives_equal_differences() {
        // Differences on a scheme of higher degree and a wider strip, which is the same for all
        // points of a difference; fourth order, rounding 1e-14/h.
        let h = 5e-4_f64;
        let mut worst = [0.0_f64; 3];
        for geometry in [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere] {
            for p in [1e-3, 0.03, 0.1, 0.4, 1.0, 5.0, 100.0, 1e4] {
                for q in [0.01, 1.0, 2.5, 6.0, 30.0] {
                    for gap in [0.0, 7.0] {
                        let mut points = Points::default();
                        points.fill(&[[p, q, gap]]);
                        let scheme = Scheme::of(geometry, &points);
                        let degree = (degree_of(p, q) + 10).min(DEGREE_MAX);
                        let fine = Scheme {
                            modes: Modes::of(geometry, degree),
                            strip: &STRIPS[STRIPS.len() - 1],
                            steps: 2,
                        };
                        let [e, d_p, d_q] = on(&scheme, [p, q, gap]);
                        let at = |i: i32, j: i32| {
                            let point =
                                [p * (h * f64::from(i)).exp(), q * (h * f64::from(j)).exp(), gap];
                            on(&fine, point)[0]
                        };
                        let slope = |one: [f64; 4]| {
                            (8.0 * (one[1] - one[2]) - (one[0] - one[3])) / (12.0 * h)
                        };
                        let by_p = slope([at(2, 0), at(1, 0), at(-1, 0), at(-2, 0)]);
                        let by_q = slope([at(0, 2), at(0, 1), at(0, -1), at(0, -2)]);
                        let errors = [e - at(0, 0), d_p - by_p, d_q - by_q].map(f64::abs);
                        for (worst, error) in worst.iter_mut().zip(errors) {
                            *worst = worst.max(error);
                        }
                    }
                }
            }
        }
        assert!(worst[0] < 2e-9 && worst[1] < 3e-8 && worst[2] < 3e-8, "{worst:?}");
    }
}
