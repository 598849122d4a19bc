//! `diagnose --sbc` and `predict --prior-draws`.

use crate::bench::{Bench, MEASUREMENTS, assert_same};
use microtome::datasets::{TableReader, read_matrix};

const LINE: &str = "diagnose --sbc ball --bval a.bval --bvec a.bvec --sigma 0.05 --simulations 100 --sbc-draws 49 \
                    --chains 2 --tune 100 --draws 100 --json --quiet";

#[test]
fn sbc_passes_and_writes_a_folder() {
    let bench = Bench::new();
    let ended = bench.run(&format!("{LINE} --threads 1 --out one")).exits(0);
    let json = ended.json();
    assert_eq!((&json["calibrated"], &json["without_draws"]), (&true.into(), &0.into()));
    assert_eq!(json["quantities"].as_array().unwrap().len(), 3);
    assert_eq!(bench.names("one"), ["calibration.json", "ranks.parquet", "report.html"]);
    assert_eq!(TableReader::open(&bench.path("one/ranks.parquet")).unwrap().n_rows(), 100);
    let page = String::from_utf8(bench.read("one/report.html")).unwrap();
    assert!(page.contains("id=\"calibration\"") && page.contains("ball.lambda_iso"));
    // Threads change nothing, and the same line may be given again.
    bench.run(&format!("{LINE} --threads 3 --out two")).exits(0);
    assert_same(&bench.path("one/ranks.parquet"), &bench.path("two/ranks.parquet"));
    bench.run(&format!("{LINE} --threads 3 --out two")).exits(0);
    let other = bench.run(&format!("{LINE} --seed 5 --out two")).exits(1);
    assert!(other.stderr.contains("another calibration"), "{}", other.stderr);
}

#[test]
fn sbc_finds_a_wrong_noise_scale() {
    let bench = Bench::new();
    let line = LINE.replace("--sbc ball", "--sbc ball_stick");
    let ended = bench.run(&format!("{line} --sigma-error 0.2")).exits(2);
    assert_eq!(ended.json()["calibrated"], false);
    assert!(ended.stdout.contains("ln_likelihood"), "{}", ended.stdout);
}

#[test]
fn sbc_says_what_it_cannot_calibrate() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("notes")).unwrap();
    bench.put("notes/mine.txt", "");
    let scheme = "--bval a.bval --bvec a.bvec";
    for (line, word) in [
        ("diagnose".to_string(), "--sbc MODEL"),
        ("diagnose here --sbc ball".into(), "give one of them"),
        ("diagnose --sbc ball".into(), "an acquisition is needed"),
        (format!("diagnose --sbc nothing {scheme}"), "`nothing`"),
        (format!("diagnose --sbc csd {scheme}"), "no posterior"),
        (format!("diagnose --sbc dki {scheme}"), "no posterior"),
        (format!("diagnose --sbc activeax {scheme}"), "delta"),
        (format!("diagnose --sbc ball --simulations 3 {scheme}"), "--simulations 3"),
        (format!("diagnose --sbc ball --sbc-draws 3 {scheme}"), "--sbc-draws 3"),
        (format!("diagnose --sbc ball --sigma -1 {scheme}"), "--sigma -1"),
        (format!("diagnose --sbc ball --sigma-error 0.2 {scheme}"), "needs --sigma"),
        (format!("diagnose --sbc ball --draws 9 --chains 1 {scheme}"), "9 draws a voxel"),
        (format!("diagnose --sbc ball --out notes {scheme}"), "mine.txt"),
    ] {
        let ended = bench.run(&line).exits(1);
        assert!(ended.stderr.contains(word), "{line}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn prior_draws_are_sets_that_predict_reads() {
    let bench = Bench::new();
    let line = "predict --bval a.bval --bvec a.bvec --model noddi --seed 4";
    bench.run(&format!("{line} --prior-draws 30 --parameters-out p.csv --out a.npy")).exits(0);
    bench.run(&format!("{line} --parameters p.csv --out b.npy")).exits(0);
    let [a, b] = ["a.npy", "b.npy"].map(|n| read_matrix(&bench.path(n)).unwrap());
    assert_eq!((a.rows, a.columns), (30, MEASUREMENTS));
    assert!(a.values.iter().zip(&b.values).all(|(x, y)| (x - y).abs() < 1e-12));
    // Noise of the asked-for scale, the same for any number of threads.
    let noisy = format!("{line} --prior-draws 30 --noise gaussian --sigma 0.1");
    bench.run(&format!("{noisy} --threads 1 --out n.npy")).exits(0);
    bench.run(&format!("{noisy} --threads 2 --out m.npy")).exits(0);
    assert_same(&bench.path("n.npy"), &bench.path("m.npy"));
    let n = read_matrix(&bench.path("n.npy")).unwrap();
    let square: f64 = n.values.iter().zip(&a.values).map(|(x, y)| (x - y).powi(2)).sum();
    let sd = (square / n.values.len() as f64).sqrt();
    assert!((sd - 0.1).abs() < 0.01, "{sd}");
}

/// More sets than are in memory at a time: those of a shorter run come first, and the table is
/// compared with a file that is there.
#[test]
fn prior_draws_are_made_in_blocks() {
    let bench = Bench::new();
    let line =
        "predict --bval a.bval --bvec a.bvec --model ball --seed 4 --sigma 0.1 --noise gaussian";
    let many = format!("{line} --prior-draws 16390 --parameters-out p.csv");
    bench.run(&format!("{many} --out a.npy")).exits(0);
    bench.run(&format!("{line} --prior-draws 16385 --out b.npy")).exits(0);
    let [a, b] = ["a.npy", "b.npy"].map(|n| read_matrix(&bench.path(n)).unwrap());
    assert_eq!((a.rows, b.rows), (16390, 16385));
    assert_eq!(a.values[..b.values.len()], b.values);
    let text = std::fs::read_to_string(bench.path("p.csv")).unwrap();
    assert_eq!(text.lines().count(), 16391);
    bench.run(&format!("{many} --out a.npy")).exits(0);
    let fewer = format!("{line} --prior-draws 16389 --parameters-out p.csv --out c.npy");
    assert!(bench.run(&fewer).exits(1).stderr.contains("--overwrite"));
    assert!(!bench.exists("c.npy"));
    bench.run(&format!("{fewer} --overwrite")).exits(0);
    assert_eq!(std::fs::read_to_string(bench.path("p.csv")).unwrap().lines().count(), 16390);
}

#[test]
fn prior_draws_refuse_what_makes_no_sense() {
    let bench = Bench::new();
    bench.put("p.csv", "ball.lambda_iso\n1.0\n");
    let line = "predict --bval a.bval --bvec a.bvec --model ball --out x.npy";
    for (rest, word) in [
        ("", "--prior-draws N"),
        ("--prior-draws 3 --parameters p.csv", "give one of them"),
        ("--prior-draws 0", "--prior-draws 0"),
        ("--prior-draws 3 --noise rician", "needs --sigma"),
        ("--prior-draws 3 --sigma 0", "--sigma 0"),
        ("--parameters p.csv --parameters-out q.csv", "--parameters-out"),
        ("--prior-draws 3 --level -2", "--level -2"),
    ] {
        let ended = bench.run(&format!("{line} {rest}")).exits(1);
        assert!(ended.stderr.contains(word), "{rest}: {}", ended.stderr);
    }
    assert!(!bench.exists("x.npy"));
}
