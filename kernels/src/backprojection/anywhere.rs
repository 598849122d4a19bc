//! Any view: four pixels a voxel.
//!
//! Places and shares are `f64` for both number types. Detectors have a margin of zeros, and
//! places beyond it are moved into it, so that no voxel needs a branch.
//!
//! Validated by `equals_the_definition` in `mod.rs`.

use super::matrix::{Matrix, NEAR};
use super::pack::Pack;
use super::{CHUNK_VIEWS, Job, Loop, Sample, at_level};
use rayon::prelude::*;

/// Voxels at once.
const BLOCK: usize = 8;

pub(super) fn backproject<T: Sample>(job: Job<'_, T>, volume: &mut [T]) {
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

impl<T: Sample> Loop<T> for Row<'_, T> {
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
                    self.add(m, row, pixels, slice, (block * BLOCK) as f64, &mut sums);
                }
            }
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = T::narrow(to.wide() + sum);
            }
        }
    }
}

impl<T: Sample> Row<'_, T> {
    #[inline(always)]
    fn add(
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
        let [mut weights, mut us, mut vs] = [[0.0; BLOCK]; 3];
        for k in 0..BLOCK {
            let x = x + k as f64;
            let s = m.seen(m.u[0] * x + row[0], m.v[0] * x + row[1], m.w[0] * x + row[2]);
            weights[k] = if s.depth > NEAR { 1.0 / (s.depth * s.depth) } else { 0.0 };
            // Of NaN, max takes the other.
            us[k] = s.u.max(-1.0).min(far_u);
            vs[k] = s.v.max(-1.0).min(far_v);
        }
        for k in 0..BLOCK {
            let (fu, fv) = (us[k].floor(), vs[k].floor());
            let (i, j) = ((fu + 1.0) as usize, (fv + 1.0) as usize);
            let (a, b) = (us[k] - fu, vs[k] - fv);
            let at = j * self.width + i;
            let (near, far) = (&pixels[at..at + 2], &pixels[at + self.width..at + self.width + 2]);
            let low = near[0].wide() + a * (near[1].wide() - near[0].wide());
            let high = far[0].wide() + a * (far[1].wide() - far[0].wide());
            let weight = if parallel { slice } else { slice * weights[k] };
            sums[k] += weight * (low + b * (high - low));
        }
    }
}
