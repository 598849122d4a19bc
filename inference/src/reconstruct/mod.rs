//! Reconstruction of volumes from projections.
//!
//! | module | idea |
//! |---|---|
//! | `operator` | what a projector must be: views forward, and their transpose |
//! | `problem` | projections, weights, bounds and start, checked |
//! | `method`, `run` | a method as a state with steps; stopping rules, callbacks, snapshots |
//! | `history` | a row an iteration |
//! | `algorithm` | the methods by name and their settings |
//! | `graph` | any loss written with Candle ops, by Adam |
//! | `sirt`, `sart`, `os_sart` | algebraic methods: all views at once, one, some |
//! | `block_pass`, `subsets` | a pass over subsets of views, and their order |
//! | `cgls`, `lsqr` | least squares in Krylov spaces |
//! | `mlem`, `osem` | maximum likelihood of Poisson means |
//! | `tv_pocs`, `asd_pocs`, `awtv_pocs`, `tv_descent` | data, bounds and total variation in turn |
//! | `fista_tv`, `pdhg_tv`, `tv_prox` | the minimum of least squares and total variation |
//! | `tv_weight`, `noise` | the weight of the total variation and the noise, from the data |
//! | `model_error` | the variance of what voxels cannot say, beside that of the counts |
//! | `analytic` | filtered backprojection, FDK, their filters and weights |
//! | `quality` | PSNR and SSIM |
//! | `norm` | the largest eigenvalue of the normal equations |
//! | `align` | poses of views, with a known volume or together with it |
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
pub mod align;
mod analytic;
mod asd_pocs;
mod awtv_pocs;
mod block_pass;
mod cgls;
mod error;
mod fista_tv;
#[cfg(feature = "graph")]
pub mod graph;
mod history;
mod lsqr;
mod method;
mod mlem;
mod model_error;
mod noise;
mod norm;
mod operator;
mod os_sart;
mod osem;
mod pdhg_tv;
pub mod posterior;
mod problem;
pub mod quality;
mod run;
mod sart;
mod sirt;
mod subsets;
mod tv_descent;
mod tv_pocs;
mod tv_prox;
mod tv_weight;
mod vector;

pub use algorithm::{Algorithm, Settings};
pub use analytic::{Filter, FilteredBackprojection, Number, Sharing};
pub use error::ReconstructError;
pub use history::{HistoryRow, history_table};
pub use method::{Method, StateVisitor, Step};
pub use model_error::{model_deviation, with_model_deviation};
pub use noise::noise_level;
pub use norm::curvature;
pub use operator::ViewOperator;
pub use problem::Problem;
pub use run::{Ended, Reconstruction, Snapshot, StoppingRule};
pub use tv_weight::default_tv_weight;
