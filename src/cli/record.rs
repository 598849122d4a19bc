//! `run.json`: what was run, on what, and how it ended.
//!
//! It is written last and whole, so a folder with a `run.json` is finished. It
//! names everything that could break the equality of results to the bit: the
//! specification, the version, the SIMD level and the seed; threads, device and
//! times are there for the record only.

use anyhow::{Context, bail};
use microtome_datasets::atomic::AtomicFile;
use microtome_models::RunSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The content of `run.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) program: String,
    pub(crate) version: String,
    /// fit or sample.
    pub(crate) job: String,
    pub(crate) command_line: String,
    pub(crate) working_directory: PathBuf,
    /// Hash of specification, version, SIMD level and shape of the input.
    pub(crate) identity: String,
    /// Hash of the specification alone.
    pub(crate) spec_hash: String,
    /// Hash of all rows that were worked on.
    pub(crate) input_hash: String,
    pub(crate) seed: u64,
    pub(crate) simd_level: String,
    /// Architecture and operating system.
    pub(crate) target: String,
    pub(crate) threads: usize,
    pub(crate) device: String,
    /// I and N of `--shard`.
    pub(crate) shard: Option<[usize; 2]>,
    /// Rows of the whole input.
    pub(crate) rows: usize,
    pub(crate) measurements: usize,
    pub(crate) counts: Counts,
    pub(crate) blocks_computed: usize,
    pub(crate) blocks_resumed: usize,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) max_failed_percent: f64,
    /// Default priors that were set from the data of each voxel.
    pub(crate) data_dependent_priors: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// As given to `--model`.
    pub(crate) model: String,
    pub(crate) model_label: String,
    /// Input files by flag, absolute.
    pub(crate) files: BTreeMap<String, PathBuf>,
    /// Files written into the folder.
    pub(crate) outputs: Vec<String>,
    pub(crate) spec: RunSpec,
}

/// Voxels by how they ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) voxels: u64,
    /// Status other than `converged`.
    pub(crate) failed: u64,
    pub(crate) divergences: u64,
    pub(crate) gradients: u64,
    pub(crate) by_status: BTreeMap<String, u64>,
    /// Sampled voxels by the method of their draws.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) by_method: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds the counts of other voxels.
    pub(crate) fn add(&mut self, other: &Counts) {
        self.voxels += other.voxels;
        self.failed += other.failed;
        self.divergences += other.divergences;
        self.gradients += other.gradients;
        for (status, n) in &other.by_status {
            *self.by_status.entry(status.clone()).or_default() += n;
        }
        for (method, n) in &other.by_method {
            *self.by_method.entry(method.clone()).or_default() += n;
        }
    }

    /// Percentage of failed voxels.
    pub(crate) fn failed_percent(&self) -> f64 {
        if self.voxels == 0 { 0.0 } else { 100.0 * self.failed as f64 / self.voxels as f64 }
    }

    /// `40 voxels: 39 converged, 1 invalid_signal; by nuts 3, by psis 36`.
    pub(crate) fn sentence(&self) -> String {
        let parts: Vec<String> = self.by_status.iter().map(|(s, n)| format!("{n} {s}")).collect();
        let methods: Vec<String> =
            self.by_method.iter().map(|(m, n)| format!("by {m} {n}")).collect();
        let methods =
            if methods.len() > 1 { format!("; {}", methods.join(", ")) } else { String::new() };
        format!("{} voxels: {}{methods}", self.voxels, parts.join(", "))
    }
}

impl From<&microtome_inference::Counts> for Counts {
    fn from(c: &microtome_inference::Counts) -> Self {
        Self {
            voxels: c.voxels,
            failed: c.failed,
            divergences: c.divergences,
            gradients: c.gradients,
            by_status: c.by_status.iter().map(|(s, n)| ((*s).to_string(), *n)).collect(),
            by_method: c.by_method.iter().map(|(m, n)| ((*m).to_string(), *n)).collect(),
        }
    }
}

/// The name of the record of a shard, or of a whole run.
pub(crate) fn name(shard: Option<super::flags::Shard>) -> String {
    match shard {
        Some(s) => format!("run.{}-of-{}.json", s.index, s.of),
        None => "run.json".into(),
    }
}

impl Record {
    /// Writes the record.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("run.json")?;
        write_text(path, &(text + "\n"))
    }

    /// Reads a record.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{}: cannot read", path.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!("{}: is not a run.json of this version of microtome", path.display())
        })
    }
}

/// Writes a text file whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("{}: cannot write", path.display()))?;
    file.commit()?;
    Ok(())
}

/// As [`write_text`], but a file of other content stays unless `overwrite` is given;
/// `flag` is the one that named it.
pub(crate) fn settle_text(
    flag: &str,
    path: &Path,
    text: &str,
    overwrite: bool,
) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{flag} {}: is a folder; a file is needed", path.display());
    }
    if path.exists() && !overwrite {
        let found = std::fs::read(path)
            .with_context(|| format!("{flag} {}: cannot read the file", path.display()))?;
        if found != text.as_bytes() {
            bail!(
                "{flag} {}: the file exists with other content; give --overwrite to replace it",
                path.display()
            );
        }
        return Ok(());
    }
    write_text(path, text)
}
