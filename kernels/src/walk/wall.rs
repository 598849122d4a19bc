//! How a displacement ends between walls: the walker flies straight to the exact point of
//! a hit, is mirrored there, and flies the rest, hit after hit.
//!
//! $$t = \frac{\sqrt{b^2 - ac} - b}{a},\quad a = v\cdot v,\ b = p\cdot v,\ c = p\cdot p - R^2,
//!   \qquad v' = v - 2(v\cdot n)n$$
//!
//! is the hit of a round wall from inside: the larger root, so that a walker that stands
//! on the wall needs no push. Mirrored flight keeps a uniform density uniform in any shape,
//! because its transition density is symmetric.
//!
//! **The slide on a curved wall.** Before a plane wall mirrored Gaussian flights are exact. On
//! a wall of radius R they wander too far along it: a flight keeps its angular momentum, so
//! the variance of the angle grows with $4\bar y/R$, $\bar y$ the mean depth of the straight
//! flight, where Brownian motion has $2\bar y/R$ with its own mean depth. Summed over starting
//! depths the two are $\tfrac23\sigma^2/R$ and $\tfrac12\sigma^2/R$ with
//! $\sigma^2 = 2D\Delta t$, and position forgets itself too fast by about
//! $\sigma^2/7R^2$ in a cylinder and $\sigma^2/3.4R^2$ in a sphere. At a hit with normal
//! part s and tangential part T of the whole displacement, with the share r of the flight
//! left, point and direction are therefore turned back along the wall by the angle
//!
//! $$\frac{s\,|T|}{R^2}\,r(1 - r)$$
//!
//! A plane wall is hit anywhere along the flight alike, so that the mean of r (1 - r) is 1/6
//! and the turns take away the difference (variance $-2\cdot\tfrac16 s/R$ on hits of rate s);
//! $O(\sigma^4)$ is left. The turn depends on s, |T| and r (1 - r) only, which a flight and its
//! reverse share, so uniform densities stay uniform. It vanishes where a flight begins or ends on
//! the wall: where a walker ends is a continuous function of its start, of all lengths and of
//! the step, and has derivatives (`derivative.rs`). Measured in `docs/simulation.md`.
//!
//! Positions are in the frame of the shape: the axis of a cylinder along z, the normal of
//! plates along x. Validated by the tests below and by `models/tests/suite/simulation.rs`.

use super::dual::{Dual, Number};
use super::wall_law::Reach;
use crate::lanes::Lanes;
use crate::simd::{Block, LANES};

/// Most hits in one step; a walker that has more stays where it is for the rest of the
/// step, and is counted.
pub(super) const HITS: u32 = 1000;

/// What a step offers to the walls.
pub(crate) struct Step<'a, L> {
    /// Of every lane.
    pub(crate) reach: Reach<L>,
    /// Uniform numbers in [0, 1) by lane and hit.
    pub(crate) chance: &'a dyn Fn(usize, u32) -> f64,
    /// Length of the step, ms.
    pub(crate) duration: f64,
}

/// Walls of one shape.
pub(crate) trait Walls: Sync {
    /// What the walls remember of eight walkers between steps.
    type Memory;

    /// Begins with eight walkers.
    fn enter(&self, x: &[Block; 3]) -> Self::Memory;

    /// Moves eight walkers by `d`; `weight` is what is left of their magnetisation. Returns
    /// the number of walkers that had too many hits.
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        memory: &mut Self::Memory,
        step: &Step<'_, L>,
    ) -> u32;

    /// [`Walls::advance`] with slopes, of walls that mirror and do nothing else; shapes that
    /// have none stop all walkers. `derivative.rs` asks for no others.
    #[inline(always)]
    fn advance_dual<L: Lanes>(
        &self,
        _: &mut [Dual<L>; 3],
        _: [Dual<L>; 3],
        _: &mut Self::Memory,
        _: &Step<'_, L>,
    ) -> u32 {
        LANES as u32
    }

    /// Whether a walker is where walkers may be, but for rounding.
    fn holds(&self, x: [f64; 3], memory: &Self::Memory, lane: usize) -> bool;

    /// The compartment of a walker.
    fn compartment(&self, _: &Self::Memory, _: usize) -> usize {
        0
    }

    /// What steps are to be multiplied by, where media differ.
    #[inline(always)]
    fn spread<L: Lanes>(&self, _: &Self::Memory) -> Option<L> {
        None
    }

    /// Time over T2 that walkers have behind them, where they change their compartment.
    fn age(&self, _: &Self::Memory) -> Option<Block> {
        None
    }
}

/// Walls that mirror, and may take a part of the magnetisation at every hit: flights written
/// once for plain numbers and for those with slopes.
pub(crate) trait Mirrors: Sync {
    /// ρ, µm/ms.
    fn relaxivity(&self) -> f64;

    /// Mirrored flight; `hit` is told of every hit: the lanes that have none, and the normal
    /// part of the displacement. Returns the number of walkers that had too many.
    fn fly<L: Lanes, N: Number<L>>(
        &self,
        x: &mut [N; 3],
        d: [N; 3],
        hit: impl FnMut(L::Mask, L),
    ) -> u32;

    /// As [`Walls::holds`].
    fn contains(&self, x: [f64; 3]) -> bool;
}

impl<M: Mirrors> Walls for M {
    type Memory = ();

    fn enter(&self, _: &[Block; 3]) {}

    #[inline(always)]
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        _: &mut (),
        step: &Step<'_, L>,
    ) -> u32 {
        let rho = self.relaxivity();
        self.fly::<L, L>(x, d, |inside, s| {
            if rho > 0.0 {
                let lasts = step.reach.survival(s, L::splat(rho)).mul(*weight);
                *weight = L::select(inside, *weight, lasts);
            }
        })
    }

    #[inline(always)]
    fn advance_dual<L: Lanes>(
        &self,
        x: &mut [Dual<L>; 3],
        d: [Dual<L>; 3],
        _: &mut (),
        _: &Step<'_, L>,
    ) -> u32 {
        self.fly::<L, Dual<L>>(x, d, |_, _| {})
    }

    fn holds(&self, x: [f64; 3], (): &(), _: usize) -> bool {
        self.contains(x)
    }
}

/// No walls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free;

impl Mirrors for Free {
    fn relaxivity(&self) -> f64 {
        0.0
    }

    #[inline(always)]
    fn fly<L: Lanes, N: Number<L>>(
        &self,
        x: &mut [N; 3],
        d: [N; 3],
        _: impl FnMut(L::Mask, L),
    ) -> u32 {
        for a in 0..3 {
            x[a] = x[a].plus(d[a]);
        }
        0
    }

    fn contains(&self, x: [f64; 3]) -> bool {
        x.iter().all(|v| v.is_finite())
    }
}

/// A cylinder along z (`DIM` = 2) or a sphere (3) about the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round<const DIM: usize> {
    radius: f64,
    relaxivity: f64,
}

impl<const DIM: usize> Round<DIM> {
    pub(crate) fn new(radius: f64, relaxivity: f64) -> Self {
        Self { radius, relaxivity }
    }

    #[inline(always)]
    fn square<L: Lanes, N: Number<L>>(x: &[N; 3]) -> N {
        let mut sum = x[0].times(x[0]);
        for v in &x[1..DIM] {
            sum = v.fused(*v, sum);
        }
        sum
    }
}

impl<const DIM: usize> Mirrors for Round<DIM> {
    fn relaxivity(&self) -> f64 {
        self.relaxivity
    }

    #[inline(always)]
    fn fly<L: Lanes, N: Number<L>>(
        &self,
        x: &mut [N; 3],
        d: [N; 3],
        mut hit: impl FnMut(L::Mask, L),
    ) -> u32 {
        let square = N::constant(self.radius * self.radius);
        let (zero, one) = (N::constant(0.0), N::constant(1.0));
        for a in DIM..3 {
            x[a] = x[a].plus(d[a]);
        }
        let (mut full, mut left) = (d, one);
        let mut hits = 0;
        loop {
            let mut end = *x;
            let mut v = full;
            for a in 0..DIM {
                v[a] = full[a].times(left);
                end[a] = x[a].plus(v[a]);
            }
            // NaN counts as outside.
            let inside = square.value().ge(Self::square::<L, N>(&end).value());
            let bits = L::mask_bits(inside);
            if bits == 0xff || hits == HITS {
                for a in 0..DIM {
                    x[a] = N::either(inside, end[a], x[a]);
                }
                return bits.count_zeros();
            }
            hits += 1;
            let a2 = Self::square::<L, N>(&v);
            let c = Self::square::<L, N>(x).minus(square);
            let mut b = x[0].times(v[0]);
            for a in 1..DIM {
                b = x[a].fused(v[a], b);
            }
            let root = b.times(b).minus(a2.times(c)).above().root();
            let t = root.minus(b).over(a2).cut();
            let mut place = *x;
            for a in 0..DIM {
                place[a] = v[a].fused(t, x[a]);
            }
            // Rounding: the point is put on the wall, a part in 1e15 to the inside.
            let half = N::constant(0.5 / (self.radius * self.radius));
            let factor = square.minus(Self::square::<L, N>(&place)).fused(half, one);
            let factor = factor.times(N::constant(1.0 / self.radius));
            let mut s = zero;
            let mut n = place;
            for a in 0..DIM {
                n[a] = place[a].times(factor);
                s = n[a].fused(full[a], s);
            }
            hit(inside, s.value());
            let rest = t.less(left, left);
            // The slide: normal and tangential part turn by s |T| r (1 - r) / R^2 about each
            // other, r the share of the flight that is left.
            let slide = N::constant(-1.0 / (self.radius * self.radius)).times(s);
            let slide = slide.times(rest.less(rest, rest));
            let mut along = full;
            for a in 0..DIM {
                along[a] = s.less(n[a], full[a]);
            }
            let across = Self::square::<L, N>(&along);
            let half = slide.times(slide).times(across).times(N::constant(0.25));
            let scale = one.over(one.plus(half));
            let (cosine, sine) = (one.minus(half).times(scale), slide.times(scale));
            for a in 0..DIM {
                let normal = sine.fused(along[a], cosine.times(n[a]));
                let tangent = sine.times(across).less(n[a], cosine.times(along[a]));
                let place = normal.times(N::constant(self.radius * (1.0 - 2f64.powi(-51))));
                x[a] = N::either(inside, x[a], place);
                full[a] = N::either(inside, full[a], s.less(normal, tangent));
            }
            left = N::either(inside, left, rest);
        }
    }

    fn contains(&self, x: [f64; 3]) -> bool {
        let square: f64 = x[..DIM].iter().map(|v| v * v).sum();
        square <= self.radius * self.radius * (1.0 + 1e-12) && x[2].is_finite()
    }
}

/// A wall across x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Membrane {
    /// Where, µm.
    pub position: f64,
    /// Flux over jump, µm/ms.
    pub permeability: f64,
}

/// Two plates across x, with membranes between them.
#[derive(Clone, Debug)]
pub(crate) struct Plates {
    /// From left to right, the plates first and last.
    edges: Vec<f64>,
    /// Of the inner edges.
    permeability: Vec<f64>,
    relaxivity: f64,
}

/// The layer of eight walkers and its edges.
pub(crate) struct Layers {
    layer: [usize; LANES],
    low: Block,
    high: Block,
}

impl Plates {
    /// `membranes` by rising position, inside the slab.
    pub(crate) fn new(separation: f64, relaxivity: f64, membranes: &[Membrane]) -> Self {
        let inner = membranes.iter().map(|m| m.position);
        let edges = std::iter::once(-0.5 * separation)
            .chain(inner)
            .chain(std::iter::once(0.5 * separation))
            .collect();
        let permeability = membranes.iter().map(|m| m.permeability).collect();
        Self { edges, permeability, relaxivity }
    }

    /// The layer that holds a position.
    pub(crate) fn layer(&self, x: f64) -> usize {
        let inner = &self.edges[1..self.edges.len() - 1];
        inner.iter().take_while(|edge| x > **edge).count()
    }

    /// One walker, from the point it is at; the new position, displacement done.
    fn fly(
        &self,
        mut p: f64,
        mut full: f64,
        layer: &mut usize,
        law: Reach<crate::lanes::Array<false>>,
        chance: impl Fn(u32) -> f64,
    ) -> (f64, f64) {
        use crate::lanes::Array;
        let (mut left, mut lasts, mut hits) = (1.0, 1.0, 0);
        let s = Array::<false>::splat(full.abs());
        loop {
            let v = full * left;
            let end = p + v;
            let (low, high) = (self.edges[*layer], self.edges[*layer + 1]);
            // A walker stays at the wall only where its numbers are no numbers.
            if end >= low && end <= high || !end.is_finite() {
                return (end, lasts);
            }
            let up = end > high;
            let edge = *layer + usize::from(up);
            let wall = self.edges[edge];
            left *= 1.0 - ((wall - p) / v).clamp(0.0, 1.0);
            p = wall;
            let through = edge.checked_sub(1).and_then(|i| self.permeability.get(i)).is_some_and(
                |permeability| {
                    let probability = law.transmission(s, Array::splat(*permeability)).first();
                    chance(hits) < probability
                },
            );
            hits += 1;
            if through {
                *layer = if up { edge } else { edge - 1 };
                continue;
            }
            if self.relaxivity > 0.0 && (edge == 0 || edge + 1 == self.edges.len()) {
                lasts *= law.survival(s, Array::splat(self.relaxivity)).first();
            }
            full = -full;
        }
    }
}

impl Walls for Plates {
    type Memory = Layers;

    fn enter(&self, x: &[Block; 3]) -> Layers {
        let layer = std::array::from_fn(|l| self.layer(x[0][l]));
        let edge = |more: usize| std::array::from_fn(|l| self.edges[layer[l] + more]);
        Layers { layer, low: edge(0), high: edge(1) }
    }

    #[inline(always)]
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        memory: &mut Layers,
        step: &Step<'_, L>,
    ) -> u32 {
        for a in 1..3 {
            x[a] = x[a].add(d[a]);
        }
        let end = x[0].add(d[0]);
        let low = L::mask_bits(end.ge(L::load(&memory.low)));
        let high = L::mask_bits(L::load(&memory.high).ge(end));
        let mut out = !(low & high);
        if out == 0 {
            x[0] = end;
            return 0;
        }
        let (mut from, mut to, mut by, mut lasts) = ([0.0; 8], [0.0; 8], [0.0; 8], [0.0; 8]);
        let (mut inverse, mut reach) = ([0.0; 8], [0.0; 8]);
        x[0].store(&mut from);
        end.store(&mut to);
        d[0].store(&mut by);
        weight.store(&mut lasts);
        step.reach.inverse.store(&mut inverse);
        step.reach.reach.store(&mut reach);
        while out != 0 {
            let l = out.trailing_zeros() as usize;
            out &= out - 1;
            let law = Reach { inverse: Lanes::splat(inverse[l]), reach: Lanes::splat(reach[l]) };
            let layer = &mut memory.layer[l];
            let (x, w) = self.fly(from[l], by[l], layer, law, |hit| (step.chance)(l, hit));
            to[l] = x;
            lasts[l] *= w;
            memory.low[l] = self.edges[*layer];
            memory.high[l] = self.edges[*layer + 1];
        }
        x[0] = L::load(&to);
        *weight = L::load(&lasts);
        0
    }

    /// A flight between two plates is folded once for every plate on its way, and its slope
    /// with it.
    #[inline(always)]
    fn advance_dual<L: Lanes>(
        &self,
        x: &mut [Dual<L>; 3],
        d: [Dual<L>; 3],
        memory: &mut Layers,
        step: &Step<'_, L>,
    ) -> u32 {
        let width = self.edges[self.edges.len() - 1] - self.edges[0];
        let end = x[0].plus(d[0]);
        let folds = end.value.sub(L::splat(self.edges[0])).mul(L::splat(1.0 / width)).floor();
        let odd = folds.sub((folds.mul(L::splat(0.5))).floor().mul(L::splat(2.0)));
        let sign = odd.nmadd(L::splat(2.0), L::splat(1.0));
        let mut values = x.map(|x| x.value);
        let mut weight = L::splat(1.0);
        let stopped = self.advance(&mut values, d.map(|d| d.value), &mut weight, memory, step);
        for a in 0..3 {
            let slope = x[a].slope.add(d[a].slope);
            let slope = if a == 0 { slope.mul(sign) } else { slope };
            x[a] = Dual { value: values[a], slope };
        }
        stopped
    }

    fn holds(&self, x: [f64; 3], _: &Layers, _: usize) -> bool {
        let ends = (self.edges.first(), self.edges.last());
        let inside = matches!(ends, (Some(low), Some(high)) if x[0] >= *low && x[0] <= *high);
        inside && x[1].is_finite() && x[2].is_finite()
    }
}
