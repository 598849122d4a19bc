//! Calibration of a ball in Gaussian noise, whose posterior is nearly normal: it passes, a
//! sampler that is told a wrong σ fails, and neither threads nor blocks change a rank.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use microtome_inference::calibration::{
    Calibration, CalibrationReport, CalibrationSpec, Simulation, judge, rank_table,
};
use microtome_models::{
    Acquisition, Evaluator, Job, Lowered, Model, ModelSpec, NoiseKind, RunSpec, SearchSpec,
    SigmaSpec,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const DRAWS: usize = 49;
const SIGMA: f64 = 0.05;

fn spec(told: SigmaSpec) -> CalibrationSpec {
    let b = [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0];
    let acquisition = Acquisition::from_b(&b, &[[0.0, 0.0, 1.0]; 8], None, None).unwrap();
    let model = ModelSpec::parse("ball").unwrap();
    CalibrationSpec {
        run: RunSpec {
            job: Job::Sample,
            model: model.with_scale_priors(1.0, told == SigmaSpec::Free),
            acquisition,
            sigma: told,
            search: SearchSpec { chains: 2, tune: 100, draws: 100, ..SearchSpec::default() },
            seed: 3,
        },
        sigma: (told != SigmaSpec::Free).then_some(SIGMA),
        draws: DRAWS,
    }
}

fn simulations(calibration: &Calibration, n: u64) -> Vec<Simulation> {
    calibration.block(0..n, &AtomicBool::new(false)).unwrap()
}

fn report(told: SigmaSpec, n: u64) -> CalibrationReport {
    let calibration = Calibration::new(spec(told)).unwrap();
    let all = simulations(&calibration, n);
    judge(calibration.quantities(), &calibration.intervals(), &all, DRAWS, 0.01)
}

#[test]
fn the_sampler_is_calibrated() {
    for told in [SigmaSpec::Known(SIGMA), SigmaSpec::Free] {
        let report = report(told, 200);
        assert!(report.calibrated, "{report:?}");
        assert_eq!((report.without_draws, report.few_effective), (0, 0), "{report:?}");
        // Four standard errors of a share of 200.
        let error = 4.0 * (0.9_f64 * 0.1 / 200.0).sqrt();
        assert!(report.intervals.iter().all(|i| (i.coverage - 0.9).abs() < error), "{report:?}");
    }
}

/// The likelihood of a truth is below its maximum by half a chi-squared number of two degrees
/// of freedom (the parameters) times the square of the error of sigma: a small model shows little.
#[test]
fn a_wrong_noise_scale_is_found() {
    for (wrong, shape) in [(0.8, "posteriors too high"), (1.2, "posteriors too low")] {
        let report = report(SigmaSpec::Known(wrong * SIGMA), 600);
        assert!(!report.calibrated, "{wrong}: {report:?}");
        let likelihood = report.tests.last().unwrap();
        assert_eq!((likelihood.name.as_str(), likelihood.shape), ("ln_likelihood", shape));
        assert!(likelihood.adjusted < 0.01, "{report:?}");
    }
}

#[test]
fn threads_and_blocks_change_nothing() {
    let calibration = Calibration::new(spec(SigmaSpec::Known(SIGMA))).unwrap();
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let whole = pool(1).install(|| simulations(&calibration, 12));
    let stop = AtomicBool::new(false);
    let parts: Vec<Simulation> = pool(3).install(|| {
        [0..5, 5..12].into_iter().flat_map(|r| calibration.block(r, &stop).unwrap()).collect()
    });
    assert_eq!(whole, parts);
}

#[test]
fn truths_have_the_noise_that_was_asked_for() {
    let mut spec = spec(SigmaSpec::Known(SIGMA));
    spec.run.model.noise.kind = NoiseKind::Rician;
    let (run, sigma) = (spec.run.clone(), spec.sigma.unwrap());
    let calibration = Calibration::new(spec).unwrap();
    let model = Arc::new(Model::new(run.model).unwrap());
    let mut evaluator = Evaluator::new(&Lowered::new(model, &run.acquisition).unwrap());
    // E y² = S² + 2 σ².
    let (mut excess, mut n) = (0.0, 0.0);
    for row in 0..2000 {
        let (x, y) = calibration.simulate(&mut evaluator, row);
        for (y, s) in y.iter().zip(evaluator.predict(&x)) {
            excess += y * y - s * s;
            n += 1.0;
        }
    }
    let expected = 2.0 * sigma * sigma;
    assert!((excess / n - expected).abs() < 0.1 * expected, "{} {expected}", excess / n);
}

#[test]
fn voxels_without_draws_count_against_it() {
    let calibration = Calibration::new(spec(SigmaSpec::Known(SIGMA))).unwrap();
    let mut all = simulations(&calibration, 100);
    for s in all.iter_mut().take(15) {
        s.has_draws = false;
        s.status = "divergent".into();
        s.ranks.fill(0);
        s.covered.fill(false);
    }
    let report = judge(calibration.quantities(), &calibration.intervals(), &all, DRAWS, 0.01);
    assert_eq!((report.without_draws, report.simulations), (15, 100));
    assert_eq!(report.by_status["divergent"], 15);
    assert!(!report.calibrated && report.intervals.iter().all(|i| i.coverage <= 0.85));
    let table = rank_table(calibration.quantities(), &calibration.intervals(), &all).unwrap();
    assert_eq!(table.num_rows(), 100);
    for name in ["simulation", "status", "rank.ball.lambda_iso", "truth.s0", "covered.s0"] {
        assert!(table.column_by_name(name).is_some(), "{name}");
    }
}

#[test]
fn what_has_no_proper_prior_is_refused() {
    let message = |spec| Calibration::new(spec).unwrap_err().to_string();
    let mut no_prior = spec(SigmaSpec::Known(SIGMA));
    no_prior.run.model.prior.clear();
    assert!(message(no_prior).contains("`s0` is set from the data"));
    let mut few = spec(SigmaSpec::Known(SIGMA));
    few.draws = 500;
    assert!(message(few).contains("200 draws a voxel"));
    let mut expansion = spec(SigmaSpec::Known(SIGMA));
    expansion.run.model = ModelSpec::parse("dki").unwrap().with_scale_priors(1.0, false);
    assert!(message(expansion).contains("no posterior"));
}
