//! The transpose of the march: every sample spread over the eight voxels around it.
//!
//! $$x_{c+(i,j,k)} \mathrel{+}= w^z_k\,w^y_j\,w^x_i\;\delta y_r$$
//!
//! for all samples of all rays, with the cells and weights of `march.rs`, in the arithmetic
//! of the number type. A task owns a slab of slices and takes views, bundles, samples and
//! rays in this order, so that every voxel has its terms in the same order for any cut.
//!
//! Validated by `transposes` and `threads_change_no_bit` in `tests.rs`.

use super::bundle::{Bundle, Camera, Part, ToIndex, centred};
use super::march::{Field, Spread, spread};
use super::wide::{Cells, Job, RAYS, Wide};
use super::{Posed, Scene};
use crate::ray::Real;
use crate::simd;
use rayon::prelude::*;

/// Most slabs of a volume.
const SLABS: usize = 16;

/// [`super::adjoint`].
pub(super) fn spread_all<T: Real>(
    scene: &Scene,
    views: &[Posed],
    projections: &[T],
    volume: &mut [T],
) {
    let pixels = scene.pixels();
    assert!(volume.len() == scene.grid.len() && projections.len() == views.len() * pixels);
    if volume.is_empty() || projections.is_empty() {
        return;
    }
    let [nx, ny, nz] = scene.grid.shape;
    let (axis, n, plane) = if nz > 1 { (2, nz, nx * ny) } else { (1, ny, nx) };
    let thick = n.div_ceil(SLABS);
    let cameras: Vec<(Camera, ToIndex)> = views
        .iter()
        .map(|posed| {
            let camera = Camera::new(&posed.view, scene.panel, scene.steps);
            (camera, ToIndex::new(&posed.place, &scene.grid))
        })
        .collect();
    let level = simd::level();
    volume.par_chunks_mut(thick * plane).enumerate().for_each(|(at, slab)| {
        let begin = at * thick;
        let part = Part { axis, begin, end: begin + slab.len() / plane };
        let base = begin * plane;
        T::at_level(level, Slab { scene, cameras: &cameras, projections, part, base, slab });
    });
}

/// What all rays leave in a slab.
struct Slab<'a, T> {
    scene: &'a Scene,
    cameras: &'a [(Camera, ToIndex)],
    projections: &'a [T],
    part: Part,
    base: usize,
    slab: &'a mut [T],
}

impl<T: Real> Job for Slab<'_, T> {
    type Scalar = T;
    type Output = ();

    #[inline(always)]
    fn run<W: Wide<Scalar = T>>(self) {
        let Scene { grid, steps, .. } = self.scene;
        let count = steps.count;
        let length = T::narrow(steps.length_mm);
        // Only cells and weights are asked of it.
        let field = Field::shape(grid);
        let pixels = self.scene.pixels();
        let mut to = Target { slab: self.slab, base: self.base, offsets: field.offsets() };
        for ((camera, map), values) in self.cameras.iter().zip(self.projections.chunks(pixels)) {
            for (at, values) in values.chunks(RAYS).enumerate() {
                let rays = camera.rays(at * RAYS, values.len());
                let bundle = Bundle::<W>::new(&rays, map, grid, &self.part, count);
                if bundle.first >= bundle.past {
                    continue;
                }
                let mut y = [T::default(); RAYS];
                for (y, value) in y.iter_mut().zip(values) {
                    *y = T::narrow(value.wide() * length.wide());
                }
                let y = W::load(&y);
                let [begin, end] = bundle.inner;
                for k in bundle.first..begin {
                    let s = spread::<W, false>(&field, &bundle, centred::<W>(k, count), y);
                    to.add(&s, values.len());
                }
                for k in begin..end {
                    let s = spread::<W, true>(&field, &bundle, centred::<W>(k, count), y);
                    to.add(&s, values.len());
                }
                for k in end..bundle.past {
                    let s = spread::<W, false>(&field, &bundle, centred::<W>(k, count), y);
                    to.add(&s, values.len());
                }
            }
        }
    }
}

/// A slab of the volume.
struct Target<'a, T> {
    slab: &'a mut [T],
    base: usize,
    offsets: [usize; 4],
}

impl<T: Real> Target<'_, T> {
    #[inline(always)]
    fn add<W: Wide<Scalar = T>>(&mut self, spread: &Spread<W>, rays: usize) {
        let Cells(cells) = spread.cells;
        let mut shares = [[[T::default(); RAYS]; 2]; 4];
        for k in 0..4 {
            spread.shares[k][0].store(&mut shares[k][0]);
            spread.shares[k][1].store(&mut shares[k][1]);
        }
        for l in 0..rays {
            for k in 0..4 {
                // Below the slab the difference wraps to a number that no slab has.
                let at = (cells[l] as usize + self.offsets[k]).wrapping_sub(self.base);
                for i in 0..2 {
                    if let Some(v) = self.slab.get_mut(at.wrapping_add(i)) {
                        *v = T::plus(*v, shares[k][i][l]);
                    }
                }
            }
        }
    }
}
