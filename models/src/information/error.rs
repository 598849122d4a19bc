//! Why an experiment can't be judged.

use crate::acquisition::AcquisitionError;
use crate::model::ModelError;
use crate::prior::PriorError;

/// Why an experiment can't be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InformationError {
    /// The model does not fit the acquisition.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The weighting is none.
    #[error(transparent)]
    Acquisition(#[from] AcquisitionError),
    /// A default prior that can't be.
    #[error(transparent)]
    Prior(#[from] PriorError),
    /// A noise level that is not positive.
    #[error("the noise level is {number}; sigma and SNR are positive numbers")]
    Noise {
        /// As given.
        number: f64,
    },
    /// Nothing to judge at.
    #[error("no parameter sets; a design is judged at one or more of them")]
    NoSets,
    /// Means of shells are other data than their measurements.
    #[error(
        "a model of spherical means is fitted to the means of shells, which is not designed for; \
         use the same compartments without spherical_mean"
    )]
    SphericalMean,
    /// A signal that gives no scale.
    #[error(
        "parameter set {set}: the signal without diffusion weighting is {signal}; it must be positive"
    )]
    Unweighted {
        /// Counted from 1.
        set: usize,
        /// Of the model.
        signal: f64,
    },
    /// T2 without TE.
    #[error("the loss of signal with the echo time needs the echo time of every measurement (TE)")]
    NoEchoTime,
    /// A quantity that the model does not have.
    #[error("`{name}` is no quantity of this model; it has {known}")]
    Quantity {
        /// As given.
        name: String,
        /// All that there are.
        known: String,
    },
    /// A prior without a precision.
    #[error(
        "the prior has no spread along some of the parameters, or not a finite one; widen it, or fix the parameter"
    )]
    Spread,
    /// A relative variance without a unit.
    #[error(
        "parameter set {set}: `{name}` is 0, so that no variance is relative to it; judge relative to the prior"
    )]
    Scale {
        /// Which.
        name: String,
        /// Counted from 1.
        set: usize,
    },
    /// A number of weights that is not that of the measurements.
    #[error("{got} {what} for {expected} measurements")]
    Count {
        /// Which list.
        what: &'static str,
        /// Measurements.
        expected: usize,
        /// Length of the list.
        got: usize,
    },
}
