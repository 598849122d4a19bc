//! Positive images of several chains, by their logarithms.
//!
//! $$x = x_0e^{\delta},\qquad
//! \frac{\partial}{\partial\delta_j}\Bigl(U(x) - \sum_i\delta_i\Bigr) =
//! x_j\frac{\partial U}{\partial x_j} - 1$$
//!
//! where $\sum_i\delta_i$ is $\ln|\partial x/\partial\delta|$ up to a constant.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x_0, x$ | 1/mm | image at the centre, images of the chains |
//! | $\delta$ | 1 | logarithms of the chains less that of the centre |
//!
//! Source: Neal 2011, arXiv:1206.1901, section 5.1 (bounds by transformations). Validated by
//! `logarithms_are_differences` below.

use super::likelihood::expm1;
use super::{ABREAST, Sums, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::Singles;

/// Voxels whose logarithms are summed in 32 bits.
const BLOCK: usize = 64;

struct Raise<'a>(&'a mut [Wide], &'a [f32], &'a mut [f64; ABREAST]);
struct ByLogarithms<'a>(&'a mut [Wide], &'a [Wide], &'a [f32]);

/// $\delta \leftarrow x_0(e^\delta - 1)$; returns $\sum\delta$ of every chain.
///
/// # Shapes
/// `x` and `image` `[voxel]`.
pub fn raise(x: &mut [Wide], image: &[f32]) -> [f64; ABREAST] {
    let mut sum = [0.0; ABREAST];
    in_lanes(simd::level(), Raise(x, image, &mut sum));
    sum
}

/// $g \leftarrow (x_0 + x)\,g - 1$, with the deviations `x` of [`raise`].
///
/// # Shapes
/// `g`, `x` and `image` `[voxel]`.
pub fn by_logarithms(g: &mut [Wide], x: &[Wide], image: &[f32]) {
    in_lanes(simd::level(), ByLogarithms(g, x, image));
}

impl LaneTask for Raise<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(x, image, out) = self;
        let mut sum = Sums::<L::Single>::zero();
        for (x, image) in x.chunks_mut(BLOCK).zip(image.chunks(BLOCK)) {
            let mut row = L::Single::splat(0.0);
            for (x, image) in x.iter_mut().zip(image) {
                let delta = L::Single::load(x);
                row = row.add(delta);
                L::Single::splat(*image).mul(expm1(delta)).store(x);
            }
            sum.add(row);
        }
        sum.store(out);
    }
}

impl LaneTask for ByLogarithms<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self(g, x, image) = self;
        let minus = L::Single::splat(-1.0);
        for ((g, x), image) in g.iter_mut().zip(x).zip(image) {
            let whole = L::Single::splat(*image).add(L::Single::load(x));
            whole.madd(L::Single::load(g), minus).store(g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_differences() {
        let n = 70;
        let image: Vec<f32> = (0..n).map(|j| 0.2 + (j % 5) as f32).collect();
        let delta: Vec<Wide> = (0..n)
            .map(|j| std::array::from_fn(|l| ((j * 5 + l * 11) as f32).sin() * 2.0))
            .collect();
        // U = sum of x^2 / 2, whose slope is x.
        let potential = |d: &[f64]| -> f64 {
            let each = d.iter().zip(&image);
            each.map(|(d, c)| 0.5 * (f64::from(*c) * d.exp()).powi(2) - d).sum()
        };
        let mut x = delta.clone();
        let sums = raise(&mut x, &image);
        let mut g = x.clone();
        for (g, c) in g.iter_mut().zip(&image) {
            *g = g.map(|g| g + c);
        }
        by_logarithms(&mut g, &x, &image);
        for l in 0..ABREAST {
            let mut at: Vec<f64> = delta.iter().map(|d| f64::from(d[l])).collect();
            assert!((sums[l] - at.iter().sum::<f64>()).abs() < 1e-4);
            for j in 0..n {
                let exact = f64::from(image[j]) * at[j].exp_m1();
                assert!((f64::from(x[j][l]) - exact).abs() < 1e-6 * (1.0 + exact.abs()));
                let (here, h) = (at[j], 1e-5);
                at[j] = here + h;
                let up = potential(&at);
                at[j] = here - h;
                let difference = (up - potential(&at)) / (2.0 * h);
                at[j] = here;
                let error = (f64::from(g[j][l]) - difference).abs();
                assert!(error < 1e-5 * (1.0 + difference.abs()), "{j} {l}: {error}");
            }
        }
        // What is far below stays above nothing.
        let mut x = vec![[-200.0; ABREAST]; 1];
        raise(&mut x, &[3.0]);
        assert_eq!(x[0], [-3.0; ABREAST]);
    }
}
