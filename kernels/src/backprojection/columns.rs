//! Views whose u and depth are the same along a column of voxels: z is innermost.
//!
//! With the detector transposed, a column of voxels sees two neighbouring lines of pixels,
//! whose mixture is the same all along, at $v = v_0 + v_1 z$: for a stretch of voxels two
//! loads of each line, one mixture, and two picks from it.
//!
//! Validated by `equals_the_definition` in `mod.rs`.

use super::matrix::{Matrix, NEAR};
use super::pack::{LANES_MAX, Pack};
use super::{CHUNK_VIEWS, Job, Loop, at_level};
use crate::ray::Real;
use rayon::prelude::*;

/// Zeros before and after a line: a stretch that meets a pixel at one end reads no further.
const MARGIN: usize = 2 * LANES_MAX + 2;
/// Columns whose entries are prepared at once.
const TILE: usize = 32;
/// Rows of columns of a task.
const THICK: usize = 8;
/// Rounding may move a place below the first entry of its table by less than this.
const SLACK: f64 = 1.0 / 1024.0;

/// What a column of voxels sees of a view.
#[derive(Clone, Copy, Default)]
struct Entry<T> {
    /// Begin of the first of two lines.
    line: u32,
    view: u32,
    /// Weights of the two lines.
    near: T,
    far: T,
    /// The least place in the line that the stretch from voxel 0 on meets, and the step of
    /// a voxel.
    low: f64,
    slope: f64,
}

/// Transposed detectors, `[view, u, v]`, with margins of zeros.
struct Lines<T> {
    values: Vec<T>,
    /// Length of a line.
    height: usize,
    /// Length of a view.
    size: usize,
}

fn transposed<T: Real>(job: &Job<'_, T>) -> Lines<T> {
    const BLOCK: usize = 16;
    let [nu, nv] = [job.panel.nu, job.panel.nv];
    let height = nv + 2 * MARGIN;
    let size = (nu + 2) * height;
    let mut values = vec![T::default(); size * job.matrices.len()];
    values.par_chunks_mut(size).enumerate().for_each(|(k, to)| {
        let from = &job.projections[k * nu * nv..(k + 1) * nu * nv];
        let scale = job.weights.view[k];
        for v0 in (0..nv).step_by(BLOCK) {
            for u0 in (0..nu).step_by(BLOCK) {
                for u in u0..(u0 + BLOCK).min(nu) {
                    let line = &mut to[(u + 1) * height + MARGIN..][..nv];
                    for v in v0..(v0 + BLOCK).min(nv) {
                        line[v] = T::narrow(from[v * nu + u].wide() * scale);
                    }
                }
            }
        }
    });
    Lines { values, height, size }
}

pub(super) fn backproject<T: Real>(job: Job<'_, T>, volume: &mut [T]) {
    let [nx, ny, nz] = job.grid.shape;
    let bytes = (job.panel.nu + 2) * (job.panel.nv + 2 * MARGIN) * size_of::<T>();
    for chunk in job.chunks(bytes, CHUNK_VIEWS) {
        let lines = transposed(&chunk);
        // The rows of voxels of equal y, one a slice.
        let mut rows: Vec<Vec<&mut [T]>> = (0..ny).map(|_| Vec::with_capacity(nz)).collect();
        for (i, row) in volume.chunks_exact_mut(nx).enumerate() {
            rows[i % ny].push(row);
        }
        rows.par_chunks_mut(THICK).enumerate().for_each(|(wall, rows)| {
            let y = wall * THICK;
            at_level(job.level, Wall { job: &chunk, lines: &lines, y, rows });
        });
    }
}

/// All columns of voxels of some neighbouring y: what they see in common of the detectors
/// stays in the second cache.
struct Wall<'a, 'b, T> {
    job: &'a Job<'a, T>,
    lines: &'a Lines<T>,
    y: usize,
    rows: &'a mut [Vec<&'b mut [T]>],
}

impl<T: Real> Loop<T> for Wall<'_, '_, T> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(self) {
        let [nx, _, nz] = self.job.grid.shape;
        let views = self.job.matrices.len();
        let stretch = 2 * P::LANES;
        let depth = nz.next_multiple_of(stretch);
        let (thick, sliced) = (self.rows.len(), self.job.weights.slice.is_some());
        let mut sums = vec![T::default(); TILE * depth];
        let mut entries = vec![Entry::default(); TILE * views];
        let mut slices = vec![T::default(); if sliced { depth } else { 0 } * views];
        if let Some(given) = self.job.weights.slice {
            for (to, from) in slices.chunks_exact_mut(depth).zip(given.chunks_exact(nz)) {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = T::narrow(*from);
                }
            }
        }
        for (x0, dy) in (0..nx).step_by(TILE).flat_map(|x0| (0..thick).map(move |dy| (x0, dy))) {
            let width = TILE.min(nx - x0);
            let y = (self.y + dy) as f64;
            let mut counts = [0; TILE];
            for (k, matrix) in self.job.matrices.iter().enumerate() {
                fill::<P>(
                    self.job,
                    self.lines,
                    k,
                    matrix,
                    [x0 as f64, y],
                    width,
                    &mut counts,
                    &mut entries,
                );
            }
            for z0 in (0..nz).step_by(stretch) {
                for c in 0..width {
                    let entries = &entries[c * views..c * views + counts[c]];
                    let to = &mut sums[c * depth + z0..][..stretch];
                    if sliced {
                        sum::<P, true>(self.job, self.lines, entries, z0, &slices, depth, to);
                    } else {
                        sum::<P, false>(self.job, self.lines, entries, z0, &slices, depth, to);
                    }
                }
            }
            for (z, row) in self.rows[dy].iter_mut().enumerate() {
                for (c, v) in row[x0..x0 + width].iter_mut().enumerate() {
                    *v = T::narrow(v.wide() + sums[c * depth + z].wide());
                }
            }
        }
    }
}

/// What neighbouring columns see of a view.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn fill<P: Pack>(
    job: &Job<'_, P::Item>,
    lines: &Lines<P::Item>,
    view: usize,
    m: &Matrix,
    [x0, y]: [f64; 2],
    width: usize,
    counts: &mut [usize; TILE],
    entries: &mut [Entry<P::Item>],
) {
    let views = job.matrices.len();
    let (nu, height) = (job.panel.nu, lines.height);
    let (u0, v0, w0) = (m.u[1] * y + m.u[3], m.v[1] * y + m.v[3], m.w[1] * y + m.w[3]);
    let parallel = m.w[0] == 0.0 && m.w[1] == 0.0 && m.w[3] == 1.0;
    let [mut us, mut starts, mut inverses] = [[0.0; TILE]; 3];
    for c in 0..TILE {
        let x = x0 + c as f64;
        let (u, v, w) = (m.u[0] * x + u0, m.v[0] * x + v0, m.w[0] * x + w0);
        if m.arc.is_some() {
            let s = m.seen(u, v, w);
            us[c] = if s.depth > NEAR { s.u } else { -2.0 };
            inverses[c] = 1.0 / s.depth;
            starts[c] = s.v;
        } else {
            let inverse = 1.0 / w;
            us[c] = if w > NEAR { u * inverse } else { -2.0 };
            inverses[c] = inverse;
            starts[c] = v * inverse;
        }
    }
    for c in 0..width {
        let u = us[c];
        if !(u > -1.0 && u < nu as f64) {
            continue;
        }
        let whole = u.floor();
        let share = u - whole;
        let weight = if parallel { 1.0 } else { inverses[c] * inverses[c] };
        let slope = m.v[2] * inverses[c];
        // Downwards, the last voxel of a stretch has the least place.
        let turn = if slope < 0.0 { slope * (P::LANES - 1) as f64 } else { 0.0 };
        entries[c * views + counts[c]] = Entry {
            line: (view * lines.size + (whole + 1.0) as usize * height) as u32,
            view: view as u32,
            near: P::Item::narrow((1.0 - share) * weight),
            far: P::Item::narrow(share * weight),
            low: starts[c] + MARGIN as f64 + turn - SLACK,
            slope,
        };
        counts[c] += 1;
    }
}

/// A number below 2^31 as an integer, rounded to the nearest: the low bits after
/// 1.5 x 2^52 was added.
#[inline(always)]
fn integer(v: f64) -> i32 {
    (v + 6_755_399_441_055_744.0).to_bits() as i32
}

/// The sums of two stretches of a column.
#[inline(always)]
fn sum<P: Pack, const SLICES: bool>(
    job: &Job<'_, P::Item>,
    lines: &Lines<P::Item>,
    entries: &[Entry<P::Item>],
    z0: usize,
    slices: &[P::Item],
    depth: usize,
    to: &mut [P::Item],
) {
    let lanes = P::LANES;
    let height = lines.height;
    let (begin, end) = ((MARGIN - 1) as f64, (job.panel.nv + MARGIN) as f64);
    let count = P::count();
    let last = (lanes - 1) as f64;
    let mut sums = [P::splat(P::Item::default()); 2];
    for e in entries {
        let line = e.line as usize;
        let pair = &lines.values[line..line + 2 * height];
        let slope = P::splat(P::Item::narrow(e.slope));
        let (near, other) = (P::splat(e.near), P::splat(e.far));
        let length = e.slope.abs() * last + SLACK;
        let turn = if e.slope < 0.0 { length } else { SLACK };
        let wide = length >= (2 * lanes - 2) as f64;
        for (half, sum) in sums.iter_mut().enumerate() {
            let z = z0 + half * lanes;
            let low = e.low + e.slope * z as f64;
            if low + length <= begin || low >= end {
                continue;
            }
            let value = if !wide {
                let base = low.floor();
                let at = integer(base) as usize;
                let a = &pair[at..at + 2 * lanes];
                let b = &pair[height + at..height + at + 2 * lanes];
                let (a0, a1) = (P::load(a), P::load(&a[lanes..]));
                let (b0, b1) = (P::load(b), P::load(&b[lanes..]));
                let (t0, t1) = (b0.madd(other, a0.mul(near)), b1.madd(other, a1.mul(near)));
                let place = count.madd(slope, P::splat(P::Item::narrow(low - base + turn)));
                let whole = place.floor();
                let (p, q) = P::pick(t0, t1, whole);
                place.sub(whole).madd(q.sub(p), p)
            } else {
                let mut values = [P::Item::default(); LANES_MAX];
                for (k, value) in values[..lanes].iter_mut().enumerate() {
                    *value = steep(pair, height, e, low + turn + e.slope * k as f64);
                }
                P::load(&values)
            };
            *sum = if SLICES {
                value.madd(P::load(&slices[e.view as usize * depth + z..]), *sum)
            } else {
                sum.add(value)
            };
        }
    }
    sums[0].store(to);
    sums[1].store(&mut to[lanes..]);
}

/// One voxel, where neighbours are too far apart on the detector for a table.
#[inline(always)]
fn steep<T: Real>(pair: &[T], height: usize, e: &Entry<T>, place: f64) -> T {
    if !(place >= 0.0 && place < (height - 1) as f64) {
        return T::default();
    }
    let (at, share) = (place as usize, place - place.floor());
    let mut mixed = [0.0; 2];
    for (k, m) in mixed.iter_mut().enumerate() {
        *m = pair[at + k].wide() * e.near.wide() + pair[height + at + k].wide() * e.far.wide();
    }
    T::narrow(mixed[0] + share * (mixed[1] - mixed[0]))
}
