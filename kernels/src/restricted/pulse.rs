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
//! | $\Lambda, B$ | | eigenvalues and coupling of [`super::modes`] |
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
//! Accuracy is 1e-8 for $P\ge10^{-4}$ and $Q\le32$ (diameters to 20 µm with $D\ge0.05$
//! µm²/ms, $\delta\ge1$ ms). Beyond, the degree of the polynomials is held at
//! 64 and the error grows, but the signal stays in [0, 1].
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077, eq. 59 to 62; Callaghan 1997,
//! doi:10.1006/jmre.1997.1233; the real poles as in Nørsett 1978, Restricted Padé
//! approximations to the exponential function, doi:10.1137/0715065.
//! Validated by `equals_reference` and `derivatives_equal_differences` of
//! `tests/restricted.rs`.

use super::coefficients::{DEGREE_P, DEGREE_Q, DEGREES, STRIPS, Strip};
use super::modes::{DEGREE_MAX, Geometry, Modes};
use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES, SimdLevel};

/// Steps of an exponential at most; phases beyond are cut (the signal is 0 there).
const STEPS_MAX: usize = 32;
/// Diffusion beyond this is as good as infinite.
const P_MAX: f64 = 1e12;
/// Points of a profile, as blocks, at most.
const PROFILE_BLOCKS: usize = 6;

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
        let strip =
            &STRIPS[STRIPS.iter().position(|s| s.half_width >= widest).unwrap_or(last)];
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

/// Room for the factors and vectors of one block of points.
#[derive(Default)]
struct Scratch {
    /// Inverses of the pivots `[order][k, k]`.
    pivot: Vec<Block>,
    /// $H_n = c\,S_{n+1}^{-1}B_n^T$ `[order][l, k]`.
    lower: Vec<Block>,
    /// The vectors of the recurrence, each `[mode]`.
    vectors: Vec<Block>,
}

impl Scratch {
    fn fit(&mut self, modes: &Modes) {
        let pivots = modes.counts.iter().map(|k| k * k).sum();
        let lowers = modes.coupling.iter().map(Vec::len).sum();
        self.pivot.resize(pivots, [0.0; LANES]);
        self.lower.resize(lowers, [0.0; LANES]);
        self.vectors.resize(VECTORS * modes.lambda.len(), [0.0; LANES]);
    }
}

/// Vectors of the recurrence: T_j, T_{j-1} and the sum, the same for the derivative,
/// two right-hand sides that become solutions.
const VECTORS: usize = 8;

/// Inverts a symmetric positive matrix in place by Gauss and Jordan, no pivoting.
#[inline(always)]
fn invert<L: Lanes>(a: &mut [Block], k: usize) {
    for p in 0..k {
        let inverse = L::splat(1.0).div(L::load(&a[p * k + p]));
        L::splat(1.0).store(&mut a[p * k + p]);
        for j in 0..k {
            L::load(&a[p * k + j]).mul(inverse).store(&mut a[p * k + j]);
        }
        for i in 0..k {
            if i != p {
                let factor = L::load(&a[i * k + p]);
                L::splat(0.0).store(&mut a[i * k + p]);
                for j in 0..k {
                    let entry = factor.nmadd(L::load(&a[p * k + j]), L::load(&a[i * k + j]));
                    entry.store(&mut a[i * k + j]);
                }
            }
        }
    }
}

/// The block factorisation of $1 - hA$ from the highest order down, with
/// $a = hP$ and $c = hQ$.
#[inline(always)]
fn factorise<L: Lanes>(modes: &Modes, a: L, c: L, pivot: &mut [Block], lower: &mut [Block]) {
    let orders = modes.counts.len();
    let (mut pivot_end, mut lower_end, mut mode_end) =
        (pivot.len(), lower.len(), modes.lambda.len());
    for n in (0..orders).rev() {
        let k = modes.counts[n];
        let lambda = &modes.lambda[mode_end - k..mode_end];
        let s = &mut pivot[pivot_end - k * k..pivot_end];
        for i in 0..k {
            for j in 0..k {
                L::splat(0.0).store(&mut s[i * k + j]);
            }
            a.madd(L::splat(lambda[i]), L::splat(1.0)).store(&mut s[i * k + i]);
        }
        if n + 1 < orders {
            // S_n = 1 + a Lambda_n + c B_n H_n.
            let above = modes.counts[n + 1];
            let b = &modes.coupling[n];
            let h = &lower[lower_end..lower_end + k * above];
            for i in 0..k {
                for j in 0..=i {
                    let mut sum = L::splat(0.0);
                    for l in 0..above {
                        sum = L::splat(b[i * above + l]).madd(L::load(&h[l * k + j]), sum);
                    }
                    let entry = c.madd(sum, L::load(&s[i * k + j]));
                    entry.store(&mut s[i * k + j]);
                    entry.store(&mut s[j * k + i]);
                }
            }
        }
        invert::<L>(s, k);
        if n > 0 {
            // H_{n-1} = c S_n^{-1} B_{n-1}^T.
            let below = modes.counts[n - 1];
            let b = &modes.coupling[n - 1];
            let h = &mut lower[lower_end - k * below..lower_end];
            for l in 0..k {
                for i in 0..below {
                    let mut sum = L::splat(0.0);
                    for j in 0..k {
                        sum = L::splat(b[i * k + j]).madd(L::load(&s[l * k + j]), sum);
                    }
                    c.mul(sum).store(&mut h[l * below + i]);
                }
            }
            lower_end -= k * below;
        }
        pivot_end -= k * k;
        mode_end -= k;
    }
}

/// $x \leftarrow (1 - hA)^{-1}x$ for two right-hand sides at once.
#[inline(always)]
fn solve<L: Lanes>(
    modes: &Modes,
    pivot: &[Block],
    lower: &[Block],
    x: &mut [Block],
    y: &mut [Block],
    room: &mut [Block],
) {
    let orders = modes.counts.len();
    // Down: z_n = r_n - H_n^T z_{n+1}.
    let (mut at, mut lower_end) = (modes.lambda.len(), lower.len());
    for n in (0..orders - 1).rev() {
        let (k, above) = (modes.counts[n], modes.counts[n + 1]);
        at -= above;
        let h = &lower[lower_end - k * above..lower_end];
        lower_end -= k * above;
        let (x_n, x_above) = x[at - k..at + above].split_at_mut(k);
        let (y_n, y_above) = y[at - k..at + above].split_at_mut(k);
        for i in 0..k {
            let (mut p, mut q) = (L::load(&x_n[i]), L::load(&y_n[i]));
            for l in 0..above {
                let h = L::load(&h[l * k + i]);
                p = h.nmadd(L::load(&x_above[l]), p);
                q = h.nmadd(L::load(&y_above[l]), q);
            }
            p.store(&mut x_n[i]);
            q.store(&mut y_n[i]);
        }
    }
    // Up: y_{n+1} = S_{n+1}^{-1} z_{n+1} + H_n y_n.
    let (mut at, mut pivot_at, mut lower_at, mut below) = (0, 0, 0, 0);
    for &k in &modes.counts {
        let s = &pivot[pivot_at..pivot_at + k * k];
        let h = &lower[lower_at..lower_at + k * below];
        for l in 0..k {
            let (mut p, mut q) = (L::splat(0.0), L::splat(0.0));
            for j in 0..k {
                let s = L::load(&s[l * k + j]);
                p = s.madd(L::load(&x[at + j]), p);
                q = s.madd(L::load(&y[at + j]), q);
            }
            for i in 0..below {
                let h = L::load(&h[l * below + i]);
                p = h.madd(L::load(&x[at - below + i]), p);
                q = h.madd(L::load(&y[at - below + i]), q);
            }
            p.store(&mut room[l]);
            q.store(&mut room[k + l]);
        }
        x[at..at + k].copy_from_slice(&room[..k]);
        y[at..at + k].copy_from_slice(&room[k..2 * k]);
        at += k;
        pivot_at += k * k;
        lower_at += k * below;
        below = k;
    }
}

/// One step of the Chebyshev recurrence for the polynomial and its derivative:
/// $T_{j+1} = 4XT_j - 2T_j - T_{j-1}$, half of that for the first.
#[inline(always)]
fn advance<L: Lanes>(first: bool, solved: &[Block], now: &mut [Block], before: &mut [Block]) {
    let (four, two) = (L::splat(4.0), L::splat(2.0));
    for ((x, now), before) in solved.iter().zip(now).zip(before) {
        let (x, t) = (L::load(x), L::load(now));
        let next = if first {
            two.madd(x, L::splat(0.0)).sub(t)
        } else {
            four.madd(x, two.nmadd(t, L::splat(0.0))).sub(L::load(before))
        };
        t.store(before);
        next.store(now);
    }
}

/// Adds `c` times a vector to another.
#[inline(always)]
fn add_scaled<L: Lanes>(c: f64, from: &[Block], to: &mut [Block]) {
    let c = L::splat(c);
    for (from, to) in from.iter().zip(to) {
        c.madd(L::load(from), L::load(to)).store(to);
    }
}

#[inline(always)]
fn evaluate_body<L: Lanes>(scheme: &Scheme, scratch: &mut Scratch, points: &mut Points) {
    let modes = scheme.modes;
    let n = modes.lambda.len();
    let c = scheme.strip.coefficients;
    let h = scheme.strip.step / scheme.steps as f64;
    let (p, q) = (L::load(&points.p), L::load(&points.q));
    let (pivot, lower) = (&mut scratch.pivot[..], &mut scratch.lower[..]);
    factorise::<L>(modes, p.mul(L::splat(h)), q.mul(L::splat(h)), pivot, lower);

    // The sums hold w and dw/dP at the end of every step.
    let (sum, rest) = scratch.vectors.split_at_mut(n);
    let (d_sum, rest) = rest.split_at_mut(n);
    let (now, rest) = rest.split_at_mut(n);
    let (before, rest) = rest.split_at_mut(n);
    let (d_now, rest) = rest.split_at_mut(n);
    let (d_before, rest) = rest.split_at_mut(n);
    let (x, rest) = rest.split_at_mut(n);
    let y = rest;
    let mut room = [[0.0; LANES]; DEGREE_MAX + 4];
    sum.fill([0.0; LANES]);
    d_sum.fill([0.0; LANES]);
    sum[0] = [1.0; LANES];

    for _ in 0..scheme.steps {
        now.copy_from_slice(sum);
        d_now.copy_from_slice(d_sum);
        for i in 0..n {
            L::splat(c[0]).mul(L::load(&now[i])).store(&mut sum[i]);
            L::splat(c[0]).mul(L::load(&d_now[i])).store(&mut d_sum[i]);
        }
        y.fill([0.0; LANES]);
        // Pass j solves for T_j and for the derivative of T_{j-1}: its right-hand
        // side, dT_{j-1} - h Lambda X T_{j-1}, is known one pass later.
        for j in 0..c.len() {
            x.copy_from_slice(now);
            solve::<L>(modes, pivot, lower, x, y, &mut room);
            if j > 0 {
                advance::<L>(j == 1, y, d_now, d_before);
                add_scaled::<L>(c[j], d_now, d_sum);
            }
            if j + 1 < c.len() {
                for i in 0..n {
                    let slope = L::splat(-h * modes.lambda[i]);
                    slope.madd(L::load(&x[i]), L::load(&d_now[i])).store(&mut y[i]);
                }
                advance::<L>(j == 0, x, now, before);
                add_scaled::<L>(c[j + 1], now, sum);
            }
        }
    }

    // A w into x, then E and its derivatives.
    let (mut at, mut below) = (0, 0);
    for (order, &k) in modes.counts.iter().enumerate() {
        for i in 0..k {
            let mut coupled = L::splat(0.0);
            if order > 0 {
                let b = &modes.coupling[order - 1];
                for l in 0..below {
                    coupled =
                        L::splat(b[l * k + i]).madd(L::load(&sum[at - below + l]), coupled);
                }
            }
            if let Some(b) = modes.coupling.get(order) {
                let above = modes.counts[order + 1];
                for l in 0..above {
                    coupled = L::splat(b[i * above + l]).nmadd(L::load(&sum[at + k + l]), coupled);
                }
            }
            let decay = p.mul(L::splat(modes.lambda[at + i]));
            decay.nmadd(L::load(&sum[at + i]), q.mul(coupled)).store(&mut x[at + i]);
        }
        at += k;
        below = k;
    }
    let gap = L::load(&points.gap);
    let (mut value, mut d_p, mut d_ln_q) = (L::splat(0.0), L::splat(0.0), L::splat(0.0));
    for i in 0..n {
        let rate = gap.mul(L::splat(modes.lambda[i]));
        let decay = exp_lanes::<L>(p.nmadd(rate, L::splat(0.0)));
        let (w, d_w) = (L::load(&sum[i]), L::load(&d_sum[i]));
        let weighted = decay.mul(w);
        value = weighted.madd(w, value);
        // d/dP of w^2 exp(-P g lambda), and Q dw/dQ = A w - P dw/dP.
        let twice = d_w.add(d_w);
        d_p = weighted.madd(rate.nmadd(w, twice), d_p);
        let turned = p.nmadd(d_w, L::load(&x[i]));
        d_ln_q = weighted.madd(turned.add(turned), d_ln_q);
    }
    value.store(&mut points.value);
    d_p.store(&mut points.d_p);
    d_ln_q.store(&mut points.d_ln_q);
}

dispatch! {
    fn evaluate_at / evaluate_body(scheme: &Scheme, scratch: &mut Scratch, points: &mut Points)
}

/// Evaluates up to eight points; lanes without a point repeat the first.
fn evaluate(
    level: SimdLevel,
    geometry: Geometry,
    scratch: &mut Scratch,
    given: &[[f64; 3]],
    points: &mut Points,
) {
    let Some(first) = given.first() else { return };
    for lane in 0..LANES {
        let [p, q, gap] = *given.get(lane).unwrap_or(first);
        points.p[lane] = p.min(P_MAX);
        points.q[lane] = q.min(STEPS_MAX as f64 * STRIPS[STRIPS.len() - 1].half_width);
        points.gap[lane] = gap.max(0.0);
    }
    let scheme = Scheme::of(geometry, points);
    scratch.fit(scheme.modes);
    evaluate_at(level, &scheme, scratch, points);
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
/// A pore of no size, and a pulse of no strength, have the signal 1.
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
    if size <= 0.0 {
        return;
    }
    let level = crate::simd::level();
    let (mut scratch, mut points) = (Scratch::default(), Points::default());
    let weighted: Vec<usize> = (0..pulses.len()).filter(|&i| pulses[i].gamma_g_delta != 0.0).collect();
    for chunk in weighted.chunks(LANES) {
        let mut given = [[0.0; 3]; LANES];
        for (given, &i) in given.iter_mut().zip(chunk) {
            *given = point(size, diffusivity, &pulses[i], 1.0);
        }
        evaluate(level, geometry, &mut scratch, &given[..chunk.len()], &mut points);
        for (lane, &i) in chunk.iter().enumerate() {
            let (p, d_p) = (points.p[lane], points.d_p[lane]);
            value[i] = points.value[lane];
            d_size[i] = (points.d_ln_q[lane] - 2.0 * p * d_p) / size;
            d_diffusivity[i] = d_p * pulses[i].delta * 4.0 / (size * size);
        }
    }
}
