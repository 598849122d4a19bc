//! Where a field of directions lies: voxel indices, world and the axes of its directions.
//!
//! $$x_\mathrm{world} = A\,(i,j,k,1)^\top,\qquad x_\mathrm{field} = R^\top x_\mathrm{world}$$
//!
//! | symbol | |
//! |---|---|
//! | A | affine of the image, mm, RAS+ |
//! | R | orthogonal, takes a direction of the field to the world; the identity for fields in world axes |
//!
//! Streamlines are followed in field coordinates, in which directions need no rotation, and
//! written in the world. A field in voxel axes has the orthogonal part of A as its R, with
//! its reflection when the determinant is negative. Validated by `a_helix_in_either_frame_is_the_same` in
//! `models/tests/suite/tracking.rs`.

/// Voxels, world and directions of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// World mm from voxel index.
    pub world_from_voxel: [[f64; 4]; 4],
    /// World direction from direction of the field.
    pub world_from_field: [[f64; 3]; 3],
}

impl Placement {
    /// A field whose directions are in world axes.
    pub fn world(world_from_voxel: [[f64; 4]; 4]) -> Self {
        let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        Self { world_from_voxel, world_from_field: identity }
    }

    /// Voxel coordinates from field coordinates; `None` where the affine has no inverse.
    pub fn voxel_from_field(&self) -> Option<[[f64; 4]; 3]> {
        let inverse = affine_inverse(&self.world_from_voxel)?;
        let r = &self.world_from_field;
        Some(inverse.map(|row| {
            let [x, y, z] = [0, 1, 2].map(|c| (0..3).map(|k| row[k] * r[k][c]).sum::<f64>());
            [x, y, z, row[3]]
        }))
    }

    /// World point of voxel coordinates.
    pub fn world_of_voxel(&self, v: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|i| {
            let a = &self.world_from_voxel[i];
            a[0] * v[0] + a[1] * v[1] + a[2] * v[2] + a[3]
        })
    }

    /// World point of a point in field coordinates.
    pub fn world_of_field(&self, x: [f64; 3]) -> [f64; 3] {
        self.world_from_field.map(|r| r[0] * x[0] + r[1] * x[1] + r[2] * x[2])
    }

    /// Field coordinates of a world point.
    pub fn field_of_world(&self, x: [f64; 3]) -> [f64; 3] {
        let r = &self.world_from_field;
        [0, 1, 2].map(|c| r[0][c] * x[0] + r[1][c] * x[1] + r[2][c] * x[2])
    }

    /// The voxel coordinates of another grid from the field coordinates of this one.
    pub fn voxel_of(&self, world_from_voxel: &[[f64; 4]; 4]) -> Option<[[f64; 4]; 3]> {
        Self { world_from_voxel: *world_from_voxel, ..*self }.voxel_from_field()
    }
}

/// The upper three rows of the inverse of an affine, by cofactors; `None` where its columns are
/// parallel to rounding or not finite.
pub fn affine_inverse(a: &[[f64; 4]; 4]) -> Option<[[f64; 4]; 3]> {
    let cofactor = |i: usize, j: usize| {
        let (r, s, c, d) = ((i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3);
        a[r][c] * a[s][d] - a[r][d] * a[s][c]
    };
    let determinant: f64 = (0..3).map(|j| a[0][j] * cofactor(0, j)).sum();
    let size: f64 = (0..3).map(|j| (0..3).map(|i| a[i][j] * a[i][j]).sum::<f64>().sqrt()).product();
    if !(determinant.is_finite() && determinant.abs() > 1e-12 * size) {
        return None;
    }
    let out = [0, 1, 2].map(|i| {
        let row = [0, 1, 2].map(|j| cofactor(j, i) / determinant);
        let shift: f64 = (0..3).map(|k| row[k] * a[k][3]).sum();
        [row[0], row[1], row[2], -shift]
    });
    out.iter().flatten().all(|v| v.is_finite()).then_some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn points_go_there_and_back() {
        let oblique = [
            [-1.9, 0.3, 0.1, 40.0],
            [0.2, 2.1, -0.4, -30.0],
            [0.1, 0.5, 1.8, 12.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        let mut placement = Placement::world(oblique);
        let (s, c) = (0.6, 0.8);
        placement.world_from_field = [[-c, -s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]];
        let v = [3.0, -1.5, 7.25];
        let world = placement.world_of_voxel(v);
        let x = placement.field_of_world(world);
        let rows = placement.voxel_from_field().unwrap();
        for i in 0..3 {
            assert!((placement.world_of_field(x)[i] - world[i]).abs() < 1e-12);
            let back = rows[i][0] * x[0] + rows[i][1] * x[1] + rows[i][2] * x[2] + rows[i][3];
            assert!((back - v[i]).abs() < 1e-12);
        }
        assert!(Placement::world([[0.0; 4]; 4]).voxel_from_field().is_none());
    }
}
