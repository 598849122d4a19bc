//! The modes of a pore in blocks, and their propagation through one window of a gradient.
//!
//! $$w(t + H) = \exp\Bigl(-H\Lambda + aG + c\,[-\Lambda, G]\Bigr)\,w(t)$$
//!
//! with the symbols of `stepped.rs`: blocks of angular order, or the real and imaginary part
//! in a slab with membranes; Λ diagonal, G between neighbouring blocks. The exponential is that of
//! `pulse.rs`: one real pole, a block factorisation and its solves.
//!
//! Source: as `stepped.rs`. Validated by its tests and `kernels/tests/suite/stepped.rs`.

use super::block_tridiagonal::{Factors, Matrix};
use super::coefficients::{STRIPS, Strip};
use super::modes::{Geometry, Relaxing, legendre};
use super::stepped::Window;
use crate::eigen::eigen_symmetric;
use crate::legendre::gauss_legendre;
use crate::vector::norm;

/// What x, y and z times a real harmonic of order n (rows) hold of those of order n + 1
/// (columns), orthonormal; number n + m is $\cos m\varphi$ and n - m is $\sin m\varphi$, m > 0,
/// without the phase of Condon and Shortley. From the recurrences of $\cos\theta P_n^m$ and
/// $\sin\theta P_n^m$ (DLMF 14.10).
fn harmonics(n: usize) -> [Vec<f64>; 3] {
    let columns = 2 * n + 3;
    let mut out = [0; 3].map(|_| vec![0.0; (2 * n + 1) * columns]);
    let below = ((2 * n + 1) as f64 * (2 * n + 3) as f64).sqrt();
    let root = |a: usize, b: usize| ((a * b) as f64).sqrt() / below;
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let mut put = |axis: usize, row: usize, column: usize, v: f64| {
        out[axis][row * columns + column] = v;
    };
    let (cosine, sine) = (|m: usize| n + m, |m: usize| n - m);
    let (next_cosine, next_sine) = (|m: usize| n + 1 + m, |m: usize| n + 1 - m);
    for m in 0..=n {
        let along = root(n + 1 - m, n + 1 + m);
        // sin θ P_n^m holds `up` of P_(n+1)^(m+1) and `-down` of P_(n+1)^(m-1).
        let (up, down) = (root(n + m + 1, n + m + 2), root(n + 1 - m, n + 2 - m));
        put(2, cosine(m), next_cosine(m), along);
        if m == 0 {
            put(0, cosine(0), next_cosine(1), up * half);
            put(1, cosine(0), next_sine(1), up * half);
            continue;
        }
        put(2, sine(m), next_sine(m), along);
        put(0, cosine(m), next_cosine(m + 1), 0.5 * up);
        put(0, sine(m), next_sine(m + 1), 0.5 * up);
        put(1, cosine(m), next_sine(m + 1), 0.5 * up);
        put(1, sine(m), next_cosine(m + 1), -0.5 * up);
        if m == 1 {
            put(0, cosine(1), next_cosine(0), -half * down);
            put(1, sine(1), next_cosine(0), -half * down);
        } else {
            put(0, cosine(m), next_cosine(m - 1), -0.5 * down);
            put(0, sine(m), next_sine(m - 1), -0.5 * down);
            put(1, cosine(m), next_sine(m - 1), 0.5 * down);
            put(1, sine(m), next_cosine(m - 1), -0.5 * down);
        }
    }
    out
}

/// Λ, G and the start in blocks.
pub(super) struct System {
    /// Eigenvalues by block.
    lambda: Vec<Vec<f64>>,
    /// G from block n to n + 1, of one axis, two or three.
    up: Vec<Vec<Matrix>>,
    /// The uniform state.
    start: Vec<Vec<f64>>,
}

impl System {
    /// Planes, cylinder, sphere by angular order.
    pub(super) fn round(geometry: Geometry, degree: usize, wall: f64, axes: usize) -> Self {
        let modes = Relaxing::new(geometry, degree, wall);
        if axes == 3 {
            return Self::turning(&modes);
        }
        let twice = |n: usize| if axes == 2 && n > 0 { 2 } else { 1 };
        let mut out = Self { lambda: vec![], up: vec![vec![], vec![]], start: vec![] };
        for (n, lambda) in modes.lambda.iter().enumerate() {
            out.lambda.push(lambda.repeat(twice(n)));
            let mut start = vec![0.0; lambda.len() * twice(n)];
            if n == 0 {
                start.copy_from_slice(&modes.uniform);
            }
            out.start.push(start);
        }
        for (n, b) in modes.coupling.iter().enumerate() {
            let (rows, columns) = (modes.lambda[n].len(), modes.lambda[n + 1].len());
            let (tr, tc) = (twice(n), twice(n + 1));
            // Cosines stand before sines.
            let mut x = Matrix::zero(rows * tr, columns * tc);
            let mut y = x.clone();
            for j in 0..rows {
                for k in 0..columns {
                    let v = b[j * columns + k];
                    let put = |m: &mut Matrix, sine: [usize; 2], v: f64| {
                        let (row, column) = (sine[0] * rows + j, sine[1] * columns + k);
                        m.values[row * m.columns + column] = v;
                    };
                    put(&mut x, [0, 0], v);
                    if tc == 2 {
                        put(&mut y, [0, 1], v);
                    }
                    if tr == 2 {
                        put(&mut x, [1, 1], v);
                        put(&mut y, [1, 0], -v);
                    }
                }
            }
            out.up[0].push(x);
            out.up[1].push(y);
        }
        out
    }

    /// A sphere with all real harmonics of every order: [`harmonics`] and their couplings.
    fn turning(modes: &Relaxing) -> Self {
        let mut out = Self { lambda: vec![], up: vec![vec![]; 3], start: vec![] };
        for (n, lambda) in modes.lambda.iter().enumerate() {
            out.lambda.push(lambda.repeat(2 * n + 1));
            let mut start = vec![0.0; lambda.len() * (2 * n + 1)];
            if n == 0 {
                start.copy_from_slice(&modes.uniform);
            }
            out.start.push(start);
        }
        for (n, b) in modes.coupling.iter().enumerate() {
            let (rows, columns) = (modes.lambda[n].len(), modes.lambda[n + 1].len());
            // The coupling along one axis has the factor of cos θ between the zonal functions.
            let zonal = harmonics(n)[2][n * (2 * n + 3) + n + 1];
            for (up, angular) in out.up.iter_mut().zip(harmonics(n)) {
                let mut m = Matrix::zero(rows * (2 * n + 1), columns * (2 * n + 3));
                for (i, v) in angular.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    let (p, q) = (i / (2 * n + 3), i % (2 * n + 3));
                    for j in 0..rows {
                        for k in 0..columns {
                            m.values[(p * rows + j) * m.columns + q * columns + k] =
                                v / zonal * b[j * columns + k];
                        }
                    }
                }
                up.push(m);
            }
        }
        out
    }

    /// A slab with membranes: polynomials of a degree in every layer; real and imaginary
    /// part are the two blocks.
    pub(super) fn layered(membranes: &[[f64; 2]], degree: usize, wall: f64) -> Self {
        let mut edges = vec![-1.0];
        edges.extend(membranes.iter().map(|m| m[0]));
        edges.push(1.0);
        let layers = edges.len() - 1;
        let per = degree + 1;
        let n = layers * per;
        let (mut stiffness, mut x) = (vec![0.0; n * n], vec![0.0; n * n]);
        let nodes = gauss_legendre(degree + 3);
        let mut uniform = vec![0.0; n];
        for l in 0..layers {
            let (low, high) = (edges[l], edges[l + 1]);
            let half = 0.5 * (high - low);
            // Orthonormal for the measure dx / 2.
            let norm = |k: usize| ((2 * k + 1) as f64 / half).sqrt();
            uniform[l * per] = half.sqrt();
            for (s, weight) in &nodes {
                let at = 0.5 * (low + high) + half * s;
                let (f, df): (Vec<f64>, Vec<f64>) = (0..per).map(|k| legendre(k, *s)).unzip();
                for j in 0..per {
                    for k in 0..per {
                        let i = (l * per + j) * n + l * per + k;
                        let scale = 0.5 * half * weight * norm(j) * norm(k);
                        stiffness[i] += scale * df[j] * df[k] / (half * half);
                        x[i] += scale * at * f[j] * f[k];
                    }
                }
            }
            // Values at the two ends are 1 and (-1)^k times the norm.
            let mut add = |a: (usize, bool), b: (usize, bool), factor: f64| {
                let of = |l: usize| {
                    let half = 0.5 * (edges[l + 1] - edges[l]);
                    move |k: usize, right: bool| {
                        let sign = if right || k.is_multiple_of(2) { 1.0 } else { -1.0 };
                        sign * ((2 * k + 1) as f64 / half).sqrt()
                    }
                };
                let (f, g) = (of(a.0), of(b.0));
                for j in 0..per {
                    for k in 0..per {
                        stiffness[(a.0 * per + j) * n + b.0 * per + k] +=
                            0.5 * factor * f(j, a.1) * g(k, b.1);
                    }
                }
            };
            if l == 0 {
                add((0, false), (0, false), wall);
            }
            if l + 1 == layers {
                add((l, true), (l, true), wall);
            } else {
                let kappa = membranes[l][1];
                add((l, true), (l, true), kappa);
                add((l + 1, false), (l + 1, false), kappa);
                add((l, true), (l + 1, false), -kappa);
                add((l + 1, false), (l, true), -kappa);
            }
        }
        let (lambda, vectors) = eigen_symmetric(&stiffness, n);
        let lambda: Vec<f64> = lambda.into_iter().map(|v| v.max(0.0)).collect();
        let row = |j: usize| &vectors[j * n..(j + 1) * n];
        let start: Vec<f64> =
            (0..n).map(|j| row(j).iter().zip(&uniform).map(|(a, b)| a * b).sum()).collect();
        let mut coupling = Matrix::zero(n, n);
        for k in 0..n {
            let turned: Vec<f64> = (0..n)
                .map(|i| x[i * n..(i + 1) * n].iter().zip(row(k)).map(|(a, b)| a * b).sum())
                .collect();
            for j in 0..n {
                coupling.values[j * n + k] =
                    row(j).iter().zip(&turned).map(|(a, b): (&f64, &f64)| a * b).sum();
            }
        }
        let none = Matrix::zero(n, n);
        Self {
            lambda: vec![lambda.clone(), lambda],
            up: vec![vec![coupling], vec![none]],
            start: vec![start, vec![0.0; n]],
        }
    }

    /// The signal after all windows: real part, and the imaginary one of a layered slab.
    pub(super) fn propagate(&self, windows: &[Window], rate: f64) -> [f64; 2] {
        let mut w = self.start.clone();
        let mut last: Option<(Window, Propagator)> = None;
        for window in windows {
            let known = last.as_ref().is_some_and(|l| l.0 == *window);
            if !known {
                last = Some((*window, Propagator::new(self, window, rate)));
            }
            if let Some((_, propagator)) = &last {
                propagator.apply(&mut w);
            }
        }
        let along =
            |block: &[f64]| -> f64 { self.start[0].iter().zip(block).map(|(a, b)| a * b).sum() };
        // Blocks of planes by parity are the real part only; two blocks with equal eigenvalues
        // are real and imaginary part.
        let layered = self.lambda.len() == 2 && self.lambda[0] == self.lambda[1];
        let imaginary = if layered { along(&w[1]) } else { 0.0 };
        [along(&w[0]), imaginary]
    }
}

/// One exponential, ready to be applied.
struct Propagator {
    /// exp of the diagonal alone, where there is no gradient.
    decay: Option<Vec<Vec<f64>>>,
    strip: &'static Strip,
    times: usize,
    factors: Option<Factors>,
}

impl Propagator {
    fn new(system: &System, window: &Window, rate: f64) -> Self {
        let phase = norm(window.phase);
        let still = phase == 0.0 && window.tilt == [0.0; 3];
        let strip =
            STRIPS.iter().find(|s| s.half_width >= phase).unwrap_or(&STRIPS[STRIPS.len() - 1]);
        let times = (phase / strip.half_width).ceil().max(1.0) as usize;
        if still {
            let of = |v: &f64| (-v * rate * window.time).exp();
            let decay = system.lambda.iter().map(|b| b.iter().map(of).collect()).collect();
            return Self { decay: Some(decay), strip, times, factors: None };
        }
        let share = 1.0 / times as f64;
        // 1 - h E of one step.
        let h = strip.step * share;
        let blocks = system.lambda.len();
        let diagonal: Vec<Vec<f64>> = system
            .lambda
            .iter()
            .map(|b| b.iter().map(|v| 1.0 + h * rate * window.time * v).collect())
            .collect();
        // E from block n to n + 1 is -q B and back q B'; the commutator has (λ_k - λ_j).
        let mut off = Vec::with_capacity(blocks);
        for n in 0..blocks - 1 {
            let gx = &system.up[0][n];
            let mut up = Matrix::zero(gx.rows, gx.columns);
            let mut down = Matrix::zero(gx.columns, gx.rows);
            for j in 0..gx.rows {
                for k in 0..gx.columns {
                    let i = j * gx.columns + k;
                    let (mut q, mut c) = (0.0, 0.0);
                    for (g, (p, t)) in system.up.iter().zip(window.phase.iter().zip(window.tilt)) {
                        q += p * g[n].values[i];
                        c += t * g[n].values[i];
                    }
                    c *= rate;
                    if q == 0.0 && c == 0.0 {
                        continue;
                    }
                    let gap = system.lambda[n + 1][k] - system.lambda[n][j];
                    // [-Λ, G]_jk = (λ_k - λ_j) G_jk, with G_jk = -B and G_kj = B.
                    up.values[i] = -h * (-q - c * gap);
                    down.values[k * gx.rows + j] = -h * (q - c * gap);
                }
            }
            off.push((up, down));
        }
        Self { decay: None, strip, times, factors: Some(Factors::new(&diagonal, off)) }
    }

    fn apply(&self, w: &mut Vec<Vec<f64>>) {
        if let Some(decay) = &self.decay {
            for (block, decay) in w.iter_mut().zip(decay) {
                for (v, d) in block.iter_mut().zip(decay) {
                    *v *= d;
                }
            }
            return;
        }
        let Some(factors) = &self.factors else { return };
        for _ in 0..self.times {
            // Sum of c_j T_j(2X - 1) w.
            let c = self.strip.coefficients;
            let mut sum: Vec<Vec<f64>> =
                w.iter().map(|b| b.iter().map(|v| c[0] * v).collect()).collect();
            let mut before = w.clone();
            let mut now = w.clone();
            for (j, c) in c.iter().enumerate().skip(1) {
                let mut solved = now.clone();
                factors.solve(&mut solved);
                for n in 0..now.len() {
                    for i in 0..now[n].len() {
                        let next = if j == 1 {
                            2.0 * solved[n][i] - now[n][i]
                        } else {
                            4.0 * solved[n][i] - 2.0 * now[n][i] - before[n][i]
                        };
                        before[n][i] = now[n][i];
                        now[n][i] = next;
                        sum[n][i] += c * next;
                    }
                }
            }
            *w = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::harmonics;

    /// Real harmonics times a coordinate: squares of all directions add up, and sums over the
    /// sphere are those of the products of integrals.
    #[test]
    fn harmonics_hold_the_sphere_together() {
        for n in 0..6 {
            let all = harmonics(n);
            let columns = 2 * n + 3;
            for row in 0..2 * n + 1 {
                // x^2 + y^2 + z^2 = 1: what goes up is (n + 1) / (2 n + 1).
                let square: f64 = all
                    .iter()
                    .flat_map(|m| &m[row * columns..(row + 1) * columns])
                    .map(|v| v * v)
                    .sum();
                let wanted = (n + 1) as f64 / (2 * n + 1) as f64;
                assert!((square - wanted).abs() < 1e-14, "{n} {row}: {square}");
            }
        }
    }
}
