//! `reconstruct --method fbp` and `fdk`.

use crate::bench::Bench;
use microtome::datasets::{Array, Values};

fn set_up(kind: &str, more: &str) -> String {
    let space = kind == "cone3d";
    let (detector, shape, size, pixel) = if space {
        ("[13, 24]", "[6, 16, 16]", "[1.0, 1.0, 1.0]", "[1.5, 1.5]")
    } else {
        ("[24]", "[16, 16]", "[1.0, 1.0]", "[1.5]")
    };
    let far = if kind.starts_with("parallel") {
        ""
    } else {
        "source_to_axis_mm = 60\naxis_to_detector_mm = 30\n"
    };
    format!(
        "kind = \"{kind}\"\ndetector = {detector}\n[volume]\nshape = {shape}\nvoxel_mm = {size}\n\
         [trajectory]\nkind = \"circular\"\nviews = 40\npixel_mm = {pixel}\n{far}{more}"
    )
}

/// Projections of a cylinder of 0.02/mm.
fn bench(kind: &str, more: &str) -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", set_up(kind, more));
    let shape = if kind == "cone3d" { vec![6, 16, 16] } else { vec![16, 16] };
    let n: usize = shape.iter().product();
    let value = |j: usize| {
        let (x, y) = ((j % 16) as f64 - 7.5, (j / 16 % 16) as f64 - 7.5);
        if x.hypot(y) < 6.0 { 0.02 } else { 0.0 }
    };
    let values = Values::F64((0..n).map(value).collect());
    Array { shape, values }.write(&bench.path("v.npy")).unwrap();
    bench.run("project --volume v.npy --geometry g.toml --out p.npy").exits(0);
    bench
}

fn middle(bench: &Bench) -> f64 {
    let x = Array::read(&bench.path("x.npy")).unwrap();
    let at = if x.shape.len() == 3 { 2 * 256 + 8 * 16 + 8 } else { 8 * 16 + 8 };
    x.values.into_f64()[at]
}

#[test]
fn fbp_and_fdk_reconstruct() {
    for (kind, method, more, note) in [
        ("parallel2d", "fbp", "", "half turn"),
        ("fan2d", "fbp", "", "full turn"),
        ("fan2d", "fbp", "range_deg = 230\n", "Parker"),
        ("cone3d", "fdk", "", "full turn"),
    ] {
        let bench = bench(kind, more);
        let line = format!("reconstruct --projections p.npy --geometry g.toml --method {method}");
        let json = bench.run(&format!("{line} --out x.npy --json")).exits(0).json();
        assert_eq!((&json["method"], &json["filter"]), (&method.into(), &"ram_lak".into()));
        assert!(json["notes"][0].as_str().unwrap().contains(note), "{}", json["notes"]);
        let sharp = middle(&bench);
        assert!((sharp / 0.02 - 1.0).abs() < 0.06, "{kind}: {sharp}");
        let hann = bench.run(&format!("{line} --filter hann --out x.npy --overwrite"));
        assert!(hann.exits(0).stderr.contains(note));
        assert!((middle(&bench) / 0.02 - 1.0).abs() < 0.06);
        assert!(middle(&bench) != sharp);
        let dry = bench.run(&format!("{line} --dry-run"));
        assert!(dry.exits(0).stdout.contains(note));
    }
}

#[test]
fn a_table_is_a_filter() {
    let bench = bench("parallel2d", "");
    let line = "reconstruct --projections p.npy --geometry g.toml --method fbp --overwrite";
    bench.run(&format!("{line} --out x.npy")).exits(0);
    let ramp = middle(&bench);
    let table = Array { shape: vec![2], values: Values::F64(vec![1.0, 1.0]) };
    table.write(&bench.path("f.npy")).unwrap();
    bench.run(&format!("{line} --filter f.npy --out x.npy")).exits(0);
    assert_eq!(middle(&bench), ramp);
}

#[test]
fn wrong_lines_say_what_to_do() {
    let bench = bench("cone3d", "");
    let says = |flags: &str, text: &str| {
        let line = format!("reconstruct --projections p.npy --geometry g.toml --out x.npy {flags}");
        let ended = bench.run(&line);
        let said = ended.exits(1).stderr;
        assert!(said.contains(text), "{said}");
        assert!(!bench.path("x.npy").exists());
    };
    says("--method fbp", "--method fdk");
    says("--method fdk --filter ramp", "shepp_logan");
    says("--method fdk --iterations 3", "--iterations");
    says("--method fdk --projector siddon", "--projector");
    says("--method fdk --scan short", "full turn");
    says("--method sirt --filter hann", "--filter");
    let mut p = Array::read(&bench.path("p.npy")).unwrap();
    if let Values::F64(v) = &mut p.values {
        v[13 * 24 + 5] = f64::NAN;
    }
    p.write(&bench.path("p.npy")).unwrap();
    says("--method fdk", "[1, 0, 5]");
}
