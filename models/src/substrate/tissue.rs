//! From a written substrate to walls, media and starting points.
//!
//! | kind | walls | compartments |
//! |---|---|---|
//! | `free`, `planes`, `cylinder`, `sphere`, `ellipsoid`, `capped_cylinder`, `axon` | its own | intra |
//! | `cylinder`, `sphere` with `cell_um` | one in a periodic cell | intra, extra |
//! | `annuli` | cylinders in one another, in a periodic cell | intra, myelin, extra |
//! | `cylinders`, `spheres` | packed in a periodic cell, with a sheath where `g_ratio` is given | intra, myelin, extra |
//! | `mesh` | triangles | intra; extra with `cell_um` |
//!
//! Validated by the tests below and by `models/tests/suite/tissue.rs`.

use super::SubstrateError;
use super::description::{LARGEST_UM, Medium, Start, Substrate, SubstrateSpec, frame, medium};
use microtome_kernels::walk::{
    self, Axon, Mesh, Overlap, RoundWall, Rounds, Shape, gamma_radii, pack,
};
use serde::{Deserialize, Serialize};

/// One number, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Numbers {
    /// One for all.
    One(f64),
    /// One each.
    Each(Vec<f64>),
}

impl Numbers {
    /// One number for each of `n`.
    fn each(&self, n: usize, key: &str) -> Result<Vec<f64>, SubstrateError> {
        match self {
            Numbers::One(v) => Ok(vec![*v; n]),
            Numbers::Each(v) if v.len() == n => Ok(v.clone()),
            Numbers::Each(v) => Err(SubstrateError::key(
                key,
                format!("{} numbers; one, or {n} of them, are needed", v.len()),
            )),
        }
    }
}

/// Triangles as a file has them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Triangles {
    /// In units of the file.
    pub vertices: Vec<[f64; 3]>,
    /// Vertices of every triangle, counted from 0.
    pub faces: Vec<[usize; 3]>,
}

/// Contents of the files that a substrate names.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Files {
    /// Centre and radius of objects, µm.
    pub objects: Option<Vec<[f64; 4]>>,
    /// The mesh.
    pub mesh: Option<Triangles>,
    /// Starting points in the world, µm.
    pub positions: Option<Vec<[f64; 3]>>,
}

/// A substrate that is being built.
pub(super) struct Tissue<'a> {
    pub(super) spec: &'a SubstrateSpec,
    pub(super) kind: &'a str,
}

/// Which keys of `[substrate]` a kind may have.
const KEYS: [(&str, &[&str]); 11] = [
    ("free", &[]),
    ("planes", &["separation_um", "axis"]),
    ("cylinder", &["radius_um", "axis", "cell_um"]),
    ("sphere", &["radius_um", "cell_um"]),
    ("ellipsoid", &["semi_axes_um", "axis"]),
    ("capped_cylinder", &["radius_um", "length_um", "axis"]),
    (
        "axon",
        &[
            "radius_um",
            "axis",
            "beading",
            "beading_period_um",
            "undulation_um",
            "undulation_period_um",
        ],
    ),
    ("annuli", &["radii_um", "axis", "cell_um"]),
    ("cylinders", &PACKED),
    ("spheres", &PACKED),
    ("mesh", &["file", "unit_um", "cell_um"]),
];
const PACKED: [&str; 12] = [
    "axis",
    "cell_um",
    "count",
    "volume_fraction",
    "radius_um",
    "gamma_shape",
    "gamma_scale_um",
    "min_radius_um",
    "max_radius_um",
    "packing_seed",
    "g_ratio",
    "objects",
];

impl Tissue<'_> {
    pub(super) fn build(&self, files: Files) -> Result<Substrate, SubstrateError> {
        self.check_keys()?;
        let s = &self.spec.substrate;
        let place = self.spec.start.as_ref().map_or(Start::Intra, |s| s.place);
        let permeable = match &self.spec.wall {
            Some(wall) => {
                let key = "wall.permeability_um_per_ms";
                let walls = s.radii_um.as_ref().map_or(1, Vec::len);
                let all = match &wall.permeability_um_per_ms {
                    Numbers::Each(_) if self.kind != "annuli" => {
                        return Err(SubstrateError::key(key, "one number is needed"));
                    }
                    numbers => numbers.each(walls, key)?,
                };
                if let Some(v) = all.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
                    return Err(SubstrateError::key(
                        key,
                        format!("{v}; a number from 0 up is needed"),
                    ));
                }
                all
            }
            None => vec![0.0],
        };
        let crossed = permeable.iter().any(|p| *p > 0.0);
        let celled = ["cylinder", "sphere", "annuli", "cylinders", "spheres", "mesh"];
        let outside = place == Start::Extra || place == Start::All || crossed;
        if outside && !celled.contains(&self.kind) {
            let key = if crossed { "wall.permeability_um_per_ms" } else { "start.where" };
            return Err(SubstrateError::key(
                key,
                format!(
                    "{} is simulated inside only; use \"intra\" and no permeability",
                    self.kind
                ),
            ));
        }
        let packed = ["cylinders", "spheres"].contains(&self.kind);
        if outside && !packed && s.cell_um.is_none() {
            return Err(SubstrateError::key(
                "substrate.cell_um",
                "is missing; walkers outside need the edge of a periodic cell",
            ));
        }
        let (shape, sheath) = self.shape(&files, &permeable)?;
        // The media: intra, myelin where there is a sheath, extra where there is an outside.
        let mut media = vec![self.medium("intra", true, None)?];
        let has_outside = matches!(shape, Shape::Rounds(_))
            || matches!(&shape, Shape::Mesh(m) if m.cell().is_some());
        if sheath {
            media.push(self.medium(
                "myelin",
                crossed || self.spec.myelin.is_some(),
                Some(&media[0]),
            )?);
        } else if self.spec.myelin.is_some() {
            return Err(SubstrateError::key("myelin", "there is no sheath; leave it out"));
        }
        if has_outside {
            media.push(self.medium("extra", outside, Some(&media[0]))?);
        } else if self.spec.extra.is_some() {
            return Err(SubstrateError::key(
                "extra",
                "there is no outside; leave it out, or give substrate.cell_um",
            ));
        }
        if self.kind == "free" && media[0].relaxivity > 0.0 {
            return Err(SubstrateError::key(
                "intra.surface_relaxivity_um_per_ms",
                "free has no walls; leave it out",
            ));
        }
        let along = if self.kind == "planes" { 0 } else { 2 };
        let frame = frame(s.axis.unwrap_or([0.0, 0.0, 1.0]), along)?;
        let start = walk::Start::Uniform(vec![0]);
        let mut out = Substrate { shape, frame, media, start };
        out.start = self.start(&out, place, files.positions)?;
        Ok(out)
    }

    fn check_keys(&self) -> Result<(), SubstrateError> {
        let s = &self.spec.substrate;
        let given = [
            ("radius_um", s.radius_um.is_some()),
            ("separation_um", s.separation_um.is_some()),
            ("axis", s.axis.is_some()),
            ("semi_axes_um", s.semi_axes_um.is_some()),
            ("length_um", s.length_um.is_some()),
            ("beading", s.beading.is_some()),
            ("beading_period_um", s.beading_period_um.is_some()),
            ("undulation_um", s.undulation_um.is_some()),
            ("undulation_period_um", s.undulation_period_um.is_some()),
            ("radii_um", s.radii_um.is_some()),
            ("cell_um", s.cell_um.is_some()),
            ("count", s.count.is_some()),
            ("volume_fraction", s.volume_fraction.is_some()),
            ("gamma_shape", s.gamma_shape.is_some()),
            ("gamma_scale_um", s.gamma_scale_um.is_some()),
            ("min_radius_um", s.min_radius_um.is_some()),
            ("max_radius_um", s.max_radius_um.is_some()),
            ("packing_seed", s.packing_seed.is_some()),
            ("g_ratio", s.g_ratio.is_some()),
            ("objects", s.objects.is_some()),
            ("file", s.file.is_some()),
            ("unit_um", s.unit_um.is_some()),
        ];
        let allowed = KEYS.iter().find(|k| k.0 == self.kind).map_or(&[][..], |k| k.1);
        for (key, _) in given.iter().filter(|g| g.1) {
            let spheres_axis = self.kind == "spheres" && *key == "axis";
            if !allowed.contains(key) || spheres_axis {
                return Err(SubstrateError::key(
                    format!("substrate.{key}"),
                    format!("{} has none; leave it out", self.kind),
                ));
            }
        }
        if !self.spec.membrane.is_empty() && self.kind != "planes" {
            return Err(SubstrateError::key("membrane", "only planes can have membranes"));
        }
        Ok(())
    }

    /// A medium as written; where it isn't needed, `other` under its name.
    fn medium(
        &self,
        name: &'static str,
        needed: bool,
        other: Option<&Medium>,
    ) -> Result<Medium, SubstrateError> {
        let spec = match name {
            "intra" => &self.spec.intra,
            "myelin" => &self.spec.myelin,
            _ => &self.spec.extra,
        };
        match (spec, other) {
            (Some(spec), _) => medium(name, spec),
            (None, Some(other)) if !needed => Ok(Medium { name, relaxivity: 0.0, ..other.clone() }),
            (None, _) => Err(SubstrateError::key(
                name,
                format!("is missing; walkers come there, so [{name}] needs diffusivity_um2_per_ms"),
            )),
        }
    }

    fn size(&self, key: &str, value: Option<f64>) -> Result<f64, SubstrateError> {
        let key = format!("substrate.{key}");
        match value {
            Some(v) if v.is_finite() && v > 0.0 && v <= LARGEST_UM => Ok(v),
            Some(v) => Err(SubstrateError::key(
                key,
                format!("{v}; a number above 0 and up to {LARGEST_UM:e} (um) is needed"),
            )),
            None => Err(SubstrateError::key(key, format!("is missing; {} needs it", self.kind))),
        }
    }

    /// The shape, and whether it has a sheath.
    fn shape(&self, files: &Files, permeable: &[f64]) -> Result<(Shape, bool), SubstrateError> {
        let s = &self.spec.substrate;
        let plain = |shape| Ok((shape, false));
        match self.kind {
            "free" => plain(Shape::Free),
            "planes" => {
                let separation = self.size("separation_um", s.separation_um)?;
                plain(Shape::Plates { separation, membranes: self.spec.membranes(separation)? })
            }
            "ellipsoid" => {
                let semi = s.semi_axes_um.map(|v| v.map(Some)).unwrap_or([None; 3]);
                let mut semi_axes = [0.0; 3];
                for (out, v) in semi_axes.iter_mut().zip(semi) {
                    *out = self.size("semi_axes_um", v)?;
                }
                plain(Shape::Ellipsoid { semi_axes })
            }
            "capped_cylinder" => plain(Shape::Capped {
                radius: self.size("radius_um", s.radius_um)?,
                length: self.size("length_um", s.length_um)?,
            }),
            "axon" => plain(Shape::Axon(self.axon()?)),
            "mesh" => Ok((self.mesh(files, permeable[0])?, false)),
            "cylinder" | "sphere" => {
                let radius = self.size("radius_um", s.radius_um)?;
                let dimensions = if self.kind == "cylinder" { 2 } else { 3 };
                if s.cell_um.is_none() {
                    return plain(match dimensions {
                        2 => Shape::Cylinder { radius },
                        _ => Shape::Sphere { radius },
                    });
                }
                let cell = self.cell(dimensions)?;
                let wall = RoundWall {
                    centre: [0.0; 3],
                    radius,
                    parent: None,
                    medium: 0,
                    permeability: permeable[0],
                };
                Ok((self.rounds(dimensions, cell, vec![wall], 1)?, false))
            }
            "annuli" => self.annuli(permeable),
            _ => self.packed(files, permeable[0]),
        }
    }

    fn axon(&self) -> Result<Axon, SubstrateError> {
        let s = &self.spec.substrate;
        let radius = self.size("radius_um", s.radius_um)?;
        let beading = s.beading.unwrap_or(0.0);
        if !(0.0..1.0).contains(&beading) {
            return Err(SubstrateError::key(
                "substrate.beading",
                format!("{beading}; a number from 0 to below 1 is needed (1 closes the necks)"),
            ));
        }
        let wave = s.undulation_um.unwrap_or(0.0);
        if !(0.0..=LARGEST_UM).contains(&wave) {
            return Err(SubstrateError::key(
                "substrate.undulation_um",
                format!("{wave}; a number from 0 to {LARGEST_UM:e} (um) is needed"),
            ));
        }
        let period = |key: &str, value: Option<f64>, amplitude: f64| match value {
            None if amplitude == 0.0 => Ok(1.0),
            value => self.size(key, value),
        };
        let bead_um = period("beading_period_um", s.beading_period_um, beading)?;
        let wave_um = period("undulation_period_um", s.undulation_period_um, wave)?;
        Ok(Axon::new(radius, beading, bead_um, wave, wave_um))
    }

    fn cell(&self, dimensions: usize) -> Result<[f64; 3], SubstrateError> {
        let s = &self.spec.substrate;
        let numbers = match &s.cell_um {
            Some(numbers) => numbers.each(dimensions, "substrate.cell_um")?,
            None => vec![self.size("cell_um", None)?],
        };
        let mut out = [f64::INFINITY; 3];
        for (out, v) in out.iter_mut().zip(numbers) {
            *out = self.size("cell_um", Some(v))?;
        }
        Ok(out)
    }

    fn rounds(
        &self,
        dimensions: usize,
        cell: [f64; 3],
        walls: Vec<RoundWall>,
        outside: usize,
    ) -> Result<Shape, SubstrateError> {
        let n = walls.len();
        let rounds = Rounds::new(dimensions, cell, walls, outside).map_err(|o: Overlap| {
            let [a, b] = o.walls;
            let what = if a == b && n == 1 {
                format!("the wall overlaps its own image by {:.4} um; take a larger cell", o.by)
            } else if a == b {
                format!("object {a} (counted from 0) overlaps its own image by {:.4} um; take a larger cell", o.by)
            } else {
                format!("objects {a} and {b} (counted from 0) overlap by {:.4} um", o.by)
            };
            SubstrateError::key("substrate", what)
        })?;
        Ok(Shape::Rounds(rounds))
    }

    fn annuli(&self, permeable: &[f64]) -> Result<(Shape, bool), SubstrateError> {
        let radii = self.spec.substrate.radii_um.clone().unwrap_or_default();
        if radii.is_empty() {
            self.size("radii_um", None)?;
        }
        for r in &radii {
            self.size("radii_um", Some(*r))?;
        }
        if radii.windows(2).any(|w| w[1] <= w[0]) {
            return Err(SubstrateError::key(
                "substrate.radii_um",
                "radii must rise, the innermost first",
            ));
        }
        let largest = radii.iter().copied().fold(0.0, f64::max);
        // Without an outside the cell is of no matter.
        let cell = match &self.spec.substrate.cell_um {
            Some(_) => self.cell(2)?,
            None => [2.5 * largest, 2.5 * largest, f64::INFINITY],
        };
        let n = radii.len();
        let sheath = n > 1;
        let each = |i: usize| if permeable.len() == n { permeable[i] } else { permeable[0] };
        let walls = (0..n)
            .map(|i| RoundWall {
                centre: [0.0; 3],
                radius: radii[i],
                parent: (i + 1 < n).then_some(i + 1),
                medium: usize::from(i > 0),
                permeability: each(i),
            })
            .collect();
        Ok((self.rounds(2, cell, walls, if sheath { 2 } else { 1 })?, sheath))
    }

    fn packed(&self, files: &Files, permeability: f64) -> Result<(Shape, bool), SubstrateError> {
        let s = &self.spec.substrate;
        let dimensions = if self.kind == "cylinders" { 2 } else { 3 };
        let wrong =
            |key: &str, what: String| Err(SubstrateError::key(format!("substrate.{key}"), what));
        let (cell, objects) = if let Some(objects) = &files.objects {
            for (key, given) in [
                ("count", s.count.is_some()),
                ("volume_fraction", s.volume_fraction.is_some()),
                ("radius_um", s.radius_um.is_some()),
                ("gamma_shape", s.gamma_shape.is_some()),
            ] {
                if given {
                    return wrong(key, "`objects` already says this; leave one out".into());
                }
            }
            if objects.is_empty() {
                return wrong("objects", "the file has no rows".into());
            }
            for o in objects {
                if !(o.iter().all(|v| v.is_finite()) && o[3] > 0.0) {
                    return wrong("objects", format!("{o:?} is no place with a radius above 0"));
                }
            }
            (self.cell(dimensions)?, objects.clone())
        } else {
            if s.cell_um.is_some() {
                return wrong(
                    "cell_um",
                    "the cell follows from count and volume_fraction; leave it out".into(),
                );
            }
            let Some(count) = s.count.filter(|c| (1..=1_000_000).contains(c)) else {
                return wrong("count", "a number of objects from 1 to 1000000 is needed".into());
            };
            let Some(fraction) = s.volume_fraction else {
                return wrong("volume_fraction", "is missing".into());
            };
            let seed = s.packing_seed.unwrap_or(0);
            let radii = self.radii(count, seed)?;
            let packing = pack(dimensions, &radii, fraction, seed)
                .map_err(|e| SubstrateError::key("substrate.volume_fraction", e.to_string()))?;
            let mut cell = [f64::INFINITY; 3];
            cell[..dimensions].fill(packing.edge);
            let object = |(c, r): (&[f64; 3], &f64)| [c[0], c[1], c[2], *r];
            (cell, packing.centres.iter().zip(&radii).map(object).collect())
        };
        let sheath = match s.g_ratio {
            Some(g) if g > 0.0 && g < 1.0 => Some(g),
            Some(g) => return wrong("g_ratio", format!("{g}; a number between 0 and 1 is needed")),
            None => None,
        };
        let wall = |o: &[f64; 4], scale: f64, parent, medium| RoundWall {
            centre: [o[0], o[1], o[2]],
            radius: o[3] * scale,
            parent,
            medium,
            permeability,
        };
        let outer = usize::from(sheath.is_some());
        let mut walls: Vec<RoundWall> = objects.iter().map(|o| wall(o, 1.0, None, outer)).collect();
        if let Some(g) = sheath {
            walls.extend(objects.iter().enumerate().map(|(i, o)| wall(o, g, Some(i), 0)));
        }
        Ok((self.rounds(dimensions, cell, walls, outer + 1)?, sheath.is_some()))
    }

    fn radii(&self, count: usize, seed: u64) -> Result<Vec<f64>, SubstrateError> {
        let s = &self.spec.substrate;
        let gamma = s.gamma_shape.is_some() || s.gamma_scale_um.is_some();
        if s.radius_um.is_some() && gamma {
            return Err(SubstrateError::key(
                "substrate.radius_um",
                "one radius and a gamma distribution are given; leave one out",
            ));
        }
        if !gamma {
            return Ok(vec![self.size("radius_um", s.radius_um)?; count]);
        }
        let shape = self.size("gamma_shape", s.gamma_shape)?;
        let scale = self.size("gamma_scale_um", s.gamma_scale_um)?;
        let limits = [
            s.min_radius_um
                .map_or(Ok(0.01 * shape * scale), |v| self.size("min_radius_um", Some(v)))?,
            s.max_radius_um.map_or(Ok(f64::INFINITY), |v| self.size("max_radius_um", Some(v)))?,
        ];
        gamma_radii(count, shape, scale, limits, seed).ok_or_else(|| {
            SubstrateError::key(
                "substrate.gamma_shape",
                format!(
                    "hardly any radius of this distribution (mean {} um) lies between {} and {} um",
                    shape * scale,
                    limits[0],
                    limits[1]
                ),
            )
        })
    }

    fn mesh(&self, files: &Files, permeability: f64) -> Result<Shape, SubstrateError> {
        let s = &self.spec.substrate;
        let Some(triangles) = &files.mesh else {
            return Err(SubstrateError::key(
                "substrate.file",
                "is missing; mesh needs a PLY or OBJ file",
            ));
        };
        let unit = match s.unit_um {
            Some(v) => self.size("unit_um", Some(v))?,
            None => 1.0,
        };
        let vertices = triangles.vertices.iter().map(|v| v.map(|c| c * unit)).collect();
        let cell = match s.cell_um {
            Some(_) => Some(self.cell(3)?),
            None => None,
        };
        let mesh = Mesh::new(vertices, &triangles.faces, cell, permeability)
            .map_err(|e| SubstrateError::key("substrate.file", e.to_string()))?;
        Ok(Shape::Mesh(Box::new(mesh)))
    }

    fn start(
        &self,
        substrate: &Substrate,
        place: Start,
        positions: Option<Vec<[f64; 3]>>,
    ) -> Result<walk::Start, SubstrateError> {
        let named = self.spec.start.as_ref().and_then(|s| s.positions.as_ref());
        if place != Start::Given {
            if named.is_some() {
                return Err(SubstrateError::key(
                    "start.positions",
                    "where is not \"given\"; leave the positions out",
                ));
            }
            let wanted = |m: &Medium| match place {
                Start::Intra => m.name == "intra",
                Start::Extra => m.name == "extra",
                // A sheath without a medium of its own holds no walkers.
                _ => m.name != "myelin" || self.spec.myelin.is_some(),
            };
            let media = &substrate.media;
            let list = (0..media.len()).filter(|i| wanted(&media[*i])).collect();
            return Ok(walk::Start::Uniform(list));
        }
        let Some(points) = positions.filter(|p| !p.is_empty()) else {
            return Err(SubstrateError::key(
                "start.positions",
                "is missing; where = \"given\" needs an NPY file [walker, 3] in um",
            ));
        };
        let points: Vec<[f64; 3]> =
            points.into_iter().map(|p| substrate.shape_from_world(p)).collect();
        let shape = &substrate.shape;
        let near = 1e-9 * substrate.smallest_size().min(1e3);
        for (i, p) in points.iter().enumerate() {
            let wrong = |what: &str| {
                Err(SubstrateError::key(
                    "start.positions",
                    format!("walker {i} (counted from 0) {what}"),
                ))
            };
            if p.iter().any(|v| !v.is_finite()) {
                return wrong("has a position that is not finite");
            }
            let Some(own) = shape.compartment(*p) else {
                return wrong("starts outside of the walls");
            };
            let name = substrate.media[own].name;
            if !self.has(name) {
                return wrong(&format!("starts in the compartment {name}, which has no [{name}]"));
            }
            for a in 0..3 {
                for by in [-near, near] {
                    let mut moved = *p;
                    moved[a] += by;
                    if shape.compartment(moved) != Some(own) {
                        return wrong("starts in a wall; move it");
                    }
                }
            }
        }
        Ok(walk::Start::Given(points))
    }

    fn has(&self, name: &str) -> bool {
        match name {
            "myelin" => self.spec.myelin.is_some(),
            "extra" => self.spec.extra.is_some(),
            _ => true,
        }
    }
}

/// The size that walkers have to see in a packing: walls that hold less than a twentieth of
/// the volume may be smaller.
pub(super) fn smallest_size(rounds: &Rounds) -> f64 {
    let walls = rounds.walls();
    let d = rounds.dimensions() as i32;
    let mut sizes: Vec<[f64; 2]> = walls
        .iter()
        .map(|w| {
            let sheath = w.parent.map_or(f64::INFINITY, |p| 0.5 * (walls[p].radius - w.radius));
            [w.radius.min(sheath), w.radius.powi(d)]
        })
        .collect();
    sizes.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let all: f64 = sizes.iter().map(|s| s[1]).sum();
    let mut below = 0.0;
    for [size, volume] in &sizes {
        below += volume;
        if below > 0.05 * all {
            return *size;
        }
    }
    f64::INFINITY
}
