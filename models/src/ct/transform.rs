//! The linear map from a volume to its projections, and its exact transpose.
//!
//! $$y = Ax,\qquad x' = A^Ty,\qquad \|A\|^2 = \lambda_{\max}(A^TA)$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | volume |
//! | $y$ | 1 | projections |
//! | $A$ | mm | lengths |
//!
//! All entries of $A$ are at least 0, so the singular vector of $\|A\|$ has no sign and the
//! power iteration may start from the sums of columns. Validated by
//! `transposes_on_random_geometries` and `norm_and_sums` in `models/tests/ct.rs`.

use super::{CtError, Geometry, VolumeGrid};
use microtome_kernels::ray::{self, Projector, Real, View};

/// Most steps of the power iteration.
const NORM_STEPS: usize = 200;
/// Relative change at which it stops.
const NORM_CHANGE: f64 = 1e-7;

/// A geometry, a volume and a projector as a linear operator.
#[derive(Clone, Debug)]
pub struct RayTransform {
    geometry: Geometry,
    volume: VolumeGrid,
    projector: Projector,
    /// In the frame of the volume.
    views: Vec<View>,
}

fn zeros<T: Real>(values: usize, what: &'static str) -> Result<Vec<T>, CtError> {
    let mut out = Vec::new();
    out.try_reserve_exact(values).map_err(|_| CtError::Memory { what, values })?;
    out.resize(values, T::default());
    Ok(out)
}

impl RayTransform {
    /// Joins a geometry and a volume.
    ///
    /// # Errors
    /// A plane with a volume, or the other way round.
    pub fn new(
        geometry: Geometry,
        volume: VolumeGrid,
        projector: Projector,
    ) -> Result<Self, CtError> {
        let (d, kind) = (volume.dimensions(), geometry.kind());
        if kind.dimensions() != d {
            let what = format!("has {d} axes, but {} needs {}", kind.name(), kind.dimensions());
            return Err(CtError::key("volume.shape", what));
        }
        let views = geometry.views().iter().map(|v| volume.view_in_grid(v)).collect();
        Ok(Self { geometry, volume, projector, views })
    }

    /// Where rays run.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The voxels.
    pub fn volume(&self) -> &VolumeGrid {
        &self.volume
    }

    /// Which lengths count.
    pub fn projector(&self) -> Projector {
        self.projector
    }

    /// Number of rays.
    pub fn n_rays(&self) -> usize {
        self.geometry.shape().iter().product()
    }

    fn check<T>(&self, volume: &[T], projections: &[T]) -> Result<(), CtError> {
        let found = [volume.len(), projections.len()];
        let expected = [self.volume.len(), self.n_rays()];
        let shapes = [self.volume.shape(), self.geometry.shape()];
        for ((k, what), shape) in ["volume", "projections"].into_iter().enumerate().zip(shapes) {
            if found[k] != expected[k] {
                return Err(CtError::Length {
                    what,
                    found: found[k],
                    expected: expected[k],
                    shape,
                });
            }
        }
        Ok(())
    }

    /// Projections $Ax$ of a volume, written over `projections`.
    ///
    /// # Errors
    /// Arrays of another length.
    pub fn apply_into<T: Real>(&self, volume: &[T], projections: &mut [T]) -> Result<(), CtError> {
        self.check(volume, projections)?;
        let (grid, panel) = (self.volume.grid(), self.geometry.panel());
        ray::forward(self.projector, grid, panel, &self.views, volume, projections);
        Ok(())
    }

    /// Projections $Ax$ of a volume.
    ///
    /// # Errors
    /// An array of another length, no memory.
    pub fn apply<T: Real>(&self, volume: &[T]) -> Result<Vec<T>, CtError> {
        let mut out = zeros(self.n_rays(), "projections")?;
        self.apply_into(volume, &mut out)?;
        Ok(out)
    }

    /// Adds $A^Ty$ to a volume.
    ///
    /// # Errors
    /// Arrays of another length.
    pub fn add_adjoint<T: Real>(&self, projections: &[T], volume: &mut [T]) -> Result<(), CtError> {
        self.check(volume, projections)?;
        let (grid, panel) = (self.volume.grid(), self.geometry.panel());
        ray::adjoint(self.projector, grid, panel, &self.views, projections, volume);
        Ok(())
    }

    /// The transpose $A^Ty$: every ray spread over the voxels it met.
    ///
    /// # Errors
    /// An array of another length, no memory.
    pub fn adjoint<T: Real>(&self, projections: &[T]) -> Result<Vec<T>, CtError> {
        let mut out = zeros(self.volume.len(), "the volume")?;
        self.add_adjoint(projections, &mut out)?;
        Ok(out)
    }

    /// The same operator for some of the views, in the given order.
    ///
    /// # Errors
    /// A view that does not exist; no view at all.
    pub fn subset(&self, views: &[usize]) -> Result<Self, CtError> {
        Self::new(self.geometry.subset(views)?, self.volume.clone(), self.projector)
    }

    /// Sums of the rows, $A1$: the length of each ray in the volume.
    ///
    /// # Errors
    /// No memory.
    pub fn row_sums<T: Real>(&self) -> Result<Vec<T>, CtError> {
        let mut ones = zeros(self.volume.len(), "the volume")?;
        ones.fill(T::narrow(1.0));
        self.apply(&ones)
    }

    /// Sums of the columns, $A^T1$.
    ///
    /// # Errors
    /// No memory.
    pub fn column_sums<T: Real>(&self) -> Result<Vec<T>, CtError> {
        let mut ones = zeros(self.n_rays(), "projections")?;
        ones.fill(T::narrow(1.0));
        self.adjoint(&ones)
    }

    /// The largest singular value, from below, by power iteration until it changes by
    /// less than 1e-7 of itself, at most 200 steps. 0 when no ray meets the volume.
    ///
    /// # Errors
    /// No memory.
    pub fn norm(&self) -> Result<f64, CtError> {
        let mut x = self.column_sums::<f64>()?;
        let mut norm = 0.0;
        for _ in 0..NORM_STEPS {
            let size = x.iter().map(|v| v * v).sum::<f64>().sqrt();
            if size == 0.0 {
                return Ok(0.0);
            }
            x.iter_mut().for_each(|v| *v /= size);
            let y = self.apply(&x)?;
            let next = y.iter().map(|v| v * v).sum::<f64>().sqrt();
            let settled = (next - norm).abs() <= NORM_CHANGE * next;
            norm = next;
            if settled {
                break;
            }
            x = self.adjoint(&y)?;
        }
        Ok(norm)
    }
}
