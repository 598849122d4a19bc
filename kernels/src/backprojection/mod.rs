//! Voxel-driven backprojection: every voxel looks up where it is seen.
//!
//! $$x_j \mathrel{+}= \sum_k s_k\,\omega_k(z_j)\,W_{kj}^{-2}\,\hat y_k(u_{kj}, v_{kj})$$
//!
//! with $(u, v, W)$ the pixel coordinates and the depth of voxel $j$ in view $k$
//! (`matrix.rs`) and $\hat y_k$ the projection, linear between pixel centres, zero beyond
//! the last pixel by one step or more. The factor $W^{-2}$ is that of filtered
//! backprojection from a point source and 1 for parallel rays. This is not the transpose of
//! any projector: iterative methods take [`crate::ray::adjoint`].
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $y$ | any | projections `[view, v, u]` |
//! | $s_k$ | | factor of a view |
//! | $\omega_k(z)$ | | factor of a view for a slice of voxels, 1 where none is given |
//! | $W$ | | depth over that of the detector |
//!
//! | loop | where | |
//! |---|---|---|
//! | `columns` | u and depth don't depend on z: circles, helices, parallel beams about z | z is innermost: one u, one weight and one line of pixels a column of voxels |
//! | `rows` | one slice and its plane | x is innermost |
//! | `anywhere` | all others | four pixels a voxel |
//!
//! [`spread`] is the variance of the same sum.
//!
//! A task owns rows of voxels and takes the views in their order, so results are equal to
//! the bit for any number of threads. Projections are copied in chunks of views, transposed
//! and with a margin of zeros, at most 32 MiB at once unless a single view is larger.
//!
//! Source: Feldkamp, Davis & Kress 1984, doi:10.1364/JOSAA.1.000612, eq. 28; z innermost:
//! Treibig et al. 2013, doi:10.1177/1094342012442424, and Zhao et al. 2021,
//! arXiv:2104.13248. Validated by the tests below and of `matrix.rs`.

mod anywhere;
mod columns;
mod matrix;
mod pack;
mod rows;
mod spread;

use crate::ray::{Beam, Grid, Panel, Real, View};
use crate::simd::{self, Isa, SimdLevel};
use matrix::Matrix;
pub(crate) use pack::Pack;
use pack::Plain;
pub use spread::spread;

/// Most bytes of the copies of the projections of a chunk of views.
const CHUNK_BYTES: usize = 32 << 20;
/// Most views of a chunk.
const CHUNK_VIEWS: usize = 32;

/// `f32` or `f64`, with the registers that hold them.
pub trait Sample: Sized {
    /// With fused multiply-add.
    #[doc(hidden)]
    type Fused: Pack<Item = Self>;
    /// Without.
    #[doc(hidden)]
    type Split: Pack<Item = Self>;
    /// One register of AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Wide: Pack<Item = Self>;
}

impl Sample for f32 {
    type Fused = Plain<f32, 16, true>;
    type Split = Plain<f32, 16, false>;
    #[cfg(target_arch = "x86_64")]
    type Wide = pack::Wide<std::arch::x86_64::__m512>;
}

impl Sample for f64 {
    type Fused = Plain<f64, 8, true>;
    type Split = Plain<f64, 8, false>;
    #[cfg(target_arch = "x86_64")]
    type Wide = pack::Wide<std::arch::x86_64::__m512d>;
}

/// A loop that is compiled for every level.
pub(crate) trait Loop<T: Real> {
    /// The body, `#[inline(always)]` so that it takes the instruction set of its caller.
    fn run<P: Pack<Item = T>>(self);
}

/// Runs a loop with the registers of a level.
#[allow(unsafe_code)]
pub(crate) fn at_level<T: Real, L: Loop<T>>(level: SimdLevel, work: L) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    fn avx512<T: Real, L: Loop<T>>(work: L) {
        work.run::<T::Wide>()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<T: Real, L: Loop<T>>(work: L) {
        work.run::<T::Fused>()
    }
    match level.0 {
        // SAFETY: these levels are only handed out by `SimdLevel::available` after the CPU
        // reported the features.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(work) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => work.run::<T::Fused>(),
        _ => work.run::<T::Split>(),
    }
}

/// How much each view counts.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// One factor a view.
    pub view: &'a [f64],
    /// One factor a view and slice of voxels, `[view, z]`; 1 where left out.
    pub slice: Option<&'a [f64]>,
}

/// Adds to a volume what its voxels see; see the head of the module.
///
/// A curved detector counts as one about its source, whatever its radius; views of another
/// are no matter of this function.
///
/// # Shapes
/// `projections` `[view, v, u]`, `volume` `[z, y, x]`.
///
/// # Panics
/// When a slice has another length than its shape says.
pub fn backproject<T: Real>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    weights: Weights<'_>,
    projections: &[T],
    volume: &mut [T],
) {
    backproject_at(simd::level(), grid, panel, views, weights, projections, volume);
}

fn backproject_at<T: Real>(
    level: SimdLevel,
    grid: &Grid,
    panel: Panel,
    views: &[View],
    weights: Weights<'_>,
    projections: &[T],
    volume: &mut [T],
) {
    assert!(volume.len() == grid.len() && projections.len() == views.len() * panel.nu * panel.nv);
    assert!(weights.view.len() == views.len());
    assert!(weights.slice.is_none_or(|s| s.len() == views.len() * grid.shape[2]));
    if volume.is_empty() || projections.is_empty() {
        return;
    }
    let matrices: Vec<Matrix> = views.iter().map(|v| Matrix::new(v, panel, grid)).collect();
    let job = Job { level, grid, panel, matrices: &matrices, weights, projections };
    let flat = |v: &View| {
        let (Beam::Parallel(p) | Beam::Source(p)) = v.beam;
        p[2] == 0.0 && v.detector[2] == 0.0 && v.u[2] == 0.0 && v.v[0] == 0.0 && v.v[1] == 0.0
    };
    let curved = matrices.iter().any(|m| m.arc.is_some());
    if grid.shape[2] == 1 && panel.nv == 1 && views.iter().all(flat) && !curved {
        rows::backproject(job, views.iter().all(|v| matches!(v.beam, Beam::Parallel(_))), volume);
    } else if grid.shape[2] >= 4 && matrices.iter().all(|m| m.is_upright(panel, grid)) {
        columns::backproject(job, volume);
    } else {
        anywhere::backproject(job, volume);
    }
}

/// All that a loop needs.
#[derive(Clone, Copy)]
struct Job<'a, T> {
    level: SimdLevel,
    grid: &'a Grid,
    panel: Panel,
    matrices: &'a [Matrix],
    weights: Weights<'a>,
    projections: &'a [T],
}

impl<'a, T> Job<'a, T> {
    /// The same work in chunks of views whose copies have the given size each.
    fn chunks(self, bytes: usize, most: usize) -> impl Iterator<Item = Job<'a, T>> {
        let step = (CHUNK_BYTES / bytes.max(1)).clamp(1, most);
        let pixels = self.panel.nu * self.panel.nv;
        (0..self.matrices.len()).step_by(step).map(move |first| {
            let past = (first + step).min(self.matrices.len());
            let nz = self.grid.shape[2];
            let weights = Weights {
                view: &self.weights.view[first..past],
                slice: self.weights.slice.map(|s| &s[first * nz..past * nz]),
            };
            Job {
                matrices: &self.matrices[first..past],
                weights,
                projections: &self.projections[first * pixels..past * pixels],
                ..self
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ray::Surface;

    fn value(i: usize) -> f64 {
        ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0
    }

    /// Circles of sources or of parallel rays about z, their detectors turned in their plane.
    fn views(far: Option<f64>, tilt: f64, rise: f64, pitch: f64) -> Vec<View> {
        (0..37)
            .map(|i| {
                let ((s, c), z) = ((0.17 * f64::from(i)).sin_cos(), rise * f64::from(i - 18));
                let (st, ct) = tilt.sin_cos();
                let e = [c, s, 0.0];
                let beam = match far {
                    Some(r) => Beam::Source([r * s, -r * c, z]),
                    None => Beam::Parallel([-s, c, 0.0]),
                };
                View {
                    beam,
                    detector: [-30.0 * s + 0.3 * c, 30.0 * c + 0.3 * s, z],
                    u: [pitch * ct * e[0], pitch * ct * e[1], pitch * st],
                    v: [-1.1 * st * e[0], -1.1 * st * e[1], 1.1 * ct],
                }
            })
            .collect()
    }

    /// The sum of the head of the module, voxel by voxel; a place from the ray through it.
    fn definition(
        grid: &Grid,
        panel: Panel,
        views: &[View],
        weights: Weights<'_>,
        y: &[f64],
    ) -> Vec<f64> {
        let [nx, ny, nz] = grid.shape;
        let mut out = Vec::new();
        for j in 0..grid.len() {
            let q = [j % nx, j / nx % ny, j / nx / ny];
            let mut sum = 0.0;
            for (k, view) in views.iter().enumerate() {
                let m = Matrix::new(view, panel, grid);
                let at = |r| matrix::at(r, q[0] as f64, q[1] as f64, q[2] as f64);
                let s = m.seen(at(&m.u), at(&m.v), at(&m.w));
                if s.depth < matrix::NEAR {
                    continue;
                }
                let slice = weights.slice.map_or(1.0, |s| s[k * nz + q[2]]);
                let weight = weights.view[k] * slice / (s.depth * s.depth);
                for iv in 0..panel.nv {
                    for iu in 0..panel.nu {
                        let (a, b) = ((s.u - iu as f64).abs(), (s.v - iv as f64).abs());
                        if a < 1.0 && b < 1.0 {
                            let pixel = (k * panel.nv + iv) * panel.nu + iu;
                            sum += weight * (1.0 - a) * (1.0 - b) * y[pixel];
                        }
                    }
                }
            }
            out.push(sum);
        }
        out
    }

    fn run<T: Real>(
        level: SimdLevel,
        grid: &Grid,
        panel: Panel,
        views: &[View],
        weights: Weights<'_>,
        y: &[f64],
    ) -> Vec<f64> {
        let y: Vec<T> = y.iter().map(|v| T::narrow(*v)).collect();
        let mut x = vec![T::default(); grid.len()];
        backproject_at(level, grid, panel, views, weights, &y, &mut x);
        x.iter().map(|v| v.wide()).collect()
    }

    /// Every loop, level and number type, also where the detector ends inside the volume,
    /// the source is in it, and voxels are far apart on the detector.
    #[test]
    fn equals_the_definition() {
        let solid = Grid { shape: [19, 21, 37], voxel: [1.0, 0.8, 0.6] };
        let coarse = Grid { shape: [9, 8, 34], voxel: [1.0, 0.8, 4.0] };
        let wide = Grid { shape: [37, 5, 1], voxel: [5.0, 1.5, 1.0] };
        let plane = Grid { shape: [37, 21, 1], voxel: [0.6, 0.8, 1.0] };
        let (panel, line) = (Panel::flat(23, 19), Panel::flat(23, 1));
        let arc = |p: Panel| Panel { surface: Surface::Cylinder { radius: None }, ..p };
        let upright = |far, rise| views(far, 0.0, rise, 1.4);
        for (grid, panel, views) in [
            (&solid, panel, upright(Some(60.0), 0.0)),
            (&solid, panel, upright(Some(60.0), 0.4)),
            (&solid, panel, upright(Some(3.0), 0.1)),
            (&solid, panel, upright(None, 0.2)),
            (&coarse, panel, upright(Some(60.0), 0.0)),
            (&solid, panel, views(Some(60.0), 0.2, 0.0, 1.4)),
            (&solid, panel, views(None, 0.2, 0.0, -1.4)),
            (&solid, arc(panel), upright(Some(60.0), 0.1)),
            (&plane, line, upright(Some(60.0), 0.0)),
            (&plane, line, upright(Some(4.0), 0.0)),
            (&plane, line, upright(None, 0.0)),
            (&plane, line, views(None, 0.0, 0.0, -0.9)),
            (&wide, line, upright(Some(60.0), 0.0)),
            (&wide, line, upright(None, 0.0)),
            (&plane, arc(line), upright(Some(60.0), 0.0)),
        ] {
            let y: Vec<f64> = (0..views.len() * panel.nu * panel.nv).map(value).collect();
            let view: Vec<f64> = (0..views.len()).map(|k| 1.0 + value(k) / 2.0).collect();
            let slice: Vec<f64> =
                (0..views.len() * grid.shape[2]).map(|k| value(k).max(0.0)).collect();
            for slice in [None, Some(&slice[..])] {
                let weights = Weights { view: &view, slice };
                let exact = definition(grid, panel, &views, weights, &y);
                let most = exact.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
                assert!(most > 1.0);
                for level in SimdLevel::available() {
                    let f64s = run::<f64>(level, grid, panel, &views, weights, &y);
                    let f32s = run::<f32>(level, grid, panel, &views, weights, &y);
                    for (j, e) in exact.iter().enumerate() {
                        let (a, b) = ((f64s[j] - e).abs() / most, (f32s[j] - e).abs() / most);
                        assert!(a < 1e-12, "{} voxel {j}: {} {e}", level.name(), f64s[j]);
                        assert!(b < 4e-6, "{} voxel {j}: {} {e}", level.name(), f32s[j]);
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let grid = Grid { shape: [19, 21, 37], voxel: [1.0, 0.8, 0.6] };
        let panel = Panel::flat(23, 19);
        for views in [views(Some(60.0), 0.0, 0.1, 1.4), views(Some(60.0), 0.2, 0.0, 1.4)] {
            let y: Vec<f64> = (0..views.len() * panel.nu * panel.nv).map(value).collect();
            let weights = Weights { view: &vec![1.0; views.len()], slice: None };
            let of = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.map(|p| {
                    p.install(|| run::<f32>(simd::level(), &grid, panel, &views, weights, &y))
                })
                .unwrap_or_default()
            };
            let one = of(1);
            assert_eq!(one.len(), grid.len());
            assert!(one == of(2) && one == of(3));
        }
    }
}
