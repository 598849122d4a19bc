//! Blocks of voxels on all threads: read, process, write a part.
//!
//! A few drivers (as many as threads, up to four, and one more for every eight
//! threads) read and write, while the voxels of their blocks share one pool. So
//! reading and writing overlap with computing, a single block still uses all
//! threads, and few blocks are in memory. One thread means one driver that does
//! one thing at a time.
//!
//! The blocks of cheap fits share parts, sixteen at a time. The last table of a part
//! carries the counts of its voxels; its blocks are finished when all its tables are
//! there.

use super::growing::GrowingTables;
use super::input::{Input, key};
use super::progress::Progress;
use super::record::Counts;
use anyhow::Context;
use microtome_datasets::PartStore;
use microtome_inference::{InferenceError, Runner, Tables};
use microtome_models::{FitMethod, Job, RunSpec};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Set by Ctrl-C, and by an error in any driver.
pub(crate) static STOP: AtomicBool = AtomicBool::new(false);

const COUNTS: &str = "counts";

/// What became of the blocks.
pub(crate) enum Blocks {
    /// All are finished.
    Finished(Finished),
    /// Stopped by the user; so many are finished.
    Interrupted(usize),
}

/// Finished blocks.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Their keys, in order.
    pub(crate) keys: Vec<String>,
    /// The names of their parts, in order.
    pub(crate) parts: Vec<String>,
    pub(crate) counts: Counts,
    /// How many were found finished.
    pub(crate) resumed: usize,
}

/// The tables of a job, in the order in which their parts are written.
pub(crate) fn tables(spec: &RunSpec) -> &'static [&'static str] {
    match spec.job {
        Job::Fit if spec.model.deconvolution.is_some() => &["fod", "fit"],
        Job::Fit => &["fit"],
        Job::Sample if spec.search.criteria => &["posterior", "summary", "criteria"],
        Job::Sample => &["posterior", "summary"],
    }
}

/// The tables of a batch, in the order of [`tables`].
pub(crate) fn content(result: Tables) -> impl Iterator<Item = arrow_array::RecordBatch> {
    [result.fod, Some(result.main), result.summary, result.criteria].into_iter().flatten()
}

/// Blocks that are in memory at once: one a thread, and on many threads, which
/// share the voxels of a block, enough to keep reading and writing apart.
pub(crate) fn drivers(threads: usize, blocks: usize) -> usize {
    threads.min(4 + threads / 8).min(blocks)
}

/// Blocks that share a part. Where a block takes less time than its files, sixteen do:
/// a run that is killed loses no more than a second of each driver.
fn blocks_a_part(spec: &RunSpec) -> usize {
    let linear = spec.method() != FitMethod::Nlls || !spec.model.expansion.is_gaussian();
    let cheap = spec.model.deconvolution.is_some() || linear;
    if spec.job == Job::Fit && cheap { 16 } else { 1 }
}

/// The name of the part of some blocks.
fn part(keys: &[String]) -> String {
    match keys {
        [key] => key.clone(),
        _ => hash(keys),
    }
}

/// What works on blocks has.
pub(crate) struct Work<'a> {
    pub(crate) input: &'a Input,
    pub(crate) runner: &'a Runner,
    pub(crate) store: &'a PartStore,
    pub(crate) threads: usize,
    pub(crate) progress: &'a Progress,
    /// Tables that take the rows at once; without them they are joined from the parts.
    pub(crate) tables: Option<&'a GrowingTables<'a>>,
}

impl Work<'_> {
    /// Works on the blocks.
    pub(crate) fn run(&self, blocks: &[usize]) -> anyhow::Result<Blocks> {
        let groups: Vec<&[usize]> = blocks.chunks(blocks_a_part(&self.input.spec)).collect();
        let fresh = self.store.is_empty();
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
        let done: Mutex<Vec<(usize, Group)>> = Mutex::new(Vec::with_capacity(groups.len()));
        let drive = || {
            while !STOP.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(&group) = groups.get(at) else { break };
                match self.one(at, group, fresh) {
                    Ok(Some(g)) => {
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((at, g))
                    }
                    Ok(None) => break,
                    Err(e) => {
                        STOP.store(true, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                    }
                }
            }
        };
        if self.threads == 1 {
            // On the thread of the pool itself, which then waits for nobody.
            rayon::scope(|_| drive());
        } else {
            std::thread::scope(|scope| {
                for _ in 0..drivers(self.threads, groups.len()) {
                    scope.spawn(drive);
                }
            });
        }
        if let Some(e) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(e);
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        if done.len() < groups.len() {
            return Ok(Blocks::Interrupted(done.iter().map(|(_, g)| g.keys.len()).sum()));
        }
        done.sort_by_key(|(at, _)| *at);
        let mut out = Finished::default();
        for (_, group) in done {
            out.resumed += if group.resumed { group.keys.len() } else { 0 };
            out.parts.push(part(&group.keys));
            out.keys.extend(group.keys);
            out.counts.add(&group.counts);
        }
        Ok(Blocks::Finished(out))
    }

    /// The blocks of one part; `None` when they were interrupted.
    fn one(&self, at: usize, blocks: &[usize], fresh: bool) -> anyhow::Result<Option<Group>> {
        let tables = tables(&self.input.spec);
        if !fresh {
            let key = |b: &usize| Ok(key(*b, &self.input.block(*b)?));
            let keys = blocks.iter().map(key).collect::<anyhow::Result<Vec<String>>>()?;
            if let Some(counts) = self.counts_of(&part(&keys), tables)? {
                self.progress.found(counts.voxels);
                if let Some(growing) = self.tables {
                    growing.add(at, part(&keys), None)?;
                }
                return Ok(Some(Group { keys, counts, resumed: true }));
            }
        }
        let mut group = Group { keys: Vec::new(), counts: Counts::default(), resumed: false };
        let mut rows = vec![Vec::with_capacity(blocks.len()); tables.len()];
        for block in blocks {
            let batch = self.input.block(*block)?;
            group.keys.push(key(*block, &batch));
            let result = match self.runner.process_voxels(batch, &STOP) {
                Ok(result) => result,
                Err(InferenceError::Interrupted) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            let counts = Counts::from(&result.counts);
            self.progress.computed(counts.voxels);
            group.counts.add(&counts);
            for (rows, batch) in rows.iter_mut().zip(content(result)) {
                rows.push(batch);
            }
        }
        let part = part(&group.keys);
        for (table, batches) in tables.iter().zip(&rows) {
            // The last table of a part carries its counts.
            let notes: &[_] = if Some(table) == tables.last() {
                &[(COUNTS, serde_json::to_string(&group.counts)?)]
            } else {
                &[]
            };
            self.store.write_with(&part, table, batches, notes)?;
        }
        if let Some(growing) = self.tables {
            growing.add(at, part, Some(rows))?;
        }
        Ok(Some(group))
    }

    /// The counts of a part that is finished.
    fn counts_of(&self, part: &str, tables: &[&str]) -> anyhow::Result<Option<Counts>> {
        let (last, others) = tables.split_last().context("a job has tables")?;
        if !others.iter().all(|t| self.store.is_valid(part, t)) {
            return Ok(None);
        }
        let note = self.store.note(part, last, COUNTS);
        Ok(note.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

/// Blocks of one part.
struct Group {
    keys: Vec<String>,
    counts: Counts,
    resumed: bool,
}

/// Removes the parts of finished blocks.
pub(crate) fn discard(store: &PartStore, parts: &[String], spec: &RunSpec) {
    for part in parts {
        for table in tables(spec) {
            let _ = std::fs::remove_file(store.path(part, table));
        }
    }
}

/// Keys of blocks and the hash of all of them, without computing.
pub(crate) fn hash(keys: &[String]) -> String {
    let pieces: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    microtome_datasets::content_hash(&pieces)
}
