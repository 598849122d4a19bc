//! Responses of tissues, estimated from the data.
//!
//! | algorithm | white matter | others |
//! |---|---|---|
//! | `fa` | the voxels of highest FA, along their tensors | |
//! | `tournier` | the same, then refined: deconvolve, keep the voxels that look most like a single fibre, $\sqrt{p_1}\,(1 - p_2/p_1)^2$ with peaks $p_1, p_2$, until they stay the same | |
//! | `dhollander` | as `tournier` among voxels of FA above 0.2 | the rest is divided by the decay $\ln(\bar S_0/\bar S_b)$, mean over shells, at Otsu's threshold: csf are the 10 % of highest decay above it, gm the 2 % nearest to the median below it |
//!
//! The response of one fibre is fitted to all voxels along their axes by zonal
//! harmonics, with the signal rising from the axis to its normal and nowhere
//! negative; that of an isotropic tissue is the mean of its shells.
//!
//! Source: Tournier et al. 2013, doi:10.1002/nbm.3017, sec. 2.5 (refinement);
//! Dhollander et al. 2016, ISMRM workshop, "Unsupervised 3-tissue response function
//! estimation" (here without its erosion and its optimal-threshold steps);
//! Smith et al. 2020, doi:10.1002/mrm.28083 (constraints; the idea of `amp2response` of MRtrix3).
//! Validated by `responses_of_a_phantom_return` in `tests/suite/deconvolution.rs`.

use super::design::Deconvolver;
use super::nonnegative::{NEIGHBOURS, NonNegative};
use crate::InferenceError;
use crate::dense::{cholesky, cholesky_solve};
use crate::fit::LogTensor;
use microtome_kernels::eigen::eigen_3x3;
use microtome_kernels::legendre::even_polynomials;
use microtome_models::{
    Acquisition, BShells, DeconvolutionError, DeconvolutionSpec, Responses, SIDE_LOBES,
    TensorMeasure, TissueResponse, check_encoding, zonal_peak,
};
use std::f64::consts::PI;

/// Voxels above this FA count as white matter.
const WHITE_FA: f64 = 0.2;
/// Most rounds of the refinement.
const ROUNDS: usize = 10;
/// Angles from the axis to its normal at which a response must rise.
const ANGLES: usize = 46;

/// A first look at a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Screen {
    /// Fractional anisotropy of the tensor.
    pub fa: f64,
    /// Its first axis.
    pub axis: [f64; 3],
    /// $\ln(\bar S_0/\bar S_b)$, mean over the weighted shells.
    pub decay: f64,
}

/// Estimates responses for an acquisition.
#[derive(Debug, Clone)]
pub struct ResponseEstimator {
    acquisition: Acquisition,
    shells: BShells,
    tensor: LogTensor,
}

impl ResponseEstimator {
    /// Prepares the tensor fit.
    ///
    /// # Errors
    /// An acquisition without b = 0 images or without enough directions.
    pub fn new(acquisition: &Acquisition) -> Result<Self, InferenceError> {
        let wrong = |problem: &str| DeconvolutionError::Tissue {
            tissue: "fibres".into(),
            problem: problem.into(),
        };
        check_encoding(acquisition)?;
        let shells = BShells::new(acquisition);
        if shells.b.first().is_none_or(|b| *b > 0.0) || shells.b.len() < 2 {
            return Err(wrong(
                "cannot be estimated without b = 0 images and at least one weighted shell",
            )
            .into());
        }
        let Some(tensor) = LogTensor::new(acquisition) else {
            return Err(wrong("cannot be estimated: the directions do not determine a tensor (6 or more are needed)").into());
        };
        Ok(Self { acquisition: acquisition.clone(), shells, tensor })
    }

    /// The shells of the acquisition.
    pub fn shells(&self) -> &BShells {
        &self.shells
    }

    /// Looks at a voxel; `None` where signals are not positive.
    pub fn screen(&self, signals: &[f64]) -> Option<Screen> {
        let d = self.tensor.fit(signals)?;
        let (values, vectors) =
            eigen_3x3([[d[0], d[3], d[4]], [d[3], d[1], d[5]], [d[4], d[5], d[2]]]);
        let fa = TensorMeasure::Fa.evaluate(values).0;
        let means = self.means(signals);
        let decay =
            means[1..].iter().map(|s| (means[0] / s).ln()).sum::<f64>() / (means.len() - 1) as f64;
        (fa.is_finite() && fa <= 1.0 && decay.is_finite()).then_some(Screen {
            fa,
            axis: vectors[0],
            decay,
        })
    }

    /// The mean of every shell.
    fn means(&self, signals: &[f64]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.shells.b.len()];
        for (y, s) in signals.iter().zip(&self.shells.of) {
            sums[*s].0 += y;
            sums[*s].1 += 1.0;
        }
        sums.iter().map(|(sum, n)| sum / n).collect()
    }

    /// The response of an isotropic tissue: zonal coefficients `[shell][1]`.
    pub fn isotropic(&self, voxels: &[&[f64]]) -> Vec<Vec<f64>> {
        let mut sums = vec![0.0; self.shells.b.len()];
        for y in voxels {
            sums.iter_mut().zip(self.means(y)).for_each(|(s, m)| *s += m);
        }
        sums.iter().map(|s| vec![s / voxels.len() as f64 * (4.0 * PI).sqrt()]).collect()
    }

    /// The response of one fibre from voxels and their axes: zonal coefficients
    /// `[shell][l / 2]`, l = 0 alone at b = 0.
    pub fn fibre(&self, voxels: &[&[f64]], axes: &[[f64; 3]], lmax: usize) -> Vec<Vec<f64>> {
        let isotropic = self.isotropic(voxels);
        (0..self.shells.b.len())
            .map(|shell| {
                if self.shells.b[shell] == 0.0 {
                    return isotropic[shell].clone();
                }
                let of = &self.shells.of;
                let measurements: Vec<usize> = (0..of.len()).filter(|i| of[*i] == shell).collect();
                let mut points = Vec::with_capacity(measurements.len() * voxels.len());
                for (y, u) in voxels.iter().zip(axes) {
                    for i in &measurements {
                        let g = self.acquisition.directions()[*i];
                        points.push((g[0] * u[0] + g[1] * u[1] + g[2] * u[2], y[*i]));
                    }
                }
                zonal_fit(&points, lmax).unwrap_or_else(|| isotropic[shell].clone())
            })
            .collect()
    }

    /// The voxels that look most like single fibres and their response, from
    /// candidates and their tensors.
    ///
    /// # Errors
    /// As [`Deconvolver::new`].
    pub fn refine(
        &self,
        candidates: &[&[f64]],
        tensors: &[[f64; 3]],
        lmax: usize,
        number: usize,
    ) -> Result<(Vec<usize>, Vec<Vec<f64>>), InferenceError> {
        let mut chosen: Vec<usize> = (0..number.min(candidates.len())).collect();
        let mut axes: Vec<[f64; 3]> = tensors.to_vec();
        let outer = self.shells.b.len() - 1;
        for _ in 0..ROUNDS {
            let zonal = self.fibre(&pick(candidates, &chosen), &pick(&axes, &chosen), lmax);
            let spec = DeconvolutionSpec {
                lmax: None,
                side_lobes: SIDE_LOBES,
                responses: Responses {
                    b_ms_per_um2: vec![self.shells.b[outer]],
                    tissue: vec![TissueResponse {
                        name: "wm".into(),
                        zonal: vec![zonal[outer].clone()],
                    }],
                },
            };
            let deconvolver = Deconvolver::new(&spec, &self.acquisition)?;
            let mut state = deconvolver.state();
            let mut scores: Vec<(f64, usize)> = Vec::with_capacity(candidates.len());
            for (v, y) in candidates.iter().enumerate() {
                let fit = deconvolver.fit(y, &mut state);
                let [first, second, _] = fit.peaks.value;
                let second = if fit.peaks.count > 1 { second } else { 0.0 };
                if fit.peaks.count > 0 {
                    axes[v] = fit.peaks.axis[0];
                    scores.push((first.sqrt() * (1.0 - second / first).powi(2), v));
                }
            }
            scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut next: Vec<usize> = scores.iter().take(number).map(|s| s.1).collect();
            next.sort_unstable();
            let same = next == chosen;
            if !next.is_empty() {
                chosen = next;
            }
            if same {
                break;
            }
        }
        let zonal = self.fibre(&pick(candidates, &chosen), &pick(&axes, &chosen), lmax);
        Ok((chosen, zonal))
    }
}

fn pick<T: Copy>(all: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|i| all[*i]).collect()
}

/// $Y_{l0}$ by the cosine of the angle, l = 0, 2, ...
fn zonal_row(lmax: usize, t: f64) -> Vec<f64> {
    let mut row = vec![0.0; lmax / 2 + 1];
    even_polynomials(t, &mut row);
    row.iter_mut().enumerate().for_each(|(k, p)| *p *= zonal_peak(2 * k));
    row
}

/// Least squares over (cosine, signal), rising from the axis to its normal and not
/// negative; `None` where the points do not determine the coefficients.
fn zonal_fit(points: &[(f64, f64)], lmax: usize) -> Option<Vec<f64>> {
    let n = lmax / 2 + 1;
    let (mut normal, mut x) = (vec![0.0; n * n], vec![0.0; n]);
    for (t, y) in points {
        let row = zonal_row(lmax, *t);
        for i in 0..n {
            x[i] += row[i] * y;
            for j in 0..n {
                normal[i * n + j] += row[i] * row[j];
            }
        }
    }
    if !cholesky(&mut normal, n, 1e-10) {
        return None;
    }
    cholesky_solve(&normal, n, &mut x);
    let values: Vec<Vec<f64>> = (0..ANGLES)
        .map(|i| zonal_row(lmax, (0.5 * PI * i as f64 / (ANGLES - 1) as f64).cos()))
        .collect();
    // The value on the axis, then the rise from angle to angle.
    let constraint = |i: usize| -> Vec<f64> {
        if i == 0 {
            return values[0].clone();
        }
        values[i].iter().zip(&values[i - 1]).map(|(a, b)| a - b).collect()
    };
    let rows: Vec<Vec<f64>> = (0..ANGLES).map(constraint).collect();
    // Dual of the constrained problem: x + N^-1 A' v, v >= 0.
    let mut table = Vec::with_capacity(ANGLES * n);
    for a in &rows {
        let mut column = a.clone();
        cholesky_solve(&normal, n, &mut column);
        table.extend(column);
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut gram = vec![0.0; ANGLES * ANGLES];
    for i in 0..ANGLES {
        for j in 0..ANGLES {
            gram[i * ANGLES + j] = dot(&rows[i], &table[j * n..(j + 1) * n]);
        }
    }
    let largest = (0..ANGLES).map(|i| gram[i * (ANGLES + 1)]).fold(0.0, f64::max);
    (0..ANGLES).for_each(|i| gram[i * (ANGLES + 1)] += 1e-9 * largest);
    let near: Vec<[u32; NEIGHBOURS]> = (0..ANGLES)
        .map(|i| [1, 2, 3, 4].map(|d| [i.saturating_sub(d), (i + d).min(ANGLES - 1)]).concat())
        .map(|k| std::array::from_fn(|j| k[j] as u32))
        .collect();
    let problem = NonNegative::new(&gram, ANGLES, &table, ANGLES, &near);
    let mut w = vec![0.0; problem.width()];
    w.iter_mut().zip(&rows).for_each(|(w, a)| *w = dot(a, &x));
    let mut state = problem.state();
    problem.solve(&w, &mut state);
    let mut change = vec![0.0; n.next_multiple_of(8)];
    problem.expand(&state, &mut change);
    Some(x.iter().zip(&change).map(|(x, c)| x + c).collect())
}

/// Indices of voxels by tissue, the best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TissueVoxels {
    /// Candidates of single fibres: by falling FA.
    pub white: Vec<usize>,
    /// Grey matter.
    pub grey: Vec<usize>,
    /// Cerebrospinal fluid.
    pub fluid: Vec<usize>,
}

/// Divides voxels into tissues; see the head of the module.
pub fn classify(screens: &[Option<Screen>]) -> TissueVoxels {
    let with = |keep: &dyn Fn(&Screen) -> bool| -> Vec<(usize, Screen)> {
        let all = screens.iter().enumerate().filter_map(|(i, s)| s.map(|s| (i, s)));
        all.filter(|(_, s)| keep(s)).collect()
    };
    let mut white = with(&|s| s.fa > WHITE_FA);
    white.sort_by(|a, b| b.1.fa.total_cmp(&a.1.fa).then(a.0.cmp(&b.0)));
    let mut rest = with(&|s| s.fa <= WHITE_FA);
    rest.sort_by(|a, b| a.1.decay.total_cmp(&b.1.decay).then(a.0.cmp(&b.0)));
    let split = otsu(&rest.iter().map(|r| r.1.decay).collect::<Vec<_>>());
    let (low, high) = rest.split_at(split);
    let share = |n: usize, percent: usize| (n * percent).div_ceil(100);
    let fluid = high.iter().rev().take(share(high.len(), 10)).map(|r| r.0).collect();
    let middle = low.get(low.len() / 2).map_or(0.0, |r| r.1.decay);
    let mut grey: Vec<&(usize, Screen)> = low.iter().collect();
    let distance = |r: &(usize, Screen)| (r.1.decay - middle).abs();
    grey.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.0.cmp(&b.0)));
    let grey = grey.into_iter().take(share(low.len(), 2)).map(|r| r.0).collect();
    TissueVoxels { white: white.into_iter().map(|w| w.0).collect(), grey, fluid }
}

/// Where sorted numbers divide into two classes of least variance.
///
/// Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076, eq. 14.
fn otsu(sorted: &[f64]) -> usize {
    let n = sorted.len() as f64;
    let total: f64 = sorted.iter().sum();
    let (mut below, mut best, mut at) = (0.0, -1.0, sorted.len());
    for (i, v) in sorted.iter().enumerate() {
        below += v;
        let k = (i + 1) as f64;
        if i + 1 < sorted.len() {
            let difference = below / k - (total - below) / (n - k);
            let between = k * (n - k) * difference * difference;
            if between > best {
                (best, at) = (between, i + 1);
            }
        }
    }
    at
}
