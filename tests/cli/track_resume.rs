//! `track` in shards, and stopped and gone on with: equal to the byte to runs that were not.
#![cfg(unix)]

use crate::bench::{Bench, Ended, assert_same};
use crate::track::{circles, mask, ring};
use microtome::models::HarmonicBasis;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Three groups of seeds.
const LINE: &str = "track --fod fod.nii.gz --basis mrtrix3 --seeds seeds.nii.gz --n-seeds 9000 --seed 5 \
    --step-mm 1 --max-length-mm 12 --min-length-mm 3";

fn bench() -> Bench {
    let bench = Bench::new();
    mask(&bench, "seeds.nii.gz", ring);
    circles(&bench, "fod.nii.gz", HarmonicBasis::Mrtrix3, |d| d);
    bench
}

fn files(bench: &Bench, folder: &str) -> usize {
    std::fs::read_dir(bench.path(folder)).map_or(0, Iterator::count)
}

#[test]
fn shards_join_to_the_same_bytes() {
    let bench = bench();
    let line = format!("{LINE} --rule probabilistic");
    let out = |name: &str| format!("--out {name}.trx --density {name}.nii.gz --json");
    let whole = bench.run(&format!("{line} {} --threads 1", out("whole"))).exits(0).json();
    assert_eq!(whole["groups_resumed"], 0);
    assert!(!bench.exists("whole.trx.parts"));
    for (shard, groups) in [("2/2", 1), ("1/2", 3)] {
        let json = bench.run(&format!("{line} {} --shard {shard}", out("a"))).exits(0).json();
        assert_eq!((&json["shard"], files(&bench, "a.trx.parts")), (&shard.into(), groups));
        assert!(!bench.exists("a.trx") && !bench.exists("a.nii.gz"));
    }
    // Another line computes its own groups.
    let other = line.replace("--seed 5", "--seed 6");
    let json = bench.run(&format!("{other} {} --shard 2/3", out("a"))).exits(0).json();
    assert_eq!(json["groups_resumed"], 0);
    let json = bench.run(&format!("{line} {} --threads 2", out("a"))).exits(0).json();
    assert_eq!(json["groups_resumed"], 2);
    for key in ["streamlines", "tried", "steps", "points", "short", "rejected"] {
        assert_eq!(json[key], whole[key], "{key}");
    }
    assert_same(&bench.path("whole.trx"), &bench.path("a.trx"));
    assert_same(&bench.path("whole.nii.gz"), &bench.path("a.nii.gz"));
    assert!(!bench.exists("a.trx.parts"));
    let wrong = bench.run(&format!("{line} --out b.trx --shard 3/2")).exits(1);
    assert!(wrong.stderr.contains("3/2") && !bench.exists("b.trx.parts"), "{}", wrong.stderr);
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let bench = bench();
    // Some seconds of one thread.
    let line = format!("{LINE} --rule ifod2");
    bench.run(&format!("{line} --out whole.trx")).exits(0);
    let before = files(&bench, ".");
    let mut command = bench.command(&format!("{line} --threads 1 --out a.trx"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The file under construction is there when Ctrl-C is listened for.
    let begin = Instant::now();
    while files(&bench, ".") == before {
        assert!(child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").arg("-c").arg(interrupt).status().unwrap().success());
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(130);
    assert!(ended.stderr.contains("resumes"), "{}", ended.stderr);
    assert!(!bench.exists("a.trx") && files(&bench, "a.trx.parts") >= 1);
    // A damaged group counts as absent.
    bench.put("a.trx.parts/2.group", "microtome checkpoint 1\n");
    let json = bench.run(&format!("{line} --out a.trx --json")).exits(0).json();
    assert!(json["groups_resumed"].as_u64().unwrap() >= 1, "{json}");
    assert_same(&bench.path("whole.trx"), &bench.path("a.trx"));
    assert_eq!(files(&bench, "."), before + 1);
}
