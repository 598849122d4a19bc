//! Descent of a smooth function: limited-memory BFGS of argmin that keeps the best point
//! it saw.
//!
//! Source: Nocedal & Wright 2006, doi:10.1007/978-0-387-40065-5, alg. 7.5; line search of
//! Moré & Thuente 1994, doi:10.1145/192115.192132. Validated by `valley_is_descended`.

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use std::sync::Mutex;

/// Steps that the method remembers.
const MEMORY: usize = 10;

struct Problem<F> {
    function: F,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: Option<(Vec<f64>, f64, Vec<f64>)>,
    best: Option<(Vec<f64>, f64)>,
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Problem<F> {
    /// Value and gradient; the last point is not computed twice.
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let mut seen = match self.seen.lock() {
            Ok(seen) => seen,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some((point, value, gradient)) = &seen.last
            && point == x
        {
            return (*value, gradient.clone());
        }
        let (value, gradient) = (self.function)(x);
        if seen.best.as_ref().is_none_or(|(_, best)| value < *best) {
            seen.best = Some((x.to_vec(), value));
        }
        seen.last = Some((x.to_vec(), value, gradient.clone()));
        (value, gradient)
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> CostFunction for &Problem<F> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, x: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.at(x).0)
    }
}

impl<F: Fn(&[f64]) -> (f64, Vec<f64>)> Gradient for &Problem<F> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, x: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.at(x).1)
    }
}

/// The lowest point found from `start` and its value: never above that of the start.
pub(super) fn descend(
    function: impl Fn(&[f64]) -> (f64, Vec<f64>),
    start: Vec<f64>,
    iterations: u64,
) -> (Vec<f64>, f64) {
    let problem = Problem { function, seen: Mutex::new(Seen::default()) };
    let first = problem.at(&start).0;
    let tolerances = LBFGS::new(MoreThuenteLineSearch::new(), MEMORY)
        .with_tolerance_grad(1e-9)
        .and_then(|s| s.with_tolerance_cost(1e-10));
    if let Ok(solver) = tolerances {
        // A line search that gives up ends the descent at the best point so far.
        let executor = Executor::new(&problem, solver)
            .configure(|state| state.param(start.clone()).max_iters(iterations))
            .timer(false);
        let _ = executor.run();
    }
    let seen = problem.seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    seen.best.filter(|(_, value)| *value <= first).unwrap_or((start, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valley_is_descended() {
        let rosenbrock = |x: &[f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            let value = a * a + 100.0 * b * b;
            (value, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        };
        let (x, value) = descend(rosenbrock, vec![-1.2, 1.0], 200);
        assert!(value < 1e-12 && (x[0] - 1.0).abs() < 1e-5, "{x:?} {value}");
        // A function that is not finite anywhere leaves the start.
        let (x, _) = descend(|_| (f64::INFINITY, vec![0.0]), vec![3.0], 10);
        assert_eq!(x, [3.0]);
    }
}
