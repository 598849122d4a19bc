//! `simulate`.

use crate::bench::{Bench, Ended};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use microtome::datasets::{Array, Values, read_table};

const CYLINDER: &str = "[substrate]\nkind = \"cylinder\"\nradius_um = 5\naxis = [1, 0, 0]\n\
    [intra]\ndiffusivity_um2_per_ms = 2\n";
const SCHEME: &str = "G_T_per_m,delta_s,Delta_s,gx,gy,gz\n0,0.01,0.03,0,0,0\n\
    0.04,0.01,0.03,1,0,0\n0.1,0.01,0.03,0,0.6,0.8\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("s.toml", CYLINDER);
    bench.put("s.csv", SCHEME);
    bench
}

/// measurement, compartment, the four numbers, walkers.
fn rows(bench: &Bench, name: &str) -> Vec<(i64, String, [f64; 4], i64)> {
    let batch = read_table(&bench.path(name)).unwrap().remove(0);
    let int = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let float =
        |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let names = ["signal_real", "signal_imag", "se_real", "se_imag"].map(float);
    let word = batch.column_by_name("compartment").unwrap().as_string::<i32>().clone();
    (0..batch.num_rows())
        .map(|i| {
            let numbers = [0, 1, 2, 3].map(|k: usize| names[k].value(i));
            (int("measurement").value(i), word.value(i).into(), numbers, int("walkers").value(i))
        })
        .collect()
}

#[test]
fn signals_of_a_cylinder_and_equality_to_the_bit() {
    let bench = bench();
    let line = "simulate --substrate s.toml --scheme s.csv --walkers 5000 --seed 3";
    let json = bench.run(&format!("{line} --out a.parquet --threads 1 --json")).exits(0).json();
    assert_eq!(json["escaped"], 0);
    let steps = json["steps"].as_u64().unwrap();
    assert_eq!(json["walker_steps"].as_u64().unwrap(), 5000 * steps);
    let found = rows(&bench, "a.parquet");
    assert_eq!(found.len(), 6);
    assert_eq!(found.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
    assert_eq!((found[0].1.as_str(), found[1].1.as_str()), ("intra", "all"));
    assert!(found.iter().all(|r| r.3 == 5000));
    assert_eq!(found[0].2, [1.0, 0.0, 0.0, 0.0]);
    // Free along the axis.
    let b = (0.267_522_187_44_f64 * 0.04 * 10.0).powi(2) * (30.0 - 10.0 / 3.0);
    let [real, imaginary, se_real, se_imaginary] = found[3].2;
    assert!((real - (-2.0 * b).exp()).abs() < 3.5 * se_real, "{real} {se_real}");
    assert!(imaginary.abs() < 3.5 * se_imaginary && se_imaginary < 0.02);
    // Any number of threads; the same line again.
    bench.run(&format!("{line} --out b.parquet --threads 2")).exits(0);
    assert_eq!(rows(&bench, "b.parquet"), found);
    let again = bench.run(&format!("{line} --out b.parquet")).exits(0);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let other = bench.run(&line.replace("--seed 3", "--seed 4 --out b.parquet")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    assert_eq!(rows(&bench, "b.parquet"), found);
}

#[test]
fn waveforms_warn_where_they_do_not_refocus() {
    let bench = bench();
    let gradient: Vec<f64> = (0..60).map(|i| if i < 30 { 0.02 } else { -0.02 }).collect();
    let put = |name: &str, values: Vec<f64>| {
        Array { shape: vec![1, 20, 3], values: Values::F64(values) }.write(&bench.path(name))
    };
    put("w.npy", gradient.clone()).unwrap();
    put("odd.npy", gradient.iter().map(|g| g.abs()).collect()).unwrap();
    put("nan.npy", gradient.iter().map(|g| g / 0.0 * 0.0).collect()).unwrap();
    let line = "simulate --substrate s.toml --walkers 600 --dt-ms 0.5 --overwrite --out a.parquet";
    let fine = bench.run(&format!("{line} --waveform w.npy")).exits(0);
    assert!(!fine.stderr.contains("warning"), "{}", fine.stderr);
    let odd = bench.run(&format!("{line} --waveform odd.npy")).exits(0);
    assert!(odd.stderr.contains("does not refocus"), "{}", odd.stderr);
    let before = bench.read("a.parquet");
    let nan = bench.run(&format!("{line} --waveform nan.npy")).exits(1);
    assert!(nan.stderr.contains("nan.npy") && nan.stderr.contains("NaN"), "{}", nan.stderr);
    assert_eq!(bench.read("a.parquet"), before);
}

#[test]
fn wrong_input_is_exit_1_with_the_reason() {
    let bench = bench();
    let before = bench.names("");
    let fails = |line: &str, texts: &[&str]| {
        let ended: Ended = bench.run(&format!("simulate {line}")).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(texts.iter().all(|t| ended.stderr.contains(t)), "{}", ended.stderr);
    };
    let all = "--substrate s.toml --scheme s.csv --walkers 100";
    fails(&format!("{all} --out a.txt"), &["a.txt", ".parquet"]);
    fails(all, &["--out"]);
    fails(&format!("{all} --out no/a.parquet"), &["no/a.parquet"]);
    fails(&format!("{all} --out a.parquet --step-ms 0"), &["0 ms"]);
    fails(&format!("{all} --out a.parquet --step-ms 1e-9"), &["too many"]);
    fails("--substrate s.toml --scheme s.csv --walkers 0 --out a.parquet", &["0 walkers"]);
    fails("--substrate none.toml --scheme s.csv --walkers 9 --out a.parquet", &["none.toml"]);
    fails("--substrate s.toml --walkers 9 --out a.parquet", &["acquisition"]);
    assert_eq!(bench.names(""), before);
    for (from, to, text) in [
        ("per_ms = 2", "per_ms = 0", "intra.diffusivity_um2_per_ms"),
        ("radius_um = 5", "radius_um = 0", "substrate.radius_um"),
        ("\"cylinder\"", "\"tube\"", "`tube`"),
    ] {
        bench.put("bad.toml", CYLINDER.replace(from, to));
        let line = "--substrate bad.toml --scheme s.csv --walkers 9 --out a.parquet";
        fails(line, &["bad.toml", text]);
    }
    bench.put("b.csv", "b_s_per_m2,gx,gy,gz\n1e9,1,0,0\n");
    fails("--substrate s.toml --scheme b.csv --walkers 9 --out a.parquet", &["b.csv", "delta"]);
}

const PACKING: &str = "[substrate]\nkind = \"cylinders\"\ncount = 30\nvolume_fraction = 0.6\n\
    gamma_shape = 4.0\ngamma_scale_um = 0.5\nmin_radius_um = 0.5\n[intra]\n\
    diffusivity_um2_per_ms = 2\n[extra]\ndiffusivity_um2_per_ms = 2\n[start]\nwhere = \"all\"\n";

/// Compartments of a packing have rows of their own; a target stops the walk; the kept
/// walkers have the phases of their paths.
#[test]
fn packings_targets_and_single_walkers() {
    let bench = bench();
    bench.put("p.toml", PACKING);
    let line = "simulate --substrate p.toml --scheme s.csv --walkers 100000 --step-ms 0.5";
    let json = bench
        .run(&format!(
            "{line} --target-se 0.01 --out a.parquet --trajectories t.parquet --phases p.parquet \
             --keep-walkers 7 --json"
        ))
        .exits(0)
        .json();
    assert_eq!((json["escaped"].as_u64(), json["walkers"].as_u64()), (Some(0), Some(32_768)));
    assert!(json["largest_se"].as_f64().unwrap() <= 0.01);
    let found = rows(&bench, "a.parquet");
    let names: Vec<&str> = found[..3].iter().map(|r| r.1.as_str()).collect();
    assert_eq!(names, ["intra", "extra", "all"]);
    assert_eq!(found[0].3 + found[1].3, found[2].3);
    let steps = json["steps"].as_u64().unwrap() as usize;
    let read = |name: &str| read_table(&bench.path(name)).unwrap().remove(0);
    let (paths, phases) = (read("t.parquet"), read("p.parquet"));
    assert_eq!((paths.num_rows(), phases.num_rows()), (7 * (steps + 1), 21));
    let column = |name: &str| phases.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    assert!(column("phase_rad").values().iter().step_by(3).all(|p| *p == 0.0));
    assert!(column("phase_rad").values().iter().skip(1).step_by(3).any(|p| p.abs() > 0.1));
    let again = bench.run(&format!("{line} --out b.parquet --phases p.parquet")).exits(1);
    assert!(again.stderr.contains("p.parquet") && again.stderr.contains("--overwrite"));
}

/// Exact signals and walks of the same line agree.
#[test]
fn exact_signals_without_walkers() {
    let bench = bench();
    let line = "simulate --substrate s.toml --scheme s.csv";
    let json = bench.run(&format!("{line} --exact --out e.parquet --json")).exits(0).json();
    assert_eq!((json["walkers"].as_u64(), json["exact"].as_bool()), (Some(0), Some(true)));
    bench.run(&format!("{line} --walkers 20000 --out w.parquet")).exits(0);
    let (exact, walked) = (rows(&bench, "e.parquet"), rows(&bench, "w.parquet"));
    for (e, w) in exact.iter().zip(&walked) {
        assert_eq!((e.0, &e.1, e.2[2], e.3), (w.0, &w.1, 0.0, 0));
        assert!((e.2[0] - w.2[0]).abs() <= 3.5 * w.2[2], "{e:?} {w:?}");
    }
    let both = bench.run(&format!("{line} --exact --walkers 9 --out x.parquet")).exits(1);
    assert!(both.stderr.contains("--walkers"), "{}", both.stderr);
    bench.put("p.toml", PACKING);
    let packed = "simulate --substrate p.toml --scheme s.csv --exact --out x.parquet";
    let refused = bench.run(packed).exits(1);
    assert!(refused.stderr.contains("walk the others"), "{}", refused.stderr);
}

/// Meshes, lists of objects and starting points are files beside the substrate.
#[test]
fn files_of_a_substrate() {
    let bench = bench();
    let corners =
        "v -4 -4 -4\nv 4 -4 -4\nv -4 4 -4\nv 4 4 -4\nv -4 -4 4\nv 4 -4 4\nv -4 4 4\nv 4 4 4\n";
    let sides = "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n";
    bench.put("box.obj", format!("{corners}{sides}"));
    bench.put("open.obj", format!("{corners}{}", sides.replace("f 2 6 8 4\n", "")));
    bench.put("crossed.obj", format!("{corners}{sides}").replace("v -4 -4 -4", "v 9 5 3"));
    let mesh = "[substrate]\nkind = \"mesh\"\nfile = \"box.obj\"\n[intra]\n\
        diffusivity_um2_per_ms = 2\n";
    bench.put("m.toml", mesh);
    let line = "--scheme s.csv --walkers 600 --out a.parquet --overwrite --json";
    let json = bench.run(&format!("simulate --substrate m.toml {line}")).exits(0).json();
    assert_eq!((json["escaped"].as_u64(), json["stopped"].as_u64()), (Some(0), Some(0)));
    let put = |name: &str, values: Vec<f64>| {
        Array { shape: vec![values.len() / 3, 3], values: Values::F64(values) }
            .write(&bench.path(name))
            .unwrap();
    };
    put("in.npy", vec![0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
    put("wall.npy", vec![0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    let given = format!("{mesh}[start]\nwhere = \"given\"\npositions = \"in.npy\"\n");
    bench.put("g.toml", given.as_str());
    bench.run(&format!("simulate --substrate g.toml {line}")).exits(0);
    bench.put("list.csv", "x_um,y_um,radius_um\n0,0,2\n3,0,1.5\n");
    let packed = "[substrate]\nkind = \"cylinders\"\nobjects = \"list.csv\"\ncell_um = 10\n\
        [intra]\ndiffusivity_um2_per_ms = 2\n";
    for (text, words) in [
        (mesh.replace("box", "open"), ["bad.toml", "not closed"]),
        (mesh.replace("box", "crossed"), ["bad.toml", "intersects itself"]),
        (mesh.replace("box", "none"), ["none.obj", "read"]),
        (given.replace("in.npy", "wall.npy"), ["walker 1", "wall"]),
        (packed.into(), ["objects 0 and 1", "overlap"]),
        (PACKING.replace("0.6", "0.95"), ["substrate.volume_fraction", "0.95"]),
        (
            PACKING.replace("diffusivity_um2_per_ms = 2", "diffusivity_um2_per_ms = 0"),
            ["intra", "0;"],
        ),
    ] {
        bench.put("bad.toml", text.as_str());
        let ended = bench.run(&format!("simulate --substrate bad.toml {line}")).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(words.iter().all(|w| ended.stderr.contains(w)), "{words:?}: {}", ended.stderr);
    }
}

/// Columns of derivatives stand after the others, which stay to the bit; the derivative by the
/// amplitude of free water is known.
#[test]
fn derivatives_have_columns_of_their_own() {
    let bench = bench();
    bench.put("f.toml", "[substrate]\nkind = \"free\"\n[intra]\ndiffusivity_um2_per_ms = 2\n");
    let line = "simulate --scheme s.csv --walkers 5000";
    bench.run(&format!("{line} --substrate s.toml --out a.parquet")).exits(0);
    let slopes = "--derivatives amplitude,radius";
    bench.run(&format!("{line} --substrate s.toml {slopes} --out b.parquet")).exits(0);
    assert_eq!(rows(&bench, "a.parquet"), rows(&bench, "b.parquet"));
    let batch = read_table(&bench.path("b.parquet")).unwrap().remove(0);
    let schema = batch.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let wanted = [
        "walkers",
        "signal_real.d_radius",
        "signal_imag.d_radius",
        "se_real.d_radius",
        "se_imag.d_radius",
        "signal_real.d_amplitude",
        "signal_imag.d_amplitude",
        "se_real.d_amplitude",
        "se_imag.d_amplitude",
    ];
    assert_eq!(names[6..], wanted);
    let refused =
        bench.run(&format!("{line} --substrate f.toml {slopes} --out c.parquet")).exits(1);
    assert!(refused.stderr.contains("f.toml") && refused.stderr.contains("radius"));
    let slopes = "--derivatives diffusivity,amplitude";
    bench.run(&format!("{line} --substrate f.toml {slopes} --out c.parquet")).exits(0);
    let batch = read_table(&bench.path("c.parquet")).unwrap().remove(0);
    let at = |name: &str, row: usize| {
        batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(row)
    };
    let b = (0.267_522_187_44_f64 * 0.04 * 10.0).powi(2) * (30.0 - 10.0 / 3.0);
    let signal = (-2.0 * b).exp();
    for (x, slope) in [("diffusivity", -b * signal), ("amplitude", -4.0 * b * signal)] {
        let off = at(&format!("signal_real.d_{x}"), 3) - slope;
        assert!(off.abs() < 3.5 * at(&format!("se_real.d_{x}"), 3), "{x}: {off}");
    }
    bench.put("r.toml", format!("{CYLINDER}surface_relaxivity_um_per_ms = 0.01\n"));
    let refused =
        bench.run(&format!("{line} --substrate r.toml {slopes} --out d.parquet")).exits(1);
    assert!(refused.stderr.contains("r.toml") && refused.stderr.contains("relaxivity"));
    let unknown =
        bench.run(&format!("{line} --substrate s.toml --derivatives width --out d.parquet"));
    assert!(unknown.exits(1).stderr.contains("width"));
    assert!(!bench.exists("d.parquet"));
}

/// Tubes that swell and wind; gradients that turn in a sphere have exact signals.
#[test]
fn axons_and_turning_gradients() {
    let bench = bench();
    let axon = "[substrate]\nkind = \"axon\"\nradius_um = 2\nbeading = 0.3\nbeading_period_um = 8\n\
        undulation_um = 1\nundulation_period_um = 24\naxis = [1, 0, 0]\n[intra]\n\
        diffusivity_um2_per_ms = 2\n";
    bench.put("axon.toml", axon);
    let line = "simulate --scheme s.csv --walkers 600";
    let json = bench.run(&format!("{line} --substrate axon.toml --out a.parquet --json")).exits(0);
    assert_eq!(json.json()["escaped"], 0);
    bench.put("bad.toml", axon.replace("0.3", "1.2"));
    let bad = bench.run(&format!("{line} --substrate bad.toml --out b.parquet")).exits(1);
    assert!(bad.stderr.contains("substrate.beading"), "{}", bad.stderr);
    let values: Vec<f64> = (0..8)
        .flat_map(|k| match k {
            0 => [0.1, 0.0, 0.0],
            3 => [-0.1, 0.0, 0.0],
            4 => [0.0, 0.0, 0.1],
            7 => [0.0, 0.0, -0.1],
            _ => [0.0; 3],
        })
        .collect();
    Array { shape: vec![1, 8, 3], values: Values::F64(values) }
        .write(&bench.path("w.npy"))
        .unwrap();
    bench.put(
        "ball.toml",
        "[substrate]\nkind = \"sphere\"\nradius_um = 4\n[intra]\n\
        diffusivity_um2_per_ms = 2\n",
    );
    let line = "simulate --substrate ball.toml --waveform w.npy --dt-ms 4";
    bench.run(&format!("{line} --exact --out e.parquet")).exits(0);
    bench.run(&format!("{line} --walkers 20000 --out w.parquet")).exits(0);
    let (exact, walked) = (rows(&bench, "e.parquet"), rows(&bench, "w.parquet"));
    let off = exact[0].2[0] - walked[0].2[0];
    assert!(off.abs() < 3.5 * walked[0].2[2], "{off} {walked:?}");
}

/// Substrates of common studies by name, and their texts as files.
#[test]
fn substrates_by_name() {
    let bench = bench();
    let names = [
        "axons",
        "myelinated_axons",
        "beaded_axon",
        "undulating_axon",
        "cells",
        "exchanging_cells",
        "relaxing_pore",
    ];
    let line = "simulate --scheme s.csv --walkers 64 --step-ms 0.5";
    for name in names {
        let json = bench.run(&format!("{line} --substrate {name} --out {name}.parquet --json"));
        assert_eq!(json.exits(0).json()["escaped"], 0, "{name}");
        let text = bench.run(&format!("simulate --substrate {name} --print-substrate")).exits(0);
        bench.put("own.toml", text.stdout.as_str());
        bench.run(&format!("{line} --substrate own.toml --out own.parquet --overwrite")).exits(0);
        assert_eq!(rows(&bench, "own.parquet"), rows(&bench, &format!("{name}.parquet")));
    }
    let unknown = bench.run("simulate --substrate rocks --print-substrate").exits(1);
    assert!(unknown.stderr.contains("rocks"), "{}", unknown.stderr);
}
