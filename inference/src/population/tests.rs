//! The sampler against its own prior, and its draws for any number of threads.
#![allow(clippy::unwrap_used)]

use super::gibbs::{Rows, State, Work};
use super::region::{Coupled, Region};
use super::whitened::WhitenedStep;
use super::{DrawStore, Hyperprior, MemoryDraws, Population};
use crate::InferenceError;
use crate::diagnostics::{Chains, Workspace, mcse_mean};
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Coupling, Evaluator, FixedValue, Job, LinkSpec, ModelSpec, PooledVoxel, RunSpec,
    SearchSpec, SigmaSpec, VoxelBatch,
};
use std::sync::atomic::AtomicBool;

const SIGMA: f64 = 0.25;

fn acquisition() -> Acquisition {
    let b = [0.0, 0.0, 0.7, 0.7, 1.5, 1.5, 2.5, 2.5];
    let g: Vec<[f64; 3]> = (0..8)
        .map(|i| {
            let (z, phi) = ((f64::from(i) + 0.5) / 8.0, 2.4 * f64::from(i));
            let r = (1.0 - z * z).sqrt();
            [r * phi.cos(), r * phi.sin(), z]
        })
        .collect();
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

fn spec(text: &str, prior: Coupling, search: SearchSpec) -> RunSpec {
    RunSpec {
        job: Job::Sample,
        model: ModelSpec::parse(text).unwrap(),
        acquisition: acquisition(),
        sigma: SigmaSpec::Known(SIGMA),
        search: SearchSpec { prior, ..search },
        seed: 11,
    }
}

/// Voxels of a 3 x n block in batches of five: unit signals that decay by about exp(-b).
fn batches(n: usize) -> Vec<VoxelBatch> {
    let a = acquisition();
    let mut out: Vec<VoxelBatch> = Vec::new();
    for v in 0..n {
        if v % 5 == 0 {
            let ijk = Some(Vec::new());
            out.push(VoxelBatch { ijk, measurements: a.len(), ..VoxelBatch::default() });
        }
        let batch = out.last_mut().unwrap();
        batch.row.push(v as u64);
        batch.voxel.push(v as i64);
        batch.ijk.as_mut().unwrap().push([(v % 3) as i32, (v / 3) as i32, 0]);
        batch.signals.extend((0..a.len()).map(|i| {
            let b = a.shells()[a.shell_of()[i]].b;
            (-b * (0.8 + 0.05 * v as f64)).exp() + 0.1 * ((7 * v + 3 * i) as f64).sin()
        }));
    }
    out
}

/// Successive draws of (voxels, population | data) and (data | voxels) have the prior as
/// their distribution (Geweke 2004, doi:10.1198/016214504000001132): the means of
/// statistics of the population are those of its hyperprior.
fn joint_distribution(text: &str, prior: Coupling, voxels: usize, scans: u32) {
    let mut spec = spec(text, prior, SearchSpec::default());
    // The hyperprior has the tails of t with two degrees of freedom: only bounded
    // parameters can be followed there.
    spec.model.link.insert("s0".into(), LinkSpec::Fixed(FixedValue::Number(1.0)));
    let coupled = Coupled::new(&spec).unwrap();
    let stop = AtomicBool::new(false);
    let mut region = coupled.region(batches(voxels), &stop, &|_| {}).unwrap();
    assert_eq!(region.members(), voxels);
    region.hyperprior.sd.fill(0.6);
    let (mut state, mut rows) = Work::new(&coupled, &region, &stop).start(0).unwrap();
    let d = state.population.mean.len();
    let mut together = WhitenedStep::new(d);
    {
        let work = Work::new(&coupled, &region, &stop);
        work.move_together(&mut together, &mut rows, &mut state, true);
        together.retake(&region.hyperprior);
        // Step sizes are tuned on the first data and stay.
        for scan in 1..=150 {
            state.scan = scan;
            scan_once(&work, &region, &mut rows, &mut state, &mut together, true);
        }
    }
    let lowered = coupled.composed.lowered.clone();
    let mut evaluator = Evaluator::new(&lowered);
    let noise = lowered.model.noise();
    let mut found: Vec<Vec<f64>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for scan in 151..=150 + scans {
        // New data of every voxel.
        for (block, rows) in region.blocks.iter_mut().zip(&mut rows) {
            for (m, w) in block.members.iter_mut().zip(rows.walkers_mut()) {
                let mut x = vec![0.0; region.space.values()];
                m.voxel.chart().to_values(&w.z, &mut x);
                let mut rng = PhiloxRng::at_step(99, scan, m.row, 7);
                let y: Vec<f64> =
                    evaluator.predict(&x).iter().map(|s| noise.draw(*s, SIGMA, &mut rng)).collect();
                let centre = &block.fits[m.at].x;
                m.voxel = PooledVoxel::new(&region.space, &lowered, &y, &[], Some(SIGMA), centre);
            }
        }
        let work = Work::new(&coupled, &region, &stop);
        work.refresh(&mut rows);
        state.scan = scan;
        scan_once(&work, &region, &mut rows, &mut state, &mut together, false);
        let (now, words) = statistics(&state.population, &region.hyperprior);
        names = words;
        found.push(now);
    }
    let prior = of_prior(&region);
    for (s, name) in names.iter().enumerate() {
        let expected = prior[s];
        let x: Vec<f64> = found.iter().map(|f| f[s]).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let error = mcse_mean(Chains::new(&x, 1, x.len()).unwrap(), &mut Workspace::new());
        // Five standard errors, and the errors are small enough to see a wrong factor.
        let z = (mean - expected) / error;
        assert!(z.abs() < 5.0, "{text} {prior:?} {name}: {mean} +- {error}, not {expected}");
        assert!(error < 0.1, "{text} {prior:?} {name}: {mean} +- {error}");
    }
}

/// Bounded or light-tailed statistics of a population, and their names.
fn statistics(p: &Population, prior: &Hyperprior) -> (Vec<f64>, Vec<String>) {
    let (mut now, mut names) = (Vec::new(), Vec::new());
    for k in 0..p.mean.len() {
        let from = (p.mean[k] - prior.mean[k]) / prior.sd[k];
        now.extend([from, from * from, (p.sd(k) / prior.sd[k]).ln()]);
        names.extend([format!("m {k}"), format!("m² {k}"), format!("ln sd {k}")]);
        now.push(f64::from(u8::from(p.sd(k) < 0.3 * prior.sd[k])));
        names.push(format!("small sd {k}"));
        for j in 0..k {
            let r = p.correlation(j, k);
            now.extend([r, r * r]);
            names.extend([format!("r {j}{k}"), format!("r² {j}{k}")]);
        }
    }
    (now, names)
}

/// Their means under the hyperprior, by independent draws.
fn of_prior(region: &Region) -> Vec<f64> {
    let n = 100_000;
    let mut sums: Vec<f64> = Vec::new();
    let mut rng = PhiloxRng::new(17, 0, 0);
    for _ in 0..n {
        let p = Population::from_prior(&region.hyperprior, &mut rng).unwrap();
        let (now, _) = statistics(&p, &region.hyperprior);
        sums.resize(now.len(), 0.0);
        for (s, x) in sums.iter_mut().zip(now) {
            *s += x / f64::from(n);
        }
    }
    sums
}

fn scan_once(
    work: &Work<'_>,
    region: &Region,
    rows: &mut [Rows],
    state: &mut State,
    together: &mut WhitenedStep,
    warm_up: bool,
) {
    for colour in 0..region.field.colours() {
        for (rows, block) in rows.iter_mut().zip(&region.blocks) {
            work.map(block, rows, state, colour, warm_up);
        }
        work.publish(rows, state);
    }
    work.move_together(together, rows, state, warm_up);
    let sums: Vec<_> = region.blocks.iter().map(|b| work.statistics(b, state)).collect();
    state.population = work.reduce(&sums, state).unwrap();
    state.weights = work.weights(state);
}

#[test]
fn joint_distribution_of_a_population() {
    joint_distribution("ball", Coupling::Hierarchical, 7, 8_000);
    joint_distribution("ball_stick", Coupling::Hierarchical, 4, 10_000);
}

#[test]
fn joint_distribution_of_a_field() {
    joint_distribution("ball", Coupling::Spatial, 7, 8_000);
    joint_distribution("ball_stick", Coupling::Spatial, 4, 10_000);
}

#[test]
fn threads_do_not_matter() {
    for prior in [Coupling::Hierarchical, Coupling::Spatial] {
        let search = SearchSpec { chains: 2, tune: 30, draws: 20, ..SearchSpec::default() };
        let coupled = Coupled::new(&spec("ball_stick", prior, search)).unwrap();
        let draw = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let stop = AtomicBool::new(false);
                let region = coupled.region(batches(43), &stop, &|_| {}).unwrap();
                let store = MemoryDraws::new(region.blocks());
                let draws = Work::new(&coupled, &region, &stop).run(&store, &|| {}).unwrap();
                let mut bits = Vec::new();
                for b in 0..region.blocks() {
                    bits.extend(store.read(b).unwrap().iter().map(|v| v.to_bits()));
                }
                for p in draws.chains.iter().flatten() {
                    bits.extend(p.mean.iter().chain(&p.covariance).map(|v| v.to_bits()));
                }
                bits
            })
        };
        let one = draw(1);
        assert_eq!(one.len(), 2 * 20 * (43 * (6 + 6) + 4 + 16));
        assert!(one.iter().all(|b| f64::from_bits(*b).is_finite()));
        assert!(one == draw(3), "{prior:?}: draws depend on threads");
        assert!(one == draw(8), "{prior:?}: draws depend on threads");
    }
}

#[test]
fn regions_that_are_none_are_refused() {
    let stop = AtomicBool::new(false);
    let message = |text: &str, prior, change: &dyn Fn(&mut VoxelBatch)| {
        let mut batches = batches(4);
        batches.iter_mut().for_each(change);
        let coupled = Coupled::new(&spec(text, prior, SearchSpec::default())).unwrap();
        coupled.region(batches, &stop, &|_| {}).map(|_| ()).unwrap_err().to_string()
    };
    let keep = |_: &mut VoxelBatch| {};
    let spatial = message("ball", Coupling::Spatial, &|b| b.ijk = None);
    assert!(spatial.contains("--prior spatial") && spatial.contains(".nii.gz"), "{spatial}");
    let two = message("ball_sticks_2", Coupling::Hierarchical, &keep);
    assert!(two.contains("exchangeable"), "{two}");
    let none = message("ball", Coupling::Hierarchical, &|b| b.signals.fill(f64::NAN));
    assert!(none.contains("no voxel"), "{none}");
    let independent = spec("ball", Coupling::Independent, SearchSpec::default());
    assert!(matches!(Coupled::new(&independent), Err(InferenceError::Region { .. })));
    // A voxel without signals keeps its row and its status; the others are a population.
    let coupled = Coupled::new(&spec("ball", Coupling::Spatial, SearchSpec::default())).unwrap();
    let mut some = batches(9);
    some[0].signals[..8].fill(f64::NAN);
    let region = coupled.region(some, &stop, &|_| {}).unwrap();
    assert_eq!((region.members(), region.blocks[0].fits.len()), (8, 5));
    assert_eq!(region.blocks[0].status[0].name(), "invalid_signal");
}

#[test]
fn a_batch_of_a_coupled_run_is_refused_alone() {
    let spec = spec("ball", Coupling::Hierarchical, SearchSpec::default());
    let batch = crate::record_batch(&batches(3)[0]).unwrap();
    let error = crate::process(&batch, &spec).unwrap_err().to_string();
    assert!(error.contains("--prior hierarchical") && error.contains("--shard"), "{error}");
}
