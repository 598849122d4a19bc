//! Progress on standard error: a bar on a terminal, else a line every 10 s.

use super::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(10);

/// Counts finished voxels.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
}

struct Lines {
    done: Arc<AtomicU64>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show progress to `total` voxels.
    pub(crate) fn begin(verb: &'static str, total: u64, quiet: bool) -> Self {
        if quiet {
            return Self { bar: None, lines: None };
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = "{prefix} [{bar:32}] {pos}/{len} voxels, {elapsed} elapsed, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(verb);
            bar.enable_steady_tick(Duration::from_millis(500));
            return Self { bar: Some(bar), lines: None };
        }
        let done = Arc::new(AtomicU64::new(0));
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (seen, wait) = (done.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            let (lock, wake) = &*wait;
            let mut stopped = lock.lock().unwrap_or_else(PoisonError::into_inner);
            while !*stopped {
                let (guard, timeout) =
                    wake.wait_timeout(stopped, EVERY).unwrap_or_else(PoisonError::into_inner);
                stopped = guard;
                if !*stopped && timeout.timed_out() {
                    let (n, t) = (seen.load(Ordering::Relaxed), begin.elapsed().as_secs_f64());
                    let left = if n == 0 {
                        f64::NAN
                    } else {
                        t * (total - n.min(total)) as f64 / n as f64
                    };
                    say::note(&format!(
                        "{verb}: {n} of {total} voxels, {} elapsed, {} left",
                        say::duration(t),
                        say::duration(left)
                    ));
                }
            }
        });
        Self { bar: None, lines: Some(Lines { done, stop, thread: Some(thread) }) }
    }

    /// Adds finished voxels.
    pub(crate) fn add(&self, voxels: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(voxels);
        }
        if let Some(lines) = &self.lines {
            lines.done.fetch_add(voxels, Ordering::Relaxed);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(lines) = &mut self.lines {
            *lines.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            lines.stop.1.notify_all();
            if let Some(thread) = lines.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
