//! `microtome diagnose --sbc MODEL`: is the posterior of a model what it says it is?
//!
//! Draws truths from the prior, simulates signals, samples them as `sample` does, and tests
//! that the ranks of the truths are uniform (see `microtome_inference::calibration`).
//!
//! Validated by the tests `sbc_*` in `tests/cli/`.

use super::flags::{AcquisitionFlags, ModelFlags};
use super::progress::Progress;
use super::record::write_text;
use super::sample::SearchFlags;
use super::{Outcome, input, say};
use anyhow::{Context, bail};
use clap::Args;
use cpu_time::ProcessTime;
use microtome::report::{CalibrationPlot, ReportData, Verdict, html};
use microtome_datasets::write_table;
use microtome_inference::calibration::{
    Calibration, CalibrationReport, CalibrationSpec, RankEcdf, Simulation, judge, rank_table,
};
use microtome_models::{Job, Model, PriorSpec, RunSpec, SigmaSpec};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The probability of calling a calibrated model not calibrated.
const LEVEL: f64 = 0.01;
/// Most simulations times ranked draws: the exact test holds a number for each.
const MOST_RANKS: u64 = 20_000_000;
/// Simulations between two reports of progress.
const BLOCK: u64 = 64;
/// Files of a folder of results.
const FILES: [&str; 3] = ["calibration.json", "ranks.parquet", "report.html"];

/// Simulation-based calibration.
#[derive(Debug, Args)]
pub(crate) struct SbcFlags {
    /// Calibrates the posterior of a model in place of reading a folder: truths are drawn
    /// from its prior, signals simulated and sampled, and the ranks of the truths tested.
    #[arg(long, value_name = "MODEL", help_heading = "Calibration")]
    pub(crate) sbc: Option<String>,
    /// Noise: gaussian, rician, nc_chi (with --coils) or student_t; overrides the model file.
    #[arg(long, value_name = "KIND", help_heading = "Calibration")]
    noise: Option<String>,
    /// Receive coils of nc_chi noise.
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Calibration")]
    coils: Option<i64>,
    /// Degrees of freedom of student_t noise (default 5).
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Calibration")]
    nu: Option<f64>,
    /// Known noise scale, in the unit of the signals; drawn from its prior and sampled when
    /// left out.
    #[arg(long, value_name = "X", help_heading = "Calibration")]
    sigma: Option<f64>,
    /// Mean b=0 signal that the default priors are about: s0 lognormal(log X, 0.5), sigma
    /// lognormal(log X/25, 1). Priors of the model file stay.
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Calibration")]
    level: f64,
    /// Number of simulations.
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Calibration")]
    simulations: u64,
    /// Draws that the truth is ranked among, thinned from all draws of a voxel.
    #[arg(long, value_name = "L", default_value_t = 99, help_heading = "Calibration")]
    sbc_draws: usize,
    /// Negative control: the sampler is told sigma times (1 + X), which must fail.
    #[arg(long, value_name = "X", default_value_t = 0.0, help_heading = "Calibration")]
    sigma_error: f64,
    /// Seed of all random numbers of the calibration.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Calibration")]
    seed: u64,
    /// Replaces the calibration of another line in the folder.
    #[arg(long, help_heading = "Calibration")]
    pub(crate) overwrite: bool,
    /// Threads; all processors when left out. Results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Calibration")]
    threads: Option<u32>,
    /// No progress and no tables.
    #[arg(long, help_heading = "Calibration")]
    quiet: bool,
    #[command(flatten)]
    acquisition: AcquisitionFlags,
    #[command(flatten)]
    search: SearchFlags,
}

impl SbcFlags {
    /// Runs a calibration of the model `--sbc` names.
    pub(crate) fn run(
        &self,
        model: &str,
        out: Option<&Path>,
        as_json: bool,
    ) -> anyhow::Result<Outcome> {
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        self.check()?;
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(all, |n| n as usize);
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        let flags = ModelFlags {
            model: model.to_string(),
            noise: self.noise.clone(),
            coils: self.coils,
            nu: self.nu,
            response: None,
            lmax: None,
            side_lobes: None,
        };
        if model.trim() == super::model::CSD {
            bail!(
                "--sbc csd: a deconvolution is a fit without a prior; there is no posterior to calibrate"
            );
        }
        let named = flags
            .read()
            .map_err(|e| anyhow::anyhow!("{}", format!("{e:#}").replacen("--model", "--sbc", 1)))?;
        let scheme = self.acquisition.read()?;
        let free_sigma = self.sigma.is_none();
        let written = named.spec.with_scale_priors(self.level, free_sigma);
        let compiled = Model::new(written.clone()).with_context(|| format!("--sbc {model}"))?;
        input::check_b0(&compiled, &scheme)?;
        let priors = scale_priors(&written, free_sigma);
        let spec = CalibrationSpec {
            run: RunSpec {
                job: Job::Sample,
                model: written,
                acquisition: scheme.acquisition,
                sigma: match self.sigma {
                    Some(sigma) => SigmaSpec::Known(sigma * (1.0 + self.sigma_error)),
                    None => SigmaSpec::Free,
                },
                search: self.search.spec()?,
                seed: self.seed,
            },
            sigma: self.sigma,
            draws: self.sbc_draws,
        };
        let record = json!({
            "job": "calibration", "model": model, "version": input::version(),
            "simd_level": input::simd(), "specification": spec.run, "sigma": self.sigma,
            "sigma_error": self.sigma_error, "simulations": self.simulations,
            "draws": self.sbc_draws, "level": LEVEL,
        });
        if let Some(out) = out {
            inspect(out, &record, self.overwrite)?;
        }
        let calibration = Calibration::new(spec).with_context(|| format!("--sbc {model}"))?;
        let simulations = self.simulate(&calibration)?;
        let report = judge(
            calibration.quantities(),
            &calibration.intervals(),
            &simulations,
            self.sbc_draws,
            LEVEL,
        );
        let seconds = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        let results = results(&report, &record, seconds);
        let title = self.title(model, &named.spec.noise.kind.to_string());
        if let Some(out) = out {
            let page = self.page(&title, &calibration, &simulations, &report, &priors);
            write(out, &calibration, &simulations, &results, &page)?;
        }
        if as_json {
            say::line(&results.to_string());
        } else {
            if !self.quiet {
                say::line(&title);
                priors.iter().for_each(|p| say::line(&format!("prior of {p}")));
                say::line("");
                say::text(&text(&report));
            }
            say::line(&sentence(&report));
        }
        Ok(if report.calibrated { Outcome::Done } else { Outcome::TooManyFailed })
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(sigma) = self.sigma
            && !(sigma.is_finite() && sigma > 0.0)
        {
            bail!("--sigma {sigma}: a noise level is a positive number in the unit of the signals");
        }
        if !(self.level.is_finite() && self.level > 0.0) {
            bail!("--level {}: a positive signal is needed", self.level);
        }
        if self.search.criteria {
            bail!("--criteria: is of sample; a calibration compares no models");
        }
        if self.search.prior != "independent" {
            bail!(
                "--prior {}: a calibration draws one voxel at a time; leave it out",
                self.search.prior
            );
        }
        if !(20..=1_000_000).contains(&self.simulations) {
            bail!("--simulations {}: a number from 20 to 1000000 is needed", self.simulations);
        }
        if self.simulations.saturating_mul(self.sbc_draws as u64) > MOST_RANKS {
            bail!(
                "--simulations {} with --sbc-draws {}: their product is above {MOST_RANKS}, more than the exact test can hold; take fewer of one",
                self.simulations,
                self.sbc_draws
            );
        }
        if !(9..=9999).contains(&self.sbc_draws) {
            bail!("--sbc-draws {}: a number from 9 to 9999 is needed", self.sbc_draws);
        }
        if !(self.sigma_error.is_finite() && self.sigma_error > -1.0) {
            bail!("--sigma-error {}: a number above -1 is needed, such as 0.2", self.sigma_error);
        }
        if self.sigma_error != 0.0 && self.sigma.is_none() {
            bail!(
                "--sigma-error {}: needs --sigma X, which the sampler is told wrongly",
                self.sigma_error
            );
        }
        Ok(())
    }

    fn simulate(&self, calibration: &Calibration) -> anyhow::Result<Vec<Simulation>> {
        let progress = Progress::begin("calibration", self.simulations, None, self.quiet);
        let never = AtomicBool::new(false);
        let mut out = Vec::new();
        let mut start = 0;
        while start < self.simulations {
            let end = (start + BLOCK).min(self.simulations);
            out.extend(calibration.block(start..end, &never)?);
            progress.computed(end - start);
            start = end;
        }
        Ok(out)
    }

    fn title(&self, model: &str, noise: &str) -> String {
        let sigma = match self.sigma {
            Some(sigma) => format!("sigma {sigma}"),
            None => "free sigma".into(),
        };
        let wrong = if self.sigma_error == 0.0 {
            String::new()
        } else {
            format!(", the sampler told {:+} %", 100.0 * self.sigma_error)
        };
        format!(
            "calibration of {model}: {} simulations, {} draws each, {noise} noise, {sigma}{wrong}",
            self.simulations, self.sbc_draws
        )
    }

    fn page(
        &self,
        title: &str,
        calibration: &Calibration,
        simulations: &[Simulation],
        report: &CalibrationReport,
        priors: &[String],
    ) -> String {
        let ecdf = RankEcdf::new(simulations.len(), self.sbc_draws);
        let band = |alpha: f64| -> Vec<[f64; 2]> {
            let n = simulations.len() as f64;
            ecdf.band(alpha).into_iter().map(|b| b.map(|x| x as f64 / n)).collect()
        };
        let plots = report.tests.iter().enumerate().map(|(k, test)| CalibrationPlot {
            name: test.name.clone(),
            p: test.p,
            adjusted: test.adjusted,
            shape: test.shape.into(),
            ranks: simulations.iter().map(|s| s.ranks[k]).collect(),
        });
        let (search, mut facts) = (&self.search, Vec::new());
        let mut fact = |name: &str, value: String| facts.push((name.to_string(), value));
        fact("version", input::version().into());
        fact("SIMD level", input::simd().into());
        fact("seed", self.seed.to_string());
        fact("simulations", report.simulations.to_string());
        fact(
            "chains x draws",
            search.spec().map_or_else(|e| e.to_string(), |s| format!("{} x {}", s.chains, s.draws)),
        );
        report.by_status.iter().for_each(|(status, n)| fact(status, n.to_string()));
        fact("sampled again", report.again.to_string());
        fact("without draws", report.without_draws.to_string());
        let coverage = report
            .intervals
            .iter()
            .map(|i| format!("{} {:.1} %", i.name, 100.0 * i.coverage))
            .collect::<Vec<_>>();
        let data = ReportData {
            title: title.to_string(),
            verdict: if report.calibrated { Verdict::Trust } else { Verdict::DoNotTrust },
            verdict_sentences: vec![sentence(report)],
            facts,
            calibration: plots.collect(),
            calibration_band: band(LEVEL / calibration.quantities().names().len() as f64),
            methods: vec![
                (
                    "Priors".into(),
                    format!("All others are those of the model. {}.", priors.join("; ")),
                ),
                (
                    "Intervals".into(),
                    format!(
                        "Share of truths in the 90 % interval (an axis: in the axial cap): {}.",
                        coverage.join(", ")
                    ),
                ),
                ("Ranks".into(), METHOD.into()),
            ],
            references: REFERENCES.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
            ..ReportData::default()
        };
        html(&data)
    }
}

const METHOD: &str = "Each truth is a draw from the prior; its signals have noise, and are sampled as by \
    `microtome sample`. A voxel with fewer effective draws than twice those it is ranked among is sampled again with five times the warm-up and draws. A voxel without draws has rank 0 everywhere. Exchangeable \
    compartments are ordered by falling fraction, truths and draws alike.";

const REFERENCES: [(&str, &str); 4] = [
    (
        "Talts et al. 2018.",
        "Validating Bayesian inference algorithms with simulation-based calibration. arXiv:1804.06788",
    ),
    (
        "Säilynoja, Bürkner & Vehtari 2022.",
        "Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation. doi:10.1007/s11222-021-10090-6",
    ),
    (
        "Modrák et al. 2023.",
        "Simulation-based calibration checking for Bayesian computation: the choice of test quantities. doi:10.1214/23-BA1404",
    ),
    (
        "Holm 1979.",
        "A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6:65",
    ),
];

/// The priors of the scales, in words.
fn scale_priors(spec: &microtome_models::ModelSpec, sigma: bool) -> Vec<String> {
    let mut names = vec!["s0"];
    if sigma {
        names.push("sigma");
    }
    let words = |name: &str| match spec.prior.get(name)? {
        PriorSpec::Lognormal([mean, sd]) => Some(format!(
            "{name}: lognormal about {}, sd {sd} of the logarithm",
            say::number(mean.exp())
        )),
        other => Some(format!("{name}: {other:?}")),
    };
    names.into_iter().filter_map(words).collect()
}

fn p_text(p: f64) -> String {
    if p < 1e-4 { format!("{p:.0e}") } else { format!("{p:.4}") }
}

fn text(report: &CalibrationReport) -> String {
    let mut rows = vec![["quantity", "p", "Holm p", "ranks"].map(String::from).to_vec()];
    for t in &report.tests {
        rows.push(vec![t.name.clone(), p_text(t.p), p_text(t.adjusted), t.shape.into()]);
    }
    let mut out = say::table(&rows) + "\n";
    let mut rows = vec![["90 % interval", "holds the truth"].map(String::from).to_vec()];
    for i in &report.intervals {
        rows.push(vec![i.name.clone(), format!("{:.1} %", 100.0 * i.coverage)]);
    }
    out += &(say::table(&rows) + "\n");
    let status: Vec<String> = report.by_status.iter().map(|(s, n)| format!("{n} {s}")).collect();
    out += &format!(
        "{} simulations: {}; {} sampled again, {} with divergent draws, {} with fewer effective than ranked draws, {} without draws\n",
        report.simulations,
        status.join(", "),
        report.again,
        report.divergent,
        report.few_effective,
        report.without_draws
    );
    out
}

fn sentence(report: &CalibrationReport) -> String {
    if report.calibrated {
        return format!(
            "Verdict: calibrated. No quantity departs from uniform ranks at {} % over all {} (smallest adjusted p {}).",
            100.0 * LEVEL,
            report.tests.len(),
            p_text(report.smallest)
        );
    }
    let failed: Vec<String> = report
        .tests
        .iter()
        .filter(|t| t.adjusted <= LEVEL)
        .map(|t| format!("{} ({})", t.name, t.shape))
        .collect();
    format!(
        "Verdict: not calibrated. Ranks depart from uniform at {} % over all {} quantities: {}.",
        100.0 * LEVEL,
        report.tests.len(),
        failed.join(", ")
    )
}

fn results(
    report: &CalibrationReport,
    record: &serde_json::Value,
    (wall_s, cpu_s): (f64, f64),
) -> serde_json::Value {
    let mut out = record.clone();
    let tests: Vec<_> = report
        .tests
        .iter()
        .map(|t| json!({ "name": t.name, "p": t.p, "adjusted_p": t.adjusted, "ranks": t.shape }))
        .collect();
    let intervals: serde_json::Map<_, _> =
        report.intervals.iter().map(|i| (i.name.clone(), json!(i.coverage))).collect();
    let more = json!({
        "calibrated": report.calibrated, "smallest_adjusted_p": report.smallest,
        "quantities": tests, "coverage_90": intervals, "counts_by_status": report.by_status,
        "without_draws": report.without_draws, "sampled_again": report.again,
        "divergent": report.divergent, "few_effective": report.few_effective,
        "verdict": sentence(report), "wall_s": wall_s, "cpu_s": cpu_s,
    });
    if let (Some(out), serde_json::Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
    out
}

/// Refuses a folder that holds anything else than the results of the same line.
fn inspect(out: &Path, record: &serde_json::Value, overwrite: bool) -> anyhow::Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !out.is_dir() {
        bail!("--out {}: is a file; a folder is needed", out.display());
    }
    let list = std::fs::read_dir(out).with_context(|| format!("{}: cannot list", out.display()))?;
    for entry in list {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !FILES.contains(&name.as_str()) {
            bail!(
                "--out {}: holds files that are not of a calibration, for instance {name}; choose another folder",
                out.display()
            );
        }
    }
    let path = out.join(FILES[0]);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let same = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|found| {
        record.as_object().is_some_and(|r| r.iter().all(|(k, v)| found.get(k) == Some(v)))
    });
    if !same && !overwrite {
        bail!(
            "--out {}: holds another calibration; choose another folder, or give --overwrite",
            out.display()
        );
    }
    Ok(())
}

fn write(
    out: &Path,
    calibration: &Calibration,
    simulations: &[Simulation],
    results: &serde_json::Value,
    page: &str,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)
        .with_context(|| format!("{}: cannot create the folder", out.display()))?;
    let table = rank_table(calibration.quantities(), &calibration.intervals(), simulations)?;
    write_table(&out.join(FILES[1]), table.schema(), &[table])?;
    write_text(&out.join(FILES[2]), page)?;
    write_text(&out.join(FILES[0]), &(serde_json::to_string_pretty(results)? + "\n"))
}
