//! A pose model at given poses as a projector of views.
//!
//! Every iterative method takes it. The march is the one whose derivatives the alignment
//! uses, so that image and poses are of one model. Validated by
//! `methods_take_posed_views` in `inference/tests/suite/align.rs`.

use super::super::operator::is_all;
use super::super::{ReconstructError, ViewOperator};
use microtome_kernels::ray::Real;
use microtome_models::ct::{PoseModel, batch_forward_project};

/// Views at given poses.
#[derive(Clone, Debug)]
pub struct PosedViews<'a> {
    model: &'a PoseModel,
    thetas: &'a [f64],
}

impl<'a> PosedViews<'a> {
    /// A model at poses.
    ///
    /// # Shapes
    /// `thetas` `[view, parameter]`.
    pub fn new(model: &'a PoseModel, thetas: &'a [f64]) -> Self {
        Self { model, thetas }
    }

    fn some(&self, views: &[usize]) -> Result<(PoseModel, Vec<f64>), ReconstructError> {
        let n = self.model.parameters().len();
        let model = self.model.subset(views)?;
        let thetas = views.iter().flat_map(|v| self.thetas[v * n..(v + 1) * n].to_vec()).collect();
        Ok((model, thetas))
    }
}

impl<T: Real> ViewOperator<T> for PosedViews<'_> {
    fn volume_shape(&self) -> Vec<usize> {
        self.model.volume().shape()
    }

    fn n_views(&self) -> usize {
        self.model.n_views()
    }

    fn view_shape(&self) -> Vec<usize> {
        self.model.shape()[1..].to_vec()
    }

    fn has_no_negative_entries(&self) -> bool {
        true
    }

    fn forward(
        &self,
        views: &[usize],
        volume: &[T],
        projections: &mut [T],
    ) -> Result<(), ReconstructError> {
        let y = if is_all(views, self.model.n_views()) {
            batch_forward_project(self.model, self.thetas, volume)?
        } else {
            let (model, thetas) = self.some(views)?;
            batch_forward_project(&model, &thetas, volume)?
        };
        projections.copy_from_slice(&y);
        Ok(())
    }

    fn add_transpose(
        &self,
        views: &[usize],
        projections: &[T],
        volume: &mut [T],
    ) -> Result<(), ReconstructError> {
        if is_all(views, self.model.n_views()) {
            return Ok(self.model.back(self.thetas, projections, volume)?);
        }
        let (model, thetas) = self.some(views)?;
        Ok(model.back(&thetas, projections, volume)?)
    }
}
