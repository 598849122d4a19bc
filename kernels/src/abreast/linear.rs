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

use super::{ABREAST, Sums, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::Singles;

/// Voxels whose products are summed in 32 bits.
const BLOCK: usize = 64;

struct Dots<'a>(&'a [Wide], &'a [Wide], &'a mut [f64; ABREAST]);
struct AddScaled<'a>(&'a mut [Wide], Wide, &'a [Wide]);
struct Redirect<'a>(&'a mut [Wide], Wide, &'a [Wide]);
struct AddField<'a> {
    shape: &'a [usize],
    weight: f32,
    kappa2: f32,
    x: &'a [Wide],
    out: &'a mut [Wide],
}

/// $a^Tb$ of every chain.
pub fn dots(a: &[Wide], b: &[Wide]) -> [f64; ABREAST] {
    let mut sum = [0.0; ABREAST];
    in_lanes(simd::level(), Dots(a, b, &mut sum));
    sum
}

/// $y \leftarrow y + fx$.
pub fn add_scaled(y: &mut [Wide], f: Wide, x: &[Wide]) {
    in_lanes(simd::level(), AddScaled(y, f, x));
}

/// $p \leftarrow z + fp$.
pub fn redirect(p: &mut [Wide], f: Wide, z: &[Wide]) {
    in_lanes(simd::level(), Redirect(p, f, z));
}

/// Adds the precision of a Gaussian field times `x`: the weight $L$ times the squared
/// differences along every axis and $K$ times the square.
///
/// # Shapes
/// `x` and `out` `[voxel]`, the shape slowest axis first.
pub fn add_field(shape: &[usize], weight: f32, kappa2: f32, x: &[Wide], out: &mut [Wide]) {
    in_lanes(simd::level(), AddField { shape, weight, kappa2, x, out });
}

impl LaneTask for Dots<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut sum = Sums::<L::Single>::zero();
        for (a, b) in self.0.chunks(BLOCK).zip(self.1.chunks(BLOCK)) {
            let mut row = L::Single::splat(0.0);
            for (a, b) in a.iter().zip(b) {
                row = L::Single::load(a).mul(L::Single::load(b)).add(row);
            }
            sum.add(row);
        }
        sum.store(self.2);
    }
}

impl LaneTask for AddScaled<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(y, f, x) = self;
        let f = L::Single::load(&f);
        for (y, x) in y.iter_mut().zip(x) {
            f.mul(L::Single::load(x)).add(L::Single::load(y)).store(y);
        }
    }
}

impl LaneTask for Redirect<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(p, f, z) = self;
        let f = L::Single::load(&f);
        for (p, z) in p.iter_mut().zip(z) {
            f.mul(L::Single::load(p)).add(L::Single::load(z)).store(p);
        }
    }
}

impl LaneTask for AddField<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { shape, weight, kappa2, x, out } = self;
        let load = <L::Single as Singles>::load;
        let level = L::Single::splat(weight * kappa2);
        let weight = L::Single::splat(weight);
        for (o, x) in out.iter_mut().zip(x) {
            level.madd(load(x), load(o)).store(o);
        }
        for axis in 0..shape.len() {
            let after: usize = shape[axis + 1..].iter().product();
            let block = shape[axis] * after;
            if shape[axis] < 2 {
                continue;
            }
            for (x, out) in x.chunks_exact(block).zip(out.chunks_exact_mut(block)) {
                for j in 0..block - after {
                    let d = weight.mul(load(&x[j + after]).sub(load(&x[j])));
                    load(&out[j]).sub(d).store(&mut out[j]);
                    load(&out[j + after]).add(d).store(&mut out[j + after]);
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
        let wide = |k: usize| -> Vec<Wide> {
            (0..n).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
        };
        let (a, b) = (wide(2), wide(5));
        let f: Wide = std::array::from_fn(|l| [0.5, -1.0, 2.0, 0.0][l % 4]);
        let (mut added, mut turned) = (a.clone(), a.clone());
        add_scaled(&mut added, f, &b);
        redirect(&mut turned, f, &b);
        let products = dots(&a, &b);
        for l in 0..ABREAST {
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
            let wide = |k: usize| -> Vec<Wide> {
                (0..n).map(|j| std::array::from_fn(|l| ((j * k + l * 3) as f32).sin())).collect()
            };
            let (x, y) = (wide(2), wide(7));
            let times = |x: &[Wide]| {
                let mut out = vec![[0.0; ABREAST]; n];
                add_field(&shape, 3.0, 0.1, x, &mut out);
                out
            };
            let (quadratic, one, other) =
                (dots(&x, &times(&x)), dots(&x, &times(&y)), dots(&y, &times(&x)));
            let mut strides = vec![1; shape.len()];
            for a in (0..shape.len() - 1).rev() {
                strides[a] = strides[a + 1] * shape[a + 1];
            }
            for l in 0..ABREAST {
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
