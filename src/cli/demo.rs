//! `microtome demo`: the whole way on embedded data with a known truth; `demo_ct` has its
//! tomography.

use super::flags::{AcquisitionFlags, CommonFlags, DataFlags, ModelFlags, RunFlags};
use super::record::write_text;
use super::truth::{Line, Truth};
use super::verdict::results;
use super::voxelwise::{self, Request};
use super::{Outcome, demo_ct, report, say};
use anyhow::bail;
use clap::{Args, ValueHint};
use microtome::report::{ReconstructedImage, html};
use microtome_datasets::demo::{DemoFiles, TIMES, write_demo};
use microtome_datasets::{Matrix, SignalSource, write_matrix};
use microtome_models::{Job, SearchSpec};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Voxels of the image and of the slice that is sampled.
const VOXELS: usize = 12 * 12 * 4;
const SLICE: std::ops::Range<usize> = 144..288;

/// Fits, samples and reconstructs embedded data, and shows the estimates beside the truth.
///
/// Writes DIR/data (a simulated image of 12 x 12 x 4 voxels with its truth), DIR/fit,
/// DIR/sample, DIR/ct (projections of a head and two reconstructions) and
/// DIR/report.html. Needs no network and no input.
#[derive(Debug, Args)]
#[command(after_help = "\
Units: diffusivities um^2/ms, directions degree, s0 in the unit of the signals.

Reference of the model: Behrens et al. 2003, doi:10.1002/mrm.10609.")]
pub(crate) struct DemoArgs {
    /// Folder of the demonstration.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "microtome-demo")]
    out: PathBuf,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    common: CommonFlags,
}

impl DemoArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        check_folder(&self.out, self.common.overwrite)?;
        if self.common.dry_run {
            say::line(&format!(
                "plan of demo (nothing is written): {VOXELS} voxels are fitted and {} sampled, and a head is reconstructed, in {}; less than a minute",
                SLICE.len(),
                self.out.display()
            ));
            return Ok(Outcome::Done);
        }
        let quiet = self.common.quiet || self.common.json;
        let tell = |text: &str| {
            if !quiet {
                say::line(text);
            }
        };
        tell(&format!(
            "1. Data: {VOXELS} simulated voxels (ball and stick, Rician noise, S0/sigma = 30) with known truth"
        ));
        let existed = self.out.exists();
        let data = prepare(&self.out).inspect_err(|_| {
            if !existed {
                let _ = std::fs::remove_dir_all(&self.out);
            }
        })?;
        tell(&format!("2. Fit of all {VOXELS} voxels"));
        let fit = self.job(Job::Fit, &data, None)?;
        if fit.outcome == Outcome::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        let truth = Truth::read(&data.files.truth)?;
        let fit_lines = truth.compare(&results(&self.out.join("fit"))?)?.1;
        tell(&table(&fit_lines));
        tell(&format!("3. Posterior of the {} voxels of slice k = 1", SLICE.len()));
        let sample = self.job(Job::Sample, &data, Some(&data.mask))?;
        if sample.outcome == Outcome::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        let sample_lines = truth.compare(&results(&self.out.join("sample"))?)?.1;
        tell(&table(&sample_lines));
        tell("4. A head from 60 noisy projections");
        let ct = demo_ct::run(&self.out.join("ct"), self.seed)?;
        tell(&images(&ct.images));
        let page = self.out.join("report.html");
        let mut content =
            report::data(&self.out.join("sample"), Some(&data.files.truth), "microtome demo")?;
        content.images = ct.images.clone();
        content.image_note = ct.note;
        write_text(&page, &html(&content))?;
        tell(&format!("5. Report: open {} in a browser", page.display()));
        tell(&format!(
            "Done in {}. The same by hand:",
            say::duration(begin.elapsed().as_secs_f64())
        ));
        tell(&format!("  {}", line("fit", &data, None, &self.out.join("my-fit"))));
        tell(&format!(
            "  {}",
            line("sample", &data, Some(&data.mask), &self.out.join("my-posterior"))
        ));
        ct.lines.iter().for_each(|line| tell(&format!("  {line}")));
        tell(
            "With your own data: the same lines with your files; `microtome info models` lists the models.",
        );
        if self.common.json {
            let lines = |list: &[Line]| -> serde_json::Value {
                list.iter()
                    .map(|l| {
                        let coverage = l.coverage.is_finite().then_some(l.coverage);
                        let value = serde_json::json!({
                            "voxels": l.voxels, "median_absolute_error": l.median_error, "coverage_90": coverage,
                        });
                        (l.name.clone(), value)
                    })
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            let json = serde_json::json!({
                "out": self.out, "report": page, "wall_s": begin.elapsed().as_secs_f64(),
                "fit": lines(&fit_lines), "sample": lines(&sample_lines), "ct": quality(&ct.images),
                "by_hand": ct.lines,
                "fit_counts": fit.record.map(|r| r.counts), "sample_counts": sample.record.map(|r| r.counts),
            });
            say::line(&json.to_string());
        }
        Ok(if sample.outcome == Outcome::TooManyFailed { sample.outcome } else { fit.outcome })
    }

    fn job(&self, job: Job, data: &Data, mask: Option<&Path>) -> anyhow::Result<voxelwise::Ended> {
        let out = self.out.join(job.name());
        let (acquisition, model) = (data.acquisition(), model());
        let signals = DataFlags {
            dwi: data.files.image.clone(),
            mask: mask.map(Path::to_path_buf),
            sigma: None,
            grad_dev: None,
        };
        let run = RunFlags {
            out: Some(out.clone()),
            seed: self.seed,
            shard: None,
            max_failed: 5.0,
            discard_parts: true,
        };
        let common =
            CommonFlags { quiet: true, json: false, save_config: None, ..self.common.clone() };
        voxelwise::run(&Request {
            job,
            acquisition: &acquisition,
            model: &model,
            data: &signals,
            run: &run,
            common: &common,
            search: SearchSpec::default(),
            settings: &[],
            command_line: line(job.name(), data, mask, &out),
        })
    }
}

/// The files of the demonstration.
struct Data {
    files: DemoFiles,
    mask: PathBuf,
}

impl Data {
    fn acquisition(&self) -> AcquisitionFlags {
        AcquisitionFlags {
            bval: Some(self.files.bval.clone()),
            bvec: Some(self.files.bvec.clone()),
            delta_ms: TIMES.delta_ms,
            big_delta_ms: TIMES.big_delta_ms,
            te_ms: TIMES.te_ms,
            ..AcquisitionFlags::default()
        }
    }
}

fn model() -> ModelFlags {
    ModelFlags {
        model: "ball_stick".into(),
        noise: Some("rician".into()),
        coils: None,
        nu: None,
        response: None,
        lmax: None,
        side_lobes: None,
    }
}

fn prepare(out: &Path) -> anyhow::Result<Data> {
    let folder = out.join("data");
    let files = write_demo(&folder)?;
    let voxels = SignalSource::open(&files.image, None)?.n_voxels();
    let mask = folder.join("slice.npy");
    let values = (0..voxels).map(|v| f64::from(u8::from(SLICE.contains(&v)))).collect();
    write_matrix(&mask, &Matrix { rows: voxels, columns: 1, values })?;
    Ok(Data { files, mask })
}

/// Only an absent or empty folder, or one of an earlier demonstration, is written.
fn check_folder(out: &Path, overwrite: bool) -> anyhow::Result<()> {
    if out.exists() && !out.is_dir() {
        bail!("--out {}: is a file; a folder is needed", out.display());
    }
    if overwrite || !out.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(out)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !["data", "fit", "sample", "ct", "report.html", "my-fit", "my-posterior"]
            .contains(&name.as_str())
        {
            bail!(
                "--out {}: holds files that are not of a demonstration, for instance {name}; choose another folder, or give --overwrite",
                out.display()
            );
        }
    }
    Ok(())
}

fn line(verb: &str, data: &Data, mask: Option<&Path>, out: &Path) -> String {
    let path = |p: &Path| say::quoted(&p.to_string_lossy());
    let times = match (TIMES.delta_ms, TIMES.big_delta_ms) {
        (Some(d), Some(big)) => format!(" --delta-ms {d} --big-delta-ms {big}"),
        _ => String::new(),
    };
    let mask = mask.map(|m| format!(" --mask {}", path(m))).unwrap_or_default();
    format!(
        "microtome {verb} --model ball_stick --noise rician --dwi {} --bval {} --bvec {}{times}{mask} --out {}",
        path(&data.files.image),
        path(&data.files.bval),
        path(&data.files.bvec),
        path(out)
    )
}

fn table(lines: &[Line]) -> String {
    let head =
        ["parameter", "unit", "voxels", "median absolute error", "coverage of 90 % intervals"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for l in lines {
        let coverage = if l.coverage.is_finite() {
            format!("{:.0} %", 100.0 * l.coverage)
        } else {
            "-".into()
        };
        rows.push(vec![
            l.name.clone(),
            l.unit.clone(),
            l.voxels.to_string(),
            say::number(l.median_error),
            coverage,
        ]);
    }
    say::table(&rows).lines().map(|l| format!("   {l}\n")).collect()
}

/// The images that have a number of their own.
fn reconstructed(images: &[ReconstructedImage]) -> impl Iterator<Item = &ReconstructedImage> {
    images.iter().filter(|i| i.psnr.is_finite())
}

fn images(all: &[ReconstructedImage]) -> String {
    let mut rows = vec![["method", "PSNR (dB)", "SSIM"].map(String::from).to_vec()];
    for i in reconstructed(all) {
        rows.push(vec![i.name.clone(), format!("{:.1}", i.psnr), format!("{:.3}", i.ssim)]);
    }
    say::table(&rows).lines().map(|l| format!("   {l}\n")).collect()
}

fn quality(all: &[ReconstructedImage]) -> serde_json::Value {
    let entry = |i: &ReconstructedImage| {
        (i.name.clone(), serde_json::json!({ "psnr_db": i.psnr, "ssim": i.ssim }))
    };
    reconstructed(all).map(entry).collect::<serde_json::Map<_, _>>().into()
}
