//! Fields of orientations of measured signals: deconvolution, orientation functions, tensors.
//!
//! Validated by `fields_of_signals_follow_the_fibre` in `tests/cli/track.rs`.

use super::TrackArgs;
use super::field::Field;
use super::settings::named;
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
    anisotropy_index,
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
        // The amplitude of an FOD tells isotropic voxels; crossings may have a low FA.
        let by_default = if model == SignalModel::Deconvolution { 0.0 } else { 0.1 };
        let lowest = [self.fa_threshold.unwrap_or(by_default), self.gfa_threshold.unwrap_or(0.0)];
        if lowest[1] > 0.0 && model == SignalModel::Tensor {
            bail!("--gfa-threshold: a tensor has no function; use --fa-threshold");
        }
        let tensor = match (model, lowest[0] > 0.0) {
            (SignalModel::Tensor, _) | (_, true) => {
                Some(tensor(&scheme.acquisition).with_context(of_scheme)?)
            }
            _ => None,
        };
        let signals = Signals { source: &source, geometry: &geometry, placement, tensor, lowest };
        let (field, inside) = match model {
            SignalModel::Tensor => self.tensors(&signals).with_context(of_scheme)?,
            SignalModel::Deconvolution => self.deconvolved(path, &signals, &scheme.acquisition)?,
            SignalModel::Function(model) => {
                self.functions(&signals, &scheme.acquisition, model).with_context(of_scheme)?
            }
        };
        let anisotropic = lowest.iter().any(|l| *l > 0.0).then_some(inside);
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

    fn tensors(&self, signals: &Signals) -> anyhow::Result<(Field, Vec<bool>)> {
        let rows = signals.rows(|_, d| (d.unwrap_or([0.0; 6]).map(|v| v as f32), true))?;
        let (values, inside): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let (shape, placement) = (signals.geometry.dims, signals.placement);
        let field =
            OrientationField::from_tensors(shape, &values, placement, self.interpolation()?)?;
        Ok((Field::Functions(Box::new(field)), inside))
    }

    fn functions(
        &self,
        signals: &Signals,
        acquisition: &Acquisition,
        model: OrientationModel,
    ) -> anyhow::Result<(Field, Vec<bool>)> {
        let order = self.sh_order.unwrap_or(4);
        let functions =
            OrientationFunctions::new(acquisition, model, order, self.sm_lambda, self.min_signal)?;
        let (shape, placement) = (signals.geometry.dims, signals.placement);
        let (bootstrap, interpolation) = (self.rule == "bootstrap", self.interpolation()?);
        let [_, lowest] = signals.lowest;
        let rows = signals.rows(|y, _| {
            let mut terms = Vec::new();
            if !bootstrap || lowest > 0.0 {
                functions.terms(y, &mut terms);
            }
            let inside = lowest <= 0.0 || functions.anisotropy(&terms) >= lowest;
            if bootstrap {
                let mut row = vec![0.0; functions.signal_width()];
                functions.signals(y, &mut row);
                return (row, inside);
            }
            (terms.iter().map(|t| *t as f32).collect(), inside)
        })?;
        let (values, inside): (Vec<Vec<f32>>, Vec<bool>) = rows.into_iter().unzip();
        let values = values.concat();
        if bootstrap {
            let lattice =
                Box::new(functions.signal_lattice(shape, values, &placement, interpolation)?);
            let (functions, placement) = (Box::new(functions), Box::new(placement));
            return Ok((Field::Signals { functions, lattice, placement }, inside));
        }
        Ok((
            Field::Functions(Box::new(functions.field(shape, values, placement, interpolation)?)),
            inside,
        ))
    }

    /// FODs by constrained spherical deconvolution, with the given response or that of the
    /// voxels in the mask.
    fn deconvolved(
        &self,
        path: &Path,
        signals: &Signals,
        acquisition: &Acquisition,
    ) -> anyhow::Result<(Field, Vec<bool>)> {
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
        let parts = signals.blocks(|block| {
            let mut state = deconvolver.state();
            let mut found = Vec::new();
            deconvolver.fit_each(block, &mut state, &mut found);
            let row = |v: &VoxelDeconvolution| {
                let empty = v.status == Status::InvalidSignal;
                v.fod.iter().map(|c| if empty { 0.0 } else { *c as f32 }).collect::<Vec<_>>()
            };
            let is_inside = |(y, v): (&[f64], &VoxelDeconvolution)| {
                signals.is_inside(signals.fit(y)) && anisotropy_index(&v.fod) >= signals.lowest[1]
            };
            let inside: Vec<bool> = signals.each(block).zip(&found).map(is_inside).collect();
            (found.iter().flat_map(row).collect::<Vec<f32>>(), inside)
        })?;
        let (values, inside): (Vec<Vec<f32>>, Vec<Vec<bool>>) = parts.into_iter().unzip();
        let field = OrientationField::from_harmonics(
            signals.geometry.dims,
            &values.concat(),
            HarmonicBasis::Mrtrix3,
            signals.placement,
            self.interpolation()?,
        )?;
        Ok((Field::Functions(Box::new(field)), inside.concat()))
    }
}

/// Measured signals and their tensors.
struct Signals<'a> {
    source: &'a SignalSource,
    geometry: &'a ImageGeometry,
    placement: Placement,
    /// Where tensors are needed.
    tensor: Option<LogTensor>,
    /// Lowest FA and GFA of a voxel that is followed.
    lowest: [f64; 2],
}

impl Signals<'_> {
    /// A value of every block of voxels, read and computed on all threads.
    fn blocks<T: Send>(&self, value: impl Fn(&[f64]) -> T + Sync) -> anyhow::Result<Vec<T>> {
        let n = self.source.n_rows();
        let starts: Vec<usize> = (0..n).step_by(BLOCK_ROWS).collect();
        let one = |start: &usize| {
            let block = self.source.read_rows(*start..(start + BLOCK_ROWS).min(n))?;
            Ok(value(&block.signals))
        };
        starts.par_iter().map(one).collect()
    }

    /// The signals of the voxels of a block.
    fn each<'a>(&self, block: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
        block.chunks_exact(self.source.n_measurements())
    }

    fn fit(&self, signals: &[f64]) -> Option<[f64; 6]> {
        self.tensor.as_ref().and_then(|t| t.fit(signals))
    }

    fn is_inside(&self, tensor: Option<[f64; 6]>) -> bool {
        self.lowest[0] <= 0.0 || tensor.is_some_and(|d| fa(d) >= self.lowest[0])
    }

    /// A value of every voxel by its signals and its tensor, and whether the voxel is followed (by its
    /// FA, and as the value says).
    fn rows<T: Send>(
        &self,
        value: impl Fn(&[f64], Option<[f64; 6]>) -> (T, bool) + Sync,
    ) -> anyhow::Result<Vec<(T, bool)>> {
        let row = |y: &[f64]| {
            let tensor = self.fit(y);
            let (value, inside) = value(y, tensor);
            (value, inside && self.is_inside(tensor))
        };
        let parts = self.blocks(|block| self.each(block).map(row).collect::<Vec<_>>())?;
        Ok(parts.into_iter().flatten().collect())
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
