//! Walker-steps a CPU second on one thread, and what two threads gain:
//! `cargo run --release -p microtome-kernels --example walk_speed`.
//!
//! `free` is the floor: random numbers, displacements and one sum of phases, no walls.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use cpu_time::ThreadTime;
use microtome_kernels::walk::{NodeWeight, Protocol, Reading, Shape, Walk, walk};
use std::time::Instant;

const STEPS: usize = 1000;
const WALKERS: u64 = 8192;

fn main() {
    let weight = |k: usize| if k < STEPS / 2 { 1.0 } else { -1.0 };
    let protocol = Protocol {
        steps: vec![0.05; STEPS],
        nodes: (0..=STEPS).map(|k| vec![NodeWeight { profile: 0, weight: weight(k) }]).collect(),
        profiles: 1,
        measurements: 1,
        readings: vec![Reading {
            node: STEPS,
            profiles: 0..1,
            measurements: vec![0],
            amplitudes: vec![[0.01, 0.0, 0.02]],
        }],
    };
    let shapes = [
        ("free", Shape::Free),
        ("cylinder", Shape::Cylinder { radius: 5.0 }),
        ("sphere", Shape::Sphere { radius: 5.0 }),
        ("plates", Shape::Plates { separation: 10.0, membranes: Vec::new() }),
    ];
    let size = WALKERS as f64 * STEPS as f64;
    for spread in [0.1, 0.15, 0.3] {
        for (name, shape) in &shapes {
            let spec = Walk {
                shape,
                diffusivity: (spread * 5.0_f64).powi(2) / 0.1,
                relaxivity: 0.0,
                protocol: &protocol,
                seed: 1,
                walkers: WALKERS,
            };
            let mut least = f64::INFINITY;
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            for _ in 0..5 {
                least = least.min(one.install(|| {
                    let begin = ThreadTime::now();
                    walk(&spec, |_| true);
                    begin.elapsed().as_secs_f64()
                }));
            }
            println!("{name:9} step {spread} of the radius: {:6.1} M steps/s", size / least / 1e6);
        }
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let spec = Walk {
            shape: &shapes[1].1,
            diffusivity: 5.0,
            relaxivity: 0.0,
            protocol: &protocol,
            seed: 1,
            walkers: 4 * WALKERS,
        };
        let begin = Instant::now();
        pool.install(|| walk(&spec, |_| true));
        println!(
            "cylinder, {threads} thread(s): {:.2} s of wall time",
            begin.elapsed().as_secs_f64()
        );
    }
}
