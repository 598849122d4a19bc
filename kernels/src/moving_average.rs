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
//! A recursion waits for its last number. Here eight parts of the series are followed at once:
//! every part first from zero, which gives its last error but for what it starts from; eight
//! steps, each of them a part, then give what every part starts from,
//!
//! $$e^{(l)}_m = z^{(l)}_m + (-\theta)^m e^{(l-1)}_m,$$
//!
//! with $z$ the last error from zero and $m$ the length of a part, and from there it is
//! followed again. The adjoint runs likewise from the end.
//!
//! | symbol | | unit |
//! |---|---|---|
//! | $y, e, \mu, \lambda$ | series, errors, level, adjoint errors | of the series |
//! | $\phi, \theta$ | coefficients | 1 |
//!
//! Source: Box & Jenkins 1976, *Time Series Analysis*, section 3.4; Blelloch 1990, *Prefix Sums
//! and Their Applications*, section 1.4 (recurrences by parts). Validated by
//! `equals_the_recursion` below and, in use, by `posteriordb_derivatives`.

use crate::lanes::{Lanes, dispatch};
use crate::simd::{Block, LANES, level};

/// A series, by parts.
#[derive(Debug, Clone)]
pub struct SeriesParts {
    count: usize,
    /// The series and that before, `[step, part]`, zero past the end.
    y: Vec<Block>,
    before: Vec<Block>,
}

impl SeriesParts {
    /// Of a series `[time]`.
    pub fn new(series: &[f64]) -> Self {
        let steps = series.len().div_ceil(LANES);
        let mut y = vec![[0.0; LANES]; steps];
        let mut before = y.clone();
        for (t, number) in series.iter().enumerate() {
            y[t % steps][t / steps] = *number;
            let next = t + 1;
            if next < steps * LANES {
                before[next % steps][next / steps] = *number;
            }
        }
        Self { count: series.len(), y, before }
    }

    /// The number of times.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Memory of [`moving_average`]. Keep one a thread.
#[derive(Debug, Clone, Default)]
pub struct MovingAverageWorkspace {
    /// Errors without those before, then errors, `[step, part]`.
    errors: Vec<Block>,
}

/// What [`moving_average`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquaredErrors {
    /// $q = \sum e_t^2$.
    pub sum: f64,
    /// $\tfrac12\partial q$ by $\mu$, $\phi$ and $\theta$.
    pub half_slopes: [f64; 3],
}

#[inline(always)]
fn body<L: Lanes>(
    series: &SeriesParts,
    [mu, phi, theta]: [f64; 3],
    w: &mut MovingAverageWorkspace,
) -> SquaredErrors {
    let steps = series.y.len();
    if steps == 0 {
        return SquaredErrors { sum: 0.0, half_slopes: [0.0; 3] };
    }
    if w.errors.len() != steps {
        w.errors.clear();
        w.errors.resize(steps, [0.0; LANES]);
    }
    let (y, before, e) = (&series.y[..steps], &series.before[..steps], &mut w.errors[..steps]);
    let mut first = before[0];
    first[0] = mu;
    let (level, slope, coefficient) = (L::splat(mu), L::splat(phi), L::splat(theta));
    let zero = L::splat(0.0);
    let mut error = slope.nmadd(L::load(&first), L::load(&y[0]).sub(level));
    error.store(&mut e[0]);
    let mut i = 1;
    while i < steps {
        let part = slope.nmadd(L::load(&before[i]), L::load(&y[i]).sub(level));
        error = coefficient.nmadd(error, part);
        part.store(&mut e[i]);
        i += 1;
    }
    let over_a_part = (-theta).powi(steps as i32);
    let mut starts = [0.0; LANES];
    let mut ends = [0.0; LANES];
    error.store(&mut ends);
    let mut l = 1;
    while l < LANES {
        starts[l] = over_a_part.mul_add(starts[l - 1], ends[l - 1]);
        l += 1;
    }
    error = L::load(&starts);
    i = 0;
    while i < steps {
        error = coefficient.nmadd(error, L::load(&e[i]));
        error.store(&mut e[i]);
        i += 1;
    }
    // Past the end there are no errors.
    let mut k = series.count;
    while k < steps * LANES {
        e[k % steps][k / steps] = 0.0;
        k += 1;
    }

    let mut adjoint = zero;
    i = steps;
    while i > 0 {
        i -= 1;
        adjoint = coefficient.nmadd(adjoint, L::load(&e[i]));
    }
    adjoint.store(&mut ends);
    starts = [0.0; LANES];
    l = LANES - 1;
    while l > 0 {
        l -= 1;
        starts[l] = over_a_part.mul_add(starts[l + 1], ends[l + 1]);
    }
    adjoint = L::load(&starts);
    let (mut sum, mut whole, mut lagged, mut moved) = (zero, zero, zero, zero);
    let mut after = adjoint;
    i = steps;
    while i > 0 {
        i -= 1;
        let error = L::load(&e[i]);
        // The adjoint of the next step meets the error of this one.
        moved = after.madd(error, moved);
        adjoint = coefficient.nmadd(adjoint, error);
        sum = error.madd(error, sum);
        whole = whole.add(adjoint);
        let y_before = if i == 0 { &first } else { &before[i] };
        lagged = adjoint.madd(L::load(y_before), lagged);
        after = adjoint;
    }
    let half_slopes =
        [-whole.tree_sum() - phi * adjoint.first(), -lagged.tree_sum(), -moved.tree_sum()];
    SquaredErrors { sum: sum.tree_sum(), half_slopes }
}

dispatch! {
    /// [`moving_average`] at a given level.
    pub fn moving_average_at / body(series: &SeriesParts, parameters: [f64; 3], workspace: &mut MovingAverageWorkspace) -> SquaredErrors
}

/// The squared errors of a series and their slopes.
///
/// # Shapes
/// `parameters` $\mu$, $\phi$, $\theta$.
///
/// # Example
/// ```
/// use microtome_kernels::moving_average::{MovingAverageWorkspace, SeriesParts, moving_average};
/// // Errors 2 - 1 - 0.5 = 0.5 and 3 - 1 - 1 - 0.2 * 0.5 = 0.9.
/// let series = SeriesParts::new(&[2.0, 3.0]);
/// let found = moving_average(&series, [1.0, 0.5, 0.2], &mut MovingAverageWorkspace::default());
/// assert!((found.sum - 1.06).abs() < 1e-15);
/// ```
pub fn moving_average(
    series: &SeriesParts,
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
                    let found = moving_average_at(level, &SeriesParts::new(&y), at, &mut workspace);
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
        let found = moving_average(
            &SeriesParts::new(&[]),
            [1.0, 0.5, 0.2],
            &mut MovingAverageWorkspace::default(),
        );
        assert_eq!((found.sum, found.half_slopes), (0.0, [0.0; 3]));
    }

    #[test]
    fn what_overflows_is_not_a_number() {
        let y = series(200);
        let found = moving_average(
            &SeriesParts::new(&y),
            [0.0, 0.0, 1e9],
            &mut MovingAverageWorkspace::default(),
        );
        assert!(!found.sum.is_finite());
    }
}
