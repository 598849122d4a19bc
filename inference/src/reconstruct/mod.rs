//! Reconstruction of volumes from projections.
//!
//! | module | idea |
//! |---|---|
//! | `operator` | what a projector must be: views forward, and their transpose |
//! | `problem` | projections, weights, bounds and start, checked |
//! | `method`, `run` | a method as a state with steps; stopping rules, callbacks, snapshots |
//! | `history` | a row an iteration |
//! | `algorithm` | the methods by name and their settings |
//! | `sirt` | simultaneous iterative reconstruction |
//! | `posterior` | mean, standard deviation and draws of an image |
//! | `vector` | sums and updates that do not depend on threads |
//!
//! ```
//! use microtome_inference::reconstruct::{
//!     Algorithm, Problem, Reconstruction, Settings, StoppingRule,
//! };
//! use microtome_kernels::ray::Projector;
//! use microtome_models::ct::{GeometryKind, RayTransform, TrajectorySpec, VolumeGrid};
//! use std::ops::ControlFlow;
//!
//! let volume = VolumeGrid::new(&[16, 16], &[1.0, 1.0], &[0.0, 0.0])?;
//! let path = TrajectorySpec::circular(24, &[1.0]);
//! let geometry = path.geometry(GeometryKind::Parallel2d, [1, 24])?;
//! let a = RayTransform::new(geometry, volume, Projector::Joseph)?;
//! let y = a.apply(&vec![1.0_f64; 256])?;
//! let problem = Problem::new(&a, &y)?.with_bounds(0.0, f64::INFINITY)?;
//! let mut run = Reconstruction::new(Algorithm::Sirt, &problem, &Settings::default())?;
//! run.run(&StoppingRule::iterations(200), &mut |_| ControlFlow::Continue(()))?;
//! assert!((run.image()[16 * 8 + 8] - 1.0).abs() < 0.05);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod error;
mod history;
mod method;
mod operator;
pub mod posterior;
mod problem;
mod run;
mod sirt;
mod vector;

pub use algorithm::{Algorithm, Settings};
pub use error::ReconstructError;
pub use history::{HistoryRow, history_table};
pub use method::{Method, StateVisitor, Step};
pub use operator::ViewOperator;
pub use problem::Problem;
pub use run::{Ended, Reconstruction, Snapshot, StoppingRule};
