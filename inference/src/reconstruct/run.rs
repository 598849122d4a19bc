//! Iterations until a rule says stop: history, callbacks, snapshots.
//!
//! | rule | stops when |
//! |---|---|
//! | iterations | so many were made |
//! | relative change | $\lVert x_k-x_{k-1}\rVert \le \epsilon\lVert x_k\rVert$ |
//! | discrepancy | $\lVert y-Ax\rVert_W \le \tau\sqrt m$, what noise of the stated variance leaves |
//!
//! A [`Snapshot`] taken after any iteration holds all that the next ones depend on, so a
//! run that goes on from one gives the bits of a run that was never stopped.
//!
//! Source of the discrepancy principle: Morozov 1966; Engl, Hanke & Neubauer 1996,
//! ISBN 978-0-7923-4157-4, section 4.3. Validated by `resumed_runs_give_the_same_bits` and
//! `stopping_rules` in `inference/tests/suite/reconstruct/`.

use super::vector::{norm, sum2};
use super::{Algorithm, HistoryRow, Method, Problem, ReconstructError, Settings, StateVisitor};
use microtome_kernels::ray::Real;
use std::ops::ControlFlow;
use std::time::Instant;

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoppingRule {
    /// Most iterations, at least 1.
    pub iterations: usize,
    /// Relative change at which it is enough.
    pub relative_change: Option<f64>,
    /// $\|y-Ax\|_W$ at which it is enough.
    pub residual_norm: Option<f64>,
}

impl StoppingRule {
    /// So many iterations and nothing else.
    pub fn iterations(iterations: usize) -> Self {
        Self { iterations, relative_change: None, residual_norm: None }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All iterations were made.
    Iterations,
    /// The image does not change any more.
    RelativeChange,
    /// The residual is that of the noise.
    Discrepancy,
    /// A callback said stop.
    Interrupted,
}

impl Ended {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Ended::Iterations => "iterations",
            Ended::RelativeChange => "relative_change",
            Ended::Discrepancy => "discrepancy",
            Ended::Interrupted => "interrupted",
        }
    }
}

/// Everything that the iterations to come depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// The rows of the iterations made.
    pub history: Vec<HistoryRow>,
    /// Numbers of the method by name.
    pub numbers: Vec<(String, Vec<f64>)>,
    /// Arrays of the method by name.
    pub arrays: Vec<(String, Vec<T>)>,
}

/// A reconstruction on its way.
pub struct Reconstruction<'a, T: Real> {
    problem: &'a Problem<'a, T>,
    name: &'static str,
    method: Box<dyn Method<T>>,
    history: Vec<HistoryRow>,
    before: Vec<T>,
    /// Seconds of earlier runs.
    earlier: f64,
    begin: Instant,
}

struct Save<T>(Snapshot<T>);

impl<T: Real> StateVisitor<T> for Save<T> {
    fn numbers(&mut self, name: &'static str, values: &mut [f64]) {
        self.0.numbers.push((name.into(), values.to_vec()));
    }
    fn array(&mut self, name: &'static str, values: &mut Vec<T>) {
        self.0.arrays.push((name.into(), values.clone()));
    }
}

struct Load<T> {
    numbers: std::vec::IntoIter<(String, Vec<f64>)>,
    arrays: std::vec::IntoIter<(String, Vec<T>)>,
    problem: Option<String>,
}

impl<T> Load<T> {
    fn wrong(&mut self, name: &str) {
        self.problem.get_or_insert_with(|| format!("`{name}` is missing or has another length"));
    }
}

impl<T: Real> StateVisitor<T> for Load<T> {
    fn numbers(&mut self, name: &'static str, values: &mut [f64]) {
        match self.numbers.next() {
            Some((found, v)) if found == name && v.len() == values.len() => {
                values.copy_from_slice(&v)
            }
            _ => self.wrong(name),
        }
    }
    fn array(&mut self, name: &'static str, values: &mut Vec<T>) {
        match self.arrays.next() {
            Some((found, v)) if found == name && v.len() == values.len() => *values = v,
            _ => self.wrong(name),
        }
    }
}

impl<'a, T: Real> Reconstruction<'a, T> {
    /// Prepares a method.
    ///
    /// # Errors
    /// As [`Algorithm::begin`].
    pub fn new(
        algorithm: Algorithm,
        problem: &'a Problem<'a, T>,
        settings: &Settings,
    ) -> Result<Self, ReconstructError> {
        let method = algorithm.begin(problem, settings)?;
        Ok(Self::with_method(algorithm.name(), method, problem))
    }

    /// The same for a method of one's own.
    pub fn with_method(
        name: &'static str,
        method: Box<dyn Method<T>>,
        problem: &'a Problem<'a, T>,
    ) -> Self {
        let before = method.image().to_vec();
        Self {
            problem,
            name,
            method,
            history: Vec::new(),
            before,
            earlier: 0.0,
            begin: Instant::now(),
        }
    }

    /// The image now.
    pub fn image(&self) -> &[T] {
        self.method.image()
    }

    /// The rows of all iterations so far.
    pub fn history(&self) -> &[HistoryRow] {
        &self.history
    }

    /// One iteration.
    ///
    /// # Errors
    /// Whatever stops the projector; an image that is not finite.
    pub fn step(&mut self) -> Result<HistoryRow, ReconstructError> {
        let step = self.method.step(self.problem)?;
        let x = self.method.image();
        let size = norm(x);
        let moved = sum2(x, &self.before, |a, b| (a - b) * (a - b)).sqrt();
        let iteration = self.history.len() + 1;
        if !size.is_finite() {
            return Err(ReconstructError::Diverged { method: self.name, iteration });
        }
        self.before.copy_from_slice(x);
        let row = HistoryRow {
            iteration,
            residual_norm: step.residual_norm,
            objective: step.objective,
            relative_change: if moved == 0.0 { 0.0 } else { moved / size },
            step: step.step,
            seconds: self.earlier + self.begin.elapsed().as_secs_f64(),
        };
        self.history.push(row);
        Ok(row)
    }

    /// Why the run would end now.
    fn ended(&self, rule: &StoppingRule) -> Option<Ended> {
        let row = self.history.last()?;
        if rule.residual_norm.is_some_and(|r| row.residual_norm <= r) {
            return Some(Ended::Discrepancy);
        }
        if rule.relative_change.is_some_and(|c| row.relative_change <= c) {
            return Some(Ended::RelativeChange);
        }
        (self.history.len() >= rule.iterations).then_some(Ended::Iterations)
    }

    /// Iterates until a rule or `observe` says stop; `observe` sees every new row and image.
    ///
    /// # Errors
    /// As [`Reconstruction::step`]; a rule of no iterations.
    pub fn run(
        &mut self,
        rule: &StoppingRule,
        observe: &mut dyn FnMut(&mut Self) -> ControlFlow<()>,
    ) -> Result<Ended, ReconstructError> {
        if rule.iterations == 0 {
            return Err(ReconstructError::setting("iterations", "0; at least 1 is needed"));
        }
        loop {
            if let Some(ended) = self.ended(rule) {
                return Ok(ended);
            }
            self.step()?;
            let stopped = observe(self).is_break();
            if stopped && self.ended(rule).is_none() {
                return Ok(Ended::Interrupted);
            }
        }
    }

    /// Copies all that the next iterations depend on.
    pub fn snapshot(&mut self) -> Snapshot<T> {
        let history = self.history.clone();
        let mut save = Save(Snapshot { history, numbers: Vec::new(), arrays: Vec::new() });
        self.method.visit(&mut save);
        save.0
    }

    /// Goes on from a snapshot of a run of the same method, problem and settings.
    ///
    /// # Errors
    /// Another method, arrays of another length.
    pub fn restore(&mut self, snapshot: Snapshot<T>) -> Result<(), ReconstructError> {
        let Snapshot { history, numbers, arrays } = snapshot;
        let (numbers, arrays) = (numbers.into_iter(), arrays.into_iter());
        let mut load = Load { numbers, arrays, problem: None };
        self.method.visit(&mut load);
        if load.problem.is_none() && load.numbers.len() + load.arrays.len() > 0 {
            load.problem = Some("it holds more than this method keeps".into());
        }
        if let Some(problem) = load.problem {
            return Err(ReconstructError::Checkpoint { problem });
        }
        self.before.copy_from_slice(self.method.image());
        self.earlier = history.last().map_or(0.0, |r| r.seconds);
        self.history = history;
        self.begin = Instant::now();
        Ok(())
    }
}
