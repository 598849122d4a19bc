//! Backprojection that looks up each voxel in the projections: the last step of filtered
//! backprojection, and the transpose of nothing.
//!
//! $$x_j \mathrel{+}= \sum_k s_k\,\omega_k(z_j)\,W_{kj}^{-2}\,\hat y_k(u_{kj}, v_{kj})$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\hat y_k$ | any | projection, linear between pixel centres, zero outside |
//! | $s_k, \omega_k(z)$ | | factors of a view, and of a view for a slice of the volume |
//! | $W$ | | depth of the voxel over that of the detector; 1 for parallel rays |
//!
//! Source: Feldkamp, Davis & Kress 1984, doi:10.1364/JOSAA.1.000612, eq. 28. Validated by
//! `equals_the_definition` in `kernels/src/backprojection/mod.rs` and by
//! `inference/tests/suite/analytic.rs`.

use super::{CtError, Geometry, VolumeGrid};
use microtome_kernels::backprojection::{self, Weights};
use microtome_kernels::ray::{Panel, Real, View};
use std::ops::Range;

/// Geometry and volume of a voxel-driven backprojection.
#[derive(Clone, Debug)]
pub struct VoxelDriven {
    volume: VolumeGrid,
    panel: Panel,
    /// In the frame of the volume.
    views: Vec<View>,
    shape: Vec<usize>,
}

impl VoxelDriven {
    /// Joins a geometry and a volume. A curved detector counts as one about its source.
    ///
    /// # Errors
    /// A plane with a volume, or the other way round.
    pub fn new(geometry: &Geometry, volume: &VolumeGrid) -> Result<Self, CtError> {
        let (d, kind) = (volume.dimensions(), geometry.kind());
        if kind.dimensions() != d {
            let what = format!("has {d} axes, but {} needs {}", kind.name(), kind.dimensions());
            return Err(CtError::key("volume.shape", what));
        }
        let views = geometry.views().iter().map(|v| volume.view_in_grid(v)).collect();
        let (panel, shape) = (geometry.panel(), geometry.shape());
        Ok(Self { volume: volume.clone(), panel, views, shape })
    }

    /// Adds what the voxels see of some neighbouring views.
    ///
    /// # Shapes
    /// `projections` `[view, v, u]` of these views, `factors` `[view]`, `slices`
    /// `[view, z]`, `volume` as that of [`VolumeGrid`].
    ///
    /// # Errors
    /// Arrays of another length, views that do not exist.
    pub fn add<T: Real>(
        &self,
        views: Range<usize>,
        factors: &[f64],
        slices: Option<&[f64]>,
        projections: &[T],
        volume: &mut [T],
    ) -> Result<(), CtError> {
        let chosen = self.check(views, factors, slices, projections.len(), volume.len())?;
        let weights = Weights { view: factors, slice: slices };
        let grid = self.volume.grid();
        backprojection::backproject(grid, self.panel, chosen, weights, projections, volume);
        Ok(())
    }

    /// Adds the variances of what the voxels see of some neighbouring views: of projections
    /// with a variance, and a covariance of every pixel with the next one of its row.
    ///
    /// # Shapes
    /// As for [`VoxelDriven::add`], variance and covariance `[view, v, u]` each.
    ///
    /// # Errors
    /// As for [`VoxelDriven::add`].
    pub fn add_variance(
        &self,
        views: Range<usize>,
        factors: &[f64],
        slices: Option<&[f64]>,
        [variance, covariance]: [&[f64]; 2],
        volume: &mut [f64],
    ) -> Result<(), CtError> {
        self.check(views.clone(), factors, slices, variance.len(), volume.len())?;
        let chosen = self.check(views, factors, slices, covariance.len(), volume.len())?;
        let weights = Weights { view: factors, slice: slices };
        let grid = self.volume.grid();
        backprojection::spread(grid, self.panel, chosen, weights, [variance, covariance], volume);
        Ok(())
    }

    /// The chosen views, if all arrays fit them.
    fn check(
        &self,
        views: Range<usize>,
        factors: &[f64],
        slices: Option<&[f64]>,
        projections: usize,
        volume: usize,
    ) -> Result<&[View], CtError> {
        let Some(chosen) = self.views.get(views.clone()) else {
            return Err(CtError::NoView { view: views.end, views: self.views.len() });
        };
        let nz = self.volume.grid().shape[2];
        let pixels = self.panel.nu * self.panel.nv;
        let slice_values = slices.map_or(chosen.len() * nz, <[f64]>::len);
        for (what, found, expected, shape) in [
            ("volume", volume, self.volume.len(), self.volume.shape()),
            ("projections", projections, chosen.len() * pixels, self.shape.clone()),
            ("factors", factors.len(), chosen.len(), vec![chosen.len()]),
            ("factors of slices", slice_values, chosen.len() * nz, vec![chosen.len(), nz]),
        ] {
            if found != expected {
                return Err(CtError::Length { what, found, expected, shape });
            }
        }
        Ok(chosen)
    }
}
