//! A substrate, a sequence and walkers become complex signals with standard errors.
//!
//! The signal of a compartment is the mean over the walkers that started in it, relative to
//! their magnetisation at the start; `all` is the mean over all walkers. Validated by
//! `models/tests/suite/simulation.rs` and, its derivatives, by `models/tests/suite/derivatives.rs`.

use super::{Parameter, Sequence, Substrate, SubstrateError, TimeStep};
use microtome_kernels::walk::{self, Estimate, Protocol, Slopes, Tally, Walk};
use std::ops::Range;

/// Most walkers: their numbers are 56 bits of a counter.
const WALKERS_MAX: u64 = 1 << 48;
/// Most steps of a walker.
const STEPS_MAX: f64 = 5e7;
/// Name of the rows over all walkers.
pub const TOTAL: &str = "all";

/// A walk that is ready to start.
#[derive(Clone, Debug)]
pub struct Simulation {
    substrate: Substrate,
    media: Vec<walk::Medium>,
    protocol: Protocol,
    /// `[measurement][compartment]`.
    factors: Vec<Vec<f64>>,
    step: TimeStep,
    seed: u64,
    walkers: u64,
    /// B of `sequence.rs`, ms/µm².
    bridges: Vec<f64>,
    /// What signals are differentiated by, in the order of the results.
    parameters: Vec<Parameter>,
    slopes: Option<Slopes>,
}

/// What is known after some walkers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Walkers so far.
    pub walkers: u64,
    /// Walkers in all.
    pub of: u64,
    /// Largest standard error of a real or imaginary part over all walkers.
    pub largest_se: f64,
}

/// The signal of a measurement and compartment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the measurement.
    pub measurement: usize,
    /// Name of the compartment, or [`TOTAL`].
    pub compartment: &'static str,
    /// Signal and standard errors.
    pub signal: Estimate,
    /// Its derivatives, in the order in which they were asked for.
    pub derivatives: Vec<Estimate>,
    /// Walkers.
    pub walkers: u64,
}

/// All signals.
#[derive(Clone, Debug, PartialEq)]
pub struct Signals {
    /// By measurement, the compartments and then the total.
    pub rows: Vec<Row>,
    /// Steps of all walkers.
    pub walker_steps: u64,
    /// Walkers found outside of their walls at the end.
    pub escaped: u64,
    /// Steps with too many hits, whose rest was left out.
    pub stopped: u64,
}

impl Signals {
    /// Walkers of all compartments.
    pub fn walkers(&self) -> u64 {
        self.rows.iter().filter(|r| r.compartment == TOTAL).map(|r| r.walkers).max().unwrap_or(0)
    }
}

impl Simulation {
    /// Prepares a walk; the time step is chosen when none is given.
    ///
    /// # Errors
    /// No walkers or measurements, a time step that is not positive or makes too many steps.
    pub fn new(
        substrate: Substrate,
        sequence: &Sequence,
        step_ms: Option<f64>,
        walkers: u64,
        seed: u64,
    ) -> Result<Self, SubstrateError> {
        let wrong = |what: String| Err(SubstrateError::Walk { what });
        if walkers == 0 || walkers > WALKERS_MAX {
            return wrong(format!("{walkers} walkers; from 1 to {WALKERS_MAX} are possible"));
        }
        if sequence.is_empty() {
            return wrong("there are no measurements".into());
        }
        let step = match step_ms {
            Some(ms) if ms.is_finite() && ms > 0.0 => TimeStep { ms, rule: "given" },
            Some(ms) => return wrong(format!("a step of {ms} ms; a positive number is needed")),
            None => TimeStep::automatic(&substrate, sequence),
        };
        if sequence.duration_ms() / step.ms > STEPS_MAX {
            return wrong(format!(
                "steps of {} ms are too many for {} ms; give a longer step",
                step.ms,
                sequence.duration_ms()
            ));
        }
        let (protocol, bridges) = sequence.protocol(step.ms, |v| substrate.shape_from_world(v));
        // Where walkers change their compartment the walk itself counts T2.
        let permeable = substrate.is_permeable();
        let factors = bridges
            .iter()
            .zip(sequence.ends_ms())
            .map(|(bridge, end)| {
                let of = |m: &super::Medium| {
                    let time = if permeable { 0.0 } else { end / m.t2_ms };
                    (-m.diffusivity * bridge - time).exp()
                };
                substrate.media().iter().map(of).collect()
            })
            .collect();
        let media = substrate.media().iter().map(|m| m.for_walk(permeable)).collect();
        Ok(Self {
            substrate,
            media,
            protocol,
            factors,
            step,
            seed,
            walkers,
            bridges,
            parameters: Vec::new(),
            slopes: None,
        })
    }

    /// Asks for the derivatives of all signals with respect to some parameters; the signals stay
    /// the same to the bit.
    ///
    /// # Errors
    /// Substrates whose paths are not continuous in the parameters, parameters that they do
    /// not have.
    pub fn with_derivatives(mut self, parameters: &[Parameter]) -> Result<Self, SubstrateError> {
        if parameters.is_empty() {
            return Ok(self);
        }
        let length = self.substrate.derivative_length(parameters)?;
        let slopes = Slopes { length, bridges: self.bridges.clone() };
        if !Slopes::fits(&self.walk()) {
            return Err(SubstrateError::Walk { what: super::parameter::REFUSED.into() });
        }
        self.parameters = parameters.to_vec();
        self.slopes = Some(slopes);
        Ok(self)
    }

    /// The time step and why.
    pub fn time_step(&self) -> TimeStep {
        self.step
    }

    /// Steps of one walker.
    pub fn steps(&self) -> usize {
        self.protocol.steps.len()
    }

    /// Number of walkers.
    pub fn walkers(&self) -> u64 {
        self.walkers
    }

    /// Walks. `observe` is called now and then and stops the walk by returning false.
    ///
    /// The result is a function of the arguments of [`Simulation::new`] only: equal to the
    /// bit for any number of threads.
    pub fn run(&self, mut observe: impl FnMut(Observed) -> bool) -> Signals {
        self.signals(&self.walk_from(None, 0.0, |seen, _| observe(seen)))
    }

    /// Walks until no standard error over all walkers is above the target, or until there
    /// are no more walkers. Errors are looked at after every 32,768 walkers, so the result is
    /// the same for any number of threads.
    pub fn run_to(&self, target_se: f64, mut observe: impl FnMut(Observed)) -> Signals {
        let tally = self.walk_from(None, target_se, |seen, _| {
            observe(seen);
            true
        });
        self.signals(&tally)
    }

    /// [`Simulation::run_to`] from the sums of a walk of the same simulation that was stopped:
    /// `observe` sees the sums so far and stops the walk by returning false. The sums at the
    /// end are those of a walk that was not stopped, to the bit.
    ///
    /// Sums of another simulation of as many measurements and compartments are not told from
    /// its own; those of another shape are not used.
    pub fn walk_from(
        &self,
        done: Option<Tally>,
        target_se: f64,
        mut observe: impl FnMut(Observed, &Tally) -> bool,
    ) -> Tally {
        // NaN goes on.
        let goes_on = |largest: f64| largest.is_nan() || largest > target_se;
        let fits = |t: &Tally| {
            let slopes = if self.slopes.is_some() { self.factors.len() } else { 0 };
            let shape = [self.media.len(), self.factors.len() * self.media.len(), slopes];
            t.counts() == shape && t.all_walkers() <= self.walkers
        };
        let done = done.filter(fits);
        if let Some(t) = done.as_ref().filter(|t| t.all_walkers() > 0)
            && !goes_on(self.largest_se(t))
        {
            return t.clone();
        }
        let of = self.walkers;
        walk::walk_on(&self.walk(), self.slopes.as_ref(), done, |t| {
            let largest_se = self.largest_se(t);
            let seen = Observed { walkers: t.all_walkers(), of, largest_se };
            observe(seen, t) && goes_on(largest_se)
        })
    }

    fn largest_se(&self, tally: &Tally) -> f64 {
        let error = |(m, factors): (usize, &Vec<f64>)| {
            let e = tally.estimate(m, None, |c| factors[c]);
            e.se_real.max(e.se_imaginary)
        };
        self.factors.iter().enumerate().map(error).fold(0.0, f64::max)
    }

    fn walk(&self) -> Walk<'_> {
        Walk {
            shape: &self.substrate.shape,
            media: &self.media,
            start: &self.substrate.start,
            protocol: &self.protocol,
            seed: self.seed,
            walkers: self.walkers,
        }
    }

    /// Positions of walkers at some nodes (0 is the start, k the end of step k), µm, in the
    /// world: the very paths of [`Simulation::run`].
    ///
    /// # Shapes
    /// `nodes` rising; returns `[walker][node]`.
    pub fn paths(&self, nodes: &[usize], walkers: Range<u64>) -> Vec<[f64; 3]> {
        let mut points = walk::paths(&self.walk(), nodes, walkers);
        let f = self.substrate.frame;
        for p in &mut points {
            *p = [0, 1, 2].map(|a: usize| (0..3).map(|k| f[k][a] * p[k]).sum());
        }
        points
    }

    /// Times of the nodes, ms.
    pub fn times(&self) -> Vec<f64> {
        let mut time = 0.0;
        let end = |h: &f64| {
            time += h;
            time
        };
        std::iter::once(0.0).chain(self.protocol.steps.iter().map(end)).collect()
    }

    /// Phases of walkers, rad: the very ones of [`Simulation::run`] but for rounding. The
    /// spread of a path about its straight line in a step is not in them.
    ///
    /// # Shapes
    /// `[walker][measurement]`.
    pub fn phases(&self, walkers: Range<u64>) -> Vec<f64> {
        let nodes: Vec<usize> = (0..self.protocol.nodes.len()).collect();
        let measurements = self.protocol.measurements;
        let mut out = Vec::new();
        // Few at a time: a walker has a position a node.
        let mut first = walkers.start;
        while first < walkers.end {
            let end = walkers.end.min(first + 512);
            let points = walk::paths(&self.walk(), &nodes, first..end);
            for path in points.chunks(nodes.len()) {
                let mut sums = vec![[0.0; 3]; self.protocol.profiles];
                for (x, weights) in path.iter().zip(&self.protocol.nodes) {
                    for w in weights {
                        for a in 0..3 {
                            sums[w.profile][a] += w.weight * x[a];
                        }
                    }
                }
                let begin = out.len();
                out.resize(begin + measurements, 0.0);
                for r in &self.protocol.readings {
                    let per = r.profiles.len();
                    for (i, m) in r.measurements.iter().enumerate() {
                        let terms = sums[r.profiles.clone()].iter().zip(&r.amplitudes[i * per..]);
                        out[begin + m] =
                            terms.map(|(s, a)| s[0] * a[0] + s[1] * a[1] + s[2] * a[2]).sum();
                    }
                }
            }
            first = end;
        }
        out
    }

    /// Means and errors of sums.
    pub fn signals(&self, tally: &Tally) -> Signals {
        let media = self.substrate.media();
        let mut rows = Vec::with_capacity(self.factors.len() * (media.len() + 1));
        for (measurement, factors) in self.factors.iter().enumerate() {
            let parts = media.iter().enumerate().map(|(c, m)| (Some(c), m.name));
            for (c, compartment) in parts.chain([(None, TOTAL)]) {
                let signal = tally.estimate(measurement, c, |c| factors[c]);
                let walkers = c.map_or(tally.all_walkers(), |c| tally.walkers[c]);
                if walkers == 0 {
                    continue;
                }
                let all = tally.slopes(measurement, factors[0]);
                let derivatives = self.parameters.iter().filter_map(|p| Some(all?[p.place()]));
                let derivatives = derivatives.collect();
                rows.push(Row { measurement, compartment, signal, derivatives, walkers });
            }
        }
        let (walker_steps, escaped, stopped) = (tally.steps, tally.escaped, tally.stopped);
        Signals { rows, walker_steps, escaped, stopped }
    }
}
