//! Steps a second of streamlines through functions of order 8 on 54 x 54 x 54 voxels, on one
//! thread, and what the gradient of a whole streamline costs:
//! `cargo bench -p microtome-kernels --bench streamlines`. CPU time, median of seven calls;
//! with `-- 2` also on two threads, wall time.
//!
//! The field turns along circles of radius 10 to 26 voxels; steps are half a voxel. The floor of
//! `probabilistic` is 96 x 45 fused multiply-adds a step, sixteen at once.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_kernels::simd::level;
use microtome_kernels::sphere_series::{count, pull_back};
use microtome_kernels::streamline::{
    AxisTable, ClosestRule, Cotangent, Functions, Integrator, Lattice, Limits, MassRule, PeakRule,
    Peaks, Regions, Rule, Seed, Starts, Survival, path, reverse, track,
};
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

/// Lobes along circles about the middle of the grid, and a weaker one along z.
fn field() -> Option<Lattice<f32>> {
    let width = count(ORDER).next_multiple_of(8);
    let middle = (N as f64 - 1.0) / 2.0;
    let mut values = Vec::with_capacity(N * N * N * width);
    for _ in 0..N {
        for j in 0..N {
            for i in 0..N {
                let (x, y) = (i as f64 - middle, j as f64 - middle);
                let r = x.hypot(y).max(1e-9);
                let mut row = vec![0.0; width];
                // The kernel that reproduces functions of the order, tapered by its even powers.
                for (weight, axis) in [(1.0, [-y / r, x / r, 0.0]), (0.5, [0.0, 0.0, 1.0])] {
                    pull_back(ORDER, axis, weight, [0.0; 3], &mut row);
                }
                values.extend(row.iter().map(|v| *v as f32));
            }
        }
    }
    let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    Lattice::new([N; 3], width, values, identity)
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

fn main() {
    let two = std::env::args().any(|a| a == "2");
    let Some(field) = field() else { return };
    let table = AxisTable::new(ORDER, 362);
    let peaks = Peaks { axes: &table, threshold: 0.01, relative: 0.25, cos_separation: 0.707 };
    let functions = Functions { field: &field, peaks };
    let peak = PeakRule { functions: functions.clone() };
    speed("peak", &peak, two);
    speed("closest", &ClosestRule { functions: functions.clone() }, two);
    let mass = MassRule { functions, part: 0.05, cos_cone: 0.707, angular_weight: 0.0 };
    speed("probabilistic", &mass, two);
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
