//! Tractography: orientation fields with their frames, rules, seeds, and many streamlines.
//!
//! | module | idea |
//! |---|---|
//! | `placement` | voxels, world and the axes of directions |
//! | `field` | functions on the sphere in every voxel |
//! | `graph` | streamlines as a Candle op |
//! | `orientation_function` | orientation functions of signals: constant solid angle, orientation probability |
//! | `seeding` | seeds in masks |
//! | `tracking` | what a run follows, and all its streamlines in order |
//!
//! The loops are in [`microtome_kernels::streamline`]. Validated by
//! `models/tests/suite/tracking.rs`.

mod field;
#[cfg(feature = "graph")]
pub mod graph;
mod orientation_function;
mod placement;
mod seeding;
mod tracking;

pub use field::{FieldError, OrientationField, StickField};
pub use microtome_kernels::streamline::{
    Flag, Integrator, Interpolation, Lattice, Region, Regions, Seed, Starts, Stop, Survival,
};
pub use orientation_function::{OrientationError, OrientationFunctions, OrientationModel};
pub use placement::{Placement, affine_inverse};
pub use seeding::Seeding;
pub use tracking::{Group, Rule, Streamline, Tracking, TrackingError, TrackingSpec};
