//! The transpose of the sums along the rays of sheets.
//!
//! Voxel $j$ gets $y_k\,(1-|q_k-j|)$ of the rays with $|q_k-j|<1$. With
//! $\mu=(j-1-q_0)/\delta$ these are among $k=\lfloor\mu\rfloor+1,\dots,\lfloor\mu\rfloor+T$
//! and weigh $1-|e-1|$, $e=(k-\mu)\delta$; $T$ is 2 where $\delta\ge1$, else 3. A register of
//! voxels picks its rays among twice as many values. Where rays are closer than [`CLOSEST`],
//! a strip is every second ray of a sheet, or every third, and so on.
//!
//! What the voxels of a slice get is shared between the two rows of the sheet. Sums are
//! numbers of the type of the volume; those of at most [`MOST_GROUPS`] groups of sheets are
//! added to it together, so that few roundings follow each other.

use super::super::brick::{Brick, add, sums_from};
use super::super::footprint::integer;
use super::super::line::Grid;
use super::super::real::Real;
use super::{Lines, Rows, SLICES, Sheet, bricks};
use crate::backprojection::{Loop, Pack, at_level};
use crate::simd::SimdLevel;
use rayon::prelude::*;

/// Least distance of the rays of a strip, voxels.
const CLOSEST: f64 = 2.0 / 3.0;
/// Most strips of a sheet.
const MOST_STRIPS: f64 = 8.0;
/// Values before and after those of a strip.
const PADS: [usize; 2] = [32, 40];

/// Greatest distance of the rays of a sheet, voxels.
const FARTHEST: f64 = 16.0;
/// Bytes of the values of the sheets that pass the grid together.
const VALUES_BYTES: usize = 24 << 20;
/// Bytes of the sums of the bricks that are added to the volume together.
const SUMS_BYTES: usize = 12 << 20;
/// Numbers of the longest register.
const REGISTER: usize = 16;
/// Sheets that are prepared together, and most such groups of a chunk.
const GROUP: usize = 64;
const MOST_GROUPS: usize = 256;

/// How many strips the rays of a sheet make; infinitely many where some meet.
fn strips([least, _]: [f64; 2]) -> f64 {
    if least > 0.0 { (CLOSEST / least).ceil() } else { f64::INFINITY }
}

/// Rays of a sheet at a distance.
#[derive(Clone, Copy, Debug)]
struct Strip {
    /// Where its values are.
    at: usize,
    rays: usize,
    row: [f64; 2],
    lane: [f64; 2],
    gap: [f64; 2],
    first: usize,
    past: usize,
}

/// Adds what the rays of all sheets of some views leave to the volume; returns the lines
/// with rays that are no sheet, view by view.
pub(in super::super) fn adjoint<T: Real>(
    level: SimdLevel,
    grid: &Grid,
    [main, lane_axis]: [usize; 2],
    views: &[Lines<'_>],
    projections: &[T],
    volume: &mut [T],
) -> Vec<Vec<usize>> {
    let whole = Brick::whole(grid, main, lane_axis, 0);
    let fits = |gaps: [f64; 2]| strips(gaps) <= MOST_STRIPS && gaps[1] <= FARTHEST;
    let found: Vec<(Vec<Sheet>, Vec<usize>)> =
        views.par_iter().map(|lines| lines.sheets(grid, &whole, fits)).collect();
    let (sheets, others): (Vec<Vec<Sheet>>, Vec<Vec<usize>>) = found.into_iter().unzip();
    let groups: Vec<(&Lines<'_>, &[Sheet])> = views
        .iter()
        .zip(&sheets)
        .flat_map(|(lines, of)| of.chunks(GROUP).map(move |sheets| (lines, sheets)))
        .collect();
    let Some(most) = groups.iter().map(|(_, of)| Strips::<T>::numbers(of)).max() else {
        return others;
    };
    let together = (VALUES_BYTES / size_of::<T>() / most).clamp(1, MOST_GROUPS);
    let prepare = |groups: &[(&Lines<'_>, &[Sheet])]| -> Vec<Strips<T>> {
        let of = |(lines, sheets): &(&Lines<'_>, &[Sheet])| {
            let pixels = lines.panel.nu * lines.panel.nv;
            Strips::new(lines, sheets, &projections[lines.view * pixels..][..pixels])
        };
        groups.par_iter().map(of).collect()
    };
    // Rows begin and end where a register does.
    let lanes = grid.shape[lane_axis];
    let bricks = bricks::<T>(grid, main, lane_axis, lanes.next_multiple_of(REGISTER) - lanes);
    let largest = bricks.iter().map(Brick::len).max().unwrap_or(1);
    let batch = (SUMS_BYTES / size_of::<T>() / largest).clamp(1, bricks.len());
    let mut sums: Vec<(Brick, Vec<T>)> =
        bricks.iter().take(batch).map(|b| (*b, Vec::new())).collect();
    for groups in groups.chunks(together) {
        let strips: &[Strips<T>] = &prepare(groups);
        for bricks in bricks.chunks(batch) {
            sums.truncate(bricks.len());
            sums.par_iter_mut().zip(bricks).for_each(|((to, sums), brick)| {
                *to = *brick;
                sums.clear();
                sums.resize(brick.len() + REGISTER, T::default());
                let from = sums_from(sums);
                at_level(level, Spread { strips, brick, sums: &mut sums[from..][..brick.len()] });
            });
            add(grid, &sums, volume);
        }
        // Batches are of one size but for the last.
        sums.resize(batch, (bricks[0], Vec::new()));
    }
    others
}

/// The strips of some sheets, with their values.
#[derive(Debug)]
struct Strips<T> {
    strips: Vec<Strip>,
    values: Vec<T>,
}

impl<T: Real> Strips<T> {
    /// Numbers of all values and what stands between.
    fn numbers(sheets: &[Sheet]) -> usize {
        let of = |s: &Sheet| s.rays() + strips(s.gaps) as usize * (PADS[0] + PADS[1]);
        sheets.iter().map(of).sum()
    }

    /// Those of the sheets of one view.
    fn new(lines: &Lines<'_>, sheets: &[Sheet], projections: &[T]) -> Self {
        let mut out = Self {
            strips: Vec::with_capacity(sheets.len()),
            values: Vec::with_capacity(Self::numbers(sheets)),
        };
        let mut values = Vec::new();
        for sheet in sheets {
            values.clear();
            let places = sheet.pixels(lines.panel, lines.along_v).enumerate();
            values.extend(
                places.map(|(k, place)| T::narrow(projections[place].wide() * sheet.length(k))),
            );
            let dealt = strips(sheet.gaps);
            let stride = dealt as usize;
            for first in 0..stride.min(values.len()) {
                let shift = first as f64;
                out.strips.push(Strip {
                    at: out.values.len() + PADS[0],
                    rays: (values.len() - first).div_ceil(stride),
                    row: sheet.row,
                    lane: [0, 1].map(|i| sheet.lane[i] + shift * sheet.gap[i]),
                    gap: sheet.gap.map(|g| g * dealt),
                    first: sheet.first,
                    past: sheet.past,
                });
                out.values.extend([T::default(); PADS[0]]);
                out.values.extend(values.iter().skip(first).step_by(stride));
                out.values.extend([T::default(); PADS[1]]);
            }
        }
        out
    }
}

/// What strips leave in a brick.
struct Spread<'a, T> {
    strips: &'a [Strips<T>],
    brick: &'a Brick,
    sums: &'a mut [T],
}

impl<T: Real> Loop<T> for Spread<'_, T> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(self) {
        let brick = self.brick;
        let layout = [brick.slice, brick.stride];
        for of in self.strips {
            for strip in &of.strips {
                let slices = [strip.first, strip.past];
                let Some(rows) = Rows::new(strip.row, slices, brick, layout) else { continue };
                strip.spread::<P>(&of.values, &rows, brick.lanes, self.sums);
            }
        }
    }
}

impl Strip {
    #[inline(always)]
    fn spread<P: Pack>(&self, values: &[P::Item], rows: &Rows, lanes: usize, out: &mut [P::Item]) {
        let (mut start, mut gap, mut per) = ([0.0; SLICES], [1.0; SLICES], [1.0; SLICES]);
        for k in 0..rows.count {
            let s = (rows.first + k) as f64;
            start[k] = self.lane[0] + s * self.lane[1];
            gap[k] = self.gap[0] + s * self.gap[1];
            per[k] = 1.0 / gap[k];
        }
        for k in 0..rows.count {
            let last = start[k] + (self.rays - 1) as f64 * gap[k];
            let from = ((start[k] - 1.0).floor() + 1.0).max(0.0);
            let past = (last + 1.0).ceil().min(lanes as f64);
            if from >= past {
                continue;
            }
            let run = Run { strip: self, start: start[k], gap: gap[k], per: per[k] };
            let voxels = [from as usize, past as usize];
            let (places, weights) = (rows.places[k], rows.weights[k]);
            match gap[k] < 1.0 {
                true => run.voxels::<P, true>(values, voxels, places, weights, out),
                false => run.voxels::<P, false>(values, voxels, places, weights, out),
            }
        }
    }
}

/// A strip in a slice.
struct Run<'a> {
    strip: &'a Strip,
    start: f64,
    gap: f64,
    per: f64,
}

impl Run<'_> {
    #[inline(always)]
    fn voxels<P: Pack, const THREE: bool>(
        &self,
        values: &[P::Item],
        [from, past]: [usize; 2],
        places: [usize; 2],
        weights: [f64; 2],
        out: &mut [P::Item],
    ) {
        let narrow = |v: f64| P::splat(P::Item::narrow(v));
        let (gap, less) = (narrow(self.gap), narrow(self.gap - 1.0));
        // Lanes are counted from the middle, where numbers of few bits are best.
        let middle = (P::LANES - 1) as f64 / 2.0;
        let (lane, per) = (P::count().sub(narrow(middle)), narrow(self.per));
        let weights = weights.map(narrow);
        let before = -(1.0 + self.start) * self.per;
        for first in (from / P::LANES * P::LANES..past).step_by(P::LANES) {
            let number = before + first as f64 * self.per;
            let base = number.floor().max(1.0 - PADS[0] as f64).min(self.strip.rays as f64);
            let at = lane.madd(per, narrow(number + middle * self.per - base));
            let whole = at.floor();
            let begin = self.strip.at.wrapping_add_signed(integer(base) as isize + 1);
            let window = &values[begin..][..2 * P::LANES];
            let (low, high) = (P::load(window), P::load(&window[P::LANES..]));
            // The distance of the first ray from the voxel.
            let mut e = whole.sub(at).madd(gap, less);
            let (x, y) = P::pick(low, high, whole);
            let mut sum = e.hat().mul(x);
            e = e.add(gap);
            sum = e.hat().madd(y, sum);
            if THREE {
                sum = e.add(gap).hat().madd(P::pick_one(low, high, whole, 2), sum);
            }
            for (place, weight) in places.into_iter().zip(weights) {
                let to = &mut out[place + first..][..P::LANES];
                weight.madd(sum, P::load(to)).store(to);
            }
        }
    }
}
