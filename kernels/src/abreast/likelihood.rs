//! What the data say of several images: the sum over rays and its gradient in one pass.
//!
//! $$U(x) = \sum_r \phi_r(t_r),\quad t = A\delta,\qquad
//! \nabla U = A^T \phi'(t)$$
//!
//! | term | $\phi_r(t)$ | $\phi_r'(t)$ |
//! |---|---|---|
//! | normal | $\tfrac w2(o+t)^2$ | $w(o+t)$ |
//! | counts | $\lambda\,(e^{-t}-1) + ct$ | $c - \lambda e^{-t}$ |
//!
//! with $\delta$ the deviation from a centre $x_0$, $o = Ax_0 - y$, $w$ the inverse variance,
//! $c$ the count and $\lambda = I_0e^{-Ax_0}$ the expected one. The constant of the counts is
//! that $\phi = 0$ at the centre.
//!
//! Source: Elbakri & Fessler 2002, doi:10.1109/42.993128 (the Poisson log-likelihood of
//! counts). Validated by `gradients_are_differences` below.

use super::stored::sum;
use super::{ABREAST, Stored, Sums, Wide};
use crate::lanes::{LaneTask, Lanes, in_lanes};
use crate::simd;
use crate::single::lanes::{Singles, horner};

/// What a ray adds to the sum.
#[derive(Debug, Clone, Copy)]
pub enum RayTerm<'a> {
    /// Normal noise.
    Normal {
        /// $Ax_0 - y$.
        offset: &'a [f32],
        /// Inverse variances.
        weight: &'a [f32],
    },
    /// Counts of photons.
    Counts {
        /// Counts.
        count: &'a [f32],
        /// Expected counts at the centre.
        expected: &'a [f32],
    },
}

impl RayTerm<'_> {
    /// $\phi_r(t)$ and $\phi_r'(t)$.
    #[inline(always)]
    fn at<S: Singles>(&self, ray: usize, t: S) -> (S, S) {
        match self {
            Self::Normal { offset, weight } => {
                let r = S::splat(offset[ray]).add(t);
                let slope = S::splat(weight[ray]).mul(r);
                (S::splat(0.5).mul(slope).mul(r), slope)
            }
            Self::Counts { count, expected } => {
                let (c, e) = (count[ray], S::splat(expected[ray]));
                let less = e.mul(expm1(S::splat(0.0).sub(t)));
                (S::splat(c).madd(t, less), S::splat(c - expected[ray]).sub(less))
            }
        }
    }
}

/// Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
const ROUND: f32 = 12_582_912.0;
/// $(e^r - 1)/r$; the remainder of the series is below 1e-8 for $|r| \le \ln(2)/2$.
const SERIES: [f32; 7] = [1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];

/// $e^x - 1$ within 4e-7 of it, for $|x|$ up to 80 and as there beyond.
#[inline(always)]
pub(super) fn expm1<S: Singles>(x: S) -> S {
    let x = S::splat(80.0).min(S::splat(-80.0).max(x));
    let shifted = x.mul(S::splat(std::f32::consts::LOG2_E)).add(S::splat(ROUND));
    let k = shifted.sub(S::splat(ROUND));
    // ln 2 in two parts, the first exact times k.
    let r = x.sub(k.mul(S::splat(0.693_359_4))).add(k.mul(S::splat(2.121_944_4e-4)));
    // The low bits of `shifted` hold k in two's complement.
    let power = S::splat(1.0).add_shifted(shifted);
    power.madd(horner(&SERIES, r).mul(r), power.sub(S::splat(1.0)))
}

/// Adds the gradient at deviations `x` to `gradient`, and returns the sums. `slopes` is memory.
///
/// # Shapes
/// `x` and `gradient` `[voxel]`, `slopes` `[ray]`, the term has a number a row.
pub fn pull(
    of: &Stored,
    term: &RayTerm<'_>,
    x: &[Wide],
    slopes: &mut [Wide],
    gradient: &mut [Wide],
) -> [f64; ABREAST] {
    let mut sum = [0.0; ABREAST];
    in_lanes(simd::level(), Pull { of, term, x, slopes, gradient, sum: &mut sum });
    sum
}

struct Pull<'a> {
    of: &'a Stored,
    term: &'a RayTerm<'a>,
    x: &'a [Wide],
    slopes: &'a mut [Wide],
    gradient: &'a mut [Wide],
    sum: &'a mut [f64; ABREAST],
}

impl LaneTask for Pull<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut whole = Sums::<L::Single>::zero();
        for (ray, slope) in self.slopes.iter_mut().enumerate() {
            let row = self.of.rows().row(ray);
            if row.is_empty() {
                *slope = [0.0; ABREAST];
                continue;
            }
            let (value, pulled) = self.term.at(ray, sum::<L::Single>(row, self.x));
            pulled.store(slope);
            whole.add(value);
        }
        whole.store(self.sum);
        for (voxel, column) in self.of.columns() {
            let g = &mut self.gradient[voxel];
            sum::<L::Single>(column, self.slopes).add(L::Single::load(g)).store(g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ray::Rows;
    use crate::single::lanes::NarrowArray;

    fn rows() -> Rows {
        let mut rows = Rows { begin: vec![0], entries: Vec::new() };
        for ray in 0..30_u32 {
            for k in 0..ray % 9 {
                rows.entries.push(((ray * 7 + k * 3) % 20, 0.1 + ((ray + k) % 5) as f32 / 5.0));
            }
            rows.begin.push(rows.entries.len());
        }
        rows
    }

    fn less_one(x: f32) -> f32 {
        let mut out = [0.0; ABREAST];
        expm1(NarrowArray::<false>::load(&[x; ABREAST])).store(&mut out);
        out[ABREAST - 1]
    }

    #[test]
    fn less_one_is_right() {
        let mut worst = 0.0_f64;
        for i in (-4000..4000).filter(|i| *i != 0) {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp_m1();
            worst = worst.max((f64::from(less_one(x)) / exact - 1.0).abs());
        }
        assert!(worst < 4e-7, "{worst}");
        let tiny = 1e-6_f32;
        assert!((less_one(tiny) - tiny).abs() < 1e-12);
        assert!(less_one(f32::MAX).is_finite() && less_one(-1e30) == -1.0);
    }

    fn check(term: &RayTerm<'_>, exact: impl Fn(usize, f64) -> (f64, f64)) {
        let rows = rows();
        let stored = Stored::new(rows.clone(), &[4, 5]);
        let mut slopes = vec![[7.0; ABREAST]; rows.len()];
        let x: Vec<Wide> = (0..20)
            .map(|j| std::array::from_fn(|l| ((j * 5 + l * 11) as f32).sin() * 0.4))
            .collect();
        let mut g = vec![[1.0; ABREAST]; 20];
        let value = pull(&stored, term, &x, &mut slopes, &mut g);
        for l in 0..ABREAST {
            let (mut sum, mut slope) = (0.0, vec![1.0; 20]);
            for ray in 0..rows.len() {
                let each = rows.row(ray).iter();
                let t = each.map(|(j, a)| f64::from(*a) * f64::from(x[*j as usize][l])).sum();
                let (v, d) = exact(ray, t);
                if !rows.row(ray).is_empty() {
                    sum += v;
                }
                let h = 1e-5;
                let difference = (exact(ray, t + h).0 - exact(ray, t - h).0) / (2.0 * h);
                assert!((difference - d).abs() < 1e-6 * (1.0 + d.abs()), "{difference} {d}");
                for (j, a) in rows.row(ray) {
                    slope[*j as usize] += f64::from(*a) * d;
                }
            }
            assert!((value[l] - sum).abs() < 1e-5 * (1.0 + sum.abs()), "{} {sum}", value[l]);
            for (g, s) in g.iter().zip(&slope) {
                assert!((f64::from(g[l]) - s).abs() < 3e-5 * (1.0 + s.abs()), "{} {s}", g[l]);
            }
        }
    }

    #[test]
    fn gradients_are_differences() {
        let offset: Vec<f32> = (0..30).map(|i| (i as f32).cos()).collect();
        let weight: Vec<f32> = (0..30).map(|i| (i % 4) as f32).collect();
        check(&RayTerm::Normal { offset: &offset, weight: &weight }, |ray, t| {
            let (w, r) = (f64::from(weight[ray]), f64::from(offset[ray]) + t);
            (0.5 * w * r * r, w * r)
        });
        let count: Vec<f32> = (0..30).map(|i| (i % 7) as f32 * 10.0).collect();
        let expected: Vec<f32> = (0..30).map(|i| 5.0 + i as f32).collect();
        check(&RayTerm::Counts { count: &count, expected: &expected }, |ray, t| {
            let (c, e) = (f64::from(count[ray]), f64::from(expected[ray]));
            (e * (-t).exp_m1() + c * t, c - e * (-t).exp())
        });
    }
}
