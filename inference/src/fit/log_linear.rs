//! The fit of a cumulant expansion by least squares of the logarithm of the signals.
//!
//! $$\hat\beta = \arg\min_\beta\sum_i w_i\Bigl(\ln y_i - \sum_j\beta_jX_{ji}\Bigr)^2$$
//!
//! | method | weights | covariance of $\hat\beta$ |
//! |---|---|---|
//! | `ols` | $w_i = 1$ | $\sigma^2 P\,\mathrm{diag}(\hat S^{-2})P^T$, $P$ the pseudo-inverse |
//! | `wls` | $w_i = \hat S_i^2$, the signals that OLS predicts | $\sigma^2(X\,\mathrm{diag}(w)X^T)^{-1}$ |
//!
//! The pseudo-inverse is shared by all voxels, so OLS is the product of a matrix and a
//! vector; WLS is one more step with weights, once (as Salvador et al.; further rounds
//! change little, Veraart et al. 2013, doi:10.1016/j.neuroimage.2013.05.028). σ is known, or
//! $\hat\sigma^2 = \sum(y-\hat S)^2/\nu$ with $\nu = n - p$ (WLS) or, since OLS does not minimise
//! that sum, $\nu = n - 2p + \mathrm{tr}(X\mathrm{diag}(\hat S^2)X^T P\,\mathrm{diag}(\hat S^{-2})P^T)$. Standard errors of the result columns follow by the
//! delta method from $\mathrm{var}(\ln y)\approx\sigma^2/S^2$.
//!
//! * A signal that is not positive has no logarithm: the smallest positive signal of the voxel
//!   stands in its place. A voxel with fewer positive signals than coefficients is `singular`.
//! * An eigenvalue below $10^{-6}/b_{\max}$ is raised to it, as DIPY does; it and what depends
//!   on it have no standard error, and MK, AK, RK are NaN there.
//! * Ranges and priors play no part.
//!
//! Source: Basser, Mattiello & Le Bihan 1994, doi:10.1006/jmrb.1994.1037 (the log-linear fit); Salvador
//! et al. 2005, doi:10.1002/hbm.20076.
//! Validated by `tests/suite/log_linear.rs`.

use super::status::Status;
use super::voxel::{Fitter, VoxelFit};
use crate::InferenceError;
use crate::dense::{cholesky, cholesky_inverse, cholesky_solve};
use microtome_kernels::Plan;
use microtome_kernels::eigen::eigen_3x3;
use microtome_kernels::log_linear::{Weighted, floored_logs, weigh};
use microtome_kernels::normal::{normal_equations, products};
use microtome_kernels::residual::residual_sums;
use microtome_models::compartments::DiffusionTensor;
use microtome_models::{
    Acquisition, B0_MAX_MS_PER_UM2, Expansion, FitMethod, FreeKind, KurtosisMeasures, Model,
    NoiseKind, TensorMeasure,
};
use std::sync::Arc;

/// Eigenvalues below this over the largest b are raised to it.
const LEAST_EIGENVALUE: f64 = 1e-6;
/// Pivots of X Xᵀ below this share of their diagonal: the acquisition determines less.
const RANK_TOLERANCE: f64 = 1e-9;
/// Fewest directions of a kurtosis tensor.
const KURTOSIS_DIRECTIONS: usize = 15;
/// Two shells differ by this factor.
const SHELL_RATIO: f64 = 1.2;
/// Directions whose cosine is above this are one.
const SAME_DIRECTION: f64 = 0.9998;

/// What the log-linear fits of all voxels share.
#[derive(Debug, Clone)]
pub struct LogLinear {
    model: Arc<Model>,
    plan: Arc<Plan>,
    expansion: Expansion,
    method: FitMethod,
    /// X `[coefficient, slot]`, zero in padding.
    design: Vec<f64>,
    /// P `[coefficient, slot]`.
    pseudo_inverse: Vec<f64>,
    least: f64,
    layout: Layout,
}

/// The values of a tensor model.
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    mu: usize,
    /// psi and the eigenvalues.
    scalars: [usize; 4],
    s0: usize,
}

impl LogLinear {
    /// Prepares the fits of a model on an acquisition.
    ///
    /// # Errors
    /// A model other than one free tensor with Gaussian noise; an acquisition that does
    /// not determine the coefficients; the non-linear method.
    pub fn new(
        model: Arc<Model>,
        plan: Arc<Plan>,
        acquisition: &Acquisition,
        method: FitMethod,
    ) -> Result<Self, InferenceError> {
        let fails =
            |reason: &str| InferenceError::Method { method: method.name(), reason: reason.into() };
        if method == FitMethod::Nlls {
            return Err(fails(
                "the kurtosis expansion is linear in its coefficients; take ols or wls",
            ));
        }
        if !model.spec().is_lone_tensor() {
            return Err(fails(
                "this method fits dti and dki (one tensor, without [link] and [range]); take nlls",
            ));
        }
        if model.noise() != NoiseKind::Gaussian {
            return Err(fails(
                "least squares of the logarithm know no Rician noise; leave --noise out, or take nlls",
            ));
        }
        let expansion = model.spec().expansion;
        if expansion == Expansion::Kurtosis {
            check_kurtosis(acquisition)?;
        }
        let design = design(expansion, &plan);
        let Some(pseudo_inverse) = pseudo_inverse(&design, expansion.coefficients(), &plan) else {
            return Err(InferenceError::Undetermined {
                what: match expansion {
                    Expansion::Gaussian => "a diffusion tensor",
                    Expansion::Kurtosis => "a kurtosis tensor",
                },
                needs: match expansion {
                    Expansion::Gaussian => {
                        "six directions that are not on a cone, and b = 0 or a second b"
                    }
                    Expansion::Kurtosis => {
                        "15 directions that are spread over the sphere, two shells and b = 0"
                    }
                },
            });
        };
        let b_max = acquisition.b_ms_per_um2().iter().copied().fold(0.0, f64::max);
        let layout = layout(&model);
        let least = LEAST_EIGENVALUE / b_max;
        Ok(Self { model, plan, expansion, method, design, pseudo_inverse, least, layout })
    }

    /// A fitter with its own scratch memory.
    pub fn fitter(&self) -> LogLinearFitter<'_> {
        let (slots, p) = (self.plan.slots(), self.expansion.coefficients());
        LogLinearFitter {
            shared: self,
            y: vec![0.0; slots],
            log_y: vec![0.0; slots],
            signal: vec![0.0; slots],
            weight: vec![0.0; slots],
            score: vec![0.0; slots],
            beta: vec![0.0; p],
            unused: vec![0.0; p],
            normal: vec![0.0; p * p],
        }
    }
}

fn layout(model: &Model) -> Layout {
    let mut out = Layout::default();
    let mut scalar = 0;
    for free in model.free() {
        match free.kind {
            FreeKind::Axis => out.mu = free.at,
            FreeKind::Scale => out.s0 = free.at,
            FreeKind::Scalar { .. } if scalar < 4 => {
                out.scalars[scalar] = free.at;
                scalar += 1;
            }
            _ => {}
        }
    }
    out
}

/// X `[coefficient, slot]`.
fn design(expansion: Expansion, plan: &Plan) -> Vec<f64> {
    let (slots, p) = (plan.slots(), expansion.coefficients());
    let mut out = vec![0.0; p * slots];
    let mut row = vec![0.0; p];
    for &slot in plan.slot_of() {
        expansion.row(std::array::from_fn(|k| plan.weighting()[k][slot]), &mut row);
        for (j, v) in row.iter().enumerate() {
            out[j * slots + slot] = *v;
        }
    }
    out
}

/// (X Xᵀ)⁻¹ X, or nothing when the rows of X are dependent.
fn pseudo_inverse(design: &[f64], p: usize, plan: &Plan) -> Option<Vec<f64>> {
    let slots = plan.slots();
    let (mut normal, mut unused) = (vec![0.0; p * p], vec![0.0; p]);
    normal_equations(design, plan.mask(), plan.mask(), &mut normal, &mut unused);
    if !cholesky(&mut normal, p, RANK_TOLERANCE) {
        return None;
    }
    let mut out = vec![0.0; p * slots];
    let mut column = vec![0.0; p];
    for slot in 0..slots {
        for (j, c) in column.iter_mut().enumerate() {
            *c = design[j * slots + slot];
        }
        cholesky_solve(&normal, p, &mut column);
        for (j, c) in column.iter().enumerate() {
            out[j * slots + slot] = *c;
        }
    }
    Some(out)
}

/// Two shells and enough directions.
fn check_kurtosis(acquisition: &Acquisition) -> Result<(), InferenceError> {
    let b = acquisition.b_ms_per_um2();
    let weighted: Vec<usize> = (0..b.len()).filter(|&i| b[i] > B0_MAX_MS_PER_UM2).collect();
    let low = weighted.iter().map(|&i| b[i]).fold(f64::INFINITY, f64::min);
    let high = weighted.iter().map(|&i| b[i]).fold(0.0, f64::max);
    let mut apart: Vec<[f64; 3]> = Vec::new();
    for &i in &weighted {
        let g = acquisition.directions()[i];
        let cosine = |h: &[f64; 3]| (g[0] * h[0] + g[1] * h[1] + g[2] * h[2]).abs();
        if apart.len() < KURTOSIS_DIRECTIONS && apart.iter().all(|h| cosine(h) < SAME_DIRECTION) {
            apart.push(g);
        }
    }
    let two_shells = high >= SHELL_RATIO * low;
    if two_shells && apart.len() >= KURTOSIS_DIRECTIONS {
        return Ok(());
    }
    Err(InferenceError::KurtosisAcquisition {
        low_s_per_mm2: (1e3 * low).round(),
        high_s_per_mm2: (1e3 * high).round(),
        directions: apart.len(),
    })
}

/// Log-linear fits of voxels one after another on one thread.
#[derive(Debug)]
pub struct LogLinearFitter<'a> {
    shared: &'a LogLinear,
    y: Vec<f64>,
    log_y: Vec<f64>,
    signal: Vec<f64>,
    weight: Vec<f64>,
    score: Vec<f64>,
    beta: Vec<f64>,
    unused: Vec<f64>,
    normal: Vec<f64>,
}

impl LogLinearFitter<'_> {
    /// Fits one voxel.
    ///
    /// # Shapes
    /// `y` `[measurement]`.
    ///
    /// # Units
    /// `sigma`, when known, and `mean_b0` in the unit of the signals.
    pub fn fit(&mut self, y: &[f64], sigma: Option<f64>, mean_b0: f64) -> VoxelFit {
        let sigma_ok = sigma.is_none_or(|s| s > 0.0 && s.is_finite());
        if !(Fitter::is_valid(NoiseKind::Gaussian, y) && mean_b0 > 0.0 && sigma_ok) {
            return self.failed(Status::InvalidSignal, sigma, mean_b0);
        }
        match self.solve(y) {
            Status::Converged => self.finish(y, sigma, mean_b0),
            status => self.failed(status, sigma, mean_b0),
        }
    }

    /// The coefficients of a voxel, its predicted signals, and in `normal` the factor of
    /// the normal matrix (WLS).
    fn solve(&mut self, y: &[f64]) -> Status {
        let shared = self.shared;
        let p = self.beta.len();
        shared.plan.scatter(y, &mut self.y);
        if floored_logs(&self.y, shared.plan.mask(), &mut self.log_y) < p {
            return Status::Singular;
        }
        products(&shared.pseudo_inverse, &self.log_y, &mut self.beta);
        self.weigh();
        if shared.method == FitMethod::Wls {
            normal_equations(
                &shared.design,
                &self.weight,
                &self.score,
                &mut self.normal,
                &mut self.beta,
            );
            if !cholesky(&mut self.normal, p, 1e-14) {
                return Status::Singular;
            }
            cholesky_solve(&self.normal, p, &mut self.beta);
            self.weigh();
        }
        if self.beta.iter().all(|b| b.is_finite()) { Status::Converged } else { Status::Divergent }
    }

    /// Signals, weights and score of the coefficients.
    fn weigh(&mut self) {
        let shared = self.shared;
        let out =
            Weighted { signal: &mut self.signal, weight: &mut self.weight, score: &mut self.score };
        weigh(&shared.design, &self.beta, shared.plan.mask(), &self.log_y, out);
    }

    /// The covariance C of the coefficients for σ = 1, and the degrees of freedom that
    /// the sum of squares of the residuals has: n - p, and for OLS, which does not
    /// minimise it, n - 2p + tr(X diag(S²) Xᵀ C).
    fn covariance(&mut self, n: usize) -> (Vec<f64>, f64) {
        let (shared, p) = (self.shared, self.beta.len());
        if shared.method == FitMethod::Wls {
            return (cholesky_inverse(&self.normal, p), n as f64 - p as f64);
        }
        let (design, pseudo) = (&shared.design, &shared.pseudo_inverse);
        normal_equations(design, &self.weight, &self.score, &mut self.normal, &mut self.unused);
        for ((w, s), m) in self.weight.iter_mut().zip(&self.signal).zip(shared.plan.mask()) {
            *w = m / (s * s);
        }
        let mut covariance = vec![0.0; p * p];
        normal_equations(pseudo, &self.weight, &self.score, &mut covariance, &mut self.unused);
        let trace: f64 = covariance.iter().zip(&self.normal).map(|(c, n)| c * n).sum();
        (covariance, n as f64 - 2.0 * p as f64 + trace)
    }

    fn finish(&mut self, y: &[f64], sigma: Option<f64>, mean_b0: f64) -> VoxelFit {
        let shared = self.shared;
        let (n, p) = (y.len(), self.beta.len());
        let mask = shared.plan.mask();
        // The sums with a score are not needed; the mask stands in its place.
        let square = residual_sums(&self.y, &self.signal, mask, mask).square;
        let mut sum = [0.0];
        products(mask, &self.y, &mut sum);
        self.score.fill(sum[0] / n as f64);
        let total = residual_sums(&self.y, &self.score, mask, mask).square;
        let (mut covariance, freedom) = self.covariance(n);
        let estimate = (square / freedom.max(1.0)).sqrt().max(f64::MIN_POSITIVE.sqrt());
        let scale = sigma.unwrap_or(estimate);
        if !scale.is_finite() {
            return self.failed(Status::Divergent, sigma, mean_b0);
        }
        // Without a residual nothing is known of the noise.
        let unit = if sigma.is_none() && n <= p { f64::NAN } else { scale * scale };
        covariance.iter_mut().for_each(|c| *c *= unit);
        let tensor = Tensor::new(&self.beta, shared.least);
        let errors = Errors { covariance: &covariance, p };
        let mut x = vec![0.0; shared.model.values()];
        let mut x_sd = vec![0.0; shared.model.values()];
        tensor.write(&shared.layout, &errors, &mut x, &mut x_sd);
        let s0 = self.beta[p - 1].exp();
        x[shared.layout.s0] = s0;
        x_sd[shared.layout.s0] = s0 * covariance[p * p - 1].sqrt();
        let columns = shared.model.columns().iter();
        let (mut measures, mut measure_sd) = (Vec::new(), Vec::new());
        tensor.measures(&errors, &mut measures, &mut measure_sd);
        if shared.expansion == Expansion::Kurtosis {
            tensor.kurtosis(&self.beta, &errors, &mut measures, &mut measure_sd);
        }
        let nats = n as f64 * (scale * std::f64::consts::TAU.sqrt()).ln();
        VoxelFit {
            x,
            sigma: scale,
            status: Status::Converged,
            ln_likelihood: -nats - 0.5 * square / (scale * scale),
            r2: 1.0 - square / total,
            column_sd: columns.map(|c| c.free_value().map_or(0.0, |k| x_sd[k])).collect(),
            measures,
            measure_sd,
            iterations: 1,
            mean_b0,
        }
    }

    fn failed(&self, status: Status, sigma: Option<f64>, mean_b0: f64) -> VoxelFit {
        VoxelFit::failed(&self.shared.model, status, sigma, mean_b0)
    }
}

/// The covariance of the coefficients.
struct Errors<'a> {
    covariance: &'a [f64],
    p: usize,
}

impl Errors<'_> {
    /// The standard error of a number with these derivatives by the first coefficients;
    /// NaN when it has none.
    fn of(&self, slope: &[f64]) -> f64 {
        let mut variance = 0.0;
        for (i, a) in slope.iter().enumerate() {
            let row = &self.covariance[i * self.p..i * self.p + slope.len()];
            variance += a * row.iter().zip(slope).map(|(c, b)| c * b).sum::<f64>();
        }
        if variance.is_finite() { variance.max(0.0).sqrt() } else { f64::NAN }
    }
}

/// The eigenvalues and vectors of fitted elements.
struct Tensor {
    /// Raised to the least eigenvalue.
    values: [f64; 3],
    raised: [bool; 3],
    axes: [[f64; 3]; 3],
    psi: f64,
    /// Derivatives of $e_a\cdot D e_b$ by the six elements, for (a, b) = 11, 22, 33, 12, 13, 23.
    frame: [[f64; 6]; 6],
}

impl Tensor {
    fn new(beta: &[f64], least: f64) -> Self {
        let [xx, yy, zz, xy, xz, yz] = std::array::from_fn(|i| beta[i]);
        let (raw, vectors) = eigen_3x3([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]);
        let (mu, psi) = DiffusionTensor::angles(vectors[0], vectors[1]);
        let axes = DiffusionTensor::axes(mu, psi);
        const PAIRS: [[usize; 2]; 6] = [[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]];
        let frame = PAIRS.map(|[a, b]| {
            PAIRS.map(|[i, j]| {
                let product = axes[a][i] * axes[b][j];
                if i == j { product } else { product + axes[a][j] * axes[b][i] }
            })
        });
        Self { values: raw.map(|l| l.max(least)), raised: raw.map(|l| l < least), axes, psi, frame }
    }

    /// Values of the model and their standard errors.
    fn write(&self, layout: &Layout, errors: &Errors<'_>, x: &mut [f64], sd: &mut [f64]) {
        let [l1, l2, l3] = self.values;
        x[layout.mu..layout.mu + 3].copy_from_slice(&self.axes[0]);
        x[layout.scalars[0]] = self.psi;
        for (k, &at) in layout.scalars[1..].iter().enumerate() {
            x[at] = self.values[k];
            sd[at] = if self.raised[k] { f64::NAN } else { errors.of(&self.frame[k]) };
        }
        let raised = self.raised.iter().any(|r| *r);
        let turns = DiffusionTensor::turns(self.axes[0], self.psi);
        // D_23 = (l2 - l3) of a turn about e1, and so on.
        let about = [(5, 1.0 / (l2 - l3)), (4, -1.0 / (l1 - l3)), (3, 1.0 / (l1 - l2))];
        for (k, turn) in turns.iter().enumerate() {
            let mut slope = [0.0; 6];
            for (t, (pair, weight)) in turn.iter().zip(about) {
                for (s, f) in slope.iter_mut().zip(&self.frame[pair]) {
                    // The axis does not turn with e1, however near the other two are.
                    *s += if *t == 0.0 { 0.0 } else { t * weight * f };
                }
            }
            let at = if k < 3 { layout.mu + k } else { layout.scalars[0] };
            sd[at] = if raised { f64::NAN } else { errors.of(&slope) };
        }
    }

    /// FA and the diffusivities.
    fn measures(&self, errors: &Errors<'_>, value: &mut Vec<f64>, sd: &mut Vec<f64>) {
        let raised = self.raised.iter().any(|r| *r);
        for measure in TensorMeasure::ALL {
            let (v, d) = measure.evaluate(self.values);
            let slope: [f64; 6] =
                std::array::from_fn(|i| (0..3).map(|k| d[k] * self.frame[k][i]).sum());
            value.push(v);
            sd.push(if raised { f64::NAN } else { errors.of(&slope) });
        }
    }

    /// The measures of the kurtosis and the elements of W.
    fn kurtosis(&self, beta: &[f64], errors: &Errors<'_>, value: &mut Vec<f64>, sd: &mut Vec<f64>) {
        let v: [f64; 15] = std::array::from_fn(|i| beta[6 + i]);
        let all = KurtosisMeasures::new(self.values, self.axes, &v);
        let raised = self.raised.iter().any(|r| *r);
        for (k, (v, gradient)) in all.value.iter().zip(&all.gradient).enumerate() {
            // The anisotropy of W does not depend on D.
            let open = raised && k < 3;
            value.push(if open { f64::NAN } else { *v });
            sd.push(if open { f64::NAN } else { errors.of(gradient) });
        }
        let md = (beta[0] + beta[1] + beta[2]) / 3.0;
        for (k, v) in v.iter().enumerate() {
            let w = v / (md * md);
            let mut slope = [0.0; 21];
            slope[..3].fill(-2.0 * w / (3.0 * md));
            slope[6 + k] = 1.0 / (md * md);
            let positive = md > 0.0;
            value.push(if positive { w } else { f64::NAN });
            sd.push(if positive { errors.of(&slope) } else { f64::NAN });
        }
    }
}
