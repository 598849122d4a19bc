//! Failing voxels, equal bytes for any threads and shards, configuration.

use crate::bench::{Bench, MEASUREMENTS, assert_same};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use microtome::datasets::{Matrix, SignalSource, TableReader, demo, read_table, write_matrix};

/// The status of every voxel of a fit.
fn statuses(bench: &Bench, table: &str) -> Vec<String> {
    let mut out = Vec::new();
    for batch in read_table(&bench.path(table)).unwrap() {
        let column = batch.column_by_name("status").unwrap();
        let words = column.as_string::<i32>();
        out.extend(words.iter().map(|w| w.unwrap().to_string()));
    }
    out
}

#[test]
fn a_failing_voxel_is_a_status() {
    let bench = Bench::new();
    let kinds = [f64::NAN, f64::INFINITY, 0.0, f64::NEG_INFINITY];
    let spoil = |v: usize, row: &mut [f64]| {
        let value = kinds[v % 4];
        if value == 0.0 { row.fill(0.0) } else { row[7] = value }
    };
    bench.signals("one.npy", 40, |v, row| {
        if v == 8 {
            spoil(v, row)
        }
    });
    bench.signals("ten.npy", 40, |v, row| {
        if v < 10 {
            spoil(v, row)
        }
    });
    let ended = bench.fit("--dwi one.npy --out one").exits(0);
    assert!(ended.stdout.contains("39 converged"), "{}", ended.stdout);
    let ended = bench.fit("--dwi ten.npy --out ten").exits(2);
    assert!(
        ended.stderr.contains("25.0 %") && ended.stderr.contains("--max-failed"),
        "{}",
        ended.stderr
    );
    let status = statuses(&bench, "ten/fit.parquet");
    assert_eq!(status.len(), 40);
    assert!(status[..10].iter().all(|s| s == "invalid_signal"), "{status:?}");
    assert!(status[10..].iter().all(|s| s == "converged"), "{status:?}");
    bench.fit("--dwi ten.npy --out ten --max-failed 30").exits(0);
    assert_eq!(statuses(&bench, "one/fit.parquet")[8], "invalid_signal");
}

#[test]
fn voxels_without_draws_join_with_others() {
    let bench = Bench::new();
    // The second block has no valid voxel at all.
    bench.signals("a.npy", 258, |v, row| {
        if v != 0 {
            row.fill(0.0)
        }
    });
    let line = "sample --method nuts --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --out o --draws 20 --tune 20 --chains 2";
    bench.run(line).exits(2);
    let rows: usize =
        read_table(&bench.path("o/posterior.parquet")).unwrap().iter().map(|b| b.num_rows()).sum();
    assert_eq!(rows, 40);
}

#[test]
fn negative_signals_are_invalid_for_rician_noise_only() {
    let bench = Bench::new();
    bench.signals("a.npy", 4, |v, row| {
        if v == 1 {
            row[20] = -5.0
        }
    });
    bench.fit("--dwi a.npy --out g").exits(0);
    bench.fit("--dwi a.npy --noise rician --out r").exits(2);
    assert_eq!(statuses(&bench, "r/fit.parquet")[1], "invalid_signal");
    assert!(statuses(&bench, "g/fit.parquet").iter().all(|s| s == "converged"));
}

/// Noise by flags and by file is one specification; sigma of the repeated b = 0 images
/// is in the table and in run.json, and the report can be written.
#[test]
fn noise_and_repeated_b0_are_recorded() {
    let bench = Bench::with_voxels(6);
    bench.put(
        "m.toml",
        "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"ball\"\n[noise]\nkind = \"nc_chi\"\ncoils = 4\n",
    );
    let data = "--bval a.bval --bvec a.bvec --dwi a.npy --sigma b0";
    bench
        .run(&format!("fit --model ball_stick --noise nc_chi --coils 4 {data} --out flags --save-config c.toml"))
        .exits(0);
    bench.run(&format!("fit --model m.toml {data} --out file")).exits(0);
    bench.run("fit --config c.toml --out again").exits(0);
    let record = |folder: &str| -> serde_json::Value {
        serde_json::from_slice(&bench.read(&format!("{folder}/run.json"))).unwrap()
    };
    let spec = record("flags")["spec"].clone();
    assert_eq!(spec["model"]["noise"], serde_json::json!({ "kind": "nc_chi", "coils": 4 }));
    assert_eq!(spec["sigma"], "repeated_b0");
    for other in ["file", "again"] {
        assert_eq!(record(other)["spec"], spec, "{other}");
        assert_eq!(
            bench.read(&format!("{other}/fit.parquet")).len(),
            bench.read("flags/fit.parquet").len()
        );
    }
    let table = &read_table(&bench.path("flags/fit.parquet")).unwrap()[0];
    let sigma = table.column_by_name("sigma").unwrap().as_primitive::<Float64Type>();
    let signals = SignalSource::open(&bench.path("a.npy"), None).unwrap().read_rows(0..6).unwrap();
    for (v, y) in signals.signals.chunks(MEASUREMENTS).enumerate() {
        let mean = y[..4].iter().sum::<f64>() / 4.0;
        let sd = (y[..4].iter().map(|y| (y - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        // At this signal the correction for the floor is below one in a thousand.
        assert!((sigma.value(v) / sd - 1.0).abs() < 1e-2, "{v}: {} {sd}", sigma.value(v));
    }
    let sample = "sample --method nuts --model ball_stick --noise student_t --draws 20 --tune 50 --chains 2 --max-failed 100";
    bench.run(&format!("{sample} {data} --out s")).exits(0);
    let noise = record("s")["spec"]["model"]["noise"].clone();
    assert_eq!(noise, serde_json::json!({ "kind": "student_t", "nu": 5.0 }));
    bench.run("report s").exits(0);
    let html = String::from_utf8(bench.read("s/report.html")).unwrap();
    assert!(html.contains("student_t (nu = 5)") && html.contains("repeated b = 0"));
}

#[test]
fn a_model_that_data_cannot_determine_is_no_error() {
    let bench = Bench::with_voxels(6);
    let line = "fit --model 'ball + ball' --bval a.bval --bvec a.bvec --dwi a.npy";
    let ended = bench.run(&format!("{line} --out o"));
    assert!([0, 2].contains(&ended.code), "{ended:?}");
    assert!(bench.exists("o/fit.parquet"));
    // One ball in the data: the second one is not determined, and no voxel pretends that it is.
    let noise = |v: usize, m: usize| 20.0 * ((v * 34 + m) as f64 * 12.9898).sin();
    bench.signals("b.npy", 6, |v, row| {
        for (m, s) in row.iter_mut().enumerate() {
            *s = 1000.0 * (-[0.0_f64, 1.0, 2.5][(m + 11) / 15]).exp() + noise(v, m);
        }
    });
    let ended = bench.run(&format!("{} --out p", line.replace("a.npy", "b.npy")));
    assert!([0, 2].contains(&ended.code), "{ended:?}");
    let status = statuses(&bench, "p/fit.parquet");
    let table = &read_table(&bench.path("p/fit.parquet")).unwrap()[0];
    let column = |name: &str| {
        table.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
    };
    let (first, second) = (column("ball.lambda_iso.sd"), column("ball_2.lambda_iso.sd"));
    for v in 0..6 {
        let open = !first[v].is_finite() || !second[v].is_finite() || first[v].max(second[v]) > 0.5;
        assert!(
            status[v] == "singular" || open,
            "voxel {v}: {} {} {}",
            status[v],
            first[v],
            second[v]
        );
    }
}

#[test]
fn threads_and_shards_merge_to_the_same_bytes() {
    let bench = Bench::with_voxels(1100);
    for (verb, tables, flags) in [
        ("fit", &["fit"][..], ""),
        (
            "sample",
            &["posterior", "summary"][..],
            "--draws 10 --tune 20 --chains 2 --max-failed 100",
        ),
    ] {
        let line = format!(
            "{verb} --model ball_stick --bval a.bval --bvec a.bvec --dwi a.npy --quiet {flags}"
        );
        bench.run(&format!("{line} --threads 1 --out {verb}1")).exits(0);
        bench.run(&format!("{line} --threads 2 --out {verb}2")).exits(0);
        for i in [2, 1, 3] {
            bench.run(&format!("{line} --shard {i}/3 --out {verb}3")).exits(0);
            if i == 2 {
                let ended = bench.run(&format!("merge {verb}3")).exits(1);
                assert!(
                    ended.stderr.contains("1-of-3") && ended.stderr.contains("3-of-3"),
                    "{}",
                    ended.stderr
                );
                assert!(!ended.stderr.contains("2-of-3"), "{}", ended.stderr);
            }
        }
        bench.run(&format!("merge {verb}3")).exits(0);
        for table in tables {
            for n in [2, 3] {
                assert_same(
                    &bench.path(&format!("{verb}1/{table}.parquet")),
                    &bench.path(&format!("{verb}{n}/{table}.parquet")),
                );
            }
        }
        let [one, merged] = ["1", "3"].map(|n| {
            serde_json::from_slice::<serde_json::Value>(&bench.read(&format!("{verb}{n}/run.json")))
                .unwrap()
        });
        assert_eq!(one["counts"], merged["counts"]);
        assert_eq!(one["counts"]["voxels"], 1100);
    }
}

#[test]
fn a_shard_without_blocks_merges_too() {
    let bench = Bench::with_voxels(300);
    bench.fit("--dwi a.npy --out one").exits(0);
    for i in 1..=3 {
        bench.fit(&format!("--dwi a.npy --out o --shard {i}/3")).exits(0);
    }
    bench.run("merge o").exits(0);
    assert_same(&bench.path("one/fit.parquet"), &bench.path("o/fit.parquet"));
}

#[test]
fn shards_of_other_runs_are_refused() {
    let bench = Bench::with_voxels(600);
    bench.fit("--dwi a.npy --out a --shard 1/2").exits(0);
    bench.fit("--dwi a.npy --out b --shard 2/2 --seed 5").exits(0);
    for name in ["fit.2-of-2.parquet", "run.2-of-2.json"] {
        std::fs::copy(bench.path(&format!("b/{name}")), bench.path(&format!("a/{name}"))).unwrap();
    }
    let ended = bench.run("merge a").exits(1);
    assert!(
        ended.stderr.contains("specification") && ended.stderr.contains("2-of-2"),
        "{}",
        ended.stderr
    );
    assert!(!bench.exists("a/fit.parquet"));
}

#[test]
fn config_round_trip() {
    let bench = Bench::with_voxels(20);
    let line =
        "--dwi a.npy --sigma 20 --seed 7 --noise rician --max-failed 12.5 --threads 2 --quiet";
    bench.fit(&format!("{line} --out o --save-config c.toml")).exits(0);
    bench.run("fit --config c.toml --out p --save-config d.toml").exits(0);
    assert_same(&bench.path("o/fit.parquet"), &bench.path("p/fit.parquet"));
    let text = |name| String::from_utf8(bench.read(name)).unwrap();
    assert_eq!(text("c.toml").replace("\"o\"", "\"p\""), text("d.toml"));
    assert!(text("c.toml").contains("max_failed = 12.5") && text("c.toml").contains("seed = 7"));
    // The command line overrides the file; a key may be written with `-`.
    bench.put("e.toml", text("c.toml").replace("max_failed", "max-failed"));
    bench.run("fit --config e.toml --seed 8 --out q").exits(0);
    let run: serde_json::Value = serde_json::from_slice(&bench.read("q/run.json")).unwrap();
    assert_eq!((run["seed"].as_u64(), run["max_failed_percent"].as_f64()), (Some(8), Some(12.5)));
    // Relative paths are relative to the file.
    std::fs::create_dir(bench.path("sub")).unwrap();
    let moved = ["a.npy", "a.bval", "a.bvec"]
        .iter()
        .fold(text("c.toml"), |t, f| t.replace(f, &format!("../{f}")));
    bench.put("sub/c.toml", moved.replace("out = \"o\"", "out = \"r\""));
    bench.run("fit --config sub/c.toml").exits(0);
    assert_same(&bench.path("o/fit.parquet"), &bench.path("sub/r/fit.parquet"));
    // A file saved elsewhere finds its input too.
    bench.fit(&format!("{line} --out o --save-config sub/d.toml")).exits(0);
    bench.run("fit --config sub/d.toml --out s").exits(0);
    assert_same(&bench.path("o/fit.parquet"), &bench.path("s/fit.parquet"));
    // Another form of the acquisition replaces the file's.
    let (b, g) = crate::bench::scheme();
    let rows: String = b
        .iter()
        .zip(&g)
        .map(|(b, g)| format!("{},{},{},{}\n", b * 1e9, g[0], g[1], g[2]))
        .collect();
    bench.put("s.csv", format!("b_s_per_m2,gx,gy,gz\n{rows}"));
    bench.run("fit --config c.toml --scheme s.csv --out t").exits(0);
}

#[test]
fn a_model_file_brings_files_beside_it() {
    let bench = Bench::with_voxels(3);
    std::fs::create_dir(bench.path("m")).unwrap();
    bench.put(
        "m/m.toml",
        "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"ball\"\n[link]\n\"ball.lambda_iso\" = { fixed = \"iso.csv\" }\n",
    );
    bench.put("m/iso.csv", "0.9\n1.0\n1.1\n");
    let line = "fit --model m/m.toml --bval a.bval --bvec a.bvec --dwi a.npy --out o";
    bench.run(line).exits(0);
    let batch = &read_table(&bench.path("o/fit.parquet")).unwrap()[0];
    let iso = batch.column_by_name("ball.lambda_iso").unwrap();
    assert_eq!(iso.as_primitive::<Float64Type>().values()[..], [0.9, 1.0, 1.1]);
    // The content of the file is part of the run.
    bench.put("m/iso.csv", "0.9\n1.0\n1.2\n");
    let ended = bench.run(line).exits(1);
    assert!(ended.stderr.contains("another input"), "{}", ended.stderr);
}

#[test]
fn images_have_maps_of_their_grid() {
    let bench = Bench::new();
    for (name, bytes) in [("d.nii.gz", demo::IMAGE), ("d.bval", demo::BVAL), ("d.bvec", demo::BVEC)]
    {
        bench.put(name, bytes);
    }
    let line = "fit --model ball_stick --dwi d.nii.gz --bval d.bval --bvec d.bvec --quiet";
    bench.run(&format!("{line} --out o")).exits(0);
    let map = |name: &str| {
        SignalSource::open(&bench.path(&format!("o/model-ballstick_{name}_dwimap.nii.gz")), None)
            .unwrap()
    };
    let lambda = map("desc-estimate_param-sticklambdapar");
    assert_eq!(lambda.geometry().unwrap().dims, [12, 12, 4]);
    let dwi = SignalSource::open(&bench.path("d.nii.gz"), None).unwrap();
    assert_eq!(lambda.geometry().unwrap().affine, dwi.geometry().unwrap().affine);
    assert_eq!(map("desc-estimate_param-stickmu").n_measurements(), 3);
    let table = &read_table(&bench.path("o/fit.parquet")).unwrap()[0];
    let column = table.column_by_name("stick.lambda_par").unwrap();
    let column = column.as_primitive::<Float64Type>();
    let values = lambda.read_rows(0..576).unwrap().signals;
    assert!(column.values().iter().zip(&values).all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs()));
    let side = bench.read("o/model-ballstick_desc-estimate_param-sticklambdapar_dwimap.json");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&side).unwrap()["Units"], "um^2/ms");
    // Shards and merge give the same maps.
    for i in 1..=2 {
        bench.run(&format!("{line} --out s --shard {i}/2")).exits(0);
    }
    assert!(!bench.names("s").iter().any(|n| n.ends_with(".nii.gz")));
    bench.run("merge s").exits(0);
    for name in bench.names("o").iter().filter(|n| n.ends_with(".nii.gz")) {
        assert_same(&bench.path(&format!("o/{name}")), &bench.path(&format!("s/{name}")));
    }
}

/// The column `trust`, the do-not-trust mask and `diagnose` are one verdict.
#[test]
fn voxels_that_are_not_to_be_trusted_are_marked() {
    let bench = Bench::new();
    for (name, bytes) in [("d.nii.gz", demo::IMAGE), ("d.bval", demo::BVAL), ("d.bvec", demo::BVEC)]
    {
        bench.put(name, bytes);
    }
    let inside = |v: usize| (144..288).contains(&v) && v.is_multiple_of(9);
    let mask = (0..576).map(|v| f64::from(u8::from(inside(v)))).collect();
    write_matrix(&bench.path("m.npy"), &Matrix { rows: 576, columns: 1, values: mask }).unwrap();
    let line = "sample --method nuts --model ball_stick --dwi d.nii.gz --bval d.bval --bvec d.bvec --mask m.npy \
                --noise rician --quiet --tune 50 --draws 150 --max-failed 100 --out o";
    bench.run(line).exits(0);
    let mut untrusted = std::collections::BTreeSet::new();
    let mut all = std::collections::BTreeSet::new();
    for batch in read_table(&bench.path("o/summary.parquet")).unwrap() {
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (voxel, trust, status) = (column("voxel"), column("trust"), column("status"));
        let (rhat, ess) = (column("rhat"), column("ess_bulk"));
        let voxel = voxel.as_primitive::<arrow_array::types::Int64Type>();
        for r in 0..batch.num_rows() {
            all.insert(voxel.value(r));
            if !trust.as_boolean().value(r) {
                untrusted.insert(voxel.value(r));
                continue;
            }
            assert_eq!(status.as_string::<i32>().value(r), "converged");
            let number = |c: &arrow_array::ArrayRef| c.as_primitive::<Float64Type>().value(r);
            assert!(number(&rhat) <= 1.01 && number(&ess) >= 400.0, "voxel {}", voxel.value(r));
        }
    }
    // Short chains: some voxels pass and some do not.
    assert_eq!(all.len(), 16);
    assert!(!untrusted.is_empty() && untrusted.len() < 16, "{}", untrusted.len());
    let map = bench.path("o/model-ballstick_desc-donottrust_mask.nii.gz");
    let map = SignalSource::open(&map, None).unwrap().read_rows(0..576).unwrap().signals;
    for (v, x) in map.iter().enumerate() {
        assert_eq!(*x == 1.0, untrusted.contains(&(v as i64)), "voxel {v}: {x}");
    }
    let json = bench.run("diagnose o --json").json();
    assert_eq!(json["do_not_trust_voxels"], untrusted.len());
}

#[test]
fn tables_say_what_they_are() {
    let bench = Bench::with_voxels(3);
    bench.fit("--dwi a.npy --out o").exits(0);
    let reader = TableReader::open(&bench.path("o/fit.parquet")).unwrap();
    let metadata = reader.schema().metadata();
    let spec: serde_json::Value = serde_json::from_str(&metadata["microtome.spec"]).unwrap();
    assert_eq!(spec["job"], "fit");
    assert!(
        metadata.contains_key("microtome.version") && metadata.contains_key("microtome.simd_level")
    );
    assert!(!metadata.keys().any(|k| k.starts_with("microtome.part")), "{metadata:?}");
    let field = reader.schema().field_with_name("stick.lambda_par").unwrap();
    assert_eq!(field.metadata()["unit"], "um^2/ms");
}
