//! Fields of orientations of measured signals: deconvolution, orientation functions, tensors.
//!
//! Validated by `fields_of_signals_follow_the_fibre` in `tests/cli/track.rs`.

use super::field::{Field, each_row};
use super::{TrackArgs, named};
use crate::cli::response;
use anyhow::{Context, bail};
use microtome_datasets::{ImageGeometry, SignalSource, read_responses, world_from_fsl};
use microtome_inference::deconvolution::{Deconvolver, ResponseEstimator, VoxelDeconvolution};
use microtome_inference::fit::{LogTensor, Status};
use microtome_kernels::eigen::eigen_3x3;
use microtome_models::tract::{
    OrientationField, OrientationFunctions, OrientationModel, Placement,
};
use microtome_models::{
    Acquisition, BLOCK_ROWS, DeconvolutionSpec, HarmonicBasis, LMAX_MAX, SIDE_LOBES, TensorMeasure,
};
use rayon::prelude::*;
use std::path::Path;

/// Voxels of the response, as `microtome response` takes by default.
const RESPONSE_VOXELS: usize = 300;

/// What is made of signals.
#[derive(Clone, Copy, PartialEq)]
enum SignalModel {
    Deconvolution,
    Function(OrientationModel),
    Tensor,
}

/// A field of signals, and the voxels whose tensor is anisotropic enough.
pub(super) struct Followed {
    pub(super) field: Field,
    pub(super) geometry: ImageGeometry,
    pub(super) anisotropic: Option<Vec<bool>>,
}

impl TrackArgs {
    /// FODs, orientation functions or tensors of signals, or what resamples the signals.
    pub(super) fn of_signals(&self, path: &Path) -> anyhow::Result<Followed> {
        let scheme = self.acquisition.read()?;
        let source = SignalSource::open(path, None)?;
        let Some(geometry) = source.geometry().cloned() else {
            bail!("--dwi {}: an image (.nii, .nii.gz) is needed", path.display())
        };
        let (found, expected) = (source.n_measurements(), scheme.acquisition.len());
        if found != expected {
            bail!(
                "{} has {found} measurements a voxel, but {} has {expected}; image and acquisition must \
                 come from the same scan",
                path.display(),
                scheme.file.display()
            );
        }
        let mut placement = Placement::world(geometry.affine);
        // A gradient table of FSL is in its own voxel axes, a scheme in those it says: world.
        if !self.in_world(self.acquisition.scheme.is_some())? {
            placement.world_from_field = world_from_fsl(&geometry.affine)?;
        }
        let model = self.signal_model()?;
        let of_scheme = || scheme.file.display().to_string();
        let field = match model {
            SignalModel::Tensor => {
                self.tensors(&source, &scheme.acquisition, placement).with_context(of_scheme)?
            }
            SignalModel::Deconvolution => {
                self.deconvolved(path, &source, &scheme.acquisition, placement)?
            }
            SignalModel::Function(model) => self
                .functions(&source, &scheme.acquisition, model, placement)
                .with_context(of_scheme)?,
        };
        // The amplitude of an FOD tells isotropic voxels; crossings may have a low FA.
        let by_default = if model == SignalModel::Deconvolution { 0.0 } else { 0.1 };
        let threshold = self.fa_threshold.unwrap_or(by_default);
        let anisotropic = if threshold > 0.0 {
            let tensor = tensor(&scheme.acquisition).with_context(of_scheme)?;
            Some(rows(&source, |y| tensor.fit(y).is_some_and(|d| fa(d) >= threshold))?)
        } else {
            None
        };
        Ok(Followed { field, geometry, anisotropic })
    }

    fn signal_model(&self) -> anyhow::Result<SignalModel> {
        let list = [
            ("csd", SignalModel::Deconvolution),
            ("csa", SignalModel::Function(OrientationModel::SolidAngle)),
            ("opdt", SignalModel::Function(OrientationModel::Probability)),
        ];
        match (&self.model_odf, self.rule.as_str()) {
            (Some(_), "tensor") => bail!(
                "--rule tensor follows the tensor of the signals; leave out --model-odf, or take another rule"
            ),
            (None, "tensor") => Ok(SignalModel::Tensor),
            (Some(name), "bootstrap") if name == "csd" => bail!(
                "--rule bootstrap resamples the signals of a function that is linear in them: use --model-odf csa or opdt"
            ),
            (Some(name), _) => named("model-odf", name, &list),
            (None, _) => bail!("--model-odf NAME is needed with --dwi: csd, csa or opdt"),
        }
    }

    fn tensors(
        &self,
        source: &SignalSource,
        acquisition: &Acquisition,
        placement: Placement,
    ) -> anyhow::Result<Field> {
        let tensor = tensor(acquisition)?;
        let zero = [0.0; 6];
        let values = rows(source, |y| tensor.fit(y).unwrap_or(zero).map(|v| v as f32))?;
        let shape = source.geometry().context("an image")?.dims;
        let field =
            OrientationField::from_tensors(shape, &values, placement, self.interpolation()?)?;
        Ok(Field::Functions(Box::new(field)))
    }

    fn functions(
        &self,
        source: &SignalSource,
        acquisition: &Acquisition,
        model: OrientationModel,
        placement: Placement,
    ) -> anyhow::Result<Field> {
        let order = self.sh_order.unwrap_or(4);
        let functions =
            OrientationFunctions::new(acquisition, model, order, self.sm_lambda, self.min_signal)?;
        let shape = source.geometry().context("an image")?.dims;
        if self.rule == "bootstrap" {
            let width = functions.signal_width();
            let mut values = vec![0.0; source.n_rows() * width];
            let mut rows = values.chunks_exact_mut(width);
            each_row(source, |signals| {
                if let Some(row) = rows.next() {
                    functions.signals(signals, row);
                }
            })?;
            let lattice = Box::new(functions.signal_lattice(shape, values, &placement)?);
            let (functions, placement) = (Box::new(functions), Box::new(placement));
            return Ok(Field::Signals { functions, lattice, placement });
        }
        let mut values = Vec::new();
        let mut terms = Vec::new();
        each_row(source, |signals| {
            functions.terms(signals, &mut terms);
            values.extend(terms.iter().map(|t| *t as f32));
        })?;
        Ok(Field::Functions(Box::new(functions.field(shape, values, placement)?)))
    }

    /// FODs by constrained spherical deconvolution, with the given response or that of the
    /// voxels in the mask.
    fn deconvolved(
        &self,
        path: &Path,
        source: &SignalSource,
        acquisition: &Acquisition,
        placement: Placement,
    ) -> anyhow::Result<Field> {
        let responses = match &self.response {
            Some(file) => read_responses(file).context("--response")?,
            None => {
                let estimator = ResponseEstimator::new(acquisition)?;
                let voxels = SignalSource::open(path, self.mask.as_deref())?;
                let tournier = response::Estimate {
                    algorithm: "tournier",
                    lmax: self.sh_order.unwrap_or(8).min(LMAX_MAX),
                    number: RESPONSE_VOXELS,
                    of: path,
                };
                let (responses, _) = tournier.run(&estimator, &voxels)?;
                responses
                    .check()
                    .context("the estimated response is of no use; is --mask right?")?;
                responses
            }
        };
        let spec = DeconvolutionSpec { lmax: self.sh_order, side_lobes: SIDE_LOBES, responses };
        let deconvolver = Deconvolver::new(&spec, acquisition)?;
        let blocks: Vec<usize> = (0..source.n_rows()).step_by(BLOCK_ROWS).collect();
        let parts = blocks
            .par_iter()
            .map(|start| {
                let block = source.read_rows(*start..(start + BLOCK_ROWS).min(source.n_rows()))?;
                let mut state = deconvolver.state();
                let mut found = Vec::new();
                deconvolver.fit_each(&block.signals, &mut state, &mut found);
                let row = |v: &VoxelDeconvolution| {
                    let empty = v.status == Status::InvalidSignal;
                    v.fod.iter().map(|c| if empty { 0.0 } else { *c as f32 }).collect::<Vec<_>>()
                };
                Ok(found.iter().flat_map(row).collect::<Vec<f32>>())
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let field = OrientationField::from_harmonics(
            source.geometry().context("an image")?.dims,
            &parts.concat(),
            HarmonicBasis::Mrtrix3,
            placement,
            self.interpolation()?,
        )?;
        Ok(Field::Functions(Box::new(field)))
    }
}

fn tensor(acquisition: &Acquisition) -> anyhow::Result<LogTensor> {
    LogTensor::new(acquisition).context(
        "the directions do not determine a tensor (b = 0 and 6 directions are needed); --fa-threshold 0 needs none",
    )
}

fn fa(d: [f64; 6]) -> f64 {
    let matrix = [[d[0], d[3], d[4]], [d[3], d[1], d[5]], [d[4], d[5], d[2]]];
    TensorMeasure::Fa.evaluate(eigen_3x3(matrix).0).0
}

/// A value of every voxel.
fn rows<T>(source: &SignalSource, value: impl Fn(&[f64]) -> T) -> anyhow::Result<Vec<T>> {
    let mut out = Vec::with_capacity(source.n_rows());
    each_row(source, |signals| out.push(value(signals)))?;
    Ok(out)
}
