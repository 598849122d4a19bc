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
//! | `cosine` | the orthonormal DCT along every axis |
//! | `linear` | dots, sums and a Gaussian field, for linear systems |
//! | `flow` | kicks, drifts, kinetic energy, copies of some chains |
//!
//! Numbers are 32-bit; sums over voxels or rays are 64-bit a row or a line. What is held are
//! deviations from a centre, so that rounding is of the deviation and not of the image.
//! The number of chains abreast, `W`, is [`ABREAST`]; only sums over the matrix need that. Nothing here has threads: results are
//! a function of the input and the instruction-set level.
//!
//! Validated by the tests of the modules.

// One index runs through several arrays, a lane each.
#![allow(clippy::needless_range_loop)]

mod cosine;
mod flow;
mod likelihood;
mod linear;
mod stored;
mod variation;

pub use cosine::CosineLanes;
pub use flow::{drift, half_square, kick, scale, take, turn};
pub use likelihood::{CountTerm, NormalTerm, RayTerm, pull};
pub use linear::{add_field, add_scaled, dots, redirect};
pub use stored::Stored;
pub use variation::{Variation, variation};

/// A number of every chain.
pub type Wide<const W: usize> = [f32; W];

/// Chains abreast: the numbers of the widest register.
pub const ABREAST: usize = crate::single::lanes::WIDTH;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Images of `W` chains `[voxel, chain]` that begin with a line of the cache, so that no
/// register is read from two.
#[derive(Debug)]
pub struct Images<const W: usize> {
    flat: Vec<f32>,
    first: usize,
    voxels: usize,
}

impl<const W: usize> Images<W> {
    /// Zeros.
    pub fn zeros(voxels: usize) -> Self {
        let flat = vec![0.0_f32; voxels * W + LINE / size_of::<f32>()];
        let first = flat.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        Self { flat, first, voxels }
    }
}

impl<const W: usize> std::ops::Deref for Images<W> {
    type Target = [Wide<W>];

    fn deref(&self) -> &[Wide<W>] {
        self.flat[self.first..self.first + self.voxels * W].as_chunks().0
    }
}

impl<const W: usize> std::ops::DerefMut for Images<W> {
    fn deref_mut(&mut self) -> &mut [Wide<W>] {
        self.flat[self.first..self.first + self.voxels * W].as_chunks_mut().0
    }
}

impl<const W: usize> Clone for Images<W> {
    fn clone(&self) -> Self {
        let mut out = Self::zeros(self.voxels);
        out.copy_from_slice(self);
        out
    }
}

/// `a * b + c`, fused where the level has it.
#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `a * b + c` in every lane.
#[inline(always)]
fn madds<const FMA: bool, const W: usize>(a: f32, b: &Wide<W>, c: &mut Wide<W>) {
    *c = each(b, c, |b, c| madd::<FMA>(a, b, c));
}

/// A number of every chain from two others. Whole registers come of this only when a
/// result is stored after all of it is known.
#[inline(always)]
fn each<const W: usize>(a: &Wide<W>, b: &Wide<W>, f: impl Fn(f32, f32) -> f32) -> Wide<W> {
    let mut out = [0.0; W];
    for l in 0..W {
        out[l] = f(a[l], b[l]);
    }
    out
}

/// Adds a row's sum to the whole.
#[inline(always)]
fn gather<const W: usize>(row: &Wide<W>, sum: &mut [f64; W]) {
    for (sum, row) in sum.iter_mut().zip(row) {
        *sum += f64::from(*row);
    }
}
