//! The grid of an image and its place in the world.
//!
//! A voxel (i, j, k) has its centre at the world point
//!
//! $$x_\mathrm{world} = A\,(i, j, k, 1)^\top$$
//!
//! in mm, RAS+ (x to the right, y to the front, z up). The affine A is the
//! sform of the header when its code is positive, else the qform, else the voxel
//! sizes with x to the left and the origin in the middle of the grid, which is
//! what nibabel takes for images without orientation.
//!
//! Source: NIfTI-1 data format (Cox et al. 2004), section "orientation and
//! location in space". Validated by the tests below and by `affines_agree_with_nibabel`
//! in `datasets/tests/files/images.rs` (`datasets/tests/golden/affines.csv`).

use crate::error::{DatasetError, Result};

/// The orientation fields of a NIfTI header, kept to write them again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Orientation {
    /// qfac, dx, dy, dz.
    pub(crate) pixdim: [f32; 4],
    pub(crate) qform_code: i16,
    pub(crate) sform_code: i16,
    /// Quaternion b, c, d.
    pub(crate) quaternion: [f32; 3],
    pub(crate) offset: [f32; 3],
    pub(crate) srow: [[f32; 4]; 3],
}

impl Orientation {
    /// The affine that these fields mean on a grid of `dims`.
    pub(crate) fn affine(&self, dims: [usize; 3]) -> [[f64; 4]; 4] {
        let mut a = [[0.0; 4], [0.0; 4], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
        let size = [self.pixdim[1], self.pixdim[2], self.pixdim[3]].map(f64::from);
        if self.sform_code > 0 {
            for (row, s) in a.iter_mut().zip(&self.srow) {
                *row = s.map(f64::from);
            }
        } else if self.qform_code > 0 {
            let [b, c, d] = self.quaternion.map(f64::from);
            let w = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
            let r = [
                [w * w + b * b - c * c - d * d, 2.0 * (b * c - w * d), 2.0 * (b * d + w * c)],
                [2.0 * (b * c + w * d), w * w + c * c - b * b - d * d, 2.0 * (c * d - w * b)],
                [2.0 * (b * d - w * c), 2.0 * (c * d + w * b), w * w + d * d - b * b - c * c],
            ];
            let qfac = if self.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
            for i in 0..3 {
                a[i] = [
                    r[i][0] * size[0],
                    r[i][1] * size[1],
                    r[i][2] * size[2] * qfac,
                    f64::from(self.offset[i]),
                ];
            }
        } else {
            for i in 0..3 {
                let h = if i == 0 { -size[i] } else { size[i] };
                a[i][i] = h;
                a[i][3] = -h * (dims[i] as f64 - 1.0) / 2.0;
            }
        }
        a
    }
}

/// Grid and place of a 3-D image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageGeometry {
    /// Number of voxels along i, j and k.
    pub dims: [usize; 3],
    /// World point (mm, RAS+) from voxel index.
    pub affine: [[f64; 4]; 4],
    pub(crate) orientation: Orientation,
}

impl ImageGeometry {
    /// A grid with a given affine (world mm from voxel index).
    pub fn new(dims: [usize; 3], affine: [[f64; 4]; 4]) -> Self {
        let mut pixdim =
            [if determinant(&linear(&affine)) < 0.0 { -1.0 } else { 1.0 }, 0.0, 0.0, 0.0];
        for c in 0..3 {
            pixdim[c + 1] = column_norm(&linear(&affine), c) as f32;
        }
        let srow = [affine[0], affine[1], affine[2]].map(|row| row.map(|v| v as f32));
        let orientation = Orientation {
            pixdim,
            qform_code: 0,
            sform_code: 1,
            quaternion: [0.0; 3],
            offset: [0.0; 3],
            srow,
        };
        Self { dims, affine, orientation }
    }

    pub(crate) fn from_orientation(dims: [usize; 3], orientation: Orientation) -> Self {
        let affine = orientation.affine(dims);
        Self { dims, affine, orientation }
    }

    /// Number of voxels of the grid.
    pub fn n_voxels(&self) -> usize {
        self.dims.iter().product()
    }

    /// Voxel index of the linear index i + nx (j + ny k).
    pub fn ijk(&self, linear: usize) -> [i32; 3] {
        let [nx, ny, _] = self.dims;
        [(linear % nx) as i32, (linear / nx % ny) as i32, (linear / nx / ny) as i32]
    }

    /// Linear index i + nx (j + ny k) of a voxel.
    pub fn linear(&self, ijk: [usize; 3]) -> usize {
        ijk[0] + self.dims[0] * (ijk[1] + self.dims[1] * ijk[2])
    }

    /// Edge lengths of a voxel, mm.
    pub fn voxel_mm(&self) -> [f64; 3] {
        let m = linear(&self.affine);
        [0, 1, 2].map(|c| column_norm(&m, c))
    }
}

/// World (RAS+) from FSL: the orthogonal matrix that takes a direction of an
/// FSL b-vector file to world coordinates.
///
/// FSL's b-vectors are relative to the voxel axes, with x reversed when the
/// affine has a positive determinant (FSL's own axes are always left-handed).
/// So x is reversed for a positive determinant, and the result is rotated by
/// the affine without its voxel sizes and shears (the orthogonal matrix nearest
/// to its normalised columns).
///
/// # Errors
/// An affine without an inverse.
///
/// # Example
/// ```
/// use microtome_datasets::world_from_fsl;
/// let ras = [[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
/// let las = [[-2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
/// let flip = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
/// assert_eq!(world_from_fsl(&ras)?, flip);
/// assert_eq!(world_from_fsl(&las)?, flip);
/// # Ok::<(), microtome_datasets::DatasetError>(())
/// ```
pub fn world_from_fsl(affine: &[[f64; 4]; 4]) -> Result<[[f64; 3]; 3]> {
    let singular = || DatasetError::SingularAffine { affine: Box::new(*affine) };
    let mut m = linear(affine);
    for c in 0..3 {
        let norm = column_norm(&m, c);
        if !(norm > 0.0 && norm.is_finite()) {
            return Err(singular());
        }
        for row in &mut m {
            row[c] /= norm;
        }
    }
    let mut r = nearest_orthogonal(m).ok_or_else(singular)?;
    if determinant(&r) > 0.0 {
        for row in &mut r {
            row[0] = -row[0];
        }
    }
    Ok(r.map(|row| row.map(|v| v + 0.0)))
}

/// The orthogonal factor of the polar decomposition, by Newton's iteration
/// X <- (X + X^-T) / 2 (Higham 1986, doi:10.1137/0907079).
pub(crate) fn nearest_orthogonal(mut x: [[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    for _ in 0..100 {
        let det = determinant(&x);
        if det.is_nan() || det.abs() <= 1e-12 {
            return None;
        }
        let mut change = 0.0_f64;
        let mut next = x;
        for i in 0..3 {
            for j in 0..3 {
                let (a, b, c, d) = ((i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3);
                let cofactor = x[a][c] * x[b][d] - x[a][d] * x[b][c];
                next[i][j] = 0.5 * (x[i][j] + cofactor / det);
                change = change.max((next[i][j] - x[i][j]).abs());
            }
        }
        x = next;
        if change < 1e-15 {
            break;
        }
    }
    Some(x)
}

fn linear(a: &[[f64; 4]; 4]) -> [[f64; 3]; 3] {
    [0, 1, 2].map(|i| [a[i][0], a[i][1], a[i][2]])
}

fn column_norm(m: &[[f64; 3]; 3], c: usize) -> f64 {
    m.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt()
}

fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn homogeneous(m: [[f64; 3]; 3]) -> [[f64; 4]; 4] {
        let row = |i: usize| [m[i][0], m[i][1], m[i][2], 10.0 * i as f64];
        [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]
    }

    #[test]
    fn an_oblique_affine_rotates() {
        // 30 degrees about z with voxels of 1, 2 and 3 mm: FSL x of a right-handed
        // grid is minus the first voxel axis.
        let (s, c) = (0.5, 0.75_f64.sqrt());
        let a = homogeneous([[c, -2.0 * s, 0.0], [s, 2.0 * c, 0.0], [0.0, 0.0, 3.0]]);
        let r = world_from_fsl(&a).unwrap();
        let wanted = [[-c, -s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]];
        for i in 0..3 {
            for j in 0..3 {
                assert!((r[i][j] - wanted[i][j]).abs() < 1e-14, "{r:?}");
            }
        }
        // The same grid with its first axis reversed is left-handed, and FSL's x
        // then is the voxel axis itself: the world directions are the same.
        let left = homogeneous([[-c, -2.0 * s, 0.0], [-s, 2.0 * c, 0.0], [0.0, 0.0, 3.0]]);
        let l = world_from_fsl(&left).unwrap();
        for i in 0..3 {
            for j in 0..3 {
                assert!((r[i][j] - l[i][j]).abs() < 1e-14, "{l:?}");
            }
        }
    }

    #[test]
    fn a_sheared_affine_gives_an_orthogonal_matrix() {
        let r = world_from_fsl(&homogeneous([[2.0, 0.1, 0.0], [0.0, 2.0, -0.2], [0.05, 0.0, 3.0]]))
            .unwrap();
        for i in 0..3 {
            for j in 0..3 {
                let dot: f64 = (0..3).map(|k| r[i][k] * r[j][k]).sum();
                assert!((dot - f64::from(i == j)).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn a_singular_affine_is_an_error() {
        assert!(world_from_fsl(&homogeneous([[0.0; 3]; 3])).is_err());
        assert!(
            world_from_fsl(&homogeneous([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
                .is_err()
        );
        assert!(world_from_fsl(&homogeneous([[f64::NAN; 3]; 3])).is_err());
    }

    #[test]
    fn linear_indices_run_along_i_first() {
        let g = ImageGeometry::new(
            [4, 3, 2],
            homogeneous([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        );
        assert_eq!(g.linear([1, 2, 1]), 21);
        assert_eq!(g.ijk(21), [1, 2, 1]);
    }
}
