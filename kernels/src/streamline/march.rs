//! Steps along a field, both halves of a streamline, and many streamlines.
//!
//! $$x' = x + h\sum_i b_i k_i,\qquad k_1 = d,\quad k_{i+1} = D(x + h\,a_i k_i,\ k_i),\qquad d' = D(x', k_\mathrm{last})$$
//!
//! | method | a | b | order |
//! |---|---|---|---|
//! | Euler | | 1 | 1 |
//! | midpoint | 1/2 | 0, 1 | 2 |
//! | Runge-Kutta | 1/2, 1/2, 1 | 1/6, 1/3, 1/3, 1/6 | 4 |
//!
//! D is the rule. The direction at the new point must exist: a point where it does not is not
//! part of the streamline. Where the field is continuous but not smooth (trilinear) the
//! order is at most 2.
//!
//! Source: Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I,
//! section II.1, tables 1.1 and 1.2. Validated by `integrators_have_their_order` in
//! `kernels/tests/suite/streamlines.rs`.

use super::region::Regions;
use super::{Chance, Heading, Rule, Scratch, State, Stop, Vec3};
use crate::lanes::{Task, at_level};
use crate::simd::SimdLevel;
use crate::vector::{along, dot};
use rayon::prelude::*;

/// The method of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrator {
    /// First order.
    Euler,
    /// Second order.
    Midpoint,
    /// Fourth order (the classical method).
    RungeKutta,
}

impl Integrator {
    /// The a and b of the table.
    pub(crate) const fn table(self) -> (&'static [f64], &'static [f64]) {
        match self {
            Integrator::Euler => (&[], &[1.0]),
            Integrator::Midpoint => (&[0.5], &[0.0, 1.0]),
            Integrator::RungeKutta => {
                (&[0.5, 0.5, 1.0], &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0])
            }
        }
    }
}

/// What bounds streamlines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Step, mm.
    pub step: f64,
    /// The method.
    pub integrator: Integrator,
    /// Cosine of the largest angle between directions one step apart.
    pub cos_angle: f64,
    /// Largest number of steps of both halves.
    pub steps: u32,
    /// Smallest number of steps; shorter streamlines are dropped.
    pub fewest: u32,
    /// Whether a second half goes the other way.
    pub both: bool,
}

/// The directions in which streamlines begin at a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// One streamline in every direction of [`Rule::starts`], at most this many.
    All(u32),
    /// One streamline, in the first direction.
    Largest,
    /// One streamline, in a direction drawn by amplitude.
    Drawn,
}

/// Where a streamline begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seed {
    /// Position, mm.
    pub x: Vec3,
    /// Number among all seeds, below 2^28.
    pub number: u64,
    /// Direction; by the rule when there is none.
    pub direction: Option<Vec3>,
}

/// A streamline.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Points, mm.
    pub points: Vec<Vec3>,
    /// Amplitude of the field at every point.
    pub amplitudes: Vec<f32>,
    /// Which point is the seed.
    pub seed: usize,
    /// The number of its [`Seed`].
    pub number: u64,
    /// Why the first and the last end are there.
    pub stops: [Stop; 2],
}

/// The streamlines of some seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tracks {
    /// In the order of seeds and their directions.
    pub lines: Vec<Line>,
    /// Streamlines that began.
    pub tried: u64,
    /// Points that were added, those of dropped streamlines included.
    pub steps: u64,
    /// Dropped because they were too short.
    pub short: u64,
    /// Dropped by masks.
    pub rejected: u64,
}

/// Directions of one seed: the counter of a streamline is sixteen times that of its seed.
const DIRECTIONS: u64 = 16;
/// Seeds of a unit of work.
const BATCH: usize = 32;

/// One step of a rule that gives directions.
#[inline(always)]
pub(crate) fn advance<R: Rule + ?Sized, const FMA: bool>(
    rule: &R,
    state: &mut State,
    limits: &Limits,
    chance: &mut Chance,
    scratch: &mut Scratch,
) -> Result<(), Stop> {
    let h = limits.step;
    let (nodes, weights) = limits.integrator.table();
    let mut k = state.direction;
    let mut x = along(state.x, h * weights[0], k);
    for (a, b) in nodes.iter().zip(&weights[1..]) {
        k = rule.heading::<FMA>(along(state.x, h * a, k), k, chance, scratch)?.direction;
        x = along(x, h * b, k);
    }
    let next = rule.heading::<FMA>(x, k, chance, scratch)?;
    if dot(next.direction, state.direction) < limits.cos_angle {
        return Err(Stop::Angle);
    }
    *state = State { x, direction: next.direction, amplitude: next.amplitude };
    Ok(())
}

/// The states of a streamline of at most `steps` steps, without limits but those of the
/// rule; the first is the start.
pub fn path<R: Rule>(
    level: SimdLevel,
    rule: &R,
    limits: &Limits,
    x: Vec3,
    direction: Vec3,
    steps: u32,
) -> Vec<State> {
    struct Path<'a, R: ?Sized>(&'a R, &'a Limits, Vec3, Vec3, u32);
    impl<R: Rule> Task for Path<'_, R> {
        type Output = Vec<State>;
        #[inline(always)]
        fn run<const FMA: bool>(self) -> Vec<State> {
            let Path(rule, limits, x, direction, steps) = self;
            let mut chance = Chance::new(0, 0, 0, false);
            let mut scratch = Scratch::default();
            let mut out = Vec::new();
            let Ok(first) = rule.heading::<FMA>(x, direction, &mut chance, &mut scratch) else {
                return out;
            };
            let mut state = State { x, direction: first.direction, amplitude: first.amplitude };
            out.push(state);
            for _ in 0..steps {
                if rule.advance::<FMA>(&mut state, limits, &mut chance, &mut scratch).is_err() {
                    break;
                }
                out.push(state);
            }
            out
        }
    }
    at_level(level, Path(rule, limits, x, direction, steps))
}

struct Half {
    stop: Stop,
    visited: u32,
}

/// Walks on from a state; points and amplitudes are added behind it.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn half<R: Rule, const FMA: bool>(
    rule: &R,
    limits: &Limits,
    regions: &Regions,
    mut state: State,
    most: u32,
    chance: &mut Chance,
    scratch: &mut Scratch,
    points: &mut Vec<Vec3>,
    amplitudes: &mut Vec<f32>,
) -> Half {
    let mut visited = 0;
    for step in 0..most {
        chance.at_step(step + 1);
        let moved = rule.advance::<FMA>(&mut state, limits, chance, scratch);
        if let Err(stop) = moved {
            return Half { stop, visited };
        }
        let seen = regions.at(state.x);
        if seen.left {
            return Half { stop: Stop::Mask, visited };
        }
        points.push(state.x);
        amplitudes.push(state.amplitude as f32);
        visited |= seen.visited;
        if seen.excluded {
            return Half { stop: Stop::Excluded, visited };
        }
        if seen.stop {
            return Half { stop: Stop::Mask, visited };
        }
    }
    Half { stop: Stop::Length, visited }
}

struct Track<'a, R> {
    rule: &'a R,
    limits: &'a Limits,
    regions: &'a Regions,
    seeds: &'a [Seed],
    starts: Starts,
    seed: u64,
    draw: u32,
}

impl<R: Rule> Track<'_, R> {
    /// The directions of one seed.
    #[inline(always)]
    fn directions<const FMA: bool>(
        &self,
        seed: &Seed,
        scratch: &mut Scratch,
        found: &mut Vec<Heading>,
    ) {
        found.clear();
        let mut chance = Chance::new(self.seed, self.draw, seed.number * DIRECTIONS, false);
        chance.at_step(0);
        if let Some(direction) = seed.direction {
            if let Ok(h) = self.rule.heading::<FMA>(seed.x, direction, &mut chance, scratch) {
                found.push(h);
            }
            return;
        }
        self.rule.starts::<FMA>(seed.x, scratch, found);
        match self.starts {
            Starts::All(most) => found.truncate((most.max(1) as usize).min(DIRECTIONS as usize)),
            Starts::Largest => found.truncate(1),
            Starts::Drawn => {
                let total: f64 = found.iter().map(|h| h.amplitude.max(0.0)).sum();
                let mut left = chance.pair()[0] * total;
                let at = found.iter().position(|h| {
                    left -= h.amplitude.max(0.0);
                    left < 0.0
                });
                let keep = at.or(found.len().checked_sub(1));
                if let Some(heading) = keep.map(|i| found[i]) {
                    found.clear();
                    found.push(heading);
                }
            }
        }
    }
}

impl<R: Rule> Task for Track<'_, R> {
    type Output = Tracks;

    #[inline(always)]
    fn run<const FMA: bool>(self) -> Tracks {
        let mut tracks = Tracks::default();
        let mut scratch = Scratch::default();
        let mut found = Vec::new();
        let mut sides: [(Vec<Vec3>, Vec<f32>); 2] = Default::default();
        let wanted = self.regions.wanted();
        for seed in self.seeds {
            let here = self.regions.at(seed.x);
            if here.left || here.excluded {
                continue;
            }
            self.directions::<FMA>(seed, &mut scratch, &mut found);
            for (k, heading) in found.iter().enumerate() {
                tracks.tried += 1;
                let number = seed.number * DIRECTIONS + k as u64;
                let mut stops = [Stop::Length; 2];
                let mut visited = here.visited;
                let mut rejected = false;
                let mut most = self.limits.steps;
                for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
                    let (points, amplitudes) = &mut sides[side];
                    points.clear();
                    amplitudes.clear();
                    if (side == 1 && !self.limits.both) || rejected {
                        continue;
                    }
                    let mut chance = Chance::new(self.seed, self.draw, number, side == 1);
                    let state = State {
                        x: seed.x,
                        direction: heading.direction.map(|v| sign * v),
                        amplitude: heading.amplitude,
                    };
                    let end = half::<R, FMA>(
                        self.rule,
                        self.limits,
                        self.regions,
                        state,
                        most,
                        &mut chance,
                        &mut scratch,
                        points,
                        amplitudes,
                    );
                    stops[1 - side] = end.stop;
                    visited |= end.visited;
                    rejected |= end.stop == Stop::Excluded;
                    most -= points.len() as u32;
                    tracks.steps += points.len() as u64;
                }
                let steps = sides[0].0.len() + sides[1].0.len();
                if rejected || visited & wanted != wanted {
                    tracks.rejected += 1;
                } else if (steps as u64) < u64::from(self.limits.fewest.max(1)) {
                    tracks.short += 1;
                } else {
                    let [(forward, ahead), (backward, behind)] = &sides;
                    let mut points = Vec::with_capacity(steps + 1);
                    points.extend(backward.iter().rev());
                    points.push(seed.x);
                    points.extend(forward);
                    let mut amplitudes = Vec::with_capacity(steps + 1);
                    amplitudes.extend(behind.iter().rev());
                    amplitudes.push(heading.amplitude as f32);
                    amplitudes.extend(ahead);
                    tracks.lines.push(Line {
                        points,
                        amplitudes,
                        seed: backward.len(),
                        number: seed.number,
                        stops,
                    });
                }
            }
        }
        tracks
    }
}

/// The streamlines of seeds in their order, on all threads of the pool.
///
/// `draw` is the number of a posterior draw, below 2^24: other numbers are drawn for it.
#[allow(clippy::too_many_arguments)]
pub fn track<R: Rule>(
    level: SimdLevel,
    rule: &R,
    limits: &Limits,
    regions: &Regions,
    seeds: &[Seed],
    starts: Starts,
    seed: u64,
    draw: u32,
) -> Tracks {
    let parts: Vec<Tracks> = seeds
        .par_chunks(BATCH)
        .map(|seeds| at_level(level, Track { rule, limits, regions, seeds, starts, seed, draw }))
        .collect();
    let mut all = Tracks::default();
    for part in parts {
        all.lines.extend(part.lines);
        all.tried += part.tried;
        all.steps += part.steps;
        all.short += part.short;
        all.rejected += part.rejected;
    }
    all
}
