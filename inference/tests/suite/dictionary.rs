//! Fits and posteriors with simulated dictionaries: equal to the exact model where the
//! dictionary is exact, and honest about the errors of the walkers where it is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use crate::voxels;

use microtome_inference::fit::{FitOptions, Fitter, StartScheme, Status};
use microtome_inference::sample::{NutsOptions, SampleOptions, Sampler};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::dictionary::{Dictionary, DictionaryTable, SweepSpec};
use microtome_models::substrate::SubstrateSpec;
use microtome_models::{
    Acquisition, Evaluator, Lowered, Model, ModelSpec, NoiseKind, PulseTiming, SampleMethod,
    SearchSpec, SpecError,
};
use std::sync::Arc;
use voxels::{add_noise, at, fibonacci, normal};

const CYLINDER: &str = "[substrate]\nkind = \"cylinder\"\nradius_um = 2\n\
    [intra]\ndiffusivity_um2_per_ms = 2\n";
const MU: [f64; 3] = [0.36, 0.48, 0.8];

/// From, to and number of radii.
const RADII: [f64; 3] = [1.0, 5.0, 9.0];

/// Two b = 0 images and three shells of strong gradients.
fn acquisition(directions: usize) -> Acquisition {
    let (mut b, mut g) = (vec![0.0; 2], vec![[0.0; 3]; 2]);
    for (k, shell) in [1.0, 5.0, 15.0].into_iter().enumerate() {
        b.extend(vec![shell; directions]);
        g.extend(fibonacci(directions, 0.7 * k as f64));
    }
    let n = b.len();
    let timing = PulseTiming { delta_ms: vec![10.0; n], big_delta_ms: vec![40.0; n] };
    Acquisition::from_b(&b, &g, Some(timing), None).unwrap()
}

fn dictionary(
    acquisition: &Acquisition,
    [from, to, count]: [f64; 3],
    options: &str,
    walkers: Option<(u64, u64)>,
) -> DictionaryTable {
    let sweep = SweepSpec::from_toml(&format!(
        "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = {from:?}\nto = {to:?}\ncount = {count}\n{options}"
    ))
    .unwrap();
    let sweep = sweep.over(&SubstrateSpec::from_toml(CYLINDER).unwrap()).unwrap();
    let substrates = sweep.substrates(0).unwrap().iter().map(|s| s.build().unwrap()).collect();
    let swept = sweep.of(vec![substrates], acquisition, walkers.is_none()).unwrap();
    match walkers {
        None => swept.exact(|_| ()).unwrap(),
        Some((n, seed)) => swept.walk(n, 0.1, seed, |_| ()).unwrap().0,
    }
}

fn lowered(
    acquisition: &Acquisition,
    table: &DictionaryTable,
    modes: Option<usize>,
    noise: NoiseKind,
) -> Lowered {
    let mut spec = ModelSpec::parse("dictionary:d.parquet").unwrap();
    let read = |_: &std::path::Path, _: Option<usize>| Dictionary::new(table, modes, "d");
    spec.attach(|file, n| read(file, n).map_err(|e| SpecError::Toml { message: e.to_string() }))
        .unwrap();
    spec.noise.kind = noise;
    Lowered::new(Arc::new(Model::new(spec).unwrap()), acquisition).unwrap()
}

/// Signals of `cylinder_exact` of a diameter, λ = 2, S0 = 1.
fn truth(acquisition: &Acquisition, diameter: f64) -> Vec<f64> {
    let lowered = exact_model(acquisition);
    let [a, b, c] = MU;
    Evaluator::new(&lowered).predict(&[a, b, c, diameter, 1.0])
}

fn exact_model(acquisition: &Acquisition) -> Lowered {
    let text = "[[compartment]]\nkind = \"cylinder_exact\"\n[link]\n\
        \"cylinder_exact.lambda_par\" = { fixed = 2.0 }\n\
        \"cylinder_exact.lambda_perp_intrinsic\" = { fixed = 2.0 }\n\
        [prior]\n\"cylinder_exact.diameter\" = { uniform = [2.0, 10.0] }\n";
    let model = Arc::new(Model::new(ModelSpec::from_toml(text).unwrap()).unwrap());
    Lowered::new(model, acquisition).unwrap()
}

/// Mean and standard deviation of a value in draws.
fn moments(lowered: &Lowered, acquisition: &Acquisition, y: &[f64], name: &str) -> [f64; 2] {
    let scheme = StartScheme::new(lowered, acquisition).unwrap();
    let fitter = Fitter::new(lowered, &scheme, FitOptions::default());
    let nuts = NutsOptions { chains: 4, tune: 100, draws: 1000, ..NutsOptions::default() };
    let mut sampler = Sampler::new(fitter, nuts);
    let found = sampler.sample(y, &[], Some(0.02), 5, 0);
    assert_eq!(found.status, Status::Converged);
    let k = at(&lowered.model, name);
    let draws: Vec<f64> = found.values.chunks(found.width).map(|x| x[k]).collect();
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    [mean, (draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n).sqrt()]
}

/// The exact twin has the posterior of the exact model.
#[test]
fn exact_dictionaries_have_the_exact_posterior() {
    let acquisition = acquisition(20);
    let table = dictionary(&acquisition, RADII, "", None);
    let mut rng = PhiloxRng::new(7, 0, 3);
    let mut y = truth(&acquisition, 6.4);
    add_noise(&mut y, NoiseKind::Gaussian, 0.02, &mut rng);
    let ours = lowered(&acquisition, &table, None, NoiseKind::Gaussian);
    let theirs = exact_model(&acquisition);
    let a = moments(&ours, &acquisition, &y, "dictionary.radius");
    let b = moments(&theirs, &acquisition, &y, "cylinder_exact.diameter").map(|v| 0.5 * v);
    println!("radius by dictionary {a:?}, by cylinder_exact {b:?}");
    // 4000 draws: errors of the mean of about 0.03 sd, of the sd of 2 %.
    assert!((a[0] - b[0]).abs() < 0.12 * b[1], "{a:?} {b:?}");
    assert!((a[1] / b[1] - 1.0).abs() < 0.08, "{a:?} {b:?}");
}

/// Few walkers and many measurements: estimates scatter by the errors of the dictionary. With
/// these as parameters the standard errors are near the scatter, without they are too small.
#[test]
fn errors_of_walkers_are_in_standard_errors() {
    let acquisition = acquisition(60);
    let (sigma, trials) = (0.02, 30);
    let noise = NoiseKind::Gaussian;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for trial in 0..trials {
        let options = "[sweep]\nbatches = 24\nazimuths = 3\ncosines = 14\n";
        let radii = [3.3, 5.1, 4.0];
        let table = dictionary(&acquisition, radii, options, Some((1440, 1000 + trial)));
        let mut rng = PhiloxRng::new(11, trial, 3);
        let diameter = 7.0 + 0.1 * trial as f64;
        let mut y = truth(&acquisition, diameter);
        add_noise(&mut y, noise, sigma, &mut rng);
        for (modes, out) in [(None, &mut with), (Some(0), &mut without)] {
            let lowered = lowered(&acquisition, &table, modes, noise);
            let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
            let mut fitter = Fitter::new(&lowered, &scheme, FitOptions::default());
            let fit = fitter.fit(&y, &[], Some(sigma));
            let k = at(&lowered.model, "dictionary.radius");
            let column = voxels::column(&lowered.model, "dictionary.radius");
            out.push((fit.x[k] - 0.5 * diameter) / fit.column_sd[column]);
        }
    }
    let inside = |z: &[f64]| z.iter().filter(|z| z.abs() < 1.96).count();
    let rms = |z: &[f64]| (z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64).sqrt();
    let (a, b) = (rms(&with), rms(&without));
    println!(
        "with {} of {trials} (rms {a:.2}), without {} (rms {b:.2})",
        inside(&with),
        inside(&without)
    );
    // 24 batches tell the covariance to a third; parts that are left out are missing.
    assert!((0.6..1.6).contains(&a) && b > 1.25 * a, "{a} {b}");
    assert!(inside(&with) >= 24 && inside(&with) > inside(&without));
}

/// Several voxels of unknown noise: the noise is not what the errors of the walkers take.
#[test]
fn unknown_noise_is_estimated() {
    let acquisition = acquisition(30);
    let options = "[sweep]\nbatches = 12\nazimuths = 3\ncosines = 14\n";
    let table = dictionary(&acquisition, [2.0, 5.0, 5.0], options, Some((2400, 3)));
    let lowered = lowered(&acquisition, &table, None, NoiseKind::Gaussian);
    let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
    let mut fitter = Fitter::new(&lowered, &scheme, FitOptions::default());
    let (mut sum, n) = (0.0, 30);
    for trial in 0..n {
        let mut rng = PhiloxRng::new(13, trial, 3);
        let mut y = truth(&acquisition, 6.0);
        y.iter_mut().for_each(|v| *v += 0.03 * normal(&mut rng));
        let fit = fitter.fit(&y, &[], None);
        assert_eq!(fit.status, Status::Converged);
        sum += fit.sigma / n as f64;
    }
    // 92 measurements, 30 voxels: 0.03 ± 0.0004.
    assert!((sum / 0.03 - 1.0).abs() < 0.05, "{sum}");
}

/// Importance sampling serves, too, and does not take errors for open scalars.
#[test]
fn errors_are_no_open_scalars() {
    let acquisition = acquisition(20);
    let options = "[sweep]\nbatches = 12\nazimuths = 3\ncosines = 14\n";
    let table = dictionary(&acquisition, [2.0, 5.0, 5.0], options, Some((2400, 3)));
    let lowered = lowered(&acquisition, &table, None, NoiseKind::Gaussian);
    let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
    let fitter = Fitter::new(&lowered, &scheme, FitOptions::default());
    let search = SearchSpec { sampler: SampleMethod::Auto, ..SearchSpec::default() };
    let mut sampler = Sampler::with_options(fitter, SampleOptions::of(&search));
    let mut y = truth(&acquisition, 7.0);
    let mut rng = PhiloxRng::new(17, 0, 3);
    add_noise(&mut y, NoiseKind::Gaussian, 0.02, &mut rng);
    let found = sampler.sample(&y, &[], Some(0.02), 5, 0);
    println!("{:?} {:?}", found.method, found.weights);
    assert_eq!((found.status, found.method), (Status::Converged, SampleMethod::Psis));
    let k = at(&lowered.model, "dictionary.error_1");
    let z: Vec<f64> = found.values.chunks(found.width).map(|x| x[k]).collect();
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    let sd = (z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / z.len() as f64).sqrt();
    assert!((0.1..1.2).contains(&sd) && mean.abs() < 3.0, "{mean} {sd}");
}
