//! The sums of a walk that is not over, beside its table: `OUT.walk`.
//!
//! A file of the sums after some walkers, with the identity of their simulation and a hash of
//! both. It takes the place of the one before in one step, so that a killed run leaves a
//! whole one; the end of the walk removes it. Validated by `tests/cli/simulate_resume.rs`.

use anyhow::{Context, bail};
use microtome_datasets::content_hash;
use microtome_models::substrate::Tally;
use std::path::{Path, PathBuf};

/// First line of the file.
const HEAD: &str = "microtome walk 1";

/// Where the sums of a table are kept.
pub(super) struct WalkState {
    path: PathBuf,
    identity: String,
}

/// What was found.
pub(super) enum Found {
    /// Nothing.
    None,
    /// Sums of this simulation.
    Own(Box<Tally>),
    /// A file of another simulation, or a damaged one.
    Other,
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

    /// What an earlier run left.
    pub(super) fn find(&self) -> anyhow::Result<Found> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::None),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Ok(Found::Other),
            Err(e) => {
                return Err(e).with_context(|| format!("cannot read {}", self.path.display()));
            }
        };
        Ok(self.parse(&text).map_or(Found::Other, |t| Found::Own(Box::new(t))))
    }

    fn parse(&self, text: &str) -> Option<Tally> {
        let (body, hash) = text.trim_end().rsplit_once('\n')?;
        let mut lines = body.lines();
        let own = lines.next()? == HEAD
            && lines.next()? == self.identity
            && hash == content_hash(&[body.as_bytes()]);
        if !own {
            return None;
        }
        let words: Option<Vec<u64>> = lines.map(|l| u64::from_str_radix(l, 16).ok()).collect();
        Tally::from_words(&words?)
    }

    /// Keeps the sums so far.
    pub(super) fn keep(&self, tally: &Tally) -> anyhow::Result<()> {
        let words: Vec<String> = tally.words().iter().map(|w| format!("{w:016x}")).collect();
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

    /// The sums to begin with; `resume` says that they must fit.
    pub(super) fn begin(&self, resume: bool) -> anyhow::Result<Option<Tally>> {
        match self.find()? {
            Found::None => Ok(None),
            Found::Own(tally) => Ok(Some(*tally)),
            Found::Other if resume => bail!(
                "--resume: {} is not of this simulation (another line, version or machine level wrote it); \
                 give the line that began it, or leave --resume out to begin anew",
                self.path.display()
            ),
            Found::Other => Ok(None),
        }
    }
}
