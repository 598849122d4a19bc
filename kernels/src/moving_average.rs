//! Errors of a series with one autoregressive and one moving-average coefficient, their sum
//! of squares and its slopes.
//!
//! $$e_t = y_t - \mu - \phi y_{t-1} - \theta e_{t-1},\qquad y_{-1} = \mu,\ e_{-1} = 0,\qquad
//!   q = \sum_t e_t^2$$
//!
//! $$\lambda_t = e_t - \theta\lambda_{t+1},\qquad
//!   \tfrac12\frac{\partial q}{\partial\mu} = -\sum_t\lambda_t - \phi\lambda_0,\quad
//!   \tfrac12\frac{\partial q}{\partial\phi} = -\sum_t\lambda_t y_{t-1},\quad
//!   \tfrac12\frac{\partial q}{\partial\theta} = -\sum_t\lambda_t e_{t-1}$$
//!
//! A recursion waits for its last number. Looking ahead, with $L$ the lag,
//!
//! $$\frac1{1+\theta L} = \frac{(1-\theta L)(1+\theta^2L^2)(1+\theta^4L^4)}{1-\theta^8L^8},$$
//!
//! leaves one that waits for the eighth before: eight steps are one of vectors.
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y, e, \mu, \lambda$ | series, errors, level, adjoint errors | of the series |
//! | $\phi, \theta$ | coefficients | 1 |
//!
//! Source: Box & Jenkins 1976, *Time Series Analysis*, section 3.4; Parhi & Messerschmitt 1989,
//! doi:10.1109/29.32286 (looking ahead by powers of two). Validated by
//! `equals_the_recursion` below and, in use, by `posteriordb_derivatives`.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES, level};

/// Buffers of [`moving_average`]. Keep one a thread.
#[derive(Debug, Clone, Default)]
pub struct MovingAverageWorkspace {
    /// The series behind seven zeros and the level, padded.
    y: Vec<f64>,
    /// Errors between eight zeros.
    e: Vec<f64>,
    /// Partial recursions between eight zeros.
    a: Vec<f64>,
    b: Vec<f64>,
}

/// What [`moving_average`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquaredErrors {
    /// $q = \sum e_t^2$.
    pub sum: f64,
    /// $\tfrac12\partial q$ by $\mu$, $\phi$ and $\theta$.
    pub half_slopes: [f64; 3],
}

/// The eight numbers from `at`.
#[inline(always)]
fn block<L: Lanes>(v: &[f64], at: usize) -> L {
    let mut out: Block = [0.0; LANES];
    out.copy_from_slice(&v[at..at + LANES]);
    L::load(&out)
}

#[inline(always)]
fn put<L: Lanes>(v: &mut [f64], at: usize, value: L) {
    let mut out: Block = [0.0; LANES];
    value.store(&mut out);
    v[at..at + LANES].copy_from_slice(&out);
}

#[inline(always)]
fn body<L: Lanes>(
    series: &[f64],
    [mu, phi, theta]: [f64; 3],
    w: &mut MovingAverageWorkspace,
) -> SquaredErrors {
    let n = series.len();
    let padded = n.next_multiple_of(LANES);
    let length = padded + 2 * LANES;
    for v in [&mut w.y, &mut w.e, &mut w.a, &mut w.b] {
        // What lies between the margins is written below.
        if v.len() != length {
            v.clear();
            v.resize(length, 0.0);
        }
    }
    let (y, e, a, b) =
        (&mut w.y[..length], &mut w.e[..length], &mut w.a[..length], &mut w.b[..length]);
    y[LANES - 1] = mu;
    y[LANES..LANES + n].copy_from_slice(series);
    let powers = [theta, theta * theta, theta.powi(4), theta.powi(8)].map(L::splat);
    let [theta, second, fourth, eighth] = powers;
    let (level, slope) = (L::splat(mu), L::splat(phi));
    let blocks = || (LANES..LANES + padded).step_by(LANES);

    for at in blocks() {
        let [y0, y1, y2] = [0, 1, 2].map(|lag| block::<L>(y, at - lag));
        let here = slope.nmadd(y1, y0.sub(level));
        // The error before the first is none: y[-1] - mu, with y[-2] = 0.
        let before = slope.nmadd(y2, y1.sub(level));
        put(a, at, theta.nmadd(before, here));
    }
    for at in blocks() {
        put(b, at, second.madd(block(a, at - 2), block(a, at)));
    }
    let mut last = L::splat(0.0);
    for at in blocks() {
        let ahead = fourth.madd(block(b, at - 4), block(b, at));
        last = eighth.madd(last, ahead);
        put(e, at, last);
    }
    e[LANES + n..].fill(0.0);

    for at in blocks() {
        put(a, at, theta.nmadd(block(e, at + 1), block(e, at)));
    }
    for at in blocks() {
        put(b, at, second.madd(block(a, at + 2), block(a, at)));
    }
    let zero = L::splat(0.0);
    let (mut sum, mut whole, mut lagged, mut moved) = (zero, zero, zero, zero);
    let mut adjoint = zero;
    for at in blocks().rev() {
        let behind = fourth.madd(block(b, at + 4), block(b, at));
        adjoint = eighth.madd(adjoint, behind);
        let error = block::<L>(e, at);
        sum = error.madd(error, sum);
        whole = whole.add(adjoint);
        lagged = adjoint.madd(block(y, at - 1), lagged);
        moved = adjoint.madd(block(e, at - 1), moved);
    }
    let half_slopes =
        [-whole.tree_sum() - phi * adjoint.first(), -lagged.tree_sum(), -moved.tree_sum()];
    SquaredErrors { sum: sum.tree_sum(), half_slopes }
}

dispatch! {
    /// [`moving_average`] at a given level.
    pub fn moving_average_at / body(series: &[f64], parameters: [f64; 3], workspace: &mut MovingAverageWorkspace) -> SquaredErrors
}

/// The squared errors of a series and their slopes.
///
/// # Shapes
/// `series` `[time]`; `parameters` $\mu$, $\phi$, $\theta$.
///
/// # Example
/// ```
/// use microtome_kernels::moving_average::{MovingAverageWorkspace, moving_average};
/// // Errors 2 - 1 - 0.5 = 0.5 and 3 - 1 - 1 - 0.2 * 0.5 = 0.9.
/// let found = moving_average(&[2.0, 3.0], [1.0, 0.5, 0.2], &mut MovingAverageWorkspace::default());
/// assert!((found.sum - 1.06).abs() < 1e-15);
/// ```
pub fn moving_average(
    series: &[f64],
    parameters: [f64; 3],
    workspace: &mut MovingAverageWorkspace,
) -> SquaredErrors {
    moving_average_at(level(), series, parameters, workspace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::SimdLevel;

    fn series(n: usize) -> Vec<f64> {
        (0..n)
            .map(|t| (0.7 * t as f64).sin() + 0.1 * ((t * 7919 % 101) as f64 / 50.0 - 1.0))
            .collect()
    }

    /// The recursion as it is written, with its slopes running along.
    fn plain(y: &[f64], [mu, phi, theta]: [f64; 3]) -> SquaredErrors {
        let (mut e, mut de) = (y[0] - mu - phi * mu, [-1.0 - phi, -mu, 0.0]);
        let mut sum = e * e;
        let mut half_slopes = de.map(|d| e * d);
        for pair in y.windows(2) {
            let last = e;
            e = pair[1] - mu - phi * pair[0] - theta * last;
            de = [-1.0 - theta * de[0], -pair[0] - theta * de[1], -last - theta * de[2]];
            sum += e * e;
            for (s, d) in half_slopes.iter_mut().zip(de) {
                *s += e * d;
            }
        }
        SquaredErrors { sum, half_slopes }
    }

    #[test]
    fn equals_the_recursion() {
        for level in SimdLevel::available() {
            let mut workspace = MovingAverageWorkspace::default();
            // Lengths that change, so that nothing of the last call is left.
            for n in [200, 1, 2, 7, 8, 9, 23, 64, 199] {
                for theta in [0.0, 0.3, -0.8, 0.999, -1.02] {
                    let (y, at) = (series(n), [0.13, 0.6, theta]);
                    let truth = plain(&y, at);
                    let found = moving_average_at(level, &y, at, &mut workspace);
                    let scale = 1e-13 * (1.0 + truth.sum) * n as f64;
                    assert!(
                        (found.sum - truth.sum).abs() < scale,
                        "{n} {theta}: {found:?} {truth:?}"
                    );
                    for (a, b) in found.half_slopes.iter().zip(truth.half_slopes) {
                        assert!((a - b).abs() < 10.0 * scale, "{n} {theta}: {found:?} {truth:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_series_has_no_errors() {
        let found = moving_average(&[], [1.0, 0.5, 0.2], &mut MovingAverageWorkspace::default());
        assert_eq!((found.sum, found.half_slopes), (0.0, [0.0; 3].map(|v: f64| -v)));
    }

    #[test]
    fn what_overflows_is_not_a_number() {
        let y = series(200);
        let found = moving_average(&y, [0.0, 0.0, 1e9], &mut MovingAverageWorkspace::default());
        assert!(!found.sum.is_finite());
    }
}
