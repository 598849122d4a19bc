//! The exponential autocorrelation of a piecewise constant gradient: what a mode
//! of a restricted diffusion propagator makes of a waveform.
//!
//! $$S(a) = \int_0^T\!\!\int_0^T g(t)\,g(t')\,e^{-a|t-t'|}\,dt\,dt'$$
//!
//! With $y(t) = \int_0^t e^{-a(t-t')}g(t')\,dt'$, a piece of length $h$ and $x = ah$,
//!
//! $$S \mathrel{+}= 2g\,[y\,h\varphi_1(x) + g\,h^2\varphi_2(x)],\qquad
//!   y \leftarrow y\,e^{-x} + g\,h\varphi_1(x),\qquad
//!   \varphi_n(x) = \sum_{k\ge0}\frac{(-x)^k}{(k+n)!}$$
//!
//! which is exact and takes one pass. The derivative in $a$ runs along, with
//! $\varphi_n' = n\varphi_{n+1} - \varphi_n$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $g$ | T/m, or γ times it | gradient of each piece |
//! | $a$ | 1/ms | rate of the mode |
//! | $h$ | ms | length of a piece |
//!
//! Source: the double integral of the Gaussian phase approximation, Stepišnik 1981,
//! doi:10.1016/0378-4363(81)90182-0; Codd & Callaghan 1999, doi:10.1006/jmre.1998.1679
//! (waveforms as steps). Validated by the tests below.

use crate::exp::exp;

/// $e^{-x}$ and $\varphi_1, \varphi_2, \varphi_3$ at $x \ge 0$.
fn phi(x: f64) -> (f64, [f64; 3]) {
    if x >= 1.0 {
        let decay = exp(-x);
        let one = (1.0 - decay) / x;
        let two = (1.0 - one) / x;
        return (decay, [one, two, (0.5 - two) / x]);
    }
    // Horner from the last term; 1/21! is below the rounding.
    let mut three = 0.0;
    for k in (1..19_u32).rev() {
        three = 1.0 - x * three / f64::from(k + 3);
    }
    three /= 6.0;
    let two = 0.5 - x * three;
    let one = 1.0 - x * two;
    (1.0 - x * one, [one, two, three])
}

/// $S(a)$ and $dS/da$.
///
/// # Shapes
/// `duration` and `gradient` `[piece]`; lists of unequal length are cut to the
/// shorter.
///
/// # Example
/// ```
/// // One piece: S = g² h² 2 φ₂(a h), and h² g² at a = 0.
/// let [s, _] = microtome_kernels::correlation::exponential(&[2.0], &[3.0], 0.0);
/// assert!((s - 36.0).abs() < 1e-13);
/// ```
pub fn exponential(duration: &[f64], gradient: &[f64], rate: f64) -> [f64; 2] {
    let (mut sum, mut d_sum) = (0.0, 0.0);
    let (mut y, mut d_y) = (0.0, 0.0);
    let mut last = f64::NAN;
    let mut step = Step::default();
    for (&h, &g) in duration.iter().zip(gradient) {
        if h != last {
            step = Step::new(h, rate);
            last = h;
        }
        sum += g * (y * step.one + g * step.two);
        d_sum += g * (d_y * step.one + y * step.d_one + g * step.d_two);
        d_y = d_y * step.decay - h * y * step.decay + g * step.d_one;
        y = y * step.decay + g * step.one;
    }
    [2.0 * sum, 2.0 * d_sum]
}

/// What a piece of one length does.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    decay: f64,
    /// $h\varphi_1$ and its derivative in $a$.
    one: f64,
    d_one: f64,
    /// $h^2\varphi_2$ and its derivative in $a$.
    two: f64,
    d_two: f64,
}

impl Step {
    fn new(h: f64, rate: f64) -> Self {
        let x = rate * h;
        let (decay, [one, two, three]) = phi(x);
        Self {
            decay,
            one: h * one,
            d_one: h * h * (two - one),
            two: h * h * two,
            d_two: h * h * h * (2.0 * three - two),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phi_meets_itself_at_the_switch() {
        let (below, above) = (phi(1.0 - 1e-15).1, phi(1.0).1);
        for (a, b) in below.iter().zip(above) {
            assert!((a / b - 1.0).abs() < 4e-15, "{below:?} {above:?}");
        }
        // e^-1 by hand: φ₁ = 1 - 1/e, φ₂ = 1/e, φ₃ = 1/2 - 1/e.
        let e = (-1.0_f64).exp();
        for (a, b) in above.iter().zip([1.0 - e, e, 0.5 - e]) {
            assert!((a - b).abs() < 1e-15);
        }
        assert_eq!(phi(0.0), (1.0, [1.0, 0.5, 1.0 / 6.0]));
    }

    /// A pair of pulses: the bracket of Murday & Cotts 1968.
    #[test]
    fn a_pair_of_pulses_has_the_known_sum() {
        let (d, big, g) = (7.0, 23.0, 1.7);
        for rate in [0.02, 0.3, 2.0, 40.0] {
            let [s, _] = exponential(&[d, big - d, d], &[g, 0.0, -g], rate);
            let e = |t: f64| (-rate * t).exp();
            let bracket =
                2.0 * rate * d - 2.0 + 2.0 * e(d) + 2.0 * e(big) - e(big - d) - e(big + d);
            let wanted = 2.0 * g * g * bracket / (rate * rate);
            assert!((s / wanted - 1.0).abs() < 1e-12, "{rate}: {s} {wanted}");
        }
    }

    #[test]
    fn cutting_pieces_changes_nothing() {
        let g = [0.4, -1.0, 0.9, 0.1, -0.4];
        let h = [1.0, 2.0, 0.5, 3.0, 0.25];
        let cut: Vec<f64> = h.iter().flat_map(|h| [h / 3.0; 3]).collect();
        let same: Vec<f64> = g.iter().flat_map(|g| [*g; 3]).collect();
        for rate in [1e-3, 0.5, 9.0] {
            let (a, b) = (exponential(&h, &g, rate), exponential(&cut, &same, rate));
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 1e-13 * a.abs().max(1.0), "{rate}: {a} {b}");
            }
        }
    }

    #[test]
    fn the_slope_is_that_of_differences() {
        let (h, g) = ([0.7, 2.0, 0.7, 1.1], [1.0, -0.3, 0.5, -1.0]);
        for rate in [0.01, 0.8, 1.5, 12.0] {
            let step = 1e-4 * rate;
            let at = |r: f64| exponential(&h, &g, r)[0];
            let wanted = (at(rate - 2.0 * step) - 8.0 * at(rate - step) + 8.0 * at(rate + step)
                - at(rate + 2.0 * step))
                / (12.0 * step);
            let [_, d] = exponential(&h, &g, rate);
            assert!((d / wanted - 1.0).abs() < 1e-8, "{rate}: {d} {wanted}");
        }
    }
}
