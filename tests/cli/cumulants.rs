//! Methods of tensor fits: dti, dki, and what is refused.

use crate::bench::Bench;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use microtome::datasets::{SignalSource, demo, read_table};

fn numbers(bench: &Bench, table: &str, name: &str) -> Vec<f64> {
    let mut out = Vec::new();
    for batch in read_table(&bench.path(table)).unwrap() {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        out.extend_from_slice(column.as_primitive::<Float64Type>().values());
    }
    out
}

#[test]
fn methods_have_tables_and_maps() {
    let bench = Bench::new();
    for (name, bytes) in [("d.nii.gz", demo::IMAGE), ("d.bval", demo::BVAL), ("d.bvec", demo::BVEC)]
    {
        bench.put(name, bytes);
    }
    let data = "--dwi d.nii.gz --bval d.bval --bvec d.bvec --quiet";
    for (model, method) in [("dti", "ols"), ("dti", "wls"), ("dti", "nlls"), ("dki", "wls")] {
        let out = format!("{model}_{method}");
        bench
            .run(&format!(
                "fit --model {model} --method {method} {data} --out {out} --max-failed 100"
            ))
            .exits(0);
        let fa = numbers(&bench, &format!("{out}/fit.parquet"), "fa");
        let inside: Vec<f64> = fa.iter().copied().filter(|v| v.is_finite()).collect();
        assert!(inside.len() > fa.len() / 2 && inside.iter().all(|v| (0.0..=1.0).contains(v)));
        assert_eq!(numbers(&bench, &format!("{out}/fit.parquet"), "md.sd").len(), fa.len());
        let path = format!("{out}/model-{model}_desc-estimate_param-fa_dwimap.nii.gz");
        let map = SignalSource::open(&bench.path(&path), None).unwrap();
        let map = map.read_rows(0..fa.len()).unwrap().signals;
        let equal = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 || a.is_nan();
        assert!(fa.iter().zip(&map).all(equal));
        let side = bench.read(&path.replace(".nii.gz", ".json"));
        let side: serde_json::Value = serde_json::from_slice(&side).unwrap();
        let words = side["Model"]["Parameters"]["FitMethod"].as_str().unwrap();
        assert_eq!(words.contains("logarithm"), method != "nlls", "{words}");
        bench.run(&format!("report {out}")).exits(0);
    }
    assert!(bench.exists("dki_wls/model-dki_desc-estimate_param-mk_dwimap.nii.gz"));
    // dki has one default, and so has dti.
    bench.run(&format!("fit --model dki {data} --out dki --max-failed 100")).exits(0);
    bench.run(&format!("fit --model dti {data} --out dti --max-failed 100")).exits(0);
    for (a, b) in [("dki", "dki_wls"), ("dti", "dti_nlls")] {
        let [a, b] = [a, b].map(|f| numbers(&bench, &format!("{f}/fit.parquet"), "fa"));
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn refusals_name_the_method() {
    let bench = Bench::with_voxels(3);
    let data = "--bval a.bval --bvec a.bvec --dwi a.npy --out o";
    for (line, words) in [
        ("fit --model ball_stick --method wls", vec!["wls", "dti", "nlls"]),
        ("fit --model dti --method lsq", vec!["lsq", "nlls", "ols", "wls"]),
        ("fit --model dti --method ols --noise rician", vec!["ols", "Rician"]),
        ("fit --model dki --method nlls", vec!["nlls", "wls"]),
        ("sample --model dti --method wls", vec!["wls", "nuts"]),
        ("sample --model dki", vec!["fit"]),
    ] {
        let ended = bench.run(&format!("{line} {data}")).exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        assert!(words.iter().all(|w| ended.stderr.contains(w)), "{line}: {}", ended.stderr);
        assert!(!bench.exists("o"), "{line}");
    }
    bench.put(
        "p.csv",
        "tensor.mu_theta,tensor.mu_phi,tensor.psi,tensor.lambda_1,tensor.lambda_2,tensor.lambda_3\n0,0,0,2,1,1\n",
    );
    let line = "predict --model dki --parameters p.csv --bval a.bval --bvec a.bvec --out s.npy";
    let ended = bench.run(line).exits(1);
    assert!(ended.stderr.contains("fit --model dki"), "{}", ended.stderr);
    // One shell is not enough for kurtosis.
    let one = |text: &[u8]| String::from_utf8_lossy(text).replace("2500", "1000");
    bench.put("one.bval", one(&bench.read("a.bval")));
    let line = "fit --model dki --bval one.bval --bvec a.bvec --dwi a.npy --out o";
    let ended = bench.run(line).exits(1);
    assert!(ended.stderr.contains("two non-zero shells"), "{}", ended.stderr);
    assert!(!bench.exists("o"));
    let ended = bench.run("info models dki").exits(0);
    assert!(ended.stdout.contains("kurtosis.w_xxyy"), "{}", ended.stdout);
}
