//! A plane: x is innermost, $u = (u_0 + u_1x)/(w_0 + w_1x)$ along a row.
//!
//! Validated by `equals_the_definition` in `mod.rs`.

use super::matrix::NEAR;
use super::pack::{LANES_MAX, Pack};
use super::{Job, Loop, at_level};
use crate::ray::Real;
use rayon::prelude::*;

/// Zeros before and after a line of pixels.
const MARGIN: usize = 2 * LANES_MAX + 2;
/// Most views of a chunk: their lines stay in the second cache.
const VIEWS: usize = 64;
/// Rounding may move a place below the first entry of its table by less than this.
const SLACK: f64 = 1.0 / 1024.0;

pub(super) fn backproject<T: Real>(job: Job<'_, T>, parallel: bool, volume: &mut [T]) {
    let [nx, nu] = [job.grid.shape[0], job.panel.nu];
    let length = nu + 2 * MARGIN;
    for chunk in job.chunks(length * size_of::<T>(), VIEWS) {
        let mut lines = vec![T::default(); length * chunk.matrices.len()];
        let weight = |k: usize| chunk.weights.view[k] * chunk.weights.slice.map_or(1.0, |s| s[k]);
        for (k, line) in lines.chunks_exact_mut(length).enumerate() {
            for (to, from) in
                line[MARGIN..].iter_mut().zip(&chunk.projections[k * nu..(k + 1) * nu])
            {
                *to = T::narrow(from.wide() * weight(k));
            }
        }
        volume.par_chunks_mut(nx).enumerate().for_each(|(y, row)| {
            let (job, lines) = (&chunk, &lines[..]);
            if parallel {
                at_level(job.level, Row::<T, true> { job, lines, y, row });
            } else {
                at_level(job.level, Row::<T, false> { job, lines, y, row });
            }
        });
    }
}

/// One row of voxels; `PARALLEL` when all depths are 1.
struct Row<'a, T, const PARALLEL: bool> {
    job: &'a Job<'a, T>,
    lines: &'a [T],
    y: usize,
    row: &'a mut [T],
}

impl<T: Real, const PARALLEL: bool> Loop<T> for Row<'_, T, PARALLEL> {
    #[inline(always)]
    fn run<P: Pack<Item = T>>(self) {
        let y = self.y as f64;
        let nu = self.job.panel.nu as f64;
        let length = self.job.panel.nu + 2 * MARGIN;
        // u and depth at x = 0 and their steps.
        let entries: Vec<[f64; 4]> = self
            .job
            .matrices
            .iter()
            .map(|m| [m.u[1] * y + m.u[3], m.u[0], m.w[1] * y + m.w[3], m.w[0]])
            .collect();
        let lanes = P::LANES;
        let (count, one) = (P::count(), P::splat(T::narrow(1.0)));
        let last = (lanes - 1) as f64;
        for (block, to) in self.row.chunks_mut(lanes).enumerate() {
            let x = (block * lanes) as f64;
            let mut sum = P::splat(T::default());
            for (k, [u0, u1, w0, w1]) in entries.iter().enumerate() {
                let line = &self.lines[k * length..(k + 1) * length];
                let (u, w) = (u0 + u1 * x, w0 + w1 * x);
                let (first, end) = if PARALLEL {
                    (u, u + u1 * last)
                } else {
                    let far = w + w1 * last;
                    if w.min(far) <= NEAR {
                        sum = sum.add(near_source::<T, P>(line, nu, [u, *u1, w, *w1]));
                        continue;
                    }
                    (u / w, (u + u1 * last) / far)
                };
                let (low, high) = (first.min(end) - SLACK, first.max(end));
                if high <= -1.0 || low >= nu {
                    continue;
                }
                let base = low.floor();
                if high - base >= (2 * lanes - 1) as f64 {
                    sum = sum.add(near_source::<T, P>(line, nu, [u, *u1, w, *w1]));
                    continue;
                }
                let at = (base + MARGIN as f64) as usize;
                let table = &line[at..at + 2 * lanes];
                let (place, weight) = if PARALLEL {
                    (count.madd(P::splat(T::narrow(*u1)), P::splat(T::narrow(u - base))), one)
                } else {
                    let near =
                        one.div(count.madd(P::splat(T::narrow(*w1)), P::splat(T::narrow(w))));
                    let place = count.madd(
                        P::splat(T::narrow(u1 - base * w1)),
                        P::splat(T::narrow(u - base * w)),
                    );
                    (place.mul(near), near.mul(near))
                };
                let whole = place.floor();
                let (p, q) = P::pick(P::load(table), P::load(&table[lanes..]), whole);
                let found = place.sub(whole).madd(q.sub(p), p);
                sum = if PARALLEL { sum.add(found) } else { found.madd(weight, sum) };
            }
            let mut values = [T::default(); LANES_MAX];
            sum.store(&mut values);
            for (to, value) in to.iter_mut().zip(values) {
                *to = T::narrow(to.wide() + value.wide());
            }
        }
    }
}

/// Voxels one by one: beside the source, or too far apart on the detector for a table.
#[inline(always)]
fn near_source<T: Real, P: Pack<Item = T>>(line: &[T], nu: f64, [u0, u1, w0, w1]: [f64; 4]) -> P {
    let mut values = [T::default(); LANES_MAX];
    for (k, value) in values[..P::LANES].iter_mut().enumerate() {
        let (u, w) = (u0 + u1 * k as f64, w0 + w1 * k as f64);
        let place = u / w;
        if w > NEAR && place > -1.0 && place < nu {
            let (at, share) = ((place + MARGIN as f64) as usize, place - place.floor());
            let (p, q) = (line[at].wide(), line[at + 1].wide());
            *value = T::narrow((p + share * (q - p)) / (w * w));
        }
    }
    P::load(&values)
}
