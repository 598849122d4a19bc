//! The fit of one voxel.
//!
//! $$\hat x = \arg\max_x \ln p(y\,|\,S(x),\sigma),\qquad \mathrm{cov} = (T^T J^T W J T)^{-1}$$
//!
//! with $W$ the curvature of the likelihood at the optimum (observed
//! information in the signal, kept above $0.3/\sigma^2$ in steps) and $T$
//! the tangent basis; the covariance of the result columns follows by the delta
//! method. Where σ of magnitudes is estimated, too, the information that is spent on
//! it is taken off.
//!
//! An unknown σ is estimated: for Gaussian noise $\hat\sigma^2 = \mathrm{RSS}/(n-p)$;
//! for the others by scoring steps in ln σ, alternating with fits, to the zero of
//!
//! $$\frac{\partial\ln p}{\partial\ln\sigma} + cp,\qquad c = 1\text{ for magnitudes},\quad
//!   c = \frac{\nu+2}{\nu+5}\text{ for Student-t noise}$$
//!
//! The loss of the p fitted parameters makes it unbiased to first order in $p/n$, as
//! $n - p$ does for Gaussian noise: of $\psi = -\partial\ln p/\partial y$ the sum
//! $\sum d\,\psi(d)$ over residuals loses $1 + \mathrm E[d\psi'']/2\mathrm E[\psi']$ a parameter.
//!
//! Nuisances $z$ of a model (the errors of a simulation in their standard deviations) have
//! a standard normal prior that the fit counts: it adds $-z^2/2$ to the likelihood, so that
//! the other estimates and their errors are those of the marginal likelihood of a normal
//! approximation. They are not among the p parameters.
//!
//! Source: Sijbers et al. 1998, doi:10.1109/42.712125 (Rician maximum
//! likelihood); Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852
//! (Student-t); Efron & Hinkley 1978, doi:10.1093/biomet/65.3.457 (observed information).
//! Validated by `tests/suite/fit.rs` and `tests/suite/noise.rs`.

mod modes;
mod uncertainty;

use super::lm::{LevenbergMarquardt, Objective};
use super::start::StartScheme;
use super::status::Status;
use argmin::core::{Executor, State};
use microtome_kernels::normal::normal_equations;
use microtome_kernels::residual::residual_sums;
use microtome_models::{Constants, Evaluator, FreeKind, Lowered, Model, NoiseKind, Tangent};

/// Settings of the fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Most iterations of one Levenberg-Marquardt run.
    pub max_iterations: u64,
    /// Most fits that one voxel starts (fewer where the model has one mode).
    pub max_starts: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { max_iterations: 200, max_starts: 5 }
    }
}

/// The result of one voxel.
#[derive(Debug, Clone)]
pub struct VoxelFit {
    /// Estimates of the free values.
    pub x: Vec<f64>,
    /// The noise scale, known or estimated.
    pub sigma: f64,
    /// How it ended.
    pub status: Status,
    /// $\ln p(y|\hat x,\sigma)$.
    pub ln_likelihood: f64,
    /// Coefficient of determination of the signals.
    pub r2: f64,
    /// Standard errors of the result columns; NaN where not determined.
    pub column_sd: Vec<f64>,
    /// The measures of the model (FA and others), in their order.
    pub measures: Vec<f64>,
    /// Standard errors of the measures; NaN where not determined.
    pub measure_sd: Vec<f64>,
    /// Iterations of the best run.
    pub iterations: u64,
    /// Mean b = 0 signal.
    pub mean_b0: f64,
}

impl VoxelFit {
    /// The result of a voxel that has none.
    pub(crate) fn failed(model: &Model, status: Status, sigma: Option<f64>, mean_b0: f64) -> Self {
        let open = |n: usize| vec![f64::NAN; n];
        Self {
            x: open(model.values()),
            sigma: sigma.unwrap_or(f64::NAN),
            status,
            ln_likelihood: f64::NAN,
            r2: f64::NAN,
            column_sd: open(model.columns().len()),
            measures: open(model.measures().len()),
            measure_sd: open(model.measures().len()),
            iterations: 0,
            mean_b0,
        }
    }
}

/// Fits voxels one after another on one thread.
#[derive(Debug)]
pub struct Fitter {
    evaluator: Evaluator,
    ranking: Evaluator,
    scheme: StartScheme,
    tangent: Tangent,
    nuisances: Vec<usize>,
    options: FitOptions,
    y: Vec<f64>,
    scratch: Scratch,
    /// The ends of all starts, where they are asked for.
    ends: Option<Vec<Run>>,
}

/// (value, coordinate, derivative).
type Entry = (usize, usize, f64);

#[derive(Debug)]
struct Scratch {
    score: Vec<f64>,
    curvature: Vec<f64>,
    normal: Vec<f64>,
    right: Vec<f64>,
    basis: Vec<Entry>,
}

/// One run of Levenberg-Marquardt.
#[derive(Debug, Clone)]
struct Run {
    x: Vec<f64>,
    cost: f64,
    iterations: u64,
    finished: bool,
    /// The direction in which the information vanishes where the run ended.
    fold: Option<Vec<f64>>,
}

/// The negative log likelihood of a voxel in tangent coordinates.
struct NegativeLogLikelihood<'a> {
    evaluator: &'a mut Evaluator,
    tangent: &'a Tangent,
    /// Values with a standard normal prior that counts.
    nuisances: &'a [usize],
    y: &'a [f64],
    mask: &'a [f64],
    noise: NoiseKind,
    sigma: f64,
    /// The curvature of a measurement is kept above this share of its information,
    /// about 1/σ².
    floor: f64,
    scratch: &'a mut Scratch,
}

/// Iterations of each of several starts before the best goes on.
const FIRST_ITERATIONS: u64 = 8;

/// Length of the steps off a fold, in typical sizes of the parameter that moves most.
const FOLD_STEP: f64 = 0.3;

/// Folds that one search leaves at most.
const FOLDS: usize = 2;

/// Longest step of ln σ.
const LONGEST_STEP: f64 = 0.7;

/// A fit is far from its data where its mean square residual is above that of noise by
/// so many standard deviations.
const MISFIT: f64 = 3.0;

/// A fraction below this has vanished.
const VANISHED: f64 = 0.02;

/// The floor of the curvature in the steps of a fit, which need a positive matrix.
const CURVATURE_FLOOR: f64 = 0.3;

impl Objective for NegativeLogLikelihood<'_> {
    fn dim(&self) -> usize {
        self.tangent.dim()
    }

    fn linearise(&mut self, x: &[f64], gradient: &mut [f64], hessian: &mut [f64]) -> f64 {
        let s = &mut *self.scratch;
        let (signal, jacobian) = self.evaluator.signal_and_jacobian(x);
        let value = self.noise.curvature(
            self.y,
            signal,
            self.mask,
            self.sigma,
            &mut s.score,
            &mut s.curvature,
        );
        if self.noise != NoiseKind::Gaussian {
            let inverse = 1.0 / (self.sigma * self.sigma);
            let others = self.noise.coils().map_or(0.0, |n| f64::from(n) - 1.0);
            for ((c, s), m) in s.curvature.iter_mut().zip(signal).zip(self.mask) {
                // Of several coils the information goes to S²/(S² + Nσ²) of that of one
                // channel.
                let power = s * s * inverse;
                let share = if others > 0.0 { (power / (power + others)).max(0.05) } else { 1.0 };
                *c = c.max(self.floor * share * inverse) * m;
            }
        }
        normal_equations(jacobian, &s.curvature, &s.score, &mut s.normal, &mut s.right);
        self.tangent.basis(x, &mut s.basis);
        project(&s.normal, &s.right, &s.basis, gradient, hessian);
        // Errors of a simulation have a known size: half of their square is counted, too.
        let mut cost = -value;
        for &(at, i, _) in s.basis.iter().filter(|entry| self.nuisances.contains(&entry.0)) {
            cost += 0.5 * x[at] * x[at];
            gradient[i] += x[at];
            hessian[i * self.tangent.dim() + i] += 1.0;
        }
        cost
    }

    fn retract(&self, x: &[f64], step: &mut [f64], out: &mut [f64]) {
        self.tangent.retract(x, step, out);
    }

    fn blocked(&self, x: &[f64], gradient: &[f64], out: &mut [bool]) {
        self.tangent.blocked(x, gradient, out);
    }
}

/// g = -Tᵀ r and H = Tᵀ N T, T by its entries.
fn project(
    normal: &[f64],
    right: &[f64],
    basis: &[Entry],
    gradient: &mut [f64],
    hessian: &mut [f64],
) {
    let (values, dim) = (right.len(), gradient.len());
    gradient.fill(0.0);
    hessian.fill(0.0);
    for &(a, i, t) in basis {
        gradient[i] -= t * right[a];
        let row = &normal[a * values..(a + 1) * values];
        let out = &mut hessian[i * dim..(i + 1) * dim];
        for &(b, j, u) in basis {
            out[j] += t * row[b] * u;
        }
    }
}

impl Fitter {
    /// A fitter of one model on one acquisition, with its own scratch memory.
    pub fn new(lowered: &Lowered, scheme: &StartScheme, options: FitOptions) -> Self {
        let tangent = Tangent::new(&lowered.model);
        let (values, slots) = (lowered.model.values(), lowered.plan.slots());
        Self {
            evaluator: Evaluator::new(lowered),
            ranking: Evaluator::new(scheme.ranking()),
            scheme: scheme.clone(),
            options,
            y: vec![0.0; slots],
            scratch: Scratch {
                score: vec![0.0; slots],
                curvature: vec![0.0; slots],
                normal: vec![0.0; values * values],
                right: vec![0.0; values],
                basis: Vec::new(),
            },
            tangent,
            nuisances: lowered.model.free().iter().filter(|f| f.nuisance).map(|f| f.at).collect(),
            ends: None,
        }
    }

    /// The evaluator, for sampling after a fit.
    pub fn evaluator(&mut self) -> &mut Evaluator {
        &mut self.evaluator
    }

    fn model(&self) -> &Model {
        &self.evaluator.lowered().model
    }

    /// Whether signals can be fitted at all.
    pub fn is_valid(noise: NoiseKind, y: &[f64]) -> bool {
        y.iter().all(|v| v.is_finite())
            && y.iter().any(|v| *v != 0.0)
            && (noise.coils().is_none() || y.iter().all(|v| *v >= 0.0))
    }

    /// Fits one voxel.
    ///
    /// # Shapes
    /// `y` `[measurement]`; `per_voxel` one number for each parameter fixed a voxel.
    ///
    /// # Units
    /// `sigma`, when known, in the unit of the signals.
    pub fn fit(&mut self, y: &[f64], per_voxel: &[f64], sigma: Option<f64>) -> VoxelFit {
        self.run(y, per_voxel, sigma, None)
    }

    /// As [`Fitter::fit`], from one given start instead of the scheme.
    ///
    /// # Shapes
    /// `start` `[value]`.
    pub fn fit_from(
        &mut self,
        start: &[f64],
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
    ) -> VoxelFit {
        self.run(y, per_voxel, sigma, Some(start))
    }

    fn run(
        &mut self,
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
        start: Option<&[f64]>,
    ) -> VoxelFit {
        let mean_b0 = self.scheme.mean_b0(y);
        let noise = self.model().noise();
        let fixed_ok = per_voxel.iter().chain(&sigma).all(|v| v.is_finite());
        let sigma_ok = sigma.is_none_or(|s| s > 0.0);
        if !(Self::is_valid(noise, y) && mean_b0 > 0.0 && fixed_ok && sigma_ok) {
            return self.failed(Status::InvalidSignal, sigma, mean_b0);
        }
        self.evaluator.set_per_voxel(per_voxel);
        let plan = self.evaluator.lowered().plan.clone();
        plan.scatter(y, &mut self.y);
        // Without a known σ the first fits use a guess; the optimum of least
        // squares does not depend on it.
        let b0_sd = self.scheme.b0_sd(y);
        let guess = sigma.unwrap_or_else(|| b0_sd.unwrap_or(0.0).max(0.02 * mean_b0));
        // Outliers make the surface of Student-t noise rough far from the optimum, so
        // it is climbed from that of least squares.
        let rough = matches!(noise, NoiseKind::StudentT { .. });
        let first_noise = if sigma.is_some() && !rough { noise } else { NoiseKind::Gaussian };
        if start.is_none() {
            self.ranking.set_per_voxel(per_voxel);
        }
        let starts = self.starts(y, start, guess);
        let Some(mut best) = self.best_of(starts, first_noise, guess) else {
            return self.failed(Status::Divergent, sigma, mean_b0);
        };
        // A misfit that noise does not explain is often another mode.
        if start.is_none()
            && let Some(level) = sigma.or(b0_sd.filter(|s| *s > 1e-3 * mean_b0))
            && self.misfit(&best.x, level) > MISFIT
        {
            best = self.tried_at_corners(best, y, first_noise, guess);
        }
        let parameters = self.tangent.dim() - self.nuisances.len() + usize::from(sigma.is_none());
        let sigma = match sigma {
            Some(s) => {
                if rough {
                    let limit = self.options.max_iterations;
                    let Some(run) = self.minimise(best.x, noise, s, limit) else {
                        return self.failed(Status::Divergent, sigma, mean_b0);
                    };
                    best = Run { iterations: best.iterations + run.iterations, ..run };
                }
                s
            }
            None => {
                let mut first = self.residual_sigma(&best.x);
                if let NoiseKind::NcChi { coils: coils @ 2.. } = noise {
                    let constants = Constants::new(noise, y);
                    let (mut found, mut iterations) = (None::<Run>, best.iterations);
                    for candidate in self.candidates(coils, y, &best.x, mean_b0) {
                        let starts = self.starts(y, start, candidate);
                        let Some(run) = self.best_of(starts, noise, candidate) else { continue };
                        iterations += run.iterations;
                        let run = Run { cost: run.cost - constants.at(candidate), ..run };
                        if found.as_ref().is_none_or(|f| run.cost < f.cost) {
                            (found, first) = (Some(run), candidate);
                        }
                    }
                    if let Some(run) = found {
                        best = Run { iterations, ..run };
                    }
                }
                let estimate = self.estimate_sigma(noise, &mut best, first);
                // The fits end at a share of a nat, so a guess that was much too
                // large made them end early.
                if noise == NoiseKind::Gaussian && estimate < 0.2 * guess {
                    let limit = self.options.max_iterations;
                    if let Some(run) =
                        self.minimise(best.x.clone(), noise, estimate.max(1e-4 * guess), limit)
                    {
                        let run = self.past_folds(run, noise, estimate.max(1e-4 * guess));
                        best = Run { iterations: best.iterations + run.iterations, ..run };
                    }
                    self.residual_sigma(&best.x)
                } else {
                    estimate
                }
            }
        };
        self.finish(y, sigma, mean_b0, best, parameters)
    }

    /// The given start, or those of the scheme above the floor of noise of about `sigma`.
    fn starts(&mut self, y: &[f64], given: Option<&[f64]>, sigma: f64) -> Vec<Vec<f64>> {
        if let Some(x) = given {
            return vec![x.to_vec()];
        }
        let channels = self.model().noise().coils().map_or(0.0, |n| 2.0 * f64::from(n));
        let floor = (channels - 2.0 / 3.0).max(0.0) * sigma * sigma;
        let mut starts = self.scheme.starts(&mut self.ranking, y, floor);
        starts.truncate(self.options.max_starts.max(1));
        starts
    }

    /// Follows every start for a few iterations and the best one to its end.
    fn best_of(&mut self, starts: Vec<Vec<f64>>, noise: NoiseKind, sigma: f64) -> Option<Run> {
        let limit = self.options.max_iterations;
        if starts.len() == 1 {
            let run = self.minimise(starts.into_iter().next()?, noise, sigma, limit)?;
            return Some(self.past_folds(run, noise, sigma));
        }
        let first = FIRST_ITERATIONS.min(limit);
        let mut runs: Vec<Run> =
            starts.into_iter().filter_map(|x| self.minimise(x, noise, sigma, first)).collect();
        runs.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        let mut best: Option<Run> = None;
        let mut ends = Vec::new();
        for run in runs {
            // A mode in which a compartment has vanished is often a trap: a lower
            // one may keep it, so the other starts go on to their ends, too.
            // So is a diffusivity at its bound for shell means.
            if let Some(best) = &best
                && self.ends.is_none()
                && !self.has_vanished(&best.x)
                && !(self.model().spec().spherical_mean && self.is_bounded(&best.x))
            {
                break;
            }
            let run = self.follow(run, noise, sigma, limit);
            if self.ends.is_some() {
                ends.push(run.clone());
            }
            if best.as_ref().is_none_or(|b| run.cost < b.cost) {
                best = Some(run);
            }
        }
        self.keep_ends(ends);
        best.map(|run| self.past_folds(run, noise, sigma))
    }

    /// Leaves folds: points where columns of the Jacobian are dependent and the gradient
    /// vanishes, though the likelihood rises further along the direction $v$ that the
    /// columns leave open (at third order in the step, which Gauss-Newton steps don't see).
    /// Sticks and a ball of one diffusivity λ are such a point of shell means $\bar E$, as
    /// $\partial\bar E_{stick}/\partial\lambda = (E_{ball} - \bar E_{stick})/2\lambda$.
    /// Fits from both sides of the fold decide.
    fn past_folds(&mut self, mut run: Run, noise: NoiseKind, sigma: f64) -> Run {
        let limit = self.options.max_iterations;
        for _ in 0..FOLDS {
            let Some(direction) = run.fold.take() else { break };
            let sizes = self.typical_sizes(&run.x);
            let longest =
                direction.iter().zip(&sizes).map(|(d, size)| (d / size).abs()).fold(0.0, f64::max);
            let (from, before) = (run.x.clone(), run.cost);
            for sign in [1.0, -1.0] {
                let mut step: Vec<f64> =
                    direction.iter().map(|d| sign * FOLD_STEP / longest * d).collect();
                let mut x = from.clone();
                self.tangent.retract(&from, &mut step, &mut x);
                if let Some(other) = self.minimise(x, noise, sigma, limit) {
                    let iterations = run.iterations + other.iterations;
                    if other.cost < run.cost {
                        run = other;
                    }
                    run.iterations = iterations;
                }
            }
            // What two ends of one valley differ by is no gain.
            if before - run.cost <= 1e-6 * (1.0 + before.abs()) {
                break;
            }
        }
        run
    }

    /// The typical size of each tangent coordinate.
    fn typical_sizes(&self, x: &[f64]) -> Vec<f64> {
        let free = self.model().free().iter();
        free.flat_map(|f| match f.kind {
            FreeKind::Scale => vec![x[f.at].abs().max(f64::MIN_POSITIVE)],
            FreeKind::Axis => vec![1.0; 2],
            FreeKind::Fractions { .. } => vec![1.0; f.len - 1],
            FreeKind::Scalar { .. } => vec![f.scale],
        })
        .collect()
    }

    /// Carries a run to its end.
    fn follow(&mut self, run: Run, noise: NoiseKind, sigma: f64, limit: u64) -> Run {
        if run.finished {
            return run;
        }
        match self.minimise(run.x.clone(), noise, sigma, limit) {
            Some(more) => Run { iterations: run.iterations + more.iterations, ..more },
            None => run,
        }
    }

    /// Whether a scalar is at a bound.
    fn is_bounded(&self, x: &[f64]) -> bool {
        let mut free = self.model().free().iter();
        free.any(|f| {
            f.kind == FreeKind::Scalar { period: None }
                && (x[f.at] <= f.range[0] || x[f.at] >= f.range[1])
        })
    }

    /// Whether a free fraction is next to nothing.
    fn has_vanished(&self, x: &[f64]) -> bool {
        self.model()
            .free()
            .iter()
            .filter(|f| matches!(f.kind, FreeKind::Fractions { .. }))
            .any(|f| x[f.at..f.at + f.len].iter().any(|v| *v < VANISHED))
    }

    fn minimise(&mut self, x: Vec<f64>, noise: NoiseKind, sigma: f64, limit: u64) -> Option<Run> {
        let plan = self.evaluator.lowered().plan.clone();
        let objective = NegativeLogLikelihood {
            evaluator: &mut self.evaluator,
            tangent: &self.tangent,
            nuisances: &self.nuisances,
            y: &self.y,
            mask: plan.mask(),
            noise,
            sigma,
            floor: CURVATURE_FLOOR,
            scratch: &mut self.scratch,
        };
        let run = Executor::new(objective, LevenbergMarquardt::default())
            .configure(|s| s.param(x).max_iters(limit))
            .timer(false)
            .ctrlc(false)
            .run()
            .ok()?;
        let state = run.state();
        let cost = state.get_best_cost();
        let best = state.get_best_param()?.clone();
        let iterations = state.get_iter();
        let finished = iterations < limit;
        let fold = if finished { run.solver.fold() } else { None };
        cost.is_finite().then_some(Run { x: best, cost, iterations, finished, fold })
    }

    /// Degrees of freedom left for the noise.
    fn residual_freedom(&self) -> f64 {
        let n = self.evaluator.lowered().plan.measurements();
        (n + self.nuisances.len()).saturating_sub(self.tangent.dim()).max(1) as f64
    }

    /// The root mean square of the residuals a degree of freedom.
    fn residual_sigma(&mut self, x: &[f64]) -> f64 {
        let square = self.residual_square(x) / self.residual_freedom();
        square.sqrt().max(f64::MIN_POSITIVE.sqrt())
    }

    /// Noise scales of N coils to start from, as the likelihood has a valley where noise
    /// of a large σ stands for all weighted signals.
    ///
    /// A variance $v$ about mean magnitudes $m$ gives, with $\mathrm E\,y^2 = S^2 + 2N\sigma^2$
    /// and $\mathrm{Var}\,y \approx \mathrm{Var}\,y^2/4\mathrm E\,y^2 = \sigma^2(1 - N\sigma^2/m^2)$,
    /// a quadratic equation in σ². It is taken for the residuals of least squares, which
    /// are too large where the model can't follow the floor, with a sequence below it, and
    /// for the b = 0 signals. No σ is larger than the least power of a shell allows.
    fn candidates(&mut self, coils: u32, y: &[f64], x: &[f64], mean_b0: f64) -> Vec<f64> {
        let variance = self.residual_sigma(x).powi(2);
        let plan = self.evaluator.lowered().plan.clone();
        let signal = self.evaluator.signal(x);
        let inverse: f64 =
            signal.iter().zip(plan.mask()).map(|(m, mask)| mask / (m * m).max(variance)).sum();
        let n = f64::from(coils);
        let above_floor = |variance: f64, inverse: f64| {
            let root = (1.0 - 4.0 * n * inverse * variance).max(0.0).sqrt();
            // (1 - root)/(2N/m²) without its cancellation.
            (2.0 * variance / (1.0 + root)).sqrt()
        };
        let largest = (self.scheme.least_power(y) / (2.0 * n)).sqrt();
        let residual = above_floor(variance, inverse / plan.measurements() as f64).min(largest);
        let mut out: Vec<f64> = (0..5).map(|k| residual * 0.85_f64.powi(k)).collect();
        if let Some(sd) = self.scheme.b0_sd(y).filter(|sd| *sd > 0.0) {
            out.push(above_floor(sd * sd, 1.0 / (mean_b0 * mean_b0)).min(largest));
        }
        out
    }

    /// The zero of the score in ln σ, from `sigma` on, with fits in between.
    fn estimate_sigma(&mut self, noise: NoiseKind, best: &mut Run, mut sigma: f64) -> f64 {
        if noise == NoiseKind::Gaussian {
            return sigma;
        }
        let freedom = self.residual_freedom();
        let parameters = self.evaluator.lowered().plan.measurements() as f64 - freedom;
        let loss = match noise {
            NoiseKind::StudentT { nu } => (nu + 2.0) / (nu + 5.0) * parameters,
            _ => parameters,
        };
        for _ in 0..30 {
            let Some(run) =
                self.minimise(best.x.clone(), noise, sigma, self.options.max_iterations)
            else {
                break;
            };
            let iterations = best.iterations + run.iterations;
            *best = Run { iterations, ..run };
            let plan = self.evaluator.lowered().plan.clone();
            let signal = self.evaluator.signal(&best.x);
            noise.score(&self.y, signal, plan.mask(), sigma, &mut self.scratch.score);
            let slope =
                noise.ln_sigma_slope(&self.y, signal, plan.mask(), sigma, &self.scratch.score);
            let information = self.ln_sigma_information(&best.x, sigma);
            let step = ((slope + loss) / information).clamp(-LONGEST_STEP, LONGEST_STEP);
            sigma *= step.exp();
            if step.abs() < 1e-4 {
                break;
            }
        }
        sigma
    }

    /// The information on ln σ at values, of Rician noise at any signal as well.
    fn ln_sigma_information(&mut self, x: &[f64], sigma: f64) -> f64 {
        let noise = self.model().noise();
        let noise = noise.coils().map_or(noise, |coils| NoiseKind::NcChi { coils });
        let plan = self.evaluator.lowered().plan.clone();
        let signal = self.evaluator.signal(x);
        noise.ln_sigma_information(&self.y, signal, plan.mask(), sigma, &mut self.scratch.score)
    }

    /// Takes from the information on the parameters what is spent on σ:
    /// $H - hh^T/I$ with $h$ the derivative of the gradient by ln σ.
    fn profile(&mut self, x: &[f64], sigma: f64, information: f64, hessian: &mut [f64]) {
        let plan = self.evaluator.lowered().plan.clone();
        let noise = self.model().noise();
        let dim = self.tangent.dim();
        let step = 1e-4;
        let mut gradients = [vec![0.0; dim], vec![0.0; dim]];
        let mut unused = vec![0.0; dim * dim];
        for (gradient, sigma) in
            gradients.iter_mut().zip([sigma * (1.0 + step), sigma * (1.0 - step)])
        {
            let mut objective = NegativeLogLikelihood {
                evaluator: &mut self.evaluator,
                tangent: &self.tangent,
                nuisances: &self.nuisances,
                y: &self.y,
                mask: plan.mask(),
                noise,
                sigma,
                floor: CURVATURE_FLOOR,
                scratch: &mut self.scratch,
            };
            objective.linearise(x, gradient, &mut unused);
        }
        let h: Vec<f64> =
            gradients[0].iter().zip(&gradients[1]).map(|(a, b)| (a - b) / (2.0 * step)).collect();
        for i in 0..dim {
            for j in 0..dim {
                hessian[i * dim + j] -= h[i] * h[j] / information;
            }
        }
    }

    fn residual_square(&mut self, x: &[f64]) -> f64 {
        let plan = self.evaluator.lowered().plan.clone();
        let signal = self.evaluator.signal(x);
        // The sum with the score is not needed; the mask stands in its place.
        residual_sums(&self.y, signal, plan.mask(), plan.mask()).square
    }

    fn finish(
        &mut self,
        y: &[f64],
        sigma: f64,
        mean_b0: f64,
        best: Run,
        parameters: usize,
    ) -> VoxelFit {
        let Run { mut x, iterations, finished, .. } = best;
        self.model().canonicalise(&mut x);
        let plan = self.evaluator.lowered().plan.clone();
        let weighted = || y.iter().zip(plan.slot_of()).map(|(v, slot)| (*v, plan.mask()[*slot]));
        let mean =
            weighted().map(|(v, w)| w * v).sum::<f64>() / weighted().map(|p| p.1).sum::<f64>();
        let total: f64 = weighted().map(|(v, w)| w * (v - mean) * (v - mean)).sum();
        let r2 = 1.0 - self.residual_square(&x) / total;
        let noise = self.model().noise();
        let dim = self.tangent.dim();
        let (mut gradient, mut hessian) = (vec![0.0; dim], vec![0.0; dim * dim]);
        // About the signal itself, noise tells of σ and of the signal apart.
        let sigma_is_estimated = parameters > dim - self.nuisances.len() && noise.coils().is_some();
        // The observed information itself; with the floor of the steps where noise
        // leaves it without an inverse.
        let mut cost = f64::NAN;
        let (columns, measures) = (self.model().columns().len(), self.model().measures().len());
        let (mut column_sd, mut determined) = (vec![f64::NAN; columns + measures], false);
        for floor in [f64::NEG_INFINITY, CURVATURE_FLOOR] {
            let mut objective = NegativeLogLikelihood {
                evaluator: &mut self.evaluator,
                tangent: &self.tangent,
                nuisances: &self.nuisances,
                y: &self.y,
                mask: plan.mask(),
                noise,
                sigma,
                floor,
                scratch: &mut self.scratch,
            };
            cost = objective.linearise(&x, &mut gradient, &mut hessian);
            if floor < 0.0 && sigma_is_estimated {
                let information = self.ln_sigma_information(&x, sigma);
                self.profile(&x, sigma, information, &mut hessian);
            }
            if plan.measurements() >= parameters {
                (column_sd, determined) = self.standard_errors(&x, &gradient, &hessian);
            }
            if determined || noise == NoiseKind::Gaussian {
                break;
            }
        }
        let ln_likelihood = Constants::new(noise, y).of_means(plan.mask()).at(sigma) - cost;
        let status = match (determined, finished) {
            (false, _) => Status::Singular,
            (true, false) => Status::MaxIterations,
            (true, true) => Status::Converged,
        };
        let measure_sd = column_sd.split_off(columns);
        let per_voxel = self.evaluator.per_voxel();
        let measures = self.model().measures().iter();
        let measures =
            measures.map(|m| m.evaluate(self.model(), &x, per_voxel, &mut |_, _| ())).collect();
        VoxelFit {
            x,
            sigma,
            status,
            ln_likelihood,
            r2,
            column_sd,
            measures,
            measure_sd,
            iterations,
            mean_b0,
        }
    }

    fn failed(&self, status: Status, sigma: Option<f64>, mean_b0: f64) -> VoxelFit {
        VoxelFit::failed(self.model(), status, sigma, mean_b0)
    }
}
