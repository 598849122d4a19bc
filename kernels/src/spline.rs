//! Interpolating splines through values on a rectangular grid, with derivatives.
//!
//! $$f(x) = \sum_{i_1\ldots i_d} c_{i_1\ldots i_d}\,B_{i_1}(x_1)\cdots B_{i_d}(x_d)$$
//!
//! $B_i$ are the B-splines of degree $p = \min(3, n - 1)$ on an axis of $n$ nodes, with knots
//! at the nodes but the second and the last but one ("not a knot"), so that the values at the
//! nodes determine the coefficients and polynomials of degree $p$ are exact. Between the nodes
//! the error of a smooth function falls with the fourth power of their distance, and f has
//! two continuous derivatives; the slopes are those of the interpolant itself.
//!
//! | symbol | is |
//! |---|---|
//! | $x$ | a point, clamped to the grid |
//! | $c$ | coefficients, rows of any width |
//!
//! Source: de Boor 2001, *A Practical Guide to Splines*, doi:10.1007/978-1-4612-6333-3,
//! chapters IX (recurrence), XIII (interpolation) and XVII (tensor products). Validated by
//! `polynomials_are_exact`, `slopes_equal_differences` and `errors_fall_with_the_fourth_power`
//! below.

use crate::dense::invert;

/// Most B-splines that are not zero at a point of an axis.
const SUPPORT: usize = 4;

/// The B-splines of one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct SplineAxis {
    nodes: Vec<f64>,
    knots: Vec<f64>,
    degree: usize,
    /// Coefficients from values `[node, node]`.
    from_values: Vec<f64>,
}

/// What an axis has at a point: the number of the first B-spline that is not zero, their
/// values and slopes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Basis {
    first: usize,
    value: [f64; SUPPORT],
    slope: [f64; SUPPORT],
}

impl SplineAxis {
    /// The axis through rising nodes; `None` for fewer than two, or where they do not rise.
    pub fn new(nodes: &[f64]) -> Option<Self> {
        let n = nodes.len();
        let rise = nodes.windows(2).all(|w| w[0] < w[1]);
        if n < 2 || !rise || !nodes.iter().all(|x| x.is_finite()) {
            return None;
        }
        let degree = (n - 1).min(SUPPORT - 1);
        let mut knots = vec![nodes[0]; degree + 1];
        if n > SUPPORT {
            knots.extend_from_slice(&nodes[2..n - 2]);
        }
        knots.extend(std::iter::repeat_n(nodes[n - 1], degree + 1));
        let mut axis = Self { nodes: nodes.to_vec(), knots, degree, from_values: Vec::new() };
        let mut matrix = vec![0.0; n * n];
        for (row, x) in matrix.chunks_mut(n).zip(nodes) {
            let basis = axis.basis(*x);
            row[basis.first..=basis.first + degree].copy_from_slice(&basis.value[..=degree]);
        }
        axis.from_values = invert(&matrix, n)?;
        Some(axis)
    }

    /// The nodes.
    pub fn nodes(&self) -> &[f64] {
        &self.nodes
    }

    fn basis(&self, x: f64) -> Basis {
        let (n, p, t) = (self.nodes.len(), self.degree, self.knots.as_slice());
        let x = x.clamp(self.nodes[0], self.nodes[n - 1]);
        // The interval t[i] <= x < t[i + 1], the last one closed.
        let mut i = p;
        while i + 1 < n && x >= t[i + 1] {
            i += 1;
        }
        let mut value = [0.0; SUPPORT];
        let mut slope = [0.0; SUPPORT];
        value[0] = 1.0;
        for k in 1..=p {
            if k == p {
                // From the B-splines of one degree less.
                let term = |m: usize| value[m] / (t[i + 1 + m] - t[i + 1 + m - p]);
                for (j, s) in slope.iter_mut().enumerate().take(p + 1) {
                    let before = if j > 0 { term(j - 1) } else { 0.0 };
                    let after = if j < p { term(j) } else { 0.0 };
                    *s = p as f64 * (before - after);
                }
            }
            let mut saved = 0.0;
            for m in 0..k {
                let (right, left) = (t[i + 1 + m] - x, x - t[i + 1 + m - k]);
                let share = value[m] / (right + left);
                value[m] = saved + right * share;
                saved = left * share;
            }
            value[k] = saved;
        }
        Basis { first: i - p, value, slope }
    }
}

/// A spline through rows of numbers at the nodes of a grid, in several layers.
#[derive(Clone, Debug, PartialEq)]
pub struct GridSpline {
    axes: Vec<SplineAxis>,
    width: usize,
    layers: usize,
    /// `[layer, node of the first axis, ..., node of the last, width]`.
    coefficients: Vec<f64>,
}

impl GridSpline {
    /// The spline through values; `None` where their number does not fit.
    ///
    /// # Shapes
    /// `values` `[layer, node of the first axis, ..., node of the last, width]`.
    pub fn through(axes: Vec<SplineAxis>, width: usize, values: Vec<f64>) -> Option<Self> {
        let grid: usize = axes.iter().map(|a| a.nodes.len()).product();
        let layer = grid * width;
        if axes.is_empty() || width == 0 || values.is_empty() || !values.len().is_multiple_of(layer)
        {
            return None;
        }
        let layers = values.len() / layer;
        let mut coefficients = values;
        let mut inner = width;
        for axis in axes.iter().rev() {
            let n = axis.nodes.len();
            let mut moved = vec![0.0; n * inner];
            for block in coefficients.chunks_mut(n * inner) {
                moved.fill(0.0);
                for (to, weights) in moved.chunks_mut(inner).zip(axis.from_values.chunks(n)) {
                    for (from, w) in block.chunks(inner).zip(weights) {
                        for (t, f) in to.iter_mut().zip(from) {
                            *t += w * f;
                        }
                    }
                }
                block.copy_from_slice(&moved);
            }
            inner *= n;
        }
        Some(Self { axes, width, layers, coefficients })
    }

    /// The axes.
    pub fn axes(&self) -> &[SplineAxis] {
        &self.axes
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// The sum of all layers, the first with weight 1 and the others with the given ones; its
    /// slopes along the axes; and the layers themselves after the first, which are the slopes
    /// along the weights.
    ///
    /// # Shapes
    /// `x` `[axis]`, `weights` `[layer - 1]`, `value` `[width]`, `slope`
    /// `[axis + layer - 1, width]`; overwritten.
    pub fn evaluate(&self, x: &[f64], weights: &[f64], value: &mut [f64], slope: &mut [f64]) {
        let (d, width) = (self.axes.len(), self.width);
        value.fill(0.0);
        slope.fill(0.0);
        let bases: Vec<Basis> = self.axes.iter().zip(x).map(|(a, x)| a.basis(*x)).collect();
        let layer = self.coefficients.len() / self.layers;
        let (along, layers) = slope.split_at_mut(d * width);
        let mut row = vec![0.0; width];
        let mut digits = vec![0; d];
        loop {
            let mut node = 0;
            for ((axis, basis), digit) in self.axes.iter().zip(&bases).zip(&digits) {
                node = node * axis.nodes.len() + basis.first + digit;
            }
            let at = node * width;
            let product: f64 = bases.iter().zip(&digits).map(|(b, k)| b.value[*k]).product();
            row.copy_from_slice(&self.coefficients[at..at + width]);
            for (k, w) in weights.iter().enumerate() {
                let from = &self.coefficients[(k + 1) * layer + at..][..width];
                let to = &mut layers[k * width..(k + 1) * width];
                for ((r, t), f) in row.iter_mut().zip(to).zip(from) {
                    *r += w * f;
                    *t += product * f;
                }
            }
            for (v, r) in value.iter_mut().zip(&row) {
                *v += product * r;
            }
            for (j, to) in along.chunks_mut(width).enumerate() {
                let mut product = 1.0;
                for (i, (basis, k)) in bases.iter().zip(&digits).enumerate() {
                    product *= if i == j { basis.slope[*k] } else { basis.value[*k] };
                }
                for (t, r) in to.iter_mut().zip(&row) {
                    *t += product * r;
                }
            }
            // The next corner, the last axis fastest.
            let mut axis = d;
            loop {
                let Some(before) = axis.checked_sub(1) else { return };
                axis = before;
                digits[axis] += 1;
                if digits[axis] <= self.axes[axis].degree {
                    break;
                }
                digits[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NODES: [&[f64]; 3] =
        [&[0.3, 0.5, 1.1, 1.4, 2.0, 2.2, 3.0], &[-1.0, 0.2, 0.9], &[2.0, 5.0]];

    fn grid(f: &dyn Fn([f64; 3]) -> Vec<f64>) -> GridSpline {
        let axes = NODES.iter().map(|n| SplineAxis::new(n).unwrap()).collect();
        let mut values = Vec::new();
        let width = f([0.0; 3]).len() / 2;
        for layer in 0..2 {
            for x in NODES[0] {
                for y in NODES[1] {
                    for z in NODES[2] {
                        values.extend_from_slice(&f([*x, *y, *z])[layer * width..][..width]);
                    }
                }
            }
        }
        GridSpline::through(axes, width, values).unwrap()
    }

    const POINTS: [[f64; 3]; 5] =
        [[0.3, -1.0, 2.0], [0.77, 0.0, 3.3], [1.9, 0.85, 4.9], [3.0, 0.9, 5.0], [1.1, 0.2, 2.5]];

    /// Cubic, quadratic and linear along the three axes, two layers of two numbers.
    #[test]
    fn polynomials_are_exact() {
        let f = |[x, y, z]: [f64; 3]| {
            let p = 1.0 - x + 0.3 * x * x * x;
            vec![p * (y * y - 0.4) * z, x * x - z, y * z, 2.0 - p * y]
        };
        let spline = grid(&f);
        assert_eq!((spline.width(), spline.layers()), (2, 2));
        for x in POINTS {
            let (mut value, mut slope) = (vec![0.0; 2], vec![0.0; 8]);
            spline.evaluate(&x, &[-0.7], &mut value, &mut slope);
            let truth = f(x);
            let (first, second) = truth.split_at(2);
            for (i, (a, b)) in first.iter().zip(second).enumerate() {
                let t = a - 0.7 * b;
                assert!((value[i] - t).abs() < 1e-12, "{x:?}: {} {t}", value[i]);
                assert!((slope[6 + i] - b).abs() < 1e-12);
            }
            let [x, y, z] = x;
            let d = (-1.0 + 0.9 * x * x) * (y * y - 0.4) * z;
            assert!((slope[0] - d).abs() < 1e-11, "{} {d}", slope[0]);
        }
    }

    #[test]
    fn slopes_equal_differences() {
        let f = |[x, y, z]: [f64; 3]| vec![(x * y).sin() + z.ln(), (x - y * z).cos()];
        let spline = grid(&f);
        let at = |x: [f64; 3], w: f64| {
            let (mut value, mut slope) = (vec![0.0; 1], vec![0.0; 4]);
            spline.evaluate(&x, &[w], &mut value, &mut slope);
            (value[0], slope)
        };
        for x in [[0.8, 0.1, 3.0], [1.7, -0.6, 4.0], [2.5, 0.8, 2.2]] {
            let (_, slope) = at(x, 0.4);
            let h = 1e-5;
            for (j, s) in slope.iter().enumerate().take(3) {
                let (mut a, mut b) = (x, x);
                a[j] += h;
                b[j] -= h;
                let difference = (at(a, 0.4).0 - at(b, 0.4).0) / (2.0 * h);
                assert!((s - difference).abs() < 1e-8, "{j}: {s} {difference}");
            }
            let difference = at(x, 1.4).0 - at(x, 0.4).0;
            assert!((slope[3] - difference).abs() < 1e-13);
        }
    }

    #[test]
    fn errors_fall_with_the_fourth_power() {
        let error = |n: usize| {
            let nodes: Vec<f64> = (0..n).map(|i| 3.0 * i as f64 / (n - 1) as f64).collect();
            let values = nodes.iter().map(|x| (-x * x).exp()).collect();
            let spline =
                GridSpline::through(vec![SplineAxis::new(&nodes).unwrap()], 1, values).unwrap();
            (0..300)
                .map(|i| {
                    let x = 0.01 * f64::from(i);
                    let (mut value, mut slope) = ([0.0], [0.0]);
                    spline.evaluate(&[x], &[], &mut value, &mut slope);
                    (value[0] - (-x * x).exp()).abs()
                })
                .fold(0.0, f64::max)
        };
        let ratio = error(21) / error(41);
        assert!((10.0..26.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn wrong_grids_are_none() {
        assert!(SplineAxis::new(&[1.0]).is_none());
        assert!(SplineAxis::new(&[1.0, 1.0]).is_none());
        assert!(SplineAxis::new(&[1.0, f64::NAN]).is_none());
        let axis = SplineAxis::new(&[0.0, 1.0]).unwrap();
        assert!(GridSpline::through(vec![axis], 1, vec![0.0; 3]).is_none());
    }
}
