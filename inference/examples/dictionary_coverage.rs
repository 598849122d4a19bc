//! How often standard errors of a radius hold the truth when the dictionary of the fit was walked
//! by few walkers: with the errors of the walkers as parameters, and without.
//!
//! `cargo run --release -p microtome-inference --example dictionary_coverage -- [TRIALS] [WALKERS...]`
//!
//! Every trial walks a dictionary of its own (cylinders of six radii from 3 to 5.5 µm, D = 2 µm²/ms, 24
//! batches of WALKERS/24 walkers a point, steps of 0.1 ms), and fits 182 measurements (b = 1, 5
//! and 15 ms/µm², 10/40 ms) of `cylinder_exact` with Gaussian noise of 0.02. Printed: how many of the
//! intervals of 1.96 standard errors about the radius hold the truth, and the root mean square of the errors
//! in their standard errors.

#![allow(clippy::print_stdout, missing_docs)]

use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::dictionary::{Dictionary, SweepSpec};
use microtome_models::substrate::SubstrateSpec;
use microtome_models::{
    Acquisition, Evaluator, Lowered, Model, ModelSpec, PulseTiming, SpecError, half_sphere,
};
use rand_distr::{Distribution, StandardNormal};
use std::error::Error;
use std::sync::Arc;

const SIGMA: f64 = 0.02;
const CYLINDER: &str = "[substrate]\nkind = \"cylinder\"\nradius_um = 4\n[intra]\n\
    diffusivity_um2_per_ms = 2\n";
const SWEEP: &str = "[[parameter]]\nkey = \"substrate.radius_um\"\nfrom = 3.0\nto = 5.5\ncount = 6\n\
    [sweep]\nbatches = 24\nazimuths = 3\ncosines = 14\n";
const EXACT: &str = "[[compartment]]\nkind = \"cylinder_exact\"\n[link]\n\
    \"cylinder_exact.lambda_par\" = { fixed = 2.0 }\n\
    \"cylinder_exact.lambda_perp_intrinsic\" = { fixed = 2.0 }\n";

fn acquisition() -> Result<Acquisition, Box<dyn Error>> {
    let (mut b, mut g) = (vec![0.0; 2], vec![[0.0; 3]; 2]);
    for shell in [1.0, 5.0, 15.0] {
        b.extend([shell; 60]);
        g.extend(half_sphere(60));
    }
    let timing = PulseTiming { delta_ms: vec![10.0; b.len()], big_delta_ms: vec![40.0; b.len()] };
    Ok(Acquisition::from_b(&b, &g, Some(timing), None)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|a| a.parse()).collect();
    let numbers = numbers?;
    let trials = numbers.first().copied().unwrap_or(60);
    let walkers = if numbers.len() > 1 { numbers[1..].to_vec() } else { vec![480, 1440, 4800] };
    let acquisition = acquisition()?;
    let exact = Lowered::new(Arc::new(Model::new(ModelSpec::from_toml(EXACT)?)?), &acquisition)?;
    let mut truth = Evaluator::new(&exact);
    println!("walkers  largest_se  errors   inside  of {trials}  rms");
    for walkers in walkers {
        let mut scores = [Vec::new(), Vec::new()];
        let mut largest = 0.0_f64;
        for trial in 0..trials {
            let sweep = SweepSpec::from_toml(SWEEP)?.over(&SubstrateSpec::from_toml(CYLINDER)?)?;
            let built: Result<Vec<_>, _> =
                sweep.substrates(0)?.iter().map(SubstrateSpec::build).collect();
            let swept = sweep.of(vec![built?], &acquisition, false)?;
            let table = swept.walk(walkers, 0.1, 1000 + trial, |_| ())?.0;
            let radius = 3.5 + 1.5 * trial as f64 / trials as f64;
            let mut rng = PhiloxRng::new(11, trial, 3);
            let mut y = truth.predict(&[0.36, 0.48, 0.8, 2.0 * radius, 1.0]);
            for v in &mut y {
                let noise: f64 = StandardNormal.sample(&mut rng);
                *v += SIGMA * noise;
            }
            for (modes, out) in [None, Some(0)].into_iter().zip(&mut scores) {
                let mut spec = ModelSpec::parse("dictionary:study")?;
                spec.attach(|_, _| {
                    Dictionary::new(&table, modes, "study")
                        .map_err(|e| SpecError::Toml { message: e.to_string() })
                })?;
                let model = Arc::new(Model::new(spec)?);
                let column =
                    model.columns().iter().position(|c| c.name == "dictionary.radius").unwrap_or(0);
                let value = model.value_names().iter().position(|n| *n == "dictionary.radius");
                let lowered = Lowered::new(model, &acquisition)?;
                let scheme = StartScheme::new(&lowered, &acquisition)?;
                let fit =
                    Fitter::new(&lowered, &scheme, FitOptions::default()).fit(&y, &[], Some(SIGMA));
                out.push((fit.x[value.unwrap_or(0)] - radius) / fit.column_sd[column]);
            }
            largest = table.se.iter().copied().fold(largest, f64::max);
        }
        for (name, z) in ["counted", "ignored"].iter().zip(&scores) {
            let inside = z.iter().filter(|z| z.abs() < 1.96).count();
            let rms = (z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64).sqrt();
            println!("{walkers:7}  {largest:10.4}  {name}  {inside:6}        {rms:.2}");
        }
    }
    Ok(())
}
