//! X-ray CT: where rays run, which voxels there are, and the linear map between a volume
//! and its projections.
//!
//! | module | idea |
//! |---|---|
//! | `attenuation` | beam hardening, Hounsfield units |
//! | `geometry` | one row of vectors a view, and what makes a row impossible |
//! | `ellipses` | phantoms of which voxels and projections are known exactly |
//! | `detector` | offset, tilt, crop and binning of the detector |
//! | `rigid` | turns and shifts of views and volumes |
//! | `volume` | the grid of voxels: size, spacing, centre, orientation |
//! | `trajectory` | circular, helical, sinusoidal, saddle and random paths as rows of vectors |
//! | `exchange`, `rtk`, `tigre` | geometries of ASTRA, diffct, RTK and TIGRE, in and out |
//! | `path` | any other path: a list of sources or of rays |
//! | `pose` | projections as functions of the pose of the volume, and their derivatives |
//! | `pose_detector` | errors of source and detector as parameters of a view |
//! | `description` | the TOML file of a set-up |
//! | `graph` | projectors as Candle ops |
//! | `changes` | its keys that shift, tilt, crop, bin and move |
//! | `transform` | the map, its exact transpose, sums of rows and columns, norm |
//! | `voxel_driven` | the backprojection of filtered projections |
//!
//! Lengths are in mm; a volume in 1/mm has projections without a unit. Axes x, y, z are
//! right-handed; arrays are `[z, y, x]` and `[view, v, u]`, and an index grows with its
//! coordinate.

mod attenuation;
mod changes;
mod description;
mod detector;
mod ellipses;
mod error;
mod exchange;
mod geometry;
#[cfg(feature = "graph")]
pub mod graph;
mod path;
mod pose;
mod pose_detector;
mod pose_motion;
mod pose_pyramid;
mod rigid;
mod rtk;
mod tigre;
mod trajectory;
mod transform;
mod volume;
mod voxel_driven;

pub use attenuation::{BeamHardening, hounsfield};
pub use changes::{CropSpec, TransformSpec};
pub use description::{SetUp, SetUpSpec, VolumeSpec};
pub use detector::{BinRule, Reduction};
pub use ellipses::{Ellipse, EllipsePhantom};
pub use error::CtError;
pub use exchange::{DiffctRows, ExchangeFormat, ImportSpec};
pub use geometry::{Geometry, GeometryKind};
pub use microtome_kernels::ray::{Real, Surface};
pub use pose::{PoseModel, batch_forward_project, forward_project_view, view_loss_value_and_grad};
pub use pose_detector::DETECTOR_PARAMETERS;
pub use rigid::RigidTransform;
pub use rtk::{RtkGeometry, RtkProjection};
pub use tigre::{Each, TigreAngles, TigreGeometry};
pub use trajectory::{TrajectoryKind, TrajectorySpec};
pub use transform::RayTransform;
pub use volume::VolumeGrid;
pub use voxel_driven::VoxelDriven;

use microtome_kernels::vector::{cross, dot, minus, norm};
