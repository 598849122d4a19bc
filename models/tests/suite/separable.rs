//! Separable footprints against areas of polygons, means over sub-rays, and the transpose.
#![allow(clippy::unwrap_used)]

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::{Projector, Real};
use microtome_models::ct::{Geometry, GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use proptest::prelude::*;
use rand::RngExt;

fn sf(geometry: Geometry, volume: VolumeGrid) -> RayTransform {
    RayTransform::new(geometry, volume, Projector::SeparableFootprint).unwrap()
}

/// The part of a polygon where `n . p >= c`.
fn cut(polygon: &[[f64; 2]], n: [f64; 2], c: f64) -> Vec<[f64; 2]> {
    let side = |p: [f64; 2]| n[0] * p[0] + n[1] * p[1] - c;
    let mut out = Vec::new();
    for (i, &p) in polygon.iter().enumerate() {
        let q = polygon[(i + 1) % polygon.len()];
        let (a, b) = (side(p), side(q));
        if a >= 0.0 {
            out.push(p);
        }
        if (a < 0.0) != (b < 0.0) {
            let t = a / (a - b);
            out.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
        }
    }
    out
}

fn area(polygon: &[[f64; 2]]) -> f64 {
    let next = polygon.iter().cycle().skip(1);
    let terms = polygon.iter().zip(next).map(|(p, q)| p[0] * q[1] - p[1] * q[0]);
    0.5 * terms.sum::<f64>().abs()
}

/// Parallel rays in the plane: the overlap of each voxel with the strip of each pixel, over
/// the width of the strip.
#[test]
fn parallel_shares_are_areas() {
    let (h, centre) = ([0.8, 1.1], [0.3, -0.2]);
    let volume = VolumeGrid::new(&[3, 4], &h, &centre).unwrap();
    let rows = [
        [0.3, 1.0, 0.4, 0.1, 0.7, 0.0],
        [1.0, 0.0, 0.0, 0.3, 0.1, 0.9],
        [0.0, -2.0, 0.1, 9.0, -2.3, 0.4],
        [1.0, 1.0, 0.0, 0.0, -0.5, 0.5],
    ];
    let geometry = Geometry::new(GeometryKind::Parallel2d, [1, 9], rows.as_flattened()).unwrap();
    let a = sf(geometry, volume);
    for j in 0..12 {
        let mut x = vec![0.0; 12];
        x[j] = 1.0;
        let p = a.apply(&x).unwrap();
        let (cx, cy) =
            (centre[1] + ((j % 4) as f64 - 1.5) * h[1], centre[0] + ((j / 4) as f64 - 1.0) * h[0]);
        let box_of = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
            .map(|[a, b]| [cx + a * h[1] / 2.0, cy + b * h[0] / 2.0]);
        for (view, row) in rows.iter().enumerate() {
            let size = row[0].hypot(row[1]);
            let n = [-row[1] / size, row[0] / size];
            let along = |q: [f64; 2]| n[0] * q[0] + n[1] * q[1];
            for i in 0..9 {
                let edge = |e: f64| along([row[2] + e * row[4], row[3] + e * row[5]]);
                let (s, t) = (edge(i as f64 - 4.5), edge(i as f64 - 3.5));
                let (s, t) = (s.min(t), s.max(t));
                let inside = cut(&cut(&box_of, n, s), n.map(|v| -v), -t);
                let expected = area(&inside) / (t - s);
                let found = p[view * 9 + i];
                assert!((found - expected).abs() < 1e-13, "{j} {view} {i}: {found} {expected}");
            }
        }
    }
}

/// Parallel rays in space: each slice by itself, and the overlap of heights.
#[test]
fn parallel_shares_in_space_are_products() {
    let row = [0.3, 1.0, 0.0, 0.4, 0.1, 0.2, 0.7, 0.0, 0.0, 0.0, 0.0, -1.3];
    let space = Geometry::new(GeometryKind::Parallel3d, [5, 9], &row).unwrap();
    let plane =
        Geometry::new(GeometryKind::Parallel2d, [1, 9], &[0.3, 1.0, 0.4, 0.1, 0.7, 0.0]).unwrap();
    let a = sf(space, VolumeGrid::new(&[2, 3, 4], &[0.9, 0.8, 1.1], &[0.1, 0.3, -0.2]).unwrap());
    let b = sf(plane, VolumeGrid::new(&[3, 4], &[0.8, 1.1], &[0.3, -0.2]).unwrap());
    let x: Vec<f64> = (0..24).map(|i| f64::from(i * 37 % 101)).collect();
    let p = a.apply(&x).unwrap();
    let slices = [b.apply(&x[..12]).unwrap(), b.apply(&x[12..]).unwrap()];
    for (j, p) in p.chunks(9).enumerate() {
        let middle = 0.2 - (j as f64 - 2.0) * 1.3;
        for (i, p) in p.iter().enumerate() {
            let mut expected = 0.0;
            for (z, slice) in slices.iter().enumerate() {
                let centre = 0.1 + (z as f64 - 0.5) * 0.9;
                let (low, high) =
                    ((centre - 0.45).max(middle - 0.65), (centre + 0.45).min(middle + 0.65));
                expected += slice[i] * (high - low).max(0.0) / 1.3;
            }
            assert!((p - expected).abs() < 1e-12 * 100.0, "{p} {expected}");
        }
    }
}

/// Relative difference to the mean of exact lengths over sub-rays of every pixel.
fn difference(kind: GeometryKind, far: f64) -> f64 {
    let flat = kind == GeometryKind::Fan2d;
    let (shape, split): (&[usize], usize) = if flat { (&[8, 9], 200) } else { (&[6, 8, 9], 25) };
    let volume = VolumeGrid::new(shape, &vec![1.0; shape.len()], &vec![0.0; shape.len()]).unwrap();
    // The pitch at the axis stays.
    let pitch = 1.5;
    let geometry = |split: usize| {
        let s = split as f64;
        let pixel = if flat { vec![pitch / s] } else { vec![pitch / s, pitch / s] };
        let mut path = TrajectorySpec::circular(5, &pixel);
        path.source_to_axis_mm = Some(far);
        path.axis_to_detector_mm = Some(0.25 * far);
        path.start_deg = Some(7.0);
        path.geometry(kind, [if flat { 1 } else { 8 * split }, 12 * split]).unwrap()
    };
    let a = sf(geometry(1), volume.clone());
    let b = RayTransform::new(geometry(split), volume, Projector::Siddon).unwrap();
    let x: Vec<f64> = (0..a.volume().len()).map(|i| 1.0 + (i * 37 % 101) as f64 / 100.0).collect();
    let (p, q) = (a.apply(&x).unwrap(), b.apply(&x).unwrap());
    let [mut gap, mut size] = [0.0; 2];
    let nv = if flat { 1 } else { 8 };
    for (at, p) in p.iter().enumerate() {
        let (view, v, u) = (at / 12 / nv, at / 12 % nv, at % 12);
        let fine = if flat { 1 } else { split };
        let mut mean = 0.0;
        for j in 0..fine {
            let row = (view * nv + v) * fine + j;
            mean += q[row * 12 * split + u * split..][..split].iter().sum::<f64>();
        }
        mean /= (split * fine) as f64;
        gap += (p - mean).powi(2);
        size += mean * mean;
    }
    (gap / size).sqrt()
}

/// Fans and cones: an approximation that improves with the distance of the source in
/// voxels.
#[test]
fn divergent_shares_approach_means() {
    for kind in [GeometryKind::Fan2d, GeometryKind::Cone3d] {
        // Sub-rays know the mean to about 1e-3.
        let (near, far) = (difference(kind, 12.0), difference(kind, 48.0));
        assert!(near < 0.03, "{kind:?} {near}");
        assert!(far < 0.5 * near, "{kind:?} {near} {far}");
    }
}

/// Set-ups inside the limits.
fn random_set_up(seed: u64) -> RayTransform {
    let mut rng = PhiloxRng::new(seed, 0, 0);
    let kind = GeometryKind::ALL[rng.random_range(0..4)];
    let d = kind.dimensions();
    let shape: Vec<usize> = (0..d).map(|_| rng.random_range(1..9)).collect();
    let mut number = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let voxel: Vec<f64> = (0..d).map(|_| number(0.3, 2.0)).collect();
    let volume = VolumeGrid::new(&shape, &voxel, &vec![0.2; d]).unwrap();
    let mut rows = Vec::new();
    for _ in 0..4 {
        let angle = number(0.0, 6.3);
        let (s, c) = angle.sin_cos();
        let far = if kind.is_parallel() { 1.0 } else { number(16.0, 40.0) };
        let (first, det) = ([s * far, -c * far], [number(-3.0, 3.0) - s, number(-3.0, 3.0) + c]);
        // u need not be at a right angle to the ray.
        let (s, c) = (angle + number(-0.4, 0.4)).sin_cos();
        let pitch = number(0.3, 3.0);
        let u = [c * pitch, s * pitch];
        let z = if kind.is_parallel() { 0.0 } else { number(-6.0, 6.0) };
        if d == 2 {
            rows.extend([first[0], first[1], det[0], det[1], u[0], u[1]]);
        } else {
            rows.extend([first[0], first[1], z, det[0], det[1], number(-3.0, 3.0)]);
            rows.extend([u[0], u[1], 0.0, 0.0, 0.0, number(-2.0, -0.4)]);
        }
    }
    let detector = [if d == 2 { 1 } else { 5 }, 11];
    sf(Geometry::new(kind, detector, &rows).unwrap(), volume)
}

fn transpose_gap<T: Real>(a: &RayTransform, seed: u64) -> (f64, f64) {
    let mut rng = PhiloxRng::new(seed, 1, 0);
    let mut numbers = |n: usize, low: f64| -> Vec<T> {
        (0..n).map(|_| T::narrow(low + (1.0 - low) * rng.random::<f64>())).collect()
    };
    let (x, y) = (numbers(a.volume().len(), 0.0), numbers(a.n_rays(), -1.0));
    let (ax, aty) = (a.apply(&x).unwrap(), a.adjoint(&y).unwrap());
    let dot = |a: &[T], b: &[T]| a.iter().zip(b).map(|(a, b)| a.wide() * b.wide()).sum::<f64>();
    let norm = dot(&ax, &ax).sqrt();
    let scale = (norm * dot(&y, &y).sqrt()).max(f64::MIN_POSITIVE);
    ((dot(&ax, &y) - dot(&x, &aty)).abs() / scale, norm)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    #[test]
    fn separable_footprints(seed in any::<u64>()) {
        let a = random_set_up(seed);
        let (gap, norm) = transpose_gap::<f64>(&a, seed);
        prop_assert!(gap <= 1e-13 && norm > 0.0, "{gap:e} {norm}");
        let (gap, _) = transpose_gap::<f32>(&a, seed);
        prop_assert!(gap <= 1e-6, "{gap:e}");
    }
}

#[test]
fn limits_are_named() {
    let says = |kind, row: &[f64], text: &str| {
        let d = if row.len() == 6 { 2 } else { 3 };
        let volume = VolumeGrid::new(&vec![4; d], &vec![1.0; d], &vec![0.0; d]).unwrap();
        let geometry = Geometry::new(kind, [if d == 2 { 1 } else { 3 }, 3], row).unwrap();
        let found = RayTransform::new(geometry, volume, Projector::SeparableFootprint);
        let found = found.unwrap_err().to_string();
        assert!(found.contains("view 0") && found.contains(text), "{found}");
    };
    let row = |v: [f64; 3], u: [f64; 3], ray: [f64; 3]| [ray, [0.0; 3], u, v].concat();
    let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, -9.0, 0.0], [0.0, 0.0, 1.0]);
    use GeometryKind::{Cone3d, Fan2d, Parallel3d};
    says(Cone3d, &row([0.0, 0.1, 1.0], x, y), "v is not along");
    says(Cone3d, &row(z, [1.0, 0.0, 0.1], y), "u is not across");
    says(Parallel3d, &row(z, x, [0.0, 1.0, 0.1]), "rays are not across");
    says(Fan2d, &[0.0, -1.0, 0.0, 9.0, 1.0, 0.0], "in front of the source");
}
