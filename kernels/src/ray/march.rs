//! Sums along neighbouring rays by Joseph's rule, eight rays in the lanes of a register.
//!
//! The rays of a bundle lie in the order of their positions along the lane axis, so in
//! slice $s$ ray $l$ is at $q_l(s)=a_l+s\,b_l$ with $q_0\le q_l\le q_0+13$: all voxels it
//! needs are among the sixteen from $\lfloor q_0\rfloor$ on, which two registers hold, and
//! both neighbours of every ray are picked from these without a look-up in memory. In
//! space the rays of a bundle share their line in the plane across the lane axis: there
//! the two rows of voxels are first weighted into one.
//!
//! $$\sum_s (1-f)\,x_i + f\,x_{i+1},\qquad i=\lfloor q\rfloor,\ f=q-i,\ x=(1-g)x^j+g\,x^{j+1}$$
//!
//! Validated by `bundles_equal_single_rays` in `driver.rs`, and by the tests of the
//! projectors.

use super::brick::{Brick, ZEROS};
use super::footprint::integer;
use super::line::{ACROSS, Bundle, cut, reach};
use super::real::{Real, load};
use crate::lanes::Lanes;
use crate::simd::LANES;

/// Least distance of two rays of a bundle, in voxels, where it is farthest from parallel.
pub(super) const NEAREST: f64 = 1e-9;
/// Greatest distance of two rays of a bundle.
const FARTHEST: f64 = 13.0;
/// Slices by which a row is asked for before it is used.
const AHEAD: f64 = 6.0;
/// 1.5 x 2^52: the low bits of a whole number plus this are those of the integer.
pub(super) const WHOLE: f64 = 6_755_399_441_055_744.0;

/// Bundles of one line across the lane axis, ready to be summed through a brick.
pub(super) struct March<const N: usize> {
    start: [[f64; LANES]; N],
    slope: [[f64; LANES]; N],
    /// Line along the row axis.
    row: [f64; 2],
    first: usize,
    past: usize,
    /// Whether lanes are in the opposite order of the rays.
    turned: bool,
}

impl<const N: usize> March<N> {
    /// Arranges bundles for a brick: nothing when they are no such bundles.
    #[inline(always)]
    pub(super) fn new<const FLAT: bool>(bundles: &[Bundle; N], brick: &Brick) -> Option<Self> {
        let lane = usize::from(ACROSS[brick.main][1] == brick.lane_axis);
        let head = &bundles[0];
        let row = [head.start[1 - lane][0], head.slope[1 - lane][0]];
        let mut regular = true;
        for b in bundles {
            regular &= b.main == brick.main && b.low == head.low && b.high == head.high;
            if !FLAT {
                for l in 0..LANES {
                    regular &= b.start[1 - lane][l] == row[0];
                    regular &= b.slope[1 - lane][l] == row[1];
                }
            }
        }
        if !regular {
            return None;
        }
        // Slices between the ends of the rays in which some ray is in the brick.
        let mut stretch = [head.low.max(brick.begin as f64), head.high.min(brick.end as f64 - 1.0)];
        if !FLAT {
            let (low, high) = (brick.row as f64 - 1.0, (brick.row + brick.rows) as f64);
            stretch = cut(stretch, row, [low, high]);
        }
        let mut some = [f64::INFINITY, f64::NEG_INFINITY];
        let mut out = Self {
            start: [[0.0; LANES]; N],
            slope: [[0.0; LANES]; N],
            row,
            first: 0,
            past: 0,
            turned: false,
        };
        for (n, b) in bundles.iter().enumerate() {
            (out.start[n], out.slope[n]) = (b.start[lane], b.slope[lane]);
            let outer = [0, LANES - 1].map(|l| [b.start[lane][l], b.slope[lane][l]]);
            let of = reach(stretch, outer, [-1.0, brick.lanes as f64]);
            if of[0] <= of[1] {
                some = [some[0].min(of[0]), some[1].max(of[1])];
            }
        }
        // Rounding moves an end by less than this.
        let stretch = [stretch[0].max(some[0] - 1e-6), stretch[1].min(some[1] + 1e-6)];
        if stretch[0] > stretch[1] {
            return Some(out);
        }
        (out.first, out.past) = (stretch[0].ceil() as usize, stretch[1].floor() as usize + 1);
        if out.first >= out.past {
            return Some(out);
        }
        let ends = [out.first as f64, (out.past - 1) as f64];
        let step = |n: usize, s: f64| {
            let at = |l: usize| out.start[n][l] + s * out.slope[n][l];
            at(LANES - 1) - at(0)
        };
        out.turned = step(0, ends[0]) < 0.0;
        if out.turned {
            out.start.iter_mut().for_each(|v| v.reverse());
            out.slope.iter_mut().for_each(|v| v.reverse());
        }
        for n in 0..N {
            for s in ends {
                let first = out.start[n][0] + s * out.slope[n][0];
                let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
                for l in 1..LANES {
                    let gap = out.start[n][l] + s * out.slope[n][l] - first;
                    least = least.min(gap);
                    most = most.max(gap);
                }
                regular &= least > NEAREST && most <= FARTHEST;
            }
        }
        regular.then_some(out)
    }

    /// The ray of a lane.
    #[inline(always)]
    pub(super) fn ray(&self, lane: usize) -> usize {
        if self.turned { LANES - 1 - lane } else { lane }
    }

    /// The sums of the samples, without the length between slices, of `copy` of the brick.
    #[inline(always)]
    pub(super) fn sums<L: Lanes, T: Real, const FLAT: bool>(
        &self,
        brick: &Brick,
        copy: &[T],
    ) -> [L; N] {
        let start: [L; N] = std::array::from_fn(|n| L::load(&self.start[n]));
        let slope: [L; N] = std::array::from_fn(|n| L::load(&self.slope[n]));
        let mut sums = [L::splat(0.0); N];
        // Beyond these all samples are zeros.
        let (low, high) = (L::splat(-(ZEROS as f64)), L::splat(brick.lanes as f64));
        for s in self.first..self.past {
            let at = s as f64;
            let slice = (s - brick.begin) * brick.slice + ZEROS;
            let (mut rows, mut weights) = ([slice; 2], [1.0, 0.0]);
            if !FLAT {
                let q = self.row[0] + at * self.row[1];
                let whole = q.floor();
                let (i, g) = (integer(whole) as isize - brick.row as isize, q - whole);
                let inside = |i: isize| (0..brick.rows as isize).contains(&i);
                let (this, next) = (inside(i), inside(i + 1));
                if !this && !next {
                    continue;
                }
                // A row outside weighs nothing, and the other one stands in for it.
                let place = |i: isize| slice + i as usize * brick.stride;
                rows = [place(if this { i } else { i + 1 }), place(if next { i + 1 } else { i })];
                weights = [if this { 1.0 - g } else { 0.0 }, if next { g } else { 0.0 }];
            }
            if !FLAT {
                self.prefetch::<L, T>(brick, copy, at + AHEAD);
            }
            let (at, near, far) = (L::splat(at), L::splat(weights[0]), L::splat(weights[1]));
            for n in 0..N {
                let q = at.madd(slope[n], start[n]).max(low).min(high);
                let whole = q.floor();
                let f = q.sub(whole);
                let first = whole.first();
                let place = integer(first) as isize;
                let index = whole.sub(L::splat(first - WHOLE));
                let next = index.add(L::splat(1.0));
                let window = |row: usize| -> (L, L) {
                    let from = (row as isize + place) as usize;
                    let (blocks, _) = copy[from..from + 2 * LANES].as_chunks::<LANES>();
                    (load(&blocks[0]), load(&blocks[1]))
                };
                let (mut a, mut b) = window(rows[0]);
                if !FLAT {
                    let (c, d) = window(rows[1]);
                    a = far.madd(c, near.mul(a));
                    b = far.madd(d, near.mul(b));
                }
                let (x, y) = (L::pick(a, b, index), L::pick(a, b, next));
                sums[n] = sums[n].add(f.madd(y.sub(x), x));
            }
        }
        sums
    }
    /// Asks for the two rows that the rays reach some slices on.
    #[inline(always)]
    fn prefetch<L: Lanes, T: Real>(&self, brick: &Brick, copy: &[T], at: f64) {
        let slice = (integer(at) as usize).wrapping_sub(brick.begin).wrapping_mul(brick.slice);
        let row = integer((self.row[0] + at * self.row[1]).floor()) as isize - brick.row as isize;
        let [first, last] =
            [(0, 0), (N - 1, LANES - 1)].map(|(n, l)| self.start[n][l] + at * self.slope[n][l]);
        let from = first.min(last).max(0.0).min(brick.lanes as f64);
        let row = slice.wrapping_add((row * brick.stride as isize) as usize);
        let from = row.wrapping_add(integer(from.floor()) as usize);
        for line in 0..N {
            let at = from.wrapping_add(line * 64 / size_of::<T>());
            for at in [at, at.wrapping_add(brick.stride)] {
                if let Some(voxel) = copy.get(at) {
                    L::prefetch(voxel);
                }
            }
        }
    }
}
