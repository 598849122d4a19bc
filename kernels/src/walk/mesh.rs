//! Closed triangle meshes: what is wrong with one, and exact hits of walkers.
//!
//! A line $p + tv$ passes a directed edge $(a, b)$ on the side of the sign of
//!
//! $$e_{ab} = v\cdot\bigl((a - p)\times(b - p)\bigr) = -e_{ba}$$
//!
//! which is computed once for an edge, from its lower vertex to its higher one, so that two
//! triangles never disagree about a line between them: nothing slips through an edge. Only
//! triangles that face the flight count, and a walker that stands up to `SLACK` behind
//! one by rounding still meets it.
//!
//! Boxes of a grid list their triangles; the distances of `nearest.rs` tell how far a flight is
//! free. A point is inside when a line along x crosses the surface an odd
//! number of times. Validated by the tests below and by `models/tests/suite/tissue.rs`.

use super::medium::{Fate, Medium};
use super::nearest::Field;
use super::scene::{Flight, Grid, Scene, Walker};
use crate::vector::{cross, dot, minus, norm, plus};
use std::collections::HashMap;

/// Most hits and parts of a flight.
const PARTS: u32 = 2000;
/// Depth behind a triangle at which it is still met, in lengths of the mesh.
const SLACK: f64 = 1e-10;
const INSIDE: u32 = 0;
const OUTSIDE: u32 = 1;

/// Why a mesh can't be walked in.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// No triangles.
    #[error("the mesh has no triangles")]
    Empty,
    /// A number is NaN or infinite.
    #[error("vertex {0} (counted from 0) is not finite")]
    NotFinite(usize),
    /// A triangle names a vertex that is not there.
    #[error("triangle {triangle} (counted from 0) names vertex {vertex}, but there are {vertices}")]
    NoVertex {
        /// The triangle.
        triangle: usize,
        /// The vertex.
        vertex: usize,
        /// Number of vertices.
        vertices: usize,
    },
    /// A triangle has no area.
    #[error("triangle {0} (counted from 0) has no area; remove it and join its vertices")]
    Flat(usize),
    /// An edge does not have two triangles.
    #[error(
        "the mesh is not closed: the edge of vertices {edge:?} (counted from 0) has {triangles} triangle(s) and needs 2; fill the holes"
    )]
    Open {
        /// Its vertices.
        edge: [usize; 2],
        /// Triangles that have it.
        triangles: usize,
    },
    /// Triangles that can't be turned the same way.
    #[error(
        "the mesh has no inside: its surface has one side only at triangle {0} (counted from 0)"
    )]
    OneSided(usize),
    /// Two triangles cross.
    #[error("the mesh intersects itself: triangles {0} and {1} (counted from 0) cross")]
    Crossing(usize, usize),
    /// Part of the mesh lies within another part.
    #[error(
        "a part of the mesh lies within another (triangle {0}, counted from 0); only parts beside each other can be walked in"
    )]
    Within(usize),
    /// The mesh does not fit into its cell.
    #[error("the mesh extends over {size:?} um and does not fit into the cell {cell:?} um")]
    Cell {
        /// Extent.
        size: [f64; 3],
        /// The cell.
        cell: [f64; 3],
    },
}

#[derive(Clone, Debug, PartialEq)]
struct Face {
    vertices: [u32; 3],
    /// Outward, of length 1.
    normal: [f64; 3],
    /// Where it crosses the normal.
    offset: f64,
}

/// A checked mesh.
#[derive(Clone, PartialEq)]
pub struct Mesh {
    vertices: Vec<[f64; 3]>,
    faces: Vec<Face>,
    grid: Grid,
    /// Normal, offset and number of the face of every entry of the grid.
    near: Vec<([f64; 4], u32)>,
    /// Distances to the surface.
    field: Field,
    /// Faces by their (y, z).
    columns: Columns,
    periodic: bool,
    permeability: f64,
    low: [f64; 3],
    high: [f64; 3],
    slack: f64,
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("vertices", &self.vertices)
            .field("faces", &self.faces.iter().map(|f| f.vertices).collect::<Vec<_>>())
            .field("cell", &self.periodic.then_some(self.grid.cell))
            .field("permeability", &self.permeability)
            .finish_non_exhaustive()
    }
}

/// Faces by squares across x.
#[derive(Clone, Debug, PartialEq)]
struct Columns {
    corner: [f64; 2],
    per_um: [f64; 2],
    counts: [usize; 2],
    lists: Vec<Vec<u32>>,
}

impl Mesh {
    /// Checks a mesh and sorts it into a grid. With a cell it stands in the middle of it,
    /// and for all its images.
    ///
    /// # Errors
    /// A mesh that is open, crosses itself or does not fit into the cell.
    pub fn new(
        vertices: Vec<[f64; 3]>,
        triangles: &[[usize; 3]],
        cell: Option<[f64; 3]>,
        permeability: f64,
    ) -> Result<Self, MeshError> {
        if triangles.is_empty() {
            return Err(MeshError::Empty);
        }
        if let Some(i) = vertices.iter().position(|v| v.iter().any(|c| !c.is_finite())) {
            return Err(MeshError::NotFinite(i));
        }
        for (triangle, t) in triangles.iter().enumerate() {
            if let Some(vertex) = t.iter().find(|v| **v >= vertices.len()) {
                let vertices = vertices.len();
                return Err(MeshError::NoVertex { triangle, vertex: *vertex, vertices });
            }
        }
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        for v in triangles.iter().flatten().map(|i| vertices[*i]) {
            for a in 0..3 {
                low[a] = low[a].min(v[a]);
                high[a] = high[a].max(v[a]);
            }
        }
        let size = minus(high, low);
        let extent = norm(size);
        let mut faces = Vec::with_capacity(triangles.len());
        for (i, t) in oriented(&vertices, triangles)?.into_iter().enumerate() {
            let [a, b, c] = t.map(|v| vertices[v]);
            let n = cross(minus(b, a), minus(c, a));
            let twice = norm(n);
            if twice <= 1e-14 * extent * extent {
                return Err(MeshError::Flat(i));
            }
            let normal = n.map(|v| v / twice);
            faces.push(Face { vertices: t.map(|v| v as u32), normal, offset: dot(normal, a) });
        }
        let periodic = cell.is_some();
        let box_of = |f: &Face| {
            let points = f.vertices.map(|v| vertices[v as usize]);
            let of = |a: usize, g: fn(f64, f64) -> f64| {
                points.iter().map(|p| p[a]).fold(points[0][a], g)
            };
            [[0, 1, 2].map(|a| of(a, f64::min)), [0, 1, 2].map(|a| of(a, f64::max))]
        };
        let bounds: Vec<[[f64; 3]; 2]> = faces.iter().map(box_of).collect();
        let mean =
            bounds.iter().map(|[l, h]| norm(minus(*h, *l))).sum::<f64>() / bounds.len() as f64;
        if let Some(cell) = cell
            && (0..3).any(|a| !(cell[a] > size[a] * (1.0 + 1e-9) && cell[a].is_finite()))
        {
            return Err(MeshError::Cell { size, cell });
        }
        let edges = cell.unwrap_or_else(|| size.map(|s| s * 1.02 + 1e-3 * extent));
        let many = edges.iter().product::<f64>() / mean.powi(3);
        let edge = 0.7 * mean * (many / 2e6).cbrt().max(1.0);
        let corner = [0, 1, 2].map(|a: usize| 0.5 * (low[a] + high[a] - edges[a]));
        let reach = 0.5 * edge;
        let touches = |i: usize, from: [f64; 3], to: [f64; 3]| {
            // The plane passes through the box.
            let f = &faces[i];
            let (mut least, mut most) = (-f.offset, -f.offset);
            for a in 0..3 {
                let (u, v) = (f.normal[a] * from[a], f.normal[a] * to[a]);
                least += u.min(v);
                most += u.max(v);
            }
            least <= 1e-12 * extent && most >= -1e-12 * extent
        };
        let grid = Grid::new(edges, corner, 3, edge, reach, &bounds, touches);
        if let Some((a, b)) = crossing(&vertices, &faces, &grid) {
            return Err(MeshError::Crossing(a, b));
        }
        let corners: Vec<[[f64; 3]; 3]> =
            faces.iter().map(|f| f.vertices.map(|v| vertices[v as usize])).collect();
        let field = Field::new(&corners, corner, edges, 0.5 * edge, periodic);
        let plane = |f: &Face| [f.normal[0], f.normal[1], f.normal[2], f.offset];
        let near = (0..grid.len())
            .map(|i| grid.entry(i).0)
            .map(|i| (plane(&faces[i]), i as u32))
            .collect();
        let columns = Columns::new(&bounds, low, high);
        let slack = SLACK * extent;
        let out = Self {
            vertices,
            faces,
            grid,
            near,
            field,
            columns,
            periodic,
            permeability,
            low,
            high,
            slack,
        };
        // With outward normals everywhere, crossings along a line alternate between in and out.
        for (i, f) in out.faces.iter().enumerate() {
            let [a, b, c] = f.vertices.map(|v| out.vertices[v as usize]);
            let middle = [0, 1, 2].map(|k: usize| (a[k] + b[k] + c[k]) / 3.0);
            let away = [0, 1, 2].map(|k: usize| middle[k] - 1e-7 * extent * f.normal[k]);
            if i % (1 + out.faces.len() / 2000) == 0 && !out.contains(away) {
                return Err(MeshError::Within(i));
            }
        }
        Ok(out)
    }

    /// Flux over jump, µm/ms.
    pub fn permeability(&self) -> f64 {
        self.permeability
    }

    /// Number of triangles.
    pub fn len(&self) -> usize {
        self.faces.len()
    }

    /// Whether there is none; never of a checked mesh.
    pub fn is_empty(&self) -> bool {
        self.faces.is_empty()
    }

    /// The periodic cell, µm.
    pub fn cell(&self) -> Option<[f64; 3]> {
        self.periodic.then_some(self.grid.cell)
    }

    /// Volume (µm³) and area (µm²).
    pub fn volume_and_area(&self) -> [f64; 2] {
        let (mut volume, mut area) = (0.0, 0.0);
        for f in &self.faces {
            let [a, b, c] = f.vertices.map(|v| minus(self.vertices[v as usize], self.low));
            volume += dot(a, cross(b, c)) / 6.0;
            area += 0.5 * norm(cross(minus(b, a), minus(c, a)));
        }
        [volume, area]
    }

    /// The box in which walkers can start.
    pub(crate) fn spawn(&self) -> [[f64; 3]; 2] {
        if self.periodic {
            let corner = self.grid.corner;
            return [corner, [0, 1, 2].map(|a: usize| corner[a] + self.grid.cell[a])];
        }
        [self.low, self.high]
    }

    /// 0 inside, 1 outside where there is a cell.
    pub fn medium_at(&self, x: [f64; 3]) -> Option<usize> {
        if self.contains(x) {
            return Some(0);
        }
        self.periodic.then_some(1)
    }

    /// Whether the surface or one of its images holds a point.
    pub fn contains(&self, x: [f64; 3]) -> bool {
        let x = minus(x, self.shift(x));
        let Some(list) = self.columns.at(x) else { return false };
        let mut odd = false;
        for i in list {
            let f = &self.faces[*i as usize];
            let sides = [0, 1, 2].map(|k: usize| {
                let (a, b) = (f.vertices[k], f.vertices[(k + 1) % 3]);
                let (from, to) = (a.min(b), a.max(b));
                let (p, q) = (self.vertices[from as usize], self.vertices[to as usize]);
                let side = (p[1] - x[1]) * (q[2] - x[2]) - (p[2] - x[2]) * (q[1] - x[1]);
                (side >= 0.0) == (a < b)
            });
            if sides[0] != sides[1] || sides[1] != sides[2] || f.normal[0] == 0.0 {
                continue;
            }
            // Where the line along x crosses the plane.
            let t = f.offset - f.normal[1] * x[1] - f.normal[2] * x[2];
            odd ^= t / f.normal[0] > x[0];
        }
        odd
    }

    /// The shift of the cell of a point.
    fn shift(&self, x: [f64; 3]) -> [f64; 3] {
        if self.periodic { self.grid.shift(x) } else { [0.0; 3] }
    }

    /// Whether a flight is known to meet nothing.
    fn is_open(&self, x: [f64; 3], v: [f64; 3], length: f64) -> bool {
        let middle = [0, 1, 2].map(|a: usize| x[a] + 0.5 * v[a]);
        let shift = self.shift(middle);
        self.field.room(minus(middle, shift)) > 0.5 * length * (1.0 + 1e-9) + self.slack
    }

    /// The first triangle that a flight from a box meets from one side: its share, the face.
    fn first(
        &self,
        place: [usize; 3],
        x: [f64; 3],
        v: [f64; 3],
        side: f64,
    ) -> Option<(f64, usize)> {
        let list = self.grid.list(self.grid.number(place));
        let mut limit = 1.0;
        let mut found = None;
        for (plane, face) in &self.near[list] {
            let fall = side * (plane[0] * v[0] + plane[1] * v[1] + plane[2] * v[2]);
            let depth = side * (plane[3] - plane[0] * x[0] - plane[1] * x[1] - plane[2] * x[2]);
            if !(fall > 0.0 && depth <= fall * limit && depth >= -self.slack) {
                continue;
            }
            let f = &self.faces[*face as usize];
            let points = f.vertices.map(|k| minus(self.vertices[k as usize], x));
            let sides = [0, 1, 2].map(|k: usize| {
                let (a, b) = (k, (k + 1) % 3);
                let turned = f.vertices[a] > f.vertices[b];
                let (p, q) = if turned { (b, a) } else { (a, b) };
                let e = dot(v, cross(points[p], points[q]));
                if turned { -e } else { e }
            });
            if sides.iter().all(|e| *e >= 0.0) || sides.iter().all(|e| *e <= 0.0) {
                limit = (depth / fall).max(0.0);
                found = Some((limit, *face as usize));
            }
        }
        found
    }
}

impl Columns {
    fn new(bounds: &[[[f64; 3]; 2]], low: [f64; 3], high: [f64; 3]) -> Self {
        let n = ((bounds.len() as f64).sqrt() as usize).clamp(1, 400);
        let counts = [n, n];
        let corner = [low[1], low[2]];
        let per_um = [n as f64 / (high[1] - low[1]), n as f64 / (high[2] - low[2])];
        let mut lists = vec![Vec::new(); n * n];
        for (i, [l, h]) in bounds.iter().enumerate() {
            let at = |v: f64, a: usize| {
                (((v - corner[a]) * per_um[a]).floor().max(0.0) as usize).min(n - 1)
            };
            for z in at(l[2], 1)..=at(h[2], 1) {
                for y in at(l[1], 0)..=at(h[1], 0) {
                    lists[z * n + y].push(i as u32);
                }
            }
        }
        Self { corner, per_um, counts, lists }
    }

    fn at(&self, x: [f64; 3]) -> Option<&[u32]> {
        let y = ((x[1] - self.corner[0]) * self.per_um[0]).floor();
        let z = ((x[2] - self.corner[1]) * self.per_um[1]).floor();
        let inside = |v: f64, n: usize| v >= 0.0 && v < n as f64;
        if !(inside(y, self.counts[0]) && inside(z, self.counts[1])) {
            return None;
        }
        Some(&self.lists[z as usize * self.counts[0] + y as usize])
    }
}

/// Triangles turned the same way round over every edge, outward by the volume of each part.
fn oriented(vertices: &[[f64; 3]], triangles: &[[usize; 3]]) -> Result<Vec<[usize; 3]>, MeshError> {
    let mut out = triangles.to_vec();
    let mut edges: HashMap<[usize; 2], Vec<usize>> = HashMap::new();
    for (i, t) in out.iter().enumerate() {
        for k in 0..3 {
            let (a, b) = (t[k], t[(k + 1) % 3]);
            if a == b {
                return Err(MeshError::Flat(i));
            }
            edges.entry([a.min(b), a.max(b)]).or_default().push(i);
        }
    }
    let open = edges.iter().filter(|(_, t)| t.len() != 2).min_by_key(|(e, _)| **e);
    if let Some((edge, t)) = open {
        return Err(MeshError::Open { edge: *edge, triangles: t.len() });
    }
    let has = |t: &[usize; 3], a: usize, b: usize| (0..3).any(|k| t[k] == a && t[(k + 1) % 3] == b);
    let mut part = vec![usize::MAX; out.len()];
    for start in 0..out.len() {
        if part[start] != usize::MAX {
            continue;
        }
        part[start] = start;
        let mut stack = vec![start];
        let mut members = Vec::new();
        while let Some(i) = stack.pop() {
            members.push(i);
            let t = out[i];
            for k in 0..3 {
                let (a, b) = (t[k], t[(k + 1) % 3]);
                let Some(pair) = edges.get(&[a.min(b), a.max(b)]) else { continue };
                let j = if pair[0] == i { pair[1] } else { pair[0] };
                // Neighbours run along their edge in opposite directions.
                let same = has(&out[j], a, b);
                if part[j] == usize::MAX {
                    part[j] = start;
                    if same {
                        out[j].swap(1, 2);
                    }
                    stack.push(j);
                } else if same {
                    return Err(MeshError::OneSided(j));
                }
            }
        }
        let origin = vertices[out[start][0]];
        let volume: f64 = members
            .iter()
            .map(|i| {
                let [a, b, c] = out[*i].map(|v| minus(vertices[v], origin));
                dot(a, cross(b, c))
            })
            .sum();
        if volume < 0.0 {
            for i in members {
                out[i].swap(1, 2);
            }
        }
    }
    Ok(out)
}

/// Two faces that cross, by the boxes that they share.
fn crossing(vertices: &[[f64; 3]], faces: &[Face], grid: &Grid) -> Option<(usize, usize)> {
    let at = |v: u32| vertices[v as usize];
    let pierces = |p: u32, q: u32, f: &Face| {
        if f.vertices.contains(&p) || f.vertices.contains(&q) {
            return false;
        }
        let (a, b) = (dot(f.normal, at(p)) - f.offset, dot(f.normal, at(q)) - f.offset);
        if a * b >= 0.0 {
            return false;
        }
        let (from, along) = (at(p), minus(at(q), at(p)));
        let sides = [0, 1, 2].map(|k: usize| {
            let (u, v) = (f.vertices[k], f.vertices[(k + 1) % 3]);
            dot(along, cross(minus(at(u), from), minus(at(v), from)))
        });
        // Edges that meet an edge count: faces that touch so are crossed by their neighbours.
        sides.iter().all(|e| *e >= 0.0) || sides.iter().all(|e| *e <= 0.0)
    };
    let edges_of = |f: &Face| [0, 1, 2].map(|k: usize| (f.vertices[k], f.vertices[(k + 1) % 3]));
    let boxes: usize = grid.counts().iter().product();
    let mut found: Option<(usize, usize)> = None;
    for number in 0..boxes {
        let list = grid.list(number);
        for i in list.clone() {
            for j in i + 1..list.end {
                let (a, b) = (grid.entry(i).0, grid.entry(j).0);
                let (f, g) = (&faces[a], &faces[b]);
                let cuts = edges_of(f).iter().any(|(p, q)| pierces(*p, *q, g))
                    || edges_of(g).iter().any(|(p, q)| pierces(*p, *q, f));
                let pair = (a.min(b), a.max(b));
                if cuts && found.is_none_or(|f| pair < f) {
                    found = Some(pair);
                }
            }
        }
    }
    found
}

/// A mesh with walkers.
pub(crate) struct MeshScene<'a>(pub(crate) &'a Mesh);

impl Scene for MeshScene<'_> {
    const DIMENSIONS: usize = 3;

    fn region(&self, x: [f64; 3]) -> u32 {
        if self.0.contains(x) { INSIDE } else { OUTSIDE }
    }

    fn medium(&self, region: u32) -> usize {
        // Without a cell there is no outside to be in.
        if self.0.periodic { region as usize } else { 0 }
    }

    fn settle(&self, w: &mut Walker) {
        let mesh = self.0;
        let shift = mesh.shift(w.x);
        let x = minus(w.x, shift);
        let (middle, free) = mesh.field.ball(x);
        let from = minus(x, middle);
        if dot(from, from) < free * free {
            w.centre = plus(middle, shift);
            w.safe = free * free;
        } else {
            w.centre = w.x;
            w.safe = 0.0;
        }
    }

    fn fly(&self, w: &mut Walker, displacement: [f64; 3], flight: &Flight<'_>) -> bool {
        let mesh = self.0;
        let (mut full, mut left) = (displacement, 1.0);
        let mut hits = 0;
        for _ in 0..PARTS {
            let mut v = full.map(|v| v * left);
            let shift = mesh.shift(w.x);
            let x = minus(w.x, shift);
            let length = norm(v);
            // A ball about the middle of the flight holds all of it.
            let open = mesh.is_open(x, v, length);
            let mut part = 1.0;
            let mut free = open;
            if !open && length > mesh.grid.reach {
                let room = mesh.field.room(x);
                free = room > mesh.grid.reach;
                part = room.max(mesh.grid.reach) / length;
                v = v.map(|v| v * part.min(1.0));
            }
            let side = if w.region == INSIDE { 1.0 } else { -1.0 };
            let met = if free { None } else { mesh.first(mesh.grid.place(x), x, v, side) };
            let Some((t, face)) = met else {
                w.x = plus(w.x, v);
                if part >= 1.0 {
                    self.settle(w);
                    return true;
                }
                left -= left * part;
                continue;
            };
            let f = &mesh.faces[face];
            left -= left * part * t;
            w.x = [0, 1, 2].map(|a: usize| w.x[a] + t * v[a]);
            let s = dot(f.normal, full);
            let here: &Medium = &flight.media[self.medium(w.region)];
            let behind = 1 - w.region;
            let there: &Medium = &flight.media[self.medium(behind)];
            let fate = here.meets(there, mesh.permeability, s.abs(), flight.duration, || {
                (flight.chance)(hits)
            });
            hits += 1;
            match fate {
                Fate::Through(stretch) => {
                    w.region = behind;
                    full = full.map(|v| v * stretch);
                    w.age += (there.relaxation - here.relaxation) * left * flight.duration;
                }
                Fate::Mirrored(lasts) => {
                    w.weight *= lasts;
                    full = [0, 1, 2].map(|a: usize| full[a] - 2.0 * s * f.normal[a]);
                }
            }
        }
        self.settle(w);
        false
    }

    fn agrees(&self, w: &Walker) -> bool {
        let mesh = self.0;
        let inside = w.region == INSIDE;
        if mesh.contains(w.x) == inside {
            return true;
        }
        // On the wall to rounding: moved to its side by the slack it must agree.
        let x = minus(w.x, mesh.shift(w.x));
        let number = mesh.grid.number(mesh.grid.place(x));
        let side = if inside { -2.0 } else { 2.0 };
        mesh.grid.list(number).any(|i| {
            let f = &mesh.faces[mesh.grid.entry(i).0];
            (f.offset - dot(f.normal, x)).abs() <= mesh.slack && {
                let by = side * mesh.slack;
                let moved = [0, 1, 2].map(|a: usize| x[a] + by * f.normal[a]);
                mesh.contains(moved) == inside
            }
        })
    }
}
