//! What signals of a walk are differentiated by.
//!
//! | name | is | unit |
//! |---|---|---|
//! | `radius` | all lengths of the shape, by the first of them: radius, distance of planes, first semi-axis | µm |
//! | `diffusivity` | D | µm²/ms |
//! | `amplitude` | what all gradients are multiplied by, at 1 | none |
//!
//! Time steps stay. The estimator is that of `kernels/src/walk/derivative.rs`; it is valid
//! where paths are continuous in the parameters: between walls that mirror and do nothing else.
//! Validated by `models/tests/suite/derivatives.rs`.

use super::{Substrate, SubstrateError};
use microtome_kernels::walk::{Shape, Start};

pub(super) const REFUSED: &str = "derivatives need paths that are continuous in the parameters: free diffusion, planes without membranes, one cylinder, sphere, ellipsoid or capped cylinder without cell_um, uniform starts, and walls without permeability and surface relaxivity (each lets a path jump, which the pathwise estimator does not see); difference two simulations of other substrates";

/// A parameter of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// All lengths of the shape.
    Radius,
    /// The diffusivity.
    Diffusivity,
    /// The strength of all gradients, as a factor.
    Amplitude,
}

impl Parameter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Radius, Self::Diffusivity, Self::Amplitude];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Diffusivity => "diffusivity",
            Self::Amplitude => "amplitude",
        }
    }

    /// The unit that a derivative is over; empty where there is none.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Radius => "um",
            Self::Diffusivity => "um2/ms",
            Self::Amplitude => "",
        }
    }

    /// Its place among the slopes of a walk.
    pub(super) fn place(self) -> usize {
        match self {
            Self::Radius => 0,
            Self::Diffusivity => 1,
            Self::Amplitude => 2,
        }
    }
}

impl Substrate {
    /// The length along which [`Parameter::Radius`] is, µm; infinite without walls.
    pub(super) fn derivative_length(
        &self,
        parameters: &[Parameter],
    ) -> Result<f64, SubstrateError> {
        let wrong = |what: &str| Err(SubstrateError::Walk { what: what.into() });
        if matches!(self.start, Start::Given(_)) {
            return wrong(
                "derivatives are of walkers that start uniformly; given positions do not grow with the shape",
            );
        }
        match &self.shape {
            Shape::Free if parameters.contains(&Parameter::Radius) => {
                wrong("free diffusion has no radius; ask for diffusivity and amplitude")
            }
            Shape::Free => Ok(f64::INFINITY),
            Shape::Plates { separation, .. } => Ok(*separation),
            Shape::Cylinder { radius } | Shape::Sphere { radius } => Ok(*radius),
            Shape::Capped { radius, .. } => Ok(*radius),
            Shape::Ellipsoid { semi_axes } => Ok(semi_axes[0]),
            _ => wrong(REFUSED),
        }
    }
}
