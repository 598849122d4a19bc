//! The pose model against exact values of the same rule, differences, and closed forms.

use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::{Projector, Real};
use microtome_models::ct::{
    Geometry, GeometryKind, PoseModel, RayTransform, TrajectorySpec, VolumeGrid,
    batch_forward_project, forward_project_view, view_loss_value_and_grad,
};
use rand::RngExt;
use std::collections::BTreeMap;

/// The arrays of `tests/golden/pose.csv`.
fn golden() -> BTreeMap<String, Vec<f64>> {
    include_str!("../../../tests/golden/pose.csv")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|line| {
            let (name, values) = line.split_once(',').unwrap();
            (name.to_string(), values.split(',').map(|v| v.parse().unwrap()).collect())
        })
        .collect()
}

fn gap<T: Real>(found: &[T], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let greatest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let gaps = found.iter().zip(expected).map(|(f, e)| (f.wide() - e).abs());
    gaps.fold(0.0, f64::max) / greatest
}

fn narrow<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::narrow(*v)).collect()
}

/// The case of the table: an odd volume, 3 views of 6 x 7 pixels.
fn five() -> PoseModel {
    let volume = VolumeGrid::new(&[5, 7, 6], &[1.2, 0.9, 1.0], &[0.3, -0.2, 0.1]).unwrap();
    PoseModel::five(volume, 3, [6, 7], [1.1, 1.3], [0.2, -0.4], Some(0.75), Some(17)).unwrap()
}

fn check_golden<T: Real>(tolerance: f64, of_loss: f64) {
    let g = golden();
    let model = five();
    let (x, theta, y) = (narrow::<T>(&g["volume"]), &g["theta"], narrow::<T>(&g["measured"]));
    let p = batch_forward_project(&model, theta, &x).unwrap();
    assert!(gap(&p, &g["projections"]) < tolerance);
    let mut back = vec![T::default(); x.len()];
    model.back(theta, &y, &mut back).unwrap();
    assert!(gap(&back, &g["transpose"]) < tolerance);
    let all = model.losses(theta, &x, &y).unwrap();
    let loss: Vec<f64> = all.iter().map(|n| n.loss).collect();
    let gradient: Vec<f64> = all.iter().flat_map(|n| n.gradient.clone()).collect();
    assert!(gap(&loss, &g["loss"]) < of_loss, "{loss:?}");
    assert!(gap(&gradient, &g["gradient"]) < of_loss, "{gradient:?}");
    for view in 0..3 {
        let one = &theta[5 * view..5 * view + 5];
        let of_view = |v: &[T]| v[42 * view..42 * view + 42].to_vec();
        assert!(forward_project_view(&model, view, one, &x).unwrap() == of_view(&p));
        let found = view_loss_value_and_grad(&model, view, one, &x, &of_view(&y)).unwrap();
        assert_eq!(found, all[view]);
        let (again, j) = model.jacobian(view, one, &x).unwrap();
        assert!(again == of_view(&p));
        assert!(gap(&j, &g["jacobian"][210 * view..210 * view + 210]) < of_loss);
    }
}

/// `tests/golden/make_pose.py`: every sample and voxel by its hat functions.
#[test]
fn equals_the_table() {
    check_golden::<f64>(1e-12, 1e-11);
    check_golden::<f32>(3e-6, 3e-5);
}

/// The transform of a set-up sees what the pose model sees.
#[test]
fn poses_are_views_of_a_parallel_beam() {
    let g = golden();
    let model = five();
    let geometry = model.geometry(&g["theta"]).unwrap();
    let a = RayTransform::new(geometry, model.volume().clone(), Projector::Trilinear)
        .unwrap()
        .with_steps(model.steps());
    assert!(gap(&a.apply(&g["volume"]).unwrap(), &g["projections"]) < 1e-12);
    let some = a.subset(&[2]).unwrap().apply(&g["volume"]).unwrap();
    assert!(gap(&some, &g["projections"][84..]) < 1e-12);
}

/// A rotated, slightly tilted volume and shift, per view.
fn thetas(views: usize, parameters: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(5, 0, 0);
    (0..views * parameters)
        .map(|i| {
            let v = 2.0 * rng.random::<f64>() - 1.0;
            match i % parameters {
                2 => 3.0 * v,
                0 | 1 => 0.2 * v,
                _ => 0.8 * v,
            }
        })
        .collect()
}

/// A volume so smooth that trilinear interpolation has hardly a kink.
fn bump(volume: &VolumeGrid) -> Vec<f64> {
    let shape = volume.shape();
    let [nz, ny, nx] =
        if let [ny, nx] = shape[..] { [1, ny, nx] } else { [shape[0], shape[1], shape[2]] };
    (0..nz * ny * nx)
        .map(|j| {
            let q = |i: usize, n: usize| (i as f64 - (n as f64 - 1.0) / 2.0) / n as f64;
            let (x, y, z) = (q(j % nx, nx), q(j / nx % ny, ny), q(j / nx / ny, nz));
            (-30.0 * ((x - 0.08).powi(2) + 1.6 * (y + 0.05).powi(2) + 0.7 * (z - 0.03).powi(2)))
                .exp()
        })
        .collect()
}

/// Central differences of the projections and of the loss for the six parameters of every
/// kind in space and plane.
#[test]
fn derivatives_of_every_geometry() {
    for kind in GeometryKind::ALL {
        let flat = kind.dimensions() == 2;
        let (shape, detector) =
            if flat { (vec![26, 24], [1, 30]) } else { (vec![20, 26, 24], [16, 30]) };
        let (voxel, centre) = (vec![1.0; shape.len()], vec![0.4; shape.len()]);
        let volume = VolumeGrid::new(&shape, &voxel, &centre).unwrap();
        let mut path = TrajectorySpec::circular(3, if flat { &[1.3] } else { &[1.5, 1.3] });
        if !kind.is_parallel() {
            path.source_to_axis_mm = Some(60.0);
            path.axis_to_detector_mm = Some(30.0);
        }
        let geometry = path.geometry(kind, detector).unwrap();
        let x = bump(&volume);
        let model = PoseModel::rigid(&geometry, volume, None).unwrap();
        let mut theta = thetas(3, 6);
        if flat {
            // In the plane: the turn about z and the shifts along x and y.
            for t in theta.chunks_mut(6) {
                (t[0], t[1], t[5]) = (0.0, 0.0, 0.0);
            }
        }
        let y: Vec<f64> = (0..model.shape().iter().product::<usize>())
            .map(|i| ((i * 31 + 5) % 17) as f64 / 9.0)
            .collect();
        let all = model.losses(&theta, &x, &y).unwrap();
        let moving: &[usize] = if flat { &[2, 3, 4] } else { &[0, 1, 2, 3, 4, 5] };
        for view in 0..3 {
            let pixels = y.len() / 3;
            let one = theta[6 * view..6 * view + 6].to_vec();
            let (_, j) = model.jacobian(view, &one, &x).unwrap();
            for &i in moving {
                let h = 1e-7;
                let at = |t: f64| {
                    let mut moved = one.clone();
                    moved[i] += t;
                    forward_project_view(&model, view, &moved, &x).unwrap()
                };
                let (a, b) = (at(h), at(-h));
                let slope: Vec<f64> = (0..pixels).map(|l| (a[l] - b[l]) / (2.0 * h)).collect();
                let scale = slope.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                // A ray with a kink between the two points differs: some in ten thousand.
                let close = |l: &usize| (j[i * pixels + l] - slope[*l]).abs() < 1e-6 * scale;
                let far = pixels - (0..pixels).filter(close).count();
                assert!(scale > 0.0 && far <= 1 + pixels / 200, "{kind:?} {view} {i}: {far}");
                let loss = |p: &[f64]| -> f64 {
                    p.iter().zip(&y[view * pixels..]).map(|(p, y)| 0.5 * (p - y).powi(2)).sum()
                };
                let slope = (loss(&a) - loss(&b)) / (2.0 * h);
                let scale = all[view].gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                assert!((all[view].gradient[i] - slope).abs() < 1e-4 * scale, "{kind:?} {i}");
            }
        }
    }
}

/// Moving the volume and moving the views back is the same.
#[test]
fn a_moved_volume_is_a_moved_set_up() {
    let volume = VolumeGrid::new(&[9, 8, 7], &[1.0, 1.1, 0.9], &[0.1, 0.2, -0.3]).unwrap();
    let mut path = TrajectorySpec::circular(2, &[1.5, 1.3]);
    path.source_to_axis_mm = Some(40.0);
    path.axis_to_detector_mm = Some(20.0);
    let x = bump(&volume);
    for kind in [GeometryKind::Cone3d, GeometryKind::Parallel3d] {
        if kind.is_parallel() {
            (path.source_to_axis_mm, path.axis_to_detector_mm) = (None, None);
        }
        let geometry = path.geometry(kind, [11, 12]).unwrap();
        let model = PoseModel::rigid(&geometry, volume.clone(), None).unwrap();
        let zero = batch_forward_project(&model, &[0.0; 12], &x).unwrap();
        let a = RayTransform::new(geometry, volume.clone(), Projector::Trilinear).unwrap();
        assert!(gap(&a.apply(&x).unwrap(), &zero) < 1e-12);
        // With steps this small the places of samples matter little.
        let theta = thetas(2, 6);
        let mut fine = model.steps();
        (fine.length_mm, fine.count) = (fine.length_mm / 40.0, fine.count * 40);
        let geometry = path.geometry(kind, [11, 12]).unwrap();
        let model = PoseModel::rigid(&geometry, volume.clone(), Some(fine)).unwrap();
        let moved = batch_forward_project(&model, &theta, &x).unwrap();
        let a = RayTransform::new(
            model.geometry(&theta).unwrap(),
            volume.clone(),
            Projector::Trilinear,
        );
        let mut steps = fine;
        steps.about = microtome_kernels::ray::trilinear::About::Point([0.0; 3]);
        let still = a.unwrap().with_steps(steps).apply(&x).unwrap();
        assert!(gap(&still, &moved) < 1e-3, "{:e}", gap(&still, &moved));
    }
}

#[test]
fn rays_left_out_count_nothing() {
    let g = golden();
    let (x, theta, y) = (&g["volume"], &g["theta"], &g["measured"]);
    let mask: Vec<u8> = (0..42).map(|i| u8::from(i % 5 != 0)).collect();
    let whole = five();
    let masked = five().with_mask(&mask).unwrap();
    let (p, q) = (
        batch_forward_project(&whole, theta, x).unwrap(),
        batch_forward_project(&masked, theta, x).unwrap(),
    );
    for (i, (p, q)) in p.iter().zip(&q).enumerate() {
        assert_eq!(*q, if mask[i % 42] == 0 { 0.0 } else { *p });
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut back = vec![0.0; x.len()];
    masked.back(theta, y, &mut back).unwrap();
    assert!((dot(&q, y) - dot(x, &back)).abs() < 1e-12 * dot(&q, &q));
    // The loss of the rays that count, and the pullback of their residuals.
    let residual: Vec<f64> =
        (0..q.len()).map(|i| if mask[i % 42] == 0 { 0.0 } else { q[i] - y[i] }).collect();
    let all = masked.losses(theta, x, y).unwrap();
    let loss: f64 = all.iter().map(|n| n.loss).sum();
    assert!((loss - 0.5 * dot(&residual, &residual)).abs() < 1e-12 * loss);
    let gradient: Vec<f64> = all.iter().flat_map(|n| n.gradient.clone()).collect();
    assert!(gap(&whole.pullback(theta, x, &residual).unwrap(), &gradient) < 1e-12);
}

#[test]
fn wrong_input_is_refused() {
    let model = five();
    let x = vec![0.0; 210];
    let says = |found: Result<Vec<f64>, microtome_models::ct::CtError>, text: &str| {
        let found = found.unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    };
    says(batch_forward_project(&model, &[0.0; 14], &x), "table of poses has 14 values");
    says(batch_forward_project(&model, &[0.0; 15], &x[1..]), "volume has 209 values");
    says(forward_project_view(&model, 3, &[0.0; 5], &x), "view 3 was asked for");
    says(forward_project_view(&model, 0, &[f64::NAN; 5], &x), "alpha is NaN");
    assert!(five().with_mask(&[1; 41]).is_err());
    let volume = VolumeGrid::new(&[5, 7, 6], &[1.0; 3], &[0.0; 3]).unwrap();
    let make = |pixel, step, count| {
        PoseModel::five(volume.clone(), 1, [2, 2], pixel, [0.0; 2], step, count)
            .unwrap_err()
            .to_string()
    };
    assert!(make([0.0, 1.0], None, None).contains("pixel_mm"));
    assert!(make([1.0, 1.0], Some(-1.0), None).contains("step_mm"));
    assert!(make([1.0, 1.0], None, Some(0)).contains("steps"));
    let plane =
        Geometry::new(GeometryKind::Fan2d, [1, 5], &[0.0, -9.0, 0.0, 9.0, 1.0, 0.0]).unwrap();
    assert!(PoseModel::rigid(&plane, volume, None).unwrap_err().to_string().contains("fan2d"));
    let plane = Geometry::new(GeometryKind::Fan2d, [1, 5], &[0.0, -9.0, 0.0, 9.0, 1.0, 0.0]);
    let volume = VolumeGrid::new(&[4, 4], &[1.0; 2], &[0.0; 2]).unwrap();
    let model = PoseModel::rigid(&plane.unwrap(), volume, None).unwrap();
    let moved = batch_forward_project(&model, &[0.0, 0.0, 0.1, 0.2, 0.3, 0.4], &[1.0; 16]);
    says(moved, "dz leaves the plane");
    let x: Vec<f64> = (0..16).map(f64::from).collect();
    let (_, j) = model.jacobian(0, &[0.0; 6], &x).unwrap();
    assert!(j[..10].iter().chain(&j[25..]).all(|v| *v == 0.0) && j[15..20] != [0.0; 5]);
}

/// The pose of the motion of a pose is the pose.
#[test]
fn poses_are_motions() {
    let volume = VolumeGrid::new(&[6, 6, 6], &[1.0; 3], &[0.0; 3]).unwrap();
    let model = PoseModel::five(volume, 1, [6, 6], [1.0; 2], [0.0; 2], None, None).unwrap();
    for k in 0..40 {
        let e = |s: f64| (f64::from(k) * s).sin();
        // phi may be beyond half a turn: it stays near the given one.
        let theta = [0.4 * e(1.1), 0.5 * e(2.3), 9.0 * e(0.7), 3.0 * e(1.9), 2.0 * e(2.9)];
        let motion = model.motion_of(&theta).unwrap();
        let near = [0.0, 0.0, theta[2] + 2.0 * e(3.1), 0.0, 0.0];
        let back = model.pose_of(&motion, &near);
        for (a, b) in back.iter().zip(&theta) {
            assert!((a - b).abs() < 1e-12, "{back:?} {theta:?}");
        }
    }
    assert_eq!(model.blind_directions().unwrap(), [[0.0, 1.0, 0.0]]);
    assert!(model.sources().is_none());
    assert!(model.motion_of(&[f64::NAN, 0.0, 0.0, 0.0, 0.0]).is_err());
}

/// Projections of the coarser scan are those of the fine one, averaged, but for the width of a
/// coarse voxel.
#[test]
fn a_coarser_scan_sees_the_same() {
    // Sizes that 2 does not divide.
    let n = [30, 31, 29];
    let volume = VolumeGrid::new(&n, &[1.0; 3], &[0.5, -0.5, 0.25]).unwrap();
    let model = PoseModel::five(volume, 2, [33, 34], [1.0; 2], [0.3, -0.2], None, None).unwrap();
    let mut x = Vec::new();
    for z in 0..n[0] {
        for y in 0..n[1] {
            for x_at in 0..n[2] {
                let p = [x_at as f64 - 13.0, y as f64 - 16.0, z as f64 - 15.0];
                x.push((-p.iter().map(|v| v * v).sum::<f64>() / 72.0).exp());
            }
        }
    }
    let thetas = [0.02, -0.03, 0.4, 0.7, -0.6, -0.01, 0.02, 1.3, -0.4, 0.9];
    let coarse = model.coarser(2).unwrap();
    let fine_y = batch_forward_project(&model, &thetas, &x).unwrap();
    let y = model.binned_projections(&fine_y, 2).unwrap();
    let small = model.binned_volume(&x, 2).unwrap();
    let found = batch_forward_project(&coarse, &thetas, &small).unwrap();
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mask = coarse.mask().unwrap();
    let mut kept = 0;
    for ((a, b), m) in y.iter().zip(&found).zip(mask) {
        if *m != 0 {
            // Three boxes of 2 and a hat widen a Gaussian of 6 voxels by some per cent.
            assert!((a - b).abs() < 0.03 * largest, "{a} {b}");
            kept += 1;
        }
    }
    // 33 rows leave 16 whole ones, 34 columns 17.
    assert_eq!(kept, 2 * 16 * 17);
    assert_eq!(coarse.volume().shape(), [15, 16, 15]);
    let up = model.finer_volume(&small, 2).unwrap();
    let gap = up.iter().zip(&x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 0.06, "{gap}");
    assert!(model.coarser(0).is_err());
    let one = model.subset(&[1]).unwrap();
    let second = batch_forward_project(&one, &thetas[5..], &x).unwrap();
    assert_eq!(second, fine_y[fine_y.len() / 2..]);
    assert!(model.subset(&[2]).is_err());
}

/// A circular fan or cone whose source and detector have errors, and its pose table.
fn detector_model(kind: GeometryKind) -> (PoseModel, TrajectorySpec, Vec<f64>, Vec<f64>) {
    let flat = kind.dimensions() == 2;
    let (shape, detector) =
        if flat { (vec![26, 24], [1, 30]) } else { (vec![20, 26, 24], [16, 30]) };
    let volume = VolumeGrid::new(&shape, &vec![1.0; shape.len()], &vec![0.0; shape.len()]).unwrap();
    let mut path = TrajectorySpec::circular(3, if flat { &[1.3] } else { &[1.5, 1.3] });
    path.source_to_axis_mm = Some(60.0);
    path.axis_to_detector_mm = Some(30.0);
    let x = bump(&volume);
    let names: &[&str] = if flat {
        &["detector_u", "source_to_axis", "axis_to_detector"]
    } else {
        &["detector_u", "detector_v", "roll", "source_to_axis", "axis_to_detector"]
    };
    let geometry = path.geometry(kind, detector).unwrap();
    let model = PoseModel::rigid(&geometry, volume, None).unwrap().with_detector(names).unwrap();
    let errors: &[f64] = if flat { &[1.7, 2.5, -1.5] } else { &[1.7, -0.9, 0.03, 2.5, -1.5] };
    let theta = [[0.0; 6].as_slice(), errors].concat().repeat(3);
    (model, path, theta, x)
}

/// The changed views are those of the changed trajectory, and so are the projections but for
/// where the samples of a ray are.
#[test]
fn detector_errors_are_other_views() {
    for kind in [GeometryKind::Fan2d, GeometryKind::Cone3d] {
        let (model, mut path, mut theta, x) = detector_model(kind);
        let n = model.parameters().len();
        if let Some(roll) = model.parameters().iter().position(|p| *p == "roll") {
            // A trajectory has no roll.
            theta.iter_mut().skip(roll).step_by(n).for_each(|t| *t = 0.0);
        }
        let flat = kind.dimensions() == 2;
        path.source_to_axis_mm = Some(62.5);
        path.axis_to_detector_mm = Some(28.5);
        path.detector_offset_mm = Some(if flat { vec![1.7] } else { vec![-0.9, 1.7] });
        let detector = if flat { [1, 30] } else { [16, 30] };
        let other = path.geometry(kind, detector).unwrap();
        let rows = model.geometry(&theta).unwrap().rows();
        assert_eq!(model.geometry(&theta).unwrap().kind(), kind);
        for (a, b) in rows.iter().zip(other.rows()) {
            assert!((a - b).abs() < 1e-10, "{kind:?} {a} {b}");
        }
        let plain = PoseModel::rigid(&other, model.volume().clone(), None).unwrap();
        let p = batch_forward_project(&model, &theta, &x).unwrap();
        let q = batch_forward_project(&plain, &[0.0; 18], &x).unwrap();
        let largest = q.iter().fold(0.0_f64, |m, v| m.max(*v));
        // The midpoint rule on a Gaussian of 3 voxels; kinks of the interpolation leave 1e-3.
        assert!(gap(&p, &q) < 2e-3 * largest, "{kind:?} {} {largest}", gap(&p, &q));
        // A roll of a whole turn is none.
        if !flat {
            let mut turned = theta.clone();
            turned.iter_mut().skip(8).step_by(n).for_each(|t| *t = std::f64::consts::TAU);
            let q = batch_forward_project(&model, &turned, &x).unwrap();
            assert!(gap(&p, &q) < 1e-9 * largest);
        }
    }
}

/// Central differences of projections and loss, and the transpose.
#[test]
fn derivatives_of_detector_errors() {
    for kind in [GeometryKind::Fan2d, GeometryKind::Cone3d] {
        let (model, _, mut theta, x) = detector_model(kind);
        let n = model.parameters().len();
        let flat = kind.dimensions() == 2;
        for (row, pose) in theta.chunks_mut(n).zip(thetas(3, 6).chunks(6)) {
            for (k, (out, t)) in row.iter_mut().zip(pose).enumerate() {
                *out = if flat && [0, 1, 5].contains(&k) { 0.0 } else { *t };
            }
        }
        let pixels = model.shape()[1..].iter().product::<usize>();
        let y: Vec<f64> = (0..3 * pixels).map(|i| ((i * 31 + 5) % 17) as f64 / 9.0).collect();
        let all = model.losses(&theta, &x, &y).unwrap();
        let pulled = model.pullback(&theta, &x, &y).unwrap();
        for view in 0..3 {
            let one = theta[n * view..n * (view + 1)].to_vec();
            let (p, j) = model.jacobian(view, &one, &x).unwrap();
            assert_eq!(p, forward_project_view(&model, view, &one, &x).unwrap());
            for i in (0..n).filter(|i| !(flat && [0, 1, 5].contains(i))) {
                let h = 1e-6;
                let at = |t: f64| {
                    let mut moved = one.clone();
                    moved[i] += t;
                    forward_project_view(&model, view, &moved, &x).unwrap()
                };
                let (a, b) = (at(h), at(-h));
                let slope: Vec<f64> = (0..pixels).map(|l| (a[l] - b[l]) / (2.0 * h)).collect();
                let scale = slope.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                let close = |l: &usize| (j[i * pixels + l] - slope[*l]).abs() < 1e-6 * scale;
                let far = pixels - (0..pixels).filter(close).count();
                assert!(scale > 0.0 && far <= 1 + pixels / 50, "{kind:?} {view} {i}: {far}");
                let loss = |p: &[f64]| -> f64 {
                    p.iter().zip(&y[view * pixels..]).map(|(p, y)| 0.5 * (p - y).powi(2)).sum()
                };
                let slope = (loss(&a) - loss(&b)) / (2.0 * h);
                let size = all[view].normal[i * n + i].sqrt() * (2.0 * all[view].loss).sqrt();
                assert!((all[view].gradient[i] - slope).abs() < 1e-5 * size, "{kind:?} {i}");
                let sum: f64 = (0..pixels).map(|l| j[i * pixels + l] * y[view * pixels + l]).sum();
                assert!((pulled[view * n + i] - sum).abs() < 1e-9 * (1.0 + sum.abs()));
            }
        }
        let p = batch_forward_project(&model, &theta, &x).unwrap();
        let mut back = vec![0.0; x.len()];
        model.back(&theta, &y, &mut back).unwrap();
        let left: f64 = p.iter().zip(&y).map(|(a, b)| a * b).sum();
        let right: f64 = back.iter().zip(&x).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-11 * left.abs(), "{left} {right}");
    }
}

#[test]
fn wrong_detector_errors_are_refused() {
    let (model, _, theta, _) = detector_model(GeometryKind::Cone3d);
    let says = |e: microtome_models::ct::CtError, text: &str| {
        assert!(e.to_string().contains(text), "{e}");
    };
    says(model.clone().with_detector(&["roll"]).unwrap_err(), "twice");
    says(model.clone().with_detector(&["yaw"]).unwrap_err(), "yaw");
    let (fan, ..) = detector_model(GeometryKind::Fan2d);
    says(fan.with_detector(&["detector_v"]).unwrap_err(), "plane");
    says(five().with_detector(&["detector_u"]).unwrap_err(), "point source");
    let mut behind = theta;
    behind[10] = -100.0;
    says(model.geometry(&behind).unwrap_err(), "between source and detector");
}
