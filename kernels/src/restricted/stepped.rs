//! The exact signal of any stepped gradient in a pore, with relaxing walls and membranes.
//!
//! $$\dot w = (-\Lambda + g(t)\cdot G)\,w,\qquad S = w_0\cdot w(T)$$
//!
//! in the polynomial modes of `modes.rs`: Λ holds diffusion, relaxing walls (as a term
//! $\rho\oint uv$ of the weak form) and membranes (as $\kappa\,\delta u\,\delta v$ of the jumps, with polynomials of
//! their own on each side). With $u_n = i^n w_n$ in angular order n all is real and G is
//! antisymmetric and block tridiagonal; in a slab with membranes, where orders do not help,
//! the two blocks are real and imaginary part.
//!
//! Every interval of constant gradient is one exponential. Where there are many, windows of
//! several are one exponential of Magnus' series to fourth order,
//!
//! $$\exp\Bigl(-H\Lambda + aG + c\,[-\Lambda, G]\Bigr),\qquad a = \int g\,dt,\quad
//!   c = -\int g\,(t - \tfrac H2)\,dt,$$
//!
//! halved until the signal stays. The exponential is that of `pulse.rs`: one real pole, a
//! block factorisation and its solves.
//!
//! | symbol | unit |
//! |---|---|
//! | g | rad/(ms µm), γ times the gradient |
//! | Λ | 1/ms |
//! | G | µm |
//! | ρ, κ | µm/ms |
//!
//! Source: Grebenkov 2007, doi:10.1103/RevModPhys.79.1077, sections III and V (matrix
//! formalism, relaxing walls); Callaghan 1997, doi:10.1006/jmre.1997.1233; Blanes, Casas,
//! Oteo & Ros 2009, doi:10.1016/j.physrep.2008.11.001, section 5.4 (Magnus). Validated by the
//! tests below and, over the whole reference, by the example `simulation_reference --exact`.

use super::coefficients::{STRIPS, Strip};
use super::modes::{Geometry, Relaxing, legendre};
use crate::eigen::eigen_symmetric;
use crate::legendre::gauss_legendre;
use crate::vector::{minus, norm, plus};

/// The signal is taken when half of the windows, or fewer modes, change it by less.
const CHANGE: f64 = 2e-10;
/// At the highest degree this change is still taken.
const LOOSE: f64 = 1e-8;
/// A change of the gradient above this share of its largest is a jump.
const JUMP: f64 = 0.03;
/// Intervals up to this number are made one by one.
const SHORT: usize = 48;
/// Windows of a long waveform to begin with.
const WINDOWS: usize = 64;
/// Highest degree of polynomials.
const DEGREE_MAX: usize = 120;
/// The same in a sphere where the gradient turns: orders have all their 2 n + 1 functions.
const DEGREE_TURNING: usize = 36;
/// Functions on each side of a membrane at most.
const LAYER_MAX: usize = 48;

/// A pore. Permeabilities above 1e5 µm/ms cost digits (1e-6 at 1e9).
#[derive(Clone, Debug, PartialEq)]
pub struct Pore {
    /// Its shape.
    pub shape: PoreShape,
    /// D, µm²/ms.
    pub diffusivity: f64,
    /// ρ of the walls, µm/ms.
    pub relaxivity: f64,
}

/// The shape of a pore about the origin; axes as in `walk`.
#[derive(Clone, Debug, PartialEq)]
pub enum PoreShape {
    /// Planes across x.
    Planes {
        /// Distance, µm.
        separation: f64,
        /// Position (µm) and permeability (µm/ms) of membranes, rising.
        membranes: Vec<[f64; 2]>,
    },
    /// A cylinder along z.
    Cylinder {
        /// Radius, µm.
        radius: f64,
    },
    /// A sphere.
    Sphere {
        /// Radius, µm.
        radius: f64,
    },
}

/// Why a signal is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SteppedError {
    /// A gradient that turns in a sphere, so strong that its modes are too many.
    #[error(
        "the gradient turns in a sphere and is too strong for its modes: the signal is not settled to 1e-8 at degree {0}"
    )]
    Turns(usize),
    /// The phase across the pore needs too many modes.
    #[error(
        "the gradient is too strong for the modes of this pore: the signal is not settled to 1e-8"
    )]
    Strong,
}

/// An interval: its length (ms) and the gradient in it, in the frame of the pore.
pub type Interval = (f64, [f64; 3]);

/// The complex signal of a pore after all intervals, relative to the start; of the
/// restricted directions only (x between planes, x and y in a cylinder).
///
/// A gradient that turns in a sphere costs seconds, not milliseconds.
///
/// # Errors
/// Phases that the largest set of modes can't hold.
pub fn stepped_signal(pore: &Pore, intervals: &[Interval]) -> Result<[f64; 2], SteppedError> {
    let (size, dimensions, membranes) = match &pore.shape {
        PoreShape::Planes { separation, membranes } => (0.5 * separation, 1, &membranes[..]),
        PoreShape::Cylinder { radius } => (*radius, 2, &[][..]),
        PoreShape::Sphere { radius } => (*radius, 3, &[][..]),
    };
    // Runs of equal gradients, in units of the pore: phase a time.
    let mut runs: Vec<(f64, [f64; 3])> = Vec::new();
    for (time, g) in intervals.iter().filter(|i| i.0 > 0.0) {
        let mut kept = [0.0; 3];
        for a in 0..dimensions {
            kept[a] = g[a] * size;
        }
        match runs.last_mut() {
            Some((total, last)) if *last == kept => *total += time,
            _ => runs.push((*time, kept)),
        }
    }
    let Some(course) = Course::new(runs, dimensions) else { return Ok([1.0, 0.0]) };
    let rate = pore.diffusivity / (size * size);
    let wall = pore.relaxivity * size / pore.diffusivity;
    let largest = course.largest_phase();
    let turns = course.axes == 3;
    let most = if turns { DEGREE_TURNING } else { DEGREE_MAX };
    let mut degree = (2 * ((0.6 * largest + if turns { 2.0 } else { 5.0 }) as usize) + 4).min(most);
    let mut before: Option<([f64; 2], usize)> = None;
    loop {
        let modes = if membranes.is_empty() {
            let geometry = [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere][dimensions - 1];
            System::round(geometry, degree, wall, course.axes)
        } else {
            let scaled: Vec<[f64; 2]> = membranes
                .iter()
                .map(|[x, kappa]| [x / size, kappa * size / pore.diffusivity])
                .collect();
            System::layered(&scaled, (degree + 2).min(LAYER_MAX), wall)
        };
        // The windows that one set of modes needs are those of the next.
        let (found, count) = match before {
            Some((_, count)) => (modes.propagate(&course.windows(count), rate), count),
            None => course.settled(&modes, rate),
        };
        if let Some((b, _)) = before {
            let change = apart(&b, &found);
            if change < CHANGE || (degree >= most || turns) && change < LOOSE {
                return Ok(found);
            }
        }
        if degree >= most {
            return Err(if turns { SteppedError::Turns(most) } else { SteppedError::Strong });
        }
        before = Some((found, count));
        degree = (degree + if turns { 4 } else { 8 }).min(most);
    }
}

fn apart(a: &[f64; 2], b: &[f64; 2]) -> f64 {
    (a[0] - b[0]).abs().max((a[1] - b[1]).abs())
}

/// Gradients over time in the directions that matter.
struct Course {
    runs: Vec<(f64, [f64; 3])>,
    /// 1: along one line; 2: turning in a cylinder; 3: turning in a sphere.
    axes: usize,
}

impl Course {
    /// Directions are turned so that a gradient along one line is along the first axis.
    fn new(runs: Vec<(f64, [f64; 3])>, dimensions: usize) -> Option<Self> {
        if runs.is_empty() {
            return None;
        }
        let largest = runs.iter().map(|r| r.1).max_by(|a, b| norm(*a).total_cmp(&norm(*b)));
        let main = largest.unwrap_or([0.0; 3]);
        let most = norm(main);
        if most == 0.0 {
            return Some(Self { runs, axes: 1 });
        }
        let unit = main.map(|v| v / most);
        let along = |g: &[f64; 3]| g[0] * unit[0] + g[1] * unit[1] + g[2] * unit[2];
        let off = |g: &[f64; 3]| {
            let p = along(g);
            norm([0, 1, 2].map(|a: usize| g[a] - p * unit[a]))
        };
        if runs.iter().all(|r| off(&r.1) <= 1e-13 * most) {
            let runs = runs.iter().map(|r| (r.0, [along(&r.1), 0.0, 0.0])).collect();
            return Some(Self { runs, axes: 1 });
        }
        Some(Self { runs, axes: dimensions })
    }

    fn largest_phase(&self) -> f64 {
        let (mut q, mut most) = ([0.0; 3], 0.0_f64);
        for (time, g) in &self.runs {
            q = plus(q, g.map(|g| g * time));
            most = most.max(norm(q));
        }
        most
    }

    /// The signal and the number of windows that it needs.
    fn settled(&self, system: &System, rate: f64) -> ([f64; 2], usize) {
        let all = usize::MAX;
        if self.runs.len() <= SHORT {
            return (system.propagate(&self.windows(all), rate), all);
        }
        let mut count = WINDOWS;
        let mut before = system.propagate(&self.windows(count), rate);
        loop {
            count *= 2;
            let found = system.propagate(&self.windows(count), rate);
            // Fourth order: what is left is a fifteenth of the change.
            if apart(&before, &found) < 15.0 * CHANGE || count >= 4 * self.runs.len() {
                return (found, count);
            }
            before = found;
        }
    }

    /// Windows of about a `count`th of the whole; they end where the gradient jumps.
    fn windows(&self, count: usize) -> Vec<Window> {
        let total: f64 = self.runs.iter().map(|r| r.0).sum();
        let width = total / count as f64;
        let most = self.runs.iter().map(|r| norm(r.1)).fold(0.0, f64::max);
        let mut out = Vec::new();
        let mut open: Vec<(f64, [f64; 3])> = Vec::new();
        let mut length = 0.0;
        for (k, (time, g)) in self.runs.iter().enumerate() {
            open.push((*time, *g));
            length += time;
            let jumps = self.runs.get(k + 1).is_none_or(|(next_time, next)| {
                let jump = norm(minus(*next, *g)) > JUMP * most;
                // A long run is one exponential, whatever the width.
                jump || *time >= width || *next_time >= width
            });
            if jumps || length >= width * (1.0 - 1e-9) {
                out.push(Window::joined(&open));
                open.clear();
                length = 0.0;
            }
        }
        out
    }
}

/// One exponential.
#[derive(Clone, Copy, PartialEq)]
struct Window {
    time: f64,
    phase: [f64; 3],
    /// c of the header, all axes.
    tilt: [f64; 3],
}

impl Window {
    fn of(time: f64, g: [f64; 3]) -> Self {
        Self { time, phase: g.map(|g| g * time), tilt: [0.0; 3] }
    }

    fn joined(runs: &[(f64, [f64; 3])]) -> Self {
        if let [(time, g)] = runs {
            return Self::of(*time, *g);
        }
        let time: f64 = runs.iter().map(|r| r.0).sum();
        let (mut phase, mut tilt, mut t) = ([0.0; 3], [0.0; 3], 0.0);
        for (h, g) in runs {
            let middle = t + 0.5 * h - 0.5 * time;
            for a in 0..3 {
                phase[a] += h * g[a];
                tilt[a] -= h * g[a] * middle;
            }
            t += h;
        }
        Self { time, phase, tilt }
    }
}

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

/// A dense matrix by rows.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn zero(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }
}

/// Λ, G and the start in blocks.
struct System {
    /// Eigenvalues by block.
    lambda: Vec<Vec<f64>>,
    /// G from block n to n + 1, of one axis, two or three.
    up: Vec<Vec<Matrix>>,
    /// The uniform state.
    start: Vec<Vec<f64>>,
}

impl System {
    /// Planes, cylinder, sphere by angular order.
    fn round(geometry: Geometry, degree: usize, wall: f64, axes: usize) -> Self {
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
    fn layered(membranes: &[[f64; 2]], degree: usize, wall: f64) -> Self {
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
    fn propagate(&self, windows: &[Window], rate: f64) -> [f64; 2] {
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

/// The block factorisation of a block tridiagonal matrix: inverses of its pivots.
struct Factors {
    inverse: Vec<Matrix>,
    off: Vec<(Matrix, Matrix)>,
}

impl Factors {
    /// `off[n]` are the blocks (n, n + 1) and (n + 1, n).
    fn new(diagonal: &[Vec<f64>], off: Vec<(Matrix, Matrix)>) -> Self {
        let mut inverse: Vec<Matrix> = Vec::with_capacity(diagonal.len());
        // From the last block, which is small, to the first.
        for n in (0..diagonal.len()).rev() {
            let size = diagonal[n].len();
            let mut pivot = Matrix::zero(size, size);
            for (i, v) in diagonal[n].iter().enumerate() {
                pivot.values[i * size + i] = *v;
            }
            if let (Some(next), Some((up, down))) = (inverse.last(), off.get(n)) {
                let right = product(next, down);
                let change = product(up, &right);
                for (p, c) in pivot.values.iter_mut().zip(&change.values) {
                    *p -= c;
                }
            }
            inverse.push(inverted(pivot));
        }
        inverse.reverse();
        Self { inverse, off }
    }

    fn solve(&self, x: &mut [Vec<f64>]) {
        let last = x.len() - 1;
        // y_n = x_n - U_n P_{n+1}^-1 y_{n+1}, from the last block down.
        for n in (0..last).rev() {
            let solved = multiplied(&self.inverse[n + 1], &x[n + 1]);
            let change = multiplied(&self.off[n].0, &solved);
            for (a, b) in x[n].iter_mut().zip(change) {
                *a -= b;
            }
        }
        for n in 0..=last {
            if n > 0 {
                let change = multiplied(&self.off[n - 1].1, &x[n - 1]);
                for (a, b) in x[n].iter_mut().zip(change) {
                    *a -= b;
                }
            }
            x[n] = multiplied(&self.inverse[n], &x[n]);
        }
    }
}

fn multiplied(m: &Matrix, x: &[f64]) -> Vec<f64> {
    m.values
        .chunks_exact(m.columns.max(1))
        .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum())
        .collect()
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let mut out = Matrix::zero(a.rows, b.columns);
    for (row, out) in a.values.chunks_exact(a.columns).zip(out.values.chunks_exact_mut(b.columns)) {
        for (v, b) in row.iter().zip(b.values.chunks_exact(b.columns)) {
            // The couplings of harmonics are mostly zeros.
            if *v == 0.0 {
                continue;
            }
            for (out, b) in out.iter_mut().zip(b) {
                *out += v * b;
            }
        }
    }
    out
}

/// The inverse by Gauss & Jordan with row exchanges.
fn inverted(mut a: Matrix) -> Matrix {
    let n = a.rows;
    let mut out = Matrix::zero(n, n);
    for i in 0..n {
        out.values[i * n + i] = 1.0;
    }
    for k in 0..n {
        let at = |i: &usize| a.values[i * n + k].abs();
        let best = (k..n).max_by(|i, j| at(i).total_cmp(&at(j))).unwrap_or(k);
        if best != k {
            for c in 0..n {
                a.values.swap(k * n + c, best * n + c);
                out.values.swap(k * n + c, best * n + c);
            }
        }
        let pivot = 1.0 / a.values[k * n + k];
        for c in 0..n {
            a.values[k * n + c] *= pivot;
            out.values[k * n + c] *= pivot;
        }
        let (row, other) =
            (a.values[k * n..(k + 1) * n].to_vec(), out.values[k * n..(k + 1) * n].to_vec());
        for i in (0..n).filter(|i| *i != k) {
            let factor = a.values[i * n + k];
            if factor == 0.0 {
                continue;
            }
            for c in 0..n {
                a.values[i * n + c] -= factor * row[c];
                out.values[i * n + c] -= factor * other[c];
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::pulse::{Pulse, signals};
    use super::*;

    fn pair(g: f64, delta: f64, big: f64) -> Vec<Interval> {
        vec![(delta, [g, 0.0, 0.0]), (big - delta, [0.0; 3]), (delta, [-g, 0.0, 0.0])]
    }

    /// Pairs of pulses are those of `pulse.rs`, the code of the compartments.
    #[test]
    fn pairs_are_those_of_pulses() {
        for (i, geometry) in
            [Geometry::Planes, Geometry::Cylinder, Geometry::Sphere].into_iter().enumerate()
        {
            for (size, d, g) in [(4.0, 2.0, 0.08), (10.0, 1.0, 0.02), (16.0, 2.0, 0.05)] {
                let shape = match i {
                    0 => PoreShape::Planes { separation: size, membranes: vec![] },
                    1 => PoreShape::Cylinder { radius: 0.5 * size },
                    _ => PoreShape::Sphere { radius: 0.5 * size },
                };
                let pore = Pore { shape, diffusivity: d, relaxivity: 0.0 };
                let found = stepped_signal(&pore, &pair(g, 8.0, 21.0)).unwrap();
                let pulse = Pulse { delta: 8.0, big_delta: 21.0, gamma_g_delta: 8.0 * g };
                let (mut wanted, mut by_size, mut by_d) = ([0.0], [0.0], [0.0]);
                signals(geometry, size, d, &[pulse], &mut wanted, &mut by_size, &mut by_d);
                assert!((found[0] - wanted[0]).abs() < 4e-9, "{size}: {found:?} {wanted:?}");
                assert_eq!(found[1], 0.0);
            }
        }
    }

    /// A membrane that hardly holds is none, one that holds all is two pores.
    #[test]
    fn membranes_join_and_part() {
        let slab = |membranes| Pore {
            shape: PoreShape::Planes { separation: 10.0, membranes },
            diffusivity: 2.0,
            relaxivity: 0.05,
        };
        let intervals = pair(0.05, 5.0, 15.0);
        let none = stepped_signal(&slab(vec![]), &intervals).unwrap();
        // What is left of a wide open membrane falls with its permeability.
        let open = |kappa: f64| stepped_signal(&slab(vec![[1.0, kappa]]), &intervals).unwrap();
        let (wide, wider) = (open(1e3), open(1e4));
        let ratio = (none[0] - wide[0]) / (none[0] - wider[0]);
        assert!((ratio - 10.0).abs() < 0.05 && wider[1].abs() < 1e-3, "{none:?} {wider:?} {ratio}");
        let closed = |x: f64| Pore {
            shape: PoreShape::Planes { separation: 10.0, membranes: vec![[x, 0.0]] },
            diffusivity: 2.0,
            relaxivity: 0.0,
        };
        let found = stepped_signal(&closed(1.0), &intervals).unwrap();
        let part = |separation: f64| {
            let shape = PoreShape::Planes { separation, membranes: vec![] };
            let pore = Pore { shape, diffusivity: 2.0, relaxivity: 0.0 };
            stepped_signal(&pore, &intervals).unwrap()[0]
        };
        // Six tenths and four tenths; refocused, so that places do not matter.
        assert!((found[0] - 0.6 * part(6.0) - 0.4 * part(4.0)).abs() < 2e-9, "{found:?}");
        assert!(found[1].abs() < 2e-9);
    }

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

    /// In a sphere any frame gives the same signal, and a turning gradient whose turn is far
    /// too fast to be felt that of one along a line.
    #[test]
    fn a_sphere_is_round() {
        let pore =
            Pore { shape: PoreShape::Sphere { radius: 3.0 }, diffusivity: 1.5, relaxivity: 0.03 };
        let wave = |turn: [[f64; 3]; 3], n: usize| -> Vec<Interval> {
            let of = |k: usize| {
                let t = (k as f64 + 0.5) / n as f64;
                let (s, c) = (std::f64::consts::TAU * t).sin_cos();
                let g = [0.15 * s, 0.1 * c * (2.0 * s), 0.12 * c];
                (20.0 / n as f64, turn.map(|r| r[0] * g[0] + r[1] * g[1] + r[2] * g[2]))
            };
            (0..n).map(of).collect()
        };
        let straight = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let aslant = [[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]];
        let found = stepped_signal(&pore, &wave(straight, 24)).unwrap();
        let turned = stepped_signal(&pore, &wave(aslant, 24)).unwrap();
        assert!((found[0] - turned[0]).abs() < 1e-9, "{found:?} {turned:?}");
        // Along a line, but for a part in a billion: by all harmonics, and by the zonal ones.
        let mut pulses = pair(0.1, 6.0, 15.0);
        let line = stepped_signal(&pore, &pulses).unwrap();
        for (_, g) in &mut pulses {
            *g = [0.6 * g[0], 0.8 * g[0], 0.0];
        }
        pulses[0].1[2] = 1e-10;
        let all = stepped_signal(&pore, &pulses).unwrap();
        assert!((line[0] - all[0]).abs() < 2e-9, "{line:?} {all:?}");
    }

    /// A slow turn of a gradient that does not matter: any direction in a cylinder.
    #[test]
    fn a_cylinder_is_round() {
        let pore =
            Pore { shape: PoreShape::Cylinder { radius: 3.0 }, diffusivity: 1.5, relaxivity: 0.02 };
        let wave = |angle: f64, n: usize| -> Vec<Interval> {
            let of = |k: usize| {
                let t = (k as f64 + 0.5) / n as f64;
                let (s, c) = (std::f64::consts::TAU * t).sin_cos();
                let (x, y) = (0.1 * s, 0.07 * c * (4.0 * t * std::f64::consts::PI).sin());
                let (sine, cosine) = f64::sin_cos(angle);
                (20.0 / n as f64, [cosine * x - sine * y, sine * x + cosine * y, 9.0])
            };
            (0..n).map(of).collect()
        };
        let few = stepped_signal(&pore, &wave(0.0, 40)).unwrap();
        let turned = stepped_signal(&pore, &wave(1.1, 40)).unwrap();
        assert!((few[0] - turned[0]).abs() < 1e-9, "{few:?} {turned:?}");
        // The same steps each cut in three: windows agree with single exponentials.
        let cut: Vec<Interval> = wave(0.0, 40)
            .into_iter()
            .flat_map(|(h, g)| {
                // Tiny differences keep runs apart.
                [0.0, 1e-12, 0.0].map(|e| (h / 3.0, [g[0] + e, g[1], g[2]]))
            })
            .collect();
        let windows = stepped_signal(&pore, &cut).unwrap();
        assert!((few[0] - windows[0]).abs() < 2e-9, "{few:?} {windows:?}");
    }
}
