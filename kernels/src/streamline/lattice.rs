//! Numbers on a grid of voxels, between the voxels by tensor products.
//!
//! $$c(x) = \sum_{ijk} w(v_1-i)\,w(v_2-j)\,w(v_3-k)\,c_{ijk},\qquad v = A\,(x, 1)$$
//!
//! with the hat w(t) = max(0, 1-|t|), or the cubic B-spline, of which the $c_{ijk}$ are then
//! the coefficients that interpolate the numbers (recursive filter, mirrored ends). The
//! domain is the grid up to the outer faces of its voxels; between the outer centres and
//! the faces the hat is constant and the spline mirrored.
//!
//! Source: Unser, Aldroubi & Eden 1993, doi:10.1109/78.193221, box III (filter);
//! Unser 1999, doi:10.1109/79.799930, eq. 8 (cubic B-spline). Validated by the tests below.

use super::Vec3;
use crate::simd::{madd, tree_sum};

/// A stored number.
pub trait Number: Copy + Send + Sync + Into<f64> + 'static {}
impl Number for f32 {}
impl Number for f64 {}

/// How to read between voxels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Trilinear.
    Linear,
    /// Cubic B-spline.
    Cubic,
}

/// Numbers on a grid; `width` of them a voxel.
#[derive(Clone, Debug)]
pub struct Lattice<T> {
    shape: [usize; 3],
    width: usize,
    /// `[k][j][i][width]`.
    values: Vec<T>,
    voxel_from_field: [[f64; 4]; 3],
    interpolation: Interpolation,
}

/// The voxels about a point, their weights and the slopes of the weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taps {
    /// Offsets in numbers.
    offset: [[usize; 4]; 3],
    weight: [[f64; 4]; 3],
    /// With respect to the voxel coordinate.
    slope: [[f64; 4]; 3],
}

impl Taps {
    /// The weight of the voxel of three tap numbers.
    #[inline(always)]
    pub(crate) fn weight(&self, [a, b, c]: [usize; 3]) -> f64 {
        self.weight[0][a] * self.weight[1][b] * self.weight[2][c]
    }
}

impl<T: Number> Lattice<T> {
    /// A grid of `shape` voxels (i fastest); `None` where the lengths do not agree.
    ///
    /// `width` is a multiple of 8: numbers are read in blocks of 8.
    pub fn new(
        shape: [usize; 3],
        width: usize,
        values: Vec<T>,
        voxel_from_field: [[f64; 4]; 3],
    ) -> Option<Self> {
        let voxels = shape.iter().try_fold(1_usize, |n, s| n.checked_mul(*s))?;
        let fits = width.is_multiple_of(8)
            && width > 0
            && voxels > 0
            && voxels.checked_mul(width) == Some(values.len());
        let interpolation = Interpolation::Linear;
        fits.then_some(Self { shape, width, values, voxel_from_field, interpolation })
    }

    /// Numbers a voxel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Voxels along i, j, k.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All numbers, `[k][j][i][width]`.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Voxel coordinates of a point.
    #[inline(always)]
    pub(crate) fn voxel(&self, x: Vec3) -> Vec3 {
        self.voxel_from_field.map(|r| r[0] * x[0] + r[1] * x[1] + r[2] * x[2] + r[3])
    }

    /// The taps of a point; `None` outside of the grid.
    #[inline(always)]
    pub(crate) fn taps(&self, x: Vec3) -> Option<Taps> {
        let v = self.voxel(x);
        let mut taps = Taps { offset: [[0; 4]; 3], weight: [[0.0; 4]; 3], slope: [[0.0; 4]; 3] };
        let mut stride = self.width;
        for (a, (v, n)) in v.into_iter().zip(self.shape).enumerate() {
            // Not a number is outside, too.
            if !(v >= -0.5 && v <= n as f64 - 0.5) {
                return None;
            }
            let floor = v.floor();
            let (low, t) = (floor as isize, v - floor);
            let last = n as isize - 1;
            match self.interpolation {
                Interpolation::Linear => {
                    taps.weight[a] = [1.0 - t, t, 0.0, 0.0];
                    taps.slope[a] = [-1.0, 1.0, 0.0, 0.0];
                    taps.offset[a][0] = low.clamp(0, last) as usize * stride;
                    taps.offset[a][1] = (low + 1).clamp(0, last) as usize * stride;
                }
                Interpolation::Cubic => {
                    let r = 1.0 - t;
                    taps.weight[a] = [
                        r * r * r / 6.0,
                        2.0 / 3.0 - t * t * (1.0 - 0.5 * t),
                        2.0 / 3.0 - r * r * (1.0 - 0.5 * r),
                        t * t * t / 6.0,
                    ];
                    taps.slope[a] =
                        [-0.5 * r * r, t * (1.5 * t - 2.0), r * (2.0 - 1.5 * r), 0.5 * t * t];
                    for (k, o) in taps.offset[a].iter_mut().enumerate() {
                        *o = mirrored(low + k as isize - 1, n) * stride;
                    }
                }
            }
            stride *= n;
        }
        Some(taps)
    }

    /// Calls with the offset and the tap numbers of every voxel.
    #[inline(always)]
    pub(crate) fn each(&self, taps: &Taps, mut voxel: impl FnMut(usize, [usize; 3])) {
        let n = if self.interpolation == Interpolation::Linear { 2 } else { 4 };
        for c in 0..n {
            for b in 0..n {
                for a in 0..n {
                    let at = taps.offset[0][a] + taps.offset[1][b] + taps.offset[2][c];
                    voxel(at, [a, b, c]);
                }
            }
        }
    }

    /// The numbers at a point into `out` of [`Lattice::width`].
    #[inline(always)]
    pub(crate) fn sample<const FMA: bool>(&self, taps: &Taps, out: &mut [f64]) {
        let mut at = [0_usize; 64];
        let mut weight = [0.0; 64];
        let mut n = 0;
        self.each(taps, |offset, tap| {
            at[n] = offset;
            weight[n] = taps.weight(tap);
            n += 1;
        });
        for (block, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut sum = [0.0; 8];
            for (offset, w) in at[..n].iter().zip(&weight[..n]) {
                let start = offset + 8 * block;
                let Some(source) = self.values[start..].first_chunk::<8>() else { continue };
                for (s, v) in sum.iter_mut().zip(source) {
                    *s = madd::<FMA>(*w, (*v).into(), *s);
                }
            }
            *out = sum;
        }
    }

    /// The derivatives of the numbers with respect to the point, three times
    /// [`Lattice::width`].
    #[inline(always)]
    pub(crate) fn slopes<const FMA: bool>(&self, taps: &Taps, out: &mut [f64]) {
        out.fill(0.0);
        let width = self.width;
        self.each(taps, |offset, [a, b, c]| {
            let (w, s) = (&taps.weight, &taps.slope);
            let v = [
                s[0][a] * w[1][b] * w[2][c],
                w[0][a] * s[1][b] * w[2][c],
                w[0][a] * w[1][b] * s[2][c],
            ];
            let source = &self.values[offset..offset + width];
            for (axis, out) in out.chunks_exact_mut(width).enumerate() {
                let weight: f64 = (0..3).map(|r| v[r] * self.voxel_from_field[r][axis]).sum();
                for (o, x) in out.iter_mut().zip(source) {
                    *o = madd::<FMA>(weight, (*x).into(), *o);
                }
            }
        });
    }

    /// The derivatives of the product of the numbers at a point with `terms`: adds those with
    /// respect to the stored numbers to the gradient, and returns those with respect to the point.
    #[inline(always)]
    pub(crate) fn pull<const FMA: bool>(
        &self,
        taps: &Taps,
        terms: &[f64],
        gradient: &mut [f64],
    ) -> Vec3 {
        let n = if self.interpolation == Interpolation::Linear { 2 } else { 4 };
        let (w, s) = (&taps.weight, &taps.slope);
        let mut own = [0.0; 3];
        for c in 0..n {
            for b in 0..n {
                for a in 0..n {
                    let at = taps.offset[0][a] + taps.offset[1][b] + taps.offset[2][c];
                    let weight = w[0][a] * w[1][b] * w[2][c];
                    let (values, out) =
                        (&self.values[at..at + self.width], &mut gradient[at..at + self.width]);
                    let mut sums = [0.0; 8];
                    let blocks = values.as_chunks::<8>().0.iter().zip(terms.as_chunks::<8>().0);
                    for ((values, terms), out) in blocks.zip(out.as_chunks_mut::<8>().0) {
                        for i in 0..8 {
                            sums[i] = madd::<FMA>(values[i].into(), terms[i], sums[i]);
                            out[i] = madd::<FMA>(weight, terms[i], out[i]);
                        }
                    }
                    let product = tree_sum(&sums);
                    own[0] += product * s[0][a] * w[1][b] * w[2][c];
                    own[1] += product * w[0][a] * s[1][b] * w[2][c];
                    own[2] += product * w[0][a] * w[1][b] * s[2][c];
                }
            }
        }
        [0, 1, 2].map(|axis| (0..3).map(|r| own[r] * self.voxel_from_field[r][axis]).sum())
    }
}

impl<T: Number + From<f32>> Lattice<T> {
    /// The same numbers between voxels by cubic B-splines: the stored numbers become
    /// coefficients; `from` makes a stored number.
    #[must_use]
    pub fn cubic(mut self, from: impl Fn(f64) -> T) -> Self {
        let mut stride = self.width;
        for axis in 0..3 {
            let n = self.shape[axis];
            let mut line = vec![0.0; n];
            for start in 0..self.values.len() {
                if !(start / stride).is_multiple_of(n) {
                    continue;
                }
                for (k, v) in line.iter_mut().enumerate() {
                    *v = self.values[start + k * stride].into();
                }
                spline_filter(&mut line);
                for (k, v) in line.iter().enumerate() {
                    self.values[start + k * stride] = from(*v);
                }
            }
            stride *= n;
        }
        self.interpolation = Interpolation::Cubic;
        self
    }
}

/// An index mirrored at the outer centres.
fn mirrored(i: isize, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let period = 2 * (n as isize - 1);
    let i = i.rem_euclid(period);
    i.min(period - i) as usize
}

/// Coefficients of the cubic B-spline that interpolates a line of numbers.
fn spline_filter(line: &mut [f64]) {
    let n = line.len();
    if n < 2 {
        return;
    }
    let pole = 3_f64.sqrt() - 2.0;
    line.iter_mut().for_each(|v| *v *= 6.0);
    // The sum over the mirrored line: exact, by its period.
    let mut sum = line[0];
    let mut power = pole;
    for v in &line[1..n - 1] {
        sum += power * v;
        power *= pole;
    }
    sum += power * line[n - 1];
    power *= pole;
    for v in line[1..n - 1].iter().rev() {
        sum += power * v;
        power *= pole;
    }
    line[0] = sum / (1.0 - power);
    for k in 1..n {
        line[k] += pole * line[k - 1];
    }
    line[n - 1] = pole / (pole * pole - 1.0) * (line[n - 1] + pole * line[n - 2]);
    for k in (0..n - 1).rev() {
        line[k] = pole * (line[k + 1] - line[k]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_range_loop)]
mod tests {
    use super::*;

    fn lattice() -> Lattice<f64> {
        let shape = [5, 4, 3];
        let values = (0..5 * 4 * 3 * 8).map(|i| ((i * 131 % 89) as f64).sin()).collect();
        let turn = [[0.5, 0.1, 0.0, 2.0], [-0.05, 0.4, 0.02, 1.5], [0.0, 0.03, 0.6, 1.0]];
        Lattice::new(shape, 8, values, turn).unwrap()
    }

    #[test]
    fn voxels_are_interpolated() {
        let plain = lattice();
        let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let line = Lattice { voxel_from_field: identity, ..plain };
        let cubic = line.clone().cubic(|v| v);
        let mut out = [0.0; 8];
        for (lattice, tolerance) in [(&line, 0.0), (&cubic, 1e-13)] {
            for v in 0..60 {
                let x = [v % 5, v / 5 % 4, v / 20].map(|i| i as f64);
                lattice.sample::<false>(&lattice.taps(x).unwrap(), &mut out);
                for c in 0..8 {
                    assert!((out[c] - line.values[8 * v + c]).abs() <= tolerance);
                }
            }
        }
        assert!(line.taps([-0.51, 1.0, 1.0]).is_none() && line.taps([0.0, 3.51, 1.0]).is_none());
        assert!(line.taps([-0.5, 3.5, 2.5]).is_some() && line.taps([f64::NAN, 1.0, 1.0]).is_none());
    }

    #[test]
    fn slopes_are_those_of_differences_and_pull_is_the_transpose() {
        for lattice in [lattice(), lattice().cubic(|v| v)] {
            for x in [[0.3, 0.4, 0.5], [-3.9, 0.1, -1.3], [1.2, 2.9, 1.1]] {
                let taps = lattice.taps(x).unwrap();
                let mut slopes = [0.0; 24];
                lattice.slopes::<false>(&taps, &mut slopes);
                let mut ends = [[0.0; 8]; 2];
                for axis in 0..3 {
                    for (end, h) in ends.iter_mut().zip([1e-6, -1e-6]) {
                        let mut at = x;
                        at[axis] += h;
                        lattice.sample::<false>(&lattice.taps(at).unwrap(), end);
                    }
                    for c in 0..8 {
                        let slope = (ends[0][c] - ends[1][c]) / 2e-6;
                        assert!((slope - slopes[8 * axis + c]).abs() < 1e-8);
                    }
                }
                let mut sample = [0.0; 8];
                lattice.sample::<false>(&taps, &mut sample);
                let terms = [0.3, -0.7, 1.1, 0.2, -0.4, 0.9, -1.3, 0.6];
                let mut gradient = vec![0.0; lattice.values.len()];
                let own = lattice.pull::<false>(&taps, &terms, &mut gradient);
                let a: f64 = sample.iter().zip(&terms).map(|(a, b)| a * b).sum();
                let b: f64 = gradient.iter().zip(&lattice.values).map(|(a, b)| a * b).sum();
                assert!((a - b).abs() < 1e-13);
                for axis in 0..3 {
                    let slope: f64 = (0..8).map(|c| slopes[8 * axis + c] * terms[c]).sum();
                    assert!((slope - own[axis]).abs() < 1e-12);
                }
            }
        }
    }
}
