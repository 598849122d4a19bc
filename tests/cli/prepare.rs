//! `prepare`: raw images to line integrals, weights and a set-up that reconstruct takes.

use crate::bench::{Bench, Ended};
use microtome::datasets::{Array, Values, tiff_stack, write_array};
use std::path::Path;
use std::process::Command;

const NU: usize = 48;
const VIEWS: usize = 60;
/// The axis in pixels.
const CENTRE: f64 = 22.3;

/// A disc off the axis, radius 9, of 0.05 per pixel.
fn line_integral(angle: f64, u: usize) -> f64 {
    let mean = |k: usize| {
        let s = u as f64 + (k as f64 - 3.5) / 8.0 - CENTRE - 6.0 * angle.cos() - 3.0 * angle.sin();
        (81.0 - s * s).max(0.0).sqrt() * 2.0 * 0.05
    };
    (0..8).map(mean).sum::<f64>() / 8.0
}

fn put(bench: &Bench, name: &str, shape: &[usize], values: Vec<f64>) {
    let array = Array { shape: shape.to_vec(), values: Values::F64(values) };
    write_array(&array, None, &bench.path(name), true).unwrap();
}

/// Counts, flats, darks of one row.
fn bench() -> Bench {
    let bench = Bench::new();
    let angle = |k: usize| std::f64::consts::PI * k as f64 / VIEWS as f64;
    let dark = |u: usize| 90.0 + (u % 5) as f64;
    let flat = |u: usize| 8000.0 + 40.0 * (u % 9) as f64;
    let counts = (0..VIEWS * NU).map(|at| {
        let (k, u) = (at / NU, at % NU);
        dark(u) + (flat(u) - dark(u)) * (-line_integral(angle(k), u)).exp()
    });
    put(&bench, "raw.npy", &[VIEWS, NU], counts.collect());
    put(&bench, "flat.npy", &[2, NU], (0..2 * NU).map(|at| flat(at % NU)).collect());
    put(&bench, "dark.npy", &[2, NU], (0..2 * NU).map(|at| dark(at % NU)).collect());
    put(&bench, "deg.npy", &[VIEWS], (0..VIEWS).map(|k| angle(k).to_degrees()).collect());
    bench
}

fn read(bench: &Bench, name: &str) -> Array {
    Array::read(&bench.path(name)).unwrap()
}

const LINE: &str = "prepare --projections raw.npy --flat flat.npy --dark dark.npy";

#[test]
fn raw_images_become_projections_and_a_set_up() {
    let bench = bench();
    let line = format!(
        "{LINE} --angles deg.npy --out p.npy --weights-out w.npy --geometry-out g.toml \
         --centre-curve c.csv --preview p.png --json"
    );
    let json = bench.run(&line).exits(0).json();
    assert_eq!(json["shape"], serde_json::json!([VIEWS, 1, NU]));
    assert_eq!(json["centre_method"], "vo");
    let centre = json["centre_px"].as_f64().unwrap();
    assert!((centre - CENTRE).abs() < 0.02, "{centre}");
    let p = read(&bench, "p.npy");
    assert_eq!((p.shape.clone(), p.values.type_name()), (vec![VIEWS, NU], "float64"));
    for (at, p) in p.values.into_f64().iter().enumerate() {
        let angle = std::f64::consts::PI * (at / NU) as f64 / VIEWS as f64;
        assert!((p - line_integral(angle, at % NU)).abs() < 1e-12);
    }
    assert!(read(&bench, "w.npy").values.into_f64().iter().all(|w| *w > 100.0 && *w < 9000.0));
    // The set-up is taken, and the disc stands where it is: x = 6, y = 3 from the axis.
    let line = "reconstruct --projections p.npy --geometry g.toml --method fbp --out v.npy";
    bench.run(line).exits(0);
    let v = read(&bench, "v.npy");
    assert_eq!(v.shape, [NU, NU]);
    let v = v.values.into_f64();
    let mut sums = [0.0; 3];
    for (at, value) in v.iter().enumerate() {
        if *value > 0.025 {
            let (y, x) = ((at / NU) as f64 - 23.5, (at % NU) as f64 - 23.5);
            [1.0, x, y].iter().zip(&mut sums).for_each(|(a, s)| *s += a);
        }
    }
    assert!((sums[1] / sums[0] - 6.0).abs() < 0.1, "{sums:?}");
    assert!((sums[2] / sums[0] - 3.0).abs() < 0.1, "{sums:?}");
    assert!((sums[0] / (std::f64::consts::PI * 81.0) - 1.0).abs() < 0.05, "{sums:?}");
    // The same line again is well; other content needs --overwrite.
    bench.run(&format!("{LINE} --out p.npy")).exits(0);
    let other = bench.run(&format!("{LINE} --out p.npy --ring sorting")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    bench.run(&format!("{LINE} --out p.npy --ring sorting,fw --overwrite")).exits(0);
    // Uneven angles are a list; a given axis is taken.
    let mut angles = read(&bench, "deg.npy").values.into_f64();
    angles[7] += 0.3;
    put(&bench, "uneven.npy", &[VIEWS], angles);
    let line =
        format!("{LINE} --angles uneven.npy --centre 22.3 --out q.npy --geometry-out u.toml");
    bench.run(&line).exits(0);
    let json = bench.run("info geometry u.toml --json").exits(0).json();
    assert_eq!(json["views"], VIEWS);
    let plan = bench.run(&format!("{LINE} --out z.npy --dry-run")).exits(0);
    assert!(plan.stdout.contains("60 of 1 x 48"), "{}", plan.stdout);
    assert!(!bench.path("z.npy").exists());
}

#[test]
fn tiff_raw_and_hdf5_give_the_same() {
    let bench = bench();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frames");
    for name in ["u16_big_endian.tif", "exchange.h5"] {
        std::fs::copy(golden.join(name), bench.path(name)).unwrap();
    }
    // The pages of the TIFF are the projections of the scan.
    let line = "prepare --dark d.npy --flat f.npy --projections";
    put(&bench, "d.npy", &[6, 7], vec![0.0; 42]);
    put(&bench, "f.npy", &[6, 7], vec![60000.0; 42]);
    bench.run(&format!("{line} u16_big_endian.tif --out a.tif")).exits(0);
    bench.run(&format!("{line} exchange.h5 --out b.tif")).exits(0);
    bench.run(&format!("{line} exchange.h5:/exchange/data --out c.tif")).exits(0);
    let a = tiff_stack::read(&bench.path("a.tif")).unwrap();
    assert_eq!(a.shape, [5, 6, 7]);
    assert_eq!(a, tiff_stack::read(&bench.path("b.tif")).unwrap());
    assert_eq!(a, tiff_stack::read(&bench.path("c.tif")).unwrap());
    let Values::F32(v) = a.values else { panic!("float32") };
    assert!((f64::from(v[1]) - (60000.0_f64 / 600.0).ln()).abs() < 1e-6);
    // Raw bytes.
    let numbers = (0..5 * 42).map(|at| {
        let (k, v, u) = (at / 42, at / 7 % 6, at % 7);
        (200 * ((31 * k + 7 * v + 3 * u) % 251)) as u16
    });
    let bytes: Vec<u8> = numbers.flat_map(u16::to_le_bytes).collect();
    bench.put("a.raw", &bytes);
    let flags = "--raw-shape 6,7 --raw-type uint16 --out d.tif --i0 60000";
    let json = bench.run(&format!("prepare --projections a.raw {flags} --json")).exits(0).json();
    assert_eq!(v, read_f32(&bench, "d.tif"));
    // The count 0 is starved, in one pixel.
    assert_eq!(json["starved"].as_u64().unwrap(), numbers_at_zero());
    // A single row is a sinogram.
    bench.run(&format!("{line} exchange.h5 --rows 2:3 --out row.npy")).exits(0);
    assert_eq!(read(&bench, "row.npy").shape, [5, 7]);
}

fn read_f32(bench: &Bench, name: &str) -> Vec<f32> {
    tiff_stack::read(&bench.path(name)).unwrap().values.into_f32()
}

fn numbers_at_zero() -> u64 {
    (0..5 * 42).filter(|at| (31 * (at / 42) + 7 * (at / 7 % 6) + 3 * (at % 7)) % 251 == 0).count()
        as u64
}

#[test]
fn wrong_input_is_exit_1_with_the_reason_and_leaves_nothing() {
    let bench = bench();
    let raw = read(&bench, "raw.npy").values.into_f64();
    let mut bad = raw.clone();
    bad[NU + 5] = f64::NAN;
    put(&bench, "nan.npy", &[VIEWS, NU], bad);
    put(&bench, "short.npy", &[VIEWS - 1], vec![0.0; VIEWS - 1]);
    put(&bench, "rad.npy", &[VIEWS], (0..VIEWS).map(|k| 0.05 * k as f64).collect());
    put(&bench, "wide.npy", &[2, NU + 1], vec![9.0; 2 * NU + 2]);
    bench.put("cut.tif", &std::fs::read(golden("f32_deflate.tif")).unwrap()[..900]);
    bench.put("cut.h5", &std::fs::read(golden("exchange.h5")).unwrap()[..5000]);
    bench.put("wedge.csv", "measured,truth\n1,1\n");
    let before = bench.names("");
    let fails = |line: &str, texts: &[&str]| {
        let ended: Ended = bench.run(line).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(texts.iter().all(|t| ended.stderr.contains(t)), "{line}: {}", ended.stderr);
        assert_eq!(bench.names(""), before, "{line}");
    };
    let with = |flags: &str| format!("{LINE} --out p.npy {flags}");
    fails("prepare --projections none.npy --out p.npy", &["--projections", "none.npy"]);
    fails("prepare --projections raw.npy --out p.npy", &["flats"]);
    fails("prepare --projections cut.tif --i0 9 --out p.npy", &["cut.tif"]);
    fails("prepare --projections cut.h5 --out p.npy", &["cut.h5"]);
    fails(
        "prepare --projections nan.npy --i0 9 --out p.npy",
        &["nan.npy", "NaN", "image 1", "column 5"],
    );
    fails("prepare --projections raw.npy --flat wide.npy --out p.npy", &["wide.npy", "49", "48"]);
    fails(&format!("{LINE} --out p.txt"), &["p.txt", ".npy"]);
    fails(LINE, &["--out"]);
    fails(&with("--geometry-out g.toml"), &["--angles"]);
    fails(&with("--centre auto"), &["--angles"]);
    fails(&with("--angles short.npy"), &["short.npy", "59", "60"]);
    fails(&with("--angles rad.npy"), &["rad.npy", "--angle-unit rad"]);
    fails(&with("--angle-range 0,180 --centre sideways"), &["sideways"]);
    fails(&with("--angle-range 0,180 --centre-range 30,31"), &["--centre"]);
    fails(&with("--beam-hardening 1,x"), &["1,x"]);
    fails(&with("--beam-hardening 1,-0.9"), &["falls"]);
    fails(&with("--beam-hardening wedge.csv"), &["wedge.csv", "true"]);
    fails(&with("--ring shave"), &["shave", "sorting"]);
    fails(&with("--columns 40:50"), &["40:50", "48"]);
    fails(&with("--bin 99"), &["--bin 99"]);
    fails(&with("--gain zero"), &["zero"]);
    fails(&with("--hu-water -1"), &["--hu-water"]);
    fails(&with("--weights-out p.npy"), &["p.npy", "--out"]);
    fails(&with("--preview p.jpg"), &["p.jpg", ".png"]);
    fails(
        "prepare --projections raw.npy --input projections --out p.npy --weights-out w.npy",
        &["weights"],
    );
    // Exchanged flats and darks.
    fails(
        "prepare --projections raw.npy --flat dark.npy --dark flat.npy --out p.npy",
        &["exchanged"],
    );
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frames").join(name)
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    // A limit on the size of files stands for the disk: writes beyond it fail.
    let bench = bench();
    let before = bench.names("");
    let binary = env!("CARGO_BIN_EXE_microtome");
    for out in ["p.npy", "p.tif", "p.nii", "p/"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 4; exec {binary} {LINE} --out {out} --weights-out w.npy"
        );
        let output = Command::new("sh").args(["-c", &script]).current_dir(bench.path("")).output();
        let ended = Ended::of(output.unwrap()).exits(1);
        assert!(ended.stderr.contains("cannot write"), "{}", ended.stderr);
        assert_eq!(bench.names(""), before, "{out}");
    }
}

#[test]
fn the_tooth_is_reconstructed() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/ct/tooth.h5");
    if !shared.exists() {
        eprintln!("skipped: ../shared/data/ct/tooth.h5 is not there");
        return;
    }
    let bench = Bench::new();
    std::fs::copy(&shared, bench.path("tooth.h5")).unwrap();
    let line = "prepare --projections tooth.h5 --rows 0:1 --ring sorting --out p.npy \
                --weights-out w.npy --geometry-out g.toml --json";
    let json = bench.run(line).exits(0).json();
    let centre = json["centre_px"].as_f64().unwrap();
    // Mirrored views a degree short of half a turn put it at 295.5.
    assert!((centre - 295.5).abs() < 1.0, "{centre}");
    // Without rings removed: the line integrals of the reference.
    bench.run("prepare --projections tooth.h5 --out all.npy").exits(0);
    let ours = read(&bench, "all.npy");
    let theirs = Array::read(&shared.with_file_name("tooth_sino.npy")).unwrap();
    let [n, nv, nu] = ours.shape[..] else { panic!("{:?}", ours.shape) };
    assert_eq!(theirs.shape, [nv, n, nu]);
    let (ours, theirs) = (ours.values.into_f64(), theirs.values.into_f64());
    for k in 0..n {
        for v in 0..nv {
            for u in 0..nu {
                let (a, b) = (ours[(k * nv + v) * nu + u], theirs[(v * n + k) * nu + u]);
                assert!((a - b).abs() < 2e-5, "{k} {v} {u}: {a} {b}");
            }
        }
    }
}
