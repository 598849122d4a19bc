//! The posterior of one voxel: fit, modes, draws by the method asked for, verdict.
//!
//! Each chain of NUTS starts at a draw from the normal approximation at a mode and
//! runs in its white coordinates (see [`Laplace`]). A chain whose median log
//! density stays more than ten nats and one a degree of freedom below the best
//! chain's is flagged; R-hat and E-BFMI are judged with the summary. Where there are
//! several modes, chains start at them in proportion to their evidence, so that R-hat
//! tells when they do not meet.
//!
//! Validated by `tests/suite/sample.rs`, `tests/suite/cheap.rs` and `docs/validation.md`.

use super::chains::{Charts, Walkers};
use super::importance::{ADAPTATIONS, Importance};
use super::laplace::{Laplace, Whitening};
use super::method::{RIDGE_EFFICIENCY, RIDGE_PROPOSALS, SampleOptions, has_corners, open_scalars};
use super::mixture::{Component, apportion, components, components_of_ridges, proportions};
use super::modes::{self, Mode, OnCharts};
use super::nuts::{Draw, LnDensity, NutsOptions, Trace};
use super::ridge::components_along;
use crate::diagnostics::{ParetoWorkspace, khat_limit, smooth_weights};
use crate::fit::{Fitter, Status, VoxelFit};
use microtome_kernels::Plan;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::{Evaluator, FreeKind, Model, NoiseKind, Posterior, SampleMethod, Sigma};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// How far below the best chain a chain may stay, beside one nat a degree of freedom.
const STUCK_NATS: f64 = 10.0;
/// A mode with less of the evidence than this starts no chain.
const LEAST_OF_CHAINS: f64 = 0.05;
/// The stream of the random numbers that belong to no chain.
const OWN_STREAM: u8 = 255;
/// Where the random numbers of proposals along ridges begin in that stream.
const RIDGE_STEP: u32 = 1;

/// Draws of one voxel.
#[derive(Debug, Clone)]
pub struct VoxelPosterior {
    /// The fit that the chains started from.
    pub fit: VoxelFit,
    /// Values of every draw, `[chain, draw, value]` (σ last when it is free).
    pub values: Vec<f64>,
    /// Statistics of every draw, one trace a chain (positions taken out).
    pub traces: Vec<Trace>,
    /// How it ended; convergence is judged by the summary.
    pub status: Status,
    /// Values of one draw: the free values and σ when it is free.
    pub width: usize,
    /// How the draws were made: `nuts`, `psis` or `laplace`.
    pub method: SampleMethod,
    /// Modes within six nats of evidence of the best one; 0 without a posterior.
    pub modes: usize,
    /// What the weights say, for `psis` and `laplace`.
    pub weights: Option<Weights>,
    /// The length of the chains in the draws that were asked for; longer where they did not agree.
    pub lengthened: usize,
}

/// What importance weights say of draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Pareto k-hat.
    pub khat: f64,
    /// Effective number of proposals, $1/\sum w^2$.
    pub effective: f64,
    /// The size of an independent sample as precise as the draws; see
    /// [`Importance::precision`].
    pub precision: f64,
    /// Proposals that the limit of k-hat is that of.
    pub proposals: usize,
}

impl Weights {
    /// Whether k-hat is within its limit.
    pub fn is_reliable(&self) -> bool {
        self.khat <= khat_limit(self.proposals)
    }
}

impl VoxelPosterior {
    /// Keeps one in `thin` draws of every chain, of one that was lengthened fewer still, so
    /// that as many stay as were asked for.
    pub fn thin(&mut self, thin: usize) {
        let thin = thin.max(1) * std::mem::replace(&mut self.lengthened, 1);
        if thin <= 1 || self.method != SampleMethod::Nuts {
            return;
        }
        let keeps = |i: usize| i % thin == thin - 1;
        let mut values = Vec::with_capacity(self.values.len() / thin);
        let mut rows = self.values.chunks_exact(self.width.max(1));
        for trace in &mut self.traces {
            let draws = std::mem::take(&mut trace.draws);
            for (i, (draw, row)) in draws.into_iter().zip(rows.by_ref()).enumerate() {
                if keeps(i) {
                    trace.draws.push(draw);
                    values.extend_from_slice(row);
                }
            }
        }
        self.values = values;
    }

    /// Divergent draws of all chains.
    pub fn divergences(&self) -> u64 {
        self.traces.iter().flat_map(|t| &t.draws).filter(|d| d.diverging).count() as u64
    }
}

/// Samples voxels one after another on one thread.
#[derive(Debug)]
pub struct Sampler {
    fitter: Fitter,
    options: SampleOptions,
    importance: Importance,
    indices: Vec<u32>,
    /// From [`open_scalars`].
    open: Vec<(usize, f64)>,
}

/// An evaluator whose measurements are in the order of the signals of a voxel until this
/// is dropped, where the likelihood is faster for it.
struct InOrder<'a> {
    evaluator: &'a mut Evaluator,
    plan: Option<Arc<Plan>>,
}

impl<'a> InOrder<'a> {
    fn of(evaluator: &'a mut Evaluator, y: &[f64]) -> Self {
        // Single precision has an order of its own.
        let is_faster = evaluator.lowered().model.noise() == NoiseKind::Rician
            && !evaluator.has_single_precision();
        let plan = is_faster.then(|| {
            let ordered = evaluator.lowered().plan.ordered(y);
            evaluator.set_plan(Arc::new(ordered))
        });
        Self { evaluator, plan }
    }
}

impl Drop for InOrder<'_> {
    fn drop(&mut self) {
        if let Some(plan) = self.plan.take() {
            self.evaluator.set_plan(plan);
        }
    }
}

/// The posterior in white coordinates.
struct White<'a, 'b> {
    posterior: &'a mut Posterior<'b>,
    whitening: &'a Whitening<'a>,
    z: &'a mut [f64],
}

impl LnDensity for White<'_, '_> {
    fn dim(&self) -> usize {
        self.z.len()
    }

    fn ln_density(&mut self, xi: &[f64], gradient: &mut [f64]) -> f64 {
        self.whitening.coordinates(xi, self.z);
        let value = self.posterior.quick_ln_density(self.z, gradient);
        self.whitening.gradient(gradient);
        value
    }
}

/// The white coordinates of the modes that chains start at.
struct OnModes<'a, 'b> {
    posterior: &'a mut Posterior<'b>,
    modes: &'a [Mode],
    whitenings: Vec<Whitening<'a>>,
    /// The mode of each chain.
    of_chain: Vec<usize>,
    /// The mode whose chart the posterior has; none at first, as importance sampling may
    /// have left any behind.
    current: Option<usize>,
    z: Vec<f64>,
}

impl Charts for OnModes<'_, '_> {
    fn density(&mut self, k: usize) -> impl LnDensity {
        let mode = self.of_chain[k];
        if self.current != Some(mode) {
            self.posterior.set_chart(self.modes[mode].chart.clone());
            self.current = Some(mode);
        }
        let whitening = &self.whitenings[mode];
        White { posterior: &mut *self.posterior, whitening, z: &mut self.z }
    }

    fn values(&mut self, k: usize, white: &[f64], out: &mut [f64]) {
        let mode = self.of_chain[k];
        self.whitenings[mode].coordinates(white, &mut self.z);
        self.modes[mode].chart.to_values(&self.z, out);
    }
}

impl Sampler {
    /// A sampler that fits with `fitter` and runs NUTS in every voxel.
    pub fn new(fitter: Fitter, options: NutsOptions) -> Self {
        Self::with_options(fitter, SampleOptions::nuts(options))
    }

    /// A sampler that fits with `fitter`.
    pub fn with_options(mut fitter: Fitter, options: SampleOptions) -> Self {
        let open = open_scalars(&fitter.evaluator().lowered().model);
        let importance = Importance::default();
        Self { fitter, options, importance, indices: Vec::new(), open }
    }

    /// The fitter.
    pub fn fitter(&mut self) -> &mut Fitter {
        &mut self.fitter
    }

    /// Samples one voxel.
    ///
    /// # Shapes
    /// `y` `[measurement]`; `per_voxel` one number for each parameter fixed a voxel.
    ///
    /// `row` is the number of the voxel in the whole input: with the seed it
    /// names the random numbers.
    pub fn sample(
        &mut self,
        y: &[f64],
        per_voxel: &[f64],
        sigma: Option<f64>,
        seed: u64,
        row: u64,
    ) -> VoxelPosterior {
        let (fit, mut centres) = self.fitter.fit_modes(y, per_voxel, sigma);
        let mut out = VoxelPosterior {
            width: fit.x.len() + usize::from(sigma.is_none()),
            values: Vec::new(),
            traces: Vec::new(),
            status: fit.status,
            method: match self.options.method {
                SampleMethod::Auto => SampleMethod::Nuts,
                method => method,
            },
            modes: 0,
            weights: None,
            lengthened: 1,
            fit,
        };
        if matches!(out.status, Status::InvalidSignal | Status::Divergent) {
            return out;
        }
        out.status = Status::Divergent;
        let Self { fitter, options, importance, indices, open } = self;
        let evaluator = fitter.evaluator();
        let model = evaluator.lowered().model.clone();
        let evaluator = &mut InOrder::of(evaluator, y);
        let evaluator = &mut *evaluator.evaluator;
        let noise = Sigma::of(sigma, &model, out.fit.mean_b0);
        if sigma.is_none() {
            centres.iter_mut().for_each(|c| c.push(out.fit.sigma));
        }
        let posterior =
            noise.and_then(|n| Posterior::new(evaluator, y, n, out.fit.mean_b0, &out.fit.x));
        let Ok(mut posterior) = posterior else { return out };
        let modes = modes::find(&mut posterior, &centres);
        if modes.is_empty() {
            return out;
        }
        out.modes = modes::count(&modes);
        posterior.quicken();
        let own = || PhiloxRng::new(seed, row, OWN_STREAM);
        let posterior = &mut posterior;
        let mut weighing = Weighing { posterior, modes: &modes, options, importance, indices };
        match options.method {
            SampleMethod::Laplace => {
                normal(weighing.posterior, &modes[0].laplace, options, &mut own(), &mut out);
            }
            SampleMethod::Psis => {
                weighing.psis(&mut own(), &mut out);
                let is_reliable = out.weights.is_some_and(|w| w.is_reliable());
                out.status = if is_reliable { Status::Converged } else { Status::NotMixed };
            }
            SampleMethod::Auto if out.modes == 1 => {
                let mut along = PhiloxRng::at_step(seed, RIDGE_STEP, row, OWN_STREAM);
                let is_done = weighing.auto(&model, open, [&mut own(), &mut along], &mut out)
                    && out.weights.is_some_and(|w| w.is_reliable())
                    && !has_corners(&model, &out.values, out.width);
                if is_done {
                    out.status = Status::Converged;
                } else {
                    chains(
                        weighing.posterior,
                        &modes,
                        &model,
                        &options.nuts,
                        (seed, row),
                        &mut out,
                    );
                }
            }
            SampleMethod::Auto | SampleMethod::Nuts => {
                chains(weighing.posterior, &modes, &model, &options.nuts, (seed, row), &mut out);
            }
        }
        out
    }
}

/// Rows of chains of draws that no chain made.
fn rows(out: &mut VoxelPosterior, options: &SampleOptions) {
    let draws = options.stored();
    let trace = || Trace { draws: Vec::with_capacity(draws), ..Trace::default() };
    out.traces = std::iter::repeat_with(trace).take(options.nuts.chains).collect();
    out.values.clear();
    out.values.reserve(options.nuts.chains * draws * out.width);
}

/// A draw that no trajectory made.
fn plain(ln_density: f64) -> Draw {
    Draw {
        position: Box::default(),
        ln_density,
        energy: f64::NAN,
        tree_depth: 0,
        reached_max_depth: false,
        acceptance_rate: f64::NAN,
        diverging: false,
        n_steps: 0,
        step_size: f64::NAN,
    }
}

/// Draws of the normal density at a mode. The k-hat of the ratios of the posterior to it
/// says how far it can be believed.
fn normal(
    posterior: &mut Posterior<'_>,
    laplace: &Laplace,
    options: &SampleOptions,
    rng: &mut PhiloxRng,
    out: &mut VoxelPosterior,
) {
    rows(out, options);
    let mut z = vec![0.0; laplace.mode.len()];
    let mut ln_ratios = Vec::with_capacity(options.nuts.chains * options.stored());
    for trace in &mut out.traces {
        for _ in 0..options.stored() {
            let xi: Vec<f64> = (0..z.len()).map(|_| StandardNormal.sample(rng)).collect();
            laplace.coordinates(&xi, &mut z);
            let ln_density = posterior.quick_ln_density_value(&z);
            ln_ratios.push(ln_density + 0.5 * xi.iter().map(|v| v * v).sum::<f64>());
            trace.draws.push(plain(ln_density));
            out.values.extend_from_slice(posterior.values());
        }
    }
    let count = ln_ratios.len();
    let khat = smooth_weights(&mut ln_ratios, 1.0, &mut ParetoWorkspace::new());
    let (effective, precision) = (count as f64, count as f64);
    out.weights = Some(Weights { khat, effective, precision, proposals: count });
    out.method = SampleMethod::Laplace;
    out.status = Status::Converged;
}

/// What weighted draws are made from.
struct Weighing<'a, 'b> {
    posterior: &'a mut Posterior<'b>,
    modes: &'a [Mode],
    options: &'a SampleOptions,
    importance: &'a mut Importance,
    indices: &'a mut Vec<u32>,
}

impl Weighing<'_, '_> {
    /// Draws of the mixture at the modes, weighed and resampled.
    fn psis(&mut self, rng: &mut PhiloxRng, out: &mut VoxelPosterior) {
        let mut mixture = self.mixture();
        let mut charts = OnCharts::new(self.posterior, self.modes);
        let count = self.options.proposals;
        self.importance.draw(&mut charts, &mut mixture, count, ADAPTATIONS, rng);
        self.resample(count, rng, out);
    }

    /// The same for a posterior of one mode, but where one of the scalars `open` is wider
    /// than what stands beside it, or their weights will not do, draws along its ridge or that
    /// of the widest; whether these are effective enough. Each has its own random numbers.
    fn auto(
        &mut self,
        model: &Model,
        open: &[(usize, f64)],
        [rng, along]: [&mut PhiloxRng; 2],
        out: &mut VoxelPosterior,
    ) -> bool {
        let mut mixture = self.mixture();
        let mut charts = OnCharts::new(self.posterior, self.modes);
        let count = self.options.proposals;
        let wide = |importance: &Importance| -> Vec<usize> {
            let is_wide = |&&(at, limit): &&(usize, f64)| importance.sd(at) > limit;
            open.iter().filter(is_wide).map(|(at, _)| *at).collect()
        };
        self.importance.draw(&mut charts, &mut mixture, count, 0, rng);
        let mut at = wide(self.importance);
        if at.is_empty() {
            self.importance.adapt(&mut charts, &mut mixture, count, ADAPTATIONS, rng);
            at = wide(self.importance);
            if at.is_empty() && self.importance.khat > khat_limit(count) {
                // Most often the tail of the widest scalar is what was missed.
                let share = |&&(at, limit): &&(usize, f64)| self.importance.sd(at) / limit;
                let widest = open.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
                at.extend(widest.map(|(at, _)| *at));
            }
        }
        self.resample(count, rng, out);
        at.is_empty()
            || (!has_corners(model, &out.values, out.width) && self.along(&at, along, out))
    }

    /// The components at the modes.
    fn mixture(&self) -> Vec<Component> {
        components(self.modes.iter().map(|m| m.laplace.clone()).collect())
    }

    /// Draws of a mixture along the ridges of the values `open` of a posterior of one mode,
    /// weighed and resampled; whether enough of them are effective.
    fn along(&mut self, open: &[usize], rng: &mut PhiloxRng, out: &mut VoxelPosterior) -> bool {
        let mode = &self.modes[0];
        self.posterior.set_chart(mode.chart.clone());
        let mut nodes = Vec::new();
        for &at in open {
            if let Some(k) = self.posterior.chart().coordinate(at) {
                nodes.extend(components_along(self.posterior, &mode.laplace, k));
            }
        }
        if nodes.is_empty() {
            return false;
        }
        let mut mixture = components_of_ridges(nodes);
        let count = self.options.proposals.max(RIDGE_PROPOSALS);
        let mut charts = OnCharts::new(self.posterior, self.modes);
        self.importance.draw(&mut charts, &mut mixture, count, 0, rng);
        self.resample(count, rng, out);
        self.importance.effective >= RIDGE_EFFICIENCY * count as f64
    }

    /// Draws of equal weight.
    fn resample(&mut self, proposals: usize, rng: &mut PhiloxRng, out: &mut VoxelPosterior) {
        let Self { options, importance, indices, .. } = self;
        let count = options.nuts.chains * options.stored();
        out.weights = Some(Weights {
            khat: importance.khat,
            effective: importance.effective,
            precision: importance.precision(count),
            proposals,
        });
        rows(out, options);
        importance.resample(count, rng, indices);
        let mut at = indices.iter().map(|i| *i as usize);
        for trace in &mut out.traces {
            for i in at.by_ref().take(options.stored()) {
                out.values.extend_from_slice(importance.values(i));
                trace.draws.push(plain(importance.ln_density(i)));
            }
        }
        out.method = SampleMethod::Psis;
    }
}

/// The mode that each chain starts at: as many chains a mode as its share of the evidence,
/// one at least where that is [`LEAST_OF_CHAINS`].
fn chain_modes(ln_evidence: &[f64], chains: usize) -> Vec<usize> {
    let shares = proportions(ln_evidence);
    let kept: Vec<f64> =
        shares.into_iter().filter(|s| *s >= LEAST_OF_CHAINS).take(chains).collect();
    let sum: f64 = kept.iter().sum();
    let spare = chains - kept.len();
    let scaled: Vec<f64> = kept.iter().map(|s| s / sum).collect();
    // One each, and the others so that the whole is nearest to the shares.
    let wanted: Vec<f64> = scaled.iter().map(|s| (s * chains as f64 - 1.0).max(0.0)).collect();
    let total: f64 = wanted.iter().sum();
    let more = if total > 0.0 {
        apportion(&wanted.iter().map(|w| w / total).collect::<Vec<_>>(), spare)
    } else {
        vec![0; kept.len()]
    };
    more.iter().enumerate().flat_map(|(k, n)| std::iter::repeat_n(k, 1 + n)).collect()
}

/// NUTS chains from the modes.
fn chains(
    posterior: &mut Posterior<'_>,
    modes: &[Mode],
    model: &Model,
    options: &NutsOptions,
    (seed, row): (u64, u64),
    out: &mut VoxelPosterior,
) {
    out.method = SampleMethod::Nuts;
    out.weights = None;
    out.values.clear();
    out.traces.clear();
    out.status = Status::Divergent;
    let dim = modes[0].laplace.mode.len();
    let of_chain = chain_modes(&modes::ln_evidence(modes), options.chains);
    let start = |chain: usize| {
        let mut rng = PhiloxRng::new(seed, row, chain as u8);
        let xi: Vec<f64> = (0..dim).map(|_| StandardNormal.sample(&mut rng)).collect();
        (xi, rng)
    };
    let starts = (0..of_chain.len()).map(start).collect();
    let whitenings = modes.iter().map(|m| Whitening::new(&m.laplace)).collect();
    let z = vec![0.0; dim];
    let mut charts = OnModes { posterior, modes, whitenings, of_chain, current: None, z };
    let Some(mut walkers) = Walkers::start(&mut charts, starts, options) else { return };
    let axes: Vec<usize> =
        model.free().iter().filter(|f| f.kind == FreeKind::Axis).map(|f| f.at).collect();
    walkers.run(&mut charts, out.width, &axes, options);
    out.values = walkers.values.concat();
    out.traces = walkers.traces;
    out.lengthened = walkers.lengthened;
    out.status = if is_stuck(&out.traces, dim) { Status::NotMixed } else { Status::Converged };
}

/// Whether a chain's median log density stays far below the best chain's.
fn is_stuck(traces: &[Trace], dim: usize) -> bool {
    let medians: Vec<f64> = traces
        .iter()
        .map(|t| {
            let mut v: Vec<f64> = t.draws.iter().map(|d| d.ln_density).collect();
            v.sort_by(f64::total_cmp);
            v.get(v.len() / 2).copied().unwrap_or(f64::NEG_INFINITY)
        })
        .collect();
    let best = medians.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    medians.iter().any(|m| best - m > STUCK_NATS + dim as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Draw;

    /// A chain whose log densities scatter about `level` by a nat.
    fn chain(level: f64) -> Trace {
        let draws = (0..101)
            .map(|i| Draw {
                position: Box::default(),
                ln_density: level + f64::from(i % 11) / 5.0 - 1.0,
                energy: 0.0,
                tree_depth: 2,
                reached_max_depth: false,
                acceptance_rate: 0.9,
                diverging: false,
                n_steps: 3,
                step_size: 1.0,
            })
            .collect();
        Trace { draws, ..Trace::default() }
    }

    #[test]
    fn chains_start_at_the_modes_in_proportion() {
        assert_eq!(chain_modes(&[-3.0], 4), [0; 4]);
        assert_eq!(chain_modes(&[0.0, 0.0], 4), [0, 0, 1, 1]);
        assert_eq!(chain_modes(&[0.0, -(3.0_f64.ln())], 4), [0, 0, 0, 1]);
        // Shares of 0.88 and 0.12: one chain at least; of 0.99 and 0.01: none.
        assert_eq!(chain_modes(&[0.0, -2.0], 4), [0, 0, 0, 1]);
        assert_eq!(chain_modes(&[0.0, -5.0], 4), [0; 4]);
        assert_eq!(chain_modes(&[0.0, -0.1, -0.2], 2), [0, 1]);
        assert_eq!(chain_modes(&[0.0, 0.0], 1), [0]);
    }

    #[test]
    fn a_chain_far_below_the_best_is_stuck() {
        let dim = 6;
        let limit = STUCK_NATS + dim as f64;
        assert!(!is_stuck(&[chain(-50.0), chain(-51.0), chain(-49.5), chain(-50.2)], dim));
        assert!(!is_stuck(&[chain(-50.0), chain(-50.0 - limit + 0.5)], dim));
        assert!(is_stuck(&[chain(-50.0), chain(-50.0 - limit - 0.5)], dim));
        assert!(is_stuck(&[chain(-200.0), chain(-50.0), chain(-50.0), chain(-50.0)], dim));
        assert!(!is_stuck(&[chain(-200.0)], dim));
        assert!(is_stuck(&[chain(-50.0), Trace::default()], dim));
    }
}
