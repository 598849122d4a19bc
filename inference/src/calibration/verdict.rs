//! Calibrated or not: a test of every quantity, Holm over all, and what the ranks say.
//!
//! | sentence | of the ranks |
//! |---|---|
//! | too high, too low | mean more than three standard errors from $L/2$ |
//! | too narrow, too wide | mean of $(r - L/2)^2$ more than three standard errors from that of uniform ranks |
//!
//! Validated by `sentences_name_the_bend` below and `tests/suite/calibration.rs`.

use super::{Quantities, RankEcdf, Simulation, holm};
use std::collections::BTreeMap;

/// The test of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct RankTest {
    /// The quantity.
    pub name: String,
    /// p value of its ranks under uniformity.
    pub p: f64,
    /// The same with Holm over all quantities.
    pub adjusted: f64,
    /// What bends its ranks, in words; `uniform` where nothing does.
    pub shape: &'static str,
}

/// How often the truth is in an interval that holds 90 % of the posterior.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// The parameter; for an axis, the axial cap about its mean.
    pub name: String,
    /// Share of the simulations.
    pub coverage: f64,
}

/// The outcome of a calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationReport {
    /// Number of simulations.
    pub simulations: usize,
    /// One test a quantity.
    pub tests: Vec<RankTest>,
    /// Coverage of the intervals.
    pub intervals: Vec<Interval>,
    /// Simulations by how the sampling ended.
    pub by_status: BTreeMap<String, usize>,
    /// Simulations without draws; they have rank 0.
    pub without_draws: usize,
    /// Simulations that were sampled a second time.
    pub again: usize,
    /// Simulations with divergent trajectories.
    pub divergent: usize,
    /// Simulations with fewer effective draws than are ranked.
    pub few_effective: usize,
    /// Smallest adjusted p value.
    pub smallest: f64,
    /// Whether no quantity fails at the level.
    pub calibrated: bool,
}

/// Judges simulations at a family-wise level; each rank is among `draws` draws.
pub fn judge(
    quantities: &Quantities,
    intervals: &[String],
    simulations: &[Simulation],
    draws: usize,
    level: f64,
) -> CalibrationReport {
    let n = simulations.len();
    let ecdf = RankEcdf::new(n, draws);
    let ranks = |k: usize| simulations.iter().map(|s| s.ranks[k]).collect::<Vec<u32>>();
    let count = |is: &dyn Fn(&Simulation) -> bool| simulations.iter().filter(|s| is(s)).count();
    let p: Vec<f64> = (0..quantities.names().len()).map(|k| ecdf.p_value(&ranks(k))).collect();
    let adjusted = holm(&p);
    let smallest = adjusted.iter().copied().fold(1.0, f64::min);
    let mut by_status = BTreeMap::new();
    for s in simulations {
        *by_status.entry(s.status.clone()).or_default() += 1;
    }
    CalibrationReport {
        simulations: n,
        tests: quantities
            .names()
            .iter()
            .enumerate()
            .map(|(k, name)| RankTest {
                name: name.clone(),
                p: p[k],
                adjusted: adjusted[k],
                // Chance bends ranks, too: only what fails has a shape.
                shape: if adjusted[k] > level { "uniform" } else { shape(&ranks(k), draws) },
            })
            .collect(),
        intervals: intervals
            .iter()
            .enumerate()
            .map(|(k, name)| Interval {
                name: name.clone(),
                coverage: count(&|s| s.covered[k]) as f64 / n as f64,
            })
            .collect(),
        by_status,
        without_draws: count(&|s| !s.has_draws),
        again: count(&|s| s.again),
        divergent: count(&|s| s.divergences > 0),
        few_effective: count(&|s| s.has_draws && (s.ess.is_nan() || s.ess < draws as f64)),
        smallest,
        calibrated: smallest > level,
    }
}

/// What bends ranks: their mean and their spread against those of uniform ones.
fn shape(ranks: &[u32], draws: usize) -> &'static str {
    let (n, middle) = (ranks.len() as f64, draws as f64 / 2.0);
    let bins = draws as f64 + 1.0;
    // Moments of a uniform number on K equally spaced points.
    let variance = (bins * bins - 1.0) / 12.0;
    let fourth = (bins * bins - 1.0) * (3.0 * bins * bins - 7.0) / 240.0;
    let mean = ranks.iter().map(|r| f64::from(*r) - middle).sum::<f64>() / n;
    let square = ranks.iter().map(|r| (f64::from(*r) - middle).powi(2)).sum::<f64>() / n;
    let shift = mean / (variance / n).sqrt();
    let spread = (square - variance) / ((fourth - variance * variance) / n).sqrt();
    match (shift, spread) {
        (a, b) if a.abs() <= 3.0 && b.abs() <= 3.0 => "uniform",
        (a, b) if a.abs() >= b.abs() => {
            if a > 0.0 {
                "posteriors too low"
            } else {
                "posteriors too high"
            }
        }
        (_, b) => {
            if b > 0.0 {
                "posteriors too narrow"
            } else {
                "posteriors too wide"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_the_bend() {
        let even: Vec<u32> = (0..1000).map(|i| i % 100).collect();
        let of =
            |f: &dyn Fn(u32) -> u32| shape(&even.iter().map(|r| f(*r)).collect::<Vec<_>>(), 99);
        assert_eq!(of(&|r| r), "uniform");
        assert_eq!(of(&|r| (r + 15).min(99)), "posteriors too low");
        assert_eq!(of(&|r| r.saturating_sub(15)), "posteriors too high");
        assert_eq!(of(&|r| 25 + r / 2), "posteriors too wide");
        let ends = |r: u32| {
            if r < 30 {
                0
            } else if r > 69 {
                99
            } else {
                r
            }
        };
        assert_eq!(of(&ends), "posteriors too narrow");
    }
}
