//! What an acquisition can tell about the parameters of a model, before any data.
//!
//! $$I = \sigma^{-2}\,P\,T^TJ^TJT\,P$$
//!
//! The Fisher information of Gaussian noise in tangent coordinates, in units of the
//! prior standard deviation $P$ of each coordinate. An eigenvalue above 1 is a direction
//! in which the data speak louder than the prior; their number is the effective rank.
//! It is looked at for SNR 30 at points spread over the ranges, because it depends on
//! the parameters.
//!
//! Source: the comparison of likelihood and prior precision in a direction as in
//! Spantini et al. 2015, doi:10.1137/140977308, eq. 2.6; for diffusion MRI the same
//! question is asked by Jelescu et al. 2016, doi:10.1002/nbm.3450.
//! Validated by `one_shell_leaves_directions_to_the_prior` below.

use crate::fit::StartScheme;
use microtome_kernels::eigen::eigen_symmetric;
use microtome_kernels::normal::normal_equations;
use microtome_models::{Evaluator, FreeKind, Lowered, Tangent};

/// The signal-to-noise ratio at b = 0 that the question is asked for.
const SNR: f64 = 30.0;

/// The answer for one model on one acquisition.
#[derive(Debug, Clone, PartialEq)]
pub struct Identifiability {
    /// Coordinates: degrees of freedom of the model.
    pub parameters: usize,
    /// Directions in which data of SNR 30 say more than the prior, the median over
    /// the points.
    pub rank: usize,
    /// The parameters that make up the directions left to the prior, by falling weight.
    pub weak: Vec<String>,
}

/// One point: effective rank and the weight of each coordinate in the rest.
fn at_point(
    evaluator: &mut Evaluator,
    tangent: &Tangent,
    units: &[f64],
    x: &[f64],
) -> (usize, Vec<f64>) {
    let plan = evaluator.lowered().plan.clone();
    let (values, dim) = (x.len(), tangent.dim());
    let (signal, jacobian) = evaluator.signal_and_jacobian(x);
    let score = vec![0.0; signal.len()];
    let (mut normal, mut right) = (vec![0.0; values * values], vec![0.0; values]);
    normal_equations(jacobian, plan.mask(), &score, &mut normal, &mut right);
    let mut basis = Vec::new();
    tangent.basis(x, &mut basis);
    let mut information = vec![0.0; dim * dim];
    for &(a, i, t) in &basis {
        for &(b, j, u) in &basis {
            let product = t * normal[a * values + b] * u * units[i] * units[j];
            information[i * dim + j] += SNR * SNR * product;
        }
    }
    let (eigenvalues, vectors) = eigen_symmetric(&information, dim);
    let mut weight = vec![0.0; dim];
    for (_, v) in eigenvalues.iter().zip(vectors.chunks(dim)).filter(|(l, _)| **l < 1.0) {
        for (w, v) in weight.iter_mut().zip(v) {
            *w += v * v;
        }
    }
    (eigenvalues.iter().filter(|l| **l >= 1.0).count(), weight)
}

impl Identifiability {
    /// Asks the question; `None` when the model has nothing free, or a parameter
    /// that is fixed to a value a voxel.
    pub fn of(lowered: &Lowered, scheme: &StartScheme) -> Option<Self> {
        let model = &lowered.model;
        let tangent = Tangent::new(model);
        if tangent.dim() == 0 || !model.per_voxel().is_empty() {
            return None;
        }
        let (mut units, mut names) = (Vec::new(), Vec::new());
        for free in model.free() {
            let sd = free.prior.as_ref().map_or(0.5, |p| p.sd());
            let (count, unit) = match free.kind {
                FreeKind::Axis => (2, 0.6),
                FreeKind::Fractions { .. } => (free.len - 1, 0.3),
                FreeKind::Scalar { .. } => (1, sd),
                FreeKind::Scale => (1, 0.5),
            };
            for _ in 0..count {
                units.push(if unit.is_finite() { unit } else { free.scale });
                names.push(free.name.clone());
            }
        }
        let mut evaluator = Evaluator::new(lowered);
        let mut ranks = Vec::new();
        let mut weights = vec![0.0; tangent.dim()];
        for x in scheme.spread_points() {
            let (rank, weight) = at_point(&mut evaluator, &tangent, &units, &x);
            ranks.push(rank);
            for (total, w) in weights.iter_mut().zip(weight) {
                *total += w;
            }
        }
        ranks.sort_unstable();
        let rank = *ranks.get(ranks.len() / 2)?;
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|&i, &j| weights[j].total_cmp(&weights[i]));
        let mut weak: Vec<String> = Vec::new();
        for i in order {
            if weights[i] > 0.2 * ranks.len() as f64 && !weak.contains(&names[i]) {
                weak.push(names[i].clone());
            }
        }
        Some(Self { parameters: tangent.dim(), rank, weak })
    }

    /// A sentence for the user when the data leave a direction to the prior.
    pub fn warning(&self, weighted_shells: usize) -> Option<String> {
        if self.rank >= self.parameters {
            return None;
        }
        let shells = match weighted_shells {
            0 => "has no diffusion weighting".to_string(),
            1 => "has one shell".to_string(),
            n => format!("has {n} weightings"),
        };
        let weak = if self.weak.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.weak.join(", "))
        };
        Some(format!(
            "the acquisition {shells} and does not determine this model: at SNR {SNR} the Fisher information \
             has effective rank {} for {} parameters; what is left{weak} comes from the prior or the \
             bounds. Fix or link parameters, or measure more shells",
            self.rank, self.parameters
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use microtome_models::{Acquisition, Model, ModelSpec};
    use std::sync::Arc;

    fn acquisition(shells: &[f64]) -> Acquisition {
        let (mut b, mut g) = (vec![0.0; 6], vec![[0.0; 3]; 6]);
        for &value in shells {
            for i in 0..60 {
                let z = 1.0 - (f64::from(i) + 0.5) / 60.0;
                let phi = 2.399_963 * f64::from(i);
                let r = (1.0 - z * z).sqrt();
                b.push(value);
                g.push([r * phi.cos(), r * phi.sin(), z]);
            }
        }
        Acquisition::from_b(&b, &g, None, None).unwrap()
    }

    fn asked(model: &str, shells: &[f64]) -> Identifiability {
        let acquisition = acquisition(shells);
        let model = Arc::new(Model::new(ModelSpec::parse(model).unwrap()).unwrap());
        let lowered = Lowered::new(model, &acquisition).unwrap();
        let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
        Identifiability::of(&lowered, &scheme).unwrap()
    }

    #[test]
    fn one_shell_leaves_directions_to_the_prior() {
        for model in ["noddi", "stick_zeppelin_ball"] {
            let few = asked(model, &[1.0]);
            assert!(few.rank < few.parameters && !few.weak.is_empty(), "{model}: {few:?}");
            assert!(few.warning(1).unwrap().contains("one shell"));
        }
        let many = asked("noddi", &[1.0, 2.0, 3.0]);
        assert_eq!(many.rank, many.parameters, "{many:?}");
        assert!(many.warning(3).is_none());
        // A tensor needs one shell only.
        let tensor = asked("tensor", &[1.0]);
        assert_eq!(tensor.rank, tensor.parameters, "{tensor:?}");
        let none = asked("ball_stick", &[]);
        assert_eq!(none.rank, 1, "{none:?}");
    }
}
