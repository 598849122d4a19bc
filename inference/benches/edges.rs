//! Effective draws of a smoothed total variation posterior a CPU second:
//! `cargo bench -p microtome-inference --bench edges [-- CHAINS TUNE DRAWS]`.
//!
//! 64 x 64 voxels, 45 views of 92 pixels (Siddon), noise of 1 % of the largest projection,
//! lambda = 15, epsilon = 0.02: the problem of the peers. The least bulk effective sample
//! size is over a grid of 256 voxels; CPU seconds hold start and warm-up, not the
//! diagnostics, which are timed by themselves.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_inference::reconstruct::posterior::{
    ChainSettings, EdgePosterior, EdgePrior, ImageNoise,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, StandardNormal};

const N: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let at = |k: usize, default: usize| numbers.get(k).copied().unwrap_or(default);
    let settings = ChainSettings {
        chains: at(0, 16),
        tune: at(1, 150),
        draws: at(2, 1000),
        ..ChainSettings::default()
    };
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let volume = VolumeGrid::new(&[N, N], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec::circular(45, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, 92])?;
    let a = RayTransform::new(geometry, volume, Projector::Siddon)?;
    // Ellipses: half axes, centre, value.
    let ellipses = [
        ([0.86, 0.66], [0.0, 0.0], 1.0),
        ([0.8, 0.6], [0.0, 0.0], -0.8),
        ([0.3, 0.12], [0.0, 0.25], -0.2),
        ([0.35, 0.16], [0.0, -0.25], 0.3),
        ([0.12, 0.12], [0.45, 0.0], 0.4),
    ];
    let value = |i: usize| {
        let p = [i / N, i % N].map(|k| (k as f64 + 0.5) / (N as f64 / 2.0) - 1.0);
        let inside = |axes: [f64; 2], centre: [f64; 2]| {
            (0..2).map(|k| ((p[k] - centre[k]) / axes[k]).powi(2)).sum::<f64>() <= 1.0
        };
        let all = ellipses.iter().filter(|(axes, centre, _)| inside(*axes, *centre));
        all.map(|(_, _, v)| v).sum()
    };
    let truth: Vec<f64> = (0..N * N).map(value).collect();
    let mut projections = a.apply(&truth)?;
    let sigma = 0.01 * projections.iter().fold(0.0_f64, |m, v| m.max(*v));
    let mut rng = PhiloxRng::new(1, 0, 0);
    for y in &mut projections {
        let e: f64 = StandardNormal.sample(&mut rng);
        *y += sigma * e;
    }
    let weights = vec![1.0 / (sigma * sigma); projections.len()];
    let noise = ImageNoise::Normal { projections, weights };
    let started = ProcessTime::now();
    let prior = EdgePrior { weight: 15.0, rounding: 0.02, ridge: 0.0 };
    let posterior = EdgePosterior::new(&a, noise, prior)?;
    let chains = posterior.sample(&settings)?;
    let seconds = started.elapsed().as_secs_f64();
    let started = ProcessTime::now();
    let rows = chains.rows();
    let summaries = started.elapsed().as_secs_f64();
    let mut ess: Vec<f64> = rows.iter().step_by(16).map(|r| r.summary.ess_bulk).collect();
    ess.sort_by(f64::total_cmp);
    let rhat = rows.iter().fold(0.0_f64, |m, r| m.max(r.summary.rhat));
    println!(
        "{} chains x ({} + {}): {seconds:.2} CPU s and {summaries:.2} for the tables; bulk ESS \
         least {:.0}, median {:.0}; least a CPU s {:.0}; worst R-hat {rhat:.4}; acceptance \
         {:.2}, {:.1} gradients a draw, step {:.3}",
        settings.chains,
        settings.tune,
        settings.draws,
        ess[0],
        ess[ess.len() / 2],
        ess[0] / seconds,
        chains.acceptance,
        chains.steps_per_draw,
        chains.step
    );
    Ok(())
}
