//! Images of several chains side by side: voxel by voxel, a number a chain.
//!
//! A chain is a lane of a register. What the chains share (a row of the projector, the
//! neighbours of a voxel, a cosine) is then read once for all of them.
//!
//! | module | idea |
//! |---|---|
//! | `stored` | the matrix of a projector, by rays and by voxels |
//! | `likelihood` | $-\ln p(y|x)$ and its gradient |
//! | `variation` | smoothed total variation of neighbours, and a ridge |
//! | `positive` | images above 0, by their logarithms |
//! | `cosine` | the orthonormal DCT along every axis |
//! | `linear` | dots, sums and a Gaussian field, for linear systems |
//! | `flow` | kicks, drifts, kinetic energy, copies of some chains |
//!
//! Numbers are 32-bit; sums over voxels or rays are 64-bit a row or a line. What is held are
//! deviations from a centre, so that rounding is of the deviation and not of the image.
//! Nothing here has threads: results are a function of the input and of whether the
//! instruction-set level has a fused multiply-add.
//!
//! Validated by the tests of the modules.

// In tests one index runs through several arrays, a lane each.
#![cfg_attr(test, allow(clippy::needless_range_loop))]

mod cosine;
mod flow;
mod likelihood;
mod linear;
mod positive;
mod stored;
mod variation;

pub use cosine::CosineLanes;
pub use flow::{drift, half_square, kick, scale, take, turn};
pub use likelihood::{RayTerm, pull};
pub use linear::{add_field, add_scaled, dots, redirect};
pub use positive::{by_logarithms, raise};
pub use stored::Stored;
pub use variation::{Variation, variation};

use crate::lanes::Lanes;
use crate::simd::LANES;
use crate::single::lanes::{Singles, WIDTH};

/// Chains abreast: the numbers of the widest register.
pub const ABREAST: usize = WIDTH;

/// A number of every chain.
pub type Wide = [f32; ABREAST];

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Images of the chains `[voxel, chain]` that begin with a line of the cache, so that no
/// register is read from two.
#[derive(Debug)]
pub struct Images {
    flat: Vec<f32>,
    first: usize,
    voxels: usize,
}

impl Images {
    /// Zeros.
    pub fn zeros(voxels: usize) -> Self {
        let flat = vec![0.0_f32; voxels * ABREAST + LINE / size_of::<f32>()];
        let first = flat.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        Self { flat, first, voxels }
    }
}

impl std::ops::Deref for Images {
    type Target = [Wide];

    fn deref(&self) -> &[Wide] {
        self.flat[self.first..self.first + self.voxels * ABREAST].as_chunks().0
    }
}

impl std::ops::DerefMut for Images {
    fn deref_mut(&mut self) -> &mut [Wide] {
        self.flat[self.first..self.first + self.voxels * ABREAST].as_chunks_mut().0
    }
}

impl Clone for Images {
    fn clone(&self) -> Self {
        let mut out = Self::zeros(self.voxels);
        out.copy_from_slice(self);
        out
    }
}

/// A sum of every chain in 64 bits.
struct Sums<S: Singles>([S::Wide; 2]);

impl<S: Singles> Sums<S> {
    #[inline(always)]
    fn zero() -> Self {
        Self([S::Wide::splat(0.0); 2])
    }

    #[inline(always)]
    fn add(&mut self, row: S) {
        let [low, high] = row.halves();
        self.0 = [self.0[0].add(low), self.0[1].add(high)];
    }

    #[inline(always)]
    fn store(&self, out: &mut [f64; ABREAST]) {
        for (sum, out) in self.0.iter().zip(out.as_chunks_mut::<LANES>().0) {
            sum.store(out);
        }
    }
}
