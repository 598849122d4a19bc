//! Buffers of the diagnostics, reused from one scalar to the next.
//!
//! After the first call of a given number of chains and draws no further call
//! allocates; results do not depend on what was computed before. Validated by
//! `a_second_call_allocates_nothing` in `summary.rs`.

use super::autocovariance::{IndicatorSeries, RealSeries};
use super::chains::Chains;
use super::order::Order;
use super::rank::{Folding, NormalScores};

/// Buffers of the diagnostics. Keep one a thread.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// Draws of a half chain.
    pub(super) half: usize,
    /// Draws of all half chains.
    pub(super) size: usize,
    /// The draws, `[half chain, draw]`: first halves of all chains, then second
    /// halves; behind them the middle draws of chains of odd length.
    pub(super) split: Vec<f64>,
    /// The sorted draws.
    pub(super) order: Order,
    /// Normal scores by rank.
    pub(super) scores: NormalScores,
    /// The order of the distances from the median.
    pub(super) folding: Folding,
    /// A series derived from the draws, `[half chain, draw]`.
    pub(super) series: Vec<f64>,
    /// Means of the half chains.
    pub(super) means: Vec<f64>,
    /// Variances of the half chains.
    pub(super) variances: Vec<f64>,
    /// Autocovariances of a real series.
    pub(super) real: RealSeries,
    /// Autocovariances of an indicator series.
    pub(super) indicator: IndicatorSeries,
    /// Autocorrelations by lag.
    pub(super) rho: Vec<f64>,
}

impl Workspace {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits the chains. The caller has checked that there are four draws.
    pub(super) fn split(&mut self, x: Chains<'_>) {
        let draws = x.draws();
        self.half = draws / 2;
        self.size = 2 * self.half * x.chains();
        self.split.clear();
        for chain in x.values().chunks_exact(draws) {
            self.split.extend_from_slice(&chain[..self.half]);
        }
        for chain in x.values().chunks_exact(draws) {
            self.split.extend_from_slice(&chain[draws - self.half..]);
        }
        if !draws.is_multiple_of(2) {
            self.split.extend(x.values().chunks_exact(draws).map(|chain| chain[self.half]));
        }
    }

    /// Splits the chains and sorts all draws.
    pub(super) fn load(&mut self, x: Chains<'_>) {
        self.split(x);
        self.order.sort(&self.split);
    }

    /// [`Workspace::load`], or the sorted draws alone where they are too few to split; whether
    /// they are split.
    pub(super) fn load_or_sort(&mut self, x: Chains<'_>) -> bool {
        let usable = x.chains() >= 1 && x.draws() >= 4;
        if usable {
            self.load(x);
        } else {
            self.order.sort(x.values());
        }
        usable
    }

    /// Fills the series with the rank-normalised draws. Afterwards the order
    /// holds the draws of the half chains only.
    pub(super) fn rank_normalise(&mut self) {
        self.order.keep_positions_below(self.size);
        self.scores.prepare(self.size);
        self.series.resize(self.size, 0.0);
        self.scores.scatter(self.order.entries(), &mut self.series);
    }

    /// Capacities of all buffers.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        let mut c = vec![
            self.split.capacity(),
            self.series.capacity(),
            self.means.capacity(),
            self.variances.capacity(),
            self.rho.capacity(),
        ];
        c.extend(self.folding.capacities());
        c.extend(self.order.capacities());
        c.extend(self.real.capacities());
        c.extend(self.indicator.capacities());
        c
    }
}
