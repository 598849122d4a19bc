//! A model as the user writes it: an expression, a preset or a TOML file.
//!
//! | form | example |
//! |---|---|
//! | expression | `"stick + zeppelin + ball"`; a second stick is `stick_2` |
//! | preset | `ball_stick` (see [`PRESETS`]) |
//! | TOML | `[[compartment]]`, `[link]`, `[prior]`, `[range]`, `[noise]` tables |
//!
//! Unknown keys, kinds and presets are errors that contain the word at fault.

use crate::deconvolution::DeconvolutionSpec;
use crate::link::LinkSpec;
use crate::noise::NoiseKind;
use crate::prior::PriorSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A composed model, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The compartments in order.
    #[serde(default, rename = "compartment", skip_serializing_if = "Vec::is_empty")]
    pub compartments: Vec<CompartmentSpec>,
    /// Spherical deconvolution, in place of compartments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deconvolution: Option<DeconvolutionSpec>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompartmentSpec {
    /// Its name; the kind when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind, as `microtome info models` lists them.
    pub kind: String,
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
    /// Not valid TOML, or an unknown key.
    #[error("model file: {message}")]
    Toml {
        /// With line and key.
        message: String,
    },
}

/// A model with a name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name for `--model`.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// The paper.
    pub reference: &'static str,
    toml: &'static str,
}

/// The presets.
pub const PRESETS: [Preset; 4] = [
    Preset {
        name: "ball_stick",
        meaning: "one stick and a ball, each with its own diffusivity",
        reference: "Behrens et al. 2003, doi:10.1002/mrm.10609",
        toml: "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"ball\"\n",
    },
    Preset {
        name: "ball_sticks_2",
        meaning: "two sticks of one diffusivity and a ball",
        reference: "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018",
        toml: "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"ball\"\n\
               [link]\n\"stick_2.lambda_par\" = { equal = \"stick.lambda_par\" }\n",
    },
    Preset {
        name: "ball_sticks_3",
        meaning: "three sticks of one diffusivity and a ball",
        reference: "Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018",
        toml: "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"stick\"\n\
               [[compartment]]\nkind = \"ball\"\n[link]\n\"stick_2.lambda_par\" = { equal = \"stick.lambda_par\" }\n\
               \"stick_3.lambda_par\" = { equal = \"stick.lambda_par\" }\n",
    },
    Preset {
        name: "stick_zeppelin_ball",
        meaning: "stick and zeppelin of one direction and one parallel diffusivity, and a ball",
        reference: "Panagiotaki et al. 2012, doi:10.1016/j.neuroimage.2011.09.081",
        toml: "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"zeppelin\"\n[[compartment]]\nkind = \"ball\"\n\
               [link]\n\"zeppelin.mu\" = { equal = \"stick.mu\" }\n\"zeppelin.lambda_par\" = { equal = \"stick.lambda_par\" }\n",
    },
];

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
            return Self::from_toml(preset.toml);
        }
        let mut compartments = Vec::new();
        for term in text.split('+') {
            let kind = term.trim();
            if kind.is_empty() {
                return Err(SpecError::EmptyTerm { expression: expression.to_string() });
            }
            check_kind(kind)?;
            compartments.push(CompartmentSpec { name: None, kind: kind.to_string() });
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
        if spec.compartments.is_empty() && spec.deconvolution.is_none() {
            return Err(SpecError::Toml { message: "there is no [[compartment]]".into() });
        }
        for c in &spec.compartments {
            check_kind(&c.kind)?;
        }
        Ok(spec)
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
    let kinds: Vec<_> = crate::compartment::register().iter().map(|c| c.kind()).collect();
    let presets: Vec<_> = PRESETS.iter().map(|p| p.name).collect();
    Err(SpecError::Unknown {
        word: kind.to_string(),
        kinds: kinds.join(", "),
        presets: presets.join(", "),
    })
}
