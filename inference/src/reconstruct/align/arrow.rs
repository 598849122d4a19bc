//! Normal equations of unknowns of views and of unknowns that views share.
//!
//! $$\begin{pmatrix}H_i & C_i\\ C_i^T & K\end{pmatrix},\qquad
//!   S = K - \sum_iC_i^TH_i^{-1}C_i$$
//!
//! with a block $H_i = B_i^TN_iB_i$ for every view, $C_i = B_i^TN_ic_i$ and
//! $K = \sum_ic_i^TN_ic_i$, for any normal matrices $N_i$ of the parameters of views. The views
//! are eliminated one by one, so that cost and memory grow with their number.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $B_i, c_i$ | | directions of view i, and its rows of the common unknowns |
//! | $N_i$ | | normal matrix of the parameters of a view |
//!
//! Source: Triggs et al. 2000, doi:10.1007/3-540-44480-7_21, section 6.1 (bundle adjustment).
//! Validated by `arrows_are_solved` below.

use super::Unknowns;
use crate::dense::{cholesky, cholesky_inverse, cholesky_solve};

/// The least pivot, as a part of its diagonal, of what is told from the rest.
const TOLD: f64 = 1e-9;

/// A factored system.
pub(super) struct Arrow<'a> {
    unknowns: &'a Unknowns,
    /// Cholesky factors of $H_i$.
    factors: Vec<Vec<f64>>,
    /// $H_i^{-1}C_i$ `[own, common]`.
    gains: Vec<Vec<f64>>,
    /// Cholesky factor of $S$.
    corner: Vec<f64>,
}

/// What of a system can't be told from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blind {
    /// A direction of this view.
    View(usize),
    /// This common unknown.
    Common(usize),
}

/// $a^TNb$.
fn product(normal: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let n = b.len();
    let row = |p: usize| normal[p * n..(p + 1) * n].iter().zip(b).map(|(h, b)| h * b).sum::<f64>();
    a.iter().enumerate().filter(|(_, a)| **a != 0.0).map(|(p, a)| a * row(p)).sum()
}

impl<'a> Arrow<'a> {
    /// Factors the system of some normal matrices; `damping` times its diagonal is added.
    ///
    /// # Errors
    /// The first unknown that can't be told from those before it.
    pub(super) fn new(
        unknowns: &'a Unknowns,
        normals: &[Vec<f64>],
        damping: f64,
    ) -> Result<Self, Blind> {
        let (n, k) = (unknowns.parameters, unknowns.common.len());
        let mut corner = vec![0.0; k * k];
        let (mut factors, mut gains) = (Vec::new(), Vec::new());
        let rows = |view: usize| -> Vec<&[f64]> {
            unknowns.common.iter().map(|(_, t)| &t[view * n..(view + 1) * n]).collect()
        };
        let mut parts = Vec::with_capacity(unknowns.views);
        for (view, basis) in unknowns.own.iter().enumerate() {
            let (normal, m, shared) = (&normals[view], basis.len(), rows(view));
            let mut block = vec![0.0; m * m];
            let mut cross = vec![0.0; m * k];
            for a in 0..m {
                for b in 0..m {
                    block[a * m + b] = product(normal, &basis[a], &basis[b]);
                }
                block[a * m + a] *= 1.0 + damping;
                for (c, row) in shared.iter().enumerate() {
                    cross[a * k + c] = product(normal, &basis[a], row);
                }
            }
            for (a, left) in shared.iter().enumerate() {
                for (b, right) in shared.iter().enumerate() {
                    corner[a * k + b] += product(normal, left, right);
                }
            }
            if !cholesky(&mut block, m, TOLD) {
                return Err(Blind::View(view));
            }
            let mut gain = cross.clone();
            let mut column = vec![0.0; m];
            for c in 0..k {
                (0..m).for_each(|a| column[a] = cross[a * k + c]);
                cholesky_solve(&block, m, &mut column);
                (0..m).for_each(|a| gain[a * k + c] = column[a]);
            }
            factors.push(block);
            gains.push(gain);
            parts.push(cross);
        }
        let whole: Vec<f64> = (0..k).map(|c| corner[c * k + c]).collect();
        for c in 0..k {
            corner[c * k + c] *= 1.0 + damping;
        }
        for (cross, gain) in parts.iter().zip(&gains) {
            for (of, g) in cross.chunks_exact(k.max(1)).zip(gain.chunks_exact(k.max(1))) {
                for a in 0..k {
                    for b in 0..k {
                        corner[a * k + b] -= of[a] * g[b];
                    }
                }
            }
        }
        // Pivots are judged against what was there before the views were eliminated.
        for (c, whole) in whole.iter().enumerate() {
            let mut lead: Vec<f64> = (0..=c)
                .flat_map(|a| (0..=c).map(move |b| (a, b)))
                .map(|(a, b)| corner[a * k + b])
                .collect();
            let m = c + 1;
            let rest = if cholesky(&mut lead, m, 0.0) { lead[m * m - 1].powi(2) } else { 0.0 };
            if rest <= TOLD * whole {
                return Err(Blind::Common(c));
            }
        }
        if !cholesky(&mut corner, k, 0.0) {
            return Err(Blind::Common(k - 1));
        }
        Ok(Self { unknowns, factors, gains, corner })
    }

    /// Solves in place; unknowns of views first.
    pub(super) fn solve(&self, z: &mut [f64]) {
        let k = self.unknowns.common.len();
        let first = z.len() - k;
        let (own, common) = z.split_at_mut(first);
        let mut at = 0;
        for (factor, gain) in self.factors.iter().zip(&self.gains) {
            let m = gain.len().checked_div(k).unwrap_or_else(|| side(factor));
            let part = &mut own[at..at + m];
            for (a, value) in part.iter().enumerate() {
                for (c, out) in common.iter_mut().enumerate() {
                    *out -= gain[a * k + c] * value;
                }
            }
            cholesky_solve(factor, m, part);
            at += m;
        }
        cholesky_solve(&self.corner, k, common);
        let mut at = 0;
        for (factor, gain) in self.factors.iter().zip(&self.gains) {
            let m = gain.len().checked_div(k).unwrap_or_else(|| side(factor));
            for (a, value) in own[at..at + m].iter_mut().enumerate() {
                *value -= (0..k).map(|c| gain[a * k + c] * common[c]).sum::<f64>();
            }
            at += m;
        }
    }

    /// The covariance of the common unknowns, $S^{-1}$.
    pub(super) fn common_covariance(&self) -> Vec<f64> {
        cholesky_inverse(&self.corner, self.unknowns.common.len())
    }

    /// Variances of the parameters of a view, common unknowns included.
    pub(super) fn variances(&self, view: usize) -> Vec<f64> {
        let (n, k) = (self.unknowns.parameters, self.unknowns.common.len());
        let basis = &self.unknowns.own[view];
        let m = basis.len();
        let own = cholesky_inverse(&self.factors[view], m);
        let shared = self.common_covariance();
        let gain = &self.gains[view];
        let of = |p: usize| {
            // The row of the parameter in own and in common unknowns, the latter after
            // elimination.
            let direct: Vec<f64> = basis.iter().map(|d| d[p]).collect();
            let rest: Vec<f64> = (0..k)
                .map(|c| {
                    let given = self.unknowns.common[c].1[view * n + p];
                    given - (0..m).map(|a| direct[a] * gain[a * k + c]).sum::<f64>()
                })
                .collect();
            product(&own, &direct, &direct) + product(&shared, &rest, &rest)
        };
        (0..n).map(of).collect()
    }
}

/// The side of a square matrix.
fn side(of: &[f64]) -> usize {
    (of.len() as f64).sqrt().round() as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Three views of three parameters, two of them free in each, and two common unknowns.
    fn unknowns() -> Unknowns {
        let own = vec![vec![1.0, 0.0, 0.0], vec![0.0, 2.0, 0.5]];
        let table = |k: f64| (0..9).map(|i| (f64::from(i) * k).cos()).collect::<Vec<f64>>();
        Unknowns {
            parameters: 3,
            views: 3,
            own: vec![own.clone(), own[..1].to_vec(), own],
            common: vec![("a".into(), table(0.9)), ("b".into(), table(2.3))],
            fixed: Vec::new(),
        }
    }

    #[test]
    fn arrows_are_solved() {
        let unknowns = unknowns();
        let normal = |v: f64| -> Vec<f64> {
            let row = |i: usize, s: f64| ((i as f64 + 1.0) * (s + 0.7) * (v + 1.3)).sin();
            let dot =
                |i: usize, j: usize| (0..5).map(|s| row(i, s as f64) * row(j, s as f64)).sum();
            (0..9).map(|i| dot(i / 3, i % 3)).collect()
        };
        let normals: Vec<Vec<f64>> = (0..3).map(|v| normal(f64::from(v))).collect();
        let multiply = |z: &[f64]| -> Vec<f64> {
            let table = unknowns.expand(z);
            let out: Vec<f64> = table
                .chunks(3)
                .zip(&normals)
                .flat_map(|(t, n)| (0..3).map(|p| (0..3).map(|q| n[p * 3 + q] * t[q]).sum()))
                .collect::<Vec<f64>>();
            unknowns.restrict(&out)
        };
        let truth: Vec<f64> = (0..7).map(|i| f64::from(i * i + 1).sin()).collect();
        let arrow = Arrow::new(&unknowns, &normals, 0.0).unwrap();
        let mut found = multiply(&truth);
        arrow.solve(&mut found);
        for (a, b) in found.iter().zip(&truth) {
            assert!((a - b).abs() < 1e-9, "{found:?} {truth:?}");
        }
        // A variance is that of the whole inverse.
        for view in 0..3 {
            for (p, variance) in arrow.variances(view).iter().enumerate() {
                let mut unit = vec![0.0; 9];
                unit[view * 3 + p] = 1.0;
                let row = unknowns.restrict(&unit);
                let mut solved = row.clone();
                arrow.solve(&mut solved);
                let whole: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
                assert!((variance - whole).abs() < 1e-9 * whole.abs().max(1.0));
            }
        }
        // A common unknown that views make already.
        let mut twice = unknowns.clone();
        twice.common[1].1 = twice.common[0].1.clone();
        assert_eq!(Arrow::new(&twice, &normals, 0.0).err(), Some(Blind::Common(1)));
    }
}
