//! Projections as functions of the pose of the volume, with their derivatives.
//!
//! The volume is moved in the world by
//!
//! $$Tx = R_y(\beta)R_x(\alpha)R_z(\phi)\,x + t,$$
//!
//! turns active and right-handed about the axes of the world, $\phi$ first. A sample at
//! $w$ in the world is the point $R^T(w-t)$ of the volume. Five parameters
//! $(\alpha,\beta,\phi,d_x,d_z)$, $t = (d_x,0,d_z)$, belong to a parallel beam along +y,
//! which cannot see $d_y$; six $(\alpha,\beta,\phi,d_x,d_y,d_z)$ to any other geometry,
//! whose own views are those at zero. Errors of source and detector (`pose_detector`) may
//! follow.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\alpha, \beta, \phi$ | rad | turns about x, y, z |
//! | $t$ | mm | shift |
//!
//! | function | gives |
//! |---|---|
//! | [`forward_project_view`] | projection of one view |
//! | [`view_loss_value_and_grad`] | $\frac12\sum(p-y)^2$ of one view, its gradient, $J^TJ$ |
//! | [`batch_forward_project`] | projections of all views |
//! | [`PoseModel::losses`], [`PoseModel::jacobian`], [`PoseModel::back`] | losses of all views, the Jacobian of one, the transpose |
//!
//! The rule is the march of `microtome_kernels::ray::trilinear`: samples stand still while
//! the volume moves. Its derivative is exact but for the kinks at the centres of voxels,
//! where it is one-sided.
//!
//! Source: the five parameters are those of TomoJAX (alpha, beta, phi, dx, dz). Validated by
//! `models/tests/suite/pose.rs`.

use super::pose_detector::{DetectorError, after};
use super::{CtError, Geometry, GeometryKind, VolumeGrid};
use microtome_kernels::ray::trilinear::{self, About, Affine, Normal, Posed, Scene, Steps};
use microtome_kernels::ray::{Beam, Panel, Real, View};

pub(super) type Matrix = [[f64; 3]; 3];

/// The parameters, of six, that move a plane out of itself; they must be 0 there, and so are
/// the derivatives.
const OUT_OF_PLANE: [usize; 3] = [0, 1, 5];

/// Most samples of a ray.
const STEPS_MAX: usize = 1 << 20;

/// A geometry whose volume may move.
#[derive(Clone, Debug, PartialEq)]
pub struct PoseModel {
    pub(super) volume: VolumeGrid,
    pub(super) scene: Scene,
    /// One a view, in the world.
    pub(super) views: Vec<View>,
    pub(super) five: bool,
    /// Names of the parameters of a view.
    pub(super) names: Vec<&'static str>,
    /// Those of source and detector, the last ones.
    pub(super) detector: Vec<DetectorError>,
    /// `[view, v, u]`.
    pub(super) mask: Option<Vec<u8>>,
}

pub(super) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|r| std::array::from_fn(|c| (0..3).map(|k| a[r][k] * b[k][c]).sum()))
}

fn transposed(a: &Matrix) -> Matrix {
    std::array::from_fn(|r| std::array::from_fn(|c| a[c][r]))
}

pub(super) fn times(a: &Matrix, x: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|r| a[r][0] * x[0] + a[r][1] * x[1] + a[r][2] * x[2])
}

/// A turn about an axis and its derivative.
fn turn(axis: usize, angle: f64) -> [Matrix; 2] {
    let (s, c) = angle.sin_cos();
    let (i, j) = ((axis + 1) % 3, (axis + 2) % 3);
    let (mut value, mut rate) = ([[0.0; 3]; 3], [[0.0; 3]; 3]);
    value[axis][axis] = 1.0;
    (value[i][i], value[j][j], value[i][j], value[j][i]) = (c, c, -s, s);
    (rate[i][i], rate[j][j], rate[i][j], rate[j][i]) = (-s, -s, -c, c);
    [value, rate]
}

/// $R$ and its derivatives with respect to alpha, beta, phi.
pub(super) fn rotation(angles: [f64; 3]) -> [Matrix; 4] {
    let [x, dx] = turn(0, angles[0]);
    let [y, dy] = turn(1, angles[1]);
    let [z, dz] = turn(2, angles[2]);
    let of = |y: &Matrix, x: &Matrix, z: &Matrix| product(y, &product(x, z));
    [of(&y, &x, &z), of(&y, &dx, &z), of(&dy, &x, &z), of(&y, &x, &dz)]
}

/// The march of a set-up: its defaults, or what is given.
///
/// # Errors
/// A length that is not positive, no steps or more than 2^20.
pub(super) fn steps(
    default: Steps,
    step_mm: Option<f64>,
    count: Option<usize>,
    covering: impl Fn(f64) -> usize,
) -> Result<Steps, CtError> {
    let length_mm = step_mm.unwrap_or(default.length_mm);
    // Also false for NaN.
    let possible = length_mm > 0.0 && length_mm.is_finite();
    if !possible {
        return Err(CtError::key("step_mm", format!("{length_mm}; a positive length is needed")));
    }
    let count = count.unwrap_or_else(|| covering(length_mm));
    if !(1..=STEPS_MAX).contains(&count) {
        let what = format!("{count}; 1 to {STEPS_MAX} samples a ray are possible");
        return Err(CtError::key("steps", what));
    }
    Ok(Steps { length_mm, count, about: default.about })
}

impl PoseModel {
    /// A parallel beam along +y, u along +x, v along +z; five parameters a view.
    ///
    /// # Shapes
    /// `detector` `[nv, nu]`, `pixel_mm` `[dv, du]`, `detector_centre_mm` `[z, x]`.
    ///
    /// # Units
    /// mm. `step_mm` is the voxel size along y where left out, `steps` as many as cover the
    /// volume along y; the middle of the march is at y = 0 of the world.
    ///
    /// # Errors
    /// A plane, no pixels or views, lengths that are not positive, too many voxels.
    pub fn five(
        volume: VolumeGrid,
        views: usize,
        detector: [usize; 2],
        pixel_mm: [f64; 2],
        detector_centre_mm: [f64; 2],
        step_mm: Option<f64>,
        count: Option<usize>,
    ) -> Result<Self, CtError> {
        let [dv, du] = pixel_mm;
        if [dv, du].iter().any(|d| !(*d > 0.0 && d.is_finite())) {
            return Err(CtError::key(
                "pixel_mm",
                format!("{pixel_mm:?}; write [dv, du], both > 0"),
            ));
        }
        let [z, x] = detector_centre_mm;
        let row = [0.0, 1.0, 0.0, x, 0.0, z, du, 0.0, 0.0, 0.0, 0.0, dv];
        let geometry = Geometry::new(GeometryKind::Parallel3d, detector, &row.repeat(views))?;
        let grid = volume.grid();
        let (n, h) = (grid.shape[1] as f64, grid.voxel[1]);
        let default = Steps { length_mm: h, count: 1, about: About::Pixel };
        let steps = steps(default, step_mm, count, |step| (n * h / step).ceil() as usize)?;
        let mut out = Self::rigid(&geometry, volume, Some(steps))?;
        out.five = true;
        out.names = vec!["alpha", "beta", "phi", "dx", "dz"];
        Ok(out)
    }

    /// Any geometry; six parameters a view, with the geometry as it is at zero. In the plane
    /// only phi, dx and dy may be other than 0, and derivatives to the others are 0.
    ///
    /// Without `steps` there are as many steps of the smallest voxel size as cover the
    /// volume from any side, about its centre.
    ///
    /// # Errors
    /// A plane with a volume or the other way round, too many voxels.
    pub fn rigid(
        geometry: &Geometry,
        volume: VolumeGrid,
        steps: Option<Steps>,
    ) -> Result<Self, CtError> {
        if volume.dimensions() != geometry.kind().dimensions() {
            let what = format!(
                "has {} axes, but {} needs {}",
                volume.dimensions(),
                geometry.kind().name(),
                geometry.kind().dimensions()
            );
            return Err(CtError::key("volume.shape", what));
        }
        super::transform::check_size(&volume)?;
        let grid = *volume.grid();
        let steps = steps.unwrap_or_else(|| Steps::covering(&grid, volume.centre()));
        let scene = Scene { grid, panel: geometry.panel(), steps };
        let names = vec!["alpha", "beta", "phi", "dx", "dy", "dz"];
        let views = geometry.views().to_vec();
        Ok(Self { volume, scene, views, five: false, names, detector: Vec::new(), mask: None })
    }

    /// Leaves rays out: their projections are 0 and they count in no loss.
    ///
    /// # Shapes
    /// `mask` `[view, v, u]`, or `[v, u]` for all views; 0 leaves a ray out.
    ///
    /// # Errors
    /// Another number of values.
    pub fn with_mask(mut self, mask: &[u8]) -> Result<Self, CtError> {
        let (views, pixels) = (self.n_views(), self.pixels());
        self.mask = Some(match mask.len() {
            n if n == views * pixels => mask.to_vec(),
            n if n == pixels => mask.repeat(views),
            found => {
                let shape = self.shape();
                return Err(CtError::Length {
                    what: "mask",
                    found,
                    expected: views * pixels,
                    shape,
                });
            }
        });
        Ok(self)
    }

    /// Names of the parameters of a view.
    pub fn parameters(&self) -> &[&'static str] {
        &self.names
    }

    /// Number of views.
    pub fn n_views(&self) -> usize {
        self.views.len()
    }

    /// `[view, v, u]`, in the plane `[view, u]`.
    pub fn shape(&self) -> Vec<usize> {
        let Panel { nu, nv, .. } = self.scene.panel;
        if self.volume.dimensions() == 2 {
            vec![self.n_views(), nu]
        } else {
            vec![self.n_views(), nv, nu]
        }
    }

    /// The voxels.
    pub fn volume(&self) -> &VolumeGrid {
        &self.volume
    }

    /// The samples of a ray.
    pub fn steps(&self) -> Steps {
        self.scene.steps
    }

    /// Rays left out are 0.
    pub fn mask(&self) -> Option<&[u8]> {
        self.mask.as_deref()
    }

    fn pixels(&self) -> usize {
        self.scene.panel.nu * self.scene.panel.nv
    }

    pub(super) fn motion(&self, theta: &[f64]) -> ([f64; 3], [f64; 3]) {
        let angles = [theta[0], theta[1], theta[2]];
        let shift =
            if self.five { [theta[3], 0.0, theta[4]] } else { [theta[3], theta[4], theta[5]] };
        (angles, shift)
    }

    pub(super) fn check_theta(&self, theta: &[f64], views: usize) -> Result<(), CtError> {
        let n = self.parameters().len();
        if theta.len() != views * n {
            let shape = vec![views, n];
            return Err(CtError::Length {
                what: "table of poses",
                found: theta.len(),
                expected: views * n,
                shape,
            });
        }
        if let Some(at) = theta.iter().position(|v| !(v.is_finite() && v.abs() < 1e9)) {
            let name = self.parameters()[at % n];
            let what = format!("{name} is {}; finite numbers below 1e9 are needed", theta[at]);
            return Err(CtError::view(at / n, what));
        }
        let leaves = |at: &usize| self.is_flat() && OUT_OF_PLANE.contains(&(at % n));
        if let Some(at) = (0..theta.len()).find(|at| leaves(at) && theta[*at] != 0.0) {
            let name = self.parameters()[at % n];
            let what = format!("{name} leaves the plane; only phi, dx and dy may be other than 0");
            return Err(CtError::view(at / n, what));
        }
        if self.detector.is_empty() {
            return Ok(());
        }
        theta.chunks_exact(n).enumerate().try_for_each(|(v, t)| self.check_detector(t, v))
    }

    pub(super) fn is_flat(&self) -> bool {
        self.volume.dimensions() == 2
    }

    pub(super) fn check_view(&self, view: usize) -> Result<(), CtError> {
        if view < self.n_views() {
            return Ok(());
        }
        Err(CtError::NoView { view, views: self.n_views() })
    }

    pub(super) fn check_array(
        &self,
        what: &'static str,
        found: usize,
        views: usize,
    ) -> Result<(), CtError> {
        let (expected, shape) = if what == "volume" {
            (self.volume.len(), self.volume.shape())
        } else {
            let mut shape = self.shape();
            shape[0] = views;
            (views * self.pixels(), shape)
        };
        if found == expected {
            return Ok(());
        }
        Err(CtError::Length { what, found, expected, shape })
    }

    /// The place of the volume for a pose, with derivatives.
    pub(super) fn posed(&self, view: usize, theta: &[f64]) -> Posed {
        let (angles, shift) = self.motion(theta);
        let [r, rates @ ..] = rotation(angles);
        let axes = self.volume.axes();
        let (linear, back) = self.volume.place(&transposed(&r), shift);
        let place = Affine { linear, shift: back };
        let turned = |d: &Matrix| {
            let linear = product(&axes, &transposed(d));
            Affine { linear, shift: times(&linear, shift).map(|v| -v) }
        };
        let mut all: Vec<Affine> = rates.iter().map(turned).collect();
        for k in if self.five { [0, 2].iter() } else { [0, 1, 2].iter() } {
            let shift = std::array::from_fn(|row| -place.linear[row][*k]);
            all.push(Affine { linear: [[0.0; 3]; 3], shift });
        }
        if self.is_flat() {
            for k in OUT_OF_PLANE {
                all[k] = Affine { linear: [[0.0; 3]; 3], shift: [0.0; 3] };
            }
        }
        let view_row = self.views[view];
        let Some(change) = self.change(view, theta) else {
            return Posed { view: view_row, place, rates: all };
        };
        // The derivative of the inner map has no part of the outer shift.
        let outer = Affine { linear: place.linear, shift: [0.0; 3] };
        let inner = change.rates.iter().map(|rate| after(&outer, rate));
        let rates = all.iter().map(|rate| after(rate, &change.map)).chain(inner).collect();
        Posed { view: view_row, place: after(&place, &change.map), rates }
    }

    fn all(&self, thetas: &[f64]) -> Result<Vec<Posed>, CtError> {
        self.check_theta(thetas, self.n_views())?;
        let n = self.parameters().len();
        Ok(thetas.chunks_exact(n).enumerate().map(|(v, theta)| self.posed(v, theta)).collect())
    }

    fn blank<T: Real>(&self, first: usize, values: &mut [T]) {
        if let Some(mask) = &self.mask {
            let keep = &mask[first * self.pixels()..];
            for (v, keep) in values.iter_mut().zip(keep) {
                if *keep == 0 {
                    *v = T::default();
                }
            }
        }
    }

    /// Multiplies projections of views from `first` on by what their rays are stretched by.
    fn stretch<T: Real>(&self, first: usize, thetas: &[f64], values: &mut [T]) {
        if self.detector.is_empty() {
            return;
        }
        let (n, pixels) = (self.names.len(), self.pixels());
        let rows = values.chunks_exact_mut(pixels).zip(thetas.chunks_exact(n));
        for (view, (values, theta)) in rows.enumerate() {
            if let Some((g, _)) = self.stretches(first + view, theta) {
                values.iter_mut().zip(&g).for_each(|(v, g)| *v = T::narrow(v.wide() * g));
            }
        }
    }

    /// The geometry in the world of the unmoved volume that a table of poses is equal to; its
    /// detector is flat.
    ///
    /// # Errors
    /// A table of another size, poses that are not finite.
    pub fn geometry(&self, thetas: &[f64]) -> Result<Geometry, CtError> {
        self.check_theta(thetas, self.n_views())?;
        let n = self.parameters().len();
        let d = self.volume.dimensions();
        let mut rows = Vec::with_capacity(12 * self.n_views());
        let divergent = self.sources().is_some();
        for (view, theta) in thetas.chunks_exact(n).enumerate() {
            let view = self.changed_view(view, theta);
            let (angles, shift) = self.motion(theta);
            let back = transposed(&rotation(angles)[0]);
            let point = |p: [f64; 3]| times(&back, std::array::from_fn(|k| p[k] - shift[k]));
            match view.beam {
                Beam::Parallel(ray) => rows.extend_from_slice(&times(&back, ray)[..d]),
                Beam::Source(s) => rows.extend_from_slice(&point(s)[..d]),
            }
            rows.extend_from_slice(&point(view.detector)[..d]);
            rows.extend_from_slice(&times(&back, view.u)[..d]);
            if d == 3 {
                rows.extend(times(&back, view.v));
            }
        }
        let kind = match (d, divergent) {
            (2, false) => GeometryKind::Parallel2d,
            (2, true) => GeometryKind::Fan2d,
            (_, false) => GeometryKind::Parallel3d,
            (_, true) => GeometryKind::Cone3d,
        };
        Geometry::new(kind, [self.scene.panel.nv, self.scene.panel.nu], &rows)
    }

    /// Losses $\frac12\sum(p-y)^2$ of all views with gradients and normal matrices.
    ///
    /// # Shapes
    /// `thetas` `[view, parameter]`, `volume` `[z, y, x]`, `measured` `[view, v, u]`.
    ///
    /// # Errors
    /// Arrays of another length, poses that are not finite.
    pub fn losses<T: Real>(
        &self,
        thetas: &[f64],
        volume: &[T],
        measured: &[T],
    ) -> Result<Vec<Normal>, CtError> {
        self.check_array("volume", volume.len(), 0)?;
        self.check_array("projections", measured.len(), self.n_views())?;
        if !self.detector.is_empty() {
            let (n, pixels) = (self.names.len(), self.pixels());
            self.check_theta(thetas, self.n_views())?;
            let rows = thetas.chunks_exact(n).zip(measured.chunks_exact(pixels));
            return rows
                .enumerate()
                .map(|(view, (theta, y))| self.one_loss(view, theta, volume, y))
                .collect();
        }
        let posed = self.all(thetas)?;
        Ok(trilinear::normal(&self.scene, &posed, volume, measured, self.mask.as_deref()))
    }

    /// The loss of a view from its Jacobian, where rays are stretched.
    fn one_loss<T: Real>(
        &self,
        view: usize,
        theta: &[f64],
        volume: &[T],
        measured: &[T],
    ) -> Result<Normal, CtError> {
        let (n, pixels) = (self.names.len(), self.pixels());
        let (p, j) = self.jacobian(view, theta, volume)?;
        let mask = self.mask.as_ref().map(|m| &m[view * pixels..(view + 1) * pixels]);
        let mut out = Normal { loss: 0.0, gradient: vec![0.0; n], normal: vec![0.0; n * n] };
        for i in (0..pixels).filter(|i| mask.is_none_or(|m| m[*i] != 0)) {
            let r = p[i].wide() - measured[i].wide();
            out.loss += 0.5 * r * r;
            for a in 0..n {
                let row = j[a * pixels + i].wide();
                out.gradient[a] += r * row;
                for b in 0..n {
                    out.normal[a * n + b] += row * j[b * pixels + i].wide();
                }
            }
        }
        Ok(out)
    }

    /// Projection of a view and its derivatives.
    ///
    /// # Shapes
    /// Results `[v, u]` and `[parameter, v, u]`.
    ///
    /// # Errors
    /// As [`forward_project_view`].
    pub fn jacobian<T: Real>(
        &self,
        view: usize,
        theta: &[f64],
        volume: &[T],
    ) -> Result<(Vec<T>, Vec<T>), CtError> {
        self.check_view(view)?;
        self.check_theta(theta, 1)?;
        self.check_array("volume", volume.len(), 0)?;
        let pixels = self.pixels();
        let mut p = super::transform::zeros(pixels, "projections")?;
        let mut j = super::transform::zeros(theta.len() * pixels, "the Jacobian")?;
        trilinear::jacobian(&self.scene, &self.posed(view, theta), volume, &mut p, &mut j);
        if let Some((g, rates)) = self.stretches(view, theta) {
            for plane in j.chunks_exact_mut(pixels) {
                plane.iter_mut().zip(&g).for_each(|(v, g)| *v = T::narrow(v.wide() * g));
            }
            let first = (theta.len() - self.detector.len()) * pixels;
            let all = j[first..].chunks_exact_mut(pixels).zip(rates.chunks_exact(pixels));
            for (plane, rates) in all {
                for ((v, rate), p) in plane.iter_mut().zip(rates).zip(&p) {
                    *v = T::narrow(v.wide() + rate * p.wide());
                }
            }
            p.iter_mut().zip(&g).for_each(|(v, g)| *v = T::narrow(v.wide() * g));
        }
        self.blank(view, &mut p);
        j.chunks_exact_mut(pixels).for_each(|plane| self.blank(view, plane));
        Ok((p, j))
    }

    /// Gradient of $\sum g\,p$ with respect to the poses: $J^Tg$ of every view.
    ///
    /// # Shapes
    /// `weights` ($g$) `[view, v, u]`, result `[view, parameter]`.
    ///
    /// # Errors
    /// Arrays of another length, poses that are not finite.
    pub fn pullback<T: Real>(
        &self,
        thetas: &[f64],
        volume: &[T],
        weights: &[T],
    ) -> Result<Vec<f64>, CtError> {
        self.check_array("volume", volume.len(), 0)?;
        self.check_array("projections", weights.len(), self.n_views())?;
        if !self.detector.is_empty() {
            let (n, pixels) = (self.names.len(), self.pixels());
            self.check_theta(thetas, self.n_views())?;
            let mut out = Vec::with_capacity(thetas.len());
            for (view, theta) in thetas.chunks_exact(n).enumerate() {
                let (_, j) = self.jacobian(view, theta, volume)?;
                let g = &weights[view * pixels..(view + 1) * pixels];
                let sum = |j: &[T]| j.iter().zip(g).map(|(j, g)| j.wide() * g.wide()).sum::<f64>();
                out.extend(j.chunks_exact(pixels).map(sum));
            }
            return Ok(out);
        }
        let posed = self.all(thetas)?;
        let all = trilinear::pullback(&self.scene, &posed, volume, weights, self.mask.as_deref());
        Ok(all.into_iter().flatten().collect())
    }

    /// Adds the transpose of [`batch_forward_project`] to a volume.
    ///
    /// # Errors
    /// Arrays of another length, poses that are not finite.
    pub fn back<T: Real>(
        &self,
        thetas: &[f64],
        projections: &[T],
        volume: &mut [T],
    ) -> Result<(), CtError> {
        self.check_array("volume", volume.len(), 0)?;
        self.check_array("projections", projections.len(), self.n_views())?;
        let posed = self.all(thetas)?;
        if self.mask.is_some() || !self.detector.is_empty() {
            let mut kept = projections.to_vec();
            self.blank(0, &mut kept);
            self.stretch(0, thetas, &mut kept);
            trilinear::adjoint(&self.scene, &posed, &kept, volume);
        } else {
            trilinear::adjoint(&self.scene, &posed, projections, volume);
        }
        Ok(())
    }
}

/// The projection `[v, u]` of one view for a pose.
///
/// # Errors
/// A view that does not exist, arrays of another length, a pose that is not finite.
pub fn forward_project_view<T: Real>(
    model: &PoseModel,
    view: usize,
    theta: &[f64],
    volume: &[T],
) -> Result<Vec<T>, CtError> {
    model.check_view(view)?;
    model.check_theta(theta, 1)?;
    model.check_array("volume", volume.len(), 0)?;
    let mut out = super::transform::zeros(model.pixels(), "projections")?;
    trilinear::forward(&model.scene, &[model.posed(view, theta)], volume, &mut out);
    model.stretch(view, theta, &mut out);
    model.blank(view, &mut out);
    Ok(out)
}

/// Loss $\frac12\sum(p-y)^2$ of one view with its gradient and $J^TJ$, from one march and
/// without a tape.
///
/// # Shapes
/// `measured` `[v, u]`.
///
/// # Errors
/// As [`forward_project_view`].
pub fn view_loss_value_and_grad<T: Real>(
    model: &PoseModel,
    view: usize,
    theta: &[f64],
    volume: &[T],
    measured: &[T],
) -> Result<Normal, CtError> {
    model.check_view(view)?;
    model.check_theta(theta, 1)?;
    model.check_array("volume", volume.len(), 0)?;
    model.check_array("projections", measured.len(), 1)?;
    if !model.detector.is_empty() {
        return model.one_loss(view, theta, volume, measured);
    }
    let pixels = model.pixels();
    let mask = model.mask.as_ref().map(|m| &m[view * pixels..(view + 1) * pixels]);
    let posed = [model.posed(view, theta)];
    let mut all = trilinear::normal(&model.scene, &posed, volume, measured, mask);
    Ok(all.pop().unwrap_or_default())
}

/// Projections `[view, v, u]` of all views for a table of poses `[view, parameter]`.
///
/// # Errors
/// As [`forward_project_view`].
pub fn batch_forward_project<T: Real>(
    model: &PoseModel,
    thetas: &[f64],
    volume: &[T],
) -> Result<Vec<T>, CtError> {
    model.check_array("volume", volume.len(), 0)?;
    let posed = model.all(thetas)?;
    let mut out = super::transform::zeros(posed.len() * model.pixels(), "projections")?;
    trilinear::forward(&model.scene, &posed, volume, &mut out);
    model.stretch(0, thetas, &mut out);
    model.blank(0, &mut out);
    Ok(out)
}
