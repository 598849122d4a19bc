//! Monte Carlo standard errors: how far an estimate is from its value for
//! infinitely many draws.
//!
//! $$\mathrm{se}(\bar x) = \frac{s}{\sqrt{\mathrm{ESS}_{\bar x}}},\qquad
//! \mathrm{se}(s) = \sqrt{\frac{\overline{y^2} - \bar y^2}{4\,\bar y\,\mathrm{ESS}_{\bar y}}},\quad y = (x-\bar x)^2$$
//!
//! and, for the p-quantile with effective size $N$, half the distance between the
//! order statistics at $S\,B^{-1}(0.1587)$ and $S\,B^{-1}(0.8413)$, with $B$ the
//! distribution function of Beta$(Np+1, N(1-p)+1)$. All in the unit of the draws.
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, sec. 4.4; Kenney & Keeping
//! 1951, *Mathematics of Statistics* 2, p. 141 (standard deviation).
//! Validated by `beta_quantiles` and `ranks_are_those_of_the_quantile` below and by `tests/suite/arviz.rs`.

use super::chains::Chains;
use super::moments::{mean, sum_of, variance};
use super::order::Entry;
use super::workspace::Workspace;
use statrs::function::beta::checked_beta_reg;

/// Probabilities of one standard deviation below and above, as in ArviZ.
const ONE_SIGMA: [f64; 2] = [0.158_655_3, 0.841_344_7];

/// Standard error of the mean; NaN as for [`ess_mean`](super::ess_mean).
pub fn mcse_mean(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.split(x);
    variance(x.values()).sqrt() / workspace.ess_mean().sqrt()
}

/// Standard error of the standard deviation; NaN as for
/// [`ess_sd`](super::ess_sd), and for constant draws.
pub fn mcse_sd(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.split(x);
    let centre = mean(x.values());
    let size = workspace.ess_of_squares(centre);
    of_sd(x.values(), centre, size)
}

/// Standard error of the standard deviation of draws about `centre`, whose squares are
/// worth `size` draws.
pub(super) fn of_sd(values: &[f64], centre: f64, size: f64) -> f64 {
    let n = values.len() as f64;
    let second = sum_of(values, |v| (v - centre) * (v - centre)) / n;
    let fourth = sum_of(values, |v| {
        let square = (v - centre) * (v - centre);
        square * square
    }) / n;
    ((fourth - second * second) / size / second / 4.0).sqrt()
}

/// Standard error of the `probability`-quantile; NaN as for
/// [`ess_quantile`](super::ess_quantile).
pub fn mcse_quantile(x: Chains<'_>, probability: f64, workspace: &mut Workspace) -> f64 {
    if !x.usable() || !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    workspace.load(x);
    let size = workspace.ess_quantile(probability);
    of_quantile(workspace.order.entries(), probability, size)
}

/// Standard error of the p-quantile of sorted draws that are worth `size` for it.
pub(super) fn of_quantile(sorted: &[Entry], p: f64, size: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    between(sorted, quantile_ranks(p, size, sorted.len()))
}

/// Half the distance between two order statistics.
pub(super) fn between(sorted: &[Entry], [low, high]: [usize; 2]) -> f64 {
    (sorted[high].value - sorted[low].value) / 2.0
}

/// The ranks one standard error below and above the p-quantile of `count` sorted draws, one
/// at least, that are worth `size`.
pub(super) fn quantile_ranks(p: f64, size: f64, count: usize) -> [usize; 2] {
    let (a, b) = (size * p + 1.0, size * (1.0 - p) + 1.0);
    let rank = |p| ranks(a, b, p, count);
    // A size that is NaN gives the whole range, as in the reference.
    let low = rank(ONE_SIGMA[0]).map_or(0, |(floor, _)| floor);
    let high = rank(ONE_SIGMA[1]).map_or(count.saturating_sub(1), |(_, ceil)| ceil);
    [low, high]
}

/// With $q$ the p-quantile of Beta(a, b): $\lfloor qn - 1\rfloor$ and $\lceil qn - 1\rceil$,
/// kept within the ranks 0 to n - 1. `None` when Beta(a, b) is no distribution.
///
/// $q < x$ where the distribution function at $x$ is above p, so it is enough to look at
/// the ranks, beginning about the normal approximation.
fn ranks(a: f64, b: f64, p: f64, n: usize) -> Option<(usize, usize)> {
    let last = n.checked_sub(1)?;
    // The distribution function of Beta at (k + 1) / n.
    let at = |k: usize| checked_beta_reg(a, b, (k + 1) as f64 / n as f64).ok();
    let (mean, total) = (a / (a + b), a + b);
    let sd = (mean * (1.0 - mean) / (total + 1.0)).sqrt();
    let guess = (mean + sd * (p - 0.5).signum()) * n as f64 - 1.0;
    if !guess.is_finite() {
        return None;
    }
    // The smallest rank whose distribution function is not below p lies in (low, high].
    let mut high = (guess.max(0.0) as usize).min(last);
    let mut step = 1;
    let mut low;
    if at(high)? < p {
        loop {
            low = high;
            if low == last {
                return Some((last, last));
            }
            high = (low + step).min(last);
            step *= 2;
            if at(high)? >= p {
                break;
            }
        }
    } else {
        loop {
            if high == 0 {
                return Some((0, 0));
            }
            low = high.saturating_sub(step);
            step *= 2;
            if at(low)? < p {
                break;
            }
            high = low;
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if at(middle)? < p { low = middle } else { high = middle }
    }
    Some((if at(high)? == p { high } else { low }, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_quantiles() {
        // Beta(1, 1) is uniform; Beta(2, 1) has the distribution function x^2.
        assert_eq!(ranks(1.0, 1.0, 0.2999, 1000), Some((298, 299)));
        assert_eq!(ranks(1.0, 1.0, 0.3001, 1000), Some((299, 300)));
        let q = 0.3_f64.sqrt() * 1000.0 - 1.0;
        assert_eq!(ranks(2.0, 1.0, 0.3, 1000), Some((q.floor() as usize, q.ceil() as usize)));
        // Beyond the ends.
        assert_eq!(ranks(1.0, 1.0, 0.01, 10), Some((0, 0)));
        assert_eq!(ranks(f64::NAN, 1.0, 0.3, 1000), None);
    }

    /// Every rank from far guesses: the quantiles of x^a by hand.
    #[test]
    fn ranks_are_those_of_the_quantile() {
        for n in [1, 2, 7, 400] {
            for a in [1.0, 3.0, 40.0, 2500.0] {
                for p in [0.051_2, 0.158_655_3, 0.841_344_7, 0.950_3] {
                    let place = f64::powf(p, 1.0 / a) * n as f64 - 1.0;
                    let clamp = |x: f64| x.clamp(0.0, (n - 1) as f64) as usize;
                    let wanted = (clamp(place.floor()), clamp(place.ceil()));
                    assert_eq!(ranks(a, 1.0, p, n), Some(wanted), "{n} {a} {p}");
                }
            }
        }
    }
}
