//! Progress of a verb that counts one thing: a bar on a terminal, else a line every ten
//! seconds, on standard error.

use super::say;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// How far a run is.
pub(super) struct Counting {
    verb: &'static str,
    /// What is counted, in the plural.
    noun: &'static str,
    bar: Option<ProgressBar>,
    begin: Instant,
    last: Instant,
    /// What was there when the run began.
    found: Option<u64>,
    quiet: bool,
}

impl Counting {
    pub(super) fn new(verb: &'static str, noun: &'static str, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0));
        let style = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}");
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(verb);
        }
        let now = Instant::now();
        Self { verb, noun, bar, begin: now, last: now, found: None, quiet }
    }

    /// So many were done by a run before this one.
    pub(super) fn found(&mut self, done: u64) {
        self.found = Some(done);
    }

    pub(super) fn show(&mut self, seen: u64, of: u64) {
        let found = self.found.unwrap_or(0);
        if self.quiet || seen <= found {
            return;
        }
        let due = self.last.elapsed() >= EVERY;
        if self.bar.is_none() && !due {
            return;
        }
        let elapsed = self.begin.elapsed().as_secs_f64();
        let left = elapsed * of.saturating_sub(seen) as f64 / (seen - found) as f64;
        let text = format!(
            "{seen} of {of} {}, {} elapsed, {} left",
            self.noun,
            say::duration(elapsed),
            say::duration(left)
        );
        if let Some(bar) = &self.bar {
            bar.set_length(of);
            bar.set_position(seen);
            bar.set_message(text);
        } else {
            self.last = Instant::now();
            say::note(&format!("{}: {text}", self.verb));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
