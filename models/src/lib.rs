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
pub mod ct;
mod cumulant;
mod curvature;
mod deconvolution;
pub mod dictionary;
pub mod dispersion;
mod evaluate;
mod exchange;
mod frame;
#[cfg(feature = "graph")]
mod graph;
mod half_sphere;
mod image_prior;
pub mod information;
mod link;
mod model;
mod noise;
mod orthotropic;
mod parameter;
mod pointwise;
mod pooled;
mod posterior;
mod preset;
mod prior;
mod prior_draw;
mod pulse;
mod relaxation;
mod repeats;
mod restricted;
mod run;
mod shell_means;
mod size_distribution;
mod spec;
mod spherical_harmonics;
mod spherical_mean;
pub mod substrate;
mod tangent;
pub mod tract;
mod zonal;

pub use acquisition::{
    Acquisition, AcquisitionError, B0_MAX_MS_PER_UM2, Correlation, GAMMA_RAD_PER_S_T,
    GradientNonlinearity, Oscillation, OscillationShape, PulseTiming, Shell, Waveform,
};
pub use chart::Chart;
pub use compartment::{Coefficients, Compartment, Family, by_kind, register};
pub use cumulant::{Expansion, KURTOSIS_ELEMENTS, KurtosisMeasures, Measure, TensorMeasure};
pub use deconvolution::{
    BShells, DeconvolutionError, DeconvolutionSpec, Responses, SHELL_WIDTH_MS_PER_UM2, SIDE_LOBES,
    TissueResponse, Used, check_encoding,
};
pub use evaluate::{Evaluator, Lowered};
pub use exchange::Karger;
pub use frame::Frame;
pub use half_sphere::{half_sphere, in_patches, neighbours};
pub use image_prior::{GaussianField, ImagePriorError};
pub use link::{FixedValue, LinkSpec};
pub use model::{Column, Component, Free, FreeKind, Model, ModelError, compose_models};
pub use noise::{COILS_MAX, Constants, NoiseKind, STUDENT_NU};
pub use orthotropic::OrthotropicSeries;
pub use parameter::{POSITIVE, ParameterSpec, Unit, domain_text};
pub use pointwise::PointwiseLikelihood;
pub use pooled::{
    Coupling, PooledCoordinate, PooledDensity, PooledError, PooledSpace, PooledVoxel,
};
pub use posterior::{Posterior, Sigma};
pub use preset::{PRESETS, Preset};
pub use prior::{Prior, PriorError, PriorSpec};
pub use prior_draw::{PriorDrawError, PriorSampler, simulation_rng};
pub use relaxation::{Relaxation, Relaxed};
pub use repeats::{Repeats, RepeatsError};
pub use run::{
    BLOCK_ROWS, FitMethod, Job, RunSpec, SampleMethod, SearchSpec, SigmaSpec, VoxelBatch,
};
pub use shell_means::ShellMeans;
pub use size_distribution::GammaSizes;
pub use spec::{
    CompartmentSpec, Dispersion, ModelSpec, NoiseError, NoiseSpec, SizeDistribution, SpecError,
};
pub use spherical_harmonics::{
    HarmonicBasis, Jet, LMAX_MAX, Series, SphericalHarmonics, anisotropy_index, convolve,
    harmonic_count, harmonic_index, harmonic_order, laplacian_norm, orders, orientation_tensor,
    rotational_harmonics, zonal_peak,
};
pub use spherical_mean::SphericalMean;
pub use tangent::Tangent;
pub use zonal::{Profile, ZonalSeries, project};
