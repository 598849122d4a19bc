//! Alignment: unknown poses in a known volume, poses and volume together, what is hidden.
#![allow(clippy::unwrap_used)]

use microtome_inference::reconstruct::align::{
    AlignError, Hidden, JointSettings, KnownSettings, Loss, MotionPrior, PosedViews, Unknowns,
    ViewStatus, align_jointly, align_to_volume, gaps, generators, mirrored, moved, nearest,
};
use microtome_inference::reconstruct::{
    Algorithm, Problem, Reconstruction, Settings, StoppingRule, ViewOperator,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{
    GeometryKind, PoseModel, RigidTransform, TrajectorySpec, VolumeGrid, batch_forward_project,
};
use rand_distr::{Distribution, StandardNormal};
use std::ops::ControlFlow;

/// A smooth volume without symmetry, in a cube of `n` voxels of 32/n mm.
fn volume(n: usize) -> Vec<f64> {
    let blobs = [
        ([0.1, 0.0, -0.1], 0.30, 1.0),
        ([-0.35, 0.2, 0.2], 0.15, 0.8),
        ([0.3, -0.3, 0.3], 0.12, 1.2),
        ([0.2, 0.35, -0.35], 0.14, -0.6),
        ([-0.2, -0.35, -0.3], 0.13, 0.9),
    ];
    let at = |i: usize| (2.0 * i as f64 + 1.0) / n as f64 - 1.0;
    let mut out = Vec::new();
    for z in 0..n {
        for y in 0..n {
            for x in 0..n {
                let p = [at(x), at(y), at(z)];
                let of = |(c, s, v): &([f64; 3], f64, f64)| {
                    let square: f64 = (0..3).map(|k| (p[k] - c[k]).powi(2)).sum();
                    v * (-0.5 * square / (s * s)).exp()
                };
                out.push(blobs.iter().map(of).sum());
            }
        }
    }
    out
}

fn grid(n: usize) -> VolumeGrid {
    VolumeGrid::new(&[n; 3], &[32.0 / n as f64; 3], &[0.0; 3]).unwrap()
}

fn five(n: usize, views: usize) -> PoseModel {
    let h = 32.0 / n as f64;
    PoseModel::five(grid(n), views, [n, n], [h, h], [0.0, 0.0], None, None).unwrap()
}

struct Normal(PhiloxRng);

impl Normal {
    fn new(seed: u64) -> Self {
        Self(PhiloxRng::new(seed, 0, 0))
    }
    fn next(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }
}

/// Poses of a scan over half a turn, and poses with errors.
fn poses(views: usize, degrees: f64, mm: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Normal::new(seed);
    let (mut start, mut truth) = (Vec::new(), Vec::new());
    for view in 0..views {
        let phi = std::f64::consts::PI * view as f64 / views as f64;
        start.extend([0.0, 0.0, phi, 0.0, 0.0]);
        let angle = degrees.to_radians();
        truth.extend([
            angle * random.next(),
            angle * random.next(),
            phi + angle * random.next(),
            mm * random.next(),
            mm * random.next(),
        ]);
    }
    (start, truth)
}

fn middle(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

#[test]
fn known_volume_gives_the_poses() {
    let (model, x) = (five(32, 7), volume(32));
    let (start, truth) = poses(7, 2.0, 2.0, 3);
    let y = batch_forward_project(&model, &truth, &x).unwrap();
    let unknowns = Unknowns::all(&model).unwrap();
    let settings = KnownSettings::default();
    let found = align_to_volume(&model, &start, &x, &y, &unknowns, &settings).unwrap();
    for (view, truth) in found.iter().zip(truth.chunks(5)) {
        assert_eq!(view.status, ViewStatus::Converged);
        for (a, b) in view.theta.iter().zip(truth) {
            assert!((a - b).abs() < 1e-6, "{:?} {truth:?}", view.theta);
        }
    }
    // Only what is free moves; the rest keeps what was given.
    let some = Unknowns::new(&model, &["dx"], &[]).unwrap();
    let found = align_to_volume(&model, &start, &x, &y, &some, &settings).unwrap();
    for (view, start) in found.iter().zip(start.chunks(5)) {
        assert!(view.theta[3] != 0.0 && view.sd[3] > 0.0);
        assert_eq!([view.theta[0], view.theta[2], view.theta[4]], [start[0], start[2], start[4]]);
        assert_eq!(view.sd[0], 0.0);
    }
}

#[test]
fn robust_losses_and_outlier_views() {
    let (model, x) = (five(16, 8), volume(16));
    let (start, truth) = poses(8, 1.0, 1.0, 5);
    let mut y = batch_forward_project(&model, &truth, &x).unwrap();
    let mut random = Normal::new(9);
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    for (i, v) in y.iter_mut().enumerate() {
        *v += 0.01 * largest * random.next();
        if i % 17 == 3 {
            *v += 2.0 * largest;
        }
        // A view that shows something else.
        if i / 256 == 2 {
            *v = largest * random.next();
        }
    }
    let unknowns = Unknowns::all(&model).unwrap();
    let gap = |loss: Loss| {
        let settings = KnownSettings { levels: vec![1], loss, ..KnownSettings::default() };
        let found = align_to_volume(&model, &start, &x, &y, &unknowns, &settings).unwrap();
        assert_eq!(found[2].status, ViewStatus::Outlier);
        assert!(found[2].weight < 0.5 && found[3].weight == 1.0);
        let mut all = Vec::new();
        for (k, view) in found.iter().enumerate().filter(|(k, _)| *k != 2) {
            all.push((view.theta[3] - truth[5 * k + 3]).abs());
        }
        middle(all)
    };
    let (plain, huber, t) = (gap(Loss::Squares), gap(Loss::Huber(1.5)), gap(Loss::StudentT(4.0)));
    assert!(huber < 0.5 * plain && t < 0.5 * plain, "{plain} {huber} {t}");
}

#[test]
fn standard_errors_are_those_of_repetitions() {
    // 40 views of one pose with noise of their own.
    let (model, x) = (five(16, 40), volume(16));
    let truth: Vec<f64> = [0.02, -0.01, 0.4, 0.3, -0.2].repeat(40);
    let mut y = batch_forward_project(&model, &truth, &x).unwrap();
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut random = Normal::new(11);
    y.iter_mut().for_each(|v| *v += 0.02 * largest * random.next());
    let unknowns = Unknowns::all(&model).unwrap();
    let settings = KnownSettings { levels: vec![1], ..KnownSettings::default() };
    let found = align_to_volume(&model, &truth, &x, &y, &unknowns, &settings).unwrap();
    let mut square = 0.0;
    for view in &found {
        let pairs = view.theta.iter().zip(&truth).zip(&view.sd).take(5);
        square += pairs.map(|((t, truth), sd)| ((t - truth) / sd).powi(2)).sum::<f64>();
    }
    // A mean of 200 squares of standard normals: sd 0.1 where they are independent, at most
    // 0.23 where the five of a view are one.
    let mean = square / 200.0;
    assert!((0.5..1.6).contains(&mean), "{mean}");
}

#[test]
fn gauge_changes_no_projection() {
    // The volume is a function, so that it can be moved without interpolation: projections
    // of the moved one differ only by the discretisation.
    let (_, truth) = poses(6, 3.0, 1.0, 2);
    let by = RigidTransform::translation([0.7, -0.4, 0.5])
        * RigidTransform::rotation([0.3, -0.5, 1.0], 0.1).unwrap();
    let model = five(32, 6);
    let after = moved(&model, &truth, &by).unwrap();
    // A single Gaussian: moving it moves its centre.
    let gaussian = |c: [f64; 3]| -> Vec<f64> {
        let at = |i: usize| i as f64 - 15.5;
        let mut out = Vec::new();
        for i in 0..32 * 32 * 32 {
            let p = [at(i % 32), at(i / 32 % 32), at(i / 1024)];
            let square: f64 = (0..3).map(|k| (p[k] - c[k]).powi(2)).sum();
            out.push((-square / 32.0).exp());
        }
        out
    };
    let centre = [3.0, -2.0, 4.0];
    let a = batch_forward_project(&model, &truth, &gaussian(centre)).unwrap();
    let b = batch_forward_project(&model, &after, &gaussian(by.point(centre))).unwrap();
    let largest = a.iter().fold(0.0_f64, |m, v| m.max(*v));
    let gap = a.iter().zip(&b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    // Interpolation widens a Gaussian of s voxels by up to h^2 / 4 s^2 = 1.6 % of its height.
    assert!(gap < 1.6e-2 * largest, "{gap} {largest}");
    // The mirror: volume mirrored in y.
    let mirror = mirrored(&model, &truth).unwrap();
    let b = batch_forward_project(&model, &mirror, &gaussian([3.0, 2.0, 4.0])).unwrap();
    let gap = a.iter().zip(&b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 1e-12 * largest, "{gap}");
    // There and back.
    let back = moved(&model, &after, &by.inverse()).unwrap();
    assert!(back.iter().zip(&truth).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn nearest_motion_is_found() {
    let model = five(8, 20);
    let (start, truth) = poses(20, 1.0, 0.5, 4);
    let by = RigidTransform::translation([0.9, -1.4, 0.5])
        * RigidTransform::rotation([0.3, 0.5, 1.0], 0.4).unwrap();
    let after = moved(&model, &truth, &by).unwrap();
    let back = nearest(&model, &after, &truth).unwrap();
    let again = moved(&model, &after, &back).unwrap();
    assert!(again.iter().zip(&truth).all(|(a, b)| (a - b).abs() < 1e-9));
    // At the motion nearest to other poses the mean deviation along the generators of shifts
    // is zero, and that of turns to the second order.
    let near = moved(&model, &truth, &nearest(&model, &truth, &start).unwrap()).unwrap();
    for (name, table) in generators(&model, &near).unwrap() {
        let scale = |i: usize| if i % 5 < 3 { model.arm_mm().powi(2) } else { 1.0 };
        let shift = name.starts_with("shift");
        let inner = |table: &[f64], t: &[f64]| -> f64 {
            (0..t.len())
                .filter(|i| !shift || i % 5 >= 3)
                .map(|i| table[i] * (t[i] - start[i]) * scale(i))
                .sum()
        };
        if shift {
            assert!(inner(&table, &near).abs() < 1e-6, "{name} {}", inner(&table, &near));
        }
    }
    let both = gaps(&model, &near, &start).unwrap();
    let before = gaps(&model, &truth, &start).unwrap();
    let sum = |g: &[[f64; 2]], k: usize| g.iter().map(|v| v[k] * v[k]).sum::<f64>();
    assert!(sum(&both, 0) <= sum(&before, 0) && sum(&both, 1) <= sum(&before, 1));
}

#[test]
fn directions_are_seen() {
    let path = TrajectorySpec::circular(9, &[1.0, 1.0]);
    let geometry = path.geometry(GeometryKind::Parallel3d, [8, 8]).unwrap();
    let model = PoseModel::rigid(&geometry, grid(8), None).unwrap();
    // A shift along the beam is left out and named.
    let all = Unknowns::all(&model).unwrap();
    assert_eq!(all.len(), 9 * 5);
    assert!(all.fixed()[0].contains("along the beam"), "{:?}", all.fixed());
    let table = all.expand(&(0..45).map(|i| f64::from(i).sin()).collect::<Vec<_>>());
    for (row, d) in table.chunks(6).zip(model.blind_directions().unwrap()) {
        let along: f64 = (0..3).map(|k| row[3 + k] * d[k]).sum();
        assert!(along.abs() < 1e-12);
    }
    // The transpose.
    let z: Vec<f64> = (0..45).map(|i| f64::from(i * i).cos()).collect();
    let t: Vec<f64> = (0..54).map(|i| f64::from(i * 7).cos()).collect();
    let left: f64 = all.expand(&z).iter().zip(&t).map(|(a, b)| a * b).sum();
    let right: f64 = all.restrict(&t).iter().zip(&z).map(|(a, b)| a * b).sum();
    assert!((left - right).abs() < 1e-12);
    // Six motions of the volume are hidden; with known angles and shifts only the shifts.
    let zero = vec![0.0; 54];
    assert_eq!(Hidden::new(&model, &all, &zero).unwrap().names.len(), 6);
    let detector = Unknowns::new(&model, &[], &["detector_u"]).unwrap();
    assert!(Hidden::new(&model, &detector, &zero).unwrap().names.is_empty());
    let lift = Unknowns::new(&model, &[], &["detector_v"]).unwrap();
    assert_eq!(Hidden::new(&model, &lift, &zero).unwrap().names, ["shift along z"]);
    // A cone beam has the scale as a seventh.
    let mut path = TrajectorySpec::circular(9, &[1.0, 1.0]);
    (path.source_to_axis_mm, path.axis_to_detector_mm) = (Some(60.0), Some(40.0));
    let geometry = path.geometry(GeometryKind::Cone3d, [8, 8]).unwrap();
    let cone = PoseModel::rigid(&geometry, grid(8), None).unwrap();
    let all = Unknowns::all(&cone).unwrap();
    assert_eq!(all.len(), 54);
    let names = Hidden::new(&cone, &all, &zero).unwrap().names;
    assert_eq!(names.len(), 7, "{names:?}");
    assert!(names.contains(&"scale".to_string()));
    // Nothing, and unknown words.
    let says = |e: AlignError, text: &str| assert!(e.to_string().contains(text), "{e}");
    says(Unknowns::new(&model, &[], &[]).unwrap_err(), "no parameter is free");
    says(Unknowns::new(&model, &["omega"], &[]).unwrap_err(), "omega");
    says(Unknowns::new(&cone, &[], &["roll"]).unwrap_err(), "roll");
    says(Unknowns::new(&model, &["dx"], &["dx"]).unwrap_err(), "dx");
}

#[test]
fn methods_take_posed_views() {
    let (model, x) = (five(8, 6), volume(8));
    let (_, truth) = poses(6, 2.0, 1.0, 8);
    let views = PosedViews::new(&model, &truth);
    let y = batch_forward_project(&model, &truth, &x).unwrap();
    let mut some = vec![0.0; 2 * 64];
    ViewOperator::<f64>::forward(&views, &[4, 1], &x, &mut some).unwrap();
    assert_eq!(some[..64], y[4 * 64..5 * 64]);
    assert_eq!(some[64..], y[64..128]);
    let mut back = vec![0.0; 512];
    views.add_transpose(&[4, 1], &some, &mut back).unwrap();
    let left: f64 = some.iter().map(|v| v * v).sum();
    let right: f64 = back.iter().zip(&x).map(|(a, b)| a * b).sum();
    assert!((left - right).abs() < 1e-10 * left);
    let problem = Problem::new(&views, &y).unwrap();
    let mut run = Reconstruction::new(Algorithm::Cgls, &problem, &Settings::default()).unwrap();
    run.run(&StoppingRule::iterations(30), &mut |_| ControlFlow::Continue(())).unwrap();
    let last = run.history().last().unwrap().residual_norm;
    assert!(last < 1e-2 * left.sqrt(), "{last}");
}

#[test]
fn poses_and_volume_are_found() {
    let (n, views) = (32, 40);
    let fine = five(2 * n, views);
    let model = fine.coarser(2).unwrap();
    let (start, truth) = poses(views, 1.0, 1.0, 1);
    let y = batch_forward_project(&fine, &truth, &volume(2 * n)).unwrap();
    let mut y = fine.binned_projections(&y, 2).unwrap();
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut random = Normal::new(21);
    y.iter_mut().for_each(|v| *v += largest / 100.0 * random.next());
    let y: Vec<f32> = y.iter().map(|v| *v as f32).collect();
    // phi is known: of a smooth volume of this size it can't be told from a stretch.
    let unknowns = Unknowns::new(&model, &["alpha", "beta", "dx", "dz"], &[]).unwrap();
    let start: Vec<f64> = start
        .iter()
        .zip(&truth)
        .enumerate()
        .map(|(i, (s, t))| if i % 5 == 2 { *t } else { *s })
        .collect();
    let settings = JointSettings { levels: vec![2, 1], ..JointSettings::default() };
    let found = align_jointly(&model, &start, &y, &unknowns, &settings).unwrap();
    let framed = |t: &[f64]| moved(&model, t, &nearest(&model, t, &truth).unwrap()).unwrap();
    let gap = |t: &[f64], k: usize| {
        middle(t.iter().zip(&truth).skip(k).step_by(5).map(|(a, b)| (a - b).abs()).collect())
    };
    let (before, after) = (framed(&start), framed(&found.thetas()));
    for k in [0, 1, 3, 4] {
        let (was, is) = (gap(&before, k), gap(&after, k));
        // Turns of so small a volume are hardly seen: 1° moves its edge by 0.3 voxels.
        let share = if k < 3 { 0.5 } else { 0.15 };
        assert!(is < share * was, "parameter {k}: {was} before, {is} after");
    }
}

#[test]
fn smooth_motion_is_found() {
    // Views of little contrast: a prior of smooth motion brings the shifts nearer.
    let (model, x) = (five(16, 30), volume(16));
    let (start, _) = poses(30, 0.0, 0.0, 1);
    let truth: Vec<f64> = start
        .chunks(5)
        .enumerate()
        .flat_map(|(i, s)| [0.0, 0.0, s[2], (i as f64 * 0.12).sin() * 2.0, (i as f64 * 0.1).cos()])
        .collect();
    let mut y = batch_forward_project(&model, &truth, &x).unwrap();
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut random = Normal::new(31);
    y.iter_mut().for_each(|v| *v += 0.2 * largest * random.next());
    let unknowns = Unknowns::new(&model, &["dx", "dz"], &[]).unwrap();
    let rms = |motion: MotionPrior| {
        let settings = JointSettings { levels: vec![2, 1], motion, ..JointSettings::default() };
        let found = align_jointly(&model, &start, &y, &unknowns, &settings).unwrap();
        let t = found.thetas();
        let motion = nearest(&model, &t, &truth).unwrap();
        // Only the shift: angles were fixed.
        let t = moved(&model, &t, &RigidTransform::translation(motion.shift())).unwrap();
        let square = |k: usize| -> f64 {
            t.iter().zip(&truth).skip(k).step_by(5).map(|(a, b)| (a - b).powi(2)).sum()
        };
        ((square(3) + square(4)) / 60.0).sqrt()
    };
    let free = rms(MotionPrior::default());
    let smooth = rms(MotionPrior { sd_mm: None, step_mm: Some(0.25) });
    assert!(smooth < 0.8 * free, "{smooth} {free}");
    let wrong = MotionPrior { sd_mm: Some(-1.0), step_mm: None };
    let settings = JointSettings { motion: wrong, ..JointSettings::default() };
    let failed = align_jointly(&model, &start, &y, &unknowns, &settings).unwrap_err();
    assert!(failed.to_string().contains("motion_sd"), "{failed}");
}

#[test]
fn the_axis_of_a_parallel_scan_is_found() {
    // One detector shift for all views of a plane.
    let n = 48;
    let grid = VolumeGrid::new(&[n, n], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(60, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, n]).unwrap();
    let model = PoseModel::rigid(&geometry, grid, None).unwrap();
    let unknowns = Unknowns::new(&model, &[], &["detector_u"]).unwrap();
    let x: Vec<f64> = volume(n)[n / 2 * n * n..][..n * n].to_vec();
    let truth = unknowns.expand(&[1.7]);
    let mut y = batch_forward_project(&model, &truth, &x).unwrap();
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut random = Normal::new(41);
    y.iter_mut().for_each(|v| *v += 0.01 * largest * random.next());
    let start = vec![0.0; truth.len()];
    let found = align_jointly(&model, &start, &y, &unknowns, &JointSettings::default()).unwrap();
    assert!(found.hidden.is_empty());
    let gap = found.thetas().iter().zip(&truth).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(gap < 0.03, "{gap}");
}

#[test]
fn bad_input_says_where() {
    let (model, x) = (five(8, 3), volume(8));
    let (start, _) = poses(3, 0.0, 0.0, 1);
    let y = batch_forward_project(&model, &start, &x).unwrap();
    let unknowns = Unknowns::all(&model).unwrap();
    let joint = |y: &[f64], unknowns: &Unknowns, settings: &JointSettings| {
        align_jointly(&model, &start, y, unknowns, settings).unwrap_err().to_string()
    };
    let plain = JointSettings::default();
    assert!(joint(&y[1..], &unknowns, &plain).contains("projections"));
    let mut holed = y.clone();
    holed[7] = f64::NAN;
    assert!(joint(&holed, &unknowns, &plain).contains("[0, 0, 7]"));
    let levels = JointSettings { levels: vec![1, 2], ..plain.clone() };
    assert!(joint(&y, &unknowns, &levels).contains("levels"));
    assert!(joint(&vec![0.0; y.len()], &unknowns, &plain).contains("all 0"));
    let common = Unknowns::new(&model, &[], &["dz"]).unwrap();
    let text = joint(&y, &common, &plain);
    assert!(text.contains("shift along z") && text.contains("--volume"), "{text}");
    let known = align_to_volume(&model, &start, &x, &y, &common, &KnownSettings::default());
    assert!(known.unwrap_err().to_string().contains("common"));
    let short = align_to_volume(&model, &start[1..], &x, &y, &unknowns, &KnownSettings::default());
    assert!(short.unwrap_err().to_string().contains("poses"));
}
