//! `align` without `--derivatives`: poses in a known volume, and with an unknown one.

use crate::bench::Bench;
use microtome::datasets::Array;

const N: usize = 12;
const VIEWS: usize = 16;

fn set_up(poses: &str) -> String {
    format!(
        "kind = \"pose5\"\nposes = \"{poses}\"\ndetector = [{N}, {N}]\npixel_mm = [1.0, 1.0]\n\
         [volume]\nshape = [{N}, {N}, {N}]\nvoxel_mm = [1.0, 1.0, 1.0]\n"
    )
}

fn volume() -> Vec<f64> {
    let at = |i: usize| i as f64 - 5.5;
    let blobs =
        [(0.5, -1.0, 0.5, 2.4, 1.0), (-2.5, 1.5, -2.0, 1.2, 0.8), (2.0, 2.0, 2.5, 1.1, 0.9)];
    (0..N * N * N)
        .map(|i| {
            let (x, y, z) = (at(i % N), at(i / N % N), at(i / N / N));
            let of = |(a, b, c, s, v): &(f64, f64, f64, f64, f64)| {
                let square = (x - a).powi(2) + (y - b).powi(2) + (z - c).powi(2);
                v * (-0.5 * square / (s * s)).exp()
            };
            blobs.iter().map(of).sum()
        })
        .collect()
}

/// Poses as given and as they are.
fn poses() -> (Vec<f64>, Vec<f64>) {
    let (mut start, mut truth) = (Vec::new(), Vec::new());
    for i in 0..VIEWS {
        let phi = std::f64::consts::PI * i as f64 / VIEWS as f64;
        let e = |k: f64| (i as f64 * k + k).sin();
        start.extend([0.0, 0.0, phi, 0.0, 0.0]);
        truth.extend([
            0.02 * e(1.3),
            0.02 * e(2.1),
            phi + 0.02 * e(1.7),
            0.5 * e(2.9),
            0.5 * e(0.7),
        ]);
    }
    (start, truth)
}

fn bench() -> Bench {
    let bench = Bench::new();
    let (start, truth) = poses();
    bench.put("start.toml", set_up("start.npy"));
    bench.put("truth.toml", set_up("truth.npy"));
    bench.put_array("start.npy", &[VIEWS, 5], start);
    bench.put_array("truth.npy", &[VIEWS, 5], truth);
    bench.put_array("v.npy", &[N, N, N], volume());
    bench.run("project --volume v.npy --geometry truth.toml --out m.npy").exits(0);
    bench
}

fn read(bench: &Bench, name: &str, shape: &[usize]) -> Vec<f64> {
    let found = Array::read(&bench.path(name)).unwrap();
    assert_eq!(found.shape, shape, "{name}");
    found.values.into_f64()
}

const ALIGN: &str = "align --geometry start.toml --projections m.npy";

#[test]
fn align_finds_poses() {
    let bench = bench();
    let known = format!("{ALIGN} --volume v.npy --out known");
    let json = bench.run(&format!("{known} --json")).exits(0).json();
    assert_eq!(json["converged"], VIEWS, "{json}");
    let (_, truth) = poses();
    let found = read(&bench, "known/theta.npy", &[VIEWS, 5]);
    let gap = found.iter().zip(&truth).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 1e-5, "{gap}");
    // The new set-up is one: its projections are the measured ones.
    bench.run("project --volume v.npy --geometry known/geometry.toml --out again.npy").exits(0);
    let (a, b) = (read(&bench, "again.npy", &[VIEWS, N, N]), read(&bench, "m.npy", &[VIEWS, N, N]));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(bench.path("known/poses.parquet").exists());
    assert!(!bench.path("known/volume.npy").exists());
    // The same line again has nothing to do; another needs --overwrite, threads change no bit.
    let again = bench.run(&known).exits(0);
    assert!(again.stdout.contains("finished"), "{}", again.stdout);
    let other = format!("{known} --loss huber");
    let refused = bench.run(&other).exits(1);
    assert!(refused.stderr.contains("--overwrite"), "{}", refused.stderr);
    bench.run(&format!("{other} --overwrite")).exits(0);
    // Together with the volume.
    let json = bench.run(&format!("{ALIGN} --out joint --threads 1 --json")).exits(0).json();
    assert_eq!(json["gauge"]["hidden"].as_array().unwrap().len(), 6);
    let joint = read(&bench, "joint/theta.npy", &[VIEWS, 5]);
    read(&bench, "joint/volume.npy", &[N, N, N]);
    assert!(bench.path("joint/history.parquet").exists());
    // Shifts along z but for their mean, which is hidden.
    let dz = |t: &[f64]| t.iter().skip(4).step_by(5).copied().collect::<Vec<f64>>();
    let (is, was) = (dz(&joint), dz(&truth));
    let mean = is.iter().zip(&was).map(|(a, b)| a - b).sum::<f64>() / VIEWS as f64;
    let rest = is.iter().zip(&was).map(|(a, b)| (a - b - mean).powi(2)).sum::<f64>();
    let size = was.iter().map(|v| v * v).sum::<f64>();
    assert!(rest < 0.05 * size, "{rest} {size}");
    bench.run(&format!("{ALIGN} --out threads --threads 3")).exits(0);
    assert_eq!(read(&bench, "threads/theta.npy", &[VIEWS, 5]), joint);
}

#[test]
fn align_finds_the_axis() {
    let bench = Bench::new();
    let text = |offset: &str| {
        format!(
            "kind = \"parallel2d\"\ndetector = [32]\n{offset}[trajectory]\nkind = \"circular\"\n\
             views = 30\npixel_mm = [1.0]\n[volume]\nshape = [24, 24]\nvoxel_mm = [1.0, 1.0]\n"
        )
    };
    bench.put("g.toml", text(""));
    bench.put("off.toml", text("detector_offset_mm = [1.4]\n"));
    let slice: Vec<f64> = (0..24 * 24)
        .map(|i| {
            let (x, y) = ((i % 24) as f64 - 11.5, (i / 24) as f64 - 11.5);
            let blob = |a: f64, b: f64, s: f64| {
                (-0.5 * ((x - a).powi(2) + (y - b).powi(2)) / (s * s)).exp()
            };
            blob(1.0, -2.0, 4.0) + 0.8 * blob(-5.0, 3.0, 1.8) - 0.5 * blob(4.0, 4.0, 1.5)
        })
        .collect();
    bench.put_array("v.npy", &[24, 24], slice);
    bench
        .run("project --volume v.npy --geometry off.toml --projector trilinear --out m.npy")
        .exits(0);
    let line = "align --geometry g.toml --projections m.npy --common detector_u --out axis --json";
    let json = bench.run(line).exits(0).json();
    let found = json["common"][0]["mm_at_edge"].as_f64().unwrap();
    assert!((found - 1.4).abs() < 0.02, "{found}");
    assert_eq!(json["common"][0]["name"], "detector_u");
    assert!(read(&bench, "axis/views.npy", &[30, 6]).iter().all(|v| v.is_finite()));
    // The set-up that was written takes the offset away.
    let line = "reconstruct --projections m.npy --geometry axis/geometry.toml --method sirt --iterations 30 --out x.npy";
    bench.run(line).exits(0);
}

#[test]
fn align_calibrates_a_cone() {
    let bench = Bench::new();
    let text = |offset: &str, far: f64| {
        format!(
            "kind = \"cone3d\"\ndetector = [16, 16]\n{offset}[trajectory]\nkind = \"circular\"\n\
             views = 10\npixel_mm = [1.5, 1.5]\nsource_to_axis_mm = 40.0\n\
             axis_to_detector_mm = {far}\n[volume]\nshape = [{N}, {N}, {N}]\n\
             voxel_mm = [1.0, 1.0, 1.0]\n"
        )
    };
    bench.put("g.toml", text("", 20.0));
    bench.put("off.toml", text("detector_offset_mm = [-0.4, 0.9]\n", 21.5));
    bench.put_array("v.npy", &[N, N, N], volume());
    bench
        .run("project --volume v.npy --geometry off.toml --projector trilinear --out m.npy")
        .exits(0);
    let align = "align --geometry g.toml --projections m.npy";
    let common = "--common detector_u,detector_v,axis_to_detector";
    let json =
        bench.run(&format!("{align} --volume v.npy {common} --out c --json")).exits(0).json();
    // A mm of distance changes the magnification by a sixtieth: 0.07 mm at most in the volume.
    let truths =
        [("detector_u", 0.9, 0.03), ("detector_v", -0.4, 0.03), ("axis_to_detector", 1.5, 0.15)];
    for (k, (name, truth, close)) in truths.iter().enumerate() {
        let row = &json["common"][k];
        assert_eq!(row["name"], *name);
        assert_eq!(row["unit"], "mm");
        // Samples of the two set-ups stand at other places of their rays.
        let (value, sd) = (row["value"].as_f64().unwrap(), row["sd"].as_f64().unwrap());
        assert!((value - truth).abs() < *close && sd > 0.0 && sd < *close, "{json}");
    }
    // The set-up that was written is the one that was meant.
    assert_eq!(read(&bench, "c/theta.npy", &[10, 9])[6], json["common"][0]["value"]);
    bench
        .run("project --volume v.npy --geometry c/geometry.toml --projector trilinear --out p.npy")
        .exits(0);
    let (a, b) = (read(&bench, "p.npy", &[10, 16, 16]), read(&bench, "m.npy", &[10, 16, 16]));
    let largest = b.iter().fold(0.0_f64, |m, v| m.max(*v));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.01 * largest));
    // What can't be told is named.
    let says = |flags: &str, text: &str| {
        let run = bench.run(&format!("{align} {flags} --out none")).exits(1);
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(text), "{}", run.stderr);
        assert!(!bench.path("none").exists(), "{flags}");
    };
    says("--parameters alpha,beta,phi --common roll", "`roll`");
    says("--common yaw", "axis_to_detector");
    says("--common dz", "shift along z");
    let both = "--common source_to_axis,axis_to_detector --out both --json";
    let json = bench.run(&format!("{align} {both}")).exits(0).json();
    assert_eq!(json["gauge"]["hidden"][0], "scale", "{json}");
}

#[test]
fn wrong_alignments_are_refused() {
    let bench = bench();
    let says = |line: &str, text: &str| {
        let run = bench.run(&format!("{line} --out none")).exits(1);
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(text), "{}", run.stderr);
        assert!(!bench.path("none").exists(), "{line}");
    };
    says(&format!("{ALIGN} --parameters omega"), "omega");
    says(&format!("{ALIGN} --loss cauchy"), "cauchy");
    says(&format!("{ALIGN} --common dz"), "shift along z");
    says(&format!("{ALIGN} --common detector_u"), "detector_u");
    says(&format!("{ALIGN} --levels 1,2"), "levels");
    says(&format!("{ALIGN} --sigma -1"), "sigma");
    says("align --geometry start.toml --projections v.npy", "v.npy");
    says(&format!("{ALIGN} --volume m.npy"), "m.npy");
    says(&format!("{ALIGN} --derivatives"), "--volume");
    bench.put_array("zero.npy", &[VIEWS, N, N], vec![0.0; VIEWS * N * N]);
    says("align --geometry start.toml --projections zero.npy", "all 0");
    let plan = bench.run(&format!("{ALIGN} --out none --dry-run")).exits(0);
    assert!(plan.stdout.contains("unknowns") && !bench.path("none").exists());
}
