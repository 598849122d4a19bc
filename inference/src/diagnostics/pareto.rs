//! Pareto-smoothed importance weights and their k-hat.
//!
//! The $M = \lceil\min(S/5,\,3\sqrt{S/r})\rceil$ largest of $S$ ratios are
//! replaced by the expected order statistics of the generalised Pareto density
//! that is fitted to them:
//!
//! $$p(x) = \frac1\sigma\left(1+\frac{kx}\sigma\right)^{-1/k-1},\qquad
//! \hat w_{(z)} = u + \frac{\hat\sigma}{\hat k}\left[\left(1-\frac{z-1/2}M\right)^{-\hat k} - 1\right]$$
//!
//! with $u$ the largest ratio below the tail, and none above the largest raw
//! ratio. The fit is the empirical Bayes estimate over a grid of $b = -k/\sigma$,
//! and $\hat k$ is drawn to 1/2 as by ten observations:
//! $\hat k \leftarrow (M\hat k + 5)/(M + 10)$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $S$ | 1 | draws |
//! | $r$ | 1 | relative efficiency of the draws: effective sample size over $S$; 1 of independent draws |
//! | $k, \sigma$ | 1, of the ratios | shape and scale of the tail |
//!
//! The numbers are those of ArviZ 0.23 (`az.psislw`), edge cases included: a tail
//! of four or fewer ratios, as of constant ratios or fewer than 21 draws, is left
//! as it is and has an infinite $\hat k$, and so does here a tail whose fit fails.
//!
//! Source: Zhang & Stephens 2009, doi:10.1198/tech.2009.08017, secs. 2 and 3;
//! Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25(72), sec. 2 and app. C.
//! Validated by `smoothed_weights_are_those_of_arviz` in `inference/tests/suite/pareto.rs`.

use super::moments::{extremes, sum_of};

/// Fewest ratios of a tail that is smoothed.
const LEAST_TAIL: usize = 5;
/// The logarithm of the smallest normal number: no tail starts below it.
const LEAST_CUTOFF: f64 = -708.396_418_532_264_1;
/// Observations that the prior of the shape is worth.
const PRIOR_OBSERVATIONS: f64 = 10.0;
/// The shape that the prior prefers.
const PRIOR_SHAPE: f64 = 0.5;

/// A generalised Pareto density of exceedances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeneralisedPareto {
    /// $\hat k$: moments of order $1/k$ and above are infinite.
    pub shape: f64,
    /// $\hat\sigma$, in the unit of the exceedances.
    pub scale: f64,
}

/// A ratio of the tail.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TailWeight {
    /// Its index among the ratios.
    pub position: u32,
    /// Its logarithm minus that of the largest ratio: raw, then smoothed.
    pub ln_weight: f64,
}

/// Buffers of the smoothing. Keep one a thread: after the first call for a number of
/// draws no further call allocates.
#[derive(Debug, Clone, Default)]
pub struct ParetoWorkspace {
    selection: Vec<f64>,
    tail: Vec<TailWeight>,
    exceedances: Vec<f64>,
    grid: Vec<f64>,
    likelihood: Vec<f64>,
    /// $-\ln(1 - (z - 1/2)/M)$ of the tail length that was smoothed last.
    ranks: Vec<f64>,
}

impl ParetoWorkspace {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smoothed tail of the last call, ascending.
    pub fn tail(&self) -> &[TailWeight] {
        &self.tail
    }
}

/// The k-hat above which an importance sampling estimate of `draws` draws is not to be
/// trusted: $\min(1 - 1/\log_{10}S,\ 0.7)$ (Vehtari et al. 2024, sec. 3.2.4).
pub fn khat_limit(draws: usize) -> f64 {
    (1.0 - 1.0 / (draws as f64).log10()).min(0.7)
}

/// Smooths the largest of some logarithms of importance ratios in place, so that the
/// weights sum to one (their log-sum-exp is 0); returns $\hat k$.
///
/// # Shapes
/// `ln_weights` `[draw]`.
///
/// Ratios of which none is finite, or one is NaN, give NaN weights and an infinite
/// $\hat k$; no draws give an infinite $\hat k$.
///
/// # Example
/// ```
/// use microtome_inference::diagnostics::{ParetoWorkspace, smooth_weights};
/// let mut ln_weights = [0.3; 100];
/// let khat = smooth_weights(&mut ln_weights, 1.0, &mut ParetoWorkspace::new());
/// assert!(khat.is_infinite() && (ln_weights[7] + 100.0_f64.ln()).abs() < 1e-14);
/// ```
pub fn smooth_weights(
    ln_weights: &mut [f64],
    relative_efficiency: f64,
    workspace: &mut ParetoWorkspace,
) -> f64 {
    let largest = largest(ln_weights);
    if !largest.is_finite() {
        ln_weights.fill(f64::NAN);
        return f64::INFINITY;
    }
    let khat = smooth_tail(ln_weights, largest, relative_efficiency, workspace);
    for w in ln_weights.iter_mut() {
        *w -= largest;
    }
    for t in &workspace.tail {
        ln_weights[t.position as usize] = t.ln_weight;
    }
    let ln_sum = sum_of(ln_weights, f64::exp).ln();
    for w in ln_weights.iter_mut() {
        *w -= ln_sum;
    }
    khat
}

/// The largest number; NaN when there is one, minus infinity of an empty slice.
pub(crate) fn largest(x: &[f64]) -> f64 {
    if x.iter().fold(false, |any, v| any | v.is_nan()) {
        return f64::NAN;
    }
    extremes(x).1
}

/// As [`smooth_weights`], but leaves the ratios alone: the smoothed ones are in
/// [`ParetoWorkspace::tail`], relative to `largest`, which must be the largest and finite.
pub(crate) fn smooth_tail(
    ln_weights: &[f64],
    largest: f64,
    relative_efficiency: f64,
    workspace: &mut ParetoWorkspace,
) -> f64 {
    let w = workspace;
    w.tail.clear();
    let draws = ln_weights.len() as f64;
    let wanted = (draws / 5.0).min(3.0 * (draws / relative_efficiency).sqrt()).ceil();
    if !(wanted >= 1.0 && wanted < draws) {
        return f64::INFINITY;
    }
    w.selection.clear();
    w.selection.extend_from_slice(ln_weights);
    let at = ln_weights.len() - 1 - wanted as usize;
    let (_, cutoff, _) = w.selection.select_nth_unstable_by(at, f64::total_cmp);
    let cutoff = (*cutoff - largest).max(LEAST_CUTOFF);
    for (&ln_weight, position) in ln_weights.iter().zip(0..) {
        let ln_weight = ln_weight - largest;
        if ln_weight > cutoff {
            w.tail.push(TailWeight { position, ln_weight });
        }
    }
    if w.tail.len() < LEAST_TAIL {
        w.tail.clear();
        return f64::INFINITY;
    }
    w.tail.sort_unstable_by(|a, b| {
        a.ln_weight.total_cmp(&b.ln_weight).then(a.position.cmp(&b.position))
    });
    let offset = cutoff.exp();
    w.exceedances.clear();
    w.exceedances.extend(w.tail.iter().map(|t| t.ln_weight.exp() - offset));
    let Some(fit) = fit(&w.exceedances, &mut w.grid, &mut w.likelihood) else {
        w.tail.clear();
        return f64::INFINITY;
    };
    if w.ranks.len() != w.tail.len() {
        let n = w.tail.len() as f64;
        w.ranks.clear();
        w.ranks.extend((0..w.tail.len()).map(|z| -(-(z as f64 + 0.5) / n).ln_1p()));
    }
    for (t, rank) in w.tail.iter_mut().zip(&w.ranks) {
        t.ln_weight = (fit.quantile(*rank) + offset).ln().min(0.0);
    }
    fit.shape
}

impl GeneralisedPareto {
    /// The fit to exceedances over a threshold; `None` when there are fewer than
    /// five, a quarter of them is zero, or they are not finite.
    ///
    /// # Shapes
    /// `sorted`, ascending, `[exceedance]`.
    pub fn fit(sorted: &[f64], workspace: &mut ParetoWorkspace) -> Option<Self> {
        fit(sorted, &mut workspace.grid, &mut workspace.likelihood)
    }

    /// The quantile of the probability $p$, given as $-\ln(1-p)$.
    fn quantile(self, rank: f64) -> f64 {
        let unit = if self.shape.abs() < f64::EPSILON {
            rank
        } else {
            (self.shape * rank).exp_m1() / self.shape
        };
        self.scale * unit
    }
}

/// The empirical Bayes fit: the posterior mean of $b$ over a grid of its prior's
/// quantiles, under the profile likelihood.
fn fit(
    sorted: &[f64],
    grid: &mut Vec<f64>,
    likelihood: &mut Vec<f64>,
) -> Option<GeneralisedPareto> {
    let n = sorted.len();
    let last = *sorted.last()?;
    let quarter = sorted[((n as f64 / 4.0 + 0.5) as usize).max(1) - 1];
    if n < LEAST_TAIL || !(quarter > 0.0 && last.is_finite()) {
        return None;
    }
    let points = 30 + (n as f64).sqrt() as usize;
    grid.clear();
    grid.extend((1..=points).map(|j| {
        let prior = 1.0 - (points as f64 / (j as f64 - 0.5)).sqrt();
        prior / (3.0 * quarter) + 1.0 / last
    }));
    likelihood.clear();
    likelihood.extend(grid.iter().map(|b| {
        let k = mean_ln_1p(-b, sorted);
        n as f64 * ((-(b / k)).ln() - k - 1.0)
    }));
    let best = largest(likelihood);
    let total = sum_of(likelihood, |l| (l - best).exp());
    let (mut weights, mut b) = (0.0, 0.0);
    for (point, l) in grid.iter().zip(likelihood.iter()) {
        let weight = (l - best).exp() / total;
        if weight >= 10.0 * f64::EPSILON {
            weights += weight;
            b += point * weight;
        }
    }
    let b = b / weights;
    let k = sum_of(sorted, |x| (-b * x).ln_1p()) / n as f64;
    let scale = -k / b;
    let shape = (n as f64 * k + PRIOR_OBSERVATIONS * PRIOR_SHAPE) / (n as f64 + PRIOR_OBSERVATIONS);
    (shape.is_finite() && scale > 0.0).then_some(GeneralisedPareto { shape, scale })
}

/// The mean of $\ln(1 + a x_i)$ of ascending positive numbers.
///
/// Logarithms of products of 128 factors: the factors are exact to 1e-16, which
/// is enough unless all are close to 1, where they are taken one by one.
fn mean_ln_1p(a: f64, sorted: &[f64]) -> f64 {
    let most = sorted.last().map_or(0.0, |x| (a * x).abs());
    let n = sorted.len() as f64;
    if !(0.02..1e15).contains(&most) {
        return sum_of(sorted, |x| (a * x).ln_1p()) / n;
    }
    let mut total = 0.0;
    for block in sorted.chunks(128) {
        let mut p = [1.0; 8];
        let (rows, rest) = block.as_chunks::<8>();
        for row in rows {
            for (p, x) in p.iter_mut().zip(row) {
                *p *= 1.0 + a * x;
            }
        }
        for (p, x) in p.iter_mut().zip(rest) {
            *p *= 1.0 + a * x;
        }
        let all = ((p[0] * p[1]) * (p[2] * p[3])) * ((p[4] * p[5]) * (p[6] * p[7]));
        total += if (1e-280..1e280).contains(&all) { all.ln() } else { sum_of(&p, f64::ln) };
    }
    total / n
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn products_of_factors_have_the_logarithm() {
        let x: Vec<f64> = (0..300).map(|i| 1e-3 * f64::from(i + 1).powi(3)).collect();
        for a in [-1e-5, -3.7e-5, 1e-7, 1e-5, 0.3, 1e6, 1e12, 1e20] {
            let truth = x.iter().map(|x| (a * x).ln_1p()).sum::<f64>() / 300.0;
            let got = mean_ln_1p(a, &x);
            assert!((got - truth).abs() <= 1e-13 * truth.abs(), "{a}: {got} {truth}");
        }
        let ties = [2.0; 130];
        assert!((mean_ln_1p(-0.4999, &ties) - (-0.9998_f64).ln_1p()).abs() < 1e-12);
    }

    /// Exact quantiles of a Pareto density have its shape, up to the prior's pull
    /// and the bias of a finite sample.
    #[test]
    fn the_shape_of_a_ladder_of_quantiles_is_found() {
        let mut w = ParetoWorkspace::new();
        for shape in [-0.4, 0.2, 0.7, 1.3] {
            let truth = GeneralisedPareto { shape, scale: 2.5 };
            let n = 4000;
            let x: Vec<f64> = (0..n)
                .map(|z| truth.quantile(-(-(f64::from(z) + 0.5) / f64::from(n)).ln_1p()))
                .collect();
            let fit = GeneralisedPareto::fit(&x, &mut w).unwrap();
            let pulled = (f64::from(n) * shape + 5.0) / (f64::from(n) + 10.0);
            assert!((fit.shape - pulled).abs() < 0.005, "{shape}: {fit:?}");
            assert!((fit.scale / 2.5 - 1.0).abs() < 0.01, "{shape}: {fit:?}");
        }
        assert_eq!(GeneralisedPareto::fit(&[0.0; 40], &mut w), None);
        assert_eq!(GeneralisedPareto::fit(&[1.0, 2.0, 3.0, 4.0], &mut w), None);
        assert_eq!(GeneralisedPareto::fit(&[], &mut w), None);
    }

    #[test]
    fn a_second_call_allocates_nothing() {
        let x: Vec<f64> = (0..1000).map(|i| 3.0 * (f64::from(i) * 0.7).sin()).collect();
        let mut w = ParetoWorkspace::new();
        let capacities = |w: &ParetoWorkspace| {
            [w.selection.capacity(), w.tail.capacity(), w.exceedances.capacity()]
                .into_iter()
                .chain([w.grid.capacity(), w.likelihood.capacity(), w.ranks.capacity()])
                .collect::<Vec<_>>()
        };
        let mut first = x.clone();
        let khat = smooth_weights(&mut first, 0.8, &mut w);
        let before = capacities(&w);
        let mut second = x;
        assert_eq!(khat.to_bits(), smooth_weights(&mut second, 0.8, &mut w).to_bits());
        assert_eq!(first, second);
        assert_eq!(before, capacities(&w));
    }

    #[test]
    fn ratios_that_are_not_finite_are_no_weights() {
        let mut w = ParetoWorkspace::new();
        for bad in [[f64::NEG_INFINITY; 30], [f64::NAN; 30], [f64::INFINITY; 30]] {
            let mut x = bad;
            assert_eq!(smooth_weights(&mut x, 1.0, &mut w), f64::INFINITY);
            assert!(x.iter().all(|v| v.is_nan()));
        }
        assert_eq!(smooth_weights(&mut [], 1.0, &mut w), f64::INFINITY);
        let mut one = [7.0];
        assert_eq!(smooth_weights(&mut one, 1.0, &mut w), f64::INFINITY);
        assert_eq!(one, [0.0]);
    }
}
