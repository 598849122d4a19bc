//! Views whose u and depth are the same along a column of voxels: z is innermost.
//!
//! With the detector transposed, a column of voxels sees two neighbouring lines of pixels,
//! whose mixture is the same all along, at $v = v_0 + v_1 z$: for a stretch of voxels two
//! loads of each line, one mixture, and two picks from it.
//!
//! Validated by `equals_the_definition` in `mod.rs`.

use super::matrix::{Matrix, NEAR};
use super::pack::{LANES_MAX, Pack};
use super::{CHUNK_VIEWS, Job, Loop, Sample, at_level};
use rayon::prelude::*;

/// Zeros before and after a line: a stretch that meets a pixel at one end reads no further.
const MARGIN: usize = 2 * LANES_MAX + 2;
/// Columns whose entries are prepared at once.
const TILE: usize = 32;
/// Rounding may move a place below the first entry of its table by less than this.
const SLACK: f64 = 1.0 / 1024.0;

/// What a column of voxels sees of a view.
#[derive(Clone, Copy, Default)]
struct Entry<T> {
    /// Begin of the nearer of two lines.
    line: usize,
    view: usize,
    /// Weights of the two lines.
    near: T,
    far: T,
    /// Place in the line of voxel 0, and step.
    start: f64,
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

fn transposed<T: Sample>(job: &Job<'_, T>) -> Lines<T> {
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

pub(super) fn backproject<T: Sample>(job: Job<'_, T>, volume: &mut [T]) {
    let [nx, ny, nz] = job.grid.shape;
    let bytes = (job.panel.nu + 2) * (job.panel.nv + 2 * MARGIN) * size_of::<T>();
    for chunk in job.chunks(bytes, CHUNK_VIEWS) {
        let lines = transposed(&chunk);
        // The rows of voxels of equal y, one a slice.
        let mut rows: Vec<Vec<&mut [T]>> = (0..ny).map(|_| Vec::with_capacity(nz)).collect();
        for (i, row) in volume.chunks_exact_mut(nx).enumerate() {
            rows[i % ny].push(row);
        }
        rows.par_iter_mut().enumerate().for_each(|(y, rows)| {
            at_level(job.level, Wall { job: &chunk, lines: &lines, y, rows });
        });
    }
}

/// All columns of voxels of one y.
struct Wall<'a, 'b, T> {
    job: &'a Job<'a, T>,
    lines: &'a Lines<T>,
    y: usize,
    rows: &'a mut [&'b mut [T]],
}

impl<T: Sample> Loop<T> for Wall<'_, '_, T> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(self) {
        let [nx, _, nz] = self.job.grid.shape;
        let views = self.job.matrices.len();
        let stretch = 2 * P::LANES;
        let depth = nz.next_multiple_of(stretch);
        let mut sums = vec![T::default(); TILE * depth];
        let mut entries = vec![Entry::default(); TILE * views];
        let mut slices =
            vec![T::default(); if self.job.weights.slice.is_some() { depth } else { 0 } * views];
        if let Some(given) = self.job.weights.slice {
            for (to, from) in slices.chunks_exact_mut(depth).zip(given.chunks_exact(nz)) {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = T::narrow(*from);
                }
            }
        }
        for x0 in (0..nx).step_by(TILE) {
            let width = TILE.min(nx - x0);
            let mut counts = [0; TILE];
            for (k, matrix) in self.job.matrices.iter().enumerate() {
                self.fill(k, matrix, x0, width, &mut counts, &mut entries);
            }
            for z0 in (0..nz).step_by(stretch) {
                for c in 0..width {
                    let entries = &entries[c * views..c * views + counts[c]];
                    let to = &mut sums[c * depth + z0..][..stretch];
                    if self.job.weights.slice.is_some() {
                        self.sum::<P, true>(entries, z0, &slices, depth, to);
                    } else {
                        self.sum::<P, false>(entries, z0, &slices, depth, to);
                    }
                }
            }
            for (z, row) in self.rows.iter_mut().enumerate() {
                for (c, v) in row[x0..x0 + width].iter_mut().enumerate() {
                    *v = T::narrow(v.wide() + sums[c * depth + z].wide());
                }
            }
        }
    }
}

impl<T: Sample> Wall<'_, '_, T> {
    /// What neighbouring columns see of a view.
    #[inline(always)]
    fn fill(
        &self,
        view: usize,
        m: &Matrix,
        x0: usize,
        width: usize,
        counts: &mut [usize; TILE],
        entries: &mut [Entry<T>],
    ) {
        let views = self.job.matrices.len();
        let y = self.y as f64;
        let (nu, height) = (self.job.panel.nu, self.lines.height);
        let fixed = |r: &[f64; 4]| r[1] * y + r[3];
        let (u0, v0, w0) = (fixed(&m.u), fixed(&m.v), fixed(&m.w));
        let parallel = m.w[0] == 0.0 && m.w[1] == 0.0 && m.w[3] == 1.0;
        let mut seen = [[0.0; TILE]; 4];
        let [us, starts, slopes, weights] = &mut seen;
        if m.arc.is_none() {
            for c in 0..TILE {
                let x = (x0 + c) as f64;
                let w = m.w[0] * x + w0;
                let inverse = 1.0 / w;
                us[c] = if w > NEAR { (m.u[0] * x + u0) * inverse } else { -2.0 };
                starts[c] = (m.v[0] * x + v0) * inverse + MARGIN as f64;
                slopes[c] = m.v[2] * inverse;
                weights[c] = inverse * inverse;
            }
        } else {
            for c in 0..width {
                let x = (x0 + c) as f64;
                let s = m.seen(m.u[0] * x + u0, m.v[0] * x + v0, m.w[0] * x + w0);
                let inverse = 1.0 / s.depth;
                us[c] = if s.depth > NEAR { s.u } else { -2.0 };
                starts[c] = s.v + MARGIN as f64;
                slopes[c] = m.v[2] * inverse;
                weights[c] = inverse * inverse;
            }
        }
        for c in 0..width {
            let u = us[c];
            if !(u > -1.0 && u < nu as f64) {
                continue;
            }
            let whole = u.floor();
            let share = u - whole;
            let weight = if parallel { 1.0 } else { weights[c] };
            let line = view * self.lines.size + (whole + 1.0) as usize * height;
            entries[c * views + counts[c]] = Entry {
                line,
                view,
                near: T::narrow((1.0 - share) * weight),
                far: T::narrow(share * weight),
                start: starts[c],
                slope: slopes[c],
            };
            counts[c] += 1;
        }
    }

    /// The sums of two stretches of a column.
    #[inline(always)]
    fn sum<P: Pack<Item = T>, const SLICES: bool>(
        &self,
        entries: &[Entry<T>],
        z0: usize,
        slices: &[T],
        depth: usize,
        to: &mut [T],
    ) {
        let lanes = P::LANES;
        let height = self.lines.height;
        let far = (self.job.panel.nv + MARGIN) as f64;
        let count = P::count();
        let mut sums = [P::splat(T::default()); 2];
        for e in entries {
            let pair = &self.lines.values[e.line..e.line + 2 * height];
            let slope = P::splat(T::narrow(e.slope));
            let (near, other) = (P::splat(e.near), P::splat(e.far));
            let length = e.slope * (lanes - 1) as f64;
            for (half, sum) in sums.iter_mut().enumerate() {
                let z = z0 + half * lanes;
                let first = e.start + e.slope * z as f64;
                let low = first.min(first + length) - SLACK;
                let high = first.max(first + length);
                if high <= (MARGIN - 1) as f64 || low >= far {
                    continue;
                }
                let base = low.floor();
                let value = if high - base < (2 * lanes - 1) as f64 {
                    let at = base as usize;
                    let (a, b) =
                        (&pair[at..at + 2 * lanes], &pair[height + at..height + at + 2 * lanes]);
                    let table = |k: usize| P::load(&b[k..]).madd(other, P::load(&a[k..]).mul(near));
                    let (low, high) = (table(0), table(lanes));
                    let place = count.madd(slope, P::splat(T::narrow(first - base)));
                    let whole = place.floor();
                    let (p, q) = P::pick(low, high, whole);
                    place.sub(whole).madd(q.sub(p), p)
                } else {
                    let mut values = [T::default(); LANES_MAX];
                    for (k, value) in values[..lanes].iter_mut().enumerate() {
                        *value = steep(pair, height, e, (z + k) as f64);
                    }
                    P::load(&values)
                };
                *sum = if SLICES {
                    value.madd(P::load(&slices[e.view * depth + z..]), *sum)
                } else {
                    sum.add(value)
                };
            }
        }
        sums[0].store(to);
        sums[1].store(&mut to[lanes..]);
    }
}

/// One voxel, where neighbours are too far apart on the detector for a table.
#[inline(always)]
fn steep<T: Sample>(pair: &[T], height: usize, e: &Entry<T>, z: f64) -> T {
    let place = e.start + e.slope * z;
    if !(place >= 0.0 && place < (height - 1) as f64) {
        return T::default();
    }
    let (at, share) = (place as usize, place - place.floor());
    let mixed = |k: usize| {
        pair[at + k].wide() * e.near.wide() + pair[height + at + k].wide() * e.far.wide()
    };
    T::narrow(mixed(0) + share * (mixed(1) - mixed(0)))
}
