//! Rank-normalised split R-hat.
//!
//! $$\hat R = \sqrt{\frac{B/W + n - 1}{n}},\qquad
//! B = \frac{n}{m-1}\sum_j(\bar z_j-\bar z)^2,\quad W = \frac1m\sum_j s_j^2$$
//!
//! over the $m = 2C$ halves of the chains, each of $n$ draws with mean
//! $\bar z_j$ and variance $s_j^2$, for the rank-normalised draws (bulk) and for
//! the rank-normalised distances from the median (tail). The larger of both is
//! reported; 1 is the ideal and the source recommends to run on above 1.01.
//! The middle draw of a chain of odd length is left out.
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, eqs. 1 to 4 and sec. 4.
//! Validated by `tests/suite/arviz.rs`.

use super::chains::Chains;
use super::moments::{mean, variance};
use super::workspace::Workspace;

/// Rank-normalised split R-hat, the larger of bulk and tail.
///
/// NaN for fewer than two chains or four draws a chain, for NaN among the draws
/// and for draws that are all equal. When only the tail is undefined (draws at
/// two equal distances from the median) the bulk value stands. Chains that each
/// stand still at a value of their own give infinity or an astronomically large
/// number.
pub fn rhat(x: Chains<'_>, workspace: &mut Workspace) -> f64 {
    if x.chains() < 2 || !x.usable() {
        return f64::NAN;
    }
    workspace.load(x);
    workspace.rhat_of_loaded(x)
}

impl Workspace {
    /// R-hat of chains that are loaded; NaN of a single one.
    pub(super) fn rhat_of_loaded(&mut self, x: Chains<'_>) -> f64 {
        if x.chains() < 2 {
            return f64::NAN;
        }
        self.rank_normalise();
        self.rhat_of_ranks()
    }

    /// R-hat from the ranks of [`Workspace::rank_normalise`]; overwrites the
    /// scores by the folded ones.
    pub(super) fn rhat_of_ranks(&mut self) -> f64 {
        let bulk = self.basic_rhat();
        let tail = match self.folding.fold(self.order.entries()) {
            Some(folded) => {
                self.scores.scatter(folded, &mut self.series);
                self.basic_rhat()
            }
            None => f64::NAN,
        };
        // A comparison with NaN is false: an undefined tail leaves the bulk.
        if tail > bulk { tail } else { bulk }
    }

    fn basic_rhat(&mut self) -> f64 {
        self.means.clear();
        self.variances.clear();
        for row in self.series.chunks_exact(self.half) {
            self.means.push(mean(row));
            self.variances.push(variance(row));
        }
        let n = self.half as f64;
        let between = n * variance(&self.means);
        let within = mean(&self.variances);
        ((between / within + n - 1.0) / n).sqrt()
    }
}
