//! Projectors against dense matrices made without this library, and the transpose on
//! random geometries.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::{Projector, Real};
use microtome_models::ct::{
    Geometry, GeometryKind, RayTransform, TrajectoryKind, TrajectorySpec, VolumeGrid,
};
use proptest::prelude::*;
use rand::RngExt;
use std::collections::BTreeMap;

/// The arrays of every case of `tests/golden/ct.csv`.
fn golden() -> BTreeMap<String, (GeometryKind, BTreeMap<String, Vec<f64>>)> {
    let mut cases: BTreeMap<String, (GeometryKind, BTreeMap<String, Vec<f64>>)> = BTreeMap::new();
    let text = include_str!("../../../tests/golden/ct.csv");
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut cells = line.split(',');
        let (case, array) = (cells.next().unwrap(), cells.next().unwrap());
        if array == "kind" {
            let kind = GeometryKind::parse(cells.next().unwrap()).unwrap();
            cases.insert(case.into(), (kind, BTreeMap::new()));
        } else {
            let values = cells.map(|c| c.parse().unwrap()).collect();
            cases.get_mut(case).unwrap().1.insert(array.into(), values);
        }
    }
    cases
}

fn whole(values: &[f64]) -> Vec<usize> {
    values.iter().map(|v| *v as usize).collect()
}

fn of_case(
    kind: GeometryKind,
    arrays: &BTreeMap<String, Vec<f64>>,
    projector: Projector,
) -> RayTransform {
    let detector = match whole(&arrays["detector"])[..] {
        [nu] => [1, nu],
        [nv, nu] => [nv, nu],
        _ => panic!("detector"),
    };
    let geometry = Geometry::new(kind, detector, &arrays["views"]).unwrap();
    let volume =
        VolumeGrid::new(&whole(&arrays["shape"]), &arrays["voxel"], &arrays["centre"]).unwrap();
    RayTransform::new(geometry, volume, projector).unwrap()
}

/// The greatest difference over the greatest value.
fn gap<T: Real>(found: &[T], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let gaps = found.iter().zip(expected).map(|(f, e)| (f.wide() - e).abs());
    gaps.fold(0.0, f64::max) / greatest
}

fn narrow<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::narrow(*v)).collect()
}

/// Sums of at most some hundred products of numbers that float32 holds exactly.
#[test]
fn equals_dense_matrices() {
    let cases = golden();
    assert_eq!(cases.len(), 5);
    for (name, (kind, arrays)) in &cases {
        for projector in Projector::SLICEWISE {
            let transform = of_case(*kind, arrays, projector);
            let expected = |what: &str| arrays[&format!("{}_{what}", projector.name())].as_slice();
            let (x, y) = (&arrays["volume"], &arrays["projections"]);
            let wide = [
                gap(&transform.apply(x).unwrap(), expected("forward")),
                gap(&transform.adjoint(y).unwrap(), expected("adjoint")),
            ];
            assert!(wide.iter().all(|g| *g < 1e-13), "{name} {projector:?} {wide:?}");
            let single = [
                gap(&transform.apply::<f32>(&narrow(x)).unwrap(), expected("forward")),
                gap(&transform.adjoint::<f32>(&narrow(y)).unwrap(), expected("adjoint")),
            ];
            assert!(single.iter().all(|g| *g < 1e-6), "{name} {projector:?} {single:?}");
        }
    }
}

/// A set-up of any kind: thin and small volumes, anisotropic voxels, turned axes, sources
/// near and inside, and with `lattice` rays along axes, diagonals and cell faces.
fn random_set_up(seed: u64, lattice: bool, projector: Projector) -> RayTransform {
    let mut rng = PhiloxRng::new(seed, 0, 0);
    let kind = GeometryKind::ALL[rng.random_range(0..4)];
    let d = kind.dimensions();
    let shape: Vec<usize> = (0..d).map(|_| rng.random_range(1..12)).collect();
    let mut number = |low: f64, high: f64, steps: f64| {
        let v = low + (high - low) * rng.random::<f64>();
        if lattice { (v * steps).round() / steps } else { v }
    };
    let voxel: Vec<f64> =
        (0..d).map(|_| if lattice { 1.0 } else { number(0.3, 2.5, 1.0) }).collect();
    let centre: Vec<f64> = (0..d).map(|_| number(-2.0, 2.0, 2.0)).collect();
    let mut volume = VolumeGrid::new(&shape, &voxel, &centre).unwrap();
    if !lattice && number(0.0, 1.0, 1.0) < 0.5 {
        let (s, c) = number(0.0, 6.3, 1.0).sin_cos();
        let axes = if d == 2 {
            vec![vec![-s, c], vec![c, s]]
        } else {
            // z and x turned about y.
            vec![vec![-s, 0.0, c], vec![0.0, 1.0, 0.0], vec![c, 0.0, s]]
        };
        volume = volume.with_axes(&axes).unwrap();
    }
    let detector = [if d == 2 { 1 } else { 4 }, 9];
    let mut rows = Vec::new();
    while rows.len() < 5 * kind.width() {
        let span = if kind.is_parallel() { 1.0 } else { 8.0 };
        let first: Vec<f64> = (0..d).map(|_| number(-span, span, 2.0)).collect();
        let det: Vec<f64> = (0..d).map(|_| number(-9.0, 9.0, 2.0)).collect();
        let steps: Vec<f64> = (0..d * (d - 1)).map(|_| number(-1.5, 1.5, 2.0)).collect();
        let row = [first, det, steps].concat();
        if Geometry::new(kind, detector, &row).is_ok() {
            rows.extend(row);
        }
    }
    let geometry = Geometry::new(kind, detector, &rows).unwrap();
    RayTransform::new(geometry, volume, projector).unwrap()
}

/// |<Ax, y> - <x, A'y>| / (|Ax| |y|), and |Ax|.
fn transpose_gap<T: Real>(transform: &RayTransform, seed: u64) -> (f64, f64) {
    let mut rng = PhiloxRng::new(seed, 1, 0);
    let mut numbers = |n: usize, low: f64| -> Vec<T> {
        (0..n).map(|_| T::narrow(low + (1.0 - low) * rng.random::<f64>())).collect()
    };
    let x = numbers(transform.volume().len(), 0.0);
    let y = numbers(transform.n_rays(), -1.0);
    let ax = transform.apply(&x).unwrap();
    let aty = transform.adjoint(&y).unwrap();
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum::<f64>();
    let norm = dot(&ax, &ax).sqrt();
    let scale = (norm * dot(&y, &y).sqrt()).max(f64::MIN_POSITIVE);
    ((dot(&ax, &y) - dot(&x, &aty)).abs() / scale, norm)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]
    #[test]
    fn transposes_on_random_geometries(seed in any::<u64>(), lattice in any::<bool>()) {
        for projector in [Projector::Siddon, Projector::Joseph, Projector::Trilinear] {
            let transform = random_set_up(seed, lattice, projector);
            let (gap, _) = transpose_gap::<f64>(&transform, seed);
            prop_assert!(gap <= 1e-13, "{projector:?} f64 {gap:e}");
            let (gap, _) = transpose_gap::<f32>(&transform, seed);
            prop_assert!(gap <= 1e-6, "{projector:?} f32 {gap:e}");
        }
    }
}

/// Most of the random set-ups have rays that meet the volume.
#[test]
fn random_set_ups_are_not_empty() {
    let met = (0..100).filter(|seed| {
        let transform = random_set_up(*seed, seed % 2 == 0, Projector::Siddon);
        transpose_gap::<f64>(&transform, *seed).1 > 0.0
    });
    assert!(met.count() > 80);
}

/// Turning the volume and all views together changes nothing.
#[test]
fn turned_set_up_gives_equal_projections() {
    let (s, c) = 0.7_f64.sin_cos();
    let (st, ct) = 0.4_f64.sin_cos();
    // Rows: images of x, y, z.
    let turn = [[c, s, 0.0], [-s * ct, c * ct, st], [s * st, -c * st, ct]];
    let world = |p: &[f64]| -> Vec<f64> {
        (0..3).map(|i| (0..3).map(|k| p[k] * turn[k][i]).sum()).collect()
    };
    let (shape, voxel) = ([4, 5, 6], [1.3, 0.8, 1.0]);
    let centre = [0.3, -0.2, 0.5];
    let mut spec = TrajectorySpec::circular(5, &[1.4, 1.1]);
    spec.kind = TrajectoryKind::Random;
    spec.source_to_axis_mm = Some(20.0);
    spec.axis_to_detector_mm = Some(9.0);
    let plain = spec.geometry(GeometryKind::Cone3d, [5, 6]).unwrap();
    let rows: Vec<f64> = plain.rows().chunks(3).flat_map(world).collect();
    let turned = Geometry::new(GeometryKind::Cone3d, [5, 6], &rows).unwrap();
    let there = world(&[centre[2], centre[1], centre[0]]);
    let axes: Vec<Vec<f64>> = turn.iter().rev().map(|a| a.to_vec()).collect();
    let x: Vec<f64> = (0..120).map(|i| f64::from(i * 37 % 101)).collect();
    for projector in Projector::SLICEWISE {
        let volume = VolumeGrid::new(&shape, &voxel, &centre).unwrap();
        let a = RayTransform::new(plain.clone(), volume, projector).unwrap();
        let volume = VolumeGrid::new(&shape, &voxel, &[there[2], there[1], there[0]])
            .unwrap()
            .with_axes(&axes)
            .unwrap();
        let b = RayTransform::new(turned.clone(), volume, projector).unwrap();
        let (ya, yb) = (a.apply(&x).unwrap(), b.apply(&x).unwrap());
        assert!(gap(&yb, &ya) < 1e-11, "{projector:?} {}", gap(&yb, &ya));
    }
}

/// Rows of `cone3d_helix`, `disc_fan2d` and `astra2d` of the reference.
#[test]
fn trajectories_equal_reference_rows() {
    let close = |found: &[f64], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-5), "{found:?}");
    };
    let mut helix = TrajectorySpec::circular(16, &[4.8, 4.8]);
    helix.kind = TrajectoryKind::Helical;
    helix.range_deg = Some(720.0);
    helix.source_to_axis_mm = Some(200.0);
    helix.axis_to_detector_mm = Some(100.0);
    helix.pitch_mm = Some(32.0);
    let rows = helix.geometry(GeometryKind::Cone3d, [24, 48]).unwrap().rows();
    let (a, b, c) = (141.42136, 70.71068, 3.39411);
    close(&rows[..12], &[0.0, -200.0, -30.0, 0.0, 100.0, -30.0, 4.8, 0.0, 0.0, 0.0, 0.0, 4.8]);
    close(&rows[12..24], &[a, -a, -26.0, -b, b, -26.0, c, c, 0.0, 0.0, 0.0, 4.8]);
    let mut fan = TrajectorySpec::circular(120, &[1.5]);
    fan.source_to_axis_mm = Some(200.0);
    fan.axis_to_detector_mm = Some(100.0);
    let rows = fan.geometry(GeometryKind::Fan2d, [1, 192]).unwrap().rows();
    close(&rows[6..12], &[10.46719, -199.72591, -5.23360, 99.86295, 1.49794, 0.07850]);
    let parallel = TrajectorySpec::circular(90, &[1.0]);
    let rows = parallel.geometry(GeometryKind::Parallel2d, [1, 192]).unwrap().rows();
    close(&rows[6..12], &[0.0348995, -0.9993908, 0.0, 0.0, 0.9993908, 0.0348995]);
}

/// The norm and the sums of the dense matrix of a small set-up; subsets are rows of it.
#[test]
fn norm_and_sums() {
    let mut spec = TrajectorySpec::circular(4, &[1.1]);
    spec.source_to_axis_mm = Some(12.0);
    spec.axis_to_detector_mm = Some(5.0);
    let geometry = spec.geometry(GeometryKind::Fan2d, [1, 8]).unwrap();
    let volume = VolumeGrid::new(&[3, 4], &[1.0, 1.2], &[0.0, 0.0]).unwrap();
    let a = RayTransform::new(geometry, volume, Projector::Joseph).unwrap();
    let columns: Vec<Vec<f64>> = (0..12)
        .map(|j| {
            let mut x = vec![0.0; 12];
            x[j] = 1.0;
            a.apply(&x).unwrap()
        })
        .collect();
    let row_sums = a.row_sums::<f64>().unwrap();
    for (i, sum) in row_sums.iter().enumerate() {
        assert!((sum - columns.iter().map(|c| c[i]).sum::<f64>()).abs() < 1e-13);
    }
    for (sum, column) in a.column_sums::<f64>().unwrap().iter().zip(&columns) {
        assert!((sum - column.iter().sum::<f64>()).abs() < 1e-12);
    }
    // The Gram matrix, and a bound from each side: |A| is where t I - A'A stops being
    // positive definite, by Cholesky.
    let gram = |j: usize, k: usize| -> f64 {
        columns[j].iter().zip(&columns[k]).map(|(a, b)| a * b).sum()
    };
    let definite = |t: f64| {
        let mut m: Vec<Vec<f64>> = (0..12)
            .map(|j| (0..12).map(|k| if j == k { t } else { 0.0 } - gram(j, k)).collect())
            .collect();
        (0..12).all(|j| {
            let pivot = m[j][j];
            let (done, below) = m.split_at_mut(j + 1);
            for row in below {
                let factor = row[j] / pivot;
                row.iter_mut().zip(&done[j]).for_each(|(v, top)| *v -= factor * top);
            }
            pivot > 0.0
        })
    };
    let norm = a.norm().unwrap();
    assert!(definite((norm * (1.0 + 1e-5)).powi(2)) && !definite((norm * (1.0 - 1e-5)).powi(2)));
    let some = a.subset(&[3, 1]).unwrap();
    let x: Vec<f64> = (0..12).map(f64::from).collect();
    let (all, part) = (a.apply(&x).unwrap(), some.apply(&x).unwrap());
    assert_eq!(part, [&all[24..], &all[8..16]].concat());
    assert!(a.subset(&[4]).is_err() && a.apply(&x[1..]).is_err() && a.adjoint(&x).is_err());
}
