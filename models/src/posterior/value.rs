//! The log posterior without its gradient, whole and by its parts.
//!
//! Source: as of [`Posterior`]. Validated by `values_are_those_with_gradients` in
//! `tests/suite/posterior.rs`.

use super::{Posterior, Sigma};
use microtome_kernels::Plan;
use microtome_kernels::log::log as ln;
use std::sync::Arc;

impl Posterior<'_> {
    /// The value of [`Posterior::ln_density`], equal to the bit, without the gradient.
    ///
    /// # Shapes
    /// `z` `[dim]`.
    pub fn ln_density_value(&mut self, z: &[f64]) -> f64 {
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        let sigma = self.sigma_now();
        let values = self.evaluator.lowered().model.values();
        self.evaluator.signal(&self.x[..values]);
        let lowered = self.evaluator.lowered();
        let (noise, mask) = (lowered.model.noise(), lowered.plan.mask());
        let ln_likelihood = noise.value(&self.y, self.evaluator.last_signal(), mask, sigma)
            + self.likelihood.at(sigma);
        let ln_prior = self.ln_priors();
        ln_likelihood + ln_prior + ln_jacobian
    }

    /// The logarithm of the priors alone, summed in the order of their slopes.
    pub(super) fn ln_priors(&self) -> f64 {
        let mut total = self.constant;
        for (k, prior) in &self.priors {
            total += prior.ln_density(self.x[*k]).0;
        }
        for (at, concentration) in &self.dirichlet {
            for (i, a) in concentration.iter().enumerate() {
                if *a != 1.0 {
                    total += (a - 1.0) * ln(self.x[at + i]);
                }
            }
        }
        total
    }

    /// The logarithm of the prior density of coordinates: $\ln p(x) + \ln|\partial x/\partial z|$.
    ///
    /// # Shapes
    /// `z` `[dim]`.
    pub fn ln_prior(&mut self, z: &[f64]) -> f64 {
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        self.ln_priors() + ln_jacobian
    }

    /// The measurements in the order of slots.
    pub fn plan(&self) -> Arc<Plan> {
        self.evaluator.lowered().plan.clone()
    }

    /// The signal at values, in slots of the plan, and σ there.
    ///
    /// # Shapes
    /// `x` `[value]`, σ last when it is free.
    pub fn signal_at(&mut self, x: &[f64]) -> (&[f64], f64) {
        let sigma = match self.sigma {
            Sigma::Known(s) => s,
            Sigma::Free(_) => x.last().copied().unwrap_or(f64::NAN),
        };
        let values = self.evaluator.lowered().model.values();
        (self.evaluator.signal(&x[..values]), sigma)
    }
}
