//! Curved detectors, rigid transforms, shifts, binning and crops: what they do to
//! projections.
#![allow(clippy::unwrap_used, clippy::panic)]

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{
    Geometry, GeometryKind, RayTransform, Surface, TrajectoryKind, TrajectorySpec, VolumeGrid,
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
        for projector in Projector::ALL {
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
                for projector in Projector::ALL {
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
