//! Beside ASTRA and the golden table.

use super::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Reads float32 of a `.npy` file.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let four = |c: &[u8]| f32::from_le_bytes([c[0], c[1], c[2], c[3]]);
    bytes[begin..].chunks_exact(4).map(four).collect()
}

fn npy64(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let eight = |c: &[u8]| f64::from_le_bytes(c.try_into().unwrap());
    bytes[begin..].chunks_exact(8).map(eight).collect()
}

/// ASTRA computes in float32. SIRT forgets that; conjugate directions in float32 lose their
/// angles after some ten steps, so that twenty of CGLS are told apart by their rounding: the
/// same formulas in NumPy are 7.6e-3 from ASTRA's image in float32 and 1.8e-2 in float64.
#[test]
fn sirt_and_cgls_equal_astra() {
    let folder: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/ct/astra2d");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let volume = VolumeGrid::new(&[128, 128], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    for (views, kind, projector, name) in [
        ("views_par.npy", GeometryKind::Parallel2d, Projector::Joseph, "par_linear"),
        ("views_par.npy", GeometryKind::Parallel2d, Projector::Siddon, "par_line"),
        ("views_fan.npy", GeometryKind::Fan2d, Projector::Siddon, "fan_line_fanflat"),
    ] {
        let rows = npy64(&folder.join(views));
        let geometry = microtome_models::ct::Geometry::new(kind, [1, 192], &rows).unwrap();
        let a = RayTransform::new(geometry, volume.clone(), projector).unwrap();
        let y = npy(&folder.join(format!("{name}_sino.npy")));
        let problem = Problem::new(&a, &y).unwrap();
        // CGLS in float32 has lost its conjugacy by then: the same formulas in NumPy are 7.6e-3
        // (float32) and 1.8e-2 (float64) from ASTRA.
        for (algorithm, iterations, tolerance) in
            [(Algorithm::Sirt, 50, 2e-4), (Algorithm::Cgls, 20, 2.5e-2)]
        {
            let (x, _) = solve(algorithm, &problem, &Settings::default(), iterations);
            let expected = npy(&folder.join(format!("{name}_{}.npy", algorithm.name())));
            let gap = distance(&widen(&x), &widen(&expected)) / size(&widen(&expected));
            eprintln!("{name} {algorithm:?}: relative difference {gap:.1e}");
            assert!(gap < tolerance, "{name} {algorithm:?} {gap:e}");
        }
    }
}

/// A small disc by ASTRA, beside the formulas of CGLS in float64 on ASTRA's own matrix: what
/// is left to ASTRA's image after 20 iterations of CGLS is its float32.
#[test]
fn sirt_and_cgls_equal_the_golden_table() {
    let table: HashMap<&str, Vec<f64>> = include_str!("../../../../tests/golden/iterative.csv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, numbers) = line.split_once(',').unwrap();
            (name, numbers.split(',').map(|v| v.parse().unwrap()).collect())
        })
        .collect();
    let [n, nu, views] = [0, 1, 2].map(|k| table["size"][k] as usize);
    let volume = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let kind = GeometryKind::Parallel2d;
    let geometry = microtome_models::ct::Geometry::new(kind, [1, nu], &table["views"]).unwrap();
    assert_eq!(geometry.n_views(), views);
    let settings = Settings::default();
    for (name, projector) in [("joseph", Projector::Joseph), ("siddon", Projector::Siddon)] {
        let a = RayTransform::new(geometry.clone(), volume.clone(), projector).unwrap();
        let y = &table[format!("{name}_projections").as_str()];
        let ax = a.apply(&table["image"]).unwrap();
        let gap = |x: &[f64], row: &str| {
            let expected = &table[format!("{name}_{row}").as_str()];
            distance(x, expected) / size(expected)
        };
        assert!(gap(&ax, "projections") < 1e-6);
        let wide = Problem::new(&a, y).unwrap();
        let single = narrow(y);
        let short = Problem::new(&a, &single).unwrap();
        let sirt = solve(Algorithm::Sirt, &wide, &settings, 50).0;
        let sirt_short = widen(&solve(Algorithm::Sirt, &short, &settings, 50).0);
        let cgls = solve(Algorithm::Cgls, &wide, &settings, 20).0;
        let cgls_short = widen(&solve(Algorithm::Cgls, &short, &settings, 20).0);
        let gaps = [
            gap(&sirt, "sirt"),
            gap(&sirt_short, "sirt"),
            gap(&cgls, "cgls_numpy"),
            gap(&cgls, "cgls"),
            gap(&cgls_short, "cgls"),
        ];
        println!("{name}: {gaps:?}");
        // ASTRA's matrix is of single precision, and its own CGLS(20) in single precision is as far
        // from that in double precision as ours is from either.
        let limits = [2e-6, 2e-6, 5e-3, 1e-2, 5e-3];
        assert!(gaps.iter().zip(limits).all(|(g, limit)| *g < limit), "{name} {gaps:?}");
    }
}
