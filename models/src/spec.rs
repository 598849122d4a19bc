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
use crate::cumulant::Expansion;
use crate::deconvolution::DeconvolutionSpec;
use crate::dictionary::{DICTIONARY, Dictionary, DictionaryTissue};
use crate::dispersion::{BinghamDispersed, WatsonDispersed};
use crate::exchange::Karger;
use crate::link::LinkSpec;
use crate::noise::{COILS_MAX, NoiseKind, STUDENT_NU};
use crate::preset::PRESETS;
use crate::prior::PriorSpec;
use crate::relaxation::{Relaxation, Relaxed};
use crate::size_distribution::GammaSizes;
use crate::spherical_mean::SphericalMean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A composed model, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Whether the data of a fit are the means of each shell over its directions:
    /// axes and dispersion drop out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spherical_mean: bool,
    /// Where the expansion of ln S ends: `expansion = "kurtosis"` for one tensor.
    #[serde(default, skip_serializing_if = "Expansion::is_gaussian")]
    pub expansion: Expansion,
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
    /// Whether the signal recovers with TR: parameter `t1_ms`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub t1: bool,
    /// Gives a free axis to planes, which lie across the gradient otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oriented: bool,
    /// Dispersion of the axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<Dispersion>,
    /// The file of a `dictionary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// How many parts of the errors of a `dictionary` are parameters; 0 takes its
    /// signals for exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_modes: Option<usize>,
    /// What identifies the file of a `dictionary`: filled in when it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The `dictionary` itself, once it is read: [`ModelSpec::attach`].
    #[serde(skip)]
    pub dictionary: Option<Arc<Dictionary>>,
}

/// The distribution of the axes of a compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dispersion {
    /// Axisymmetric: parameter `odi`.
    Watson,
    /// A fan: parameters `odi`, `psi` and `beta_fraction`.
    Bingham,
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
        let of_dictionary = self.kind == DICTIONARY;
        let key = [
            ("file", self.file.is_some()),
            ("error_modes", self.error_modes.is_some()),
            ("content", self.content.is_some()),
        ];
        if let Some((key, _)) = key.iter().find(|(_, given)| *given && !of_dictionary) {
            return Err(refused(key, "only a `dictionary` has it"));
        }
        let mut kind = match &self.dictionary {
            Some(table) if of_dictionary => {
                Arc::new(DictionaryTissue::new(table.clone())) as Arc<dyn Compartment>
            }
            None if of_dictionary => return Err(SpecError::NoDictionary),
            _ => find(&self.kind)?,
        };
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
        if self.oriented && !kind.oriented() {
            kind = kind.with_axis().ok_or_else(|| {
                refused("oriented", "this kind has no axis; planes can be given one")
            })?;
        }
        if self.size_distribution.is_some() {
            let sizes = GammaSizes::new(kind);
            kind = Arc::new(sizes.ok_or_else(|| {
                refused("size_distribution", "only a compartment with a `diameter` has sizes")
            })?);
        }
        if self.t2 {
            let relaxed = Relaxed::new(kind, Relaxation::T2);
            kind = Arc::new(relaxed.ok_or_else(|| refused("t2", "a full tensor has none"))?);
        }
        if self.t1 {
            let relaxed = Relaxed::new(kind, Relaxation::T1);
            kind = Arc::new(relaxed.ok_or_else(|| refused("t1", "a full tensor has none"))?);
        }
        if let Some(dispersion) = dispersion {
            let dispersed: Option<Arc<dyn Compartment>> = match dispersion {
                Dispersion::Watson => WatsonDispersed::new(kind).map(|c| Arc::new(c) as _),
                Dispersion::Bingham => BinghamDispersed::new(kind).map(|c| Arc::new(c) as _),
            };
            kind = dispersed.ok_or_else(|| {
                refused("dispersion", "only an axisymmetric compartment with an axis disperses")
            })?;
        }
        Ok(kind)
    }
}

/// The noise table: `kind`, and `coils` or `nu` where the kind has one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(try_from = "NoiseTable", into = "NoiseTable")]
pub struct NoiseSpec {
    /// The distribution of a measurement about the signal.
    pub kind: NoiseKind,
}

/// The noise table, as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoiseTable {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coils: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nu: Option<f64>,
}

impl NoiseSpec {
    /// The noise of a kind's name with the parameters that were given.
    ///
    /// # Errors
    /// An unknown kind; a parameter that the kind does not have, or that is out of its
    /// range; `nc_chi` without its number of coils.
    pub fn new(kind: &str, coils: Option<i64>, nu: Option<f64>) -> Result<Self, NoiseError> {
        let foreign = |key, of| NoiseError::Foreign { key, kind: kind.to_string(), of };
        if coils.is_some() && kind != "nc_chi" && NoiseKind::NAMES.contains(&kind) {
            return Err(foreign("coils", "nc_chi"));
        }
        if nu.is_some() && kind != "student_t" && NoiseKind::NAMES.contains(&kind) {
            return Err(foreign("nu", "student_t"));
        }
        let kind = match kind {
            "gaussian" => NoiseKind::Gaussian,
            "rician" => NoiseKind::Rician,
            "nc_chi" => {
                let given = coils.ok_or(NoiseError::NoCoils)?;
                let coils = u32::try_from(given).ok().filter(|n| (1..=COILS_MAX).contains(n));
                NoiseKind::NcChi { coils: coils.ok_or(NoiseError::Coils { given })? }
            }
            "student_t" => {
                let nu = nu.unwrap_or(STUDENT_NU);
                if !(nu.is_finite() && nu > 0.0) {
                    return Err(NoiseError::Nu { given: nu });
                }
                NoiseKind::StudentT { nu }
            }
            word => return Err(NoiseError::Unknown { word: word.to_string() }),
        };
        Ok(Self { kind })
    }
}

impl TryFrom<NoiseTable> for NoiseSpec {
    type Error = NoiseError;

    fn try_from(table: NoiseTable) -> Result<Self, NoiseError> {
        Self::new(&table.kind, table.coils, table.nu)
    }
}

impl From<NoiseSpec> for NoiseTable {
    fn from(spec: NoiseSpec) -> Self {
        let mut table = Self { kind: spec.kind.name().to_string(), coils: None, nu: None };
        match spec.kind {
            NoiseKind::NcChi { coils } => table.coils = Some(coils.into()),
            NoiseKind::StudentT { nu } => table.nu = Some(nu),
            NoiseKind::Gaussian | NoiseKind::Rician => {}
        }
        table
    }
}

/// Why a noise can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// Not a kind.
    #[error("noise `{word}` is unknown; use {}", NoiseKind::NAMES.join(", "))]
    Unknown {
        /// The word at fault.
        word: String,
    },
    /// A parameter of another kind.
    #[error("noise {kind} has no `{key}`, which belongs to {of}; leave it out")]
    Foreign {
        /// The parameter.
        key: &'static str,
        /// The kind that was given.
        kind: String,
        /// The kind that has it.
        of: &'static str,
    },
    /// No number of coils.
    #[error(
        "noise nc_chi needs `coils`, the number of receive coils whose magnitudes were added as a root of a sum of squares (1 to {COILS_MAX}); 1 is Rician noise"
    )]
    NoCoils,
    /// A number of coils out of range.
    #[error("noise nc_chi: coils = {given}; a whole number from 1 to {COILS_MAX} is needed")]
    Coils {
        /// As given.
        given: i64,
    },
    /// Degrees of freedom that are not positive.
    #[error(
        "noise student_t: nu = {given}; the degrees of freedom are a positive number ({STUDENT_NU} when left out; the larger, the more Gaussian)"
    )]
    Nu {
        /// As given.
        given: f64,
    },
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
    /// A preset among the compartments of an expression.
    #[error(
        "model expression `{expression}`: `{preset}` is a preset, a whole model, and can't be a term; take compartments (it has {compartments}), or write a model file with their links"
    )]
    PresetTerm {
        /// As given.
        expression: String,
        /// The preset.
        preset: String,
        /// Its compartments.
        compartments: String,
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
    /// A dictionary without its table.
    #[error(
        "compartment kind `dictionary` needs its `file`, a table of `microtome simulate --sweep`: write file = \"signals.parquet\" under it in a model file, or --model dictionary:signals.parquet"
    )]
    NoDictionary,
    /// A dictionary whose table is another one.
    #[error(
        "{file} is not the table that the model was written with (`content` is {given}, that of the file {found}); take the old file, or remove the line"
    )]
    Content {
        /// The file.
        file: String,
        /// As given.
        given: String,
        /// That of the file.
        found: String,
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
            if let Some(file) = kind.strip_prefix(OF_FILE) {
                compartments.push(CompartmentSpec {
                    kind: DICTIONARY.into(),
                    file: Some(PathBuf::from(file.trim())),
                    ..CompartmentSpec::default()
                });
                continue;
            }
            if kind.is_empty() {
                return Err(SpecError::EmptyTerm { expression: expression.to_string() });
            }
            let is_preset = |p: &&crate::preset::Preset| p.name == kind;
            let preset = PRESETS.iter().find(is_preset);
            if let Some(preset) = preset.filter(|_| by_kind(kind).is_none()) {
                let kinds = preset.spec()?.compartments.into_iter().map(|c| c.kind);
                return Err(SpecError::PresetTerm {
                    expression: text.to_string(),
                    preset: kind.to_string(),
                    compartments: kinds.collect::<Vec<_>>().join(" + "),
                });
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
        if spec.compartments.is_empty() && spec.deconvolution.is_none() {
            return Err(SpecError::Toml { message: "there is no [[compartment]]".into() });
        }
        for c in &spec.compartments {
            // The file of a dictionary is read later.
            if c.kind != DICTIONARY || c.file.is_none() {
                c.build()?;
            }
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

    /// Gives every `dictionary` its table: `read` is called with the file as written and the
    /// number of parts of its errors. The specification then says what was read
    /// ([`Dictionary::content`]).
    ///
    /// # Errors
    /// Those of `read`; a file of other content than the specification says; compartments that
    /// cannot be built of it.
    pub fn attach<E: From<SpecError>>(
        &mut self,
        mut read: impl FnMut(&Path, Option<usize>) -> Result<Dictionary, E>,
    ) -> Result<(), E> {
        for c in self.compartments.iter_mut().filter(|c| c.kind == DICTIONARY) {
            let Some(file) = &c.file else { continue };
            let found = read(file, c.error_modes)?;
            if let Some(given) = c.content.take().filter(|hash| hash != found.content()) {
                let (file, found) = (file.display().to_string(), found.content().to_string());
                return Err(SpecError::Content { file, given, found }.into());
            }
            c.content = Some(found.content().to_string());
            c.dictionary = Some(Arc::new(found));
            c.build()?;
        }
        Ok(())
    }

    /// Whether this is one tensor with all parameters free: what log-linear fits know.
    pub fn is_lone_tensor(&self) -> bool {
        !self.spherical_mean
            && self.compartments.len() == 1
            && self.compartments.iter().all(|c| c.kind == "tensor")
            && self.link.is_empty()
            && self.range.is_empty()
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

/// What stands before the file of a dictionary in an expression.
const OF_FILE: &str = "dictionary:";

fn check_kind(kind: &str) -> Result<(), SpecError> {
    if kind == DICTIONARY || by_kind(kind).is_some() {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn with_noise(table: &str) -> Result<ModelSpec, SpecError> {
        ModelSpec::from_toml(&format!("[[compartment]]\nkind = \"ball\"\n[noise]\n{table}\n"))
    }

    #[test]
    fn a_preset_is_no_term() {
        let error = ModelSpec::parse("stick + noddi").unwrap_err().to_string();
        assert!(error.contains("`noddi` is a preset") && error.contains("zeppelin"), "{error}");
    }

    #[test]
    fn noise_tables_round_trip() {
        for (table, kind) in [
            ("kind = \"gaussian\"", NoiseKind::Gaussian),
            ("kind = \"rician\"", NoiseKind::Rician),
            ("kind = \"nc_chi\"\ncoils = 8", NoiseKind::NcChi { coils: 8 }),
            ("kind = \"student_t\"\nnu = 4.5", NoiseKind::StudentT { nu: 4.5 }),
            ("kind = \"student_t\"", NoiseKind::StudentT { nu: STUDENT_NU }),
        ] {
            let spec = with_noise(table).unwrap();
            assert_eq!(spec.noise.kind, kind);
            let text = toml::to_string(&spec).unwrap();
            assert_eq!(ModelSpec::from_toml(&text).unwrap(), spec);
        }
    }

    #[test]
    fn errors_of_noise_tables_name_the_key() {
        for (table, words) in [
            ("kind = \"poisson\"", ["poisson", "nc_chi"]),
            ("kind = \"nc_chi\"", ["coils", "1 to 64"]),
            ("kind = \"nc_chi\"\ncoils = 0", ["coils = 0", "1 to 64"]),
            ("kind = \"nc_chi\"\ncoils = 65", ["coils = 65", "1 to 64"]),
            ("kind = \"nc_chi\"\ncoils = 2.5", ["coils", "2.5"]),
            ("kind = \"nc_chi\"\ncoils = 4\nnu = 3.0", ["`nu`", "student_t"]),
            ("kind = \"student_t\"\nnu = -1.0", ["nu = -1", "positive"]),
            ("kind = \"student_t\"\nnu = inf", ["nu = inf", "positive"]),
            ("kind = \"rician\"\ncoils = 4", ["`coils`", "nc_chi"]),
            ("kind = \"gaussian\"\nnu = 4.0", ["`nu`", "student_t"]),
            ("kind = \"rician\"\nsigma = 4.0", ["sigma", "coils"]),
            ("coils = 4", ["kind", "missing"]),
        ] {
            let error = with_noise(table).unwrap_err().to_string();
            assert!(words.iter().all(|w| error.contains(w)), "{table}: {error}");
        }
    }
}
