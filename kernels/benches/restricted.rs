//! Time of the exact signals of pores: value and both derivatives of the nine weighted
//! shells of the reference acquisition (112 measurements, four timings), on one thread.
//! CPU time, the median of 51 batches.
#![allow(missing_docs, clippy::print_stdout)]

use cpu_time::ThreadTime;
use microtome_kernels::restricted::Geometry;
use microtome_kernels::restricted::pulse::{Profile, Pulse, signals};
use std::hint::black_box;

/// delta, Delta, b of the shells.
const SHELLS: [(f64, f64, f64); 9] = [
    (5.0, 80.0, 0.5),
    (5.0, 80.0, 3.0),
    (8.0, 49.0, 1.0),
    (8.0, 49.0, 2.5),
    (8.0, 49.0, 6.0),
    (12.9, 21.8, 1.0),
    (12.9, 21.8, 3.0),
    (20.0, 40.0, 2.0),
    (20.0, 40.0, 8.0),
];

fn median_us(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..51)
        .map(|_| {
            let start = ThreadTime::now();
            for _ in 0..20 {
                run();
            }
            start.elapsed().as_secs_f64() * 1e6 / 20.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let pulses: Vec<Pulse> = SHELLS
        .iter()
        .map(|&(delta, big_delta, b)| Pulse {
            delta,
            big_delta,
            gamma_g_delta: (b / (big_delta - delta / 3.0)).sqrt(),
        })
        .collect();
    println!("level {}", microtome_kernels::simd::level().name());
    for size in [0.5, 2.0, 5.0, 8.0, 12.0, 20.0] {
        for geometry in [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere] {
            let (mut e, mut d_size, mut d_d) = ([0.0; 9], [0.0; 9], [0.0; 9]);
            let all = median_us(|| {
                let size = black_box(size);
                signals(geometry, size, 1.7, &pulses, &mut e, &mut d_size, &mut d_d);
                black_box((&e, &d_size, &d_d));
            });
            let profiles = median_us(|| {
                for pulse in &pulses {
                    black_box(Profile::new(geometry, black_box(size), 1.7, pulse));
                }
            });
            println!("{geometry:?} {size} um: signals {all:.1} us, profiles {profiles:.1} us");
        }
    }
}
