//! What is believed of the motion before any projection was seen.
//!
//! $$\tfrac12\sum_i\frac{|u_i|^2}{s^2} + \tfrac12\sum_i\frac{|u_{i+1}-u_i|^2}{d^2},\qquad
//!   u_i = D(\theta_i - \theta_{0i})$$
//!
//! $u$ is in mm at the edge of the volume: turns times its half side, shifts as they are.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $s$ | mm | standard deviation from the given poses |
//! | $d$ | mm | standard deviation of the change from a view to the next |
//!
//! Source: Rue & Held 2005, *Gaussian Markov Random Fields*, section 3.3 (random walks).
//! Validated by `smooth_motion_is_found` in `inference/tests/suite/align.rs`.

use super::AlignError;

/// Prior standard deviations; none where nothing is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MotionPrior {
    /// $s$, mm.
    pub sd_mm: Option<f64>,
    /// $d$, mm.
    pub step_mm: Option<f64>,
}

impl MotionPrior {
    pub(super) fn check(&self) -> Result<(), AlignError> {
        for (name, value) in [("motion_sd", self.sd_mm), ("motion_step", self.step_mm)] {
            if let Some(v) = value.filter(|v| !(*v > 0.0 && v.is_finite())) {
                return Err(AlignError::setting(name, format!("{v}; a positive length is needed")));
            }
        }
        Ok(())
    }

    /// The gradient of the prior for deviations `[view, parameter]`, which is linear in them.
    pub(super) fn precision(&self, table: &[f64], scales: &[f64]) -> Vec<f64> {
        let n = scales.len();
        let mut out = vec![0.0; table.len()];
        if let Some(sd) = self.sd_mm {
            for (i, (o, t)) in out.iter_mut().zip(table).enumerate() {
                *o += t * (scales[i % n] / sd).powi(2);
            }
        }
        if let Some(step) = self.step_mm {
            for i in n..table.len() {
                let rise = (table[i] - table[i - n]) * (scales[i % n] / step).powi(2);
                out[i] += rise;
                out[i - n] -= rise;
            }
        }
        out
    }

    /// Adds a draw of $N(0, P)$ with the precision $P$.
    pub(super) fn add_noise(
        &self,
        table: &mut [f64],
        scales: &[f64],
        normal: &mut dyn FnMut() -> f64,
    ) {
        let n = scales.len();
        if let Some(sd) = self.sd_mm {
            for (i, t) in table.iter_mut().enumerate() {
                *t += scales[i % n] / sd * normal();
            }
        }
        if let Some(step) = self.step_mm {
            for i in n..table.len() {
                let e = scales[i % n] / step * normal();
                table[i] += e;
                table[i - n] -= e;
            }
        }
    }

    /// The diagonal of the precision of one view, without neighbours' coupling.
    pub(super) fn diagonal(&self, scale: f64) -> f64 {
        let sd = self.sd_mm.map_or(0.0, |s| (scale / s).powi(2));
        sd + self.step_mm.map_or(0.0, |s| 2.0 * (scale / s).powi(2))
    }
}
