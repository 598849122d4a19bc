//! Gaussian phase approximation: the apparent diffusivity across a cylinder or
//! within a sphere.
//!
//! $$-\ln E = bD_\mathrm{app},\qquad D_\mathrm{app} = \frac{2R^2}{p^2\tau\delta^2}
//!   \sum_m w_m\,\varphi(\mu_m^2p),\qquad w_m = \frac1{\mu_m^6(\mu_m^2 - k)},\qquad p = \frac D{R^2}$$
//!
//! $$\varphi = 2u - 2 + 2e^{-u} + 2e^{-x\Delta} - e^{-x(\Delta-\delta)} - e^{-x(\Delta+\delta)}
//!   = 2(u - 1 + e^{-u}) - e^{-v}(1 - e^{-u})^2$$
//!
//! with $u = x\delta$, $v = x(\Delta-\delta)$; $k = 1$ and $J_1'(\mu)=0$ for the
//! cylinder, $k = 2$ and $j_1'(\mu)=0$ for the sphere. The exponentials of high modes
//! vanish, and what they leave, $2u - 2$, sums exactly: the remainders of
//! $\sum 1/\mu^4(\mu^2-k)$ and $\sum 1/\mu^6(\mu^2-k)$ are tabulated. So eight modes are
//! enough for axons, and 48 for every pore with $D\delta/R^2 \ge 3\cdot10^{-3}$
//! (R up to 23 µm at D = 1.7 and δ = 1 ms); a wider one is the matter of `gpd_wide.rs`.
//! The relative error is below $10^{-13}$ here, and below $10^{-11}$ there.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R$ | µm | radius |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//! | $\delta, \Delta$ | ms | pulse duration and separation, $\tau = \Delta - \delta/3$ |
//!
//! Source: Murday & Cotts 1968, doi:10.1063/1.1668160; Neuman 1974,
//! doi:10.1063/1.1680931; Van Gelderen et al. 1994,
//! doi:10.1006/jmrb.1994.1038. Validated by `rates_equal_table` and
//! `slopes_equal_differences` below.

use super::Pulses;
use super::gpd_modes::{
    CYLINDER_FAST, CYLINDER_SHORT, CYLINDER_SLOW, CYLINDER_SPREAD, CYLINDER_SQUARES,
    CYLINDER_WEIGHTS, SPHERE_FAST, SPHERE_SHORT, SPHERE_SLOW, SPHERE_SPREAD, SPHERE_SQUARES,
    SPHERE_WEIGHTS,
};
use super::gpd_waveform::Encoded;
use super::gpd_wide::TERMS;
use crate::acquisition::{Shell, Waveform};
use microtome_kernels::exp::exp_in_place;
use std::sync::Arc;

pub(super) const MODES: usize = 48;
pub(super) const BLOCK: usize = 8;
/// Smallest pδ = Dδ/R² for which the modes of the table are enough.
pub(super) const SMALLEST: f64 = 3e-3;
/// Beyond this pδ the answer is that of an infinitely narrow pore to 1e-100.
const LARGEST: f64 = 1e100;

/// The modes of one shape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modes {
    pub(super) squares: &'static [f64; MODES],
    pub(super) weights: &'static [f64; MODES],
    pub(super) slow: &'static [f64; MODES / BLOCK + 1],
    pub(super) fast: &'static [f64; MODES / BLOCK + 1],
    pub(super) short: &'static [f64; TERMS],
    pub(super) spread: f64,
}

/// The modes across a cylinder.
pub(crate) const CYLINDER: Modes = Modes {
    squares: &CYLINDER_SQUARES,
    weights: &CYLINDER_WEIGHTS,
    slow: &CYLINDER_SLOW,
    fast: &CYLINDER_FAST,
    short: &CYLINDER_SHORT,
    spread: CYLINDER_SPREAD,
};

/// The modes of a sphere.
pub(crate) const SPHERE: Modes = Modes {
    squares: &SPHERE_SQUARES,
    weights: &SPHERE_WEIGHTS,
    slow: &SPHERE_SLOW,
    fast: &SPHERE_FAST,
    short: &SPHERE_SHORT,
    spread: SPHERE_SPREAD,
};

/// The apparent diffusivity of some pulses, µm²/ms, with its derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Apparent {
    /// $D_\mathrm{app}$.
    pub(crate) value: f64,
    /// By the diameter.
    pub(crate) d_diameter: f64,
    /// By the intrinsic diffusivity.
    pub(crate) d_diffusivity: f64,
}

/// $(u - 1 + e^{-u})/u^2 = 1/2 - u/6 + \dots$ in powers of u.
const BEND: [f64; 17] = {
    let mut out = [0.5; 17];
    let mut k = 1;
    while k < 17 {
        out[k] = -out[k - 1] / (k as f64 + 2.0);
        k += 1;
    }
    out
};

/// $u - 1 + e^{-u}$ and $1 - e^{-u}$, given $e^{-u}$, without cancellation.
#[inline]
pub(super) fn bend(u: f64, e: f64) -> (f64, f64) {
    if u > 1.0 {
        return (u - 1.0 + e, 1.0 - e);
    }
    let mut sum = BEND[BEND.len() - 1];
    for c in BEND.iter().rev().skip(1) {
        sum = sum * u + c;
    }
    let bend = u * u * sum;
    (bend, u - bend)
}

impl Modes {
    /// The apparent diffusivity of a pore.
    pub(crate) fn apparent(&self, pulses: Pulses, diameter: f64, diffusivity: f64) -> Apparent {
        let (radius, delta, tau) = (0.5 * diameter, pulses.delta, pulses.tau());
        let square = radius * radius;
        let wanted = diffusivity * delta / square;
        let gap = (pulses.big_delta - delta) / delta;
        if wanted < SMALLEST {
            let [ratio, slope] = self.wide(wanted, gap);
            return Apparent {
                value: ratio * diffusivity,
                d_diameter: -2.0 * slope * diffusivity / diameter,
                d_diffusivity: ratio + slope,
            };
        }
        // A NaN (0/0) becomes a narrow pore.
        let step = wanted.min(LARGEST);
        let [sum, slope] = self.sums(step, gap);
        if sum <= 0.0 {
            return Apparent::default();
        }
        let value = 2.0 * square / (step * tau) * sum;
        // d ln(sum over (pδ)²)/d ln p.
        let steepness = slope / sum - 2.0;
        Apparent {
            value,
            d_diameter: value * (2.0 - 2.0 * steepness) / diameter.max(f64::MIN_POSITIVE),
            d_diffusivity: value * steepness / diffusivity.max(f64::MIN_POSITIVE),
        }
    }

    /// $\sum w\varphi/(p\delta)$ and $\sum w\,x\varphi'(x)/(p\delta)$, at `step` = pδ and
    /// `gap` = (Δ - δ)/δ.
    fn sums(&self, step: f64, gap: f64) -> [f64; 2] {
        let (mut sum, mut slope) = (0.0, 0.0);
        let mut e = [0.0; 2 * BLOCK];
        let blocks = self.squares.chunks_exact(BLOCK).zip(self.weights.chunks_exact(BLOCK));
        for (i, (squares, weights)) in blocks.enumerate() {
            for (k, square) in squares.iter().enumerate() {
                e[k] = -square * step;
                e[BLOCK + k] = e[k] * gap;
            }
            exp_in_place(&mut e);
            for k in 0..BLOCK {
                let u = squares[k] * step;
                let (eu, ev) = (e[k], e[BLOCK + k]);
                let (bend, rise) = bend(u, eu);
                // x φ' = 2u (1 - e^-u) + e^-v (1 - e^-u)(v (1 - e^-u) - 2u e^-u).
                let change = ev * rise;
                sum += weights[k] / step * (2.0 * bend - change * rise);
                let inner = if ev > 0.0 { change * (gap * rise - 2.0 * eu) } else { 0.0 };
                slope += weights[k] * squares[k] * (2.0 * rise + inner);
            }
            let (slow, fast) = (self.slow[i + 1], self.fast[i + 1] / step);
            // The exponentials of what is left are smaller than the last ones here; in
            // the slope they stand beside factors u and v. With touching pulses e^-v
            // stays 1, and is counted.
            let (eu, ev) = (e[BLOCK - 1], e[2 * BLOCK - 1]);
            let total = sum + 2.0 * (slow - fast) - ev * fast;
            let u = squares[BLOCK - 1] * step;
            let rest = (eu + ev) * (2.0 + 2.0 * u * (1.0 + gap)) * fast;
            if rest <= 1e-15 * total || i + 2 == self.slow.len() {
                return [total, slope + 2.0 * slow];
            }
        }
        [sum, slope]
    }
}

/// Calls `each(shell index, apparent diffusivities)` for every shell; equal pulses
/// beside each other are computed once, and so is a waveform.
pub(crate) fn for_each_shell(
    modes: &Modes,
    shells: &[Shell],
    diameter: f64,
    diffusivity: f64,
    mut each: impl FnMut(usize, Encoded),
) {
    let mut last: Option<(Pulses, Encoded)> = None;
    let mut waveforms: Vec<(&Arc<Waveform>, Encoded)> = Vec::new();
    for (s, shell) in shells.iter().enumerate() {
        if let Some(waveform) = shell.waveform.as_ref().filter(|_| shell.b > 0.0) {
            let known = waveforms.iter().find(|(w, _)| Arc::ptr_eq(w, waveform));
            let encoded = match known {
                Some((_, encoded)) => *encoded,
                None => modes.encoded(waveform, diameter, diffusivity),
            };
            if known.is_none() {
                waveforms.push((waveform, encoded));
            }
            each(s, encoded);
            continue;
        }
        let Some(pulses) = Pulses::of(shell) else {
            each(s, Encoded::default());
            continue;
        };
        let encoded = match last {
            Some((same, encoded)) if same == pulses => encoded,
            _ => Encoded {
                along: modes.apparent(pulses, diameter, diffusivity),
                across: Apparent::default(),
            },
        };
        last = Some((pulses, encoded));
        each(s, encoded);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Rows of `gpd.csv`: modes, [diameter, diffusivity, δ, Δ], apparent diffusivity.
    fn table() -> Vec<(Modes, [f64; 4], f64)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/gpd.csv");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                let number = |i: usize| cells[i].parse::<f64>().unwrap();
                let modes = if cells[0] == "cylinder" { CYLINDER } else { SPHERE };
                (modes, [number(1), number(2), number(3), number(4)], number(5))
            })
            .collect()
    }

    /// Rounding grows with 1/(xτ) of the lowest mode, to some hundred units in the
    /// last place here; below $10^{-3}$ it is the golden table that ends.
    #[test]
    fn rates_equal_table() {
        let mut compared = 0;
        for (modes, [diameter, diffusivity, delta, big_delta], expected) in table() {
            let step = 4.0 * diffusivity * delta / (diameter * diameter);
            let got = modes.apparent(Pulses { delta, big_delta }, diameter, diffusivity).value;
            let bound = if step >= 1e-3 { 1e-13 } else { 1e-11 };
            let error = (got / expected - 1.0).abs();
            assert!(error < bound, "{diameter} {diffusivity} {delta} {big_delta}: {error:e}");
            compared += 1;
        }
        assert!(compared > 600, "{compared}");
    }

    /// Eighth-order central differences in the logarithms of size and diffusivity.
    #[test]
    fn slopes_equal_differences() {
        for (modes, [diameter, diffusivity, delta, big_delta], _) in table() {
            let pulses = Pulses { delta, big_delta };
            let at =
                |i: f64, j: f64| modes.apparent(pulses, diameter * i.exp(), diffusivity * j.exp());
            let slope = |f: &dyn Fn(f64) -> f64| {
                let h = 0.02;
                [(1.0, 0.8), (2.0, -0.2), (3.0, 4.0 / 105.0), (4.0, -1.0 / 280.0)]
                    .map(|(k, w)| w * (f(k * h) - f(-k * h)) / h)
                    .iter()
                    .sum::<f64>()
            };
            let here = at(0.0, 0.0);
            let by_size = slope(&|h| at(h, 0.0).value);
            let by_diffusivity = slope(&|h| at(0.0, h).value);
            let bound = 1e-10 * here.value;
            assert!((here.d_diameter * diameter - by_size).abs() < bound, "{diameter} {pulses:?}");
            let d = here.d_diffusivity * diffusivity;
            assert!((d - by_diffusivity).abs() < bound, "{diffusivity} {d} {by_diffusivity}");
        }
    }

    /// Limits: a narrow pore obeys Neuman's R⁴ law, a wide one is free.
    #[test]
    fn limits() {
        let pulses = Pulses { delta: 10.0, big_delta: 30.0 };
        let narrow = CYLINDER.apparent(pulses, 0.02, 1.7).value;
        let law = 7.0 / 48.0 * 0.01_f64.powi(4) / (1.7 * 10.0 * pulses.tau());
        assert!((narrow / law - 1.0).abs() < 1e-4, "{narrow:e} {law:e}");
        for modes in [CYLINDER, SPHERE] {
            let wide = modes.apparent(pulses, 1e5, 1.7);
            assert!(wide.value > 1.6 && wide.value < 1.7, "{wide:?}");
            for diameter in [0.0, 1e-300, 1e-160, 1e-20, 1e-3, 1e9, 1e200] {
                for diffusivity in [0.0, 1e-300, 1.7, 1e3] {
                    for big_delta in [10.0, 30.0] {
                        let pulses = Pulses { delta: 10.0, big_delta };
                        let a = modes.apparent(pulses, diameter, diffusivity);
                        let all = [a.value, a.d_diameter, a.d_diffusivity];
                        assert!(
                            all.iter().all(|v| v.is_finite()),
                            "{diameter} {diffusivity} {a:?}"
                        );
                        assert!(a.value >= 0.0 && a.value <= diffusivity, "{diameter} {a:?}");
                    }
                }
            }
        }
    }
}
