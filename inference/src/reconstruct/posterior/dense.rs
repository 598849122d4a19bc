//! The Gaussian posterior of a small image from the Cholesky factor of its precision.
//!
//! $$H = LL^T,\quad \mathrm{sd}_i = \sqrt{(H^{-1})_{ii}},\quad x = \mu + L^{-T}\varepsilon,$$
//! $$\ln p(y) = -\tfrac12\Bigl(m\ln 2\pi - \ln|W| + \ln|H| - \ln|Q| + y^TWy - b^T\mu\Bigr)$$
//!
//! with $m$ the number of projections that count. Costs $n^3$ operations and $8n^2$ bytes
//! thrice; [`DENSE_VOXELS`] says up to where that is done.
//!
//! Source: Rue & Held 2005, *Gaussian Markov Random Fields*, section 2.3; MacKay 1992,
//! doi:10.1162/neco.1992.4.3.415 (the evidence). Validated by `equals_the_reference` and
//! `evidence_and_moments_are_those_of_the_joint_gaussian` in `inference/tests/suite/image_posterior.rs`.

use super::super::ReconstructError;
use super::gaussian::GaussianImage;
use faer::prelude::Solve;
use faer::{Mat, Side, linalg::solvers::DenseSolveCore};
use microtome_kernels::philox::{Philox, normal_pair};
use rayon::prelude::*;

/// Most voxels of a dense posterior.
pub const DENSE_VOXELS: usize = 4096;
/// Stream of the normal numbers.
const STREAM: u8 = 93;

/// Mean, factor and covariance of a posterior.
pub struct DensePosterior {
    mean: Vec<f64>,
    factor: faer::linalg::solvers::Llt<f64>,
    covariance: Mat<f64>,
    ln_evidence: Option<f64>,
}

impl DensePosterior {
    /// Factors the precision.
    ///
    /// # Errors
    /// More than [`DENSE_VOXELS`] voxels, a projector that fails, a precision that is not
    /// positive definite to rounding.
    pub fn new(image: &GaussianImage<'_>) -> Result<Self, ReconstructError> {
        let n = image.n_voxels();
        if n > DENSE_VOXELS {
            let problem = format!("{n} voxels; the exact posterior is for at most {DENSE_VOXELS}");
            return Err(ReconstructError::setting("the volume", problem));
        }
        let column = |j: usize| {
            let (mut unit, mut out) = (vec![0.0; n], vec![0.0; n]);
            unit[j] = 1.0;
            image.precision(&unit, &mut out)?;
            Ok(out)
        };
        let columns: Result<Vec<Vec<f64>>, ReconstructError> =
            (0..n).into_par_iter().map(column).collect();
        let columns = columns?;
        let precision = Mat::from_fn(n, n, |i, j| columns[j][i]);
        drop(columns);
        let factor = precision.llt(Side::Lower).map_err(|_| {
            ReconstructError::setting(
                "kappa2",
                "the precision of the posterior is singular to rounding: neither the data nor \
                 the prior fix the image; give a larger kappa2",
            )
        })?;
        let b = image.right_side()?;
        let right = Mat::from_fn(n, 1, |i, _| b[i]);
        let solved = factor.solve(&right);
        let mean: Vec<f64> = (0..n).map(|i| solved[(i, 0)]).collect();
        let covariance = factor.inverse();
        let ln_evidence = ln_evidence(image, &factor, &b, &mean);
        Ok(Self { mean, factor, covariance, ln_evidence })
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Mean and $\ln p(y)$ for other projections with the same operator, weights and prior: the
    /// covariance does not change.
    ///
    /// # Errors
    /// Another number of voxels; a projector that fails.
    pub fn given(
        &self,
        image: &GaussianImage<'_>,
    ) -> Result<(Vec<f64>, Option<f64>), ReconstructError> {
        let n = self.mean.len();
        if image.n_voxels() != n {
            let problem = format!("{} voxels; the factor has {n}", image.n_voxels());
            return Err(ReconstructError::setting("the volume", problem));
        }
        let b = image.right_side()?;
        let solved = self.factor.solve(&Mat::from_fn(n, 1, |i, _| b[i]));
        let mean: Vec<f64> = (0..n).map(|i| solved[(i, 0)]).collect();
        let ln = ln_evidence(image, &self.factor, &b, &mean);
        Ok((mean, ln))
    }

    /// Standard deviations of the voxels.
    pub fn sd(&self) -> Vec<f64> {
        (0..self.mean.len()).map(|i| self.covariance[(i, i)].sqrt()).collect()
    }

    /// Covariances of a voxel with all others.
    pub fn covariance(&self, voxel: usize) -> Vec<f64> {
        (0..self.mean.len()).map(|i| self.covariance[(i, voxel)]).collect()
    }

    /// Mean and standard deviation of $c^Tx$, for instance of the mean of a region.
    pub fn functional(&self, c: &[f64]) -> [f64; 2] {
        let mean = c.iter().zip(&self.mean).map(|(c, m)| c * m).sum();
        let used: Vec<(usize, f64)> =
            c.iter().copied().enumerate().filter(|(_, c)| *c != 0.0).collect();
        let row = |(i, a): &(usize, f64)| {
            a * used.iter().map(|(j, b)| b * self.covariance[(*i, *j)]).sum::<f64>()
        };
        [mean, used.iter().map(row).sum::<f64>().sqrt()]
    }

    /// $\ln p(y)$ with all constants; `None` for an improper prior.
    pub fn ln_evidence(&self) -> Option<f64> {
        self.ln_evidence
    }

    /// One draw, a function of the seed and its number.
    pub fn draw(&self, seed: u64, draw: u32) -> Vec<f64> {
        let n = self.mean.len();
        let philox = Philox::new(seed);
        let mut x: Vec<f64> = (0..n.div_ceil(2))
            .flat_map(|k| normal_pair(philox.block(draw, 0, k as u64, STREAM)))
            .collect();
        x.truncate(n);
        // Backward substitution by L transposed.
        let lower = self.factor.L();
        for i in (0..n).rev() {
            let column = &lower.col(i);
            let sum: f64 = (i + 1..n).map(|k| column[k] * x[k]).sum();
            x[i] = (x[i] - sum) / column[i];
        }
        x.iter_mut().zip(&self.mean).for_each(|(x, m)| *x += m);
        x
    }
}

/// $\ln p(y)$; `None` for an improper prior.
fn ln_evidence(
    image: &GaussianImage<'_>,
    factor: &faer::linalg::solvers::Llt<f64>,
    b: &[f64],
    mean: &[f64],
) -> Option<f64> {
    let prior = image.field().ln_determinant()?;
    let counted = image.weights().iter().filter(|w| **w > 0.0);
    let noise: f64 = counted.map(|w| (2.0 * std::f64::consts::PI / w).ln()).sum();
    let lower = factor.L();
    let posterior: f64 = (0..b.len()).map(|i| 2.0 * lower[(i, i)].ln()).sum();
    let both = image.projections().iter().zip(image.weights());
    let power: f64 = both.map(|(y, w)| w * y * y).sum();
    let fitted: f64 = b.iter().zip(mean).map(|(b, m)| b * m).sum();
    Some(-0.5 * (noise + posterior - prior + power - fitted))
}
