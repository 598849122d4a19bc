//! `reconstruct --posterior`.

use crate::bench::Bench;
use microtome::datasets::read_table;
use std::path::{Path, PathBuf};

const GEOMETRY: &str = "kind = \"parallel2d\"\nprojector = \"siddon\"\ndetector = [12]\n\
    [volume]\nshape = [9, 8]\nvoxel_mm = [1.0, 1.0]\n\
    [trajectory]\nkind = \"circular\"\nviews = 7\npixel_mm = [1.0]\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("g.toml", GEOMETRY);
    bench.put_values("y.npy", &[7, 12], |i| ((i * 37 + 11) % 101) as f64 / 30.0);
    bench.put_values("labels.npy", &[9, 8], |i| (i % 3) as f64);
    bench
}

const LINE: &str = "reconstruct --projections y.npy --geometry g.toml --posterior gaussian \
    --prior-weight 2 --prior-kappa2 0.1 --draws 5";

#[test]
fn a_folder_holds_the_posterior() {
    let bench = bench();
    let line = format!(
        "{LINE} --sigma 0.5 --evidence --regions labels.npy --exceed 0.2 --profile 1,0:7,6.5 \
         --out post --json"
    );
    let json = bench.run(&line).exits(0).json();
    assert_eq!(json["exact"], true);
    assert!(json["log_evidence"].as_f64().unwrap().is_finite());
    let out = bench.path("post");
    let (shape, mean) = bench.array(out.join("mean.npy"));
    assert_eq!(shape, [9, 8]);
    assert_eq!(bench.array(out.join("draws.npy")).0, [5, 9, 8]);
    assert!(bench.array(out.join("sd_mcse.npy")).1.iter().all(|v| *v == 0.0));
    assert!(bench.array(out.join("exceedance.npy")).1.iter().all(|v| (0.0..=1.0).contains(v)));
    let summary = &read_table(&out.join("summary.parquet")).unwrap()[0];
    assert_eq!(summary.num_rows(), 72);
    assert_eq!(read_table(&out.join("regions.parquet")).unwrap()[0].num_rows(), 2);
    let profile = &read_table(&out.join("profile.parquet")).unwrap()[0];
    assert_eq!((profile.num_rows(), profile.num_columns()), (10, 8));
    let above = |name: &str| json["above"][name].as_f64().unwrap();
    assert_eq!(json["above"]["unit"], "mm2");
    assert!(above("q05") <= above("q50") && above("q50") <= above("q95") && above("sd") > 0.0);
    // Weights that say the same noise give the same bits, and threads change none.
    bench.put_values("w.npy", &[7, 12], |_| 4.0);
    bench.run(&format!("{LINE} --weights w.npy --threads 1 --out same")).exits(0);
    assert_eq!(bench.array(bench.path("same").join("mean.npy")).1, mean);
    let draws = |name: &str| bench.array(bench.path(name).join("draws.npy")).1;
    assert_eq!(draws("same"), draws("post"));
    // Again: nothing to do. Another specification: refused, nothing touched.
    bench.run(&line).exits(0);
    let other = bench.run(&format!("{LINE} --sigma 0.6 --out post")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    assert_eq!(draws("same"), draws("post"));
    bench.run(&format!("{LINE} --sigma 0.6 --out post --overwrite")).exits(0);
    assert_ne!(draws("same"), draws("post"));
    assert!(!bench.path("post").join("exceedance.npy").exists());
}

#[test]
fn an_unknown_weight_is_drawn() {
    let bench = bench();
    let line = "reconstruct --projections y.npy --geometry g.toml --posterior gaussian --sigma 0.5 \
        --prior-weight 3 --prior-kappa2 0.1 --prior-weight-sd 1 --sigma-shape 5 --draws 60 \
        --evidence --out post --json";
    let json = bench.run(line).exits(0).json();
    assert!(json["log_evidence"].as_f64().unwrap().is_finite());
    let out = bench.path("post");
    assert_eq!(bench.array(out.join("draws.npy")).0, [60, 9, 8]);
    let scales = &read_table(&out.join("scales.parquet")).unwrap()[0];
    assert_eq!((scales.num_rows(), scales.num_columns()), (60, 3));
    assert!(json["prior_weight"]["sd"].as_f64().unwrap() > 0.0);
    let improper = line.replace("--prior-kappa2 0.1", "").replace("--out post", "--out other");
    let improper = bench.run(&improper.replace("--evidence", "")).exits(1);
    assert!(improper.stderr.contains("--prior-kappa2"), "{}", improper.stderr);
    assert!(!bench.path("other").exists());
}

#[test]
fn wrong_posteriors_leave_nothing() {
    let bench = bench();
    let says = |flags: &str, text: &str| {
        let line = format!(
            "reconstruct --projections y.npy --geometry g.toml --posterior gaussian {flags} \
             --out post"
        );
        let found = bench.run(&line).exits(1);
        assert!(found.stderr.starts_with("error: "), "{}", found.stderr);
        assert!(found.stderr.contains(text), "{}", found.stderr);
        assert!(!bench.path("post").exists());
    };
    says("--prior-weight 1", "--sigma");
    says("--sigma 1", "--prior-weight");
    says("--sigma 0 --prior-weight 1", "--sigma 0");
    says("--sigma 1 --prior-weight -1", "weight is -1");
    says("--sigma 1 --prior-weight 1 --evidence", "--prior-kappa2");
    says("--sigma 1 --prior-weight 1 --draws 1", "--draws 1");
    says("--sigma 1 --prior-weight 1 --regions y.npy", "y.npy");
    says("--sigma 1 --prior-weight 1 --profile 0,0:9,0", "--profile 0,0:9,0");
    says("--sigma 1 --prior-weight 1 --profile 3", "two places");
    bench.put_values("half.npy", &[9, 8], |_| 0.5);
    says("--sigma 1 --prior-weight 1 --regions half.npy", "0.5");
    bench.put_values("nan.npy", &[7, 12], |i| if i == 3 { f64::NAN } else { 1.0 });
    says("--weights nan.npy --prior-weight 1", "not finite");
    let unknown = "reconstruct --projections y.npy --geometry g.toml --posterior tv --out post";
    assert!(bench.run(unknown).exits(1).stderr.contains("--posterior tv"));
}

/// The exact posterior of `reference/ct/gauss_posterior`, made without this program.
#[test]
fn equals_the_reference() {
    let folder: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference/ct/gauss_posterior");
    if !folder.exists() {
        eprintln!("skipped: no {}", folder.display());
        return;
    }
    let bench = Bench::new();
    let meta: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("meta.json")).unwrap()).unwrap();
    bench.put(
        "g.toml",
        format!(
            "kind = \"parallel2d\"\nviews = \"{}\"\nprojector = \"siddon\"\ndetector = [44]\n\
             [volume]\nshape = [40, 40]\nvoxel_mm = [1.0, 1.0]\n",
            folder.join("views.npy").display()
        ),
    );
    let (sigma, weight) = (meta["sigma"].as_f64().unwrap(), meta["lam"].as_f64().unwrap());
    bench.put_values("labels.npy", &[40, 40], |i| {
        f64::from(u8::from((10..20).contains(&(i / 40)) && (10..20).contains(&(i % 40))))
    });
    let json = bench
        .run(&format!(
            "reconstruct --projections {} --geometry g.toml --posterior gaussian --sigma {sigma} \
             --prior-weight {weight} --prior-kappa2 0.01 --draws 20 --evidence --regions \
             labels.npy --out post --json",
            folder.join("y.npy").display()
        ))
        .exits(0)
        .json();
    let out = bench.path("post");
    let close = |found: &Path, expected: &str, tolerance: f64| {
        let (found, expected) = (bench.array(found).1, bench.array(folder.join(expected)).1);
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < tolerance, "{f} {e}");
        }
    };
    close(&out.join("mean.npy"), "posterior_mean.npy", 1e-9);
    close(&out.join("sd.npy"), "posterior_std.npy", 1e-9);
    let evidence = json["log_evidence"].as_f64().unwrap();
    assert!((evidence - meta["log_evidence"].as_f64().unwrap()).abs() < 1e-6, "{evidence}");
    let regions = &read_table(&out.join("regions.parquet")).unwrap()[0];
    let number = |name: &str| {
        let column = regions.column_by_name(name).unwrap();
        column.as_any().downcast_ref::<arrow_array::Float64Array>().unwrap().value(0)
    };
    assert!((number("mean") - meta["roi_mean"].as_f64().unwrap()).abs() < 1e-9);
    assert!((number("sd") - meta["roi_std"].as_f64().unwrap()).abs() < 1e-9);
}
