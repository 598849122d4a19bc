//! B-tensors, waveforms and gradient nonlinearity on the command line.

use crate::bench::{Bench, MEASUREMENTS};
use microtome::datasets::{Matrix, read_matrix, read_table, write_matrix};

/// A float64 `.npy` of any shape.
fn npy(shape: &str, values: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    out
}

/// b = 0, then pairs of pulses of 10 ms and 0.05 T/m, 30 ms apart, on a grid of 1 ms.
fn waveforms(bench: &Bench) {
    let directions = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.48, 0.6, 0.64]];
    let mut values = vec![0.0; 4 * 40 * 3];
    let mut table = "G_T_per_m,delta_s,Delta_s,gx,gy,gz\n".to_string();
    for (m, g) in directions.iter().enumerate() {
        for k in 0..10 {
            for i in 0..3 {
                values[(m * 40 + k) * 3 + i] = 0.05 * g[i];
                values[(m * 40 + k + 30) * 3 + i] = -0.05 * g[i];
            }
        }
        let strength = if m == 0 { 0.0 } else { 0.05 };
        table += &format!("{strength},0.01,0.03,{},{},{}\n", g[0], g[1], g[2]);
    }
    bench.put("w.npy", npy("(4, 40, 3)", &values));
    bench.put("s.csv", table);
}

#[test]
fn a_waveform_of_pulses_predicts_what_pulses_do() {
    let bench = Bench::new();
    waveforms(&bench);
    bench.put("p.csv", "a.mu_theta,a.mu_phi,a.lambda_par,a.diameter,a.fraction,b.diameter,b.fraction\n0.4,1.1,1.7,4,0.6,9,0.4\n");
    bench.put("m.toml", "[[compartment]]\nname = \"a\"\nkind = \"cylinder_gpd\"\n[[compartment]]\nname = \"b\"\nkind = \"sphere_gpd\"\n");
    bench.run("predict --model m.toml --scheme s.csv --parameters p.csv --out s.npy").exits(0);
    bench
        .run("predict --model m.toml --waveform w.npy --dt-ms 1 --parameters p.csv --out w-out.npy")
        .exits(0);
    let (a, b) = (
        read_matrix(&bench.path("s.npy")).unwrap(),
        read_matrix(&bench.path("w-out.npy")).unwrap(),
    );
    for (a, b) in a.values.iter().zip(&b.values) {
        assert!((a - b).abs() < 1e-11, "{a} {b}");
    }
    let info = bench.run("info scheme --waveform w.npy --dt-ms 1 --tr-ms 3000").exits(0);
    assert!(info.stdout.contains("waveform") && info.stdout.contains("3000"), "{}", info.stdout);
    let json = bench.run("info scheme --waveform w.npy --dt-ms 1 --json").exits(0).json();
    assert_eq!(json["shells"].as_array().unwrap().len(), 2);
    assert_eq!(json["shells"][1]["waveform"], 0);
}

#[test]
fn shapes_of_b_tensors_are_read_and_shown() {
    let bench = Bench::new();
    let shapes: String = (0..MEASUREMENTS)
        .map(|m| {
            if m < 4 {
                "nan "
            } else if m < 19 {
                "1 "
            } else {
                "0 "
            }
        })
        .collect();
    bench.put("a.bdelta", shapes);
    let info =
        bench.run("info scheme --bval a.bval --bvec a.bvec --bdelta a.bdelta").exits(0).stdout;
    assert!(info.contains("b_delta") && info.contains("3 shells"), "{info}");
    bench.put("p.csv", "mu_theta,x\n");
    bench.put("p.csv", "stick.mu_theta,stick.mu_phi,stick.lambda_par\n0.4,1.1,1.8\n");
    let line = "--model stick --bval a.bval --bvec a.bvec --bdelta a.bdelta";
    bench.run(&format!("predict {line} --parameters p.csv --out s.npy")).exits(0);
    let s = read_matrix(&bench.path("s.npy")).unwrap().values;
    for s in &s[19..] {
        assert!((s - (-2.5_f64 * 1.8 / 3.0).exp()).abs() < 1e-14, "{s}");
    }
}

#[test]
fn deviations_of_zero_give_the_same_table() {
    let bench = Bench::with_voxels(5);
    let zeros = Matrix { rows: 5, columns: 9, values: vec![0.0; 45] };
    write_matrix(&bench.path("zero.npy"), &zeros).unwrap();
    let some = Matrix { values: vec![0.02; 45], ..zeros };
    write_matrix(&bench.path("some.npy"), &some).unwrap();
    bench.fit("--dwi a.npy --out plain").exits(0);
    bench.fit("--dwi a.npy --grad-dev zero.npy --out zero").exits(0);
    let columns = |name: &str| -> Vec<_> {
        let batches = read_table(&bench.path(name)).unwrap();
        batches.iter().flat_map(|b| b.columns().to_vec()).collect()
    };
    let plain = columns("plain/fit.parquet");
    assert_eq!(plain, columns("zero/fit.parquet"));
    bench.fit("--dwi a.npy --grad-dev some.npy --out some").exits(0);
    assert!(plain != columns("some/fit.parquet"));
    // Another map is another run: it does not resume the finished blocks.
    bench.fit("--dwi a.npy --grad-dev zero.npy --out some").exits(1);
    assert!(String::from_utf8(bench.read("some/run.json")).unwrap().contains("some.npy"));
}

#[test]
fn what_does_not_fit_is_named() {
    let bench = Bench::with_voxels(3);
    waveforms(&bench);
    bench.put("short.npy", npy("(2, 9)", &[0.0; 18]));
    bench.put("eight.npy", npy("(3, 8)", &[0.0; 24]));
    bench.put("total.npy", npy("(3, 9)", &[1.0; 27]));
    bench.put("open.npy", npy("(2, 3, 3)", &[0.1; 18]));
    bench.put("planar.bdelta", "-0.5 ".repeat(MEASUREMENTS));
    bench.put("zero.npy", npy("(3, 9)", &[0.0; 27]));
    let fsl = "--bval a.bval --bvec a.bvec";
    let fit = format!("fit --model ball_stick --dwi a.npy --out o {fsl}");
    for (line, words) in [
        ("info scheme --waveform w.npy".to_string(), vec!["--dt-ms"]),
        ("info scheme --waveform w.npy --dt-ms 0".into(), vec!["--dt-ms 0"]),
        (format!("info scheme {fsl} --dt-ms 1"), vec!["--dt-ms", "--waveform"]),
        (format!("info scheme {fsl} --waveform w.npy --dt-ms 1"), vec!["--waveform", "--bval"]),
        ("info scheme --scheme s.csv --bdelta planar.bdelta".into(), vec!["--bdelta", "--bval"]),
        ("info scheme --waveform w.npy --dt-ms 1 --delta-ms 5".into(), vec!["--delta-ms"]),
        ("info scheme --waveform open.npy --dt-ms 1".into(), vec!["open.npy", "moment"]),
        ("info scheme --waveform short.npy --dt-ms 1".into(), vec!["short.npy", "[2, 9]"]),
        (
            "predict --model cylinder_sgp --waveform w.npy --dt-ms 1 --parameters none.csv".into(),
            vec!["none.csv"],
        ),
        (format!("{fit} --grad-dev short.npy"), vec!["short.npy", "2 rows"]),
        (format!("{fit} --grad-dev eight.npy"), vec!["eight.npy", "[voxel, 9]"]),
        (format!("{fit} --grad-dev total.npy"), vec!["total.npy", "identity"]),
        (
            format!("{fit} --bdelta planar.bdelta --grad-dev zero.npy"),
            vec!["a.bval", "`stick`", "--grad-dev"],
        ),
        (
            format!(
                "fit --model sphere_gpd --dwi a.npy --out o {fsl} --bdelta planar.bdelta --delta-ms 5 --big-delta-ms 20"
            ),
            vec!["`sphere_gpd`", "-0.5", "--waveform"],
        ),
    ] {
        let ended = bench.run(&line).exits(1);
        for word in words {
            assert!(ended.stderr.contains(word), "{line}: no `{word}` in {}", ended.stderr);
        }
        assert!(!bench.exists("o"), "{line}");
    }
}
