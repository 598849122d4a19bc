//! Projections, Jacobian and residuals at poses and a volume, and sums over them.
//!
//! $$p_i(x+\delta x, \theta+\delta\theta) \approx p_i + A_i\,\delta x + J_i\,\delta\theta_i$$
//!
//! Validated by `poses_and_volume_are_found` in `inference/tests/suite/align.rs`.

use super::{AlignError, Loss};
use microtome_kernels::ray::Real;
use microtome_models::ct::PoseModel;
use rayon::prelude::*;

/// What a march at poses and a volume left.
pub(super) struct Linear<T> {
    /// $J$ `[view][parameter, v, u]`.
    pub(super) jacobian: Vec<Vec<T>>,
    /// $(p - y)/\sigma$, 0 where a ray is masked, `[view, v, u]`.
    pub(super) residual: Vec<f64>,
    /// $w(z)\,v_i/\sigma^2$, 0 where masked.
    pub(super) weight: Vec<T>,
    /// $\sum v_i\rho(z)$ of every view.
    pub(super) costs: Vec<f64>,
    /// Root mean square of $z$ in every view.
    pub(super) rms: Vec<f64>,
}

/// The noise and what a residual costs.
#[derive(Clone, Debug)]
pub(super) struct Weighing {
    pub(super) sigma: f64,
    pub(super) loss: Loss,
    /// $v_i$.
    pub(super) views: Vec<f64>,
}

impl<T: Real> Linear<T> {
    pub(super) fn new(
        model: &PoseModel,
        thetas: &[f64],
        volume: &[T],
        measured: &[T],
        weighing: &Weighing,
    ) -> Result<Self, AlignError> {
        let n = model.parameters().len();
        let pixels: usize = model.shape()[1..].iter().product();
        let of = |view: usize| {
            model.jacobian(view, &thetas[view * n..(view + 1) * n], volume).map(|(p, j)| {
                let y = &measured[view * pixels..(view + 1) * pixels];
                let mask = model.mask().map(|m| &m[view * pixels..(view + 1) * pixels]);
                let mut weight = vec![T::default(); pixels];
                let mut residual = vec![0.0; pixels];
                let (mut cost, mut squares, mut count) = (0.0, 0.0, 0.0_f64);
                let v = weighing.views[view];
                for i in 0..pixels {
                    if mask.is_some_and(|m| m[i] == 0) {
                        continue;
                    }
                    let z = (p[i].wide() - y[i].wide()) / weighing.sigma;
                    residual[i] = z;
                    let w = weighing.loss.weight(z) * v / (weighing.sigma * weighing.sigma);
                    weight[i] = T::narrow(w);
                    cost += v * weighing.loss.cost(z);
                    squares += z * z;
                    count += 1.0;
                }
                (j, residual, weight, cost, (squares / count.max(1.0)).sqrt())
            })
        };
        let all: Vec<_> = (0..model.n_views()).into_par_iter().map(of).collect();
        let mut out = Self {
            jacobian: Vec::new(),
            residual: Vec::with_capacity(measured.len()),
            weight: Vec::with_capacity(measured.len()),
            costs: Vec::new(),
            rms: Vec::new(),
        };
        for of_view in all {
            let (j, residual, weight, cost, rms) = of_view?;
            out.jacobian.push(j);
            out.residual.extend(residual);
            out.weight.extend(weight);
            out.costs.push(cost);
            out.rms.push(rms);
        }
        Ok(out)
    }

    /// $Wr$ with the residual $r = p - y$.
    pub(super) fn weighted_residual(&self, sigma: f64) -> Vec<T> {
        let both = self.residual.iter().zip(&self.weight);
        both.map(|(z, w)| T::narrow(z * sigma * w.wide())).collect()
    }

    /// $J_i^TWJ_i$ of every view, `[parameter, parameter]`.
    pub(super) fn normals(&self) -> Vec<Vec<f64>> {
        let pixels = self.weight.len() / self.jacobian.len().max(1);
        let of = |(j, w): (&Vec<T>, &[T])| {
            let n = j.len() / pixels;
            let mut out = vec![0.0; n * n];
            for a in 0..n {
                for b in 0..=a {
                    let (ja, jb) = (&j[a * pixels..], &j[b * pixels..]);
                    let terms = w.iter().zip(ja).zip(jb);
                    let sum: f64 = terms.map(|((w, a), b)| w.wide() * a.wide() * b.wide()).sum();
                    out[a * n + b] = sum;
                    out[b * n + a] = sum;
                }
            }
            out
        };
        self.jacobian.par_iter().zip(self.weight.par_chunks(pixels)).map(of).collect()
    }

    /// $J^Tv$ `[view, parameter]` of values of the projections.
    pub(super) fn pull(&self, values: &[T]) -> Vec<f64> {
        let pixels = self.weight.len() / self.jacobian.len().max(1);
        let of = |(j, v): (&Vec<T>, &[T])| -> Vec<f64> {
            let image = |j: &[T]| j.iter().zip(v).map(|(j, v)| j.wide() * v.wide()).sum::<f64>();
            j.chunks_exact(pixels).map(image).collect()
        };
        let all: Vec<Vec<f64>> =
            self.jacobian.par_iter().zip(values.par_chunks(pixels)).map(of).collect();
        all.concat()
    }

    /// Adds $J\delta\theta$ to values of the projections.
    pub(super) fn push(&self, table: &[f64], values: &mut [T]) {
        let views = self.jacobian.len().max(1);
        let (pixels, n) = (self.weight.len() / views, table.len() / views);
        let rows = values.par_chunks_mut(pixels).zip(&self.jacobian).zip(table.par_chunks(n));
        rows.for_each(|((values, j), row)| {
            for (j, d) in j.chunks_exact(pixels).zip(row).filter(|(_, d)| **d != 0.0) {
                for (v, j) in values.iter_mut().zip(j) {
                    *v = T::narrow(v.wide() + d * j.wide());
                }
            }
        });
    }
}
