//! `info design`: what an acquisition is expected to tell, searches, errors.

use crate::bench::{Bench, MEASUREMENTS};
use microtome::datasets::ParameterTable;

const SEARCH: &str = "info design --model 'stick + ball' --optimise --shells 2 --starts 2 \
                      --prior-draws 4 --max-te-ms 90";

#[test]
fn design_judges_an_acquisition() {
    let bench = Bench::new();
    let line = "info design --model ball_stick --bval a.bval --bvec a.bvec";
    let json = bench.run(&format!("{line} --snr 25 --prior-draws 9 --json")).exits(0).json();
    assert_eq!((json["measurements"].as_u64(), json["sets"].as_u64()), (Some(34), Some(9)));
    let quantities = json["quantities"].as_array().unwrap();
    let names: Vec<&str> = quantities.iter().map(|q| q["parameter"].as_str().unwrap()).collect();
    for wanted in ["stick.mu", "stick.lambda_par", "stick.fraction", "ball.lambda_iso", "s0"] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    for q in quantities {
        let sd = |name: &str| q[name].as_f64().unwrap();
        assert!(sd("sd_posterior") <= sd("sd_cramer_rao") && sd("sd_expected") < sd("sd_prior"));
        let degrees = q["unit"] == "degree";
        assert_eq!(degrees, q["parameter"] == "stick.mu");
    }
    let shells = json["shells"].as_array().unwrap();
    let sizes: u64 = shells.iter().map(|s| s["measurements"].as_u64().unwrap()).sum();
    assert_eq!((shells.len(), sizes), (3, MEASUREMENTS as u64));
    // A number of noise in place of a ratio: s0 is 2, so SNR 25 is 0.08.
    let p = "stick.mu_theta,stick.mu_phi,stick.lambda_par,stick.fraction,ball.fraction,ball.lambda_iso,s0\n\
             0.7,0.4,1.7,0.6,0.4,0.9,2\n1.7,0.4,1.9,0.5,0.5,1.1,2\n";
    bench.put("p.csv", p);
    let judged = |rest: &str| {
        bench.run(&format!("{line} --parameters p.csv --json {rest}")).exits(0).json()["quantities"]
            .clone()
    };
    let (ratio, number) = (judged("--snr 25 --out sd.csv"), judged("--sigma 0.08"));
    for k in 0..names.len() {
        let sd = |v: &serde_json::Value| v[k]["sd_expected"].as_f64().unwrap();
        assert!((sd(&ratio) / sd(&number) - 1.0).abs() < 1e-9, "{ratio} {number}");
    }
    assert_ne!(judged("--snr 25"), judged("--snr 25 --noise rician"));
    let text = String::from_utf8(bench.read("sd.csv")).unwrap();
    assert_eq!(text.lines().count(), 1 + 2 * names.len());
    let other = bench.run(&format!("{line} --parameters p.csv --snr 9 --out sd.csv")).exits(1);
    assert!(other.stderr.contains("--overwrite"), "{}", other.stderr);
    let table = bench.run(&format!("{line} --parameters p.csv")).exits(0).stdout;
    assert!(table.contains("SNR 30") && table.contains("without shell"), "{table}");
}

#[test]
fn design_writes_a_scheme_that_is_read() {
    let bench = Bench::new();
    let line = format!("{SEARCH} --max-gradient-T-per-m 0.08 --measurements 50 --min-directions 8");
    let json = bench.run(&format!("{line} --out s.csv --json")).exits(0).json();
    let design = &json["design"];
    assert!(design["criterion"].as_f64() < design["criterion_of_first_start"].as_f64());
    let table = ParameterTable::read(&bench.path("s.csv")).unwrap();
    let column = |name: &str| table.column(name).unwrap().to_vec();
    assert_eq!(table.n_rows(), 50);
    assert!(column("G_T_per_m").iter().all(|g| *g <= 0.08));
    for ((delta, big), te) in column("delta_s").iter().zip(column("Delta_s")).zip(column("TE_s")) {
        assert!(big - delta >= 0.006 - 1e-12 && big + delta + 0.015 <= te + 1e-12 && te <= 0.09);
    }
    // The same line again is the same file; the scheme is read, and judged as it was.
    bench.run(&format!("{line} --out s.csv")).exits(0);
    let read = bench.run("info scheme --scheme s.csv --json").exits(0).json();
    assert_eq!(read["measurements"], 50);
    let again = "info design --model 'stick + ball' --prior-draws 4 --scheme s.csv --json";
    let judged = bench.run(again).exits(0).json();
    let sd = |json: &serde_json::Value| json["quantities"][0]["sd_expected"].as_f64().unwrap();
    assert!((sd(&judged) / sd(&json["expected"]) - 1.0).abs() < 1e-6);
    // One that is given beside it is compared with.
    let both = bench.run(&format!("{line} --bval a.bval --bvec a.bvec --json")).exits(0).json();
    assert_eq!(both["reference"]["measurements"], MEASUREMENTS);
}

#[test]
fn design_refuses_what_cannot_be() {
    let bench = Bench::new();
    let judge = "info design --model ball_stick --bval a.bval --bvec a.bvec";
    let gradient = "--max-gradient-T-per-m 0.08";
    for (line, word) in [
        (SEARCH.to_string(), "--max-gradient-T-per-m"),
        (format!("{SEARCH} {gradient}"), "--measurements"),
        (format!("{SEARCH} --max-gradient-T-per-m 80 --measurements 50"), "T/m"),
        (format!("{SEARCH} --max-gradient-T-per-m -1 --measurements 50"), "positive"),
        (format!("{SEARCH} {gradient} --measurements 10"), "too few for 2 shells"),
        (format!("{SEARCH} {gradient} --measurements 50 --gap-ms 90"), "echo time"),
        (format!("{SEARCH} {gradient} --measurements 50 --min-delta-ms 9 --max-delta-ms 5"), "longest pulse"),
        (format!("{SEARCH} {gradient} --measurements 50 --targets stick.odi"), "stick.odi"),
        (format!("{SEARCH} {gradient} --measurements 50 --targets s0=x"), "s0=x"),
        (format!("{SEARCH} {gradient} --measurements 50 --criterion z"), "criterion z"),
        (format!("{SEARCH} {gradient} --measurements 50 --t2-ms 70"), "--snr-te-ms"),
        (format!("{SEARCH} {gradient} --measurements 50 --out s.npy"), ".csv"),
        (format!("{judge} --shells 3"), "--shells goes with --optimise"),
        (format!("{judge} --snr -3"), "-3"),
        (format!("{judge} --snr 20 --sigma 2"), "leave one out"),
        (format!("{judge} --prior-draws 0"), "--prior-draws 0"),
        (format!("{judge} --t2-ms 70"), "--snr-te-ms"),
        ("info design --model smt --bval a.bval --bvec a.bvec".into(), "spherical"),
        ("info design --model activeax --bval a.bval --bvec a.bvec".into(), "delta"),
        ("info design --model mte_noddi --optimise --measurements 50 --max-gradient-T-per-m 0.08".into(), "T2"),
    ] {
        let ended = bench.run(&line).exits(1);
        assert!(ended.stderr.contains(word), "{line}: {}", ended.stderr);
        assert!(!bench.exists("s.npy"));
    }
}
