//! Time of projection and exact transpose on one thread, beside the floor of their
//! arithmetic: `cargo bench -p microtome-kernels --bench rays`. CPU time, the least of five
//! calls; on a busy machine that is still too much.
//!
//! Samples are counted as pixels x voxels along an axis for the projection (G ray-samples/s)
//! and voxels x views for the transpose (GUPS), as the peers count them.
//!
//! The floor is the arithmetic of Joseph's rule at 32-bit floats without any look-up: four
//! operations a sample in the plane (position, fraction, two multiply-adds), ten in space,
//! at two registers of 256 bits a cycle, for the samples inside the volume. The clock is
//! that of a chain of integer products, three cycles each, in the same run.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ThreadTime;
use microtome_kernels::ray::{Beam, Grid, Panel, Projector, Real, View, adjoint, forward};
use std::f64::consts::{PI, TAU};
use std::hint::black_box;

/// Cycles a second. The chain is of squares, which no compiler can shorten.
fn clock() -> f64 {
    let steps = 1_000_000;
    let seconds = least(|| {
        let first = black_box(3_u64);
        black_box((0..steps).fold(first, |x, _| x.wrapping_mul(x)));
    });
    3.0 * f64::from(steps) / seconds
}

fn least(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = ThreadTime::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// A circle; `source` is the distance to the axis, the detector stands half as far.
fn circle(views: usize, source: Option<f64>, pitch: f64) -> Vec<View> {
    let range = if source.is_some() { TAU } else { PI };
    (0..views)
        .map(|i| {
            let (s, c) = (range * i as f64 / views as f64).sin_cos();
            let along = |r: f64| [-s * r, c * r, 0.0];
            let (beam, detector) = match source {
                Some(r) => (Beam::Source(along(-r)), along(r / 2.0)),
                None => (Beam::Parallel(along(-1.0)), [0.0; 3]),
            };
            View { beam, detector, u: [c * pitch, s * pitch, 0.0], v: [0.0, 0.0, pitch] }
        })
        .collect()
}

/// Runs a case for the projectors for which all words of the command line are in its title.
fn case<T: Real>(name: &str, grid: &Grid, panel: Panel, views: &[View], clock: f64) {
    let wanted = |projector: &Projector| {
        let title = format!("{name} {}", projector.name());
        std::env::args().skip(1).filter(|a| !a.starts_with('-')).all(|w| title.contains(&w))
    };
    let projectors: Vec<Projector> = Projector::SLICEWISE.into_iter().filter(wanted).collect();
    if projectors.is_empty() {
        return;
    }
    let rays = views.len() * panel.nu * panel.nv;
    let mut x: Vec<T> =
        (0..grid.len()).map(|i| T::narrow(((i * 37 + 11) % 101) as f64 / 50.0)).collect();
    let mut y = vec![T::default(); rays];
    for projector in projectors {
        let out = least(|| forward(projector, grid, panel, views, &x, &mut y));
        let back = least(|| adjoint(projector, grid, panel, views, &y, &mut x));
        let samples = (rays * grid.shape[0]) as f64;
        let updates = (grid.len() * views.len()) as f64;
        println!(
            "{name:<22} {:<7} forward {:6.0} ms {:5.2} Gs/s   back {:6.0} ms {:5.2} GUPS",
            projector.name(),
            out * 1e3,
            samples / out * 1e-9,
            back * 1e3,
            updates / back * 1e-9
        );
    }
    // With pixels as large as voxels there are as many samples inside as updates.
    let operations = if grid.shape[2] == 1 { 4.0 } else { 10.0 };
    let floor = (grid.len() * views.len()) as f64 * operations / 16.0 / clock;
    println!("{name:<22} floor   {:.0} ms either way", floor * 1e3);
}

fn main() {
    // The calling thread does the work, so that its clock sees it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global();
    if pool.is_err() {
        println!("the thread pool was started before; times may be those of nothing");
    }
    let clock = clock();
    println!(
        "clock {:.2} GHz, SIMD level {}",
        clock * 1e-9,
        microtome_kernels::simd::level().name()
    );
    let flat = Grid { shape: [512, 512, 1], voxel: [1.0; 3] };
    let row = Panel::flat(768, 1);
    case::<f32>("parallel 512^2 x 360", &flat, row, &circle(360, None, 1.0), clock);
    case::<f32>("fan 512^2 x 360", &flat, row, &circle(360, Some(1000.0), 1.5), clock);
    case::<f64>("fan 512^2 x 360, f64", &flat, row, &circle(360, Some(1000.0), 1.5), clock);
    let solid = Grid { shape: [128; 3], voxel: [1.0; 3] };
    let panel = Panel::flat(128, 128);
    case::<f32>("cone 128^3 x 60", &solid, panel, &circle(60, Some(300.0), 1.8), clock);
    let solid = Grid { shape: [256; 3], voxel: [1.0; 3] };
    let panel = Panel::flat(256, 256);
    case::<f32>("cone 256^3 x 30", &solid, panel, &circle(30, Some(600.0), 1.8), clock);
}
