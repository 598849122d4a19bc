//! The gradients of all measurements as few piecewise-constant profiles.
//!
//! $$\gamma G_m(t) = \sum_p A_{mp} f_p(t),\qquad A_{mp}\in\mathbb R^3$$
//!
//! so that a walker keeps one sum of positions a profile instead of one a measurement: all
//! pulse pairs of one (δ, Δ) share a single profile, all turns of one waveform at most
//! three. Within a step of the walk, from $t_k$ to $t_k + h$, the path is straight, and
//! its ends count
//!
//! $$w_k^0 = \int f(t)\,\Bigl(1 - \frac{t - t_k}h\Bigr)dt,\qquad
//!   w_k^1 = \int f(t)\,\frac{t - t_k}h\,dt,$$
//!
//! exactly, wherever the edges of f lie. What a free path does between its ends (a Brownian
//! bridge) multiplies the signal by
//!
//! $$\exp\Bigl(-D\sum_k\Bigl[\int_0^h Q_k^2\,dt - \frac1h\Bigl(\int_0^h Q_k\,dt\Bigr)^2\Bigr]\Bigr),
//!   \qquad Q_k(t) = \int_t^{t_k + h}\gamma G\,dt',$$
//!
//! which makes free diffusion exact at any step; near walls it is right to the order of
//! the steps that meet them.
//!
//! | symbol | unit |
//! |---|---|
//! | $\gamma G$ | rad/(ms µm) |
//! | t, h | ms |
//! | f | none |
//!
//! Validated by the tests below and by `free_signals_are_exact` in `tests/suite/simulation.rs`.

use super::SubstrateError;
use crate::{Acquisition, GAMMA_RAD_PER_S_T};
use microtome_kernels::walk::{NodeWeight, Protocol, Reading};

/// γ·(1 T/m) in rad/(ms µm).
const GAMMA_PER_MS_UM: f64 = GAMMA_RAD_PER_S_T * 1e-9;
/// A waveform that the profiles so far give to this share of its size needs no new one.
const NEW_PROFILE: f64 = 1e-12;
/// Moments above this share of their largest do not refocus.
const MOMENT: f64 = 1e-3;

/// Measurements that are read at the same time.
#[derive(Clone, Debug, PartialEq)]
struct Together {
    /// Time of the reading.
    end: f64,
    /// Where profiles may change: rising from 0 to `end`; empty where there is no gradient.
    edges: Vec<f64>,
    /// `[profile][interval]`.
    profiles: Vec<Vec<f64>>,
    measurements: Vec<usize>,
    /// `[measurement][profile]`.
    amplitudes: Vec<Vec<[f64; 3]>>,
}

/// The gradients of all measurements.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// By rising end.
    together: Vec<Together>,
    measurements: usize,
    largest_gamma_g: f64,
    unbalanced: Vec<usize>,
}

impl Sequence {
    /// Pulse pairs: the first on [0, δ], the second on [Δ, Δ + δ], where the signal is read.
    /// Measurements without pulses and times are read at 0.
    ///
    /// # Errors
    /// Weighting without δ and Δ, or not linear; δ above Δ.
    pub fn from_pulses(acquisition: &Acquisition) -> Result<Self, SubstrateError> {
        if !acquisition.waveforms().is_empty() {
            return Err(SubstrateError::sequence("waveforms are given as they are, not as pulses"));
        }
        if !acquisition.is_linear() {
            return Err(SubstrateError::sequence(
                "b-tensors do not tell the gradient over time; give the waveforms",
            ));
        }
        let n = acquisition.len();
        let (b, timing) = (acquisition.b_ms_per_um2(), acquisition.timing());
        let mut together: Vec<Together> = Vec::new();
        let mut largest = 0.0_f64;
        for (m, &b) in b.iter().enumerate() {
            let times = timing.map(|t| [t.delta_ms[m], t.big_delta_ms[m]]);
            let [delta, big] = times.unwrap_or([0.0; 2]);
            let pulses = delta > 0.0 && big > 0.0;
            if b > 0.0 && !pulses {
                return Err(SubstrateError::sequence(format!(
                    "measurement {m} (counted from 0) has b > 0 but no delta and Delta; a walk needs the times of the pulses"
                )));
            }
            if pulses && delta > big {
                return Err(SubstrateError::sequence(format!(
                    "measurement {m} (counted from 0): delta = {delta} ms is longer than Delta = {big} ms, so the pulses overlap"
                )));
            }
            let gamma_g = if b > 0.0 { (b / (big - delta / 3.0)).sqrt() / delta } else { 0.0 };
            largest = largest.max(gamma_g);
            let g = acquisition.directions()[m];
            let amplitude = if gamma_g > 0.0 { g.map(|v| v * gamma_g) } else { [0.0; 3] };
            let (edges, profile) = if pulses {
                (vec![0.0, delta, big, big + delta], vec![1.0, 0.0, -1.0])
            } else {
                (Vec::new(), Vec::new())
            };
            let end = edges.last().copied().unwrap_or(0.0);
            let found = together.iter_mut().find(|t| t.edges == edges);
            match found {
                Some(t) => {
                    t.measurements.push(m);
                    t.amplitudes.push(vec![amplitude; t.profiles.len()]);
                }
                None => {
                    let profiles = if pulses { vec![profile] } else { Vec::new() };
                    let amplitudes = vec![vec![amplitude; profiles.len()]];
                    together.push(Together {
                        end,
                        edges,
                        profiles,
                        measurements: vec![m],
                        amplitudes,
                    });
                }
            }
        }
        together.sort_by(|a, b| a.end.total_cmp(&b.end));
        Ok(Self { together, measurements: n, largest_gamma_g: largest, unbalanced: Vec::new() })
    }

    /// Effective gradients in T/m, sample k on [k dt, (k+1) dt), read at the end.
    ///
    /// # Shapes
    /// `gradient` `[measurement, time, 3]`.
    ///
    /// # Errors
    /// No samples, samples that are not finite, a spacing that is not positive.
    pub fn from_waveforms(
        gradient: &[f64],
        times: usize,
        dt_ms: f64,
    ) -> Result<Self, SubstrateError> {
        if !(dt_ms.is_finite() && dt_ms > 0.0) {
            return Err(SubstrateError::sequence(format!(
                "samples are {dt_ms} ms apart; a positive number is needed"
            )));
        }
        if times == 0 || gradient.is_empty() || !gradient.len().is_multiple_of(3 * times) {
            return Err(SubstrateError::sequence(format!(
                "{} numbers are no [measurement, {times}, 3] waveforms",
                gradient.len()
            )));
        }
        let n = gradient.len() / (3 * times);
        let mut basis = Basis::default();
        let (mut amplitudes, mut unbalanced, mut largest) = (Vec::new(), Vec::new(), 0.0_f64);
        for (m, samples) in gradient.chunks_exact(3 * times).enumerate() {
            if let Some(i) = samples.iter().position(|v| !v.is_finite()) {
                return Err(SubstrateError::sequence(format!(
                    "measurement {m}, sample {} (counted from 0) is {}; gradients are finite numbers in T/m",
                    i / 3,
                    samples[i]
                )));
            }
            let component = |a: usize| -> Vec<f64> {
                samples.iter().skip(a).step_by(3).map(|g| GAMMA_PER_MS_UM * g).collect()
            };
            let rows = [component(0), component(1), component(2)];
            let (mut q, mut most) = ([0.0; 3], 0.0_f64);
            for k in 0..times {
                let mut square = 0.0;
                for (q, row) in q.iter_mut().zip(&rows) {
                    *q += dt_ms * row[k];
                    square += row[k] * row[k];
                }
                largest = largest.max(square.sqrt());
                most = most.max(norm(q));
            }
            if norm(q) > MOMENT * most {
                unbalanced.push(m);
            }
            let coefficients = rows.map(|row| basis.coefficients(row));
            amplitudes.push(coefficients);
        }
        let profiles = basis.profiles;
        let of = |c: &[Vec<f64>; 3], p: usize| {
            [0, 1, 2].map(|a: usize| c[a].get(p).copied().unwrap_or(0.0))
        };
        let amplitudes =
            amplitudes.iter().map(|c| (0..profiles.len()).map(|p| of(c, p)).collect()).collect();
        let edges: Vec<f64> = (0..=times).map(|k| k as f64 * dt_ms).collect();
        let together = Together {
            end: times as f64 * dt_ms,
            edges,
            profiles,
            measurements: (0..n).collect(),
            amplitudes,
        };
        Ok(Self { together: vec![together], measurements: n, largest_gamma_g: largest, unbalanced })
    }

    /// Number of measurements.
    pub fn len(&self) -> usize {
        self.measurements
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.measurements == 0
    }

    /// Measurements whose gradient does not refocus: the moment at the end is above a
    /// thousandth of its largest.
    pub fn unbalanced(&self) -> &[usize] {
        &self.unbalanced
    }

    /// Time of the last reading, ms.
    pub fn duration_ms(&self) -> f64 {
        self.together.last().map_or(0.0, |t| t.end)
    }

    /// Largest γ|G|, rad/(ms µm).
    pub(super) fn largest_gamma_g(&self) -> f64 {
        self.largest_gamma_g
    }

    /// Time of the reading of every measurement, ms.
    pub fn ends_ms(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.measurements];
        for t in &self.together {
            for m in &t.measurements {
                out[*m] = t.end;
            }
        }
        out
    }

    /// The gradient of every measurement as intervals: length (ms) and γG in rad/(ms µm).
    pub(super) fn intervals(&self) -> Vec<Vec<(f64, [f64; 3])>> {
        let mut out = vec![Vec::new(); self.measurements];
        for t in &self.together {
            for (m, amplitudes) in t.measurements.iter().zip(&t.amplitudes) {
                if t.edges.is_empty() {
                    out[*m] = vec![(t.end, [0.0; 3])];
                    continue;
                }
                let of = |j: usize| {
                    let mut g = [0.0; 3];
                    for (p, amplitude) in t.profiles.iter().zip(amplitudes) {
                        for (g, a) in g.iter_mut().zip(amplitude) {
                            *g += p[j] * a;
                        }
                    }
                    (t.edges[j + 1] - t.edges[j], g)
                };
                out[*m] = (0..t.edges.len() - 1).map(of).collect();
            }
        }
        out
    }

    /// Steps no longer than `step_ms` with the readings at their ends, and for every
    /// measurement the exponent of the bridges over D, ms/µm².
    pub(super) fn protocol(
        &self,
        step_ms: f64,
        turn: impl Fn([f64; 3]) -> [f64; 3],
    ) -> (Protocol, Vec<f64>) {
        let mut times = vec![0.0];
        for t in &self.together {
            let begin = times[times.len() - 1];
            if t.end > begin {
                let n = ((t.end - begin) / step_ms * (1.0 - 1e-12)).ceil().max(1.0);
                let h = (t.end - begin) / n;
                times.extend((1..n as usize).map(|k| begin + k as f64 * h));
                times.push(t.end);
            }
        }
        let mut protocol = Protocol {
            steps: times.windows(2).map(|w| w[1] - w[0]).collect(),
            nodes: vec![Vec::new(); times.len()],
            profiles: 0,
            readings: Vec::new(),
            measurements: self.measurements,
        };
        let mut exponents = vec![0.0; self.measurements];
        for t in &self.together {
            let first = protocol.profiles;
            let count = t.profiles.len();
            let mut weights = vec![vec![0.0; times.len()]; count];
            let bridge = t.overlap(&times, &mut weights);
            for (p, row) in weights.iter().enumerate() {
                for (node, weight) in row.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                    protocol.nodes[node].push(NodeWeight { profile: first + p, weight: *weight });
                }
            }
            let mut amplitudes = Vec::new();
            for (m, row) in t.measurements.iter().zip(&t.amplitudes) {
                for (p, a) in row.iter().enumerate() {
                    for (q, b) in row.iter().enumerate() {
                        let product = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
                        exponents[*m] += product * bridge[p * count + q];
                    }
                    amplitudes.push(turn(*a));
                }
            }
            let node = times.iter().position(|x| *x == t.end).unwrap_or(0);
            protocol.profiles += count;
            protocol.readings.push(Reading {
                node,
                profiles: first..protocol.profiles,
                measurements: t.measurements.clone(),
                amplitudes,
            });
        }
        (protocol, exponents)
    }
}

impl Together {
    /// Adds the weights `[profile][node]` of all steps; returns the bridges
    /// `[profile, profile]`.
    fn overlap(&self, times: &[f64], weights: &mut [Vec<f64>]) -> Vec<f64> {
        let n = self.profiles.len();
        let mut bridge = vec![0.0; n * n];
        // Q at the end of the piece, its integral, and the integral of products.
        let (mut q, mut integral, mut square) = (vec![0.0; n], vec![0.0; n], vec![0.0; n * n]);
        let mut interval = self.edges.len().saturating_sub(1);
        for k in (0..times.len() - 1).rev() {
            let (begin, end) = (times[k], times[k + 1]);
            let h = end - begin;
            if self.edges.is_empty() || begin >= self.end {
                continue;
            }
            q.fill(0.0);
            integral.fill(0.0);
            square.fill(0.0);
            let mut right = end.min(self.end);
            while right > begin {
                while interval > 0 && self.edges[interval - 1] >= right {
                    interval -= 1;
                }
                let Some(j) = interval.checked_sub(1) else { break };
                let left = self.edges[j].max(begin);
                let (u, v) = ((left - begin) / h, (right - begin) / h);
                let l = right - left;
                for (p, profile) in self.profiles.iter().enumerate() {
                    let f = profile[j];
                    let late = 0.5 * (v * v - u * u) * h;
                    weights[p][k] += f * (l - late);
                    weights[p][k + 1] += f * late;
                }
                for a in 0..n {
                    let f = self.profiles[a][j];
                    integral[a] += l * (q[a] + 0.5 * f * l);
                    for b in 0..n {
                        let g = self.profiles[b][j];
                        square[a * n + b] += l
                            * (q[a] * q[b] + 0.5 * l * (q[a] * g + q[b] * f) + f * g * l * l / 3.0);
                    }
                }
                for (q, profile) in q.iter_mut().zip(&self.profiles) {
                    *q += profile[j] * l;
                }
                right = left;
            }
            for a in 0..n {
                for b in 0..n {
                    bridge[a * n + b] += square[a * n + b] - integral[a] * integral[b] / h;
                }
            }
        }
        bridge
    }
}

/// Orthonormal profiles, grown row by row.
#[derive(Default)]
struct Basis {
    profiles: Vec<Vec<f64>>,
}

impl Basis {
    /// The coefficients of a row, which may add a profile.
    fn coefficients(&mut self, row: Vec<f64>) -> Vec<f64> {
        let size = norm(row.iter().copied());
        if size == 0.0 {
            return Vec::new();
        }
        let mut rest = row;
        let mut out = vec![0.0; self.profiles.len()];
        // Twice is enough (Kahan, in Parlett 1998, section 6.9).
        for _ in 0..2 {
            for (c, p) in out.iter_mut().zip(&self.profiles) {
                let along: f64 = rest.iter().zip(p).map(|(a, b)| a * b).sum();
                for (r, p) in rest.iter_mut().zip(p) {
                    *r -= along * p;
                }
                *c += along;
            }
        }
        let left = norm(rest.iter().copied());
        if left > NEW_PROFILE * size {
            out.push(left);
            self.profiles.push(rest.iter().map(|r| r / left).collect());
        }
        out
    }
}

fn norm(v: impl IntoIterator<Item = f64>) -> f64 {
    v.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::PulseTiming;

    fn pulses() -> Sequence {
        let timing = PulseTiming {
            delta_ms: vec![0.0, 2.0, 2.0, 3.0],
            big_delta_ms: vec![0.0, 20.0, 20.0, 11.0],
        };
        let g = [[f64::NAN; 3], [1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, 1.0]];
        let a = Acquisition::from_b(&[0.0, 1.0, 2.0, 0.5], &g, Some(timing), None).unwrap();
        Sequence::from_pulses(&a).unwrap()
    }

    #[test]
    fn pulses_of_equal_times_share_a_profile() {
        let s = pulses();
        assert_eq!(s.together.len(), 3);
        assert_eq!(s.ends_ms(), [0.0, 22.0, 22.0, 14.0]);
        let (protocol, exponents) = s.protocol(0.3, |v| v);
        assert_eq!(protocol.profiles, 2);
        assert_eq!(exponents[0], 0.0);
        assert!(protocol.steps.iter().all(|h| *h <= 0.3));
        assert!((protocol.steps.iter().sum::<f64>() - 22.0).abs() < 1e-12);
    }

    /// Weights are moments of the gradient; with the bridges, b is the same at any step.
    #[test]
    fn weights_and_bridges_are_exact_at_any_step() {
        for (sequence, b) in [(pulses(), vec![0.0, 1.0, 2.0, 0.5]), waveform()] {
            for step in [0.013, 0.3, 1.7, 100.0] {
                let (protocol, exponents) = sequence.protocol(step, |v| v);
                for reading in &protocol.readings {
                    let per = reading.profiles.len();
                    for (i, m) in reading.measurements.iter().enumerate() {
                        let amplitudes = &reading.amplitudes[i * per..(i + 1) * per];
                        let mut exponent = exponents[*m];
                        for a in [0, 1, 2] {
                            // Free steps: the variance of the sum over nodes.
                            let mut later = 0.0;
                            for k in (1..protocol.nodes.len()).rev() {
                                for w in &protocol.nodes[k] {
                                    if reading.profiles.contains(&w.profile) {
                                        let p = w.profile - reading.profiles.start;
                                        later += w.weight * amplitudes[p][a];
                                    }
                                }
                                exponent += later * later * protocol.steps[k - 1];
                            }
                        }
                        assert!((exponent - b[*m]).abs() < 1e-11, "{step} {m}: {exponent}");
                    }
                }
            }
        }
    }

    /// Turned and scaled copies of one waveform need three profiles; b by the acquisition.
    fn waveform() -> (Sequence, Vec<f64>) {
        let times = 40;
        let shape = |k: usize| {
            let t = (k as f64 + 0.5) / 40.0 * std::f64::consts::TAU;
            [t.sin(), (2.0 * t).sin(), (3.0 * t).sin() - t.sin()]
        };
        let mut gradient = Vec::new();
        for angle in [0.0, 0.7, 2.0] {
            let (s, c) = f64::sin_cos(angle);
            for k in 0..times {
                let [x, y, z] = shape(k);
                gradient.extend([c * x - s * y, s * x + c * y, z].map(|v| 0.1 * v * (1.0 + angle)));
            }
        }
        let sequence = Sequence::from_waveforms(&gradient, times, 0.5).unwrap();
        assert_eq!(sequence.together[0].profiles.len(), 3);
        assert!(sequence.unbalanced().is_empty());
        let a = Acquisition::from_waveforms(&gradient, times, 0.5, None).unwrap();
        (sequence, a.b_ms_per_um2().to_vec())
    }

    #[test]
    fn wrong_gradients_are_refused() {
        let says = |found: Result<Sequence, SubstrateError>, text: &str| {
            let found = found.unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says(Sequence::from_waveforms(&[0.0; 6], 2, 0.0), "0 ms apart");
        says(Sequence::from_waveforms(&[0.0; 5], 2, 1.0), "5 numbers");
        says(Sequence::from_waveforms(&[0.0, 0.0, 0.0, 0.0, f64::NAN, 0.0], 2, 1.0), "sample 1");
        let x = [[1.0, 0.0, 0.0]];
        let untimed = Acquisition::from_b(&[1.0], &x, None, None).unwrap();
        says(Sequence::from_pulses(&untimed), "no delta");
        let odd = Sequence::from_waveforms(&[0.1, 0.0, 0.0, 0.0, 0.0, 0.0], 2, 1.0).unwrap();
        assert_eq!(odd.unbalanced(), [0]);
    }
}
