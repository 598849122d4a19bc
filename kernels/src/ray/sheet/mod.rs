//! Joseph's rule for the rays of a line of pixels in space, a register of rays or voxels at
//! once.
//!
//! Where a line of pixels runs along an axis of the grid, the lane axis, all its rays of one
//! main axis share their line in the plane of main axis and row axis: they make a *sheet*.
//! Along the lane axis they are equidistant: ray $k$ is in slice $s$ at
//!
//! $$q_k(s) = a_0 + sa_1 + k\,(b_0 + sb_1),\qquad
//!   \ell_k = \sqrt{h_m^2 + (r_1h_r)^2 + ((a_1 + kb_1)h_l)^2},$$
//!
//! and both rows of voxels next to it weigh the same for all: $1-g$ and $g$ with $g$ the
//! fraction of $r_0+sr_1$.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $a, b, r$ | voxels | lane of the first ray, distance of neighbours, row; constant and slope |
//! | $h$ | mm | voxel size along main, row and lane axis |
//! | $\ell_k$ | mm | length between neighbouring slices |
//!
//! `sum.rs` sums along rays, `spread.rs` is the transpose. Both go through the grid in bricks
//! that stay in the second cache while all sheets of a chunk pass. Places of rays within a
//! register are numbers of the type of the volume, taken from the first of them: at most
//! 2e-6 voxels off in 32 bits.
//!
//! Validated by `bundles_equal_single_rays` and `sheets_equal_single_rays` in `driver.rs`.

mod spread;
mod sum;

pub(super) use spread::adjoint;
pub(super) use sum::forward;

use super::brick::Brick;
use super::footprint::integer;
use super::line::{ACROSS, Grid, Panel, Rays, cut, reach};

/// Bytes of a brick in memory: half of a second cache.
const BRICK_BYTES: usize = 512 << 10;
/// Most slices of a brick.
const SLICES: usize = 16;
/// Least distance of rays that count as in order.
const NEAREST: f64 = -1e-9;

/// The rays of a line of pixels that have the main axis of a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sheet {
    pub(super) view: usize,
    /// Line of pixels, and the first and one past the last of them.
    line: usize,
    begin: usize,
    end: usize,
    /// Whether rays are in the opposite order of pixels.
    turned: bool,
    row: [f64; 2],
    /// Of the first ray, and of a ray from the one before.
    lane: [f64; 2],
    gap: [f64; 2],
    /// The slices in which some ray can meet the grid.
    first: usize,
    past: usize,
    /// Least and greatest distance of neighbours in these.
    gaps: [f64; 2],
    /// Squares of lengths along main and row axis, and the voxel of the lane axis.
    side: f64,
    voxel: f64,
}

/// Lines of pixels of a view for a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    pub(super) view: usize,
    pub(super) rays: &'a Rays,
    pub(super) panel: Panel,
    /// Whether lines run along v.
    pub(super) along_v: bool,
}

/// What a line of pixels is in a pass.
enum Kind {
    /// No ray of it meets the grid in this pass.
    Nothing,
    Sheet(Sheet),
    /// Rays that are no sheet.
    Single,
}

impl Lines<'_> {
    fn count(&self) -> usize {
        if self.along_v { self.panel.nu } else { self.panel.nv }
    }

    fn length(&self) -> usize {
        if self.along_v { self.panel.nv } else { self.panel.nu }
    }

    fn pixel(&self, line: usize, k: usize) -> (usize, usize) {
        if self.along_v { (line, k) } else { (k, line) }
    }

    /// The pixels of a line, u and v.
    #[cfg(test)]
    pub(super) fn pixels(&self, line: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.length()).map(move |k| self.pixel(line, k))
    }

    /// The sheets of a view, and the lines with rays that are none; `fits` says which
    /// distances of neighbours will do.
    pub(super) fn sheets(
        &self,
        grid: &Grid,
        whole: &Brick,
        fits: impl Fn([f64; 2]) -> bool,
    ) -> (Vec<Sheet>, Vec<usize>) {
        let (mut sheets, mut others) = (Vec::new(), Vec::new());
        for line in 0..self.count() {
            match self.sheet(grid, whole, line) {
                Kind::Sheet(sheet) if fits(sheet.gaps) => sheets.push(sheet),
                Kind::Sheet(_) | Kind::Single => others.push(line),
                Kind::Nothing => {}
            }
        }
        (sheets, others)
    }

    fn sheet(&self, grid: &Grid, whole: &Brick, line: usize) -> Kind {
        let main = |k: usize| {
            let (iu, iv) = self.pixel(line, k);
            self.rays.main(iu, iv)
        };
        let n = self.length();
        let ends = [main(0), main(n - 1)];
        if ends == [whole.row_axis; 2] {
            return Kind::Nothing;
        }
        // Directions are affine along the line: rays of one main axis lie together.
        let is_main = |k: &usize| main(*k) == whole.main;
        let (begin, end) = if ends == [whole.main; 2] {
            (0, n)
        } else {
            let Some(begin) = (0..n).find(is_main) else { return Kind::Nothing };
            (begin, (begin..n).rfind(is_main).map_or(n, |k| k + 1))
        };
        let [low, high] = [begin, end - 1].map(|k| {
            let (iu, iv) = self.pixel(line, k);
            self.rays.line(iu, iv)
        });
        let lane = usize::from(ACROSS[whole.main][1] == whole.lane_axis);
        let row = [low.start[1 - lane], low.slope[1 - lane]];
        if row != [high.start[1 - lane], high.slope[1 - lane]] {
            return Kind::Single;
        }
        let mut outer = [low, high].map(|l| [l.start[lane], l.slope[lane]]);
        let mut stretch = [low.low.max(0.0), low.high.min(whole.end as f64 - 1.0)];
        stretch = cut(stretch, row, [-1.0, whole.rows as f64]);
        stretch = reach(stretch, outer, [-1.0, whole.lanes as f64]);
        // Rounding moves an end by less than this.
        stretch = [
            (stretch[0] - 1e-6).max(low.low).max(0.0),
            (stretch[1] + 1e-6).min(low.high).min(whole.end as f64 - 1.0),
        ];
        let (first, past) = match stretch[0] <= stretch[1] {
            true => (stretch[0].ceil() as usize, stretch[1].floor() as usize + 1),
            false => return Kind::Nothing,
        };
        if first >= past {
            return Kind::Nothing;
        }
        let ends = [first as f64, (past - 1) as f64];
        let at = |of: [f64; 2], s: f64| of[0] + s * of[1];
        let turned = at(outer[1], ends[0]) < at(outer[0], ends[0]);
        if turned {
            outer.reverse();
        }
        let steps = (end - begin).max(2) as f64 - 1.0;
        let gap = [0, 1].map(|i| (outer[1][i] - outer[0][i]) / steps);
        let [p, q] = ends.map(|s| at(gap, s));
        let gaps = [p.min(q), p.max(q)];
        let known = gaps[0] > NEAREST && gaps[1].is_finite();
        if !known {
            return Kind::Single;
        }
        let voxel = grid.voxel;
        let side = voxel[whole.main].powi(2) + (row[1] * voxel[whole.row_axis]).powi(2);
        Kind::Sheet(Sheet {
            view: self.view,
            line,
            begin,
            end,
            turned,
            row,
            lane: outer[0],
            gap,
            first,
            past,
            gaps,
            side,
            voxel: voxel[whole.lane_axis],
        })
    }
}

impl Sheet {
    fn rays(&self) -> usize {
        self.end - self.begin
    }

    /// Places of the pixels within the projections of the view, in the order of the rays.
    fn pixels(&self, panel: Panel, along_v: bool) -> impl Iterator<Item = usize> {
        let (first, step) = match along_v {
            true => (self.begin * panel.nu + self.line, panel.nu),
            false => (self.line * panel.nu + self.begin, 1),
        };
        let (n, turned) = (self.rays(), self.turned);
        (0..n).map(move |k| first + if turned { n - 1 - k } else { k } * step)
    }

    /// Length of a ray in a slice, mm.
    #[inline(always)]
    fn length(&self, k: usize) -> f64 {
        let along = (self.lane[1] + k as f64 * self.gap[1]) * self.voxel;
        (self.side + along * along).sqrt()
    }
}

/// The rows that a sheet meets in a brick of memory, slice by slice.
struct Rows {
    first: usize,
    count: usize,
    /// Where the two rows begin, and what they weigh.
    places: [[usize; 2]; SLICES],
    weights: [[f64; 2]; SLICES],
}

impl Rows {
    /// Nothing where the sheet passes the brick. Rows are `stride` apart in memory and
    /// slices `slice`.
    #[inline(always)]
    fn new(
        line: [f64; 2],
        slices: [usize; 2],
        brick: &Brick,
        [slice, stride]: [usize; 2],
    ) -> Option<Self> {
        let (first, past) = (slices[0].max(brick.begin), slices[1].min(brick.end));
        if first >= past {
            return None;
        }
        let (low, high) = (brick.row as f64 - 1.0, (brick.row + brick.rows) as f64);
        let at = |s: usize| line[0] + s as f64 * line[1];
        let ends = [at(first), at(past - 1)];
        if ends[0].max(ends[1]) <= low || ends[0].min(ends[1]) >= high {
            return None;
        }
        let stretch = cut([first as f64, (past - 1) as f64], line, [low, high]);
        let first = ((stretch[0] - 1e-6).ceil().max(0.0) as usize).max(first);
        let past = ((stretch[1] + 1e-6).floor().max(-1.0) as isize + 1).max(0) as usize;
        let count = past.min(brick.end).min(slices[1]).saturating_sub(first).min(SLICES);
        if count == 0 {
            return None;
        }
        let mut out = Self { first, count, places: [[0; 2]; SLICES], weights: [[0.0; 2]; SLICES] };
        let last = brick.rows as i32 - 1;
        for k in 0..count {
            let q = at(first + k);
            let whole = q.floor();
            let (i, g) = (integer(whole) - brick.row as i32, q - whole);
            // A row outside weighs nothing, and the nearest stands in for it.
            let weigh = |i: i32, w: f64| if (0..=last).contains(&i) { w } else { 0.0 };
            out.weights[k] = [weigh(i, 1.0 - g), weigh(i + 1, g)];
            let begin = (first + k - brick.begin) * slice;
            out.places[k] = [i, i + 1].map(|i| begin + i.clamp(0, last) as usize * stride);
        }
        Some(out)
    }
}

/// The bricks of a pass, rows `gap` numbers apart in memory.
pub(super) fn bricks<T>(grid: &Grid, main: usize, lane_axis: usize, gap: usize) -> Vec<Brick> {
    let whole = Brick::whole(grid, main, lane_axis, gap);
    let rows = BRICK_BYTES / size_of::<T>() / whole.stride;
    // Twice as many rows as slices: sheets at the edge of two bricks are taken twice.
    let slices = ((rows as f64 / 2.0).sqrt() as usize).clamp(1, SLICES);
    whole.cut_rows((rows / slices).max(1), slices)
}
