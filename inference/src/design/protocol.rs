//! A protocol: a few shells of equal pulses, and how it follows from coordinates without
//! bounds.
//!
//! With $t(z) = (1 + \sin z)/2$, the span $T = TE - t_\mathrm{over}$ and its least value
//! $T_0 = 2\delta_\mathrm{min} + t_\mathrm{gap}$,
//!
//! $$T = T_0 + (T_\mathrm{max} - T_0)\,t(z_0),\quad
//!   D_s = T_0 + (T - T_0)\,t(z_{s1}),\quad
//!   \delta_s = \delta_\mathrm{min} + (h_s - \delta_\mathrm{min})\,t(z_{s2}),\quad
//!   \Delta_s = D_s - \delta_s$$
//! $$G_s = G_0 + (G_h - G_0)\,t(z_{s3}),\quad b_s = (\gamma G_s\delta_s)^2(\Delta_s - \delta_s/3),\quad
//!   N_s = N_\mathrm{min} + N_\mathrm{rest}\,\frac{e^{z_{s4}}}{1 + \sum e^{z_{s4}}}$$
//!
//! with $h_s$ the lesser of the longest pulse and $(D_s - t_\mathrm{gap})/2$, and $G_h$ that of
//! the strongest gradient and what the largest b allows. All limits hold for every $z$;
//! the ends of the intervals are reached at finite $z$. The 1 in the last denominator is
//! b = 0 (absent when its number is given).
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $D_s = \Delta_s + \delta_s$ | ms | from the start of the first to the end of the second pulse |
//! | $G_0$ | T/m | 2 % of the strongest gradient |
//! | $N_s$ | 1 | measurements, not yet whole |
//!
//! Source: Alexander 2008, doi:10.1002/mrm.21646 (what is chosen). Validated by
//! `pullback_equals_difference` and `every_point_is_within_the_limits`.

use super::limits::Limits;
use microtome_models::information::{Encoding, EncodingGradient};
use microtome_models::{GAMMA_RAD_PER_S_T, PulseTiming, half_sphere};

/// γ·(1 T/m) in rad/(ms µm).
const GAMMA_PER_MS_UM: f64 = GAMMA_RAD_PER_S_T * 1e-9;
/// Weakest gradient of a shell, of the strongest.
const WEAKEST: f64 = 0.02;
/// Coordinates of a shell.
const OF_SHELL: usize = 4;

/// Measurements of equal pulses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PulseShell {
    /// Gradient strength, T/m.
    pub gradient_t_per_m: f64,
    /// Pulse duration, ms.
    pub delta_ms: f64,
    /// Separation of leading edges, ms.
    pub big_delta_ms: f64,
    /// Number of measurements; whole in a finished design.
    pub measurements: f64,
}

impl PulseShell {
    /// b, ms/µm².
    pub fn b(&self) -> f64 {
        let phase = GAMMA_PER_MS_UM * self.gradient_t_per_m * self.delta_ms;
        phase * phase * (self.big_delta_ms - self.delta_ms / 3.0)
    }
}

/// Shells, b = 0 and one echo time for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Protocol {
    /// The weighted shells.
    pub shells: Vec<PulseShell>,
    /// Measurements at b = 0.
    pub b0: f64,
    /// Echo time, ms.
    pub te_ms: f64,
}

/// $t(z)$ and its slope.
fn unit(z: f64) -> (f64, f64) {
    (0.5 * (1.0 + z.sin()), 0.5 * z.cos())
}

/// The map from coordinates to protocols.
#[derive(Debug, Clone)]
pub(super) struct Coordinates<'a> {
    limits: &'a Limits,
    /// Directions that stand for a shell of any number of measurements.
    directions: Vec<Vec<[f64; 3]>>,
}

/// How one shell came about.
struct Step {
    shell: PulseShell,
    span: f64,
    half: f64,
    half_by_span: f64,
    strongest: f64,
    by_b: bool,
}

impl<'a> Coordinates<'a> {
    pub(super) fn new(limits: &'a Limits, directions: usize) -> Self {
        // The lattice turned about its pole for every shell.
        let turned = |s: usize| {
            let (sin, cos) = (0.7 * s as f64).sin_cos();
            let turn = |g: [f64; 3]| [cos * g[0] - sin * g[1], sin * g[0] + cos * g[1], g[2]];
            half_sphere(directions).into_iter().map(turn).collect()
        };
        Self { limits, directions: (0..limits.shells).map(turned).collect() }
    }

    pub(super) fn dim(&self) -> usize {
        1 + OF_SHELL * self.limits.shells
    }

    /// Measurements that are free to be shared out.
    fn rest(&self) -> f64 {
        let l = self.limits;
        (l.measurements - l.shells * l.min_directions - l.b0.unwrap_or(1)) as f64
    }

    /// Shares of the shells; b = 0 has what is left of 1, nothing when its number is given.
    fn shares(&self, z: &[f64]) -> Vec<f64> {
        let logits: Vec<f64> = z[1..].chunks_exact(OF_SHELL).map(|c| c[3]).collect();
        let zero = if self.limits.b0.is_some() { f64::NEG_INFINITY } else { 0.0 };
        let top = logits.iter().copied().fold(zero, f64::max);
        let weight: Vec<f64> = logits.iter().map(|v| (v - top).exp()).collect();
        let sum = (zero - top).exp() + weight.iter().sum::<f64>();
        weight.iter().map(|w| w / sum).collect()
    }

    fn span(&self, z: &[f64]) -> f64 {
        let (least, longest) = (self.limits.least_span_ms(), self.limits.longest_span_ms());
        least + (longest - least) * unit(z[0]).0
    }

    fn steps(&self, z: &[f64]) -> Vec<Step> {
        let l = self.limits;
        let (least, longest) = (l.least_span_ms(), self.span(z));
        let (shares, rest) = (self.shares(z), self.rest());
        let step = |(c, share): (&[f64], &f64)| {
            let span = least + (longest - least) * unit(c[0]).0;
            let by_span = 0.5 * (span - l.gap_ms);
            let (half, half_by_span) =
                if by_span < l.max_delta_ms { (by_span, 0.5) } else { (l.max_delta_ms, 0.0) };
            let delta_ms = l.min_delta_ms + (half - l.min_delta_ms) * unit(c[1]).0;
            let big_delta_ms = span - delta_ms;
            let tau = big_delta_ms - delta_ms / 3.0;
            let of_b = (l.max_b / tau).sqrt() / (GAMMA_PER_MS_UM * delta_ms);
            let by_b = of_b < l.max_gradient_t_per_m;
            let strongest = if by_b { of_b } else { l.max_gradient_t_per_m };
            let weakest = WEAKEST * strongest;
            let gradient_t_per_m = weakest + (strongest - weakest) * unit(c[2]).0;
            let measurements = l.min_directions as f64 + rest * share;
            let shell = PulseShell { gradient_t_per_m, delta_ms, big_delta_ms, measurements };
            Step { shell, span, half, half_by_span, strongest, by_b }
        };
        z[1..].chunks_exact(OF_SHELL).zip(&shares).map(step).collect()
    }

    /// The protocol of a point.
    pub(super) fn protocol(&self, z: &[f64]) -> Protocol {
        let shells: Vec<PulseShell> = self.steps(z).into_iter().map(|s| s.shell).collect();
        let weighted: f64 = shells.iter().map(|s| s.measurements).sum();
        let b0 = self.limits.b0.map_or(self.limits.measurements as f64 - weighted, |n| n as f64);
        Protocol { shells, b0, te_ms: self.span(z) + self.limits.overhead_ms }
    }

    /// A protocol as an acquisition in which each shell has a fixed set of directions.
    pub(super) fn encoding(&self, protocol: &Protocol) -> Encoding {
        let mut out = Encoding::default();
        let mut timing = PulseTiming { delta_ms: Vec::new(), big_delta_ms: Vec::new() };
        let first = protocol.shells.first().map_or([1.0, 1.0], |s| [s.delta_ms, s.big_delta_ms]);
        let mut push = |b: f64, g: [f64; 3], [delta, big_delta]: [f64; 2], weight: f64| {
            out.b.push(b);
            out.directions.push(g);
            timing.delta_ms.push(delta);
            timing.big_delta_ms.push(big_delta);
            out.weight.push(weight);
        };
        push(0.0, [0.0; 3], first, protocol.b0);
        for (shell, directions) in protocol.shells.iter().zip(&self.directions) {
            let weight = shell.measurements / directions.len() as f64;
            for g in directions {
                push(shell.b(), *g, [shell.delta_ms, shell.big_delta_ms], weight);
            }
        }
        out.te_ms = Some(vec![protocol.te_ms; out.b.len()]);
        out.timing = Some(timing);
        out
    }

    /// The gradient by the coordinates from that by the acquisition of
    /// [`Coordinates::encoding`] at `z`.
    pub(super) fn pullback(&self, z: &[f64], by: &EncodingGradient) -> Vec<f64> {
        let l = self.limits;
        let mut out = vec![0.0; z.len()];
        let (least, longest) = (l.least_span_ms(), self.span(z));
        let mut by_longest: f64 = by.te_ms.iter().sum();
        let mut by_count = Vec::new();
        let mut first = 1;
        for (s, (step, directions)) in self.steps(z).iter().zip(&self.directions).enumerate() {
            let at = 1 + OF_SHELL * s;
            let members = first..first + directions.len();
            first = members.end;
            let sum = |list: &[f64]| list[members.clone()].iter().sum::<f64>();
            let shell = &step.shell;
            let (g, delta) = (shell.gradient_t_per_m, shell.delta_ms);
            let tau = shell.big_delta_ms - delta / 3.0;
            let square = (GAMMA_PER_MS_UM * g * delta).powi(2);
            let by_b = sum(&by.b);
            let by_g = by_b * 2.0 * shell.b() / g;
            let mut by_delta = sum(&by.delta_ms) + by_b * (2.0 * shell.b() / delta - square / 3.0);
            let mut by_big = sum(&by.big_delta_ms) + by_b * square;
            let (t, slope) = unit(z[at + 2]);
            out[at + 2] = by_g * step.strongest * (1.0 - WEAKEST) * slope;
            if step.by_b {
                // The strongest gradient follows the times: -1/2 ln tau - ln delta.
                let by_strongest = by_g * (WEAKEST + (1.0 - WEAKEST) * t) * step.strongest;
                by_delta += by_strongest * (1.0 / (6.0 * tau) - 1.0 / delta);
                by_big -= by_strongest * 0.5 / tau;
            }
            let mut by_span = by_big;
            by_delta -= by_big;
            let (t, slope) = unit(z[at + 1]);
            out[at + 1] = by_delta * (step.half - l.min_delta_ms) * slope;
            by_span += by_delta * step.half_by_span * t;
            let (t, slope) = unit(z[at]);
            out[at] = by_span * (longest - least) * slope;
            by_longest += by_span * t;
            debug_assert!(step.span <= longest + 1e-9);
            by_count.push(sum(&by.weight) / directions.len() as f64);
        }
        out[0] = by_longest * (l.longest_span_ms() - least) * unit(z[0]).1;
        let (shares, rest) = (self.shares(z), self.rest());
        let by_zero = if l.b0.is_some() { 0.0 } else { by.weight[0] };
        let zero = 1.0 - shares.iter().sum::<f64>();
        let mean: f64 =
            shares.iter().zip(&by_count).map(|(f, d)| f * d).sum::<f64>() + zero * by_zero;
        for (s, (share, d)) in shares.iter().zip(&by_count).enumerate() {
            out[1 + OF_SHELL * s + 3] = rest * share * (d - mean);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { max_b: 4.0, max_delta_ms: 22.0, ..Limits::new(0.08, 3, 90) }
    }

    fn point(n: usize, seed: f64) -> Vec<f64> {
        (0..n).map(|i| 2.4 * (seed + 1.7 * i as f64).sin()).collect()
    }

    #[test]
    fn every_point_is_within_the_limits() {
        let limits = limits();
        let coordinates = Coordinates::new(&limits, 8);
        for seed in 0..200 {
            let p = coordinates.protocol(&point(coordinates.dim(), f64::from(seed)));
            let total: f64 = p.shells.iter().map(|s| s.measurements).sum();
            assert!((total + p.b0 - 90.0).abs() < 1e-9 && p.b0 >= 1.0 - 1e-9);
            assert!(p.te_ms <= limits.max_te_ms + 1e-9);
            for s in &p.shells {
                assert!(s.gradient_t_per_m > 0.0 && s.gradient_t_per_m <= 0.08);
                assert!(s.delta_ms >= 3.0 && s.delta_ms <= 22.0);
                assert!(s.big_delta_ms - s.delta_ms >= limits.gap_ms - 1e-9);
                assert!(s.big_delta_ms + s.delta_ms + limits.overhead_ms <= p.te_ms + 1e-9);
                assert!(s.b() <= 4.0 + 1e-9 && s.measurements >= 6.0);
            }
        }
    }

    /// The slope of a sum of squares of everything, whose slopes by the acquisition are known.
    #[test]
    fn pullback_equals_difference() {
        for b0 in [None, Some(9)] {
            let limits = Limits { b0, ..limits() };
            let coordinates = Coordinates::new(&limits, 5);
            let value = |z: &[f64]| {
                let e = coordinates.encoding(&coordinates.protocol(z));
                let t = e.timing.unwrap_or(PulseTiming { delta_ms: vec![], big_delta_ms: vec![] });
                let lists = [&e.b, &t.delta_ms, &t.big_delta_ms, &e.weight];
                // The times of b = 0 do not count.
                let te = e.te_ms.unwrap_or_default();
                let sum: f64 =
                    lists.iter().map(|l| l[1..].iter().map(|v| v * v).sum::<f64>()).sum();
                sum + e.weight[0].powi(2) + te.iter().map(|v| v * v).sum::<f64>()
            };
            let z = point(coordinates.dim(), 0.3);
            let e = coordinates.encoding(&coordinates.protocol(&z));
            let twice = |l: &[f64]| l.iter().map(|v| 2.0 * v).collect::<Vec<f64>>();
            let t =
                e.timing.clone().unwrap_or(PulseTiming { delta_ms: vec![], big_delta_ms: vec![] });
            let by = EncodingGradient {
                b: twice(&e.b),
                delta_ms: twice(&t.delta_ms),
                big_delta_ms: twice(&t.big_delta_ms),
                te_ms: twice(&e.te_ms.unwrap_or_default()),
                directions: Vec::new(),
                weight: twice(&e.weight),
            };
            let found = coordinates.pullback(&z, &by);
            for k in 0..z.len() {
                let at = |h: f64| {
                    let mut z = z.clone();
                    z[k] += h;
                    value(&z)
                };
                let h = 1e-5;
                let wanted = (at(h) - at(-h)) / (2.0 * h);
                let scale = 1e-6 * (1.0 + wanted.abs() + value(&z) * 1e-3);
                assert!((found[k] - wanted).abs() < scale, "{b0:?} {k}: {} {wanted}", found[k]);
            }
        }
    }
}
