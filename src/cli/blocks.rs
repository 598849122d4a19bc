//! Blocks of voxels on all threads: read, process, write a part.
//!
//! A few drivers (as many as threads, up to four, and one more for every eight
//! threads) read and write, while the voxels of their blocks share one pool. So
//! reading and writing overlap with computing, a single block still uses all
//! threads, and few blocks are in memory. One thread means one driver that does
//! one thing at a time.
//!
//! The last part of a block carries the counts of its voxels; a block is finished
//! when all its parts are there.

use super::input::{Input, key};
use super::progress::Progress;
use super::record::Counts;
use anyhow::Context;
use microtome_datasets::PartStore;
use microtome_inference::{InferenceError, Runner, Tables, record_batch};
use microtome_models::{Job, RunSpec};
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
    pub(crate) counts: Counts,
    /// How many were found finished.
    pub(crate) resumed: usize,
}

/// The tables of a job, in the order in which their parts are written.
pub(crate) fn tables(spec: &RunSpec) -> &'static [&'static str] {
    match spec.job {
        Job::Fit if spec.model.deconvolution.is_some() => &["fod", "fit"],
        Job::Fit => &["fit"],
        Job::Sample => &["posterior", "summary"],
    }
}

/// The tables of a batch, in the order of [`tables`].
pub(crate) fn content(result: Tables) -> impl Iterator<Item = arrow_array::RecordBatch> {
    [result.fod, Some(result.main), result.summary].into_iter().flatten()
}

/// Blocks that are in memory at once: one a thread, and on many threads, which
/// share the voxels of a block, enough to keep reading and writing apart.
pub(crate) fn drivers(threads: usize, blocks: usize) -> usize {
    threads.min(4 + threads / 8).min(blocks)
}

/// Works on the blocks.
pub(crate) fn run(
    input: &Input,
    runner: &Runner,
    store: &PartStore,
    blocks: &[usize],
    threads: usize,
    progress: &Progress,
) -> anyhow::Result<Blocks> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let done: Mutex<Vec<(usize, Block)>> = Mutex::new(Vec::with_capacity(blocks.len()));
    std::thread::scope(|scope| {
        for _ in 0..drivers(threads, blocks.len()) {
            scope.spawn(|| {
                while !STOP.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&block) = blocks.get(at) else { break };
                    match one(input, runner, store, block) {
                        Ok(Some(b)) => {
                            progress.add(b.counts.voxels);
                            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, b));
                        }
                        Ok(None) => break,
                        Err(e) => {
                            STOP.store(true, Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
                        }
                    }
                }
            });
        }
    });
    if let Some(e) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if done.len() < blocks.len() {
        return Ok(Blocks::Interrupted(done.len()));
    }
    done.sort_by_key(|(at, _)| *at);
    let mut out = Finished::default();
    for (_, block) in done {
        out.keys.push(block.key);
        out.counts.add(&block.counts);
        out.resumed += usize::from(block.resumed);
    }
    Ok(Blocks::Finished(out))
}

struct Block {
    key: String,
    counts: Counts,
    resumed: bool,
}

/// One block; `None` when it was interrupted.
fn one(
    input: &Input,
    runner: &Runner,
    store: &PartStore,
    block: usize,
) -> anyhow::Result<Option<Block>> {
    let batch = input.block(block)?;
    let key = key(block, &batch);
    let tables = tables(&input.spec);
    // The last table of a block carries its counts.
    let (last, others) = tables.split_last().context("a job has tables")?;
    if others.iter().all(|t| store.is_valid(&key, t))
        && let Some(counts) =
            store.note(&key, last, COUNTS).and_then(|text| serde_json::from_str(&text).ok())
    {
        return Ok(Some(Block { key, counts, resumed: true }));
    }
    let result = match runner.process(&record_batch(&batch)?, &STOP) {
        Ok(result) => result,
        Err(InferenceError::Interrupted) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let counts = Counts::from(&result.counts);
    for (table, batch) in tables.iter().zip(content(result)) {
        let notes: &[_] =
            if table == last { &[(COUNTS, serde_json::to_string(&counts)?)] } else { &[] };
        store.write_with(&key, table, &[batch], notes)?;
    }
    Ok(Some(Block { key, counts, resumed: false }))
}

/// Removes the parts of finished blocks.
pub(crate) fn discard(store: &PartStore, keys: &[String], spec: &RunSpec) {
    for key in keys {
        for table in tables(spec) {
            let _ = std::fs::remove_file(store.path(key, table));
        }
    }
}

/// Keys of blocks and the hash of all of them, without computing.
pub(crate) fn hash(keys: &[String]) -> String {
    let pieces: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    microtome_datasets::content_hash(&pieces)
}
