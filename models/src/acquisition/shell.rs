//! Shells: measurements with equal timing, weighting and encoding, the unit of
//! evaluation.
//!
//! Shells are numbered in order of (Δ, δ, b, TE), then of the shape of the
//! b-tensor, TR and waveform. Validated by `shells_are_groups_of_equal_weighting`.

use super::waveform::Waveform;
use std::sync::Arc;

/// Measurements of equal Δ, δ, b, TE, shape of the b-tensor, TR and waveform.
#[derive(Debug, Clone, PartialEq)]
pub struct Shell {
    /// b, ms/µm²: the trace of the b-tensor.
    pub b: f64,
    /// δ, ms; `None` when the scheme does not say.
    pub delta_ms: Option<f64>,
    /// Δ, ms; `None` when the scheme does not say.
    pub big_delta_ms: Option<f64>,
    /// Echo time, ms; `None` when the scheme does not say.
    pub te_ms: Option<f64>,
    /// Shape of the b-tensor: 1 linear, 0 spherical, -1/2 planar; `None` when it
    /// has no axis of symmetry.
    pub b_delta: Option<f64>,
    /// Repetition time, ms; `None` when the scheme does not say.
    pub tr_ms: Option<f64>,
    /// The free waveform that was played, scaled to b = 1; `None` for pulses.
    pub waveform: Option<Arc<Waveform>>,
}

impl Default for Shell {
    /// b = 0 of a scheme that says nothing else.
    fn default() -> Self {
        Self {
            b: 0.0,
            delta_ms: None,
            big_delta_ms: None,
            te_ms: None,
            b_delta: Some(1.0),
            tr_ms: None,
            waveform: None,
        }
    }
}

impl Shell {
    /// Linear encoding by a pair of pulses; ms/µm² and ms.
    pub fn pulsed(b: f64, delta_ms: f64, big_delta_ms: f64) -> Self {
        Self { b, delta_ms: Some(delta_ms), big_delta_ms: Some(big_delta_ms), ..Self::default() }
    }

    /// τ = Δ - δ/3, ms.
    pub fn tau_ms(&self) -> Option<f64> {
        Some(self.big_delta_ms? - self.delta_ms? / 3.0)
    }

    /// γGδ = sqrt(b/τ), rad/µm; zero at b = 0.
    pub fn gamma_g_delta(&self) -> Option<f64> {
        if self.b == 0.0 {
            return Some(0.0);
        }
        Some((self.b / self.tau_ms()?).sqrt())
    }

    /// q = γGδ/2π, 1/µm.
    pub fn q_per_um(&self) -> Option<f64> {
        Some(self.gamma_g_delta()? / std::f64::consts::TAU)
    }

    /// $b_\circ = b(1 - b_\Delta)/3$, the part of the b-tensor
    /// $B = b_\circ I + b_a\,gg^T$ that weights all directions alike; 0 for linear
    /// encoding, NaN without an axis of symmetry.
    pub fn b_isotropic(&self) -> f64 {
        self.b * (1.0 - self.b_delta.unwrap_or(f64::NAN)) / 3.0
    }

    /// $b_a = b\,b_\Delta$, the part of the b-tensor that weights the direction $g$;
    /// b for linear encoding, NaN without an axis of symmetry.
    pub fn b_axial(&self) -> f64 {
        self.b * self.b_delta.unwrap_or(f64::NAN)
    }

    /// Whether diffusion is encoded along one direction, as by a pair of pulses.
    pub fn is_linear(&self) -> bool {
        self.b_delta == Some(1.0)
    }
}

/// The lists that decide to which shell a measurement belongs.
pub(super) struct Keys<'a> {
    pub(super) b: &'a [f64],
    pub(super) timing: Option<&'a super::PulseTiming>,
    pub(super) te_ms: Option<&'a [f64]>,
    pub(super) tr_ms: Option<&'a [f64]>,
    /// `None` where a b-tensor has no axis of symmetry.
    pub(super) b_delta: Option<&'a [Option<f64>]>,
    /// Numbers of the waveforms, 0 for none.
    pub(super) waveform_of: Option<&'a [usize]>,
    pub(super) waveforms: &'a [Arc<Waveform>],
}

/// Sorts measurements into shells: the shells, and the shell of every measurement.
pub(super) fn group(keys: &Keys<'_>) -> (Vec<Shell>, Vec<usize>) {
    let (b, timing) = (keys.b, keys.timing);
    let of = |list: Option<&[f64]>, i: usize| list.map(|v| v[i]);
    let shape = |i: usize| keys.b_delta.map_or(Some(1.0), |v| v[i]);
    let waveform = |i: usize| keys.waveform_of.map_or(0, |w| w[i]);
    let key = |i: usize| {
        let (delta, big_delta) = timing.map_or((0.0, 0.0), |t| (t.delta_ms[i], t.big_delta_ms[i]));
        // Linear shells stand before other ones of the same b and TE.
        let shape = shape(i).map_or(2.0, |b_delta| 1.0 - b_delta);
        let (te, tr) = (of(keys.te_ms, i).unwrap_or(0.0), of(keys.tr_ms, i).unwrap_or(0.0));
        [big_delta, delta, b[i], te, shape, tr, waveform(i) as f64]
    };
    let all: Vec<[f64; 7]> = (0..b.len()).map(key).collect();
    let mut order: Vec<usize> = (0..b.len()).collect();
    order.sort_by(|&i, &j| compare(&all[i], &all[j]));
    let mut shells: Vec<Shell> = Vec::new();
    let mut shell_of = vec![0; b.len()];
    let mut last: Option<usize> = None;
    for i in order {
        if last.is_none_or(|l| compare(&all[l], &all[i]).is_ne()) {
            shells.push(Shell {
                b: b[i],
                delta_ms: timing.map(|t| t.delta_ms[i]),
                big_delta_ms: timing.map(|t| t.big_delta_ms[i]),
                te_ms: of(keys.te_ms, i),
                b_delta: shape(i),
                tr_ms: of(keys.tr_ms, i),
                waveform: waveform(i).checked_sub(1).map(|w| keys.waveforms[w].clone()),
            });
            last = Some(i);
        }
        shell_of[i] = shells.len() - 1;
    }
    (shells, shell_of)
}

fn compare(x: &[f64; 7], y: &[f64; 7]) -> std::cmp::Ordering {
    x.iter()
        .zip(y)
        .map(|(p, q)| p.total_cmp(q))
        .find(|o| o.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}
