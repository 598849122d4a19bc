//! A job that is done in one piece: whose its folder is, whether it is done, what run.json says.
//!
//! Validated by `a_folder_holds_the_posterior`, `wrong_posteriors_leave_nothing` and
//! `align_finds_poses` in `tests/cli/`.

use super::flags::CommonFlags;
use super::folder::{Identity, OutFolder};
use super::{input, record, say};
use microtome_datasets::content_hash;
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

/// A job with a folder of its own.
pub(crate) struct Job<'a> {
    out: &'a Path,
    folder: OutFolder,
    identity: Identity,
    started: Instant,
}

impl<'a> Job<'a> {
    /// Looks at the folder without touching it; `None`, with a word, where this very job is done
    /// already. `content` stands for the numbers of the input files, `spec` for all settings.
    pub(crate) fn begin(
        name: &str,
        out: &'a Path,
        content: &[String],
        spec: &Value,
        common: &CommonFlags,
    ) -> anyhow::Result<Option<Self>> {
        let started = Instant::now();
        let own = [spec.to_string(), input::version().to_string(), input::simd().to_string()];
        let pieces: Vec<&[u8]> = content.iter().chain(&own).map(String::as_bytes).collect();
        let identity = Identity {
            identity: content_hash(&pieces),
            job: name.into(),
            version: input::version().into(),
            simd_level: input::simd().into(),
            spec: spec.clone(),
        };
        let folder = OutFolder::inspect(out, &identity, common.overwrite)?;
        if out.join("run.json").exists() && !common.overwrite {
            if !common.quiet {
                say::line(&format!("{} is finished; nothing to do", out.display()));
            }
            return Ok(None);
        }
        Ok(Some(Self { out, folder, identity, started }))
    }

    /// Seconds since the job began.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Writes the results by `write`, which returns the names of the files, and run.json with
    /// what `more` adds to it; an error leaves nothing. Returns the record.
    pub(crate) fn write(
        mut self,
        write: impl FnOnce(&Path) -> anyhow::Result<Vec<String>>,
        more: Value,
    ) -> anyhow::Result<Value> {
        self.folder.open(&self.identity)?;
        let outputs = write(self.out).inspect_err(|_| self.folder.undo())?;
        let mut all = serde_json::json!({
            "program": "microtome", "version": input::version(), "job": self.identity.job,
            "command_line": std::env::args().collect::<Vec<_>>().join(" "),
            "identity": self.identity.identity, "simd_level": input::simd(),
            "spec": self.identity.spec, "outputs": outputs, "wall_s": self.seconds(),
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        let text = serde_json::to_string_pretty(&all)? + "\n";
        record::write_text(&self.out.join("run.json"), &text)?;
        Ok(all)
    }
}
