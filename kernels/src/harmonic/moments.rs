//! Means of the orthotropic harmonics under an orthotropic density.
//!
//! $$B_{lm} = \langle H_{lm}\rangle,\qquad \langle f\rangle \propto
//!   \int_{S^2} f(n)\,e^{\kappa n_1^2 + \beta n_2^2}\,dn$$
//!
//! The azimuth integrates to Bessel functions, with $z = \tfrac12\beta(1-t^2)$:
//! $$B_{lm} = \frac1Z\int_0^1 e^{-(\kappa-\beta)(1-t^2)}\,\iota_{m/2}(z)\,(1-t^2)^{m/2}
//!   Q_{lm}(t^2)\,dt,\qquad \iota_j(z) = e^{-z}I_j(z)$$
//! $$\frac{\partial B}{\partial\kappa} = \langle n_1^2H\rangle - \langle n_1^2\rangle\langle H\rangle,\qquad
//!   \frac{\partial B}{\partial\beta} = \langle n_2^2H\rangle - \langle n_2^2\rangle\langle H\rangle$$
//! where $n_2^2$ turns $\iota_j$ into
//! $\tfrac12(1-t^2)\left[\iota_j + \tfrac12(\iota_{j-1}+\iota_{j+1})\right]$.
//!
//! Symbols: $\kappa \ge \beta \ge 0$ without unit, $Z$ makes $B_{00} = 1$.
//!
//! The integrals are Gauss-Legendre sums of as many nodes as the degrees of the
//! density and of the harmonics need. With $I_j = \frac{(z/2)^j}{j!}y_j$ Miller's
//! recurrence $y_{j-1} = y_j + \frac{(z/2)^2}{j(j+1)}y_{j+1}$ has positive terms of
//! moderate size, and $I_0 + 2\sum I_j = e^z$ gives the scale.
//!
//! Source: Bingham 1974, doi:10.1214/aos/1176342874; Gautschi 1967,
//! doi:10.1137/1009002. Validated by the tests below.

use super::{pairs, recurrences, row};
use crate::exp::exp_lanes;
use crate::lanes::{Lanes, dispatch};
use crate::legendre::{MAX_TERMS, RULES, half_rule};
use crate::simd::{LANES, blocks, blocks_mut};
use std::sync::OnceLock;

/// Largest $\kappa$: beyond it the nodes do not suffice for harmonics of any degree.
pub const MAX_CONCENTRATION: f64 = 640.0;

/// Orders of Miller's recurrence at most.
const MAX_STEPS: usize = 176;
/// Rows of harmonics below this are left out.
const NOTHING: f64 = 1e-18;

/// $1/k$ and $1/(k(k+1))$.
const INVERSES: [[f64; 2]; MAX_STEPS] = {
    let mut out = [[0.0; 2]; MAX_STEPS];
    let mut k = 1;
    while k < MAX_STEPS {
        out[k] = [1.0 / k as f64, 1.0 / (k as f64 * (k as f64 + 1.0))];
        k += 1;
    }
    out
};

/// The nodes of a rule in whole blocks: $t^2$ and weights.
struct Nodes {
    u: Vec<f64>,
    weight: Vec<f64>,
}

/// Rule number `index` of [`RULES`].
fn nodes(index: usize) -> &'static Nodes {
    static TABLE: [OnceLock<Nodes>; RULES.len()] = [const { OnceLock::new() }; RULES.len()];
    let index = index.min(RULES.len() - 1);
    TABLE[index].get_or_init(|| {
        let rule = half_rule(index);
        let mut u: Vec<f64> = rule.nodes.iter().map(|t| t * t).collect();
        let mut weight = rule.weights.clone();
        u.resize(u.len().next_multiple_of(LANES), 0.0);
        weight.resize(u.len(), 0.0);
        Nodes { u, weight }
    })
}

const MAX_BLOCKS: usize = RULES[RULES.len() - 1] / LANES;

/// $B_{lm}$ and its derivatives, with the memory to compute them.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    terms: usize,
    /// Orders $m = 0, 2, \dots$ that were filled last; the others are below 1e-18.
    pub orders: usize,
    /// $B_{lm}$ `[pair]`.
    pub value: Vec<f64>,
    /// $\partial B_{lm}/\partial\kappa$ `[pair]`.
    pub by_kappa: Vec<f64>,
    /// $\partial B_{lm}/\partial\beta$ `[pair]`.
    pub by_beta: Vec<f64>,
    bessel: Vec<f64>,
}

impl Moments {
    /// Room for `terms` degrees, at most [`MAX_TERMS`].
    pub fn new(terms: usize) -> Self {
        let terms = terms.clamp(1, MAX_TERMS);
        let table = vec![0.0; pairs(terms)];
        Self {
            terms,
            orders: 0,
            value: table.clone(),
            by_kappa: table.clone(),
            by_beta: table,
            bessel: Vec::new(),
        }
    }

    /// Number of degrees that the tables have room for.
    pub fn terms(&self) -> usize {
        self.terms
    }

    /// Fills the degrees $l = 0, 2, \dots, 2(\mathrm{used}-1)$ of the orders in use;
    /// the rest of the tables keeps what was there.
    ///
    /// # Gradient
    /// By $\kappa$ and $\beta$ as independent numbers.
    ///
    /// # Example
    /// ```
    /// use microtome_kernels::harmonic::Moments;
    /// let mut b = Moments::new(3);
    /// b.evaluate(0.0, 0.0, 3);
    /// assert_eq!(b.value[0], 1.0);
    /// // <n1^2 P2> = 2/15
    /// assert!(b.value[1].abs() < 1e-15 && (b.by_kappa[1] - 2.0 / 15.0).abs() < 1e-15);
    /// ```
    pub fn evaluate(&mut self, kappa: f64, beta: f64, used: usize) {
        let used = used.clamp(1, self.terms);
        let kappa = kappa.clamp(0.0, MAX_CONCENTRATION);
        // Not `clamp`, which panics where a bound is NaN.
        let beta = if beta > kappa { kappa } else { beta };
        let beta = if beta < 0.0 { 0.0 } else { beta };
        // The degrees of the density that matter, and those of the harmonics.
        let degree = 20 + (12.8 * kappa.sqrt()) as usize + 2 * used;
        let index = RULES.iter().position(|n| 4 * n > degree).unwrap_or(RULES.len() - 1);
        let nodes = nodes(index);
        let reach = 12 + (8.5 * (0.5 * beta).sqrt()) as usize;
        let orders = used.min(reach);
        let steps = (orders + 2).max(reach).min(MAX_STEPS - 1);
        let room = (orders + 1) * nodes.u.len();
        if self.bessel.len() < room {
            self.bessel.resize(room, 0.0);
        }
        self.orders = fill_at(
            crate::simd::level(),
            nodes,
            [kappa, beta],
            [self.terms, used, orders, steps],
            &mut self.bessel[..room],
            &mut self.value,
            &mut self.by_kappa,
            &mut self.by_beta,
        );
    }
}

/// $\iota_j(z)$ of every node for $j \le$ `orders`, `[order, node]`.
#[inline(always)]
fn bessel<L: Lanes>(u: &[f64], beta: f64, orders: usize, steps: usize, out: &mut [f64]) {
    let count = u.len() / LANES;
    let (u, out) = (blocks(u), blocks_mut(out));
    let one = L::splat(1.0);
    for b in 0..count {
        let half = L::splat(0.25 * beta).mul(one.sub(L::load(&u[b])));
        let square = half.mul(half);
        let (mut above, mut now, mut sum) = (one, one, one);
        let mut k = steps;
        while k > 0 {
            let [inverse, product] = INVERSES[k];
            let below = square.mul(L::splat(product)).madd(above, now);
            above = now;
            now = below;
            sum = half.mul(L::splat(inverse)).madd(sum, now);
            k -= 1;
            if k <= orders {
                now.store(&mut out[k * count + b]);
            }
        }
        // exp(z) = I_0 + 2 (I_1 + ...) = 2 sum - y_0.
        let mut factor = one.div(sum.add(sum).sub(now));
        for j in 0..=orders {
            if j > 0 {
                factor = factor.mul(half).mul(L::splat(INVERSES[j][0]));
            }
            let at = &mut out[j * count + b];
            L::load(at).mul(factor).store(at);
        }
    }
}

#[inline(always)]
fn fill_body<L: Lanes>(
    nodes: &Nodes,
    [kappa, beta]: [f64; 2],
    [terms, used, orders, steps]: [usize; 4],
    iota: &mut [f64],
    value: &mut [f64],
    by_kappa: &mut [f64],
    by_beta: &mut [f64],
) -> usize {
    bessel::<L>(&nodes.u, beta, orders, steps, iota);
    let (u, weight, iota) = (blocks(&nodes.u), blocks(&nodes.weight), blocks(iota));
    let count = u.len();
    let (zero, one, half) = (L::splat(0.0), L::splat(1.0), L::splat(0.5));
    let mut square = [zero; MAX_BLOCKS];
    let mut density = [zero; MAX_BLOCKS];
    for b in 0..count {
        square[b] = L::load(&u[b]);
        let exponent = L::splat(kappa - beta).mul(square[b].sub(one));
        density[b] = L::load(&weight[b]).mul(exp_lanes(exponent));
    }
    // Weights of the value, of n_1^2 and of n_2^2 times the harmonic.
    let mut plain = [zero; MAX_BLOCKS];
    let mut first = [zero; MAX_BLOCKS];
    let mut second = [zero; MAX_BLOCKS];
    let mut last = [zero; MAX_BLOCKS];
    let mut now = [zero; MAX_BLOCKS];
    let mut scale = 1.0;
    let mut mean = [0.0; 2];
    for (j, recurrence) in recurrences().iter().enumerate().take(orders) {
        let before = if j == 0 { 1 } else { j - 1 };
        for b in 0..count {
            let here = L::load(&iota[j * count + b]);
            let sides = L::load(&iota[before * count + b]).add(L::load(&iota[(j + 1) * count + b]));
            let across = one.sub(square[b]);
            plain[b] = density[b].mul(here);
            first[b] = plain[b].mul(square[b]);
            second[b] = density[b].mul(across).mul(half).mul(half.madd(sides, here));
            density[b] = density[b].mul(across);
            last[b] = zero;
            now[b] = L::splat(recurrence.first);
        }
        let start = row(terms, j);
        let mut largest = 0.0_f64;
        for k in 0..used - j {
            let [slope, constant, below] = recurrence.steps[k];
            let (slope, constant, below) = (L::splat(slope), L::splat(constant), L::splat(below));
            let mut sums = [zero; 3];
            for b in 0..count {
                let q = now[b];
                sums[0] = plain[b].madd(q, sums[0]);
                sums[1] = first[b].madd(q, sums[1]);
                sums[2] = second[b].madd(q, sums[2]);
                now[b] = slope.madd(square[b], constant).madd(q, below.mul(last[b]));
                last[b] = q;
            }
            let sums = [sums[0].tree_sum(), sums[1].tree_sum(), sums[2].tree_sum()];
            if j == 0 && k == 0 {
                scale = 1.0 / sums[0];
                mean = [sums[1] * scale, sums[2] * scale];
            }
            let v = sums[0] * scale;
            let d = [sums[1] * scale - mean[0] * v, sums[2] * scale - mean[1] * v];
            value[start + k] = v;
            by_kappa[start + k] = d[0];
            by_beta[start + k] = d[1];
            largest = largest.max(v.abs()).max(d[0].abs()).max(d[1].abs());
        }
        if largest < NOTHING {
            return j;
        }
    }
    orders
}

dispatch! {
    fn fill_at / fill_body(
        nodes: &Nodes, concentration: [f64; 2], sizes: [usize; 4], iota: &mut [f64],
        value: &mut [f64], by_kappa: &mut [f64], by_beta: &mut [f64],
    ) -> usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harmonic::harmonics;
    use crate::legendre::gaussian_moments;

    /// B by sums over the sphere: half a rule in t, equal steps in the azimuth.
    fn over_the_sphere(kappa: f64, beta: f64, terms: usize) -> Vec<f64> {
        let rule = half_rule(RULES.len() - 2);
        let steps = 160;
        let mut sum = vec![0.0; pairs(terms)];
        let mut h = vec![0.0; pairs(terms)];
        for (t, w) in rule.nodes.iter().zip(&rule.weights) {
            let s = (1.0 - t * t).sqrt();
            for i in 0..steps {
                // A quarter turn is enough: everything is even.
                let angle = std::f64::consts::FRAC_PI_2 * (f64::from(i) + 0.5) / f64::from(steps);
                let n = [*t, s * angle.cos(), s * angle.sin()];
                let density = w * (kappa * (n[0] * n[0] - 1.0) + beta * n[1] * n[1]).exp();
                harmonics(n, terms, &mut h);
                for (sum, h) in sum.iter_mut().zip(&h) {
                    *sum += density * h;
                }
            }
        }
        let scale = 1.0 / sum[0];
        sum.iter().map(|v| v * scale).collect()
    }

    /// The table of `used` degrees, with zeros where nothing was filled.
    fn filled(kappa: f64, beta: f64, terms: usize) -> Moments {
        let mut out = Moments::new(terms);
        out.evaluate(kappa, beta, terms);
        let end = row(terms, out.orders);
        for table in [&mut out.value, &mut out.by_kappa, &mut out.by_beta] {
            table[end..].fill(0.0);
        }
        out
    }

    #[test]
    fn moments_equal_sums_over_the_sphere() {
        let terms = 22;
        for (kappa, beta) in [
            (0.0, 0.0),
            (0.3, 0.2),
            (3.0, 3.0),
            (6.3, 0.0),
            (12.0, 11.0),
            (24.0, 5.0),
            (63.7, 63.7),
            (63.7, 20.0),
            (200.0, 190.0),
            (640.0, 0.0),
            (640.0, 600.0),
        ] {
            let truth = over_the_sphere(kappa, beta, terms);
            for (i, (got, truth)) in filled(kappa, beta, terms).value.iter().zip(&truth).enumerate()
            {
                assert!((got - truth).abs() < 3e-14, "{kappa} {beta} pair {i}: {got} {truth}");
            }
        }
    }

    #[test]
    fn no_number_is_no_number() {
        let mut b = Moments::new(4);
        for (kappa, beta) in [(f64::NAN, 0.0), (1.0, f64::NAN), (f64::NAN, f64::NAN)] {
            b.evaluate(kappa, beta, 4);
            assert!(b.value[0].is_nan() && b.value[1].is_nan(), "{kappa} {beta}");
        }
        b.evaluate(f64::INFINITY, f64::INFINITY, 4);
        assert_eq!(b.value[0], 1.0);
    }

    #[test]
    fn slopes_equal_differences() {
        let terms = 16;
        for (kappa, beta) in [(0.5, 0.1), (4.0, 3.0), (30.0, 12.0)] {
            let h = 1e-3 * kappa;
            let at = |a: f64, b: f64| filled(kappa + a * h, beta + b * h, terms).value;
            let here = filled(kappa, beta, terms);
            for (slopes, direction) in [(&here.by_kappa, [1.0, 0.0]), (&here.by_beta, [0.0, 1.0])] {
                let step = |s: f64| at(s * direction[0], s * direction[1]);
                let (p, m, pp, mm) = (step(1.0), step(-1.0), step(2.0), step(-2.0));
                for (i, d) in slopes.iter().enumerate() {
                    let difference = (8.0 * (p[i] - m[i]) - (pp[i] - mm[i])) / (12.0 * h);
                    assert!(
                        (d - difference).abs() < 3e-11,
                        "{kappa} {beta} pair {i}: {d} {difference}"
                    );
                }
            }
        }
    }

    #[test]
    fn axisymmetric_moments_equal_the_recurrence() {
        let terms = 40;
        for kappa in [0.0, 0.02, 1.0, 6.3, 31.8, 63.7, 300.0] {
            let (mut f, mut d) = (vec![[0.0; LANES]; terms], vec![[0.0; LANES]; terms]);
            gaussian_moments(&[kappa; LANES], &mut f, &mut d);
            let got = filled(kappa, 0.0, terms);
            for k in 0..terms {
                let truth = f[k][0] / f[0][0];
                assert!(
                    (got.value[k] - truth).abs() < 1e-13,
                    "{kappa} l {}: {} {truth}",
                    2 * k,
                    got.value[k]
                );
            }
            assert!(got.value[terms..].iter().all(|v| v.abs() < 1e-16));
        }
    }
}
