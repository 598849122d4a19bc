//! Set-up files with curved detectors, changes and imported views; drawings and exports;
//! arrays in pieces.

use crate::bench::Bench;
use microtome::datasets::{Array, Values};

const VOLUME: &str = "[volume]\nshape = [5, 6, 7]\nvoxel_mm = [1.0, 0.8, 1.1]\n";
const CIRCLE: &str = "[trajectory]\nkind = \"circular\"\nviews = 5\npixel_mm = [1.2, 1.9]\n\
    source_to_axis_mm = 20\naxis_to_detector_mm = 12\n";

fn put(bench: &Bench, name: &str, shape: &[usize]) {
    let n = shape.iter().product::<usize>();
    let values = (0..n).map(|i| ((i * 37 + 11) % 101) as f64 / 16.0 - 3.0).collect();
    Array { shape: shape.to_vec(), values: Values::F64(values) }.write(&bench.path(name)).unwrap();
}

fn numbers(bench: &Bench, name: &str) -> Vec<f64> {
    Array::read(&bench.path(name)).unwrap().values.into_f64()
}

fn near(a: &[f64], b: &[f64], tolerance: f64) {
    let most = b.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let gap = a.iter().zip(b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(a.len() == b.len() && most > 0.0 && gap <= tolerance * most, "{gap} of {most}");
}

/// The same views by every way out and in again, and the same projections of them.
#[test]
fn views_go_out_and_come_in() {
    let bench = Bench::new();
    let head = "kind = \"cone3d\"\ndetector = [4, 9]\n";
    bench.put("g.toml", format!("{head}{VOLUME}{CIRCLE}"));
    put(&bench, "v.npy", &[5, 6, 7]);
    bench.run("project --volume v.npy --geometry g.toml --out y.npy").exits(0);
    for (format, file, keys) in [
        ("astra", "a.npy", ""),
        ("diffct", "d.npy", "pixel_mm = [1.2, 1.9]\n"),
        ("diffct --half-pixel", "h.npy", "pixel_mm = [1.2, 1.9]\nhalf_pixel = true\n"),
        ("rtk", "r.xml", "pixel_mm = [1.2, 1.9]\n"),
        ("tigre", "t.json", ""),
    ] {
        let line = format!("info geometry g.toml --export-views {file} --format {format}");
        let json = bench.run(&format!("{line} --json")).exits(0).json();
        assert_eq!(json["views_file"], file);
        bench.run(&line).exits(0);
        let name = format.split(' ').next().unwrap();
        let import = format!("[import]\nfile = \"{file}\"\nformat = \"{name}\"\n{keys}");
        bench.put("i.toml", format!("{head}{VOLUME}{import}"));
        bench.run("project --volume v.npy --geometry i.toml --out z.npy --overwrite").exits(0);
        near(&numbers(&bench, "z.npy"), &numbers(&bench, "y.npy"), 1e-11);
    }
    let fails = |line: &str, word: &str| {
        let ended = bench.run(line).exits(1);
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(word),
            "{}",
            ended.stderr
        );
    };
    let line = "info geometry g.toml --export-views";
    fails(&format!("{line} a.xml --format astra"), ".npy");
    fails(&format!("{line} b.npy --format astra --half-pixel"), "--half-pixel");
    fails(&format!("{line} d.npy --format astra"), "--overwrite");
    bench.put("c.toml", format!("{head}detector_shape = \"curved\"\n{VOLUME}{CIRCLE}"));
    for (format, file) in [("astra", "n.npy"), ("tigre", "n.json"), ("diffct", "n.npy")] {
        let line = format!("info geometry c.toml --export-views {file} --format {format}");
        fails(&line, "detector_shape");
        assert!(!bench.path(file).exists());
    }
    // RTK has cylinders.
    bench.run("info geometry c.toml --export-views c.xml --format rtk").exits(0);
    bench.run("project --volume v.npy --geometry c.toml --out y.npy --overwrite").exits(0);
    let import = "[import]\nfile = \"c.xml\"\nformat = \"rtk\"\npixel_mm = [1.2, 1.9]\n";
    bench.put("i.toml", format!("{head}{VOLUME}{import}"));
    bench.run("project --volume v.npy --geometry i.toml --out z.npy --overwrite").exits(0);
    near(&numbers(&bench, "z.npy"), &numbers(&bench, "y.npy"), 1e-11);
    bench.put("i.toml", format!("{head}{VOLUME}{}", import.replace("pixel_mm", "pixels")));
    fails("project --volume v.npy --geometry i.toml --out n.npy", "pixels");
    bench.put("t.json", "{\"angles\": [0.0], \"DSO\": 1.0}");
    let import = "[import]\nfile = \"t.json\"\nformat = \"tigre\"\n";
    bench.put("i.toml", format!("{head}{VOLUME}{import}"));
    fails("project --volume v.npy --geometry i.toml --out n.npy", "t.json");
}

#[test]
fn drawings_and_changed_set_ups() {
    let bench = Bench::new();
    let keys = "detector_shape = \"curved\"\ndetector_offset_mm = [0, 0.4]\nbin = [2, 3]\n\
        crop = { views = [0, 4, 2] }\n";
    bench.put("g.toml", format!("kind = \"cone3d\"\ndetector = [4, 9]\n{keys}{VOLUME}{CIRCLE}"));
    let text = bench.run("info geometry g.toml --svg g.svg").exits(0).stdout;
    for part in ["cylinder about the source", "5 x 4 x 9, before crop", "2 x 3 pixels", "g.svg"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let svg = String::from_utf8(bench.read("g.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("2 views, 2 x 3 pixels: g.toml"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    // The whole projections and those that were reduced before give the same.
    put(&bench, "p.npy", &[5, 4, 9]);
    bench.run("backproject --projections p.npy --geometry g.toml --out a.npy").exits(0);
    put(&bench, "q.npy", &[5, 4, 8]);
    let ended = bench.run("backproject --projections q.npy --geometry g.toml --out b.npy").exits(1);
    assert!(ended.stderr.contains("[2, 2, 3]") && ended.stderr.contains("[5, 4, 9]"));
}

/// 18 MB of volume or projections with room for 17 MiB: pieces, and the same numbers.
#[test]
fn memory_bounds() {
    let bench = Bench::new();
    let set_up = |name: &str, n: usize, views: usize, nu: usize| {
        bench.put(name, format!(
            "kind = \"parallel2d\"\ndetector = [{nu}]\n[volume]\nshape = [{n}, {n}]\nvoxel_mm = [0.3, 0.3]\n\
             [trajectory]\nkind = \"circular\"\nviews = {views}\npixel_mm = [0.31]\n"
        ));
    };
    let bound = |voxels, rays| reserved(voxels, rays) + (17 << 20);
    let pieces = |line: &str, file: &str, bound: usize, exact: bool| {
        let json =
            bench.run(&format!("{line} --out s.npy --overwrite --max-memory {bound} --json"));
        let json = json.exits(0).json();
        bench.run(&format!("{line} --out {file} --overwrite --max-memory 4GB")).exits(0);
        let (found, expected) = (numbers(&bench, "s.npy"), numbers(&bench, file));
        if exact {
            assert!(found == expected);
        }
        near(&found, &expected, 1e-13);
        json
    };
    set_up("wide.toml", 40, 1500, 1500);
    put(&bench, "v.npy", &[40, 40]);
    let wide = bound(40 * 40, 1500 * 1500);
    let json = pieces("project --volume v.npy --geometry wide.toml", "y.npy", wide, true);
    assert!(json["views_at_once"].as_u64().unwrap() < 1500, "{json}");
    let line = "backproject --projections y.npy --geometry wide.toml";
    let json = pieces(line, "b.npy", wide, false);
    assert!(json["views_at_once"].as_u64().unwrap() < 1500, "{json}");
    set_up("large.toml", 1500, 20, 90);
    put(&bench, "v.npy", &[1500, 1500]);
    let large = bound(1500 * 1500, 20 * 90);
    let json = pieces("project --volume v.npy --geometry large.toml", "y.npy", large, false);
    assert!(json["slices_at_once"].as_u64().unwrap() < 1500, "{json}");
    pieces("backproject --projections y.npy --geometry large.toml", "b.npy", large, false);
    let fails = |flags: &str, word: &str| {
        let line = "project --volume v.npy --geometry large.toml --out n.npy";
        let ended = bench.run(&format!("{line} {flags}")).exits(1);
        assert!(ended.stderr.contains(word), "{}", ended.stderr);
        assert!(!bench.path("n.npy").exists());
    };
    fails("--max-memory 1MB", "at least");
    fails("--max-memory lots", "lots");
    fails(&format!("--max-memory {large} --projector siddon"), "joseph");
    let plan = bench.run(&format!(
        "project --volume v.npy --geometry large.toml --max-memory {large} --dry-run"
    ));
    assert!(plan.exits(0).stdout.contains("slices at once"));
    // Small arrays need small buffers: 90 MiB are more than enough for these.
    set_up("small.toml", 500, 20, 90);
    put(&bench, "v.npy", &[500, 500]);
    for (line, out) in [
        ("project --volume v.npy --geometry small.toml", "z.npy"),
        ("backproject --projections z.npy --geometry small.toml", "w.npy"),
    ] {
        bench.run(&format!("{line} --out {out} --max-memory 90MiB")).exits(0);
    }
}

/// What the program keeps for itself, `reserved` of `src/cli/streaming.rs`.
fn reserved(voxels: usize, rays: usize) -> usize {
    (24 << 20) + (16 * (voxels + rays) + 96 * rays.min(1 << 18)).min(80 << 20)
}
