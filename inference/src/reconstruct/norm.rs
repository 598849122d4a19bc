//! The largest eigenvalue of $A^TWA$.
//!
//! By power iteration from a random start, until it changes by less than 1e-5 of itself or
//! 100 times. It comes from below, so that users of it keep a margin. Source: Golub & Van
//! Loan 2013, ISBN 978-1-4214-0794-4, section 8.2.1. Validated by
//! `curvature_is_the_largest_eigenvalue` in `inference/tests/suite/reconstruct/`.

use super::cgls::weighted;
use super::vector::{each, norm};
use super::{Problem, ReconstructError};
use microtome_kernels::philox::PhiloxRng;
use microtome_kernels::ray::Real;
use rand::RngExt;

const STEPS: usize = 100;
const CHANGE: f64 = 1e-5;
const SEED: u64 = 0x6d69_6372;

/// $\lambda_{\max}(A^TWA)$; 0 when no ray meets the volume.
///
/// # Errors
/// Whatever stops the projector.
pub fn curvature<T: Real>(problem: &Problem<'_, T>) -> Result<f64, ReconstructError> {
    let mut random = PhiloxRng::new(SEED, 0, 0);
    let mut x: Vec<T> =
        (0..problem.n_voxels()).map(|_| T::narrow(random.random::<f64>() + 0.1)).collect();
    let mut y = vec![T::default(); problem.projections.len()];
    let mut wy = y.clone();
    let mut value = 0.0;
    for _ in 0..STEPS {
        let size = norm(&x);
        if size == 0.0 {
            return Ok(0.0);
        }
        each(&mut x, |v| v / size);
        problem.forward(&x, &mut y)?;
        weighted(problem, &y, &mut wy);
        problem.transpose(&wy, &mut x)?;
        let next = norm(&x);
        let settled = (next - value).abs() <= CHANGE * next;
        value = next;
        if settled {
            break;
        }
    }
    Ok(value)
}
