//! All rays of all views: the sum along each, and the transpose.
//!
//! Both have one pass a main axis. In space, where a line of pixels runs along an axis of the
//! grid, Joseph's rule is done for a register of rays or voxels at once (`sheet`). In a
//! plane it is done for eight rays (`march.rs`), eight voxels (`strip.rs`) or, in 32 bits,
//! sixteen (`comb.rs`) at once on bricks in memory of their own; all other rays, one by one
//! (`footprint.rs`).
//!
//! In the transpose a task owns a brick: it takes all rays of the main axis in the order of
//! the projections and adds what each leaves in the brick to sums of its own, which are
//! then added to the volume.
//!
//! Memory beside volume and projections: in a plane a copy of [`COPY_BYTES`] in the sum, for
//! single rays and in a plane sums of [`SUMS_BYTES`] and [`CHUNK_RAYS`] prepared rays in the
//! transpose, of at most 96 bytes each; for sheets, sums of 16 MiB and copies of 4 MiB in the
//! sum, values of 24 MiB and sums of 12 MiB in the transpose. A row of voxels is never cut.
//!
//! Validated by `threads_change_no_bit`, `bundles_equal_single_rays` and `transposes` below.

use super::brick::{Brick, ZEROS, add, sums_from, sums_of};
use super::comb::Combs;
use super::footprint::{Footprint, Joseph, Siddon, TAPS};
use super::line::{ACROSS, Beam, Bundle, Grid, Panel, Rays, View};
use super::march::March;
use super::sheet::{self, Lines};
use super::strip::{Part, Strips};
use super::{Projector, Real, separable, trilinear};
use crate::backprojection;
use crate::lanes::{LaneTask, Lanes, Task, at_level, in_lanes};
use crate::simd::{self, LANES, SimdLevel, madd};
use rayon::prelude::*;
use std::marker::PhantomData;

/// Most bytes of the copy of a brick in the sum: all views go through it in the cache.
const COPY_BYTES: usize = 8 << 20;
/// Most bytes of all sums of the transpose, and of those of one brick.
const SUMS_BYTES: usize = 32 << 20;
const BRICK_BYTES: usize = 4 << 20;
/// Most slices of a brick of the transpose.
const BRICK_SLICES: usize = 32;
/// Rays that the transpose prepares at once.
const CHUNK_RAYS: usize = 1 << 18;
/// Lines of pixels along u of a task of the sum, or pixels where there is one line.
const TASK_LINES: usize = 4 * LANES;
const TASK_PIXELS: usize = 16 * LANES;

/// Whether all rays run in the middle plane of a grid of one voxel along z.
pub(super) fn is_flat(grid: &Grid, panel: Panel, views: &[View]) -> bool {
    let in_plane = |view: &View| {
        let (Beam::Parallel(p) | Beam::Source(p)) = view.beam;
        p[2] == 0.0 && view.detector[2] == 0.0 && view.u[2] == 0.0
    };
    grid.shape[2] == 1 && panel.nv == 1 && views.iter().all(in_plane)
}

/// The views with what all passes share.
struct Scene<'a> {
    grid: &'a Grid,
    panel: Panel,
    rays: Vec<Rays>,
    /// The axis along which lines of pixels of some view run.
    axis: Option<usize>,
    /// Whether rays of a plane may be bundles and strips.
    planar: bool,
    level: SimdLevel,
}

impl<'a> Scene<'a> {
    fn new<F: Footprint, const FLAT: bool>(
        level: SimdLevel,
        grid: &'a Grid,
        panel: Panel,
        views: &[View],
    ) -> Self {
        let rays: Vec<Rays> =
            views.iter().map(|view| Rays::new(view, panel, grid, F::MARGIN)).collect();
        let axis = match F::LINEAR && !FLAT {
            true => rays.iter().find_map(|r| r.aligned()).map(|a| a.1),
            false => None,
        };
        Self { grid, panel, rays, axis, planar: F::LINEAR && FLAT, level }
    }

    /// The views that may have rays of this main axis.
    fn of_main(&self, main: usize) -> Vec<bool> {
        self.rays.iter().map(|r| r.may_have(main, self.panel)).collect()
    }

    /// The contiguous axis of a pass: that of lines of pixels, where it is not the main one.
    fn lane_axis(&self, main: usize) -> usize {
        self.axis.filter(|axis| *axis != main).unwrap_or(ACROSS[main][0])
    }

    /// The views whose lines of pixels may be sheets in a pass.
    fn lines(&self, main: usize, chosen: &[bool]) -> Vec<Lines<'_>> {
        let lane_axis = self.lane_axis(main);
        let views = self.rays.iter().enumerate().filter(|(view, _)| chosen[*view]);
        let lines = views.filter_map(|(view, rays)| {
            let (along_v, axis) = rays.aligned()?;
            let fits = self.axis == Some(lane_axis) && axis == lane_axis;
            fits.then_some(Lines { view, rays, panel: self.panel, along_v })
        });
        lines.collect()
    }
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
    out.fill(T::default());
    if volume.is_empty() || out.is_empty() {
        return;
    }
    let level = simd::level();
    match (projector, is_flat(grid, panel, views)) {
        (Projector::Trilinear, _) => {
            let (scene, views) = trilinear::covering(grid, panel, views);
            trilinear::forward(&scene, &views, volume, out);
        }
        (Projector::SeparableFootprint, flat) => {
            separable::forward(grid, panel, views, flat, volume, out);
        }
        (Projector::Joseph, true) => {
            sums::<T, Joseph, true>(level, grid, panel, views, volume, out)
        }
        (Projector::Joseph, false) => {
            sums::<T, Joseph, false>(level, grid, panel, views, volume, out)
        }
        (Projector::Siddon, true) => {
            sums::<T, Siddon, true>(level, grid, panel, views, volume, out)
        }
        (Projector::Siddon, false) => {
            sums::<T, Siddon, false>(level, grid, panel, views, volume, out)
        }
    }
}

fn sums<T: Real, F: Footprint, const FLAT: bool>(
    level: SimdLevel,
    grid: &Grid,
    panel: Panel,
    views: &[View],
    volume: &[T],
    out: &mut [T],
) {
    let scene = Scene::new::<F, FLAT>(level, grid, panel, views);
    let pixels = panel.nu * panel.nv;
    // Pixels of a task, and of a line of it.
    let task = if panel.nv == 1 { TASK_PIXELS } else { TASK_LINES * panel.nu };
    for main in 0..3 {
        let chosen = scene.of_main(main);
        if !chosen.contains(&true) {
            continue;
        }
        let lane_axis = scene.lane_axis(main);
        let lines = scene.lines(main, &chosen);
        let others = sheet::forward(level, grid, [main, lane_axis], &lines, volume, out);
        let mut rest: Vec<Option<Rest<'_>>> =
            chosen.iter().map(|chosen| chosen.then_some(Rest::All)).collect();
        for (lines, others) in lines.iter().zip(&others) {
            rest[lines.view] = match others.is_empty() {
                true => None,
                false => Some(Rest::Lines { along_v: lines.along_v, others }),
            };
        }
        let whole = Brick::whole(grid, main, lane_axis, ZEROS);
        // Single rays need no copy, and no bricks.
        let bundles = scene.planar;
        let bricks = match bundles {
            true => whole.cut(COPY_BYTES / size_of::<T>(), whole.end),
            false => vec![whole],
        };
        for brick in bricks {
            let copy = if bundles { brick.copy(grid, volume) } else { Vec::new() };
            let views = out.par_chunks_mut(pixels).zip(&scene.rays).zip(&rest);
            views.for_each(|((out, rays), rest)| {
                let Some(rest) = *rest else { return };
                out.par_chunks_mut(task).enumerate().for_each(|(k, out)| {
                    let sum = Sum::<T, F, FLAT> {
                        scene: &scene,
                        rays,
                        brick: &brick,
                        copy: &copy,
                        volume,
                        rest,
                        first: k * task,
                        out,
                        rule: PhantomData,
                    };
                    if bundles {
                        in_lanes(scene.level, sum);
                    } else {
                        at_level(scene.level, sum);
                    }
                });
            });
        }
    }
}

/// The rays of a view that are in no sheet.
#[derive(Clone, Copy)]
enum Rest<'a> {
    All,
    /// Those of some lines of pixels along v, or along u.
    Lines {
        along_v: bool,
        others: &'a [usize],
    },
}

impl Rest<'_> {
    #[inline(always)]
    fn has(self, iu: usize, iv: usize) -> bool {
        match self {
            Rest::All => true,
            Rest::Lines { along_v: true, others } => others.binary_search(&iu).is_ok(),
            Rest::Lines { along_v: false, others } => others.binary_search(&iv).is_ok(),
        }
    }
}

/// The sums along neighbouring rays of a view in a brick: of a part of a line of pixels
/// along u, or of some such lines.
struct Sum<'a, T, F, const FLAT: bool> {
    scene: &'a Scene<'a>,
    rays: &'a Rays,
    brick: &'a Brick,
    copy: &'a [T],
    volume: &'a [T],
    rest: Rest<'a>,
    first: usize,
    out: &'a mut [T],
    rule: PhantomData<F>,
}

impl<T: Real, F: Footprint, const FLAT: bool> Sum<'_, T, F, FLAT> {
    /// Adds the sum along one ray, if it has the main axis of the pass.
    #[inline(always)]
    fn one<const FMA: bool>(&mut self, k: usize) {
        let (iv, iu) =
            ((self.first + k) / self.scene.panel.nu, (self.first + k) % self.scene.panel.nu);
        if !self.rest.has(iu, iv) {
            return;
        }
        let line = self.rays.line(iu, iv);
        if line.main != self.brick.main {
            return;
        }
        let (slab, begin) = self.brick.in_volume(self.scene.grid);
        let volume = &self.volume[begin..];
        // One chain of additions for each voxel of a slice: none waits for another.
        let mut sums = [0.0; TAPS];
        F::walk::<FLAT>(&line, &slab, |k, j, w| {
            sums[k] = madd::<FMA>(w, volume[j].wide(), sums[k]);
        });
        let out = &mut self.out[k];
        *out = T::narrow(out.wide() + ((sums[0] + sums[1]) + (sums[2] + sums[3])));
    }

    /// The rays of `N` bundles from a pixel of the task on, in a plane.
    #[inline(always)]
    fn bundles<L: Lanes, const N: usize>(&mut self, k: usize, n: usize) -> bool {
        let mut all: [Option<Bundle>; N] = [None; N];
        let mut others = true;
        for (i, bundle) in all.iter_mut().enumerate() {
            *bundle = self.rays.bundle(self.first + k + i * LANES, 0);
            others &= bundle.is_some_and(|b| b.main != self.brick.main);
        }
        if others {
            return true;
        }
        let Some(first) = all[0] else { return false };
        let mut bundles = [first; N];
        for (to, from) in bundles.iter_mut().zip(all) {
            let Some(from) = from else { return false };
            *to = from;
        }
        let Some(march) = March::new(&bundles, self.brick) else { return false };
        let sums = march.sums::<L, T>(self.brick, self.copy);
        for (i, (sum, bundle)) in sums.into_iter().zip(&bundles).enumerate() {
            let mut values = [0.0; LANES];
            sum.store(&mut values);
            for (lane, value) in values.into_iter().enumerate() {
                let ray = march.ray(lane);
                if i * LANES + ray < n {
                    let out = &mut self.out[k + i * LANES + ray];
                    *out = T::narrow(madd::<false>(value, bundle.length[ray], out.wide()));
                }
            }
        }
        true
    }
}

impl<T: Real, F: Footprint, const FLAT: bool> LaneTask for Sum<'_, T, F, FLAT> {
    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        let length = self.out.len();
        let mut k = 0;
        while k < length {
            let n = length - k;
            if n > 3 * LANES && self.bundles::<L, 4>(k, n) {
                k += 4 * LANES;
                continue;
            }
            if !self.bundles::<L, 1>(k, n) {
                for l in 0..n.min(LANES) {
                    self.one::<false>(k + l);
                }
            }
            k += LANES;
        }
    }
}

impl<T: Real, F: Footprint, const FLAT: bool> Task for Sum<'_, T, F, FLAT> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(mut self) {
        for k in 0..self.out.len() {
            self.one::<FMA>(k);
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
    let level = simd::level();
    match (projector, is_flat(grid, panel, views)) {
        (Projector::Trilinear, _) => {
            let (scene, views) = trilinear::covering(grid, panel, views);
            trilinear::adjoint(&scene, &views, projections, volume);
        }
        (Projector::SeparableFootprint, flat) => {
            separable::adjoint(grid, panel, views, flat, projections, volume);
        }
        (Projector::Joseph, true) => {
            spread::<T, Joseph, true>(level, grid, panel, views, projections, volume)
        }
        (Projector::Joseph, false) => {
            spread::<T, Joseph, false>(level, grid, panel, views, projections, volume)
        }
        (Projector::Siddon, true) => {
            spread::<T, Siddon, true>(level, grid, panel, views, projections, volume)
        }
        (Projector::Siddon, false) => {
            spread::<T, Siddon, false>(level, grid, panel, views, projections, volume)
        }
    }
}

/// Parts of views, cut into chunks of at most [`CHUNK_RAYS`].
fn chunks(parts: Vec<(usize, Part<'_>)>) -> Vec<Vec<(usize, Part<'_>)>> {
    let mut all = vec![Vec::new()];
    let mut free = CHUNK_RAYS;
    for (view, whole) in parts {
        let (length, mut part) = (whole.length(), whole);
        while part.begin < whole.end {
            if free < length && free < CHUNK_RAYS {
                all.push(Vec::new());
                free = CHUNK_RAYS;
            }
            part.end = whole.end.min(part.begin + (free / length).max(1));
            free = free.saturating_sub((part.end - part.begin) * length);
            if let Some(last) = all.last_mut() {
                last.push((view, part));
            }
            part.begin = part.end;
        }
    }
    all
}

/// The rays of a pass that are in no sheet.
fn parts<'a, T>(
    scene: &'a Scene<'_>,
    chosen: &[bool],
    lines: &[Lines<'_>],
    others: &[Vec<usize>],
) -> Vec<(usize, Part<'a>)> {
    let (panel, single) = (scene.panel, size_of::<T>() == size_of::<f32>());
    let mut out = Vec::new();
    let mut sheets = lines.iter().zip(others).peekable();
    for (view, rays) in scene.rays.iter().enumerate().filter(|(view, _)| chosen[*view]) {
        let regular = scene.planar;
        match sheets.next_if(|(lines, _)| lines.view == view) {
            Some((lines, others)) => out.extend(others.iter().map(|line| {
                let (begin, end) = (*line, line + 1);
                (view, Part { rays, panel, along_v: lines.along_v, regular, single, begin, end })
            })),
            None => {
                let (begin, end) = (0, panel.nv);
                out.push((view, Part { rays, panel, along_v: false, regular, single, begin, end }));
            }
        }
    }
    out
}

fn spread<T: Real, F: Footprint, const FLAT: bool>(
    level: SimdLevel,
    grid: &Grid,
    panel: Panel,
    views: &[View],
    projections: &[T],
    volume: &mut [T],
) {
    let scene = Scene::new::<F, FLAT>(level, grid, panel, views);
    let pixels = panel.nu * panel.nv;
    for main in 0..3 {
        let chosen = scene.of_main(main);
        if !chosen.contains(&true) {
            continue;
        }
        let lane_axis = scene.lane_axis(main);
        let lines = scene.lines(main, &chosen);
        let others = sheet::adjoint(level, grid, [main, lane_axis], &lines, projections, volume);
        let parts = parts::<T>(&scene, &chosen, &lines, &others);
        if parts.is_empty() {
            continue;
        }
        let whole = Brick::whole(grid, main, lane_axis, LANES);
        let numbers = |bytes: usize| bytes / size_of::<f64>();
        let bricks = whole.cut(numbers(BRICK_BYTES), BRICK_SLICES);
        let chunks = chunks(parts);
        let largest = bricks.iter().map(Brick::len).max().unwrap_or(1);
        for batch in bricks.chunks((numbers(SUMS_BYTES) / largest).max(1)) {
            let mut sums: Vec<(Brick, Vec<f64>)> =
                batch.iter().map(|brick| (*brick, sums_of(brick))).collect();
            for chunk in &chunks {
                let mut strips: Vec<Strips> = Vec::new();
                chunk
                    .par_iter()
                    .map(|(view, part)| {
                        let y = &projections[view * pixels..][..pixels];
                        let value = |k: usize| y[k].wide();
                        let mut out = Strips::default();
                        let prepare = Prepare { part, whole: &whole, value: &value, out: &mut out };
                        in_lanes(scene.level, prepare);
                        out
                    })
                    .collect_into_vec(&mut strips);
                let strips = &strips;
                sums.par_iter_mut().for_each(|(brick, sums)| {
                    let from = sums_from(sums);
                    let sums = &mut sums[from..];
                    if scene.planar {
                        in_lanes(scene.level, Spread { strips, brick, sums });
                        backprojection::at_level(scene.level, Combs { strips, brick, sums });
                    }
                    at_level(
                        scene.level,
                        Singles::<F, FLAT> { strips, brick, sums, rule: PhantomData },
                    );
                });
            }
            add(grid, &sums, volume);
        }
    }
}

/// The rays of a part of a view.
struct Prepare<'a> {
    part: &'a Part<'a>,
    whole: &'a Brick,
    value: &'a dyn Fn(usize) -> f64,
    out: &'a mut Strips,
}

impl LaneTask for Prepare<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        *self.out = Strips::new(self.part, self.whole, self.value);
    }
}

/// What the strips of some views leave in a brick.
struct Spread<'a> {
    strips: &'a [Strips],
    brick: &'a Brick,
    sums: &'a mut [f64],
}

impl LaneTask for Spread<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for strips in self.strips {
            strips.spread::<L>(self.brick, self.sums);
        }
    }
}

/// What single rays leave in a brick.
struct Singles<'a, F, const FLAT: bool> {
    strips: &'a [Strips],
    brick: &'a Brick,
    sums: &'a mut [f64],
    rule: PhantomData<F>,
}

impl<F: Footprint, const FLAT: bool> Task for Singles<'_, F, FLAT> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let slab = self.brick.slab();
        for (line, value) in self.strips.iter().flat_map(|s| &s.single) {
            F::walk::<FLAT>(line, &slab, |_, j, w| {
                self.sums[j] = madd::<FMA>(w, *value, self.sums[j]);
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
