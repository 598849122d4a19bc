//! The noise of a filtered backprojection in closed form.
//!
//! $$\mathrm{Var}f(x) = \sum_k\Bigl(\frac{1}{W_k^2D_k}\Bigr)^2\sum_j\Bigl[(1-t)\,h_{i-j} + t\,h_{i+1-j}\Bigr]^2
//! (\Delta\varphi_k m_j\omega_j)^2\sigma_{kj}^2$$
//!
//! for independent projections of variance $\sigma_{kj}^2$: the image is linear in them. The bracket
//! is opened: along each row the filter gives the variance of a filtered pixel and its
//! covariance with the next one,
//!
//! $$A_i = \sum_j h_{i-j}^2 s_j,\qquad B_i = \sum_j h_{i-j}h_{i+1-j}s_j,$$
//!
//! and the backprojection squares its shares (`kernels::backprojection::spread`). Sums as they
//! stand: as many operations a row as it has pixels squared. In 64 bits.
//!
//! Source: Wunderlich & Noo 2008, doi:10.1088/0031-9155/53/10/002. Validated by
//! `noise_is_that_of_the_matrix` in `inference/tests/suite/analytic.rs`.

use super::super::ReconstructError;
use super::super::problem::check;
use super::{FilteredBackprojection, zeros};
use rayon::prelude::*;

impl FilteredBackprojection {
    /// The variance of every voxel, for independent projections of these variances.
    ///
    /// # Shapes
    /// `variances` `[view, v, u]`, in the plane `[view, u]`.
    ///
    /// # Errors
    /// Variances of another length, negative or not finite ones, no memory.
    pub fn variance(&self, variances: &[f64]) -> Result<Vec<f64>, ReconstructError> {
        check("variances", variances, &self.measured.shape())?;
        if let Some(at) = variances.iter().position(|v| *v < 0.0) {
            let problem = format!("{} at {at}; a variance is not negative", variances[at]);
            return Err(ReconstructError::setting("variances", problem));
        }
        let ramp = self.check(variances)?;
        let [nv, nu] = self.geometry.detector();
        // The filter's answer to a single pixel; it is even.
        let mut taps = vec![0.0; nu];
        taps[0] = 1.0;
        ramp.apply(&mut taps);
        let views = self.geometry.n_views();
        let measured = variances.len() / views;
        let mut volume = zeros(self.volume.len(), "the volume")?;
        let mut wide = zeros(nv * nu, "projections")?;
        let (mut own, mut next) = (wide.clone(), wide.clone());
        for view in 0..views {
            self.widen(&variances[view * measured..(view + 1) * measured], &mut wide);
            // The weights twice: their squares.
            self.weigh(view..view + 1, &mut wide);
            self.weigh(view..view + 1, &mut wide);
            let rows = wide.par_chunks(nu).zip(own.par_chunks_mut(nu).zip(next.par_chunks_mut(nu)));
            rows.for_each(|(s, (own, next))| of_row(&taps, s, own, next));
            let slices = self.slices.as_ref().map(|s| {
                let nz = s.len() / views;
                &s[view * nz..(view + 1) * nz]
            });
            let factor = [self.factors[view]];
            let both = [own.as_slice(), next.as_slice()];
            self.voxels.add_variance(view..view + 1, &factor, slices, both, &mut volume)?;
        }
        Ok(volume)
    }
}

/// $A$ and $B$ of a row.
fn of_row(taps: &[f64], s: &[f64], own: &mut [f64], next: &mut [f64]) {
    let n = s.len();
    own.fill(0.0);
    next.fill(0.0);
    for (j, s) in s.iter().enumerate().filter(|(_, s)| **s > 0.0) {
        let tap = |i: usize| taps[i.abs_diff(j)];
        let mut here = tap(0);
        for i in 0..n {
            own[i] += here * here * s;
            if i + 1 < n {
                let after = tap(i + 1);
                next[i] += here * after * s;
                here = after;
            }
        }
    }
}
