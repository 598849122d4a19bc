//! The design of experiments: what to expect of an acquisition, and the search for a
//! better one within the limits of a scanner.
//!
//! The criterion and its derivative with respect to the acquisition are equations and
//! stand in [`microtome_models::information`]; here they are tabulated ([`Expected`]) and
//! descended ([`optimise`]).
//!
//! Validated by `tests/suite/design.rs`.

mod descent;
mod expected;
mod limits;
mod protocol;
mod repulsion;
mod search;

pub use expected::{Expectation, Expected, SetExpectation, ShellLoss};
pub use limits::{DesignError, Limits};
pub use protocol::{Protocol, PulseShell};
pub use repulsion::repelled_axes;
pub use search::{Design, DesignSearch, optimise};
