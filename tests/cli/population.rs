//! `sample --prior hierarchical|spatial`: tables, equal bytes, refusals.

use crate::bench::{Bench, MEASUREMENTS, assert_same};
use microtome::datasets::{ImageGeometry, MapWriter, read_matrix, read_table};
use std::process::{Command, Stdio};
use std::time::Duration;

const LINE: &str =
    "sample --model ball_stick --bval a.bval --bvec a.bvec --chains 2 --max-failed 100";

/// 280 voxels, as `a.npy` and as an image of 20 x 14.
fn bench() -> Bench {
    let bench = Bench::with_voxels(280);
    let affine =
        [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let geometry = ImageGeometry::new([20, 14, 1], affine);
    let mut image = MapWriter::create(&bench.path("a.nii.gz"), &geometry, MEASUREMENTS).unwrap();
    let rows = read_matrix(&bench.path("a.npy")).unwrap();
    for (v, row) in rows.values.chunks(MEASUREMENTS).enumerate() {
        image.push(v as i64, row).unwrap();
    }
    image.finish().unwrap();
    bench
}

#[test]
fn a_region_has_the_tables_of_voxels_and_those_of_its_population() {
    let bench = bench();
    for (prior, dwi) in [("hierarchical", "a.npy"), ("spatial", "a.nii.gz")] {
        let line = format!("{LINE} --dwi {dwi} --prior {prior} --draws 30 --tune 40 --sigma 20");
        bench.run(&format!("{line} --out {prior} --threads 1")).exits(0);
        bench.run(&format!("{line} --out {prior}3 --threads 3")).exits(0);
        for table in ["posterior", "summary", "population", "population_summary"] {
            let path = |folder: &str| bench.path(&format!("{folder}/{table}.parquet"));
            assert_same(&path(prior), &path(&format!("{prior}3")));
        }
        let rows = |table: &str| -> usize {
            let batches = read_table(&bench.path(&format!("{prior}/{table}.parquet"))).unwrap();
            batches.iter().map(|b| b.num_rows()).sum()
        };
        assert_eq!(rows("posterior"), 280 * 2 * 30);
        assert_eq!(rows("population"), 2 * 30);
        // Four coordinates and five values: mean, sd, typical, correlations.
        assert_eq!(rows("population_summary"), 4 + 4 + 5 + 6);
        let record = String::from_utf8(bench.read(&format!("{prior}/run.json"))).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["spec"]["search"]["prior"], prior);
        assert!(record["outputs"].as_array().unwrap().contains(&"population.parquet".into()));
        assert_eq!(record["counts"]["voxels"], 280);
        // No draws are left, no parts either, and the same line has nothing to do.
        assert_eq!(bench.names(&format!("{prior}/.parts")), ["run.json"]);
        let again = bench.run(&format!("{line} --out {prior}")).exits(0);
        assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    }
}

#[test]
fn regions_that_cannot_be_are_refused_and_leave_nothing() {
    let bench = bench();
    for (flags, words) in [
        ("--dwi a.npy --prior spatial", ["--prior spatial", ".nii.gz"]),
        ("--dwi a.npy --prior hierarchical --shard 1/2", ["--shard", "--mask"]),
        ("--dwi a.npy --prior bayesian", ["--prior bayesian", "hierarchical"]),
        ("--dwi a.npy --prior hierarchical --method laplace", ["--method laplace", "--prior"]),
        ("--dwi a.npy --prior hierarchical --model ball_sticks_2", ["exchangeable", "stick"]),
    ] {
        let model = if flags.contains("--model") { "" } else { "--model ball_stick" };
        let line = format!("sample {model} --bval a.bval --bvec a.bvec {flags} --out o");
        for dry in ["", " --dry-run"] {
            let ended = bench.run(&format!("{line}{dry}")).exits(1);
            for word in words {
                assert!(ended.stderr.contains(word), "{flags}: {}", ended.stderr);
            }
            assert!(!bench.exists("o"), "{flags}");
        }
    }
    let plan = bench.run(&format!("{LINE} --dwi a.npy --prior hierarchical --dry-run")).exits(0);
    assert!(plan.stdout.contains("280 in 2 blocks"), "{}", plan.stdout);
}

/// A region that is stopped has nothing to keep; the next run finds a clean folder.
#[cfg(unix)]
#[test]
fn a_stopped_region_begins_anew() {
    let bench = bench();
    let line = format!("{LINE} --dwi a.npy --prior hierarchical --sigma 20 --tune 40");
    let long = format!("{line} --draws 1000000 --out o");
    for signal in ["INT", "KILL"] {
        let mut command = bench.command(&long);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let parts = bench.path("o/.parts");
        let draws = || {
            std::fs::read_dir(&parts).is_ok_and(|mut list| {
                list.any(|e| e.unwrap().file_name().to_string_lossy().starts_with(".draws."))
            })
        };
        for _ in 0..6000 {
            if draws() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(draws(), "no draws in a minute");
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").arg("-c").arg(kill).status().unwrap().success());
        let ended = crate::bench::Ended::of(child.wait_with_output().unwrap());
        assert_eq!(draws(), signal == "KILL");
        if signal == "INT" {
            let ended = ended.exits(130);
            assert!(ended.stderr.contains("begins anew"), "{}", ended.stderr);
        }
        assert_eq!(bench.names("o"), [".parts"]);
    }
    // Another number of draws is another run, so this one replaces it.
    bench.run(&format!("{line} --draws 20 --out o --overwrite")).exits(0);
    bench.run(&format!("{line} --draws 20 --out fresh")).exits(0);
    assert_same(&bench.path("o/posterior.parquet"), &bench.path("fresh/posterior.parquet"));
    assert_eq!(bench.names("o/.parts"), ["run.json"]);
}
