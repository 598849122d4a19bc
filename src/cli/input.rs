//! The input of a voxelwise run: signals, acquisition, model and noise level,
//! checked against each other before anything is written.

use super::flags::{AcquisitionFlags, DataFlags, ModelFlags};
use super::model::NamedModel;
use super::scheme::Scheme;
use anyhow::{Context, bail};
use microtome_datasets::{
    GradientDeviations, SignalSource, content_hash, numbers_hash, world_from_fsl,
};
use microtome_models::{
    BLOCK_ROWS, FreeKind, Job, Model, Repeats, RunSpec, SearchSpec, ShellMeans, SigmaSpec,
    VoxelBatch,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The word of `--sigma` for repeated b = 0 images.
pub(crate) const REPEATED_B0: &str = "b0";

/// An open and checked input.
pub(crate) struct Input {
    pub(crate) source: SignalSource,
    pub(crate) spec: RunSpec,
    pub(crate) model: NamedModel,
    /// The compiled model; none of a deconvolution.
    pub(crate) compiled: Option<Model>,
    /// Input files by flag, absolute.
    pub(crate) files: BTreeMap<String, PathBuf>,
    pub(crate) warnings: Vec<String>,
    sigma: Option<Vec<f64>>,
    fixed: Vec<Vec<f64>>,
    deviations: Option<GradientDeviations>,
}

impl Input {
    /// Opens the files and checks that they fit.
    pub(crate) fn open(
        job: Job,
        acquisition: &AcquisitionFlags,
        model: &ModelFlags,
        data: &DataFlags,
        search: SearchSpec,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let responses = model.response.clone();
        let mut model = model.read()?;
        let mut scheme = acquisition.read()?;
        let compiled = match &mut model.spec.deconvolution {
            Some(deconvolution) if job == Job::Fit => {
                if data.sigma.is_some() {
                    bail!("--sigma has no effect with --model csd, which is a least-squares fit");
                }
                deconvolution
                    .resolve(&scheme.acquisition)
                    .with_context(|| format!("--model csd with {}", scheme.file.display()))?;
                None
            }
            _ => {
                let compiled = Model::new(model.spec.clone())
                    .with_context(|| format!("--model {}", model.text))?;
                compiled.check(&scheme.acquisition).with_context(|| {
                    format!("--model {} with {}", model.text, scheme.file.display())
                })?;
                check_b0(&compiled, &scheme)?;
                Some(compiled)
            }
        };
        let source = SignalSource::open(&data.dwi, data.mask.as_deref())?;
        if compiled.is_none()
            && acquisition.bvec.is_some()
            && let Some(geometry) = source.geometry()
        {
            // FODs are kept in world axes, so the directions are turned to them.
            scheme.acquisition = scheme.acquisition.turned(&world_from_fsl(&geometry.affine)?);
        }
        let (found, expected) = (source.n_measurements(), scheme.acquisition.len());
        if found != expected {
            bail!(
                "{} has {found} measurements a voxel, but {} has {expected}; image and acquisition must come from the same scan",
                data.dwi.display(),
                scheme.file.display()
            );
        }
        let mut warnings = Vec::new();
        let degrees = compiled.as_ref().map_or(0, Model::degrees_of_freedom);
        let (count, what) = if model.spec.spherical_mean {
            (ShellMeans::new(&scheme.acquisition).members().len(), "shell means and b=0 images")
        } else {
            (expected, "measurements")
        };
        if count <= degrees {
            warnings.push(format!(
                "{count} {what} for {degrees} degrees of freedom: the data can't determine this model"
            ));
        }
        let (sigma_spec, sigma) = read_sigma(data, &source)?;
        let deviations = match &data.grad_dev {
            None => None,
            Some(path) => {
                let Some(compiled) = &compiled else {
                    bail!("--grad-dev: --model {} has no correction for it", model.text)
                };
                compiled.check_nonlinearity(&scheme.acquisition).with_context(|| {
                    format!("--model {} with {}", model.text, scheme.file.display())
                })?;
                Some(GradientDeviations::open(path, &source)?)
            }
        };
        if sigma_spec == SigmaSpec::RepeatedB0 {
            Repeats::new(&scheme.acquisition)
                .with_context(|| format!("--sigma b0 with {}", scheme.file.display()))?;
        }
        let mut fixed = Vec::new();
        let mut files = BTreeMap::new();
        for (name, path) in compiled.iter().flat_map(Model::per_voxel) {
            let path = model.folder.join(path);
            let values = source.read_scalars(&path)?;
            check_finite(&path, &values, name)?;
            files.insert(format!("fixed {name}"), path);
            fixed.push(values);
        }
        let flags = [
            ("dwi", Some(&data.dwi)),
            ("mask", data.mask.as_ref()),
            ("bval", acquisition.bval.as_ref()),
            ("bvec", acquisition.bvec.as_ref()),
            ("bdelta", acquisition.bdelta.as_ref()),
            ("scheme", acquisition.scheme.as_ref()),
            ("waveform", acquisition.waveform.as_ref()),
            ("response", responses.as_ref()),
            ("grad-dev", data.grad_dev.as_ref()),
        ];
        for (name, path) in flags {
            if let Some(path) = path {
                files.insert(name.to_string(), path.clone());
            }
        }
        if sigma.is_some()
            && let Some(path) = &data.sigma
        {
            files.insert("sigma".into(), PathBuf::from(path));
        }
        for path in files.values_mut() {
            *path = std::path::absolute(&*path)?;
        }
        let spec = RunSpec {
            job,
            model: model.spec.clone(),
            acquisition: scheme.acquisition.clone(),
            sigma: sigma_spec,
            search,
            seed,
        };
        Ok(Self { source, spec, model, compiled, files, warnings, sigma, fixed, deviations })
    }

    /// Rows of the whole input.
    pub(crate) fn rows(&self) -> usize {
        self.source.n_rows()
    }

    /// Blocks of the whole input.
    pub(crate) fn blocks(&self) -> usize {
        self.rows().div_ceil(BLOCK_ROWS)
    }

    /// The voxels of a block.
    pub(crate) fn block(&self, block: usize) -> anyhow::Result<VoxelBatch> {
        let start = block * BLOCK_ROWS;
        self.range(start..(start + BLOCK_ROWS).min(self.rows()))
    }

    /// The voxels of a range of rows.
    pub(crate) fn range(&self, range: Range<usize>) -> anyhow::Result<VoxelBatch> {
        let rows = self.source.read_rows(range.clone())?;
        let deviations = self.deviations.as_ref();
        Ok(VoxelBatch {
            grad_dev: deviations.map(|d| d.read_rows(&self.source, range.clone())).transpose()?,
            row: range.clone().map(|r| r as u64).collect(),
            voxel: rows.voxel,
            ijk: rows.ijk,
            signals: rows.signals,
            measurements: self.source.n_measurements(),
            sigma: self.sigma.as_ref().map(|s| s[range.clone()].to_vec()),
            fixed: self.fixed.iter().map(|f| f[range.clone()].to_vec()).collect(),
        })
    }

    /// The specification as JSON.
    pub(crate) fn spec_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&self.spec)?)
    }

    /// Hash of all that decides the results but the content of the blocks, of
    /// which the first, the middle and the last stand for all.
    pub(crate) fn identity(&self) -> anyhow::Result<String> {
        let spec = self.spec_json()?;
        let dims = self.source.geometry().map_or([0; 3], |g| g.dims);
        let shape = format!("{} {} {dims:?}", self.rows(), self.source.n_measurements());
        let mut pieces = vec![spec, version().into(), simd().into(), shape];
        let last = self.blocks().saturating_sub(1);
        for block in [0, last / 2, last] {
            pieces.push(key(block, &self.block(block)?));
        }
        let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
        Ok(content_hash(&pieces))
    }

    /// Default priors that are set from each voxel's data, in words.
    pub(crate) fn data_dependent_priors(&self) -> Vec<String> {
        let mut out = Vec::new();
        let Some(compiled) = self.compiled.as_ref().filter(|_| self.spec.job == Job::Sample) else {
            return out;
        };
        if !self.spec.search.prior.is_independent() {
            let prior = self.spec.search.prior.name();
            out.push(format!(
                "{prior}: where s0 or sigma have no prior of the user, their population is centred on that of the average voxel"
            ));
            return out;
        }
        if compiled.free().iter().any(|f| f.kind == FreeKind::Scale && f.prior.is_none()) {
            out.push("s0: lognormal(log of the mean b=0 signal of the voxel, 0.5)".into());
        }
        if self.spec.sigma == SigmaSpec::Free && compiled.sigma_prior().is_none() {
            out.push("sigma: lognormal(log of the mean b=0 signal of the voxel / 25, 1)".into());
        }
        out
    }
}

/// The name of a block's content: equal rows, equal key.
pub(crate) fn key(block: usize, batch: &VoxelBatch) -> String {
    let floats = |values: &[f64]| numbers_hash(values).to_vec();
    let mut pieces = vec![(block as u64).to_le_bytes().to_vec()];
    pieces.push(batch.row.iter().flat_map(|r| r.to_le_bytes()).collect());
    pieces.push(batch.voxel.iter().flat_map(|v| v.to_le_bytes()).collect());
    pieces.push(floats(&batch.signals));
    pieces.push(floats(batch.sigma.as_deref().unwrap_or_default()));
    pieces.extend(batch.fixed.iter().map(|f| floats(f)));
    pieces.extend(batch.grad_dev.iter().map(|l| floats(l)));
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    content_hash(&pieces)
}

/// The version of this program.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The SIMD level in use.
pub(crate) fn simd() -> &'static str {
    microtome_kernels::simd::level().name()
}

pub(crate) fn check_b0(model: &Model, scheme: &Scheme) -> anyhow::Result<()> {
    if model.scale_is_free() && scheme.acquisition.b0_measurements().next().is_none() {
        bail!(
            "{} has no b=0 measurement (b <= 50 s/mm2), which the free scale s0 needs; \
             keep the b=0 images in the data, or divide the signals by S0 and fix it in the model file: [link] s0 = {{ fixed = 1.0 }}",
            scheme.file.display()
        );
    }
    Ok(())
}

fn check_finite(path: &Path, values: &[f64], what: &str) -> anyhow::Result<()> {
    if let Some(row) = values.iter().position(|v| !v.is_finite()) {
        bail!(
            "{}: the value of {what} in row {row} is {}; it must be finite",
            path.display(),
            values[row]
        );
    }
    Ok(())
}

fn read_sigma(
    data: &DataFlags,
    source: &SignalSource,
) -> anyhow::Result<(SigmaSpec, Option<Vec<f64>>)> {
    let Some(text) = &data.sigma else { return Ok((SigmaSpec::Free, None)) };
    if let Ok(value) = text.parse::<f64>() {
        if !(value.is_finite() && value > 0.0) {
            bail!("--sigma {text}: a noise level is a positive number in the unit of the signals");
        }
        return Ok((SigmaSpec::Known(value), None));
    }
    if text == REPEATED_B0 {
        return Ok((SigmaSpec::RepeatedB0, None));
    }
    let path = Path::new(text);
    if !path.exists() {
        bail!("--sigma {text}: is neither a number nor a file, nor `{REPEATED_B0}`");
    }
    let values = source.read_scalars(path)?;
    if let Some(row) = values.iter().position(|v| !(v.is_finite() && *v > 0.0)) {
        bail!(
            "{text}: the noise level in row {row} is {}; it must be positive and finite inside the mask",
            values[row]
        );
    }
    Ok((SigmaSpec::PerVoxel, Some(values)))
}
