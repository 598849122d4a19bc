//! An acquisition as numbers that a design may move.
//!
//! | number | unit | |
//! |---|---|---|
//! | $b$ | ms/µm² | |
//! | $\delta, \Delta$, TE | ms | where known |
//! | $g$ | 1 | unit direction |
//! | $\omega$ | 1 | how often the measurement is made |
//!
//! Linear encoding only. Validated by `gradient_equals_difference` of
//! `tests/suite/information.rs`.

use super::InformationError;
use crate::acquisition::{Acquisition, AcquisitionError, PulseTiming};
use crate::chart::frame_about;

/// Relative step of a central difference in b and times, and step of one in an angle
/// (rad): what is cut off is some 1e-9 and what is rounded some 1e-12 of a slope.
const STEP: f64 = 3e-5;

/// An acquisition with weights.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Encoding {
    /// b, ms/µm² `[measurement]`.
    pub b: Vec<f64>,
    /// Unit directions `[measurement]`.
    pub directions: Vec<[f64; 3]>,
    /// Pulse durations and separations, ms.
    pub timing: Option<PulseTiming>,
    /// Echo times, ms.
    pub te_ms: Option<Vec<f64>>,
    /// How often each measurement is made; need not be whole.
    pub weight: Vec<f64>,
}

/// The derivatives of a number with respect to an [`Encoding`], `[measurement]` each; 0
/// for what the encoding does not have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EncodingGradient {
    /// By b; 0 where b = 0, since such a measurement has no direction to be weighted in.
    pub b: Vec<f64>,
    /// By δ at fixed b.
    pub delta_ms: Vec<f64>,
    /// By Δ at fixed b.
    pub big_delta_ms: Vec<f64>,
    /// By TE.
    pub te_ms: Vec<f64>,
    /// By the direction, across it.
    pub directions: Vec<[f64; 3]>,
    /// By the weight.
    pub weight: Vec<f64>,
}

/// A number of every measurement that can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knob {
    B,
    Delta,
    BigDelta,
    Echo,
    /// Across the direction: 0 or 1.
    Turn(usize),
}

impl Encoding {
    /// The numbers of an acquisition, each made once; `None` for encoding that is not
    /// linear, free waveforms, and acquisitions with repetition times.
    pub fn of(acquisition: &Acquisition) -> Option<Self> {
        if !acquisition.is_linear()
            || !acquisition.waveforms().is_empty()
            || acquisition.tr_ms().is_some()
        {
            return None;
        }
        Some(Self {
            b: acquisition.b_ms_per_um2().to_vec(),
            directions: acquisition.directions().to_vec(),
            timing: acquisition.timing().cloned(),
            te_ms: acquisition.te_ms().map(<[f64]>::to_vec),
            weight: vec![1.0; acquisition.len()],
        })
    }

    /// Number of measurements.
    pub fn len(&self) -> usize {
        self.b.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.b.is_empty()
    }

    /// The acquisition that measures each once.
    ///
    /// # Errors
    /// As [`Acquisition::from_b`].
    pub fn acquisition(&self) -> Result<Acquisition, AcquisitionError> {
        Acquisition::from_b(&self.b, &self.directions, self.timing.clone(), self.te_ms.clone())
    }

    /// The weights, one a measurement.
    pub(super) fn weights(&self) -> Result<&[f64], InformationError> {
        if self.weight.len() != self.len() {
            let (expected, got) = (self.len(), self.weight.len());
            return Err(InformationError::Count { what: "weights", expected, got });
        }
        Ok(&self.weight)
    }

    /// The encoding with a number of every measurement moved down and up, and how far
    /// these are apart; `None` when it has no such number.
    ///
    /// A time at the limit $\delta = \Delta$ is moved to one side only.
    pub(super) fn moved(&self, knob: Knob) -> Option<[(Self, Vec<f64>); 2]> {
        let shifted = |sign: f64| {
            let mut out = self.clone();
            let mut by = vec![0.0; self.len()];
            for (i, by) in by.iter_mut().enumerate() {
                if self.b[i] == 0.0 && knob != Knob::Echo {
                    continue;
                }
                let step = |v: f64| sign * STEP * v;
                match knob {
                    Knob::B => {
                        out.b[i] += step(self.b[i]);
                        *by = out.b[i] - self.b[i];
                    }
                    Knob::Delta => {
                        let t = out.timing.as_mut()?;
                        let old = t.delta_ms[i];
                        t.delta_ms[i] = (old + step(old)).min(t.big_delta_ms[i]);
                        *by = t.delta_ms[i] - old;
                    }
                    Knob::BigDelta => {
                        let t = out.timing.as_mut()?;
                        let old = t.big_delta_ms[i];
                        t.big_delta_ms[i] = (old + step(old)).max(t.delta_ms[i]);
                        *by = t.big_delta_ms[i] - old;
                    }
                    Knob::Echo => {
                        let te = out.te_ms.as_mut()?;
                        let old = te[i];
                        te[i] += step(old.max(1.0));
                        te[i] = te[i].max(0.0);
                        *by = te[i] - old;
                    }
                    Knob::Turn(k) => {
                        let g = self.directions[i];
                        let e = frame_about(g)[k];
                        let norm = (1.0 + STEP * STEP).sqrt();
                        for c in 0..3 {
                            out.directions[i][c] = (g[c] + sign * STEP * e[c]) / norm;
                        }
                        *by = sign * STEP.atan();
                    }
                }
            }
            Some((out, by))
        };
        Some([shifted(-1.0)?, shifted(1.0)?])
    }
}

impl EncodingGradient {
    pub(super) fn zeros(n: usize) -> Self {
        Self {
            b: vec![0.0; n],
            delta_ms: vec![0.0; n],
            big_delta_ms: vec![0.0; n],
            te_ms: vec![0.0; n],
            directions: vec![[0.0; 3]; n],
            weight: vec![0.0; n],
        }
    }

    /// Adds a slope of one measurement.
    pub(super) fn add(&mut self, knob: Knob, encoding: &Encoding, i: usize, slope: f64) {
        match knob {
            Knob::B => self.b[i] += slope,
            Knob::Delta => self.delta_ms[i] += slope,
            Knob::BigDelta => self.big_delta_ms[i] += slope,
            Knob::Echo => self.te_ms[i] += slope,
            Knob::Turn(k) => {
                let e = frame_about(encoding.directions[i])[k];
                for (d, e) in self.directions[i].iter_mut().zip(e) {
                    *d += slope * e;
                }
            }
        }
    }
}
