//! Gradient descent through the graph: least squares with bounds against the optimality
//! conditions, a pose found from its projections, and losses that can't be.
#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use microtome_inference::reconstruct::graph::{Variable, minimise};
use microtome_kernels::ray::Projector;
use microtome_models::ct::{
    GeometryKind, PoseModel, RayTransform, TrajectorySpec, VolumeGrid, batch_forward_project, graph,
};
use std::ops::ControlFlow;
use std::sync::Arc;

fn go_on(_: usize, _: f64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// At the minimum over x >= 0 of a convex loss the gradient is 0 where x > 0, and not
/// negative elsewhere.
#[test]
fn bounded_least_squares_reach_the_optimality_conditions() {
    let volume = VolumeGrid::new(&[5, 6], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(9, &[0.8]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, 12]).unwrap();
    let a = Arc::new(RayTransform::new(geometry, volume, Projector::Siddon).unwrap());
    let y: Vec<f64> = (0..108).map(|i| (i * 37 % 101) as f64 / 25.0 - 1.0).collect();
    let measured = Tensor::from_slice(&y, (9, 12), &Device::Cpu).unwrap();
    let start = Tensor::ones((5, 6), DType::F64, &Device::Cpu).unwrap();
    let x = Variable::new(&start, 0.1).unwrap().at_least(0.0);
    let loss = || (graph::project(&a, x.tensor())? - &measured)?.sqr()?.sum_all()? * 0.5;
    let history = minimise(std::slice::from_ref(&x), 3000, &loss, &mut go_on).unwrap();
    assert_eq!(history.len(), 3001);
    let x = x.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let residual: Vec<f64> = a.apply(&x).unwrap().iter().zip(&y).map(|(p, y)| p - y).collect();
    let gradient = a.adjoint(&residual).unwrap();
    let scale = a.adjoint(&y).unwrap().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let mut at_bound = 0;
    for (x, g) in x.iter().zip(&gradient) {
        assert!(*x >= 0.0);
        if *x > 1e-6 {
            assert!(g.abs() < 1e-4 * scale, "{x} {g} {scale}");
        } else {
            at_bound += 1;
            assert!(*g > -1e-4 * scale, "{x} {g} {scale}");
        }
    }
    assert!((1..30).contains(&at_bound), "{at_bound}");
}

/// Poses are found from projections of a smooth volume, with the gradient of the march.
#[test]
fn poses_return() {
    let n = 14;
    let volume = VolumeGrid::new(&[n; 3], &[1.0; 3], &[0.0; 3]).unwrap();
    let x: Vec<f64> = (0..n * n * n)
        .map(|j| {
            let q = |i: usize| i as f64 - 6.5;
            let (x, y, z) = (q(j % n), q(j / n % n), q(j / n / n));
            (-0.06 * ((x - 1.0).powi(2) + 2.0 * (y + 1.5).powi(2) + 0.5 * (z - 0.7).powi(2))).exp()
        })
        .collect();
    let model = PoseModel::five(volume, 2, [16, 16], [1.0, 1.0], [0.0; 2], None, Some(20)).unwrap();
    let truth = [0.05, -0.04, 0.63, 0.4, -0.3, -0.06, 0.03, 1.94, -0.5, 0.2];
    let y = batch_forward_project(&model, &truth, &x).unwrap();
    let model = Arc::new(model);
    let tensor = |v: &[f64], shape: &[usize]| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
    let measured = tensor(&y, &[2, 16, 16]);
    let x = tensor(&x, &[n, n, n]);
    let start = [0.0, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0];
    let poses = Variable::new(&tensor(&start, &[2, 5]), 0.02).unwrap();
    let loss = || {
        let p = graph::project_pose(&model, &x, poses.tensor())?;
        (p - &measured)?.sqr()?.sum_all()
    };
    minimise(std::slice::from_ref(&poses), 600, &loss, &mut go_on).unwrap();
    let found = poses.tensor().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (found, truth) in found.iter().zip(truth) {
        assert!((found - truth).abs() < 2e-3, "{found} {truth}");
    }
}

#[test]
fn losses_that_can_not_be_are_refused() {
    let one = Tensor::ones(3, DType::F64, &Device::Cpu).unwrap();
    let x = Variable::new(&one, 0.1).unwrap();
    let all = std::slice::from_ref(&x);
    let says = |loss: &dyn Fn() -> candle_core::Result<Tensor>, text: &str| {
        let found = minimise(all, 3, loss, &mut go_on).unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    };
    says(&|| x.tensor().sqr(), "not one number");
    says(&|| one.sum_all(), "does not depend on variable 0");
    says(&|| (x.tensor() - 2.0)?.log()?.sum_all(), "the loss is NaN");
    assert!(Variable::new(&one, 0.0).is_err());
    let stop =
        |k: usize, _: f64| if k == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let loss = || x.tensor().sqr()?.sum_all();
    assert_eq!(minimise(all, 9, &loss, &mut { stop }).unwrap().len(), 3);
}
