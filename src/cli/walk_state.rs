//! The sums of a walk, or the walks of a sweep, that is not over, beside its table: `OUT.walk`.
//!
//! A file of the numbers so far, with the identity of their simulation and a hash of
//! both. It takes the place of the one before in one step, so that a killed run leaves a
//! whole one; the end of the walk removes it. Validated by `tests/cli/simulate_resume.rs`
//! and `tests/cli/dictionary.rs`.

use anyhow::{Context, bail};
use microtome_datasets::content_hash;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two times that the numbers so far are kept.
pub(super) const KEEP: Duration = Duration::from_millis(250);
/// First line of the file.
const HEAD: &str = "microtome walk 1";

/// Where the sums of a table are kept.
pub(super) struct WalkState {
    path: PathBuf,
    identity: String,
}

impl WalkState {
    pub(super) fn beside(out: &Path, identity: &str) -> Self {
        let mut name = out.as_os_str().to_os_string();
        name.push(".walk");
        Self { path: name.into(), identity: identity.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn parse(&self, text: &str) -> Option<Vec<u64>> {
        let (body, hash) = text.trim_end().rsplit_once('\n')?;
        let mut lines = body.lines();
        let own = lines.next()? == HEAD
            && lines.next()? == self.identity
            && hash == content_hash(&[body.as_bytes()]);
        if !own {
            return None;
        }
        lines.map(|l| u64::from_str_radix(l, 16).ok()).collect()
    }

    /// Keeps the numbers so far.
    pub(super) fn keep(&self, words: &[u64]) -> anyhow::Result<()> {
        let words: Vec<String> = words.iter().map(|w| format!("{w:016x}")).collect();
        let body = format!("{HEAD}\n{}\n{}", self.identity, words.join("\n"));
        let text = format!("{body}\n{}\n", content_hash(&[body.as_bytes()]));
        let mut half = self.path.as_os_str().to_os_string();
        half.push(".tmp");
        let half = PathBuf::from(half);
        let written = std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&half);
        }
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Removes what is kept.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// What an earlier run of this simulation left, made of its numbers; `resume` says that
    /// what is there must fit.
    pub(super) fn begin<T>(
        &self,
        resume: bool,
        of: impl Fn(&[u64]) -> Option<T>,
    ) -> anyhow::Result<Option<T>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => String::new(),
            Err(e) => {
                return Err(e).with_context(|| format!("cannot read {}", self.path.display()));
            }
        };
        let found = self.parse(&text).and_then(|words| of(&words));
        if found.is_none() && resume {
            bail!(
                "--resume: {} is not of this simulation (another line, version or machine level wrote it); \
                 give the line that began it, or leave --resume out to begin anew",
                self.path.display()
            );
        }
        Ok(found)
    }
}
