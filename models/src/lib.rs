//! Physics as data and equations: the acquisition, compartments and their
//! composition, links, noise, priors and charts.
//!
//! An **equation** lives here: no loops over measurements (they are in
//! `microtome-kernels`), no files, no searches.

mod acquisition;
mod chart;
mod compartment;
pub mod compartments;
mod compile;
mod deconvolution;
mod evaluate;
#[cfg(feature = "graph")]
mod graph;
mod half_sphere;
mod link;
mod model;
mod noise;
mod parameter;
mod posterior;
mod prior;
mod run;
mod spec;
mod spherical_harmonics;
mod tangent;

pub use acquisition::{
    Acquisition, AcquisitionError, B0_MAX_MS_PER_UM2, GAMMA_RAD_PER_S_T, PulseTiming, Shell,
};
pub use chart::Chart;
pub use compartment::{Coefficients, Compartment, Family, by_kind, register};
pub use deconvolution::{
    BShells, DeconvolutionError, DeconvolutionSpec, Responses, SHELL_WIDTH_MS_PER_UM2, SIDE_LOBES,
    TissueResponse, Used,
};
pub use evaluate::{Evaluator, Lowered};
pub use half_sphere::{half_sphere, in_patches, neighbours};
pub use link::{FixedValue, LinkSpec};
pub use model::{Column, Component, Free, FreeKind, Model, ModelError, compose_models};
pub use noise::{Constants, NoiseKind};
pub use parameter::{ParameterSpec, Unit};
pub use posterior::{Posterior, Sigma};
pub use prior::{Prior, PriorError, PriorSpec};
pub use run::{BLOCK_ROWS, Job, RunSpec, SearchSpec, SigmaSpec, VoxelBatch};
pub use spec::{CompartmentSpec, ModelSpec, NoiseSpec, PRESETS, Preset, SpecError};
pub use spherical_harmonics::{
    HarmonicBasis, Jet, LMAX_MAX, Series, SphericalHarmonics, anisotropy_index, convolve,
    harmonic_count, harmonic_index, harmonic_order, laplacian_norm, orders, orientation_tensor,
    rotational_harmonics, zonal_peak,
};
pub use tangent::Tangent;
