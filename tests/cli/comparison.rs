//! Criteria of runs and their comparison.

use crate::bench::{Bench, MEASUREMENTS, assert_same};
use microtome::datasets::read_table;

/// Samples with criteria, few draws.
fn sample(bench: &Bench, model: &str, rest: &str) {
    let line = format!(
        "sample --model {model} --bval a.bval --bvec a.bvec --draws 60 --tune 60 --criteria --quiet --max-failed 100 {rest}"
    );
    bench.run(&line).exits(0);
}

#[test]
fn runs_are_compared() {
    let bench = Bench::new();
    bench.signals("a.npy", 12, |v, row| {
        if v == 3 {
            row[5] = f64::NAN;
        }
    });
    sample(&bench, "ball_stick", "--dwi a.npy --sigma 20 --out two");
    // The noise is known in one and sampled in the other.
    sample(&bench, "ball", "--dwi a.npy --out one");
    let ended = bench.run("diagnose --compare one two --out c.parquet").exits(0);
    for words in [
        "ball_stick predicts best in 11 of 11 voxels",
        "Over all voxels ball_stick predicts better than ball",
        "ball_stick is the most probable model in 11 of 11 voxels",
        "some run has no result in them: 1",
    ] {
        assert!(ended.stdout.contains(words), "{words}\n{}", ended.stdout);
    }
    let table = read_table(&bench.path("c.parquet")).unwrap();
    assert_eq!(table.iter().map(|b| b.num_rows()).sum::<usize>(), 24);
    let json = bench.run("diagnose --compare one two --json").exits(0).json();
    assert_eq!((json["voxels"].as_u64(), json["skipped"].as_u64()), (Some(11), Some(1)));
    assert_eq!(json["measurements"].as_u64(), Some(MEASUREMENTS as u64));
    let models = json["models"].as_array().unwrap();
    let stacked: f64 = models.iter().map(|m| m["stacking_all"].as_f64().unwrap()).sum();
    assert!((stacked - 1.0).abs() < 1e-9);
    assert!(models[1]["elpd_diff"].as_f64().unwrap() > 0.0);
    assert_eq!(models[1]["model"], "ball_stick");
}

#[test]
fn runs_on_other_data_are_not_compared() {
    let bench = Bench::with_voxels(4);
    bench.signals("b.npy", 4, |v, row| row[3] += 0.01 * f64::from(u8::from(v == 2)));
    bench.signals("c.npy", 3, |_, _| ());
    sample(&bench, "ball", "--dwi a.npy --out a");
    sample(&bench, "ball", "--dwi b.npy --out b");
    sample(&bench, "ball", "--dwi c.npy --out c");
    let line = "sample --model ball --bval a.bval --bvec a.bvec --dwi a.npy --draws 20 --tune 20 --max-failed 100";
    bench.run(&format!("{line} --out plain")).exits(0);
    for (folders, words) in [
        ("a b", "voxel 2"),
        ("a c", "fewer voxels"),
        ("a plain", "--criteria"),
        ("a nowhere", "nowhere"),
    ] {
        let ended = bench.run(&format!("diagnose --compare {folders} --out t.parquet")).exits(1);
        assert!(ended.stderr.contains(words), "{folders}: {}", ended.stderr);
        assert!(!bench.exists("t.parquet"), "{folders}");
    }
    bench.run("diagnose --compare a").exits(1);
}

#[test]
fn criteria_of_shards_merge_to_the_same_bytes() {
    let bench = Bench::with_voxels(300);
    let line = "--dwi a.npy --sigma 20 --chains 2";
    sample(&bench, "ball", &format!("{line} --threads 1 --out whole"));
    for shard in 1..=2 {
        sample(&bench, "ball", &format!("{line} --shard {shard}/2 --out shards"));
    }
    bench.run("merge shards").exits(0);
    for table in ["posterior", "summary", "criteria"] {
        let path = |folder: &str| bench.path(&format!("{folder}/{table}.parquet"));
        assert_same(&path("whole"), &path("shards"));
    }
}
