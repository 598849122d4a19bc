//! The same scan with fewer, larger voxels and pixels.
//!
//! $$\bar y_{IJ} = \frac1{f^2}\sum_{i,j<f} y_{fI+i,\,fJ+j},\qquad
//!   \bar x_{IJK} = \frac1{f^3}\sum_{i,j,k<f} x_{fI+i,\,fJ+j,\,fK+k}$$
//!
//! Blocks that reach over the edge of the detector leave no ray, those over the edge of the
//! volume count zeros. Steps grow with the voxels. Poses are in mm and rad and stay as they
//! are. Source: the image pyramid of Burt & Adelson 1983, doi:10.1109/TCOM.1983.1095851, with
//! a box. Validated by `a_coarser_scan_sees_the_same` in `models/tests/suite/pose.rs`.

use super::CtError;
use super::pose::PoseModel;
use microtome_kernels::ray::Real;

/// Sizes along x, y, z or u, v after binning.
fn fewer(n: usize, factor: usize) -> usize {
    if n > 1 { n.div_ceil(factor) } else { 1 }
}

/// Means over blocks of `[z, y, x]`; what lies outside counts 0.
fn means<T: Real>(of: &[T], shape: [usize; 3], factor: usize) -> Vec<T> {
    let [nx, ny, nz] = shape;
    let [mx, my, mz] = shape.map(|n| fewer(n, factor));
    let of_axis = |n: usize| if n > 1 { factor } else { 1 };
    let (fx, fy, fz) = (of_axis(nx), of_axis(ny), of_axis(nz));
    let mut sums = vec![0.0; mx * my * mz];
    for (at, row) in of.chunks_exact(nx).enumerate() {
        let (iy, iz) = (at % ny, at / ny);
        let start = (iz / fz * my + iy / fy) * mx;
        for (block, row) in row.chunks(fx).enumerate() {
            sums[start + block] += row.iter().map(|v| v.wide()).sum::<f64>();
        }
    }
    let share = 1.0 / (fx * fy * fz) as f64;
    sums.into_iter().map(|v| T::narrow(v * share)).collect()
}

impl PoseModel {
    /// The scan with voxels, pixels and steps that are `factor` times as large.
    ///
    /// # Errors
    /// A factor of 0.
    pub fn coarser(&self, factor: usize) -> Result<Self, CtError> {
        if factor == 0 {
            return Err(CtError::key("levels", "0; factors of 1 and more are needed"));
        }
        let mut out = self.clone();
        let grid = self.scene.grid;
        let axes = self.volume.axes();
        let mut centre = self.volume.centre();
        let mut sizes = (grid.shape, grid.voxel);
        for (k, axis) in axes.iter().enumerate() {
            let n = grid.shape[k];
            if n == 1 {
                continue;
            }
            sizes.0[k] = fewer(n, factor);
            sizes.1[k] = grid.voxel[k] * factor as f64;
            let more = (sizes.0[k] * factor - n) as f64 / 2.0 * grid.voxel[k];
            for (c, a) in centre.iter_mut().zip(axis) {
                *c += more * a;
            }
        }
        out.volume = self.volume.resized(sizes.0, sizes.1, centre);
        out.scene.grid = *out.volume.grid();
        let panel = self.scene.panel;
        let (nu, nv) = (fewer(panel.nu, factor), fewer(panel.nv, factor));
        let of_axis = |n: usize| if n > 1 { factor as f64 } else { 1.0 };
        let (fu, fv) = (of_axis(panel.nu), of_axis(panel.nv));
        let more_u = (nu as f64 * fu - panel.nu as f64) / 2.0;
        let more_v = (nv as f64 * fv - panel.nv as f64) / 2.0;
        for view in &mut out.views {
            for i in 0..3 {
                view.detector[i] += more_u * view.u[i] + more_v * view.v[i];
                view.u[i] *= fu;
                view.v[i] *= fv;
            }
        }
        (out.scene.panel.nu, out.scene.panel.nv) = (nu, nv);
        out.scene.steps.length_mm *= factor as f64;
        out.scene.steps.count = self.scene.steps.count.div_ceil(factor);
        let whole = panel.nu as f64 == nu as f64 * fu && panel.nv as f64 == nv as f64 * fv;
        out.mask = match (&self.mask, whole) {
            (None, true) => None,
            (mask, _) => {
                let ones = vec![1.0_f32; self.n_views() * panel.nu * panel.nv];
                let kept: Vec<f32> = match mask {
                    Some(mask) => mask.iter().map(|m| f32::from(u8::from(*m != 0))).collect(),
                    None => ones,
                };
                let means = self.binned_projections(&kept, factor)?;
                Some(means.iter().map(|m| u8::from(*m > 1.0 - 1e-6)).collect())
            }
        };
        Ok(out)
    }

    /// Some views of the scan.
    ///
    /// # Errors
    /// A view that does not exist.
    pub fn subset(&self, views: &[usize]) -> Result<Self, CtError> {
        let mut out = self.clone();
        out.views.clear();
        let pixels = self.scene.panel.nu * self.scene.panel.nv;
        out.mask = self.mask.as_ref().map(|_| Vec::new());
        for &view in views {
            self.check_view(view)?;
            out.views.push(self.views[view]);
            if let (Some(out), Some(mask)) = (&mut out.mask, &self.mask) {
                out.extend_from_slice(&mask[view * pixels..(view + 1) * pixels]);
            }
        }
        Ok(out)
    }

    /// Projections for [`PoseModel::coarser`].
    ///
    /// # Shapes
    /// `[view, v, u]`.
    ///
    /// # Errors
    /// Another number of values.
    pub fn binned_projections<T: Real>(&self, of: &[T], factor: usize) -> Result<Vec<T>, CtError> {
        self.check_array("projections", of.len(), self.n_views())?;
        let panel = self.scene.panel;
        let view = |y: &[T]| means(y, [panel.nu, panel.nv, 1], factor);
        Ok(of.chunks_exact(panel.nu * panel.nv).flat_map(view).collect())
    }

    /// A volume for [`PoseModel::coarser`].
    ///
    /// # Shapes
    /// `[z, y, x]`.
    ///
    /// # Errors
    /// Another number of values.
    pub fn binned_volume<T: Real>(&self, of: &[T], factor: usize) -> Result<Vec<T>, CtError> {
        self.check_array("volume", of.len(), 0)?;
        Ok(means(of, self.scene.grid.shape, factor))
    }

    /// A volume of [`PoseModel::coarser`] on the voxels of this model, by interpolation.
    ///
    /// # Shapes
    /// `[z, y, x]`.
    ///
    /// # Errors
    /// Another number of values.
    pub fn finer_volume<T: Real>(&self, of: &[T], factor: usize) -> Result<Vec<T>, CtError> {
        let coarse = self.coarser(factor)?;
        coarse.check_array("volume", of.len(), 0)?;
        let (fine, shape) = (self.scene.grid.shape, coarse.scene.grid.shape);
        // The cell, and the weight of the next, of every fine index.
        let places = |k: usize| -> Vec<(usize, usize, f64)> {
            let f = if fine[k] > 1 { factor as f64 } else { 1.0 };
            let place = |i: usize| {
                let q = ((i as f64 + 0.5) / f - 0.5).clamp(0.0, shape[k] as f64 - 1.0);
                let cell = q.floor();
                (cell as usize, (cell as usize + 1).min(shape[k] - 1), q - cell)
            };
            (0..fine[k]).map(place).collect()
        };
        let [px, py, pz] = [0, 1, 2].map(places);
        let mut out = Vec::with_capacity(self.volume.len());
        for (z0, z1, wz) in &pz {
            for (y0, y1, wy) in &py {
                for (x0, x1, wx) in &px {
                    let at =
                        |z: usize, y: usize, x: usize| of[(z * shape[1] + y) * shape[0] + x].wide();
                    let row = |z: usize, y: usize| at(z, y, *x0) * (1.0 - wx) + at(z, y, *x1) * wx;
                    let plane = |z: usize| row(z, *y0) * (1.0 - wy) + row(z, *y1) * wy;
                    out.push(T::narrow(plane(*z0) * (1.0 - wz) + plane(*z1) * wz));
                }
            }
        }
        Ok(out)
    }
}
