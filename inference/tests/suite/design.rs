//! Designs: expected standard deviations against fits, and searches within limits.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::voxels;

use microtome_inference::design::{DesignError, DesignSearch, Expected, Limits, optimise};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::information::{Criterion, Decay, Experiment, NoiseLevel, Optimality};
use microtome_models::{Acquisition, Lowered, NoiseKind, PulseTiming};
use std::sync::Arc;
use voxels::{add_noise, at, axis_angle_deg, fitter, lowered, predict, scheme, sd};

/// The bound of Cramér and Rao is the spread of 600 fits of one truth (whose standard
/// deviations are known to 2.9 %).
#[test]
fn fisher_information_is_the_covariance_of_fits() {
    let acquisition = scheme(8, &[(1.0, 32), (2.5, 32)]);
    for (noise, snr) in [(NoiseKind::Gaussian, 40.0), (NoiseKind::Rician, 20.0)] {
        let lowered = lowered("ball_stick", noise, &acquisition);
        let model = lowered.model.clone();
        let mut x = vec![0.0; model.values()];
        for (name, v) in [
            ("stick.mu_x", 0.36),
            ("stick.mu_y", 0.48),
            ("stick.mu_z", 0.8),
            ("stick.lambda_par", 1.8),
            ("stick.fraction", 0.55),
            ("ball.fraction", 0.45),
            ("ball.lambda_iso", 1.1),
            ("s0", 1.0),
        ] {
            x[at(&model, name)] = v;
        }
        let sets = [(x.clone(), Vec::new())];
        let experiment = Experiment::new(&lowered, &sets, NoiseLevel::Snr(snr), None).unwrap();
        let expected = Expected::of(&experiment, &acquisition).unwrap();
        let clean = predict(&lowered, &x);
        let mut fitter = fitter(&lowered, &acquisition);
        let repeats: Vec<Vec<f64>> = (0..600)
            .map(|k| {
                let mut y = clean.clone();
                add_noise(&mut y, noise, 1.0 / snr, &mut PhiloxRng::new(3, k, 0));
                fitter.fit(&y, &[], Some(1.0 / snr)).x
            })
            .collect();
        for q in &expected.quantities {
            let (found, wanted) = if q.is_axis {
                let k = at(&model, "stick.mu_x");
                let square = |r: &Vec<f64>| axis_angle_deg(&r[k..k + 3], &x[k..k + 3]).powi(2);
                let mean = repeats.iter().map(square).sum::<f64>() / repeats.len() as f64;
                (mean.sqrt(), q.cramer_rao.to_degrees())
            } else {
                let k = at(&model, &q.name);
                (sd(&repeats.iter().map(|r| r[k]).collect::<Vec<_>>()), q.cramer_rao)
            };
            let ratio = found / wanted;
            // Three standard errors and 4 % of what is beyond the linear.
            assert!((ratio - 1.0).abs() < 0.13, "{noise} {}: {found} {wanted}", q.name);
            assert!(q.posterior <= q.cramer_rao && q.posterior < q.prior, "{}", q.name);
        }
    }
}

#[test]
fn expected_sd_falls_with_the_root_of_the_measurements() {
    let few = scheme(4, &[(1.0, 20), (2.0, 20)]);
    let lowered = lowered("ball_stick", NoiseKind::Rician, &few);
    let x = {
        let mut x = vec![0.5; lowered.model.values()];
        let k = at(&lowered.model, "stick.mu_x");
        x[k..k + 3].copy_from_slice(&[0.0, 0.6, 0.8]);
        x
    };
    let sets = [(x, Vec::new())];
    let experiment = Experiment::new(&lowered, &sets, NoiseLevel::Snr(25.0), None).unwrap();
    let once = Expected::of(&experiment, &few).unwrap();
    let twice: Vec<usize> = (0..few.len()).chain(0..few.len()).collect();
    let double = Expected::of(&experiment, &few.subset(&twice)).unwrap();
    for (a, b) in once.quantities.iter().zip(&double.quantities) {
        assert!((a.cramer_rao / b.cramer_rao - 2.0_f64.sqrt()).abs() < 1e-9, "{}", a.name);
    }
    // Groups: b = 0 and two shells, each with all its measurements.
    let sizes: Vec<usize> = once.shells.iter().map(|s| s.members.len()).collect();
    assert_eq!(sizes, [4, 20, 20]);
    assert!(once.shells.iter().all(|s| s.nats > 0.0 && s.ratio.iter().all(|r| *r >= 1.0)));
}

/// One exponential of a known scale: the best single b is 1/lambda, by
/// d/db of b exp(-b lambda), and a weak shell is of little use.
#[test]
fn a_shell_that_is_not_needed_loses_little() {
    let toml = "[[compartment]]\nkind = \"ball\"\n[link]\n\"s0\" = { fixed = 1.0 }\n";
    let acquisition = scheme(10, &[(0.1, 20), (1.25, 20)]);
    let lowered = lowered(toml, NoiseKind::Gaussian, &acquisition);
    let sets = [(vec![0.8], Vec::new())];
    let experiment = Experiment::new(&lowered, &sets, NoiseLevel::Snr(20.0), None).unwrap();
    let expected = Expected::of(&experiment, &acquisition).unwrap();
    let information = |b: f64| (b * (-b * 0.8).exp()).powi(2) * 20.0 * 400.0;
    let whole = information(0.1) + information(1.25);
    let q = &expected.quantities[0];
    assert!((q.cramer_rao - 1.0 / whole.sqrt()).abs() < 1e-12);
    assert!((expected.shells[0].ratio[0] - 1.0).abs() < 1e-12 && expected.shells[0].nats == 0.0);
    assert!(expected.shells[1].ratio[0] < 1.02 && expected.shells[2].ratio[0] > 3.0);
}

fn activeax(noise: NoiseKind, decay: Option<Decay>) -> Arc<Experiment> {
    let timing = PulseTiming { delta_ms: vec![1.0], big_delta_ms: vec![1.0] };
    let nothing = Acquisition::from_b(&[0.0], &[[0.0; 3]], Some(timing), Some(vec![0.0])).unwrap();
    let lowered: Lowered = lowered("activeax", noise, &nothing);
    let set = |diameter: f64, mu: [f64; 3]| {
        let mut x = vec![1.0; lowered.model.values()];
        let k = at(&lowered.model, "intra.mu_x");
        x[k..k + 3].copy_from_slice(&mu);
        for (name, v) in [
            ("intra.diameter", diameter),
            ("intra.fraction", 0.6),
            ("extra.fraction", 0.3),
            ("csf.fraction", 0.1),
        ] {
            x[at(&lowered.model, name)] = v;
        }
        (x, Vec::new())
    };
    let sets = [set(4.0, [0.6, 0.0, 0.8]), set(8.0, [-0.48, 0.64, 0.6])];
    Arc::new(Experiment::new(&lowered, &sets, NoiseLevel::Snr(20.0), decay).unwrap())
}

#[test]
fn searches_end_within_the_limits_and_below_their_start() {
    let decay = Decay { t2_ms: 70.0, reference_te_ms: 60.0 };
    for (decay, b0) in [(Some(decay), None), (None, Some(7))] {
        let experiment = activeax(NoiseKind::Gaussian, decay);
        let criterion =
            Criterion::new(experiment.clone(), Optimality::default(), true, &[]).unwrap();
        let limits =
            Limits { b0, max_b: 12.0, max_te_ms: 90.0, gap_ms: 7.5, ..Limits::new(0.1, 2, 61) };
        let mut search = DesignSearch::new(limits.clone());
        (search.starts, search.iterations, search.directions) = (3, 25, 12);
        let design = optimise(&criterion, &search).unwrap();
        assert!(design.criterion < design.start, "{} {}", design.criterion, design.start);
        assert!(design.ends.iter().all(|e| e.is_finite()));
        let protocol = &design.protocol;
        let whole: f64 = protocol.shells.iter().map(|s| s.measurements).sum();
        assert_eq!(whole + protocol.b0, 61.0);
        assert_eq!(design.acquisition.len(), 61);
        assert!(b0.is_none_or(|n| protocol.b0 == n as f64) && protocol.b0 >= 1.0);
        let mut needed = 0.0_f64;
        for s in &protocol.shells {
            assert!(s.measurements.fract() == 0.0 && s.measurements >= 6.0);
            assert!(s.gradient_t_per_m <= 0.1 && s.b() <= 12.0 + 1e-9 && s.delta_ms >= 3.0);
            assert!(s.big_delta_ms - s.delta_ms >= 7.5 - 1e-9);
            needed = needed.max(s.big_delta_ms + s.delta_ms + limits.overhead_ms);
        }
        assert!(protocol.te_ms <= 90.0 + 1e-9 && (protocol.te_ms - needed).abs() < 1e-9);
        // The acquisition is that of the protocol.
        let again =
            criterion.of_information(&experiment.information(&design.acquisition, None).unwrap());
        assert_eq!(again, design.criterion);
        // One thread finds the same to the bit.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| optimise(&criterion, &search)).unwrap(), design);
    }
}

#[test]
fn searches_that_cannot_be_are_refused() {
    let criterion = Criterion::new(
        activeax(NoiseKind::Gaussian, None),
        Optimality::RelativeToValue,
        false,
        &[("intra.diameter".into(), 1.0)],
    )
    .unwrap();
    let few = DesignSearch::new(Limits::new(0.06, 3, 12));
    assert!(matches!(optimise(&criterion, &few), Err(DesignError::Measurements { .. })));
    let short = DesignSearch::new(Limits { max_te_ms: 10.0, ..Limits::new(0.06, 3, 90) });
    assert!(matches!(optimise(&criterion, &short), Err(DesignError::Time { .. })));
}
