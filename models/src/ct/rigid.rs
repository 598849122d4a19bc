//! Rigid motions of the world: turns and shifts of views and volumes.
//!
//! $$x' = Rx + t,\qquad d' = Rd,\qquad (AB)x = A(Bx),\qquad A^{-1}x = R^T(x - t)$$
//!
//! A turn by $\alpha$ about the unit vector $a$ is (Rodrigues)
//!
//! $$Rx = x\cos\alpha + (a\times x)\sin\alpha + a\,(a\cdot x)(1-\cos\alpha).$$
//!
//! Points (sources, detector centres, centres of volumes) take the shift, directions (rays,
//! pixel steps, axes) do not. Moving views and volume alike changes no projection; moving
//! the volume by $A$ does what moving the views by $A^{-1}$ does.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $R$ | 1 | rotation, its determinant is 1 |
//! | $t$ | mm | shift |
//! | $\alpha$ | rad | right-handed about $a$ |
//!
//! Source: Rodrigues 1840, J. Math. Pures Appl. 5:380. Validated by the tests below and by
//! `moving_both_changes_nothing` in `models/tests/suite/set_ups.rs`.

use super::{CtError, Geometry, Surface, VolumeGrid, cross, dot, minus, norm};
use microtome_kernels::ray::{Beam, View};
use std::ops::Mul;

type Vector = [f64; 3];

/// How far a matrix may be from a rotation.
const ORTHONORMAL: f64 = 1e-6;
/// How far a motion may leave the plane of a two-dimensional set-up, mm or 1.
const IN_PLANE: f64 = 1e-9;
const IDENTITY: [Vector; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// A turn about the origin followed by a shift.
///
/// # Example
/// ```
/// use microtome_models::ct::RigidTransform;
/// let turn = RigidTransform::rotation([0.0, 0.0, 1.0], std::f64::consts::FRAC_PI_2)?;
/// let motion = RigidTransform::translation([0.0, 0.0, 5.0]) * turn;
/// let p = motion.point([2.0, 0.0, 0.0]);
/// assert!(p[0].abs() < 1e-15 && p[1] == 2.0 && p[2] == 5.0);
/// # Ok::<(), microtome_models::ct::CtError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RigidTransform {
    /// Rows.
    rotation: [Vector; 3],
    shift: Vector,
}

impl Default for RigidTransform {
    fn default() -> Self {
        Self { rotation: IDENTITY, shift: [0.0; 3] }
    }
}

impl RigidTransform {
    /// The motion that moves nothing.
    pub fn identity() -> Self {
        Self::default()
    }

    /// A shift in mm.
    pub fn translation(shift: Vector) -> Self {
        Self { shift, ..Self::default() }
    }

    /// A turn about an axis through the origin, right-handed.
    ///
    /// # Units
    /// The angle in rad; the length of the axis has no meaning.
    ///
    /// # Errors
    /// An axis of no length, numbers that are not finite.
    pub fn rotation(axis: Vector, angle: f64) -> Result<Self, CtError> {
        let size = norm(axis);
        if !(size.is_finite() && size > 0.0 && angle.is_finite()) {
            let what = format!("axis {axis:?}, angle {angle}; a direction and a number are needed");
            return Err(CtError::key("transform.axis", what));
        }
        let a = axis.map(|x| x / size);
        let (sine, half) = (angle.sin(), (0.5 * angle).sin());
        let less = 2.0 * half * half;
        let turned = IDENTITY.map(|e| {
            let (over, along) = (cross(a, e), dot(a, e));
            std::array::from_fn(|k| e[k] + over[k] * sine + (a[k] * along - e[k]) * less)
        });
        // Images of the axes are the columns.
        Ok(Self { rotation: transposed(&turned), shift: [0.0; 3] })
    }

    /// A motion from the rows of its matrix and its shift.
    ///
    /// # Errors
    /// A matrix that is no rotation to 1e-6 (reflections are none), numbers that are not
    /// finite.
    pub fn from_matrix(rotation: [Vector; 3], shift: Vector) -> Result<Self, CtError> {
        let [x, y, z] = rotation;
        let right = (0..3).all(|k| {
            (0..=k).all(|l| {
                let expected = if k == l { 1.0 } else { 0.0 };
                (dot(rotation[k], rotation[l]) - expected).abs() <= ORTHONORMAL
            })
        });
        if !right || dot(cross(x, y), z) < 0.0 || shift.iter().any(|v| !v.is_finite()) {
            let what = "rows of a rotation (length 1, right angles, right-handed) are needed";
            return Err(CtError::key("transform", what));
        }
        let unit = |a: Vector| a.map(|v| v / norm(a));
        let x = unit(x);
        let along = dot(y, x);
        let y = unit(std::array::from_fn(|k| y[k] - along * x[k]));
        Ok(Self { rotation: [x, y, cross(x, y)], shift })
    }

    /// The same motion about a point in place of the origin.
    pub fn about(self, point: Vector) -> Self {
        Self::translation(point) * self * Self::translation(point.map(|v| -v))
    }

    /// The motion that undoes this one.
    pub fn inverse(&self) -> Self {
        let rotation = transposed(&self.rotation);
        let back = Self { rotation, shift: [0.0; 3] }.vector(self.shift);
        Self { rotation, shift: back.map(|v| -v) }
    }

    /// Where a point goes, mm.
    pub fn point(&self, p: Vector) -> Vector {
        let turned = self.vector(p);
        std::array::from_fn(|k| turned[k] + self.shift[k])
    }

    /// How a direction turns.
    pub fn vector(&self, d: Vector) -> Vector {
        self.rotation.map(|row| dot(row, d))
    }

    /// The rows of the rotation.
    pub fn rotation_rows(&self) -> [Vector; 3] {
        self.rotation
    }

    /// The shift, mm.
    pub fn shift(&self) -> Vector {
        self.shift
    }

    /// A view after this motion.
    pub fn view(&self, view: &View) -> View {
        let beam = match view.beam {
            Beam::Parallel(ray) => Beam::Parallel(self.vector(ray)),
            Beam::Source(source) => Beam::Source(self.point(source)),
        };
        let detector = self.point(view.detector);
        View { beam, detector, u: self.vector(view.u), v: self.vector(view.v) }
    }

    fn check(&self, dimensions: usize) -> Result<(), CtError> {
        let off = |a: f64, b: f64| (a - b).abs() > IN_PLANE;
        if dimensions == 2 && (off(self.rotation[2][2], 1.0) || off(self.shift[2], 0.0)) {
            let what = "leaves the plane of a two-dimensional set-up; turn about z, shift in x, y";
            return Err(CtError::key("transform", what));
        }
        Ok(())
    }
}

fn transposed(m: &[Vector; 3]) -> [Vector; 3] {
    std::array::from_fn(|i| std::array::from_fn(|k| m[k][i]))
}

/// `a * b` is b first, then a.
impl Mul for RigidTransform {
    type Output = Self;

    fn mul(self, first: Self) -> Self {
        let columns = transposed(&first.rotation).map(|c| self.vector(c));
        Self { rotation: transposed(&columns), shift: self.point(first.shift) }
    }
}

impl Geometry {
    /// All views after a motion.
    ///
    /// # Errors
    /// A motion out of the plane of a fan or of parallel rays in a plane.
    pub fn moved(&self, motion: &RigidTransform) -> Result<Self, CtError> {
        motion.check(self.kind().dimensions())?;
        self.with_views(self.views().iter().map(|v| motion.view(v)).collect())
    }

    /// Each view after a motion of its own.
    ///
    /// # Errors
    /// As [`Self::moved`], and another number of motions than of views.
    pub fn moved_each(&self, motions: &[RigidTransform]) -> Result<Self, CtError> {
        if motions.len() != self.n_views() {
            let what = format!("{} motions for {} views", motions.len(), self.n_views());
            return Err(CtError::key("transform", what));
        }
        motions.iter().try_for_each(|m| m.check(self.kind().dimensions()))?;
        self.with_views(self.views().iter().zip(motions).map(|(v, m)| m.view(v)).collect())
    }

    /// All lengths times a positive number, about the origin.
    ///
    /// # Errors
    /// A factor that is not positive, lengths that are not believed.
    pub fn scaled(&self, factor: f64) -> Result<Self, CtError> {
        let times = |a: Vector| a.map(|x| x * positive(factor));
        let views = self.views().iter().map(|v| View {
            beam: match v.beam {
                Beam::Parallel(ray) => Beam::Parallel(ray),
                Beam::Source(source) => Beam::Source(times(source)),
            },
            detector: times(v.detector),
            u: times(v.u),
            v: if self.kind().dimensions() == 2 { v.v } else { times(v.v) },
        });
        let surface = match self.surface() {
            Surface::Cylinder { radius: Some(r) } => {
                Surface::Cylinder { radius: Some(r * positive(factor)) }
            }
            other => other,
        };
        self.with_views(views.collect())?.with_surface(surface)
    }
}

/// The factor where it is positive, else a number that no set-up takes.
fn positive(factor: f64) -> f64 {
    if factor > 0.0 { factor } else { f64::NAN }
}

impl VolumeGrid {
    /// The volume after a motion: its voxels keep their values and go elsewhere.
    ///
    /// # Errors
    /// A motion of a plane out of itself.
    pub fn moved(&self, motion: &RigidTransform) -> Result<Self, CtError> {
        motion.check(self.dimensions())?;
        Ok(self.placed(motion.point(self.centre()), self.axes().map(|a| motion.vector(a))))
    }

    /// All lengths times a positive number, about the origin.
    ///
    /// # Errors
    /// A factor that is not positive, lengths that are not believed.
    pub fn scaled(&self, factor: f64) -> Result<Self, CtError> {
        let times = |a: Vec<f64>| -> Vec<f64> { a.iter().map(|x| x * positive(factor)).collect() };
        let grid = Self::new(&self.shape(), &times(self.voxel_mm()), &times(self.centre_mm()))?;
        Ok(grid.placed(grid.centre(), self.axes()))
    }

    /// The motion from the frame of the array (origin at the centre of the grid, axes along
    /// its indices) to the world; none where the axes are left-handed.
    pub fn frame(&self) -> Option<RigidTransform> {
        let axes = self.axes();
        RigidTransform::from_matrix(transposed(&axes), self.centre()).ok()
    }
}

/// The distance of a source from the plane of u and v at the centre of the detector.
pub(super) fn plane_distance(view: &View) -> f64 {
    let Beam::Source(source) = view.beam else { return f64::INFINITY };
    let normal = cross(view.u, view.v);
    dot(minus(view.detector, source), normal).abs() / norm(normal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn close(a: RigidTransform, b: RigidTransform) -> bool {
        let apart = |a: Vector, b: Vector| norm(minus(a, b));
        (0..3).all(|k| apart(a.rotation[k], b.rotation[k]) < 1e-14)
            && apart(a.shift, b.shift) < 1e-13
    }

    #[test]
    fn motions_are_a_group() {
        let turn = |axis, angle| RigidTransform::rotation(axis, angle).unwrap();
        let a = RigidTransform::translation([1.0, -2.0, 0.5]) * turn([0.3, 1.0, -0.4], 1.1);
        let b = turn([1.0, 0.0, 2.0], -0.7).about([3.0, 4.0, 5.0]);
        assert!(close(a * a.inverse(), RigidTransform::identity()));
        assert!(close((a * b).inverse(), b.inverse() * a.inverse()));
        assert!(close((a * b) * a, a * (b * a)));
        let p = [0.2, -0.9, 4.0];
        assert!(norm(minus((a * b).point(p), a.point(b.point(p)))) < 1e-13);
        // A point on the axis stays, and a turn of 90 degrees about z takes x to y.
        assert!(norm(minus(b.point([4.0, 4.0, 7.0]), [4.0, 4.0, 7.0])) < 1e-13);
        let quarter = turn([0.0, 0.0, 2.0], std::f64::consts::FRAC_PI_2);
        assert!(norm(minus(quarter.vector([1.0, 0.0, 0.0]), [0.0, 1.0, 0.0])) < 1e-15);
        assert!(close(RigidTransform::from_matrix(a.rotation_rows(), a.shift()).unwrap(), a));
    }

    #[test]
    fn no_motions_are_refused() {
        assert!(RigidTransform::rotation([0.0; 3], 1.0).is_err());
        assert!(RigidTransform::rotation([0.0, 0.0, 1.0], f64::NAN).is_err());
        let mirror = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]];
        assert!(RigidTransform::from_matrix(mirror, [0.0; 3]).is_err());
        let sheared = [[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert!(RigidTransform::from_matrix(sheared, [0.0; 3]).is_err());
        let plane = VolumeGrid::new(&[3, 4], &[1.0; 2], &[0.0; 2]).unwrap();
        let lift = RigidTransform::translation([0.0, 0.0, 1.0]);
        let found = plane.moved(&lift).unwrap_err().to_string();
        assert!(found.contains("leaves the plane"), "{found}");
        assert!(plane.scaled(0.0).is_err() && plane.scaled(-1.0).is_err());
        assert_eq!(plane.scaled(2.0).unwrap().voxel_mm(), [2.0, 2.0]);
    }
}
