//! Every row of a folder of exact signals against walks:
//! `cargo run --release -p microtome-models --example simulation_reference -- DIR [--walkers N] [--seed N] [--table T] [--row K] [--step-scale X]`.
//!
//! With `--exact` the rows are compared with the exact twin instead of walks: the largest
//! difference and the CPU time a signal of every table.
//!
//! DIR holds `pgse_rect.csv`, `shaped_waveforms.csv`, `b_tensor.csv`, `msd_one_axis.csv`,
//! `surface_relaxation.csv` and `permeable_slab.csv` (SI units; one row a signal). Each row
//! is a walk with a seed of its own, with the automatic time step times X. Prints for
//! each table the z-scores, their chi-square and its probability; the exit status is 1
//! when one is above 3.5 or a probability outside of 0.5 % to 99.5 %.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

use cpu_time::ThreadTime;
use microtome_models::GAMMA_RAD_PER_S_T;
use microtome_models::substrate::{
    Sequence, Simulation, SubstrateSpec, TOTAL, TimeStep, exact_signals,
};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::path::Path;

type Row = HashMap<String, String>;
type Table = (&'static str, fn(&mut Check, &Row));

struct Check {
    /// Differences from the exact twin, its seconds, its refusals.
    exact: Option<Vec<(String, f64, f64)>>,
    refused: usize,
    walkers: u64,
    scale: f64,
    seed: u64,
    /// Name and z-score.
    scores: Vec<(String, f64)>,
    /// Differences over the reference, weighted sums.
    escaped: u64,
    steps: u64,
}

fn number(row: &Row, key: &str) -> f64 {
    row[key].parse().unwrap()
}

fn rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap().split(',').map(String::from).collect();
    let row = |line: &str| names.iter().cloned().zip(line.split(',').map(String::from)).collect();
    lines.map(row).collect()
}

/// A geometry of the tables; lengths in µm, D in µm²/ms.
fn substrate(kind: &str, size: f64, d: f64, axis: [f64; 3], rho: f64) -> String {
    let size = match kind {
        "planes" => format!("separation_um = {size}\naxis = {axis:?}"),
        "cylinder" => format!("radius_um = {size}\naxis = {axis:?}"),
        _ => format!("radius_um = {size}"),
    };
    format!(
        "[substrate]\nkind = \"{kind}\"\n{size}\n[intra]\ndiffusivity_um2_per_ms = {d}\n\
         surface_relaxivity_um_per_ms = {rho}\n"
    )
}

impl Check {
    fn simulation(&mut self, toml: &str, sequence: &Sequence) -> Simulation {
        let substrate = SubstrateSpec::from_toml(toml).unwrap().build().unwrap();
        let step = self.scale * TimeStep::automatic(&substrate, sequence).ms;
        self.seed += 1;
        Simulation::new(substrate, sequence, Some(step), self.walkers, self.seed).unwrap()
    }

    /// Walks and scores measurement k against wanted[k].
    fn signals(&mut self, name: &str, toml: &str, sequence: &Sequence, wanted: &[f64]) {
        if let Some(exact) = &mut self.exact {
            let substrate = SubstrateSpec::from_toml(toml).unwrap().build().unwrap();
            let begin = ThreadTime::now();
            let found = exact_signals(&substrate, sequence);
            let seconds = begin.elapsed().as_secs_f64() / wanted.len() as f64;
            let Ok(found) = found else {
                self.refused += 1;
                return;
            };
            for row in found.rows.iter().filter(|r| r.compartment == TOTAL) {
                let off = row.signal.real - wanted[row.measurement];
                exact.push((name.into(), off, seconds));
            }
            return;
        }
        let found = self.simulation(toml, sequence).run(|_| true);
        self.escaped += found.escaped + found.stopped;
        self.steps += found.walker_steps;
        for row in found.rows.iter().filter(|r| r.compartment == TOTAL) {
            let s = row.signal;
            let z = (s.real - wanted[row.measurement]) / s.se_real;
            let i = s.imaginary / s.se_imaginary;
            let difference = (s.real - wanted[row.measurement]) / (1.0 - wanted[row.measurement]);
            let error = s.se_real / (1.0 - wanted[row.measurement]);
            let what =
                format!("{name} [{}]: 1 - E off by {difference:.5} +- {error:.5}", row.measurement);
            self.scores.push((what, z));
            assert!(i.abs() < 5.0 || i.is_nan(), "imaginary part of {name}: {i}");
        }
    }

    fn score(&mut self, name: &str, values: &[f64], wanted: f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
        self.scores.push((name.into(), (mean - wanted) / (square / n).sqrt()));
    }
}

/// Samples of T/m along an axis, `[measurement, time, 3]`.
fn along(axis: usize, waveforms: &[Vec<f64>]) -> Vec<f64> {
    let sample = |g: &f64| {
        let mut v = [0.0; 3];
        v[axis] = *g;
        v
    };
    waveforms.iter().flatten().flat_map(sample).collect()
}

/// Two pulses sampled on a grid that all times lie on.
fn pulses(g: f64, delta: f64, big: f64, dt: f64) -> Vec<f64> {
    let n = ((big + delta) / dt).round() as usize;
    let of = |t: f64| {
        if t < delta {
            g
        } else if t > big {
            -g
        } else {
            0.0
        }
    };
    (0..n).map(|k| of((k as f64 + 0.5) * dt)).collect()
}

/// The largest step that divides all times, ms.
fn grid(times: &[f64]) -> f64 {
    let counts: Vec<u64> = times.iter().map(|t| (t * 1e6).round() as u64).collect();
    let divisor = counts.into_iter().fold(0, |mut a, mut b| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    divisor as f64 * 1e-6
}

const Z: [f64; 3] = [0.0, 0.0, 1.0];
const X: [f64; 3] = [1.0, 0.0, 0.0];

/// The axis of the geometry and of the gradient across its walls.
fn frame(kind: &str) -> ([f64; 3], usize) {
    if kind == "planes" { (X, 0) } else { (Z, 0) }
}

fn pgse(check: &mut Check, row: &Row) {
    let kind = row["geometry"].as_str();
    let (axis, g) = frame(kind);
    let (size, d) = (number(row, "size_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let (delta, big) = (number(row, "delta_s") * 1e3, number(row, "Delta_s") * 1e3);
    let dt = grid(&[delta, big]);
    let waveform = pulses(number(row, "G_T_m"), delta, big, dt);
    let times = waveform.len();
    let sequence = Sequence::from_waveforms(&along(g, &[waveform]), times, dt).unwrap();
    let name = format!("{kind} {size} D {d} G {} {delta}/{big}", row["G_T_m"]);
    let toml = substrate(kind, size, d, axis, 0.0);
    check.signals(&name, &toml, &sequence, &[number(row, "E_exact")]);
}

fn relaxation(check: &mut Check, row: &Row) {
    let kind = row["geometry"].as_str();
    let (axis, g) = frame(kind);
    let (size, d) = (number(row, "size_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let (delta, big) = (number(row, "delta_s") * 1e3, number(row, "Delta_s") * 1e3);
    let rho = number(row, "rho_m_s") * 1e3;
    let dt = grid(&[delta, big, number(row, "t_s") * 1e3]);
    let waveform = pulses(number(row, "G_T_m"), delta, big, dt);
    let times = waveform.len();
    assert!((times as f64 * dt - number(row, "t_s") * 1e3).abs() < 1e-9);
    let name = format!("{kind} {size} D {d} rho {rho} {delta}/{big}");
    let toml = substrate(kind, size, d, axis, rho);
    // Every signal has walkers of its own, so that scores are independent.
    let wanted = [number(row, "survival_G0"), number(row, "S_pgse_unnormalised")];
    for (waveform, wanted) in [vec![0.0; times], waveform].into_iter().zip(wanted) {
        let sequence = Sequence::from_waveforms(&along(g, &[waveform]), times, dt).unwrap();
        check.signals(&name, &toml, &sequence, &[wanted]);
    }
}

fn permeable(check: &mut Check, row: &Row) {
    let (size, d) = (number(row, "L_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let (delta, big) = (number(row, "delta_s") * 1e3, number(row, "Delta_s") * 1e3);
    let dt = grid(&[delta, big]);
    let waveforms = ["G1_T_m", "G2_T_m"].map(|g| pulses(number(row, g), delta, big, dt));
    let times = waveforms[0].len();
    let membrane = number(row, "membrane_x_over_L") * size;
    let kappa = number(row, "kappa_m_s") * 1e3;
    let toml = substrate("planes", size, d, X, 0.0)
        + &format!("[[membrane]]\nposition_um = {membrane}\npermeability_um_per_ms = {kappa}\n");
    let name = format!("slab {size} membrane {membrane} kappa {kappa} {delta}/{big}");
    for (waveform, wanted) in waveforms.iter().zip([number(row, "E1"), number(row, "E2")]) {
        let sequence =
            Sequence::from_waveforms(&along(0, std::slice::from_ref(waveform)), times, dt).unwrap();
        check.signals(&name, &toml, &sequence, &[wanted]);
    }
    if check.exact.is_some() {
        return;
    }
    let sequence = Sequence::from_waveforms(&along(0, &waveforms[..1]), times, dt).unwrap();
    let walk = check.simulation(&toml, &sequence);
    let nodes = [0, walk.steps()];
    let moved: Vec<f64> = walk
        .paths(&nodes, 0..check.walkers)
        .chunks(2)
        .filter(|p| p[0][0] < membrane)
        .map(|p| f64::from(u8::from(p[1][0] > membrane)))
        .collect();
    assert!((walk.steps() as f64 * walk.time_step().ms) >= number(row, "t_s") * 1e3 * 0.999);
    check.score(&format!("{name} fraction"), &moved, number(row, "fraction_left_to_right"));
}

fn msd(check: &mut Check, row: &Row) {
    let kind = row["geometry"].as_str();
    let (axis, g) = frame(kind);
    let (size, d) = (number(row, "size_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let t = number(row, "t_s") * 1e3;
    if check.exact.is_some() {
        return;
    }
    let sequence = Sequence::from_waveforms(&[0.0; 3], 1, t).unwrap();
    let walk = check.simulation(&substrate(kind, size, d, axis, 0.0), &sequence);
    let nodes = [0, walk.steps()];
    let paths = walk.paths(&nodes, 0..check.walkers);
    let squares: Vec<f64> = paths.chunks(2).map(|p| (p[1][g] - p[0][g]).powi(2)).collect();
    check.steps += check.walkers * walk.steps() as u64;
    let name = format!("{kind} {size} D {d} t {t}");
    check.score(&name, &squares, number(row, "msd_m2") * 1e12);
}

fn shaped(check: &mut Check, row: &Row) {
    let kind = row["geometry"].as_str();
    let (axis, g) = frame(kind);
    let (size, d) = (number(row, "size_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let p: HashMap<&str, f64> = row["params"]
        .split(';')
        .map(|part| part.split_once('=').unwrap())
        .map(|(k, v)| (k, v.parse().unwrap()))
        .collect();
    let (end, of): (f64, Box<dyn Fn(f64) -> f64>) = match row["kind"].as_str() {
        "trapezoid" => {
            let (top, de, big, r) = (p["G"], p["de"], p["De"], p["r"]);
            let pulse = move |t: f64| (t / r).min((de - t) / r).clamp(0.0, 1.0) * top;
            (big + de, Box::new(move |t| pulse(t) - pulse(t - big)))
        }
        shape => {
            let (top, n, t1, gap) = (p["G"], p["nper"], p["T"], p["gap"]);
            let cosine = shape == "ogse_cos";
            let block = move |t: f64| {
                let x = TAU * n * t / t1;
                let inside = (0.0..=t1).contains(&t);
                if inside { top * if cosine { x.cos() } else { x.sin() } } else { 0.0 }
            };
            (2.0 * t1 + gap, Box::new(move |t| block(t) - block(t - t1 - gap)))
        }
    };
    // Means over fine samples by Simpson's rule.
    let n = if check.exact.is_some() { 94_000 } else { 9400 };
    let h = end / n as f64;
    let e = 1e-9 * h;
    let mean = |k: usize| {
        let t = k as f64 * h;
        (of(t + e) + 4.0 * of(t + 0.5 * h) + of(t + h - e)) / 6.0
    };
    let waveform: Vec<f64> = (0..n).map(mean).collect();
    let sequence = Sequence::from_waveforms(&along(g, &[waveform]), n, 1e3 * h).unwrap();
    let toml = substrate(kind, size, d, axis, 0.0);
    let name = format!("{} {kind} {size} D {d} {}", row["kind"], row["params"]);
    check.signals(&name, &toml, &sequence, &[number(row, "E_exact")]);
}

fn b_tensor(check: &mut Check, row: &Row) {
    let (t, b) = (number(row, "T_s"), number(row, "b_s_m2"));
    let (sin_z, cos_z) = match row["mode"].as_str() {
        "STE" => ((2.0 / 3.0_f64).sqrt(), (1.0 / 3.0_f64).sqrt()),
        "PTE" => (1.0, 0.0),
        _ => (0.0, 1.0),
    };
    let q0 = (8.0 * b / (3.0 * t)).sqrt();
    let power = |x: f64| {
        // Integral of sin^4 from 0 to x.
        3.0 * x / 8.0 - (2.0 * x).sin() / 4.0 + (4.0 * x).sin() / 32.0
    };
    let pi = std::f64::consts::PI;
    let q = |s: f64| {
        let psi = TAU * power(pi * s / t) / power(pi);
        let size = q0 * (pi * s / t).sin().powi(2);
        [sin_z * psi.cos() * size, sin_z * psi.sin() * size, cos_z * size]
    };
    let n = 6000;
    let h = t / f64::from(n);
    let gradient: Vec<f64> = (0..n)
        .flat_map(|k| {
            let (a, b) = (q(f64::from(k) * h), q(f64::from(k + 1) * h));
            [0, 1, 2].map(|i: usize| (b[i] - a[i]) / (h * GAMMA_RAD_PER_S_T))
        })
        .collect();
    let sequence = Sequence::from_waveforms(&gradient, n as usize, 1e3 * h).unwrap();
    let kind = row["geometry"].as_str();
    let (size, d) = (number(row, "size_m") * 1e6, number(row, "D_m2_s") * 1e9);
    let axis = if row["orientation"].ends_with('x') { X } else { Z };
    let toml = substrate(kind, size, d, axis, 0.0);
    let name = format!("{} {b:e} {kind} {} {size} D {d}", row["mode"], row["orientation"]);
    check.signals(&name, &toml, &sequence, &[number(row, "E_exact")]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let walkers = flag("--walkers").map_or(20_000, |n| n.parse().unwrap());
    let scale = flag("--step-scale").map_or(1.0, |n| n.parse().unwrap());
    let seed = flag("--seed").map_or(0, |n| n.parse().unwrap());
    let only = flag("--table");
    let line: Option<usize> = flag("--row").map(|n| n.parse().unwrap());
    let folder = Path::new(&arguments[0]);
    let tables: [Table; 6] = [
        ("pgse_rect", pgse),
        ("shaped_waveforms", shaped),
        ("b_tensor", b_tensor),
        ("msd_one_axis", msd),
        ("surface_relaxation", relaxation),
        ("permeable_slab", permeable),
    ];
    let mut bad = false;
    for (name, run) in tables {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let begin = std::time::Instant::now();
        let exact = arguments.iter().any(|a| a == "--exact").then(Vec::new);
        let mut check = Check {
            exact,
            refused: 0,
            walkers,
            scale,
            seed,
            scores: Vec::new(),
            escaped: 0,
            steps: 0,
        };
        let rows = rows(&folder.join(format!("{name}.csv")));
        for (_, row) in rows.iter().enumerate().filter(|(k, _)| line.is_none_or(|l| l == *k)) {
            run(&mut check, row);
        }
        if let Some(exact) = &check.exact {
            let worst = exact.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
            let mut seconds: Vec<f64> = exact.iter().map(|e| e.2).collect();
            seconds.sort_by(f64::total_cmp);
            if let Some((what, off, _)) = worst {
                println!(
                    "{name}: {} signals, largest difference {off:.1e} ({what}), {} above 1e-6, {} refused, \
                     {:.2} ms a signal (median), {:.1} at most",
                    exact.len(),
                    exact.iter().filter(|e| e.1.abs() > 1e-6).count(),
                    check.refused,
                    1e3 * seconds[seconds.len() / 2],
                    1e3 * seconds[seconds.len() - 1]
                );
            }
            continue;
        }
        let z: Vec<f64> = check.scores.iter().map(|s| s.1).collect();
        let chi: f64 = z.iter().map(|z| z * z).sum();
        let p = ChiSquared::new(z.len() as f64).unwrap().cdf(chi);
        let mean = z.iter().sum::<f64>() / z.len() as f64;
        let worst = check.scores.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap();
        println!(
            "{name}: {} signals, largest |z| {:.2} ({}), chi-square {chi:.1}, probability below {p:.3}, \
             mean z {mean:+.3} (sd {:.3}), {} escaped or stopped, {:.2e} steps, {:.0} s",
            z.len(),
            worst.1.abs(),
            worst.0,
            1.0 / (z.len() as f64).sqrt(),
            check.escaped,
            check.steps as f64,
            begin.elapsed().as_secs_f64()
        );
        for (row, z) in check.scores.iter().filter(|s| s.1.is_nan() || s.1.abs() >= 3.0) {
            println!("    {z:+.2}  {row}");
        }
        bad |= z.iter().any(|z| z.is_nan() || z.abs() > 3.5) || !(0.005..=0.995).contains(&p);
    }
    std::process::exit(i32::from(bad));
}
