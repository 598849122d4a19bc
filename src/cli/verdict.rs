//! May the reader use these numbers? The findings behind `diagnose` and `report`.
//!
//! A voxel of a posterior is judged by the rule of `microtome_inference::diagnostics::Evidence`
//! (column `trust`), a voxel of a fit by its status. Results can be used when no more
//! voxels than `--max-failed` of the run (5 %) have no result and no more than 5 % have draws
//! that are not to be trusted. A parameter is prior-dominated in a
//! voxel where its posterior sd is above 0.9 of its prior sd: a remark, not a fault.
//!
//! Two numbers say how far data narrow a prior: the **contraction**, prior sd over
//! posterior sd, as in summary.parquet; and the **shrinkage**, the share of the prior
//! variance that is gone, 1 - 1/contraction² (Betancourt 2018, "Towards a principled
//! Bayesian workflow", sec. 1.3).

use super::doubts::{Doubts, advice, all_draws, proposals};
use super::frame::{self, Voxel};
use super::record::Record;
use super::voxelwise;
use anyhow::{Context, bail};
use microtome::report::Verdict;
use microtome_datasets::TableReader;
use microtome_inference::diagnostics::{Doubt, ESS_A_CHAIN, khat_limit};
use microtome_models::{RunSpec, SearchSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Posterior over prior sd above which the prior speaks.
const PRIOR_DOMINATED: f64 = 0.9;
/// Percentage of voxels with draws that may be not to be trusted, and `--max-failed`
/// where there is no run.json.
const ACCEPTED_PERCENT: f64 = 5.0;
/// Percentage of trajectories cut short that is worth a remark.
const CUT_PERCENT: f64 = 1.0;

/// A number and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Extreme {
    pub(crate) value: f64,
    pub(crate) parameter: String,
    pub(crate) voxel: i64,
    /// The voxel by name.
    pub(crate) label: String,
}

/// The average of the finite ones of some numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Average {
    sum: f64,
    n: u64,
}

impl Average {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.n += 1;
        }
    }

    fn value(self) -> f64 {
        if self.n == 0 { f64::NAN } else { self.sum / self.n as f64 }
    }
}

/// One parameter over all converged voxels.
#[derive(Debug, Clone, Default)]
pub(crate) struct OverVoxels {
    pub(crate) n: u64,
    mean: Average,
    sd: Average,
    contraction: Average,
    shrinkage: Average,
    pub(crate) worst_rhat: f64,
    pub(crate) smallest_ess: f64,
    /// Voxels where the prior speaks.
    pub(crate) prior_dominated: u64,
}

/// What the tables of a folder say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) sampled: bool,
    pub(crate) voxels: u64,
    pub(crate) by_status: BTreeMap<String, u64>,
    pub(crate) doubts: Doubts,
    pub(crate) worst_rhat: Option<Extreme>,
    pub(crate) smallest_ess: Option<Extreme>,
    pub(crate) smallest_ebfmi: Option<Extreme>,
    pub(crate) largest_khat: Option<Extreme>,
    pub(crate) divergences: u64,
    pub(crate) max_depth_hits: u64,
    pub(crate) parameters: BTreeMap<String, OverVoxels>,
    max_failed: f64,
    search: SearchSpec,
}

/// The table of results of a folder: `summary.parquet`, else `fit.parquet`.
pub(crate) fn results(folder: &Path) -> anyhow::Result<PathBuf> {
    if !folder.is_dir() {
        bail!("{}: is not a folder; give the --out folder of fit or sample", folder.display());
    }
    voxelwise::table(folder, "summary").or_else(|| voxelwise::table(folder, "fit")).with_context(|| {
        format!(
            "{}: there is no summary.parquet and no fit.parquet; give the --out folder of a finished run (shards: microtome merge first)",
            folder.display()
        )
    })
}

/// Keeps the larger (or smaller) of two numbers; NaN is none.
fn keep(slot: &mut Option<Extreme>, value: f64, larger: bool, parameter: &str, voxel: &Voxel) {
    let beats = |old: f64| if larger { value > old } else { value < old };
    if value.is_finite() && slot.as_ref().is_none_or(|o| beats(o.value)) {
        let (parameter, label) = (parameter.to_string(), voxel.label());
        *slot = Some(Extreme { value, parameter, voxel: voxel.voxel, label });
    }
}

impl Findings {
    /// Reads the tables of a folder.
    pub(crate) fn read(folder: &Path, record: Option<&Record>) -> anyhow::Result<Self> {
        let path = results(folder)?;
        let mut out = Self {
            sampled: path.ends_with("summary.parquet"),
            max_failed: record.map_or(ACCEPTED_PERCENT, |r| r.max_failed_percent),
            ..Self::default()
        };
        // The table knows the run that made it, also where run.json is lost.
        let reader = TableReader::open(&path)?;
        let spec = reader.schema().metadata().get("microtome.spec").cloned();
        let spec = spec.and_then(|text| serde_json::from_str::<RunSpec>(&text).ok());
        out.search = spec.map_or_else(SearchSpec::default, |s| s.search);
        frame::for_each(&path, |voxel| {
            out.add(voxel);
            Ok(())
        })?;
        Ok(out)
    }

    fn add(&mut self, voxel: &Voxel) {
        self.voxels += 1;
        *self.by_status.entry(voxel.status.clone()).or_default() += 1;
        for (name, e) in &voxel.parameters {
            keep(&mut self.worst_rhat, e.rhat, true, name, voxel);
            keep(&mut self.smallest_ess, e.ess_bulk.min(e.ess_tail), false, name, voxel);
            if voxel.status == "converged" {
                self.parameters.entry(name.clone()).or_default().add(e);
            }
        }
        if let Some(sampling) = &voxel.sampling {
            keep(&mut self.smallest_ebfmi, sampling.ebfmi, false, "", voxel);
            keep(&mut self.largest_khat, sampling.khat, true, "", voxel);
            self.divergences += sampling.divergences;
            self.max_depth_hits += sampling.max_depth_hits;
            self.doubts.add(voxel, &self.search);
        }
    }

    /// Voxels whose status is not `converged`.
    pub(crate) fn failed(&self) -> u64 {
        self.voxels - self.by_status.get("converged").copied().unwrap_or(0)
    }

    /// Voxels that are not to be trusted: by the rule of draws, or by the status of a fit.
    pub(crate) fn untrusted(&self) -> u64 {
        if self.sampled { self.doubts.voxels } else { self.failed() }
    }

    /// The percentage of voxels.
    pub(crate) fn percent(&self, n: u64) -> f64 {
        if self.voxels == 0 { 0.0 } else { 100.0 * n as f64 / self.voxels as f64 }
    }

    /// Effective draws that a voxel should be worth.
    pub(crate) fn ess_limit(&self) -> f64 {
        ESS_A_CHAIN * self.search.chains as f64
    }

    /// The largest k-hat of importance draws that can be believed.
    pub(crate) fn khat_limit(&self) -> f64 {
        khat_limit(proposals(&self.search))
    }

    /// The verdict, and its reasons with what to do about them, in full sentences.
    pub(crate) fn verdict(&self) -> (Verdict, Vec<String>) {
        let share = |n: u64| format!("{n} of {} voxels ({:.1} %)", self.voxels, self.percent(n));
        let (untrusted, failed) = (self.untrusted(), self.failed());
        let mut reasons = Vec::new();
        if self.sampled {
            for doubt in Doubt::ALL {
                let n = self.doubts.of(doubt);
                if n > 0 {
                    reasons.push(advice(doubt, &share(n), self.ess_limit(), self.khat_limit()));
                }
            }
            if untrusted > 0 {
                reasons.push(format!(
                    "leave out the {}: trust is false in summary.parquet, and the mask of an image is 1 (desc-donottrust_mask.nii.gz)",
                    share(untrusted)
                ));
            }
        } else if failed > 0 {
            reasons.push(advice(
                Doubt::Status,
                &share(failed),
                self.ess_limit(),
                self.khat_limit(),
            ));
        }
        let draws = all_draws(&self.search) as u64 * (self.voxels - failed);
        let cut = 100.0 * self.max_depth_hits as f64 / draws.max(1) as f64;
        if cut > CUT_PERCENT {
            reasons.push(format!(
                "{cut:.1} % of the trajectories were as long as allowed: the posterior is sampled slowly, not wrongly; tune longer (--tune), or fix what the data do not determine"
            ));
        }
        for (name, p) in &self.parameters {
            if 2 * p.prior_dominated > p.n {
                reasons.push(format!(
                    "{name} is prior-dominated in {} (its posterior sd is above {PRIOR_DOMINATED} of its prior sd): report it as assumed, not as found; fix it, or measure what determines it",
                    share(p.prior_dominated)
                ));
            }
        }
        // A voxel without a result is the business of --max-failed.
        let without = if self.sampled { self.doubts.without_result } else { failed };
        let beyond = self.percent(without) > self.max_failed
            || self.percent(untrusted - without) > ACCEPTED_PERCENT;
        let verdict = if beyond {
            Verdict::DoNotTrust
        } else if reasons.is_empty() {
            Verdict::Trust
        } else {
            Verdict::Caution
        };
        if reasons.is_empty() {
            reasons.push(format!("All {} voxels passed every check.", self.voxels));
        }
        (verdict, reasons.into_iter().map(sentence).collect())
    }
}

impl OverVoxels {
    fn add(&mut self, e: &frame::Estimate) {
        if self.n == 0 {
            (self.worst_rhat, self.smallest_ess) = (f64::NAN, f64::NAN);
        }
        self.n += 1;
        self.mean.add(e.mean);
        self.sd.add(e.sd);
        self.worst_rhat = self.worst_rhat.max(e.rhat);
        self.smallest_ess = self.smallest_ess.min(e.ess_bulk.min(e.ess_tail));
        self.contraction.add(e.contraction);
        self.shrinkage.add(1.0 - (e.contraction * e.contraction).recip());
        self.prior_dominated += u64::from(e.contraction.recip() > PRIOR_DOMINATED);
    }

    /// Mean of the means.
    pub(crate) fn mean(&self) -> f64 {
        self.mean.value()
    }

    /// Mean of the standard deviations.
    pub(crate) fn sd(&self) -> f64 {
        self.sd.value()
    }

    /// Mean of prior sd / posterior sd.
    pub(crate) fn contraction(&self) -> f64 {
        self.contraction.value()
    }

    /// Mean of 1 - posterior variance / prior variance.
    pub(crate) fn shrinkage(&self) -> f64 {
        self.shrinkage.value()
    }
}

/// Averages of the parts of a direction over voxels mean nothing.
pub(crate) fn is_part_of_axis(name: &str) -> bool {
    name.split_once(".mu_").is_some_and(|(_, part)| {
        ["x", "y", "z"].iter().any(|a| part.trim_start_matches("axis_") == *a)
    })
}

/// A capital at the start and a stop at the end.
fn sentence(text: String) -> String {
    let mut chars = text.chars();
    let mut out: String =
        chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default();
    if !out.ends_with('.') {
        out.push('.');
    }
    out
}
