//! The iterative methods of `reconstruct` from outside: every one of them, what stands beside
//! the volume, projections of a whole detector, moving volumes, wrong lines.

use crate::bench::Bench;
use microtome::datasets::{Array, TableReader, Values};

const METHODS: [&str; 12] = [
    "sirt",
    "sart",
    "os_sart",
    "cgls",
    "lsqr",
    "mlem",
    "osem",
    "tv_pocs",
    "asd_pocs",
    "awtv_pocs",
    "fista_tv",
    "pdhg_tv",
];

const SET_UP: &str = "kind = \"parallel2d\"\ndetector = [24]\n[volume]\nshape = [16, 16]\n\
    voxel_mm = [1.0, 1.0]\n[trajectory]\nkind = \"circular\"\nviews = 20\npixel_mm = [1.0]\n";

fn put(bench: &Bench, name: &str, shape: &[usize], value: impl Fn(usize) -> f64) {
    let n = shape.iter().product();
    let values = Values::F64((0..n).map(value).collect());
    Array { shape: shape.to_vec(), values }.write(&bench.path(name)).unwrap();
}

fn disc(j: usize) -> f64 {
    let (x, y) = ((j % 16) as f64 - 7.5, (j / 16) as f64 - 7.5);
    if x.hypot(y) < 5.5 { 0.5 } else { 0.0 }
}

/// A disc of 0.5/mm, its projections and weights of 4 everywhere.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", SET_UP);
    put(&bench, "v.npy", &[16, 16], disc);
    bench.run("project --volume v.npy --geometry g.toml --out p.npy").exits(0);
    put(&bench, "w.npy", &[20, 24], |_| 4.0);
    bench
}

fn numbers(bench: &Bench, name: &str) -> Vec<f64> {
    Array::read(&bench.path(name)).unwrap().values.into_f64()
}

/// Root mean square difference.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / a.len() as f64).sqrt()
}

#[test]
fn every_method_runs() {
    let bench = bench();
    let truth = numbers(&bench, "v.npy");
    for method in METHODS {
        let bounds = if ["cgls", "lsqr"].contains(&method) { "" } else { "--nonneg" };
        let line = format!(
            "reconstruct --projections p.npy --geometry g.toml --method {method} --iterations 30 {bounds} --out {method}.npy --json"
        );
        let json = bench.run(&line).exits(0).json();
        assert_eq!((&json["method"], &json["iterations"]), (&method.into(), &30.into()));
        assert_eq!((&json["ended"], &json["kind"]), (&"iterations".into(), &"parallel2d".into()));
        assert_eq!(json["shape"], serde_json::json!([16, 16]));
        assert_eq!(json["tv_weight"].is_number(), ["fista_tv", "pdhg_tv"].contains(&method));
        let x = numbers(&bench, &format!("{method}.npy"));
        assert!(bounds.is_empty() || x.iter().all(|v| *v >= 0.0), "{method}");
        let miss = gap(&x, &truth);
        assert!(miss < 0.04, "{method}: {miss}");
        let table = TableReader::open(&bench.path(&format!("{method}.history.parquet"))).unwrap();
        assert_eq!(table.schema().metadata()["microtome.method"], method);
        assert_eq!(table.n_rows(), 30);
        // The same line again has nothing to do; another one may not replace the file.
        assert!(bench.run(&line).exits(0).stderr.contains("nothing to do"));
        let other = line.replace("--iterations 30", "--iterations 3");
        assert!(bench.run(&other).exits(1).stderr.contains("--overwrite"));
        assert_eq!(numbers(&bench, &format!("{method}.npy")), x);
    }
}

/// Projections and weights of the whole detector are cropped and joined as the set-up says.
#[test]
fn a_whole_detector_is_cropped_and_joined() {
    let bench = bench();
    let keys = "crop = { views = [0, 20, 2], u = [2, 22] }\nbin = [2]\n";
    bench.put("small.toml", SET_UP.replace("[volume]", &format!("{keys}[volume]")));
    let whole = numbers(&bench, "p.npy");
    let pixel = |k: usize| (2 * (k / 10), 2 + 2 * (k % 10));
    put(&bench, "joined.npy", &[10, 10], |k| {
        let (view, u) = pixel(k);
        0.5 * (whole[24 * view + u] + whole[24 * view + u + 1])
    });
    // 1/w of a mean of two is (1/w1 + 1/w2)/4; a weight of 0 takes its partner along.
    let weight = |k: usize| if k == 24 * 4 + 5 { 0.0 } else { 1.0 + (k % 3) as f64 };
    put(&bench, "w.npy", &[20, 24], weight);
    put(&bench, "small_w.npy", &[10, 10], |k| {
        let (view, u) = pixel(k);
        let [a, b] = [0, 1].map(|i| weight(24 * view + u + i));
        if a * b == 0.0 { 0.0 } else { 4.0 / (1.0 / a + 1.0 / b) }
    });
    let line = "reconstruct --geometry small.toml --method sirt --iterations 5";
    let whole = "--projections p.npy --weights w.npy --out a.npy";
    let small = "--projections joined.npy --weights small_w.npy --out b.npy";
    bench.run(&format!("{line} {whole}")).exits(0);
    bench.run(&format!("{line} {small}")).exits(0);
    assert!(gap(&numbers(&bench, "a.npy"), &numbers(&bench, "b.npy")) < 1e-14);
    let fbp = "reconstruct --geometry small.toml --method fbp";
    bench.run(&format!("{fbp} --projections p.npy --out c.npy")).exits(0);
    bench.run(&format!("{fbp} --projections joined.npy --out d.npy")).exits(0);
    assert_eq!(numbers(&bench, "c.npy"), numbers(&bench, "d.npy"));
    put(&bench, "odd.npy", &[20, 23], |_| 1.0);
    let said = bench.run(&format!("{line} --projections odd.npy --out e.npy")).exits(1).stderr;
    assert!(said.contains("[20, 24], before crop and bin"), "{said}");
}

/// A volume that moves from view to view, some rays left out.
#[test]
fn moving_volumes() {
    let bench = Bench::new();
    let n = 10;
    put(&bench, "theta.npy", &[30, 5], |k| {
        let view = (k / 5) as f64;
        [0.02 * view.sin(), 0.01, 6.0_f64.to_radians() * view, 0.3 * view.cos(), -0.2][k % 5]
    });
    put(&bench, "mask.npy", &[12, 14], |k| if k == 12 * 6 + 7 { 0.0 } else { 1.0 });
    bench.put(
        "g.toml",
        format!(
            "kind = \"pose5\"\nposes = \"theta.npy\"\ndetector = [12, 14]\npixel_mm = [1.0, 1.0]\n\
             mask = \"mask.npy\"\n[volume]\nshape = [{n}, {n}, {n}]\nvoxel_mm = [1.0, 1.0, 1.0]\n"
        ),
    );
    put(&bench, "v.npy", &[n, n, n], |j| {
        let d = [j % n, j / n % n, j / (n * n)].map(|i| i as f64 - 4.5);
        (-(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) / 8.0).exp()
    });
    bench.run("project --volume v.npy --geometry g.toml --out p.npy").exits(0);
    // What a ray that is left out says does not count.
    let mut p = Array::read(&bench.path("p.npy")).unwrap();
    if let Values::F64(v) = &mut p.values {
        assert_eq!(v[12 * 6 + 7], 0.0);
        v[12 * 6 + 7] = f64::NAN;
    }
    p.write(&bench.path("p.npy")).unwrap();
    let truth = numbers(&bench, "v.npy");
    for method in ["sirt", "cgls", "pdhg_tv --tv-weight 0.001"] {
        let line = format!(
            "reconstruct --projections p.npy --geometry g.toml --method {method} --iterations 60 --out x.npy --overwrite --json"
        );
        let json = bench.run(&line).exits(0).json();
        assert_eq!(json["kind"], "pose5");
        let miss = gap(&numbers(&bench, "x.npy"), &truth);
        assert!(miss < 0.02, "{method}: {miss}");
    }
    let dry =
        bench.run("reconstruct --projections p.npy --geometry g.toml --method sirt --dry-run");
    assert!(dry.exits(0).stdout.contains("pose5"));
}

/// What voxels miss is added to the variances of the counts.
#[test]
fn a_variance_of_the_model() {
    let bench = bench();
    let line = "reconstruct --projections p.npy --geometry g.toml --iterations 20 --nonneg --json";
    let run = |more: &str| bench.run(&format!("{line} {more}")).exits(0).json();
    // Projections without noise are met better than the weights say: nothing is added.
    let found = run("--method pdhg_tv --weights w.npy --out a.npy");
    assert!(found["model_sd"].as_f64().unwrap() < 0.1, "{}", found["model_sd"]);
    put(&bench, "high.npy", &[20, 24], |_| 1e8);
    let found = run("--method pdhg_tv --weights high.npy --out b.npy");
    assert!(found["model_sd"].as_f64().unwrap() > 1e-3, "{}", found["model_sd"]);
    // Too low weights are no inverse variances, which is said where something depends on it.
    put(&bench, "low.npy", &[20, 24], |_| 1e-4);
    let low = format!("{line} --method pdhg_tv --weights low.npy");
    let words = "times what --weights says";
    let ended = bench.run(&format!("{low} --out e.npy")).exits(0);
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let given = bench.run(&format!("{low} --tv-weight 1 --out f.npy")).exits(0);
    assert!(!given.stderr.contains(words), "{}", given.stderr);
    // 1/(1/4 + 0.25) is 2.
    put(&bench, "two.npy", &[20, 24], |_| 2.0);
    run("--method sirt --weights w.npy --model-sd 0.5 --out c.npy");
    let plain = run("--method sirt --weights two.npy --out d.npy");
    assert_eq!(plain["model_sd"], 0.0);
    assert!(gap(&numbers(&bench, "c.npy"), &numbers(&bench, "d.npy")) < 1e-14);
}

#[test]
fn wrong_lines_leave_nothing() {
    let bench = bench();
    put(&bench, "short.npy", &[20, 23], |_| 1.0);
    put(&bench, "negative.npy", &[20, 24], |k| if k == 27 { -1.0 } else { 1.0 });
    put(&bench, "nan.npy", &[20, 24], |k| if k == 27 { f64::NAN } else { 1.0 });
    put(&bench, "wide.npy", &[16, 17], |_| 1.0);
    let before = bench.names(".");
    for (flags, words) in [
        ("--method tv", &["--method tv", "pdhg_tv", "fdk", "sirt"] as &[&str]),
        ("--method sirt --iterations 0", &["--iterations 0", "at least 1"]),
        ("--method sirt --iterations -3", &["--iterations"]),
        ("--method sirt --weights short.npy", &["short.npy", "[20, 23]", "[20, 24]"]),
        ("--method sirt --weights negative.npy", &["negative.npy", "[1, 3]"]),
        ("--method sirt --weights none.npy", &["none.npy"]),
        ("--method sirt --init wide.npy", &["--init", "[16, 17]", "[16, 16]"]),
        ("--method fbp --iterations 3", &["--iterations"]),
        ("--method fbp --weights w.npy", &["--weights"]),
        ("--method sirt --filter hann", &["--filter"]),
        ("--method sirt --projector x", &["`x`"]),
        ("--method sirt --tv-weight 0.1", &["--tv-weight", "pdhg_tv"]),
        ("--method pdhg_tv --tv-weight=-1", &["tv_weight"]),
        ("--method pdhg_tv --model-sd 1", &["--weights"]),
        ("--method pdhg_tv --weights w.npy --model-sd some", &["--model-sd some", "auto"]),
        ("--method sirt --relaxation 2", &["relaxation"]),
        ("--method os_sart --subsets 21", &["subsets", "20"]),
        ("--method sart --subsets 4", &["--subsets", "os_sart", "view by view"]),
        ("--method cgls --relaxation 0.5", &["--relaxation", "sirt", "cgls"]),
        ("--method sirt --tv-step 0.1", &["--tv-step", "asd_pocs", "sirt"]),
        ("--method pdhg_tv --tv-iterations 5", &["--tv-iterations", "fista_tv", "pdhg_tv"]),
        ("--method cgls --nonneg", &["cgls", "bounds"]),
        ("--method sirt --relative-change nan", &["--relative-change"]),
        ("--method sirt --discrepancy 1", &["--weights"]),
        ("--method sirt --projections nan.npy", &["nan.npy", "[1, 3]"]),
        ("--method sirt --projections short.npy", &["short.npy", "[20, 23]", "[20, 24]"]),
        ("--method mlem --projections negative.npy", &["projections are negative", "[1, 3]"]),
        ("--method sirt --out x.txt", &["--out", ".npy"]),
    ] {
        let mut line = format!("reconstruct --geometry g.toml {flags}");
        for (flag, value) in [("--projections", "p.npy"), ("--out", "x.npy")] {
            if !flags.contains(flag) {
                line.push_str(&format!(" {flag} {value}"));
            }
        }
        let ended = bench.run(&line);
        assert!(ended.stderr.starts_with("error: "), "{line}: {}", ended.stdout);
        let said = ended.exits(1).stderr;
        assert!(words.iter().all(|w| said.contains(w)), "{line}: {said}");
        assert_eq!(bench.names("."), before, "{line}");
    }
}
