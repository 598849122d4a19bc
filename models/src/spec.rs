//! A model as the user writes it: an expression, a preset or a TOML file.
//!
//! | form | example |
//! |---|---|
//! | expression | `"stick + zeppelin + ball"`; a second stick is `stick_2` |
//! | preset | `ball_stick` (see [`PRESETS`]) |
//! | TOML | `[[compartment]]`, `[link]`, `[prior]`, `[range]`, `[noise]` tables |
//!
//! Unknown keys, kinds and presets are errors that contain the word at fault.

use crate::compartment::{Compartment, by_kind};
use crate::dispersion::WatsonDispersed;
use crate::exchange::Karger;
use crate::link::LinkSpec;
use crate::noise::NoiseKind;
use crate::preset::PRESETS;
use crate::prior::PriorSpec;
use crate::relaxation::Relaxed;
use crate::size_distribution::GammaSizes;
use crate::spherical_mean::SphericalMean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A composed model, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Whether the data of a fit are the means of each shell over its directions:
    /// axes and dispersion drop out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spherical_mean: bool,
    /// The compartments in order.
    #[serde(rename = "compartment")]
    pub compartments: Vec<CompartmentSpec>,
    /// Links by parameter name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub link: BTreeMap<String, LinkSpec>,
    /// The noise.
    #[serde(default)]
    pub noise: NoiseSpec,
    /// Priors by parameter name; `fractions` for the simplex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prior: BTreeMap<String, PriorSpec>,
    /// Ranges by parameter name: bounds of the fit and cut of the prior.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub range: BTreeMap<String, [f64; 2]>,
}

/// One compartment, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct CompartmentSpec {
    /// Its name; the kind when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind, as `microtome info models` lists them.
    pub kind: String,
    /// The two kinds that a `karger` compartment exchanges water between; stick and
    /// zeppelin when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<[String; 2]>,
    /// Distribution of the diameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_distribution: Option<SizeDistribution>,
    /// Whether the signal decays with TE: parameter `t2_ms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub t2: bool,
    /// Dispersion of the axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<Dispersion>,
}

/// The distribution of the axes of a compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispersion {
    /// Axisymmetric: parameter `odi`.
    Watson,
}

/// The distribution of the radii of a compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeDistribution {
    /// Gamma density weighted by volume: parameters `alpha` and `beta` instead of `diameter`.
    Gamma,
}

impl CompartmentSpec {
    /// The compartment as written, with what modifies it.
    ///
    /// # Errors
    /// Unknown kinds, and modifiers that do not apply to the kind.
    pub fn build(&self) -> Result<Arc<dyn Compartment>, SpecError> {
        self.build_with(self.dispersion)
    }

    /// The spherical mean of the compartment as written: no axis, no dispersion.
    ///
    /// # Errors
    /// As [`CompartmentSpec::build`].
    pub fn build_mean(&self) -> Result<Arc<dyn Compartment>, SpecError> {
        self.build()?;
        Ok(SphericalMean::of(self.build_with(None)?))
    }

    fn build_with(
        &self,
        dispersion: Option<Dispersion>,
    ) -> Result<Arc<dyn Compartment>, SpecError> {
        check_kind(&self.kind)?;
        let refused = |modifier: &str, reason: &str| SpecError::Modifier {
            kind: self.kind.clone(),
            modifier: modifier.into(),
            reason: reason.into(),
        };
        let find =
            |kind: &str| by_kind(kind).ok_or_else(|| refused("kind", "it is not registered"));
        let mut kind = find(&self.kind)?;
        if let Some([first, second]) = &self.of {
            check_kind(first)?;
            check_kind(second)?;
            if self.kind != "karger" {
                return Err(refused("of", "only `karger` is made of two others"));
            }
            let pair = Karger::new(find(first)?, find(second)?);
            kind = Arc::new(pair.ok_or_else(|| {
                refused("of", "water is exchanged between two axisymmetric compartments, at least one with an axis")
            })?);
        }
        if self.size_distribution.is_some() {
            let sizes = GammaSizes::new(kind);
            kind = Arc::new(sizes.ok_or_else(|| {
                refused("size_distribution", "only a compartment with a `diameter` has sizes")
            })?);
        }
        match dispersion {
            None => {}
            Some(Dispersion::Watson) => {
                let dispersed = WatsonDispersed::new(kind).ok_or_else(|| {
                    refused("dispersion", "only an axisymmetric compartment with an axis disperses")
                })?;
                kind = Arc::new(dispersed);
            }
        }
        if self.t2 {
            let relaxed = Relaxed::new(kind);
            kind = Arc::new(relaxed.ok_or_else(|| refused("t2", "a full tensor has none"))?);
        }
        Ok(kind)
    }
}

/// The noise table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct NoiseSpec {
    /// The distribution of a measurement about the signal.
    pub kind: NoiseKind,
}

/// Why a model can't be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// An expression with an empty term.
    #[error(
        "model expression `{expression}`: a compartment is missing beside a `+`; write for instance \"stick + ball\""
    )]
    EmptyTerm {
        /// As given.
        expression: String,
    },
    /// Neither a preset nor made of known kinds.
    #[error(
        "`{word}` is neither a compartment nor a preset; compartments: {kinds}; presets: {presets}; a model file must end in .toml"
    )]
    Unknown {
        /// The word at fault.
        word: String,
        /// Known kinds.
        kinds: String,
        /// Known presets.
        presets: String,
    },
    /// A modifier that a kind does not take.
    #[error("compartment kind `{kind}`: `{modifier}` does not apply: {reason}")]
    Modifier {
        /// The kind.
        kind: String,
        /// The key of the model file.
        modifier: String,
        /// Why.
        reason: String,
    },
    /// Not valid TOML, or an unknown key.
    #[error("model file: {message}")]
    Toml {
        /// With line and key.
        message: String,
    },
}

impl ModelSpec {
    /// Reads an expression or the name of a preset.
    ///
    /// # Errors
    /// Unknown words and empty terms, by name.
    ///
    /// # Example
    /// ```
    /// use microtome_models::ModelSpec;
    /// let spec = ModelSpec::parse("stick + stick + ball")?;
    /// assert_eq!(spec.names(), ["stick", "stick_2", "ball"]);
    /// # Ok::<(), microtome_models::SpecError>(())
    /// ```
    pub fn parse(expression: &str) -> Result<Self, SpecError> {
        let text = expression.trim();
        if let Some(preset) = PRESETS.iter().find(|p| p.name == text) {
            return preset.spec();
        }
        let mut compartments = Vec::new();
        for term in text.split('+') {
            let kind = term.trim();
            if kind.is_empty() {
                return Err(SpecError::EmptyTerm { expression: expression.to_string() });
            }
            check_kind(kind)?;
            compartments
                .push(CompartmentSpec { kind: kind.to_string(), ..CompartmentSpec::default() });
        }
        Ok(Self { compartments, ..Self::default() })
    }

    /// Reads the text of a model file.
    ///
    /// # Errors
    /// TOML that is malformed, keys and kinds that do not exist.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        let spec: Self =
            toml::from_str(text).map_err(|e| SpecError::Toml { message: e.to_string() })?;
        if spec.compartments.is_empty() {
            return Err(SpecError::Toml { message: "there is no [[compartment]]".into() });
        }
        for c in &spec.compartments {
            c.build()?;
        }
        Ok(spec)
    }

    /// A compartment as the model has it: its spherical mean where the model is one
    /// of means.
    ///
    /// # Errors
    /// As [`CompartmentSpec::build`].
    pub fn build(&self, compartment: &CompartmentSpec) -> Result<Arc<dyn Compartment>, SpecError> {
        if self.spherical_mean { compartment.build_mean() } else { compartment.build() }
    }

    /// The names of the compartments: as given, else the kind, numbered from the
    /// second of a kind on.
    pub fn names(&self) -> Vec<String> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        self.compartments
            .iter()
            .map(|c| {
                if let Some(name) = &c.name {
                    return name.clone();
                }
                let count = seen.entry(&c.kind).or_default();
                *count += 1;
                if *count == 1 { c.kind.clone() } else { format!("{}_{count}", c.kind) }
            })
            .collect()
    }
}

fn check_kind(kind: &str) -> Result<(), SpecError> {
    if crate::compartment::by_kind(kind).is_some() {
        return Ok(());
    }
    let register = crate::compartment::register();
    let kinds: Vec<_> = register.iter().map(|c| c.kind()).collect();
    let presets: Vec<_> = PRESETS.iter().map(|p| p.name).collect();
    Err(SpecError::Unknown {
        word: kind.to_string(),
        kinds: kinds.join(", "),
        presets: presets.join(", "),
    })
}
