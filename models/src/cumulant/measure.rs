//! Numbers that follow from the parameters of a tensor: columns beside them.
//!
//! $$\mathrm{FA} = \sqrt{\tfrac32}\,\frac{\lVert\lambda-\bar\lambda\rVert}{\lVert\lambda\rVert},\quad
//!   \mathrm{MD} = \bar\lambda,\quad \mathrm{AD} = \lambda_1,\quad
//!   \mathrm{RD} = \tfrac12(\lambda_2+\lambda_3)$$
//!
//! with the eigenvalues $\lambda_1\ge\lambda_2\ge\lambda_3$ in µm²/ms; FA has no unit.
//!
//! Source: Basser & Pierpaoli 1996, doi:10.1006/jmrb.1996.0086.
//! Validated by `gradient_equals_difference` below.

use crate::cumulant::{KURTOSIS_ELEMENTS, KurtosisMeasures};
use crate::model::Model;
use crate::parameter::Unit;

/// A number that follows from the eigenvalues of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorMeasure {
    /// Fractional anisotropy.
    Fa,
    /// Mean diffusivity.
    Md,
    /// Axial diffusivity.
    Ad,
    /// Radial diffusivity.
    Rd,
}

impl TensorMeasure {
    /// All of them, in the order of their columns.
    pub const ALL: [TensorMeasure; 4] =
        [TensorMeasure::Fa, TensorMeasure::Md, TensorMeasure::Ad, TensorMeasure::Rd];

    /// The name of its column.
    pub fn name(self) -> &'static str {
        match self {
            TensorMeasure::Fa => "fa",
            TensorMeasure::Md => "md",
            TensorMeasure::Ad => "ad",
            TensorMeasure::Rd => "rd",
        }
    }

    fn unit(self) -> Unit {
        match self {
            TensorMeasure::Fa => Unit::One,
            _ => Unit::SquareMicrometrePerMillisecond,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            TensorMeasure::Fa => "fractional anisotropy of the tensor",
            TensorMeasure::Md => "mean diffusivity of the tensor",
            TensorMeasure::Ad => "axial diffusivity, the largest eigenvalue",
            TensorMeasure::Rd => "radial diffusivity, the mean of the two smaller eigenvalues",
        }
    }

    /// The measure of falling eigenvalues, and its derivatives by them; FA of an
    /// isotropic tensor has none (NaN).
    pub fn evaluate(self, l: [f64; 3]) -> (f64, [f64; 3]) {
        let third = 1.0 / 3.0;
        match self {
            TensorMeasure::Fa => {
                let sum = l[0] + l[1] + l[2];
                let square = l[0] * l[0] + l[1] * l[1] + l[2] * l[2];
                let rest: f64 = l.iter().map(|v| (v - third * sum) * (v - third * sum)).sum();
                let fa = (1.5 * rest / square).sqrt();
                // FA² = 3/2 - sum² / (2 square).
                let slope = l.map(|v| 0.5 * (sum * sum * v / square - sum) / (square * fa));
                (fa, slope)
            }
            TensorMeasure::Md => (third * (l[0] + l[1] + l[2]), [third; 3]),
            TensorMeasure::Ad => (l[0], [1.0, 0.0, 0.0]),
            TensorMeasure::Rd => (0.5 * (l[1] + l[2]), [0.0, 0.5, 0.5]),
        }
    }
}

/// A column of a fit that follows from the parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// The name of its column; behind `<compartment>.` where a model has several tensors.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// What it means.
    pub meaning: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// Of the eigenvalues in these columns of the model.
    Tensor(TensorMeasure, [usize; 3]),
    /// Known to the expansion alone.
    Expansion,
}

/// The measures of a model: those of its tensors, and those of its kurtosis.
pub(crate) fn of_model(model: &Model) -> Vec<Measure> {
    let mut out = Vec::new();
    let tensors: Vec<&str> = model
        .components()
        .iter()
        .filter(|c| c.kind.kind() == "tensor")
        .map(|c| c.name.as_str())
        .collect();
    for tensor in &tensors {
        let at = |k: usize| {
            let name = format!("{tensor}.lambda_{k}");
            model.columns().iter().position(|c| c.name == name)
        };
        let (Some(a), Some(b), Some(c)) = (at(1), at(2), at(3)) else { continue };
        let prefix = if tensors.len() > 1 { format!("{tensor}.") } else { String::new() };
        out.extend(TensorMeasure::ALL.map(|m| Measure {
            name: format!("{prefix}{}", m.name()),
            unit: m.unit(),
            meaning: m.meaning().into(),
            source: Source::Tensor(m, [a, b, c]),
        }));
    }
    if !model.spec().expansion.is_gaussian() {
        let meanings = [
            "mean kurtosis, over the sphere",
            "axial kurtosis, along the first eigenvector of the tensor",
            "radial kurtosis, mean across the first eigenvector of the tensor",
            "anisotropy of the kurtosis tensor",
        ];
        let kurtosis = |name: String, meaning: String| Measure {
            name,
            unit: Unit::One,
            meaning,
            source: Source::Expansion,
        };
        for (name, meaning) in KurtosisMeasures::NAMES.into_iter().zip(meanings) {
            out.push(kurtosis(name.into(), meaning.into()));
        }
        for e in KURTOSIS_ELEMENTS {
            let name = format!("kurtosis.w_{}", e.name);
            out.push(kurtosis(name, format!("element {} of the kurtosis tensor", e.name)));
        }
    }
    out
}

impl Measure {
    /// The number from the values of `model`; its derivatives go to
    /// `sink(value, derivative)`. NaN for a measure of an expansion, which values do
    /// not determine.
    pub fn evaluate(
        &self,
        model: &Model,
        x: &[f64],
        per_voxel: &[f64],
        sink: &mut dyn FnMut(usize, f64),
    ) -> f64 {
        let Source::Tensor(measure, columns) = &self.source else { return f64::NAN };
        let mut l = [0.0; 3];
        for (l, &c) in l.iter_mut().zip(columns) {
            *l = model.columns()[c].evaluate(x, per_voxel, &mut |_, _| ());
        }
        // Links and ranges of their own may leave the eigenvalues in another order.
        let mut order = [0, 1, 2];
        order.sort_by(|&i, &j| l[j].total_cmp(&l[i]));
        let (value, slope) = measure.evaluate(order.map(|i| l[i]));
        for (&i, d) in order.iter().zip(slope) {
            model.columns()[columns[i]].evaluate(x, per_voxel, &mut |k, e| sink(k, d * e));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_equals_difference() {
        let l = [1.7, 0.6, 0.3];
        for m in TensorMeasure::ALL {
            let (value, slope) = m.evaluate(l);
            assert!(value > 0.0);
            for i in 0..3 {
                let h = 1e-5;
                let (mut up, mut down) = (l, l);
                up[i] += h;
                down[i] -= h;
                let difference = (m.evaluate(up).0 - m.evaluate(down).0) / (2.0 * h);
                assert!((slope[i] - difference).abs() < 1e-9, "{m:?} {i}");
            }
        }
        // A stick is fully anisotropic, a ball not at all.
        assert!((TensorMeasure::Fa.evaluate([1.0, 0.0, 0.0]).0 - 1.0).abs() < 1e-15);
        assert!(TensorMeasure::Fa.evaluate([1.0, 1.0, 1.0]).0 < 1e-15);
    }
}
