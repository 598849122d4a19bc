//! Scans over a region: voxels given the population, the population given the voxels.
//!
//! $$z_v\sim p(z_v\,|\,y_v,z_{w\sim v},m,\Sigma)\ \text{for all}\ v,\qquad
//!   (m,\Sigma)\sim p(m,\Sigma\,|\,Z)$$
//!
//! [`Work::map`] moves the voxels of a block, [`Work::statistics`] reduces them to the
//! numbers that the population needs, [`Work::reduce`] adds these in block order and
//! draws the population. Between the two, [`super::whitened`] moves the population
//! together with all its voxels. Chains start at draws from the normal approximations of the
//! independent posteriors and share nothing.
//!
//! Memory: the signals and the positions of one chain of all voxels, a metric each, and
//! at most 64 MiB of draws, which go to a [`DrawStore`] when that is full.
//!
//! Source: Geman & Geman 1984, doi:10.1109/TPAMI.1984.4767596 (coloured scans: section
//! XII). Validated by `tests.rs` in this folder.

use super::draws::DrawStore;
use super::normal_wishart::{Population, Statistics};
use super::region::{Block, Coupled, Region};
use super::step_size::{OVERRELAXED, QUARTER};
use super::transition::{Conditional, Stepper, Walker};
use super::whitened::{Frame, Slopes, WhitenedStep, add_curvature};
use crate::InferenceError;
use crate::dense::forward;
use microtome_kernels::philox::{ITEM_BITS, PhiloxRng};
use microtome_models::{PooledDensity, SearchSpec};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most bytes of draws that wait for their store, in all blocks together.
pub(super) const BUFFERED: usize = 64 << 20;
/// Voxels that a thread takes at once.
const CHUNK: usize = 16;
/// The item of the random numbers of the population: no row of an input.
const POPULATION: u64 = (1 << ITEM_BITS) - 1;
/// The item of the random numbers of its moves with all voxels.
const TOGETHER: u64 = POPULATION - 1;
/// The items of the random numbers of pairs of neighbours begin here.
const PAIRS: u64 = 1 << (ITEM_BITS - 1);
/// Scans of the warm-up between two looks at the curvature of all voxels.
const OBSERVED: u32 = 4;
/// Shares of the warm-up after which metrics are taken anew.
const RETAKEN: [f64; 3] = [0.15, 0.35, 0.6];

/// The draws of the population, `[chain][draw]`.
#[derive(Debug, Clone, Default)]
pub struct PopulationDraws {
    /// One list a chain.
    pub chains: Vec<Vec<Population>>,
    /// Gradients of each block, warm-up included.
    pub gradients: Vec<u64>,
}

/// What the voxels of a chain know of each other.
#[derive(Debug, Clone)]
pub struct State {
    /// The chain.
    pub chain: u8,
    /// The scan, from 1; 0 stands for the starts.
    pub scan: u32,
    /// The population.
    pub population: Population,
    /// Pooled coordinates of all members, `[member, d]`.
    pub positions: Vec<f64>,
    /// Weights of the pairs of neighbours, `[member][axis]`; none without places.
    pub weights: Vec<[f64; 3]>,
}

/// The voxels of a block in one chain.
#[derive(Debug)]
pub struct Rows {
    walkers: Vec<Walker>,
    buffer: Vec<f64>,
}

/// Sampling of one region.
pub struct Work<'a> {
    coupled: &'a Coupled,
    region: &'a Region,
    steppers: Mutex<Vec<Stepper>>,
    stop: &'a AtomicBool,
}

impl<'a> Work<'a> {
    /// The sampling of a region, which ends early when `stop` is set.
    pub fn new(coupled: &'a Coupled, region: &'a Region, stop: &'a AtomicBool) -> Self {
        Self { coupled, region, steppers: Mutex::default(), stop }
    }

    fn search(&self) -> &SearchSpec {
        &self.coupled.spec().search
    }

    fn with_stepper<T>(&self, f: impl FnOnce(&mut Stepper) -> T) -> T {
        let free = self.steppers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stepper = free.unwrap_or_else(|| {
            let density = PooledDensity::new(&self.region.space, &self.coupled.composed.lowered);
            Stepper::new(&self.region.space, density)
        });
        let result = f(&mut stepper);
        self.steppers.lock().unwrap_or_else(PoisonError::into_inner).push(stepper);
        result
    }

    fn check(&self) -> Result<(), InferenceError> {
        if self.stop.load(Ordering::Relaxed) { Err(InferenceError::Interrupted) } else { Ok(()) }
    }

    /// Samples all chains on rayon's current pool; `advance` is told of each scan.
    ///
    /// # Errors
    /// [`InferenceError::Interrupted`]; those of the store; a region whose voxels have
    /// no covariance.
    pub fn run(
        &self,
        store: &dyn DrawStore,
        advance: &(dyn Fn() + Sync),
    ) -> Result<PopulationDraws, InferenceError> {
        let region = self.region;
        let SearchSpec { chains, tune, draws, .. } = *self.search();
        let mut out = PopulationDraws {
            chains: Vec::with_capacity(chains),
            gradients: vec![0; region.blocks.len()],
        };
        let whole = region.members().max(1) * region.record() * 8;
        let held = (BUFFERED / whole).max(1);
        for chain in 0..chains as u8 {
            let (mut state, mut rows) = self.start(chain)?;
            let mut together = WhitenedStep::new(state.population.mean.len());
            self.move_together(&mut together, &mut rows, &mut state, true);
            together.retake(&region.hyperprior);
            let mut kept = Vec::with_capacity(draws);
            for scan in 1..=tune + draws {
                self.check()?;
                state.scan = scan as u32;
                let warm_up = scan <= tune;
                if RETAKEN.iter().any(|r| scan == (r * tune as f64).ceil() as usize) {
                    self.retake(&mut rows);
                    together.retake(&region.hyperprior);
                }
                for colour in 0..region.field.colours() {
                    rows.par_iter_mut()
                        .zip(&region.blocks)
                        .for_each(|(rows, block)| self.map(block, rows, &state, colour, warm_up));
                    self.publish(&rows, &mut state);
                }
                self.move_together(&mut together, &mut rows, &mut state, warm_up);
                let flush = (scan - tune.min(scan)) % held == 0 || scan == tune + draws;
                let statistics = rows
                    .par_iter_mut()
                    .zip(&region.blocks)
                    .enumerate()
                    .map(|(b, (rows, block))| {
                        if !warm_up {
                            rows.keep();
                            if flush {
                                store.append(b, &rows.buffer)?;
                                rows.buffer.clear();
                            }
                        }
                        Ok(self.statistics(block, &state))
                    })
                    .collect::<Result<Vec<_>, InferenceError>>()?;
                state.population = self.reduce(&statistics, &state)?;
                state.weights = self.weights(&state);
                if !warm_up {
                    kept.push(state.population.clone());
                }
                advance();
            }
            for (total, rows) in out.gradients.iter_mut().zip(&rows) {
                *total += rows.walkers.iter().map(|w| w.gradients).sum::<u64>();
            }
            out.chains.push(kept);
        }
        Ok(out)
    }

    /// The starts of a chain.
    pub(super) fn start(&self, chain: u8) -> Result<(State, Vec<Rows>), InferenceError> {
        let region = self.region;
        let (seed, space) = (self.coupled.spec().seed, &region.space);
        let rows = region
            .blocks
            .par_iter()
            .map(|block| {
                let walkers = block
                    .members
                    .par_chunks(CHUNK)
                    .map(|members| {
                        self.with_stepper(|stepper| {
                            members
                                .iter()
                                .map(|m| {
                                    let mut rng = PhiloxRng::new(seed, m.row, chain);
                                    let white: Vec<f64> = (0..space.dim())
                                        .map(|_| StandardNormal.sample(&mut rng))
                                        .collect();
                                    let mut z = white.clone();
                                    m.laplace.coordinates(&white, &mut z);
                                    stepper.walker(space, &m.voxel, &z, &m.laplace.mode)
                                })
                                .collect::<Option<Vec<Walker>>>()
                        })
                    })
                    .collect::<Option<Vec<Vec<Walker>>>>()?;
                let walkers = walkers.into_iter().flatten().collect();
                Some(Rows { walkers, buffer: Vec::new() })
            })
            .collect::<Option<Vec<Rows>>>()
            .ok_or_else(|| {
                self.failed("a density that is finite at the mode of a voxel is not on its own")
            })?;
        let population = Population::at_prior(&region.hyperprior);
        let d = space.coordinates().len();
        let places = region.field.colours() > 1;
        let mut state = State {
            chain,
            scan: 0,
            population,
            positions: vec![0.0; d * region.members()],
            weights: vec![[1.0; 3]; if places { region.members() } else { 0 }],
        };
        self.publish(&rows, &mut state);
        let statistics: Vec<Statistics> =
            region.blocks.par_iter().map(|b| self.statistics(b, &state)).collect();
        state.population = self.reduce(&statistics, &state)?;
        Ok((state, rows))
    }

    fn failed(&self, problem: &str) -> InferenceError {
        InferenceError::Region { prior: self.search().prior.name(), problem: problem.into() }
    }

    /// Moves the voxels of one colour of a block, given the state.
    pub(super) fn map(
        &self,
        block: &Block,
        rows: &mut Rows,
        state: &State,
        colour: u8,
        warm_up: bool,
    ) {
        let region = self.region;
        let seed = self.coupled.spec().seed;
        let population = &state.population;
        rows.walkers
            .par_chunks_mut(CHUNK)
            .zip(block.members.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(chunk, (walkers, members))| {
                self.with_stepper(|stepper| {
                    let mut centre = std::mem::take(&mut stepper.centre);
                    let first = block.first + chunk * CHUNK;
                    for (i, (walker, member)) in walkers.iter_mut().zip(members).enumerate() {
                        if region.field.colour(first + i) != colour {
                            continue;
                        }
                        let weight = region.field.conditional(
                            first + i,
                            &state.positions,
                            &state.weights,
                            &population.mean,
                            &mut centre,
                        );
                        let prior = Conditional {
                            centre: &centre,
                            weight,
                            precision: &population.precision,
                            ln_det: population.ln_det,
                            time: if state.weights.is_empty() { QUARTER } else { OVERRELAXED },
                        };
                        let mut rng = PhiloxRng::at_step(seed, state.scan, member.row, state.chain);
                        stepper.step(
                            &region.space,
                            &member.voxel,
                            prior,
                            walker,
                            warm_up,
                            &mut rng,
                        );
                    }
                    stepper.centre = centre;
                });
            });
    }

    /// Moves the population with all its voxels.
    pub(super) fn move_together(
        &self,
        together: &mut WhitenedStep,
        rows: &mut [Rows],
        state: &mut State,
        warm_up: bool,
    ) {
        let region = self.region;
        let coordinates = region.space.coordinates();
        let d = coordinates.len();
        let (seed, population) = (self.coupled.spec().seed, state.population.clone());
        let Some(here) = Frame::of(&population) else { return };
        let (factor, scales) = (here.factor(), here.scales());
        // z - m and u of a voxel.
        let whiten = |z: &[f64]| {
            let arm: Vec<f64> =
                coordinates.iter().zip(&population.mean).map(|(c, m)| z[c.at] - m).collect();
            let mut u = arm.clone();
            forward(&factor, d, &mut u);
            (arm, u)
        };
        let pooled = |g: &[f64]| coordinates.iter().map(|c| g[c.at]).collect::<Vec<f64>>();
        let of_blocks: Vec<Slopes> = rows
            .par_iter()
            .map(|rows| {
                let mut of_block = Slopes::new(d);
                for w in &rows.walkers {
                    let (arm, u) = whiten(&w.z);
                    of_block.add(w.ln_base, &pooled(&w.gradient), &arm, &u, &scales);
                }
                of_block
            })
            .collect();
        let mut start = Slopes::new(d);
        of_blocks.iter().for_each(|s| start.merge(s));
        if warm_up && state.scan % OBSERVED == 0 {
            let dim = region.space.dim();
            let sum = together.observe();
            let mut h = vec![0.0; d * d];
            for w in rows.iter().flat_map(|r| &r.walkers) {
                let (arm, u) = whiten(&w.z);
                for (i, a) in coordinates.iter().enumerate() {
                    for (j, b) in coordinates.iter().enumerate() {
                        h[i * d + j] = w.curvature[a.at * dim + b.at];
                    }
                }
                add_curvature(&h, &arm, &u, &scales, sum);
            }
            if state.scan == 0 {
                return;
            }
        }
        let mut at = |frame: &Frame| {
            let (l, scales) = (frame.factor(), frame.scales());
            let of_blocks: Vec<Slopes> = rows
                .par_iter_mut()
                .zip(&region.blocks)
                .map(|(rows, block)| {
                    let moved: Vec<Slopes> = rows
                        .walkers
                        .par_chunks_mut(CHUNK)
                        .zip(block.members.par_chunks(CHUNK))
                        .map(|(walkers, members)| {
                            self.with_stepper(|stepper| {
                                let mut sum = Slopes::new(d);
                                for (w, m) in walkers.iter_mut().zip(members) {
                                    let (mut arm, u) = whiten(&w.z);
                                    w.trial.z.copy_from_slice(&w.z);
                                    for (k, c) in coordinates.iter().enumerate() {
                                        let row = &l[k * d..=k * d + k];
                                        arm[k] = row.iter().zip(&u).map(|(l, u)| l * u).sum();
                                        w.trial.z[c.at] = frame.phi[k] + arm[k];
                                    }
                                    stepper.try_out(&region.space, &m.voxel, w);
                                    let g = pooled(&w.trial.gradient);
                                    sum.add(w.trial.ln_base, &g, &arm, &u, &scales);
                                }
                                sum
                            })
                        })
                        .collect();
                    let mut of_block = Slopes::new(d);
                    moved.iter().for_each(|s| of_block.merge(s));
                    of_block
                })
                .collect();
            let mut all = Slopes::new(d);
            of_blocks.iter().for_each(|s| all.merge(s));
            all
        };
        let mut rng = PhiloxRng::at_step(seed, state.scan, TOGETHER, state.chain);
        let prior = &region.hyperprior;
        let accepted = together.step(prior, &population, start, &mut at, warm_up, &mut rng);
        if let Some(population) = accepted {
            rows.iter_mut().flat_map(|r| &mut r.walkers).for_each(Walker::accept);
            state.population = population;
            self.publish(rows, state);
        }
    }

    /// Takes the metrics anew where the voxels have been lately.
    fn retake(&self, rows: &mut [Rows]) {
        rows.par_iter_mut().zip(&self.region.blocks).for_each(|(rows, block)| {
            rows.walkers.par_chunks_mut(CHUNK).zip(block.members.par_chunks(CHUNK)).for_each(
                |(walkers, members)| {
                    self.with_stepper(|stepper| {
                        for (w, m) in walkers.iter_mut().zip(members) {
                            stepper.retake(&self.region.space, &m.voxel, w);
                        }
                    });
                },
            );
        });
    }

    /// Tells all voxels where all are.
    pub(super) fn publish(&self, rows: &[Rows], state: &mut State) {
        let coordinates = self.region.space.coordinates();
        let walkers = rows.iter().flat_map(|r| &r.walkers);
        for (p, w) in state.positions.chunks_exact_mut(coordinates.len()).zip(walkers) {
            for (p, c) in p.iter_mut().zip(coordinates) {
                *p = w.z[c.at];
            }
        }
    }

    /// What the population needs to know of a block; a pair of neighbours counts in the
    /// block of its first voxel.
    pub(super) fn statistics(&self, block: &Block, state: &State) -> Statistics {
        let d = state.population.mean.len();
        let mut out = Statistics::new(d);
        let mut difference = vec![0.0; d];
        let at = |v: usize| &state.positions[v * d..(v + 1) * d];
        for v in block.first..block.first + block.members.len() {
            for ((o, z), m) in difference.iter_mut().zip(at(v)).zip(&state.population.mean) {
                *o = z - m;
            }
            out.add(&difference);
            for (axis, w) in self.region.field.pairs(v) {
                let root = state.weights[v][axis].sqrt();
                for ((o, a), b) in difference.iter_mut().zip(at(v)).zip(at(w)) {
                    *o = root * (a - b);
                }
                out.add_difference(&difference);
            }
        }
        out
    }

    /// Draws the weights of all pairs of neighbours.
    pub(super) fn weights(&self, state: &State) -> Vec<[f64; 3]> {
        let region = self.region;
        if state.weights.is_empty() {
            return Vec::new();
        }
        let seed = self.coupled.spec().seed;
        let members: Vec<u64> =
            region.blocks.iter().flat_map(|b| &b.members).map(|m| m.row).collect();
        members
            .par_iter()
            .enumerate()
            .with_min_len(64)
            .map(|(v, row)| {
                let mut rng = PhiloxRng::at_step(seed, state.scan, PAIRS + row, state.chain);
                let precision = &state.population.precision;
                region.field.draw_weights(v, &state.positions, precision, &mut rng)
            })
            .collect()
    }

    /// Adds statistics in block order and draws the population.
    pub(super) fn reduce(
        &self,
        statistics: &[Statistics],
        state: &State,
    ) -> Result<Population, InferenceError> {
        let mut all = Statistics::new(state.population.mean.len());
        for s in statistics {
            all.merge(s);
        }
        let seed = self.coupled.spec().seed;
        let mut rng = PhiloxRng::at_step(seed, state.scan, POPULATION, state.chain);
        let proper = self.region.field.proper();
        state.population.next(&self.region.hyperprior, &all, proper, &mut rng).ok_or_else(|| {
            self.failed(
                "the coordinates of the voxels have no positive definite covariance; fix the parameter that does not vary, or take --prior independent",
            )
        })
    }
}

#[cfg(test)]
impl Work<'_> {
    /// Evaluates the densities anew after the data have changed.
    pub(super) fn refresh(&self, rows: &mut [Rows]) {
        for (rows, block) in rows.iter_mut().zip(&self.region.blocks) {
            self.with_stepper(|stepper| {
                for (w, m) in rows.walkers.iter_mut().zip(&block.members) {
                    w.trial.z.copy_from_slice(&w.z);
                    stepper.try_out(&self.region.space, &m.voxel, w);
                    w.accept();
                }
            });
        }
    }
}

impl Rows {
    #[cfg(test)]
    pub(super) fn walkers_mut(&mut self) -> &mut [Walker] {
        &mut self.walkers
    }

    /// Keeps where the voxels are.
    fn keep(&mut self) {
        for w in &self.walkers {
            self.buffer.extend_from_slice(&w.z);
            self.buffer.extend_from_slice(&[
                w.last.ln_density,
                w.last.energy,
                f64::from(w.last.n_steps),
                w.last.step_size,
                f64::from(u8::from(w.last.diverging)),
                w.last.acceptance,
            ]);
        }
    }
}
