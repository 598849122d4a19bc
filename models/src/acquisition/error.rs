//! What can be wrong with an acquisition: every message says which measurement,
//! which quantity, and what to do.
//!
//! Validated by the tests of [`crate::Acquisition`] and `tests/suite/encoding.rs`.

/// What is wrong with an acquisition.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AcquisitionError {
    /// A list has another length than the b-values.
    #[error(
        "{what}: {got} values for {expected} measurements; check that the files belong together"
    )]
    Count {
        /// Which list.
        what: &'static str,
        /// Number of measurements.
        expected: usize,
        /// Length of the list.
        got: usize,
    },
    /// There is no measurement at all.
    #[error("the acquisition has no measurements; check that the gradient table is not empty")]
    Empty,
    /// A direction is not of length one.
    #[error(
        "measurement {measurement} (counted from 0): the gradient direction has length {norm}, but b is {b_s_per_mm2} s/mm2; \
         directions of diffusion-weighted measurements must be unit vectors (to 1e-3)"
    )]
    Direction {
        /// Index of the measurement.
        measurement: usize,
        /// Length found.
        norm: f64,
        /// Its b-value in s/mm².
        b_s_per_mm2: f64,
    },
    /// A number is NaN, infinite or negative.
    #[error(
        "measurement {measurement} (counted from 0): {what} is {value}; it must be finite and not negative"
    )]
    Value {
        /// Which quantity.
        what: &'static str,
        /// Index of the measurement.
        measurement: usize,
        /// Value found.
        value: f64,
    },
    /// The largest b-value is implausible.
    #[error(
        "the largest b-value is {largest_s_per_mm2} s/mm2, which looks like a wrong unit: \
         FSL bval files are in s/mm2 (typically 700 to 50000), scheme files in SI (s/m2, T/m, s)"
    )]
    Unit {
        /// Largest b-value in s/mm².
        largest_s_per_mm2: f64,
    },
    /// Pulse times that do not fit together.
    #[error(
        "measurement {measurement} (counted from 0): delta {delta_ms} ms and Delta {big_delta_ms} ms; a diffusion-weighted measurement needs 0 < delta <= Delta"
    )]
    Timing {
        /// Index of the measurement.
        measurement: usize,
        /// Pulse duration.
        delta_ms: f64,
        /// Pulse separation.
        big_delta_ms: f64,
    },
    /// A shape that no b-tensor has.
    #[error(
        "measurement {measurement} (counted from 0): b_delta is {b_delta}; it lies between -0.5 (planar) and 1 (linear), 0 is spherical"
    )]
    Shape {
        /// Index of the measurement.
        measurement: usize,
        /// Value found.
        b_delta: f64,
    },
    /// A b-tensor that is none.
    #[error(
        "measurement {measurement} (counted from 0): the b-tensor {what}; it must be finite, symmetric and without negative eigenvalues, \
         and its trace is b"
    )]
    Tensor {
        /// Index of the measurement.
        measurement: usize,
        /// What is wrong.
        what: String,
    },
    /// A gradient waveform whose moment does not return to zero.
    #[error(
        "measurement {measurement} (counted from 0): the gradient waveform ends with a moment of {share:.2e} of its largest;          it must return to zero (to 1e-3): give the effective gradient, with its sign reversed after a refocusing pulse"
    )]
    Moment {
        /// Index of the measurement.
        measurement: usize,
        /// Last over largest moment.
        share: f64,
    },
    /// Waveforms whose grid makes no sense.
    #[error("gradient waveforms: {what}")]
    Waveform {
        /// What is wrong and what to do.
        what: String,
    },
}
