//! The grid of voxels of a volume: any spacing, centre and orientation.
//!
//! The centre of voxel $(i_z, i_y, i_x)$ is
//!
//! $$x = c + \sum_{k\in\{z,y,x\}} \left(i_k - \tfrac{n_k-1}2\right)h_k\,e_k$$
//!
//! with orthonormal axes $e_k$ (those of the world where none are given). A slice, a patch
//! and an oblique plane are volumes of this form.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $n$ | voxels | shape |
//! | $h$ | mm | voxel size |
//! | $c$ | mm | centre |
//!
//! Validated by `turned_set_up_gives_equal_projections` in `models/tests/suite/ct.rs`.

use super::{CtError, cross, dot, minus, norm};
use microtome_kernels::ray::{Beam, Grid, View};

/// Voxel sizes outside of this are a wrong unit, mm.
const VOXEL_MM: [f64; 2] = [1e-9, 1e9];
/// How far axes may be from orthonormal.
const ORTHONORMAL: f64 = 1e-6;

/// A grid of voxels. A plane is a grid of one voxel along z.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeGrid {
    dimensions: usize,
    grid: Grid,
    /// x, y, z.
    centre: [f64; 3],
    /// Axes x, y, z of the grid in the world.
    axes: [[f64; 3]; 3],
}

impl VolumeGrid {
    /// A grid with the axes of the world.
    ///
    /// # Shapes
    /// All in the order of the array: `[ny, nx]` or `[nz, ny, nx]`.
    ///
    /// # Errors
    /// Another number of axes, an axis without voxels, sizes that are not positive,
    /// a centre that is not finite.
    pub fn new(shape: &[usize], voxel_mm: &[f64], centre_mm: &[f64]) -> Result<Self, CtError> {
        let dimensions = shape.len();
        if !(2..=3).contains(&dimensions) {
            let what = format!("{dimensions} axes; write [ny, nx] or [nz, ny, nx]");
            return Err(CtError::key("volume.shape", what));
        }
        for (key, found) in
            [("volume.voxel_mm", voxel_mm.len()), ("volume.centre_mm", centre_mm.len())]
        {
            if found != dimensions {
                let what = format!("{found} numbers, but volume.shape has {dimensions}");
                return Err(CtError::key(key, what));
            }
        }
        if shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n == 0) {
            let what = format!("{shape:?}; every axis needs at least one voxel");
            return Err(CtError::key("volume.shape", what));
        }
        if let Some(h) = voxel_mm.iter().find(|h| !(VOXEL_MM[0]..=VOXEL_MM[1]).contains(*h)) {
            let what = format!("{h}; voxel sizes are positive, in mm");
            return Err(CtError::key("volume.voxel_mm", what));
        }
        if let Some(c) = centre_mm.iter().find(|c| c.is_nan() || c.abs() > VOXEL_MM[1]) {
            let what = format!("{c}; finite numbers up to 1e9 are needed");
            return Err(CtError::key("volume.centre_mm", what));
        }
        fn reversed<T: Copy>(of: &[T], fill: T) -> [T; 3] {
            std::array::from_fn(|k| of.iter().rev().nth(k).copied().unwrap_or(fill))
        }
        let grid = Grid { shape: reversed(shape, 1), voxel: reversed(voxel_mm, 1.0) };
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        Ok(Self { dimensions, grid, centre: reversed(centre_mm, 0.0), axes })
    }

    /// The same grid with other axes.
    ///
    /// # Shapes
    /// One world vector (x, y, z; in the plane x, y) for each axis of the array, in the
    /// order of the array: the directions in which iz, iy, ix grow.
    ///
    /// # Errors
    /// Vectors that are not orthonormal to 1e-6.
    pub fn with_axes(mut self, axes: &[Vec<f64>]) -> Result<Self, CtError> {
        let d = self.dimensions;
        if axes.len() != d || axes.iter().any(|a| a.len() != d) {
            let what = format!("{d} vectors of {d} numbers are needed, one for each axis");
            return Err(CtError::key("volume.axes", what));
        }
        let wide = |a: &Vec<f64>| std::array::from_fn(|k| a.get(k).copied().unwrap_or(0.0));
        let given: Vec<[f64; 3]> = axes.iter().rev().map(wide).collect();
        for (k, a) in given.iter().enumerate() {
            for (l, b) in given.iter().enumerate().take(k + 1) {
                let expected = if k == l { 1.0 } else { 0.0 };
                // Also false for NaN.
                let close = (dot(*a, *b) - expected).abs() <= ORTHONORMAL;
                if !close {
                    let what = "the vectors must have length 1 and right angles between them";
                    return Err(CtError::key("volume.axes", what));
                }
            }
        }
        // Orthonormal to rounding: x stays, y in its plane, z across, each with its sense.
        let unit = |a: [f64; 3]| a.map(|v| v / norm(a));
        let x = unit(given[0]);
        let along = dot(given[1], x);
        let y = unit(std::array::from_fn(|k| given[1][k] - along * x[k]));
        let across = unit(cross(x, y));
        let z = match given.get(2) {
            Some(z) if dot(*z, across) < 0.0 => across.map(|v| -v),
            Some(_) => across,
            None => [0.0, 0.0, 1.0],
        };
        self.axes = [x, y, z];
        Ok(self)
    }

    /// Two or three.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn of_array<T: Copy>(&self, xyz: [T; 3]) -> Vec<T> {
        xyz[..self.dimensions].iter().rev().copied().collect()
    }

    /// `[ny, nx]` or `[nz, ny, nx]`.
    pub fn shape(&self) -> Vec<usize> {
        self.of_array(self.grid.shape)
    }

    /// Voxel sizes in the order of the array.
    pub fn voxel_mm(&self) -> Vec<f64> {
        self.of_array(self.grid.voxel)
    }

    /// The centre, z before y before x.
    pub fn centre_mm(&self) -> Vec<f64> {
        self.of_array(self.centre)
    }

    /// World point (x, y, z in mm) from voxel index (ix, iy, iz): the rows of a 4x4 matrix.
    pub fn world_from_voxel(&self) -> [[f64; 4]; 4] {
        let mut m = [[0.0; 4]; 4];
        m[3][3] = 1.0;
        for (row, centre) in self.centre.iter().enumerate() {
            m[row][3] = *centre;
            for k in 0..3 {
                m[row][k] = self.grid.voxel[k] * self.axes[k][row];
                m[row][3] -= 0.5 * (self.grid.shape[k] as f64 - 1.0) * m[row][k];
            }
        }
        m
    }

    /// Number of voxels.
    pub fn len(&self) -> usize {
        self.grid.len()
    }

    /// Never: a grid has voxels.
    pub fn is_empty(&self) -> bool {
        self.grid.is_empty()
    }

    pub(super) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Some neighbouring slices of the first axis of the array.
    ///
    /// # Errors
    /// A range that is empty or outside.
    pub fn slab(&self, slices: std::ops::Range<usize>) -> Result<Self, CtError> {
        let k = self.dimensions - 1;
        let n = self.grid.shape[k];
        if slices.is_empty() || slices.end > n {
            let what = format!("slices {slices:?} of {n}; some of them are needed");
            return Err(CtError::key("volume.shape", what));
        }
        let shift = (slices.start as f64 + slices.end as f64 - n as f64) / 2.0 * self.grid.voxel[k];
        let mut out = self.clone();
        out.grid.shape[k] = slices.len();
        out.centre = std::array::from_fn(|i| self.centre[i] + shift * self.axes[k][i]);
        Ok(out)
    }

    /// The centre, x before y before z.
    pub(super) fn centre(&self) -> [f64; 3] {
        self.centre
    }

    /// Axes x, y, z of the grid in the world.
    pub fn axes(&self) -> [[f64; 3]; 3] {
        self.axes
    }

    /// The same voxels elsewhere.
    pub(super) fn placed(&self, centre: [f64; 3], axes: [[f64; 3]; 3]) -> Self {
        Self { centre, axes, ..self.clone() }
    }

    /// Other voxels about another centre, along the same axes.
    pub(super) fn resized(&self, shape: [usize; 3], voxel: [f64; 3], centre: [f64; 3]) -> Self {
        Self { grid: Grid { shape, voxel }, centre, ..self.clone() }
    }

    /// The map $w\mapsto E(R^T(w-t)-c)$ of the world to the frame of the grid when the volume
    /// is moved by $x\mapsto Rx+t$, as a matrix and a shift; `back` is $R^T$.
    pub(super) fn place(&self, back: &[[f64; 3]; 3], t: [f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
        let rows = [0, 1, 2].map(|k| [back[0][k], back[1][k], back[2][k]]);
        let linear: [[f64; 3]; 3] = self.axes.map(|e| rows.map(|column| dot(e, column)));
        let shift = [0, 1, 2].map(|k| -dot(linear[k], t) - dot(self.axes[k], self.centre));
        (linear, shift)
    }

    /// A view in the frame of the grid, its origin at the centre.
    pub(super) fn view_in_grid(&self, view: &View) -> View {
        let vector = |a: [f64; 3]| self.axes.map(|e| dot(e, a));
        let point = |a: [f64; 3]| vector(minus(a, self.centre));
        let beam = match view.beam {
            Beam::Parallel(ray) => Beam::Parallel(vector(ray)),
            Beam::Source(source) => Beam::Source(point(source)),
        };
        View { beam, detector: point(view.detector), u: vector(view.u), v: vector(view.v) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn wrong_grids_are_refused() {
        let says = |shape: &[usize], voxel: &[f64], centre: &[f64], text: &str| {
            let found = VolumeGrid::new(shape, voxel, centre).unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says(&[4], &[1.0], &[0.0], "volume.shape");
        says(&[4, 0], &[1.0; 2], &[0.0; 2], "at least one voxel");
        says(&[usize::MAX, 3], &[1.0; 2], &[0.0; 2], "volume.shape");
        says(&[4, 4], &[1.0; 3], &[0.0; 2], "volume.voxel_mm");
        says(&[4, 4], &[1.0, -1.0], &[0.0; 2], "volume.voxel_mm");
        says(&[4, 4], &[1.0, f64::NAN], &[0.0; 2], "volume.voxel_mm");
        says(&[4, 4], &[1.0; 2], &[0.0, f64::INFINITY], "volume.centre_mm");
        let grid = VolumeGrid::new(&[4, 5], &[1.0, 2.0], &[3.0, 4.0]).unwrap();
        assert_eq!((grid.shape(), grid.centre_mm()), (vec![4, 5], vec![3.0, 4.0]));
        assert!(grid.clone().with_axes(&[vec![0.0, 1.0], vec![0.5, 0.0]]).is_err());
        assert!(grid.clone().with_axes(&[vec![0.0, 1.0]]).is_err());
        assert_eq!(grid.clone().with_axes(&[vec![0.0, 1.0], vec![1.0, 0.0]]).unwrap(), grid);
        // shape [4, 5] of 1 x 2 mm about y = 3, x = 4: voxel 0 is at x = 4 - 2 * 2, y = 3 - 1.5.
        let affine = [
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 1.5],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        assert_eq!(grid.world_from_voxel(), affine);
        let turned = grid.with_axes(&[vec![1.0, 0.0], vec![0.0, -1.0]]).unwrap().world_from_voxel();
        assert_eq!([turned[0][1], turned[1][0]], [1.0, -2.0]);
        assert_eq!([turned[0][3], turned[1][3]], [4.0 - 1.5, 3.0 + 4.0]);
    }
}
