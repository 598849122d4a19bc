//! `sample --prior hierarchical|spatial`: the voxels of the whole input are one region.
//!
//! The region is sampled as a whole and its blocks are written when it is done: a run
//! that is stopped begins anew. Draws wait in `OUT/.parts` until then, so that memory
//! holds the signals, one position a voxel and 64 MiB of draws.
//!
//! Validated by `tests/cli/population.rs`.

use super::blocks::{self, Blocks, Finished, STOP};
use super::flags::Shard;
use super::input::{Input, key};
use super::record::Counts;
use anyhow::{Context, bail};
use microtome_datasets::{DrawFiles, content_hash, write_table};
use microtome_inference::InferenceError;
use microtome_inference::population::{Coupled, DrawStore, Work};
use microtome_models::{Coupling, PooledSpace, SigmaSpec};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The tables of the population, beside those of the voxels.
pub(crate) const TABLES: [&str; 2] = ["population.parquet", "population_summary.parquet"];

/// Numbers of blocks in files.
struct Files(DrawFiles);

impl DrawStore for Files {
    fn append(&self, block: usize, numbers: &[f64]) -> std::io::Result<()> {
        self.0.append(block, numbers)
    }

    fn read(&self, block: usize) -> std::io::Result<Vec<f64>> {
        self.0.read(block)
    }
}

/// Checks what can be checked before the voxels are looked at.
pub(crate) fn check(input: &Input, shard: Option<Shard>) -> anyhow::Result<()> {
    let prior = input.spec.search.prior;
    if prior.is_independent() {
        return Ok(());
    }
    if shard.is_some() {
        bail!(
            "--shard: --prior {} couples all voxels, which no shard has; run it whole (--threads), one region a run (--mask), or take --prior independent",
            prior.name()
        );
    }
    if prior == Coupling::Spatial && input.source.geometry().is_none() {
        bail!(
            "--prior spatial: {} has no grid, so which voxels are neighbours is not known; give the signals as an image (.nii.gz) with --mask, or take --prior hierarchical",
            input.files.get("dwi").map_or("the input".into(), |p| p.display().to_string())
        );
    }
    if input.files.contains_key("grad-dev") {
        bail!(
            "--grad-dev: --prior {} has no correction for it; leave it out, or take --prior independent",
            prior.name()
        );
    }
    if let Some(model) = &input.compiled {
        PooledSpace::new(model, input.spec.sigma == SigmaSpec::Free, &[1.0])
            .with_context(|| format!("--prior {}: --model {}", prior.name(), input.model.text))?;
    }
    Ok(())
}

/// Samples the region and writes the parts of its blocks and the tables of the population.
pub(crate) fn run(
    work: &blocks::Work<'_>,
    blocks: &[usize],
    out: &Path,
    metadata: &[(String, String)],
) -> anyhow::Result<Blocks> {
    let (input, store) = (work.input, work.store);
    let search = input.spec.search;
    let coupled = Coupled::new(&input.spec)?;
    let batches = blocks.iter().map(|b| input.block(*b)).collect::<anyhow::Result<Vec<_>>>()?;
    let keys: Vec<String> = blocks.iter().zip(&batches).map(|(b, batch)| key(*b, batch)).collect();
    let whole = blocks::hash(&keys);
    let interrupted = |e: InferenceError| match e {
        InferenceError::Interrupted => Ok(Blocks::Interrupted(0)),
        e => Err(anyhow::Error::from(e)),
    };
    let region = match coupled.region(batches, &STOP, &|_| {}) {
        Ok(region) => region,
        Err(e) => return interrupted(e),
    };
    let files = Files(DrawFiles::create(store.folder(), region.blocks())?);
    // A scan of all voxels is worth its share of the voxels.
    let (rows, scans) =
        (input.rows() as u64, (search.chains * (search.tune + search.draws)) as u64);
    let done = AtomicU64::new(0);
    let advance = || {
        let n = done.fetch_add(1, Ordering::Relaxed);
        work.progress.computed(rows * (n + 1) / scans - rows * n / scans);
    };
    let draws = match Work::new(&coupled, &region, &STOP).run(&files, &advance) {
        Ok(draws) => draws,
        Err(e) => return interrupted(e),
    };
    let mut finished = Finished { keys, ..Finished::default() };
    let tables = blocks::tables(&input.spec);
    for (b, key) in finished.keys.iter().enumerate() {
        let numbers = files.read(b)?;
        let result = coupled.tables(&region, &draws, b, &numbers)?;
        drop(numbers);
        finished.counts.add(&Counts::from(&result.counts));
        let part = content_hash(&[key.as_bytes(), whole.as_bytes()]);
        for (table, batch) in tables.iter().zip(blocks::content(result)) {
            store.write_with(&part, table, &[batch], &[])?;
        }
        finished.parts.push(part);
    }
    let population = coupled.population_tables(&region, &draws)?;
    for (name, batch) in TABLES.iter().zip(population) {
        let schema =
            batch.schema().as_ref().clone().with_metadata(metadata.iter().cloned().collect());
        write_table(&out.join(name), schema.into(), &[batch])?;
    }
    Ok(Blocks::Finished(finished))
}
