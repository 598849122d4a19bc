//! A pass over subsets of views, each updating the image at once.
//!
//! $$x \leftarrow P\!\left[x + \beta D_s A_s^T W_s (y_s - A_s x)\right],\qquad s = 1, 2, \dots$$
//!
//! with $W_s, D_s$ as in `sirt.rs`, of the views of the subset alone. Source: Andersen & Kak
//! 1984, doi:10.1016/0161-7346(84)90008-7 (a view at a time); Wang & Jiang 2004,
//! doi:10.1109/TIP.2004.834664 (subsets). Validated by
//! `every_method_reconstructs` and `sart_solves_consistent_systems` in
//! `inference/tests/suite/reconstruct/`.

use super::subsets::{Kept, Subsets};
use super::vector::{each2, each3, sum, sum2};
use super::{Problem, ReconstructError};
use microtome_kernels::ray::Real;

/// Subsets, their scales and buffers.
pub(super) struct BlockPass<T> {
    method: &'static str,
    subsets: Subsets,
    kept: Kept<T>,
    rays: Vec<T>,
    data: Vec<T>,
    update: Vec<T>,
}

impl<T: Real> BlockPass<T> {
    pub(super) fn new(
        method: &'static str,
        problem: &Problem<'_, T>,
        count: usize,
    ) -> Result<Self, ReconstructError> {
        let subsets = Subsets::new(problem, count)?;
        let kept = Kept::scales(method, problem, &subsets)?;
        let update = vec![T::default(); problem.n_voxels()];
        Ok(Self { method, subsets, kept, rays: Vec::new(), data: Vec::new(), update })
    }

    /// Takes all subsets once; returns $\|y-Ax\|_W$ of the residuals before each update.
    pub(super) fn pass(
        &mut self,
        problem: &Problem<'_, T>,
        x: &mut [T],
        relaxation: f64,
    ) -> Result<f64, ReconstructError> {
        let mut square = 0.0;
        for k in 0..self.subsets.len() {
            let views = self.subsets.views(k);
            self.subsets.gather(k, problem.projections, &mut self.data);
            self.rays.clear();
            self.rays.resize(self.data.len(), T::default());
            problem.operator.forward(views, x, &mut self.rays)?;
            each2(&mut self.rays, &self.data, |ax, y| y - ax);
            self.update.fill(T::default());
            let Self { rays, update, data, .. } = self;
            let (operator, given) = (problem.operator, problem.weights.is_some());
            let moved: Result<(), ReconstructError> =
                self.kept.with(self.method, problem, &self.subsets, k, |[w, d]| {
                    square += match given {
                        true => sum2(rays, w, |r, w| w * r * r),
                        false => sum(rays, |r| r * r),
                    };
                    each3(data, rays, w, |_, r, w| w * r);
                    operator.add_transpose(views, data, update)?;
                    each3(x, update, d, |x, g, d| x + relaxation * d * g);
                    Ok(())
                })?;
            moved?;
            problem.clip(x);
        }
        Ok(square.sqrt())
    }
}
