//! Any view: four pixels a voxel.
//!
//! Places and shares are `f64` for both number types. Detectors have a margin of zeros, and
//! places beyond it are moved into it, so that no voxel needs a branch.
//!
//! Validated by `equals_the_definition` in `mod.rs`.

use super::matrix::{Matrix, NEAR};
use super::pack::Pack;
use super::{CHUNK_VIEWS, Job, Loop, at_level};
use crate::ray::Real;
use rayon::prelude::*;

/// Voxels at once.
const BLOCK: usize = 8;

pub(super) fn backproject<T: Real>(job: Job<'_, T>, volume: &mut [T]) {
    let [nx, ny, nz] = job.grid.shape;
    let [nu, nv] = [job.panel.nu, job.panel.nv];
    let width = nu + 3;
    let size = width * (nv + 3);
    for chunk in job.chunks(size * size_of::<T>(), CHUNK_VIEWS) {
        let mut pixels = vec![T::default(); size * chunk.matrices.len()];
        pixels.par_chunks_mut(size).enumerate().for_each(|(k, to)| {
            let from = chunk.projections[k * nu * nv..(k + 1) * nu * nv].chunks_exact(nu);
            for (to, from) in to.chunks_exact_mut(width).skip(1).zip(from) {
                for (to, from) in to[1..].iter_mut().zip(from) {
                    *to = T::narrow(from.wide() * chunk.weights.view[k]);
                }
            }
        });
        volume.par_chunks_mut(nx).enumerate().for_each(|(i, row)| {
            let (y, z) = (i % ny, i / ny);
            let job = &chunk;
            at_level(job.level, Row { job, pixels: &pixels, width, size, y, z, nz, row });
        });
    }
}

/// One row of voxels.
struct Row<'a, T> {
    job: &'a Job<'a, T>,
    pixels: &'a [T],
    width: usize,
    size: usize,
    y: usize,
    z: usize,
    nz: usize,
    row: &'a mut [T],
}

impl<T: Real> Loop<T> for Row<'_, T> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(mut self) {
        let (y, z) = (self.y as f64, self.z as f64);
        let rows: Vec<[f64; 3]> = self
            .job
            .matrices
            .iter()
            .map(|m| [&m.u, &m.v, &m.w].map(|r| r[1] * y + (r[2] * z + r[3])))
            .collect();
        let voxels = std::mem::take(&mut self.row);
        for (block, to) in voxels.chunks_mut(BLOCK).enumerate() {
            let mut sums = [0.0; BLOCK];
            for (k, (m, row)) in self.job.matrices.iter().zip(&rows).enumerate() {
                let slice = self.job.weights.slice.map_or(1.0, |s| s[k * self.nz + self.z]);
                if slice != 0.0 {
                    let pixels = &self.pixels[k * self.size..(k + 1) * self.size];
                    let x = (block * BLOCK) as f64;
                    if m.arc.is_some() {
                        self.add::<true>(m, row, pixels, slice, x, &mut sums);
                    } else {
                        self.add::<false>(m, row, pixels, slice, x, &mut sums);
                    }
                }
            }
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = T::narrow(to.wide() + sum);
            }
        }
    }
}

/// A number below 2^31 as an integer, rounded to the nearest: the low bits after
/// 1.5 x 2^52 was added.
#[inline(always)]
fn integer(v: f64) -> i32 {
    (v + 6_755_399_441_055_744.0).to_bits() as i32
}

impl<T: Real> Row<'_, T> {
    /// Adds what neighbouring voxels see of a view.
    #[inline(always)]
    fn add<const ARC: bool>(
        &self,
        m: &Matrix,
        row: &[f64; 3],
        pixels: &[T],
        slice: f64,
        x: f64,
        sums: &mut [f64; BLOCK],
    ) {
        let [far_u, far_v] = [self.job.panel.nu as f64, self.job.panel.nv as f64];
        let parallel = matches!(m.w, [0.0, 0.0, 0.0, 1.0]);
        let width = self.width as f64;
        let [mut weights, mut us, mut vs] = [[0.0; BLOCK]; 3];
        for k in 0..BLOCK {
            let x = x + k as f64;
            let (u, v, w) = (m.u[0] * x + row[0], m.v[0] * x + row[1], m.w[0] * x + row[2]);
            let (u, v, near) = if ARC {
                let s = m.seen(u, v, w);
                (s.u, s.v, if s.depth > NEAR { 1.0 / s.depth } else { 0.0 })
            } else {
                let near = 1.0 / w;
                (u * near, v * near, if w > NEAR { near } else { 0.0 })
            };
            weights[k] = if parallel { slice } else { slice * near * near };
            // NaN is at the margin, too.
            let u = if u > -1.0 { u } else { -1.0 };
            let v = if v > -1.0 { v } else { -1.0 };
            us[k] = if u < far_u { u } else { far_u };
            vs[k] = if v < far_v { v } else { far_v };
        }
        let mut places = [0; BLOCK];
        for k in 0..BLOCK {
            let (fu, fv) = (us[k].floor(), vs[k].floor());
            places[k] = integer((fv + 1.0) * width + (fu + 1.0));
            us[k] -= fu;
            vs[k] -= fv;
        }
        let mut four = [[0.0; BLOCK]; 4];
        for (k, place) in places.iter().enumerate() {
            let at = *place as usize;
            let (near, far) = (&pixels[at..at + 2], &pixels[at + self.width..][..2]);
            four[0][k] = near[0].wide();
            four[1][k] = near[1].wide();
            four[2][k] = far[0].wide();
            four[3][k] = far[1].wide();
        }
        for k in 0..BLOCK {
            let low = four[0][k] + us[k] * (four[1][k] - four[0][k]);
            let high = four[2][k] + us[k] * (four[3][k] - four[2][k]);
            sums[k] += weights[k] * (low + vs[k] * (high - low));
        }
    }
}
