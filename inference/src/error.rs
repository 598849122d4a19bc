//! What can go wrong in a run, as opposed to in a voxel.

/// An error of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The model does not compile or does not fit the acquisition.
    #[error(transparent)]
    Model(#[from] microtome_models::ModelError),
    /// The noise scale can't be had from repeated b = 0 images.
    #[error(transparent)]
    Repeats(#[from] microtome_models::RepeatsError),
    /// Responses that do not fit the acquisition.
    #[error(transparent)]
    Deconvolution(#[from] microtome_models::DeconvolutionError),
    /// A prior that nothing can be drawn from.
    #[error(transparent)]
    PriorDraw(#[from] microtome_models::PriorDrawError),
    /// A model or a setting that can't be calibrated.
    #[error("calibration: {reason}")]
    Calibration {
        /// Why, and what to do.
        reason: String,
    },
    /// A batch lacks a column or has one of another type.
    #[error("batch of voxels: column `{column}` {problem}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A batch with another number of measurements than the acquisition.
    #[error(
        "the signals have {got} measurements, but the acquisition has {expected}; check that image and scheme belong together"
    )]
    Measurements {
        /// Of the acquisition.
        expected: usize,
        /// Of the batch.
        got: usize,
    },
    /// More chains than a voxel has streams of random numbers.
    #[error("{chains} chains a voxel; at most {most} have random numbers of their own, take fewer")]
    Chains {
        /// Asked for.
        chains: usize,
        /// The limit.
        most: usize,
    },
    /// A method that the model or the job does not have.
    #[error("method {method}: {reason}")]
    Method {
        /// Its word on the command line.
        method: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// An acquisition that leaves the coefficients of an expansion open.
    #[error("the acquisition does not determine {what}; it needs {needs}")]
    Undetermined {
        /// Of what.
        what: &'static str,
        /// What would do.
        needs: &'static str,
    },
    /// An acquisition without the shells or directions of a kurtosis tensor.
    #[error(
        "the kurtosis of the signal needs two non-zero shells and 15 directions; this acquisition has b from {low_s_per_mm2} \
         to {high_s_per_mm2} s/mm2 and {directions} directions (counted up to 15); take dti, or data of another shell"
    )]
    KurtosisAcquisition {
        /// Smallest b above zero.
        low_s_per_mm2: f64,
        /// Largest b.
        high_s_per_mm2: f64,
        /// Directions that differ, up to 15.
        directions: usize,
    },
    /// A prior that couples voxels, where they are worked on in separate batches.
    #[error(
        "--prior {prior} couples all voxels, which separate batches can't be; give the whole region at once (no --shard), or take --prior independent"
    )]
    Coupled {
        /// Its word on the command line.
        prior: &'static str,
    },
    /// A model without a pooled prior.
    #[error(transparent)]
    Pooled(#[from] microtome_models::PooledError),
    /// A region that can't be sampled as one.
    #[error("--prior {prior}: {problem}")]
    Region {
        /// Its word on the command line.
        prior: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Draws could not be kept until they are summarised.
    #[error("cannot keep the draws: {0}")]
    Draws(#[from] std::io::Error),
    /// Arrow refused an array.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The run was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Noise whose bias in a mean is not known.
    #[error(
        "spherical_mean = true: means under {noise} noise are made with gaussian noise, or with rician noise of known sigma (--sigma with a number, a map, or b0)"
    )]
    NoiseOfMeans {
        /// The noise.
        noise: &'static str,
    },
}
