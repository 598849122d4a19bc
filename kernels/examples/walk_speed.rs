//! Walker-steps a CPU second on one thread, and what two threads gain:
//! `cargo run --release -p microtome-kernels --example walk_speed`.
//!
//! `free` is the floor: random numbers, displacements and one sum of phases, no walls.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use cpu_time::ThreadTime;
use microtome_kernels::walk::{
    Medium, Mesh, NodeWeight, Protocol, Reading, RoundWall, Rounds, Shape, Start, Walk,
    gamma_radii, pack, walk,
};
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
        ("ellipsoid", Shape::Ellipsoid { semi_axes: [5.0, 5.0, 10.0] }),
        ("capped", Shape::Capped { radius: 5.0, length: 20.0 }),
    ];
    let size = WALKERS as f64 * STEPS as f64;
    for spread in [0.1, 0.15, 0.3] {
        for (name, shape) in &shapes {
            let spec = Walk {
                shape,
                media: &[water((spread * 5.0_f64).powi(2) / 0.1)],
                start: &Start::Uniform(vec![0]),
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
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (name, shape, size, start) in crowds() {
        for spread in [0.15, 0.3] {
            let spec = Walk {
                shape: &shape,
                media: &[water((spread * size).powi(2) / 0.1); 2],
                start: &Start::Uniform(start.clone()),
                protocol: &protocol,
                seed: 1,
                walkers: WALKERS / 4,
            };
            let mut least = f64::INFINITY;
            for _ in 0..3 {
                least = least.min(one.install(|| {
                    let begin = ThreadTime::now();
                    walk(&spec, |_| true);
                    begin.elapsed().as_secs_f64()
                }));
            }
            let steps = (WALKERS / 4) as f64 * STEPS as f64;
            println!(
                "{name}, step {spread} of {size:.2} um: {:6.1} M steps/s",
                steps / least / 1e6
            );
        }
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let spec = Walk {
            shape: &shapes[1].1,
            media: &[water(5.0)],
            start: &Start::Uniform(vec![0]),
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

fn water(diffusivity: f64) -> Medium {
    Medium { diffusivity, relaxivity: 0.0, relaxation: 0.0 }
}

/// Packings and a mesh: name, shape, mean radius, media to start in.
fn crowds() -> Vec<(String, Shape, f64, Vec<usize>)> {
    let mut out = Vec::new();
    for (dimensions, n, fraction) in [(2, 10_000, 0.7), (3, 10_000, 0.5)] {
        let radii = gamma_radii(n, 4.0, 0.25, [0.3, 5.0], 1).unwrap();
        let begin = Instant::now();
        let packing = pack(dimensions, &radii, fraction, 1).unwrap();
        println!(
            "packing of {n} in {dimensions} dimensions to {fraction}: {} rounds, {:.2} s",
            packing.rounds,
            begin.elapsed().as_secs_f64()
        );
        let wall = |(c, r): (&[f64; 3], &f64)| RoundWall {
            centre: *c,
            radius: *r,
            parent: None,
            medium: 0,
            permeability: 0.0,
        };
        let walls = packing.centres.iter().zip(&radii).map(wall).collect();
        let begin = Instant::now();
        let rounds = Rounds::new(dimensions, [packing.edge; 3], walls, 1).unwrap();
        println!("  grid in {:.2} s", begin.elapsed().as_secs_f64());
        for (place, start) in [("all", vec![0, 1]), ("extra", vec![1])] {
            let name = format!("{dimensions}-D packing, {place}");
            out.push((name, Shape::Rounds(rounds.clone()), 1.0, start));
        }
    }
    let (vertices, faces) = tube(5.0, 40.0, 39);
    let begin = Instant::now();
    let mesh = Mesh::new(vertices, &faces, None, 0.0).unwrap();
    let name = format!("mesh of {} faces ({:.2} s)", mesh.len(), begin.elapsed().as_secs_f64());
    out.push((name, Shape::Mesh(Box::new(mesh)), 5.0, vec![0]));
    out
}

/// A beaded tube with pointed ends.
fn tube(radius: f64, length: f64, parts: usize) -> (Vec<[f64; 3]>, Vec<[usize; 3]>) {
    let rings = 2 * parts;
    let mut vertices = vec![[0.0, 0.0, -0.5 * length - radius], [0.0, 0.0, 0.5 * length + radius]];
    for k in 0..rings {
        let z = length * (k as f64 / (rings - 1) as f64 - 0.5);
        let r = radius * (1.0 + 0.2 * (z / radius).cos());
        for i in 0..parts {
            let angle = std::f64::consts::TAU * (i as f64 + 0.5 * (k % 2) as f64) / parts as f64;
            vertices.push([r * angle.cos(), r * angle.sin(), z]);
        }
    }
    let at = |k: usize, i: usize| 2 + k * parts + i % parts;
    let mut faces = Vec::new();
    for i in 0..parts {
        faces.push([0, at(0, i + 1), at(0, i)]);
        faces.push([1, at(rings - 1, i), at(rings - 1, i + 1)]);
        for k in 0..rings - 1 {
            faces.push([at(k, i), at(k, i + 1), at(k + 1, i)]);
            faces.push([at(k, i + 1), at(k + 1, i + 1), at(k + 1, i)]);
        }
    }
    (vertices, faces)
}
