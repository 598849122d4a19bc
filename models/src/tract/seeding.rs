//! Seeds: uniform in the voxels of a mask.
//!
//! Seed n is a function of its number and of the run's seed alone: the voxel is drawn
//! (or given in turn), the place in the voxel is uniform. Validated by
//! `seeds_are_uniform_in_the_mask` in `models/tests/suite/tracking.rs`.

use super::Placement;
use microtome_kernels::philox::{Philox, uniform_pair};
use microtome_kernels::streamline::Seed;

const STREAM: u8 = 81;

/// Seeds of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Seeding {
    /// This many, each in a voxel drawn from the mask.
    Total {
        /// Voxel indices of the mask.
        voxels: Vec<[i32; 3]>,
        /// Number of seeds.
        seeds: u64,
    },
    /// This many in every voxel of the mask, in their order.
    PerVoxel {
        /// Voxel indices of the mask.
        voxels: Vec<[i32; 3]>,
        /// Seeds a voxel.
        seeds: u64,
    },
    /// These world points, mm, with directions or without.
    Points(Vec<([f64; 3], Option<[f64; 3]>)>),
}

impl Seeding {
    /// Number of seeds.
    pub fn len(&self) -> u64 {
        match self {
            Seeding::Total { voxels, seeds } => {
                if voxels.is_empty() {
                    0
                } else {
                    *seeds
                }
            }
            Seeding::PerVoxel { voxels, seeds } => voxels.len() as u64 * seeds,
            Seeding::Points(points) => points.len() as u64,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seed `number` in the coordinates of a field; `mask` is where the mask lies.
    pub fn seed(&self, number: u64, seed: u64, mask: &Placement, field: &Placement) -> Seed {
        let voxel = match self {
            Seeding::Points(points) => {
                let (x, direction) = points[number as usize];
                let direction = direction.map(|d| field.field_of_world(d));
                return Seed { x: field.field_of_world(x), number, direction };
            }
            Seeding::Total { voxels, .. } => {
                let words = Philox::new(seed).block(1, 0, number, STREAM);
                let u = u128::from(u64::from(words[0]) << 32 | u64::from(words[1]));
                voxels[((u * voxels.len() as u128) >> 64) as usize]
            }
            Seeding::PerVoxel { voxels, seeds } => voxels[(number / seeds) as usize],
        };
        let philox = Philox::new(seed);
        let [a, b] = uniform_pair(philox.block(0, 0, number, STREAM));
        let [c, _] = uniform_pair(philox.block(0, 1, number, STREAM));
        let v = [a, b, c];
        let v = [0, 1, 2].map(|i| f64::from(voxel[i]) + v[i] - 0.5);
        Seed { x: field.field_of_world(mask.world_of_voxel(v)), number, direction: None }
    }
}
