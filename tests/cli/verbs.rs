//! The verbs that show: info, diagnose, report, demo, help, completions.

use crate::bench::Bench;

const VERBS: [&str; 9] =
    ["info", "fit", "sample", "predict", "merge", "diagnose", "report", "demo", "completions"];

#[test]
fn help_begins_with_a_synopsis() {
    let bench = Bench::new();
    for verb in VERBS {
        let ended = bench.run(&format!("{verb} --help")).exits(0);
        assert!(ended.stdout.starts_with(&format!("Usage: microtome {verb}")), "{}", ended.stdout);
        let short = bench.run(&format!("{verb} -h")).exits(0);
        assert!(short.stdout.starts_with(&format!("Usage: microtome {verb}")), "{}", short.stdout);
    }
    let ended = bench.run("").exits(0);
    assert!(VERBS.iter().all(|v| ended.stdout.contains(v)), "{}", ended.stdout);
    assert!(bench.run("--version").exits(0).stdout.starts_with("microtome "));
    for verb in ["fit", "sample"] {
        let text = bench.run(&format!("{verb} --help")).stdout;
        for word in
            ["doi:", "um^2/ms", "s/mm²", "[default: 5]", "References", "--shard", "Exit codes"]
        {
            assert!(text.contains(word), "{verb}: no {word}");
        }
    }
}

#[test]
fn info_tells_of_models_schemes_data_and_version() {
    let bench = Bench::with_voxels(7);
    let models = bench.run("info models").exits(0).stdout;
    for word in
        ["ball_stick", "zeppelin", "lambda_perp", "um^2/ms", "0.05 to 4", "doi:", "Dirichlet"]
    {
        assert!(models.contains(word), "{word}: {models}");
    }
    let json = bench.run("info models --json").exits(0).json();
    assert!(json["compartments"].as_array().unwrap().iter().any(|c| c["kind"] == "stick"));
    let one = bench.run("info models ball_sticks_2").exits(0).stdout;
    assert!(one.contains("9 degrees of freedom") && one.contains("stick_2.mu"), "{one}");
    let scheme = bench.run("info scheme --bval a.bval --bvec a.bvec --json").exits(0).json();
    assert_eq!(scheme["shells"][1]["b_s_per_mm2"], 1000.0);
    assert_eq!(scheme["shells"][2]["measurements"], 15);
    let data = bench.run("info data --dwi a.npy --json").exits(0).json();
    assert_eq!((data["voxels"].as_u64(), data["measurements"].as_u64()), (Some(7), Some(34)));
    let version = bench.run("info version").exits(0).stdout;
    assert!(version.contains("SIMD level") && version.contains("features"), "{version}");
}

#[test]
fn flags_of_a_deconvolution_are_shown_where_they_apply() {
    let bench = Bench::new();
    for (verb, shown) in [("fit", true), ("sample", false), ("predict", false)] {
        let help = bench.run(&format!("{verb} --help")).exits(0).stdout;
        for flag in ["--response", "--lmax", "--side-lobes"] {
            assert_eq!(help.contains(&format!("{flag} <")), shown, "{verb} {flag}");
        }
    }
}

#[test]
fn completions_name_the_verbs() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = bench.run(&format!("completions {shell}")).exits(0).stdout;
        assert!(script.contains("diagnose") && script.contains("max-failed"), "{shell}");
    }
    assert!(bench.run("completions csh").exits(1).stderr.contains("csh"));
}

#[test]
fn diagnose_ends_with_a_verdict() {
    let bench = Bench::with_voxels(12);
    let sample = "sample --method nuts --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --sigma 20";
    bench.run(&format!("{sample} --out good")).exits(0);
    let ended = bench.run("diagnose good").exits(0);
    assert!(
        ended
            .stdout
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("Verdict: these results can be"),
        "{}",
        ended.stdout
    );
    bench
        .run(&format!("{sample} --out short --method nuts --draws 20 --tune 10 --max-failed 100"))
        .exits(0);
    let ended = bench.run("diagnose short").exits(2);
    assert!(ended.stdout.contains("effective sample size below 400"), "{}", ended.stdout);
    assert!(ended.stdout.contains("do not trust"), "{}", ended.stdout);
    assert!(ended.stdout.contains("worst voxels") && ended.stdout.contains("not_mixed, nuts"));
    let json = bench.run("diagnose short --json").exits(2).json();
    assert_eq!((&json["trust"], &json["do_not_trust_voxels"]), (&false.into(), &12.into()));
    assert_eq!(json["reasons"]["ESS"], 12);
    assert!(json["worst_voxels"][0]["name"].as_str().unwrap().starts_with("voxel "));
    // 1 - 1/contraction², averaged: below that of the average.
    let s0 = &bench.run("diagnose good --json").exits(0).json()["parameters"]["s0"];
    let [contraction, shrinkage] = ["contraction", "shrinkage"].map(|k| s0[k].as_f64().unwrap());
    assert!(contraction > 1.0 && shrinkage <= 1.0 - contraction.powi(-2) + 1e-12, "{s0}");
    assert!(bench.run("diagnose nowhere").exits(1).stderr.contains("nowhere"));
    bench.signals("b.npy", 12, |v, row| {
        if v < 6 {
            row.fill(0.0)
        }
    });
    bench.fit("--dwi b.npy --out fit").exits(2);
    let ended = bench.run("diagnose fit").exits(2);
    assert!(ended.stdout.contains("6 of 12 voxels (50.0 %) did not converge"), "{}", ended.stdout);
    // The report of an array, with data and without.
    bench.run("report good").exits(0);
    let page = String::from_utf8(bench.read("good/report.html")).unwrap();
    assert!(page.contains("Predictive check") && page.contains("One voxel"));
    std::fs::remove_file(bench.path("a.npy")).unwrap();
    bench.run("report good").exits(0);
    let page = String::from_utf8(bench.read("good/report.html")).unwrap();
    assert!(!page.contains("Predictive check") && page.contains("One voxel"));
    bench.run("report fit").exits(0);
}

#[test]
fn the_demonstration_finds_its_truth() {
    let bench = Bench::new();
    let json = bench.run("demo --json --out d").exits(0).json();
    for (parameter, most) in
        [("stick.lambda_par", 0.15), ("stick.fraction", 0.03), ("stick.mu", 2.5)]
    {
        for job in ["fit", "sample"] {
            let error = json[job][parameter]["median_absolute_error"].as_f64().unwrap();
            assert!(error < most, "{job} {parameter}: {error}");
        }
    }
    // 90 % of 144 voxels, four standard errors of a binomial share.
    let coverage = json["sample"]["stick.fraction"]["coverage_90"].as_f64().unwrap();
    assert!((0.8..=1.0).contains(&coverage), "{coverage}");
    let ct = |method: &str| json["ct"][method]["psnr_db"].as_f64().unwrap();
    assert!(ct("fbp") > 20.0 && ct("tv") > ct("fbp") + 6.0, "{} {}", ct("fbp"), ct("tv"));
    // The line that is shown for it gives the same bits.
    for (method, line) in ["fbp", "tv"].into_iter().zip(json["by_hand"].as_array().unwrap()) {
        bench.run(line.as_str().unwrap().strip_prefix("microtome ").unwrap()).exits(0);
        let [mine, shown] = ["my-", ""].map(|w| bench.read(&format!("d/ct/{w}{method}.npy")));
        assert_eq!(mine, shown, "{method}");
    }
    let page = String::from_utf8(bench.read("d/report.html")).unwrap();
    for section in [
        "Images",
        "Verdict and facts",
        "Maps",
        "Quality",
        "One voxel",
        "Predictive check",
        "Truth",
        "Parameters",
    ] {
        assert!(page.contains(section), "{section}");
    }
    for word in ["src=\"http", "<link", "<script src", "@import", "url(http"] {
        assert!(!page.contains(word), "{word}");
    }
    bench.put("d/thesis.tex", "mine");
    assert!(bench.run("demo --out d").exits(1).stderr.contains("thesis.tex"));
    bench.put("file", "");
    bench.run("demo --out file").exits(1);
}
