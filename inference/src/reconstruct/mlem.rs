//! Maximum likelihood of Poisson means by expectation maximisation.
//!
//! $$x_j \leftarrow \frac{x_j}{\sum_i A_{ij}w_i}\sum_i A_{ij}\,\frac{w_i\,y_i}{(Ax)_i}$$
//!
//! raises $\sum_i w_i\,(y_i\ln(Ax)_i - (Ax)_i)$ in every step and keeps
//! $\sum_i w_iy_i = \sum_i w_i(Ax)_i$; the objective of the history is minus that sum. A start
//! of zero stays zero, so that ones are taken where none is given; a voxel of zero stays so,
//! which is a way to give a support.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y$ | 1 | projections, not negative: means of counts, or their stand-in |
//! | $w$ | 1 | weights, 1 where none are given |
//!
//! Source: Shepp & Vardi 1982, doi:10.1109/TMI.1982.4307558; Lange & Carson 1984,
//! J. Comput. Assist. Tomogr. 8, 306-316. Validated by `mlem_raises_the_likelihood` in
//! `inference/tests/suite/reconstruct/`.

use super::sirt::{check_sums, inverse};
use super::vector::{each2, each3, sum2, sum3};
use super::{Method, Problem, ReconstructError, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// The state.
pub(super) struct Mlem<T> {
    x: Vec<T>,
    means: Vec<T>,
    /// $1/\sum_iA_{ij}w_i$.
    inverse: Vec<T>,
    rays: Vec<T>,
    update: Vec<T>,
}

/// $y/\mu$, and 0 where no mean is.
fn ratio(y: f64, mean: f64) -> f64 {
    if mean > 0.0 { y / mean } else { 0.0 }
}

/// $\mu - y\ln\mu$; rays without a mean are of voxels that are 0 for good.
fn deviance(y: f64, mean: f64) -> f64 {
    if mean > 0.0 { mean - if y > 0.0 { y * mean.ln() } else { 0.0 } } else { 0.0 }
}

/// The first image of a method that multiplies.
pub(super) fn first<T: Real>(problem: &Problem<'_, T>) -> Vec<T> {
    match problem.start {
        Some(_) => problem.first(),
        None => vec![T::narrow(1.0); problem.n_voxels()],
    }
}

/// $1/A_s^Tw_s$ of some views.
pub(super) fn sensitivity<T: Real>(
    method: &'static str,
    problem: &Problem<'_, T>,
    views: &[usize],
) -> Result<Vec<T>, ReconstructError> {
    check_sums(method, "rows", &problem.operator.row_sums(views)?)?;
    let mut columns = match problem.weights {
        None => problem.operator.column_sums(views)?,
        Some(w) => {
            let n = problem.pixels;
            let of: Vec<T> =
                views.iter().flat_map(|v| w[v * n..(v + 1) * n].iter().copied()).collect();
            let mut out = vec![T::default(); problem.n_voxels()];
            problem.operator.add_transpose(views, &of, &mut out)?;
            out
        }
    };
    check_sums(method, "columns", &columns)?;
    super::vector::each(&mut columns, inverse);
    Ok(columns)
}

/// $w\,y/\mu$ written over the means.
pub(super) fn ratios<T: Real>(means: &mut [T], y: &[T], weights: Option<&[T]>) {
    match weights {
        Some(w) => each3(means, y, w, |m, y, w| w * ratio(y, m)),
        None => each2(means, y, |m, y| ratio(y, m)),
    }
}

impl<T: Real> Mlem<T> {
    pub(super) fn new(problem: &Problem<'_, T>) -> Result<Self, ReconstructError> {
        problem.check_counts()?;
        let inverse = sensitivity("mlem", problem, &problem.all_views)?;
        let x = first(problem);
        let mut means = vec![T::default(); problem.projections.len()];
        problem.forward(&x, &mut means)?;
        let (rays, update) = (means.clone(), x.clone());
        Ok(Self { x, means, inverse, rays, update })
    }
}

impl<T: Real> Method<T> for Mlem<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let (y, weights) = (problem.projections, problem.weights);
        self.rays.copy_from_slice(&self.means);
        ratios(&mut self.rays, y, weights);
        problem.transpose(&self.rays, &mut self.update)?;
        each3(&mut self.x, &self.update, &self.inverse, |x, g, s| x * g * s);
        problem.clip(&mut self.x);
        problem.forward(&self.x, &mut self.means)?;
        each2(&mut self.rays, &self.means, |_, m| m);
        each2(&mut self.rays, y, |m, y| y - m);
        let objective = match weights {
            Some(w) => sum3(&self.means, y, w, |m, y, w| w * deviance(y, m)),
            None => sum2(&self.means, y, |m, y| deviance(y, m)),
        };
        Ok(Step { residual_norm: problem.residual_norm(&self.rays), objective, step: 1.0 })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.array("x", &mut self.x);
        visitor.array("means", &mut self.means);
    }
}
