//! Real data sets, when they are there: the folder named by `MICROTOME_SHARED`,
//! or `../../shared` seen from this crate. Otherwise a word is printed.

use std::path::PathBuf;

use microtome_datasets::{FslTimes, Matrix, SignalSource, read_fsl, read_scheme, write_matrix};

fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MICROTOME_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

#[test]
fn small_images() {
    for (name, image, dims, measurements, b0, largest) in [
        ("small_101D", "small_101D.nii.gz", [6, 10, 10], 102, 1, 4065.0),
        ("small_64D", "small_64D.nii", [10, 10, 10], 65, 1, 1014.0),
        ("small_25", "small_25.nii.gz", [10, 8, 2], 26, 1, 2000.0),
    ] {
        let Some(image) = shared(&format!("data/dmri/{image}")) else { return };
        let bval = shared(&format!("data/dmri/{name}.bval")).unwrap();
        let acquisition =
            read_fsl(&bval, &bval.with_extension("bvec"), FslTimes::default()).unwrap();
        let source = SignalSource::open(&image, None).unwrap();
        assert_eq!(source.geometry().unwrap().dims, dims, "{name}");
        assert_eq!(
            (source.n_measurements(), acquisition.len()),
            (measurements, measurements),
            "{name}"
        );
        let top = acquisition.b_ms_per_um2().iter().copied().fold(0.0, f64::max) * 1000.0;
        let rows = source.read_rows(0..source.n_rows()).unwrap();
        let finite = rows.signals.iter().filter(|s| s.is_finite() && **s >= 0.0).count();
        println!(
            "{name}: {} voxels x {measurements}, {} b=0, {} shells, b to {top:.1} s/mm2, {finite} finite values, mean {:.4}",
            source.n_rows(),
            acquisition.b0_measurements().count(),
            acquisition.shells().len(),
            rows.signals.iter().sum::<f64>() / rows.signals.len() as f64,
        );
        assert_eq!(acquisition.b0_measurements().count(), b0, "{name}");
        assert!((top - largest).abs() < 60.0, "{name}: {top}");
        assert_eq!(finite, rows.signals.len(), "{name}");
    }
}

#[test]
fn white_matter_modelling_challenge() {
    let Some(scheme) = shared("data/dmri/isbi2015_wm_challenge/isbi_schemefile.txt") else {
        return;
    };
    let scheme = read_scheme(&scheme).unwrap().acquisition;
    let top = scheme.b_ms_per_um2().iter().copied().fold(0.0, f64::max);
    println!(
        "challenge: {} measurements, {} shells, b to {top:.2} ms/um2",
        scheme.len(),
        scheme.shells().len()
    );
    assert_eq!(scheme.len(), 3612);
    assert!((45.0..47.0).contains(&top), "{top}");
    let te = scheme.te_ms().unwrap();
    assert!(te.iter().all(|t| (49.0..=152.0 + 1e-9).contains(t)));
    let dir = tempfile::tempdir().unwrap();
    for part in ["genu.txt", "fornix.txt"] {
        let path = shared(&format!("data/dmri/isbi2015_wm_challenge/{part}")).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<Vec<f64>> = text
            .lines()
            .map(|l| l.split_whitespace().filter_map(|w| w.parse().ok()).collect())
            .filter(|l: &Vec<f64>| l.len() == 6)
            .collect();
        assert_eq!(lines.len(), 3612, "{part}");
        let values = (0..6).flat_map(|v| lines.iter().map(move |l| l[v])).collect();
        let npy = dir.path().join("x.npy");
        write_matrix(&npy, &Matrix { rows: 6, columns: 3612, values }).unwrap();
        let source = SignalSource::open(&npy, None).unwrap();
        let rows = source.read_rows(2..3).unwrap();
        assert!(rows.signals.iter().zip(&lines).all(|(s, l)| *s == l[2]));
        println!("challenge {part}: {} voxels x {}", source.n_rows(), source.n_measurements());
    }
}

#[test]
fn camino_schemes() {
    let Some(path) = shared("data/dmri/schemes/schemefile_hcp_wu_minn.scheme1") else { return };
    let scheme = read_scheme(&path).unwrap().acquisition;
    let folder = path.parent().unwrap();
    let times = FslTimes { delta_ms: Some(10.6), big_delta_ms: Some(43.1), ..FslTimes::default() };
    let table = read_fsl(
        &folder.join("bvals_hcp_wu_minn.txt"),
        &folder.join("bvecs_hcp_wu_minn.txt"),
        times,
    )
    .unwrap();
    assert_eq!((scheme.len(), table.len()), (288, 288));
    assert_eq!(table.b0_measurements().count(), 18);
    for (a, b) in scheme.b_ms_per_um2().iter().zip(table.b_ms_per_um2()) {
        assert!((a - b).abs() < 1e-3, "{a} is not {b}");
    }
    println!("Wu-Minn: {} measurements, {} shells from b", table.len(), table.shells().len());

    let signals = shared("data/dmri/camino_mc/data_camino_D1_7.txt").unwrap();
    let text = std::fs::read_to_string(signals).unwrap();
    println!(
        "Monte Carlo: {} lines of {}",
        text.lines().count(),
        text.lines().next().unwrap().split_whitespace().count()
    );

    let path = shared("data/dmri/desantis_camino/deSantis_scheme.scheme").unwrap();
    let scheme = read_scheme(&path).unwrap().acquisition;
    println!("de Santis: {} measurements, {} shells", scheme.len(), scheme.shells().len());
}

#[test]
fn reference_table() {
    let Some(path) = shared("reference/microstructure/acquisition.csv") else { return };
    let scheme = read_scheme(&path).unwrap();
    assert_eq!(scheme.acquisition.len(), 112);
    println!("reference: {} shells", scheme.acquisition.shells().len());
    let labels = scheme.shell_labels.unwrap();
    // The labels of the table are our shells under other names.
    for (i, a) in labels.iter().enumerate() {
        for (j, b) in labels.iter().enumerate() {
            let same = scheme.acquisition.shell_of()[i] == scheme.acquisition.shell_of()[j];
            assert_eq!(a == b, same, "measurements {i} and {j}");
        }
    }
}
