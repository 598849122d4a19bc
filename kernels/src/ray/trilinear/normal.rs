//! Loss, gradient and normal matrix of a view with respect to the place of the volume, and
//! the Jacobian pixel by pixel.
//!
//! $$L = \tfrac12\sum_r m_r(p_r-y_r)^2,\qquad
//!   \nabla L = \sum_r m_r(p_r-y_r)J_r,\qquad N = \sum_r m_rJ_rJ_r^T,\qquad
//!   J_{ri} = \delta\big(S_0\cdot\partial_iP(a_r) + S_1\cdot\partial_iP\,b_r\big)$$
//!
//! with the sums $S$ of `march.rs`. They are added up in float64 as the rays go by; nothing
//! but these few numbers is kept, in a fixed order for any number of threads.
//!
//! Validated by `sums_are_derivatives` and `threads_change_no_bit` in `tests.rs`.

use super::bundle::{Bundle, Camera, Rays, Row, ToIndex};
use super::march::{Field, Sums, march};
use super::wide::{Job, RAYS, Wide};
use super::{Posed, Scene, TASK_RAYS};
use crate::ray::Real;
use crate::simd;
use rayon::prelude::*;

/// Loss of a view with its derivatives with respect to the parameters of the place.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Normal {
    /// $L$.
    pub loss: f64,
    /// $\nabla L$.
    pub gradient: Vec<f64>,
    /// $J^TJ$, `[parameter, parameter]`.
    pub normal: Vec<f64>,
}

/// Derivatives of the integrals of a bundle with respect to a parameter.
#[inline(always)]
fn derivative<T: Real>(rate: &ToIndex, rays: &Rays, sums: &Sums<T>, length: f64) -> Row {
    let mut out = [0.0; RAYS];
    for r in 0..3 {
        let m = rate.linear[r];
        for l in 0..RAYS {
            let (a, b) = (&rays.a, &rays.b);
            let at = m[0] * a[0][l] + m[1] * a[1][l] + m[2] * a[2][l] + rate.shift[r];
            let along = m[0] * b[0][l] + m[1] * b[1][l] + m[2] * b[2][l];
            out[l] += length * (sums.s0[r][l].wide() * at + sums.s1[r][l].wide() * along);
        }
    }
    out
}

/// A view made ready.
struct Ready {
    camera: Camera,
    map: ToIndex,
    rates: Vec<ToIndex>,
}

impl Ready {
    fn new(scene: &Scene, posed: &Posed) -> Self {
        Self {
            camera: Camera::new(&posed.view, scene.panel, scene.steps),
            map: ToIndex::new(&posed.place, &scene.grid),
            rates: posed.rates.iter().map(|r| ToIndex::rate(r, &scene.grid)).collect(),
        }
    }
}

/// Loss, gradient and normal matrix of every view.
///
/// # Shapes
/// `volume` `[z, y, x]`, `measured` and `mask` `[view, v, u]`; a ray whose `mask` is 0
/// counts nothing.
///
/// # Panics
/// When a slice has another length than its shape says, or the grid more than 2^32 voxels.
pub fn normal<T: Real>(
    scene: &Scene,
    views: &[Posed],
    volume: &[T],
    measured: &[T],
    mask: Option<&[u8]>,
) -> Vec<Normal> {
    T::totals(scene, views, volume, measured, mask, true)
}

/// $J^Tg$ of every view: the gradient of $\sum_r m_rg_rp_r$.
///
/// # Shapes
/// As for [`normal`], with `weights` ($g$) in place of `measured`.
///
/// # Panics
/// As for [`normal`].
pub fn pullback<T: Real>(
    scene: &Scene,
    views: &[Posed],
    volume: &[T],
    weights: &[T],
    mask: Option<&[u8]>,
) -> Vec<Vec<f64>> {
    let all = T::totals(scene, views, volume, weights, mask, false);
    all.into_iter().map(|n| n.gradient).collect()
}

/// [`normal`], without `loss` [`pullback`].
pub(super) fn totals<T: Real>(
    scene: &Scene,
    views: &[Posed],
    volume: &[T],
    measured: &[T],
    mask: Option<&[u8]>,
    loss: bool,
) -> Vec<Normal> {
    let pixels = scene.pixels();
    assert!(volume.len() == scene.grid.len() && measured.len() == views.len() * pixels);
    assert!(mask.is_none_or(|m| m.len() == measured.len()));
    let volume = scene.readable(volume);
    let field = Field::new(&volume, &scene.grid);
    let level = simd::level();
    let of_view = |(at, posed): (usize, &Posed)| {
        let ready = Ready::new(scene, posed);
        let starts: Vec<usize> = (0..pixels).step_by(TASK_RAYS).collect();
        let parts: Vec<Normal> = starts
            .par_iter()
            .map(|&first| {
                let past = (first + TASK_RAYS).min(pixels);
                let range = at * pixels + first..at * pixels + past;
                let mask = mask.map(|m| &m[range.clone()]);
                let measured = &measured[range];
                let ready = &ready;
                let total = Total { scene, ready, field, first, measured, mask, with_loss: loss };
                T::at_level(level, total)
            })
            .collect();
        let n = posed.rates.len();
        let mut out = Normal { loss: 0.0, gradient: vec![0.0; n], normal: vec![0.0; n * n] };
        for part in parts {
            out.loss += part.loss;
            let sums = out.gradient.iter_mut().zip(part.gradient);
            sums.for_each(|(sum, v)| *sum += v);
            let sums = out.normal.iter_mut().zip(part.normal);
            sums.for_each(|(sum, v)| *sum += v);
        }
        out
    };
    views.par_iter().enumerate().map(of_view).collect()
}

/// The part of neighbouring pixels in a [`Normal`]; without a loss the numbers are the
/// residuals themselves.
struct Total<'a, T> {
    scene: &'a Scene,
    ready: &'a Ready,
    field: Field<'a, T>,
    first: usize,
    measured: &'a [T],
    mask: Option<&'a [u8]>,
    with_loss: bool,
}

impl<T: Real> Job for Total<'_, T> {
    type Scalar = T;
    type Output = Normal;

    #[inline(always)]
    fn run<W: Wide<Scalar = T>>(self) -> Normal {
        let Scene { grid, steps, .. } = self.scene;
        let length = steps.length_mm;
        let part = self.scene.whole();
        let n = self.ready.rates.len();
        let mut loss = [0.0; RAYS];
        let mut gradient = vec![[0.0; RAYS]; n];
        let mut normal = vec![[0.0; RAYS]; n * (n + 1) / 2];
        let mut rows = vec![[0.0; RAYS]; n];
        for (at, measured) in self.measured.chunks(RAYS).enumerate() {
            let rays = self.ready.camera.rays(self.first + at * RAYS, measured.len());
            let bundle = Bundle::<W>::new(&rays, &self.ready.map, grid, &part, steps.count);
            let sums = march::<W, true>(&self.field, &bundle, steps.count);
            let (mut weight, mut residual) = ([0.0; RAYS], [0.0; RAYS]);
            for (l, y) in measured.iter().enumerate() {
                let counts = self.mask.is_none_or(|m| m[at * RAYS + l] != 0);
                weight[l] = if counts { 1.0 } else { 0.0 };
                let p = T::narrow(sums.p[l].wide() * T::narrow(length).wide());
                let given = if self.with_loss { p.wide() - y.wide() } else { y.wide() };
                residual[l] = if counts { given } else { 0.0 };
            }
            for l in 0..RAYS {
                loss[l] += 0.5 * residual[l] * residual[l];
            }
            let mut pair = 0;
            for i in 0..n {
                rows[i] = derivative(&self.ready.rates[i], &rays, &sums, length);
                for l in 0..RAYS {
                    rows[i][l] *= weight[l];
                    gradient[i][l] += residual[l] * rows[i][l];
                }
                for j in 0..if self.with_loss { i + 1 } else { 0 } {
                    for l in 0..RAYS {
                        normal[pair][l] += rows[i][l] * rows[j][l];
                    }
                    pair += 1;
                }
            }
        }
        let sum = |row: &Row| row.iter().sum::<f64>();
        let mut out = Normal { loss: sum(&loss), gradient: Vec::new(), normal: vec![0.0; n * n] };
        out.gradient.extend(gradient.iter().map(sum));
        let mut pair = 0;
        for i in 0..n {
            for j in 0..=i {
                let value = sum(&normal[pair]);
                out.normal[i * n + j] = value;
                out.normal[j * n + i] = value;
                pair += 1;
            }
        }
        out
    }
}

/// Integrals of a view and their derivatives with respect to the parameters of its place.
///
/// # Shapes
/// `volume` `[z, y, x]`, `out` `[v, u]`, `derivatives` `[parameter, v, u]`.
///
/// # Panics
/// When a slice has another length than its shape says, or the grid more than 2^32 voxels.
pub fn jacobian<T: Real>(
    scene: &Scene,
    posed: &Posed,
    volume: &[T],
    out: &mut [T],
    derivatives: &mut [T],
) {
    T::table(scene, posed, volume, out, derivatives);
}

/// [`jacobian`].
pub(super) fn table<T: Real>(
    scene: &Scene,
    posed: &Posed,
    volume: &[T],
    out: &mut [T],
    derivatives: &mut [T],
) {
    let (pixels, n) = (scene.pixels(), posed.rates.len());
    assert!(volume.len() == scene.grid.len() && out.len() == pixels);
    assert!(derivatives.len() == n * pixels);
    let volume = scene.readable(volume);
    let field = Field::new(&volume, &scene.grid);
    let ready = Ready::new(scene, posed);
    let level = simd::level();
    let mut planes: Vec<_> =
        derivatives.chunks_mut(pixels).map(|plane| plane.chunks_mut(TASK_RAYS)).collect();
    let tasks: Vec<(&mut [T], Vec<&mut [T]>)> = out
        .chunks_mut(TASK_RAYS)
        .map(|out| (out, planes.iter_mut().filter_map(Iterator::next).collect()))
        .collect();
    tasks.into_par_iter().enumerate().for_each(|(task, (out, derivatives))| {
        let first = task * TASK_RAYS;
        let ready = &ready;
        T::at_level(level, Table { scene, ready, field, first, out, derivatives });
    });
}

/// Integrals and derivatives of neighbouring pixels.
struct Table<'a, T> {
    scene: &'a Scene,
    ready: &'a Ready,
    field: Field<'a, T>,
    first: usize,
    out: &'a mut [T],
    derivatives: Vec<&'a mut [T]>,
}

impl<T: Real> Job for Table<'_, T> {
    type Scalar = T;
    type Output = ();

    #[inline(always)]
    fn run<W: Wide<Scalar = T>>(mut self) {
        let Scene { grid, steps, .. } = self.scene;
        let length = steps.length_mm;
        let part = self.scene.whole();
        for (at, out) in self.out.chunks_mut(RAYS).enumerate() {
            let rays = self.ready.camera.rays(self.first + at * RAYS, out.len());
            let bundle = Bundle::<W>::new(&rays, &self.ready.map, grid, &part, steps.count);
            let sums = march::<W, true>(&self.field, &bundle, steps.count);
            for (out, p) in out.iter_mut().zip(sums.p) {
                *out = T::narrow(p.wide() * T::narrow(length).wide());
            }
            for (rate, plane) in self.ready.rates.iter().zip(&mut self.derivatives) {
                let row = derivative(rate, &rays, &sums, length);
                for (l, v) in plane[at * RAYS..].iter_mut().take(RAYS).enumerate() {
                    *v = T::narrow(row[l]);
                }
            }
        }
    }
}
