//! What of a model is estimated: its free and derived columns, and its axes.
//!
//! $$\mathrm{var}\,c = \nabla c^T\,\Sigma\,\nabla c,\qquad
//!   \mathrm{E}\,\theta^2 = \Sigma_{11} + \Sigma_{22}$$
//!
//! The variance of a column to first order, and the mean squared angle $\theta$ of an
//! axis, from a covariance $\Sigma$ in [`LocalCoordinates`].
//!
//! Validated by `quantities_are_free_columns_and_axes`.

use super::LocalCoordinates;
use crate::model::Model;
use crate::parameter::Unit;

/// One quantity.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    /// The column; `<compartment>.mu` for an axis, whose number is an angle.
    pub name: String,
    /// Unit of its standard deviation; rad for an axis.
    pub unit: Unit,
    /// Whether it is a free value (or axis); a link computes it otherwise.
    pub free: bool,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Column(usize),
    /// First value.
    Axis(usize),
}

impl Quantity {
    /// The quantities of a model in the order of its columns. A column that equals
    /// another one by a link, and constants, are left out.
    pub fn of(model: &Model) -> Vec<Quantity> {
        let names = model.value_names();
        let mut out: Vec<Quantity> = Vec::new();
        for (i, column) in model.columns().iter().enumerate() {
            let value = column.free_value();
            if column.is_constant() || value.is_some_and(|k| names[k] != column.name) {
                continue;
            }
            match (column.axis_part(), value) {
                (Some((compartment, 0)), Some(at)) => out.push(Quantity {
                    name: format!("{compartment}.mu"),
                    unit: Unit::Radian,
                    free: true,
                    source: Source::Axis(at),
                }),
                (Some(_), _) => {}
                (None, _) => out.push(Quantity {
                    name: column.name.clone(),
                    unit: column.unit,
                    free: value.is_some(),
                    source: Source::Column(i),
                }),
            }
        }
        out
    }

    /// Whether it is the angle of an axis.
    pub fn is_axis(&self) -> bool {
        matches!(self.source, Source::Axis(_))
    }

    /// Its value at `x`; `None` for an axis.
    pub fn value(&self, model: &Model, x: &[f64], per_voxel: &[f64]) -> Option<f64> {
        match self.source {
            Source::Column(i) => Some(model.columns()[i].evaluate(x, per_voxel, &mut |_, _| ())),
            Source::Axis(_) => None,
        }
    }

    /// Vectors $g$ whose $\sum g^T\Sigma g$ is its variance.
    pub(crate) fn slopes(
        &self,
        model: &Model,
        local: &LocalCoordinates,
        x: &[f64],
        per_voxel: &[f64],
    ) -> Vec<Vec<f64>> {
        let (basis, n) = (local.basis(x), local.dim());
        match self.source {
            Source::Column(i) => {
                let mut g = vec![0.0; n];
                model.columns()[i].evaluate(x, per_voxel, &mut |k, d| {
                    for (g, b) in g.iter_mut().zip(&basis[k * n..(k + 1) * n]) {
                        *g += d * b;
                    }
                });
                vec![g]
            }
            Source::Axis(at) => {
                let first = local.coordinate_of(at).unwrap_or(0);
                let unit = |k: usize| (0..n).map(|i| f64::from(i == first + k)).collect();
                vec![unit(0), unit(1)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::ModelSpec;

    #[test]
    fn quantities_are_free_columns_and_axes() {
        let model = Model::new(ModelSpec::parse("noddi").unwrap()).unwrap();
        let found = Quantity::of(&model);
        let names: Vec<&str> = found.iter().map(|q| q.name.as_str()).collect();
        for wanted in ["intra.mu", "intra.odi", "intra.fraction", "csf.fraction", "s0"] {
            assert!(names.contains(&wanted), "{names:?}");
        }
        assert!(!names.contains(&"extra.odi") && !names.contains(&"extra.mu"), "{names:?}");
        let derived = found.iter().find(|q| q.name == "extra.lambda_perp").unwrap();
        assert!(!derived.free);
    }
}
