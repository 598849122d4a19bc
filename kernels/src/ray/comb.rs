//! The transpose of Joseph's rule for rays of a plane in 32-bit numbers, sixteen voxels at
//! once.
//!
//! The rays of a strip are at $q_k(s)=A(s)+R(s)\,t_k$ in slice $s$, with $t_k$ the same in
//! all slices: slopes and $A=o_a$, $R=s-o_m$ for a source at $o$; starts and $A=a_1s$, $R=1$
//! for parallel rays. Sixteen voxels from $j_0$ on meet rays among thirty-two, whose values
//! and positions $q_k-\bar\jmath$ are in two registers each; with $\mu(j)=N/D$ the number of
//! the ray at $j-1$ (`strip.rs`), $l=j-\bar\jmath$ and $\mu,\kappa,r$ at the middle
//! $\bar\jmath$,
//!
//! $$\mu(j)=\mu+\frac{\kappa l}{1+rl},\qquad \kappa=\frac{N'-\mu D'}{D},\qquad r=\frac{D'}{D},$$
//!
//! and a voxel adds $y_k\max(0,1-|q_k-j|)$ of some rays from the first beyond $\mu(j)$ on.
//! A ray too many weighs nothing, so that $\mu$ need only be good to [`SLACK`]; weights
//! depend on the picked positions alone. These are made by one rounding from numbers near
//! the window, at most 1e-6 off where rays are a voxel apart.
//!
//! Sums of [`STRIPS`] strips are 32-bit numbers, sums of those 64-bit ones.
//!
//! Validated by `combs_equal_single_rays` in `driver.rs`.

use super::brick::Brick;
use super::footprint::integer;
use super::strip::Strips;
use crate::backprojection::{Loop, Pack};

/// Voxels of a block, and rays between two anchors.
const BLOCK: usize = 16;
/// Rays of a window.
const WINDOW: usize = 2 * BLOCK;
/// Entries of the table that begin at an anchor.
const ENTRIES: usize = WINDOW + BLOCK;
/// Entries before the first ray.
const PAD: usize = BLOCK;
/// The place of a ray that is none.
const NOWHERE: f32 = 1e30;
/// How much too early the first ray may be looked for.
const SLACK: f64 = 1e-3;
/// Rays and voxels of a row from which on there is a comb.
const LEAST: usize = 32;
/// Greatest distance of neighbouring rays, voxels.
const FARTHEST: f64 = 3.0;
/// Greatest $|r|$ times the half length of a block.
const STEEPEST: f64 = 0.5;
/// Strips and slices that are summed up in 32 bits.
const STRIPS: usize = 32;
const SLICES: usize = 8;

/// What a strip knows of its rays.
pub(super) struct Teeth<'a> {
    /// Those of its strip, starts and slopes.
    pub(super) start: &'a mut dyn Iterator<Item = f64>,
    pub(super) slope: &'a mut dyn Iterator<Item = f64>,
    pub(super) values: &'a mut dyn Iterator<Item = f64>,
    pub(super) rays: usize,
    /// Across and main axis of the source; nothing for parallel rays.
    pub(super) source: Option<[f64; 2]>,
    /// Numerator and denominator of the number of a ray: coefficients of 1, slice and position.
    pub(super) number: [[f64; 3]; 2],
    pub(super) first: usize,
    pub(super) past: usize,
}

/// Rays in a row.
#[derive(Clone, Debug)]
pub(super) struct Comb {
    rays: usize,
    /// Coefficients of 1 and the slice.
    origin: [f64; 2],
    rate: [f64; 2],
    number: [[f64; 3]; 2],
    first: usize,
    past: usize,
    /// Places of the outermost rays.
    ends: [f64; 2],
    values: Vec<f32>,
    /// Places of the anchors, and of rays as seen from them.
    anchors: Vec<f64>,
    table: Vec<f32>,
}

impl Comb {
    /// Nothing where there are few rays or voxels, or where rays or voxels are far apart.
    pub(super) fn new(of: Teeth<'_>, whole: &Brick) -> Option<Self> {
        let Teeth { start, slope, values, rays, source, number, first, past } = of;
        if rays < LEAST || whole.lanes < LEAST {
            return None;
        }
        let starts: Vec<f64> = start.collect();
        let slopes: Vec<f64> = slope.collect();
        let (places, origin, rate) = match source {
            Some([across, main]) => (slopes, [across, 0.0], [-main, 1.0]),
            None => (starts, [0.0, slopes[0]], [1.0, 0.0]),
        };
        let mut padded = vec![0.0; PAD + rays + ENTRIES];
        for (to, from) in padded[PAD..].iter_mut().zip(values) {
            *to = from as f32;
        }
        let count = rays / BLOCK + 2;
        let (mut anchors, mut table) = (Vec::with_capacity(count), vec![NOWHERE; count * ENTRIES]);
        for (a, row) in table.chunks_exact_mut(ENTRIES).enumerate() {
            // The first of the row is ray 16 (a - 1); the anchor stands where most are read.
            let middle = places[(a * BLOCK).min(rays - 1)];
            anchors.push(middle);
            for (k, to) in row.iter_mut().enumerate() {
                let k = (a * BLOCK + k).checked_sub(PAD);
                if let Some(place) = k.and_then(|k| places.get(k)) {
                    *to = (place - middle) as f32;
                }
            }
        }
        let ends = [places[0], places[rays - 1]];
        let comb =
            Self { rays, origin, rate, number, first, past, ends, values: padded, anchors, table };
        comb.is_mild().then_some(comb)
    }

    /// Position of the first and the last ray in a slice.
    #[inline(always)]
    fn outer(&self, s: f64) -> [f64; 2] {
        let (a, r) = (self.origin[0] + s * self.origin[1], self.rate[0] + s * self.rate[1]);
        self.ends.map(|t| a + r * t)
    }

    /// Whether no rays are far apart and numbers are smooth in all blocks that they reach.
    fn is_mild(&self) -> bool {
        let [_, by] = self.number;
        let reach = BLOCK as f64 + 2.0;
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for s in [self.first as f64, (self.past - 1) as f64] {
            let [low, high] = self.outer(s);
            if (high - low) > FARTHEST * (self.rays - 1) as f64 {
                return false;
            }
            for q in [low - reach, high + reach] {
                let d = by[0] + s * by[1] + q * by[2];
                (least, most) = (least.min(d), most.max(d));
            }
        }
        // Denominators are affine, so that the corners have the extremes.
        let nearest = if least > 0.0 { least } else { -most };
        nearest > 0.0 && by[2].abs() * reach / 2.0 < STEEPEST * nearest
    }
}

/// What combs leave in a brick.
pub(super) struct Combs<'a> {
    pub(super) strips: &'a [Strips],
    pub(super) brick: &'a Brick,
    pub(super) sums: &'a mut [f64],
}

/// The blocks of voxels of a row, a number each.
struct Numbers {
    /// Number of the first ray of the window.
    base: Vec<i32>,
    /// Most rays within reach of a voxel.
    taps: Vec<i32>,
    /// Number from the base at the middle, its step and $r$.
    at: Vec<f32>,
    step: Vec<f32>,
    bend: Vec<f32>,
}

impl Numbers {
    fn new(blocks: usize) -> Self {
        let (whole, part) = (vec![0; blocks], vec![0.0; blocks]);
        let [at, step, bend] = [part.clone(), part.clone(), part];
        Self { base: whole.clone(), taps: whole, at, step, bend }
    }
}

impl Loop<f32> for Combs<'_> {
    #[inline(always)]
    fn run<P: Pack<Item = f32>>(self) {
        let Self { strips, brick, sums } = self;
        let combs: Vec<&Comb> = strips.iter().flat_map(|s| &s.combs).collect();
        let blocks = brick.lanes.div_ceil(BLOCK);
        let mut numbers = Numbers::new(blocks);
        let mut part = vec![0.0_f32; SLICES * blocks * BLOCK];
        for combs in combs.chunks(STRIPS) {
            for begin in (brick.begin..brick.end).step_by(SLICES) {
                let end = (begin + SLICES).min(brick.end);
                part.fill(0.0);
                for comb in combs {
                    for s in begin.max(comb.first)..end.min(comb.past) {
                        let row = &mut part[(s - begin) * blocks * BLOCK..][..blocks * BLOCK];
                        comb.slice::<P>(s as f64, brick.lanes, row, &mut numbers);
                    }
                }
                for (s, row) in (begin..end).zip(part.chunks_exact(blocks * BLOCK)) {
                    let to = &mut sums[(s - brick.begin) * brick.slice..][..brick.lanes];
                    for (to, from) in to.iter_mut().zip(row) {
                        *to += f64::from(*from);
                    }
                }
            }
        }
    }
}

impl Comb {
    /// Adds what the rays leave in a slice to its voxels.
    #[inline(always)]
    fn slice<P: Pack<Item = f32>>(
        &self,
        s: f64,
        lanes: usize,
        out: &mut [f32],
        numbers: &mut Numbers,
    ) {
        let [low, high] = self.outer(s);
        let from = ((low - 1.0).floor() + 1.0).max(0.0);
        let past = (high + 1.0).ceil().min(lanes as f64);
        // Not where they are NaN either.
        let some = from < past;
        if !some {
            return;
        }
        let blocks = from as usize / BLOCK..(past as usize).div_ceil(BLOCK);
        let middle = blocks.start as f64 * BLOCK as f64 + (BLOCK - 1) as f64 / 2.0;
        self.number::<P>(s, middle, blocks.len(), numbers);
        let shift = self.origin[0] + s * self.origin[1] - middle;
        let rate = self.rate[0] + s * self.rate[1];
        let (lane, wide) = (P::count().sub(P::splat(7.5)), P::splat(rate as f32));
        let out = &mut out[blocks.start * BLOCK..blocks.end * BLOCK];
        let mut shift = shift;
        let count = blocks.len();
        let (bases, taps) = (&numbers.base[..count], &numbers.taps[..count]);
        let (ats, steps, bends) =
            (&numbers.at[..count], &numbers.step[..count], &numbers.bend[..count]);
        for (b, out) in out.chunks_exact_mut(BLOCK).take(count).enumerate() {
            let base = bases[b];
            let (row, first) = ((base >> 4) + 1, base & 15);
            let Some(anchor) = self.anchors.get(row as usize) else { continue };
            let table = &self.table[row as usize * ENTRIES + first as usize..][..WINDOW];
            let values = &self.values[(base + PAD as i32) as usize..][..WINDOW];
            let about = P::splat((shift + rate * anchor) as f32);
            let window = Window {
                values: [P::load(values), P::load(&values[BLOCK..])],
                places: [
                    P::load(table).madd(wide, about),
                    P::load(&table[BLOCK..]).madd(wide, about),
                ],
                lane,
                at: {
                    let run = P::splat(1.0).div(lane.madd(P::splat(bends[b]), P::splat(1.0)));
                    let step = lane.mul(P::splat(steps[b]));
                    step.madd(run, P::splat(ats[b])).floor()
                },
            };
            let sum = P::load(out);
            let sum = match taps[b] {
                ..=2 => window.sum::<2>(sum),
                3 => window.sum::<3>(sum),
                _ => window.sum::<4>(sum),
            };
            sum.store(out);
            shift -= BLOCK as f64;
        }
    }

    /// The numbers of some blocks from one with the given middle on.
    #[inline(always)]
    fn number<P: Pack<Item = f32>>(&self, s: f64, middle: f64, count: usize, to: &mut Numbers) {
        let [n, d] = self.number.map(|c| c[0] + s * c[1] - c[2]);
        let [by_n, by_d] = self.number.map(|c| c[2]);
        let most = self.rays as f64;
        let half = (BLOCK - 1) as f64 / 2.0;
        let (bases, taps) = (&mut to.base[..count], &mut to.taps[..count]);
        let (ats, steps, bends) =
            (&mut to.at[..count], &mut to.step[..count], &mut to.bend[..count]);
        for b in 0..count {
            let j = middle + (b * BLOCK) as f64;
            let inverse = 1.0 / (d + j * by_d);
            let at = (n + j * by_n) * inverse;
            let step = (by_n - at * by_d) * inverse;
            let bend = by_d * inverse;
            let first = at - half * step / (1.0 - half * bend);
            // mu(j + 2) - mu(j) = 2 kappa / ((1 + r l) (1 + r (l + 2))) is greatest at an end.
            let least = 1.0 - half * bend.abs();
            let within = 2.0 * step / (least * (least + 2.0 * bend)) + 2.0 * SLACK;
            let base = ((first - 2.0 * SLACK).floor() + 1.0).max(-(PAD as f64)).min(most);
            bases[b] = integer(base);
            taps[b] = integer(within.ceil());
            ats[b] = (at - base - SLACK + 1.0) as f32;
            steps[b] = step as f32;
            bends[b] = bend as f32;
        }
    }
}

/// Thirty-two rays and sixteen voxels.
struct Window<P> {
    values: [P; 2],
    places: [P; 2],
    lane: P,
    at: P,
}

impl<P: Pack<Item = f32>> Window<P> {
    #[inline(always)]
    fn sum<const TAPS: u8>(&self, mut sum: P) -> P {
        for tap in 0..TAPS {
            let place = P::pick_one(self.places[0], self.places[1], self.at, tap);
            let value = P::pick_one(self.values[0], self.values[1], self.at, tap);
            sum = place.sub(self.lane).hat().madd(value, sum);
        }
        sum
    }
}
