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
//! `transposes_on_random_geometries` and `norm_and_sums` in `models/tests/suite/ct.rs`.

use super::{CtError, Geometry, VolumeGrid};
use microtome_kernels::ray::trilinear::{self, Posed, Scene, Steps};
use microtome_kernels::ray::{self, Projector, Real, View, separable};
use std::borrow::Cow;

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
    /// The samples of the trilinear projector.
    steps: Steps,
    /// Rays left out are 0; `[view, v, u]`.
    mask: Option<Vec<u8>>,
}

/// Refuses a volume of more voxels than the march can count.
pub(super) fn check_size(volume: &VolumeGrid) -> Result<(), CtError> {
    if u32::try_from(volume.len()).is_ok() {
        return Ok(());
    }
    let what =
        format!("{:?}; the trilinear projector takes at most 2^32 - 1 voxels", volume.shape());
    Err(CtError::key("volume.shape", what))
}

pub(super) fn zeros<T: Real>(values: usize, what: &'static str) -> Result<Vec<T>, CtError> {
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
        let views: Vec<View> = geometry.views().iter().map(|v| volume.view_in_grid(v)).collect();
        let steps = Steps::covering(volume.grid(), [0.0; 3]);
        if projector == Projector::Trilinear {
            check_size(&volume)?;
        }
        if projector == Projector::SeparableFootprint {
            for (at, view) in views.iter().enumerate() {
                if let Some(what) = separable::limit(volume.grid(), geometry.panel(), view) {
                    let what = format!("{what}; the projector sf needs that, joseph does not");
                    return Err(CtError::view(at, what));
                }
            }
        }
        Ok(Self { geometry, volume, projector, views, steps, mask: None })
    }

    /// The same operator with other samples of the trilinear projector. A point about which
    /// they are is one in the frame of the grid, whose centre is 0.
    pub fn with_steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Leaves rays out: their rows are zero.
    ///
    /// # Shapes
    /// `[view, v, u]`; 0 leaves a ray out.
    ///
    /// # Errors
    /// Another number of values.
    pub fn with_mask(mut self, mask: Vec<u8>) -> Result<Self, CtError> {
        let (found, expected) = (mask.len(), self.n_rays());
        if found != expected {
            let shape = self.geometry.shape();
            return Err(CtError::Length { what: "mask", found, expected, shape });
        }
        self.mask = Some(mask);
        Ok(self)
    }

    /// The rays that count, `[view, v, u]`; all where there is none.
    pub fn mask(&self) -> Option<&[u8]> {
        self.mask.as_deref()
    }

    /// The samples of the trilinear projector.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    fn scene(&self) -> (Scene, Vec<Posed>) {
        let (grid, panel) = (*self.volume.grid(), self.geometry.panel());
        let views = self.views.iter().map(|v| Posed::fixed(*v)).collect();
        (Scene { grid, panel, steps: self.steps }, views)
    }

    fn blank<T: Real>(&self, projections: &mut [T]) {
        if let Some(mask) = &self.mask {
            for (v, keep) in projections.iter_mut().zip(mask) {
                if *keep == 0 {
                    *v = T::default();
                }
            }
        }
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

    /// The matrix written out, with at most so many entries; `None` where it has more, where
    /// rays are left out, and for projectors that are not sums over the voxels of one ray.
    pub fn rows(&self, most: usize) -> Option<ray::Rows> {
        if self.mask.is_some() {
            return None;
        }
        let (grid, panel) = (self.volume.grid(), self.geometry.panel());
        ray::Rows::of(self.projector, grid, panel, &self.views, most)
    }

    /// Projections $Ax$ of a volume, written over `projections`.
    ///
    /// # Errors
    /// Arrays of another length.
    pub fn apply_into<T: Real>(&self, volume: &[T], projections: &mut [T]) -> Result<(), CtError> {
        self.check(volume, projections)?;
        let (grid, panel) = (self.volume.grid(), self.geometry.panel());
        match self.projector {
            Projector::Trilinear => {
                let (scene, views) = self.scene();
                trilinear::forward(&scene, &views, volume, projections);
            }
            Projector::SeparableFootprint => {
                let flat = self.volume.dimensions() == 2;
                separable::forward(grid, panel, &self.views, flat, volume, projections);
            }
            _ => ray::forward(self.projector, grid, panel, &self.views, volume, projections),
        }
        self.blank(projections);
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
        let mut projections = Cow::Borrowed(projections);
        if self.mask.is_some() {
            self.blank(projections.to_mut());
        }
        match self.projector {
            Projector::Trilinear => {
                let (scene, views) = self.scene();
                trilinear::adjoint(&scene, &views, &projections, volume);
            }
            Projector::SeparableFootprint => {
                let flat = self.volume.dimensions() == 2;
                separable::adjoint(grid, panel, &self.views, flat, &projections, volume);
            }
            _ => ray::adjoint(self.projector, grid, panel, &self.views, &projections, volume),
        }
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
        let geometry = self.geometry.subset(views)?;
        let mut out = Self::new(geometry, self.volume.clone(), self.projector)?;
        out.steps = self.steps;
        if let Some(mask) = &self.mask {
            let pixels = mask.len() / self.geometry.n_views();
            let rows = views.iter().flat_map(|v| &mask[v * pixels..(v + 1) * pixels]);
            out.mask = Some(rows.copied().collect());
        }
        Ok(out)
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
