//! `simulate` that is stopped and goes on: equal to the byte to walks that were not.
#![cfg(unix)]

use crate::bench::{Bench, Ended, assert_same};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SPHERE: &str = "[substrate]\nkind = \"sphere\"\nradius_um = 4\n[intra]\n\
    diffusivity_um2_per_ms = 2\n";
const SCHEME: &str = "G_T_per_m,delta_s,Delta_s,gx,gy,gz\n0.04,0.01,0.03,1,0,0\n\
    0.1,0.01,0.03,0,0.6,0.8\n";
/// Some seconds of one thread.
const LINE: &str = "simulate --substrate s.toml --scheme s.csv --walkers 500000 --step-ms 0.4 \
    --derivatives radius,diffusivity --threads 1";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("s.toml", SPHERE);
    bench.put("s.csv", SCHEME);
    bench
}

fn start(bench: &Bench, line: &str) -> Child {
    let mut command = bench.command(&format!("{line} --out a.parquet"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the sums so far are others than `before`, or the walk is over.
fn wait(bench: &Bench, child: &mut Child, before: &[u8]) {
    let begin = Instant::now();
    let now = || std::fs::read(bench.path("a.parquet.walk")).unwrap_or_default();
    while child.try_wait().unwrap().is_none() {
        let now = now();
        if !now.is_empty() && now != before {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "no sums in a minute");
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn walks_go_on_to_the_same_bytes() {
    let bench = bench();
    bench.run(&format!("{LINE} --out whole.parquet")).exits(0);
    // Ctrl-C.
    let mut child = start(&bench, LINE);
    wait(&bench, &mut child, &[]);
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").arg("-c").arg(interrupt).status().unwrap().success());
    let ended = Ended::of(child.wait_with_output().unwrap()).exits(130);
    assert!(ended.stderr.contains("resumes"), "{}", ended.stderr);
    assert!(bench.exists("a.parquet.walk") && !bench.exists("a.parquet"));
    // Another line does not take it for its own.
    let other = LINE.replace("--walkers 500000", "--walkers 400000");
    let other = bench.run(&format!("{other} --resume --out a.parquet")).exits(1);
    assert!(other.stderr.contains("a.parquet.walk") && other.stderr.contains("--resume"));
    // Killed once more on the way, without a chance to say goodbye.
    let before = bench.read("a.parquet.walk");
    let mut child = start(&bench, LINE);
    wait(&bench, &mut child, &before);
    let _ = child.kill();
    let killed = child.wait().unwrap().signal() == Some(9);
    assert_eq!(killed, bench.exists("a.parquet.walk"));
    let last = bench.run(&format!("{LINE} --resume --out a.parquet")).exits(0);
    assert!(!killed || last.stderr.contains("goes on after"), "{}", last.stderr);
    assert_same(&bench.path("whole.parquet"), &bench.path("a.parquet"));
    assert!(!bench.exists("a.parquet.walk") && !bench.exists("a.parquet.walk.tmp"));
}

/// A sweep that is stopped, and stopped again.
#[test]
fn sweeps_go_on_to_the_same_bytes() {
    let line = "simulate --substrate s.toml --sweep w.toml --scheme s.csv --walkers 60000 \
        --step-ms 0.4 --threads 1";
    let bench = bench();
    let grid = "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = 2\nto = 5\ncount = 6\n";
    bench.put("w.toml", format!("{grid}[sweep]\nbatches = 4\n"));
    bench.run(&format!("{line} --out whole.parquet")).exits(0);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut child = start(&bench, line);
        wait(&bench, &mut child, &kept);
        let interrupt = format!("kill -INT {}", child.id());
        let _ = Command::new("sh").arg("-c").arg(interrupt).status();
        let ended = Ended::of(child.wait_with_output().unwrap());
        if ended.code == 0 {
            // Over before it could be stopped.
            break;
        }
        assert!(ended.code == 130 && ended.stderr.contains("resumes"), "{}", ended.stderr);
        kept = bench.read("a.parquet.walk");
    }
    assert!(!kept.is_empty());
    let last = bench.run(&format!("{line} --out a.parquet")).exits(0);
    assert!(last.stderr.contains("goes on after") || last.stdout.contains("already"));
    assert_same(&bench.path("whole.parquet"), &bench.path("a.parquet"));
    assert!(!bench.exists("a.parquet.walk"));
}

/// A damaged file is begun anew, and refused where `--resume` asks for it.
#[test]
fn damaged_sums_are_not_used() {
    let bench = bench();
    let line = LINE.replace("500000", "600");
    bench.run(&format!("{line} --out whole.parquet")).exits(0);
    bench.put("a.parquet.walk", "microtome walk 1\nnothing\n0\n");
    let refused = bench.run(&format!("{line} --resume --out a.parquet")).exits(1);
    assert!(refused.stderr.contains("a.parquet.walk"), "{}", refused.stderr);
    assert!(!bench.exists("a.parquet"));
    bench.run(&format!("{line} --out a.parquet")).exits(0);
    assert_same(&bench.path("whole.parquet"), &bench.path("a.parquet"));
    assert!(!bench.exists("a.parquet.walk"));
}
