//! What every iterative method asks of a projector: some views forward, and their transpose.
//!
//! $$y_s = A_s x,\qquad x' \mathrel{+}= A_s^T y_s,\qquad r_s = A_s 1,\qquad c_s = A_s^T 1$$
//!
//! for a list $s$ of views; the rows of a view are its pixels.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | volume, `[z, y, x]` or `[y, x]` |
//! | $y_s$ | 1 | projections of the views in their order, `[view, v, u]` or `[view, u]` |
//! | $r_s, c_s$ | mm | sums of rows and columns |
//!
//! [`RayTransform`] is one; a user's own projector is another: the methods know nothing
//! else. Validated by `every_method_on_a_users_operator` in `inference/tests/suite/reconstruct/`.

use super::ReconstructError;
use microtome_kernels::ray::{Real, Rows};
use microtome_models::ct::RayTransform;

/// A linear operator whose rows come in views.
///
/// `add_transpose` must be the exact transpose of `forward`: least-squares methods converge
/// to the minimum of another function otherwise, or not at all. The methods of the SIRT and
/// EM families also need entries that are not negative.
pub trait ViewOperator<T: Real>: Sync {
    /// Sizes of the axes of a volume, the last one fastest: two or three.
    fn volume_shape(&self) -> Vec<usize>;

    /// Number of views.
    fn n_views(&self) -> usize;

    /// Sizes of the axes of one view, the last one fastest.
    fn view_shape(&self) -> Vec<usize>;

    /// Writes $A_s x$ over `projections`.
    ///
    /// # Shapes
    /// `projections` `[views.len(), view_shape...]`, in the order of `views`.
    ///
    /// # Errors
    /// Whatever stops the projector.
    fn forward(
        &self,
        views: &[usize],
        volume: &[T],
        projections: &mut [T],
    ) -> Result<(), ReconstructError>;

    /// Adds $A_s^T y_s$ to `volume`.
    ///
    /// # Shapes
    /// As for [`ViewOperator::forward`].
    ///
    /// # Errors
    /// Whatever stops the projector.
    fn add_transpose(
        &self,
        views: &[usize],
        projections: &[T],
        volume: &mut [T],
    ) -> Result<(), ReconstructError>;

    /// Whether it is certain that no entry is negative. Then diagonal steps are allowed, and
    /// no largest eigenvalue has to be searched.
    fn has_no_negative_entries(&self) -> bool {
        false
    }

    /// The matrix, written out, where it is known and has at most so many entries.
    fn stored_rows(&self, _most: usize) -> Option<Rows> {
        None
    }

    /// Sums of the rows of some views, $A_s 1$.
    ///
    /// # Errors
    /// Whatever stops the projector.
    fn row_sums(&self, views: &[usize]) -> Result<Vec<T>, ReconstructError> {
        let ones = vec![T::narrow(1.0); product(&self.volume_shape())];
        let mut out = vec![T::default(); views.len() * product(&self.view_shape())];
        self.forward(views, &ones, &mut out)?;
        Ok(out)
    }

    /// Sums of the columns over some views, $A_s^T 1$.
    ///
    /// # Errors
    /// Whatever stops the projector.
    fn column_sums(&self, views: &[usize]) -> Result<Vec<T>, ReconstructError> {
        let ones = vec![T::narrow(1.0); views.len() * product(&self.view_shape())];
        let mut out = vec![T::default(); product(&self.volume_shape())];
        self.add_transpose(views, &ones, &mut out)?;
        Ok(out)
    }
}

/// Number of values of a shape.
pub(super) fn product(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Whether a list is 0, 1, ..., n - 1.
pub(super) fn is_all(views: &[usize], n: usize) -> bool {
    views.len() == n && views.iter().enumerate().all(|(i, v)| i == *v)
}

impl<T: Real> ViewOperator<T> for RayTransform {
    fn volume_shape(&self) -> Vec<usize> {
        self.volume().shape()
    }

    fn n_views(&self) -> usize {
        self.geometry().n_views()
    }

    fn view_shape(&self) -> Vec<usize> {
        self.geometry().shape()[1..].to_vec()
    }

    fn has_no_negative_entries(&self) -> bool {
        true
    }

    fn stored_rows(&self, most: usize) -> Option<Rows> {
        self.rows(most)
    }

    fn forward(
        &self,
        views: &[usize],
        volume: &[T],
        projections: &mut [T],
    ) -> Result<(), ReconstructError> {
        if is_all(views, self.geometry().n_views()) {
            return Ok(self.apply_into(volume, projections)?);
        }
        Ok(self.subset(views)?.apply_into(volume, projections)?)
    }

    fn add_transpose(
        &self,
        views: &[usize],
        projections: &[T],
        volume: &mut [T],
    ) -> Result<(), ReconstructError> {
        if is_all(views, self.geometry().n_views()) {
            return Ok(self.add_adjoint(projections, volume)?);
        }
        Ok(self.subset(views)?.add_adjoint(projections, volume)?)
    }
}
