//! Fits with the noise of several coils and with outliers: bias, standard errors,
//! estimates of sigma, and draws of the posterior.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::fit::{Status, VoxelFit};
use microtome_inference::sample::{NutsOptions, Sampler};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::NoiseKind;
use voxels::{
    add_noise, at, column, fitter, lowered, mean, median, multi_shell, predict, scheme, sd, truth,
};

const COILS: NoiseKind = NoiseKind::NcChi { coils: 4 };
const STUDENT: NoiseKind = NoiseKind::StudentT { nu: 5.0 };
const NAMES: [&str; 4] = ["stick.lambda_par", "stick.fraction", "ball.lambda_iso", "s0"];

/// 400 repeats of one voxel. The sd of 400 numbers is known to 3.5 %, and so is the
/// mean of the errors; the estimates have no bias that 400 repeats can see.
fn repeats_agree(noise: NoiseKind, known: bool) {
    let acquisition = multi_shell();
    let sigma = 1.0 / 30.0;
    let lowered = lowered("ball_stick", noise, &acquisition);
    let model = lowered.model.clone();
    let mut fitter = fitter(&lowered, &acquisition);
    let x = truth(&model, &mut PhiloxRng::new(3, 0, 0));
    let clean = predict(&lowered, &x);
    let repeats: Vec<VoxelFit> = (0..400)
        .map(|i| {
            let mut y = clean.clone();
            add_noise(&mut y, noise, sigma, &mut PhiloxRng::new(4, i, 0));
            fitter.fit(&y, &[], known.then_some(sigma))
        })
        .collect();
    assert!(repeats.iter().all(|f| f.status == Status::Converged));
    for name in NAMES {
        let (k, c) = (at(&model, name), column(&model, name));
        let errors: Vec<f64> = repeats.iter().map(|f| f.x[k] - x[k]).collect();
        let empirical = sd(&errors);
        let reported = mean(&repeats.iter().map(|f| f.column_sd[c]).collect::<Vec<_>>());
        let bias = mean(&errors) / (empirical / 20.0);
        let ratio = reported / empirical;
        println!("{noise:?} known {known} {name}: ratio {ratio:.3}, bias {bias:+.2} errors");
        assert!((ratio - 1.0).abs() < 0.1, "{noise:?} {name}: {reported} against {empirical}");
        assert!(bias.abs() < 3.0, "{noise:?} {name}: {bias} standard errors");
    }
    let found = mean(&repeats.iter().map(|f| f.sigma / sigma).collect::<Vec<_>>());
    let scatter = sd(&repeats.iter().map(|f| f.sigma / sigma).collect::<Vec<_>>());
    let iterations = mean(&repeats.iter().map(|f| f.iterations as f64).collect::<Vec<_>>());
    println!("{noise:?} sigma / truth {found:.4}, scatter {scatter:.4}; {iterations} iterations");
    assert!((found - 1.0).abs() < 0.01, "{noise:?}: sigma / truth {found}");
}

#[test]
fn several_coils_of_known_sigma() {
    repeats_agree(COILS, true);
}

#[test]
fn several_coils() {
    repeats_agree(COILS, false);
}

/// The floor is at 0.38 of s0, and σ has several valleys.
#[test]
fn many_coils() {
    repeats_agree(NoiseKind::NcChi { coils: 64 }, false);
}

#[test]
fn student_noise_of_known_sigma() {
    repeats_agree(STUDENT, true);
}

#[test]
fn student_noise() {
    repeats_agree(STUDENT, false);
}

/// Half the shells at the floor of eight coils: least squares and a Rician likelihood
/// see water that does not move, the right likelihood does not.
#[test]
fn the_noise_floor_of_several_coils_is_seen() {
    let acquisition = scheme(12, &[(1.0, 30), (3.0, 60)]);
    let noise = NoiseKind::NcChi { coils: 8 };
    let sigma = 0.08;
    let right = lowered("ball_stick", noise, &acquisition);
    let rician = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let model = right.model.clone();
    let iso = at(&model, "ball.lambda_iso");
    let (mut ours, mut theirs, mut sigmas) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fit, mut wrong) = (fitter(&right, &acquisition), fitter(&rician, &acquisition));
    for voxel in 0..200 {
        let mut rng = PhiloxRng::new(6, voxel, 0);
        let x = truth(&model, &mut rng);
        let mut y = predict(&right, &x);
        add_noise(&mut y, noise, sigma, &mut rng);
        ours.push(fit.fit(&y, &[], Some(sigma)).x[iso] - x[iso]);
        theirs.push(wrong.fit(&y, &[], Some(sigma)).x[iso] - x[iso]);
        sigmas.push(fit.fit(&y, &[], None).sigma / sigma);
    }
    println!("median error {:+.4} against {:+.4}", median(&ours), median(&theirs));
    println!("sigma / truth {:.4} +- {:.4}", mean(&sigmas), sd(&sigmas));
    let error = 1.2533 * 1.4826 * median(&ours.iter().map(|e| e.abs()).collect::<Vec<_>>());
    assert!(median(&ours).abs() < 3.0 * error / 200_f64.sqrt());
    assert!(median(&theirs).abs() > 8.0 * error / 200_f64.sqrt());
    assert!((mean(&sigmas) - 1.0).abs() < 0.02);
}

/// One measurement in twenty is wrong by up to the whole signal.
#[test]
fn outliers_spoil_least_squares_and_not_student_fits() {
    let acquisition = multi_shell();
    let robust = lowered("ball_stick", STUDENT, &acquisition);
    let squares = lowered("ball_stick", NoiseKind::Gaussian, &acquisition);
    let model = robust.model.clone();
    let sigma = 1.0 / 30.0;
    let (mut a, mut b) = (fitter(&robust, &acquisition), fitter(&squares, &acquisition));
    let mut errors = vec![[Vec::new(), Vec::new()]; NAMES.len()];
    for voxel in 0..200 {
        let mut rng = PhiloxRng::new(9, voxel, 0);
        let x = truth(&model, &mut rng);
        let mut y = predict(&robust, &x);
        add_noise(&mut y, NoiseKind::Gaussian, sigma, &mut rng);
        for (i, v) in y.iter_mut().enumerate().skip(18) {
            if (i as u64 + voxel).is_multiple_of(20) {
                *v *= if i % 3 == 0 { 2.0 } else { 0.1 };
            }
        }
        let fits = [a.fit(&y, &[], None), b.fit(&y, &[], None)];
        for (list, name) in errors.iter_mut().zip(NAMES) {
            let k = at(&model, name);
            for (list, fit) in list.iter_mut().zip(&fits) {
                assert_eq!(fit.status, Status::Converged);
                list.push((fit.x[k] - x[k]).abs());
            }
        }
    }
    for ([ours, theirs], name) in errors.iter().zip(NAMES) {
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{name}: median |error| {ours:.4}, least squares {theirs:.4}");
        if name != "s0" {
            assert!(theirs > 1.7 * ours, "{name}: {ours} against {theirs}");
        }
    }
}

/// The intervals of the posterior hold the truth as often as they say, sigma free.
#[test]
fn posterior_intervals_hold_the_truth() {
    let acquisition = scheme(8, &[(1.0, 24), (3.0, 24)]);
    for noise in [COILS, STUDENT] {
        let lowered = lowered("ball_stick", noise, &acquisition);
        let model = lowered.model.clone();
        let options = NutsOptions { chains: 2, draws: 150, tune: 150, ..NutsOptions::default() };
        let mut sampler = Sampler::new(fitter(&lowered, &acquisition), options);
        let sigma = 0.05;
        let (mut inside, mut total, mut divergent) = (0, 0, 0);
        for voxel in 0..60 {
            let mut rng = PhiloxRng::new(14, voxel, 0);
            let mut x = truth(&model, &mut rng);
            let mut y = predict(&lowered, &x);
            add_noise(&mut y, noise, sigma, &mut rng);
            let posterior = sampler.sample(&y, &[], None, 1, voxel);
            assert_eq!(posterior.status, Status::Converged, "{noise:?}, voxel {voxel}");
            divergent +=
                posterior.traces.iter().flat_map(|t| &t.draws).filter(|d| d.diverging).count();
            x.push(sigma);
            let sigma_at = x.len() - 1;
            for k in NAMES.map(|n| at(&model, n)).into_iter().chain([sigma_at]) {
                let draws: Vec<f64> =
                    posterior.values.chunks_exact(posterior.width).map(|d| d[k]).collect();
                let below = draws.iter().filter(|v| **v < x[k]).count() as f64 / draws.len() as f64;
                inside += usize::from((0.1..0.9).contains(&below));
                total += 1;
            }
        }
        // 80 % of 300, with a standard error of 2.3 % were they independent.
        let share = inside as f64 / total as f64;
        println!("{noise:?}: {share:.3} of {total} inside, {divergent} divergent draws");
        assert!((share - 0.8).abs() < 0.07, "{noise:?}: {share}");
        assert!(divergent < 60, "{noise:?}: {divergent}");
    }
}
