//! The TOML file of a substrate: shape, compartments, membranes, starting points.
//!
//! ```toml
//! [substrate]
//! kind = "cylinder"                   # free | planes | cylinder | sphere | ellipsoid | axon |
//!                                     # capped_cylinder | annuli | cylinders | spheres | mesh
//! radius_um = 5.0                     # cylinder, sphere, capped_cylinder (with length_um)
//! axis = [0, 0, 1]                    # axis of cylinders, normal of planes
//! cell_um = 12.0                      # edge of a periodic cell, for walkers outside
//! [intra]
//! diffusivity_um2_per_ms = 2.0
//! surface_relaxivity_um_per_ms = 0.0  # 1 m/s = 1000 um/ms
//! t2_ms = inf                         # left out: no relaxation
//! [extra]                             # the same keys; outside
//! diffusivity_um2_per_ms = 2.0
//! [wall]
//! permeability_um_per_ms = 0.0        # of every wall; annuli: one number a wall
//! [[membrane]]                        # planes only, inside the slab
//! position_um = -2.0                  # from the middle, along the normal
//! permeability_um_per_ms = 0.001      # flux = permeability x jump
//! [start]
//! where = "intra"                     # intra | extra | all | given
//! ```
//!
//! Validated by the tests below and by `models/tests/suite/tissue.rs`.

use super::SubstrateError;
use super::tissue::{Files, Numbers, Tissue};
use microtome_kernels::vector::{cross, unit};
use microtome_kernels::walk::{self, Membrane, Shape};
use serde::{Deserialize, Serialize};

/// Words of `kind`.
pub(super) const KINDS: [&str; 11] = [
    "free",
    "planes",
    "cylinder",
    "sphere",
    "ellipsoid",
    "capped_cylinder",
    "axon",
    "annuli",
    "cylinders",
    "spheres",
    "mesh",
];
/// Sizes and diffusivities beyond these are of another unit.
pub(super) const LARGEST_UM: f64 = 1e6;
const LARGEST_UM2_PER_MS: f64 = 1e3;

/// A substrate as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstrateSpec {
    /// The shape.
    pub substrate: ShapeSpec,
    /// Inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intra: Option<MediumSpec>,
    /// Between the walls of a sheath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub myelin: Option<MediumSpec>,
    /// Outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<MediumSpec>,
    /// Walls between the compartments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<WallSpec>,
    /// Walls inside a slab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub membrane: Vec<MembraneSpec>,
    /// Starting points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartSpec>,
}

/// `[substrate]` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeSpec {
    /// Name of the kind.
    pub kind: String,
    /// Radius of a cylinder or sphere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius_um: Option<f64>,
    /// Distance of planes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separation_um: Option<f64>,
    /// Axis of cylinders, normal of planes, third axis of an ellipsoid; z where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<[f64; 3]>,
    /// Semi-axes of an ellipsoid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semi_axes_um: Option<[f64; 3]>,
    /// Distance of the ends of a capped cylinder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_um: Option<f64>,
    /// Relative amplitude of the radius of an axon along its axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beading: Option<f64>,
    /// Distance of its beads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beading_period_um: Option<f64>,
    /// Amplitude of its centre line, across the axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undulation_um: Option<f64>,
    /// Period of its centre line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undulation_period_um: Option<f64>,
    /// Radii of annuli, rising.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radii_um: Option<Vec<f64>>,
    /// Edges of the periodic cell: one number, or one an axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell_um: Option<Numbers>,
    /// Number of packed objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Share of the cell that packed objects fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_fraction: Option<f64>,
    /// Shape of the gamma distribution of radii.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma_shape: Option<f64>,
    /// Scale of the gamma distribution of radii.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma_scale_um: Option<f64>,
    /// Radii below are drawn again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_radius_um: Option<f64>,
    /// Radii above are drawn again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_radius_um: Option<f64>,
    /// Seed of radii and places of packed objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packing_seed: Option<u64>,
    /// Inner over outer radius of the sheath of packed objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub g_ratio: Option<f64>,
    /// CSV with the columns x_um, y_um, z_um (spheres), radius_um, in place of a packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
    /// PLY or OBJ file of a mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Micrometres to a unit of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_um: Option<f64>,
}

/// `[wall]` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallSpec {
    /// Flux over jump of every wall; of annuli one number a wall, the innermost first.
    pub permeability_um_per_ms: Numbers,
}

/// A compartment as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediumSpec {
    /// D.
    pub diffusivity_um2_per_ms: f64,
    /// ρ of the walls, seen from this side.
    #[serde(default)]
    pub surface_relaxivity_um_per_ms: f64,
    /// T2; infinite where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t2_ms: Option<f64>,
}

/// `[[membrane]]` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembraneSpec {
    /// From the middle, along the normal.
    pub position_um: f64,
    /// Flux over jump.
    pub permeability_um_per_ms: f64,
}

/// `[start]` as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSpec {
    /// Where.
    #[serde(rename = "where")]
    pub place: Start,
    /// NPY file `[walker, 3]`, µm, of `given`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<String>,
}

/// Where walkers start, uniformly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Inside of the shapes.
    Intra,
    /// Outside of them.
    Extra,
    /// Everywhere.
    All,
    /// At points of a file.
    Given,
}

/// A compartment.
#[derive(Clone, Debug, PartialEq)]
pub struct Medium {
    /// Its name in results.
    pub name: &'static str,
    /// D, µm²/ms.
    pub diffusivity: f64,
    /// T2, ms; infinite without relaxation.
    pub t2_ms: f64,
    /// ρ, µm/ms.
    pub relaxivity: f64,
}

impl Medium {
    pub(super) fn for_walk(&self, permeable: bool) -> walk::Medium {
        walk::Medium {
            diffusivity: self.diffusivity,
            relaxivity: self.relaxivity,
            relaxation: if permeable { 1.0 / self.t2_ms } else { 0.0 },
        }
    }
}

/// A checked substrate.
#[derive(Clone, Debug, PartialEq)]
pub struct Substrate {
    pub(super) shape: Shape,
    /// Rows are the axes of the shape's own frame in the world.
    pub(super) frame: [[f64; 3]; 3],
    pub(super) media: Vec<Medium>,
    pub(super) start: walk::Start,
}

impl SubstrateSpec {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is no TOML, unknown or missing keys.
    pub fn from_toml(text: &str) -> Result<Self, SubstrateError> {
        toml::from_str(text)
            .map_err(|e| SubstrateError::Text { text: e.to_string().trim().to_string() })
    }

    /// Checks all values of a substrate that names no files.
    ///
    /// # Errors
    /// As [`SubstrateSpec::build_with`].
    pub fn build(&self) -> Result<Substrate, SubstrateError> {
        self.build_with(Files::default())
    }

    /// Checks all values, with the contents of the files that the text names.
    ///
    /// # Errors
    /// Unknown kinds, keys that a kind needs or can't have, values that can't be, objects
    /// that overlap, meshes that are open or cross themselves, walkers that start in a wall.
    pub fn build_with(&self, files: Files) -> Result<Substrate, SubstrateError> {
        let kind = self.substrate.kind.as_str();
        if !KINDS.contains(&kind) {
            return Err(SubstrateError::UnknownKind { kind: kind.into() });
        }
        Tissue { spec: self, kind }.build(files)
    }

    pub(super) fn membranes(&self, separation: f64) -> Result<Vec<Membrane>, SubstrateError> {
        let mut out = Vec::new();
        for (i, m) in self.membrane.iter().enumerate() {
            let key = |name: &str| format!("membrane[{i}].{name}");
            let inside = m.position_um.abs() < 0.5 * separation;
            if !inside {
                return Err(SubstrateError::key(
                    key("position_um"),
                    format!(
                        "{}; it must lie between the planes, within {} um of the middle",
                        m.position_um,
                        0.5 * separation
                    ),
                ));
            }
            if !(m.permeability_um_per_ms.is_finite() && m.permeability_um_per_ms >= 0.0) {
                return Err(SubstrateError::key(
                    key("permeability_um_per_ms"),
                    format!("{}; a number from 0 up is needed", m.permeability_um_per_ms),
                ));
            }
            out.push(Membrane { position: m.position_um, permeability: m.permeability_um_per_ms });
        }
        out.sort_by(|a, b| a.position.total_cmp(&b.position));
        if let Some(pair) = out.windows(2).find(|w| w[0].position == w[1].position) {
            return Err(SubstrateError::key(
                "membrane",
                format!("two membranes stand at {} um; leave one out", pair[0].position),
            ));
        }
        Ok(out)
    }
}

pub(super) fn medium(name: &'static str, spec: &MediumSpec) -> Result<Medium, SubstrateError> {
    let d = spec.diffusivity_um2_per_ms;
    if !(d > 0.0 && d <= LARGEST_UM2_PER_MS) {
        return Err(SubstrateError::key(
            format!("{name}.diffusivity_um2_per_ms"),
            format!(
                "{d}; a number above 0 and up to {LARGEST_UM2_PER_MS} is needed (water: 2 to 3)"
            ),
        ));
    }
    let relaxivity = spec.surface_relaxivity_um_per_ms;
    if !(relaxivity.is_finite() && relaxivity >= 0.0) {
        return Err(SubstrateError::key(
            format!("{name}.surface_relaxivity_um_per_ms"),
            format!("{relaxivity}; a number from 0 up is needed"),
        ));
    }
    let t2_ms = spec.t2_ms.unwrap_or(f64::INFINITY);
    if t2_ms.is_nan() || t2_ms <= 0.0 {
        return Err(SubstrateError::key(
            format!("{name}.t2_ms"),
            format!("{t2_ms}; a number above 0 is needed, or leave it out"),
        ));
    }
    Ok(Medium { name, diffusivity: d, t2_ms, relaxivity })
}

/// A right-handed frame whose axis number `along` points along `axis`.
pub(super) fn frame(axis: [f64; 3], along: usize) -> Result<[[f64; 3]; 3], SubstrateError> {
    let norm = axis.iter().map(|v| v * v).sum::<f64>().sqrt();
    if !(norm.is_finite() && norm > 0.0) {
        return Err(SubstrateError::key(
            "substrate.axis",
            format!("{axis:?} is no direction; three finite numbers, not all 0, are needed"),
        ));
    }
    let n = axis.map(|v| v / norm);
    let world = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    if n == world[along] {
        return Ok(world);
    }
    let least = (0..3).min_by(|&a, &b| n[a].abs().total_cmp(&n[b].abs())).unwrap_or(0);
    let across = cross(n, world[least]);
    let u = unit(across);
    let v = cross(n, u);
    let mut out = [n; 3];
    out[(along + 1) % 3] = u;
    out[(along + 2) % 3] = v;
    Ok(out)
}

impl Substrate {
    /// The compartments, by their number.
    pub fn media(&self) -> &[Medium] {
        &self.media
    }

    /// The shape in its own frame.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether walkers can change their compartment.
    pub fn is_permeable(&self) -> bool {
        self.shape.is_permeable()
    }

    /// Largest permeability of walls between compartments, µm/ms.
    pub(super) fn permeability(&self) -> f64 {
        match &self.shape {
            Shape::Rounds(r) => r.walls().iter().map(|w| w.permeability).fold(0.0, f64::max),
            Shape::Mesh(mesh) => mesh.permeability(),
            _ => 0.0,
        }
    }

    /// Where walkers start, in the frame of the shape.
    pub fn start(&self) -> &walk::Start {
        &self.start
    }

    /// A world vector in the frame of the shape.
    pub(super) fn shape_from_world(&self, v: [f64; 3]) -> [f64; 3] {
        self.frame.map(|axis| axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2])
    }

    /// The smallest length that walkers have to see, µm.
    pub(super) fn smallest_size(&self) -> f64 {
        match &self.shape {
            Shape::Free => f64::INFINITY,
            Shape::Cylinder { radius } | Shape::Sphere { radius } => *radius,
            Shape::Ellipsoid { semi_axes } => semi_axes.iter().copied().fold(f64::MAX, f64::min),
            Shape::Capped { radius, length } => radius.min(0.5 * length),
            Shape::Axon(axon) => axon.smallest_size(),
            Shape::Rounds(rounds) => super::tissue::smallest_size(rounds),
            Shape::Mesh(mesh) => {
                let [volume, area] = mesh.volume_and_area();
                2.0 * volume / area
            }
            Shape::Plates { separation, membranes } => {
                let mut edges = vec![-0.5 * separation];
                edges.extend(membranes.iter().map(|m| m.position));
                edges.push(0.5 * separation);
                edges.windows(2).map(|w| 0.5 * (w[1] - w[0])).fold(f64::INFINITY, f64::min)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const TEXT: &str = "[substrate]\nkind = \"planes\"\nseparation_um = 10\naxis = [0, 1, 1]\n\
        [intra]\ndiffusivity_um2_per_ms = 2\nt2_ms = inf\n\
        [[membrane]]\nposition_um = 2\npermeability_um_per_ms = 0.1\n\
        [[membrane]]\nposition_um = -3\npermeability_um_per_ms = 0\n\
        [start]\nwhere = \"intra\"\n";

    #[test]
    fn a_file_becomes_a_substrate() {
        let found = SubstrateSpec::from_toml(TEXT).unwrap().build().unwrap();
        let Shape::Plates { separation, membranes } = found.shape() else { panic!() };
        assert_eq!((*separation, membranes.len(), membranes[0].position), (10.0, 2, -3.0));
        assert_eq!(found.smallest_size(), 1.0);
        let along = found.shape_from_world([0.0, 0.5f64.sqrt(), 0.5f64.sqrt()]);
        assert!((along[0] - 1.0).abs() < 1e-15 && along[1].abs() < 1e-15 && along[2].abs() < 1e-15);
        for axis in [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.3, -0.2, 0.9], [0.0, 0.0, -2.0]] {
            for along in [0, 2] {
                let f = frame(axis, along).unwrap();
                for a in 0..3 {
                    let third = cross(f[a], f[(a + 1) % 3]);
                    for k in 0..3 {
                        assert!((third[k] - f[(a + 2) % 3][k]).abs() < 1e-15);
                    }
                }
            }
        }
    }

    #[test]
    fn wrong_files_are_refused_by_the_word_at_fault() {
        let says = |from: &str, to: &str, text: &str| {
            let changed = TEXT.replace(from, to);
            let found = SubstrateSpec::from_toml(&changed).and_then(|s| s.build());
            let found = found.unwrap_err().to_string();
            assert!(found.contains(text), "{found}");
        };
        says("planes", "plates", "unknown kind `plates`");
        says("axis", "axes", "axes");
        says("separation_um = 10\n", "", "substrate.separation_um");
        says("separation_um = 10", "separation_um = -1", "substrate.separation_um");
        says("separation_um", "radius_um", "planes has none");
        says("[0, 1, 1]", "[0, 0, 0]", "substrate.axis");
        says("per_ms = 2", "per_ms = 0", "intra.diffusivity_um2_per_ms");
        says("per_ms = 2", "per_ms = nan", "intra.diffusivity_um2_per_ms");
        says("t2_ms = inf", "t2_ms = 0", "intra.t2_ms");
        says("t2_ms = inf", "surface_relaxivity_um_per_ms = -1", "intra.surface_relaxivity");
        says("position_um = 2", "position_um = 5", "membrane[0].position_um");
        says("position_um = 2", "position_um = -3", "two membranes");
        says("per_ms = 0.1", "per_ms = -0.1", "membrane[0].permeability_um_per_ms");
        says("where = \"intra\"", "where = \"extra\"", "start.where");
        says("where = \"intra\"", "where = \"given\"", "start.positions");
        says("where = \"intra\"", "where = \"inside\"", "inside");
        says("[intra]", "[inter]", "inter");
        says(
            "kind = \"planes\"\nseparation_um = 10",
            "kind = \"cylinder\"\nradius_um = 1",
            "membrane",
        );
    }
}
