//! Time of the voxel-driven backprojection on one thread, beside the floor of its
//! arithmetic: `cargo bench -p microtome-kernels --bench backprojection`. CPU time, the
//! median and the least of seven calls; with `-- 2` on two threads, CPU time of both.
//!
//! GUPS are voxels x views. The floor of the columns at 32-bit floats is that of fifteen
//! operations a stretch of 16 voxels at two a cycle (four for each of two mixtures, five
//! for the places, two for the permutations, three for the sum; loads are beside them); of
//! the rows nine and of fans fourteen. The clock is that of a chain of integer products,
//! three cycles each, in the same run.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ProcessTime;
use microtome_kernels::backprojection::{Weights, backproject};
use microtome_kernels::ray::{Beam, Grid, Panel, Real, View};
use std::f64::consts::{PI, TAU};
use std::hint::black_box;

/// Median and least of some calls, CPU seconds of all threads.
fn times(mut run: impl FnMut()) -> [f64; 2] {
    let mut all: Vec<f64> = (0..7)
        .map(|_| {
            let start = ProcessTime::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    all.sort_by(f64::total_cmp);
    [all[3], all[0]]
}

/// Cycles a second. The chain is of squares, which no compiler can shorten.
fn clock() -> f64 {
    let steps = 1_000_000;
    let seconds = times(|| {
        let first = black_box(3_u64);
        black_box((0..steps).fold(first, |x, _| x.wrapping_mul(x)));
    });
    3.0 * f64::from(steps) / seconds[1]
}

/// A circle; `source` is the distance to the axis, the detector stands half as far.
fn circle(views: usize, source: Option<f64>, pitch: f64, turn: f64) -> Vec<View> {
    let range = if source.is_some() { TAU } else { PI };
    let (st, ct) = turn.sin_cos();
    (0..views)
        .map(|i| {
            let (s, c) = (range * i as f64 / views as f64).sin_cos();
            let along = |r: f64| [-s * r, c * r, 0.0];
            let (beam, detector) = match source {
                Some(r) => (Beam::Source(along(-r)), along(r / 2.0)),
                None => (Beam::Parallel(along(-1.0)), [0.0; 3]),
            };
            let u = [c * pitch * ct, s * pitch * ct, pitch * st];
            let v = [-c * pitch * st, -s * pitch * st, pitch * ct];
            View { beam, detector, u, v }
        })
        .collect()
}

fn case<T: Real>(name: &str, grid: &Grid, panel: Panel, views: &[View], floor: f64) {
    let mut x = vec![T::default(); grid.len()];
    let rays = views.len() * panel.nu * panel.nv;
    let y: Vec<T> = (0..rays).map(|i| T::narrow(((i * 37 + 11) % 101) as f64 / 50.0)).collect();
    let ones = vec![1.0; views.len()];
    let weights = Weights { view: &ones, slice: None };
    let [median, least] = times(|| backproject(grid, panel, views, weights, &y, black_box(&mut x)));
    let updates = (grid.len() * views.len()) as f64;
    let gups = |seconds: f64| updates / seconds * 1e-9;
    println!(
        "{name:<26} {:7.0} ms  {:5.2} GUPS  (least {:5.2}; floor {:5.2})",
        median * 1e3,
        gups(median),
        gups(least),
        floor
    );
}

fn main() {
    let asked: Option<usize> = std::env::args().skip(1).find_map(|a| a.parse().ok());
    let threads = asked.unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    if pool.is_err() {
        println!("the thread pool was started before; times may be of more threads");
    }
    let clock = clock();
    let floor = |operations: f64, lanes: f64| 2.0 * lanes * clock / operations * 1e-9;
    println!(
        "clock {:.2} GHz, SIMD level {}, threads {threads}",
        clock * 1e-9,
        microtome_kernels::simd::level().name()
    );
    let flat = Grid { shape: [512, 512, 1], voxel: [1.0; 3] };
    let row = Panel::flat(768, 1);
    let fan = circle(360, Some(1000.0), 1.5, 0.0);
    case::<f32>("parallel 512^2 x 360", &flat, row, &circle(360, None, 1.0, 0.0), floor(9.0, 16.0));
    case::<f64>(
        "parallel 512^2 x 360, f64",
        &flat,
        row,
        &circle(360, None, 1.0, 0.0),
        floor(9.0, 8.0),
    );
    case::<f32>("fan 512^2 x 360", &flat, row, &fan, floor(14.0, 16.0));
    case::<f64>("fan 512^2 x 360, f64", &flat, row, &fan, floor(14.0, 8.0));
    for (n, views) in [(128, 60), (256, 60)] {
        let solid = Grid { shape: [n; 3], voxel: [1.0; 3] };
        let panel = Panel::flat(n, n);
        let far = 2.0 * n as f64;
        let name = |what: &str| format!("cone {n}^3 x {views}{what}");
        let cone = circle(views, Some(far), 1.8, 0.0);
        case::<f32>(&name(""), &solid, panel, &cone, floor(15.0, 16.0));
        case::<f64>(&name(", f64"), &solid, panel, &cone, floor(15.0, 8.0));
        if n == 128 {
            let parallel = circle(views, None, 1.0, 0.0);
            case::<f32>("parallel 128^3 x 60", &solid, panel, &parallel, floor(15.0, 16.0));
            let turned = circle(views, Some(far), 1.8, 0.1);
            case::<f32>(&name(", turned"), &solid, panel, &turned, f64::NAN);
        }
    }
}
