//! Runs that are killed without warning, ten times each, at points spread over their
//! work and over the joining of their tables: equal to the byte to runs that were not.
#![cfg(unix)]

use crate::bench::{Bench, assert_same};
use microtome::datasets::demo;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Names in a folder that may not be there yet.
fn names(folder: &Path) -> Vec<String> {
    let Ok(list) = std::fs::read_dir(folder) else { return Vec::new() };
    list.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

/// Finished parts of the blocks.
fn parts(out: &Path) -> usize {
    names(&out.join(".parts")).iter().filter(|n| n.ends_with(".parquet")).count()
}

/// Starts the run and kills it a moment after `reached`; whether that was before its end.
fn killed(bench: &Bench, line: &str, reached: &dyn Fn(&Path) -> bool, moment: Duration) -> bool {
    let mut command = bench.command(line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !reached(&bench.path("o")) {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::yield_now();
    }
    std::thread::sleep(moment);
    let _ = child.kill();
    child.wait().unwrap().signal() == Some(9)
}

/// Kills a run into the folder `o` at ten points, one after another, lets it end, and
/// compares all that it wrote with what `whole` has.
fn ten_kills(bench: &Bench, line: &str, table: &str) {
    bench.run(&format!("{line} --out whole")).exits(0);
    let line = format!("{line} --out o");
    let out = bench.path("o");
    let is_half = |n: &String| n.ends_with(".tmp");
    let mut hits = 0;
    for point in 0..10_u64 {
        let before = parts(&out);
        let reached = |out: &Path| match point {
            // The folder is there; some more parts are there; a part is half written.
            0 => out.join(".parts").is_dir(),
            1 | 3 | 5 | 6 => parts(out) > before,
            2 | 4 => names(&out.join(".parts")).iter().any(is_half),
            // The tables are joined; one is there; the record is not.
            7 | 8 => names(out).iter().any(is_half) && parts(out) >= before,
            _ => out.join(table).is_file(),
        };
        // Up to 3 ms, not the same for any two points.
        let moment = Duration::from_micros(point * 7_919 % 3_001 * (point % 2));
        // The record is the last that a run writes: with it the run was over, if not its process.
        if killed(bench, &line, &reached, moment) && !bench.exists("o/run.json") {
            hits += 1;
        } else {
            // It ended first: what is left of a run that was killed at the very end.
            for name in names(&out).iter().filter(|n| n.as_str() != ".parts") {
                let _ = std::fs::remove_file(out.join(name));
            }
        }
    }
    assert!(hits >= 5, "only {hits} of 10 kills came before the end");
    bench.run(&line).exits(0);
    let mut compared = 0;
    for name in bench.names("whole").iter().filter(|n| *n != ".parts" && *n != "run.json") {
        assert_same(&bench.path("whole").join(name), &out.join(name));
        compared += 1;
    }
    assert!(compared > 0);
    let left: Vec<String> = names(&out).into_iter().chain(names(&out.join(".parts"))).collect();
    assert!(!left.iter().any(is_half), "{left:?}");
    assert_eq!(parts(&out), parts(&bench.path("whole")));
}

#[test]
fn ten_kills_of_a_sampling_change_nothing() {
    let bench = Bench::with_voxels(1800);
    let line = "sample --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --draws 20 --tune 30 \
                --chains 2 --max-failed 100 --threads 2 --quiet";
    ten_kills(&bench, line, "summary.parquet");
}

#[test]
fn ten_kills_of_a_fit_change_nothing() {
    let bench = Bench::with_voxels(4000);
    let line = "fit --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --threads 2 --quiet";
    ten_kills(&bench, line, "fit.parquet");
}

/// An image: its maps are written after the tables.
#[test]
fn ten_kills_of_an_image_change_nothing() {
    let bench = Bench::new();
    for (name, bytes) in [("d.nii.gz", demo::IMAGE), ("d.bval", demo::BVAL), ("d.bvec", demo::BVEC)]
    {
        bench.put(name, bytes);
    }
    let line = "sample --model ball_stick --dwi d.nii.gz --bval d.bval --bvec d.bvec --sigma 33 --draws 20 \
                --tune 30 --chains 2 --max-failed 100 --threads 2 --quiet";
    ten_kills(&bench, line, "summary.parquet");
}
