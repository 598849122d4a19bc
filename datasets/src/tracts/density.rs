//! Which voxels a streamline visits, and how many streamlines visit a voxel.
//!
//! Voxel i fills the indices from i - 1/2 to i + 1/2 along each axis. A segment from u to
//! w = u + d crosses the planes between voxels at
//!
//! $$t_k = (k + \tfrac12 - u)/d ,$$
//!
//! so that between neighbouring crossings it lies in one voxel, that of the middle: nothing
//! is sampled, and no voxel is missed however long a step is. Intervals below 1e-12 of a segment
//! (corners and edges that are touched to rounding) do not count. Parts outside the grid are
//! left out.
//!
//! Source: Siddon 1985, doi:10.1118/1.595715 (crossings of planes); Calamante et al. 2010,
//! doi:10.1016/j.neuroimage.2010.07.024 (track density). Validated by
//! `density_counts_every_voxel_of_a_path` in `tests/files/tract_paths.rs`.

use std::path::Path;

use super::frame::{Affine, apply, inverse};
use crate::error::{DatasetError, Result};
use crate::geometry::ImageGeometry;
use crate::maps::MapWriter;

/// Least part of a segment that counts as a visit.
const LEAST: f64 = 1e-12;

/// Finds the voxels of streamlines.
#[derive(Debug, Clone)]
pub struct VoxelPath {
    geometry: ImageGeometry,
    index: Affine,
    crossings: Vec<f64>,
}

impl VoxelPath {
    /// For a grid.
    ///
    /// # Errors
    /// An affine without an inverse.
    pub fn new(geometry: &ImageGeometry) -> Result<Self> {
        let singular = || DatasetError::SingularAffine { affine: Box::new(geometry.affine) };
        let index = inverse(&geometry.affine).ok_or_else(singular)?;
        Ok(Self { geometry: geometry.clone(), index, crossings: Vec::new() })
    }

    /// The grid.
    pub fn geometry(&self) -> &ImageGeometry {
        &self.geometry
    }

    /// The voxel (linear index) that holds a point in world mm; `None` outside the grid.
    pub fn voxel(&self, point: [f32; 3]) -> Option<usize> {
        self.inside(self.corner(point))
    }

    /// Calls `visit` with each voxel that the streamline passes, in order, and the length in
    /// it, mm; a voxel that is entered twice, or holds the end of one segment and the start
    /// of the next, is called again. A single point is a visit of length 0.
    pub fn follow(&mut self, points: &[[f32; 3]], mut visit: impl FnMut(usize, f64)) {
        if let ([only], _) | ([only, ..], true) = (points, points.windows(2).all(|w| w[0] == w[1]))
        {
            if let Some(voxel) = self.voxel(*only) {
                visit(voxel, 0.0);
            }
            return;
        }
        for pair in points.windows(2) {
            let (from, to) = (self.corner(pair[0]), self.corner(pair[1]));
            self.segment(from, to, super::distance(pair[0], pair[1]), &mut visit);
        }
    }

    /// Index counted from the corner of the grid: voxel i fills i to i + 1.
    fn corner(&self, point: [f32; 3]) -> [f64; 3] {
        apply(&self.index, point.map(f64::from)).map(|v| v + 0.5)
    }

    fn inside(&self, u: [f64; 3]) -> Option<usize> {
        let mut ijk = [0; 3];
        for k in 0..3 {
            let v = u[k].floor();
            if !(v >= 0.0 && v < self.geometry.dims[k] as f64) {
                return None;
            }
            ijk[k] = v as usize;
        }
        Some(self.geometry.linear(ijk))
    }

    fn segment(
        &mut self,
        from: [f64; 3],
        to: [f64; 3],
        length: f64,
        visit: &mut impl FnMut(usize, f64),
    ) {
        let d = [0, 1, 2].map(|k| to[k] - from[k]);
        // The part within the grid, so that no plane outside is ever counted.
        let (mut start, mut end) = (0.0_f64, 1.0_f64);
        for k in 0..3 {
            let n = self.geometry.dims[k] as f64;
            if d[k] == 0.0 {
                if !(from[k] >= 0.0 && from[k] < n) {
                    return;
                }
                continue;
            }
            let (a, b) = ((0.0 - from[k]) / d[k], (n - from[k]) / d[k]);
            start = start.max(a.min(b));
            end = end.min(a.max(b));
        }
        if end.is_nan() || start.is_nan() || end - start < LEAST {
            return;
        }
        self.crossings.clear();
        self.crossings.extend([start, end]);
        for k in 0..3 {
            if d[k] == 0.0 {
                continue;
            }
            let (a, b) = (from[k] + start * d[k], from[k] + end * d[k]);
            let last = self.geometry.dims[k] as f64;
            let (low, high) = (a.min(b).ceil().max(0.0), a.max(b).floor().min(last));
            let mut plane = low;
            while plane <= high {
                self.crossings.push((plane - from[k]) / d[k]);
                plane += 1.0;
            }
        }
        self.crossings.sort_by(f64::total_cmp);
        let mut at = start;
        for k in 0..self.crossings.len() {
            let next = self.crossings[k].clamp(start, end);
            if next - at < LEAST {
                continue;
            }
            let middle = 0.5 * (at + next);
            let u = [0, 1, 2].map(|k| from[k] + middle * d[k]);
            if let Some(voxel) = self.inside(u) {
                visit(voxel, (next - at) * length);
            }
            at = next;
        }
    }
}

/// Number of streamlines that visit each voxel: a track density image.
#[derive(Debug, Clone)]
pub struct TractDensity {
    path: VoxelPath,
    visits: Vec<u32>,
    /// The streamline that visited a voxel last, from 1.
    last: Vec<u32>,
    streamlines: u32,
}

impl TractDensity {
    /// No streamlines on a grid.
    ///
    /// # Errors
    /// An affine without an inverse.
    pub fn new(geometry: &ImageGeometry) -> Result<Self> {
        let n = geometry.n_voxels();
        let path = VoxelPath::new(geometry)?;
        Ok(Self { path, visits: vec![0; n], last: vec![0; n], streamlines: 0 })
    }

    /// Adds a streamline, world mm (RAS+): every voxel on its way counts once.
    pub fn add(&mut self, points: &[[f32; 3]]) {
        self.streamlines = self.streamlines.wrapping_add(1);
        let (visits, last, now) = (&mut self.visits, &mut self.last, self.streamlines);
        self.path.follow(points, |voxel, _| {
            if last[voxel] != now {
                last[voxel] = now;
                visits[voxel] += 1;
            }
        });
    }

    /// Streamlines a voxel, i + nx (j + ny k).
    pub fn visits(&self) -> &[u32] {
        &self.visits
    }

    /// Writes the counts as a NIfTI map.
    ///
    /// # Errors
    /// As [`MapWriter`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut map = MapWriter::create(path, &self.path.geometry, 1)?;
        for (voxel, &n) in self.visits.iter().enumerate() {
            if n > 0 {
                map.push(voxel as i64, &[f64::from(n)])?;
            }
        }
        map.finish()
    }
}
