//! Streamlines in a Candle graph: their derivatives are those of differences, and a field
//! learns a bundle.
#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use microtome_models::tract::graph::{StreamlineGraph, streamlines};
use microtome_models::tract::{Integrator, Placement, Survival};
use microtome_models::{SphericalHarmonics, harmonic_count};
use std::sync::Arc;

const ORDER: usize = 4;
const SHAPE: [usize; 3] = [7, 6, 5];
/// Negative x, oblique.
const AFFINE: [[f64; 4]; 4] =
    [[-1.6, -1.2, 0.0, 9.0], [-1.2, 1.6, 0.0, -3.0], [0.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0]];

fn world(v: [f64; 3]) -> [f64; 3] {
    Placement::world(AFFINE).world_of_voxel(v)
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let r = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v.map(|v| v / r)
}

/// Lobes that turn from voxel to voxel.
fn field() -> Vec<f64> {
    let sh = SphericalHarmonics::new(ORDER).unwrap();
    let mut out = Vec::new();
    for k in 0..SHAPE[2] {
        for j in 0..SHAPE[1] {
            for i in 0..SHAPE[0] {
                let angle = 0.12 * i as f64 + 0.05 * j as f64 - 0.04 * k as f64;
                let mut row = vec![0.0; harmonic_count(ORDER)];
                sh.evaluate(unit([angle.cos(), angle.sin(), 0.1 * k as f64]), &mut row);
                out.extend(row.iter().map(|v| v * (1.0 + 0.05 * i as f64)));
            }
        }
    }
    out
}

fn graph(integrator: Integrator, steps: u32) -> Arc<StreamlineGraph> {
    Arc::new(StreamlineGraph {
        shape: SHAPE,
        placement: Placement::world(AFFINE),
        step_mm: 0.5,
        steps,
        integrator,
        max_angle_deg: 60.0,
        survival: Survival { threshold: 0.9, width: 0.2 },
        directions: vec![[1.0, 0.2, 0.0], [-1.0, 0.0, 0.0]],
    })
}

fn seeds() -> Vec<f64> {
    [world([3.2, 2.4, 1.8]), world([3.4, 3.1, 2.2])].concat()
}

fn dims() -> (usize, usize, usize, usize) {
    (SHAPE[2], SHAPE[1], SHAPE[0], harmonic_count(ORDER))
}

#[test]
fn gradients_are_differences() {
    for integrator in [Integrator::Euler, Integrator::RungeKutta] {
        let graph = graph(integrator, 8);
        let weights: Vec<f64> =
            (0..2 * 9 * 4).map(|i| ((i * 37 % 11) as f64 - 5.0) / 5.0).collect();
        let weights = Tensor::from_vec(weights, (2, 9, 4), &Device::Cpu).unwrap();
        let loss = |c: &Tensor, s: &Tensor| {
            let out = streamlines(&graph, c, s).unwrap();
            // Not linear in the points.
            ((&out * &weights).unwrap() + (out.sqr().unwrap() * 0.01).unwrap()).unwrap().sum_all()
        };
        let c = Var::from_vec(field(), dims(), &Device::Cpu).unwrap();
        let s = Var::from_vec(seeds(), (2, 3), &Device::Cpu).unwrap();
        let all = loss(c.as_tensor(), s.as_tensor()).unwrap().backward().unwrap();
        let of = |v: &Var| all.get(v).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (of_c, of_s) = (of(&c), of(&s));
        let at = |c: Vec<f64>, s: Vec<f64>| {
            let c = Tensor::from_vec(c, dims(), &Device::Cpu).unwrap();
            let s = Tensor::from_vec(s, (2, 3), &Device::Cpu).unwrap();
            loss(&c, &s).unwrap().to_scalar::<f64>().unwrap()
        };
        for axis in 0..6 {
            let moved = |h: f64| {
                let mut s = seeds();
                s[axis] += h;
                at(field(), s)
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - of_s[axis]).abs() < 1e-6 * (1.0 + slope.abs()), "{slope} {of_s:?}");
        }
        let mut order: Vec<usize> = (0..of_c.len()).collect();
        order.sort_by(|a, b| of_c[*b].abs().total_cmp(&of_c[*a].abs()));
        let largest = of_c[order[0]].abs();
        assert!(largest > 0.0);
        for i in order.into_iter().take(10) {
            let moved = |h: f64| {
                let mut c = field();
                c[i] += h;
                at(c, seeds())
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - of_c[i]).abs() < 1e-6 * largest, "{i}: {slope} {}", of_c[i]);
        }
    }
}

#[test]
fn a_field_learns_a_bundle() {
    // A circle of radius 8 mm; the field begins straight.
    let graph = graph(Integrator::RungeKutta, 10);
    let target: Vec<f64> = (0..2)
        .flat_map(|n| {
            let from = &seeds()[3 * n..3 * n + 3];
            let sign = if n == 0 { 1.0 } else { -1.0 };
            (0..11)
                .flat_map(|k| {
                    let s = 0.5 * f64::from(k) / 8.0;
                    [
                        from[0] + sign * 8.0 * s.sin(),
                        from[1] + sign * 8.0 * (1.0 - s.cos()),
                        from[2],
                    ]
                })
                .collect::<Vec<_>>()
        })
        .collect();
    let target = Tensor::from_vec(target, (2, 11, 3), &Device::Cpu).unwrap();
    let mut row = vec![0.0; harmonic_count(ORDER)];
    SphericalHarmonics::new(ORDER).unwrap().evaluate([1.0, 0.0, 0.0], &mut row);
    let start = row.repeat(SHAPE.iter().product());
    let s = Tensor::from_vec(seeds(), (2, 3), &Device::Cpu).unwrap();
    let c = Var::from_vec(start, dims(), &Device::Cpu).unwrap();
    let loss = || {
        let points = streamlines(&graph, c.as_tensor(), &s)?.narrow(2, 0, 3)?;
        (points - &target)?.sqr()?.mean_all()
    };
    let first = loss().unwrap().to_scalar::<f64>().unwrap();
    for _ in 0..60 {
        let g = loss().unwrap().backward().unwrap();
        let step = (g.get(&c).unwrap() * 15.0).unwrap();
        c.set(&(c.as_tensor() - step).unwrap()).unwrap();
    }
    let last = loss().unwrap().to_scalar::<f64>().unwrap();
    assert!(last < 0.01 * first, "{first} {last}");
}

#[test]
fn wrong_tensors_are_named() {
    let graph = graph(Integrator::Euler, 3);
    let s = Tensor::from_vec(seeds(), (2, 3), &Device::Cpu).unwrap();
    let bad = Tensor::zeros((SHAPE[2], SHAPE[1], SHAPE[0], 7), DType::F64, &Device::Cpu).unwrap();
    let text = streamlines(&graph, &bad, &s).unwrap_err().to_string();
    assert!(text.contains("coefficients have the shape"), "{text}");
    let c = Tensor::from_vec(field(), dims(), &Device::Cpu).unwrap();
    let one = s.narrow(0, 0, 1).unwrap();
    let text = streamlines(&graph, &c, &one).unwrap_err().to_string();
    assert!(text.contains("[2, 3]"), "{text}");
    // Seeds outside of the field stay where they are.
    let out = Tensor::from_vec(vec![900.0; 6], (2, 3), &Device::Cpu).unwrap();
    let points = streamlines(&graph, &c, &out).unwrap().flatten_all().unwrap();
    let points = points.to_vec1::<f64>().unwrap();
    assert!(points.chunks(4).all(|p| p == [900.0, 900.0, 900.0, 0.0]));
}
