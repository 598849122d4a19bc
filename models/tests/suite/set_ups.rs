//! Curved detectors, rigid transforms, shifts, binning and crops: what they do to
//! projections.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{
    BinRule, Geometry, GeometryKind, RayTransform, Reduction, RigidTransform, Surface,
    TrajectoryKind, TrajectorySpec, VolumeGrid,
};
use rand::RngExt;

const ARC: Surface = Surface::Cylinder { radius: None };

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = PhiloxRng::new(seed, 0, 0);
    (0..n).map(|_| rng.random::<f64>()).collect()
}

fn path(pixel: &[f64]) -> TrajectorySpec {
    TrajectorySpec {
        source_to_axis_mm: Some(20.0),
        axis_to_detector_mm: Some(11.0),
        ..TrajectorySpec::circular(7, pixel)
    }
}

fn volume(d: usize) -> VolumeGrid {
    let (shape, voxel) = ([5, 8, 9], [1.3, 0.8, 1.0]);
    VolumeGrid::new(&shape[3 - d..], &voxel[3 - d..], &[0.3, -0.2, 0.5][3 - d..]).unwrap()
}

/// Every column of a curved detector as a flat detector of one column: equal rays. The
/// columns of an equiangular arc are worked out here from the angle alone.
#[test]
fn a_curved_detector_is_its_pixels() {
    for (kind, nv, offset) in [
        (GeometryKind::Fan2d, 1, vec![0.0]),
        (GeometryKind::Fan2d, 1, vec![2.5]),
        (GeometryKind::Cone3d, 4, vec![0.7, -1.5]),
    ] {
        let d = kind.dimensions();
        let mut spec = path(&[1.5, 1.1][3 - d..]);
        spec.detector_offset_mm = Some(offset.clone());
        let nu = 13;
        let curved = spec.geometry_on(kind, [nv, nu], ARC).unwrap();
        let x = numbers(volume(d).len(), 1);
        for projector in Projector::SLICEWISE {
            let a = RayTransform::new(curved.clone(), volume(d), projector).unwrap();
            let found = a.apply(&x).unwrap();
            for iu in 0..nu {
                let shift = offset[d - 2] + (iu as f64 - 6.0) * 1.1;
                let mut rows = Vec::new();
                for k in 0..7 {
                    let theta = std::f64::consts::TAU * k as f64 / 7.0;
                    let (s, c) = (theta - shift / 31.0).sin_cos();
                    let (s0, c0) = theta.sin_cos();
                    let source = [20.0 * s0, -20.0 * c0, 0.0];
                    let z = if d == 3 { offset[0] } else { 0.0 };
                    let pixel = [source[0] - 31.0 * s, source[1] + 31.0 * c, z];
                    rows.extend([&source[..d], &pixel[..d], &[c, s, 0.0][..d]].concat());
                    rows.extend(&[0.0, 0.0, 1.5][..3 * (d - 2)]);
                }
                let column = Geometry::new(kind, [nv, 1], &rows).unwrap();
                let b = RayTransform::new(column, volume(d), projector).unwrap();
                let expected = b.apply(&x).unwrap();
                let found: Vec<f64> = found.iter().skip(iu).step_by(nu).copied().collect();
                let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f64::max) < 1e-11, "{kind:?} {projector:?} {iu}");
            }
            assert!(found.iter().any(|v| *v > 0.0));
        }
    }
}

/// Arcs of almost half a turn, so that a view has rays of several main axes and senses,
/// and one that is not about the source.
#[test]
fn curved_detectors_have_exact_transposes() {
    for kind in [GeometryKind::Fan2d, GeometryKind::Cone3d] {
        let d = kind.dimensions();
        for radius in [None, Some(5.0), Some(60.0)] {
            // The source inside of the volume, too.
            for source in [20.0, 1.0] {
                let mut spec = path(&[6.0, 0.15 * radius.unwrap_or(source + 11.0)][3 - d..]);
                spec.source_to_axis_mm = Some(source);
                if d == 3 {
                    spec.kind = TrajectoryKind::Random;
                }
                let nv = if d == 2 { 1 } else { 5 };
                let surface = Surface::Cylinder { radius };
                let g = spec.geometry_on(kind, [nv, 39], surface).unwrap();
                for projector in Projector::SLICEWISE {
                    let a = RayTransform::new(g.clone(), volume(d), projector).unwrap();
                    let (x, y) = (numbers(a.volume().len(), 2), numbers(a.n_rays(), 3));
                    let (ax, aty) = (a.apply(&x).unwrap(), a.adjoint(&y).unwrap());
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let (left, right): (f64, f64) = (dot(&ax, &y), dot(&x, &aty));
                    assert!(left > 0.0 && (left - right).abs() < 1e-13 * left, "{left} {right}");
                }
            }
        }
    }
}

#[test]
fn impossible_surfaces_are_refused() {
    let says = |spec: &TrajectorySpec, kind, nu, surface, text: &str| {
        let found = spec.geometry_on(kind, [1, nu], surface).unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    };
    let fan = GeometryKind::Fan2d;
    let parallel = TrajectorySpec::circular(3, &[1.0]);
    says(&parallel, GeometryKind::Parallel2d, 4, ARC, "detector_shape");
    let radius = |r| Surface::Cylinder { radius: Some(r) };
    says(&path(&[1.0]), fan, 4, radius(0.0), "detector_radius_mm");
    says(&path(&[1.0]), fan, 4, radius(f64::NAN), "detector_radius_mm");
    says(&path(&[1.0]), fan, 400, ARC, "more than a turn");
    says(&path(&[1.0]), fan, 4, radius(15.5), "on the cylinder");
}

fn far(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()))
}

/// Two flat and two curved geometries.
fn geometries() -> Vec<(Geometry, VolumeGrid)> {
    let mut out = Vec::new();
    for (kind, curved) in [
        (GeometryKind::Parallel2d, false),
        (GeometryKind::Fan2d, true),
        (GeometryKind::Parallel3d, false),
        (GeometryKind::Cone3d, false),
        (GeometryKind::Cone3d, true),
    ] {
        let d = kind.dimensions();
        let mut spec = path(&[1.5, 1.1][3 - d..]);
        if kind.is_parallel() {
            (spec.source_to_axis_mm, spec.axis_to_detector_mm) = (None, None);
        }
        let surface = if curved { ARC } else { Surface::Flat };
        let nv = if d == 2 { 1 } else { 6 };
        out.push((spec.geometry_on(kind, [nv, 12], surface).unwrap(), volume(d)));
    }
    out
}

fn project(geometry: &Geometry, volume: &VolumeGrid) -> Vec<f64> {
    let a = RayTransform::new(geometry.clone(), volume.clone(), Projector::Joseph).unwrap();
    a.apply(&numbers(volume.len(), 5)).unwrap()
}

#[test]
fn moving_both_changes_nothing() {
    for (geometry, volume) in geometries() {
        let plane = volume.dimensions() == 2;
        let (axis, shift) = if plane {
            ([0.0, 0.0, 1.0], [3.0, -2.0, 0.0])
        } else {
            ([0.5, -1.0, 2.0], [3.0, -2.0, 7.0])
        };
        let motion = RigidTransform::translation(shift)
            * RigidTransform::rotation(axis, 0.8).unwrap().about([1.0, 2.0, 0.0]);
        let still = project(&geometry, &volume);
        assert!(still.iter().any(|v| *v > 1.0));
        let (views, grid) = (geometry.moved(&motion).unwrap(), volume.moved(&motion).unwrap());
        assert!(far(&project(&views, &grid), &still) < 1e-11);
        // The volume alone: as the views the other way, and not as nothing.
        let back = geometry.moved(&motion.inverse()).unwrap();
        assert!(far(&project(&geometry, &grid), &project(&back, &volume)) < 1e-11);
        assert!(far(&project(&geometry, &grid), &still) > 0.1);
        let each = vec![motion; geometry.n_views()];
        assert_eq!(geometry.moved_each(&each).unwrap(), views);
        assert!(geometry.moved_each(&each[1..]).is_err());
        // Twice as large: twice the lengths.
        let twice = project(&geometry.scaled(2.0).unwrap(), &volume.scaled(2.0).unwrap());
        let half: Vec<f64> = twice.iter().map(|v| v / 2.0).collect();
        assert!(far(&half, &still) < 1e-11);
        if let Some(frame) = volume.moved(&motion).unwrap().frame() {
            let at = frame.point([0.0; 3]);
            let centre = grid.centre_mm();
            assert!(
                (0..centre.len()).all(|k| (centre[centre.len() - 1 - k] - at[k]).abs() < 1e-12)
            );
        }
    }
}

#[test]
fn a_crop_is_a_part_of_the_projections() {
    for (geometry, volume) in geometries() {
        let v: Option<&[usize]> = (volume.dimensions() == 3).then_some(&[1, 4]);
        let by = Reduction::new(&geometry, Some(&[1, 7, 2]), v, Some(&[2, 9]), [1, 1]).unwrap();
        let whole = project(&geometry, &volume);
        let part = project(&geometry.reduced(&by).unwrap(), &volume);
        let expected = by.values(&whole, BinRule::Mean).unwrap();
        assert!(far(&part, &expected) < 1e-11, "{:?}", geometry.kind());
        assert_eq!(expected.len(), 3 * by.shape()[1] * 7);
        // By hand: view 3, the first row that is kept, pixel 4.
        let [nv, nu] = geometry.detector();
        let row = v.map_or(0, |v| v[0]);
        assert_eq!(expected[by.shape()[1] * 7 + 2], whole[(3 * nv + row) * nu + 4]);
        assert!(by.values(&whole[1..], BinRule::Sum).is_err());
    }
}

/// A smooth volume: the mean over a coarse pixel differs from its middle ray by a quarter
/// of that when pixels are half as wide.
#[test]
fn binned_projections_are_means_to_second_order() {
    for (kind, surface) in [(GeometryKind::Parallel2d, Surface::Flat), (GeometryKind::Fan2d, ARC)] {
        let grid = VolumeGrid::new(&[400, 400], &[0.05, 0.05], &[0.0; 2]).unwrap();
        let x: Vec<f64> = (0..160_000)
            .map(|i| {
                let (x, y) = ((i % 400) as f64 * 0.05 - 10.0, (i / 400) as f64 * 0.05 - 10.0);
                (-((x - 1.0).powi(2) + (y + 0.5).powi(2)) / 8.0).exp()
            })
            .collect();
        let gap = |n: usize| {
            let mut spec = path(&[24.0 / (4 * n) as f64]);
            spec.views = 3;
            if kind.is_parallel() {
                (spec.source_to_axis_mm, spec.axis_to_detector_mm) = (None, None);
            }
            let fine = spec.geometry_on(kind, [1, 4 * n], surface).unwrap();
            let by = Reduction::new(&fine, None, None, None, [1, 4]).unwrap();
            let of = |g: &Geometry| {
                let a = RayTransform::new(g.clone(), grid.clone(), Projector::Joseph).unwrap();
                a.apply(&x).unwrap()
            };
            let mean = by.values(&of(&fine), BinRule::Mean).unwrap();
            let sum = by.values(&of(&fine), BinRule::Sum).unwrap();
            assert!(mean.iter().zip(&sum).all(|(m, s)| (4.0 * m - s).abs() < 1e-12));
            far(&mean, &of(&fine.reduced(&by).unwrap()))
        };
        let (coarse, fine) = (gap(12), gap(24));
        // Width²/24 times the greatest second derivative, 5.0/4 per mm², of pixels of 2 mm.
        assert!(coarse < 0.21 && (3.0..5.0).contains(&(coarse / fine)), "{coarse} {fine}");
    }
}

#[test]
fn offsets_and_tilts_move_pixels() {
    for (geometry, _) in geometries() {
        let plane = geometry.kind().dimensions() == 2;
        let [nv, nu] = geometry.detector();
        let panel = microtome_kernels::ray::Panel { nu, nv, surface: geometry.surface() };
        // Two pixels along u and one along v.
        let offset = [if plane { 0.0 } else { 1.5 }, 2.2];
        let moved = geometry.with_detector_offset(offset).unwrap();
        assert_eq!(moved.surface(), geometry.surface());
        let tilt = if plane { [0.0, 0.0, 0.2] } else { [0.3, 0.1, 0.2] };
        let tilted = moved.with_detector_tilt(tilt).unwrap();
        for k in 0..geometry.n_views() {
            let (a, b, c) = (geometry.views()[k], moved.views()[k], tilted.views()[k]);
            for iu in 0..nu {
                let row = if plane { 0.0 } else { 1.0 };
                let there = a.pixel(panel, iu as f64 + 2.0, row);
                assert!(far(&b.pixel(panel, iu as f64, 0.0), &there) < 1e-12);
            }
            assert_eq!(b.detector, c.detector);
            let dot = |a: [f64; 3], b: [f64; 3]| (0..3).map(|k| a[k] * b[k]).sum::<f64>();
            assert!((dot(c.u, c.u) - dot(b.u, b.u)).abs() < 1e-12);
            assert!((dot(c.u, c.v) - dot(b.u, b.v)).abs() < 1e-12);
            if plane {
                let turned = [
                    b.u[0] * tilt[2].cos() - b.u[1] * tilt[2].sin(),
                    b.u[0] * tilt[2].sin() + b.u[1] * tilt[2].cos(),
                    0.0,
                ];
                assert!(far(&turned, &c.u) < 1e-12);
            }
        }
        if let Surface::Cylinder { .. } = tilted.surface() {
            // A tilted arc is the same arc, no longer about the source.
            let Surface::Cylinder { radius: Some(radius) } = tilted.surface() else {
                panic!("{:?}", tilted.surface());
            };
            assert!((radius - 31.0).abs() < 1e-12);
        }
    }
}
