//! Steps a second of streamlines through functions of order 8 on 54 x 54 x 54 voxels, on one
//! thread, and what the gradient of a whole streamline costs:
//! `cargo bench -p microtome-kernels --bench streamlines`. CPU time, median of seven calls;
//! with `-- 2` also on two threads, wall time.
//!
//! The field turns along circles of radius 10 to 26 voxels; steps are half a voxel. The floor of
//! `probabilistic` is 96 x 45 fused multiply-adds a step, sixteen at once. `bootstrap` resamples 64
//! signals of one fibre with noise and follows the peak of a function of order 4 of ln(-ln E): the work of
//! the constant solid angle, without its constants.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_kernels::dense::invert;
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::simd::level;
use microtome_kernels::sphere_series::{count, pull_back};
use microtome_kernels::streamline::{
    ArcMean, ArcRule, AxisTable, BootstrapRule, ClosestRule, Cotangent, DiscreteRule, Functions,
    Integrator, Lattice, Limits, MassRule, PEAK_WIDTH, PeakRule, Peaks, Redraw, Regions,
    Resampling, Rule, Seed, Starts, StickRule, Survival, path, reverse, track,
};
use microtome_kernels::vector::dot;
use std::hint::black_box;
use std::time::Instant;

const ORDER: usize = 8;
const N: usize = 54;

/// The median of some calls, CPU seconds and wall seconds.
fn times(mut run: impl FnMut()) -> [f64; 2] {
    let mut all: Vec<[f64; 2]> = (0..7)
        .map(|_| {
            let (cpu, wall) = (ProcessTime::now(), Instant::now());
            run();
            [cpu.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64()]
        })
        .collect();
    all.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let cpu = all[3][0];
    all.sort_by(|a, b| a[1].total_cmp(&b[1]));
    [cpu, all[3][1]]
}

const IDENTITY: [[f64; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];

/// Numbers of every voxel by the tangent of the circle about the middle of the grid.
fn lattice(width: usize, mut voxel: impl FnMut([f64; 3], &mut [f64])) -> Option<Lattice<f32>> {
    let middle = (N as f64 - 1.0) / 2.0;
    let mut values = Vec::with_capacity(N * N * N * width);
    for n in 0..N * N * N {
        let (x, y) = ((n % N) as f64 - middle, (n / N % N) as f64 - middle);
        let r = x.hypot(y).max(1e-9);
        let mut row = vec![0.0; width];
        voxel([-y / r, x / r, 0.0], &mut row);
        values.extend(row.iter().map(|v| *v as f32));
    }
    Lattice::new([N; 3], width, values, IDENTITY)
}

/// A lobe along the tangent, and a weaker one along z.
fn field(order: usize) -> Option<Lattice<f32>> {
    lattice(count(order).next_multiple_of(8), |tangent, row| {
        // The kernel that reproduces functions of the order, tapered by its even powers.
        for (weight, axis) in [(1.0, tangent), (0.5, [0.0, 0.0, 1.0])] {
            pull_back(order, axis, weight, [0.0; 3], row);
        }
    })
}

/// Signals of one fibre in 64 directions with noise, and what resamples them.
fn signals() -> Option<(Lattice<f32>, Resampling)> {
    let table = AxisTable::new(0, 128);
    let axes: Vec<_> = table.axes().iter().step_by(2).copied().collect();
    let (n, terms) = (axes.len(), count(4));
    let mut noise = PhiloxRng::new(1, 0, 0);
    let field = lattice((n + 1).next_multiple_of(8), |tangent, row| {
        noise.normals(row);
        for (v, g) in row.iter_mut().zip(&axes) {
            *v = 1000.0 * (-3.0 * (0.2 + 1.5 * dot(*g, tangent).powi(2))).exp() + 30.0 * *v;
        }
        row[n] = 1000.0;
    })?;
    // Terms of the signals by least squares.
    let width = terms.next_multiple_of(8);
    let mut basis = vec![0.0; n * terms];
    for (row, g) in basis.chunks_exact_mut(terms).zip(&axes) {
        pull_back(4, *g, 1.0, [0.0; 3], row);
    }
    let mut normal = vec![0.0; terms * terms];
    for row in basis.chunks_exact(terms) {
        for (i, a) in row.iter().enumerate() {
            row.iter().zip(&mut normal[i * terms..]).for_each(|(b, m)| *m += a * b);
        }
    }
    let inverse = invert(&normal, terms)?;
    let (mut coefficients, mut fitted) = (vec![0.0; n * width], vec![0.0; terms * n]);
    for (i, row) in basis.chunks_exact(terms).enumerate() {
        for k in 0..terms {
            let own = row.iter().zip(&inverse[k * terms..]);
            coefficients[i * width + k] = own.map(|(b, m)| b * m).sum();
            fitted[k * n + i] = row[k];
        }
    }
    let resampling = Resampling {
        measurements: n,
        outer: coefficients.clone(),
        coefficients,
        fitted,
        scale: vec![1.1; n],
        linear: Vec::new(),
        constant: vec![0.0; width],
        solid_angle: true,
        lowest: 1.0,
    };
    Some((field, resampling))
}

fn limits(steps: u32) -> Limits {
    let integrator = Integrator::Euler;
    Limits { step: 0.5, integrator, cos_angle: 0.5, steps, fewest: 1, both: true }
}

fn seeds() -> Vec<Seed> {
    let middle = (N as f64 - 1.0) / 2.0;
    (0..600)
        .map(|n| {
            let (s, c) = (0.37 * n as f64).sin_cos();
            let r = 10.0 + 0.025 * n as f64;
            let x = [middle + r * c, middle + r * s, 2.0 + (n % 50) as f64];
            Seed { x, number: n, direction: Some([-s, c, 0.0]) }
        })
        .collect()
}

fn speed<R: Rule>(name: &str, rule: &R, two: bool) {
    let seeds = seeds();
    let run = || {
        track(level(), rule, &limits(200), &Regions::default(), &seeds, Starts::All(1), 1, 0).steps
    };
    let steps = run() as f64;
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build();
    let Ok(one) = pool(1) else { return };
    let [cpu, wall] = one.install(|| {
        times(|| {
            black_box(run());
        })
    });
    print!("{name:<14} {:6.3} M steps/s, {:5.0} ns a step", steps / cpu / 1e6, 1e9 * cpu / steps);
    if two && let Ok(two) = pool(2) {
        let [_, both] = two.install(|| {
            times(|| {
                black_box(run());
            })
        });
        print!(", two threads {:.2} times", wall / both);
    }
    println!();
}

/// The rules that follow other fields than functions of order 8.
fn others(two: bool) -> Option<()> {
    let (table, tensors) = (AxisTable::new(2, 362), field(2)?);
    let peaks = Peaks { axes: &table, threshold: 0.01, relative: 0.25, cos_separation: 0.707 };
    speed("tensor", &PeakRule { functions: Functions { field: &tensors, peaks } }, two);
    let (signals, resampling) = signals()?;
    let table = AxisTable::new(4, 362);
    let bootstrap = BootstrapRule {
        field: &signals,
        resampling: &resampling,
        peaks: Peaks { axes: &table, threshold: f64::NEG_INFINITY, ..peaks },
        cos_angle: 0.5,
        attempts: 5,
    };
    speed("bootstrap", &bootstrap, two);
    let discrete = lattice(2 * PEAK_WIDTH, |tangent, row| {
        row[..3].copy_from_slice(&tangent);
        (row[3], row[6], row[7]) = (1.0, 1.0, 0.5);
    })?;
    let rule = DiscreteRule { field: &discrete, threshold: 0.1, cos_angle: 0.5, total_weight: 0.5 };
    speed("discrete peaks", &rule, two);
    let sticks: Vec<[f32; 4]> = discrete.values().as_chunks::<PEAK_WIDTH>().0.to_vec();
    let row: Vec<u32> = (0..(N * N * N) as u32).collect();
    let posterior = StickRule {
        shape: [N; 3],
        voxel_from_field: IDENTITY,
        row: &row,
        sticks: &sticks,
        draws: 1,
        count: 2,
        threshold: 0.05,
        redraw: Redraw::Step,
    };
    speed("posterior", &posterior, two);
    Some(())
}

fn main() {
    let two = std::env::args().any(|a| a == "2");
    let Some(field) = field(ORDER) else { return };
    let table = AxisTable::new(ORDER, 362);
    let peaks = Peaks { axes: &table, threshold: 0.01, relative: 0.25, cos_separation: 0.707 };
    let functions = Functions { field: &field, peaks };
    let peak = PeakRule { functions: functions.clone() };
    speed("peak", &peak, two);
    speed("closest", &ClosestRule { functions: functions.clone() }, two);
    let mass =
        MassRule { functions: functions.clone(), part: 0.05, cos_cone: 0.707, angular_weight: 0.0 };
    speed("probabilistic", &mass, two);
    for (name, mean, probe) in
        [("ifod2", ArcMean::Geometric, 0.5), ("ptt", ArcMean::Arithmetic, 1.5)]
    {
        let functions = functions.clone();
        let arcs = ArcRule { functions, probe, samples: 4, mean, candidates: 64, curvature: 1.0 };
        speed(name, &arcs, two);
    }
    others(two);
    // Forward and reverse along the same streamlines.
    let survival = Survival { threshold: 0.05, width: 0.05 };
    let mut gradient = vec![0.0; N * N * N * count(ORDER).next_multiple_of(8)];
    for integrator in [Integrator::Euler, Integrator::Midpoint, Integrator::RungeKutta] {
        let limits = Limits { integrator, ..limits(100) };
        let list: Vec<_> = seeds().into_iter().take(60).collect();
        let start = |s: &Seed| s.direction.unwrap_or([1.0, 0.0, 0.0]);
        let run = |s: &Seed| path(level(), &peak, &limits, s.x, start(s), 100);
        let states: Vec<_> = list.iter().map(run).collect();
        let steps: usize = states.iter().map(|s| s.len() - 1).sum();
        let forward = times(|| {
            list.iter().for_each(|s| {
                black_box(run(s));
            })
        })[0];
        let back = times(|| {
            for (s, states) in list.iter().zip(&states) {
                let one = Cotangent { point: [0.1, 0.2, -0.3], survival: 0.1 };
                let given = vec![one; states.len()];
                let out = reverse(
                    level(),
                    &peak,
                    &limits,
                    states,
                    &given,
                    &survival,
                    start(s),
                    &mut gradient,
                );
                black_box(out);
            }
        })[0];
        println!(
            "{integrator:?}: forward {:.0} ns a step, reverse {:.0} ns, {:.2} times the forward",
            1e9 * forward / steps as f64,
            1e9 * back / steps as f64,
            back / forward
        );
    }
}
