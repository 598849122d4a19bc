//! What a parameter is: its name, unit, range and scale.

use serde::Serialize;

/// The unit of a parameter; also the suffix at public boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Diffusivity, µm²/ms (= 1e-9 m²/s = 1e-3 mm²/s).
    SquareMicrometrePerMillisecond,
    /// Permeability, µm/ms (= 1e-3 m/s).
    MicrometrePerMillisecond,
    /// Length, µm.
    Micrometre,
    /// Time, ms.
    Millisecond,
    /// Area, µm².
    SquareMicrometre,
    /// Angle, rad.
    Radian,
    /// A number without unit.
    One,
    /// The unit of the signals.
    Signal,
}

impl Unit {
    /// The unit as text.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::SquareMicrometrePerMillisecond => "um^2/ms",
            Unit::MicrometrePerMillisecond => "um/ms",
            Unit::Millisecond => "ms",
            Unit::Micrometre => "um",
            Unit::SquareMicrometre => "um^2",
            Unit::Radian => "rad",
            Unit::One => "1",
            Unit::Signal => "signal",
        }
    }
}

/// The declaration of a scalar parameter, beside its compartment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParameterSpec {
    /// Name inside the compartment, such as `lambda_par`.
    pub name: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Default range: support of the default (uniform) prior and bounds of a fit. Without
    /// ends the parameter is a [nuisance](ParameterSpec::is_nuisance).
    pub range: [f64; 2],
    /// A typical size, for starts and reports.
    pub scale: f64,
    /// The physical domain: no prior reaches outside.
    pub domain: [f64; 2],
    /// The value when a user says nothing; such a parameter is fixed.
    pub default: Option<f64>,
    /// The period of an angle, if it is one.
    pub period: Option<f64>,
    /// What it means.
    pub meaning: &'static str,
}

impl ParameterSpec {
    /// Whether this is an error of known size in its own standard deviations, such as that of
    /// a simulation: a parameter without a range. It is free although it has a default, has a
    /// standard normal prior, and fits count this prior too.
    pub fn is_nuisance(&self) -> bool {
        self.range == [f64::NEG_INFINITY, f64::INFINITY]
    }
}

/// The domain of what must be greater than zero, such as a size.
pub const POSITIVE: [f64; 2] = [f64::MIN_POSITIVE, f64::INFINITY];

/// A domain in words, for messages: `between 0 and 1`, `greater than 0`.
pub fn domain_text([low, high]: [f64; 2]) -> String {
    let from = if low == f64::MIN_POSITIVE {
        "greater than 0".to_string()
    } else {
        format!("at least {low}")
    };
    match (low, high) {
        (f64::NEG_INFINITY, f64::INFINITY) => "a finite number".into(),
        (_, f64::INFINITY) => from,
        (f64::MIN_POSITIVE, _) => format!("{from} and at most {high}"),
        _ => format!("between {low} and {high}"),
    }
}

/// A diffusivity with the default range 0.05 to 4 µm²/ms.
///
/// The range covers fixed tissue (0.1) and free water at 37 °C (3.0) with room
/// for noise on both sides.
pub(crate) const fn diffusivity(name: &'static str, meaning: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        unit: Unit::SquareMicrometrePerMillisecond,
        range: [0.05, 4.0],
        scale: 1.0,
        domain: [0.0, f64::INFINITY],
        default: None,
        period: None,
        meaning,
    }
}

/// A diffusivity inside a pore, fixed at 1.7 µm²/ms unless the user frees it.
pub(crate) const fn intrinsic(name: &'static str, meaning: &'static str) -> ParameterSpec {
    ParameterSpec { default: Some(1.7), ..diffusivity(name, meaning) }
}

/// The size of a pore with the default range 0.1 to `largest` µm.
///
/// Signals do not depend on smaller sizes: at 0.1 µm a cylinder differs from a stick
/// by less than 1e-6 on any scanner.
pub(crate) const fn size(name: &'static str, largest: f64, meaning: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        unit: Unit::Micrometre,
        range: [0.1, largest],
        scale: 5.0,
        domain: POSITIVE,
        default: None,
        period: None,
        meaning,
    }
}

/// The largest pore of the exact kinds, µm: the degree of their polynomials resolves
/// $\gamma GR\delta \le 30$ at $D\delta/R^2 \ge 10^{-4}$, which fixed tissue
/// (0.05 µm²/ms) at b = 40 ms/µm² and δ = 3 ms reaches at this size. The signal of a
/// larger pore is near that of free diffusion.
pub(crate) const LARGEST_EXACT: f64 = 50.0;

/// The size of a pore of an exact kind: [`size`], in the domain up to
/// [`LARGEST_EXACT`] µm.
pub(crate) const fn exact_size(
    name: &'static str,
    largest: f64,
    meaning: &'static str,
) -> ParameterSpec {
    ParameterSpec { domain: [f64::MIN_POSITIVE, LARGEST_EXACT], ..size(name, largest, meaning) }
}
