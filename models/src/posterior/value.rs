//! The log posterior without its gradient, whole and by its parts.
//!
//! Source: as of [`Posterior`]. Validated by `values_are_those_with_gradients` in
//! `tests/posterior.rs`.

use super::{Posterior, Sigma};
use microtome_kernels::Plan;
use std::sync::Arc;

impl Posterior<'_> {
    /// $\ln p(z\,|\,y)$ up to $\ln p(y)$: [`Posterior::ln_density`] without the gradient.
    ///
    /// # Shapes
    /// `z` `[dim]`.
    pub fn ln_value(&mut self, z: &[f64]) -> f64 {
        let ln_prior = self.ln_prior(z);
        let sigma = self.sigma_now();
        let lowered = self.evaluator.lowered();
        let (plan, noise, values) =
            (lowered.plan.clone(), lowered.model.noise(), lowered.model.values());
        let signal = self.evaluator.signal(&self.x[..values]);
        noise.value(&self.y, signal, plan.mask(), sigma) + self.likelihood.at(sigma) + ln_prior
    }

    /// The logarithm of the prior density of coordinates: $\ln p(x) + \ln|\partial x/\partial z|$.
    ///
    /// # Shapes
    /// `z` `[dim]`.
    pub fn ln_prior(&mut self, z: &[f64]) -> f64 {
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        self.priors() + ln_jacobian
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
