//! `microtome simulate --sweep`: signals over a grid of substrate parameters, a dictionary that
//! `fit` and `sample` take as a model.
//!
//! The table is a function of substrate, sweep, shells, walkers, step and seed alone. Validated
//! by `tests/cli/dictionary.rs`.

use super::blocks::STOP;
use super::counting::Counting;
use super::input::{simd, version};
use super::walk_state::{KEEP, WalkState};
use super::{Outcome, say, voxelwise};
use anyhow::{Context, bail};
use microtome_datasets::{
    build_substrate, content_hash, read_dictionary, read_substrate_spec, write_dictionary,
};
use microtome_models::Acquisition;
use microtome_models::dictionary::{DictionaryTable, SweepSpec, Swept, Walked};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What a table was made of, in its metadata.
pub(super) const IDENTITY: &str = "microtome.identity";

/// A sweep, as the flags of `simulate` say it.
pub(super) struct SweepRun<'a> {
    pub(super) substrate: &'a Path,
    pub(super) sweep: &'a Path,
    pub(super) acquisition: &'a Acquisition,
    pub(super) walkers: Option<u64>,
    pub(super) step_ms: Option<f64>,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) dry_run: bool,
    pub(super) resume: bool,
    pub(super) quiet: bool,
    pub(super) json: bool,
}

impl SweepRun<'_> {
    /// Simulates; `is_done` says whether the output holds a table of this identity already.
    pub(super) fn run(
        &self,
        out: Option<&Path>,
        is_done: impl FnOnce(&Path, &str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Outcome> {
        let name = || self.sweep.display().to_string();
        let text = std::fs::read_to_string(self.sweep)
            .with_context(|| format!("{}: cannot read the sweep", name()))?;
        let spec = SweepSpec::from_toml(&text).with_context(name)?;
        let substrate = read_substrate_spec(self.substrate)?;
        let sweep = spec.over(&substrate).with_context(name)?;
        let exact = self.walkers.is_none();
        let packings = if exact { 1 } else { sweep.packings() };
        let mut substrates = Vec::with_capacity(packings);
        for k in 0..packings {
            let specs = sweep.substrates(k).with_context(name)?;
            let built: Result<Vec<_>, _> =
                specs.iter().map(|s| build_substrate(self.substrate, s)).collect();
            substrates.push(built.with_context(name)?);
        }
        let identity = {
            let text = format!(
                "{:?}{spec:?}{:?}{:?}{:?}{}",
                substrates.first(),
                self.acquisition.shells(),
                self.walkers,
                self.step_ms.map(f64::to_bits),
                self.seed
            );
            content_hash(&[text.as_bytes(), version().as_bytes(), simd().as_bytes()])
        };
        let swept = sweep.of(substrates, self.acquisition, exact).with_context(name)?;
        let step_ms = match exact {
            true => 0.0,
            false => swept.step_ms(self.step_ms).context("--walkers and --step-ms")?,
        };
        let (points, measurements) = (sweep.points(), swept.measurements());
        if self.dry_run {
            let walk = match self.walkers {
                Some(n) => format!(
                    "  walkers       {n} a point, in {} batches\n  step          {} ms\n  threads       {}",
                    sweep.batches(),
                    say::number(step_ms),
                    self.threads
                ),
                None => "  exact signals by modes, no walkers".into(),
            };
            say::line(&format!(
                "plan of simulate --sweep (nothing is written)\n  points        {points}\n  shells        {}\n  directions    {measurements}\n{walk}",
                swept.shells().len(),
            ));
            return Ok(Outcome::Done);
        }
        let Some(out) = out else { bail!("--out FILE is needed, a .parquet file") };
        if is_done(out, &identity)? {
            if !self.quiet {
                say::line(&format!("{} holds this dictionary already", out.display()));
            }
            return Ok(Outcome::Done);
        }
        let begin = Instant::now();
        let state = WalkState::beside(out, &identity);
        let failed = || format!("{} with {}", self.substrate.display(), name());
        let walked = match self.walkers {
            Some(n) => self.walked(swept, n, step_ms, &state).with_context(failed)?,
            None => {
                let mut progress = Counting::new("simulate", "points", self.quiet);
                let table = swept.exact(|seen| progress.show(seen.done as u64, seen.of as u64));
                progress.finish();
                Some((table.with_context(failed)?, 0))
            }
        };
        let Some((table, walker_steps)) = walked else {
            return Ok(Outcome::Interrupted);
        };
        let metadata = HashMap::from([
            (IDENTITY.to_string(), identity),
            ("microtome.version".to_string(), version().to_string()),
            ("microtome.simd_level".to_string(), simd().to_string()),
            ("microtome.seed".to_string(), self.seed.to_string()),
            ("microtome.step_ms".to_string(), step_ms.to_string()),
            ("microtome.walkers".to_string(), self.walkers.unwrap_or(0).to_string()),
            ("microtome.substrate".to_string(), toml::to_string(&substrate)?),
            ("microtome.sweep".to_string(), toml::to_string(&spec)?),
        ]);
        write_dictionary(out, &table, metadata)?;
        state.clear()?;
        let dictionary = read_dictionary(out, None)?;
        let elapsed = begin.elapsed().as_secs_f64();
        let left_out: Vec<_> = dictionary.left_out().iter().collect();
        if self.json {
            let errors: Vec<_> = left_out
                .iter()
                .map(|e| {
                    serde_json::json!({
                        "parameter": e.parameter, "largest": e.largest, "rms": e.rms, "at": e.at,
                    })
                })
                .collect();
            let json = serde_json::json!({
                "verb": "simulate", "sweep": true, "exact": exact, "points": points,
                "shells": table.shells.len(), "directions": measurements,
                "walkers": self.walkers.unwrap_or(0), "step_ms": step_ms,
                "walker_steps": walker_steps, "largest_se": dictionary.largest_se(),
                "error_modes": dictionary.error_modes(), "error_share": dictionary.held(),
                "left_out": errors, "wall_s": elapsed, "out": out, "simd_level": simd(),
            });
            say::line(&json.to_string());
        } else if !self.quiet {
            say::line(&format!(
                "{points} points x {} shells in {}; largest standard error {}: {}",
                table.shells.len(),
                say::duration(elapsed),
                say::number(dictionary.largest_se()),
                out.display()
            ));
            for e in left_out {
                if e.largest > 0.0 {
                    say::line(&format!(
                        "interpolation along {}: off by {} at most (rms {}) where a node is left out",
                        e.parameter,
                        say::number(e.largest),
                        say::number(e.rms)
                    ));
                } else {
                    say::line(&format!(
                        "interpolation along {}: fewer than 4 values, so its error is not known",
                        e.parameter
                    ));
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Walks all points, from where an earlier run of this line was stopped; `None` when this
    /// one is.
    fn walked(
        &self,
        swept: Swept,
        walkers: u64,
        step_ms: f64,
        state: &WalkState,
    ) -> anyhow::Result<Option<(DictionaryTable, u64)>> {
        voxelwise::catch_interrupts()?;
        let found = state.begin(self.resume, Walked::from_words)?;
        let mut progress = Counting::new("simulate", "walks", self.quiet);
        let (mut first, mut kept, mut failed) = (true, Instant::now(), None);
        // The file grows with the walks: writing takes a twentieth of the time at most.
        let mut every = KEEP;
        let goes_on = found.is_some();
        let table = swept.walk_on(
            walkers,
            step_ms,
            self.seed,
            found.unwrap_or_default(),
            |seen, walks| {
                if first && goes_on {
                    progress.found(seen.done as u64);
                    if !self.quiet {
                        say::note(&format!("simulate: goes on after {} walks", seen.done));
                    }
                }
                first = false;
                progress.show(seen.done as u64, seen.of as u64);
                let stopped = STOP.load(Ordering::Relaxed);
                if stopped || kept.elapsed() >= every {
                    let begin = Instant::now();
                    failed = state.keep(&walks.words()).err();
                    kept = Instant::now();
                    every = KEEP.max(20 * begin.elapsed());
                }
                if stopped && failed.is_none() {
                    say::note(&format!(
                        "interrupted after {} of {} walks, which are kept in {}; the same line resumes",
                        seen.done,
                        seen.of,
                        state.path().display()
                    ));
                }
                !stopped && failed.is_none()
            },
        )?;
        progress.finish();
        match failed {
            Some(e) => Err(e),
            None => Ok(table),
        }
    }
}
