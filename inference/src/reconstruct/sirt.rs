//! Simultaneous iterative reconstruction.
//!
//! $$x \leftarrow P\!\left[x + \omega D A^T W (y - Ax)\right],\qquad
//!   D = \operatorname{diag}\frac1{(A^TWA1)_j}$$
//!
//! Without weights $W = \operatorname{diag}(1/r_i)$ of the lengths of the rays, so that $D$
//! holds $1/c_j$: the classical SIRT. With weights, $W$ are those; $D$ then is the separable
//! majorant of $A^TWA$, and $\tfrac12\|y-Ax\|_W^2$ falls in every step for $0<\omega<2$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $r_i, c_j$ | mm | sums of rows and columns of $A$ |
//! | $\omega$ | 1 | relaxation |
//! | $P$ | | projection onto the bounds |
//!
//! Source: Gilbert 1972, doi:10.1016/0022-5193(72)90180-4; Gregor & Benson 2008,
//! doi:10.1109/TMI.2008.923696 (equation 6); for the weights Erdogan & Fessler 1999,
//! doi:10.1088/0031-9155/44/11/311. Validated by `sirt_and_cgls_equal_astra` in
//! `inference/tests/suite/reconstruct/`.

use super::vector::{each2, each3, sum2};
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// The state.
pub(super) struct Sirt<T> {
    x: Vec<T>,
    residual: Vec<T>,
    relaxation: f64,
    /// $W$ of rays, $D$ of voxels; 0 where nothing is met.
    scale: [Vec<T>; 2],
    /// Buffers of the size of the projections and of the volume.
    rays: Vec<T>,
    update: Vec<T>,
}

/// Sums of rows or columns, none negative; no ray at all is an error.
pub(super) fn check_sums<T: Real>(
    method: &'static str,
    what: &'static str,
    sums: &[T],
) -> Result<(), ReconstructError> {
    if let Some(v) = sums.iter().find(|v| v.wide() < 0.0) {
        return Err(ReconstructError::NegativeOperator { method, what, value: v.wide() });
    }
    if sums.iter().all(|v| v.wide() == 0.0) {
        return Err(ReconstructError::NoRays);
    }
    Ok(())
}

/// 1/v, or 0 where v is.
pub(super) fn inverse(v: f64) -> f64 {
    if v > 0.0 { 1.0 / v } else { 0.0 }
}

/// $W$ and $D$ of some views.
pub(super) fn scales<T: Real>(
    method: &'static str,
    problem: &Problem<'_, T>,
    views: &[usize],
) -> Result<[Vec<T>; 2], ReconstructError> {
    let mut rows = problem.operator.row_sums(views)?;
    check_sums(method, "rows", &rows)?;
    let weights: Vec<T> = match problem.weights {
        Some(w) => {
            let n = problem.pixels;
            views.iter().flat_map(|v| w[v * n..(v + 1) * n].iter().copied()).collect()
        }
        None => rows.iter().map(|r| T::narrow(inverse(r.wide()))).collect(),
    };
    each2(&mut rows, &weights, |r, w| r * w);
    let mut columns = vec![T::default(); problem.n_voxels()];
    problem.operator.add_transpose(views, &rows, &mut columns)?;
    // With weights, the rays that count may all miss.
    check_sums(method, "columns", &columns)?;
    super::vector::each(&mut columns, inverse);
    Ok([weights, columns])
}

impl<T: Real> Sirt<T> {
    pub(super) fn new(
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        let scale = scales("sirt", problem, &problem.all_views)?;
        let x = problem.first();
        let mut residual = vec![T::default(); problem.projections.len()];
        problem.forward(&x, &mut residual)?;
        each2(&mut residual, problem.projections, |ax, y| y - ax);
        let (rays, update) = (residual.clone(), x.clone());
        Ok(Self { x, residual, relaxation: settings.relaxation, scale, rays, update })
    }
}

impl<T: Real> Method<T> for Sirt<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let [w, d] = &self.scale;
        each3(&mut self.rays, &self.residual, w, |_, r, w| w * r);
        problem.transpose(&self.rays, &mut self.update)?;
        let omega = self.relaxation;
        each3(&mut self.x, &self.update, d, |x, g, d| x + omega * d * g);
        problem.clip(&mut self.x);
        problem.forward(&self.x, &mut self.residual)?;
        each2(&mut self.residual, problem.projections, |ax, y| y - ax);
        Ok(Step {
            residual_norm: problem.residual_norm(&self.residual),
            objective: 0.5 * sum2(&self.residual, w, |r, w| w * r * r),
            step: omega,
        })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.array("x", &mut self.x);
        visitor.array("residual", &mut self.residual);
    }
}
