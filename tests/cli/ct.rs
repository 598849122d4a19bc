//! `project`, `backproject` and `info geometry`.

use crate::bench::{Bench, Ended};
use microtome::datasets::{Array, Values};
use std::path::{Path, PathBuf};

const GEOMETRY: &str = "kind = \"fan2d\"\ndetector = [9]\n\
    [volume]\nshape = [6, 7]\nvoxel_mm = [1.0, 0.8]\n\
    [trajectory]\nkind = \"circular\"\nviews = 5\npixel_mm = [1.9]\n\
    source_to_axis_mm = 20\naxis_to_detector_mm = 12\n";

fn put(bench: &Bench, name: &str, shape: &[usize], single: bool) {
    let n = shape.iter().product::<usize>();
    let value = |i: usize| ((i * 37 + 11) % 101) as f64 / 16.0 - 3.0;
    let values = if single {
        Values::F32((0..n).map(|i| value(i) as f32).collect())
    } else {
        Values::F64((0..n).map(value).collect())
    };
    Array { shape: shape.to_vec(), values }.write(&bench.path(name)).unwrap();
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", GEOMETRY);
    put(&bench, "v.npy", &[6, 7], false);
    put(&bench, "p.npy", &[5, 9], false);
    bench
}

fn read(bench: &Bench, name: &str) -> Array {
    Array::read(&bench.path(name)).unwrap()
}

fn dot(a: &Array, b: &Array) -> f64 {
    let (a, b) = (a.values.clone().into_f64(), b.values.clone().into_f64());
    a.iter().zip(&b).map(|(a, b)| a * b).sum()
}

#[test]
fn project_and_backproject_are_transposes() {
    let bench = bench();
    put(&bench, "w.npy", &[6, 7], true);
    for projector in ["joseph", "siddon"] {
        let flags = format!("--geometry g.toml --projector {projector} --overwrite");
        let forward = bench.run(&format!("project --volume v.npy --out y.npy {flags} --json"));
        let json = forward.exits(0).json();
        assert_eq!(json["projector"], projector);
        assert_eq!(json["shape"], serde_json::json!([5, 9]));
        assert_eq!(json["precision"], "float64");
        bench.run(&format!("backproject --projections p.npy --out x.npy {flags}")).exits(0);
        let (y, x) = (read(&bench, "y.npy"), read(&bench, "x.npy"));
        let (left, right) = (dot(&y, &read(&bench, "p.npy")), dot(&x, &read(&bench, "v.npy")));
        assert!((left - right).abs() < 1e-12 * left.abs(), "{left} {right}");
        // float32 in, float32 out; --precision overrides; threads change nothing.
        bench.run(&format!("project --volume w.npy --out z.npy {flags} --threads 1")).exits(0);
        let z = read(&bench, "z.npy");
        assert_eq!(z.values.type_name(), "float32");
        bench.run(&format!("project --volume w.npy --out t.npy {flags} --threads 3")).exits(0);
        assert_eq!(read(&bench, "t.npy"), z);
        bench.run(&format!("project --volume w.npy --out t.npy {flags} --precision f64")).exits(0);
        assert_eq!(read(&bench, "t.npy"), y);
    }
    // The same line again is well; another result needs --overwrite.
    let line = "project --volume v.npy --geometry g.toml --out a.npy";
    bench.run(line).exits(0);
    bench.run(line).exits(0);
    let other = bench.run(&format!("{line} --precision f32")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    assert_eq!(read(&bench, "a.npy").values.type_name(), "float64");
}

#[test]
fn wrong_arrays_and_files_are_exit_1_with_the_reason() {
    let bench = bench();
    let before = bench.names("");
    let fails = |line: &str, texts: &[&str]| {
        let ended: Ended = bench.run(line).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(texts.iter().all(|t| ended.stderr.contains(t)), "{}", ended.stderr);
    };
    let line = "project --geometry g.toml --out y.npy --volume";
    fails(&format!("{line} p.npy"), &["p.npy", "[5, 9]", "[6, 7]"]);
    fails(&format!("{line} none.npy"), &["none.npy"]);
    fails(&format!("{line} g.toml"), &["g.toml", ".npy"]);
    fails(&format!("{line} v.npy --projector x"), &["`x`", "joseph"]);
    fails(&format!("{line} v.npy --precision f16"), &["f16"]);
    fails("project --geometry g.toml --volume v.npy --out y.txt", &["y.txt", ".npy"]);
    fails("project --geometry g.toml --volume v.npy", &["--out"]);
    fails("project --geometry g.toml --volume v.npy --out no/y.npy", &["no/y.npy"]);
    fails("backproject --geometry g.toml --projections v.npy --out x.npy", &["v.npy", "[5, 9]"]);
    assert_eq!(bench.names(""), before);
    bench.put("bad.toml", GEOMETRY.replace("source_to_axis_mm = 20\n", ""));
    let line = "project --volume v.npy --out y.npy --geometry";
    fails(&format!("{line} bad.toml"), &["bad.toml", "source_to_axis_mm"]);
    bench.put("bad.toml", GEOMETRY.replace("fan2d", "pose9"));
    fails(&format!("{line} bad.toml"), &["bad.toml", "pose9"]);
    let values = Values::F64(vec![f64::NAN; 42]);
    Array { shape: vec![6, 7], values }.write(&bench.path("nan.npy")).unwrap();
    fails("project --geometry g.toml --out y.npy --volume nan.npy", &["nan.npy", "[0, 0]", "NaN"]);
    let whole = bench.read("v.npy");
    bench.put("cut.npy", &whole[..whole.len() - 8]);
    fails("project --geometry g.toml --out y.npy --volume cut.npy", &["cut.npy", "truncated"]);
    assert!(!bench.path("y.npy").exists());
    let plan = bench.run("project --geometry g.toml --volume v.npy --dry-run").exits(0);
    assert!(plan.stdout.contains("rays         45"), "{}", plan.stdout);
}

#[test]
fn info_geometry_says_what_is_there() {
    let bench = bench();
    let text = bench.run("info geometry g.toml").exits(0).stdout;
    for part in ["fan2d", "9 pixels", "32 mm from the detector", "6 x 7 voxels", "6 x 5.6"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = bench.run("info geometry g.toml --json").exits(0).json();
    assert_eq!(json["rays"], 45);
    for end in json["source_to_detector_mm"].as_array().unwrap() {
        assert!((end.as_f64().unwrap() - 32.0).abs() < 1e-12, "{end}");
    }
    bench.run("info geometry none.toml").exits(1);
}

/// The folder of the reference; tests say when they skip.
fn reference(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/ct").join(name);
    if !path.is_dir() {
        eprintln!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

/// The greatest difference over the greatest value.
fn gap(bench: &Bench, found: &str, expected: &Path) -> f64 {
    let found = read(bench, found);
    let expected = Array::read(expected).unwrap();
    assert_eq!(found.shape, expected.shape);
    let (f, e) = (found.values.into_f64(), expected.values.into_f64());
    let greatest = e.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    f.iter().zip(&e).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max) / greatest
}

#[test]
fn equals_the_discrete_reference() {
    for (name, kind, detector, shape) in [
        ("disc_par2d", "parallel2d", "[23]", "[16, 18]"),
        ("disc_fan2d", "fan2d", "[25]", "[16, 18]"),
        ("disc_cone3d", "cone3d", "[12, 14]", "[10, 11, 12]"),
    ] {
        let Some(folder) = reference(name) else { return };
        let bench = Bench::new();
        let ones = if kind == "cone3d" { "[1, 1, 1]" } else { "[1, 1]" };
        let views = folder.join("views.npy");
        bench.put(
            "g.toml",
            format!(
                "kind = \"{kind}\"\nviews = '{}'\ndetector = {detector}\n\
                 [volume]\nshape = {shape}\nvoxel_mm = {ones}\n",
                views.display()
            ),
        );
        for projector in ["siddon", "joseph"] {
            for (precision, tolerance) in [("f64", 1e-9), ("f32", 1e-5)] {
                let rest = format!(
                    "--geometry g.toml --projector {projector} --precision {precision} --overwrite"
                );
                let input = |name: &str| folder.join(name).display().to_string();
                bench
                    .run(&format!("project --volume '{}' --out y.npy {rest}", input("volume.npy")))
                    .exits(0);
                let adjoint = input("adjoint_input.npy");
                bench
                    .run(&format!("backproject --projections '{adjoint}' --out x.npy {rest}"))
                    .exits(0);
                let y = gap(&bench, "y.npy", &folder.join(format!("{projector}_forward.npy")));
                let x = gap(&bench, "x.npy", &folder.join(format!("{projector}_adjoint.npy")));
                assert!(x < tolerance && y < tolerance, "{name} {projector} {x:e} {y:e}");
            }
        }
    }
}

/// ASTRA steps along its rays in float32: at 128 pixels a position is wrong by some 1e-4 of
/// a pixel, and so is a value beside an edge, relative to the greatest. (The definition of
/// Joseph's rule in float64 NumPy is as far from ASTRA as this library: 1.4e-4 at most,
/// 1.26e-5 in the norm.)
#[test]
fn equals_astra() {
    let Some(folder) = reference("astra2d") else { return };
    for (views, kind, projector, name) in [
        ("views_par.npy", "parallel2d", "joseph", "par_linear"),
        ("views_par.npy", "parallel2d", "siddon", "par_line"),
        ("views_fan.npy", "fan2d", "siddon", "fan_line_fanflat"),
    ] {
        let bench = Bench::new();
        bench.put(
            "g.toml",
            format!(
                "kind = \"{kind}\"\nviews = '{}'\ndetector = [192]\nprojector = \"{projector}\"\n\
                 [volume]\nshape = [128, 128]\nvoxel_mm = [1, 1]\n",
                folder.join(views).display()
            ),
        );
        let image = folder.join("image.npy").display().to_string();
        let sino = folder.join(format!("{name}_sino.npy"));
        bench.run(&format!("project --geometry g.toml --volume '{image}' --out y.npy")).exits(0);
        let back = format!("backproject --geometry g.toml --projections '{}'", sino.display());
        bench.run(&format!("{back} --out x.npy")).exits(0);
        let spread = folder.join(format!("{name}_bp_of_sino.npy"));
        for (file, expected) in [("y.npy", &sino), ("x.npy", &spread)] {
            let greatest = gap(&bench, file, expected);
            let found = read(&bench, file).values.into_f64();
            let wanted = Array::read(expected).unwrap().values.into_f64();
            let norm = wanted.iter().map(|v| v * v).sum::<f64>().sqrt();
            let square = found.iter().zip(&wanted).map(|(f, w)| (f - w).powi(2)).sum::<f64>();
            let mean = square.sqrt() / norm;
            assert!(greatest < 5e-4 && mean < 5e-5, "{name} {file} {greatest:e} {mean:e}");
        }
    }
}
