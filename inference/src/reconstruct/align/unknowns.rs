//! Which changes of the poses are searched: of every view, and common to all.
//!
//! $$\delta\theta_i = B_iq_i + \sum_k c_{ik}s_k$$
//!
//! One unit of $q$ moves the edge of the volume by 1 mm. Directions that a view cannot see
//! whatever the volume is (a shift along a parallel beam) are left out of $B_i$ and named.
//! Unknowns that move all rays as others do are refused. What is hidden while the volume is
//! free are the combinations that move the rays as a motion of the volume does (`gauge`):
//!
//! $$\min_z\ \sum_i|D_i(g_i - B_iq_i - c_is)|^2 = 0$$
//!
//! with the motions $D_i$ of a few rays across themselves in the frame of the volume.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $q_i$ | mm | of view i |
//! | $s_k$ | mm | common to all views |
//!
//! Source: the definitions above. Validated by `directions_are_seen` in
//! `inference/tests/suite/align.rs`.

use super::AlignError;
use super::arrow::{Arrow, Blind};
use microtome_models::ct::{DETECTOR_PARAMETERS, PoseModel};

/// Parts of a direction below this are none.
const NONE: f64 = 1e-9;

/// The unknowns of an alignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknowns {
    pub(super) parameters: usize,
    pub(super) views: usize,
    /// `[view][direction][parameter]`.
    pub(super) own: Vec<Vec<Vec<f64>>>,
    /// Name and `[view, parameter]`.
    pub(super) common: Vec<(String, Vec<f64>)>,
    /// What was asked for and is not searched, in words.
    pub(super) fixed: Vec<String>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Unknowns {
    /// The parameters `own` of every view and those in `common`, one value each for all views.
    ///
    /// Names are those of the parameters; parallel beams have also the common ones `detector_u`,
    /// `detector_v` (the detector shifted along u or v) and `roll` (turned about the beam),
    /// point sources those of [`PoseModel::with_detector`].
    ///
    /// # Errors
    /// Unknown names, a name in both lists, nothing that any view sees, a name that moves the
    /// rays as others of the list do.
    pub fn new(model: &PoseModel, own: &[&str], common: &[&str]) -> Result<Self, AlignError> {
        let names = model.parameters();
        let n = names.len();
        let flat = model.volume().dimensions() == 2;
        let scales = model.scales();
        let blind = model.blind_directions();
        let mut fixed = Vec::new();
        let mut free = Vec::new();
        for name in own {
            let Some(k) = names.iter().position(|p| p == name) else {
                let known = names.join(", ");
                return Err(AlignError::setting(
                    "parameters",
                    format!("unknown parameter `{name}`; a view has {known}"),
                ));
            };
            if flat && [0, 1, 5].contains(&k) {
                fixed.push(format!("{name} leaves the plane and stays 0"));
            } else if !free.contains(&k) {
                free.push(k);
            }
        }
        let unit = |k: usize| {
            let mut e = vec![0.0; n];
            e[k] = 1.0 / scales[k];
            e
        };
        let mut tables = Vec::with_capacity(model.n_views());
        let mut hidden = 0;
        for view in 0..model.n_views() {
            let mut rows: Vec<Vec<f64>> =
                free.iter().filter(|k| **k < 3).map(|k| unit(*k)).collect();
            let shifts: Vec<usize> = free.iter().filter(|k| **k >= 3).copied().collect();
            // The blind direction, if the free shifts can make it.
            let away = match &blind {
                Some(d) if n == 6 => {
                    let inside: f64 = shifts.iter().map(|k| d[view][k - 3].powi(2)).sum();
                    (inside > 1.0 - NONE).then(|| d[view])
                }
                _ => None,
            };
            let mut kept: Vec<Vec<f64>> = Vec::new();
            for &k in &shifts {
                let mut e = unit(k);
                if let Some(d) = away {
                    for j in 0..3 {
                        e[3 + j] -= d[k - 3] * d[j];
                    }
                }
                for other in &kept {
                    let along = dot(&e, other);
                    e.iter_mut().zip(other).for_each(|(e, o)| *e -= along * o);
                }
                let size = dot(&e, &e).sqrt();
                if size > 1e-6 {
                    kept.push(e.into_iter().map(|v| v / size).collect());
                }
            }
            hidden += usize::from(away.is_some());
            rows.extend(kept);
            tables.push(rows);
        }
        if hidden > 0 {
            fixed.push(format!(
                "the shift along the beam (of {hidden} views) changes no projection and stays as it is"
            ));
        }
        let mut shared = Vec::new();
        for name in common {
            if own.contains(name) {
                return Err(AlignError::setting(
                    "common",
                    format!("`{name}` is free in every view already; leave it out of one list"),
                ));
            }
            let table = common_table(model, name, blind.as_deref())?;
            match table {
                Some(table) => shared.push(((*name).to_string(), table)),
                None => fixed.push(format!("{name} changes no projection and stays as it is")),
            }
        }
        let views = model.n_views();
        let out = Self { parameters: n, views, own: tables, common: shared, fixed };
        if out.is_empty() {
            let why = if out.fixed.is_empty() {
                "no parameter is free".to_string()
            } else {
                out.fixed.join("; ")
            };
            let reason = format!("nothing is left to be found: {why}; name other parameters");
            return Err(AlignError::NoUnknowns { reason });
        }
        let zero = vec![0.0; views * n];
        match Arrow::new(&out, &ray_normals(model, &zero)?, 0.0) {
            Ok(_) => Ok(out),
            Err(Blind::View(_)) => {
                let reason = format!(
                    "{} of a view move its rays in ways that are not independent; name fewer",
                    own.join(", ")
                );
                Err(AlignError::NoUnknowns { reason })
            }
            Err(Blind::Common(k)) => {
                let reason = format!(
                    "`{}` for all views moves their rays as other unknowns do ({}); leave it out \
                     of --common or take those out",
                    out.common[k].0,
                    own.iter()
                        .chain(common)
                        .filter(|o| **o != out.common[k].0)
                        .copied()
                        .collect::<Vec<_>>()
                        .join(", ")
                );
                Err(AlignError::NoUnknowns { reason })
            }
        }
    }

    /// All that a pose has, in every view.
    ///
    /// # Errors
    /// As [`Unknowns::new`].
    pub fn all(model: &PoseModel) -> Result<Self, AlignError> {
        let flat = model.volume().dimensions() == 2;
        let of = |(k, name): (usize, &&'static str)| {
            let of_pose = !DETECTOR_PARAMETERS.contains(name);
            (of_pose && !(flat && [0, 1, 5].contains(&k))).then_some(*name)
        };
        let names: Vec<&str> = model.parameters().iter().enumerate().filter_map(of).collect();
        Self::new(model, &names, &[])
    }

    /// Number of unknowns.
    pub fn len(&self) -> usize {
        self.own.iter().map(Vec::len).sum::<usize>() + self.common.len()
    }

    /// Never: there is something to be found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was asked for and is not searched, in words.
    pub fn fixed(&self) -> &[String] {
        &self.fixed
    }

    /// Names of the common unknowns.
    pub fn common(&self) -> impl Iterator<Item = &str> {
        self.common.iter().map(|c| c.0.as_str())
    }

    /// $\delta\theta$ `[view, parameter]` of unknowns, those of views first.
    pub fn expand(&self, z: &[f64]) -> Vec<f64> {
        let n = self.parameters;
        let mut out = vec![0.0; self.views * n];
        let mut z = z.iter();
        for (row, rows) in out.chunks_exact_mut(n).zip(&self.own) {
            for direction in rows {
                let q = z.next().copied().unwrap_or(0.0);
                row.iter_mut().zip(direction).for_each(|(r, d)| *r += q * d);
            }
        }
        for (_, table) in &self.common {
            let s = z.next().copied().unwrap_or(0.0);
            out.iter_mut().zip(table).for_each(|(o, t)| *o += s * t);
        }
        out
    }

    /// The transpose of [`Unknowns::expand`].
    pub fn restrict(&self, table: &[f64]) -> Vec<f64> {
        let n = self.parameters;
        let mut out = Vec::with_capacity(self.len());
        for (row, rows) in table.chunks_exact(n).zip(&self.own) {
            out.extend(rows.iter().map(|d| dot(d, row)));
        }
        out.extend(self.common.iter().map(|(_, t)| dot(t, table)));
        out
    }
}

/// The change of all poses with a common unknown of 1 mm; `None` when it is blind.
fn common_table(
    model: &PoseModel,
    name: &str,
    blind: Option<&[[f64; 3]]>,
) -> Result<Option<Vec<f64>>, AlignError> {
    let names = model.parameters();
    let n = names.len();
    let scales = model.scales();
    if let Some(k) = names.iter().position(|p| *p == name) {
        if model.volume().dimensions() == 2 && [0, 1, 5].contains(&k) {
            return Ok(None);
        }
        let mut table = vec![0.0; n * model.n_views()];
        table.iter_mut().skip(k).step_by(n).for_each(|v| *v = 1.0 / scales[k]);
        return Ok(Some(table));
    }
    let known = || {
        let parallel = blind.is_some() && n == 6;
        let mut known = names.to_vec();
        known.extend(if parallel { &DETECTOR_PARAMETERS[..3] } else { &[] });
        if model.sources().is_some() {
            known.extend(DETECTOR_PARAMETERS.iter().filter(|p| !names.contains(p)));
        }
        let known = known.join(", ");
        AlignError::setting("common", format!("unknown parameter `{name}`; use {known}"))
    };
    let (Some(blind), true) = (blind, n == 6) else { return Err(known()) };
    let unit = |a: [f64; 3]| {
        let size = a.iter().map(|v| v * v).sum::<f64>().sqrt();
        a.map(|v| v / size)
    };
    let mut table = vec![0.0; n * model.n_views()];
    for (view, (row, [u, v])) in table.chunks_exact_mut(n).zip(model.pixel_steps()).enumerate() {
        // The volume moves against the detector.
        match name {
            "detector_u" => (0..3).for_each(|k| row[3 + k] = -unit(u)[k]),
            "detector_v" => (0..3).for_each(|k| row[3 + k] = -unit(v)[k]),
            "roll" => (0..3).for_each(|k| row[k] = -blind[view][k] / scales[k]),
            _ => return Err(known()),
        }
        if model.volume().dimensions() == 2 && name != "detector_u" {
            return Ok(None);
        }
    }
    Ok(Some(table))
}

/// The unit of a parameter: rad for turns, else mm.
pub(super) fn unit_of(name: &str) -> &'static str {
    if ["alpha", "beta", "phi", "roll"].contains(&name) { "rad" } else { "mm" }
}

/// $D_i^TD_i$ of every view at some poses.
fn ray_normals(model: &PoseModel, thetas: &[f64]) -> Result<Vec<Vec<f64>>, AlignError> {
    let n = model.parameters().len();
    let of = |(view, theta): (usize, &[f64])| {
        let motions = model.ray_motions(view, theta)?;
        let pairs = (0..n * n).map(|i| dot(&motions[i / n], &motions[i % n]));
        Ok(pairs.collect())
    };
    thetas.chunks_exact(n).enumerate().map(of).collect()
}

/// $N_it_i$ of a table `[view, parameter]`.
fn weighed(normals: &[Vec<f64>], table: &[f64]) -> Vec<f64> {
    let n = table.len() / normals.len().max(1);
    let views = normals.iter().zip(table.chunks_exact(n.max(1)));
    views.flat_map(|(h, t)| (0..n).map(|p| dot(&h[p * n..(p + 1) * n], t))).collect()
}

impl Unknowns {
    /// Unknowns whose [`Unknowns::expand`] is nearest to a table, in mm at the edge.
    pub(super) fn coordinates(&self, table: &[f64], scales: &[f64]) -> Vec<f64> {
        let n = self.parameters;
        let diagonal = |i: usize| if i.is_multiple_of(n + 1) { scales[i / n].powi(2) } else { 0.0 };
        let metric: Vec<f64> = (0..n * n).map(diagonal).collect();
        let normals = vec![metric; self.views];
        let mut z = self.restrict(&weighed(&normals, table));
        match Arrow::new(self, &normals, 0.0) {
            Ok(arrow) => arrow.solve(&mut z),
            Err(_) => z.fill(f64::NAN),
        }
        z
    }

    /// A common unknown in the unit of its parameter, and that unit: rad for turns, else mm.
    pub fn value_of(&self, model: &PoseModel, k: usize, mm_at_edge: f64) -> (f64, &'static str) {
        let Some((name, table)) = self.common.get(k) else { return (mm_at_edge, "mm") };
        let unit = unit_of(name);
        match model.parameters().iter().position(|p| p == name) {
            Some(column) => (mm_at_edge * table.get(column).copied().unwrap_or(1.0), unit),
            None if unit == "rad" => (mm_at_edge / model.arm_mm(), unit),
            None => (mm_at_edge, unit),
        }
    }
}

/// The unknowns that only move the volume, orthonormal, and their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hidden {
    /// `[direction][unknown]`.
    pub(super) directions: Vec<Vec<f64>>,
    /// In words.
    pub names: Vec<String>,
}

impl Hidden {
    /// The part of the generators that the unknowns can make, at some poses.
    ///
    /// # Errors
    /// Poses that are not finite.
    pub fn new(model: &PoseModel, unknowns: &Unknowns, thetas: &[f64]) -> Result<Self, AlignError> {
        let normals = ray_normals(model, thetas)?;
        let arrow = Arrow::new(unknowns, &normals, 0.0).map_err(|_| AlignError::NoUnknowns {
            reason: "at these poses the unknowns are not independent; name fewer".into(),
        })?;
        let all = super::gauge::generators(model, thetas)?;
        let mut insides = Vec::with_capacity(all.len());
        let mut rests = Vec::with_capacity(all.len());
        for (_, table) in &all {
            let size = dot(table, &weighed(&normals, table)).sqrt();
            let table: Vec<f64> = table.iter().map(|t| t / size).collect();
            let mut z = unknowns.restrict(&weighed(&normals, &table));
            arrow.solve(&mut z);
            let made = unknowns.expand(&z);
            let rest: Vec<f64> = table.iter().zip(&made).map(|(t, m)| t - m).collect();
            insides.push(z);
            rests.push((weighed(&normals, &rest), rest));
        }
        let m = rests.len();
        let mut gram = vec![0.0; m * m];
        for i in 0..m {
            for j in 0..m {
                gram[i * m + j] = dot(&rests[i].0, &rests[j].1);
            }
        }
        let (values, vectors) = microtome_kernels::eigen::eigen_symmetric(&gram, m);
        let mut out = Self::default();
        for k in 0..m {
            if values[k] > 1e-6 {
                continue;
            }
            let v = &vectors[k * m..(k + 1) * m];
            let mut z = vec![0.0; unknowns.len()];
            for (c, inside) in v.iter().zip(&insides) {
                z.iter_mut().zip(inside).for_each(|(z, i)| *z += c * i);
            }
            for other in &out.directions {
                let along = dot(&z, other);
                z.iter_mut().zip(other).for_each(|(z, o)| *z -= along * o);
            }
            let size = dot(&z, &z).sqrt();
            if size < 1e-4 {
                continue;
            }
            out.directions.push(z.into_iter().map(|v| v / size).collect());
            for (c, (name, _)) in v.iter().zip(&all) {
                let name = (*name).to_string();
                if c.abs() > 0.5 && !out.names.contains(&name) {
                    out.names.push(name);
                }
            }
        }
        Ok(out)
    }

    /// Takes the hidden part away.
    pub(super) fn remove(&self, z: &mut [f64]) {
        for direction in &self.directions {
            let along = dot(z, direction);
            z.iter_mut().zip(direction).for_each(|(z, d)| *z -= along * d);
        }
    }
}
