//! What `microtome track` follows, from its files.

use super::TrackArgs;
use super::settings::named;
use super::signals::Followed;
use crate::cli::frame::{floats, integers};
use anyhow::{Context, bail};
use microtome_datasets::{
    ImageGeometry, SignalSource, TableReader, world_from_fsl, world_from_voxel_axes,
};
use microtome_models::tract::{
    Interpolation, OrientationField, OrientationFunctions, PeakField, Placement, Rule, StickField,
    Tracking, TrackingError, TrackingSpec,
};
use microtome_models::{HarmonicBasis, anisotropy_index, harmonic_order};
use std::path::Path;

/// Rows of an image that are read at once.
const ROWS: usize = 4096;
/// How often residuals are drawn where the function has no peak in the cone.
const ATTEMPTS: u32 = 5;

/// A field in memory.
pub(crate) enum Field {
    Functions(Box<OrientationField>),
    Signals {
        functions: Box<OrientationFunctions>,
        lattice: Box<microtome_models::tract::Lattice<f32>>,
        placement: Box<Placement>,
    },
    Peaks(Box<PeakField>),
    Sticks(Box<StickField>),
}

impl Field {
    pub(crate) fn placement(&self) -> &Placement {
        match self {
            Field::Functions(field) => field.placement(),
            Field::Signals { placement, .. } => placement,
            Field::Peaks(field) => field.placement(),
            Field::Sticks(field) => &field.placement,
        }
    }

    /// Voxels with numbers that are not finite.
    pub(crate) fn invalid(&self) -> usize {
        match self {
            Field::Functions(field) => field.invalid(),
            _ => 0,
        }
    }

    /// What is followed, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Field::Functions(field) => format!("functions of order {}", field.order()),
            Field::Signals { functions, .. } => {
                format!("resampled signals, functions of order {}", functions.order())
            }
            Field::Peaks(field) => format!("up to {} peaks a voxel", field.count()),
            Field::Sticks(field) => format!("{} draws of {} sticks", field.draws, field.count),
        }
    }

    /// The run over it; `rule` is that of a field of functions, `draw` the posterior draw of the
    /// whole field.
    pub(crate) fn tracking(
        &self,
        rule: Rule,
        spec: TrackingSpec,
        draw: Option<u32>,
    ) -> Result<Tracking<'_>, TrackingError> {
        match self {
            Field::Functions(field) => Tracking::over_field(field, rule, spec),
            Field::Signals { functions, lattice, placement } => Tracking::over_signals(
                lattice,
                **placement,
                functions.resampling(),
                functions.order(),
                ATTEMPTS,
                spec,
            ),
            Field::Peaks(field) => Tracking::over_peaks(field, spec),
            Field::Sticks(field) => Tracking::over_sticks(field, draw, spec),
        }
    }
}

impl TrackArgs {
    /// The field, the grid of its image and where it is anisotropic; `grid` is that of the mask of
    /// the seeds.
    pub(super) fn field(&self, grid: Option<&ImageGeometry>) -> anyhow::Result<Followed> {
        let given = [&self.fod, &self.dwi, &self.peaks, &self.posterior].map(Option::is_some);
        match given.iter().filter(|g| **g).count() {
            0 => bail!(
                "--fod, --dwi, --peaks or --posterior is needed: what streamlines follow (fit --model csd \
                 writes FODs and peaks, sample --model ball_stick a posterior)"
            ),
            1 => {}
            _ => bail!("--fod, --dwi, --peaks and --posterior each describe the field; give one"),
        }
        if self.peaks.is_some() && self.rule != "closest" {
            bail!("--peaks are followed by --rule closest, not {}; give --fod for it", self.rule);
        }
        if (self.rule == "posterior") != self.posterior.is_some() {
            bail!("--rule posterior and --posterior FILE need each other");
        }
        if self.rule == "bootstrap" && self.dwi.is_none() {
            bail!("--rule bootstrap resamples signals: it needs --dwi and the acquisition");
        }
        if self.rule == "tensor" && self.dwi.is_none() {
            bail!(
                "--rule tensor follows the tensor of signals: it needs --dwi and the acquisition"
            );
        }
        if let Some(path) = &self.dwi {
            return self.of_signals(path);
        }
        if self.fa_threshold.is_some() {
            bail!(
                "--fa-threshold: the FA is that of the tensor of signals, which --dwi gives; use --mask or --stop"
            );
        }
        if let Some(path) = &self.fod {
            return self.of_coefficients(path);
        }
        if self.gfa_threshold.is_some() {
            bail!(
                "--gfa-threshold: the GFA is that of functions, which --fod or --dwi gives; use --threshold or --mask"
            );
        }
        if self.interpolation()? != Interpolation::Linear {
            bail!(
                "--interpolation cubic: discrete peaks and posteriors have axes, which are read linearly"
            );
        }
        let (field, geometry) = match (&self.posterior, &self.peaks) {
            (Some(path), _) => {
                let grid = grid.context("--posterior needs --seeds MASK, an image on its grid")?;
                (Field::Sticks(Box::new(self.sticks(path, grid)?)), grid.clone())
            }
            (None, path) => self.of_peaks(path.as_deref().context("--peaks")?)?,
        };
        Ok(Followed { field, geometry, anisotropic: None })
    }

    /// A field of discrete peaks.
    fn of_peaks(&self, path: &Path) -> anyhow::Result<(Field, ImageGeometry)> {
        let (source, geometry, placement) = self.image("--peaks", path, true)?;
        let mut vectors = Vec::with_capacity(source.n_rows() * source.n_measurements());
        each_row(&source, |signals| vectors.extend(signals.iter().map(|v| *v as f32)))?;
        let field = PeakField::from_vectors(geometry.dims, &vectors, placement)
            .with_context(|| format!("--peaks {}", path.display()))?;
        if field.is_empty() {
            bail!("--peaks {}: no voxel has a peak", path.display());
        }
        Ok((Field::Peaks(Box::new(field)), geometry))
    }

    /// An image of a field, its grid and where it lies.
    fn image(
        &self,
        flag: &str,
        path: &Path,
        in_world: bool,
    ) -> anyhow::Result<(SignalSource, ImageGeometry, Placement)> {
        let source = SignalSource::open(path, None).with_context(|| flag.to_string())?;
        let Some(geometry) = source.geometry().cloned() else {
            bail!(
                "{flag} {}: an image (.nii, .nii.gz) is needed; an array has no place in the world",
                path.display()
            )
        };
        let mut placement = Placement::world(geometry.affine);
        if !self.in_world(in_world)? {
            placement.world_from_field = world_from_voxel_axes(&geometry.affine)
                .with_context(|| format!("{flag} {}", path.display()))?;
        }
        Ok((source, geometry, placement))
    }

    /// A field of harmonic coefficients.
    fn of_coefficients(&self, path: &Path) -> anyhow::Result<Followed> {
        let bases =
            [HarmonicBasis::Mrtrix3, HarmonicBasis::Descoteaux, HarmonicBasis::DescoteauxLegacy];
        let Some(basis) = &self.basis else {
            bail!(
                "--basis NAME is needed: mrtrix3 (as fit --model csd writes), descoteaux or descoteaux_legacy"
            )
        };
        let basis = named("basis", basis, &bases.map(|b| (b.name(), b)))?;
        let by_default = basis == HarmonicBasis::Mrtrix3;
        let (source, geometry, placement) = self.image("--fod", path, by_default)?;
        if source.n_measurements() == 1 {
            bail!(
                "--fod {}: one number a voxel is a function of order 0, which has no directions; an image \
                 of coefficients (i, j, k, coefficient) is needed",
                path.display()
            );
        }
        if harmonic_order(source.n_measurements()).is_none() {
            bail!(
                "--fod {}: {} coefficients a voxel are those of no even order (6 are of order 2, 15 of 4, \
                 28 of 6, 45 of 8, ...)",
                path.display(),
                source.n_measurements()
            );
        }
        let mut values = Vec::with_capacity(source.n_rows() * source.n_measurements());
        let lowest = self.gfa_threshold.unwrap_or(0.0);
        let mut inside = Vec::new();
        each_row(&source, |signals| {
            values.extend(signals.iter().map(|v| *v as f32));
            if lowest > 0.0 {
                inside.push(anisotropy_index(signals) >= lowest);
            }
        })?;
        let field = OrientationField::from_harmonics(
            geometry.dims,
            &values,
            basis,
            placement,
            self.interpolation()?,
        )
        .with_context(|| format!("--fod {}", path.display()))?;
        if field.is_empty() {
            bail!("--fod {}: all coefficients are zero or not finite", path.display());
        }
        let anisotropic = (lowest > 0.0).then_some(inside);
        Ok(Followed { field: Field::Functions(Box::new(field)), geometry, anisotropic })
    }

    pub(super) fn interpolation(&self) -> anyhow::Result<Interpolation> {
        let list = [("linear", Interpolation::Linear), ("cubic", Interpolation::Cubic)];
        named("interpolation", &self.interpolation, &list)
    }

    pub(super) fn in_world(&self, by_default: bool) -> anyhow::Result<bool> {
        match &self.frame {
            None => Ok(by_default),
            Some(name) => named("frame", name, &[("world", true), ("voxel", false)]),
        }
    }

    /// Posterior draws of sticks from the table that `sample` writes.
    fn sticks(&self, path: &Path, grid: &ImageGeometry) -> anyhow::Result<StickField> {
        let reader = TableReader::open(path)?;
        let names: Vec<String> =
            reader.schema().fields().iter().map(|f| f.name().clone()).collect();
        let sticks: Vec<&str> = names
            .iter()
            .filter_map(|n| n.strip_suffix(".mu_x"))
            .filter(|c| names.iter().any(|n| *n == format!("{c}.fraction")))
            .collect();
        if sticks.is_empty() {
            bail!(
                "--posterior {}: no compartment has a direction and a fraction (columns NAME.mu_x and NAME.fraction)",
                path.display()
            );
        }
        let columns: Vec<String> = sticks
            .iter()
            .flat_map(|c| ["mu_x", "mu_y", "mu_z", "fraction"].map(|p| format!("{c}.{p}")))
            .collect();
        let wanted: Vec<&str> =
            ["voxel"].into_iter().chain(columns.iter().map(String::as_str)).collect();
        let draws = self.draws as usize;
        let mut field = StickField {
            shape: grid.dims,
            placement: Placement::world(grid.affine),
            row: vec![u32::MAX; grid.n_voxels()],
            sticks: Vec::new(),
            draws,
            count: sticks.len(),
        };
        if !self.in_world(false)? {
            field.placement.world_from_field = world_from_fsl(&grid.affine)?;
        }
        let mut current: Option<(i64, Vec<[f32; 4]>)> = None;
        let mut rows = 0_u32;
        let mut close = |voxel: i64,
                         all: &[[f32; 4]],
                         field: &mut StickField|
         -> anyhow::Result<()> {
            let n = all.len() / sticks.len();
            let at = usize::try_from(voxel).ok().filter(|v| *v < field.row.len()).with_context(|| {
                format!(
                    "--posterior {}: voxel {voxel} is not in the grid of the seeds, {:?}; the seed mask must have the grid of the data",
                    path.display(),
                    grid.dims
                )
            })?;
            // Failed voxels have draws that are not finite, or none.
            if n == 0 || all.iter().flatten().any(|v| !v.is_finite()) {
                return Ok(());
            }
            field.row[at] = rows;
            rows += 1;
            for d in 0..draws {
                let from = d * n / draws;
                field
                    .sticks
                    .extend_from_slice(&all[from * sticks.len()..(from + 1) * sticks.len()]);
            }
            Ok(())
        };
        for batch in TableReader::open_columns(path, &wanted)? {
            let batch = batch?;
            let voxel = integers(&batch, "voxel")?;
            let numbers =
                columns.iter().map(|n| floats(&batch, n)).collect::<anyhow::Result<Vec<_>>>()?;
            for (r, voxel) in voxel.iter().enumerate() {
                if current.as_ref().is_none_or(|(v, _)| v != voxel) {
                    if let Some((v, all)) = current.take() {
                        close(v, &all, &mut field)?;
                    }
                    current = Some((*voxel, Vec::new()));
                }
                if let Some((_, all)) = &mut current {
                    all.extend(
                        (0..sticks.len())
                            .map(|s| [0, 1, 2, 3].map(|k| numbers[4 * s + k][r] as f32)),
                    );
                }
            }
        }
        if let Some((v, all)) = current {
            close(v, &all, &mut field)?;
        }
        if field.sticks.is_empty() {
            bail!("--posterior {}: no voxel has draws", path.display());
        }
        Ok(field)
    }
}

/// Calls with the signals of every voxel, i fastest.
fn each_row(source: &SignalSource, mut row: impl FnMut(&[f64])) -> anyhow::Result<()> {
    for first in (0..source.n_rows()).step_by(ROWS) {
        let rows = source.read_rows(first..(first + ROWS).min(source.n_rows()))?;
        rows.signals.chunks_exact(source.n_measurements()).for_each(&mut row);
    }
    Ok(())
}
