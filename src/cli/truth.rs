//! Estimates against a known truth.

use super::frame::{self, Voxel};
use anyhow::Context;
use microtome::report::TruthComparison;
use microtome_datasets::ParameterTable;
use std::collections::BTreeMap;
use std::path::Path;

/// A truth by voxel.
pub(crate) struct Truth {
    table: ParameterTable,
    row_of: BTreeMap<i64, usize>,
}

/// One line of the comparison.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) voxels: usize,
    pub(crate) median_error: f64,
    /// Share of 90 % intervals that hold the truth; NaN without intervals.
    pub(crate) coverage: f64,
}

impl Truth {
    /// Reads a table with the columns `voxel` and those of a model.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let table = ParameterTable::read(path)?;
        let voxels = table
            .column("voxel")
            .with_context(|| format!("{}: the column `voxel` is missing", path.display()))?;
        let row_of = voxels.iter().enumerate().map(|(row, v)| (*v as i64, row)).collect();
        Ok(Self { table, row_of })
    }

    /// The true value of a parameter of a voxel.
    pub(crate) fn value(&self, voxel: i64, parameter: &str) -> Option<f64> {
        Some(self.table.column(parameter)?[*self.row_of.get(&voxel)?])
    }

    /// Compares all converged voxels of a table of results.
    pub(crate) fn compare(
        &self,
        results: &Path,
    ) -> anyhow::Result<(Vec<TruthComparison>, Vec<Line>)> {
        let mut scalars: BTreeMap<String, TruthComparison> = BTreeMap::new();
        let mut angles: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        frame::for_each(results, |voxel| {
            if voxel.status == "converged" {
                self.add(voxel, &mut scalars, &mut angles);
            }
            Ok(())
        })?;
        let mut lines: Vec<Line> = scalars.values().map(line).collect();
        for (name, mut list) in angles {
            let voxels = list.len();
            let (median_error, coverage) = (median(&mut list), f64::NAN);
            lines.push(Line { name, unit: "degree".into(), voxels, median_error, coverage });
        }
        Ok((scalars.into_values().collect(), lines))
    }

    fn add(
        &self,
        voxel: &Voxel,
        scalars: &mut BTreeMap<String, TruthComparison>,
        angles: &mut BTreeMap<String, Vec<f64>>,
    ) {
        for (name, e) in &voxel.parameters {
            if let Some((compartment, _)) = name.split_once(".mu_") {
                if name.ends_with("_x")
                    && let Some(angle) = self.angle(voxel, compartment)
                {
                    angles.entry(format!("{compartment}.mu")).or_default().push(angle);
                }
                continue;
            }
            let Some(truth) = self.value(voxel.voxel, name) else { continue };
            let c = scalars.entry(name.clone()).or_insert_with(|| TruthComparison {
                name: name.clone(),
                unit: unit(name).into(),
                ..TruthComparison::default()
            });
            c.truth.push(truth);
            c.estimate.push(e.mean);
            if e.q05.is_finite() {
                c.q05.push(e.q05);
                c.q95.push(e.q95);
            }
        }
    }

    /// The angle between an estimated and a true axis, degree; `None` where the
    /// compartment is too small to have one.
    fn angle(&self, voxel: &Voxel, compartment: &str) -> Option<f64> {
        if self.value(voxel.voxel, &format!("{compartment}.fraction")).is_some_and(|f| f < 0.1) {
            return None;
        }
        let mut cosine = 0.0;
        for axis in ["x", "y", "z"] {
            let truth = self.value(voxel.voxel, &format!("{compartment}.mu_{axis}"))?;
            let estimate = ["mu_axis", "mu"]
                .iter()
                .find_map(|mu| voxel.parameters.get(&format!("{compartment}.{mu}_{axis}")))?;
            cosine += truth * estimate.mean;
        }
        Some(cosine.abs().min(1.0).acos().to_degrees())
    }
}

/// The unit of a parameter by its name, as a reader wants it.
pub(crate) fn unit(name: &str) -> &'static str {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.starts_with("lambda") || ["md", "ad", "rd"].contains(&last) {
        "µm²/ms"
    } else if last == "s0" || last == "sigma" {
        "a.u."
    } else if last.ends_with("_deg") {
        "degree"
    } else if last == "psi" {
        "rad"
    } else {
        ""
    }
}

fn line(c: &TruthComparison) -> Line {
    let mut errors: Vec<f64> =
        c.truth.iter().zip(&c.estimate).map(|(t, e)| (t - e).abs()).collect();
    let inside = c
        .truth
        .iter()
        .zip(c.q05.iter().zip(&c.q95))
        .filter(|(t, (a, b))| *a <= t && t <= b)
        .count();
    let coverage = if c.q05.is_empty() { f64::NAN } else { inside as f64 / c.q05.len() as f64 };
    Line {
        name: c.name.clone(),
        unit: c.unit.clone(),
        voxels: c.truth.len(),
        median_error: median(&mut errors),
        coverage,
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}
