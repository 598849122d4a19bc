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
