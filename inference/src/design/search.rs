//! The search for a protocol: descents of the criterion from many starts, then whole
//! numbers of measurements.
//!
//! 1. Starts: the shells with the strongest gradient at evenly spread times, and points at
//!    random (Philox, by seed and start). Each is descended by L-BFGS along the gradient of
//!    [`Criterion`] through [`super::protocol`]. The criterion sees every shell as a fixed
//!    set of directions with a weight, so that the number of measurements is smooth.
//! 2. The numbers of the best protocol are rounded by largest remainders, then measurements
//!    move from one shell to another (8, 4, 2, 1 at a time, b = 0 among them) while the
//!    criterion falls. This is a local search: no proof of the best whole numbers.
//! 3. TE is shortened to what the longest shell needs.
//! 4. Directions of every shell repel each other ([`repelled_axes`]).
//!
//! Results are equal to the bit for any number of threads: starts do not see each other.
//!
//! Source: Alexander 2008, doi:10.1002/mrm.21646 (criterion and choice; its search is a
//! stochastic one without gradients). Validated by `tests/suite/design.rs`.

use super::descent::descend;
use super::limits::{DesignError, Limits};
use super::protocol::{Coordinates, Protocol};
use super::repulsion::repelled_axes;
use microtome_kernels::philox::PhiloxRng;
use microtome_models::information::{Criterion, Encoding, InformationError};
use microtome_models::{Acquisition, PulseTiming};
use rand::RngExt;
use rayon::prelude::*;
use std::f64::consts::{FRAC_PI_2, PI};

/// The stream of random numbers of the starts.
const STREAM: u8 = 95;

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct DesignSearch {
    /// What is allowed.
    pub limits: Limits,
    /// Descents.
    pub starts: usize,
    /// Seed of the starts and the directions.
    pub seed: u64,
    /// Steps of a descent.
    pub iterations: u64,
    /// Directions that stand for a shell while its number is not known.
    pub directions: usize,
}

impl DesignSearch {
    /// Sixteen descents of 150 steps, 30 directions.
    pub fn new(limits: Limits) -> Self {
        Self { limits, starts: 16, seed: 0, iterations: 150, directions: 30 }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// Shells with whole numbers of measurements.
    pub protocol: Protocol,
    /// The acquisition: b = 0 first, then shell by shell.
    pub acquisition: Acquisition,
    /// The criterion of the acquisition.
    pub criterion: f64,
    /// The criterion of the first start.
    pub start: f64,
    /// The criterion where each descent ended, before rounding.
    pub ends: Vec<f64>,
}

/// Start `k`.
fn start(limits: &Limits, dim: usize, seed: u64, k: usize) -> Vec<f64> {
    if k == 0 {
        let mut z = vec![0.0; dim];
        for s in 0..limits.shells {
            let part = (s as f64 + 0.5) / limits.shells as f64;
            z[1 + 4 * s] = 1.0;
            z[2 + 4 * s] = -FRAC_PI_2 + PI * part;
            z[3 + 4 * s] = 1.0;
            z[4 + 4 * s] = 1.0;
        }
        return z;
    }
    let mut rng = PhiloxRng::new(seed, k as u64, STREAM);
    (0..dim)
        .map(|i| {
            let u: f64 = rng.random();
            let count = i > 0 && (i - 1) % 4 == 3;
            // Counts within a factor of e², what is bounded over its range.
            if count { 1.0 + 2.0 * (u - 0.5) } else { PI * (u - 0.5) }
        })
        .collect()
}

/// Whole numbers: b = 0 first, then the shells.
fn rounded(protocol: &Protocol, limits: &Limits) -> Vec<usize> {
    let mut numbers = vec![protocol.b0];
    numbers.extend(protocol.shells.iter().map(|s| s.measurements));
    let mut out: Vec<usize> = numbers.iter().map(|n| (n + 1e-9).floor() as usize).collect();
    let mut order: Vec<usize> = (0..out.len()).collect();
    order.sort_by(|&i, &j| {
        let left = |k: usize| numbers[k] - out[k] as f64;
        left(j).total_cmp(&left(i)).then(i.cmp(&j))
    });
    let given = usize::from(limits.b0.is_some());
    let missing = limits.measurements.saturating_sub(out.iter().sum());
    for k in order.into_iter().filter(|k| *k >= given).cycle().take(missing) {
        out[k] += 1;
    }
    out
}

fn with_numbers(protocol: &Protocol, numbers: &[usize]) -> Protocol {
    let mut out = protocol.clone();
    out.b0 = numbers[0] as f64;
    for (shell, n) in out.shells.iter_mut().zip(&numbers[1..]) {
        shell.measurements = *n as f64;
    }
    out
}

/// Moves measurements between shells while the criterion falls.
fn exchanged(
    criterion: &Criterion,
    coordinates: &Coordinates<'_>,
    protocol: &Protocol,
    limits: &Limits,
) -> Result<Protocol, InformationError> {
    let value = |numbers: &[usize]| {
        criterion.value(&coordinates.encoding(&with_numbers(protocol, numbers)))
    };
    let mut numbers = rounded(protocol, limits);
    let mut best = value(&numbers)?;
    let first = usize::from(limits.b0.is_some());
    let fewest = |k: usize| if k == 0 { 1 } else { limits.min_directions };
    for step in [8, 4, 2, 1] {
        for _ in 0..4 * numbers.len() {
            let mut better = None;
            for from in first..numbers.len() {
                if numbers[from] < fewest(from) + step {
                    continue;
                }
                for to in (first..numbers.len()).filter(|to| *to != from) {
                    let mut tried = numbers.clone();
                    tried[from] -= step;
                    tried[to] += step;
                    let v = value(&tried)?;
                    if v < best {
                        best = v;
                        better = Some(tried);
                    }
                }
            }
            match better {
                Some(tried) => numbers = tried,
                None => break,
            }
        }
    }
    Ok(with_numbers(protocol, &numbers))
}

/// The measurements of a protocol with whole numbers.
fn acquisition(protocol: &Protocol, seed: u64) -> Result<Acquisition, InformationError> {
    let first = protocol.shells.first().map_or([1.0, 1.0], |s| [s.delta_ms, s.big_delta_ms]);
    let zeros = protocol.b0.round() as usize;
    let mut out = Encoding { b: vec![0.0; zeros], ..Encoding::default() };
    out.directions = vec![[0.0; 3]; zeros];
    let mut timing =
        PulseTiming { delta_ms: vec![first[0]; zeros], big_delta_ms: vec![first[1]; zeros] };
    for (s, shell) in protocol.shells.iter().enumerate() {
        for g in repelled_axes(shell.measurements.round() as usize, seed, s as u64) {
            out.b.push(shell.b());
            out.directions.push(g);
            timing.delta_ms.push(shell.delta_ms);
            timing.big_delta_ms.push(shell.big_delta_ms);
        }
    }
    out.te_ms = Some(vec![protocol.te_ms; out.b.len()]);
    out.timing = Some(timing);
    Ok(out.acquisition()?)
}

/// Searches a protocol.
///
/// # Errors
/// Limits that leave nothing; a model with T2 of its own; a criterion that is not finite
/// anywhere.
pub fn optimise(criterion: &Criterion, search: &DesignSearch) -> Result<Design, DesignError> {
    let limits = &search.limits;
    limits.check()?;
    let model = criterion.experiment().model();
    if let Some(c) = model.components().iter().find(|c| c.kind.needs_echo_time()) {
        return Err(DesignError::EchoTimes { compartment: c.name.clone() });
    }
    let coordinates = Coordinates::new(limits, search.directions);
    let dim = coordinates.dim();
    let evaluate = |z: &[f64]| {
        let encoding = coordinates.encoding(&coordinates.protocol(z));
        criterion
            .value_and_gradient(&encoding, false)
            .map(|(value, by)| (value, coordinates.pullback(z, &by)))
    };
    let first = start(limits, dim, search.seed, 0);
    // What is wrong with the model is wrong at every point.
    let begin = evaluate(&first)?.0;
    let found: Vec<(Vec<f64>, f64)> = (0..search.starts.max(1))
        .into_par_iter()
        .map(|k| {
            let cost =
                |z: &[f64]| evaluate(z).unwrap_or_else(|_| (f64::INFINITY, vec![0.0; z.len()]));
            descend(cost, start(limits, dim, search.seed, k), search.iterations)
        })
        .collect();
    let (z, value) =
        found.iter().min_by(|p, q| p.1.total_cmp(&q.1)).ok_or(DesignError::Singular)?;
    if !value.is_finite() {
        return Err(DesignError::Singular);
    }
    let mut protocol = exchanged(criterion, &coordinates, &coordinates.protocol(z), limits)?;
    protocol.shells.sort_by(|p, q| p.b().total_cmp(&q.b()));
    let longest = protocol.shells.iter().map(|s| s.delta_ms + s.big_delta_ms).fold(0.0, f64::max);
    protocol.te_ms = longest + limits.overhead_ms;
    let acquisition = acquisition(&protocol, search.seed)?;
    let information = criterion.experiment().information(&acquisition, None)?;
    Ok(Design {
        criterion: criterion.of_information(&information),
        acquisition,
        protocol,
        start: begin,
        ends: found.iter().map(|f| f.1).collect(),
    })
}
