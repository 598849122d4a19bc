//! Linear propagation of errors: how uncertain the last point of a streamline is.
//!
//! $$\Sigma = J\,\Sigma_0\,J^\top + \sum_v G_v\,C_v\,G_v^\top,\qquad
//!   J = \frac{\partial x_n}{\partial x_0},\quad G_v = \frac{\partial x_n}{\partial c_v}$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\Sigma, \Sigma_0$ | mm² | covariance of the last point, of the seed |
//! | $C_v$ | | covariance of the numbers of voxel v; voxels are independent |
//!
//! J and all G are those of three reverse passes ([`reverse`](super::reverse)), so errors of a voxel that is read at
//! many steps add up as they do along the streamline. First order: right where errors are small
//! against what turns a streamline into another bundle, wrong at crossings where they are not.
//!
//! Source: Gauss's law of propagation, as in JCGM 100:2008 (GUM), eq. 13. Validated by
//! `errors_of_seed_and_field_spread_as_drawn` in `kernels/tests/suite/streamlines.rs`.

use super::march::Limits;
use super::reverse::{Cotangent, Differentiable, Survival, reverse};
use super::{State, Vec3};
use crate::simd::SimdLevel;
use crate::vector::dot;

/// The derivatives of the last point of a streamline, a row for each of its coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct EndDerivatives {
    /// J, with respect to the seed.
    pub seed: [Vec3; 3],
    /// With respect to the numbers of the field.
    pub numbers: [Vec<f64>; 3],
}

impl EndDerivatives {
    /// Of a streamline that `start` led into its first peak, through a field of so many numbers. `None`
    /// where a derivative does not exist.
    pub fn new<R: Differentiable>(
        level: SimdLevel,
        rule: &R,
        limits: &Limits,
        states: &[State],
        start: Vec3,
        numbers: usize,
    ) -> Option<Self> {
        let survival = Survival { threshold: 0.0, width: 1.0 };
        let mut out =
            Self { seed: [[0.0; 3]; 3], numbers: std::array::from_fn(|_| vec![0.0; numbers]) };
        let mut cotangents = vec![Cotangent::default(); states.len()];
        for axis in 0..3 {
            let last = cotangents.last_mut()?;
            last.point = [0.0; 3];
            last.point[axis] = 1.0;
            let gradient = &mut out.numbers[axis];
            let found =
                reverse(level, rule, limits, states, &cotangents, &survival, start, gradient)?;
            out.seed[axis] = found.0;
        }
        Some(out)
    }

    /// The covariance of the last point: `seed` is that of the seed, `voxel` gives that of the `width`
    /// numbers of a voxel (`[width, width]`), or `None` where they are exact.
    pub fn covariance<'a>(
        &self,
        seed: &[Vec3; 3],
        width: usize,
        voxel: impl Fn(usize) -> Option<&'a [f64]>,
    ) -> [Vec3; 3] {
        let of_seed = |a: usize, b: usize| {
            (0..3).map(|i| self.seed[a][i] * dot(seed[i], self.seed[b])).sum::<f64>()
        };
        let mut out: [Vec3; 3] = std::array::from_fn(|a| [0, 1, 2].map(|b| of_seed(a, b)));
        let [x, y, z] = &self.numbers;
        let rows = x.chunks_exact(width).zip(y.chunks_exact(width)).zip(z.chunks_exact(width));
        for (v, ((x, y), z)) in rows.enumerate() {
            let own = [x, y, z];
            // A streamline reads few voxels.
            if own.iter().all(|g| g.iter().all(|v| *v == 0.0)) {
                continue;
            }
            let Some(covariance) = voxel(v) else { continue };
            for (out, a) in out.iter_mut().zip(own) {
                let mut half = vec![0.0; width];
                for (row, a) in covariance.chunks_exact(width).zip(a) {
                    half.iter_mut().zip(row).for_each(|(h, c)| *h += a * c);
                }
                for (out, b) in out.iter_mut().zip(own) {
                    *out += half.iter().zip(b).map(|(h, b)| h * b).sum::<f64>();
                }
            }
        }
        out
    }
}
