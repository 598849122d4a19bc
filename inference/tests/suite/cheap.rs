//! Importance sampling against densities of known moments, and the cheap methods of
//! sampling voxels against NUTS and their own promises.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::dense::{cholesky, cholesky_inverse};
use microtome_inference::diagnostics::khat_limit;
use microtome_inference::fit::Status;
use microtome_inference::sample::{
    Charted, Component, Importance, Laplace, NutsOptions, SampleOptions, Sampler, VoxelPosterior,
    components,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{NoiseKind, SampleMethod, SearchSpec};
use voxels::{add_noise, at, fitter, lowered, mean, predict, scheme, sd, truth};

// ---- densities of known moments -------------------------------------------

/// A density on one chart, known up to a factor.
struct Flat<F>(F);

impl<F: FnMut(&[f64]) -> f64> Charted for Flat<F> {
    fn ln_density(&mut self, _: usize, z: &[f64]) -> f64 {
        (self.0)(z)
    }

    fn carry(&mut self, _: usize, _: usize, z: &[f64], out: &mut [f64]) -> f64 {
        out.copy_from_slice(z);
        0.0
    }
}

/// The normal density at a mode with correlations 0.6^|i-j|.
fn normal_at(mode: &[f64], ln_density: f64) -> Laplace {
    let n = mode.len();
    let mut covariance: Vec<f64> =
        (0..n * n).map(|k| 0.6_f64.powi((k / n).abs_diff(k % n) as i32)).collect();
    assert!(cholesky(&mut covariance, n, 1e-14));
    let mut factor = cholesky_inverse(&covariance, n);
    assert!(cholesky(&mut factor, n, 1e-14));
    Laplace { mode: mode.to_vec(), factor, ln_density }
}

/// Checks weighted means of `f` against the truth, in Monte Carlo standard errors.
fn check(name: &str, w: &Importance, draws: usize, truth: f64, f: impl Fn(&[f64]) -> f64) {
    let value = |i: usize| f(w.coordinates(i));
    let mean: f64 = (0..draws).map(|i| w.weights()[i] * value(i)).sum();
    let mcse = (0..draws).map(|i| (w.weights()[i] * (value(i) - mean)).powi(2)).sum::<f64>().sqrt();
    println!("{name}: {mean:.4}, truth {truth}, mcse {mcse:.4}");
    assert!((mean - truth).abs() < 4.0 * mcse, "{name}: {mean} not {truth} +- {mcse}");
    assert!(mcse < 0.1 * (1.0 + truth.abs()), "{name}: mcse {mcse}");
}

const DRAWS: usize = 4000;

#[test]
fn moments_of_a_normal_density() {
    let target = normal_at(&[1.0, -2.0, 0.5, 0.0, 3.0, 7.0], 0.0);
    let mut density = Flat(|z: &[f64]| -0.5 * target.square_distance(z) + 17.0);
    let mut w = Importance::default();
    let mut mixture = components(vec![target.clone()]);
    w.draw(&mut density, &mut mixture, DRAWS, 2, &mut PhiloxRng::new(1, 0, 255));
    // The efficiency of a t density with five degrees of freedom in six dimensions.
    assert!(w.khat < 0.3 && w.effective > 0.7 * DRAWS as f64, "{} {}", w.khat, w.effective);
    assert_eq!(mixture.len(), 1, "nothing to adapt");
    for k in 0..6 {
        let m = target.mode[k];
        check(&format!("mean {k}"), &w, DRAWS, m, |z| z[k]);
        check(&format!("variance {k}"), &w, DRAWS, 1.0, |z| (z[k] - m).powi(2));
    }
    check("covariance", &w, DRAWS, 0.36, |z| (z[1] + 2.0) * (z[3] - 0.0));
}

#[test]
fn moments_of_a_t_density() {
    // Seven degrees of freedom: the variance is 7/5.
    let target = normal_at(&[0.5, -1.0, 2.0], 0.0);
    let mut density = Flat(|z: &[f64]| -5.0 * (1.0 + target.square_distance(z) / 7.0).ln());
    let mut w = Importance::default();
    let mut mixture = components(vec![target.clone()]);
    w.draw(&mut density, &mut mixture, DRAWS, 2, &mut PhiloxRng::new(2, 0, 255));
    assert!(w.khat < 0.5, "{}", w.khat);
    for k in 0..3 {
        check(&format!("mean {k}"), &w, DRAWS, target.mode[k], |z| z[k]);
        check(&format!("variance {k}"), &w, DRAWS, 1.4, |z| (z[k] - target.mode[k]).powi(2));
    }
}

#[test]
fn moments_of_two_modes_far_apart() {
    // Masses 0.8 and 0.2; the evidence that the components are told is right, then so
    // wrong that only the least share is left to the second.
    let modes = [normal_at(&[0.0, 0.0], 0.8_f64.ln()), normal_at(&[12.0, 5.0], 0.2_f64.ln())];
    for wrong in [0.0, -9.0] {
        let mut told = modes.to_vec();
        told[1].ln_density += wrong;
        let mut density = Flat(|z: &[f64]| {
            let p = |m: &Laplace| (m.ln_density - 0.5 * m.square_distance(z)).exp();
            (p(&modes[0]) + p(&modes[1])).ln()
        });
        let mut w = Importance::default();
        let mut mixture = components(told);
        w.draw(&mut density, &mut mixture, DRAWS, 2, &mut PhiloxRng::new(3, 0, 255));
        check(&format!("mass, {wrong}"), &w, DRAWS, 0.2, |z| f64::from(u8::from(z[0] > 6.0)));
        check(&format!("mean, {wrong}"), &w, DRAWS, 0.2 * 12.0, |z| z[0]);
    }
}

#[test]
fn a_scale_that_is_wrong_is_adapted_to() {
    // The curvature at the mode says sd 1; three of four axes are four times as wide.
    let narrow = normal_at(&[0.0; 4], 0.0);
    let scaled = |z: &[f64]| [z[0], z[1] / 4.0, z[2] / 4.0, z[3] / 4.0];
    let mut density = Flat(|z: &[f64]| -0.5 * narrow.square_distance(&scaled(z)));
    let (mut before, mut after) = (Importance::default(), Importance::default());
    let mut mixture = components(vec![narrow.clone()]);
    before.draw(&mut density, &mut mixture, 1000, 0, &mut PhiloxRng::new(4, 0, 255));
    after.draw(&mut density, &mut mixture, 1000, 2, &mut PhiloxRng::new(4, 0, 255));
    println!("k-hat {} and {}", before.khat, after.khat);
    assert!(mixture.len() > 1);
    assert!(before.effective < 300.0 && after.effective > 1000.0, "{}", after.effective);
    assert!(after.khat < khat_limit(1000));
    let draws = 1000 * mixture.len();
    check("variance", &after, draws, 16.0, |z| z[2] * z[2]);
    check("kept", &after, draws, 1.0, |z| z[0] * z[0]);
}

/// The tails of a Cauchy density are heavier than those of any component: k = 4/5.
#[test]
fn tails_too_heavy_are_seen() {
    let target = normal_at(&[0.0; 3], 0.0);
    let mut density = Flat(|z: &[f64]| -2.0 * (1.0 + target.square_distance(z)).ln());
    let mut w = Importance::default();
    // A component four times too narrow, so that its own tails meet those of the target.
    let mut narrow = target.clone();
    narrow.factor.iter_mut().for_each(|v| *v *= 4.0);
    let mut mixture = components(vec![narrow]);
    w.draw(&mut density, &mut mixture, DRAWS, 0, &mut PhiloxRng::new(5, 0, 255));
    assert!(w.khat > 0.7 && w.khat < 1.0, "{}", w.khat);
}

#[test]
fn a_density_that_fails_in_places_has_no_draws_there() {
    let target = normal_at(&[0.0, 0.0], 0.0);
    let mut density =
        Flat(|z: &[f64]| if z[0] < 0.0 { f64::NAN } else { -0.5 * target.square_distance(z) });
    let mut w = Importance::default();
    let mut rng = PhiloxRng::new(6, 0, 255);
    w.draw(&mut density, &mut vec![Component::new(target.clone(), 0, 1.0)], DRAWS, 0, &mut rng);
    let mut rows = Vec::new();
    w.resample(500, &mut rng, &mut rows);
    assert!(rows.iter().all(|i| w.coordinates(*i as usize)[0] >= 0.0));
    check("half normal", &w, DRAWS, (2.0 / std::f64::consts::PI).sqrt(), |z| z[0]);
}

/// Every draw comes as often as its weight says, up or down by less than one.
#[test]
fn resampling_is_systematic_and_shuffled() {
    let target = normal_at(&[0.0, 0.0], 0.0);
    let mut density = Flat(|z: &[f64]| -0.5 * target.square_distance(z));
    let mut w = Importance::default();
    let mut rng = PhiloxRng::new(7, 0, 255);
    w.draw(&mut density, &mut components(vec![target.clone()]), 600, 0, &mut rng);
    let mut rows = Vec::new();
    w.resample(1000, &mut rng, &mut rows);
    let mut copies = vec![0_usize; 600];
    rows.iter().for_each(|i| copies[*i as usize] += 1);
    for (n, weight) in copies.iter().zip(w.weights()) {
        assert!((*n as f64 - 1000.0 * weight).abs() < 1.0 + 1e-9, "{n} copies of {weight}");
    }
    // Shuffled: rank correlation of place and index, of sd 1/sqrt(n).
    let (place, index): (Vec<f64>, Vec<f64>) =
        rows.iter().enumerate().map(|(k, i)| (k as f64, f64::from(*i))).unzip();
    let product: Vec<f64> = place.iter().zip(&index).map(|(a, b)| a * b).collect();
    let correlation = (mean(&product) - mean(&place) * mean(&index)) / (sd(&place) * sd(&index));
    assert!(correlation.abs() < 4.0 / 1000.0_f64.sqrt(), "{correlation}");
}

// ---- voxels ---------------------------------------------------------------

const SIGMA: f64 = 1.0 / 30.0;

fn search(method: SampleMethod, draws: usize) -> SearchSpec {
    SearchSpec { draws, thin: 1, ..SearchSpec::for_method(method) }
}

fn column(p: &VoxelPosterior, k: usize) -> Vec<f64> {
    p.values.iter().skip(k).step_by(p.width).copied().collect()
}

/// Importance sampling and NUTS have the same mean and spread, in voxels where auto
/// takes the former; laplace is near.
#[test]
fn methods_agree_where_auto_trusts_the_weights() {
    let acquisition = scheme(8, &[(1.0, 30), (2.5, 30)]);
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let sampler = |s: SearchSpec| {
        Sampler::with_options(fitter(&lowered, &acquisition), SampleOptions::of(&s))
    };
    let [mut auto, mut nuts, mut laplace] =
        [SampleMethod::Auto, SampleMethod::Nuts, SampleMethod::Laplace]
            .map(|m| sampler(search(m, 1000)));
    let mut taken = 0;
    for voxel in 0..8 {
        let mut rng = PhiloxRng::new(31, voxel, 0);
        let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
        let a = auto.sample(&y, &[], Some(SIGMA), 1, voxel);
        if a.method != SampleMethod::Psis {
            continue;
        }
        taken += 1;
        let mut n = nuts.sample(&y, &[], Some(SIGMA), 1, voxel);
        n.thin(1);
        let l = laplace.sample(&y, &[], Some(SIGMA), 1, voxel);
        assert_eq!((a.status, a.modes, a.values.len()), (Status::Converged, 1, n.values.len()));
        assert!(a.traces.iter().all(|t| t.draws.len() == 1000 && t.gradients == 0));
        let weights = a.weights.unwrap();
        assert!(weights.khat <= khat_limit(weights.proposals) && weights.effective > 1000.0);
        for k in 0..a.width {
            let (x, y, z) = (column(&a, k), column(&n, k), column(&l, k));
            // About 2000 independent draws against about 2000: the mean to 4 se.
            let off = (mean(&x) - mean(&y)).abs() / sd(&y);
            assert!(off < 4.0 * (2.0_f64 / 1500.0).sqrt(), "voxel {voxel} value {k}: {off} sd");
            assert!((sd(&x) / sd(&y)).ln().abs() < 0.15, "voxel {voxel} value {k}");
            assert!((mean(&z) - mean(&y)).abs() < sd(&y), "laplace: voxel {voxel} value {k}");
        }
    }
    assert!(taken >= 6, "{taken}");
}

/// A ball with little signal: its diffusivity is hardly known and has a long tail, which the
/// proposals at the mode do not reach and those along the ridge do.
#[test]
fn open_scalars_are_proposed_along_their_ridge() {
    let acquisition = scheme(8, &[(1.0, 30), (2.5, 30)]);
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let sampler = |s: SearchSpec| {
        Sampler::with_options(fitter(&lowered, &acquisition), SampleOptions::of(&s))
    };
    let mut auto = sampler(search(SampleMethod::Auto, 500));
    let mut nuts = sampler(search(SampleMethod::Nuts, 2000));
    let open = at(&lowered.model, "ball.lambda_iso");
    let mut taken = 0;
    for voxel in 0..8 {
        let mut rng = PhiloxRng::new(35, voxel, 0);
        let mut x = truth(&lowered.model, &mut rng);
        x[at(&lowered.model, "stick.fraction")] = 0.85;
        x[at(&lowered.model, "ball.fraction")] = 0.15;
        x[open] = 2.0;
        let mut y = predict(&lowered, &x);
        add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
        let a = auto.sample(&y, &[], Some(SIGMA), 1, voxel);
        let spread = sd(&column(&a, open));
        if a.method != SampleMethod::Psis || spread < 0.25 * 0.9 {
            continue;
        }
        taken += 1;
        let n = nuts.sample(&y, &[], Some(SIGMA), 1, voxel);
        for k in 0..a.width {
            let (x, y) = (column(&a, k), column(&n, k));
            let off = (mean(&x) - mean(&y)).abs() / sd(&y);
            println!("voxel {voxel} value {k}: {off:.3} sd, sd ratio {:.3}", sd(&x) / sd(&y));
            // Some 800 independent draws against some 2000: the mean to 4 se.
            assert!(off < 4.0 * (1.0_f64 / 800.0 + 1.0 / 2000.0).sqrt(), "{voxel} {k}: {off}");
            assert!((sd(&x) / sd(&y)).ln().abs() < 0.15, "voxel {voxel} value {k}");
        }
    }
    assert!(taken >= 3, "{taken}");
}

/// A stick that is not there: its fraction has no lower end and its axis is open.
#[test]
fn vanishing_fractions_get_nuts() {
    let acquisition = scheme(8, &[(1.0, 30), (2.5, 30)]);
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let options = SampleOptions::of(&search(SampleMethod::Auto, 50));
    let mut sampler = Sampler::with_options(fitter(&lowered, &acquisition), options);
    for voxel in 0..3 {
        let mut rng = PhiloxRng::new(32, voxel, 0);
        let mut x = truth(&lowered.model, &mut rng);
        x[at(&lowered.model, "stick.fraction")] = 0.0;
        x[at(&lowered.model, "ball.fraction")] = 1.0;
        let mut y = predict(&lowered, &x);
        add_noise(&mut y, NoiseKind::Rician, SIGMA, &mut rng);
        let p = sampler.sample(&y, &[], Some(SIGMA), 1, voxel);
        assert_eq!((p.method, p.weights), (SampleMethod::Nuts, None));
        assert!(p.traces.iter().all(|t| t.gradients > 0));
    }
}

/// Voxels of two sticks with more than one answer are seen, and get NUTS in auto; the
/// draws of psis there are as wide as those of a mixture, not as those of the best mode.
#[test]
fn voxels_of_several_modes_are_seen() {
    let acquisition = scheme(6, &[(1.0, 16), (2.5, 16)]);
    let lowered = lowered("ball_sticks_2", NoiseKind::Rician, &acquisition);
    let sampler = |method| {
        let options = SampleOptions::of(&search(method, 100));
        Sampler::with_options(fitter(&lowered, &acquisition), options)
    };
    let mut psis = sampler(SampleMethod::Psis);
    let mut found = 0;
    for voxel in 0..60 {
        let mut rng = PhiloxRng::new(33, voxel, 0);
        let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, 2.0 * SIGMA, &mut rng);
        let p = psis.sample(&y, &[], Some(2.0 * SIGMA), 1, voxel);
        if p.modes < 2 {
            continue;
        }
        found += 1;
        println!("voxel {voxel}: {} modes, {:?}", p.modes, p.weights);
        let a = sampler(SampleMethod::Auto).sample(&y, &[], Some(2.0 * SIGMA), 1, voxel);
        assert_eq!((a.method, a.modes), (SampleMethod::Nuts, p.modes));
        // Laplace draws are those of the best mode alone: some value is wider in psis.
        let l = sampler(SampleMethod::Laplace).sample(&y, &[], Some(2.0 * SIGMA), 1, voxel);
        let wider = (0..p.width).map(|k| sd(&column(&p, k)) / sd(&column(&l, k)));
        let widest = wider.fold(0.0, f64::max);
        assert!(widest > 1.1, "{widest}");
    }
    assert!(found >= 2, "{found}");
}

#[test]
fn thinning_keeps_the_last_of_every_few() {
    let acquisition = scheme(6, &[(1.0, 16)]);
    let lowered = lowered("ball", NoiseKind::Gaussian, &acquisition);
    let options = NutsOptions { chains: 2, tune: 50, draws: 40, ..NutsOptions::default() };
    let mut sampler = Sampler::new(fitter(&lowered, &acquisition), options);
    let mut rng = PhiloxRng::new(34, 0, 0);
    let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
    add_noise(&mut y, NoiseKind::Gaussian, SIGMA, &mut rng);
    let mut whole = sampler.sample(&y, &[], Some(SIGMA), 1, 0);
    // Of chains that went on as many draws stay as were asked for.
    whole.thin(1);
    assert_eq!((whole.lengthened, whole.values.len()), (1, 2 * 40 * whole.width));
    let mut thin = whole.clone();
    thin.thin(4);
    assert_eq!(thin.values.len() * 4, whole.values.len());
    for chain in 0..2 {
        for i in 0..10 {
            let (from, to) = (chain * 40 + 4 * i + 3, chain * 10 + i);
            assert_eq!(
                thin.values[to * thin.width..(to + 1) * thin.width],
                whole.values[from * whole.width..(from + 1) * whole.width]
            );
            let lp = |p: &VoxelPosterior, i: usize| p.traces[chain].draws[i].ln_density;
            assert_eq!(lp(&thin, i), lp(&whole, 4 * i + 3));
        }
    }
}
