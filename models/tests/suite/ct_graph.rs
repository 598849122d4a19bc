//! Candle ops of projectors: values are those of the transforms, gradients those of
//! differences and transposes.
#![cfg(feature = "graph")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use microtome_kernels::ray::Projector;
use microtome_models::ct::{
    GeometryKind, PoseModel, RayTransform, TrajectorySpec, VolumeGrid, batch_forward_project, graph,
};
use std::sync::Arc;

fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| (((i + seed) * 37 + 11) % 101) as f64 / 64.0 - 0.7).collect()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    assert!(scale > 0.0);
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < tolerance * scale, "{a} {b}");
    }
}

fn transform(projector: Projector) -> Arc<RayTransform> {
    let volume = VolumeGrid::new(&[4, 6, 5], &[1.0, 1.1, 0.9], &[0.0; 3]).unwrap();
    let mut path = TrajectorySpec::circular(3, &[1.5, 1.4]);
    path.source_to_axis_mm = Some(20.0);
    path.axis_to_detector_mm = Some(9.0);
    let geometry = path.geometry(GeometryKind::Cone3d, [5, 7]).unwrap();
    Arc::new(RayTransform::new(geometry, volume, projector).unwrap())
}

/// The loss 0.5 sum w (Ax - y)^2 has the gradient A'W(Ax - y); its Hessian times a vector is
/// the explicit product.
#[test]
fn gradients_of_every_projector() {
    for projector in Projector::EVERY {
        let a = transform(projector);
        for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-5)] {
            let tensor = |v: &[f64], shape: &[usize]| {
                Tensor::from_slice(v, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let (x, y, w) = (numbers(120, 0), numbers(105, 3), numbers(105, 9));
            let (volume, shape) = (a.volume().shape(), a.geometry().shape());
            let var = Var::from_tensor(&tensor(&x, &volume)).unwrap();
            let (measured, weights) = (tensor(&y, &shape), tensor(&w, &shape));
            let p = graph::project(&a, &var).unwrap();
            assert_eq!((p.dims(), p.dtype()), (&shape[..], dtype));
            let ax = a.apply(&x).unwrap();
            close(&flat(&p), &ax, tolerance);
            let r = (p - &measured).unwrap();
            let loss = (r.sqr().unwrap() * &weights).unwrap().sum_all().unwrap();
            let gradient = (loss * 0.5).unwrap().backward().unwrap();
            let weighted: Vec<f64> = (0..105).map(|i| w[i] * (ax[i] - y[i])).collect();
            let expected = a.adjoint(&weighted).unwrap();
            close(&flat(gradient.get(&var).unwrap()), &expected, tolerance);
            // H d is the difference of two gradients of the quadratic.
            let d = numbers(120, 31);
            let product = graph::normal_product(&a, &weights, &tensor(&d, &volume)).unwrap();
            let ad = a.apply(&d).unwrap();
            let weighted: Vec<f64> = (0..105).map(|i| w[i] * ad[i]).collect();
            close(&flat(&product), &a.adjoint(&weighted).unwrap(), tolerance);
            // <c, A'q> has the gradient Ac with respect to q; <c, A'WAx> has A'WAc.
            let q = Var::from_tensor(&measured).unwrap();
            let c = tensor(&d, &volume);
            let back = graph::backproject(&a, &q).unwrap();
            let gradient = (back * &c).unwrap().sum_all().unwrap().backward().unwrap();
            close(&flat(gradient.get(&q).unwrap()), &ad, tolerance);
            let again = graph::normal_product(&a, &weights, &var).unwrap();
            let gradient = (again * &c).unwrap().sum_all().unwrap().backward().unwrap();
            close(&flat(gradient.get(&var).unwrap()), &flat(&product), tolerance);
        }
    }
}

/// Gradients of a loss with respect to volume and poses together.
#[test]
fn gradients_of_poses() {
    let volume = VolumeGrid::new(&[4, 6, 5], &[1.0, 1.1, 0.9], &[0.1; 3]).unwrap();
    let model =
        PoseModel::five(volume, 2, [5, 7], [1.2, 1.3], [0.0; 2], Some(0.8), Some(15)).unwrap();
    let theta = [0.11, -0.07, 0.83, 0.31, -0.42, -0.05, 0.13, 2.1, -0.23, 0.37];
    let (x, y) = (numbers(120, 0), numbers(70, 3));
    let model = Arc::new(model);
    let tensor = |v: &[f64], shape: &[usize]| Tensor::from_slice(v, shape, &Device::Cpu).unwrap();
    let volume = Var::from_tensor(&tensor(&x, &[4, 6, 5])).unwrap();
    let poses = Var::from_tensor(&tensor(&theta, &[2, 5])).unwrap();
    let p = graph::project_pose(&model, &volume, &poses).unwrap();
    let ax = batch_forward_project(&model, &theta, &x).unwrap();
    close(&flat(&p), &ax, 1e-15);
    let r = (p - tensor(&y, &[2, 5, 7])).unwrap();
    let gradient = (r.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap().backward().unwrap();
    let all = model.losses(&theta, &x, &y).unwrap();
    let expected: Vec<f64> = all.iter().flat_map(|n| n.gradient.clone()).collect();
    close(&flat(gradient.get(&poses).unwrap()), &expected, 1e-12);
    let residual: Vec<f64> = ax.iter().zip(&y).map(|(p, y)| p - y).collect();
    let mut back = vec![0.0; 120];
    model.back(&theta, &residual, &mut back).unwrap();
    close(&flat(gradient.get(&volume).unwrap()), &back, 1e-12);
    // Float32 tensors.
    let single = |t: &Tensor| Var::from_tensor(&t.to_dtype(DType::F32).unwrap()).unwrap();
    let (volume, poses) = (single(&volume), single(&poses));
    let p = graph::project_pose(&model, &volume, &poses).unwrap();
    let y = tensor(&y, &[2, 5, 7]).to_dtype(DType::F32).unwrap();
    let loss = (p - y).unwrap().sqr().unwrap().sum_all().unwrap();
    let gradient = (loss * 0.5).unwrap().backward().unwrap();
    close(&flat(gradient.get(&poses).unwrap()), &expected, 1e-4);
}

#[test]
fn other_shapes_are_refused() {
    let a = transform(Projector::Joseph);
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap();
    assert!(graph::project(&a, &zeros(&[6, 4, 5])).is_err());
    assert!(graph::backproject(&a, &zeros(&[4, 6, 5])).is_err());
    assert!(graph::normal_product(&a, &zeros(&[3, 5, 6]), &zeros(&[4, 6, 5])).is_err());
    let whole = Tensor::zeros((4, 6, 5), DType::U8, &Device::Cpu).unwrap();
    assert!(graph::project(&a, &whole).unwrap_err().to_string().contains("f64 or f32"));
}
