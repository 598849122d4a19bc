//! A filter for filtered backprojection, learned through the Candle graph:
//! `cargo run --release -p microtome-inference --example learned_filter [seed]`.
//!
//! The reconstruction is $x = \frac\pi n A^T(h * y)$ with a symmetric kernel $h$ of the
//! spatial domain. It begins as the ramp of Ramachandran & Lakshminarayanan,
//! $h_0 = \frac14, h_{odd} = -\frac1{\pi^2k^2}$ (Kak & Slaney 1988, eq. 3.61, pixels of one
//! unit), and is fitted to discs with noise by Adam; the loss is the mean square error of
//! the images. Other discs tell what it is worth. Parallel rays, 64 x 64, 48 views; the
//! backprojection is the exact transpose of Joseph's rule, so its derivative is Joseph's
//! rule.
#![allow(clippy::print_stdout)]

use candle_core::{Device, Result, Tensor};
use microtome_inference::reconstruct::graph::{Variable, minimise};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Projector;
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid, graph};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use std::f64::consts::PI;
use std::ops::ControlFlow;
use std::sync::Arc;

const SIDE: usize = 64;
const VIEWS: usize = 48;
const PIXELS: usize = 96;
/// Standard deviation of the noise; projections go up to about 50.
const NOISE: f64 = 1.0;

/// Some discs of different values in a larger one.
fn discs(rng: &mut PhiloxRng) -> Vec<f64> {
    let half = SIDE as f64 / 2.0;
    let mut all = vec![[0.0, 0.0, 0.9 * half, 0.8]];
    for _ in 0..6 {
        let mut number = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let (r, a) = (number(0.0, 0.6) * half, number(0.0, 2.0 * PI));
        all.push([r * a.cos(), r * a.sin(), number(2.0, 0.25 * half), number(-0.5, 0.5)]);
    }
    (0..SIDE * SIDE)
        .map(|j| {
            let (x, y) = ((j % SIDE) as f64 + 0.5 - half, (j / SIDE) as f64 + 0.5 - half);
            let inside = all.iter().filter(|d| (x - d[0]).hypot(y - d[1]) < d[2]);
            inside.map(|d| d[3]).sum()
        })
        .collect()
}

/// An image and its noisy projections.
struct Pair {
    image: Tensor,
    projections: Tensor,
}

fn pair(a: &RayTransform, rng: &mut PhiloxRng) -> Result<Pair> {
    let x = discs(rng);
    let mut y = a.apply(&x).map_err(candle_core::Error::wrap)?;
    for y in &mut y {
        let e: f64 = StandardNormal.sample(rng);
        *y += NOISE * e;
    }
    let device = Device::Cpu;
    Ok(Pair {
        image: Tensor::from_vec(x, (SIDE, SIDE), &device)?,
        projections: Tensor::from_vec(y, (VIEWS, PIXELS), &device)?,
    })
}

/// The image that a half kernel `[PIXELS]` gives.
fn reconstruct(a: &Arc<RayTransform>, half: &Tensor, y: &Tensor) -> Result<Tensor> {
    // Column i of the matrix is the kernel about i.
    let at: Vec<u32> =
        (0..PIXELS * PIXELS).map(|k| (k / PIXELS).abs_diff(k % PIXELS) as u32).collect();
    let at = Tensor::from_vec(at, PIXELS * PIXELS, &Device::Cpu)?;
    let kernel = half.index_select(&at, 0)?.reshape((PIXELS, PIXELS))?;
    graph::backproject(a, &y.matmul(&kernel)?)? * (PI / VIEWS as f64)
}

fn mean_error(a: &Arc<RayTransform>, half: &Tensor, pairs: &[Pair]) -> Result<Tensor> {
    let mut sum = Tensor::zeros((), candle_core::DType::F64, &Device::Cpu)?;
    for pair in pairs {
        let gap = (reconstruct(a, half, &pair.projections)? - &pair.image)?;
        sum = (sum + gap.sqr()?.mean_all()?)?;
    }
    sum / pairs.len() as f64
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |s| s.parse())?;
    let volume = VolumeGrid::new(&[SIDE, SIDE], &[1.0, 1.0], &[0.0, 0.0])?;
    let path = TrajectorySpec::circular(VIEWS, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, PIXELS])?;
    let a = Arc::new(RayTransform::new(geometry, volume, Projector::Joseph)?);
    let mut rng = PhiloxRng::new(seed, 0, 0);
    let learn: Vec<Pair> = (0..12).map(|_| pair(&a, &mut rng)).collect::<Result<_>>()?;
    let test: Vec<Pair> = (0..12).map(|_| pair(&a, &mut rng)).collect::<Result<_>>()?;
    let ramp: Vec<f64> = (0..PIXELS)
        .map(|k| match k {
            0 => 0.25,
            k if k % 2 == 1 => -1.0 / (PI * k as f64).powi(2),
            _ => 0.0,
        })
        .collect();
    let ramp = Tensor::from_vec(ramp, PIXELS, &Device::Cpu)?;
    let half = Variable::new(&ramp, 3e-3)?;
    let rmse = |half: &Tensor, pairs: &[Pair]| -> Result<f64> {
        Ok(mean_error(&a, half, pairs)?.to_scalar::<f64>()?.sqrt())
    };
    println!(
        "ramp      rmse {:.4} learned on, {:.4} on others",
        rmse(&ramp, &learn)?,
        rmse(&ramp, &test)?
    );
    let loss = || mean_error(&a, half.tensor(), &learn);
    let history = minimise(std::slice::from_ref(&half), 200, &loss, &mut |k, value| {
        if k % 50 == 0 {
            println!("  iteration {k:3}  rmse {:.4}", value.sqrt());
        }
        ControlFlow::Continue(())
    })?;
    let found = half.tensor();
    println!(
        "learned   rmse {:.4} learned on, {:.4} on others ({} iterations)",
        rmse(found, &learn)?,
        rmse(found, &test)?,
        history.len() - 1
    );
    let h = found.to_vec1::<f64>()?;
    println!("kernel    {:.4} {:.4} {:.4} {:.4} {:.4} ...", h[0], h[1], h[2], h[3], h[4]);
    Ok(())
}
