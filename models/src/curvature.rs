//! The curvature that the likelihood gives to the coordinates of a chart.
//!
//! $$H = Z^T J^T W J Z + \frac{I_{\ln\sigma}}{\sigma^2}\,\partial\sigma\,\partial\sigma^T,\qquad
//!   Z = \partial x/\partial z$$
//!
//! Gauss-Newton in the signal, with $W$ the curvature of the noise, kept above
//! $0.05/\sigma^2$, and σ by its own information: never negative.
//!
//! Validated by `curvature_is_the_hessian_where_the_data_are_exact` in `tests/suite/posterior.rs`.

use crate::chart::Chart;
use crate::evaluate::Evaluator;
use microtome_kernels::normal::normal_equations;

/// The curvature of likelihoods; keeps its memory.
#[derive(Debug, Clone)]
pub(crate) struct LikelihoodCurvature {
    score: Vec<f64>,
    curvature: Vec<f64>,
    normal: Vec<f64>,
    right: Vec<f64>,
    /// $\partial x/\partial z$ of the last call, `[value, dim]`.
    pub(crate) slopes: Vec<f64>,
}

impl LikelihoodCurvature {
    /// Memory for a model of `values` values on a plan of `slots` slots.
    pub(crate) fn new(slots: usize, values: usize) -> Self {
        Self {
            score: vec![0.0; slots],
            curvature: vec![0.0; slots],
            normal: vec![0.0; values * values],
            right: vec![0.0; values],
            slopes: Vec::new(),
        }
    }

    /// The curvature at `z`, whose values are `x`.
    ///
    /// # Shapes
    /// `y` in slots of the plan, `x` `[value]` with σ last when it is free, `hessian`
    /// `[dim, dim]`.
    pub(crate) fn fill(
        &mut self,
        evaluator: &mut Evaluator,
        y: &[f64],
        sigma: f64,
        chart: &Chart,
        (z, x): (&[f64], &[f64]),
        hessian: &mut [f64],
    ) {
        let (dim, total_values) = (chart.dim(), chart.values());
        let lowered = evaluator.lowered();
        let (noise, values) = (lowered.model.noise(), lowered.model.values());
        let plan = lowered.plan.clone();
        let (signal, jacobian) = evaluator.signal_and_jacobian(&x[..values]);
        noise.curvature(y, signal, plan.mask(), sigma, &mut self.score, &mut self.curvature);
        let floor = 0.05 / (sigma * sigma);
        for (c, m) in self.curvature.iter_mut().zip(plan.mask()) {
            *c = c.max(floor * m);
        }
        normal_equations(jacobian, &self.curvature, &self.score, &mut self.normal, &mut self.right);
        self.slopes.clear();
        self.slopes.resize(total_values * dim, 0.0);
        chart.jacobian(z, x, &mut self.slopes);
        let slopes = &self.slopes;
        // H = Zᵀ N Z, the σ row by its own information.
        let mut half = vec![0.0; values * dim];
        for a in 0..values {
            for b in 0..values {
                let n = self.normal[a * values + b];
                for j in 0..dim {
                    half[a * dim + j] += n * slopes[b * dim + j];
                }
            }
        }
        hessian.fill(0.0);
        for a in 0..values {
            for i in 0..dim {
                let s = slopes[a * dim + i];
                if s != 0.0 {
                    for j in 0..dim {
                        hessian[i * dim + j] += s * half[a * dim + j];
                    }
                }
            }
        }
        if total_values > values {
            let information =
                noise.ln_sigma_information(y, signal, plan.mask(), sigma, &mut self.score);
            for i in 0..dim {
                for j in 0..dim {
                    hessian[i * dim + j] += information / (sigma * sigma)
                        * slopes[values * dim + i]
                        * slopes[values * dim + j];
                }
            }
        }
    }
}
