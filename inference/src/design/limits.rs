//! What a scanner and the time at it allow.
//!
//! $$0 < G \le G_\mathrm{max},\quad \delta \ge \delta_\mathrm{min},\quad
//!   \Delta \ge \delta + t_\mathrm{gap},\quad \Delta + \delta + t_\mathrm{over} \le TE \le TE_\mathrm{max}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $G$ | T/m | gradient strength of a pulse |
//! | $\delta, \Delta$ | ms | duration, separation of leading edges |
//! | $t_\mathrm{gap}$ | ms | between the pulses: refocusing and ramps |
//! | $t_\mathrm{over}$ | ms | before the first and after the second pulse: excitation and readout |
//!
//! Source: Alexander 2008, doi:10.1002/mrm.21646 (constraints of a design). Validated by
//! `limits_that_leave_nothing_are_named`.

/// Limits of a design.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Strongest gradient, T/m.
    pub max_gradient_t_per_m: f64,
    /// Shortest pulse, ms.
    pub min_delta_ms: f64,
    /// Longest pulse, ms.
    pub max_delta_ms: f64,
    /// Least time between the end of the first and the start of the second pulse, ms.
    pub gap_ms: f64,
    /// Echo time that is not pulses and what is between them, ms.
    pub overhead_ms: f64,
    /// Longest echo time, ms.
    pub max_te_ms: f64,
    /// Largest b, ms/µm².
    pub max_b: f64,
    /// Weighted shells.
    pub shells: usize,
    /// Measurements in all, b = 0 included.
    pub measurements: usize,
    /// Fewest directions of a shell.
    pub min_directions: usize,
    /// Measurements at b = 0; chosen with the rest when `None`, at least one.
    pub b0: Option<usize>,
}

/// Why there is no design.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DesignError {
    /// A limit that is no number of its kind.
    #[error("{what} is {value}; {wanted}")]
    Value {
        /// Which limit.
        what: &'static str,
        /// As given.
        value: f64,
        /// What it must be.
        wanted: &'static str,
    },
    /// Times that leave no room for two pulses.
    #[error(
        "two pulses of {min_delta_ms} ms, {gap_ms} ms between them and {overhead_ms} ms of excitation and readout \
         need an echo time of {needed_ms} ms, but at most {max_te_ms} ms are allowed; allow a longer TE or shorter pulses"
    )]
    Time {
        /// Shortest pulse.
        min_delta_ms: f64,
        /// Between pulses.
        gap_ms: f64,
        /// Before and after.
        overhead_ms: f64,
        /// Their sum.
        needed_ms: f64,
        /// The limit.
        max_te_ms: f64,
    },
    /// Fewer measurements than shells need.
    #[error(
        "{measurements} measurements are too few for {shells} shells of {min_directions} or more directions and {b0} at b = 0; \
         measure more, or take fewer shells"
    )]
    Measurements {
        /// In all.
        measurements: usize,
        /// Weighted shells.
        shells: usize,
        /// Fewest a shell.
        min_directions: usize,
        /// At b = 0.
        b0: usize,
    },
    /// A model whose T2 needs several echo times, which the search does not vary.
    #[error(
        "compartment `{compartment}` has T2, which one echo time does not determine; a design has one echo time for all shells. \
         Leave t2 out of the model and give T2 as a loss of signal"
    )]
    EchoTimes {
        /// Which.
        compartment: String,
    },
    /// The criterion can't be computed.
    #[error(transparent)]
    Information(#[from] microtome_models::information::InformationError),
    /// No start has a finite criterion.
    #[error(
        "no protocol within the limits determines the parameters at all parameter sets; judge with the prior, count fewer \
         parameters, or allow more shells"
    )]
    Singular,
}

impl Limits {
    /// Limits of a clinical scanner with a gradient: pulses of 3 ms or more, 6 ms between
    /// them, 15 ms of excitation and readout, TE up to 150 ms.
    pub fn new(max_gradient_t_per_m: f64, shells: usize, measurements: usize) -> Self {
        Self {
            max_gradient_t_per_m,
            min_delta_ms: 3.0,
            max_delta_ms: f64::INFINITY,
            gap_ms: 6.0,
            overhead_ms: 15.0,
            max_te_ms: 150.0,
            max_b: f64::INFINITY,
            shells,
            measurements,
            min_directions: 6,
            b0: None,
        }
    }

    /// Shortest $\Delta + \delta$, ms.
    pub(super) fn least_span_ms(&self) -> f64 {
        2.0 * self.min_delta_ms + self.gap_ms
    }

    /// Longest $\Delta + \delta$, ms.
    pub(super) fn longest_span_ms(&self) -> f64 {
        self.max_te_ms - self.overhead_ms
    }

    /// Checks that something is left to choose from.
    ///
    /// # Errors
    /// The limit at fault.
    pub fn check(&self) -> Result<(), DesignError> {
        let positive = [
            ("the strongest gradient (T/m)", self.max_gradient_t_per_m),
            ("the shortest pulse (ms)", self.min_delta_ms),
            ("the longest pulse (ms)", self.max_delta_ms),
            ("the longest echo time (ms)", self.max_te_ms),
            ("the largest b (ms/um^2)", self.max_b),
        ];
        for (what, value) in positive {
            if value.is_nan() || value <= 0.0 {
                return Err(DesignError::Value { what, value, wanted: "it must be positive" });
            }
        }
        if self.max_gradient_t_per_m > 5.0 {
            let (what, value) = (positive[0].0, self.max_gradient_t_per_m);
            let wanted = "no scanner reaches 5 T/m; the unit must be wrong";
            return Err(DesignError::Value { what, value, wanted });
        }
        for (what, value) in [
            ("the time between pulses (ms)", self.gap_ms),
            ("the time of excitation and readout (ms)", self.overhead_ms),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(DesignError::Value { what, value, wanted: "it must not be negative" });
            }
        }
        if self.max_delta_ms < self.min_delta_ms {
            let (what, value) = (positive[2].0, self.max_delta_ms);
            let wanted = "it must not be less than the shortest pulse";
            return Err(DesignError::Value { what, value, wanted });
        }
        if !self.max_te_ms.is_finite() {
            let (what, value) = (positive[3].0, self.max_te_ms);
            return Err(DesignError::Value { what, value, wanted: "it must be finite" });
        }
        if self.shells == 0 || self.shells > 32 {
            let (what, value) = ("the number of shells", self.shells as f64);
            return Err(DesignError::Value { what, value, wanted: "it must be 1 to 32" });
        }
        if self.min_directions == 0 {
            let (what, value) = ("the fewest directions of a shell", 0.0);
            return Err(DesignError::Value { what, value, wanted: "it must be 1 or more" });
        }
        let needed_ms = self.least_span_ms() + self.overhead_ms;
        if needed_ms > self.max_te_ms {
            return Err(DesignError::Time {
                min_delta_ms: self.min_delta_ms,
                gap_ms: self.gap_ms,
                overhead_ms: self.overhead_ms,
                needed_ms,
                max_te_ms: self.max_te_ms,
            });
        }
        let b0 = self.b0.unwrap_or(1);
        if self.shells * self.min_directions + b0 > self.measurements {
            return Err(DesignError::Measurements {
                measurements: self.measurements,
                shells: self.shells,
                min_directions: self.min_directions,
                b0,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_that_leave_nothing_are_named() {
        let good = Limits::new(0.06, 3, 100);
        good.check().unwrap();
        let text = |l: Limits| l.check().unwrap_err().to_string();
        assert!(text(Limits { max_gradient_t_per_m: 60.0, ..good.clone() }).contains("unit"));
        assert!(
            text(Limits { max_gradient_t_per_m: f64::NAN, ..good.clone() }).contains("positive")
        );
        assert!(text(Limits { max_te_ms: 20.0, ..good.clone() }).contains("echo time of 27 ms"));
        assert!(text(Limits { measurements: 18, ..good.clone() }).contains("too few for 3 shells"));
        assert!(text(Limits { shells: 0, ..good.clone() }).contains("1 to 32"));
        assert!(text(Limits { max_delta_ms: 2.0, ..good }).contains("longest pulse"));
    }
}
