//! Standard errors of a fit from the curvature of its likelihood.
//!
//! $$\mathrm{cov}\,c = \frac{\partial c}{\partial t}\,H^{-1}\,\frac{\partial c}{\partial t}^T$$
//!
//! with $H$ the information in the tangent coordinates $t$ that no bound holds, and $c$ a
//! column or measure (the delta method). Validated by `tests/suite/fit.rs`.

use super::Fitter;
use crate::dense::{cholesky, cholesky_inverse};
use microtome_models::FreeKind;

impl Fitter {
    /// Standard errors of the columns (0 for constants) and the measures, and whether the data
    /// determine the parameters. Columns held by a bound, or that vanish because a
    /// fraction is zero, have none: NaN. The errors of the other columns hold what is at a
    /// bound fixed there: they are conditional on it, and too small where it could leave.
    pub(super) fn standard_errors(
        &self,
        x: &[f64],
        gradient: &[f64],
        hessian: &[f64],
    ) -> (Vec<f64>, bool) {
        let model = self.model();
        let dim = self.tangent.dim();
        let mut frozen = vec![false; dim];
        self.tangent.blocked(x, gradient, &mut frozen);
        let fraction_gone = model
            .free()
            .iter()
            .filter(|f| matches!(f.kind, FreeKind::Fractions { .. }))
            .any(|f| x[f.at..f.at + f.len].iter().any(|v| *v < 1e-6));
        let scale = |i: usize| hessian[i * dim + i].max(0.0).sqrt();
        // Compared in units of the parameters, so that the unit of the signals
        // (of s0) does not matter.
        let sizes: Vec<f64> = model
            .free()
            .iter()
            .flat_map(|f| match f.kind {
                FreeKind::Scale => vec![x[f.at].abs()],
                FreeKind::Axis => vec![1.0; 2],
                FreeKind::Fractions { .. } => vec![1.0; f.len - 1],
                FreeKind::Scalar { .. } => vec![1.0],
            })
            .collect();
        let largest = (0..dim).map(|i| scale(i) * sizes[i]).fold(0.0, f64::max);
        let dead: Vec<bool> = (0..dim).map(|i| scale(i) * sizes[i] <= 1e-9 * largest).collect();
        let live: Vec<usize> = (0..dim).filter(|&i| !frozen[i] && !dead[i]).collect();
        let n = live.len();
        let mut a = vec![0.0; n * n];
        for (i, &p) in live.iter().enumerate() {
            for (j, &q) in live.iter().enumerate() {
                a[i * n + j] = hessian[p * dim + q] / (scale(p) * scale(q));
            }
        }
        let full_rank = cholesky(&mut a, n, 1e-10);
        let determined = full_rank && (fraction_gone || (0..dim).all(|i| frozen[i] || !dead[i]));
        let columns = model.columns();
        let count = columns.len() + model.measures().len();
        if !full_rank {
            return (vec![f64::NAN; count], false);
        }
        let inverse = cholesky_inverse(&a, n);
        let mut basis = Vec::new();
        self.tangent.basis(x, &mut basis);
        let per_voxel = self.evaluator.per_voxel();
        let sd = (0..count)
            .map(|c| {
                let mut slope = vec![0.0; dim];
                let sink = &mut |k: usize, d: f64| {
                    for &(_, j, b) in basis.iter().filter(|e| e.0 == k) {
                        slope[j] += d * b;
                    }
                };
                match columns.get(c) {
                    Some(column) => column.evaluate(x, per_voxel, sink),
                    None => {
                        let measure = &model.measures()[c - columns.len()];
                        measure.evaluate(model, x, per_voxel, sink)
                    }
                };
                // Not determined, or held by a bound: no standard error.
                let held = |i: usize| dead[i] || frozen[i];
                let moves = |i: usize| slope[i] != 0.0;
                if (0..dim).any(|i| dead[i] && moves(i)) || !(0..dim).any(|i| moves(i) && !held(i))
                {
                    return if (0..dim).any(moves) { f64::NAN } else { 0.0 };
                }
                let mut variance = 0.0;
                for (i, &p) in live.iter().enumerate() {
                    for (j, &q) in live.iter().enumerate() {
                        variance += slope[p] / scale(p) * inverse[i * n + j] * slope[q] / scale(q);
                    }
                }
                if variance.is_nan() { variance } else { variance.max(0.0).sqrt() }
            })
            .collect();
        (sd, determined)
    }
}
