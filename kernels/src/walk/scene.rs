//! Walkers in scenes of many walls: eight at once where nothing is near, one by one where
//! something is.
//!
//! Every walker carries a ball that holds no wall (its whole pore, where that is a ball). A step
//! that ends in the ball has met no wall, because a ball is convex; this is asked of eight
//! walkers at a time. The others fly through the scene one by one, hit after hit.
//!
//! The compartment of a walker is what it remembers, never what its position says, so that
//! rounding cannot carry it through a wall; positions are compared with it at the end only.
//! Validated by `models/tests/suite/tissue.rs`.

use super::medium::Medium;
use super::wall::{Step, Walls};
use crate::lanes::Lanes;
use crate::simd::{Block, LANES};

/// A walker between two steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walker {
    /// Position, µm; unwrapped where the scene is periodic.
    pub(crate) x: [f64; 3],
    /// The scene's own number of where it is.
    pub(crate) region: u32,
    /// What the scene adds to coordinates of its walls to meet the walker.
    pub(crate) shift: [f64; 3],
    /// Centre of a ball without walls.
    pub(crate) centre: [f64; 3],
    /// Square of its radius.
    pub(crate) safe: f64,
    /// What is left of the magnetisation.
    pub(crate) weight: f64,
    /// Time over T2 so far.
    pub(crate) age: f64,
}

/// What a flight needs to know.
pub(crate) struct Flight<'a> {
    /// Compartments.
    pub(crate) media: &'a [Medium],
    /// Of the step, ms.
    pub(crate) duration: f64,
    /// Uniform numbers in [0, 1) by hit.
    pub(crate) chance: &'a dyn Fn(u32) -> f64,
}

/// Many walls.
pub(crate) trait Scene: Sync {
    /// Directions in which balls are measured: 2 where all is uniform along z.
    const DIMENSIONS: usize;

    /// The region that holds a point.
    fn region(&self, x: [f64; 3]) -> u32;

    /// The number of the medium of a region.
    fn medium(&self, region: u32) -> usize;

    /// Sets shift, centre and safe of a walker whose x and region are set.
    fn settle(&self, walker: &mut Walker);

    /// Flies a displacement; false when it met too many walls. Sets all of the walker.
    fn fly(&self, walker: &mut Walker, displacement: [f64; 3], flight: &Flight<'_>) -> bool;

    /// Whether the position agrees with the region, but for rounding.
    fn agrees(&self, walker: &Walker) -> bool;
}

/// Walls of a scene.
pub(crate) struct Scattered<'a, S> {
    pub(crate) scene: &'a S,
    pub(crate) media: &'a [Medium],
}

/// Eight walkers of a scene.
pub(crate) struct Eight {
    region: [u32; LANES],
    shift: [[f64; 3]; LANES],
    centre: [Block; 3],
    safe: Block,
    /// Square root of the diffusivity over that of the first medium.
    spread: Block,
    rate: Block,
    age: Block,
}

impl<S: Scene> Scattered<'_, S> {
    fn put(&self, memory: &mut Eight, l: usize, w: &Walker) {
        memory.region[l] = w.region;
        memory.shift[l] = w.shift;
        for a in 0..3 {
            memory.centre[a][l] = w.centre[a];
        }
        memory.safe[l] = w.safe;
        let medium = &self.media[self.scene.medium(w.region)];
        memory.spread[l] = (medium.diffusivity / self.media[0].diffusivity).sqrt();
        memory.rate[l] = medium.relaxation;
        memory.age[l] = w.age;
    }
}

impl<S: Scene> Walls for Scattered<'_, S> {
    type Memory = Eight;

    fn enter(&self, x: &[Block; 3]) -> Eight {
        let mut memory = Eight {
            region: [0; LANES],
            shift: [[0.0; 3]; LANES],
            centre: [[0.0; LANES]; 3],
            safe: [0.0; LANES],
            spread: [1.0; LANES],
            rate: [0.0; LANES],
            age: [0.0; LANES],
        };
        for l in 0..LANES {
            let x = [x[0][l], x[1][l], x[2][l]];
            let region = self.scene.region(x);
            let zero = [0.0; 3];
            let mut w =
                Walker { x, region, shift: zero, centre: x, safe: 0.0, weight: 1.0, age: 0.0 };
            self.scene.settle(&mut w);
            self.put(&mut memory, l, &w);
        }
        memory
    }

    fn compartment(&self, memory: &Eight, lane: usize) -> usize {
        self.scene.medium(memory.region[lane])
    }

    #[inline(always)]
    fn spread<L: Lanes>(&self, memory: &Eight) -> Option<L> {
        Some(L::load(&memory.spread))
    }

    fn age(&self, memory: &Eight) -> Option<Block> {
        Some(memory.age)
    }

    #[inline(always)]
    fn advance<L: Lanes>(
        &self,
        x: &mut [L; 3],
        d: [L; 3],
        weight: &mut L,
        memory: &mut Eight,
        step: &Step<'_, L>,
    ) -> u32 {
        let mut end = *x;
        let mut square = L::splat(0.0);
        for a in 0..3 {
            end[a] = x[a].add(d[a]);
            if a < S::DIMENSIONS {
                let from = end[a].sub(L::load(&memory.centre[a]));
                square = from.madd(from, square);
            }
        }
        let duration = L::splat(step.duration);
        L::load(&memory.rate).madd(duration, L::load(&memory.age)).store(&mut memory.age);
        let mut far = !L::mask_bits(L::load(&memory.safe).ge(square));
        if far == 0 {
            *x = end;
            return 0;
        }
        let (mut from, mut to, mut by) = ([[0.0; 8]; 3], [[0.0; 8]; 3], [[0.0; 8]; 3]);
        let mut lasts = [0.0; 8];
        for a in 0..3 {
            x[a].store(&mut from[a]);
            end[a].store(&mut to[a]);
            d[a].store(&mut by[a]);
        }
        weight.store(&mut lasts);
        let mut stopped = 0;
        while far != 0 {
            let l = far.trailing_zeros() as usize;
            far &= far - 1;
            let at = |v: &[Block; 3]| [v[0][l], v[1][l], v[2][l]];
            let mut w = Walker {
                x: at(&from),
                region: memory.region[l],
                shift: memory.shift[l],
                centre: at(&memory.centre),
                safe: memory.safe[l],
                weight: lasts[l],
                age: memory.age[l],
            };
            let chance = |hit: u32| (step.chance)(l, hit);
            let flight = Flight { media: self.media, duration: step.duration, chance: &chance };
            stopped += u32::from(!self.scene.fly(&mut w, at(&by), &flight));
            for (to, x) in to.iter_mut().zip(w.x) {
                to[l] = x;
            }
            lasts[l] = w.weight;
            self.put(memory, l, &w);
        }
        for a in 0..3 {
            x[a] = L::load(&to[a]);
        }
        *weight = L::load(&lasts);
        stopped
    }

    fn holds(&self, x: [f64; 3], memory: &Eight, lane: usize) -> bool {
        let walker = Walker {
            x,
            region: memory.region[lane],
            shift: memory.shift[lane],
            centre: x,
            safe: 0.0,
            weight: 1.0,
            age: 0.0,
        };
        x.iter().all(|v| v.is_finite()) && self.scene.agrees(&walker)
    }
}

/// A periodic cell cut into small boxes, each with the walls that a short flight from
/// it can meet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid {
    /// Edges of the cell, µm; those beyond `dimensions` are infinite.
    pub(crate) cell: [f64; 3],
    /// Lower corner of the cell.
    pub(crate) corner: [f64; 3],
    counts: [usize; 3],
    per_um: [f64; 3],
    /// Longest flight for which the list of a box is whole, µm.
    pub(crate) reach: f64,
    starts: Vec<u32>,
    /// Wall and image: the shift is `image` cells.
    entries: Vec<(u32, [i8; 3])>,
}

impl Grid {
    /// `bounds(i)` are the corners of a box about wall i; boxes of the grid have edges of
    /// about `edge` µm.
    pub(crate) fn new(
        cell: [f64; 3],
        corner: [f64; 3],
        dimensions: usize,
        edge: f64,
        reach: f64,
        bounds: &[[[f64; 3]; 2]],
        touches: impl Fn(usize, [f64; 3], [f64; 3]) -> bool,
    ) -> Self {
        let mut counts = [1; 3];
        for a in 0..dimensions {
            counts[a] = ((cell[a] / edge).floor() as usize).clamp(1, 512);
        }
        let mut per_um = [0.0; 3];
        for a in 0..dimensions {
            per_um[a] = counts[a] as f64 / cell[a];
        }
        let mut lists: Vec<Vec<(u32, [i8; 3])>> = vec![Vec::new(); counts.iter().product()];
        for (i, [low, high]) in bounds.iter().enumerate() {
            // Boxes in unwrapped numbers, then their images.
            let mut range = [[0_i64, 0]; 3];
            for a in 0..dimensions {
                let at = |v: f64| ((v - corner[a]) * per_um[a]).floor() as i64;
                range[a] = [at(low[a] - reach), at(high[a] + reach)];
            }
            for z in range[2][0]..=range[2][1] {
                for y in range[1][0]..=range[1][1] {
                    for x in range[0][0]..=range[0][1] {
                        let n = [x, y, z];
                        let (mut image, mut place) = ([0_i8; 3], [0_usize; 3]);
                        let (mut from, mut to) = ([f64::NEG_INFINITY; 3], [f64::INFINITY; 3]);
                        for a in 0..dimensions {
                            let count = counts[a] as i64;
                            place[a] = n[a].rem_euclid(count) as usize;
                            image[a] = -n[a].div_euclid(count) as i8;
                            from[a] = corner[a] + n[a] as f64 / per_um[a] - reach;
                            to[a] = corner[a] + (n[a] + 1) as f64 / per_um[a] + reach;
                        }
                        if !touches(i, from, to) {
                            continue;
                        }
                        let place = (place[2] * counts[1] + place[1]) * counts[0] + place[0];
                        let entry = (i as u32, image);
                        if !lists[place].contains(&entry) {
                            lists[place].push(entry);
                        }
                    }
                }
            }
        }
        let mut starts = vec![0];
        let mut entries = Vec::new();
        for list in lists {
            entries.extend(list);
            starts.push(entries.len() as u32);
        }
        Self { cell, corner, counts, per_um, reach, starts, entries }
    }

    /// How far the cell of a point is from the first one.
    pub(crate) fn shift(&self, x: [f64; 3]) -> [f64; 3] {
        let mut out = [0.0; 3];
        for a in 0..3 {
            if self.per_um[a] > 0.0 {
                out[a] = self.cell[a] * ((x[a] - self.corner[a]) / self.cell[a]).floor();
            }
        }
        out
    }

    /// Number of boxes along each axis.
    pub(crate) fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// The box of a point whose shift is taken away.
    pub(crate) fn place(&self, x: [f64; 3]) -> [usize; 3] {
        let mut place = [0_usize; 3];
        for a in 0..3 {
            let n = ((x[a] - self.corner[a]) * self.per_um[a]) as usize;
            place[a] = n.min(self.counts[a] - 1);
        }
        place
    }

    /// The box by one number.
    pub(crate) fn number(&self, place: [usize; 3]) -> usize {
        (place[2] * self.counts[1] + place[1]) * self.counts[0] + place[0]
    }

    /// Walls of a box.
    pub(crate) fn list(&self, number: usize) -> std::ops::Range<usize> {
        self.starts[number] as usize..self.starts[number + 1] as usize
    }

    /// Wall and image of an entry.
    pub(crate) fn entry(&self, i: usize) -> (usize, [f64; 3]) {
        let (wall, image) = self.entries[i];
        let mut by = [0.0; 3];
        for a in 0..3 {
            if image[a] != 0 {
                by[a] = self.cell[a] * f64::from(image[a]);
            }
        }
        (wall as usize, by)
    }

    /// All entries, list after list.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
