//! May the reader use these numbers? The checks behind `diagnose` and `report`.
//!
//! | check | limit | source |
//! |---|---|---|
//! | failed voxels | `--max-failed` of the run | |
//! | R-hat of every parameter | 1.01 (part of the status) | Vehtari et al. 2021 |
//! | effective sample size | 100 a chain | Vehtari et al. 2021 |
//! | divergent draws of a voxel | 1 in 1000 | Betancourt 2017, arXiv:1701.02434 |
//! | E-BFMI of a chain | 0.3 | Betancourt 2016, arXiv:1604.00695 |
//! | posterior over prior sd | 0.9: a warning, not a fault | |

use super::frame::{self, Voxel};
use super::record::Record;
use super::{say, voxelwise};
use anyhow::{Context, bail};
use arrow_array::cast::AsArray;
use microtome::report::Verdict;
use microtome_datasets::TableReader;
use microtome_inference::diagnostics::ebfmi;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ESS_A_CHAIN: f64 = 100.0;
const DIVERGENT_SHARE: f64 = 1e-3;
const EBFMI_LIMIT: f64 = 0.3;
const CONTRACTION_LIMIT: f64 = 0.9;
/// Percentage of voxels that may break a check other than their status.
const ACCEPTED_PERCENT: f64 = 5.0;

/// A number and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Extreme {
    pub(crate) value: f64,
    pub(crate) parameter: String,
    pub(crate) voxel: i64,
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
    /// 1 - posterior variance / prior variance.
    contraction: Average,
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
    pub(crate) worst_rhat: Option<Extreme>,
    pub(crate) smallest_ess: Option<Extreme>,
    pub(crate) low_ess: u64,
    pub(crate) ess_limit: f64,
    pub(crate) divergences: u64,
    pub(crate) divergent_voxels: u64,
    pub(crate) low_ebfmi: u64,
    pub(crate) parameters: BTreeMap<String, OverVoxels>,
    max_failed: f64,
    chains: usize,
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

impl Findings {
    /// Reads the tables of a folder.
    pub(crate) fn read(folder: &Path, record: Option<&Record>) -> anyhow::Result<Self> {
        let path = results(folder)?;
        let mut out = Self {
            sampled: path.ends_with("summary.parquet"),
            max_failed: record.map_or(ACCEPTED_PERCENT, |r| r.max_failed_percent),
            chains: record.map_or(4, |r| r.spec.search.chains),
            ..Self::default()
        };
        out.ess_limit = ESS_A_CHAIN * out.chains as f64;
        frame::for_each(&path, |voxel| {
            out.add(voxel);
            Ok(())
        })?;
        if let Some(posterior) = voxelwise::table(folder, "posterior").filter(|_| out.sampled) {
            out.chains_of(&posterior).with_context(|| posterior.display().to_string())?;
        }
        Ok(out)
    }

    fn add(&mut self, voxel: &Voxel) {
        self.voxels += 1;
        *self.by_status.entry(voxel.status.clone()).or_default() += 1;
        let mut smallest = f64::INFINITY;
        for (name, e) in &voxel.parameters {
            let extreme = |value| Extreme { value, parameter: name.clone(), voxel: voxel.voxel };
            if e.rhat.is_finite() && self.worst_rhat.as_ref().is_none_or(|w| e.rhat > w.value) {
                self.worst_rhat = Some(extreme(e.rhat));
            }
            let ess = e.ess_bulk.min(e.ess_tail);
            if ess.is_finite() {
                smallest = smallest.min(ess);
                if self.smallest_ess.as_ref().is_none_or(|s| ess < s.value) {
                    self.smallest_ess = Some(extreme(ess));
                }
            }
            if voxel.status == "converged" {
                self.parameters.entry(name.clone()).or_default().add(e);
            }
        }
        self.low_ess += u64::from(smallest < self.ess_limit);
    }

    /// Divergences and energies of every chain.
    fn chains_of(&mut self, posterior: &Path) -> anyhow::Result<()> {
        let mut open: Option<(i64, i32)> = None;
        let mut energies: Vec<f64> = Vec::new();
        let mut voxel = (0_u64, 0_u64, false);
        for batch in TableReader::open(posterior)? {
            let batch = batch?;
            let (voxels, chains) =
                (frame::integers(&batch, "voxel")?, frame::small_integers(&batch, "chain")?);
            let energy = frame::floats(&batch, "energy")?;
            let diverging = batch
                .column_by_name("diverging")
                .and_then(|c| c.as_boolean_opt())
                .context("diverging")?;
            for r in 0..batch.num_rows() {
                let here = (voxels[r], chains[r]);
                if open != Some(here) {
                    voxel.2 |= low_energy(&energies);
                    energies.clear();
                    if open.is_some_and(|o| o.0 != here.0) {
                        self.close(voxel);
                        voxel = (0, 0, false);
                    }
                    open = Some(here);
                }
                energies.push(energy[r]);
                voxel.0 += 1;
                voxel.1 += u64::from(diverging.value(r));
            }
        }
        voxel.2 |= low_energy(&energies);
        self.close(voxel);
        Ok(())
    }

    fn close(&mut self, (draws, divergent, low_energy): (u64, u64, bool)) {
        self.divergences += divergent;
        self.divergent_voxels += u64::from(divergent as f64 > DIVERGENT_SHARE * draws as f64);
        self.low_ebfmi += u64::from(low_energy);
    }

    /// Voxels whose status is not `converged`.
    pub(crate) fn failed(&self) -> u64 {
        self.voxels - self.by_status.get("converged").copied().unwrap_or(0)
    }

    fn percent(&self, n: u64) -> f64 {
        if self.voxels == 0 { 0.0 } else { 100.0 * n as f64 / self.voxels as f64 }
    }

    /// The verdict and its reasons in full sentences.
    pub(crate) fn verdict(&self) -> (Verdict, Vec<String>) {
        let mut faults = Vec::new();
        let mut notes = Vec::new();
        let share = |n: u64| format!("{n} of {} voxels ({:.1} %)", self.voxels, self.percent(n));
        let mut check = |n: u64, limit: f64, text: String| {
            if n > 0 {
                let list = if self.percent(n) > limit { &mut faults } else { &mut notes };
                list.push(text);
            }
        };
        check(
            self.failed(),
            self.max_failed,
            format!(
                "{} did not converge; the column status says why, and they must be left out",
                share(self.failed())
            ),
        );
        check(
            self.low_ess,
            ACCEPTED_PERCENT,
            format!(
                "{} have an effective sample size below {}; draw more (--draws) before using their tails",
                share(self.low_ess),
                self.ess_limit
            ),
        );
        check(
            self.divergent_voxels,
            ACCEPTED_PERCENT,
            format!(
                "{} have more than 1 divergent draw in 1000; their posterior may lack a corner",
                share(self.divergent_voxels)
            ),
        );
        check(
            self.low_ebfmi,
            ACCEPTED_PERCENT,
            format!(
                "{} have an E-BFMI below {EBFMI_LIMIT}; their energies mix badly",
                share(self.low_ebfmi)
            ),
        );
        for (name, p) in &self.parameters {
            if 2 * p.prior_dominated > p.n {
                notes.push(format!(
                    "the posterior sd of {name} is more than {CONTRACTION_LIMIT} of its prior sd in {}: there the prior speaks, not the data",
                    share(p.prior_dominated)
                ));
            }
        }
        let verdict = match (faults.is_empty(), notes.is_empty()) {
            (false, _) => Verdict::DoNotTrust,
            (true, false) => Verdict::Caution,
            (true, true) => Verdict::Trust,
        };
        if faults.is_empty() && notes.is_empty() {
            notes.push(format!("All {} voxels passed every check.", self.voxels));
        }
        faults.extend(notes);
        (verdict, faults.into_iter().map(sentence).collect())
    }

    /// The checks as a table of text.
    pub(crate) fn text(&self) -> String {
        let mut rows: Vec<Vec<String>> = vec![vec!["check".into(), "found".into()]];
        let mut add = |name: &str, value: String| rows.push(vec![name.to_string(), value]);
        add("voxels", self.voxels.to_string());
        for (status, n) in &self.by_status {
            add(&format!("  {status}"), format!("{n} ({:.1} %)", self.percent(*n)));
        }
        if self.sampled {
            let at = |e: &Option<Extreme>| match e {
                Some(e) => {
                    format!("{} ({} of voxel {})", say::number(e.value), e.parameter, e.voxel)
                }
                None => "-".into(),
            };
            add("worst R-hat (good below 1.01)", at(&self.worst_rhat));
            add(
                &format!("smallest effective sample size (good above {})", self.ess_limit),
                at(&self.smallest_ess),
            );
            add("divergent draws", self.divergences.to_string());
            add("voxels with E-BFMI below 0.3", self.low_ebfmi.to_string());
        }
        let mut parameters =
            vec![["parameter", "mean", "sd", "contraction"].map(String::from).to_vec()];
        for (name, p) in self.parameters.iter().filter(|(name, _)| !is_part_of_axis(name)) {
            let numbers = [p.mean(), p.sd(), p.contraction()].map(say::number);
            parameters.push([vec![name.clone()], numbers.to_vec()].concat());
        }
        let mut text = say::table(&rows);
        text.push('\n');
        text.push_str(&say::table(&parameters));
        text.push_str("(averages over converged voxels; contraction = 1 - posterior variance / prior variance)\n");
        text
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
        self.contraction.add(1.0 - (e.contraction * e.contraction).recip());
        self.prior_dominated += u64::from(e.contraction.recip() > CONTRACTION_LIMIT);
    }

    /// Mean of the means.
    pub(crate) fn mean(&self) -> f64 {
        self.mean.value()
    }

    /// Mean of the standard deviations.
    pub(crate) fn sd(&self) -> f64 {
        self.sd.value()
    }

    /// Mean of 1 - posterior variance / prior variance.
    pub(crate) fn contraction(&self) -> f64 {
        self.contraction.value()
    }
}

/// Averages of the parts of a direction over voxels mean nothing.
pub(crate) fn is_part_of_axis(name: &str) -> bool {
    name.split_once(".mu_").is_some_and(|(_, part)| {
        ["x", "y", "z"].iter().any(|a| part.trim_start_matches("axis_") == *a)
    })
}

fn low_energy(energies: &[f64]) -> bool {
    energies.len() > 1 && ebfmi(energies) < EBFMI_LIMIT
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
