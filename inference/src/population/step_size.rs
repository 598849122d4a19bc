//! The step size of a Hamiltonian trajectory, tuned to a wanted acceptance.
//!
//! $$\bar H_t=\Big(1-\tfrac1{t+t_0}\Big)\bar H_{t-1}+\tfrac{\alpha-\alpha_t}{t+t_0},\qquad
//!   \ln\epsilon_t=\ln\epsilon_{\max}-\frac{\sqrt t}{\gamma}\bar H_t,\qquad
//!   \overline{\ln\epsilon}_t=t^{-3/4}\ln\epsilon_t+(1-t^{-3/4})\overline{\ln\epsilon}_{t-1}$$
//!
//! with $\gamma=0.05$, $t_0=10$. A trajectory takes a random time, in equal steps no longer
//! than $\epsilon$.
//!
//! Source: Hoffman & Gelman 2014, JMLR 15:1593, section 3.2.

use rand::{Rng, RngExt};

/// Wanted mean acceptance.
const ACCEPTANCE: f64 = 0.85;
/// Bounds of the time of a trajectory: about a quarter of the period 2π of a standard
/// normal density, after which start and end are independent.
pub(crate) const QUARTER: [f64; 2] = [1.1, 2.1];
/// Bounds for voxels that hang on their neighbours: start and end lie on opposite sides of
/// the mean, which carries a field along faster (Adler 1981, doi:10.1103/PhysRevD.23.2901).
pub(crate) const OVERRELAXED: [f64; 2] = [1.4, 2.8];
/// Longest step.
const LONGEST: f64 = 1.2;
/// Most steps of a trajectory.
const STEPS: f64 = 32.0;
/// An energy error above this is a divergence.
pub(crate) const DIVERGENT_NATS: f64 = 1000.0;

/// Dual averaging of the logarithm of a step size.
#[derive(Debug, Clone)]
pub(crate) struct StepSize {
    count: f64,
    error: f64,
    ln_step: f64,
    ln_mean: f64,
}

impl Default for StepSize {
    fn default() -> Self {
        Self { count: 0.0, error: 0.0, ln_step: -0.2, ln_mean: -0.2 }
    }
}

impl StepSize {
    /// Learns from the acceptance probability of a trajectory.
    pub(crate) fn update(&mut self, acceptance: f64) {
        self.count += 1.0;
        let share = 1.0 / (self.count + 10.0);
        self.error += share * (ACCEPTANCE - acceptance - self.error);
        let ln_step = LONGEST.ln() - self.count.sqrt() / 0.05 * self.error;
        self.ln_step = ln_step.clamp(-12.0, LONGEST.ln());
        self.ln_mean += self.count.powf(-0.75) * (self.ln_step - self.ln_mean);
    }

    /// Begins anew from the step size that it has.
    pub(crate) fn restart(&mut self) {
        self.count = 0.0;
        self.error = 0.0;
    }

    /// Number and length of the steps of a trajectory of random time.
    pub(crate) fn trajectory<R: Rng + ?Sized>(
        &self,
        time: [f64; 2],
        warm_up: bool,
        rng: &mut R,
    ) -> (u32, f64) {
        let time = rng.random_range(time[0]..time[1]);
        let longest = if warm_up { self.ln_step } else { self.ln_mean }.exp();
        let n = (time / longest).ceil().clamp(1.0, STEPS);
        (n as u32, (time / n).min(longest))
    }
}
