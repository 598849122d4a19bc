//! Voxels whose draws are not to be trusted: how many, why, the worst of them by name,
//! and what to do about it.
//!
//! The column `trust` of summary.parquet says which; the reasons are those of
//! [`Evidence`], the rule that made the column. The worst voxel is the one that is the
//! most times beyond a limit.

use super::frame::Voxel;
use super::say;
use microtome_inference::diagnostics::{
    DIVERGENT_SHARE, Doubt, EBFMI_LIMIT, ESS_A_CHAIN, Evidence, RHAT_LIMIT, khat_limit,
};
use microtome_inference::sample::SampleOptions;
use microtome_models::SearchSpec;
use std::collections::BTreeMap;

/// Voxels that are named.
const NAMED: usize = 5;

/// Voxels that are not to be trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubts {
    /// Voxels that are not to be trusted.
    pub(crate) voxels: u64,
    /// Those of them that have no draws.
    pub(crate) without_result: u64,
    /// Voxels by reason; one voxel can have several.
    pub(crate) by_reason: BTreeMap<Doubt, u64>,
    /// The worst of those that have draws, the worst first.
    pub(crate) worst: Vec<Worst>,
    /// The first of those that have none.
    pub(crate) without_draws: Vec<String>,
}

/// One of the worst voxels.
#[derive(Debug, Clone)]
pub(crate) struct Worst {
    pub(crate) label: String,
    pub(crate) status: String,
    pub(crate) evidence: Evidence,
    pub(crate) reasons: Vec<&'static str>,
    /// How many times it is beyond the limit.
    beyond: f64,
}

/// Draws of all chains of a voxel, those that thinning leaves out included.
pub(crate) fn all_draws(search: &SearchSpec) -> usize {
    search.chains * search.draws * search.thin.max(1)
}

/// Proposals of importance sampling a voxel.
pub(crate) fn proposals(search: &SearchSpec) -> usize {
    SampleOptions::of(search).proposals
}

/// What is known of the draws of a voxel.
fn evidence(voxel: &Voxel, search: &SearchSpec) -> Option<Evidence> {
    let sampling = voxel.sampling.as_ref()?;
    let chains = sampling.method == "nuts";
    let measured = |x: f64, is: bool| is.then_some(x);
    // As in the table, a number that could not be computed is the worst of all.
    let worst = |get: &dyn Fn(&super::frame::Estimate) -> f64, pick: fn(f64, f64) -> f64| {
        let keep = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { pick(a, b) };
        voxel.parameters.values().map(get).reduce(keep).unwrap_or(f64::NAN)
    };
    let drawn = match sampling.method.as_str() {
        "nuts" => all_draws(search),
        "laplace" => search.chains * search.draws,
        _ => proposals(search),
    };
    Some(Evidence {
        converged: voxel.status == "converged",
        // Independent draws are worth one chain, and their weights are of the proposals.
        chains: if chains { search.chains } else { 1 },
        draws: drawn,
        rhat: measured(worst(&|e| e.rhat, f64::max), chains && search.chains > 1),
        ess: Some(worst(&|e| e.ess_bulk.min(e.ess_tail), f64::min)),
        ebfmi: measured(sampling.ebfmi, chains),
        divergences: sampling.divergences,
        khat: measured(sampling.khat, !sampling.khat.is_nan()),
    })
}

/// How many times the evidence is beyond the limit of its worst doubt.
fn beyond(e: &Evidence) -> f64 {
    let ratios = [
        e.rhat.map(|r| (r - 1.0) / (RHAT_LIMIT - 1.0)),
        e.ess.map(|s| ESS_A_CHAIN * e.chains as f64 / s),
        e.ebfmi.map(|b| EBFMI_LIMIT / b),
        Some(e.divergences as f64 / (DIVERGENT_SHARE * e.draws as f64)),
        e.khat.map(|k| k / khat_limit(e.draws)),
    ];
    ratios.into_iter().flatten().fold(0.0, f64::max)
}

impl Doubts {
    /// Takes a voxel; one that is trusted changes nothing.
    pub(crate) fn add(&mut self, voxel: &Voxel, search: &SearchSpec) {
        let Some(sampling) = voxel.sampling.as_ref().filter(|s| !s.trust) else { return };
        self.voxels += 1;
        let has_draws = ["converged", "not_mixed"].contains(&voxel.status.as_str());
        let Some(evidence) = evidence(voxel, search).filter(|_| has_draws) else {
            *self.by_reason.entry(Doubt::Status).or_default() += 1;
            self.without_result += 1;
            if self.without_draws.len() < NAMED {
                self.without_draws.push(format!("{} ({})", voxel.label(), voxel.status));
            }
            return;
        };
        let mut reasons: Vec<Doubt> = evidence.doubts().collect();
        // `not_mixed` has its reason beside it, but for a chain that is stuck.
        if reasons.len() > 1 {
            reasons.retain(|d| *d != Doubt::Status);
        }
        for doubt in &reasons {
            *self.by_reason.entry(*doubt).or_default() += 1;
        }
        let beyond = beyond(&evidence);
        let at = self.worst.partition_point(|w| w.beyond >= beyond);
        if at < NAMED {
            let reasons = reasons.iter().map(|d| d.name()).collect();
            let (label, status) = (voxel.label(), format!("{}, {}", voxel.status, sampling.method));
            self.worst.insert(at, Worst { label, status, evidence, reasons, beyond });
            self.worst.truncate(NAMED);
        }
    }

    /// The voxels that have a reason.
    pub(crate) fn of(&self, doubt: Doubt) -> u64 {
        self.by_reason.get(&doubt).copied().unwrap_or(0)
    }

    /// The worst voxels as a table of text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if !self.worst.is_empty() {
            let head = [
                "worst voxels",
                "status",
                "R-hat",
                "ESS",
                "E-BFMI",
                "divergences",
                "k-hat",
                "not to be trusted for",
            ];
            let mut rows = vec![head.map(String::from).to_vec()];
            for w in &self.worst {
                let e = &w.evidence;
                let number = |x: Option<f64>| x.map_or("-".to_string(), say::number);
                let mut row = vec![w.label.clone(), w.status.clone()];
                row.extend([number(e.rhat), number(e.ess), number(e.ebfmi)]);
                row.extend([e.divergences.to_string(), number(e.khat), w.reasons.join(", ")]);
                rows.push(row);
            }
            text.push_str(&say::table(&rows));
        }
        if !self.without_draws.is_empty() {
            text.push_str(&format!("without draws: {}", self.without_draws.join(", ")));
            let more = self.without_result - self.without_draws.len() as u64;
            text.push_str(&if more > 0 { format!(", and {more} more\n") } else { "\n".into() });
        }
        text
    }
}

/// What is wrong and what to do; `share` says how many voxels.
pub(crate) fn advice(doubt: Doubt, share: &str, ess_limit: f64, khat_limit: f64) -> String {
    match doubt {
        Doubt::Status => format!(
            "{share} did not converge; the column status says why, and they must be left out (invalid_signal: look at the data and the mask; divergent: at the ranges and priors of the model)"
        ),
        Doubt::Rhat => format!(
            "{share} have an R-hat above {RHAT_LIMIT}: their chains disagree; sample longer (--tune, --draws), and where that does not help, the data leave more than one answer open (compartments of one kind can swap their names): take a simpler model, fix or link a parameter, or give it a prior"
        ),
        Doubt::Ess => format!(
            "{share} have an effective sample size below {ess_limit} (importance draws: {ESS_A_CHAIN}); draw more (--draws) before using their tails"
        ),
        Doubt::Ebfmi => format!(
            "{share} have an E-BFMI below {EBFMI_LIMIT}: their energies mix badly, so tails may be cut; tune longer (--tune), or give the parameter with the heaviest tail a prior"
        ),
        Doubt::Divergences => format!(
            "{share} have more than 1 divergent draw in 1000: their posterior may lack a corner; look at parameters near a bound, and give them a prior or fix them"
        ),
        Doubt::Khat => format!(
            "{share} have a k-hat above {}: their importance draws miss a part of the posterior; sample them with --method nuts",
            say::number(khat_limit)
        ),
    }
}
