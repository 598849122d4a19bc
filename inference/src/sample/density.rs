//! Chains of any density: starts, threads, failures, summaries.
//!
//! Each chain is a function of (density, seed, number of the chain): its start and its
//! moves come from streams of its own, so threads do not change a bit. A start is
//! drawn anew, at most a hundred times, until density and gradient are finite there.
//! A density that later fails somewhere (NaN, infinite, an error, a panic) makes
//! divergences; how many evaluations failed, and the first reason and position, stand
//! in [`Failures`].
//!
//! Source: starts uniform in (-2, 2) of unconstrained coordinates, Carpenter et al.
//! 2017, doi:10.18637/jss.v076.i01, section 2.3. Validated by `tests/suite/graph_density.rs`.

use super::nuts::{LnDensity, NutsOptions, Trace, run_chain};
use crate::diagnostics::{Chains, Summary, Workspace, ebfmi, summarize};
use microtome_kernels::philox::PhiloxRng;
use rand::RngExt;
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most starts that a chain tries.
const TRIES: usize = 100;
/// Most coordinates whose R-hat is computed for the warnings.
const JUDGED: usize = 1000;
/// Streams of random numbers of a chain.
const MOVES: u8 = 0;
const STARTS: u8 = 1;

/// Where chains start, in the coordinates of the density.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// Each coordinate uniform in (-radius, radius).
    Uniform {
        /// Half width.
        radius: f64,
    },
    /// Each coordinate uniform within `radius` of a point.
    Around {
        /// The point, `[dim]`.
        centre: Vec<f64>,
        /// Half width; 0 starts every chain at the point.
        radius: f64,
    },
    /// A point a chain.
    Each(Vec<Vec<f64>>),
}

impl Default for Start {
    /// Stan's: uniform in (-2, 2).
    fn default() -> Self {
        Self::Uniform { radius: 2.0 }
    }
}

/// The evaluations of a chain that were not finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failures {
    /// How many, the search for a start included.
    pub count: u64,
    /// The first one after the start was found (or before, if none was).
    pub first: Option<Failure>,
}

/// One evaluation that was not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Why.
    pub reason: String,
    /// Where, in the coordinates of the density.
    pub position: Vec<f64>,
}

/// One chain.
#[derive(Debug, Clone)]
pub struct DensityChain {
    /// Draws and their statistics.
    pub trace: Trace,
    /// Where it started.
    pub start: Vec<f64>,
    /// Starts that were tried before this one.
    pub rejected_starts: usize,
    /// What the density could not evaluate.
    pub failures: Failures,
}

/// The chains of a density.
#[derive(Debug, Clone)]
pub struct DensityPosterior {
    /// One a chain, in order.
    pub chains: Vec<DensityChain>,
    /// Number of coordinates.
    pub dim: usize,
    max_depth: u64,
}

/// Why a density can't be sampled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleDensityError {
    /// The factory failed.
    #[error("chain {chain}: the density can't be made: {reason}")]
    Make {
        /// Number of the chain.
        chain: usize,
        /// What the factory said.
        reason: String,
    },
    /// No start with a finite density.
    #[error(
        "chain {chain}: no start in {tries} tries where the log density and its gradient are finite; the last: {reason}, at {position}; check the density there, or give starts inside its support"
    )]
    Start {
        /// Number of the chain.
        chain: usize,
        /// How many were tried.
        tries: usize,
        /// Why the last was refused.
        reason: String,
        /// The last one.
        position: String,
    },
    /// Starts that do not fit.
    #[error("starts: {got} {what}, but {expected} are needed")]
    Starts {
        /// Of what.
        what: &'static str,
        /// Given.
        got: usize,
        /// Needed.
        expected: usize,
    },
    /// Options without sense.
    #[error("sampler options: {0}")]
    Options(&'static str),
}

/// Counts what a density can't evaluate, and catches its panics.
struct Watched<D> {
    density: D,
    failures: Failures,
}

impl<D: LnDensity> LnDensity for Watched<D> {
    fn dim(&self) -> usize {
        self.density.dim()
    }

    fn ln_density(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.density.ln_density(x, gradient)));
        let reason = match &evaluated {
            Ok(v) if v.is_finite() && gradient.iter().all(|g| g.is_finite()) => return *v,
            Ok(v) => match self.density.reason() {
                Some(reason) => reason.to_string(),
                None if v.is_finite() => "the gradient is not finite".to_string(),
                None => format!("the log density is {v}"),
            },
            Err(payload) => panic_text(payload.as_ref()),
        };
        self.failures.count += 1;
        if self.failures.first.is_none() {
            self.failures.first = Some(Failure { reason, position: x.to_vec() });
        }
        f64::NAN
    }
}

/// What a caught panic said.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the log density panicked: {}", text.unwrap_or("no message"))
}

/// Samples a density with NUTS: `make(chain)` gives each chain a density of its own, on
/// the thread that runs it.
///
/// # Errors
/// Options without sense, starts that do not fit, a density that can't be made, no
/// start with a finite density. What fails later is in the result:
/// [`DensityPosterior::warnings`].
///
/// # Example
/// See [`crate::graph_density`].
pub fn sample_density<D, E, F>(
    make: F,
    start: &Start,
    options: &NutsOptions,
    seed: u64,
) -> Result<DensityPosterior, SampleDensityError>
where
    D: LnDensity,
    E: std::fmt::Display,
    F: Fn(usize) -> Result<D, E> + Sync,
{
    let wrong = if options.chains == 0 {
        Some("0 chains; take at least one (four for R-hat)")
    } else if options.draws == 0 {
        Some("0 draws; take at least one")
    } else if !(options.target_accept > 0.0 && options.target_accept < 1.0) {
        Some("target_accept must be between 0 and 1")
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(SampleDensityError::Options(wrong));
    }
    if let Start::Each(points) = start
        && points.len() != options.chains
    {
        let (got, expected) = (points.len(), options.chains);
        return Err(SampleDensityError::Starts { what: "points", got, expected });
    }
    let chains = (0..options.chains)
        .into_par_iter()
        .map(|chain| one_chain(&make, chain, start, options, seed))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let dim = chains.first().map_or(0, |c| c.start.len());
    Ok(DensityPosterior { chains, dim, max_depth: options.max_depth })
}

fn one_chain<D, E, F>(
    make: &F,
    chain: usize,
    start: &Start,
    options: &NutsOptions,
    seed: u64,
) -> Result<DensityChain, SampleDensityError>
where
    D: LnDensity,
    E: std::fmt::Display,
    F: Fn(usize) -> Result<D, E>,
{
    let made = catch_unwind(AssertUnwindSafe(|| make(chain).map_err(|e| e.to_string())));
    let density = match made {
        Ok(Ok(density)) => density,
        Ok(Err(reason)) => return Err(SampleDensityError::Make { chain, reason }),
        Err(payload) => {
            let reason = panic_text(payload.as_ref());
            return Err(SampleDensityError::Make { chain, reason });
        }
    };
    let mut density = Watched { density, failures: Failures::default() };
    let dim = density.dim();
    if dim == 0 {
        return Err(SampleDensityError::Options("a density of 0 coordinates"));
    }
    let (start, rejected_starts) = find_start(&mut density, chain, start, seed)?;
    density.failures.first = None;
    let mut rng = PhiloxRng::new(seed, chain as u64, MOVES);
    let trace = run_chain(&mut density, &start, options, &mut rng);
    Ok(DensityChain { trace, start, rejected_starts, failures: density.failures })
}

fn find_start<D: LnDensity>(
    density: &mut Watched<D>,
    chain: usize,
    start: &Start,
    seed: u64,
) -> Result<(Vec<f64>, usize), SampleDensityError> {
    let dim = density.dim();
    let (centre, radius) = match start {
        Start::Uniform { radius } => (vec![0.0; dim], *radius),
        Start::Around { centre, radius } => (centre.clone(), *radius),
        Start::Each(points) => (points[chain].clone(), 0.0),
    };
    if centre.len() != dim {
        let (got, expected) = (centre.len(), dim);
        return Err(SampleDensityError::Starts { what: "coordinates", got, expected });
    }
    if !(radius >= 0.0 && radius.is_finite()) {
        return Err(SampleDensityError::Options("the radius of starts must be 0 or above"));
    }
    let mut rng = PhiloxRng::new(seed, chain as u64, STARTS);
    let mut gradient = vec![0.0; dim];
    let tries = if radius > 0.0 { TRIES } else { 1 };
    let mut x = centre.clone();
    for rejected in 0..tries {
        for (x, c) in x.iter_mut().zip(&centre) {
            *x = c + radius * (2.0 * rng.random::<f64>() - 1.0);
        }
        density.failures.first = None;
        if density.ln_density(&x, &mut gradient).is_finite() {
            return Ok((x, rejected));
        }
    }
    let reason = density.failures.first.take().map_or_else(String::new, |f| f.reason);
    Err(SampleDensityError::Start { chain, tries, reason, position: few(&x) })
}

/// The first numbers of a position.
fn few(x: &[f64]) -> String {
    let shown: Vec<String> = x.iter().take(6).map(|v| format!("{v:.4}")).collect();
    let more = if x.len() > 6 { format!(", ... ({} coordinates)", x.len()) } else { String::new() };
    format!("({}{more})", shown.join(", "))
}

impl DensityPosterior {
    /// Draws of one chain.
    pub fn draws(&self) -> usize {
        self.chains.iter().map(|c| c.trace.draws.len()).min().unwrap_or(0)
    }

    /// A number a draw, `[chain, draw]`; chains that ended early cut all to their length.
    pub fn map(&self, mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
        let n = self.draws();
        let mut out = Vec::with_capacity(n * self.chains.len());
        for chain in &self.chains {
            out.extend(chain.trace.draws[..n].iter().map(|d| f(&d.position)));
        }
        out
    }

    /// Draws of coordinate `k`, `[chain, draw]`.
    pub fn coordinate(&self, k: usize) -> Vec<f64> {
        self.map(|x| x.get(k).copied().unwrap_or(f64::NAN))
    }

    /// Location, spread and convergence of a function of the coordinates.
    pub fn summary_of(&self, f: impl FnMut(&[f64]) -> f64) -> Summary {
        let values = self.map(f);
        match Chains::new(&values, self.chains.len(), self.draws()) {
            Ok(chains) => summarize(chains, &mut Workspace::new()),
            Err(_) => Summary::MISSING,
        }
    }

    /// Location, spread and convergence of coordinate `k`.
    pub fn summary(&self, k: usize) -> Summary {
        self.summary_of(|x| x.get(k).copied().unwrap_or(f64::NAN))
    }

    /// Kept draws whose trajectory diverged.
    pub fn divergences(&self) -> usize {
        self.chains.iter().flat_map(|c| &c.trace.draws).filter(|d| d.diverging).count()
    }

    /// Gradients of all chains, tuning included.
    pub fn gradients(&self) -> u64 {
        self.chains.iter().map(|c| c.trace.gradients).sum()
    }

    /// What a user must know before the draws are believed, one sentence each; none when
    /// all is well. R-hat (above 1.01) is judged a coordinate, of more than 1000 coordinates
    /// on a regular stride.
    pub fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (k, chain) in self.chains.iter().enumerate() {
            if chain.trace.failed {
                out.push(format!(
                    "chain {k} ended after {} draws: its density failed",
                    chain.trace.draws.len()
                ));
            }
            if let Some(first) = &chain.failures.first {
                out.push(format!(
                    "chain {k}: {} evaluations of the density failed, the first at {}: {}",
                    chain.failures.count - chain.rejected_starts as u64,
                    few(&first.position),
                    first.reason
                ));
            }
        }
        let all: usize = self.chains.iter().map(|c| c.trace.draws.len()).sum();
        let divergent = self.divergences();
        if divergent > 0 {
            out.push(format!(
                "{divergent} of {all} draws diverged: the density is steeper in places than the step allows, or fails there; raise target_accept or change coordinates"
            ));
        }
        let deep = self
            .chains
            .iter()
            .flat_map(|c| &c.trace.draws)
            .filter(|d| d.tree_depth >= self.max_depth)
            .count();
        if deep > 0 {
            out.push(format!(
                "{deep} of {all} trajectories were cut at depth {}: scales differ much; tune longer or take the low-rank metric",
                self.max_depth
            ));
        }
        let n = self.draws();
        if n < 4 {
            return out;
        }
        let mut workspace = Workspace::new();
        if self.chains.len() > 1 {
            let mut worst = (0, 0.0);
            let (mut above, mut seen) = (0, 0);
            for k in (0..self.dim).step_by(self.dim.div_ceil(JUDGED).max(1)) {
                seen += 1;
                let values = self.coordinate(k);
                let rhat = Chains::new(&values, self.chains.len(), n)
                    .map_or(f64::NAN, |c| crate::diagnostics::rhat(c, &mut workspace));
                if rhat > 1.01 {
                    above += 1;
                }
                if rhat > worst.1 {
                    worst = (k, rhat);
                }
            }
            if above > 0 {
                out.push(format!(
                    "R-hat is above 1.01 in {above} of {seen} coordinates (worst {:.3}, coordinate {}): the chains do not agree; draw longer",
                    worst.1, worst.0
                ));
            }
        }
        let mut least = f64::INFINITY;
        for chain in &self.chains {
            let energies: Vec<f64> = chain.trace.draws.iter().map(|d| d.energy).collect();
            least = least.min(ebfmi(&energies));
        }
        if least < 0.3 {
            out.push(format!(
                "E-BFMI is {least:.2} (below 0.3): heavy tails; change coordinates or draw longer"
            ));
        }
        out
    }
}
