//! Free gradient waveforms: the b-tensor by exact integration, and the shape that
//! measurements of one sequence share.
//!
//! $$q(t) = \gamma\int_0^t g\,dt',\qquad B = \int_0^T q\,q^T\,dt,\qquad q(T) = 0$$
//!
//! Sample $k$ of the effective gradient holds on $[k\,dt, (k+1)\,dt)$, so $q$ is
//! piecewise linear and each piece of $B$ is $\tfrac{dt}{3}[q_0q_0^T + q_1q_1^T +
//! \tfrac12(q_0q_1^T + q_1q_0^T)]$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $g$ | T/m | effective gradient: its sign reverses at a refocusing pulse |
//! | $q$ | rad/µm | here without the 2π |
//! | $B$ | ms/µm² | |
//!
//! A [`Waveform`] is a shape: the gradient scaled to b = 1 ms/µm² in a frame of its
//! own, so that the directions and b-values of a sequence have one in common.
//! In the Gaussian phase approximation a mode of rate $a$ sees it as
//! $M(a) = \gamma^2\iint g(t)\,g(t')^T e^{-a|t-t'|}\,dt\,dt'$ ([`Waveform::correlation`]).
//!
//! Source: Mattiello, Basser & Le Bihan 1994, doi:10.1006/jmra.1994.1103 (b-matrix);
//! Lundell & Lasič 2020, doi:10.1039/9781788019910-00012 (M for tensor encoding).
//! Validated by `tests/suite/encoding.rs`.

use super::b_tensor::{ROUNDING, Shape, Symmetric};
use super::{AcquisitionError, GAMMA_PER_MS_UM};
use microtome_kernels::correlation::exponential;
use microtome_kernels::vector::{cross, dot};
use serde::{Deserialize, Serialize};

/// Largest final moment, relative to the largest one.
const MOMENT: f64 = 1e-3;
/// How far M may be from axial symmetry, relative to its trace.
const AXISYMMETRY: f64 = 1e-3;
/// Samples below this share of the largest do not decide about frames.
const SMALL: f64 = 0.1;

/// The shape of a gradient waveform: scaled to b = 1 ms/µm², in its own frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Samples", into = "Samples")]
pub struct Waveform {
    samples: Samples,
    b_delta: Option<f64>,
    /// Runs of equal samples: their lengths, ms.
    duration: Vec<f64>,
    /// Components of γg along the axis of symmetry and across it, `[piece]`.
    components: Vec<Vec<f64>>,
    /// Along the axis, and the mean of the two directions across.
    steps: [Steps; 2],
    /// Whether M has the symmetry of the b-tensor at all rates.
    symmetric: bool,
}

/// What decides a waveform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    /// Spacing, ms.
    dt_ms: f64,
    /// Gradient, T/m at b = 1 ms/µm².
    gradient_t_per_m: Vec<[f64; 3]>,
}

/// $M(a)$ along the axis of symmetry and across it, at b = 1 ms/µm²; each with its
/// derivative in $a$. Unit 1/µm².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// $M_\parallel$ and $dM_\parallel/da$.
    pub along: [f64; 2],
    /// $M_\perp$ and $dM_\perp/da$, in each direction across.
    pub across: [f64; 2],
}

/// Fast limits of one component of γg at b = 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Steps {
    /// $\sum h_ig_i^2$, 1/(µm² ms).
    pub(crate) energy: f64,
    /// $\tfrac12[g_1^2 + g_n^2 + \sum(g_i - g_{i+1})^2]$, 1/(µm² ms²).
    pub(crate) jumps: f64,
}

impl Waveform {
    /// The shape of b-tensor of the waveform: 1 linear, 0 spherical, -1/2 planar;
    /// `None` without an axis of symmetry.
    pub fn b_delta(&self) -> Option<f64> {
        self.b_delta
    }

    /// Spacing of the samples, ms.
    pub fn dt_ms(&self) -> f64 {
        self.samples.dt_ms
    }

    /// The gradient at b = 1 ms/µm² in the frame of the waveform, T/m `[time]`.
    pub fn gradient_t_per_m(&self) -> &[[f64; 3]] {
        &self.samples.gradient_t_per_m
    }

    /// Whether the spectra share the symmetry of the b-tensor, so that restricted
    /// diffusion across an axis depends on the angle to the axis of encoding only
    /// (always true for linear encoding).
    pub fn is_symmetric(&self) -> bool {
        self.symmetric
    }

    /// $M$ at a rate in 1/ms.
    ///
    /// # Units
    /// 1/µm², at b = 1 ms/µm²: multiply by b.
    pub fn correlation(&self, rate: f64) -> Correlation {
        let part = |k: usize| exponential(&self.duration, &self.components[k], rate);
        let along = part(0);
        if self.components.len() == 1 {
            return Correlation { along, across: [0.0; 2] };
        }
        let (y, z) = (part(1), part(2));
        Correlation { along, across: [0.5 * (y[0] + z[0]), 0.5 * (y[1] + z[1])] }
    }

    /// Fast limits of M along the axis and across it.
    pub(crate) fn steps(&self) -> [Steps; 2] {
        self.steps
    }

    /// From samples at b = 1 in a canonical frame.
    fn new(samples: Samples) -> Result<Self, AcquisitionError> {
        let wrong = |what: String| AcquisitionError::Waveform { what };
        let measured = Measured::of(&samples.gradient_t_per_m, samples.dt_ms)
            .map_err(|f| f.error(0))?
            .ok_or_else(|| wrong("a stored waveform is zero".into()))?;
        if (measured.shape.b - 1.0).abs() > 1e-9 {
            let b = measured.shape.b;
            return Err(wrong(format!(
                "a stored waveform has b = {b}; it must be scaled to 1 ms/um2"
            )));
        }
        let (duration, pieces) = runs(&samples);
        let frame = frame_of(&measured.tensor, &measured.shape);
        let linear = measured.shape.b_delta == Some(1.0);
        let components: Vec<Vec<f64>> = (0..if linear { 1 } else { 3 })
            .map(|k| pieces.iter().map(|g| GAMMA_PER_MS_UM * dot(*g, frame[k])).collect())
            .collect();
        let limits = |k: usize| components.get(k).map_or(Steps::default(), |g| fast(&duration, g));
        let (y, z) = (limits(1), limits(2));
        let across =
            Steps { energy: 0.5 * (y.energy + z.energy), jumps: 0.5 * (y.jumps + z.jumps) };
        let steps = [limits(0), across];
        let mut out = Self {
            b_delta: measured.shape.b_delta,
            samples,
            duration,
            components,
            steps,
            symmetric: true,
        };
        out.symmetric = linear || out.has_symmetric_spectra();
        Ok(out)
    }

    /// Compares M at rates from slow to fast with its symmetry.
    fn has_symmetric_spectra(&self) -> bool {
        let Some(b_delta) = self.b_delta else { return false };
        let total: f64 = self.duration.iter().sum();
        let sum = |i: usize, j: usize| -> Vec<f64> {
            self.components[i].iter().zip(&self.components[j]).map(|(a, b)| a + b).collect()
        };
        let mixed = [sum(0, 1), sum(0, 2), sum(1, 2)];
        [0.03, 0.3, 3.0, 30.0, 300.0, 3000.0].into_iter().all(|x| {
            let rate = x / total;
            let of = |v: &[f64]| exponential(&self.duration, v, rate)[0];
            let own: Vec<f64> = self.components.iter().map(|v| of(v)).collect();
            let limit = AXISYMMETRY * (own[0] + own[1] + own[2]);
            let pairs = [(0, 1), (0, 2), (1, 2)];
            // (u + v)(u + v) = uu + vv + 2uv.
            pairs.iter().zip(&mixed).all(|((i, j), v)| (of(v) - own[*i] - own[*j]).abs() <= limit)
                && (own[1] - own[2]).abs() <= limit
                && (b_delta != 0.0 || (own[0] - own[1]).abs() <= limit)
        })
    }

    /// Whether other samples are this shape, but for rounding.
    fn equals(&self, other: &Samples) -> bool {
        let own = &self.samples.gradient_t_per_m;
        let limit = ROUNDING * largest(own);
        self.samples.dt_ms == other.dt_ms
            && own.len() == other.gradient_t_per_m.len()
            && own
                .iter()
                .zip(&other.gradient_t_per_m)
                .all(|(a, b)| (0..3).all(|i| (a[i] - b[i]).abs() <= limit))
    }
}

impl TryFrom<Samples> for Waveform {
    type Error = AcquisitionError;
    fn try_from(samples: Samples) -> Result<Self, AcquisitionError> {
        Self::new(samples)
    }
}

impl From<Waveform> for Samples {
    fn from(waveform: Waveform) -> Self {
        waveform.samples
    }
}

/// Why samples are no waveform.
pub(super) enum Fault {
    Moment(f64),
    Tensor(String),
}

impl Fault {
    pub(super) fn error(self, measurement: usize) -> AcquisitionError {
        match self {
            Fault::Moment(share) => AcquisitionError::Moment { measurement, share },
            Fault::Tensor(what) => AcquisitionError::Tensor { measurement, what },
        }
    }
}

/// The b-tensor of one measurement.
pub(super) struct Measured {
    pub(super) tensor: Symmetric,
    pub(super) shape: Shape,
}

impl Measured {
    /// Integrates; `None` where the gradient is zero throughout.
    pub(super) fn of(gradient: &[[f64; 3]], dt_ms: f64) -> Result<Option<Self>, Fault> {
        let mut tensor = [0.0; 6];
        let (mut q, mut most) = ([0.0; 3], 0.0_f64);
        const PAIRS: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
        for g in gradient {
            let next: [f64; 3] = std::array::from_fn(|i| q[i] + GAMMA_PER_MS_UM * dt_ms * g[i]);
            for (sum, (i, j)) in tensor.iter_mut().zip(PAIRS) {
                let mixed = 0.5 * (q[i] * next[j] + q[j] * next[i]);
                *sum += dt_ms / 3.0 * (q[i] * q[j] + next[i] * next[j] + mixed);
            }
            q = next;
            most = most.max(dot(q, q).sqrt());
        }
        if most == 0.0 {
            return Ok(None);
        }
        let share = dot(q, q).sqrt() / most;
        if share.is_nan() || share > MOMENT {
            return Err(Fault::Moment(share));
        }
        let shape = Shape::of(&tensor).map_err(Fault::Tensor)?;
        Ok(Some(Self { tensor, shape }))
    }
}

/// Finds the shape of a measured gradient among known ones, or adds it; its index.
pub(super) fn register(
    gradient: &[[f64; 3]],
    dt_ms: f64,
    b: f64,
    known: &mut Vec<Waveform>,
) -> Result<usize, AcquisitionError> {
    let frame = own_frame(gradient);
    let scale = 1.0 / b.sqrt();
    let turned = |g: &[f64; 3]| frame.map(|axis| scale * dot(*g, axis));
    let samples = Samples { dt_ms, gradient_t_per_m: gradient.iter().map(turned).collect() };
    if let Some(found) = known.iter().position(|w| w.equals(&samples)) {
        return Ok(found);
    }
    known.push(Waveform::new(samples)?);
    Ok(known.len() - 1)
}

/// A frame that turns with the gradient: its first strong sample, and the first
/// one that is across it.
fn own_frame(gradient: &[[f64; 3]]) -> [[f64; 3]; 3] {
    let limit = SMALL * largest(gradient);
    let norm = |v: [f64; 3]| dot(v, v).sqrt();
    let unit = |v: [f64; 3]| {
        let n = norm(v);
        v.map(|c| c / n)
    };
    let Some(first) = gradient.iter().find(|g| norm(**g) >= limit) else {
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    };
    let x = unit(*first);
    let across = |g: &[f64; 3]| -> [f64; 3] {
        let along = dot(*g, x);
        std::array::from_fn(|i| g[i] - along * x[i])
    };
    let y = match gradient.iter().map(across).find(|v| norm(*v) >= limit) {
        Some(v) => unit(v),
        None => perpendicular(x),
    };
    [x, y, cross(x, y)]
}

/// The axis of symmetry and two directions across it.
fn frame_of(tensor: &Symmetric, shape: &Shape) -> [[f64; 3]; 3] {
    // Spherical encoding has no direction: any axis will do.
    let x = if shape.direction == [0.0; 3] {
        super::b_tensor::eigen(tensor).1[0]
    } else {
        shape.direction
    };
    let y = perpendicular(x);
    [x, y, cross(x, y)]
}

/// A unit vector across another.
fn perpendicular(x: [f64; 3]) -> [f64; 3] {
    let mut axis = [0.0; 3];
    let small = (0..3).min_by(|&i, &j| x[i].abs().total_cmp(&x[j].abs())).unwrap_or(0);
    axis[small] = 1.0;
    let v = cross(x, axis);
    let n = dot(v, v).sqrt();
    v.map(|c| c / n)
}

/// Runs of equal samples: lengths and gradients.
fn runs(samples: &Samples) -> (Vec<f64>, Vec<[f64; 3]>) {
    let (mut duration, mut pieces): (Vec<f64>, Vec<[f64; 3]>) = (Vec::new(), Vec::new());
    let mut count = 0_u32;
    for (k, g) in samples.gradient_t_per_m.iter().enumerate() {
        count += 1;
        if samples.gradient_t_per_m.get(k + 1) != Some(g) {
            duration.push(f64::from(count) * samples.dt_ms);
            pieces.push(*g);
            count = 0;
        }
    }
    (duration, pieces)
}

/// The fast limits of one component.
fn fast(duration: &[f64], g: &[f64]) -> Steps {
    let energy = duration.iter().zip(g).map(|(h, g)| h * g * g).sum();
    let inner: f64 = g.windows(2).map(|w| (w[0] - w[1]) * (w[0] - w[1])).sum();
    let ends = [g.first(), g.last()].into_iter().flatten().map(|g| g * g).sum::<f64>();
    Steps { energy, jumps: 0.5 * (inner + ends) }
}

fn largest(gradient: &[[f64; 3]]) -> f64 {
    gradient.iter().map(|g| dot(*g, *g)).fold(0.0, f64::max).sqrt()
}
