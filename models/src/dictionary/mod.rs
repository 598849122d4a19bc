//! Simulated dictionaries: signals on a grid of parameters as a compartment.
//!
//! $$E(g;\theta) = \sum_k c_{s,k}(\theta)\,P_{2k}(g\cdot\mu),\qquad
//!   c = c^{(0)}(\theta) + \sum_j z_j\,c^{(j)}(\theta),\quad z_j\sim\mathcal N(0,1)$$
//!
//! A substrate that is simulated over a grid of parameters θ, at a few angles to its axis on
//! every shell of an acquisition, becomes a compartment like any other: a Legendre series a
//! shell ([`crate::ZonalSeries`]) whose coefficients are splines through the grid
//! ([`microtome_kernels::spline`]). So its axis is free, and it can be dispersed, linked and
//! composed. It knows the shells that were simulated, and no others.
//!
//! The errors of the simulation are not independent from measurement to measurement, as all
//! come from the same walkers. Their covariance is known from batches of walkers, and its
//! parts $c^{(j)}$ are parameters `error_j` of the compartment with a standard
//! normal prior: whatever the noise of the data, the posterior and the fit count what the
//! simulation does not know.
//!
//! | module | idea |
//! |---|---|
//! | `table` | signals on a grid, as they are simulated or read |
//! | `error_modes` | the parts of the errors that count |
//! | `interpolant` | splines through a table and these parts, errors of interpolation |
//! | `tissue` | a dictionary as a compartment |
//! | `sweep` | which parameters of a substrate vary, and where they are simulated |
//!
//! | symbol | is |
//! |---|---|
//! | $\theta$ | parameters of the substrate, in the units of their names |
//! | $s, k$ | shell, half the order |
//! | $z_j$ | how far the simulation is off along a part of its errors |
//!
//! Source: an uncertain simulator inside a likelihood: Kennedy & O'Hagan 2001,
//! doi:10.1111/1467-9868.00294, sec. 4. Validated by
//! `models/tests/suite/dictionary.rs` and `inference/tests/suite/dictionary.rs`.

mod error_modes;
mod interpolant;
mod sweep;
mod table;
mod tissue;

pub use interpolant::{Dictionary, LeftOut};
pub use sweep::{
    Observation, Spacing, Sweep, SweepAxis, SweepOptions, SweepSpec, Swept, Symmetry, Walked,
};
pub use table::{DictionaryAxis, DictionaryError, DictionaryShell, DictionaryTable};
pub use tissue::DictionaryTissue;

/// The name of the kind in model files and expressions.
pub const DICTIONARY: &str = "dictionary";
/// Most parts of the errors of a simulation that a model has when it is not told.
pub const ERROR_MODES: usize = 8;
