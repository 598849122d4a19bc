//! Fits of compartments dispersed in a fan: the start scheme finds axis, angle and
//! widths of noise-free truths.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::fit::Status;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Frame, Model, NoiseKind};
use voxels::{at, fitter, lowered, multi_shell, predict, truth};

/// The largest difference of the values: the first and second axis of the fan up to
/// their signs, the others as they are.
fn error(model: &Model, fan: &str, x: &[f64], truth: &[f64]) -> f64 {
    let (mu, psi) = (at(model, &format!("{fan}.mu_x")), at(model, &format!("{fan}.psi")));
    let frame = |x: &[f64]| Frame::new([x[mu], x[mu + 1], x[mu + 2]], x[psi]).axes;
    let (a, b) = (frame(x), frame(truth));
    let mut worst = 0.0_f64;
    for (p, q) in a.iter().zip(&b).take(2) {
        let cosine: f64 = p.iter().zip(q).map(|(p, q)| p * q).sum();
        let sign = 1.0_f64.copysign(cosine);
        worst = p.iter().zip(q).map(|(p, q)| (p - sign * q).abs()).fold(worst, f64::max);
    }
    let others = (0..x.len()).filter(|k| *k != psi && !(mu..mu + 3).contains(k));
    others.map(|k| (x[k] - truth[k]).abs()).fold(worst, f64::max)
}

#[test]
fn noise_free_fans_are_recovered() {
    let acquisition = multi_shell();
    for (preset, fan) in [("noddi_bingham", "intra"), ("ball_rackets", "racket")] {
        let lowered = lowered(preset, NoiseKind::Gaussian, &acquisition);
        let model = lowered.model.clone();
        let mut fitter = fitter(&lowered, &acquisition);
        let (mut good, all) = (0, 200);
        for voxel in 0..all {
            let x = truth(&model, &mut PhiloxRng::new(21, voxel, 0));
            let fit = fitter.fit(&predict(&lowered, &x), &[], Some(1e-3));
            let e = error(&model, fan, &fit.x, &x);
            if e < 1e-6 {
                assert_eq!(fit.status, Status::Converged, "{preset} {voxel}");
                good += 1;
            } else {
                println!(
                    "{preset} {voxel}: {e:.1e} {:?}\n  fit   {:.4?}\n  truth {x:.4?}",
                    fit.status, fit.x
                );
            }
        }
        println!("{preset}: {good} of {all} recovered");
        assert!(good >= all - all / 100, "{preset}: {good} of {all} recovered");
    }
}
