//! The log posterior of one voxel in the coordinates of a chart.
//!
//! $$\ln p(z\,|\,y) = \ln p(y\,|\,S(x),\sigma) + \ln p(x) + \ln\left|\frac{\partial x}{\partial z}\right|,\quad x = x(z)$$
//!
//! with the priors of [`crate::Prior`] for scalars, the uniform density on the
//! half sphere for axes ($1/2\pi$) and the Dirichlet density for fractions
//! (both with their constants, so that evidences compare).
//!
//! Validated by `gradient_equals_difference` in `tests/suite/posterior.rs`.

mod quick;
mod value;

use crate::chart::Chart;
use crate::curvature::LikelihoodCurvature;
use crate::evaluate::Evaluator;
use crate::evaluate::single::SinglePass;
use crate::model::{FreeKind, Model};
use crate::noise::Constants;
use crate::prior::{Prior, PriorError};
use microtome_kernels::Plan;
use microtome_kernels::log::log as ln;
use statrs::function::gamma::ln_gamma;
use std::sync::Arc;

/// The noise scale of a voxel.
#[derive(Debug, Clone, PartialEq)]
pub enum Sigma {
    /// Known, in the unit of the signals.
    Known(f64),
    /// Free, with this prior.
    Free(Prior),
}

impl Sigma {
    /// The known value, else free with the user's prior or the default about `mean_b0`.
    ///
    /// # Errors
    /// A default prior about a mean b = 0 signal that is not positive.
    pub fn of(known: Option<f64>, model: &Model, mean_b0: f64) -> Result<Self, PriorError> {
        match (known, model.sigma_prior()) {
            (Some(sigma), _) => Ok(Self::Known(sigma)),
            (None, Some(prior)) => Ok(Self::Free(prior.clone())),
            (None, None) => Model::default_sigma_prior(mean_b0).map(Self::Free),
        }
    }
}

/// The log posterior of one voxel.
#[derive(Debug)]
pub struct Posterior<'a> {
    evaluator: &'a mut Evaluator,
    model: Arc<Model>,
    plan: Arc<Plan>,
    y: Vec<f64>,
    sigma: Sigma,
    priors: Vec<(usize, Prior)>,
    dirichlet: Vec<(usize, Vec<f64>)>,
    constant: f64,
    likelihood: Constants,
    chart: Chart,
    x: Vec<f64>,
    gx: Vec<f64>,
    score: Vec<f64>,
    information: LikelihoodCurvature,
    single: Option<SinglePass>,
}

impl<'a> Posterior<'a> {
    /// The posterior of a voxel, its chart centred on `centre`.
    ///
    /// # Shapes
    /// `signals` `[measurement]`, `centre` `[value]`.
    ///
    /// # Units
    /// `mean_b0` in the unit of the signals: the centre of the default prior of
    /// `s0`, used only where the user gave none.
    ///
    /// # Errors
    /// A default prior that can't be (a mean b = 0 signal that is not positive).
    pub fn new(
        evaluator: &'a mut Evaluator,
        signals: &[f64],
        sigma: Sigma,
        mean_b0: f64,
        centre: &[f64],
    ) -> Result<Self, PriorError> {
        let lowered = evaluator.lowered().clone();
        let model = &lowered.model;
        let mut priors = Vec::new();
        let mut dirichlet = Vec::new();
        let mut constant = 0.0;
        for free in model.free() {
            match (&free.kind, &free.prior) {
                (FreeKind::Axis, _) => constant -= std::f64::consts::TAU.ln(),
                (FreeKind::Fractions { total, concentration }, _) => {
                    // The density of the shares f/total.
                    constant -= total.ln() * concentration.iter().map(|a| a - 1.0).sum::<f64>();
                    constant += ln_gamma(concentration.iter().sum())
                        - concentration.iter().map(|a| ln_gamma(*a)).sum::<f64>();
                    dirichlet.push((free.at, concentration.clone()));
                }
                (_, Some(prior)) => priors.push((free.at, prior.clone())),
                (_, None) => {
                    priors.push((free.at, Model::default_scale_prior(mean_b0, free.range)?));
                }
            }
        }
        let sigma_support = match &sigma {
            Sigma::Known(_) => None,
            Sigma::Free(prior) => {
                priors.push((model.values(), prior.clone()));
                Some(prior.support())
            }
        };
        let chart = Chart::new(
            model,
            centre,
            |at| {
                priors
                    .iter()
                    .find(|(k, _)| *k == at)
                    .map_or([f64::NEG_INFINITY, f64::INFINITY], |(_, p)| p.support())
            },
            sigma_support,
        );
        let plan = &lowered.plan;
        let mut y = vec![0.0; plan.slots()];
        plan.scatter(signals, &mut y);
        let values = chart.values();
        let slots = plan.slots();
        Ok(Self {
            y,
            priors,
            dirichlet,
            constant,
            likelihood: Constants::new(model.noise(), signals).of_means(plan.mask()),
            sigma,
            x: vec![0.0; values],
            gx: vec![0.0; values],
            score: vec![0.0; slots],
            information: LikelihoodCurvature::new(slots, model.values()),
            single: None,
            chart,
            model: lowered.model.clone(),
            plan: lowered.plan.clone(),
            evaluator,
        })
    }

    /// Number of coordinates.
    pub fn dim(&self) -> usize {
        self.chart.dim()
    }

    /// The chart.
    pub fn chart(&self) -> &Chart {
        &self.chart
    }

    /// Puts another chart of the same values in the place of the chart.
    pub fn set_chart(&mut self, chart: Chart) {
        self.chart = chart;
    }

    /// The coordinates in the chart of a point that has coordinates `z` in `from`; see
    /// [`Chart::carry`].
    pub fn carry(&mut self, from: &Chart, z: &[f64], out: &mut [f64]) -> f64 {
        from.to_values(z, &mut self.x);
        let model = &self.evaluator.lowered().model;
        for free in model.free().iter().filter(|f| f.kind == FreeKind::Axis) {
            if self.chart.opposes(free.at, &self.x) {
                model.flip_axis(free.at, &mut self.x);
            }
        }
        self.chart.carry(from, z, &self.x, out)
    }

    /// The values (σ last when free) of the last evaluation.
    pub fn values(&self) -> &[f64] {
        &self.x
    }

    fn sigma_now(&self) -> f64 {
        match &self.sigma {
            Sigma::Known(s) => *s,
            Sigma::Free(_) => self.x.last().copied().unwrap_or(f64::NAN),
        }
    }

    /// Adds the slopes of the priors to `gx`; returns their logarithm.
    fn priors(&mut self) -> f64 {
        let mut total = self.constant;
        for (k, prior) in &self.priors {
            let (value, slope) = prior.ln_density(self.x[*k]);
            total += value;
            self.gx[*k] += slope;
        }
        for (at, concentration) in &self.dirichlet {
            for (i, a) in concentration.iter().enumerate() {
                if *a != 1.0 {
                    total += (a - 1.0) * ln(self.x[at + i]);
                    self.gx[at + i] += (a - 1.0) / self.x[at + i];
                }
            }
        }
        total
    }

    /// $\ln p(z\,|\,y)$ up to $\ln p(y)$, and its gradient.
    ///
    /// # Shapes
    /// `z`, `gz` `[dim]`.
    pub fn ln_density(&mut self, z: &[f64], gz: &mut [f64]) -> f64 {
        let ln_jacobian = self.chart.to_values(z, &mut self.x);
        let values = self.model.values();
        self.gx.fill(0.0);
        let sigma = self.sigma_now();
        let signal = self.evaluator.signal(&self.x[..values]);
        let (noise, mask) = (self.model.noise(), self.plan.mask());
        let ln_likelihood =
            noise.score(&self.y, signal, mask, sigma, &mut self.score) + self.likelihood.at(sigma);
        if let Sigma::Free(_) = self.sigma {
            self.gx[values] =
                noise.ln_sigma_slope(&self.y, signal, mask, sigma, &self.score) / sigma;
        }
        self.evaluator.pullback(&self.score, &mut self.gx[..values]);
        let ln_prior = self.priors();
        self.chart.pullback(z, &self.x, &self.gx, gz);
        ln_likelihood + ln_prior + ln_jacobian
    }

    /// As [`Posterior::ln_density`], and a positive approximation of minus the
    /// Hessian in coordinates: Gauss-Newton in the signal with the curvature of
    /// the noise, and the curvature of the chart.
    ///
    /// # Shapes
    /// `hessian` `[dim, dim]`.
    pub fn curvature(&mut self, z: &[f64], gz: &mut [f64], hessian: &mut [f64]) -> f64 {
        let dim = self.dim();
        let ln_density = self.ln_density(z, gz);
        let sigma = self.sigma_now();
        let at = (z, self.x.as_slice());
        self.information.fill(self.evaluator, &self.y, sigma, &self.chart, at, hessian);
        let slopes = &self.information.slopes;
        let mut chart = vec![0.0; dim];
        self.chart.ln_jacobian_curvature(z, &mut chart);
        for (i, c) in chart.iter().enumerate() {
            hessian[i * dim + i] += c;
        }
        for (k, prior) in &self.priors {
            let step = 1e-4 * self.x[*k].abs().max(1e-6);
            let slope = |x: f64| prior.ln_density(x).1;
            let c = -(slope(self.x[*k] + step) - slope(self.x[*k] - step)) / (2.0 * step);
            if c > 0.0 && c.is_finite() {
                for i in 0..dim {
                    for j in 0..dim {
                        hessian[i * dim + j] += c * slopes[k * dim + i] * slopes[k * dim + j];
                    }
                }
            }
        }
        ln_density
    }
}
