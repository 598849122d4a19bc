//! Many round walls, some within others, in a periodic cell: packed cylinders or spheres,
//! with or without sheaths.
//!
//! Walls form a forest: the region inside of wall j is bounded by j and by the walls whose
//! parent is j, and the outermost region by the walls without a parent. A walker in it sees
//! the walls listed in its box of a grid; flights longer than the reach of the lists go in
//! parts. A hit from inside is the larger root of `wall.rs`, one from outside the smaller,
//!
//! $$t = \frac{-b - \sqrt{b^2 - ac}}{a},\qquad b < 0$$
//!
//! The slide of `wall.rs` has the sign of s: outside of a wall mirrored flights wander too
//! little along it, and are turned forward. Validated by `models/tests/suite/tissue.rs`.

use super::medium::{Fate, Medium};
use super::scene::{Flight, Grid, Scene, Walker};
use crate::vector::{minus, plus};

/// The region outside of all walls.
const OUTSIDE: u32 = u32::MAX;
/// Most hits and parts of a flight.
const PARTS: u32 = 2000;

/// A cylinder along z or a sphere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundWall {
    /// Centre, µm; z does not matter for cylinders.
    pub centre: [f64; 3],
    /// Radius, µm.
    pub radius: f64,
    /// The wall that holds this one.
    pub parent: Option<usize>,
    /// Number of the medium inside, down to the walls within.
    pub medium: usize,
    /// Flux over jump, µm/ms.
    pub permeability: f64,
}

/// Why walls can't be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// Two walls.
    pub walls: [usize; 2],
    /// By how much they overlap, or the inner sticks out, µm.
    pub by: f64,
}

/// Walls in a periodic cell.
#[derive(Clone, PartialEq)]
pub struct Rounds {
    dimensions: usize,
    walls: Vec<RoundWall>,
    children: Vec<Vec<u32>>,
    /// Medium outside of all.
    outside: usize,
    grid: Grid,
    /// Centre, radius and wall of every entry of the grid.
    near: Vec<Near>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Near {
    centre: [f64; 3],
    radius: f64,
    wall: u32,
}

impl std::fmt::Debug for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds")
            .field("dimensions", &self.dimensions)
            .field("walls", &self.walls)
            .field("outside", &self.outside)
            .field("cell", &self.grid.cell)
            .finish_non_exhaustive()
    }
}

impl Rounds {
    /// Cylinders along z (2 dimensions) or spheres (3) in a cell with its lower corner at
    /// minus half of its edges; centres may lie anywhere, and stand for all their images.
    ///
    /// # Errors
    /// Two walls that overlap, or one that is not within its parent.
    pub fn new(
        dimensions: usize,
        cell: [f64; 3],
        walls: Vec<RoundWall>,
        outside: usize,
    ) -> Result<Self, Overlap> {
        let mut edges = [f64::INFINITY; 3];
        edges[..dimensions].copy_from_slice(&cell[..dimensions]);
        let mut walls = walls;
        let mut corner = [0.0; 3];
        for a in 0..dimensions {
            corner[a] = -0.5 * edges[a];
            for w in &mut walls {
                w.centre[a] -= edges[a] * ((w.centre[a] - corner[a]) / edges[a]).floor();
            }
        }
        for w in &mut walls {
            w.centre[dimensions..].fill(0.0);
        }
        // Walls within others stand by their ancestors, whatever the image.
        for i in 0..walls.len() {
            if let Some(p) = walls[i].parent {
                let parent = walls[p].centre;
                for a in 0..dimensions {
                    let away = walls[i].centre[a] - parent[a];
                    walls[i].centre[a] -= edges[a] * (away / edges[a]).round();
                }
            }
        }
        let mut children = vec![Vec::new(); walls.len()];
        let mut top = Vec::new();
        for (i, w) in walls.iter().enumerate() {
            match w.parent {
                Some(p) => children[p].push(i as u32),
                None => top.push(i),
            }
        }
        let mean = top.iter().map(|i| walls[*i].radius).sum::<f64>() / top.len().max(1) as f64;
        let mut edge = 0.8 * mean;
        // Not more than four million boxes.
        let boxes: f64 = edges[..dimensions].iter().map(|e| e / edge).product();
        edge *= (boxes / 4e6).powf(1.0 / dimensions as f64).max(1.0);
        let reach = 0.4 * mean;
        let bounds: Vec<[[f64; 3]; 2]> = top
            .iter()
            .map(|i| {
                let w = &walls[*i];
                [w.centre.map(|c| c - w.radius), w.centre.map(|c| c + w.radius)]
            })
            .collect();
        let touches = |i: usize, low: [f64; 3], high: [f64; 3]| {
            let w = &walls[top[i]];
            let (mut nearest, mut farthest) = (0.0, 0.0);
            for a in 0..dimensions {
                let (l, h) = (low[a] - w.centre[a], high[a] - w.centre[a]);
                let out = l.max(-h).max(0.0);
                nearest += out * out;
                farthest += l.abs().max(h.abs()).powi(2);
            }
            let square = w.radius * w.radius;
            // A box inside of the wall has it in its list, so that it knows where it is.
            nearest <= square * (1.0 + 1e-9) && farthest > 0.0
        };
        let grid = Grid::new(edges, corner, dimensions, edge, reach, &bounds, touches);
        let near = (0..grid.len())
            .map(|i| {
                let (t, by) = grid.entry(i);
                let w = &walls[top[t]];
                let centre = [0, 1, 2].map(|a: usize| w.centre[a] + by[a]);
                Near { centre, radius: w.radius, wall: top[t] as u32 }
            })
            .collect();
        let out = Self { dimensions, walls, children, outside, grid, near };
        match out.overlap() {
            Some(overlap) => Err(overlap),
            None => Ok(out),
        }
    }

    /// Cylinders (2) or spheres (3).
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The walls.
    pub fn walls(&self) -> &[RoundWall] {
        &self.walls
    }

    /// Edges of the cell, µm; infinite along cylinders.
    pub fn cell(&self) -> [f64; 3] {
        self.grid.cell
    }

    /// Whether walkers can change their compartment.
    pub fn is_permeable(&self) -> bool {
        self.walls.iter().any(|w| w.permeability > 0.0)
    }

    /// The medium of a region is that of a point.
    pub fn medium_at(&self, x: [f64; 3]) -> usize {
        self.medium_of(self.region_of(x))
    }

    /// Distance of a point to the nearest wall that its region has, up to the reach of the
    /// grid, µm.
    pub fn clearance(&self, x: [f64; 3]) -> f64 {
        let region = self.region_of(x);
        let mut w = Walker {
            x,
            region,
            shift: self.shift_of(x, region),
            centre: x,
            safe: 0.0,
            weight: 1.0,
            age: 0.0,
        };
        self.rest(&mut w, true);
        w.safe.sqrt()
    }

    fn medium_of(&self, region: u32) -> usize {
        if region == OUTSIDE { self.outside } else { self.walls[region as usize].medium }
    }

    fn dot(&self, a: &[f64; 3], b: &[f64; 3]) -> f64 {
        let plane = a[0] * b[0] + a[1] * b[1];
        if self.dimensions == 3 { plane + a[2] * b[2] } else { plane }
    }

    /// Pairs that overlap: neighbours by the lists, siblings within a wall.
    fn overlap(&self) -> Option<Overlap> {
        for (i, w) in self.walls.iter().enumerate() {
            let Some(p) = w.parent else { continue };
            let parent = &self.walls[p];
            let from = minus(w.centre, parent.centre);
            let by = self.dot(&from, &from).sqrt() + w.radius - parent.radius;
            if by > -1e-9 * parent.radius {
                return Some(Overlap { walls: [i, p], by });
            }
            for k in &self.children[p] {
                let other = &self.walls[*k as usize];
                let from = minus(w.centre, other.centre);
                let by = w.radius + other.radius - self.dot(&from, &from).sqrt();
                if *k as usize > i && by > 0.0 {
                    return Some(Overlap { walls: [i, *k as usize], by });
                }
            }
        }
        for number in 0..self.grid.counts().iter().product() {
            let list = self.grid.list(number);
            for i in list.clone() {
                for j in i + 1..list.end {
                    let (a, b) = (&self.near[i], &self.near[j]);
                    let from = minus(a.centre, b.centre);
                    let by = a.radius + b.radius - self.dot(&from, &from).sqrt();
                    if by > 0.0 {
                        return Some(Overlap { walls: [a.wall as usize, b.wall as usize], by });
                    }
                }
            }
        }
        // A wall wider than the cell meets its own image.
        let wide = self.grid.cell[..self.dimensions].iter().copied().fold(f64::INFINITY, f64::min);
        let own = self.walls.iter().position(|w| 2.0 * w.radius > wide)?;
        Some(Overlap { walls: [own, own], by: 2.0 * self.walls[own].radius - wide })
    }

    /// Position of a point in the cell.
    fn wrapped(&self, x: [f64; 3]) -> [f64; 3] {
        minus(x, self.grid.shift(x))
    }

    fn region_of(&self, x: [f64; 3]) -> u32 {
        let x = self.wrapped(x);
        let number = self.grid.number(self.grid.place(x));
        let holder = self.near[self.grid.list(number)].iter().find(|n| {
            let from = minus(x, n.centre);
            self.dot(&from, &from) < n.radius * n.radius
        });
        let Some(holder) = holder else { return OUTSIDE };
        let from = minus(x, holder.centre);
        let mut region = holder.wall;
        let root = self.walls[region as usize].centre;
        let x = [0, 1, 2].map(|a: usize| root[a] + from[a]);
        loop {
            let inner = self.children[region as usize].iter().find(|k| {
                let w = &self.walls[**k as usize];
                let from = minus(x, w.centre);
                self.dot(&from, &from) < w.radius * w.radius
            });
            match inner {
                Some(k) => region = *k,
                None => return region,
            }
        }
    }

    /// The shift that brings the walls of a region to a walker at x.
    fn shift_of(&self, x: [f64; 3], region: u32) -> [f64; 3] {
        if region == OUTSIDE {
            return [0.0; 3];
        }
        let centre = self.walls[region as usize].centre;
        let mut out = [0.0; 3];
        for a in 0..self.dimensions {
            let edge = self.grid.cell[a];
            out[a] = edge * ((x[a] - centre[a]) / edge).round();
        }
        out
    }

    /// Finds a ball without walls about a walker; not within a pore that is a ball itself.
    fn rest(&self, w: &mut Walker, exact: bool) {
        let mut room = self.grid.reach;
        if w.region == OUTSIDE {
            let x = self.wrapped(w.x);
            let number = self.grid.number(self.grid.place(x));
            for n in &self.near[self.grid.list(number)] {
                let from = minus(x, n.centre);
                room = room.min(self.dot(&from, &from).sqrt() - n.radius);
            }
        } else {
            let own = &self.walls[w.region as usize];
            let children = &self.children[w.region as usize];
            let centre = plus(own.centre, w.shift);
            if children.is_empty() && !exact {
                w.centre = centre;
                w.safe = own.radius * own.radius;
                return;
            }
            let from = minus(w.x, centre);
            room = own.radius - self.dot(&from, &from).sqrt();
            for k in children {
                let inner = &self.walls[*k as usize];
                let from = minus(w.x, plus(inner.centre, w.shift));
                room = room.min(self.dot(&from, &from).sqrt() - inner.radius);
            }
        }
        w.centre = w.x;
        w.safe = if room > 0.0 { room * room } else { 0.0 };
    }

    /// The first hit of a flight v from x: share of v, wall, its centre.
    fn first(&self, w: &Walker, v: &[f64; 3]) -> Option<(f64, u32, [f64; 3])> {
        let mut found: Option<(f64, u32, [f64; 3])> = None;
        let mut limit = 1.0;
        let a = self.dot(v, v);
        let mut outer = |x: &[f64; 3], centre: [f64; 3], radius: f64, wall: u32, by: [f64; 3]| {
            let from = minus(*x, centre);
            let b = self.dot(&from, v);
            if b >= 0.0 {
                return;
            }
            let c = self.dot(&from, &from) - radius * radius;
            let root = b * b - a * c;
            if root <= 0.0 {
                return;
            }
            let t = ((-b - root.sqrt()) / a).max(0.0);
            if t <= limit {
                limit = t;
                found = Some((t, wall, plus(centre, by)));
            }
        };
        if w.region == OUTSIDE {
            let shift = self.grid.shift(w.x);
            let x = minus(w.x, shift);
            let number = self.grid.number(self.grid.place(x));
            for n in &self.near[self.grid.list(number)] {
                outer(&x, n.centre, n.radius, n.wall, shift);
            }
            return found;
        }
        for k in &self.children[w.region as usize] {
            let inner = &self.walls[*k as usize];
            outer(&w.x, plus(inner.centre, w.shift), inner.radius, *k, [0.0; 3]);
        }
        let own = &self.walls[w.region as usize];
        let centre = plus(own.centre, w.shift);
        let from = minus(w.x, centre);
        let end = plus(from, *v);
        let square = own.radius * own.radius;
        if self.dot(&end, &end) <= square {
            return found;
        }
        let (b, c) = (self.dot(&from, v), self.dot(&from, &from) - square);
        let t = (((b * b - a * c).max(0.0).sqrt() - b) / a).clamp(0.0, 1.0);
        if t <= limit {
            found = Some((t, w.region, centre));
        }
        found
    }

    fn meet(
        &self,
        w: &mut Walker,
        hit: (u32, [f64; 3]),
        full: &mut [f64; 3],
        left: f64,
        number: u32,
        flight: &Flight<'_>,
    ) {
        let (index, centre) = hit;
        let wall = &self.walls[index as usize];
        let inside = index == w.region;
        let from = minus(w.x, centre);
        let size = self.dot(&from, &from).sqrt();
        let mut n = from.map(|v| v / size);
        n[self.dimensions..].fill(0.0);
        let s = self.dot(&n, full);
        let behind = if !inside { index } else { wall.parent.map_or(OUTSIDE, |p| p as u32) };
        let (here, there) = (self.medium_of(w.region), self.medium_of(behind));
        let (here, there): (&Medium, &Medium) = (&flight.media[here], &flight.media[there]);
        let fate = here
            .meets(there, wall.permeability, s.abs(), flight.duration, || (flight.chance)(number));
        match fate {
            Fate::Through(stretch) => {
                w.region = behind;
                // The centre of the wall that was met tells the image.
                w.shift = if behind == OUTSIDE { [0.0; 3] } else { minus(centre, wall.centre) };
                for v in full.iter_mut() {
                    *v *= stretch;
                }
                w.age += (there.relaxation - here.relaxation) * left * flight.duration;
                place(
                    w,
                    centre,
                    &n,
                    wall.radius * (1.0 + if inside { 4e-16 } else { -4e-16 }),
                    self.dimensions,
                );
            }
            Fate::Mirrored(lasts) => {
                w.weight *= lasts;
                let slide = -s * left * (1.0 - left) / (wall.radius * wall.radius);
                let along = [0, 1, 2].map(|a: usize| full[a] - s * n[a]);
                let mut flat = along;
                flat[self.dimensions..].fill(0.0);
                let across = self.dot(&flat, &flat);
                let half = 0.25 * slide * slide * across;
                let (cosine, sine) = ((1.0 - half) / (1.0 + half), slide / (1.0 + half));
                let radius = wall.radius * (1.0 + if inside { -4e-16 } else { 4e-16 });
                let mut normal = [0.0; 3];
                for a in 0..self.dimensions {
                    normal[a] = sine * flat[a] + cosine * n[a];
                    full[a] = cosine * flat[a] - sine * across * n[a] - s * normal[a];
                }
                place(w, centre, &normal, radius, self.dimensions);
            }
        }
    }
}

fn place(w: &mut Walker, centre: [f64; 3], n: &[f64; 3], radius: f64, dimensions: usize) {
    for a in 0..dimensions {
        w.x[a] = centre[a] + radius * n[a];
    }
}

/// The same walls, measured in two or in three directions.
pub(crate) struct RoundScene<'a, const N: usize>(pub(crate) &'a Rounds);

impl<const N: usize> Scene for RoundScene<'_, N> {
    const DIMENSIONS: usize = N;

    fn region(&self, x: [f64; 3]) -> u32 {
        self.0.region_of(x)
    }

    fn medium(&self, region: u32) -> usize {
        self.0.medium_of(region)
    }

    fn settle(&self, walker: &mut Walker) {
        walker.shift = self.0.shift_of(walker.x, walker.region);
        self.0.rest(walker, false);
    }

    fn fly(&self, w: &mut Walker, displacement: [f64; 3], flight: &Flight<'_>) -> bool {
        let scene = self.0;
        let (mut full, mut left) = (displacement, 1.0);
        let mut hits = 0;
        for _ in 0..PARTS {
            let mut v = full.map(|v| v * left);
            let length = scene.dot(&v, &v).sqrt();
            let part = if w.region == OUTSIDE && length > scene.grid.reach {
                scene.grid.reach / length
            } else {
                1.0
            };
            if part < 1.0 {
                v = v.map(|v| v * part);
            }
            match scene.first(w, &v) {
                None => {
                    w.x = plus(w.x, v);
                    if part >= 1.0 {
                        scene.rest(w, false);
                        return true;
                    }
                    left -= left * part;
                }
                Some((t, wall, centre)) => {
                    w.x = [0, 1, 2].map(|a: usize| w.x[a] + t * v[a]);
                    left -= left * part * t;
                    scene.meet(w, (wall, centre), &mut full, left, hits, flight);
                    hits += 1;
                }
            }
        }
        scene.rest(w, false);
        false
    }

    fn agrees(&self, walker: &Walker) -> bool {
        let mut w = *walker;
        w.safe = -1.0;
        let scene = self.0;
        let near = 1e-9;
        if w.region == OUTSIDE {
            let x = scene.wrapped(w.x);
            let number = scene.grid.number(scene.grid.place(x));
            return scene.near[scene.grid.list(number)].iter().all(|n| {
                let from = minus(x, n.centre);
                scene.dot(&from, &from).sqrt() >= n.radius * (1.0 - near)
            });
        }
        let own = &scene.walls[w.region as usize];
        let from = minus(w.x, plus(own.centre, w.shift));
        scene.dot(&from, &from).sqrt() <= own.radius * (1.0 + near)
            && scene.children[w.region as usize].iter().all(|k| {
                let inner = &scene.walls[*k as usize];
                let from = minus(w.x, plus(inner.centre, w.shift));
                scene.dot(&from, &from).sqrt() >= inner.radius * (1.0 - near)
            })
    }
}
