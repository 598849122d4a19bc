//! All columns of a posterior summary from one sort of the draws.
//!
//! $$\bar x,\ s,\ Q(0.05),\ Q(0.5),\ Q(0.95),\ \hat R,\ \mathrm{ESS}_\mathrm{bulk},\
//! \mathrm{ESS}_\mathrm{tail},\ \mathrm{se}(\bar x),\ \mathrm{se}(s),\ \mathrm{se}(Q(0.05)),\
//! \mathrm{se}(Q(0.95))$$
//!
//! in the unit of the draws where they have one; each is defined in the file of
//! its name. For draws of odd length the folded ranks use the median of the half
//! chains, as `az.rhat` does (`az.summary` takes the median of all draws there).
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221.
//! Validated by `tests/suite/arviz.rs` and by the tests below; timed by
//! `benches/diagnostics.rs`.

use super::chains::Chains;
use super::mcse;
use super::moments::{mean, variance};
use super::quantile::quantile;
use super::workspace::Workspace;

/// Location, spread and convergence of one scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean of all draws.
    pub mean: f64,
    /// Standard deviation of all draws, divisor S - 1.
    pub sd: f64,
    /// 5 % quantile.
    pub q05: f64,
    /// Median.
    pub q50: f64,
    /// 95 % quantile.
    pub q95: f64,
    /// Rank-normalised split R-hat.
    pub rhat: f64,
    /// Effective sample size of the bulk.
    pub ess_bulk: f64,
    /// Effective sample size of the tails.
    pub ess_tail: f64,
    /// Monte Carlo standard error of the mean.
    pub mcse_mean: f64,
    /// Monte Carlo standard error of the standard deviation.
    pub mcse_sd: f64,
    /// Monte Carlo standard error of the 5 % quantile.
    pub mcse_q05: f64,
    /// Monte Carlo standard error of the 95 % quantile.
    pub mcse_q95: f64,
}

impl Summary {
    /// Nothing is known.
    pub(crate) const MISSING: Self = Self {
        mean: f64::NAN,
        sd: f64::NAN,
        q05: f64::NAN,
        q50: f64::NAN,
        q95: f64::NAN,
        rhat: f64::NAN,
        ess_bulk: f64::NAN,
        ess_tail: f64::NAN,
        mcse_mean: f64::NAN,
        mcse_sd: f64::NAN,
        mcse_q05: f64::NAN,
        mcse_q95: f64::NAN,
    };
}

/// Summarises one scalar.
///
/// NaN among the draws makes every column NaN. Fewer than four draws a chain
/// leave mean, sd and quantiles; a single chain has no R-hat.
pub fn summarize(x: Chains<'_>, workspace: &mut Workspace) -> Summary {
    columns(x, workspace, true)
}

/// [`summarize`] without Monte Carlo standard errors, which are NaN; they take a quarter of its time.
pub(crate) fn summarize_without_errors(x: Chains<'_>, workspace: &mut Workspace) -> Summary {
    columns(x, workspace, false)
}

/// The sizes of draws that are independent by their making, as those of importance weights
/// are: nothing is to be found out about chains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Independent {
    /// The size that is reported.
    pub(crate) effective: f64,
    /// The size of an independent sample with the same standard errors.
    precision: f64,
    count: usize,
    /// Ranks about the 5 % and the 95 % quantile.
    ranks: [[usize; 2]; 2],
}

impl Independent {
    /// The sizes of `count` draws.
    pub(crate) fn new(effective: f64, precision: f64, count: usize) -> Self {
        let ranks = [0.05, 0.95].map(|p| mcse::quantile_ranks(p, precision, count));
        Self { effective: effective.min(count as f64), precision, count, ranks }
    }
}

/// Summarises a scalar of independent draws, as many as `of` is of. R-hat is that of the rows
/// in the table as if they were chains: a number about chance.
pub(crate) fn summarize_independent(
    x: Chains<'_>,
    of: &Independent,
    workspace: &mut Workspace,
) -> Summary {
    let values = x.values();
    if values.len() != of.count || x.has_nan() {
        return Summary::MISSING;
    }
    let usable = workspace.load_or_sort(x);
    let sorted = workspace.order.entries();
    let [q05, q50, q95] = [0.05, 0.5, 0.95].map(|p| quantile(sorted, p));
    let [mcse_q05, mcse_q95] = of.ranks.map(|ranks| mcse::between(sorted, ranks));
    let (mean, sd) = (mean(values), variance(values).sqrt());
    Summary {
        mean,
        sd,
        q05,
        q50,
        q95,
        rhat: if usable { workspace.rhat_of_loaded(x) } else { f64::NAN },
        ess_bulk: of.effective,
        ess_tail: of.effective,
        mcse_mean: sd / of.precision.sqrt(),
        mcse_sd: mcse::of_sd(values, mean, of.precision),
        mcse_q05,
        mcse_q95,
    }
}

fn columns(x: Chains<'_>, workspace: &mut Workspace, errors: bool) -> Summary {
    let mut s = Summary::MISSING;
    if x.has_nan() {
        return s;
    }
    let usable = workspace.load_or_sort(x);
    let sorted = workspace.order.entries();
    [s.q05, s.q50, s.q95] = [0.05, 0.5, 0.95].map(|p| quantile(sorted, p));
    s.mean = mean(x.values());
    s.sd = variance(x.values()).sqrt();
    if usable {
        let [low, high] = workspace.ess_tails();
        s.ess_tail = if high < low { high } else { low };
        if errors {
            let sorted = workspace.order.entries();
            s.mcse_q05 = mcse::of_quantile(sorted, 0.05, low);
            s.mcse_q95 = mcse::of_quantile(sorted, 0.95, high);
            s.mcse_mean = s.sd / workspace.ess_mean().sqrt();
            s.mcse_sd = mcse::of_sd(x.values(), s.mean, workspace.ess_of_squares(s.mean));
        }
        workspace.rank_normalise();
        s.ess_bulk = workspace.ess_of_series();
        if x.chains() >= 2 {
            s.rhat = workspace.rhat_of_ranks();
        }
    }
    s
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A deterministic walk of `n` draws.
    fn walk(n: usize, memory: f64) -> Vec<f64> {
        let (mut state, mut x) = (1_u64, 0.0);
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                x = memory * x + (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
                x
            })
            .collect()
    }

    /// The columns as bits, so that NaN equals NaN.
    fn bits(s: &Summary) -> [u64; 12] {
        let moments = [s.mean, s.sd, s.q05, s.q50, s.q95, s.rhat, s.ess_bulk, s.ess_tail];
        let errors = [s.mcse_mean, s.mcse_sd, s.mcse_q05, s.mcse_q95];
        let mut all = moments.iter().chain(&errors).map(|x| x.to_bits());
        std::array::from_fn(|_| all.next().unwrap())
    }

    #[test]
    fn history_of_the_workspace_does_not_matter() {
        let mut used = Workspace::new();
        for (chains, draws, memory) in
            [(4, 500, 0.9), (2, 7, 0.0), (4, 101, 0.5), (1, 40, 0.1), (4, 3, 0.0), (4, 500, 0.1)]
        {
            let x = walk(chains * draws, memory);
            let view = Chains::new(&x, chains, draws).unwrap();
            let fresh = summarize(view, &mut Workspace::new());
            assert_eq!(bits(&summarize(view, &mut used)), bits(&fresh));
        }
    }

    #[test]
    fn a_second_call_allocates_nothing() {
        let mut w = Workspace::new();
        let slow = walk(2000, 0.999);
        summarize(Chains::new(&slow, 4, 500).unwrap(), &mut w);
        let before = format!("{:?}", w.capacities());
        for memory in [0.99, 0.5, 0.0, -0.5] {
            let x = walk(2000, memory);
            summarize(Chains::new(&x, 4, 500).unwrap(), &mut w);
            assert_eq!(format!("{:?}", w.capacities()), before);
        }
    }

    /// Independent draws by their making and by their series: moments and quantiles are the
    /// same, standard errors those of the sizes told.
    #[test]
    fn independent_draws_have_the_errors_of_their_number() {
        let x = walk(4 * 500, 0.0);
        let mut w = Workspace::new();
        let by_series = summarize(Chains::new(&x, 4, 500).unwrap(), &mut w);
        let chains = Chains::new(&x, 4, 500).unwrap();
        let told = summarize_independent(chains, &Independent::new(1500.0, 2000.0, 2000), &mut w);
        let of = |s: &Summary| [s.mean, s.sd, s.q05, s.q50, s.q95];
        assert_eq!(of(&told), of(&by_series));
        assert_eq!((told.ess_bulk, told.ess_tail), (1500.0, 1500.0));
        assert_eq!(told.rhat.to_bits(), by_series.rhat.to_bits());
        let errors = |s: &Summary| [s.mcse_mean, s.mcse_sd, s.mcse_q05, s.mcse_q95];
        for (a, b) in errors(&told).iter().zip(errors(&by_series)) {
            assert!((a / b - 1.0).abs() < 0.3, "{a} {b}");
        }
        let few = summarize_independent(chains, &Independent::new(1500.0, 500.0, 2000), &mut w);
        assert!((few.mcse_mean / told.mcse_mean - 2.0).abs() < 1e-12);
        let other = Independent::new(1.0, 1.0, 7);
        assert!(summarize_independent(chains, &other, &mut w).mean.is_nan());
    }

    #[test]
    fn functions_and_summary_agree() {
        use crate::diagnostics::{ess_bulk, ess_tail, mcse_mean, mcse_quantile, mcse_sd, rhat};
        let x = walk(4 * 101, 0.7);
        let (c, mut w) = (Chains::new(&x, 4, 101).unwrap(), Workspace::new());
        let s = summarize(c, &mut w);
        assert_eq!(s.rhat, rhat(c, &mut w));
        assert_eq!(s.ess_bulk, ess_bulk(c, &mut w));
        assert_eq!(s.ess_tail, ess_tail(c, &mut w));
        assert!((s.mcse_mean / mcse_mean(c, &mut w) - 1.0).abs() < 1e-15);
        assert_eq!(s.mcse_sd, mcse_sd(c, &mut w));
        assert_eq!(s.mcse_q05, mcse_quantile(c, 0.05, &mut w));
        assert_eq!(s.mcse_q95, mcse_quantile(c, 0.95, &mut w));
        let nan = f64::NAN;
        let plain = Summary { mcse_mean: nan, mcse_sd: nan, mcse_q05: nan, mcse_q95: nan, ..s };
        assert_eq!(bits(&summarize_without_errors(c, &mut w)), bits(&plain));
    }
}
