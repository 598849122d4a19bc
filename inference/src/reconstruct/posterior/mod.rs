//! The posterior of an image under Gaussian noise and a Gaussian prior of neighbours.
//!
//! $$y \sim N(Ax, W^{-1}),\quad x \sim N(0, Q^{-1})\;\Rightarrow\;
//! x\,|\,y \sim N(\mu, H^{-1}),\quad H = A^TWA + Q,\quad H\mu = A^TWy$$
//!
//! | module | idea |
//! |---|---|
//! | `gaussian` | operator, weights and prior, checked; $H$ and the right-hand side |
//! | `dense` | small images: Cholesky factor, exact standard deviations, evidence |
//! | `draws` | any image: perturb and optimise, one linear system a draw |
//! | `conjugate` | preconditioned conjugate gradients |
//! | `several` | the same for sixteen right-hand sides at once, on the stored matrix |
//! | `cosine` | the DCT along every axis |
//! | `spectrum` | the preconditioner: $H$ taken as diagonal in the DCT |
//! | `summary` | rows of voxels and regions, exceedance |
//! | `profile` | lines through the image, how much is above a limit |
//! | `edges` | smoothed total variation, normal and Poisson noise: the density |
//! | `scales` | widths of voxels and coefficients from draws and slopes |
//! | `laplace` | the normal density about its mode, by random probes |
//! | `trajectory` | its draws by Hamiltonian trajectories, several chains abreast |
//! | `chain_summary` | rows of voxels with R-hat and effective sample sizes |
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x, \mu$ | 1/mm | image |
//! | $y$ | 1 | projections |
//! | $W$ | 1 | diagonal: inverse variances of the projections |
//! | $Q$ | mm^2 | precision of the prior, [`microtome_models::GaussianField`] |
//!
//! Source: Bardsley 2012, doi:10.1137/11085760X (Gaussian image posteriors and their
//! sampling); Papandreou & Yuille 2010 (perturb and optimise). Validated by
//! `inference/tests/suite/image_posterior.rs` and the tests of the modules.

mod chain_summary;
pub(super) mod conjugate;
pub(super) mod cosine;
mod dense;
mod draws;
mod edges;
mod gaussian;
mod laplace;
pub(super) mod probe;
mod profile;
mod scales;
mod several;
mod spectrum;
mod summary;
mod trajectory;

pub use chain_summary::{VoxelRow, chain_table};
pub use dense::{DENSE_VOXELS, DensePosterior};
pub use draws::{DrawSettings, SampledPosterior};
pub use edges::{EdgePosterior, EdgePrior, ImageNoise};
pub use gaussian::GaussianImage;
pub use laplace::{LaplaceImage, LaplaceSettings};
pub use profile::{ProfilePoint, above_of_draws, profile, profile_chain_table, profile_table};
pub use summary::{ImageSummary, RegionRow, region_table, summary_table};
pub use trajectory::{ChainSettings, ImageChains};
