//! A voxelwise run from flags to tables, maps and `run.json`: what `fit`,
//! `sample` and `demo` have in common.

use super::blocks::{self, Blocks, Finished, STOP};
use super::config::Setting;
use super::flags::{AcquisitionFlags, CommonFlags, DataFlags, ModelFlags, RunFlags, Shard};
use super::folder::{Identity, OutFolder};
use super::growing::GrowingTables;
use super::input::{Input, key, simd, version};
use super::progress::{Chains, Progress};
use super::record::{self, Record};
use super::{Outcome, config, fod, maps, population, say};
use anyhow::{Context, bail};
use cpu_time::ProcessTime;
use microtome_datasets::{MatrixWriter, PartStore, content_hash, write_table};
use microtome_inference::sample::{Monitor, SampleOptions};
use microtome_inference::{Runner, record_batch};
use microtome_models::{
    Acquisition, B0_MAX_MS_PER_UM2, BLOCK_ROWS, Coupling, Job, RunSpec, SampleMethod, SearchSpec,
    harmonic_count,
};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Everything that a voxelwise run is told.
pub(crate) struct Request<'a> {
    pub(crate) job: Job,
    pub(crate) acquisition: &'a AcquisitionFlags,
    pub(crate) model: &'a ModelFlags,
    pub(crate) data: &'a DataFlags,
    pub(crate) run: &'a RunFlags,
    pub(crate) common: &'a CommonFlags,
    pub(crate) search: SearchSpec,
    /// For `--save-config` and `run.json`.
    pub(crate) settings: &'a [Setting],
    pub(crate) command_line: String,
}

/// How a run ended, and its record when it finished.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) record: Option<Record>,
}

/// Runs.
pub(crate) fn run(request: &Request<'_>) -> anyhow::Result<Ended> {
    let Request { job, common, .. } = *request;
    request.run.check()?;
    let shard = request.run.shard()?;
    let (threads, device) = common.start()?;
    let mut input = Input::open(
        job,
        request.acquisition,
        request.model,
        request.data,
        request.search,
        request.run.seed,
    )?;
    population::check(&input, shard)?;
    let runner =
        Runner::new(&input.spec).with_context(|| format!("--model {}", input.model.text))?;
    let chains = chains(&input.spec);
    let runner = chains.iter().fold(runner, |r, c| r.watched(c.monitor));
    let blocks = shard_blocks(input.blocks(), shard);
    let weighted = weighted_shells(&input.spec.acquisition);
    let undetermined = runner.identifiability().and_then(|i| i.warning(weighted));
    input.warnings.extend(undetermined);
    for warning in &input.warnings {
        say::note(&format!("warning: {warning}"));
    }
    let identity = Identity {
        identity: input.identity()?,
        job: job.name().into(),
        version: version().into(),
        simd_level: simd().into(),
        spec: serde_json::to_value(&input.spec)?,
    };
    let folder = match &request.run.out {
        Some(out) => Some((out, OutFolder::inspect(out, &identity, common.overwrite)?)),
        None if common.dry_run => None,
        None => bail!("--out DIR is needed: the folder of the results"),
    };
    if let Some(path) = &common.save_config {
        config::save(path, request.settings)?;
    }
    let Some((out, mut folder)) = folder.filter(|_| !common.dry_run) else {
        plan(&input, &runner, &blocks, threads, &device, common)?;
        return Ok(Ended { outcome: Outcome::Done, record: None });
    };
    catch_interrupts()?;
    folder.open(&identity)?;
    let names = table_names(&input.spec, shard);
    folder.sweep(shard.map(|_| names.as_slice()));
    let work = Work {
        request,
        input: &input,
        runner: &runner,
        identity: &identity,
        out,
        shard,
        threads,
        device,
        chains,
    };
    let result = work.compute(&blocks);
    if result.is_err() {
        folder.undo();
    }
    result
}

/// Distinct weightings, b-values closer than 0.1 ms/um2 being one: scanners write 995
/// and 1005 s/mm2 for one shell.
fn weighted_shells(acquisition: &Acquisition) -> usize {
    let mut b: Vec<f64> = acquisition.shells().iter().map(|s| s.b).collect();
    b.retain(|b| *b > B0_MAX_MS_PER_UM2);
    b.sort_by(f64::total_cmp);
    b.windows(2).filter(|w| w[1] - w[0] > 0.1).count() + usize::from(!b.is_empty())
}

/// The files of the tables of a run, in the order of [`blocks::tables`].
fn table_names(spec: &RunSpec, shard: Option<Shard>) -> Vec<String> {
    let name = |table: &&str| match shard {
        Some(s) => format!("{table}.{}-of-{}.parquet", s.index, s.of),
        None => format!("{table}.parquet"),
    };
    blocks::tables(spec).iter().map(name).collect()
}

/// Who watches the chains of a run: a monitor that lives as long as the program.
fn chains(spec: &RunSpec) -> Option<Chains> {
    let nuts = SampleOptions::of(&spec.search).nuts;
    // Where few voxels get chains, draws say nothing of how far the run is.
    let draws_a_voxel = match spec.search.sampler {
        SampleMethod::Nuts => (nuts.chains * (nuts.tune + nuts.draws)) as u64,
        _ => u64::MAX,
    };
    (spec.job == Job::Sample)
        .then(|| Chains { monitor: Box::leak(Box::new(Monitor::new())), draws_a_voxel })
}

/// The blocks that a shard owns.
fn shard_blocks(blocks: usize, shard: Option<Shard>) -> Vec<usize> {
    let (index, of) = shard.map_or((1, 1), |s| (s.index, s.of));
    (0..blocks).filter(|k| k % of == index - 1).collect()
}

/// Ctrl-C sets [`STOP`]; a second one ends at once.
pub(super) fn catch_interrupts() -> anyhow::Result<()> {
    static ONCE: Once = Once::new();
    static ASKED: AtomicBool = AtomicBool::new(false);
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            STOP.store(true, Ordering::Relaxed);
        });
    });
    result.context("cannot listen for Ctrl-C")
}

struct Work<'a> {
    request: &'a Request<'a>,
    input: &'a Input,
    runner: &'a Runner,
    identity: &'a Identity,
    out: &'a Path,
    shard: Option<Shard>,
    threads: usize,
    device: String,
    chains: Option<Chains>,
}

impl Work<'_> {
    fn compute(&self, blocks: &[usize]) -> anyhow::Result<Ended> {
        let Request { job, common, run, .. } = *self.request;
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        let store = PartStore::new(self.out, &self.identity.identity);
        // A block of fits takes less time than a disk needs to confirm its part.
        let store = if job == Job::Fit { store.without_sync() } else { store };
        if let Some(record) = self.finished_before(blocks)? {
            if !common.quiet {
                say::note(&format!("{} holds this run already; nothing to do", self.out.display()));
            }
            return self.conclude(record);
        }
        let rows: u64 = blocks.iter().map(|k| self.rows_of(*k) as u64).sum();
        let progress = Progress::begin(job.name(), rows, self.chains, common.quiet);
        let coupled = !self.input.spec.search.prior.is_independent();
        let growing = if coupled { None } else { Some(self.growing(&store)?) };
        let work = blocks::Work {
            input: self.input,
            runner: self.runner,
            store: &store,
            threads: self.threads,
            progress: &progress,
            tables: growing.as_ref(),
        };
        let finished = if coupled {
            population::run(&work, blocks, self.out, &self.metadata()?)?
        } else {
            work.run(blocks)?
        };
        drop(progress);
        let finished = match finished {
            Blocks::Finished(f) => f,
            Blocks::Interrupted(_) if coupled => {
                say::note(
                    "interrupted: nothing is kept of a region that is sampled as one; the same command line begins anew",
                );
                return Ok(Ended { outcome: Outcome::Interrupted, record: None });
            }
            Blocks::Interrupted(n) => {
                say::note(&format!(
                    "interrupted: {n} of {} blocks are finished and kept in {}; the same command line resumes",
                    blocks.len(),
                    store.folder().display()
                ));
                return Ok(Ended { outcome: Outcome::Interrupted, record: None });
            }
        };
        if finished.resumed > 0 && !common.quiet {
            say::note(&format!(
                "{} of {} blocks were finished before and were skipped",
                finished.resumed,
                blocks.len()
            ));
        }
        let mut outputs = self.tables(&store, &finished, growing)?;
        if self.shard.is_none()
            && let Some(geometry) = self.input.source.geometry()
        {
            outputs.extend(maps::write(
                self.out,
                geometry,
                &self.input.spec,
                &self.input.model.label,
            )?);
        } else if self.shard.is_none() && self.input.compiled.is_none() {
            outputs.push(fod::ARRAY.into());
        }
        if coupled {
            outputs.extend(population::TABLES.map(String::from));
        }
        if run.discard_parts || coupled {
            blocks::discard(&store, &finished.parts, &self.input.spec);
        }
        let record = self.record(&finished, outputs, wall.elapsed(), cpu.elapsed())?;
        record.write(&self.out.join(record::name(self.shard)))?;
        self.conclude(record)
    }

    /// The record of this very run on this very input, when all its files are there.
    fn finished_before(&self, blocks: &[usize]) -> anyhow::Result<Option<Record>> {
        let path = self.out.join(record::name(self.shard));
        let Some(found) = path.is_file().then(|| Record::read(&path)).and_then(Result::ok) else {
            return Ok(None);
        };
        let whole = found.identity == self.identity.identity
            && found.shard == self.shard.map(|s| [s.index, s.of])
            && found.outputs.iter().all(|name| self.out.join(name).is_file());
        if !whole {
            return Ok(None);
        }
        let keys = blocks.par_iter().map(|b| Ok(key(*b, &self.input.block(*b)?)));
        let keys = keys.collect::<anyhow::Result<Vec<String>>>()?;
        Ok((blocks::hash(&keys) == found.input_hash).then_some(found))
    }

    fn rows_of(&self, block: usize) -> usize {
        (self.input.rows() - block * BLOCK_ROWS).min(BLOCK_ROWS)
    }

    /// The tables, which take rows as they come.
    fn growing<'s>(&self, store: &'s PartStore) -> anyhow::Result<GrowingTables<'s>> {
        let tables = blocks::tables(&self.input.spec);
        let names = table_names(&self.input.spec, self.shard);
        let paths = tables.iter().copied().zip(names.iter().map(|n| self.out.join(n)));
        let lmax = match &self.input.spec.model.deconvolution {
            // An image gets its coefficients from the table.
            Some(d) if self.shard.is_none() && self.input.source.geometry().is_none() => d.lmax,
            _ => None,
        };
        let array = |lmax| {
            let columns = harmonic_count(lmax);
            MatrixWriter::create(&self.out.join(fod::ARRAY), self.input.rows(), columns)
        };
        let array = lmax.map(array).transpose()?;
        // The draws of a block take some ten megabytes, the fits of one a thousandth of that.
        let waiting = if self.request.job == Job::Fit { 64 } else { 4 };
        Ok(GrowingTables::new(store, paths.collect(), self.metadata()?, array, waiting))
    }

    /// What a table says of its run.
    fn metadata(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut metadata = vec![
            ("microtome.spec".to_string(), self.input.spec_json()?),
            ("microtome.version".into(), version().into()),
            ("microtome.simd_level".into(), simd().into()),
            ("microtome.run".into(), self.identity.identity.clone()),
            ("microtome.rows".into(), self.input.rows().to_string()),
        ];
        if let Some(s) = self.shard {
            metadata.push((super::merge::SHARD_KEY.into(), format!("{}/{}", s.index, s.of)));
        }
        Ok(metadata)
    }

    /// Completes the tables: those that grew, or the parts joined.
    fn tables(
        &self,
        store: &PartStore,
        finished: &Finished,
        growing: Option<GrowingTables<'_>>,
    ) -> anyhow::Result<Vec<String>> {
        let tables = blocks::tables(&self.input.spec);
        let names = table_names(&self.input.spec, self.shard);
        if finished.keys.is_empty() {
            self.join_nothing(&names, self.metadata()?)?;
            return Ok(names);
        }
        if let Some(growing) = growing {
            growing.finish()?;
            return Ok(names);
        }
        let metadata = self.metadata()?;
        let results: Vec<anyhow::Result<usize>> = std::thread::scope(|scope| {
            let threads: Vec<_> = tables
                .iter()
                .zip(&names)
                .map(|(table, name)| {
                    let (out, metadata) = (self.out.join(name), &metadata);
                    scope.spawn(move || Ok(store.join(&finished.parts, table, &out, metadata)?))
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| bail!("a thread ended")))
                .collect()
        });
        results.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        Ok(names)
    }

    /// Tables without rows, for a shard that owns no block.
    fn join_nothing(
        &self,
        names: &[String],
        metadata: Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        let batch = record_batch(&self.input.range(0..0)?)?;
        let result = self.runner.process(&batch, &STOP)?;
        for (name, batch) in names.iter().zip(blocks::content(result)) {
            let schema =
                batch.schema().as_ref().clone().with_metadata(metadata.iter().cloned().collect());
            write_table(&self.out.join(name), schema.into(), &[])?;
        }
        Ok(())
    }

    fn record(
        &self,
        finished: &Finished,
        outputs: Vec<String>,
        wall: Duration,
        cpu: Duration,
    ) -> anyhow::Result<Record> {
        let spec = self.input.spec_json()?;
        Ok(Record {
            program: "microtome".into(),
            version: version().into(),
            job: self.request.job.name().into(),
            command_line: self.request.command_line.clone(),
            working_directory: std::env::current_dir().unwrap_or_default(),
            identity: self.identity.identity.clone(),
            spec_hash: content_hash(&[spec.as_bytes()]),
            input_hash: blocks::hash(&finished.keys),
            seed: self.input.spec.seed,
            simd_level: simd().into(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            threads: self.threads,
            device: self.device.clone(),
            shard: self.shard.map(|s| [s.index, s.of]),
            rows: self.input.rows(),
            measurements: self.input.source.n_measurements(),
            counts: finished.counts.clone(),
            blocks_computed: finished.keys.len() - finished.resumed,
            blocks_resumed: finished.resumed,
            wall_s: wall.as_secs_f64(),
            cpu_s: cpu.as_secs_f64(),
            max_failed_percent: self.request.run.max_failed,
            data_dependent_priors: self.input.data_dependent_priors(),
            warnings: self.input.warnings.clone(),
            model: self.input.model.text.clone(),
            model_label: self.input.model.label.clone(),
            files: self.input.files.clone(),
            outputs,
            spec: self.input.spec.clone(),
        })
    }

    /// Says how it ended.
    fn conclude(&self, record: Record) -> anyhow::Result<Ended> {
        let common = self.request.common;
        let percent = record.counts.failed_percent();
        let too_many = percent > self.request.run.max_failed;
        if too_many {
            say::note(&format!(
                "warning: {percent:.1} % of the voxels failed, more than --max-failed {} %: {}",
                self.request.run.max_failed,
                record.counts.sentence()
            ));
        }
        let unmixed = record.counts.by_status.get("not_mixed").copied().unwrap_or(0);
        let percent = 100.0 * unmixed as f64 / record.counts.voxels.max(1) as f64;
        if percent > self.request.run.max_failed {
            let why = match self.input.spec.search.sampler {
                SampleMethod::Psis => "k-hat above its limit): take --method auto or nuts",
                _ => "R-hat above 1.01): draw more (--draws), or simplify the model",
            };
            say::note(&format!(
                "warning: {percent:.1} % of the voxels have draws that can't be relied on (status not_mixed: {why}; \
                 `microtome diagnose {}` says more",
                self.out.display()
            ));
        }
        if !common.quiet && !common.json {
            say::line(&format!(
                "{}; {} ({} of processor time); results in {}",
                record.counts.sentence(),
                say::duration(record.wall_s),
                say::duration(record.cpu_s),
                self.out.display()
            ));
            for name in record.outputs.iter().filter(|n| n.ends_with(".parquet")) {
                say::line(&format!("  {name}"));
            }
            let maps = record.outputs.iter().filter(|n| n.ends_with(".nii.gz")).count();
            if maps > 0 {
                say::line(&format!("  {maps} maps {}*.nii.gz", maps::prefix(&record.model_label)));
            }
        }
        if common.json {
            say::line(&serde_json::to_string(&record)?);
        }
        let outcome = if too_many { Outcome::TooManyFailed } else { Outcome::Done };
        Ok(Ended { outcome, record: Some(record) })
    }
}

/// Says what a run would do: sizes, memory, and time from a few voxels.
fn plan(
    input: &Input,
    runner: &Runner,
    blocks: &[usize],
    threads: usize,
    device: &str,
    common: &CommonFlags,
) -> anyhow::Result<()> {
    let voxels: usize =
        blocks.iter().map(|k| (input.rows() - k * BLOCK_ROWS).min(BLOCK_ROWS)).sum();
    // A region is timed as if its voxels were independent.
    let mut alone = input.spec.clone();
    alone.search.prior = Coupling::Independent;
    let alone = (alone != input.spec).then(|| Runner::new(&alone)).transpose()?;
    let (seconds, timed) = time_a_voxel(input, alone.as_ref().unwrap_or(runner), blocks)?;
    let wall = seconds * voxels as f64 / threads as f64;
    let search = input.spec.search;
    let columns = input.compiled.as_ref().map_or(64, |m| m.columns().len()) as f64;
    let rows = match input.spec.job {
        Job::Fit => 1.0,
        Job::Sample => (search.chains * search.draws) as f64,
    };
    let block = BLOCK_ROWS as f64
        * 8.0
        * (4.0 * input.source.n_measurements() as f64 + rows * (3.5 * columns + 12.0));
    let memory = 50e6 + block * blocks::drivers(threads, blocks.len()) as f64;
    let disk = voxels as f64 * 8.0 * rows * (columns + 8.0);
    if common.json {
        let json = serde_json::json!({
            "job": input.spec.job.name(), "model": input.model.text, "voxels": voxels, "blocks": blocks.len(),
            "measurements": input.source.n_measurements(), "shells": input.spec.acquisition.shells().len(),
            "threads": threads, "device": device, "memory_bytes": memory, "table_bytes": disk,
            "seconds_a_voxel": seconds, "wall_s": wall, "timed_voxels": timed,
        });
        say::line(&json.to_string());
        return Ok(());
    }
    let model = match &input.compiled {
        Some(m) => format!(
            "{}, {} degrees of freedom, {} noise",
            input.model.text,
            m.degrees_of_freedom(),
            m.noise().name()
        ),
        None => format!(
            "{}, lmax {}",
            input.model.text,
            input.model.spec.deconvolution.as_ref().and_then(|d| d.lmax).unwrap_or(0)
        ),
    };
    say::line(&format!("plan of {} (nothing is written)", input.spec.job.name()));
    let facts = [
        ("model", model),
        (
            "acquisition",
            format!(
                "{} measurements, {} shells",
                input.source.n_measurements(),
                input.spec.acquisition.shells().len()
            ),
        ),
        ("voxels", format!("{voxels} in {} blocks of {BLOCK_ROWS}", blocks.len())),
        ("threads", format!("{threads} on {device}, SIMD level {}", simd())),
        ("memory", format!("about {}", say::bytes(memory))),
        ("tables", format!("about {} before compression", say::bytes(disk))),
        (
            "time",
            format!(
                "about {} ({} a voxel, timed on {timed})",
                say::duration(wall),
                say::duration(seconds)
            ),
        ),
    ];
    for (name, value) in facts {
        say::line(&format!("  {name:<12} {value}"));
    }
    Ok(())
}

/// Processor seconds of one voxel, from voxels spread over the input, for about two seconds.
fn time_a_voxel(input: &Input, runner: &Runner, blocks: &[usize]) -> anyhow::Result<(f64, usize)> {
    let (begin, cpu) = (Instant::now(), ProcessTime::now());
    let mut timed = 0;
    let most = if input.spec.job == Job::Fit { 64 } else { 16 };
    let step = (blocks.len().max(1) * BLOCK_ROWS / most).max(1);
    for at in (0..blocks.len() * BLOCK_ROWS).step_by(step) {
        let row = blocks[at / BLOCK_ROWS] * BLOCK_ROWS + at % BLOCK_ROWS;
        if row >= input.rows() {
            continue;
        }
        if begin.elapsed() > Duration::from_secs(2) {
            break;
        }
        let batch = record_batch(&input.range(row..row + 1)?)?;
        runner.process(&batch, &AtomicBool::new(false))?;
        timed += 1;
    }
    let seconds =
        if timed == 0 { 0.0 } else { cpu.elapsed().as_secs_f64() / f64::from(timed as u32) };
    Ok((seconds, timed))
}

/// The path of a table in a folder, when it is there.
pub(crate) fn table(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(format!("{name}.parquet"));
    path.is_file().then_some(path)
}
