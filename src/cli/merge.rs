//! `microtome merge`: the tables of all shards as those of one run.
//!
//! The rows of a shard are in the order of increasing `voxel`, so the merge is
//! that of sorted lists. The tables are equal to the byte to those of a run
//! without `--shard`. Validated by `threads_and_shards_merge_to_the_same_bytes` in `tests/cli/`.

use super::record::{self, Record};
use super::{Outcome, frame, maps, say};
use anyhow::{Context, bail};
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use clap::{Args, ValueHint};
use microtome_datasets::parts::join_batches;
use microtome_datasets::{DatasetError, SignalSource, TableReader};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Metadata key of the shard of a table.
pub(crate) const SHARD_KEY: &str = "microtome.shard";

/// Joins the tables of all shards in a folder in row order.
///
/// Reads DIR/fit.I-of-N.parquet (or posterior and summary) for all I, writes
/// DIR/fit.parquet (posterior, summary), maps when the signals were an image that
/// is still there, and run.json. Shards of another specification, version or
/// SIMD level are refused, and missing ones are named.
#[derive(Debug, Args)]
#[command(after_help = "\
Example (a Slurm array of 8):
  microtome fit ... --out DIR --shard $SLURM_ARRAY_TASK_ID/8
  microtome merge DIR")]
pub(crate) struct MergeArgs {
    /// The folder that all shards wrote into.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Replaces merged tables of another run.
    #[arg(long)]
    overwrite: bool,
    /// No summary.
    #[arg(long)]
    quiet: bool,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long)]
    json: bool,
}

impl MergeArgs {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let out = &self.out;
        let shards = shards(out)?;
        let records = records(out, shards)?;
        let tables = super::blocks::tables(&records[0].spec);
        let paths = |table: &str| -> Vec<PathBuf> {
            (1..=shards).map(|i| out.join(format!("{table}.{i}-of-{shards}.parquet"))).collect()
        };
        for table in tables {
            let missing: Vec<String> = paths(table)
                .iter()
                .filter(|p| !p.is_file())
                .map(|p| p.display().to_string())
                .collect();
            if !missing.is_empty() {
                bail!(
                    "{}: shards are missing: {}; run them first",
                    out.display(),
                    missing.join(", ")
                );
            }
            check_equal(&paths(table))?;
        }
        self.check_target(&records[0])?;
        let mut outputs = Vec::new();
        for table in tables {
            let name = format!("{table}.parquet");
            merge(&paths(table), &out.join(&name))?;
            outputs.push(name);
        }
        let mut record = combined(&records);
        if let Some(geometry) = record.files.get("dwi").and_then(|p| geometry(p, &record)) {
            match geometry {
                Ok(source) => {
                    if let Some(geometry) = source.geometry() {
                        outputs.extend(maps::write(
                            out,
                            geometry,
                            &record.spec,
                            &record.model_label,
                        )?);
                    }
                }
                Err(e) => {
                    say::note(&format!("warning: no maps, because the image can't be read: {e}"))
                }
            }
        }
        if record.spec.model.deconvolution.is_some() && !outputs.iter().any(|o| o == "fod.nii.gz") {
            outputs.push(super::fod::write_array(out)?);
        }
        record.outputs = outputs;
        record.write(&out.join(record::name(None)))?;
        if self.json {
            say::line(&serde_json::to_string(&record)?);
        } else if !self.quiet {
            say::line(&format!(
                "{}; merged {shards} shards in {}",
                record.counts.sentence(),
                out.display()
            ));
        }
        let percent = record.counts.failed_percent();
        if percent > record.max_failed_percent {
            say::note(&format!(
                "warning: {percent:.1} % of the voxels failed, more than --max-failed {} %",
                record.max_failed_percent
            ));
            return Ok(Outcome::TooManyFailed);
        }
        Ok(Outcome::Done)
    }

    /// Merged tables of another run are in the way.
    fn check_target(&self, shard: &Record) -> anyhow::Result<()> {
        let path = self.out.join(record::name(None));
        let same = match Record::read(&path) {
            Ok(found) => found.identity == shard.identity,
            Err(_) => !["fit", "posterior", "summary", "criteria"]
                .iter()
                .any(|t| super::voxelwise::table(&self.out, t).is_some()),
        };
        if !same && !self.overwrite {
            bail!(
                "{}: holds the tables of another run; give --overwrite to replace them",
                self.out.display()
            );
        }
        Ok(())
    }
}

/// The number of shards that the names of the tables speak of.
fn shards(out: &Path) -> anyhow::Result<usize> {
    let list = std::fs::read_dir(out)
        .with_context(|| format!("{}: cannot list the folder", out.display()))?;
    let mut found = BTreeSet::new();
    for entry in list {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let shard = ["fit.", "posterior.", "summary.", "fod."]
            .iter()
            .find_map(|t| name.strip_prefix(t)?.strip_suffix(".parquet")?.split_once("-of-"));
        if let Some(n) =
            shard.and_then(|(i, n)| i.parse::<usize>().ok().and(n.parse::<usize>().ok()))
        {
            found.insert(n);
        }
    }
    match found.len() {
        0 => bail!("{}: there are no tables of shards (such as fit.1-of-2.parquet)", out.display()),
        1 => Ok(found.into_iter().next().unwrap_or(1)),
        _ => bail!(
            "{}: there are shards of different divisions ({}); remove those of the wrong one",
            out.display(),
            found.iter().map(|n| format!("I-of-{n}")).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn records(out: &Path, shards: usize) -> anyhow::Result<Vec<Record>> {
    let path = |i| out.join(format!("run.{i}-of-{shards}.json"));
    let missing: Vec<String> =
        (1..=shards).map(path).filter(|p| !p.is_file()).map(|p| p.display().to_string()).collect();
    if !missing.is_empty() {
        bail!(
            "{}: shards are missing or not finished: there is no {}",
            out.display(),
            missing.join(", ")
        );
    }
    (1..=shards).map(|i| Record::read(&path(i))).collect()
}

/// Refuses tables of unequal origin.
fn check_equal(paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut first: Option<(&PathBuf, Vec<Option<String>>)> = None;
    let keys = [
        ("microtome.version", "version"),
        ("microtome.simd_level", "SIMD level"),
        ("microtome.spec", "specification"),
        ("microtome.run", "input"),
    ];
    for path in paths {
        let reader = TableReader::open(path)?;
        let found: Vec<Option<String>> =
            keys.iter().map(|(key, _)| reader.schema().metadata().get(*key).cloned()).collect();
        let Some((other, expected)) = &first else {
            first = Some((path, found));
            continue;
        };
        for ((found, expected), (_, what)) in found.iter().zip(expected).zip(keys) {
            if found != expected {
                bail!(
                    "{}: its {what} is not that of {}; shards of one run must be equal in specification, version and SIMD level",
                    path.display(),
                    other.display()
                );
            }
        }
    }
    Ok(())
}

/// The signals of a run on an image.
fn geometry(path: &Path, record: &Record) -> Option<Result<SignalSource, DatasetError>> {
    let array = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy"));
    (!array && record.rows > 0).then(|| SignalSource::open(path, None))
}

/// One shard's table and how far it was read.
struct Head {
    reader: TableReader,
    batch: Option<RecordBatch>,
    at: usize,
}

impl Head {
    /// The voxel of the next row; reads on where a batch is used up.
    fn voxel(&mut self) -> anyhow::Result<Option<i64>> {
        loop {
            if let Some(batch) = &self.batch
                && self.at < batch.num_rows()
            {
                return Ok(Some(frame::integers(batch, "voxel")?[self.at]));
            }
            match self.reader.next() {
                Some(batch) => {
                    self.batch = Some(batch?);
                    self.at = 0;
                }
                None => return Ok(None),
            }
        }
    }

    /// The rows of the current batch whose voxel is below `end`.
    fn take(&mut self, end: Option<i64>) -> anyhow::Result<Option<RecordBatch>> {
        let Some(batch) = &self.batch else { return Ok(None) };
        let voxels = &frame::integers(batch, "voxel")?[self.at..];
        let n = end.map_or(voxels.len(), |end| voxels.partition_point(|v| *v < end));
        let slice = batch.slice(self.at, n);
        self.at += n;
        Ok(Some(slice))
    }
}

fn merge(paths: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let mut heads = Vec::with_capacity(paths.len());
    for path in paths {
        heads.push(Head { reader: TableReader::open(path)?, batch: None, at: 0 });
    }
    let Some(first) = heads.first() else { bail!("{}: there is nothing to merge", out.display()) };
    let schema = first.reader.schema().as_ref().clone();
    let mut metadata = schema.metadata().clone();
    metadata.remove(SHARD_KEY);
    let schema = Schema::new_with_metadata(schema.fields().clone(), metadata);
    let mut fault = None;
    let batches = std::iter::from_fn(|| match next(&mut heads) {
        Ok(batch) => batch.map(Ok),
        Err(e) => {
            fault = Some(e);
            None
        }
    });
    // An error ends the rows early, so the file must not appear.
    let staged = out.with_extension("parquet.merging");
    let joined = join_batches(&schema, batches, &staged, &[]);
    let result = match (fault, joined) {
        (Some(e), _) => Err(e),
        (None, Err(e)) => Err(e.into()),
        (None, Ok(_)) => std::fs::rename(&staged, out)
            .with_context(|| format!("{}: cannot write", out.display())),
    };
    if result.is_err() {
        let _ = std::fs::remove_file(&staged);
    }
    result
}

/// The next rows in the order of voxels.
fn next(heads: &mut [Head]) -> anyhow::Result<Option<RecordBatch>> {
    let mut order = Vec::with_capacity(heads.len());
    for (h, head) in heads.iter_mut().enumerate() {
        if let Some(voxel) = head.voxel()? {
            order.push((voxel, h));
        }
    }
    order.sort_unstable();
    match order.as_slice() {
        [] => Ok(None),
        [(_, h)] => heads[*h].take(None),
        [(_, h), (end, _), ..] => heads[*h].take(Some(*end)),
    }
}

/// One record of all shards.
fn combined(records: &[Record]) -> Record {
    let mut out = records[0].clone();
    let hashes: Vec<String> = records.iter().map(|r| r.input_hash.clone()).collect();
    out.input_hash = super::blocks::hash(&hashes);
    out.shard = None;
    for r in &records[1..] {
        out.counts.add(&r.counts);
        out.blocks_computed += r.blocks_computed;
        out.blocks_resumed += r.blocks_resumed;
        out.wall_s = out.wall_s.max(r.wall_s);
        out.cpu_s += r.cpu_s;
    }
    out
}
