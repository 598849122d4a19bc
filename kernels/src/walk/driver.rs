//! All walkers: chunks in parallel, eight walkers at a time, step after step.
//!
//! Validated by `models/tests/suite/simulation.rs` (`threads_levels_and_numbers_of_walkers_change_no_bit`, `golden_rows`).

use super::axon::AxonScene;
use super::derivative::{self, Slopes};
use super::ellipsoid::{Capped, Ellipsoid};
use super::mesh::MeshScene;
use super::protocol::{Protocol, Reading};
use super::rounds::RoundScene;
use super::scene::Scattered;
use super::tally::{CHUNK, Tally};
use super::wall::{Free, Plates, Round, Step, Walls};
use super::wall_law::Reach;
use super::{Shape, Walk};
use crate::lanes::{Lanes, dispatch, horner};
use crate::normal_numbers::{GROUP, Items, Keys, NORMALS, STEPS, normals};
use crate::philox::{Philox, uniform_pair};
use crate::simd::{self, Block, LANES, SimdLevel};
use rayon::prelude::*;

/// Stream of the starting points, and that of the choices at membranes.
pub(crate) const START: u8 = 1;
const CHOICE: u8 = 2;
/// Compartments at most.
const MEDIA: usize = 4;
/// Chunks between two calls of the observer.
const WINDOW: usize = 64;

/// Walks; `observe` is called with the sums so far after every 32,768 walkers and stops the
/// walk by returning false.
///
/// # Panics
/// When the parts of the protocol do not fit together.
pub fn walk(walk: &Walk<'_>, observe: impl FnMut(&Tally) -> bool) -> Tally {
    walk_at(simd::level(), walk, observe)
}

/// [`walk()`] with the instructions of a level.
///
/// # Panics
/// As [`walk()`].
pub fn walk_at(level: SimdLevel, walk: &Walk<'_>, observe: impl FnMut(&Tally) -> bool) -> Tally {
    assert!(walk.protocol.is_consistent() && (1..=MEDIA).contains(&walk.media.len()));
    let done = Tally::new(walk.protocol.measurements, walk.media.len());
    windows(walk, done, observe, |c| chunk(level, walk, c, &mut Path::default()))
}

/// Goes on with a walk, with derivatives where `slopes` are given: `done` is what `observe`
/// saw of it before, or nothing.
///
/// # Panics
/// As [`walk()`]; when the walk has no derivatives ([`Slopes::fits`]), or `done` is of
/// another number of measurements or compartments.
pub fn walk_on(
    walk: &Walk<'_>,
    slopes: Option<&Slopes>,
    done: Option<Tally>,
    observe: impl FnMut(&Tally) -> bool,
) -> Tally {
    assert!(walk.protocol.is_consistent() && (1..=MEDIA).contains(&walk.media.len()));
    let level = simd::level();
    let measurements = walk.protocol.measurements;
    let empty = match slopes {
        Some(_) => Tally::with_slopes(measurements),
        None => Tally::new(measurements, walk.media.len()),
    };
    if let Some(done) = &done {
        assert!(done.counts() == empty.counts() && done.all_walkers() <= walk.walkers);
    }
    let done = done.unwrap_or(empty);
    let Some(slopes) = slopes else {
        return windows(walk, done, observe, |c| chunk(level, walk, c, &mut Path::default()));
    };
    assert!(Slopes::fits(walk) && slopes.bridges.len() == measurements);
    windows(walk, done, observe, |c| {
        let first = c * CHUNK as u64;
        slopes_of(level, walk, slopes, first, (walk.walkers - first).min(CHUNK as u64))
    })
}

fn windows(
    walk: &Walk<'_>,
    mut total: Tally,
    mut observe: impl FnMut(&Tally) -> bool,
    chunk: impl Fn(u64) -> Tally + Sync,
) -> Tally {
    let chunks = walk.walkers.div_ceil(CHUNK as u64);
    let mut next = total.all_walkers().div_ceil(CHUNK as u64);
    while next < chunks {
        let window: Vec<u64> = (next..chunks.min(next + WINDOW as u64)).collect();
        let parts: Vec<Tally> = window.par_iter().map(|c| chunk(*c)).collect();
        for part in &parts {
            total.add(part);
        }
        next += window.len() as u64;
        if !observe(&total) {
            break;
        }
    }
    total
}

/// Positions of walkers at some nodes, in the frame of the shape: the same walkers as those
/// of [`walk()`], whatever the range.
///
/// # Shapes
/// `nodes` rising; returns `[walker][node]`.
///
/// # Panics
/// As [`walk()`].
pub fn paths(walk: &Walk<'_>, nodes: &[usize], walkers: std::ops::Range<u64>) -> Vec<[f64; 3]> {
    assert!(walk.protocol.is_consistent() && (1..=MEDIA).contains(&walk.media.len()));
    let level = simd::level();
    let size = CHUNK as u64;
    let end = walkers.end.min(walk.walkers);
    let chunks: Vec<u64> = (walkers.start / size..end.div_ceil(size)).collect();
    let parts: Vec<Vec<[f64; 3]>> = chunks
        .par_iter()
        .map(|index| {
            let mut path = Path { nodes, points: Vec::new() };
            chunk(level, walk, *index, &mut path);
            let first = index * size;
            let kept = walkers.start.max(first)..end.min(first + size);
            let of = |walker: u64| {
                let (eight, lane) = ((walker - first) as usize / LANES, walker as usize % LANES);
                let at = move |n: usize| (eight * nodes.len() + n) * LANES + lane;
                (0..nodes.len()).map(at)
            };
            kept.flat_map(of).map(|i| path.points[i]).collect()
        })
        .collect();
    parts.concat()
}

/// Points at some nodes: `[eight walkers][node][lane]`.
#[derive(Default)]
pub(super) struct Path<'a> {
    nodes: &'a [usize],
    points: Vec<[f64; 3]>,
}

impl Path<'_> {
    #[inline(always)]
    fn pass<L: Lanes>(&mut self, node: usize, x: &[L; 3]) {
        if self.nodes.is_empty() || self.nodes.binary_search(&node).is_err() {
            return;
        }
        let mut at = [[0.0; LANES]; 3];
        for a in 0..3 {
            x[a].store(&mut at[a]);
        }
        let [x, y, z] = at;
        self.points.extend(x.iter().zip(&y).zip(&z).map(|((x, y), z)| [*x, *y, *z]));
    }
}

fn chunk(level: SimdLevel, walk: &Walk<'_>, index: u64, path: &mut Path<'_>) -> Tally {
    let first = index * CHUNK as u64;
    let n = (walk.walkers - first).min(CHUNK as u64);
    let media = walk.media;
    let rho = media[0].relaxivity;
    match walk.shape {
        Shape::Free => free_at(level, walk, &Free, first, n, path),
        Shape::Cylinder { radius } => {
            cylinder_at(level, walk, &Round::new(*radius, rho), first, n, path)
        }
        Shape::Sphere { radius } => {
            sphere_at(level, walk, &Round::new(*radius, rho), first, n, path)
        }
        Shape::Plates { separation, membranes } => {
            plates_at(level, walk, &Plates::new(*separation, rho, membranes), first, n, path)
        }
        Shape::Ellipsoid { semi_axes } => {
            ellipsoid_at(level, walk, &Ellipsoid::new(*semi_axes, rho), first, n, path)
        }
        Shape::Capped { radius, length } => {
            capped_at(level, walk, &Capped::new(*radius, *length, rho), first, n, path)
        }
        Shape::Axon(axon) => {
            let scene = AxonScene(*axon);
            axon_at(level, walk, &Scattered { scene: &scene, media }, first, n, path)
        }
        Shape::Rounds(rounds) if rounds.dimensions() == 2 => {
            let scene = RoundScene(rounds);
            cylinders_at(level, walk, &Scattered { scene: &scene, media }, first, n, path)
        }
        Shape::Rounds(rounds) => {
            let scene = RoundScene(rounds);
            spheres_at(level, walk, &Scattered { scene: &scene, media }, first, n, path)
        }
        Shape::Mesh(mesh) => {
            let scene = MeshScene(mesh);
            mesh_at(level, walk, &Scattered { scene: &scene, media }, first, n, path)
        }
    }
}

macro_rules! shapes {
    ($($at:ident / $body:ident ($walls:ty);)*) => {
        $(
            #[inline(always)]
            fn $body<L: Lanes>(
                walk: &Walk<'_>,
                walls: &$walls,
                first: u64,
                n: u64,
                path: &mut Path<'_>,
            ) -> Tally {
                chunk_of::<L, $walls>(walk, walls, first, n, path)
            }
            dispatch! {
                fn $at / $body(
                    walk: &Walk<'_>,
                    walls: &$walls,
                    first: u64,
                    n: u64,
                    path: &mut Path<'_>,
                ) -> Tally
            }
        )*
    };
}
shapes! {
    free_at / free_body(Free);
    cylinder_at / cylinder_body(Round<2>);
    sphere_at / sphere_body(Round<3>);
    plates_at / plates_body(Plates);
    ellipsoid_at / ellipsoid_body(Ellipsoid);
    capped_at / capped_body(Capped);
    axon_at / axon_body(Scattered<'_, AxonScene>);
    cylinders_at / cylinders_body(Scattered<'_, RoundScene<'_, 2>>);
    spheres_at / spheres_body(Scattered<'_, RoundScene<'_, 3>>);
    mesh_at / mesh_body(Scattered<'_, MeshScene<'_>>);
}

fn slopes_of(level: SimdLevel, walk: &Walk<'_>, slopes: &Slopes, first: u64, n: u64) -> Tally {
    match walk.shape {
        Shape::Cylinder { radius } => {
            cylinder_slopes_at(level, walk, slopes, &Round::new(*radius, 0.0), first, n)
        }
        Shape::Sphere { radius } => {
            sphere_slopes_at(level, walk, slopes, &Round::new(*radius, 0.0), first, n)
        }
        Shape::Plates { separation, .. } => {
            plates_slopes_at(level, walk, slopes, &Plates::new(*separation, 0.0, &[]), first, n)
        }
        Shape::Ellipsoid { semi_axes } => {
            ellipsoid_slopes_at(level, walk, slopes, &Ellipsoid::new(*semi_axes, 0.0), first, n)
        }
        Shape::Capped { radius, length } => {
            capped_slopes_at(level, walk, slopes, &Capped::new(*radius, *length, 0.0), first, n)
        }
        // `Slopes::fits` has nothing else.
        _ => free_slopes_at(level, walk, slopes, &Free, first, n),
    }
}

macro_rules! slopes {
    ($($at:ident / $body:ident ($walls:ty);)*) => {
        $(
            #[inline(always)]
            fn $body<L: Lanes>(
                walk: &Walk<'_>,
                slopes: &Slopes,
                walls: &$walls,
                first: u64,
                n: u64,
            ) -> Tally {
                derivative::chunk_of::<L, $walls>(walk, slopes, walls, first, n)
            }
            dispatch! {
                fn $at / $body(
                    walk: &Walk<'_>,
                    slopes: &Slopes,
                    walls: &$walls,
                    first: u64,
                    n: u64,
                ) -> Tally
            }
        )*
    };
}
slopes! {
    free_slopes_at / free_slopes(Free);
    cylinder_slopes_at / cylinder_slopes(Round<2>);
    sphere_slopes_at / sphere_slopes(Round<3>);
    plates_slopes_at / plates_slopes(Plates);
    ellipsoid_slopes_at / ellipsoid_slopes(Ellipsoid);
    capped_slopes_at / capped_slopes(Capped);
}

#[inline(always)]
fn chunk_of<L: Lanes, W: Walls>(
    walk: &Walk<'_>,
    walls: &W,
    first: u64,
    n: u64,
    path: &mut Path<'_>,
) -> Tally {
    let protocol = walk.protocol;
    let mut tally = Tally::new(protocol.measurements, walk.media.len());
    let mut sums = vec![[[0.0; LANES]; 4]; protocol.measurements * walk.media.len()];
    let mut sums_of_positions = vec![[[0.0; LANES]; 3]; protocol.profiles];
    let keys = Keys::new(walk.seed);
    let mut at = 0;
    while at < n {
        let count = (n - at).min(LANES as u64) as usize;
        eight::<L, W>(
            walk,
            walls,
            &keys,
            first + at,
            count,
            &mut sums_of_positions,
            &mut sums,
            &mut tally,
            path,
        );
        at += LANES as u64;
    }
    for (sum, lanes) in tally.sums.iter_mut().zip(&sums) {
        for (sum, lanes) in sum.iter_mut().zip(lanes) {
            *sum = simd::tree_sum(lanes);
        }
    }
    tally.steps = n * protocol.steps.len() as u64;
    tally
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn eight<L: Lanes, W: Walls>(
    walk: &Walk<'_>,
    walls: &W,
    keys: &Keys,
    first: u64,
    count: usize,
    positions: &mut [[Block; 3]],
    sums: &mut [[Block; 4]],
    tally: &mut Tally,
    path: &mut Path<'_>,
) {
    let protocol = walk.protocol;
    let items = Items::<L>::new(first, STEPS);
    let start = starts(walk, first);
    let mut memory = walls.enter(&start);
    let mut x = [L::load(&start[0]), L::load(&start[1]), L::load(&start[2])];
    let mut weight = L::splat(1.0);
    // The lanes past the last walker count for nothing.
    let media = walk.media.len();
    let mut groups = [[0.0; LANES]; MEDIA];
    let compartments = (0..count).map(|l| walls.compartment(&memory, l));
    for (l, c) in compartments.enumerate() {
        groups[c][l] = 1.0;
        tally.walkers[c] += 1;
    }
    for p in positions.iter_mut() {
        *p = [[0.0; LANES]; 3];
    }
    let mut readings = protocol.readings.iter().peekable();
    add_positions(protocol, 0, &x, positions);
    path.pass(0, &x);
    while let Some(reading) = readings.next_if(|r| r.node == 0) {
        read(reading, weight, &groups[..media], positions, sums);
    }
    let mut n = [L::splat(0.0); NORMALS];
    for k in 0..protocol.steps.len() {
        let part = k % GROUP;
        if part == 0 {
            normals(keys, (k / GROUP) as u32, items, &mut n);
        }
        let diffusivity = walk.media[0].diffusivity;
        let root = (diffusivity * protocol.steps[k]).sqrt();
        let mut spread = L::splat(std::f64::consts::SQRT_2 * root);
        if let Some(factor) = walls.spread::<L>(&memory) {
            spread = spread.mul(factor);
        }
        let d = [n[3 * part].mul(spread), n[3 * part + 1].mul(spread), n[3 * part + 2].mul(spread)];
        let chance = |lane: usize, hit: u32| choice(walk.seed, first + lane as u64, k, hit);
        let reach = Reach { inverse: L::splat(0.5 / root), reach: L::splat(root / diffusivity) };
        let step = Step { reach, chance: &chance, duration: protocol.steps[k] };
        tally.stopped += u64::from(walls.advance(&mut x, d, &mut weight, &mut memory, &step));
        add_positions(protocol, k + 1, &x, positions);
        path.pass(k + 1, &x);
        while let Some(reading) = readings.next_if(|r| r.node == k + 1) {
            let lasts = match walls.age(&memory) {
                Some(age) if age.iter().any(|a| *a != 0.0) => {
                    weight.mul(L::load(&age.map(|a| (-a).exp())))
                }
                _ => weight,
            };
            read(reading, lasts, &groups[..media], positions, sums);
        }
    }
    tally.escaped += escapes(walls, &x, &memory, count);
}

/// Where eight walkers start.
#[inline(always)]
pub(super) fn starts(walk: &Walk<'_>, first: u64) -> [Block; 3] {
    let mut start = [[0.0; LANES]; 3];
    for l in 0..LANES {
        let p = walk.start.place(walk.shape, walk.seed, first + l as u64);
        for (start, p) in start.iter_mut().zip(p) {
            start[l] = p;
        }
    }
    start
}

/// The uniform number of a walker for a choice at its `hit`th hit in step `k`.
#[inline(always)]
pub(super) fn choice(seed: u64, walker: u64, k: usize, hit: u32) -> f64 {
    uniform_pair(Philox::new(seed).block(hit, k as u32, walker, CHOICE))[0]
}

/// How many of the first `count` walkers are where none may be.
#[inline(always)]
pub(super) fn escapes<L: Lanes, W: Walls>(
    walls: &W,
    x: &[L; 3],
    memory: &W::Memory,
    count: usize,
) -> u64 {
    let mut end = [[0.0; LANES]; 3];
    for (x, end) in x.iter().zip(&mut end) {
        x.store(end);
    }
    let [x, y, z] = end;
    let outside = |l: &usize| !walls.holds([x[*l], y[*l], z[*l]], memory, *l);
    (0..count).filter(outside).count() as u64
}

/// Adds the weighted positions of a node.
#[inline(always)]
pub(super) fn add_positions<L: Lanes>(
    protocol: &Protocol,
    node: usize,
    x: &[L; 3],
    sums: &mut [[Block; 3]],
) {
    for w in &protocol.nodes[node] {
        let sum = &mut sums[w.profile];
        for a in 0..3 {
            x[a].madd(L::splat(w.weight), L::load(&sum[a])).store(&mut sum[a]);
        }
    }
}

/// Adds the signals of eight walkers.
#[inline(always)]
fn read<L: Lanes>(
    reading: &Reading,
    weight: L,
    groups: &[Block],
    positions: &[[Block; 3]],
    sums: &mut [[Block; 4]],
) {
    let profiles = &positions[reading.profiles.clone()];
    let per = profiles.len();
    for (i, measurement) in reading.measurements.iter().enumerate() {
        let [real, imaginary] =
            turn(angle::<L>(profiles, &reading.amplitudes[i * per..(i + 1) * per]));
        for (c, group) in groups.iter().enumerate() {
            if groups.len() > 1 && *group == [0.0; LANES] {
                continue;
            }
            let weight = weight.mul(L::load(group));
            let (real, imaginary) = (real.mul(weight), imaginary.mul(weight));
            add_moments(&mut sums[*measurement * groups.len() + c], real, imaginary);
        }
    }
}

/// Adds a complex number and the squares of its parts to four sums.
#[inline(always)]
pub(super) fn add_moments<L: Lanes>(sums: &mut [Block], real: L, imaginary: L) {
    let terms = [real, imaginary, real.mul(real), imaginary.mul(imaginary)];
    for (sum, term) in sums.iter_mut().zip(terms) {
        L::load(sum).add(term).store(sum);
    }
}

/// The sum of positions times amplitudes.
#[inline(always)]
pub(super) fn angle<L: Lanes>(profiles: &[[Block; 3]], amplitudes: &[[f64; 3]]) -> L {
    let mut phase = L::splat(0.0);
    for (p, amplitude) in profiles.iter().zip(amplitudes) {
        for a in 0..3 {
            phase = L::load(&p[a]).madd(L::splat(amplitude[a]), phase);
        }
    }
    phase
}

/// (cos φ, sin φ), absolute error 1e-11 times 1 + |φ|/1e5.
#[inline(always)]
pub(super) fn turn<L: Lanes>(phase: L) -> [L; 2] {
    // Adding and taking away 1.5 * 2^52 rounds to the nearest integer.
    let round = L::splat(6_755_399_441_055_744.0);
    let turns = phase.mul(L::splat(0.5 * std::f64::consts::FRAC_1_PI));
    let rest = turns.sub(turns.add(round).sub(round));
    // A quarter of the angle, then twice the double-angle formulae.
    let x = rest.mul(L::splat(std::f64::consts::FRAC_PI_2));
    let z = x.mul(x);
    let (mut s, mut c) =
        (x.mul(horner(&crate::normal_numbers::SINE, z)), horner(&crate::normal_numbers::COSINE, z));
    for _ in 0..2 {
        let twice = s.add(s);
        let doubled = twice.mul(c);
        c = twice.nmadd(s, L::splat(1.0));
        s = doubled;
    }
    [c, s]
}
