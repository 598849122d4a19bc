//! Scheme files in all their forms.

use microtome_datasets::{Result, SchemeFile, read_scheme};

use crate::bytes::put;

fn read(text: &str) -> Result<SchemeFile> {
    let dir = tempfile::tempdir().unwrap();
    read_scheme(&put(dir.path(), "s.scheme", text))
}

fn fault(text: &str) -> String {
    let text = read(text).unwrap_err().to_string();
    assert!(text.contains("s.scheme"), "{text}");
    text
}

#[test]
fn stejskal_tanner_with_and_without_a_version() {
    let rows = "0.5 0.5 0.5 0.0 0.0431 0.0106 0.0653\n1 0 0 0.0560640556028 0.0431 0.0106 0.0653\n";
    let a = read(&format!("# comment\nVERSION: STEJSKALTANNER   \n{rows}")).unwrap();
    let b = read(&format!("VERSION: 1\n\n{rows}")).unwrap();
    let c = read(&format!("%--dir-x---dir-y\n{rows}")).unwrap();
    assert!(a == b && b == c);
    let t = a.acquisition.timing().unwrap();
    assert!((t.big_delta_ms[1] - 43.1).abs() < 1e-12 && (t.delta_ms[1] - 10.6).abs() < 1e-12);
    assert!((a.acquisition.te_ms().unwrap()[0] - 65.3).abs() < 1e-12);
    // b of the Wu-Minn scheme, 1000 s/mm2, with its gamma of 267.513e6.
    let b = a.acquisition.b_ms_per_um2()[1] * (267.513e6 / 2.675_221_874_4e8_f64).powi(2);
    assert!((b - 1.0).abs() < 1e-6, "{b}");
}

#[test]
fn bvector_is_in_si() {
    let a = read("VERSION: BVECTOR\n0 0 0 0\n0 1 0 1.0E09\n0 0 1 2.5E09\n").unwrap().acquisition;
    for (b, wanted) in a.b_ms_per_um2().iter().zip([0.0, 1.0, 2.5]) {
        assert!((b - wanted).abs() < 1e-12);
    }
    assert!(a.timing().is_none());
    assert!(fault("VERSION: BVECTOR\n0 1 0 1000\n").contains("1e6"));
}

#[test]
fn a_te_column_of_zeros_is_no_te() {
    assert!(read("1 0 0 0.06 0.04 0.01 0\n").unwrap().acquisition.te_ms().is_none());
}

#[test]
fn camino_faults_are_named() {
    assert!(fault("VERSION: 3\n1 0 0 1\n").contains("version `3`"));
    assert!(fault("VERSION: 1\n1 0 0 0.06 0.04 0.01\n").contains("line 2"));
    assert!(fault("1 0 0 0.06 0.04 0.01 x\n").contains("`x`"));
    assert!(fault("1 0 0 0.06 0.04 0.01 0.1\nVERSION: 1\n").contains("line 2"));
    assert!(fault("2 0 0 0.06 0.04 0.01 0.1\n").contains("length 2"));
    // Times in ms give absurd b-values; delta > Delta is refused.
    assert!(fault("1 0 0 0.06 40 10 100\n").contains("wrong unit"));
    assert!(fault("1 0 0 0.06 0.01 0.04 0.1\n").contains("delta <= Delta"));
    assert!(fault("# only a comment\n").contains("no measurements"));
    assert!(fault("VERSION: 1\n").contains("no measurements"));
}

const CSV: &str = "shell,meas,b_s_per_m2,gx,gy,gz,delta_s,Delta_s,tau_s,q_per_m,G_T_per_m\n\
    7,0,0,1,1,0,0.0129,0.0218,0.0175,0,0\n\
    8,1,1000000000,-0.767693676234,0.396824715488,0.503166537686,0.0129,0.0218,0.0175,38045.3082601,0.0692701891636\n";

#[test]
fn a_table_is_read_by_name() {
    let s = read(CSV).unwrap();
    assert_eq!(s.shell_labels, Some(vec![7, 8]));
    assert!((s.acquisition.b_ms_per_um2()[1] - 1.0).abs() < 1e-14);
    assert!((s.acquisition.shells()[1].q_per_um().unwrap() - 0.038_045_308).abs() < 1e-8);
    let nan = read("b_s_per_m2,gx,gy,gz\n0,nan,nan,nan\n1e9,0,0,1\n").unwrap();
    assert_eq!(nan.acquisition.len(), 2);
    assert!(nan.acquisition.timing().is_none() && nan.shell_labels.is_none());
    let blank = read("b_s_per_m2,gx,gy,gz\n0,,,\n1e9,0,0,1\n").unwrap();
    assert_eq!(blank.acquisition, nan.acquisition);
    assert!(read("b_s_per_m2,gx,gy,gz\n0,0,0,0\n,0,0,1\n").is_err());
    assert!(read("b_s_per_m2,gx,gy,gz\n0,0,0,0\n1e9,0,,1\n").is_err());
    let strength =
        read("G_T_per_m,delta_s,Delta_s,gx,gy,gz\n0.0692701891636,0.0129,0.0218,0,0,1\n").unwrap();
    // That gradient belongs to b = 1 with a gamma of 267.513e6.
    let b = strength.acquisition.b_ms_per_um2()[0] * (267.513e6 / 2.675_221_874_4e8_f64).powi(2);
    assert!((b - 1.0).abs() < 1e-9, "{strength:?}");
}

#[test]
fn table_faults_are_named() {
    assert!(fault(&CSV.replace("meas", "measure")).contains("`measure`"));
    assert!(fault(&CSV.replace("0.0692701891636", "0.0694")).contains("`G_T_per_m`"));
    assert!(fault(&CSV.replace("38045.3082601", "38145")).contains("`q_per_m`"));
    assert!(fault(&CSV.replace("0.0175,0,0", "0.0185,0,0")).contains("`tau_s`"));
    assert!(fault(&CSV.replace("0.0175,0,0", "0.0175,100,0")).contains("`q_per_m`"));
    assert!(fault("b_s_per_m2,gx,gy,gz,delta_s\n1e9,0,0,1,0.01\n").contains("`Delta_s`"));
    assert!(fault("b_s_per_m2,gx,gy\n1e9,0,1\n").contains("`gz`"));
    assert!(fault("gx,gy,gz\n0,0,1\n").contains("`b_s_per_m2`"));
    assert!(fault("G_T_per_m,gx,gy,gz\n0.06,0,0,1\n").contains("`delta_s`"));
    assert!(fault("b_s_per_m2,gx,gy,gz\n1000,0,0,1\n").contains("1e6"));
    assert!(fault("b_s_per_m2,gx,gy,gz\n1e9,0,0,1.01\n").contains("length 1.01"));
    assert!(fault("b_s_per_m2,gx,gy,gz,shell\n1e9,0,0,1,0.5\n").contains("shell 0.5"));
    assert!(fault("b_s_per_m2,gx,gy,gz\n1e9,0,0\n").contains("line 2"));
    // Within 1e-3 nothing is said.
    assert!(read(&CSV.replace("0.0692701891636", "0.06932")).is_ok());
}
