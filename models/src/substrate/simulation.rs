//! A substrate, a sequence and walkers become complex signals with standard errors.
//!
//! The signal of a compartment is the mean over the walkers that started in it, relative to
//! their magnetisation at the start; `all` is the mean over all walkers. Validated by
//! `models/tests/simulation.rs`.

use super::{Sequence, Substrate, SubstrateError, TimeStep};
use microtome_kernels::walk::{Estimate, Protocol, Tally, Walk, walk};

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
    protocol: Protocol,
    /// `[measurement][compartment]`.
    factors: Vec<Vec<f64>>,
    step: TimeStep,
    seed: u64,
    walkers: u64,
}

/// What is known after some walkers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Walkers so far.
    pub walkers: u64,
    /// Walkers in all.
    pub of: u64,
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
        let factors = bridges
            .iter()
            .zip(sequence.ends_ms())
            .map(|(bridge, end)| {
                let of = |m: &super::Medium| (-m.diffusivity * bridge - end / m.t2_ms).exp();
                substrate.media().iter().map(of).collect()
            })
            .collect();
        Ok(Self { substrate, protocol, factors, step, seed, walkers })
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
        let medium = &self.substrate.media[0];
        let spec = Walk {
            shape: &self.substrate.shape,
            diffusivity: medium.diffusivity,
            relaxivity: medium.relaxivity,
            protocol: &self.protocol,
            seed: self.seed,
            walkers: self.walkers,
        };
        let of = self.walkers;
        let tally = walk(&spec, |t| observe(Observed { walkers: t.all_walkers(), of }));
        self.signals(&tally)
    }

    fn signals(&self, tally: &Tally) -> Signals {
        let media = self.substrate.media();
        let mut rows = Vec::with_capacity(self.factors.len() * (media.len() + 1));
        for (measurement, factors) in self.factors.iter().enumerate() {
            let parts = media.iter().enumerate().map(|(c, m)| (Some(c), m.name));
            for (c, compartment) in parts.chain([(None, TOTAL)]) {
                let signal = tally.estimate(measurement, c, |c| factors[c]);
                let walkers = c.map_or(tally.all_walkers(), |c| tally.walkers[c]);
                rows.push(Row { measurement, compartment, signal, walkers });
            }
        }
        let (walker_steps, escaped, stopped) = (tally.steps, tally.escaped, tally.stopped);
        Signals { rows, walker_steps, escaped, stopped }
    }
}
