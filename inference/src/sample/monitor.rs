//! Counts of a run while it goes on, for whoever watches it.
//!
//! Threads add to shared counters, a chain after every 32 draws and a voxel when it is
//! done, so watching costs nothing that can be measured and what is read is never more
//! than a moment old. Step sizes are counted in bins of an eighth of an octave.
//!
//! Nothing here enters a result. Validated by `a_watched_run_adds_up` in `tests/suite/run.rs`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Draws after which a chain hands its counts over.
const BATCH: u64 = 32;
/// Bins an octave, and the octaves: step sizes from 2^-20 to 2^12.
const PER_OCTAVE: f64 = 8.0;
const LOWEST: f64 = -20.0;
const BINS: usize = 256;

/// Shared counters of a run.
#[derive(Debug)]
pub struct Monitor {
    voxels: AtomicU64,
    doubtful: AtomicU64,
    tuning: AtomicU64,
    draws: AtomicU64,
    divergences: AtomicU64,
    gradients: AtomicU64,
    steps: [AtomicU64; BINS],
}

/// What a monitor has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Voxels that are done.
    pub voxels: u64,
    /// Those of them that have not mixed or have no result.
    pub doubtful: u64,
    /// Draws of chains that tune.
    pub tuning: u64,
    /// Kept draws of chains.
    pub draws: u64,
    /// Divergent draws after tuning.
    pub divergences: u64,
    /// Gradients, tuning included.
    pub gradients: u64,
    /// Median step size of the chains after tuning, within 5 %; NaN before the first.
    pub step_size: f64,
}

impl Progress {
    /// Gradients a draw, tuning included; NaN before the first draw.
    pub fn gradients_a_draw(&self) -> f64 {
        self.gradients as f64 / (self.tuning + self.draws) as f64
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

/// Monitors are equal when they are the same one.
impl PartialEq for Monitor {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Monitor {
    /// Nothing counted.
    pub const fn new() -> Self {
        Self {
            voxels: AtomicU64::new(0),
            doubtful: AtomicU64::new(0),
            tuning: AtomicU64::new(0),
            draws: AtomicU64::new(0),
            divergences: AtomicU64::new(0),
            gradients: AtomicU64::new(0),
            steps: [const { AtomicU64::new(0) }; BINS],
        }
    }

    /// What was counted so far.
    pub fn progress(&self) -> Progress {
        Progress {
            voxels: self.voxels.load(Relaxed),
            doubtful: self.doubtful.load(Relaxed),
            tuning: self.tuning.load(Relaxed),
            draws: self.draws.load(Relaxed),
            divergences: self.divergences.load(Relaxed),
            gradients: self.gradients.load(Relaxed),
            step_size: self.median_step(),
        }
    }

    /// A voxel is done.
    pub(crate) fn voxel(&self, doubtful: bool) {
        self.voxels.fetch_add(1, Relaxed);
        self.doubtful.fetch_add(u64::from(doubtful), Relaxed);
    }

    fn median_step(&self) -> f64 {
        let counts: Vec<u64> = self.steps.iter().map(|n| n.load(Relaxed)).collect();
        let half = counts.iter().sum::<u64>().div_ceil(2);
        let mut below = 0;
        for (bin, n) in counts.iter().enumerate() {
            below += n;
            if half > 0 && below >= half {
                return ((bin as f64 + 0.5) / PER_OCTAVE + LOWEST).exp2();
            }
        }
        f64::NAN
    }
}

/// The counts of one chain that are not handed over yet.
pub(super) struct Watch<'a> {
    monitor: Option<&'a Monitor>,
    tuning: u64,
    draws: u64,
    divergences: u64,
    gradients: u64,
    /// Whether the step size of the chain was counted.
    has_step: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(monitor: Option<&'a Monitor>) -> Self {
        Self { monitor, tuning: 0, draws: 0, divergences: 0, gradients: 0, has_step: false }
    }

    /// A draw was made, of a chain that is past its tuning or not.
    pub(super) fn draw(&mut self, kept: bool, gradients: u64, diverging: bool, step_size: f64) {
        let Some(monitor) = self.monitor else { return };
        self.gradients += gradients;
        if kept {
            self.draws += 1;
            self.divergences += u64::from(diverging);
            if !self.has_step {
                self.has_step = true;
                let bin = (step_size.log2() - LOWEST) * PER_OCTAVE;
                monitor.steps[(bin.max(0.0) as usize).min(BINS - 1)].fetch_add(1, Relaxed);
            }
        } else {
            self.tuning += 1;
        }
        if self.tuning + self.draws >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(monitor) = self.monitor else { return };
        for (counter, n) in [
            (&monitor.tuning, &mut self.tuning),
            (&monitor.draws, &mut self.draws),
            (&monitor.divergences, &mut self.divergences),
            (&monitor.gradients, &mut self.gradients),
        ] {
            counter.fetch_add(std::mem::take(n), Relaxed);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_sizes_have_their_median() {
        let monitor = Monitor::new();
        assert!(monitor.progress().step_size.is_nan());
        for step in [0.01, 0.5, 0.5, 0.52, 30.0] {
            Watch::new(Some(&monitor)).draw(true, 7, false, step);
        }
        let p = monitor.progress();
        assert!((p.step_size / 0.51 - 1.0).abs() < 0.07, "{p:?}");
        assert_eq!((p.draws, p.gradients, p.gradients_a_draw()), (5, 35, 7.0));
        // Beyond the bins.
        let monitor = Monitor::new();
        Watch::new(Some(&monitor)).draw(true, 1, true, f64::INFINITY);
        Watch::new(Some(&monitor)).draw(true, 1, true, f64::NAN);
        assert_eq!(monitor.progress().divergences, 2);
    }

    #[test]
    fn chains_hand_over_in_batches() {
        let monitor = Monitor::new();
        let mut watch = Watch::new(Some(&monitor));
        (0..BATCH - 1).for_each(|_| watch.draw(false, 2, true, 1.0));
        assert_eq!(monitor.progress().tuning, 0);
        watch.draw(true, 2, false, 1.0);
        let p = monitor.progress();
        assert_eq!((p.tuning, p.draws, p.divergences), (BATCH - 1, 1, 0));
        watch.draw(true, 2, false, 1.0);
        drop(watch);
        assert_eq!(monitor.progress().draws, 2);
    }
}
