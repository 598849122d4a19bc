//! What conjugate gradients for several systems at once need beside the matrix.
//!
//! | function | |
//! |---|---|
//! | [`dots`] | $a^Tb$ |
//! | [`add_scaled`] | $y \leftarrow y + fx$ |
//! | [`redirect`] | $p \leftarrow z + fp$ |
//! | [`add_field`] | $y \leftarrow y + L\,(\sum_a D_a^TD_a + K)\,x$ |
//!
//! with a factor $f$ of every chain and the differences $D_a$ of neighbours along an axis.
//!
//! Source: Saad 2003, *Iterative Methods for Sparse Linear Systems*, algorithm 9.1. Validated by
//! `they_are_their_formulas` below.

use super::{Wide, each, gather, madd};
use crate::lanes::{Task, at_level};
use crate::simd;

/// Voxels whose products are summed in 32 bits.
const BLOCK: usize = 64;

struct Dots<'a, const W: usize>(&'a [Wide<W>], &'a [Wide<W>]);
struct AddScaled<'a, const W: usize>(&'a mut [Wide<W>], Wide<W>, &'a [Wide<W>]);
struct Redirect<'a, const W: usize>(&'a mut [Wide<W>], Wide<W>, &'a [Wide<W>]);
struct AddField<'a, const W: usize> {
    shape: &'a [usize],
    weight: f32,
    kappa2: f32,
    x: &'a [Wide<W>],
    out: &'a mut [Wide<W>],
}

/// $a^Tb$ of every chain.
pub fn dots<const W: usize>(a: &[Wide<W>], b: &[Wide<W>]) -> [f64; W] {
    at_level(simd::level(), Dots(a, b))
}

/// $y \leftarrow y + fx$.
pub fn add_scaled<const W: usize>(y: &mut [Wide<W>], f: Wide<W>, x: &[Wide<W>]) {
    at_level(simd::level(), AddScaled(y, f, x));
}

/// $p \leftarrow z + fp$.
pub fn redirect<const W: usize>(p: &mut [Wide<W>], f: Wide<W>, z: &[Wide<W>]) {
    at_level(simd::level(), Redirect(p, f, z));
}

/// Adds the precision of a Gaussian field times `x`: the weight $L$ times the squared
/// differences along every axis and $K$ times the square.
///
/// # Shapes
/// `x` and `out` `[voxel]`, the shape slowest axis first.
pub fn add_field<const W: usize>(
    shape: &[usize],
    weight: f32,
    kappa2: f32,
    x: &[Wide<W>],
    out: &mut [Wide<W>],
) {
    at_level(simd::level(), AddField { shape, weight, kappa2, x, out });
}

impl<const W: usize> Task for Dots<'_, W> {
    type Output = [f64; W];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; W] {
        let mut sum = [0.0; W];
        for (a, b) in self.0.chunks(BLOCK).zip(self.1.chunks(BLOCK)) {
            let mut row = [0.0_f32; W];
            for (a, b) in a.iter().zip(b) {
                let product = each(a, b, |a, b| a * b);
                row = each(&product, &row, |product, row| product + row);
            }
            gather(&row, &mut sum);
        }
        sum
    }
}

impl<const W: usize> Task for AddScaled<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(y, f, x) = self;
        for (y, x) in y.iter_mut().zip(x) {
            let moved = each(&f, x, |f, x| f * x);
            *y = each(&moved, y, |moved, y| moved + y);
        }
    }
}

impl<const W: usize> Task for Redirect<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self(p, f, z) = self;
        for (p, z) in p.iter_mut().zip(z) {
            let kept = each(&f, p, |f, p| f * p);
            *p = each(&kept, z, |kept, z| kept + z);
        }
    }
}

impl<const W: usize> Task for AddField<'_, W> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { shape, weight, kappa2, x, out } = self;
        let level = weight * kappa2;
        for (o, x) in out.iter_mut().zip(x) {
            *o = each(x, o, |x, o| madd::<FMA>(level, x, o));
        }
        for axis in 0..shape.len() {
            let after: usize = shape[axis + 1..].iter().product();
            let block = shape[axis] * after;
            if shape[axis] < 2 {
                continue;
            }
            for (x, out) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
                for j in 0..block - after {
                    let d = each(&x[j + after], &x[j], |next, here| weight * (next - here));
                    out[j] = each(&out[j], &d, |o, d| o - d);
                    out[j + after] = each(&out[j + after], &d, |o, d| o + d);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_their_formulas() {
        let n = 2 * 5 * 9;
        let wide = |k: usize| -> Vec<Wide<4>> {
            (0..n).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
        };
        let (a, b) = (wide(2), wide(5));
        let f = [0.5, -1.0, 2.0, 0.0];
        let (mut added, mut turned) = (a.clone(), a.clone());
        add_scaled(&mut added, f, &b);
        redirect(&mut turned, f, &b);
        let products = dots(&a, &b);
        for l in 0..4 {
            let each = a.iter().zip(&b).map(|(a, b)| f64::from(a[l]) * f64::from(b[l]));
            assert!((products[l] - each.sum::<f64>()).abs() < 1e-5);
            for j in 0..n {
                assert!((added[j][l] - (a[j][l] + f[l] * b[j][l])).abs() < 1e-6);
                assert!((turned[j][l] - (b[j][l] + f[l] * a[j][l])).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_field_is_the_sum_of_squares() {
        // x'Qx is the sum of squared differences, and Q is symmetric.
        for shape in [vec![2, 5, 9], vec![10, 9], vec![1, 90]] {
            let n = 90;
            let wide = |k: usize| -> Vec<Wide<4>> {
                (0..n).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
            };
            let (x, y) = (wide(2), wide(7));
            let times = |x: &[Wide<4>]| {
                let mut out = vec![[0.0; 4]; n];
                add_field(&shape, 3.0, 0.1, x, &mut out);
                out
            };
            let (quadratic, one, other) =
                (dots(&x, &times(&x)), dots(&x, &times(&y)), dots(&y, &times(&x)));
            let mut strides = vec![1; shape.len()];
            for a in (0..shape.len() - 1).rev() {
                strides[a] = strides[a + 1] * shape[a + 1];
            }
            for l in 0..4 {
                let mut sum = 0.0;
                for j in 0..n {
                    sum += 0.3 * f64::from(x[j][l]).powi(2);
                    for (stride, size) in strides.iter().zip(&shape) {
                        if j / stride % size + 1 < *size {
                            sum += 3.0 * f64::from(x[j + stride][l] - x[j][l]).powi(2);
                        }
                    }
                }
                assert!((quadratic[l] - sum).abs() < 1e-5 * sum, "{shape:?}");
                assert!((one[l] - other[l]).abs() < 1e-4 * sum);
            }
        }
    }
}
