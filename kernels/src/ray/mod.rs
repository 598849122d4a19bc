//! Line integrals through a grid of voxels, and the exact transpose of that map.
//!
//! A projector is a sparse matrix $A$: row = ray, column = voxel,
//!
//! $$(Ax)_r = \sum_j A_{rj}\,x_j,\qquad (A^Ty)_j = \sum_r A_{rj}\,y_r.$$
//!
//! Neither is stored. `footprint.rs` says which voxels a ray meets in a slice across its
//! main axis, and how much of each; [`forward`] sums over them and [`adjoint`] spreads
//! over them, so the two are transposes of each other entry by entry, whatever the rays;
//! in 32 bits, within the rounding of weights (`comb.rs`, `sheet`).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | voxels `[z, y, x]` |
//! | $y$ | 1 | projections `[view, v, u]` |
//! | $A_{rj}$ | mm | length of ray $r$ that counts for voxel $j$ |
//!
//! No ray writes where another thread does: the transpose is done in slabs of slices,
//! each owned by one task that takes the rays in their order. So results are equal to
//! the bit for any number of threads.
//!
//! Source: Joseph 1982, doi:10.1109/TMI.1982.4307572; Siddon 1985,
//! doi:10.1118/1.595715. Validated by the tests of `footprint.rs` and `driver.rs`, and by
//! `equals_the_reference` and `transposes_on_random_geometries` in `models/tests/suite/ct.rs`.

mod brick;
mod comb;
mod driver;
mod footprint;
mod line;
mod march;
mod real;
mod rows;
pub mod separable;
mod sheet;
mod strip;
mod surface;
pub mod trilinear;

pub use driver::{adjoint, forward};
pub use line::{Beam, Grid, Panel, View};
pub use real::Real;
pub use rows::Rows;
pub use surface::Surface;

/// Which lengths count for which voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projector {
    /// Cells of constant value and the exact length of the ray in each.
    Siddon,
    /// One sample a slice of the main axis, linear between voxel centres across, zero
    /// outside.
    Joseph,
    /// Samples at fixed steps, trilinear between voxel centres, zero outside; see
    /// [`trilinear`].
    Trilinear,
    /// The mean over a pixel of finite width of the shadows of voxels; see [`separable`].
    SeparableFootprint,
}

impl Projector {
    /// Those that walk along a ray slice by slice, which [`forward`] and [`adjoint`] do.
    pub const SLICEWISE: [Projector; 2] = [Projector::Siddon, Projector::Joseph];

    /// Every one.
    pub const EVERY: [Projector; 4] =
        [Projector::Siddon, Projector::Joseph, Projector::Trilinear, Projector::SeparableFootprint];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Projector::Siddon => "siddon",
            Projector::Joseph => "joseph",
            Projector::Trilinear => "trilinear",
            Projector::SeparableFootprint => "sf",
        }
    }
}
