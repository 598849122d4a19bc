//! All rays of all views: the sum along each, and the transpose slab by slab.
//!
//! The transpose has one pass a main axis. A pass cuts the volume into slabs of slices
//! across that axis; a task owns a slab, goes through all rays of that main axis in the
//! order of the projections and adds what each leaves in the slab to a buffer of its
//! own, which is then added to the volume. Buffers in flight take at most
//! [`BUFFER_BYTES`].
//!
//! Validated by `threads_change_no_bit` and `transposes` below.

use super::footprint::{Footprint, Joseph, Siddon, Slab, TAPS};
use super::line::{ACROSS, Beam, Grid, Line, Panel, Rays, View};
use super::{Projector, Real, separable, trilinear};
use crate::lanes::{Task, at_level};
use crate::simd::{self, madd};
use rayon::prelude::*;
use std::marker::PhantomData;

/// Most bytes of all buffers of the transpose.
const BUFFER_BYTES: usize = 32 << 20;
/// Most bytes of one of them.
const SLAB_BYTES: usize = 4 << 20;
/// Most slices of a slab.
const SLAB_SLICES: usize = 32;
/// Rays of a task of the sum.
const TASK_RAYS: usize = 256;
/// Rays that the transpose prepares at once.
const CHUNK_RAYS: usize = 1 << 18;

/// Whether all rays run in the middle plane of a grid of one voxel along z.
fn is_flat(grid: &Grid, panel: Panel, views: &[View]) -> bool {
    let in_plane = |view: &View| {
        let (Beam::Parallel(p) | Beam::Source(p)) = view.beam;
        p[2] == 0.0 && view.detector[2] == 0.0 && view.u[2] == 0.0
    };
    grid.shape[2] == 1 && panel.nv == 1 && views.iter().all(in_plane)
}

/// Projections of a volume: $y = Ax$.
///
/// # Shapes
/// `volume` `[z, y, x]`, `out` `[view, v, u]`. Rays in the middle plane of a grid of one
/// voxel along z have a loop of their own.
///
/// # Panics
/// When a slice has another length than its shape says.
pub fn forward<T: Real>(
    projector: Projector,
    grid: &Grid,
    panel: Panel,
    views: &[View],
    volume: &[T],
    out: &mut [T],
) {
    assert!(volume.len() == grid.len() && out.len() == views.len() * panel.nu * panel.nv);
    if volume.is_empty() || out.is_empty() {
        return;
    }
    match (projector, is_flat(grid, panel, views)) {
        (Projector::Trilinear, _) => {
            let (scene, views) = trilinear::covering(grid, panel, views);
            trilinear::forward(&scene, &views, volume, out);
        }
        (Projector::SeparableFootprint, flat) => {
            separable::forward(grid, panel, views, flat, volume, out);
        }
        (Projector::Joseph, true) => sums::<T, Joseph, true>(grid, panel, views, volume, out),
        (Projector::Joseph, false) => sums::<T, Joseph, false>(grid, panel, views, volume, out),
        (Projector::Siddon, true) => sums::<T, Siddon, true>(grid, panel, views, volume, out),
        (Projector::Siddon, false) => sums::<T, Siddon, false>(grid, panel, views, volume, out),
    }
}

fn rays_of<F: Footprint>(views: &[View], panel: Panel, grid: &Grid) -> Vec<Rays> {
    views.iter().map(|view| Rays::new(view, panel, grid, F::MARGIN)).collect()
}

fn sums<T: Real, F: Footprint, const FLAT: bool>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    volume: &[T],
    out: &mut [T],
) {
    let rays = rays_of::<F>(views, panel, grid);
    let strides = grid.strides();
    let slabs: [Slab; 3] = std::array::from_fn(|main| {
        let [a, b] = ACROSS[main];
        Slab {
            begin: 0,
            end: grid.shape[main],
            across: [grid.shape[a], grid.shape[b]],
            step: strides[main],
            steps: [strides[a], strides[b]],
        }
    });
    let level = simd::level();
    out.par_chunks_mut(TASK_RAYS).enumerate().for_each(|(task, out)| {
        let first = task * TASK_RAYS;
        let sum = Sum::<T, F, FLAT> {
            rays: &rays,
            panel,
            slabs: &slabs,
            volume,
            first,
            out,
            rule: PhantomData,
        };
        at_level(level, sum);
    });
}

/// The sums along some neighbouring rays.
struct Sum<'a, T, F, const FLAT: bool> {
    rays: &'a [Rays],
    panel: Panel,
    slabs: &'a [Slab; 3],
    volume: &'a [T],
    first: usize,
    out: &'a mut [T],
    rule: PhantomData<F>,
}

impl<T: Real, F: Footprint, const FLAT: bool> Task for Sum<'_, T, F, FLAT> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let pixels = self.panel.nu * self.panel.nv;
        for (k, out) in self.out.iter_mut().enumerate() {
            let (view, pixel) = ((self.first + k) / pixels, (self.first + k) % pixels);
            let line = self.rays[view].line(pixel % self.panel.nu, pixel / self.panel.nu);
            // One chain of additions for each voxel of a slice: none waits for another.
            let mut sums = [0.0; TAPS];
            F::walk::<FLAT>(&line, &self.slabs[line.main], |k, j, w| {
                sums[k] = madd::<FMA>(w, self.volume[j].wide(), sums[k]);
            });
            *out = T::narrow((sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    }
}

/// Adds the transpose of [`forward`] to a volume: $x \mathrel{+}= A^Ty$.
///
/// # Shapes
/// As for [`forward`].
///
/// # Panics
/// When a slice has another length than its shape says.
pub fn adjoint<T: Real>(
    projector: Projector,
    grid: &Grid,
    panel: Panel,
    views: &[View],
    projections: &[T],
    volume: &mut [T],
) {
    assert!(volume.len() == grid.len() && projections.len() == views.len() * panel.nu * panel.nv);
    if volume.is_empty() || projections.is_empty() {
        return;
    }
    match (projector, is_flat(grid, panel, views)) {
        (Projector::Trilinear, _) => {
            let (scene, views) = trilinear::covering(grid, panel, views);
            trilinear::adjoint(&scene, &views, projections, volume);
        }
        (Projector::SeparableFootprint, flat) => {
            separable::adjoint(grid, panel, views, flat, projections, volume);
        }
        (Projector::Joseph, true) => {
            spread::<T, Joseph, true>(grid, panel, views, projections, volume)
        }
        (Projector::Joseph, false) => {
            spread::<T, Joseph, false>(grid, panel, views, projections, volume)
        }
        (Projector::Siddon, true) => {
            spread::<T, Siddon, true>(grid, panel, views, projections, volume)
        }
        (Projector::Siddon, false) => {
            spread::<T, Siddon, false>(grid, panel, views, projections, volume)
        }
    }
}

fn spread<T: Real, F: Footprint, const FLAT: bool>(
    grid: &Grid,
    panel: Panel,
    views: &[View],
    projections: &[T],
    volume: &mut [T],
) {
    let rays = rays_of::<F>(views, panel, grid);
    let pixels = panel.nu * panel.nv;
    let level = simd::level();
    for (main, [a, b]) in ACROSS.into_iter().enumerate() {
        let chosen: Vec<bool> = rays.iter().map(|r| r.may_have(main, panel)).collect();
        if !chosen.contains(&true) {
            continue;
        }
        let across = [grid.shape[a], grid.shape[b]];
        let plane = across[0] * across[1];
        let bytes = plane * size_of::<T>();
        let thick = (SLAB_BYTES / bytes).clamp(1, SLAB_SLICES);
        let begins: Vec<usize> = (0..grid.shape[main]).step_by(thick).collect();
        for batch in begins.chunks((BUFFER_BYTES / (thick * bytes)).max(1)) {
            let mut slabs: Vec<(Slab, Vec<T>)> = batch
                .iter()
                .map(|&begin| {
                    let end = (begin + thick).min(grid.shape[main]);
                    let slab = Slab { begin, end, across, step: plane, steps: [1, across[0]] };
                    (slab, vec![T::default(); (end - begin) * plane])
                })
                .collect();
            let mut lines = Vec::new();
            for first in (0..projections.len()).step_by(CHUNK_RAYS) {
                let past = (first + CHUNK_RAYS).min(projections.len());
                let line = |ray: usize| {
                    let (view, pixel) = (ray / pixels, ray % pixels);
                    chosen[view].then(|| rays[view].line(pixel % panel.nu, pixel / panel.nu))
                };
                // A ray of another main axis, or that meets nothing, has no slices.
                let empty = Line::empty();
                let wanted = |l: &Line| l.main == main;
                (first..past)
                    .into_par_iter()
                    .map(|ray| line(ray).filter(wanted).unwrap_or(empty))
                    .collect_into_vec(&mut lines);
                let values = &projections[first..past];
                slabs.par_iter_mut().for_each(|(slab, buffer)| {
                    let slab = *slab;
                    let lines = &lines;
                    at_level(
                        level,
                        Spread::<T, F, FLAT> { lines, values, slab, buffer, rule: PhantomData },
                    );
                });
            }
            let buffers: Vec<Vec<T>> = slabs.into_iter().map(|s| s.1).collect();
            add(grid, main, batch[0], thick, &buffers, volume);
        }
    }
}

/// What some rays leave in a slab.
struct Spread<'a, T, F, const FLAT: bool> {
    lines: &'a [Line],
    values: &'a [T],
    slab: Slab,
    buffer: &'a mut [T],
    rule: PhantomData<F>,
}

impl<T: Real, F: Footprint, const FLAT: bool> Task for Spread<'_, T, F, FLAT> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (line, value) in self.lines.iter().zip(self.values) {
            let value = value.wide();
            F::walk::<FLAT>(line, &self.slab, |_, j, w| {
                self.buffer[j] = T::narrow(madd::<FMA>(w, value, self.buffer[j].wide()));
            });
        }
    }
}

/// Adds buffers `[slice][b][a]` of neighbouring slabs to the volume.
fn add<T: Real>(
    grid: &Grid,
    main: usize,
    begin: usize,
    thick: usize,
    buffers: &[Vec<T>],
    volume: &mut [T],
) {
    let [nx, ny, _] = grid.shape;
    let [a, b] = ACROSS[main];
    let across = [grid.shape[a], grid.shape[b]];
    let slices: usize = buffers.iter().map(Vec::len).sum::<usize>() / (across[0] * across[1]);
    let value = |s: usize, ia: usize, ib: usize| {
        buffers[s / thick][((s % thick) * across[1] + ib) * across[0] + ia].wide()
    };
    let plus = |v: &mut T, w: f64| *v = T::narrow(v.wide() + w);
    volume.par_chunks_mut(nx * ny).enumerate().for_each(|(z, plane)| match main {
        0 => {
            for (y, row) in plane.chunks_exact_mut(nx).enumerate() {
                for (s, v) in row[begin..begin + slices].iter_mut().enumerate() {
                    plus(v, value(s, y, z));
                }
            }
        }
        1 => {
            for (s, row) in plane.chunks_exact_mut(nx).skip(begin).take(slices).enumerate() {
                for (x, v) in row.iter_mut().enumerate() {
                    plus(v, value(s, x, z));
                }
            }
        }
        _ => {
            if (begin..begin + slices).contains(&z) {
                for (k, v) in plane.iter_mut().enumerate() {
                    plus(v, value(z - begin, k % nx, k / nx));
                }
            }
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { shape: [21, 37, 18], voxel: [1.0, 0.8, 1.2] };
    const PANEL: Panel = Panel::flat(23, 19);

    fn views() -> Vec<View> {
        (0..9)
            .map(|i| {
                let (s, c) = (0.7 * f64::from(i)).sin_cos();
                let (st, ct) = (0.9 * f64::from(i) - 1.0).sin_cos();
                let d = [c * ct, s * ct, st];
                let far = |k: f64| [d[0] * k, d[1] * k, d[2] * k];
                View {
                    beam: if i % 3 == 0 {
                        Beam::Parallel(d)
                    } else {
                        Beam::Source(far(if i % 3 == 1 { -60.0 } else { -4.0 }))
                    },
                    detector: far(30.0),
                    u: [-1.4 * s, 1.4 * c, 0.0],
                    v: [-1.3 * c * st, -1.3 * s * st, 1.3 * ct],
                }
            })
            .collect()
    }

    fn value(i: usize) -> f64 {
        ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0
    }

    fn apply<T: Real>(projector: Projector) -> (Vec<T>, Vec<T>) {
        let x: Vec<T> = (0..GRID.len()).map(|i| T::narrow(value(i))).collect();
        let y: Vec<T> = (0..9 * 23 * 19).map(|i| T::narrow(value(7 * i + 3))).collect();
        let (mut ax, mut aty) = (vec![T::default(); y.len()], vec![T::default(); x.len()]);
        forward(projector, &GRID, PANEL, &views(), &x, &mut ax);
        adjoint(projector, &GRID, PANEL, &views(), &y, &mut aty);
        (ax, aty)
    }

    fn dot<T: Real>(a: &[T], b: impl Fn(usize) -> f64) -> f64 {
        a.iter().enumerate().map(|(i, v)| v.wide() * T::narrow(b(i)).wide()).sum()
    }

    fn gap<T: Real>(projector: Projector) -> f64 {
        let (ax, aty) = apply::<T>(projector);
        let (left, right) = (dot(&ax, |i| value(7 * i + 3)), dot(&aty, value));
        let norm = ax.iter().map(|v| v.wide().powi(2)).sum::<f64>().sqrt();
        let y = (0..ax.len()).map(|i| value(7 * i + 3).powi(2)).sum::<f64>().sqrt();
        (left - right).abs() / (norm * y)
    }

    /// A slice between empty ones: rays that leave its plane weigh what they weigh there.
    #[test]
    fn a_slice_is_a_volume() {
        let (slice, row) = (Grid { shape: [21, 37, 1], ..GRID }, Panel::flat(23, 1));
        let padded = Grid { shape: [21, 37, 3], ..GRID };
        let x: Vec<f64> = (0..slice.len()).map(value).collect();
        let mut whole = vec![0.0; padded.len()];
        whole[slice.len()..2 * slice.len()].copy_from_slice(&x);
        let mut in_plane = views();
        in_plane.iter_mut().for_each(|v| {
            (v.detector[2], v.u[2]) = (0.0, 0.0);
            v.beam = match v.beam {
                Beam::Parallel([a, b, _]) => Beam::Parallel([a, b, 0.0]),
                Beam::Source([a, b, _]) => Beam::Source([a, b, 0.0]),
            };
        });
        for views in [views(), in_plane] {
            for projector in Projector::ALL {
                let (mut a, mut b) = (vec![0.0; 9 * 23], vec![0.0; 9 * 23]);
                forward(projector, &slice, row, &views, &x, &mut a);
                forward(projector, &padded, row, &views, &whole, &mut b);
                assert!(a.iter().any(|v| *v != 0.0));
                for (a, b) in a.iter().zip(&b) {
                    assert!((a - b).abs() < 1e-11, "{projector:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn transposes() {
        for projector in Projector::ALL {
            assert!(gap::<f64>(projector) < 1e-14, "{}", gap::<f64>(projector));
            assert!(gap::<f32>(projector) < 1e-7, "{}", gap::<f32>(projector));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for projector in Projector::ALL {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| apply::<f32>(projector))
            };
            let one = with(1);
            assert!(one == with(2) && one == with(5));
        }
    }
}
