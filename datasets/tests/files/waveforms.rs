//! Free waveforms and maps of gradient deviations.

use microtome_datasets::{GradientDeviations, SignalSource, read_scheme, read_waveforms};
use std::path::{Path, PathBuf};

use crate::bytes::{Nifti, gzip, npy, put};

fn floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Nothing, then two pulses of 8 samples, 20 apart, along y.
fn pulses(strength: f64) -> Vec<f64> {
    let mut g = vec![0.0; 2 * 30 * 3];
    for k in 0..8 {
        g[90 + 3 * k + 1] = strength;
        g[90 + 3 * (k + 20) + 1] = -strength;
    }
    g
}

#[test]
fn waveforms_are_measurement_time_axis() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, fortran, shape: &str, g: &[f64]| -> PathBuf {
        put(dir.path(), name, npy("<f8", fortran, shape, &floats(g)))
    };
    let path = file("w.npy", false, "(2, 30, 3)", &pulses(0.08));
    let a = read_waveforms(&path, 0.5, Some(60.0), Some(4000.0)).unwrap();
    // b = (gamma G delta)² (Delta - delta/3) with 4 and 10 ms.
    let b = (0.267_522_187_44_f64 * 0.08 * 4.0).powi(2) * (10.0 - 4.0 / 3.0);
    assert_eq!(a.b_ms_per_um2()[0], 0.0);
    assert!((a.b_ms_per_um2()[1] / b - 1.0).abs() < 1e-12);
    assert_eq!(a.directions()[1].map(f64::abs), [0.0, 1.0, 0.0]);
    assert_eq!((a.te_ms().unwrap()[1], a.tr_ms().unwrap()[0]), (60.0, 4000.0));
    let fault = |path: &Path, dt: f64| -> String {
        let text = read_waveforms(path, dt, None, None).unwrap_err().to_string();
        assert!(text.contains(&*path.file_name().unwrap().to_string_lossy()), "{text}");
        text
    };
    let flat = file("flat.npy", false, "(60, 3)", &pulses(0.08));
    assert!(fault(&flat, 0.5).contains("[measurement, time, 3]"));
    let axes = file("axes.npy", false, "(2, 3, 30)", &pulses(0.08));
    assert!(fault(&axes, 0.5).contains("[2, 3, 30]"));
    let fortran = file("fortran.npy", true, "(2, 30, 3)", &pulses(0.08));
    assert!(fault(&fortran, 0.5).contains("Fortran"));
    let units = file("units.npy", false, "(2, 30, 3)", &pulses(8000.0));
    assert!(fault(&units, 0.5).contains("T/m"));
    let mut open = pulses(0.08);
    open[90 + 1] = 0.0;
    let open = file("open.npy", false, "(2, 30, 3)", &open);
    assert!(fault(&open, 0.5).contains("measurement 1") && fault(&open, 0.5).contains("moment"));
    assert!(fault(&path, -1.0).contains("-1 ms apart"));
}

#[test]
fn shapes_and_repetition_times_in_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| read_scheme(&put(dir.path(), "s.csv", text));
    let table =
        "b_s_per_m2,gx,gy,gz,b_delta,TR_s\n0,,,,,3\n1e9,0,0,1,1,3\n2e9,,,,0,3\n2e9,0,1,0,-0.5,5\n";
    let a = read(table).unwrap().acquisition;
    let shapes: Vec<_> = (0..4).map(|i| a.b_delta(i)).collect();
    assert_eq!(shapes, [Some(1.0), Some(1.0), Some(0.0), Some(-0.5)]);
    assert_eq!(a.tr_ms().unwrap(), [3000.0, 3000.0, 3000.0, 5000.0]);
    let fault = |text: &str| read(text).unwrap_err().to_string();
    assert!(fault(&table.replace("-0.5", "-0.6")).contains("b_delta is -0.6"));
    assert!(fault(&table.replace("0,1,0,-0.5", "0,1,0,")).contains("b_delta is NaN"));
    let strength = "G_T_per_m,delta_s,Delta_s,gx,gy,gz,b_delta\n0.05,0.01,0.03,1,0,0,1\n";
    assert!(fault(strength).contains("b_delta goes with b"));
}

#[test]
fn deviations_fit_the_signals() {
    let dir = tempfile::tempdir().unwrap();
    let dwi = Nifti::new(&[3, 2, 2, 4], 64, vec![1.0; 48]);
    let dwi = put(dir.path(), "dwi.nii", dwi.bytes());
    let mask: Vec<f64> = (0..12).map(|v| f64::from(u8::from(v % 3 == 1))).collect();
    let mask = put(dir.path(), "mask.nii", Nifti::new(&[3, 2, 2], 64, mask).bytes());
    // Volume k of voxel v holds 0.01 k + 0.001 v; outside the mask it may be NaN.
    let stored: Vec<f64> = (0..108)
        .map(|i| {
            if i % 3 == 0 { f64::NAN } else { 0.01 * f64::from(i / 12) + 0.001 * f64::from(i % 12) }
        })
        .collect();
    let map = put(
        dir.path(),
        "grad_dev.nii.gz",
        gzip(&Nifti::new(&[3, 2, 2, 9], 64, stored.clone()).bytes()),
    );
    let source = SignalSource::open(&dwi, Some(&mask)).unwrap();
    let deviations = GradientDeviations::open(&map, &source).unwrap();
    let rows = deviations.read_rows(&source, 1..3).unwrap();
    for (r, v) in [4_u8, 7].into_iter().enumerate() {
        for k in 0..9 {
            let wanted = 0.01 * k as f64 + 0.001 * f64::from(v);
            assert_eq!(rows[9 * r + k], wanted);
        }
    }
    // The same rows as an array inside the mask, and as one of the whole file.
    let inside: Vec<f64> = [1, 4, 7, 10]
        .iter()
        .flat_map(|v| (0..9).map(|k| stored[v + 12 * k]).collect::<Vec<_>>())
        .collect();
    let inside = put(dir.path(), "inside.npy", npy("<f8", false, "(4, 9)", &floats(&inside)));
    let deviations = GradientDeviations::open(&inside, &source).unwrap();
    assert_eq!(deviations.read_rows(&source, 1..3).unwrap(), rows);
    let fault = |path: &Path, source: &SignalSource| -> String {
        let text = GradientDeviations::open(path, source).unwrap_err().to_string();
        assert!(text.contains(&*path.file_name().unwrap().to_string_lossy()), "{text}");
        text
    };
    let whole = SignalSource::open(&dwi, None).unwrap();
    assert!(fault(&map, &whole).contains("NaN"));
    assert!(fault(&inside, &whole).contains("4 rows"));
    assert!(fault(&mask, &source).contains("nine volumes"));
    let eight = put(dir.path(), "eight.npy", npy("<f8", false, "(4, 8)", &floats(&[0.0; 32])));
    assert!(fault(&eight, &source).contains("[voxel, 9]"));
    let total = put(dir.path(), "total.npy", npy("<f8", false, "(4, 9)", &floats(&[1.02; 36])));
    assert!(fault(&total, &source).contains("subtract the identity"));
}
