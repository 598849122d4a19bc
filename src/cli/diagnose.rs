//! `microtome diagnose`: may these results be used?

use super::compare::CompareFlags;
use super::record::{self, Record};
use super::verdict::Findings;
use super::{Outcome, say};
use clap::{Args, ValueHint};
use microtome::report::Verdict;
use serde_json::json;
use std::path::PathBuf;

/// Checks the results of a run and says whether to trust them.
///
/// Reads summary.parquet and posterior.parquet (or fit.parquet) of DIR: voxels by
/// status, worst R-hat, smallest effective sample size, divergences, energies
/// (E-BFMI), and parameters where the prior speaks rather than the data.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the results can be used; 2 they can't; 1 DIR holds no results.

References:
  Vehtari et al. 2021, doi:10.1214/20-BA1221 (R-hat below 1.01, 100 effective draws a chain).
  Betancourt 2016, arXiv:1604.00695 (E-BFMI).")]
pub(crate) struct DiagnoseArgs {
    /// Folder of a finished run.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "compare")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    compare: CompareFlags,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

impl DiagnoseArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Some(dir) = &self.dir else { return self.compare.run(self.json) };
        let record = Record::read(&dir.join(record::name(None))).ok();
        let findings = Findings::read(dir, record.as_ref())?;
        let (verdict, sentences) = findings.verdict();
        let good = verdict != Verdict::DoNotTrust;
        let last = match verdict {
            Verdict::Trust => "Verdict: these results can be trusted.",
            Verdict::Caution => "Verdict: these results can be used with the remarks above.",
            Verdict::DoNotTrust => "Verdict: do not trust these results as they are.",
        };
        if self.json {
            let extreme = |e: &Option<super::verdict::Extreme>| {
                e.as_ref().map(
                    |e| json!({ "value": e.value, "parameter": e.parameter, "voxel": e.voxel }),
                )
            };
            let json = json!({
                "trust": good, "voxels": findings.voxels, "failed": findings.failed(),
                "counts_by_status": findings.by_status, "divergences": findings.divergences,
                "worst_rhat": extreme(&findings.worst_rhat), "smallest_ess": extreme(&findings.smallest_ess),
                "low_ebfmi_voxels": findings.low_ebfmi, "sentences": sentences, "verdict": last,
            });
            say::line(&json.to_string());
        } else {
            say::text(&findings.text());
            say::line("");
            for s in &sentences {
                say::line(s);
            }
            say::line(last);
        }
        Ok(if good { Outcome::Done } else { Outcome::TooManyFailed })
    }
}
