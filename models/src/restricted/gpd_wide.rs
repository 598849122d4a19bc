//! Gaussian phase approximation in a pore that is wide against the path of a pulse,
//! $D\delta \ll R^2$, where the series over the modes converges slowly.
//!
//! $$\sum_m w_m\varphi = 2H(p\delta) - G,\qquad H(T) = \sum_m w_m\,(e^{-\mu_m^2T} - 1 + \mu_m^2T),\qquad
//!   G = \sum_m w_m\,e^{-v}(1 - e^{-u})^2$$
//!
//! $H''''$ has the Laplace transform $f/2$ with $f(q) = I_1(q)/qI_1'(q)$, $q^2$ the
//! variable, and $i_1$ in place of $I_1$ for the sphere. With $f \sim \sum_{n\ge1} c_nq^{-n}$
//!
//! $$H(T) = \frac{T^2}2\sum_m\frac1{\mu_m^2(\mu_m^2-k)} - \frac{T^3}{12}
//!   + \frac12\sum_{n\ge1}\frac{c_n\,T^{n/2+3}}{\Gamma(n/2+4)}$$
//!
//! but for terms of the order $e^{-1/T}$. The error of 14 terms is below $10^{-12}$ of
//! the result for $T\le8\cdot10^{-3}$. $G$ is the sum over the modes where 48 of them
//! suffice for the gap between the pulses. Else it is
//! $H(p(\Delta-\delta)) + H(p(\Delta+\delta)) - 2H(p\Delta)$, $T^2$ cancels, $T^3$ is free
//! diffusion, and with $Y = \Delta/\delta$
//!
//! $$\frac{D_\mathrm{app}}D = 1 + \frac\delta\tau\sum_{n\ge1}\frac{c_n(p\delta)^{n/2}}{\Gamma(n/2+4)}
//!   \,\Delta_{n/2+3},\qquad \Delta_a = 2 + 2Y^a - (Y-1)^a - (Y+1)^a$$
//!
//! Its first term is the surface to volume ratio at work.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R$ | µm | radius |
//! | $p = D/R^2$ | 1/ms | rate of diffusion across it |
//! | $\delta, \Delta$ | ms | pulse duration and separation, $\tau = \Delta - \delta/3$ |
//! | $u, v$ | | $\mu^2p\delta$, $\mu^2p(\Delta-\delta)$ |
//!
//! Source: Mitra, Sen & Schwartz 1993, doi:10.1103/PhysRevB.47.8565 (short times);
//! the transform is that of Neuman 1974, doi:10.1063/1.1680931. Validated by
//! `rates_equal_table` and `slopes_equal_differences` of `gpd.rs` and by
//! `wide_pores_join` below.

use super::gpd::{BLOCK, Modes, bend};
use microtome_kernels::exp::exp_in_place;

/// Terms of the series for short times.
pub(super) const TERMS: usize = 14;
/// Modes with $v$ beyond this leave nothing in $G$.
const GONE: f64 = 40.0;
/// From this Δ/δ on $\Delta_a$ is a series in δ/Δ.
const FAR: f64 = 3.0;
/// Terms of that series; each is nine times as small as the one before, at least.
const FAR_TERMS: usize = 18;

/// $\Delta_a$ at `ratio` = Y ≥ 1.
fn difference(a: f64, ratio: f64) -> f64 {
    if ratio < FAR {
        return 2.0 + 2.0 * ratio.powf(a) - (ratio - 1.0).powf(a) - (ratio + 1.0).powf(a);
    }
    // (Y-1)^a + (Y+1)^a - 2Y^a = 2 sum C(a, 2j) Y^(a-2j).
    let square = 1.0 / (ratio * ratio);
    let (mut sum, mut term) = (0.0, ratio.powf(a));
    for j in 1..=FAR_TERMS {
        let k = 2.0 * j as f64;
        term *= (a - k + 2.0) * (a - k + 1.0) / (k * (k - 1.0)) * square;
        sum += term;
    }
    2.0 - 2.0 * sum
}

impl Modes {
    /// $D_\mathrm{app}/D$ and its derivative by ln p, at `step` = pδ and `gap` = (Δ - δ)/δ.
    pub(super) fn wide(&self, step: f64, gap: f64) -> [f64; 2] {
        let last = self.squares[self.squares.len() - 1];
        if last * step * gap > GONE { self.gap_modes(step, gap) } else { self.free(step, gap) }
    }

    /// All times short.
    fn free(&self, step: f64, gap: f64) -> [f64; 2] {
        let ratio = gap + 1.0;
        let root = step.sqrt();
        let (mut value, mut slope, mut power) = (0.0, 0.0, 1.0 / (ratio - 1.0 / 3.0));
        for (i, c) in self.short.iter().enumerate() {
            let half = 0.5 * (i + 1) as f64;
            power *= root;
            let term = c * power * difference(half + 3.0, ratio);
            value += term;
            slope += half * term;
        }
        [1.0 + value, slope]
    }

    /// Short pulses, and a gap that leaves no more than the modes of the table.
    fn gap_modes(&self, step: f64, gap: f64) -> [f64; 2] {
        // 2H/(pδ)² and its derivative by ln p.
        let root = step.sqrt();
        let (mut value, mut slope, mut power) = (self.spread - step / 6.0, -step / 6.0, step);
        for (i, c) in self.short.iter().enumerate() {
            power *= root;
            let term = c * power;
            value += term;
            slope += (0.5 * (i + 1) as f64 + 1.0) * term;
        }
        // Less G/(pδ)².
        let blocks = self.squares.chunks_exact(BLOCK).zip(self.weights.chunks_exact(BLOCK));
        let mut e = [0.0; 2 * BLOCK];
        for (squares, weights) in blocks {
            for (k, square) in squares.iter().enumerate() {
                e[k] = -square * step;
                e[BLOCK + k] = e[k] * gap;
            }
            exp_in_place(&mut e);
            for k in 0..BLOCK {
                let square = squares[k];
                let u = square * step;
                let (eu, ev) = (e[k], e[BLOCK + k]);
                let (_, rise) = bend(u, eu);
                // (1 - e^-u)/(pδ) tends to µ².
                let part = if u > 0.0 { rise / step } else { square };
                let term = weights[k] * ev * part * part;
                let turn = if u > 0.0 { u * eu / rise } else { 1.0 };
                value -= term;
                slope -= if ev > 0.0 { term * (2.0 * turn - 2.0 - u * gap) } else { 0.0 };
            }
            if squares[BLOCK - 1] * step * gap > GONE {
                break;
            }
        }
        // D_app/D = 2/(pδ (τ/δ)) (2H - G)/(pδ)².
        let factor = 1.0 / (step * (gap + 2.0 / 3.0));
        [2.0 * factor * value, 2.0 * factor * (slope - value)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restricted::Pulses;
    use crate::restricted::gpd::{CYLINDER, SMALLEST, SPHERE};

    /// Both forms of the second difference agree where they meet.
    #[test]
    fn differences_agree() {
        for a in [3.0, 3.5, 6.0, 10.0] {
            let (near, far) = (difference(a, FAR * (1.0 - 1e-13)), difference(a, FAR));
            assert!((near / far - 1.0).abs() < 1e-11, "{a} {near} {far}");
        }
    }

    /// The forms for short and long gaps, and the plain sum over modes, agree where
    /// they meet, slopes too.
    #[test]
    fn wide_pores_join() {
        for modes in [CYLINDER, SPHERE] {
            let last = modes.squares[modes.squares.len() - 1];
            for step in [1e-9, 1e-7, 1e-5, 1e-4, 3e-3] {
                let gap = GONE / (last * step);
                let (a, b) = (modes.free(step, gap), modes.gap_modes(step, gap));
                assert!((a[0] - b[0]).abs() < 1e-11, "{step} {a:?} {b:?}");
                assert!((a[1] - b[1]).abs() < 1e-11, "{step} {a:?} {b:?}");
            }
            for gap in [0.0, 0.1, 3.0, 30.0, 1e3] {
                let (delta, big_delta) = (1.0, 1.0 + gap);
                let pulses = Pulses { delta, big_delta };
                let here = modes.apparent(pulses, 2.0, SMALLEST);
                let [ratio, slope] = modes.wide(SMALLEST, gap);
                assert!((here.value / SMALLEST - ratio).abs() < 1e-11, "{gap} {here:?} {ratio}");
                let by_log = here.d_diffusivity - here.value / SMALLEST;
                assert!((by_log - slope).abs() < 1e-11, "{gap} {here:?} {slope}");
            }
        }
    }
}
