//! `predict`: columns, defaults, links, errors.

use crate::bench::{Bench, MEASUREMENTS, scheme};
use microtome::datasets::{TableReader, read_matrix};

const LINE: &str = "predict --bval a.bval --bvec a.bvec --parameters p.csv";

fn predict(p: &str, rest: &str) -> (Bench, crate::bench::Ended) {
    let bench = Bench::new();
    bench.put("p.csv", p);
    let ended = bench.run(&format!("{LINE} {rest}"));
    (bench, ended)
}

#[test]
fn predict_by_hand() {
    let p = "stick.mu_theta,stick.mu_phi,stick.lambda_par,stick.fraction,ball.fraction,ball.lambda_iso,s0\n\
             0.7,0.4,1.7,0.6,0.4,0.9,500\n1.2,-2.0,2.1,0.25,0.75,1.1,2\n";
    let (bench, ended) = predict(p, "--model 'stick + ball' --out s.npy");
    ended.exits(0);
    let s = read_matrix(&bench.path("s.npy")).unwrap();
    assert_eq!((s.rows, s.columns), (2, MEASUREMENTS));
    let (b, g) = scheme();
    for (row, [t, p, par, f, iso, s0]) in
        [[0.7_f64, 0.4_f64, 1.7, 0.6, 0.9, 500.0], [1.2, -2.0, 2.1, 0.25, 1.1, 2.0]]
            .into_iter()
            .enumerate()
    {
        let mu = [t.sin() * p.cos(), t.sin() * p.sin(), t.cos()];
        for m in 0..MEASUREMENTS {
            let c: f64 = (0..3).map(|i| mu[i] * g[m][i]).sum();
            let expected = s0 * (f * (-b[m] * par * c * c).exp() + (1.0 - f) * (-b[m] * iso).exp());
            let found = s.values[row * MEASUREMENTS + m];
            // Directions in the file have the digits of a decimal text that reads back exactly.
            assert!((found - expected).abs() < 1e-12 * s0, "{row} {m}: {found} {expected}");
        }
    }
    // Other forms of the output, and of the direction.
    bench.run(&format!("{LINE} --model 'stick + ball' --out s.csv")).exits(0);
    assert_eq!(read_matrix(&bench.path("s.csv")).unwrap(), s);
    bench.run(&format!("{LINE} --model 'stick + ball' --out s.parquet")).exits(0);
    let reader = TableReader::open(&bench.path("s.parquet")).unwrap();
    assert_eq!((reader.n_rows(), reader.schema().fields().len()), (2, MEASUREMENTS));
    let mu = [0.7_f64.sin() * 0.4_f64.cos(), 0.7_f64.sin() * 0.4_f64.sin(), 0.7_f64.cos()];
    bench.put(
        "p.csv",
        format!(
            "s0,ball.lambda_iso,stick.mu_x,stick.mu_y,stick.mu_z,stick.lambda_par,ball.fraction,stick.fraction\n500,0.9,{},{},{},1.7,0.4,0.6\n",
            mu[0], mu[1], mu[2]
        ),
    );
    bench.run(&format!("{LINE} --model 'stick + ball' --out v.npy")).exits(0);
    let v = read_matrix(&bench.path("v.npy")).unwrap();
    assert!(v.values.iter().zip(&s.values).all(|(a, b)| (a - b).abs() < 1e-9));
}

#[test]
fn predict_fills_what_may_be_left_out() {
    let (bench, ended) = predict("ball.lambda_iso\n1.0\n2.0\n", "--model ball --out s.npy");
    ended.exits(0);
    let s = read_matrix(&bench.path("s.npy")).unwrap();
    assert_eq!(s.values[0], 1.0);
    assert!((s.values[4] - (-1.0_f64).exp()).abs() < 1e-15);
    let p = "stick.mu_theta,stick.mu_phi,stick.lambda_par,stick.fraction,stick_2.mu_theta,stick_2.mu_phi,stick_2.fraction,ball.lambda_iso,ball.fraction\n\
             0.1,0,1.7,0.3,1.2,0,0.3,1,0.4\n";
    let (bench, ended) = predict(p, "--model ball_sticks_2 --out s.npy");
    ended.exits(0);
    let linked = p
        .replace("ball.fraction\n", "ball.fraction,stick_2.lambda_par\n")
        .replace("0.4\n", "0.4,1.7\n");
    bench.put("p.csv", &linked);
    bench.run(&format!("{LINE} --model ball_sticks_2 --out t.npy")).exits(0);
    assert_eq!(bench.read("s.npy"), bench.read("t.npy"));
    bench.put("p.csv", linked.replace("0.4,1.7\n", "0.4,1.8\n"));
    let ended = bench.run(&format!("{LINE} --model ball_sticks_2 --out u.npy")).exits(1);
    assert!(
        ended.stderr.contains("stick_2.lambda_par") && ended.stderr.contains("row 1"),
        "{}",
        ended.stderr
    );
}

#[test]
fn predict_refuses_what_is_wrong() {
    let head =
        "stick.mu_theta,stick.mu_phi,stick.lambda_par,stick.fraction,ball.fraction,ball.lambda_iso";
    let cases: &[(&str, &str, &[&str])] = &[
        (&format!("{head},colour"), "0,0,1,0.5,0.5,1,2", &["`colour`"]),
        (&head.replace(",ball.lambda_iso", ""), "0,0,1,0.5,0.5", &["`ball.lambda_iso`", "missing"]),
        (&head.replace("stick.mu_phi,", ""), "0,1,0.5,0.5,1", &["`stick.mu_phi`"]),
        (
            &head.replace("stick.mu_theta,stick.mu_phi,", ""),
            "1,0.5,0.5,1",
            &["stick.mu_x", "mu_theta"],
        ),
        (&head.replace("stick.fraction,", ""), "0,0,1,0.5,1", &["`stick.fraction`"]),
        (head, "0,0,1,0.5,0.6,1", &["row 1", "fractions", "1.1"]),
        (head, "0,0,1,1.5,-0.5,1", &["row 1", "fraction"]),
        (head, "0,0,1,0.5,0.5,1\n0,0,-1,0.5,0.5,1", &["row 2", "stick.lambda_par"]),
        (head, "0,0,1,0.5,0.5,nan", &["ball.lambda_iso"]),
        (head, "0,0,1,0.5,0.5", &["line 2"]),
        (
            &head.replace("theta,stick.mu_phi", "x,stick.mu_y,stick.mu_z"),
            "0.5,0.5,0.5,1,0.5,0.5,1",
            &["length"],
        ),
        (&format!("{head},stick.mu_x"), "0,0,1,0.5,0.5,1,0", &["stick.mu", "twice"]),
        (head, "", &["no rows"]),
    ];
    for (head, rows, words) in cases {
        let (bench, ended) =
            predict(&format!("{head}\n{rows}\n"), "--model 'stick + ball' --out s.npy");
        let ended = ended.exits(1);
        assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
        for word in *words {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
        assert_eq!(bench.names("."), ["a.bval", "a.bvec", "p.csv"], "{rows}");
    }
}

#[test]
fn predict_does_not_depend_on_threads() {
    let rows: String =
        (0..3000).map(|i| format!("{},{}\n", 0.1 + 0.001 * f64::from(i), 1 + i)).collect();
    let (bench, ended) =
        predict(&format!("ball.lambda_iso,s0\n{rows}"), "--model ball --out a.npy --threads 1");
    ended.exits(0);
    bench.run(&format!("{LINE} --model ball --out b.npy --threads 2")).exits(0);
    assert_eq!(bench.read("a.npy"), bench.read("b.npy"));
}

#[test]
fn predict_keeps_other_files() {
    let (bench, ended) = predict("ball.lambda_iso\n1.0\n", "--model ball --out s.npy");
    ended.exits(0);
    bench.run(&format!("{LINE} --model ball --out s.npy")).exits(0);
    let before = bench.read("s.npy");
    bench.put("p.csv", "ball.lambda_iso\n2.0\n");
    let ended = bench.run(&format!("{LINE} --model ball --out s.npy")).exits(1);
    assert!(
        ended.stderr.contains("s.npy") && ended.stderr.contains("--overwrite"),
        "{}",
        ended.stderr
    );
    assert_eq!(bench.read("s.npy"), before);
    bench.run(&format!("{LINE} --model ball --out s.npy --overwrite")).exits(0);
    assert_ne!(bench.read("s.npy"), before);
    for out in ["s.txt", ".", "none/s.npy", "/dev/full"] {
        bench.run(&format!("{LINE} --model ball --out {out}")).exits(1);
    }
    assert_eq!(bench.names("."), ["a.bval", "a.bvec", "p.csv", "s.npy"]);
}

#[test]
fn predict_writes_spherical_means() {
    // Labels decide the order of the columns: 7 stands for b = 0, 2 for b = 3, 5 for b = 1.
    let bench = Bench::new();
    bench.put(
        "scheme.csv",
        "b_s_per_m2,gx,gy,gz,shell\n0,1,0,0,7\n1e9,1,0,0,5\n3e9,0,1,0,2\n1e9,0,0,1,5\n",
    );
    bench.put(
        "p.csv",
        "stick.mu_theta,stick.mu_phi,stick.lambda_par,s0\n0.3,1.0,2.0,5\n1.3,2.0,2.0,5\n",
    );
    let line = "predict --model stick --scheme scheme.csv --parameters p.csv --spherical-mean";
    bench.run(&format!("{line} --out m.csv")).exits(0);
    // 5 sqrt(pi / 4x) erf(sqrt(x)) at x = 6, 2, 0.
    let expected = [1.808_040_736_768_292_5, 2.990_720_033_306_520_7, 5.0];
    let text = String::from_utf8(bench.read("m.csv")).unwrap();
    assert_eq!(text.lines().count(), 2);
    for row in text.lines() {
        let means: Vec<f64> = row.split(',').map(|v| v.parse().unwrap()).collect();
        assert_eq!(means.len(), 3, "{row}");
        for (m, e) in means.iter().zip(expected) {
            assert!((m - e).abs() < 1e-13, "{m} {e}");
        }
    }
    let ended = bench.run(&format!("{line} --out m.npy --json")).exits(0);
    assert!(ended.stdout.contains("\"shells\":3"), "{}", ended.stdout);
}
