//! What a deconvolution says of one voxel.

use super::design::{Deconvolver, DeconvolverState};
use super::peaks::Peaks;
use crate::fit::Status;
use microtome_kernels::eigen::eigen_3x3;
use microtome_models::{anisotropy_index, laplacian_norm, orientation_tensor};

/// The result of one voxel.
#[derive(Debug, Clone)]
pub struct VoxelDeconvolution {
    /// How it ended; on failure all numbers are NaN.
    pub status: Status,
    /// Coefficients of the fibre orientation distribution.
    pub fod: Vec<f64>,
    /// Volumes of the tissues in units of their responses.
    pub volumes: Vec<f64>,
    /// The largest peaks.
    pub peaks: Peaks,
    /// Orientation dispersion index, see [`microtome_models::dispersion::dispersion_index`].
    pub odi: f64,
    /// [`anisotropy_index`] of the distribution.
    pub anisotropy: f64,
    /// [`laplacian_norm`] of the distribution.
    pub laplacian: f64,
    /// Coefficient of determination of the used signals.
    pub r2: f64,
    /// Mean squared error of the used signals.
    pub mse: f64,
    /// Steps of the search.
    pub steps: usize,
}

/// Voxels that are read together.
const VOXELS: usize = 8;

impl Deconvolver {
    /// Deconvolves one voxel.
    pub fn fit(&self, signals: &[f64], state: &mut DeconvolverState) -> VoxelDeconvolution {
        self.read(signals, state);
        self.fit_read(0, signals, state)
    }

    /// Deconvolves some voxels, `signals` `[voxel, measurement]`: each as
    /// [`Deconvolver::fit`] does, to the bit.
    pub fn fit_each(
        &self,
        signals: &[f64],
        state: &mut DeconvolverState,
        out: &mut Vec<VoxelDeconvolution>,
    ) {
        for signals in signals.chunks(self.measurements() * VOXELS) {
            self.read(signals, state);
            for (voxel, signals) in signals.chunks_exact(self.measurements()).enumerate() {
                out.push(self.fit_read(voxel, signals, state));
            }
        }
    }

    fn fit_read(
        &self,
        voxel: usize,
        signals: &[f64],
        state: &mut DeconvolverState,
    ) -> VoxelDeconvolution {
        let tissues = self.spec().responses.tissue.len();
        let used = || self.used().iter().map(|i| signals[*i]);
        if signals.iter().any(|y| !y.is_finite()) || used().all(|y| y == 0.0) {
            return VoxelDeconvolution {
                status: Status::InvalidSignal,
                fod: vec![f64::NAN; self.harmonics()],
                volumes: vec![f64::NAN; tissues],
                peaks: Peaks::default(),
                odi: f64::NAN,
                anisotropy: f64::NAN,
                laplacian: f64::NAN,
                r2: f64::NAN,
                mse: f64::NAN,
                steps: 0,
            };
        }
        let outcome = self.solve_read(voxel, state);
        let mut volumes = vec![0.0; tissues];
        self.volumes(state, &mut volumes);
        let (mse, r2) = self.residuals(state);
        let peaks = *self.peaks(state);
        let fod = self.solution(state)[..self.harmonics()].to_vec();
        let odi = if volumes[0] > 0.0 {
            self.dispersion().of(eigen_3x3(orientation_tensor(&fod)).0[0])
        } else {
            f64::NAN
        };
        VoxelDeconvolution {
            status: if outcome.converged { Status::Converged } else { Status::MaxIterations },
            anisotropy: anisotropy_index(&fod),
            laplacian: laplacian_norm(&fod),
            fod,
            volumes,
            peaks,
            odi,
            r2,
            mse,
            steps: outcome.steps,
        }
    }
}
