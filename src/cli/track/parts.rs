//! Finished groups of seeds, kept beside the result until it is written: `OUT.parts/`.
//!
//! A group is a function of the field, the flags and its number, so a run that was stopped, and
//! runs of shards, leave groups that the next run of the same line takes as they are. A file
//! carries the identity of its run and a hash; another run's and damaged ones are computed
//! again. Validated by `tests/cli/track_resume.rs`.

use crate::cli::flags::Shard;
use anyhow::Context;
use microtome_datasets::{Checkpoint, Values, content_hash};
use microtome_models::tract::{Group, Stop, Streamline};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs that are over sooner keep nothing.
const SOON: Duration = Duration::from_secs(1);
/// Numbers of a streamline: points, seed, place of the seed, why its ends are there.
const NUMBERS: usize = 5;

/// Where finished groups are kept.
pub(super) struct Parts {
    folder: PathBuf,
    identity: String,
    shard: Option<Shard>,
    begin: Instant,
    /// Groups that were there.
    found: u64,
}

impl Parts {
    /// Beside a file; `words` and the content of `files` are all that decides the streamlines.
    pub(super) fn beside(
        out: &Path,
        words: &str,
        files: &[&Path],
        shard: Option<Shard>,
    ) -> anyhow::Result<Self> {
        let mut hashes = vec![words.to_string()];
        for file in files {
            let bytes =
                std::fs::read(file).with_context(|| format!("{}: cannot read", file.display()))?;
            hashes.push(content_hash(&[&bytes]));
        }
        let pieces: Vec<&[u8]> = hashes.iter().map(String::as_bytes).collect();
        let identity = content_hash(&pieces);
        Ok(Self { folder: Self::folder_of(out), identity, shard, begin: Instant::now(), found: 0 })
    }

    /// The folder beside a file.
    pub(super) fn folder_of(out: &Path) -> PathBuf {
        let mut folder = out.as_os_str().to_os_string();
        folder.push(".parts");
        folder.into()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Groups that were there.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Whether this run works on a group.
    pub(super) fn owns(&self, number: u64) -> bool {
        self.shard.is_none_or(|s| number % s.of as u64 == s.index as u64 - 1)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.group"))
    }

    /// A group that a run before this one finished.
    pub(super) fn find(&mut self, number: u64) -> Option<Group> {
        let kept = Checkpoint::read(&self.path(number)).filter(|c| c.identity == self.identity)?;
        let group = group_of(kept)?;
        self.found += 1;
        Some(group)
    }

    /// Keeps a group, unless the run is short and whole; `stopped` says that it is the last one.
    pub(super) fn keep(&self, number: u64, group: &Group, stopped: bool) -> anyhow::Result<()> {
        if self.shard.is_none() && !stopped && self.begin.elapsed() < SOON {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("{}: cannot create the folder", self.folder.display()))?;
        Ok(checkpoint_of(group, &self.identity).write(&self.path(number))?)
    }

    /// Removes all groups of a run, and the folder where nothing else is in it.
    pub(super) fn clear(&self, groups: u64) {
        if self.folder.is_dir() {
            (0..groups).for_each(|n| drop(std::fs::remove_file(self.path(n))));
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

fn checkpoint_of(group: &Group, identity: &str) -> Checkpoint {
    let lines = &group.streamlines;
    let numbers = lines.iter().flat_map(|l| {
        let [first, last] = l.stops.map(|s| f64::from(s as u8));
        [l.points.len() as f64, l.seed as f64, f64::from(l.seed_point), first, last]
    });
    let counts = [group.tried, group.steps, group.short, group.rejected].map(|n| n as f64);
    let points = lines.iter().flat_map(|l| l.points.as_flattened()).copied().collect();
    let amplitudes = lines.iter().flat_map(|l| &l.amplitudes).copied().collect();
    Checkpoint {
        identity: identity.into(),
        numbers: vec![("counts".into(), counts.to_vec()), ("lines".into(), numbers.collect())],
        arrays: vec![
            ("points".into(), Values::F32(points)),
            ("amplitudes".into(), Values::F32(amplitudes)),
        ],
    }
}

/// `None` where the numbers do not fit together.
fn group_of(kept: Checkpoint) -> Option<Group> {
    let [(_, counts), (_, numbers)] = kept.numbers.as_slice() else { return None };
    let [(_, Values::F32(points)), (_, Values::F32(amplitudes))] = kept.arrays.as_slice() else {
        return None;
    };
    let [tried, steps, short, rejected] = <[f64; 4]>::try_from(counts.as_slice()).ok()?;
    let (numbers, []) = numbers.as_chunks::<NUMBERS>() else { return None };
    let (mut points, []) = points.as_chunks::<3>() else { return None };
    let mut amplitudes = amplitudes.as_slice();
    let mut streamlines = Vec::with_capacity(numbers.len());
    for [n, seed, seed_point, first, last] in numbers {
        let n = *n as usize;
        let (own, rest) = points.split_at_checked(n)?;
        let (values, left) = amplitudes.split_at_checked(n)?;
        (points, amplitudes) = (rest, left);
        let stop = |code: f64| Stop::ALL.get(code as usize).copied();
        streamlines.push(Streamline {
            points: own.to_vec(),
            amplitudes: values.to_vec(),
            seed_point: *seed_point as u32,
            seed: *seed as u64,
            stops: [stop(*first)?, stop(*last)?],
        });
    }
    let [tried, steps, short, rejected] = [tried, steps, short, rejected].map(|n| n as u64);
    (points.is_empty() && amplitudes.is_empty()).then_some(Group {
        streamlines,
        tried,
        steps,
        short,
        rejected,
    })
}
