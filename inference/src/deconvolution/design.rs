//! The deconvolution of voxels: tables that all voxels share, and the solution of
//! one.
//!
//! $$\hat x = \arg\min_x |X x - y|^2 + \epsilon |x|^2\quad\text{subject to}\quad A x\ge0$$
//!
//! with the unknowns $x$ (the coefficients of the fibre orientation distribution,
//! then the volumes of the isotropic tissues), $X$ of `microtome_models::DeconvolutionSpec`
//! and $A$ the distribution in 300 directions of the half-sphere and the volumes.
//! The small $\epsilon$ (1e-9 of the largest squared column of X) makes the solution
//! unique where the data leave high orders open.
//!
//! Source: Jeurissen et al. 2014, doi:10.1016/j.neuroimage.2014.07.061, eq. 4 and 5
//! (hard constraints; 300 directions as in MRtrix3).
//! Validated by `tests/deconvolution.rs`.

use super::cone::{Cone, ConeOutcome, ConeState, NEIGHBOURS};
use super::peaks::{PeakFinder, Peaks};
use crate::InferenceError;
use microtome_kernels::rows::add_rows;
use microtome_models::{
    Acquisition, DeconvolutionError, DeconvolutionSpec, SphericalHarmonics, half_sphere,
    harmonic_count, neighbours, rotational_harmonics,
};
use std::f64::consts::PI;

/// Directions in which the distribution must not be negative.
const DIRECTIONS: usize = 300;
/// The ridge in units of the largest diagonal of the normal matrix.
const RIDGE: f64 = 1e-9;

/// The shared tables of a deconvolution.
#[derive(Debug, Clone)]
pub struct Deconvolver {
    spec: DeconvolutionSpec,
    lmax: usize,
    measurements: usize,
    used: Vec<usize>,
    cone: Cone,
    /// Unconstrained point of a unit signal in each used measurement.
    starts: Vec<f64>,
    /// 0, 1, 2, ...
    counting: Vec<u32>,
    /// X transposed `[unknown, measurement, padding]`.
    design: Vec<f64>,
    width: usize,
    peaks: PeakFinder,
}

/// Room for one voxel.
#[derive(Debug, Clone)]
pub struct DeconvolverState {
    cone: ConeState,
    y: Vec<f64>,
    start: Vec<f64>,
    predicted: Vec<f64>,
    peaks: Peaks,
}

impl Deconvolver {
    /// Prepares the tables.
    ///
    /// # Errors
    /// Responses and acquisition that do not go together; too many unknowns.
    pub fn new(
        spec: &DeconvolutionSpec,
        acquisition: &Acquisition,
    ) -> Result<Self, InferenceError> {
        let mut spec = spec.clone();
        spec.resolve(acquisition)?;
        let lmax = spec.lmax.unwrap_or(0);
        let sh = SphericalHarmonics::new(lmax).ok_or(DeconvolutionError::Order { lmax })?;
        let responses = &spec.responses;
        let used = responses.used(acquisition)?;
        let harmonics = harmonic_count(lmax);
        let tissues = responses.tissue.len();
        let unknowns = harmonics + tissues - 1;
        let rotational: Vec<Vec<f64>> =
            responses.tissue[0].zonal.iter().map(|z| rotational_harmonics(z)).collect();
        let mut x = vec![0.0; used.measurements.len() * unknowns];
        for ((row, i), shell) in x.chunks_exact_mut(unknowns).zip(&used.measurements).zip(&used.shell) {
            sh.evaluate(acquisition.directions()[*i], &mut row[..harmonics]);
            microtome_models::convolve(&rotational[*shell], &mut row[..harmonics]);
            for k in 1..tissues {
                row[harmonics + k - 1] = responses.isotropic_signal(k, *shell);
            }
        }
        let mut hessian = vec![0.0; unknowns * unknowns];
        for row in x.chunks_exact(unknowns) {
            for (h, a) in hessian.chunks_exact_mut(unknowns).zip(row) {
                h.iter_mut().zip(row).for_each(|(h, b)| *h += a * b);
            }
        }
        let largest = (0..unknowns).map(|i| hessian[i * (unknowns + 1)]).fold(0.0, f64::max);
        (0..unknowns).for_each(|i| hessian[i * (unknowns + 1)] += RIDGE * largest);
        let axes = half_sphere(DIRECTIONS);
        let mut constraints = vec![0.0; (axes.len() + tissues - 1) * unknowns];
        for (row, n) in constraints.chunks_exact_mut(unknowns).zip(&axes) {
            sh.evaluate(*n, &mut row[..harmonics]);
        }
        for k in 1..tissues {
            constraints[(axes.len() + k - 1) * unknowns + harmonics + k - 1] = 1.0;
        }
        let near = neighbours::<NEIGHBOURS>(&axes);
        let cone = Cone::new(&hessian, unknowns, &constraints, &near).ok_or_else(|| {
            let problem = "does not determine the coefficients in these directions; take a lower --lmax";
            DeconvolutionError::Tissue { tissue: responses.tissue[0].name.clone(), problem: problem.into() }
        })?;
        let mut starts = Vec::with_capacity(used.measurements.len() * cone.stride());
        for row in x.chunks_exact(unknowns) {
            starts.extend(cone.response(row, &constraints));
        }
        let width = used.measurements.len().next_multiple_of(8);
        let mut design = vec![0.0; unknowns * width];
        for (m, row) in x.chunks_exact(unknowns).enumerate() {
            row.iter().enumerate().for_each(|(k, v)| design[k * width + m] = *v);
        }
        let counting = (0..used.measurements.len().max(unknowns) as u32).collect();
        Ok(Self {
            lmax,
            measurements: acquisition.len(),
            used: used.measurements,
            cone,
            starts,
            counting,
            design,
            width,
            peaks: PeakFinder::new(sh, axes, near),
            spec,
        })
    }

    /// The specification, its order settled.
    pub fn spec(&self) -> &DeconvolutionSpec {
        &self.spec
    }

    /// Measurements of the acquisition.
    pub fn measurements(&self) -> usize {
        self.measurements
    }

    /// Measurements that the responses describe.
    pub fn used(&self) -> &[usize] {
        &self.used
    }

    /// Coefficients of the distribution.
    pub fn harmonics(&self) -> usize {
        harmonic_count(self.lmax)
    }

    /// Room for one voxel at a time.
    pub fn state(&self) -> DeconvolverState {
        DeconvolverState {
            cone: self.cone.state(),
            y: vec![0.0; self.used.len()],
            start: vec![0.0; self.cone.stride()],
            predicted: vec![0.0; self.width],
            peaks: Peaks::default(),
        }
    }

    /// Solves one voxel.
    ///
    /// # Shapes
    /// `signals` `[measurement]` of the whole acquisition.
    pub fn solve(&self, signals: &[f64], state: &mut DeconvolverState) -> ConeOutcome {
        for (y, i) in state.y.iter_mut().zip(&self.used) {
            *y = signals[*i];
        }
        state.start.fill(0.0);
        let rows = &self.counting[..self.used.len()];
        add_rows(&self.starts, self.cone.stride(), rows, &state.y, &mut state.start);
        self.cone.solve(&state.start, &mut state.cone)
    }

    /// Unknowns of the last voxel: coefficients, then volumes of isotropic tissues.
    pub fn solution<'a>(&self, state: &'a DeconvolverState) -> &'a [f64] {
        state.cone.solution(&self.cone)
    }

    /// The distribution of the last voxel in the directions of the constraints.
    pub fn amplitudes<'a>(&self, state: &'a DeconvolverState) -> &'a [f64] {
        &state.cone.values(&self.cone)[..DIRECTIONS]
    }

    /// Active constraints of the last voxel.
    pub fn active(&self, state: &DeconvolverState) -> usize {
        state.cone.multipliers().0.len()
    }

    /// Volumes of the tissues in the last voxel, in units of their responses.
    pub fn volumes(&self, state: &DeconvolverState, out: &mut [f64]) {
        let x = self.solution(state);
        out[0] = x[0] * (4.0 * PI).sqrt();
        out[1..].copy_from_slice(&x[self.harmonics()..]);
    }

    /// Mean squared error and coefficient of determination of the last voxel, over
    /// the used measurements.
    pub fn residuals(&self, state: &mut DeconvolverState) -> (f64, f64) {
        state.predicted.fill(0.0);
        let x = state.cone.solution(&self.cone);
        add_rows(&self.design, self.width, &self.counting[..x.len()], x, &mut state.predicted);
        let n = state.y.len() as f64;
        let mean = state.y.iter().sum::<f64>() / n;
        let (mut square, mut spread) = (0.0, 0.0);
        for (y, s) in state.y.iter().zip(&state.predicted) {
            square += (y - s) * (y - s);
            spread += (y - mean) * (y - mean);
        }
        (square / n, 1.0 - square / spread)
    }

    /// Signals of the used measurements from unknowns.
    ///
    /// # Shapes
    /// `x` as [`Deconvolver::solution`]; the result is as [`Deconvolver::used`].
    pub fn predict(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.width];
        add_rows(&self.design, self.width, &self.counting[..x.len()], x, &mut out);
        out.truncate(self.used.len());
        out
    }

    /// The peaks of the last voxel.
    pub fn peaks<'a>(&self, state: &'a mut DeconvolverState) -> &'a Peaks {
        let harmonics = self.harmonics();
        let DeconvolverState { cone, peaks, .. } = state;
        let values = &cone.values(&self.cone)[..DIRECTIONS];
        self.peaks.find(&cone.solution(&self.cone)[..harmonics], values, peaks);
        peaks
    }
}
