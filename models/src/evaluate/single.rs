//! The log likelihood of a voxel in single precision, for samplers.
//!
//! Models whose compartments are isotropic or Gaussian about an axis, at most
//! [`MOST`] of these, with Rician or Gaussian noise of known σ have signal, likelihood and
//! pullback in one pass of [`microtome_kernels::single`]; other models have none.
//!
//! Source: as of [`Evaluator`]. Validated by `single_precision_is_enough` in
//! `tests/suite/posterior.rs`.

use super::{Evaluator, pull_isotropic, pull_quadratic};
use crate::compartment::Coefficients;
use crate::noise::NoiseKind;
use microtome_kernels::single::{Compartment, MOST, Measurements, Noise, Sums};

/// The measurements of a voxel and memory for the sums over them.
#[derive(Debug)]
pub(crate) struct SinglePass {
    measurements: Measurements,
    noise: Noise,
    inverse_sigma: f64,
    /// The isotropic part of the signal, `[shell]`, in units of σ.
    floor: Vec<f64>,
    sums: Sums,
}

const NOTHING: Compartment<'static> = Compartment { amplitude: 0.0, a: &[], c: &[], mu: [0.0; 3] };

/// What the loop has for this noise.
fn loop_of(noise: NoiseKind) -> Option<Noise> {
    match noise {
        NoiseKind::Gaussian => Some(Noise::Gaussian),
        NoiseKind::Rician | NoiseKind::NcChi { coils: 1 } => Some(Noise::Rician),
        NoiseKind::NcChi { .. } | NoiseKind::StudentT { .. } => None,
    }
}

impl Evaluator {
    /// Whether the model has a likelihood in single precision.
    pub fn has_single_precision(&self) -> bool {
        let of = |wanted: fn(&Coefficients) -> bool| {
            self.states.iter().filter(|s| wanted(&s.coefficients)).count()
        };
        let quadratic = of(|c| matches!(c, Coefficients::Quadratic { .. }));
        let isotropic = of(|c| matches!(c, Coefficients::Isotropic { .. }));
        (1..=MOST).contains(&quadratic)
            && quadratic + isotropic == self.states.len()
            && loop_of(self.lowered.model.noise()).is_some()
    }

    /// A voxel in single precision; `None` where the model, or the ratio of signal to
    /// noise, has none.
    ///
    /// # Shapes
    /// `y` `[slot]`.
    pub(crate) fn single_pass(&self, y: &[f64], sigma: f64) -> Option<SinglePass> {
        if !self.has_single_precision() {
            return None;
        }
        let plan = &self.lowered.plan;
        Some(SinglePass {
            measurements: Measurements::new(plan, y, sigma)?,
            noise: loop_of(self.lowered.model.noise())?,
            inverse_sigma: 1.0 / sigma,
            floor: vec![0.0; plan.shells()],
            sums: Sums::new(plan.shells()),
        })
    }

    /// What the isotropic compartments add to every shell, and the other ones.
    fn parts<'a>(&'a self, scale: f64, floor: &mut [f64]) -> ([Compartment<'a>; MOST], usize) {
        let (mut compartments, mut count) = ([NOTHING; MOST], 0);
        floor.fill(0.0);
        for state in &self.states {
            let amplitude = scale * state.fraction;
            match &state.coefficients {
                Coefficients::Isotropic { value, .. } => {
                    floor.iter_mut().zip(value).for_each(|(f, v)| *f += amplitude * v);
                }
                Coefficients::Quadratic { a, c, .. } => {
                    compartments[count] = Compartment { amplitude, a, c, mu: state.mu };
                    count += 1;
                }
                _ => {}
            }
        }
        (compartments, count)
    }

    /// $\ln p(y|x)$ without the constants of the noise.
    ///
    /// # Shapes
    /// `x` `[value]`.
    pub(crate) fn single_value(&mut self, x: &[f64], pass: &mut SinglePass) -> f64 {
        self.prepare(x);
        let SinglePass { measurements, noise, inverse_sigma, floor, .. } = pass;
        let (compartments, count) = self.parts(self.scale * *inverse_sigma, floor);
        measurements.value(*noise, floor, &compartments[..count])
    }

    /// The value of [`Evaluator::single_value`]; adds its derivatives to `gradient`.
    ///
    /// # Shapes
    /// `x`, `gradient` `[value]`.
    pub(crate) fn single_gradient(
        &mut self,
        x: &[f64],
        pass: &mut SinglePass,
        gradient: &mut [f64],
    ) -> f64 {
        self.prepare(x);
        let SinglePass { measurements, noise, inverse_sigma, floor, sums } = pass;
        let scale = self.scale * *inverse_sigma;
        let (compartments, count) = self.parts(scale, floor);
        let value = measurements.gradient(*noise, floor, &compartments[..count], sums);
        let (mut d_scale, mut q) = (0.0, 0);
        for (state, component) in self.states.iter().zip(self.lowered.model.components()) {
            let d_amplitude = match &state.coefficients {
                Coefficients::Isotropic { .. } => {
                    pull_isotropic(state, scale, &sums.weight, gradient)
                }
                Coefficients::Quadratic { .. } => {
                    let sums = (sums.zeroth[q].as_slice(), sums.second[q].as_slice(), sums.axis[q]);
                    q += 1;
                    pull_quadratic(state, component, scale, sums, gradient)
                }
                _ => 0.0,
            };
            for &(k, d) in &state.fraction_slopes {
                gradient[k] += d * scale * d_amplitude;
            }
            d_scale += state.fraction * d_amplitude;
        }
        for &(k, d) in &self.scale_slopes {
            gradient[k] += d * d_scale * *inverse_sigma;
        }
        value
    }
}
