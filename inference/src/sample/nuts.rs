//! One NUTS chain of a density, by nuts-rs.
//!
//! The chain runs in the coordinates it is given; tuning adapts the step size
//! and a metric (diagonal, or diagonal and low-rank). Nothing is shared between chains and nothing is
//! random but the seed, so a chain is a function of (density, start, seed).
//!
//! Source: Hoffman & Gelman 2014, JMLR 15:1593; Betancourt 2017, arXiv:1701.02434.
//! Validated by `tests/suite/sample.rs` (normal and Rician targets of known moments).

use super::monitor::{Monitor, Watch};
use microtome_kernels::philox::PhiloxRng;
use nuts_rs::{
    Chain, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError,
    LowRankNutsSettings, Math, SamplerStats, Settings,
};
use std::collections::HashMap;

/// A log density with its gradient.
pub trait LnDensity {
    /// Number of coordinates.
    fn dim(&self) -> usize;

    /// The log density and its gradient; NaN or infinite where it can't be
    /// evaluated, which the sampler counts as a divergence.
    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64;

    /// Why the last evaluation was not finite, where the density knows.
    fn reason(&self) -> Option<&str> {
        None
    }
}

/// What tuning learns of the shape of a density, beside the step size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// A scale a coordinate.
    #[default]
    Diagonal,
    /// A scale a coordinate and the directions that are much longer or shorter
    /// than these scales say (from draws and gradients); for correlated
    /// coordinates, with 500 tuning draws or more.
    LowRank,
}

/// Settings of the chains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NutsOptions {
    /// Number of chains.
    pub chains: usize,
    /// Tuning draws of each chain, thrown away.
    pub tune: usize,
    /// Kept draws of each chain.
    pub draws: usize,
    /// Wanted mean acceptance probability.
    pub target_accept: f64,
    /// Most doublings of a trajectory.
    pub max_depth: u64,
    /// Times that the chains of a voxel are made twice as long where they do not agree.
    pub doublings: usize,
    /// What tuning learns of the shape.
    pub metric: Metric,
    /// Who is told of the draws as they are made.
    pub monitor: Option<&'static Monitor>,
}

impl Default for NutsOptions {
    fn default() -> Self {
        Self {
            chains: 4,
            tune: 200,
            draws: 1000,
            target_accept: 0.8,
            max_depth: 10,
            doublings: 3,
            metric: Metric::Diagonal,
            monitor: None,
        }
    }
}

/// One kept draw.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Position in the coordinates of the chain.
    pub position: Box<[f64]>,
    /// Log density.
    pub ln_density: f64,
    /// Hamiltonian at the draw.
    pub energy: f64,
    /// Depth of the trajectory tree.
    pub tree_depth: u64,
    /// Whether the trajectory ended because its tree was as deep as allowed.
    pub reached_max_depth: bool,
    /// Mean acceptance probability of the points of the trajectory.
    pub acceptance_rate: f64,
    /// Whether the trajectory diverged.
    pub diverging: bool,
    /// Leapfrog steps.
    pub n_steps: u64,
    /// Step size.
    pub step_size: f64,
}

/// The draws of one chain.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Kept draws.
    pub draws: Vec<Draw>,
    /// Gradients, tuning included.
    pub gradients: u64,
    /// Whether the chain ended early because its density failed.
    pub failed: bool,
}

/// The density could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("the log density is not finite")]
pub(super) struct NotFinite;

impl LogpError for NotFinite {
    fn is_recoverable(&self) -> bool {
        true
    }
}

struct Adapter<'a, D: LnDensity>(&'a mut D);

impl<D: LnDensity> HasDims for Adapter<'_, D> {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_string(), self.0.dim() as u64)])
    }
}

impl<D: LnDensity> CpuLogpFunc for Adapter<'_, D> {
    type LogpError = NotFinite;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, NotFinite> {
        let value = self.0.ln_density(position, gradient);
        if value.is_finite() && gradient.iter().all(|g| g.is_finite()) {
            Ok(value)
        } else {
            Err(NotFinite)
        }
    }

    fn expand_vector<R: nuts_rs::rand::Rng + ?Sized>(
        &mut self,
        _rng: &mut R,
        _array: &[f64],
    ) -> Result<Vec<f64>, CpuMathError> {
        Ok(Vec::new())
    }
}

/// Runs one chain.
///
/// # Shapes
/// `start` `[dim]`.
pub fn run_chain(
    density: &mut impl LnDensity,
    start: &[f64],
    options: &NutsOptions,
    rng: &mut PhiloxRng,
) -> Trace {
    let math = CpuMath::new(Adapter(density));
    macro_rules! chain_of {
        ($settings:ident) => {{
            let mut settings = $settings {
                num_tune: options.tune as u64,
                num_draws: options.draws as u64,
                maxdepth: options.max_depth,
                ..$settings::default()
            };
            settings.adapt_options.step_size_settings.target_accept = options.target_accept;
            settings.adapt_options.step_size_settings.initial_step = 0.5;
            match settings.new_chain(0, math, rng) {
                Ok(chain) => drive(chain, start, options, |stats| Statistics {
                    ln_density: stats.point.logp,
                    energy: stats.point.energy,
                    depth: stats.depth,
                    reached_max_depth: stats.maxdepth_reached,
                    acceptance_rate: stats.adapt.step_size.mean_tree_accept,
                }),
                Err(_) => Trace { failed: true, ..Trace::default() },
            }
        }};
    }
    match options.metric {
        Metric::Diagonal => chain_of!(DiagNutsSettings),
        Metric::LowRank => chain_of!(LowRankNutsSettings),
    }
}

/// What a draw's statistics say beside its progress.
struct Statistics {
    ln_density: f64,
    energy: f64,
    depth: u64,
    reached_max_depth: bool,
    acceptance_rate: f64,
}

/// Tunes and draws.
fn drive<M: Math, C: Chain<M>>(
    mut chain: C,
    start: &[f64],
    options: &NutsOptions,
    read: impl Fn(&<C as SamplerStats<M>>::Stats) -> Statistics,
) -> Trace {
    let mut trace = Trace { draws: Vec::with_capacity(options.draws), ..Trace::default() };
    if chain.set_position(start).is_err() {
        trace.failed = true;
        return trace;
    }
    let mut watch = Watch::new(options.monitor);
    for i in 0..options.tune + options.draws {
        if i < options.tune {
            match chain.draw() {
                Ok((_, progress)) => {
                    trace.gradients += progress.num_gradients;
                    watch.draw(false, progress.num_gradients, false, progress.step_size);
                }
                Err(_) => {
                    trace.failed = true;
                    return trace;
                }
            }
            continue;
        }
        match chain.expanded_draw() {
            Ok((position, _, stats, progress)) => {
                trace.gradients += progress.num_gradients;
                watch.draw(true, progress.num_gradients, progress.diverging, progress.step_size);
                let stats = read(&stats);
                trace.draws.push(Draw {
                    position,
                    ln_density: stats.ln_density,
                    energy: stats.energy,
                    tree_depth: stats.depth,
                    reached_max_depth: stats.reached_max_depth,
                    acceptance_rate: stats.acceptance_rate,
                    diverging: progress.diverging,
                    n_steps: progress.num_steps,
                    step_size: progress.step_size,
                });
            }
            Err(_) => {
                trace.failed = true;
                return trace;
            }
        }
    }
    trace
}
