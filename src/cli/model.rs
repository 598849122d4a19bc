//! From model flags to a model specification.

use super::flags::ModelFlags;
use anyhow::{Context, bail};
use microtome_datasets::{read_dictionary, read_responses};
use microtome_models::{
    DeconvolutionError, DeconvolutionSpec, ModelSpec, NoiseError, NoiseKind, NoiseSpec, SIDE_LOBES,
};
use std::path::{Path, PathBuf};

/// A model, its short name, and the folder that its relative paths start from.
#[derive(Debug, Clone)]
pub(crate) struct NamedModel {
    pub(crate) spec: ModelSpec,
    /// As given: preset, expression or file.
    pub(crate) text: String,
    /// Letters and digits only, for names of maps.
    pub(crate) label: String,
    pub(crate) folder: PathBuf,
}

impl ModelFlags {
    /// Reads the model.
    pub(crate) fn read(&self) -> anyhow::Result<NamedModel> {
        let mut model =
            if self.model.trim() == CSD { self.deconvolution()? } else { read(&self.model)? };
        let given = [self.response.is_some(), self.lmax.is_some(), self.side_lobes.is_some()];
        let given = OF_CSD.iter().zip(given).find(|(_, given)| *given);
        if model.spec.deconvolution.is_none()
            && let Some((flag, _)) = given
        {
            bail!("--{flag} goes with --model csd, but the model is {}", self.model);
        }
        model.spec.noise = self.noise(model.spec.noise)?;
        Ok(model)
    }

    /// The noise of the model file with what the flags say otherwise. A parameter of the
    /// file stays where `--noise` names the same kind.
    fn noise(&self, file: NoiseSpec) -> anyhow::Result<NoiseSpec> {
        if self.noise.is_none() && self.coils.is_none() && self.nu.is_none() {
            return Ok(file);
        }
        let kind = self.noise.as_deref().unwrap_or(file.kind.name());
        let (mut coils, mut nu) = (self.coils, self.nu);
        match file.kind {
            NoiseKind::NcChi { coils: n } if kind == "nc_chi" => coils = coils.or(Some(n.into())),
            NoiseKind::StudentT { nu: n } if kind == "student_t" => nu = nu.or(Some(n)),
            _ => {}
        }
        let flags = [
            self.noise.as_ref().map(|v| format!("--noise {v}")),
            self.coils.map(|v| format!("--coils {v}")),
            self.nu.map(|v| format!("--nu {v}")),
        ];
        let line = flags.into_iter().flatten().collect::<Vec<_>>().join(" ");
        NoiseSpec::new(kind, coils, nu).map_err(|e| match e {
            NoiseError::NoCoils => anyhow::anyhow!("{line}: {e}; give --coils N"),
            _ => anyhow::anyhow!("{line}: {e}"),
        })
    }
}

/// Flags that go with `--model csd` alone.
pub(crate) const OF_CSD: [&str; 3] = ["response", "lmax", "side-lobes"];

/// The flag at fault when a deconvolution does not fit the acquisition.
pub(crate) fn flag_at_fault(error: &DeconvolutionError) -> &'static str {
    match error {
        DeconvolutionError::Order { .. } | DeconvolutionError::Unknowns { .. } => " --lmax",
        DeconvolutionError::SideLobes { .. } => " --side-lobes",
        DeconvolutionError::ResponseShell { .. }
        | DeconvolutionError::SchemeShell { .. }
        | DeconvolutionError::Tissue { .. } => " --response",
        _ => "",
    }
}

/// The name of constrained spherical deconvolution.
pub(crate) const CSD: &str = "csd";

impl ModelFlags {
    /// The deconvolution of `--model csd`.
    fn deconvolution(&self) -> anyhow::Result<NamedModel> {
        let Some(path) = &self.response else {
            bail!(
                "--model csd needs --response FILE: the responses of the tissues, which `microtome response` estimates from the same data"
            );
        };
        if self.noise.as_deref().is_some_and(|n| n != "gaussian") {
            bail!(
                "--noise {}: --model csd is a least-squares fit (gaussian)",
                self.noise.as_deref().unwrap_or_default()
            );
        }
        let deconvolution = DeconvolutionSpec {
            lmax: self.lmax,
            side_lobes: self.side_lobes.unwrap_or(SIDE_LOBES),
            responses: read_responses(path).with_context(|| "--response")?,
        };
        let spec = ModelSpec { deconvolution: Some(deconvolution), ..ModelSpec::default() };
        Ok(NamedModel { spec, text: CSD.into(), label: CSD.into(), folder: PathBuf::new() })
    }
}

/// Reads a preset, an expression or a file.
pub(crate) fn read(text: &str) -> anyhow::Result<NamedModel> {
    let path = Path::new(text);
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    if !is_file {
        let mut spec = ModelSpec::parse(text).map_err(|e| anyhow::anyhow!("--model: {e}"))?;
        dictionaries(&mut spec, "--model", Path::new(""))?;
        return Ok(NamedModel {
            spec,
            text: text.into(),
            label: label(text),
            folder: PathBuf::new(),
        });
    }
    let content = std::fs::read_to_string(path)
        .with_context(|| format!("{text}: cannot read the model file"))?;
    let mut spec = ModelSpec::from_toml(&content).map_err(|e| anyhow::anyhow!("{text}: {e}"))?;
    dictionaries(&mut spec, text, path.parent().unwrap_or(Path::new("")))?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(NamedModel { spec, text: text.into(), label: label(&stem), folder })
}

/// Reads the dictionaries that a model names, relative to a folder.
fn dictionaries(spec: &mut ModelSpec, text: &str, folder: &Path) -> anyhow::Result<()> {
    spec.attach(|file, modes| -> anyhow::Result<_> {
        Ok(read_dictionary(&folder.join(file), modes)?)
    })
    .with_context(|| text.to_string())
}

/// Lower-case letters and digits, as BIDS labels are.
pub(crate) fn label(text: &str) -> String {
    let label: String =
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if label.is_empty() { "model".into() } else { label }
}
