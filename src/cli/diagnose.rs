//! `microtome diagnose`: may these results be used?

use super::compare::CompareFlags;
use super::record::{self, Record};
use super::sbc::SbcFlags;
use super::verdict::Findings;
use super::{Outcome, say};
use clap::{Args, ValueHint};
use microtome::report::Verdict;
use std::path::PathBuf;

/// Checks the results of a run and says whether to trust them.
///
/// Reads summary.parquet (or fit.parquet) of DIR: voxels by status, how many are not to
/// be trusted and why, the worst R-hat, effective sample size, E-BFMI and k-hat,
/// divergences, the worst voxels by name, parameters where the prior speaks rather than
/// the data, and what to do about each finding.
///
/// With --sbc MODEL it calibrates a model instead: truths are drawn from its prior, signals
/// simulated and sampled, and the ranks of the truths tested for uniformity at 1 % over all
/// quantities (Holm).
#[derive(Debug, Args)]
#[command(after_help = "\
A voxel is not to be trusted when its status is not converged, an R-hat is above 1.01,
an effective sample size is below 100 a chain, the E-BFMI of a chain is below 0.3, more
than 1 draw in 1000 diverged, or k-hat is above min(1 - 1/log10(draws), 0.7). Results
can be used when no more voxels than --max-failed of the run (5 %) have no result and no
more than 5 % have draws that are not to be trusted.

Exit codes: 0 the results can be used, or the model is calibrated; 2 they can't, or it
is not; 1 DIR holds no results, or the line is wrong.

Example:
  microtome diagnose --sbc ball_stick --noise rician --sigma 0.04 --scheme scheme.csv --out calibration

References:
  Vehtari et al. 2021, doi:10.1214/20-BA1221 (R-hat below 1.01, 100 effective draws a chain).
  Betancourt 2016, arXiv:1604.00695 (E-BFMI).
  Betancourt 2017, arXiv:1701.02434 (divergences).
  Vehtari et al. 2024, jmlr.org/papers/v25/19-556.html (k-hat).
  Talts et al. 2018, arXiv:1804.06788 (simulation-based calibration).
  Sailynoja, Burkner & Vehtari 2022, doi:10.1007/s11222-021-10090-6 (bands of ranks).
  Modrak et al. 2023, doi:10.1214/23-BA1404 (the likelihood as a ranked quantity).")]
pub(crate) struct DiagnoseArgs {
    /// Folder of a finished run.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    compare: CompareFlags,
    #[command(flatten)]
    calibration: SbcFlags,
    /// What --sbc or --compare write: the folder of report.html, ranks.parquet and
    /// calibration.json, or the table (Parquet) of the comparison of every voxel.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    out: Option<PathBuf>,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

impl DiagnoseArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let compares = !self.compare.compare.is_empty();
        let out = self.out.as_deref();
        let dir = match (&self.dir, &self.calibration.sbc) {
            (Some(dir), None) if !compares && out.is_none() => dir,
            (Some(_), None) if !compares => {
                anyhow::bail!("--out: is of --sbc and --compare; a check of DIR writes nothing")
            }
            (None, Some(model)) if !compares => return self.calibration.run(model, out, self.json),
            (None, None) if compares => {
                return self.compare.run(out, self.calibration.overwrite, self.json);
            }
            (None, None) => {
                anyhow::bail!(
                    "DIR, the folder of a run, --sbc MODEL or --compare DIR1 DIR2 is needed"
                )
            }
            _ => anyhow::bail!("DIR, --sbc and --compare are different checks; give one of them"),
        };
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
            say::line(&findings.json(good, &sentences, last).to_string());
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
