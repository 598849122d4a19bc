//! `microtome report`: one HTML page of a run.

use super::predictive::{Draws, Example, signals};
use super::record::{self, Record, write_text};
use super::slice::Slice;
use super::truth::{Truth, unit};
use super::verdict::{Findings, is_part_of_axis, results};
use super::{Outcome, say, voxelwise};
use anyhow::Context;
use clap::{Args, ValueHint};
use microtome::report::{ParameterRow, ReportData, html};
use microtome_models::{FitMethod, Job, NoiseKind, RunSpec, SampleMethod, SearchSpec, SigmaSpec};
use std::path::{Path, PathBuf};

/// Writes DIR/report.html: what a run found, how sure it is, and whether to believe it.
///
/// Shows maps of one slice (or the distribution over voxels), diagnostics, the
/// posterior and the prediction of one voxel, and the comparison with a known
/// truth where there is one. The page loads nothing from anywhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Units: diffusivities µm²/ms, b s/mm², angles degree.

References:
  Gelman et al. 2020, arXiv:2011.01808 (what to look at before believing a posterior).
  Gabry et al. 2019, doi:10.1111/rssa.12378 (predictive checks).")]
pub(crate) struct ReportArgs {
    /// Folder of a finished run.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: PathBuf,
    /// Known truth: CSV with `voxel` and parameter columns (default DIR/truth.csv where it is there).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    truth: Option<PathBuf>,
    /// No summary.
    #[arg(long)]
    quiet: bool,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let beside = self.dir.join("truth.csv");
        let truth = self.truth.or_else(|| beside.is_file().then_some(beside));
        let out = self.dir.join("report.html");
        let data = data(&self.dir, truth.as_deref(), "microtome report")?;
        write_text(&out, &html(&data))?;
        if self.json {
            say::line(&serde_json::json!({ "report": out }).to_string());
        } else if !self.quiet {
            say::line(&format!("report in {}", out.display()));
        }
        Ok(Outcome::Done)
    }
}

/// What the page of a folder shows.
pub(crate) fn data(dir: &Path, truth: Option<&Path>, title: &str) -> anyhow::Result<ReportData> {
    let results = results(dir)?;
    let record = Record::read(&dir.join(record::name(None)))?;
    let findings = Findings::read(dir, Some(&record))?;
    let truth = truth.map(Truth::read).transpose()?;
    let slice = Slice::read(&results)?;
    let (verdict, verdict_sentences) = findings.verdict();
    let mut out = ReportData {
        title: format!("{title}: {} of {}", record.job, record.model),
        command_line: record.command_line.clone(),
        verdict,
        verdict_sentences,
        facts: facts(&record, &findings),
        map_note: slice
            .grid
            .map(|[_, _, k]| format!("Slice k = {k}; voxel axes, i to the right and j upwards."))
            .unwrap_or_default(),
        maps: slice.maps(),
        directions: slice.directions(),
        quality: slice.quality(),
        status: slice.status(),
        populations: slice.populations(),
        parameters: parameters(&findings),
        methods: methods(&record.spec, &record),
        references: references(&record.spec),
        ..ReportData::default()
    };
    if let Some(truth) = &truth {
        out.truth = truth.compare(&results)?.0;
    }
    if let Some(voxel) = slice.example() {
        let posterior = voxelwise::table(dir, "posterior").filter(|_| findings.sampled);
        let draws = match &posterior {
            Some(path) => {
                Draws::read(path, voxel.voxel).with_context(|| path.display().to_string())?
            }
            None => Draws::of_fit(voxel),
        };
        let example = Example { record: &record, voxel, draws: &draws, truth: truth.as_ref() };
        let signals = signals(&record, voxel.voxel);
        if posterior.is_some() {
            out.voxel = Some(example.posterior(signals.as_deref())?);
        }
        // A noise level from a file a voxel is not in the tables of draws.
        out.predictive = signals.and_then(|s| example.predictive(&s).ok());
    }
    Ok(out)
}

fn facts(record: &Record, findings: &Findings) -> Vec<(String, String)> {
    let mut out = vec![
        ("version", record.version.clone()),
        ("model", record.model.clone()),
        ("noise", record.spec.model.noise.kind.to_string()),
        ("seed", record.seed.to_string()),
        ("SIMD level", record.simd_level.clone()),
        ("threads", record.threads.to_string()),
        ("wall time", say::duration(record.wall_s)),
        ("voxels", findings.voxels.to_string()),
        ("measurements", record.measurements.to_string()),
    ];
    for (status, n) in &findings.by_status {
        out.push((status, n.to_string()));
    }
    if findings.sampled {
        out.push(("not to be trusted", findings.untrusted().to_string()));
        out.push(("divergent draws", findings.divergences.to_string()));
    }
    out.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn parameters(findings: &Findings) -> Vec<ParameterRow> {
    findings
        .parameters
        .iter()
        .filter(|(name, _)| !is_part_of_axis(name))
        .map(|(name, p)| ParameterRow {
            name: name.clone(),
            unit: unit(name).into(),
            mean: p.mean(),
            sd: p.sd(),
            shrinkage: p.shrinkage(),
            worst_rhat: p.worst_rhat,
            smallest_ess: p.smallest_ess,
        })
        .collect()
}

fn methods(spec: &RunSpec, record: &Record) -> Vec<(String, String)> {
    let mut out = vec![(
        "Model".to_string(),
        format!(
            "The signal is S0 times the sum of {} compartments ({}), weighted by fractions that sum to 1, with {} noise. \
             Diffusivities are in µm²/ms (1 µm²/ms = 0.001 mm²/s).",
            spec.model.names().len(),
            spec.model.names().join(", "),
            spec.model.noise.kind
        ),
    )];
    if spec.sigma == SigmaSpec::RepeatedB0 {
        out.push((
            "Noise level".to_string(),
            "Sigma of a voxel is that of its repeated b = 0 images, corrected for the noise floor of magnitudes."
                .to_string(),
        ));
    }
    let search = &spec.search;
    out.push(match spec.job {
        Job::Fit => (
            "Fit".to_string(),
            match spec.method() {
                FitMethod::Nlls => {
                    "Maximum likelihood by Levenberg-Marquardt from several starts; standard errors from the observed information."
                }
                FitMethod::Ols => {
                    "Ordinary least squares of the logarithm of the signals; standard errors by the delta method."
                }
                FitMethod::Wls => {
                    "Least squares of the logarithm of the signals, weighted by the squares of the signals that ordinary \
                     least squares predict; standard errors by the delta method."
                }
            }
            .to_string(),
        ),
        Job::Sample => (
            "Sampling".to_string(),
            sampling(search),
        ),
    });
    if !record.data_dependent_priors.is_empty() {
        let list = record.data_dependent_priors.join("; ");
        out.push((
            "Priors from the data".into(),
            format!("These default priors are set from each voxel's data: {list}."),
        ));
    }
    out
}

/// How the draws were made.
fn sampling(search: &SearchSpec) -> String {
    let stored = search.chains * search.draws;
    let nuts = format!(
        "{} chains of the no-U-turn sampler a voxel, {} warm-up and {} draws each{}, started about the modes of the fit in \
         whitened coordinates",
        search.chains,
        search.tune,
        search.draws * search.thin,
        if search.thin > 1 { format!(" (every {}th kept)", search.thin) } else { String::new() },
    );
    let psis = format!(
        "{stored} draws a voxel by importance sampling from t densities at the modes of the fit, their weights \
         Pareto-smoothed and resampled to equal weights (R-hat of such draws, which are no chains, says nothing)"
    );
    match search.sampler {
        SampleMethod::Nuts => format!("{nuts}."),
        SampleMethod::Psis => format!("{psis}."),
        SampleMethod::Laplace => {
            format!("{stored} draws a voxel of the normal density at the posterior mode.")
        }
        SampleMethod::Auto => format!(
            "{psis}. Where k-hat is above its limit, there is more than one mode, a fraction vanishes or an axis is open: {nuts}."
        ),
    }
}

fn references(spec: &RunSpec) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for c in &spec.model.compartments {
        if let Ok(kind) = spec.model.build(c) {
            let entry = (c.kind.clone(), kind.reference().to_string());
            if !out.contains(&entry) {
                out.push(entry);
            }
        }
    }
    let mut add = |name: &str, text: &str| out.push((name.to_string(), text.to_string()));
    match spec.model.noise.kind {
        NoiseKind::Gaussian => {}
        NoiseKind::Rician => add(
            "Gudbjartsson & Patz 1995.",
            "The Rician distribution of noisy MRI data. doi:10.1002/mrm.1910340618",
        ),
        NoiseKind::NcChi { .. } => add(
            "Constantinides et al. 1997.",
            "Signal-to-noise measurements in magnitude images from NMR phased arrays. doi:10.1002/mrm.1910380524",
        ),
        NoiseKind::StudentT { .. } => add(
            "Lange et al. 1989.",
            "Robust statistical modeling using the t distribution. doi:10.1080/01621459.1989.10478852",
        ),
    }
    if spec.sigma == SigmaSpec::RepeatedB0 && spec.model.noise.kind.coils().is_some() {
        add(
            "Koay & Basser 2006.",
            "Analytically exact correction scheme for signal extraction from noisy magnitude MR signals. \
             doi:10.1016/j.jmr.2006.01.016",
        );
    }
    if spec.job == Job::Sample {
        out.push((
            "Hoffman & Gelman 2014.".into(),
            "The No-U-Turn Sampler. Journal of Machine Learning Research 15.".into(),
        ));
        out.push((
            "Vehtari et al. 2021.".into(),
            "Rank-normalization, folding, and localization: an improved R-hat. doi:10.1214/20-BA1221".into(),
        ));
    }
    out
}
