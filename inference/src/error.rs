//! What can go wrong in a run, as opposed to in a voxel.

/// An error of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The model does not compile or does not fit the acquisition.
    #[error(transparent)]
    Model(#[from] microtome_models::ModelError),
    /// Responses that do not fit the acquisition.
    #[error(transparent)]
    Deconvolution(#[from] microtome_models::DeconvolutionError),
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
    /// Arrow refused an array.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The run was asked to stop.
    #[error("interrupted")]
    Interrupted,
}
