//! Progress on standard error: a bar and a live table on a terminal, else a line every
//! 10 s with the same numbers.
//!
//! While sampling, draws, divergences, gradients and step sizes come from the chains
//! themselves, so that a single voxel with long chains moves, too.

use super::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use microtome_inference::sample::{Monitor, Progress as Counted};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two lines, and between two pictures on a terminal.
const EVERY: Duration = Duration::from_secs(10);
const PICTURE: Duration = Duration::from_millis(200);
/// Steps of the bar.
const STEPS: f64 = 1000.0;

/// What chains tell, and how many draws of all chains a voxel takes, tuning included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chains {
    pub(crate) monitor: &'static Monitor,
    pub(crate) draws_a_voxel: u64,
}

/// Shows how far a run is until it is dropped.
pub(crate) struct Progress {
    shown: Option<Shown>,
}

struct Shown {
    state: Arc<State>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    verb: &'static str,
    total: u64,
    chains: Option<Chains>,
    /// Voxels found finished, and voxels of finished blocks.
    found: AtomicU64,
    computed: AtomicU64,
    begin: Instant,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
struct Numbers {
    verb: &'static str,
    done: u64,
    total: u64,
    /// 0 to 1.
    fraction: f64,
    voxels_a_second: f64,
    elapsed: f64,
    left: f64,
    chains: Option<Counted>,
}

impl State {
    fn numbers(&self, elapsed: f64) -> Numbers {
        let (found, computed) =
            (self.found.load(Ordering::Relaxed), self.computed.load(Ordering::Relaxed));
        let chains = self.chains.map(|c| c.monitor.progress());
        // The monitor sees a voxel before its block is finished.
        let computed = chains.map_or(computed, |c| c.voxels.max(computed));
        let rest = self.total.saturating_sub(found).max(1) as f64;
        let mut fraction = computed as f64 / rest;
        if let (Some(counted), Some(of)) = (&chains, self.chains) {
            let draws = (counted.tuning + counted.draws) as f64;
            fraction = fraction.max(draws / (of.draws_a_voxel.max(1) as f64 * rest));
        }
        let fraction = fraction.min(1.0);
        let left =
            if fraction > 0.0 { elapsed * (1.0 - fraction) / fraction } else { f64::INFINITY };
        let all = self.total.max(1) as f64;
        Numbers {
            verb: self.verb,
            done: (found + computed).min(self.total),
            total: self.total,
            fraction: (found as f64 + fraction * rest.min(all)) / all,
            voxels_a_second: computed as f64 / elapsed,
            elapsed,
            left,
            chains,
        }
    }
}

impl Numbers {
    fn head(&self) -> String {
        format!(
            "{} of {} voxels, {} voxels/s, {} elapsed, {} left",
            self.done,
            self.total,
            say::number(self.voxels_a_second),
            say::duration(self.elapsed),
            say::duration(self.left)
        )
    }

    /// Names and values of what the chains tell.
    fn cells(&self) -> Vec<(&'static str, String)> {
        let Some(c) = &self.chains else { return Vec::new() };
        vec![
            ("draws", (c.tuning + c.draws).to_string()),
            ("divergences", c.divergences.to_string()),
            ("step size", say::number(c.step_size)),
            ("gradients a draw", say::number(c.gradients_a_draw())),
            ("voxels not mixed or failed", c.doubtful.to_string()),
        ]
    }

    /// One line.
    fn line(&self) -> String {
        let cells = self.cells();
        let cells = cells.iter().map(|(name, value)| format!("; {name} {value}"));
        let percent = 100.0 * self.fraction;
        format!("{}: {percent:.0} %, {}{}", self.verb, self.head(), cells.collect::<String>())
    }

    /// The text behind the bar, and the table below it.
    fn picture(&self) -> String {
        let mut text = format!("{:.0} %  {}", 100.0 * self.fraction, self.head());
        let cells = self.cells();
        if !cells.is_empty() {
            let head = cells.iter().map(|(name, _)| (*name).to_string()).collect();
            let rows = vec![head, cells.into_iter().map(|(_, value)| value).collect()];
            for row in say::table(&rows).lines() {
                text.push_str("\n  ");
                text.push_str(row);
            }
        }
        text
    }
}

/// Where the numbers go.
enum Target {
    Bar(ProgressBar),
    Lines,
}

impl Target {
    fn new(verb: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(Some(STEPS as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(verb);
        Self::Bar(bar)
    }

    fn every(&self) -> Duration {
        match self {
            Self::Bar(_) => PICTURE,
            Self::Lines => EVERY,
        }
    }

    fn show(&self, numbers: &Numbers) {
        match self {
            Self::Bar(bar) => {
                bar.set_position((STEPS * numbers.fraction) as u64);
                bar.set_message(numbers.picture());
            }
            Self::Lines => say::note(&numbers.line()),
        }
    }
}

impl Progress {
    /// Begins to show progress to `total` voxels.
    pub(crate) fn begin(
        verb: &'static str,
        total: u64,
        chains: Option<Chains>,
        quiet: bool,
    ) -> Self {
        if quiet {
            return Self { shown: None };
        }
        let (found, computed) = (AtomicU64::new(0), AtomicU64::new(0));
        let state = State { verb, total, chains, found, computed, begin: Instant::now() };
        let state = Arc::new(state);
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (seen, wait) = (state.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let target = Target::new(verb);
            let (lock, wake) = &*wait;
            let mut stopped = lock.lock().unwrap_or_else(PoisonError::into_inner);
            while !*stopped {
                let (guard, timeout) = wake
                    .wait_timeout(stopped, target.every())
                    .unwrap_or_else(PoisonError::into_inner);
                stopped = guard;
                if !*stopped && timeout.timed_out() {
                    target.show(&seen.numbers(seen.begin.elapsed().as_secs_f64()));
                }
            }
            if let Target::Bar(bar) = target {
                bar.finish_and_clear();
            }
        });
        Self { shown: Some(Shown { state, stop, thread: Some(thread) }) }
    }

    /// Adds voxels that were finished before.
    pub(crate) fn found(&self, voxels: u64) {
        if let Some(shown) = &self.shown {
            shown.state.found.fetch_add(voxels, Ordering::Relaxed);
        }
    }

    /// Adds the voxels of a block that is finished now.
    pub(crate) fn computed(&self, voxels: u64) {
        if let Some(shown) = &self.shown {
            shown.state.computed.fetch_add(voxels, Ordering::Relaxed);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shown) = &mut self.shown {
            *shown.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            shown.stop.1.notify_all();
            if let Some(thread) = shown.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_run_that_resumes() {
        let state = State {
            verb: "sample",
            total: 1000,
            chains: None,
            found: AtomicU64::new(600),
            computed: AtomicU64::new(100),
            begin: Instant::now(),
        };
        // A quarter of the rest took 10 s, so three quarters take 30.
        let n = state.numbers(10.0);
        assert_eq!((n.done, n.fraction, n.left, n.voxels_a_second), (700, 0.7, 30.0, 10.0));
        assert_eq!(
            n.line(),
            "sample: 70 %, 700 of 1000 voxels, 10.00 voxels/s, 10 s elapsed, 30 s left"
        );
        state.computed.store(0, Ordering::Relaxed);
        assert!(state.numbers(10.0).line().ends_with("10 s elapsed, unknown left"));
        // Nothing to do.
        let none = State { total: 0, found: AtomicU64::new(0), ..state };
        assert!(none.numbers(1.0).fraction.is_finite());
    }

    #[test]
    fn chains_are_shown_below_the_bar() {
        let chains = Counted {
            voxels: 3,
            doubtful: 1,
            tuning: 100,
            draws: 300,
            divergences: 2,
            gradients: 2000,
            step_size: 0.5,
        };
        let (verb, chains) = ("sample", Some(chains));
        let n = Numbers {
            verb,
            done: 3,
            total: 4,
            fraction: 0.75,
            voxels_a_second: 1.5,
            elapsed: 2.0,
            left: 1.0,
            chains,
        };
        assert_eq!(
            n.line(),
            "sample: 75 %, 3 of 4 voxels, 1.500 voxels/s, 2.0 s elapsed, 1.0 s left; draws 400; divergences 2; \
             step size 0.500; gradients a draw 5.000; voxels not mixed or failed 1"
        );
        let lines: Vec<String> = n.picture().lines().map(String::from).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("draws  divergences  step size"), "{}", lines[1]);
        assert!(lines[2].contains("400    2            0.500"), "{}", lines[2]);
    }
}
