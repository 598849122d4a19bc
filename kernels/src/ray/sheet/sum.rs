//! Sums along the rays of sheets.
//!
//! In a slice the two rows of a sheet are weighted into one, $x=(1-g)x^j+g\,x^{j+1}$, and a
//! register of rays from $q$ on picks its neighbours among twice as many voxels:
//!
//! $$\sum_s (1-f)\,x_i + f\,x_{i+1},\qquad i=\lfloor q\rfloor,\ f=q-i .$$
//!
//! So no voxel is looked up alone, as long as neighbouring rays are at most [`FARTHEST`]
//! voxels apart. Sums in a brick are numbers of the type of the volume.

use super::super::brick::{Brick, ZEROS};
use super::super::footprint::integer;
use super::super::line::Grid;
use super::super::real::Real;
use super::{Lines, Rows, SLICES, Sheet, bricks};
use crate::backprojection::{Loop, Pack, at_level};
use crate::simd::SimdLevel;
use rayon::prelude::*;

/// Greatest distance of neighbouring rays, voxels.
const FARTHEST: f64 = 1.85;
/// Bytes of the sums of the sheets that pass the grid together.
const SUMS_BYTES: usize = 16 << 20;
/// Bricks that are copied together.
const COPIES: usize = 8;
/// Sheets of a task.
const TASK_SHEETS: usize = 16;
/// Registers of rays abreast.
const ABREAST: usize = 4;
/// Rays of so many registers at most.
const TILE: usize = 16 * ABREAST;

/// Adds the sums along the rays of all sheets of some views to `out`, `pixels` numbers a
/// view; returns the lines with rays that are no sheet, view by view.
pub(in super::super) fn forward<T: Real>(
    level: SimdLevel,
    grid: &Grid,
    [main, lane_axis]: [usize; 2],
    views: &[Lines<'_>],
    volume: &[T],
    out: &mut [T],
) -> Vec<Vec<usize>> {
    let whole = Brick::whole(grid, main, lane_axis, ZEROS);
    let found: Vec<(Vec<Sheet>, Vec<usize>)> = views
        .par_iter()
        .map(|lines| lines.sheets(grid, &whole, |[_, most]| most <= FARTHEST))
        .collect();
    let (sheets, others): (Vec<Vec<Sheet>>, Vec<Vec<usize>>) = found.into_iter().unzip();
    let sheets: Vec<(&Lines<'_>, Sheet)> = views
        .iter()
        .zip(sheets)
        .flat_map(|(lines, of)| of.into_iter().map(move |sheet| (lines, sheet)))
        .collect();
    let Some((lines, _)) = sheets.first() else { return others };
    let pixels = lines.panel.nu * lines.panel.nv;
    let longest = sheets.iter().map(|(_, sheet)| sheet.rays()).max().unwrap_or(0);
    let length = longest.next_multiple_of(TILE);
    let together = (SUMS_BYTES / size_of::<T>() / length).max(1);
    let bricks = bricks::<T>(grid, main, lane_axis, ZEROS);
    let mut copies = vec![Vec::new(); COPIES];
    for sheets in sheets.chunks(together) {
        let mut sums = vec![T::default(); sheets.len() * length];
        for bricks in bricks.chunks(COPIES) {
            let to = copies.par_iter_mut().zip(bricks);
            to.for_each(|(copy, brick)| brick.copy_to(grid, volume, copy));
            for (brick, copy) in bricks.iter().zip(&copies) {
                let tasks = sums.par_chunks_mut(TASK_SHEETS * length);
                tasks.zip(sheets.par_chunks(TASK_SHEETS)).for_each(|(sums, sheets)| {
                    at_level(level, Sum { sheets, brick, copy, length, sums });
                });
            }
        }
        let of_view = sheets.chunk_by(|a, b| a.1.view == b.1.view);
        let mut rest = &sums[..];
        for sheets in of_view {
            let (lines, view) = (sheets[0].0, sheets[0].1.view);
            let (sums, others) = rest.split_at(sheets.len() * length);
            rest = others;
            let out = &mut out[view * pixels..][..pixels];
            for ((_, sheet), sums) in sheets.iter().zip(sums.chunks_exact(length)) {
                let places = sheet.pixels(lines.panel, lines.along_v);
                for (k, (place, sum)) in places.zip(sums).enumerate() {
                    let out = &mut out[place];
                    *out = T::narrow(out.wide() + sum.wide() * sheet.length(k));
                }
            }
        }
    }
    others
}

/// The sums along some sheets in a brick.
struct Sum<'a, T> {
    sheets: &'a [(&'a Lines<'a>, Sheet)],
    brick: &'a Brick,
    copy: &'a [T],
    /// Numbers of a sheet.
    length: usize,
    sums: &'a mut [T],
}

impl<T: Real> Loop<T> for Sum<'_, T> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(self) {
        let layout = [self.brick.slice, self.brick.stride];
        for ((_, sheet), sums) in self.sheets.iter().zip(self.sums.chunks_exact_mut(self.length)) {
            let slices = [sheet.first, sheet.past];
            let Some(rows) = Rows::new(sheet.row, slices, self.brick, layout) else { continue };
            march::<P>(sheet, &rows, self.brick, self.copy, sums);
        }
    }
}

#[inline(always)]
fn march<P: Pack>(
    sheet: &Sheet,
    rows: &Rows,
    brick: &Brick,
    copy: &[P::Item],
    sums: &mut [P::Item],
) {
    let lanes = brick.lanes as f64;
    let (mut start, mut gap) = ([0.0; SLICES], [0.0; SLICES]);
    for k in 0..rows.count {
        let s = (rows.first + k) as f64;
        start[k] = sheet.lane[0] + s * sheet.lane[1];
        gap[k] = sheet.gap[0] + s * sheet.gap[1];
    }
    // Lanes are counted from the middle, where numbers of few bits are best.
    let middle = (P::LANES - 1) as f64 / 2.0;
    let zero = P::splat(P::Item::narrow(0.0));
    let lane = P::count().sub(P::splat(P::Item::narrow(middle)));
    let rays = ABREAST * P::LANES;
    let tiles = sheet.rays().div_ceil(rays);
    for (tile, sums) in sums.chunks_exact_mut(rays).take(tiles).enumerate() {
        let from = (tile * rays) as f64;
        let mut part = [zero; ABREAST];
        for k in 0..rows.count {
            let head = start[k] + from * gap[k];
            let tail = head + (rays - 1) as f64 * gap[k];
            if tail <= -1.0 || head >= lanes {
                continue;
            }
            let wide = P::splat(P::Item::narrow(gap[k]));
            let [near, far] = rows.weights[k].map(|w| P::splat(P::Item::narrow(w)));
            for (n, part) in part.iter_mut().enumerate() {
                let q = head + (n * P::LANES) as f64 * gap[k];
                // Beyond these all voxels are zeros.
                let base = q.floor().max(-(ZEROS as f64)).min(lanes);
                let high = P::splat(P::Item::narrow(lanes - base));
                let about = P::splat(P::Item::narrow(q + middle * gap[k] - base));
                let at = lane.madd(wide, about).max(zero).min(high);
                let whole = at.floor();
                let window = |row: usize| {
                    let from = (ZEROS + row).wrapping_add_signed(integer(base) as isize);
                    let of = &copy[from..][..2 * P::LANES];
                    [P::load(of), P::load(&of[P::LANES..])]
                };
                let ([a, b], [c, d]) = (window(rows.places[k][0]), window(rows.places[k][1]));
                let low = far.madd(c, near.mul(a));
                let high = far.madd(d, near.mul(b));
                let (x, y) = P::pick(low, high, whole);
                *part = part.add(at.sub(whole).madd(y.sub(x), x));
            }
        }
        for (part, sums) in part.into_iter().zip(sums.chunks_exact_mut(P::LANES)) {
            P::load(sums).add(part).store(sums);
        }
    }
}
