//! Runs that are stopped and go on: equal to the byte to runs that were not.
#![cfg(unix)]

use crate::bench::{Bench, Ended, assert_same};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LINE: &str = "sample --method nuts --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --draws 60 --tune 100 --chains 2 \
                    --max-failed 100 --threads 2";

/// Waits until so many parts are there.
fn wait_for_parts(bench: &Bench, folder: &str, child: &mut Child, wanted: usize) {
    let begin = Instant::now();
    loop {
        let parts = bench.path(folder).join(".parts");
        let n = std::fs::read_dir(parts).map_or(0, |l| {
            l.filter(|e| {
                e.as_ref()
                    .is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".summary.parquet"))
            })
            .count()
        });
        if n >= wanted {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "ended before {wanted} parts were there");
        assert!(begin.elapsed() < Duration::from_secs(60), "no parts in a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(bench: &Bench, folder: &str) -> Child {
    let mut command = bench.command(&format!("{LINE} --out {folder}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn stopped_runs_resume_to_the_same_bytes() {
    let bench = Bench::with_voxels(1800);
    bench.run(&format!("{LINE} --out whole")).exits(0);
    // Ctrl-C.
    let mut child = start(&bench, "polite");
    wait_for_parts(&bench, "polite", &mut child, 1);
    assert!(
        Command::new("sh")
            .arg("-c")
            .arg(format!("kill -INT {}", child.id()))
            .status()
            .unwrap()
            .success()
    );
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(130);
    assert!(ended.stderr.contains("resumes"), "{}", ended.stderr);
    assert!(!bench.exists("polite/run.json") && !bench.exists("polite/posterior.parquet"));
    // No chance to say goodbye.
    let mut child = start(&bench, "killed");
    wait_for_parts(&bench, "killed", &mut child, 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!bench.exists("killed/run.json"));
    for folder in ["polite", "killed"] {
        let ended = bench.run(&format!("{LINE} --out {folder}")).exits(0);
        assert!(ended.stderr.contains("blocks were finished before"), "{}", ended.stderr);
        for table in ["posterior.parquet", "summary.parquet"] {
            assert_same(&bench.path("whole").join(table), &bench.path(folder).join(table));
        }
        assert!(
            bench
                .names(folder)
                .iter()
                .chain(&bench.names(&format!("{folder}/.parts")))
                .all(|n| !n.ends_with(".tmp"))
        );
    }
}

/// Fits that share parts: what a killed run leaves, and shards of the same rows.
#[test]
fn killed_fits_resume_to_the_same_bytes() {
    const LINE: &str =
        "fit --model dti --method wls --bval a.bval --bvec a.bvec --dwi a.npy --threads 2";
    let bench = Bench::with_voxels(9000);
    bench.run(&format!("{LINE} --out whole")).exits(0);
    bench.run(&format!("{LINE} --out o")).exits(0);
    assert_same(&bench.path("whole/fit.parquet"), &bench.path("o/fit.parquet"));
    let parts = |folder: &str| -> Vec<String> {
        let names = bench.names(&format!("{folder}/.parts"));
        names.into_iter().filter(|n| n.ends_with(".parquet")).collect()
    };
    let names = parts("o");
    // 36 blocks, sixteen a part.
    assert_eq!(names.len(), 3);
    std::fs::remove_file(bench.path("o/fit.parquet")).unwrap();
    std::fs::remove_file(bench.path("o/run.json")).unwrap();
    std::fs::remove_file(bench.path(&format!("o/.parts/{}", names[1]))).unwrap();
    let cut = bench.read(&format!("o/.parts/{}", names[2]));
    bench.put(&format!("o/.parts/{}", names[2]), &cut[..cut.len() - 9]);
    bench.put("o/.fit.parquet.abc.tmp", "half");
    let ended = bench.run(&format!("{LINE} --out o")).exits(0);
    assert!(ended.stderr.contains("of 36 blocks were finished before"), "{}", ended.stderr);
    assert_same(&bench.path("whole/fit.parquet"), &bench.path("o/fit.parquet"));
    assert!(bench.names("o").iter().all(|n| !n.ends_with(".tmp")));
    assert_eq!(parts("o"), names);
    // A shard sweeps its own half-written table and no other's.
    bench.run(&format!("{LINE} --out s --shard 1/2")).exits(0);
    for shard in ["1-of-2", "2-of-2"] {
        bench.put(&format!("s/.fit.{shard}.parquet.abc.tmp"), "half");
    }
    bench.run(&format!("{LINE} --out s --shard 2/2")).exits(0);
    assert!(!bench.exists("s/.fit.2-of-2.parquet.abc.tmp"));
    assert!(bench.exists("s/.fit.1-of-2.parquet.abc.tmp"));
    bench.run("merge s").exits(0);
    assert_same(&bench.path("whole/fit.parquet"), &bench.path("s/fit.parquet"));
    // A change of signals that the identity can't see is still seen.
    bench.signals("a.npy", 9000, |v, y| y[3] += if v == 1500 { 1.0 } else { 0.0 });
    let ended = bench.run(&format!("{LINE} --out o")).exits(0);
    assert!(ended.stderr.contains("of 36 blocks were finished before"), "{}", ended.stderr);
    assert!(bench.read("whole/fit.parquet") != bench.read("o/fit.parquet"));
}
