//! Oscillating gradients (OGSE): two equal trains about a refocusing pulse.
//!
//! $$g(t) = G\cos\omega t\ \text{or}\ G\sin\omega t,\quad 0\le t\le\sigma = N/f,\quad
//!   \omega = 2\pi f$$
//! $$b_\mathrm{cos} = \frac{\gamma^2G^2\sigma}{4\pi^2f^2},\qquad
//!   b_\mathrm{sin} = \frac{3\gamma^2G^2\sigma}{4\pi^2f^2}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $f$ | 1/ms (kHz) | frequency |
//! | $N$ | | periods in each of the two trains |
//! | $\sigma$ | ms | length of a train |
//! | $G$ | T/m | amplitude |
//!
//! The second train begins $\sigma$ + gap after the first and is its negative
//! (effective gradient after the refocusing pulse). A sample of the waveform is the
//! mean of the gradient over its interval, so q is exact at the grid and its last
//! value is zero; b of the samples differs from the formula by the order of
//! $(\omega\,dt)^2$.
//!
//! Source: Parsons, Does & Gore 2003, doi:10.1016/S0730-725X(03)00155-3; Does, Parsons &
//! Gore 2003, doi:10.1002/mrm.10385; Xu, Does & Gore 2009, doi:10.1016/j.jmr.2009.06.022.
//! Validated by `oscillating_*` in `tests/suite/encoding.rs`.

use super::{AcquisitionError, GAMMA_PER_MS_UM};
use std::f64::consts::TAU;

/// What oscillates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OscillationShape {
    /// Cosine: the spectrum is centred on the frequency.
    Cosine,
    /// Sine: has half of its power (in q) at zero frequency.
    Sine,
}

/// Two trains of an oscillating gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Oscillation {
    /// Cosine or sine.
    pub shape: OscillationShape,
    /// Frequency, 1/ms (= kHz).
    pub frequency_per_ms: f64,
    /// Whole periods in each train.
    pub periods: u32,
    /// Time between the trains, ms.
    pub gap_ms: f64,
}

impl Oscillation {
    /// Length of one train, ms.
    pub fn train_ms(&self) -> f64 {
        f64::from(self.periods) / self.frequency_per_ms
    }

    /// b at an amplitude in T/m.
    ///
    /// # Example
    /// ```
    /// use microtome_models::{Oscillation, OscillationShape};
    /// let o = Oscillation { shape: OscillationShape::Cosine, frequency_per_ms: 0.1, periods: 2, gap_ms: 5.0 };
    /// // (0.2675 x 0.08 x 20)^2 ... : gamma² G² sigma / (4 pi² f²), sigma = 20 ms.
    /// let by_hand = (0.26752218744_f64 * 0.08).powi(2) * 20.0 / (4.0 * 9.8696044 * 0.01);
    /// assert!((o.b_ms_per_um2(0.08) / by_hand - 1.0).abs() < 1e-8);
    /// ```
    pub fn b_ms_per_um2(&self, amplitude_t_per_m: f64) -> f64 {
        let phase = GAMMA_PER_MS_UM * amplitude_t_per_m / (TAU * self.frequency_per_ms);
        let factor = match self.shape {
            OscillationShape::Cosine => 1.0,
            OscillationShape::Sine => 3.0,
        };
        factor * phase * phase * self.train_ms()
    }

    /// The amplitude (T/m) that gives b (ms/µm²).
    pub fn amplitude_t_per_m(&self, b_ms_per_um2: f64) -> f64 {
        (b_ms_per_um2 / self.b_ms_per_um2(1.0)).sqrt()
    }

    /// The effective gradient on a grid, for [`crate::Acquisition::from_waveforms`].
    ///
    /// # Shapes
    /// `[time, 3]`, of length ⌈(2σ + gap)/dt⌉.
    ///
    /// # Errors
    /// Frequencies, periods, gaps and spacings that are not positive (the gap may be
    /// zero), and grids of fewer than ten samples a period.
    pub fn waveform(
        &self,
        amplitude_t_per_m: f64,
        direction: [f64; 3],
        dt_ms: f64,
    ) -> Result<Vec<f64>, AcquisitionError> {
        let wrong = |what: String| Err(AcquisitionError::Waveform { what });
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !(positive(self.frequency_per_ms) && self.periods > 0 && positive(dt_ms)) {
            return wrong(format!(
                "an oscillation of {} kHz, {} periods and samples {dt_ms} ms apart; all must be positive",
                self.frequency_per_ms, self.periods
            ));
        }
        if !(self.gap_ms.is_finite() && self.gap_ms >= 0.0) {
            return wrong(format!("a gap of {} ms between two trains", self.gap_ms));
        }
        if dt_ms * self.frequency_per_ms > 0.1 {
            return wrong(format!(
                "samples {dt_ms} ms apart are too few for {} kHz; take at least ten a period",
                self.frequency_per_ms
            ));
        }
        let train = self.train_ms();
        let second = train + self.gap_ms;
        let omega = TAU * self.frequency_per_ms;
        // The moment of one train of amplitude 1, T/m ms.
        let moment = |t: f64| {
            let phase = omega * t.clamp(0.0, train);
            match self.shape {
                OscillationShape::Cosine => phase.sin() / omega,
                OscillationShape::Sine => (1.0 - phase.cos()) / omega,
            }
        };
        let both = |t: f64| moment(t) - moment(t - second);
        let n = ((second + train) / dt_ms - 1e-9).ceil() as usize;
        let mut out = Vec::with_capacity(3 * n);
        let mut before = 0.0;
        for k in 1..=n {
            let after = if k == n { 0.0 } else { both(k as f64 * dt_ms) };
            let mean = amplitude_t_per_m * (after - before) / dt_ms;
            out.extend(direction.map(|c| mean * c));
            before = after;
        }
        Ok(out)
    }
}
