//! The embedded demonstration block.

use microtome_datasets::{ParameterTable, SignalSource, demo, read_fsl};

#[test]
fn the_block_is_what_its_truth_predicts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new");
    let files = demo::write_demo(&folder).unwrap();
    let acquisition = read_fsl(&files.bval, &files.bvec, demo::TIMES).unwrap();
    assert_eq!(acquisition.len(), 90);
    assert_eq!(acquisition.b0_measurements().count(), 6);
    let shells: Vec<f64> = acquisition.shells().iter().map(|s| s.b).collect();
    assert_eq!(shells, [0.0, 0.7, 1.5, 3.0]);
    for s in 1..4 {
        assert_eq!(acquisition.shell_of().iter().filter(|&&x| x == s).count(), 28);
    }
    let source = SignalSource::open(&files.image, None).unwrap();
    assert_eq!((source.n_rows(), source.n_measurements()), (576, 90));
    assert_eq!(source.geometry().unwrap().dims, [12, 12, 4]);
    let truth = ParameterTable::read(&files.truth).unwrap();
    let column = |name: &str| truth.column(name).unwrap();
    let signals = source.read_rows(0..576).unwrap().signals;
    // For a Rician magnitude, E[M^2] = A^2 + 2 sigma^2 and
    // Var(M^2) = 4 sigma^2 (A^2 + sigma^2): standardised, then averaged.
    let (mut sum, mut squares, variance) = (0.0, 0.0, demo::SIGMA * demo::SIGMA);
    for v in 0..576 {
        assert_eq!(column("voxel")[v], v as f64);
        let mu = ["stick.mu_x", "stick.mu_y", "stick.mu_z"].map(|n| column(n)[v]);
        assert!((mu.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-6);
        let f = column("stick.fraction")[v];
        assert!((f + column("ball.fraction")[v] - 1.0).abs() < 1e-7 && (0.2..=0.75).contains(&f));
        for (m, g) in acquisition.directions().iter().enumerate() {
            let b = acquisition.b_ms_per_um2()[m];
            let t = g[0] * mu[0] + g[1] * mu[1] + g[2] * mu[2];
            let stick = (-b * column("stick.lambda_par")[v] * t * t).exp();
            let ball = (-b * column("ball.lambda_iso")[v]).exp();
            let a = column("s0")[v] * (f * stick + (1.0 - f) * ball);
            let z = (signals[v * 90 + m].powi(2) - a * a - 2.0 * variance)
                / (4.0 * variance * (a * a + variance)).sqrt();
            sum += z;
            squares += z * z;
        }
    }
    let n = 576.0 * 90.0;
    assert!((sum / n).abs() < 5.0 / f64::sqrt(n), "mean {}", sum / n);
    // The fourth moment is at most that of an exponential, 9: sd of z^2 <= sqrt(8).
    assert!((squares / n - 1.0).abs() < 5.0 * f64::sqrt(8.0 / n), "variance {}", squares / n);
}

#[test]
fn the_block_is_small() {
    let bytes = demo::IMAGE.len() + demo::BVAL.len() + demo::BVEC.len() + demo::TRUTH.len();
    assert!(bytes < 1_000_000, "{bytes} bytes");
}
