//! The log posterior for samplers, its likelihood in single precision where there is one.
//!
//! A sampler asks for thousands of log densities and compares each with a random number,
//! so an error of $10^{-4}$ nats is nothing to it, and the draws are those of the density
//! that is evaluated: a chain leaves it unchanged, and importance weights are its weights.
//! Charts and priors stay in double precision.
//!
//! Source: as of [`Posterior`]. Validated by `single_precision_is_enough` in
//! `tests/suite/posterior.rs`.

use super::{Posterior, Sigma};

impl Posterior<'_> {
    /// Makes [`Posterior::quick_ln_density`] quick: from now on it is in single precision,
    /// if the model and the ratio of signal to noise of the voxel have that; returns whether.
    pub fn quicken(&mut self) -> bool {
        self.single = match self.sigma {
            Sigma::Known(sigma) => self.evaluator.single_pass(&self.y, sigma),
            Sigma::Free(_) => None,
        };
        self.single.is_some()
    }

    /// [`Posterior::ln_density`] of a posterior that was quickened: off by some $10^{-4}$
    /// nats, and as much in the gradient by coordinates that are white.
    ///
    /// # Shapes
    /// `z`, `gz` `[dim]`.
    pub fn quick_ln_density(&mut self, z: &[f64], gz: &mut [f64]) -> f64 {
        let Some(pass) = &mut self.single else { return self.ln_density(z, gz) };
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        let values = self.model.values();
        self.gx.fill(0.0);
        let gx = &mut self.gx[..values];
        let ln_likelihood = self.evaluator.single_gradient(&self.x[..values], pass, gx)
            + self.likelihood.at(self.sigma_now());
        let ln_prior = self.priors();
        self.chart.pullback(z, &self.x, &self.gx, gz);
        ln_likelihood + ln_prior + ln_jacobian
    }

    /// The value of [`Posterior::quick_ln_density`], without the gradient.
    ///
    /// # Shapes
    /// `z` `[dim]`.
    pub fn quick_ln_density_value(&mut self, z: &[f64]) -> f64 {
        let Some(pass) = &mut self.single else { return self.ln_density_value(z) };
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        let values = self.model.values();
        let ln_likelihood = self.evaluator.single_value(&self.x[..values], pass)
            + self.likelihood.at(self.sigma_now());
        ln_likelihood + self.ln_priors() + ln_jacobian
    }
}
