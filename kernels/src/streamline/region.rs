//! Masks on grids: where streamlines may be, must be, and must not be.
//!
//! A point belongs to the voxel whose centre is nearest; outside of the grid a mask is
//! false. Validated by `regions_stop_and_exclude` in `kernels/tests/suite/streamlines.rs`.

use super::Vec3;

/// What a mask means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Streamlines end where they leave it.
    Domain,
    /// Streamlines end where they enter it.
    Stop,
    /// Streamlines that enter it are dropped.
    Exclude,
    /// Streamlines that never enter it are dropped; its number among these masks.
    Include(u32),
}

/// A mask on a grid of its own.
#[derive(Clone, Debug)]
pub struct Region {
    /// Voxels along i, j, k.
    pub shape: [usize; 3],
    /// One flag a voxel, i fastest.
    pub inside: Vec<bool>,
    /// Voxel coordinates of a point, mm.
    pub voxel_from_field: [[f64; 4]; 3],
    /// What it means.
    pub flag: Flag,
}

impl Region {
    /// Whether a point is inside.
    #[inline(always)]
    pub fn contains(&self, x: Vec3) -> bool {
        let mut at = 0;
        let mut stride = 1;
        for (row, n) in self.voxel_from_field.iter().zip(self.shape) {
            let v = (row[0] * x[0] + row[1] * x[1] + row[2] * x[2] + row[3] + 0.5).floor();
            if !(v >= 0.0 && v < n as f64) {
                return false;
            }
            at += v as usize * stride;
            stride *= n;
        }
        self.inside.get(at).copied().unwrap_or(false)
    }
}

/// All masks of a run.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// The masks.
    pub list: Vec<Region>,
}

/// What the masks say of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Outside of a domain.
    pub(crate) left: bool,
    /// Inside a mask that stops.
    pub(crate) stop: bool,
    /// Inside a mask that excludes.
    pub(crate) excluded: bool,
    /// The masks to be visited that hold it, a bit each.
    pub(crate) visited: u32,
}

impl Regions {
    /// The bits of all masks that must be visited.
    pub(crate) fn wanted(&self) -> u32 {
        self.list.iter().fold(0, |bits, r| match r.flag {
            Flag::Include(n) => bits | 1 << (n % 32),
            _ => bits,
        })
    }

    #[inline(always)]
    pub(crate) fn at(&self, x: Vec3) -> Seen {
        let mut seen = Seen::default();
        for region in &self.list {
            let inside = region.contains(x);
            match region.flag {
                Flag::Domain => seen.left |= !inside,
                Flag::Stop => seen.stop |= inside,
                Flag::Exclude => seen.excluded |= inside,
                Flag::Include(n) if inside => seen.visited |= 1 << (n % 32),
                Flag::Include(_) => {}
            }
        }
        seen
    }
}
