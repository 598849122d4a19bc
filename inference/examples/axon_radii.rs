//! Posteriors of axon radii from packed cylinders with gamma-distributed radii: by a dictionary
//! of simulated packings, and by the Gaussian phase approximation.
//!
//! `cargo run --release -p microtome-inference --example axon_radii -- [WALKERS] [VOXELS] [MODELS]`
//!
//! Water inside of packed cylinders, radii of a gamma density of shape 5 (known) and scale β, D = 2
//! µm²/ms. Pulses of 10 ms at two separations, 30 directions each, in two protocols: 80 mT/m
//! and 300 mT/m. For every β one packing of 4000 cylinders is walked, with a seed that the dictionary
//! does not have, and VOXELS voxels are made of its signals with Gaussian noise of 0.02. The
//! dictionary has 11 values of β; its batches of WALKERS/16 walkers a point have packings of 400
//! cylinders. Printed for every model: the mean error of the posterior mean of β, its posterior
//! standard deviation, and how many of the 90 % intervals hold the truth.
//!
//! MODELS is a list such as `dictionary,gpd` (all when left out; `gpd` takes longest).
//!
//! | model | |
//! |---|---|
//! | `dictionary` | the errors of its walkers and packings are parameters |
//! | `no_error` | the same, its signals taken for exact |
//! | `gpd` | `cylinder_gpd` with gamma sizes of the same shape, the same diffusivities |

#![allow(clippy::print_stdout, missing_docs)]

use microtome_inference::fit::{FitOptions, Fitter, StartScheme};
use microtome_inference::sample::{SampleOptions, Sampler};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::dictionary::{Dictionary, DictionaryTable, SweepSpec};
use microtome_models::substrate::{Sequence, Simulation, SubstrateSpec, TOTAL};
use microtome_models::{
    Acquisition, Lowered, Model, ModelSpec, PulseTiming, SampleMethod, SearchSpec, SpecError,
    half_sphere,
};
use rand_distr::{Distribution, StandardNormal};
use std::error::Error;
use std::sync::Arc;

const STEP_MS: f64 = 0.015;
const SIGMA: f64 = 0.02;
const DELTA_MS: f64 = 10.0;
const BIG_DELTAS_MS: [f64; 2] = [15.0, 35.0];
const STRENGTHS: [f64; 2] = [0.08, 0.3];
const SCALES: [f64; 4] = [0.3, 0.42, 0.54, 0.66];
const SWEEP: &str = "[[parameter]]\nkey = \"substrate.gamma_scale_um\"\nname = \"beta\"\n\
    from = 0.2\nto = 0.8\ncount = 11\n[sweep]\nbatches = 16\nazimuths = 4\n";
const GPD: &str = "[[compartment]]\nname = \"axons\"\nkind = \"cylinder_gpd\"\n\
    size_distribution = \"gamma\"\n[link]\n\"axons.alpha\" = { fixed = 5.0 }\n\
    \"axons.lambda_par\" = { fixed = 2.0 }\n\"axons.lambda_perp_intrinsic\" = { fixed = 2.0 }\n\
    [prior]\n\"axons.beta\" = { uniform = [0.2, 0.8] }\n";

fn packing(count: usize, scale: f64, seed: u64) -> Result<SubstrateSpec, Box<dyn Error>> {
    Ok(SubstrateSpec::from_toml(&format!(
        "[substrate]\nkind = \"cylinders\"\ncount = {count}\nvolume_fraction = 0.5\n\
         gamma_shape = 5.0\ngamma_scale_um = {scale}\npacking_seed = {seed}\n\
         [intra]\ndiffusivity_um2_per_ms = 2\n[start]\nwhere = \"intra\"\n"
    ))?)
}

/// Two unweighted images and 30 directions for every strength and separation.
fn acquisition() -> Result<(Acquisition, Vec<f64>), Box<dyn Error>> {
    let (mut g, mut directions) = (vec![0.0; 2], vec![[0.0; 3]; 2]);
    let mut big = vec![BIG_DELTAS_MS[0]; 2];
    for strength in STRENGTHS {
        for separation in BIG_DELTAS_MS {
            g.extend([strength; 30]);
            directions.extend(half_sphere(30));
            big.extend([separation; 30]);
        }
    }
    let timing = PulseTiming { delta_ms: vec![DELTA_MS; g.len()], big_delta_ms: big };
    let acquisition = Acquisition::from_gradient_strength(&g, &directions, timing, None)?;
    Ok((acquisition, g))
}

fn dictionary(acquisition: &Acquisition, walkers: u64) -> Result<DictionaryTable, Box<dyn Error>> {
    let sweep = SweepSpec::from_toml(SWEEP)?.over(&packing(400, 0.5, 1)?)?;
    let mut substrates = Vec::new();
    for k in 0..sweep.packings() {
        let built: Result<Vec<_>, _> =
            sweep.substrates(k)?.iter().map(SubstrateSpec::build).collect();
        substrates.push(built?);
    }
    let (table, steps) =
        sweep.of(substrates, acquisition, false)?.walk(walkers, STEP_MS, 1, |_| ())?;
    println!("dictionary: {} points, {:.2e} steps of walkers", table.points(), steps as f64);
    Ok(table)
}

/// Signals of one large packing.
fn signals(acquisition: &Acquisition, scale: f64) -> Result<Vec<f64>, Box<dyn Error>> {
    let substrate = packing(4000, scale, 12_345)?.build()?;
    let sequence = Sequence::from_pulses(acquisition)?;
    let walk = Simulation::new(substrate, &sequence, Some(STEP_MS), 60_000, 777)?;
    let found = walk.run(|_| true);
    let total = found.rows.iter().filter(|r| r.compartment == TOTAL);
    Ok(total.map(|r| r.signal.real).collect())
}

/// The posterior mean of β, its standard deviation, and whether the 90 % interval holds `truth`.
fn posterior(
    sampler: &mut Sampler,
    at: usize,
    y: &[f64],
    truth: f64,
    row: u64,
) -> (f64, f64, bool) {
    let found = sampler.sample(y, &[], Some(SIGMA), 3, row);
    let mut draws: Vec<f64> = found.values.chunks(found.width).map(|x| x[at]).collect();
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let sd = (draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n).sqrt();
    let quantile = |p: f64| draws[(p * n) as usize];
    (mean, sd, (quantile(0.05)..quantile(0.95)).contains(&truth))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |a| a.parse::<u64>());
    let (walkers, voxels) = (number(16_000)?, number(40)?);
    let wanted = arguments.next().unwrap_or_else(|| "dictionary,no_error,gpd".into());
    let (acquisition, strengths) = acquisition()?;
    let table = dictionary(&acquisition, walkers)?;
    let read = |modes: Option<usize>| Dictionary::new(&table, modes, "study");
    let full = read(None)?;
    for e in full.left_out() {
        println!("left out along {}: {:.1e} at most, rms {:.1e}", e.parameter, e.largest, e.rms);
    }
    println!(
        "largest standard error {:.4}, {} parts hold {:.3} of the variance",
        full.largest_se(),
        full.error_modes(),
        full.held()
    );
    let truths = SCALES.map(|scale| signals(&acquisition, scale));
    println!("protocol  beta   model        error_%   sd_%   in_90_%");
    for strength in STRENGTHS {
        let chosen: Vec<usize> =
            (0..strengths.len()).filter(|i| [0.0, strength].contains(&strengths[*i])).collect();
        let part = acquisition.subset(&chosen);
        for (name, modes) in [("dictionary", None), ("no_error", Some(0)), ("gpd", None)] {
            if !wanted.split(',').any(|w| w == name) {
                continue;
            }
            let mut spec = match name {
                "gpd" => ModelSpec::from_toml(GPD)?,
                _ => ModelSpec::parse("dictionary:study")?,
            };
            spec.attach(|_, _| {
                read(modes).map_err(|e| SpecError::Toml { message: e.to_string() })
            })?;
            let model = Arc::new(Model::new(spec)?);
            let at = model.value_names().iter().position(|n| n.ends_with(".beta")).unwrap_or(0);
            let lowered = Lowered::new(model, &part)?;
            let scheme = StartScheme::new(&lowered, &part)?;
            let search =
                SearchSpec { sampler: SampleMethod::Auto, draws: 250, ..SearchSpec::default() };
            let fitter = Fitter::new(&lowered, &scheme, FitOptions::default());
            let mut sampler = Sampler::with_options(fitter, SampleOptions::of(&search));
            for (scale, clean) in SCALES.iter().zip(&truths) {
                let clean = clean.as_ref().map_err(|e| e.to_string())?;
                let (mut error, mut spread, mut inside) = (0.0, 0.0, 0);
                for voxel in 0..voxels {
                    let mut rng = PhiloxRng::new(5, voxel, 9);
                    let y: Vec<f64> = chosen
                        .iter()
                        .map(|i| {
                            let noise: f64 = StandardNormal.sample(&mut rng);
                            clean[*i] + SIGMA * noise
                        })
                        .collect();
                    let (mean, sd, held) = posterior(&mut sampler, at, &y, *scale, voxel);
                    error += (mean / scale - 1.0) / voxels as f64;
                    spread += sd / scale / voxels as f64;
                    inside += u64::from(held);
                }
                println!(
                    "{:4.0} mT/m  {scale:.2}  {name:<11} {:+8.2} {:6.2} {:7.0}",
                    1e3 * strength,
                    100.0 * error,
                    100.0 * spread,
                    100.0 * inside as f64 / voxels as f64
                );
            }
        }
    }
    Ok(())
}
