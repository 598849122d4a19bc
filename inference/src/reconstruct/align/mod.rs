//! Poses of the views: with a known volume, or together with the volume.
//!
//! | module | idea |
//! |---|---|
//! | `unknowns` | which changes of the poses are searched; what only moves the volume |
//! | `gauge` | motions that no projection shows, the motion nearest to given poses |
//! | `calibrate` | poses and what views share in a known volume |
//! | `arrow` | normal equations of views and what they share |
//! | `known` | Levenberg-Marquardt of every view in a known volume |
//! | `joint` | volume and poses by Gauss-Newton, coarse to fine |
//! | `laplace` | the posterior as a normal density, the image marginalised |
//! | `linear` | projections and Jacobian at a place, and sums over them |
//! | `precondition` | the curvature of the image in the DCT |
//! | `motion` | what is believed of the motion |
//! | `loss` | squares, Huber, Student's t |
//! | `table` | Arrow tables of poses and steps |
//! | `operator` | posed views as a projector for every method |
//!
//! Validated by `inference/tests/suite/align.rs`.

mod arrow;
mod calibrate;
mod error;
mod gauge;
mod joint;
mod known;
mod laplace;
mod linear;
mod loss;
mod motion;
mod operator;
mod precondition;
mod table;
mod unknowns;

pub use calibrate::{Calibration, calibrate};
pub use error::AlignError;
pub use gauge::{GENERATORS, framed, gaps, generators, mirrored, moved, nearest};
pub use joint::{JointResult, JointRow, JointSettings, align_jointly};
pub use known::{KnownSettings, ViewFit, ViewStatus, align_to_volume};
pub use laplace::{PosePosterior, PosteriorSettings, pose_posterior};
pub use loss::Loss;
pub use motion::MotionPrior;
pub use operator::PosedViews;
pub use table::{joint_table, pose_table};
pub use unknowns::{Hidden, Unknowns};
