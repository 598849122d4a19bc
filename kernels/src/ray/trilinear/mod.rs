//! Trilinear interpolation at fixed steps along every ray, its exact transpose, and its
//! derivatives with respect to the place of the volume.
//!
//! The ray of a pixel has samples $w_k = a + \kappa_kb$ in the world,
//! $\kappa_k = k-\frac{n-1}2$, $|b| = \delta$; $a$ is the pixel or the point of the ray
//! nearest to a given one. The volume is placed by an affine map $P$ of the world to the
//! frame of its grid, so that a moving volume has its samples at fixed places:
//!
//! $$p = \delta\sum_k f(Pw_k),\qquad
//!   \partial p = \delta\sum_k\nabla f(Pw_k)\cdot(\partial P)w_k .$$
//!
//! $f$ is trilinear between the centres of voxels and zero outside: it falls to 0 within one
//! voxel of the outermost centres. A ray of a point source begins at the source.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $w, a, b$ | mm | sample, middle of the march, step |
//! | $\delta$ | mm | length of a step |
//! | $n$ | 1 | steps |
//!
//! Results are equal to the bit for any number of threads, the transpose too: a slab of
//! slices is owned by one task, which takes the rays in their order.
//!
//! Validated by `tests.rs` beside this file and by
//! `models/tests/suite/pose.rs`.

// Lanes are counted: iterators and closures over them are compiled without the instructions
// of the caller.
#![allow(clippy::needless_range_loop)]

mod bundle;
mod march;
mod normal;
mod scatter;
mod wide;

#[cfg(test)]
mod tests;

pub use normal::{Normal, jacobian, normal, pullback};
pub use wide::Laned;

use super::{Grid, Panel, Real, View};
use crate::simd::{self, SimdLevel};
use bundle::{Bundle, Camera, Part, ToIndex};
use march::{Field, march};
use rayon::prelude::*;
use std::borrow::Cow;
use wide::{Job, RAYS, Wide};

/// Rays of a task.
const TASK_RAYS: usize = 64 * RAYS;

/// Where the middle of a march is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum About {
    /// At the centre of the pixel.
    Pixel,
    /// At the point of the ray nearest to this one, mm in the world.
    Point([f64; 3]),
}

/// The samples of a ray.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Length of a step, mm.
    pub length_mm: f64,
    /// Number of samples, each in the middle of its step.
    pub count: usize,
    /// Where the middle is.
    pub about: About,
}

impl Steps {
    /// Steps of the smallest voxel size, enough for every ray through a grid, about a point
    /// that is its centre.
    pub fn covering(grid: &Grid, centre: [f64; 3]) -> Self {
        let thick = |k: &usize| grid.shape[*k] > 1;
        let sizes = (0..3).filter(thick).map(|k| grid.voxel[k]);
        let least = sizes.fold(f64::INFINITY, f64::min);
        let length_mm = if least.is_finite() { least } else { grid.voxel[0] };
        Self::covering_by(grid, centre, length_mm)
    }

    /// As [`Steps::covering`] with a given length.
    pub fn covering_by(grid: &Grid, centre: [f64; 3], length_mm: f64) -> Self {
        let side = |k: usize| (grid.shape[k] as f64 + 1.0) * grid.voxel[k];
        let diagonal = (0..3).map(|k| side(k) * side(k)).sum::<f64>().sqrt();
        let count = ((diagonal / length_mm).ceil() as usize).max(1);
        Self { length_mm, count, about: About::Point(centre) }
    }
}

/// An affine map $x\mapsto Lx + s$, or its derivative with respect to a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Rows of $L$.
    pub linear: [[f64; 3]; 3],
    /// $s$, mm.
    pub shift: [f64; 3],
}

impl Affine {
    /// The map that moves nothing.
    pub const IDENTITY: Self =
        Self { linear: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], shift: [0.0; 3] };
}

/// A view in the world and the place of the volume in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Posed {
    /// Beam and detector.
    pub view: View,
    /// The world in the frame of the grid, whose origin is its centre.
    pub place: Affine,
    /// Derivatives of `place` with respect to each parameter.
    pub rates: Vec<Affine>,
}

impl Posed {
    /// A view in the frame of the grid.
    pub fn fixed(view: View) -> Self {
        Self { view, place: Affine::IDENTITY, rates: Vec::new() }
    }
}

/// What all views share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scene {
    /// The voxels.
    pub grid: Grid,
    /// The pixels.
    pub panel: Panel,
    /// The samples.
    pub steps: Steps,
}

impl Scene {
    fn pixels(&self) -> usize {
        self.panel.nu * self.panel.nv
    }

    fn whole(&self) -> Part {
        Part { axis: 0, begin: 0, end: self.grid.shape[0] }
    }

    /// The volume so that two neighbours along x can be read everywhere.
    fn readable<'a, T: Real>(&self, volume: &'a [T]) -> Cow<'a, [T]> {
        if self.grid.shape[0] > 1 {
            return Cow::Borrowed(volume);
        }
        let mut padded = volume.to_vec();
        padded.push(T::default());
        Cow::Owned(padded)
    }
}

/// Views in the frame of the grid with steps that cover it.
pub(super) fn covering(grid: &Grid, panel: Panel, views: &[View]) -> (Scene, Vec<Posed>) {
    let steps = Steps::covering(grid, [0.0; 3]);
    let views = views.iter().map(|v| Posed::fixed(*v)).collect();
    (Scene { grid: *grid, panel, steps }, views)
}

/// Integrals of a volume along the rays of some views.
///
/// # Shapes
/// `volume` `[z, y, x]`, `out` `[view, v, u]`.
///
/// # Panics
/// When a slice has another length than its shape says, or the grid more than 2^32 voxels.
pub fn forward<T: Real>(scene: &Scene, views: &[Posed], volume: &[T], out: &mut [T]) {
    T::forward(simd::level(), scene, views, volume, out);
}

/// A number type for which the march is compiled once, in this crate.
pub trait Marched: Laned {
    /// [`forward`].
    fn forward(l: SimdLevel, s: &Scene, v: &[Posed], x: &[Self], out: &mut [Self]);
    /// [`adjoint`].
    fn adjoint(s: &Scene, v: &[Posed], y: &[Self], x: &mut [Self]);
    /// [`normal`], without `loss` [`pullback`].
    fn totals(
        s: &Scene,
        v: &[Posed],
        x: &[Self],
        y: &[Self],
        m: Option<&[u8]>,
        loss: bool,
    ) -> Vec<Normal>;
    /// [`jacobian`].
    fn table(s: &Scene, v: &Posed, x: &[Self], out: &mut [Self], d: &mut [Self]);
}

macro_rules! marched {
    ($($t:ty),*) => {
        $(impl Marched for $t {
            fn forward(l: SimdLevel, s: &Scene, v: &[Posed], x: &[$t], out: &mut [$t]) {
                forward_at(l, s, v, x, out);
            }
            fn adjoint(s: &Scene, v: &[Posed], y: &[$t], x: &mut [$t]) {
                scatter::spread_all(s, v, y, x);
            }
            fn totals(
                s: &Scene,
                v: &[Posed],
                x: &[$t],
                y: &[$t],
                m: Option<&[u8]>,
                loss: bool,
            ) -> Vec<Normal> {
                normal::totals(s, v, x, y, m, loss)
            }
            fn table(s: &Scene, v: &Posed, x: &[$t], out: &mut [$t], d: &mut [$t]) {
                normal::table(s, v, x, out, d);
            }
        })*
    };
}

marched!(f32, f64);

fn forward_at<T: Real>(
    level: SimdLevel,
    scene: &Scene,
    views: &[Posed],
    volume: &[T],
    out: &mut [T],
) {
    let pixels = scene.pixels();
    assert!(volume.len() == scene.grid.len() && out.len() == views.len() * pixels);
    if volume.is_empty() || out.is_empty() {
        return;
    }
    let volume = scene.readable(volume);
    let field = Field::new(&volume, &scene.grid);
    out.par_chunks_mut(pixels).zip(views).for_each(|(out, posed)| {
        let camera = Camera::new(&posed.view, scene.panel, scene.steps);
        let map = ToIndex::new(&posed.place, &scene.grid);
        out.par_chunks_mut(TASK_RAYS).enumerate().for_each(|(task, out)| {
            let first = task * TASK_RAYS;
            T::at_level(level, Integrals { scene, camera: &camera, map: &map, field, first, out });
        });
    });
}

/// Adds the transpose of [`forward`] to a volume.
///
/// # Shapes
/// As for [`forward`].
///
/// # Panics
/// As for [`forward`].
pub fn adjoint<T: Real>(scene: &Scene, views: &[Posed], projections: &[T], volume: &mut [T]) {
    T::adjoint(scene, views, projections, volume);
}

/// The integrals of neighbouring pixels of a view.
struct Integrals<'a, T> {
    scene: &'a Scene,
    camera: &'a Camera,
    map: &'a ToIndex,
    field: Field<'a, T>,
    first: usize,
    out: &'a mut [T],
}

impl<T: Real> Job for Integrals<'_, T> {
    type Scalar = T;
    type Output = ();

    #[inline(always)]
    fn run<W: Wide<Scalar = T>>(self) {
        let Scene { grid, steps, .. } = self.scene;
        let length = T::narrow(steps.length_mm);
        let part = self.scene.whole();
        let mut first = self.first;
        for out in self.out.chunks_mut(RAYS) {
            let rays = self.camera.rays(first, out.len());
            let bundle = Bundle::<W>::new(&rays, self.map, grid, &part, steps.count);
            let sums = march::<W, false>(&self.field, &bundle, steps.count);
            for (out, p) in out.iter_mut().zip(sums.p) {
                *out = T::narrow(p.wide() * length.wide());
            }
            first += RAYS;
        }
    }
}
