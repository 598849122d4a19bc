//! Effective sample sizes by Geyer's initial monotone sequence.
//!
//! $$\mathrm{ESS} = \frac{S}{\hat\tau},\qquad
//! \hat\tau = -1 + 2\sum_{t\le T}\hat\rho_t + \hat\rho_{T+1},\qquad
//! \hat\rho_t = 1 - \frac{W - \gamma_t}{\widehat{\mathrm{var}}^+}$$
//!
//! with $S$ draws in all half chains, $\gamma_t$ their mean autocovariance at lag
//! $t$, $W = \gamma_0 n/(n-1)$ and $\widehat{\mathrm{var}}^+ = \gamma_0$ plus the
//! variance of their means. Pairs $\hat\rho_{2k}+\hat\rho_{2k+1}$ are added while
//! they are positive and made monotone; the last even term counts once when it is
//! positive; $\hat\tau \ge 1/\log_{10}S$. The truncation follows ArviZ 0.23 term
//! by term, including that a first pair which is not positive ends the sequence
//! before it starts ($\hat\tau$ at its lower bound).
//!
//! | size | series |
//! |---|---|
//! | bulk | rank-normalised draws |
//! | tail | the smaller of $x\le Q(0.05)$ and $x\le Q(0.95)$ |
//! | mean, sd | $x$ and $(x-\bar x)^2$ |
//! | quantile | $x\le Q(p)$ |
//!
//! All are NaN for fewer than four draws a chain and for NaN among the draws. A
//! series whose range is below 1e-15 has the size $S$.
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, eqs. 10 to 13 and
//! sec. 4.3; Geyer 1992, doi:10.1214/ss/1177011137, sec. 3.3.
//! Validated by `tests/suite/arviz.rs`.

use super::autocovariance::{Autocovariance, RealSeries};
use super::chains::Chains;
use super::moments::{extremes, mean, sum_of, variance};
use super::quantile::threshold;
use super::workspace::Workspace;

/// Ranges below this count as constant (`numpy.finfo(float).resolution`).
const RESOLUTION: f64 = 1e-15;

/// Effective sample size of the rank-normalised draws: for the centre of the
/// distribution.
pub fn ess_bulk(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.load(x);
    workspace.rank_normalise();
    workspace.ess_of_series()
}

/// Effective sample size of the tails: the smaller of those of the 5 % and the
/// 95 % quantile.
pub fn ess_tail(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.load(x);
    workspace.ess_tail()
}

/// Effective sample size of the mean.
pub fn ess_mean(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.split(x);
    workspace.ess_mean()
}

/// Effective sample size of the standard deviation.
pub fn ess_sd(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.split(x);
    workspace.ess_of_squares(mean(x.values()))
}

/// Effective sample size of the `probability`-quantile; NaN outside [0, 1].
pub fn ess_quantile(x: Chains<'_>, probability: f64, workspace: &mut Workspace) -> f64 {
    if !x.usable() || !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    workspace.load(x);
    workspace.ess_quantile(probability)
}

/// Effective sample size of the share of the draws that are not above a threshold.
pub(crate) fn ess_below(x: Chains<'_>, threshold: f64, workspace: &mut Workspace) -> f64 {
    if !x.usable() {
        return f64::NAN;
    }
    workspace.split(x);
    workspace.ess_of_indicator(threshold)
}

impl Workspace {
    pub(super) fn ess_mean(&mut self) -> f64 {
        real(&self.split[..self.size], self.half, &mut self.real, &mut self.rho)
    }

    /// Of the series that was filled last.
    pub(super) fn ess_of_series(&mut self) -> f64 {
        real(&self.series, self.half, &mut self.real, &mut self.rho)
    }

    /// Of the squared distances from `centre`; fills the series with them.
    pub(super) fn ess_of_squares(&mut self, centre: f64) -> f64 {
        self.series.clear();
        self.series.extend(self.split[..self.size].iter().map(|v| (v - centre) * (v - centre)));
        self.ess_of_series()
    }

    pub(super) fn ess_quantile(&mut self, probability: f64) -> f64 {
        let at = threshold(self.order.entries(), probability);
        self.ess_of_indicator(at)
    }

    fn ess_of_indicator(&mut self, at: f64) -> f64 {
        self.indicator.load(&self.split[..self.size], self.half, at);
        if self.indicator.is_constant() {
            return self.size as f64;
        }
        effective_size(&mut self.indicator, &mut self.rho)
    }

    pub(super) fn ess_tail(&mut self) -> f64 {
        let [low, high] = self.ess_tails();
        if high < low { high } else { low }
    }

    /// Of the 5 % and the 95 % quantile.
    pub(super) fn ess_tails(&mut self) -> [f64; 2] {
        [self.ess_quantile(0.05), self.ess_quantile(0.95)]
    }
}

fn real(series: &[f64], half: usize, real: &mut RealSeries, rho: &mut Vec<f64>) -> f64 {
    let (low, high) = extremes(series);
    if high - low < RESOLUTION {
        return series.len() as f64;
    }
    real.load(series, half);
    effective_size(real, rho)
}

/// Geyer's sequence over a loaded series of at least two draws a row.
fn effective_size(series: &mut impl Autocovariance, rho: &mut Vec<f64>) -> f64 {
    let draws = series.draws();
    let n = draws as f64;
    let within = series.at_zero() * n / (n - 1.0);
    let total = within * (n - 1.0) / n + variance(series.means());
    let size = (draws * series.means().len()) as f64;

    let mut even = 1.0;
    let mut odd = 1.0 - (within - series.next_lag()) / total;
    rho.clear();
    rho.reserve(draws);
    rho.extend([even, odd]);
    // The initial positive sequence; `rho` has t + 1 terms.
    let mut t = 1;
    while t + 3 < draws && even + odd > 0.0 {
        even = 1.0 - (within - series.next_lag()) / total;
        odd = 1.0 - (within - series.next_lag()) / total;
        let pair = if even + odd >= 0.0 { [even, odd] } else { [0.0, 0.0] };
        rho.extend(pair);
        t += 2;
    }
    // Terms before `end` count twice, the one at `end` once.
    let end = t - 1;
    if even > 0.0 {
        rho[end] = even;
    }
    // The initial monotone sequence.
    let mut t = 1;
    while t + 3 <= end {
        let before = rho[t - 1] + rho[t];
        if rho[t + 1] + rho[t + 2] > before {
            rho[t + 1] = before / 2.0;
            rho[t + 2] = rho[t + 1];
        }
        t += 2;
    }
    if rho.iter().any(|r| r.is_nan()) {
        return f64::NAN;
    }
    let tau = -1.0 + 2.0 * sum_of(&rho[..end], |r| r) + rho[end];
    size / tau.max(1.0 / size.log10())
}
