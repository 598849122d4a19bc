//! All rays of all views: the sum along each, and the transpose.
//!
//! Both have one pass a main axis, which goes through the grid in bricks. Where a line of
//! pixels runs along an axis of the grid, or everything lies in a plane, Joseph's rule is
//! done for eight rays (`march.rs`), eight voxels (`strip.rs`) or, in 32 bits and a plane,
//! sixteen (`comb.rs`) at once on bricks in
//! memory of their own; all other rays, one by one (`footprint.rs`).
//!
//! In the transpose a task owns a brick: it takes all rays of the main axis in the order of
//! the projections and adds what each leaves in the brick to sums of its own, which are
//! then added to the volume.
//!
//! Memory beside volume and projections: a copy of [`COPY_BYTES`] in the sum; sums of
//! [`SUMS_BYTES`] and [`CHUNK_RAYS`] prepared rays in the transpose, of at most 96 bytes
//! each. A row of voxels is never cut.
//!
//! Validated by `threads_change_no_bit`, `bundles_equal_single_rays` and `transposes` below.

use super::brick::{Brick, ZEROS, add, sums_from, sums_of};
use super::comb::Combs;
use super::footprint::{Footprint, Joseph, Siddon, TAPS};
use super::line::{ACROSS, Beam, Bundle, Grid, Panel, Rays, View};
use super::march::March;
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
    flat: bool,
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
        Self { grid, panel, rays, axis, flat: FLAT, level }
    }

    /// The views that may have rays of this main axis.
    fn of_main(&self, main: usize) -> Vec<bool> {
        self.rays.iter().map(|r| r.may_have(main, self.panel)).collect()
    }

    /// The contiguous axis of a pass, and whether lines of pixels may be bundles in it.
    fn lane_axis<F: Footprint>(&self, main: usize) -> (usize, bool) {
        match self.axis {
            Some(axis) if axis != main => (axis, true),
            _ => (ACROSS[main][0], F::LINEAR && self.flat),
        }
    }

    /// Whether the lines of pixels of a view run along v, and whether they may be bundles
    /// of the pass.
    fn lines(&self, view: usize, (lane_axis, regular): (usize, bool)) -> (bool, bool) {
        match self.rays[view].aligned() {
            Some((along_v, axis)) if !self.flat && regular && axis == lane_axis => (along_v, true),
            _ => (false, regular && self.flat),
        }
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
    // Pixels of a task, and of a line of it.
    let task = if panel.nv == 1 { TASK_PIXELS } else { TASK_LINES * panel.nu };
    for main in 0..3 {
        let chosen = scene.of_main(main);
        if !chosen.contains(&true) {
            continue;
        }
        let lane = scene.lane_axis::<F>(main);
        let whole = Brick::whole(grid, main, lane.0, ZEROS);
        // Single rays need no copy, and no bricks.
        let bundles = (0..views.len()).any(|v| chosen[v] && scene.lines(v, lane).1);
        let bricks = match bundles {
            true => whole.cut(COPY_BYTES / size_of::<T>(), whole.end),
            false => vec![whole],
        };
        for brick in bricks {
            let copy = if bundles { brick.copy(grid, volume) } else { Vec::new() };
            let pixels = panel.nu * panel.nv;
            let views = out.par_chunks_mut(pixels).enumerate().filter(|(v, _)| chosen[*v]);
            views.for_each(|(view, out)| {
                let (along_v, regular) = scene.lines(view, lane);
                out.par_chunks_mut(task).enumerate().for_each(|(k, out)| {
                    let sum = Sum::<T, F, FLAT> {
                        scene: &scene,
                        rays: &scene.rays[view],
                        brick: &brick,
                        copy: &copy,
                        volume,
                        along_v,
                        first: k * task,
                        out,
                        rule: PhantomData,
                    };
                    if F::LINEAR && regular {
                        in_lanes(scene.level, sum);
                    } else {
                        at_level(scene.level, sum);
                    }
                });
            });
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
    along_v: bool,
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

    /// The rays of `N` bundles from a pixel of the task on, `step` apart in it.
    #[inline(always)]
    fn bundles<L: Lanes, const N: usize>(&mut self, k: usize, step: usize, n: usize) -> bool {
        let nu = self.scene.panel.nu;
        let (iv, iu) = ((self.first + k) / nu, (self.first + k) % nu);
        let mut all: [Option<Bundle>; N] = [None; N];
        let mut others = true;
        for (i, bundle) in all.iter_mut().enumerate() {
            let (u, v) = if self.along_v { (0, i * LANES) } else { (i * LANES, 0) };
            *bundle = self.rays.bundle(iu + u, iv + v, self.along_v);
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
        let Some(march) = March::new::<FLAT>(&bundles, self.brick) else { return false };
        let sums = march.sums::<L, T, FLAT>(self.brick, self.copy);
        for (i, (sum, bundle)) in sums.into_iter().zip(&bundles).enumerate() {
            let mut values = [0.0; LANES];
            sum.store(&mut values);
            for (lane, value) in values.into_iter().enumerate() {
                let ray = march.ray(lane);
                if i * LANES + ray < n {
                    let out = &mut self.out[k + (i * LANES + ray) * step];
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
        let nu = self.scene.panel.nu.min(self.out.len());
        let lines = self.out.len() / nu;
        let (count, length, step, next) =
            if self.along_v { (nu, lines, nu, 1) } else { (lines, nu, 1, nu) };
        for line in 0..count {
            let mut at = 0;
            while at < length {
                let (k, n) = (line * next + at * step, length - at);
                let mut done = LANES;
                let mut met = false;
                if n > 3 * LANES {
                    met = self.bundles::<L, 4>(k, step, n);
                    done = if met { 4 * LANES } else { LANES };
                }
                if !met && !self.bundles::<L, 1>(k, step, n) {
                    for l in 0..n.min(LANES) {
                        self.one::<false>(k + l * step);
                    }
                }
                at += done;
            }
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

/// The views of a pass in parts, and these in chunks of at most [`CHUNK_RAYS`].
fn chunks<'a, T>(
    scene: &'a Scene<'_>,
    chosen: &[bool],
    lane: (usize, bool),
) -> Vec<Vec<(usize, Part<'a>)>> {
    let mut all: Vec<Vec<(usize, Part<'a>)>> = vec![Vec::new()];
    let mut free = CHUNK_RAYS;
    for (view, rays) in scene.rays.iter().enumerate().filter(|(v, _)| chosen[*v]) {
        let (along_v, regular) = scene.lines(view, lane);
        let (panel, single) = (scene.panel, size_of::<T>() == size_of::<f32>());
        let mut part = Part { rays, panel, along_v, regular, single, begin: 0, end: 0 };
        let length = part.length();
        let lines = scene.panel.nu * scene.panel.nv / length;
        while part.begin < lines {
            if free < length && free < CHUNK_RAYS {
                all.push(Vec::new());
                free = CHUNK_RAYS;
            }
            part.end = lines.min(part.begin + (free / length).max(1));
            free = free.saturating_sub((part.end - part.begin) * length);
            if let Some(last) = all.last_mut() {
                last.push((view, part));
            }
            part.begin = part.end;
        }
    }
    all
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
        let lane = scene.lane_axis::<F>(main);
        let whole = Brick::whole(grid, main, lane.0, LANES);
        let numbers = |bytes: usize| bytes / size_of::<f64>();
        let bricks = whole.cut(numbers(BRICK_BYTES), BRICK_SLICES);
        let chunks = chunks::<T>(&scene, &chosen, lane);
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
                        let prepare =
                            Prepare::<FLAT> { part, whole: &whole, value: &value, out: &mut out };
                        in_lanes(scene.level, prepare);
                        out
                    })
                    .collect_into_vec(&mut strips);
                let strips = &strips;
                sums.par_iter_mut().for_each(|(brick, sums)| {
                    let from = sums_from(sums);
                    let sums = &mut sums[from..];
                    in_lanes(scene.level, Spread::<FLAT> { strips, brick, sums });
                    if strips.iter().any(|s| !s.combs.is_empty()) {
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
struct Prepare<'a, const FLAT: bool> {
    part: &'a Part<'a>,
    whole: &'a Brick,
    value: &'a dyn Fn(usize) -> f64,
    out: &'a mut Strips,
}

impl<const FLAT: bool> LaneTask for Prepare<'_, FLAT> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        *self.out = Strips::new::<FLAT>(self.part, self.whole, self.value);
    }
}

/// What the strips of some views leave in a brick.
struct Spread<'a, const FLAT: bool> {
    strips: &'a [Strips],
    brick: &'a Brick,
    sums: &'a mut [f64],
}

impl<const FLAT: bool> LaneTask for Spread<'_, FLAT> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for strips in self.strips {
            strips.spread::<L, FLAT>(self.brick, self.sums);
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
mod tests {
    use super::*;
    use crate::ray::footprint::Slab;
    use crate::ray::line::Line;
    use std::f64::consts::PI;

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
            for projector in Projector::SLICEWISE {
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

    /// Joseph's rule for single rays only.
    struct Plain;

    impl Footprint for Plain {
        const MARGIN: f64 = Joseph::MARGIN;
        const LINEAR: bool = false;

        fn walk<const FLAT: bool>(line: &Line, slab: &Slab, visit: impl FnMut(usize, usize, f64)) {
            Joseph::walk::<FLAT>(line, slab, visit);
        }
    }

    /// Numbers of no pattern.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }

        fn between(&mut self, low: f64, high: f64, lattice: bool) -> f64 {
            let v = low + (high - low) * self.next();
            if lattice { (2.0 * v).round() / 2.0 } else { v }
        }

        fn some(&mut self, n: usize) -> Vec<f64> {
            (0..n).map(|_| self.next() - 0.3).collect()
        }
    }

    /// A plane, or a panel with v along z: parallel beams and sources, far, near and inside,
    /// fine and coarse pixels, and with `lattice` rays along axes, diagonals and faces.
    fn random_scene<const FLAT: bool>(seed: u64) -> (Grid, Panel, Vec<View>) {
        let mut of = Numbers(seed);
        let lattice = seed.is_multiple_of(2);
        let mut size = |most: f64| of.between(1.0, most, false) as usize;
        let shape = [size(30.0), size(30.0), if FLAT { 1 } else { size(30.0) }];
        let panel = Panel::flat(size(60.0), if FLAT { 1 } else { size(40.0) });
        let h =
            if lattice { [1.0; 3] } else { std::array::from_fn(|_| of.between(0.5, 2.0, false)) };
        let views = (0..4).map(|_| {
            let mut plane = |r: f64| [of.between(-r, r, lattice), of.between(-r, r, lattice), 0.0];
            let far = [4.0, 20.0, 100.0][(seed / 2 % 3) as usize];
            let (p, detector, u) =
                (plane(far), plane(20.0), plane([0.6, 2.0, 5.0][(seed / 6 % 3) as usize]));
            let mut pixel = [0.0; 3];
            let mut along = [p, detector];
            if !FLAT {
                along.iter_mut().for_each(|a| a[2] = of.between(-9.0, 9.0, lattice));
                pixel[2] = of.between(-2.0, 2.0, lattice);
            }
            let beam =
                if of.next() < 0.4 { Beam::Parallel(along[0]) } else { Beam::Source(along[0]) };
            View { beam, detector: along[1], u, v: pixel }
        });
        let views: Vec<View> = views.collect();
        let regular = views.iter().filter(|v| {
            let (Beam::Parallel(d) | Beam::Source(d)) = v.beam;
            let seen = match v.beam {
                Beam::Parallel(_) => d,
                Beam::Source(s) => std::array::from_fn(|k| v.detector[k] - s[k]),
            };
            let cross = seen[0] * v.u[1] - seen[1] * v.u[0];
            cross.abs() > 1e-3 && (FLAT || v.v[2] != 0.0)
        });
        (Grid { shape, voxel: h }, panel, regular.copied().collect())
    }

    /// The greatest difference in units of the greatest value.
    fn apart(a: &[f64], b: &[f64]) -> f64 {
        let most = a.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
        a.iter().zip(b).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs())) / most
    }

    fn compare<const FLAT: bool>() {
        for seed in 0..300 {
            let (grid, panel, views) = random_scene::<FLAT>(seed);
            let mut of = Numbers(seed + 1_000_000);
            let (x, y) = (of.some(grid.len()), of.some(views.len() * panel.nu * panel.nv));
            let plain = simd::level();
            let (mut ax, mut aty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
            sums::<f64, Plain, FLAT>(plain, &grid, panel, &views, &x, &mut ax);
            spread::<f64, Plain, FLAT>(plain, &grid, panel, &views, &y, &mut aty);
            for level in SimdLevel::available() {
                let (mut bx, mut bty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
                sums::<f64, Joseph, FLAT>(level, &grid, panel, &views, &x, &mut bx);
                spread::<f64, Joseph, FLAT>(level, &grid, panel, &views, &y, &mut bty);
                let gaps = [apart(&ax, &bx), apart(&aty, &bty)];
                assert!(gaps.iter().all(|g| *g < 1e-12), "{seed} {level:?} {gaps:?}");
            }
        }
    }

    #[test]
    fn bundles_equal_single_rays() {
        compare::<true>();
        compare::<false>();
    }

    /// A plane of more voxels and rays, which neither run along axes nor lie far apart.
    fn wide_scene(seed: u64) -> (Grid, Panel, Vec<View>) {
        let mut of = Numbers(seed + 77);
        let mut size = |low: f64, high: f64| of.between(low, high, false) as usize;
        let shape = [size(32.0, 150.0), size(32.0, 150.0), 1];
        let panel = Panel::flat(size(40.0, 300.0), 1);
        let grid = Grid { shape, voxel: [of.between(0.7, 1.4, false), 1.0, 1.0] };
        let far = [90.0, 130.0, 400.0][(seed % 3) as usize];
        let views = (0..6).map(|i| {
            let turn =
                if seed.is_multiple_of(4) { f64::from(i) * PI / 4.0 } else { 7.0 * of.next() };
            let ((s, c), tilt) = (turn.sin_cos(), 0.6 * of.next() - 0.3);
            let pitch = of.between(0.3, 2.5, false);
            let (st, ct) = (turn + tilt).sin_cos();
            let beam = match (seed + i as u64) % 4 {
                0 => Beam::Parallel([-s, c, 0.0]),
                _ => Beam::Source([far * s, -far * c, 0.0]),
            };
            View {
                beam,
                detector: [-60.0 * s, 60.0 * c, 0.0],
                u: [pitch * ct, pitch * st, 0.0],
                v: [0.0, 0.0, 1.0],
            }
        });
        (grid, panel, views.collect())
    }

    /// How many combs the rays of a scene make.
    fn combs(grid: &Grid, panel: Panel, views: &[View]) -> usize {
        let scene = Scene::new::<Joseph, true>(simd::level(), grid, panel, views);
        let mut count = 0;
        for main in 0..2 {
            let lane = scene.lane_axis::<Joseph>(main);
            let whole = Brick::whole(grid, main, lane.0, LANES);
            let parts = chunks::<f32>(&scene, &scene.of_main(main), lane);
            for (_, part) in parts.iter().flatten() {
                count += Strips::new::<true>(part, &whole, &|_| 1.0).combs.len();
            }
        }
        count
    }

    #[test]
    fn combs_equal_single_rays() {
        let (mut most, mut found) = (0.0_f64, 0);
        for seed in 0..120 {
            let (grid, panel, views) = wide_scene(seed);
            found += combs(&grid, panel, &views);
            let mut of = Numbers(seed + 5_000_000);
            // Some rays alone show which voxels they reach.
            let sparse = seed % 5 == 1;
            let y: Vec<f32> = (0..views.len() * panel.nu)
                .map(|_| (of.next() - 0.3, of.next()))
                .map(|(v, keep)| if sparse && keep < 0.95 { 0.0 } else { v as f32 })
                .collect();
            let wide: Vec<f64> = y.iter().map(|v| f64::from(*v)).collect();
            let mut exact = vec![0.0; grid.len()];
            spread::<f64, Plain, true>(simd::level(), &grid, panel, &views, &wide, &mut exact);
            let mut of_levels = Vec::new();
            for level in SimdLevel::available() {
                let mut aty = vec![0.0_f32; grid.len()];
                spread::<f32, Joseph, true>(level, &grid, panel, &views, &y, &mut aty);
                let aty: Vec<f64> = aty.into_iter().map(f64::from).collect();
                let gap = apart(&exact, &aty);
                assert!(gap < 4e-6, "{seed} {level:?} {gap}");
                // Voxels that no ray reaches have nothing at all.
                let nothing = exact.iter().zip(&aty).all(|(e, a)| *e != 0.0 || a.abs() < 4e-6);
                assert!(nothing, "{seed} {level:?}");
                most = most.max(gap);
                if level != SimdLevel(crate::simd::Isa::Scalar) {
                    of_levels.push(aty);
                }
            }
            assert!(of_levels.windows(2).all(|w| w[0] == w[1]), "{seed}");
        }
        assert!(found > 300, "{found}");
        assert!(most > 1e-8, "{most}");
    }

    #[test]
    fn transposes() {
        for projector in Projector::SLICEWISE {
            assert!(gap::<f64>(projector) < 1e-14, "{}", gap::<f64>(projector));
            assert!(gap::<f32>(projector) < 1e-7, "{}", gap::<f32>(projector));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for projector in Projector::SLICEWISE {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| apply::<f32>(projector))
            };
            let one = with(1);
            assert!(one == with(2) && one == with(5));
        }
    }
}
