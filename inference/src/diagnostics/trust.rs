//! Whether the draws of a voxel may be trusted: the one rule behind the column
//! `trust` of summary.parquet, the do-not-trust mask, `microtome diagnose` and the
//! report.
//!
//! | doubt | when |
//! |---|---|
//! | status | other than `converged` |
//! | R-hat | the largest of the parameters is above 1.01 (two chains and more) |
//! | effective sample size | the smallest of bulk and tail is below 100 a chain |
//! | E-BFMI | the smallest of the chains is below 0.3 |
//! | divergences | in more than 1 of 1000 draws |
//! | k-hat | above $\min(1 - 1/\log_{10} S,\ 0.7)$ for $S$ importance draws |
//!
//! A number that was not measured (R-hat of one chain, E-BFMI of importance draws,
//! k-hat of chains) is `None` and raises no doubt; one that could not be computed is
//! NaN and does. Trajectories that end at the maximal depth are slow, not wrong, and
//! raise none.
//!
//! Source: Vehtari et al. 2021, doi:10.1214/20-BA1221, sec. 4 (R-hat, effective sample
//! size); Betancourt 2016, arXiv:1604.00695 (E-BFMI); Betancourt 2017,
//! arXiv:1701.02434, sec. 6.2 (divergences; the share is this program's);
//! Vehtari et al. 2024, JMLR 25(72), sec. 3.2.4 (k-hat).
//! Validated by `every_doubt_has_its_limit` below.

use super::pareto::khat_limit;

/// R-hat above this is not mixed.
pub const RHAT_LIMIT: f64 = 1.01;
/// E-BFMI below this says that the energies mix badly.
pub const EBFMI_LIMIT: f64 = 0.3;
/// Effective draws that every chain should be worth.
pub const ESS_A_CHAIN: f64 = 100.0;
/// Share of draws that may diverge.
pub const DIVERGENT_SHARE: f64 = 1e-3;

/// What is known of the draws of one voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Whether the status is `converged`.
    pub converged: bool,
    /// Number of chains.
    pub chains: usize,
    /// Kept draws of all chains.
    pub draws: usize,
    /// The largest R-hat of the parameters.
    pub rhat: Option<f64>,
    /// The smallest bulk or tail effective sample size of the parameters.
    pub ess: Option<f64>,
    /// The smallest E-BFMI of the chains.
    pub ebfmi: Option<f64>,
    /// Divergent draws.
    pub divergences: u64,
    /// Tail index of the importance weights.
    pub khat: Option<f64>,
}

/// A reason not to trust the draws of a voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// The status is not `converged`.
    Status,
    /// The chains disagree.
    Rhat,
    /// Too few effective draws.
    Ess,
    /// The energies mix badly.
    Ebfmi,
    /// Trajectories diverged.
    Divergences,
    /// The importance weights have a heavy tail.
    Khat,
}

impl Doubt {
    /// All of them, in the order of the table above.
    pub const ALL: [Self; 6] =
        [Self::Status, Self::Rhat, Self::Ess, Self::Ebfmi, Self::Divergences, Self::Khat];

    /// What it is called where there is little room.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Rhat => "R-hat",
            Self::Ess => "ESS",
            Self::Ebfmi => "E-BFMI",
            Self::Divergences => "divergences",
            Self::Khat => "k-hat",
        }
    }
}

impl Evidence {
    /// Whether it raises a doubt.
    pub fn raises(&self, doubt: Doubt) -> bool {
        // NaN is on neither side of a limit and raises the doubt.
        let above = |x: Option<f64>, limit: f64| x.is_some_and(|x| x.is_nan() || x > limit);
        let below = |x: Option<f64>, limit: f64| x.is_some_and(|x| x.is_nan() || x < limit);
        match doubt {
            Doubt::Status => !self.converged,
            Doubt::Rhat => above(self.rhat, RHAT_LIMIT),
            Doubt::Ess => below(self.ess, ESS_A_CHAIN * self.chains as f64),
            Doubt::Ebfmi => below(self.ebfmi, EBFMI_LIMIT),
            Doubt::Divergences => self.divergences as f64 > DIVERGENT_SHARE * self.draws as f64,
            Doubt::Khat => above(self.khat, khat_limit(self.draws)),
        }
    }

    /// All doubts that it raises.
    pub fn doubts(&self) -> impl Iterator<Item = Doubt> {
        Doubt::ALL.into_iter().filter(|d| self.raises(*d))
    }

    /// Whether the draws may be trusted.
    pub fn trusted(&self) -> bool {
        self.doubts().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_doubt_has_its_limit() {
        let good = Evidence {
            converged: true,
            chains: 4,
            draws: 4000,
            rhat: Some(1.01),
            ess: Some(400.0),
            ebfmi: Some(0.3),
            divergences: 4,
            khat: None,
        };
        assert!(good.trusted());
        let importance = Evidence { rhat: None, ebfmi: None, khat: Some(0.7), ..good };
        assert!(importance.trusted());
        let cases = [
            (Evidence { converged: false, ..good }, Doubt::Status),
            (Evidence { rhat: Some(1.0101), ..good }, Doubt::Rhat),
            (Evidence { rhat: Some(f64::NAN), ..good }, Doubt::Rhat),
            (Evidence { ess: Some(399.9), ..good }, Doubt::Ess),
            (Evidence { ess: Some(f64::NAN), ..good }, Doubt::Ess),
            (Evidence { ebfmi: Some(0.29), ..good }, Doubt::Ebfmi),
            (Evidence { ebfmi: Some(f64::NAN), ..good }, Doubt::Ebfmi),
            (Evidence { divergences: 5, ..good }, Doubt::Divergences),
            (Evidence { khat: Some(0.71), ..importance }, Doubt::Khat),
            // A hundred draws can say less about their tail.
            (
                Evidence { khat: Some(0.6), chains: 1, draws: 100, divergences: 0, ..importance },
                Doubt::Khat,
            ),
        ];
        for (evidence, doubt) in cases {
            assert_eq!(evidence.doubts().collect::<Vec<_>>(), [doubt], "{evidence:?}");
            assert!(!evidence.trusted());
        }
    }
}
