//! The posterior of poses and volume: what ignoring the poses costs.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use microtome_inference::reconstruct::align::{
    JointSettings, PosteriorSettings, Unknowns, pose_posterior,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{
    GeometryKind, PoseModel, TrajectorySpec, VolumeGrid, batch_forward_project,
};
use rand_distr::{Distribution, StandardNormal};

const N: usize = 16;

fn model(views: usize) -> PoseModel {
    let grid = VolumeGrid::new(&[N, N], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(views, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, N + 8]).unwrap();
    PoseModel::rigid(&geometry, grid, None).unwrap()
}

fn image() -> Vec<f64> {
    let at = |i: usize| i as f64 - 0.5 * (N as f64 - 1.0);
    let blobs = [(1.0, -2.0, 3.5, 1.0), (-4.0, 3.0, 1.8, 0.8), (4.0, 3.5, 1.5, -0.5)];
    (0..N * N)
        .map(|i| {
            let (x, y) = (at(i % N), at(i / N));
            let of = |(a, b, s, v): &(f64, f64, f64, f64)| {
                v * (-0.5 * ((x - a).powi(2) + (y - b).powi(2)) / (s * s)).exp()
            };
            blobs.iter().map(of).sum()
        })
        .collect()
}

fn noisy(y: &[f64], sigma: f64, seed: u64) -> Vec<f64> {
    let mut random = PhiloxRng::new(seed, 0, 0);
    y.iter()
        .map(|v| {
            let z: f64 = StandardNormal.sample(&mut random);
            v + sigma * z
        })
        .collect()
}

#[test]
fn ignored_poses_make_images_too_certain() {
    let views = 20;
    let model = model(views);
    let unknowns = Unknowns::new(&model, &[], &["detector_u"]).unwrap();
    let x = image();
    let start = vec![0.0; views * 6];
    let y = batch_forward_project(&model, &start, &x).unwrap();
    let sigma = 0.02 * y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let y = noisy(&y, sigma, 5);
    let settings = JointSettings { sigma: Some(sigma), variation: 0.3, ..JointSettings::default() };
    // The feature of the image that a shift of the detector would be taken for.
    let side = |s: f64| batch_forward_project(&model, &unknowns.expand(&[s]), &x).unwrap();
    let (up, down) = (side(1e-4), side(-1e-4));
    let rate: Vec<f64> = up.iter().zip(&down).map(|(a, b)| (a - b) / 2e-4).collect();
    let mut feature = vec![0.0; N * N];
    model.back(&start, &rate, &mut feature).unwrap();
    let draws = 200;
    let of = |free: bool| {
        let posterior = PosteriorSettings { draws, free, always_draw: true, seed: 3 };
        let found =
            pose_posterior(&model, &start, &x, &y, &unknowns, &settings, &posterior).unwrap();
        let value = |d: &Vec<f64>| feature.iter().zip(d).map(|(f, d)| f * d).sum::<f64>();
        let square: f64 = found.volume_draws.iter().map(|d| value(d).powi(2)).sum();
        ((square / draws as f64).sqrt(), found)
    };
    let ((fixed, _), (free, posterior)) = (of(false), of(true));
    // The standard deviation of the shift, solved for, is that of the draws.
    let first = posterior.sd.iter().position(|s| *s > 0.0).unwrap();
    let square: f64 = posterior.pose_draws.iter().map(|d| d[first] * d[first]).sum();
    let ratio = (square / draws as f64).sqrt() / posterior.sd[first];
    // The error of a standard deviation from 200 draws is 5 %.
    assert!(posterior.sd_error == 0.0 && (ratio - 1.0).abs() < 0.2, "{ratio}");
    println!("sd of the feature: {fixed:.4} with the axis known, {free:.4} with it unknown");
    println!("sd of the axis: {:.4} mm", posterior.common_sd[0]);
    assert!(free > 1.15 * fixed, "{free} {fixed}");
}
