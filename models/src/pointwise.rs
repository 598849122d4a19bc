//! The log likelihood of every measurement of a voxel, all constants included.
//!
//! $$\ln p(y_i\,|\,S_i,\sigma),\qquad \sum_i \ln p(y_i\,|\,S_i,\sigma) = \ln p(y\,|\,S,\sigma)$$
//!
//! with the densities of [`NoiseKind`], and those of means where measurements have
//! weights. As in [`Constants`](crate::Constants), $\ln y$ of a magnitude of zero is left
//! out.
//!
//! Validated by `measurements_sum_to_the_likelihood` below.

use crate::noise::{Constants, NoiseKind};
use microtome_kernels::{Plan, pointwise};

/// The log likelihoods of the measurements of one voxel.
#[derive(Debug, Clone)]
pub struct PointwiseLikelihood {
    noise: NoiseKind,
    /// Magnitudes in slots.
    y: Vec<f64>,
    /// What of each constant does not depend on σ, in slots.
    fixed: Vec<f64>,
    /// What all measurements share.
    shared: Constants,
}

impl PointwiseLikelihood {
    /// Of the signals of a voxel.
    ///
    /// # Shapes
    /// `signals` `[measurement]`.
    pub fn new(noise: NoiseKind, signals: &[f64], plan: &Plan) -> Self {
        let mut y = vec![0.0; plan.slots()];
        plan.scatter(signals, &mut y);
        let each: Vec<f64> =
            signals.iter().map(|y| Constants::new(noise, &[*y]).without_sigma()).collect();
        let mut fixed = vec![0.0; plan.slots()];
        plan.scatter(&each, &mut fixed);
        for (fixed, weight) in fixed.iter_mut().zip(plan.mask()) {
            if *weight > 1.0 {
                *fixed += 0.5 * weight.ln();
            }
        }
        // The constant of σ of one measurement, nothing else.
        let shared = Constants::new(noise, &[1.0]);
        Self { noise, y, fixed, shared }
    }

    /// The magnitudes, in slots.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// Writes $\ln p(y_i\,|\,S_i,\sigma)$ of every slot; 0 in padding.
    ///
    /// # Shapes
    /// `signal` and `out` `[slot]`.
    pub fn evaluate(&self, signal: &[f64], mask: &[f64], sigma: f64, out: &mut [f64]) {
        let w = 1.0 / (sigma * sigma);
        match self.noise {
            NoiseKind::Gaussian => pointwise::gaussian_terms(&self.y, signal, mask, w, out),
            NoiseKind::Rician => pointwise::rician_terms(&self.y, signal, mask, w, out),
            NoiseKind::NcChi { coils } => {
                pointwise::nc_chi_terms(&self.y, signal, mask, w, coils, out);
            }
            NoiseKind::StudentT { nu } => {
                pointwise::student_t_terms(&self.y, signal, mask, w, nu, out);
            }
        }
        let shared = self.shared.at(sigma) - self.shared.without_sigma();
        for ((out, fixed), mask) in out.iter_mut().zip(&self.fixed).zip(mask) {
            if *mask > 0.0 {
                *out += fixed + shared;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_sum_to_the_likelihood() {
        let n = 23;
        let signals: Vec<f64> = (0..n).map(|i| 0.05 + 0.04 * f64::from(i * 7 % 23)).collect();
        let truth: Vec<f64> = (0..n).map(|i| 0.04 * f64::from(i * 7 % 23) + 0.02).collect();
        let shell_of: Vec<usize> = (0..23).map(|i| i % 3).collect();
        let plan = Plan::new(3, &shell_of, &[[0.0, 0.6, 0.8]; 23], &[2.0; 23]);
        let repeats: Vec<f64> = (0..23).map(|i| [1.0, 30.0, 7.0][i % 3]).collect();
        let means = plan.clone().weighted(&repeats);
        for (noise, plan) in [
            (NoiseKind::Gaussian, &plan),
            (NoiseKind::Gaussian, &means),
            (NoiseKind::Rician, &plan),
            (NoiseKind::NcChi { coils: 4 }, &plan),
            (NoiseKind::StudentT { nu: 3.5 }, &plan),
        ] {
            let (mut y, mut s) = (vec![0.0; plan.slots()], vec![0.0; plan.slots()]);
            plan.scatter(&signals, &mut y);
            plan.scatter(&truth, &mut s);
            let likelihood = PointwiseLikelihood::new(noise, &signals, plan);
            let constants = Constants::new(noise, &signals).of_means(plan.mask());
            let mut out = vec![f64::NAN; plan.slots()];
            for sigma in [0.03, 0.11, 2.0] {
                likelihood.evaluate(&s, plan.mask(), sigma, &mut out);
                let total = noise.value(&y, &s, plan.mask(), sigma) + constants.at(sigma);
                let sum: f64 = out.iter().sum();
                let size: f64 = out.iter().map(|v| v.abs()).sum::<f64>() + 10.0;
                assert!((sum - total).abs() < 1e-14 * size, "{noise:?}: {sum} {total}");
                // A measurement alone has the density of itself.
                let (i, slot) = (4, plan.slot_of()[4]);
                let mut only = vec![0.0; plan.slots()];
                only[slot] = plan.mask()[slot];
                let alone = noise.value(&y, &s, &only, sigma)
                    + Constants::new(noise, &signals[i..=i]).of_means(&only).at(sigma);
                assert!((out[slot] - alone).abs() < 1e-12 * (1.0 + alone.abs()), "{noise:?}");
            }
        }
    }
}
