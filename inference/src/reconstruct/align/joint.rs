//! Volume and poses together by Gauss and Newton, from coarse to fine.
//!
//! $$F = \sum_r v_{i(r)}\,\rho\!\Big(\frac{p_r(x,\theta)-y_r}{\sigma}\Big)
//!   + \lambda\sum_j\sqrt{|(\nabla x)_j|^2+\epsilon^2} + F_\text{motion}(\theta)$$
//!
//! $$\begin{pmatrix}A^TWA+\lambda\nabla^T\Omega\nabla & A^TWJ\\ J^TWA & J^TWJ + P\end{pmatrix}
//!   \begin{pmatrix}\delta x\\ \delta q\end{pmatrix} = -\nabla F$$
//!
//! by conjugate gradients: an iteration costs a projection and a backprojection, as one of a
//! reconstruction does, and moves the poses as well. Alternating a reconstruction and poses
//! converges slowly where the image takes up what the poses should explain (smooth changes of
//! shifts from view to view); here the coupling $A^TWJ$ is in the equations. The
//! preconditioner is `precondition` for the image and the inverse of $J_i^TWJ_i$ for each
//! view; the gauge directions of `gauge` are projected out.
//!
//! $\Omega$ is the second derivative of the total variation, which has next to no curvature along
//! the gradient: an edge may move. With $1/\sqrt{|\nabla x|^2+\epsilon^2}$ alone (lagged
//! diffusivity) edges move a little a step, and with them the poses that go with a smooth
//! deformation of the volume (phi). A step that does not lower $F$ is halved.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $x$ | 1/mm | volume |
//! | $q$ | mm | unknowns of the poses |
//! | $W$ | | $w(z)v_i/\sigma^2$ |
//! | $\Omega$ | mm | $(I - nn^T)/\sqrt{|\nabla x|^2+\epsilon^2}$, $n = \nabla x/\sqrt{|\nabla x|^2+\epsilon^2}$ of the present image |
//!
//! Source: Gürsoy et al. 2017, doi:10.1038/s41598-017-12141-9 (joint iterations); Ramos,
//! Jørgensen & Andersen 2017 and Odstrčil et al. 2019, doi:10.1364/OE.27.036637 (pyramids);
//! Golub & Pereyra 2003, doi:10.1088/0266-5611/19/2/201 (why alternation is slow); Vogel &
//! Oman 1996, doi:10.1137/0917016 (lagged diffusivity); Chan, Golub & Mulet 1999,
//! doi:10.1137/S1064827596299767 (Newton's method for the total variation). Validated by
//! `poses_and_volume_are_found` and `the_axis_of_a_parallel_scan_is_found` in `inference/tests/suite/align.rs`.

use super::super::posterior::conjugate::{Space, descend};
use super::super::vector::{dot, each2, norm};
use super::super::{Problem, default_tv_weight, noise_level};
use super::gauge::{moved, nearest};
use super::known::{ViewFit, ViewStatus, check_levels, check_poses, covariance, median};
use super::linear::{Linear, Weighing};
use super::precondition::Preconditioner;
use super::{AlignError, Hidden, Loss, MotionPrior, PosedViews, Unknowns};
use crate::dense::{cholesky, cholesky_solve};
use microtome_kernels::ray::Real;
use microtome_kernels::variation::{Field, Lattice, add_transpose, gradient, smoothed_variation};
use microtome_models::ct::{PoseModel, RigidTransform, batch_forward_project};

/// $\epsilon$ as a part of the root mean square of the gradient of the image.
const SMOOTHING: f64 = 0.2;
/// Views of more than so many times the median root mean square count less.
const OUTLIER: f64 = 1.5;
/// The least noise, as a part of the largest projection: what voxels leave unexplained.
const LEAST: f64 = 1e-3;
/// Change of the last step, in voxels, below which the search has converged.
const SETTLED: f64 = 0.02;
/// The least part of a step that is tried.
const SHORTEST: f64 = 0.1;
/// Steps of the first reconstruction, which has no regularisation but its few steps.
const FIRST: usize = 8;

/// How volume and poses are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct JointSettings {
    /// Factors of pixels and voxels, from coarse to fine.
    pub levels: Vec<usize>,
    /// Steps of Gauss and Newton a level, from coarse to fine; the last number stands for
    /// further levels.
    pub steps: Vec<usize>,
    /// Conjugate gradients a step.
    pub inner: usize,
    /// Conjugate gradients for the volume at the poses found.
    pub last: usize,
    /// Cost of a residual.
    pub loss: Loss,
    /// Whether views with large residuals count less.
    pub outliers: bool,
    /// Noise of a projection value; found in the projections where left out.
    pub sigma: Option<f64>,
    /// The default weight of the total variation times this.
    pub variation: f64,
    /// What is believed of the motion.
    pub motion: MotionPrior,
}

impl Default for JointSettings {
    fn default() -> Self {
        Self {
            levels: vec![4, 2, 1],
            steps: vec![12, 6, 4],
            inner: 12,
            last: 12,
            loss: Loss::Squares,
            outliers: false,
            sigma: None,
            variation: 0.5,
            motion: MotionPrior::default(),
        }
    }
}

/// A step of Gauss and Newton.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointRow {
    /// Factor of pixels and voxels.
    pub level: usize,
    /// From 1 within the level.
    pub step: usize,
    /// $F$ before the step.
    pub cost: f64,
    /// Root mean square of the residuals in units of $\sigma$ before the step.
    pub rms: f64,
    /// Root mean square of the change of the poses, mm at the edge of the volume.
    pub moved_mm: f64,
    /// Whether the step was taken.
    pub taken: bool,
}

/// Volume and poses.
#[derive(Clone, Debug, PartialEq)]
pub struct JointResult<T> {
    /// A row a view, with zero mean deviation from the given poses along what is hidden.
    /// Standard errors are those with the image as it is: too small, since the image is not
    /// known.
    pub views: Vec<ViewFit>,
    /// `[z, y, x]`.
    pub volume: Vec<T>,
    /// Values of the common unknowns, mm.
    pub common: Vec<f64>,
    /// $\sigma$ at the finest level.
    pub sigma: f64,
    /// All steps.
    pub history: Vec<JointRow>,
    /// What no projection shows.
    pub hidden: Vec<String>,
    /// The motion of the volume that was taken out at the end.
    pub gauge: RigidTransform,
}

impl<T> JointResult<T> {
    /// The poses `[view, parameter]`.
    pub fn thetas(&self) -> Vec<f64> {
        self.views.iter().flat_map(|v| v.theta.clone()).collect()
    }
}

/// The problem at one level.
pub(super) struct Level<'a> {
    pub(super) model: &'a PoseModel,
    pub(super) unknowns: &'a Unknowns,
    pub(super) start: &'a [f64],
    pub(super) motion: MotionPrior,
    pub(super) lattice: Lattice,
    pub(super) weighing: Weighing,
    /// $\lambda$ in nats, and $\epsilon$.
    pub(super) variation: [f64; 2],
}

/// The quadratic model of $F$ at a place.
pub(super) struct Quadratic<'a, 'b, T: Real> {
    pub(super) level: &'a Level<'b>,
    pub(super) thetas: &'a [f64],
    pub(super) linear: &'a Linear<T>,
    /// $\lambda/\sqrt{|\nabla x|^2+\epsilon^2}$; none without regularisation.
    pub(super) omega: Option<Vec<T>>,
    /// $n$; none for lagged diffusivity.
    edges: Option<Field<T>>,
    pub(super) hidden: &'a Hidden,
    /// Cholesky factors of the views' blocks, and the diagonal of the common unknowns.
    factors: Vec<Vec<f64>>,
    common: Vec<f64>,
    precondition: &'a Preconditioner,
    /// Whether poses move.
    pub(super) free: bool,
}

/// Changes of the image and of the unknowns.
#[derive(Clone, Debug)]
pub(super) struct Both<T> {
    pub(super) x: Vec<T>,
    pub(super) z: Vec<f64>,
}

impl<T: Real> Space for Both<T> {
    fn dot(&self, o: &Self) -> f64 {
        dot(&self.x, &o.x) + self.z.iter().zip(&o.z).map(|(a, b)| a * b).sum::<f64>()
    }

    fn add(&mut self, factor: f64, o: &Self) {
        each2(&mut self.x, &o.x, |a, b| a + factor * b);
        self.z.iter_mut().zip(&o.z).for_each(|(a, b)| *a += factor * b);
    }

    fn redirect(&mut self, factor: f64, o: &Self) {
        each2(&mut self.x, &o.x, |a, b| b + factor * a);
        self.z.iter_mut().zip(&o.z).for_each(|(a, b)| *a = b + factor * *a);
    }
}

impl Level<'_> {
    /// $\theta - \theta_0$.
    fn deviation(&self, thetas: &[f64]) -> Vec<f64> {
        thetas.iter().zip(self.start).map(|(t, s)| t - s).collect()
    }

    /// $F$.
    fn cost<T: Real>(&self, thetas: &[f64], x: &[T], linear: &Linear<T>) -> f64 {
        let [lambda, smoothing] = self.variation;
        let image = if lambda > 0.0 {
            lambda * smoothed_variation(&self.lattice, x, smoothing)
        } else {
            0.0
        };
        let table = self.deviation(thetas);
        let pull = self.motion.precision(&table, &self.model.scales());
        let motion: f64 = table.iter().zip(&pull).map(|(a, b)| 0.5 * a * b).sum();
        linear.costs.iter().sum::<f64>() + image + motion
    }

    /// $\lambda/\sqrt{|\nabla x|^2+\epsilon^2}$.
    pub(super) fn omega<T: Real>(&self, x: &[T]) -> Option<Vec<T>> {
        let [lambda, smoothing] = self.variation;
        if lambda == 0.0 {
            return None;
        }
        let mut field: Field<T> = self.lattice.field();
        gradient(&self.lattice, x, &mut field);
        let of = |i: usize| {
            let square: f64 = field.iter().map(|f| f[i].wide() * f[i].wide()).sum();
            T::narrow(lambda / (square + smoothing * smoothing).sqrt())
        };
        Some((0..x.len()).map(of).collect())
    }

    /// $n$ of an image.
    fn edges<T: Real>(&self, x: &[T]) -> Field<T> {
        let smoothing = self.variation[1];
        let mut field: Field<T> = self.lattice.field();
        gradient(&self.lattice, x, &mut field);
        for i in 0..x.len() {
            let square: f64 = field.iter().map(|f| f[i].wide() * f[i].wide()).sum();
            let size = (square + smoothing * smoothing).sqrt();
            field.iter_mut().for_each(|f| f[i] = T::narrow(f[i].wide() / size));
        }
        field
    }

    /// The gradient of $F$.
    fn gradient<T: Real>(
        &self,
        thetas: &[f64],
        x: &[T],
        linear: &Linear<T>,
        omega: Option<&[T]>,
    ) -> Result<Both<T>, AlignError> {
        let weighted = linear.weighted_residual(self.weighing.sigma);
        let mut gx = vec![T::default(); x.len()];
        self.model.back(thetas, &weighted, &mut gx)?;
        if let Some(omega) = omega {
            add_smoothing(&self.lattice, omega, None, x, &mut gx);
        }
        let mut table = linear.pull(&weighted);
        let pull = self.motion.precision(&self.deviation(thetas), &self.model.scales());
        table.iter_mut().zip(&pull).for_each(|(t, p)| *t += p);
        Ok(Both { x: gx, z: self.unknowns.restrict(&table) })
    }
}

/// Adds $\nabla^T\Omega\nabla x$, with $n$ where edges may move.
fn add_smoothing<T: Real>(
    lattice: &Lattice,
    omega: &[T],
    edges: Option<&Field<T>>,
    x: &[T],
    out: &mut [T],
) {
    let mut field: Field<T> = lattice.field();
    gradient(lattice, x, &mut field);
    if let Some(edges) = edges {
        for i in 0..x.len() {
            let pairs = field.iter().zip(edges);
            let along: f64 = pairs.map(|(f, n)| f[i].wide() * n[i].wide()).sum();
            for (f, n) in field.iter_mut().zip(edges) {
                f[i] = T::narrow(f[i].wide() - along * n[i].wide());
            }
        }
    }
    field.iter_mut().for_each(|f| each2(f, omega, |f, o| f * o));
    add_transpose(lattice, &field, out, 1.0);
}

impl<'a, 'b, T: Real> Quadratic<'a, 'b, T> {
    pub(super) fn new(
        level: &'a Level<'b>,
        thetas: &'a [f64],
        linear: &'a Linear<T>,
        omega: Option<Vec<T>>,
        hidden: &'a Hidden,
        precondition: &'a Preconditioner,
        free: bool,
    ) -> Self {
        let unknowns = level.unknowns;
        let (n, scales) = (unknowns.parameters, level.model.scales());
        let normals = linear.normals();
        let with_prior = |view: usize| {
            let mut h = normals[view].clone();
            for k in 0..n {
                h[k * n + k] += level.motion.diagonal(scales[k]);
            }
            h
        };
        let product = |h: &[f64], d: &[f64], e: &[f64]| -> f64 {
            (0..n).map(|p| d[p] * (0..n).map(|q| h[p * n + q] * e[q]).sum::<f64>()).sum()
        };
        let mut factors = Vec::with_capacity(unknowns.views);
        for (view, basis) in unknowns.own.iter().enumerate() {
            let (h, m) = (with_prior(view), basis.len());
            let mut block = vec![0.0; m * m];
            for a in 0..m {
                for b in 0..m {
                    block[a * m + b] = product(&h, &basis[a], &basis[b]);
                }
            }
            let largest = (0..m).map(|a| block[a * m + a]).fold(0.0_f64, f64::max);
            for a in 0..m {
                // A direction that is not seen stays where it is.
                block[a * m + a] += 1e-6 * largest + 1e-300;
            }
            let whole = largest > 0.0 && cholesky(&mut block, m, 1e-14);
            factors.push(if whole { block } else { Vec::new() });
        }
        let common = unknowns
            .common
            .iter()
            .map(|(_, table)| {
                (0..unknowns.views)
                    .map(|v| {
                        let row = &table[v * n..(v + 1) * n];
                        product(&with_prior(v), row, row)
                    })
                    .sum::<f64>()
            })
            .collect();
        let edges = None;
        Self { level, thetas, linear, omega, edges, hidden, factors, common, precondition, free }
    }

    /// With the second derivative of the total variation at an image.
    pub(super) fn with_edges(mut self, x: &[T]) -> Self {
        if self.omega.is_some() {
            self.edges = Some(self.level.edges(x));
        }
        self
    }

    /// $H d$.
    pub(super) fn multiply(&self, d: &Both<T>) -> Result<Both<T>, AlignError> {
        let Level { model, unknowns, motion, lattice, .. } = self.level;
        let mut y = batch_forward_project(model, self.thetas, &d.x)?;
        let table = unknowns.expand(&d.z);
        if self.free {
            self.linear.push(&table, &mut y);
        }
        each2(&mut y, &self.linear.weight, |y, w| y * w);
        let mut x = vec![T::default(); d.x.len()];
        model.back(self.thetas, &y, &mut x)?;
        if let Some(omega) = &self.omega {
            add_smoothing(lattice, omega, self.edges.as_ref(), &d.x, &mut x);
        }
        let mut z = vec![0.0; d.z.len()];
        if self.free {
            let mut out = self.linear.pull(&y);
            let pull = motion.precision(&table, &model.scales());
            out.iter_mut().zip(&pull).for_each(|(o, p)| *o += p);
            z = unknowns.restrict(&out);
            self.hidden.remove(&mut z);
        }
        Ok(Both { x, z })
    }

    /// $M^{-1}r$.
    fn divide(&self, r: &Both<T>) -> Both<T> {
        let x = self.precondition.divide(&r.x);
        let mut z = vec![0.0; r.z.len()];
        if self.free {
            z.copy_from_slice(&r.z);
            self.hidden.remove(&mut z);
            let mut at = 0;
            for (basis, factor) in self.level.unknowns.own.iter().zip(&self.factors) {
                let m = basis.len();
                let part = &mut z[at..at + m];
                if factor.is_empty() {
                    part.fill(0.0);
                } else {
                    cholesky_solve(factor, m, part);
                }
                at += m;
            }
            for (z, c) in z[at..].iter_mut().zip(&self.common) {
                *z = if *c > 0.0 { *z / c } else { 0.0 };
            }
            self.hidden.remove(&mut z);
        }
        Both { x, z }
    }

    /// Solves $Hd = b$ with so many iterations at most, or until the residual is below
    /// `tolerance` of $b$ in the norm of the preconditioner.
    pub(super) fn solve(
        &self,
        mut b: Both<T>,
        iterations: usize,
        tolerance: f64,
    ) -> Result<Both<T>, AlignError> {
        if self.free {
            self.hidden.remove(&mut b.z);
        } else {
            b.z.fill(0.0);
        }
        let mut d = Both { x: vec![T::default(); b.x.len()], z: vec![0.0; b.z.len()] };
        let (mut r, mut first) = (b, None);
        descend(
            |p, out| {
                *out = self.multiply(p)?;
                Ok::<(), AlignError>(())
            },
            |r, z| *z = self.divide(r),
            &mut d,
            &mut r,
            iterations,
            |_, rz| rz <= *first.get_or_insert(rz) * tolerance * tolerance,
        )?;
        Ok(d)
    }
}

impl JointSettings {
    fn check(&self) -> Result<(), AlignError> {
        check_levels(&self.levels)?;
        self.motion.check()?;
        if self.steps.is_empty() || self.steps.contains(&0) || self.inner == 0 {
            let what = "at least one step of one iteration is needed";
            return Err(AlignError::setting("steps", what));
        }
        if let Some(s) = self.sigma.filter(|s| !(*s > 0.0 && s.is_finite())) {
            return Err(AlignError::setting("sigma", format!("{s}; a positive number is needed")));
        }
        // Also false for NaN.
        let weighs = self.variation >= 0.0 && self.variation.is_finite();
        if !weighs {
            let what = format!("{}; 0 or a positive number is needed", self.variation);
            return Err(AlignError::setting("variation", what));
        }
        Ok(())
    }
}

fn rms_of(rows: &[f64]) -> f64 {
    (rows.iter().map(|v| v * v).sum::<f64>() / rows.len().max(1) as f64).sqrt()
}

/// Weights of views from the sizes of their residuals.
fn view_weights(rms: &[f64]) -> Vec<f64> {
    let middle = median(&mut rms.to_vec());
    rms.iter().map(|r| if *r > OUTLIER * middle { (middle / r).powi(2) } else { 1.0 }).collect()
}

/// Finds volume and poses together.
///
/// # Shapes
/// `thetas` `[view, parameter]`, `measured` `[view, v, u]`.
///
/// # Errors
/// Arrays of another length, settings out of range, unknowns that no projection shows.
pub fn align_jointly<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    measured: &[T],
    unknowns: &Unknowns,
    settings: &JointSettings,
) -> Result<JointResult<T>, AlignError> {
    settings.check()?;
    check_poses(model, thetas)?;
    super::super::problem::check("projections", measured, &model.shape())?;
    let (start, n) = (thetas, model.parameters().len());
    let scales = model.scales();
    let mut thetas = start.to_vec();
    let hidden = Hidden::new(model, unknowns, start)?;
    if hidden.directions.len() >= unknowns.len() {
        let reason = format!(
            "nothing is left to be found: with an unknown volume, {} of all views together \
             changes no projection; give --volume or name other parameters",
            hidden.names.join(", ")
        );
        return Err(AlignError::NoUnknowns { reason });
    }
    let mut out: Option<JointResult<T>> = None;
    let mut history = Vec::new();
    let mut weights = vec![1.0; model.n_views()];
    let mut before: Option<(usize, Vec<T>)> = None;
    for (depth, &factor) in settings.levels.iter().enumerate() {
        let coarse = model.coarser(factor)?;
        let y = model.binned_projections(measured, factor)?;
        let shape = coarse.volume().shape();
        let Some(lattice) = Lattice::new(&shape) else {
            return Err(AlignError::setting("levels", format!("{factor}: no voxel is left")));
        };
        let flat = model.volume().dimensions() == 2;
        let share = if flat { (factor as f64).sqrt() } else { factor as f64 };
        let (sigma, lambda) = noise_and_variation(&coarse, start, &y, settings, share)?;
        let mut x = match &before {
            None => vec![T::default(); coarse.volume().len()],
            Some((was, x)) => finer(model, *was, factor, x)?,
        };
        let mut level = Level {
            model: &coarse,
            unknowns,
            start,
            motion: settings.motion,
            lattice,
            weighing: Weighing { sigma, loss: Loss::Squares, views: weights.clone() },
            variation: [0.0, 0.0],
        };
        let steps = *settings.steps.get(depth).or(settings.steps.last()).unwrap_or(&1);
        let mut linear = Linear::new(&coarse, &thetas, &x, &y, &level.weighing)?;
        let data = |v: &[T]| -> Result<Vec<T>, AlignError> {
            let mut y = batch_forward_project(&coarse, start, v)?;
            each2(&mut y, &linear.weight, |y, w| y * w);
            let mut out = vec![T::default(); v.len()];
            coarse.back(start, &y, &mut out)?;
            Ok(out)
        };
        let plain = Preconditioner::new(&shape, data, 0.0)?;
        if before.is_none() {
            // The first image: least squares, and only few steps.
            let q = Quadratic::new(&level, &thetas, &linear, None, &hidden, &plain, false);
            let g = level.gradient(&thetas, &x, &linear, None)?;
            let d = q.solve(negative(g), FIRST, 1e-3)?;
            each2(&mut x, &d.x, |x, d| x + d);
        }
        level.variation = [lambda, smoothing_of(&lattice, &x)];
        level.weighing.loss = settings.loss;
        linear = Linear::new(&coarse, &thetas, &x, &y, &level.weighing)?;
        let smooth = 0.5 * lambda / level.variation[1];
        let precondition = Preconditioner::new(&shape, data_of(&coarse, start, &linear), smooth)?;
        let mut cost = level.cost(&thetas, &x, &linear);
        for step in 1..=steps {
            let hidden = Hidden::new(&coarse, unknowns, &thetas)?;
            let omega = level.omega(&x);
            let g = level.gradient(&thetas, &x, &linear, omega.as_deref())?;
            let q = Quadratic::new(&level, &thetas, &linear, omega, &hidden, &precondition, true)
                .with_edges(&x);
            let d = q.solve(negative(g), settings.inner, 1e-3)?;
            let mut change = unknowns.expand(&d.z);
            let most = coarse.voxel_mm();
            // What views share must stay the same in all of them.
            let together = if unknowns.common.is_empty() { n } else { change.len().max(1) };
            change.chunks_mut(together).for_each(|part| limit(part, &scales, most));
            let mut share = 1.0;
            let mut better = None;
            while better.is_none() && share > SHORTEST {
                let moves = thetas.iter().zip(&change);
                let next: Vec<f64> = moves.map(|(t, c)| t + share * c).collect();
                let mut image = x.clone();
                each2(&mut image, &d.x, |x, d| x + share * d);
                let trial = Linear::new(&coarse, &next, &image, &y, &level.weighing)?;
                let trial_cost = level.cost(&next, &image, &trial);
                if trial_cost < cost {
                    better = Some((next, image, trial, trial_cost));
                } else {
                    share *= 0.5;
                }
            }
            let size: Vec<f64> =
                change.iter().enumerate().map(|(i, c)| share * c * scales[i % n]).collect();
            history.push(JointRow {
                level: factor,
                step,
                cost,
                rms: rms_of(&linear.rms),
                moved_mm: rms_of(&size),
                taken: better.is_some(),
            });
            // Not even a small part of the step is better: what this quadratic can show is found.
            let Some(better) = better else { break };
            (thetas, x, linear, cost) = better;
            if settings.outliers {
                level.weighing.views = view_weights(&linear.rms);
                linear = Linear::new(&coarse, &thetas, &x, &y, &level.weighing)?;
                cost = level.cost(&thetas, &x, &linear);
            }
            if rms_of(&size) < 1e-4 * coarse.voxel_mm() {
                break;
            }
        }
        weights = level.weighing.views.clone();
        if depth + 1 == settings.levels.len() {
            let gauge = if hidden.directions.is_empty() {
                RigidTransform::identity()
            } else {
                nearest(&coarse, &thetas, start)?
            };
            thetas = moved(&coarse, &thetas, &gauge)?;
            for _ in 0..2 {
                linear = Linear::new(&coarse, &thetas, &x, &y, &level.weighing)?;
                let omega = level.omega(&x);
                let g = level.gradient(&thetas, &x, &linear, omega.as_deref())?;
                let q =
                    Quadratic::new(&level, &thetas, &linear, omega, &hidden, &precondition, false);
                let d = q.solve(negative(g), settings.last.div_ceil(2).max(1), 1e-4)?;
                each2(&mut x, &d.x, |x, d| x + d);
            }
            linear = Linear::new(&coarse, &thetas, &x, &y, &level.weighing)?;
            let change: Vec<f64> = thetas.iter().zip(start).map(|(t, s)| t - s).collect();
            let z = unknowns.coordinates(&change, &scales);
            out = Some(JointResult {
                views: rows(&level, &thetas, &linear, settled(&history, coarse.voxel_mm())),
                volume: if factor == 1 { x.clone() } else { finer(model, factor, 1, &x)? },
                common: z[z.len() - unknowns.common.len()..].to_vec(),
                sigma,
                history: Vec::new(),
                hidden: hidden.names.clone(),
                gauge,
            });
        }
        before = Some((factor, x));
    }
    let mut out = out.ok_or_else(|| AlignError::setting("levels", "none is given"))?;
    out.history = history;
    Ok(out)
}

/// Whether the last step moved the edge of the volume by less than [`SETTLED`] voxels.
fn settled(history: &[JointRow], voxel_mm: f64) -> bool {
    let last = history.iter().rev().find(|r| r.taken);
    last.is_some_and(|r| r.moved_mm < SETTLED * voxel_mm)
}

/// A row a view at the end.
fn rows<T: Real>(
    level: &Level<'_>,
    thetas: &[f64],
    linear: &Linear<T>,
    converged: bool,
) -> Vec<ViewFit> {
    let (unknowns, sigma) = (level.unknowns, level.weighing.sigma);
    let n = unknowns.parameters;
    let pixels = linear.residual.len() / unknowns.views;
    let normals = linear.normals();
    let of = |(view, theta): (usize, &[f64])| {
        let basis = &unknowns.own[view];
        let m = basis.len();
        let mut h = vec![0.0; m * m];
        for a in 0..m {
            for b in 0..m {
                h[a * m + b] = (0..n)
                    .map(|p| {
                        let row = &normals[view][p * n..(p + 1) * n];
                        let sum: f64 = row.iter().zip(&basis[b]).map(|(h, d)| h * d).sum();
                        basis[a][p] * sum
                    })
                    .sum();
            }
        }
        let cov = covariance(&h, m, basis, n);
        let weight = level.weighing.views[view];
        let status = match (&cov, weight < 1.0, converged) {
            (None, _, _) => ViewStatus::Singular,
            (_, true, _) => ViewStatus::Outlier,
            (_, _, true) => ViewStatus::Converged,
            _ => ViewStatus::MaxIterations,
        };
        let sd = match cov {
            Some(cov) => (0..n).map(|k| cov[k * n + k].max(0.0).sqrt()).collect(),
            None => vec![f64::NAN; n],
        };
        let residual = &linear.residual[view * pixels..(view + 1) * pixels];
        let squares: f64 = residual.iter().map(|z| z * z).sum();
        ViewFit {
            theta: theta.to_vec(),
            sd,
            loss: 0.5 * squares * sigma * sigma,
            sigma,
            weight,
            status,
            iterations: 0,
        }
    };
    thetas.chunks_exact(n).enumerate().map(of).collect()
}

/// $\epsilon$ of an image.
pub(super) fn smoothing_of<T: Real>(lattice: &Lattice, x: &[T]) -> f64 {
    let mut field: Field<T> = lattice.field();
    gradient(lattice, x, &mut field);
    let square: f64 = field.iter().map(|f| norm(f).powi(2)).sum();
    SMOOTHING * (square / x.len() as f64).sqrt().max(1e-300)
}

/// $\sigma$ of binned projections, which is `share` times less than that of the settings, and
/// $\lambda$ in nats.
pub(super) fn noise_and_variation<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    y: &[T],
    settings: &JointSettings,
    share: f64,
) -> Result<(f64, f64), AlignError> {
    let views = PosedViews::new(model, thetas);
    let problem = Problem::new(&views, y)?;
    let largest = y.iter().fold(0.0_f64, |m, v| m.max(v.wide().abs()));
    if largest == 0.0 {
        let what = "they are all 0; there is nothing to align";
        return Err(AlignError::setting("projections", what));
    }
    // Noise below a part of the signal is not that of a model of voxels.
    let least = LEAST * largest;
    let found = noise_level(&problem).max(1e-9 * largest);
    let sigma = settings.sigma.map_or(found, |s| s / share).max(least);
    // The rule is for the noise that it finds itself.
    let weight = default_tv_weight(&problem)? / noise_level(&problem).max(1e-300);
    let weight = if weight.is_finite() { weight } else { 0.0 };
    Ok((sigma, settings.variation * weight / sigma))
}

/// The product with $A^TWA$ at poses.
pub(super) fn data_of<'a, T: Real>(
    model: &'a PoseModel,
    thetas: &'a [f64],
    linear: &'a Linear<T>,
) -> impl Fn(&[T]) -> Result<Vec<T>, AlignError> + 'a {
    move |v: &[T]| {
        let mut y = batch_forward_project(model, thetas, v)?;
        each2(&mut y, &linear.weight, |y, w| y * w);
        let mut out = vec![T::default(); v.len()];
        model.back(thetas, &y, &mut out)?;
        Ok(out)
    }
}

fn negative<T: Real>(mut g: Both<T>) -> Both<T> {
    super::super::vector::each(&mut g.x, |v| -v);
    g.z.iter_mut().for_each(|v| *v = -*v);
    g
}

/// Changes of some views, shortened so that no edge moves by more than `most`.
fn limit(change: &mut [f64], scales: &[f64], most: f64) {
    let edges = change.iter().zip(scales.iter().cycle()).map(|(c, s)| (c * s).abs());
    let greatest = edges.fold(0.0_f64, f64::max);
    if greatest > most {
        change.iter_mut().for_each(|c| *c *= most / greatest);
    }
}

/// A volume of one level on the voxels of a finer one.
fn finer<T: Real>(
    model: &PoseModel,
    from: usize,
    to: usize,
    x: &[T],
) -> Result<Vec<T>, AlignError> {
    if from.is_multiple_of(to) {
        let coarse = model.coarser(to)?;
        let same =
            coarse.coarser(from / to)?.volume().shape() == model.coarser(from)?.volume().shape();
        if same {
            return Ok(coarse.finer_volume(x, from / to)?);
        }
    }
    let fine = model.finer_volume(x, from)?;
    Ok(model.binned_volume(&fine, to)?)
}
