//! A part of the grid as a pass along one main axis sees it, and its copy in memory.
//!
//! A pass takes slices across its main axis. In a slice the lane axis is contiguous, the
//! row axis the other one: voxel $(s, r, c)$ of the copy of a volume stands at
//! $((s-s_0)R + r-r_0)(C+2) + c + 2$, so that two zeros lie on either side of every row.
//!
//! Validated by `bricks_come_back` below.

use super::footprint::Slab;
use super::line::{ACROSS, Grid};
use super::real::Real;
use crate::simd::{Block, LANES};
use rayon::prelude::*;

/// Zeros before the first row, and between rows.
pub(super) const ZEROS: usize = 2;
/// Numbers that may be read from the start of the last row's end on.
pub(super) const BEYOND: usize = 32;
/// Voxels of a row that are copied together, and those of a line of the volume.
const TILE: usize = 16;
const SPAN: usize = 32;

/// Slices `[begin, end)` and rows `[row, row + rows)` of a grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brick {
    pub(super) main: usize,
    /// The axis that is contiguous in the copy, and the other one.
    pub(super) lane_axis: usize,
    pub(super) row_axis: usize,
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
    /// Voxels of a row.
    pub(super) lanes: usize,
    /// From a row to the next in memory, and from a slice to the next.
    pub(super) stride: usize,
    pub(super) slice: usize,
}

/// Slices are so far apart in memory, an odd number of cache lines, that neighbours do not
/// compete for the same places of the cache.
fn apart(rows: usize, stride: usize) -> usize {
    (rows * stride).next_multiple_of(2 * TILE) + TILE
}

impl Brick {
    /// The whole grid; rows are `gap` numbers apart in memory.
    pub(super) fn whole(grid: &Grid, main: usize, lane_axis: usize, gap: usize) -> Self {
        let row_axis = 3 - main - lane_axis;
        let [slices, rows, lanes] = [main, row_axis, lane_axis].map(|k| grid.shape[k]);
        let stride = lanes + gap;
        let (begin, end, row, slice) = (0, slices, 0, apart(rows, stride));
        Self { main, lane_axis, row_axis, begin, end, row, rows, lanes, stride, slice }
    }

    /// Cuts into bricks of at most `numbers` in memory and at most `slices` slices; a row
    /// is never cut.
    pub(super) fn cut(&self, numbers: usize, slices: usize) -> Vec<Self> {
        let rows = (numbers.saturating_sub(3 * TILE) / self.stride).clamp(1, self.rows);
        self.cut_rows(rows, (numbers / apart(rows, self.stride)).clamp(1, slices))
    }

    /// Cuts into bricks of at most so many rows and slices.
    pub(super) fn cut_rows(&self, rows: usize, slices: usize) -> Vec<Self> {
        let mut out = Vec::new();
        for begin in (self.begin..self.end).step_by(slices) {
            for row in (self.row..self.row + self.rows).step_by(rows) {
                let end = (begin + slices).min(self.end);
                let rows = rows.min(self.row + self.rows - row);
                out.push(Self { begin, end, row, rows, slice: apart(rows, self.stride), ..*self });
            }
        }
        out
    }

    /// Numbers of all rows in memory.
    pub(super) fn len(&self) -> usize {
        (self.end - self.begin) * self.slice
    }

    /// The brick in its own memory.
    pub(super) fn slab(&self) -> Slab {
        self.as_slab(self.slice, self.stride, 1)
    }

    /// The brick within the volume, and where it begins there.
    pub(super) fn in_volume(&self, grid: &Grid) -> (Slab, usize) {
        let of = grid.strides();
        let slab = self.as_slab(of[self.main], of[self.row_axis], of[self.lane_axis]);
        (slab, self.begin * of[self.main] + self.row * of[self.row_axis])
    }

    fn as_slab(&self, step: usize, row: usize, lane: usize) -> Slab {
        let (begin, end) = (self.begin, self.end);
        let (from, across) = ([self.row, 0], [self.rows, self.lanes]);
        if ACROSS[self.main][0] == self.row_axis {
            return Slab { begin, end, from, across, step, steps: [row, lane] };
        }
        let ([f, g], [m, n]) = (from, across);
        Slab { begin, end, from: [g, f], across: [n, m], step, steps: [lane, row] }
    }

    /// The copy of this part of a volume.
    pub(super) fn copy<T: Real>(&self, grid: &Grid, volume: &[T]) -> Vec<T> {
        let mut copy = Vec::new();
        self.copy_to(grid, volume, &mut copy);
        copy
    }

    /// The same in memory that was a copy of another brick.
    pub(super) fn copy_to<T: Real>(&self, grid: &Grid, volume: &[T], copy: &mut Vec<T>) {
        let (slab, first) = self.in_volume(grid);
        let of = grid.strides();
        let (along, down) = (of[self.lane_axis], of[self.row_axis]);
        let volume = &volume[first..];
        copy.clear();
        copy.resize(ZEROS + self.len() + BEYOND, T::default());
        let rows = &mut copy[ZEROS..ZEROS + self.len()];
        rows.par_chunks_mut(TILE * self.slice).enumerate().for_each(|(tile, out)| {
            let volume = &volume[tile * TILE * slab.step..];
            // Across the lanes, the axis that is contiguous in the volume is the inner one.
            let mut axes =
                [[out.len() / self.slice, slab.step, self.slice], [self.rows, down, self.stride]];
            if slab.step == 1 {
                axes.reverse();
            }
            let [[outer, outer_from, outer_to], [inner, inner_from, inner_to]] = axes;
            let mut lines = [[T::default(); SPAN]; TILE];
            for o in 0..outer {
                for c in (0..self.lanes).step_by(TILE) {
                    for i in (0..inner).step_by(SPAN) {
                        let (lanes, count) = (TILE.min(self.lanes - c), SPAN.min(inner - i));
                        let (from, to) =
                            (o * outer_from + i * inner_from, o * outer_to + i * inner_to);
                        // Lines of the volume are far apart: all are asked for at once.
                        for (k, line) in lines.iter_mut().take(lanes).enumerate() {
                            let from = &volume[from + (c + k) * along..];
                            if inner_from == 1 {
                                line[..count].copy_from_slice(&from[..count]);
                            } else {
                                let from = from.iter().step_by(inner_from);
                                line[..count].iter_mut().zip(from).for_each(|(to, v)| *to = *v);
                            }
                        }
                        for i in 0..count {
                            let to = &mut out[to + i * inner_to + c..][..lanes];
                            to.iter_mut().zip(&lines).for_each(|(to, line)| *to = line[i]);
                        }
                    }
                }
            }
        });
    }
}

/// Zeros for the sums of a brick, and room to begin at a cache line.
pub(super) fn sums_of(brick: &Brick) -> Vec<f64> {
    vec![0.0; brick.len() + LANES]
}

/// Where numbers that begin at a cache line begin in their memory.
pub(super) fn sums_from<T>(sums: &[T]) -> usize {
    let line = size_of::<Block>();
    sums.as_ptr().align_offset(line).min(line / size_of::<T>())
}

/// Adds numbers to as many others.
#[inline(always)]
fn plus<S: Real, T: Real>(out: &mut [T], of: &[S]) {
    for (out, of) in out.iter_mut().zip(of) {
        *out = T::narrow(out.wide() + of.wide());
    }
}

/// Adds what stands in the memory of bricks of one pass to the volume.
pub(super) fn add<S: Real, T: Real>(grid: &Grid, bricks: &[(Brick, Vec<S>)], volume: &mut [T]) {
    let [nx, ny, nz] = grid.shape;
    // Some planes of z, or some rows of y of a single plane, at once.
    let (planes, lines) = if nz > 1 { (TILE, ny) } else { (1, TILE) };
    volume.par_chunks_mut(planes * lines * nx).enumerate().for_each(|(part, out)| {
        let low = if nz > 1 { [0, 0, part * planes] } else { [0, part * lines, 0] };
        let high = [nx, low[1] + lines.min(ny - low[1]), low[2] + planes.min(nz - low[2])];
        let strides = [1, nx, nx * (high[1] - low[1])];
        for (brick, sums) in bricks {
            let (mut from, mut to) = (low, high);
            let mut steps = [1; 3];
            let axes = [brick.main, brick.row_axis];
            let firsts = [brick.begin, brick.row];
            let pasts = [brick.end, brick.row + brick.rows];
            for k in 0..2 {
                from[axes[k]] = from[axes[k]].max(firsts[k]);
                to[axes[k]] = to[axes[k]].min(pasts[k]);
                steps[axes[k]] = [brick.slice, brick.stride][k];
            }
            if (0..3).any(|k| from[k] >= to[k]) {
                continue;
            }
            let origin = brick.begin * brick.slice + brick.row * brick.stride;
            let sums = &sums[sums_from(sums)..];
            // Lanes by the axis that is contiguous in the volume, or where they are that, by
            // the next one; and the other axis.
            let lane = brick.lane_axis;
            let inner = usize::from(lane == 0);
            let outer = 3 - lane - inner;
            let first = (0..3).map(|k| low[k] * strides[k]).sum::<usize>();
            let mut lines = [[S::default(); SPAN]; TILE];
            for o in from[outer]..to[outer] {
                for j in (from[lane]..to[lane]).step_by(TILE) {
                    for i in (from[inner]..to[inner]).step_by(SPAN) {
                        let at = |s: [usize; 3]| o * s[outer] + j * s[lane] + i * s[inner];
                        let sums = &sums[at(steps) - origin..];
                        let (n, m) = (TILE.min(to[lane] - j), SPAN.min(to[inner] - i));
                        let out = &mut out[at(strides) - first..];
                        if lane == 0 {
                            for k in 0..m {
                                plus(&mut out[k * nx..][..n], &sums[k * steps[inner]..]);
                            }
                            continue;
                        }
                        for k in 0..m {
                            let sums = &sums[k * steps[inner]..][..n];
                            sums.iter().zip(&mut lines).for_each(|(v, line)| line[k] = *v);
                        }
                        for (l, line) in lines.iter().take(n).enumerate() {
                            plus(&mut out[l * strides[lane]..][..m], line);
                        }
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bricks_come_back() {
        for shape in [[5, 19, 21], [18, 40, 1], [1, 3, 2], [33, 2, 9]] {
            let grid = Grid { shape, voxel: [1.0; 3] };
            let volume: Vec<f64> = (0..grid.len()).map(|i| 1.0 + i as f64).collect();
            for (main, across) in ACROSS.into_iter().enumerate() {
                for lane_axis in across {
                    for numbers in [1, 40, 200, 100_000] {
                        let whole = Brick::whole(&grid, main, lane_axis, ZEROS);
                        let cut = whole.cut(numbers, 7);
                        let most = numbers.max(apart(1, whole.stride));
                        assert!(cut.iter().all(|b| b.len() <= most && b.end - b.begin <= 7));
                        let copies = cut.iter().map(|b| {
                            let copy = b.copy(&grid, &volume);
                            assert_eq!(copy[..2], [0.0; 2]);
                            let slices = copy[ZEROS..ZEROS + b.len()].chunks_exact(b.slice);
                            for slice in slices {
                                let mut rows = slice.chunks_exact(b.stride).take(b.rows);
                                assert!(rows.all(|r| r[b.lanes..] == [0.0; 2]));
                            }
                            let mut sums = sums_of(b);
                            let from = sums_from(&sums);
                            sums[from..from + b.len()].copy_from_slice(&copy[ZEROS..][..b.len()]);
                            (*b, sums)
                        });
                        let copies: Vec<_> = copies.collect();
                        let mut back = vec![0.0; volume.len()];
                        add(&grid, &copies, &mut back);
                        assert_eq!(back, volume);
                    }
                }
            }
        }
    }
}
