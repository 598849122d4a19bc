//! Posterior draws of sticks: of the sticks of one draw in one voxel, the one nearest to the last
//! direction.
//!
//! The voxel is one of the eight about the point, drawn with its trilinear weight. The draw
//! is another one at every step ([`Redraw::Step`]: how widely a streamline disperses), or the
//! same along the whole streamline ([`Redraw::Line`]: then all streamlines of one draw
//! belong to one field, and a count of them is a draw from the posterior of that count).
//!
//! Source: Behrens et al. 2007, doi:10.1016/j.neuroimage.2006.09.018, section 2.3
//! (stick nearest to the last direction, probabilistic interpolation). Validated by
//! `sticks_of_one_draw_stay_together` in `kernels/tests/suite/streamlines.rs`.

use super::{Chance, Heading, Rule, Scratch, Stop, Vec3};
use crate::vector::{dot, unit};

/// When another posterior draw is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redraw {
    /// At every step.
    Step,
    /// Never: this draw.
    Line(u32),
}

/// Draws of sticks in voxels.
#[derive(Clone, Debug)]
pub struct StickRule<'a> {
    /// Voxels along i, j, k.
    pub shape: [usize; 3],
    /// Voxel coordinates of a point, mm.
    pub voxel_from_field: [[f64; 4]; 3],
    /// Number of the voxel's draws, `u32::MAX` where there are none; `[k][j][i]`.
    pub row: &'a [u32],
    /// x, y, z (unit vector in the axes of the field) and fraction, `[row][draw][stick]`.
    pub sticks: &'a [[f32; 4]],
    /// Draws a voxel.
    pub draws: usize,
    /// Sticks a draw.
    pub count: usize,
    /// Lowest fraction of a stick.
    pub threshold: f64,
    /// When another draw is taken.
    pub redraw: Redraw,
}

impl StickRule<'_> {
    /// The sticks of one draw about a point; `u` are three uniform numbers and `pick` one.
    #[inline(always)]
    fn at(&self, x: Vec3, u: Vec3, pick: f64) -> Result<&[[f32; 4]], Stop> {
        let mut index = 0;
        let mut stride = 1;
        for ((row, n), u) in self.voxel_from_field.iter().zip(self.shape).zip(u) {
            let v = row[0] * x[0] + row[1] * x[1] + row[2] * x[2] + row[3];
            if !(v >= -0.5 && v <= n as f64 - 0.5) {
                return Err(Stop::Outside);
            }
            let low = v.floor();
            let near = if u < v - low { low + 1.0 } else { low };
            index += (near.max(0.0) as usize).min(n - 1) * stride;
            stride *= n;
        }
        let row = self.row.get(index).copied().unwrap_or(u32::MAX);
        if row == u32::MAX {
            return Err(Stop::Mask);
        }
        let draw = match self.redraw {
            Redraw::Step => (pick * self.draws as f64) as usize,
            Redraw::Line(draw) => draw as usize % self.draws.max(1),
        };
        let start = (row as usize * self.draws + draw) * self.count;
        self.sticks.get(start..start + self.count).ok_or(Stop::Direction)
    }
}

impl Rule for StickRule<'_> {
    #[inline(always)]
    fn starts<const FMA: bool>(&self, x: Vec3, _scratch: &mut Scratch, out: &mut Vec<Heading>) {
        out.clear();
        let Ok(sticks) = self.at(x, [0.5; 3], 0.0) else { return };
        for s in sticks {
            let amplitude = f64::from(s[3]);
            if amplitude >= self.threshold {
                let direction = unit([s[0], s[1], s[2]].map(f64::from));
                out.push(Heading { direction, amplitude });
            }
        }
        out.sort_by(|a, b| b.amplitude.total_cmp(&a.amplitude));
    }

    #[inline(always)]
    fn heading<const FMA: bool>(
        &self,
        x: Vec3,
        previous: Vec3,
        chance: &mut Chance,
        _scratch: &mut Scratch,
    ) -> Result<Heading, Stop> {
        let [a, b] = chance.pair();
        let [c, pick] = chance.pair();
        let mut best: Option<(f64, Heading)> = None;
        let mut any = false;
        for s in self.at(x, [a, b, c], pick)? {
            let amplitude = f64::from(s[3]);
            if amplitude < self.threshold {
                continue;
            }
            any = true;
            let axis = unit([s[0], s[1], s[2]].map(f64::from));
            let cosine = dot(axis, previous);
            if best.is_none_or(|(c, _)| cosine.abs() > c) {
                let sign = 1.0_f64.copysign(cosine);
                let direction = axis.map(|v| sign * v);
                best = Some((cosine.abs(), Heading { direction, amplitude }));
            }
        }
        best.map(|(_, heading)| heading).ok_or(if any { Stop::Direction } else { Stop::Threshold })
    }
}
