//! Even Legendre polynomials: their recurrence in $u = t^2$, Gauss-Legendre
//! nodes, and the Legendre moments of a Gaussian.
//!
//! $$t^2 P_l = A_l P_{l+2} + B_l P_l + C_l P_{l-2}$$
//! $$A_l = \frac{(l+1)(l+2)}{(2l+1)(2l+3)},\quad B_l = \frac{2l^2+2l-1}{(2l-1)(2l+3)},\quad C_l = \frac{l(l-1)}{(2l-1)(2l+1)}$$
//!
//! The moments $F_l(x) = \int_0^1 e^{xt^2}P_l(t)\,dt$ obey
//! $$\frac{2x(l+2)}{2l+3}F_{l+2} + (2l+1)\left[1 - \frac{2x}{(2l-1)(2l+3)}\right]F_l - \frac{2x(l-1)}{2l-1}F_{l-2} = 0$$
//! (integrate by parts with $(2l+1)P_l = P_{l+1}' - P_{l-1}'$). They are the minimal
//! solution, so their ratios come from the continued fraction run downwards; the
//! scale follows from $\sum(2l+1)F_lP_l(t) = e^{xt^2}$ at $t = 1$ for $x \ge 0$ and at
//! $t = 0$ for $x < 0$, where all terms are positive.
//!
//! Symbols: $t$ a cosine, $l$ even, $x$ without unit.
//!
//! Source: NIST DLMF 14.10.3 (recurrence), 18.17 (integrals); Miller's algorithm:
//! Gautschi 1967, doi:10.1137/1009002. Validated by `moments_equal_quadrature`,
//! `moment_slopes_equal_differences`, `nodes_integrate_polynomials` and
//! `projection_inverts_the_series` below.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES, blocks};
use std::sync::OnceLock;

/// Most even orders that a series may have: $l = 0, 2, \dots, 2(\mathrm{MAX\_TERMS}-1)$.
pub const MAX_TERMS: usize = 96;

/// Most even orders of a projected zonal series: enough for $e^{-3000t^2}$, the
/// strongest weightings of preclinical scanners.
pub const LONG_TERMS: usize = 384;

/// $A_l, B_l, C_l$ for $l = 2k$.
pub const fn product_coefficients(k: usize) -> [f64; 3] {
    let l = 2.0 * k as f64;
    let a = (l + 1.0) * (l + 2.0) / ((2.0 * l + 1.0) * (2.0 * l + 3.0));
    let b = (2.0 * l * l + 2.0 * l - 1.0) / ((2.0 * l - 1.0) * (2.0 * l + 3.0));
    let c = l * (l - 1.0) / ((2.0 * l - 1.0) * (2.0 * l + 1.0));
    [a, b, c]
}

/// $P_{l+2} = (\alpha_k u + \beta_k)P_l + \gamma_k P_{l-2}$ for $l = 2k$.
pub(crate) const RECURRENCE: [[f64; 3]; LONG_TERMS] = {
    let mut out = [[0.0; 3]; LONG_TERMS];
    let mut k = 0;
    while k < LONG_TERMS {
        let [a, b, c] = product_coefficients(k);
        out[k] = [1.0 / a, -b / a, -c / a];
        k += 1;
    }
    out
};

/// Terms of the downward recurrence at most.
const INNER_TERMS: usize = MAX_TERMS + 64;

/// $P_{2k}(0)$.
const AT_ZERO: [f64; INNER_TERMS] = {
    let mut out = [1.0; INNER_TERMS];
    let mut k = 1;
    while k < INNER_TERMS {
        let l = 2.0 * k as f64;
        out[k] = -out[k - 1] * (l - 1.0) / l;
        k += 1;
    }
    out
};

/// The recurrence of the moments for $l = 2k$: `below` is $x$ times the first number,
/// `here` the second less $x$ times the third, `above` $x$ times the fourth.
const MOMENT_RECURRENCE: [[f64; 4]; INNER_TERMS + 1] = {
    let mut out = [[0.0; 4]; INNER_TERMS + 1];
    let mut k = 0;
    while k <= INNER_TERMS {
        let l = 2.0 * k as f64;
        let both = (2.0 * l - 1.0) * (2.0 * l + 3.0);
        out[k] = [
            2.0 * (l - 1.0) / (2.0 * l - 1.0),
            2.0 * l + 1.0,
            2.0 * (2.0 * l + 1.0) / both,
            2.0 * (l + 2.0) / (2.0 * l + 3.0),
        ];
        k += 1;
    }
    out
};

/// $A_l, B_l, C_l$ for $l = 2k$.
const PRODUCT: [[f64; 3]; MAX_TERMS] = {
    let mut out = [[0.0; 3]; MAX_TERMS];
    let mut k = 0;
    while k < MAX_TERMS {
        out[k] = product_coefficients(k);
        k += 1;
    }
    out
};

/// $P_0(t), P_2(t), \dots$
///
/// # Shapes
/// `out` `[term]`, any length.
///
/// # Example
/// ```
/// let mut p = [0.0; 3];
/// microtome_kernels::legendre::even_polynomials(0.5, &mut p);
/// assert!((p[1] + 0.125).abs() < 1e-16 && (p[2] + 0.2890625).abs() < 1e-15);
/// ```
pub fn even_polynomials(t: f64, out: &mut [f64]) {
    let u = t * t;
    let (mut last, mut now) = (0.0, 1.0);
    for (k, out) in out.iter_mut().enumerate() {
        *out = now;
        let [a, b, c] = RECURRENCE.get(k).copied().unwrap_or_else(|| {
            let [a, b, c] = product_coefficients(k);
            [1.0 / a, -b / a, -c / a]
        });
        (last, now) = (now, (a * u + b) * now + c * last);
    }
}

/// Terms of the series of $e^{x t^2}$ beyond which every coefficient is below about
/// 1e-16 of the largest.
pub fn gaussian_terms(x: f64) -> usize {
    inner_terms(x).min(MAX_TERMS)
}

/// As [`gaussian_terms`], for a series that is projected: at most [`LONG_TERMS`].
pub fn series_terms(x: f64) -> usize {
    inner_terms(x).min(LONG_TERMS)
}

fn inner_terms(x: f64) -> usize {
    // sqrt for the Gaussian decay of large x, a small constant for the factorial one.
    (8.0 + 6.4 * x.abs().sqrt()) as usize
}

#[inline(always)]
fn moments_body<L: Lanes>(x: &Block, value: &mut [Block], slope: &mut [Block]) {
    let n = value.len().min(slope.len()).min(MAX_TERMS);
    let mut most = 0.0_f64;
    for x in x {
        most = most.max(x.abs());
    }
    // One term beyond what is asked for serves the derivative.
    let start = (n + 1).max(inner_terms(most).saturating_add(2)).min(INNER_TERMS - 1);
    let (zero, one, two) = (L::splat(0.0), L::splat(1.0), L::splat(2.0));
    let x = L::load(x);
    let positive = x.ge(zero);
    let mut f = [zero; INNER_TERMS];
    // A bound of the stationary ratio ends the fraction: it matters for huge x only,
    // where the terms do not die out within the table.
    let [below, unit, shift, _] = MOMENT_RECURRENCE[start + 1];
    let here = L::splat(shift).nmadd(x, L::splat(unit));
    let size = here.abs().add(x.abs().mul(two));
    let mut ratio = two.mul(L::splat(below)).mul(x).div(here.add(size));
    let mut k = start;
    while k > 0 {
        let [below, unit, shift, above] = MOMENT_RECURRENCE[k];
        let here = L::splat(shift).nmadd(x, L::splat(unit));
        let bottom = L::splat(above).mul(x).madd(ratio, here);
        ratio = L::splat(below).mul(x).div(bottom);
        f[k] = ratio;
        k -= 1;
    }
    f[0] = one;
    let mut sum = one;
    for k in 1..=start {
        f[k] = f[k].mul(f[k - 1]);
        let end = L::select(positive, one, L::splat(AT_ZERO[k]));
        sum = L::splat(4.0 * k as f64 + 1.0).mul(end).madd(f[k], sum);
    }
    let scale = one.div(sum);
    let shift = L::select(positive, one, zero);
    let mut before = zero;
    let mut now = f[0].mul(scale);
    for k in 0..n {
        let next = f[k + 1].mul(scale);
        let [a, b, c] = PRODUCT[k];
        let rest = L::splat(c).mul(before);
        let middle = L::splat(b).sub(shift).madd(now, rest);
        now.store(&mut value[k]);
        L::splat(a).madd(next, middle).store(&mut slope[k]);
        before = now;
        now = next;
    }
}

dispatch! {
    fn moments_at / moments_body(x: &Block, value: &mut [Block], slope: &mut [Block])
}

/// $F_l(x)\,e^{-\max(x,0)}$ and its derivative with respect to $x$ (of the scaled
/// function; at $x = 0$ that of the positive side), for $l = 0, 2, \dots$ and eight
/// numbers $x$ at once.
///
/// # Shapes
/// `value` and `slope` `[term]` of equal length, at most [`MAX_TERMS`]; a block has
/// one lane for each number.
///
/// # Gradient
/// $F_l' = A_lF_{l+2} + B_lF_l + C_lF_{l-2}$.
///
/// # Example
/// ```
/// let (mut f, mut d) = ([[0.0; 8]; 2], [[0.0; 8]; 2]);
/// microtome_kernels::legendre::gaussian_moments(&[-1e-9; 8], &mut f, &mut d);
/// assert!((f[0][0] - 1.0).abs() < 1e-8 && f[1][0].abs() < 1e-8);
/// assert!((d[0][0] - 1.0 / 3.0).abs() < 1e-8 && (d[1][0] - 2.0 / 15.0).abs() < 1e-8);
/// ```
pub fn gaussian_moments(x: &Block, value: &mut [Block], slope: &mut [Block]) {
    moments_at(crate::simd::level(), x, value, slope);
}

/// $F_l(x)/F_0(x)$ and its derivative for $l = 0, 2, \dots$ and one positive $x$ of any
/// size: [`gaussian_moments`] has a table of terms that ends before the moments of
/// $x > 600$ do.
///
/// # Shapes
/// `ratio` and `slope` `[term]` of equal length, at most [`MAX_TERMS`].
///
/// # Example
/// ```
/// let (mut w, mut d) = ([0.0; 3], [0.0; 3]);
/// microtome_kernels::legendre::narrow_ratios(1e6, &mut w, &mut d);
/// // 1 - l (l + 1)/4x of a narrow density.
/// assert!((w[2] - (1.0 - 5e-6)).abs() < 1e-10);
/// ```
pub fn narrow_ratios(x: f64, ratio: &mut [f64], slope: &mut [f64]) {
    let n = ratio.len().min(slope.len()).min(MAX_TERMS);
    let mut steps = [0.0; MAX_TERMS + 2];
    // The continued fraction of the moments, from where they have died out.
    let mut k = (n + 1).max(inner_terms(x).min(1 << 16));
    let mut step = 0.0;
    while k > 0 {
        let l = 2.0 * k as f64;
        let shift = 2.0 * x / ((2.0 * l - 1.0) * (2.0 * l + 3.0));
        let above = 2.0 * x * (l + 2.0) / (2.0 * l + 3.0);
        let below = 2.0 * x * (l - 1.0) / (2.0 * l - 1.0);
        step = below / (above * step + (2.0 * l + 1.0) * (1.0 - shift));
        if let Some(kept) = steps.get_mut(k) {
            *kept = step;
        }
        k -= 1;
    }
    let [first, constant, _] = PRODUCT[0];
    let mean = first * steps[1] + constant;
    let (mut before, mut now) = (0.0, 1.0);
    for k in 0..n {
        let next = now * steps[k + 1];
        let [a, b, c] = PRODUCT[k];
        ratio[k] = now;
        slope[k] = a * next + (b - mean) * now + c * before;
        (before, now) = (now, next);
    }
}

/// Nodes on $(-1, 1)$, rising, and weights of the Gauss-Legendre rule of `n` points, by
/// Newton's method from Tricomi's estimate.
///
/// # Example
/// ```
/// let rule = microtome_kernels::legendre::gauss_legendre(2);
/// assert!((rule[1].0 - (1.0_f64 / 3.0).sqrt()).abs() < 1e-15 && (rule[1].1 - 1.0).abs() < 1e-15);
/// ```
pub fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let m = n as f64;
    (0..n)
        .rev()
        .map(|i| {
            let mut t = (std::f64::consts::PI * (i as f64 + 0.75) / (m + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..12 {
                let (mut last, mut now) = (0.0, 1.0);
                for l in 0..n {
                    let l = l as f64;
                    (last, now) = (now, ((2.0 * l + 1.0) * t * now - l * last) / (l + 1.0));
                }
                slope = m * (t * now - last) / (t * t - 1.0);
                let step = now / slope;
                t -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            (t, 2.0 / ((1.0 - t * t) * slope * slope))
        })
        .collect()
}

/// Nodes in $(0, 1)$, weights, and polynomials at the nodes, of the Gauss-Legendre
/// rule of $2n$ points folded at zero: exact for even polynomials of degree $4n-2$.
#[derive(Debug)]
pub struct HalfRule {
    /// $t_i$, rising.
    pub nodes: Vec<f64>,
    /// $w_i$, of sum 1.
    pub weights: Vec<f64>,
    /// $(4k+1)\,w_i P_{2k}(t_i)$ `[node, term]`, as many terms as nodes.
    projection: Vec<f64>,
}

/// `out[r, k]` = Σᵢ `table[i, k]` `values[r, i]` for `R` rows and the terms of one block.
#[inline(always)]
fn project_rows<L: Lanes, const R: usize>(
    table: &[Block],
    blocks: usize,
    block: usize,
    values: &[f64],
    out: &mut [f64],
) {
    let n = blocks * LANES;
    let mut sums = [L::splat(0.0); R];
    let mut i = 0;
    while i < n {
        let p = L::load(&table[i * blocks + block]);
        for r in 0..R {
            sums[r] = L::splat(values[r * n + i]).madd(p, sums[r]);
        }
        i += 1;
    }
    for r in 0..R {
        let mut lanes = [0.0; LANES];
        sums[r].store(&mut lanes);
        out[r * n + block * LANES..][..LANES].copy_from_slice(&lanes);
    }
}

#[inline(always)]
fn project_body<L: Lanes>(rule: &HalfRule, values: &[f64], out: &mut [f64]) {
    let (table, n) = (blocks(&rule.projection), rule.nodes.len());
    let blocks = n / LANES;
    let rows = values.len() / n;
    for block in 0..blocks {
        let mut r = 0;
        while r + 4 <= rows {
            project_rows::<L, 4>(table, blocks, block, &values[r * n..], &mut out[r * n..]);
            r += 4;
        }
        while r + 2 <= rows {
            project_rows::<L, 2>(table, blocks, block, &values[r * n..], &mut out[r * n..]);
            r += 2;
        }
        if r < rows {
            project_rows::<L, 1>(table, blocks, block, &values[r * n..], &mut out[r * n..]);
        }
    }
}

dispatch! {
    fn project_at / project_body(rule: &HalfRule, values: &[f64], out: &mut [f64])
}

impl HalfRule {
    fn new(n: usize) -> Self {
        let pairs = gauss_legendre(2 * n).split_off(n);
        let nodes: Vec<f64> = pairs.iter().map(|p| p.0).collect();
        let weights: Vec<f64> = pairs.iter().map(|p| p.1).collect();
        let mut projection = vec![0.0; n * n];
        for (row, (t, w)) in projection.chunks_mut(n).zip(nodes.iter().zip(&weights)) {
            even_polynomials(*t, row);
            for (k, p) in row.iter_mut().enumerate() {
                *p *= (4.0 * k as f64 + 1.0) * w;
            }
        }
        Self { nodes, weights, projection }
    }

    /// Legendre coefficients $(4k+1)\int_0^1 f(t)P_{2k}(t)\,dt$ of functions given at
    /// the nodes.
    ///
    /// # Shapes
    /// `values` `[function, node]`, `out` `[function, term]`, as many terms as nodes.
    ///
    /// # Example
    /// ```
    /// use microtome_kernels::legendre::half_rule;
    /// let rule = half_rule(0);
    /// let square: Vec<f64> = rule.nodes.iter().map(|t| t * t).collect();
    /// let mut c = vec![0.0; square.len()];
    /// rule.project(&square, &mut c);
    /// // t² = (1 + 2 P2)/3
    /// assert!((c[0] - 1.0 / 3.0).abs() < 1e-15 && (c[1] - 2.0 / 3.0).abs() < 1e-14);
    /// assert!(c[2..].iter().all(|c| c.abs() < 1e-13));
    /// ```
    pub fn project(&self, values: &[f64], out: &mut [f64]) {
        project_at(crate::simd::level(), self, values, out);
    }
}

/// Sizes of the rules that [`half_rule`] offers, whole blocks each.
pub const RULES: [usize; 6] = [16, 24, 48, 96, 192, 384];

/// The folded Gauss-Legendre rule number `index` of [`RULES`]; the last for any
/// larger index.
pub fn half_rule(index: usize) -> &'static HalfRule {
    static TABLE: [OnceLock<HalfRule>; RULES.len()] = [const { OnceLock::new() }; RULES.len()];
    let index = index.min(RULES.len() - 1);
    TABLE[index].get_or_init(|| HalfRule::new(RULES[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed high-order rule: independent of the recurrence under test.
    fn by_quadrature(x: f64, k: usize) -> f64 {
        let rule = half_rule(RULES.len() - 1);
        let mut p = vec![0.0; k + 1];
        let shift = x.max(0.0);
        rule.nodes
            .iter()
            .zip(&rule.weights)
            .map(|(t, w)| {
                even_polynomials(*t, &mut p);
                w * (x * t * t - shift).exp() * p[k]
            })
            .sum()
    }

    /// Values and slopes of one lane among others.
    fn row(x: f64, n: usize) -> (Vec<f64>, Vec<f64>) {
        let (mut f, mut d) = (vec![[0.0; 8]; n], vec![[0.0; 8]; n]);
        let mut lanes = [-7.0, 0.1, 12.0, -0.3, 0.0, 40.0, 1.0, -90.0];
        lanes[3] = x;
        gaussian_moments(&lanes, &mut f, &mut d);
        (f.iter().map(|b| b[3]).collect(), d.iter().map(|b| b[3]).collect())
    }

    /// P₀, P₂, … at the nodes have unit coefficients, in one to five rows at a time.
    #[test]
    fn projection_inverts_the_series() {
        for level in crate::simd::SimdLevel::available() {
            for index in 0..3 {
                let rule = half_rule(index);
                let n = rule.nodes.len();
                let mut values = vec![0.0; n * n];
                let mut p = vec![0.0; n];
                for (i, t) in rule.nodes.iter().enumerate() {
                    even_polynomials(*t, &mut p);
                    for (k, p) in p.iter().enumerate() {
                        values[k * n + i] = *p;
                    }
                }
                for rows in 1..=5 {
                    for first in (0..=n - rows).step_by(rows) {
                        let mut out = vec![f64::NAN; rows * n];
                        project_at(level, rule, &values[first * n..][..rows * n], &mut out);
                        for (i, c) in out.iter().enumerate() {
                            let expected = if i % n == first + i / n { 1.0 } else { 0.0 };
                            assert!((c - expected).abs() < 1e-12, "{index} {rows} {first} {i} {c}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nodes_integrate_polynomials() {
        for (index, size) in RULES.into_iter().enumerate() {
            let rule = half_rule(index);
            for power in [0, 2, 4, 2 * size - 2] {
                let sum: f64 = rule
                    .nodes
                    .iter()
                    .zip(&rule.weights)
                    .map(|(t, w)| w * t.powi(power as i32))
                    .sum();
                assert!((sum - 1.0 / (power as f64 + 1.0)).abs() < 3e-15, "{index} {power} {sum}");
            }
        }
    }

    #[test]
    fn moments_equal_quadrature() {
        let n = 60;
        for x in [-320.0, -60.0, -24.0, -3.0, -0.1, -1e-7, 0.0, 1e-9, 0.3, 2.0, 31.8, 150.0, 600.0]
        {
            let f = row(x, n).0;
            for (k, f) in f.iter().enumerate() {
                let truth = by_quadrature(x, k);
                assert!(
                    (f - truth).abs() < 4e-16 + 1e-14 * f.abs(),
                    "x {x} l {}: {f} {truth}",
                    2 * k
                );
            }
        }
    }

    #[test]
    fn narrow_ratios_equal_moments_and_quadrature() {
        let n = 60;
        let (mut w, mut d) = (vec![0.0; n], vec![0.0; n]);
        for x in [20.0, 150.0, 500.0] {
            let (f, slope) = row(x, n);
            narrow_ratios(x, &mut w, &mut d);
            for k in 0..n {
                let ratio = f[k] / f[0];
                assert!((w[k] - ratio).abs() < 1e-13, "{x} {k}: {} {ratio}", w[k]);
                let truth = (slope[k] - ratio * slope[0]) / f[0];
                assert!((d[k] - truth).abs() < 1e-12, "{x} {k}: {} {truth}", d[k]);
            }
        }
        // mpmath: the integrals over 60/x below t = 1.
        narrow_ratios(1e4, &mut w, &mut d);
        assert!((w[20] - 0.959_824_263_376_897_9).abs() < 1e-13, "{}", w[20]);
        narrow_ratios(636_619.0, &mut w, &mut d);
        assert!((w[20] - 0.999_356_178_802_191_6).abs() < 1e-13, "{}", w[20]);
    }

    #[test]
    fn moment_slopes_equal_differences() {
        let n = 24;
        for x in [-24.0, -3.0, -0.1, 0.5, 12.0, 80.0] {
            let row = |x: f64| row(x, n);
            let h = 1e-3;
            let (p, m, pp, mm) =
                (row(x + h).0, row(x - h).0, row(x + 2.0 * h).0, row(x - 2.0 * h).0);
            for (k, d) in row(x).1.iter().enumerate() {
                let difference = (8.0 * (p[k] - m[k]) - (pp[k] - mm[k])) / (12.0 * h);
                assert!((d - difference).abs() < 2e-12, "x {x} l {}: {d} {difference}", 2 * k);
            }
        }
    }

    #[test]
    fn terms_suffice() {
        for x in [-300.0, -100.0, -24.0, -4.0, -0.5, 0.5, 10.0, 100.0] {
            let n = gaussian_terms(x);
            let f = row(x, MAX_TERMS).0;
            let largest =
                f.iter().enumerate().map(|(k, f)| (4 * k + 1) as f64 * f.abs()).fold(0.0, f64::max);
            if n < MAX_TERMS {
                let rest = (4 * n + 1) as f64 * f[n].abs();
                assert!(rest < 3e-16 * largest, "x {x}: {n} terms leave {rest}");
            }
        }
    }
}
