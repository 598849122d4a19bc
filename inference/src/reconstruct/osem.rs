//! Expectation maximisation over ordered subsets of views.
//!
//! The step of `mlem.rs` for the views of one subset after the other, in the order of
//! `subsets.rs`. It is about as many times faster as there are subsets, and on noisy data
//! ends in a cycle and not at the maximum. Without a number of subsets there are about
//! $\sqrt{n}$ of $n$ views.
//!
//! Source: Hudson & Larkin 1994, doi:10.1109/42.363108. Validated by
//! `every_method_reconstructs` and `osem_of_one_subset_is_mlem` in
//! `inference/tests/suite/reconstruct/`.

use super::mlem::{first, ratios, sensitivity};
use super::os_sart::default_subsets;
use super::subsets::Subsets;
use super::vector::{each3, sum2, sum3};
use super::{Method, Problem, ReconstructError, Settings, StateVisitor, Step};
use microtome_kernels::ray::Real;

/// Bytes of sensitivities that are kept.
const KEPT_BYTES: usize = 64 << 20;

/// The state.
pub(super) struct Osem<T> {
    x: Vec<T>,
    subsets: Subsets,
    /// Of every subset, or none where they are too large.
    inverse: Vec<Vec<T>>,
    means: Vec<T>,
    data: Vec<T>,
    weights: Vec<T>,
    update: Vec<T>,
}

impl<T: Real> Osem<T> {
    pub(super) fn new(
        problem: &Problem<'_, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        problem.check_counts()?;
        let count = settings.subsets.unwrap_or_else(|| default_subsets(problem.all_views.len()));
        let subsets = Subsets::new(problem, count)?;
        sensitivity("osem", problem, &problem.all_views)?;
        let bytes = subsets.len() * problem.n_voxels() * size_of::<T>();
        let mut inverse = Vec::new();
        if bytes <= KEPT_BYTES {
            for k in 0..subsets.len() {
                inverse.push(of_subset(problem, subsets.views(k))?);
            }
        }
        let x = first(problem);
        let update = x.clone();
        let [means, data, weights] = [(); 3].map(|_| Vec::new());
        Ok(Self { x, subsets, inverse, means, data, weights, update })
    }
}

/// The sensitivity of a subset, zeros where it misses the volume.
fn of_subset<T: Real>(
    problem: &Problem<'_, T>,
    views: &[usize],
) -> Result<Vec<T>, ReconstructError> {
    match sensitivity("osem", problem, views) {
        Err(ReconstructError::NoRays) => Ok(vec![T::default(); problem.n_voxels()]),
        other => other,
    }
}

impl<T: Real> Method<T> for Osem<T> {
    fn step(&mut self, problem: &Problem<'_, T>) -> Result<Step, ReconstructError> {
        let mut square = 0.0;
        for k in 0..self.subsets.len() {
            let views = self.subsets.views(k);
            self.subsets.gather(k, problem.projections, &mut self.data);
            self.means.clear();
            self.means.resize(self.data.len(), T::default());
            problem.operator.forward(views, &self.x, &mut self.means)?;
            let weights = problem.weights.map(|w| {
                self.subsets.gather(k, w, &mut self.weights);
                &self.weights[..]
            });
            square += match weights {
                Some(w) => sum3(&self.data, &self.means, w, |y, m, w| w * (y - m) * (y - m)),
                None => sum2(&self.data, &self.means, |y, m| (y - m) * (y - m)),
            };
            ratios(&mut self.means, &self.data, weights);
            self.update.fill(T::default());
            problem.operator.add_transpose(views, &self.means, &mut self.update)?;
            let computed;
            let inverse = match self.inverse.get(k) {
                Some(kept) => kept,
                None => {
                    computed = of_subset(problem, views)?;
                    &computed
                }
            };
            // A voxel that the subset does not see stays.
            each3(
                &mut self.x,
                &self.update,
                inverse,
                |x, g, s| if s > 0.0 { x * g * s } else { x },
            );
            problem.clip(&mut self.x);
        }
        Ok(Step { residual_norm: square.sqrt(), objective: f64::NAN, step: 1.0 })
    }

    fn image(&self) -> &[T] {
        &self.x
    }

    fn visit(&mut self, visitor: &mut dyn StateVisitor<T>) {
        visitor.array("x", &mut self.x);
    }
}
