//! Smoothed total variation of several images, with its gradient.
//!
//! $$U(x) = \lambda\sum_j\sqrt{\textstyle\sum_a (x_{j+e_a}-x_j)^2 + \epsilon^2}
//! + \tfrac m2\sum_j x_j^2,\qquad x = x_0 + \delta$$
//!
//! where a difference is 0 behind the last voxel of an axis.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x_0, \delta$ | 1/mm | centre `[z, y, x]` or `[y, x]`, deviations of the chains |
//! | $\lambda$ | mm | weight |
//! | $\epsilon$ | 1/mm | rounding of the edge |
//! | $m$ | mm^2 | ridge |
//!
//! Source: Vogel & Oman 1996, doi:10.1137/0917016, eq. (1.4) (the rounded norm). Validated by
//! `gradient_is_the_difference` below.

use super::{ABREAST, Sums, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::Singles;

/// The numbers of the prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// Sizes z, y, x.
    pub shape: [usize; 3],
    /// $\lambda$.
    pub weight: f32,
    /// $\epsilon$, positive.
    pub rounding: f32,
    /// $m$.
    pub ridge: f32,
}

/// Adds the gradient at `centre + x` to `gradient`, and returns the sums. `curvature` gets
/// the mean over voxels of $\tfrac1{d}\sum_a\partial^2 r/\partial g_a^2$, $r$ the root and $g$
/// the $d$ differences, averaged over chains.
///
/// # Shapes
/// `centre`, `x`, `gradient` `[voxel]`.
pub fn variation(
    of: &Variation,
    centre: &[f32],
    x: &[Wide],
    gradient: &mut [Wide],
    curvature: Option<&mut f64>,
) -> [f64; ABREAST] {
    if let Some(curvature) = curvature {
        *curvature = mean_curvature(of, centre, x);
    }
    let mut sum = [0.0; ABREAST];
    in_lanes(simd::level(), Sweep { of, centre, x, gradient, sum: &mut sum });
    sum
}

/// Steps along the axes that have more than one voxel, with whether a voxel has a next one.
#[inline(always)]
fn steps(shape: [usize; 3], at: [usize; 3]) -> [Option<usize>; 3] {
    let strides = [shape[1] * shape[2], shape[2], 1];
    std::array::from_fn(|a| (at[a] + 1 < shape[a]).then_some(strides[a]))
}

fn mean_curvature(of: &Variation, centre: &[f32], x: &[Wide]) -> f64 {
    let axes = of.shape.iter().filter(|n| **n > 1).count().max(1) as f64;
    let (mut sum, mut j) = (0.0, 0);
    for iz in 0..of.shape[0] {
        for iy in 0..of.shape[1] {
            for ix in 0..of.shape[2] {
                for (l, here) in x[j].iter().enumerate() {
                    let mut square = 0.0;
                    for step in steps(of.shape, [iz, iy, ix]).into_iter().flatten() {
                        let d = (centre[j + step] - centre[j]) + (x[j + step][l] - here);
                        square += f64::from(d * d);
                    }
                    let root = (square + f64::from(of.rounding).powi(2)).sqrt();
                    sum += (axes - square / (root * root)) / (axes * root);
                }
                j += 1;
            }
        }
    }
    sum / (centre.len() * ABREAST) as f64
}

struct Sweep<'a> {
    of: &'a Variation,
    centre: &'a [f32],
    x: &'a [Wide],
    gradient: &'a mut [Wide],
    sum: &'a mut [f64; ABREAST],
}

impl Sweep<'_> {
    /// A voxel with `N` next ones; returns its share of the sum.
    #[inline(always)]
    fn voxel<S: Singles, const N: usize>(&mut self, j: usize, steps: [usize; N]) -> S {
        let here = S::load(&self.x[j]);
        let mut d = [S::splat(0.0); N];
        let mut square = S::splat(self.of.rounding * self.of.rounding);
        for (d, step) in d.iter_mut().zip(steps) {
            let fixed = S::splat(self.centre[j + step] - self.centre[j]);
            *d = fixed.add(S::load(&self.x[j + step]).sub(here));
            square = d.madd(*d, square);
        }
        let (weight, ridge) = (S::splat(self.of.weight), S::splat(self.of.ridge));
        let root = square.sqrt();
        let slope = weight.div(root);
        let x = S::splat(self.centre[j]).add(here);
        let pulled = ridge.mul(x);
        let mut back = pulled.add(S::load(&self.gradient[j]));
        for (d, step) in d.into_iter().zip(steps) {
            let pull = slope.mul(d);
            back = back.sub(pull);
            let next = &mut self.gradient[j + step];
            S::load(next).add(pull).store(next);
        }
        back.store(&mut self.gradient[j]);
        weight.madd(root, S::splat(0.5).mul(pulled).mul(x))
    }
}

impl LaneTask for Sweep<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let [nz, ny, nx] = self.of.shape;
        let mut sum = Sums::<L::Single>::zero();
        for iz in 0..nz {
            for iy in 0..ny {
                let mut row = L::Single::splat(0.0);
                let first = (iz * ny + iy) * nx;
                for ix in 0..nx {
                    let j = first + ix;
                    let term = match steps(self.of.shape, [iz, iy, ix]) {
                        [None, Some(a), Some(b)] => self.voxel::<L::Single, 2>(j, [a, b]),
                        [Some(a), Some(b), Some(c)] => self.voxel::<L::Single, 3>(j, [a, b, c]),
                        [Some(a), Some(b), None] | [Some(a), None, Some(b)] => {
                            self.voxel::<L::Single, 2>(j, [a, b])
                        }
                        [Some(a), None, None] | [None, Some(a), None] | [None, None, Some(a)] => {
                            self.voxel::<L::Single, 1>(j, [a])
                        }
                        [None, None, None] => self.voxel::<L::Single, 0>(j, []),
                    };
                    row = row.add(term);
                }
                sum.add(row);
            }
        }
        sum.store(self.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(of: &Variation, x: &[f64]) -> f64 {
        let [nz, ny, nx] = of.shape;
        let mut sum = 0.0;
        for j in 0..nz * ny * nx {
            let at = [j / (nx * ny), j / nx % ny, j % nx];
            let strides = [nx * ny, nx, 1];
            let square: f64 = (0..3)
                .filter(|a| at[*a] + 1 < of.shape[*a])
                .map(|a| (x[j + strides[a]] - x[j]).powi(2))
                .sum();
            sum += f64::from(of.weight) * (square + f64::from(of.rounding).powi(2)).sqrt();
            sum += 0.5 * f64::from(of.ridge) * x[j] * x[j];
        }
        sum
    }

    #[test]
    fn gradient_is_the_difference() {
        for shape in [[1, 5, 6], [3, 4, 5], [1, 1, 7], [4, 1, 3], [1, 1, 1]] {
            let of = Variation { shape, weight: 3.0, rounding: 0.1, ridge: 0.5 };
            let n: usize = shape.iter().product();
            let centre: Vec<f32> = (0..n).map(|j| (j as f32 * 0.9).cos()).collect();
            let x: Vec<Wide> = (0..n)
                .map(|j| std::array::from_fn(|l| ((j * 3 + l * 7) as f32).sin() * 0.3))
                .collect();
            let mut g = vec![[2.0; ABREAST]; n];
            let mut curvature = 0.0;
            let value = variation(&of, &centre, &x, &mut g, Some(&mut curvature));
            assert!(curvature > 0.0 && curvature <= 10.0 + 1e-6);
            for l in 0..ABREAST {
                let whole: Vec<f64> =
                    (0..n).map(|j| f64::from(centre[j]) + f64::from(x[j][l])).collect();
                assert!((value[l] - exact(&of, &whole)).abs() < 1e-5 * value[l]);
                for j in 0..n {
                    let h = 1e-5;
                    let at = |h: f64| {
                        let mut moved = whole.clone();
                        moved[j] += h;
                        exact(&of, &moved)
                    };
                    let difference = (at(h) - at(-h)) / (2.0 * h) + 2.0;
                    let error = (f64::from(g[j][l]) - difference).abs();
                    assert!(error < 2e-5, "{shape:?} {j} {l}: {error}");
                }
            }
        }
    }
}
