//! The iterative methods beside exact solutions, each other, ASTRA, and wrong input.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::needless_range_loop
)]

mod methods;
mod reference;
mod runs;
mod variation;

use microtome_inference::reconstruct::*;
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::{Projector, Real};
use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
use rand_distr::{Distribution, Normal};
use std::ops::ControlFlow;

/// Methods with steps of steepest descent of the total variation.
pub(crate) const DESCENDS: [Algorithm; 3] =
    [Algorithm::TvPocs, Algorithm::AsdPocs, Algorithm::AwtvPocs];

/// Many discs on a square, `[y, x]` or `[z, y, x]`, between 0 and 1.
pub(crate) fn phantom(shape: &[usize]) -> Vec<f64> {
    let n: usize = shape.iter().product();
    (0..n)
        .map(|mut i| {
            let mut square = 0.0;
            let mut inner = 0.0;
            for (k, n) in shape.iter().enumerate().rev() {
                let x = 2.0 * ((i % n) as f64 + 0.5) / *n as f64 - 1.0;
                square += x * x;
                inner += (x - 0.2 + 0.1 * k as f64).powi(2);
                i /= n;
            }
            if inner < 0.09 {
                1.0
            } else if square < 0.7 {
                0.4
            } else {
                0.0
            }
        })
        .collect()
}

pub(crate) fn plane(size: usize, views: usize) -> RayTransform {
    let volume = VolumeGrid::new(&[size, size], &[1.0, 1.0], &[0.0, 0.0]).unwrap();
    let path = TrajectorySpec::circular(views, &[1.0]);
    let geometry = path.geometry(GeometryKind::Parallel2d, [1, size + 4]).unwrap();
    RayTransform::new(geometry, volume, Projector::Joseph).unwrap()
}

pub(crate) fn cone(size: usize, views: usize) -> RayTransform {
    let volume = VolumeGrid::new(&[size, size, size], &[1.0; 3], &[0.0; 3]).unwrap();
    let mut path = TrajectorySpec::circular(views, &[1.5, 1.5]);
    path.source_to_axis_mm = Some(4.0 * size as f64);
    path.axis_to_detector_mm = Some(2.0 * size as f64);
    let geometry = path.geometry(GeometryKind::Cone3d, [size, size + 2]).unwrap();
    RayTransform::new(geometry, volume, Projector::Siddon).unwrap()
}

pub(crate) fn noisy(y: &[f64], sigma: f64) -> Vec<f64> {
    let mut random = PhiloxRng::new(5, 0, 0);
    let normal = Normal::new(0.0, sigma).unwrap();
    y.iter().map(|y| y + normal.sample(&mut random)).collect()
}

pub(crate) fn narrow(v: &[f64]) -> Vec<f32> {
    v.iter().map(|v| *v as f32).collect()
}

pub(crate) fn widen(v: &[f32]) -> Vec<f64> {
    v.iter().map(|v| f64::from(*v)).collect()
}

pub(crate) fn solve<T: Real>(
    algorithm: Algorithm,
    problem: &Problem<'_, T>,
    settings: &Settings,
    iterations: usize,
) -> (Vec<T>, Vec<HistoryRow>) {
    let mut run = Reconstruction::new(algorithm, problem, settings).unwrap();
    let rule = StoppingRule::iterations(iterations);
    let ended = run.run(&rule, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(ended, Ended::Iterations);
    (run.image().to_vec(), run.history().to_vec())
}

pub(crate) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

pub(crate) fn size(a: &[f64]) -> f64 {
    a.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// A matrix that a user brings: `rows[view][pixel][voxel]`.
pub(crate) struct Dense {
    shape: Vec<usize>,
    views: usize,
    pixels: usize,
    entries: Vec<f64>,
    nonnegative: bool,
}

impl Dense {
    fn voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// The matrix of a transform, column by column.
    fn of(a: &RayTransform) -> Self {
        let shape = a.volume().shape();
        let n: usize = shape.iter().product();
        let rays = a.n_rays();
        let mut entries = vec![0.0; rays * n];
        for j in 0..n {
            let mut e = vec![0.0; n];
            e[j] = 1.0;
            for (i, v) in a.apply(&e).unwrap().into_iter().enumerate() {
                entries[i * n + j] = v;
            }
        }
        let views = a.geometry().n_views();
        Self { shape, views, pixels: rays / views, entries, nonnegative: true }
    }
}

impl<T: Real> ViewOperator<T> for Dense {
    fn volume_shape(&self) -> Vec<usize> {
        self.shape.clone()
    }
    fn n_views(&self) -> usize {
        self.views
    }
    fn view_shape(&self) -> Vec<usize> {
        vec![self.pixels]
    }
    fn has_no_negative_entries(&self) -> bool {
        self.nonnegative
    }
    fn forward(&self, views: &[usize], x: &[T], y: &mut [T]) -> Result<(), ReconstructError> {
        let n = self.voxels();
        for (k, view) in views.iter().enumerate() {
            for p in 0..self.pixels {
                let row = &self.entries[(view * self.pixels + p) * n..][..n];
                let sum = row.iter().zip(x).map(|(a, x)| a * x.wide()).sum();
                y[k * self.pixels + p] = T::narrow(sum);
            }
        }
        Ok(())
    }
    fn add_transpose(&self, views: &[usize], y: &[T], x: &mut [T]) -> Result<(), ReconstructError> {
        let n = self.voxels();
        for (k, view) in views.iter().enumerate() {
            for p in 0..self.pixels {
                let row = &self.entries[(view * self.pixels + p) * n..][..n];
                let v = y[k * self.pixels + p].wide();
                x.iter_mut().zip(row).for_each(|(x, a)| *x = T::narrow(x.wide() + a * v));
            }
        }
        Ok(())
    }
}

/// A small matrix with negative entries and full rank.
pub(crate) fn signed(views: usize, pixels: usize, shape: &[usize]) -> Dense {
    let mut random = PhiloxRng::new(11, 0, 0);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let n: usize = shape.iter().product();
    let entries = (0..views * pixels * n).map(|_| normal.sample(&mut random)).collect();
    Dense { shape: shape.to_vec(), views, pixels, entries, nonnegative: false }
}

/// Solves A'WA x = A'Wy by Gaussian elimination with pivots.
pub(crate) fn normal_equations(a: &Dense, y: &[f64], w: &[f64]) -> Vec<f64> {
    let n = a.voxels();
    let mut m = vec![vec![0.0; n + 1]; n];
    for (i, (y, w)) in y.iter().zip(w).enumerate() {
        let row = &a.entries[i * n..(i + 1) * n];
        for j in 0..n {
            for k in 0..n {
                m[j][k] += w * row[j] * row[k];
            }
            m[j][n] += w * row[j] * y;
        }
    }
    for j in 0..n {
        let pivot = (j..n).max_by(|a, b| m[*a][j].abs().total_cmp(&m[*b][j].abs())).unwrap();
        m.swap(j, pivot);
        for k in 0..n {
            if k != j {
                let f = m[k][j] / m[j][j];
                for l in j..=n {
                    let v = m[j][l];
                    m[k][l] -= f * v;
                }
            }
        }
    }
    (0..n).map(|j| m[j][n] / m[j][j]).collect()
}
