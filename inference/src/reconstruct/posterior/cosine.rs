//! The discrete cosine transform of an image along every axis, orthonormal.
//!
//! $$X_k = c_k\sum_{i=0}^{n-1} x_i\cos\frac{\pi(i+\frac12)k}{n},\qquad
//! c_0 = \sqrt{1/n},\; c_k = \sqrt{2/n}$$
//!
//! Source: Strang 1999, doi:10.1137/S0036144598336745. Validated by the tests below.

use rayon::prelude::*;
use rustdct::{DctPlanner, TransformType2And3};
use std::sync::Arc;

/// The DCT-II of images of one shape, and its inverse.
pub(in crate::reconstruct) struct CosineTransform {
    shape: Vec<usize>,
    plans: Vec<Arc<dyn TransformType2And3<f64>>>,
}

impl CosineTransform {
    pub(in crate::reconstruct) fn new(shape: &[usize]) -> Self {
        let mut planner = DctPlanner::new();
        let plans = shape.iter().map(|n| planner.plan_dct2(*n)).collect();
        Self { shape: shape.to_vec(), plans }
    }

    /// Image to coefficients, in place.
    pub(in crate::reconstruct) fn forward(&self, x: &mut [f64]) {
        self.each_axis(x, true);
    }

    /// Coefficients to image, in place: the transpose, which is the inverse.
    pub(in crate::reconstruct) fn inverse(&self, x: &mut [f64]) {
        self.each_axis(x, false);
    }

    fn each_axis(&self, x: &mut [f64], forward: bool) {
        for axis in 0..self.shape.len() {
            let n = self.shape[axis];
            let after: usize = self.shape[axis + 1..].iter().product();
            let line = |line: &mut [f64], scratch: &mut [f64]| {
                self.line(axis, forward, line, scratch);
            };
            let scratch = || vec![0.0; self.plans[axis].get_scratch_len()];
            if after == 1 {
                x.par_chunks_mut(n).for_each_init(scratch, |s, l| line(l, s));
                continue;
            }
            // Lines across: a block of them is laid out line by line, and back.
            x.par_chunks_mut(n * after).for_each(|block| {
                let mut lines = vec![0.0; block.len()];
                for (i, row) in block.chunks_exact(after).enumerate() {
                    row.iter().enumerate().for_each(|(j, v)| lines[j * n + i] = *v);
                }
                lines.par_chunks_mut(n).for_each_init(scratch, |s, l| line(l, s));
                for (i, row) in block.chunks_exact_mut(after).enumerate() {
                    row.iter_mut().enumerate().for_each(|(j, v)| *v = lines[j * n + i]);
                }
            });
        }
    }

    fn line(&self, axis: usize, forward: bool, x: &mut [f64], scratch: &mut [f64]) {
        let n = x.len() as f64;
        let (first, other) = ((1.0 / n).sqrt(), (2.0 / n).sqrt());
        let plan = &self.plans[axis];
        if forward {
            plan.process_dct2_with_scratch(x, scratch);
            x.iter_mut().for_each(|v| *v *= other);
            x[0] *= first / other;
        } else {
            // The library's DCT-III takes half of the first coefficient.
            x[0] *= 2.0 * first / other;
            plan.process_dct3_with_scratch(x, scratch);
            x.iter_mut().for_each(|v| *v *= other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_sum_and_has_an_inverse() {
        let shape = [3, 4, 5];
        let x: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 23).sin()).collect();
        let transform = CosineTransform::new(&shape);
        let mut coefficients = x.clone();
        transform.forward(&mut coefficients);
        let cosine = |k: usize, n: usize, i: usize| {
            let scale = if k == 0 { 1.0 } else { 2.0 } / n as f64;
            scale.sqrt() * (std::f64::consts::PI * (i as f64 + 0.5) * k as f64 / n as f64).cos()
        };
        for (c, found) in coefficients.iter().enumerate() {
            let (kz, ky, kx) = (c / 20, c / 5 % 4, c % 5);
            let sum: f64 = (0..60)
                .map(|i| {
                    let at = cosine(kz, 3, i / 20) * cosine(ky, 4, i / 5 % 4);
                    x[i] * at * cosine(kx, 5, i % 5)
                })
                .sum();
            assert!((sum - found).abs() < 1e-13, "{sum} {found}");
        }
        transform.inverse(&mut coefficients);
        for (a, b) in coefficients.iter().zip(&x) {
            assert!((a - b).abs() < 1e-14);
        }
    }
}
