//! Posteriors of posteriordb, sampled as Candle graphs.
//!
//! ```text
//! cargo run --release -p microtome-inference --example posteriordb -- NAME DATA.json OUT.parquet
//!     [--check REFERENCE.csv] [--seed N] [--metric diagonal|low-rank] [--target-accept A] [--repeat N]
//! ```
//!
//! 4 chains x (1000 tuning + 1000 kept) draws from starts uniform in (-2, 2). NAME as in the
//! column `posterior` of the reference table (`eight_schools-eight_schools_noncentered`), or its
//! second half. OUT has the columns chain, draw, one a parameter named as there, and
//! the statistics diverging, lp, tree_depth, n_steps, step_size, energy. `--check` prints z-scores,
//! ratios of standard deviations, R-hat and divergences, and exits 1 when one of the limits
//! |z| < 4, 10 %, 1.01, no divergences is passed. `--repeat` samples and times that many
//! times (CPU seconds of all chains), seeds one after another; `RAYON_NUM_THREADS=1` for one thread.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod models;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, UInt32Array, UInt64Array};
use cpu_time::ProcessTime;
use microtome_inference::diagnostics::{Chains, Summary, Workspace, summarize};
use microtome_inference::sample::{DensityPosterior, Metric, NutsOptions, sample_density};
use models::Model;
use parquet::arrow::ArrowWriter;
use std::error::Error;
use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

struct Arguments {
    name: String,
    data: String,
    out: String,
    check: Option<String>,
    seed: u64,
    repeat: usize,
    metric: Option<Metric>,
    target_accept: Option<f64>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut plain = Vec::new();
    let (mut check, mut seed, mut repeat, mut metric, mut target) = (None, 1, 1, None, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            plain.push(word);
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--check" => check = Some(value),
            "--seed" => seed = value.parse()?,
            "--repeat" => repeat = value.parse()?,
            "--target-accept" => target = Some(value.parse()?),
            "--metric" => {
                metric = Some(match value.as_str() {
                    "diagonal" => Metric::Diagonal,
                    "low-rank" => Metric::LowRank,
                    _ => return Err(format!("--metric {value}; take diagonal or low-rank").into()),
                });
            }
            _ => return Err(format!("unknown flag {word}").into()),
        }
    }
    let [name, data, out] = <[String; 3]>::try_from(plain)
        .map_err(|_| "usage: posteriordb NAME DATA.json OUT.parquet [--check REFERENCE.csv]")?;
    Ok(Arguments { name, data, out, check, seed, repeat, metric, target_accept: target })
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("posteriordb: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let a = arguments()?;
    let text = std::fs::read_to_string(&a.data).map_err(|e| format!("{}: {e}", a.data))?;
    let data = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", a.data))?;
    let mut model = models::model(&a.name, &data)?;
    if let Some(metric) = a.metric {
        model.metric = metric;
    }
    if let Some(target) = a.target_accept {
        model.target_accept = target;
    }
    let mut seconds = Vec::new();
    let mut rates = Vec::new();
    let mut posterior = None;
    for repeat in 0..a.repeat.max(1) as u64 {
        let clock = ProcessTime::now();
        let p = sample(&model, a.seed + repeat)?;
        let s = clock.elapsed().as_secs_f64();
        if a.repeat > 1 {
            let least = columns(&model, &p)
                .iter()
                .map(|(_, v)| summary(v, &p).ess_bulk)
                .fold(f64::INFINITY, f64::min);
            println!(
                "seed {}: {s:.4} CPU s, {} gradients, {:.2} us each, min bulk ESS {least:.0}, {:.0} a CPU s, {} divergences",
                a.seed + repeat,
                p.gradients(),
                1e6 * s / p.gradients() as f64,
                least / s,
                p.divergences()
            );
            seconds.push(s);
            rates.push(least / s);
        }
        posterior.get_or_insert(p);
    }
    let posterior = posterior.ok_or("nothing sampled")?;
    if a.repeat > 1 {
        let median = |v: &mut Vec<f64>| {
            v.sort_by(f64::total_cmp);
            v[v.len() / 2]
        };
        println!(
            "{} median of {}: {:.4} CPU s, {:.0} min bulk ESS a CPU s",
            a.name,
            a.repeat,
            median(&mut seconds),
            median(&mut rates)
        );
    }
    for warning in posterior.warnings() {
        eprintln!("warning: {warning}");
    }
    write(&a.out, &model, &posterior)?;
    match &a.check {
        None => Ok(true),
        Some(path) => check(path, &a.name, &model, &posterior),
    }
}

fn sample(model: &Model, seed: u64) -> Result<DensityPosterior, Box<dyn Error>> {
    let options = NutsOptions {
        chains: 4,
        tune: 1000,
        draws: 1000,
        target_accept: model.target_accept,
        metric: model.metric,
        ..NutsOptions::default()
    };
    Ok(sample_density(|_chain| model.density.density(), &model.start, &options, seed)?)
}

/// Name and draws `[chain, draw]` of every parameter of the table.
fn columns(model: &Model, posterior: &DensityPosterior) -> Vec<(String, Vec<f64>)> {
    let parameters = model.density.parameters();
    let mut values = vec![0.0; parameters.values()];
    let names = parameters.names();
    let mut out: Vec<(String, Vec<f64>)> = Vec::new();
    for (k, name) in names.iter().enumerate() {
        if model.hidden.iter().any(|h| name.starts_with(h)) {
            continue;
        }
        let draws = posterior.map(|x| {
            parameters.constrain(x, &mut values);
            values[k]
        });
        out.push((name.clone(), draws));
    }
    for (name, f) in &model.derived {
        let draws = posterior.map(|x| {
            parameters.constrain(x, &mut values);
            f(&values)
        });
        out.push((name.clone(), draws));
    }
    out
}

fn write(path: &str, model: &Model, posterior: &DensityPosterior) -> Result<(), Box<dyn Error>> {
    let n = posterior.draws();
    let rows = || (0..posterior.chains.len()).flat_map(|c| (0..n).map(move |d| (c, d)));
    let draw = |(c, d): (usize, usize)| &posterior.chains[c].trace.draws[d];
    let mut fields: Vec<(String, ArrayRef)> = vec![
        ("chain".into(), Arc::new(UInt32Array::from_iter_values(rows().map(|r| r.0 as u32)))),
        ("draw".into(), Arc::new(UInt32Array::from_iter_values(rows().map(|r| r.1 as u32)))),
    ];
    for (name, values) in columns(model, posterior) {
        fields.push((name, Arc::new(Float64Array::from(values))));
    }
    let number = |f: fn(&microtome_inference::sample::Draw) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows().map(|r| f(draw(r)))))
    };
    let whole = |f: fn(&microtome_inference::sample::Draw) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows().map(|r| f(draw(r)))))
    };
    fields.push(("lp".into(), number(|d| d.ln_density)));
    fields.push(("energy".into(), number(|d| d.energy)));
    fields.push(("step_size".into(), number(|d| d.step_size)));
    fields.push(("tree_depth".into(), whole(|d| d.tree_depth)));
    fields.push(("n_steps".into(), whole(|d| d.n_steps)));
    let diverging: Vec<bool> = rows().map(|r| draw(r).diverging).collect();
    fields.push(("diverging".into(), Arc::new(BooleanArray::from(diverging))));
    let batch = RecordBatch::try_from_iter(fields)?;
    let file = File::create(path).map_err(|e| format!("{path}: {e}"))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

fn summary(values: &[f64], posterior: &DensityPosterior) -> Summary {
    match Chains::new(values, posterior.chains.len(), posterior.draws()) {
        Ok(chains) => summarize(chains, &mut Workspace::new()),
        Err(_) => unreachable!("columns have a value a draw"),
    }
}

/// Compares with the published reference draws; whether all is within the limits.
fn check(
    path: &str,
    name: &str,
    model: &Model,
    posterior: &DensityPosterior,
) -> Result<bool, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let columns = columns(model, posterior);
    let mut passed = true;
    let mut seen = 0;
    println!(
        "{:<12} {:>12} {:>8} {:>9} {:>8} {:>9}",
        "parameter", "mean", "z", "sd ratio", "R-hat", "bulk ESS"
    );
    for line in text.lines().skip(1) {
        let f: Vec<&str> = line.split(',').collect();
        if f.len() < 7 || !models::is_called(f[0], name) {
            continue;
        }
        let [mean, sd, error] = [f[4].parse::<f64>()?, f[5].parse::<f64>()?, f[6].parse::<f64>()?];
        let (_, values) = columns
            .iter()
            .find(|(c, _)| c == f[1])
            .ok_or_else(|| format!("no column {} among the draws", f[1]))?;
        let s = summary(values, posterior);
        let z = (s.mean - mean) / s.mcse_mean.hypot(error);
        let fits = z.abs() < 4.0 && (s.sd / sd - 1.0).abs() < 0.1 && s.rhat < 1.01;
        passed &= fits;
        seen += 1;
        println!(
            "{:<12} {:>12.6} {:>8.2} {:>9.3} {:>8.4} {:>9.0}{}",
            f[1],
            s.mean,
            z,
            s.sd / sd,
            s.rhat,
            s.ess_bulk,
            if fits { "" } else { "  OUTSIDE" }
        );
    }
    if seen == 0 {
        return Err(format!("{path} has no rows of {name}").into());
    }
    let divergences = posterior.divergences();
    println!("{name}: {} divergences, {} gradients", divergences, posterior.gradients());
    Ok(passed && divergences == 0)
}
