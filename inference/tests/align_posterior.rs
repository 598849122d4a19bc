//! The posterior of poses and volume: coverage, and what ignoring the poses costs.
#![allow(clippy::unwrap_used)]

use microtome_inference::reconstruct::align::{
    JointSettings, PosteriorSettings, Unknowns, align_jointly, pose_posterior,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::ct::{
    GeometryKind, PoseModel, TrajectorySpec, VolumeGrid, batch_forward_project,
};
use rand_distr::{Distribution, StandardNormal};

const N: usize = 20;

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
fn posterior_of_the_pose_covers() {
    let model = model(24);
    let unknowns = Unknowns::new(&model, &[], &["detector_u"]).unwrap();
    let (truth, x) = (0.6, image());
    let y = batch_forward_project(&model, &unknowns.expand(&[truth]), &x).unwrap();
    let sigma = 0.02 * y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let settings = JointSettings {
        levels: vec![1],
        steps: vec![12],
        sigma: Some(sigma),
        variation: 0.1,
        ..JointSettings::default()
    };
    let start = vec![0.0; 24 * 6];
    let (runs, mut inside, mut square) = (60, 0, 0.0);
    for run in 0..runs {
        let y = noisy(&y, sigma, 100 + run);
        let found = align_jointly(&model, &start, &y, &unknowns, &settings).unwrap();
        let posterior = PosteriorSettings::default();
        let found_sd = pose_posterior(
            &model,
            &found.thetas(),
            &found.volume,
            &y,
            &unknowns,
            &settings,
            &posterior,
        )
        .unwrap();
        let z = (found.common[0] - truth) / found_sd.common_sd[0];
        square += z * z / runs as f64;
        inside += u32::from(z.abs() < 1.644_853_6);
    }
    println!("detector_u: {inside} of {runs} 90 % intervals hold the truth, rms z {:.2}", square.sqrt());
    // 54 of 60 are expected, sd 2.3.
    assert!((46..=60).contains(&inside), "{inside}");
    assert!((0.5..1.5).contains(&square.sqrt()), "{square}");
}

#[test]
fn ignored_poses_make_images_too_certain() {
    let views = 24;
    let model = model(views);
    let unknowns = Unknowns::new(&model, &["dx", "dy"], &[]).unwrap();
    let x = image();
    let start = vec![0.0; views * 6];
    let y = batch_forward_project(&model, &start, &x).unwrap();
    let sigma = 0.02 * y.iter().fold(0.0_f64, |m, v| m.max(*v));
    let y = noisy(&y, sigma, 5);
    let settings =
        JointSettings { sigma: Some(sigma), variation: 0.3, ..JointSettings::default() };
    let sd = |free: bool| {
        let posterior = PosteriorSettings { draws: 60, free, always_draw: true, seed: 3 };
        let found =
            pose_posterior(&model, &start, &x, &y, &unknowns, &settings, &posterior).unwrap();
        let square = |i: usize| found.volume_draws.iter().map(|d| d[i] * d[i]).sum::<f64>();
        let sds: Vec<f64> = (0..N * N).map(|i| (square(i) / 60.0).sqrt()).collect();
        (sds, found)
    };
    let (fixed, _) = sd(false);
    let (free, posterior) = sd(true);
    // Every view has one shift across the beam; exact and by draws agree.
    assert_eq!(unknowns.len(), views);
    assert!(posterior.sd_error == 0.0);
    let by_draws = |i: usize| {
        let sum: f64 = posterior.pose_draws.iter().map(|d| d[i] * d[i]).sum();
        (sum / 60.0).sqrt()
    };
    let ratios: Vec<f64> = (0..views * 6)
        .filter(|i| posterior.sd[*i] > 0.01 * posterior.sd.iter().fold(0.0_f64, |m, v| m.max(*v)))
        .map(|i| by_draws(i) / posterior.sd[i])
        .collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!((mean - 1.0).abs() < 0.1, "{mean}");
    let rms = |v: &[f64]| (v.iter().map(|s| s * s).sum::<f64>() / v.len() as f64).sqrt();
    println!("image sd: {:.4} with known shifts, {:.4} with unknown ones", rms(&fixed), rms(&free));
    assert!(rms(&free) > 1.02 * rms(&fixed), "{} {}", rms(&free), rms(&fixed));
}
