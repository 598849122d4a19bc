//! The TOML file of a substrate: shape, compartments, membranes, starting points.
//!
//! ```toml
//! [substrate]
//! kind = "cylinder"                   # free | planes | cylinder | sphere
//! radius_um = 5.0                     # cylinder, sphere; planes: separation_um
//! axis = [0, 0, 1]                    # axis of a cylinder, normal of planes
//! [intra]
//! diffusivity_um2_per_ms = 2.0
//! surface_relaxivity_um_per_ms = 0.0  # 1 m/s = 1000 um/ms
//! t2_ms = inf                         # left out: no relaxation
//! [[membrane]]                        # planes only, inside the slab
//! position_um = -2.0                  # from the middle, along the normal
//! permeability_um_per_ms = 0.001      # flux = permeability x jump
//! [start]
//! where = "intra"                     # intra | extra | all
//! ```
//!
//! Validated by the tests below.

use super::SubstrateError;
use microtome_kernels::walk::{Membrane, Shape};
use serde::{Deserialize, Serialize};

/// Words of `kind`.
pub(super) const KINDS: [&str; 4] = ["free", "planes", "cylinder", "sphere"];
/// Sizes and diffusivities beyond these are of another unit.
const LARGEST_UM: f64 = 1e6;
const LARGEST_UM2_PER_MS: f64 = 1e3;

/// A substrate as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstrateSpec {
    /// The shape.
    pub substrate: ShapeSpec,
    /// Inside.
    pub intra: MediumSpec,
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
    /// Axis of a cylinder, normal of planes; z where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<[f64; 3]>,
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

/// A checked substrate.
#[derive(Clone, Debug, PartialEq)]
pub struct Substrate {
    pub(super) shape: Shape,
    /// Rows are the axes of the shape's own frame in the world.
    pub(super) frame: [[f64; 3]; 3],
    pub(super) media: Vec<Medium>,
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

    /// Checks all values.
    ///
    /// # Errors
    /// Unknown kinds, keys that a kind needs or can't have, values that can't be.
    pub fn build(&self) -> Result<Substrate, SubstrateError> {
        let s = &self.substrate;
        let kind = s.kind.as_str();
        if !KINDS.contains(&kind) {
            return Err(SubstrateError::UnknownKind { kind: kind.into() });
        }
        let size = |key: &str, value: Option<f64>, wanted: bool| match (value, wanted) {
            (Some(v), true) if v.is_finite() && v > 0.0 && v <= LARGEST_UM => Ok(v),
            (Some(v), true) => Err(SubstrateError::key(
                format!("substrate.{key}"),
                format!("{v}; a number above 0 and up to {LARGEST_UM:e} (um) is needed"),
            )),
            (None, true) => Err(SubstrateError::key(
                format!("substrate.{key}"),
                format!("is missing; {kind} needs it"),
            )),
            (Some(_), false) => Err(SubstrateError::key(
                format!("substrate.{key}"),
                format!("{kind} has none; leave it out"),
            )),
            (None, false) => Ok(0.0),
        };
        let radius = size("radius_um", s.radius_um, ["cylinder", "sphere"].contains(&kind))?;
        let separation = size("separation_um", s.separation_um, kind == "planes")?;
        if s.axis.is_some() && !["cylinder", "planes"].contains(&kind) {
            return Err(SubstrateError::key(
                "substrate.axis",
                format!("{kind} has none; leave it out"),
            ));
        }
        if !self.membrane.is_empty() && kind != "planes" {
            return Err(SubstrateError::key("membrane", "only planes can have membranes"));
        }
        let shape = match kind {
            "free" => Shape::Free,
            "planes" => Shape::Plates { separation, membranes: self.membranes(separation)? },
            "cylinder" => Shape::Cylinder { radius },
            _ => Shape::Sphere { radius },
        };
        let intra = medium("intra", &self.intra)?;
        if kind == "free" && intra.relaxivity > 0.0 {
            return Err(SubstrateError::key(
                "intra.surface_relaxivity_um_per_ms",
                "free has no walls; leave it out",
            ));
        }
        if let Some(start) = &self.start
            && start.place != Start::Intra
        {
            return Err(SubstrateError::key(
                "start.where",
                format!("{kind} is simulated inside only; use \"intra\""),
            ));
        }
        let along = if kind == "planes" { 0 } else { 2 };
        let frame = frame(s.axis.unwrap_or([0.0, 0.0, 1.0]), along)?;
        Ok(Substrate { shape, frame, media: vec![intra] })
    }

    fn membranes(&self, separation: f64) -> Result<Vec<Membrane>, SubstrateError> {
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

fn medium(name: &'static str, spec: &MediumSpec) -> Result<Medium, SubstrateError> {
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
fn frame(axis: [f64; 3], along: usize) -> Result<[[f64; 3]; 3], SubstrateError> {
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
    let norm = across.iter().map(|v| v * v).sum::<f64>().sqrt();
    let u = across.map(|v| v / norm);
    let v = cross(n, u);
    let mut out = [n; 3];
    out[(along + 1) % 3] = u;
    out[(along + 2) % 3] = v;
    Ok(out)
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
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

    /// A world vector in the frame of the shape.
    pub(super) fn shape_from_world(&self, v: [f64; 3]) -> [f64; 3] {
        self.frame.map(|axis| axis[0] * v[0] + axis[1] * v[1] + axis[2] * v[2])
    }

    /// The smallest length that walkers have to see, µm.
    pub(super) fn smallest_size(&self) -> f64 {
        match &self.shape {
            Shape::Free => f64::INFINITY,
            Shape::Cylinder { radius } | Shape::Sphere { radius } => *radius,
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
        says("where = \"intra\"", "where = \"inside\"", "inside");
        says("[intra]", "[inter]", "inter");
        says(
            "kind = \"planes\"\nseparation_um = 10",
            "kind = \"cylinder\"\nradius_um = 1",
            "membrane",
        );
    }
}
