//! Dictionaries: `simulate --sweep`, and `fit`, `sample` and `predict` with its table.

use crate::bench::{Bench, Ended};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use microtome::datasets::read_table;

const CYLINDER: &str = "[substrate]\nkind = \"cylinder\"\nradius_um = 5\naxis = [1, 0, 0]\n\
    [intra]\ndiffusivity_um2_per_ms = 2\n";
const SWEEP: &str =
    "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = 1.0\nto = 4.0\ncount = 7\n";
const MIXTURE: &str = "[[compartment]]\nname = \"axons\"\nkind = \"dictionary\"\n\
    file = \"../d.parquet\"\n[[compartment]]\nkind = \"ball\"\n[link]\n\
    \"ball.lambda_iso\" = { fixed = 3.0 }\n";

/// Two b = 0 images and two shells of 24 directions, with pulses.
fn scheme(b: f64) -> String {
    let mut text = "b_s_per_m2,gx,gy,gz,delta_s,Delta_s\n".to_string();
    for _ in 0..2 {
        text.push_str("0,0,0,0,0.01,0.04\n");
    }
    for b in [1e9, b] {
        for i in 0..24 {
            let z = (f64::from(i) + 0.5) / 24.0;
            let (s, c) = (2.4 * f64::from(i)).sin_cos();
            let r = (1.0 - z * z).sqrt();
            text.push_str(&format!("{b},{},{},{z},0.01,0.04\n", r * c, r * s));
        }
    }
    text
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("c.toml", CYLINDER);
    bench.put("w.toml", SWEEP);
    bench.put("s.csv", scheme(6e9));
    bench.put("other.csv", scheme(6.1e9));
    let parameters = "cylinder_exact.mu_x,cylinder_exact.mu_y,cylinder_exact.mu_z,\
        cylinder_exact.lambda_par,cylinder_exact.lambda_perp_intrinsic,cylinder_exact.diameter\n";
    bench.put("p.csv", format!("{parameters}0.6,0,0.8,2,2,5.3\n0,0.6,0.8,2,2,6.6\n"));
    let line = "predict --model cylinder_exact --scheme s.csv --parameters p.csv --out y.npy";
    bench.run(line).exits(0);
    bench
}

fn column(bench: &Bench, table: &str, name: &str) -> Vec<f64> {
    let batches = read_table(&bench.path(table)).unwrap();
    let numbers = |b: &arrow_array::RecordBatch| {
        let column = b.column_by_name(name).unwrap_or_else(|| panic!("{table} has no {name}"));
        column.as_primitive::<Float64Type>().values().to_vec()
    };
    batches.iter().flat_map(numbers).collect()
}

/// Exact signals on the grid, then fits of signals of `cylinder_exact`, alone and in a mixture.
#[test]
fn a_dictionary_is_made_and_fitted() {
    let bench = bench();
    let line = "simulate --substrate c.toml --sweep w.toml --scheme s.csv --exact --out d.parquet";
    let json = bench.run(&format!("{line} --json")).exits(0).json();
    assert_eq!((json["points"].as_u64(), json["shells"].as_u64()), (Some(7), Some(2)));
    assert_eq!(json["left_out"][0]["parameter"], "radius");
    assert!(json["left_out"][0]["largest"].as_f64().unwrap() < 0.02);
    let again = bench.run(line).exits(0);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let other = bench.run(&line.replace("s.csv", "other.csv")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    let fit = "--scheme s.csv --dwi y.npy --sigma 0.01 --quiet";
    bench.run(&format!("fit --model dictionary:d.parquet {fit} --out f")).exits(0);
    let radii = column(&bench, "f/fit.parquet", "dictionary.radius");
    for (found, truth) in radii.iter().zip([2.65, 3.3]) {
        assert!((found - truth).abs() < 0.02, "{radii:?}");
    }
    let along = column(&bench, "f/fit.parquet", "dictionary.mu_x");
    assert!((along[0].abs() - 0.6).abs() < 1e-3, "{along:?}");
    // In a model file, relative to it.
    std::fs::create_dir(bench.path("m")).unwrap();
    bench.put("m/m.toml", MIXTURE);
    bench.run(&format!("fit --model m/m.toml {fit} --out g")).exits(0);
    let fractions = column(&bench, "g/fit.parquet", "axons.fraction");
    assert!(fractions.iter().all(|f| *f > 0.98), "{fractions:?}");
    // The same line resumes; a changed dictionary is another run.
    bench.run(&format!("fit --model m/m.toml {fit} --out g")).exits(0);
    bench.put("w.toml", SWEEP.replace("count = 7", "count = 8"));
    bench.run(&format!("{line} --overwrite")).exits(0);
    let changed = bench.run(&format!("fit --model m/m.toml {fit} --out g")).exits(1);
    assert!(changed.stderr.contains("--overwrite"), "{}", changed.stderr);
    let info = bench.run("info models m/m.toml").exits(0);
    assert!(info.stdout.contains("axons") && info.stdout.contains("radius"), "{}", info.stdout);
}

/// Walked signals have errors, which are parameters of the posterior.
#[test]
fn errors_of_walkers_are_sampled() {
    let bench = bench();
    let small = "[sweep]\nbatches = 8\nazimuths = 3\ncosines = 10\n";
    bench.put("w.toml", format!("{SWEEP}{small}").replace("count = 7", "count = 4"));
    let line =
        "simulate --substrate c.toml --sweep w.toml --scheme s.csv --walkers 1600 --step-ms 0.5";
    let json = bench.run(&format!("{line} --out d.parquet --threads 1 --json")).exits(0).json();
    assert!(json["error_modes"].as_u64().unwrap() >= 2, "{json}");
    bench.run(&format!("{line} --out e.parquet --threads 2")).exits(0);
    let signals = column(&bench, "d.parquet", "signal_real");
    assert_eq!(signals, column(&bench, "e.parquet", "signal_real"));
    let batch = column(&bench, "d.parquet", "batch_7");
    assert!(signals.iter().zip(&batch).any(|(s, b)| (s - b).abs() > 1e-3));
    let fit = "--scheme s.csv --dwi y.npy --sigma 0.01 --quiet";
    bench.run(&format!("sample --model dictionary:d.parquet {fit} --out p")).exits(0);
    let errors = column(&bench, "p/posterior.parquet", "dictionary.error_1");
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let sd = (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / errors.len() as f64).sqrt();
    assert!((0.05..1.3).contains(&sd) && mean.abs() < 6.0, "{mean} {sd}");
    // Little noise: the errors of the walkers are what is left.
    let fit = fit.replace("0.01", "0.002");
    bench.run(&format!("fit --model dictionary:d.parquet {fit} --out g")).exits(0);
    let with = column(&bench, "g/fit.parquet", "dictionary.radius.sd");
    bench.put(
        "m.toml",
        "[[compartment]]\nkind = \"dictionary\"\nfile = \"d.parquet\"\nerror_modes = 0\n",
    );
    bench.run(&format!("fit --model m.toml {fit} --out q")).exits(0);
    let without = column(&bench, "q/fit.parquet", "dictionary.radius.sd");
    assert!(with.iter().zip(&without).all(|(a, b)| *a > 1.1 * b), "{with:?} {without:?}");
    // `predict` takes the errors as 0 where they are left out.
    bench.put(
        "r.csv",
        "dictionary.mu_x,dictionary.mu_y,dictionary.mu_z,dictionary.radius,dictionary.error_1\n\
         0,0,1,2,0\n",
    );
    let predict = "predict --model dictionary:d.parquet --scheme s.csv --parameters";
    bench.run(&format!("{predict} r.csv --out a.npy")).exits(0);
    bench.put(
        "t.csv",
        "dictionary.mu_x,dictionary.mu_y,dictionary.mu_z,dictionary.radius\n0,0,1,2\n",
    );
    bench.run(&format!("{predict} t.csv --out b.npy")).exits(0);
    assert_eq!(bench.read("a.npy"), bench.read("b.npy"));
}

#[test]
fn wrong_dictionaries_are_exit_1_with_the_reason() {
    let bench = bench();
    let line = "simulate --substrate c.toml --sweep w.toml --scheme s.csv --exact --out d.parquet";
    bench.run(line).exits(0);
    let bytes = std::fs::read(bench.path("d.parquet")).unwrap();
    std::fs::write(bench.path("short.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    bench.run("simulate --substrate c.toml --scheme s.csv --exact --out signals.parquet").exits(0);
    bench.put("text.parquet", "radius_um,signal\n");
    let before = bench.names("");
    let fails = |line: &str, texts: &[&str]| {
        let ended: Ended = bench.run(line).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(texts.iter().all(|t| ended.stderr.contains(t)), "{line}: {}", ended.stderr);
    };
    let fit = "fit --dwi y.npy --out f --model";
    fails(&format!("{fit} dictionary:none.parquet --scheme s.csv"), &["none.parquet"]);
    fails(&format!("{fit} dictionary:short.parquet --scheme s.csv"), &["short.parquet"]);
    fails(&format!("{fit} dictionary:text.parquet --scheme s.csv"), &["text.parquet"]);
    fails(
        &format!("{fit} dictionary:signals.parquet --scheme s.csv"),
        &["signals.parquet", "b_s_per_mm2"],
    );
    fails(&format!("{fit} dictionary --scheme s.csv"), &["dictionary", "file"]);
    fails(
        &format!("{fit} dictionary:d.parquet --scheme other.csv"),
        &["6100", "b 6000 (delta 10, Delta 40)"],
    );
    bench.put(
        "far.csv",
        "dictionary.mu_x,dictionary.mu_y,dictionary.mu_z,dictionary.radius\n0,0,1,9\n",
    );
    let predict = "predict --model dictionary:d.parquet --scheme s.csv --parameters far.csv";
    fails(&format!("{predict} --out z.npy"), &["dictionary.radius", "9", "between 1 and 4"]);
    let sweep = |text: &str, words: &[&str]| {
        bench.put("bad.toml", text);
        fails(&line.replace("w.toml", "bad.toml").replace("d.parquet", "new.parquet"), words);
    };
    sweep(
        "[[parameter]]\nkey = \"substrate.size_um\"\nvalues = [1.0, 2.0]\n",
        &["bad.toml", "size_um"],
    );
    sweep(&SWEEP.replace("count = 7", "count = 1"), &["bad.toml", "count"]);
    sweep(&SWEEP.replace("from = 1.0", "from = -1.0"), &["bad.toml", "radius_um"]);
    sweep("[[parameter]\n", &["bad.toml"]);
    fails(&line.replace("w.toml", "gone.toml").replace("d.parquet", "new.parquet"), &["gone.toml"]);
    let both = format!("{line} --target-se 0.1").replace("d.parquet", "new.parquet");
    fails(&both, &["--target-se"]);
    let mut after = bench.names("");
    after.retain(|n| n != "far.csv" && n != "bad.toml");
    assert_eq!(after, before);
}
