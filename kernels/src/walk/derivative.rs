//! Pathwise derivatives of signals with respect to a length, the diffusivity and the
//! strength of the gradient.
//!
//! Where a walker is, $x(R, \sigma)$, depends on the lengths R of its pore and on its steps,
//! $\sigma = \sqrt{2D\Delta t}$. With the same random numbers paths in a pore that is c times as
//! large with steps c times as long are c times the paths, $x(cR, c\sigma) = c\,x(R, \sigma)$, so
//! that by Euler's theorem one derivative gives the other,
//!
//! $$u = \sigma\frac{\partial x}{\partial\sigma},\qquad
//!   \frac{\partial x}{\partial D} = \frac{u}{2D},\qquad
//!   \frac{\partial x}{\partial R} = \frac{x - u}{R}$$
//!
//! Each walker carries u through its flights: $\dot d = d$ for a displacement d, and at a wall
//! the derivatives of the point of the hit, of the normal there (curvature) and of the
//! mirrored rest (`dual.rs`). With the phases $\varphi$ of x and $\varphi_u$ of u, the sum of
//! which is the same, a measurement whose known spread about straight paths is
//! $e^{-DB}$ and whose gradient is multiplied by g has
//!
//! $$\frac{\partial S}{\partial\theta} =
//!   e^{-DB}\,\frac1N\sum\Bigl(i\,\frac{\partial\varphi}{\partial\theta} -
//!   \frac{\partial(DB)}{\partial\theta}\Bigr)e^{i\varphi},\qquad
//!   \frac{\partial\varphi}{\partial\theta} = \frac{\varphi - \varphi_u}R,\
//!   \frac{\varphi_u}{2D},\ \varphi,\qquad
//!   \frac{\partial(DB)}{\partial\theta} = 0,\ B,\ 2DB$$
//!
//! The means are those of the derivatives, without bias, where the path is a continuous
//! function of the parameter: between mirrors it is. A wall that lets walkers through or takes a
//! part of their magnetisation at a hit makes jumps that these sums do not see
//! ([`Slopes::fits`]).
//!
//! | symbol | unit |
//! |---|---|
//! | R | µm |
//! | D | µm²/ms |
//! | B | ms/µm² |
//! | g | 1 |
//!
//! Source: pathwise estimators and their validity, Glasserman 2003, *Monte Carlo Methods in
//! Financial Engineering*, doi:10.1007/978-0-387-21617-1, section 7.2; the linearised mirror,
//! Chernov & Markarian 2006, *Chaotic Billiards*, doi:10.1090/surv/127, section 3.3. Validated
//! by `models/tests/suite/derivatives.rs`.

use super::driver::{add_moments, add_positions, angle, choice, escapes, starts, turn};
use super::dual::{Dual, Number};
use super::protocol::Reading;
use super::tally::{SLOPES, Tally};
use super::wall::{Step, Walls};
use super::wall_law::Reach;
use super::{Shape, Walk};
use crate::lanes::Lanes;
use crate::normal_numbers::{GROUP, Items, Keys, NORMALS, STEPS, normals};
use crate::simd::{self, Block, LANES};

/// What derivatives need besides a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Slopes {
    /// R: the length along which the first derivative is; all others keep their ratio to it.
    pub length: f64,
    /// B of every measurement, ms/µm².
    pub bridges: Vec<f64>,
}

impl Slopes {
    /// Whether paths of a walk are continuous in all parameters, and known to the estimator:
    /// one medium in free space, between plates, in a cylinder, sphere, ellipsoid or capped
    /// cylinder, with walls that mirror and nothing else, from uniform starts.
    pub fn fits(walk: &Walk<'_>) -> bool {
        let shape = match walk.shape {
            Shape::Plates { membranes, .. } => membranes.is_empty(),
            Shape::Free | Shape::Cylinder { .. } | Shape::Sphere { .. } => true,
            Shape::Ellipsoid { .. } | Shape::Capped { .. } => true,
            _ => false,
        };
        let medium = walk.media.len() == 1 && walk.media[0].relaxivity == 0.0;
        shape && medium && matches!(walk.start, super::Start::Uniform(_))
    }
}

/// Sums of a chunk in lanes.
struct Sums {
    /// Of x and u `[profile]`.
    places: Vec<[Block; 3]>,
    tangents: Vec<[Block; 3]>,
    signals: Vec<[Block; 4]>,
    slopes: Vec<[Block; SLOPES]>,
}

#[inline(always)]
pub(super) fn chunk_of<L: Lanes, W: Walls>(
    walk: &Walk<'_>,
    slopes: &Slopes,
    walls: &W,
    first: u64,
    n: u64,
) -> Tally {
    let protocol = walk.protocol;
    let mut tally = Tally::with_slopes(protocol.measurements);
    let zero = [[0.0; LANES]; 3];
    let mut sums = Sums {
        places: vec![zero; protocol.profiles],
        tangents: vec![zero; protocol.profiles],
        signals: vec![[[0.0; LANES]; 4]; protocol.measurements],
        slopes: vec![[[0.0; LANES]; SLOPES]; protocol.measurements],
    };
    let keys = Keys::new(walk.seed);
    let mut at = 0;
    while at < n {
        let count = (n - at).min(LANES as u64) as usize;
        eight::<L, W>(walk, slopes, walls, &keys, first + at, count, &mut sums, &mut tally);
        at += LANES as u64;
    }
    for (sum, lanes) in tally.sums.iter_mut().zip(&sums.signals) {
        *sum = lanes.map(|l| simd::tree_sum(&l));
    }
    for (sum, lanes) in tally.slopes.iter_mut().zip(&sums.slopes) {
        *sum = lanes.map(|l| simd::tree_sum(&l));
    }
    tally.steps = n * protocol.steps.len() as u64;
    tally
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn eight<L: Lanes, W: Walls>(
    walk: &Walk<'_>,
    slopes: &Slopes,
    walls: &W,
    keys: &Keys,
    first: u64,
    count: usize,
    sums: &mut Sums,
    tally: &mut Tally,
) {
    let protocol = walk.protocol;
    let items = Items::<L>::new(first, STEPS);
    let start = starts(walk, first);
    let mut memory = walls.enter(&start);
    // Starts are points of the shape: they grow with it.
    let mut x = start.map(|x| Dual::lifted(L::load(&x)));
    let mut group = [0.0; LANES];
    group[..count].fill(1.0);
    let group = L::load(&group);
    tally.walkers[0] += count as u64;
    for p in sums.places.iter_mut().chain(&mut sums.tangents) {
        *p = [[0.0; LANES]; 3];
    }
    let diffusivity = walk.media[0].diffusivity;
    let mut readings = protocol.readings.iter().peekable();
    pass(walk, 0, &x, sums);
    while let Some(reading) = readings.next_if(|r| r.node == 0) {
        read(reading, slopes, diffusivity, group, sums);
    }
    let mut n = [L::splat(0.0); NORMALS];
    for k in 0..protocol.steps.len() {
        let part = k % GROUP;
        if part == 0 {
            normals(keys, (k / GROUP) as u32, items, &mut n);
        }
        let root = (diffusivity * protocol.steps[k]).sqrt();
        let spread = L::splat(std::f64::consts::SQRT_2 * root);
        let of = |a: usize| {
            let d = n[3 * part + a].mul(spread);
            Dual { value: d, slope: d }
        };
        let d = [of(0), of(1), of(2)];
        let chance = |lane: usize, hit: u32| choice(walk.seed, first + lane as u64, k, hit);
        let reach = Reach { inverse: L::splat(0.5 / root), reach: L::splat(root / diffusivity) };
        let step = Step { reach, chance: &chance, duration: protocol.steps[k] };
        tally.stopped += u64::from(walls.advance_dual(&mut x, d, &mut memory, &step));
        pass(walk, k + 1, &x, sums);
        while let Some(reading) = readings.next_if(|r| r.node == k + 1) {
            read(reading, slopes, diffusivity, group, sums);
        }
    }
    tally.escaped += escapes(walls, &x.map(|x| x.value), &memory, count);
}

#[inline(always)]
fn pass<L: Lanes>(walk: &Walk<'_>, node: usize, x: &[Dual<L>; 3], sums: &mut Sums) {
    add_positions(walk.protocol, node, &x.map(|x| x.value), &mut sums.places);
    add_positions(walk.protocol, node, &x.map(|x| x.slope), &mut sums.tangents);
}

/// Adds signals and slopes of eight walkers.
#[inline(always)]
fn read<L: Lanes>(reading: &Reading, slopes: &Slopes, diffusivity: f64, group: L, sums: &mut Sums) {
    let places = &sums.places[reading.profiles.clone()];
    let tangents = &sums.tangents[reading.profiles.clone()];
    let per = places.len();
    for (i, m) in reading.measurements.iter().enumerate() {
        let amplitudes = &reading.amplitudes[i * per..(i + 1) * per];
        let phase = angle::<L>(places, amplitudes);
        let moved = angle::<L>(tangents, amplitudes);
        let [real, imaginary] = turn(phase).map(|v| v.mul(group));
        add_moments(&mut sums.signals[*m], real, imaginary);
        let bridge = slopes.bridges[*m];
        let turns = [
            phase.sub(moved).mul(L::splat(1.0 / slopes.length)),
            moved.mul(L::splat(0.5 / diffusivity)),
            phase,
        ];
        let fades = [0.0, bridge, 2.0 * diffusivity * bridge];
        let sum = &mut sums.slopes[*m];
        for (p, (turn, fade)) in turns.into_iter().zip(fades).enumerate() {
            let fade = L::splat(-fade);
            let re = turn.nmadd(imaginary, fade.mul(real));
            let im = turn.madd(real, fade.mul(imaginary));
            add_moments(&mut sum[4 * p..4 * p + 4], re, im);
        }
    }
}
