//! Sums along neighbouring rays of a plane by Joseph's rule, eight rays in the lanes of a
//! register.
//!
//! The rays of a bundle lie in the order of their positions along the lane axis, so in
//! slice $s$ ray $l$ is at $q_l(s)=a_l+s\,b_l$ with $q_0\le q_l\le q_0+13$: all voxels it
//! needs are among the sixteen from $\lfloor q_0\rfloor$ on, which two registers hold, and
//! both neighbours of every ray are picked from these without a look-up in memory.
//!
//! $$\sum_s (1-f)\,x_i + f\,x_{i+1},\qquad i=\lfloor q\rfloor,\ f=q-i$$
//!
//! Validated by `bundles_equal_single_rays` in `driver.rs`, and by the tests of the
//! projectors.

use super::brick::{Brick, ZEROS};
use super::footprint::integer;
use super::line::{ACROSS, Bundle, reach};
use super::real::{Real, load};
use crate::lanes::Lanes;
use crate::simd::LANES;

/// Least distance of two rays of a bundle, in voxels, where it is farthest from parallel.
pub(super) const NEAREST: f64 = 1e-9;
/// Greatest distance of two rays of a bundle.
const FARTHEST: f64 = 13.0;
/// 1.5 x 2^52: the low bits of a whole number plus this are those of the integer.
pub(super) const WHOLE: f64 = 6_755_399_441_055_744.0;

/// Bundles ready to be summed through a brick.
pub(super) struct March<const N: usize> {
    start: [[f64; LANES]; N],
    slope: [[f64; LANES]; N],
    first: usize,
    past: usize,
    /// Whether lanes are in the opposite order of the rays.
    turned: bool,
}

impl<const N: usize> March<N> {
    /// Arranges bundles for a brick: nothing when they are no such bundles.
    #[inline(always)]
    pub(super) fn new(bundles: &[Bundle; N], brick: &Brick) -> Option<Self> {
        let lane = usize::from(ACROSS[brick.main][1] == brick.lane_axis);
        let head = &bundles[0];
        let mut regular = true;
        for b in bundles {
            regular &= b.main == brick.main && b.low == head.low && b.high == head.high;
        }
        if !regular {
            return None;
        }
        // Slices between the ends of the rays in which some ray is in the brick.
        let stretch = [head.low.max(brick.begin as f64), head.high.min(brick.end as f64 - 1.0)];
        let mut some = [f64::INFINITY, f64::NEG_INFINITY];
        let mut out = Self {
            start: [[0.0; LANES]; N],
            slope: [[0.0; LANES]; N],
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
    pub(super) fn sums<L: Lanes, T: Real>(&self, brick: &Brick, copy: &[T]) -> [L; N] {
        let start: [L; N] = std::array::from_fn(|n| L::load(&self.start[n]));
        let slope: [L; N] = std::array::from_fn(|n| L::load(&self.slope[n]));
        let mut sums = [L::splat(0.0); N];
        // Beyond these all samples are zeros.
        let (low, high) = (L::splat(-(ZEROS as f64)), L::splat(brick.lanes as f64));
        for s in self.first..self.past {
            let at = L::splat(s as f64);
            let slice = (s - brick.begin) * brick.slice + ZEROS;
            for n in 0..N {
                let q = at.madd(slope[n], start[n]).max(low).min(high);
                let whole = q.floor();
                let f = q.sub(whole);
                let first = whole.first();
                let place = integer(first) as isize;
                let index = whole.sub(L::splat(first - WHOLE));
                let next = index.add(L::splat(1.0));
                let from = (slice as isize + place) as usize;
                let (blocks, _) = copy[from..from + 2 * LANES].as_chunks::<LANES>();
                let (a, b): (L, L) = (load(&blocks[0]), load(&blocks[1]));
                let (x, y) = (L::pick(a, b, index), L::pick(a, b, next));
                sums[n] = sums[n].add(f.madd(y.sub(x), x));
            }
        }
        sums
    }
}
