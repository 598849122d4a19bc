//! What an acquisition can tell about the parameters of a model, before any data.
//!
//! $$A = L^T I L,\qquad LL^T = \mathrm{Cov}_\mathrm{prior}$$
//!
//! The Fisher information $I$ of the noise of the model in local coordinates
//! ([`microtome_models::information`]), in units of the prior. An eigenvalue above 1 is a direction
//! in which the data speak louder than the prior; their number is the effective rank.
//! It is looked at for SNR 30 (signal of the model at b = 0 over the noise scale) at points
//! spread over the ranges, because it depends on the parameters.
//!
//! Source: the comparison of likelihood and prior precision in a direction as in
//! Spantini et al. 2015, doi:10.1137/140977308, eq. 2.6; for diffusion MRI the same
//! question is asked by Jelescu et al. 2016, doi:10.1002/nbm.3450.
//! Validated by `one_shell_leaves_directions_to_the_prior` and
//! `scale_of_the_signal_does_not_matter` below.

use crate::fit::StartScheme;
use microtome_kernels::dense::cholesky;
use microtome_kernels::eigen::eigen_symmetric;
use microtome_models::information::{
    LocalCoordinates, SignalInformation, fisher_information, unweighted_signal,
};
use microtome_models::{Evaluator, Lowered, NoiseKind};

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

/// One point: effective rank and the weight of each coordinate in the rest. `None` where
/// the model has no positive signal.
fn at_point(
    evaluator: &mut Evaluator,
    local: &LocalCoordinates,
    noise: &SignalInformation,
    x: &[f64],
) -> Option<(usize, Vec<f64>)> {
    let dim = local.dim();
    let b0 = unweighted_signal(evaluator.lowered(), x, &[]).ok()?;
    let mut l = local.prior_covariance(b0).ok()?;
    if !cholesky(&mut l, dim, 1e-14) {
        return None;
    }
    let information = fisher_information(evaluator, &local.basis(x), noise, b0 / SNR, x);
    let mut scaled = vec![0.0; dim * dim];
    for (at, out) in scaled.iter_mut().enumerate() {
        let (a, b) = (at / dim, at % dim);
        // L is lower triangular: column a begins at row a.
        for i in a..dim {
            for j in b..dim {
                *out += l[i * dim + a] * information[i * dim + j] * l[j * dim + b];
            }
        }
    }
    let (eigenvalues, vectors) = eigen_symmetric(&scaled, dim);
    let mut weight = vec![0.0; dim];
    for (_, v) in eigenvalues.iter().zip(vectors.chunks(dim)).filter(|(l, _)| **l < 1.0) {
        for (w, v) in weight.iter_mut().zip(v) {
            *w += v * v;
        }
    }
    Some((eigenvalues.iter().filter(|l| **l >= 1.0).count(), weight))
}

impl Identifiability {
    /// Asks the question; `None` when the model has nothing free, or a parameter
    /// that is fixed to a value a voxel.
    pub fn of(lowered: &Lowered, scheme: &StartScheme) -> Option<Self> {
        let model = &lowered.model;
        let local = LocalCoordinates::new(model);
        if local.dim() == 0 || !model.per_voxel().is_empty() {
            return None;
        }
        let names = local.names();
        // Means of shells are taken as normal.
        let means = model.spec().spherical_mean;
        let noise = SignalInformation::new(if means { NoiseKind::Gaussian } else { model.noise() });
        let mut evaluator = Evaluator::new(lowered);
        let mut ranks = Vec::new();
        let mut weights = vec![0.0; local.dim()];
        for x in scheme.spread_points() {
            let (rank, weight) = at_point(&mut evaluator, &local, &noise, &x)?;
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
        Some(Self { parameters: local.dim(), rank, weak })
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

    /// SNR is relative to the signal of the model at b = 0, which a fixed scale sets.
    #[test]
    fn scale_of_the_signal_does_not_matter() {
        let fixed = |s0: f64| {
            let text = format!(
                "[[compartment]]\nkind = \"stick\"\n[[compartment]]\nkind = \"zeppelin\"\n\
                 [link]\n\"s0\" = {{ fixed = {s0:?} }}\n"
            );
            let model = Arc::new(Model::new(ModelSpec::from_toml(&text).unwrap()).unwrap());
            let acquisition = acquisition(&[1.0]);
            let lowered = Lowered::new(model, &acquisition).unwrap();
            let scheme = StartScheme::new(&lowered, &acquisition).unwrap();
            Identifiability::of(&lowered, &scheme).unwrap()
        };
        assert_eq!(fixed(1.0), fixed(500.0));
    }
}
