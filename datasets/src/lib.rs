//! Bytes: images, gradient tables, matrices, Parquet parts, phantoms and demo data.
//!
//! | module | reads and writes |
//! |---|---|
//! | [`gradients`] | FSL b-values and b-vectors |
//! | [`scheme`] | Camino schemes, scheme tables |
//! | [`waveforms`] | free gradient waveforms |
//! | [`signals`] | signals of voxels from NIfTI or `.npy`, by ranges |
//! | [`deviations`] | gradient nonlinearity of every voxel |
//! | [`geometry`] | grid and affine of an image |
//! | [`maps`] | NIfTI maps of results |
//! | [`parts`], [`table`] | Parquet tables, finished blocks, resume |
//! | [`matrix`], [`csv_table`] | `[set, measurement]` matrices, parameter tables |
//! | [`mod@array`], [`pieces`], [`set_up`], [`rtk_geometry`] | volumes and projections, CT set-ups |
//! | [`array_file`], [`tiff_stack`], [`preview`] | arrays as TIFF, NIfTI and PNG |
//! | [`frames`], [`scan`] | stacks of images: NPY, raw, TIFF, HDF5 |
//! | [`tracts`] | streamlines: TRX, TCK, TRK, VTK |
//! | [`parcels`] | labels of nodes, matrices of connectivity |
//! | [`mesh`] | triangle meshes |
//! | [`substrate`] | substrates of simulations |
//! | [`dictionary`] | simulated dictionaries |
//! | [`phantom`] | structures with known truth, noise |
//! | [`demo`] | the embedded demonstration block |
//!
//! Units are converted here and nowhere else: inside, b is in ms/µm², times in
//! ms, gradients in T/m.

pub mod array;
pub mod array_file;
pub mod atomic;
mod checkpoint;
pub mod csv_table;
pub mod demo;
pub mod deviations;
pub mod dictionary;
mod draws;
mod error;
pub mod frames;
pub mod geometry;
pub mod gradients;
mod groups;
pub mod hash;
pub mod maps;
mod mask;
pub mod matrix;
pub mod mesh;
mod nifti_image;
mod npy;
pub mod parcels;
pub mod parts;
pub mod phantom;
pub mod pieces;
pub mod preview;
pub mod responses;
pub mod rtk_geometry;
mod sample;
pub mod scan;
pub mod scheme;
pub mod set_up;
pub mod signals;
mod strided;
pub mod substrate;
pub mod table;
mod text;
pub mod tiff_stack;
pub mod tracts;
pub mod waveforms;

pub use array::{Array, Values};
pub use array_file::{ArrayFormat, StagedArray, stage_array, write_array};
pub use checkpoint::Checkpoint;
pub use csv_table::ParameterTable;
pub use deviations::GradientDeviations;
pub use dictionary::{read_dictionary, read_dictionary_table, write_dictionary};
pub use draws::DrawFiles;
pub use error::{DatasetError, Result};
pub use frames::{FrameOptions, Frames, RawLayout};
pub use geometry::{ImageGeometry, world_from_fsl, world_from_voxel_axes};
pub use gradients::{FslTimes, read_fsl, read_fsl_shapes};
pub use hash::{content_hash, numbers_hash};
pub use maps::MapWriter;
pub use matrix::{Matrix, MatrixWriter, read_matrix, write_matrix};
pub use mesh::read_mesh;
pub use parcels::{Parcels, write_connectivity};
pub use parts::{Join, PartStore};
pub use pieces::{ArrayPieces, ArrayWriter, Stored};
pub use preview::{Window, write_preview};
pub use responses::{mrtrix_response_text, read_responses, responses_text};
pub use rtk_geometry::{read_rtk_geometry, rtk_geometry_text, stage_text, write_rtk_geometry};
pub use scan::Scan;
pub use scheme::{SchemeFile, read_scheme};
pub use set_up::{read_projections, read_set_up, read_weights};
pub use signals::{Rows, SignalSource};
pub use substrate::{build_substrate, read_substrate, read_substrate_spec};
pub use table::{TableReader, TableWriter, read_table, write_table};
pub use tracts::{
    TractColumn, TractDensity, TractFormat, TractWriter, Tractogram, VoxelPath, linearise,
    read_tracts, tract_batch, tract_schema, write_tract_table, write_tracts,
};
pub use waveforms::{Samples, read_waveform_samples, read_waveforms};
