//! Gaussian phase approximation under a free waveform.
//!
//! $$-\ln E = b\,A,\qquad A = \sum_m \frac{R^2}{\mu_m^2(\mu_m^2 - k)}\,S(\mu_m^2p),\qquad
//!   S(a) = \gamma^2\iint g(t)\,g(t')\,e^{-a|t-t'|}\,dt\,dt',\qquad p = \frac D{R^2}$$
//!
//! with $g$ at b = 1, one component at a time: $A_\parallel$ of the component along the
//! axis of the encoding, $A_\perp$ of each one across it. $S$ is summed exactly over
//! the samples ([`Waveform::correlation`]). Of high modes
//!
//! $$S \to \frac2a\sum h_ig_i^2 - \frac1{a^2}\Big[g_1^2 + g_n^2 + \sum(g_i - g_{i+1})^2\Big]$$
//!
//! remains, whose sums over the modes are tabulated (`gpd_modes.rs`); the explicit sum
//! ends where the modes have reached that form, at 48 at the latest. The free limit
//! is $S \to 2a$. A pore in which the 48th mode is slower than seven times the rate
//! $a_c = (\sum h_ig_i^2)^{1/2}$ where the two forms meet is as good as free: it keeps the
//! ratio $A/D$ of that limit.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R$ | µm | radius |
//! | $D$ | µm²/ms | intrinsic diffusivity |
//! | $S$ | 1/µm² | at b = 1 ms/µm² |
//!
//! Source: Stepišnik 1993, doi:10.1016/0921-4526(93)90124-O (any waveform); Xu, Does &
//! Gore 2009, doi:10.1016/j.jmr.2009.06.022 (oscillating gradients). Validated by
//! `a_waveform_of_pulses_is_pulses`, `waveform_slopes_equal_differences` and
//! `gpd_of_oscillating_gradients_equals_table` in `models/tests/suite/waveforms.rs`.

use super::gpd::{Apparent, BLOCK, MODES, Modes};
use crate::acquisition::Waveform;

/// The 48th mode is this many times as fast as the waveform, at least.
const FASTER: f64 = 7.0;

/// The apparent diffusivities that a waveform sees in a pore, at b = 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Encoded {
    /// Of the gradient along the axis of encoding.
    pub(crate) along: Apparent,
    /// Of the gradient in each direction across it; zero for linear encoding.
    pub(crate) across: Apparent,
}

/// $F = A/R^2$ and $dF/dp$, along and across.
type Sums = [[f64; 2]; 2];

impl Modes {
    /// What a waveform sees of a pore.
    pub(crate) fn encoded(&self, waveform: &Waveform, diameter: f64, diffusivity: f64) -> Encoded {
        let radius = 0.5 * diameter;
        let square = radius * radius;
        let [along, across] = waveform.steps();
        let meeting = (along.energy + 2.0 * across.energy).sqrt();
        let smallest = FASTER * meeting / self.squares[MODES - 1];
        let wanted = diffusivity / square;
        let largest = 1e100 * smallest;
        let p = if wanted < smallest || wanted.is_nan() { smallest } else { wanted.min(largest) };
        let sums = self.waveform_sums(waveform, p);
        let part = |[f, slope]: [f64; 2]| {
            if wanted < smallest {
                let ratio = f / p;
                return Apparent {
                    value: ratio * diffusivity,
                    d_diameter: 0.0,
                    d_diffusivity: ratio,
                };
            }
            Apparent {
                value: square * f,
                d_diameter: radius * (f - p * slope),
                d_diffusivity: slope,
            }
        };
        Encoded { along: part(sums[0]), across: part(sums[1]) }
    }

    fn waveform_sums(&self, waveform: &Waveform, p: f64) -> Sums {
        let steps = waveform.steps();
        let mut sums: Sums = [[0.0; 2]; 2];
        let mut done = 0;
        for block in 0..MODES / BLOCK {
            let modes = block * BLOCK..(block + 1) * BLOCK;
            let mut last = [0.0; 2];
            for m in modes {
                let (square, weight) = (self.squares[m], self.weights[m]);
                let seen = waveform.correlation(square * p);
                let factor = square * square * weight;
                for (sum, s) in sums.iter_mut().zip([seen.along, seen.across]) {
                    sum[0] += factor * s[0];
                    sum[1] += factor * square * s[1];
                }
                last = [seen.along[0], seen.across[0]];
            }
            done = block + 1;
            let square = self.squares[done * BLOCK - 1];
            let rate = square * p;
            // What is left of the sum of 1/µ²(µ² - k) is about 1/(3πµ³).
            let rest = 1.0 / (3.0 * std::f64::consts::PI * square * square.sqrt());
            let off = |k: usize| {
                let far = 2.0 * (steps[k].energy - steps[k].jumps / rate) / rate;
                (last[k] - far).abs() * rest <= 1e-14 * sums[k][0].abs()
            };
            if off(0) && off(1) {
                break;
            }
        }
        let (slow, fast) = (self.slow[done], self.fast[done]);
        for (sum, step) in sums.iter_mut().zip(steps) {
            let (first, second) = (2.0 * step.energy * slow / p, 2.0 * step.jumps * fast / (p * p));
            sum[0] += first - second;
            sum[1] += (2.0 * second - first) / p;
        }
        sums
    }
}
