//! Runs that are stopped and go on: equal to the byte to runs that were not.
#![cfg(unix)]

use crate::bench::{Bench, Ended, assert_same};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LINE: &str = "sample --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --draws 60 --tune 100 --chains 2 \
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
