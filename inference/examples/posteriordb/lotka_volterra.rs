//! Predator and prey: an ODE with log-normal observations.
//!
//! $$u' = (a - bv)\,u,\quad v' = (-c + du)\,v,\qquad \ln y_{tk}\sim\mathcal N(\ln z_{tk}, s_k^2)$$
//!
//! by the classical Runge-Kutta scheme with fixed steps; the gradient is the exact adjoint of
//! the discrete scheme, run back over the stored states. Source: Hairer, Nørsett & Wanner
//! 1993, *Solving Ordinary Differential Equations I*, table 1.2; Carpenter 2018, *Predator-Prey
//! Population Dynamics* (Stan case study). Validated by `posteriordb_derivatives` and
//! `steps_are_short_enough` in `tests/suite/posteriordb.rs`.

use microtome_inference::graph_density::terms::Term;
use std::cell::RefCell;

thread_local! {
    /// The four stages of every step.
    static STATES: RefCell<Vec<[[f64; 2]; 4]>> = const { RefCell::new(Vec::new()) };
}

/// Longest step in the unit of the times (years).
const STEP: f64 = 0.125;

/// The density of the values (a, b, c, d, u0, v0, s1, s2).
pub(crate) struct LynxHare {
    /// Steps up to each observation, and their length.
    spans: Vec<(usize, f64)>,
    /// Logarithms of the first and the later observations.
    ln_y: Vec<[f64; 2]>,
}

impl LynxHare {
    /// Of times after 0, the observation at 0 and those at the times, `[time, 2]`.
    ///
    /// # Errors
    /// Shapes that do not fit, times that do not rise.
    pub(crate) fn new(times: &[f64], first: &[f64], y: &[f64]) -> Result<Self, String> {
        Self::with_step(times, first, y, STEP)
    }

    /// The same with another longest step.
    ///
    /// # Errors
    /// As [`LynxHare::new`].
    pub(crate) fn with_step(
        times: &[f64],
        first: &[f64],
        y: &[f64],
        step: f64,
    ) -> Result<Self, String> {
        if first.len() != 2 || y.len() != 2 * times.len() {
            return Err("data: y_init must have 2 numbers and y 2 a time".into());
        }
        let mut spans = Vec::new();
        let mut last = 0.0;
        for t in times {
            if t <= &last {
                return Err("data: the times `ts` must rise from above 0".into());
            }
            let steps = ((t - last) / step).ceil();
            spans.push((steps as usize, (t - last) / steps));
            last = *t;
        }
        let mut ln_y = vec![[first[0].ln(), first[1].ln()]];
        ln_y.extend(y.chunks(2).map(|p| [p[0].ln(), p[1].ln()]));
        Ok(Self { spans, ln_y })
    }
}

/// Rates times half a step: parameters `p` are scaled by it once a span, which leaves a
/// multiplication less in the chain of dependent operations.
#[inline(always)]
fn rate(p: &[f64; 4], z: [f64; 2]) -> [f64; 2] {
    [(p[0] - p[1] * z[1]) * z[0], (p[3] * z[0] - p[2]) * z[1]]
}

#[inline(always)]
fn plus(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

/// Jᵀg at z; adds the part of the rates' parameters to `dp`.
#[inline(always)]
fn back(p: &[f64; 4], z: [f64; 2], g: [f64; 2], dp: &mut [f64; 4]) -> [f64; 2] {
    let product = z[0] * z[1];
    dp[0] += g[0] * z[0];
    dp[1] -= g[0] * product;
    dp[2] -= g[1] * z[1];
    dp[3] += g[1] * product;
    [
        (p[0] - p[1] * z[1]) * g[0] + (p[3] * z[1]) * g[1],
        (p[3] * z[0] - p[2]) * g[1] - (p[1] * z[0]) * g[0],
    ]
}

impl Term for LynxHare {
    fn add(&self, v: &[f64], g: &mut [f64]) -> f64 {
        let s = [v[6], v[7]];
        let scaled = |h: f64| [0, 1, 2, 3].map(|k| 0.5 * h * v[k]);
        STATES.with_borrow_mut(|states| {
            states.clear();
            let mut z = [v[4], v[5]];
            for &(steps, h) in &self.spans {
                let p = scaled(h);
                for _ in 0..steps {
                    let k1 = rate(&p, z);
                    let z2 = plus(z, k1);
                    let k2 = rate(&p, z2);
                    let z3 = plus(z, k2);
                    let k3 = rate(&p, z3);
                    let z4 = plus(plus(z, k3), k3);
                    let k4 = rate(&p, z4);
                    states.push([z, z2, z3, z4]);
                    for i in 0..2 {
                        let middle = k2[i] + k3[i];
                        z[i] += (1.0 / 3.0) * ((k1[i] + (middle + middle)) + k4[i]);
                    }
                }
            }
            if !(z[0] > 0.0 && z[1] > 0.0) {
                return f64::NAN;
            }
            // Observations back to front, the adjoint between them.
            let precision = [1.0 / (s[0] * s[0]), 1.0 / (s[1] * s[1])];
            let mut total = -(self.ln_y.len() as f64) * (s[0].ln() + s[1].ln());
            let mut squares = [0.0; 2];
            let mut w = [0.0; 2];
            let mut at = states.len();
            for t in (0..self.ln_y.len()).rev() {
                for i in 0..2 {
                    let r = self.ln_y[t][i] - z[i].ln();
                    squares[i] += r * r;
                    w[i] += r * precision[i] / z[i];
                }
                let Some(&(steps, h)) = t.checked_sub(1).and_then(|k| self.spans.get(k)) else {
                    continue;
                };
                let (p, mut dp) = (scaled(h), [0.0; 4]);
                for [z1, z2, z3, z4] in states[at - steps..at].iter().rev() {
                    let third = [w[0] * (1.0 / 3.0), w[1] * (1.0 / 3.0)];
                    let two = plus(third, third);
                    let w4 = back(&p, *z4, third, &mut dp);
                    let w3 = back(&p, *z3, plus(two, plus(w4, w4)), &mut dp);
                    let w2 = back(&p, *z2, plus(two, w3), &mut dp);
                    let w1 = back(&p, *z1, plus(third, w2), &mut dp);
                    w = plus(plus(w, plus(w4, w3)), plus(w2, w1));
                }
                at -= steps;
                z = states[at][0];
                for (g, d) in g.iter_mut().zip(dp) {
                    *g += 0.5 * h * d;
                }
            }
            let n = self.ln_y.len() as f64;
            for i in 0..2 {
                g[4 + i] += w[i];
                g[6 + i] += (squares[i] * precision[i] - n) / s[i];
                total -= 0.5 * squares[i] * precision[i];
            }
            total
        })
    }

    fn needs(&self) -> usize {
        8
    }
}
