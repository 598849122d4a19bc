//! Calibration of source and detector from a phantom of balls, and what is refused.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use microtome_inference::reconstruct::align::{
    Hidden, JointSettings, KnownSettings, Loss, Unknowns, ViewStatus, align_jointly, calibrate,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{
    GeometryKind, PoseModel, TrajectorySpec, VolumeGrid, batch_forward_project,
};
use rand_distr::{Distribution, StandardNormal};

const N: usize = 32;

/// Balls of soft edge whose centres (mm) are known, drawn into the voxels.
fn balls(volume: &VolumeGrid) -> Vec<f64> {
    let shape = volume.shape();
    let [nz, ny, nx] =
        if let [ny, nx] = shape[..] { [1, ny, nx] } else { [shape[0], shape[1], shape[2]] };
    let centre = |k: f64| {
        let a = 2.4 * k;
        [
            (5.0 + 0.6 * k) * a.cos(),
            (5.0 + 0.6 * k) * a.sin(),
            if nz > 1 { 2.0 * k - 9.0 } else { 0.0 },
        ]
    };
    let at = |i: usize, n: usize| i as f64 - (n as f64 - 1.0) / 2.0;
    (0..nz * ny * nx)
        .map(|i| {
            let w = [at(i % nx, nx), at(i / nx % ny, ny), at(i / nx / ny, nz)];
            let of = |k: usize| {
                let c = centre(k as f64);
                let r = (0..3).map(|k| (w[k] - c[k]).powi(2)).sum::<f64>().sqrt();
                (2.2 - r + 0.5).clamp(0.0, 1.0)
            };
            (0..10).map(of).fold(0.0, f64::max)
        })
        .collect()
}

fn scan(kind: GeometryKind, views: usize, names: &[&str]) -> PoseModel {
    let d = kind.dimensions();
    let volume = VolumeGrid::new(&vec![N; d], &vec![1.0; d], &vec![0.0; d]).unwrap();
    let mut path = TrajectorySpec::circular(views, &vec![1.6; d - 1]);
    path.source_to_axis_mm = Some(80.0);
    path.axis_to_detector_mm = Some(40.0);
    let geometry = path.geometry(kind, if d == 2 { [1, N] } else { [N, N] }).unwrap();
    PoseModel::rigid(&geometry, volume, None).unwrap().with_detector(names).unwrap()
}

fn noisy(y: &mut [f64], share: f64, seed: u64) {
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut random = PhiloxRng::new(seed, 0, 0);
    for v in y {
        let z: f64 = StandardNormal.sample(&mut random);
        *v += share * largest * z;
    }
}

/// Errors of source and detector, one set of values, found with their standard errors.
fn calibrated(kind: GeometryKind, views: usize, errors: &[(&str, f64)], own: &[&str], loss: Loss) {
    let names: Vec<&str> = errors.iter().map(|e| e.0).collect();
    let model = scan(kind, views, &names);
    let n = model.parameters().len();
    let x = balls(model.volume());
    let start = vec![0.0; views * n];
    let mut truth = start.clone();
    for (view, row) in truth.chunks_mut(n).enumerate() {
        for ((_, value), out) in errors.iter().zip(&mut row[6..]) {
            *out = *value;
        }
        for name in own {
            let k = model.parameters().iter().position(|p| p == name).unwrap();
            row[k] = 0.4 * (view as f64 * 1.7 + k as f64).sin();
        }
    }
    let mut y = batch_forward_project(&model, &truth, &x).unwrap();
    noisy(&mut y, 0.02, 7);
    let unknowns = Unknowns::new(&model, own, &names).unwrap();
    let settings = KnownSettings { levels: vec![2, 1], loss, ..KnownSettings::default() };
    let found = calibrate(&model, &start, &x, &y, &unknowns, &settings).unwrap();
    for (k, (name, truth)) in errors.iter().enumerate() {
        let (value, unit) = unknowns.value_of(&model, k, found.common[k]);
        let (sd, _) = unknowns.value_of(&model, k, found.common_sd[k]);
        let z = (value - truth) / sd;
        println!("{kind:?} {name}: {value:.4} of {truth} {unit}, sd {sd:.4}, z {z:.2}");
        // Seen: the standard error is a small part of the error; and true to it.
        assert!(sd < 0.2 * truth.abs() && z.abs() < 4.5, "{name} {value} {sd}");
    }
    for (fit, truth) in found.views.iter().zip(truth.chunks(n)) {
        assert_eq!(fit.status, ViewStatus::Converged);
        for ((t, truth), sd) in fit.theta.iter().zip(truth).zip(&fit.sd) {
            assert!((t - truth).abs() <= 5.0 * sd + 1e-12, "{t} {truth} {sd}");
        }
    }
}

#[test]
fn balls_calibrate_a_cone() {
    let errors = [
        ("detector_u", 2.3),
        ("detector_v", -1.4),
        ("roll", 0.02),
        ("source_to_axis", 3.0),
        ("axis_to_detector", -2.5),
    ];
    calibrated(GeometryKind::Cone3d, 12, &errors, &[], Loss::Squares);
    // With views that wobble.
    calibrated(GeometryKind::Cone3d, 8, &errors[..1], &["dz", "alpha"], Loss::Huber(2.0));
}

#[test]
fn balls_calibrate_a_fan() {
    let errors = [("detector_u", 2.3), ("source_to_axis", 3.0), ("axis_to_detector", -2.5)];
    calibrated(GeometryKind::Fan2d, 60, &errors, &[], Loss::Squares);
}

#[test]
fn what_moves_rays_alike_is_named() {
    let all = ["detector_u", "detector_v", "roll", "source_to_axis", "axis_to_detector"];
    let model = scan(GeometryKind::Cone3d, 9, &all);
    let zero = vec![0.0; 9 * 11];
    let says = |own: &[&str], common: &[&str], text: &str| {
        let e = Unknowns::new(&model, own, common).unwrap_err().to_string();
        assert!(e.contains(text), "{e}");
    };
    // A roll is a turn of the volume about the beam, which each view may make.
    says(&["alpha", "beta", "phi", "dx", "dy", "dz"], &["roll"], "`roll`");
    says(&["alpha", "beta", "phi", "dx", "dy", "dz", "roll"], &[], "roll");
    // Source and detector moved alike are the volume moved along the beam.
    let alike = ["source_to_axis", "axis_to_detector"];
    says(&["alpha", "beta", "phi", "dx", "dy", "dz"], &alike, "axis_to_detector");
    // With the volume free: source and detector moved alike are another scale.
    let names = |common: &[&str]| {
        let unknowns = Unknowns::new(&model, &[], common).unwrap();
        Hidden::new(&model, &unknowns, &zero).unwrap().names
    };
    assert_eq!(names(&alike), ["scale"]);
    assert!(names(&["source_to_axis"]).is_empty());
    assert!(names(&["detector_u", "detector_v", "roll", "axis_to_detector"]).is_empty());
    // All six of every view with what only source and detector can do.
    let own = ["alpha", "beta", "phi", "dx", "dy", "dz"];
    let unknowns = Unknowns::new(&model, &own, &["detector_u", "detector_v"]).unwrap();
    assert_eq!(Hidden::new(&model, &unknowns, &zero).unwrap().names.len(), 7);
}

#[test]
fn the_axis_of_a_fan_is_found() {
    // The volume is unknown; one shift of the detector.
    let model = scan(GeometryKind::Fan2d, 60, &["detector_u"]);
    let unknowns = Unknowns::new(&model, &[], &["detector_u"]).unwrap();
    let start = vec![0.0; 60 * 7];
    let truth: Vec<f64> = [[0.0; 6].as_slice(), &[2.1]].concat().repeat(60);
    let mut y = batch_forward_project(&model, &truth, &balls(model.volume())).unwrap();
    noisy(&mut y, 0.01, 3);
    let found = align_jointly(&model, &start, &y, &unknowns, &JointSettings::default()).unwrap();
    let (value, unit) = unknowns.value_of(&model, 0, found.common[0]);
    println!("detector_u {value:.4} {unit}");
    assert!(unit == "mm" && (value - 2.1).abs() < 0.03, "{value}");
    assert!(found.views.iter().all(|v| (v.theta[6] - value).abs() < 1e-9));
}
