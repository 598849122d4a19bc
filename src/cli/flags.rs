//! Flags that several verbs share.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Flags of every verb that computes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common")]
pub(crate) struct CommonFlags {
    /// Reads flags from a TOML file; flags of the command line override it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Writes the flags of this run as a TOML file for `--config`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save_config: Option<PathBuf>,
    /// Prints the plan (sizes, memory, time) and writes no results.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Threads; all processors when left out. Results do not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) threads: Option<u32>,
    /// Device: auto, cpu, cuda or metal.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) device: String,
    /// Replaces the results of another run that are in the way.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// No progress and no summary; warnings and errors stay.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Prints one JSON object as the last line of standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

impl CommonFlags {
    /// Checks the device and starts the threads; returns their number and the
    /// name of the device.
    pub(crate) fn start(&self) -> anyhow::Result<(usize, String)> {
        let device = microtome_kernels::device::Device::parse(&self.device)
            .map_err(|e| anyhow::anyhow!("--device: {e}"))?;
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.map_or(all, |n| n as usize);
        // A second start (in `demo`) finds the threads running.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        Ok((threads, device.to_string()))
    }
}

/// The acquisition, in one of three forms.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Acquisition")]
pub(crate) struct AcquisitionFlags {
    /// FSL b-values, s/mm².
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bval: Option<PathBuf>,
    /// FSL b-vectors, 3xN or Nx3 unit vectors.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bvec: Option<PathBuf>,
    /// Shape of each b-tensor, one number a volume, with --bval: 1 linear, 0 spherical,
    /// -0.5 planar. The b-vectors are then the axes of the b-tensors.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) bdelta: Option<PathBuf>,
    /// Pulse duration δ, ms, with --bval.
    #[arg(long, value_name = "MS")]
    pub(crate) delta_ms: Option<f64>,
    /// Pulse separation Δ (leading edges), ms, with --bval.
    #[arg(long, value_name = "MS")]
    pub(crate) big_delta_ms: Option<f64>,
    /// Echo time, ms, with --bval or --waveform.
    #[arg(long, value_name = "MS")]
    pub(crate) te_ms: Option<f64>,
    /// Repetition time, ms, with --bval or --waveform.
    #[arg(long, value_name = "MS")]
    pub(crate) tr_ms: Option<f64>,
    /// Camino scheme, or a CSV in SI with the columns b_s_per_m2, gx, gy, gz
    /// (and delta_s, Delta_s, TE_s, TR_s, b_delta where known).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) scheme: Option<PathBuf>,
    /// Effective gradient waveforms in T/m, .npy [measurement, time, 3]; zeros are b = 0.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) waveform: Option<PathBuf>,
    /// Spacing of the samples of --waveform, ms; sample k holds on [k dt, (k+1) dt).
    #[arg(long, value_name = "MS")]
    pub(crate) dt_ms: Option<f64>,
}

impl AcquisitionFlags {
    /// Whether any form of an acquisition is named.
    pub(crate) fn is_given(&self) -> bool {
        [&self.bval, &self.bvec, &self.scheme, &self.waveform].iter().any(|f| f.is_some())
    }
}

/// The model.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelFlags {
    /// A preset (`microtome info models`), an expression such as "stick + ball",
    /// or a model file ending in .toml.
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// Noise: gaussian, rician, nc_chi (with --coils) or student_t (outliers);
    /// overrides the model file (default gaussian).
    #[arg(long, value_name = "KIND")]
    pub(crate) noise: Option<String>,
    /// Receive coils of nc_chi noise, whose magnitudes were added as a root of a sum of
    /// squares: 1 to 64.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) coils: Option<i64>,
    /// Degrees of freedom of student_t noise (default 5); the fewer, the more outliers.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) nu: Option<f64>,
    /// With `--model csd`: responses of the tissues, made by `microtome response`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) response: Option<PathBuf>,
    /// With `--model csd`: highest order of the harmonics, even [default: 8, less
    /// where the measurements are too few].
    #[arg(long, value_name = "L")]
    pub(crate) lmax: Option<usize>,
    /// With `--model csd`: depth of the negative side lobes of a single peak, in
    /// units of its height; 0 keeps the FOD non-negative everywhere, more resolves
    /// smaller crossing angles [default: 0.02].
    #[arg(long, value_name = "X")]
    pub(crate) side_lobes: Option<f64>,
}

/// The voxels.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Signals")]
pub(crate) struct DataFlags {
    /// Signals: .nii, .nii.gz (i, j, k, measurement) or .npy [voxel, measurement].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) dwi: PathBuf,
    /// Voxels to work on: an image of the same grid or one value a voxel, not 0 inside.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) mask: Option<PathBuf>,
    /// Noise scale in the unit of the signals (one channel of magnitudes): a number, a
    /// file with one value a voxel (.npy, .csv, image), or b0 for that of each voxel's
    /// repeated b=0 images, corrected for the noise floor; estimated with the model
    /// when left out.
    #[arg(long, value_name = "X|FILE|b0")]
    pub(crate) sigma: Option<String>,
    /// Gradient nonlinearity as FSL's grad_dev: an image of nine volumes, or .npy
    /// [voxel, 9]: the deviation L of the gradients column by column, g = (I + L) g.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) grad_dev: Option<PathBuf>,
}

/// The run and its results.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunFlags {
    /// Folder of the results. The same line again resumes what was not finished.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Works on part I of N (I from 1): every N-th block of 256 rows; join with
    /// `microtome merge`.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Failed voxels that are accepted, percent; above it the exit code is 2.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pub(crate) max_failed: f64,
    /// Removes the finished blocks in DIR/.parts once the tables are complete.
    #[arg(long)]
    pub(crate) discard_parts: bool,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl Shard {
    /// I/N.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let parsed =
            text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, of)) if index >= 1 && index <= of => Ok(Shard { index, of }),
            _ => anyhow::bail!("--shard {text}: write I/N with I from 1 to N, for instance 1/8"),
        }
    }
}

impl RunFlags {
    /// The shard of `--shard I/N`.
    pub(crate) fn shard(&self) -> anyhow::Result<Option<Shard>> {
        self.shard.as_deref().map(Shard::parse).transpose()
    }

    /// Checks the number of `--max-failed`.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if !(0.0..=100.0).contains(&self.max_failed) {
            anyhow::bail!("--max-failed {}: a percentage from 0 to 100 is needed", self.max_failed);
        }
        Ok(())
    }
}
