//! The acquisition: which diffusion weighting each measurement had.
//!
//! For pulsed gradients of duration $\delta$ and separation $\Delta$,
//!
//! $$b = (\gamma G \delta)^2 \tau,\qquad \tau = \Delta - \delta/3,\qquad q = \gamma G\delta/2\pi$$
//!
//! Other encodings are b-tensors ([`Acquisition::from_b_tensor`]) and free waveforms
//! ([`Acquisition::from_waveforms`]).
//!
//! | symbol | unit inside | |
//! |---|---|---|
//! | $b$ | ms/µm² | 1 = 1000 s/mm² |
//! | $\delta, \Delta$, TE, TR | ms | |
//! | $q$ | 1/µm | |
//! | $G$ | T/m | |
//!
//! Source: Stejskal & Tanner 1965, doi:10.1063/1.1695690, eq. 8; $\gamma$ of the
//! free proton, CODATA 2018.
//!
//! When b is given it is the quantity of record, and $\gamma G\delta = \sqrt{b/\tau}$:
//! no value of $\gamma$ enters. Validated by the tests below and `tests/suite/encoding.rs`.

mod b_tensor;
mod error;
mod nonlinearity;
mod oscillation;
mod shell;
mod waveform;
mod written;

pub use error::AcquisitionError;
pub use nonlinearity::GradientNonlinearity;
pub use oscillation::{Oscillation, OscillationShape};
pub use shell::Shell;
pub use waveform::{Correlation, Waveform};

use b_tensor::{ROUNDING, Symmetric};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use written::Written;

/// Gyromagnetic ratio of the proton, rad/(s T).
pub const GAMMA_RAD_PER_S_T: f64 = 2.675_221_874_4e8;
/// γ·(1 T/m) in rad/(ms µm).
const GAMMA_PER_MS_UM: f64 = GAMMA_RAD_PER_S_T * 1e-9;
/// Measurements up to this b (ms/µm²) serve as b = 0 images.
pub const B0_MAX_MS_PER_UM2: f64 = 0.05;
/// Larger b-values than this (ms/µm²) are taken for a wrong unit where the times of
/// the pulses, which tell the gradient, are not known.
const B_MAX_MS_PER_UM2: f64 = 200.0;
/// Gradients stronger than this (T/m) do not exist; the unit must be wrong.
const GRADIENT_MAX_T_PER_M: f64 = 20.0;
/// Nor do b-values larger than this (ms/µm²), whatever the times.
const B_MAX_WITH_TIMES_MS_PER_UM2: f64 = 2e4;

/// Duration and separation of the gradient pulses of every measurement, ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PulseTiming {
    /// Pulse duration δ, ms `[measurement]`.
    pub delta_ms: Vec<f64>,
    /// Separation of the leading edges Δ, ms `[measurement]`.
    pub big_delta_ms: Vec<f64>,
}

/// The diffusion weighting of every measurement, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Acquisition {
    lists: Lists,
    shells: Vec<Shell>,
    shell_of: Vec<usize>,
}

/// What is known of every measurement, `[measurement]` each.
#[derive(Debug, Clone, PartialEq, Default)]
struct Lists {
    b: Vec<f64>,
    directions: Vec<[f64; 3]>,
    timing: Option<PulseTiming>,
    te_ms: Option<Vec<f64>>,
    tr_ms: Option<Vec<f64>>,
    /// `None`: linear throughout.
    b_delta: Option<Vec<Option<f64>>>,
    /// Where whole b-tensors were given.
    b_tensors: Option<Vec<Symmetric>>,
    /// Number of the waveform, counted from 1; 0 for none.
    waveform_of: Option<Vec<usize>>,
    /// The waveforms themselves, not by measurement.
    waveforms: Vec<Arc<Waveform>>,
    /// How many measurements each was averaged from, for means.
    repeats: Option<Vec<f64>>,
}

impl Acquisition {
    /// Linear encoding from b-values.
    ///
    /// # Shapes
    /// All lists are `[measurement]`.
    ///
    /// # Units
    /// b in ms/µm², times in ms; directions are unit vectors. Directions of
    /// measurements with b = 0 are not looked at (FSL writes NaN there); up to
    /// b = 0.05 a zero or NaN direction makes the measurement a b = 0.
    ///
    /// # Errors
    /// Counts that differ, directions that are not unit vectors to 1e-3, values
    /// that are not finite or negative, b-values of an implausible unit.
    ///
    /// # Example
    /// ```
    /// use microtome_models::Acquisition;
    /// let a = Acquisition::from_b(&[0.0, 1.0], &[[f64::NAN; 3], [1.0, 0.0, 0.0]], None, None)?;
    /// assert_eq!(a.shells().len(), 2);
    /// # Ok::<(), microtome_models::AcquisitionError>(())
    /// ```
    pub fn from_b(
        b_ms_per_um2: &[f64],
        directions: &[[f64; 3]],
        timing: Option<PulseTiming>,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        Self::assemble(Lists {
            b: b_ms_per_um2.to_vec(),
            directions: directions.to_vec(),
            timing,
            te_ms,
            ..Lists::default()
        })
    }

    /// Axisymmetric b-tensors $B = \tfrac b3[I + b_\Delta(3gg^T - I)]$ by trace,
    /// axis and shape: `b_delta` is 1 for linear, 0 for spherical and -1/2 for
    /// planar encoding (of which $g$ is the normal).
    ///
    /// # Shapes
    /// All lists are `[measurement]`. Directions of spherical encoding are not
    /// looked at.
    ///
    /// # Units
    /// b in ms/µm², times in ms.
    ///
    /// # Errors
    /// As [`Acquisition::from_b`], and shapes outside of -1/2 to 1.
    ///
    /// # Example
    /// ```
    /// use microtome_models::Acquisition;
    /// let z = [0.0, 0.0, 1.0];
    /// let a = Acquisition::from_b_tensor(&[2.0], &[z], &[-0.5], None, None)?;
    /// // Planar: half of b along x and y each, none along the normal.
    /// assert_eq!(a.b_tensor(0), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), microtome_models::AcquisitionError>(())
    /// ```
    pub fn from_b_tensor(
        b_ms_per_um2: &[f64],
        directions: &[[f64; 3]],
        b_delta: &[f64],
        timing: Option<PulseTiming>,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        Self::assemble(Lists {
            b: b_ms_per_um2.to_vec(),
            directions: directions.to_vec(),
            timing,
            te_ms,
            b_delta: Some(b_delta.iter().map(|v| Some(*v)).collect()),
            ..Lists::default()
        })
    }

    /// Whole b-tensors, each (xx, yy, zz, xy, xz, yz) in ms/µm².
    ///
    /// Eigenvalues that are axisymmetric to 1e-3 of b make an axisymmetric
    /// measurement. Of others only the compartments `ball`, `dot` and `tensor` have
    /// a signal, which a model with another one refuses by the number of the
    /// measurement. Traces and shapes that differ by less than 1e-6 are taken for
    /// equal, so that a rotated tensor stays in its shell.
    ///
    /// # Errors
    /// Tensors that are not finite or have a negative eigenvalue, and what
    /// [`Acquisition::from_b`] refuses.
    pub fn from_whole_b_tensors(
        tensors: &[[f64; 6]],
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let shapes = tensors
            .iter()
            .enumerate()
            .map(|(measurement, tensor)| {
                b_tensor::Shape::of(tensor)
                    .map_err(|what| AcquisitionError::Tensor { measurement, what })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::assemble(Lists {
            te_ms,
            b_tensors: Some(tensors.to_vec()),
            ..Lists::of_shapes(&shapes)
        })
    }

    /// Free gradient waveforms: b-tensors by exact integration, each with the shape
    /// of its waveform for restricted compartments.
    ///
    /// # Shapes
    /// `gradient` `[measurement, time, 3]`, the effective gradient (its sign
    /// reversed after a refocusing pulse); sample k holds on [k dt, (k+1) dt). A
    /// measurement of zeros is a b = 0.
    ///
    /// # Units
    /// T/m and ms.
    ///
    /// # Errors
    /// A moment that does not return to zero (to 1e-3 of the largest), samples that
    /// are not finite, a list that is not a whole number of measurements.
    ///
    /// # Example
    /// ```
    /// use microtome_models::Acquisition;
    /// // Two pulses of 10 ms and 0.04 T/m, 30 ms apart, along x.
    /// let mut gradient = vec![0.0; 3 * 40];
    /// for k in 0..10 {
    ///     gradient[3 * k] = 0.04;
    ///     gradient[3 * (k + 30)] = -0.04;
    /// }
    /// let a = Acquisition::from_waveforms(&gradient, 40, 1.0, None)?;
    /// let b = (0.26752218744_f64 * 0.04 * 10.0).powi(2) * (30.0 - 10.0 / 3.0);
    /// assert!((a.b_ms_per_um2()[0] / b - 1.0).abs() < 1e-12);
    /// # Ok::<(), microtome_models::AcquisitionError>(())
    /// ```
    pub fn from_waveforms(
        gradient: &[f64],
        times: usize,
        dt_ms: f64,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let wrong = |what: String| AcquisitionError::Waveform { what };
        if !(dt_ms.is_finite() && dt_ms > 0.0) {
            return Err(wrong(format!(
                "samples are {dt_ms} ms apart; a positive number is needed"
            )));
        }
        if times == 0 || !gradient.len().is_multiple_of(3 * times) {
            return Err(wrong(format!(
                "{} numbers are no [measurement, {times}, 3] array",
                gradient.len()
            )));
        }
        let mut known: Vec<Waveform> = Vec::new();
        let mut shapes = Vec::new();
        let (mut tensors, mut waveform_of) = (Vec::new(), Vec::new());
        for (measurement, samples) in gradient.chunks_exact(3 * times).enumerate() {
            if let Some(value) = samples.iter().find(|v| !v.is_finite()) {
                return Err(wrong(format!(
                    "measurement {measurement} (counted from 0) holds {value}; gradients are finite numbers in T/m"
                )));
            }
            let samples: &[[f64; 3]] = samples.as_chunks().0;
            match waveform::Measured::of(samples, dt_ms).map_err(|f| f.error(measurement))? {
                None => {
                    shapes.push(b_tensor::Shape {
                        b: 0.0,
                        b_delta: Some(1.0),
                        direction: [0.0; 3],
                    });
                    tensors.push([0.0; 6]);
                    waveform_of.push(0);
                }
                Some(m) => {
                    let k = waveform::register(samples, dt_ms, m.shape.b, &mut known)?;
                    // The shape as the waveform has it, so that all turns of it agree.
                    shapes.push(b_tensor::Shape { b_delta: known[k].b_delta(), ..m.shape });
                    tensors.push(m.tensor);
                    waveform_of.push(k + 1);
                }
            }
        }
        Self::assemble(Lists {
            te_ms,
            b_tensors: Some(tensors),
            waveform_of: Some(waveform_of),
            waveforms: known.into_iter().map(Arc::new).collect(),
            ..Lists::of_shapes(&shapes)
        })
    }

    /// From q-values, 1/µm: b = (2πq)² τ.
    ///
    /// # Errors
    /// As [`Acquisition::from_b`].
    pub fn from_q(
        q_per_um: &[f64],
        directions: &[[f64; 3]],
        timing: PulseTiming,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let b = weighted(q_per_um, &timing, |q, _| std::f64::consts::TAU * q)?;
        Self::from_b(&b, directions, Some(timing), te_ms)
    }

    /// From gradient strengths, T/m: b = (γGδ)² τ with [`GAMMA_RAD_PER_S_T`].
    ///
    /// # Errors
    /// As [`Acquisition::from_b`].
    pub fn from_gradient_strength(
        gradient_t_per_m: &[f64],
        directions: &[[f64; 3]],
        timing: PulseTiming,
        te_ms: Option<Vec<f64>>,
    ) -> Result<Self, AcquisitionError> {
        let b = weighted(gradient_t_per_m, &timing, |g, delta| GAMMA_PER_MS_UM * g * delta)?;
        Self::from_b(&b, directions, Some(timing), te_ms)
    }

    /// The same with repetition times, ms `[measurement]`.
    ///
    /// # Errors
    /// Another number of values, values that are not finite or negative.
    pub fn with_repetition_times(self, tr_ms: Vec<f64>) -> Result<Self, AcquisitionError> {
        Self::assemble(Lists { tr_ms: Some(tr_ms), ..self.lists })
    }

    /// The acquisition of some of the measurements, in the given order;
    /// indices that do not exist are left out. Without indices it is empty.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let kept: Vec<usize> = indices.iter().copied().filter(|&i| i < self.len()).collect();
        Self::grouped(self.lists.pick(&kept))
    }

    /// An acquisition of means over directions: mean `k` is of `members[k]`, with
    /// b-value `b[k]`.
    pub(crate) fn of_means(&self, members: &[Vec<usize>], b: Vec<f64>) -> Self {
        let first: Vec<usize> = members.iter().filter_map(|g| g.first().copied()).collect();
        let mut lists = self.lists.pick(&first);
        lists.directions = b.iter().map(|b| [0.0, 0.0, f64::from(*b > 0.0)]).collect();
        lists.b = b;
        lists.b_tensors = None;
        lists.repeats = Some(members.iter().map(|g| g.len() as f64).collect());
        Self::grouped(lists)
    }

    /// The same acquisition in other axes: every direction g becomes R g, R orthogonal.
    pub fn turned(&self, r: &[[f64; 3]; 3]) -> Self {
        let turn = |g: &[f64; 3]| r.map(|row| row[0] * g[0] + row[1] * g[1] + row[2] * g[2]);
        let mut out = self.clone();
        out.lists.directions = self.lists.directions.iter().map(turn).collect();
        for tensor in out.lists.b_tensors.iter_mut().flatten() {
            // R B Rᵀ, through the rows of B.
            let [xx, yy, zz, xy, xz, yz] = *tensor;
            let half = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]].map(|row| turn(&row));
            let whole: [[f64; 3]; 3] =
                std::array::from_fn(|j| turn(&[half[0][j], half[1][j], half[2][j]]));
            *tensor =
                [whole[0][0], whole[1][1], whole[2][2], whole[0][1], whole[0][2], whole[1][2]];
        }
        out
    }

    /// Number of measurements.
    pub fn len(&self) -> usize {
        self.lists.b.len()
    }

    /// Whether there are no measurements: only after [`Acquisition::subset`] of none.
    pub fn is_empty(&self) -> bool {
        self.lists.b.is_empty()
    }

    /// b of every measurement, ms/µm²: the trace of its b-tensor.
    pub fn b_ms_per_um2(&self) -> &[f64] {
        &self.lists.b
    }

    /// Unit directions: of the gradient, or of the axis of the b-tensor; zero
    /// vectors where b = 0 and for spherical encoding.
    pub fn directions(&self) -> &[[f64; 3]] {
        &self.lists.directions
    }

    /// Shape of the b-tensor of a measurement: 1 linear, 0 spherical, -1/2 planar;
    /// `None` without an axis of symmetry.
    pub fn b_delta(&self, measurement: usize) -> Option<f64> {
        self.lists.b_delta.as_ref().map_or(Some(1.0), |v| v[measurement])
    }

    /// Whether all encoding is along one direction, as by pairs of pulses.
    pub fn is_linear(&self) -> bool {
        self.shells.iter().all(Shell::is_linear)
    }

    /// The b-tensor of a measurement, (xx, yy, zz, xy, xz, yz) in ms/µm²: the whole
    /// one where it was given.
    pub fn b_tensor(&self, measurement: usize) -> [f64; 6] {
        if let Some(tensors) = &self.lists.b_tensors {
            return tensors[measurement];
        }
        let (b, g) = (self.lists.b[measurement], self.lists.directions[measurement]);
        match self.b_delta(measurement) {
            Some(b_delta) if b_delta != 1.0 => b_tensor::axisymmetric(b, g, b_delta),
            _ => {
                let pair = |i: usize, j: usize| b * (g[i] * g[j]);
                [pair(0, 0), pair(1, 1), pair(2, 2), pair(0, 1), pair(0, 2), pair(1, 2)]
            }
        }
    }

    /// Pulse durations and separations, when known.
    pub fn timing(&self) -> Option<&PulseTiming> {
        self.lists.timing.as_ref()
    }

    /// Echo times, ms, when known.
    pub fn te_ms(&self) -> Option<&[f64]> {
        self.lists.te_ms.as_deref()
    }

    /// Repetition times, ms, when known.
    pub fn tr_ms(&self) -> Option<&[f64]> {
        self.lists.tr_ms.as_deref()
    }

    /// The shapes of free waveforms; empty for pulses.
    pub fn waveforms(&self) -> &[Arc<Waveform>] {
        &self.lists.waveforms
    }

    /// How many measurements each is the mean of, when they are means: the variance
    /// of the noise is smaller by this factor.
    pub fn repeats(&self) -> Option<&[f64]> {
        self.lists.repeats.as_deref()
    }

    /// The shells in order of (Δ, δ, b, TE), then of shape, TR and waveform.
    pub fn shells(&self) -> &[Shell] {
        &self.shells
    }

    /// The shell of every measurement.
    pub fn shell_of(&self) -> &[usize] {
        &self.shell_of
    }

    /// Indices of the measurements that serve as b = 0 images (b ≤ 0.05 ms/µm²).
    pub fn b0_measurements(&self) -> impl Iterator<Item = usize> + '_ {
        self.lists.b.iter().enumerate().filter(|(_, b)| **b <= B0_MAX_MS_PER_UM2).map(|(i, _)| i)
    }

    /// Checks everything and sorts into shells: the one way to an acquisition.
    fn assemble(mut lists: Lists) -> Result<Self, AcquisitionError> {
        lists.check()?;
        lists.normalise()?;
        let linear = |v: &Vec<Option<f64>>| v.iter().all(|s| *s == Some(1.0));
        if lists.b_tensors.is_none() && lists.b_delta.as_ref().is_some_and(linear) {
            lists.b_delta = None;
        }
        Ok(Self::grouped(lists))
    }

    fn grouped(lists: Lists) -> Self {
        let (shells, shell_of) = shell::group(&shell::Keys {
            b: &lists.b,
            timing: lists.timing.as_ref(),
            te_ms: lists.te_ms.as_deref(),
            tr_ms: lists.tr_ms.as_deref(),
            b_delta: lists.b_delta.as_deref(),
            waveform_of: lists.waveform_of.as_deref(),
            waveforms: &lists.waveforms,
        });
        Self { lists, shells, shell_of }
    }
}

impl Lists {
    /// Traces, directions and shapes; what differs by rounding made equal.
    fn of_shapes(shapes: &[b_tensor::Shape]) -> Self {
        let mut b: Vec<f64> = shapes.iter().map(|s| s.b).collect();
        b_tensor::coalesce(&mut b, false);
        let mut known: Vec<f64> = shapes.iter().filter_map(|s| s.b_delta).collect();
        b_tensor::coalesce(&mut known, true);
        let mut known = known.into_iter();
        Self {
            b,
            directions: shapes.iter().map(|s| s.direction).collect(),
            b_delta: Some(shapes.iter().map(|s| s.b_delta.and_then(|_| known.next())).collect()),
            ..Self::default()
        }
    }

    fn pick(&self, kept: &[usize]) -> Self {
        fn pick<T: Clone>(list: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().map(|&i| list[i].clone()).collect()
        }
        Self {
            b: pick(&self.b, kept),
            directions: pick(&self.directions, kept),
            timing: self.timing.as_ref().map(|t| PulseTiming {
                delta_ms: pick(&t.delta_ms, kept),
                big_delta_ms: pick(&t.big_delta_ms, kept),
            }),
            te_ms: self.te_ms.as_ref().map(|v| pick(v, kept)),
            tr_ms: self.tr_ms.as_ref().map(|v| pick(v, kept)),
            b_delta: self.b_delta.as_ref().map(|v| pick(v, kept)),
            b_tensors: self.b_tensors.as_ref().map(|v| pick(v, kept)),
            waveform_of: self.waveform_of.as_ref().map(|v| pick(v, kept)),
            waveforms: self.waveforms.clone(),
            repeats: self.repeats.as_ref().map(|v| pick(v, kept)),
        }
    }

    /// Counts and values.
    fn check(&self) -> Result<(), AcquisitionError> {
        let n = self.b.len();
        if n == 0 {
            return Err(AcquisitionError::Empty);
        }
        let count = |what, got: usize| {
            if got == n { Ok(()) } else { Err(AcquisitionError::Count { what, expected: n, got }) }
        };
        count("gradient directions", self.directions.len())?;
        if let Some(t) = &self.timing {
            count("delta", t.delta_ms.len())?;
            count("Delta", t.big_delta_ms.len())?;
            check_values("delta (ms)", &t.delta_ms)?;
            check_values("Delta (ms)", &t.big_delta_ms)?;
        }
        if let Some(te) = &self.te_ms {
            count("TE", te.len())?;
            check_values("TE (ms)", te)?;
        }
        if let Some(tr) = &self.tr_ms {
            count("TR", tr.len())?;
            check_values("TR (ms)", tr)?;
        }
        check_values("b (ms/um2)", &self.b)?;
        let largest = self.b.iter().copied().fold(0.0, f64::max);
        let too_large = match &self.timing {
            None => largest > B_MAX_MS_PER_UM2,
            Some(t) => {
                let times = t.delta_ms.iter().zip(&t.big_delta_ms);
                self.b.iter().zip(times).any(|(b, (delta, big_delta))| {
                    let gradient =
                        (b / (big_delta - delta / 3.0)).sqrt() / (GAMMA_PER_MS_UM * delta);
                    *b > B_MAX_WITH_TIMES_MS_PER_UM2
                        || (*b > B_MAX_MS_PER_UM2 && gradient > GRADIENT_MAX_T_PER_M)
                })
            }
        };
        if too_large || (largest > 0.0 && largest < B0_MAX_MS_PER_UM2) {
            return Err(AcquisitionError::Unit { largest_s_per_mm2: largest * 1000.0 });
        }
        if let Some(b_delta) = &self.b_delta {
            count("b_delta", b_delta.len())?;
            let off = |v: &Option<f64>| v.is_some_and(|v| !(-0.5..=1.0).contains(&v));
            if let Some(measurement) = b_delta.iter().position(off) {
                let b_delta = b_delta[measurement].unwrap_or(f64::NAN);
                return Err(AcquisitionError::Shape { measurement, b_delta });
            }
        }
        if let Some(tensors) = &self.b_tensors {
            count("b-tensors", tensors.len())?;
            for (measurement, (t, b)) in tensors.iter().zip(&self.b).enumerate() {
                let trace = t[0] + t[1] + t[2];
                if (trace - b).abs() > 2.0 * ROUNDING * b {
                    let what = format!("has the trace {trace} and b is {b} ms/um2");
                    return Err(AcquisitionError::Tensor { measurement, what });
                }
            }
        }
        if let Some(of) = &self.waveform_of {
            count("waveform numbers", of.len())?;
            let known = self.waveforms.len();
            if let Some(k) = of.iter().find(|k| **k > known) {
                let what = format!("number {k} is used, but there are {known}");
                return Err(AcquisitionError::Waveform { what });
            }
        }
        Ok(())
    }

    /// Directions of length one, or zero where there is none.
    fn normalise(&mut self) -> Result<(), AcquisitionError> {
        for i in 0..self.b.len() {
            let g = &mut self.directions[i];
            let norm = (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]).sqrt();
            let shape = self.b_delta.as_mut().map(|v| &mut v[i]);
            let none = norm.is_nan() || norm <= 0.0;
            if self.b[i] == 0.0
                || (self.b[i] <= B0_MAX_MS_PER_UM2 && none && self.b_tensors.is_none())
            {
                self.b[i] = 0.0;
                *g = [0.0; 3];
                if let Some(shape) = shape {
                    *shape = Some(1.0);
                }
            } else if shape.is_some_and(|s| *s == Some(0.0)) {
                *g = [0.0; 3];
            } else if (norm - 1.0).abs() < 1e-3 {
                // Twice normalised is once normalised.
                if (norm - 1.0).abs() > 4.0 * f64::EPSILON {
                    *g = g.map(|c| c / norm);
                }
            } else {
                return Err(AcquisitionError::Direction {
                    measurement: i,
                    norm,
                    b_s_per_mm2: self.b[i] * 1000.0,
                });
            }
            if let Some(t) = &self.timing {
                let (delta_ms, big_delta_ms) = (t.delta_ms[i], t.big_delta_ms[i]);
                if self.b[i] > 0.0 && !(delta_ms > 0.0 && delta_ms <= big_delta_ms) {
                    return Err(AcquisitionError::Timing {
                        measurement: i,
                        delta_ms,
                        big_delta_ms,
                    });
                }
            }
        }
        Ok(())
    }
}

fn check_values(what: &'static str, values: &[f64]) -> Result<(), AcquisitionError> {
    match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
        Some(measurement) => {
            Err(AcquisitionError::Value { what, measurement, value: values[measurement] })
        }
        None => Ok(()),
    }
}

/// b from a strength: `phase(strength, delta)` is γGδ in rad/µm.
fn weighted(
    strength: &[f64],
    timing: &PulseTiming,
    phase: impl Fn(f64, f64) -> f64,
) -> Result<Vec<f64>, AcquisitionError> {
    let n = strength.len();
    for (what, got) in [("delta", timing.delta_ms.len()), ("Delta", timing.big_delta_ms.len())] {
        if got != n {
            return Err(AcquisitionError::Count { what, expected: n, got });
        }
    }
    check_values("gradient strength or q", strength)?;
    Ok(strength
        .iter()
        .zip(timing.delta_ms.iter().zip(&timing.big_delta_ms))
        .map(|(&s, (&delta, &big_delta))| phase(s, delta).powi(2) * (big_delta - delta / 3.0))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn timing() -> PulseTiming {
        PulseTiming { delta_ms: vec![10.6; 2], big_delta_ms: vec![43.1; 2] }
    }

    #[test]
    fn hcp_gradient_strength_gives_b_of_one() {
        // The first weighted row of the Wu-Minn scheme (b = 1000 s/mm2 with gamma 267.513e6).
        let g = 0.0560640560;
        let x = [[1.0, 0.0, 0.0]; 2];
        let a = Acquisition::from_gradient_strength(&[0.0, g], &x, timing(), None).unwrap();
        let ratio = (GAMMA_RAD_PER_S_T / 267.513e6_f64).powi(2);
        assert!((a.b_ms_per_um2()[1] / ratio - 1.0).abs() < 1e-6, "{:?}", a.b_ms_per_um2());
        let q = a.shells()[1].q_per_um().unwrap();
        let again = Acquisition::from_q(&[0.0, q], &x, timing(), None).unwrap();
        assert!((again.b_ms_per_um2()[1] - a.b_ms_per_um2()[1]).abs() < 1e-14);
    }

    #[test]
    fn faults_are_named() {
        let x = [1.0, 0.0, 0.0];
        let text = |r: Result<Acquisition, AcquisitionError>| r.unwrap_err().to_string();
        assert!(
            text(Acquisition::from_b(&[1.0], &[[2.0, 0.0, 0.0]], None, None)).contains("length 2")
        );
        assert!(text(Acquisition::from_b(&[1000.0], &[x], None, None)).contains("wrong unit"));
        assert!(text(Acquisition::from_b(&[1.0], &[x, x], None, None)).contains("2 values for 1"));
        assert!(text(Acquisition::from_b(&[f64::NAN], &[x], None, None)).contains("NaN"));
        let wrong = PulseTiming { delta_ms: vec![5.0], big_delta_ms: vec![1.0] };
        assert!(
            text(Acquisition::from_b(&[1.0], &[x], Some(wrong), None)).contains("delta <= Delta")
        );
        assert!(Acquisition::from_b(&[], &[], None, None).is_err());
    }

    #[test]
    fn shells_are_groups_of_equal_weighting() {
        let x = [0.0, 1.0, 0.0];
        let a = Acquisition::from_b(&[2.0, 0.0, 1.0, 2.0], &[x; 4], None, None).unwrap();
        assert_eq!(a.shells().iter().map(|s| s.b).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
        assert_eq!(a.shell_of(), [2, 0, 1, 2]);
    }
}
