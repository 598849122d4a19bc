//! Cheap posteriors against NUTS in every voxel, and against the truth:
//! `cargo run --release -p microtome-inference --example cheap_posteriors -- MODEL VOXELS [typical|prior] [MEASUREMENTS] [METHOD] [TUNE DRAWS ACCEPT]`.
//!
//! Truths are drawn from the prior of the model (`typical`: those with no fraction below
//! 0.1 and diffusivities of 0.5 to 2.8 µm²/ms), noise is Rician of known σ = 1/30 (288
//! measurements: 18 b = 0 and 3 x 90 directions; 108: 12 and 3 x 32; b = 1, 2, 3 ms/µm²).
//! Every voxel is sampled by METHOD with the draws of the command line's defaults, and by
//! NUTS, 4 x (200 + 1000). Printed: CPU time a voxel, how many voxels got which method,
//! differences in units of the posterior sd of NUTS, coverage of the 90 % intervals and,
//! for axes, of the cone that holds 90 % of the draws. Exchangeable compartments are
//! ordered by fraction in every draw.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use cpu_time::ThreadTime;
use microtome_inference::diagnostics::{Chains, Summary, Workspace, summarize};
use microtome_inference::fit::{FitOptions, Fitter, StartScheme, Status};
use microtome_inference::sample::{SampleOptions, Sampler, VoxelPosterior};
use microtome_kernels::eigen::eigen_3x3;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{
    Acquisition, Evaluator, FreeKind, Lowered, Model, ModelSpec, NoiseKind, PriorSampler,
    SampleMethod, SearchSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const SIGMA: f64 = 1.0 / 30.0;

fn scheme(b0: usize, n: usize) -> Acquisition {
    let mut b = vec![0.0; b0];
    let mut g = vec![[0.0, 0.0, 1.0]; b0];
    for (s, value) in [1.0, 2.0, 3.0].into_iter().enumerate() {
        for i in 0..n {
            let z = 1.0 - (i as f64 + 0.5) / n as f64;
            let phi = 2.399_963_229_728_653 * i as f64 + s as f64;
            let r = (1.0 - z * z).sqrt();
            b.push(value);
            g.push([r * phi.cos(), r * phi.sin(), z]);
        }
    }
    Acquisition::from_b(&b, &g, None, None).unwrap()
}

fn is_typical(model: &Model, x: &[f64]) -> bool {
    model.free().iter().all(|f| match f.kind {
        FreeKind::Fractions { .. } => x[f.at..f.at + f.len].iter().all(|v| *v >= 0.1),
        FreeKind::Scalar { .. } => (0.5..2.8).contains(&x[f.at]),
        _ => true,
    })
}

/// A number that is compared: its name, its draws and the truth.
type Quantity = (String, Vec<f64>, f64);

/// The numbers that are compared, and whether the axial caps hold the true axes.
fn quantities(model: &Model, p: &VoxelPosterior, truth: &[f64]) -> (Vec<Quantity>, Vec<bool>) {
    let mut values = p.values.clone();
    let mut truth = truth.to_vec();
    model.canonicalise(&mut truth);
    values.chunks_exact_mut(p.width).for_each(|x| model.canonicalise(x));
    let names = model.value_names();
    let column = |k: usize| values.iter().skip(k).step_by(p.width).copied().collect::<Vec<f64>>();
    let (mut out, mut caps) = (Vec::new(), Vec::new());
    for f in model.free() {
        if f.kind != FreeKind::Axis {
            for k in f.at..f.at + f.len {
                out.push((names[k].to_string(), column(k), truth[k]));
            }
            continue;
        }
        let mu = [column(f.at), column(f.at + 1), column(f.at + 2)];
        let mut dyadic = [[0.0; 3]; 3];
        for i in 0..3 {
            for j in 0..3 {
                let product: Vec<f64> = mu[i].iter().zip(&mu[j]).map(|(a, b)| a * b).collect();
                dyadic[i][j] = product.iter().sum::<f64>();
                if i <= j {
                    let name = format!("{}{}{}", names[f.at], i, j);
                    out.push((name, product, truth[f.at + i] * truth[f.at + j]));
                }
            }
        }
        let m = eigen_3x3(dyadic).1[0];
        let cosine = |x: [f64; 3]| (0..3).map(|i| x[i] * m[i]).sum::<f64>().abs();
        let mut cosines: Vec<f64> =
            (0..mu[0].len()).map(|d| cosine([mu[0][d], mu[1][d], mu[2][d]])).collect();
        cosines.sort_by(f64::total_cmp);
        let edge = cosines[(cosines.len() as f64 * 0.1) as usize];
        caps.push(cosine([truth[f.at], truth[f.at + 1], truth[f.at + 2]]) >= edge);
    }
    (out, caps)
}

fn spread(mut v: Vec<f64>) -> String {
    if v.is_empty() {
        return "-".into();
    }
    v.sort_by(f64::total_cmp);
    let at = |p: f64| v[((v.len() - 1) as f64 * p) as usize];
    format!(
        "median {:.3}, 95 % {:.3}, 99 % {:.3}, largest {:.3}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    )
}

/// How the chains of a method did.
#[derive(Default)]
struct Mixing {
    ess: Vec<f64>,
    rhat: Vec<f64>,
    gradients: u64,
    divergences: u64,
    seconds: f64,
}

impl Mixing {
    fn add(&mut self, p: &VoxelPosterior, all: &[(String, Summary, f64)], seconds: f64) {
        self.ess.push(all.iter().map(|q| q.1.ess_bulk).fold(f64::INFINITY, f64::min));
        self.rhat.push(all.iter().map(|q| q.1.rhat).fold(0.0, f64::max));
        self.gradients += p.traces.iter().map(|t| t.gradients).sum::<u64>();
        self.divergences += p.divergences();
        self.seconds += seconds;
    }

    fn print(&self, name: &str) {
        let n = self.ess.len() as f64;
        let share = |k: usize| 100.0 * k as f64 / n;
        println!(
            "  chains of {name}: bulk ESS of the worst number at least 400 in {:.1} %, R-hat of all at most 1.01 in {:.1} % of voxels; {:.0} ESS a CPU second; {:.0} gradients a voxel, {:.2} us each; {} divergences",
            share(self.ess.iter().filter(|e| **e >= 400.0).count()),
            share(self.rhat.iter().filter(|r| **r <= 1.01).count()),
            self.ess.iter().sum::<f64>() / self.seconds,
            self.gradients as f64 / n,
            self.seconds / self.gradients as f64 * 1e6,
            self.divergences
        );
    }
}

#[derive(Default)]
struct Differences {
    voxels: usize,
    seconds: f64,
    mean: Vec<f64>,
    sd: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let word =
        |i: usize, default: &str| arguments.get(i).map_or(default, String::as_str).to_string();
    let (name, count) = (word(1, "ball_stick"), word(2, "200").parse::<u64>().unwrap());
    let typical = word(3, "prior") == "typical";
    let acquisition = if word(4, "288") == "288" { scheme(18, 90) } else { scheme(12, 32) };
    let method = SampleMethod::ALL.into_iter().find(|m| m.name() == word(5, "auto")).unwrap();
    let mut spec = ModelSpec::parse(&name).unwrap();
    spec.noise.kind = NoiseKind::Rician;
    let spec = spec.with_scale_priors(1.0, false);
    let model = Arc::new(Model::new(spec).unwrap());
    let prior = PriorSampler::new(&model, false).unwrap();
    let lowered = Lowered::new(model.clone(), &acquisition).unwrap();
    let starts = StartScheme::new(&lowered, &acquisition).unwrap();
    let sampler = |search: SearchSpec| {
        let fitter = Fitter::new(&lowered, &starts, FitOptions::default());
        Sampler::with_options(fitter, SampleOptions::of(&search))
    };
    let mut search = SearchSpec::for_method(method);
    search.tune = word(6, &search.tune.to_string()).parse().unwrap();
    search.draws = word(7, &search.draws.to_string()).parse().unwrap();
    search.target_accept = word(8, &search.target_accept.to_string()).parse().unwrap();
    let (mut cheap, mut nuts) = (sampler(search), sampler(SearchSpec::default()));
    let mut evaluator = Evaluator::new(&lowered);
    let mut workspace = Workspace::new();
    let mut by_method: BTreeMap<&str, Differences> = BTreeMap::new();
    let (mut nuts_seconds, mut unmixed, mut modes) = (0.0, 0, 0);
    let mut mixing = [Mixing::default(), Mixing::default()];
    let mut worst: Vec<(f64, String)> = Vec::new();
    let mut covered: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for voxel in 0..count {
        let mut rng = PhiloxRng::new(17, voxel, 0);
        let mut truth = prior.draw(&mut rng);
        while typical && !is_typical(&model, &truth) {
            truth = prior.draw(&mut rng);
        }
        let y: Vec<f64> = evaluator
            .predict(&truth)
            .into_iter()
            .map(|s| NoiseKind::Rician.draw(s, SIGMA, &mut rng))
            .collect();
        let clock = ThreadTime::now();
        let a = cheap.sample(&y, &[], Some(SIGMA), 5, voxel);
        let seconds = clock.elapsed().as_secs_f64();
        let clock = ThreadTime::now();
        let b = nuts.sample(&y, &[], Some(SIGMA), 5, voxel);
        let b_seconds = clock.elapsed().as_secs_f64();
        nuts_seconds += b_seconds;
        modes += usize::from(a.modes > 1);
        let d = by_method.entry(a.method.name()).or_default();
        d.voxels += 1;
        d.seconds += seconds;
        if a.values.is_empty() || b.values.is_empty() {
            unmixed += 1;
            continue;
        }
        let mut of = |p: &VoxelPosterior| -> (Vec<(String, Summary, f64)>, Vec<bool>) {
            let (all, caps) = quantities(&model, p, &truth);
            let draws = p.traces[0].draws.len();
            let summaries = all
                .into_iter()
                .map(|(name, x, truth)| {
                    let chains = Chains::new(&x, p.traces.len(), draws).unwrap();
                    (name, summarize(chains, &mut workspace), truth)
                })
                .collect();
            (summaries, caps)
        };
        let ((a_all, a_caps), (b_all, b_caps)) = (of(&a), of(&b));
        mixing[0].add(&a, &a_all, seconds);
        mixing[1].add(&b, &b_all, b_seconds);
        // What NUTS itself is not sure of is no yardstick.
        let mixed = b.status == Status::Converged && b_all.iter().all(|q| q.1.rhat < 1.01);
        unmixed += usize::from(!mixed);
        for ((name, x, truth), (_, y, _)) in a_all.iter().zip(&b_all) {
            if mixed && y.sd > 0.0 {
                d.mean.push((x.mean - y.mean).abs() / y.sd);
                d.sd.push((x.sd / y.sd).ln().abs());
                let far = (x.sd / y.sd)
                    .ln()
                    .abs()
                    .max((x.q95 - y.q95).abs().max((x.q05 - y.q05).abs()) / y.sd);
                worst.push((far, format!("voxel {voxel} {name}: {} mean {:.4} {:.4}, sd {:.4} {:.4}, q05 {:.4} {:.4}, q95 {:.4} {:.4}, modes {}, weights {:?}, truth {truth:.4}",
                    a.method.name(), x.mean, y.mean, x.sd, y.sd, x.q05, y.q05, x.q95, y.q95, a.modes, a.weights)));
                d.low.push((x.q05 - y.q05).abs() / y.sd);
                d.high.push((x.q95 - y.q95).abs() / y.sd);
            }
            if !name.contains("mu_x") {
                let c = covered.entry(name.clone()).or_default();
                c[0] += 1;
                c[1] += u64::from(x.q05 <= *truth && *truth <= x.q95);
                c[2] += u64::from(y.q05 <= *truth && *truth <= y.q95);
            }
        }
        for (k, (a, b)) in a_caps.iter().zip(&b_caps).enumerate() {
            let c = covered.entry(format!("axis {k}")).or_default();
            c[0] += 1;
            c[1] += u64::from(*a);
            c[2] += u64::from(*b);
        }
    }
    let total: f64 = by_method.values().map(|d| d.seconds).sum();
    println!(
        "{name}, {} measurements, {count} voxels, {}: {} {:.3} ms a voxel, nuts 4 x (200 + 1000) {:.3} ms; {modes} voxels of several modes; {unmixed} where NUTS has not mixed",
        acquisition.len(),
        if typical { "typical truths" } else { "truths of the prior" },
        method.name(),
        total / count as f64 * 1e3,
        nuts_seconds / count as f64 * 1e3,
    );
    for (method, d) in by_method {
        println!(
            "  {method}: {} voxels ({:.1} %), {:.3} ms each",
            d.voxels,
            100.0 * d.voxels as f64 / count as f64,
            d.seconds / d.voxels as f64 * 1e3
        );
        println!("    |mean - mean of nuts| / sd: {}", spread(d.mean));
        println!("    |ln sd ratio|:             {}", spread(d.sd));
        println!("    |q05 - q05 of nuts| / sd:   {}", spread(d.low));
        println!("    |q95 - q95 of nuts| / sd:   {}", spread(d.high));
    }
    mixing[0].print(method.name());
    mixing[1].print("nuts");
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    worst.truncate(8);
    for (_, text) in &worst {
        println!("  {text}");
    }
    for (name, [n, a, b]) in covered {
        let share = |k: u64| 100.0 * k as f64 / n as f64;
        println!(
            "  coverage of 90 %, {name}: {} {:.1} %, nuts {:.1} %",
            method.name(),
            share(a),
            share(b)
        );
    }
}
