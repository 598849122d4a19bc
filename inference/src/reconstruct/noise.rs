//! The noise of projections, found in the projections themselves.
//!
//! $$\hat\sigma = \frac{\operatorname{median}_i|d_i|}{0.6745\,\sqrt{20}},\qquad
//!   d_i = y_{i-1} - 3y_i + 3y_{i+1} - y_{i+2}$$
//!
//! along the detector row: third differences remove what is smooth (parabolas), and the
//! median leaves out the edges that remain. Rows of less than four pixels use differences
//! between views. With weights, $d_i$ is of whitened values $y\sqrt w$ and the result is a
//! factor: 1 where the weights are true inverse variances. Equal values next to each other
//! (clipped or empty air) say nothing and are left out.
//!
//! Source: Donoho & Johnstone 1994, doi:10.1093/biomet/81.3.425 (median of absolute
//! deviations); Gasser, Sroka & Jennen-Steinmetz 1986, doi:10.1093/biomet/73.3.625
//! (differences). Validated by `noise_is_found` in `inference/tests/suite/reconstruct/`.

use super::Problem;
use microtome_kernels::ray::Real;

/// The median of |z| of a standard normal z, and the norm of the differences squared.
const MEDIAN: f64 = 0.674_489_750_196_081_7;
const SQUARES: f64 = 20.0;

/// Standard deviation of the projections, of whitened ones where weights are given; 0 when
/// they are too few or without noise.
pub fn noise_level<T: Real>(problem: &Problem<'_, T>) -> f64 {
    let shape = problem.projections_shape();
    let nu = shape[shape.len() - 1];
    // Along u; in a detector of less than four columns along the views.
    let (stride, n) = if nu >= 4 { (1, nu) } else { (problem.pixels, shape[0]) };
    if n < 4 {
        return 0.0;
    }
    let y = problem.projections;
    let mut sizes = Vec::new();
    for i in 0..y.len() {
        let place = (i / stride) % n;
        if place + 3 >= n {
            continue;
        }
        let at = |k: usize| i + k * stride;
        let v = [0, 1, 2, 3].map(|k| y[at(k)].wide());
        let w = problem.weights.map_or([1.0; 4], |w| [0, 1, 2, 3].map(|k| w[at(k)].wide()));
        let d = v[0] - 3.0 * v[1] + 3.0 * v[2] - v[3];
        // The variance of d under the weights.
        let variance = if w.contains(&0.0) {
            f64::INFINITY
        } else {
            (1.0 / w[0] + 9.0 / w[1] + 9.0 / w[2] + 1.0 / w[3]) / SQUARES
        };
        if d != 0.0 && variance.is_finite() {
            sizes.push(d.abs() / variance.sqrt());
        }
    }
    if sizes.is_empty() {
        return 0.0;
    }
    let middle = sizes.len() / 2;
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
    *median / (MEDIAN * SQUARES.sqrt())
}
