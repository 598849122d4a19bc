//! Why a model can't be: what does not fit in it, or between it and an acquisition.
//!
//! Validated by `tests/suite/composition.rs`.

use crate::prior::PriorError;
use crate::spec::SpecError;

/// Why compartments don't make a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The text could not be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Two compartments of one name.
    #[error("two compartments are named `{name}`; give one another `name`")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A link, prior or range of a parameter that does not exist.
    #[error("[{table}]: there is no parameter `{name}`; this model has: {known}")]
    UnknownParameter {
        /// Table of the model file.
        table: &'static str,
        /// The name at fault.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// A link that can't be followed.
    #[error("[link] `{name}`: {reason}")]
    Link {
        /// The linked parameter.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A prior that is none.
    #[error("[prior] `{name}`: {source}")]
    Prior {
        /// The parameter.
        name: String,
        /// What is wrong.
        source: PriorError,
    },
    /// A prior of a form that the parameter does not take.
    #[error("[prior] `{name}`: {reason}")]
    PriorForm {
        /// The parameter.
        name: String,
        /// What it takes.
        reason: String,
    },
    /// A range that is none.
    #[error(
        "[range] `{name}`: [{low}, {high}] is empty, open below only, or leaves the physical domain [{domain_low}, {domain_high}]; \
         give two rising numbers inside it"
    )]
    Range {
        /// The parameter.
        name: String,
        /// As given.
        low: f64,
        /// As given.
        high: f64,
        /// Physical domain.
        domain_low: f64,
        /// Physical domain.
        domain_high: f64,
    },
    /// A prior or range of something that is not free.
    #[error("[{table}] `{name}` would have no effect: {reason}")]
    NoEffect {
        /// Table of the model file.
        table: &'static str,
        /// The parameter.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// More than the tables of the evaluation hold.
    #[error(
        "the model has {got} {what}; at most {most} are possible: fix some, or link them to others"
    )]
    TooMany {
        /// Of what.
        what: String,
        /// How many.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A deconvolution has no compartments to compose.
    #[error(
        "a spherical deconvolution is neither sampled nor composed with compartments; use it alone, in `fit`"
    )]
    Deconvolution,
    /// The acquisition lacks what a compartment needs.
    #[error(
        "compartment `{compartment}` needs the pulse timing; give --delta-ms and --big-delta-ms, or a scheme with delta and Delta"
    )]
    NeedsTiming {
        /// The compartment.
        compartment: String,
    },
    /// An encoding that a compartment has no signal for.
    #[error(
        "compartment `{compartment}` {reason}; measurement {measurement} (counted from 0) has b = {b_s_per_mm2} s/mm2 and b_delta {shape}: \
         leave such measurements out, or take another compartment"
    )]
    Encoding {
        /// The compartment.
        compartment: String,
        /// What it lacks.
        reason: &'static str,
        /// The first such measurement.
        measurement: usize,
        /// Its b-value in s/mm².
        b_s_per_mm2: f64,
        /// Its b_delta in words.
        shape: String,
    },
    /// Gradient nonlinearity with encodings that lose their symmetry by it.
    #[error(
        "compartment `{compartment}` {reason}, which gradient nonlinearity (--grad-dev) takes from every encoding but the linear one; \
         leave --grad-dev out, or the measurements with b_delta other than 1"
    )]
    Nonlinearity {
        /// The compartment.
        compartment: String,
        /// What it lacks.
        reason: &'static str,
    },
    /// The acquisition has no repetition times.
    #[error(
        "compartment `{compartment}` has t1 = true, which needs repetition times; give --tr-ms, or a scheme with TR_s (two or more of them, so that T1 can be told from s0)"
    )]
    NeedsRepetitionTime {
        /// The compartment.
        compartment: String,
    },
    /// The acquisition has no echo times.
    #[error(
        "compartment `{compartment}` has t2 = true, which needs echo times; give --te-ms, or a scheme with TE (two or more of them, so that T2 can be told from s0)"
    )]
    NeedsEchoTime {
        /// The compartment.
        compartment: String,
    },
    /// An expansion of fourth order of something else than a free tensor.
    #[error(
        "expansion = \"kurtosis\" is that of one tensor, without links and ranges; write [[compartment]] kind = \"tensor\" and nothing else, or take --model dki"
    )]
    Expansion,
    /// An expansion where signals of all parameters are needed.
    #[error(
        "the kurtosis expansion is a linear fit (`fit --model dki`); it has no likelihood, posterior or predicted signals"
    )]
    ExpansionOnly,
}
