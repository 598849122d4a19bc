//! NUTS against what is known: a normal density, simulation-based calibration,
//! an importance-sampling reference, and the promises about seeds and failures.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::dense::{cholesky, cholesky_inverse};
use microtome_inference::diagnostics::{Chains, Summary, Workspace, summarize};
use microtome_inference::fit::Status;
use microtome_inference::sample::{
    Laplace, LnDensity, NutsOptions, Sampler, Trace, VoxelPosterior, run_chain,
};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Evaluator, FreeKind, Lowered, Model, NoiseKind, Posterior, Sigma,
};
use rand::RngExt;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use std::collections::BTreeMap;
use voxels::{
    add_noise, at, axis_angle_deg, direction, fitter, lowered, mean, multi_shell, normal, predict,
    scheme, sd, truth,
};

fn sampler(lowered: &Lowered, acquisition: &Acquisition, options: NutsOptions) -> Sampler {
    Sampler::new(fitter(lowered, acquisition), options)
}

/// All draws of value `k`, chain after chain.
fn draws_of(posterior: &VoxelPosterior, k: usize) -> Vec<f64> {
    posterior.values.iter().skip(k).step_by(posterior.width).copied().collect()
}

fn summary(values: &[f64], chains: usize) -> Summary {
    summarize(Chains::new(values, chains, values.len() / chains).unwrap(), &mut Workspace::new())
}

fn bits(posterior: &VoxelPosterior) -> Vec<u64> {
    let statistics = posterior
        .traces
        .iter()
        .flat_map(|t| &t.draws)
        .flat_map(|d| [d.ln_density, d.energy, d.step_size]);
    posterior.values.iter().copied().chain(statistics).map(f64::to_bits).collect()
}

// ---- densities of known moments -------------------------------------------

const MEAN: [f64; 5] = [1.0, -2.0, 0.5, 30.0, 0.0];
const SD: [f64; 5] = [1.0, 0.5, 2.0, 3.0, 0.1];

/// Correlations 0.7^|i-j|.
struct CorrelatedNormal {
    precision: Vec<f64>,
}

impl CorrelatedNormal {
    fn new() -> Self {
        let mut covariance = vec![0.0; 25];
        for i in 0..5 {
            for j in 0..5 {
                covariance[i * 5 + j] = SD[i] * SD[j] * 0.7_f64.powi((i as i32 - j as i32).abs());
            }
        }
        assert!(cholesky(&mut covariance, 5, 1e-14));
        Self { precision: cholesky_inverse(&covariance, 5) }
    }
}

impl LnDensity for CorrelatedNormal {
    fn dim(&self) -> usize {
        5
    }

    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for i in 0..5 {
            gradient[i] =
                -(0..5).map(|j| self.precision[i * 5 + j] * (x[j] - MEAN[j])).sum::<f64>();
            value += 0.5 * gradient[i] * (x[i] - MEAN[i]);
        }
        value
    }
}

#[test]
fn moments_of_a_correlated_normal() {
    let options = NutsOptions { tune: 600, draws: 2000, ..NutsOptions::default() };
    let mut density = CorrelatedNormal::new();
    let traces: Vec<Trace> = (0..4)
        .map(|chain| {
            let mut rng = PhiloxRng::new(2, 0, chain);
            let start: Vec<f64> =
                MEAN.iter().zip(SD).map(|(m, s)| m + 2.0 * s * normal(&mut rng)).collect();
            run_chain(&mut density, &start, &options, &mut rng)
        })
        .collect();
    assert!(traces.iter().all(|t| !t.failed && t.draws.len() == 2000));
    assert!(traces.iter().flat_map(|t| &t.draws).all(|d| !d.diverging));
    for k in 0..5 {
        let values: Vec<f64> =
            traces.iter().flat_map(|t| &t.draws).map(|d| d.position[k]).collect();
        let s = summary(&values, 4);
        println!(
            "x{k}: z {:+.2}, sd ratio {:.4}, rhat {:.4}, ess {:.0}",
            (s.mean - MEAN[k]) / s.mcse_mean,
            s.sd / SD[k],
            s.rhat,
            s.ess_bulk
        );
        assert!((s.mean - MEAN[k]).abs() < 4.0 * s.mcse_mean, "mean of x{k}: {s:?}");
        assert!((s.sd / SD[k] - 1.0).abs() < 0.05, "sd of x{k}: {s:?}");
        assert!(s.rhat < 1.01, "x{k}: {s:?}");
    }
    // The log density at a draw is that of the position.
    let draw = &traces[0].draws[17];
    assert_eq!(density.ln_density(&draw.position, &mut [0.0; 5]), draw.ln_density);
}

/// A normal density that can't be evaluated below `wall`.
struct Walled {
    wall: f64,
}

impl LnDensity for Walled {
    fn dim(&self) -> usize {
        2
    }

    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.copy_from_slice(&[-x[0], -x[1]]);
        if x[0] < self.wall { f64::NAN } else { -0.5 * (x[0] * x[0] + x[1] * x[1]) }
    }
}

#[test]
fn a_density_that_fails_somewhere_diverges_and_one_that_always_fails_has_failed() {
    let options = NutsOptions { draws: 500, ..NutsOptions::default() };
    let trace =
        run_chain(&mut Walled { wall: 0.0 }, &[1.0, 0.5], &options, &mut PhiloxRng::new(1, 0, 0));
    let divergences = trace.draws.iter().filter(|d| d.diverging).count();
    println!("{divergences} divergences in {} draws", trace.draws.len());
    assert!(!trace.failed);
    assert_eq!(trace.draws.len(), 500);
    assert!(divergences > 0);
    assert!(trace.draws.iter().all(|d| d.position[0] >= 0.0 && d.ln_density.is_finite()));
    let never = run_chain(
        &mut Walled { wall: f64::INFINITY },
        &[1.0, 0.5],
        &options,
        &mut PhiloxRng::new(1, 0, 0),
    );
    assert!(never.failed && never.draws.is_empty());
    let away =
        run_chain(&mut Walled { wall: 0.0 }, &[-1.0, 0.5], &options, &mut PhiloxRng::new(1, 0, 0));
    assert!(away.failed && away.draws.is_empty(), "a start where the density can't be evaluated");
}

// ---- the normal approximation ---------------------------------------------

/// With 288 measurements at SNR 50 a posterior is normal up to a skewness of
/// some 0.2, which puts its mean 0.1 sd from its mode; Monte Carlo adds 0.02 to
/// means and 2 % to sds. Twice the first and 10 % are granted.
#[test]
fn whitened_posterior_is_white() {
    let acquisition = multi_shell();
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let mut sampler = sampler(&lowered, &acquisition, NutsOptions::default());
    let sigma = 1.0 / 50.0;
    let (mut worst_mean, mut low, mut high) = (0.0_f64, 1.0_f64, 1.0_f64);
    for voxel in 0..20 {
        let mut rng = PhiloxRng::new(21, voxel, 0);
        let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
        add_noise(&mut y, NoiseKind::Rician, sigma, &mut rng);
        let draws = sampler.sample(&y, &[], Some(sigma), 1, voxel);
        let mut evaluator = Evaluator::new(&lowered);
        let fit = &draws.fit;
        let mut posterior =
            Posterior::new(&mut evaluator, &y, Sigma::Known(sigma), fit.mean_b0, &fit.x).unwrap();
        let n = posterior.dim();
        let mut z = vec![0.0; n];
        posterior.chart().to_coordinates(&fit.x, &mut z);
        let laplace = Laplace::at_mode(&mut posterior, &z).unwrap();
        let mut white = vec![Vec::new(); n];
        for x in draws.values.chunks_exact(draws.width) {
            posterior.chart().to_coordinates(x, &mut z);
            // xi = L^T (z - mode)
            for (i, column) in white.iter_mut().enumerate() {
                column.push(
                    (i..n).map(|k| laplace.factor[k * n + i] * (z[k] - laplace.mode[k])).sum(),
                );
            }
        }
        for column in &white {
            worst_mean = worst_mean.max(mean(column).abs());
            low = low.min(sd(column));
            high = high.max(sd(column));
        }
    }
    println!(
        "white coordinates of 20 voxels: |mean| up to {worst_mean:.3}, sd {low:.3} to {high:.3}"
    );
    assert!(worst_mean < 0.2, "{worst_mean}");
    assert!(low > 0.9 && high < 1.1, "{low} to {high}");
}

// ---- simulation-based calibration -----------------------------------------

const CALIBRATION: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[prior]
"stick.lambda_par" = { normal = [1.7, 0.3] }
"ball.lambda_iso" = { normal = [1.2, 0.3] }
"s0" = { lognormal = [0.0, 0.2] }
"fractions" = { dirichlet = [1.0, 1.0] }
"stick.mu" = "isotropic"
"#;

/// A draw from the prior.
fn prior_draw(model: &Model, rng: &mut PhiloxRng) -> Vec<f64> {
    let mut x = vec![0.0; model.values()];
    for free in model.free() {
        match &free.kind {
            FreeKind::Axis => x[free.at..free.at + 3].copy_from_slice(&direction(rng)),
            FreeKind::Fractions { concentration, .. } => {
                assert_eq!(concentration, &[1.0, 1.0]);
                x[free.at] = rng.random();
                x[free.at + 1] = 1.0 - x[free.at];
            }
            _ => x[free.at] = free.prior.as_ref().unwrap().quantile(rng.random()),
        }
    }
    x
}

const SIMULATIONS: u64 = 400;
const RANKED: [&str; 5] = ["lambda_par", "fraction", "s0", "(e_x . mu)^2", "ln likelihood"];
/// Draws kept of a simulation: every tenth one, less one, so that ranks have 100 values.
const KEPT: usize = 99;

/// Ranks of the truth among thinned draws, for each of [`RANKED`]; the sampler
/// is told `told` times the true sigma.
///
/// Source: Talts et al. 2018, arXiv:1804.06788; the likelihood as a ranked
/// quantity: Modrák et al. 2023, doi:10.1214/23-BA1404.
fn ranks(told: f64) -> [Vec<usize>; 5] {
    let acquisition = scheme(4, &[(1.0, 18), (2.5, 18)]);
    let lowered = lowered(CALIBRATION, NoiseKind::Rician, &acquisition);
    let model = lowered.model.clone();
    let options = NutsOptions { tune: 150, draws: 250, ..NutsOptions::default() };
    let mut sampler = sampler(&lowered, &acquisition, options);
    let sigma = 0.05;
    let mut evaluator = Evaluator::new(&lowered);
    let mut slots = vec![0.0; lowered.plan.slots()];
    let mut out: [Vec<usize>; 5] = Default::default();
    for row in 0..SIMULATIONS {
        let mut rng = PhiloxRng::new(31, row, 0);
        let x = prior_draw(&model, &mut rng);
        let mut y = predict(&lowered, &x);
        add_noise(&mut y, NoiseKind::Rician, sigma, &mut rng);
        lowered.plan.scatter(&y, &mut slots);
        let posterior = sampler.sample(&y, &[], Some(told * sigma), 77, row);
        assert_eq!(posterior.traces.len(), 4, "voxel {row} has no draws: {:?}", posterior.status);
        let mut quantities = |x: &[f64]| {
            let signal = evaluator.signal(&x[..model.values()]);
            [
                x[at(&model, "stick.lambda_par")],
                x[at(&model, "stick.fraction")],
                x[at(&model, "s0")],
                x[at(&model, "stick.mu_x")].powi(2),
                NoiseKind::Rician.value(&slots, signal, lowered.plan.mask(), told * sigma),
            ]
        };
        let true_quantities = quantities(&x);
        let mut below = [0; 5];
        for draw in posterior.values.chunks_exact(posterior.width).skip(9).step_by(10).take(KEPT) {
            for ((n, q), t) in below.iter_mut().zip(quantities(draw)).zip(true_quantities) {
                *n += usize::from(q < t);
            }
        }
        for (list, n) in out.iter_mut().zip(below) {
            list.push(n);
        }
    }
    out
}

/// The probability of ranks as uneven as these, by chi-square on ten bins.
fn uniformity(ranks: &[usize]) -> f64 {
    let mut bins = [0.0; 10];
    for r in ranks {
        bins[r * 10 / (KEPT + 1)] += 1.0;
    }
    let expected = ranks.len() as f64 / 10.0;
    let square: f64 = bins.iter().map(|n| (n - expected) * (n - expected) / expected).sum();
    ChiSquared::new(9.0).unwrap().sf(square)
}

/// Uniform ranks fail by chance once in a thousand runs (five quantities).
const LEVEL: f64 = 1e-3 / 5.0;

#[test]
fn the_sampler_is_calibrated() {
    let ranks = ranks(1.0);
    for (name, ranks) in RANKED.iter().zip(&ranks) {
        let inside = ranks.iter().filter(|r| (5..95).contains(*r)).count();
        let p = uniformity(ranks);
        println!(
            "{name}: p {p:.3}, 90 % intervals hold {:.1} %",
            100.0 * inside as f64 / ranks.len() as f64
        );
        assert!(p > LEVEL, "{name}: ranks are not uniform, p = {p:.1e}");
    }
}

/// The test can fail: a sampler that is told a sigma 25 % too small is caught.
#[test]
fn calibration_notices_a_wrong_sigma() {
    let ranks = ranks(0.75);
    let p: Vec<f64> = ranks.iter().map(|r| uniformity(r)).collect();
    println!("sigma 25 % too small: {:?}", RANKED.iter().zip(&p).collect::<Vec<_>>());
    assert!(p.iter().any(|p| *p < LEVEL), "{p:?}");
}

// ---- the reference posterior ----------------------------------------------

const REFERENCE: &str = r#"
[[compartment]]
kind = "stick"
[[compartment]]
kind = "ball"
[link]
"ball.lambda_iso" = { equal = "stick.lambda_par" }
[prior]
"stick.lambda_par" = { lognormal = [0.4054651081081644, 0.5] }
"s0" = { lognormal = [0.0, 1.0] }
"#;

/// `tests/golden/make_ballstick_posterior.py` wrote the table; it says how the
/// reference was made. All 32 voxels: `examples/ballstick.rs`.
#[test]
fn golden_posterior_is_reproduced() {
    let path = format!("{}/../tests/golden/ballstick_posterior.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut table: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(',');
        let (key, name) = (words.next().unwrap(), words.next().unwrap());
        table.entry(key).or_default().insert(name, words.map(|w| w.parse().unwrap()).collect());
    }
    let rows = table.remove("scheme").unwrap();
    let g: Vec<[f64; 3]> =
        (0..rows["b"].len()).map(|i| [rows["gx"][i], rows["gy"][i], rows["gz"][i]]).collect();
    let acquisition = Acquisition::from_b(&rows["b"], &g, None, None).unwrap();
    let lowered = lowered(REFERENCE, NoiseKind::Rician, &acquisition);
    let options = NutsOptions::default();
    assert_eq!((options.chains, options.tune, options.draws), (4, 200, 1000));
    let mut sampler = sampler(&lowered, &acquisition, options);
    assert_eq!(table.len(), 3);
    for (voxel, rows) in &table {
        let posterior = sampler.sample(
            &rows["signals"],
            &[],
            Some(rows["sigma"][0]),
            1,
            voxel.parse().unwrap(),
        );
        assert_eq!(posterior.status, Status::Converged);
        let value = |name: &str| draws_of(&posterior, at(&lowered.model, name));
        let (s0, d, f) = (value("s0"), value("stick.lambda_par"), value("stick.fraction"));
        let mu = ["x", "y", "z"].map(|a| value(&format!("stick.mu_{a}")));
        let ln = |v: &[f64]| v.iter().map(|x| x.ln()).collect::<Vec<f64>>();
        let product =
            |i: usize, j: usize| mu[i].iter().zip(&mu[j]).map(|(a, b)| a * b).collect::<Vec<f64>>();
        let quantities = [
            ("logS0", ln(&s0)),
            ("logD", ln(&d)),
            ("S0", s0),
            ("D", d),
            ("f", f),
            ("nxx", product(0, 0)),
            ("nyy", product(1, 1)),
            ("nzz", product(2, 2)),
            ("nxy", product(0, 1)),
            ("nxz", product(0, 2)),
            ("nyz", product(1, 2)),
        ];
        assert_eq!(rows.len(), quantities.len() + 2);
        let (mut worst_z, mut worst_sd, mut worst_rhat) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (name, values) in &quantities {
            let [mean, sd, mcse] = rows[name][..] else { panic!("{voxel} {name}") };
            let s = summary(values, options.chains);
            let z = (s.mean - mean) / s.mcse_mean.hypot(mcse);
            assert!(
                z.abs() < 4.0,
                "voxel {voxel} {name}: {} against {mean}, {z:.1} standard errors",
                s.mean
            );
            assert!(
                (s.sd / sd - 1.0).abs() < 0.1,
                "voxel {voxel} {name}: sd {} against {sd}",
                s.sd
            );
            assert!(s.rhat <= 1.01, "voxel {voxel} {name}: R-hat {}", s.rhat);
            worst_z = worst_z.max(z.abs());
            worst_sd = worst_sd.max((s.sd / sd - 1.0).abs());
            worst_rhat = worst_rhat.max(s.rhat);
        }
        println!(
            "voxel {voxel}: means within {worst_z:.2} MCSE, sd within {:.1} %, R-hat up to {worst_rhat:.4}",
            100.0 * worst_sd
        );
    }
}

// ---- sigma, seeds, crossings ----------------------------------------------

/// The 90 % intervals of 60 voxels hold the truth 54 +- 2.3 times.
#[test]
fn a_free_sigma_covers_the_truth() {
    let acquisition = scheme(6, &[(1.0, 30), (2.5, 30)]);
    for noise in [NoiseKind::Gaussian, NoiseKind::Rician] {
        let lowered = lowered("ball_stick", noise, &acquisition);
        let options = NutsOptions { draws: 300, ..NutsOptions::default() };
        let mut sampler = sampler(&lowered, &acquisition, options);
        let sigma = 0.04;
        let (mut inside, mut means) = (0, Vec::new());
        for row in 0..60 {
            let mut rng = PhiloxRng::new(41, row, 0);
            let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
            add_noise(&mut y, noise, sigma, &mut rng);
            let posterior = sampler.sample(&y, &[], None, 5, row);
            assert_eq!(posterior.width, lowered.model.values() + 1);
            let s = summary(&draws_of(&posterior, posterior.width - 1), 4);
            inside += usize::from(s.q05 < sigma && sigma < s.q95);
            means.push(s.mean / sigma);
        }
        println!(
            "{noise:?}: {inside} of 60 90 % intervals hold sigma, mean ratio {:.4}",
            mean(&means)
        );
        assert!((47..=60).contains(&inside), "{noise:?}: {inside} of 60");
        assert!((mean(&means) - 1.0).abs() < 0.05, "{noise:?}: {}", mean(&means));
    }
}

#[test]
fn draws_depend_on_seed_and_row_only() {
    let acquisition = scheme(4, &[(1.0, 18), (2.5, 18)]);
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let options = NutsOptions { tune: 60, draws: 40, ..NutsOptions::default() };
    let new = || sampler(&lowered, &acquisition, options);
    let data: Vec<Vec<f64>> = (0..5)
        .map(|voxel| {
            let mut rng = PhiloxRng::new(51, voxel, 0);
            let mut y = predict(&lowered, &truth(&lowered.model, &mut rng));
            add_noise(&mut y, NoiseKind::Rician, 0.04, &mut rng);
            y
        })
        .collect();
    for sigma in [Some(0.04), None] {
        let alone: Vec<Vec<u64>> = data
            .iter()
            .zip(0..)
            .map(|(y, row)| bits(&new().sample(y, &[], sigma, 3, row)))
            .collect();
        assert!(alone.iter().all(|b| !b.is_empty()));
        let mut shared = new();
        for row in [4, 0, 3, 3, 1, 2] {
            assert_eq!(
                bits(&shared.sample(&data[row], &[], sigma, 3, row as u64)),
                alone[row],
                "row {row}"
            );
            shared.sample(&[f64::NAN; 40], &[], sigma, 3, 9);
        }
        assert_ne!(bits(&shared.sample(&data[0], &[], sigma, 3, 1)), alone[0], "another row");
        assert_ne!(bits(&shared.sample(&data[0], &[], sigma, 4, 0)), alone[0], "another seed");
    }
    // Chains of one voxel differ from each other.
    let posterior = new().sample(&data[0], &[], Some(0.04), 3, 0);
    let one = posterior.values.len() / 4;
    assert_ne!(posterior.values[..one], posterior.values[one..2 * one]);
}

#[test]
fn two_crossing_sticks_are_sampled() {
    let acquisition = multi_shell();
    let lowered = lowered("ball_sticks_2", NoiseKind::Rician, &acquisition);
    let model = lowered.model.clone();
    let mut sampler =
        sampler(&lowered, &acquisition, NutsOptions { draws: 400, ..NutsOptions::default() });
    let sigma = 1.0 / 30.0;
    let (a, b) = (at(&model, "stick.mu_x"), at(&model, "stick_2.mu_x"));
    for row in 0..6 {
        let mut rng = PhiloxRng::new(61, row, 0);
        let mut x = truth(&model, &mut rng);
        // The second stick 60 degrees from the first.
        let m: [f64; 3] = [x[a], x[a + 1], x[a + 2]];
        let v = direction(&mut rng);
        let along: f64 = (0..3).map(|i| v[i] * m[i]).sum();
        let across: f64 = (1.0 - along * along).sqrt();
        for i in 0..3 {
            x[b + i] = 0.5 * m[i] + 0.75_f64.sqrt() * (v[i] - along * m[i]) / across;
        }
        let mut y = predict(&lowered, &x);
        add_noise(&mut y, NoiseKind::Rician, sigma, &mut rng);
        let posterior = sampler.sample(&y, &[], Some(sigma), 2, row);
        assert_eq!(posterior.status, Status::Converged, "row {row}");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for draw in posterior.values.chunks_exact(posterior.width) {
            let angle = |i: usize, j: usize| axis_angle_deg(&draw[i..i + 3], &x[j..j + 3]);
            let straight = angle(a, a).max(angle(b, b)) < angle(a, b).max(angle(b, a));
            first.push(if straight { angle(a, a) } else { angle(a, b) });
            second.push(if straight { angle(b, b) } else { angle(b, a) });
        }
        let worst = mean(&first).max(mean(&second));
        let rhat = summary(&draws_of(&posterior, at(&model, "stick.lambda_par")), 4).rhat;
        println!("row {row}: draws {worst:.2} degrees from the truth on average, R-hat {rhat:.3}");
        assert!(worst < 6.0, "row {row}: {worst}");
        assert!(rhat < 1.02, "row {row}: {rhat}");
    }
}

#[test]
fn voxels_that_cant_be_sampled_have_no_draws() {
    let acquisition = multi_shell();
    let lowered = lowered("ball_stick", NoiseKind::Rician, &acquisition);
    let mut sampler = sampler(
        &lowered,
        &acquisition,
        NutsOptions { tune: 20, draws: 20, ..NutsOptions::default() },
    );
    let good = predict(&lowered, &truth(&lowered.model, &mut PhiloxRng::new(71, 0, 0)));
    let mut negative = good.clone();
    negative[3] = -0.1;
    for (y, sigma) in [
        (vec![f64::NAN; good.len()], Some(0.03)),
        (vec![0.0; good.len()], None),
        (negative, Some(0.03)),
        (good.clone(), Some(0.0)),
    ] {
        let posterior = sampler.sample(&y, &[], sigma, 1, 0);
        assert_eq!(posterior.status, Status::InvalidSignal);
        assert!(posterior.values.is_empty() && posterior.traces.is_empty());
    }
    let mut sampled = sampler.sample(&good, &[], Some(0.03), 1, 0);
    // Chains of twenty draws may have gone on.
    sampled.thin(1);
    assert_eq!(sampled.values.len(), 4 * 20 * lowered.model.values());
}
