//! How good an experiment is in one number, and the derivative of that number with
//! respect to the acquisition.
//!
//! $$A = \Big\langle\sum_p \omega_p\frac{\mathrm{var}\,p}{c_p^2}\Big\rangle
//!     = \langle\mathrm{tr}\,W\Sigma\rangle,\qquad
//!   D = -\tfrac12\big\langle\ln\det(I + \Lambda) - \ln\det\Lambda\big\rangle$$
//!
//! A: the mean over parameter sets of the variances of the wanted quantities in units of
//! $c_p$, the prior standard deviation or the value itself (the criterion of Alexander
//! 2008); D: minus the information gained, in nats. Without the prior $\Lambda = 0$.
//!
//! **Derivative.** With $G = \partial C/\partial I$ ($-\Sigma W\Sigma$ or
//! $-\tfrac12\Sigma$), for any number $a$ of measurement i
//!
//! $$\frac{\partial C}{\partial a} = \omega_i\Big[w'(S_i)\,j_i^TGj_i\,\frac{\partial S_i}{\partial a}
//!   {} + 2w(S_i)\,j_i^TG\,\frac{\partial j_i}{\partial a}\Big]$$
//! $$\frac{\partial C}{\partial\omega_i} = w(S_i)\,j_i^TGj_i$$
//!
//! | factor | how |
//! |---|---|
//! | $G$, $w'$, $\partial/\partial\omega$, T2 | analytic |
//! | $j = \partial S/\partial s$ | analytic (the fused Jacobian) |
//! | $\partial S/\partial a$, $\partial j/\partial a$ for $b, \delta, \Delta$, TE and two turns of $g$ | central differences of $S$ and of the analytic $j$ |
//!
//! Measurement i depends on its own numbers only, so one pair of evaluations differentiates
//! all measurements at once: at most six pairs, however many there are. No second
//! derivative is taken through a graph.
//!
//! | symbol | unit | |
//! |---|---|---|
//! | $\Sigma$ | of the parameters | covariance $(I + \Lambda)^{-1}$ |
//! | $j_i$ | signal a coordinate | row of the Jacobian in local coordinates |
//! | $\omega_p, c_p$ | 1, of p | weight and scale of a quantity |
//!
//! Source: Alexander 2008, doi:10.1002/mrm.21646; Pukelsheim 2006,
//! doi:10.1137/1.9780898719109 (criteria); Chaloner & Verdinelli 1995,
//! doi:10.1214/ss/1177009939 (with a prior). Validated by `gradient_equals_difference`
//! and `graph_gradient_equals_difference` of `tests/suite/information.rs`.

use super::encoding::Knob;
use super::{Encoding, EncodingGradient, Experiment, InformationError, Rows};
use microtome_kernels::dense::{cholesky, cholesky_inverse};
use std::sync::Arc;

/// Pivots below this share of their diagonal count as zero.
const SINGULAR: f64 = 1e-13;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimality {
    /// Sum of variances in units of the prior standard deviation.
    #[default]
    RelativeToPrior,
    /// Sum of variances in units of the values (Alexander 2008); an axis in rad.
    RelativeToValue,
    /// Minus the information gained about all coordinates, nats.
    Determinant,
}

/// A criterion of designs: smaller is better.
#[derive(Debug, Clone)]
pub struct Criterion {
    experiment: Arc<Experiment>,
    optimality: Optimality,
    with_prior: bool,
    /// W of every set `[coordinate, coordinate]`.
    wanted: Vec<Vec<f64>>,
    /// ln det of the prior precision of every set.
    ln_prior: Vec<f64>,
}

/// State of one set at the encoding where a gradient is taken.
struct Adjoint {
    /// $\omega w' j^TGj$ `[measurement]`.
    by_signal: Vec<f64>,
    /// $2\omega wGj$ `[measurement, coordinate]`.
    by_row: Vec<f64>,
}

impl Criterion {
    /// A criterion that counts some quantities, by name and weight; without any all
    /// that are free but `s0`, with weight 1.
    ///
    /// # Errors
    /// A name that is no quantity of the model; a scale of zero.
    pub fn new(
        experiment: Arc<Experiment>,
        optimality: Optimality,
        with_prior: bool,
        counted: &[(String, f64)],
    ) -> Result<Self, InformationError> {
        let quantities = experiment.quantities();
        let mut weight = vec![0.0; quantities.len()];
        for (name, w) in counted {
            let Some(k) = quantities.iter().position(|q| q.name == *name) else {
                let known: Vec<&str> = quantities.iter().map(|q| q.name.as_str()).collect();
                let known = known.join(", ");
                return Err(InformationError::Quantity { name: name.clone(), known });
            };
            weight[k] = *w;
        }
        if counted.is_empty() {
            for (w, q) in weight.iter_mut().zip(quantities) {
                *w = f64::from(q.free && q.name != "s0");
            }
        }
        let n = experiment.dim();
        let (mut wanted, mut ln_prior) = (Vec::new(), Vec::new());
        for (number, set) in experiment.sets().iter().enumerate() {
            let mut prior = set.prior_precision().to_vec();
            if !cholesky(&mut prior, n, SINGULAR) {
                return Err(InformationError::Spread);
            }
            ln_prior.push(2.0 * (0..n).map(|i| prior[i * n + i].ln()).sum::<f64>());
            let spread = experiment.standard_deviations(set, &cholesky_inverse(&prior, n));
            let mut w = vec![0.0; n * n];
            for (k, q) in quantities.iter().enumerate().filter(|(k, _)| weight[*k] != 0.0) {
                let value = q.value(experiment.model(), &set.x, &set.per_voxel);
                let scale = match optimality {
                    Optimality::RelativeToValue => value.unwrap_or(1.0),
                    _ => spread[k],
                };
                if optimality != Optimality::Determinant && (scale == 0.0 || scale.is_nan()) {
                    return Err(InformationError::Scale { name: q.name.clone(), set: number + 1 });
                }
                let local = &experiment.local;
                for g in q.slopes(experiment.model(), local, &set.x, &set.per_voxel) {
                    for i in 0..n {
                        for j in 0..n {
                            w[i * n + j] += weight[k] * g[i] * g[j] / (scale * scale);
                        }
                    }
                }
            }
            wanted.push(w);
        }
        Ok(Self { experiment, optimality, with_prior, wanted, ln_prior })
    }

    /// What it judges.
    pub fn experiment(&self) -> &Arc<Experiment> {
        &self.experiment
    }

    /// Value and $G$ of one set from its information; an infinite value where the
    /// information is singular.
    fn of_set(&self, set: usize, information: &mut [f64]) -> (f64, Vec<f64>) {
        let n = self.experiment.dim();
        if self.with_prior {
            let prior = self.experiment.sets()[set].prior_precision();
            information.iter_mut().zip(prior).for_each(|(i, p)| *i += p);
        }
        if !cholesky(information, n, SINGULAR) {
            return (f64::INFINITY, vec![0.0; n * n]);
        }
        let covariance = cholesky_inverse(information, n);
        let share = 1.0 / self.experiment.sets().len() as f64;
        if self.optimality == Optimality::Determinant {
            let ln_det = (0..n).map(|i| information[i * n + i].ln()).sum::<f64>();
            let prior = if self.with_prior { 0.5 * self.ln_prior[set] } else { 0.0 };
            let g = covariance.iter().map(|v| -0.5 * share * v).collect();
            return (share * (prior - ln_det), g);
        }
        let half = super::product(&self.wanted[set], &covariance, n, n, n);
        let value: f64 = (0..n).map(|i| half[i * n + i]).sum();
        let mut g = super::product(&covariance, &half, n, n, n);
        g.iter_mut().for_each(|v| *v *= -share);
        (share * value, g)
    }

    /// The criterion of an acquisition.
    ///
    /// # Shapes
    /// `information`: that of every set, as [`Experiment::information`] gives it.
    pub fn of_information(&self, information: &[Vec<f64>]) -> f64 {
        information.iter().enumerate().map(|(set, i)| self.of_set(set, &mut i.clone()).0).sum()
    }

    /// The criterion of an encoding; infinite where it is singular.
    ///
    /// # Errors
    /// An encoding that is none or lacks what the model needs.
    pub fn value(&self, encoding: &Encoding) -> Result<f64, InformationError> {
        let weight = encoding.weights()?;
        let all = self.experiment.information(&encoding.acquisition()?, Some(weight))?;
        Ok(self.of_information(&all))
    }

    /// The criterion and its derivatives; those by directions only when asked for.
    ///
    /// # Errors
    /// As [`Criterion::value`].
    pub fn value_and_gradient(
        &self,
        encoding: &Encoding,
        directions: bool,
    ) -> Result<(f64, EncodingGradient), InformationError> {
        let weight = encoding.weights()?;
        let (m, n) = (encoding.len(), self.experiment.dim());
        let mut rows = Rows::new(&self.experiment, &encoding.acquisition()?)?;
        let mut gradient = EncodingGradient::zeros(m);
        let mut adjoints = Vec::new();
        let mut total = 0.0;
        let slope_of_factor = self.experiment.decay().map_or(0.0, |d| -1.0 / d.t2_ms);
        for (k, set) in self.experiment.sets().iter().enumerate() {
            rows.evaluate(set);
            let at: Vec<[f64; 2]> =
                rows.signal.iter().map(|s| self.experiment.noise.at(*s, set.sigma)).collect();
            let mut information = vec![0.0; n * n];
            for i in 0..m {
                rows.add_information(i, weight[i] * at[i][0], &mut information);
            }
            let (value, g) = self.of_set(k, &mut information);
            total += value;
            let mut adjoint = Adjoint { by_signal: vec![0.0; m], by_row: vec![0.0; m * n] };
            for i in 0..m {
                let j = rows.row(i);
                let [w, slope] = at[i];
                let gj = &mut adjoint.by_row[i * n..(i + 1) * n];
                for (a, out) in gj.iter_mut().enumerate() {
                    *out = g[a * n..(a + 1) * n].iter().zip(j).map(|(g, j)| g * j).sum();
                }
                let q: f64 = gj.iter().zip(j).map(|(a, b)| a * b).sum();
                gradient.weight[i] += w * q;
                adjoint.by_signal[i] = weight[i] * slope * q;
                gj.iter_mut().for_each(|v| *v *= 2.0 * weight[i] * w);
                // The factor of T2 scales signal and row alike.
                let by_factor = adjoint.by_signal[i] * rows.signal[i] + 2.0 * weight[i] * w * q;
                gradient.te_ms[i] += slope_of_factor * by_factor;
            }
            adjoints.push(adjoint);
        }
        for knob in self.knobs(directions) {
            let Some([low, high]) = encoding.moved(knob) else { continue };
            let mut below = Rows::new(&self.experiment, &low.0.acquisition()?)?;
            let mut above = Rows::new(&self.experiment, &high.0.acquisition()?)?;
            if knob == Knob::Echo {
                // The loss by T2 is differentiated above.
                below.factor.clone_from(&rows.factor);
                above.factor.clone_from(&rows.factor);
            }
            for (set, adjoint) in self.experiment.sets().iter().zip(&adjoints) {
                below.evaluate(set);
                above.evaluate(set);
                for i in 0..m {
                    let apart = high.1[i] - low.1[i];
                    if apart == 0.0 {
                        continue;
                    }
                    let change = (above.row(i).iter().zip(below.row(i)))
                        .zip(&adjoint.by_row[i * n..(i + 1) * n])
                        .map(|((p, q), a)| a * (p - q))
                        .sum::<f64>()
                        + adjoint.by_signal[i] * (above.signal[i] - below.signal[i]);
                    gradient.add(knob, encoding, i, change / apart);
                }
            }
        }
        Ok((total, gradient))
    }

    /// The numbers that the signal depends on.
    fn knobs(&self, directions: bool) -> Vec<Knob> {
        let components = self.experiment.model().components();
        let mut out = vec![Knob::B];
        if components.iter().any(|c| c.kind.needs_timing()) {
            out.extend([Knob::Delta, Knob::BigDelta]);
        }
        if components.iter().any(|c| c.kind.needs_echo_time()) {
            out.push(Knob::Echo);
        }
        if directions {
            out.extend([Knob::Turn(0), Knob::Turn(1)]);
        }
        out
    }
}
