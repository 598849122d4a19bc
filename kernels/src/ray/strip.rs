//! The transpose of Joseph's rule for rays of a plane, eight voxels in the lanes of a
//! register.
//!
//! In slice $s$ the rays of a strip are at $q_0<q_1<\dots$ along the lane axis. Voxel $j$
//! gets $y_k\,(1-|q_k-j|)$ of those with $|q_k-j|<1$: with $\mu(j)$ the number of the ray
//! that would be at $j-1$, these are among $k=\lfloor\mu\rfloor+1,\dots,\lfloor\mu\rfloor+T$,
//! $T=\lceil\max_j\mu(j+2)-\mu(j)\rceil$. Where rays are so close that more than 3 or 4 are
//! in reach of a voxel, a strip is every second ray, or every third, and so on.
//!
//! | rays | $\mu(j)$ | weight of ray $k$ |
//! |---|---|---|
//! | equidistant | $(j-1-q_0)/\delta$ | $\min(e, 2-e)$, $e=(k-\mu)\delta$ |
//! | from a point to equidistant pixels | $N/D$, both affine in $s$ and $j$ | $1-\lvert q_k-j\rvert$ |
//!
//! The values of sixteen neighbouring rays are in two registers, so that no voxel looks up
//! memory.
//!
//! Validated by `bundles_equal_single_rays` in `driver.rs`, and by the tests of the
//! projectors.

use super::brick::Brick;
use super::comb::{Comb, Teeth};
use super::footprint::integer;
use super::line::{ACROSS, Line, Panel, Rays, reach};
use super::march::{NEAREST, WHOLE};
use crate::lanes::Lanes;
use crate::simd::LANES;

/// Least distance of the rays of a strip, voxels.
const CLOSEST: f64 = 2.0 / 3.0;
/// Most rays of a strip within a voxel of another, where they are not equidistant; those
/// of eight voxels are then among sixteen.
const MOST_TAPS: f64 = 3.4;
/// Most strips that neighbouring rays are dealt to.
const MOST_STRIPS: usize = 8;
/// How far the number of a ray may be from that of its position.
const NUMBER: f64 = 1e-8;
/// Values before and after those of a strip.
const PADS: [usize; 2] = [16, 24];
/// The position of a ray that is none.
const NOWHERE: f64 = 1e300;

/// Rays in a row.
#[derive(Clone, Copy, Debug)]
struct Strip {
    /// Where its values are.
    at: usize,
    /// Position of the first and the last ray.
    ends: [[f64; 2]; 2],
    rays: usize,
    /// Distance of equidistant neighbours.
    gap: [f64; 2],
    first: usize,
    past: usize,
    /// Numerator and denominator of the number of a ray, where rays are not equidistant.
    number: Option<[[f64; 3]; 2]>,
}

/// The rays of a part of a view that have the main axis of a pass.
#[derive(Debug, Default)]
pub(super) struct Strips {
    strips: Vec<Strip>,
    values: Vec<f64>,
    start: Vec<f64>,
    slope: Vec<f64>,
    /// Those in no strip.
    pub(super) single: Vec<(Line, f64)>,
    /// Strips of 32-bit numbers.
    pub(super) combs: Vec<Comb>,
}

/// Neighbouring rays with their values, while they are collected.
#[derive(Default)]
struct Row {
    pixels: Vec<usize>,
    start: Vec<f64>,
    slope: Vec<f64>,
    values: Vec<f64>,
    low: f64,
    high: f64,
}

/// Part of a view: some lines of pixels along u or v.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) rays: &'a Rays,
    pub(super) panel: Panel,
    /// Whether a line of pixels runs along v, where lines may be strips.
    pub(super) along_v: bool,
    pub(super) regular: bool,
    /// Whether values are 32-bit numbers.
    pub(super) single: bool,
    pub(super) begin: usize,
    pub(super) end: usize,
}

impl Part<'_> {
    /// Pixels of a line.
    pub(super) fn length(&self) -> usize {
        if self.along_v { self.panel.nv } else { self.panel.nu }
    }

    #[inline(always)]
    fn pixel(&self, line: usize, k: usize) -> (usize, usize) {
        if self.along_v { (line, k) } else { (k, line) }
    }
}

impl Strips {
    /// Prepares the rays of a part of a view for a pass over bricks of `whole`.
    #[inline(always)]
    pub(super) fn new(part: &Part<'_>, whole: &Brick, value: &dyn Fn(usize) -> f64) -> Self {
        let mut out = Self::default();
        let mut row = Row::default();
        let lane = usize::from(ACROSS[whole.main][1] == whole.lane_axis);
        for line in part.begin..part.end {
            for first in (0..part.length()).step_by(LANES) {
                let n = LANES.min(part.length() - first);
                let at = |l: usize| part.pixel(line, first + l);
                let index = |l: usize| at(l).1 * part.panel.nu + at(l).0;
                let bundle = if part.regular { part.rays.bundle(at(0).0, at(0).1) } else { None };
                let Some(b) = bundle else {
                    out.close(part, whole, line, &mut row);
                    for l in 0..n {
                        let ray = part.rays.line(at(l).0, at(l).1);
                        if ray.main == whole.main {
                            out.single.push((ray, value(index(l))));
                        }
                    }
                    continue;
                };
                let follows = b.low == row.low && b.high == row.high;
                if b.main != whole.main || !follows {
                    out.close(part, whole, line, &mut row);
                }
                if b.main != whole.main {
                    continue;
                }
                (row.low, row.high) = (b.low, b.high);
                for l in 0..n {
                    row.pixels.push(first + l);
                    row.start.push(b.start[lane][l]);
                    row.slope.push(b.slope[lane][l]);
                    row.values.push(value(index(l)) * b.length[l]);
                }
            }
            out.close(part, whole, line, &mut row);
        }
        out
    }

    /// Ends a row of rays: strips where they can be, else single rays.
    #[inline(always)]
    fn close(&mut self, part: &Part<'_>, whole: &Brick, line: usize, row: &mut Row) {
        if !row.pixels.is_empty() && self.deal(part, whole, row).is_none() {
            for (pixel, value) in row.pixels.iter().zip(&row.values) {
                let (iu, iv) = part.pixel(line, *pixel);
                let ray = part.rays.line(iu, iv);
                self.single.push((ray, value / ray.length));
            }
        }
        row.pixels.clear();
        row.start.clear();
        row.slope.clear();
        row.values.clear();
    }

    #[inline(always)]
    fn deal(&mut self, part: &Part<'_>, whole: &Brick, row: &mut Row) -> Option<()> {
        let n = row.pixels.len();
        if n < 2 {
            return None;
        }
        // The slices in which the rays can meet the grid.
        let mut stretch = [row.low.max(0.0), row.high.min(whole.end as f64 - 1.0)];
        let outer = [0, n - 1].map(|k| [row.start[k], row.slope[k]]);
        stretch = reach(stretch, outer, [-1.0, whole.lanes as f64]);
        stretch = [(stretch[0] - 1e-6).max(row.low), (stretch[1] + 1e-6).min(row.high)];
        stretch = [stretch[0].max(0.0), stretch[1].min(whole.end as f64 - 1.0)];
        let (first, past) = match stretch[0] <= stretch[1] {
            true => (stretch[0].ceil() as usize, stretch[1].floor() as usize + 1),
            false => return Some(()),
        };
        if first >= past {
            return Some(());
        }
        let ends = [first as f64, (past - 1) as f64];
        let at = |row: &Row, k: usize, s: f64| row.start[k] + s * row.slope[k];
        let turned = at(row, n - 1, ends[0]) < at(row, 0, ends[0]);
        if turned {
            row.start.reverse();
            row.slope.reverse();
            row.values.reverse();
        }
        let (mut closest, mut equidistant) = ([f64::INFINITY; 2], true);
        for (closest, s) in closest.iter_mut().zip(ends) {
            let (low, high) = (at(row, 0, s), at(row, n - 1, s));
            let gap = (high - low) / (n - 1) as f64;
            let mut before = low;
            let mut farthest = 0.0_f64;
            for k in 1..n {
                let q = at(row, k, s);
                *closest = closest.min(q - before);
                farthest = farthest.max((q - low - k as f64 * gap).abs());
                before = q;
            }
            let size = low.abs().max(high.abs()).max(1.0);
            equidistant &= farthest <= 16.0 * f64::EPSILON * size;
            if equidistant {
                *closest = gap;
            }
        }
        let least = closest[0].min(closest[1]);
        if least <= NEAREST || least.is_nan() {
            if turned {
                row.values.reverse();
            }
            return None;
        }
        let number = match equidistant {
            true => None,
            false => self.number(part, whole, row, ends, turned),
        };
        let crowd = number.map_or(0.0, |number| {
            let within = |s: usize| {
                let [low, high] = [0, n - 1].map(|k| at(row, k, s as f64));
                span(low, high, whole.lanes).map_or(0.0, |v| crowd(number, s as f64, v, n))
            };
            (first..past).map(within).fold(0.0, f64::max)
        });
        let dealt = match equidistant {
            true => (CLOSEST / least).ceil(),
            false => (crowd / MOST_TAPS).ceil(),
        };
        let dealt = dealt.max(1.0);
        if dealt > MOST_STRIPS as f64 || !(equidistant || number.is_some()) {
            if turned {
                row.values.reverse();
            }
            return None;
        }
        // Strips of one ray may be as wide as one likes.
        let (times, dealt) = (dealt, (dealt as usize).min(n));
        let k = (n - 1) as f64;
        let one = [row.start[n - 1] - row.start[0], row.slope[n - 1] - row.slope[0]].map(|v| v / k);
        for first_ray in 0..dealt {
            let last = first_ray + (n - 1 - first_ray) / dealt * dealt;
            let end = |k: usize| [row.start[k], row.slope[k]];
            let [low, gap] = [end(first_ray), one.map(|v| v * times)];
            // (k - part) / times of k = n / d.
            let number = number.map(|[n, d]| {
                let n = std::array::from_fn(|i| (n[i] - first_ray as f64 * d[i]) / times);
                [n, d]
            });
            if part.single {
                let even = [[-low[0], -low[1], 1.0], [gap[0], gap[1], 0.0]];
                let teeth = Teeth {
                    start: &mut row.start.iter().skip(first_ray).step_by(dealt).copied(),
                    slope: &mut row.slope.iter().skip(first_ray).step_by(dealt).copied(),
                    values: &mut row.values.iter().skip(first_ray).step_by(dealt).copied(),
                    rays: (last - first_ray) / dealt + 1,
                    source: part.rays.source(whole.lane_axis, whole.main),
                    number: number.unwrap_or(even),
                    first,
                    past,
                };
                if let Some(comb) = Comb::new(teeth, whole) {
                    self.combs.push(comb);
                    continue;
                }
            }
            self.strips.push(Strip {
                at: self.values.len() + PADS[0],
                ends: [low, end(last)],
                rays: (last - first_ray) / dealt + 1,
                gap,
                first,
                past,
                number,
            });
            let padded = |out: &mut Vec<f64>, of: &[f64], pad: f64| {
                out.extend([pad; PADS[0]]);
                out.extend(of.iter().skip(first_ray).step_by(dealt));
                out.extend([pad; PADS[1]]);
            };
            padded(&mut self.values, &row.values, 0.0);
            padded(&mut self.start, &row.start, NOWHERE);
            padded(&mut self.slope, &row.slope, 0.0);
        }
        Some(())
    }

    /// The coefficients of the number of a ray by its position, when they are right for
    /// all rays and have no pole between.
    fn number(
        &self,
        part: &Part<'_>,
        whole: &Brick,
        row: &Row,
        ends: [f64; 2],
        turned: bool,
    ) -> Option<[[f64; 3]; 2]> {
        let n = row.pixels.len();
        let [mut of, by] = part.rays.pixel_of(whole.main, whole.lane_axis)?;
        // From the pixel to the number within the row.
        let (shift, sign) = match turned {
            false => (row.pixels[0] as f64, 1.0),
            true => (row.pixels[n - 1] as f64, -1.0),
        };
        for (of, by) in of.iter_mut().zip(by) {
            *of = sign * (*of - shift * by);
        }
        let value = |c: [f64; 3], s: f64, q: f64| c[0] + s * c[1] + q * c[2];
        let mut signs = [false; 2];
        for s in ends {
            for k in 0..n {
                let q = row.start[k] + s * row.slope[k];
                let found = value(of, s, q) / value(by, s, q);
                // Not where it is NaN either.
                let close = (found - k as f64).abs() < NUMBER;
                if !close {
                    return None;
                }
            }
            let at = |k: usize| row.start[k] + s * row.slope[k];
            for q in [at(0) - 3.0, at(n - 1) + 3.0] {
                let below = value(by, s, q) < 0.0;
                signs[usize::from(below)] = true;
            }
        }
        (signs[0] != signs[1]).then_some([of, by])
    }
}

impl Strips {
    /// Adds what the strips leave in a brick to its memory.
    #[inline(always)]
    pub(super) fn spread<L: Lanes>(&self, brick: &Brick, sums: &mut [f64]) {
        for strip in &self.strips {
            for s in strip.first.max(brick.begin)..strip.past.min(brick.end) {
                self.slice::<L>(strip, brick, s, sums);
            }
        }
    }

    #[inline(always)]
    fn slice<L: Lanes>(&self, strip: &Strip, brick: &Brick, s: usize, sums: &mut [f64]) {
        let at = s as f64;
        let slice = (s - brick.begin) * brick.slice;
        let [low, high] = strip.ends.map(|[start, slope]| start + at * slope);
        let gap = strip.gap[0] + at * strip.gap[1];
        let Some((from, past)) = span(low, high, brick.lanes) else { return };
        let taps = match strip.number {
            None if gap < 1.0 => 3,
            None => 2,
            Some(of) => crowd(of, at, (from, past), strip.rays).ceil() as usize,
        };
        let run = Run { strips: self, strip, at, low, gap, from, past };
        let sums = &mut sums[slice..];
        match (strip.number.is_some(), taps) {
            (true, 0..=2) => run.fan::<L, 2>(sums),
            (true, 3) => run.fan::<L, 3>(sums),
            (true, _) => run.fan::<L, 4>(sums),
            (_, 2) => run.even::<L, 2>(sums),
            (_, _) => run.even::<L, 3>(sums),
        }
    }
}

/// The voxels within reach of rays between two positions: first, and one past the last.
#[inline(always)]
fn span(low: f64, high: f64, lanes: usize) -> Option<(usize, usize)> {
    let from = ((low - 1.0).floor() + 1.0).max(0.0);
    let past = (high + 1.0).ceil().min(lanes as f64);
    (from < past).then_some((from as usize, past as usize))
}

/// Most of some rays within a voxel of some voxel of a slice, or a little more. They lie
/// ever closer towards one end, and at the ends some voxels see none on one side.
#[inline(always)]
fn crowd(number: [[f64; 3]; 2], at: f64, (from, past): (usize, usize), rays: usize) -> f64 {
    let of = |q: f64| {
        let [n, d] = number.map(|c| c[0] + at * c[1] + q * c[2]);
        (n / d).clamp(-1.0, rays as f64)
    };
    let within = |j: usize| of(j as f64 + 1.0) - of(j as f64 - 1.0);
    let mut most = 0.0_f64;
    for k in 0..3 {
        most = most.max(within((from + k).min(past - 1)));
        most = most.max(within((past - 1).saturating_sub(k).max(from)));
    }
    most + 4.0 * NUMBER
}

/// A strip in a slice.
struct Run<'a> {
    strips: &'a Strips,
    strip: &'a Strip,
    at: f64,
    low: f64,
    gap: f64,
    from: usize,
    past: usize,
}

/// `weight * value + sum` where the weight is more than nothing.
#[inline(always)]
fn weigh<L: Lanes>(weight: L, value: L, sum: L) -> L {
    L::select(weight.ge(L::splat(f64::MIN_POSITIVE)), weight.madd(value, sum), sum)
}

impl Run<'_> {
    /// Sixteen numbers of an array from a ray of the strip on.
    #[inline(always)]
    fn window<L: Lanes>(&self, of: &[f64], ray: i32) -> (L, L) {
        let first = (self.strip.at as isize + ray as isize) as usize;
        let (blocks, _) = of[first..first + 2 * LANES].as_chunks::<LANES>();
        (L::load(&blocks[0]), L::load(&blocks[1]))
    }

    #[inline(always)]
    fn add<L: Lanes>(&self, j: usize, sum: L, out: &mut [f64]) {
        let Some(block) = out[j..].first_chunk_mut::<LANES>() else { return };
        L::load(block).add(sum).store(block);
    }

    /// Equidistant rays.
    #[inline(always)]
    fn even<L: Lanes, const TAPS: usize>(&self, out: &mut [f64]) {
        let inverse = 1.0 / self.gap;
        let (per, gap) = (L::splat(inverse), L::splat(self.gap));
        let before = L::splat(1.0 + self.low);
        // Whole cache lines: what other strips just wrote is read back as it was written.
        let aligned = self.from / LANES * LANES;
        let mut j = L::load(&std::array::from_fn(|l| (aligned + l) as f64));
        for first in (aligned..self.past).step_by(LANES) {
            let number = j.sub(before).mul(per);
            let whole = number.floor();
            let base = whole.first();
            let index = whole.sub(L::splat(base - WHOLE));
            let (a, b) = self.window::<L>(&self.strips.values, integer(base) + 1);
            // The distance of the first ray from j - 1.
            let mut e = whole.sub(number).madd(gap, gap);
            let mut sum = L::splat(0.0);
            for tap in 0..TAPS {
                let value = L::pick(a, b, index.add(L::splat(tap as f64)));
                let weight = e.min(L::splat(2.0).sub(e));
                sum = weigh(weight, value, sum);
                e = e.add(gap);
            }
            self.add(first, sum, out);
            j = j.add(L::splat(LANES as f64));
        }
    }

    /// Rays from a point to equidistant pixels.
    #[inline(always)]
    fn fan<L: Lanes, const TAPS: usize>(&self, out: &mut [f64]) {
        let Some([of, by]) = self.strip.number else { return };
        let shift = [of[0] + self.at * of[1], by[0] + self.at * by[1]].map(L::splat);
        let rise = [of[2], by[2]].map(L::splat);
        let at = L::splat(self.at);
        let one = L::splat(1.0);
        let aligned = self.from / LANES * LANES;
        let mut j = L::load(&std::array::from_fn(|l| (aligned + l) as f64));
        for first in (aligned..self.past).step_by(LANES) {
            let before = j.sub(one);
            let number = before.madd(rise[0], shift[0]).div(before.madd(rise[1], shift[1]));
            // Rays before the first, which there are none, would be taken for its own.
            let whole = number.sub(L::splat(2.0 * NUMBER)).floor().max(L::splat(-1.0));
            // Voxels that no ray reaches have no number; the rays of the first that has one.
            let base = if first < self.from {
                let mut of = [0.0; LANES];
                whole.store(&mut of);
                of[self.from - first]
            } else {
                whole.first()
            };
            let index = whole.sub(L::splat(base - WHOLE));
            let ray = integer(base) + 1;
            let (a, b) = self.window::<L>(&self.strips.values, ray);
            let (c, d) = self.window::<L>(&self.strips.start, ray);
            let (e, f) = self.window::<L>(&self.strips.slope, ray);
            let (c, d) = (at.madd(e, c), at.madd(f, d));
            let mut sum = L::splat(0.0);
            for tap in 0..TAPS {
                let index = index.add(L::splat(tap as f64));
                let weight = one.sub(L::pick(c, d, index).sub(j).abs());
                sum = weigh(weight, L::pick(a, b, index), sum);
            }
            self.add(first, sum, out);
            j = j.add(L::splat(LANES as f64));
        }
    }
}
