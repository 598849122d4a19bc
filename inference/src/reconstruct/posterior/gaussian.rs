//! Operator, projections, weights and prior of a Gaussian image posterior, checked.
//!
//! $$H = A^TWA + Q,\qquad b = A^TWy$$
//!
//! Validated by `inference/tests/suite/image_posterior.rs`.

use super::super::operator::product;
use super::super::{Problem, ReconstructError, ViewOperator};
use microtome_kernels::abreast::Stored;
use microtome_models::GaussianField;

/// Most entries of a matrix that is stored for draws: 1 GiB by rows and columns.
const MOST_ENTRIES: usize = 1 << 26;

/// Projections with independent Gaussian noise of a Gaussian image.
pub struct GaussianImage<'a> {
    operator: &'a dyn ViewOperator<f64>,
    projections: &'a [f64],
    weights: Vec<f64>,
    field: GaussianField,
    all_views: Vec<usize>,
}

impl<'a> GaussianImage<'a> {
    /// The posterior of an image.
    ///
    /// # Shapes
    /// `projections` and `weights` `[view, view_shape...]`; the field has the shape of the
    /// operator's volume.
    ///
    /// # Units
    /// `weights` are inverse variances of the projections; 0 leaves one out.
    ///
    /// # Errors
    /// As [`Problem::new`] and [`Problem::with_weights`]; a field of another shape; an
    /// improper field (kappa² of 0) where no ray meets the volume.
    pub fn new(
        operator: &'a dyn ViewOperator<f64>,
        projections: &'a [f64],
        weights: Vec<f64>,
        field: GaussianField,
    ) -> Result<Self, ReconstructError> {
        Problem::new(operator, projections)?.with_weights(&weights)?;
        let shape = operator.volume_shape();
        if field.shape() != shape {
            return Err(ReconstructError::Length {
                what: "voxels of the prior",
                found: field.len(),
                expected: product(&shape),
                shape,
            });
        }
        let all_views: Vec<usize> = (0..operator.n_views()).collect();
        let image = Self { operator, projections, weights, field, all_views };
        if !image.field.is_proper() {
            // The prior leaves the level of the image free, so the data must fix it.
            let sums = operator.row_sums(&image.all_views)?;
            if sums.iter().zip(&image.weights).all(|(s, w)| s * w == 0.0) {
                return Err(ReconstructError::setting(
                    "kappa2",
                    "0 leaves the mean of the image to the data, but no ray meets the volume; \
                     give a positive value",
                ));
            }
        }
        Ok(image)
    }

    /// The prior.
    pub fn field(&self) -> &GaussianField {
        &self.field
    }

    /// Number of voxels.
    pub fn n_voxels(&self) -> usize {
        self.field.len()
    }

    /// Projections that count.
    pub fn n_counted(&self) -> usize {
        self.weights.iter().filter(|w| **w > 0.0).count()
    }

    /// The matrix of the projector, where it is known and small enough.
    pub(super) fn stored(&self) -> Option<Stored> {
        let rows = self.operator.stored_rows(MOST_ENTRIES)?;
        Some(Stored::new(rows, self.field.shape()))
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    pub(super) fn projections(&self) -> &[f64] {
        self.projections
    }

    /// Adds $A^TW v$ to `out`, with `v` in the space of the projections.
    pub(super) fn add_transpose(
        &self,
        v: impl Iterator<Item = f64>,
        out: &mut [f64],
    ) -> Result<(), ReconstructError> {
        let v: Vec<f64> = v.collect();
        self.operator.add_transpose(&self.all_views, &v, out)
    }

    /// Adds $A^TWAx$ to `out`.
    pub(super) fn add_data_precision(
        &self,
        x: &[f64],
        out: &mut [f64],
    ) -> Result<(), ReconstructError> {
        let mut y = vec![0.0; self.projections.len()];
        self.operator.forward(&self.all_views, x, &mut y)?;
        y.iter_mut().zip(&self.weights).for_each(|(y, w)| *y *= w);
        self.operator.add_transpose(&self.all_views, &y, out)
    }

    /// Writes $Hx$ over `out`.
    pub(super) fn precision(&self, x: &[f64], out: &mut [f64]) -> Result<(), ReconstructError> {
        out.fill(0.0);
        self.add_data_precision(x, out)?;
        self.field.add_precision(x, out);
        Ok(())
    }

    /// $b = A^TWy$.
    pub(super) fn right_side(&self) -> Result<Vec<f64>, ReconstructError> {
        let mut out = vec![0.0; self.n_voxels()];
        let weighted = self.projections.iter().zip(&self.weights).map(|(y, w)| y * w);
        self.add_transpose(weighted, &mut out)?;
        Ok(out)
    }
}
