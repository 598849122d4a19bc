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
//! Validated by `beta_quantiles` below and by `tests/arviz.rs`.

use super::chains::Chains;
use super::moments::{mean, sum_of, variance};
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
    let n = x.values().len() as f64;
    let second = sum_of(x.values(), |v| (v - centre) * (v - centre)) / n;
    let fourth = sum_of(x.values(), |v| {
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
    let (a, b) = (size * probability + 1.0, size * (1.0 - probability) + 1.0);
    let sorted = workspace.order.entries();
    let n = sorted.len() as f64;
    let place = |p| beta_quantile(a, b, p) * n - 1.0;
    // `max` and `min` leave a NaN aside, as in the reference.
    let low = place(ONE_SIGMA[0]).max(0.0).floor() as usize;
    let high = place(ONE_SIGMA[1]).min(n - 1.0).ceil() as usize;
    (sorted[high].value - sorted[low].value) / 2.0
}

/// The p-quantile of Beta(a, b), by bisection of the distribution function.
fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match checked_beta_reg(a, b, middle) {
            Ok(below) if below < p => low = middle,
            Ok(below) if below >= p => high = middle,
            _ => return f64::NAN,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_quantiles() {
        // Beta(1, 1) is uniform; Beta(2, 1) has the distribution function x^2.
        assert!((beta_quantile(1.0, 1.0, 0.3) - 0.3).abs() < 1e-15);
        assert!((beta_quantile(2.0, 1.0, 0.3) - 0.3_f64.sqrt()).abs() < 1e-14);
        assert!(beta_quantile(f64::NAN, 1.0, 0.3).is_nan());
    }
}
