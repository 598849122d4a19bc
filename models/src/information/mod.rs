//! What an experiment tells about a model before it is done.
//!
//! $$I(x) = \sum_i \omega_i\,w(S_i)\,\frac{\partial S_i}{\partial s}
//!   \frac{\partial S_i}{\partial s}^T,\qquad
//!   \Sigma_\mathrm{CR} = I^{-1},\qquad \Sigma = (I + \Lambda)^{-1}$$
//!
//! The Fisher information in local coordinates, the bound of Cramér and Rao on the
//! covariance of unbiased estimates, and the posterior covariance of a normal
//! approximation with the second moments of the prior. The noise scale counts as known.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $S_i$ | of the signals | signal of measurement i |
//! | $\omega_i$ | 1 | how often it is made |
//! | $w$ | 1/signal² | information about a signal: [`SignalInformation`] |
//! | $s$ | of the parameters | coordinates: [`LocalCoordinates`] |
//! | $\Lambda$ | | precision of the prior in them |
//!
//! Source: Kay 1993, *Fundamentals of Statistical Signal Processing: Estimation Theory*,
//! ch. 3; Van Trees 1968, *Detection, Estimation, and Modulation Theory I*, ch. 2
//! (prior); for diffusion MRI Alexander 2008, doi:10.1002/mrm.21646. Validated by
//! `information_equals_plain_sum` and `fisher_information_is_the_covariance_of_fits`.

mod coordinates;
mod criterion;
mod encoding;
mod error;
#[cfg(feature = "graph")]
mod graph;
mod quantity;
mod signal;

pub use coordinates::LocalCoordinates;
pub use criterion::{Criterion, Optimality};
pub use encoding::{Encoding, EncodingGradient};
pub use error::InformationError;
#[cfg(feature = "graph")]
pub use graph::ENCODING_COLUMNS;
pub use quantity::Quantity;
pub use signal::SignalInformation;

use crate::acquisition::{Acquisition, PulseTiming};
use crate::evaluate::{Evaluator, Lowered};
use crate::model::Model;
use microtome_kernels::normal::normal_equations;
use std::sync::Arc;

/// The Fisher information at `x` in local coordinates, without a prior.
///
/// # Shapes
/// `x` `[value]`, `basis` that of [`LocalCoordinates::basis`] at `x`; the result
/// `[coordinate, coordinate]`.
pub fn fisher_information(
    evaluator: &mut Evaluator,
    basis: &[f64],
    noise: &SignalInformation,
    sigma: f64,
    x: &[f64],
) -> Vec<f64> {
    let plan = evaluator.lowered().plan.clone();
    let values = x.len();
    let dim = basis.len() / values.max(1);
    let (signal, jacobian) = evaluator.signal_and_jacobian(x);
    let weight: Vec<f64> =
        signal.iter().zip(plan.mask()).map(|(s, m)| m * noise.at(*s, sigma)[0]).collect();
    let score = vec![0.0; signal.len()];
    let (mut normal, mut right) = (vec![0.0; values * values], vec![0.0; values]);
    normal_equations(jacobian, &weight, &score, &mut normal, &mut right);
    let half = product(&normal, basis, values, values, dim);
    let mut out = vec![0.0; dim * dim];
    for k in 0..values {
        for i in 0..dim {
            for j in 0..dim {
                out[i * dim + j] += basis[k * dim + i] * half[k * dim + j];
            }
        }
    }
    out
}

/// A B of `[n, m]` and `[m, p]`.
fn product(a: &[f64], b: &[f64], n: usize, m: usize, p: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * p];
    for i in 0..n {
        for k in 0..m {
            let v = a[i * m + k];
            for j in 0..p {
                out[i * p + j] += v * b[k * p + j];
            }
        }
    }
    out
}

/// The signal of a model without diffusion weighting, at the times of the weakest shell.
///
/// # Shapes
/// `x` `[value]`, `per_voxel` as in [`Evaluator::set_per_voxel`].
///
/// # Errors
/// As [`Lowered::new`].
pub fn unweighted_signal(
    lowered: &Lowered,
    x: &[f64],
    per_voxel: &[f64],
) -> Result<f64, InformationError> {
    let weakest = lowered.shells().iter().min_by(|p, q| p.b.total_cmp(&q.b));
    let te = weakest.and_then(|s| s.te_ms).map(|t| vec![t]);
    let timing = PulseTiming { delta_ms: vec![1.0], big_delta_ms: vec![1.0] };
    let mut acquisition = Acquisition::from_b(&[0.0], &[[0.0; 3]], Some(timing), te)?;
    if let Some(tr) = weakest.and_then(|s| s.tr_ms) {
        acquisition = acquisition.with_repetition_times(vec![tr])?;
    }
    let lowered = Lowered::new(lowered.model.clone(), &acquisition)?;
    let mut evaluator = Evaluator::new(&lowered);
    evaluator.set_per_voxel(per_voxel);
    Ok(evaluator.predict(x)[0])
}

/// The noise of an experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NoiseLevel {
    /// Its scale, in the unit of the signals.
    Sigma(f64),
    /// The signal without diffusion weighting over the scale.
    Snr(f64),
}

/// Loss of signal with the echo time that the model does not describe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// T2 of all compartments, ms.
    pub t2_ms: f64,
    /// The echo time at which the signal is that of the model, ms.
    pub reference_te_ms: f64,
}

impl Decay {
    /// $e^{-(TE - TE_0)/T_2}$.
    pub fn factor(&self, te_ms: f64) -> f64 {
        (-(te_ms - self.reference_te_ms) / self.t2_ms).exp()
    }
}

/// One set of values and what is known of it before the experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSet {
    /// The values `[value]`.
    pub x: Vec<f64>,
    /// Parameters fixed to one value a set.
    pub per_voxel: Vec<f64>,
    /// The noise scale, in the unit of the signals.
    pub sigma: f64,
    basis: Vec<f64>,
    prior: Vec<f64>,
}

impl ParameterSet {
    /// The precision of the prior `[coordinate, coordinate]`.
    pub fn prior_precision(&self) -> &[f64] {
        &self.prior
    }
}

/// A model, its noise, and the parameter sets that an experiment is judged at.
#[derive(Debug, Clone)]
pub struct Experiment {
    model: Arc<Model>,
    local: LocalCoordinates,
    noise: SignalInformation,
    sets: Vec<ParameterSet>,
    quantities: Vec<Quantity>,
    decay: Option<Decay>,
}

impl Experiment {
    /// Prepares parameter sets, `(values, parameters fixed to one value a set)` each.
    ///
    /// # Units
    /// `te_ms`: the echo time at which the SNR holds, for compartments with T2.
    ///
    /// # Errors
    /// No sets; a noise level that is not positive; a model of spherical means; a
    /// signal without diffusion weighting that is not positive.
    pub fn new(
        lowered: &Lowered,
        sets: &[(Vec<f64>, Vec<f64>)],
        level: NoiseLevel,
        decay: Option<Decay>,
    ) -> Result<Self, InformationError> {
        let model = lowered.model.clone();
        let (NoiseLevel::Sigma(number) | NoiseLevel::Snr(number)) = level;
        if !(number.is_finite() && number > 0.0) {
            return Err(InformationError::Noise { number });
        }
        if model.spec().spherical_mean {
            return Err(InformationError::SphericalMean);
        }
        if sets.is_empty() {
            return Err(InformationError::NoSets);
        }
        let local = LocalCoordinates::new(&model);
        let prepare = |(i, (x, per_voxel)): (usize, &(Vec<f64>, Vec<f64>))| {
            let b0 = unweighted_signal(lowered, x, per_voxel)?;
            if !(b0.is_finite() && b0 > 0.0) {
                return Err(InformationError::Unweighted { set: i + 1, signal: b0 });
            }
            let sigma = match level {
                NoiseLevel::Sigma(sigma) => sigma,
                NoiseLevel::Snr(snr) => b0 / snr,
            };
            Ok(ParameterSet {
                basis: local.basis(x),
                prior: local.prior_precision(b0)?,
                x: x.clone(),
                per_voxel: per_voxel.clone(),
                sigma,
            })
        };
        Ok(Self {
            sets: sets.iter().enumerate().map(prepare).collect::<Result<_, _>>()?,
            noise: SignalInformation::new(model.noise()),
            quantities: Quantity::of(&model),
            model,
            local,
            decay,
        })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The parameter sets.
    pub fn sets(&self) -> &[ParameterSet] {
        &self.sets
    }

    /// What is estimated.
    pub fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    /// Number of local coordinates.
    pub fn dim(&self) -> usize {
        self.local.dim()
    }

    /// The loss of signal with the echo time.
    pub fn decay(&self) -> Option<Decay> {
        self.decay
    }

    /// The Fisher information of every set, without the prior.
    ///
    /// # Shapes
    /// `weight` `[measurement]`: how often each measurement is made; one matrix
    /// `[coordinate, coordinate]` a set.
    ///
    /// # Errors
    /// An acquisition that lacks what the model needs.
    pub fn information(
        &self,
        acquisition: &Acquisition,
        weight: Option<&[f64]>,
    ) -> Result<Vec<Vec<f64>>, InformationError> {
        let mut rows = Rows::new(self, acquisition)?;
        let n = self.dim();
        let all = |set: &ParameterSet| {
            rows.evaluate(set);
            let mut out = vec![0.0; n * n];
            for (i, s) in rows.signal.iter().enumerate() {
                let repeats = weight.map_or(1.0, |w| w[i]);
                rows.add_information(i, repeats * self.noise.at(*s, set.sigma)[0], &mut out);
            }
            out
        };
        Ok(self.sets.iter().map(all).collect())
    }

    /// The standard deviation of every quantity of a set, from a covariance.
    ///
    /// # Shapes
    /// `covariance` `[coordinate, coordinate]`, the result `[quantity]`.
    pub fn standard_deviations(&self, set: &ParameterSet, covariance: &[f64]) -> Vec<f64> {
        let n = self.dim();
        let variance = |q: &Quantity| -> f64 {
            let slopes = q.slopes(&self.model, &self.local, &set.x, &set.per_voxel);
            slopes.iter().map(|g| form(covariance, g, n)).sum()
        };
        self.quantities.iter().map(|q| variance(q).max(0.0).sqrt()).collect()
    }
}

/// gᵀ A g.
fn form(a: &[f64], g: &[f64], n: usize) -> f64 {
    (0..n).map(|i| g[i] * (0..n).map(|j| a[i * n + j] * g[j]).sum::<f64>()).sum()
}

/// Signals and their derivatives in local coordinates, in measurement order.
#[derive(Debug)]
struct Rows {
    evaluator: Evaluator,
    factor: Option<Vec<f64>>,
    dim: usize,
    signal: Vec<f64>,
    /// `[measurement, coordinate]`.
    jacobian: Vec<f64>,
}

impl Rows {
    fn new(experiment: &Experiment, acquisition: &Acquisition) -> Result<Self, InformationError> {
        let lowered = Lowered::new(experiment.model.clone(), acquisition)?;
        let factor = match (experiment.decay, acquisition.te_ms()) {
            (Some(decay), Some(te)) => Some(te.iter().map(|t| decay.factor(*t)).collect()),
            (Some(_), None) => return Err(InformationError::NoEchoTime),
            (None, _) => None,
        };
        let dim = experiment.dim();
        let n = acquisition.len();
        Ok(Self {
            evaluator: Evaluator::new(&lowered),
            factor,
            dim,
            signal: vec![0.0; n],
            jacobian: vec![0.0; n * dim],
        })
    }

    fn evaluate(&mut self, set: &ParameterSet) {
        self.evaluator.set_per_voxel(&set.per_voxel);
        let plan = self.evaluator.lowered().plan.clone();
        let (signal, jacobian) = self.evaluator.signal_and_jacobian(&set.x);
        let (slots, dim) = (plan.slots(), self.dim);
        self.jacobian.fill(0.0);
        for (i, &slot) in plan.slot_of().iter().enumerate() {
            let factor = self.factor.as_ref().map_or(1.0, |f| f[i]);
            self.signal[i] = factor * signal[slot];
            let row = &mut self.jacobian[i * dim..(i + 1) * dim];
            for (k, basis) in set.basis.chunks_exact(dim).enumerate() {
                let d = factor * jacobian[k * slots + slot];
                for (r, b) in row.iter_mut().zip(basis) {
                    *r += d * b;
                }
            }
        }
    }

    /// Adds a row times itself.
    fn add_information(&self, measurement: usize, weight: f64, out: &mut [f64]) {
        let j = self.row(measurement);
        for (row, a) in out.chunks_exact_mut(self.dim).zip(j) {
            for (o, b) in row.iter_mut().zip(j) {
                *o += weight * a * b;
            }
        }
    }

    fn row(&self, measurement: usize) -> &[f64] {
        &self.jacobian[measurement * self.dim..(measurement + 1) * self.dim]
    }
}
