//! Output folders: foreign files, other runs, resume, dry runs.

use crate::bench::{Bench, assert_same};

#[test]
fn the_same_line_again_does_nothing() {
    let bench = Bench::with_voxels(300);
    bench.fit("--dwi a.npy --out o").exits(0);
    let (table, run) = (bench.read("o/fit.parquet"), bench.read("o/run.json"));
    let ended = bench.fit("--dwi a.npy --out o").exits(0);
    assert!(ended.stderr.contains("nothing to do"), "{}", ended.stderr);
    assert!(table == bench.read("o/fit.parquet") && run == bench.read("o/run.json"));
    // A table that is gone is joined again from the finished blocks.
    std::fs::remove_file(bench.path("o/fit.parquet")).unwrap();
    let ended = bench.fit("--dwi a.npy --out o").exits(0);
    assert!(ended.stderr.contains("2 of 2 blocks were finished before"), "{}", ended.stderr);
    assert!(table == bench.read("o/fit.parquet"));
    // So is one whose blocks are damaged.
    std::fs::remove_file(bench.path("o/fit.parquet")).unwrap();
    for name in bench.names("o/.parts").iter().filter(|n| n.ends_with(".parquet")) {
        let bytes = bench.read(&format!("o/.parts/{name}"));
        bench.put(&format!("o/.parts/{name}"), &bytes[..bytes.len() / 2]);
    }
    let ended = bench.fit("--dwi a.npy --out o").exits(0);
    assert!(!ended.stderr.contains("finished before"), "{}", ended.stderr);
    assert!(table == bench.read("o/fit.parquet"));
}

#[test]
fn parts_can_be_discarded() {
    let bench = Bench::with_voxels(300);
    bench.fit("--dwi a.npy --out o --discard-parts").exits(0);
    assert_eq!(bench.names("o/.parts"), ["run.json"]);
    bench.fit("--dwi a.npy --out o --discard-parts").exits(0);
    bench.fit("--dwi a.npy --out p").exits(0);
    assert_same(&bench.path("o/fit.parquet"), &bench.path("p/fit.parquet"));
    assert_eq!(bench.names("p/.parts").iter().filter(|n| n.ends_with(".parquet")).count(), 2);
}

#[test]
fn folders_of_other_runs_are_refused() {
    let bench = Bench::with_voxels(20);
    bench.fit("--dwi a.npy --out o").exits(0);
    let before: Vec<_> = bench
        .names("o")
        .iter()
        .map(|n| (n.clone(), std::fs::read(bench.path("o").join(n)).ok()))
        .collect();
    for (flags, word) in
        [("--seed 3", "seed"), ("--sigma 20", "sigma"), ("--noise rician", "model")]
    {
        let ended = bench.fit(&format!("--dwi a.npy --out o {flags}")).exits(1);
        assert!(
            ended.stderr.contains("another run") && ended.stderr.contains(word),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("--overwrite"), "{}", ended.stderr);
    }
    let sample = "sample --method nuts --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --out o --draws 10 --tune 10";
    assert!(bench.run(sample).exits(1).stderr.contains("job"));
    bench.signals("b.npy", 20, |_, row| row[0] += 1.0);
    assert!(bench.fit("--dwi b.npy --out o").exits(1).stderr.contains("input"));
    let after: Vec<_> = bench
        .names("o")
        .iter()
        .map(|n| (n.clone(), std::fs::read(bench.path("o").join(n)).ok()))
        .collect();
    assert!(before == after);
    bench.put("o/notes.txt", "mine");
    bench.run(&format!("{sample} --overwrite --max-failed 100")).exits(0);
    assert!(bench.exists("o/posterior.parquet") && !bench.exists("o/fit.parquet"));
    assert_eq!(bench.read("o/notes.txt"), b"mine");
}

#[test]
fn foreign_folders_are_refused() {
    let bench = Bench::with_voxels(5);
    std::fs::create_dir(bench.path("o")).unwrap();
    bench.fit("--dwi a.npy --out o").exits(0);
    std::fs::create_dir(bench.path("p")).unwrap();
    bench.put("p/thesis.tex", "years of work");
    let ended = bench.fit("--dwi a.npy --out p").exits(1);
    assert!(
        ended.stderr.contains("thesis.tex") && ended.stderr.contains("--overwrite"),
        "{}",
        ended.stderr
    );
    assert_eq!(bench.names("p"), ["thesis.tex"]);
    // A table that this program did not write is foreign, too.
    std::fs::create_dir(bench.path("q")).unwrap();
    bench.put("q/fit.parquet", "not ours");
    bench.fit("--dwi a.npy --out q").exits(1);
    assert_eq!(bench.read("q/fit.parquet"), b"not ours");
    bench.fit("--dwi a.npy --out p --overwrite").exits(0);
    assert_eq!(bench.read("p/thesis.tex"), b"years of work");
}

#[test]
fn a_folder_without_an_identity_is_taken_over() {
    let bench = Bench::with_voxels(5);
    std::fs::create_dir_all(bench.path("o/.parts")).unwrap();
    bench.put("o/.parts/.run.json.abc.tmp", "half");
    bench.fit("--dwi a.npy --out o").exits(0);
    std::fs::create_dir_all(bench.path("p/.parts")).unwrap();
    bench.put("p/.parts/notes.txt", "not ours");
    bench.fit("--dwi a.npy --out p").exits(1);
}

#[test]
fn a_dry_run_writes_nothing() {
    let bench = Bench::with_voxels(600);
    let before = bench.names(".");
    let ended = bench.fit("--dwi a.npy --out o --dry-run").exits(0);
    for word in ["600 in 3 blocks", "memory", "time", "degrees of freedom"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
    let json = bench.fit("--dwi a.npy --dry-run --json --shard 1/2").exits(0).json();
    assert_eq!(json["voxels"], 256 + 88);
    assert!(json["wall_s"].as_f64().unwrap() > 0.0);
    assert_eq!(bench.names("."), before);
}

#[test]
fn json_is_the_last_line() {
    let bench = Bench::with_voxels(40);
    let json = bench.fit("--dwi a.npy --out o/deep/er --json").exits(0).json();
    assert_eq!(json["counts"]["by_status"]["converged"], 40);
    assert_eq!(json["job"], "fit");
    assert!(json["simd_level"].is_string() && json["identity"].is_string());
    let json = bench.fit("--dwi a.npy --out o/deep/er --json").exits(0).json();
    assert_eq!(json["counts"]["voxels"], 40);
}

#[test]
fn errors_leave_nothing() {
    let bench = Bench::with_voxels(5);
    bench.put("file", "in the way");
    for out in ["file", "file/deep/er"] {
        bench.fit(&format!("--dwi a.npy --out {out}")).exits(1);
    }
    bench.run("fit --model ball --bval a.bval --bvec a.bvec --dwi none --out new/er").exits(1);
    assert_eq!(bench.names("."), ["a.bval", "a.bvec", "a.npy", "file"]);
    // A folder of parts that can't be made: a file has its name.
    std::fs::create_dir(bench.path("o")).unwrap();
    bench.put("o/.parts", "in the way");
    bench.fit("--dwi a.npy --out o --overwrite").exits(0);
    assert!(bench.exists("o/fit.parquet"));
}
