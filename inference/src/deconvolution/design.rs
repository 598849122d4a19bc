//! The deconvolution of voxels: tables that all voxels share, and the solution of
//! one.
//!
//! The fibre orientation distribution is a non-negative sum of lobes (`lobe.rs`) in
//! 300 directions of the half-sphere, and every isotropic tissue has a volume:
//!
//! $$f(n) = \sum_j c_j L(n\cdot n_j),\qquad
//! \hat c, \hat v = \arg\min_{c,v\ge0} \Big|\sum_j c_j\,R L_j + \sum_k v_k S_k - y\Big|^2$$
//!
//! with $R L_j$ the lobe convolved with the response of one fibre. Compared with
//! constraints on the values of an otherwise free expansion (Tournier 2007 as a
//! penalty, Jeurissen 2014 as a hard constraint) about 6 unknowns are not zero in place of
//! about 40 active constraints, at equal depth of negative values crossings are
//! resolved at smaller angles, and with a depth of 0 nothing is negative
//! anywhere; docs/csd.md has the numbers.
//!
//! Source: Jeurissen et al. 2014, doi:10.1016/j.neuroimage.2014.07.061, eq. 1 to 4
//! (tissues and shells); Jian & Vemuri 2007, doi:10.1109/TMI.2007.907552 (non-negative
//! least squares over directions).
//! Validated by `tests/suite/deconvolution.rs`.

use super::dispersion_table::DispersionTable;
use super::lobe::lobe;
use super::nonnegative::{NEIGHBOURS, NonNegative, NonNegativeState, Outcome};
use super::peaks::{PeakFinder, Peaks};
use crate::InferenceError;
use microtome_kernels::rows::{add_rows, add_rows_each};
use microtome_models::{
    Acquisition, DeconvolutionError, DeconvolutionSpec, SphericalHarmonics, convolve, half_sphere,
    harmonic_count, in_patches, neighbours, orders, rotational_harmonics,
};
use std::f64::consts::PI;

/// Directions of the lobes.
const DIRECTIONS: usize = 300;
/// The ridge in units of the largest diagonal of the Gram matrix: makes the
/// coefficients unique where the data do not.
const RIDGE: f64 = 1e-8;

/// The shared tables of a deconvolution.
#[derive(Debug, Clone)]
pub struct Deconvolver {
    spec: DeconvolutionSpec,
    harmonics: usize,
    measurements: usize,
    used: Vec<usize>,
    problem: NonNegative,
    /// Slopes at zero of a unit signal `[used measurement, unknown, padding]`.
    slopes: Vec<f64>,
    /// 0, 1, 2, ...
    counting: Vec<u32>,
    /// Signals of unit coefficients `[coefficient or volume, used measurement, padding]`.
    design: Vec<f64>,
    width: usize,
    peaks: PeakFinder,
    dispersion: DispersionTable,
}

/// Room for one voxel.
#[derive(Debug, Clone)]
pub struct DeconvolverState {
    search: NonNegativeState,
    /// Used signals `[voxel, measurement]` and slopes at zero `[voxel, unknown]` of the
    /// voxels that are solved one after the other.
    y: Vec<f64>,
    slope: Vec<f64>,
    /// Which of them was solved last.
    last: usize,
    /// Coefficients, then volumes of isotropic tissues, padding.
    x: Vec<f64>,
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
        let isotropic = responses.tissue.len() - 1;
        let columns = harmonics + isotropic;
        let width = used.measurements.len().next_multiple_of(8);
        // Signals of unit coefficients.
        let mut design = vec![0.0; columns * width];
        let mut row = vec![0.0; harmonics];
        for (m, (i, shell)) in used.measurements.iter().zip(&used.shell).enumerate() {
            sh.evaluate(acquisition.directions()[*i], &mut row);
            convolve(&rotational_harmonics(&responses.tissue[0].zonal[*shell]), &mut row);
            row.iter().enumerate().for_each(|(k, v)| design[k * width + m] = *v);
            for k in 0..isotropic {
                design[(harmonics + k) * width + m] = responses.isotropic_signal(k + 1, *shell);
            }
        }
        // Coefficients of the unknowns: lobes, then isotropic tissues.
        let axes = in_patches(&half_sphere(DIRECTIONS), 8);
        let lambda = lobe(lmax, spec.side_lobes);
        let count = DIRECTIONS + isotropic;
        let mut table = vec![0.0; count * columns];
        for (row, n) in table.chunks_exact_mut(columns).zip(&axes) {
            sh.evaluate(*n, &mut row[..harmonics]);
            row.iter_mut().zip(orders(harmonics)).for_each(|(c, (l, _))| *c *= lambda[l / 2]);
        }
        for k in 0..isotropic {
            table[(DIRECTIONS + k) * columns + harmonics + k] = 1.0;
        }
        // Their signals, and the products of these.
        let counting: Vec<u32> = (0..used.measurements.len().max(columns) as u32).collect();
        let mut signals = vec![0.0; count * width];
        for (s, x) in signals.chunks_exact_mut(width).zip(table.chunks_exact(columns)) {
            add_rows(&design, width, &counting[..columns], x, s);
        }
        let mut gram = vec![0.0; count * count];
        for (i, a) in signals.chunks_exact(width).enumerate() {
            for (j, b) in signals.chunks_exact(width).enumerate().take(i + 1) {
                let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                (gram[i * count + j], gram[j * count + i]) = (dot, dot);
            }
        }
        let largest = (0..DIRECTIONS).map(|i| gram[i * (count + 1)]).fold(0.0, f64::max);
        (0..count).for_each(|i| gram[i * (count + 1)] += RIDGE * largest);
        let near = neighbours::<NEIGHBOURS>(&axes);
        let rank = (used.measurements.len() + NEIGHBOURS).max(columns + NEIGHBOURS).min(count);
        let problem = NonNegative::new(&gram, count, &table, rank, &near);
        let mut slopes = vec![0.0; used.measurements.len() * problem.width()];
        for (m, row) in slopes.chunks_exact_mut(problem.width()).enumerate() {
            row.iter_mut().zip(signals.chunks_exact(width)).for_each(|(w, s)| *w = -s[m]);
        }
        Ok(Self {
            harmonics,
            measurements: acquisition.len(),
            used: used.measurements,
            problem,
            slopes,
            counting,
            design,
            width,
            peaks: PeakFinder::new(sh, axes, near),
            dispersion: DispersionTable::new(),
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

    pub(super) fn dispersion(&self) -> &DispersionTable {
        &self.dispersion
    }

    /// Coefficients of the distribution.
    pub fn harmonics(&self) -> usize {
        self.harmonics
    }

    /// Room for one voxel at a time.
    pub fn state(&self) -> DeconvolverState {
        let columns = self.design.len() / self.width;
        DeconvolverState {
            search: self.problem.state(),
            y: Vec::new(),
            slope: Vec::new(),
            last: 0,
            x: vec![0.0; columns.next_multiple_of(8)],
            predicted: vec![0.0; self.width],
            peaks: Peaks::default(),
        }
    }

    /// Solves one voxel.
    ///
    /// # Shapes
    /// `signals` `[measurement]` of the whole acquisition.
    pub fn solve(&self, signals: &[f64], state: &mut DeconvolverState) -> Outcome {
        self.read(signals, state);
        self.solve_read(0, state)
    }

    /// Reads voxels, `signals` `[voxel, measurement]`, and finds their slopes at zero.
    pub(super) fn read(&self, signals: &[f64], state: &mut DeconvolverState) {
        state.y.clear();
        for voxel in signals.chunks_exact(self.measurements) {
            state.y.extend(self.used.iter().map(|i| voxel[*i]));
        }
        let (voxels, width) = (signals.len() / self.measurements, self.problem.width());
        state.slope.clear();
        state.slope.resize(voxels * width, 0.0);
        add_rows_each(&self.slopes, width, &state.y, voxels, &mut state.slope);
    }

    /// Solves one of the voxels that were read.
    pub(super) fn solve_read(&self, voxel: usize, state: &mut DeconvolverState) -> Outcome {
        let width = self.problem.width();
        let slope = &state.slope[voxel * width..][..width];
        state.last = voxel;
        let outcome = self.problem.solve(slope, &mut state.search);
        self.problem.expand(&state.search, &mut state.x);
        outcome
    }

    /// Coefficients of the distribution of the last voxel, then volumes of the
    /// isotropic tissues.
    pub fn solution<'a>(&self, state: &'a DeconvolverState) -> &'a [f64] {
        &state.x[..self.design.len() / self.width]
    }

    /// Unknowns of the last voxel that are not zero (lobes, then isotropic tissues)
    /// and their values.
    pub fn unknowns<'a>(&self, state: &'a DeconvolverState) -> (&'a [u32], &'a [f64]) {
        state.search.solution()
    }

    /// Volumes of the tissues in the last voxel, in units of their responses.
    pub fn volumes(&self, state: &DeconvolverState, out: &mut [f64]) {
        let x = self.solution(state);
        out[0] = x[0] * (4.0 * PI).sqrt();
        out[1..].copy_from_slice(&x[self.harmonics..]);
    }

    /// Mean squared error and coefficient of determination of the last voxel, over
    /// the used measurements.
    pub fn residuals(&self, state: &mut DeconvolverState) -> (f64, f64) {
        state.predicted.fill(0.0);
        let x = &state.x[..self.design.len() / self.width];
        add_rows(&self.design, self.width, &self.counting[..x.len()], x, &mut state.predicted);
        let y = &state.y[state.last * self.used.len()..][..self.used.len()];
        let n = y.len() as f64;
        let mean = y.iter().sum::<f64>() / n;
        let (mut square, mut spread) = (0.0, 0.0);
        for (y, s) in y.iter().zip(&state.predicted) {
            square += (y - s) * (y - s);
            spread += (y - mean) * (y - mean);
        }
        (square / n, 1.0 - square / spread)
    }

    /// Signals of the used measurements from coefficients and volumes.
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
        let DeconvolverState { search, peaks, x, .. } = state;
        let (active, value) = search.solution();
        let mut order: [(f64, u32); 32] = [(0.0, 0); 32];
        let mut found = 0;
        for (j, c) in active.iter().zip(value).filter(|(j, _)| (**j as usize) < DIRECTIONS) {
            let at = order[..found].iter().position(|o| *c > o.0).unwrap_or(found);
            if at < order.len() {
                found = (found + 1).min(order.len());
                order[at..found].rotate_right(1);
                order[at] = (*c, *j);
            }
        }
        let starts = order[..found].iter().map(|(_, j)| *j as usize);
        self.peaks.refine(&x[..self.harmonics], starts, peaks);
        peaks
    }
}
