//! The folder of a run: whose it is, and that errors leave no trace.
//!
//! `OUT/.parts/run.json` holds the identity of the run from before the first
//! block on. A folder of the same identity resumes; anything else needs
//! `--overwrite`, which removes what this program wrote and nothing else.
//!
//! Validated by `foreign_folders_are_refused` and `errors_leave_nothing` in `tests/cli/`.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What distinguishes one run from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) identity: String,
    pub(crate) job: String,
    pub(crate) version: String,
    pub(crate) simd_level: String,
    pub(crate) spec: serde_json::Value,
}

/// A folder that may be written.
#[derive(Debug)]
pub(crate) struct OutFolder {
    path: PathBuf,
    replace: bool,
    /// Folders made by this run, outermost first.
    made: Vec<PathBuf>,
}

impl OutFolder {
    /// Looks at a folder without touching it.
    pub(crate) fn inspect(
        path: &Path,
        identity: &Identity,
        overwrite: bool,
    ) -> anyhow::Result<Self> {
        let fresh = |replace| Self { path: path.to_path_buf(), replace, made: Vec::new() };
        if !path.exists() {
            let ancestor = path.ancestors().skip(1).find(|a| a.exists());
            if let Some(a) = ancestor.filter(|a| !a.is_dir()) {
                bail!("--out {}: {} is a file, not a folder", path.display(), a.display());
            }
            return Ok(fresh(false));
        }
        if !path.is_dir() {
            bail!("--out {}: is a file; a folder is needed", path.display());
        }
        let names = names(path)?;
        if names.is_empty() {
            return Ok(fresh(false));
        }
        let mut found = read_identity(path);
        if found.is_none() {
            // A shard of the same run has just begun, or a run was killed before its first block.
            if names.iter().all(|n| n == ".parts") && unclaimed(path)? {
                return Ok(fresh(false));
            }
            found = read_identity(path);
        }
        let other = match found {
            Some(found) if found.identity == identity.identity => return Ok(fresh(false)),
            Some(found) => format!(
                "holds the results of another run (another {})",
                differences(&found, identity)
            ),
            None => {
                let strange = names.iter().find(|n| !is_ours(n)).unwrap_or(&names[0]);
                format!("holds files that are not of this run, for instance {strange}")
            }
        };
        if !overwrite {
            bail!("--out {}: {other}; choose another folder, or give --overwrite", path.display());
        }
        Ok(fresh(true))
    }

    /// Makes the folder ready for parts.
    pub(crate) fn open(&mut self, identity: &Identity) -> anyhow::Result<()> {
        if self.replace {
            for name in names(&self.path)?.iter().filter(|n| is_ours(n)) {
                let path = self.path.join(name);
                let gone = if path.is_dir() {
                    std::fs::remove_dir_all(&path)
                } else {
                    std::fs::remove_file(&path)
                };
                gone.with_context(|| format!("{}: cannot remove", path.display()))?;
            }
        }
        let parts = self.path.join(".parts");
        let missing: Vec<PathBuf> = parts
            .ancestors()
            .take_while(|a| !a.as_os_str().is_empty() && !a.exists())
            .map(Path::to_path_buf)
            .collect();
        let result = (|| {
            for folder in missing.iter().rev() {
                match std::fs::create_dir(folder) {
                    Ok(()) => self.made.push(folder.clone()),
                    Err(_) if folder.is_dir() => {}
                    Err(e) => {
                        return Err(e).with_context(|| {
                            format!("{}: cannot create the folder", folder.display())
                        });
                    }
                }
            }
            let text = serde_json::to_string_pretty(identity)? + "\n";
            super::record::write_text(&parts.join("run.json"), &text)
        })();
        if result.is_err() {
            self.undo();
        }
        result
    }

    /// Removes what [`OutFolder::open`] made, unless a block was finished.
    pub(crate) fn undo(&self) {
        let parts = self.path.join(".parts");
        let finished = names(&parts).is_ok_and(|n| n.iter().any(|n| n.ends_with(".parquet")));
        if finished || !self.made.contains(&parts) {
            return;
        }
        let _ = std::fs::remove_file(parts.join("run.json"));
        for folder in self.made.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
    }

    /// Removes what a killed run left half-written; of a shard its tables, since
    /// other shards may be at work.
    pub(crate) fn sweep(&self, tables: Option<&[String]>) {
        let ours = |name: &str| match tables {
            None => true,
            Some(tables) => tables.iter().any(|t| name.starts_with(&format!(".{t}."))),
        };
        for folder in [self.path.clone(), self.path.join(".parts")] {
            for name in names(&folder).unwrap_or_default() {
                if is_half_written(&name) && ours(&name) {
                    let _ = std::fs::remove_file(folder.join(name));
                }
            }
        }
    }
}

fn is_half_written(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Whether a name is one that this program writes.
fn is_ours(name: &str) -> bool {
    let tables = [
        "fit",
        "posterior",
        "summary",
        "fod",
        "criteria",
        "population",
        "population_summary",
        "poses",
    ];
    let table = tables.iter().any(|t| {
        name.strip_prefix(t).is_some_and(|r| r.starts_with('.') && r.ends_with(".parquet"))
    });
    let map = name.starts_with("model-")
        && (name.ends_with("_dwimap.nii.gz") || name.ends_with("_dwimap.json"));
    let record = name.strip_prefix("run.").is_some_and(|r| r.ends_with("json"));
    table
        || map
        || record
        || is_half_written(name)
        || [
            ".parts",
            "report.html",
            "dataset_description.json",
            "fod.nii.gz",
            "fod.json",
            "fod.npy",
            "peaks.nii.gz",
            "peaks.json",
            "mean.npy",
            "sd.npy",
            "sd_mcse.npy",
            "mcse.npy",
            "draws.npy",
            "exceedance.npy",
            "regions.parquet",
            "theta.npy",
            "views.npy",
            "volume.npy",
            "geometry.toml",
            "history.parquet",
        ]
        .contains(&name)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let list = std::fs::read_dir(folder)
        .with_context(|| format!("{}: cannot list the folder", folder.display()))?;
    let mut out = Vec::new();
    for entry in list {
        out.push(entry?.file_name().to_string_lossy().into_owned());
    }
    out.sort();
    Ok(out)
}

/// The identity of the run in a folder.
pub(crate) fn read_identity(folder: &Path) -> Option<Identity> {
    let text = std::fs::read_to_string(folder.join(".parts").join("run.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether the parts of a folder belong to no run yet: neither blocks nor an identity.
fn unclaimed(folder: &Path) -> anyhow::Result<bool> {
    let parts = folder.join(".parts");
    Ok(parts.is_dir() && names(&parts)?.iter().all(|n| is_half_written(n)))
}

/// In what two runs differ, in words.
fn differences(a: &Identity, b: &Identity) -> String {
    let mut out = Vec::new();
    if a.job != b.job {
        out.push("job");
    }
    if a.version != b.version {
        out.push("version");
    }
    if a.simd_level != b.simd_level {
        out.push("SIMD level");
    }
    for key in ["model", "acquisition", "sigma", "search", "seed"] {
        if a.spec.get(key) != b.spec.get(key) {
            out.push(key);
        }
    }
    if out.is_empty() { "input".into() } else { out.join(", ") }
}
