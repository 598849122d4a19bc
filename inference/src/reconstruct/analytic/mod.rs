//! Filtered backprojection: parallel beams, fans, cones and, nearly, helices.
//!
//! $$f(x) = \sum_k \frac{\Delta\varphi_k}{W_k(x)^2\,D_k}\,\bigl[h * (m\,\omega\,p_k)\bigr](u_k(x), v_k(x))$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $p$ | 1 | projections |
//! | $h$ | 1/mm | the ramp (`filter.rs`), along the rows of the detector |
//! | $\Delta\varphi_k$ | rad | share of the view (`scan.rs`) |
//! | $m$ | 1 | share of the ray among those of its line (`redundancy.rs`) |
//! | $\omega$ | mm | weight of the ray, below; 1 for parallel beams |
//! | $D$ | mm | from the source across to the detector; for parallel beams none |
//! | $W$ | 1 | depth over that of the detector |
//!
//! The weight of a ray of direction $q$ from a source that moves along $a(\varphi)$ is
//!
//! $$\omega = \frac{|a'\times q_\perp|}{|q_\perp|}\,\frac{|q_\perp|}{|q|}$$
//!
//! with $q_\perp$ the part across the axis: the first factor is the Jacobian between rays of
//! the path and lines ($R\cos\gamma$ on a circle), whatever the detector's orientation and
//! whatever closed curve around the object the path is; the second is Feldkamp's. Exact in
//! the plane; from a cone exact in the plane of the circle and, for objects that do not
//! change along the axis, everywhere. On a detector curved about the source $W$ is the
//! distance across the axis over the radius, and the ramp that of an arc.
//!
//! A helix counts as a circle for each slice: the views of the turn about the angle where
//! the source passes the slice, with soft ends. This is approximate, the more so the
//! greater the pitch is against the distance, and rows of the detector that a slice would
//! need but that do not exist count as 0. Other paths out of a plane count as circles, too.
//!
//! Source: Kak & Slaney 1988, doi:10.1137/1.9780898719277, ch. 3; Feldkamp, Davis & Kress
//! 1984, doi:10.1364/JOSAA.1.000612; weights of any path: Natterer & Wübbeling 2001,
//! doi:10.1137/1.9780898718324, section 5.1; helices: Wang, Lin, Cheng & Shinozaki 1993,
//! doi:10.1109/42.241887. Validated by `inference/tests/suite/analytic.rs`.

mod filter;
mod redundancy;
mod scan;
mod variance;
mod weights;

pub use filter::Filter;
pub use redundancy::Sharing;

use super::ReconstructError;
use super::problem::check;
use filter::Ramp;
use microtome_models::ct::{Geometry, Real, VolumeGrid, VoxelDriven};
use redundancy::Redundancy;
use scan::Scan;
use std::ops::Range;

/// Most bytes of filtered projections at once.
const CHUNK_BYTES: usize = 16 << 20;
/// Views that are filtered at once.
const CHUNK_VIEWS: usize = 32;

/// `f32` or `f64`, which the transform of Fourier and the backprojection know.
pub trait Number: Real + rustfft::FftNum {}

impl<T: Real + rustfft::FftNum> Number for T {}

/// Filtered backprojection of a geometry into a volume.
///
/// ```
/// use microtome_inference::reconstruct::{FilteredBackprojection, Filter, Sharing};
/// use microtome_kernels::ray::Projector;
/// use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
///
/// let volume = VolumeGrid::new(&[32, 32], &[1.0, 1.0], &[0.0, 0.0])?;
/// let path = TrajectorySpec::circular(60, &[0.5]);
/// let geometry = path.geometry(GeometryKind::Parallel2d, [1, 96])?;
/// let disc: Vec<f64> = (0..1024)
///     .map(|j| {
///         let (x, y) = ((j % 32) as f64 - 15.5, (j / 32) as f64 - 15.5);
///         if x.hypot(y) < 12.0 { 0.02 } else { 0.0 }
///     })
///     .collect();
/// let y = RayTransform::new(geometry.clone(), volume.clone(), Projector::Siddon)?.apply(&disc)?;
/// let fbp = FilteredBackprojection::new(&geometry, &volume, Filter::RamLak, Sharing::Auto)?;
/// let x = fbp.reconstruct(&y)?;
/// assert!((x[32 * 16 + 16] - 0.02).abs() < 0.001);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilteredBackprojection {
    /// What was measured.
    measured: Geometry,
    /// With the pixels that were added to the short side of its detectors.
    geometry: Geometry,
    /// Pixels added before the first.
    before: usize,
    volume: VolumeGrid,
    voxels: VoxelDriven,
    filter: Filter,
    scan: Scan,
    redundancy: Redundancy,
    /// Shares of the views.
    shares: Vec<f64>,
    /// What the ramp and the depth are divided by.
    factors: Vec<f64>,
    /// `[view, z]`, for helices.
    slices: Option<Vec<f64>>,
    /// Radians of a pixel, on a curved detector.
    arc: Option<f64>,
    notes: Vec<String>,
}

impl FilteredBackprojection {
    /// Reads path and weights off a geometry.
    ///
    /// # Errors
    /// Another number of axes of the volume; a path that does not turn around an axis;
    /// detectors whose columns lean from it by more than ten degrees; a curved detector that
    /// is not about its source; a sharing that the geometry does not allow.
    pub fn new(
        geometry: &Geometry,
        volume: &VolumeGrid,
        filter: Filter,
        sharing: Sharing,
    ) -> Result<Self, ReconstructError> {
        VoxelDriven::new(geometry, volume)?;
        let scan = Scan::new(geometry)?;
        let arc = weights::check_detectors(geometry, &scan)?;
        let plan = weights::Plan::new(geometry, volume, &scan, sharing)?;
        let factors = weights::factors(geometry, &scan);
        let more = match plan.redundancy {
            Redundancy::Offset { .. } => weights::extension(geometry, &scan),
            _ => [0, 0],
        };
        let wide = match more {
            [0, 0] => geometry.clone(),
            more => weights::extended(geometry, more)?,
        };
        let voxels = VoxelDriven::new(&wide, volume)?;
        Ok(Self {
            measured: geometry.clone(),
            geometry: wide,
            before: more[0],
            volume: volume.clone(),
            voxels,
            filter,
            scan,
            redundancy: plan.redundancy,
            shares: plan.shares,
            factors,
            slices: plan.slices,
            arc,
            notes: plan.notes,
        })
    }

    /// What was chosen from the geometry, and what about the result is approximate.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn check<T: Number>(&self, projections: &[T]) -> Result<Ramp<T>, ReconstructError> {
        check("projections", projections, &self.measured.shape())?;
        Ramp::new(&self.filter, self.geometry.detector()[1], self.arc)
    }

    /// Weighted and filtered projections: what is backprojected, but for the depth.
    ///
    /// # Shapes
    /// `[view, v, u]`, in the plane `[view, u]`.
    ///
    /// # Errors
    /// Projections of another length or that are not finite, no memory.
    pub fn filtered<T: Number>(&self, projections: &[T]) -> Result<Vec<T>, ReconstructError> {
        let ramp = self.check(projections)?;
        let mut out = zeros(projections.len(), "projections")?;
        let [nv, nu] = self.geometry.detector();
        let pixels = projections.len() / self.geometry.n_views();
        let mut wide = zeros(nv * nu, "projections")?;
        for (k, (to, from)) in
            out.chunks_exact_mut(pixels).zip(projections.chunks_exact(pixels)).enumerate()
        {
            self.widen(from, &mut wide);
            self.weigh(k..k + 1, &mut wide);
            ramp.apply(&mut wide);
            let kept = wide.chunks_exact(nu).zip(to.chunks_exact_mut(pixels / nv));
            for (from, to) in kept {
                for (to, from) in to.iter_mut().zip(&from[self.before..]) {
                    *to = T::narrow(from.wide() * self.factors[k]);
                }
            }
        }
        Ok(out)
    }

    /// Rows of pixels with zeros for those that were added.
    fn widen<T: Number>(&self, from: &[T], to: &mut [T]) {
        let (narrow, wide) = (self.measured.detector()[1], self.geometry.detector()[1]);
        if narrow == wide {
            to.copy_from_slice(from);
            return;
        }
        to.fill(T::default());
        for (to, from) in to.chunks_exact_mut(wide).zip(from.chunks_exact(narrow)) {
            to[self.before..self.before + narrow].copy_from_slice(from);
        }
    }

    /// The volume of projections.
    ///
    /// # Errors
    /// Projections of another length or that are not finite, no memory.
    pub fn reconstruct<T: Number>(&self, projections: &[T]) -> Result<Vec<T>, ReconstructError> {
        let ramp = self.check(projections)?;
        let views = self.geometry.n_views();
        let measured = projections.len() / views;
        let pixels: usize = self.geometry.detector().iter().product();
        let step = (CHUNK_BYTES / (pixels * size_of::<T>())).clamp(1, CHUNK_VIEWS).min(views);
        let mut volume = zeros(self.volume.len(), "the volume")?;
        let mut buffer = zeros(step * pixels, "projections")?;
        for first in (0..views).step_by(step) {
            let range = first..(first + step).min(views);
            let filtered = &mut buffer[..range.len() * pixels];
            self.widen(&projections[first * measured..range.end * measured], filtered);
            self.weigh(range.clone(), filtered);
            ramp.apply(filtered);
            let slices = self.slices.as_ref().map(|s| {
                let nz = s.len() / views;
                &s[first * nz..range.end * nz]
            });
            let factors = &self.factors[range.clone()];
            self.voxels.add(range, factors, slices, filtered, &mut volume)?;
        }
        Ok(volume)
    }

    /// Multiplies the projections of some views by their weights.
    fn weigh<T: Number>(&self, views: Range<usize>, projections: &mut [T]) {
        weights::weigh(
            &self.geometry,
            &self.scan,
            &self.redundancy,
            &self.shares,
            views,
            projections,
        );
    }
}

fn zeros<T: Real>(values: usize, what: &'static str) -> Result<Vec<T>, ReconstructError> {
    let mut out = Vec::new();
    out.try_reserve_exact(values)
        .map_err(|_| microtome_models::ct::CtError::Memory { what, values })?;
    out.resize(values, T::default());
    Ok(out)
}
