//! Forward differences on a lattice of voxels, their exact transpose, and what total
//! variation needs of them.
//!
//! $$(\nabla x)_{k,j} = x_{j+e_k} - x_j \ (0 \text{ at the last of an axis}),\qquad
//!   \mathrm{TV}(x) = \sum_j \Big(\sum_k (\nabla x)_{k,j}^2\Big)^{1/2},\qquad
//!   \|\nabla\|^2 \le 4d$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | any | voxels `[z, y, x]` or `[y, x]` |
//! | $k$ | | axis x, y, z; $d$ of them |
//!
//! Differences are between neighbouring voxels, not divided by their distance. A task owns
//! whole rows along x, so results are equal to the bit for any number of threads.
//!
//! Source: Rudin, Osher & Fatemi 1992, doi:10.1016/0167-2789(92)90242-F; Chambolle 2004,
//! doi:10.1023/B:JMIV.0000011325.36760.1e (section 2). Validated by the tests below.

use crate::lanes::{Task, at_level};
use crate::ray::Real;
use crate::simd;
use rayon::prelude::*;

/// Least voxels of a task.
const TASK_VOXELS: usize = 1 << 13;

/// Sizes x, y, z, and how many axes have differences: two or three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lattice {
    shape: [usize; 3],
    axes: usize,
}

/// One array an axis, x first: `[axis][z, y, x]`.
pub type Field<T> = Vec<Vec<T>>;

impl Lattice {
    /// The lattice of an array `[y, x]` or `[z, y, x]`; `None` for other numbers of axes
    /// and for empty ones.
    pub fn new(shape: &[usize]) -> Option<Self> {
        match *shape {
            [y, x] if x * y > 0 => Some(Self { shape: [x, y, 1], axes: 2 }),
            [z, y, x] if x * y * z > 0 => Some(Self { shape: [x, y, z], axes: 3 }),
            _ => None,
        }
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: a lattice has voxels.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Two or three.
    pub fn axes(&self) -> usize {
        self.axes
    }

    /// An upper bound of the squared norm of the differences, $4d$.
    pub fn squared_norm(&self) -> f64 {
        4.0 * self.axes as f64
    }

    /// A field of zeros.
    pub fn field<T: Real>(&self) -> Field<T> {
        vec![vec![T::default(); self.len()]; self.axes]
    }

    fn rows_of_task(&self) -> usize {
        TASK_VOXELS.div_ceil(self.shape[0])
    }

    /// First indices of a row and of its next neighbours; itself where there is none.
    fn neighbours(&self, row: usize) -> [usize; 3] {
        let [nx, ny, nz] = self.shape;
        let (y, z) = (row % ny, row / ny);
        let next_y = if y + 1 < ny { row + 1 } else { row };
        let next_z = if z + 1 < nz { row + ny } else { row };
        [row * nx, next_y * nx, next_z * nx]
    }
}

/// The rows of a field that a task owns.
struct Part<'a, T> {
    first: usize,
    rows: Vec<&'a mut [T]>,
}

fn parts<'a, T>(lattice: &Lattice, field: &'a mut Field<T>) -> Vec<Part<'a, T>> {
    let rows = lattice.rows_of_task();
    let n = (lattice.shape[1] * lattice.shape[2]).div_ceil(rows);
    let mut chunks: Vec<_> =
        field.iter_mut().map(|f| f.chunks_mut(rows * lattice.shape[0])).collect();
    (0..n)
        .map(|k| Part {
            first: k * rows,
            rows: chunks.iter_mut().map(|c| c.next().unwrap_or_default()).collect(),
        })
        .collect()
}

/// A rule for the differences of a voxel.
trait Rule: Copy + Sync {
    fn of<const D: usize>(self, differences: [f64; D], old: [f64; D]) -> [f64; D];
}

/// Calls a rule for every voxel of some rows.
struct Differences<'a, 'b, T, R> {
    lattice: Lattice,
    x: &'a [T],
    part: &'a mut Part<'b, T>,
    rule: R,
}

impl<T: Real, R: Rule> Differences<'_, '_, T, R> {
    #[inline(always)]
    fn row<const D: usize>(x: &[T], next: [&[T]; D], out: [&mut [T]; D], rule: R) {
        let n = x.len();
        let next = next.map(|a| &a[..n]);
        let out = out.map(|a| &mut a[..n]);
        for i in 0..n {
            let here = x[i].wide();
            let mut old = [0.0; D];
            let mut differences = [0.0; D];
            for k in 0..D {
                differences[k] = next[k][i].wide() - here;
                old[k] = out[k][i].wide();
            }
            let new = rule.of(differences, old);
            for k in 0..D {
                out[k][i] = T::narrow(new[k]);
            }
        }
    }
}

impl<T: Real, R: Rule> Task for Differences<'_, '_, T, R> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let nx = self.lattice.shape[0];
        let n = self.part.rows[0].len() / nx;
        for r in 0..n {
            let [here, y, z] = self.lattice.neighbours(self.part.first + r);
            let (x, y, z) = (&self.x[here..here + nx], &self.x[y..y + nx], &self.x[z..z + nx]);
            // The last voxel of a row is its own neighbour.
            for (begin, end, step) in [(0, nx - 1, 1), (nx - 1, nx, 0)] {
                let side = &x[begin + step..end + step];
                let at = r * nx + begin..r * nx + end;
                match &mut self.part.rows[..] {
                    [a, b] => {
                        let out = [&mut a[at.clone()], &mut b[at]];
                        Self::row(&x[begin..end], [side, &y[begin..end]], out, self.rule);
                    }
                    [a, b, c] => {
                        let out = [&mut a[at.clone()], &mut b[at.clone()], &mut c[at]];
                        let next = [side, &y[begin..end], &z[begin..end]];
                        Self::row(&x[begin..end], next, out, self.rule);
                    }
                    _ => {}
                }
            }
        }
    }
}

fn apply<T: Real>(lattice: &Lattice, x: &[T], field: &mut Field<T>, rule: impl Rule) {
    assert!(x.len() == lattice.len() && field.len() == lattice.axes);
    assert!(field.iter().all(|f| f.len() == x.len()));
    let level = simd::level();
    parts(lattice, field).par_iter_mut().for_each(|part| {
        at_level(level, Differences { lattice: *lattice, x, part, rule });
    });
}

#[inline(always)]
fn length<const D: usize>(v: [f64; D]) -> f64 {
    let mut sum = 0.0;
    for v in v {
        sum += v * v;
    }
    sum.sqrt()
}

#[derive(Clone, Copy)]
struct Plain;

impl Rule for Plain {
    #[inline(always)]
    fn of<const D: usize>(self, differences: [f64; D], _: [f64; D]) -> [f64; D] {
        differences
    }
}

#[derive(Clone, Copy)]
struct Ascent {
    step: f64,
    radius: f64,
}

impl Rule for Ascent {
    #[inline(always)]
    fn of<const D: usize>(self, differences: [f64; D], old: [f64; D]) -> [f64; D] {
        let mut new = old;
        for k in 0..D {
            new[k] += self.step * differences[k];
        }
        // At a radius of 0 everything is 0, not 0/0.
        let scale = self.radius / length(new).max(self.radius).max(f64::MIN_POSITIVE);
        for v in &mut new {
            *v *= scale;
        }
        new
    }
}

#[derive(Clone, Copy)]
struct Directions {
    smoothing: f64,
    /// $1/\delta$; 0 for none.
    inverse_edge: f64,
}

impl Rule for Directions {
    #[inline(always)]
    fn of<const D: usize>(self, differences: [f64; D], _: [f64; D]) -> [f64; D] {
        let mut weights = [1.0; D];
        if self.inverse_edge > 0.0 {
            for k in 0..D {
                let v = differences[k] * self.inverse_edge;
                weights[k] = (-v * v).exp();
            }
        }
        let mut sum = self.smoothing * self.smoothing;
        for k in 0..D {
            sum += weights[k] * differences[k] * differences[k];
        }
        let scale = 1.0 / sum.sqrt();
        let mut new = differences;
        for k in 0..D {
            new[k] *= weights[k] * scale;
        }
        new
    }
}

/// Writes $\nabla x$ over a field.
///
/// # Panics
/// When an array has another length than the lattice.
pub fn gradient<T: Real>(lattice: &Lattice, x: &[T], out: &mut Field<T>) {
    apply(lattice, x, out, Plain);
}

/// $q \leftarrow \Pi_\lambda(q + \sigma\nabla x)$: a step, then the nearest field whose vectors
/// are no longer than `radius`.
///
/// # Panics
/// When an array has another length than the lattice.
pub fn ascend<T: Real>(lattice: &Lattice, x: &[T], q: &mut Field<T>, step: f64, radius: f64) {
    apply(lattice, x, q, Ascent { step, radius });
}

/// Writes $w_k\,(\nabla x)_k / (\sum_k w_k(\nabla x)_k^2 + \epsilon^2)^{1/2}$ over a field, so
/// that its transpose is the gradient of the smoothed total variation. Weights are 1, or
/// $e^{-((\nabla x)_k/\delta)^2}$ where an edge $\delta$ is given.
///
/// # Panics
/// When an array has another length than the lattice.
pub fn directions<T: Real>(
    lattice: &Lattice,
    x: &[T],
    out: &mut Field<T>,
    smoothing: f64,
    edge: Option<f64>,
) {
    let inverse_edge = edge.map_or(0.0, |d| 1.0 / d);
    apply(lattice, x, out, Directions { smoothing, inverse_edge });
}

/// Some rows of $o \leftarrow o + c\,\nabla^Tq$.
struct Transposed<'a, T> {
    lattice: Lattice,
    q: &'a Field<T>,
    first: usize,
    out: &'a mut [T],
    factor: f64,
}

impl<T: Real> Task for Transposed<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let [nx, ny, nz] = self.lattice.shape;
        for (r, out) in self.out.chunks_exact_mut(nx).enumerate() {
            let row = self.first + r;
            let (y, z) = (row % ny, row / ny);
            let along = &self.q[0][row * nx..(row + 1) * nx];
            let c = self.factor;
            for (o, v) in out[..nx - 1].iter_mut().zip(along) {
                *o = T::narrow(o.wide() - c * v.wide());
            }
            for (o, v) in out[1..].iter_mut().zip(along) {
                *o = T::narrow(o.wide() + c * v.wide());
            }
            let places = [(1, y, ny, 1), (2, z, nz, ny)];
            for (axis, at, n, stride) in places.into_iter().take(self.lattice.axes - 1) {
                if at + 1 < n {
                    let q = &self.q[axis][row * nx..(row + 1) * nx];
                    for (o, v) in out.iter_mut().zip(q) {
                        *o = T::narrow(o.wide() - c * v.wide());
                    }
                }
                if at > 0 {
                    let q = &self.q[axis][(row - stride) * nx..(row - stride + 1) * nx];
                    for (o, v) in out.iter_mut().zip(q) {
                        *o = T::narrow(o.wide() + c * v.wide());
                    }
                }
            }
        }
    }
}

/// Adds $c\,\nabla^Tq$ to `out`.
///
/// # Panics
/// When an array has another length than the lattice.
pub fn add_transpose<T: Real>(lattice: &Lattice, q: &Field<T>, out: &mut [T], factor: f64) {
    assert!(out.len() == lattice.len() && q.len() == lattice.axes);
    assert!(q.iter().all(|f| f.len() == out.len()));
    let rows = lattice.rows_of_task();
    let level = simd::level();
    out.par_chunks_mut(rows * lattice.shape[0]).enumerate().for_each(|(k, out)| {
        at_level(level, Transposed { lattice: *lattice, q, first: k * rows, out, factor });
    });
}

/// $\sum_j f(|(\nabla x)_j|)$ in a fixed order.
fn sum_over<T: Real>(lattice: &Lattice, x: &[T], f: impl Fn(f64) -> f64 + Sync) -> f64 {
    assert!(x.len() == lattice.len());
    let nx = lattice.shape[0];
    let n = lattice.shape[1] * lattice.shape[2];
    let of_row = |row: usize| {
        let [here, y, z] = lattice.neighbours(row);
        let last = here + nx - 1;
        (0..nx)
            .map(|i| {
                let v = x[here + i].wide();
                let side = x[(here + i + 1).min(last)].wide();
                f(length([side - v, x[y + i].wide() - v, x[z + i].wide() - v]))
            })
            .sum::<f64>()
    };
    let sums: Vec<f64> = (0..n).into_par_iter().with_min_len(16).map(of_row).collect();
    sums.iter().sum()
}

/// $\mathrm{TV}(x)$.
///
/// # Panics
/// When the array has another length than the lattice.
pub fn total_variation<T: Real>(lattice: &Lattice, x: &[T]) -> f64 {
    sum_over(lattice, x, |v| v)
}

/// $\sum_j (|(\nabla x)_j|^2+\epsilon^2)^{1/2}$.
///
/// # Panics
/// When the array has another length than the lattice.
pub fn smoothed_variation<T: Real>(lattice: &Lattice, x: &[T], smoothing: f64) -> f64 {
    sum_over(lattice, x, |v| (v * v + smoothing * smoothing).sqrt())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wave(n: usize, k: f64) -> Vec<f64> {
        (0..n).map(|i| (k * (i * i % 977) as f64).sin()).collect()
    }

    fn shapes() -> [Vec<usize>; 5] {
        [vec![7, 9], vec![5, 6, 7], vec![1, 4], vec![4, 1], vec![1, 3, 1]]
    }

    #[test]
    fn differences_are_those_of_neighbours() {
        let lattice = Lattice::new(&[2, 2, 3]).unwrap();
        let x: Vec<f64> = vec![1., 3., 2., 5., 5., 8., 0., 1., 1., 2., 2., 2.];
        let mut q = lattice.field();
        gradient(&lattice, &x, &mut q);
        assert_eq!(q[0], [2., -1., 0., 0., 3., 0., 1., 0., 0., 0., 0., 0.]);
        assert_eq!(q[1], [4., 2., 6., 0., 0., 0., 2., 1., 1., 0., 0., 0.]);
        assert_eq!(q[2], [-1., -2., -1., -3., -3., -6., 0., 0., 0., 0., 0., 0.]);
        let tv: f64 = (0..12).map(|j| q.iter().map(|q| q[j] * q[j]).sum::<f64>().sqrt()).sum();
        assert!((total_variation(&lattice, &x) - tv).abs() < 1e-13);
    }

    #[test]
    fn transposes_and_norm() {
        for shape in shapes() {
            let lattice = Lattice::new(&shape).unwrap();
            let n = lattice.len();
            let x = wave(n, 0.7);
            let q: Field<f64> = (0..lattice.axes()).map(|k| wave(n, 0.3 + k as f64)).collect();
            let mut d = lattice.field();
            gradient(&lattice, &x, &mut d);
            let mut back = vec![0.0; n];
            add_transpose(&lattice, &q, &mut back, 2.0);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let left: f64 = d.iter().zip(&q).map(|(a, b)| dot(a, b)).sum();
            assert!((2.0 * left - dot(&x, &back)).abs() < 1e-12, "{shape:?}");
            let size: f64 = d.iter().map(|d| dot(d, d)).sum();
            assert!(size <= lattice.squared_norm() * dot(&x, &x));
        }
    }

    #[test]
    fn transposed_directions_are_the_derivative() {
        for shape in shapes() {
            let lattice = Lattice::new(&shape).unwrap();
            let n = lattice.len();
            let (x, eps) = (wave(n, 0.7), 0.05);
            let mut q = lattice.field();
            directions(&lattice, &x, &mut q, eps, None);
            let mut g = vec![0.0; n];
            add_transpose(&lattice, &q, &mut g, 1.0);
            for j in 0..n {
                let at = |h: f64| {
                    let mut x = x.clone();
                    x[j] += h;
                    smoothed_variation(&lattice, &x, eps)
                };
                let h = 1e-5;
                let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                assert!((slope - g[j]).abs() < 1e-8, "{shape:?} {j} {slope} {}", g[j]);
            }
            // A very wide edge is none.
            let mut wide = lattice.field();
            directions(&lattice, &x, &mut wide, eps, Some(1e9));
            assert_eq!(wide, q);
        }
    }

    #[test]
    fn ascent_stays_in_the_ball() {
        let lattice = Lattice::new(&[6, 5, 4]).unwrap();
        let x = wave(120, 0.9);
        let mut q = lattice.field();
        ascend(&lattice, &x, &mut q, 0.5, 0.4);
        let mut d = lattice.field();
        gradient(&lattice, &x, &mut d);
        for j in 0..120 {
            let size = (0..3).map(|k| q[k][j] * q[k][j]).sum::<f64>().sqrt();
            let step = 0.5 * (0..3).map(|k| d[k][j] * d[k][j]).sum::<f64>().sqrt();
            assert!((size - step.min(0.4)).abs() < 1e-14);
        }
        ascend(&lattice, &x, &mut q, 0.5, 0.0);
        assert!(q.iter().flatten().all(|v| *v == 0.0));
    }

    #[test]
    fn threads_change_no_bit() {
        let lattice = Lattice::new(&[9, 61, 53]).unwrap();
        let x: Vec<f32> = wave(lattice.len(), 0.7).iter().map(|v| *v as f32).collect();
        let of = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| {
                let mut q = lattice.field();
                ascend(&lattice, &x, &mut q, 0.5, 0.4);
                let mut back = x.clone();
                add_transpose(&lattice, &q, &mut back, 1.0);
                (q, back, total_variation(&lattice, &x).to_bits())
            })
        };
        assert_eq!(of(1), of(3));
    }
}
