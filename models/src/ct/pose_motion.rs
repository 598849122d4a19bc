//! Poses as rigid motions, and rigid motions as poses.
//!
//! $$R = R_y(\beta)R_x(\alpha)R_z(\phi) \;\Rightarrow\;
//!   \alpha = \arcsin(-R_{yz}),\quad \beta = \operatorname{atan2}(R_{xz}, R_{zz}),\quad
//!   \phi = \operatorname{atan2}(R_{yx}, R_{yy})$$
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\alpha, \beta, \phi$ | rad | turns about x, y, z |
//! | $t$ | mm | shift |
//!
//! $\phi$ is taken within half a turn of a given one, so that a scan stays in order. Source:
//! the product of the three matrices. Validated by `poses_are_motions` in
//! `models/tests/suite/pose.rs`.

use super::pose::{PoseModel, rotation};
use super::{CtError, RigidTransform};
use std::f64::consts::{PI, TAU};

impl PoseModel {
    /// The motion $x\mapsto Rx+t$ of the volume in one view.
    ///
    /// # Errors
    /// A pose of another length or that is not finite.
    pub fn motion_of(&self, theta: &[f64]) -> Result<RigidTransform, CtError> {
        self.check_theta(theta, 1)?;
        let (angles, shift) = self.motion(theta);
        RigidTransform::from_matrix(rotation(angles)[0], shift)
    }

    /// The pose of a motion, with phi within half a turn of that of `near`. Five parameters
    /// leave the shift along the beam out.
    ///
    /// # Shapes
    /// `near` and the result: one value a parameter.
    pub fn pose_of(&self, motion: &RigidTransform, near: &[f64]) -> Vec<f64> {
        let (r, t) = (motion.rotation_rows(), motion.shift());
        let alpha = (-r[1][2]).clamp(-1.0, 1.0).asin();
        let beta = r[0][2].atan2(r[2][2]);
        let phi = r[1][0].atan2(r[1][1]);
        let turn = phi - near.get(2).copied().unwrap_or(0.0);
        let phi = phi - TAU * ((turn + PI) / TAU).floor();
        let mut out = vec![alpha, beta, phi];
        if self.five {
            out.extend([t[0], t[2]]);
        } else {
            out.extend(t);
        }
        if self.is_flat() {
            for k in [0, 1, 5] {
                out[k] = 0.0;
            }
        }
        // Source and detector stay as they are.
        let others = self.detector.len();
        out.extend(near.iter().skip(near.len().saturating_sub(others).max(out.len())));
        out.resize(self.names.len(), 0.0);
        out
    }

    /// The source of every view in the world for a table of poses, mm; `None` for parallel
    /// beams.
    ///
    /// # Errors
    /// A table of another size, poses that are not finite.
    pub fn sources_at(&self, thetas: &[f64]) -> Result<Option<Vec<[f64; 3]>>, super::CtError> {
        self.check_theta(thetas, self.n_views())?;
        let n = self.names.len();
        let of = |(view, theta): (usize, &[f64])| match self.changed_view(view, theta).beam {
            microtome_kernels::ray::Beam::Source(s) => Some(s),
            microtome_kernels::ray::Beam::Parallel(_) => None,
        };
        Ok(thetas.chunks_exact(n).enumerate().map(of).collect())
    }

    /// The source of every given view in the world, mm; `None` for parallel beams.
    pub fn sources(&self) -> Option<Vec<[f64; 3]>> {
        let of = |view: &microtome_kernels::ray::View| match view.beam {
            microtome_kernels::ray::Beam::Source(s) => Some(s),
            microtome_kernels::ray::Beam::Parallel(_) => None,
        };
        self.views.iter().map(of).collect()
    }

    /// The direction in the world, of length 1, along which a shift of the volume changes
    /// nothing in each view: that of a parallel beam. `None` for point sources.
    pub fn blind_directions(&self) -> Option<Vec<[f64; 3]>> {
        let of = |view: &microtome_kernels::ray::View| match view.beam {
            microtome_kernels::ray::Beam::Parallel(d) => {
                let size = super::norm(d);
                Some(d.map(|v| v / size))
            }
            microtome_kernels::ray::Beam::Source(_) => None,
        };
        self.views.iter().map(of).collect()
    }

    /// The steps of a pixel along u and v of every view in the world, mm.
    pub fn pixel_steps(&self) -> Vec<[[f64; 3]; 2]> {
        self.views.iter().map(|view| [view.u, view.v]).collect()
    }

    /// Half of the longest side of the volume, mm: the arm of a turn.
    pub fn arm_mm(&self) -> f64 {
        let grid = &self.scene.grid;
        let side =
            |k: usize| if grid.shape[k] > 1 { grid.shape[k] as f64 * grid.voxel[k] } else { 0.0 };
        0.5 * (0..3).map(side).fold(0.0, f64::max).max(grid.voxel[0])
    }

    /// The smallest voxel size of axes with more than one voxel, mm.
    pub fn voxel_mm(&self) -> f64 {
        let grid = &self.scene.grid;
        let sizes = (0..3).filter(|k| grid.shape[*k] > 1).map(|k| grid.voxel[k]);
        let least = sizes.fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { grid.voxel[0] }
    }

    /// What one unit of each parameter moves at the edge of the volume, mm: the arm for
    /// turns, 1 for shifts of the volume, what it comes to at the axis for source and detector.
    pub fn scales(&self) -> Vec<f64> {
        let arm = self.arm_mm();
        let poses = self.names.len() - self.detector.len();
        let mut out: Vec<f64> = (0..poses).map(|k| if k < 3 { arm } else { 1.0 }).collect();
        out.extend(self.detector.iter().map(|e| e.scale));
        out
    }
}
